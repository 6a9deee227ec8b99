"""Colour conversions against a float64 reference, chroma upsampling against true chroma."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colorcv.color import lab
from tests.reference import lab_reference as reference

# One level of 16 bits.
LEVEL = 1 / 65535


def test_srgb_and_its_inverse_are_exact_at_every_16_bit_level() -> None:
    values = (np.arange(65536) / 65535).astype(np.float32)
    linear = lab.linear_from_srgb(values)
    assert np.abs(linear - reference.linear_from_srgb(values)).max() < 5e-7
    assert np.abs(lab.srgb_from_linear(linear) - values).max() < LEVEL / 20
    np.testing.assert_allclose(lab.linear_table(65536), linear, rtol=0, atol=5e-7)


def test_lightness_of_every_16_bit_grey() -> None:
    expected = reference.lightness_of(np.arange(65536, dtype=np.uint16)[np.newaxis])[0]
    assert np.abs(lab.lightness_table(65536) - expected).max() < 1e-4
    assert np.array_equal(lab.lightness_table(256), lab.lightness_table(65536)[::257])


@settings(max_examples=30, deadline=None)
@given(
    small=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    times=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 99),
)
def test_upsampled_chroma_keeps_area_means(
    small: tuple[int, int], times: tuple[int, int], seed: int
) -> None:
    full = small[0] * times[0], small[1] * times[1]
    rng = np.random.default_rng(seed)
    ab = rng.uniform(-60, 60, (*small, 2)).astype(np.float32)
    lightness = rng.uniform(0, 100, full).astype(np.float32)
    kept = ab.copy(), lightness.copy()
    chroma = lab.upsample_chroma(ab, lightness)
    assert chroma.shape == (*full, 2)
    assert chroma.dtype == np.float32
    assert np.isfinite(chroma).all()
    residual = reference.area_mean(chroma, small) - ab
    assert np.abs(residual).mean() < 6
    assert np.array_equal(ab, kept[0])
    assert np.array_equal(lightness, kept[1])


def test_flat_chroma_stays_flat() -> None:
    lightness = np.random.default_rng(0).uniform(0, 100, (64, 48)).astype(np.float32)
    flat = np.full((16, 12, 2), (20, -30), np.float32)
    assert np.abs(lab.upsample_chroma(flat, lightness) - flat[0, 0]).max() < 1e-3


@pytest.mark.parametrize("full", [(64, 48), (56, 42), (16, 48)])
def test_upsampling_equals_the_reference(full: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    ab = rng.uniform(-60, 60, (16, 12, 2)).astype(np.float32)
    lightness = rng.uniform(0, 100, full).astype(np.float32)
    expected = reference.upsampled_chroma(ab, lightness)
    assert np.abs(lab.upsample_chroma(ab, lightness) - expected).max() < 0.02


def psnr(difference: npt.NDArray[np.generic]) -> float:
    return float(10 * np.log10(255**2 / np.mean(np.square(difference, dtype=np.float64))))


def upsampling_psnr(rgb: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Return the PSNR of ab upsampled from 56x56 to full size: bilinear, ours."""
    true = reference.lab_from_rgb(rgb / 255).astype(np.float32)
    size_wh = true.shape[1], true.shape[0]
    ab = cv2.resize(true, (56, 56), interpolation=cv2.INTER_AREA)[..., 1:].copy()
    light = cv2.resize(true, (224, 224), interpolation=cv2.INTER_AREA)[..., 0].copy()
    chroma = lab.upsample_chroma(ab, light)
    ours = cv2.resize(chroma, size_wh, interpolation=cv2.INTER_CUBIC)
    bilinear = cv2.resize(ab, size_wh, interpolation=cv2.INTER_LINEAR)
    return psnr(bilinear - true[..., 1:]), psnr(ours - true[..., 1:])


def test_beats_bilinear_on_a_drawn_scene() -> None:
    y, x = np.mgrid[:300, :400]
    rgb = np.empty((300, 400, 3))
    rgb[...] = np.stack((0.35 + y / 900, 0.5 + y / 1000, 0.9 - y / 900), axis=-1)
    for center, radius, color in [
        ((150, 120), 70, (0.85, 0.3, 0.2)),
        ((180, 280), 55, (0.95, 0.8, 0.1)),
    ]:
        rgb[(y - center[0]) ** 2 + (x - center[1]) ** 2 < radius**2] = color
    rgb[240:] = (0.2, 0.45, 0.15)
    rgb *= 1 + 0.1 * np.sin(x / 7)[..., np.newaxis]
    bilinear, ours = upsampling_psnr((np.clip(rgb, 0, 1) * 255).astype(np.uint8))
    assert ours > bilinear + 0.5


def test_beats_bilinear_on_every_photo(shared: Path) -> None:
    found = []
    for path in sorted((shared / "photos/color").iterdir()):
        bgr = cv2.imread(str(path))
        assert bgr is not None
        found.append(upsampling_psnr(bgr[..., ::-1]))
        assert found[-1][1] > found[-1][0], path.name
    bilinear, ours = np.mean(found, axis=0)
    assert ours > bilinear + 1.2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (3, 5, 1), (2, 3, 4)])
def test_lookup_is_indexing(dtype: type, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    table = np.random.default_rng(1).random(256).astype(np.float32)
    looked_up = lab.apply_lut(values, table)
    assert looked_up.dtype == np.float32
    assert np.array_equal(looked_up, table[values])


def test_lookup_tables_are_read_only() -> None:
    for table in (lab.linear_table(256), lab.lightness_table(65536)):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1
