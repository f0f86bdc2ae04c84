# SPDX-License-Identifier: Apache-2.0
"""Arrays of other frameworks in and out: with _device.py, for CUDA, the only file that knows they exist.

Arrays come in without a copy and results go back as the caller's kind. No framework is imported here: an
array of one can only arrive after its framework was imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from pyvision import _core

Array: TypeAlias = Any
"""A NumPy array, a torch CPU tensor, or anything with DLPack or ``__array__``."""

_DLPACK_CPU = 1
_NO_CUDA = "this build has no CUDA; move it to the CPU first"


def as_numpy(x: Array, op: str, name: str, dtypes: Sequence[str] = ("float32",)) -> np.ndarray:
    """View ``x`` as a native, aligned NumPy array of one of ``dtypes``; copies only what is not so already.

    Raises:
        TypeError: ``x`` is not an array, lies on another device, requires grad, or has another dtype.
    """
    array = _to_numpy(x, op, name, dtypes)
    check_dtype(dtype_name(array.dtype), op, name, dtypes)
    if not (array.dtype.isnative and array.flags.aligned):
        array = array.astype(array.dtype.newbyteorder("="))
    return array


@lru_cache(maxsize=64)
def dtype_name(dtype: np.dtype) -> str:
    """``dtype.name``, which NumPy spells anew each time: in longer than a small op takes."""
    return dtype.name


def result_like(array: np.ndarray, *callers: Array) -> Array:
    """``array`` as the kind of the first of ``callers``, sharing its memory."""
    caller: Array = next((c for c in callers if c is not None), None)
    if isinstance(caller, np.ndarray):
        return array
    if is_torch(caller):
        return sys.modules["torch"].from_numpy(array)
    if hasattr(caller, "__array_namespace__"):
        return caller.__array_namespace__().from_dlpack(array)
    return array


def is_bf16(x: Array) -> bool:
    """Whether ``x`` is a bfloat16 array of ml_dtypes or torch."""
    return (isinstance(x, np.ndarray) or is_torch(x)) and str(x.dtype) in ("bfloat16", "torch.bfloat16")


def bf16_bits(x: Array, op: str, name: str) -> np.ndarray:
    """View a bfloat16 ``x`` as uint16, which is how the kernels take it: NumPy itself has no bfloat16.

    Raises:
        TypeError: ``x`` is no bfloat16 array, lies on another device, or requires grad.
    """
    if not is_bf16(x):
        as_numpy(x, op, name, ("bfloat16",))  # says what it is instead
    if is_torch(x):
        torch = sys.modules["torch"]
        tensor = _checked_tensor(x, op, name, ("bfloat16",))
        signed: np.ndarray = tensor.view(torch.int16).numpy()
        return signed.view(np.uint16)
    bits: np.ndarray = np.require(x, requirements="A").view(np.uint16)
    return bits


def bf16_like(bits: np.ndarray, caller: Array) -> Array:
    """The inverse of :func:`bf16_bits`, as the kind of ``caller``."""
    if is_torch(caller):
        torch = sys.modules["torch"]
        return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
    return bits.view(caller.dtype)


def widened(x: Array, op: str, name: str, dtypes: Sequence[str]) -> tuple[np.ndarray, str]:
    """``x`` as :func:`as_numpy` has it, but float16 and bfloat16 as float32, and the dtype that it has.

    Raises:
        TypeError: as :func:`as_numpy`.
    """
    if "bfloat16" in dtypes and is_bf16(x):
        return (bf16_bits(x, op, name).astype(np.uint32) << 16).view(np.float32), "bfloat16"
    array = as_numpy(x, op, name, dtypes)
    dtype = dtype_name(array.dtype)
    return array.astype(np.float32) if dtype == "float16" else array, dtype


def narrowed(y: np.ndarray, dtype: str, caller: Array) -> Array:
    """``y`` in ``dtype``, rounded to nearest even, as the kind of ``caller``; bfloat16 only if that is."""
    if dtype == "float16":
        with np.errstate(over="ignore"):  # infinity, as IEEE arithmetic has it
            return result_like(y.astype(np.float16), caller)
    if dtype != "bfloat16":
        return result_like(y.astype(dtype, copy=False), caller)
    return result_like(y, caller).to(caller.dtype) if is_torch(caller) else y.astype(caller.dtype)


def to_nhwc(x: np.ndarray, layout: str, op: str, name: str) -> np.ndarray:
    """The 4-d ``x`` as a C-contiguous (N, H, W, C) array: a view if its memory is in that order already."""
    check_layout(layout, op)
    if x.ndim != 4:
        raise ValueError(f"[{op}] expected {name} with 4 dimensions {tuple(layout)}, got shape {x.shape}")
    if layout == "NHWC":
        return np.ascontiguousarray(x)
    nhwc = x.transpose(0, 2, 3, 1)
    if nhwc.flags.c_contiguous or not x.flags.c_contiguous or x.dtype != np.float32:
        return np.ascontiguousarray(nhwc)
    converted: np.ndarray = _core.nchw_to_nhwc(x)
    return converted


def from_nhwc(y: np.ndarray, layout: str, like_channels_last: bool = False) -> np.ndarray:
    """The C-contiguous (N, H, W, C) array in ``layout``.

    With ``like_channels_last`` an NCHW result keeps its memory in NHWC order, as torch's channels_last does.
    """
    if layout == "NHWC":
        return y
    nchw = y.transpose(0, 3, 1, 2)
    if like_channels_last or nchw.flags.c_contiguous:
        return nchw
    if y.dtype != np.float32:  # indices: not worth a kernel
        return np.ascontiguousarray(nchw)
    converted: np.ndarray = _core.nhwc_to_nchw(y)
    return converted


def is_planes(x: np.ndarray, layout: str, dtype: str = "float32") -> bool:
    """Whether ``x`` is a dense NCHW map that kernels take as it is: strip by strip, without a copy."""
    return layout == "NCHW" and x.ndim == 4 and x.flags.c_contiguous and x.dtype == dtype


def is_channels_last(x: np.ndarray, layout: str) -> bool:
    """Whether an NCHW array's memory is in NHWC order."""
    return layout == "NCHW" and not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous


