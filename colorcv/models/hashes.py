"""SHA-256 of model files, stamp files that store it, and recognition of wrong content."""

from __future__ import annotations

import os
from pathlib import Path

from .._logging import logger
from .._signatures import FileKind, sniff

__all__ = ["UNKNOWN", "describe_content", "read_stamp", "sha256_of", "write_stamp"]

UNKNOWN = "other content"
_KINDS: dict[FileKind, str] = {
    "html": "an HTML page",
    "xml": "an XML page",
    "git-lfs": "a Git LFS pointer",
}
STAMP_SUFFIX = ".verified"


def describe_content(head: bytes) -> str:
    """Name content that servers send in place of a model, such as HTML, from its first bytes."""
    if not head:
        return "an empty file"
    kind = sniff(head)
    return _KINDS.get(kind, UNKNOWN) if kind else UNKNOWN


def sha256_of(path: Path, *, stamp: bool) -> str:
    """Hash a file.

    Parameters
    ----------
    path : Path
    stamp : bool
        Also write the stamp file, unless the file changed while it was read.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    import hashlib  # OpenSSL takes 3 ms to load, and few runs hash a file

    digest = hashlib.sha256()
    with path.open("rb") as stream:
        before = os.fstat(stream.fileno())
        while block := stream.read(1 << 20):
            digest.update(block)
        after = os.fstat(stream.fileno())
    sha256 = digest.hexdigest()
    if stamp and _signature(before) == _signature(after):
        write_stamp(path, after, sha256)
    return sha256


def write_stamp(path: Path, status: os.stat_result, sha256: str) -> None:
    """Write a file's hash beside it; it is valid while size and modification time stay the same."""
    try:
        _stamp_path(path).write_text(f"{_signature(status)} {sha256}\n", encoding="ascii")
    except OSError as err:  # without a stamp, the file is hashed at each use
        logger.debug("cannot write the stamp of %s: %s", path, err)


def read_stamp(path: Path, status: os.stat_result) -> str | None:
    """Return the hash in a file's stamp, or None if it has no valid stamp."""
    try:
        with _stamp_path(path).open("rb") as stream:
            text = stream.read(200).decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    signature, _, sha256 = text.rstrip("\n").rpartition(" ")
    return sha256 if signature == _signature(status) and len(sha256) == 64 else None


def _signature(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"


def _stamp_path(path: Path) -> Path:
    return path.with_name(path.name + STAMP_SUFFIX)
