"""Download the missing files of a model into its folder."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ... import __version__
from ...errors import DownloadError
from ..hashes import write_stamp
from ..registry import Model, ModelFile
from ..settings import is_offline, model_folder, urls_for
from .locks import lock_folder
from .mirrors import AllMirrorsFailed, Progress, fetch
from .partial import DiskError, PartialFile, disk_errors, partial_size, remove_stale

__all__ = ["download_missing"]

logger = logging.getLogger("colorcv")

MIN_OPENCV = (4, 10)


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
        names = ", ".join(file.name for file in missing)
        raise _unavailable(
            model, f"{names}: the environment variable COLORCV_OFFLINE forbids to download"
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
        raise _unavailable(model, str(err), received=received) from err.__cause__


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
            what = f"{file.name} ({_format_size(file.size)}) could not be downloaded{tried}"
            raise _unavailable(model, what, received=partial.size) from None
        write_stamp(path, partial.commit(path), file.sha256)


def _unavailable(model: Model, what: str, *, received: int = 0) -> DownloadError:
    """Build the error that gives the reason and every way to get the model."""
    folder = model_folder(model)
    missing = [file for file in model.files if not os.path.lexists(folder / file.name)]
    lines = [f"model {model.name!r} is not available: {what}"]
    if received:
        lines.append(
            f"{_format_size(received)} of it are here already; the next try goes on from there."
        )
    names = ", ".join(f"{file.name} ({_format_size(file.size)})" for file in missing)
    lines.append(
        f"To go on: put by hand into {folder} what is missing ({names}; it is verified "
        "there); or set COLORCV_MIRROR to a base address that has it; or set COLORCV_HOME to "
        'another folder; or use model="lite" (--model lite), which comes with the package and '
        "needs no download."
    )
    return DownloadError("\n".join(lines))


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
        raise DownloadError(
            f"{advice}, and this is {cv2.__version__}: pip install --upgrade opencv-python"
        )


def _check_space(model: Model, missing: list[ModelFile]) -> None:
    folder = model_folder(model)
    needed = sum(file.size - min(partial_size(folder, file), file.size) for file in missing)
    with disk_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise _unavailable(
            model, f"{folder} has {_format_size(free)} free, and {_format_size(needed)} are needed"
        )


def _other_progress(folder: Path, missing: list[ModelFile], progress: Progress | None) -> int:
    """Report the progress of the process that downloads now; return its bytes so far."""
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
