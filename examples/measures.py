"""Measures of a coloured photo against its original, for evaluate.py and the training.

All photos are (H, W, 3) uint8, BGR. Lab is CIE L*a*b*, D65.

    error          mean distance of a and b over all pixels, as a share of grey's: 1 is as far from
                   the original as the photo left grey
    nearer         1 where that is below 1
    colorful       colourfulness (Hasler and Suesstrunk 2003): 0 grey, 15 slightly, 45 averagely,
                   82 highly, 109 extremely
    colorful_true  the same for the original
    psnr           peak signal to noise ratio of sRGB, dB
    patchiness     mean |gradient of ab| where the original's is below its own median: patches are
                   gradients where the original has none; of ab reduced to 48 x 48, per cell
"""

from __future__ import annotations

import math

import cv2
import numpy as np

CELLS = 48
GREY = 1.0  # mean chroma below which an original counts as grey: it has no error relative to grey


def colorfulness(bgr) -> float:
    """Return Hasler and Suesstrunk's measure (Measuring colourfulness in natural images, 2003)."""
    blue, green, red = (bgr[..., i].astype(np.float64) for i in range(3))
    opponents = red - green, (red + green) / 2 - blue
    spread = math.hypot(*(channel.std() for channel in opponents))
    offset = math.hypot(*(channel.mean() for channel in opponents))
    return spread + 0.3 * offset


def lab_of(bgr):
    """Return (H, W, 3) float32 L*, a, b of uint8 BGR."""
    return cv2.cvtColor(bgr.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)


def psnr(original, colored) -> float:
    """Return the peak signal to noise ratio in dB; infinite for equal images."""
    error = np.mean((original.astype(np.float64) - colored) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


def patchiness(true_ab, ab) -> float:
    """Return the mean |gradient of ab| where the truth is smooth, in ab per cell of 48x48."""
    true_steps, steps = (
        _steps(cv2.resize(plane, (CELLS, CELLS), interpolation=cv2.INTER_AREA))
        for plane in (true_ab, ab)
    )
    return float(steps[true_steps <= np.median(true_steps)].mean())


def _steps(ab):
    """Return (47, 47): the mean absolute difference of a and b to the right and below."""
    right, down = np.abs(np.diff(ab, axis=1))[:-1], np.abs(np.diff(ab, axis=0))[:, :-1]
    return (right + down).mean(axis=2) / 2


def measure(original, colored) -> dict[str, float]:
    """Measure one coloured photo; `error` and `nearer` of a grey original are nan."""
    true_ab, ab = (np.ascontiguousarray(lab_of(bgr)[..., 1:]) for bgr in (original, colored))
    chroma = float(np.linalg.norm(true_ab, axis=2).mean())
    error = math.nan
    if chroma >= GREY:
        error = float(np.linalg.norm(ab - true_ab, axis=2).mean()) / chroma
    return {
        "error": error,
        "nearer": math.nan if math.isnan(error) else float(error < 1),
        "colorful": colorfulness(colored),
        "colorful_true": colorfulness(original),
        "psnr": psnr(original, colored),
        "patchiness": patchiness(true_ab, ab),
    }


def summarize(lines: list[dict[str, float]]) -> dict[str, float]:
    """Return the median error, the share nearer than grey, colourfulness over the originals'.

    PSNR and patchiness are means over all photos; grey originals do not count for the other three,
    which are nan if no photo is left.
    """
    colored = [line for line in lines if not math.isnan(line["error"])]
    true = sum(line["colorful_true"] for line in colored)
    return {
        "error": float(np.median([line["error"] for line in colored])) if colored else math.nan,
        "nearer": sum(line["nearer"] for line in colored) / len(colored) if colored else math.nan,
        "colorfulness": sum(line["colorful"] for line in colored) / true if true else math.nan,
        "psnr": float(np.mean([line["psnr"] for line in lines])),
        "patchiness": float(np.mean([line["patchiness"] for line in lines])),
    }


def as_text(summary: dict[str, float]) -> str:
    """Format the five figures on one line."""
    return (
        "error {error:.3f} of grey's, nearer on {nearer:.0%}, colourfulness {colorfulness:.2f}, "
        "PSNR {psnr:.2f} dB, patchiness {patchiness:.3f}".format(**summary)
    )
