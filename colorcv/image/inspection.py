"""`inspect`: check a file's structure and size before OpenCV decodes it.

OpenCV's decoders trust lengths in a file: an 8 x 8 PNG of 61 bytes whose IDAT chunk claims 4 GB
made one allocate 4.4 GB. So every length is checked here against the file, and every size against
one limit. Only formats that `inspect` recognises reach a decoder.
"""

from __future__ import annotations

import re
import struct

from ..errors import ImageError
from . import heif, isobmff, pillow, tiff_layout
from .bmp import read_bmp, with_file_header
from .limits import check_pixels
from .structure import (
    Inspection,
    check_raw_size,
    damaged,
    read_gif,
    read_jpeg,
    read_jpeg_2000,
    read_png,
    read_pnm,
    read_tiff,
    read_webp,
)

__all__ = ["Inspection", "inspect"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
# Type, width and height of a PNM; comments may stand between them.
_PNM = re.compile(rb"P([1-6])\s*((?:#[^\n]*\n\s*)*)(\d{1,9})\s+((?:#[^\n]*\n\s*)*)(\d{1,9})\s")
_PAM = re.compile(rb"\n(WIDTH|HEIGHT|DEPTH)\s+(\d{1,9})")
# Common formats that OpenCV cannot read, or not safely: first bytes and name.
_UNSUPPORTED = [
    (b"#?RADIANCE", "Radiance HDR"), (b"#?RGBE", "Radiance HDR"), (b"v/1\x01", "OpenEXR"),
    (b"%PDF", "PDF"), (b"%!PS", "PostScript"), (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"DDS ", "DDS"), (b"icns", "Apple icon"), (b"SIMPLE  =", "FITS"), (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"), (b"\0\0\1\0", "Windows icon"), (b"<svg", "SVG"),
    (b"PF\n", "PFM"), (b"Pf\n", "PFM"),
]  # fmt: skip
# Formats that only Pillow reads: first bytes, name, and where the size is.
_PILLOW_ONLY = [
    (b"8BPS", "Photoshop", ">14xLL"), (b"qoif", "QOI", ">4xLL"), (b"\x01\xda", "SGI", ">6xHH"),
    (b"\n\5\1", "PCX", "<4xHHHH"),
]  # fmt: skip


def inspect(data: bytes, name: str, max_pixels: int | None = None) -> Inspection:
    """Check the structure of an encoded image.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        Name of the image in errors.
    max_pixels : int, optional
        Maximum number of pixels; by default ``COLORCV_MAX_PIXELS`` or 250 million.

    Returns
    -------
    Inspection

    Raises
    ------
    TooManyPixelsError
        The image has more pixels than the limit.
    ImageError
        The data is truncated, damaged, or of a format that is not supported.
    """
    try:
        found = _inspect(data, name, max_pixels)
    except (struct.error, IndexError, OverflowError) as err:
        raise damaged(name, "it ends within its header") from err
    width, height = found.size_wh
    if width < 1 or height < 1:
        raise damaged(name, f"its header says {width}x{height} pixels")
    check_pixels(name, width, height, max_pixels)
    return found


def _inspect(data: bytes, name: str, max_pixels: int | None) -> Inspection:
    if data.startswith(_PNG):
        return read_png(data, name, max_pixels)
    if data.startswith(b"\xff\xd8\xff"):
        return read_jpeg(data, name)
    if tiff_layout.is_tiff(data):
        return read_tiff(data, name)
    if data[:4] == b"RIFF" and b"WEBP".startswith(data[8:12]):
        return read_webp(data, name)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return read_gif(data, name)
    if data[:2] == b"BM":
        return read_bmp(data, name)
    if data.startswith((_JP2, b"\xff\x4f\xff\x51")):
        return read_jpeg_2000(data, name)
    if data[4:8] == b"ftyp":
        return _avif_or_heif(data, name)
    if data[:4] == b"(\0\0\0" and data[12:14] == b"\1\0":
        return read_bmp(with_file_header(data), name)
    if data[:4] == b"\x59\xa6\x6a\x95":
        width, height, depth = struct.unpack_from(">LLL", data, 4)
        check_raw_size(data, name, width * height * depth // 8, rle=data[20:24] == b"\0\0\0\2")
        return Inspection("Sun raster", (width, height), data=data)
    pnm = _PNM.match(data[: 1 << 16])
    if pnm:
        return read_pnm(data, name, pnm)
    if data[:3] == b"P7\n":
        fields = {key: int(value) for key, value in _PAM.findall(data[:4096])}
        size = fields.get(b"WIDTH", 0), fields.get(b"HEIGHT", 0)
        check_raw_size(data, name, size[0] * size[1] * fields.get(b"DEPTH", 1))
        return Inspection("PAM", size, data=data)
    for start, kind, layout in _PILLOW_ONLY:
        if data.startswith(start) and pillow.is_installed():
            return _pillow_only(data, name, kind, struct.unpack_from(layout, data))
    raise _unsupported(data, name)


def _avif_or_heif(data: bytes, name: str) -> Inspection:
    brands = {data[start : start + 4] for start in range(8, min(isobmff.size_of(data, 0), 256), 4)}
    if not brands & {b"avif", b"avis"}:
        if not (_is_heif(data) and heif.is_installed()):
            raise _unsupported(data, name)
        return Inspection("HEIF", isobmff.image_size(data, name), data=data)
    size = isobmff.image_size(data, name)
    return Inspection("AVIF", size, isobmff.frame_count(data) if b"avis" in brands else 1, data)


def _is_heif(data: bytes) -> bool:
    return data[8:11] in (b"hei", b"hev", b"mif", b"msf")


def _pillow_only(data: bytes, name: str, kind: str, numbers: tuple[int, ...]) -> Inspection:
    if kind == "PCX":
        left, top, right, bottom = numbers
        numbers = right - left + 1, bottom - top + 1
    size = (numbers[1], numbers[0]) if kind == "Photoshop" else (numbers[0], numbers[1])
    # Whether a byte holds one pixel or eight: the depth of a PSD, the bits of a PCX.
    is_bitmap = data[23:24] == b"\1" if kind == "Photoshop" else kind == "PCX" and data[3] == 1
    check_raw_size(data, name, size[0] * size[1] // (8 if is_bitmap else 1), rle=True)
    return Inspection(kind, size, data=data)


def _unsupported(data: bytes, name: str) -> ImageError:
    kind = next((kind for start, kind in _UNSUPPORTED if data.startswith(start)), None)
    if data[4:8] == b"ftyp" and not _is_heif(data):
        kind = "MP4 or similar video"
    elif data[4:8] == b"ftyp":
        return ImageError(
            f'{name} is HEIC, which OpenCV does not read; pip install "colorcv[heif]", or convert '
            "it to PNG, JPEG or TIFF first (for example: magick photo.heic photo.jpg)"
        )
    for start, optional, _ in _PILLOW_ONLY:
        if data.startswith(start):
            return ImageError(
                f'{name} is {optional}, which OpenCV does not read; pip install "colorcv[color]", '
                "or convert it to PNG, JPEG or TIFF first"
            )
    if kind:
        return ImageError(
            f"{name} is {kind}, which is not supported; convert it to PNG, JPEG or TIFF first"
        )
    return ImageError(
        f"{name} is not an image file that colorcv can read; its {len(data)} bytes begin with "
        f"{data[:16]!r}; if it is an image, convert it to PNG first"
    )
