"""`colorize`, with one cached `Colorizer` for each model and device."""

from __future__ import annotations

import os
import threading
from collections import defaultdict

import numpy.typing as npt

from ._typing import AnyArray, StrPath
from .colorizer import Colorizer
from .errors import OptionError
from .image.source import SourceImage, check_saturation
from .models import ModelFiles

__all__ = ["colorize", "default_colorizer"]

_defaults: dict[tuple[str | ModelFiles, str], Colorizer] = {}
_default_locks: defaultdict[tuple[str | ModelFiles, str], threading.Lock] = defaultdict(
    threading.Lock
)


def default_colorizer(model: str | ModelFiles, device: str) -> Colorizer:
    """Return the cached `Colorizer` for a model and a device; build it at the first call."""
    key = (model, device)
    with _default_locks[key]:
        if key not in _defaults:
            _defaults[key] = Colorizer(model, device=device)
        return _defaults[key]


def colorize(
    image: npt.ArrayLike | StrPath,
    *,
    model: str | ModelFiles = "zhang2016",
    device: str = "auto",
    order: str = "bgr",
    saturation: float = 1.0,
) -> AnyArray:
    """Colour one image.

    The first call for a model and a device builds a `Colorizer`; later calls reuse it.

    Parameters
    ----------
    image : array or path
        ``(H, W)`` or ``(H, W, 1)`` grey, ``(H, W, 3)`` colour, of which the lightness is used, or
        ``(H, W, 4)`` colour with alpha; uint8, uint16, or floats in 0..1. Or the path of an image
        file, which is read upright. The input is never modified.
    model : str or ModelFiles
        ``"zhang2016"`` (downloaded at first use), ``"lite"`` (bundled), or your own files.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda-fp16"``, ``"opencl"`` or ``"opencl-fp16"``.
    order : {"bgr", "rgb"}
        Order of the colour channels, of the input and of the result.
    saturation : float, 0..10
        Factor on chroma: 1 is the model's default (`Colorizer.default_saturation`), 0 returns the
        grey input.

    Returns
    -------
    (H, W, 3) or (H, W, 4) array of the input's dtype and range
        Lightness is the input's, up to rounding; where a colour does not fit the sRGB gamut,
        chroma is reduced. Alpha is kept.

    Raises
    ------
    ImageError
        Not a usable image; the message says what was given and what is accepted.
    OptionError
        Unknown model, device or order, or a saturation outside 0..10.
    DownloadError, ChecksumError, ModelFormatError, DeviceError
        See `Colorizer`.

    Examples
    --------
    >>> import numpy as np
    >>> grey = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))
    >>> colored = colorize(grey, model="lite", device="cpu")
    >>> colored.shape, colored.dtype
    ((48, 64, 3), dtype('uint8'))
    """
    check_saturation(saturation)
    source = SourceImage(image, order=order)  # checked before a model is downloaded for it
    if not isinstance(model, (str, ModelFiles)):
        raise OptionError(f"model is a name or a ModelFiles, not {type(model).__name__}")
    return default_colorizer(model, device)._colorize(source, saturation)


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may hold a lock that nobody in the child would release.
    os.register_at_fork(after_in_child=_default_locks.clear)
