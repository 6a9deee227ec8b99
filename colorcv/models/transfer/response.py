"""Check the response of a mirror and save its body in a partial file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from http.client import responses
from typing import TYPE_CHECKING

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from ..hashes import UNKNOWN, describe_content
from ..registry import ModelFile
from . import http
from .http import TransferError
from .partial import PartialFile

if TYPE_CHECKING:
    import requests

__all__ = ["AttemptError", "Progress", "check_response", "check_speed", "save_body"]

Progress = Callable[[int, int, str], object]

MAX_RETRY_AFTER_S = 60.0
# Less than this in http.STALL_TIMEOUT_S seconds (about 1 kB/s) counts as a stall.
MIN_STALL_BYTES = 1 << 15
SNIFF_BYTES = 512
_now = time.monotonic


class AttemptError(Exception):
    """An attempt to download a file from one URL failed.

    Attributes
    ----------
    reason : str
    retryable : bool
        True if another attempt may succeed.
    retry_after_s : float
        Seconds to wait before the next attempt, as the server demands.
    without_range : bool
        True if the next attempt must request the whole file.
    idle_s : float
        Seconds without data before the failure.
    """

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = False,
        retry_after_s: float = 0.0,
        without_range: bool = False,
        idle_s: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.without_range = without_range
        self.idle_s = idle_s


def check_response(
    response: requests.Response, body: Iterator[bytes], start: int, file: ModelFile
) -> None:
    """Accept a 200 of the right size, or a 206 that continues at `start`.

    Raises
    ------
    AttemptError
        Any other response. Enough of its body is read to name its content.
    """
    status = response.status_code
    if status == 206:
        content_range = response.headers.get("Content-Range")
        if not _continues_at(content_range or "", start, file.size):
            raise AttemptError(
                f"requested bytes {start}-, got Content-Range {content_range!r:.100}",
                retryable=True,
                without_range=True,
            )
    elif status != 200:
        retry_after = response.headers.get("Retry-After")
        raise AttemptError(
            f"{status} {responses.get(status, 'unknown status')}",
            retryable=status in (408, 425, 429) or status >= 500 or retry_after is not None
            or (status == 416 and start > 0),
            retry_after_s=_parse_retry_after(retry_after),
            without_range=status == 416,
        )  # fmt: skip
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("gzip", "x-gzip", "deflate", "compress", "br", "zstd"):
        raise AttemptError(f"unexpected Content-Encoding: {coding}")
    length = response.headers.get("Content-Length", "")
    if status == 200 and length.isdecimal() and length != str(file.size):
        content = describe_content(next(_peek(body)))
        raise AttemptError(f"got {content} of {length[:20]} bytes, expected {file.size:,} bytes")


def save_body(
    response: requests.Response,
    body: Iterator[bytes],
    file: ModelFile,
    partial: PartialFile,
    progress: Progress | None,
) -> None:
    """Append a body to the partial file.

    Raises
    ------
    AttemptError
        The body is an HTML page or the like, too long, or too short.
    """
    start = partial.size
    if progress is not None:
        progress(partial.size, file.size, file.name)
    for data in body if start else _peek(body):
        if data and partial.size == 0 and (content := describe_content(data)) != UNKNOWN:
            raise AttemptError(f"got {content}, expected the model file")
        if partial.size + len(data) > file.size:
            partial.truncate(start)
            raise AttemptError(f"got more than the expected {file.size:,} bytes")
        partial.append(data)
        if progress is not None:
            progress(partial.size, file.size, file.name)
    if partial.size < file.size:
        received = f"{partial.size:,} of {file.size:,} bytes"
        if response.headers.get("Transfer-Encoding", "").lower() == "chunked":
            # The last chunk has arrived, so the body is not truncated: it is another file.
            partial.truncate(start)
            raise AttemptError(f"got only {received}")
        raise AttemptError(f"the server closed the connection after {received}", retryable=True)


def check_speed(body: Iterator[bytes]) -> Iterator[bytes]:
    """Pass a body on; raise if it is slower than `MIN_STALL_BYTES` per stall timeout.

    Raises
    ------
    TransferError
        The body is too slow.
    """
    start, received = _now(), 0
    for data in body:
        yield data
        received += len(data)
        elapsed = _now() - start
        if elapsed >= http.STALL_TIMEOUT_S:
            if received < MIN_STALL_BYTES:
                reason = f"too slow: {received:,} bytes in {elapsed:.3g} s"
                raise TransferError(reason, retryable=True, idle_s=elapsed)
            start, received = _now(), 0


def _peek(body: Iterator[bytes]) -> Iterator[bytes]:
    """Pass a body on with a first chunk that is long enough to recognise the content."""
    head = b""
    for data in body:
        head += data
        if len(head) >= SNIFF_BYTES:
            break
    yield head
    yield from body


def _continues_at(content_range: str, start: int, size: int) -> bool:
    match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", content_range.strip())
    if match is None:
        return False
    first, last, total = match.groups()
    return int(first) == start <= int(last) < size and total in (str(size), "*")


def _parse_retry_after(header: str | None) -> float:
    """Return the seconds of a Retry-After header, capped; 0 if it is missing or malformed."""
    try:
        # Python's int() raises an error for thousands of digits, so 40 characters are parsed.
        seconds = Retry().parse_retry_after((header or "")[:40])
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
