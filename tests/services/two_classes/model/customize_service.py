from model_service.onnx_model_service import OnnxServingBaseService


class FirstService(OnnxServingBaseService):
    pass


class SecondService(OnnxServingBaseService):
    pass
