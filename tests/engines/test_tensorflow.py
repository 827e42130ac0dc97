"""The TensorFlow engine: the conformance suite, and what only TensorFlow has."""

import contextlib
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from engineroom import load
from engineroom.errors import (
    DeviceError,
    InvalidTensorError,
    LoadError,
    ModelFileError,
    RequestError,
    ScriptError,
)
from engineroom.testing import EngineConformance
from engineroom.values import CPU, Device
from engineroom_tensorflow.device import devices, start
from engineroom_tensorflow.keras2 import written_by

v1 = tf.compat.v1
WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)
ROWS = tf.TensorSpec([None, 3], tf.float32, name="x")
ROW = {"x": [[1, 0, 0]]}

pytestmark = [
    # TensorFlow's and Keras's own, from their generated code and from the older numpy interfaces.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Linear(tf.Module):
    """y = x @ w, and its double."""

    def __init__(self, weights=WEIGHTS):
        super().__init__()
        self.w = tf.Variable(weights)

    @tf.function(input_signature=[ROWS])
    def once(self, x):
        return {"y": x @ self.w}

    @tf.function(input_signature=[ROWS])
    def twice(self, x):
        return {"y": 2 * (x @ self.w)}


def save(folder: Path, **signatures: str) -> Path:
    """A SavedModel of TensorFlow 2 whose signatures are methods of ``Linear``."""
    model = Linear()
    chosen = {key: getattr(model, method) for key, method in signatures.items()}
    tf.saved_model.save(model, str(folder), signatures=chosen)
    return folder


def save_function(folder: Path, function, *specs: tf.TensorSpec) -> Path:
    module = tf.Module()
    module.f = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures=module.f)
    return folder


def save_v1(folder: Path, *tag_sets: list[str]) -> Path:
    """A SavedModel of TensorFlow 1, with names that Python could not write."""
    builder = v1.saved_model.Builder(str(folder))
    for number, tags in enumerate(tag_sets):
        with v1.Session(graph=tf.Graph()) as session:
            x = v1.placeholder(tf.float32, [None, 3], name="x")
            y = tf.matmul(x, v1.get_variable("w", initializer=WEIGHTS))
            session.run(v1.global_variables_initializer())
            signature = v1.saved_model.predict_signature_def({"my-x": x}, {"the y": y})
            add = builder.add_meta_graph if number else builder.add_meta_graph_and_variables
            add(*([] if number else [session]), tags, signature_def_map={"only": signature})
    builder.save()
    return folder


def write_graph(path: Path, build) -> Path:
    with tf.Graph().as_default() as graph:
        build()
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


class TestTensorFlowConformance(EngineConformance):
    engine = "tensorflow"
    request = {"x": [[0.1, 0.2, 0.3]]}  # noqa: RUF012

    def write_model(self, folder: Path) -> None:
        save(folder, predict="once")

    def direct(self, folder: Path):
        loaded = tf.saved_model.load(str(folder))
        rows = tf.constant(self.request["x"], tf.float32)
        return {key: it.numpy() for key, it in loaded.signatures["predict"](x=rows).items()}


# --- SavedModel


def test_an_answer_is_bit_equal_to_the_signature_called_directly(tmp_path):
    save(tmp_path, predict="once")
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    wanted = tf.saved_model.load(str(tmp_path)).signatures["predict"](x=tf.constant(rows))["y"]
    answer = np.array(load(tmp_path)({"x": rows})["y"], np.float32)
    assert answer.tobytes() == wanted.numpy().tobytes()


@pytest.mark.parametrize(
    ("signatures", "wanted"),
    [
        ({"anything": "twice"}, 2.0),
        ({"serving_default": "once", "other": "twice"}, 1.0),
        ({"another": "once", "serving_default": "twice"}, 2.0),
    ],
    ids=str,
)
def test_the_only_signature_is_taken_or_else_serving_default(tmp_path, signatures, wanted):
    assert load(save(tmp_path, **signatures))(ROW) == {"y": [[0.0, wanted]]}


