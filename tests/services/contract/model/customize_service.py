import json
import os
import threading
import time

import log
from helpers import largest
from metric.metrics_manager import MetricsManager
from model.helpers import largest as also_largest
from model_service.log import getLogger
from model_service.onnx_model_service import OnnxServingBaseService

logger = getLogger(__name__)


class ContractService(OnnxServingBaseService):
    def __init__(self, model_name, model_path):
        self.model_name = model_name
        self.model_path = model_path
        self.labels = None
        thread = threading.Thread(target=self.load)
        thread.start()

    def load(self):
        time.sleep(0.3)
        folder = os.path.dirname(os.path.realpath(self.model_path))
        with open(os.path.join(folder, "labels.json")) as file:
            self.labels = json.load(file)
        with open("settings.txt") as file:
            logger.info("settings %s", file.read().strip())

    def _preprocess(self, data):
        rows = [[float(x) for x in f.read().decode().split(",")] for f in data["rows"].values()]
        return {"x": rows}

    def _postprocess(self, data):
        assert largest is not also_largest
        best = [largest(row) for row in data["y"].tolist()]
        return {
            "labels": [self.labels[i] for i in best],
            "log": log.banner(),
            "metrics": f"{self.model_name}_LatencyOverall" in MetricsManager.metrics,
        }
