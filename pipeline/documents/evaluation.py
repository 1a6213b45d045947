"""evaluation/<name>/metrics.json: one codec measured in real bytes on the test set and the calibration set."""

from components.evaluation.interpolation import interpolated
from components.evaluation.results import RatePoint
from pipeline.documents.base import Document, Kind, Section


class OperatingPoint(RatePoint):
    """The figures at one setting of a codec that has settings in place of a quantiser step: a bit depth, a quality."""

    setting: str
    """The setting in words."""


class EffortPoint(RatePoint):
    """The figures at one effort of the encoder, with the gain that meets the target rate on this very set."""

    effort: int
    """0 to 9; 1 is the default."""
    gain: float
    """1 / quantiser step."""


class Ceiling(Section):
    """The PSNR of a codec's transforms alone on one set of pictures; null for other codecs than transform codecs."""

    ceiling_db: float | None = None
    """Mean PSNR in dB of synthesis(analysis(x)), latents not quantised: finer steps bring the codec's PSNR towards
    it."""
    ceiling_db_why: str | None = None
    """Why there is no `ceiling_db`."""


class SetResults(Ceiling):
    """A codec's figures on one set of pictures."""

    as_calibrated: RatePoint
    """As the codec is deployed: calibrated to the target rate on the calibration set."""
    at_target: RatePoint | None
    """With the quantiser step (or quality) that meets the target rate on this very set: what codecs compare at."""
    at_target_why: str | None = None
    """Why there is no `at_target`."""
    around_target: tuple[OperatingPoint, OperatingPoint] | None = None
    """Of classic codecs with whole qualities: the figures `at_target` again, and those of the next quality, whose rate
    is above the target."""
    around_target_why: str | None = None
    """Why there is no `around_target`: the highest quality stays below the target."""

    def compared(self, target_bpp: float) -> RatePoint | None:
        """The figures that codecs compare at: `at_target`, interpolated to the target where it has a point above."""
        if self.around_target is None:
            return self.at_target
        return interpolated(*self.around_target, target_bpp)


class CurvePoint(Section):
    """One rate of a codec's rate-distortion curve."""

    bpp: float
    """Rate in bits per pixel."""
    psnr_db: float
    """Mean PSNR in dB."""


class Quality(Section):
    """The quality settings of a classic codec, in the codec's own units."""

    as_calibrated: float
    """The largest quality that meets the target rate on the calibration set."""
    at_target: float | None
    """The largest quality that meets the target rate on the test set; null where none does."""


class Description(Section):
    """What was measured."""

    name: str
    """The codec's name in params.yaml."""
    target_bpp: float
    """Target rate in bits per pixel."""
    kind: Kind
    """`learned`, `baseline` or `lossless`."""
    reported: str | None = None
    """Of trained codecs: what its paper reports; empty where it reports nothing that compares."""
    version: str | None = None
    """Of classic codecs: the libraries behind it, with their versions."""
    settings: str | None = None
    """Of classic codecs: how it is run."""
    quality: Quality | None = None
    """Of classic lossy codecs: its quality settings."""
    setting: str | None = None
    """Of learned lossy codecs: what sets the rate as deployed, in words, such as `gain 0.4147`."""
    gain_at_target: float | None = None
    """Of learned lossy codecs: the gain (1 / quantiser step) that meets the target rate on the test set."""
    setting_at_target: str | None = None
    """`gain_at_target` in words."""


class Costs(Section):
    """What a codec costs to run; null for classic codecs, which have no network."""

    parameters: int | None
    """Learned numbers."""
    parameters_why: str | None = None
    """Why there are no `parameters`."""
    encoder_kmac_per_px: float | None
    """Thousands of multiply-accumulates of the encoder for each pixel."""
    encoder_kmac_per_px_why: str | None = None
    """Why there is no `encoder_kmac_per_px`."""
    decoder_kmac_per_px: float | None
    """Thousands of multiply-accumulates of the decoder for each pixel."""
    decoder_kmac_per_px_why: str | None = None
    """Why there is no `decoder_kmac_per_px`."""
    peak_mb: float | None
    """Memory in 10^6 bytes that encoding and decoding the largest picture of the test set take at their peak, weights
    included, libraries and other pictures not: on the GPU if the codec runs there, else resident memory."""
    peak_mb_why: str | None = None
    """Why there is no `peak_mb`."""


class Evaluation(Costs, Description, Document):  # fields of the last base come first
    """One codec on the test set and the calibration set."""

    operating_points: dict[str, tuple[OperatingPoint, ...]] | None = None
    """Test set -> the finest setting of each kind, of codecs that have settings in place of a quantiser step."""
    efforts: dict[str, tuple[EffortPoint, ...]] | None = None
    """Name of a set -> the figures at the efforts that params.yaml asks for, by effort."""
    test_sets: dict[str, SetResults]
    """Name of a set -> the figures on it: the test set, and the calibration set."""
    test_set_sha256: dict[str, str]
    """Name of a set -> a hash over the names and contents of its pictures."""
    curve: dict[str, tuple[CurvePoint, ...]]
    """Test set -> the curve around the target rate, by rate; empty for lossless codecs."""
