"""EXIF, ICC and XMP metadata in the bytes of JPEG, PNG and WebP files, and ICC in TIFF.

OpenCV 4.10 does not support metadata; 4.14 and 5.0 write XMP into a JPEG without the identifier
that other programs look for, and fail on ICC profiles above 64 kB. So it is done here.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .._logging import logger
from ..color.icc import srgb_profile
from .tiff import set_profile

__all__ = [
    "Metadata",
    "embed",
    "exif_orientation",
    "extract",
    "for_output",
    "jpeg_segments",
    "tiff_tags",
    "xmp_orientation",
]

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0"
# Bytes: the capacity of a JPEG segment, and the limit of a decompressed profile.
_MAX_SEGMENT, _MAX_INFLATED = 65533, 1 << 24
_ORIENTATION = 274
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:=["\']|>))([1-8])')


@dataclass(frozen=True)
class Metadata:
    """Metadata of an image file; b"" stands for a missing part.

    `exif` begins with its TIFF header (no ``Exif\\0\\0`` before it), `icc` is a profile, `xmp` a
    packet.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""


def extract(data: bytes) -> Metadata:
    """Return the metadata of the bytes of a JPEG, PNG or WebP file; empty for other formats.

    Malformed metadata is ignored; the image is still read.
    """
    if data.startswith(b"\xff\xd8"):
        return _read_jpeg(data)
    if data.startswith(_PNG):
        return _read_png(data)
    if _is_webp(data):
        chunks = dict(_webp_chunks(data))
        exif = chunks.get(b"EXIF", b"").removeprefix(_EXIF)
        return Metadata(exif, chunks.get(b"ICCP", b""), chunks.get(b"XMP ", b""))
    return Metadata()


def embed(data: bytes, metadata: Metadata) -> bytes:
    """Return the bytes of a JPEG, PNG or lossless WebP file with this metadata added.

    A TIFF gets the profile only. Metadata that does not fit a JPEG segment, and that of other
    formats, is dropped with a warning.
    """
    if data[:4] in (b"II*\0", b"MM\0*") and metadata.icc:
        data, metadata = set_profile(data, metadata.icc), replace(metadata, icc=b"")
    if metadata == Metadata():
        return data
    if data.startswith(b"\xff\xd8"):
        return _write_jpeg(data, metadata)
    if data.startswith(_PNG):
        return _write_png(data, metadata)
    if _is_webp(data) and data[12:16] == b"VP8L":
        return _write_webp(data, metadata)
    if metadata != Metadata(icc=srgb_profile()):  # colours without a profile are sRGB
        logger.warning(
            "EXIF, ICC and XMP metadata is not written to this format; use JPEG, PNG or WebP"
        )
    return data


def exif_orientation(exif: bytes) -> int:
    """Return the orientation of an EXIF block or a TIFF, 1 (upright) to 8; 1 if it has none."""
    found = tiff_tags(exif)[0].get(_ORIENTATION, 1)
    return found if 1 <= found <= 8 else 1


def xmp_orientation(xmp: bytes) -> int:
    """Return the orientation of an XMP packet, 1 (upright) to 8; 1 if it has none."""
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[2]) if found else 1


def for_output(metadata: Metadata) -> Metadata:
    """Return the metadata that remains valid for an upright, coloured image.

    The orientation becomes 1; the EXIF thumbnail, which is grey, is removed.
    """
    exif = bytearray(metadata.exif)
    if exif:
        order, entries, end = _first_ifd(exif)
        for tag, kind, pos in entries:
            if tag == _ORIENTATION:
                struct.pack_into(order + ("L" if kind == 4 else "H"), exif, pos, 1)
        if end:
            struct.pack_into(order + "L", exif, end, 0)
        else:
            logger.warning("a malformed EXIF block is dropped")
            exif.clear()
    xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", metadata.xmp)
    return Metadata(bytes(exif), metadata.icc, xmp)


def tiff_tags(block: bytes) -> tuple[dict[int, int], bool]:
    """Return the single SHORT and LONG values of the first IFD, and True if another IFD follows.

    `block` is a TIFF file or an EXIF block; other data gives no tags.
    """
    order, entries, end = _first_ifd(block)
    tags = {}
    for tag, kind, pos in entries:
        (tags[tag],) = struct.unpack_from(order + ("L" if kind == 4 else "H"), block, pos)
    return tags, bool(end and any(block[end : end + 4]))


def _first_ifd(block: bytes | bytearray) -> tuple[str, list[tuple[int, int, int]], int]:
    """Return byte order, (tag, type, position) of single SHORT or LONG values, and IFD end.

    The end is the position of the offset of the next IFD, or 0 if the block is malformed.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]), "")
    if not order or len(block) < 8:
        return "<", [], 0
    (start,) = struct.unpack_from(order + "L", block, 4)
    if start + 2 > len(block):
        return order, [], 0
    (count,) = struct.unpack_from(order + "H", block, start)
    end = start + 2 + 12 * count
    if end + 4 > len(block):
        return order, [], 0
    entries = []
    for entry in range(start + 2, end, 12):
        tag, kind, values = struct.unpack_from(order + "HHL", block, entry)
        if kind in (3, 4) and values == 1:
            entries.append((tag, kind, entry + 8))
    return order, entries, end


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the content of each JPEG segment before the pixels.

    Bytes between segments are passed over, as libjpeg does.
    """
    pos = data.find(b"\xff", 2)
    while 0 <= pos <= len(data) - 4:
        marker = data[pos + 1]
        if marker in (0, 0xFF):
            pos = data.find(b"\xff", pos + 1)
            continue
        end = pos + 2 + int.from_bytes(data[pos + 2 : pos + 4], "big")
        if marker == 0xDA or end > len(data) or end < pos + 4:
            return
        yield marker, pos + 4, end
        pos = data.find(b"\xff", end)


