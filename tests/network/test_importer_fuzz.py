"""Random small networks: OpenCV agrees with ONNX Runtime, or the import raises an error."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colorcv import network
from colorcv.errors import ModelFormatError
from colorcv.network import onnx
from colorcv.network.caffe import caffemodel, centers, importer, prototxt
from tests.network.test_rewrites import HEAD, TAIL, conv, point
from tests.reference import onnx_reference, small
from tests.reference.caffe_writer import encode, sample_lightness

# For longer runs: COLORCV_FUZZ=20000 python -m pytest tests/network/test_importer_fuzz.py
EXAMPLES = int(os.environ.get("COLORCV_FUZZ", "60"))
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


class Case:
    """One random network, built layer by layer."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 99)))
        self.size = draw(st.integers(2, 22)), draw(st.integers(2, 22))
        self.text = HEAD % self.size
        self.blobs: dict[str, list[Any]] = {}
        self.channels = {"data_l": 1}
        last = "data_l"
        for index in range(draw(st.integers(1, 5))):
            last = self.layer(f"l{index}", last)
        self.text += TAIL % last
        self.blobs["conv8_313"] = [
            self.rng.normal(0, 0.5, (313, self.channels[last], 1, 1)),
            self.rng.normal(0, 1, 313),
        ]

    def layer(self, name: str, bottom: str) -> str:
        c = self.channels[bottom]
        kind = self.draw(
            st.sampled_from(["Convolution"] * 4 + ["Deconvolution", "ReLU", "BatchNorm", "Eltwise"])
        )
        self.channels[name] = c
        if kind == "BatchNorm":
            self.blobs[name] = [self.rng.normal(0, 1, c), self.rng.uniform(0.5, 2, c), np.ones(1)]
        if kind == "Eltwise":
            self.text += f'layer {{ name: "{name}" type: "Eltwise" bottom: "{bottom}" '
            self.text += f'bottom: "{bottom}" top: "{name}" }}\n'
        elif "onvolution" not in kind:
            self.text += point(name, bottom, kind)
        else:
            group = 1
            kernel = self.draw(st.sampled_from([1, 2, 3, 3, 3, 4, 5]))
            extent = kernel
            more = f"stride: {self.draw(st.sampled_from([1, 1, 2, 3]))} "
            if kind == "Convolution":
                group = self.draw(st.sampled_from([g for g in (1, 1, 2, 3, c) if c % g == 0]))
                dilations = [1, 1, 2, 3] if group == 1 or group < c else [1]
                dilation = self.draw(st.sampled_from(dilations))
                extent += (dilation - 1) * (kernel - 1)
                more += f"dilation: {dilation} group: {group} "
            outputs = group * self.draw(st.integers(1, 4))
            self.channels[name] = outputs
            more += f"kernel_size: {kernel} pad: {min(extent - 1, self.draw(st.integers(0, 6)))}"
            self.text += conv(name, bottom, outputs, more, kind)
            fan = (c, outputs // group) if kind == "Deconvolution" else (outputs, c // group)
            scale = 1 / (c * kernel) / (20 if c == 1 else 1)
            self.blobs[name] = [
                self.rng.normal(0, scale, (*fan, kernel, kernel)),
                self.rng.normal(0, 1, outputs),
            ]
        return name


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=QUIET)
@given(st.data())
def test_random_networks(data: st.DataObject) -> None:
    case = Case(data.draw)
    with tempfile.TemporaryDirectory() as folder:
        files = small.write(Path(folder), prototxt=case.text, caffemodel_bytes=encode(case.blobs))
        try:
            net = network.load(*files, device="cpu")
        except ModelFormatError as err:
            if "has no output" in str(err):  # the size went below 1
                return
            raise
        graph = importer.build(
            prototxt.read(files[0]),
            caffemodel.read(files[1]),
            centers.read(files[2]),
            weights_file=str(files[1]),
        )
    lightness = sample_lightness(case.size)
    expected = onnx_reference.run_ab(onnx.encode(graph), lightness)
    np.testing.assert_allclose(net.predict_ab(lightness), expected, atol=0.02)
