"""`Predictor`: a model's network behind one lock, rebuilt after pickling and forking."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, get_args

import cv2
import numpy as np
import numpy.typing as npt

from . import network
from ._typing import AnyArray, Device, Float32Array, Memory, MemoryForm, ModelName
from .errors import ImageError, OptionError
from .models import ModelFiles, OnnxModel, resolve
from .models.conventions import Resolved, resolve_conventions
from .models.registry import MODELS
from .tensors import ConventionAdapter

if TYPE_CHECKING:
    from .network.onnx_import import OnnxSignature

__all__ = ["MEMORY_FORMS", "Predictor", "check_memory", "resolve_onnx"]

MEMORY_FORMS: tuple[Memory, ...] = ("auto", *get_args(MemoryForm))
# Multiply-adds of one run, and the interval of key frames up to it: zhang2016 has 32 billion.
# A frame between costs under a hundredth of that, so that the network stays most of the time of a
# video; beyond 16 frames the flow from the key frames is often lost.
_INTERVALS, _LONGEST = ((50e9, 8), (120e9, 12)), 16


class Predictor:
    """The part of `Colorizer` that owns the network; see there for the parameters."""

    def __init__(
        self,
        model: ModelName | str | ModelFiles | OnnxModel = "zhang2016",
        *,
        device: Device = "auto",
        temperature: float | None = None,
        memory: Memory = "auto",
        low_memory: bool = False,
    ) -> None:
        self._options: dict[str, Any] = {
            "model": model,
            "device": device,
            "temperature": temperature,
            "memory": check_memory(memory, low_memory=low_memory),
        }
        self._files = resolve(model)
        self._resolved: Resolved | None = None
        if isinstance(self._files, OnnxModel):
            if temperature is not None:
                raise OptionError("temperature is for the networks of 313 colours, not OnnxModel")
            self._resolved = resolve_onnx(self._files)[1]
        self._lock = threading.Lock()
        self._network = self._build(None)
        self._resized_network: network.Network | None = None
        self._forked = False
        _instances.add(self)

    def _build(self, input_hw: tuple[int, int] | None) -> network.Network:
        if self._resolved is not None:
            return self._build_onnx(self._resolved, input_hw)
        assert isinstance(self._files, ModelFiles)
        return network.load(
            self._files.prototxt,
            self._files.caffemodel,
            self._files.centers,
            device=self._options["device"],
            input_hw=input_hw,
            temperature=self._options["temperature"],
            memory=self._options["memory"],
        )

    def _build_onnx(self, resolved: Resolved, input_hw: tuple[int, int] | None) -> network.Network:
        path = self._files.path  # type: ignore[union-attr]
        if input_hw not in (None, resolved.input_hw) and not resolved.is_open:
            height, width = resolved.input_hw
            raise OptionError(f"{path}: the network takes {width}x{height} pixels only")
        return network.load_onnx(
            path,
            ConventionAdapter(resolved.conventions),
            input_hw=input_hw or resolved.input_hw,
            output=resolved.output,
            device=self._options["device"],
            memory=self._options["memory"],
        )

    @property
    def model(self) -> str | ModelFiles | OnnxModel:
        """The model's name or files, as given."""
        model: str | ModelFiles | OnnxModel = self._options["model"]
        return model

    @property
    def device(self) -> str:
        """The device in use: ``"cpu"``, ``"cuda"``, ..., never ``"auto"``."""
        return self._network.device

    @property
    def device_reason(self) -> str:
        """Why this device is in use, as a sentence; for an `OnnxModel` also its preset."""
        reason = self._network.device_reason
        return reason if self._resolved is None else f"{reason}; {self._resolved.reason}"

    @property
    def memory(self) -> str:
        """The memory form in use: ``"fast"``, ``"balanced"`` or ``"low"``, never ``"auto"``."""
        return self._network.memory

    @property
    def input_hw(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return self._network.input_hw

    @property
    def default_saturation(self) -> float:
        """Factor on the network's ab that ``saturation=1.0`` stands for."""
        return MODELS[self.model].default_saturation if isinstance(self.model, str) else 1.0

    @property
    def default_keyframe_interval(self) -> int:
        """Interval of key frames in videos and live frames, longer for larger networks."""
        cost = self._network.multiply_adds
        return next((interval for limit, interval in _INTERVALS if cost <= limit), _LONGEST)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model} on {self.device}>"

    def __getstate__(self) -> dict[str, Any]:
        return self._options

    def __setstate__(self, options: dict[str, Any]) -> None:
        Predictor.__init__(self, **options)

    def predict_ab(self, lightness: npt.ArrayLike) -> Float32Array:
        """Run the network without resizing its input or output, and without `default_saturation`.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
            `input_hw` is the size the model was trained at. Any other size that the network can
            take builds a second network, which is kept until a third size is asked for.

        Returns
        -------
        (h, w, 2) float32, a and b in about -110..110
            At the network's output size: a (224, 224) input gives (56, 56, 2) with zhang2016.

        Raises
        ------
        ImageError
            Not a two-dimensional array of finite numbers in 0..100.
        OptionError
            The network cannot take an input of this size.
        """
        lightness = _as_plane(lightness)
        with self._lock:
            return self._network_for(lightness.shape).predict_ab(lightness)

    def predict_features(self, lightness: npt.ArrayLike) -> tuple[Float32Array, Float32Array]:
        """Run the network as `predict_ab` does, and also return its last features.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100

        Returns
        -------
        ab : (h, w, 2) float32
        features : (h, w, C) float32
            The input of the layer that predicts the probabilities of the 313 colours; C is 128
            for lite, 256 for zhang2016. Of a network without such a layer the input of its last
            layer with weights, else a and b and a constant beside them.

        Raises
        ------
        ImageError, OptionError
            As for `predict_ab`.
        """
        lightness = _as_plane(lightness)
        with self._lock:
            return self._network_for(lightness.shape).predict_features(lightness)

    @property
    def takes_hints(self) -> bool:
        """True if the network takes hints itself, as siggraph17 does."""
        return self._network.takes_hints

    def predict_hinted(
        self, lightness: npt.ArrayLike, hints: tuple[Float32Array, Float32Array]
    ) -> Float32Array:
        """Run a network that takes hints.

        Parameters
        ----------
        lightness : (H, W) float32, L* in 0..100
        hints : ((H, W, 2) float32, (H, W) float32)
            a and b where the mask is 1, else 0; and the mask.

        Returns
        -------
        (h, w, 2) float32, a and b

        Raises
        ------
        ModelFormatError
            The network takes no hints.
        ImageError, OptionError
            As for `predict_ab`.
        """
        lightness = _as_plane(lightness)
        with self._lock:
            return self._network_for(lightness.shape).predict_hinted(lightness, hints)

    def network_head(self) -> network.Head:
        """Return the weights that turn the last features into probabilities of the 313 colours."""
        with self._lock:
            return self._network_for(self._network.input_hw).head

    def _network_for(self, input_hw: tuple[int, ...]) -> network.Network:
        if self._forked:
            self._network, self._resized_network = self._build(None), None
            self._forked = False
        if self._network.input_hw == input_hw:
            return self._network
        if self._resized_network is None or self._resized_network.input_hw != input_hw:
            self._resized_network = None  # free its memory before the next one is built
            self._resized_network = self._build((input_hw[0], input_hw[1]))
        return self._resized_network


