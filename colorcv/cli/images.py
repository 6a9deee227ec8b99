"""The subcommand ``image``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .. import __version__
from .._naming import tagged_path
from .._parallel import ordered_map
from ..errors import ImageError
from ..image.limits import default_limit
from .commands import (
    exists_message,
    load_colorizer,
    make_folder,
    note_result,
    note_skipped,
    report_batch,
)
from .console import Console
from .exit_codes import ExitCode
from .formats import image_skip_reasons, image_suffixes
from .jobs import Job, plan_batch
from .progress import Activity, ProgressBar
from .steering import Steering, variant_path

if TYPE_CHECKING:
    from .._typing import AnyArray
    from ..colorizer import Colorizer
    from ..image.io import ImageFile

__all__ = ["image"]

_SOFTWARE = f"colorcv {__version__}"  # marks results, so that later runs can skip them


def image(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Colour images."""
    if arguments.max_pixels is None:
        arguments.max_pixels = default_limit()
    if "cv2" not in sys.modules:  # OpenCV reads the variable when it is loaded
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(arguments.max_pixels)
    batch = plan_batch(
        arguments.inputs,
        arguments.output,
        suffixes=image_suffixes(),
        name=_writable_output,
        reasons=image_skip_reasons(),
    )
    code = report_batch(batch, console, skip_existing=arguments.skip_existing)
    if code is not None:
        return code
    if any(job.target is None for job in batch.jobs) and sys.stdout.isatty():
        console.error("cannot write an image to the terminal; use -o FILE or a pipe")
        return ExitCode.USAGE
    steering = Steering(arguments, len(batch.jobs))
    if arguments.variants and any(job.target is None for job in batch.jobs):
        console.error("cannot write --variants to standard output; use -o FILE")
        return ExitCode.USAGE
    colorizer = load_colorizer(arguments, console)
    steering.prepare(colorizer)
    runner = _Runner(colorizer, steering, arguments, console)
    failed, skipped = len(batch.problems), 0
    # With two threads, one image is read or written while the network runs on another.
    threads = 1 if colorizer.memory == "low" else 2
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
                skipped += 1
                note_skipped(console, job.source, outcome.skip_reason)
            elif outcome.paths:
                for path in outcome.paths:
                    console.result(str(path))
            elif job.target is not None:
                note_result(console, job)
            if not is_single:
                bar.update_to(done)
    console.note_counts()
    if skipped == len(batch.jobs) and not arguments.skip_existing:
        console.error("nothing to colour: no usable input found")
        failed += 1
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
    if source.suffix.lower() == ".jfif":  # another name of JPEG, which OpenCV does not know
        return tagged_path(source, ".jpg")
    return tagged_path(source, source.suffix if _is_writable(source.suffix) else ".png")


class _Outcome(NamedTuple):
    error: str = ""
    skip_reason: str = ""
    paths: tuple[Path, ...] = ()  # of variants


class _SkippedError(Exception):
    """An input is skipped; the message is the reason."""


