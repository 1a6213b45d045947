"""Illustrations of one test picture that `evaluate` keeps for the report, beside figures and reconstructions."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from components.arrays import Rgb
from components.codecs.baselines.lossy import AtQuality
from components.codecs.coder import Coder, LearnedCoder
from components.codecs.tensors import to_tensor
from components.data.image_files import encode_png
from components.evaluation.progressive import PrefixQuality, jpeg2000_prefixes, learned_prefixes, psnr_drops
from components.storage.atomic import write_bytes
from pipeline.documents import LatentMaps, PrefixCurve, write
from pipeline.documents.illustrations import PrefixPoint


def keep_prefixes(coder: Coder, image: str, rgb: Rgb, folder: Path) -> None:
    """Keep the quality of one picture over the first bytes of its file, and pictures along that curve.

    Learned progressive codecs and JPEG 2000 have such a curve; of other codecs nothing is kept.

    Args:
        coder: The codec.
        image: Name of the picture's file.
        rgb: The picture.
        folder: Where curve.json goes, and pictures named by their bpp.
    """

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
        points = tuple(PrefixPoint(**asdict(point)) for point in curve)
        write(PrefixCurve(image=image, violations=psnr_drops(curve), points=points), folder / "curve.json")


def keep_maps(coder: Coder, image: str, rgb: Rgb, path: Path) -> None:
    """Keep the maps of a learned lossy codec: for each position of the latents, its bits, and its importance.

    The report draws the bits of all codecs on one scale, on which those of a lossless codec would hide the others.

    Args:
        coder: The codec; of any other than a learned lossy one nothing is kept.
        image: Name of the picture's file.
        rgb: The picture.
        path: Where the maps go.
    """
    if not isinstance(coder, LearnedCoder) or coder.codec.rate_parameter is None:
        return
    codec = coder.codec
    rows, columns = (-(-side // codec.latent_stride) for side in rgb.shape[:2])
    maps = {kind: found[:rows, :columns] for kind, found in codec.latent_maps(to_tensor(rgb)).items()}
    rounded = {kind: np.round(found.double().numpy(), 5).tolist() for kind, found in maps.items()}
    figures = {kind: tuple(map(tuple, found)) for kind, found in rounded.items()}
    write(LatentMaps(image=image, maps=figures), path)
