"""Photos with an ICC profile: read as sRGB, against LittleCMS; without Pillow a warning."""

from __future__ import annotations

import io
import logging
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, features

import colorcv
from colorcv.color.icc import parse, srgb_profile
from colorcv.image.decoding import decode_image
from colorcv.image.inputs import load_image
from colorcv.image.io import encode_image, read_image, write_image
from colorcv.image.metadata import Metadata, embed
from colorcv.image.source import SourceImage
from colorcv.image.tiff import set_profile
from tests.helpers import icc_profiles as profiles
from tests.image.test_tiff_layout import tiff

Array = npt.NDArray[Any]

RGB_PROFILES = {
    "Adobe RGB": profiles.ADOBE_RGB,
    "Display P3": profiles.DISPLAY_P3,
    "ProPhoto": profiles.PROPHOTO,
    "table": profiles.rgb_table(),
}
GREY_PROFILES = {"gamma 1.8": profiles.GREY_GAMMA, "dot gain": profiles.DOT_GAIN}


def photo(mode: str = "RGB") -> Image.Image:
    """Return a soft image with some colour, like a faded photo."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (96, 128, 3), np.uint8)
    soft = cv2.GaussianBlur(noise, (0, 0), 8).astype(float)
    soft = 0.6 * soft + 0.4 * soft.mean(axis=2, keepdims=True)
    soft = (soft - soft.min()) / np.ptp(soft) * 120 + np.linspace(0, 120, 128)[:, np.newaxis]
    return Image.fromarray(np.rint(soft).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def lightness(pixels: Array) -> Array:
    """Return L* of sRGB, by the definition."""
    full = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    values = pixels.astype(float) / full
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    if linear.ndim == 3:
        linear = linear[..., :3] @ np.array([0.072169, 0.715160, 0.212671])
    return np.where(linear > 216 / 24389, 116 * np.cbrt(linear) - 16, linear * 24389 / 27)


def by_pillow(data: bytes) -> Array:
    """Return the L* of a colour-managed reading with Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        target = ImageCms.createProfile("sRGB")
        managed = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    return lightness(np.asarray(managed)[..., ::-1])