def resolve_onnx(model: OnnxModel) -> tuple[OnnxSignature, Resolved]:
    """Return what an ONNX file says about itself, and how it is used."""
    from .network.onnx_import import read_signature  # most programs need no ONNX files

    signature = read_signature(model.path)
    inputs, outputs = (
        {name: info.shape for name, info in infos.items()}
        for infos in (signature.inputs, signature.outputs)
    )
    return signature, resolve_conventions(model, inputs, outputs)


def check_memory(memory: Memory, *, low_memory: bool = False) -> Memory:
    """Return the memory form that was asked for; `low_memory` is an alias of "low".

    Raises
    ------
    OptionError
        There is no such form, or the two contradict each other.
    """
    if memory not in MEMORY_FORMS:
        names = ", ".join(map(repr, MEMORY_FORMS[:-1]))
        raise OptionError(f"memory must be {names} or {MEMORY_FORMS[-1]!r}, got {memory!r}")
    if not low_memory:
        return memory
    if memory not in ("auto", "low"):
        raise OptionError(f"low_memory=True contradicts memory={memory!r}; leave out one of them")
    return "low"


def _as_plane(lightness: npt.ArrayLike) -> AnyArray:
    plane = np.asarray(lightness)
    if plane.ndim != 2 or plane.size == 0:
        raise ImageError(
            "expected lightness as an (H, W) array of L* in 0..100, got an array of shape "
            f"{plane.shape}"
        )
    return plane


_instances: weakref.WeakSet[Predictor] = weakref.WeakSet()


def _after_fork() -> None:
    """Replace the locks that other threads of the parent may have held."""
    if not _instances:
        return
    # A forked child has none of the threads of OpenCV's pool, but may inherit its locks in the
    # locked state: 1 of 150 children hung. With 0 threads, the pool is never entered.
    cv2.setNumThreads(0)
    for predictor in list(_instances):
        predictor._lock = threading.Lock()
        predictor._forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
