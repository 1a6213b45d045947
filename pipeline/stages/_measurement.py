"""Measurement of a codec, picture by picture, as calibrated and at the target rate."""

from collections.abc import Callable, Mapping
from pathlib import Path

from components.arrays import Rgb
from components.codecs.baselines.lossy import AtQuality
from components.codecs.coder import Coder
from components.data.image_files import encode_png
from components.errors import CalibrationError, RatewrightError
from components.evaluation.ceiling import ceilings_db
from components.evaluation.measure import measure
from components.evaluation.results import ImageResult, summarise
from components.storage.atomic import write_bytes
from pipeline.config.params import Params
from pipeline.documents.evaluation import Ceiling, Description, OperatingPoint, SetResults
from pipeline.documents.images import ImageRow, Label
from pipeline.stages._data_set import Pictures
from pipeline.stages._evaluated_codec import EvaluatedCodec

KEPT = 4
"""Pictures of each set whose reconstructions are kept, at the most."""
NO_TARGET = "lossless: its rate is what the picture takes"
NO_CEILING = "not a codec with one learned transform and its inverse"


class Measurement:
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
            **dict(mean_ceiling(self.ceilings[key])),
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


def mean_ceiling(ceilings: Mapping[str, float | None] | None) -> Ceiling:
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
