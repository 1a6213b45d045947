"""The codec that the stage `evaluate` measures: a trained variant or a classic codec, lossy or lossless."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.baselines.lossless import LOSSLESS
from components.codecs.baselines.lossy import BASELINES, AtQuality
from components.codecs.baselines.quality_search import largest_quality
from components.codecs.coder import Coder, LearnedCoder
from components.errors import RatewrightError
from components.rate.coder_at_rate import ClassicAtRate, CoderAtRate, LearnedAtRate
from pipeline.config.params import Params
from pipeline.documents.evaluation import Description, Quality
from pipeline.paths import Layout


@dataclass(frozen=True)
class EvaluatedCodec:
    """A codec with what the evaluation needs of it.

    Attributes:
        description: The codec in words; without the setting at the target, which is not known yet.
        deployed: The coder as calibrated.
        at_rate: Its coders at other rates on the test set; None for a lossless codec.
    """

    description: Description
    deployed: Coder
    at_rate: CoderAtRate | None

    def described_at_target(self, coder: Coder) -> Description:
        """The description with the setting of `coder`, which meets the target rate on the test set."""
        found = self.description
        if isinstance(coder, LearnedCoder) and coder.gain is not None:
            setting = coder.codec.describe(coder.gain)
            return found.model_copy(update={"gain_at_target": coder.gain, "setting_at_target": setting})
        assert isinstance(coder, AtQuality)
        assert found.quality is not None
        quality = Quality(as_calibrated=found.quality.as_calibrated, at_target=coder.quality)
        return found.model_copy(update={"quality": quality})


def evaluated_codec(
    name: str, settings: Params, layout: Layout, calibration: Sequence[Rgb], test: Sequence[Rgb]
) -> EvaluatedCodec:
    """The variant or baseline `name`.

    Args:
        name: As params.yaml has it.
        settings: The params.
        layout: The checkout, which holds checkpoints.
        calibration: Pictures of the calibration set, on which a classic codec finds its quality.
        test: Pictures of the test set, on which the codec is brought to other rates.

    Raises:
        RatewrightError: There is no such codec, or its checkpoint cannot be read.
        CalibrationError: A classic codec does not reach the target rate.
    """
    if name not in settings.baselines:
        return _learned(name, settings, layout, test)
    if name in LOSSLESS:
        return _lossless_baseline(name, settings)
    if name not in BASELINES:
        raise RatewrightError(f"unknown baseline {name!r}; known: {', '.join((*BASELINES, *LOSSLESS))}")
    return _lossy_baseline(name, settings, calibration, test)


def _learned(name: str, settings: Params, layout: Layout, test: Sequence[Rgb]) -> EvaluatedCodec:
    variant = settings.variant(name)
    codec, _ = checkpoint.load(layout.calibrated(name), codec=variant.codec)
    described = partial(Description, name=name, target_bpp=settings.target_bpp, reported=codec.paper_results)
    if codec.rate_parameter is None:
        return EvaluatedCodec(described(kind="lossless"), LearnedCoder(codec), None)
    description = described(kind="learned", setting=codec.describe(codec.gain.item()))
    at_rate = LearnedAtRate(codec, test, variant.calibrate.tolerance)
    return EvaluatedCodec(description, LearnedCoder(codec), at_rate)


def _lossy_baseline(name: str, settings: Params, calibration: Sequence[Rgb], test: Sequence[Rgb]) -> EvaluatedCodec:
    classic = BASELINES[name]
    quality = largest_quality(classic, calibration, settings.target_bpp)
    description = Description(
        name=name,
        target_bpp=settings.target_bpp,
        kind="baseline",
        version=classic.version,
        settings=classic.settings,
        quality=Quality(as_calibrated=quality, at_target=None),
    )
    return EvaluatedCodec(description, AtQuality(classic, quality), ClassicAtRate(classic, test))


def _lossless_baseline(name: str, settings: Params) -> EvaluatedCodec:
    codec = LOSSLESS[name]
    description = Description(
        name=name,
        target_bpp=settings.target_bpp,
        kind="lossless",
        version=codec.version,
        settings=codec.settings,
    )
    return EvaluatedCodec(description, codec, None)
