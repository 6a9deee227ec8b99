"""Chroma through time: the network on key frames, the frames between along the optical flow.

Pure arrays. A scene begins at a cut; nothing crosses one. Inside a scene every
`keyframe_interval`-th frame, and the scene's last, is a key: the network colours it, and its
answer is steadied with what the keys before it said along the flow. A frame between two keys
takes its chroma from both, each weighted by how near it is in time and by how well its lightness,
carried along the flow, agrees. A frame that neither key explains becomes a key itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from .errors import OptionError

__all__ = ["ChromaPropagator", "is_cut"]

Float32 = npt.NDArray[np.float32]
T = TypeVar("T")

# Flow is searched at 112 x 112, down to its half: the size of the network's chroma. Against the
# wheels' preset (down to a quarter) that is 0.9 dB of chroma for 0.3 ms a frame, as tried
# on two colour clips with true chroma.
FLOW_SIZE = 112
FINEST_SCALE = 1

# A cut changes the picture a lot (mean difference in L*) and leaves nothing of its layout. A flash
# or a fade keeps the layout, a dissolve changes little from one frame to the next. The true cuts
# of the developers' clips lie at 26 to 29 and below 0.2, all other frames below 4 and above 0.9.
CUT_DIFFERENCE = 10.0
CUT_CORRELATION = 0.45

AGREEMENT = 1.4  # L*: a carried lightness this far off has half its weight
UNEXPLAINED = 8.0  # L*: farther off than this in both keys, and a place is new
NEW_SHARE = 0.25  # of a frame's places; real motion stays below 0.14, another scene lies at 0.9
STEADY_FRAMES = 16  # a place remembers at most this many frames' worth of keys, ...
STEADY_KEYS = 4  # ... and at least this many keys


@dataclass(frozen=True)
class View:
    """What is kept of a frame to find motion and cuts: two small pictures of its lightness."""

    detail: npt.NDArray[np.uint8]  # (112, 112), 0..255 for L* 0..100
    layout: Float32  # (32, 32), mean 0 and length 1, or all 0 where the frame is flat

    @classmethod
    def of(cls, lightness: Float32) -> View:
        """Reduce a lightness plane, (H, W) float32, L* in 0..100."""
        size = (FLOW_SIZE, FLOW_SIZE)
        detail = cv2.convertScaleAbs(
            cv2.resize(lightness, size, interpolation=cv2.INTER_AREA), alpha=2.55
        )
        layout = np.asarray(cv2.resize(lightness, (32, 32), interpolation=cv2.INTER_AREA))
        layout = layout - layout.mean()
        length = float(np.linalg.norm(layout))
        # Below half a step of L* a place there is no layout to compare, only noise.
        layout = layout / length if length > 32 * 0.5 else np.zeros_like(layout)
        return cls(np.asarray(detail, np.uint8), np.asarray(layout, np.float32))


def _is_cut(before: View, after: View) -> bool:
    if not before.layout.any() or not after.layout.any():
        return False
    difference = float(cv2.absdiff(before.detail, after.detail).mean()) / 2.55
    correlation = float(np.vdot(before.layout, after.layout))
    return difference > CUT_DIFFERENCE and correlation < CUT_CORRELATION


def is_cut(before: Float32, after: Float32) -> bool:
    """Say whether a new scene begins between two neighbouring frames.

    Parameters
    ----------
    before, after : (H, W) float32, L* in 0..100
        The lightness of the two frames, at any size.

    Returns
    -------
    bool
        True for a hard cut. A flash, a fade and a dissolve are none.
    """
    return _is_cut(View.of(before), View.of(after))


@dataclass
class _Frame(Generic[T]):
    tag: T
    lightness: Float32
    view: View
    at: int  # the frame's number


@dataclass
class _Key(Generic[T]):
    frame: _Frame[T]
    ab: Float32  # (h, w, 2)
    memory: Float32  # (h, w): for how many keys' worth of answers this ab stands


class ChromaPropagator:
    """Follow a film's frames and give each its chroma.

    Parameters
    ----------
    predict_ab : callable
        The network: ``(H, W)`` float32, L* in 0..100, to ``(h, w, 2)`` float32 ab.
    keyframe_interval : int
        Every how many frames the network runs inside a scene, 1 or more. 1 runs it on every
        frame and answers without delay; N holds back at most N frames.
    smooth : bool
        Steady each key with the keys before it in its scene. Without, and with
        ``keyframe_interval=1``, each frame gets exactly what the network says of it alone.

    Attributes
    ----------
    network_runs : int
        How often the network ran so far.
    cut_frames : list of int
        The frames, counted from 0, at which a new scene began (the first frame is none).
    """

    def __init__(
        self,
        predict_ab: Callable[[Float32], Float32],
        *,
        keyframe_interval: int = 8,
        smooth: bool = True,
    ) -> None:
        if isinstance(keyframe_interval, bool) or not isinstance(keyframe_interval, int):
            raise OptionError(f"keyframe_interval is a whole number, not {keyframe_interval!r}")
        if keyframe_interval < 1:
            raise OptionError(f"keyframe_interval is 1 or more, not {keyframe_interval}")
        self._predict_ab = predict_ab
        self._interval = keyframe_interval
        self._smooth = smooth
        self._memory_limit = max(STEADY_KEYS, STEADY_FRAMES // keyframe_interval)
        opencv: Any = cv2  # its stubs leave this constructor out
        self._flow = opencv.DISOpticalFlow_create(cv2.DISOpticalFlow_PRESET_FAST)
        self._flow.setFinestScale(FINEST_SCALE)
        self.network_runs = 0
        self.cut_frames: list[int] = []

    def propagate(
        self, frames: Iterable[tuple[T, Float32]]
    ) -> Iterator[tuple[T, Float32, Float32]]:
        """Yield every frame with its chroma, in order, none left out.

        Parameters
        ----------
        frames : iterable of (tag, lightness)
            `lightness` is ``(H, W)`` float32, L* in 0..100, at the size `predict_ab` takes;
            `tag` is handed back as it came.

        Yields
        ------
        tag, lightness, ab
            `ab` is ``(h, w, 2)`` float32 at the network's output size.
        """
        key: _Key[T] | None = None
        waiting: list[_Frame[T]] = []
        last: View | None = None
        for at, (tag, lightness) in enumerate(frames):
            frame = _Frame(tag, lightness, View.of(lightness), at)
            if last is not None and _is_cut(last, frame.view):
                self.cut_frames.append(at)
                yield from self._close_scene(key, waiting)
                key, waiting = None, []
            last = frame.view
            if key is None:
                key = self._ask(frame, None)
                yield tag, lightness, key.ab
            elif len(waiting) + 1 == self._interval:
                ready, key = self._group(key, waiting, frame)
                waiting = []
                yield from ready
            else:
                waiting.append(frame)
        yield from self._close_scene(key, waiting)

    def _close_scene(
        self, key: _Key[T] | None, waiting: list[_Frame[T]]
    ) -> Iterator[tuple[T, Float32, Float32]]:
        # The scene's last frame becomes a key, so that no frame has a key on one side only.
        if key is not None and waiting:
            yield from self._group(key, waiting[:-1], waiting[-1])[0]

    def _group(
        self, left: _Key[T], between: list[_Frame[T]], end: _Frame[T]
    ) -> tuple[list[tuple[T, Float32, Float32]], _Key[T]]:
        right = self._ask(end, left)
        ready = self._fill(left, between, right)
        return [*ready, (end.tag, end.lightness, right.ab)], right

    def _fill(
        self, left: _Key[T], between: list[_Frame[T]], right: _Key[T]
    ) -> list[tuple[T, Float32, Float32]]:
        """Colour the frames between two keys; where the keys fail, ask the network again."""
        answers, worst, worst_share = [], 0, 0.0
        for index, frame in enumerate(between):
            ab, new_share = self._from_both(frame, left, right)
            answers.append((frame.tag, frame.lightness, ab))
            if new_share > worst_share:
                worst, worst_share = index, new_share
        if worst_share <= NEW_SHARE:
            return answers
        frame = between[worst]
        middle = self._ask(frame, left)
        return [
            *self._fill(left, between[:worst], middle),
            (frame.tag, frame.lightness, middle.ab),
            *self._fill(middle, between[worst + 1 :], right),
        ]

    def _ask(self, frame: _Frame[T], before: _Key[T] | None) -> _Key[T]:
        """Run the network on a frame and steady its answer with the key before."""
        self.network_runs += 1
        ab = self._predict_ab(frame.lightness)
        fresh: Float32 = np.ones(ab.shape[:2], np.float32)
        if before is None or not self._smooth:
            return _Key(frame, ab, fresh)
        path, mismatch = self._path(frame.view, before.frame.view, ab.shape[:2])
        remembered = _carry(before.memory, path) * _agreement(mismatch)
        weight = remembered[..., None]
        steadied = (ab + weight * _carry(before.ab, path)) / (1 + weight)
        return _Key(frame, steadied, np.minimum(fresh + remembered, self._memory_limit))

    def _from_both(self, frame: _Frame[T], left: _Key[T], right: _Key[T]) -> tuple[Float32, float]:
        """Chroma of a frame from its two keys, and the share of it that is new to both."""
        span = right.frame.at - left.frame.at
        hw = left.ab.shape[:2]
        total: Any = 0.0
        weights: Any = 0.0
        nearest: Any = np.inf
        for key in (left, right):
            path, mismatch = self._path(frame.view, key.frame.view, hw)
            weight = (1 - abs(frame.at - key.frame.at) / span) * _agreement(mismatch)
            total = total + weight[..., None] * _carry(key.ab, path)
            weights = weights + weight
            nearest = np.minimum(nearest, mismatch)
        ab: Float32 = np.asarray(total / weights[..., None], np.float32)
        return ab, float(np.mean(nearest > UNEXPLAINED**2))

    def _path(self, view: View, key: View, hw: tuple[int, ...]) -> tuple[Float32, Float32]:
        """Where each place of a frame lies in a key, and how far its lightness is off there.

        Returns the map for `cv2.remap`, ``(h, w, 2)`` in chroma pixels, and the mean square
        difference in L*, ``(h, w)``; a change of light over the whole frame is not counted.
        """
        flow = self._flow.calc(view.detail, key.detail, None)
        carried = _carry(key.detail, _grid(FLOW_SIZE, FLOW_SIZE) + flow)
        off = cv2.subtract(carried, view.detail, dtype=cv2.CV_32F)
        off = (off - np.median(off)) / 2.55
        height, width = hw
        size_wh = (width, height)
        mismatch = cv2.resize(cv2.blur(off * off, (5, 5)), size_wh, interpolation=cv2.INTER_AREA)
        path = cv2.resize(flow, size_wh, interpolation=cv2.INTER_AREA)
        path *= np.array([width / FLOW_SIZE, height / FLOW_SIZE], np.float32)
        return _grid(height, width) + path, np.asarray(mismatch, np.float32)


def _grid(height: int, width: int) -> Float32:
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width)
    grid[..., 1] = np.arange(height)[:, None]
    return grid


def _carry(plane: npt.NDArray[Any], path: Float32) -> Any:
    """Fetch each place of a plane from where the path says it lies."""
    # Cubic for chroma: from key to key linear blurs it (0.6 to 1.2 dB). Weights stay positive.
    how = cv2.INTER_CUBIC if plane.ndim == 3 else cv2.INTER_LINEAR
    opencv: Any = cv2  # its stubs do not know that the second map may be None
    return opencv.remap(plane, path, None, how, borderMode=cv2.BORDER_REPLICATE)


def _agreement(mismatch: Float32) -> Float32:
    """Weight of a carried place: 1 where its lightness agrees, falling with the square of it."""
    agreement: Float32 = AGREEMENT**2 / (mismatch + AGREEMENT**2)
    return agreement
