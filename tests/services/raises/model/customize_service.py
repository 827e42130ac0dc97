import builtins

from model_service.onnx_model_service import OnnxServingBaseService


class RaisingService(OnnxServingBaseService):
    """Raises what it is told to, in the step it is told."""

    def _preprocess(self, data):
        return self.step("_preprocess", data)

    def _inference(self, data):
        return self.step("_inference", data)

    def _postprocess(self, data):
        return self.step("_postprocess", data)

    def step(self, name, data):
        if data["step"] == name:
            if data["error"] == "exit":
                exit(1)
            raise getattr(builtins, data["error"])("on purpose")
        return data
