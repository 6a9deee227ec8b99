"""`to_srgb`: apply the ICC profile of an image, so that all that follows sees sRGB."""

from __future__ import annotations

import numpy as np

from .._logging import logger
from .._typing import AnyArray
from ..color.icc import ProfileError, TableProfileError, color_space, parse, srgb_profile
from ..color.management import srgb_from_profile
from . import isobmff, pillow, tiff_layout
from .inspection import Inspection
from .metadata import Metadata

__all__ = ["embedded_profile", "to_srgb"]

_MAX_BYTES = 1 << 24  # the largest profiles in use, of CMYK, have 3 MB


def embedded_profile(found: Inspection, data: bytes, metadata: Metadata) -> bytes:
    """Return the ICC profile of an image file, or b"".

    Parameters
    ----------
    found : Inspection
        What `inspect` returned for the file.
    data : bytes
        Content of the file.
    metadata : Metadata
        What `extract` returned for it.
    """
    if found.format == "TIFF":
        return tiff_layout.profile(data)
    if found.format == "AVIF":
        return isobmff.avif_profile(data)
    if found.format == "JPEG 2000":
        return isobmff.jp2_profile(data)
    return metadata.icc


def to_srgb(pixels: AnyArray, profile: bytes, name: str) -> tuple[AnyArray, bytes]:
    """Convert pixels from the colours of a profile to sRGB.

    Parameters
    ----------
    pixels : (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA array
        uint8, uint16, or floats in 0..1.
    profile : bytes
        An ICC profile, or b"" for none.
    name : str
        Name of the image in warnings.

    Returns
    -------
    pixels : array of the same shape and dtype
    profile : bytes
        The profile to write with the result. b"" if there was none or it is not usable, which a
        warning says; the image's own if it is sRGB, or if it needs Pillow and that is missing.
    """
    if not profile:
        return pixels, b""
    space = color_space(profile)
    try:
        if len(profile) > _MAX_BYTES:
            raise ProfileError(f"it has {len(profile):,} bytes")
        parsed = parse(profile)
    except TableProfileError:
        return _apply_tables(pixels, profile, name)
    except ProfileError as err:
        return _ignore(pixels, name, str(err))
    if space == "GRAY" and not _is_grey(pixels):
        return _ignore(pixels, name, "it is for grey, and the image has colours")
    if parsed.is_srgb:
        return pixels, profile if space == "RGB" else srgb_profile()
    return srgb_from_profile(pixels, parsed), srgb_profile()


def _apply_tables(pixels: AnyArray, profile: bytes, name: str) -> tuple[AnyArray, bytes]:
    space = color_space(profile)
    if space not in ("RGB", "GRAY", "CMYK"):
        return _ignore(pixels, name, f"it is for {space}")
    if not pillow.is_installed():
        logger.warning(
            "%s has an ICC profile of tables for %s, which needs Pillow; without it, its lightness "
            'may be off by several L*: pip install "colorcv[color]"',
            name,
            space,
        )
        return pixels, profile if space == "RGB" else b""
    if space == "CMYK" or (space == "GRAY" and pixels.ndim == 3):
        return _ignore(pixels, name, f"it is for {space}, and the image is not")
    try:
        return pillow.apply_profile(pixels, profile), srgb_profile()
    except ProfileError as err:
        return _ignore(pixels, name, str(err))


def _ignore(pixels: AnyArray, name: str, reason: str) -> tuple[AnyArray, bytes]:
    logger.warning("%s: its ICC profile is ignored: %s", name, reason)
    return pixels, b""


def _is_grey(pixels: AnyArray) -> bool:
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return True
    blue, green, red = (pixels[..., channel] for channel in range(3))
    return np.array_equal(blue, green) and np.array_equal(green, red)
