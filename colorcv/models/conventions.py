"""What an ONNX model takes and gives: the presets, and which of them a file's shapes mean.

Works on names and shapes alone; `colorcv.tensors` converts the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ModelFormatError, OptionError

if TYPE_CHECKING:
    from .info import OnnxModel

__all__ = ["PRESETS", "Conventions", "Resolved", "resolve_conventions"]

OpenShape = tuple[int | None, ...] | None  # None in place of a side that the file leaves open
Shapes = Mapping[str, OpenShape]


@dataclass(frozen=True)
class Conventions:
    """Units and channels of a network's inputs and output.

    Attributes
    ----------
    input : {"rgb", "l", "l-50"}
        Three channels of the grey of L*, sRGB-encoded; L* in 0..100; or L* - 50.
    input_scale : float
        The value of white for "rgb"; otherwise a factor on the lightness.
    output : {"ab", "rgb"}
    output_scale : float
        The value of white for "rgb"; otherwise the factor that makes the output ab.
    hints : {"inputs", "channels"} or None
        ab of the hints and their 0/1 mask are two more inputs, or channels 2 to 4 of the input.
    size : int
        Rows and columns of the input where the file leaves them open.
    """

    input: str
    input_scale: float
    output: str
    output_scale: float
    hints: str | None = None
    size: int = 256

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the inputs, in ascending order."""
        first = 3 if self.input == "rgb" else 1
        if self.hints == "inputs":
            return tuple(sorted((first, 1, 2)))
        return (first + 3,) if self.hints == "channels" else (first,)


class Resolved(NamedTuple):
    """How a file is used.

    Attributes
    ----------
    conventions : Conventions
    input_hw : (int, int)
        Rows and columns of its inputs.
    output : str
        Name of its output.
    reason : str
        The preset and where it comes from, for people.
    is_open : bool
        True if the file leaves the size of its inputs open.
    """

    conventions: Conventions
    input_hw: tuple[int, int]
    output: str
    reason: str
    is_open: bool


PRESETS = {
    # The project exports and runs it at 512; at 256 it takes a quarter of the time.
    "ddcolor": Conventions("rgb", 1, "ab", 1, size=512),
    "deoldify": Conventions("rgb", 255, "rgb", 255),
    "siggraph17": Conventions("l", 1, "ab", 1, hints="inputs"),
    "zhang2016": Conventions("l", 1, "ab", 1),
}


def resolve_conventions(model: OnnxModel, inputs: Shapes, outputs: Shapes) -> Resolved:
    """Return how a file is used, by what the caller states and by its shapes.

    Parameters
    ----------
    model : OnnxModel
    inputs, outputs : mapping of str to shape
        As the file declares them.

    Raises
    ------
    OptionError
        The caller has to state the preset or the units, or a size that the file cannot take.
    ModelFormatError
        The file's channels are other than those of the preset or units.
    """
    given = [_channels(shape) for shape in inputs.values()]
    answers = {name: _channels(shape) for name, shape in outputs.items()}
    conventions, reason = _stated(model)
    if conventions is None:
        conventions, reason = _guess(model, inputs, outputs)
    if model.preset == "siggraph17" and model.hints is None and given == [1]:
        conventions = _replaced(conventions, hints=None)  # exported without its hints
    # The channels of an input may be left open; where they are stated, they must be right.
    counts = sorted(given, key=lambda count: count or 0)
    if None not in given and tuple(counts) != conventions.channels:
        raise ModelFormatError(
            f"{model.path}: expected inputs of {_listed(conventions.channels)} channels for "
            f"{reason}, got {_listed(given)}"
        )
    wanted = 2 if conventions.output == "ab" else 3
    found = [name for name, count in answers.items() if count in (wanted, None)]
    if not found:
        raise ModelFormatError(
            f"{model.path}: expected an output of {wanted} channels for {reason}, got "
            f"{_listed(list(answers.values()))}"
        )
    input_hw, is_open = _input_hw(model, inputs, conventions.size)
    return Resolved(conventions, input_hw, found[0], reason, is_open)


