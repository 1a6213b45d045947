"""The number of threads that a stage computes with."""

from pipeline.config.params import Params


def use_threads(settings: Params) -> None:
    """Compute with `threads` of params.yaml from now on, in torch and in the linear algebra of numpy.

    Sums of floating-point numbers round differently on another number of threads. So a stage takes the number from
    params.yaml, and not from the machine or its environment.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(settings.threads)
    torch.set_num_threads(settings.threads)
