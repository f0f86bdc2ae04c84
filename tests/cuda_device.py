# SPDX-License-Identifier: Apache-2.0
"""The ops on CUDA without a GPU: emulated kernels behind the real bindings, and a double of CuPy.

Arrays lie in the emulator's memory, where kernels may read only what was written and only within bounds. With
PYVISION_TEST_DEVICE=cuda in the environment the same tests run on a real device, with torch's tensors; with
PYVISION_TEST_DEVICE=torch they do so in the emulator.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.cuda_emulator.build import MODULE, build

STREAM = 0x57EA  # the handle of the double's current stream: kernels in the emulator do not look at it


@cache
def _library() -> tuple[ModuleType, ctypes.CDLL]:
    path = build("_cuda", MODULE)
    spec = importlib.util.spec_from_file_location("pyvision._cuda", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    emulator = ctypes.CDLL(str(path))
    emulator.emulator_malloc.restype = ctypes.c_void_p
    emulator.emulator_malloc.argtypes = [ctypes.c_size_t]
    emulator.emulator_free.argtypes = [ctypes.c_void_p]
    emulator.emulator_kernels_run.restype = ctypes.c_char_p
    emulator.emulator_upload.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    return module, emulator


def kernels_run() -> set[tuple[Path, str]]:
    """The source and the name of every kernel that the emulator has run."""
    lines = _library()[1].emulator_kernels_run().decode().splitlines()
    pairs = [line.partition(": ") for line in lines]
    return {(Path(file), re.findall(r"(\w+)\s*[<(]", signature + "(")[0]) for file, _, signature in pairs}


class Array:
    """An n-dimensional array in the emulator's memory, with what pyvision asks of ``cupy.ndarray``.

    ``host`` is a NumPy view of the same memory; ``name`` the dtype's, for bfloat16 has uint16's memory here.
    """

    def __init__(self, host: np.ndarray, name: str, device: int = 0) -> None:
        self.host, self.name = host, name
        self.device = SimpleNamespace(id=device)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.host.shape

    @property
    def dtype(self) -> str:
        return self.name

    @property
    def flags(self) -> Any:
        return self.host.flags

    @property
    def strides(self) -> tuple[int, ...]:
        return self.host.strides

    @property
    def itemsize(self) -> int:
        return self.host.itemsize

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self.host.__array_interface__["data"][0])

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.host.__array_interface__, "stream": STREAM}

    def transpose(self, axes: tuple[int, ...]) -> Array:
        return Array(self.host.transpose(axes), self.name, self.device.id)

    def astype(self, dtype: str) -> Array:
        values = _f32_of_bf16(self.host) if self.name == "bfloat16" else self.host
        return _upload(_bf16_bits(values) if dtype == "bfloat16" else values.astype(dtype), dtype)

    def __getitem__(self, key: Any) -> Array:
        if isinstance(key, Array):  # indices, which copy
            return _upload(self.host[key.host], self.name)
        return Array(self.host[key], self.name, self.device.id)

    def __len__(self) -> int:
        return len(self.host)

    def __int__(self) -> int:
        return int(self.host)


def _allocate(shape: tuple[int, ...], dtype: str, name: str) -> Array:
    _, emulator = _library()
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    address = emulator.emulator_malloc(size)
    memory = (ctypes.c_char * size).from_address(address)
    weakref.finalize(memory, _free, address)  # NumPy's views keep `memory` alive
    _allocated.add(address)
    return Array(np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape), name)


_allocated: set[int] = set()


def _free(address: int) -> None:
    _allocated.discard(address)
    _library()[1].emulator_free(address)


def _upload(host: np.ndarray, name: str) -> Array:
    dense = np.ascontiguousarray(host)
    array = _allocate(host.shape, str(dense.dtype), name)
    _library()[1].emulator_upload(array.data.ptr, dense.ctypes.data, dense.nbytes)
    return array


class Cuda:
    """What a test holds: arrays to the emulated device and back."""

    def __init__(self) -> None:
        self.streams_asked: list[int] = []

    def dtype(self, array: Array) -> str:
        """The name of the array's dtype."""
        return array.name

    def is_channels_last(self, array: Array) -> bool:
        """Whether a 4-d array's memory is in NHWC order."""
        return bool(array.host.transpose(0, 2, 3, 1).flags.c_contiguous)

    def array(self, host: Any, dtype: str | None = None) -> Array:
        """A copy of ``host`` on the device; "bfloat16" rounds to it."""
        host = np.asarray(host)
        if dtype == "bfloat16":
            return _upload(_bf16_bits(host), dtype)
        host = host if dtype is None else host.astype(dtype)
        return _upload(host, host.dtype.name)

    def strided(self, host: np.ndarray) -> Array:
        """The same with ``host``'s order of axes in memory, as channels_last has one."""
        order = tuple(np.argsort([-stride for stride in host.strides], kind="stable"))
        dense = _upload(host.transpose(order), host.dtype.name)
        return dense.transpose(tuple(np.argsort(order)))

    def numpy(self, array: Array) -> np.ndarray:
        """The array on the host, bfloat16 as float32."""
        assert isinstance(array, Array)
        if array.name == "bfloat16":
            return _f32_of_bf16(array.host)
        return array.host.copy()

    def processors(self) -> int:
        """How many the device has: as many tiles at least make the largest ones."""
        return int(_library()[1].emulator_multiprocessors())

    def falling_order(self, falling: bool) -> None:
        """Run blocks and threads from the last to the first."""
        _library()[1].emulator_set_falling_order(int(falling))

    def captured(self, call: Callable[[], Any]) -> Any:
        """The result of a call that may not wait for the device, nor read from it."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("__int__", "__len__"):
                patch.setattr(Array, name, lambda _: pytest.fail("the device is read"))
            return call()


class TorchCuda(Cuda):
    """The same for a real device, with torch's arrays."""

    def __init__(self) -> None:
        super().__init__()
        self._torch = import_module("torch")

    def array(self, host: Any, dtype: str | None = None) -> Any:
        tensor = self._torch.from_numpy(np.array(host, order="C")).cuda()
        return tensor if dtype is None else tensor.to(getattr(self._torch, dtype))

    def strided(self, host: np.ndarray) -> Any:
        order = tuple(np.argsort([-stride for stride in host.strides], kind="stable"))
        return self.array(host.transpose(order)).permute(tuple(np.argsort(order).tolist()))

    def numpy(self, array: Any) -> np.ndarray:
        assert array.is_cuda
        on_host = array.cpu()
        host: np.ndarray = (on_host.float() if on_host.dtype == self._torch.bfloat16 else on_host).numpy()
        return host

    def dtype(self, array: Any) -> str:
        return str(array.dtype).removeprefix("torch.")

    def is_channels_last(self, array: Any) -> bool:
        return bool(array.permute(0, 2, 3, 1).is_contiguous())

    def processors(self) -> int:
        return int(self._torch.cuda.get_device_properties(0).multi_processor_count)

    def falling_order(self, falling: bool) -> None:
        """The device has an order of its own, which differs from run to run."""

    def captured(self, call: Callable[[], Any]) -> Any:
        """The result of a graph that was captured from the call, run twice; torch captures none without its
        cache."""
        torch = self._torch
        y = call()
        if "PYTORCH_NO_CUDA_MEMORY_CACHING" in os.environ:
            return y
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = call()
        for _ in range(2):
            graph.replay()
        torch.cuda.synchronize()
        return y


