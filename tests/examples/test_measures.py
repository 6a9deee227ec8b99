"""The measures that evaluate.py and the training share, against their definitions."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from examples import measures

Image = npt.NDArray[np.uint8]


@pytest.fixture
def photo() -> Image:
    random = np.random.default_rng(5)
    coarse = random.integers(30, 226, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC), np.uint8)


def grey_of(photo: Image) -> Image:
    return np.dstack([cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)] * 3)


def test_against_the_definitions(photo: Image) -> None:
    skimage = pytest.importorskip("skimage")
    colored = photo[::-1].copy()
    found = measures.measure(photo, colored)
    true_ab, ab = (skimage.color.rgb2lab(bgr[..., ::-1])[..., 1:] for bgr in (photo, colored))
    error = np.linalg.norm(ab - true_ab, axis=2).mean() / np.linalg.norm(true_ab, axis=2).mean()
    assert found["error"] == pytest.approx(error, rel=1e-3)
    assert found["nearer"] == (error < 1)
    assert found["psnr"] == pytest.approx(cv2.PSNR(photo, colored), abs=1e-6)
    red, green, blue = (photo[..., i].astype(float) for i in (2, 1, 0))
    rg, yb = red - green, (red + green) / 2 - blue
    colorful = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert found["colorful_true"] == pytest.approx(colorful)


def test_the_ends_of_the_scale(photo: Image) -> None:
    perfect = measures.measure(photo, photo)
    assert (perfect["error"], perfect["nearer"], perfect["psnr"]) == (0, 1, math.inf)
    left_grey = measures.measure(photo, grey_of(photo))
    assert left_grey["error"] == pytest.approx(1, abs=1e-3)
    assert left_grey["colorful"] == 0
    assert left_grey["patchiness"] == pytest.approx(0, abs=0.01)


def test_grey_originals_divide_by_nothing(photo: Image) -> None:
    line = measures.measure(grey_of(photo), photo)
    assert math.isnan(line["error"])
    assert math.isnan(line["nearer"])
    assert line["patchiness"] > 0
    alone = measures.summarize([line])
    assert math.isnan(alone["error"])
    assert math.isnan(alone["colorfulness"])
    assert alone["psnr"] == line["psnr"]
    colored = measures.measure(photo, (photo * 0.9).astype(np.uint8))
    both = measures.summarize([line, colored])
    assert both["error"] == colored["error"]
    assert both["colorfulness"] == colored["colorful"] / colored["colorful_true"]
    assert both["patchiness"] == (line["patchiness"] + colored["patchiness"]) / 2
    assert "nan" in measures.as_text(alone)


def test_patches_count_where_the_truth_is_smooth() -> None:
    """Stripes at the right, as in the truth, are none; the same stripes at the left are."""
    stripes = np.zeros((48, 48, 2), np.float32)
    stripes[:, 32::2] = 20
    moved = np.ascontiguousarray(stripes[:, ::-1])
    assert measures.patchiness(stripes, stripes) < 1
    assert measures.patchiness(stripes, moved) > 5
    # One cell of 20 in a and b apart from its neighbours: four steps of 20 over 47 x 47 / 2 cells.
    plain = np.zeros((48, 48, 2), np.float32)
    dot: Any = plain.copy()
    dot[10, 10] = 20
    assert measures.patchiness(plain, dot) == pytest.approx(4 * 20 / 2 / 47**2)


def test_a_summary_is_of_medians_shares_and_sums() -> None:
    line = {"colorful_true": 10.0, "psnr": 20.0, "patchiness": 1.0}
    lines = [
        line | {"error": 0.5, "nearer": 1.0, "colorful": 5.0},
        line | {"error": 0.7, "nearer": 1.0, "colorful": 6.0},
        line | {"error": 2.0, "nearer": 0.0, "colorful": 13.0},
    ]
    assert measures.summarize(lines) == {
        "error": 0.7,
        "nearer": 2 / 3,
        "colorfulness": 0.8,
        "psnr": 20.0,
        "patchiness": 1.0,
    }
