"""Machine resources of a training, as params.yaml has them."""

from typing import Annotated

from pydantic import Field

from ..settings import PositiveFloat, PositiveInt, Settings


class Resources(Settings):
    """What a training gets of the machines. Each batch is divided evenly among the workers."""

    workers: PositiveInt | None = None
    """Processes that train together. Null: on this machine one for each GPU, or one without GPUs; on Ray, one."""
    gpus: Annotated[int, Field(ge=0, le=1)] = 0
    """GPUs that Ray gives each worker."""
    cpus: PositiveInt = 1
    """Cores that Ray gives each worker."""
    memory_gb: PositiveFloat | None = None
    """Gigabytes of memory that Ray reserves for each worker; null reserves none."""
    save_every_s: PositiveFloat = 60.0
    """Seconds between two saves of the training state; a killed training loses at most this much work."""
