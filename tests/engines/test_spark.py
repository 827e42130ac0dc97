"""The Spark engine: the conformance suite where it fits, and what only Spark has.

One Java process serves all tests that need none of their own.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engineroom import load
from engineroom.errors import (
    EngineError,
    InvalidBodyError,
    InvalidTensorError,
    LoadError,
    ModelFileError,
    RequestError,
    StepError,
    StepInputError,
)
from engineroom.testing import EngineConformance

pytest.importorskip("pyspark")
from engineroom_spark import java, session

try:
    java.checked()
except EngineError as error:
    pytest.skip(str(error), allow_module_level=True)

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
    pytest.mark.filterwarnings("ignore:Arrow optimization failed"),
    # Sockets of the gateway, which the garbage collector closes.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROWS = [
    {"length": 1.4, "width": 0.2, "colour": "white", "kind": "setosa"},
    {"length": 1.3, "width": 0.3, "colour": "white", "kind": "setosa"},
    {"length": 4.7, "width": 1.4, "colour": "blue", "kind": "versicolor"},
    {"length": 4.5, "width": 1.5, "colour": "blue", "kind": "versicolor"},
    {"length": 6.0, "width": 2.5, "colour": "blue", "kind": "virginica"},
    {"length": 5.9, "width": 2.1, "colour": "white", "kind": "virginica"},
]
FLOWER = {"length": 4.6, "width": 1.4, "colour": "blue"}


class User:
    """Somebody who needs the session."""


@pytest.fixture(scope="module")
def spark():
    user = User()
    yield session.shared(user, 2)
    session.release(user)


@pytest.fixture(scope="module")
def saved(spark, tmp_path_factory):
    """A fitted pipeline: numbers, a word, and the label's index, which only the training needs."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import DecisionTreeClassifier
    from pyspark.ml.feature import IndexToString, StringIndexer, VectorAssembler

    stages = [
        StringIndexer(inputCol="kind", outputCol="label", handleInvalid="skip"),
        StringIndexer(inputCol="colour", outputCol="colour_index"),
        VectorAssembler(inputCols=["length", "width", "colour_index"], outputCol="features"),
        DecisionTreeClassifier(seed=1),
        IndexToString(
            inputCol="prediction", outputCol="answer", labels=["setosa", "versicolor", "virginica"]
        ),
    ]
    folder = tmp_path_factory.mktemp("saved") / "spark_model"
    Pipeline(stages=stages).fit(spark.createDataFrame(ROWS)).save(f"file://{folder}")
    return folder


@pytest.fixture(scope="module")
def alone(spark, tmp_path_factory):
    """A model that is no pipeline: a vector in, a number out."""
    from pyspark.ml.linalg import Vectors
    from pyspark.ml.regression import LinearRegression

    rows = [(Vectors.dense(x, y), 2.0 * x - y) for x, y in [(0, 1), (1, 0), (2, 1), (3, 5)]]
    folder = tmp_path_factory.mktemp("alone") / "spark_model"
    LinearRegression().fit(spark.createDataFrame(rows, ["features", "label"])).save(
        f"file://{folder}"
    )
    return folder


@pytest.fixture
def spark_package(package, saved):
    """A package with the saved pipeline, and with a script."""

    def write(script=None, model=saved):
        path = package(script)
        (path / "model").mkdir(parents=True, exist_ok=True)
        shutil.copytree(model, path / "model" / "spark_model")
        return path

    return write


def direct(spark, folder, rows):
    """What Spark answers when it is called without Engineroom."""
    from pyspark.ml import PipelineModel

    model = PipelineModel.load(f"file://{folder}")
    # Its first stage, for the label, would want the column of the training.
    frame = spark.createDataFrame([{**row, "kind": "setosa"} for row in rows])
    found = model.transform(frame).select("prediction", "probability", "answer").collect()
    return [
        {"prediction": p, "probability": v.toArray().tolist(), "answer": a} for p, v, a in found
    ]


