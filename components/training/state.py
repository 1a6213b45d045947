"""The resumable state of a training run: one safetensors file, written atomically."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import MissingError, RatewrightError, one_line
from ..storage.locations import fetched, storing
from ..storage.tensors import save_tensors
from .callback import Validation

Tensors = dict[str, Tensor]

logger = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """State of a training run; a run that resumes from it gives the results of an uninterrupted one.

    fingerprint: hash of the run's parameters and data; the state of another run is not resumed.
    step: steps done. elapsed_s: seconds of training. skipped: undecodable patches that were replaced.
    halvings: halvings of the learning rate, one after each divergence.
    failures: losses in a row that were not finite; a validation that goes well sets it to 0.
    lmbda: the present lambda. precision: the arithmetic in use.
    best_parts: (distortion, rate) of the best validation. best: the codec's weights at that validation.
    best_discriminators: weights of the discriminators at that validation, under the numbers of `networks`.
    plateau: the state of ReduceLROnPlateau. history: the validations so far.
    networks: weights and optimiser state of each network, under its number; the codec has number 0.
    """

    fingerprint: str
    step: int = 0
    elapsed_s: float = 0.0
    skipped: int = 0
    halvings: int = 0
    failures: int = 0
    lmbda: float = 0.0
    precision: str = ""
    best_parts: tuple[float, float] | None = None
    plateau: dict[str, Any] = field(default_factory=dict)
    history: list[Validation] = field(default_factory=list)
    networks: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)
    best_discriminators: Tensors = field(default_factory=dict)

    _GROUPS = ("networks", "best", "best_discriminators")

    def save(self, location: str | Path) -> None:
        """Write the state to a path or s3:// address atomically. Raises RatewrightError."""
        tensors = {f"{group}/{key}": value for group in self._GROUPS for key, value in getattr(self, group).items()}
        rest = {key: value for key, value in vars(self).items() if key not in self._GROUPS}
        rest["history"] = [validation.model_dump() for validation in self.history]
        save_tensors(tensors, location, {"state": json.dumps(rest)}, storing)

    @classmethod
    def load(cls, location: str | Path, fingerprint: str) -> "TrainingState":
        """Read the state at `location`.

        Args:
            location: a path or s3:// address.
            fingerprint: hash of the run that wants to resume.

        Returns:
            The state. A new one where the file is missing, of another run, or damaged; the log tells of a damaged one.

        Raises:
            SourceError: for a storage that does not answer, so that no training begins again because of that.
            RatewrightError: likewise for a file that is there and cannot be read now.
        """
        from safetensors import SafetensorError

        try:
            with fetched(location) as path:
                path.open("rb").close()  # whose errors say why; safetensors says that the file does not exist
                return cls._read(path, fingerprint) or cls(fingerprint)
        except (MissingError, FileNotFoundError):
            return cls(fingerprint)
        except OSError as error:
            raise RatewrightError(f"{location}: the training state cannot be read: {one_line(error)}") from error
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            logger.warning("%s: damaged, so training starts anew (%s)", location, one_line(error)[:200])
            return cls(fingerprint)

    @classmethod
    def _read(cls, path: Path, fingerprint: str) -> "TrainingState | None":
        """Read a file; None if it holds the state of another run."""
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            rest = json.loads(file.metadata()["state"])
            if rest["fingerprint"] != fingerprint:
                return None
            rest["history"] = [Validation(**row) for row in rest["history"]]
            state = cls(**rest)
            for name in file.keys():  # noqa: SIM118 - safe_open is not a mapping
                group, _, key = name.partition("/")
                getattr(state, group)[key] = file.get_tensor(name)
            return state


def tensors_under(prefix: str, tensors: Tensors) -> Tensors:
    """Select the tensors whose names begin with `prefix`/, and remove the prefix from their names."""
    return {key.removeprefix(f"{prefix}/"): value for key, value in tensors.items() if key.startswith(f"{prefix}/")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimiser's state, such as Adam's moments, as tensors by name."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{key}": value for index, entry in state.items() for key, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Load what `optimizer_tensors` returned into `optimizer`.

    Moments get the memory layout of their parameter, which fused Adam needs.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries: dict[int, Tensors] = {}
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        parameter = parameters[int(index)]
        laid_out = torch.empty_like(parameter, dtype=value.dtype) if value.shape == parameter.shape else value.clone()
        entries.setdefault(int(index), {})[key] = laid_out.copy_(value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
