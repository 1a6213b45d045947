"""Machine resources of a training, as params.yaml has them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Resources(BaseModel):
    """What a training gets of the machines. Each batch is divided evenly among the workers."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)

    workers: Annotated[int, Field(gt=0)] | None = None
    """Processes that train together. Null: on this machine one for each GPU, or one without GPUs; on Ray, one."""
    gpus: Annotated[int, Field(ge=0, le=1)] = 0
    """GPUs that Ray gives each worker."""
    cpus: Annotated[int, Field(gt=0)] = 1
    """Cores that Ray gives each worker."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Gigabytes of memory that Ray reserves for each worker; null reserves none."""
    save_every_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds between two saves of the training state; a killed training loses at most this much work."""
