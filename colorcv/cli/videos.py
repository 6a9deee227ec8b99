"""The subcommand ``video``."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..errors import ImageError, VideoError
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
from .formats import VIDEO_SKIP_REASONS, VIDEO_SUFFIXES
from .jobs import Batch, Job, plan_batch
from .progress import Activity, ProgressBar
from .steering import video_hints

if TYPE_CHECKING:
    from ..colorizer import Colorizer

__all__ = ["video"]


def video(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Colour videos, one after the other."""
    from ..video import default_output

    batch = plan_batch(
        arguments.inputs,
        arguments.output,
        suffixes=VIDEO_SUFFIXES,
        name=default_output,
        reasons=VIDEO_SKIP_REASONS,
    )
    _reject_pipes(batch)
    is_preview = bool(arguments.preview)
    code = report_batch(batch, console, skip_existing=arguments.skip_existing and not is_preview)
    if code is not None:
        return code
    arguments.video_hints = video_hints(arguments, len(batch.jobs))
    colorizer = load_colorizer(arguments, console)
    if arguments.reference:
        from ..steering.editing import Reference

        arguments.reference = Reference(colorizer, arguments.reference)
    failed = len(batch.problems)
    for job in batch.jobs:
        assert job.target is not None  # `_reject_pipes`
        try:
            make_folder(job.target.parent)
            colorize = _write_preview if is_preview else _colorize_video
            colorize(job, colorizer, arguments, console)
        except (VideoError, ImageError) as err:
            failed += 1
            is_existing = isinstance(err.__cause__, FileExistsError)
            console.error(exists_message(job.target) if is_existing else str(err))
        except OSError as err:
            failed += 1
            console.error(f"{err.filename or job.source}: {err.strerror or err}")
        except MemoryError as err:
            failed += 1
            console.error(f"{job.source}: {str(err) or 'not enough memory'}")
    console.note_counts()
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _reject_pipes(batch: Batch) -> None:
    piped = [job for job in batch.jobs if job.source is None or job.target is None]
    if piped:
        batch.problems.append("videos cannot be piped; give the names of files")
    batch.jobs = [job for job in batch.jobs if job not in piped]


def _colorize_video(
    job: Job,
    colorizer: Colorizer,
    arguments: argparse.Namespace,
    console: Console,
) -> None:
    from ..video import colorize_video

    source, target = job.source, job.target
    assert source is not None
    assert target is not None
    if not arguments.force and os.path.lexists(target):
        raise VideoError(exists_message(target))
    with ExitStack() as waiting, ProgressBar(console, "frames", source.name) as bar:
        if arguments.video_hints:  # the file is first read up to the last one
            waiting.enter_context(Activity(console, f"{source.name}: reading up to the hints"))

        def show_progress(done: int, total: int | None) -> None:
            waiting.close()
            bar.update_to(done, total)

        result = colorize_video(
            source,
            target,
            colorizer=colorizer,
            keyframe_interval=arguments.keyframe_interval,
            smooth=not arguments.no_smooth,
            hold_colors=not arguments.no_hold_colors,
            saturation=arguments.saturation,
            hints=arguments.video_hints,
            reference=arguments.reference,
            reference_strength=arguments.reference_strength,
            codec=arguments.codec,
            quality=arguments.quality,
            audio=arguments.audio,
            start=arguments.start,
            end=arguments.end,
            progress=show_progress,
            overwrite=arguments.force,
            compare=arguments.compare,
            ignore_border=False if arguments.keep_border_colors else "auto",
        )
    note_result(console, job)
    console.note(
        f"{source.name}: {result.frames} frames ({result.duration_s:.1f} s of video) in "
        f"{result.seconds:.1f} s, {result.frames_per_second:.1f} frames per second; "
        f"{result.network_runs} network runs, {result.scene_cuts} scene cuts"
    )
    console.note(f"{source.name}: audio: {result.audio} ({result.audio_reason})")


def _write_preview(
    job: Job,
    colorizer: Colorizer,
    arguments: argparse.Namespace,
    console: Console,
) -> None:
    from ..image import io as image_io
    from ..video import preview

    source, target = job.source, job.target
    assert source is not None
    assert target is not None
    samples = preview(
        source,
        arguments.preview,
        colorizer=colorizer,
        saturation=arguments.saturation,
        reference=arguments.reference,
        reference_strength=arguments.reference_strength,
        ignore_border=False if arguments.keep_border_colors else "auto",
    )
    for number, (_, frame, colored) in enumerate(samples, 1):
        path = target.with_name(f"{target.stem}.{number:02}.png")
        if os.path.lexists(path) and not arguments.force:
            if arguments.skip_existing:
                note_skipped(console, path, "output exists")
                continue
            raise ImageError(exists_message(path))
        result = image_io.side_by_side(frame, colored) if arguments.compare else colored
        image_io.write_image(path, result, overwrite=arguments.force)
        console.result(str(path))
