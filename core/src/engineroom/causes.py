"""What is behind the exceptions that authors of packages meet most, and what to do about them."""

from __future__ import annotations

import difflib
import os
import re
import sys
from pathlib import Path

from engineroom.distributions import NAMES_OF_PYTHON_2
from engineroom.package import Package
from engineroom.parents import parent_of_type
from engineroom.sources import PLATFORM_FOLDERS

CONTRIB = (
    "tf.contrib ended with TensorFlow 1 and nothing stands in for it: rewrite what uses it for "
    "TensorFlow 2 (tf.keras.layers, or the library tf_slim), or convert the model to a SavedModel "
    "where TensorFlow 1 is; of a script with a predictor take out _inference: the parent runs "
    "the model"
)
# What an exception says, and why it says so. Source: the messages of the libraries themselves.
KNOWN = {
    r"Torch not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs are available|"
    r"CUDA driver version is insufficient|torch\.cuda\.is_available\(\) is False": (
        "the script asks for CUDA, and this process has only the CPU: write device = "
        "torch.device('cuda' if torch.cuda.is_available() else 'cpu'), then .to(device) for "
        ".cuda(), and torch.load(path, map_location=device)"
    ),
    r'Unexpected key\(s\) in state_dict: "module\.': (
        "the file was saved from nn.DataParallel, which puts 'module.' before each key: "
        "load {key.removeprefix('module.'): value for key, value in state.items()}"
    ),
    r'Missing key\(s\) in state_dict: "module\.': (
        "the network is in nn.DataParallel, and the file was saved without: load it before"
    ),
    r"'tensorflow.*' has no attribute 'contrib'|No module named 'tensorflow\.contrib": CONTRIB,
    r"<?urlopen error|Max retries exceeded with url|We couldn't connect to 'https://": (
        "the script downloads something while it is loaded, and this machine could not: weights "
        "that the model file replaces need none (pretrained=False, weights=None); put others into "
        "the package, or where the library keeps its downloads"
    ),
    r"'keras\.backend' has no attribute|'keras\._tf_keras\.keras\.backend' has no attribute": (
        "it is of Keras 2, whose models were graphs: run: pip install tf-keras, then set "
        "TF_USE_LEGACY_KERAS=1, and the script runs on that"
    ),
    r"relative import with no known parent package": (
        "the script is no part of a Python package: write the import without the dot"
    ),
    r"'dict' object has no attribute '(?:has_key|iter(?:items|keys|values))'": (
        "a method of Python 2; today: key in data, data.items(), data.keys(), data.values()"
    ),
}
UNDEFINED = re.compile(r"name '(\w+)' is not defined")
NOT_THERE = re.compile(r"[Nn]ot found|does not exist|[Nn]o such file|No file or directory")
FILE = re.compile(r"[^\s'\"=,;:()]+\.\w{1,12}\b")
SHOWN = 8
"""Files of a folder, in a message."""


def why(error: BaseException, package: Package) -> str:
    """What is behind ``error``, as a sentence to follow its message; empty where nobody knows."""
    words = _known(str(error))
    if not isinstance(error, ImportError):
        words = words or package.pointers_in_words() or _missing_file(error, package)
    return f"; {words}" if words else ""


def _known(message: str) -> str:
    for pattern, words in KNOWN.items():
        if re.search(pattern, message):
            return words
    name = found[1] if (found := UNDEFINED.search(message)) else ""
    if name in NAMES_OF_PYTHON_2:
        return f"{name!r} is a name of Python 2; today: {NAMES_OF_PYTHON_2[name]}"
    return f"the script lacks the line: import {name}" if name in sys.stdlib_module_names else ""


# --- a file that is not there


def _missing_file(error: BaseException, package: Package) -> str:
    """Where it was looked for, and what is there instead."""
    if isinstance(error, IsADirectoryError):
        return _no_model_file(str(error.filename), package)
    if not isinstance(error, FileNotFoundError) and not NOT_THERE.search(str(error)):
        return ""
    if any(folder in str(error) for folder in PLATFORM_FOLDERS):
        return "with --platform-paths this folder of the platform means the package's own"
    found = FILE.search(str(error))
    wanted = str(getattr(error, "filename", None) or (found[0] if found else ""))
    if not wanted or package.file:
        return ""
    return _instead(Path(wanted), package)


def _no_model_file(wanted: str, package: Package) -> str:
    known = parent_of_type(package.model_type or "")
    if wanted != str(package.folder):
        return ""
    missing = " or ".join(known.model_files) if known and known.model_path == "file" else ""
    why_folder = f"there is no {missing}, so model_path is the folder; " if missing else ""
    return f"{why_folder}{package.folder} holds {_listing(package.folder)}"


def _instead(wanted: Path, package: Package) -> str:
    there = package.some_files()
    by_name = {path.name: path for path in there}
    near = [by_name[name] for name in difflib.get_close_matches(wanted.name, by_name, 2)]
    words = "" if wanted.is_absolute() else f"looked for in the working directory, {package.root}; "
    if near:
        names = " and ".join(str(path) for path in near)
        return f"{words}the package has {names}; os.path.dirname(__file__) is {package.folder}"
    folder = wanted.parent if wanted.is_absolute() else package.root / wanted.parent
    folder = folder if folder.is_dir() and package.owns(f"{folder}{os.sep}") else package.folder
    return f"{words}the package has no such file: {folder} holds {_listing(folder)}"


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    more = ", …" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "nothing") + more
