"""A Ray cluster: reached within a minute or not at all, and given this project's code."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from components.errors import RatewrightError, one_line

NAMESPACE = "ratewright"

_ANSWER_S = 10.0
_CONNECT_S = 45
_ATTEMPTS = 3
_QUIET = {"NO_ALBUMENTATIONS_UPDATE": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_ENABLE_STATE_TRACKING": "0"}


def connect(address: str | None) -> None:
    """Connect this process to a cluster: ray://host:10001, or host:6379 on one of its nodes.

    None: what RAY_ADDRESS says, or else a Ray that is started on this machine and ends with this process. Every task
    there runs the code of this checkout. Raises RatewrightError where nobody answers or lets us in.
    """
    os.environ.update(_QUIET)
    import ray

    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address is not None:
        _knock(address)
    settings: dict[str, Any] = {"include_dashboard": False} if address is None else {"address": address}
    code = {"py_modules": [str(Path(__file__).parents[1])], "env_vars": _QUIET}
    settings |= {"namespace": NAMESPACE, "runtime_env": code, "log_to_driver": False, "logging_level": "ERROR"}
    for attempt in range(_ATTEMPTS):
        try:
            _enter(address, settings)
            return
        except _StillbornError as error:
            if attempt == _ATTEMPTS - 1:
                raise RatewrightError(f"the Ray cluster at {address}: {error}") from error


class _StillbornError(Exception):
    """The head could not start the server that each ray:// client gets of its own: at times gRPC dies as it forks."""


def _enter(address: str | None, settings: dict[str, Any]) -> None:
    import ray

    refused = f"the Ray cluster at {address} does not let us in (RAY_AUTH_MODE, RAY_AUTH_TOKEN?)"
    try:
        with _within(_CONNECT_S, refused):
            ray.init(**settings)
    except ConnectionError as error:  # somebody answers: all that Ray says of a wrong token is that time is over
        if "Starting Ray client server failed" in str(error):
            raise _StillbornError(one_line(error)[:300]) from error
        raise RatewrightError(f"{refused}: {one_line(error)[:300]}") from error
    except (RuntimeError, ValueError) as error:
        raise RatewrightError(f"the Ray cluster at {address}: {one_line(error)[:300]}") from error


def workers_that_fit(needed: dict[str, float]) -> int:
    """How many workers that need so much of each resource the cluster's nodes could hold, were they idle."""
    import ray

    def held(node: dict[str, float]) -> int:
        counts = [int(node.get(name, 0.0) / amount) for name, amount in needed.items() if amount]
        return min(counts, default=0)

    return sum(held(node["Resources"]) for node in ray.nodes() if node["Alive"])


def contents() -> str:
    """What the cluster has, in words."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gigabytes = sum(node.get("memory", 0.0) for node in nodes) / 1e9
    cpus, gpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    return f"{len(nodes)} nodes with {cpus:g} CPUs, {gpus:g} GPUs and {gigabytes:.0f} GB of memory in all"


def _knock(address: str) -> None:
    """Raise RatewrightError unless somebody at the address speaks gRPC: Ray waits for ever for who says nothing."""
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    if not separator or not port.isdigit():
        if address in ("auto", "local"):
            return
        raise RatewrightError(f"{address}: no address of a Ray cluster (ray://host:10001, or host:6379 on a node)")
    try:
        socket.create_connection((host, int(port)), _ANSWER_S).close()
    except OSError as error:
        raise RatewrightError(f"no Ray cluster answers at {address}: {error}") from error
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return
    import grpc

    with grpc.insecure_channel(f"{host}:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(_ANSWER_S)
        except grpc.FutureTimeoutError as error:
            raise RatewrightError(f"no Ray cluster answers at {address}: whoever listens there says nothing") from error


@contextmanager
def _within(seconds: int, otherwise: str) -> Iterator[None]:
    """Raise RatewrightError where the context takes longer: Ray itself would go on trying."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise RatewrightError(otherwise)

    before: Any = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
