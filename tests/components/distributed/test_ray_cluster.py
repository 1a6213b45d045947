import socket

import pytest

from components.distributed import ray_cluster
from components.distributed.ray_cluster import connect
from components.errors import RatewrightError


@pytest.mark.parametrize("address", ["cluster", "host:port", "ray://host"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(RatewrightError, match=rf"^{address}: not an address of a Ray cluster"):
        connect(address)


@pytest.mark.parametrize("scheme", ["ray://", ""])
def test_a_closed_port(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RatewrightError, match=rf"^no Ray cluster answers at {scheme}127\.0\.0\.1:{port}: .*refused$"):
        connect(f"{scheme}127.0.0.1:{port}")


def test_a_port_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_REACHABLE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RatewrightError, match=rf"^no Ray cluster answers at {address}: the port is open but"):
            connect(address)


def test_the_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(RatewrightError, match=r"^nowhere: not an address"):
        connect(None)
