"""Tests of OpenCL, on the CPU if an ICD is installed (Debian: pocl-opencl-icd).

Failing devices are faked in tests/network/test_device.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import colorcv

ROOT = Path(colorcv.__file__).parents[1]

# OpenCV looks for devices once per process, so each of these runs in its own.
BEGIN = """
import sys
from pathlib import Path
import cv2
import numpy as np
from colorcv import network
from colorcv.errors import DeviceError
from tests.reference import small
from tests.reference.caffe_writer import sample_lightness
if not (cv2.ocl.haveOpenCL() and cv2.ocl.useOpenCL()):
    sys.exit(77)
files = small.write(Path(sys.argv[1]))
lightness = sample_lightness((16, 24))
expected = small.answer(lightness)
"""
USED = """
net = network.load(*files, device="opencl")
assert (net.device, net.device_reason) == ("opencl", "requested")
assert np.abs(net.predict_ab(lightness) - expected).max() < 0.01
"""
AUTO = """
net = network.load(*files, device="auto")
assert net.device == "cpu"
assert np.abs(net.predict_ab(lightness) - expected).max() < 0.01
"""
# OpenCV would run on the CPU without OpenCL, with a warning only.
REJECTED = """
try:
    network.load(*files, device="opencl")
except DeviceError as err:
    assert "is not a GPU" in str(err) and "OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES" in str(err)
else:
    raise AssertionError
"""
DISABLED = """
cv2.ocl.setUseOpenCL(False)
try:
    network.load(*files, device="opencl")
except DeviceError as err:
    assert "disabled" in str(err)
else:
    raise AssertionError
"""


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        pytest.param(USED, "1", id="used"),
        pytest.param(AUTO, "1", id="auto-takes-the-cpu"),
        pytest.param(REJECTED, "0", id="not-a-gpu"),
        pytest.param(DISABLED, "1", id="disabled"),
    ],
)
def test_opencl_on_the_cpu(code: str, allowed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, str(tmp_path)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OPENCV_OPENCL_DEVICE": ":CPU:",
            "OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES": allowed,
        },
        capture_output=True,
        text=True,
        timeout=250,
    )
    if done.returncode == 77:
        pytest.skip("no OpenCL for the CPU")
    assert done.returncode == 0, done.stderr
