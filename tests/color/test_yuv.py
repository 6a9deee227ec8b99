"""U and V against a float64 conversion of every pixel."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from colorcv.color.yuv import BT601, BT709, LumaFormat, chroma_planes
from tests.helpers.films import texture
from tests.reference.lab_reference import (
    area_mean,
    cubic,
    lab_from_rgb,
    linear_from_lab,
    srgb_from_linear,
)

SMALL_HW, FULL_HW = (64, 48), (240, 320)
LUMA_WEIGHTS = {BT709: (0.2126, 0.7152, 0.0722), BT601: (0.299, 0.587, 0.114)}  # R, G, B


def values_of(luma: Any, luma_format: LumaFormat) -> Any:
    """Return Y in 0..1 of luma codes."""
    scale = 1 << (luma_format.bits - 8)
    black, white = (0, 256 * scale - 1) if luma_format.full_range else (16 * scale, 235 * scale)
    return np.clip((np.asarray(luma, np.float64) - black) / (white - black), 0, 1)


def lightness_of(luma: Any, luma_format: LumaFormat) -> Any:
    """Return L* of luma codes as grey."""
    grey = np.repeat(values_of(luma, luma_format)[..., np.newaxis], 3, axis=-1)
    return lab_from_rgb(grey)[..., 0]


def every_pixel(luma: Any, ab: Any, luma_format: LumaFormat) -> Any:
    """Convert (L*, a*, b*) of every pixel of the chroma planes, keep Y, and fit the gamut."""
    hw = (luma.shape[0] // 2, luma.shape[1] // 2)
    # OpenCV rounds the mean of four codes half up.
    half = np.floor(area_mean(luma, hw) + 0.5)
    lab = np.concatenate([lightness_of(half, luma_format)[..., np.newaxis], cubic(ab, hw)], axis=-1)
    rgb = srgb_from_linear(np.clip(linear_from_lab(lab), 0, 1))
    weights = np.array(LUMA_WEIGHTS[luma_format.matrix])
    apart = rgb - (rgb @ weights)[..., np.newaxis]
    value = values_of(half, luma_format)[..., np.newaxis]
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(apart > 0, (1 - value) / apart, value / -apart)
    apart *= np.minimum(np.where(np.abs(apart) < 1e-12, 1, room).min(axis=-1, keepdims=True), 1)
    scale = 1 << (luma_format.bits - 8)
    span = 256 * scale - 1 if luma_format.full_range else 224 * scale
    cb, cr = apart[..., 2] / (2 - 2 * weights[2]), apart[..., 0] / (2 - 2 * weights[0])
    return np.stack([cb, cr]) * span + 128 * scale


def fast(luma: Any, ab: Any, luma_format: LumaFormat) -> Any:
    small = area_mean(lightness_of(luma, luma_format), ab.shape[:2]).astype(np.float32)
    return np.stack(chroma_planes(luma, ab, small, luma_format)).astype(np.float64)


FORMATS = [
    pytest.param(LumaFormat(8, False, BT709), id="8 bits, limited"),
    pytest.param(LumaFormat(8, True, BT601), id="8 bits, full range, BT.601"),
    pytest.param(LumaFormat(10, False, BT709), id="10 bits"),
]


@pytest.mark.parametrize("luma_format", FORMATS)
def test_gradual_frames_equal_the_conversion_of_every_pixel(luma_format: LumaFormat) -> None:
    scale = 1 << (luma_format.bits - 8)
    ramp = np.linspace(30 * scale, 220 * scale, FULL_HW[1])
    luma = np.rint(np.tile(ramp, (FULL_HW[0], 1))).astype(np.uint8 if scale == 1 else np.uint16)
    for angle in np.arange(0, 2 * np.pi, np.pi / 6):
        ab = np.empty((*SMALL_HW, 2), np.float32)
        ab[:] = 25 * np.cos(angle), 25 * np.sin(angle)
        off = np.abs(fast(luma, ab, luma_format) - every_pixel(luma, ab, luma_format)) / scale
        # Levels of 8 bits, with those of rounding; the largest where the dark end of a hue begins.
        assert off.max() <= 2.5
        assert np.percentile(off, 98) <= 1.2
        assert off.mean() <= 0.3


@pytest.mark.parametrize("luma_format", FORMATS)
def test_textured_frames_are_near_the_conversion_of_every_pixel(luma_format: LumaFormat) -> None:
    scale = 1 << (luma_format.bits - 8)
    codes = 120 + 50 * texture(1, FULL_HW, 1, detail=12)[..., 0]
    codes[60:120, 40:200] = 20  # sharp edges, dark and light
    codes[140:200, 100:260] = 228
    luma = np.rint(np.clip(codes, 0, 255) * scale).astype(np.uint8 if scale == 1 else np.uint16)
    ab = 18 * texture(2, SMALL_HW, 2, detail=6)
    off = np.abs(fast(luma, ab, luma_format) - every_pixel(luma, ab, luma_format)) / scale
    assert off.mean() <= 0.8
    assert np.percentile(off, 99) <= 6


@pytest.mark.parametrize("luma_format", FORMATS)
def test_red_green_and_blue_stay_within_their_range(luma_format: LumaFormat) -> None:
    scale = 1 << (luma_format.bits - 8)
    luma = (np.arange(256).reshape(16, 16).repeat(2, 0).repeat(2, 1) * scale).astype(
        np.uint8 if scale == 1 else np.uint16
    )
    weights = np.array(LUMA_WEIGHTS[luma_format.matrix])
    value = values_of(luma[::2, ::2], luma_format)
    for ab in ((80, 0), (-80, 0), (0, 80), (0, -100), (60, 60), (-60, 60), (70, -90)):
        planes = fast(luma, np.full((16, 16, 2), ab, np.float32), luma_format)
        cb, cr = (planes - 128 * scale) / luma_format.chroma_scale
        red, blue = value + (2 - 2 * weights[0]) * cr, value + (2 - 2 * weights[2]) * cb
        green = (value - weights[0] * red - weights[2] * blue) / weights[1]
        rgb = np.stack([red, green, blue])
        # Half a level of U and V is up to 1.1 levels of red, green and blue.
        assert rgb.min() >= -1.2 / 255
        assert rgb.max() <= 1 + 1.2 / 255
        assert np.ptp(cb) + np.ptp(cr) > 0.1


@pytest.mark.parametrize("hw", [(720, 1280), (1080, 1920), (479, 641), (96, 80)])
@pytest.mark.parametrize("luma_format", FORMATS)
def test_lightness_is_the_area_mean_of_the_whole_plane(
    luma_format: LumaFormat, hw: tuple[int, int]
) -> None:
    """Large planes are reduced in strips of rows."""
    codes = np.random.default_rng(3).integers(0, 1 << luma_format.bits, hw)
    luma = codes.astype(np.uint8 if luma_format.bits == 8 else np.uint16)
    expected = luma_format.lightness[codes]
    for axis, size in enumerate((64, 48)):
        interpolation = cv2.INTER_AREA if size < hw[axis] else cv2.INTER_LINEAR
        step_wh = (hw[1], size) if axis == 0 else (size, 64)
        expected = np.asarray(cv2.resize(expected, step_wh, interpolation=interpolation))
    np.testing.assert_allclose(luma_format.lightness_at(luma, (64, 48)), expected, atol=2e-4)


def test_grey_stays_neutral() -> None:
    luma = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    planes = fast(luma, np.zeros((16, 16, 2), np.float32), LumaFormat(8, False, BT709))
    assert np.abs(planes - 128).max() <= 0


def test_chroma_larger_than_the_planes_is_averaged() -> None:
    luma = np.full((16, 16), 120, np.uint8)
    ab = np.full((64, 64, 2), 20, np.float32)
    ab[::2, :, 0] = 40
    small = np.full((64, 64), 48, np.float32)
    u, v = chroma_planes(luma, ab, small, LumaFormat(8, False, BT709))
    even = cv2.resize(ab, (8, 8), interpolation=cv2.INTER_AREA)
    expected = chroma_planes(luma, even, small[:8, :8], LumaFormat(8, False, BT709))
    assert np.abs(u.astype(int) - expected[0]).max() <= 1
    assert np.abs(v.astype(int) - expected[1]).max() <= 1