def assert_same_lightness(pixels: Array, expected: Array, *, median: float = 0.5) -> None:
    error = np.abs(lightness(pixels) - expected)
    assert np.median(error) <= median
    assert np.percentile(error, 99) <= 1.5


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("name", RGB_PROFILES)
def test_rgb_profiles(name: str, form: str) -> None:
    profile = RGB_PROFILES[name]
    if form == "JPEG2000":
        if not features.check("jpg_2000"):
            pytest.skip("this Pillow has no JPEG 2000")
        data = saved(photo(), form)
        data = with_jp2_profile(data, profile)
    elif form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    else:
        data = saved(photo(), form, icc_profile=profile)
    read = decode_image(data, "it")
    with Image.open(io.BytesIO(data)) as image:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        managed = ImageCms.profileToProfile(
            image.convert("RGB"), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    assert_same_lightness(read.pixels, lightness(np.asarray(managed)[..., ::-1]))
    assert read.metadata.icc == srgb_profile()
    # This makes a difference: the same file read as sRGB is off.
    plain = np.asarray(photo())[..., ::-1].astype(int)
    assert np.percentile(np.abs(read.pixels - plain), 99) >= 6


def with_jp2_profile(data: bytes, profile: bytes) -> bytes:
    """Replace the colr box, the last in jp2h, by one with a profile."""
    start = data.index(b"colr") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    box = (11 + len(profile)).to_bytes(4, "big") + b"colr\2\0\0" + profile
    header = data.index(b"jp2h") - 4
    length = int.from_bytes(data[header : header + 4], "big") + len(box) - size
    changed = data[:header] + length.to_bytes(4, "big") + data[header + 4 : start]
    return changed + box + data[start + size :]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("name", GREY_PROFILES)
def test_grey_profiles(name: str, form: str) -> None:
    data = saved(photo("L"), form, icc_profile=GREY_PROFILES[name])
    read = decode_image(data, "it")
    assert read.pixels.ndim == 2
    assert_same_lightness(read.pixels, by_pillow(data))
    assert read.metadata.icc == srgb_profile()


def test_a_grey_profile_of_grey_with_alpha() -> None:
    image = photo("LA")
    image.putalpha(photo("L").rotate(180))
    data = saved(image, "PNG", icc_profile=profiles.GREY_GAMMA)
    read = decode_image(data, "it").pixels
    plain = saved(photo("L"), "PNG", icc_profile=profiles.GREY_GAMMA)
    np.testing.assert_array_equal(read[..., 0], decode_image(plain, "it").pixels)
    np.testing.assert_array_equal(read[..., 3], np.asarray(image.getchannel("A")))


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk(form: str) -> None:
    data = saved(photo("CMYK"), form, icc_profile=profiles.cmyk())
    read = decode_image(data, "it")
    assert_same_lightness(read.pixels, by_pillow(data), median=0.1)
    assert read.metadata.icc == srgb_profile()
    naive = decode_image(saved(photo("CMYK"), form), "it").pixels
    assert np.median(np.abs(lightness(naive) - lightness(read.pixels))) > 1


def test_cmyk_is_read_upright_with_its_exif() -> None:
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a camera"
    data = saved(photo("CMYK"), "JPEG", icc_profile=profiles.cmyk(), exif=exif, quality=98)
    read = decode_image(data, "it")
    assert read.pixels.shape == (128, 96, 3)
    assert b"a camera" in read.metadata.exif
    upright = saved(photo("CMYK").rotate(-90, expand=True), "JPEG", icc_profile=profiles.cmyk())
    assert_same_lightness(read.pixels, by_pillow(upright))


@pytest.mark.parametrize(
    "profile", [profiles.ADOBE_RGB, profiles.PROPHOTO, profiles.rgb_table()], ids=["a98", "pp", "t"]
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_stay_16_bits(suffix: str, profile: bytes) -> None:
    bgr = np.asarray(photo())[..., ::-1].astype(np.uint16) * 257 + 100
    ramp = np.linspace(0, 65535, bgr.size // 3).astype(np.uint16).reshape(bgr.shape[:2])
    data = embed(
        encode_image(suffix, np.vstack((bgr, np.dstack([ramp] * 3)))), Metadata(icc=profile)
    )
    read = decode_image(data, "it").pixels
    assert read.dtype == np.uint16
    expected = by_pillow(saved(photo(), "PNG", icc_profile=profile))
    assert_same_lightness(read[: len(bgr)], expected)
    assert len(np.unique(read[len(bgr) :, :, 1])) > 8000  # of 12,288


def test_srgb_is_not_touched() -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    read = decode_image(saved(photo(), "PNG", icc_profile=own), "it")
    np.testing.assert_array_equal(read.pixels[..., ::-1], np.asarray(photo()))
    assert read.metadata.icc == own


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_the_result_carries_srgb(suffix: str, tmp_path: Any) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(saved(photo(), "JPEG", icc_profile=profiles.ADOBE_RGB))
    read = read_image(source)
    target = tmp_path / f"result{suffix}"
    write_image(target, SourceImage(read).colored(np.zeros((4, 4, 2), np.float32)), read.metadata)
    with Image.open(target) as image:
        assert image.info["icc_profile"] == srgb_profile()
        image.load()


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".jp2"])
def test_formats_without_profiles_are_srgb(suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    encode_image(suffix, np.asarray(photo()), Metadata(icc=srgb_profile()))
    assert not caplog.records


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_pillow_images(mode: str, order: str) -> None:
    profile = {"RGB": profiles.ADOBE_RGB, "L": profiles.DOT_GAIN, "CMYK": profiles.cmyk()}[mode]
    data = saved(photo(mode), "TIFF", icc_profile=profile)
    with Image.open(io.BytesIO(data)) as image:
        loaded = load_image(image, order)
        result = loaded.to_result(np.zeros((96, 128, 3), np.uint8))
    pixels = loaded.pixels[..., ::-1] if order == "rgb" and mode != "L" else loaded.pixels
    np.testing.assert_array_equal(pixels, decode_image(data, "it").pixels)
    assert result.info["icc_profile"] == srgb_profile()


def test_the_network_sees_the_converted_photo() -> None:
    plain = decode_image(saved(photo("L"), "PNG", icc_profile=profiles.DOT_GAIN), "it").pixels
    colorizer = colorcv.Colorizer("lite", device="cpu")
    colored = colorizer.colorize(saved(photo("L"), "PNG", icc_profile=profiles.DOT_GAIN))
    np.testing.assert_array_equal(colored, colorizer.colorize(plain))


def test_pages_of_a_tiff_have_their_own_profile() -> None:
    data = set_profile(tiff(np.asarray(photo("L"))[..., np.newaxis], 1), profiles.GREY_GAMMA)
    read = decode_image(data, "it")
    assert_same_lightness(
        read.pixels, by_pillow(saved(photo("L"), "PNG", icc_profile=profiles.GREY_GAMMA))
    )


@pytest.mark.parametrize(
    ("profile", "mode", "says"),
    [
        pytest.param(b"nonsense" * 40, "RGB", "no header", id="nonsense"),
        pytest.param(profiles.ADOBE_RGB[:300], "RGB", "ends at byte", id="truncated"),
        pytest.param(profiles.GREY_GAMMA, "RGB", "is for grey", id="grey-for-rgb"),
        pytest.param(profiles.cmyk(), "RGB", "is for CMYK", id="cmyk-for-rgb"),
        pytest.param(profiles.rgb_table()[:-900], "RGB", "ends at byte", id="short-table"),
        pytest.param(
            profiles.rgb_table().replace(b"mft1", b"mft9"), "RGB", "LittleCMS", id="bad-table"
        ),
        pytest.param(profiles.ADOBE_RGB + bytes(1 << 24), "RGB", "16,77", id="large"),
    ],
)  # fmt: skip
def test_malformed_profiles_are_ignored_with_a_warning(
    profile: bytes, mode: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = set_profile(saved(photo(mode), "TIFF"), profile)
    read = decode_image(data, "photo.tif")
    np.testing.assert_array_equal(read.pixels[..., ::-1], np.asarray(photo(mode)))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "photo.tif: its ICC profile is ignored: " in record.getMessage()
    assert says in record.getMessage()
    assert read.metadata.icc == b""


def test_without_pillow(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorcv.image.pillow.is_installed", lambda: False)
    data = saved(photo(), "PNG", icc_profile=profiles.ADOBE_RGB)
    assert_same_lightness(decode_image(data, "it").pixels, by_pillow(data))
    assert not caplog.records
    for image, profile, kept in (
        (photo("CMYK"), profiles.cmyk(), b""),
        (photo(), profiles.rgb_table(), profiles.rgb_table()),
    ):
        caplog.clear()
        read = decode_image(saved(image, "TIFF", icc_profile=profile), "photo.tif")
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        for part in ("photo.tif", "L*", 'pip install "colorcv[color]"'):
            assert part in record.getMessage()
        assert read.metadata.icc == kept


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab_tiff_keeps_its_bits(dtype: type) -> None:
    full, unit = (255, 1) if dtype == np.uint8 else (65535, 256)
    light = np.linspace(0, 100, 40 * 64).reshape(40, 64)
    ab = np.random.default_rng(0).uniform(-15, 15, (40, 64, 2)) * (light * (100 - light))[..., None]
    signed = np.rint(ab / 2500 * unit).astype(f"i{np.dtype(dtype).itemsize}")
    samples = np.dstack((np.rint(light * full / 100).astype(dtype), signed.view(dtype)))
    read = decode_image(tiff(samples, 8), "it").pixels
    assert read.dtype == dtype
    error = np.abs(lightness(read) - light)
    assert error.max() < (0.7 if dtype == np.uint8 else 0.02)
    offset = samples.copy()
    offset[..., 1:] += dtype(128 * unit)
    np.testing.assert_array_equal(decode_image(tiff(offset, 9), "it").pixels, read)


def test_damaged_profiles_in_files_never_crash() -> None:
    rng = np.random.default_rng(0)
    seeds = [*RGB_PROFILES.values(), *GREY_PROFILES.values(), profiles.cmyk()]
    grey, color = saved(photo("L"), "TIFF"), saved(photo().resize((16, 16)), "TIFF")
    for number in range(300):
        damaged = bytearray(seeds[number % len(seeds)])
        for _ in range(4):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        for data in (grey, color):
            decode_image(set_profile(data, bytes(damaged)), "it")
    assert not parse(profiles.ADOBE_RGB).is_srgb
