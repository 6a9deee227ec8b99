"""Pages of a TIFF file, and the sample layouts that OpenCV reads wrongly.

OpenCV's TIFF decoder (4.14 and 5.0) returns uninitialised memory for planar samples above 8 bits,
leaves out alpha beside grey, and multiplies 8-bit colours by their alpha. `read_samples` rewrites
the directory of such a page, so that each plane, or each row of interleaved samples, is a grey
image, which OpenCV decodes unchanged. References are to TIFF 6.0 (Adobe, 1992).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .._typing import AnyArray

__all__ = ["Page", "is_tiff", "page_data", "pages", "problem", "profile", "read_samples"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, STRIP_SIZES, PLANAR = 273, 274, 277, 279, 284
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 317, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
_NEW_SUBFILE_TYPE, _FILL_ORDER, _ROWS_PER_STRIP, PROFILE = 254, 266, 278, 34675

# The tags that are read: a damaged one could have as many values as the file has bytes.
_READ = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION, SAMPLES}
    | {STRIP_SIZES, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES}
    | {EXTRA_SAMPLES, SAMPLE_FORMAT, _NEW_SUBFILE_TYPE, _FILL_ORDER, _ROWS_PER_STRIP}
)
_TYPES = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q"}
_MAX_VALUES = 1 << 20  # of one tag: strips or tiles
_MAX_PAGES = 10_000
# Codecs that compress bytes whatever their meaning: none, LZW, Deflate (two numbers), PackBits.
_BYTE_CODECS = (1, 5, 8, 32773, 32946)
# Compressions that libtiff knows. For any other number OpenCV returns a black image, not an error.
_KNOWN_CODECS = {
    *(1, 2, 3, 4, 5, 6, 7, 8, 32766, 32771, 32773, 32809, 32909, 32946),
    *(34661, 34676, 34677, 34887, 34925, 50000, 50001),
}  # fmt: skip
# Bytes of pixels that a byte of the file gives at most: LZW codes of 12 bits stand for less than
# 4096 bytes, Deflate compresses 1032 to 1, PackBits 128 to 2; an 8 x 8 block of JPEG takes at least
# a bit, and of three channels two may be a quarter of the size. OpenCV allocates them in advance.
_MAX_RATIO = {1: 1, 5: 4096 * 8 // 12, 7: 64 * 8 * 2, 8: 1032, 32773: 64, 32946: 1032}


@dataclass(frozen=True)
class Page:
    """One image file directory: its place, byte order, and tags of integers."""

    offset: int
    order: str  # "<" or ">", as for struct
    is_big: bool  # BigTIFF
    tags: dict[int, tuple[int, ...]]  # of the profile: its place and size

    def get(self, tag: int, default: int) -> int:
        """Return a tag's first value."""
        return self.tags.get(tag, (default,))[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.get(WIDTH, 0)

    @property
    def height(self) -> int:
        """Rows."""
        return self.get(HEIGHT, 0)

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return self.get(BITS, 1)

    @property
    def samples(self) -> int:
        """Samples of a pixel."""
        return self.get(SAMPLES, 1)

    @property
    def is_planar(self) -> bool:
        """True if each sample has a plane of its own."""
        return self.get(PLANAR, 1) == 2 and self.samples > 1

    @property
    def blocks(self) -> tuple[int, int]:
        """The tags of the offsets and sizes of strips or tiles."""
        is_tiled = TILE_OFFSETS in self.tags
        return (TILE_OFFSETS, TILE_SIZES) if is_tiled else (STRIP_OFFSETS, STRIP_SIZES)


def is_tiff(data: bytes) -> bool:
    """Return True if the data begins as TIFF or BigTIFF."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def pages(data: bytes) -> list[Page]:
    """Return the directories of full-size pages; stop at a damaged one."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    found: list[Page] = []
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack_from(order + ("Q" if is_big else "L"), data, 8 if is_big else 4)
        while offset and offset not in seen and len(seen) < _MAX_PAGES:
            seen.add(offset)
            tags, next_offset = _directory(data, offset, order, is_big)
            # Bit 0 of NewSubfileType (254) marks a smaller copy of another page, bit 2 a mask.
            if not (found and tags.get(_NEW_SUBFILE_TYPE, (0,))[0] & 5):
                found.append(Page(offset, order, is_big, tags))
            offset = next_offset
    except (struct.error, MemoryError, OverflowError):  # OverflowError: offsets above 2**63
        pass
    return found


def profile(data: bytes) -> bytes:
    """Return the ICC profile of the first page, or b""."""
    first = pages(data)[:1]
    if not first:
        return b""
    start, size = first[0].tags.get(PROFILE, (0, 0))
    return data[start : start + size] if start + size <= len(data) else b""


def _directory(
    data: bytes, offset: int, order: str, is_big: bool
) -> tuple[dict[int, tuple[int, ...]], int]:
    count_type, entry, pointer = ("Q", 20, "Q") if is_big else ("H", 12, "L")
    (count,) = struct.unpack_from(order + count_type, data, offset)
    start = offset + struct.calcsize(order + count_type)
    end = start + entry * count
    (next_offset,) = struct.unpack_from(order + pointer, data, end)
    tags: dict[int, tuple[int, ...]] = {}
    inline = entry - 4 - struct.calcsize(order + pointer)
    for pos in range(start, end, entry):
        tag, kind, number = struct.unpack_from(order + "HH" + pointer, data, pos)
        if tag == PROFILE:
            tags[PROFILE] = (
                struct.unpack_from(order + pointer, data, pos + entry - inline)[0],
                number,
            )
        if tag not in _READ or kind not in _TYPES or not 0 < number <= min(_MAX_VALUES, len(data)):
            continue
        values = f"{order}{number}{_TYPES[kind]}"
        place = pos + entry - inline
        if struct.calcsize(values) > inline:
            (place,) = struct.unpack_from(order + pointer, data, place)
        if tag not in tags and place + struct.calcsize(values) <= len(data):  # libtiff: the first
            tags[tag] = struct.unpack_from(values, data, place)
    return tags, int(next_offset)


def problem(data: bytes, page: Page) -> str:
    """Return why a page cannot be decoded safely, or an empty string."""
    offset_tag, size_tag = page.blocks
    offsets, sizes = page.tags.get(offset_tag, ()), page.tags.get(size_tag, ())
    if not offsets:
        return "a page without pixels"
    if page.samples > 16 or page.bits > 64:
        return f"a page of {page.samples} samples of {page.bits} bits"
    for offset, size in zip(offsets, sizes, strict=False):
        if offset + size > len(data):
            return f"{size} bytes of pixels at byte {offset}, the file has {len(data)}"
    compression = page.get(COMPRESSION, 1)
    if compression not in _KNOWN_CODECS:
        return f"compression {compression}, which TIFF does not define"
    needed = (page.width * page.bits + 7) // 8 * page.height * page.samples
    # Some writers state wrong sizes, so the length of the file is compared too.
    stored = max(sum(sizes), len(data))
    if compression in _MAX_RATIO and needed > stored * _MAX_RATIO[compression]:
        return f"{needed} bytes of pixels, the file has {len(data)}"
    if compression in (2, 3, 4, 32771) and page.height > stored * 8:  # a row takes at least a bit
        return f"{page.height} rows of pixels in {len(data)} bytes"
    tile_pixels = page.get(TILE_WIDTH, 0) * page.get(TILE_HEIGHT, 0)
    if tile_pixels > max(1 << 22, 4 * page.width * page.height):
        return f"tiles of {tile_pixels} pixels"
    return ""


def page_data(data: bytes, page: Page) -> bytes:
    """Return the file with this page as its first."""
    changed = bytearray(data)
    if page.is_big:
        struct.pack_into(page.order + "Q", changed, 8, page.offset)
    else:
        struct.pack_into(page.order + "L", changed, 4, page.offset)
    return bytes(changed)


def read_samples(data: bytes, page: Page) -> AnyArray | None:
    """Decode the samples of a page as they are stored.

    Returns
    -------
    (H, W, samples) uint8, uint16, float32 or float64 array, or None
        None if the page's codec depends on the layout, its layout cannot be rewritten, or it is
        damaged.
    """
    if page.is_big or page.bits not in (8, 16, 32, 64) or len(set(page.tags[BITS])) > 1:
        return None
    if page.is_planar:
        return _read_planes(data, page)
    predictor = page.get(PREDICTOR, 1)
    if page.get(COMPRESSION, 1) not in _BYTE_CODECS or predictor not in (1, 2):
        return None
    rows = _decode_grey(data, page, page.samples, page.tags[page.blocks[0]], page.blocks[1])
    if rows is None:
        return None
    pixels = rows.reshape(page.height, page.width, page.samples)
    if predictor == 2 and pixels.dtype.kind == "u":  # differences to the pixel before
        if TILE_OFFSETS in page.tags:
            return None
        pixels = np.cumsum(pixels, axis=1, dtype=pixels.dtype)
    return pixels


def _read_planes(data: bytes, page: Page) -> AnyArray | None:
    offset_tag, size_tag = page.blocks
    offsets, sizes = page.tags[offset_tag], page.tags.get(size_tag, ())
    count = len(offsets) // page.samples
    planes = []
    for first in range(0, count * page.samples, count):
        part = slice(first, first + count)
        plane = _decode_grey(data, page, 1, offsets[part], size_tag, sizes[part])
        if plane is None:
            return None
        planes.append(plane)
    return np.dstack(planes) if len(planes) == page.samples else None


def _decode_grey(
    data: bytes,
    page: Page,
    factor: int,
    offsets: Sequence[int],
    size_tag: int,
    sizes: Sequence[int] | None = None,
) -> AnyArray | None:
    """Decode a page as grey, `factor` times as wide, from the strips or tiles at `offsets`."""
    tags = {
        tag: values
        for tag, values in page.tags.items()
        if tag in (HEIGHT, COMPRESSION, _FILL_ORDER, _ROWS_PER_STRIP, TILE_HEIGHT)
    }
    tags |= {
        WIDTH: (page.width * factor,), BITS: (page.bits,), PHOTOMETRIC: (1,), SAMPLES: (1,),
        page.blocks[0]: tuple(offsets), size_tag: tuple(sizes or page.tags.get(size_tag, ())),
        SAMPLE_FORMAT: (page.get(SAMPLE_FORMAT, 1),),
    }  # fmt: skip
    if factor == 1 and PREDICTOR in page.tags:
        tags[PREDICTOR] = page.tags[PREDICTOR]
    if TILE_WIDTH in page.tags:
        tags[TILE_WIDTH] = (page.tags[TILE_WIDTH][0] * factor,)
    rewritten = _with_directory(data, page.order, tags)
    try:
        pixels = cv2.imdecode(np.frombuffer(rewritten, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    expected = page.height, page.width * factor
    return np.asarray(pixels) if pixels is not None and pixels.shape == expected else None


def _with_directory(data: bytes, order: str, tags: dict[int, tuple[int, ...]]) -> bytes:
    """Return the file with a directory of these tags appended as its only one."""
    start = len(data) + len(data) % 2
    entries, values = b"", b""
    values_start = start + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}L", *numbers)
        if tag in (BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PREDICTOR, SAMPLE_FORMAT, _FILL_ORDER):
            kind, content = 3, struct.pack(order + "H", numbers[0]).ljust(4, b"\0")
        elif len(packed) == 4:
            kind, content = 4, packed
        else:
            kind, content = 4, struct.pack(order + "L", values_start + len(values))
            values += packed
        entries += struct.pack(order + "HHL", tag, kind, len(numbers) if kind == 4 else 1) + content
    head = data[:4] + struct.pack(order + "L", start)
    count, end = struct.pack(order + "H", len(tags)), b"\0\0\0\0"
    return head + data[8:].ljust(start - 8, b"\0") + count + entries + end + values
