"""Hints, references, suggestions, variants and sessions, through the small network."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import colorcv
from colorcv import Hint
from colorcv.color.gamut import bgr_from_lab
from colorcv.color.lab import ab_from_bgr, lightness_table
from colorcv.color.names import parse_color
from colorcv.steering.hints import observe
from colorcv.steering.suggestions import Mode, combine, find_modes, find_regions
from tests.reference import caffe_writer, lab_reference

Array = npt.NDArray[Any]


def rgb2lab(rgb: Array) -> Array:
    """L*, a* and b* of RGB values, by the tests' own reference."""
    scale = np.iinfo(rgb.dtype).max if rgb.dtype.kind == "u" else 1
    return lab_reference.lab_from_rgb(rgb / scale)


@pytest.fixture(scope="module")
def lite() -> colorcv.Colorizer:
    return colorcv.Colorizer("lite", device="cpu")


@pytest.fixture(scope="module")
def scene() -> Array:
    """Two kinds of things: a bright smooth half, and a dark half with texture."""
    random = np.random.default_rng(3)
    grey = np.full((120, 160), 170, np.float64)
    grey[:, 80:] = 90
    grey += np.linspace(-15, 15, 120)[:, None]
    noise = cv2.GaussianBlur(random.normal(0, 60, grey.shape), (0, 0), 1.5)
    grey[:, 80:] += noise[:, 80:]
    return np.clip(grey, 0, 255).astype(np.uint8)


def ab_of(bgr: Array) -> Array:
    return rgb2lab(bgr[..., ::-1])[..., 1:]


def test_one_hint_takes_its_place_and_its_kind(lite: colorcv.Colorizer, scene: Array) -> None:
    plain = ab_of(lite.colorize(scene))
    found = ab_of(lite.colorize(scene, hints=[Hint(40, 60, "#4f9a6b", radius=8)]))
    wanted = ab_of(np.array([[[0x6B, 0x9A, 0x4F]]], np.uint8))[0, 0]
    at = found[56:65, 36:45].reshape(-1, 2)
    assert np.abs(at.mean(axis=0) - wanted).max() < 3
    # The rest of the smooth half follows; the other half much less.
    near = np.linalg.norm(found - wanted, axis=2)[:, :70].mean()
    assert near < 0.5 * np.linalg.norm(plain - wanted, axis=2)[:, :70].mean()
    moved = np.linalg.norm(found - plain, axis=2)
    assert moved[:, 90:].mean() < 0.75 * moved[:, :70].mean()


def test_no_hints_give_what_no_steering_gives(lite: colorcv.Colorizer, scene: Array) -> None:
    plain = lite.colorize(scene)
    np.testing.assert_array_equal(lite.colorize(scene, hints=[]), plain)
    clear = np.zeros((*scene.shape, 4), np.uint8)
    np.testing.assert_array_equal(lite.colorize(scene, hints=clear), plain)
    np.testing.assert_array_equal(
        lite.colorize(scene, reference=np.dstack([scene, scene, 255 - scene]),
                      reference_strength=0), plain
    )  # fmt: skip


def test_the_order_of_hints_does_not_matter(lite: colorcv.Colorizer, scene: Array) -> None:
    hints = [Hint(10, 10, "red"), Hint(100, 50, "#0a0"), Hint(10, 10, "blue", radius=4)]
    first = lite.colorize(scene, hints=hints)
    np.testing.assert_array_equal(lite.colorize(scene, hints=hints[::-1]), first)


def test_lightness_stays(lite: colorcv.Colorizer, scene: Array) -> None:
    found = lite.colorize(scene, hints=[Hint(40, 60, "crimson"), Hint(120, 60, "navy", radius=20)])
    lightness = rgb2lab(found[..., ::-1])[..., 0]
    assert np.abs(lightness - lightness_table(256)[scene]).max() < 0.8


