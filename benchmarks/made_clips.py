"""Short clips made of scikit-image's photos: camera moves, an object that returns, cuts.

Like old films they are unsteady: brightness and contrast drift, the frame jitters, film grain. The
place of every point is known in every frame, also of points that leave the frame and come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

HW = (288, 384)
GRID = 24  # points along each side of a photo


class MadeClip(NamedTuple):
    """Frames, (H, W, 3) uint8 BGR, and the points in them.

    Attributes
    ----------
    frames : list of array
    points : (frames, N, 2) float
        Column and row as fractions of the frame's sides; nan where a point is not visible.
    """

    frames: list[Array]
    points: Array


def pan_and_back(count: int = 144) -> MadeClip:
    """A camera that pans right and zooms in, then goes back."""
    swing = (1 - np.cos(np.linspace(0, 2 * np.pi, count))) / 2

    def view(i: int) -> tuple[float, float, float]:
        return 0.25 + 0.5 * swing[i], 0.5, 0.5 - 0.1 * swing[i]

    return _film("motorcycle_left", view, count, seed=1)


def object_returns(count: int = 168) -> MadeClip:
    """A person who walks through the frame, is gone for two seconds, and comes back."""
    background = _film("coffee", lambda i: (0.5, 0.5, 0.9), count, seed=2, unsteady=False)
    photo = _photo("astronaut")[:300, 130:330]
    height, width = photo.shape[:2]
    alpha = np.zeros((height, width), np.float32)
    cv2.ellipse(alpha, (width // 2, height // 2), (80, 125), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    frames, points = [], []
    fractions = _grid(16)
    inside = ((fractions[:, 0] - 0.5) / 0.36) ** 2 + ((fractions[:, 1] - 0.5) / 0.38) ** 2 < 1
    for index, frame in enumerate(background.frames):
        part = index / count  # in from the left until 0.4, gone until 0.7, in again until 1
        if part < 0.4:
            middle = HW[1] * (-0.25 + 1.5 * part / 0.4)
        else:
            middle = HW[1] * (1.25 - 0.75 * max(0.0, part - 0.7) / 0.3)
        scale = 0.8
        shift = np.array([[scale, 0, middle - scale * width / 2], [0, scale, 30]], np.float32)
        cover = cv2.warpAffine(alpha, shift, HW[::-1])[..., None]
        moved = cv2.warpAffine(photo, shift, HW[::-1])
        frames.append((frame * (1 - cover) + moved * cover).astype(np.uint8))
        of_object = fractions[inside] * (width * scale, height * scale) + shift[:, 2]
        behind = background.points[index].copy()
        cells = np.nan_to_num(behind * HW[::-1]).astype(int).clip(0, (HW[1] - 1, HW[0] - 1))
        behind[cover[cells[:, 1], cells[:, 0], 0] > 0.01] = np.nan
        points.append(np.concatenate([behind, _visible(of_object)]))
    return MadeClip(_age(frames, seed=2), np.array(points))


def shot_and_reverse_shot(count: int = 36, shots: int = 6) -> MadeClip:
    """Two places in turn, with a cut after every 1.5 seconds and slow zooms."""
    parts = []
    for shot in range(shots):
        name = ("astronaut", "chelsea")[shot % 2]
        start, speed = 0.80 - 0.01 * shot, 0.0015

        def view(i: int, start: float = start, speed: float = speed) -> tuple[float, float, float]:
            return 0.5, 0.45, start - speed * i

        parts.append(_film(name, view, count, seed=10 + shot))
    sizes = [GRID * GRID] * 2
    points = np.full((count * shots, sum(sizes), 2), np.nan)
    for shot, part in enumerate(parts):
        first = shot % 2 * sizes[0]
        points[shot * count : (shot + 1) * count, first : first + sizes[0]] = part.points
    return MadeClip([frame for part in parts for frame in part.frames], points)


MADE_CLIPS: dict[str, Callable[[], MadeClip]] = {
    "made: pan and back": pan_and_back,
    "made: object returns": object_returns,
    "made: shot, reverse shot": shot_and_reverse_shot,
}


def _photo(name: str) -> Array:
    from skimage import data

    return np.ascontiguousarray(
        {
            "motorcycle_left": lambda: data.stereo_motorcycle()[0],
            "coffee": data.coffee,
            "astronaut": data.astronaut,
            "chelsea": data.chelsea,
        }[name]()[..., ::-1]
    )


def _grid(count: int) -> Array:
    steps = (np.arange(count) + 0.5) / count
    return np.stack(np.meshgrid(steps, steps), axis=2).reshape(-1, 2)


def _visible(places: Array) -> Array:
    """Return places in pixels as fractions of the frame, nan where they are outside of it."""
    fractions = places / HW[::-1]
    fractions[((fractions < 0.02) | (fractions > 0.98)).any(axis=1)] = np.nan
    return np.asarray(fractions)


def _film(
    name: str,
    view: Callable[[int], tuple[float, float, float]],
    count: int,
    seed: int,
    unsteady: bool = True,
) -> MadeClip:
    """Film a photo; `view` gives the middle (x, y) and the height, in fractions of the photo's."""
    photo = _photo(name)
    height, width = photo.shape[:2]
    rng = np.random.default_rng(seed)
    frames, points = [], []
    for index in range(count):
        x, y, part = view(index)
        scale = HW[0] / (part * height)
        reach_x, reach_y = HW[1] / scale / 2, HW[0] / scale / 2
        reach = np.minimum((reach_x, reach_y), (width / 2, height / 2))
        middle = np.clip((x * width, y * height), reach, (width, height) - reach)
        jitter = rng.normal(0, 0.4, 2)
        offset = np.array([HW[1], HW[0]]) / 2 - scale * middle + jitter
        matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]], np.float32)
        frames.append(cv2.warpAffine(photo, matrix, HW[::-1], borderMode=cv2.BORDER_REFLECT))
        points.append(_visible(_grid(GRID) * (width * scale, height * scale) + offset))
    return MadeClip(_age(frames, seed) if unsteady else frames, np.array(points))


def _age(frames: list[Array], seed: int) -> list[Array]:
    """Let the brightness and contrast of frames drift, and add film grain.

    Chroma in Lab stays, but for the values that are clipped.
    """
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, 2)
    aged = []
    for index, frame in enumerate(frames):
        lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        contrast = 0.9 + 0.1 * np.sin(index / 25 + phase[0])
        offset = 5 * np.sin(index / 17 + phase[1]) + rng.normal(0, 0.7)
        grain = cv2.GaussianBlur(rng.normal(0, 6, lab.shape[:2]).astype(np.float32), (0, 0), 0.8)
        lab[..., 0] = np.clip(50 + contrast * (lab[..., 0] - 50) + offset + grain, 3, 97)
        bgr = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)
        aged.append(np.rint(bgr * 255).clip(0, 255).astype(np.uint8))
    return aged
