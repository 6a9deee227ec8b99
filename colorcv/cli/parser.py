"""Arguments of the command ``colorcv``, and `main`.

``--help`` and ``--version`` import neither cv2 nor numpy.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import ColorcvError, DeviceError, DownloadError, ModelFormatError, OptionError
from ..image.limits import MAX_PIXELS
from . import commands, images, steering, videos
from .completion import SHELLS, PrintCompletion
from .console import Console, StandardOutputError
from .exit_codes import ExitCode

__all__ = ["main", "make_parser"]

_CODEC_ALIASES = {"h265": "hevc", "x265": "hevc", "x264": "h264", "avc": "h264"}
COMMANDS = ("image", "video", "suggest", "download", "info")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code, an `ExitCode`."""
    argv = sys.argv[1:] if argv is None else list(argv)
    console = Console()
    try:
        if argv and argv[0] not in COMMANDS and ("://" in argv[0] or os.path.lexists(argv[0])):
            program, given = _program(), " ".join(argv)
            console.error(f"missing subcommand: use {program} image {given}, or {program} video")
            return ExitCode.USAGE
        if not argv:
            make_parser().print_help(sys.stderr)
            return ExitCode.USAGE
        if argv[0] == "help":
            argv = [*argv[1:], "--help"]
        arguments = make_parser().parse_args(argv)
        _configure_stdout()
        console = Console(quiet=arguments.quiet, verbose=arguments.verbose)
        with console.show_logs():
            return int(arguments.run(arguments, console))
    except KeyboardInterrupt:
        sys.stderr.write("\ncolorcv: interrupted; the files written so far are complete\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        _discard_stdout()
        return ExitCode.OK
    except StandardOutputError as err:
        _discard_stdout()
        console.error(str(err))
        return ExitCode.SOME_FAILED
    except (DownloadError, ModelFormatError) as err:
        console.error(str(err))
        return ExitCode.NO_MODEL
    except (OptionError, DeviceError) as err:
        console.error(str(err))
        return ExitCode.USAGE
    except ColorcvError as err:
        console.error(str(err))
        return ExitCode.SOME_FAILED


def _discard_stdout() -> None:
    """Let the interpreter flush standard output at its end without another error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _program() -> str:
    return "python -m colorcv" if Path(sys.argv[0]).name == "__main__.py" else "colorcv"


def _configure_stdout() -> None:
    """Let stdout print any file name: undecodable bytes as they are, or escaped if not UTF-8."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        is_utf8 = stdout.encoding.lower().replace("-", "") == "utf8"
        stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog=_program(),
        description="Colour black-and-white photos and videos with OpenCV alone.",
        epilog="Exit codes: 0 success, 1 some file failed, 2 wrong arguments, 3 the model is not "
        "available, 130 interrupted.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"colorcv {__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        help="print the script that completes arguments in bash, zsh or fish",
    )
    subcommands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    image = subcommands.add_parser("image", help="colour photos: files, folders, - for stdin")
    image.set_defaults(run=images.image)
    image.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a file, a folder, a pattern or -"
    )
    _add_common_options(image)
    _add_image_options(image)

    video = subcommands.add_parser("video", help="colour videos: files or folders")
    video.set_defaults(run=videos.video)
    video.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a video file, a folder or a pattern"
    )
    _add_common_options(video)
    _add_video_options(video)

    suggest = subcommands.add_parser("suggest", help="show plausible colours of a place")
    suggest.set_defaults(run=steering.suggest, saturation=1.0, temperature=None, low_memory=False)
    suggest.add_argument("input", metavar="INPUT", help="an image file")
    suggest.add_argument(
        "place",
        type=steering.parse_place,
        metavar="X,Y",
        help="column and row, in pixels of the upright image",
    )
    suggest.add_argument(
        "-n",
        "--count",
        type=_positive_int,
        default=5,
        metavar="N",
        help="colours at most (default 5)",
    )
    _add_model_options(suggest)
    _add_output_options(suggest)

    download = subcommands.add_parser("download", help="download a model before it is needed")
    download.set_defaults(run=commands.download)
    download.add_argument(
        "model", nargs="?", default="zhang2016", metavar="MODEL", help="zhang2016 (default) or lite"
    )
    _add_output_options(download)

    info = subcommands.add_parser("info", help="show versions, devices and models")
    info.set_defaults(run=commands.info)
    info.add_argument("--json", action="store_true", help="print JSON")
    info.add_argument("--verify", action="store_true", help="hash the model files again")
    _add_output_options(info)
    return parser


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-v", "--verbose", action="store_true", help="print more about the work")
    group.add_argument(
        "-q", "--quiet", action="store_true", help="print errors and results only, no progress"
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="zhang2016",
        metavar="M",
        help="zhang2016 (best, 129 MB, downloaded on first use; default) or lite (bundled)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="auto (default), cpu, cuda, cuda-fp16, opencl or opencl-fp16",
    )


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="a file for one input, or a folder, created if necessary (an input folder's tree is"
        " kept); default: <stem>.color<suffix> beside each input; - is standard output, for"
        " images",
    )
    _add_model_options(parser)
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
        "--low-memory", action="store_true", help="use the least memory for the network; slower"
    )
    parser.add_argument(
        "--compare", action="store_true", help="write the input and the result side by side"
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
    _add_output_options(parser)


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hint",
        action="append",
        type=steering.parse_hint,
        metavar="X,Y,COLOR",
        help="the colour of a place, #rrggbb or a CSS name; X,Y,COLOR,RADIUS for a disc; may be"
        " repeated",
    )
    parser.add_argument(
        "--hints", metavar="PNG", help="strokes: an image that is opaque where colours are painted"
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
    parser.add_argument(
        "--variants",
        type=_positive_int,
        metavar="N",
        help="write up to N different colourings, <stem>.color-1<suffix> and so on",
    )
    parser.add_argument(
        "--keep-border-colors",
        action="store_true",
        help="colour white and black borders too (default: they stay grey and are not shown to "
        "the network)",
    )
    parser.add_argument(
        "--all-pages",
        action="store_true",
        help="colour every page of a TIFF into a TIFF of as many pages (default: the first page)",
    )
    parser.add_argument(
        "--max-pixels",
        type=_positive_int,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse larger images, most of them before decoding (default 250 million)",
    )


def _add_video_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preview",
        type=_positive_int,
        metavar="N",
        help="write N evenly spaced coloured frames (.png) instead of the video",
    )
    parser.add_argument(
        "--start", type=_seconds, metavar="T", help="start here: seconds, or 1:30, or 0:01:30.5"
    )
    parser.add_argument("--end", type=_seconds, metavar="T", help="end here, in the same form")
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
        type=_positive_int,
        default=8,
        metavar="N",
        help="run the network on every Nth frame and at cuts (default 8)",
    )
    parser.add_argument(
        "--no-smooth", action="store_true", help="do not smooth the colours over time"
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


def _positive_int(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number
