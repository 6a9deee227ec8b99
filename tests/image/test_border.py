"""Borders: found on bordered photos, not on photos that are dark or light up to their edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import colorcv
from colorcv.cli import main
from colorcv.image.border import (
    NO_BORDER,
    Border,
    common_border,
    detect_border,
    is_flat,
)
from colorcv.image.source import SourceImage

Grey = npt.NDArray[np.uint8]
PHOTOS = sorted((Path(__file__).parents[2] / "examples" / "photos").glob("*.jpg"))
SIDES = {
    "mat": (0.1, 0.1, 0.1, 0.1),
    "letterbox": (0.12, 0.12, 0, 0),
    "pillarbox": (0, 0, 0.15, 0.15),
    "wide-bottom": (0.05, 0.2, 0.05, 0.05),
    "thin": (0.02, 0.02, 0.02, 0.02),
}


@pytest.fixture(scope="module")
def lite() -> colorcv.Colorizer:
    return colorcv.Colorizer("lite", device="cpu")


def photo(path: Path) -> Grey:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return np.asarray(image, np.uint8)


def lightness(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    source = SourceImage(image)
    height, width = source.shape_hw
    scale = min(1, 256 / max(height, width))
    return source.lightness_at((round(height * scale), round(width * scale)))


def bordered(
    image: Grey, level: int, sides: tuple[float, float, float, float], *, noise: float = 3
) -> tuple[Grey, tuple[int, int, int, int]]:
    """Put a noisy border around an image; return it and the border's widths in pixels."""
    height, width = image.shape
    top, bottom = (round(side * height) for side in sides[:2])
    left, right = (round(side * width) for side in sides[2:])
    shape = height + top + bottom, width + left + right
    result = np.random.default_rng(0).normal(level, noise, shape)
    result[top : top + height, left : left + width] = image
    return np.clip(result, 0, 255).astype(np.uint8), (top, bottom, left, right)


def widths(border: Border, image: npt.NDArray[Any]) -> tuple[int, int, int, int]:
    rows, columns = border.inside(image.shape[:2])
    return rows.start, image.shape[0] - rows.stop, columns.start, image.shape[1] - columns.stop


@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
@pytest.mark.parametrize("level", [255, 245, 225])
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_light_borders_are_found(
    path: Path, level: int, sides: tuple[float, float, float, float]
) -> None:
    image, expected = bordered(photo(path), level, sides)
    found = widths(detect_border(lightness(image)), image)
    slack = 0.012 * max(image.shape)
    assert all(abs(a - b) <= slack for a, b in zip(found, expected, strict=True))


def test_dark_borders_are_found_where_the_photo_is_not_dark_itself() -> None:
    for level in (0, 8):
        for name, sides in SIDES.items():
            image, expected = bordered(photo(PHOTOS[1]), level, sides)
            found = widths(detect_border(lightness(image)), image)
            slack = 0.012 * max(image.shape)
            assert all(abs(a - b) <= slack for a, b in zip(found, expected, strict=True)), name


def test_a_mat_within_a_scanner_edge_is_found() -> None:
    matted, inner = bordered(photo(PHOTOS[1]), 250, SIDES["mat"])
    image, outer = bordered(matted, 5, SIDES["thin"])
    found = widths(detect_border(lightness(image)), image)
    expected = [a + b for a, b in zip(inner, outer, strict=True)]
    slack = 0.02 * max(image.shape)
    assert all(abs(a - b) <= slack for a, b in zip(found, expected, strict=True))


def test_a_mat_that_lies_askew_is_found() -> None:
    image, expected = bordered(photo(PHOTOS[1]), 245, SIDES["mat"], noise=1)
    height, width = image.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 0.7, 1)
    askew = np.asarray(cv2.warpAffine(image, turn, (width, height), borderValue=245.0))
    found = widths(detect_border(lightness(askew)), askew)
    slack = 0.03 * max(image.shape)
    assert all(abs(a - b) <= slack for a, b in zip(found, expected, strict=True))


