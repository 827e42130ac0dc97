"""Tell which digit a picture shows."""

import logging
import os

import mindspore
import numpy as np
from lenet import LeNet
from mindspore import Tensor, context
from mindspore.train.serialization import load_checkpoint, load_param_into_net
from model_service.model_service import SingleNodeService
from PIL import Image

logger = logging.getLogger(__name__)

# Written for Ascend. Where there is none, the server gives the script the device that it has.
context.set_context(mode=context.GRAPH_MODE, device_target="Ascend")


class DigitsService(SingleNodeService):
    def __init__(self, model_name, model_path):
        self.model_name = model_name
        self.model_path = model_path
        self.network = LeNet()
        load_param_into_net(
            self.network, load_checkpoint(os.path.join(self.model_path, "lenet.ckpt"))
        )
        self.network.set_train(False)
        # Without this, graph mode compiles the network again for every number of pictures.
        self.network.set_inputs(Tensor(shape=[None, 1, 8, 8], dtype=mindspore.float32))
        # The first call compiles; a request would have to wait for it.
        self.network(Tensor(np.zeros((1, 1, 8, 8)), mindspore.float32))
        logger.info("the network is loaded and warm")

    def _preprocess(self, data):
        # {"images": {"7.png": file, ...}}: several files become one batch, in order.
        pictures = [self._read(file) for file in data["images"].values()]
        return Tensor(np.stack(pictures), mindspore.float32)

    def _read(self, file):
        picture = Image.open(file).convert("L")
        if picture.size != (8, 8):
            picture = picture.resize((8, 8))
        return np.asarray(picture, dtype=np.float32)[np.newaxis] / 255

    def _inference(self, images):
        return self.network(images).asnumpy()

    def _postprocess(self, scores):
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        digits = probabilities.argmax(axis=1).tolist()
        # Rounded as Python floats: a float32 would print as 0.9980000257.
        confidences = [round(float(row.max()), 4) for row in probabilities]
        if len(digits) == 1:
            return {"mnist_result": digits[0], "confidence": confidences[0]}
        return {"mnist_result": digits, "confidence": confidences}
