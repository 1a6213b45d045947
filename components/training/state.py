"""The resumable state of a training run: one safetensors file, written atomically."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.errors import MissingError
from components.storage.locations import fetched, storing
from components.storage.tensors import save_tensors

Tensors = dict[str, Tensor]


@dataclass
class TrainingState:
    """All that a run needs to go on as if it had not been stopped.

    fingerprint: what the run is (parameters and data); a state of another run is not resumed.
    step, elapsed_s: steps done and seconds spent. skipped: damaged patches that others stood in for.
    halvings: of the learning rate, after divergences.
    networks: tensors of the codec and of each discriminator, under their numbers, the codec's being 0.
    best: the codec's weights at the best validation so far.
    lmbda: the current one; best_parts: (distortion, rate) of the best validation.
    plateau: the state of ReduceLROnPlateau; history: a row for each validation; precision: the one in use.
    """

    fingerprint: str
    step: int = 0
    elapsed_s: float = 0.0
    skipped: int = 0
    halvings: int = 0
    lmbda: float = 0.0
    precision: str = ""
    best_parts: tuple[float, float] | None = None
    plateau: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    networks: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)

    _GROUPS = ("networks", "best")

    def save(self, location: str | Path) -> None:
        """Write the state to a path or an s3:// address, whole or not at all. Raises RatewrightError."""
        tensors = {f"{group}/{key}": value for group in self._GROUPS for key, value in getattr(self, group).items()}
        rest = {key: value for key, value in vars(self).items() if key not in self._GROUPS}
        save_tensors(tensors, location, {"state": json.dumps(rest)}, storing)

    @classmethod
    def load(cls, location: str | Path, fingerprint: str) -> "TrainingState":
        """The state at `location`, or a fresh one where there is none or it belongs to another run.

        Raises SourceError for a storage that does not answer: a training is not begun anew because of that.
        """
        from safetensors import SafetensorError, safe_open

        fresh = cls(fingerprint)
        try:
            with fetched(location) as path, safe_open(path, "pt") as file:
                rest = json.loads(file.metadata()["state"])
                if rest["fingerprint"] != fingerprint:
                    return fresh
                state = cls(**rest)
                for name in file.keys():  # noqa: SIM118 - safe_open is not a mapping
                    group, _, key = name.partition("/")
                    getattr(state, group)[key] = file.get_tensor(name)
                return state
        except (MissingError, OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError):
            return fresh


def under(prefix: str, tensors: Tensors) -> Tensors:
    """Those whose names begin with `prefix`/, without it."""
    return {key.removeprefix(f"{prefix}/"): value for key, value in tensors.items() if key.startswith(f"{prefix}/")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Adam's moments, or the momentum of SGD, as flat named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{key}": value for index, entry in state.items() for key, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """The inverse of `optimizer_tensors`; moments get their parameter's memory layout, which fused Adam relies on."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries: dict[int, Tensors] = {}
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        parameter = parameters[int(index)]
        laid_out = torch.empty_like(parameter, dtype=value.dtype) if value.shape == parameter.shape else value.clone()
        entries.setdefault(int(index), {})[key] = laid_out.copy_(value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
