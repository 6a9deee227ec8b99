"""Kernels of the regression: how much two places of an image resemble each other.

Works on arrays alone: the network's last features, lightness and position of each place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .._typing import Float32Array

__all__ = [
    "HINT_KERNEL",
    "REFERENCE_KERNEL",
    "SCENE_KERNEL",
    "Kernel",
    "Places",
    "Scale",
    "covariance",
    "linear_part",
    "product",
]

Float64Array = npt.NDArray[np.float64]

_CHANNELS = 32  # of features resized at a time: cv2.resize has a limit, 128 in OpenCV 5


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


def product(left: Any, right: Any) -> Any:
    """Return the product of two matrices, float32 or float64.

    NumPy's BLAS has a thread pool of its own, whose threads spin after each product and compete
    with OpenCV's: on a busy machine a render took 600 ms instead of 60. So OpenCV multiplies.
    """
    return cv2.gemm(np.ascontiguousarray(left), np.ascontiguousarray(right), 1, None, 0)  # type: ignore[call-overload]


def linear_part(places: Places, scale: Scale) -> tuple[Float32Array, Float32Array]:
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


def covariance(places: Places, kernel: Kernel) -> Float64Array:
    """Return the kernel between all pairs of places, (N, N) float64."""
    features = places.features.astype(np.float64)
    dots = np.asarray(product(features, features.T), np.float64)
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
