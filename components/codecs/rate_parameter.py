"""The parameter that sets a codec's rate."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RateParameter:
    """The parameter that sets a codec's rate.

    Attributes:
        name: in the field's words, such as "lmbda" or "bits".
        loss_equation: the training loss that the parameter stands in, in one line.
        raises_rate: whether a larger value gives more bits.
        set_in_training: whether training depends on the value, as on a lambda. A bit depth is chosen after training.
    """

    name: str
    loss_equation: str
    raises_rate: bool
    set_in_training: bool = True
