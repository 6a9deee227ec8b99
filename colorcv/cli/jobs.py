"""Input files paired with output paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._naming import OUTPUT_TAG, tagged_path
from ..errors import OptionError

__all__ = ["Batch", "Job", "default_output", "plan_batch"]


@dataclass(frozen=True)
class Job:
    """An input file and its output path; None is standard input or standard output."""

    source: Path | None
    target: Path | None


@dataclass
class Batch:
    """Jobs to run, problems with other inputs, notes, and the number of files passed over."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: int = 0


def default_output(source: Path) -> Path:
    """Return ``<stem>.color<suffix>`` beside the source."""
    return tagged_path(source, source.suffix)


def plan_batch(
    inputs: Sequence[str],
    output: str | None,
    *,
    suffixes: Collection[str],
    name: Callable[[Path], Path] = default_output,
) -> Batch:
    """Pair inputs with output paths.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders (searched recursively, without following links) and ``-`` for standard
        input.
    output : str or None
        A file for a single input file, else a folder, which repeats the tree of an input folder;
        ``-`` is standard output. None puts ``<stem>.color<suffix>`` beside each input.
    suffixes : collection of str
        Suffixes of the files to take from folders, in lower case with the dot. Earlier results
        (``*.color.*``), hidden files and the output folder itself are passed over.
    name : callable
        Returns the default output of an input. Its suffix is also used in an output folder.

    Raises
    ------
    OptionError
        The output is an empty name, or a file where several inputs need a folder.
    """
    if output == "":
        raise OptionError("the output's name is empty")
    if output is not None and len(inputs) > 1 and output != "-" and not output.endswith("/"):
        out = Path(output)
        if out.is_file() or (out.suffix.lower() in suffixes and not out.is_dir()):
            raise OptionError(f"{len(inputs)} inputs need a folder, and -o {output} is a file")
    result = Batch()
    for source, target in _iter_jobs(inputs, output, suffixes, name, result):
        result.jobs.append(Job(source, target))
    _reject_conflicts(result)
    return result


def _iter_jobs(
    inputs: Sequence[str],
    output: str | None,
    suffixes: Collection[str],
    name: Callable[[Path], Path],
    result: Batch,
) -> Iterator[tuple[Path | None, Path | None]]:
    def output_under(folder: Path, source: Path) -> Path:
        return (folder / source).with_suffix(name(source).suffix)

    to_stdout = output == "-"
    out = Path(output) if output is not None and not to_stdout else None
    for given in inputs:
        source = Path(given)
        if given == "-":
            if out is not None and _is_folder_name(output, inputs):
                yield None, out / "stdin.png"
            else:
                yield None, out
        elif given and _is_folder(source):
            if to_stdout:
                result.problems.append(f"{source}: a folder cannot go to standard output")
                continue
            for found in _iter_files(source, out, suffixes, result):
                yield found, output_under(out, found.relative_to(source)) if out else name(found)
        elif problem := _input_error(given):
            result.problems.append(problem)
        elif to_stdout:
            yield source, None
        elif out is None and source.stem.endswith(OUTPUT_TAG) and len(inputs) > 1:
            # On a second run, the shell expands *.jpg to the results of the first too.
            result.notes.append(f"{source}: left alone, it is a result already")
        elif out is None:
            yield source, name(source)
        elif _is_folder_name(output, inputs):
            yield source, output_under(out, Path(source.name))
        else:
            yield source, out


def _is_folder_name(output: str | None, inputs: Sequence[str]) -> bool:
    """Return True if the output exists as a folder, ends with a slash, or has several inputs."""
    assert output is not None
    return len(inputs) > 1 or output.endswith(("/", os.sep)) or _is_folder(Path(output))


def _is_folder(path: Path) -> bool:
    """Return Path.is_dir, and False where that raises: names too long, circular links."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _input_error(given: str) -> str:
    """Return why an input cannot be opened, or "". (Path("") would be the current folder.)"""
    if not given:
        return "an input's name is empty"
    try:
        Path(given).stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{given}: there is no such file"
    except (OSError, ValueError) as err:
        return f"{given}: it cannot be read ({getattr(err, 'strerror', None) or err})"
    return ""


def _iter_files(
    folder: Path, out: Path | None, suffixes: Collection[str], result: Batch
) -> Iterator[Path]:
    def unreadable(err: OSError) -> None:
        result.problems.append(f"{err.filename}: this folder cannot be read ({err.strerror})")

    out_path = os.path.realpath(out) if out is not None else None
    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(root, name)) != out_path
        )
        for name in sorted(files):
            path = Path(root, name)
            taken = path.suffix.lower() in suffixes and not name.startswith(".")
            if taken and not path.stem.endswith(OUTPUT_TAG):
                yield path
            else:
                result.skipped += 1


def _reject_conflicts(result: Batch) -> None:
    """Keep the first of several jobs with the same target; drop jobs whose target is an input."""
    # Path.resolve raises on circular links; os.path.realpath does not.
    sources = {os.path.realpath(job.source) for job in result.jobs if job.source is not None}
    targets: dict[str | None, Job] = {}
    for job in result.jobs:
        key = os.path.realpath(job.target) if job.target is not None else None
        if key in sources:
            result.problems.append(f"{job.source}: the result would be written over {job.target}")
        elif key in targets:
            where = job.target or "standard output"
            result.problems.append(f"{job.source}: another input's result goes to {where} already")
        else:
            targets[key] = job
    result.jobs = list(targets.values())
