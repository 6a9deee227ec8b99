"""Kinds of files that OpenCV does not read, or not without help: by Pillow, or refused by name."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, features

from colorcv._opencv import opencv_version
from colorcv.errors import ImageError
from colorcv.image.decoding import decode_image
from colorcv.image.limits import TooManyPixelsError
from colorcv.image.metadata import exif_orientation
from colorcv.image.opencv import UnsupportedKindError
from tests.helpers import icc_profiles
from tests.image.test_profiles import lightness, photo, saved
from tests.image.test_tiff_layout import tiff

Array = npt.NDArray[Any]

GREY, RGB = np.asarray(photo("L")), np.asarray(photo())
HEIGHT, WIDTH = GREY.shape


def with_tags(data: bytes, **numbers: int) -> bytes:
    """Change the values of single SHORT or LONG tags of a little-endian TIFF: t256=..."""
    changed = bytearray(data)
    (start,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for pos in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from("<HH", data, pos)
        if f"t{tag}" in numbers:
            struct.pack_into("<H" if kind == 3 else "<L", changed, pos + 8, numbers[f"t{tag}"])
    return bytes(changed)


def grey_tiff(bits: int, photometric: int) -> bytes:
    """Return a grey TIFF of 2 or 4 bits."""
    values = (GREY >> 8 - bits).astype(np.uint8)
    per_byte = 8 // bits
    packed = sum(values[:, i::per_byte] << 8 - bits * (i + 1) for i in range(per_byte))
    return with_tags(
        tiff(np.asarray(packed, np.uint8)[..., np.newaxis], photometric), t256=WIDTH, t258=bits
    )


def old_jpeg_tiff() -> bytes:
    """Return a TIFF of compression 6, a whole JPEG file behind two tags (TIFF 6.0, section 22)."""
    jpeg = saved(photo(), "JPEG", quality=95, subsampling=0)
    tags = [
        (256, 4, WIDTH), (257, 4, HEIGHT), (258, 3, 8), (259, 3, 6), (262, 3, 6), (273, 4, 0),
        (277, 3, 3), (278, 4, HEIGHT), (279, 4, len(jpeg)), (513, 4, 0), (514, 4, len(jpeg)),
        (530, 3, 1 | 1 << 16),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    directory = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        value = start if tag in (273, 513) else value
        directory += struct.pack("<HHLL", tag, kind, 2 if tag == 530 else 1, value)
    return b"II*\0\x08\0\0\0" + directory + bytes(4) + jpeg


def gif() -> bytes:
    """Return a GIF whose background is outside of its palette."""
    data = bytearray(saved(photo("L").quantize(16), "GIF"))
    data[11] = 255
    return bytes(data)


def bmp(bits: int, masks: tuple[int, ...] = (), header: int = 40) -> bytes:
    """Return a bitmap of 16 or 32 bits."""
    shifts = [(mask & -mask).bit_length() - 1 for mask in masks or (0x7C00, 0x3E0, 0x1F)]
    sizes = [mask.bit_count() for mask in masks or (0x7C00, 0x3E0, 0x1F)]
    values = np.zeros(GREY.shape, np.uint32)
    for channel, (shift, size) in enumerate(zip(shifts, sizes, strict=True)):
        values |= (RGB[..., channel].astype(np.uint32) >> 8 - size) << shift
    rows = values[::-1].astype(f"<u{bits // 8}").tobytes()
    compression = 3 if masks else 0
    info = struct.pack("<LllHHLLllLL", header, WIDTH, HEIGHT, 1, bits, compression, len(rows),
                       0, 0, 0, 0)  # fmt: skip
    info += b"".join(struct.pack("<L", mask) for mask in masks)
    info += bytes(max(0, header - len(info)))  # version 4: no alpha, no colour space
    return (
        b"BM"
        + struct.pack("<LHHL", 14 + len(info) + len(rows), 0, 0, 14 + len(info))
        + (info + rows)
    )


def palette_bmp() -> bytes:
    """Return a bitmap whose header forgets that the palette comes before the pixels."""
    data = bytearray(saved(photo().quantize(64), "BMP"))
    data[10:14] = struct.pack("<L", 54)
    return bytes(data)


def sun_rgb() -> bytes:
    """Return a Sun raster of type 3, whose channels are red, green, blue."""
    head = struct.pack(">8L", 0x59A66A95, WIDTH, HEIGHT, 24, RGB.nbytes, 3, 0, 0)
    return head + RGB.tobytes()


def psd() -> bytes:
    head = struct.pack(">4sH6xHLLHHLLLH", b"8BPS", 1, 3, HEIGHT, WIDTH, 8, 3, 0, 0, 0, 0)
    return head + np.moveaxis(RGB, 2, 0).tobytes()


def qoi() -> bytes:
    pixels = np.insert(RGB.reshape(-1, 3), 0, 0xFE, axis=1)
    head = struct.pack(">4sLLBB", b"qoif", WIDTH, HEIGHT, 3, 0)
    return head + pixels.astype(np.uint8).tobytes() + bytes(7) + b"\1"


def jp2_of_12_bits() -> bytes:
    """Return a codestream of 12 bits: one of 16 with another precision and level shift."""
    values = (GREY.astype(np.uint16) << 4) + 32768 - 2048
    data = bytearray(saved(Image.fromarray(values), "JPEG2000", no_jp2=True))
    pos = data.index(b"\xff\x51") + 40
    assert data[pos] == 15
    data[pos] = 11
    return bytes(data)


BY_OPENCV: dict[str, Callable[[], bytes]] = {
    "BMP of 15 bits": lambda: bmp(16),
    "BMP of 16 bits": lambda: bmp(16, (0xF800, 0x7E0, 0x1F)),
    "BMP with masks, version 4": lambda: bmp(32, (0xFF000000, 0xFF0000, 0xFF00), 108),
    "BMP that forgets its palette": palette_bmp,
    "DIB": lambda: saved(photo(), "DIB"),
    "DIB with a palette": lambda: saved(photo().quantize(64), "DIB"),
    "JPEG 2000 of 12 bits": jp2_of_12_bits,
    "JPEG": lambda: saved(photo(), "JPEG"),
    "JPEG CMYK": lambda: saved(photo("CMYK"), "JPEG"),
    "PBM": lambda: saved(photo("1"), "PPM"),
    "PGM of 16 bits": lambda: saved(Image.fromarray(GREY.astype(np.uint16) * 257), "PPM"),
    "TIFF, grey with alpha": lambda: saved(photo("LA"), "TIFF"),
    "TIFF, group 4": lambda: saved(photo("1"), "TIFF", compression="group4"),
    "TIFF, JPEG": lambda: saved(photo(), "TIFF", compression="jpeg", quality=95),
}
BY_PILLOW: dict[str, Callable[[], bytes]] = {
    "BMP with masks": lambda: bmp(32, (0xFF000000, 0xFF0000, 0xFF00)),
    "BMP with masks and 52 bytes": lambda: bmp(32, (0xFF000000, 0xFF00, 0xFF), 52),
    "GIF": gif,
    "PCX": lambda: saved(photo(), "PCX"),
    "Photoshop": psd,
    "QOI": qoi,
    "SGI": lambda: saved(photo(), "SGI"),
    "SGI, grey": lambda: saved(photo("L"), "SGI", rle=False),
    "Sun raster": sun_rgb,
    "TIFF, 2 bits": lambda: grey_tiff(2, 1),
    "TIFF, 4 bits": lambda: grey_tiff(4, 1),
    "TIFF, 4 bits, WhiteIsZero": lambda: grey_tiff(4, 0),
    "TIFF, LZMA": lambda: saved(photo(), "TIFF", compression="lzma"),
    "TIFF, old JPEG": old_jpeg_tiff,
}


def made(name: str) -> bytes:
    if "JPEG 2000" in name and not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    data = {**BY_OPENCV, **BY_PILLOW}[name]()
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, Image.UnidentifiedImageError) as err:
        pytest.skip(f"this Pillow does not read it: {err}")
    return data


def by_pillow(data: bytes) -> Array:
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "LA":
            upright = upright.convert("L")
        if upright.mode.startswith("I"):
            return lightness(np.asarray(upright).astype(np.uint16))
        if upright.mode in ("1", "L"):
            return lightness(np.asarray(upright.convert("L")))
        return lightness(np.asarray(upright.convert("RGB"))[..., ::-1])


@pytest.fixture
def _no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorcv.image.pillow.is_installed", lambda: False)


@pytest.mark.usefixtures("_no_pillow")
@pytest.mark.parametrize("name", BY_OPENCV)
def test_read_by_opencv(name: str) -> None:
    if "JPEG 2000" in name and opencv_version() < (4, 12):
        pytest.skip("refused on this OpenCV")
    data = made(name)
    error = np.abs(lightness(decode_image(data, "it").pixels) - by_pillow(data))
    assert np.median(error) <= 0.5
    assert np.percentile(error, 99) <= 2


@pytest.mark.parametrize("name", BY_PILLOW)
def test_read_by_pillow(name: str) -> None:
    data = made(name)
    error = np.abs(lightness(decode_image(data, "it").pixels) - by_pillow(data))
    assert np.median(error) <= 0.5
    assert np.percentile(error, 99) <= 2


@pytest.mark.usefixtures("_no_pillow")
@pytest.mark.parametrize("name", BY_PILLOW)
def test_refused_by_name_without_pillow(name: str) -> None:
    with pytest.raises(ImageError, match=r'^photo\.xyz.*pip install "colorcv\[color\]"'):
        decode_image(made(name), "photo.xyz")


@pytest.mark.parametrize("name", BY_PILLOW)
def test_size_is_checked_before_pillow_decodes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(name)

    def fail(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", fail)
    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(TooManyPixelsError, match="photo has 128x96 pixels"):
        decode_image(data, "photo", max_pixels=WIDTH * HEIGHT - 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pillow_reads_upright_with_alpha_and_profile(orientation: int) -> None:
    """A kind that only Pillow reads, LZMA, and the same pixels as a PNG."""
    rgba = np.dstack((RGB, GREY[::-1]))
    exif = Image.Exif()
    exif[274] = orientation
    options = {"icc_profile": icc_profiles.ADOBE_RGB, "exif": exif}
    data = saved(Image.fromarray(rgba), "TIFF", compression="lzma", **options)
    assert data.count(b"\xfd7zXZ\0") >= 1
    read = decode_image(data, "it")
    same = decode_image(saved(Image.fromarray(rgba), "PNG", **options), "it")
    np.testing.assert_array_equal(read.pixels, same.pixels)
    assert read.pixels.shape[2] == 4
    assert read.metadata.icc == same.metadata.icc


def test_sizes_that_the_bytes_cannot_hold() -> None:
    for data, place, number in (
        (psd(), 18, 90_000_000), (qoi(), 4, 90_000_000),
        (saved(photo(), "PCX"), 9, 255), (saved(photo(), "SGI"), 6, 65_000),
    ):  # fmt: skip
        changed = bytearray(data[:1000])
        width = bytes([number]) if number < 256 else number.to_bytes(4, "big").lstrip(b"\0")
        changed[place + (len(width) == 3) : place + (len(width) == 3) + len(width)] = width
        with pytest.raises(ImageError, match="truncated or damaged: its header asks for"):
            decode_image(bytes(changed), "it", max_pixels=1 << 40)


@pytest.mark.parametrize("name", sorted(BY_PILLOW))
def test_truncated_files_are_refused(name: str) -> None:
    data = made(name)
    for part in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError, match=r"^photo\.xyz"):
            decode_image(data[: int(len(data) * part)], "photo.xyz")


@pytest.mark.parametrize("name", sorted(BY_PILLOW))
def test_damage_raises_only_our_error(name: str) -> None:
    rng = np.random.default_rng(0)
    data = made(name)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 5)):
            damaged[rng.integers(min(len(data), 400))] = rng.integers(256)
        with suppress(ImageError):
            decode_image(bytes(damaged), "it", max_pixels=1_000_000)


def test_pillow_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"photo is larger than Pillow reads.*MAX_IMAGE_PIXELS"):
        decode_image(psd(), "photo")


@pytest.mark.parametrize("kind", [1, 2, 4])
def test_signed_samples_are_refused(kind: int) -> None:
    data = with_tags(tiff(GREY.astype(f"u{kind}")[..., np.newaxis], 1), t339=2)
    with pytest.raises(ImageError, match=r"photo.*signed numbers.*save it as PNG"):
        decode_image(data, "photo")


def test_no_second_decoder_for_what_opencv_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("decoded by Pillow")

    files = [saved(photo(), form) for form in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")]
    monkeypatch.setattr("colorcv.image.pillow.read", fail)
    for data in files:
        assert decode_image(data, "it").pixels.shape == RGB.shape

    def refuse(*_: object) -> None:
        raise UnsupportedKindError("it is damaged")

    monkeypatch.setattr("colorcv.image.opencv.decode", refuse)
    for data in (files[0], files[2]):  # JPEG and WebP
        with pytest.raises(ImageError, match="it is damaged"):
            decode_image(data, "it")


# HEIC


def heic(pixels: Array, mode: str, **options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    height, width = pixels.shape[:2]
    file = pillow_heif.from_bytes(mode, (width, height), pixels.tobytes())
    out = io.BytesIO()
    try:
        file.save(out, quality=-1, chroma=444, **options)
    except (RuntimeError, ValueError) as err:
        pytest.skip(f"this pillow-heif does not write HEIC: {err}")
    return out.getvalue()


def test_heic() -> None:
    data = heic(RGB, "RGB")
    read = decode_image(data, "it").pixels
    assert np.abs(read[..., ::-1].astype(int) - RGB).max() <= 6
    assert read.dtype == np.uint8


def test_heic_of_10_bits_fills_16() -> None:
    ramp = np.linspace(0, 1023, GREY.size).reshape(GREY.shape).astype(np.uint16)
    ten = np.dstack((ramp, ramp, ramp))
    read = decode_image(heic(ten, "RGB;10", bit_depth=10), "it").pixels
    assert read.dtype == np.uint16
    assert read.max() == 65535
    assert read.min() == 0
    assert np.abs(read[..., 1] / 65535 * 1023 - ramp).max() <= 3
    assert len(np.unique(read[..., 1])) > 500


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_upright_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "a camera"
    data = heic(RGB, "RGB", exif=exif.tobytes())
    image = photo()
    image.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    read = decode_image(data, "it")
    assert read.pixels.shape == expected.shape
    assert np.abs(read.pixels[..., ::-1].astype(int) - expected).max() <= 6
    assert b"a camera" in read.metadata.exif
    assert exif_orientation(read.metadata.exif) == 1


def test_heic_with_alpha_and_profile() -> None:
    rgba = np.dstack((RGB, GREY[::-1]))
    read = decode_image(heic(rgba, "RGBA"), "it").pixels
    assert np.abs(read[..., [2, 1, 0, 3]].astype(int) - rgba).max() <= 8
    pillow_heif = pytest.importorskip("pillow_heif")
    image = photo()
    image.info["icc_profile"] = icc_profiles.DISPLAY_P3
    out = io.BytesIO()
    pillow_heif.from_pillow(image).save(out, quality=-1, chroma=444)
    managed = decode_image(out.getvalue(), "it")
    plain = decode_image(saved(photo(), "PNG", icc_profile=icc_profiles.DISPLAY_P3), "it")
    assert np.abs(managed.pixels.astype(int) - plain.pixels).max() <= 8
    assert managed.metadata.icc == plain.metadata.icc


def test_damaged_heic() -> None:
    data = heic(RGB, "RGB")
    with pytest.raises(TooManyPixelsError):
        decode_image(data, "photo", max_pixels=WIDTH * HEIGHT - 1)
    for part in (0.1, 0.5, 0.9):
        with pytest.raises(ImageError, match=r"^photo"):
            decode_image(data[: int(len(data) * part)], "photo")
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(4):
            damaged[rng.integers(len(data))] = rng.integers(256)
        with suppress(ImageError):
            decode_image(bytes(damaged), "it", max_pixels=1_000_000)


def test_heic_without_pillow_heif(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("colorcv.image.heif.is_installed", lambda: False)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(ImageError, match=r'photo is HEIC.*pip install "colorcv\[heif\]"'):
        decode_image(data, "photo")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
