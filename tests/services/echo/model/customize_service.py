from model_service.onnx_model_service import OnnxServingBaseService


class EchoService(OnnxServingBaseService):
    """Answers with a description of what it was given."""

    def _inference(self, data):
        if not isinstance(data, dict):
            return {"data": data}
        return {
            key: {name: [type(file).__name__, len(file.getvalue())] for name, file in value.items()}
            if isinstance(value, dict) and all(hasattr(file, "read") for file in value.values())
            else value
            for key, value in data.items()
        }
