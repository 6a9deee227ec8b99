"""`decode_image`: the bytes of an image file to upright pixels with metadata."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .._logging import logger
from .._typing import AnyArray
from ..color.icc import color_space
from ..errors import ImageError
from . import heif, opencv, pillow, profiles
from .inspection import Inspection, inspect
from .limits import TooManyPixelsError, check_pixels
from .metadata import Metadata, exif_orientation, extract, for_output, xmp_orientation
from .tiff import read_software
from .validation import validate_image

__all__ = ["ImageFile", "decode_image"]

# What a file of several images contains; cv2.imdecode returns the first.
_PARTS = {"TIFF": "page", "AVIF": "frame", "GIF": "frame", "PNG": "frame", "WebP": "frame"}


@dataclass(frozen=True)
class ImageFile:
    """An image read from a file.

    Attributes
    ----------
    pixels : (H, W), (H, W, 3) BGR or (H, W, 4) BGRA array
        Upright, in sRGB.
    metadata : Metadata
        Ready to be written with a coloured result, as for `read_image`.
    name : str
        Name of the image in errors and logs.
    software : str
        The tag Software of its EXIF or TIFF; "" if it has none.
    pages : int
        Number of pages of a TIFF, of which `pixels` is the first; 1 for other formats.
    """

    pixels: AnyArray
    metadata: Metadata
    name: str = "image"
    software: str = ""
    pages: int = 1


def decode_image(data: bytes, name: str, *, max_pixels: int | None = None) -> ImageFile:
    """Decode the bytes of an image file; see `read_image`.

    Parameters
    ----------
    data : bytes
        Content of the file.
    name : str
        Name of the file in errors and logs.
    max_pixels : int, optional
        The largest image that is decoded; by default ``COLORCV_MAX_PIXELS`` or 250 million.

    Returns
    -------
    ImageFile

    Raises
    ------
    TooManyPixelsError
        The image is larger than the limit.
    ImageError
        The data is not a supported image, or is damaged.
    """
    if not data:
        raise ImageError(f"{name} is empty")
    if len(data) >= 1 << 31:
        raise ImageError(f"{name} has {len(data):,} bytes; OpenCV decodes up to 2 GB")
    found = inspect(data, name, max_pixels)
    if found.images > 1:
        logger.warning(
            "%s has %d %ss; only the first is read", name, found.images, _PARTS[found.format]
        )
    pixels, metadata = _decode(found, data, name, max_pixels)
    pixels, profile = profiles.to_srgb(pixels, metadata.icc, name)
    return ImageFile(
        pixels,
        for_output(replace(metadata, icc=profile)),
        name,
        software=read_software(metadata.exif or data),
        pages=found.images if found.format == "TIFF" else 1,
    )


def _decode(
    found: Inspection, data: bytes, name: str, max_pixels: int | None
) -> tuple[AnyArray, Metadata]:
    """Return upright pixels, and the metadata with the profile that is still to be applied."""
    if found.format == "HEIF":
        return heif.read(data, name, max_pixels)
    metadata = extract(data)
    profile = profiles.embedded_profile(found, data, metadata)
    metadata = replace(metadata, icc=profile)
    # OpenCV converts CMYK without its profile.
    is_cmyk = color_space(profile) == "CMYK" and found.format in ("JPEG", "TIFF")
    if found.format in pillow.ONLY or (is_cmyk and pillow.is_installed()):
        return _decode_with_pillow(found, data, name, metadata, max_pixels)
    try:
        pixels, orientation = opencv.decode(found, name)
    except opencv.UnsupportedKindError as err:
        if found.format not in pillow.FORMATS or found.format in ("JPEG", "WebP"):
            raise
        if not pillow.is_installed():
            raise ImageError(f'{err}, or pip install "colorcv[color]" to read more kinds') from err
        try:
            return _decode_with_pillow(found, data, name, metadata, max_pixels)
        except TooManyPixelsError:
            raise
        except ImageError as second:  # damaged: the first error says so in the usual words
            raise err from second
    height, width = pixels.shape[:2]
    check_pixels(name, width, height, max_pixels)
    if orientation is None:
        orientation = exif_orientation(metadata.exif)
        orientation = xmp_orientation(metadata.xmp) if orientation == 1 else orientation
    try:
        validate_image(pixels)
    except ImageError as err:
        raise ImageError(f"{name}: {err}") from err
    return _upright(pixels, orientation), metadata


def _decode_with_pillow(
    found: Inspection, data: bytes, name: str, metadata: Metadata, max_pixels: int | None
) -> tuple[AnyArray, Metadata]:
    pixels, own = pillow.read(data, name, found.format, metadata.icc, max_pixels)
    return pixels, replace(metadata, exif=metadata.exif or own.exif, icc=own.icc)


def _upright(pixels: AnyArray, orientation: int) -> AnyArray:
    """Undo an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = np.asarray(cv2.transpose(pixels))
    # The flip that remains after transposing.
    flip_code = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip_code is None else np.asarray(cv2.flip(pixels, flip_code))
