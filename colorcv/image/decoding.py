"""The bytes of a picture file, whatever its kind, to upright pixels with their metadata."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from .._opencv import opencv_version
from ..errors import ImageError
from .metadata import Metadata, extract, for_output, jpeg_segments, orientation, tiff_tags
from .tiff import count_pages, read_software
from .validation import validate_image

__all__ = ["ImageFile", "decode_image"]

logger = logging.getLogger(__name__)

Array: TypeAlias = npt.NDArray[Any]

# Width, height and the highest value of a PNM, between which there may be comments.
_PNM = re.compile(rb"P[2356](?:\s+(?:#[^\n]*\n\s*)*\d+){2}\s+(?:#[^\n]*\n\s*)*(\d{1,5})\s")
# Before 4.12 OpenCV writes through a pointer that a damaged header leaves unset (CVE-2025-53644).
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"


@dataclass(frozen=True)
class ImageFile:
    """An image read from a file.

    Attributes
    ----------
    pixels : (H, W), (H, W, 3) BGR or (H, W, 4) BGRA array
        Upright.
    metadata : Metadata
        To be written with a coloured result.
    name : str
        Name of the image in errors.
    software : str
        What wrote the file, as its EXIF or TIFF tag Software says; "" if it does not.
    pages : int
        Number of pages of a TIFF, of which `pixels` is the first; 1 for other formats.
    """

    pixels: Array
    metadata: Metadata
    name: str = "image"
    software: str = ""
    pages: int = 1


def decode_image(data: bytes, name: str) -> ImageFile:
    """What `read_image` gives, from the bytes of a file; `name` is what errors call it."""
    if not data:
        raise ImageError(f"{name} is empty")
    if len(data) >= 1 << 31:
        raise ImageError(f"{name} has {len(data)} bytes; OpenCV decodes up to 2 GB")
    if _is_truncated_jpeg(data):
        raise ImageError(f"{name} is cut short: this JPEG has no end; fetch or copy it again")
    metadata = extract(data)
    pixels = _to_full_range(_decode(data, name), _declared_max(data))
    if data.startswith((b"II*\0", b"MM\0*")):
        pixels = _tiff_pixels(data, name, pixels)
    elif _is_animated(data):
        logger.warning("%s is animated; its first frame is taken", name)
    elif data[4:12] == b"ftypavif" and (b"irot" in data[:4096] or b"imir" in data[:4096]):
        logger.warning("%s is an AVIF that asks to be turned, which OpenCV does not do", name)
    try:
        validate_image(pixels)
    except ImageError as err:
        raise ImageError(f"{name}: {err}") from err
    return ImageFile(
        _upright(pixels, orientation(metadata.exif)),
        for_output(metadata),
        name,
        software=read_software(metadata.exif or data),
        pages=max(1, count_pages(data)),
    )


def _decode(data: bytes, name: str) -> Array:
    if data.startswith(_JP2) and opencv_version() < (4, 12):
        raise ImageError(
            f"{name} is a JPEG 2000, which OpenCV {cv2.__version__} may crash on where it is "
            "damaged: install opencv-python 4.12 or newer, or save it as PNG"
        )
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as err:
        if "CV_IO_MAX_IMAGE" in (err.err or ""):
            raise ImageError(
                f"{name} is larger than OpenCV decodes ({err.err}); if you trust the file, give "
                "the command --max-pixels N, or set the environment variable "
                "OPENCV_IO_MAX_IMAGE_PIXELS (default 1073741824; also OPENCV_IO_MAX_IMAGE_WIDTH "
                "and _HEIGHT, 1048576) before starting"
            ) from err
        if err.code == cv2.Error.StsNoMem:
            raise ImageError(f"{name} does not fit into memory: {err.err}") from err
        raise ImageError(f"{name} cannot be decoded: {err.err or err}") from err
    if pixels is None:
        raise ImageError(
            f"{name} is no picture that this OpenCV ({cv2.__version__}) can read, or it is damaged "
            f"or cut short; its {len(data)} bytes begin with {data[:16]!r}"
        )
    return np.asarray(pixels)


def _declared_max(data: bytes) -> int | None:
    """What white is in files that say it and whose values OpenCV passes on as they are."""
    pnm = _PNM.match(data[:4096])
    if pnm:
        return int(pnm[1])
    if data[4:8] == b"ftyp":
        pos = data.find(b"av1C", 0, 4096)
        if 0 < pos < len(data) - 7:  # AV1 in ISOBMFF 2.3: high_bitdepth and twelve_bit
            return (1 << 8 + (data[pos + 6] >> 5 & 2) + (data[pos + 6] >> 4 & 2)) - 1
    return None


def _to_full_range(pixels: Array, declared_max: int | None) -> Array:
    """Values of 0..highest as the whole range of their integer dtype."""
    if declared_max is None or pixels.dtype not in (np.uint8, np.uint16):
        return pixels
    full = np.iinfo(pixels.dtype).max
    if not 0 < declared_max < full:
        return pixels
    table = np.rint(np.arange(declared_max + 1) * (full / declared_max)).astype(pixels.dtype)
    return np.asarray(np.take(table, pixels, mode="clip"))


def _is_truncated_jpeg(data: bytes) -> bool:
    """Whether a JPEG lacks its end; OpenCV 4.10 would fill the rest with grey and say nothing."""
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    # Thumbnails with ends of their own lie in segments, before the pixels.
    pixels = data.find(b"\xff\xda", max((end for _, _, end in jpeg_segments(data)), default=2))
    return pixels < 0 or data.find(b"\xff\xd9", pixels) < 0


def _tiff_pixels(data: bytes, name: str, pixels: Array) -> Array:
    tags, _ = tiff_tags(data)
    if (pages := count_pages(data)) > 1:
        logger.warning("%s has %d pages; only the first is read", name, pages)
    if tags.get(277) == 2:
        raise ImageError(
            f"{name} is a grey TIFF with alpha, of which OpenCV would lose the alpha; save it as "
            "PNG, or without alpha"
        )
    is_cmyk = tags.get(262) == 5  # comes as BGR with an alpha that is not in the file
    return pixels[..., :3] if is_cmyk and pixels.shape[2:] == (4,) else pixels


def _is_animated(data: bytes) -> bool:
    if data[:4] == b"GIF8":
        return b"NETSCAPE2.0" in data[:2048]
    return data[:4] in (b"RIFF", b"\x89PNG") and any(s in data[:128] for s in (b"ANIM", b"acTL"))


def _upright(pixels: Array, orientation: int) -> Array:
    """Turn a picture that EXIF's orientation says lies otherwise."""
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    # Across, down, both: what is left to mirror once it is transposed.
    flip_code = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip_code is None else np.asarray(cv2.flip(pixels, flip_code))
