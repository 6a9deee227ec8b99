"""What can go wrong, as one tree of exceptions.

Every error that colorcv raises on purpose is a `ColorcvError`; each leaf is also the builtin
exception that fits, so that code written against the builtins keeps working.
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
    """Root of everything that colorcv raises on purpose."""


class OptionError(ColorcvError, ValueError):
    """An option has a value that is not among those that are taken."""


class DownloadError(ColorcvError, OSError):
    """A model file is not here and could not be fetched."""


class ChecksumError(DownloadError):
    """A model file is here, or arrived, but is not the file that it should be."""


class ModelFormatError(ColorcvError, ValueError):
    """A prototxt, caffemodel or centres file cannot be read, or does not hold what it should."""


class DeviceError(ColorcvError, RuntimeError):
    """The device asked for is not there, or failed."""


class ImageError(ColorcvError, ValueError):
    """What came is no usable picture, or a picture file cannot be read or written."""


class VideoError(ColorcvError, OSError):
    """A film cannot be read or written."""
