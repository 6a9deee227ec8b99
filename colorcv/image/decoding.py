"""`decode_image`: the bytes of an image file to upright pixels with metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np

from .._logging import logger
from .._opencv import opencv_version
from .._typing import AnyArray
from ..errors import ImageError
from . import isobmff, tiff_layout
from .inspection import Inspection, inspect
from .limits import check_pixels
from .metadata import Metadata, exif_orientation, extract, for_output, xmp_orientation
from .tiff import read_software
from .validation import validate_image

__all__ = ["ImageFile", "decode_image"]

# The maximum value of a PNM, after its width and height; comments may stand between them.
_PNM = re.compile(rb"P[2356](?:\s+(?:#[^\n]*\n\s*)*\d+){2}\s+(?:#[^\n]*\n\s*)*(\d{1,5})\s")
# What a file of several images contains; cv2.imdecode returns the first.
_PARTS = {"TIFF": "page", "AVIF": "frame", "GIF": "frame", "PNG": "frame", "WebP": "frame"}


@dataclass(frozen=True)
class ImageFile:
    """An image read from a file.

    Attributes
    ----------
    pixels : (H, W), (H, W, 3) BGR or (H, W, 4) BGRA array
        Upright.
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
    metadata = extract(data)
    orientation = exif_orientation(metadata.exif)
    if orientation == 1 and found.format in ("JPEG", "PNG", "WebP"):
        orientation = xmp_orientation(metadata.xmp)
    if found.format == "TIFF":
        pixels, orientation = _decode_tiff(found, name)
    else:
        pixels = _decode(found, name)
    height, width = pixels.shape[:2]
    check_pixels(name, width, height, max_pixels)
    if found.format == "PNG":
        pixels = _apply_transparent_grey(pixels, found.data)
    elif found.format == "AVIF":
        orientation = isobmff.orientation(data)
    elif found.format == "BMP":
        pixels = _drop_unused_alpha(pixels)
    pixels = _to_full_range(pixels, _declared_max(found))
    try:
        validate_image(pixels)
    except ImageError as err:
        raise ImageError(f"{name}: {err}") from err
    return ImageFile(
        _upright(pixels, orientation),
        for_output(metadata),
        name,
        software=read_software(metadata.exif or data),
        pages=found.images if found.format == "TIFF" else 1,
    )


def _decode(found: Inspection, name: str, *, has_palette: bool = False) -> AnyArray:
    if found.format == "JPEG 2000" and opencv_version() < (4, 12):
        # Before 4.12 a damaged header leaves a pointer unset (CVE-2025-53644).
        raise ImageError(
            f"{name} is a JPEG 2000, on which OpenCV {cv2.__version__} may crash; install "
            "opencv-python 4.12 or newer, or convert it to PNG"
        )
    # OpenCV converts the palette of an OS/2 bitmap or a 1-bit TIFF to grey, with the weights of
    # video luma, so these are decoded as colour.
    has_palette |= found.format == "BMP" and found.data[14:18] == b"\x0c\0\0\0"
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    flags = flags if has_palette else cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(np.frombuffer(found.data, np.uint8), flags)
    except cv2.error as err:
        if "CV_IO_MAX_IMAGE" in (err.err or ""):
            raise ImageError(
                f"{name} is larger than OpenCV decodes ({err.err}); if you trust the file, set the "
                "environment variables OPENCV_IO_MAX_IMAGE_PIXELS (default 1,073,741,824), "
                "OPENCV_IO_MAX_IMAGE_WIDTH and OPENCV_IO_MAX_IMAGE_HEIGHT (1,048,576) before "
                "starting"
            ) from err
        if err.code == cv2.Error.StsNoMem:
            raise ImageError(f"{name} does not fit in memory: {err.err}") from err
        raise ImageError(f"{name} cannot be decoded: {err.err or err}") from err
    if pixels is None:
        raise ImageError(
            f"{name} cannot be decoded by OpenCV {cv2.__version__}: this {found.format} is damaged "
            "or of a kind that it does not support; save it as PNG with another program"
        )
    return np.asarray(pixels)


