# SPDX-License-Identifier: Apache-2.0
"""float16 and bfloat16 as what maps are stored in, for ops whose kernels compute in float32."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from pyvision._array import Array, check_dtype, dtype_name, is_torch, narrowed, result_like, widened
from pyvision._device import on_device

P = ParamSpec("P")
R = TypeVar("R")

_HALVES = ("float16", "bfloat16")
_NOTE = """\
On the CPU float16 and bfloat16 arrays, all of one of the two, are taken as well: computed in float32, with
float32 copies of them in memory, and the results rounded once.
"""


def takes_halves(function: Callable[P, R]) -> Callable[P, R]:
    """The op ``function`` with float16 and bfloat16 arrays, all of one of the two, in the host's memory.

    They are widened to float32, and what it returns is rounded to their dtype once. Which they are the first
    argument says. On CUDA, and with ``precision="bf16"``, the op takes them itself.
    """

    signature, op = inspect.signature(function), function.__name__
    name = next(iter(signature.parameters))

    @wraps(function)
    def stored(*args: P.args, **kwargs: P.kwargs) -> R:
        first: Any = args[0] if args else kwargs.get(name)
        got = _dtype_of(first)
        if got in ("float32", "float64") or on_device(first) or kwargs.get("precision") == "bf16":
            return function(*args, **kwargs)
        if got not in _HALVES:
            if isinstance(first, np.ndarray) or is_torch(first):
                check_dtype(got, op, name, (*_HALVES, "float32", "float64"))
            return function(*args, **kwargs)
        given = signature.bind(*args, **kwargs).arguments
        wide = {key: _widened(x, got, op, key) for key, x in given.items()}
        run: Callable[..., R] = function
        result: R = _narrowed(run(**wide), got, first)
        return result

    stored.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n{_NOTE}"
    return stored


def _dtype_of(x: Any) -> str:
    """Its name, or an empty string."""
    if isinstance(x, np.ndarray):
        return dtype_name(x.dtype)
    return str(getattr(x, "dtype", "")).removeprefix("torch.")


def _widened(x: Any, dtype: str, op: str, name: str) -> Any:
    if isinstance(x, list):
        return [_widened(one, dtype, op, f"{name}[{i}]") for i, one in enumerate(x)]
    got = _dtype_of(x)
    if "float" not in got or not getattr(x, "ndim", 0):  # a NumPy scalar is no map
        return x
    check_dtype(got, op, name, (dtype,))
    return widened(x, op, name, (dtype,))[0]


def _narrowed(y: Any, dtype: str, caller: Array) -> Any:
    if isinstance(y, tuple | list):
        return type(y)(_narrowed(one, dtype, caller) for one in y)
    if not isinstance(y, np.ndarray):
        return y
    return narrowed(y, dtype, caller) if y.dtype == np.float32 else result_like(y, caller)