@pytest.mark.usefixtures("spark")
class TestSparkConformance(EngineConformance):
    engine = "spark"
    request = json.dumps({"data": {"req_data": [{"features": [1.0, 2.0]}]}})

    @pytest.fixture(autouse=True)
    def _alone(self, alone, spark):
        self.alone, self.spark = alone, spark

    def write_model(self, folder):
        shutil.copytree(self.alone, folder / "spark_model")

    def direct(self, folder):
        from pyspark.ml.linalg import Vectors
        from pyspark.ml.regression import LinearRegressionModel

        model = LinearRegressionModel.load(f"file://{folder / 'spark_model'}")
        frame = self.spark.createDataFrame([(Vectors.dense(1.0, 2.0),)], ["features"])
        return [{"prediction": model.transform(frame).collect()[0].prediction}]

    def test_inputs_and_outputs_are_described(self, model):
        assert [str(spec) for spec in model.inputs] == ["(N, 2) float64"]
        assert [spec.name for spec in model.outputs] == ["prediction"]

    def test_a_corrupt_model_file_is_a_load_error_that_names_it(self, folder, plugin):
        (metadata,) = (folder / "spark_model" / "metadata").glob("part-00000*")
        metadata.write_bytes(metadata.read_bytes()[:10])
        with pytest.raises(LoadError, match="spark_model: expected a folder that model.save"):
            load(folder)

    def test_the_answer_equals_the_framework_called_directly(self, model, folder):
        assert model(self.request) == self.direct(folder)

    def test_several_rows_give_several_answers(self, model):
        one, two = json.loads(self.request)["data"]["req_data"], {"features": [3.0, 1.0]}
        assert model([*one, two, *one]) == [*model(one), *model([two]), *model(one)]

    def test_threads_get_their_own_answers(self, model):
        with ThreadPoolExecutor(4) as pool:
            rows = [[{"features": [float(i), 1.0]}] for i in range(8)]
            answers = [answer[0]["prediction"] for answer in pool.map(model, rows)]
        assert answers == pytest.approx([2 * i - 1 for i in range(8)], abs=1e-6)

    def test_an_unknown_input_is_refused_with_the_declared_names(self, model):
        # Not so here: Spark takes what it needs, and rows often bring more.
        assert model([{"features": [1.0, 2.0], "label": 7}]) == model(self.request)

    def test_a_missing_input_is_refused_by_name(self, model):
        with pytest.raises(InvalidTensorError, match=r"row 1 has no 'features'; the model reads"):
            model([{"features": [1.0, 2.0]}, {"other": 1}])

    @pytest.mark.parametrize(
        "bad", [[], [[]], [["a"]], "text", 1, True, {}, [1, "a"], [1e400, 1], [1, 2, 3]], ids=repr
    )
    def test_a_value_that_does_not_fit_is_the_client_s_error(self, model, bad):
        with pytest.raises(RequestError) as caught:
            model([{"features": bad}])
        assert caught.value.status == 400


# --- the default service


@pytest.fixture(scope="module")
def model(saved):
    return load(saved)


def test_a_bare_folder_of_any_name_is_a_package(spark, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "my flowers")
    assert load(tmp_path / "my flowers")([FLOWER]) == direct(spark, saved, [FLOWER])


def test_what_the_pipeline_reads_is_described_without_the_label(model):
    assert [(spec.name, str(spec)) for spec in model.inputs] == [
        ("colour", "(N,) string"), ("length", "(N,) float64"), ("width", "(N,) float64"),
    ]  # fmt: skip
    assert [(spec.name, str(spec)) for spec in model.outputs] == [
        ("prediction", "(N,) float64"), ("probability", "(N, ?) float64"), ("answer", "(N,) string")
    ]  # fmt: skip


def test_rows_come_as_the_contract_s_json_or_as_a_list(spark, saved, model):
    wanted = direct(spark, saved, [FLOWER])
    assert model(json.dumps({"data": {"req_data": [FLOWER]}})) == wanted
    assert model(json.dumps([FLOWER])) == wanted
    assert wanted[0]["answer"] == "versicolor"


def test_the_label_s_column_may_come_too_and_changes_nothing(model):
    assert model([{**FLOWER, "kind": "unheard of"}]) == model([FLOWER])


def test_whole_numbers_are_numbers(model):
    assert model([{**FLOWER, "length": 4}]) == model([{**FLOWER, "length": 4.0}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": "long"}, r'column "length", row 0: expected a number, got "long"; the model'),
        ({"length": [1, 2]}, r'column "length", row 0: expected a number, got \[1, 2\]'),
        ({"colour": {}}, r'column "colour", row 0: expected a string or a number, got {}'),
        ({"colour": "purple"}, r"Spark refuses the input: SparkException: Unseen label: purple"),
        ({"length": None}, r"SparkException: Encountered null while assembling a row"),
    ],
)
def test_a_value_that_the_pipeline_cannot_take_is_named(model, change, message):
    with pytest.raises(InvalidTensorError, match=message) as caught:
        model([{**FLOWER, **change}])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("body", ["[]", "{}", "[1]", '"x"', '{"data": {"rows": []}}', "7"])
