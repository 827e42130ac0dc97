"""What a script can import and subclass: the contract's section on parent classes."""

import base64
import io
import subprocess
import sys
import time

import pytest
from PIL import Image

from engineroom import load
from engineroom.errors import EngineError, ScriptError
from engineroom.parents import PARENTS

NAMES = [parent.name for parent in PARENTS]
# The classes whose engine this environment may lack, and one file of theirs.
ENGINELESS = {
    "model_service.caffe_model_service.CaffeBaseService": "net.caffemodel",
    "model_service.hiai_model_service.HiaiBaseService": "model.om",
    "mms.model_service.mxnet_model_service.MXNetBaseService": "net-symbol.json",
    "mms.model_service.mxnet_vision_service.MXNetVisionService": "net-symbol.json",
    "mms.model_service.model_service.SingleNodeService": "net-symbol.json",
}
CAFFE = "from model_service.caffe_model_service import CaffeBaseService\n"
ONNX = "from model_service.onnx_model_service import OnnxServingBaseService\n"
PT = "from model_service.pytorch_model_service import PTServingBaseService\n"


def script(name, body="    pass"):
    module, _, parent = name.rpartition(".")
    return f"from {module} import {parent}\nclass S({parent}):\n{body}\n"


@pytest.fixture
def only_onnx(monkeypatch):
    """As if no other engine were installed."""
    monkeypatch.setenv("ENGINEROOM_BLOCK_PLUGINS", "tensorflow,pytorch,mindspore,sklearn,spark")


# --- parent classes


@pytest.mark.parametrize("name", NAMES)
def test_every_parent_is_there_without_its_engine_and_a_script_of_its_own_runs(
    package, only_onnx, name
):
    path = package(script(name, "    def _inference(self, data): return 'own'"))
    assert load(path)({"a": 1}) == "own"


@pytest.mark.parametrize(
    "name", sorted({*NAMES} - {"model_service.onnx_model_service.OnnxServingBaseService"})
)
def test_a_script_that_leaves_inference_to_a_parent_without_an_engine_is_told_what_it_needs(
    package, only_onnx, name
):
    with pytest.raises(EngineError) as caught:
        load(package(script(name)))
    assert str(caught.value).startswith(f"{name} needs ")


def test_an_engine_that_is_blocked_or_missing_is_told_apart(package, only_onnx):
    with pytest.raises(EngineError, match="needs the engine 'pytorch'; .* is blocked by"):
        load(package(script("model_service.pytorch_model_service.PTServingBaseService")))


def test_no_parent_imports_a_framework():
    imports = "".join(
        f"from {name.rpartition('.')[0]} import {name.rpartition('.')[2]}\n" for name in NAMES
    )
    code = f"import engineroom.scripts\n{imports}import sys; print(sorted({{'torch', 'tensorflow', 'mindspore', 'onnxruntime', 'sklearn', 'pyspark'}} & set(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert shown.stdout == "[]\n", shown.stderr


def test_a_parent_that_nobody_knows_is_an_import_error_that_a_script_may_catch(package):
    path = package(
        "try:\n    from model_service.nosuch_service import Base\nexcept ImportError:\n"
        "    from model_service.onnx_model_service import OnnxServingBaseService as Base\n"
        "class S(Base):\n    def _inference(self, data): return 'caught'\n"
    )
    assert load(path, engine="onnx")({"a": 1}) == "caught"


def test_a_guarded_import_gets_the_real_class(package):
    path = package(
        "try:\n    from model_service.caffe_model_service import CaffeBaseService as X\n"
        "except Exception:\n    X = object\n"
        "class S(X):\n    def _inference(self, data): return S.__mro__[1].__name__\n"
    )
    assert load(path)({"a": 1}) == "CaffeBaseService"


def test_a_script_without_an_engine_says_so_and_runs_on_none(package):
    model = load(
        package(CAFFE + "class S(CaffeBaseService):\n    def inference(self, d): return d")
    )
    assert model.engine.name == "none"
    assert model.runs_on() == "engine none; the script runs its model itself"


