"""Build the networks with seeded weights and export them to ONNX.

    python -m tests.reference.architectures.export OUT_FOLDER [NAME ...] [--exporter old|new]
        [--opset N] [--size N] [--dynamic] [--half]

Names are those of `NETWORKS`. Without a name, the small ones are exported as tests/data/onnx holds
them.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference.architectures import ddcolor
from tests.reference.architectures.ddcolor import DDColor
from tests.reference.architectures.deoldify import DeOldify
from tests.reference.architectures.zhang import Eccv16, Siggraph17
from tests.reference.caffe_writer import sample_lightness

__all__ = ["COMMITTED", "NETWORKS", "Architecture", "build", "export", "sample_inputs"]


class Architecture(NamedTuple):
    """How one network is built, the size it is exported at, and its inputs and output."""

    make: Callable[[], nn.Module]
    size: int
    inputs: tuple[str, ...]
    output: str


_SIGGRAPH = ("data_l", "user_ab", "user_map")
NETWORKS = {
    "eccv16": Architecture(Eccv16, 256, ("data_l",), "color_ab"),
    "siggraph17": Architecture(Siggraph17, 256, _SIGGRAPH, "color_ab"),
    "ddcolor-tiny": Architecture(DDColor, 256, ("input",), "output"),
    "ddcolor-large": Architecture(lambda: DDColor(ddcolor.LARGE), 256, ("input",), "output"),
    "deoldify-artistic": Architecture(DeOldify, 256, ("input",), "output"),
    "deoldify-stable": Architecture(
        lambda: DeOldify((3, 4, 23, 3), stable=True), 256, ("input",), "output"
    ),
    "eccv16-small": Architecture(lambda: Eccv16(1), 64, ("data_l",), "color_ab"),
    "siggraph17-small": Architecture(lambda: Siggraph17(2), 64, _SIGGRAPH, "color_ab"),
    "ddcolor-small": Architecture(lambda: DDColor(ddcolor.SMALL), 64, ("input",), "output"),
    "deoldify-artistic-small": Architecture(
        lambda: DeOldify((1, 1, 1, 1), width=1), 64, ("input",), "output"
    ),
    "deoldify-stable-small": Architecture(
        lambda: DeOldify((1, 1, 1, 1), stable=True, width=1, wide=8), 64, ("input",), "output"
    ),
}

# The files of tests/data/onnx, and how each is exported.
COMMITTED: dict[str, tuple[str, dict[str, object]]] = {
    "eccv16": ("eccv16-small", {"exporter": "old", "opset": 12}),
    "siggraph17": ("siggraph17-small", {"exporter": "new", "opset": 20, "dynamic": True}),
    "ddcolor": ("ddcolor-small", {"exporter": "old", "opset": 12}),
    "ddcolor_new": ("ddcolor-small", {"exporter": "new", "opset": 18}),
    "deoldify_artistic": ("deoldify-artistic-small", {"exporter": "old", "opset": 13}),
    "deoldify_stable_half": (
        "deoldify-stable-small",
        {"exporter": "new", "opset": 18, "half": True},
    ),
}


def sample_inputs(name: str, size: int | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """Return what a network takes for a sample image: arrays of (1, C, size, size) float32."""
    side = NETWORKS[name].size if size is None else size
    lightness = sample_lightness((side, side), seed)[None, None]
    if name.startswith("eccv16"):
        return {"data_l": lightness}
    if name.startswith("siggraph17"):
        rng = np.random.default_rng(seed)
        mask = (rng.random((1, 1, side, side)) < 0.01).astype(np.float32)
        ab = rng.uniform(-60, 60, (1, 2, side, side)).astype(np.float32) * mask
        return {"data_l": lightness, "user_ab": ab, "user_map": mask}
    # sRGB of a grey of this lightness.
    f = (lightness.astype(np.float64) + 16) / 116
    y = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2)
    grey = np.where(y > 0.0031308, 1.055 * np.maximum(y, 1e-9) ** (1 / 2.4) - 0.055, 12.92 * y)
    scale = 255 if name.startswith("deoldify") else 1
    return {"input": np.repeat(grey * scale, 3, axis=1).astype(np.float32)}


def build(name: str, seed: int = 0) -> nn.Module:
    """Return a network with seeded weights whose output depends on the image and fills its range.

    The statistics of BatchNorm are those of sample images, of which small networks, with 2x2
    places at the coarsest scale, need several; ab has a standard deviation of 25.
    """
    torch.manual_seed(seed)
    network = NETWORKS[name].make()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Conv1d, nn.Linear)):
                _fill(module)
            elif isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the statistics become those of the sample
                nn.init.uniform_(module.weight, 0.8, 1.2)
                nn.init.uniform_(module.bias, -0.1, 0.3)
        seeds = range(16 if NETWORKS[name].size < 128 else 1)
        samples = [sample_inputs(name, seed=seed) for seed in seeds]
        inputs = [
            torch.from_numpy(np.concatenate([sample[key] for sample in samples]))
            for key in samples[0]
        ]
        network.train()
        for _ in range(3):  # spectral norm's iteration needs a few steps
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.reset_running_stats()
            network(*inputs)
        network.eval()
        _spread(network, inputs)
    return network


def _fill(module: nn.Module) -> None:
    """Set a layer's weights to normal numbers with the gain of a ReLU, and a small bias."""
    # Spectral norm keeps the weights as weight_orig, weight norm as weight_v beside weight_g.
    plain = "weight_v" if hasattr(module, "weight_g") else "weight"
    weight = getattr(module, "weight_orig", None)
    weight = getattr(module, plain) if weight is None else weight
    nn.init.kaiming_normal_(weight, nonlinearity="relu")
    if module.bias is not None:
        nn.init.uniform_(module.bias, -0.1, 0.1)