def _decode_tiff(found: Inspection, name: str) -> tuple[AnyArray, int]:
    """Return the pixels of the first page, and the orientation that is still to be applied."""
    page = tiff_layout.pages(found.data)[0]
    photometric = page.get(tiff_layout.PHOTOMETRIC, 1)
    extra = page.get(tiff_layout.EXTRA_SAMPLES, 0)  # 1: alpha, premultiplied; 2: alpha
    is_grey_alpha = photometric in (0, 1) and page.samples == 2
    is_premultiplied = page.samples == 4 and photometric == 2 and extra == 1
    is_straight = page.samples == 4 and photometric == 2 and extra == 2 and page.bits == 8
    is_planar = page.is_planar and page.bits > 8
    orientation = 1  # OpenCV turns TIFFs upright itself
    if is_grey_alpha or is_straight or is_planar:
        samples = tiff_layout.read_samples(found.data, page)
        if samples is None and (is_grey_alpha or is_planar):
            raise ImageError(
                f"{name}: OpenCV cannot read this TIFF ({page.samples} samples of {page.bits} "
                f"bits, {'planar' if page.is_planar else 'interleaved'}); save it as PNG, or as "
                "an uncompressed TIFF with interleaved samples"
            )
        if samples is not None:
            pixels = _bgr_from_samples(samples)
            orientation = exif_orientation(found.data)
            inverted = photometric == 0
    if not (is_grey_alpha or is_straight or is_planar) or samples is None:
        pixels = _decode(found, name, has_palette=photometric == 3)
        # OpenCV inverts WhiteIsZero pages of 1 and 8 bits, but not those of more.
        inverted = photometric == 0 and page.bits > 8
        if photometric == 5 and pixels.shape[2:] == (4,):
            pixels = pixels[..., :3]  # CMYK, to which OpenCV adds an alpha
    if inverted and pixels.dtype.kind in "uf":
        white = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else pixels.dtype.type(1)
        color = pixels[..., :3] if pixels.ndim == 3 else pixels
        np.subtract(white, color, out=color)
    if is_premultiplied and pixels.shape[2:] == (4,):
        pixels = _straight_alpha(pixels)
    return pixels, orientation


def _bgr_from_samples(samples: AnyArray) -> AnyArray:
    """Reorder grey, grey with alpha, RGB or RGBA samples for OpenCV; drop further samples."""
    channels = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0]}.get(samples.shape[2], [2, 1, 0, 3])
    result: AnyArray = np.ascontiguousarray(samples[..., channels])
    return np.asarray(result[..., 0]) if len(channels) == 1 else result


def _straight_alpha(pixels: AnyArray) -> AnyArray:
    """Divide premultiplied colours by their alpha."""
    full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    result: AnyArray = pixels.copy()
    for row, out in zip(pixels, result, strict=True):  # by rows, to keep memory low
        alpha = row[:, 3:].astype(np.float64)
        color = np.divide(row[:, :3] * float(full), alpha, out=np.zeros((len(row), 3)),
                          where=alpha > 0)  # fmt: skip
        color = np.minimum(color, full)
        out[:, :3] = np.rint(color) if pixels.dtype.kind == "u" else color
    return result


def _apply_transparent_grey(pixels: AnyArray, png: bytes) -> AnyArray:
    """Add the alpha of the tRNS chunk of a grey PNG, which OpenCV ignores."""
    depth, color = png[24], png[25]
    start = png.find(b"tRNS", 33, png.find(b"IDAT"))
    if color != 0 or start < 0 or pixels.ndim != 2:
        return pixels
    value = int.from_bytes(png[start + 4 : start + 6], "big") & (1 << depth) - 1
    if depth < 8:  # OpenCV scales 1, 2 and 4 bits to 0..255
        value = value * 255 // ((1 << depth) - 1)
    full = np.iinfo(pixels.dtype).max
    alpha = np.where(pixels == value, 0, full).astype(pixels.dtype)
    return np.dstack((pixels, pixels, pixels, alpha))


def _drop_unused_alpha(pixels: AnyArray) -> AnyArray:
    """Remove the fourth channel of a 32-bit bitmap if it is 0 or 255 throughout: not alpha."""
    if pixels.shape[2:] == (4,) and (alpha := pixels[..., 3]).min() == alpha.max() in (0, 255):
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR))
    return pixels


def _declared_max(found: Inspection) -> int | None:
    """Return the value of white in formats where OpenCV does not scale it to the full range."""
    data = found.data
    pnm = _PNM.match(data[:4096]) if found.format == "PNM" else None
    if pnm:
        return int(pnm[1])
    if found.format == "AVIF":
        pos = data.find(b"av1C", 0, 4096)
        if 0 < pos < len(data) - 7:  # AV1 in ISOBMFF 2.3: high_bitdepth and twelve_bit
            return (1 << 8 + (data[pos + 6] >> 5 & 2) + (data[pos + 6] >> 4 & 2)) - 1
    return None


def _to_full_range(pixels: AnyArray, declared_max: int | None) -> AnyArray:
    """Scale values of 0..declared_max to the whole range of their integer dtype."""
    if declared_max is None or pixels.dtype not in (np.uint8, np.uint16):
        return pixels
    full = np.iinfo(pixels.dtype).max
    if not 0 < declared_max < full:
        return pixels
    table = np.rint(np.arange(declared_max + 1) * (full / declared_max)).astype(pixels.dtype)
    return np.asarray(np.take(table, pixels, mode="clip"))


def _upright(pixels: AnyArray, orientation: int) -> AnyArray:
    """Undo an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = np.asarray(cv2.transpose(pixels))
    # The flip that remains after transposing.
    flip_code = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip_code is None else np.asarray(cv2.flip(pixels, flip_code))
