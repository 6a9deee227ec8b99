"""Read image files upright; write them atomically."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from .._atomic import publish
from .._typing import AnyArray, StrPath
from ..errors import ImageError
from .decoding import ImageFile, decode_image
from .metadata import Metadata, embed
from .tiff import set_software

__all__ = [
    "ImageFile",
    "check_output_path",
    "decode_image",
    "encode_image",
    "read_file",
    "read_image",
    "side_by_side",
    "write_file",
    "write_image",
]


@dataclass(frozen=True)
class _Codec:
    dtypes: Sequence[str]
    alpha: bool = False
    options: Sequence[int] = ()


_JPEG = _Codec(["uint8"], options=[cv2.IMWRITE_JPEG_QUALITY, 95])
# 5 is LZW: OpenCV's default compression of floats is lossy up to 4.10.
_TIFF = _Codec(["uint8", "uint16", "float32", "float64"], True, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
_BMP, _PPM = _Codec(["uint8"]), _Codec(["uint8", "uint16"])
# Formats that are written, and the dtypes that each holds without conversion. JPEG 2000 and AVIF
# would change alpha and 16 bits a little, so they get neither; GIF has too few colours.
_CODECS = {
    ".jpg": _JPEG, ".jpeg": _JPEG, ".jpe": _JPEG,
    ".png": _Codec(["uint8", "uint16"], True),
    ".tif": _TIFF, ".tiff": _TIFF,
    ".webp": _Codec(["uint8"], True),
    ".bmp": _BMP, ".dib": _BMP,
    ".ppm": _PPM, ".pnm": _PPM,
    ".jp2": _Codec(["uint8"]),
    # OpenCV's default quality moves the 99th percentile of L* by 7.
    ".avif": _Codec(["uint8"], options=[cv2.IMWRITE_AVIF_QUALITY, 95]),
}  # fmt: skip
_EXIF_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp")
_MAX_JPEG_EXIF = 65_527  # bytes: a segment without its length and name


def read_image(path: StrPath, *, max_pixels: int | None = None) -> ImageFile:
    """Read an image file upright, with its alpha and bit depth.

    Parameters
    ----------
    path : path
    max_pixels : int, optional
        The largest image that is decoded; by default ``COLORCV_MAX_PIXELS`` or 250 million.

    Returns
    -------
    ImageFile
        Its pixels are ``(H, W)``, ``(H, W, 3)`` BGR or ``(H, W, 4)`` BGRA, of the file's dtype,
        in sRGB: an ICC profile has been applied. Its metadata is ready to be written with a
        coloured result: the orientation is 1, the profile is sRGB's, the grey thumbnail is removed.

    Raises
    ------
    ImageError
        The file does not exist, is not a supported image, is truncated, or has too many pixels.

    Notes
    -----
    Only the first of several pages or frames is read; a warning gives their number. CMYK, L*a*b*
    and palettes become BGR. Premultiplied alpha is converted to straight alpha. EXIF and XMP are
    read from JPEG, PNG, WebP and HEIC, profiles also from TIFF, AVIF and JPEG 2000. What OpenCV
    does not read is read with Pillow or pillow-heif where they are installed. A JPEG that is
    damaged but not truncated is returned as OpenCV decodes it.
    """
    path = Path(path)
    return decode_image(read_file(path), str(path), max_pixels=max_pixels)


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises
    ------
    ImageError
        The file does not exist, is not a regular file, or cannot be read.
    """
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
        data = path.read_bytes() if is_file else b""
    except FileNotFoundError as err:
        raise ImageError(f"{path} does not exist") from err
    except (OSError, ValueError) as err:  # ValueError: a null byte in the name
        raise ImageError(f"{path} cannot be read: {getattr(err, 'strerror', None) or err}") from err
    if not is_file:
        if path.is_dir():
            raise ImageError(f"{path} is a folder, not an image file")
        raise ImageError(
            f"{path} is a device or a pipe, not an image file; read it and pass its bytes "
            "(in the command, - is standard input)"
        )
    return data


