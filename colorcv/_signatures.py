"""`sniff`: recognise web pages, Git LFS pointers and archives that are not model files."""

from __future__ import annotations

from typing import Literal

__all__ = ["FileKind", "sniff"]

FileKind = Literal["html", "xml", "git-lfs", "archive"]

_SIGNATURES: tuple[tuple[FileKind, tuple[bytes, ...]], ...] = (
    ("html", (b"<!doctype", b"<html", b"<head", b"<!--", b"<script")),
    ("xml", (b"<?xml",)),
    ("git-lfs", (b"version https://git-lfs",)),
    ("archive", (b"pk\x03\x04", b"\x1f\x8b")),  # ZIP (in lower case, as `start` is); gzip
)


def sniff(head: bytes) -> FileKind | None:
    """Return the kind of a file that cannot be a model, from its first 512 bytes; else None.

    Case, a byte order mark and leading white space are ignored.
    """
    start = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((kind for kind, starts in _SIGNATURES if start.startswith(starts)), None)
