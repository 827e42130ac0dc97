import time

from metric.metrics_manager import MetricsManager
from mms.log import get_logger
from model_service.caffe_model_service import CaffeBaseService

logger = get_logger(__name__)


class ReportingService(CaffeBaseService):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)

    def _preprocess(self, data):
        return data

    def _inference(self, data):
        return {"sum": sum(data["x"])}

    def _postprocess(self, data):
        return data

    def inference(self, data):
        began = time.time()
        data = self._preprocess(data)
        self.report("_LatencyPreprocess", 12.5)
        data = self._inference(data)
        self.report("_LatencyInference", 20)
        data = self._postprocess(data)
        self.report("_LatencyInference", 5)
        self.report("_LatencyOverall", 37.5)
        data["latency_time"] = str(round((time.time() - began) * 1000, 1)) + " ms"
        return data

    def report(self, key, ms):
        if self.model_name + key in MetricsManager.metrics:
            MetricsManager.metrics[self.model_name + key].update(ms)
