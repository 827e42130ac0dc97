"""Tell which digit a picture shows."""

import numpy as np
import torch
from model_service.pytorch_model_service import PTServingBaseService
from network import DigitNet
from PIL import Image


class DigitsService(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
        # The file holds the weights alone; the network is the class beside this script.
        self.model = DigitNet()
        self.model.load_state_dict(torch.load(model_path, map_location="cpu"))
        self.model.eval()

    def _preprocess(self, data):
        # {"images": {"7.png": file, ...}}: several files become one batch, in order.
        pictures = [self._read(file) for file in data["images"].values()]
        return {"images": torch.stack(pictures)}

    def _read(self, file):
        picture = Image.open(file).convert("L")
        if picture.size != (8, 8):
            picture = picture.resize((8, 8))
        # The network was trained on 0..1; the leading axis is its one colour channel.
        return torch.from_numpy(np.asarray(picture, dtype=np.float32)[np.newaxis] / 255)

    # The inherited _inference calls self.model, on the device that the server was given.

    def _postprocess(self, data):
        probabilities = torch.softmax(data["images"], dim=1)
        confidences, digits = probabilities.max(dim=1)
        # Rounded as Python floats: a float32 would print as 0.9980000257.
        confidences = [round(value, 4) for value in confidences.tolist()]
        if len(digits) == 1:
            return {"mnist_result": digits.item(), "confidence": confidences[0]}
        return {"mnist_result": digits.tolist(), "confidence": confidences}
