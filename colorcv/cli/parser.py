"""Arguments of the command ``colorcv``, and `main`.

``--help`` and ``--version`` import neither cv2 nor numpy.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import ColorcvError, DeviceError, DownloadError, ModelFormatError, OptionError
from . import commands
from .exit_codes import ExitCode

__all__ = ["main"]

COMMANDS = ("image", "video", "download", "info")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code, an `ExitCode`."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] not in COMMANDS and os.path.lexists(argv[0]):
        given = " ".join(argv)
        sys.stderr.write(f"colorcv: say which command: colorcv image {given}, or video\n")
        return ExitCode.USAGE
    arguments = _parser().parse_args(argv)
    _configure_stdout()
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("\ncolorcv: interrupted; files finished so far are complete\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except (DownloadError, ModelFormatError) as err:
        return _print_error(err, ExitCode.NO_MODEL)
    except (OptionError, DeviceError) as err:
        return _print_error(err, ExitCode.USAGE)
    except ColorcvError as err:
        return _print_error(err, ExitCode.SOME_FAILED)


def _configure_stdout() -> None:
    """Let stdout print any file name: undecodable bytes as they are, or escaped if not UTF-8."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        is_utf8 = stdout.encoding.lower().replace("-", "") == "utf8"
        stdout.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def _print_error(err: Exception, code: int) -> int:
    sys.stderr.write(f"colorcv: {err}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="colorcv",
        description="Colour black-and-white photos and films through OpenCV alone.",
    )
    parser.add_argument("--version", action="version", version=f"colorcv {__version__}")
    subcommands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    image = subcommands.add_parser("image", help="colour photos: files, folders, - for stdin")
    image.set_defaults(run=commands.image)
    image.add_argument("inputs", nargs="+", metavar="IN", help="a file, a folder, or -")
    image.add_argument(
        "--max-pixels",
        type=_positive_int,
        default=commands.MAX_PIXELS,
        metavar="N",
        help="refuse larger photos, most of them before they are unpacked (default 250 million)",
    )
    _add_common_options(image)

    video = subcommands.add_parser("video", help="colour films: files or folders")
    video.set_defaults(run=commands.video)
    video.add_argument("inputs", nargs="+", metavar="IN", help="a film or a folder")
    _add_common_options(video)
    _add_video_options(video)

    download = subcommands.add_parser(
        "download", help="fetch a model's files before they are needed"
    )
    download.set_defaults(run=commands.download)
    download.add_argument("model", nargs="?", default="zhang2016", metavar="MODEL")

    info = subcommands.add_parser("info", help="versions, devices and models, with reasons")
    info.set_defaults(run=commands.info)
    info.add_argument("--json", action="store_true", help="print it as JSON")
    info.add_argument("--verify", action="store_true", help="hash the model files again")
    return parser


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="a file for one input, else a folder (the tree of an input folder is kept);"
        " default: <stem>.color<suffix> beside each input; - is standard output, for photos",
    )
    parser.add_argument(
        "--model",
        default="zhang2016",
        metavar="M",
        help="zhang2016 (best, 129 MB fetched at first use; default) or lite (comes along)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="auto (default), cpu, cuda, cuda-fp16, opencl or opencl-fp16",
    )
    parser.add_argument(
        "--saturation",
        type=float,
        default=1.0,
        metavar="S",
        help="factor on the colours, 0..10: 1 the model's own (default), 0 none",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="above 0: lower is bolder, higher is duller (default: the model's own, about 0.38)",
    )
    parser.add_argument(
        "--low-memory", action="store_true", help="least memory for the network, slower"
    )
    parser.add_argument(
        "--compare", action="store_true", help="write before and after side by side"
    )
    parser.add_argument("--force", action="store_true", help="write over existing files")


def _add_video_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preview",
        type=_positive_int,
        metavar="N",
        help="write N evenly spaced coloured stills (.png) instead of the film",
    )
    parser.add_argument("--start", type=float, metavar="S", help="begin at this second")
    parser.add_argument("--end", type=float, metavar="S", help="end at this second")
    parser.add_argument(
        "--audio",
        choices=("auto", "keep", "none"),
        default="auto",
        help="auto keeps the sound where it can (default), keep or fail, or none",
    )
    parser.add_argument(
        "--codec",
        default="auto",
        metavar="C",
        help="auto (H.264; default), hevc, vp9, av1, ffv1...",
    )
    parser.add_argument(
        "--quality", type=int, metavar="Q", help="CRF: smaller is better and larger (needs PyAV)"
    )
    parser.add_argument(
        "--keyframe-interval",
        type=_positive_int,
        default=8,
        metavar="N",
        help="the network runs on every Nth frame and at cuts (default 8)",
    )
    parser.add_argument(
        "--no-smooth", action="store_true", help="do not steady the colours in time"
    )


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return number
