"""The stage `evaluate`: a variant or a baseline measured on the test and the calibration set into evaluation/<name>/.

On the calibration set a codec meets the target rate as it is. On the test set it is brought there once more, since
qualities compare at equal rates, and to a few rates around it, since a BD-rate compares curves. A lossless codec has
no rate to trade for quality, so it has no figures at the target; every pixel must come back.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.arrays import Rgb
from components.codecs.baselines.lossy import AtQuality
from components.codecs.coder import Coder, LearnedCoder
from components.data.image_files import encode_png
from components.errors import CalibrationError, RatewrightError
from components.evaluation.ceiling import ceilings_db
from components.evaluation.complexity import count_parameters, kmac_per_px, peak_memory_mb
from components.evaluation.measure import measure
from components.evaluation.results import ImageResult, RatePoint, summarise
from components.rate.real_rate import rate_and_psnr
from components.storage.atomic import sha256_of, write_bytes
from pipeline.config import params
from pipeline.config.params import Params
from pipeline.documents import Evaluation, write
from pipeline.documents.evaluation import (
    Ceiling,
    Costs,
    CurvePoint,
    Description,
    EffortPoint,
    OperatingPoint,
    SetResults,
)
from pipeline.documents.images import ImageRow, Label, write_images
from pipeline.entry import stage
from pipeline.paths import Layout
from pipeline.registry.runs import Run
from pipeline.stages._data_set import Pictures, content_hash, data_input
from pipeline.stages._efforts import points_at_efforts
from pipeline.stages._evaluated_codec import EvaluatedCodec, evaluated_codec
from pipeline.stages._illustrations import keep_maps, keep_prefixes
from pipeline.stages._training import fingerprint

KEPT = 4
"""Pictures of each set whose reconstructions are kept, at the most."""
CURVE = (0.6, 0.8, 1.4)
"""Rates of a curve beside the target, in units of the target."""
CURVE_TOLERANCE = 0.1
"""Share by which the rates of a curve may fall short: a curve goes through rates, which ones matters little."""
NO_TARGET = "lossless: its rate is what the picture takes"
NO_NETWORK = "a classic codec has no network"
NO_CEILING = "not a codec with one learned transform and its inverse"
NO_PEAK = "this system does not tell the peak memory of a part of a process"

logger = logging.getLogger(__name__)


def run(root: Path, name: str) -> None:
    """Write metrics.json, images.csv and the first reconstructions of `name`."""
    settings, layout = params.load(root), Layout(root)
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
    measurement = _Measurement(codec, originals, settings, layout.evaluation(name))
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


class _Measurement:
    """A codec measured on the test set and the calibration set, as calibrated and at the target rate.

    Attributes:
        description: The codec in words, with its setting at the target once that is known.
        results: (set, label of the point) -> the result of each picture.
        ceilings: Set -> the ceiling of each picture in dB; None for a codec without.
    """

    def __init__(self, codec: EvaluatedCodec, originals: Mapping[str, Pictures], settings: Params, folder: Path):
        self.description: Description = codec.description
        self.results: dict[tuple[str, Label], list[ImageResult]] = {}
        self.ceilings = {key: ceilings_db(codec.deployed, found) for key, found in originals.items()}
        self._why_not_at_target: dict[str, str] = {}
        self._why_not_above: dict[str, str] = {}
        self._around_target: dict[str, tuple[OperatingPoint, OperatingPoint]] = {}
        self._codec, self._originals = codec, originals
        self._test_set, self._calibration_set = settings.data.test, settings.data.calibration
        self._keepers = {key: _keeper(folder / "reconstructions" / key, found) for key, found in originals.items()}

    def run(self) -> None:
        """Measure. Raises RatewrightError where a lossless codec changes a pixel."""
        self._measure_as_calibrated()
        if self._codec.at_rate is None:
            self._why_not_at_target = dict.fromkeys(self._originals, NO_TARGET)
            return
        as_calibrated = self.results[self._calibration_set, "as_calibrated"]
        self.results[self._calibration_set, "at_target"] = as_calibrated
        self._measure_above(self._calibration_set, self._codec.deployed)
        try:
            coder = self._codec.at_rate(self.description.target_bpp)
        except CalibrationError as error:
            self._why_not_at_target[self._test_set] = str(error)
            return
        self.description = self._codec.described_at_target(coder)
        test = self._originals[self._test_set]
        self.results[self._test_set, "at_target"] = measure(coder, test, self._keepers[self._test_set])
        self._measure_above(self._test_set, coder)

    def _measure_above(self, key: str, coder: Coder) -> None:
        """Measure the next quality of a codec with whole qualities, which has no rate in between."""
        if not isinstance(coder, AtQuality) or not coder.classic.integer:
            return
        try:
            finer = coder.at_next_quality()
        except ValueError as error:
            self._why_not_above[key] = f"{error}, and its rate is below the target"
            return
        self.results[key, "above_target"] = measure(finer, self._originals[key])
        self._around_target[key] = (
            OperatingPoint(setting=coder.setting, **dict(summarise(self.results[key, "at_target"]))),
            OperatingPoint(setting=finer.setting, **dict(summarise(self.results[key, "above_target"]))),
        )

    def _measure_as_calibrated(self) -> None:
        lossless = self._codec.at_rate is None
        # Reconstructions at the target are kept: on the calibration set, those of the codec as calibrated.
        keepers = {} if lossless else {self._calibration_set: self._keepers[self._calibration_set]}
        try:
            for key, found in self._originals.items():
                results = measure(self._codec.deployed, found, keepers.get(key), lossless=lossless)
                self.results[key, "as_calibrated"] = results
        except RatewrightError as error:
            raise RatewrightError(f"evaluate {self.description.name}: {error}") from error

    def set_results(self) -> dict[str, SetResults]:
        """The figures of each set."""
        return {key: self._set_results(key) for key in self._originals}

    def _set_results(self, key: str) -> SetResults:
        at_target = self.results.get((key, "at_target"))
        return SetResults(
            **dict(_ceiling(self.ceilings[key])),
            as_calibrated=summarise(self.results[key, "as_calibrated"]),
            at_target=None if at_target is None else summarise(at_target),
            at_target_why=self._why_not_at_target.get(key),
            around_target=self._around_target.get(key),
            around_target_why=self._why_not_above.get(key),
        )

    def rows(self) -> list[ImageRow]:
        """The figures of each picture."""
        return [
            ImageRow(
                test_set=key,
                point=label,
                **{field: getattr(result, field) for field in _IMAGE_FIELDS},
                ceiling_db=(self.ceilings[key] or {}).get(result.image),
            )
            for (key, label), results in self.results.items()
            for result in results
        ]


_IMAGE_FIELDS = tuple(field for field in ImageRow.model_fields if field not in ("test_set", "point", "ceiling_db"))


def _ceiling(ceilings: Mapping[str, float | None] | None) -> Ceiling:
    """The mean of the pictures' ceilings, or the reason why there is none."""
    if ceilings is None:
        return Ceiling(ceiling_db_why=NO_CEILING)
    known = [ceiling for ceiling in ceilings.values() if ceiling is not None]
    if len(known) < len(ceilings):
        whole = next(name for name, ceiling in ceilings.items() if ceiling is None)
        return Ceiling(ceiling_db_why=f"{whole}: infinite: no pixel changes")
    return Ceiling(ceiling_db=sum(known) / len(known))


def _keeper(folder: Path, originals: Pictures) -> Callable[[str, Rgb], None]:
    """A function that keeps the reconstructions of a set's first pictures in `folder`."""
    kept = set(originals.names[:KEPT])
    folder.mkdir(parents=True, exist_ok=True)

    def keep(file: str, decoded: Rgb) -> None:
        if file in kept:
            write_bytes(folder / f"{Path(file).stem}.png", encode_png(decoded))

    return keep


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
