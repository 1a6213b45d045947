"""The parameters in params.yaml as typed, checked objects. No other module opens the file."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.data.dataset import Dataset
from components.data.shard_spec import ShardSpec
from components.data.validation.rules import ValidationRules
from components.errors import RatewrightError
from components.evaluation.gate import RULES, Rule
from components.settings import PositiveFloat, PositiveInt, Settings, Share, faults
from components.training.config import TrainingConfig
from components.training.resources import Resources

FILE = "params.yaml"


class Roles(Settings):
    """The data sets of training, calibration and test: three different ones."""

    train: str
    """Data set that is cut into shards for training and validation."""
    calibration: str
    """Data set on which codecs are brought to the target rate."""
    test: str
    """Data set on which codecs are compared."""

    @model_validator(mode="after")
    def _distinct(self) -> "Roles":
        if len({self.train, self.calibration, self.test}) < 3:
            raise ValueError("train, calibration and test must be three different data sets")
        return self


class CalibrationConfig(Settings):
    """How a trained codec is brought to the target rate: by fine-tunes at other lambdas, then by its quantiser step."""

    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of the target by which the rate may fall short; it never exceeds the target."""
    rounds: Annotated[int, Field(ge=0, le=5)] = 3
    """Largest number of fine-tunes, each at another lambda."""
    fine_tune_share: Annotated[float, Field(ge=0, le=0.15)] = 0.15
    """Steps of all fine-tunes together, as a share of the training's steps."""
    close_enough: PositiveFloat = 0.05
    """|ln(bpp / target)| at which fine-tunes end and the quantiser step takes over."""


class Variant(Settings):
    """One codec to train."""

    codec: str
    """Name of the codec in the table of codecs."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """Hyper-parameters that the codec takes, such as channels and depths."""
    train: TrainingConfig
    """How the codec is trained."""
    calibrate: CalibrationConfig = CalibrationConfig()
    """How the codec is brought to the target rate."""


class FineTuned(Variant):
    """A codec that is trained from another variant's checkpoint on, on a data set of its own."""

    start: str
    """The checkpoint that it starts from: models/NAME/trained.safetensors of a variant in `variants` or above it in
    `fine_tuned`, or that of a kept run, such as results/flagship/champion.safetensors. A variant has the same
    hyper-parameters, but for `gain_range`, which training alone uses. A kept one's codec may lack parts, such as
    `groups`; they begin with new weights."""
    data: str
    """Data set that it is trained on."""


class RayCluster(Settings):
    """A Ray cluster, and the storage that its nodes share."""

    address: str | None = None
    """Address of the cluster: ray://host:10001, or host:6379 on one of its nodes. Null: RAY_ADDRESS, or a Ray started
    on this machine."""
    storage: str | None = None
    """Place of shards, checkpoints and training states: a folder that every node has, or s3://bucket/prefix. Null takes
    work/ray in the checkout, for a Ray on this machine."""
    shards: str | None = None
    """Place that nodes read shards from: a folder, http(s):// or s3:// prefix with <name>/index.json. Null copies the
    shards to `storage`."""
    cache_gb: Annotated[float, Field(ge=0)] = 20.0
    """Largest copy of remote shards on each node, in gigabytes."""
    restarts: Annotated[int, Field(ge=0)] = 3
    """Number of times that a training which lost a worker continues from its last saved state."""
    wait_s: PositiveFloat = 30.0
    """Seconds that the cluster may take to provide the resources of a training, such as by an autoscaler."""


class Selection(Settings):
    """How the winner is chosen."""

    metric: Literal["psnr_db", "pooled_psnr_db", "ms_ssim", "ssim", "ssimulacra2", "psnr_hvs_m_db"] = "psnr_db"
    """Quality that ranks codecs at the target rate, larger is better: mean PSNR in dB, PSNR of all pixels together in
    dB, MS-SSIM, SSIM, SSIMULACRA 2, or PSNR-HVS-M in dB."""


class Registry(Settings):
    """The registered models, and what a challenger must show to become the champion."""

    name: str = "image-codec"
    """Prefix of registered models, which are called <name>-<target>bpp."""
    rate_slack: Share = 0.01
    """Both versions are brought to the target on the test set, or below it by this share of it at the most."""
    rules: dict[str, Rule | None] = Field(default_factory=dict)
    """Rules of the gate, in place of those of the same names or beside them; null turns one off. The others are as
    `components.evaluation.gate.RULES` has them."""
    shadow_runs: Annotated[int, Field(ge=0)] = 0
    """Runs in which a challenger must pass the gate, each measured anew, before the run in which it may win."""

    @property
    def all_rules(self) -> dict[str, Rule]:
        """The rules that hold."""
        named = {**RULES, **self.rules}
        return {name: rule for name, rule in named.items() if rule is not None}


