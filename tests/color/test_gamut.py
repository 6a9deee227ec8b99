"""L*a*b* to sRGB within its gamut, against the reference in float64."""

from __future__ import annotations

import numpy as np
import pytest

from colorcv._typing import Float32Array
from colorcv.color import gamut
from tests.reference import lab_reference as reference

LEVEL = 1 / 65535


def some_lab(count: int, *, reach: float, seed: int = 0) -> Float32Array:
    rng = np.random.default_rng(seed)
    values = rng.uniform((0, -reach, -reach), (100, reach, reach), (count, 3))
    return values.astype(np.float32)


def test_colours_in_gamut_are_exact() -> None:
    rgb = np.random.default_rng(1).random((20000, 3))
    values = reference.lab_from_rgb(rgb).astype(np.float32)
    bgr = gamut.bgr_from_lab(values)
    assert bgr.dtype == np.float32
    assert np.abs(bgr[:, ::-1] - rgb).max() < LEVEL / 2


def test_colours_out_of_gamut_keep_luminance_and_most_chroma() -> None:
    values = some_lab(5000, reach=110)
    bgr = gamut.bgr_from_lab(values)
    fits = np.isfinite(reference.rgb_from_lab(values)).all(axis=1)
    assert 0.1 < fits.mean() < 0.6
    got = reference.lab_from_rgb(bgr[:, ::-1])
    assert np.abs(got[:, 0] - values[:, 0]).max() < 1e-3
    assert np.abs(bgr[:, ::-1] - reference.desaturated_rgb_from_lab(values)).max() < 1e-5


@pytest.mark.parametrize("lightness", [0, 1e-6, 8, 50, 99.9999, 100])
def test_zero_chroma_is_grey_and_black_and_white_stay(lightness: float) -> None:
    values = np.array([[lightness, 0, 0], [lightness, 90, -90]], np.float32)
    bgr = gamut.bgr_from_lab(values)
    assert np.ptp(bgr[0]) < 1e-6
    assert np.isfinite(bgr).all()
    if lightness in (0, 100):
        assert np.abs(bgr - lightness / 100).max() < 1e-6


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize(
    "reach", [5, 25, 110], ids=["none-outside", "some-outside", "most-outside"]
)
def test_images_are_converted_like_single_colours(order: str, reach: float) -> None:
    values = some_lab(60 * 50, reach=reach).reshape(60, 50, 3)
    values[..., 0] = 20 + 0.6 * values[..., 0]
    planes = np.ascontiguousarray(values.transpose(2, 0, 1))
    linear = gamut.linear_from_lab(planes[0], planes[1:], order)
    one_by_one = np.array([gamut.bgr_from_lab(color) for color in values.reshape(-1, 3)])
    expected = reference.linear_from_srgb(one_by_one.reshape(60, 50, 3))
    expected = expected if order == "bgr" else expected[..., ::-1]
    assert np.abs(linear - expected).max() < 5e-6
    rgb = linear if order == "rgb" else linear[..., ::-1]
    wanted = reference.linear_from_srgb(reference.desaturated_rgb_from_lab(values.astype(float)))
    assert np.abs(rgb - wanted).max() < 5e-6
