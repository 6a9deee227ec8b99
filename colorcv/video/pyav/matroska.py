"""Pixel aspect ratio of finished Matroska and WebM files, which PyAV 18 cannot set."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

__all__ = ["set_pixel_aspect_ratio"]

# Elements of EBML and Matroska (RFC 8794, RFC 9559).
_SEGMENT, _CLUSTER, _TRACKS, _CRC = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xBF
_TRACK_ENTRY, _TRACK_TYPE, _VIDEO = 0xAE, 0x83, 0xE0
_PIXEL_WIDTH, _DISPLAY_WIDTH, _DISPLAY_UNIT = 0xB0, 0x54B0, 0x54B2
_MAX_HEADER = 1 << 24  # bytes in which the tracks must be found


class _Element(NamedTuple):
    id: int
    start: int  # of its id
    data: int  # of its content
    end: int


def set_pixel_aspect_ratio(path: Path, ratio: Fraction) -> bool:
    """Write the display width of the first video track into the header, in place.

    libavformat writes the length field of the track's entry with eight bytes, more than it needs;
    the bytes saved there hold the new element, so nothing else in the file moves.

    Parameters
    ----------
    path : Path
    ratio : Fraction
        Width of a pixel divided by its height; the display width is rounded to whole pixels.

    Returns
    -------
    bool
        False, with the file unchanged, if the header is not as libavformat writes it.
    """
    with path.open("r+b") as file:
        header = file.read(_MAX_HEADER)
        tracks = _find_tracks(header)
        if tracks is None:
            return False
        content = bytearray(header[tracks.data : tracks.end])
        for entry in _children(content, 0, len(content)):
            if entry.id == _TRACK_ENTRY and _is_video(content, entry):
                new_entry = _with_display_width(content, entry, ratio)
                if new_entry is None:
                    return False
                content[entry.start : entry.end] = new_entry
                break
        else:
            return False
        first = next(_children(content, 0, len(content)))
        if first.id == _CRC:
            crc = zlib.crc32(content[first.end :])
            content[first.data : first.end] = crc.to_bytes(4, "little")
        file.seek(tracks.data)
        file.write(content)
    return True


def _find_tracks(header: bytes) -> _Element | None:
    for top in _children(header, 0, len(header)):
        if top.id == _SEGMENT:
            for element in _children(header, top.data, len(header)):
                if element.id == _TRACKS:
                    return element if element.end <= len(header) else None
                if element.id == _CLUSTER:
                    return None
    return None


def _is_video(data: bytes | bytearray, entry: _Element) -> bool:
    return any(
        child.id == _TRACK_TYPE and data[child.data : child.end] == b"\x01"
        for child in _children(data, entry.data, entry.end)
    )


def _with_display_width(data: bytearray, entry: _Element, ratio: Fraction) -> bytes | None:
    """Return the entry with the display width, in as many bytes, or None if they do not suffice."""
    content = bytearray(data[entry.data : entry.end])
    for video in _children(content, 0, len(content)):
        if video.id != _VIDEO:
            continue
        parts, width = [], 0
        for child in _children(content, video.data, video.end):
            if child.id == _PIXEL_WIDTH:
                width = int.from_bytes(content[child.data : child.end], "big")
            if child.id not in (_DISPLAY_WIDTH, _DISPLAY_UNIT):
                parts.append(bytes(content[child.start : child.end]))
        shown = round(width * ratio).to_bytes(2, "big")
        parts.append(_DISPLAY_WIDTH.to_bytes(2, "big") + b"\x82" + shown)
        body = b"".join(parts)
        length_bytes = video.data - video.start - 1
        if len(body) >= (1 << (7 * length_bytes)) - 1:
            return None
        size = _length(len(body), length_bytes)
        content[video.start : video.end] = bytes([_VIDEO]) + size + body
        length_bytes = entry.end - entry.start - 1 - len(content)
        if not 1 <= length_bytes <= 8 or len(content) >= (1 << (7 * length_bytes)) - 1:
            return None
        return bytes([_TRACK_ENTRY]) + _length(len(content), length_bytes) + bytes(content)
    return None


def _children(data: bytes | bytearray, start: int, end: int) -> Iterator[_Element]:
    """Yield the elements between two positions; stop at bytes that are not an element."""
    while start < end:
        id_bytes = 9 - data[start].bit_length()
        length_at = start + id_bytes
        if id_bytes > 4 or length_at >= end:
            return
        length_bytes = 9 - data[length_at].bit_length()
        content = length_at + length_bytes
        if length_bytes > 8 or content > end:
            return
        length = int.from_bytes(data[length_at:content], "big") & ((1 << (7 * length_bytes)) - 1)
        element_id = int.from_bytes(data[start:length_at], "big")
        yield _Element(element_id, start, content, content + length)
        start = content + length


def _length(value: int, length_bytes: int) -> bytes:
    return (value | 1 << (7 * length_bytes)).to_bytes(length_bytes, "big")
