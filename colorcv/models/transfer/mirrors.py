"""Download one file from several URLs: resume, retry, back off, check what arrives."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import responses
from urllib.parse import urlsplit, urlunsplit

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from ..hashes import UNKNOWN, describe_content
from ..registry import ModelFile
from . import http
from .http import HTTPStream, TransferError
from .partial import PartialFile

__all__ = ["AllMirrorsFailed", "Progress", "fetch", "redact_url"]

logger = logging.getLogger("colorcv")

Progress = Callable[[int, int, str], object]

MAX_TRIES = 3
BACKOFF_S, MAX_BACKOFF_S = 1.0, 30.0
MAX_RETRY_AFTER_S = 60.0
# Less than this in http.STALL_TIMEOUT_S seconds (about 1 kB/s) counts as a stall.
MIN_STALL_BYTES = http.CHUNK_BYTES
# A failed attempt that extends the file by this share of its size does not count as a failure.
MIN_PROGRESS = 1 / 50
SNIFF_BYTES = 512
_sleep = time.sleep
_now = time.monotonic


class AllMirrorsFailed(Exception):
    """No URL gave the file.

    Attributes
    ----------
    reasons : tuple of (str, str)
        Each URL, without credentials, and the reason of its last failure.
    """

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        super().__init__(reasons)
        self.reasons = tuple(reasons)


class _AttemptError(Exception):
    """Why one attempt failed, and how its URL may be tried again."""

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = False,
        retry_after_s: float = 0.0,
        without_range: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.without_range = without_range


@dataclass
class _Mirror:
    """A URL and the outcome of its attempts so far."""

    url: str
    failures: int = 0
    ready_at: float = 0.0
    without_range: bool = False
    reason: str = ""
    exhausted: bool = False


def fetch(
    file: ModelFile,
    partial: PartialFile,
    urls: Sequence[str],
    *,
    user_agent: str,
    progress: Progress | None = None,
) -> None:
    """Download a file until `partial` has its size and hash.

    The URLs are tried in order, and each resumes where the last one stopped. When all URLs that
    may be retried have failed, the one that may be retried first is waited for.

    Parameters
    ----------
    file : ModelFile
    partial : PartialFile
        May hold the start of the file already.
    urls : sequence of str
    user_agent : str
    progress : callable, optional
        See `colorcv.download`.

    Raises
    ------
    AllMirrorsFailed
        No URL gave the file. `partial` keeps what can be resumed.
    DiskError
        The partial file cannot be written.
    """
    if _is_complete(partial, file):
        return  # a process was killed after the last byte and before the rename
    if partial.size == file.size:
        partial.truncate(0)
    mirrors = [_Mirror(url) for url in urls]
    max_size = partial.size
    while usable := [mirror for mirror in mirrors if not mirror.exhausted]:
        now = _now()
        mirror = next((each for each in usable if each.ready_at <= now), None)
        if mirror is None:
            mirror = min(usable, key=lambda each: each.ready_at)
            logger.info("%s: trying %s again", file.name, redact_url(mirror.url))
            _sleep(mirror.ready_at - now)
        try:
            _attempt(mirror, file, partial, user_agent, progress)
        except _AttemptError as error:
            logger.info("%s: %s: %s", file.name, redact_url(mirror.url), error.reason)
            if partial.size - max_size >= file.size * MIN_PROGRESS:
                mirror.failures = 0
            else:
                mirror.failures += 1
            max_size = max(max_size, partial.size)
            mirror.reason = error.reason
            mirror.without_range = error.without_range
            mirror.exhausted = not error.retryable or mirror.failures >= MAX_TRIES
            backoff = BACKOFF_S * 2 ** (mirror.failures - 1) if mirror.failures else 0.0
            mirror.ready_at = _now() + max(min(backoff, MAX_BACKOFF_S), error.retry_after_s)
        else:
            return
    raise AllMirrorsFailed([(redact_url(mirror.url), mirror.reason) for mirror in mirrors])


def redact_url(url: str) -> str:
    """Remove user name and password from a URL."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _is_complete(partial: PartialFile, file: ModelFile) -> bool:
    return partial.size == file.size and partial.sha256 == file.sha256


