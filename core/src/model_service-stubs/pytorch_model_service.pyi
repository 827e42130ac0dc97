from typing import Any

from engineroom.service import Service

class PTServingBaseService(Service):
    model: Any
    def __init__(self, model_name: str = "", model_path: str | None = None) -> None: ...