def test_grey_hints_make_grey(lite: colorcv.Colorizer, scene: Array) -> None:
    places = [Hint(x, y, "grey") for y in range(4, 120, 12) for x in range(4, 160, 12)]
    plain, found = ab_of(lite.colorize(scene)), ab_of(lite.colorize(scene, hints=places))
    assert np.abs(plain).mean() > 3
    assert np.abs(found).mean() < 0.6


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_depth_and_alpha_are_kept(lite: colorcv.Colorizer, scene: Array, dtype: str) -> None:
    deep = scene.astype(dtype) * (257 if dtype == "uint16" else 1 / 255)
    alpha = np.linspace(0, deep.max(), 160).astype(dtype)
    image = np.dstack([deep, deep, deep, np.broadcast_to(alpha, deep.shape)]).astype(dtype)
    image[..., 3] = np.maximum(image[..., 3], deep.max() / 2)
    found = lite.colorize(image, hints=[Hint(40, 60, "teal")])
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[..., 3], image[..., 3])
    flat = lite.colorize(scene, hints=[Hint(40, 60, "teal")])
    scale = 257 if dtype == "uint16" else 1 / 255
    assert np.abs(found[..., :3] / scale - flat).mean() < 1.5


def test_numbers_are_in_the_order_of_the_image(lite: colorcv.Colorizer, scene: Array) -> None:
    rgb = np.dstack([scene] * 3)
    named = lite.colorize(rgb, hints=[Hint(40, 60, "#c81e28")])
    as_bgr = lite.colorize(rgb, hints=[Hint(40, 60, (0x28, 0x1E, 0xC8))])
    as_rgb = lite.colorize(rgb, hints=[Hint(40, 60, (0xC8, 0x1E, 0x28))], order="rgb")
    np.testing.assert_array_equal(as_bgr, named)
    np.testing.assert_array_equal(as_rgb[..., ::-1], named)


@pytest.mark.parametrize("factor", [1, 3], ids=["its-size", "larger"])
def test_a_stroke_layer_is_its_hints(
    lite: colorcv.Colorizer, scene: Array, tmp_path: Path, factor: int
) -> None:
    strokes = np.zeros((120, 160, 4), np.uint8)
    cv2.circle(strokes, (40, 60), 8, (0x6B, 0x9A, 0x4F, 255), -1)
    strokes = np.kron(strokes, np.ones((factor, factor, 1), np.uint8))
    found = lite.colorize(scene, hints=strokes)
    dots = lite.colorize(scene, hints=[Hint(40, 60, "#4f9a6b", radius=8)])
    assert np.abs(ab_of(found) - ab_of(dots)).mean() < 1
    path = tmp_path / "strokes.png"
    cv2.imwrite(str(path), strokes)
    np.testing.assert_array_equal(lite.colorize(scene, hints=path), found)
    np.testing.assert_array_equal(
        lite.colorize(scene, hints=np.ascontiguousarray(strokes[..., [2, 1, 0, 3]]), order="rgb"),
        found[..., ::-1],
    )


@pytest.mark.parametrize(
    ("hints", "error", "said"),
    [
        pytest.param([Hint(160, 5, "red")], colorcv.ImageError, "160x120", id="right-of-it"),
        pytest.param([Hint(5, -1, "red")], colorcv.ImageError, "160x120", id="above-it"),
        pytest.param(np.zeros((120, 160, 3), np.uint8), colorcv.ImageError, "transparency",
                     id="no-alpha"),
        pytest.param(np.zeros((120, 120, 4), np.uint8), colorcv.ImageError, "120x120.*160x120",
                     id="another-shape"),
        pytest.param("nothing.png", colorcv.ImageError, r"nothing\.png", id="no-file"),
        pytest.param(Hint(5, 5, "red"), colorcv.OptionError, "list", id="not-in-a-list"),
        pytest.param([(5, 5, "red")], colorcv.OptionError, "tuple", id="tuples"),
        pytest.param(7, colorcv.OptionError, "int", id="a-number"),
    ],
)  # fmt: skip
def test_hints_that_cannot_be(
    lite: colorcv.Colorizer, scene: Array, hints: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        lite.colorize(scene, hints=hints)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param((1, 1, "grene"), "grene", id="no-color"),
        pytest.param((1, 1, "ff0000"), "#rrggbb", id="no-hash"),
        pytest.param((1, 1, (1, 2)), "three numbers", id="two-numbers"),
        pytest.param((1, 1, (1, 2, 256)), "0..255", id="too-large"),
        pytest.param((1, 1, None), "CSS", id="none"),
        pytest.param(("1", 1, "red"), "x must be", id="x-is-text"),
        pytest.param((1, float("nan"), "red"), "y must be", id="y-is-nan"),
        pytest.param((1, 1, "red", -2), "radius", id="radius-below-0"),
    ],
)
def test_a_hint_says_what_is_wrong_with_it(values: Any, said: str) -> None:
    with pytest.raises(colorcv.OptionError, match=said):
        Hint(*values)


