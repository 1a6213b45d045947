"""The stage `evaluate`: a variant or a baseline measured on the test and the calibration set into evaluation/<name>/.

On the calibration set a codec meets the target rate as it is. On the test set it is brought there once more, since
qualities compare at equal rates, and to a few rates around it, since a BD-rate compares curves. A lossless codec has
no rate to trade for quality, so it has no figures at the target; every pixel must come back.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.arrays import Rgb
from components.codecs.coder import Coder, LearnedCoder
from components.errors import CalibrationError
from components.evaluation.complexity import count_parameters, kmac_per_px, peak_memory_mb
from components.evaluation.measure import measure
from components.evaluation.results import RatePoint, summarise
from components.rate.real_rate import rate_and_psnr
from components.storage.atomic import sha256_of
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.documents import Evaluation, write
from pipeline.documents.evaluation import (
    Costs,
    CurvePoint,
    EffortPoint,
    OperatingPoint,
    SetResults,
)
from pipeline.documents.images import write_images
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.registry.runs import Run
from pipeline.stages._data_set import Pictures, content_hash, data_input
from pipeline.stages._efforts import points_at_efforts
from pipeline.stages._evaluated_codec import EvaluatedCodec, evaluated_codec
from pipeline.stages._illustrations import keep_maps, keep_prefixes
from pipeline.stages._measurement import Measurement
from pipeline.stages._threads import use_threads
from pipeline.stages._training import fingerprint

CURVE = (0.6, 0.8, 1.4)
"""Rates of a curve beside the target, in units of the target."""
CURVE_TOLERANCE = 0.1
"""Share by which the rates of a curve may fall short: a curve goes through rates, which ones matters little."""
NO_NETWORK = "a classic codec has no network"
NO_PEAK = "this system does not tell the peak memory of a part of a process"

logger = logging.getLogger(__name__)


def run(root: Path, name: str) -> None:
    """Write metrics.json, images.csv and the first reconstructions of `name`."""
    settings, layout = params.load(root), Layout(root)
    use_threads(settings)
    test_set, calibration_set = settings.data.test, settings.data.calibration
    originals = {key: Pictures(layout.raw(key)) for key in (test_set, calibration_set)}
    codec = evaluated_codec(name, settings, layout, originals[calibration_set].rgbs, originals[test_set].rgbs)
    with _tracked(root, codec, settings, layout) as tracked:
        evaluation = _evaluate(codec, originals, settings, layout)
        tracked.log_row({"step": 0, **_figures(evaluation)})
    logger.info("evaluate %s: %s, %s", name, _brief(test_set, evaluation.test_sets[test_set]), layout.metrics(name))


def _tracked(root: Path, codec: EvaluatedCodec, settings: Params, layout: Layout) -> Run:
    """The MLflow run of an evaluation."""
    described = codec.description.model_dump(exclude_none=True)
    data = [
        data_input(root, settings, settings.data.calibration, "calibration"),
        data_input(root, settings, settings.data.test, "test"),
    ]
    name = codec.description.name
    learned = isinstance(codec.deployed, LearnedCoder)
    weights = sha256_of(layout.calibrated(name)) if learned else None
    identity = fingerprint("evaluate", described, weights, [each.sha256 for each in data])
    return Run(root, f"evaluate {name}", identity, described, data)


def _figures(evaluation: Evaluation) -> dict[str, float]:
    """The figures of every set by names such as `kodak/at_target/psnr_db`."""
    return {
        f"{key}/{label}/{field}": value
        for key, results in evaluation.test_sets.items()
        for label, point in (("as_calibrated", results.as_calibrated), ("at_target", results.at_target))
        for field, value in point or ()
        if isinstance(value, int | float)
    }


def _evaluate(codec: EvaluatedCodec, originals: Mapping[str, Pictures], settings: Params, layout: Layout) -> Evaluation:
    """Measure, and write what the stage writes."""
    name, test_set = codec.description.name, settings.data.test
    measurement = Measurement(codec, originals, settings, layout.evaluation(name))
    measurement.run()
    results = measurement.set_results()
    curve = _curve(codec, results[test_set].at_target, originals[test_set].rgbs)

    keep_prefixes(codec.deployed, *originals[test_set][0], layout.prefixes(name, test_set))
    keep_maps(codec.deployed, *originals[test_set][0], layout.maps(name, test_set))
    evaluation = Evaluation(
        **dict(measurement.description),
        **dict(_costs(codec.deployed, originals[test_set].largest())),
        efforts=_efforts(codec, originals, settings),
        operating_points=_operating_points(codec.deployed, test_set, originals[test_set]),
        test_sets=results,
        test_set_sha256={key: content_hash(layout.raw(key)) for key in originals},
        curve={test_set: curve},
    )
    write_images(measurement.rows(), layout.evaluation(name) / "images.csv")
    write(evaluation, layout.metrics(name))
    return evaluation


def _curve(codec: EvaluatedCodec, at_target: RatePoint | None, test: Sequence[Rgb]) -> tuple[CurvePoint, ...]:
    """Rate and PSNR on the test set at the target and around it, by rate, as far as the codec reaches the rates."""
    if codec.at_rate is None:
        return ()
    points = [] if at_target is None else [(at_target.bpp, at_target.psnr_db)]
    for share in CURVE:
        try:
            coder = codec.at_rate(share * codec.description.target_bpp, CURVE_TOLERANCE)
        except CalibrationError:
            continue
        points.append(rate_and_psnr(coder, test))
    return tuple(CurvePoint(bpp=bpp, psnr_db=psnr) for bpp, psnr in sorted(points) if psnr is not None)


def _operating_points(coder: Coder, test_set: str, originals: Pictures) -> dict[str, tuple[OperatingPoint, ...]] | None:
    """Of a codec that has settings in place of a quantiser step: the finest of each range, such as each bit depth."""
    if not isinstance(coder, LearnedCoder) or not coder.codec.operating_points:
        return None
    points = []
    for gains in coder.codec.operating_points:
        point = summarise(measure(LearnedCoder(coder.codec, gains[-1]), originals))
        points.append(OperatingPoint(setting=coder.codec.describe(gains[-1]), **dict(point)))
    return {test_set: tuple(points)}


def _efforts(
    codec: EvaluatedCodec, originals: Mapping[str, Pictures], settings: Params
) -> dict[str, tuple[EffortPoint, ...]] | None:
    """The figures at the efforts that params.yaml asks for."""
    name, coder = codec.description.name, codec.deployed
    if name not in settings.efforts or not isinstance(coder, LearnedCoder):
        return None
    tolerance = settings.variant(name).calibrate.tolerance
    return points_at_efforts(coder.codec, settings.efforts[name], originals, settings.target_bpp, tolerance)


def _costs(coder: Coder, largest: Rgb) -> Costs:
    """What `coder` costs to run; its memory is measured on the picture `largest`."""
    peak_mb = peak_memory_mb(coder, largest)
    why_no_peak = NO_PEAK if peak_mb is None else None
    if isinstance(coder, LearnedCoder):
        encoder, decoder = kmac_per_px(coder.codec)
        return Costs(
            parameters=count_parameters(coder.codec),
            encoder_kmac_per_px=encoder,
            decoder_kmac_per_px=decoder,
            peak_mb=peak_mb,
            peak_mb_why=why_no_peak,
        )
    return Costs(
        parameters=None,
        parameters_why=NO_NETWORK,
        encoder_kmac_per_px=None,
        encoder_kmac_per_px_why=NO_NETWORK,
        decoder_kmac_per_px=None,
        decoder_kmac_per_px_why=NO_NETWORK,
        peak_mb=peak_mb,
        peak_mb_why=why_no_peak,
    )


def _brief(name: str, results: SetResults) -> str:
    """The figures of one set in a line."""
    shown = [("as calibrated", results.as_calibrated), ("at the target", results.at_target)]
    found = []
    for label, point in shown:
        if point is not None:
            quality = "lossless" if point.psnr_db is None else f"{point.psnr_db:.2f} dB"
            found.append(f"{label} {quality} at {point.bpp:.4f} bpp")
    return f"{name}: " + ", ".join(found)


if __name__ == "__main__":
    stage(run)