def test_several_signatures_without_the_default_one_are_named(tmp_path):
    save(tmp_path, left="once", right="twice")
    with pytest.raises(ModelFileError, match=r"'serving_default'; found left, right"):
        load(tmp_path)


def test_a_savedmodel_without_a_signature_says_how_to_save_one(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ModelFileError, match="no signature.*signatures="):
        load(tmp_path)


def test_default_inference_gives_lists_because_scripts_call_index_on_them(tmp_path):
    scores = load(save(tmp_path, predict="once"))(ROW)["y"]
    assert scores[0].index(1.0) == 1


@pytest.mark.parametrize("tags", [["serve"], ["serve", "gpu"], ["mine"]], ids=str)
def test_a_savedmodel_of_tensorflow_1_answers_whatever_its_only_tags(tmp_path, tags):
    model = load(save_v1(tmp_path / "m", tags))
    assert model.inputs[0].shape == (None, 3)
    assert model({"my-x": [[1, 0, 0]]}) == {"the y": [[0.0, 1.0]]}


def test_simple_save_of_tensorflow_1_answers(tmp_path):
    with v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        y = tf.matmul(x, v1.get_variable("w", initializer=WEIGHTS))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"x": x}, {"y": y})
    assert load(tmp_path / "m")(ROW) == {"y": [[0.0, 1.0]]}


def test_of_several_tag_sets_the_one_for_serving_is_taken_or_all_are_named(tmp_path):
    assert load(save_v1(tmp_path / "good", ["serve"], ["serve", "gpu"]))({"my-x": [[1, 0, 0]]})
    with pytest.raises(ModelFileError, match=r"\{a\} and \{b\}"):
        load(save_v1(tmp_path / "bad", ["a"], ["b"]))


def test_input_names_that_python_cannot_write_cause_no_warning_per_request(tmp_path, caplog):
    model = load(save_v1(tmp_path / "m", ["serve"]))
    caplog.clear()
    model({"my-x": [[1, 0, 0]]})
    assert not caplog.records


def test_text_goes_in_and_comes_out(tmp_path):
    spec = tf.TensorSpec([None], tf.string, name="text")
    save_function(tmp_path, lambda text: {"upper": tf.strings.upper(text)}, spec)
    model = load(tmp_path)
    assert str(model.inputs[0]) == "(?,) string"
    assert model({"text": ["ab", "é"]}) == {"upper": ["AB", "é"]}


@pytest.mark.parametrize(
    "dtype",
    ["float16", "float32", "float64", "bfloat16", "bool"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)],
)
def test_every_dtype_of_numbers_goes_in_and_comes_out(tmp_path, dtype):
    spec = tf.TensorSpec([None], tf.as_dtype(dtype), name="x")
    save_function(tmp_path, lambda x: {"y": tf.identity(x)}, spec)
    assert load(tmp_path)({"x": [1, 0]}) == {"y": [1, 0]}


def test_a_scalar_goes_in_and_comes_out(tmp_path):
    save_function(tmp_path, lambda x: {"y": x + 1}, tf.TensorSpec([], tf.float32, name="x"))
    assert load(tmp_path)({"x": 1}) == {"y": 2.0}


# --- files that are no models


def truncate(path: Path, size: int = 100) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_a_truncated_savedmodel_is_named_with_its_size(tmp_path):
    truncate(save(tmp_path, predict="once") / "saved_model.pb")
    with pytest.raises(ModelFileError, match=r"saved_model\.pb: not a SavedModel.*100 bytes"):
        load(tmp_path)


def test_missing_variables_are_named(tmp_path):
    shutil.rmtree(save(tmp_path, predict="once") / "variables")
    with pytest.raises(ModelFileError, match=r"saved_model\.pb: .*variables is missing"):
        load(tmp_path)


