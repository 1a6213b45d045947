"""registry.json: the winner's version in the model registry, and the decision on promotion."""

from typing import Literal

from components.evaluation.gate import JudgedRule
from pipeline.documents.base import Document, Section

Outcome = Literal["promoted", "kept champion", "in shadow", "unchanged"]
"""The challenger became the champion; it did not; it may after further runs; or there was nothing to decide."""


class FiguresOnTestSet(Section):
    """Figures of a registered version at the target rate on the pinned test set: the rate, and the ranking metric."""

    bpp: float
    """Rate in bits per pixel: total bits over total pixels."""
    psnr_db: float | None = None
    """Mean PSNR in dB, where it ranks."""
    ms_ssim: float | None = None
    """Mean multi-scale structural similarity, where it ranks."""
    ssim: float | None = None
    """Mean structural similarity, where it ranks."""
    pooled_psnr_db: float | None = None
    """PSNR of all pixels together in dB, where it ranks."""
    ssimulacra2: float | None = None
    """Mean score of SSIMULACRA 2, where it ranks."""
    psnr_hvs_m_db: float | None = None
    """Mean PSNR-HVS-M in dB, where it ranks."""

    def __str__(self) -> str:
        qualities = [f"{name} {value:.3f}" for name, value in self if name != "bpp" and isinstance(value, float)]
        return f"{' and '.join(qualities)} at {self.bpp:.4f} bpp"


class VersionNumber(Section):
    """Which version figures are of."""

    version: str
    """Number of the version in the model registry."""


class VersionFigures(FiguresOnTestSet, VersionNumber):  # fields of the last base come first
    """A registered version with its figures."""


class RegistryRecord(Document):
    """What is registered under a target, and why."""

    model: str
    """Name of the registered model, such as `image-codec-0.15bpp`."""
    version: str | None
    """Version of the leaderboard's winner; null where there is none."""
    aliases: dict[str, str]
    """Alias (`champion`, `challenger`) -> version."""
    decision: Outcome
    """Whether the winner was promoted."""
    why: str
    """The reason, with the figures."""
    challenger: VersionFigures | None
    """The leaderboard's winner."""
    champion: VersionFigures | None
    """The champion that the winner was compared with; null where there was none."""
    rules: tuple[JudgedRule, ...] = ()
    """Every rule of the gate and what the challenger showed; none where there was no champion to compare with."""
