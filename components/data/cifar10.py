"""Batches of pictures as CIFAR-10's python archive holds them: pickles, read without running what they name."""

import io
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from components.arrays import Rgb
from components.errors import SourceError, one_line

SIDE = 32
"""Pixels; every picture is a square."""

_NAME = re.compile(r"data_batch_\d+|test_batch")
# What a pickle can make its reader stumble over, beside UnpicklingError.
_BROKEN = (
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)


def is_batch(path: str) -> bool:
    """Whether a file of an archive is called like a batch: `data_batch_1`, `test_batch`."""
    return _NAME.fullmatch(path.rpartition("/")[2]) is not None


def read_batch(path: Path) -> dict[str, Rgb]:
    """The pictures (32, 32, 3) of a batch by file name; a name that comes again has its position added.

    A batch is a pickle of protocol 2: a dict with b"data", uint8 (n, 3072), each row a red, a green and a blue
    plane, and b"filenames", n byte strings. Raises SourceError for anything else: a broken pickle, one that names
    more than arrays and bytes, other shapes and types, names that are not plain ones of PNG files.
    """
    try:
        return _pictures(_Unpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load())
    except pickle.UnpicklingError as error:
        raise SourceError(f"{path.name}: not a batch of pictures: {one_line(error)}") from error
    except _BROKEN as error:
        raise SourceError(f"{path.name}: not a batch of pictures: {type(error).__name__} in its pickle") from error


def _pictures(batch: dict[bytes, Any]) -> dict[str, Rgb]:
    planes, names = _planes(batch.get(b"data")), batch.get(b"filenames")
    if not isinstance(names, list) or len(names) != len(planes):
        raise pickle.UnpicklingError(f"it has no list of {len(planes)} filenames")
    pictures: dict[str, Rgb] = {}
    for position, (name, picture) in enumerate(zip(map(_plain, names), planes.transpose(0, 2, 3, 1), strict=True)):
        unique = f"{name.removesuffix('.png')}-{position}.png" if name in pictures else name
        if unique in pictures:
            raise pickle.UnpicklingError(f"{unique} comes twice")
        pictures[unique] = picture
    return pictures


def _planes(array: object) -> Rgb:
    """(n, 3, 32, 32)."""
    if not isinstance(array, _Array) or not isinstance(array.dtype, _Dtype) or not isinstance(array.content, bytes):
        raise pickle.UnpicklingError("its data is no array")
    row, size = 3 * SIDE**2, len(array.content)
    if array.dtype.name not in (b"u1", "u1") or array.in_fortran_order:
        raise pickle.UnpicklingError("its data is not uint8, row by row")
    if array.shape != (size // row, row) or size % row:
        raise pickle.UnpicklingError(f"its data has {size} bytes, and not the shape (n, {row})")
    return np.frombuffer(array.content, np.uint8).reshape(-1, 3, SIDE, SIDE)


def _plain(name: bytes) -> str:
    text = name.decode("ascii")
    if not (text.isprintable() and text.endswith(".png") and text[0] not in ".~") or set(text) & set("/\\"):
        raise pickle.UnpicklingError(f"{text!r} is not the plain name of a PNG file")
    return text


class _Dtype:
    """In the place of numpy.dtype: its name; the state tells the byte order, which a byte lacks."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """In the place of numpy.ndarray, whose own unpickling trusts its input: what its state says, unchecked."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, self.shape, self.dtype, self.in_fortran_order, self.content = state


def _new_array(*_: object) -> _Array:
    return _Array()


def _bytes(text: str, _encoding: str) -> bytes:
    return text.encode("latin-1")


_ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _bytes,  # how Python 3 writes bytes in protocol 2
}
_OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINUNICODE),
    *(pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.REDUCE, pickle.BUILD),
)


class _Unpickler(pickle._Unpickler):
    """Knows no more than a batch needs. In Python, since the one in C sizes its memo by what the file asks for."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = {opcode[0]: pickle._Unpickler.dispatch[opcode[0]] for opcode in _OPCODES}

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ADMITTED[module, name]

    def _set_items(self) -> None:
        # Tuples of tuples of the same tuples take forever to hash.
        if not all(isinstance(key, bytes) for key in self.stack[::2]):
            raise pickle.UnpicklingError("it has keys that are no bytes")
        pickle._Unpickler.load_setitems(self)  # type: ignore[attr-defined]

    dispatch[pickle.SETITEMS[0]] = _set_items