class Params(Settings):
    """The whole file params.yaml."""

    seed: Annotated[int, Field(ge=0)]
    """Seed of the split into training and validation, the patches, the weights, the sample order and the noise."""
    threads: PositiveInt = 1
    """Threads of each stage that trains, calibrates or evaluates: trainings repeat bit for bit with the same number. On
    Ray, a training has the `cpus` of its `resources` instead."""
    target_bpp: PositiveFloat
    """Target rate in bits per pixel of whole bitstreams: total bits over total pixels."""
    mirror: str | None = None
    """Folder, http(s):// or s3:// prefix with <data set>/<file>, from which data sets are fetched in place of their
    public addresses; null for the public addresses."""
    data: Roles
    """The data sets of training, calibration and test."""
    datasets: dict[str, Dataset]
    """Name -> definition of every data set."""
    validation: ValidationRules = ValidationRules()
    """What data sets must be like before anything is trained on them."""
    shards: ShardSpec
    """How training pictures are cut into patches."""
    variants: dict[str, Variant]
    """Name -> codec to train from new weights."""
    fine_tuned: dict[str, FineTuned]
    """Name -> codec to train from the checkpoint of another variant; {} for none."""
    baselines: list[str]
    """Classic codecs to measure, lossy and lossless, by their names in components/codecs/baselines/."""
    selection: Selection = Selection()
    """How the winner is chosen."""
    registry: Registry = Registry()
    """Where the winner is registered, and when it is promoted."""
    efforts: dict[str, list[Annotated[int, Field(ge=0, le=9)]]] = Field(default_factory=dict)
    """Variant -> efforts of its encoder that are measured beside the default one. Those from 2 on refine latents by
    gradient, which takes 2 to 200 s for a million pixels, three times over."""
    launcher: Literal["local", "ray"] = "local"
    """Where trainings run and pictures are cut into patches: on this machine, or on a Ray cluster."""
    ray: RayCluster = RayCluster()
    """The cluster of `launcher: ray`."""
    resources: dict[str, Resources] = Field(default_factory=dict)
    """Variant -> machine resources of its training; `default` for variants without an entry. A change trains nothing
    anew, although results depend on the number of workers, each of which draws noise of its own."""

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
        if unknown := sorted(self.efforts.keys() - self.all_variants.keys()):
            raise ValueError(f"efforts: no variant {', '.join(unknown)}")
        if self.shards.large is None:
            wanting = [name for name, variant in self.all_variants.items() if variant.train.large_patches]
            if wanting:
                raise ValueError(f"train.large_patches of {', '.join(wanting)} needs shards.large")
        above = dict(self.variants)
        for name, variant in self.fine_tuned.items():
            if fault := self._fault_of(variant, above):
                raise ValueError(f"fine_tuned.{name}.{fault}")
            above[name] = variant
        return self

    def _fault_of(self, variant: FineTuned, above: dict[str, Variant]) -> str | None:
        """The reason why a fine-tuned variant does not fit the rest of the file; None if it does."""
        start = trained_variant(variant.start)
        if start is None and not variant.start.startswith("results/"):
            return f"start: {variant.start} is neither models/NAME/trained.safetensors nor a file in results/"
        if start is not None and start not in above:
            return f"start: no variant {start!r} above it; there are {', '.join(above)}"
        if start is not None and _structure(variant) != _structure(above[start]):
            return f"hyperparameters: not those of {start}, which it starts from"
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
        """Every codec to train; fine-tuned ones last, after those that they start from."""
        return {**self.variants, **self.fine_tuned}

    def variant(self, name: str) -> Variant:
        """The variant `name`, fine-tuned or not. Raises RatewrightError."""
        known = self.all_variants
        if name not in known:
            raise RatewrightError(f"{FILE}: no variant {name!r}; there are {', '.join(known)}")
        return known[name]

    def resources_of(self, name: str) -> Resources:
        """The machine resources of the training of variant `name`."""
        return self.resources.get(name) or self.resources.get("default") or Resources()

    def shards_of(self, name: str) -> str:
        """Name of the shards that variant `name` is trained on: a fine-tuned variant has its own."""
        return name if name in self.fine_tuned else self.data.train


def trained_variant(start: str) -> str | None:
    """The variant of a checkpoint models/NAME/trained.safetensors; None for another path."""
    found = re.fullmatch(r"models/([^/]+)/trained\.safetensors", start)
    return found and found[1]


def _structure(variant: Variant) -> dict[str, Any]:
    """The hyper-parameters that the weights depend on."""
    return {key: value for key, value in variant.hyperparameters.items() if key != "gain_range"}


def parse(document: Any, origin: str) -> Params:
    """Check a loaded YAML document.

    Args:
        document: Content of the file.
        origin: Name of the file, for errors.

    Raises:
        RatewrightError: A key is missing, unknown or wrong; one line that names each such key, and why.
    """
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise RatewrightError(f"{origin}: {faults(error)}") from error


def load(root: Path) -> Params:
    """The parameters of the checkout at `root`. Raises RatewrightError if params.yaml is missing or wrong."""
    path = root / FILE
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise RatewrightError(f"{path}: there is no {FILE} here; run this from the checkout") from error
    return loads(text, str(path))


def loads(text: str, origin: str = FILE) -> Params:
    """The parameters in the text of a params.yaml, such as that of a commit.

    Args:
        text: Content of the file.
        origin: Name of the file, for errors of YAML; errors of keys name params.yaml.

    Raises:
        RatewrightError: The text is not YAML, or a key is missing, unknown or wrong.
    """
    try:
        document = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise RatewrightError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from error
    return parse(document, FILE)
