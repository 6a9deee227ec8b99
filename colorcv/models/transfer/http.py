"""One GET request with a limit on the time without data.

requests alone cannot give that limit: a socket's read timeout starts again with every byte, and the
lookup of a host name has none, so a server that sends its headers byte by byte could hold the
caller for days. Here the request runs in its own thread, and the caller waits on a queue.
"""

from __future__ import annotations

import http.client
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3.exceptions

from ..._logging import logger

__all__ = ["HTTPStream", "TransferError", "redact_url"]

CONNECT_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 30.0  # seconds without a byte, after which a request fails
NOTICE_AFTER_S = 5.0  # seconds without a byte, after which the wait is logged
MAX_REDIRECTS = 8
CHUNK_BYTES = 1 << 16
_POLL_INTERVAL_S = 0.5  # Windows handles Ctrl-C only between waits on a queue

# requests raises a plain ValueError for some malformed URLs (UnicodeError is a ValueError).
_NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
_INCOMPLETE_READS = (http.client.IncompleteRead, urllib3.exceptions.IncompleteRead)


class TransferError(Exception):
    """A request or its response failed.

    Attributes
    ----------
    reason : str
    retryable : bool
        True if another attempt may succeed.
    idle_s : float
        Seconds without data before the failure.
    """

    def __init__(self, reason: str, *, retryable: bool, idle_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.idle_s = idle_s


class HTTPStream:
    """A GET request in a background thread, which passes on response and body through a queue.

    Parameters
    ----------
    session : requests.Session
    url : str
    headers : dict of str to str
    timeout_s : float
        Longest wait for the response and for each piece of its body, in seconds.
    """

    def __init__(
        self, session: requests.Session, url: str, headers: dict[str, str], *, timeout_s: float
    ) -> None:
        self._session, self._url, self._headers = session, url, headers
        self._timeout_s = timeout_s
        self._queue: queue.Queue[requests.Response | bytes | BaseException] = queue.Queue(4)
        self._closed = threading.Event()

    def __enter__(self) -> HTTPStream:
        # A daemon thread, so that the interpreter can exit while a server hangs.
        threading.Thread(target=self._run, name="colorcv-download", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()

    def response(self) -> requests.Response:
        """Return the final response, after redirects, for its status and headers."""
        item = self._next("response")
        assert isinstance(item, requests.Response)
        return item

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the body as it was sent, without decoding."""
        while True:
            item = self._next("data")
            assert isinstance(item, bytes)
            if not item:
                return
            yield item

    def _next(self, awaited: str) -> requests.Response | bytes:
        start = time.monotonic()
        item = self._wait(awaited, start)
        if isinstance(item, TransferError):
            raise item
        if isinstance(item, _NETWORK_ERRORS):
            # A malformed URL or an invalid certificate would fail again.
            retryable = not isinstance(item, (ValueError, requests.exceptions.SSLError))
            idle_s = time.monotonic() - start
            raise TransferError(_root_cause(item), retryable=retryable, idle_s=idle_s) from item
        if isinstance(item, BaseException):
            raise item
        return item

    def _wait(self, awaited: str, start: float) -> requests.Response | bytes | BaseException:
        is_logged = False
        while True:
            remaining_s = start + self._timeout_s - time.monotonic()
            with suppress(queue.Empty):
                return self._queue.get(timeout=max(0.0, min(remaining_s, _POLL_INTERVAL_S)))
            idle_s = time.monotonic() - start
            if idle_s >= self._timeout_s:
                raise TransferError(
                    f"no {awaited} for {self._timeout_s:.3g} s", retryable=True, idle_s=idle_s
                )
            if idle_s >= NOTICE_AFTER_S and not is_logged:
                is_logged = True
                logger.warning(
                    "no %s from %s for %.2g s; waiting up to %.2g s",
                    awaited, redact_url(self._url), idle_s, self._timeout_s,
                )  # fmt: skip

    def _run(self) -> None:
        try:
            response = self._open()
            try:
                self._put(response)
                # read1 returns what has arrived. urllib3 before 2.1 has only read, which waits for
                # a whole chunk.
                read = getattr(response.raw, "read1", response.raw.read)
                while not self._closed.is_set():
                    data = read(CHUNK_BYTES, decode_content=False)
                    self._put(data)
                    if not data:
                        return
            finally:
                response.close()
        except BaseException as err:  # re-raised in the caller's thread
            self._put(err)

    def _put(self, item: requests.Response | bytes | BaseException) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return

    def _open(self) -> requests.Response:
        url = self._url
        # The caller's own limit gives the better message, so this one is longer; it only lets the
        # thread end.
        read_timeout_s = self._timeout_s + 5.0
        for _ in range(MAX_REDIRECTS + 1):
            if urlsplit(url).scheme not in ("http", "https"):
                raise TransferError(
                    f"unsupported URL {url[:200]}: only http and https are allowed",
                    retryable=False,
                )
            response = self._session.get(
                url,
                headers=self._headers,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_TIMEOUT_S, read_timeout_s),
            )
            target = self._session.get_redirect_target(response)
            if target is None:
                return response
            response.close()
            url = urljoin(url, target)
        raise TransferError(f"more than {MAX_REDIRECTS} redirects", retryable=False)


def redact_url(url: str) -> str:
    """Remove user name and password from a URL."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _root_cause(error: BaseException) -> str:
    """Return the text of the innermost error; requests and urllib3 wrap it several times."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    if any(isinstance(each, _INCOMPLETE_READS) for each in chain):
        return "the server closed the connection"
    if any(isinstance(each, http.client.RemoteDisconnected) for each in chain):
        return "the server closed the connection without a response"
    if any(isinstance(each, http.client.BadStatusLine) for each in chain):
        return "the response is not HTTP"
    root = next(each for each in reversed(chain) if isinstance(each, _NETWORK_ERRORS))
    text = (root.strerror if isinstance(root, OSError) else None) or str(root)
    text = " ".join(text.split())[:200] or type(root).__name__
    if isinstance(error, requests.exceptions.ProxyError):
        return f"proxy error: {text}"
    if isinstance(error, requests.exceptions.SSLError):
        if "certificate" in text.lower():
            text += " (if a proxy replaces certificates, set REQUESTS_CA_BUNDLE to its CA file)"
        return f"TLS error: {text}"
    return text