def test_a_body_without_rows_says_what_they_look_like(model, body):
    wanted = r'expected {"data": {"req_data": \[{"colour": a string or a number, "length": a number'
    with pytest.raises(InvalidTensorError, match=wanted):
        model(body)


@pytest.mark.parametrize("body", ["{", "[" * 100_000, "1" * 5000])
def test_a_body_that_is_not_json_is_the_client_s_error(model, body):
    with pytest.raises(InvalidBodyError, match="the body is not JSON"):
        model(body)


def test_a_form_is_not_taken_for_rows(model):
    with pytest.raises(InvalidTensorError, match="expected .*req_data"):
        model({"colour": "blue"})


def test_rows_that_the_model_leaves_out_are_an_error_and_not_a_shorter_list(spark, tmp_path):
    from pyspark.ml.feature import StringIndexer

    fitted = StringIndexer(inputCol="colour", outputCol="i", handleInvalid="skip").fit(
        spark.createDataFrame(ROWS)
    )
    fitted.save(f"file://{tmp_path / 'spark_model'}")
    model = load(tmp_path / "spark_model")
    assert model([{"colour": "blue"}]) == [{"i": 0.0}]
    with pytest.raises(InvalidTensorError, match="answers 1 of 2 rows"):
        model([{"colour": "blue"}, {"colour": "purple"}])


def test_text_goes_through_its_stages(spark, tmp_path):
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import HashingTF, Tokenizer

    stages = [
        Tokenizer(inputCol="text", outputCol="words"),
        HashingTF(numFeatures=4, inputCol="words", outputCol="counts"),
    ]
    PipelineModel(stages).save(f"file://{tmp_path / 'spark_model'}")
    (answer,) = load(tmp_path)([{"text": "to be or not to be"}])
    assert sum(answer["counts"]) == 6.0
    with pytest.raises(InvalidTensorError, match='column "text", row 0: expected a string, got 1'):
        load(tmp_path)([{"text": 1}])


# --- what is in the folder


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "expected a folder that model.save"),
        ("", "expected a folder that model.save"),
        ({"class": "org.apache.spark.mllib.tree.model.DecisionTreeModel"}, "older API on RDDs"),
        ({"class": "com.example.Secret"}, "is not a class of pyspark.ml; load it in a script"),
        ({"class": "org.apache.spark.ml.Pipeline"}, "not a fitted model; fit it"),
        ({"class": "org.apache.spark.ml.PipelineModel"}, "cannot be loaded: "),
    ],
    ids=["nothing", "empty", "mllib", "foreign", "unfitted", "damaged"],
)
def test_a_folder_that_holds_no_fitted_model_is_a_load_error(spark, tmp_path, metadata, message):
    folder = tmp_path / "spark_model"
    (folder / "metadata").mkdir(parents=True)
    if metadata is not None:
        text = json.dumps(metadata) if metadata else ""
        (folder / "metadata" / "part-00000").write_text(text)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


# --- scripts, as they are published

PUBLISHED = """
    import json
    import traceback

    import model_service.log as log
    from model_service.spark_model_service import SparkServingBaseService
    from pyspark.ml import PipelineModel

    logger = log.getLogger(__name__)

    class FlowerService(SparkServingBaseService):
        def _preprocess(self, data):
            rows = json.loads(data)["data"]["req_data"]
            return self.spark.createDataFrame([{**row, "kind": "setosa"} for row in rows])

        def _inference(self, data):
            try:
                return PipelineModel.load(self.model_path).transform(data)
            except Exception:
                logger.error(traceback.format_exc())
                raise

        def _postprocess(self, data):
            return [{"answer": row.answer} for row in data.select("answer").collect()]
"""


def body(*rows):
    return json.dumps({"data": {"req_data": list(rows)}})


def test_a_script_with_three_steps_of_its_own(spark_package):
    model = load(spark_package(PUBLISHED))
    assert model(body(FLOWER)) == [{"answer": "versicolor"}]
    assert model.service.model_path.endswith("/model/spark_model")


