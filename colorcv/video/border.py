"""`SceneBorder`: letterbox and pillarbox bars, left out of the network's input."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .._typing import Float32Array, IgnoreBorder
from ..anchors import Prediction
from ..color import lab
from ..color.resample import resize
from ..image.border import NO_BORDER, Border, common_border, detect_border, is_flat
from ..image.validation import check_ignore_border

__all__ = ["SceneBorder"]

# A spotlight or a doorway may look like a border in one frame, rarely in two key frames.
DECIDING_FRAMES = 2
# A dissolve, which is not a cut, may lead from a letterboxed scene to a full one, so a lit border
# is not a border. Subtitles and logos in a bar cover less than this share of it.
MAX_LIT_FRACTION = 0.25
_LIT = 12.0  # L*, from the border's median


class SceneBorder:
    """The border of a scene, found in its first key frames and held until the next cut.

    Each deciding frame can only make the border narrower. Frames of one lightness (faded to black)
    decide nothing.

    Parameters
    ----------
    predict_ab : callable
        The network: ``(H, W)`` float32, L* in 0..100, to ``(h, w, 2)`` float32 ab.
    ignore_border : {"auto", True, False}
        As for `colorize`: the strict rule, the other rule, or no border at all.
    is_whole : callable
        Takes the number of a scene; True if its frames are shown whole, whatever their border.
    predict_features : callable, optional
        The network with its features, for the method of this name.

    Raises
    ------
    OptionError
        Unknown `ignore_border`.
    """

    def __init__(
        self,
        predict_ab: Callable[[Float32Array], Float32Array],
        ignore_border: IgnoreBorder,
        is_whole: Callable[[int], bool] = lambda scene: False,
        predict_features: Callable[[Float32Array], Prediction] | None = None,
    ) -> None:
        check_ignore_border(ignore_border)
        self._predict_ab = predict_ab
        self._predict_features = predict_features
        self._ignore_border = ignore_border
        self._is_whole = is_whole
        self._scene = -1
        self._border: Border | None = None

    def _start_scene(self, scene: int) -> None:
        self._scene = scene
        self._border = None
        self._level = 0.0
        is_whole = self._ignore_border is False or self._is_whole(scene)
        self._undecided = 0 if is_whole else DECIDING_FRAMES

    def predict_ab(self, lightness: Float32Array, scene: int) -> Float32Array:
        """Predict the colours of a frame from what is inside its scene's border.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
            Of the whole frame, at the size of the network's input.
        scene : int
            Number of its scene; another one than last time forgets the border.

        Returns
        -------
        (h, w, 2) float32
            ab of the whole frame. In the border, the colours at its edge go on, so that no grey
            flows into the inside where chroma is warped or upsampled; `blank` removes them.
        """
        stretched = self._stretched(lightness, scene)
        if stretched is None:
            return self._predict_ab(lightness)
        return self._whole(self._predict_ab(stretched), stretched)

    def predict_features(self, lightness: Float32Array, scene: int) -> Prediction:
        """Do as `predict_ab`, and return the network's features for the whole frame as well."""
        assert self._predict_features is not None
        stretched = self._stretched(lightness, scene)
        if stretched is None:
            return self._predict_features(lightness)
        inside = self._predict_features(stretched)
        cells = []
        for part, size, whole in zip(
            self._inside(lightness.shape), inside.features.shape, lightness.shape, strict=False
        ):  # of each cell of the whole frame, the nearest one of the inside
            middle = (np.arange(size) + 0.5) / size * whole
            found = (middle - part.start) / (part.stop - part.start) * size
            cells.append(np.clip(found, 0, size - 1).astype(np.intp))
        features = inside.features[cells[0][:, np.newaxis], cells[1]]
        return Prediction(self._whole(inside.ab, stretched), features)

    def _stretched(self, lightness: Float32Array, scene: int) -> Float32Array | None:
        """Return the inside of the scene's border at the size of the frame; None without one."""
        if scene != self._scene:
            self._start_scene(scene)
        self._update(lightness)
        if not self._border or self._border == NO_BORDER:
            return None
        inside = lightness[self._inside(lightness.shape)]
        return np.clip(resize(inside, (lightness.shape[0], lightness.shape[1])), 0, 100)

    def _whole(self, ab: Float32Array, stretched: Float32Array) -> Float32Array:
        """Return the ab of a whole frame from that of its inside."""
        height, width = stretched.shape
        rows, columns = self._inside(stretched.shape)
        inside_hw = rows.stop - rows.start, columns.stop - columns.start
        chroma = resize(lab.upsample_chroma(ab, stretched), inside_hw)
        around = (rows.start, height - rows.stop, columns.start, width - columns.stop)
        whole = cv2.copyMakeBorder(chroma, *around, cv2.BORDER_REPLICATE)
        return resize(np.asarray(whole, np.float32), (ab.shape[0], ab.shape[1]))

    def blank(self, chroma: Float32Array) -> None:
        """Set chroma, (H, W, 2) float32 of a whole frame of this scene, to 0 in the border."""
        if not self._border or self._border == NO_BORDER:
            return
        rows, columns = self._inside(chroma.shape[:2])
        chroma[: rows.start] = chroma[rows.stop :] = 0
        chroma[:, : columns.start] = chroma[:, columns.stop :] = 0

    def _update(self, lightness: Float32Array) -> None:
        if not self._undecided:
            if self._border and self._border != NO_BORDER and self._is_lit(lightness):
                self._border = NO_BORDER
            return
        if is_flat(lightness):
            return
        found = detect_border(lightness, strict=self._ignore_border == "auto")
        self._border = found if self._border is None else common_border([self._border, found])
        if self._border == NO_BORDER:
            self._undecided = 0
            return
        self._undecided -= 1
        self._level = float(np.median(self._outside(lightness)))

    def _is_lit(self, lightness: Float32Array) -> bool:
        lit = np.abs(self._outside(lightness) - self._level) > _LIT
        return float(lit.mean()) > MAX_LIT_FRACTION

    def _outside(self, lightness: Float32Array) -> Float32Array:
        rows, columns = self._inside(lightness.shape)
        is_outside = np.ones(lightness.shape, bool)
        is_outside[rows, columns] = False
        return lightness[is_outside]

    def _inside(self, shape_hw: tuple[int, ...]) -> tuple[slice, slice]:
        """Return the inside without its outermost cells, which may hold a part of the border."""
        height, width = shape_hw
        assert self._border is not None
        top, bottom = (
            round(side * height) + (side > 0) for side in (self._border.top, self._border.bottom)
        )
        left, right = (
            round(side * width) + (side > 0) for side in (self._border.left, self._border.right)
        )
        return slice(top, height - bottom), slice(left, width - right)
