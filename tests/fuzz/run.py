"""Run a target on many inputs: `python -m tests.fuzz.run TARGET COUNT [--seed S] [--coverage]`.

Each input gets its own random numbers from the seed and its place in the row, so that any of them
can be made again. It runs in a child process: one that kills the process is found too. What is
found lies in `fuzz-findings/`; exit code 1 says that there is something. `--coverage` lets atheris
(pip install atheris) steer by the lines that are reached, from the same mutations.
"""

from __future__ import annotations

import argparse
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

MEMORY_MB, SECONDS, GIVE_UP_S = 64, 1.0, 20
FOUND = Path("fuzz-findings")

Result = dict[str, Any]
NOTHING: Result = {"tried": 0, "taken": 0, "slowest_s": 0.0, "grown_mb": 0.0}


def run_input(target: Target, path: Path) -> tuple[bool, str]:
    """Run one input; say whether it was taken, and what is wrong with what came of it."""
    before = _peak_mb()
    start = time.process_time()
    taken, problem = False, ""
    try:
        target.run(path)
        taken = True
    except target.allowed as err:
        if not str(err).strip():
            problem = "an error without a message"
    except Exception:
        problem = traceback.format_exc(limit=-4)
    seconds = time.process_time() - start
    grown = _peak_mb() - before
    if not problem and seconds > SECONDS:
        problem = f"{seconds:.1f} s"
    if not problem and grown > MEMORY_MB + path.stat().st_size / 1e6:
        problem = f"{grown:.0f} MB more than before"
    return taken, problem


def run_inputs(
    name: str, seed: int, first: int, stop: int, folder: Path, *, give_up_s: float = 0
) -> Result:
    """Try inputs `first` to `stop`; one that takes `give_up_s` of CPU time ends the process."""
    target = TARGETS[name]
    path = folder / "input"
    (folder / "index").write_text(str(first))
    path.write_bytes(b"")
    result: Result = {**NOTHING, "findings": []}
    peak = 0.0
    for index in range(first, stop):
        data = target.make(random.Random(f"{seed}/{index}"))
        path.write_bytes(data)
        (folder / "index").write_text(str(index))
        if give_up_s:
            signal.setitimer(signal.ITIMER_VIRTUAL, give_up_s)
        start = time.process_time()
        taken, problem = run_input(target, path)
        result["slowest_s"] = max(result["slowest_s"], time.process_time() - start)
        peak = peak or _peak_mb()  # with all that is loaded at the first input
        result["grown_mb"] = round(_peak_mb() - peak, 1)
        result["tried"] += 1
        result["taken"] += taken
        if problem:
            result["findings"].append(_keep(name, seed, index, data, problem))
            if len(result["findings"]) >= 20:
                break
    return result


def _peak_mb() -> float:
    if sys.platform == "win32":
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _keep(name: str, seed: int, index: int, data: bytes, problem: str) -> str:
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}-{seed}-{index}"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(problem)
    return f"{path}: {problem.strip().splitlines()[-1]}"


def _child(name: str, seed: int, first: int, stop: int, folder: Path) -> None:
    warnings.simplefilter("error")
    result = run_inputs(name, seed, first, stop, folder, give_up_s=GIVE_UP_S)
    sys.stdout.write(json.dumps(result))


def _all(name: str, seed: int, count: int, block: int) -> Result:
    total: Result = {**NOTHING, "findings": []}
    started = time.monotonic()
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        first = 0
        while first < count:
            stop = min(count, first + block)
            again = [sys.executable, "-m", "tests.fuzz.run", name, str(stop)]
            child = subprocess.run(
                [*again, "--seed", str(seed), "--child", str(first), folder],
                capture_output=True,
                check=False,
            )
            if child.returncode > 0:
                raise RuntimeError(child.stderr.decode(errors="replace"))
            if child.returncode:
                stop = int((Path(folder) / "index").read_text()) + 1
                data = (Path(folder) / "input").read_bytes()
                why = f"the process died: {child.returncode}\n"
                why += child.stderr.decode(errors="replace")[-2000:] + f"\ndied {child.returncode}"
                total["findings"].append(_keep(name, seed, stop - 1, data, why))
                total["tried"] += stop - first
            else:
                part = json.loads(child.stdout)
                for key in ("tried", "taken", "findings"):
                    total[key] += part[key]
                for key in ("slowest_s", "grown_mb"):
                    total[key] = max(total[key], part[key])
            first = stop
            seconds = time.monotonic() - started
            sys.stdout.write(
                f"{name}: {total['tried']} tried, {total['taken']} taken, slowest "
                f"{total['slowest_s']:.2f} s, +{total['grown_mb']:.0f} MB, "
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
    parser.add_argument("--block", type=int, default=50_000, help="inputs for each process")
    parser.add_argument("--coverage", action="store_true", help="steered by atheris")
    parser.add_argument("--child", nargs=2, metavar=("FIRST", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child(given.target, given.seed, int(given.child[0]), given.count, Path(given.child[1]))
        return 0
    if given.coverage:
        from tests.fuzz.coverage import steer

        return steer(given.target, given.count, given.seed)
    total = _all(given.target, given.seed, given.count, given.block)
    sys.stdout.writelines(f"{line}\n" for line in total["findings"])
    return 1 if total["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