@pytest.mark.parametrize(
    ("color", "bgr"),
    [("#102030", (0x30, 0x20, 0x10)), ("#fA0", (0, 0xAA, 0xFF)), (" RebeccaPurple ",
     (0x99, 0x33, 0x66)), ((1, 2, 3), (1, 2, 3)), (np.array([1.5, 0, 255]), (1.5, 0, 255))],
)  # fmt: skip
def test_colors(color: Any, bgr: tuple[float, ...]) -> None:
    np.testing.assert_allclose(np.array(parse_color(color)) * 255, bgr, atol=1e-9)


def test_ab_from_bgr_against_skimage_and_back() -> None:
    random = np.random.default_rng(0)
    bgr = random.integers(0, 256, (500, 3)).astype(np.float32) / 255
    ab = ab_from_bgr(bgr)
    lab = rgb2lab(bgr[:, ::-1])
    assert np.abs(ab - lab[:, 1:]).max() < 0.02
    again = bgr_from_lab(np.column_stack([lab[:, 0], ab]).astype(np.float32))
    assert np.abs(again - bgr).max() < 2e-3
    assert not ab_from_bgr(np.repeat(bgr[:, :1], 3, axis=1)).any()


def test_a_radius_covers_a_disc() -> None:
    observed = observe([Hint(50, 40, "red", radius=10)], (100, 100), (50, 50), "bgr")
    rows, columns = np.divmod(observed.cells, 50)
    distance = np.hypot(columns * 2 + 0.5 - 50, rows * 2 + 0.5 - 40)
    assert distance.max() <= 10
    assert abs(len(observed.cells) - np.pi * 25) < 8
    assert len(observe([Hint(50, 40, "red", radius=0.1)], (100, 100), (50, 50), "bgr").cells) == 1


@pytest.mark.parametrize("radius", [200, 1e200, 1e308])
def test_a_radius_larger_than_the_image_covers_it(radius: float) -> None:
    """The square of the last two is out of a float's range."""
    observed = observe([Hint(50, 40, "red", radius=radius)], (100, 100), (50, 50), "bgr")
    assert len(observed.cells) == 50 * 50


@pytest.mark.parametrize("name", ["x", "y", "radius"])
def test_an_integer_above_all_floats_is_not_finite(name: str) -> None:
    with pytest.raises(colorcv.OptionError, match=f"{name} must be a finite number, got 1000"):
        Hint(**{"x": 1, "y": 2, "color": "red", name: 10**400})


