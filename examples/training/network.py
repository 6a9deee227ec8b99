"""A network that PyTorch trains, from the Caffe files that colorcv runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import colorcv
from colorcv.models import resolve
from colorcv.network.caffe import caffemodel, prototxt

HEAD = "conv8_313"  # the layer with the 313 logits; what follows it is done in the loss


class Network(nn.Module):
    """The layers of a prototxt up to the 313 logits.

    Takes (N, 1, S, S) float32, L* - 50; gives (N, 313, S/4, S/4) logits. `temperature` is T of the
    annealed mean, from the filler of the layer conv8_313_rh.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.prototxt = text
        self.convolutions = nn.ModuleDict()
        self._steps: list[tuple[str, str, list[str], str]] = []  # type, name, inputs, output
        self.temperature = 0.0
        self.input_size = 0
        channels: dict[str, int] = {}
        for layer in prototxt.parse(text, "the prototxt").messages("layer"):
            kind, name, top = (layer.string(field) for field in ("type", "name", "top"))
            bottoms = layer.strings("bottom")
            if kind == "Input":
                shape = layer.message("input_param").message("shape")
                self.input_size = shape.integers("dim")[-1]
                channels[top] = 1
                self._input = top
            elif name == f"{HEAD}_rh":
                scale = layer.message("scale_param").message("filler").number("value")
                self.temperature = 1 / scale if scale else 0.0
                break
            elif kind in ("Convolution", "Deconvolution"):
                given = layer.message("convolution_param")
                self.convolutions[name] = _convolution(kind, channels[bottoms[0]], given)
                channels[top] = given.integer("num_output")
                self._steps.append(("convolution", name, bottoms, top))
            elif kind == "ReLU":
                channels[top] = channels[bottoms[0]]
                self._steps.append(("relu", name, bottoms, top))
            elif kind == "Eltwise":
                channels[top] = channels[bottoms[0]]
                self._steps.append(("sum", name, bottoms, top))
            else:
                raise ValueError(
                    f"layer {name!r} of the prototxt is of type {kind}, which is not trained here; "
                    "Convolution, Deconvolution, ReLU and Eltwise are"
                )
        if not self.temperature:
            raise ValueError(f"the prototxt has no layer {HEAD}_rh with a filler")

    def forward(self, lightness: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        tensors = {self._input: lightness}
        for kind, name, bottoms, top in self._steps:
            first = tensors[bottoms[0]]
            if kind == "convolution":
                tensors[top] = self.convolutions[name](first)
            elif kind == "relu":
                # The backward pass needs the input, so the result is a new tensor.
                tensors[top] = functional.relu(first)
            else:
                tensors[top] = sum((tensors[bottom] for bottom in bottoms[1:]), first)
        return tensors[HEAD]

    def load_blobs(self, path: Path) -> None:
        """Load the weights of a caffemodel."""
        layers = caffemodel.read(path)
        for name, layer in self.convolutions.items():
            for parameter, blob in zip(layer.parameters(), layers[name], strict=True):
                values = np.array(blob.values, np.float32).reshape(parameter.shape)
                parameter.data = torch.from_numpy(values)

    def load_named(self, tensors: dict[str, torch.Tensor]) -> None:
        """Load tensors named ``<layer>.weight`` and ``<layer>.bias``."""
        for name, layer in self.convolutions.items():
            for kind, parameter in layer.named_parameters():
                parameter.data = tensors[f"{name}.{kind}"].reshape(parameter.shape).float().clone()

    def freeze_before(self, first: str) -> None:
        """Train only the layer `first` and those after it in the prototxt."""
        names = list(self.convolutions)
        if first not in names:
            raise ValueError(f"there is no layer {first!r}: take one of {', '.join(names)}")
        for name in names[: names.index(first)]:
            self.convolutions[name].requires_grad_(False)


def _convolution(kind: str, inputs: int, given: prototxt.Message) -> nn.Module:
    module = nn.Conv2d if kind == "Convolution" else nn.ConvTranspose2d
    return module(
        inputs,
        given.integer("num_output"),
        given.integer("kernel_size"),
        stride=given.integer("stride", 1),
        padding=given.integer("pad", 0),
        dilation=given.integer("dilation", 1),
        groups=given.integer("group", 1),
        bias=given.flag("bias_term", True),
    )


def load(init: str) -> tuple[Network, np.ndarray]:
    """Return a network and its (313, 2) centres.

    Parameters
    ----------
    init : str
        A model's name, a folder with one prototxt, one caffemodel and one .npy, or a training's
        state.pt.
    """
    path = Path(init)
    if path.suffix == ".pt":
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = Network(state["prototxt"])
        network.load_named(state["ema"])
        return network, state["centers"].numpy()
    if path.is_dir():
        found = [sorted(path.glob(f"*.{suffix}")) for suffix in ("prototxt", "caffemodel", "npy")]
        if [len(files) for files in found] != [1, 1, 1]:
            raise ValueError(f"{path}: it should hold one .prototxt, one .caffemodel and one .npy")
        files = colorcv.ModelFiles(
            prototxt=found[0][0], caffemodel=found[1][0], centers=found[2][0]
        )
    else:
        files = resolve(init)
    network = Network(files.prototxt.read_text(encoding="utf-8"))
    network.load_blobs(files.caffemodel)
    return network, np.load(files.centers).astype(np.float32)
