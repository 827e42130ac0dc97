import time

from model_service.onnx_model_service import OnnxServingBaseService


class SlowService(OnnxServingBaseService):
    """Sleeps as long as it is told, and counts how often it ran."""

    runs = 0

    def _inference(self, data):
        SlowService.runs += 1
        time.sleep(float(data.get("seconds", 0)))
        return {"runs": SlowService.runs}
