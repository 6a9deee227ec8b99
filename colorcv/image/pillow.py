"""Read with Pillow what OpenCV does not; convert with its LittleCMS profiles made of tables.

Pillow is optional (``pip install "colorcv[color]"``), and is imported only when it is needed.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .._typing import AnyArray, Float32Array
from ..color.icc import ProfileError, color_space, srgb_profile
from ..color.management import interpolate_table
from ..errors import ImageError
from .limits import check_pixels
from .metadata import Metadata

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = [
    "FORMATS",
    "ONLY",
    "apply_profile",
    "color_managed",
    "is_installed",
    "pixels_of",
    "read",
]

# Formats by our names, and Pillow's names of the plugins that read them. No other plugin is tried:
# some start programs, and each is code that a damaged file could reach.
FORMATS = {
    "AVIF": ("AVIF",), "BMP": ("BMP", "DIB"), "GIF": ("GIF",), "JPEG": ("JPEG", "MPO"),
    "JPEG 2000": ("JPEG2000",), "PAM": ("PPM",), "PCX": ("PCX",), "PNG": ("PNG",),
    "PNM": ("PPM",), "Photoshop": ("PSD",), "QOI": ("QOI",), "SGI": ("SGI",),
    "Sun raster": ("SUN",), "TIFF": ("TIFF",),
}  # fmt: skip
# Those that OpenCV does not read at all.
ONLY = ("PCX", "Photoshop", "QOI", "SGI")
_GRID = 52  # colours along each axis of a table: every fifth of the 256 levels


@lru_cache(maxsize=1)
def is_installed() -> bool:
    """Return True if Pillow can be imported."""
    return importlib.util.find_spec("PIL") is not None


def read(
    data: bytes, name: str, kind: str, profile: bytes = b"", max_pixels: int | None = None
) -> tuple[AnyArray, Metadata]:
    """Read the first image of a file.

    Parameters
    ----------
    data : bytes
        Content of the file.
    name : str
        Name of the file in errors.
    kind : str
        Format, a key of `FORMATS`; other formats are not tried.
    profile : bytes
        Its ICC profile, where Pillow does not find it.
    max_pixels : int, optional
        As for `decode_image`.

    Returns
    -------
    pixels : (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA array
        Upright.
    metadata : Metadata
        Its EXIF, and the ICC profile that is still to be applied.

    Raises
    ------
    TooManyPixelsError
        The image is larger than the limit, or than Pillow's own, ``PIL.Image.MAX_IMAGE_PIXELS``.
    ImageError
        Pillow does not read the file.
    """
    import PIL
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(data), formats=FORMATS[kind]) as image:
            check_pixels(name, image.width, image.height, max_pixels)
            image.load()
            info = dict(image.info)
            upright = ImageOps.exif_transpose(image)
            pixels, profile = color_managed(upright, info.get("icc_profile") or profile, name)
    except ImageError:
        raise
    except Image.DecompressionBombError as err:
        raise ImageError(
            f"{name} is larger than Pillow reads ({err}); if you trust the file, set "
            "PIL.Image.MAX_IMAGE_PIXELS, or convert it to PNG"
        ) from err
    except Exception as err:  # its plugins raise almost anything for damaged files
        reason = str(err) or type(err).__name__
        raise ImageError(
            f"{name} cannot be decoded by Pillow {PIL.__version__}: {reason}; "
            "save it as PNG with another program"
        ) from err
    exif = info.get("exif") or b""
    exif = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    if pixels.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
        pixels = np.asarray(cv2.cvtColor(pixels, code))
    return pixels, Metadata(exif, profile)


def color_managed(image: PillowImage, profile: bytes, name: str) -> tuple[AnyArray, bytes]:
    """Return the pixels of an image, and the profile that is still to be applied to them.

    Parameters
    ----------
    image : PIL.Image.Image
    profile : bytes
        Its ICC profile, or b"". That of CMYK is applied here.
    name : str
        Name of the image in errors.
    """
    if image.mode == "CMYK" and color_space(profile) == "CMYK":
        try:
            return np.asarray(_converted(image, profile)), srgb_profile()
        except ProfileError:
            pass  # as if it had none; `to_srgb` warns of it
    return pixels_of(image, name), profile


def pixels_of(image: PillowImage, name: str) -> AnyArray:
    """Return grey, RGB or RGBA pixels, without turning the image.

    Raises
    ------
    ImageError
        The image is of a mode whose black and white are not defined.
    """
    mode = image.mode
    if mode in ("L", "RGB", "1") and "transparency" in image.info:
        mode = "P"
    if mode == "1":
        return np.asarray(image.convert("L"))
    if mode in ("L", "RGB", "RGBA"):
        return np.asarray(image)
    if mode in ("P", "LA", "PA", "La", "RGBa"):
        has_alpha = mode != "P" or "transparency" in image.info
        if mode == "La":
            image = image.convert("LA")
        return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    if mode in ("CMYK", "YCbCr", "HSV", "RGBX"):
        return np.asarray(image.convert("RGB"))
    if mode == "I" or mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() >= 0 and values.max() <= 65535:
            return values.astype(np.uint16)
    raise ImageError(
        f"{name}: cannot use a Pillow image of mode {mode} with values {image.getextrema()}; "
        'convert it to "L" (0 to 255), "I;16" (0 to 65535) or "RGB" first'
    )


def apply_profile(pixels: AnyArray, profile: bytes) -> AnyArray:
    """Convert pixels from a profile made of tables to sRGB, with LittleCMS.

    Parameters
    ----------
    pixels : (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA array
        uint8 is converted exactly. For uint16, whose transforms Pillow does not offer, and floats
        a table of 52 x 52 x 52 colours is interpolated.
    profile : bytes
        ICC profile of grey or RGB.

    Raises
    ------
    ProfileError
        LittleCMS does not read the profile, or it is not for these pixels.
    """
    from PIL import Image

    if pixels.ndim == 2:
        steps = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
        curve = np.asarray(_converted(steps, profile), np.float32)[0, :, 1]
        full = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
        scaled: AnyArray = np.interp(pixels, np.linspace(0, full, 256), curve * (full / 255))
        scaled = scaled if pixels.dtype.kind == "f" else np.rint(scaled)
        return np.asarray(scaled.astype(pixels.dtype))
    if pixels.dtype == np.uint8:
        result: AnyArray = pixels.copy()
        rgb = np.ascontiguousarray(pixels[..., 2::-1])
        result[..., :3] = np.asarray(_converted(Image.fromarray(rgb), profile))[..., ::-1]
        return result
    return interpolate_table(pixels, _table(profile))


def _table(profile: bytes) -> Float32Array:
    from PIL import Image

    steps = np.linspace(0, 255, _GRID).astype(np.uint8)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    rgb = np.stack((red, green, blue), axis=-1).reshape(_GRID, -1, 3)
    converted = np.asarray(_converted(Image.fromarray(rgb), profile))[..., ::-1]
    table: Float32Array = converted.astype(np.float32) / np.float32(255)
    return table.reshape(_GRID, _GRID, _GRID, 3)


def _converted(image: PillowImage, profile: bytes) -> Any:
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.ImageCmsProfile(BytesIO(srgb_profile()))
        intent = ImageCms.Intent.PERCEPTUAL  # as Pillow and libvips do
        return ImageCms.profileToProfile(image, source, target, intent, outputMode="RGB")
    except Exception as err:  # ImageCms.PyCMSError is an Exception only
        raise ProfileError(f"LittleCMS does not read it ({err})") from err
