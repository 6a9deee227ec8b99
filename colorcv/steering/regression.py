"""`Regression`: spread colours that are known at some places of an image to similar places.

Gaussian-process regression of the residual (known ab minus the network's ab) over the network's
last features, lightness and position. Works on arrays alone. The network's ab is the prior mean, so
places that resemble no known one keep it.
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

# Maximum number of observations of a regression, and of the candidates they are chosen from.
MAX_POINTS, MAX_CANDIDATES = 300, 4096
# Places whose kernel is computed at a time: 5 MB with MAX_POINTS observations.
_CHUNK = 4096
_MAX_THREADS, _ONE_THREAD_POINTS = 8, 16
_CHANNELS = 32  # of features resized at a time: cv2.resize has a limit, 128 in OpenCV 5
# For thinning: ab units that equal one length of the kernel, and the squared distance, in kernel
# lengths, below which points count as equal (float32 rounding gives equal points about 1e-6).
_THINNING_AB, _EQUAL = 20.0, 1e-4


class Scale(NamedTuple):
    """One Gaussian of a kernel: its weight and its standard deviations.

    `place` is in fractions of the image's sides (None ignores position), `lightness` in L*,
    `feature` in the distance of features of length 1.
    """

    weight: float
    place: float | None
    lightness: float
    feature: float


@dataclass(frozen=True)
class Kernel:
    """A sum of Gaussians, the covariance of two places, and the variance `noise` of observations.

    Weights and noise are relative to the variance of the residual.
    """

    scales: tuple[Scale, ...]
    noise: float


# Chosen on 60 photos of the training set, one or more colours of each revealed at random places.
# Against the wide Gaussian alone (1.2, 60, 1.0), the narrow one gains 0.15 dB at 1 to 10 hints and
# 0.35 dB at 50, and halves the distance between a hint and the result at its place.
HINT_KERNEL = Kernel((Scale(0.8, 1.2, 60.0, 0.8), Scale(0.2, 0.2, 20.0, 0.4)), noise=0.02)
# Other frames of a scene have their objects at other positions, but in nearly the same look.
# REFERENCE_KERNEL gives 0.2 dB more on three scenes of a film with 3 to 10 random colours, but its
# noise leaves a hinted place up to 9 % short of the hint's colour; this one leaves it 2 % short.
SCENE_KERNEL = Kernel((Scale(0.8, None, 60.0, 0.8), Scale(0.2, None, 20.0, 0.4)), noise=0.02)
# Another image has its objects at other positions and in less certain colours, so position is
# ignored and the noise is higher. Chosen on 40 photos of the training set, one half as the
# reference of the other: 23.7 dB without, 27.1 dB with it.
REFERENCE_KERNEL = Kernel((Scale(0.7, None, 60.0, 0.7), Scale(0.3, None, 20.0, 0.35)), noise=0.1)


@dataclass(frozen=True)
class Places:
    """Features, lightness and position of N places, which a kernel compares.

    Attributes
    ----------
    features : (N, C) float32
        The network's last features, of length 1.
    lightness : (N,) float32
        L* in 0..100.
    position : (N, 2) float32
        Row and column of the place's centre, as fractions of the image's sides.
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

    `predict` takes places of any image and may be called from several threads.

    Parameters
    ----------
    places : Places
        The places of the observations, in any order. Contradicting residuals of one place are
        averaged.
    residual : (N, 2) float32
        Known ab minus the prior's ab. If all are zero, `predict` returns exactly zero.
    kernel : Kernel
    max_points : int
        Maximum number of observations. Of more, a subset is chosen by farthest-point sampling, in
        the kernel's lengths and in ab; each gets the mean residual of the places nearest to it.

    Raises
    ------
    ValueError
        The kernel's noise is not above 0, or `residual` has another shape.

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
        # Sorted, so that sums are rounded alike in whatever order observations are given.
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
        if not is_solved:  # the noise is near float64's rounding
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

    NumPy's BLAS has a thread pool of its own, whose threads spin after each product and compete
    with OpenCV's: on a busy machine a render took 600 ms instead of 60. So OpenCV multiplies.
    """
    return cv2.gemm(np.ascontiguousarray(left), np.ascontiguousarray(right), 1, None, 0)  # type: ignore[call-overload]


def _linear_part(places: Places, scale: Scale) -> tuple[Float32Array, Float32Array]:
    """Return two factors of the Gaussian's exponent, without the dot product of the features.

    ``-|p - q|^2 / 2`` is ``p q - |p|^2 / 2 - |q|^2 / 2``. The exponent is the matrix product of the
    left factor of some places, (N, 5) or, without position, (N, 3), and the right factor of others,
    (5, N) or (3, N).
    """
    # Relative to the middle of the range, to keep the squares and so float32's rounding small.
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
    """Return the kernel between all pairs of places, (N, N) float64."""
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
    """Choose `count` places by farthest-point sampling; average the residuals around each."""
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
    """Return the indices of a farthest-point sampling, from the point nearest to the mean on.

    Parameters
    ----------
    points : (N, D) float32
    count : int

    Returns
    -------
    (M,) intp
        M is `count`, or less if all other points equal one of those chosen.
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
