"""Windows and OS/2 bitmaps: their headers, and what OpenCV reads wrongly in them.

OpenCV reads the masks of the channels in headers from version 4 on only, and there whole bytes; it
does not scale samples of 5 and 6 bits to 255.
"""

from __future__ import annotations

import struct

from .structure import Inspection, check_raw_size

__all__ = ["has_palette_of_os2", "has_unusual_masks", "read_bmp", "white", "with_file_header"]

_RLE, _MASKS = (1, 2), (3, 6)  # values of biCompression
_OS2_HEADER = 12
_ALPHA_HEADER = 56  # the shortest with a mask of alpha
_BGRA = (0xFF0000, 0xFF00, 0xFF)
_BYTES = {0xFF, 0xFF00, 0xFF0000, 0xFF000000}
_BGR_565, _BGR_555 = (0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)


def read_bmp(data: bytes, name: str) -> Inspection:
    """Inspect a bitmap."""
    (header,) = struct.unpack_from("<L", data, 14)
    if header == _OS2_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<llHHL", data, 18)
        (start,) = struct.unpack_from("<L", data, 10)
        if bits <= 8 and start == 14 + header:  # some writers forget the palette before the pixels
            data = data[:10] + struct.pack("<L", start + 4 * _colors(data[14:])) + data[14:]
    height = abs(height)
    needed = (width * bits + 31) // 32 * 4 * height
    check_raw_size(data, name, needed, rle=compression in _RLE)
    return Inspection("BMP", (width, height), data=data)


def with_file_header(data: bytes) -> bytes:
    """Return a bitmap that lacks the file header, as on the clipboard (DIB), with one."""
    header, compression = struct.unpack_from("<L12xL", data)
    start = 14 + header + 4 * _colors(data) + (12 if compression == 3 and header == 40 else 0)
    return b"BM" + struct.pack("<LHHL", 14 + len(data), 0, 0, start) + data


def has_palette_of_os2(data: bytes) -> bool:
    """Return True if the header is OS/2's, whose palette OpenCV converts to grey."""
    return data[14:18] == struct.pack("<L", _OS2_HEADER)


def has_unusual_masks(data: bytes) -> bool:
    """Return True if the bits of the channels are not where OpenCV expects them."""
    masks = _masks(data)
    if not masks:
        return False
    if data[28:30] == b"\x10\0":
        return masks not in (_BGR_565, _BGR_555)
    (header,) = struct.unpack_from("<L", data, 14)
    return not set(masks) <= _BYTES if header >= _ALPHA_HEADER else masks != _BGRA


def white(data: bytes) -> tuple[int, int, int] | None:
    """Return the largest blue, green and red of a bitmap of 16 bits, as OpenCV decodes them."""
    if has_palette_of_os2(data) or data[28:30] != b"\x10\0":
        return None
    return (248, 252, 248) if _masks(data) == _BGR_565 else (248, 248, 248)


def _masks(data: bytes) -> tuple[int, ...]:
    (compression,) = struct.unpack_from("<L", data, 30)
    if has_palette_of_os2(data) or compression not in _MASKS or len(data) < 66:
        return ()
    return struct.unpack_from("<LLL", data, 54)


def _colors(dib: bytes) -> int:
    """Return the number of entries of the palette; `dib` begins after the file header."""
    bits, used = struct.unpack_from("<14xH16xL", dib)
    return int(used or (1 << bits if bits <= 8 else 0))
