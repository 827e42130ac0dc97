"""Names that today's libraries lack, lent to scripts and to nobody else."""

import importlib
import io
import json
import logging
import os
import pickle
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engineroom import load
from engineroom.encoding import encode_response
from engineroom.errors import DeviceError
from engineroom.lending import Stage, asking, lend
from engineroom.old_names import adapt_numpy
from engineroom.package import open_package
from engineroom.settings import Settings

SCRIPT = """
import {imports}
from model_service.onnx_model_service import OnnxServingBaseService

class Old(OnnxServingBaseService):
    def _inference(self, data):
        return {result}
"""


@pytest.fixture
def old(package, monkeypatch):
    """Loads a script that imports and returns something: ``old("numpy as np", "np.int(2.5)")``."""
    monkeypatch.delitem(vars(np), "__getattr__", raising=False)  # what earlier tests lent

    def make(imports, result, **settings):
        return load(package(SCRIPT.format(imports=imports, result=result)), **settings)

    return make


@pytest.mark.parametrize(
    ("expression", "value"),
    [("np.int(2.5)", 2), ("np.float('1.5')", 1.5), ("np.zeros(1, np.object).tolist()", [0])],
)
def test_names_of_old_numpy_are_lent(old, expression, value):
    assert old("numpy as np", expression)({"a": 1}) == value


def test_they_are_lent_to_the_script_only(old):
    old("numpy as np", "np.int(2.5)")({"a": 1})
    with pytest.raises(AttributeError):
        _ = np.int


def test_from_imports_get_them_too(old):
    assert old("sys\nfrom numpy import float as real", "real('1.5')")({"a": 1}) == 1.5


def test_what_numpy_has_stays_as_it_is(old):
    assert old("numpy as np", "np.bool is np.bool_")({"a": 1}) is hasattr(np, "bool")


def test_a_name_nobody_knows_is_still_an_attribute_error(old):
    with pytest.raises(Exception, match="has no attribute 'nonsense'"):
        old("numpy as np", "np.nonsense")({"a": 1})


def test_one_log_line_names_what_the_load_borrowed(old, caplog):
    caplog.set_level(logging.INFO, "engineroom")
    old("numpy as np\nWIDE, HIGH = np.int, np.float", "1")
    (line,) = [m for m in caplog.messages if "lent" in m]
    assert line == "lent to the script, with today's spelling: np.int (int), np.float (float)"


def test_lending_can_be_switched_off(old):
    with pytest.raises(Exception, match="no attribute 'int'"):
        old("numpy as np", "np.int(2.5)", lent_names=False)({"a": 1})


def test_joblib_is_found_where_scikit_learn_once_kept_it(old):
    pytest.importorskip("sklearn")
    model = old("sys\nfrom sklearn.externals import joblib", "joblib.__name__")
    assert model({"a": 1}) == "joblib"
    assert model.stage.lent == {"sklearn.externals.joblib": "joblib"}


# --- pandas

