"""Download one file from several URLs: resume, retry, back off."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import requests

from ..._logging import logger
from ..registry import ModelFile
from . import http
from .http import HTTPStream, TransferError, redact_url
from .partial import PartialFile
from .response import AttemptError, Progress, check_response, check_speed, save_body

__all__ = ["AllMirrorsFailed", "Progress", "fetch"]

MAX_TRIES = 3
BACKOFF_S, MAX_BACKOFF_S = 1.0, 30.0
# A failed attempt that extends the file by this share of its size does not count as a failure.
MIN_PROGRESS = 1 / 50
_sleep = time.sleep
_now = time.monotonic


class AllMirrorsFailed(Exception):
    """The file could not be downloaded from any URL.

    Attributes
    ----------
    reasons : tuple of (str, str)
        Each URL, without credentials, and the reason for its last failure.
    """

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        super().__init__(reasons)
        self.reasons = tuple(reasons)


@dataclass
class _Mirror:
    """A URL and the outcome of its attempts so far."""

    url: str
    tries: int = 0
    failures: int = 0  # since an attempt last added MIN_PROGRESS of the file
    idle_s: float = 0.0  # seconds without data since then
    ready_at: float = 0.0
    without_range: bool = False
    reason: str = ""
    exhausted: bool = False

    @property
    def shown_url(self) -> str:
        """The URL without credentials."""
        return redact_url(self.url)

    def fail(self, error: AttemptError, *, has_progress: bool) -> None:
        """Record a failed attempt, and whether and when the next one may start."""
        self.failures = 0 if has_progress else self.failures + 1
        self.idle_s = 0.0 if has_progress else self.idle_s + error.idle_s
        self.reason = error.reason
        self.without_range = error.without_range
        # 0.9: an attempt with less than a tenth of the limit left could hardly succeed.
        limit_s = 0.9 * http.STALL_TIMEOUT_S
        has_time = self.idle_s < limit_s
        self.exhausted = not (error.retryable and has_time and self.failures < MAX_TRIES)
        # After a stall, another URL is tried first; after a cut connection, this one resumes at
        # once.
        power = max(self.failures, int(error.idle_s >= limit_s))
        backoff = BACKOFF_S * 2 ** (power - 1) if power else 0.0
        self.ready_at = _now() + max(min(backoff, MAX_BACKOFF_S), error.retry_after_s)


def fetch(
    file: ModelFile,
    partial: PartialFile,
    urls: Sequence[str],
    *,
    user_agent: str,
    progress: Progress | None = None,
) -> None:
    """Download a file until `partial` has its size and hash.

    The URLs are tried in order, and each resumes where the last one stopped. If all have failed,
    `fetch` waits until the first of them may be retried. A URL that sends no data for
    `http.STALL_TIMEOUT_S` seconds, summed over its attempts, is not retried.

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
        Every URL has failed for good. `partial` keeps the bytes that can be resumed.
    DiskError
        The partial file cannot be written.
    """
    if _is_complete(partial, file):
        return  # a process was killed after the last byte and before the rename
    if partial.size == file.size:
        partial.truncate(0)
    mirrors = [_Mirror(url) for url in urls]
    max_size = partial.size
    if progress is not None:  # show the file in a progress bar before the first response
        progress(partial.size, file.size, file.name)
    while usable := [mirror for mirror in mirrors if not mirror.exhausted]:
        now = _now()
        mirror = next((each for each in usable if each.ready_at <= now), None)
        if mirror is None:
            mirror = min(usable, key=lambda each: each.ready_at)
            wait_s = mirror.ready_at - now
            logger.warning("retrying %s in %.0f s", mirror.shown_url, wait_s)
            _sleep(wait_s)
        mirror.tries += 1
        try:
            _attempt(mirror, file, partial, user_agent, progress)
        except AttemptError as error:
            has_progress = partial.size - max_size >= file.size * MIN_PROGRESS
            max_size = max(max_size, partial.size)
            mirror.fail(error, has_progress=has_progress)
            logger.warning("%s: %s", mirror.shown_url, error.reason)
        else:
            return
    raise AllMirrorsFailed([(mirror.shown_url, _final_reason(mirror)) for mirror in mirrors])


def _final_reason(mirror: _Mirror) -> str:
    return mirror.reason + (f" ({mirror.tries} attempts)" if mirror.tries > 1 else "")


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
    timeout_s = http.STALL_TIMEOUT_S - mirror.idle_s
    logger.info("downloading %s from byte %d", mirror.shown_url, start)
    try:
        with (
            requests.Session() as session,
            HTTPStream(session, mirror.url, headers, timeout_s=timeout_s) as stream,
        ):
            response = stream.response()
            body = check_speed(stream.iter_raw())
            check_response(response, body, start, file)
            if response.status_code == 200:
                start = 0
                partial.truncate(0)
            save_body(response, body, file, partial, progress)
    except TransferError as error:
        if partial.size < file.size:  # an error after the last byte does not matter
            where = f" after {partial.size:,} of {file.size:,} bytes" if partial.size else ""
            raise AttemptError(
                error.reason + where, retryable=error.retryable, idle_s=error.idle_s
            ) from error
    if not _is_complete(partial, file):
        sha256 = partial.sha256
        partial.truncate(0)
        # The start may come from another URL, and the wrong bytes with it.
        resumed = start > 0
        raise AttemptError(
            f"wrong content: expected sha256 {file.sha256}, got {sha256}",
            retryable=resumed,
            without_range=resumed,
        )
