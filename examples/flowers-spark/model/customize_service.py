"""Tell which iris a flower is from four lengths, in centimetres."""

from model_service.spark_model_service import SparkServingBaseService

SPECIES = ("setosa", "versicolor", "virginica")


class FlowersService(SparkServingBaseService):
    # _preprocess and _inference are the parent's: the rows of the request, through spark_model/.

    def _postprocess(self, data):
        rows = data.select("flower", "probability").collect()
        return {"data": {"resp_data": [self._answer(row) for row in rows]}}

    def _answer(self, row):
        probabilities = zip(SPECIES, row.probability.toArray().tolist(), strict=True)
        return {
            "flower": row.flower,
            "probabilities": {kind: round(p, 4) for kind, p in probabilities},
        }
