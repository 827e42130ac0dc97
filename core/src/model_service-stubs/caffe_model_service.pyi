from typing import Any

from engineroom.service import Service

class CaffeBaseService(Service):
    net: Any
