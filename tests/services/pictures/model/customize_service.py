import base64
import io
import json

import numpy as np
from model_service.onnx_model_service import OnnxServingBaseService
from PIL import Image


class PictureService(OnnxServingBaseService):
    """Opens uploads the way scripts do, each key with another reader."""

    def _inference(self, data):
        answer = {}
        for key, value in data.items():
            if key == "base64":
                value = {"text": io.BytesIO(base64.b64decode(value, validate=True))}
            for name, file in value.items():
                if key == "array":
                    answer[name] = np.load(file).shape
                elif key == "json":
                    answer[name] = json.load(file)
                elif key == "text":
                    answer[name] = file.read().decode()
                else:
                    answer[name] = np.array(Image.open(file), dtype=np.float32).shape
        return answer
