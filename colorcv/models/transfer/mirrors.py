"""Get one file from the first of several addresses that gives the right bytes."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.client import responses
from urllib.parse import urlsplit, urlunsplit

import requests

from ..hashes import OTHER, describe
from ..registry import ModelFile
from . import http
from .http import Broken, Conversation
from .partial import Partial

__all__ = ["FetchFailed", "Progress", "fetch"]

Progress = Callable[[int, int, str], object]

TRIES = 3
BACKOFF_S, BACKOFF_CAP_S = 1.0, 30.0
RETRY_AFTER_CAP_S = 60.0
# Less than this in conversation.STALL_S seconds (about 1 kB/s) counts as standing still.
STALL_BYTES = http.CHUNK
# An attempt that brings so much of the file more than ever was here counts as none.
GOOD_PROGRESS = 1 / 50
HEAD = 512
_sleep = time.sleep
_now = time.monotonic
_log = logging.getLogger("colorcv")


class FetchFailed(Exception):
    """No address gave the file."""

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        super().__init__(reasons)
        self.reasons = tuple(reasons)


class _Failure(Exception):
    """Why one attempt failed, and what to do with its address."""

    def __init__(
        self, reason: str, *, again: bool = False, wait_s: float = 0.0, whole: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again  # worth another try
        self.wait_s = wait_s
        self.whole = whole  # and then without Range


@dataclass
class _Source:
    """An address and how it has done so far."""

    address: str
    failures: int = 0
    ready_at: float = 0.0
    whole: bool = False
    reason: str = ""
    given_up: bool = False


def fetch(
    file: ModelFile,
    part: Partial,
    addresses: Sequence[str],
    *,
    user_agent: str,
    progress: Progress | None = None,
) -> None:
    """Bring `part` to the right size and hash.

    The addresses are tried in order, each going on where the last one stopped; when all of those
    that are worth another try have failed, the one that is ready first is waited for.

    Raises
    ------
    FetchFailed
        No address gave the file. `part` keeps what can be gone on with.
    WriteFailed
        The disk did not take it.
    """
    if _is_right(part, file):
        return  # its process died before giving it its name
    if part.size == file.size:
        part.cut_to(0)
    sources = [_Source(address) for address in addresses]
    most = part.size
    while alive := [source for source in sources if not source.given_up]:
        now = _now()
        source = next((each for each in alive if each.ready_at <= now), None)
        if source is None:
            source = min(alive, key=lambda each: each.ready_at)
            _log.info("%s: trying %s again", file.name, shown(source.address))
            _sleep(source.ready_at - now)
        try:
            _attempt(source, file, part, user_agent, progress)
        except _Failure as failure:
            _log.info("%s: %s: %s", file.name, shown(source.address), failure.reason)
            if part.size - most >= file.size * GOOD_PROGRESS:
                source.failures = 0
            else:
                source.failures += 1
            most = max(most, part.size)
            source.reason = failure.reason
            source.whole = failure.whole
            source.given_up = not failure.again or source.failures >= TRIES
            backoff = BACKOFF_S * 2 ** (source.failures - 1) if source.failures else 0.0
            source.ready_at = _now() + max(min(backoff, BACKOFF_CAP_S), failure.wait_s)
        else:
            return
    raise FetchFailed([(shown(source.address), source.reason) for source in sources])


def _is_right(part: Partial, file: ModelFile) -> bool:
    return part.size == file.size and part.sha256 == file.sha256


def shown(address: str) -> str:
    """An address without a password that may stand in it."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _attempt(
    source: _Source, file: ModelFile, part: Partial, user_agent: str, progress: Progress | None
) -> None:
    headers = {"Accept-Encoding": "identity", "User-Agent": user_agent}
    start = 0 if source.whole else part.size
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with (
            requests.Session() as session,
            Conversation(session, source.address, headers) as talk,
        ):
            answer = talk.answer()
            chunks = _steady(talk.chunks())
            _check_answer(answer, chunks, start, file)
            if answer.status_code == 200:
                start = 0
                part.cut_to(0)
            _take_body(answer, chunks, file, part, progress)
    except Broken as broken:
        if part.size < file.size:  # else all came but the end of the conversation
            where = f" after {part.size:,} of {file.size:,} bytes" if part.size else ""
            raise _Failure(broken.reason + where, again=broken.again) from broken
    if not _is_right(part, file):
        found = part.sha256
        part.cut_to(0)
        # When part of it came from elsewhere, this address may be innocent.
        mixed = start > 0
        raise _Failure(
            f"sent other content: sha256 {found} instead of {file.sha256}", again=mixed, whole=mixed
        )


