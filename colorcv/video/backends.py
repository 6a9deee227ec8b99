"""Choice of the backend: PyAV if it is installed, else OpenCV alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from .._typing import UInt8Array
from ..errors import VideoError
from .opencv import reader as opencv_reader
from .opencv.backend import open_opencv
from .opencv.reader import OpenCVReader
from .options import VideoOptions
from .output import TemporaryOutput
from .transcode import Transcode

__all__ = ["has_pyav", "open_transcode", "sample_frames"]

MIN_PYAV = (17, 1)  # the first release that keeps rotation


def has_pyav() -> bool:
    """Return True if PyAV is installed (``pip install av``).

    Raises
    ------
    VideoError
        PyAV is too old to keep rotation and chapters.
    """
    if importlib.util.find_spec("av") is None:
        return False
    version = metadata.version("av")
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_PYAV:
        raise VideoError(
            f"PyAV {version} is too old; 17.1 or newer is needed (pip install --upgrade av)"
        )
    return True


def open_transcode(
    source: Any,
    output: TemporaryOutput,
    input_hw: tuple[int, int],
    options: VideoOptions,
    *,
    use_pyav: bool,
) -> Transcode[Any]:
    """Open the source and the output.

    Parameters
    ----------
    source : Path, int or capture
        A video file, a camera's number, or an open `cv2.VideoCapture` or similar object.
    output : TemporaryOutput
    input_hw : (int, int)
        Rows and columns of the network's input.
    options : VideoOptions
    use_pyav : bool
        Read files and write with PyAV; cameras and captures are read with OpenCV in any case.

    Raises
    ------
    VideoError, OptionError
        The source cannot be read, or the output cannot be written as asked.
    """
    if use_pyav and isinstance(source, Path):
        from .pyav import backend

        return backend.open_pyav(source, output.path, input_hw, options)
    reader = OpenCVReader(source, input_hw, options)
    try:
        if use_pyav:
            from .pyav import backend

            return backend.open_pyav_from_capture(reader, output.path, options)
        return open_opencv(reader, source, output, options)
    except BaseException:
        reader.close()
        raise


def sample_frames(path: Path, n: int, *, use_pyav: bool) -> Iterator[tuple[float, UInt8Array]]:
    """Yield `n` evenly spaced frames, upright BGR, with their times in seconds.

    Raises
    ------
    VideoError
        The file cannot be read, or no frame can be decoded.
    """
    if use_pyav:
        from .pyav import sampling

        return sampling.sample_frames(path, n)
    return opencv_reader.sample_frames(path, n)