def test_what_java_says_at_length_is_one_line_for_the_client_and_in_the_script_s_own_log(
    spark_package, caplog
):
    model = load(spark_package(PUBLISHED))
    with pytest.raises(
        StepInputError, match=r"_inference raised .*`?length`? .*\(custom"
    ) as caught:
        model(body({"width": 1.0, "colour": "blue"}))
    assert "\n" not in str(caught.value)
    assert max(len(record.getMessage()) for record in caplog.records) < 4000
    assert "at org.apache.spark" not in caplog.text


CONSTRUCTOR = """
    import json
    from model_service.spark_model_service import SparkServingBaseService
    from pyspark.ml import PipelineModel

    class FlowerService(SparkServingBaseService):
        def __init__(self, model_path):
            self.path = model_path
            self.model = PipelineModel.load(model_path)
            self.kinds = self.spark.createDataFrame([("setosa",)], ["kind"])

        def _preprocess(self, data):
            text = self.spark.sparkContext.parallelize([json.dumps(json.loads(data))])
            return self.spark.read.json(text).crossJoin(self.kinds)

        def _inference(self, data):
            return self.model.transform(data)
"""


def test_a_script_may_load_in_its_constructor_and_leave_the_answer_to_its_parent(spark_package):
    (answer,) = load(spark_package(CONSTRUCTOR))(json.dumps(FLOWER))
    assert (answer["answer"], answer["prediction"]) == ("versicolor", 1.0)
    assert isinstance(answer["probability"], list)


def test_a_script_may_shape_only_the_request_and_return_rows(spark, saved, spark_package):
    model = load(
        spark_package("""
        from model_service.spark_model_service import SparkServingBaseService

        class FlowerService(SparkServingBaseService):
            def _preprocess(self, data):
                length, width, colour = data.split(",")
                return [{"length": float(length), "width": float(width), "colour": colour}]
        """)
    )
    assert model("4.6,1.4,blue") == direct(spark, saved, [FLOWER])


def test_a_script_may_set_a_session_of_its_own(spark_package, spark):
    model = load(
        spark_package("""
        from model_service.spark_model_service import SparkServingBaseService
        from pyspark.sql import SparkSession

        class Mine(SparkServingBaseService):
            def __init__(self, model_path):
                self.spark = SparkSession.builder.appName("mine").getOrCreate()

            def _inference(self, data):
                return self.spark.range(3).count()

            def _preprocess(self, data):
                return data
        """)
    )
    assert model("x") == 3


def test_a_constructor_that_spark_refuses_ends_the_load_with_its_reason(spark_package):
    path = spark_package(CONSTRUCTOR.replace("load(model_path)", "load(model_path + '/nowhere')"))
    with pytest.raises(LoadError, match=r"customize_service.py:9: .*nowhere") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_python_function_that_fails_in_spark_is_the_script_s_error(spark_package):
    model = load(
        spark_package("""
        from model_service.spark_model_service import SparkServingBaseService
        from pyspark.sql.functions import udf

        class Mine(SparkServingBaseService):
            def _preprocess(self, data):
                return data

            def _inference(self, data):
                broken = udf(lambda value: 1 / 0)
                return self.spark.range(1).select(broken("id")).collect()
        """)
    )
    with pytest.raises(StepError, match="ZeroDivisionError: division by zero") as caught:
        model("x")
    assert "\n" not in str(caught.value)


# --- the example

EXAMPLE = Path(__file__).parents[2] / "examples" / "flowers-spark"


def test_the_answers_in_the_readme_of_the_example_are_its_own(spark):
    model = load(EXAMPLE)
    readme = (EXAMPLE / "README.md").read_text()
    one, three = (json.loads(line) for line in re.findall(r"^    ({.*})$", readme, re.MULTILINE))
    request = re.search(r"-d '({.*?})' http", readme)[1]
    assert model(request) == one
    assert model((EXAMPLE / "model/examples/three_flowers.json").read_text()) == three
    with pytest.raises(InvalidTensorError, match="row 0 has no 'petal_width'"):
        model(request.replace("petal_width", "breadth"))


# --- Java

FAKE_JAVA = """#!/bin/sh
echo 'openjdk version "{version}" 2020-01-01' >&2
"""


