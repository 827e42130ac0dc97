"""From an exception in a service to the error that its client and its log get.

Says in which step it happened, what the step was given, at which line of the script, and whose
fault it is.
"""

from __future__ import annotations

import inspect
import json
import linecache
import re
import threading
import traceback
from collections.abc import Mapping, Sequence
from types import CodeType, FrameType
from typing import Any

from engineroom.errors import InvalidUploadError, RequestError, StepError, StepInputError
from engineroom.kinds import given, words_of
from engineroom.package import Package
from engineroom.service import STEPS, Service
from engineroom.sources import PLATFORM_FOLDERS

# What readers of uploads raise when the content is not theirs. Names, so that none is imported.
UNREADABLE = {
    "PIL.UnidentifiedImageError", "PIL.Image.DecompressionBombError",
    "PIL.Image.DecompressionBombWarning", "json.decoder.JSONDecodeError", "binascii.Error",
    "builtins.UnicodeDecodeError", "zipfile.BadZipFile", "gzip.BadGzipFile", "tarfile.ReadError",
    "wave.Error", "_csv.Error", "xml.etree.ElementTree.ParseError", "pandas.errors.ParserError",
    "pandas.errors.EmptyDataError", "soundfile.LibsndfileError", "tifffile.tifffile.TiffFileError",
    "pydicom.errors.InvalidDicomError",
}  # fmt: skip
# Modules that do nothing but read files: whatever they raise is about the content.
READERS = re.compile(
    r"PIL\.(ImageFile|\w+ImagePlugin)|numpy\.lib\.(_?npyio(_impl)?|_?format(_impl)?)|"
    r"zipfile(\._.*)?|gzip|wave|imageio\..*|tifffile\..*"
)

CALLED = ("inference", *STEPS)
ANONYMOUS = re.compile(r"<_io\.BytesIO object at 0x\w+>")


def script_frames(error: BaseException, package: Package) -> list[tuple[FrameType, int]]:
    """The frames of ``error`` that are the package's own code, outermost first, with lines."""
    return [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if package.owns(frame.f_code.co_filename)
    ]


def reraise_interrupt(error: BaseException) -> None:
    """Let Ctrl-C through: whatever else a script raises is about the script."""
    main = threading.current_thread() is threading.main_thread()
    if isinstance(error, KeyboardInterrupt) and main:
        raise error


def place_of(error: BaseException, package: Package) -> str | None:
    """``path:line`` of the innermost frame of ``error`` in the package's code."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    frames = script_frames(error, package)
    return f"{frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else None


def request_error(
    error: BaseException, service: Service, package: Package, blames_input: bool = False
) -> RequestError:
    """The error for a request during which ``service.inference`` raised ``error``.

    KeyError and TypeError are 400 and anything else is 500, as the contract has it; an upload that
    its reader refuses is 400, and what the engine says is the input's fault: ``blames_input``.
    """
    detail = _detail(error, service, package)
    if isinstance(error, RequestError):
        error.detail = detail | error.detail
        return error
    message = ANONYMOUS.sub("the upload", str(error)) + _platform_aside(error)
    detail["exception"] = f"{type(error).__name__}: {message}"
    at = f" ({detail['where']})" if "where" in detail else ""
    step = detail.get("step", "inference")
    if _is_about_an_upload(error):
        return InvalidUploadError(f"the upload cannot be read in {step}{at}: {message}", **detail)
    kind = StepInputError if blames_input or isinstance(error, KeyError | TypeError) else StepError
    return kind(f"{step} raised {type(error).__name__}: {message}{at}", **detail)


def _detail(error: BaseException, service: Service, package: Package) -> dict[str, Any]:
    detail: dict[str, Any] = {}
    told: Any = None
    caller: FrameType | None = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_name
        if name in CALLED and _is_called_on(service, frame):
            told = _given(frame, caller)
            if name in STEPS:
                detail["step"] = name
        caller = frame
    frames = script_frames(error, package)
    if frames:
        frame, line = frames[-1]
        file = frame.f_code.co_filename
        detail["where"] = f"{file.removeprefix(str(package.folder)).lstrip('/')}:{line}"
        detail["line"] = linecache.getline(file, line).strip()
    return detail if told is None else {**detail, "given": told}


def _is_called_on(service: Service, frame: FrameType) -> bool:
    names = parameters_of(frame.f_code)
    return bool(names) and frame.f_locals.get(names[0]) is service


def _given(frame: FrameType, caller: FrameType | None) -> Any:
    """What the step in ``frame`` was given, or what its parameters hold by now."""
    if caller is not None and caller.f_code is Service.inference.__code__:
        # A step may have bound its parameter anew; here is still what it came in with.
        return given(caller.f_locals.get("data"))
    names = parameters_of(frame.f_code)[1:]
    values = {name: frame.f_locals[name] for name in names if name in frame.f_locals}
    if len(names) == 1:
        return given(*values.values()) if values else None
    return given(values) if values else None


def parameters_of(code: CodeType) -> tuple[str, ...]:
    """The names of a function's arguments in their order, ``*args`` and ``**kwargs`` last."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]


def aside(detail: Mapping[str, Any], keys: Sequence[str] = ("line", "given")) -> str:
    """The source line and what was given, to follow a message; empty when neither is known."""
    known = {key: words_of(detail[key]) for key in keys if detail.get(key)}
    return "".join(f"; {key}: {words}" for key, words in known.items())


def load_aside(error: BaseException, package: Package, **known: Any) -> str:
    """Likewise for an exception while a script is imported or its service is made."""
    text = error.text if isinstance(error, SyntaxError) else None
    for frame, number in script_frames(error, package)[-1:]:
        text = text or linecache.getline(frame.f_code.co_filename, number)
    return _platform_aside(error) + aside({"line": (text or "").strip(), "given": known})


def _platform_aside(error: BaseException) -> str:
    """What to do about a file that is only where the platform put packages."""
    if isinstance(error, OSError) and any(folder in str(error) for folder in PLATFORM_FOLDERS):
        return "; with --platform-paths this folder of the platform means the package's own"
    return ""


def _is_about_an_upload(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError | PermissionError | MemoryError | RecursionError):
        return False
    names = {f"{c.__module__}.{c.__qualname__}" for c in type(error).__mro__}
    if isinstance(error, json.JSONDecodeError) or names & UNREADABLE:
        return True
    if "cv2.error" in names:
        return "imdecode" in str(error) or ".empty()" in str(error)
    return any(
        READERS.fullmatch(str(frame.f_globals.get("__name__")))
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )
