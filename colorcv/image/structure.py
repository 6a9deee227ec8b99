"""Parsers of each image format: size and frames; check that lengths lie within the file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ImageError
from . import isobmff, tiff_layout
from .limits import check_pixels
from .metadata import jpeg_segments

__all__ = [
    "Inspection",
    "check_raw_size",
    "damaged",
    "read_gif",
    "read_jpeg",
    "read_jpeg_2000",
    "read_png",
    "read_pnm",
    "read_tiff",
    "read_webp",
]

# Deflate compresses at most 1032 to 1; each 8 x 8 block of a Huffman-coded JPEG takes at least a
# bit. A smaller file is truncated, and is refused before memory is allocated.
_DEFLATE_RATIO = 1032
_JPEG_PIXELS_PER_BYTE = 8 * 64
# A code of LZW has at most 12 bits and stands for less than 4096 pixels. The first image of a GIF
# may cover only a part of the screen, so a small screen is accepted in any case.
_GIF_PIXELS_PER_BYTE = 4096 * 8 // 12
_GIF_SMALL_SCREEN = 1 << 20


@dataclass(frozen=True)
class Inspection:
    """Format, size and number of images of an image file.

    Attributes
    ----------
    format : str
        ``"PNG"``, ``"JPEG"``, ...
    size_wh : (int, int)
        Columns and rows of the first image, before it is turned upright.
    images : int
        Pages of a TIFF, frames of an animation; 1 for all others.
    data : bytes
        The bytes to decode: the file, or the parts of it that the decoder needs.
    """

    format: str
    size_wh: tuple[int, int]
    images: int = 1
    data: bytes = b""


def read_png(data: bytes, name: str, max_pixels: int | None) -> Inspection:
    """Inspect a PNG; keep only the chunks that its pixels need."""
    kept, idat, frames = [data[:8]], 0, 1
    for chunk, start, end in _png_chunks(data, name):
        if chunk == b"IHDR" and kept[1:]:
            # OpenCV 4.14 takes the size from the last one.
            raise damaged(name, f"this PNG has a second IHDR, at byte {start}")
        if chunk == b"acTL" and end - start == 20:
            frames = max(1, int.from_bytes(data[start + 8 : start + 12], "big"))
        # Text, profiles and the further frames of an animation are left out.
        if chunk in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[start:end])
            idat += end - start - 12 if chunk == b"IDAT" else 0
    if data[12:16] != b"IHDR":
        raise damaged(name, "this PNG does not begin with IHDR")
    width, height, depth, color = struct.unpack_from(">LLBB", data, 16)
    check_pixels(name, width, height, max_pixels)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color, 1)
    if (width * channels * depth + 7) // 8 * height > idat * _DEFLATE_RATIO:
        raise damaged(name, f"its {idat} bytes of pixels are too few for {width}x{height}")
    return Inspection("PNG", (width, height), frames, b"".join(kept))


def _png_chunks(data: bytes, name: str) -> Iterator[tuple[bytes, int, int]]:
    start = 8
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        end = start + 12 + length
        chunk = data[start + 4 : start + 8]
        if end > len(data):
            raise damaged(
                name,
                f"chunk {chunk!r} claims {length} bytes, {max(0, len(data) - start - 12)} left",
            )
        yield chunk, start, end
        if chunk == b"IEND":
            return
        start = end
    raise damaged(name, "this PNG has no end")


def read_jpeg(data: bytes, name: str) -> Inspection:
    """Inspect a JPEG."""
    size = (0, 0)
    for marker, start, end in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if end - start < 6:
                raise damaged(name, "its frame header is too short")
            height, width = struct.unpack_from(">HH", data, start + 1)
            if marker < 0xC8 and width * height > len(data) * _JPEG_PIXELS_PER_BYTE:
                raise damaged(name, f"its {len(data)} bytes are too few for {width}x{height}")
            size = max(size, (width, height))
    # Thumbnails have end markers too, but lie in segments, before the pixels.
    scan = data.find(b"\xff\xda", max((end for _, _, end in jpeg_segments(data)), default=2))
    # OpenCV 4.10 fills a truncated JPEG with grey and reports nothing, so it is refused here.
    if scan < 0 or data.find(b"\xff\xd9", scan) < 0:
        raise damaged(name, "this JPEG has no end")
    return Inspection("JPEG", size, data=data)


def read_tiff(data: bytes, name: str) -> Inspection:
    """Inspect the first page of a TIFF; count its pages."""
    pages = tiff_layout.pages(data)
    if not pages:
        raise damaged(name, "this TIFF has no readable page")
    problem = tiff_layout.problem(data, pages[0])
    if problem:
        raise damaged(name, problem)
    return Inspection("TIFF", (pages[0].width, pages[0].height), len(pages), data)


def read_webp(data: bytes, name: str) -> Inspection:
    """Inspect a WebP."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise damaged(name, f"this WebP claims {end} bytes, the file has {len(data)}")
    size, frames, start = (0, 0), 0, 12
    while start + 8 <= end:
        chunk, length = (
            data[start : start + 4],
            int.from_bytes(data[start + 4 : start + 8], "little"),
        )
        body = start + 8
        if body + length > len(data):
            raise damaged(
                name, f"chunk {chunk!r} claims {length} bytes, {len(data) - body} are left"
            )
        if chunk == b"VP8X":
            width, height = data[body + 4 : body + 7], data[body + 7 : body + 10]
            size = 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")
        elif chunk == b"VP8 " and size == (0, 0):
            packed_wh = struct.unpack_from("<HH", data, body + 6)
            size = packed_wh[0] & 0x3FFF, packed_wh[1] & 0x3FFF
        elif chunk == b"VP8L" and size == (0, 0):
            (bits,) = struct.unpack_from("<L", data, body + 1)
            size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        frames += chunk == b"ANMF"
        start = body + length + length % 2
    return Inspection("WebP", size, max(1, frames), data)