def encode_image(
    suffix: str, pixels: AnyArray, metadata: Metadata | None = None, *, software: str = ""
) -> bytes:
    """Encode an image.

    Parameters
    ----------
    suffix : str
        ``.png``, ``.jpg`` (quality 95), ``.tif``, ``.webp`` (lossless), ``.bmp``, ``.ppm``,
        ``.jp2`` or ``.avif``, and their other spellings.
    pixels : (H, W, 3) or (H, W, 4) array
        BGR or BGRA.
    metadata : Metadata, optional
        Written to JPEG, PNG and WebP, the profile also to TIFF; for other formats it is dropped
        with a warning.
    software : str
        The tag Software, written to the EXIF of JPEG, PNG and WebP, or to the TIFF.

    Returns
    -------
    bytes

    Raises
    ------
    ImageError
        OpenCV does not write the format, or the format does not hold this dtype or alpha.
    """
    codec = _codec_for(suffix)
    dtype, has_alpha = pixels.dtype.name, pixels.shape[2:] == (4,)
    if dtype not in codec.dtypes:
        raise ImageError(f"{suffix} does not hold {dtype}; {_suggest_suffixes(dtype, has_alpha)}")
    if has_alpha and not codec.alpha:
        raise ImageError(f"{suffix} does not hold alpha; {_suggest_suffixes(dtype, has_alpha)}")
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    try:
        done, encoded = cv2.imencode(suffix.lower(), native, list(codec.options))
    except cv2.error as err:
        raise ImageError(_encode_message(suffix, pixels, err.err)) from err
    if not done:
        raise ImageError(_encode_message(suffix, pixels, ""))
    data = encoded.tobytes()
    if software and suffix.lower() in (".tif", ".tiff"):
        data = set_software(data, software)
    elif software and suffix.lower() in _EXIF_SUFFIXES:
        metadata = metadata or Metadata()
        exif = set_software(metadata.exif, software)
        if len(exif) <= _MAX_JPEG_EXIF:  # a larger block would be dropped from JPEG as a whole
            metadata = replace(metadata, exif=exif)
    return data if metadata is None else embed(data, metadata)


def write_image(
    path: StrPath,
    pixels: AnyArray,
    metadata: Metadata | None = None,
    *,
    overwrite: bool = False,
    software: str = "",
) -> None:
    """Write an image file completely, or not at all.

    Parameters
    ----------
    path : path
        Its suffix selects the format, as for `encode_image`.
    pixels, metadata, software
        As for `encode_image`.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ImageError
        The image cannot be encoded (see `encode_image`), or the file exists or cannot be written.
    """
    path = Path(path)
    check_output_path(path, overwrite=overwrite)
    try:
        data = encode_image(path.suffix, pixels, metadata, software=software)
    except ImageError as err:
        raise ImageError(f"{path}: {err}") from err
    write_file(path, data, overwrite=overwrite)


def write_file(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write bytes to a file completely, or not at all.

    Raises
    ------
    ImageError
        The file exists and may not be overwritten, or cannot be written.
    """
    temp_path = path.with_name(f".{path.name[:32]}.{os.urandom(4).hex()}.part")
    try:
        with temp_path.open("xb") as file:
            file.write(data)
        publish(temp_path, path, overwrite=overwrite)
    except FileExistsError as err:
        raise ImageError(_exists_message(path)) from err
    except OSError as err:
        raise ImageError(f"{path} cannot be written: {err.strerror or err}") from err
    finally:
        temp_path.unlink(missing_ok=True)


def check_output_path(path: StrPath, *, overwrite: bool) -> None:
    """Raise the ImageError that `write_image` would raise for this path, before any work."""
    path = Path(path)
    try:
        _codec_for(path.suffix)
    except ImageError as err:
        raise ImageError(f"{path}: {err}") from err
    if path.is_dir():
        raise ImageError(f"{path} is a folder; expected the path of a file")
    if not overwrite and os.path.lexists(path):
        raise ImageError(_exists_message(path))


def side_by_side(before: AnyArray, after: AnyArray) -> AnyArray:
    """Put an image and its coloured result side by side.

    Parameters
    ----------
    before : (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) array
    after : (H, W, 3) or (H, W, 4) array, of the same dtype

    Returns
    -------
    (H, 2 W, 3 or 4) array
    """
    before = before.reshape(*before.shape[:2], -1)
    if before.shape[2] == 1:
        before = np.broadcast_to(before, after.shape)
    return np.concatenate((before, after), axis=1)


def _codec_for(suffix: str) -> _Codec:
    codec = _CODECS.get(suffix.lower())
    if codec is None or not cv2.haveImageWriter(f"x{suffix.lower()}"):
        written = [name for name in _CODECS if cv2.haveImageWriter(f"x{name}")]
        problem = f"cannot write {suffix[1:].upper()}" if suffix else "a file name needs a suffix"
        raise ImageError(f"{problem}; use one of {', '.join(written)}")
    return codec


def _suggest_suffixes(dtype: str, has_alpha: bool) -> str:
    names = [n for n, f in _CODECS.items() if dtype in f.dtypes and f.alpha >= has_alpha]
    if names:
        return f"use {' or '.join(names)}"
    return "convert it to uint8, uint16, float32 or float64 first"


def _encode_message(suffix: str, pixels: AnyArray, reason: str) -> str:
    height, width = pixels.shape[:2]
    why = f" ({reason})" if reason else ""
    return (
        f"OpenCV cannot write {width}x{height} pixels as {suffix}{why}; formats have limits of "
        "size (JPEG 65,500 a side, WebP 16,383); use .png or .tiff"
    )


def _exists_message(path: Path) -> str:
    return f"{path} already exists; pass overwrite=True to replace it"
