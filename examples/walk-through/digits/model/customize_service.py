import json

import numpy as np
import torch
from easydict import EasyDict
from model_service.pytorch_model_service import PTServingBaseService
from network import DigitNet
from PIL import Image

cfg = EasyDict({"size": 8, "labels": "/home/mind/model/labels.json"})


class DigitsService(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super(DigitsService, self).__init__(model_name, model_path)
        with open(cfg.labels) as f:
            self.labels = json.load(f)
        self.model = DigitNet()
        self.model.load_state_dict(torch.load(model_path, map_location="cpu"))
        self.model.eval()

    def _preprocess(self, data):
        images = []
        for file_name, file_content in data["images"].items():
            image = Image.open(file_content)
            image = image.resize((cfg.size, cfg.size), Image.ANTIALIAS)
            images.append(np.array(image, dtype=np.float32)[np.newaxis] / 255)
        return {"images": torch.from_numpy(np.stack(images))}

    def _postprocess(self, data):
        scores = torch.softmax(data["images"], dim=1)[0]
        best = int(scores.argmax())
        return {"digit": self.labels[best], "confidence": round(float(scores[best]), 4)}
