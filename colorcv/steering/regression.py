"""Steering: colours known at some places of an image, carried to the places that resemble them.

Gaussian-process regression of the residual (known ab minus the network's ab) over the network's
last features, lightness and position. Pure arrays; the network's guess is the prior mean, so that
far from every known colour the answer is the guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .._parallel import ordered_map
from .._typing import Float32Array

__all__ = [
    "HINT_KERNEL",
    "REFERENCE_KERNEL",
    "SCENE_KERNEL",
    "Kernel",
    "Places",
    "Regression",
    "Scale",
    "farthest_points",
]

Float64Array = npt.NDArray[np.float64]

# Observations that a regression keeps at most, and those among which it chooses them.
MAX_POINTS, MAX_CANDIDATES = 300, 4096
# Places whose kernel is held at a time: 5 MB with the most points.
_CHUNK = 4096
_MAX_THREADS, _ONE_THREAD_POINTS = 8, 16
_CHANNELS = 32  # of features resized at a time: cv2.resize has a limit, 128 in OpenCV 5
# In thinning: ab units that count as one length of the kernel, and squared distances below which
# points are equal, in such lengths (float32 gives equal points some 1e-6).
_THINNING_AB, _EQUAL = 20.0, 1e-4


class Scale(NamedTuple):
    """One Gaussian of a kernel: its weight, and the lengths at which likeness fades.

    `place` is in fractions of the image's side (None: position does not count), `lightness` in
    L*, `feature` in units of features of length 1.
    """

    weight: float
    place: float | None
    lightness: float
    feature: float


@dataclass(frozen=True)
class Kernel:
    """Likeness of two places: a sum of Gaussians; `noise` is the variance of what is observed.

    Weights and noise are relative to the variance of the residual.
    """

    scales: tuple[Scale, ...]
    noise: float


# Chosen on 60 photos of the training set, one or more colours of each revealed at random places.
# Against the wide Gaussian alone (1.2, 60, 1.0), the narrow one gains 0.15 dB at 1 to 10 hints and
# 0.35 dB at 50, and halves how far the answer at a hint is from it.
HINT_KERNEL = Kernel((Scale(0.8, 1.2, 60.0, 0.8), Scale(0.2, 0.2, 20.0, 0.4)), noise=0.02)
# In the other frames of a scene a thing is elsewhere, but looks nearly the same.
SCENE_KERNEL = Kernel((Scale(0.8, None, 60.0, 0.8), Scale(0.2, None, 20.0, 0.4)), noise=0.02)
# In another image a place is elsewhere, and its colour is less sure. Chosen on 40 photos of the
# training set, one half as the reference of the other: 23.7 dB without, 27.1 dB with it.
REFERENCE_KERNEL = Kernel((Scale(0.7, None, 60.0, 0.7), Scale(0.3, None, 20.0, 0.35)), noise=0.1)


@dataclass(frozen=True)
class Places:
    """What a kernel compares of N places.

    Attributes
    ----------
    features : (N, C) float32
        The network's last features, of length 1.
    lightness : (N,) float32
        L* in 0..100.
    position : (N, 2) float32
        Row and column of the place's middle, as fractions of the image's sides.
    """

    features: Float32Array
    lightness: Float32Array
    position: Float32Array

    @classmethod
    def from_image(cls, features: Float32Array, lightness: Float32Array) -> Places:
        """Return all places of an image, row by row.

        Parameters
        ----------
        features : (h, w, C) float32
            Any finite numbers, at any size: enlarged linearly, then scaled to length 1.
        lightness : (H, W) float32
            L* in 0..100.
        """
        height, width = lightness.shape
        channels = features.shape[2]
        full = np.empty((height, width, channels), np.float32)
        for first in range(0, channels, _CHANNELS):
            some = np.ascontiguousarray(features[..., first : first + _CHANNELS])
            large = cv2.resize(some, (width, height), interpolation=cv2.INTER_LINEAR)
            full[..., first : first + _CHANNELS] = large.reshape(height, width, -1)
        flat = full.reshape(-1, channels)
        lengths = np.sqrt(np.einsum("nc,nc->n", flat, flat))
        flat /= np.maximum(lengths, np.float32(1e-12))[:, np.newaxis]
        rows, columns = np.indices((height, width), np.float32)
        position = np.stack([(rows + 0.5) / height, (columns + 0.5) / width], axis=2)
        return cls(flat, np.ravel(lightness), position.reshape(-1, 2).astype(np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[Places]) -> Places:
        """Return the places of all the parts, in their order."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.lightness for part in parts]),
            np.concatenate([part.position for part in parts]),
        )

    def take(self, indices: npt.NDArray[np.intp] | slice) -> Places:
        """Return some of the places."""
        return Places(self.features[indices], self.lightness[indices], self.position[indices])

    def __len__(self) -> int:
        return len(self.lightness)


