"""TensorFlow behind a real server: the example, and scripts that were written for TensorFlow 1."""

import importlib.util
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

# In processes of its own, because a script of TensorFlow 1 may turn eager mode off in its process.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)
ROW = {"x": [[1, 0, 0]]}
START = """
import numpy as np
import tensorflow as tf
from model_service.tfserving_model_service import TfServingBaseService


class Scripted(TfServingBaseService):
"""


@pytest.fixture
def flowers(services):
    return services.parent.parent / "examples" / "flowers-tensorflow"


def save_model(folder: Path) -> None:
    module = tf.Module()
    module.w = tf.Variable(WEIGHTS)
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    module.f = tf.function(lambda x: {"y": x @ module.w}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures=module.f)


def save_checkpoint(folder: Path) -> None:
    with v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        tf.matmul(x, v1.get_variable("w", initializer=WEIGHTS), name="y")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "model.ckpt"))


@pytest.fixture
def write(tmp_path):
    """A package: a class body, and what writes the files beside the script."""

    def package(body: str, save) -> Path:
        folder = tmp_path / "sample" / "model"
        folder.mkdir(parents=True)
        save(folder)
        (folder / "customize_service.py").write_text(
            START + textwrap.indent(textwrap.dedent(body), "    ")
        )
        return folder.parent

    return package


def test_flowers_reach_the_stated_accuracy_over_http(start_server, flowers):
    spec = importlib.util.spec_from_file_location("flowers_train", flowers / "train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    _, rows, _, wanted = train.split()
    server = start_server(flowers, "--no-access-log")
    status, answer, _ = server.post(train.as_request(rows))
    got = [flower["flower"] for flower in answer["data"]["resp_data"]]
    names = ("setosa", "versicolor", "virginica")
    accuracy = sum(a == names[b] for a, b in zip(got, wanted, strict=True)) / len(wanted)
    stated = float(re.search(r"\*\*(\d\.\d{4})\*\*", (flowers / "README.md").read_text())[1])
    assert (status, len(got)) == (200, 60)
    assert accuracy == pytest.approx(stated, abs=0.001)


def test_a_flower_without_a_measurement_is_the_client_s_error(start_server, flowers):
    status, answer, _ = start_server(flowers).post({"data": {"req_data": [{"sepal_length": 5.1}]}})
    assert status == 400
    assert "sepal_width" in answer["error"]["message"]


def test_a_start_shows_no_error_of_a_driver_that_is_not_there(start_server, flowers):
    assert "failed call to cuInit" not in start_server(flowers).log()


RESTORES = {
    "meta graph": """
        def __init__(self, model_name, model_path):
            self.session = tf.Session()
            saver = tf.train.import_meta_graph("model/model.ckpt.meta")
            saver.restore(self.session, tf.train.latest_checkpoint("model"))
            graph = tf.get_default_graph()
            self.x, self.y = graph.get_tensor_by_name("x:0"), graph.get_tensor_by_name("y:0")

        def _inference(self, data):
            return {"y": self.session.run(self.y, feed_dict={self.x: data["x"]})}
    """,
    "default graph": """
        def __init__(self, model_name, model_path):
            tf.reset_default_graph()
            self.x = tf.placeholder(tf.float32, [None, 3])
            self.y = tf.matmul(self.x, tf.get_variable("w", [3, 2]))
            self.session = tf.Session()
            self.session.run(tf.global_variables_initializer())
            tf.train.Saver().restore(self.session, "model/model.ckpt")

        def _inference(self, data):
            return {"y": self.session.run(self.y, {self.x: data["x"]})}
    """,
    "graph of its own": """
        def __init__(self, model_name, model_path):
            with tf.Graph().as_default() as graph:
                self.x = tf.placeholder(tf.float32, [None, 3])
                self.y = tf.matmul(self.x, tf.get_variable("w", [3, 2]))
                self.session = tf.Session(graph=graph)
                tf.train.Saver().restore(self.session, "model/model.ckpt")
            assert tf.executing_eagerly()

        def _inference(self, data):
            return {"y": self.session.run(self.y, {self.x: data["x"]})}
    """,
    "session in every request": """
        def _inference(self, data):
            with tf.Session(graph=tf.Graph()) as session:
                saver = tf.train.import_meta_graph("model/model.ckpt.meta")
                saver.restore(session, "model/model.ckpt")
                return {"y": session.run("y:0", {"x:0": data["x"]})}
    """,
}


@pytest.mark.parametrize("name", RESTORES)
def test_a_script_restores_a_checkpoint_as_in_tensorflow_1(start_server, write, name):
    server = start_server(write(RESTORES[name], save_checkpoint))
    for _ in range(2):
        assert server.post(ROW)[:2] == (200, {"y": [[0.0, 1.0]]})


def test_a_script_may_mix_placeholders_with_the_default_inference(start_server, write):
    body = """
        def __init__(self, model_name, model_path):
            self.x = tf.placeholder(tf.float32, [None, 3])
            self.doubled = 2 * self.x
            self.session = tf.Session()

        def _preprocess(self, data):
            return {"x": self.session.run(self.doubled, {self.x: data["x"]})}
    """
    server = start_server(write(body, save_model))
    assert server.post(ROW)[:2] == (200, {"y": [[0.0, 2.0]]})
    assert "tf.placeholder outside a graph: eager mode is off" in server.log()


def test_a_script_of_tensorflow_2_stays_in_eager_mode(start_server, write):
    body = """
        def _inference(self, data):
            return {"y": (tf.constant(data["x"]) + 1).numpy(), "eager": tf.executing_eagerly()}
    """
    answer = start_server(write(body, save_model)).post(ROW)[1]
    assert answer == {"y": [[2, 1, 1]], "eager": True}


def test_requests_at_once_get_their_own_answers(start_server, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    save_model(tmp_path / "model")
    server = start_server(tmp_path, "--threads", "4", "--no-access-log")
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: server.post({"x": [[i, 0, 0]]})[1]["y"][0][1], range(200)))
    assert got == list(range(200))


