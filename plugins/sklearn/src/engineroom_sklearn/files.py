"""What a model file is, by its content: a ``.m`` may be a pickle or one of XGBoost's."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal, TypeAlias

from engineroom.errors import ModelFileError

Kind: TypeAlias = Literal["pickle", "skops", "xgboost", "xgboost-binary"]

# How files begin: pickles of Python 3 and 2, and what joblib compresses them with. Source: joblib's
# numpy_pickle_utils, and the opcodes of pickletools.
PICKLES = (
    *(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"ccopy_reg\n", b"ccopyreg\n"),
    *(b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"ZF0x", b"\x1f\x8b", b"BZh"),
    *(b"\xfd7zXZ", b"\x5d\x00\x00", b"\x04\x22\x4d\x18"),
)  # fmt: skip
# The first fields of XGBoost's LearnerModelParam: base_score, num_feature, num_class.
BINARY = struct.Struct("<fIi")


def kind_of(path: Path) -> Kind | None:
    """What ``path`` holds; None: nothing that this engine knows, or not readable."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError:
        return None
    if head.startswith(PICKLES):
        return "pickle"
    if head.startswith(b"PK\x03\x04"):
        return "skops"
    if head.lstrip().startswith(b"{"):
        # JSON and UBJSON, whose first key is this.
        return "xgboost" if b"learner" in head else None
    return "xgboost-binary" if _is_binary(head) else None


def _is_binary(head: bytes) -> bool:
    if head.startswith((b"binf", b"bs64")):
        return True
    if len(head) < 136:  # the size of the whole LearnerModelParam
        return False
    base_score, features, classes = BINARY.unpack_from(head)
    return bool(abs(base_score) < 1e9 and 0 < features < 1 << 24 and 0 <= classes < 1 << 16)


def code_in(path: Path) -> str | None:
    """Why reading ``path`` runs code that is in it; None: it does not.

    Raises:
        ModelFileError: no skops file.
    """
    kind = kind_of(path)
    if kind == "pickle":
        return "is a pickle"
    if kind == "skops" and (types := untrusted_types(path)):
        return f"holds types that skops does not trust ({', '.join(types)})"
    return None


def untrusted_types(path: Path) -> list[str]:
    """The types in a skops file that skops itself would not make.

    Raises:
        ModelFileError: no skops file.
    """
    import skops.io

    try:
        types: list[str] = skops.io.get_untrusted_types(file=path)
    except Exception as error:  # broken archives raise whatever zipfile, json or skops raise
        raise ModelFileError(f"{path}: not a skops file, or a damaged one: {error}") from error
    return types
