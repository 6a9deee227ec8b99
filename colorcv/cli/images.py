"""The subcommand ``image``."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .._naming import tagged_path
from .._parallel import ordered_map
from ..errors import ImageError
from .commands import exists_message, load_colorizer, report_batch
from .console import Console
from .exit_codes import ExitCode
from .formats import IMAGE_SKIP_REASONS, IMAGE_SUFFIXES
from .jobs import Job, plan_batch
from .progress import Activity, ProgressBar

if TYPE_CHECKING:
    from ..colorizer import Colorizer

__all__ = ["MAX_PIXELS", "image"]

# A file of 50 kB can decompress to gigabytes. 250 million pixels take about 2 GB while coloured.
MAX_PIXELS = 250_000_000


def image(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Colour images."""
    if "cv2" not in sys.modules:  # OpenCV reads the variable when it is loaded
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(arguments.max_pixels)
    batch = plan_batch(
        arguments.inputs,
        arguments.output,
        suffixes=IMAGE_SUFFIXES,
        name=_writable_output,
        reasons=IMAGE_SKIP_REASONS,
    )
    code = report_batch(batch, console, skip_existing=arguments.skip_existing)
    if code is not None:
        return code
    if any(job.target is None for job in batch.jobs) and sys.stdout.isatty():
        console.error("cannot write an image to the terminal; use -o FILE or a pipe")
        return ExitCode.USAGE
    runner = _Runner(load_colorizer(arguments, console), arguments, console)
    failed = len(batch.problems)
    # Two threads: one image is read or written while another is in the network.
    threads = 1 if arguments.low_memory else 2
    is_single = len(batch.jobs) == 1
    label = f"colouring {batch.jobs[0].source or 'standard input'}"
    with (
        ProgressBar(console, "files", "colouring", len(batch.jobs)) as bar,
        Activity(console, label) if is_single else nullcontext(),
    ):
        outcomes = ordered_map(runner.try_job, batch.jobs, threads, name="colorcv-images")
        for done, (job, outcome) in enumerate(zip(batch.jobs, outcomes, strict=True), 1):
            if outcome.error:
                failed += 1
                console.error(outcome.error)
            elif outcome.skip_reason:
                console.note(f"skipped {job.source}: {outcome.skip_reason}")
            elif job.target is not None:
                console.result(str(job.target))
            if not is_single:
                bar.update_to(done)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _is_writable(suffix: str) -> bool:
    from ..image import io as image_io

    try:
        image_io.check_output_path(f"image{suffix}", overwrite=True)
    except ImageError:
        return False
    return True


def _writable_output(source: Path) -> Path:
    """Return ``<stem>.color<suffix>``, or ``<stem>.color.png`` for formats without colour."""
    return tagged_path(source, source.suffix if _is_writable(source.suffix) else ".png")


class _Outcome(NamedTuple):
    error: str = ""
    skip_reason: str = ""


class _SkippedError(Exception):
    """The input is not coloured, with the reason."""


class _Runner:
    """Colours the image of one job after the other; used from several threads."""

    def __init__(
        self, colorizer: Colorizer, arguments: argparse.Namespace, console: Console
    ) -> None:
        self._colorizer, self._arguments, self._console = colorizer, arguments, console

    def try_job(self, job: Job) -> _Outcome:
        """Colour one image; tell if that failed or was skipped."""
        import cv2

        name = job.source or "standard input"
        try:
            self._colorize_image(job)
        except _SkippedError as err:
            return _Outcome(skip_reason=str(err))
        except ImageError as err:
            return _Outcome(str(err))
        except OSError as err:
            return _Outcome(f"{err.filename or name}: {err.strerror or err}")
        except (MemoryError, cv2.error) as err:  # their messages do not name the file
            return _Outcome(f"{name}: {str(err) or 'not enough memory'}")
        return _Outcome()

    def _colorize_image(self, job: Job) -> None:
        from ..image import io as image_io

        arguments = self._arguments
        self._check_existing(job.target)
        if job.source is None:
            photo = image_io.decode_image(sys.stdin.buffer.read(), "standard input")
        else:
            photo = image_io.read_image(job.source)
        if job.target is not None:  # after reading: an unreadable input is named as such
            image_io.check_output_path(job.target, overwrite=True)
        height, width = photo.pixels.shape[:2]
        if height * width > arguments.max_pixels:
            raise ImageError(
                f"{job.source or 'standard input'} has {width}x{height} pixels, more than "
                f"--max-pixels {arguments.max_pixels}"
            )
        result = self._colorizer.colorize(photo.pixels, saturation=arguments.saturation)
        if arguments.compare:
            result = image_io.side_by_side(photo.pixels, result)
        if job.target is None:
            is_writable = job.source is not None and _is_writable(job.source.suffix)
            suffix = job.source.suffix if job.source is not None and is_writable else ".png"
            sys.stdout.buffer.write(image_io.encode_image(suffix, result, photo.metadata))
            sys.stdout.buffer.flush()
            return
        job.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            image_io.write_image(job.target, result, photo.metadata, overwrite=arguments.force)
        except ImageError:
            self._check_existing(job.target)  # another process may have written it meanwhile
            raise

    def _check_existing(self, target: Path | None) -> None:
        if target is None or self._arguments.force or not os.path.lexists(target):
            return
        if self._arguments.skip_existing:
            raise _SkippedError("output exists")
        raise ImageError(exists_message(target))
