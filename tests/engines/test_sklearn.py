"""The scikit-learn engine: the conformance suite, its files, the contract's steps, its scripts."""

import gzip
import io
import json
import pickle
import re
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
import sklearn.externals
import skops.io
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from starlette.testclient import TestClient

from engineroom import create_app, load
from engineroom.errors import (
    EngineError,
    InvalidBodyError,
    InvalidTensorError,
    ModelFileError,
    RequestError,
    WarmUpError,
)
from engineroom.testing import EngineConformance
from engineroom_sklearn import tables
from engineroom_sklearn.files import kind_of

IRIS = load_iris()
NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
FLOWER = [5.1, 2.5, 3.0, 1.1]
OTHER = [6.3, 3.3, 6.0, 2.5]


def classifier():
    return LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target_names[IRIS.target])


def named_classifier():
    """Fitted on a data frame, so that it knows the names of its columns."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(IRIS.data, columns=NAMES)
    return LogisticRegression(max_iter=500).fit(frame, IRIS.target_names[IRIS.target])


def booster(**options):
    data = xgboost.DMatrix(IRIS.data, IRIS.target)
    return xgboost.train({"objective": "multi:softprob", "num_class": 3, **options}, data, 4)


def body(*rows, **more):
    """The text of a request as the contract has it."""
    return json.dumps({**more, "data": {"req_data": list(rows)}})


def row(values=FLOWER, names=NAMES):
    return dict(zip(names, values, strict=True))


def predictions(answer):
    return [item["predictresult"] for item in answer]


class Tables(EngineConformance):
    engine = "sklearn"
    request = {"x": [FLOWER]}  # noqa: RUF012

    def data(self, request):
        return json.dumps(request)

    def outputs(self, answer):
        return {"predictresult": predictions(answer)}


class TestSklearnConformance(Tables):
    def write_model(self, folder):
        skops.io.dump(classifier(), folder / "iris.skops")

    def direct(self, folder):
        return {"predictresult": classifier().predict([FLOWER])}


class TestXgboostConformance(Tables):
    def write_model(self, folder):
        booster().save_model(folder / "iris.json")

    def direct(self, folder):
        model = xgboost.Booster(model_file=folder / "iris.json")
        return {"predictresult": model.predict(xgboost.DMatrix(np.array([FLOWER])))}


# --- pickles


def test_a_pickle_is_read_only_where_it_is_allowed(tmp_path, caplog):
    joblib.dump(classifier(), tmp_path / "iris.m")
    with pytest.raises(ModelFileError, match=r"iris\.m is a pickle.*--allow-pickle"):
        load(tmp_path / "iris.m")
    assert predictions(load(tmp_path / "iris.m", allow_pickle=True)(body(row()))) == ["versicolor"]
    assert "iris.m is a pickle: reading it runs code that is in it" in caplog.text


def test_a_pickle_runs_nothing_before_it_is_allowed(tmp_path):
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Writes(tmp_path / "proof")))
    with pytest.raises(ModelFileError, match="is a pickle"):
        load(tmp_path / "bad.pkl")
    assert not (tmp_path / "proof").exists()


class Writes:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["iris.m", "iris.pkl", "iris.pickle", "iris.joblib"])
@pytest.mark.parametrize("how", ["pickle", "protocol 0", "joblib", "zlib", "gzip", "bz2", "xz"])
def test_whatever_wrote_a_pickle_it_is_read(tmp_path, name, how):
    model, path = classifier(), tmp_path / name
    if how in ("pickle", "protocol 0"):
        path.write_bytes(pickle.dumps(model, 0 if how == "protocol 0" else None))
    else:
        joblib.dump(model, path, compress=0 if how == "joblib" else (how, 3))
    assert kind_of(path) == "pickle"
    assert predictions(load(path, allow_pickle=True)(body(row()))) == ["versicolor"]


def old_pickle(path, version=b"0.20.4"):
    """A pickle as scikit-learn 0.20 wrote it: another module name, fewer parameters."""
    model = LinearRegression().fit(IRIS.data, IRIS.target)
    del vars(model)["positive"]
    raw = pickle.dumps(model, 2).replace(
        b"sklearn.linear_model._base", b"sklearn.linear_model.base"
    )
    path.write_bytes(aged(raw, version))


def aged(raw, version):
    """A pickle of protocol 2 with another version of scikit-learn in it."""
    now = re.search(rb"_sklearn_version.{1,12}?(X.{4}\d[\d.]+)", raw, re.DOTALL)[1]
    return raw.replace(now, b"X" + len(version).to_bytes(4, "little") + version)


def test_a_pickle_of_an_old_version_finds_its_modules_and_says_its_age(tmp_path, caplog):
    wanted = LinearRegression().fit(IRIS.data, IRIS.target).predict([FLOWER])
    old_pickle(tmp_path / "old.m")
    assert predictions(load(tmp_path / "old.m", allow_pickle=True)(body(row()))) == list(wanted)
    assert "old.m: made with scikit-learn 0.20.4, installed is" in caplog.text
    assert "sklearn.linear_model.base" not in sys.modules


def test_a_script_that_reads_an_old_pickle_finds_them_too(package):
    script = """
        import joblib
        from model_service.python_model_service import XgSklServingBaseService

        class Mine(XgSklServingBaseService):
            def __init__(self, model_path):
                self.model = joblib.load(model_path)

            def _inference(self, data):
                return [float(value) for value in self.model.coef_]
    """
    path = package(script)
    old_pickle(path / "model" / "old.m", sklearn.__version__.encode())
    wanted = LinearRegression().fit(IRIS.data, IRIS.target).coef_.tolist()
    assert predictions(load(path)(body(row()))) == wanted


@pytest.mark.filterwarnings("default")
def test_a_script_that_reads_models_of_another_version_is_told_so_once(scripted, caplog, capsys):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS.data, IRIS.target)
    raw = aged(pickle.dumps(model, 2), b"1.2.2")
    path = scripted(PUBLISHED, "import joblib", lambda file: file.write_bytes(raw))
    assert predictions(load(path)(body(row()))) == [1]
    assert caplog.text.count("made with scikit-learn 1.2.2, installed is") == 1
    assert "InconsistentVersionWarning" not in capsys.readouterr().err


def test_a_function_of_the_training_script_is_the_one_in_the_package_s_script(package, tmp_path):
    path = package("""
        from model_service.python_model_service import XgSklServingBaseService

        def halve(x):
            return x / 2

        class Service(XgSklServingBaseService):
            pass
    """)
    training = tmp_path / "train.py"
    training.write_text(TRAINING)
    subprocess.run([sys.executable, training, path / "model" / "iris.m"], check=True)
    assert len(predictions(load(path, allow_pickle=True)(body(row())))) == 1


TRAINING = """
import sys

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

