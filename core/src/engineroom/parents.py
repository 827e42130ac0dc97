"""The parent classes of the contract, and what stands in for one whose engine is not here.

A stand-in can be subclassed and made like the real class. Only its default ``_inference`` is
missing, and says what it would take. Source: ModelArts contract, "Package layout" and "Parent
classes".
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, Literal

from engineroom.devices import FILES, machine_devices
from engineroom.engine import Engine, Predictor
from engineroom.errors import EngineError, StepError
from engineroom.service import Service
from engineroom.values import CPU, Device


@dataclasses.dataclass(frozen=True)
class Parent:
    """What the contract says of one parent class, in the words of :class:`Engine`."""

    name: str
    """As scripts import it."""
    engine: str = ""
    """The engine of ours that has it; empty: none has, and then ``needs`` and ``instead`` say."""
    model_types: tuple[str, ...] = ()
    """Lower case."""
    model_files: tuple[str, ...] = ()
    model_path: Literal["file", "folder"] = "file"
    path_alone: bool = False
    body: Literal["form", "text"] = "form"
    needs: str = ""
    differs: str = ""
    """What is otherwise than on the platform while its engine is not here."""
    instead: str = "override _inference to run the model yourself, or convert it to ONNX"

    @property
    def module(self) -> str:
        """The module of the class."""
        return self.name.rpartition(".")[0]


MXNET = "MXNet, for which there is no engine"
PARENTS = (
    Parent(
        "model_service.onnx_model_service.OnnxServingBaseService",
        "onnx",
        model_types=("onnx",),
        model_files=("*.onnx",),
    ),
    Parent(
        "model_service.tfserving_model_service.TfServingBaseService",
        "tensorflow",
        model_types=("tensorflow",),
        model_files=("saved_model.pb",),
        model_path="folder",
    ),
    Parent(
        "model_service.pytorch_model_service.PTServingBaseService",
        "pytorch",
        model_types=("pytorch",),
        model_files=("*.pth", "*.pt"),
    ),
    Parent(
        "model_service.model_service.SingleNodeService",
        "mindspore",
        model_types=("mindspore",),
        model_files=("*.ckpt",),
        model_path="folder",
    ),
    Parent(
        "model_service.python_model_service.XgSklServingBaseService",
        "sklearn",
        model_types=("scikit_learn", "xgboost"),
        model_files=("*.m",),
        path_alone=True,
        body="text",
        differs='answers come without the {"data": {"resp_data": …}} around them',
    ),
    Parent(
        "model_service.spark_model_service.SparkServingBaseService",
        "spark",
        model_types=("spark_mllib",),
        model_files=("spark_model",),
        path_alone=True,
        body="text",
    ),
    Parent(
        "model_service.caffe_model_service.CaffeBaseService",
        model_types=("caffe",),
        model_files=("*.caffemodel",),
        model_path="folder",
        needs="Caffe, for which there is no engine",
        instead=(
            "override _inference to run the model yourself (OpenCV reads it with "
            "cv2.dnn.readNetFromCaffe), or convert it to ONNX"
        ),
    ),
    Parent(
        "mms.model_service.mxnet_model_service.MXNetBaseService",
        model_types=("mxnet",),
        model_files=("*-symbol.json", "*.params"),
        model_path="folder",
        needs=MXNET,
    ),
    Parent(
        "mms.model_service.mxnet_vision_service.MXNetVisionService",
        model_files=("*-symbol.json", "*.params"),
        model_path="folder",
        needs=MXNET,
    ),
    Parent(
        "mms.model_service.model_service.SingleNodeService",
        model_files=("*-symbol.json", "*.params"),
        model_path="folder",
        needs="an _inference of the script's own",
    ),
    Parent(
        "model_service.hiai_model_service.HiaiBaseService",
        model_files=("*.om",),
        model_path="folder",
        needs="an Ascend 310 and its library hiai, for which there is no engine",
    ),
)


def parent_named(name: str) -> Parent | None:
    """The parent class that is called ``name`` or lives in the module ``name``."""
    return next((known for known in PARENTS if name in (known.name, known.module)), None)


def parent_of_type(model_type: str) -> Parent | None:
    """The parent class that the contract has for a ``model_type`` of config.json."""
    return next((known for known in PARENTS if model_type.lower() in known.model_types), None)


class StandIn(Service):
    """A parent class without its engine. Another engine, named by the user, may stand behind it."""

    _needs: ClassVar[str] = ""

    def _inference(self, data: Any) -> Any:
        if self._engineroom is None:
            raise StepError(self._needs)
        return super()._inference(data)


class Manifest(StandIn):
    """Made with ``(model_name, model_dir, manifest, gpu=None)``."""

    def __init__(
        self, model_name: str = "", model_dir: str = "", manifest: Any = None, gpu: Any = None
    ) -> None:
        super().__init__(model_name, model_dir)
        self.model_dir, self.manifest, self.gpu = model_dir, manifest, gpu


class NoEngine(Engine):
    """What serves a script whose parent class has no engine here: the script runs its model."""

    name = "none"

    def __init__(self, known: Parent, advice: str) -> None:
        """``advice`` is how to get the engine of the parent class ``known``."""
        needs = known.needs or f"the engine {known.engine!r}"
        self.refusal = EngineError(f"{known.name} needs {needs}; {advice}")
        """Why the parent's own ``_inference`` cannot run."""
        warning = f"without the engine {known.engine!r} {known.differs}; {advice}"
        self.warning = warning if known.differs else ""
        """What a script that runs its model itself should know."""
        alike = ("model_files", "model_path", "path_alone", "body")
        vars(self).update({name: getattr(known, name) for name in alike}, parent=known.name)

    def load(self, path: Any, device: Device, threads: int) -> Predictor:  # noqa: ARG002
        """Nothing can be loaded.

        Raises:
            EngineError: always.
        """
        raise self.refusal

    def devices(self) -> tuple[Device, ...]:
        """What the machine has: which framework a script brings is not known."""
        counts = {kind: machine_devices(kind) or 0 for kind in FILES}
        cards = [Device(kind, index) for kind, count in counts.items() for index in range(count)]
        return (*cards, CPU)

    @functools.cached_property
    def _made_service_class(self) -> type[Service]:
        module, _, name = self.parent.rpartition(".")
        base = Manifest if module.startswith("mms.") else StandIn
        needs = str(self.refusal)
        return type(name, (base,), {"__module__": module, "__doc__": needs, "_needs": needs})
