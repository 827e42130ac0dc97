"""The examples of digits do what their READMEs say; those of other data are with their engines."""

import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

# What train.py keeps from the training.
HELD_OUT = """
import sys, numpy, train
_, pictures, _, wanted = train.split()
numpy.savez(sys.argv[1], pictures=pictures, wanted=wanted)
"""


@pytest.fixture(scope="module", params=["digits-onnx", "digits-pytorch", "lenet-mindspore"])
def digits(request, services):
    return services.parent.parent / "examples" / request.param


@pytest.fixture(scope="module")
def server(start_server, digits):
    return start_server(digits, "--no-access-log")


def png(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def test_digits_reach_the_stated_accuracy_over_http(server, digits, form, tmp_path):
    command = [sys.executable, "-c", HELD_OUT, tmp_path / "held_out.npz"]
    subprocess.run(command, cwd=digits, check=True, capture_output=True)
    held_out = np.load(tmp_path / "held_out.npz")
    pictures, wanted = held_out["pictures"], held_out["wanted"]
    got = []
    for start in range(0, len(pictures), 40):
        batch = pictures[start : start + 40]
        parts = [("images", f"{i}.png", png(picture)) for i, picture in enumerate(batch)]
        got += server.post(*form(*parts))[1]["mnist_result"]
    stated = float(re.search(r"(\d\.\d{4})", (digits / "README.md").read_text())[1])
    assert len(got) == 360
    assert (np.array(got) == wanted).mean() == pytest.approx(stated, abs=0.006)
    assert stated > 0.97


def test_each_sample_picture_is_recognised(server, digits, form):
    for digit in range(10):
        sample = (digits / "samples" / f"{digit}.png").read_bytes()
        status, answer, _ = server.post(*form(("images", f"{digit}.png", sample)))
        assert (status, answer["mnist_result"]) == (200, digit)


def test_the_answer_in_the_readme_is_the_server_s(server, digits, form):
    readme = (digits / "README.md").read_text()
    stated = re.search(r'^    \{"mnist_result":7,"confidence":([\d.]+)\}$', readme, re.M)
    answer = server.post(*form(("images", "7.png", (digits / "samples" / "7.png").read_bytes())))[1]
    assert answer["mnist_result"] == 7
    assert answer["confidence"] == pytest.approx(float(stated[1]), abs=0.001)
