"""Decode image files with OpenCV, and correct what it reads differently from what is stored."""

from __future__ import annotations

import re

import cv2
import numpy as np

from .._opencv import opencv_version
from .._typing import AnyArray
from ..color.management import srgb_from_lab
from ..errors import ImageError
from . import bmp, isobmff, tiff_layout
from .inspection import Inspection
from .metadata import exif_orientation
from .structure import damaged
from .tiff_deflate import deflate_problem

__all__ = ["UnsupportedKindError", "decode"]

# The maximum value of a PNM, after its width and height; comments may stand between them.
_PNM = re.compile(rb"P[2356](?:\s+(?:#[^\n]*\n\s*)*\d+){2}\s+(?:#[^\n]*\n\s*)*(\d{1,5})\s")
# Values of PhotometricInterpretation: a* and b* are signed, or (ICC) begin at -128.
_CIELAB, _ICCLAB = 8, 9
_LAB = (_CIELAB, _ICCLAB)


class UnsupportedKindError(ImageError):
    """OpenCV does not read this file; another library may."""


def decode(found: Inspection, name: str) -> tuple[AnyArray, int | None]:
    """Decode the first image of a file.

    Parameters
    ----------
    found : Inspection
        What `inspect` returned for the file.
    name : str
        Name of the file in errors.

    Returns
    -------
    pixels : (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA array
        Straight alpha; the full range of an integer dtype.
    orientation : int or None
        The EXIF orientation, 1 to 8, that is still to be applied; None if the file's metadata says
        it.

    Raises
    ------
    UnsupportedKindError
        OpenCV does not read this kind of the format, or the file is damaged.
    ImageError
        OpenCV does not read the file safely, or the file is too large for it.
    """
    orientation: int | None = None
    if found.format == "TIFF":
        pixels, orientation = _decode_tiff(found, name)
    else:
        pixels = _decode(found, name)
    if found.format == "PNG":
        pixels = _apply_transparent_grey(pixels, found.data)
    elif found.format == "AVIF":
        orientation = isobmff.orientation(found.data)
    elif found.format == "BMP":
        pixels = _drop_unused_alpha(pixels)
    return _to_full_range(pixels, _white(found)), orientation


def _decode(found: Inspection, name: str, *, has_palette: bool = False) -> AnyArray:
    if found.format == "JPEG 2000" and opencv_version() < (4, 12):
        # Before 4.12 a damaged header leaves a pointer unset (CVE-2025-53644).
        raise UnsupportedKindError(
            f"{name} is a JPEG 2000, on which OpenCV {cv2.__version__} may crash; install "
            "opencv-python 4.12 or newer, or convert it to PNG"
        )
    if found.format == "BMP" and bmp.has_unusual_masks(found.data):
        raise UnsupportedKindError(
            f"{name}: OpenCV cannot read the channels of this BMP; save it as PNG with another "
            "program"
        )
    # OpenCV converts the palette of an OS/2 bitmap or a 1-bit TIFF to grey, with the weights of
    # video luma, so these are decoded as colour.
    has_palette |= found.format == "BMP" and bmp.has_palette_of_os2(found.data)
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
        raise UnsupportedKindError(f"{name} cannot be decoded: {err.err or err}") from err
    if pixels is None:
        raise UnsupportedKindError(
            f"{name} cannot be decoded by OpenCV {cv2.__version__}: this {found.format} is damaged "
            "or of a kind that it does not support; save it as PNG with another program"
        )
    return np.asarray(pixels)


def _decode_tiff(found: Inspection, name: str) -> tuple[AnyArray, int]:
    """Return the pixels of the first page, and the orientation that is still to be applied."""
    page = tiff_layout.pages(found.data)[0]
    if problem := deflate_problem(found.data, page):
        raise damaged(name, problem)
    photometric = page.get(tiff_layout.PHOTOMETRIC, 1)
    if photometric in _LAB:
        return _decode_lab(found, name, page), exif_orientation(found.data)
    if page.get(tiff_layout.SAMPLE_FORMAT, 1) == 2:
        raise ImageError(
            f"{name}: this TIFF stores signed numbers, whose black and white are not known; "
            "save it as PNG with another program"
        )
    extra = page.get(tiff_layout.EXTRA_SAMPLES, 0)  # 1: alpha, premultiplied; 2: alpha
    is_grey_alpha = photometric in (0, 1) and page.samples == 2
    is_premultiplied = page.samples == 4 and photometric == 2 and extra == 1
    is_straight = page.samples == 4 and photometric == 2 and extra == 2 and page.bits == 8
    is_planar = page.is_planar and page.bits > 8
    orientation = 1  # OpenCV turns TIFFs upright itself
    if is_grey_alpha or is_straight or is_planar:
        samples = tiff_layout.read_samples(found.data, page)
        if samples is None and (is_grey_alpha or is_planar):
            raise UnsupportedKindError(
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


def _decode_lab(found: Inspection, name: str, page: tiff_layout.Page) -> AnyArray:
    """Decode CIE L*a*b* (TIFF 6.0, section 23) at its bit depth; OpenCV converts it to 8 bits."""
    samples = tiff_layout.read_samples(found.data, page)
    if samples is None or samples.dtype not in (np.uint8, np.uint16) or samples.shape[2] < 3:
        raise UnsupportedKindError(
            f"{name}: OpenCV cannot read this TIFF (CIE L*a*b*); save it as PNG"
        )
    full, unit = (255, 1) if samples.dtype == np.uint8 else (65535, 256)
    lab = samples[..., :3].astype(np.float32)
    lab[..., 0] *= np.float32(100 / full)
    if page.get(tiff_layout.PHOTOMETRIC, 1) == _CIELAB:
        lab[..., 1:] = samples[..., 1:3].view(f"i{samples.itemsize}")
    else:
        lab[..., 1:] -= np.float32(128 * unit)
    lab[..., 1:] /= np.float32(unit)
    return srgb_from_lab(lab, samples.dtype.type)


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


def _white(found: Inspection) -> tuple[int, ...] | None:
    """Return white, of all channels or each, where OpenCV does not scale it to the full range."""
    data = found.data
    if found.format == "BMP":
        return bmp.white(data)
    if found.format == "JPEG 2000":  # Ssiz of the first component: the sign, and bits - 1
        pos = data.find(b"\xff\x4f\xff\x51") + 42
        return ((1 << (data[pos] & 127) + 1) - 1,)
    pnm = _PNM.match(data[:4096]) if found.format == "PNM" else None
    if pnm:
        return (int(pnm[1]),)
    if found.format == "AVIF":
        pos = data.find(b"av1C", 0, 4096)
        if 0 < pos < len(data) - 7:  # AV1 in ISOBMFF 2.3: high_bitdepth and twelve_bit
            return ((1 << 8 + (data[pos + 6] >> 5 & 2) + (data[pos + 6] >> 4 & 2)) - 1,)
    return None


def _to_full_range(pixels: AnyArray, white: tuple[int, ...] | None) -> AnyArray:
    """Scale values of 0..white to the whole range of their integer dtype."""
    if white is None or pixels.dtype not in (np.uint8, np.uint16):
        return pixels
    full = np.iinfo(pixels.dtype).max
    if not 0 < min(white) <= max(white) < full:
        return pixels
    tables = [
        np.rint(np.arange(highest + 1) * (full / highest)).astype(pixels.dtype) for highest in white
    ]
    if len(tables) == 1:
        return np.asarray(np.take(tables[0], pixels, mode="clip"))
    channels = [np.take(t, pixels[..., c], mode="clip") for c, t in enumerate(tables)]
    return np.dstack(channels)
