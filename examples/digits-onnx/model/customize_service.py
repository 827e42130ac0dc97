"""Tell which digit a picture shows."""

import numpy as np
from model_service.onnx_model_service import OnnxServingBaseService
from PIL import Image


class DigitsService(OnnxServingBaseService):
    def _preprocess(self, data):
        # {"images": {"7.png": file, ...}}: several files become one batch, in order.
        pictures = [self._read(file) for file in data["images"].values()]
        return {"images": np.stack(pictures)}

    def _read(self, file):
        picture = Image.open(file).convert("L")
        if picture.size != (8, 8):
            picture = picture.resize((8, 8))
        # The model was trained on 0..1; the leading axis is its one colour channel.
        return np.asarray(picture, dtype=np.float32)[np.newaxis] / 255

    def _postprocess(self, data):
        probabilities = data["probabilities"]
        digits = probabilities.argmax(axis=1).tolist()
        # Rounded as Python floats: a float32 would print as 0.9980000257.
        confidences = [round(float(row.max()), 4) for row in probabilities]
        if len(digits) == 1:
            return {"mnist_result": digits[0], "confidence": confidences[0]}
        return {"mnist_result": digits, "confidence": confidences}
