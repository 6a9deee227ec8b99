"""One GET request with a limit on the time without data.

requests alone cannot give that limit: a socket's read timeout starts again with every byte, and the
lookup of a host name has none, so a server that sends its headers byte by byte could hold the
caller for days. Here the request runs in a thread of its own, and the caller waits for a queue.
"""

from __future__ import annotations

import http.client
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

__all__ = ["HTTPStream", "TransferError"]

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
STALL_TIMEOUT_S = 60.0
MAX_REDIRECTS = 8
CHUNK_BYTES = 1 << 16

# ValueError: requests passes some malformed URLs on as such (UnicodeError is a ValueError).
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
    """

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


class HTTPStream:
    """A GET request in a background thread, whose response and body arrive through a queue."""

    def __init__(self, session: requests.Session, url: str, headers: dict[str, str]) -> None:
        self._session, self._url, self._headers = session, url, headers
        self._queue: queue.Queue[requests.Response | bytes | BaseException] = queue.Queue(4)
        self._closed = threading.Event()

    def __enter__(self) -> HTTPStream:
        # A daemon thread, so that a server that hangs does not keep the interpreter from exiting.
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
        item = self._next()
        assert isinstance(item, requests.Response)
        return item

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the body as it was sent, without decoding."""
        while True:
            item = self._next()
            assert isinstance(item, bytes)
            if not item:
                return
            yield item

    def _next(self) -> requests.Response | bytes:
        try:
            item = self._queue.get(timeout=STALL_TIMEOUT_S)
        except queue.Empty:
            raise TransferError(f"nothing came for {STALL_TIMEOUT_S:g} s", retryable=True) from None
        if isinstance(item, _NETWORK_ERRORS):
            # A malformed URL or an invalid certificate will be the same at the next attempt.
            retryable = not isinstance(item, (ValueError, requests.exceptions.SSLError))
            raise TransferError(_root_cause(item), retryable=retryable) from item
        if isinstance(item, BaseException):
            raise item
        return item

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
        for _ in range(MAX_REDIRECTS + 1):
            if urlsplit(url).scheme not in ("http", "https"):
                raise TransferError(
                    f"leads to {url[:200]}: neither http nor https", retryable=False
                )
            response = self._session.get(
                url,
                headers=self._headers,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            )
            target = self._session.get_redirect_target(response)
            if target is None:
                return response
            response.close()
            url = urljoin(url, target)
        raise TransferError(f"redirects more than {MAX_REDIRECTS} times", retryable=False)


def _root_cause(error: BaseException) -> str:
    """Return the text of the innermost error; requests and urllib3 wrap it several times."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(error, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
        return f"no answer within {READ_TIMEOUT_S:g} s"
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    if any(isinstance(each, _INCOMPLETE_READS) for each in chain):
        return "the connection was cut"
    root = next(each for each in reversed(chain) if isinstance(each, _NETWORK_ERRORS))
    text = (root.strerror if isinstance(root, OSError) else None) or str(root)
    text = " ".join(text.split())[:200] or type(root).__name__
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy failed: {text}"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the secure connection failed: {text}"
    return text