def _check_answer(
    answer: requests.Response, chunks: Iterator[bytes], start: int, file: ModelFile
) -> None:
    """Let through a 200 with the right size, or a 206 that goes on at `start`."""
    status = answer.status_code
    if status == 206:
        if not _goes_on(answer.headers.get("Content-Range", ""), start, file.size):
            raise _Failure(
                f"asked for bytes {start}-, answered {answer.headers.get('Content-Range')!r:.100}",
                again=True,
                whole=True,
            )
    elif status != 200:
        later = answer.headers.get("Retry-After")
        raise _Failure(
            f"{status} {responses.get(status, 'unknown status')}",
            again=status in (408, 425, 429) or status >= 500 or later is not None
            or (status == 416 and start > 0),
            wait_s=_seconds(later),
            whole=status == 416,
        )  # fmt: skip
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("gzip", "x-gzip", "deflate", "compress", "br", "zstd"):
        raise _Failure(f"sent it compressed ({coding}), which was not asked for")
    length = answer.headers.get("Content-Length", "")
    if status == 200 and length.isdecimal() and length != str(file.size):
        what = describe(next(_with_head(chunks)))
        raise _Failure(f"sent {what} of {length[:20]} bytes instead of {file.size:,} bytes")


def _take_body(
    answer: requests.Response,
    chunks: Iterator[bytes],
    file: ModelFile,
    part: Partial,
    progress: Progress | None,
) -> None:
    start = part.size
    if progress is not None:
        progress(part.size, file.size, file.name)
    for data in chunks if start else _with_head(chunks):
        if data and part.size == 0 and (what := describe(data)) != OTHER:
            raise _Failure(f"sent {what} instead of the file")
        if part.size + len(data) > file.size:
            part.cut_to(start)
            raise _Failure(f"sent more than the {file.size:,} bytes of the file")
        part.append(data)
        if progress is not None:
            progress(part.size, file.size, file.name)
    if part.size < file.size:
        got = part.size
        if answer.headers.get("Transfer-Encoding", "").lower() == "chunked":
            part.cut_to(start)  # it ended as its sender meant it to: it is another file
            raise _Failure(f"sent only {got:,} of {file.size:,} bytes")
        raise _Failure(f"the connection was cut after {got:,} of {file.size:,} bytes", again=True)


def _steady(chunks: Iterator[bytes]) -> Iterator[bytes]:
    since, count = _now(), 0
    for data in chunks:
        yield data
        count += len(data)
        if _now() - since >= http.STALL_S:
            if count < STALL_BYTES:
                raise Broken(f"only {count} bytes came in {_now() - since:.1f} s", again=True)
            since, count = _now(), 0


def _with_head(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, with enough in the first chunk to see what they are."""
    head = b""
    for data in chunks:
        head += data
        if len(head) >= HEAD:
            break
    yield head
    yield from chunks


def _goes_on(content_range: str, start: int, size: int) -> bool:
    match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", content_range.strip())
    if match is None:
        return False
    first, last, total = match.groups()
    return int(first) == start <= int(last) < size and total in (str(size), "*")


def _seconds(retry_after: str | None) -> float:
    """Retry-After, as seconds or as an HTTP date; nonsense counts as nothing."""
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text[:9]), RETRY_AFTER_CAP_S)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):  # what the standard library raises for nonsense
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return min(max((moment - datetime.now(timezone.utc)).total_seconds(), 0.0), RETRY_AFTER_CAP_S)
