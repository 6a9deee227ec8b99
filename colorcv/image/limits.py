"""`check_pixels`: the limit of the size of image files, which protects the memory."""

from __future__ import annotations

import os

from ..errors import ImageError, OptionError

__all__ = ["MAX_PIXELS", "TooManyPixelsError", "check_pixels", "default_limit"]

# A file of 50 kB can decompress to gigabytes; colouring 250 million pixels takes about 2 GB.
MAX_PIXELS = 250_000_000


class TooManyPixelsError(ImageError):
    """An image file has more pixels than the limit."""

    def __init__(self, name: str, width: int, height: int, limit: int) -> None:
        super().__init__(
            f"{name} has {width}x{height} pixels, more than the limit of {limit:,}; if you trust "
            f"the file, set the environment variable COLORCV_MAX_PIXELS={width * height}"
        )
        self.name, self.width, self.height, self.limit = name, width, height, limit

    def __reduce__(self) -> tuple[type, tuple[str, int, int, int]]:
        return type(self), (self.name, self.width, self.height, self.limit)


def check_pixels(name: str, width: int, height: int, max_pixels: int | None = None) -> None:
    """Raise an error if an image has more pixels than the limit.

    Parameters
    ----------
    name : str
        Name of the image in the error.
    width, height : int
        Size in pixels.
    max_pixels : int, optional
        The limit; by default ``COLORCV_MAX_PIXELS``, or `MAX_PIXELS` if that is not set.

    Raises
    ------
    TooManyPixelsError
        The image has more pixels than the limit.
    OptionError
        ``COLORCV_MAX_PIXELS`` is not a positive integer.
    """
    limit = default_limit() if max_pixels is None else max_pixels
    if width * height > limit:
        raise TooManyPixelsError(name, width, height, limit)


def default_limit() -> int:
    """Return ``COLORCV_MAX_PIXELS``, or `MAX_PIXELS`; OptionError if it is not a number."""
    text = os.environ.get("COLORCV_MAX_PIXELS", "")
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) < 1:
        raise OptionError(f"COLORCV_MAX_PIXELS must be a positive integer, got {text!r}")
    return int(text)
