"""Tell which iris a flower is from four lengths, in centimetres."""

from model_service.tfserving_model_service import TfServingBaseService

SPECIES = ("setosa", "versicolor", "virginica")
# In the order of the model's input.
MEASUREMENTS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


class FlowersService(TfServingBaseService):
    thread_safe = True  # nothing is kept on self

    def _preprocess(self, data):
        flowers = data["data"]["req_data"]
        # A measurement that is missing is a KeyError, which the client gets back with its name.
        return {"measurements": [[flower[name] for name in MEASUREMENTS] for flower in flowers]}

    def _postprocess(self, data):
        return {"data": {"resp_data": [self._answer(row) for row in data["probabilities"]]}}

    def _answer(self, row):
        # The default _inference gives lists, so a row has .index().
        return {
            "flower": SPECIES[row.index(max(row))],
            "probabilities": {name: round(p, 4) for name, p in zip(SPECIES, row, strict=True)},
        }
