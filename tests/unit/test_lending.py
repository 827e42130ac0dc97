"""Names that today's libraries lack, lent to scripts and to nobody else."""

import importlib
import json
import logging
import os
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
    ],
)
def test_methods_of_old_pandas_are_lent(old, expression, value):
    pytest.importorskip("pandas")
    assert old("pandas as pd", expression)({"a": 1}) == value


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
        ("base64", "base64.encodestring(b'a')", "YQ==\n"),
        ("collections", "isinstance([], collections.Iterable)", True),
        ("time", "time.clock() > 0", True),
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