TABLE = "pd.DataFrame({'a': [1, 2], 'b': [3, 4]})"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (f"{TABLE}.get_values().tolist()", [[1, 3], [2, 4]]),
        ("pd.Series([1, 2]).get_values().tolist()", [1, 2]),
        (f"{TABLE}.append({TABLE}).index.tolist()", [0, 1, 0, 1]),
        (f"{TABLE}.append([{TABLE}, {TABLE}]).shape", (6, 2)),
        (
            f"{TABLE}.append({{'a': 5, 'b': 6}}, ignore_index=True).values.tolist()",
            [[1, 3], [2, 4], [5, 6]],
        ),
        (f"{TABLE}.append(pd.Series([5, 6], ['a', 'b'], name='x')).index.tolist()", [0, 1, "x"]),
        (f"{TABLE}.append({{'a': 5, 'b': 6}}, ignore_index=True).dtypes.nunique()", 1),
        ("pd.Series([1]).append(pd.Series([2])).tolist()", [1, 2]),
        ("pd.Series([1, None]).fillna(method='pad').tolist()", [1, 1]),
        ("pd.DataFrame({'a': [None, 2]}).fillna(method='bfill').values.tolist()", [[2], [2]]),
        ("pd.Series([1, None]).fillna(0).tolist()", [1, 0]),
        ("pd.datetime(2020, 1, 2).day", 2),
        (f"{TABLE}.drop('a', 1).columns.tolist()", ["b"]),
        (f"pd.concat([{TABLE}, {TABLE}], 1).shape", (2, 4)),
        ("pd.read_csv(io.StringIO('a b\\n1 2'), delim_whitespace=True).shape", (1, 2)),
        (
            "pd.read_csv(io.StringIO('a\\n1\\n2,3'), error_bad_lines=False, warn_bad_lines=False).shape",
            (1, 1),
        ),
        ("pd.read_csv(io.StringIO('a\\n1\\n2'), squeeze=True).tolist()", [1, 2]),
        ("pd.io.json.json_normalize({'a': {'b': 1}}).columns.tolist()", ["a.b"]),
        (f"{TABLE}.to_dict('record')", [{"a": 1, "b": 3}, {"a": 2, "b": 4}]),
        (f"{TABLE}.to_dict('list')", {"a": [1, 2], "b": [3, 4]}),
        (f"{TABLE}.applymap(lambda x: x * 2).values.tolist()", [[2, 6], [4, 8]]),
        ("pd.Series(pd.to_datetime(['2019-08-01'])).dt.weekofyear.tolist()", [31]),
        ("pd.to_datetime(['2019-08-01', '2020-01-01']).week.tolist()", [31, 1]),
    ],
)
def test_methods_of_old_pandas_are_lent(old, expression, value):
    pytest.importorskip("pandas")
    assert old("io, pandas as pd", expression)({"a": 1}) == value


LABELLED = "pd.DataFrame({'a': [1, 2, 3], 'b': [4, 5, 6]}, index=['x', 'y', 'z'])"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (f"{LABELLED}.ix['y', 'b']", 5),
        (f"{LABELLED}.ix[1, 0]", 2),
        (f"{LABELLED}.ix['x':'y', 0:1].values.tolist()", [[1], [2]]),
        (f"{LABELLED}.ix[:, ['b']].values.tolist()", [[4], [5], [6]]),
        (f"{LABELLED}.ix[[True, False, True]].index.tolist()", ["x", "z"]),
        (f"{TABLE}.ix[0:1].shape", (2, 2)),  # labels, of which the last counts
        ("pd.Series([7, 8], index=[5, 6]).ix[6]", 8),
    ],
)
def test_ix_takes_labels_and_places_where_the_labels_are_no_numbers(old, expression, value):
    pytest.importorskip("pandas")
    assert old("pandas as pd", expression)({"a": 1}) == value


def test_ix_can_be_assigned_to(package):
    pytest.importorskip("pandas")
    script = SCRIPT.format(imports="pandas as pd", result="changed()")
    script += f"""
def changed():
    table = {LABELLED}
    table.ix['y', 'b'] = 9
    return table.values.tolist()
"""
    assert load(package(script))({"a": 1}) == [[1, 4], [2, 9], [3, 6]]


def test_a_column_filled_in_place_is_filled_in_its_table(package):
    pytest.importorskip("pandas")
    script = """
        import pandas as pd
        from model_service.onnx_model_service import OnnxServingBaseService
        class S(OnnxServingBaseService):
            def _inference(self, data):
                table = pd.DataFrame({"a": [1, None], "b": [None, 2], "c": [3, 4]})
                for column in ("a", "b"):
                    table[column].fillna(0, inplace=True)
                table["c"].replace(3, 5, inplace=True)
                table.fillna(9, inplace=True)
                return table.values.tolist()
    """
    assert load(package(script))({"a": 1}) == [[1, 0, 5], [0, 2, 4]]


def test_a_label_that_ix_does_not_find_is_a_key_error(old):
    pytest.importorskip("pandas")
    with pytest.raises(Exception, match="KeyError: .*nowhere"):
        old("pandas as pd", f"{LABELLED}.ix[['x', 'nowhere']]")({"a": 1})


def test_pandas_keeps_its_own_errors_for_others(old):
    pd = pytest.importorskip("pandas")
    old("pandas as pd", "pd.Series([1]).fillna(method='pad').tolist()")({"a": 1})
    with pytest.raises(TypeError):
        pd.DataFrame({"a": [1]}).drop("a", 1)


