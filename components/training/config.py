"""Training parameters of a codec, as params.yaml has them; importing this module imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..settings import PositiveFloat, PositiveInt, Settings, Share

OptimizerName = Literal["adam", "sgd", "soap"]
Schedule = Literal["constant", "cosine", "plateau"]
Quantisation = Literal["soft", "hard"]


class PublishedWeights(Settings):
    """A file of weights that its authors published."""

    location: str
    """A path, or an https:// or s3:// address of one .pth or .safetensors file."""
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{8,64}$")]
    """SHA-256 of the file, or at least its first 8 digits, as in the names of torchvision's files."""


class TrainingConfig(Settings):
    """How a codec is trained. The budget is either `steps` or `minutes`."""

    steps: PositiveInt | None = None
    """Budget in steps of the optimiser."""
    minutes: PositiveFloat | None = None
    """Budget in minutes of wall-clock time; such a run is not reproducible to the bit."""
    lmbda: PositiveFloat | None = None
    """Initial lambda, in the units of the codec's own loss. Null for a codec without lambda. A fine-tuned variant
    with null begins at the final lambda of the variant that it starts from."""
    steer: bool = True
    """Adjust lambda during training to meet the target rate; false keeps it fixed."""
    steer_images: PositiveInt = 16
    """Largest number of pictures of the calibration set whose rate adjusts lambda. Only the middles of a picture's
    quarters are coded."""
    batch_size: PositiveInt = 8
    """Patches per step, over all workers."""
    quantisation: Annotated[Quantisation, Field(exclude_if=lambda quantisation: quantisation == "soft")] = "soft"
    """soft: noise stands for rounding, and the whole codec trains. hard: the analysis transforms stay as they are, and
    the rest trains on the latents that the encoder sends (Guo et al., "Soft then hard: rethinking the quantization in
    neural image compression", ICML 2021); for the last part of a training, of codecs with a hyperprior,
    but for atc_progressive."""
    large_patches: Annotated[Share, Field(exclude_if=lambda share: share == 0)] = 0.0
    """Share of the budget, at its end, that is spent on the large patches of `shards.large`, `batch_size` of them per
    step. Time and memory of a step grow with their pixels."""
    learning_rate: PositiveFloat
    """Learning rate at the start of the schedule."""
    optimizer: OptimizerName = "adam"
    """Adam, stochastic gradient descent with momentum 0.9, or SOAP, which takes fewer, slower steps than Adam."""
    schedule: Schedule = "cosine"
    """Learning-rate schedule. constant: no change. cosine: down to a hundredth over the budget. plateau: divided by ten
    after `patience` validations without a lower loss."""
    patience: PositiveInt = 5
    """Validations without a lower loss before the plateau schedule lowers the learning rate."""
    clip_norm: PositiveFloat = 1.0
    """Largest norm of the gradient; larger gradients are scaled down."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Arithmetic: 32-bit floats or mixed bfloat16. auto measures which of them is faster on this machine; a fixed value
    gives the same numbers on different machines."""
    compile: bool = False
    """Compile the codec's forward pass with torch.compile. Compiling takes minutes; results differ in rounding."""
    validate_every: PositiveInt = 200
    """Steps between two validations."""
    validation_patches: PositiveInt = 64
    """Largest number of patches of the validation split that a validation measures."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Loader processes; 0 loads in the training process."""
    max_skipped: Share = 0.01
    """Share of the patches drawn that may be undecodable; other patches replace them. Before the first epoch ends it is
    a share of the train split."""
    weights: dict[str, PublishedWeights] = Field(default_factory=dict)
    """Published weights to start from, by the names that the codec defines, such as resnet101."""

    @model_validator(mode="after")
    def _one_budget(self) -> "TrainingConfig":
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give the budget as steps or as minutes, and leave the other null")
        return self

    def spent(self, step: int, elapsed_s: float) -> float:
        """Share of the budget used after `step` steps and `elapsed_s` seconds, from 0 to 1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, elapsed_s / (60 * self.minutes))
