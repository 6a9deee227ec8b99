"""Options of the subcommands."""

from __future__ import annotations

import argparse
import math

from ..models.info import PRESET_NAMES
from . import steering

__all__ = [
    "add_common_options",
    "add_image_options",
    "add_model_options",
    "add_onnx_options",
    "add_output_options",
    "add_video_options",
    "positive_int",
]

_CODEC_ALIASES = {"h265": "hevc", "x265": "hevc", "x264": "h264", "avc": "h264"}


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add --verbose and --quiet."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-v", "--verbose", action="store_true", help="print more about the work")
    group.add_argument(
        "-q", "--quiet", action="store_true", help="print errors and results only, no progress"
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model and --device."""
    _add_model(parser)
    _add_device(parser)


def _add_model(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--model",
        default="zhang2016",
        metavar="M",
        help="zhang2016 (best, 129 MB, downloaded on first use; default) or lite (bundled)",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="auto (default), cpu, cuda, cuda-fp16, opencl or opencl-fp16",
    )


def add_onnx_options(
    parser: argparse.ArgumentParser, group: argparse._MutuallyExclusiveGroup | None = None
) -> None:
    """Add --onnx, to the group of --model if there is one, and the options that belong to it."""
    (group or parser).add_argument(
        "--onnx", metavar="FILE", help="an ONNX file of your own: DDColor, DeOldify, siggraph17..."
    )
    parser.add_argument(
        "--preset",
        choices=PRESET_NAMES,
        help="what the ONNX file is (default: guessed where its shapes mean only one)",
    )
    parser.add_argument(
        "--size",
        type=positive_int,
        metavar="N",
        help="rows and columns of its input, where it leaves them open",
    )
    parser.add_argument(
        "--white",
        type=int,
        choices=(1, 255),
        help="value of white of its RGB, where it is not the preset's",
    )


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``image`` and ``video`` share."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="a file for one input, or a folder, created if necessary (an input folder's tree is"
        " kept); default: <stem>.color<suffix> beside each input; - is standard output, for"
        " images",
    )
    group = parser.add_mutually_exclusive_group()
    _add_model(group)
    add_onnx_options(parser, group)
    _add_device(parser)
    parser.add_argument(
        "--saturation",
        type=float,
        default=1.0,
        metavar="S",
        help="factor on the colours, 0 to 10: 1 leaves the model's own (default), 0 is grey",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="above 0; lower is more colourful, higher is duller (default: the model's own, about"
        " 0.38)",
    )
    parser.add_argument(
        "--reference",
        action="append",
        metavar="FILE",
        help="take colours from this image where it shows the same kind of thing; may be repeated",
    )
    parser.add_argument(
        "--reference-strength",
        type=float,
        default=1.0,
        metavar="S",
        help="how far to follow the references, 0 to 1 (default)",
    )
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument(
        "--memory",
        choices=("auto", "fast", "balanced", "low"),
        default="auto",
        help="memory of the network on the CPU: balanced is nearly as fast as fast, low is slower;"
        " auto is balanced, or low if little memory is free (default)",
    )
    memory.add_argument(
        "--low-memory",
        action="store_const",
        dest="memory",
        const="low",
        help="the same as --memory low",
    )
    parser.add_argument(
        "--compare", action="store_true", help="write the input and the result side by side"
    )
    parser.add_argument(
        "--keep-border-colors",
        action="store_true",
        help="colour white and black borders too (default: they stay grey and are not shown to "
        "the network)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--force",
        action="store_true",
        help="overwrite existing outputs, and colour files again that colorcv has coloured",
    )
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="skip inputs whose output exists, for instance to continue an interrupted run",
    )
    add_output_options(parser)


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``image``."""
    parser.add_argument(
        "--hint",
        action="append",
        type=steering.parse_hint,
        metavar="X,Y,COLOR",
        help="the colour of a place, #rrggbb or a CSS name; X,Y,COLOR,RADIUS for a disc; may be"
        " repeated",
    )
    parser.add_argument(
        "--steering",
        choices=("auto", "model", "regression"),
        default="auto",
        help="who spreads the hints: the model, if it takes hints (siggraph17), or a regression"
        " over its features",
    )
    parser.add_argument(
        "--hints", metavar="PNG", help="strokes: an image that is opaque where colours are painted"
    )
    parser.add_argument(
        "--variants",
        type=positive_int,
        metavar="N",
        help="write up to N different colourings, <stem>.color-1<suffix> and so on",
    )
    parser.add_argument(
        "--all-pages",
        action="store_true",
        help="colour every page of a TIFF into a TIFF of as many pages (default: the first page)",
    )
    parser.add_argument(
        "--max-pixels",
        type=positive_int,
        metavar="N",
        help="refuse larger images, most of them before decoding (default: COLORCV_MAX_PIXELS, or "
        "250 million)",
    )


def add_video_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``video``."""
    parser.add_argument(
        "--preview",
        type=positive_int,
        metavar="N",
        help="write N evenly spaced coloured frames (.png) instead of the video",
    )
    parser.add_argument(
        "--start", type=_seconds, metavar="T", help="start here: seconds, or 1:30, or 0:01:30.5"
    )
    parser.add_argument("--end", type=_seconds, metavar="T", help="end here, in the same form")
    parser.add_argument(
        "--hints-at",
        action="append",
        type=_hints_at,
        metavar="T=HINTS",
        help="the colours of a scene: the time of one of its frames, and strokes.png or"
        " X,Y,COLOR[,RADIUS] in that frame; may be repeated",
    )
    parser.add_argument(
        "--audio",
        choices=("auto", "keep", "none"),
        default="auto",
        help="auto keeps the audio if possible (default), keep fails if it cannot be kept, none"
        " drops it",
    )
    parser.add_argument(
        "--codec",
        type=lambda name: _CODEC_ALIASES.get(name.lower(), name.lower()),
        default="auto",
        metavar="C",
        help="auto (H.264; default), hevc, vp9, av1, ffv1...",
    )
    parser.add_argument(
        "--quality",
        type=_quality,
        metavar="Q",
        help="CRF: lower is better and larger; or lossless (needs PyAV)",
    )
    parser.add_argument(
        "--keyframe-interval",
        type=positive_int,
        metavar="N",
        help="run the network on every Nth frame and at cuts (default 8; up to 16 for large ONNX"
        " models)",
    )
    parser.add_argument(
        "--no-smooth", action="store_true", help="do not smooth the colours over time"
    )
    parser.add_argument(
        "--no-hold-colors",
        action="store_true",
        help="do not hold the colours of a scene to those of its earlier frames",
    )


def _quality(text: str) -> int | str:
    if text == "lossless":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or lossless, got {text!r}") from None


def _seconds(text: str) -> float:
    """Parse seconds, ``minutes:seconds`` or ``hours:minutes:seconds``, as ffmpeg does."""
    total = 0.0
    try:
        for part in text.split(":"):
            value = float(part)
            total = 60 * total + (value if value >= 0 else math.nan)
    except ValueError:
        total = math.nan
    if not total < math.inf or text.count(":") > 2:
        raise argparse.ArgumentTypeError(f"expected seconds, 1:30 or 0:01:30.5, got {text!r}")
    return total


def _hints_at(text: str) -> tuple[float, steering.HintArgument | str]:
    """Parse ``12.5=strokes.png`` or ``12.5=X,Y,COLOR``."""
    time, separator, hints = text.partition("=")
    if not separator or not hints:
        raise argparse.ArgumentTypeError(
            f"expected SECONDS=strokes.png or SECONDS=X,Y,#rrggbb, got {text!r}"
        )
    try:
        return _seconds(time), steering.parse_hint(hints)
    except argparse.ArgumentTypeError:
        return _seconds(time), hints


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1; raise ArgumentTypeError for anything else."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number