def test_a_reference_gives_its_colours_to_its_kind(lite: colorcv.Colorizer, shared: Path) -> None:
    photo = cv2.imread(str(shared / "photos" / "color" / "coffee.png"))
    left, right = photo[:, :300], photo[:, 300:]
    grey = cv2.cvtColor(right, cv2.COLOR_BGR2GRAY)

    def error(colored: Array) -> float:
        return float(np.linalg.norm(ab_of(colored) - ab_of(right), axis=2).mean())

    plain, steered = lite.colorize(grey), lite.colorize(grey, reference=left)
    assert error(steered) < 0.6 * error(plain)
    half = lite.colorize(grey, reference=left, reference_strength=0.5)
    assert error(steered) < error(half) < error(plain)
    prepared = colorcv.Reference(lite, [left])
    np.testing.assert_array_equal(lite.colorize(grey, reference=prepared), steered)
    rgb = np.ascontiguousarray(left[..., ::-1])
    turned = lite.colorize(grey, reference=[rgb], order="rgb")[..., ::-1]
    assert np.abs(turned.astype(int) - steered).max() <= 1  # sums in another order
    # Hints have the last word.
    both = lite.colorize(grey, reference=left, hints=[Hint(250, 300, "#7a7f9a", radius=10)])
    wanted = ab_of(np.array([[[0x9A, 0x7F, 0x7A]]], np.uint8))[0, 0]
    assert np.abs(ab_of(both)[294:307, 244:257].reshape(-1, 2).mean(axis=0) - wanted).max() < 4


