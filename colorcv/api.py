"""`colorize`, which reuses one `Colorizer` per model and device."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, overload

from ._typing import AnyArray, Device, IgnoreBorder, Memory, ModelName, Order, SteeringMethod
from .colorizer import Colorizer
from .errors import OptionError
from .image.inputs import ArrayInput
from .image.source import SourceImage
from .image.validation import check_ignore_border, check_saturation, check_strength
from .models import ModelFiles, OnnxModel
from .predictor import check_memory

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    from .steering.hints import Hints

__all__ = ["colorize", "default_colorizer"]

_Key = tuple[str | ModelFiles | OnnxModel, str, str]
_defaults: dict[_Key, Colorizer] = {}
_default_locks: defaultdict[_Key, threading.Lock] = defaultdict(threading.Lock)


def default_colorizer(
    model: str | ModelFiles | OnnxModel, device: Device, memory: Memory = "auto"
) -> Colorizer:
    """Return the cached `Colorizer` for these options; build it at the first call."""
    key = (model, device, check_memory(memory))
    with _default_locks[key]:
        if key not in _defaults:
            _defaults[key] = Colorizer(model, device=device, memory=memory)
        return _defaults[key]


@overload
def colorize(
    image: ArrayInput,
    *,
    model: ModelName | str | ModelFiles | OnnxModel = ...,
    device: Device = ...,
    memory: Memory = ...,
    order: Order = ...,
    saturation: float = ...,
    hints: Hints | None = ...,
    reference: Any = ...,
    reference_strength: float = ...,
    steering: SteeringMethod = ...,
    ignore_border: IgnoreBorder = ...,
) -> AnyArray: ...
@overload
def colorize(
    image: PillowImage,
    *,
    model: ModelName | str | ModelFiles | OnnxModel = ...,
    device: Device = ...,
    memory: Memory = ...,
    order: Order = ...,
    saturation: float = ...,
    hints: Hints | None = ...,
    reference: Any = ...,
    reference_strength: float = ...,
    steering: SteeringMethod = ...,
    ignore_border: IgnoreBorder = ...,
) -> PillowImage: ...


def colorize(
    image: Any,
    *,
    model: ModelName | str | ModelFiles | OnnxModel = "zhang2016",
    device: Device = "auto",
    memory: Memory = "auto",
    order: Order = "bgr",
    saturation: float = 1.0,
    hints: Hints | None = None,
    reference: Any = None,
    reference_strength: float = 1.0,
    steering: SteeringMethod = "auto",
    ignore_border: IgnoreBorder = "auto",
) -> Any:
    """Colour one image.

    The first call for a model, a device and a memory form builds a `Colorizer`; later calls reuse
    it.

    Parameters
    ----------
    image : array, path, bytes, binary file or PIL.Image.Image
        An array is ``(H, W)`` or ``(H, W, 1)`` grey, ``(H, W, 3)`` colour, or ``(H, W, 4)`` colour
        with alpha; uint8, uint16, floats in 0..1, or bool (black and white). Only the lightness of
        a colour image is used. A path, bytes or a file open in binary mode hold an encoded image,
        which is turned upright by its EXIF orientation. The input is never modified.
    model : str, ModelFiles or OnnxModel
        ``"zhang2016"`` (downloaded at first use), ``"lite"`` (bundled), or your own files.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda-fp16"``, ``"opencl"`` or ``"opencl-fp16"``.
    memory : str
        ``"auto"``, ``"fast"``, ``"balanced"`` or ``"low"``, see `Colorizer`.
    order : {"bgr", "rgb"}
        Order of the colour channels of an array, and of a result that is an array.
    saturation : float, 0..10
        Factor on chroma: 1 is the model's default (`Colorizer.default_saturation`), 0 returns the
        grey input.
    hints : sequence of Hint, (H, W, 4) array, or path, optional
        Known colours: points (`colorcv.Hint`), or a stroke layer of the image's size or aspect
        ratio (an array, or a PNG with transparency) that is opaque where colours are painted. Each
        colour applies at its own place and spreads to regions whose network features are similar.
    reference : image, list of images or Reference, optional
        Colour images; regions whose network features are similar take their colours.
    reference_strength : float, 0..1
        0 ignores the reference; 1 applies its full correction, which is smaller where the features
        are less similar.
    steering : {"auto", "model", "regression"}
        "model" gives the hints to the network, which must take them (siggraph17); "regression"
        spreads them over the network's features; "auto" is "model" where the network takes hints.
    ignore_border : {"auto", True, False}
        A white or black border (an album mat, the edge of a scan, letterbox bars) misleads the
        network. ``"auto"`` detects one on opposite sides, crops it from the network's input and
        keeps it grey. True also detects borders of any grey and on one side only. False colours
        the whole image, and so do `hints`.

    Returns
    -------
    (H, W, 3) or (H, W, 4) array of the input's dtype and range, or PIL.Image.Image
        Lightness is the input's, up to rounding; where a colour does not fit the sRGB gamut,
        chroma is reduced. Alpha is kept. A bool array gives uint8. A Pillow image gives a Pillow
        image of mode RGB or RGBA (8 bits, also for 16-bit grey), upright by its EXIF orientation.

    Raises
    ------
    ImageError
        The image is not usable (the message says what was given and what is accepted), a hint is
        outside the image, a stroke layer has another shape, or a reference has no colour.
    OptionError
        The model, device, memory form or order is unknown, `saturation` or `reference_strength` is
        outside its range, or `hints` or `ignore_border` has an invalid value.
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
    check_strength(reference_strength)
    check_ignore_border(ignore_border)
    # The image is read before a model is downloaded for it. Hints are placed on the whole image.
    border = False if hints is not None else ignore_border
    source = SourceImage(image, order=order, ignore_border=border)
    if not isinstance(model, (str, ModelFiles, OnnxModel)):
        raise OptionError(
            f"model must be a name, ModelFiles or OnnxModel, got {type(model).__name__}"
        )
    return default_colorizer(model, device, memory)._colorize(
        source, saturation, hints, reference, reference_strength, steering=steering
    )


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may hold a lock, which no thread of the child would release.
    os.register_at_fork(after_in_child=_default_locks.clear)
