"""Read HEIC and HEIF photos with pillow-heif, which is optional."""

from __future__ import annotations

import importlib.util
from typing import Any

import cv2
import numpy as np

from .._logging import logger
from .._typing import AnyArray
from ..errors import ImageError
from .limits import check_pixels
from .metadata import Metadata

__all__ = ["is_installed", "read"]

# Transfer characteristics of ITU-T H.273 whose white is brighter than paper: PQ and HLG.
_HDR = (16, 18)


def is_installed() -> bool:
    """Return True if pillow-heif can be imported."""
    return importlib.util.find_spec("pillow_heif") is not None


def read(data: bytes, name: str, max_pixels: int | None = None) -> tuple[AnyArray, Metadata]:
    """Read the primary image of a file: upright, at its bit depth, with its alpha.

    Parameters
    ----------
    data : bytes
        Content of the file.
    name : str
        Name of the file in errors.
    max_pixels : int, optional
        As for `decode_image`.

    Returns
    -------
    pixels : (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA array of uint8 or uint16
    metadata : Metadata

    Raises
    ------
    TooManyPixelsError
        The image is larger than the limit.
    ImageError
        The file cannot be decoded.
    """
    import pillow_heif

    try:
        opened = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
        image = opened[opened.primary_index]
        width, height = image.size
        check_pixels(name, width, height, max_pixels)
        pixels = np.array(image)
    except ImageError:
        raise
    except Exception as err:  # libheif reports through many types
        raise ImageError(
            f"{name} cannot be decoded by pillow-heif {pillow_heif.__version__}: {err}; copy it "
            "again, or convert it to JPEG or PNG"
        ) from err
    info: dict[str, Any] = dict(image.info)
    pixels = _full_range(pixels, int(info.get("bit_depth", 8)))
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    elif pixels.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
        pixels = np.asarray(cv2.cvtColor(pixels, code))
    nclx = info.get("nclx_profile") or {}
    if nclx.get("transfer_characteristics") in _HDR and not info.get("icc_profile"):
        logger.warning("%s is an HDR photo; its lightness is read as if it were not", name)
    exif = (info.get("exif") or b"").removeprefix(b"Exif\0\0")
    return pixels, Metadata(exif, info.get("icc_profile") or b"", info.get("xmp") or b"")


def _full_range(pixels: AnyArray, bits: int) -> AnyArray:
    """Scale samples of 10 or 12 bits, which libheif shifts to the top of 16, to all of 16."""
    if pixels.dtype != np.uint16 or not 8 < bits < 16:
        return pixels
    table = np.rint(np.arange(1 << bits) * (65535 / ((1 << bits) - 1))).astype(np.uint16)
    return np.asarray(table[pixels >> (16 - bits)])
