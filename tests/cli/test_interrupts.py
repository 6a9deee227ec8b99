"""Ctrl-C while the command starts: exit code 130 and no traceback, at whatever import it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from colorcv.cli.interrupts import interrupts_as_such

ROOT = Path(__file__).parents[2]
# Runs at the start of the interpreter: sends SIGINT when a certain module is about to be imported.
HOOK = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPT_AT"]:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
"""
# A command line, and a module that it imports; of NumPy's own, whose names change, those in C.
START = [
    ("--help", name)
    for name in ("colorcv.cli.parser", "argparse", "colorcv.cli.options", "colorcv.cli.interrupts")
]
COLOR = [
    ("image", name)
    for name in (
        *("colorcv.colorizer", "numpy", "datetime", "_datetime", "cv2", "cv2.cv2"),
        *("colorcv.network.inference", "colorcv.image.io", "colorcv.image.source"),
    )
]


@pytest.mark.skipif(os.name == "nt", reason="SIGINT")
@pytest.mark.parametrize(("command", "module"), START + COLOR)
def test_interrupt_at_an_import(command: str, module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((8, 8), np.uint8))
    arguments = ["--help"] if command == "--help" else ["image", str(photo), "--model", "lite"]
    done = subprocess.run(
        [sys.executable, "-m", "colorcv", *arguments],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "INTERRUPT_AT": module},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if module in ("_datetime", "datetime", "cv2.cv2") and done.returncode == 0:
        pytest.skip(f"{module} is not imported here, or before the command begins")
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 130, done.stderr
    assert lines in ([], ["colorcv: interrupted; the files written so far are complete"])


def test_import_errors_of_another_cause() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ImportError, match="no such"), interrupts_as_such():
        raise ImportError("no such module")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="SIGINT")
def test_import_error_after_an_interrupt() -> None:
    def import_in_c() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("could not import datetime") from None

    with pytest.raises(KeyboardInterrupt) as caught, interrupts_as_such():
        import_in_c()
    assert isinstance(caught.value.__cause__, ImportError)


def test_handlers_of_others_are_kept() -> None:
    """In another thread, or where SIGINT is ignored, as in a background job of a shell."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_as_such():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    entered = []

    def run() -> None:
        with interrupts_as_such():
            entered.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert entered == [before]