def halve(x):
    return x / 2

model = make_pipeline(FunctionTransformer(halve), LogisticRegression(max_iter=500))
joblib.dump(model.fit(*load_iris(return_X_y=True)), sys.argv[1])
"""


def test_a_pickle_that_cannot_be_read_names_both_versions(tmp_path):
    forest = RandomForestClassifier(2).fit(IRIS.data, IRIS.target)
    raw = pickle.dumps(forest, 2).replace(b"impurity", b"impureXX")
    (tmp_path / "forest.m").write_bytes(aged(raw, b"0.20.4"))
    with pytest.raises(ModelFileError, match=r"made with scikit-learn 0\.20\.4, the installed"):
        load(tmp_path / "forest.m", allow_pickle=True)


def test_a_module_that_a_pickle_needs_is_named_with_what_to_do(tmp_path):
    (tmp_path / "x.m").write_bytes(b"\x80\x02cnosuchmodule\nThing\n.")
    with pytest.raises(ModelFileError, match="needs the module 'nosuchmodule'.*pip install"):
        load(tmp_path / "x.m", allow_pickle=True)


def test_a_class_of_the_training_script_is_explained(tmp_path):
    (tmp_path / "x.m").write_bytes(b"\x80\x02c__main__\nMyModel\n.")
    with pytest.raises(ModelFileError, match="MyModel.*defined in the script that made the file"):
        load(tmp_path / "x.m", allow_pickle=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [({"model": 1, "labels": 2}, "got dict with the keys model, labels"), ([1], "got list")],
)
def test_a_pickle_without_a_model_says_what_is_in_it(tmp_path, value, said):
    joblib.dump(value, tmp_path / "x.m")
    with pytest.raises(ModelFileError, match=said):
        load(tmp_path / "x.m", allow_pickle=True)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x80\x04\x95", gzip.compress(b"x")])
def test_a_file_that_is_no_model_is_named(tmp_path, content):
    (tmp_path / "x.m").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"x\.m"):
        load(tmp_path / "x.m", allow_pickle=True)


# --- skops


class Doubling(LinearRegression):
    def predict(self, X):
        return 2 * super().predict(X)


def test_types_that_skops_does_not_trust_are_named(tmp_path):
    skops.io.dump(Doubling().fit(IRIS.data, IRIS.target), tmp_path / "x.skops")
    with pytest.raises(ModelFileError, match=r"skops does not trust \(.*Doubling\).*allow-pickle"):
        load(tmp_path / "x.skops")
    assert len(load(tmp_path / "x.skops", allow_pickle=True)(body(row()))) == 1


# --- XGBoost


@pytest.mark.parametrize("name", ["x.json", "x.ubj", "x.m", "x.model", "x.bst", "x.xgb"])
@pytest.mark.parametrize("form", ["json", "ubj"])
def test_xgboost_files_are_known_by_their_content(tmp_path, name, form):
    model = booster()
    (tmp_path / name).write_bytes(model.save_raw(form))
    wanted = model.predict(xgboost.DMatrix(np.array([FLOWER, OTHER])))
    found = load(tmp_path / name)
    assert predictions(found(body(row(), row(OTHER)))) == wanted.tolist()
    assert str(found.outputs[0]) == "(N, 3) float32"


@pytest.mark.parametrize("kind", ["gbtree", "dart", "gblinear"])
def test_every_booster_answers_as_xgboost_does(tmp_path, kind):
    model = booster(booster=kind)
    model.save_model(tmp_path / "x.json")
    wanted = model.predict(xgboost.DMatrix(IRIS.data))
    got = predictions(load(tmp_path)(body(*IRIS.data.tolist())))
    np.testing.assert_array_equal(np.array(got, np.float32), wanted)


def test_xgboost_on_real_data_with_a_held_out_score(tmp_path):
    x, y = load_diabetes(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.3, random_state=0)
    options = {"max_depth": 2, "eta": 0.1, "seed": 0}
    model = xgboost.train(options, xgboost.DMatrix(train_x, train_y), 60)
    model.save_model(tmp_path / "diabetes.ubj")
    got = np.array(predictions(load(tmp_path)(body(*test_x.tolist()))))
    np.testing.assert_array_equal(got.astype(np.float32), model.predict(xgboost.DMatrix(test_x)))
    assert 1 - ((got - test_y) ** 2).sum() / ((test_y - test_y.mean()) ** 2).sum() > 0.3


def test_a_pickled_classifier_of_xgboost_answers_classes(tmp_path):
    model = xgboost.XGBClassifier(n_estimators=4).fit(IRIS.data, IRIS.target)
    joblib.dump(model, tmp_path / "x.pkl")
    assert predictions(load(tmp_path, allow_pickle=True)(body(row(), row(OTHER)))) == [1, 2]


def test_a_pickled_booster_is_a_booster(tmp_path):
    joblib.dump(booster(), tmp_path / "x.pkl")
    assert len(predictions(load(tmp_path, allow_pickle=True)(body(row())))[0]) == 3


def test_the_old_binary_format_says_how_to_convert_it(tmp_path):
    head = np.float32(0.5).tobytes() + (4).to_bytes(4, "little") + (3).to_bytes(4, "little")
    (tmp_path / "old.m").write_bytes(head + bytes(400))
    with pytest.raises(ModelFileError, match=r"old binary format.*xgboost<3\.1.*old\.json"):
        load(tmp_path)


def test_without_xgboost_the_message_says_what_to_install(tmp_path, monkeypatch):
    booster().save_model(tmp_path / "x.json")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ModelFileError, match=r"engineroom-sklearn\[xgboost\]"):
        load(tmp_path)


def test_strings_for_xgboost_are_the_client_s_error(tmp_path):
    booster().save_model(tmp_path / "x.json")
    with pytest.raises(InvalidTensorError, match="got strings"):
        load(tmp_path)(body(["a", 1, 2, 3]))


def test_a_gap_is_a_missing_value_for_xgboost(tmp_path):
    booster().save_model(tmp_path / "x.json")
    wanted = booster().predict(xgboost.DMatrix(np.array([[np.nan, 2.5, 3.0, 1.1]])))
    assert predictions(load(tmp_path)(body([None, 2.5, 3.0, 1.1]))) == wanted.tolist()


# --- which files are models


def test_other_json_files_in_a_package_are_none(package):
    path = package(**{"labels.json": '["a"]', "config.json": "{}"})
    booster().save_model(path / "model" / "net.json")
    assert load(path).predictor.find().name == "net.json"


def test_a_json_file_that_is_no_model_fits_no_engine(tmp_path):
    (tmp_path / "labels.json").write_text('["a"]')
    with pytest.raises(EngineError, match="no engine reads this file"):
        load(tmp_path / "labels.json")


@pytest.mark.parametrize("kind", ["Scikit_Learn", "XGBoost", "xgboost"])
def test_config_json_chooses_the_engine(package, kind):
    path = package(**{"config.json": json.dumps({"model_type": kind})})
    booster().save_model(path / "model" / "x.json")
    assert load(path).engine.name == "sklearn"


def test_a_scikit_learn_file_imports_no_xgboost(tmp_path):
    skops.io.dump(classifier(), tmp_path / "iris.skops")
    code = (
        "import sys; from engineroom import load; load(sys.argv[1]);"
        "print([name for name in ('xgboost', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# --- the contract's steps


@pytest.fixture
def iris(tmp_path):
    skops.io.dump(classifier(), tmp_path / "iris.skops")
    return load(tmp_path)


@pytest.fixture
def named(tmp_path):
    skops.io.dump(named_classifier(), tmp_path / "named.skops")
    return load(tmp_path)


def test_rows_are_in_the_order_of_the_first_row_s_keys(iris):
    turned = dict(reversed(row(OTHER, ("d", "c", "b", "a")).items()))
    rows = [row(OTHER, ("d", "c", "b", "a")), turned]
    assert predictions(iris(body(*rows))) == ["virginica", "virginica"]


def test_names_that_the_model_knows_decide_the_order(named):
    turned = dict(reversed(row(OTHER).items()))
    assert predictions(named(body(turned, row()))) == ["virginica", "versicolor"]


def test_names_that_the_model_does_not_know_leave_the_order(named):
    assert predictions(named(body(row(OTHER, ("a", "b", "c", "d"))))) == ["virginica"]


def test_a_booster_knows_names_too(tmp_path):
    data = xgboost.DMatrix(IRIS.data, IRIS.target, feature_names=list(NAMES))
    model = xgboost.train({"max_depth": 3}, data, 4)
    model.save_model(tmp_path / "x.json")
    both = load(tmp_path)(body(row(), dict(reversed(row().items()))))
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{**row(), "colour": 1}], "row 0 of req_data has the unknown 'colour'.*petal_width"),
        ([row(FLOWER[:3], NAMES[:3])], "row 0 of req_data lacks 'petal_width'"),
        ([row(), row(FLOWER, ("a", "b", "c", "d"))], "row 1 of req_data lacks 'sepal_length'"),
        ([row(), FLOWER], "row 1 of req_data is no object"),
    ],
)
def test_a_row_with_other_keys_is_named(named, rows, said):
    with pytest.raises(InvalidTensorError, match=said):
        named(body(*rows))


@pytest.mark.parametrize(
    "text", [body(row()), body(FLOWER), json.dumps({"x": [FLOWER]}), json.dumps([FLOWER])]
)
def test_rows_come_as_objects_or_lists_with_or_without_the_envelope(iris, text):
    assert iris(text) == [{"predictresult": "versicolor"}]


@pytest.mark.parametrize(
    "text", ["{}", "7", "null", '"x"', '{"data": 1}', '{"data": {}}', '{"data": {"req_data": 1}}']
)
def test_a_request_without_rows_is_shown_one(named, text):
    with pytest.raises(InvalidTensorError, match=r'"req_data": \[{"sepal_length": 0'):
        named(text)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows"),
        ([[]], "rows without values"),
        ([[1, 2, 3]], r"expected \(N, 4\) float64, got 3 values in a row"),
        ([FLOWER, [1, 2]], "4 values in row 0 and 2 in row 1"),
        ([[[1], 2, 3, 4]], "a list as a value"),
        ([FLOWER, 1], "int 1 as row 1"),
        ([["a", 2, 3, 4]], "could not convert string to float"),
        ([[None, 2, 3, 4]], "contains NaN"),
        ([[1e999, 2, 3, 4]], "contains infinity"),
        ([[10**400, 2, 3, 4]], "no float64"),
    ],
    ids=repr,
)
def test_a_row_that_does_not_fit_is_the_client_s_error(iris, rows, said):
    with pytest.raises(RequestError, match=said) as caught:
        iris(body(*rows))
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["{", "a=1", "1" * 5000, "[" * 100_000])
def test_a_body_that_is_not_json_is_the_client_s_error(iris, text):
    with pytest.raises(InvalidBodyError, match="the body is not JSON"):
        iris(text)


def test_the_envelope_echoes_meta_first(tmp_path):
    skops.io.dump(classifier(), tmp_path / "iris.skops")
    with TestClient(create_app(tmp_path)) as client:
        answer = client.post("/", content=body(row(), meta={"uuid": "7"}))
        assert answer.text == (
            '{"meta":{"uuid":"7"},"data":{"resp_data":[{"predictresult":"versicolor"}]}}'
        )
        assert list(client.post("/", content=body(row())).json()) == ["data"]
        bad = client.post("/", content="no JSON")
        assert (bad.status_code, bad.json()["erno"]) == (400, "PY.0101")
        assert bad.json()["msg"] == "The input data is invalid"


def test_a_form_carries_an_array_too(tmp_path):
    skops.io.dump(classifier(), tmp_path / "iris.skops")
    array = io.BytesIO()
    np.save(array, np.array([FLOWER, OTHER]))
    with TestClient(create_app(tmp_path)) as client:
        answer = client.post("/", files={"x": ("rows.npy", array.getvalue())})
    assert predictions(answer.json()["data"]["resp_data"]) == ["versicolor", "virginica"]


# --- words, gaps and texts


def houses(pd):
    frame = pd.DataFrame({"town": ["Ulm", "Bonn", "Ulm", "Kiel"], "rooms": [1, 2, 3, 4]})
    columns = make_column_transformer((OneHotEncoder(), ["town"]), (StandardScaler(), ["rooms"]))
    return make_pipeline(columns, LinearRegression()).fit(frame, [1.0, 2.0, 3.0, 4.0]), frame


def test_a_pipeline_takes_words_and_numbers_by_name(tmp_path, caplog):
    model, frame = houses(pytest.importorskip("pandas"))
    skops.io.dump(model, tmp_path / "houses.skops")
    found = load(tmp_path)
    rows = [{"rooms": 3, "town": "Ulm"}, {"rooms": 2, "town": "Bonn"}]
    wanted = model.predict(frame.iloc[[2, 1]]).tolist()
    assert predictions(found(body(*rows))) == wanted
    assert "put a request into examples/" in caplog.text  # zeros are no town
    with pytest.raises(InvalidTensorError, match="unknown categories"):
        found(body({"rooms": 3, "town": "Rome"}))


def test_without_pandas_columns_by_name_are_refused_when_the_model_is_loaded(tmp_path, monkeypatch):
    model, _ = houses(pytest.importorskip("pandas"))
    skops.io.dump(model, tmp_path / "houses.skops")
    monkeypatch.setattr(tables, "has_pandas", lambda: False)
    monkeypatch.setattr("engineroom_sklearn.estimators.has_pandas", lambda: False)
    with pytest.raises(WarmUpError, match="needs pandas"):
        load(tmp_path)


def test_a_gap_is_nan_for_a_model_that_takes_it(tmp_path):
    model = HistGradientBoostingRegressor(max_iter=5).fit(IRIS.data, IRIS.target)
    joblib.dump(model, tmp_path / "x.m")
    wanted = model.predict([[np.nan, 2.5, 3.0, 1.1]]).tolist()
    found = load(tmp_path, allow_pickle=True)
    assert predictions(found(body([None, 2.5, 3.0, 1.1]))) == wanted
    assert predictions(found("[[NaN, 2.5, 3.0, 1.1]]")) == wanted


def test_a_vectorizer_takes_one_text_for_each_row(tmp_path):
    texts, labels = ["good film", "bad film", "good book", "bad book"], ["+", "-", "+", "-"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
    joblib.dump(model, tmp_path / "x.m")
    found = load(tmp_path, allow_pickle=True)
    assert predictions(found(body({"text": "good"}, {"text": "bad"}))) == ["+", "-"]
    assert predictions(found('["good"]')) == ["+"]
    with pytest.raises(InvalidTensorError, match="give one text"):
        found("[1]")


def test_a_forest_of_all_cores_takes_the_threads_it_is_given(tmp_path):
    joblib.dump(RandomForestClassifier(3, n_jobs=-1).fit(IRIS.data, IRIS.target), tmp_path / "x.m")
    found = load(tmp_path, allow_pickle=True, engine_threads=1)
    assert found.predictor.predictor.model.n_jobs == 1
    assert predictions(found(body(row()))) == [1]


# --- scripts


@pytest.fixture
def scripted(package):
    """A package with a class body, beside iris.m."""

    def write(text, imports="", save=lambda path: joblib.dump(classifier(), path)):
        start = (
            "import json\nimport numpy as np\n"
            f"{imports}\n"
            "from model_service.python_model_service import XgSklServingBaseService\n\n"
            "class Mine(XgSklServingBaseService):\n"
        )
        path = package(start + textwrap.indent(textwrap.dedent(text), "    "))
        save(path / "model" / "iris.m")
        return path

    return write


PUBLISHED = """
def __init__(self, model_path):
    super().__init__(model_path)
    self.model = joblib.load(self.model_path)