def night() -> Grey:
    """A black sky above a lit street, with black buildings at both sides."""
    image = np.random.default_rng(0).normal(4, 2, (300, 400))
    image[180:] += 60
    for x, top in ((0, 60), (60, 90), (340, 70)):
        image[top:, x : x + 60] = 8
    cv2.circle(image, (200, 190), 30, 230, -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def sky(level: int) -> Grey:
    """An even sky above a straight horizon."""
    image = np.full((300, 400), level, np.float64)
    image[190:] = np.random.default_rng(0).normal(110, 30, (110, 400))
    return np.clip(image, 0, 255).astype(np.uint8)


def studio(level: int) -> Grey:
    """An object before an even background."""
    image = np.full((300, 400), level, np.uint8)
    cv2.ellipse(image, (200, 150), (90, 120), 0, 0, 360, 128, -1)
    cv2.circle(image, (170, 120), 20, 60, -1)
    return image


def moon() -> Grey:
    image = np.zeros((300, 400), np.uint8)
    cv2.circle(image, (200, 150), 60, 220, -1)
    return image


def snow() -> Grey:
    """A white slope and a white sky, with trees between."""
    image = np.full((300, 400), 245, np.uint8)
    for x in range(0, 400, 23):
        cv2.line(image, (x, 100 + x % 40), (x, 200 + x % 30), 40, 5)
    return image


@pytest.mark.parametrize(
    "image",
    [
        *(pytest.param(photo(path), id=path.stem) for path in PHOTOS),
        pytest.param(night(), id="night"),
        pytest.param(sky(250), id="white-sky"),
        pytest.param(sky(5), id="black-sky"),
        pytest.param(255 - sky(250), id="white-ground"),
        pytest.param(studio(250), id="white-studio"),
        pytest.param(studio(4), id="black-studio"),
        pytest.param(moon(), id="moon"),
        pytest.param(snow(), id="snow"),
        pytest.param(np.zeros((80, 90), np.uint8), id="black"),
        pytest.param(np.full((80, 90), 255, np.uint8), id="white"),
        pytest.param(np.zeros((1, 1), np.uint8), id="1x1"),
        pytest.param(np.zeros((1, 500), np.uint8), id="1-row"),
        pytest.param(
            np.tile(np.linspace(0, 255, 300).astype(np.uint8), (200, 1)), id="gradient"
        ),
    ],
)  # fmt: skip
def test_photos_without_a_border(image: Grey) -> None:
    assert detect_border(lightness(image)) == NO_BORDER


def test_photos_of_the_developers_have_no_border(shared: Path) -> None:
    for path in sorted((shared / "photos").glob("*/*")):
        assert detect_border(lightness(photo(path))) == NO_BORDER, path.name


def test_a_border_of_one_side_or_of_grey_needs_ignore_border_true() -> None:
    for level, sides in ((250, (0.1, 0, 0, 0)), (150, SIDES["mat"])):
        image, expected = bordered(photo(PHOTOS[1]), level, sides)
        assert detect_border(lightness(image)) == NO_BORDER
        found = widths(detect_border(lightness(image), strict=False), image)
        assert all(
            abs(a - b) <= 0.012 * max(image.shape) for a, b in zip(found, expected, strict=True)
        )


def test_the_border_of_a_scene_is_the_narrowest_of_its_frames() -> None:
    assert common_border([Border(0.1, 0.1, 0, 0), Border(0.12, 0.09, 0.05, 0)]) == Border(
        0.1, 0.09, 0, 0
    )
    assert common_border([]) == NO_BORDER
    assert is_flat(np.full((50, 50), 3, np.float32))
    assert not is_flat(lightness(photo(PHOTOS[0])))


@pytest.mark.parametrize("sides", [(0, 0, 0, 0), SIDES["mat"], SIDES["pillarbox"]], ids=str)
def test_a_large_image_has_the_border_that_all_of_its_pixels_show(
    sides: tuple[float, float, float, float],
) -> None:
    large = cv2.resize(photo(PHOTOS[1]), (3000, 2100), interpolation=cv2.INTER_CUBIC)
    image, _ = bordered(np.asarray(large), 240, sides)
    source = SourceImage(image, ignore_border="auto")  # looks at every n-th pixel
    expected = detect_border(lightness(image)).inside(image.shape)
    cell = image.shape[1] / 256
    for found, exact in zip(source.inside, expected, strict=True):
        assert abs(found.start - exact.start) <= cell
        assert abs(found.stop - exact.stop) <= cell
    if not any(sides):
        assert source.inside == expected


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_inside_is_coloured_as_if_there_were_no_border(
    channels: int, order: Any, lite: colorcv.Colorizer
) -> None:
    inner = cv2.resize(photo(PHOTOS[1]), (220, 160), interpolation=cv2.INTER_AREA)
    image, _ = bordered(np.asarray(inner), 250, SIDES["mat"])
    rows, columns = SourceImage(image, ignore_border="auto").inside
    assert (rows, columns) != (slice(0, image.shape[0]), slice(0, image.shape[1]))
    stacked = image if channels == 1 else np.dstack((image,) * channels)
    colored = lite.colorize(stacked, order=order)
    expected = lite.colorize(stacked[rows, columns], order=order, ignore_border=False)
    assert np.array_equal(colored[rows, columns], expected)
    outside = np.ones(image.shape, bool)
    outside[rows, columns] = False
    assert np.array_equal(colored[outside][:, :3], np.dstack((image,) * 3)[outside])
    with_border = lite.colorize(stacked, order=order, ignore_border=False)
    assert np.ptp(with_border[outside][:, :3].astype(int), axis=1).max() > 0


def test_the_command_keeps_borders_grey_unless_told_otherwise(tmp_path: Path) -> None:
    image, (top, *_) = bordered(photo(PHOTOS[1]), 250, SIDES["mat"])
    cv2.imwrite(str(tmp_path / "matted.png"), image)
    chroma = {}
    for option in ([], ["--keep-border-colors"]):
        arguments = ["image", "--model", "lite", "--device", "cpu", "--force", *option]
        assert main([*arguments, str(tmp_path / "matted.png")]) == 0
        result = cv2.imread(str(tmp_path / "matted.color.png"))
        assert result is not None
        chroma[bool(option)] = np.ptp(result[: top // 2].astype(int), axis=2).max()
    assert chroma[False] == 0
    assert chroma[True] > 0


def test_no_border_changes_nothing(lite: colorcv.Colorizer) -> None:
    image = photo(PHOTOS[0])
    without = lite.colorize(image, ignore_border=False)
    assert np.array_equal(lite.colorize(image), without)


@pytest.mark.parametrize("value", ["yes", None, 1, 0, "True"])
def test_bad_values(value: Any, lite: colorcv.Colorizer) -> None:
    with pytest.raises(colorcv.OptionError, match='ignore_border must be "auto", True or False'):
        lite.colorize(photo(PHOTOS[0]), ignore_border=value)
    with pytest.raises(colorcv.OptionError, match="ignore_border"):
        lite.colorize_batch([], ignore_border=value)
