"""TIFF layouts that OpenCV reads wrongly, against the values that were written."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from colorcv.errors import ImageError
from colorcv.image.decoding import decode_image

Array = npt.NDArray[Any]

RGBA = np.random.default_rng(0).integers(0, 256, (21, 16, 4), np.uint8)


def tiff(
    samples: Array, photometric: int, *, planar: bool = False, extra: int | None = None,
    compression: int = 1, order: str = "<", rows: int = 8, orientation: int = 1,
) -> bytes:  # fmt: skip
    """Write (H, W, samples) as TIFF, by the specification."""
    height, width, count = samples.shape
    kind = 3 if samples.dtype.kind == "f" else 1
    stored = samples.astype(samples.dtype.newbyteorder(order))
    parts = [stored[..., i : i + 1] for i in range(count)] if planar else [stored]
    strips = [part[start : start + rows].tobytes() for part in parts
              for start in range(0, height, rows)]  # fmt: skip
    if compression == 8:
        strips = [zlib.compress(strip) for strip in strips]
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("L", [width]), 257: ("L", [height]), 258: ("H", [samples.dtype.itemsize * 8] * count),
        259: ("H", [compression]), 262: ("H", [photometric]), 273: ("L", [0] * len(strips)),
        274: ("H", [orientation]), 277: ("H", [count]), 278: ("L", [rows]),
        279: ("L", [len(strip) for strip in strips]), 284: ("H", [2 if planar else 1]),
        339: ("H", [kind] * count),
    }  # fmt: skip
    if extra is not None:
        tags[338] = ("H", [extra])
    values_at = 8 + 2 + 12 * len(tags) + 4
    sizes = {tag: struct.calcsize(f"<{len(v)}{t}") for tag, (t, v) in tags.items()}
    start = values_at + sum(size for size in sizes.values() if size > 4)
    tags[273] = ("L", [start + sum(map(len, strips[:i])) for i in range(len(strips))])
    entries, values = b"", b""
    for tag, (code, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        entries += struct.pack(order + "HHL", tag, {"H": 3, "L": 4}[code], len(numbers))
        if len(packed) > 4:
            entries += struct.pack(order + "L", values_at + len(values))
            values += packed
        else:
            entries += packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    count_and_end = struct.pack(order + "H", len(tags)), b"\0\0\0\0"
    return head + count_and_end[0] + entries + count_and_end[1] + values + b"".join(strips)


def deep(samples: Array, dtype: type) -> Array:
    return samples.astype(dtype) * 257 if dtype == np.uint16 else (samples / 255).astype(dtype)


def read(data: bytes) -> Array:
    return decode_image(data, "it.tif").pixels


def bgr(samples: Array) -> Array:
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_planar_samples(dtype: type, channels: int, compression: int, order: str) -> None:
    """Two thirds of the pixels were uninitialised memory."""
    samples = deep(RGBA[..., :channels], dtype)
    extra = 2 if channels == 4 else None
    data = tiff(samples, 2, planar=True, extra=extra, compression=compression, order=order)
    assert np.array_equal(read(data), bgr(samples))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_as_pillow_writes_it(mode: str, compression: str) -> None:
    """Alpha beside grey was lost; 8-bit colours were multiplied by their alpha."""
    image = Image.fromarray(RGBA).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression)
    expected = np.asarray(image.convert("RGBA"))
    assert np.array_equal(read(file.getvalue()), bgr(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_and_planes_are_turned_upright(orientation: int) -> None:
    plain = deep(RGBA[..., :3], np.uint16)
    upright = read(tiff(plain, 2, orientation=orientation))
    assert np.array_equal(read(tiff(plain, 2, planar=True, orientation=orientation)), upright)
    opaque = RGBA | np.array([0, 0, 0, 255], np.uint8)
    with_alpha = read(tiff(opaque, 2, extra=2, orientation=orientation))
    assert np.array_equal(with_alpha, read(tiff(opaque, 2, extra=1, orientation=orientation)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_white_is_zero(dtype: type) -> None:
    """16 bits came as a negative."""
    samples = RGBA[..., :1] if dtype == np.uint8 else deep(RGBA[..., :1], dtype)
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    inverted = (white - samples).astype(dtype)
    assert np.abs(read(tiff(inverted, 0)) - samples[..., 0].astype(float)).max() < 1e-6


def test_white_is_zero_with_alpha() -> None:
    samples = RGBA[..., :2].copy()
    pixels = read(tiff(samples, 0, extra=2))
    assert np.array_equal(pixels[..., 0], 255 - samples[..., 0])
    assert np.array_equal(pixels[..., 3], samples[..., 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_premultiplied_alpha_is_divided_out(dtype: type) -> None:
    straight = RGBA if dtype == np.uint8 else deep(RGBA, np.uint16)
    straight = straight.copy()
    full = np.iinfo(dtype).max
    straight[..., 3] |= full // 2 + 1  # at least half opaque, so that little precision is lost
    alpha = straight[..., 3:] / full
    stored = straight.copy()
    stored[..., :3] = np.rint(straight[..., :3] * alpha)
    pixels = read(tiff(stored, 2, extra=1))
    assert np.array_equal(pixels[..., 3], straight[..., 3])
    assert np.abs(pixels[..., :3].astype(int) - bgr(straight)[..., :3]).max() <= 1


def test_premultiplied_and_wholly_transparent() -> None:
    assert np.array_equal(read(tiff(RGBA * 0, 2, extra=1)), RGBA * 0)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_palettes(bits: int, orientation: int) -> None:
    """A 1-bit palette was mixed to grey."""
    colors = np.random.default_rng(0).integers(0, 256, (3, 1 << bits)) * 257
    row = np.arange(8) % (1 << bits)
    packed = int("".join(f"{index:0{bits}b}" for index in row), 2).to_bytes(bits, "big")
    data = tiff(np.zeros((1, 8, 1), np.uint8), 3, orientation=orientation)
    count = struct.unpack_from("<H", data, 8)[0]
    entries = {entry[0]: entry for entry in struct.iter_unpack("<HHLL", data[10 : 10 + 12 * count])}
    map_at = 8 + 2 + 12 * (count + 1) + 4
    pixels_at = map_at + 6 * (1 << bits)
    changed = {258: bits, 273: pixels_at, 279: bits}
    entries |= {tag: (*entries[tag][:3], value) for tag, value in changed.items()}
    entries[320] = (320, 3, 3 << bits, map_at)
    body = b"".join(struct.pack("<HHLL", *entry) for _, entry in sorted(entries.items()))
    head = data[:8] + struct.pack("<H", count + 1) + body + b"\0\0\0\0"
    file = head + struct.pack(f"<{3 << bits}H", *colors.ravel()) + packed
    expected = (colors[:, row] // 257).T[:, ::-1].reshape(1, 8, 3)
    pixels = read(file)
    assert np.array_equal(pixels if orientation == 1 else pixels.swapaxes(0, 1), expected)


def test_os2_bitmap_of_colours() -> None:
    """Its palette was taken for grey."""
    palette = [(10, 20, 200), (90, 180, 30), (250, 128, 60)] + [(0, 0, 0)] * 253
    start = 26 + 3 * len(palette)
    header = b"BM" + struct.pack("<LLLLHHHH", start + 4, 0, start, 12, 3, 1, 1, 8)
    data = header + b"".join(map(bytes, palette)) + bytes((0, 1, 2, 0))
    assert decode_image(data, "it.bmp").pixels.tolist() == [[list(color) for color in palette[:3]]]


@pytest.mark.parametrize(("mask", "alpha"), [(0, 0), (0xFF000000, 0), (0xFF000000, 255)])
def test_32_bit_bitmap_without_alpha(mask: int, alpha: int) -> None:
    """It was read with an opaque alpha, which a bitmap cannot be written with."""
    fields = struct.pack("<LllHHLLllLL", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0)
    masks = struct.pack("<LLLL", 0xFF0000, 0xFF00, 0xFF, mask)
    header = b"BM" + struct.pack("<LLL", 130, 0, 122) + fields + masks + b"BGRs" + bytes(48)
    pixels = decode_image(header + bytes((1, 2, 3, alpha, 9, 8, 7, alpha)), "it.bmp").pixels
    assert pixels.tolist() == [[[1, 2, 3], [9, 8, 7]]]


def test_layouts_that_cannot_be_read_are_refused() -> None:
    """A codec that needs the layout: JPEG and others are not rewritten."""
    data = tiff(deep(RGBA[..., :2], np.uint16), 1, extra=2)
    pos = data.index(struct.pack("<HHLH", 259, 3, 1, 1)) + 8
    with pytest.raises(ImageError, match=r"it\.tif.*(cannot|damaged)"):
        read(data[:pos] + struct.pack("<H", 34925) + data[pos + 2 :])


def test_a_strip_outside_the_file() -> None:
    data = tiff(RGBA[..., :3], 2)
    with pytest.raises(ImageError, match=r"it\.tif is truncated or damaged.*bytes of pixels"):
        read(data[:-50])
