"""Input files paired with output paths."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._naming import OUTPUT_TAG, tagged_path
from ..errors import OptionError

__all__ = ["Batch", "Job", "default_output", "plan_batch"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Job:
    """An input file and its output path; None is standard input or standard output.

    `is_named` is True for the only input file of the command, False for a file of a folder or of
    several inputs. `note` is the reason why the result has another format than the input, or "".
    """

    source: Path | None
    target: Path | None
    is_named: bool = field(default=False, compare=False)
    note: str = field(default="", compare=False)


@dataclass
class Batch:
    """Jobs to run, errors of other inputs, skipped files with reasons, and existing outputs."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    existing: int = 0  # number of jobs dropped by `skip_existing`

    def skip_existing(self) -> None:
        """Drop the jobs whose output exists, and count them."""
        remaining = [
            job for job in self.jobs if job.target is None or not os.path.lexists(job.target)
        ]
        self.existing += len(self.jobs) - len(remaining)
        self.jobs = remaining


def default_output(source: Path) -> Path:
    """Return ``<stem>.color<suffix>`` beside the source."""
    return tagged_path(source, source.suffix)


def plan_batch(
    inputs: Sequence[str],
    output: str | None,
    *,
    suffixes: Collection[str],
    name: Callable[[Path], Path] = default_output,
    reasons: Mapping[str, str] | None = None,
) -> Batch:
    """Pair inputs with output paths.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders (searched recursively, without following links), patterns such as
        ``scans/*.jpg``, and ``-`` for standard input.
    output : str or None
        A file for a single input file, else a folder, in which the tree of an input folder is
        kept; ``-`` is standard output. None puts ``<stem>.color<suffix>`` beside each input.
    suffixes : collection of str
        Suffixes of the files to take from folders, in lower case with the dot. Earlier results
        (``*.color.*``), hidden files and the output folder itself are skipped.
    name : callable
        Returns the default output of an input. Its suffix is also used in an output folder.
    reasons : mapping, optional
        Suffixes that are refused, with the reason.

    Returns
    -------
    Batch

    Raises
    ------
    OptionError
        The output is not a usable name for these inputs.
    """
    batch = Batch()
    output = output and _expand_home(output)
    planner = _Planner(batch, suffixes, name, reasons or {})
    expanded = list(_expand_patterns(inputs, batch))
    has_many = len(expanded) > 1 or any(map(_is_folder, map(Path, filter(None, expanded))))
    _check_output(output, has_many, suffixes)
    for source, target in planner.iter_jobs(expanded, output, has_many):
        note = ""
        if source is not None and target is not None and target != Path(output or ""):
            note = _format_note(source, target, name)
        batch.jobs.append(Job(source, target, is_named=not has_many, note=note))
    _reject_conflicts(batch)
    return batch


def _format_note(source: Path, target: Path, name: Callable[[Path], Path]) -> str:
    """Return why the target has another suffix than the source, or "" if the user chose it."""
    suffix = name(source).suffix
    if suffix.lower() == source.suffix.lower() or target.suffix != suffix:
        return ""
    kind = source.suffix[1:].upper() or "a file without suffix"
    return f"{source}: cannot write {kind}; the result is {suffix[1:].upper()}"


def _expand_home(given: str) -> str:
    """Expand ~ where the shell does not: in quotes, and after ``--output=``."""
    if not given.startswith("~") or os.path.lexists(given):
        return given
    return os.path.expanduser(given)  # noqa: PTH111


def _expand_patterns(inputs: Sequence[str], batch: Batch) -> Iterator[str]:
    """Expand patterns that the shell has not: quoted ones and, on Windows, all."""
    for given in map(_expand_home, inputs):
        if not glob.has_magic(given) or _URL.match(given) or os.path.lexists(given):
            yield given
        elif found := sorted(glob.glob(given, recursive=True)):  # noqa: PTH207
            yield from found
        else:
            batch.problems.append(f"{given}: no file matches this pattern")


def _check_output(output: str | None, has_many: bool, suffixes: Collection[str]) -> None:
    if output is None or output == "-":
        return
    if not output:
        raise OptionError("the name after -o is empty")
    if _URL.match(output):
        raise OptionError(f"cannot write to a URL: -o {output}; write a file and upload it")
    out = Path(output)
    if output.endswith(("/", os.sep)) or _is_folder(out):
        return
    if has_many and (os.path.isfile(out) or out.suffix.lower() in suffixes):  # noqa: PTH113
        raise OptionError(f"several inputs need a folder, got the file name -o {output}")
    if not has_many and not out.suffix:
        raise OptionError(
            f"-o {output} has no suffix: use -o {output}.png (or .jpg, .mp4, ...) for a file, or "
            f"-o {output}/ for a folder"
        )


