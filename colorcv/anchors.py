"""`SceneColors`: the colours of a scene's places, held from key frame to key frame.

Works on arrays alone. A scene keeps anchors: the network's last features and the lightness of
places that differ from one another, and the mean colour that each has had so far. The colours of a
new key frame are the anchors' colours, by kernel regression over features and lightness, not over
position, so that what moves, or leaves and comes back, keeps its colour.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ._typing import Float32Array

__all__ = ["Prediction", "SceneColors"]

# The constants were chosen with `python -m benchmarks.wander`, lite at its default key frames.
GRID = 24  # cells along each side of a frame, about twice the size of the network's own cells
MAX_ANCHORS = 128
# Anchors that the first key frame of a scene may add, and each other one.
FIRST_ANCHORS, NEW_ANCHORS = 64, 16
# The kernel's standard deviations: of features, as a share of the root mean square distance of two
# cells, since networks differ in how far apart their features are; and of L*.
FEATURE_SHARE = 0.31
MIN_FEATURE_SCALE = 0.02  # a frame faded to black has no distances but rounding
LIGHTNESS_SCALE = 30.0
NEW_DISTANCE = 2.0  # squared, in standard deviations: what is farther from all anchors gets its own
NOISE = 0.05  # weight of the network's own colours, in key frames of an anchor at distance 0
MAX_WEIGHT = 16.0  # key frames: colours follow slow changes of a long scene
# A mean of colours that wander is greyer than they are, so chroma is scaled to the network's own
# mean over the scene, at most by this factor. More brings no colour nearer to the truth.
MAX_GAIN = 1.15
_MAX_PRODUCT = 1 << 18  # multiplications of one matrix product; above, BLAS starts threads


class Prediction(NamedTuple):
    """The network's answer for a key frame."""

    ab: Float32Array  # (h, w, 2)
    features: Float32Array  # (h, w, C), the last ones before the colours; any size
    fixed: Float32Array | None = None  # (h, w) in 0..1: how far hints determine ab; any size


