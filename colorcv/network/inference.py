"""A loaded network: lightness in, ab out, on the chosen device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .._logging import logger
from .._typing import Float32Array, Memory, MemoryForm
from ..errors import DeviceError, ImageError, ModelFormatError
from . import device as devices
from .adapter import Adapter, CaffeAdapter, HintPlanes
from .engine import Engine
from .forms import FormLoader
from .graph import Graph
from .lightness import check_lightness, sample_pattern
from .loading import OutOfMemoryError
from .rewrites.head import find_head

__all__ = ["Head", "Network"]

# Largest difference in ab between the outputs of a device and the CPU at which "auto" uses the
# device. Rounding changes the annealed mean by hundredths, a wrong kernel by tens.
AUTO_TOLERANCE = 1.0
_NO_HEAD = (
    "suggestions and variants need a network that ends in shares of 313 colours and their mean; "
    "this one does not, use another model"
)
_GREY = 30.0  # chroma of colours that are as far from grey as from a saturated one


class Head(NamedTuple):
    """Weights of the network's last layers, from features to ab.

    ``softmax(scale * (kernel @ features + bias))`` is the probability of each of the 313 bins, and
    ab is the mean of `centers` weighted by it.
    """

    kernel: Float32Array  # (313, C)
    bias: Float32Array  # (313,)
    scale: Float32Array  # (313,) or (1,): 1/T
    centers: Float32Array  # (313, 2): a and b


class Network:
    """A network on a device. Threads that share it need a lock.

    Parameters
    ----------
    read_graph : callable
        Returns the imported graph; called each time the network is loaded on a device.
    device : str
        "auto" or a device.
    memory : {"auto", "fast", "balanced", "low"}
        How much memory the network may take on the CPU; "auto" chooses by what is available.
    adapter : Adapter, optional
        What the network takes and gives; default that of Caffe networks.

    Attributes
    ----------
    memory : {"fast", "balanced", "low"}
        The form in use. It becomes a smaller one if memory runs out.
    input_hw, output_hw : (int, int)
        Rows and columns of the lightness that goes in and of the ab that comes out.
    takes_hints : bool
        True if the network takes hints itself.
    multiply_adds : int
        Of one run, before rewrites.
    device : {"cpu", "cuda", "cuda-fp16", "opencl", "opencl-fp16"}
        The device in use.
    device_reason : str
        Why it is in use.
    """

    _engine: Engine

    def __init__(
        self,
        read_graph: Callable[[], Graph],
        device: str,
        memory: Memory,
        adapter: Adapter | None = None,
    ) -> None:
        self._read_graph = read_graph
        self._adapter = adapter
        self._has_features = False
        self._auto = device == "auto"
        self._loader = FormLoader(read_graph, memory)
        self.device, self._device_reason = device, "requested"
        if self._auto:
            self._select_device()
        else:
            self._load(device)
            if device != "cpu":
                self._forward(sample_pattern(self.input_hw))

    @property
    def device_reason(self) -> str:
        if self.device != "cpu" or not self._loader.reason:
            return self._device_reason
        return f"{self._device_reason}; {self._loader.reason}"

    @property
    def memory(self) -> MemoryForm:
        return self._loader.form

    @property
    def input_hw(self) -> tuple[int, int]:
        return self._engine.input_hw

    @property
    def output_hw(self) -> tuple[int, int]:
        height, width = self._engine.output_shape[2:]
        return height, width

    @property
    def multiply_adds(self) -> int:
        return self._engine.multiply_adds

    @property
    def takes_hints(self) -> bool:
        """True if the network takes hints itself."""
        return self.adapter.takes_hints

    @property
    def adapter(self) -> Adapter:
        """What the network takes and gives."""
        if self._adapter is None:
            self._adapter = CaffeAdapter(next(iter(self._engine.inputs.values()))[1])
        return self._adapter

    def predict_hinted(self, lightness: npt.ArrayLike, hints: HintPlanes) -> Float32Array:
        """Predict colour from lightness and hints.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
        hints : ((H, W, 2) float32, (H, W) float32)
            a and b where the mask is 1, else 0; and the mask.

        Returns
        -------
        (h, w, 2) float32

        Raises
        ------
        ModelFormatError
            The network takes no hints.
        ImageError, DeviceError
            As for `predict_ab`.
        """
        if not self.takes_hints:
            raise ModelFormatError("the network takes no hints; use steering='regression'")
        return self._predict_plane(check_lightness(lightness, self.input_hw)[0], hints)[0]

    def predict_ab(self, lightness: npt.ArrayLike) -> Float32Array:
        """Predict colour from lightness.

        Parameters
        ----------
        lightness : (H, W) or (N, H, W) float32, L* in 0..100
            With (H, W) equal to `input_hw`.

        Returns
        -------
        (h, w, 2) or (N, h, w, 2) float32
            a and b, with (h, w) equal to `output_hw`.

        Raises
        ------
        ImageError
            The lightness has another shape or dtype, or values outside 0..100.
        DeviceError
            OpenCV failed. If "auto" chose the device and it is not the CPU, the network continues
            on the CPU instead, and `device` and `device_reason` say so.
        """
        planes = check_lightness(lightness, self.input_hw)
        ab = np.empty((len(planes), *self.output_hw, 2), np.float32)
        for plane, out in zip(planes, ab, strict=True):
            out[:] = self._predict_plane(plane)[0]
        return ab if np.ndim(lightness) == 3 else ab[0]

    def predict_features(self, lightness: npt.ArrayLike) -> tuple[Float32Array, Float32Array]:
        """Predict colour, and return the features that the head computes it from.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
            With (H, W) equal to `input_hw`.

        Returns
        -------
        ab : (h, w, 2) float32
            As `predict_ab` returns it.
        features : (h, w, C) float32
            Input of the layer with the 313 bins, with (h, w) equal to `output_hw` for the models
            of this package; of other networks the input of the last layer with weights, else a
            and b and a constant beside them.

        Raises
        ------
        ImageError, DeviceError
            As for `predict_ab`.
        """
        if np.ndim(lightness) != 2:
            raise ImageError(
                f"lightness must have shape {self.input_hw}, got {np.shape(lightness)}"
            )
        if not self._engine.has_features:
            ab = self.predict_ab(lightness)
            # Scaled to length 1, as the regression does, they are the hue and the saturation.
            return ab, np.dstack([ab, np.full(ab.shape[:2], _GREY, np.float32)])
        plane = check_lightness(lightness, self.input_hw)[0]
        self._has_features = True
        ab, features = self._predict_plane(plane)
        assert features is not None
        return ab, features

    @cached_property
    def head(self) -> Head:
        """Weights of the last layers, read from the model's files on first access.

        Raises
        ------
        ModelFormatError
            The network does not end in 313 bins and their mean.
        """
        graph = self._read_graph()
        chain = find_head(graph)
        if chain is None:
            raise ModelFormatError(_NO_HEAD)
        first, scale, _, last = chain
        kernel, bias, factor, centers = (
            np.array(graph.constants[name].array(), np.float32)
            for name in (*first.inputs[1:3], scale.inputs[1], last.inputs[1])
        )
        return Head(
            kernel.reshape(len(bias), -1), bias, factor.reshape(-1), centers.reshape(2, -1).T
        )

    def _predict_plane(
        self, plane: Float32Array, hints: HintPlanes | None = None
    ) -> tuple[Float32Array, Float32Array | None]:
        while True:
            try:
                if self._has_features:
                    self._engine.request_features()
                return self._forward(plane, hints)
            except OutOfMemoryError:
                if self.device != "cpu" or not self._loader.shrink():
                    raise
                self._load("cpu")
            except DeviceError as err:
                if not self._auto or self.device == "cpu":
                    raise
                self._fall_back_to_cpu(f"{self.device} failed during use: {err}")

    def _forward(
        self, plane: Float32Array, hints: HintPlanes | None = None
    ) -> tuple[Float32Array, Float32Array | None]:
        """Return ab and, once `predict_features` has been called, the features."""
        engine = self._engine
        output, more = engine.run(self.adapter.encode(plane, hints, engine.inputs))
        if output.shape != engine.output_shape:
            raise DeviceError(
                f"expected output of shape {engine.output_shape} on {self.device!r}, got "
                f"{output.shape}"
            )
        # NaN fails the comparison too; OpenCV 5 may write the largest float in place of NaN.
        if not (np.abs(output) <= self.adapter.max_output).all():
            if self.device != "cpu":
                raise DeviceError(f"the network's output on {self.device!r} is not a colour")
            raise ModelFormatError(
                f"the network's output is not a colour (up to {np.abs(output).max():g}); its "
                "weights are damaged or far too large, or its units are others than stated"
            )
        ab = self.adapter.decode(np.asarray(output, np.float32))
        if more is None:
            return ab, None
        features: Float32Array = np.ascontiguousarray(more[0].transpose(1, 2, 0))
        if not np.isfinite(features).all():
            raise DeviceError(f"the network's features on {self.device!r} are not finite")
        return ab, features

    def _select_device(self) -> None:
        """Use CUDA if it is available and its output agrees with the CPU's, else the CPU."""
        cuda = next(info for info in devices.devices() if info.name == "cuda")
        if not cuda.available:
            self._fall_back_to_cpu(f"CUDA is not available: {cuda.reason}")
            return
        try:
            self.device = "cuda"
            self._load("cuda")
            cuda_ab = self._forward(sample_pattern(self.input_hw))[0].copy()
        except DeviceError as err:
            self._fall_back_to_cpu(f"CUDA failed: {err}")
            return
        cuda_engine = self._engine
        self._fall_back_to_cpu("CUDA is available but disagrees with the CPU")
        difference = float(np.abs(self._forward(sample_pattern(self.input_hw))[0] - cuda_ab).max())
        if difference <= AUTO_TOLERANCE:
            self._engine, self.device = cuda_engine, "cuda"
            self._device_reason = (
                f"CUDA is available and agrees with the CPU within {difference:.3f} in ab"
            )
        else:
            self._device_reason += f" (by up to {difference:.1f} in ab)"
            logger.warning("running on the CPU: %s", self._device_reason)

    def _fall_back_to_cpu(self, reason: str) -> None:
        self.device, self._device_reason = "cpu", reason
        self._load("cpu")

    def _load(self, device: str) -> None:
        self._engine = self._loader.load(device)
