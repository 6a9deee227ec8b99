"""What the commands of ``colorcv`` do, once their arguments are read."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._parallel import ordered_map
from ..errors import ImageError, VideoError
from .jobs import Job, Plan, plan
from .progress import Bar

if TYPE_CHECKING:
    from ..colorizer import Colorizer

__all__ = ["download", "image", "info", "video"]

OK, SOME_FAILED, USAGE, NO_MODEL = 0, 1, 2, 3

# A folder may hold a file of 50 kB that unpacks to gigabytes; this many pixels take two of them.
MAX_PIXELS = 250_000_000

PICTURES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"}
    | {".pnm", ".ppm", ".pxm", ".ras", ".sr", ".tif", ".tiff", ".webp"}
)
FILMS = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)


def _colorizer(arguments: argparse.Namespace) -> Colorizer:
    from ..colorizer import Colorizer
    from ..image.source import check_saturation

    check_saturation(arguments.saturation)
    _fetch(arguments.model)
    return Colorizer(
        arguments.model,
        device=arguments.device,
        temperature=arguments.temperature,
        low_memory=arguments.low_memory,
    )


def _fetch(model: str) -> Path:
    from ..models import download as download_model

    with Bar("B", model) as bar:
        return download_model(model, progress=lambda done, total, name: bar.to(done, total))


def _leave_to(command: str, suffixes: frozenset[str], todo: Plan) -> None:
    """Take out what another command is for."""
    others = [job for job in todo.jobs if job.source and job.source.suffix.lower() in suffixes]
    todo.problems += [f"{job.source}: this is for colorcv {command}" for job in others]
    todo.jobs = [job for job in todo.jobs if job not in others]


def _report(todo: Plan) -> None:
    for line in [*todo.problems, *todo.notes]:
        sys.stderr.write(f"colorcv: {line}\n")
    if todo.left_alone:
        sys.stderr.write(f"colorcv: {todo.left_alone} other files in the folders are left alone\n")


def image(arguments: argparse.Namespace) -> int:
    """Colour photos."""
    todo = plan(arguments.inputs, arguments.output, suffixes=PICTURES)
    _leave_to("video", FILMS, todo)
    _report(todo)
    if not todo.jobs:
        sys.stderr.write("colorcv: there is nothing to colour\n")
        return SOME_FAILED
    if any(job.target is None for job in todo.jobs) and sys.stdout.isatty():
        sys.stderr.write("colorcv: a picture is not written to a terminal; give -o FILE\n")
        return USAGE
    if "cv2" not in sys.modules:  # OpenCV reads it when it is loaded, and looks at headers
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(arguments.max_pixels)
    colorizer = _colorizer(arguments)
    failed = len(todo.problems)
    many = len(todo.jobs) > 1

    import cv2

    def attempt(job: Job) -> str | None:
        try:
            _color_one(job, colorizer, arguments)
        except (ImageError, OSError) as err:
            return str(err) or type(err).__name__
        except (MemoryError, cv2.error) as err:  # which do not say at what they failed
            return f"{job.source or 'standard input'}: {str(err) or 'it does not fit into memory'}"
        return None

    # While one picture is with the network, the next is read and the last is written.
    threads = 1 if arguments.low_memory else 2
    with Bar("files", "colouring", len(todo.jobs) if many else None) as bar:
        for done, problem in enumerate(
            ordered_map(attempt, todo.jobs, threads, name="colorcv-files"), 1
        ):
            target = todo.jobs[done - 1].target
            if problem is not None:
                failed += 1
                bar.say(f"colorcv: {problem}", error=True)
            elif target is not None:
                bar.say(str(target))
            if many:
                bar.to(done)
    return SOME_FAILED if failed else OK


def _color_one(job: Job, colorizer: Colorizer, arguments: argparse.Namespace) -> None:
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
    """Colour films, one after the other."""
    from ..video.api import default_output

    todo = plan(arguments.inputs, arguments.output, suffixes=FILMS, name=default_output)
    _leave_to("image", PICTURES, todo)
    piped = [job for job in todo.jobs if job.source is None or job.target is None]
    todo.problems += ["a film cannot be piped: name files" for _ in piped]
    todo.jobs = [job for job in todo.jobs if job not in piped]
    _report(todo)
    if not todo.jobs:
        sys.stderr.write("colorcv: there is nothing to colour\n")
        return SOME_FAILED
    colorizer = _colorizer(arguments)
    failed = len(todo.problems)
    for job in todo.jobs:
        try:
            color = _preview if arguments.preview else _film
            color(job, colorizer, arguments)
        except (VideoError, ImageError, OSError, MemoryError) as err:
            failed += 1
            sys.stderr.write(f"colorcv: {str(err) or type(err).__name__}\n")
    return SOME_FAILED if failed else OK


def _film(job: Job, colorizer: Colorizer, arguments: argparse.Namespace) -> None:
    from ..video.api import colorize_video

    assert job.source is not None
    assert job.target is not None
    job.target.parent.mkdir(parents=True, exist_ok=True)
    with Bar("frames", job.source.name) as bar:
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
            progress=bar.to,
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


def _preview(job: Job, colorizer: Colorizer, arguments: argparse.Namespace) -> None:
    from ..image import io as image_io
    from ..video.api import preview

    assert job.source is not None
    assert job.target is not None
    stills = preview(
        job.source, arguments.preview, colorizer=colorizer, saturation=arguments.saturation
    )
    job.target.parent.mkdir(parents=True, exist_ok=True)
    for number, (_, frame, colored) in enumerate(stills, 1):
        target = job.target.with_name(f"{job.target.stem}.{number:02}.png")
        picture = image_io.side_by_side(frame, colored) if arguments.compare else colored
        image_io.write_image(target, picture, overwrite=arguments.force)
        print(target)


def download(arguments: argparse.Namespace) -> int:
    """Fetch a model's files and print their folder."""
    print(_fetch(arguments.model))
    return OK


def info(arguments: argparse.Namespace) -> int:
    """Print versions, devices and models."""
    from .info import as_text, describe

    facts: dict[str, Any] = describe(verify=arguments.verify)
    print(json.dumps(facts, indent=2) if arguments.json else as_text(facts))
    wrong = [model for model in facts["models"] if model["state"] == "wrong"]
    return NO_MODEL if wrong else OK
