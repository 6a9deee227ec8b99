"""`tagged_path`: the default name of a result, such as ``grandmother.color.jpg``."""

from __future__ import annotations

from pathlib import Path

__all__ = ["OUTPUT_TAG", "tagged_path"]

OUTPUT_TAG = ".color"


def tagged_path(source: Path, suffix: str) -> Path:
    """Return ``<stem>.color<suffix>`` beside the source."""
    return source.with_name(f"{source.stem}{OUTPUT_TAG}{suffix}")