class EmulatedTorchCuda(TorchCuda):
    """The same over the emulator's memory."""

    processors = Cuda.processors

    def captured(self, call: Callable[[], Any]) -> Any:
        return call()


def torch_installed() -> Iterator[TorchCuda]:
    """Torch's tensors over the emulator's memory, which say that they are on CUDA."""
    torch = import_module("torch")
    plain = torch.Tensor

    class Tensor(plain):  # type: ignore[misc, valid-type]
        is_cuda = True

        def get_device(self) -> int:
            return 0

        def cpu(self) -> Any:
            return self.as_subclass(plain).clone()

        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            return on_device(super().__torch_function__(func, types, args, kwargs))

    def over(array: Array, dtype: Any) -> Any:
        return torch.from_numpy(array.host).view(dtype).as_subclass(Tensor)

    def on_device(y: Any) -> Any:
        """A result of torch's, moved to the device unless it is a view of what is there or has a graph."""
        if isinstance(y, tuple | list):
            return type(y)(on_device(part) for part in y)
        if not isinstance(y, Tensor) or y.requires_grad or y.untyped_storage().data_ptr() in _allocated:
            return y
        return upload(y.as_subclass(plain))

    def upload(host: Any) -> Any:
        bits = host.contiguous().view(torch.int16) if host.dtype == torch.bfloat16 else host
        return over(_upload(bits.numpy(), ""), host.dtype)

    def empty(shape: tuple[int, ...], dtype: Any, device: str) -> Any:
        assert device == "cuda:0"
        kind = torch.int16 if dtype == torch.bfloat16 else dtype
        return over(_allocate(shape, str(kind).removeprefix("torch."), ""), dtype)

    def full(shape: tuple[int, ...], value: float, dtype: Any, device: str) -> Any:
        assert device == "cuda:0"
        return upload(plain.new_full(torch.zeros(0, dtype=dtype), shape, value))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "empty", empty)
        patch.setattr(torch, "full", full)
        patch.setattr(plain, "cuda", upload)
        patch.setattr(torch.cuda, "current_stream", lambda index: SimpleNamespace(cuda_stream=STREAM + index))
        with _in_place_of({"pyvision._cuda": _library()[0]}):
            yield EmulatedTorchCuda()


def _bf16_bits(x: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _f32_of_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def installed(cuda: Cuda) -> Iterator[Cuda]:
    """Put the emulated kernels and CuPy's double in their places."""

    def get_current_stream(device: int) -> SimpleNamespace:
        cuda.streams_asked.append(device)
        return SimpleNamespace(ptr=STREAM, record=lambda: SimpleNamespace(done=True))

    def device(index: int) -> AbstractContextManager[None]:
        assert index == 0
        return nullcontext()

    def empty(shape: tuple[int, ...], dtype: str) -> Array:
        return _allocate(shape, "uint16" if dtype == "bfloat16" else dtype, dtype)

    def dense(x: Array) -> Array:
        return x if x.flags.c_contiguous else _upload(x.host, x.name)

    double = ModuleType("cupy")
    double.__dict__.update(
        ndarray=Array,
        empty=empty,
        full=lambda shape, value, dtype: _upload(np.full(shape, value, dtype), dtype),
        ascontiguousarray=dense,
        asarray=lambda x: x.held,
        cuda=SimpleNamespace(get_current_stream=get_current_stream, Device=device),
    )
    names = {"cupy": double, "pyvision._cuda": _library()[0]}
    with _in_place_of(names):
        yield cuda
    cuda.falling_order(False)


@contextmanager
def _in_place_of(modules: dict[str, ModuleType]) -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