def _attempt(
    mirror: _Mirror,
    file: ModelFile,
    partial: PartialFile,
    user_agent: str,
    progress: Progress | None,
) -> None:
    headers = {"Accept-Encoding": "identity", "User-Agent": user_agent}
    start = 0 if mirror.without_range else partial.size
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with requests.Session() as session, HTTPStream(session, mirror.url, headers) as stream:
            response = stream.response()
            body = _check_speed(stream.iter_raw())
            _check_response(response, body, start, file)
            if response.status_code == 200:
                start = 0
                partial.truncate(0)
            _save_body(response, body, file, partial, progress)
    except TransferError as error:
        if partial.size < file.size:  # an error after the last byte does not matter
            where = f" after {partial.size:,} of {file.size:,} bytes" if partial.size else ""
            raise _AttemptError(error.reason + where, retryable=error.retryable) from error
    if not _is_complete(partial, file):
        sha256 = partial.sha256
        partial.truncate(0)
        # If the start came from elsewhere, the wrong bytes may not be this URL's.
        resumed = start > 0
        raise _AttemptError(
            f"sent other content: sha256 {sha256} instead of {file.sha256}",
            retryable=resumed,
            without_range=resumed,
        )


def _check_response(
    response: requests.Response, body: Iterator[bytes], start: int, file: ModelFile
) -> None:
    """Accept a 200 of the right size, or a 206 that continues at `start`; raise otherwise."""
    status = response.status_code
    if status == 206:
        content_range = response.headers.get("Content-Range")
        if not _continues_at(content_range or "", start, file.size):
            raise _AttemptError(
                f"asked for bytes {start}-, answered {content_range!r:.100}",
                retryable=True,
                without_range=True,
            )
    elif status != 200:
        retry_after = response.headers.get("Retry-After")
        raise _AttemptError(
            f"{status} {responses.get(status, 'unknown status')}",
            retryable=status in (408, 425, 429) or status >= 500 or retry_after is not None
            or (status == 416 and start > 0),
            retry_after_s=_parse_retry_after(retry_after),
            without_range=status == 416,
        )  # fmt: skip
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("gzip", "x-gzip", "deflate", "compress", "br", "zstd"):
        raise _AttemptError(f"sent it compressed ({coding}), which was not asked for")
    length = response.headers.get("Content-Length", "")
    if status == 200 and length.isdecimal() and length != str(file.size):
        content = describe_content(next(_peek(body)))
        raise _AttemptError(f"sent {content} of {length[:20]} bytes instead of {file.size:,} bytes")


def _save_body(
    response: requests.Response,
    body: Iterator[bytes],
    file: ModelFile,
    partial: PartialFile,
    progress: Progress | None,
) -> None:
    start = partial.size
    if progress is not None:
        progress(partial.size, file.size, file.name)
    for data in body if start else _peek(body):
        if data and partial.size == 0 and (content := describe_content(data)) != UNKNOWN:
            raise _AttemptError(f"sent {content} instead of the file")
        if partial.size + len(data) > file.size:
            partial.truncate(start)
            raise _AttemptError(f"sent more than the {file.size:,} bytes of the file")
        partial.append(data)
        if progress is not None:
            progress(partial.size, file.size, file.name)
    if partial.size < file.size:
        received = partial.size
        if response.headers.get("Transfer-Encoding", "").lower() == "chunked":
            # The last chunk has arrived, so nothing was cut off: this is another file.
            partial.truncate(start)
            raise _AttemptError(f"sent only {received:,} of {file.size:,} bytes")
        raise _AttemptError(
            f"the connection was cut after {received:,} of {file.size:,} bytes", retryable=True
        )


def _check_speed(body: Iterator[bytes]) -> Iterator[bytes]:
    """Pass a body on; raise if it is slower than `MIN_STALL_BYTES` per stall timeout."""
    start, received = _now(), 0
    for data in body:
        yield data
        received += len(data)
        elapsed = _now() - start
        if elapsed >= http.STALL_TIMEOUT_S:
            if received < MIN_STALL_BYTES:
                raise TransferError(
                    f"only {received} bytes came in {elapsed:.1f} s", retryable=True
                )
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
        # Cut to 40 characters, because Python's int() refuses a number of thousands of digits.
        seconds = Retry().parse_retry_after((header or "")[:40])
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