class Regression:
    """The mean of a Gaussian process, given residuals at some places.

    Built once; it may be asked for any places of any image, also by several threads.

    Parameters
    ----------
    places : Places
        Where something is known. Order does not matter; the same place may come several times,
        also with residuals that contradict each other, which are averaged.
    residual : (N, 2) float32
        Known ab minus the prior's ab. All zero gives exactly zero everywhere.
    kernel : Kernel
    max_points : int
        Of more places, so many are kept: each farthest from those kept before it, in the kernel's
        lengths and in ab. Each takes the mean residual of the places that are nearest to it.

    Notes
    -----
    ``k(q, P) (K + noise I)^-1 residual``: C. E. Rasmussen and C. K. I. Williams, "Gaussian
    Processes for Machine Learning", MIT Press 2006, equation 2.25. Solved in float64; since the
    noise is added, K may be singular.
    """

    def __init__(
        self,
        places: Places,
        residual: Float32Array,
        kernel: Kernel,
        *,
        max_points: int = MAX_POINTS,
    ) -> None:
        if not kernel.noise > 0:
            raise ValueError(f"the kernel's noise must be above 0, got {kernel.noise}")
        if residual.shape != (len(places), 2):
            raise ValueError(f"{len(places)} places need a ({len(places)}, 2) residual")
        # The same sums in the same order, however the observations come.
        order = np.lexsort((*residual.T, *places.features.T[:2], places.lightness,
                            *places.position.T))  # fmt: skip
        places, residual = places.take(order), residual[order]
        if len(places) > max_points:
            places, residual = _thin(places, residual, kernel, max_points)
        self._kernel = kernel
        self._places = places
        self._weights = np.zeros((len(places), 2), np.float32)
        if not residual.any():
            return
        covariance = _covariance(places, kernel)
        covariance[np.diag_indices_from(covariance)] += kernel.noise
        wide = residual.astype(np.float64)
        is_solved, solved = cv2.solve(covariance, wide, flags=cv2.DECOMP_CHOLESKY)
        if not is_solved:  # where the noise is near float64's rounding
            solved = np.linalg.solve(covariance, wide)
        self._weights = np.asarray(solved, np.float32)

    def __len__(self) -> int:
        return len(self._places)

    def predict(self, places: Places) -> Float32Array:
        """Return the expected residual, (N, 2) float32, at N places."""
        found = np.zeros((len(places), 2), np.float32)
        if not self._weights.any():
            return found
        right = [_linear_part(self._places, scale)[1] for scale in self._kernel.scales]
        known = np.ascontiguousarray(self._places.features.T)

        def predict_chunk(first: int) -> None:
            some = slice(first, first + _CHUNK)
            chunk = places.take(some)
            dots = _product(chunk.features, known)
            for scale, columns in zip(self._kernel.scales, right, strict=True):
                likeness = _product(_linear_part(chunk, scale)[0], columns)
                likeness += dots * np.float32(scale.feature**-2)
                np.exp(likeness, out=likeness)
                found[some] += _product(likeness, self._weights * np.float32(scale.weight))

        threads = min(cv2.getNumThreads(), _MAX_THREADS) if len(self) > _ONE_THREAD_POINTS else 1
        for _ in ordered_map(
            predict_chunk, range(0, len(places), _CHUNK), threads, name="colorcv-steering"
        ):
            pass
        return found


def _product(left: Any, right: Any) -> Any:
    """Return the product of two matrices, float32 or float64.

    OpenCV's, because NumPy's BLAS has threads of its own, which go on spinning after each product
    and take the cores from OpenCV's: on a busy machine a render took 600 ms instead of 60.
    """
    return cv2.gemm(np.ascontiguousarray(left), np.ascontiguousarray(right), 1, None, 0)  # type: ignore[call-overload]


