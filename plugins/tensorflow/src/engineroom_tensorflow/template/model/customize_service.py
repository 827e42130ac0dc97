"""The three steps of a prediction: read the request, run the model, shape the answer."""

import numpy as np

# The server provides this module; there is nothing to install for it.
from model_service.tfserving_model_service import TfServingBaseService
from PIL import Image


class DigitService(TfServingBaseService):
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
        # The key is the name of the model's input; the value has shape (files, 64).
        return {"images": np.stack(rows)}

    # The middle step, _inference, is inherited: it runs the SavedModel on what
    # _preprocess returned. Write your own only if that is not enough.

    def _postprocess(self, data):
        """Turn the model's output into the answer, which is sent as JSON.

        data is {"probabilities": list}: the key is the name of the model's output,
        and the list has one row per file with 10 numbers, one per digit.
        """
        digits = [row.index(max(row)) for row in data["probabilities"]]
        # One file gets a plain number; several files get a list, in their order.
        return {"mnist_result": digits[0] if len(digits) == 1 else digits}