def test_variables_of_another_model_are_a_model_file_error(tmp_path):
    save(tmp_path / "right", predict="once")
    save_function(tmp_path / "wrong", lambda x: x @ WEIGHTS, ROWS)
    shutil.rmtree(tmp_path / "right" / "variables")
    shutil.copytree(tmp_path / "wrong" / "variables", tmp_path / "right" / "variables")
    with pytest.raises(ModelFileError, match=r"saved_model\.pb: .*with the files beside it"):
        load(tmp_path / "right")


def test_truncated_variables_are_a_model_file_error(tmp_path):
    truncate(save(tmp_path, predict="once") / "variables" / "variables.data-00000-of-00001", 10)
    with pytest.raises(ModelFileError, match=r"saved_model\.pb: .*with the files beside it"):
        load(tmp_path)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(ModelFileError, match=r"saved_model\.pb or \*\.keras"):
        load(tmp_path, engine="tensorflow")


# --- Keras


def test_keras_export_is_a_savedmodel(tmp_path):
    network = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, name="scores")])
    network.export(str(tmp_path), verbose=False)
    answer = load(tmp_path)(ROW)
    np.testing.assert_array_equal(answer["output_0"], network(np.eye(3)[:1]).numpy())


def test_a_keras_file_names_its_inputs_and_its_last_layer(tmp_path):
    network = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, name="scores")])
    network.save(tmp_path / "model.keras")
    model = load(tmp_path)
    assert (str(model.inputs[0]), str(model.outputs[0])) == ("(?, 3) float32", "(?, 2) float32")
    np.testing.assert_array_equal(model(ROW)["scores"], network(np.eye(3)[:1]).numpy())


@pytest.mark.parametrize("kind", ["lists", "dicts"])
def test_a_keras_file_with_several_inputs_and_outputs(tmp_path, kind):
    one, two = keras.Input((2,), name="one"), keras.Input((3,), name="two")
    left = keras.layers.Dense(1, name="left")(two)
    right = keras.layers.Dense(1, name="right")(one)
    if kind == "lists":
        network = keras.Model([one, two], [left, right])
    else:
        network = keras.Model({"two": two, "one": one}, {"left": left, "right": right})
    network.save(tmp_path / "model.keras")
    answer = load(tmp_path)({"one": [[1, 2]], "two": [[3, 4, 5]]})
    assert set(answer) == {"left", "right"}
    kernel = network.get_layer("right").kernel.numpy()
    np.testing.assert_allclose(answer["right"], np.array([[1, 2]]) @ kernel, rtol=1e-6)


def test_a_truncated_keras_file_is_named(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    truncate(tmp_path / "model.keras")
    with pytest.raises(
        ModelFileError, match=r"model\.keras: not a \.keras file, or not all of one \(100 bytes\)"
    ):
        load(tmp_path)


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_keras_file_that_was_saved_unbuilt_says_so(tmp_path):
    keras.Sequential([keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(ModelFileError, match="before it knew its inputs"):
        load(tmp_path)


def test_a_keras_file_with_python_code_is_refused_and_export_named(tmp_path):
    network = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    network.save(tmp_path / "model.keras")
    with pytest.raises(ModelFileError, match=r"Lambda.*model\.export\(folder\)"):
        load(tmp_path)


# --- frozen graphs


def test_a_frozen_graph_feeds_placeholders_and_fetches_sinks(tmp_path):
    def build():
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        y = tf.nn.relu(tf.matmul(x, WEIGHTS), name="dense/y")
        tf.nn.top_k(y, 1, name="best")
        tf.no_op("init")

    model = load(write_graph(tmp_path / "frozen.pb", build))
    assert str(model.inputs[0]) == "(?, 3) float32"
    assert [spec.name for spec in model.outputs] == ["best:0", "best:1"]
    assert model(ROW) == {"best:0": [[1.0]], "best:1": [[1]]}


def test_a_graph_with_variables_is_not_frozen(tmp_path):
    write_graph(tmp_path / "live.pb", lambda: v1.get_variable("w", initializer=WEIGHTS))
    with pytest.raises(ModelFileError, match=r"live\.pb: expected a frozen graph.*variables \(w"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"not a graph", bytes(range(256))], ids=["empty", "text", "noise"]
)
def test_a_file_that_is_no_graph_is_named(tmp_path, content):
    (tmp_path / "some.pb").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"some\.pb: "):
        load(tmp_path)


def test_an_operation_that_tensorflow_does_not_know_is_named(tmp_path):
    path = write_graph(tmp_path / "odd.pb", lambda: v1.placeholder(tf.float32, [1], name="x"))
    graph = v1.GraphDef.FromString(path.read_bytes())
    graph.node.add(name="odd", op="OwnOperation", input=["x"])
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFileError, match=r"odd\.pb: .*OwnOperation"):
        load(path)


