"""The command `serve` where the package is installed alone."""

import argparse
import logging
from dataclasses import fields
from pathlib import Path

from ..errors import RatewrightError, one_line
from ..serving.limits import Limits
from ..serving.source import FileSource, ModelSource

HOST, PORT = "127.0.0.1", 8000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the address and the limits to the options of a command."""
    parser.add_argument("--host", default=HOST, help=f"address to listen at; {HOST} by default")
    parser.add_argument("--port", type=int, default=PORT, help=f"{PORT} by default; 0 for any that is free")
    for each in fields(Limits):
        text = f"{each.metadata['help']}; {each.default:g} by default"
        parser.add_argument(f"--{each.name}", type=type(each.default), default=each.default, help=text)


def run(given: argparse.Namespace) -> None:
    """Serve the codec that a command names. Raises RatewrightError."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    limits = Limits(**{each.name: getattr(given, each.name) for each in fields(Limits)})
    serve(FileSource(Path(given.codec)), given.host, given.port, limits)


def serve(source: ModelSource, host: str, port: int, limits: Limits) -> None:
    """Serve a model until SIGTERM. Raises RatewrightError where the extra `serve` is not installed."""
    try:
        from ..serving import server
    except ModuleNotFoundError as error:
        raise RatewrightError(f"`serve` takes the extra `serve`, which is not installed ({one_line(error)})") from error
    server.serve(source, host, port, limits)
