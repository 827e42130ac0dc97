"""What to do about the failures that authors of packages meet most."""

from __future__ import annotations

import ast
import difflib
import io
import re
import textwrap
from collections.abc import Callable, Iterator

from engineroom.causes import why
from engineroom.errors import InvalidTensorError
from engineroom.kinds import kind_of
from engineroom.tools.fault import Fault
from engineroom.values import is_upload

PYTHON_KEYS = 8


def advice(fault: Fault) -> list[str]:
    """Sentences for the terminal; empty for a failure that speaks for itself."""
    return [words for rule in RULES for words in rule(fault)]


def _key(fault: Fault) -> Iterator[str]:
    """A key that is not there: which ones are, and which the script asks for."""
    error = fault.origin
    if not isinstance(error, KeyError) or not error.args or not fault.frames:
        return
    key = error.args[0]
    for name, value in fault.variables():
        if not (isinstance(value, dict) and key not in value and name in fault.line):
            continue
        there = ", ".join(repr(known) for known in list(value)[:PYTHON_KEYS]) or "none"
        asked = sorted(_asked(fault, name) - {str(key)})
        also = f"; the script asks it for {', '.join(map(repr, asked))}, too" if asked else ""
        near = difflib.get_close_matches(str(key), list(map(str, value)), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        yield f"{name!r} has no key {key!r}; its keys are: {there}{also}{hint}"
        if any(map(is_upload, value.values())) or value is fault.request:
            yield f"to send it: -F {key}=@FILE for an upload, -F {key}=TEXT for a text"
        return


def _asked(fault: Fault, name: str) -> set[str]:
    """The constant keys for which the failing function asks the variable ``name``."""
    asked: set[str] = set()
    for node in ast.walk(_function(fault)):
        if isinstance(node, ast.Subscript):
            holder, key = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            holder, key = node.func.value, node.args[0]
            if node.func.attr not in ("get", "pop"):
                continue
        else:
            continue
        if isinstance(holder, ast.Name) and holder.id == name and isinstance(key, ast.Constant):
            asked.add(str(key.value))
    return asked


def _function(fault: Fault) -> ast.AST:
    """The function that failed, parsed; an empty module where its source is not to be had."""
    for frame, line in reversed(fault.frames):
        try:
            with open(frame.f_code.co_filename, "rb") as file:
                tree = ast.parse(file.read())
        except (OSError, SyntaxError, ValueError):
            continue
        around = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
        ]
        return around[-1] if around else tree
    return ast.Module([], [])


def _read(fault: Fault) -> Iterator[str]:
    """An upload that has been read before."""
    for name, value in fault.variables():
        if isinstance(value, io.BytesIO) and _is_read(value) and _names(fault, name):
            yield f"{name!r} has been read to its end already: {name}.seek(0) before"


def _is_read(file: io.BytesIO) -> bool:
    return not file.closed and 0 < file.getbuffer().nbytes == file.tell()


def _names(fault: Fault, name: str) -> bool:
    return bool(re.search(rf"\b{re.escape(name)}\b", fault.line))


def _nothing(fault: Fault) -> Iterator[str]:
    """``None`` where something was expected: OpenCV says in this way that it could not read."""
    if "NoneType" not in str(fault.origin) and "empty()" not in str(fault.origin):
        return
    nothing = {name for name, value in fault.variables() if value is None}
    for node in ast.walk(_function(fault)):
        if not isinstance(node, ast.Assign):
            continue
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        made = ast.unparse(node.value)
        for name in sorted(names & nothing):
            if "imread" in made:
                yield (
                    f"{name!r} is None: cv2.imread takes a path on disk, and gives None for all it "
                    "cannot read; for an upload: cv2.imdecode(np.frombuffer(file.read(), "
                    "np.uint8), cv2.IMREAD_COLOR)"
                )
            elif "imdecode" in made:
                yield (
                    f"{name!r} is None: cv2.imdecode could not read these bytes; are they a "
                    "picture, and has the file been read before (file.seek(0))?"
                )
            else:
                yield f"{name!r} is None; it comes from: {textwrap.shorten(made, 60)}"
    for frame, _ in fault.frames[-1:]:
        owner = frame.f_locals.get("self")
        for name in re.findall(r"self\.(\w+)", fault.line):
            if owner is not None and vars(owner).get(name, ...) is None:
                yield f"self.{name} is None: the constructor has not set it, or has set it to None"


def _shape(fault: Fault) -> Iterator[str]:
    """Shapes that do not fit: those that are there."""
    message = str(fault.origin)
    if isinstance(fault.origin, InvalidTensorError):
        return  # says what was expected and what came
    wanted = r"shape|size mismatch|mat1|dimension|broadcast|expected .*channels|[Ii]ncompatible"
    if not re.search(wanted, message):
        return
    shaped = {name: kind_of(v) for name, v in fault.variables() if hasattr(v, "shape")}
    if shaped:
        yield "shapes there: " + ", ".join(f"{name} {words}" for name, words in shaped.items())
    if fault.inputs:
        specs = ", ".join(f"{spec.name} {spec}" for spec in fault.inputs)
        yield f"the model file declares: {specs}"
    if "mat1" in message or "channels" in message or "size mismatch" in message:
        yield "the first dimension is the batch: for one picture, picture[None] or unsqueeze(0)"


def _cause(fault: Fault) -> Iterator[str]:
    """What is known of an exception whoever raises it: a GPU or a file that is not there."""
    if words := why(fault.origin, fault.package):
        yield words.removeprefix("; ")


def _said(fault: Fault) -> Iterator[str]:
    """What follows from the message alone."""
    for pattern, words in SAID:
        if re.search(pattern, str(fault.origin)):
            yield words.format(parent=fault.parent or "the parent class")


SAID = (
    (
        r"'dict' object has no attribute '(read|getvalue|seek|tell|getbuffer)'",
        "a file field is a dict {{name: file}}: for name, file in data[KEY].items(): …",
    ),
    (
        r"BytesIO.*(has no attribute|not subscriptable)",
        "an upload is a BytesIO: read it (file.read()), or open it (Image.open(file))",
    ),
    (
        r"(?s)^(?=.*BytesIO).*(path|os\.PathLike|filename|file name)",
        "an upload is no file on disk: give the reader file.read(), or the file itself",
    ),
    (
        r"is not JSON serializable",
        "return the value itself: numpy values and tensors become JSON by themselves",
    ),
    # What the other parent classes' _inference gives, used on this one's.
    (
        r"'list' object has no attribute '(shape|argmax|astype|max|reshape)'",
        "{parent} gives nested lists, and not arrays: np.asarray(data[NAME])",
    ),
    (
        r"ndarray' object has no attribute '(index|append|extend)'",
        "{parent} gives arrays, and not lists: data[NAME].tolist()",
    ),
    (
        r"ndarray' object has no attribute '(cpu|detach|numpy)'",
        "{parent} gives numpy arrays, and not tensors: the array is there already",
    ),
)
Rule = Callable[[Fault], Iterator[str]]
RULES: tuple[Rule, ...] = (_key, _said, _read, _nothing, _shape, _cause)