def test_a_row_without_a_name_needs_ignore_index_as_it_always_did(old):
    pytest.importorskip("pandas")
    with pytest.raises(Exception, match="ignore_index=True"):
        old("pandas as pd", f"{TABLE}.append({{'a': 5, 'b': 6}})")({"a": 1})


def test_methods_are_lent_to_the_script_only(old):
    pd = pytest.importorskip("pandas")
    old("pandas as pd", f"{TABLE}.get_values().shape")({"a": 1})
    assert not hasattr(pd.DataFrame({"a": [1]}), "get_values")


def test_a_column_of_that_name_is_what_others_get(old):
    pd = pytest.importorskip("pandas")
    old("pandas as pd", f"{TABLE}.get_values().shape")({"a": 1})
    assert pd.DataFrame({"append": [7]}).append.tolist() == [7]


def test_several_packages_in_one_process_all_get_them(tmp_path):
    models = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        script = SCRIPT.format(imports="numpy as np", result="np.int(2.5)")
        (tmp_path / name / "customize_service.py").write_text(script)
        models.append(load(tmp_path / name))
    assert [model({"a": 1}) for model in models] == [2, 2]
    assert [model.stage.lent for model in models] == [{"np.int": "int"}] * 2


def test_a_package_loaded_again_has_the_new_setting(old):
    assert old("numpy as np", "np.int(2.5)")({"a": 1}) == 2
    with pytest.raises(Exception, match="no attribute 'int'"):
        old("numpy as np", "np.int(2.5)", lent_names=False)({"a": 1})


def test_a_thousand_packages_leave_no_trail(stage):
    for _ in range(1000):
        adapt_numpy(np, stage)
    assert not hasattr(np, "nonsense")


def test_a_method_may_be_taken_from_its_class(old):
    pytest.importorskip("pandas")
    assert old("pandas as pd", f"pd.DataFrame.get_values({TABLE}).shape")({"a": 1}) == (2, 2)


# --- what an engine builds on


@pytest.fixture
def stage(package):
    return Stage(open_package(package("x = 1\n")), Settings(), "auto")


def ask(stage, code, **names):
    """Run ``code`` as if it stood in the package's script."""
    exec(compile(code, str(stage.package.script), "exec"), names)


def test_a_wrapper_can_tell_who_calls_it(stage):
    answers = []

    def wrapper():
        answers.append(asking())

    wrapper()
    ask(stage, "wrapper()", wrapper=wrapper)
    assert answers == [None, stage]


def test_a_module_that_answers_for_itself_goes_on_doing_so(stage):
    module = types.ModuleType("lazy")
    vars(module)["__getattr__"] = lambda name: f"own {name}"
    lend(module, lambda name: ("lent", "new.name") if name == "old" else None)
    seen = []
    ask(stage, "seen += [lazy.old, lazy.other]", lazy=module, seen=seen)
    assert [*seen, module.old] == ["lent", "own other", "own old"]
    assert stage.lent == {"lazy.old": "new.name"}


WATCHING = """
from engineroom import Device, Engine, hookimpl

class Watching(Engine):
    name = "watching"
    parent = "model_service.watching_model_service.WatchingBaseService"
    watches = ("old_library",)

    def load(self, path, device, threads):
        raise AssertionError

    def devices(self):
        return (Device("npu", 1), Device("cpu"))

    def after_import(self, module, stage):
        module.adapted_on = stage.device

@hookimpl
def register_engine(register):
    register(Watching())
"""


def test_an_engine_hears_of_the_import_of_its_framework_by_a_script(
    install_plugin, package, tmp_path, monkeypatch
):
    install_plugin("watching", WATCHING)
    library = tmp_path / "site" / "old_library.py"
    library.write_text("ORIGINAL = 1\n")
    script = (
        "import old_library\n"
        "from model_service.watching_model_service import WatchingBaseService\n"
        "class Mine(WatchingBaseService):\n"
        "    def _inference(self, data):\n"
        "        return old_library.adapted_on, old_library.ORIGINAL, old_library.__file__\n"
    )
    try:
        assert load(package(script), device="npu:1")({"a": 1}) == ("npu:1", 1, str(library))
    finally:
        sys.modules.pop("old_library", None)


STANDING_IN = WATCHING.replace(
    "def after_import(self, module, stage):",
    """
    moved = {"gone_library": "old_library"}

    def before_import(self, name, stage):
        return "new_library" if "new.h5" in {f.name for f in stage.package.files(("*",))} else None
""",
).replace("module.adapted_on = stage.device", "")


@pytest.mark.parametrize(("files", "found"), [({}, "old"), ({"new.h5": ""}, "new")])
def test_an_engine_may_let_another_library_stand_for_the_one_it_watches(
    install_plugin, package, tmp_path, files, found
):
    install_plugin("watching", STANDING_IN)
    for age in ("old", "new"):
        library = tmp_path / "site" / f"{age}_library"
        library.mkdir()
        (library / "__init__.py").write_text("")
        (library / "part.py").write_text(f"AGE = {age!r}")
    script = SCRIPT.format(
        imports="old_library.part, gone_library.part",
        result="old_library.part.AGE, gone_library.part.AGE",
    )
    try:
        model = load(package(script, **files))
        assert model({"a": 1}) == (found, found)
        assert "gone_library" in model.stage.lent
        assert "gone_library" not in sys.modules
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0].endswith("_library")]:
            del sys.modules[name]


REFUSING = """
from engineroom import Engine, hookimpl
from engineroom.encoding import encode_response
from engineroom.errors import DeviceError

class Refusing(Engine):
    name = "refusing"
    parent = "model_service.refusing_model_service.RefusingBaseService"
    watches = ("old_library",)

    def load(self, path, device, threads):
        raise AssertionError

    def after_import(self, module, stage):
        if stage.settings.debug:
            raise DeviceError("no such device for old_library")

@hookimpl
def register_engine(register):
    register(Refusing())
"""
IMPORTS_IT = (
    "import old_library\n"
    "from model_service.refusing_model_service import RefusingBaseService\n"
    "class Mine(RefusingBaseService):\n"
    "    def _inference(self, data):\n"
    "        return old_library.ORIGINAL\n"
)


@pytest.mark.parametrize("is_imported_before", [True, False])
def test_a_refused_script_leaves_the_process_and_the_library_as_they_were(
    install_plugin, package, tmp_path, monkeypatch, is_imported_before
):
    install_plugin("refusing", REFUSING)
    (tmp_path / "site" / "old_library.py").write_text("ORIGINAL = 1\n")
    if is_imported_before:
        importlib.import_module("old_library")
    path = package(IMPORTS_IT)
    before = os.getcwd(), list(sys.path), list(sys.meta_path), list(sys.argv)
    try:
        with pytest.raises(DeviceError, match="no such device"):
            load(path, debug=True)
        assert (os.getcwd(), sys.path, sys.meta_path, sys.argv) == before
        assert "old_library" in sys.modules
        with ThreadPoolExecutor(1) as pool:  # the stage is free for other threads
            assert pool.submit(lambda: load(path)({"a": 1})).result(10) == 1
    finally:
        sys.modules.pop("old_library", None)


def test_an_adapter_that_fails_does_not_keep_the_script_from_its_library(
    install_plugin, package, tmp_path, caplog
):
    install_plugin("refusing", REFUSING.replace("stage.settings.debug", "stage.nonsense"))
    (tmp_path / "site" / "old_library.py").write_text("ORIGINAL = 1\n")
    try:
        assert load(package(IMPORTS_IT))({"a": 1}) == 1
        assert "old_library was not adapted to the script" in caplog.text
    finally:
        sys.modules.pop("old_library", None)


# --- names of other libraries