@dataclass
class _Planner:
    batch: Batch
    suffixes: Collection[str]
    name: Callable[[Path], Path]
    reasons: Mapping[str, str]

    def iter_jobs(
        self, inputs: Sequence[str], output: str | None, has_many: bool
    ) -> Iterator[tuple[Path | None, Path | None]]:
        out = Path(output) if output is not None and output != "-" else None
        is_into_folder = out is not None and output is not None and (
            has_many or output.endswith(("/", os.sep)) or _is_folder(out)
        )  # fmt: skip
        for given in inputs:
            source = Path(given)
            if given == "-":
                yield None, out / "stdin.png" if out and is_into_folder else out
            elif given and _is_folder(source):
                if output == "-":
                    self.batch.problems.append(
                        f"{source}: cannot write a folder to standard output; use -o FOLDER"
                    )
                    continue
                if out is not None and os.path.realpath(out) == os.path.realpath(source):
                    self.batch.problems.append(
                        f"{source}: the results would overwrite the inputs; use another -o, or "
                        "none to write them beside the inputs"
                    )
                    continue
                for found in self._iter_files(source, out):
                    yield found, self._target(found, out, found.relative_to(source))
            elif problem := self._input_error(given):
                self.batch.problems.append(problem)
            elif output == "-":
                yield source, None
            elif out is None and source.stem.endswith(OUTPUT_TAG) and len(inputs) > 1:
                # On a second run, the shell expands *.jpg to the results of the first too.
                self.batch.skipped.append((source, "result of an earlier run"))
            elif is_into_folder or out is None:
                yield source, self._target(source, out, Path(source.name))
            else:
                yield source, out

    def _target(self, source: Path, out: Path | None, relative: Path) -> Path:
        beside = self.name(source)
        return beside if out is None else (out / relative).with_suffix(beside.suffix)

    def _iter_files(self, folder: Path, out: Path | None) -> Iterator[Path]:
        def on_error(err: OSError) -> None:
            self.batch.problems.append(f"{err.filename}: cannot read this folder ({err.strerror})")

        skipped = self.batch.skipped
        out_path = os.path.realpath(out) if out is not None else None
        for root, folders, files in os.walk(folder, onerror=on_error):
            skipped += [
                (Path(root, name), "hidden folder")
                for name in sorted(folders)
                if name.startswith(".")
            ]
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and os.path.realpath(Path(root, name)) != out_path
            )
            for name in sorted(files):
                path = Path(root, name)
                if reason := self._skip_reason(path):
                    skipped.append((path, reason))
                else:
                    yield path

    def _skip_reason(self, path: Path) -> str:
        if path.name.startswith("."):
            return "hidden file"
        suffix = path.suffix.lower()
        if suffix in self.suffixes:
            return "result of an earlier run" if path.stem.endswith(OUTPUT_TAG) else ""
        return self.reasons.get(suffix, "not a supported file format")

    def _input_error(self, given: str) -> str:
        """Return why an input cannot be taken, or "". (Path("") would be the current folder.)"""
        if not given:
            return "the name of an input is empty"
        if given.lower().startswith("file://"):
            return f"{given}: URLs are not supported; give the path of the file"
        if _URL.match(given):
            return (
                f"{given}: URLs are not supported; download the file first (curl -L -O {given}) "
                "and give its name"
            )
        try:
            Path(given).stat()
        except (FileNotFoundError, NotADirectoryError):
            return f"{given}: no such file or folder"
        except (OSError, ValueError) as err:
            return f"{given}: cannot read this file ({getattr(err, 'strerror', None) or err})"
        if reason := self.reasons.get(Path(given).suffix.lower()):
            return f"{given}: {reason}"
        return ""


def _is_same_file(first: Path | None, second: Path | None) -> bool:
    if first is None or second is None:
        return first is second
    return os.path.realpath(first) == os.path.realpath(second)


def _is_folder(path: Path) -> bool:
    """Return `Path.is_dir`, or False where it raises: names too long, circular links."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _reject_conflicts(batch: Batch) -> None:
    """Keep the first of several jobs with the same target; drop jobs whose target is an input."""
    # Path.resolve raises on circular links; os.path.realpath does not.
    sources = {os.path.realpath(job.source) for job in batch.jobs if job.source is not None}
    targets: dict[str | None, Job] = {}
    for job in batch.jobs:
        key = os.path.realpath(job.target) if job.target is not None else None
        if key in sources:
            batch.problems.append(
                f"{job.source}: the result would overwrite the input {job.target}; use another -o"
            )
        elif key in targets:
            if _is_same_file(targets[key].source, job.source):
                continue  # the same input twice
            where = job.target or "standard output"
            batch.problems.append(f"{job.source}: the result of another input also goes to {where}")
        else:
            targets[key] = job
    batch.jobs = list(targets.values())