@pytest.mark.parametrize(("name", "file"), ENGINELESS.items())
def test_the_model_path_without_an_engine_is_the_folder_that_the_contract_names(
    package, name, file
):
    path = package(
        script(name, "    def _inference(self, data): return self.model_path"), **{file: ""}
    )
    assert load(path)({"a": 1}) == str(path / "model")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("model_service.pytorch_model_service.PTServingBaseService", "net.pth"),
        ("model_service.python_model_service.XgSklServingBaseService", "net.m"),
        ("model_service.spark_model_service.SparkServingBaseService", "spark_model/metadata"),
    ],
)
def test_the_model_path_without_an_engine_is_the_file_that_the_contract_names(
    package, only_onnx, name, file
):
    path = package(
        script(name, "    def _inference(self, data): return self.model_path"), **{file: ""}
    )
    assert load(path)({"a": 1}) == str(path / "model" / file.partition("/")[0])


def test_another_engine_runs_the_converted_model_of_a_script_without_an_engine(package, services):
    onnx = (services / "plain" / "model" / "model.onnx").read_bytes()
    path = package(CAFFE + "class S(CaffeBaseService): pass", **{"model.onnx": onnx})
    assert load(path, engine="onnx")({"x": [[1, 0, 0]]})["y"].tolist() == [[0.0, 1.0]]


def test_the_envelope_of_an_engine_that_is_not_there_is_missed_aloud(package, only_onnx, caplog):
    own = "    def _inference(self, data): return data"
    name = "model_service.python_model_service.XgSklServingBaseService"
    assert load(package(script(name, own)))("text") == "text"
    assert "without the engine 'sklearn' answers come without" in caplog.text


# --- construction


@pytest.mark.parametrize(
    "constructor",
    [
        "def __init__(self, model_name, model_path): pass",
        "def __init__(self, model_name, model_path): super().__init__()",
        "def __init__(self, model_name, model_path): super().__init__(model_name, model_path)",
        "def __init__(self, model_name, model_path):\n"
        "        super().__init__(model_path=model_path, model_name=model_name)",
        "def __init__(self, model_name, model_path):\n"
        "        super(PTServingBaseService, self).__init__(model_name, model_path)",
        "def __init__(self, model_name, model_path):\n"
        "        PTServingBaseService.__init__(self, model_path)",
        "def __init__(self, *args): super().__init__(*args)",
        "def __init__(self, *args, **kwargs): super().__init__(*args, **kwargs)",
        "def __init__(self, model_path): super().__init__(model_path)",
        "def __init__(self): super().__init__()",
        "model = None",
    ],
)
@pytest.mark.parametrize("blocked", ["", "pytorch"], ids=["engine", "no engine"])
def test_however_it_is_made_a_service_has_its_name_and_its_path(
    package, monkeypatch, constructor, blocked
):
    monkeypatch.setenv("ENGINEROOM_BLOCK_PLUGINS", blocked)
    body = (
        f"    {constructor}\n    def _inference(self, d): return [self.model_name, self.model_path]"
    )
    path = package(PT + f"class S(PTServingBaseService):\n{body}\n", **{"a.pth": ""})
    assert load(path)({"a": 1}) == ["sample", str(path / "model" / "a.pth")]


@pytest.mark.parametrize(
    "constructor",
    [
        "def __init__(self, model_name, model_path):\n        self.model_path = 'mine'",
        "def __init__(self, model_name, model_path):\n"
        "        super().__init__(model_name, model_path)\n        self.model_path = 'mine'",
        "def __init__(self, model_name, model_path): super().__init__(model_name, 'mine')",
        "model_path = 'mine'\n    def __init__(self, model_name, model_path): pass",
    ],
)
def test_a_path_that_the_script_repoints_stays(package, constructor):
    body = f"    {constructor}\n    def _inference(self, data): return self.model_path"
    assert load(package(ONNX + f"class S(OnnxServingBaseService):\n{body}\n"))({"a": 1}) == "mine"


@pytest.mark.parametrize(
    ("signature", "wanted"),
    [
        ("self, model_path", "['FILE']"),
        ("self, model_path, model=None", "['FILE', None]"),
        ("self, *args", "['FILE']"),
        ("self, model_name, model_path", "['sample', 'FILE']"),
    ],
)
@pytest.mark.parametrize("name", ["python_model_service.XgSkl", "spark_model_service.Spark"])
def test_one_argument_parents_give_the_path_alone(package, only_onnx, name, signature, wanted):
    path = package(
        script(
            f"model_service.{name}ServingBaseService",
            f"    def __init__({signature}):\n"
            "        values = {k: v for k, v in locals().items() if k != 'self'}\n"
            "        self.got = list(values.pop('args', values.values()))\n"
            "    def _inference(self, data): return self.got",
        )
    )
    got = str(load(path)("text")).replace(str(path / "model"), "FILE")
    assert got == wanted


