"""One GET request, spoken in a thread of its own: nothing the far end drags out can hold us.

The read timeout of a socket starts again with every byte, and looking up a name has none, so a
server that drips its headers could hold a caller for days.
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

__all__ = ["Broken", "Conversation"]

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
STALL_S = 60.0
MAX_REDIRECTS = 8
CHUNK = 1 << 16

# ValueError: requests lets some malformed addresses through as such (UnicodeError is one).
_NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
_CUT = (http.client.IncompleteRead, urllib3.exceptions.IncompleteRead)


class Broken(Exception):
    """Why a conversation could not be held to its end, and whether to try once more."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again


class Conversation:
    """A GET request whose answer and body come through a queue."""

    def __init__(self, session: requests.Session, address: str, headers: dict[str, str]) -> None:
        self._session, self._address, self._headers = session, address, headers
        self._queue: queue.Queue[requests.Response | bytes | BaseException] = queue.Queue(4)
        self._over = threading.Event()

    def __enter__(self) -> Conversation:
        # A daemon: a far end that hangs must not keep the interpreter from leaving.
        threading.Thread(target=self._speak, name="colorcv-download", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()

    def answer(self) -> requests.Response:
        """The final answer's status and headers."""
        item = self._next()
        assert isinstance(item, requests.Response)
        return item

    def chunks(self) -> Iterator[bytes]:
        """The body as it was sent, undecoded."""
        while True:
            item = self._next()
            assert isinstance(item, bytes)
            if not item:
                return
            yield item

    def _next(self) -> requests.Response | bytes:
        try:
            item = self._queue.get(timeout=STALL_S)
        except queue.Empty:
            raise Broken(f"nothing came for {STALL_S:g} s", again=True) from None
        if isinstance(item, _NETWORK_ERRORS):
            # A malformed address or a bad certificate is not mended by waiting.
            again = not isinstance(item, (ValueError, requests.exceptions.SSLError))
            raise Broken(_reason(item), again=again) from item
        if isinstance(item, BaseException):
            raise item
        return item

    def _speak(self) -> None:
        try:
            response = self._open()
            try:
                self._put(response)
                # read1 gives what is there; urllib3 before 2.1 has none and waits for all of CHUNK.
                read = getattr(response.raw, "read1", response.raw.read)
                while not self._over.is_set():
                    data = read(CHUNK, decode_content=False)
                    self._put(data)
                    if not data:
                        return
            finally:
                response.close()
        except BaseException as err:  # handed to the caller's thread, which raises it
            self._put(err)

    def _put(self, item: requests.Response | bytes | BaseException) -> None:
        while not self._over.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return

    def _open(self) -> requests.Response:
        address = self._address
        for _ in range(MAX_REDIRECTS + 1):
            if urlsplit(address).scheme not in ("http", "https"):
                raise Broken(f"leads to {address[:200]}: neither http nor https", again=False)
            response = self._session.get(
                address,
                headers=self._headers,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            )
            target = self._session.get_redirect_target(response)
            if target is None:
                return response
            response.close()
            address = urljoin(address, target)
        raise Broken(f"redirects more than {MAX_REDIRECTS} times", again=False)


def _reason(error: BaseException) -> str:
    """What is at the bottom of an error that requests and urllib3 have wrapped several times."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(error, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
        return f"no answer within {READ_TIMEOUT_S:g} s"
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    if any(isinstance(each, _CUT) for each in chain):
        return "the connection was cut"
    root = next(each for each in reversed(chain) if isinstance(each, _NETWORK_ERRORS))
    text = (root.strerror if isinstance(root, OSError) else None) or str(root)
    text = " ".join(text.split())[:200] or type(root).__name__
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy failed: {text}"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the secure connection failed: {text}"
    return text
