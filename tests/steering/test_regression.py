"""Steering against the plain formula, and what must hold of it whatever comes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colorcv.steering.kernel import HINT_KERNEL, REFERENCE_KERNEL, Kernel, Places, Scale
from colorcv.steering.regression import MAX_POINTS, Regression

Float32Array = npt.NDArray[np.float32]


def random_image(
    seed: int = 0, hw: tuple[int, int] = (24, 20), channels: int = 7
) -> tuple[Float32Array, Float32Array]:
    """Features, a quarter of the size, and lightness."""
    random = np.random.default_rng(seed)
    features = np.maximum(random.normal(size=(hw[0] // 4, hw[1] // 4, channels)), 0)
    return features.astype(np.float32), random.uniform(0, 100, hw).astype(np.float32)


def image_places(seed: int = 0, **size: object) -> Places:
    return Places.from_image(*random_image(seed, **size))  # type: ignore[arg-type]


def oracle(
    image: Places, known: Places, residual: Float32Array, kernel: Kernel
) -> npt.NDArray[np.float64]:
    """The textbook's formula: pair by pair, in float64."""

    def likeness(left: Places, right: Places) -> npt.NDArray[np.float64]:
        table = np.zeros((len(left), len(right)))
        for i, j in np.ndindex(table.shape):
            for weight, place, lightness, feature in kernel.scales:
                off = ((left.features[i].astype(float) - right.features[j]) ** 2).sum()
                off = off / feature**2 + ((float(left.lightness[i]) - right.lightness[j])
                                          / lightness) ** 2  # fmt: skip
                if place is not None:
                    off += (((left.position[i].astype(float) - right.position[j]) / place)
                            ** 2).sum()  # fmt: skip
                table[i, j] += weight * np.exp(-off / 2)
        return table

    inside = likeness(known, known) + kernel.noise * np.eye(len(known))
    return likeness(image, known) @ np.linalg.inv(inside) @ residual.astype(float)