@pytest.mark.parametrize("name", ["python_model_service.XgSkl", "spark_model_service.Spark"])
def test_a_one_argument_parent_takes_the_path_alone(package, only_onnx, name):
    path = package(
        script(
            f"model_service.{name}ServingBaseService",
            "    def __init__(self, model_path): super().__init__(model_path)\n"
            "    def _inference(self, data): return self.model_path",
        )
    )
    assert load(path)("text") == str(path / "model")


@pytest.mark.parametrize(
    ("signature", "wanted"),
    [
        ("self, model_name, model_dir, manifest, gpu=None", ["sample", "DIR", {}, None]),
        ("self, model_name, model_dir, manifest", ["sample", "DIR", {}]),
        ("self, model_name, model_dir", ["sample", "DIR"]),
        ("self, *args", ["sample", "DIR", {}, None]),
    ],
)
def test_mxnet_services_are_made_with_a_manifest_where_they_take_one(package, signature, wanted):
    path = package(
        script(
            "mms.model_service.mxnet_model_service.MXNetBaseService",
            f"    def __init__({signature}):\n"
            "        values = {k: v for k, v in locals().items() if k not in ('self', '__class__')}\n"
            "        self.got = list(values.pop('args', values.values()))\n"
            "        super().__init__(*self.got)\n"
            "    def _inference(self, data): return self.got",
        )
    )
    got = load(path)({"a": 1})
    assert got == [str(path / "model") if value == "DIR" else value for value in wanted]


# --- how scripts import their parent


IMPORTS = [
    ("from model_service.pytorch_model_service import *", "PTServingBaseService"),
    ("from model_service.pytorch_model_service import PTServingBaseService as P", "P"),
    ("import model_service.pytorch_model_service as m", "m.PTServingBaseService"),
    ("import model_service.pytorch_model_service",
     "model_service.pytorch_model_service.PTServingBaseService"),
    ("from model_service import pytorch_model_service", "pytorch_model_service.PTServingBaseService"),
    ("from model_service import pytorch_model_service as m", "m.PTServingBaseService"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "base"), IMPORTS)
def test_the_parent_may_be_imported_in_any_way(package, line, base):
    path = package(f"{line}\nclass S({base}):\n    def _inference(self, data): return 'own'\n")
    model = load(path)
    assert model({"a": 1}) == "own"
    assert model.engine.name in {"pytorch", "none"}


@pytest.mark.parametrize(("line", "base"), IMPORTS)
def test_of_several_parents_the_one_that_is_used_says_which_engine(package, line, base):
    path = package(
        f"{ONNX}{CAFFE}{line}\nclass S({base}):\n    def _inference(self, d): return d\n"
    )
    assert load(path).engine.parent.endswith("PTServingBaseService")


def test_a_subclass_of_a_subclass_in_another_module_is_the_service(package):
    path = package(
        "from common.base import Base\nclass S(Base):\n    def _postprocess(self, d): return [d]\n",
        **{
            "common/__init__.py": "",
            "common/base.py": ONNX
            + "class Base(OnnxServingBaseService):\n    def _inference(self, data): return 'base'\n",
            "shared.py": ONNX,
        },
    )
    assert load(path, engine="onnx")({"a": 1}) == ["base"]


def test_a_mixin_may_bring_the_steps(package):
    path = package(
        CAFFE
        + "class Steps:\n    def _inference(self, data): return 'mixed in'\n"
        + "class S(Steps, CaffeBaseService): pass\n"
    )
    assert load(path)({"a": 1}) == "mixed in"


def test_two_services_under_two_parents_are_both_named(package):
    path = package(
        ONNX + CAFFE + "class A(OnnxServingBaseService): pass\nclass B(CaffeBaseService): pass\n"
    )
    with pytest.raises(ScriptError, match=r"found A \(line 3\) and B \(line 4\)"):
        load(path)


# --- other modules


def run_in_script(package, code):
    """What ``code`` leaves in ``answer``, run in a step of a script."""
    lines = "\n".join("        " + line for line in code.strip().splitlines())
    path = package(
        ONNX
        + f"class S(OnnxServingBaseService):\n    def _inference(self, data):\n{lines}\n        return answer"
    )
    return load(path)({"a": 1})


