"""The script of the package that ``workload`` makes, as published ones are written."""

import base64
import io

import numpy as np
from model_service.onnx_model_service import OnnxServingBaseService
from PIL import Image


class DigitService(OnnxServingBaseService):
    def _preprocess(self, data):
        content = data["images"]
        if isinstance(content, str):
            content = {"picture": io.BytesIO(base64.b64decode(content))}
        (file,) = content.values()
        return {"x": np.asarray(Image.open(file), np.float32).reshape(1, 784)}

    def _postprocess(self, data):
        return {"digit": int(np.argmax(data["y"][0]))}
