"""params.yaml as typed, validated objects. This is the only module that opens it."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.data.dataset import Dataset
from components.data.shard_spec import ShardSpec
from components.errors import RatewrightError
from components.settings import PositiveFloat, Settings, Share
from components.training.config import TrainingConfig
from components.training.resources import Resources

FILE = "params.yaml"


class Roles(Settings):
    """Which data set plays which part; no two parts may share one."""

    train: str
    """Cut into shards for training and validation."""
    calibration: str
    """The rate is brought to the target on these pictures."""
    test: str
    """The pinned set that codecs are compared on."""

    @model_validator(mode="after")
    def _distinct(self) -> "Roles":
        if len({self.train, self.calibration, self.test}) < 3:
            raise ValueError("train, calibration and test must be three different data sets")
        return self


class Calibration(Settings):
    """How a trained codec is brought to the target rate."""

    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The rate may fall short of the target by this share, and never exceed it."""
    rounds: Annotated[int, Field(ge=0, le=5)] = 3
    """Fine-tunes at a new lambda, at the most."""
    fine_tune_share: Annotated[float, Field(ge=0, le=0.15)] = 0.15
    """Share of the training steps that all fine-tunes together may take."""
    close_enough: PositiveFloat = 0.05
    """|log(bpp / target)| at which the quantiser step does the rest."""


class Variant(Settings):
    """One codec to train."""

    codec: str
    """Its name in the table of codecs."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """The codec's own: sizes, depths."""
    train: TrainingConfig
    calibrate: Calibration = Calibration()


class FineTuned(Variant):
    """A codec whose training goes on from another variant's checkpoint, on pictures of its own."""

    start: str
    """The variant of `variants` that it starts from: the same hyper-parameters, and weights of the same shapes."""
    data: str
    """The data set that it is trained on."""


class RayCluster(Settings):
    """Where the Ray cluster is, and where its nodes find and keep what lasts."""

    address: str | None = None
    """As `ray.init` takes it: ray://host:10001, or host:6379 on a node; null for RAY_ADDRESS, or a Ray started here."""
    storage: str | None = None
    """A folder that every node has, or s3://bucket/prefix, for shards, checkpoints and states of trainings; null for
    work/ray in the checkout, with a Ray started here."""
    shards: str | None = None
    """Where nodes read shards from: a folder, http(s):// or s3:// prefix that holds <name>/index.json; null has them
    copied to the storage."""
    cache_gb: Annotated[float, Field(ge=0)] = 20.0
    """Of the shards that lie elsewhere, what a node keeps a copy of."""
    restarts: Annotated[int, Field(ge=0)] = 3
    """How often a training that lost a worker goes on from its last saved state."""
    wait_s: PositiveFloat = 30.0
    """How long a cluster may take to come by the resources, if it does not have them: time for an autoscaler."""


class Selection(Settings):
    """How the winner is chosen."""

    metric: Literal["psnr_db", "ms_ssim", "ssim"] = "psnr_db"
    """Quality that ranks codecs at the target rate; larger is better."""


class Registry(Settings):
    """Where winners go, and what a challenger must show."""

    name: str = "image-codec"
    """Registered models are called <name>-<target>bpp."""
    min_gain: Annotated[float, Field(ge=0)] = 0.0
    """The challenger's quality must exceed the champion's by more than this, in the metric's unit."""
    rate_slack: Share = 0.01
    """The challenger's bpp may be larger by this share: what trimming to the target leaves open."""


