"""PyTorch packages behind real servers: the example, a device that is not there, a pickle."""

import io

import pytest
import torch

pytestmark = pytest.mark.slow


def test_a_program_without_a_script_answers_json_and_numpy_files(start_server, tmp_path, form):
    module = torch.nn.Linear(3, 2).eval()
    sizes = {"input": {0: torch.export.Dim("batch")}}
    program = torch.export.export(module, (torch.zeros(2, 3),), dynamic_shapes=sizes)
    torch.export.save(program, tmp_path / "linear.pt2")
    server = start_server(tmp_path / "linear.pt2")
    rows = torch.rand(4, 3)
    with torch.no_grad():
        wanted = module(rows).tolist()
    assert server.post({"input": rows.tolist()})[1] == {"output": wanted}
    import numpy as np

    file = io.BytesIO()
    np.save(file, rows.numpy())
    assert server.post(*form(("input", "rows.npy", file.getvalue())))[1] == {"output": wanted}
    status, body, _ = server.post({"input": [[1, 2]]})
    assert (status, body["error"]["code"]) == (400, "invalid_tensor")


PICKLED = """
import torch
from model_service.pytorch_model_service import PTServingBaseService


class Service(PTServingBaseService):
    def __init__(self, model_name, model_path):
        self.model = torch.load(model_path)

    def _preprocess(self, data):
        return {"y": torch.tensor(data["x"])}
"""


def test_the_variable_that_allows_pickles_lets_a_pickled_module_be_served(start_server, package):
    buffer = io.BytesIO()
    torch.save(torch.nn.Identity().eval(), buffer)
    folder = package(PICKLED, **{"model.pth": buffer.getvalue()})
    server = start_server(folder, ENGINEROOM_ALLOW_PICKLE="1")
    assert server.post({"x": [1.0, 2.0]})[1] == {"y": [1.0, 2.0]}