@pytest.mark.parametrize(
    ("imports", "expression", "value"),
    [
        ("scipy.integrate as it", "float(it.simps([0, 1, 4], [0, 1, 2]))", 8 / 3),
        ("scipy.integrate as it", "it.cumtrapz([1, 1, 1]).tolist()", [1, 2]),
        ("scipy.signal as signal", "signal.hann(3).tolist()", [0, 1, 0]),
        ("scipy", "float(scipy.interp(1.5, [1, 2], [3, 4]))", 3.5),
        ("scipy.ndimage as nd", "nd.imread.__module__ == 'engineroom.lent.misc'", True),
    ],
)
def test_what_scipy_renamed_or_moved_is_lent(old, imports, expression, value):
    pytest.importorskip("scipy")
    assert old(imports, expression)({"a": 1}) == pytest.approx(value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # older numpy still has some
@pytest.mark.parametrize(
    ("imports", "expression", "value"),
    [
        ("numpy as np", "np.asscalar(np.float32(1.5))", 1.5),
        ("numpy as np", "np.fromstring(b'\\x01\\x02', np.uint8)", [1, 2]),
        ("numpy as np", "np.fromstring(b'\\x01\\x02', dtype='uint8', sep='')", [1, 2]),
        ("numpy as np", "np.fromstring('1 2', sep=' ')", [1.0, 2.0]),
        ("numpy as np", "np.in1d([[1, 2]], [2])", [False, True]),
        (
            "numpy as np",
            "[np.product([2, 3]), np.alltrue([1, 0])]",
            [6, False],
        ),
        ("numpy as np", "np.array([[1, 2]], copy=False, dtype=np.uint8)", [[1, 2]]),
        ("numpy as np", "np.math.sqrt(4)", 2.0),
        ("base64", "base64.encodestring(b'a')", "YQ==\n"),
        ("collections", "isinstance([], collections.Iterable)", True),
        ("time", "time.clock() > 0", True),
        ("inspect", "inspect.getargspec(lambda a: 0).args", ["a"]),
        ("fractions", "fractions.gcd(4, 6)", 2),
        ("json", "json.loads('[1]', encoding='utf-8')", [1]),
        ("numpy as np", "np.uint8([65]).tostring()", "A"),
        ("array", "array.array('b', [65]).tostring()", "A"),
        ("xml.etree.cElementTree as ET", "ET.fromstring('<a/>').tag", "a"),
        (
            "PIL.Image as Image",
            "Image.new('L', (4, 4)).resize((2, 2), Image.ANTIALIAS).size",
            [2, 2],
        ),
        ("PIL.ImageFont as F", "F.load_default().getsize('x')[0] > 0", True),
        (
            "PIL.ImageDraw as D, PIL.Image as I",
            "D.Draw(I.new('L', (9, 9))).textsize('x')[0] > 0",
            True,
        ),
    ],
)
def test_what_scripts_used_once_works_for_them(old, imports, expression, value):
    assert json.loads(encode_response(old(imports, expression)({"a": 1}))) == value


OBJECTS = "np.load(__file__.replace('customize_service.py', 'words.npy')).item()"


@pytest.fixture
def words():
    """An array of objects, which is a pickle."""
    file = io.BytesIO()
    np.save(file, {"cat": 1})
    return {"words.npy": file.getvalue()}


def test_np_load_reads_objects_where_pickles_are_allowed(package, words, caplog):
    path = package(SCRIPT.format(imports="numpy as np", result=OBJECTS), **words)
    assert load(path, allow_pickle=True)({"a": 1}) == {"cat": 1}
    assert "words.npy holds Python objects" in caplog.text


def test_elsewhere_it_names_the_setting_that_allows_them(package, words):
    path = package(SCRIPT.format(imports="numpy as np", result=OBJECTS), **words)
    with pytest.raises(Exception, match=r"words\.npy holds Python objects.*--allow-pickle"):
        load(path)({"a": 1})


def test_the_value_of_a_dataset_is_lent(package):
    h5py = pytest.importorskip("h5py")
    script = SCRIPT.format(imports="h5py", result="h5py.File('a.h5', 'r')['x'].value.tolist()")
    path = package(script)
    with h5py.File(path / "model" / "a.h5", "w") as file:
        file["x"] = [1, 2]
    script_at = path / "model" / "customize_service.py"
    script_at.write_text(script.replace("'a.h5'", "'model/a.h5'"))
    assert load(path)({"a": 1}) == [1, 2]


def test_yaml_load_needs_no_loader(old):
    pytest.importorskip("yaml")
    assert old("yaml", "yaml.load('a: [1]')")({"a": 1}) == {"a": [1]}


# --- scipy.misc

PIXELS = "np.arange(48, dtype=np.uint8).reshape(4, 4, 3)"


@pytest.mark.filterwarnings("ignore:scipy.misc is deprecated")
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (f"misc.imresize({PIXELS}, (2, 3)).shape", (2, 3, 3)),
        (f"misc.imresize({PIXELS}, 0.5).shape", (2, 2, 3)),
        (f"misc.imresize({PIXELS}, 50, interp='nearest').dtype.name", "uint8"),
        (f"misc.imrotate({PIXELS}, 180)[0, 0].tolist()", [45, 46, 47]),
        ("misc.toimage(np.array([[0.0, 1.0]])).getpixel((1, 0))", 255),
        (f"misc.toimage({PIXELS}.transpose(2, 0, 1)).size", (4, 4)),
        ("misc.bytescale(np.array([0, 5, 10])).tolist()", [0, 128, 255]),
        ("misc.fromimage(misc.toimage(np.eye(2)), flatten=True).tolist()", [[255, 0], [0, 255]]),
        ("misc.comb(4, 2)", 6),
    ],
)
def test_functions_of_old_scipy_misc_are_lent(old, expression, value):
    pytest.importorskip("scipy")
    assert old("numpy as np\nfrom scipy import misc", expression)({"a": 1}) == value