def test_16_bits_and_alpha_of_a_reference(lite: colorcv.Colorizer, scene: Array) -> None:
    random = np.random.default_rng(1)
    color = np.dstack([scene, scene // 2 + 60, 255 - scene]).astype(np.uint8)
    plain = lite.colorize(scene, reference=color)
    deep = lite.colorize(scene, reference=color.astype(np.uint16) * 257)
    assert np.abs(deep.astype(int) - plain).mean() < 1.5  # other points may be kept
    # What is transparent gives no colours.
    found = []
    for low, high in ((0, 1), (0, 256)):
        hidden = np.dstack([color, np.full_like(scene, 255)])
        hidden[:, :80, :3] = random.integers(low, high, (120, 80, 3))
        hidden[:, :80, 3] = 0
        found.append(lite.colorize(scene, reference=hidden).astype(int))
    assert np.abs(found[0] - found[1]).mean() < 1


@pytest.mark.parametrize(
    ("reference", "strength", "error", "said"),
    [
        pytest.param(np.full((9, 9), 8, np.uint8), 1, colorcv.ImageError, "grey", id="grey"),
        pytest.param(np.full((9, 9, 3), 8, np.uint8), 1, colorcv.ImageError, "grey",
                     id="grey-as-colour"),
        pytest.param([], 1, colorcv.ImageError, "empty", id="none-in-the-list"),
        pytest.param("nothing.png", 1, colorcv.ImageError, r"nothing\.png", id="no-file"),
        pytest.param(None, 2, colorcv.OptionError, "between 0 and 1", id="strength"),
        pytest.param(None, "1", colorcv.OptionError, "between 0 and 1", id="strength-text"),
    ],
)  # fmt: skip
def test_references_that_cannot_be(
    lite: colorcv.Colorizer, scene: Array, reference: Any, strength: Any,
    error: type[Exception], said: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=said):
        lite.colorize(scene, reference=reference, reference_strength=strength)
    if isinstance(strength, str):
        with pytest.raises(error, match=said):
            colorcv.colorize(scene, model="lite", reference_strength=strength)


def test_suggestions(lite: colorcv.Colorizer, scene: Array) -> None:
    found = lite.suggest(scene, 40, 60)
    assert len(found) == 5
    probabilities = [one.probability for one in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0.5 < sum(probabilities) <= 1 + 1e-6
    colors = np.array([[parse_color(one.color) for one in found]], np.float32)
    lab = rgb2lab(colors[..., ::-1])[0]
    # At the place's lightness, and distinct.
    assert np.abs(lab[:, 0] - lightness_table(256)[scene[60, 40]]).max() < 2
    ab = lab[:, 1:]
    apart = np.linalg.norm(ab[:, None] - ab, axis=2) + 100 * np.eye(5)
    assert apart.min() > 6
    assert len(lite.suggest(scene, 40, 60, n=2)) == 2
    assert colorcv.colorize(scene, model="lite", hints=[Hint(40, 60, found[0].color)]).size


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None])
def test_a_count_that_is_none(lite: colorcv.Colorizer, scene: Array, n: Any) -> None:
    with pytest.raises(colorcv.OptionError, match="n must be"):
        lite.suggest(scene, 1, 1, n)
    with pytest.raises(colorcv.OptionError, match="n must be"):
        lite.variants(scene, n)


def test_a_place_outside(lite: colorcv.Colorizer, scene: Array) -> None:
    with pytest.raises(colorcv.ImageError, match="160x120"):
        lite.suggest(scene, 160, 0)


def test_modes_of_shares() -> None:
    centers = np.array([[0, 0], [5, 0], [60, 0], [0, 60], [0, -60]], np.float32)
    modes = find_modes(np.array([0.3, 0.1, 0.25, 0.2, 0.15]), centers, 3)
    assert [round(mode.probability, 3) for mode in modes] == [0.4, 0.25, 0.2]
    np.testing.assert_allclose(modes[0].ab, [1.25, 0], atol=1e-5)


def test_regions_are_what_is_alike() -> None:
    random = np.random.default_rng(0)
    points = np.repeat([[0, 0], [9, 0], [0, 9]], [60, 30, 10], axis=0)
    points = (points + random.normal(0, 0.2, points.shape)).astype(np.float32)
    regions = find_regions(points, 3)
    assert [len(region.cells) for region in regions] == [60, 30, 10]
    assert [set(region.cells) for region in regions] == [
        set(range(60)), set(range(60, 90)), set(range(90, 100))
    ]  # fmt: skip
    assert all(len(region.places) == 5 for region in regions)
    assert all(set(region.places) <= set(region.cells) for region in regions)


def test_combinations_differ_and_the_improbable_comes_late() -> None:
    def mode(a: float, probability: float) -> Mode:
        return Mode(np.array([a, 0], np.float32), probability)

    options = [[mode(0, 1), mode(40, 0.4), mode(-40, 0.01)], [mode(0, 1), mode(20, 0.5)]]
    assert combine(options, [0.6, 0.4], 1) == [(0, 0)]
    chosen = combine(options, [0.6, 0.4], 6)
    assert chosen[0] == (0, 0)
    assert chosen[1][0] == 1
    assert len(set(chosen)) == len(chosen) == 6


def test_variants_differ_and_the_first_is_the_default(
    lite: colorcv.Colorizer, shared: Path
) -> None:
    grey = cv2.imread(str(shared / "photos" / "bw" / "saratoga_broadway_1900s.jpg"), 0)
    grey = cv2.resize(grey, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    found = lite.variants(grey, 4)
    assert len(found) == 4
    np.testing.assert_array_equal(found[0], lite.colorize(grey))
    for index, one in enumerate(found):
        for other in found[:index]:
            assert np.linalg.norm(ab_of(one) - ab_of(other), axis=2).mean() > 2
    again = lite.variants(grey, 4)
    np.testing.assert_array_equal(again[3], found[3])
    assert len(lite.variants(grey, 1)) == 1


def test_a_session_is_colorize(lite: colorcv.Colorizer, scene: Array) -> None:
    session = lite.session(scene)
    assert session.shape_hw == (120, 160)
    np.testing.assert_array_equal(session.render(), lite.colorize(scene))
    red, green = Hint(40, 60, "firebrick", radius=5), Hint(120, 60, "olive")
    first = session.add(red)
    np.testing.assert_array_equal(session.render(), lite.colorize(scene, hints=[red]))
    second = session.add(green)
    both = session.render()
    np.testing.assert_array_equal(both, lite.colorize(scene, hints=[red, green]))
    assert session.hints == {first: red, second: green}
    session.remove(first)
    np.testing.assert_array_equal(session.render(), lite.colorize(scene, hints=[green]))
    assert session.undo()
    np.testing.assert_array_equal(session.render(), both)
    assert session.redo()
    assert session.hints == {second: green}
    assert not session.redo()
    session.clear()
    assert session.hints == {}
    assert all(session.undo() for _ in range(4))
    assert not session.undo()
    np.testing.assert_array_equal(session.render(), lite.colorize(scene))
    # A change after undoing forgets what was undone.
    session.add(green)
    assert not session.redo()


def test_a_session_with_strokes_and_a_reference(lite: colorcv.Colorizer, scene: Array) -> None:
    color = np.dstack([scene, scene // 2 + 60, 255 - scene]).astype(np.uint8)
    strokes = np.zeros((60, 80, 4), np.uint8)
    strokes[20:30, 20:30] = 30, 90, 200, 255
    session = lite.session(scene)
    session.set_reference(color, strength=0.7)
    key = session.add(strokes)
    assert session.hints == {key: None}
    expected = lite.colorize(scene, hints=strokes, reference=color, reference_strength=0.7)
    np.testing.assert_array_equal(session.render(), expected)
    strokes[:] = 0  # the caller's array may be used again
    np.testing.assert_array_equal(session.render(saturation=1.0), expected)
    assert session.undo()
    assert session.undo()
    np.testing.assert_array_equal(session.render(), lite.colorize(scene))


def test_previews(lite: colorcv.Colorizer, scene: Array) -> None:
    session = lite.session(np.kron(scene, np.ones((4, 4), np.uint8)))
    session.add(Hint(160, 240, "seagreen", radius=30))
    small = session.render(max_side=160)
    assert small.shape == (120, 160, 3)
    full = cv2.resize(session.render(), (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - full).mean() < 2
    np.testing.assert_array_equal(session.render(max_side=160), small)
    assert session.render(max_side=9999).shape == (480, 640, 3)
    assert session.suggest(160, 240, 3) == lite.suggest(
        np.kron(scene, np.ones((4, 4), np.uint8)), 160, 240, 3
    )


def test_a_session_says_what_is_wrong(lite: colorcv.Colorizer, scene: Array) -> None:
    session = lite.session(scene)
    with pytest.raises(colorcv.ImageError, match="160x120"):
        session.add(Hint(500, 5, "red"))
    with pytest.raises(colorcv.OptionError, match=r"9.*none"):
        session.remove(9)
    with pytest.raises(colorcv.OptionError, match="max_side"):
        session.render(max_side=0)
    with pytest.raises(colorcv.OptionError, match="strength"):
        session.set_reference(None, strength=3)
    assert not session.undo()


def test_threads_share_a_colorizer(lite: colorcv.Colorizer, scene: Array) -> None:
    hints = [[Hint(10 + 9 * i, 20 + 5 * i, "teal", radius=i)] for i in range(8)]
    expected = [lite.colorize(scene, hints=some) for some in hints]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda some: lite.colorize(scene, hints=some), hints * 3))
    for one, right in zip(found, expected * 3, strict=True):
        np.testing.assert_array_equal(one, right)


def test_the_full_size_network(tmp_path: Path, scene: Array) -> None:
    path = tmp_path / "seeded.caffemodel"
    caffe_writer.write(path, caffe_writer.seeded_weights())
    colorizer = colorcv.Colorizer(
        colorcv.ModelFiles(
            prototxt=caffe_writer.DATA / "colorization_deploy_v2.prototxt",
            caffemodel=path,
            centers=caffe_writer.DATA / "pts_in_hull.npy",
        ),
        device="cpu",
    )  # fmt: skip
    found = ab_of(colorizer.colorize(scene, hints=[Hint(40, 60, "#4f9a6b", radius=8)]))
    wanted = ab_of(np.array([[[0x6B, 0x9A, 0x4F]]], np.uint8))[0, 0]
    assert np.abs(found[57:64, 37:44].reshape(-1, 2).mean(axis=0) - wanted).max() < 5
    assert len(colorizer.suggest(scene, 40, 60, 3)) == 3
    np.testing.assert_array_equal(colorizer.session(scene).render(), colorizer.colorize(scene))
