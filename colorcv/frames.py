"""`colorize_frames`, for live sources, and the protocol `FrameColorizer`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np

from ._typing import AnyArray, Float32Array
from .anchors import Prediction
from .color import lab
from .errors import ImageError
from .image.source import SourceImage
from .image.validation import check_saturation
from .temporal import ChromaPropagator

__all__ = [
    "FrameColorizer",
    "colorize_frames",
    "default_chroma",
    "has_features",
    "interval_for",
    "predict_chroma",
    "predict_held",
]

DEFAULT_INTERVAL = 8  # frames from one key frame to the next


class FrameColorizer(Protocol):
    """The part of `Colorizer` that frames and videos need.

    Two attributes are optional: `default_saturation`, a factor on its ab, else 1, and
    `default_keyframe_interval`, else 8. With a method `predict_features`, as that of `Colorizer`,
    the colours of a scene can be held.
    """

    @property
    def input_hw(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""

    def predict_ab(self, lightness: Float32Array) -> Float32Array:
        """Predict ab, (h, w, 2) float32, from L* in 0..100, (H, W) float32."""


def interval_for(colorizer: FrameColorizer, keyframe_interval: int | None) -> int:
    """Return the interval of key frames: the given one, else the colorizer's, else 8."""
    if keyframe_interval is not None:
        return keyframe_interval
    default: int = getattr(colorizer, "default_keyframe_interval", DEFAULT_INTERVAL)
    return default


def predict_chroma(colorizer: FrameColorizer, lightness: Float32Array) -> Float32Array:
    """Return the ab of ``saturation=1.0``; photos, videos and live frames all use it.

    Parameters
    ----------
    colorizer : FrameColorizer
        Usually a `Colorizer`.
    lightness : (H, W) float32, L* in 0..100

    Returns
    -------
    (h, w, 2) float32
        The network's ab times `default_saturation`.
    """
    return default_chroma(colorizer, colorizer.predict_ab(lightness))


def has_features(colorizer: FrameColorizer) -> bool:
    """Return True if a colorizer has the features that holding colours needs."""
    return hasattr(colorizer, "predict_features")


def predict_held(colorizer: Any, lightness: Float32Array) -> Prediction:
    """Return what `predict_chroma` does, and the network's features."""
    ab, features = colorizer.predict_features(lightness)
    return Prediction(default_chroma(colorizer, ab), features)


def default_chroma(colorizer: FrameColorizer, ab: Float32Array) -> Float32Array:
    """Return a colorizer's own ab, (h, w, 2), times its `default_saturation`."""
    factor = getattr(colorizer, "default_saturation", 1.0)
    return ab if factor == 1 else np.multiply(ab, np.float32(factor), dtype=np.float32)


def colorize_frames(
    colorizer: FrameColorizer,
    frames: Iterable[AnyArray],
    *,
    keyframe_interval: int | None = None,
    smooth: bool = True,
    hold_colors: bool = True,
    saturation: float = 1.0,
) -> Iterator[AnyArray]:
    """Colour frames as they arrive, for live sources; their borders too.

    Parameters
    ----------
    colorizer : FrameColorizer
        Usually a `Colorizer`.
    frames : iterable of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) arrays, BGR
        Any dtype that `colorcv.colorize` accepts. With `keyframe_interval` above 1 each frame is
        copied, so that a source may reuse its buffer.
    keyframe_interval : int, 1 or more, optional
        The network runs on every n-th frame and at every scene cut. 1 returns each frame before the
        next is read; n looks ahead at most n frames. Default the colorizer's own, else 8.
    smooth : bool
        Smooth the colours of key frames over time. If False and with ``keyframe_interval=1``,
        every frame is exactly what `colorize` returns for it with ``ignore_border=False``.
    hold_colors : bool
        Hold the colours of each scene: its earlier key frames are a reference for its later ones.
        Only with `smooth`, and a colorizer with features; see the notes of `colorize_video`.
    saturation : float, 0..10
        Factor on chroma; 1 is the colorizer's default.

    Yields
    ------
    (H, W, 3) or, with alpha, (H, W, 4) arrays, BGR, of the input's dtype
        As many as were read, in the same order.

    Raises
    ------
    ImageError
        A frame is not a usable image.
    OptionError
        An option is out of its range.
    """
    check_saturation(saturation)
    if isinstance(frames, (str, bytes, os.PathLike)):
        raise ImageError(
            f"expected an iterable of frames, got {type(frames).__name__} {os.fsdecode(frames)!r}; "
            "for a video file use colorcv.colorize_video"
        )
    keyframe_interval = interval_for(colorizer, keyframe_interval)
    propagator = ChromaPropagator(
        partial(predict_chroma, colorizer),
        keyframe_interval=keyframe_interval,
        smooth=smooth,
        predict_features=partial(predict_held, colorizer)
        if hold_colors and has_features(colorizer)
        else None,
    )
    return _colorize_frames(colorizer, frames, propagator, saturation, copy=keyframe_interval > 1)


def _colorize_frames(
    colorizer: FrameColorizer,
    frames: Iterable[AnyArray],
    propagator: ChromaPropagator,
    saturation: float,
    copy: bool,
) -> Iterator[AnyArray]:
    def with_lightness() -> Iterator[tuple[SourceImage, Float32Array]]:
        for frame in frames:
            image = SourceImage(frame.copy() if copy and isinstance(frame, np.ndarray) else frame)
            yield image, image.lightness_at(colorizer.input_hw)

    for image, lightness, ab in propagator.propagate(with_lightness()):
        yield image.colored(lab.upsample_chroma(ab, lightness), saturation=saturation)