def check_layout(layout: str, op: str) -> None:
    """Raise ValueError unless ``layout`` is one of the two."""
    if not isinstance(layout, str) or layout not in ("NCHW", "NHWC"):
        raise ValueError(f"[{op}] expected layout to be 'NCHW' or 'NHWC', got {layout!r}")


def _to_numpy(x: Array, op: str, name: str, dtypes: Sequence[str]) -> np.ndarray:
    if isinstance(x, np.ndarray):
        return x
    if is_torch(x):
        array: np.ndarray = _checked_tensor(x, op, name, dtypes).numpy()
        return array
    if isinstance(x, np.generic | type):  # they have an array's attributes
        raise TypeError(f"[{op}] expected {name} to be an array, got {_kind(x)}")
    if hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__"):
        if x.__dlpack_device__()[0] != _DLPACK_CPU:
            raise TypeError(f"[{op}] expected {name} on the CPU, got one on a device: {_NO_CUDA}")
        try:
            return np.from_dlpack(x)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
            # NumPy takes no read-only or exotic capsules; the object may still offer __array__.
            if not hasattr(x, "__array__"):
                raise TypeError(
                    f"[{op}] expected {name} to export through DLPack, got {_kind(x)}: {error}"
                ) from error
    if hasattr(x, "__cuda_array_interface__"):
        raise TypeError(f"[{op}] expected {name} on the CPU, got a CUDA array: {_NO_CUDA}")
    if hasattr(x, "__array__"):
        converted = x.__array__()
        if isinstance(converted, np.ndarray):
            return converted
    raise TypeError(f"[{op}] expected {name} to be an array, got {_kind(x)}")


def _checked_tensor(x: Array, op: str, name: str, dtypes: Sequence[str]) -> Array:
    """The torch tensor on the CPU without its graph."""
    if x.device.type != "cpu":
        raise TypeError(f"[{op}] expected {name} on the CPU, got a tensor on {x.device}: {_NO_CUDA}")
    tensor = without_graph(x, op, name)
    check_dtype(str(x.dtype).removeprefix("torch."), op, name, dtypes)  # NumPy lacks some of torch's
    return tensor


def without_graph(x: Array, op: str, name: str) -> Array:
    """The torch tensor, which must be dense and must not record gradients."""
    torch = sys.modules["torch"]
    if x.layout != torch.strided:
        raise TypeError(f"[{op}] expected {name} to be dense, got a tensor of layout {x.layout}")
    if x.requires_grad and torch.is_grad_enabled():
        raise TypeError(
            f"[{op}] expected {name} without gradients, got a tensor that requires grad: "
            "take the op from pyvision.interop.torch, or pass its .detach()"
        )
    return x.detach().resolve_neg()


def is_torch(x: Array) -> bool:
    """Whether ``x`` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def check_dtype(got: str, op: str, name: str, dtypes: Sequence[str]) -> None:
    """Raise TypeError unless ``got`` is one of ``dtypes``."""
    if got not in dtypes:
        raise TypeError(f"[{op}] expected {name} of dtype {' or '.join(dtypes)}, got {got}")


def _kind(x: object) -> str:
    return "None" if x is None else f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