# --- values only TensorFlow can find wrong


def test_a_size_that_the_layers_cannot_take_is_the_client_s_error(tmp_path):
    spec = tf.TensorSpec([None, None], tf.float32, name="x")
    save_function(tmp_path, lambda x: {"y": x @ WEIGHTS}, spec)
    model = load(tmp_path)
    assert model(ROW) == {"y": [[0.0, 1.0]]}
    with pytest.raises(InvalidTensorError, match=r'"x" \(\?, \?\) float32 .* on "x" \(1, 2\)'):
        model({"x": [[1, 0]]})


def test_an_error_of_an_inner_layer_comes_without_the_server_s_stack(tmp_path):
    image = keras.Input((None, None, 3), name="image")
    keras.Model(image, keras.layers.Conv2D(2, 5)(image)).save(tmp_path / "model.keras")
    with pytest.raises(InvalidTensorError, match="output size would be negative") as caught:
        load(tmp_path)({"image": np.zeros((1, 2, 2, 3))})
    assert not re.search(r"File|\n|node|Op:", str(caught.value))


def test_an_index_beyond_an_embedding_is_the_client_s_error(tmp_path):
    spec = tf.TensorSpec([None], tf.int64, name="i")
    save_function(tmp_path, lambda i: {"y": tf.gather(WEIGHTS, i)}, spec)
    model = load(tmp_path)
    assert model({"i": [2]}) == {"y": [[4.0, 5.0]]}
    with pytest.raises(InvalidTensorError, match="99"):
        model({"i": [99]})


# --- devices; the cards are made up, since no test may need one


def fake(cards: int, used: str = "CPU:0"):
    """As much of ``tensorflow`` as tells of devices, on a machine with ``cards`` cards."""
    told = []
    listed = [f"card {index}" for index in range(cards)]
    return types.SimpleNamespace(
        __version__="2.21.0",
        errors=tf.errors,
        device=tf.device if used == "CPU:0" else lambda name: contextlib.nullcontext(),
        add=lambda a, b: types.SimpleNamespace(device=f"/job:localhost/task:0/device:{used}"),
        config=types.SimpleNamespace(
            list_physical_devices=lambda kind: listed if kind == "GPU" else [],
            experimental=types.SimpleNamespace(set_memory_growth=lambda *it: told.append(it)),
            threading=tf.config.threading,
        ),
        told=told,
    )


def test_cards_are_listed_before_the_cpu():
    assert devices(fake(2)) == (Device("cuda", 0), Device("cuda", 1), CPU)
    assert devices(fake(0)) == (CPU,)


def test_memory_grows_on_every_card():
    machine = fake(2, used="GPU:1")
    assert start(machine, Device("cuda", 1), 1) == "/device:GPU:1"
    assert machine.told == [("card 0", True), ("card 1", True)]


def test_a_card_that_tensorflow_passes_over_is_an_error_and_no_silent_cpu():
    with pytest.raises(DeviceError, match=r"cuda:0 was asked for and TensorFlow used CPU:0"):
        start(fake(1), Device("cuda"), 1)


