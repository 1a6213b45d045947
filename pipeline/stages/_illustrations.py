"""What `evaluate` keeps of one picture for the report, beside figures and reconstructions."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from components.arrays import Rgb
from components.codecs.baselines.lossy import AtQuality
from components.codecs.coder import Coder, LearnedCoder
from components.codecs.tensors import to_tensor
from components.data.image_files import encode_png
from components.evaluation.progressive import PrefixQuality, jpeg2000_prefixes, learned_prefixes, psnr_drops
from components.storage.atomic import write_bytes, write_json


def keep_prefixes(coder: Coder, image: str, rgb: Rgb, folder: Path) -> None:
    """Of what can be cut: the curve of one picture's first bytes, and pictures along it."""

    def keep(bpp: float, decoded: Rgb) -> None:
        write_bytes(folder / f"{bpp:g}.png", encode_png(decoded))

    curve: list[PrefixQuality] = []
    if isinstance(coder, LearnedCoder) and coder.codec.progressive:
        folder.mkdir(parents=True, exist_ok=True)
        curve = list(learned_prefixes(coder.codec, rgb, keep))
    elif isinstance(coder, AtQuality) and coder.classic.name == "jpeg2000":
        folder.mkdir(parents=True, exist_ok=True)
        curve = list(jpeg2000_prefixes(rgb))
    if curve:
        points = [asdict(point) for point in curve]
        write_json(folder / "curve.json", {"image": image, "violations": psnr_drops(curve), "points": points})


def keep_maps(coder: Coder, image: str, rgb: Rgb, path: Path) -> None:
    """Of a learned lossy codec: what it tells of one picture, position by position.

    The report draws all bits on one scale, on which those of a lossless codec would leave nothing of the others'.
    """
    if not isinstance(coder, LearnedCoder) or coder.codec.rate_parameter is None:
        return
    codec = coder.codec
    rows, columns = (-(-side // codec.latent_stride) for side in rgb.shape[:2])
    maps = {kind: found[:rows, :columns] for kind, found in codec.latent_maps(to_tensor(rgb)).items()}
    rounded = {kind: np.round(found.double().numpy(), 5).tolist() for kind, found in maps.items()}
    write_json(path, {"image": image, "maps": rounded})