def _read_jpeg(data: bytes) -> Metadata:
    exif = xmp = b""
    profile: dict[int, bytes] = {}
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE1 and data.startswith(_EXIF, start) and not exif:
            exif = data[start + len(_EXIF) : end]
        elif marker == 0xE1 and data.startswith(_XMP, start) and not xmp:
            xmp = data[start + len(_XMP) : end]
        elif marker == 0xE2 and data.startswith(_ICC, start) and end - start > len(_ICC) + 2:
            profile[data[start + len(_ICC)]] = data[start + len(_ICC) + 2 : end]
    icc = b"".join(part for _, part in sorted(profile.items()))
    # A profile begins with its length, so a profile with a missing part is found and dropped.
    return Metadata(exif, icc if int.from_bytes(icc[:4], "big") == len(icc) else b"", xmp)


def _write_jpeg(data: bytes, metadata: Metadata) -> bytes:
    added = b""
    for name, content in ((_EXIF, metadata.exif), (_XMP, metadata.xmp)):
        if len(name + content) > _MAX_SEGMENT:
            logger.warning(
                "%d bytes of metadata do not fit a JPEG segment and are dropped", len(content)
            )
        elif content:
            added += _segment(0xE1, name + content)
    capacity = _MAX_SEGMENT - len(_ICC) - 2
    parts = [metadata.icc[pos : pos + capacity] for pos in range(0, len(metadata.icc), capacity)]
    if len(parts) > 255:
        logger.warning(
            "an ICC profile of %d bytes does not fit a JPEG and is dropped", len(metadata.icc)
        )
        parts = []
    for number, part in enumerate(parts, 1):
        added += _segment(0xE2, _ICC + bytes((number, len(parts))) + part)
    pos = 2
    for marker, _, end in jpeg_segments(data):
        pos = end if marker == 0xE0 else pos  # JFIF must be the first segment
        break
    return data[:pos] + added + data[pos:]


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    pos = len(_PNG)
    while pos + 12 <= len(data):
        end = pos + 8 + int.from_bytes(data[pos : pos + 4], "big")
        name = data[pos + 4 : pos + 8]
        if end + 4 > len(data) or name == b"IEND":
            return
        yield name, b"" if name == b"IDAT" else data[pos + 8 : end]
        pos = end + 4


def _read_png(data: bytes) -> Metadata:
    found: dict[bytes, bytes] = {}  # only the first of each is decompressed
    for name, content in _png_chunks(data):
        if name in (b"eXIf", b"iCCP") or (name == b"iTXt" and content.startswith(_PNG_XMP)):
            found.setdefault(name, content)
    exif = found.get(b"eXIf", b"").removeprefix(_EXIF)
    icc = _inflate(found.get(b"iCCP", b"").partition(b"\0")[2][1:])
    rest = found.get(b"iTXt", b"")[len(_PNG_XMP) :]
    text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return Metadata(exif, icc, _inflate(text) if rest[:1] == b"\1" else text)


def _write_png(data: bytes, metadata: Metadata) -> bytes:
    chunks = []
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append((b"iTXt", _PNG_XMP + b"\0\0\0\0" + metadata.xmp))
    added = b"".join(
        struct.pack(">L", len(content)) + name + content
        + struct.pack(">L", zlib.crc32(name + content))
        for name, content in chunks
    )  # fmt: skip
    pos = len(_PNG) + 25  # after IHDR
    return data[:pos] + added + data[pos:]


def _inflate(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, _MAX_INFLATED)
    except zlib.error:
        return b""


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    pos = 12
    while pos + 8 <= len(data):
        end = pos + 8 + int.from_bytes(data[pos + 4 : pos + 8], "little")
        if end > len(data):
            return
        name = data[pos : pos + 4]
        yield name, b"" if name.startswith(b"VP8") else data[pos + 8 : end]
        pos = end + end % 2


def _write_webp(data: bytes, metadata: Metadata) -> bytes:
    (bits,) = struct.unpack_from("<L", data, 21)
    width, height, has_alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1
    flags = bool(metadata.icc) << 5 | has_alpha << 4 | bool(metadata.exif) << 3
    flags |= bool(metadata.xmp) << 2
    sizes = width.to_bytes(3, "little") + height.to_bytes(3, "little")
    body = b"WEBP" + _chunk(b"VP8X", struct.pack("<L", flags) + sizes)
    if metadata.icc:
        body += _chunk(b"ICCP", metadata.icc)
    body += data[12:]
    if metadata.exif:
        body += _chunk(b"EXIF", metadata.exif)
    if metadata.xmp:
        body += _chunk(b"XMP ", metadata.xmp)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<L", len(content)) + content + b"\0" * (len(content) % 2)
