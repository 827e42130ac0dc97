"""Make the SavedModel in model/: a small model that tells handwritten digits apart.

    pip install scikit-learn tensorflow
    python make_model.py

This script is a stand-in. Once you have a model of your own, put it into model/
and delete this file: the server never reads it.
"""

from pathlib import Path

import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

pixels, digits = load_digits(return_X_y=True)
# The data count 0..16 per pixel; the model takes 0..1, whatever the picture's format.
train_x, test_x, train_y, test_y = train_test_split(
    pixels / 16, digits, test_size=0.2, random_state=0, stratify=digits
)
trained = LogisticRegression(max_iter=1000).fit(train_x, train_y)
print(f"accuracy on {len(test_y)} held-out pictures: {trained.score(test_x, test_y):.4f}")


class Digits(tf.Module):
    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(trained.coef_.T, dtype=tf.float32)
        self.bias = tf.Variable(trained.intercept_, dtype=tf.float32)

    # None leaves the number of pictures open: one request or a batch of them.
    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, name="images")])
    def predict(self, images):
        return {"probabilities": tf.nn.softmax(images @ self.weights + self.bias)}


model = Digits()
folder = Path(__file__).resolve().parent / "model"
tf.saved_model.save(model, str(folder), signatures={"serving_default": model.predict})
