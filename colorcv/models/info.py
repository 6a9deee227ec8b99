"""Public descriptions of models: `ModelFiles`, `OnnxModel`, `FileInfo`, `ModelInfo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import OptionError

if TYPE_CHECKING:  # _typing imports NumPy, which this package does not need
    from .._typing import StrPath

__all__ = ["FileInfo", "ModelFiles", "ModelInfo", "OnnxModel", "State"]

PRESET_NAMES = ("ddcolor", "deoldify", "siggraph17", "zhang2016")
MIN_SIDE, MAX_SIDE = 16, 4096  # pixels of an ONNX model's input

State = Literal["bundled", "ready", "partial", "absent", "wrong"]


@dataclass(frozen=True, init=False)
class ModelFiles:
    """Model files of your own, passed in place of a model's name.

    Parameters
    ----------
    prototxt, caffemodel : str or os.PathLike
        The network's layers and its weights. Stored as absolute paths, so that they stay valid in
        another process or working folder.
    centers : str or os.PathLike, optional
        The (313, 2) centres of its ab bins (``.npy``); leave it out for a network that has none,
        such as siggraph17.

    Examples
    --------
    >>> files = ModelFiles(prototxt="a.prototxt", caffemodel="a.caffemodel", centers="c.npy")
    >>> files.centers.name
    'c.npy'
    """

    prototxt: Path
    caffemodel: Path
    centers: Path | None

    def __init__(
        self, *, prototxt: StrPath, caffemodel: StrPath, centers: StrPath | None = None
    ) -> None:
        object.__setattr__(self, "prototxt", Path(prototxt).absolute())
        object.__setattr__(self, "caffemodel", Path(caffemodel).absolute())
        object.__setattr__(self, "centers", None if centers is None else Path(centers).absolute())


@dataclass(frozen=True, init=False)
class OnnxModel:
    """An ONNX file of another colorization network, passed in place of a model's name.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Stored as an absolute path.
    preset : {"ddcolor", "deoldify", "siggraph17", "zhang2016"}, optional
        The family, which says what the network takes and gives. Default: guessed from the names
        and shapes of its inputs and outputs, where they mean only one.
    size : int, optional
        Rows and columns of the input, 16..4096, where the file leaves them open. Default: 512 for
        "ddcolor", else 256.
    input : {"rgb", "l", "l-50"}, optional
        What a network without a preset takes: the grey of the photo as RGB, L* in 0..100, or
        L* - 50. This and the following change a preset.
    input_scale : float, optional
        The value of white for "rgb", 1 or 255; for the others a factor on the lightness, default 1.
    output : {"ab", "rgb"}, optional
        What it gives. Of RGB only a* and b* are used.
    output_scale : float, optional
        The value of white for "rgb", 1 or 255; for "ab" the factor that makes the output a* and
        b*, default 1.
    hints : {"inputs", "channels"}, optional
        How a network takes hints, as a* and b* and a mask of 0 and 1: as two more inputs, or as
        channels 2 to 4 of its input.

    Raises
    ------
    OptionError
        An option has an invalid value.

    Examples
    --------
    >>> OnnxModel("ddcolor.onnx", preset="ddcolor").path.name
    'ddcolor.onnx'
    """

    path: Path
    preset: str | None
    size: int | None
    input: str | None
    input_scale: float | None
    output: str | None
    output_scale: float | None
    hints: str | None

    def __init__(
        self,
        path: StrPath,
        preset: Literal["ddcolor", "deoldify", "siggraph17", "zhang2016"] | str | None = None,
        size: int | None = None,
        *,
        input: Literal["rgb", "l", "l-50"] | None = None,
        input_scale: float | None = None,
        output: Literal["ab", "rgb"] | None = None,
        output_scale: float | None = None,
        hints: Literal["inputs", "channels"] | None = None,
    ) -> None:
        _check_choice("preset", preset, PRESET_NAMES)
        _check_choice("input", input, ("rgb", "l", "l-50"))
        _check_choice("output", output, ("ab", "rgb"))
        _check_choice("hints", hints, ("inputs", "channels"))
        _check_scale("input_scale", input_scale)
        _check_scale("output_scale", output_scale)
        is_whole = isinstance(size, int) and not isinstance(size, bool)
        if size is not None and not (is_whole and MIN_SIDE <= size <= MAX_SIDE):
            raise OptionError(
                f"size must be a whole number between {MIN_SIDE} and {MAX_SIDE}, got {size!r}"
            )
        values = {
            "path": Path(path).absolute(), "preset": preset, "size": size,
            "input": input, "input_scale": input_scale,
            "output": output, "output_scale": output_scale, "hints": hints,
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return self.path.name


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise OptionError(f"{name} must be {', '.join(map(repr, choices))}; got {value!r}")


def _check_scale(name: str, value: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and 1e-4 <= value <= 1e4):
        raise OptionError(f"{name} must be a number between 0.0001 and 10000, got {value!r}")


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
