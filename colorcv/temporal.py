"""`ChromaPropagator`: propagation of chroma between key frames, from cut to cut.

Works on arrays alone. Within a scene, every `keyframe_interval`-th frame and the last one are key
frames: the network predicts their chroma, which is held to the scene's colours (`colorcv.anchors`)
and smoothed with that of earlier key frames along the optical flow. A frame between two key frames
takes its chroma from both, weighted by distance in time and by how well the warped lightness
agrees. A frame that neither key frame explains becomes a key frame itself. Nothing crosses a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import cv2
import numpy as np

from ._typing import AnyArray, Float32Array
from .anchors import Prediction, SceneColors
from .cuts import FLOW_SIZE, SceneFeatures, is_cut, lies_between
from .errors import OptionError

__all__ = ["ChromaPropagator", "is_cut"]

T = TypeVar("T")

# The finest pyramid level of the flow is half of FLOW_SIZE. The preset's default (a quarter) is
# 0.3 ms per frame faster but loses 0.9 dB of chroma PSNR, measured on two colour clips.
FINEST_SCALE = 1
# The preset's 5 iterations take half of the flow's time (two thirds on two threads) and change the
# chroma PSNR by 0.2 dB, and neither how far colours wander nor their error (benchmarks/wander.py).
REFINEMENT_ITERATIONS = 0

CONFIDENCE_SCALE = 1.4  # L*: the mismatch that halves the weight of a warped pixel
MAX_MISMATCH = 8.0  # L*: above this in both key frames, a pixel is new
# Fraction of a frame that is new, above which it becomes a key frame: motion stays below 0.14,
# another scene reaches 0.9.
MAX_NEW_FRACTION = 0.25
# Upper limit of the weight of earlier key frames against a new one, in key frames: those within
# this many frames, but at least MEMORY_KEYS.
MEMORY_FRAMES = 16
MEMORY_KEYS = 4
# The limit, in key frames, and the scale of the confidence where colours are held. Film grain alone
# reaches CONFIDENCE_SCALE and would end the memory after two key frames, so the frame's median
# mismatch is subtracted: the colours of a place vary a fifth less (benchmarks/wander.py).
HELD_MEMORY_KEYS = 64
HELD_CONFIDENCE_SCALE = 3.0


@dataclass
class _Frame(Generic[T]):
    tag: T
    lightness: Float32Array
    features: SceneFeatures
    index: int  # frame number


@dataclass
class _Key(Generic[T]):
    frame: _Frame[T]
    ab: Float32Array  # (h, w, 2)
    weight: Float32Array  # (h, w): number of predictions averaged in ab


class ChromaPropagator:
    """Propagate chroma from key frames to all frames of a video.

    Parameters
    ----------
    predict_ab : callable
        The network: ``(H, W)`` float32, L* in 0..100, to ``(h, w, 2)`` float32 ab.
    keyframe_interval : int
        The network runs on every n-th frame of a scene, n >= 1. 1 has no delay; n looks ahead at
        most n frames.
    smooth : bool
        Smooth each key frame with the earlier key frames of its scene. If False and with
        ``keyframe_interval=1``, each frame gets exactly the network's prediction for it.
    predict_features : callable, optional
        The network with its last features, in place of `predict_ab`: the same argument to a
        `Prediction`. Then the colours of each scene are held. Without `smooth`, it is not called.

    Raises
    ------
    OptionError
        `keyframe_interval` is not an integer of 1 or more.

    Attributes
    ----------
    network_runs : int
        Number of predictions so far.
    cut_frames : list of int
        Numbers, from 0, of the frames that begin a new scene; without the first frame.
    scene : int
        Number, from 0, of the scene of the frame that `predict_ab` is called for.
    """

    def __init__(
        self,
        predict_ab: Callable[[Float32Array], Float32Array],
        *,
        keyframe_interval: int = 8,
        smooth: bool = True,
        predict_features: Callable[[Float32Array], Prediction] | None = None,
    ) -> None:
        if isinstance(keyframe_interval, bool) or not isinstance(keyframe_interval, int):
            raise OptionError(f"keyframe_interval is a whole number, not {keyframe_interval!r}")
        if keyframe_interval < 1:
            raise OptionError(f"keyframe_interval is 1 or more, not {keyframe_interval}")
        self._predict_ab = predict_ab
        self._interval = keyframe_interval
        self._smooth = smooth
        self._predict_features = predict_features if smooth else None
        self._colors = SceneColors()
        self._memory_limit = max(MEMORY_KEYS, MEMORY_FRAMES // keyframe_interval)
        if self._predict_features is not None:
            self._memory_limit = HELD_MEMORY_KEYS
        opencv: Any = cv2  # its type stubs lack this constructor
        self._flow = opencv.DISOpticalFlow_create(cv2.DISOpticalFlow_PRESET_FAST)
        self._flow.setFinestScale(FINEST_SCALE)
        self._flow.setVariationalRefinementIterations(REFINEMENT_ITERATIONS)
        self.network_runs = 0
        self.cut_frames: list[int] = []
        self.scene = 0

    def propagate(
        self, frames: Iterable[tuple[T, Float32Array]]
    ) -> Iterator[tuple[T, Float32Array, Float32Array]]:
        """Yield every frame with its chroma, in order.

        Parameters
        ----------
        frames : iterable of (tag, lightness)
            `lightness` is ``(H, W)`` float32, L* in 0..100, at the size `predict_ab` takes;
            `tag` is any object and is returned with its frame.

        Yields
        ------
        tag, lightness, ab
            `ab` is ``(h, w, 2)`` float32 at the network's output size.
        """
        key: _Key[T] | None = None
        pending: list[_Frame[T]] = []
        last: SceneFeatures | None = None
        self._colors = SceneColors()
        for index, (tag, lightness) in enumerate(frames):
            frame = _Frame(tag, lightness, SceneFeatures.from_lightness(lightness), index)
            if last is not None and lies_between(last, frame.features):
                self.cut_frames.append(index)
                yield from self._close_scene(key, pending)
                key, pending = None, []
                self.scene += 1
                self._colors = SceneColors()
            last = frame.features
            if key is None:
                key = self._predict_key(frame, None)
                yield tag, lightness, key.ab
            elif len(pending) + 1 == self._interval:
                ready, key = self._group(key, pending, frame)
                pending = []
                yield from ready
            else:
                pending.append(frame)
        yield from self._close_scene(key, pending)

    def _close_scene(
        self, key: _Key[T] | None, pending: list[_Frame[T]]
    ) -> Iterator[tuple[T, Float32Array, Float32Array]]:
        # The scene's last frame becomes a key frame, so that every frame lies between two.
        if key is not None and pending:
            yield from self._group(key, pending[:-1], pending[-1])[0]

    def _group(
        self, left: _Key[T], between: list[_Frame[T]], end: _Frame[T]
    ) -> tuple[list[tuple[T, Float32Array, Float32Array]], _Key[T]]:
        right = self._predict_key(end, left)
        ready = self._interpolate(left, between, right)
        return [*ready, (end.tag, end.lightness, right.ab)], right

    def _interpolate(
        self, left: _Key[T], between: list[_Frame[T]], right: _Key[T]
    ) -> list[tuple[T, Float32Array, Float32Array]]:
        """Return the frames between two key frames with chroma; add key frames where needed."""
        results, worst, worst_fraction = [], 0, 0.0
        for number, frame in enumerate(between):
            ab, new_fraction = self._blend_keys(frame, left, right)
            results.append((frame.tag, frame.lightness, ab))
            if new_fraction > worst_fraction:
                worst, worst_fraction = number, new_fraction
        if worst_fraction <= MAX_NEW_FRACTION:
            return results
        frame = between[worst]
        middle = self._predict_key(frame, left)
        return [
            *self._interpolate(left, between[:worst], middle),
            (frame.tag, frame.lightness, middle.ab),
            *self._interpolate(middle, between[worst + 1 :], right),
        ]

    def _predict_key(self, frame: _Frame[T], before: _Key[T] | None) -> _Key[T]:
        """Run the network on a frame and smooth its chroma with the previous key frame's."""
        self.network_runs += 1
        if self._predict_features is None:
            return self._smooth_key(frame, self._predict_ab(frame.lightness), before)
        held = self._colors.hold(self._predict_features(frame.lightness), frame.lightness)
        key = self._smooth_key(frame, held, before)
        self._colors.learn(key.ab)
        return key

    def _smooth_key(self, frame: _Frame[T], ab: Float32Array, before: _Key[T] | None) -> _Key[T]:
        fresh: Float32Array = np.ones(ab.shape[:2], np.float32)
        if before is None or not self._smooth:
            return _Key(frame, ab, fresh)
        warp_map, mismatch = self._warp_map(frame.features, before.frame.features, ab.shape[:2])
        confidence = _confidence(mismatch)
        if self._predict_features is not None:
            above = np.maximum(mismatch - np.median(mismatch), 0)
            confidence = _confidence(above, HELD_CONFIDENCE_SCALE)
        kept_weight = _warp(before.weight, warp_map) * confidence
        weight = kept_weight[..., None]
        smoothed = (ab + weight * _warp(before.ab, warp_map)) / (1 + weight)
        return _Key(frame, smoothed, np.minimum(fresh + kept_weight, self._memory_limit))

    def _blend_keys(
        self, frame: _Frame[T], left: _Key[T], right: _Key[T]
    ) -> tuple[Float32Array, float]:
        """Return a frame's chroma from its two key frames, and the fraction new to both."""
        span = right.frame.index - left.frame.index
        hw = left.ab.shape[:2]
        total: Any = 0.0
        weights: Any = 0.0
        nearest: Any = np.inf
        for key in (left, right):
            warp_map, mismatch = self._warp_map(frame.features, key.frame.features, hw)
            weight = (1 - abs(frame.index - key.frame.index) / span) * _confidence(mismatch)
            total = total + weight[..., None] * _warp(key.ab, warp_map)
            weights = weights + weight
            nearest = np.minimum(nearest, mismatch)
        ab: Float32Array = np.asarray(total / weights[..., None], np.float32)
        return ab, float(np.mean(nearest > MAX_MISMATCH**2))

    def _warp_map(
        self, features: SceneFeatures, key: SceneFeatures, hw: tuple[int, ...]
    ) -> tuple[Float32Array, Float32Array]:
        """Return where each pixel of a frame lies in a key frame, and the mismatch there.

        The first is a map for `cv2.remap`, ``(h, w, 2)`` in chroma pixels; the second the mean
        squared difference in L*, ``(h, w)``, after the median difference of the whole frame (a
        change of brightness) is subtracted.
        """
        flow = self._flow.calc(features.detail, key.detail, None)
        warped = _warp(key.detail, _grid(FLOW_SIZE, FLOW_SIZE) + flow)
        difference = cv2.subtract(warped, features.detail, dtype=cv2.CV_32F)
        difference = (difference - np.median(difference)) / 2.55
        height, width = hw
        size_wh = (width, height)
        mismatch = cv2.resize(
            cv2.blur(difference * difference, (5, 5)), size_wh, interpolation=cv2.INTER_AREA
        )
        warp_map = cv2.resize(flow, size_wh, interpolation=cv2.INTER_AREA)
        warp_map *= np.array([width / FLOW_SIZE, height / FLOW_SIZE], np.float32)
        return _grid(height, width) + warp_map, np.asarray(mismatch, np.float32)


def _grid(height: int, width: int) -> Float32Array:
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width)
    grid[..., 1] = np.arange(height)[:, None]
    return grid


def _warp(plane: AnyArray, warp_map: Float32Array) -> Any:
    """Sample a plane at the positions of a warp map."""
    # Linear interpolation blurs chroma a little more at every key frame (0.6 to 1.2 dB worse than
    # cubic), so chroma is interpolated cubically; weights linearly, so that they stay positive.
    interpolation = cv2.INTER_CUBIC if plane.ndim == 3 else cv2.INTER_LINEAR
    opencv: Any = cv2  # its type stubs do not allow None as the second map
    return opencv.remap(plane, warp_map, None, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _confidence(mismatch: Float32Array, scale: float = CONFIDENCE_SCALE) -> Float32Array:
    """Convert a squared mismatch in L* to a weight in 0..1; 1 for no mismatch."""
    confidence: Float32Array = scale**2 / (mismatch + scale**2)
    return confidence
