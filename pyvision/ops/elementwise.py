# SPDX-License-Identifier: Apache-2.0
"""Element-wise arithmetic and activations; concatenation and splitting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, check_layout, from_nhwc, is_channels_last, result_like, to_nhwc
from pyvision.ops._args import axis, integer


def add(a: Array, b: Array | float, *, activation: str | None = None, layout: str = "NCHW") -> Array:
    """``activation(a + b)``.

    Args:
        a: float32, any shape; (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``, where b is broadcast.
        b: a number, an array of a's shape, (C,), or four-dimensional with a's channels and 1 in place of any
            of N, H and W.
        activation: name of an activation of this module, None for none.

    Returns:
        An array of a's shape, of the kind of ``a``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: the shapes do not fit, or ``activation`` is unknown.
    """
    return _binary("add", _core.add, a, b, activation, layout)


def mul(a: Array, b: Array | float, *, activation: str | None = None, layout: str = "NCHW") -> Array:
    """``activation(a * b)``; arguments, result and errors as of :func:`add`."""
    return _binary("mul", _core.mul, a, b, activation, layout)


def relu(input: Array) -> Array:
    """``max(x, 0)`` of every element; any shape, float32."""
    return _activate("relu", input)


def relu6(input: Array) -> Array:
    """``min(max(x, 0), 6)`` of every element; any shape, float32."""
    return _activate("relu6", input)


def leaky_relu(input: Array, negative_slope: float = 0.01) -> Array:
    """``x`` where positive, else ``negative_slope * x``; any shape, float32."""
    if isinstance(negative_slope, bool) or not isinstance(negative_slope, float | int | np.floating):
        raise TypeError(f"[leaky_relu] expected negative_slope to be a number, got {negative_slope!r}")
    return _activate("leaky_relu", input, float(negative_slope))


def silu(input: Array) -> Array:
    """``x * sigmoid(x)`` of every element, also called swish; any shape, float32."""
    return _activate("silu", input)


def hardswish(input: Array) -> Array:
    """``x * hardsigmoid(x)`` of every element; any shape, float32."""
    return _activate("hardswish", input)


def sigmoid(input: Array) -> Array:
    """``1 / (1 + exp(-x))`` of every element; any shape, float32."""
    return _activate("sigmoid", input)


def tanh(input: Array) -> Array:
    """The hyperbolic tangent of every element; any shape, float32."""
    return _activate("tanh", input)


def gelu(input: Array) -> Array:
    """``x * Phi(x)``, Phi the normal distribution's cumulative function; any shape, float32."""
    return _activate("gelu", input)


def hardsigmoid(input: Array) -> Array:
    """``min(max(x + 3, 0), 6) / 6`` of every element; any shape, float32."""
    return _activate("hardsigmoid", input)


def concat(tensors: Sequence[Array], dim: int = 1) -> Array:
    """Arrays joined along ``dim``.

    Args:
        tensors: one or more float32 arrays of 1 to 6 dimensions, of equal extents in all but ``dim``.
        dim: the axis that grows.

    Returns:
        A new array of the kind of the first.

    Raises:
        TypeError: ``tensors`` is not a sequence of float32 arrays.
        ValueError: it is empty, or the shapes do not fit.
    """
    if not isinstance(tensors, list | tuple):
        raise TypeError(
            f"[concat] expected tensors to be a list or tuple of arrays, got {type(tensors).__name__}"
        )
    if not tensors:
        raise ValueError("[concat] expected tensors to hold at least one array, got none")
    # asarray and not ascontiguousarray, which makes 0-d arrays 1-d
    arrays = [np.asarray(as_numpy(t, "concat", f"tensors[{i}]"), order="C") for i, t in enumerate(tensors)]
    return result_like(_core.concat(arrays, axis(dim, arrays[0].ndim, "concat")), *tensors)


def split(input: Array, sizes: int | Sequence[int], dim: int = 1) -> list[Array]:
    """Parts of ``input`` along ``dim``, each a copy.

    Args:
        input: float32, 1 to 6 dimensions.
        sizes: the extent of every part, or one for all but a smaller last one.
        dim: the axis that is cut.

    Returns:
        The parts in order, of the kind of ``input``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: the sizes do not add up to the extent, or one is negative.
    """
    x = as_numpy(input, "split", "input")
    d = axis(dim, x.ndim, "split")
    if isinstance(sizes, list | tuple):
        extents = [integer(size, "split", "sizes") for size in sizes]
    else:
        step = integer(sizes, "split", "sizes")  # type: ignore[arg-type]
        if step < 1:
            raise ValueError(f"[split] expected sizes of at least 1, got {step}")
        extents = [min(step, x.shape[d] - first) for first in range(0, x.shape[d], step)] or [0]
    return [result_like(part, input) for part in _core.split(np.ascontiguousarray(x), extents, d)]


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(1, 1, 1, -1)


def _activate(name: str, input: Array, slope: float = 0.01) -> Array:
    x = as_numpy(input, name, "input")
    if x.ndim == 4 and is_channels_last(x, "NCHW"):
        y = _core.activate(x.transpose(0, 2, 3, 1), name, slope).transpose(0, 3, 1, 2)
    else:
        y = _core.activate(_flat(np.ascontiguousarray(x)), name, slope).reshape(x.shape)
    return result_like(y, input)


def _binary(
    op: str,
    kernel: Callable[[np.ndarray, np.ndarray, str], np.ndarray],
    a: Array,
    b: Array | float,
    activation: str | None,
    layout: str,
) -> Array:
    check_layout(layout, op)
    if not isinstance(activation, str | None):
        raise TypeError(f"[{op}] expected activation to be a string or None, got {activation!r}")
    x = as_numpy(a, op, "a")
    name = activation or "none"
    channels_last = x.ndim == 4 and is_channels_last(x, layout)
    if isinstance(b, float | int | np.number) and not isinstance(b, bool):
        y = np.full(x.shape[1] if channels_last else x.shape, _float32(b, op))
    else:
        y = as_numpy(b, op, "b")
    if x.shape == y.shape and not channels_last:
        result = kernel(_flat(np.ascontiguousarray(x)), _flat(np.ascontiguousarray(y)), name).reshape(x.shape)
        return result_like(result, a)
    nhwc = to_nhwc(x, layout, op, "a")
    other = y.reshape(1, 1, 1, -1) if y.ndim == 1 else to_nhwc(y, layout, op, "b")
    return result_like(from_nhwc(kernel(nhwc, other, name), layout, channels_last), a)


def _float32(value: float | np.number, op: str) -> np.float32:
    try:
        with np.errstate(over="ignore"):  # to infinity, as torch
            return np.float32(float(value))
    except (OverflowError, TypeError) as error:
        raise ValueError(f"[{op}] expected b to be a real number of float's range, got {value!r}") from error
