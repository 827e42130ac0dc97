"""Doubles numbers in batches of up to 8, slowly, and cannot bear a 13 among them."""

import time

import numpy as np
from model_service.onnx_model_service import OnnxServingBaseService


class Joined(OnnxServingBaseService):
    max_batch_size = 8

    def _preprocess(self, data):
        return {"x": np.array([[data["x"]]], dtype=np.float32)}

    def _inference(self, data):
        time.sleep(0.05)
        if (data["x"] == 13).any():
            raise ValueError("13")
        return {"y": data["x"] * 2}

    def _postprocess(self, data):
        return {"y": float(data["y"][0][0]), "rows": len(data["y"])}
