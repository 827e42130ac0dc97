"""The examples that ship with the repository do what their READMEs say."""

import importlib.util
import io
import re

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def digits(services):
    return services.parent.parent / "examples" / "digits-onnx"


def test_digits_reach_the_stated_accuracy_over_http(start_server, digits, form):
    spec = importlib.util.spec_from_file_location("digits_train", digits / "train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    _, pictures, _, wanted = train.split()
    server = start_server(digits, "--no-access-log")
    got = []
    for start in range(0, len(pictures), 40):
        parts = []
        for i, picture in enumerate(pictures[start : start + 40]):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "PNG")
            parts.append(("images", f"{i}.png", buffer.getvalue()))
        got += server.post(*form(*parts))[1]["mnist_result"]
    accuracy = sum(a == b for a, b in zip(got, wanted, strict=True)) / len(wanted)
    stated = float(re.search(r"(\d\.\d{4})", (digits / "README.md").read_text())[1])
    assert len(got) == 360
    assert accuracy >= 0.985
    assert accuracy == pytest.approx(stated, abs=0.006)


def test_each_sample_picture_is_recognised(start_server, digits, form):
    server = start_server(digits)
    for digit in range(10):
        sample = (digits / "samples" / f"{digit}.png").read_bytes()
        status, answer, _ = server.post(*form(("images", f"{digit}.png", sample)))
        assert (status, answer["mnist_result"]) == (200, digit)
