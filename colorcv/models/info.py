"""Public descriptions of models: `ModelFiles`, `FileInfo`, `ModelInfo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # _typing imports NumPy, which this package does not need
    from .._typing import StrPath

__all__ = ["FileInfo", "ModelFiles", "ModelInfo", "State"]

State = Literal["bundled", "ready", "partial", "absent", "wrong"]


@dataclass(frozen=True, init=False)
class ModelFiles:
    """Model files of your own, passed in place of a model's name.

    Parameters
    ----------
    prototxt, caffemodel, centers : str or os.PathLike
        The network's layers, its weights, and the (313, 2) centres of its ab bins (``.npy``).
        Stored as absolute paths, so that they stay valid in another process or working folder.

    Examples
    --------
    >>> files = ModelFiles(prototxt="a.prototxt", caffemodel="a.caffemodel", centers="c.npy")
    >>> files.centers.name
    'c.npy'
    """

    prototxt: Path
    caffemodel: Path
    centers: Path

    def __init__(self, *, prototxt: StrPath, caffemodel: StrPath, centers: StrPath) -> None:
        object.__setattr__(self, "prototxt", Path(prototxt).absolute())
        object.__setattr__(self, "caffemodel", Path(caffemodel).absolute())
        object.__setattr__(self, "centers", Path(centers).absolute())


@dataclass(frozen=True)
class FileInfo:
    """One file of a model.

    Attributes
    ----------
    name : str
    path : Path
        Where the file is, or will be downloaded to.
    size : int
        Expected size in bytes.
    sha256 : str
        Expected SHA-256, in hexadecimal.
    state : {"ready", "partial", "absent", "wrong"}
        "partial": a download was interrupted; the next one resumes it.
    problem : str
        Why the file is wrong, in one sentence; otherwise empty.
    """

    name: str
    path: Path
    size: int
    sha256: str
    state: State
    problem: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """A model of the registry and the state of its files.

    Attributes
    ----------
    name, description, licence : str
    state : {"bundled", "ready", "partial", "absent", "wrong"}
        "bundled": part of the package. "ready": all files are in the cache folder. "partial": some
        files are, or parts of them. "wrong": a file has other content than the model's.
    folder : Path
        Where the files are, or will be downloaded to.
    files : tuple of FileInfo
    default_saturation : float
        Factor on the network's ab that ``saturation=1.0`` stands for.
    """

    name: str
    description: str
    licence: str
    state: State
    folder: Path
    files: tuple[FileInfo, ...]
    default_saturation: float = 1.0
