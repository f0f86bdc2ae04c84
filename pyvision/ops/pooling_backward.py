# SPDX-License-Identifier: Apache-2.0
"""Gradients of the poolings, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, from_nhwc, is_channels_last, result_like, to_nhwc
from pyvision._device import device_of
from pyvision.ops._args import IntPair, flag, nhwc_shape, pair
from pyvision.ops._halves import takes_halves
from pyvision.ops.conv import CUDA_FLOATS, FLOATS, Layout
from pyvision.ops.pooling import averaging, window


@takes_halves
def max_pool2d_backward(
    grad_output: Array,
    indices: Array,
    input_shape: Sequence[int],
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of :func:`max_pool2d` by its input: that of an output goes to the pixel of its maximum.

    Args:
        grad_output: float32 or float64, of the shape and layout of the result. On CUDA float32, float16 or
            bfloat16; sums are float32.
        indices: what :func:`max_pool2d` returned with ``return_indices``. One within the input but beyond its
            window passes nothing on; on CUDA, where none is read before it is used, nor does one beyond both.
        input_shape: of the input, in ``layout``.
        kernel_size, stride, padding, dilation, ceil_mode: as the forward call was given them.

    Returns:
        The gradient, of shape ``input_shape``: the same for any number of threads.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: an index lies outside the input; shapes or parameters contradict each other.
    """
    op = "max_pool2d_backward"
    return _gradient(
        op, grad_output, input_shape, layout, (indices,),
        *window(op, kernel_size, stride, padding),
        pair(dilation, op, "dilation"), flag(ceil_mode, op, "ceil_mode"),
    )  # fmt: skip


@takes_halves
def avg_pool2d_backward(
    grad_output: Array,
    input_shape: Sequence[int],
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of :func:`avg_pool2d` by its input, which the forward call's arguments follow.

    All else as :func:`max_pool2d_backward`.
    """
    op = "avg_pool2d_backward"
    return _gradient(
        op, grad_output, input_shape, layout, (),
        *window(op, kernel_size, stride, padding),
        *averaging(op, ceil_mode, count_include_pad, divisor_override),
    )  # fmt: skip


@takes_halves
def adaptive_avg_pool2d_backward(
    grad_output: Array, input_shape: Sequence[int], *, layout: Layout = "NCHW"
) -> Array:
    """Gradient of :func:`adaptive_avg_pool2d` by its input; all as :func:`max_pool2d_backward`."""
    return _gradient("adaptive_avg_pool2d_backward", grad_output, input_shape, layout, ())


@takes_halves
def max_unpool2d_backward(grad_output: Array, indices: Array, *, layout: Layout = "NCHW") -> Array:
    """Gradient of :func:`max_unpool2d` by its input: that of each value's place.

    Args:
        grad_output: float32 or float64, of the shape and layout of the result. On CUDA float32, float16 or
            bfloat16.
        indices: as the forward call was given them. On CUDA the gradient of one outside the plane is 0.

    Returns:
        The gradient, of the shape of ``indices``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: an index lies outside ``grad_output``, or shapes contradict each other.
    """
    op = "max_unpool2d_backward"
    if device := device_of(op, grad_output=grad_output, indices=indices):
        dy, channels_last = device.nhwc(grad_output, layout, op, "grad_output", CUDA_FLOATS)
        found, _ = device.nhwc(indices, layout, op, "indices", ("int64",))
        dx = device.empty(found.shape, dy.dtype)
        device.kernels.max_unpool2d_backward(device.stream, dy.view, found.view, dx.view)
        return device.from_nhwc(dx, layout, channels_last)
    grad = as_numpy(grad_output, op, "grad_output", FLOATS)
    nhwc = np.ascontiguousarray(to_nhwc(grad, layout, op, "grad_output"))
    places = to_nhwc(as_numpy(indices, op, "indices", ("int64",)), layout, op, "indices")
    result = _core.max_unpool2d_backward(nhwc, np.ascontiguousarray(places))
    return result_like(from_nhwc(result, layout, is_channels_last(grad, layout)), grad_output)


def _gradient(
    op: str,
    grad_output: Array,
    input_shape: Sequence[int],
    layout: Layout,
    indices: tuple[Array, ...],
    *parameters: Any,
) -> Array:
    """``op`` of the extension that has the arrays, by its name; ``indices``: those of maxima, or none."""
    shape = nhwc_shape(input_shape, layout, op, "input_shape")
    if device := device_of(op, grad_output=grad_output, indices=next(iter(indices), None)):
        dy, channels_last = device.nhwc(grad_output, layout, op, "grad_output", CUDA_FLOATS)
        _check_matches(op, shape, dy.shape)
        places = [device.nhwc(x, layout, op, "indices", ("int64",))[0] for x in indices]
        dx = device.empty(shape, dy.dtype)
        getattr(device.kernels, op)(device.stream, dy.view, *(x.view for x in places), *parameters, dx.view)
        return device.from_nhwc(dx, layout, channels_last)
    grad = as_numpy(grad_output, op, "grad_output", FLOATS)
    nhwc = to_nhwc(grad, layout, op, "grad_output")
    _check_matches(op, shape, nhwc.shape)
    on_host = [to_nhwc(as_numpy(x, op, "indices", ("int64",)), layout, op, "indices") for x in indices]
    result = getattr(_core, op)(nhwc, *on_host, shape[1:3], *parameters)
    return result_like(from_nhwc(result, layout, is_channels_last(grad, layout)), grad_output)


def _check_matches(op: str, shape: tuple[int, ...], grad_shape: tuple[int, ...]) -> None:
    if (shape[0], shape[3]) != (grad_shape[0], grad_shape[3]):
        raise ValueError(
            f"[{op}] expected input_shape with the N and C of grad_output, {grad_shape[0]} and "
            f"{grad_shape[3]}, got {shape[0]} and {shape[3]}"
        )
