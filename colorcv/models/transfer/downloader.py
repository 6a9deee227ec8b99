"""Bring the missing files of a model into its folder, or say in one error why not."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ... import __version__
from ...errors import DownloadError
from ..hashes import remember
from ..registry import Model, ModelFile
from ..settings import addresses_of, folder_of, is_offline
from .locks import lock_folder
from .mirrors import FetchFailed, Progress, fetch
from .partial import Partial, WriteFailed, kept_bytes, remove_abandoned, writing

__all__ = ["bring"]

OLDEST_OPENCV = (4, 10)
_log = logging.getLogger("colorcv")


def bring(
    model: Model,
    missing: list[ModelFile],
    *,
    is_here: Callable[[ModelFile], bool],
    progress: Progress | None = None,
) -> None:
    """Download files, unless another process does; `is_here` tells when one is there."""
    folder = folder_of(model)
    if is_offline():
        names = ", ".join(file.name for file in missing)
        raise _unavailable(
            model, f"{names}: the environment variable COLORCV_OFFLINE forbids to download"
        )
    addresses = {file.name: addresses_of(file) for file in missing}
    _check_opencv(model)
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _check_space(model, missing)
        with lock_folder(folder, lambda: _waiting(folder, missing, progress)):
            for file in missing:
                if not is_here(file):
                    _bring_one(model, file, addresses[file.name], progress)
                elif progress is not None:  # another process has brought it
                    progress(file.size, file.size, file.name)
                remove_abandoned(folder, file)
    except WriteFailed as err:
        kept = sum(kept_bytes(folder, file) for file in missing)
        raise _unavailable(model, str(err), kept=kept) from err.__cause__


def _bring_one(
    model: Model, file: ModelFile, addresses: tuple[str, ...], progress: Progress | None
) -> None:
    path = folder_of(model) / file.name
    _log.info("downloading %s (%s) to %s", file.name, _size(file.size), path)
    with Partial.open(path.parent, file) as part:
        try:
            fetch(file, part, addresses, user_agent=f"colorcv/{__version__}", progress=progress)
        except FetchFailed as failed:
            tried = "".join(f"\n  {address}: {reason}" for address, reason in failed.reasons)
            what = f"{file.name} ({_size(file.size)}) could not be downloaded{tried}"
            raise _unavailable(model, what, kept=part.size) from None
        remember(path, part.finish(path), file.sha256)


def _unavailable(model: Model, what: str, *, kept: int = 0) -> DownloadError:
    """The one error that says why, and every way out."""
    folder = folder_of(model)
    missing = [file for file in model.files if not os.path.lexists(folder / file.name)]
    lines = [f"model {model.name!r} is not available: {what}"]
    if kept:
        lines.append(f"{_size(kept)} of it are here already; the next try goes on from there.")
    names = ", ".join(f"{file.name} ({_size(file.size)})" for file in missing)
    lines.append(
        f"To go on: put by hand into {folder} what is missing ({names}; it is verified "
        "there); or set COLORCV_MIRROR to a base address that has it; or set COLORCV_HOME to "
        'another folder; or use model="lite" (--model lite), which comes with the package and '
        "needs no download."
    )
    return DownloadError("\n".join(lines))


def _check_opencv(model: Model) -> None:
    """Say before a long download, not after it, that this OpenCV could not use the file."""
    need = ".".join(map(str, OLDEST_OPENCV))
    advice = f"model {model.name!r} was not downloaded: it needs OpenCV {need} or newer"
    try:
        import cv2
    except ImportError as err:
        raise DownloadError(f"{advice}, and `import cv2` fails: {err}") from err
    from ..._opencv import opencv_version

    if (0, 0) < opencv_version() < OLDEST_OPENCV:  # (0, 0): a version of another form
        raise DownloadError(
            f"{advice}, and this is {cv2.__version__}: pip install --upgrade opencv-python"
        )


def _check_space(model: Model, missing: list[ModelFile]) -> None:
    folder = folder_of(model)
    need = sum(file.size - min(kept_bytes(folder, file), file.size) for file in missing)
    with writing(folder):
        free = shutil.disk_usage(folder).free
    if free < need:
        raise _unavailable(model, f"{folder} has {_size(free)} free, and {_size(need)} are needed")


def _waiting(folder: Path, missing: list[ModelFile], progress: Progress | None) -> int:
    """Tell how far the process is that downloads now."""
    done = 0
    for file in missing:
        if (folder / file.name).exists():
            done += file.size
            continue
        kept = kept_bytes(folder, file)
        if progress is not None and kept:
            progress(kept, file.size, file.name)
        return done + kept
    return done


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"
