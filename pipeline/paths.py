"""Where everything lies in a checkout."""

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

    def shards(self, name: str) -> Path:
        """Tars and index.json of the training set, or of what a fine-tuned variant is trained on."""
        return self.root / "data" / "shards" / name

    def model(self, variant: str) -> Path:
        """Checkpoints, history and calibration of a variant."""
        return self.root / "models" / variant

    def trained(self, variant: str) -> Path:
        """The checkpoint as training left it."""
        return self.model(variant) / "trained.safetensors"

    def history(self, variant: str) -> Path:
        """A JSON row for each validation."""
        return self.model(variant) / "history.jsonl"

    def calibrated(self, variant: str) -> Path:
        """The checkpoint at the target rate."""
        return self.model(variant) / "calibrated.safetensors"

    def calibration(self, variant: str) -> Path:
        """What the calibration tried and reached."""
        return self.model(variant) / "calibration.json"

    def evaluation(self, name: str) -> Path:
        """Metrics, per-image rows and reconstructions of a codec."""
        return self.root / "evaluation" / name

    def metrics(self, name: str) -> Path:
        """The figures of a codec."""
        return self.evaluation(name) / "metrics.json"

    def prefixes(self, name: str, test_set: str) -> Path:
        """What the first bytes of one picture's file give, of what can be cut."""
        return self.evaluation(name) / "reconstructions" / test_set / "prefixes"

    def maps(self, name: str, test_set: str) -> Path:
        """What a learned codec tells of one picture, position by position."""
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
        """What was registered and promoted, and why."""
        return self.root / "registry.json"

    def results(self, name: str) -> Path:
        """A finished run that the repository keeps."""
        return self.root / "results" / name

    def kept_model(self, name: str) -> Path:
        """The winner's checkpoint of a run that is kept."""
        return self.results(name) / "champion.safetensors"

    @property
    def weights(self) -> Path:
        """Fetched files of published weights."""
        return self.root / "work" / "weights"

    @property
    def ray(self) -> Path:
        """What trainings on a Ray cluster keep, where no other storage is named."""
        return self.root / "work" / "ray"

    def resumable(self, stage: str, name: str) -> Path:
        """Folder for the unfinished work of a stage, which outlives the outputs that DVC clears."""
        return self.root / "work" / stage / name
