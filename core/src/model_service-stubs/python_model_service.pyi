from engineroom.service import Service

class XgSklServingBaseService(Service):
    def __init__(self, model_path: str = "") -> None: ...
