"""What a model's files are to those who ask: their paths, sizes and state."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["FileInfo", "ModelFiles", "ModelInfo", "State"]

State = Literal["bundled", "ready", "partial", "absent", "wrong"]


@dataclass(frozen=True, init=False)
class ModelFiles:
    """One's own model files, in place of a model's name.

    Parameters
    ----------
    prototxt, caffemodel, centers : str or os.PathLike
        The network's layers, its weights, and the (313, 2) centres of its ab bins (``.npy``).
        Kept as absolute paths, so that another process or working folder finds the same files.

    Examples
    --------
    >>> files = ModelFiles(prototxt="a.prototxt", caffemodel="a.caffemodel", centers="c.npy")
    >>> files.centers.name
    'c.npy'
    """

    prototxt: Path
    caffemodel: Path
    centers: Path

    def __init__(
        self,
        *,
        prototxt: str | os.PathLike[str],
        caffemodel: str | os.PathLike[str],
        centers: str | os.PathLike[str],
    ) -> None:
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
        Where it is, or goes.
    size : int
        Bytes that it should have.
    sha256 : str
        The hash that it should have, in hexadecimal.
    state : {"ready", "partial", "absent", "wrong"}
        "partial" is a download that was broken off and is gone on with the next time.
    problem : str
        Why it is wrong, in one sentence; empty otherwise.
    """

    name: str
    path: Path
    size: int
    sha256: str
    state: State
    problem: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be asked for by its name.

    Attributes
    ----------
    name, description, licence : str
    state : {"bundled", "ready", "partial", "absent", "wrong"}
        "bundled": it comes with the package. "ready": every file is here. "partial": some are, or
        parts of them. "wrong": a file is here which is not the model's.
    folder : Path
        Where its files are, or go.
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
