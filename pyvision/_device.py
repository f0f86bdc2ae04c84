# SPDX-License-Identifier: Apache-2.0
"""CUDA arrays in and out, as _array.py does for the CPU. Memory, stream and kind are the caller's.

torch and CuPy are spoken to directly. Other frameworks' arrays (JAX, numba) come and go through CuPy and
DLPack, which orders their streams with ours. Nothing here waits for the device.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from pyvision._array import Array, check_dtype, check_layout, is_torch, without_graph
from pyvision._backend import cuda_kernels

_DLPACK_CUDA = (2, 13)  # device memory, managed memory


@dataclass(frozen=True)
class Operand:
    """An array on the device, dense unless taken strided, and what the kernels take in its place."""

    array: Array
    view: Any
    shape: tuple[int, ...]
    dtype: str


def view_of(x: Operand | None) -> Any:
    """What the kernels take, of an argument that may be None."""
    return None if x is None else x.view


class Device:
    """Where a call's arrays lie: their framework, its current stream, and the kernels."""

    def __init__(self, framework: _Framework, index: int, kernels: ModuleType) -> None:
        self._framework = framework
        self._index = index
        self.kernels = kernels
        self.stream = kernels.Stream(index, framework.stream(index))

    def take(self, x: Array, op: str, name: str, dtypes: Sequence[str]) -> Operand:
        """``x`` as it is, or a dense copy.

        Raises:
            TypeError: ``x`` is of another dtype, or records gradients.
        """
        array = self._framework.own(x, op, name)
        check_dtype(self._framework.dtype(array), op, name, dtypes)
        return self._operand(self._allocated(self._framework.dense, array))

    def take_strided(self, x: Array, op: str, name: str, dtypes: Sequence[str]) -> Operand:
        """``x`` as it lies, for kernels that take any strides.

        Raises:
            TypeError: ``x`` is of another dtype, or records gradients.
        """
        array = self._framework.own(x, op, name)
        dtype, shape = self._framework.dtype(array), tuple(array.shape)
        check_dtype(dtype, op, name, dtypes)
        address, strides = self._framework.address(array), self._framework.strides(array)
        view = self.kernels.DeviceArray(address, shape, dtype, self._index, strides)
        return Operand(array, view, shape, dtype)

    def take_optional(self, x: Array | None, op: str, name: str, dtypes: Sequence[str]) -> Operand | None:
        """The same of an argument that may be None."""
        return None if x is None else self.take(x, op, name, dtypes)

    def astype(self, x: Operand, dtype: str) -> Operand:
        """``x``, converted where it is of another dtype."""
        if x.dtype == dtype:
            return x
        return self._operand(self._allocated(self._framework.astype, x.array, dtype))

    def empty(self, shape: tuple[int, ...], dtype: str) -> Operand:
        """Uninitialised, from the framework's own allocator."""
        return self._operand(self._allocated(self._framework.empty, shape, dtype, self._index))

    def full(self, shape: tuple[int, ...], value: float, dtype: str) -> Operand:
        """Filled with ``value``."""
        return self._operand(self._allocated(self._framework.full, shape, value, dtype, self._index))

    def workspace(self, size: int) -> Operand:
        """``size`` bytes for a kernel's intermediate results; the allocator reuses them in stream order."""
        return self.empty((size,), "uint8")

    def run(self, launchable: Any, dtype: str) -> Operand:
        """The result of what an extension's class has checked: its output and workspace allocated here."""
        y, workspace = (
            self.empty(tuple(launchable.output_shape), dtype),
            self.workspace(launchable.workspace_bytes),
        )
        launchable.run(workspace.view, y.view)
        return y

    def nhwc(self, x: Array, layout: str, op: str, name: str, dtypes: Sequence[str]) -> tuple[Operand, bool]:
        """The 4-d ``x`` as dense (N, H, W, C), and whether its memory was an NCHW array's in that order."""
        check_layout(layout, op)
        array = self._framework.own(x, op, name)
        check_dtype(self._framework.dtype(array), op, name, dtypes)
        if len(array.shape) != 4:
            raise ValueError(
                f"[{op}] expected {name} with 4 dimensions {tuple(layout)}, got shape {tuple(array.shape)}"
            )
        if layout == "NHWC":
            return self._operand(self._allocated(self._framework.dense, array)), False
        channels_last = self._framework.permuted(array, (0, 2, 3, 1))
        if self._framework.is_dense(channels_last):
            return self._operand(channels_last), not self._framework.is_dense(array)
        n, c, h, w = array.shape
        planes = self._operand(self._allocated(self._framework.dense, array))
        return self.transposed(planes, (n, c, h * w), (n, h, w, c)), False

    def planes(self, x: Array, layout: str, op: str, name: str, dtypes: Sequence[str]) -> Operand | None:
        """The 4-d NCHW ``x``, dense, for kernels to which (N * C, H, W, 1) is the same; None where its memory
        is in NHWC order."""
        check_layout(layout, op)
        array = self._framework.own(x, op, name)
        check_dtype(self._framework.dtype(array), op, name, dtypes)
        if layout == "NHWC" or len(array.shape) != 4:
            return None
        if self._framework.is_dense(self._framework.permuted(array, (0, 2, 3, 1))):
            return None
        return self._operand(self._allocated(self._framework.dense, array))

    def from_nhwc(self, y: Operand, layout: str, like_channels_last: bool) -> Array:
        """The result in ``layout``, as the caller's kind; NCHW keeps NHWC's memory where the input did."""
        if layout == "NHWC":
            return self.give(y)
        n, h, w, c = y.shape
        if like_channels_last or c == 1 or h * w == 1:
            return self._framework.give(self._framework.permuted(y.array, (0, 3, 1, 2)))
        return self.give(self.transposed(y, (n, h * w, c), (n, c, h, w)))

    def give(self, y: Operand) -> Array:
        """The result as the caller's kind."""
        return self._framework.give(y.array)

    def transposed(self, x: Operand, matrices: tuple[int, int, int], shape: tuple[int, ...]) -> Operand:
        """Each of the matrices that ``x`` is seen as transposed; the whole seen as ``shape``."""
        batch, rows, columns = matrices
        y = self.empty(shape, x.dtype)
        self.kernels.transpose(
            self.stream, self.seen_as(x, matrices), self.seen_as(y, (batch, columns, rows))
        )
        return y

    def seen_as(self, x: Operand, shape: tuple[int, ...]) -> Any:
        """What kernels take in the place of ``x``, with other extents."""
        return self.kernels.DeviceArray(self._framework.address(x.array), shape, x.dtype, self._index)

    def _allocated(self, make: Callable[..., Array], *arguments: Any) -> Array:
        """A new array, from the framework.

        Raises:
            MemoryError: the device has not enough.
        """
        try:
            return make(*arguments)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
            raise MemoryError(
                f"[cuda] expected more free memory on device {self._index}: {reason}; take a smaller batch, "
                f"or have the framework give back what it caches: {self._framework.to_give_back}"
            ) from error

    def _operand(self, array: Array) -> Operand:
        shape, dtype = tuple(array.shape), self._framework.dtype(array)
        address = self._framework.address(array) if math.prod(shape) else 0
        return Operand(array, self.kernels.DeviceArray(address, shape, dtype, self._index), shape, dtype)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is Python's, torch's or CuPy's way to say so."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def on_device(x: Array) -> bool:
    """Whether :func:`device_of` knows a device of the array, without asking for its stream."""
    return _framework_of(x) is not None and cuda_kernels() is not None


