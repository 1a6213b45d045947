"""Archives in the format of cifar-10-python.tar.gz, made of other pictures."""

import io
import itertools
import pickle
import struct
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from components.arrays import Rgb


def batch(pictures: Mapping[str, Rgb]) -> dict[bytes, Any]:
    """What a batch of pictures (32, 32, 3) holds."""
    rows = [rgb.transpose(2, 0, 1).ravel() for rgb in pictures.values()]
    names = [name.encode() for name in pictures]
    labels = [number % 10 for number in range(len(names))]
    return {b"batch_label": b"a batch", b"labels": labels, b"data": np.stack(rows), b"filenames": names}


def python2_pickle(value: Any) -> bytes:
    """A pickle of protocol 2 with byte strings, as Python 2's cPickle writes dicts, lists, bytes, ints and arrays."""
    return b"\x80\x02" + b"".join(_written(value, itertools.count(1))) + b"."


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz of the files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def cifar10(pictures: Mapping[str, Mapping[str, Rgb]]) -> bytes:
    """The archive of pictures by batch, such as test_batch, and name."""
    files = {f"cifar-10-batches-py/{name}": python2_pickle(batch(inside)) for name, inside in sorted(pictures.items())}
    meta = {b"num_cases_per_batch": 10000, b"label_names": [b"airplane", b"automobile"], b"num_vis": 3072}
    files["cifar-10-batches-py/batches.meta"] = python2_pickle(meta)
    files["cifar-10-batches-py/readme.html"] = b'<meta HTTP-EQUIV="REFRESH">'
    return archive(files)


def _written(value: Any, memo: "itertools.count[int]") -> Iterator[bytes]:
    match value:
        case None:
            yield pickle.NONE
        case bool():
            yield pickle.NEWTRUE if value else pickle.NEWFALSE
        case int() if 0 <= value < 256:
            yield pickle.BININT1 + bytes([value])
        case int():
            yield pickle.BININT + struct.pack("<i", value)
        case bytes():
            short = len(value) < 256
            yield (pickle.SHORT_BINSTRING if short else pickle.BINSTRING) + struct.pack(
                "<B" if short else "<i", len(value)
            )
            yield value + _put(memo)
        case list():
            yield pickle.EMPTY_LIST + _put(memo) + pickle.MARK
            for item in value:
                yield from _written(item, memo)
            yield pickle.APPENDS
        case dict():
            yield pickle.EMPTY_DICT + _put(memo) + pickle.MARK
            for item in itertools.chain.from_iterable(value.items()):
                yield from _written(item, memo)
            yield pickle.SETITEMS
        case tuple():
            yield pickle.MARK
            for item in value:
                yield from _written(item, memo)
            yield pickle.TUPLE + _put(memo)
        case np.ndarray():
            yield b"cnumpy.core.multiarray\n_reconstruct\n" + _put(memo)
            yield pickle.MARK + b"cnumpy\nndarray\n" + _put(memo)
            yield from (*_written((0,), memo), *_written(b"b", memo))
            yield pickle.TUPLE + _put(memo) + pickle.REDUCE + _put(memo)
            yield pickle.MARK
            yield from (*_written(1, memo), *_written(value.shape, memo))
            yield b"cnumpy\ndtype\n" + _put(memo)
            yield from _written((value.dtype.str[1:].encode(), 0, 1), memo)
            yield pickle.REDUCE + _put(memo)
            yield from _written((3, value.dtype.str[:1].encode(), None, None, None, -1, -1, 0), memo)
            yield pickle.BUILD
            yield from (*_written(False, memo), *_written(value.tobytes(), memo))
            yield pickle.TUPLE + _put(memo) + pickle.BUILD


def _put(memo: "itertools.count[int]") -> bytes:
    number = next(memo)
    return pickle.BINPUT + bytes([number]) if number < 256 else pickle.LONG_BINPUT + struct.pack("<I", number)