@pytest.fixture
def fake_java(tmp_path, monkeypatch):
    def install(version):
        command = tmp_path / version / "bin" / "java"
        command.parent.mkdir(parents=True)
        command.write_text(FAKE_JAVA.format(version=version))
        command.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / version))
        return command

    return install


@pytest.mark.parametrize(
    ("version", "spark", "wanted"),
    [
        ("17.0.1", "4.0.0", "Java 17.0.1"),
        ("25", "4.3.0", "Java 25"),
        ("1.8.0_402", "3.5.1", "Java 8.0_402"),
        ("11.0.2", "4.0.0", "needs Java 17 or newer for pyspark 4.0.0: found Java 11.0.2"),
        ("25.0.1", "3.5.1", "needs Java 8 to 23 for pyspark 3.5.1: found Java 25.0.1"),
        ("nonsense", "3.5.1", "does not say which it is"),
    ],
)
def test_the_java_there_is_must_fit_pyspark(fake_java, monkeypatch, version, spark, wanted):
    fake_java(version)
    monkeypatch.setattr("importlib.metadata.version", lambda _: spark)
    if wanted.startswith("Java"):
        assert java.checked() == wanted
        return
    with pytest.raises(EngineError, match=f"{wanted}.*openjdk-17-jre-headless"):
        java.checked()


def test_no_java_is_said_before_pyspark_is_imported(monkeypatch, tmp_path, saved):
    environment = {**os.environ, "PATH": str(tmp_path)}
    environment.pop("JAVA_HOME", None)
    command = [sys.executable, "-m", "engineroom"]
    shown = subprocess.run(
        [*command, "check", saved], capture_output=True, text=True, env=environment
    )
    assert shown.returncode == 3
    assert "no java in PATH, and no JAVA_HOME; install one" in shown.stdout
    assert "Traceback" not in shown.stdout + shown.stderr
    table = subprocess.run([*command, "engines"], capture_output=True, text=True, env=environment)
    assert re.search(r"^spark .*no java in PATH", table.stdout, re.MULTILINE)


def test_a_java_that_does_not_start_is_a_load_error_with_what_it_said(fake_java, saved, tmp_path):
    command = fake_java("17.0.1")
    command.write_text(
        FAKE_JAVA.format(version="17.0.1")
        + 'test "$1" = -version || { echo "Error: no memory" >&2; exit 1; }\n'
    )
    shown = subprocess.run(
        [sys.executable, "-m", "engineroom", "check", saved], capture_output=True, text=True
    )
    assert re.search("Java 17.0.1 did not start: .*Error: no memory$", shown.stdout, re.MULTILINE)
    assert shown.returncode == 3