def device_of(op: str, **arrays: Array | None) -> Device | None:
    """The device all ``arrays`` lie on; None where the CPU's ops are to take them, or to refuse them.

    Raises:
        TypeError: they are of different frameworks.
        ValueError: they lie on different devices.
    """
    found = {name: _framework_of(x) for name, x in arrays.items() if x is not None}
    if not any(found.values()):
        return None
    kernels = cuda_kernels()
    if kernels is None:
        return None
    places = {
        name: "the CPU" if framework is None else f"device {framework.device(arrays[name])}"
        for name, framework in found.items()
    }
    first, *others = places
    for name in others:
        if places[name] != places[first]:
            raise ValueError(
                f"[{op}] expected all arrays on one device, got {first} on {places[first]} "
                f"and {name} on {places[name]}"
            )
        if type(found[name]) is not type(found[first]):
            raise TypeError(
                f"[{op}] expected all arrays of one framework, got {first} of {_module(arrays[first])} "
                f"and {name} of {_module(arrays[name])}"
            )
    framework = found[first]
    assert framework is not None  # the CPU alone has returned, and a mixture has raised
    return Device(framework, framework.device(arrays[first]), kernels)


class _Framework(Protocol):
    """What a framework is asked for."""

    to_give_back: str  # what a user calls to free memory that is cached

    def device(self, x: Array) -> int: ...
    def stream(self, index: int) -> int: ...
    def own(self, x: Array, op: str, name: str) -> Array: ...
    def give(self, y: Array) -> Array: ...
    def address(self, x: Array) -> int: ...
    def dtype(self, x: Array) -> str: ...
    def dense(self, x: Array) -> Array: ...
    def is_dense(self, x: Array) -> bool: ...
    def strides(self, x: Array) -> tuple[int, ...]: ...  # in items
    def permuted(self, x: Array, axes: tuple[int, ...]) -> Array: ...
    def astype(self, x: Array, dtype: str) -> Array: ...
    def empty(self, shape: tuple[int, ...], dtype: str, index: int) -> Array: ...
    def full(self, shape: tuple[int, ...], value: float, dtype: str, index: int) -> Array: ...


