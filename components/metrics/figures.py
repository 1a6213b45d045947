"""The figures of a decoded picture, without what computes them: results are read where no picture is."""

from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Quality:
    """The quality of one decoded picture; a figure that does not exist is None.

    Attributes:
        psnr_db: see `quality.psnr_db`.
        ssim: see `structural_similarity.ssim_and_ms_ssim`.
        ms_ssim: see `structural_similarity.ssim_and_ms_ssim`.
        swd: see `patch_statistics.sliced_wasserstein`.
        ssimulacra2: see `ssimulacra2.ssimulacra2`.
        psnr_hvs_m_db: see `psnr_hvs_m.psnr_hvs_m_db`.
        reasons: for each figure that is None, the reason.
    """

    psnr_db: float | None
    ssim: float | None
    ms_ssim: float | None
    swd: float | None
    ssimulacra2: float | None
    psnr_hvs_m_db: float | None
    reasons: dict[str, str] = field(default_factory=dict)


FIGURES = tuple(each.name for each in fields(Quality) if each.name != "reasons")
"""Names of the figures of a decoded picture."""
