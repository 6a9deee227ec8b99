"""Synthetic videos with known chroma, and a `FakeColorizer`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

SIZE = 224  # pixels of the lightness that a fake network takes
SMALL = 56  # pixels of the chroma that it returns


def texture(seed: int, hw: tuple[int, int], channels: int, detail: int = 12) -> Float32:
    """Return smooth seeded noise, (H, W, channels), mean 0 and standard deviation 1."""
    rng = np.random.default_rng(seed)
    height, width = hw
    coarse = rng.normal(size=(max(2, height // detail), max(2, width // detail), channels))
    plane = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    plane = plane.reshape(height, width, channels)
    return (plane - plane.mean()) / plane.std()


def panning_scene(
    frames: int, seed: int = 0, speed: float = 1.5
) -> tuple[list[Float32], list[Float32]]:
    """Return lightness (224, 224) and true ab (56, 56, 2) of a pan over a coloured texture."""
    reach = int(abs(speed) * frames) + 2
    wide = (SIZE, SIZE + reach)
    fine = texture(seed, wide, 1)[..., 0]
    lightness = np.clip(50 + 18 * fine, 0, 100)
    chroma = 25 * texture(seed + 1, wide, 2, detail=24)
    views, answers = [], []
    for i in range(frames):
        shift = np.array([[1, 0, -speed * i], [0, 1, 0]], np.float32)
        both = np.dstack([lightness, chroma])
        both = cv2.warpAffine(both, shift, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
        views.append(np.ascontiguousarray(both[..., 0]))
        answers.append(cv2.resize(both[..., 1:], (SMALL, SMALL), interpolation=cv2.INTER_AREA))
    return views, answers


def exact_network(lightness: list[Float32], ab: list[Float32]) -> Callable[[Float32], Float32]:
    """Return a network that predicts the true chroma of these lightness arrays, by identity."""
    known = {id(plane): answer for plane, answer in zip(lightness, ab, strict=True)}
    return lambda plane: known[id(plane)]


def flicker(ab: list[Float32], seed: int = 0, strength: float = 3.0) -> list[Float32]:
    """Return chroma with smooth noise that differs from frame to frame."""
    rng = np.random.default_rng(seed)
    noisy = []
    for answer in ab:
        noise = rng.normal(0, strength, (7, 7, 2)).astype(np.float32)
        noisy.append(answer + cv2.resize(noise, answer.shape[1::-1], interpolation=cv2.INTER_CUBIC))
    return noisy


def psnr(answer: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the peak signal-to-noise ratio for a range of 255, as the ab of 8-bit Lab spans."""
    error = np.mean((np.asarray(answer, np.float64) - np.asarray(truth, np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def warp(plane: Float32, to: Float32, source: Float32) -> Float32:
    """Warp a chroma plane from the frame `source` to the frame `to` along a dense flow.

    The flow is Farneback's, which colorcv does not use, so the measure is independent.
    """
    height, width = plane.shape[:2]
    first, second = (
        cv2.resize(view, (112, 112), interpolation=cv2.INTER_AREA) * 2.55 for view in (to, source)
    )
    flow = cv2.calcOpticalFlowFarneback(
        first.astype(np.uint8), second.astype(np.uint8), None, 0.5, 4, 13, 4, 7, 1.5, 0
    )
    flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA)
    flow *= np.array([width / 112, height / 112], np.float32)
    grid = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    return cv2.remap(plane, grid + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def warp_error(lightness: list[Float32], ab: list[Float32], cuts: tuple[int, ...] = ()) -> float:
    """Return the mean absolute change of chroma along the motion, without `cuts`."""
    changes = [
        float(np.abs(ab[i] - warp(ab[i - 1], lightness[i], lightness[i - 1])).mean())
        for i in range(1, len(ab))
        if i not in cuts
    ]
    return float(np.mean(changes))


@lru_cache(maxsize=2)
def read_film(path: str) -> tuple[list[Float32], list[Float32]]:
    """Return lightness at 224 and true ab at 56 (by area) of every frame of a colour video."""
    capture = cv2.VideoCapture(path)
    lightness, ab = [], []
    while True:
        ok, frame = capture.read()
        if not ok:
            return lightness, ab
        lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        lightness.append(cv2.resize(lab[..., 0], (SIZE, SIZE), interpolation=cv2.INTER_AREA))
        ab.append(cv2.resize(lab[..., 1:], (SMALL, SMALL), interpolation=cv2.INTER_AREA))


class FakeColorizer:
    """A colorizer whose network is a formula: ab is linear in lightness."""

    input_hw = (64, 64)

    def __init__(self) -> None:
        self.seen: list[Float32] = []

    def predict_ab(self, lightness: Float32) -> Float32:
        """Return ab at a quarter of the size, (16, 16, 2)."""
        assert lightness.shape == self.input_hw
        assert lightness.dtype == np.float32
        assert 0 <= lightness.min() <= lightness.max() <= 100
        self.seen.append(lightness)
        small = cv2.resize(lightness, (16, 16), interpolation=cv2.INTER_AREA)
        return np.dstack([0.3 * (small - 30), 0.5 * (60 - small)]).astype(np.float32)

    def colorize(
        self, image: npt.NDArray[np.uint8], saturation: float = 1.0, ignore_border: Any = False
    ) -> Float32:
        """Colour an image with the modules that `Colorizer.colorize` uses."""
        from colorcv.color import lab
        from colorcv.image.source import SourceImage

        source = SourceImage(image, ignore_border=ignore_border)
        small = source.lightness_at(self.input_hw)
        chroma = lab.upsample_chroma(self.predict_ab(small), small)
        return source.colored(chroma, saturation=saturation)
