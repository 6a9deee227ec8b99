"""Run a target on many inputs: `python -m tests.fuzz.run TARGET COUNT [--seed S] [--coverage]`.

The seed and an input's index determine its random numbers, so that each can be made again.
Inputs run in a child process, so that one that kills the process is found too. Findings are written
to `fuzz-findings/` and make the exit code 1. `--coverage` is guided by atheris (pip install
atheris), with the same mutations.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS, Target

__all__ = ["Result", "run_input", "run_inputs"]

MAX_MEMORY_MB = 50  # that one input may take, above the size of the file
MAX_S = 1.0  # of CPU time
# Beyond these, for what the target returned: copies while it was made, and time for each byte.
COPIES = 4
RESULT_MB_PER_S = 100
TIMEOUT_S = 20  # of CPU time, after which the child is killed
FINDINGS = Path("fuzz-findings")

Result = dict[str, Any]
EMPTY_RESULT: Result = {
    "tried": 0,
    "accepted": 0,
    "slowest_s": 0.0,
    "largest_mb": 0.0,  # that one input took
    "grown_mb": 0.0,  # by which the process ended higher than after its first input
}


def run_input(target: Target, path: Path) -> tuple[bool, str, float]:
    """Run one input; return whether it was accepted, the problem or "", and the MB it took."""
    before = _reset_peak_mb()
    start = time.process_time()
    accepted, problem, result_mb = False, "", 0.0
    try:
        result = target.run(path)
        result_mb = result / 1e6 if isinstance(result, int) else 0.0
        accepted = True
    except target.allowed as err:
        if not str(err).strip():
            problem = "an error without a message"
    except Exception:
        problem = traceback.format_exc(limit=-4)
    seconds = time.process_time() - start
    grown = _peak_mb() - before
    if not problem and seconds > MAX_S + result_mb / RESULT_MB_PER_S:
        problem = f"{seconds:.1f} s"
    if not problem and grown > MAX_MEMORY_MB + path.stat().st_size / 1e6 + COPIES * result_mb:
        problem = f"{grown:.0f} MB more than before"
    return accepted, problem, grown


def run_inputs(
    name: str, seed: int, first: int, stop: int, folder: Path, *, timeout_s: float = 0
) -> Result:
    """Run inputs `first` to `stop`; one that takes `timeout_s` of CPU time ends the process."""
    target = TARGETS[name]
    path = folder / "input"
    (folder / "index").write_text(str(first))
    path.write_bytes(b"")
    result: Result = {**EMPTY_RESULT, "findings": []}
    first_mb = 0.0
    for index in range(first, stop):
        data = target.make(random.Random(f"{seed}/{index}"))
        path.write_bytes(data)
        (folder / "index").write_text(str(index))
        if timeout_s:
            signal.setitimer(signal.ITIMER_VIRTUAL, timeout_s)
        start = time.process_time()
        accepted, problem, largest_mb = run_input(target, path)
        result["slowest_s"] = max(result["slowest_s"], time.process_time() - start)
        first_mb = first_mb or _peak_mb()  # after the first input has imported everything
        if index > first:
            result["largest_mb"] = max(result["largest_mb"], round(largest_mb, 1))
        result["tried"] += 1
        result["accepted"] += accepted
        if problem:
            result["findings"].append(_save_finding(name, seed, index, data, problem))
            if len(result["findings"]) >= 20:
                break
    result["grown_mb"] = round(_reset_peak_mb() - first_mb, 1)
    return result


def _reset_peak_mb() -> float:
    """Let the peak begin again at what the process holds now, where Linux can; return the peak."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    if sys.platform == "win32":
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _save_finding(name: str, seed: int, index: int, data: bytes, problem: str) -> str:
    FINDINGS.mkdir(exist_ok=True)
    path = FINDINGS / f"{name}-{seed}-{index}"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(problem)
    return f"{path}: {problem.strip().splitlines()[-1]}"


def _child(name: str, seed: int, first: int, stop: int, folder: Path) -> None:
    warnings.simplefilter("error")
    result = run_inputs(name, seed, first, stop, folder, timeout_s=TIMEOUT_S)
    sys.stdout.write(json.dumps(result))


def _run_in_children(name: str, seed: int, count: int, block: int) -> Result:
    total: Result = {**EMPTY_RESULT, "findings": []}
    started = time.monotonic()
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        first = 0
        while first < count:
            stop = min(count, first + block)
            command = [sys.executable, "-m", "tests.fuzz.run", name, str(stop)]
            child = subprocess.run(
                [*command, "--seed", str(seed), "--child", str(first), folder],
                capture_output=True,
                check=False,
            )
            if child.returncode > 0:
                raise RuntimeError(child.stderr.decode(errors="replace"))
            if child.returncode:
                stop = int((Path(folder) / "index").read_text()) + 1
                data = (Path(folder) / "input").read_bytes()
                reason = f"the process died: {child.returncode}\n"
                reason += (
                    child.stderr.decode(errors="replace")[-2000:] + f"\ndied {child.returncode}"
                )
                total["findings"].append(_save_finding(name, seed, stop - 1, data, reason))
                total["tried"] += stop - first
            else:
                part = json.loads(child.stdout)
                for key in ("tried", "accepted", "findings"):
                    total[key] += part[key]
                for key in ("slowest_s", "largest_mb", "grown_mb"):
                    total[key] = max(total[key], part[key])
            first = stop
            seconds = time.monotonic() - started
            sys.stdout.write(
                f"{name}: {total['tried']} tried, {total['accepted']} accepted, slowest "
                f"{total['slowest_s']:.2f} s, largest {total['largest_mb']:.0f} MB, process "
                f"+{total['grown_mb']:.0f} MB, "
                f"{len(total['findings'])} findings, {seconds:.0f} s\n"
            )
            sys.stdout.flush()
            if len(total["findings"]) >= 50:
                break
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--block", type=int, default=50_000, help="inputs per process")
    parser.add_argument("--coverage", action="store_true", help="guided by atheris")
    parser.add_argument("--child", nargs=2, metavar=("FIRST", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child(given.target, given.seed, int(given.child[0]), given.count, Path(given.child[1]))
        return 0
    if given.coverage:
        from tests.fuzz.coverage import run_guided

        return run_guided(given.target, given.count, given.seed)
    total = _run_in_children(given.target, given.seed, given.count, given.block)
    sys.stdout.writelines(f"{line}\n" for line in total["findings"])
    return 1 if total["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
