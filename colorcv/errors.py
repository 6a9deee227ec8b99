"""Exception hierarchy.

Every error raised by colorcv is a `ColorcvError`. Each leaf also inherits from the built-in
exception that fits, so that existing `except` clauses keep working.
"""

from __future__ import annotations

__all__ = [
    "ChecksumError",
    "ColorcvError",
    "DeviceError",
    "DownloadError",
    "ImageError",
    "ModelFormatError",
    "OptionError",
    "VideoError",
]


class ColorcvError(Exception):
    """Base class of all errors raised by colorcv."""


class OptionError(ColorcvError, ValueError):
    """An option has an invalid value."""


class DownloadError(ColorcvError, OSError):
    """A model file is missing and could not be downloaded."""


class ChecksumError(DownloadError):
    """A model file, cached or downloaded, has the wrong hash."""


class ModelFormatError(ColorcvError, ValueError):
    """A prototxt, caffemodel or centres file cannot be read or holds another kind of network."""


class DeviceError(ColorcvError, RuntimeError):
    """The requested device is not available, or failed."""


class ImageError(ColorcvError, ValueError):
    """The input is not a usable image, or an image file cannot be read or written."""


class VideoError(ColorcvError, OSError):
    """A video cannot be read or written."""
