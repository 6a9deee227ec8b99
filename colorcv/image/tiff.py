"""TIFF structure: pages, and the Software tag. An EXIF block is a TIFF without pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

__all__ = [
    "count_pages",
    "join_pages",
    "read_software",
    "set_profile",
    "set_software",
    "split_pages",
]

_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_SUBFILE_TYPE, _SOFTWARE, _PROFILE = 254, 305, 34675
_STRIP_OFFSETS, _TILE_OFFSETS = 273, 324
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_ASCII, _SHORT, _LONG, _UNDEFINED = 2, 3, 4, 7
_MAX_PAGES = 65_536  # libtiff's limit


def count_pages(data: bytes) -> int:
    """Return the number of pages of a TIFF file, without thumbnails; 0 if it is not a TIFF."""
    return len(_page_offsets(data))


def split_pages(data: bytes) -> Iterator[bytes]:
    """Yield, for each page of a TIFF file, a TIFF file of this page.

    Each is a copy of the whole file with the page as its first and last IFD; only two offsets
    change.
    """
    order = _BYTE_ORDERS[data[:4]]
    for start in _page_offsets(data):
        end = start + 2 + 12 * _unpack(order + "H", data, start)
        page = bytearray(data)
        struct.pack_into(order + "L", page, 4, start)
        struct.pack_into(order + "L", page, end, 0)
        yield bytes(page)


def join_pages(pages: Sequence[bytes]) -> bytes:
    """Return one TIFF file of the pages of several, in order.

    Parameters
    ----------
    pages : sequence of bytes
        TIFF files of one page in the same byte order, as OpenCV writes them.

    Raises
    ------
    ValueError
        The result would exceed 4 GB, the limit of the format.
    """
    order = _BYTE_ORDERS[pages[0][:4]]
    joined = bytearray(pages[0])
    last = _ifd_end(joined, order)
    for page in pages[1:]:
        base = len(joined) + len(joined) % 2  # IFDs begin at even offsets
        if base + len(page) >= 1 << 32:
            raise ValueError("a TIFF file cannot exceed 4 GB")
        moved = bytearray(page)
        start = _unpack(order + "L", page, 4)
        for pos in _entry_positions(page, order, start):
            _relocate(moved, order, pos, base)
        joined += b"\0" * (base - len(joined)) + moved
        struct.pack_into(order + "L", joined, last, base + start)
        last = base + _ifd_end(page, order)
    return bytes(joined)


def read_software(block: bytes) -> str:
    """Return the Software tag of a TIFF file or an EXIF block, or ""."""
    order = _BYTE_ORDERS.get(block[:4])
    if order is None or len(block) < 8:
        return ""
    for pos in _entry_positions(block, order, _unpack(order + "L", block, 4)):
        tag, kind, count = struct.unpack_from(order + "HHL", block, pos)
        if tag == _SOFTWARE and kind == _ASCII:
            start = pos + 8 if count <= 4 else _unpack(order + "L", block, pos + 8)
            return block[start : start + min(count, 200)].partition(b"\0")[0].decode("latin-1")
    return ""


def set_software(block: bytes, software: str) -> bytes:
    """Return a TIFF file or an EXIF block with this Software tag.

    A new first IFD is appended, so that no other offset changes. An empty block becomes an EXIF
    block with only this tag; a malformed one is returned unchanged.
    """
    block = block or b"II*\0\x08\0\0\0" + b"\0" * 6
    return _with_tag(block, _SOFTWARE, _ASCII, software.encode("ascii", "replace") + b"\0")


def set_profile(block: bytes, profile: bytes) -> bytes:
    """Return a TIFF file whose first page has this ICC profile; else as for `set_software`."""
    return _with_tag(block, _PROFILE, _UNDEFINED, profile)


def _with_tag(block: bytes, tag: int, kind: int, content: bytes) -> bytes:
    order = _BYTE_ORDERS.get(block[:4])
    if order is None or len(block) < 8:
        return block
    start = _unpack(order + "L", block, 4)
    if not start or start + 2 > len(block):
        return block
    end = start + 2 + 12 * _unpack(order + "H", block, start)
    if end + 4 > len(block):
        return block
    entries = [block[pos : pos + 12] for pos in range(start + 2, end, 12)]
    entries = [entry for entry in entries if _unpack(order + "H", entry, 0) != tag]
    assert len(content) > 4, "a shorter content lies inside its entry"
    padding = b"\0" * (len(block) % 2)
    content_pos = len(block) + len(padding)
    entries.append(struct.pack(order + "HHLL", tag, kind, len(content), content_pos))
    entries.sort(key=lambda entry: int(_unpack(order + "H", entry, 0)))
    content += b"\0" * (len(content) % 2)
    ifd = struct.pack(order + "H", len(entries)) + b"".join(entries) + block[end : end + 4]
    header = block[:4] + struct.pack(order + "L", content_pos + len(content))
    return header + block[8:] + padding + content + ifd


def _page_offsets(data: bytes) -> list[int]:
    order = _BYTE_ORDERS.get(data[:4])
    if order is None or len(data) < 8:
        return []
    offsets: list[int] = []
    seen: set[int] = set()
    start = _unpack(order + "L", data, 4)
    while 0 < start <= len(data) - 2 and start not in seen and len(seen) < _MAX_PAGES:
        seen.add(start)
        end = start + 2 + 12 * _unpack(order + "H", data, start)
        if end + 4 > len(data):
            break
        if not _is_thumbnail(data, order, start):
            offsets.append(start)
        start = _unpack(order + "L", data, end)
    return offsets


def _is_thumbnail(data: bytes, order: str, start: int) -> bool:
    for pos in _entry_positions(data, order, start):
        tag, kind, _ = struct.unpack_from(order + "HHL", data, pos)
        if tag == _SUBFILE_TYPE:
            return bool(_unpack(order + ("H" if kind == _SHORT else "L"), data, pos + 8) & 1)
    return False


def _entry_positions(data: bytes | bytearray, order: str, start: int) -> range:
    """Return where the 12 bytes of each entry begin; none if the IFD does not fit in the data."""
    if start + 2 > len(data):
        return range(0)
    end = start + 2 + 12 * _unpack(order + "H", data, start)
    return range(start + 2, end, 12) if end <= len(data) else range(0)


def _ifd_end(data: bytes | bytearray, order: str) -> int:
    """Return where the offset of the next IFD is, after the first one."""
    start = _unpack(order + "L", data, 4)
    return start + 2 + 12 * _unpack(order + "H", data, start)


def _relocate(page: bytearray, order: str, pos: int, base: int) -> None:
    """Add `base` to the offsets of one entry."""
    tag, kind, count = struct.unpack_from(order + "HHL", page, pos)
    size = _SIZES.get(kind, 1)
    values_pos = pos + 8
    if size * count > 4:
        values_pos = _unpack(order + "L", page, pos + 8)
        struct.pack_into(order + "L", page, pos + 8, values_pos + base)
    if tag not in (_STRIP_OFFSETS, _TILE_OFFSETS):
        return
    layout = f"{order}{count}{'H' if kind == _SHORT else 'L'}"
    offsets = [offset + base for offset in struct.unpack_from(layout, page, values_pos)]
    if kind == _SHORT:  # libtiff's choice in small files; the moved offsets need LONG
        struct.pack_into(order + "H", page, pos + 2, _LONG)
        values_pos = pos + 8
        if count > 1:
            page += b"\0" * (len(page) % 2)
            values_pos = len(page)
            page += b"\0" * (4 * count)
            struct.pack_into(order + "L", page, pos + 8, values_pos + base)
    struct.pack_into(f"{order}{count}L", page, values_pos, *offsets)


def _unpack(layout: str, data: bytes | bytearray, pos: int) -> int:
    (value,) = struct.unpack_from(layout, data, pos)
    return int(value)
