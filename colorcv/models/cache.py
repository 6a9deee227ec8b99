"""Find, verify and download the files of models."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from .._logging import logger
from ..errors import ChecksumError, DownloadError, ModelFormatError, OptionError
from .hashes import UNKNOWN, describe_content, read_stamp, sha256_of
from .info import FileInfo, ModelFiles, ModelInfo, OnnxModel, State
from .registry import MODELS, Model, ModelFile
from .settings import model_folder

if TYPE_CHECKING:
    from .._typing import ModelName
    from .transfer.response import Progress

__all__ = ["download", "models", "resolve", "verify"]


def models() -> tuple[ModelInfo, ...]:
    """List the known models with their state.

    The state is judged by file sizes and by the hashes of earlier checks; no file is read.

    Returns
    -------
    tuple of ModelInfo
    """
    return tuple(_info(model) for model in MODELS.values())


def verify(model: ModelName | str) -> tuple[FileInfo, ...]:
    """Hash the files of a model again.

    Parameters
    ----------
    model : str
        A model's name.

    Returns
    -------
    tuple of FileInfo
        One for each file. It reports a wrong or unreadable file; no error is raised.

    Raises
    ------
    OptionError
        There is no model of that name.
    """
    entry = _lookup(model)
    return tuple(_inspect(entry, file, rehash=True) for file in entry.files)


def resolve(
    model: ModelName | str | ModelFiles | OnnxModel, *, progress: Progress | None = None
) -> ModelFiles | OnnxModel:
    """Return the files of a model; download those that are missing.

    Parameters
    ----------
    model : str, ModelFiles or OnnxModel
        A model's name, or files of your own, which must exist.
    progress : callable, optional
        See `download`.

    Returns
    -------
    ModelFiles or OnnxModel
        Files that exist; those of a named model are verified.

    Raises
    ------
    OptionError
        There is no model of that name.
    ModelFormatError
        A file of a `ModelFiles` or `OnnxModel` does not exist.
    ChecksumError
        A file in the cache folder has other content than the model's. It is left unchanged.
    DownloadError
        A file is missing and could not be downloaded.
    """
    if isinstance(model, ModelFiles):
        for role in ("prototxt", "caffemodel", "centers"):
            path: Path | None = getattr(model, role)
            if path is not None and not path.is_file():
                problem = "is not a file" if path.exists() else "does not exist"
                raise ModelFormatError(f"ModelFiles: {role} {problem}: {path}")
        return model
    if isinstance(model, OnnxModel):
        if not model.path.is_file():
            problem = "is not a file" if model.path.exists() else "does not exist"
            raise ModelFormatError(f"OnnxModel: the path {problem}: {model.path}")
        return model
    entry = _lookup(model)
    missing = [file for file in entry.files if not _is_cached(entry, file)]
    folder = model_folder(entry)
    if missing and entry.bundled:
        raise DownloadError(
            f"{folder / missing[0].name} is missing from the installed package; reinstall colorcv"
        )
    if missing:
        from .transfer.downloader import download_missing

        download_missing(
            entry, missing, is_cached=lambda file: _is_cached(entry, file), progress=progress
        )
    return ModelFiles(
        prototxt=folder / entry.prototxt.name,
        caffemodel=folder / entry.caffemodel.name,
        centers=folder / entry.centers.name,
    )


def download(model: ModelName | str = "zhang2016", *, progress: Progress | None = None) -> Path:
    """Download the missing files of a model and verify them.

    An interrupted download keeps what it has received; the next one resumes there, also in another
    process. A file gets its final name only after its SHA-256 has been checked.

    Parameters
    ----------
    model : str
        A model's name.
    progress : callable, optional
        Called as ``progress(done_bytes, total_bytes, name)`` for each file that is downloaded: at
        the start and after each piece. `done_bytes` includes the bytes of earlier attempts,
        decreases if a server makes the file start over, and equals `total_bytes` at the end.
        While another process downloads the file, `progress` reports that process's progress. An
        exception from `progress` ends the download and is passed on.

    Returns
    -------
    Path
        The folder of the files: a folder with the model's name in ``COLORCV_HOME``, or else in
        the platform's cache folder.

    Raises
    ------
    OptionError
        There is no model of that name, or an environment variable has an invalid value.
    ChecksumError
        A file in the cache folder has other content than the model's. It is left unchanged.
    DownloadError
        A file could not be downloaded or written: the message lists each URL with its reason.

    Notes
    -----
    ``COLORCV_MIRROR`` is a base URL that is tried before the known ones; with
    ``COLORCV_OFFLINE=1`` no connection is opened. Files that were put into the folder by hand are
    verified and used.

    Examples
    --------
    >>> download("lite").name  # bundled with the package: nothing to download
    'lite'
    """
    if not isinstance(model, str):
        raise OptionError(f"only models with a name can be downloaded, got {model!r}")
    files = resolve(model, progress=progress)
    assert isinstance(files, ModelFiles)
    return files.caffemodel.parent


def _lookup(model: object) -> Model:
    if isinstance(model, str) and model in MODELS:
        return MODELS[model]
    names = " or ".join(repr(name) for name in MODELS)
    if isinstance(model, str):
        raise OptionError(f"unknown model {model!r}; choose {names}")
    raise OptionError(f"model must be {names}, ModelFiles or OnnxModel; got {model!r}")


def _info(model: Model) -> ModelInfo:
    files = tuple(_inspect(model, file, rehash=False) for file in model.files)
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
        folder=model_folder(model),
        files=files,
        default_saturation=model.default_saturation,
    )


def _inspect(model: Model, file: ModelFile, *, rehash: bool) -> FileInfo:
    """Describe a file in the cache folder, by its size and stamp or by hashing it again."""
    folder = model_folder(model)
    path = folder / file.name
    state: State = "ready"
    problem = ""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            problem = "not a regular file"
        elif rehash:
            problem = _hash_problem(path, file, stamp=not model.bundled)
        elif status.st_size != file.size:
            problem = f"{status.st_size:,} bytes, expected {file.size:,}"
        elif (read_stamp(path, status) or file.sha256) != file.sha256:
            problem = "wrong content, as an earlier check found"
    except (FileNotFoundError, NotADirectoryError):
        from .transfer.partial import partial_size

        state = "partial" if partial_size(folder, file) else "absent"
    except OSError as err:
        problem = f"cannot be read: {err.strerror or err}"
    if problem:
        state = "wrong"
    return FileInfo(file.name, path, file.size, file.sha256, state, problem)


def _hash_problem(path: Path, file: ModelFile, *, stamp: bool) -> str:
    """Hash a file and return the problem found, or an empty string."""
    sha256 = sha256_of(path, stamp=stamp)
    if sha256 == file.sha256:
        return ""
    with path.open("rb") as stream:
        content = describe_content(stream.read(512))
    return (
        f"{content if content != UNKNOWN else 'another file'} of {path.stat().st_size:,} bytes "
        f"with sha256 {sha256}, expected {file.size:,} bytes with sha256 {file.sha256}"
    )


def _is_cached(model: Model, file: ModelFile) -> bool:
    """Return True if the file is in its folder, False if not; raise if its content is wrong.

    The file is hashed only without a valid stamp; a bundled file is judged by its size.
    """
    path = model_folder(model) / file.name
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            problem = "not a regular file"
        elif status.st_size == file.size and (
            model.bundled or read_stamp(path, status) == file.sha256
        ):
            return True
        else:
            problem = _hash_problem(path, file, stamp=not model.bundled)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        raise DownloadError(f"{path} cannot be read: {err.strerror or err}") from err
    if problem:
        advice = (
            "reinstall colorcv"
            if model.bundled
            else "delete it to have it downloaded again, or replace it with the right file"
        )
        raise ChecksumError(f"{path} is not the file of model {model.name!r}: {problem}; {advice}")
    logger.info("verified %s", path)
    return True
