"""Small image files of every kind that is read, and mutations of them."""

from __future__ import annotations

import contextlib
import random
import struct
import zlib
from functools import cache
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from tests.fuzz.mutate import mutate_bytes
from tests.helpers import icc_profiles

__all__ = ["bombs", "corpus", "mutate_image", "png", "seeds"]

_SIDES = (1, 3, 255, 256, 1000, 4096, 15_811, 15_812, 16_384, 65_535, 65_536, 1 << 20, 1 << 30)


@cache
def corpus(size_wh: tuple[int, int] = (71, 64)) -> tuple[bytes, ...]:
    """Return valid files, at this size of at most a few kB each."""
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur(rng.integers(0, 256, size_wh[::-1], np.uint8), (0, 0), 9)
    grey = cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX)
    color = cv2.applyColorMap(grey, 2)
    alpha = cv2.merge([color, grey])
    deep = np.asarray(color, np.uint16) * 257
    files = [
        cv2.imencode(suffix, pixels)[1].tobytes()
        for suffixes, pixels in (
            ((".png", ".jpg", ".bmp", ".tif", ".webp", ".pgm", ".jp2", ".ras"), grey),
            ((".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm", ".avif", ".ras"), color),
            ((".png", ".tif", ".webp"), alpha),
            ((".png", ".tif", ".ppm", ".jp2"), deep),
            ((".tif", ".hdr", ".pfm"), np.float32(color) / 255),
        )
        for suffix in suffixes
        if cv2.haveImageWriter(f"x{suffix}") and (suffix != ".jp2" or min(size_wh) >= 32)
    ]
    rgb = Image.fromarray(color)
    exif = Image.Exif()
    exif[274] = 6
    icc = b"\0" * 16 + b"RGB " + b"\0" * 108
    icc = struct.pack(">L", len(icc)) + icc[4:]
    adobe, grey_icc = icc_profiles.ADOBE_RGB, icc_profiles.DOT_GAIN
    cmyk_icc, table_icc = icc_profiles.cmyk(), icc_profiles.rgb_table()
    for form, image, options in (
        ("PNG", rgb, {"icc_profile": adobe}),
        ("TIFF", rgb, {"icc_profile": adobe}),
        ("TIFF", rgb, {"icc_profile": table_icc}),
        ("TIFF", rgb.convert("CMYK"), {"icc_profile": cmyk_icc}),
        ("JPEG", rgb.convert("CMYK"), {"icc_profile": cmyk_icc}),
        ("JPEG", rgb.convert("L"), {"icc_profile": grey_icc}),
        ("TIFF", rgb, {"compression": "jpeg"}),
        ("TIFF", rgb, {"compression": "lzma"}),
        ("PCX", rgb, {}),
        ("SGI", rgb, {}),
        ("DIB", rgb.quantize(16), {}),
        ("GIF", rgb.quantize(16), {}),
        ("GIF", rgb.quantize(16), {"save_all": True, "append_images": [rgb.quantize(8)] * 2}),
        ("PNG", rgb.quantize(16), {"transparency": 3}),
        ("PNG", rgb.convert("1"), {}),
        ("PNG", rgb, {"exif": exif, "icc_profile": icc}),
        ("JPEG", rgb.convert("CMYK"), {}),
        ("JPEG", rgb, {"exif": exif, "icc_profile": icc, "progressive": True}),
        ("WEBP", rgb, {"exif": exif, "icc_profile": icc, "lossless": True}),
        ("WEBP", rgb, {"save_all": True, "append_images": [rgb.rotate(90)]}),
        ("TIFF", rgb, {"compression": "tiff_lzw", "save_all": True, "append_images": [rgb]}),
        ("TIFF", rgb.convert("LA"), {}),
        ("TIFF", rgb.convert("CMYK"), {"compression": "tiff_adobe_deflate"}),
        ("TIFF", rgb.convert("1"), {"compression": "group4"}),
    ):
        file = BytesIO()
        image.save(file, form, **options)
        files.append(file.getvalue())
    files.append(struct.pack(">4sH6xHLLHHLLLH", b"8BPS", 1, 3, *size_wh[::-1], 8, 3, 0, 0, 0, 0)
                 + np.moveaxis(color, 2, 0).tobytes())  # fmt: skip
    files.append(struct.pack(">4sLLBB", b"qoif", *size_wh, 3, 0)
                 + np.insert(color.reshape(-1, 3), 0, 0xFE, axis=1).astype(np.uint8).tobytes()
                 + bytes(7) + b"\1")  # fmt: skip
    files.append(struct.pack(">8L", 0x59A66A95, *size_wh, 24, color.nbytes, 3, 0, 0)
                 + color.tobytes())  # fmt: skip
    return *files, *_heic(rgb)


