"""leaderboard.json: every codec ranked at the target rate, and the winner."""

from pipeline.documents.base import Document, Kind, Section
from pipeline.documents.evaluation import Ceiling, Costs, OperatingPoint


class Named(Section):
    """Which codec a row is of."""

    name: str
    """The codec's name in params.yaml."""
    kind: Kind
    """`learned`, `baseline` or `lossless`."""


class FiguresAtTarget(Section):
    """A lossy codec's figures over all pictures of a set at the target rate; null where it does not reach the rate."""

    bpp: float | None
    """Rate in bits per pixel: total bits over total pixels."""
    bpp_why: str | None = None
    """Why there is no `bpp`."""
    psnr_db: float | None
    """Mean peak signal-to-noise ratio in dB."""
    psnr_db_why: str | None = None
    """Why there is no `psnr_db`."""
    pooled_psnr_db: float | None = None
    """PSNR of all pixels of all pictures together in dB, of their mean squared error."""
    pooled_psnr_db_why: str | None = None
    """Why there is no `pooled_psnr_db`."""
    ssim: float | None
    """Mean structural similarity, at most 1."""
    ssim_why: str | None = None
    """Why there is no `ssim`."""
    ms_ssim: float | None
    """Mean multi-scale structural similarity, at most 1."""
    ms_ssim_why: str | None = None
    """Why there is no `ms_ssim`."""
    swd: float | None
    """Mean sliced Wasserstein distance of patches, in thousandths of the original's deviation; lower is better."""
    swd_why: str | None = None
    """Why there is no `swd`."""
    ssimulacra2: float | None = None
    """Mean score of SSIMULACRA 2, at most 100."""
    ssimulacra2_why: str | None = None
    """Why there is no `ssimulacra2`."""
    psnr_hvs_m_db: float | None = None
    """Mean PSNR-HVS-M in dB: PSNR of the luma, by how well people see each error."""
    psnr_hvs_m_db_why: str | None = None
    """Why there is no `psnr_hvs_m_db`."""
    encode_s_per_mpx: float | None
    """Seconds of encoding for each million pixels."""
    encode_s_per_mpx_why: str | None = None
    """Why there is no `encode_s_per_mpx`."""
    decode_s_per_mpx: float | None
    """Seconds of decoding for each million pixels."""
    decode_s_per_mpx_why: str | None = None
    """Why there is no `decode_s_per_mpx`."""


class LossyRow(Costs, Ceiling, FiguresAtTarget, Named):  # fields of the last base come first
    """A lossy codec at the target rate on one set."""

    around_target: tuple[OperatingPoint, OperatingPoint] | None = None
    """Of classic codecs with whole qualities: the real points that the row's figures are interpolated between, linearly
    in the logarithm of the rate. Other rows are real points themselves."""
    around_target_why: str | None = None
    """Why the row is a real point all the same: the highest quality stays below the target."""

    @property
    def note(self) -> str | None:
        """The real points behind interpolated figures, or the reason why there are none; None for other rows."""
        if self.around_target is None:
            return self.around_target_why and f"not interpolated: {self.around_target_why}"
        return "interpolated between " + " and ".join(map(_brief, self.around_target))


class RankedRow(LossyRow):
    """A lossy codec at the target rate on the test set, with its BD-rate."""

    bd_rate_percent: float | None
    """Mean difference in rate to the anchor's curve at equal PSNR, in per cent; negative where bits are saved."""
    bd_rate_percent_why: str | None = None
    """Why there is no `bd_rate_percent`."""
    bd_rate_points: int | None = None
    """Number of rates of the codec's curve."""


class LosslessFigures(Section):
    """A lossless codec's figures over all pictures of the test set."""

    bpp: float
    """Rate in bits per pixel: total bits over total pixels."""
    encode_s_per_mpx: float
    """Seconds of encoding for each million pixels."""
    decode_s_per_mpx: float
    """Seconds of decoding for each million pixels."""
    bits_per_sample: float
    """A third of `bpp`: bits for each colour sample."""
    share_of_png: float | None
    """Bytes over those of the baseline png."""
    share_of_png_why: str | None = None
    """Why there is no `share_of_png`."""


class LosslessRow(Costs, LosslessFigures, Named):  # fields of the last base come first
    """A lossless codec on the test set."""


class CalibrationRanking(Section):
    """The ranking on the calibration set."""

    test_set: str
    """Name of the calibration set."""
    test_set_sha256: str | None
    """Hash over the names and contents of its pictures."""
    rows: tuple[LossyRow, ...]
    """Lossy codecs, best first."""


class Leaderboard(Document):
    """All codecs, ranked on the test set at the target rate."""

    target_bpp: float
    """Target rate in bits per pixel."""
    test_set: str
    """Name of the test set."""
    test_set_sha256: str | None
    """Hash over the names and contents of its pictures; null where nothing was evaluated."""
    metric: str
    """The figure that ranks, such as `psnr_db`; larger is better."""
    rows: tuple[RankedRow, ...]
    """Lossy codecs, best first; those that do not reach the target come last."""
    anchor: str
    """The codec that BD-rates are against."""
    calibration: CalibrationRanking
    """The same on the calibration set."""
    lossless: tuple[LosslessRow, ...] = ()
    """Lossless codecs, smallest first."""
    winner: str | None
    """The best learned codec at or below the target rate."""
    why: str
    """The reason for the winner, or for having none, in a sentence."""

    @property
    def names(self) -> list[str]:
        """All codecs, lossy ones first."""
        return [row.name for row in self.rows] + [row.name for row in self.lossless]


def _brief(point: OperatingPoint) -> str:
    """A real point in a few words."""
    quality = "" if point.psnr_db is None else f", {point.psnr_db:.2f} dB"
    return f"{point.setting} ({point.bpp:.4f} bpp{quality})"
