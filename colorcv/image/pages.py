"""TIFF files of several pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from .._typing import AnyArray, StrPath
from ..errors import ImageError
from .decoding import ImageFile, decode_image
from .io import check_output_path, encode_image, write_file
from .tiff import count_pages, join_pages, split_pages

__all__ = ["count_pages", "decode_pages", "write_pages"]


def decode_pages(data: bytes, name: str, *, max_pixels: int | None = None) -> Iterator[ImageFile]:
    """Decode every page of a TIFF file, one at a time; other formats count as one page.

    Parameters
    ----------
    data : bytes
        Content of the file.
    name : str
        Name of the file in errors, to which the page number is added.
    max_pixels : int, optional
        The largest page that is decoded, as for `read_image`.

    Yields
    ------
    ImageFile
        As for `decode_image`.

    Raises
    ------
    ImageError
        As for `decode_image`.
    """
    pages = count_pages(data)
    if pages < 2:
        yield decode_image(data, name, max_pixels=max_pixels)
        return
    for number, page in enumerate(split_pages(data), 1):
        title = f"{name} (page {number} of {pages})"
        yield decode_image(page, title, max_pixels=max_pixels)


def write_pages(
    path: StrPath, pages: Iterable[AnyArray], *, overwrite: bool = False, software: str = ""
) -> None:
    """Write a TIFF file of several pages completely, or not at all.

    Parameters
    ----------
    path : path
        Must end in .tif or .tiff.
    pages : iterable of (H, W, 3) or (H, W, 4) arrays
        BGR or BGRA, of any sizes and dtypes that TIFF holds. Each is encoded before the next one
        is read.
    overwrite, software
        As for `write_image`.

    Raises
    ------
    ImageError
        As for `write_image`; or the suffix is not a TIFF's, or the file would exceed 4 GB.
    """
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise ImageError(f"{path}: only TIFF holds several pages; expected .tif or .tiff")
    check_output_path(path, overwrite=overwrite)
    encoded = [encode_image(path.suffix, page, software=software) for page in pages]
    try:
        data = join_pages(encoded)
    except ValueError as err:
        raise ImageError(f"{path} cannot be written: {err}") from err
    write_file(path, data, overwrite=overwrite)
