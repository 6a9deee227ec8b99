"""`Colorizer`: one model on one device, for images and live frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ._logging import logger
from ._parallel import ordered_map
from ._typing import AnyArray, IgnoreBorder, Order, SteeringMethod
from .color import lab
from .errors import ImageError
from .frames import colorize_frames, predict_chroma
from .image.inputs import ArrayInput
from .image.source import SourceImage
from .image.validation import check_ignore_border, check_saturation, check_strength
from .predictor import Predictor
from .steering.methods import SteeringMethods

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    from .steering.hints import Hints

__all__ = ["Colorizer"]


class Colorizer(Predictor, SteeringMethods):
    """A model loaded on a device, for any number of images.

    Instances can be shared between threads (the network runs one at a time, all other work runs
    in parallel), pickled, and used in spawned or forked processes, where the network is built
    again. A forked child runs OpenCV on one thread, because a fork does not copy its thread pool.

    Parameters
    ----------
    model : str, ModelFiles or OnnxModel
        ``"zhang2016"`` (downloaded at first use), ``"lite"`` (bundled), or your own files.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda-fp16"``, ``"opencl"`` or ``"opencl-fp16"``.
        ``"auto"`` uses CUDA if this OpenCV has it and its first output agrees with the CPU's,
        else the CPU.
    temperature : float, optional
        T of the annealed mean, above 0; the default is the model's own (about 0.38). Near 0 the
        most likely colour wins; near 1 colours are averaged and become dull.
    memory : str
        How much memory the network takes on the CPU: ``"fast"``, ``"balanced"`` (about a tenth
        slower) or ``"low"`` (up to three times as slow). ``"auto"`` is ``"balanced"``, or
        ``"low"`` if that does not fit into the free memory or the container's limit. If memory
        runs out, a smaller form is used, with a warning in the log.
    low_memory : bool
        The same as ``memory="low"``.

    Attributes
    ----------
    model : str, ModelFiles or OnnxModel
        The `model` argument.
    device : str
        The device in use, never ``"auto"``.
    device_reason : str
        Why this device, and with ``memory="auto"`` this memory form, is in use.
    memory : str
        The memory form in use, never ``"auto"``.
    input_hw : tuple of int
        Rows and columns of the network's input.
    default_keyframe_interval : int
        Interval of key frames in videos: 8, or up to 16 for networks that take much longer than
        zhang2016.
    takes_hints : bool
        True if the network takes hints itself; see `steering` of `colorcv.colorize`.
    default_saturation : float
        Factor on the network's ab that ``saturation=1.0`` stands for; 1 for files of your own.

    Raises
    ------
    DownloadError, ChecksumError
        The model's files are missing and cannot be downloaded, or have the wrong hash.
    ModelFormatError
        The model's files do not hold this kind of network.
    DeviceError
        The requested device is not available.
    OptionError
        The model, device or memory form is unknown, the temperature is not a positive number, or
        `low_memory` contradicts `memory`.

    Notes
    -----
    The method is Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016: the network
    takes the lightness L* and returns, for each place, a distribution over 313 ab colours, whose
    annealed mean is the result.

    Examples
    --------
    >>> import numpy as np
    >>> colorizer = Colorizer("lite", device="cpu")
    >>> colorizer.colorize(np.full((40, 60), 128, np.uint8)).shape
    (40, 60, 3)
    """

    @overload
    def colorize(
        self,
        image: ArrayInput,
        *,
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
        self,
        image: PillowImage,
        *,
        order: Order = ...,
        saturation: float = ...,
        hints: Hints | None = ...,
        reference: Any = ...,
        reference_strength: float = ...,
        steering: SteeringMethod = ...,
        ignore_border: IgnoreBorder = ...,
    ) -> PillowImage: ...

    def colorize(
        self,
        image: Any,
        *,
        order: Order = "bgr",
        saturation: float = 1.0,
        hints: Hints | None = None,
        reference: Any = None,
        reference_strength: float = 1.0,
        steering: SteeringMethod = "auto",
        ignore_border: IgnoreBorder = "auto",
    ) -> Any:
        """Colour one image; `colorcv.colorize` documents input and output."""
        check_saturation(saturation)
        check_strength(reference_strength)
        check_ignore_border(ignore_border)
        border = False if hints is not None else ignore_border  # hints: whole image
        source = SourceImage(image, order=order, ignore_border=border)
        return self._colorize(
            source, saturation, hints, reference, reference_strength, steering=steering
        )

    def colorize_batch(
        self,
        images: Iterable[Any],
        *,
        order: Order = "bgr",
        saturation: float = 1.0,
        ignore_border: IgnoreBorder = "auto",
    ) -> Iterator[Any]:
        """Colour many images, reading the next while the network runs on the current one.

        Parameters
        ----------
        images : iterable
            Anything that `colorize` accepts, of any sizes. It is read as results are taken, at
            most three images ahead.
        order, saturation, ignore_border
            As for `colorize`.

        Yields
        ------
        array or PIL.Image.Image
            What `colorize` returns for each image, in the same order.

        Raises
        ------
        ImageError
            An image is not usable. It is raised when that image's result is due and ends the
            iteration. To continue after errors, call `colorize` on each image.
        OptionError
            An option is out of its range.
        """
        check_saturation(saturation)
        check_ignore_border(ignore_border)
        if isinstance(images, (str, bytes, os.PathLike, np.ndarray)):
            raise ImageError(
                f"colorize_batch expects an iterable of images, got one {type(images).__name__}; "
                "use colorize for one image"
            )

        def colorize_one(image: Any) -> Any:
            source = SourceImage(image, order=order, ignore_border=ignore_border)
            return self._colorize(source, saturation)

        return ordered_map(colorize_one, images, 2, name="colorcv-images")

    def _colorize(
        self,
        image: SourceImage,
        saturation: float,
        hints: Hints | None = None,
        reference: Any = None,
        reference_strength: float = 1.0,
        *,
        steering: SteeringMethod = "auto",
    ) -> Any:
        is_steered = hints is not None or reference is not None
        if is_steered or steering != "auto":
            from .steering import editing

            editing.is_by_model(self, steering)  # raises if the option is wrong
        if image.has_two_values():
            logger.warning(
                "%s: all pixels have one of two values (halftone or line art?); expect little "
                "colour",
                image.name,
            )
        if not is_steered:
            small = image.lightness_at(self.input_hw)
            chroma = lab.upsample_chroma(predict_chroma(self, small), small)
        else:
            chroma = editing.steered_chroma(
                self, image, hints, reference, reference_strength, steering=steering
            )
        return image.to_result(image.colored(chroma, saturation=saturation))

    def frames(
        self,
        frames: Iterable[AnyArray],
        *,
        keyframe_interval: int | None = None,
        smooth: bool = True,
        hold_colors: bool = True,
        saturation: float = 1.0,
    ) -> Iterator[AnyArray]:
        """Colour frames as they arrive, for a webcam, a window or a server.

        Borders are coloured like the rest; only `colorize_video` leaves them grey.

        Parameters
        ----------
        frames : iterable of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) arrays, BGR
            All of one size; dtypes and ranges as for `colorize`. For a video file use
            `colorize_video`.
        keyframe_interval : int, 1 or more, optional
            The network runs on every n-th frame and at every scene cut; the frames between take
            their colour along the optical flow. 1 has no delay; n looks ahead at most n frames.
            Default `default_keyframe_interval`.
        smooth : bool
            Smooth the colour of each key frame with earlier key frames along the optical flow.
        hold_colors : bool
            Hold the colours of each scene: its earlier key frames are a reference for its later
            ones. Only with `smooth`.
        saturation : float, 0..10
            Factor on chroma; 1 is the model's default, see `default_saturation`.

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
        return colorize_frames(
            self,
            frames,
            keyframe_interval=keyframe_interval,
            smooth=smooth,
            hold_colors=hold_colors,
            saturation=saturation,
        )
