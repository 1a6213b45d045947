"""A checkout with the files that the stage `register` reads."""

import shutil
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML

from components.codecs import checkpoint
from components.codecs.base import Codec
from components.storage.atomic import read_json, write_json
from pipeline.documents.evaluation import Costs
from pipeline.documents.images import ImageRow, write_images
from pipeline.stages import register
from tests.small_profile import small_params

TARGET = 0.25
MODEL = f"image-codec-{TARGET}bpp"
Json = dict[str, Any]
CALIBRATION: Json = {
    "name": "wcae", "target_bpp": TARGET, "tolerance": 0.01, "calibration_set": "bundled-calibration",
    "rate_parameter": "lmbda", "setting": "gain", "lmbda": 0.01, "bpp": 0.99, "steps": 3, "history": [],
}  # fmt: skip
ROW: Json = {
    "name": "wcae", "kind": "learned", "ssim": None, "ms_ssim": None, "swd": None, "encode_s_per_mpx": 1.0,
    "decode_s_per_mpx": 1.0, "parameters": 1, "encoder_kmac_per_px": 1.0, "decoder_kmac_per_px": 1.0, "peak_mb": 1.0,
    "bd_rate_percent": None,
}  # fmt: skip
BOARD: Json = {
    "target_bpp": TARGET, "test_set": "bundled-test", "metric": "psnr_db", "anchor": "jpeg2000",
    "calibration": {"test_set": "bundled-calibration", "test_set_sha256": None, "rows": []},
}  # fmt: skip

RULES: Json = {
    "rate": {"figure": "bpp", "over": "total", "above": -0.03}, "quality": {"above": 0.0}, "worst_picture": None,
    "decode_time": None, "memory": None,
}  # fmt: skip
"""Codecs with random weights differ by chance, and more than those that somebody trained."""


class Checkout:
    """A folder with the files that `register` reads, like those of the stages before it."""

    def __init__(self, root: Path, empty_database: Path):
        self.root = root
        shutil.copy(empty_database, root)
        document = small_params()
        document["target_bpp"] = TARGET
        document["registry"] |= {"rate_slack": 0.03, "rules": RULES}
        with (root / "params.yaml").open("w") as file:
            YAML().dump(document, file)
        (root / "report").mkdir()
        (root / "report" / "index.html").write_text("<p>report</p>")

    def win(self, codec: Codec, psnr_db: float, bpp: float = TARGET, test_set: str = "1" * 64) -> None:
        """Make `codec` the leaderboard's winner with these figures."""
        path = self.root / "models" / "wcae" / "calibrated.safetensors"
        facts = {"lmbda": 0.01, "step": 3, "training": "t", "data_sha256": "d", "git_commit": None}
        checkpoint.save(codec, path, variant="wcae", calibrated_bpp=0.99, **facts)
        model_hash, gain = codec.model_hash().hex(), codec.gain.item()
        calibration = {"model_hash": model_hash, "gain": gain, **CALIBRATION}
        write_json(path.with_name("calibration.json"), calibration)
        row = {**ROW, "bpp": bpp, "psnr_db": psnr_db}
        board = {**BOARD, "test_set_sha256": test_set, "rows": [row], "winner": "wcae", "why": "best"}
        write_json(self.root / "leaderboard.json", board)
        self._evaluate(psnr_db, bpp)

    def _evaluate(self, psnr_db: float, bpp: float) -> None:
        """Write the evaluation behind these figures: two pictures, at equal distances from them."""
        point = {
            "images": 2, "pixels": 25600, "bytes": 1, "bpp": bpp, "bpp_mean": bpp, "psnr_db": psnr_db, "ssim": None,
            "ms_ssim": None, "swd": None, "encode_s_per_mpx": 1.0, "decode_s_per_mpx": 1.0,
        }  # fmt: skip
        evaluation = {
            **{key: ROW[key] for key in ("name", "kind", *Costs.model_fields) if key in ROW},
            "target_bpp": TARGET, "test_set_sha256": {}, "curve": {},
            "test_sets": {"bundled-test": {"as_calibrated": point, "at_target": point}},
        }  # fmt: skip
        folder = self.root / "evaluation" / "wcae"
        write_json(folder / "metrics.json", evaluation)
        rows = [
            ImageRow(
                test_set="bundled-test", point="at_target", image=f"{place}.png", width=100, height=128,
                bytes=round(bpp * 1600), bpp=bpp, psnr_db=psnr_db + place, ssim=None, ms_ssim=None, swd=None,
                encode_s=1.0, decode_s=1.0,
            )
            for place in (-1, 1)
        ]  # fmt: skip
        write_images(rows, folder / "images.csv")

    def copy_to(self, root: Path) -> Self:
        """A copy with the registry's database, which knows its artifacts where they are."""
        shutil.copytree(self.root, root)
        copy = object.__new__(type(self))
        copy.root = root
        return copy

    def change_registry(self, **values: Any) -> None:
        """Change keys of `registry` in params.yaml."""
        document = YAML(typ="safe").load(self.root / "params.yaml")
        document["registry"] |= values
        with (self.root / "params.yaml").open("w") as file:
            YAML().dump(document, file)

    def register(self) -> Json:
        register.run(self.root)
        return dict(read_json(self.root / "registry.json"))