def _spread(network: nn.Module, inputs: list[Tensor]) -> None:
    """Scale the last layer so that the output fills its range without saturating."""
    if isinstance(network, Eccv16):
        logits = network.decoder(network.encoder((inputs[0] - 50) / 100))
        last = network.decoder[-1]
        last.weight *= 3 / logits.std()
        last.bias *= 3 / logits.std()
        network.mean.weight.uniform_(-1, 1)
        return
    seen: list[Tensor] = []
    last = network.last
    handle = last.register_forward_hook(lambda module, given, output: seen.append(output))
    network(*inputs)
    handle.remove()
    goal = 25.0 if isinstance(network, DDColor) else 0.4 if isinstance(network, Siggraph17) else 1.0
    factor = goal / float(seen[0].std())
    mean = seen[0].mean(dim=(0, 2, 3))
    if isinstance(network, Siggraph17):
        last.weight *= factor
        last.bias.copy_((last.bias - mean) * factor)
    else:  # spectral norm undoes a factor on the weights
        network.gain = factor
        last.bias -= mean


def export(
    network: nn.Module,
    name: str,
    path: Path,
    *,
    exporter: str = "old",
    opset: int = 17,
    size: int | None = None,
    dynamic: bool = False,
    half: bool = False,
) -> Path:
    """Export a network to ONNX.

    Parameters
    ----------
    network, name
        The result of `build`, and its name.
    path : Path
        The file to write.
    exporter : {"old", "new"}
        PyTorch's exporter by tracing, or the one by `torch.export`.
    opset : int
    size : int, optional
        Rows and columns of the inputs; default the architecture's.
    dynamic : bool
        Leave rows and columns open.
    half : bool
        Store weights and compute in half precision, with float32 inputs and outputs.
    """
    known = NETWORKS[name]
    inputs = tuple(torch.from_numpy(array) for array in sample_inputs(name, size).values())
    options: dict[str, object] = {"input_names": list(known.inputs), "output_names": [known.output]}
    if dynamic and exporter == "old":
        axes = {2: "height", 3: "width"}
        options["dynamic_axes"] = dict.fromkeys((*known.inputs, known.output), axes)
    elif dynamic:
        # Sides are multiples of 8, as pooling needs: torch.export asks for that to be said.
        rows, columns = torch.export.Dim("rows", min=4), torch.export.Dim("columns", min=4)
        sides = {2: 8 * rows, 3: 8 * columns}
        options["dynamic_shapes"] = tuple(sides for _ in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "old":
            torch.onnx.export(
                network, inputs, str(path), opset_version=opset, dynamo=False, **options
            )
        else:
            program = torch.onnx.export(
                network, inputs, None, opset_version=opset, dynamo=True, verbose=False, **options
            )
            # The weights stay in the file up to the limit of 2 GB.
            program.save(str(path), external_data=False)
    if half:
        _to_half(path)
    return path


def _to_half(path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(str(path))
    onnx.save(convert_float_to_float16(model, keep_io_types=True), str(path))


def _strip(path: Path) -> None:
    """Remove the stack traces that the new exporter stores with every node and value."""
    import onnx

    model = onnx.load(str(path))
    for item in (*model.graph.node, *model.graph.value_info, model.graph, model):
        del item.metadata_props[:]
        item.ClearField("doc_string")
    onnx.save(model, str(path))


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", choices=[*NETWORKS, []])
    parser.add_argument("--exporter", choices=("old", "new"), default="old")
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--size", type=int)
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument("--half", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        path = arguments.folder / f"{name}.onnx"
        export(
            build(name),
            name,
            path,
            exporter=arguments.exporter,
            opset=arguments.opset,
            size=arguments.size,
            dynamic=arguments.dynamic,
            half=arguments.half,
        )
        print(path, path.stat().st_size)  # noqa: T201
    if not arguments.names:
        for stem, (name, options) in COMMITTED.items():
            path = arguments.folder / f"{stem}.onnx"
            export(build(name), name, path, **options)  # type: ignore[arg-type]
            _strip(path)
            print(path, path.stat().st_size)  # noqa: T201


if __name__ == "__main__":
    _main()
