"""The three steps of a prediction: read the request, run the model, shape the answer."""

import json

import skops.io

# The server provides this module; there is nothing to install for it.
from model_service.python_model_service import XgSklServingBaseService

# In the order of the model's columns.
COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


class FlowerService(XgSklServingBaseService):
    def __init__(self, model_path):
        super().__init__(model_path)
        # model_path is the model file. For one of your own: joblib.load(model_path).
        self.model = skops.io.load(model_path)

    def _preprocess(self, data):
        """Turn the request into rows.

        data is the body of the request as it came: a text.
        """
        rows = json.loads(data)["data"]["req_data"]
        # A measurement that is missing is a KeyError, which the client gets back by name.
        return [[float(row[name]) for name in COLUMNS] for row in rows]

    def _inference(self, data):
        """Run the model. Without this method the server runs it, and calls predict()."""
        return self.model.predict_proba(data)

    def _postprocess(self, data):
        """Turn what the model gave into the answer, one item for each row.

        The server sends it as {"data": {"resp_data": <the answer>}}.
        """
        species = self.model.classes_
        return [
            {"predictresult": species[row.argmax()], "confidence": round(row.max(), 4)}
            for row in data
        ]
