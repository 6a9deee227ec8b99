"""`VideoSteering`: hints and references for the key frames of a video."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from .._typing import Float32Array
from ..anchors import Prediction
from ..errors import OptionError
from ..frames import default_chroma, predict_chroma
from ..image.validation import check_strength
from ..steering.editing import SteeredImage, prepare_reference
from ..steering.hints import Hints, observe
from ..steering.kernel import SCENE_KERNEL, Places
from ..steering.regression import Regression
from ..temporal import is_cut
from .transcode import VideoReader

__all__ = ["VideoSteering"]

TOLERANCE_S = 0.001  # times are typed with three decimals: 0.042 is the frame at 1/24 s


class VideoSteering:
    """Chroma of key frames, moved to a reference's colours, then to the hints of their scene.

    The hints of a frame apply to all frames of its scene, before and after it. Places are compared
    by features and lightness, not by position, so that colours follow moving objects.

    Parameters
    ----------
    colorizer : Colorizer
    hints : mapping of float to hints, optional
        Seconds from the start of the video, and what `Colorizer.colorize` takes as hints.
    reference
        As for `Colorizer.colorize`.
    strength : float, 0..1

    Raises
    ------
    OptionError
        The hints are not a mapping, a time or the strength is out of its range, or the colorizer
        has no features.
    ImageError
        A reference is not usable.
    """

    def __init__(
        self, colorizer: Any, hints: Mapping[float, Hints] | None, reference: Any, strength: float
    ) -> None:
        check_strength(strength)
        self._colorizer = colorizer
        self._hints = _checked(hints)
        self._strength = np.float32(strength)
        if (self._hints or reference is not None) and not hasattr(colorizer, "predict_features"):
            raise OptionError(
                f"hints and reference need a colorcv.Colorizer, got {type(colorizer).__name__}"
            )
        self._reference = prepare_reference(colorizer, reference, "bgr") if strength > 0 else None
        self._regressions: dict[int, Regression] = {}
        self._shares: dict[int, Regression] = {}  # of 1 at the hinted places

    @property
    def has_hints(self) -> bool:
        """True if hints were given."""
        return bool(self._hints)

    def is_hinted(self, scene: int) -> bool:
        """Return True if hints hold in the scene of this number; valid after `find_scenes`."""
        return scene in self._regressions

    def find_scenes(self, first_reader: VideoReader[Any]) -> None:
        """Read the video up to its last hinted frame, to know the scenes of the hints.

        Parameters
        ----------
        first_reader : VideoReader
            Left as it is: another one reads the same file.

        Raises
        ------
        OptionError
            A time is outside of the part that is coloured.
        ImageError
            A hint is outside of the frame, or strokes have another shape.
        """
        if not self._hints:
            return
        shape_hw = first_reader.upright_hw
        for hints in self._hints.values():  # before a long film is read
            observe(hints, shape_hw, self._colorizer.input_hw, "bgr")
        reader = first_reader.reopen()
        try:
            found = _frames_at(reader, sorted(self._hints))
        finally:
            reader.close()
        known: dict[int, list[tuple[Places, Float32Array]]] = {}
        for time_s, (scene, lightness) in found.items():
            known.setdefault(scene, []).append(
                self._observe(self._hints[time_s], lightness, shape_hw)
            )
        for scene, parts in known.items():
            places = Places.concatenate([part[0] for part in parts])
            residual = np.concatenate([part[1] for part in parts])
            if len(places):
                self._regressions[scene] = Regression(places, residual, SCENE_KERNEL)
                self._shares[scene] = Regression(places, np.ones_like(residual), SCENE_KERNEL)

    def _observe(
        self, hints: Hints, lightness: Float32Array, shape_hw: tuple[int, int]
    ) -> tuple[Places, Float32Array]:
        """Return the hinted places of a frame, and their ab less what would be there."""
        cells, ab = observe(hints, shape_hw, self._colorizer.input_hw, "bgr")
        seen = SteeredImage(self._colorizer, lightness)
        prior = seen.chroma(None, self._reference, float(self._strength)).reshape(-1, 2)
        return seen.places.take(cells), ab - prior[cells]

    def predict_chroma(self, lightness: Float32Array, scene: int) -> Float32Array:
        """Return the chroma of a key frame.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
        scene : int
            Number of its scene, from 0.

        Returns
        -------
        (h, w, 2) float32
            Exactly `colorcv.frames.predict_chroma` where nothing is known.
        """
        regression = self._regressions.get(scene)
        if regression is None and self._reference is None:
            return predict_chroma(self._colorizer, lightness)
        ab, features = self._colorizer.predict_features(lightness)
        return self._steered(ab, features, lightness, scene)

    def predict_held(self, lightness: Float32Array, scene: int) -> Prediction:
        """Return the chroma of a key frame, the features, and how far hints determine it."""
        ab, features = self._colorizer.predict_features(lightness)
        if scene not in self._regressions and self._reference is None:
            return Prediction(default_chroma(self._colorizer, ab), features)
        fixed = None
        if scene in self._shares:
            size_wh = features.shape[1::-1]
            small = cv2.resize(lightness, size_wh, interpolation=cv2.INTER_AREA)
            places = Places.from_image(features, np.asarray(small, np.float32))
            share = self._shares[scene].predict(places)[:, 0]
            fixed = np.clip(share, 0, 1).reshape(features.shape[:2])
        return Prediction(self._steered(ab, features, lightness, scene), features, fixed)

    def _steered(
        self, ab: Float32Array, features: Float32Array, lightness: Float32Array, scene: int
    ) -> Float32Array:
        regression = self._regressions.get(scene)
        places = Places.from_image(features, lightness)
        change = np.zeros((len(places), 2), np.float32)
        if self._reference is not None:
            change += self._strength * self._reference.predict(places)
        if regression is not None:
            change += regression.predict(places)
        small = cv2.resize(
            change.reshape(*lightness.shape, 2), ab.shape[1::-1], interpolation=cv2.INTER_AREA
        )
        return np.asarray(default_chroma(self._colorizer, ab) + small, np.float32)


class _AllFoundError(Exception):
    """Stops the reading of a video."""


def _frames_at(
    reader: VideoReader[Any], times_s: list[float]
) -> dict[float, tuple[int, Float32Array]]:
    """Return the scene and the lightness of the frames that are shown at these times."""
    found: dict[float, tuple[int, Float32Array]] = {}
    remaining = list(times_s)
    shown: Any = None
    scene = 0

    def take_until(time_s: float) -> None:
        while remaining and remaining[0] + TOLERANCE_S < time_s:
            if shown is None:
                raise OptionError(
                    f"hints at {remaining[0]:g} s are before the first frame that is coloured, at "
                    f"{time_s:g} s"
                )
            found[remaining.pop(0)] = scene, shown.lightness

    def on_frame(frame: Any) -> None:
        nonlocal shown, scene
        take_until(frame.time_s)  # a frame is shown until the next one
        if not remaining:
            raise _AllFoundError
        if shown is not None and is_cut(shown.lightness, frame.lightness):
            scene += 1
        shown = frame

    try:
        reader.read(on_frame, lambda packet: None)
    except _AllFoundError:
        return found
    end_s = shown.time_s + 1 / float(reader.rate)
    take_until(end_s)
    if remaining:
        raise OptionError(
            f"hints at {remaining[-1]:g} s are after the last frame that is coloured, at "
            f"{shown.time_s:g} s"
        )
    return found


def _checked(hints: Any) -> dict[float, Hints]:
    if hints is None:
        return {}
    if not isinstance(hints, Mapping):
        raise OptionError(
            "hints of a video are a mapping of seconds to hints, {12.5: [Hint(...)]}, got "
            f"{type(hints).__name__}"
        )
    for time_s in hints:
        is_number = isinstance(time_s, (int, float, np.integer, np.floating))
        if not is_number or isinstance(time_s, bool) or not 0 <= time_s < math.inf:
            raise OptionError(f"the time of hints must be 0 or more seconds, got {time_s!r}")
    return dict(hints)
