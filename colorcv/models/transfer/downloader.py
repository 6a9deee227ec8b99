"""Download the missing files of a model into its folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ... import __version__
from ..._logging import logger
from ...errors import DownloadError
from ..hashes import write_stamp
from ..registry import Model, ModelFile
from ..settings import is_offline, model_folder, urls_for
from .locks import lock_folder
from .mirrors import AllMirrorsFailed, fetch
from .partial import DiskError, PartialFile, disk_errors, partial_size, remove_stale
from .response import Progress

__all__ = ["download_missing"]

MIN_OPENCV = (4, 10)
_TRY_AGAIN = "check the network and the proxy settings (HTTPS_PROXY), or try again later"
_SET_MIRROR = "set COLORCV_MIRROR to a base URL that has the files"
_SET_HOME = "set COLORCV_HOME to a folder that can be written and has enough space"
_BY_HAND = "download the missing files by hand into that folder; they are verified there"
_USE_LITE = 'pass model="lite": the small model is bundled with the package'


def download_missing(
    model: Model,
    missing: list[ModelFile],
    *,
    is_cached: Callable[[ModelFile], bool],
    progress: Progress | None = None,
) -> None:
    """Download files, or wait for another process that downloads them.

    Parameters
    ----------
    model : Model
    missing : list of ModelFile
        The files of `model` that are not in its folder.
    is_cached : callable
        Returns True if a file is in the folder by now; raises on a wrong file.
    progress : callable, optional
        See `colorcv.download`.

    Raises
    ------
    DownloadError
        Downloads are disabled, OpenCV is too old, the disk is full or read-only, or no URL gave
        the file.
    """
    folder = model_folder(model)
    if is_offline():
        raise _unavailable(
            model, "downloads are disabled by COLORCV_OFFLINE (unset it to allow them)"
        )
    urls = {file.name: urls_for(file) for file in missing}
    _check_opencv(model)
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _check_space(model, missing)
        with lock_folder(folder, lambda: _other_progress(folder, missing, progress)):
            for file in missing:
                if not is_cached(file):
                    _download_file(model, file, urls[file.name], progress)
                elif progress is not None:  # another process has downloaded it
                    progress(file.size, file.size, file.name)
                remove_stale(folder, file)
    except DiskError as err:
        received = sum(partial_size(folder, file) for file in missing)
        raise _unavailable(model, str(err), _SET_HOME, received=received) from err.__cause__


def _download_file(
    model: Model, file: ModelFile, urls: tuple[str, ...], progress: Progress | None
) -> None:
    path = model_folder(model) / file.name
    logger.info("downloading %s (%s) to %s", file.name, _format_size(file.size), path)
    with PartialFile.open(path.parent, file) as partial:
        try:
            fetch(file, partial, urls, user_agent=f"colorcv/{__version__}", progress=progress)
        except AllMirrorsFailed as failed:
            tried = "".join(f"\n  {url}: {reason}" for url, reason in failed.reasons)
            reason = f"{file.name} ({_format_size(file.size)}) could not be downloaded:{tried}"
            raise _unavailable(
                model, reason, _TRY_AGAIN, _SET_MIRROR, received=partial.size
            ) from None
        write_stamp(path, partial.commit(path), file.sha256)


def _unavailable(model: Model, reason: str, *advice: str, received: int = 0) -> DownloadError:
    """Build the error: the reason, the missing files, and every way to get the model."""
    folder = model_folder(model)
    missing = [file for file in model.files if not os.path.lexists(folder / file.name)]
    ways = [*advice, _BY_HAND, _USE_LITE]
    lines = [
        f"model {model.name!r} is not available: {reason}",
        *([f"{_format_size(received)} are kept; the next download resumes there"] * (received > 0)),
        f"Missing in {folder}:",
        *(f"  {file.name} ({_format_size(file.size)}){_source(folder, file)}" for file in missing),
        "What you can do:",
        *(f"  - {way}" for way in ways),
    ]
    return DownloadError("\n".join(lines))


def _source(folder: Path, file: ModelFile) -> str:
    """Return a hint where to get a file: its first URL, or the parent folder if it is there."""
    if (folder.parent / file.name).is_file():
        return f" is in {folder.parent}: move it into the folder {folder.name}"
    return f" from {file.urls[0]}" if file.urls else ""


def _check_opencv(model: Model) -> None:
    """Raise before a long download if this OpenCV cannot load the model."""
    version = ".".join(map(str, MIN_OPENCV))
    advice = f"model {model.name!r} was not downloaded: it needs OpenCV {version} or newer"
    try:
        import cv2
    except ImportError as err:
        raise DownloadError(f"{advice}, and `import cv2` fails: {err}") from err
    from ..._opencv import opencv_version

    if (0, 0) < opencv_version() < MIN_OPENCV:  # (0, 0): a build with another kind of version
        raise DownloadError(f"{advice}, got {cv2.__version__}: pip install --upgrade opencv-python")


def _check_space(model: Model, missing: list[ModelFile]) -> None:
    folder = model_folder(model)
    needed = sum(file.size - min(partial_size(folder, file), file.size) for file in missing)
    with disk_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise _unavailable(
            model,
            f"not enough disk space in {folder}: {_format_size(needed)} needed, "
            f"{_format_size(free)} free",
            _SET_HOME,
        )


def _other_progress(folder: Path, missing: list[ModelFile], progress: Progress | None) -> int:
    """Report the progress of the process that is downloading; return its bytes so far."""
    received = 0
    for file in missing:
        if (folder / file.name).exists():
            received += file.size
            continue
        size = partial_size(folder, file)
        if progress is not None and size:
            progress(size, file.size, file.name)
        return received + size
    return received


def _format_size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"