def test_this_tensorflow_has_no_silent_cpu_either():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a card")
    with pytest.raises(DeviceError, match="was asked for and TensorFlow used CPU:0"):
        start(tf, Device("cuda"), 1)


def test_ascend_is_refused_with_the_last_version_that_had_it():
    with pytest.raises(DeviceError, match=r"npu:0: TensorFlow 2.* ends with TensorFlow 2\.6"):
        start(tf, Device("npu"), 1)


def test_cuda_on_a_machine_without_names_the_devices_there_are(tmp_path):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a card")
    save(tmp_path, predict="once")
    with pytest.raises(DeviceError, match="this engine sees: cpu"):
        load(tmp_path, device="cuda:0")


def test_a_second_model_may_ask_for_other_threads(tmp_path):
    save(tmp_path, predict="once")
    for threads in (1, 2):
        assert load(tmp_path, engine_threads=threads)(ROW) == {"y": [[0.0, 1.0]]}


# --- the names of TensorFlow 1

SESSION = """
import tensorflow as tf
from tensorflow import ConfigProto
from model_service.tfserving_model_service import TfServingBaseService


class Scripted(TfServingBaseService):
    def __init__(self, model_name, model_path):
        self.session = tf.Session(graph=tf.Graph(), config=ConfigProto(gpu_options=tf.GPUOptions()))
        tags = [tf.saved_model.tag_constants.SERVING]
        loaded = tf.saved_model.loader.load(self.session, tags, model_path)
        (self.signature,) = loaded.signature_def.values()  # scripts count them

    def _inference(self, data):
        x, y = self.signature.inputs["x"].name, self.signature.outputs["y"].name
        return {"y": self.session.run(y, {x: data["x"]})}
"""


@pytest.fixture
def scripted(tmp_path):
    """A package with ``script`` beside a SavedModel."""

    def write(script: str) -> Path:
        save(tmp_path / "model", predict="once")
        (tmp_path / "model" / "customize_service.py").write_text(script)
        return tmp_path

    return write


def test_a_session_script_restores_a_savedmodel_as_in_tensorflow_1(scripted):
    assert load(scripted(SESSION))(ROW)["y"].tolist() == [[0.0, 1.0]]
    assert tf.executing_eagerly()


def test_names_are_lent_to_the_package_only(scripted):
    load(scripted(SESSION))
    for module, name in ((tf, "Session"), (tf.saved_model, "loader"), (tf.train, "Saver")):
        assert not hasattr(module, name)


def asking(*names: str) -> str:
    parent = "TfServingBaseService"
    return (
        f"import tensorflow as tf\nfrom model_service.tfserving_model_service import {parent}\n"
        f"class Asking({parent}):\n"
        f"    def inference(self, data):\n        return [{', '.join(names)}]\n"
    )


def test_every_namespace_lends_what_it_lost_and_keeps_what_it_has(scripted):
    kept = [tf.losses.MeanSquaredError, tf.initializers.Constant, tf.nn.softmax, tf.Variable]
    lent = [
        "tf.gfile.GFile", "tf.logging.INFO", "tf.train.AdamOptimizer", "tf.app.flags",
        "tf.random.set_random_seed", "tf.losses.absolute_difference", "tf.metrics.accuracy", "tf.image.resize_bilinear",
    ]  # fmt: skip
    script = asking(
        "tf.losses.MeanSquaredError, tf.initializers.Constant, tf.nn.softmax, tf.Variable",
        *lent,
    )
    answer = load(scripted(script))({"a": 1})
    assert answer[: len(kept)] == kept
    assert answer[-2] is v1.metrics.accuracy


