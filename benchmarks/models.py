"""Other networks through `Colorizer`, against ONNX Runtime on the original file.

    python -m tests.reference.architectures.export FOLDER eccv16 siggraph17 ddcolor-tiny ...
    python -m benchmarks.models FOLDER [--rounds 5] [--only NAME ...]

The first line needs PyTorch and writes the networks with seeded weights; the second runs in any
environment with onnxruntime, on its OpenCV. Printed for each network: the largest difference of ab
from ONNX Runtime; the processor time of one run, of all threads, as a multiple of ONNX Runtime's
(the median over rounds in which both run in turn); and the peak of memory above that of the
imports, each in a process of its own. Both use 2 threads. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import THREADS, markdown_table, peak_rss_mib

# Networks of `tests.reference.architectures.export`: preset, and white for RGB.
NETWORKS = {
    "eccv16": ("zhang2016", 0),
    "siggraph17": ("siggraph17", 0),
    "ddcolor-tiny": ("ddcolor", 1),
    "ddcolor-large": ("ddcolor", 1),
    "deoldify-artistic": ("deoldify", 255),
    "deoldify-stable": ("deoldify", 255),
}
SIZE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS))
    parser.add_argument("--worker", choices=("compare", "colorcv", "low_memory", "onnxruntime"))
    arguments = parser.parse_args()
    if arguments.worker:
        work = {"compare": _compare}.get(arguments.worker, _memory)
        print(json.dumps(work(arguments)))
        return
    import cv2

    rows = []
    for name in arguments.only:
        path = arguments.folder / f"{name}.onnx"
        if not path.is_file():
            print(f"{path} is missing", file=sys.stderr)
            continue
        found = _run(arguments, name, "compare")
        memory = {kind: _run(arguments, name, kind) for kind in ("colorcv", "low_memory")}
        memory["onnxruntime"] = _run(arguments, name, "onnxruntime")
        rows.append(
            [
                name,
                f"{path.stat().st_size / 1e6:.0f}",
                f"{found['gmac']:.1f}",
                f"{found['error']:.4f}",
                f"{found['colorcv_s']:.2f}",
                f"{found['ratio']:.2f}",
                *(f"{memory[kind]['mib']:.0f}" for kind in ("colorcv", "low_memory")),
                f"{memory['onnxruntime']['mib']:.0f}",
            ]
        )
        print(rows[-1], file=sys.stderr)
    print(f"## OpenCV {cv2.__version__}\n")
    header = ["network", "file, MB", "GMAC", "error, ab", "time, s", "times ONNX Runtime's"]
    header += ["memory, MiB", "... `low_memory`", "... ONNX Runtime"]
    print(markdown_table(header, rows))


def _run(arguments: argparse.Namespace, name: str, kind: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.models", str(arguments.folder)]
    command += ["--rounds", str(arguments.rounds), "--only", name, "--worker", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}, {kind}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _compare(arguments: argparse.Namespace) -> dict[str, float]:
    """Return the error, and the processor time beside ONNX Runtime's."""
    import numpy as np

    name = arguments.only[0]
    ours, colorizer = _colorcv(arguments.folder, name, low_memory=False)
    theirs = _onnxruntime(arguments.folder, name)
    error = float(np.abs(ours() - theirs()).max())
    times = [(_cpu_seconds(ours), _cpu_seconds(theirs)) for _ in range(arguments.rounds)]
    return {
        "error": error,
        "gmac": colorizer._network.multiply_adds / 1e9,
        "colorcv_s": median(mine for mine, _ in times),
        "ratio": median(mine / other for mine, other in times),
    }


def _memory(arguments: argparse.Namespace) -> dict[str, float]:
    """Return the peak of memory above that of the imports."""
    import cv2  # noqa: F401

    import colorcv
    from tests.reference import caffe_writer, lab_reference  # noqa: F401

    name = arguments.only[0]
    if arguments.worker == "onnxruntime":
        import onnxruntime  # noqa: F401
    else:
        colorcv.Colorizer("lite", device="cpu")
    before = peak_rss_mib()
    if arguments.worker == "onnxruntime":
        run = _onnxruntime(arguments.folder, name)
    else:
        low_memory = arguments.worker == "low_memory"
        run, _ = _colorcv(arguments.folder, name, low_memory=low_memory)
    run()
    run()
    return {"mib": peak_rss_mib() - before}


def _colorcv(folder: Path, name: str, *, low_memory: bool) -> tuple[Callable[[], Any], Any]:
    import cv2

    import colorcv
    from tests.reference.caffe_writer import sample_lightness

    cv2.setNumThreads(THREADS)
    model = colorcv.OnnxModel(folder / f"{name}.onnx", NETWORKS[name][0])
    colorizer = colorcv.Colorizer(model, device="cpu", low_memory=low_memory)
    lightness = sample_lightness((SIZE, SIZE))
    return lambda: colorizer.predict_ab(lightness), colorizer


def _onnxruntime(folder: Path, name: str) -> Callable[[], Any]:
    """Return the plain pipeline: the original file, and the tests' own Lab."""
    import numpy as np
    import onnxruntime

    from tests.reference.caffe_writer import sample_lightness
    from tests.reference.lab_reference import lab_from_rgb, rgb_from_lab

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Spinning threads would count as processor time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )
    preset, white = NETWORKS[name]
    lightness = sample_lightness((SIZE, SIZE))
    inputs = {"data_l": lightness[np.newaxis, np.newaxis]}
    if preset == "siggraph17":
        inputs["user_ab"] = np.zeros((1, 2, SIZE, SIZE), np.float32)
        inputs["user_map"] = np.zeros((1, 1, SIZE, SIZE), np.float32)
    if white:
        lab = np.zeros((SIZE * SIZE, 3))
        lab[:, 0] = lightness.ravel()
        rgb = rgb_from_lab(lab).T.reshape(1, 3, SIZE, SIZE) * white
        inputs = {"input": rgb.astype(np.float32)}

    def run() -> Any:
        answer = session.run(None, inputs)[0][0].transpose(1, 2, 0)
        if preset != "deoldify":
            return answer
        pixels = np.clip(answer.reshape(-1, 3).astype(np.float64) / white, 0, 1)
        return lab_from_rgb(pixels)[:, 1:].reshape(SIZE, SIZE, 2)

    return run


def _cpu_seconds(function: Callable[[], Any]) -> float:
    """Return the processor time of a call, of all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


if __name__ == "__main__":
    main()
