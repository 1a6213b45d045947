"""The process of a service: from its socket to its graceful end."""

import asyncio
import logging
import signal
import socket

import uvicorn

from .app import create_app
from .limits import Limits
from .scratch import scratch_folder
from .service import Service
from .source import ModelSource

MOST_CONNECTIONS = 512

logger = logging.getLogger(__name__)


def serve(source: ModelSource, host: str, port: int, limits: Limits) -> None:
    """Serve a model until SIGTERM or SIGINT, then finish what waits.

    Args:
        source: Of the model.
        host: The address to listen at.
        port: The port; 0 for any that is free.
        limits: What is taken.

    Raises:
        RatewrightError: The model's first version does not load.
        OSError: The address cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # uvicorn raises the signal that stopped it again, once it has stopped: that is no error.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with (
            socket.create_server((host, port), family=family) as listening,
            scratch_folder() as scratch,
        ):
            asyncio.run(_serve(Service(source, limits, scratch), listening))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """uvicorn, which tells the service that it stops."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: object) -> None:
        """Begin to stop. A second SIGINT stops at once."""
        self._service.stopping = True
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


async def _serve(service: Service, listening: socket.socket) -> None:
    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=int(service.limits.grace),
    )
    server = _Server(config, service)
    following = asyncio.create_task(service.follower.run())
    following.add_done_callback(lambda _: setattr(server, "should_exit", True))  # it ends by itself on an error alone
    host, port = listening.getsockname()[:2]
    logger.info("http://%s:%d", f"[{host}]" if ":" in host else host, port)
    try:
        await server.serve(sockets=[listening])
        if following.done():
            following.result()
        logger.info("stopped")
    finally:
        following.cancel()
        await service.pool.close()
