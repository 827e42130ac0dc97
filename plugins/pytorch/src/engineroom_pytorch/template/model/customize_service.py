"""The three steps of a prediction: read the request, run the model, shape the answer."""

import numpy as np
import torch

# The server provides this module; there is nothing to install for it.
from model_service.pytorch_model_service import PTServingBaseService
from network import DigitNet
from PIL import Image


class DigitService(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
        # model_path is model.pth. It holds the weights alone, so the network comes
        # from its class. The server moves self.model to its device by itself.
        self.model = DigitNet()
        self.model.load_state_dict(torch.load(model_path, map_location="cpu"))
        self.model.eval()  # or dropout and batch statistics would stay switched on

    def _preprocess(self, data):
        """Turn the request into the model's input.

        For `-F images=@7.png`, data is {"images": {"7.png": <the open file>}}:
        first the name of the form field, then the name of each file sent in it.
        """
        rows = []
        for file in data["images"].values():
            picture = Image.open(file).convert("L").resize((8, 8))
            # 8 x 8 bytes of 0..255 become one row of 64 numbers in 0..1,
            # because that is what the model was trained on.
            rows.append(np.asarray(picture, dtype=np.float32).reshape(64) / 255)
        return {"images": torch.from_numpy(np.stack(rows))}

    # The middle step, _inference, is inherited: it calls self.model on each value of
    # what _preprocess returned. Write your own only if that is not enough.

    def _postprocess(self, data):
        """Turn the model's output into the answer, which is sent as JSON.

        data is {"images": tensor}: the key is the one from _preprocess, and the
        tensor has one row per file with 10 numbers, one per digit.
        """
        digits = data["images"].argmax(dim=1).tolist()
        # One file gets a plain number; several files get a list, in their order.
        return {"mnist_result": digits[0] if len(digits) == 1 else digits}