def _linear_part(places: Places, scale: Scale) -> tuple[Float32Array, Float32Array]:
    """Factors of the Gaussian's exponent, but for the dot product of the features.

    ``-|p - q|^2 / 2`` is ``p q - |p|^2 / 2 - |q|^2 / 2``. Returns what stands left of the product
    for some places, (N, 5), and what stands right of it, (5, N).
    """
    # Seen from the middle, so that the squares stay small beside float32's rounding.
    columns = [(places.lightness - 50) / scale.lightness]
    if scale.place is not None:
        columns += list((places.position - np.float32(0.5)).T / scale.place)
    plain = np.stack(columns).astype(np.float32)
    squares = np.einsum("nc,nc->n", places.features, places.features) / scale.feature**2
    half = (-(squares + np.einsum("cn,cn->n", plain, plain)) / 2).astype(np.float32)
    ones = np.ones_like(half)
    left = np.ascontiguousarray(np.stack([*plain, half, ones]).T)
    return left, np.stack([*plain, ones, half])


def _covariance(places: Places, kernel: Kernel) -> Float64Array:
    """The kernel between all pairs of places, (N, N) float64."""
    features = places.features.astype(np.float64)
    dots = np.asarray(_product(features, features.T), np.float64)
    lengths = np.diag(dots)
    apart = np.maximum(lengths[:, np.newaxis] + lengths - 2 * dots, 0)
    light = _squared_differences(places.lightness)
    where = sum(_squared_differences(axis) for axis in places.position.T)
    total = np.zeros(dots.shape)
    for scale in kernel.scales:
        exponent = apart / scale.feature**2 + light / scale.lightness**2
        if scale.place is not None:
            exponent += where / scale.place**2
        total += scale.weight * np.exp(-exponent / 2)
    return total


def _squared_differences(values: Float32Array) -> Float64Array:
    wide = values.astype(np.float64)
    return np.asarray((wide[:, np.newaxis] - wide) ** 2, np.float64)


def _thin(
    places: Places, residual: Float32Array, kernel: Kernel, count: int
) -> tuple[Places, Float32Array]:
    """Keep `count` of the places, far from one another, with the mean residual around each."""
    scale = kernel.scales[0]
    parts = [
        places.features / scale.feature,
        places.lightness[:, np.newaxis] / scale.lightness,
        residual / _THINNING_AB,
    ]
    if scale.place is not None:
        parts.append(places.position / scale.place)
    points = np.concatenate(parts, axis=1).astype(np.float32)
    step = max(1, len(points) // max(MAX_CANDIDATES, count))
    candidates = np.ascontiguousarray(points[::step])
    chosen = farthest_points(candidates, count) * step

    kept = points[chosen]
    half = np.einsum("nc,nc->n", kept, kept) / 2
    nearest = np.empty(len(points), np.intp)
    for first in range(0, len(points), _CHUNK):
        some = slice(first, first + _CHUNK)
        nearest[some] = np.argmax(_product(points[some], kept.T) - half, axis=1)
    members = np.maximum(np.bincount(nearest, minlength=len(chosen)), 1)
    sums = [np.bincount(nearest, column, len(chosen)) for column in residual.T]
    means = np.stack(sums, axis=1) / members[:, np.newaxis]
    return places.take(chosen), means.astype(np.float32)


def farthest_points(points: Float32Array, count: int) -> npt.NDArray[np.intp]:
    """Indices of points, each farthest from those before it, from the one nearest to the mean.

    Fewer than `count` where all other points equal one of those chosen.
    """
    squares = np.einsum("nc,nc->n", points, points)

    def distances(center: Float32Array) -> Float32Array:
        dots = _product(points, center[:, np.newaxis])[:, 0]
        found: Float32Array = squares - 2 * dots + np.vdot(center, center)
        return found

    chosen = [int(np.argmin(distances(points.mean(axis=0))))]
    apart = distances(points[chosen[0]])
    while len(chosen) < count:
        farthest = int(np.argmax(apart))
        if apart[farthest] < _EQUAL:
            break
        chosen.append(farthest)
        np.minimum(apart, distances(points[farthest]), out=apart)
    return np.array(chosen, np.intp)
