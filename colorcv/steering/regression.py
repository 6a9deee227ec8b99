"""`Regression`: spread colours that are known at some places of an image to similar places.

Gaussian-process regression of the residual (known ab minus the network's ab) over the network's
last features, lightness and position. Works on arrays alone. The network's ab is the prior mean, so
places that resemble no known one keep it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .._parallel import ordered_map
from .._typing import Float32Array
from .kernel import Kernel, Places, covariance, linear_part, product

__all__ = ["Regression", "farthest_points"]

# Maximum number of observations of a regression, and of the candidates they are chosen from.
MAX_POINTS, MAX_CANDIDATES = 300, 4096
# Places whose kernel is computed at a time: 5 MB with MAX_POINTS observations.
_CHUNK = 4096
_MAX_THREADS, _ONE_THREAD_POINTS = 8, 16
# For thinning: ab units that equal one length of the kernel, and the squared distance, in kernel
# lengths, below which points count as equal (float32 rounding gives equal points about 1e-6).
_THINNING_AB, _EQUAL = 20.0, 1e-4


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
        matrix = covariance(places, kernel)
        matrix[np.diag_indices_from(matrix)] += kernel.noise
        wide = residual.astype(np.float64)
        is_solved, solved = cv2.solve(matrix, wide, flags=cv2.DECOMP_CHOLESKY)
        if not is_solved:  # the noise is near float64's rounding
            solved = np.linalg.solve(matrix, wide)
        self._weights = np.asarray(solved, np.float32)

    def __len__(self) -> int:
        return len(self._places)

    def predict(self, places: Places) -> Float32Array:
        """Return the expected residual, (N, 2) float32, at N places."""
        found = np.zeros((len(places), 2), np.float32)
        if not self._weights.any():
            return found
        right = [linear_part(self._places, scale)[1] for scale in self._kernel.scales]
        known = np.ascontiguousarray(self._places.features.T)

        def predict_chunk(first: int) -> None:
            some = slice(first, first + _CHUNK)
            chunk = places.take(some)
            dots = product(chunk.features, known)
            for scale, columns in zip(self._kernel.scales, right, strict=True):
                likeness = product(linear_part(chunk, scale)[0], columns)
                likeness += dots * np.float32(scale.feature**-2)
                np.exp(likeness, out=likeness)
                found[some] += product(likeness, self._weights * np.float32(scale.weight))

        threads = min(cv2.getNumThreads(), _MAX_THREADS) if len(self) > _ONE_THREAD_POINTS else 1
        for _ in ordered_map(
            predict_chunk, range(0, len(places), _CHUNK), threads, name="colorcv-steering"
        ):
            pass
        return found


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
        nearest[some] = np.argmax(product(points[some], kept.T) - half, axis=1)
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
        dots = product(points, center[:, np.newaxis])[:, 0]
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
