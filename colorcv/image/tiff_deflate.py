"""`deflate_problem`: find damaged strips of a TIFF, of which OpenCV says nothing.

At 8 bits and less OpenCV lets libtiff go on after an error, and returns a strip that is black or
holds what another one left. LZW has no checksum, and decoding it in Python would take minutes.
"""

from __future__ import annotations

import zlib

from . import tiff_layout
from .tiff_layout import Page

__all__ = ["deflate_problem"]

_DEFLATE = (8, 32946)
_CHUNK = 1 << 20  # bytes decompressed at a time
_PLAIN = (0, 1, 2, 3)  # photometric interpretations that store all samples of all pixels


def deflate_problem(data: bytes, page: Page) -> str:
    """Return what is wrong with the Deflate streams of a page, or an empty string.

    Pages of other compressions, and of more than 8 bits, are not looked at.
    """
    if page.get(tiff_layout.COMPRESSION, 1) not in _DEFLATE or page.bits > 8:
        return ""
    offset_tag, size_tag = page.blocks
    offsets, sizes = page.tags.get(offset_tag, ()), page.tags.get(size_tag, ())
    if len(sizes) != len(offsets):  # libtiff guesses them
        return ""
    width, height, count = page.width, page.height, 1
    if tiff_layout.TILE_WIDTH in page.tags:  # tiles at the edges are as large as the others
        width, count = page.tags[tiff_layout.TILE_WIDTH][0], len(offsets)
        height = page.get(tiff_layout.TILE_HEIGHT, 0)
    needed = (width * page.bits * page.samples + 7) // 8 * height * count
    total = 0
    for number, (offset, size) in enumerate(zip(offsets, sizes, strict=True), 1):
        try:
            total += _inflated_size(data[offset : offset + size], needed - total)
        except zlib.error as err:
            reason = str(err).rpartition(": ")[2]
            return f"strip or tile {number} of {len(offsets)} is damaged ({reason})"
        if total >= needed:
            return ""
    photometric = page.get(tiff_layout.PHOTOMETRIC, 1)
    if total < needed and photometric in _PLAIN and not page.is_planar:
        return f"its strips or tiles hold {total} of {needed} bytes of pixels"
    return ""


def _inflated_size(stream: bytes, enough: int) -> int:
    """Return how many bytes a stream decompresses to; stop soon after `enough`."""
    inflater, total = zlib.decompressobj(), 0
    while not inflater.eof and total <= enough:
        piece = inflater.decompress(stream, _CHUNK)
        stream = inflater.unconsumed_tail
        if not piece and not stream:
            break
        total += len(piece)
    return total
