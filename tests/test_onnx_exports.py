"""The small networks by both of PyTorch's exporters, at several opsets, against ONNX Runtime.

Needs PyTorch and onnxscript; where they are absent, the files of tests/data/onnx stand for them.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the exporters are PyTorch's")
runtime = pytest.importorskip("onnxruntime")

from colorcv import Colorizer, OnnxModel  # noqa: E402
from tests.reference.architectures import export  # noqa: E402
from tests.reference.caffe_writer import sample_lightness  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

PRESETS = {
    "eccv16-small": "zhang2016",
    "siggraph17-small": "siggraph17",
    "ddcolor-small": "ddcolor",
    "deoldify-artistic-small": "deoldify",
    "deoldify-stable-small": "deoldify",
}
BUILT: dict[str, Any] = {}

# Each combination of exporter and opset for every network; half precision and open sizes once.
OLD = [{"exporter": "old", "opset": opset} for opset in (12, 14, 17)]
NEW = [{"exporter": "new", "opset": opset} for opset in (18, 20)]
CASES = [
    *((name, options) for name in PRESETS for options in (*OLD, *NEW)),
    *((name, {"exporter": "old", "opset": 17, "half": True}) for name in PRESETS),
    *((name, {"exporter": "old", "opset": 17, "dynamic": True}) for name in PRESETS),
    ("siggraph17-small", {"exporter": "new", "opset": 20, "dynamic": True}),
]


def built(name: str) -> Any:
    if name not in BUILT:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            BUILT[name] = export.build(name)
    return BUILT[name]


@pytest.mark.parametrize(
    ("name", "options"), [pytest.param(*case, id=f"{case[0]}, {case[1]}") for case in CASES]
)
def test_agrees_with_onnx_runtime(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = export.export(built(name), name, tmp_path / "network.onnx", **options)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    colorizer = Colorizer(OnnxModel(path, PRESETS[name], size=64), device="cpu")
    adapter = colorizer._network.adapter
    lightness = sample_lightness((64, 64), 3)
    shapes = {info.name: (1, info.shape[1], 64, 64) for info in session.get_inputs()}
    inputs = adapter.encode(lightness, None, shapes)
    expected = adapter.decode(session.run(None, inputs)[0])
    found = colorizer.predict_ab(lightness)
    difference = np.abs(found - expected)
    # In half precision ONNX Runtime rounds between layers, which the rewritten network does not.
    if options.get("half"):
        assert difference.mean() < 1
    else:
        assert difference.max() < (0.1 if name.startswith("deoldify") else 0.02)
