"""results/<name>/run.json: the machine and the budgets of a run that the repository keeps."""

from pipeline.documents.base import Document, Section


class Machine(Section):
    """The computer that a run was made on."""

    processor: str
    """Name of the processor."""
    cores: int | None
    """Cores of the processor; null where the system does not say."""
    memory_gib: float
    """Memory in GiB."""
    gpus: tuple[str, ...]
    """Names of the GPUs."""
    system: str
    """Operating system and architecture."""
    python: str
    """Version of Python."""
    torch: str
    """Version of PyTorch."""


class Start(Section):
    """The checkpoint that a fine-tuned variant started from."""

    variant: str
    """The variant whose checkpoint it is; the file, if it is a kept run's."""
    sha256: str
    """Hash of the file."""
    lmbda: float | None
    """Lambda at its end, in the units of the codec's own loss."""


class Budget(Section):
    """The training of one variant."""

    step: int
    """Steps of the optimiser, fine-tunes of the calibration left out."""
    precision: str
    """Floating-point precision, such as `32-true` or `bf16-mixed`."""
    lmbda: float | None
    """Lambda at the end, in the units of the codec's own loss; null for a codec that has none."""
    git_commit: str | None
    """The commit that was checked out; null outside git."""
    data_sha256: str
    """Hash of the shards' index."""
    start: Start | None
    """The checkpoint that training started from; null for one that began anew."""
    patches: int
    """Patches drawn in all steps together."""
    training_s: float | None
    """Seconds of training, interruptions left out; null where MLflow holds no run of it."""


class RunRecord(Document):
    """A finished run."""

    machine: Machine
    """The computer."""
    variants: dict[str, Budget]
    """Variant -> its training."""
