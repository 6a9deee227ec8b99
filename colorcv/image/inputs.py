"""`load_image`: convert paths, encoded bytes, open files and Pillow images to arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeAlias, Union

import cv2
import numpy as np
import numpy.typing as npt

from .._typing import AnyArray, StrPath
from ..errors import ImageError, OptionError
from . import pillow
from .io import ImageFile, decode_image, read_image
from .profiles import to_srgb
from .validation import validate_image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["ArrayInput", "ImageInput", "load_image"]

# All inputs whose result is an array; the result of a Pillow image is a Pillow image.
ArrayInput: TypeAlias = Union[npt.ArrayLike, StrPath, "IO[bytes]", ImageFile]

# Entries of a Pillow image's `info` that are passed on to the result.
_KEPT_INFO = ("dpi", "exif")


@dataclass(frozen=True)
class ImageInput:
    """A validated image and how its result is returned.

    Attributes
    ----------
    pixels : (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array
        uint8, uint16, or floats in 0..1; colour channels in the requested order.
    name : str
        Name in logs: the path or the kind of the input.
    to_result : callable
        Converts the coloured array, in the same order, to the type of the input.
    """

    pixels: AnyArray
    name: str
    to_result: Callable[[AnyArray], Any]


def load_image(image: Any, order: str) -> ImageInput:
    """Read or convert any accepted input.

    Parameters
    ----------
    image : array, path, bytes, binary file, ImageFile or PIL.Image.Image
        A boolean array is black (False) and white (True). Paths, bytes and open files hold an
        encoded image, which is turned upright; an open file is read from its position to its end
        and left open. Pillow is used only if the caller has imported it.
    order : {"bgr", "rgb"}
        Order of colour channels in an array, and of the pixels returned. A Pillow image and its
        result are RGB in either case.

    Returns
    -------
    ImageInput

    Raises
    ------
    ImageError
        The image is not usable.
    OptionError
        `order` is unknown.
    """
    if order not in ("bgr", "rgb"):
        raise OptionError(f'order must be "bgr" or "rgb", got {order!r}')
    if isinstance(image, (str, os.PathLike)):
        path = os.fsdecode(image)
        return _from_file(read_image(path), path, order)
    if isinstance(image, ImageFile):
        return _from_file(image, image.name, order)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _from_file(decode_image(bytes(image), "image bytes"), "image bytes", order)
    if is_pillow_image(image):
        return _from_pillow(image, order)
    if callable(getattr(image, "read", None)):
        return _from_open_file(image, order)
    if isinstance(image, np.ndarray) and image.dtype == bool:
        image = image.astype(np.uint8) * np.uint8(255)
    return ImageInput(validate_image(image), "image array", _as_is)


def is_pillow_image(image: Any) -> bool:
    """Return True if `image` is a PIL.Image.Image; do not import PIL."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(image, pillow.Image)


def _as_is(result: AnyArray) -> AnyArray:
    return result


def _from_file(file: ImageFile, name: str, order: str) -> ImageInput:
    pixels = file.pixels
    if order == "rgb" and pixels.ndim == 3:
        pixels = _swap_red_and_blue(pixels)
    return ImageInput(pixels, name, _as_is)


def _from_open_file(file: Any, order: str) -> ImageInput:
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) else "open file"
    try:
        data = file.read()
    except (OSError, ValueError) as err:  # ValueError: closed, or text that cannot be decoded
        raise ImageError(f"{name}: cannot be read: {err}") from err
    if not isinstance(data, bytes):
        raise ImageError(
            f'{name}: expected bytes, got {type(data).__name__}; open the file with mode "rb"'
        )
    return _from_file(decode_image(data, name), name, order)


def _from_pillow(image: PillowImage, order: str) -> ImageInput:
    from PIL import ImageOps

    try:
        image = ImageOps.exif_transpose(image)
        profile = image.info.get("icc_profile") or b""
        pixels, profile = pillow.color_managed(image, profile, "the Pillow image")
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError) as err:  # what Pillow raises for damaged files
        raise ImageError(f"the Pillow image cannot be decoded: {err}") from err
    if pixels.ndim == 3:
        pixels = _swap_red_and_blue(pixels)
    pixels, profile = to_srgb(pixels, profile, "the Pillow image")
    if order == "rgb" and pixels.ndim == 3:
        pixels = _swap_red_and_blue(pixels)
    kept: dict[Any, Any] = {key: image.info[key] for key in _KEPT_INFO if key in image.info}
    if profile:
        kept["icc_profile"] = profile

    def to_result(result: AnyArray) -> Any:
        from PIL import Image

        rgb = _swap_red_and_blue(result) if order == "bgr" else result
        if rgb.dtype == np.uint16:  # Pillow has no 16-bit RGB
            rgb = np.rint(rgb / 257).astype(np.uint8)
        colored = Image.fromarray(np.ascontiguousarray(rgb))
        colored.info.update(kept)
        return colored

    return ImageInput(validate_image(pixels), "Pillow image", to_result)


def _swap_red_and_blue(pixels: AnyArray) -> AnyArray:
    if pixels.dtype.kind == "f" and pixels.dtype != np.float32:  # cv2.cvtColor takes float32 only
        return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, code))
