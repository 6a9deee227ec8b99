"""ICC profiles: read as LittleCMS reads them, at any bit depth; damaged ones are refused."""

from __future__ import annotations

import io
import random
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from colorcv.color.icc import ProfileError, TableProfileError, color_space, parse, srgb_profile
from colorcv.color.management import interpolate_table, srgb_from_lab, srgb_from_profile
from tests.helpers import icc_profiles as profiles

Array = npt.NDArray[Any]

RGB_PROFILES = {
    "Adobe RGB": profiles.ADOBE_RGB,
    "Display P3": profiles.DISPLAY_P3,
    "ProPhoto": profiles.PROPHOTO,
}
GREY_PROFILES = {
    "gamma 1.8": profiles.GREY_GAMMA,
    "dot gain": profiles.DOT_GAIN,
    "gamma 2.2 of L*": profiles.grey(profiles.gamma_curve(1.0), b"Lab "),
    "steps of 16 bits": profiles.grey(profiles.table_curve(list(np.linspace(0, 1, 1024) ** 2.2))),
    "para 0": profiles.grey(profiles.parametric_curve(0, 2.2)),
    "para 1": profiles.grey(profiles.parametric_curve(1, 2.2, 0.9, 0.1)),
    "para 2": profiles.grey(profiles.parametric_curve(2, 2.0, 0.8747, 0.1, 0.05)),
    "para 4": profiles.grey(profiles.parametric_curve(4, 2.4, 0.95, 0.05, 0.08, 0.04, 0, 0)),
}


def photo() -> Array:
    """Colours like those of a photo, RGB: few are outside the gamut of sRGB."""
    rng = np.random.default_rng(0)
    colors = rng.normal(0, 12, (96, 80, 3)) + rng.normal(128, 40, (96, 80, 1))
    return np.clip(colors, 0, 255).astype(np.uint8)


def by_littlecms(image: Array, profile: bytes, mode: str = "RGB") -> Array:
    target = ImageCms.createProfile("sRGB")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return np.asarray(
        ImageCms.profileToProfile(Image.fromarray(image), source, target, intent, outputMode=mode)
    )


@pytest.mark.parametrize("name", RGB_PROFILES)
def test_rgb_agrees_with_littlecms(name: str) -> None:
    rgb = photo()
    expected = by_littlecms(rgb, RGB_PROFILES[name]).astype(int)
    bgr = srgb_from_profile(rgb[..., ::-1], parse(RGB_PROFILES[name]))
    inside = ((expected > 0) & (expected < 255)).all(axis=2)
    assert inside.mean() > 0.9
    assert np.abs(bgr[..., ::-1] - expected)[inside].max() <= 1
    deep = srgb_from_profile(rgb[..., ::-1].astype(np.uint16) * 257, parse(RGB_PROFILES[name]))
    assert np.abs(deep / 257 - bgr).max() <= 0.51
    floats = srgb_from_profile(np.float32(rgb[..., ::-1] / 255), parse(RGB_PROFILES[name]))
    assert np.abs(floats * 65535 - deep).max() <= 1


@pytest.mark.parametrize("name", GREY_PROFILES)
def test_grey_agrees_with_littlecms(name: str) -> None:
    values = np.arange(256, dtype=np.uint8)[np.newaxis]
    expected = by_littlecms(values, GREY_PROFILES[name])[..., 1].astype(int)
    ours = srgb_from_profile(values, parse(GREY_PROFILES[name]))
    # LittleCMS interpolates between coarse steps in the shadows, so these are not compared.
    bright = expected > 90
    assert bright.sum() > 100
    assert np.abs(ours - expected)[bright].max() <= 1


def test_grey_keeps_16_bits() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    ours = srgb_from_profile(values, parse(profiles.GREY_GAMMA))
    linear = (values / 65535) ** (461 / 256)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(ours - expected * 65535).max() < 1.5
    assert len(np.unique(ours)) > 55_000


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("name", RGB_PROFILES)
def test_grey_of_an_rgb_profile_stays_grey(name: str, dtype: type) -> None:
    full = 1.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    grey = (np.linspace(0, 1, 400).reshape(20, 20) * full).astype(dtype)
    profile = parse(RGB_PROFILES[name])
    colors = srgb_from_profile(np.dstack((grey, grey, grey)), profile)
    assert colors.dtype == dtype
    assert np.ptp(colors, axis=2).max() == 0
    np.testing.assert_array_equal(srgb_from_profile(grey, profile), colors[..., 0])
    assert colors.max() == pytest.approx(full, rel=1e-6)
    assert colors.min() == 0


def test_alpha_is_kept() -> None:
    pixels = np.dstack((photo(), np.arange(96 * 80).reshape(96, 80).astype(np.uint8)))
    out = srgb_from_profile(pixels, parse(profiles.ADOBE_RGB))
    np.testing.assert_array_equal(out[..., 3], pixels[..., 3])
    np.testing.assert_array_equal(
        out[..., :3], srgb_from_profile(pixels[..., :3], parse(profiles.ADOBE_RGB))
    )


