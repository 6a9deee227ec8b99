"""Where the files of models are: found, verified, downloaded."""

from __future__ import annotations

import logging
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ChecksumError, DownloadError, ModelFormatError, OptionError
from .hashes import OTHER, describe, known_sha256, sha256_of
from .info import FileInfo, ModelFiles, ModelInfo, State
from .registry import MODELS, Model, ModelFile
from .settings import folder_of
from .transfer.partial import kept_bytes

if TYPE_CHECKING:
    from .transfer.mirrors import Progress

__all__ = ["download", "models", "resolve", "verify"]

_log = logging.getLogger("colorcv")


def models() -> tuple[ModelInfo, ...]:
    """List the models with their state, by size and remembered hashes: nothing is read or hashed.

    Returns
    -------
    tuple of ModelInfo
    """
    return tuple(_info(model) for model in MODELS.values())


def verify(model: str) -> tuple[FileInfo, ...]:
    """Hash the files of a model again.

    Parameters
    ----------
    model : str
        A model's name.

    Returns
    -------
    tuple of FileInfo
        One for each file. A wrong or unreadable file is reported there and raises nothing.

    Raises
    ------
    OptionError
        There is no model of that name.
    """
    entry = _entry(model)
    return tuple(_look(entry, file, again=True) for file in entry.files)


def resolve(model: str | ModelFiles, *, progress: Progress | None = None) -> ModelFiles:
    """Give the files of a model, downloading those that are not here.

    Parameters
    ----------
    model : str or ModelFiles
        A model's name, or one's own files, which must exist.
    progress : callable, optional
        See `download`.

    Returns
    -------
    ModelFiles
        Files that exist; a named model's are verified.

    Raises
    ------
    OptionError
        There is no model of that name.
    ModelFormatError
        A file of a `ModelFiles` is not there.
    ChecksumError
        A file is here but is not the model's. It is left alone.
    DownloadError
        A file is not here and could not be fetched.
    """
    if isinstance(model, ModelFiles):
        for role in ("prototxt", "caffemodel", "centers"):
            path: Path = getattr(model, role)
            if not path.is_file():
                what = "is not a file" if path.exists() else "does not exist"
                raise ModelFormatError(f"ModelFiles({role}={str(path)!r}): it {what}")
        return model
    entry = _entry(model)
    missing = [file for file in entry.files if not _is_here(entry, file)]
    folder = folder_of(entry)
    if missing and entry.bundled:
        raise DownloadError(
            f"{folder / missing[0].name} is missing, which comes with the package: "
            "install colorcv again"
        )
    if missing:
        from .transfer.downloader import bring

        bring(entry, missing, is_here=lambda file: _is_here(entry, file), progress=progress)
    return ModelFiles(
        prototxt=folder / entry.prototxt.name,
        caffemodel=folder / entry.caffemodel.name,
        centers=folder / entry.centers.name,
    )


def download(model: str = "zhang2016", *, progress: Progress | None = None) -> Path:
    """Download what is not here of a model's files, and verify them.

    What arrives is kept when a download breaks off, and the next one goes on from there, also in
    another process. No file gets its name before its sha256 is right.

    Parameters
    ----------
    model : str
        A model's name.
    progress : callable, optional
        Called as ``progress(done_bytes, total_bytes, name)`` for each file that is downloaded, at
        its beginning and after each piece: `done_bytes` counts what an earlier try has left, goes
        back when a server makes the file start again, and is `total_bytes` at the end. While
        another process downloads the file, it is told that one's progress. What it raises ends
        the download and reaches the caller.

    Returns
    -------
    Path
        The folder of the files: ``COLORCV_HOME``, else the platform's cache folder, and the
        model's name.

    Raises
    ------
    OptionError
        There is no model of that name, or an environment variable has a value that is not taken.
    ChecksumError
        A file is here but is not the model's. It is left alone.
    DownloadError
        A file could not be fetched or written: the message lists each address with its reason.

    Notes
    -----
    ``COLORCV_MIRROR`` is a base address that is tried before the known ones; with
    ``COLORCV_OFFLINE=1`` no connection is opened. A file that was put into the folder by hand is
    verified and taken.

    Examples
    --------
    >>> download("lite").name  # comes with the package: nothing to fetch
    'lite'
    """
    if not isinstance(model, str):
        raise OptionError(f"model is {model!r}; only a model that has a name can be downloaded")
    return resolve(model, progress=progress).caffemodel.parent


def _entry(model: object) -> Model:
    if isinstance(model, str) and model in MODELS:
        return MODELS[model]
    names = ", ".join(repr(name) for name in MODELS)
    raise OptionError(f"there is no model {model!r}: take one of {names}, or ModelFiles(...)")


def _info(model: Model) -> ModelInfo:
    files = tuple(_look(model, file, again=False) for file in model.files)
    states = {file.state for file in files}
    state: State
    if "wrong" in states or (model.bundled and states != {"ready"}):
        state = "wrong"
    elif model.bundled:
        state = "bundled"
    else:
        state = states.pop() if len(states) == 1 else "partial"
    return ModelInfo(
        name=model.name,
        description=model.description,
        licence=model.licence,
        state=state,
        folder=folder_of(model),
        files=files,
        default_saturation=model.default_saturation,
    )


def _look(model: Model, file: ModelFile, *, again: bool) -> FileInfo:
    """See what is there under a file's name; `again` means by hashing it, not by memory."""
    folder = folder_of(model)
    path = folder / file.name
    state: State = "ready"
    problem = ""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            problem = "it is not a regular file"
        elif again:
            problem = _hashed(path, file, remembered=not model.bundled)
        elif status.st_size != file.size:
            problem = f"it has {status.st_size:,} bytes instead of {file.size:,}"
        elif (known_sha256(path, status) or file.sha256) != file.sha256:
            problem = "its content is another, as remembered from the last look"
    except (FileNotFoundError, NotADirectoryError):
        state = "partial" if kept_bytes(folder, file) else "absent"
    except OSError as err:
        problem = f"it cannot be read: {err.strerror or err}"
    if problem:
        state = "wrong"
    return FileInfo(file.name, path, file.size, file.sha256, state, problem)


def _hashed(path: Path, file: ModelFile, *, remembered: bool) -> str:
    """Hash a file; say what is wrong with it."""
    found = sha256_of(path, remembered=remembered)
    if found == file.sha256:
        return ""
    with path.open("rb") as stream:
        what = describe(stream.read(512))
    return (
        f"it is {what if what != OTHER else 'another file'} of {path.stat().st_size:,} bytes with "
        f"sha256 {found}, instead of {file.size:,} bytes with sha256 {file.sha256}"
    )


def _is_here(model: Model, file: ModelFile) -> bool:
    """Whether the right file is there; a wrong one raises. Hashes only what is not remembered."""
    path = folder_of(model) / file.name
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            problem = "it is not a regular file"
        elif status.st_size == file.size and (
            model.bundled or known_sha256(path, status) == file.sha256
        ):
            return True
        else:
            problem = _hashed(path, file, remembered=not model.bundled)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        raise DownloadError(f"{path} cannot be read: {err.strerror or err}") from err
    if problem:
        raise ChecksumError(
            f"{path} is not the file of model {model.name!r}: {problem}. It was left alone: "
            "move it away to have the right one downloaded, or put the right one there"
        )
    _log.info("verified %s", path)
    return True
