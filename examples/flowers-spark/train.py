"""Train the flowers pipeline and write the saved folder and the example in model/.

The data are the 150 irises that come with scikit-learn, so nothing is downloaded. Training takes
about half a minute on a CPU, most of it for the start of Spark.

    pip install pyspark scikit-learn
    python train.py

Run it from any directory: the files are written next to this script. Serving the model needs
no scikit-learn.
"""

import json
import shutil
from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
MEASUREMENTS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def split():
    """Return the train and the held-out flowers, as dicts with their species."""
    iris = load_iris()
    flowers = [
        dict(zip(MEASUREMENTS, map(float, row), strict=True), species=str(iris.target_names[kind]))
        for row, kind in zip(iris.data, iris.target, strict=True)
    ]
    return train_test_split(flowers, test_size=0.4, random_state=0, stratify=iris.target)


def train(spark, flowers):
    """Return the fitted pipeline: four columns in centimetres in, the name of the species out."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import IndexToString, StringIndexer, VectorAssembler

    frame = spark.createDataFrame(flowers)
    names = StringIndexer(inputCol="species", outputCol="label", stringOrderType="alphabetAsc").fit(
        frame
    )
    stages = [
        names,
        VectorAssembler(inputCols=MEASUREMENTS, outputCol="features"),
        LogisticRegression(regParam=0.001),
        IndexToString(inputCol="prediction", outputCol="flower", labels=names.labels),
    ]
    return Pipeline(stages=stages).fit(frame)


def main():
    from pyspark.ml import PipelineModel
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[2]").getOrCreate()
    train_flowers, test_flowers = split()
    folder = HERE / "model" / "spark_model"
    shutil.rmtree(folder, ignore_errors=True)
    train(spark, train_flowers).save(f"file://{folder}")
    # Checksums of Hadoop, which are not needed to load a model.
    for file in [*folder.rglob(".*.crc"), *folder.rglob("_SUCCESS")]:
        file.unlink()
    # What the written files give, not what is in memory.
    found = PipelineModel.load(f"file://{folder}").transform(spark.createDataFrame(test_flowers))
    right = found.where("flower = species").count()
    print(f"held-out accuracy: {right / len(test_flowers):.4f} ({right} of {len(test_flowers)})")
    # The first held-out flower of each species, without it.
    first = {flower["species"]: flower for flower in reversed(test_flowers)}
    rows = [{name: first[kind][name] for name in MEASUREMENTS} for kind in sorted(first)]
    example = json.dumps({"data": {"req_data": rows}}, indent=2) + "\n"
    (HERE / "model" / "examples" / "three_flowers.json").write_text(example)


if __name__ == "__main__":
    main()
