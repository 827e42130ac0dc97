"""Train the flowers network and write the SavedModel and the example in model/.

The data are the 150 irises that come with scikit-learn, so nothing is downloaded. Training takes
about 20 seconds on a CPU.

    pip install tensorflow scikit-learn
    python train.py

Run it from any directory: the files are written next to this script. Serving the model needs no
scikit-learn.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
# In the order of scikit-learn's columns, and so of the model's input.
MEASUREMENTS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
EPOCHS = 150


def split():
    """Return train measurements, held-out measurements, train species, held-out species."""
    centimetres, species = load_iris(return_X_y=True)
    return train_test_split(centimetres, species, test_size=0.4, random_state=0, stratify=species)


def as_request(rows):
    """Turn rows of four measurements into what the service takes."""
    return {
        "data": {
            "req_data": [dict(zip(MEASUREMENTS, map(float, row), strict=True)) for row in rows]
        }
    }


def train(centimetres, species, seed=0):
    """Return the trained network: input (N, 4) in centimetres, output (N, 3)."""
    # Imported here so that split() can be used where TensorFlow is not installed.
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    # Part of the model, so that the service sends centimetres as they are.
    scale = keras.layers.Normalization(name="scale")
    scale.adapt(centimetres)
    measurements = keras.Input((4,), name="measurements")
    hidden = keras.layers.Dense(16, activation="relu")(scale(measurements))
    probabilities = keras.layers.Dense(3, activation="softmax")(hidden)
    # The key becomes the name of the output.
    network = keras.Model(measurements, {"probabilities": probabilities})
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    network.fit(centimetres, species, batch_size=32, epochs=EPOCHS, verbose=0)
    return network


def predict(folder, centimetres):
    """Return the species that the written files give, not those that Keras would."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    rows = tf.constant(centimetres, tf.float32)
    return signature(measurements=rows)["probabilities"].numpy().argmax(axis=1)


def main():
    train_rows, test_rows, train_species, test_species = split()
    train(train_rows, train_species).export(str(HERE / "model"), verbose=False)
    predicted = predict(HERE / "model", test_rows)
    right = int((predicted == test_species).sum())
    print(f"held-out accuracy: {right / len(test_species):.4f} ({right} of {len(test_species)})")
    # The first held-out flower of each species.
    rows = [test_rows[np.flatnonzero(test_species == species)[0]] for species in range(3)]
    example = json.dumps(as_request(rows), indent=2) + "\n"
    (HERE / "model" / "examples" / "three_flowers.json").write_text(example)


if __name__ == "__main__":
    main()