@pytest.mark.parametrize("kernel", [HINT_KERNEL, REFERENCE_KERNEL], ids=["hints", "reference"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_it_is_the_textbook_formula(kernel: Kernel, count: int) -> None:
    image, other = image_places(1), image_places(2)
    random = np.random.default_rng(3)
    known = other.take(random.permutation(len(other))[:count])
    residual = random.normal(0, 40, (count, 2)).astype(np.float32)
    found = Regression(known, residual, kernel).predict(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, oracle(image, known, residual, kernel), atol=2e-3)


def test_features_are_enlarged_and_of_length_1() -> None:
    features, lightness = random_image(4)
    features[0, :2] = 0  # a place where no feature answers
    places = Places.from_image(features, lightness)
    assert places.features.shape == (480, 7)
    lengths = np.linalg.norm(places.features, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))
    # The middle of four cells, by hand.
    middle = features[1:3, 1:3].reshape(4, -1)
    near = [places.features[row * 20 + column] for row in (7, 8) for column in (7, 8)]
    weights = np.array([0.625, 0.375])
    for (row, column), found in zip(np.ndindex(2, 2), near, strict=True):
        rows = weights if row == 0 else weights[::-1]
        columns = weights if column == 0 else weights[::-1]
        mixed = np.outer(rows, columns).ravel() @ middle
        np.testing.assert_allclose(found, mixed / np.linalg.norm(mixed), atol=1e-5)


def test_features_of_the_full_models_width() -> None:
    random = np.random.default_rng(0)
    features = random.uniform(0, 1, (4, 4, 256)).astype(np.float32)
    lightness = np.full((16, 16), 50, np.float32)
    places = Places.from_image(features, lightness)
    assert places.features.shape == (256, 256)
    np.testing.assert_allclose(
        places.features[0], features[0, 0] / np.linalg.norm(features[0, 0]), atol=1e-6
    )


def test_positions_are_fractions_of_the_sides() -> None:
    position = image_places().position.reshape(24, 20, 2)
    np.testing.assert_allclose(position[0, 0], [0.5 / 24, 0.5 / 20])
    np.testing.assert_allclose(position[23, 4], [23.5 / 24, 4.5 / 20])


def test_residuals_of_zero_change_nothing_at_all() -> None:
    image = image_places()
    found = Regression(image.take(slice(0, 50)), np.zeros((50, 2), np.float32), HINT_KERNEL)
    assert not found.predict(image).any()


def test_nothing_known_changes_nothing() -> None:
    image = image_places()
    empty = Regression(image.take(slice(0, 0)), np.zeros((0, 2), np.float32), HINT_KERNEL)
    assert len(empty) == 0
    assert not empty.predict(image).any()


@given(st.integers(0, 10**6), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_the_order_does_not_matter(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    image = image_places(seed)
    indices = random.integers(0, len(image), count)  # the same place may come twice
    residual = random.normal(0, 30, (count, 2)).astype(np.float32)
    turned = random.permutation(count)
    first = Regression(image.take(indices), residual, HINT_KERNEL).predict(image)
    second = Regression(image.take(indices[turned]), residual[turned], HINT_KERNEL).predict(image)
    np.testing.assert_array_equal(first, second)


@given(st.integers(0, 10**6), st.floats(-150, 150), st.floats(-150, 150))
@settings(max_examples=25, deadline=None)
def test_one_hint_is_followed_where_it_stands(seed: int, a: float, b: float) -> None:
    image = image_places(seed)
    at = np.array([seed % len(image)])
    residual = np.array([[a, b]], np.float32)
    found = Regression(image.take(at), residual, HINT_KERNEL).predict(image)
    assert np.abs(found[at] - residual).max() <= 3
    # Nowhere does one hint move more than where it stands.
    assert np.all(np.abs(found) <= np.abs(found[at]) + 1e-3)


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_contradictions_are_averaged(seed: int) -> None:
    image = image_places(seed)
    at = np.array([5, 5, 5, 5])
    residual = np.array([[90, 10], [-90, 10], [90, 10], [-90, 10]], np.float32)
    found = Regression(image.take(at), residual, HINT_KERNEL).predict(image)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[5], [0, 10], atol=0.3)


@given(st.integers(0, 10**6), st.integers(MAX_POINTS + 1, 1200))
@settings(max_examples=8, deadline=None)
def test_many_points_are_thinned_and_still_heard(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    image = image_places(seed, hw=(40, 40))
    indices = random.permutation(len(image))[:count]
    # A residual that follows the features, as an object's colour does.
    residual = (image.features[:, :2] * 60).astype(np.float32)
    thinned = Regression(image.take(indices), residual[indices], HINT_KERNEL)
    assert 0 < len(thinned) <= MAX_POINTS
    error = thinned.predict(image) - residual
    assert np.sqrt((error[indices] ** 2).mean()) < 0.2 * residual.std()


def test_ten_thousand_stroke_pixels_of_two_colours() -> None:
    image = image_places(8, hw=(120, 120), channels=16)
    indices = np.arange(10_000)
    residual = np.where(indices[:, None] < 5000, [[40, 0]], [[0, 40]]).astype(np.float32)
    known = image.take(indices)
    regression = Regression(known, residual, HINT_KERNEL)
    assert 250 <= len(regression) <= MAX_POINTS
    turned = np.random.default_rng(0).permutation(10_000)
    again = Regression(known.take(turned), residual[turned], HINT_KERNEL)
    np.testing.assert_array_equal(again.predict(image), regression.predict(image))
    found = regression.predict(known)
    # Far from where the colours meet, each side has its own.
    assert np.abs(found[:2000] - residual[:2000]).mean() < 8
    assert np.abs(found[-2000:] - residual[-2000:]).mean() < 8


def test_thousands_of_equal_points_are_one() -> None:
    image = image_places(9)
    residual = np.full((2000, 2), 30, np.float32)
    regression = Regression(image.take(np.full(2000, 7)), residual, HINT_KERNEL)
    assert len(regression) == 1
    np.testing.assert_allclose(regression.predict(image)[7], [30, 30], atol=1)


def test_it_falls_to_zero_among_what_is_different() -> None:
    kernel = Kernel((Scale(1.0, 0.05, 10.0, 0.3),), noise=0.02)
    image = image_places(10, hw=(40, 40))
    found = Regression(image.take(np.array([0])), np.array([[50, 50]], np.float32), kernel)
    assert np.abs(found.predict(image)[-40:]).max() < 1e-3


def test_without_place_position_does_not_count() -> None:
    image = image_places(11)
    moved = Places(image.features, image.lightness, image.position[::-1].copy())
    residual = np.full((9, 2), 20, np.float32)
    at = np.arange(9)
    first, second = (Regression(p.take(at), residual, REFERENCE_KERNEL) for p in (image, moved))
    np.testing.assert_allclose(first.predict(image), second.predict(image), atol=1e-4)


def test_parts_are_put_together() -> None:
    first, second = image_places(1), image_places(2)
    both = Places.concatenate([first, second])
    assert len(both) == len(first) + len(second)
    np.testing.assert_array_equal(both.features[len(first) :], second.features)


def test_wrong_numbers_are_said() -> None:
    image = image_places()
    with pytest.raises(ValueError, match="480 places"):
        Regression(image, np.zeros((3, 2), np.float32), HINT_KERNEL)
    with pytest.raises(ValueError, match="noise"):
        Regression(image, np.zeros((480, 2), np.float32), Kernel(HINT_KERNEL.scales, 0.0))
