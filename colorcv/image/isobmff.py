"""Boxes of the ISO base media file format that AVIF and JPEG 2000 use.

ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..errors import ImageError

__all__ = [
    "avif_profile",
    "boxes",
    "check_lengths",
    "frame_count",
    "image_size",
    "jp2_profile",
    "orientation",
    "size_of",
]

# irot counts quarter turns anticlockwise; imir then mirrors top-bottom (0) or left-right (1).
# The EXIF orientation for each pair (irot, imir); None stands for a missing imir.
_ORIENTATIONS = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (0, 1): 2, (1, 0): 5, (1, 1): 7, (2, 0): 2, (2, 1): 4, (3, 0): 7, (3, 1): 5,
}  # fmt: skip


def size_of(data: bytes, start: int) -> int:
    """Return the size in bytes of the box at `start`, its header included."""
    (size,) = struct.unpack_from(">L", data, start)
    if size == 1:
        (size,) = struct.unpack_from(">Q", data, start + 8)
    return int(size) or len(data) - start


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each box; stop at one that does not fit."""
    while start + 8 <= end:
        header = 16 if data[start : start + 4] == b"\0\0\0\1" else 8
        if start + header > end:
            return
        size = size_of(data, start)
        if size < header or start + size > end:
            return
        yield data[start + 4 : start + 8], start + header, start + size
        start += size


def check_lengths(data: bytes, stop: int, name: str) -> None:
    """Raise an ImageError if a box before `stop` is longer than the file."""
    start = 0
    while start + 8 <= min(stop, len(data)):
        size = size_of(data, start)
        if size < 8 or start + size > len(data):
            kind = data[start + 4 : start + 8]
            raise ImageError(
                f"{name} is truncated or damaged: box {kind!r} claims {size} bytes, "
                f"{len(data) - start} are left; copy or download it again"
            )
        start += size


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Return columns and rows of the largest image of an AVIF file, before it is turned upright.

    Raises
    ------
    ImageError
        A box is longer than the file, or no box gives a size.
    """
    check_lengths(data, len(data), name)
    sizes = [
        struct.unpack_from(">LL", data, start + 4)
        for kind, start, end in _properties(data)
        if kind == b"ispe" and end - start >= 12
    ]
    if not sizes:
        raise ImageError(f"{name} is damaged: it does not say its size; copy it again")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return width, height


def frame_count(data: bytes) -> int:
    """Return the number of frames of an image sequence: the samples of its first track."""
    pos = data.find(b"stsz")
    if pos < 0 or pos + 16 > len(data):
        return 1
    (count,) = struct.unpack_from(">L", data, pos + 12)
    return max(1, int(count))


def orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, of the primary image of an AVIF file."""
    turns, mirror = 0, None
    for kind, start, end in _primary_properties(data):
        if end > start and kind == b"irot":
            turns = data[start] & 3
        elif end > start and kind == b"imir":
            mirror = data[start] & 1
    return _ORIENTATIONS[turns, mirror]


def avif_profile(data: bytes) -> bytes:
    """Return the ICC profile of the primary image of an AVIF or HEIF file, or b""."""
    for kind, start, end in _primary_properties(data):
        if kind == b"colr" and data[start : start + 4] in (b"prof", b"rICC"):
            return data[start + 4 : end]
    return b""


def jp2_profile(data: bytes) -> bytes:
    """Return the ICC profile of a JPEG 2000 file, or b"" (ISO/IEC 15444-1, I.5.3.3)."""
    place = _find(data, (b"jp2h",))
    for kind, start, end in boxes(data, *place) if place else ():
        if kind == b"colr" and data[start : start + 1] in (b"\2", b"\3"):
            return data[start + 3 : end]
    return b""


def _find(data: bytes, path: tuple[bytes, ...]) -> tuple[int, int] | None:
    start, end = 0, len(data)
    for wanted in path:
        for kind, box_start, box_end in boxes(data, start, end):
            if kind == wanted:
                # meta is a full box: version and flags come before its children.
                start, end = box_start + 4 * (kind == b"meta"), box_end
                break
        else:
            return None
    return start, end


def _properties(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    place = _find(data, (b"meta", b"iprp", b"ipco"))
    return boxes(data, *place) if place else iter(())


def _primary_properties(data: bytes) -> list[tuple[bytes, int, int]]:
    properties = list(_properties(data))
    indices = _primary_associations(data)
    return [properties[index - 1] for index in indices if 0 < index <= len(properties)]


def _primary_associations(data: bytes) -> list[int]:
    """Return the indices, from 1, of the properties of the primary item."""
    primary, place = _find(data, (b"meta", b"pitm")), _find(data, (b"meta", b"iprp", b"ipma"))
    if not primary or not place:
        return []
    try:
        wanted = int.from_bytes(data[primary[0] + 4 : primary[1]], "big")
        version, flags = data[place[0]], data[place[0] + 3]
        (count,) = struct.unpack_from(">L", data, place[0] + 4)
        pos, item_size, index_size = place[0] + 8, 4 if version else 2, 2 if flags & 1 else 1
        for _ in range(min(count, (place[1] - pos) // (item_size + 1))):
            item = int.from_bytes(data[pos : pos + item_size], "big")
            used = data[pos + item_size]
            pos += item_size + 1
            if item == wanted:
                mask = 0x7FFF if index_size == 2 else 0x7F
                return [
                    int.from_bytes(data[at : at + index_size], "big") & mask
                    for at in range(pos, pos + used * index_size, index_size)
                ]
            pos += used * index_size
    except (struct.error, IndexError):
        pass
    return []
