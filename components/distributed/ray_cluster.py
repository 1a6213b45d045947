"""Connecting to a Ray cluster, or failing within a minute, and sending this project's code to its workers."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import RatewrightError, one_line

NAMESPACE = "ratewright"
"""Ray namespace of the named actors."""

_REACHABLE_S = 10.0
_CONNECT_S = 45
_ATTEMPTS = 3
_QUIET = {"NO_ALBUMENTATIONS_UPDATE": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_ENABLE_STATE_TRACKING": "0"}


def connect(address: str | None) -> None:
    """Connect this process to a Ray cluster; a second call does nothing.

    Tasks and actors on the cluster run the code of this checkout.

    Args:
        address: ray://host:10001, or host:6379 on one of its nodes. None takes the variable RAY_ADDRESS, or else
            starts a Ray on this machine that ends with this process.

    Raises:
        RatewrightError: where the address does not answer, does not speak gRPC, or refuses the connection.
    """
    os.environ.update(_QUIET)
    import ray

    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address is not None:
        _check_reachable(address)
    settings: dict[str, Any] = {"include_dashboard": False} if address is None else {"address": address}
    code = {"py_modules": [str(Path(__file__).parents[1])], "env_vars": _QUIET}
    settings |= {"namespace": NAMESPACE, "runtime_env": code, "log_to_driver": False, "logging_level": "ERROR"}
    for attempt in range(_ATTEMPTS):
        try:
            _initialise(address, settings)
            return
        except _ServerStartError as error:
            if attempt == _ATTEMPTS - 1:
                raise RatewrightError(f"the Ray cluster at {address}: {error}") from error


def workers_that_fit(needed: dict[str, float]) -> int:
    """Number of workers that the nodes could hold, were they idle; `needed` is the amount of each resource of one."""
    import ray

    def on_node(available: dict[str, float]) -> int:
        counts = [int(available.get(name, 0.0) / amount) for name, amount in needed.items() if amount]
        return min(counts, default=0)

    return sum(on_node(node["Resources"]) for node in ray.nodes() if node["Alive"])


def contents() -> str:
    """The nodes, cores, GPUs and memory of the cluster, in words for an error message."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gigabytes = sum(node.get("memory", 0.0) for node in nodes) / 1e9
    cpus, gpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    return f"{len(nodes)} nodes with {cpus:g} CPUs, {gpus:g} GPUs and {gigabytes:.0f} GB of memory in all"


class _ServerStartError(Exception):
    """The head node could not start the server of this ray:// client: at times gRPC dies as it forks."""


def _initialise(address: str | None, settings: dict[str, Any]) -> None:
    """Call `ray.init`. Raises _ServerStartError where another attempt may help, RatewrightError otherwise."""
    import ray

    refused = f"the Ray cluster at {address} refuses the connection (RAY_AUTH_MODE, RAY_AUTH_TOKEN?)"
    try:
        with _time_limit(_CONNECT_S, refused):
            ray.init(**settings)
    except ConnectionError as error:  # the port answers: Ray reports a wrong token as a time-out only
        if "Starting Ray client server failed" in str(error):
            raise _ServerStartError(one_line(error)[:300]) from error
        raise RatewrightError(f"{refused}: {one_line(error)[:300]}") from error
    except (RuntimeError, ValueError) as error:
        raise RatewrightError(f"the Ray cluster at {address}: {one_line(error)[:300]}") from error


def _check_reachable(address: str) -> None:
    """Raise RatewrightError unless the address speaks gRPC: Ray waits for ever for a server that sends nothing."""
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    if not separator or not port.isdigit():
        if address in ("auto", "local"):
            return
        raise RatewrightError(f"{address}: not an address of a Ray cluster (ray://host:10001, or host:6379 on a node)")
    try:
        socket.create_connection((host, int(port)), _REACHABLE_S).close()
    except OSError as error:
        raise RatewrightError(f"no Ray cluster answers at {address}: {error}") from error
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return
    import grpc

    with grpc.insecure_channel(f"{host}:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(_REACHABLE_S)
        except grpc.FutureTimeoutError as error:
            why = "the port is open but does not speak gRPC"
            raise RatewrightError(f"no Ray cluster answers at {address}: {why}") from error


@contextmanager
def _time_limit(seconds: int, message: str) -> Iterator[None]:
    """Raise RatewrightError with `message` after so many seconds: Ray itself would go on trying."""

    def expired(_number: int, _frame: FrameType | None) -> None:
        raise RatewrightError(message)

    before: Any = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
