"""Which files to colour and where the results go: names and folders only, no pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OptionError

__all__ = ["Job", "Plan", "beside", "plan"]

# What the results are called beside their inputs: grandmother.jpg -> grandmother.color.jpg
MARK = ".color"


@dataclass(frozen=True)
class Job:
    """One input and its output; None is standard input, standard output."""

    source: Path | None
    target: Path | None


@dataclass
class Plan:
    """What is to be done, what cannot be, and what is left alone."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_alone: int = 0


def beside(source: Path) -> Path:
    """Name the result that stands beside its input: grandmother.jpg, grandmother.color.jpg."""
    return source.with_name(source.stem + MARK + source.suffix)


def plan(
    inputs: Sequence[str],
    output: str | None,
    *,
    suffixes: Collection[str],
    name: Callable[[Path], Path] = beside,
) -> Plan:
    """Pair inputs with outputs.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders (walked without following links) and ``-`` for standard input.
    output : str or None
        A file for a single input file, else a folder, in which the tree of an input folder is
        kept; ``-`` is standard output. None puts ``<stem>.color<suffix>`` beside each input.
    suffixes : collection of str
        What to take from folders, in lower case with the dot. Earlier results
        (``*.color.*``), hidden files and the output folder itself are passed over.
    name : callable
        Names the result that stands beside an input. Its suffix is also taken under a folder.

    Raises
    ------
    OptionError
        Several inputs, and an output that is named like a file; an empty name.
    """
    if output == "":
        raise OptionError("the output's name is empty")
    if output is not None and len(inputs) > 1 and output != "-" and not output.endswith("/"):
        out = Path(output)
        if out.is_file() or (out.suffix.lower() in suffixes and not out.is_dir()):
            raise OptionError(f"{len(inputs)} inputs need a folder, and -o {output} is a file")
    result = Plan()
    for source, target in _pairs(inputs, output, suffixes, name, result):
        result.jobs.append(Job(source, target))
    _refuse_clashes(result)
    return result


def _pairs(
    inputs: Sequence[str],
    output: str | None,
    suffixes: Collection[str],
    beside: Callable[[Path], Path],
    result: Plan,
) -> Iterator[tuple[Path | None, Path | None]]:
    def under(folder: Path, source: Path) -> Path:
        return (folder / source).with_suffix(beside(source).suffix)

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
            for found in _walk(source, out, suffixes, result):
                yield found, under(out, found.relative_to(source)) if out else beside(found)
        elif problem := _problem(given):
            result.problems.append(problem)
        elif to_stdout:
            yield source, None
        elif out is None and source.stem.endswith(MARK) and len(inputs) > 1:
            # What `*.jpg` finds in a folder the second time.
            result.notes.append(f"{source}: left alone, it is a result already")
        elif out is None:
            yield source, beside(source)
        elif _is_folder_name(output, inputs):
            yield source, under(out, Path(source.name))
        else:
            yield source, out


def _is_folder_name(output: str | None, inputs: Sequence[str]) -> bool:
    """Whether the output is meant as a folder: it is one, says so, or has to hold several."""
    assert output is not None
    return len(inputs) > 1 or output.endswith(("/", os.sep)) or _is_folder(Path(output))


def _is_folder(path: Path) -> bool:
    """Tell it of every name, also one that Path.is_dir raises for: too long, links in circles."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _problem(given: str) -> str:
    """Say why an input is not even there; an empty name would mean the folder we are in."""
    if not given:
        return "an input's name is empty"
    try:
        Path(given).stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{given}: there is no such file"
    except (OSError, ValueError) as err:
        return f"{given}: it cannot be read ({getattr(err, 'strerror', None) or err})"
    return ""


def _walk(
    folder: Path, out: Path | None, suffixes: Collection[str], result: Plan
) -> Iterator[Path]:
    def unreadable(err: OSError) -> None:
        result.problems.append(f"{err.filename}: this folder cannot be read ({err.strerror})")

    out_path = os.path.realpath(out) if out is not None else None
    for here, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(here, name)) != out_path
        )
        for name in sorted(files):
            path = Path(here, name)
            taken = path.suffix.lower() in suffixes and not name.startswith(".")
            if taken and not path.stem.endswith(MARK):
                yield path
            else:
                result.left_alone += 1


def _refuse_clashes(result: Plan) -> None:
    """Keep the first of several jobs with one target, and none whose target is an input."""
    # Not Path.resolve, which raises where links go in circles.
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
