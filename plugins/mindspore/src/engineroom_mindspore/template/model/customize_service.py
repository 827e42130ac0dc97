"""The network, and the three steps of a prediction: read, run, shape the answer."""

import mindspore
import numpy as np
from mindspore import Tensor, nn

# The server provides this module; there is nothing to install for it.
from model_service.model_service import SingleNodeService
from PIL import Image

# No device is named: the server gives the script the one that it was started with.
mindspore.set_context(mode=mindspore.GRAPH_MODE)


class Digits(nn.Cell):
    def __init__(self):
        super().__init__()
        # The names of a network's parts are the names of its weights in the checkpoint.
        self.dense = nn.Dense(64, 10)

    def construct(self, x):
        return self.dense(x)


class DigitService(SingleNodeService):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
        self.network = Digits()
        # model_path is the folder that holds the checkpoint.
        weights = mindspore.load_checkpoint(model_path + "/digits.ckpt")
        mindspore.load_param_into_net(self.network, weights)
        self.network.set_train(False)
        # None: any number of rows. Else the network is compiled again for each number.
        self.network.set_inputs(Tensor(shape=[None, 64], dtype=mindspore.float32))
        # The first call compiles, which no request should have to wait for.
        self.network(Tensor(np.zeros((1, 64), np.float32)))

    def _preprocess(self, data):
        """Turn the request into the network's input.

        For `-F images=@7.png`, data is {"images": {"7.png": <the open file>}}:
        first the name of the form field, then the name of each file sent in it.
        """
        rows = []
        for file in data["images"].values():
            picture = Image.open(file).convert("L").resize((8, 8))
            # 8 x 8 bytes of 0..255 become one row of 64 numbers in 0..1,
            # because that is what the network was trained on.
            rows.append(np.asarray(picture, dtype=np.float32).reshape(64) / 255)
        return Tensor(np.stack(rows))

    def _inference(self, rows):
        """Run the network: one row of 10 scores per file."""
        return self.network(rows).asnumpy()

    def _postprocess(self, scores):
        """Turn the scores into the answer, which is sent as JSON."""
        digits = scores.argmax(axis=1).tolist()
        # One file gets a plain number; several files get a list, in their order.
        return {"mnist_result": digits[0] if len(digits) == 1 else digits}