def _heic(image: Image.Image) -> list[bytes]:
    try:
        import pillow_heif

        file = BytesIO()
        pillow_heif.from_pillow(image).save(file, quality=60)
    except (ImportError, RuntimeError, ValueError):  # it may lack the encoder
        return []
    return [file.getvalue()]


@cache
def seeds() -> tuple[bytes, ...]:
    """Return what the fuzzers change: mostly files so small that a change often meets a length."""
    claims = [file for side in _SIDES for file in bombs(side).values()]
    return *corpus(), *corpus((9, 7)), *corpus((9, 7)), *corpus((9, 7)), *claims


def mutate_image(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes: of a PNG within its chunks, whose checksums are then right again."""
    if data[:4] == b"\x89PNG" and rng.random() < 0.7:
        return _mutate_png(rng, data)
    if len(data) > 200 and rng.random() < 0.5:  # the header, or the directory at the end
        part = rng.choice((24, 64, 200))
        if rng.random() < 0.7:
            return mutate_bytes(rng, data[:part]) + data[part:]
        return data[:-part] + mutate_bytes(rng, data[-part:])
    return mutate_bytes(rng, data)


def _mutate_png(rng: random.Random, data: bytes) -> bytes:
    chunks, start = [], 8
    while start + 12 <= len(data):
        (length,) = struct.unpack_from(">L", data, start)
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, to = rng.randrange(len(chunks)), rng.randrange(len(chunks))
        name, content = chunks[at]
        match rng.randrange(8):
            case 0:
                chunks.insert(to, chunks[at])
            case 1 if len(chunks) > 1:
                del chunks[at]
            case 2:
                chunks[at], chunks[to] = chunks[to], chunks[at]
            case 3 if name == b"IDAT":  # the rows before they are compressed
                with contextlib.suppress(zlib.error):
                    rows = mutate_bytes(rng, zlib.decompress(content))
                    chunks[at] = name, zlib.compress(rows, rng.randrange(10))
            case _:
                chunks[at] = name, mutate_bytes(rng, content)
    return data[:8] + b"".join(_chunk(name, content) for name, content in chunks)


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """Return a PNG whose rows need not match its header."""
    parts = (
        (b"IHDR", struct.pack(">LLBBBBB", width, height, depth, color, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    crc = struct.pack(">L", zlib.crc32(name + content))
    return struct.pack(">L", len(content)) + name + content + crc


def bombs(side: int) -> dict[str, bytes]:
    """Return files whose headers claim `side` x `side` pixels, with almost no data."""
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 8)
    strips = ((256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8),
              (278, 4, side), (279, 4, 100))  # fmt: skip
    tiff += b"".join(struct.pack("<HHLL", tag, kind, 1, value) for tag, kind, value in strips)
    bmp = b"BM" + struct.pack("<LLLLllHHLLllLL", 60, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    lossless = (side - 1 & 0x3FFF) | (side - 1 & 0x3FFF) << 14
    webp = b"VP8L" + struct.pack("<LBL", 10, 0x2F, lossless) + b"\0" * 5
    return {
        "png": png(side, side, 8, 2, b"\0" * 100),
        "png-grey-16": png(side, side, 16, 0, b"\0" * 100),
        "bmp": bmp + b"\0" * 100,
        "ppm": b"P6 %d %d 255\n" % (side, side) + b"\0" * 100,
        "pgm-text": b"P2 %d %d 255\n" % (side, side) + b"0 " * 50,
        "pfm": b"PF\n%d %d\n-1.0\n" % (side, side) + b"\0" * 100,
        "tiff": tiff + b"\0" * 100,
        "webp": b"RIFF" + struct.pack("<L", len(webp) + 4) + b"WEBP" + webp,
        "ras": struct.pack(">LLLLLLLL", 0x59A66A95, side, side, 24, 0, 1, 0, 0) + b"\0" * 100,
        "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (side, side) + b"\2" * 100,
        "gif": b"GIF89a" + struct.pack("<HHBBB", *[min(side, 65535)] * 2, 0, 0, 0)
        + b"," + struct.pack("<HHHHB", 0, 0, *[min(side, 65535)] * 2, 0) + b"\2\2L\1\0;",
    }  # fmt: skip