def _preprocess(self, data):
    req_data = json.loads(data)["data"]["req_data"]
    return [[element[each] for each in element] for element in req_data]

def _inference(self, data):
    return self.model.predict(data).tolist()

def _postprocess(self, data):
    return [{"predictresult": element} for element in data]
"""


@pytest.mark.parametrize("imports", ["import joblib", "from sklearn.externals import joblib"])
def test_a_published_script_loads_its_model_itself(scripted, imports, monkeypatch):
    # An import leaves its module in the package that holds it, where other tests would find it.
    monkeypatch.setattr(sklearn.externals, "joblib", None, raising=False)
    monkeypatch.delattr(sklearn.externals, "joblib")
    path = scripted(PUBLISHED, imports)
    with TestClient(create_app(path)) as client:
        answer = client.post("/", content=body(row(), meta={"uuid": 1}))
    assert answer.json() == {
        "meta": {"uuid": 1}, "data": {"resp_data": [{"predictresult": "versicolor"}]}
    }  # fmt: skip


XGBOOST = """
def __init__(self, model_path):
    self.model_path = model_path

def _inference(self, data):
    model = xgb.Booster(model_file=self.model_path)
    return model.predict(xgb.DMatrix(np.array(data))).tolist()
"""


@pytest.mark.filterwarnings("ignore:.*Unknown file format")
def test_a_published_script_for_xgboost(scripted):
    model = booster()
    path = scripted(
        XGBOOST, "import xgboost as xgb", lambda file: file.write_bytes(model.save_raw("ubj"))
    )
    wanted = model.predict(xgboost.DMatrix(np.array([FLOWER]))).tolist()
    assert predictions(load(path)(body(row()))) == wanted


def test_a_script_may_keep_the_default_inference(scripted):
    path = scripted("""
        def _preprocess(self, data):
            return np.array([[float(value) for value in data.split(",")]])

        def _postprocess(self, data):
            return data[0].upper()
    """)
    assert load(path, allow_pickle=True)("5.1,2.5,3.0,1.1") == "VERSICOLOR"


def test_a_script_may_give_a_data_frame(scripted):
    path = scripted(
        """
        def _preprocess(self, data):
            return pd.DataFrame(super()._preprocess(data), columns=list("abcd")).to_numpy()
        """,
        "import pandas as pd",
    )
    assert predictions(load(path, allow_pickle=True)(body(row()))) == ["versicolor"]


def test_the_default_postprocess_says_what_it_takes(scripted):
    path = scripted("def _inference(self, data):\n    return {'a': 1}")
    with pytest.raises(RequestError, match="takes a list of predictions, got dict") as caught:
        load(path)(body(row()))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "text",
    ["pass", "def __init__(self, model_path):\n    super().__init__(model_path)",
     "def __init__(self, model_path):\n    super().__init__('mine', model_path)"],
)  # fmt: skip
def test_model_path_is_the_file(scripted, text):
    path = scripted(text + "\ndef _inference(self, data):\n    return [self.model_path]")
    assert predictions(load(path)(body(row()))) == [str(path / "model" / "iris.m")]
