"""The subcommands ``download`` and ``info``, and functions shared by all subcommands."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError, OptionError
from .console import Console
from .exit_codes import ExitCode
from .jobs import Batch, Job
from .progress import Activity, ProgressBar

if TYPE_CHECKING:
    from ..colorizer import Colorizer
    from ..models import OnnxModel

__all__ = [
    "chosen_model",
    "download",
    "exists_message",
    "info",
    "load_colorizer",
    "make_folder",
    "note_result",
    "note_skipped",
    "report_batch",
]


def download(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Download a model and print its folder."""
    console.result(str(_download_model(arguments.model, console)))
    return ExitCode.OK


def info(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print versions, devices and models, or what an ONNX file is."""
    from .info import collect_info, collect_onnx_info, format_info, format_onnx_info

    model = chosen_model(arguments)
    if not isinstance(model, str):
        found = collect_onnx_info(model)
        console.result(json.dumps(found, indent=2) if arguments.json else format_onnx_info(found))
        return ExitCode.OK
    collected = collect_info(verify=arguments.verify)
    console.result(json.dumps(collected, indent=2) if arguments.json else format_info(collected))
    wrong = [model for model in collected["models"] if model["state"] == "wrong"]
    return ExitCode.NO_MODEL if wrong else ExitCode.OK


def load_colorizer(arguments: argparse.Namespace, console: Console) -> Colorizer:
    """Download the model if necessary and build the network."""
    model = chosen_model(arguments)
    with Activity(console, f"loading {model}"):
        from ..colorizer import Colorizer
        from ..image.validation import check_saturation

    check_saturation(arguments.saturation)
    if isinstance(model, str):
        _download_model(model, console)
    with Activity(console, f"loading {model}"):
        colorizer = Colorizer(
            model,
            device=arguments.device,
            temperature=arguments.temperature,
            memory=arguments.memory,
        )
    if console.verbose:
        console.note(f"model {model} on {colorizer.device}: {colorizer.device_reason}")
    return colorizer


def chosen_model(arguments: argparse.Namespace) -> str | OnnxModel:
    """Return the model of --model or --onnx.

    Raises
    ------
    OptionError
        An option of --onnx was given without it.
    """
    given = {name: getattr(arguments, name) for name in ("preset", "size", "white")}
    if not arguments.onnx:
        wrong = [f"--{name}" for name, value in given.items() if value is not None]
        if wrong:
            raise OptionError(f"{wrong[0]} is for a model given with --onnx FILE")
        name: str = arguments.model
        return name
    from ..models import OnnxModel

    white = arguments.white
    if white is not None and arguments.preset not in ("ddcolor", "deoldify"):
        raise OptionError("--white needs --preset ddcolor or deoldify")
    return OnnxModel(
        arguments.onnx,
        arguments.preset,
        arguments.size,
        input_scale=white,
        output_scale=white if arguments.preset == "deoldify" else None,
    )


def _download_model(model: str, console: Console) -> Path:
    from ..models import download as download_model

    is_noted = False
    with ProgressBar(console, "B", f"downloading {model}") as bar:

        def progress(done: int, total: int, name: str) -> None:
            nonlocal is_noted
            if not (bar.done or done < total):
                return  # files that exist already are reported as complete at once
            if not console.has_progress and total > 1e5 and not is_noted:
                is_noted = True  # in a log, long silence looks like a hang
                console.note(f"downloading {name} ({total / 1e6:.1f} MB)")
            bar.update_to(done, total)

        try:
            return download_model(model, progress=progress)
        except KeyboardInterrupt:
            if bar.done:
                console.note("the download is kept; run the command again to resume it")
            raise


def exists_message(target: Path | None) -> str:
    """Return the error about an existing output."""
    return (
        f"{target} already exists; use --force to overwrite it or --skip-existing to colour only "
        "the other files"
    )


def make_folder(folder: Path) -> None:
    """Create the folder of an output, with its parents.

    Raises
    ------
    ImageError
        A file has the name of one of these folders.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as err:
        raise ImageError(f"cannot write into {folder}: it is, or lies in, a file") from err


def note_skipped(console: Console, source: Path | None, reason: str) -> None:
    """Print that an input was skipped."""
    console.note_listed("files skipped", f"skipped {source}: {reason}")


def note_result(console: Console, job: Job) -> None:
    """Print the path of a result, and why its format differs from the input's."""
    console.result(str(job.target))
    if job.note:
        console.note_listed("results of another format", job.note)


def report_batch(batch: Batch, console: Console, *, skip_existing: bool) -> ExitCode | None:
    """Print problems and skipped files; return an exit code if no job is left."""
    if skip_existing:
        batch.skip_existing()
    for problem in batch.problems:
        console.error(problem)
    for path, reason in batch.skipped:
        note_skipped(console, path, reason)
    if batch.existing:
        console.note(f"skipped {batch.existing} of the inputs: their outputs exist")
    if batch.jobs:
        return None
    console.note_counts()
    if batch.existing and not batch.problems:
        return ExitCode.OK
    if not batch.problems:
        console.error("nothing to colour: no usable input found")
    return ExitCode.SOME_FAILED