def test_what_tensorflow_1_had_and_nobody_has_is_an_attribute_error(scripted):
    words = "has no attribute 'contrib'.*ended with TensorFlow 1 and nothing stands in for it"
    with pytest.raises(RequestError, match=words):
        load(scripted(asking("tf.contrib")))({"a": 1})
    with pytest.raises(ScriptError, match="'tensorflow.contrib' does not exist.*nothing stands in"):
        load(scripted("import tensorflow.contrib.slim as slim\n" + asking("slim")))


def test_without_lent_names_a_script_gets_what_the_library_has(scripted):
    with pytest.raises(ScriptError, match="ConfigProto"):
        load(scripted(SESSION), lent_names=False)


def test_a_script_beside_a_model_file_that_it_does_not_use_loads_no_model(scripted):
    assert load(scripted(asking("1"))).inputs == ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("model.h5", "Keras 2"), ("model.ckpt.index", "weights and no signature")],
)
@pytest.mark.parametrize("config", ["", '{"model_type": "TensorFlow"}'])
def test_files_that_need_a_script_say_so(tmp_path, name, reason, config):
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(LoadError, match=rf"{name} .*{reason}"):
        load(tmp_path)


# --- Keras 2


def hdf5(path: Path, version: str) -> Path:
    """The head of a model file that this version of Keras has written, without a model."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = "{}"
    return path


@pytest.mark.parametrize(
    ("version", "told"), [("2.2.4", "2.2.4"), ("2.4.0-tf", "2.4.0-tf"), ("3.1.0", None)]
)
def test_an_hdf5_file_tells_which_keras_wrote_it(tmp_path, version, told):
    assert written_by(hdf5(tmp_path / "weights.h5", version)) == told


def test_other_files_tell_of_no_keras_2(tmp_path):
    save(tmp_path, predict="once")
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    assert not any(map(written_by, [tmp_path, tmp_path / "a.h5", tmp_path / "none.h5"]))


LOADS = """
from {keras} import load_model
from model_service.tfserving_model_service import TfServingBaseService
class S(TfServingBaseService):
    def __init__(self, model_name, model_path):
        self.model = load_model(model_path + "/weights.h5")
    def _inference(self, data):
        return self.model.predict([[1.0, 2.0]]).shape, type(self.model).__module__
