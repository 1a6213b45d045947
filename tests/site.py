"""A web server on loopback for tests of downloads."""

from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Site:
    """Files over http on loopback, with faults to come for a path, and a list of the requests served.

    Without `ranges`, a request for a part of a file is answered with all of it. `sent` counts the bytes of bodies,
    `connections` those that were made.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int | str]] = {}
        self.requests: list[str] = []
        self.ranges, self.sent, self.connections = True, 0, 0
        self.server = Server(("127.0.0.1", 0), partial(Handler, self))
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Server(ThreadingHTTPServer):
    request_queue_size = 64  # connections that wait: a loader opens many at a time


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, site: Site, *args: Any) -> None:
        self.site = site
        site.connections += 1
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.lstrip("/")
        self.site.requests.append(path)
        faults = self.site.faults.get(path, [])
        fault = faults.pop(0) if faults else None
        content = self.site.files.get(path)
        if isinstance(fault, int) or content is None:
            self.send_response(fault if isinstance(fault, int) else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "hang up":
            self.close_connection = True
            return
        etag, status = f'"{len(content)}"', 200
        if self.site.ranges and (wanted := self.headers["Range"]):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            content, status = content[int(first) : int(last) + 1 if last else None], 206
        self.send_response(416 if status == 206 and not content else status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", etag)
        self.end_headers()
        if body:
            self.send(content[: len(content) // 2] if fault == "short" else content)
            self.close_connection |= fault == "short"

    def send(self, content: bytes) -> None:
        """Write a body as far as the client wants it."""
        for at in range(0, len(content), 1 << 16):
            try:
                self.site.sent += self.wfile.write(content[at : at + (1 << 16)])
            except ConnectionError:
                self.close_connection = True
                return

    def log_message(self, *_: Any) -> None:
        pass
