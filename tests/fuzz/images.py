"""Small image files of every kind that OpenCV reads, as seeds of mutations."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

__all__ = ["bombs", "corpus", "png"]


@cache
def corpus() -> tuple[bytes, ...]:
    """Return valid files of at most a few kB each."""
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur(rng.integers(0, 256, (64, 71), np.uint8), (0, 0), 9)
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
        if cv2.haveImageWriter(f"x{suffix}")
    ]
    rgb = Image.fromarray(color)
    exif = Image.Exif()
    exif[274] = 6
    icc = b"\0" * 16 + b"RGB " + b"\0" * 108
    icc = struct.pack(">L", len(icc)) + icc[4:]
    for form, image, options in (
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
    return tuple(files)


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """Return a PNG whose rows need not match its header."""
    parts = (
        (b"IHDR", struct.pack(">LLBBBBB", width, height, depth, color, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(content)) + name + content
        + struct.pack(">L", zlib.crc32(name + content))
        for name, content in parts
    )  # fmt: skip


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