"""


@pytest.mark.parametrize("module", ["keras.models", "tensorflow.keras.models"])
def test_a_file_of_keras_2_that_cannot_be_read_says_so_and_what_reads_it(
    package, monkeypatch, module
):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    path = package(LOADS.format(keras=module))
    hdf5(path / "model" / "weights.h5", "2.2.4")
    words = r"customize_service\.py:6.*weights\.h5 was written by Keras 2\.2\.4.*; (run: pip|set)"
    with pytest.raises(ScriptError, match=words):
        load(path)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["keras.models", "tensorflow.keras.models"])
def test_where_tf_keras_is_installed_it_is_the_keras_of_such_a_package(package, module):
    pytest.importorskip("tf_keras")
    path = package(LOADS.format(keras=module))
    make = "import sys, tf_keras as k; k.Sequential([k.layers.Dense(3, input_shape=(2,))]).save"
    python(f"{make}(sys.argv[1])", str(path / "model" / "weights.h5"))
    asked = "import sys, engineroom; print(engineroom.load(sys.argv[1])({'a': 1}))"
    said = python(asked, str(path)).splitlines()[-1]
    assert said.startswith("((1, 3), 'tf_keras.")


@pytest.mark.slow
def test_a_script_that_asks_tf_keras_for_its_session_runs_a_keras_graph_in_it(package):
    pytest.importorskip("tf_keras")
    script = """
        import tensorflow as tf
        from keras import backend as K
        from keras.models import load_model
        from model_service.tfserving_model_service import TfServingBaseService
        class S(TfServingBaseService):
            def __init__(self, model_name, model_path):
                self.session, self.graph = K.get_session(), tf.get_default_graph()
                self.model = load_model(model_path + "/weights.h5")
                self.factor = K.placeholder(shape=())
                self.scaled = self.model.output * self.factor
            def _inference(self, data):
                feed = {self.model.input: [[0, 0]], self.factor: 2, K.learning_phase(): 0}
                with self.graph.as_default():
                    return self.session.run(self.scaled, feed_dict=feed).tolist()
    """
    path = package(script)
    make = "import sys, tf_keras as k; k.Sequential([k.layers.Dense(1, input_shape=(2,))]).save"
    python(f"{make}(sys.argv[1])", str(path / "model" / "weights.h5"))
    asked = "import sys, engineroom; print(engineroom.load(sys.argv[1])({'a': 1}))"
    assert python(asked, str(path)).splitlines()[-1] == "[[0.0]]"


def python(code: str, argument: str) -> str:
    """What ``code`` prints in a process of its own: Keras is chosen once for each."""
    command = [sys.executable, "-c", code, argument]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("keras", ["keras", "tensorflow.keras"])
def test_the_sessions_of_keras_s_backend_are_lent_under_each_of_its_names(package, keras):
    script = f"""
        from {keras} import backend as K
        from model_service.tfserving_model_service import TfServingBaseService
        class S(TfServingBaseService):
            def _inference(self, data):
                K.set_session(None)
                return K.get_session.__name__
    """
    assert load(package(script))({"a": 1}) == "Session"


def test_names_of_keras_2_that_only_tf_keras_still_has_are_lent(package):
    script = """
        from keras import backend as K
        from keras.preprocessing.image import ImageDataGenerator
        from keras.preprocessing.text import Tokenizer, tokenizer_from_json
        from keras.utils import multi_gpu_model
        from model_service.tfserving_model_service import TfServingBaseService
        class S(TfServingBaseService):
            def _inference(self, data):
                K.set_learning_phase(0)
                tokenizer = Tokenizer()
                tokenizer.fit_on_texts(["b a a"])
                tokenizer = tokenizer_from_json(tokenizer.to_json())
                ImageDataGenerator(rescale=1)
                decoded, _ = K.ctc_decode(data["scores"], [2])
                return [
                    tokenizer.texts_to_sequences(["a b"]),
                    K.get_value(K.mean(K.constant([1, 3]))),
                    K.get_value(decoded[0]),
                    multi_gpu_model("model", gpus=2),
                ]
    """
    scores = np.float32([[[0.9, 0.1, 0], [0, 0.9, 0.1]]])
    texts, mean, decoded, model = load(package(script))({"scores": scores})
    assert (texts, mean, decoded.tolist(), model) == ([[1, 2]], 2, [[0, 1]], "model")


@pytest.mark.parametrize(("units", "classes"), [(3, [2, 2]), (1, [[1], [1]])])
def test_methods_of_keras_2_models_are_lent(package, units, classes):
    script = f"""
        import numpy as np
        from keras.models import Sequential
        from keras.layers import Dense
        from model_service.tfserving_model_service import TfServingBaseService
        class S(TfServingBaseService):
            def __init__(self, model_name, model_path):
                start = lambda shape, dtype=None: np.arange(shape[-1]) + 1.0
                self.model = Sequential([Dense({units}, bias_initializer=start)])
                self.model.build((None, 2))
                self.model._make_predict_function()
            def _inference(self, data):
                x = np.zeros((2, 2))
                assert self.model.predict_proba(x).shape == (2, {units})
                return self.model.predict_classes(x)
    """
    assert load(package(script))({"a": 1}).tolist() == classes


def test_modules_in_which_keras_2_kept_its_layers_are_lent(package):
    script = """
        from keras.engine.topology import Layer
        from keras.layers.core import Dense
        from keras.utils.np_utils import to_categorical
        from model_service.tfserving_model_service import TfServingBaseService
        class S(TfServingBaseService):
            def _inference(self, data):
                return issubclass(Dense, Layer), to_categorical([1], 2).tolist()
    """
    assert load(package(script))({"a": 1}) == (True, [[0.0, 1.0]])
