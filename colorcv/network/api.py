"""Load a network from its Caffe files or from an ONNX file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .._typing import Device, Memory, StrPath
from ..errors import ModelFormatError, OptionError
from . import device as devices
from .adapter import Adapter
from .caffe import caffemodel, centers, importer, prototxt
from .graph import Graph, Shape
from .inference import Network
from .rewrites.head import find_features, find_head

__all__ = ["load", "load_onnx"]

MAX_SIDE = 4096  # pixels of the network's input
MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-6, 1e6


def load(
    prototxt: StrPath,
    caffemodel: StrPath,
    centers: StrPath | None,
    *,
    device: Device = "auto",
    input_hw: tuple[int, int] | None = None,
    temperature: float | None = None,
    memory: Memory = "auto",
) -> Network:
    """Load a colorization network from its Caffe files.

    Parameters
    ----------
    prototxt, caffemodel, centers : path
        The network's layers, its weights, and the (313, 2) centres as .npy, or None if it has no
        layer of centres.
    device : {"auto", "cpu", "cuda", "cuda-fp16", "opencl", "opencl-fp16"}
        "auto" is CUDA if OpenCV has it and its output agrees with the CPU's, else the CPU.
    input_hw : (int, int), optional
        Rows and columns of the lightness, in place of the prototxt's.
    temperature : float, optional
        T of the annealed mean, in place of the 1/T in the prototxt.
    memory : {"auto", "fast", "balanced", "low"}
        How much memory the network may take on the CPU, which decides its speed. "auto" is
        "balanced" if it fits into the available memory, else "low".

    Raises
    ------
    ModelFormatError
        A file cannot be read or has invalid content.
    OptionError
        An option is out of its range.
    DeviceError
        The device is not available or cannot run the network.
    """
    if device != "auto":
        _check_device(device)
    temperature = _check_temperature(temperature)
    input_hw = _check_input_hw(input_hw)
    paths = (Path(prototxt), Path(caffemodel), None if centers is None else Path(centers))

    def read_graph() -> Graph:
        return _read_graph(paths, input_hw, temperature)

    return Network(read_graph, device, memory)


def load_onnx(
    path: StrPath,
    adapter: Adapter,
    *,
    input_hw: tuple[int, int],
    output: str,
    device: Device = "auto",
    memory: Memory = "auto",
) -> Network:
    """Load a colorization network from an ONNX file.

    Parameters
    ----------
    path : path
    adapter : Adapter
        What the network takes and gives.
    input_hw : (int, int)
        Rows and columns of its inputs.
    output : str
        Name of the output that is used.
    device, memory
        As for `load`.

    Raises
    ------
    ModelFormatError
        The file cannot be read, or holds an operator that is not supported.
    OptionError
        An option is out of its range.
    DeviceError
        The device is not available or cannot run the network.
    """
    from .onnx_import import import_onnx, read_signature  # most programs need no ONNX files

    if device != "auto":
        _check_device(device)
    file = Path(path)
    height, width = _check_input_hw(input_hw) or input_hw
    shapes: dict[str, Shape] = {}
    for name, info in read_signature(file).inputs.items():
        declared = info.shape
        if declared is None or len(declared) != 4 or declared[1] is None:
            raise ModelFormatError(
                f"{file}: input {name!r} must have shape (1, channels, height, width) with known "
                f"channels, got {declared}"
            )
        shapes[name] = (declared[0] or 1, declared[1], height, width)

    def read_graph() -> Graph:
        graph = _with_output(import_onnx(file, shapes).graph, output)
        shape = graph.output_shape
        if len(shape) != 4 or shape[0] != 1 or shape[1] not in (2, 3):
            raise ModelFormatError(
                f"{file}: output {output!r} must have shape (1, 2 or 3, height, width), got {shape}"
            )
        if graph.features is not None:
            return graph
        return replace(graph, features=find_features(graph))

    return Network(read_graph, device, memory, adapter)


def _with_output(graph: Graph, output: str) -> Graph:
    """Return a graph with one output, without the nodes that do not lead to it."""
    needed = {output, graph.features}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    nodes = tuple(node for node in graph.nodes if node.name in needed)
    return replace(graph, output=output, more_outputs=(), nodes=nodes)


def _read_graph(
    paths: tuple[Path, Path, Path | None],
    input_hw: tuple[int, int] | None,
    temperature: float | None,
) -> Graph:
    prototxt_file, caffemodel_file, centers_file = paths
    graph = importer.build(
        prototxt.read(prototxt_file),
        caffemodel.read(caffemodel_file),
        None if centers_file is None else centers.read(centers_file),
        weights_file=str(caffemodel_file),
        input_hw=input_hw,
        temperature=temperature,
    )
    head = find_head(graph)
    features = find_features(graph) if head is None else head[0].inputs[0]
    return graph if features == graph.input else replace(graph, features=features)


def _check_device(name: object) -> None:
    if not isinstance(name, str):
        raise OptionError(f"device must be a string, got {name!r}")
    devices.check(name)


def _check_temperature(temperature: float | None) -> float | None:
    if temperature is None:
        return None
    try:
        value = float(temperature)
    except (TypeError, ValueError) as err:
        raise OptionError(f"temperature must be a number, got {temperature!r}") from err
    if not MIN_TEMPERATURE <= value <= MAX_TEMPERATURE:
        raise OptionError(
            f"temperature must be between {MIN_TEMPERATURE:g} and {MAX_TEMPERATURE:g} (0.38 is "
            f"typical), got {value:g}"
        )
    return value


def _check_input_hw(input_hw: tuple[int, int] | None) -> tuple[int, int] | None:
    if input_hw is None:
        return None
    try:
        height, width = (int(side) for side in input_hw)
    except (TypeError, ValueError) as err:
        raise OptionError(f"input_hw must be (rows, columns), got {input_hw!r}") from err
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise OptionError(f"each side of input_hw must be between 1 and {MAX_SIDE}, got {input_hw}")
    return height, width
