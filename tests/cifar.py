"""Archives in the format of cifar-10-binary.tar.gz, made of other pictures."""

import io
import tarfile
from collections.abc import Mapping, Sequence

import numpy as np

from components.arrays import Rgb


def batch(pictures: Sequence[Rgb]) -> bytes:
    """A batch of pictures (32, 32, 3): for each a label, and its red, green and blue plane."""
    labels = (np.arange(len(pictures)) % 10).astype(np.uint8)
    planes = np.stack(pictures).transpose(0, 3, 1, 2).reshape(len(pictures), -1)
    return np.concatenate([labels[:, None], planes], axis=1).tobytes()


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz of the files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def cifar10(pictures: Mapping[str, Sequence[Rgb]]) -> bytes:
    """The archive of pictures by batch, such as test_batch."""
    files = {f"cifar-10-batches-bin/{name}.bin": batch(inside) for name, inside in sorted(pictures.items())}
    files["cifar-10-batches-bin/batches.meta.txt"] = b"airplane\nautomobile\n\n"
    files["cifar-10-batches-bin/readme.html"] = b'<meta HTTP-EQUIV="REFRESH">'
    return archive(files)