class Params(Settings):
    """The whole file."""

    seed: Annotated[int, Field(ge=0)]
    """Of the split, the patches, the weights, the sample order and the noise."""
    target_bpp: PositiveFloat
    """Bits per pixel of whole bitstreams: total bytes over total pixels."""
    mirror: str | None = None
    """A folder, or an http(s):// or s3:// prefix that holds <data set>/<file>, in place of every public address."""
    data: Roles
    datasets: dict[str, Dataset]
    shards: ShardSpec
    variants: dict[str, Variant]
    fine_tuned: dict[str, FineTuned]
    """Variants that start from those above; {} for none."""
    baselines: list[str]
    """Classic codecs to measure, lossy and lossless, by the names of `components/codecs/baselines/`."""
    selection: Selection = Selection()
    registry: Registry = Registry()
    launcher: Literal["local", "ray"] = "local"
    """Where trainings run, and pictures are cut into patches: on this machine, or on a Ray cluster."""
    ray: RayCluster = RayCluster()
    """The cluster, for launcher: ray."""
    resources: dict[str, Resources] = Field(default_factory=dict)
    """What the training of each variant gets; `default` is for those without an entry. The results of a training
    depend on the number of its workers, since noise is drawn for each; nothing is trained anew because it changed."""

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        missing = {self.data.train, self.data.calibration, self.data.test} - self.datasets.keys()
        if missing:
            raise ValueError(f"data names sets that datasets does not define: {', '.join(sorted(missing))}")
        names = Counter([*self.variants, *self.fine_tuned, *dict.fromkeys(self.baselines)])
        if clash := sorted(name for name, times in names.items() if times > 1):
            raise ValueError(f"in two of variants, fine_tuned and baselines: {', '.join(clash)}")
        if unknown := sorted(self.resources.keys() - {"default", *self.all_variants}):
            raise ValueError(f"resources: no variant {', '.join(unknown)}")
        for name, variant in self.fine_tuned.items():
            if fault := self._fault_of(variant):
                raise ValueError(f"fine_tuned.{name}.{fault}")
        return self

    def _fault_of(self, variant: FineTuned) -> str | None:
        """What is wrong with a fine-tuned variant beside the others."""
        if variant.start not in self.variants:
            return f"start: no variant {variant.start!r}; there are {', '.join(self.variants)}"
        if variant.hyperparameters != self.variants[variant.start].hyperparameters:
            return f"hyperparameters: not those of {variant.start}, which it starts from"
        if variant.data not in self.datasets:
            return f"data: datasets does not define {variant.data}"
        if variant.data == self.data.test:
            return f"data: {variant.data} is the test set"
        return None

    @property
    def model_name(self) -> str:
        """The registered model of this target, such as image-codec-0.15bpp."""
        return f"{self.registry.name}-{self.target_bpp:g}bpp"

    @property
    def all_variants(self) -> dict[str, Variant]:
        """Every codec to train, a fine-tuned one after what it starts from."""
        return {**self.variants, **self.fine_tuned}

    def variant(self, name: str) -> Variant:
        """The variant `name`, fine-tuned or not. Raises RatewrightError."""
        known = self.all_variants
        if name not in known:
            raise RatewrightError(f"{FILE}: no variant {name!r}; there are {', '.join(known)}")
        return known[name]

    def resources_of(self, name: str) -> Resources:
        """What the training of the variant `name` gets."""
        return self.resources.get(name) or self.resources.get("default") or Resources()

    def shards_of(self, name: str) -> str:
        """What the shards that the variant `name` is trained on lie under: a fine-tuned one has its own."""
        return name if name in self.fine_tuned else self.data.train


def parse(document: Any, origin: str) -> Params:
    """Validate a loaded YAML document. Raises RatewrightError: one line with every wrong key and why."""
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']} (got {_brief(fault['input'])})"
            for fault in error.errors()
        ]
        raise RatewrightError(f"{origin}: {'; '.join(faults)}") from error


def load(root: Path) -> Params:
    """The params of the checkout at `root`. Raises RatewrightError."""
    path = root / FILE
    try:
        document = YAML(typ="safe").load(path)
    except FileNotFoundError as error:
        raise RatewrightError(f"{path}: there is no {FILE} here; run this from the checkout") from error
    except YAMLError as error:
        raise RatewrightError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    return parse(document, FILE)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
