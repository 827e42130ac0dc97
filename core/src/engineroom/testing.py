"""The conformance suite: subclass :class:`EngineConformance` once per engine and run pytest.

``tests/`` of a plugin needs no more than::

    class TestMyEngine(EngineConformance):
        engine = "mine"

        def write_model(self, folder):
            (folder / "model.mine").write_bytes(...)

        request = {"x": [[1.0, 2.0]]}

        def direct(self, folder):
            return {"y": my_framework.run(folder / "model.mine", [[1.0, 2.0]])}
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from packaging.requirements import Requirement

from engineroom import load
from engineroom.encoding import encode_response
from engineroom.engine import Engine
from engineroom.errors import InvalidTensorError, LoadError, RequestError
from engineroom.model import Answer, Model, State
from engineroom.plugins import Registry

SCRIPT = """
from {module} import {parent}


class Passing({parent}):
    pass
"""


class EngineConformance(ABC):
    """What every engine must do. A subclass says how to make a model of its kind."""

    engine: ClassVar[str]
    """The engine's name."""
    request: ClassVar[dict[str, Any]]
    """A good JSON request for the model, with nested lists."""

    @abstractmethod
    def write_model(self, folder: Path) -> None:
        """Write a small model into ``folder``, with a first dimension that may vary."""

    @abstractmethod
    def direct(self, folder: Path) -> dict[str, Any]:
        """The outputs for :attr:`request` from the framework itself, without Engineroom."""

    def data(self, request: dict[str, Any]) -> Any:
        """What a service gets for ``request``: to override where it takes the text of a body."""
        return request

    def outputs(self, answer: Any) -> dict[str, Any]:
        """The outputs by name in an answer: to override where the default one has another form."""
        found: dict[str, Any] = answer
        return found

    def ask(self, model: Model, request: dict[str, Any]) -> dict[str, Any]:
        """The outputs of ``model`` for ``request``."""
        return self.outputs(model(self.data(request)))

    # --- fixtures

    @pytest.fixture
    def plugin(self) -> Engine:
        return Registry().engine(self.engine)

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "sample" / "model"
        folder.mkdir(parents=True)
        self.write_model(folder)
        return folder

    @pytest.fixture
    def model(self, folder: Path) -> Model:
        return load(folder, engine=self.engine)

    # --- declarations

    def test_the_plugin_imports_without_its_framework(self, plugin: Engine) -> None:
        frameworks = {Requirement(text).name for text in plugin.frameworks}
        owners = importlib.metadata.packages_distributions()
        modules = [name for name, dists in owners.items() if frameworks & set(dists)]
        code = (
            "import sys; from engineroom.plugins import Registry;"
            f"engine = Registry().engine({self.engine!r}); engine.service_class();"
            f"print([m for m in {modules!r} if m in sys.modules and m != 'numpy'])"
        )
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert shown.stdout.strip() == "[]", shown.stdout + shown.stderr

    def test_the_name_is_that_of_the_entry_point(self, plugin: Engine) -> None:
        assert plugin.name == self.engine

    def test_the_parent_class_lives_where_scripts_import_it(self, plugin: Engine) -> None:
        assert plugin.parent.startswith("model_service.")
        assert plugin.service_class().__name__ == plugin.parent.rpartition(".")[2]

    def test_devices_are_listed_best_first_with_the_cpu(self, plugin: Engine) -> None:
        assert "cpu" in [device.kind for device in plugin.devices()]

    # --- loading

    def test_the_model_file_alone_finds_this_engine(self, folder: Path, plugin: Engine) -> None:
        assert load(folder, device="cpu").engine.name == plugin.name

    def test_inputs_and_outputs_are_described(self, model: Model) -> None:
        assert [spec.name for spec in model.inputs] == list(self.request)
        assert model.outputs

    def test_a_loaded_model_is_ready_and_an_unloaded_one_stopped(self, model: Model) -> None:
        assert model.state is State.READY
        model.unload()
        assert model.state.value == "stopped"

    def test_a_corrupt_model_file_is_a_load_error_that_names_it(
        self, folder: Path, plugin: Engine
    ) -> None:
        path = plugin.files(load(folder).package)[0]
        path.write_bytes(path.read_bytes()[:10] if path.is_file() else b"")
        with pytest.raises(LoadError, match=path.name):
            load(folder)

    def test_a_device_that_is_not_there_is_a_load_error(self, folder: Path) -> None:
        with pytest.raises(LoadError, match="nosuch"):
            load(folder, engine=self.engine, device="nosuch:7")

    # --- answers

    def test_the_answer_equals_the_framework_called_directly(
        self, model: Model, folder: Path
    ) -> None:
        answer, wanted = self.ask(model, self.request), self.direct(folder)
        assert list(answer) == list(wanted)
        for name, value in wanted.items():
            np.testing.assert_array_equal(np.asarray(answer[name]), np.asarray(value))

    def test_a_script_that_adds_nothing_gives_the_same_answer(
        self, folder: Path, plugin: Engine
    ) -> None:
        module, _, parent = plugin.parent.rpartition(".")
        bare = self.ask(load(folder), self.request)
        (folder / "customize_service.py").write_text(SCRIPT.format(module=module, parent=parent))
        scripted = self.ask(load(folder), self.request)
        assert encode_response(scripted) == encode_response(bare)

    def test_the_answer_can_be_encoded_as_json(self, model: Model) -> None:
        assert json.loads(encode_response(self.ask(model, self.request)))

    def test_several_rows_give_several_answers(self, model: Model) -> None:
        rows = {name: [*value, *value] for name, value in self.request.items()}
        one, two = self.ask(model, self.request), self.ask(model, rows)
        for name in one:
            assert len(two[name]) == 2 * len(one[name])

    def test_requests_that_share_an_inference_get_the_answers_they_get_alone(
        self, model: Model, plugin: Engine
    ) -> None:
        if not plugin.batches:
            pytest.skip(f"engine {self.engine!r} does not say that it takes batches")
        if not all(spec.shape and not isinstance(spec.shape[0], int) for spec in model.inputs):
            pytest.skip("the model does not declare that its first dimension is open")
        data = self.data(self.request)
        wanted = json.loads(encode_response(self.ask(model, self.request)))
        with model.turn():
            answers = model.answers([data] * 3)
        for answer in answers:
            assert isinstance(answer, Answer), answer
            assert answer.batch_size == 3
            for name, value in self.outputs(json.loads(answer.body)).items():
                np.testing.assert_allclose(value, wanted[name], rtol=1e-4, atol=1e-6)

    def test_threads_get_their_own_answers(self, model: Model) -> None:
        wanted = encode_response(self.ask(model, self.request))
        got: list[bytes] = []

        def ask() -> None:
            for _ in range(20):
                got.append(encode_response(self.ask(model, self.request)))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [wanted] * 80

    # --- bad input

    def test_an_unknown_input_is_refused_with_the_declared_names(self, model: Model) -> None:
        name = next(iter(self.request))
        with pytest.raises(InvalidTensorError, match=f"nosuch.*{name}"):
            self.ask(model, {**self.request, "nosuch": [[1]]})

    def test_a_missing_input_is_refused_by_name(self, model: Model) -> None:
        name, *rest = self.request
        with pytest.raises(InvalidTensorError, match=f"missing input '{name}'"):
            self.ask(model, {key: self.request[key] for key in rest})

    @pytest.mark.parametrize(
        "bad",
        [
            [],
            [[]],
            [[1], [1, 2]],
            [["a"]],
            "text",
            None,
            1,
            [[[[[[[1]]]]]]],
            [[1e400]],
            [[None]],
            {},
        ],
        ids=repr,
    )
    def test_a_value_that_does_not_fit_is_the_client_s_error(self, model: Model, bad: Any) -> None:
        name = next(iter(self.request))
        with pytest.raises(RequestError) as caught:
            self.ask(model, {**self.request, name: bad})
        assert caught.value.status == 400
        assert name in str(caught.value)
