"""Seeds of the mutations: small valid files, and random networks."""

from __future__ import annotations

import random
from functools import cache

import numpy as np

from tests.reference import small

__all__ = ["TINY", "random_network", "tiny_weights"]

TINY = """\
layer { name: "data_l" type: "Input" top: "data_l"
  input_param { shape { dim: 1 dim: 1 dim: 8 dim: 12 } } }
layer { name: "conv1" type: "Convolution" bottom: "data_l" top: "conv1"
  convolution_param { num_output: 2 kernel_size: 3 pad: 1 stride: 2 } }
layer { name: "norm1" type: "BatchNorm" bottom: "conv1" top: "norm1" }
layer { name: "relu1" type: "ReLU" bottom: "norm1" top: "norm1" }
layer { name: "sum" type: "Eltwise" bottom: "norm1" bottom: "conv1" top: "sum" }
layer { name: "up" type: "Deconvolution" bottom: "sum" top: "up"
  convolution_param { num_output: 1 kernel_size: 4 pad: 1 stride: 2 bias_term: false } }
layer { name: "conv8_313" type: "Convolution" bottom: "up" top: "conv8_313"
  convolution_param { num_output: 313 kernel_size: 1 } }
layer { name: "conv8_313_rh" type: "Scale" bottom: "conv8_313" top: "conv8_313_rh"
  scale_param { bias_term: false filler { type: 'constant' value: 1.5 } } }
layer { name: "class8_313_rh" type: "Softmax" bottom: "conv8_313_rh" top: "class8_313_rh" }
layer { name: "class8_ab" type: "Convolution" bottom: "class8_313_rh" top: "class8_ab"
  convolution_param { num_output: 2 kernel_size: 1 } }
"""


@cache
def tiny_weights() -> small.Weights:
    rng = np.random.default_rng(0)
    shapes = {
        "conv1": [(2, 1, 3, 3), (2,)],
        "up": [(2, 1, 4, 4)],
        "conv8_313": [(313, 1, 1, 1), (313,)],
    }
    made = {name: [rng.standard_normal(s, "f4") for s in many] for name, many in shapes.items()}
    made["norm1"] = [np.ones(2, "f4"), np.full(2, 2, "f4"), np.full(1, 2, "f4")]
    return made


def random_network(rng: random.Random) -> tuple[str, small.Weights]:
    """Draw a prototxt that mostly passes the checks, with matching weights.

    It has odd sizes, kernels larger than the input, pads, groups and sums.
    """
    side = lambda: rng.choice((1, 2, 3, 7, 8, 16, 17, 24, 33))  # noqa: E731
    text = (
        'layer { name: "data_l" type: "Input" top: "t0" input_param { shape { dim: 1 dim: 1 '
        f"dim: {side()} dim: {side()} }} }} }}\n"
    )
    made: small.Weights = {}
    tensors = [("t0", 1)]
    for number in range(1, rng.choice((2, 3, 4, 6, 10))):
        bottom, channels = rng.choice(tensors[-2:])
        name = f"l{number}"
        kind = rng.choice(("Convolution",) * 4 + ("Deconvolution", "BatchNorm", "ReLU", "Scale",
                                                  "Eltwise", "Softmax"))  # fmt: skip
        outputs, given, bottoms = channels, "", f'bottom: "{bottom}"'
        if kind in ("Convolution", "Deconvolution"):
            group = rng.choice([g for g in (1, 1, 2, 3, 4, channels) if channels % g == 0])
            outputs = group * rng.choice((1, 1, 2, 3, 8))
            given, kernel = _convolution(rng, outputs, group)
            fan = (channels, outputs // group)
            fan = fan if kind == "Deconvolution" else (outputs, channels // group)
            made[name] = [_values(rng, (*fan, *kernel))]
            if "false" not in given:
                made[name].append(_values(rng, (outputs,)))
        elif kind == "BatchNorm":
            variance = np.abs(_values(rng, (channels,)))
            made[name] = [_values(rng, (channels,)), variance, np.full(1, rng.choice((0, 1, 999)))]
        elif kind == "Scale":
            made[name] = [_values(rng, (channels,))]
        elif kind == "Eltwise":
            same = [name for name, count in tensors if count == channels]
            bottoms += "".join(f' bottom: "{rng.choice(same)}"' for _ in range(rng.choice((1, 2))))
        in_place = kind in ("ReLU", "BatchNorm", "Scale") and rng.random() < 0.3
        top = bottom if in_place else f"t{number}"
        text += f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top}"\n  {given} }}\n'
        if not in_place:
            tensors.append((top, outputs))
    bottom, channels = tensors[-1]
    made["conv8_313"] = [_values(rng, (313, channels, 1, 1)), _values(rng, (313,))]
    head = small.PROTOTXT[small.PROTOTXT.index('layer { name: "conv8_313"') :]
    return text + head.replace('bottom: "up"', f'bottom: "{bottom}"'), made


def _convolution(rng: random.Random, outputs: int, group: int) -> tuple[str, tuple[int, int]]:
    kernel = rng.choice(((1, 1), (3, 3), (3, 3), (3, 3), (4, 4), (1, 3), (5, 2), (64, 1), (11, 11)))
    dilation = rng.choice((1, 1, 1, 2, 2, 3, 64))
    stride = rng.choice((1, 1, 1, 2, 3, 64))
    pad = rng.choice((0, 0, dilation, dilation, 1, 2, 3, 64))
    pad = min(pad, kernel[0] * dilation - 1) if rng.random() < 0.8 else pad
    given = (
        f"convolution_param {{ num_output: {outputs} kernel_h: {kernel[0]} kernel_w: {kernel[1]} "
        f"pad: {pad} stride: {stride} dilation: {dilation} group: {group} "
        f"{rng.choice(('', '', 'bias_term: false'))} }}"
    )
    return given, kernel


def _values(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of a random scale, sometimes an extreme one."""
    scale = rng.choice((0, 1, 1, 1, 1, 0.01, 100, 1e-30, 1e10, 3e37))
    values = np.random.default_rng(rng.getrandbits(32)).standard_normal(shape) * scale
    return np.clip(values, -3.4e38, 3.4e38).astype(np.float32)
