"""What a file holds: its hash, remembered beside it, and what it is when it is not the model."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

__all__ = ["OTHER", "describe", "known_sha256", "remember", "sha256_of"]

OTHER = "other content"
STAMP_SUFFIX = ".verified"
_log = logging.getLogger("colorcv")


def describe(head: bytes) -> str:
    """Name what hosts send in place of a model, from its first bytes."""
    if not head:
        return "an empty file"
    text = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<!--", b"<script")):
        return "an HTML page"
    if text.startswith(b"<?xml"):
        return "an XML page"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    return OTHER


def sha256_of(path: Path, *, remembered: bool) -> str:
    """Hash a file, and remember it beside the file if that is wanted."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        before = os.fstat(stream.fileno())
        while block := stream.read(1 << 20):
            digest.update(block)
        after = os.fstat(stream.fileno())
    found = digest.hexdigest()
    if remembered and _signature(before) == _signature(after):
        remember(path, after, found)
    return found


def remember(path: Path, status: os.stat_result, found: str) -> None:
    """Write a file's hash beside it, to be believed while its size and time stamp are the same."""
    try:
        _stamp(path).write_text(f"{_signature(status)} {found}\n", encoding="ascii")
    except OSError as err:  # a read-only folder: then it is hashed each time
        _log.debug("cannot remember the hash of %s: %s", path, err)


def known_sha256(path: Path, status: os.stat_result) -> str | None:
    """The remembered hash, if the file's size and time stamp are still those."""
    try:
        with _stamp(path).open("rb") as stream:
            text = stream.read(200).decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    signature, _, found = text.rstrip("\n").rpartition(" ")
    return found if signature == _signature(status) and len(found) == 64 else None


def _signature(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"


def _stamp(path: Path) -> Path:
    return path.with_name(path.name + STAMP_SUFFIX)
