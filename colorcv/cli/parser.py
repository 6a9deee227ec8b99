"""`main` and the argument parser of the command ``colorcv``.

``--help`` and ``--version`` import neither cv2 nor numpy.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import ColorcvError, DeviceError, DownloadError, ModelFormatError, OptionError
from . import commands, images, steering, videos
from .completion import SHELLS, PrintCompletion
from .console import Console, StandardOutputError
from .exit_codes import ExitCode
from .interrupts import interrupts_as_such
from .options import (
    add_common_options,
    add_image_options,
    add_model_options,
    add_onnx_options,
    add_output_options,
    add_video_options,
    positive_int,
)
from .streams import open_standard_streams

__all__ = ["main", "make_parser"]

COMMANDS = ("image", "video", "suggest", "download", "info")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code, an `ExitCode`."""
    open_standard_streams()
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
        if not arguments.verbose:  # errors of OpenCV are reported once, in plain words
            os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
        console = Console(quiet=arguments.quiet, verbose=arguments.verbose)
        with interrupts_as_such(), console.show_logs():
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
    """Let stdout print any file name: bytes unchanged if it is UTF-8, else escaped."""
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
    add_common_options(image)
    add_image_options(image)

    video = subcommands.add_parser("video", help="colour videos: files or folders")
    video.set_defaults(run=videos.video)
    video.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a video file, a folder or a pattern"
    )
    add_common_options(video)
    add_video_options(video)

    suggest = subcommands.add_parser("suggest", help="show plausible colours of a place")
    suggest.set_defaults(run=steering.suggest, saturation=1.0, temperature=None, memory="auto")
    suggest.set_defaults(onnx=None, preset=None, size=None, white=None)
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
        type=positive_int,
        default=5,
        metavar="N",
        help="colours at most (default 5)",
    )
    add_model_options(suggest)
    add_output_options(suggest)

    download = subcommands.add_parser("download", help="download a model before it is needed")
    download.set_defaults(run=commands.download)
    download.add_argument(
        "model", nargs="?", default="zhang2016", metavar="MODEL", help="zhang2016 (default) or lite"
    )
    add_output_options(download)

    info = subcommands.add_parser("info", help="show versions, devices and models")
    info.set_defaults(run=commands.info)
    info.set_defaults(model="zhang2016")
    add_onnx_options(info)
    info.add_argument("--json", action="store_true", help="print JSON")
    info.add_argument("--verify", action="store_true", help="hash the model files again")
    add_output_options(info)
    return parser
