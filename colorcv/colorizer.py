"""Colorizer: one model on one device, behind one lock; and `colorize`, which keeps one for you."""

from __future__ import annotations

import os
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from . import network
from .color import lab
from .errors import ImageError, OptionError
from .frames import colorize_frames
from .image.source import SourceImage, check_saturation
from .models import ModelFiles, resolve

__all__ = ["Colorizer", "colorize"]


class Colorizer:
    """One model on one device, built once and used for any number of pictures.

    It may be shared between threads (the network answers one at a time, the rest of the work runs
    side by side), pickled, and used in spawned or forked processes, where the network is built
    again. In a forked child OpenCV then runs on one thread: the threads of its pool are not there.

    Parameters
    ----------
    model : str or ModelFiles
        ``"zhang2016"`` (downloaded at first use), ``"lite"`` (comes with the package), or one's
        own files.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda-fp16"``, ``"opencl"`` or ``"opencl-fp16"``.
        ``"auto"`` takes CUDA where this OpenCV has it and its first answer agrees with the CPU's,
        else the CPU.
    temperature : float, optional
        T of the annealed mean, above 0, in place of the model's own (about 0.38). Towards 0 the
        most likely colour wins; towards 1 colours are averaged and grow dull.
    low_memory : bool
        Build the network for the smallest peak of memory, at the cost of time.

    Attributes
    ----------
    model : str or ModelFiles
        What was asked for.
    device : str
        The device in use, never ``"auto"``.
    device_reason : str
        Why that device.
    input_hw : tuple of int
        Rows and columns of the network's own input.

    Raises
    ------
    DownloadError, ChecksumError
        The model's files are not here and cannot be fetched, or are not the right ones.
    ModelFormatError
        The model's files do not hold this kind of network.
    DeviceError
        The device asked for is not there.
    OptionError
        Unknown model or device name, or a temperature that is not a number above 0.

    Notes
    -----
    The method is Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016: the network
    sees the lightness L* and gives, for each place, a distribution over 313 colours ab; their
    annealed mean is the answer.

    Examples
    --------
    >>> import numpy as np
    >>> colorizer = Colorizer("lite", device="cpu")
    >>> colorizer.colorize(np.full((40, 60), 128, np.uint8)).shape
    (40, 60, 3)
    """

    def __init__(
        self,
        model: str | ModelFiles = "zhang2016",
        *,
        device: str = "auto",
        temperature: float | None = None,
        low_memory: bool = False,
    ) -> None:
        self._options: dict[str, Any] = {
            "model": model,
            "device": device,
            "temperature": temperature,
            "low_memory": low_memory,
        }
        self._files = resolve(model)
        self._lock = threading.Lock()
        self._own = self._build(None)
        self._other: network.Network | None = None
        self._forked = False
        _alive.add(self)

    def _build(self, input_hw: tuple[int, int] | None) -> network.Network:
        return network.load(
            self._files.prototxt,
            self._files.caffemodel,
            self._files.centers,
            device=self._options["device"],
            input_hw=input_hw,
            temperature=self._options["temperature"],
            low_memory=self._options["low_memory"],
        )

    @property
    def model(self) -> str | ModelFiles:
        """The model's name, or the files that were given."""
        model: str | ModelFiles = self._options["model"]
        return model

    @property
    def device(self) -> str:
        """The device in use: ``"cpu"``, ``"cuda"``, ..., never ``"auto"``."""
        return self._own.device

    @property
    def device_reason(self) -> str:
        """Why this device is in use, in a sentence."""
        return self._own.device_reason

    @property
    def input_hw(self) -> tuple[int, int]:
        """Rows and columns of the network's own input."""
        return self._own.input_hw

    def __repr__(self) -> str:
        return f"<Colorizer {self.model} on {self.device}>"

    def __getstate__(self) -> dict[str, Any]:
        return self._options

    def __setstate__(self, options: dict[str, Any]) -> None:
        Colorizer.__init__(self, **options)

    def predict_ab(self, lightness: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Ask the network, with no resizing before or after.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
            `input_hw` is the size that the model was made for. Another size that the network's
            arithmetic allows gets a network of its own, which is kept until yet another is asked.

        Returns
        -------
        (h, w, 2) float32, a and b in about -110..110
            At the network's output size: (224, 224) in gives (56, 56, 2) for zhang2016.

        Raises
        ------
        ImageError
            Not a two-dimensional array of finite numbers in 0..100.
        OptionError
            A size that this network cannot take.
        """
        lightness = np.asarray(lightness)
        if lightness.ndim != 2 or lightness.size == 0:
            raise ImageError(
                "predict_ab takes lightness as an (H, W) array of L* in 0..100; this one has the "
                f"shape {lightness.shape}"
            )
        with self._lock:
            return self._network_for(lightness.shape).predict_ab(lightness)

    def _network_for(self, input_hw: tuple[int, ...]) -> network.Network:
        if self._forked:
            self._own, self._other = self._build(None), None
            self._forked = False
        if self._own.input_hw == input_hw:
            return self._own
        if self._other is None or self._other.input_hw != input_hw:
            self._other = None  # its memory goes before the next one comes
            self._other = self._build((input_hw[0], input_hw[1]))
        return self._other

    def colorize(
        self,
        image: npt.ArrayLike | str | os.PathLike[str],
        *,
        order: str = "bgr",
        saturation: float = 1.0,
    ) -> npt.NDArray[Any]:
        """Colour one picture; see `colorcv.colorize` for what goes in and what comes out."""
        check_saturation(saturation)
        return self._colorize_picture(SourceImage(image, order=order), saturation)

    def _colorize_picture(self, picture: SourceImage, saturation: float) -> npt.NDArray[Any]:
        small = picture.lightness_at(self.input_hw)
        chroma = lab.upsample_chroma(self.predict_ab(small), small)
        return picture.colored(chroma, saturation=saturation)

    def frames(
        self,
        frames: Iterable[npt.NDArray[Any]],
        *,
        keyframe_interval: int = 8,
        smooth: bool = True,
        saturation: float = 1.0,
    ) -> Iterator[npt.NDArray[Any]]:
        """Colour frames as they come, steadily: for a webcam, a window, a server.

        Parameters
        ----------
        frames : iterable of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) arrays, BGR
            Of the dtypes and ranges that `colorize` takes; all of one size.
        keyframe_interval : int, 1 or more
            The network runs on every such frame and at every scene cut; the frames between take
            their colour along the motion. 1 has no delay, more looks ahead by about a group.
        smooth : bool
            Smooth the colour of key frames with their neighbours' along the motion.
        saturation : float, 0..10
            Factor on chroma; 1 is the network's own.

        Yields
        ------
        (H, W, 3) or, where alpha came, (H, W, 4) arrays of the dtype that came, BGR
            As many as came in, in the same order.

        Raises
        ------
        ImageError
            A frame is no usable picture.
        OptionError
            An option is out of its range.
        """
        return colorize_frames(
            self,
            frames,
            keyframe_interval=keyframe_interval,
            smooth=smooth,
            saturation=saturation,
        )


_alive: weakref.WeakSet[Colorizer] = weakref.WeakSet()
_defaults: dict[tuple[str | ModelFiles, str], Colorizer] = {}
_default_locks: defaultdict[tuple[str | ModelFiles, str], threading.Lock] = defaultdict(
    threading.Lock
)


def _default_colorizer(model: str | ModelFiles, device: str) -> Colorizer:
    key = (model, device)
    with _default_locks[key]:
        if key not in _defaults:
            _defaults[key] = Colorizer(model, device=device)
        return _defaults[key]


def colorize(
    image: npt.ArrayLike | str | os.PathLike[str],
    *,
    model: str | ModelFiles = "zhang2016",
    device: str = "auto",
    order: str = "bgr",
    saturation: float = 1.0,
) -> npt.NDArray[Any]:
    """Colour one picture.

    The first call for a model and a device builds a `Colorizer`, which later calls use again.

    Parameters
    ----------
    image : array or path
        ``(H, W)``, ``(H, W, 1)`` grey, ``(H, W, 3)`` colour, of which the lightness is taken, or
        ``(H, W, 4)`` colour with alpha; uint8, uint16, or floats in 0..1. Or the path of a picture
        file, which is read upright. It is never written to.
    model : str or ModelFiles
        ``"zhang2016"`` (downloaded at first use), ``"lite"`` (comes with the package), or one's
        own files.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda-fp16"``, ``"opencl"`` or ``"opencl-fp16"``.
    order : {"bgr", "rgb"}
        Order of the colour channels, of the input and of the result.
    saturation : float, 0..10
        Factor on chroma: 1 is the network's own, 0 gives the grey of the input back.

    Returns
    -------
    (H, W, 3) or (H, W, 4) array of the input's dtype and range
        Lightness is the input's, at most rounding away; where a colour does not fit the gamut of
        sRGB, chroma gives way. Alpha is kept as it is.

    Raises
    ------
    ImageError
        No usable picture: what came and what is taken is said.
    OptionError
        Unknown model, device or order, or a saturation that is no number in 0..10.
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
    picture = SourceImage(image, order=order)  # before a model is fetched for it
    if not isinstance(model, (str, ModelFiles)):
        raise OptionError(f"model is a name or a ModelFiles, not {type(model).__name__}")
    return _default_colorizer(model, device)._colorize_picture(picture, saturation)


def _after_fork() -> None:
    """In a forked child no lock of the parent's may be waited for, and no network of its used."""
    if not _alive:
        return
    # The child has none of the threads of OpenCV's pool, but may have its locks as some thread
    # held them: 1 of 150 children hung. Without threads the pool is never entered.
    cv2.setNumThreads(0)
    _default_locks.clear()
    for colorizer in list(_alive):
        colorizer._lock = threading.Lock()
        colorizer._forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