def test_listing_engines_imports_no_pyspark():
    code = (
        "import sys; from engineroom.plugins import Registry;"
        "Registry().engine('spark').framework_version(); print('pyspark' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout == "False\n", shown.stderr


# --- servers


def javas_of(server):
    """The numbers of the Java processes that a server and its workers have started."""
    numbers = [server.process.pid]
    for number in numbers:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for file in Path(f"/proc/{number}/task").glob("*/children"):
                numbers += map(int, file.read_text().split())
    return [n for n in numbers if "SparkSubmit" in Path(f"/proc/{n}/cmdline").read_text()]


def java_of(server):
    """The number of its only one."""
    (number,) = javas_of(server)
    return number


def left_in_tmp(before):
    """What Spark has left in the temporary directory."""
    left = set(Path(session.tempfile.gettempdir()).iterdir()) - before
    return [path.name for path in left if "spark" in path.name or "blockmgr" in path.name]


def wait_until_gone(number, timeout_s=20):
    limit = time.monotonic() + timeout_s
    while time.monotonic() < limit:
        try:
            if Path(f"/proc/{number}/stat").read_text().split()[2] == "Z":
                return
        except OSError:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {number} still runs")


slow = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


@pytest.fixture(scope="module")
def start(start_server):
    def start(path, *options):
        server = start_server(path, *options, ready=False)
        server.wait_until_ready(120)
        return server

    return start


class TestServer:
    pytestmark = slow

    def test_the_answer_is_spark_s_and_nothing_is_left_behind(self, start, spark, saved, tmp_path):
        shutil.copytree(saved, tmp_path / "model" / "spark_model")
        before = set(Path(session.tempfile.gettempdir()).iterdir())
        server = start(tmp_path)
        status, answer, _ = server.post({"data": {"req_data": [FLOWER]}})
        assert (status, answer) == (200, direct(spark, saved, [FLOWER]))
        status, answer, _ = server.post([{**FLOWER, "width": "wide"}])
        assert status == 400
        assert 'column "width", row 0: expected a number' in answer["error"]["message"]
        listening = subprocess.run(["ss", "-ltnp"], capture_output=True, text=True).stdout
        number = java_of(server)
        addresses = [line.split()[3] for line in listening.splitlines() if f"pid={number}," in line]
        assert all("127.0.0.1" in address for address in addresses)
        assert server.stop() == 0
        wait_until_gone(number)
        assert list(tmp_path.iterdir()) == [tmp_path / "model"]
        assert left_in_tmp(before) == []
        assert "WARN " not in server.log()  # Spark's own, which --debug shows

    def test_a_server_that_is_killed_takes_java_with_it(self, start, alone):
        server = start(alone)
        number = java_of(server)
        os.kill(server.process.pid, signal.SIGKILL)
        wait_until_gone(number)

    def test_ctrl_c_does_not_end_java_before_the_running_request(self, start, spark_package):
        server = start(spark_package(SLOW))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.post, b"x")
            server.wait_for_line("at work")
            os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does
            assert answer.result()[:2] == (200, 5)
        assert server.process.wait(20) == 0

    def test_a_request_whose_java_dies_is_503_and_the_server_exits_to_be_replaced(
        self, start, spark_package
    ):
        server = start(spark_package(SLOW))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.post, b"x")
            server.wait_for_line("at work")
            os.kill(java_of(server), signal.SIGKILL)
            status, told, _ = answer.result()
        assert (status, told["error"]["code"]) == (503, "not_ready")
        assert "the Java process of Spark has ended by signal 9" in told["error"]["message"]
        assert server.process.wait(20) == 1
        assert "the Java process of Spark has ended by signal 9" in server.log()

    def test_each_worker_has_a_java_of_its_own_and_is_replaced_with_it_also_in_a_warm_up(
        self, start, spark_package
    ):
        before = set(Path(session.tempfile.gettempdir()).iterdir())
        path = spark_package(SLOW)
        (path / "model" / "examples").mkdir()
        (path / "model" / "examples" / "x.json").write_text("{}")
        server = start(path, "--workers", "2")
        server.wait_for_line(r"(?s)is ready.*is ready", 60)
        killed, lives = javas_of(server)
        os.kill(killed, signal.SIGKILL)
        server.wait_for_line(r"ended \(exit code 1\); starting another", 20)
        server.wait_for_line(r"(?s)at work.*at work.*at work", 90)
        (replacement,) = set(javas_of(server)) - {killed, lives}
        os.kill(replacement, signal.SIGKILL)
        server.wait_for_line(r"has ended by signal 9 while model '\w+' was warming", 20)
        server.wait_for_line(r"(?s)starting another.*starting another", 20)
        assert server.post(b"x")[:2] == (200, 5)
        assert "Py4J" not in server.log()
        assert "Traceback" not in server.log()
        assert server.stop() == 0
        assert left_in_tmp(before) == []


SLOW = """
    import time
    from model_service.spark_model_service import SparkServingBaseService

    class Mine(SparkServingBaseService):
        def __init__(self, model_path):
            self.spark

        def _preprocess(self, data):
            print("at work")
            time.sleep(2)
            return data

        def _inference(self, data):
            return self.spark.range(5).count()
"""


def test_a_model_whose_java_has_died_says_so(alone, tmp_path):
    code = textwrap.dedent("""
        import os, sys
        from engineroom import load
        from engineroom.errors import NotReadyError
        model = load(sys.argv[1])
        row = [{"features": [1.0, 2.0]}]
        model(row)
        process = model.predictor.predictor.spark.sparkContext._gateway.proc
        process.kill()
        process.wait()
        try:
            model(row)
        except NotReadyError as error:
            print(error)
        model.load()
        print(len(model(row)))
    """)
    shown = subprocess.run(
        [sys.executable, "-c", code, alone], capture_output=True, text=True, cwd=tmp_path
    )
    assert "is failed: the Java process of Spark has ended by signal 9" in shown.stdout
    assert shown.stdout.endswith("\n1\n"), shown.stdout + shown.stderr
    assert list(tmp_path.iterdir()) == []