class _Torch:
    to_give_back = "torch.cuda.empty_cache()"

    def device(self, x: Array) -> int:
        return int(x.get_device())

    def stream(self, index: int) -> int:
        return int(sys.modules["torch"].cuda.current_stream(index).cuda_stream)

    def own(self, x: Array, op: str, name: str) -> Array:
        return without_graph(x, op, name)

    def give(self, y: Array) -> Array:
        return y

    def address(self, x: Array) -> int:
        return int(x.data_ptr())

    def dtype(self, x: Array) -> str:
        return str(x.dtype).removeprefix("torch.")

    def dense(self, x: Array) -> Array:
        return x.contiguous()

    def is_dense(self, x: Array) -> bool:
        return bool(x.is_contiguous())

    def strides(self, x: Array) -> tuple[int, ...]:
        return tuple(x.stride())

    def permuted(self, x: Array, axes: tuple[int, ...]) -> Array:
        return x.permute(axes)

    def astype(self, x: Array, dtype: str) -> Array:
        return x.to(getattr(sys.modules["torch"], dtype))

    def empty(self, shape: tuple[int, ...], dtype: str, index: int) -> Array:
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype), device=f"cuda:{index}")

    def full(self, shape: tuple[int, ...], value: float, dtype: str, index: int) -> Array:
        torch = sys.modules["torch"]
        return torch.full(shape, value, dtype=getattr(torch, dtype), device=f"cuda:{index}")


class _CuPy:
    to_give_back = "cupy.get_default_memory_pool().free_all_blocks()"

    def device(self, x: Array) -> int:
        return int(x.device.id)

    def stream(self, index: int) -> int:
        return int(_cupy().cuda.get_current_stream(index).ptr)

    def own(self, x: Array, op: str, name: str) -> Array:
        return x

    def give(self, y: Array) -> Array:
        return y

    def address(self, x: Array) -> int:
        return int(x.data.ptr)

    def dtype(self, x: Array) -> str:
        return str(x.dtype)

    def dense(self, x: Array) -> Array:
        return _cupy().ascontiguousarray(x)

    def is_dense(self, x: Array) -> bool:
        return bool(x.flags.c_contiguous)

    def strides(self, x: Array) -> tuple[int, ...]:
        return tuple(stride // x.itemsize for stride in x.strides)

    def permuted(self, x: Array, axes: tuple[int, ...]) -> Array:
        return x.transpose(axes)

    def astype(self, x: Array, dtype: str) -> Array:
        return x.astype(dtype)

    def empty(self, shape: tuple[int, ...], dtype: str, index: int) -> Array:
        cupy = _cupy()
        with cupy.cuda.Device(index):
            return cupy.empty(shape, dtype)

    def full(self, shape: tuple[int, ...], value: float, dtype: str, index: int) -> Array:
        cupy = _cupy()
        with cupy.cuda.Device(index):
            return cupy.full(shape, value, dtype)


class _Foreign(_CuPy):
    """Anything else in CUDA memory, by way of CuPy."""

    def __init__(self, namespace: Any) -> None:
        self._namespace = namespace  # of the array API, or None
        self._adopted: list[Array] = []

    def device(self, x: Array) -> int:
        return int(x.__dlpack_device__()[1] if hasattr(x, "__dlpack_device__") else super().device(_adopt(x)))

    def own(self, x: Array, op: str, name: str) -> Array:
        try:
            array = _adopt(x)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"[{op}] expected {name} to export its CUDA memory, got {error}") from error
        self._adopted.append(array)
        return array

    def give(self, y: Array) -> Array:
        _in_use.keep(self._adopted, int(y.device.id))
        return y if self._namespace is None else self._namespace.from_dlpack(y)


class _InUse:
    """Arrays of frameworks that do not know our stream: were one freed on return, as a temporary is, its
    memory would have another owner while our kernels read it. Each is held until the stream has passed them,
    which is looked up at the next call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By device, with the event behind the last kernel.
        self._held: defaultdict[int, deque[tuple[Any, list[Array]]]] = defaultdict(deque)

    def keep(self, arrays: list[Array], index: int) -> None:
        cupy = _cupy()
        with cupy.cuda.Device(index):
            event = cupy.cuda.get_current_stream(index).record()
        passed = []  # freed outside the lock
        with self._lock:
            held = self._held[index]
            held.append((event, arrays))
            while held and held[0][0].done:
                passed.append(held.popleft())


_in_use = _InUse()


def _adopt(x: Array) -> Array:
    cupy = _cupy()
    return cupy.from_dlpack(x) if hasattr(x, "__dlpack__") else cupy.asarray(x)


def _cupy() -> Any:
    try:
        return import_module("cupy")
    except ImportError as error:
        raise TypeError(
            "[cuda] expected torch tensors or CuPy arrays; for other CUDA arrays install CuPy: "
            "pip install 'pyvision-kernels[cuda]'"
        ) from error


def _framework_of(x: Array) -> _Framework | None:
    """None for arrays that are not in CUDA memory, and for what is no array."""
    if isinstance(x, np.ndarray):
        return None
    if is_torch(x):
        return _Torch() if x.is_cuda else None
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(x, cupy.ndarray):
        return _CuPy()
    if isinstance(x, type):
        return None
    if hasattr(x, "__dlpack_device__"):
        on_cuda = x.__dlpack_device__()[0] in _DLPACK_CUDA
    else:
        on_cuda = hasattr(x, "__cuda_array_interface__")
    if not on_cuda:
        return None
    return _Foreign(x.__array_namespace__() if hasattr(x, "__array_namespace__") else None)


def _module(x: Array) -> str:
    return type(x).__module__.partition(".")[0]