def test_colors_outside_the_gamut_keep_their_luminance() -> None:
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(18, -1, 3)
    bgr = srgb_from_profile(rgb[..., ::-1].astype(np.uint16) * 257, parse(profiles.DISPLAY_P3))
    values = bgr[..., ::-1] / 65535
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    source = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.212671, 0.715160, 0.072169])
    # The luminance of Display P3, whose white is that of sRGB (SMPTE EG 432-1).
    expected = source @ np.array([0.2289746, 0.6917385, 0.0792869])
    assert np.abs(luminance - expected).max() < 5e-4


def test_the_profile_of_srgb() -> None:
    profile = srgb_profile()
    assert len(profile) == int.from_bytes(profile[:4], "big")
    assert color_space(profile) == "RGB"
    assert parse(profile).is_srgb
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    assert ImageCms.getProfileDescription(opened).strip() == "sRGB"
    np.testing.assert_array_equal(by_littlecms(photo(), profile), photo())


def test_which_profiles_are_srgb() -> None:
    assert parse(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()).is_srgb
    others = [*RGB_PROFILES.values(), *GREY_PROFILES.values()]
    assert not any(parse(profile).is_srgb for profile in others)


def with_count(profile: bytes, count: int) -> bytes:
    return profile[:128] + struct.pack(">L", count) + profile[132:]


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        pytest.param(b"", "no header", id="empty"),
        pytest.param(b"RGB " * 50, "no header", id="not-a-profile"),
        pytest.param(profiles.ADOBE_RGB[:200], "ends at byte", id="truncated"),
        pytest.param(profiles.ADOBE_RGB[:131] + b"\x09", "ends too early", id="truncated-tags"),
        pytest.param(with_count(profiles.ADOBE_RGB, 1 << 31), "2147483648 tags", id="tags"),
        pytest.param(with_count(profiles.ADOBE_RGB, 3), "has no rTRC", id="no-curves"),
        pytest.param(
            profiles.ADOBE_RGB[:12] + b"link" + profiles.ADOBE_RGB[16:], "class", id="link"
        ),
        pytest.param(profiles.grey(b"curv" + bytes(4) + b"\xff" * 8), "points", id="long-curve"),
        pytest.param(profiles.grey(b"sf32" + bytes(12)), "sf32", id="no-curve"),
        pytest.param(profiles.grey(profiles.gamma_curve(0)), "exponent 0", id="gamma-0"),
        pytest.param(profiles.grey(profiles.parametric_curve(7, 1)), "type 7", id="para-7"),
        pytest.param(
            profiles.grey(profiles.parametric_curve(1, 2, 0, 1)), "no slope", id="para-flat"
        ),
        pytest.param(
            profiles.rgb([(0.3, 0.3, 0.3)] * 3, profiles.gamma_curve(2)), "white", id="one-primary"
        ),
    ],
)
def test_damaged_profiles_are_refused(profile: bytes, says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        parse(profile)


@pytest.mark.parametrize("profile", [profiles.cmyk(), profiles.rgb_table()], ids=["CMYK", "RGB"])
def test_tables_are_named(profile: bytes) -> None:
    with pytest.raises(TableProfileError, match=f"table for {color_space(profile)}"):
        parse(profile)


def test_random_damage() -> None:
    """Raise a ProfileError, or return curves that give finite numbers."""
    rng = random.Random(0)
    seeds = [*RGB_PROFILES.values(), *GREY_PROFILES.values(), srgb_profile()]
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    usable = 0
    for _ in range(3000):
        damaged = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            profile = parse(bytes(damaged[: rng.randint(1, len(damaged) * 3)]))
        except ProfileError:
            continue
        usable += 1
        assert np.isfinite(srgb_from_profile(np.float32(pixels / 255), profile)).all()
    assert usable > 300


def test_interpolate_table() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (40, 30, 4), np.uint16)
    axis = np.linspace(0, 1, 5, dtype=np.float32)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    # A trilinear function is interpolated without error.
    table = np.stack((green * red, 1 - blue, 0.5 * (blue + green * red)), axis=-1)
    out = interpolate_table(pixels, table)
    b, g, r = (pixels[..., channel] / 65535 for channel in range(3))
    expected = np.stack((g * r, 1 - b, 0.5 * (b + g * r)), axis=-1) * 65535
    assert np.abs(out[..., :3] - expected).max() < 1
    np.testing.assert_array_equal(out[..., 3], pixels[..., 3])


def test_lab_keeps_its_lightness() -> None:
    light = np.linspace(0, 100, 1000, dtype=np.float32).reshape(10, 100)
    lab = np.dstack((light, np.full_like(light, 20), np.full_like(light, -30)))
    bgr = srgb_from_lab(lab, np.uint16)
    values = bgr / 65535
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.072169, 0.715160, 0.212671])
    expected = np.where(light > 8, ((light + 16) / 116) ** 3, light * 27 / 24389)
    assert np.abs(luminance - expected).max() < 1e-4
