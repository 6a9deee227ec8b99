"""Colours held for a scene, with networks whose answers drift."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from colorcv import Colorizer
from colorcv.anchors import GRID, MAX_ANCHORS, Prediction, SceneColors
from colorcv.frames import colorize_frames, predict_chroma, predict_held
from colorcv.temporal import ChromaPropagator
from tests.helpers import films
from tests.helpers.films import SMALL, FakeColorizer, Float32

WARM, COLD, GREEN = (np.array(ab, np.float32) for ab in ((35, 30), (-5, -35), (-30, 25)))
Predict = Callable[[Float32], Prediction]


def materials(labels: Float32, count: int = 4, seed: int = 0) -> Float32:
    """Return features, (56, 56, 8): one direction for each material, and a little noise."""
    base = np.eye(8, dtype=np.float32)[:count]
    noise = np.random.default_rng(seed).normal(0, 0.03, (SMALL, SMALL, 8))
    return (3 * (base[labels.astype(int)] + noise)).astype(np.float32)


def halves() -> Float32:
    labels = np.zeros((SMALL, SMALL), np.float32)
    labels[:, SMALL // 2 :] = 1
    return labels


def network(
    lightness: list[Float32], labels: list[Float32], colors: list[list[Float32]]
) -> Predict:
    """Return a network that sees these materials, and gives them these colours, in each frame."""
    index_of = {id(plane): index for index, plane in enumerate(lightness)}

    def predict(plane: Float32) -> Prediction:
        index = index_of[id(plane)]
        ab = np.array(colors[index], np.float32)[labels[index].astype(int)]
        return Prediction(ab, materials(labels[index], seed=index))

    return predict


def run(
    lightness: list[Float32], predict: Predict, *, hold: bool = True, **options: object
) -> list[Float32]:
    propagator = ChromaPropagator(
        lambda plane: predict(plane).ab,
        predict_features=predict if hold else None,
        **options,  # type: ignore[arg-type]
    )
    return [ab for _, _, ab in propagator.propagate(enumerate(lightness))]


def still(frames: int, seed: int = 0) -> list[Float32]:
    plane = films.panning_scene(1, seed)[0][0]
    return [plane.copy() for _ in range(frames)]


def turned(ab: Float32, degrees: float) -> Float32:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]], np.float32) @ ab


@pytest.mark.parametrize("speed", [0.0, 1.0], ids=["still", "pan"])
def test_drifting_colours_hold(speed: float) -> None:
    lightness, _ = films.panning_scene(97, speed=speed)
    columns = np.indices((SMALL, SMALL))[1]
    labels = [(columns >= 44 - speed * i / 4).astype(np.float32) for i in range(97)]
    colors = [[turned(WARM, 0.8 * i), turned(COLD, -0.8 * i)] for i in range(97)]
    predict = network(lightness, labels, colors)
    before, after = (
        np.std([ab[:, :12].mean(axis=(0, 1)) for ab in run(lightness, predict, hold=hold)], axis=0)
        for hold in (False, True)
    )
    assert (after < 0.3 * before).all()


def test_colours_that_do_not_drift_stay() -> None:
    lightness, _ = films.panning_scene(33, speed=0)
    predict = network(lightness, [halves()] * 33, [[WARM, COLD]] * 33)
    results = run(lightness, predict)
    assert np.abs(np.array(results) - predict(lightness[0]).ab)[:, :, 4:24].max() < 1
    assert np.abs(np.array(results) - predict(lightness[0]).ab)[:, :, 32:52].max() < 1


def test_what_returns_has_its_colour() -> None:
    """A thing is in view in frames 0 to 23, gone for 40, and back, where the network errs."""
    lightness = still(97)
    gone = halves()
    there = gone.copy()
    there[26:48, 26:48] = 2
    labels = [there if i < 24 or i >= 64 else gone for i in range(97)]
    other, _ = films.panning_scene(1, seed=40)
    for i, own in enumerate(labels):  # the thing is seen in lightness too
        if own is there:
            lightness[i] = lightness[i].copy()
            lightness[i][104:192, 104:192] = other[0][104:192, 104:192]
    colors = [[COLD, -COLD, WARM if i < 24 else GREEN] for i in range(97)]
    predict = network(lightness, labels, colors)
    held, smoothed = (run(lightness, predict, hold=hold) for hold in (True, False))
    middle = np.s_[32:42, 32:42]
    for index in range(66, 97):
        assert np.linalg.norm(held[index][middle].mean(axis=(0, 1)) - WARM) < 12
        assert np.linalg.norm(smoothed[index][middle].mean(axis=(0, 1)) - WARM) > 40


def test_a_cut_shares_nothing() -> None:
    """The scene after a cut is what it is on its own, although its features are the same."""
    first, second = still(20), still(20, seed=40)
    colors = [[WARM, COLD]] * 20 + [[GREEN, WARM]] * 20
    predict = network([*first, *second], [halves()] * 40, colors)
    both, alone = run([*first, *second], predict), run(second, predict)
    assert np.array_equal(both[20:], alone)
    assert np.abs(alone[0] - predict(second[0]).ab).max() < 6


def test_without_smoothing_nothing_is_held() -> None:
    lightness, _ = films.panning_scene(9)
    colors = [[turned(WARM, 9 * i), COLD] for i in range(9)]
    predict = network(lightness, [halves()] * 9, colors)
    results = run(lightness, predict, smooth=False, keyframe_interval=1)
    assert all(
        np.array_equal(ab, predict(plane).ab) for ab, plane in zip(results, lightness, strict=True)
    )


def test_the_same_twice() -> None:
    lightness, _ = films.panning_scene(40)
    colors = [[turned(WARM, 3 * i), COLD] for i in range(40)]
    predict = network(lightness, [halves()] * 40, colors)
    propagator = ChromaPropagator(lambda plane: predict(plane).ab, predict_features=predict)
    first, second = (
        [ab for _, _, ab in propagator.propagate(enumerate(lightness))] for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_anchors_are_bounded() -> None:
    """An hour without a cut, of which every frame is new."""
    scene = SceneColors()
    rng = np.random.default_rng(0)
    for _ in range(60):
        features = rng.normal(size=(48, 48, 16)).astype(np.float32)
        lightness = rng.uniform(0, 100, (64, 64)).astype(np.float32)
        ab = rng.normal(0, 20, (48, 48, 2)).astype(np.float32)
        scene.learn(scene.hold(Prediction(ab, features), lightness))
    assert len(scene) == MAX_ANCHORS


def test_second_key_frame_against_the_formula() -> None:
    """Two materials far apart have an anchor each, so the regression is a weighted mean."""
    scene = SceneColors()
    columns = np.indices((GRID, GRID))[1]
    labels = (columns >= GRID // 2).astype(int)
    features = np.eye(4, dtype=np.float32)[labels]
    lightness = np.full((GRID, GRID), 50, np.float32)
    first, second = (np.array(pair, np.float32)[labels] for pair in ((WARM, COLD), (-WARM, -COLD)))
    assert np.allclose(scene.hold(Prediction(first, features), lightness), first, atol=1e-3)
    scene.learn(first)
    assert len(scene) == 2
    # (weight 1 * anchor + noise 0.05 * network) / 1.05, and chroma scaled to the network's mean.
    held = (first + 0.05 * second) / 1.05
    own = np.linalg.norm(first, axis=2).mean()
    gain = 2 * own / (own + np.linalg.norm(held, axis=2).mean())
    found = scene.hold(Prediction(second, features), lightness)
    # The other material's anchor, 4.6 standard deviations off, has a weight of 3e-5.
    assert np.allclose(found, held * gain, atol=5e-3)


@pytest.mark.parametrize("lightness", [0.0, 100.0], ids=["black", "white"])
def test_flat_frames(lightness: float) -> None:
    scene = SceneColors()
    plane = np.full((192, 192), lightness, np.float32)
    for value in (0.0, 1.0):
        prediction = Prediction(
            np.full((48, 48, 2), 3, np.float32), np.full((48, 48, 8), value, np.float32)
        )
        held = scene.hold(prediction, plane)
        scene.learn(held)
        assert np.allclose(held, 3, atol=1e-3)


@pytest.mark.parametrize("hw", [(8, 8), (31, 50), (56, 56)])
def test_any_size_of_features(hw: tuple[int, int]) -> None:
    scene = SceneColors()
    rng = np.random.default_rng(1)
    for _ in range(3):
        features = rng.normal(size=(*hw, 3)).astype(np.float32)
        held = scene.hold(
            Prediction(np.full((40, 28, 2), (9, -4), np.float32), features),
            np.full((160, 112), 50, np.float32),
        )
        scene.learn(held)
        assert held.shape == (40, 28, 2)
        assert np.allclose(held, (9, -4), atol=1e-3)


def test_colours_fixed_by_hints_are_not_moved() -> None:
    scene = SceneColors()
    plane = still(1)[0]
    features = materials(halves())
    warm, cold = (np.full((SMALL, SMALL, 2), ab, np.float32) for ab in (WARM, COLD))
    scene.learn(scene.hold(Prediction(warm, features), plane))
    fixed = np.zeros((GRID, GRID), np.float32)
    fixed[: GRID // 2] = 1
    held = scene.hold(Prediction(cold, features, fixed), plane)
    assert np.array_equal(held[: SMALL // 2 - 3], cold[: SMALL // 2 - 3])
    assert np.linalg.norm(held[SMALL // 2 + 3 :] - WARM, axis=2).max() < 8


class DriftingColorizer(FakeColorizer):
    """Its answers turn green from call to call; its features are lightness and place."""

    default_saturation = 1.0

    def predict_features(self, lightness: Float32) -> tuple[Float32, Float32]:
        ab = self.predict_ab(lightness) + np.float32((-2, 1)) * len(self.seen)
        light = np.linspace(0, 1, 16, dtype=np.float32)
        rows, columns = np.meshgrid(light, light, indexing="ij")
        return ab, np.dstack([rows, columns, np.ones_like(rows)])


def test_frames_hold_colours_by_default() -> None:
    frame = np.clip(120 + 30 * films.texture(3, (64, 64), 1)[..., 0], 0, 255).astype(np.uint8)
    held, plain = DriftingColorizer(), FakeColorizer()
    first = list(colorize_frames(held, [frame] * 41))
    drift = [np.abs(image.astype(int) - first[0]).mean() for image in first]
    assert len(held.seen) == 6
    assert drift[-1] < 2  # the network's own answer is 10 ab further by then
    off = list(colorize_frames(DriftingColorizer(), [frame] * 41, hold_colors=False))
    old = list(colorize_frames(plain, [frame] * 41))
    assert all(np.array_equal(a, b) for a, b in zip(off, old, strict=True))


@pytest.mark.parametrize("interval", [1, 8])
def test_frames_of_the_small_model(interval: int) -> None:
    """Without `hold_colors`, the network is not asked for features; each frame has its colours."""
    colorizer = Colorizer("lite", device="cpu")
    plane = np.clip(120 + 40 * films.texture(5, (96, 128), 1)[..., 0], 0, 255).astype(np.uint8)
    frames = [np.roll(plane, shift, axis=1) for shift in range(9)]
    off = list(colorizer.frames(frames, keyframe_interval=interval, hold_colors=False))
    on = list(colorizer.frames(frames, keyframe_interval=interval))
    assert len(on) == len(off) == 9
    assert not all(np.array_equal(a, b) for a, b in zip(on, off, strict=True))
    exact = list(colorizer.frames(frames, keyframe_interval=1, smooth=False))
    assert all(
        np.array_equal(a, colorizer.colorize(b, ignore_border=False))
        for a, b in zip(exact, [np.dstack([f] * 3) for f in frames], strict=True)
    )
    lightness = films.panning_scene(1)[0][0][:192, :192].copy()
    held = partial(predict_held, colorizer)(lightness)
    assert np.allclose(held.ab, predict_chroma(colorizer, lightness), atol=1e-4)
