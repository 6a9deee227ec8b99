"""Plausible colours of a pixel and of the regions of an image, from the network's probabilities.

Works on arrays alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .._typing import Float32Array
from .regression import farthest_points

__all__ = ["Mode", "Region", "Suggestion", "combine", "find_modes", "find_regions", "shares_of"]

# ab units: standard deviation of the smoothing of probabilities, and the least distance between two
# suggestions.
_SPREAD, _DISTINCT = 12.0, 22.0
_REGION_ROUNDS = 12  # of k-means


@dataclass(frozen=True)
class Suggestion:
    """A plausible colour: ``"#rrggbb"`` at the place's lightness, and its probability in 0..1."""

    color: str
    probability: float


class Mode(NamedTuple):
    """A peak of the probabilities in ab."""

    ab: Float32Array  # (2,)
    probability: float


class Region(NamedTuple):
    """Cells of an image with similar features."""

    cells: npt.NDArray[np.intp]
    places: npt.NDArray[np.intp]  # a few representative cells


def shares_of(
    features: Float32Array, kernel: Float32Array, bias: Float32Array
) -> npt.NDArray[np.float64]:
    """Return the probabilities of the 313 colours.

    Parameters
    ----------
    features : (N, C) float32
    kernel : (313, C) float32
    bias : (313,) float32

    Returns
    -------
    (N, 313) float64
        Each row sums to 1.
    """
    logits = (features @ kernel.T + bias).astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def find_modes(shares: npt.NDArray[np.float64], centers: Float32Array, count: int) -> list[Mode]:
    """Merge the probabilities of similar colours to at most `count` colours, best first.

    Parameters
    ----------
    shares : (B,) float64
        Probabilities of B colours; their sum is 1.
    centers : (B, 2) float32
        Their ab.
    count : int
        Maximum number of modes.

    Returns
    -------
    list of Mode
        Most probable first. Each is the weighted mean of the colours nearest to its peak; its
        probability is their sum.
    """
    apart = ((centers[:, np.newaxis] - centers) ** 2).sum(axis=2)
    density = np.exp(-apart / (2 * _SPREAD**2)) @ shares
    peaks: list[int] = []
    for candidate in np.argsort(-density, kind="stable"):
        if all(apart[candidate, peak] >= _DISTINCT**2 for peak in peaks):
            peaks.append(int(candidate))
        if len(peaks) == count:
            break
    # Colours far from all peaks are not counted.
    owner = np.argmin(apart[:, peaks], axis=1)
    near = apart[np.arange(len(centers)), np.array(peaks)[owner]] < (2 * _SPREAD) ** 2
    modes = []
    for index in range(len(peaks)):
        weights = np.where((owner == index) & near, shares, 0)
        total = float(weights.sum())
        if total > 0:
            modes.append(Mode((weights @ centers / total).astype(np.float32), total))
    return sorted(modes, key=lambda mode: -mode.probability)


def find_regions(points: Float32Array, count: int, representatives: int = 5) -> list[Region]:
    """Divide an image's cells into at most `count` regions by k-means, largest first.

    Parameters
    ----------
    points : (N, D) float32
        Features of the cells. Farthest-point sampling chooses the initial means.
    count : int
    representatives : int
        Maximum number of `places` of a region, spread over the half nearest to its mean.
    """
    middles = points[farthest_points(points, count)]
    nearest = np.zeros(len(points), np.intp)
    for _ in range(_REGION_ROUNDS):
        nearest = np.argmin(((middles**2).sum(axis=1) - 2 * points @ middles.T), axis=1)
        for index in np.unique(nearest):
            middles[index] = points[nearest == index].mean(axis=0)
    regions = []
    for index in np.unique(nearest):
        cells = np.flatnonzero(nearest == index)
        order = np.argsort(((points[cells] - middles[index]) ** 2).sum(axis=1), kind="stable")
        core = cells[order[: max(1, len(cells) // 2)]]
        places = core[farthest_points(points[core], min(representatives, len(core)))]
        regions.append(Region(cells, places))
    return sorted(regions, key=lambda region: -len(region.cells))


def combine(
    options: Sequence[Sequence[Mode]], areas: Sequence[float], count: int
) -> list[tuple[int, ...]]:
    """Choose combinations of the regions' options that are probable and differ from one another.

    Parameters
    ----------
    options : sequence of sequences of Mode
        The options of each region; the first is its current colour.
    areas : sequence of float
        The regions' fractions of the image.
    count : int
        Maximum number of combinations.

    Returns
    -------
    list of tuples of int
        The index of each region's option. The first combination is all zeros.
    """
    combinations = list(product(*(range(len(modes)) for modes in options)))
    vectors = np.array(
        [
            np.concatenate(
                [
                    np.sqrt(area) * modes[choice].ab
                    for area, modes, choice in zip(areas, options, choices, strict=True)
                ]
            )
            for choices in combinations
        ]
    )
    logs = np.array(
        [
            sum(
                area * np.log(max(modes[choice].probability, 1e-9))
                for area, modes, choice in zip(areas, options, choices, strict=True)
            )
            for choices in combinations
        ]
    )
    chosen = [0]
    apart = ((vectors - vectors[0]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(combinations)):
        # A combination that is half as probable must differ twice as much to be chosen.
        best = int(np.argmax(np.sqrt(apart) * np.exp(logs)))
        if np.sqrt(apart[best]) < 1:
            break
        chosen.append(best)
        apart = np.minimum(apart, ((vectors - vectors[best]) ** 2).sum(axis=1))
    return [combinations[index] for index in chosen]
