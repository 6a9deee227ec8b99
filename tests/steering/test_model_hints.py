"""Hints that the network takes itself: siggraph17 from Caffe files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import colorcv
from colorcv import Colorizer, Hint, ModelFiles, OptionError
from colorcv.image.source import SourceImage
from colorcv.network import onnx
from colorcv.network.caffe import caffemodel, importer, prototxt
from colorcv.steering.editing import SteeredImage
from colorcv.steering.hints import observe
from tests.reference import siggraph_caffe
from tests.reference.caffe_writer import sample_lightness
from tests.reference.lab_reference import lab_from_rgb

SIZE = 32
HINTS = [Hint(10, 12, "crimson"), Hint(50, 30, "seagreen", radius=6), Hint(51, 30, (200, 30, 30))]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return siggraph_caffe.write(tmp_path_factory.mktemp("siggraph"), size=SIZE)


@pytest.fixture(scope="module")
def colorizer(paths: tuple[Path, Path]) -> Colorizer:
    return Colorizer(ModelFiles(prototxt=paths[0], caffemodel=paths[1]), device="cpu")


@pytest.fixture(scope="module")
def photo() -> Any:
    return np.round(sample_lightness((48, 64)) * 2.55).astype(np.uint8)


def forward(paths: tuple[Path, Path], values: Any) -> Any:
    """Run the network without any of the code between the image and `cv2.dnn`."""
    graph = importer.build(
        prototxt.read(paths[0]), caffemodel.read(paths[1]), None, weights_file=str(paths[1])
    )
    net = cv2.dnn.readNetFromONNX(onnx.encode(graph))
    net.setInput(values[np.newaxis])
    return net.forward()[0].transpose(1, 2, 0)


def expected_planes(lightness: Any) -> Any:
    """Return the four input channels of `HINTS` on an image of 48x64, written out."""
    planes = np.zeros((4, SIZE, SIZE), np.float32)
    planes[0] = lightness - 50
    count = np.zeros((SIZE, SIZE))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    y, x = (rows + 0.5) * 48 / SIZE - 0.5, (columns + 0.5) * 64 / SIZE - 0.5
    places = [
        ((220, 20, 60), (rows == int(12.5 * SIZE / 48)) & (columns == int(10.5 * SIZE / 64))),
        ((46, 139, 87), (y - 30) ** 2 + (x - 50) ** 2 <= 36),
        ((30, 30, 200), (rows == int(30.5 * SIZE / 48)) & (columns == int(51.5 * SIZE / 64))),
    ]
    for rgb, inside in places:
        ab = lab_from_rgb(np.array([rgb], np.float64) / 255)[0, 1:]
        planes[1:3, inside] += ab.astype(np.float32)[:, np.newaxis]
        count += inside
    planes[1:3] /= np.maximum(count, 1)
    planes[3] = 110 * (count > 0)
    return planes


def test_without_hints_the_hint_channels_are_zero(
    colorizer: Colorizer, paths: tuple[Path, Path]
) -> None:
    lightness = sample_lightness((SIZE, SIZE))
    values = np.zeros((4, SIZE, SIZE), np.float32)
    values[0] = lightness - 50
    np.testing.assert_allclose(colorizer.predict_ab(lightness), forward(paths, values), atol=0.01)


def test_hints_go_to_the_network(
    colorizer: Colorizer, paths: tuple[Path, Path], photo: Any
) -> None:
    lightness = SourceImage(photo).lightness_at((SIZE, SIZE))
    expected = forward(paths, expected_planes(lightness))
    plain = colorizer.predict_ab(lightness)
    assert np.abs(expected - plain).max() > 5
    observed = observe(HINTS, (48, 64), (SIZE, SIZE), "bgr")
    seen = SteeredImage(colorizer, lightness)
    np.testing.assert_allclose(seen.chroma(observed, by_model=True), expected, atol=0.05)


def test_auto_is_the_model_and_regression_is_another_answer(
    colorizer: Colorizer, photo: Any
) -> None:
    results = {
        steering: colorizer.colorize(photo, hints=HINTS, steering=steering)
        for steering in ("auto", "model", "regression")
    }
    np.testing.assert_array_equal(results["auto"], results["model"])
    assert (results["auto"] != results["regression"]).any()
    for steering, result in results.items():
        session = colorizer.session(photo, steering=steering)
        for hint in HINTS:
            session.add(hint)
        np.testing.assert_array_equal(session.render(), result)


def test_regression_reaches_the_hint_without_a_head(colorizer: Colorizer) -> None:
    grey = np.full((48, 64), 128, np.uint8)
    result = colorizer.colorize(grey, hints=[Hint(30, 20, "crimson")], steering="regression")
    lab = lab_from_rgb(result[20, 30, ::-1].astype(np.float64)[np.newaxis] / 255)[0]
    goal = lab_from_rgb(np.array([[220, 20, 60]]) / 255)[0]
    # Crimson at this lightness is within the gamut but for a little.
    assert np.hypot(*(lab[1:] - goal[1:])) < 12


def test_reference_and_hints_together(colorizer: Colorizer, photo: Any) -> None:
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (40, 40, 3), np.uint8)
    both = colorizer.colorize(photo, hints=HINTS, reference=reference)
    alone = colorizer.colorize(photo, hints=HINTS)
    zero = colorizer.colorize(photo, hints=HINTS, reference=reference, reference_strength=0)
    assert (both != alone).any()
    np.testing.assert_array_equal(zero, alone)


def test_suggestions_need_shares_of_colours(colorizer: Colorizer, photo: Any) -> None:
    with pytest.raises(colorcv.ModelFormatError, match="suggestions and variants need"):
        colorizer.suggest(photo, 3, 3)
    with pytest.raises(colorcv.ModelFormatError, match="suggestions and variants need"):
        colorizer.variants(photo)


@pytest.mark.parametrize(
    ("steering", "message"),
    [("model", "'model' needs a model that takes hints"), ("both", "steering must be 'auto', ")],
)
def test_wrong_steering(photo: Any, steering: Any, message: str) -> None:
    lite = Colorizer("lite", device="cpu")
    with pytest.raises(OptionError, match=message):
        lite.colorize(photo, steering=steering)
    with pytest.raises(OptionError, match=message):
        lite.session(photo, steering=steering)
    with pytest.raises(OptionError, match=message):
        colorcv.colorize(photo, model="lite", device="cpu", steering=steering)


def test_a_pickled_colorizer_takes_hints(colorizer: Colorizer, photo: Any) -> None:
    copy = pickle.loads(pickle.dumps(colorizer))
    assert copy.takes_hints
    np.testing.assert_array_equal(
        copy.colorize(photo, hints=HINTS), colorizer.colorize(photo, hints=HINTS)
    )


def test_lite_takes_no_hints() -> None:
    lite = Colorizer("lite", device="cpu")
    assert not lite.takes_hints
    planes = np.zeros((192, 192, 2), np.float32), np.zeros((192, 192), np.float32)
    with pytest.raises(colorcv.ModelFormatError, match="takes no hints"):
        lite.predict_hinted(np.full((192, 192), 50, np.float32), planes)