class _Runner:
    """Colours the images of jobs; `try_job` may be called from several threads."""

    def __init__(
        self,
        colorizer: Colorizer,
        steering: Steering,
        arguments: argparse.Namespace,
        console: Console,
    ) -> None:
        self._colorizer, self._steering = colorizer, steering
        self._arguments, self._console = arguments, console

    def try_job(self, job: Job) -> _Outcome:
        """Colour one image; return the error or the reason for skipping it, if any."""
        import cv2

        from ..image.limits import TooManyPixelsError

        name = job.source or "standard input"
        try:
            return _Outcome(paths=self._colorize_image(job))
        except _SkippedError as err:
            return _Outcome(skip_reason=str(err))
        except TooManyPixelsError as err:
            return _Outcome(
                f"{err.name} has {err.width}x{err.height} pixels, more than --max-pixels "
                f"{err.limit}"
            )
        except ImageError as err:
            return _Outcome(str(err))
        except OSError as err:
            return _Outcome(f"{err.filename or name}: {err.strerror or err}")
        except (MemoryError, cv2.error) as err:  # their messages do not name the file
            return _Outcome(f"{name}: {str(err) or 'not enough memory'}")

    def _colorize_image(self, job: Job) -> tuple[Path, ...]:
        """Colour one image and write it; return the paths of variants."""
        from ..image import io as image_io
        from ..image.pages import count_pages, decode_pages

        arguments = self._arguments
        if not arguments.variants:
            self._check_existing(job.target)
        name = "standard input" if job.source is None else str(job.source)
        data = sys.stdin.buffer.read() if job.source is None else image_io.read_file(job.source)
        if arguments.all_pages and count_pages(data) > 1:
            self._colorize_pages(job, decode_pages(data, name, max_pixels=arguments.max_pixels))
            return ()
        photo = image_io.decode_image(data, name, max_pixels=arguments.max_pixels)
        self._check_input(photo, job)
        if arguments.variants and job.target is not None:
            return self._write_variants(photo, job.target)
        result = self._colorize(photo)
        if job.target is None:
            is_writable = job.source is not None and _is_writable(job.source.suffix)
            suffix = job.source.suffix if job.source is not None and is_writable else ".png"
            encoded = image_io.encode_image(suffix, result, photo.metadata, software=_SOFTWARE)
            self._console.result_bytes(encoded)
            return ()
        with self._target_folder(job.target):
            image_io.write_image(
                job.target,
                result,
                photo.metadata,
                overwrite=arguments.force,
                software=_SOFTWARE,
            )
        return ()

    def _write_variants(self, photo: ImageFile, target: Path) -> tuple[Path, ...]:
        from ..image import io as image_io

        arguments = self._arguments
        paths = [variant_path(target, number + 1) for number in range(arguments.variants)]
        for path in paths:
            self._check_existing(path)
        results = self._colorizer.variants(
            photo, arguments.variants, saturation=arguments.saturation
        )
        for path, result in zip(paths, results, strict=False):
            with self._target_folder(path):
                image_io.write_image(
                    path, result, photo.metadata, overwrite=arguments.force, software=_SOFTWARE
                )
        return tuple(paths[: len(results)])

    def _colorize_pages(self, job: Job, pages: Iterator[ImageFile]) -> None:
        from ..image.pages import write_pages

        if job.target is None or job.target.suffix.lower() not in (".tif", ".tiff"):
            target = job.target or "standard output"
            raise ImageError(
                f"{job.source or 'standard input'}: --all-pages writes TIFF only, got -o {target}"
            )
        first = next(pages)
        self._check_input(first, job)
        with self._target_folder(job.target):
            write_pages(
                job.target,
                (self._colorize(page) for page in chain([first], pages)),
                overwrite=self._arguments.force,
                software=_SOFTWARE,
            )

    def _check_input(self, photo: ImageFile, job: Job) -> None:
        """Skip earlier results; refuse outputs that cannot be written."""
        from ..image import io as image_io

        is_found = job.source is not None and not job.is_named
        if is_found and photo.software.startswith("colorcv") and not self._arguments.force:
            raise _SkippedError("result of an earlier run; use --force to colour it again")
        if job.target is not None:  # checked after reading: an unreadable input is reported first
            image_io.check_output_path(job.target, overwrite=True)
        if photo.pages > 1:
            self._console.note_once("use --all-pages to colour all pages of a TIFF")

    def _colorize(self, photo: ImageFile) -> AnyArray:
        from ..image import io as image_io

        arguments = self._arguments
        result = self._steering.colorize(self._colorizer, photo)
        return image_io.side_by_side(photo.pixels, result) if arguments.compare else result

    @contextmanager
    def _target_folder(self, target: Path) -> Iterator[None]:
        """Create the folder of an output; report outputs that another process has written."""
        make_folder(target.parent)
        try:
            yield
        except ImageError:
            self._check_existing(target)
            raise

    def _check_existing(self, target: Path | None) -> None:
        if target is None or self._arguments.force or not os.path.lexists(target):
            return
        if self._arguments.skip_existing:
            raise _SkippedError("output exists")
        raise ImageError(exists_message(target))
