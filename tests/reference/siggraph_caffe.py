"""siggraph17 as Caffe files: the layers of `deploy_nodist.prototxt`, with seeded weights.

One input of four channels (L - 50, ab of the hints, 110 times their mask), sliced into lightness
and hints; ab comes out, from a tanh times 100. A name occurs twice, as in the published file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reference import caffe_writer

Array = npt.NDArray[Any]


class _Writer:
    """Collects layers of a prototxt and their blobs."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.layers: list[str] = []
        self.blobs: dict[str, list[Array]] = {}
        self.channels: dict[str, int] = {}

    def layer(self, kind: str, name: str, bottoms: list[str], tops: list[str], more: str) -> None:
        text = f'layer {{ name: "{name}" type: "{kind}"'
        text += "".join(f' bottom: "{bottom}"' for bottom in bottoms)
        text += "".join(f' top: "{top}"' for top in tops)
        self.layers.append(f"{text} {more} }}")

    def conv(
        self, name: str, bottom: str, outputs: int, kernel: int = 3, gain: float = 2.0, **more: int
    ) -> str:
        fan = self.channels[bottom] * kernel**2
        weights = self.rng.standard_normal((outputs, self.channels[bottom], kernel, kernel))
        self.blobs[name] = [weights * (gain / fan) ** 0.5, self.rng.uniform(-0.1, 0.1, outputs)]
        pad = kernel // 2 * more.get("dilation", 1)
        params = "".join(f" {key}: {value}" for key, value in more.items())
        params = f"num_output: {outputs} kernel_size: {kernel} pad: {pad}{params}"
        self.layer("Convolution", name, [bottom], [name], f"convolution_param {{ {params} }}")
        self.channels[name] = outputs
        return name

    def subsample(self, name: str, bottom: str) -> str:
        """Take every second row and column: a convolution of one weight per channel."""
        count = self.channels[bottom]
        self.blobs[name] = [np.ones((count, 1, 1, 1))]
        self.layer(
            "Convolution",
            name,
            [bottom],
            [name],
            f"convolution_param {{ num_output: {count} kernel_size: 1 stride: 2 group: {count} "
            "bias_term: false }",
        )
        self.channels[name] = count
        return name

    def up(self, name: str, bottom: str, outputs: int) -> str:
        fan = self.channels[bottom] * 4
        weights = self.rng.standard_normal((self.channels[bottom], outputs, 4, 4))
        self.blobs[name] = [weights * fan**-0.5, self.rng.uniform(-0.1, 0.1, outputs)]
        self.layer(
            "Deconvolution",
            name,
            [bottom],
            [name],
            f"convolution_param {{ num_output: {outputs} kernel_size: 4 stride: 2 pad: 1 }}",
        )
        self.channels[name] = outputs
        return name

    def relu(self, name: str, tensor: str, slope: float = 0.0) -> str:
        more = f"relu_param {{ negative_slope: {slope} }}" if slope else ""
        self.layer("ReLU", name, [tensor], [tensor], more)
        return tensor

    def norm(self, name: str, bottom: str) -> str:
        count = self.channels[bottom]
        mean, variance = self.rng.uniform(0, 0.5, count), self.rng.uniform(0.5, 1.5, count)
        self.blobs[name] = [mean * 2, variance * 2, np.array([2.0])]
        self.layer("BatchNorm", name, [bottom], [name], "")
        self.channels[name] = count
        return name

    def add(self, name: str, left: str, right: str) -> str:
        self.layer("Eltwise", name, [left, right], [name], "eltwise_param { operation: SUM }")
        self.channels[name] = self.channels[left]
        return name


def make(width: int = 64, size: int = 256, seed: int = 0) -> tuple[str, dict[str, list[Array]]]:
    """Return the prototxt and the blobs; the published network has a width of 64."""
    net = _Writer(seed)
    net.layer(
        "Input",
        "data_l_ab_mask",
        [],
        ["data_l_ab_mask"],
        f"input_param {{ shape {{ dim: 1 dim: 4 dim: {size} dim: {size} }} }}",
    )
    net.layer(
        "Slice",
        "slice",
        ["data_l_ab_mask"],
        ["data_l", "data_ab_mask"],
        "slice_param { axis: 1 slice_point: 1 }",
    )
    net.channels |= {"data_l": 1, "data_ab_mask": 3}
    light = net.conv("bw_conv1_1", "data_l", width, gain=2 / 900)
    hints = net.conv("ab_conv1_1", "data_ab_mask", width, gain=2 / 900)
    x = net.relu("relu1_1", net.add("conv1_1", light, hints))
    x = net.relu("relu1_2", net.conv("conv1_2", x, width))
    one = net.norm("conv1_2norm", x)
    x = net.subsample("conv1_2norm_ss", one)
    for number in (1, 2):
        x = net.relu(f"relu2_{number}", net.conv(f"conv2_{number}", x, 2 * width))
    two = net.norm("conv2_2norm", x)
    x = net.subsample("conv2_2norm_ss", two)
    for number in (1, 2, 3):
        x = net.relu(f"relu3_{number}", net.conv(f"conv3_{number}", x, 4 * width))
    three = net.norm("conv3_3norm", x)
    x = net.subsample("conv3_3norm_ss", three)
    for block in (4, 5, 6, 7):
        dilation = 2 if block in (5, 6) else 1
        for number in (1, 2, 3):
            conv = net.conv(f"conv{block}_{number}", x, 8 * width, dilation=dilation)
            x = net.relu(f"relu{block}_{number}", conv)
        x = net.norm(f"conv{block}_3norm", x)
    side = net.conv("conv3_3_short", three, 4 * width)
    x = net.add("conv8_1_sum", net.up("conv8_1", x, 4 * width), side)
    x = net.relu("relu8_1", x)
    for number in (2, 3):
        x = net.relu(f"relu8_{number}", net.conv(f"conv8_{number}", x, 4 * width))
    x = net.norm("conv8_3norm", x)
    side = net.conv("conv2_2_short", two, 2 * width)
    x = net.relu("relu9_1", net.add("conv9_1_sum", net.up("conv9_1", x, 2 * width), side))
    x = net.relu("relu9_2", net.conv("conv9_2", x, 2 * width))
    x = net.norm("conv9_2norm", x)
    side = net.conv("conv1_2_short", one, 2 * width)
    x = net.add("conv10_1_sum", net.up("conv10_1", x, 2 * width), side)
    x = net.relu("relu10_1", x)
    # The second layer of this name.
    x = net.relu("relu10_1", net.conv("conv10_2", x, 2 * width), slope=0.2)
    x = net.conv("conv10_ab", x, 2, kernel=1, gain=0.4)
    net.layer("TanH", "conv10_ab_tanh", [x], ["tanh"], "")
    net.layer("Scale", "pred_ab", ["tanh"], ["pred_ab"], "scale_param { bias_term: false }")
    net.blobs["pred_ab"] = [np.full(2, 100.0)]
    blobs = {
        name: [np.asarray(blob, np.float32) for blob in layer] for name, layer in net.blobs.items()
    }
    return "\n".join(['name: "siggraph17"', *net.layers]) + "\n", blobs


def write(folder: Path, *, width: int = 4, size: int = 32, seed: int = 0) -> tuple[Path, Path]:
    """Write prototxt and caffemodel, and return their paths."""
    prototxt, blobs = make(width, size, seed)
    paths = folder / "siggraph.prototxt", folder / "siggraph.caffemodel"
    paths[0].write_text(prototxt)
    caffe_writer.write(paths[1], blobs)
    return paths
