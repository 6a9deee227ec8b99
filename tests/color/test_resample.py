"""Resizing by strips against resizing at once and against a float64 reference."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colorcv.color.resample import downscale_strips, resize, shrink_strip, upscale_rows
from tests.reference import lab_reference as reference

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


def strips(
    array: npt.NDArray[np.float32], rows: int
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]


@settings(max_examples=80, deadline=None)
@given(full=SIZES, small=SIZES, rows=st.integers(1, 60))
def test_downscaling_by_strips_is_the_area_mean(
    full: tuple[int, int], small: tuple[int, int], rows: int
) -> None:
    array = np.random.default_rng(0).uniform(0, 100, full).astype(np.float32)
    parts = [shrink_strip(strip, start, full, small) for start, strip in strips(array, rows)]
    got = downscale_strips(parts, full, small)
    assert got.shape == small
    assert got.dtype == np.float32
    assert np.abs(got - reference.area_mean(array, small)).max() < 0.05


@settings(max_examples=80, deadline=None)
@given(
    small=SIZES, grow=st.tuples(st.integers(0, 200), st.integers(0, 200)), rows=st.integers(1, 99)
)
def test_upscaling_by_strips_is_cubic_interpolation(
    small: tuple[int, int], grow: tuple[int, int], rows: int
) -> None:
    full = small[0] + grow[0], small[1] + grow[1]
    array = np.random.default_rng(0).uniform(-100, 100, (*small, 2)).astype(np.float32)
    parts = [
        upscale_rows(array, full, start, min(start + rows, full[0]))
        for start in range(0, full[0], rows)
    ]
    got = np.concatenate(parts, axis=1)
    assert got.shape == (2, *full)
    assert np.abs(got.transpose(1, 2, 0) - reference.cubic(array, full)).max() < 0.01


@pytest.mark.parametrize("width", [40_000, 70_000])
def test_rows_longer_than_65535(width: int) -> None:
    small = np.linspace(-50, 50, 224 * 2, dtype=np.float32).reshape(1, 224, 2)
    wide = upscale_rows(small, (2, width), 1, 2)
    assert wide.shape == (2, 1, width)
    assert np.all(np.diff(wide[0, 0]) >= -1e-3)
    back = resize(np.ascontiguousarray(wide.transpose(1, 2, 0)), (1, 224))
    assert np.abs(back - small).max() < 0.1


@pytest.mark.parametrize("height", [240, 360, 480, 576, 720, 1080])
def test_rows_of_videos_are_averaged_exactly(height: int) -> None:
    array = np.random.default_rng(2).uniform(0, 100, (height, 30)).astype(np.float32)
    for rows in (192, 224):
        got = resize(array, (rows, 30))
        assert np.abs(got - reference.area_mean(array, (rows, 30))).max() < 1e-3
        got = resize(array[:, 3:20], (rows, 17))  # not contiguous
        assert np.abs(got - reference.area_mean(array[:, 3:20], (rows, 17))).max() < 1e-3


def test_the_reference_agrees_with_opencv() -> None:
    """Area mean and cubic interpolation, at sizes that divide and that do not."""
    array = np.random.default_rng(1).uniform(0, 100, (60, 45)).astype(np.float32)
    for small in ((20, 15), (17, 13)):
        area = cv2.resize(array, small[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(area - reference.area_mean(array, small)).max() < 0.05
    cubic = cv2.resize(array, (130, 170), interpolation=cv2.INTER_CUBIC)
    assert np.abs(cubic - reference.cubic(array, (170, 130))).max() < 0.01