def read_gif(data: bytes, name: str) -> Inspection:
    """Inspect a GIF."""
    size = struct.unpack_from("<HH", data, 6)
    start, frames, first_bytes = 13 + _color_table(data[10]), 0, 0
    while start < len(data) and data[start] != 0x3B:
        if data[start] == 0x2C:
            left, top, width, height = struct.unpack_from("<HHHH", data, start + 1)
            size = max(size[0], left + width), max(size[1], top + height)
            frames += 1
            start += 11 + _color_table(data[start + 9])
        elif data[start] == 0x21:
            start += 2
        elif frames:
            break  # trailing bytes after the last image
        else:
            raise damaged(name, f"unknown GIF block at byte {start}")
        while data[start]:  # IndexError: it ends within a block
            first_bytes += data[start] if frames == 1 else 0
            start += 1 + data[start]
        start += 1
    if not frames:
        raise damaged(name, "this GIF has no image")
    if size[0] * size[1] > max(_GIF_SMALL_SCREEN, first_bytes * _GIF_PIXELS_PER_BYTE):
        raise damaged(
            name, f"its {first_bytes} bytes of pixels are too few for {size[0]}x{size[1]}"
        )
    return Inspection("GIF", (size[0], size[1]), frames, data)


def _color_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def read_jpeg_2000(data: bytes, name: str) -> Inspection:
    """Inspect a JPEG 2000 file or codestream."""
    codestream = data.find(b"\xff\x4f\xff\x51")
    if codestream < 0:
        raise damaged(name, "this JPEG 2000 has no codestream")
    if codestream:
        isobmff.check_lengths(data, codestream, name)
    siz = struct.unpack_from(">LLLLLLLLH", data, codestream + 8)
    width, height, left, top, tile_width, tile_height, tile_left, tile_top, components = siz
    width, height = width - left, height - top
    if min(width, height, tile_width, tile_height) < 1 or not 1 <= components <= 4:
        raise damaged(name, "the size in its codestream is not valid")
    tiles = -(-(width + left - tile_left) // tile_width) * -(
        -(height + top - tile_top) // tile_height
    )
    if not 0 < tiles <= 65535 or tiles > len(data) // 12 + 1:
        raise damaged(name, f"its codestream claims {tiles} tiles")
    return Inspection("JPEG 2000", (width, height), data=data)


def read_pnm(data: bytes, name: str, match: re.Match[bytes]) -> Inspection:
    """Inspect a PBM, PGM or PPM; `match` is the match of its header."""
    kind, width, height = int(match[1]), int(match[3]), int(match[5])
    samples = width * height * (3 if kind in (3, 6) else 1)
    if kind == 4:
        samples = (width + 7) // 8 * height
    elif kind == 1:
        samples = width * height  # a bitmap's digits need no spaces between them
    check_raw_size(data, name, samples)
    return Inspection("PNM", (width, height), data=data)


def check_raw_size(data: bytes, name: str, needed: int, *, rle: bool = False) -> None:
    """Raise an ImageError if the file is too short for its raw or run-length encoded pixels."""
    # A run of RLE has at most 255 pixels in 2 bytes. "Delta" codes skip more, but are not in use.
    if needed > len(data) * (128 if rle else 1):
        raise damaged(name, f"its header asks for {needed} bytes of pixels")


def damaged(name: str, reason: str) -> ImageError:
    """Return the error about a file whose structure is not valid."""
    return ImageError(f"{name} is truncated or damaged: {reason}; copy or download it again")
