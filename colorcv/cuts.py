"""`is_cut`: find scene cuts between consecutive frames, from their lightness alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ._typing import Float32Array, UInt8Array

__all__ = ["FLOW_SIZE", "SceneFeatures", "is_cut", "lies_between"]

# Optical flow is computed at 112 x 112, twice the size of the network's chroma.
FLOW_SIZE = 112

# At a cut, the mean difference in L* is large and the correlation of the layouts is low. A flash or
# a fade keeps the layout; a dissolve changes little per frame. In the clips measured, true cuts
# have differences of 26 to 29 and correlations below 0.2, all other frames below 4 and above 0.9.
CUT_DIFFERENCE = 10.0
CUT_CORRELATION = 0.45


@dataclass(frozen=True)
class SceneFeatures:
    """Two small copies of a frame's lightness, for optical flow and for cut detection."""

    detail: UInt8Array  # (112, 112), 0..255 for L* 0..100
    layout: Float32Array  # (32, 32), mean 0 and length 1, or all 0 if the frame is flat

    @classmethod
    def from_lightness(cls, lightness: Float32Array) -> SceneFeatures:
        """Compute both from a lightness plane, (H, W) float32, L* in 0..100."""
        size = (FLOW_SIZE, FLOW_SIZE)
        detail = cv2.convertScaleAbs(
            cv2.resize(lightness, size, interpolation=cv2.INTER_AREA), alpha=2.55
        )
        layout = np.asarray(cv2.resize(lightness, (32, 32), interpolation=cv2.INTER_AREA))
        layout = layout - layout.mean()
        length = float(np.linalg.norm(layout))
        # Below a standard deviation of 0.5 L* there is only noise, and the layout counts as flat.
        layout = layout / length if length > 32 * 0.5 else np.zeros_like(layout)
        return cls(np.asarray(detail, np.uint8), np.asarray(layout, np.float32))


def lies_between(before: SceneFeatures, after: SceneFeatures) -> bool:
    """Return True if a cut lies between two consecutive frames."""
    if not before.layout.any() or not after.layout.any():
        return False
    difference = float(cv2.absdiff(before.detail, after.detail).mean()) / 2.55
    correlation = float(np.vdot(before.layout, after.layout))
    return difference > CUT_DIFFERENCE and correlation < CUT_CORRELATION


def is_cut(before: Float32Array, after: Float32Array) -> bool:
    """Return True if a scene cut lies between two consecutive frames.

    Parameters
    ----------
    before, after : (H, W) float32, L* in 0..100
        Lightness of the two frames, at any size.

    Returns
    -------
    bool
        True for a hard cut, False for a flash, a fade or a dissolve.
    """
    return lies_between(SceneFeatures.from_lightness(before), SceneFeatures.from_lightness(after))