def _stated(model: OnnxModel) -> tuple[Conventions | None, str]:
    """Return the conventions that the caller states, or None if he leaves them to the file."""
    changes = {
        name: value
        for name in ("input", "input_scale", "output", "output_scale", "hints")
        if (value := getattr(model, name)) is not None
    }
    if model.preset is not None:
        reason = f"preset {model.preset!r}"
        if changes:
            reason += " with " + ", ".join(f"{name}={value!r}" for name, value in changes.items())
        return _replaced(PRESETS[model.preset], **changes), reason
    if not changes:
        return None, ""
    for kind in ("input", "output"):
        value = changes.get(kind)
        if value is None:
            raise OptionError(
                f"{model.path}: state {kind} too, or a preset: {', '.join(map(repr, PRESETS))}"
            )
        if value == "rgb" and f"{kind}_scale" not in changes:
            raise OptionError(
                f"{model.path}: {kind}='rgb' needs {kind}_scale, the value of white: 1 or 255"
            )
    changes.setdefault("input_scale", 1.0)
    changes.setdefault("output_scale", 1.0)
    reason = ", ".join(f"{name}={value!r}" for name, value in sorted(changes.items()))
    return Conventions(**changes), reason


def _guess(model: OnnxModel, inputs: Shapes, outputs: Shapes) -> tuple[Conventions, str]:
    """Return the preset that the file's names and channels mean, where they mean only one."""
    given = [_channels(shape) for shape in inputs.values()]
    answers = [_channels(shape) for shape in outputs.values()]
    shown = f"{_listed(given)} channels in, {_listed(answers)} out"
    if answers[:1] == [2] and sorted(count or 0 for count in given) == [1, 1, 2]:
        return PRESETS["siggraph17"], f"preset 'siggraph17' (guessed: {shown})"
    if (given, answers) == ([3], [2]):
        return PRESETS["ddcolor"], f"preset 'ddcolor' (guessed: {shown})"
    if (given, answers) == ([3], [3]):
        raise OptionError(
            f"{model.path}: RGB in and out, of which white may be 1 or 255; state "
            "preset='deoldify', and beside it input_scale=1, output_scale=1 (--white 1) if white "
            "is 1"
        )
    if (given, answers) == ([1], [2]):
        names = f"{next(iter(inputs))} to {next(iter(outputs))}"
        if names == "data_l to class8_ab":  # the Caffe network's names
            return Conventions("l-50", 1, "ab", 1, size=224), f"input='l-50' (guessed: {names})"
        if names == "data_l to color_ab":  # those of Open Model Zoo
            return PRESETS["zhang2016"], f"preset 'zhang2016' (guessed: {names})"
        raise OptionError(
            f"{model.path}: its input may be L* or L* - 50, or in other units; state "
            "preset='zhang2016' if it is L* in 0..100 and the output is ab, or input='l-50', "
            "output='ab' and their scales"
        )
    raise OptionError(
        f"{model.path}: {shown} is none of the known models; state preset= "
        f"({', '.join(PRESETS)}) or input=, output= and their scales"
    )


def _input_hw(model: OnnxModel, inputs: Shapes, default: int) -> tuple[tuple[int, int], bool]:
    """Return rows and columns of the inputs, and whether the file leaves them open."""
    declared: set[tuple[int | None, int | None]] = {
        (shape[2], shape[3]) for shape in inputs.values() if shape is not None and len(shape) == 4
    }
    rows = {row for row, _ in declared if row is not None}
    columns = {column for _, column in declared if column is not None}
    if len(rows) > 1 or len(columns) > 1:
        raise ModelFormatError(f"{model.path}: its inputs have different sizes")
    side = default if model.size is None else model.size
    height, width = rows.pop() if rows else side, columns.pop() if columns else side
    if model.size is not None and (height, width) != (side, side):
        raise OptionError(
            f"{model.path}: size={model.size}, but the file takes {width}x{height} pixels only; "
            "leave size out, or export the model for another size"
        )
    is_open = any(None in sides for sides in declared) or not declared
    return (height, width), is_open


def _channels(shape: OpenShape) -> int | None:
    """Return the channels of an (N, C, H, W) shape; None if they are open or it is another one."""
    return shape[1] if shape is not None and len(shape) == 4 else None


def _listed(counts: tuple[int, ...] | list[int | None]) -> str:
    return ", ".join("?" if count is None else str(count) for count in counts) or "no"


def _replaced(conventions: Conventions, **changes: object) -> Conventions:
    return replace(conventions, **changes)  # type: ignore[arg-type]