def test_too_little_memory_is_the_server_s_error(start_server, tmp_path):
    # A matrix of 2 ** 50 numbers. TensorFlow waits ten seconds for memory before it gives up.
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.int64, name="n")
    module.f = tf.function(lambda n: tf.reduce_sum(tf.zeros([n[0], n[0]])), input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.f)
    status, answer, _ = start_server(tmp_path).post({"n": [2**25]})
    assert (status, answer["error"]["exception"].partition(":")[0]) == (
        500,
        "ResourceExhaustedError",
    )


AROUND_KERAS = """
import keras
import numpy as np
import tensorflow as tf
from keras import backend as K
from model_service.tfserving_model_service import TfServingBaseService


class Keras(TfServingBaseService):
    def __init__(self, model_name, model_path):
        self.session = tf.Session(config=tf.ConfigProto())
        K.set_session(self.session)
        tf.keras.backend.set_session(self.session)
        self.graph = tf.get_default_graph()
        self.model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")]
        )

    def _inference(self, data):
        with self.session.as_default(), self.graph.as_default():
            return self.model.predict(np.array(data["x"], "float32"), verbose=0)
"""
FROZEN = """
import tensorflow as tf
from model_service.tfserving_model_service import TfServingBaseService


class Frozen(TfServingBaseService):
    def __init__(self, model_name, model_path):
        definition = tf.GraphDef()
        with tf.gfile.GFile(model_path + "/twice.pb", "rb") as file:
            definition.ParseFromString(file.read())
        with tf.get_default_graph().as_default():
            tf.import_graph_def(definition, name="")
        self.session = tf.Session()

    def _inference(self, data):
        return self.session.run("y:0", {"x:0": data["x"]})
"""


def test_a_script_that_enters_graph_and_session_around_a_keras_model(start_server, tmp_path):
    (tmp_path / "customize_service.py").write_text(AROUND_KERAS)
    server = start_server(tmp_path)
    assert server.post({"x": [[1, 2, 3]]})[1] == [[6.0, 6.0]]
    assert "keras.backend.set_session (nothing)" in server.log()


def test_a_script_that_puts_a_frozen_graph_into_the_default_graph(start_server, tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        tf.multiply(x, 2.0, name="y")
    (tmp_path / "twice.pb").write_bytes(graph.as_graph_def().SerializeToString())
    (tmp_path / "customize_service.py").write_text(FROZEN)
    assert start_server(tmp_path).post({"x": [1, 2]})[1] == [2.0, 4.0]