@pytest.mark.filterwarnings("ignore:scipy.misc is deprecated")
def test_pictures_are_read_and_written_as_scipy_once_did(package):
    pytest.importorskip("scipy")
    script = SCRIPT.format(imports="numpy as np", result="same()")
    script += f"""
from scipy.misc import imread, imsave
def same():
    imsave('a.png', {PIXELS})
    return bool((imread('a.png') == {PIXELS}).all()), imread('a.png', mode='L').shape
"""
    assert load(package(script))({"a": 1}) == (True, (4, 4))


# --- pickles of a training script


@pytest.fixture
def pickled(monkeypatch):
    """A pickle in which ``Scaler`` belongs to ``__main__``, as in a script that trains."""
    scaler = type("Scaler", (), {"__module__": "__main__"})
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["__main__"], "Scaler", scaler, raising=False)
        return [pickle.dumps(scaler(), protocol) for protocol in (2, 4)]


READS = """
import io, pickle
from model_service.onnx_model_service import OnnxServingBaseService
{imports}

class Old(OnnxServingBaseService):
    def _inference(self, data):
        return [type({read}(io.BytesIO(content)).load()).__module__ for content in data["files"]]
"""


@pytest.mark.parametrize("read", ["pickle.Unpickler", "pickle._Unpickler"])
@pytest.mark.parametrize(
    ("imports", "module"),
    [
        ("class Scaler: pass", "customize_service"),
        ("from scaling import Scaler", "scaling"),
        ("import scaling", "scaling"),
    ],
)
def test_a_pickle_of_a_training_script_gets_the_package_s_own_class(
    package, pickled, read, imports, module
):
    path = package(READS.format(imports=imports, read=read), **{"scaling.py": "class Scaler: pass"})
    model = load(path)
    assert model({"files": pickled}) == [module, module]
    assert model.stage.lent == {"__main__.Scaler": f"{module}.Scaler"}


@pytest.mark.parametrize("read", ["pickle.Unpickler", "pickle._Unpickler"])
def test_without_such_a_class_the_error_names_it_and_where_it_belongs(package, pickled, read):
    path = package(READS.format(imports="", read=read))
    wanted = rf"'Scaler'.*define it in {path}/model/customize_service\.py"
    with pytest.raises(Exception, match=wanted):
        load(path)({"files": pickled})


def test_others_that_read_such_a_pickle_get_python_s_own_error(package, pickled):
    model = load(package(READS.format(imports="class Scaler: pass", read="pickle.Unpickler")))
    model({"files": pickled})
    with pytest.raises(AttributeError, match="Scaler"):
        pickle.loads(pickled[0])


def test_a_method_of_that_name_in_a_class_of_the_script_stays_its_own(package):
    script = SCRIPT.format(imports="sys", result="Own().tostring()")
    own = "\nclass Own:\n    def tostring(self):\n        return 'own'\n"
    assert load(package(script + own))({"a": 1}) == "own"


def test_an_old_call_is_told_as_lent(old, caplog):
    caplog.set_level(logging.INFO, "engineroom")
    old("json", "json.loads('[1]', encoding='utf-8')")
    assert "json.loads(encoding=…) (json.loads)" in caplog.text


def test_others_get_the_library_s_own_error(old):
    old("numpy as np", "np.fromstring(b'a', np.uint8)")({"a": 1})
    with pytest.raises((ValueError, DeprecationWarning), match="binary mode of fromstring"):
        np.fromstring(b"a", np.uint8)
