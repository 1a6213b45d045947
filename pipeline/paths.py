"""Paths of the files in a checkout."""

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Layout:
    """Paths below `root`; dvc.yaml declares the same ones."""

    root: Path

    def raw(self, dataset: str) -> Path:
        """Pictures and manifest.json of a data set."""
        return self.root / "data" / "raw" / dataset

    def validation(self, name: str) -> Path:
        """Verdict on the training set, or on a fine-tuned variant's data set, and the page that shows it."""
        return self.root / "data" / "validation" / name

    def shards(self, name: str) -> Path:
        """Tars and index.json of the training set, or of a fine-tuned variant's data set."""
        return self.root / "data" / "shards" / name

    def model(self, variant: str) -> Path:
        """Checkpoints, history and calibration of a variant."""
        return self.root / "models" / variant

    def trained(self, variant: str) -> Path:
        """The checkpoint at the end of training."""
        return self.model(variant) / "trained.safetensors"

    def history(self, variant: str) -> Path:
        """A JSON row for each validation."""
        return self.model(variant) / "history.jsonl"

    def calibrated(self, variant: str) -> Path:
        """The checkpoint at the target rate."""
        return self.model(variant) / "calibrated.safetensors"

    def calibration(self, variant: str) -> Path:
        """The settings that the calibration tried, and the rate that it reached."""
        return self.model(variant) / "calibration.json"

    def evaluation(self, name: str) -> Path:
        """Metrics, per-image rows and reconstructions of a codec."""
        return self.root / "evaluation" / name

    def metrics(self, name: str) -> Path:
        """The figures of a codec."""
        return self.evaluation(name) / "metrics.json"

    def prefixes(self, name: str, test_set: str) -> Path:
        """Reconstructions from the first bytes of one picture's file, for progressive codecs."""
        return self.evaluation(name) / "reconstructions" / test_set / "prefixes"

    def maps(self, name: str, test_set: str) -> Path:
        """Maps of a learned codec's latents for one picture."""
        return self.evaluation(name) / "reconstructions" / test_set / "maps.json"

    @property
    def leaderboard(self) -> Path:
        """The ranking and the winner."""
        return self.root / "leaderboard.json"

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.root / "report"

    @property
    def registry(self) -> Path:
        """The registered version, and the decision to promote it or not."""
        return self.root / "registry.json"

    def results(self, name: str) -> Path:
        """The archive of a finished run."""
        return self.root / "results" / name

    def archived_checkpoint(self, name: str) -> Path:
        """The winner's checkpoint in the archive of a run."""
        return self.results(name) / "champion.safetensors"

    @property
    def archived_checkpoints(self) -> list[Path]:
        """The winners' checkpoints of all runs in the archive."""
        return sorted((self.root / "results").glob("*/champion.safetensors"))

    @property
    def weights(self) -> Path:
        """Downloaded files of published weights."""
        return self.root / "work" / "weights"

    @property
    def ray(self) -> Path:
        """States of trainings on a Ray cluster, if params.yaml names no other storage."""
        return self.root / "work" / "ray"

    @property
    def sweep(self) -> Path:
        """The clones that unfinished experiments of sweeps run in, and what their stages said."""
        return self.root / "work" / "sweep"

    @property
    def experiment_clones(self) -> list[Path]:
        """The clones of the experiments of sweeps that are not finished."""
        return sorted(path.parent for path in self.sweep.glob("*/.dvc"))

    def resumable(self, stage: str, name: str) -> Path:
        """Folder for the unfinished work of a stage; DVC, which clears outputs, does not touch it."""
        return self.root / "work" / stage / name
