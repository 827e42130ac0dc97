from typing import Any

from engineroom.service import Service

class SparkServingBaseService(Service):
    spark: Any
    def __init__(self, model_path: str = "") -> None: ...
