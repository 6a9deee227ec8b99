"""The subcommands: image, video, download and info."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .._parallel import ordered_map
from ..errors import ImageError, VideoError
from .exit_codes import ExitCode
from .jobs import Batch, Job, plan_batch
from .progress import ProgressBar

if TYPE_CHECKING:
    from ..colorizer import Colorizer

__all__ = ["download", "image", "info", "video"]

# A file of 50 kB can decompress to gigabytes. 250 million pixels take about 2 GB while coloured.
MAX_PIXELS = 250_000_000

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"}
    | {".pnm", ".ppm", ".pxm", ".ras", ".sr", ".tif", ".tiff", ".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)


def _colorizer(arguments: argparse.Namespace) -> Colorizer:
    from ..colorizer import Colorizer
    from ..image.source import check_saturation

    check_saturation(arguments.saturation)
    _download_model(arguments.model)
    return Colorizer(
        arguments.model,
        device=arguments.device,
        temperature=arguments.temperature,
        low_memory=arguments.low_memory,
    )


def _download_model(model: str) -> Path:
    from ..models import download as download_model

    with ProgressBar("B", model) as bar:
        return download_model(model, progress=lambda done, total, name: bar.update_to(done, total))


def _reject_suffixes(command: str, suffixes: frozenset[str], batch: Batch) -> None:
    """Move inputs that another subcommand handles from the jobs to the problems."""
    others = [job for job in batch.jobs if job.source and job.source.suffix.lower() in suffixes]
    batch.problems += [f"{job.source}: this is for colorcv {command}" for job in others]
    batch.jobs = [job for job in batch.jobs if job not in others]


def _report(batch: Batch) -> None:
    for line in [*batch.problems, *batch.notes]:
        sys.stderr.write(f"colorcv: {line}\n")
    if batch.skipped:
        sys.stderr.write(f"colorcv: {batch.skipped} other files in the folders are left alone\n")


def image(arguments: argparse.Namespace) -> int:
    """Colour images."""
    batch = plan_batch(arguments.inputs, arguments.output, suffixes=IMAGE_SUFFIXES)
    _reject_suffixes("video", VIDEO_SUFFIXES, batch)
    _report(batch)
    if not batch.jobs:
        sys.stderr.write("colorcv: there is nothing to colour\n")
        return ExitCode.SOME_FAILED
    if any(job.target is None for job in batch.jobs) and sys.stdout.isatty():
        sys.stderr.write("colorcv: a picture is not written to a terminal; give -o FILE\n")
        return ExitCode.USAGE
    if "cv2" not in sys.modules:  # OpenCV reads the variable when it is loaded
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(arguments.max_pixels)
    colorizer = _colorizer(arguments)
    failed = len(batch.problems)
    has_bar = len(batch.jobs) > 1

    import cv2

    def try_job(job: Job) -> str | None:
        try:
            _colorize_image(job, colorizer, arguments)
        except (ImageError, OSError) as err:
            return str(err) or type(err).__name__
        except (MemoryError, cv2.error) as err:  # their messages do not name the file
            return f"{job.source or 'standard input'}: {str(err) or 'it does not fit into memory'}"
        return None

    # Two threads: one image is read or written while another is in the network.
    threads = 1 if arguments.low_memory else 2
    with ProgressBar("files", "colouring", len(batch.jobs) if has_bar else None) as bar:
        for done, problem in enumerate(
            ordered_map(try_job, batch.jobs, threads, name="colorcv-images"), 1
        ):
            target = batch.jobs[done - 1].target
            if problem is not None:
                failed += 1
                bar.write(f"colorcv: {problem}", error=True)
            elif target is not None:
                bar.write(str(target))
            if has_bar:
                bar.update_to(done)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _colorize_image(job: Job, colorizer: Colorizer, arguments: argparse.Namespace) -> None:
    from ..image import io as image_io

    if job.target is not None:
        image_io.check_output_path(job.target, overwrite=arguments.force)
    if job.source is None:
        photo = image_io.decode_image(sys.stdin.buffer.read(), "standard input")
    else:
        photo = image_io.read_image(job.source)
    height, width = photo.pixels.shape[:2]
    if height * width > arguments.max_pixels:
        raise ImageError(
            f"{job.source or 'standard input'} has {width}x{height} pixels, more than --max-pixels "
            f"{arguments.max_pixels}"
        )
    result = colorizer.colorize(photo.pixels, saturation=arguments.saturation)
    if arguments.compare:
        result = image_io.side_by_side(photo.pixels, result)
    if job.target is not None:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        image_io.write_image(job.target, result, photo.metadata, overwrite=arguments.force)
    else:
        suffix = ".png" if job.source is None else job.source.suffix
        sys.stdout.buffer.write(image_io.encode_image(suffix, result, photo.metadata))
        sys.stdout.buffer.flush()


def video(arguments: argparse.Namespace) -> int:
    """Colour videos, one after the other."""
    from ..video.api import default_output

    batch = plan_batch(
        arguments.inputs, arguments.output, suffixes=VIDEO_SUFFIXES, name=default_output
    )
    _reject_suffixes("image", IMAGE_SUFFIXES, batch)
    piped = [job for job in batch.jobs if job.source is None or job.target is None]
    batch.problems += ["a film cannot be piped: name files" for _ in piped]
    batch.jobs = [job for job in batch.jobs if job not in piped]
    _report(batch)
    if not batch.jobs:
        sys.stderr.write("colorcv: there is nothing to colour\n")
        return ExitCode.SOME_FAILED
    colorizer = _colorizer(arguments)
    failed = len(batch.problems)
    for job in batch.jobs:
        try:
            color = _write_preview if arguments.preview else _colorize_video
            color(job, colorizer, arguments)
        except (VideoError, ImageError, OSError, MemoryError) as err:
            failed += 1
            sys.stderr.write(f"colorcv: {str(err) or type(err).__name__}\n")
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _colorize_video(job: Job, colorizer: Colorizer, arguments: argparse.Namespace) -> None:
    from ..video.api import colorize_video

    assert job.source is not None
    assert job.target is not None
    job.target.parent.mkdir(parents=True, exist_ok=True)
    with ProgressBar("frames", job.source.name) as bar:
        result = colorize_video(
            job.source,
            job.target,
            colorizer=colorizer,
            keyframe_interval=arguments.keyframe_interval,
            smooth=not arguments.no_smooth,
            saturation=arguments.saturation,
            codec=arguments.codec,
            quality=arguments.quality,
            audio=arguments.audio,
            start=arguments.start,
            end=arguments.end,
            progress=bar.update_to,
            overwrite=arguments.force,
            compare=arguments.compare,
        )
    print(result.path)
    lines = [
        f"{result.frames} frames, {result.duration_s:.1f} s of film in {result.seconds:.1f} s "
        f"({result.frames_per_second:.1f} frames per second); the network ran "
        f"{result.network_runs} times, {result.scene_cuts} cuts",
        f"sound: {result.audio} ({result.audio_reason})",
        *result.notes,
    ]
    sys.stderr.write("".join(f"colorcv: {job.source.name}: {line}\n" for line in lines))


def _write_preview(job: Job, colorizer: Colorizer, arguments: argparse.Namespace) -> None:
    from ..image import io as image_io
    from ..video.api import preview

    assert job.source is not None
    assert job.target is not None
    samples = preview(
        job.source, arguments.preview, colorizer=colorizer, saturation=arguments.saturation
    )
    job.target.parent.mkdir(parents=True, exist_ok=True)
    for number, (_, frame, colored) in enumerate(samples, 1):
        target = job.target.with_name(f"{job.target.stem}.{number:02}.png")
        result_image = image_io.side_by_side(frame, colored) if arguments.compare else colored
        image_io.write_image(target, result_image, overwrite=arguments.force)
        print(target)


def download(arguments: argparse.Namespace) -> int:
    """Download a model and print its folder."""
    print(_download_model(arguments.model))
    return ExitCode.OK


def info(arguments: argparse.Namespace) -> int:
    """Print versions, devices and models."""
    from .info import collect_info, format_info

    collected = collect_info(verify=arguments.verify)
    print(json.dumps(collected, indent=2) if arguments.json else format_info(collected))
    wrong = [model for model in collected["models"] if model["state"] == "wrong"]
    return ExitCode.NO_MODEL if wrong else ExitCode.OK