class SceneColors:
    """Anchors of one scene.

    For each key frame, in any order, call `hold` and then `learn`.

    Notes
    -----
    The regression is Nadaraya and Watson's (E. A. Nadaraya, "On Estimating Regression", Theory of
    Probability and its Applications 9, 1964), with the network's own colours as its prior.
    """

    def __init__(self) -> None:
        self._features: Float32Array = np.zeros((0, 0), np.float32)  # (N, C), of length 1
        self._lightness: Float32Array = np.zeros(0, np.float32)
        self._ab: Float32Array = np.zeros((0, 2), np.float32)
        self._weight: Float32Array = np.zeros(0, np.float32)  # key frames averaged in `_ab`
        self._seen = np.zeros(0, np.intp)  # the last key frame with such a place
        self._keys = 0
        self._spread = 0.0  # sum over key frames
        self._chroma = self._held_chroma = 0.0  # sums over key frames
        self._gain = 1.0
        self._nearest = np.zeros(0, np.intp)

    def __len__(self) -> int:
        return len(self._lightness)

    def hold(self, prediction: Prediction, lightness: Float32Array) -> Float32Array:
        """Return the colours of a key frame, moved to the anchors' colours.

        Parameters
        ----------
        prediction : Prediction
        lightness : (H, W) float32, L* in 0..100

        Returns
        -------
        (h, w, 2) float32
            At the size of the prediction's ab.
        """
        features = _unit_features(prediction.features)
        light = _cells(lightness)[:, 0]
        own = _cells(prediction.ab)
        self._keys += 1
        # The root mean square distance of two unit vectors, from the length of their mean.
        mean = features.mean(axis=0)
        self._spread += float(np.sqrt(max(0.0, 2 - 2 * float(np.vdot(mean, mean)))))
        distance = self._add_anchors(features, light)
        self._nearest = distance.argmin(axis=1)
        new = self._weight == 0
        anchored = np.where(new[:, np.newaxis], self._means(own), self._ab)
        used = np.bincount(self._nearest, minlength=len(self)) > 0
        weight = np.exp(-distance / 2) * np.where(new, used, self._weight).astype(np.float32)
        total = weight.sum(axis=1, keepdims=True)
        held = (_product(weight, anchored) + np.float32(NOISE) * own) / (total + np.float32(NOISE))
        self._chroma += float(np.linalg.norm(own, axis=1).mean())
        self._held_chroma += float(np.linalg.norm(held, axis=1).mean())
        self._gain = float(np.clip(self._chroma / max(self._held_chroma, 1e-6), 1, MAX_GAIN))
        change = held * np.float32(self._gain) - own
        if prediction.fixed is not None:
            change *= 1 - _cells(prediction.fixed)
        height, width = prediction.ab.shape[:2]
        change = cv2.resize(change.reshape(GRID, GRID, 2), (width, height))
        return np.asarray(prediction.ab + change, np.float32)

    def learn(self, ab: Float32Array) -> None:
        """Average the final colours, (h, w, 2), of the frame last held into its anchors."""
        count = np.bincount(self._nearest, minlength=len(self))
        presence = np.minimum(count / 2, 1).astype(np.float32)  # one cell may be a chance likeness
        share = presence / np.maximum(self._weight + presence, np.float32(1e-6))
        found = self._means(_cells(ab) / np.float32(self._gain))
        self._ab += (found - self._ab) * share[:, np.newaxis]
        self._weight = np.minimum(self._weight + presence, np.float32(MAX_WEIGHT))
        self._seen[count > 0] = self._keys

    def _add_anchors(self, features: Float32Array, light: Float32Array) -> Float32Array:
        """Add anchors for cells unlike all others; return (cells, anchors) squared distances."""
        scale = max(FEATURE_SHARE * self._spread / self._keys, MIN_FEATURE_SCALE)
        cells = _points(features, light, scale)
        squares = np.einsum("nc,nc->n", cells, cells)
        first = not len(self)
        known = np.zeros((len(light), 0), np.float32)
        nearest = np.full(len(light), np.inf, np.float32)
        if not first:
            points = _points(self._features, self._lightness, scale)
            known = squares[:, np.newaxis] + np.einsum("nc,nc->n", points, points)
            known -= 2 * _product(cells, points.T)
            np.maximum(known, 0, out=known)
            nearest = known.min(axis=1)
        chosen: list[int] = []
        columns: list[Float32Array] = []
        while len(chosen) < (FIRST_ANCHORS if first else NEW_ANCHORS):
            farthest = int(np.argmax(nearest))
            if nearest[farthest] < NEW_DISTANCE:
                break
            chosen.append(farthest)
            column = squares + squares[farthest] - 2 * np.einsum("nc,c->n", cells, cells[farthest])
            columns.append(np.maximum(column, 0))
            np.minimum(nearest, columns[-1], out=nearest)
        if not chosen:
            return known
        kept = self._kept(len(chosen))
        added = len(chosen)
        old = np.zeros((0, features.shape[1]), np.float32) if first else self._features[kept]
        self._features = np.concatenate([old, features[chosen]])
        self._lightness = np.concatenate([self._lightness[kept], light[chosen]])
        self._ab = np.concatenate([self._ab[kept], np.zeros((added, 2), np.float32)])
        self._weight = np.concatenate([self._weight[kept], np.zeros(added, np.float32)])
        self._seen = np.concatenate([self._seen[kept], np.full(added, self._keys)])
        return np.concatenate([known[:, kept], np.stack(columns, axis=1)], axis=1)

    def _kept(self, added: int) -> npt.NDArray[np.intp]:
        """Return the anchors that stay: those seen longest ago make room for new ones."""
        excess = max(0, len(self) + added - MAX_ANCHORS)
        return np.sort(np.argsort(self._seen, kind="stable")[excess:])

    def _means(self, values: Float32Array) -> Float32Array:
        """Return the mean of values, (cells, 2), over the cells nearest to each anchor; else 0."""
        count = np.maximum(np.bincount(self._nearest, minlength=len(self)), 1)
        sums = [np.bincount(self._nearest, column, len(self)) for column in values.T]
        return np.asarray(np.stack(sums, axis=1) / count[:, np.newaxis], np.float32)


def _unit_features(features: Float32Array) -> Float32Array:
    """Return the features of the grid's cells, (cells, C), of length 1."""
    rows, columns = (((np.arange(GRID) + 0.5) * size / GRID).astype(np.intp)
                     for size in features.shape[:2])  # fmt: skip
    cells = features[rows[:, np.newaxis], columns].reshape(GRID * GRID, -1)
    lengths = np.sqrt(np.einsum("nc,nc->n", cells, cells))
    return np.asarray(cells / np.maximum(lengths, 1e-12)[:, np.newaxis], np.float32)


def _points(features: Float32Array, light: Float32Array, scale: float) -> Float32Array:
    """Return features and lightness in standard deviations of the kernel, (N, C + 1)."""
    light = (light - np.float32(50)) / np.float32(LIGHTNESS_SCALE)  # small, so that squares are
    return np.column_stack([features / np.float32(scale), light])


def _cells(plane: Float32Array) -> Float32Array:
    """Return the mean of a plane, (H, W) or (H, W, n), in the grid's cells, (cells, n)."""
    small = cv2.resize(plane, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(GRID * GRID, -1)


def _product(left: Float32Array, right: Float32Array) -> Float32Array:
    """Return the product of two matrices, (n, C) and (C, m), a few rows at a time."""
    # For larger products BLAS starts threads, NumPy's and that of OpenCV's wheels (4.14, 5.0). They
    # spin for 20 ms afterwards: 6 ms of processor time a frame of a video.
    rows = max(1, _MAX_PRODUCT // right.size)
    product = np.empty((len(left), right.shape[1]), np.float32)
    for row in range(0, len(left), rows):
        np.matmul(left[row : row + rows], right, out=product[row : row + rows])
    return product
