"""Hints, references and variants of ``image``, and the subcommand ``suggest``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ImageError, OptionError
from .commands import load_colorizer
from .console import Console
from .exit_codes import ExitCode

if TYPE_CHECKING:
    from .._typing import AnyArray
    from ..colorizer import Colorizer
    from ..image.io import ImageFile
    from ..steering.editing import Reference
    from ..steering.hints import Hints

__all__ = [
    "HintArgument",
    "Steering",
    "parse_hint",
    "parse_place",
    "suggest",
    "variant_path",
    "video_hints",
]


class HintArgument(NamedTuple):
    """``X,Y,COLOR`` or ``X,Y,COLOR,RADIUS``."""

    x: float
    y: float
    color: str
    radius: float = 0


def parse_hint(text: str) -> HintArgument:
    """Parse the value of ``--hint``; raise ArgumentTypeError if it has another form."""
    parts = text.split(",")
    try:
        if len(parts) not in (3, 4):
            raise ValueError
        x, y, *radius = (float(part) for part in (*parts[:2], *parts[3:]))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected X,Y,#rrggbb or X,Y,#rrggbb,RADIUS, got {text!r}"
        ) from None
    return HintArgument(x, y, parts[2], *radius)


def parse_place(text: str) -> tuple[float, float]:
    """Parse ``X,Y``; raise ArgumentTypeError for anything else."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected X,Y, got {text!r}") from None
    return x, y


def variant_path(target: Path, number: int) -> Path:
    """Return ``photo.color-1.jpg`` for ``photo.color.jpg``."""
    return target.with_name(f"{target.stem}-{number}{target.suffix}")


class Steering:
    """Hints and references given as options.

    Raises
    ------
    OptionError
        Hints for several images, or variants together with hints, references or pages.
    """

    def __init__(self, arguments: argparse.Namespace, jobs: int) -> None:
        self._arguments = arguments
        self.has_hints = bool(arguments.hint or arguments.hints)
        self._reference: Reference | None = None
        if self.has_hints and jobs > 1:
            raise OptionError(f"--hint and --hints are for one image, got {jobs}")
        if self.has_hints and arguments.all_pages:
            raise OptionError("--hint and --hints cannot be used with --all-pages")
        given = self.has_hints or arguments.reference or arguments.all_pages or arguments.compare
        if arguments.variants and given:
            raise OptionError(
                "--variants cannot be used with --hint, --hints, --reference, --all-pages or "
                "--compare"
            )

    def prepare(self, colorizer: Colorizer) -> None:
        """Read the references, once for all images."""
        if self._arguments.reference:
            from ..steering.editing import Reference

            self._reference = Reference(colorizer, self._arguments.reference)

    def colorize(self, colorizer: Colorizer, photo: ImageFile) -> AnyArray:
        """Colour an image with the hints and references."""
        arguments = self._arguments
        if not self.has_hints:
            return colorizer.colorize(
                photo,
                saturation=arguments.saturation,
                reference=self._reference,
                reference_strength=arguments.reference_strength,
                ignore_border=False if arguments.keep_border_colors else "auto",
            )
        from ..steering.hints import Hint

        session = colorizer.session(photo, steering=arguments.steering)
        session.set_reference(self._reference, strength=arguments.reference_strength)
        if arguments.hints:
            session.add(arguments.hints)
        for hint in arguments.hint or ():
            session.add(Hint(*hint))
        result: Any = session.render(saturation=arguments.saturation)
        return result  # type: ignore[no-any-return]


def video_hints(arguments: argparse.Namespace, jobs: int) -> dict[float, Hints] | None:
    """Return the hints of ``--hints-at``, as `colorcv.video.colorize_video` takes them.

    Raises
    ------
    OptionError
        Hints for several videos or for ``--preview``, or strokes beside other hints of a frame.
    """
    if not arguments.hints_at:
        return None
    if jobs > 1:
        raise OptionError(f"--hints-at is for one video, got {jobs}")
    if arguments.preview:
        raise OptionError("--hints-at cannot be used with --preview")
    from ..steering.hints import Hint

    given: dict[float, list[Any]] = {}
    for time_s, hint in arguments.hints_at:
        given.setdefault(time_s, []).append(hint if isinstance(hint, str) else Hint(*hint))
    for time_s, hints in given.items():
        if len(hints) > 1 and any(isinstance(hint, str) for hint in hints):
            raise OptionError(
                f"--hints-at {time_s:g}: paint all colours of a frame into one file of strokes"
            )
    return {
        time_s: hints[0] if isinstance(hints[0], str) else hints for time_s, hints in given.items()
    }


def suggest(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print the most plausible colours of a pixel, one per line, most probable first."""
    from ..image import io as image_io

    try:
        photo = image_io.read_image(arguments.input)
    except ImageError as err:
        console.error(str(err))
        return ExitCode.SOME_FAILED
    colorizer = load_colorizer(arguments, console)
    x, y = arguments.place
    for suggestion in colorizer.suggest(photo, x, y, arguments.count):
        console.result(f"{suggestion.color} {100 * suggestion.probability:.0f} %")
    return ExitCode.OK
