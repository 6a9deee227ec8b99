"""An HTTP server on 127.0.0.1 that serves files and fails in every known way.

The URL's path selects the fault: ``/<behaviour>/<name>``. ``/cut@0.5/<name>`` cuts the body at half
its length; ``/<first>,<second>/<name>`` behaves differently from the second request on.
"""

from __future__ import annotations

import gzip
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HTML = b"<!DOCTYPE html><html><head><title>Virus scan warning</title></head></html>" * 33
LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:f5af1e602646328c792e1094f9876fe9cd4c09ac46fa886e5708a1abc89137b1\n"
    b"size 128946764\n"
)


@dataclass
class Request:
    """A request, and how many bytes of body were sent in response."""

    path: str
    headers: dict[str, str]
    start: int  # first byte of the Range header; 0 without one
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    server: FaultyServer
    timeout = 10

    def do_GET(self) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        self.request_ = Request(self.path, dict(self.headers), start)
        behaviours = self.path.split("/")[1].split(",")
        with self.server.guard:
            self.server.log.append(self.request_)
            seen = self.server.seen[self.path] = self.server.seen.get(self.path, 0) + 1
        name, _, fraction = behaviours[min(seen, len(behaviours)) - 1].partition("@")
        content = self.server.contents[self.path.rpartition("/")[2]]
        BEHAVIOURS[name](self, content, start, float(fraction or 0.5))

    def respond(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send_body(self, data: bytes) -> None:
        for pos in range(0, len(data), 1 << 14):
            piece = data[pos : pos + (1 << 14)]
            # Counted before the write: the client may end as soon as it has the bytes.
            self.request_.sent += len(piece)
            self.wfile.write(piece)
            self.server.pace(self.request_)

    def send_head(self, content: bytes, start: int) -> bytes:
        """Send the headers of a correct response; return its body."""
        if start >= len(content) > 0 and start:
            self.respond(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
            return b""
        if start:
            last, size = len(content) - 1, len(content)
            self.respond(
                206, Content_Range=f"bytes {start}-{last}/{size}", Content_Length=size - start
            )
        else:
            self.respond(200, Content_Length=len(content))
        return content[start:]

    def hang(self) -> None:
        self.server.stopping.wait(8)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def correct(http: Handler, content: bytes, start: int, _: float) -> None:
    http.send_body(http.send_head(content, start))


def ignores_range(http: Handler, content: bytes, _start: int, _: float) -> None:
    http.send_body(http.send_head(content, 0))


def no_length(http: Handler, content: bytes, _start: int, _: float) -> None:
    http.respond(200)
    http.send_body(content)


def no_length_cut(http: Handler, content: bytes, _start: int, fraction: float) -> None:
    http.respond(200)
    http.send_body(content[: _offset(content, fraction)])


def chunked(
    http: Handler, content: bytes, _start: int, fraction: float, *, end: bool = True
) -> None:
    http.protocol_version = "HTTP/1.1"
    http.respond(200, Transfer_Encoding="chunked", Connection="close")
    for pos in range(0, len(content), 50_000):
        piece = content[pos : pos + 50_000]
        http.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if not end and pos + 50_000 >= fraction * len(content):
            return
    if end:
        http.wfile.write(b"0\r\n\r\n")


def chunked_cut(http: Handler, content: bytes, start: int, fraction: float) -> None:
    chunked(http, content, start, fraction, end=False)


def chunked_short(http: Handler, content: bytes, start: int, fraction: float) -> None:
    chunked(http, content[: _offset(content, fraction)], start, fraction)


def cut(http: Handler, content: bytes, start: int, fraction: float) -> None:
    body = http.send_head(content, start)
    http.send_body(body[: _offset(body, fraction)])


def cut_with_reset(http: Handler, content: bytes, start: int, fraction: float) -> None:
    cut(http, content, start, fraction)
    http.wfile.flush()
    time.sleep(0.02)  # a reset discards bytes that were not delivered yet
    http.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    http.connection.close()


def stall(http: Handler, content: bytes, start: int, fraction: float) -> None:
    cut(http, content, start, fraction)
    http.hang()


def drip(http: Handler, content: bytes, start: int, fraction: float) -> None:
    body = http.send_head(content, start)
    pos = _offset(body, fraction)
    http.send_body(body[:pos])
    while pos < len(body) and not http.server.stopping.wait(0.02):
        http.send_body(body[pos : pos + 1])
        pos += 1


def drip_headers(http: Handler, _content: bytes, _start: int, _: float) -> None:
    http.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
    while not http.server.stopping.wait(0.02):
        http.wfile.write(b"z")


def hang_at_once(http: Handler, _content: bytes, _start: int, _: float) -> None:
    http.hang()


def close_at_once(_http: Handler, _content: bytes, _start: int, _: float) -> None:
    pass


def garbage(http: Handler, _content: bytes, _start: int, _: float) -> None:
    http.wfile.write(b"\x00\xff not http at all \r\n\r\n" * 20)


def _mislabelled_range(content_range: str, *, body_from: int = 0) -> Callable[..., None]:
    def behave(http: Handler, content: bytes, start: int, _: float) -> None:
        if not start:
            return http.send_body(http.send_head(content, 0))
        size = len(content)
        values = {"start": start, "last": size - 1, "size": size, "next": start + 1}
        http.respond(206, Content_Range=content_range.format(**values))
        return http.send_body(content[body_from if body_from >= 0 else start :][: size - start])

    return behave


def no_content_range(http: Handler, content: bytes, start: int, _: float) -> None:
    if not start:
        return http.send_body(http.send_head(content, 0))
    http.respond(206, Content_Length=len(content) - start)
    return http.send_body(content[start:])


def half_a_range(http: Handler, content: bytes, start: int, _: float) -> None:
    """Send a correct 206 with half of the remaining bytes."""
    last = start + (len(content) - start + 1) // 2 - 1
    http.respond(206, Content_Range=f"bytes {start}-{last}/{len(content)}")
    http.send_body(content[start : last + 1])


def unasked_206(http: Handler, content: bytes, start: int, _: float) -> None:
    http.respond(206, Content_Range=f"bytes 10-{len(content) - 1}/{len(content)}")
    http.send_body(content[10:])


def _status(code: int, **headers: object) -> Callable[..., None]:
    def behave(http: Handler, _content: bytes, _start: int, _: float) -> None:
        values = {name: value() if callable(value) else value for name, value in headers.items()}
        http.respond(code, **values)
        http.send_body(b"no")

    return behave


def _replacement(data: bytes, *, length: bool = True, **headers: str) -> Callable[..., None]:
    def behave(http: Handler, _content: bytes, _start: int, _: float) -> None:
        if length:
            headers["Content_Length"] = str(len(data))
        http.respond(200, **headers)
        http.send_body(data)

    return behave


def _redirect(target: str) -> Callable[..., None]:
    def behave(http: Handler, _content: bytes, _start: int, _: float) -> None:
        name = http.path.rpartition("/")[2]
        http.respond(302, Location=target.format(name=name, base=http.server.base))

    return behave


def gzipped(http: Handler, content: bytes, _start: int, _: float) -> None:
    data = gzip.compress(content)
    http.respond(200, Content_Encoding="gzip", Content_Length=len(data))
    http.send_body(data)


def gzipped_with_right_length(http: Handler, content: bytes, _start: int, _: float) -> None:
    http.respond(200, Content_Encoding="gzip", Content_Length=len(content))
    http.send_body(content)


def too_long(http: Handler, content: bytes, start: int, _: float) -> None:
    http.respond(200, Content_Length=len(content) + 1)
    http.send_body(content + b"!")


def endless(http: Handler, content: bytes, start: int, _: float) -> None:
    http.respond(200)
    http.send_body(content)
    while not http.server.stopping.is_set():
        http.send_body(b"!" * (1 << 14))


def other_bytes(http: Handler, content: bytes, start: int, _: float) -> None:
    http.send_body(http.send_head(bytes(len(content)), start))


def other_bytes_cut(http: Handler, content: bytes, start: int, fraction: float) -> None:
    cut(http, bytes(len(content)), start, fraction)


def names_a_file_outside(http: Handler, content: bytes, _start: int, _: float) -> None:
    http.respond(
        200,
        Content_Length=len(content),
        Content_Disposition='attachment; filename="../../../outside"',
        Content_Location="/../../outside",
    )
    http.send_body(content)


def _offset(body: bytes, fraction: float) -> int:
    """Return an offset into a body: 1 leaves out the last byte, a tiny fraction is 1 byte."""
    return max(0, min(int(fraction * len(body)) or (1 if fraction else 0), len(body) - 1))


BEHAVIOURS: dict[str, Callable[..., None]] = {
    "correct": correct,
    "ignores-range": ignores_range,
    "no-length": no_length,
    "no-length-cut": no_length_cut,
    "chunked": chunked,
    "chunked-cut": chunked_cut,
    "chunked-short": chunked_short,
    "cut": cut,
    "reset": cut_with_reset,
    "stall": stall,
    "drip": drip,
    "drip-headers": drip_headers,
    "hang": hang_at_once,
    "close": close_at_once,
    "garbage": garbage,
    "range-of-later": _mislabelled_range("bytes {next}-{last}/{size}", body_from=-1),
    "range-of-other-size": _mislabelled_range("bytes {start}-{last}/999999999", body_from=-1),
    "range-unknown-size": _mislabelled_range("bytes {start}-{last}/*", body_from=-1),
    "range-garbled": _mislabelled_range("bytes all", body_from=-1),
    "range-mislabelled": _mislabelled_range("bytes {start}-{last}/{size}", body_from=0),
    "range-unnamed": no_content_range,
    "range-halves": half_a_range,
    "range-unasked": unasked_206,
    "204": _status(204),
    "300": _status(300),
    "403": _status(403),
    "404": _status(404),
    "407": _status(407),
    "410": _status(410),
    "416": _status(416),
    "429": _status(429),
    "429-wait-7": _status(429, Retry_After=7),
    "429-wait-date": _status(429, Retry_After=lambda: formatdate(time.time() + 20, usegmt=True)),
    "429-wait-past": _status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "429-wait-forever": _status(429, Retry_After="9" * 5000),
    "429-wait-nonsense": _status(429, Retry_After="soon, perhaps"),
    "500": _status(500),
    "503": _status(503),
    "503-wait-3": _status(503, Retry_After=3),
    "html": _replacement(HTML, Content_Type="text/html"),
    "html-no-length": _replacement(HTML, length=False),
    "lfs": _replacement(LFS),
    "lfs-no-length": _replacement(LFS, length=False),
    "empty": _replacement(b""),
    "short": _replacement(b"not found", Content_Type="text/plain"),
    "redirect": _redirect("/correct/{name}"),
    "redirect-absolute": _redirect("{base}/correct/{name}"),
    "redirect-loop": _redirect("/redirect-loop/{name}"),
    "redirect-file": _redirect("file:///etc/hostname"),
    "redirect-ftp": _redirect("ftp://127.0.0.1/x"),
    "redirect-odd": _redirect("http://[::1"),
    "redirect-nowhere": _redirect("http://127.0.0.1:1/{name}"),
    "gzip": gzipped,
    "gzip-right-length": gzipped_with_right_length,
    "too-long": too_long,
    "endless": endless,
    "other-bytes": other_bytes,
    "other-bytes-cut": other_bytes_cut,
    "names-a-file-outside": names_a_file_outside,
}


@dataclass
class Pace:
    """A delay between pieces of the body, so that a test can kill a process in time."""

    seconds: float = 0.0

    def __call__(self, request: Request) -> None:
        if self.seconds:
            time.sleep(self.seconds)


class FaultyServer(ThreadingHTTPServer):
    """Server to be used as a context manager; `base` is its URL, `log` holds the requests."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents = contents
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        self.log: list[Request] = []
        self.seen: dict[str, int] = {}
        self.guard = threading.Lock()
        self.stopping = threading.Event()
        self.pace = Pace()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.005,), daemon=True)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        self._thread.join(5)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect: the tests do it on purpose."""

    def url(self, behaviour: str, name: str) -> str:
        return f"{self.base}/{behaviour}/{name}"