@pytest.mark.parametrize(
    "line",
    [
        "import log",
        "from model_service import log",
        "import model_service.log as log",
        "from mms import log",
        "import mms.log as log",
    ],
)
def test_a_log_is_the_standard_library_s(package, line, caplog):
    caplog.set_level("INFO")
    code = f"{line}\nlog.getLogger('a').info('one')\nlog.info('two')\nanswer = log.get_logger('b').name"
    assert run_in_script(package, code) == "b"
    assert [r.getMessage() for r in caplog.records if r.getMessage() in ("one", "two")] == [
        "one",
        "two",
    ]


def test_mms_log_gives_a_logger(package):
    code = "from mms.log import get_logger\nanswer = [get_logger().name, get_logger('a').name]"
    assert run_in_script(package, code) == ["root", "a"]


@pytest.fixture
def picture():
    """4 wide, 3 high: red, one corner blue; as PNG bytes."""
    image = Image.new("RGB", (4, 3), (255, 0, 0))
    image.putpixel((3, 2), (0, 0, 255))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_mms_images_are_read_resized_cropped_and_laid_out(package, picture):
    answer = run_in_script(
        package,
        f"from mms.utils.mxnet import image\n"
        f"picture = image.read({picture!r})\n"
        "small = image.resize(picture, 2, 1)\n"
        "corner = image.fixed_crop(picture, 3, 2, 1, 1)\n"
        "batch = image.transform_shape(picture)\n"
        "answer = [picture.shape, small.shape, corner.asnumpy().tolist(), batch.shape,\n"
        "          str(batch.dtype), image.color_normalize(corner, [0, 0, 5], [1, 1, 50]).tolist()]",
    )
    assert answer == [(3, 4, 3), (1, 2, 3), [[[0, 0, 255]]], (1, 3, 3, 4), "uint8", [[[0, 0, 5]]]]


def test_mms_images_are_read_as_gray_or_with_the_channels_the_other_way(picture):
    from engineroom.lent import image

    assert image.read(io.BytesIO(picture), flag=0).shape == (3, 4, 1)
    assert image.read(picture, to_rgb=False)[0, 0].tolist() == [0, 0, 255]


def test_mms_writes_an_image_as_base64(picture):
    from engineroom.lent import image

    text = image.write(image.transform_shape(image.read(picture))[0], format="png")
    assert Image.open(io.BytesIO(base64.b64decode(text))).getpixel((3, 2)) == (0, 0, 255)


def test_mms_names_the_best_classes(package):
    code = (
        "from mms.utils.mxnet import ndarray\nimport numpy as np\n"
        "answer = ndarray.top_probability(np.array([[0.25, 0.5, 0.125]]), ['a', 'b', 'c'], top=2)"
    )
    assert run_in_script(package, code) == [
        {"probability": 0.5, "class": "b"},
        {"probability": 0.25, "class": "a"},
    ]


def test_a_module_called_mms_in_the_package_wins(package):
    path = package(
        "from mms.tools import A\n" + script(NAMES[0], "    def _inference(self, d): return A"),
        **{"mms/__init__.py": "", "mms/tools.py": "A = 'own'"},
    )
    assert load(path)({"a": 1}) == "own"


def test_a_folder_called_log_is_no_module(package):
    path = package(
        "import log\n" + script(NAMES[0], "    def _inference(self, d): return log.INFO"),
        **{"log/train.log": "epoch 1"},
    )
    assert load(path)({"a": 1}) == 20


def test_a_module_that_the_process_has_under_a_lent_name_is_not_the_script_s(
    package, tmp_path, monkeypatch
):
    (tmp_path / "log.py").write_text("A = 'of the process'")
    monkeypatch.syspath_prepend(tmp_path)
    import log

    assert run_in_script(package, "import log\nanswer = log.getLogger('a').name") == "a"
    assert sys.modules.pop("log") is log


def test_check_of_a_package_without_heavy_imports_is_quick(package):
    path = package(
        CAFFE + "class S(CaffeBaseService):\n    def _inference(self, data): return data\n"
    )
    best = 9.0
    for _ in range(3):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "engineroom", "check", str(path)],
            check=True,
            capture_output=True,
        )
        best = min(best, time.monotonic() - began)
    assert best < 1
