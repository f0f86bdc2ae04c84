# SPDX-License-Identifier: Apache-2.0
"""Pooling over windows of an image: ``torch.nn.functional``'s, on NumPy's and other frameworks' arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, from_nhwc, is_channels_last, result_like, to_nhwc
from pyvision._device import Device, device_of, view_of
from pyvision.ops._args import IntPair, flag, integer, pair
from pyvision.ops._halves import takes_halves
from pyvision.ops.conv import CUDA_FLOATS, FLOATS, Layout


@takes_halves
def max_pool2d(
    input: Array,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCHW",
) -> Array | tuple[Array, Array]:
    """The maximum over each window, NaN where the window holds one.

    Args:
        input: (N, C, H, W) float32, or float64 for gradient checks, or (N, H, W, C) with ``layout="NHWC"``;
            only N may be 0. On CUDA float32, float16 and bfloat16.
        kernel_size: the window's taps, one integer or (vertical, horizontal).
        stride: pixels from window to window; ``kernel_size`` if None.
        padding: pixels of minus infinity on each side, at most half the kernel.
        dilation: pixels from tap to tap.
        ceil_mode: whether a last window may hang over the far edge.
        return_indices: whether to return the places of the maxima as well.

    Returns:
        The maxima in ``layout``; with ``return_indices`` also their int64 places h * W + w in the plane,
        -1 where dilation made a window miss the image.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: a size is out of range, or the window is larger than the padded image.
    """
    op = "max_pool2d"
    kernel, steps, sides = window(op, kernel_size, stride, padding)
    parameters = pair(dilation, op, "dilation"), flag(ceil_mode, op, "ceil_mode")
    places = flag(return_indices, op, "return_indices")
    if device := device_of(op, input=input):
        found = _pool_on_device(device, op, input, layout, kernel, steps, sides, *parameters, places=places)
        return found if places else found[0]
    x = as_numpy(input, op, "input", FLOATS)
    result = _core.max_pool2d(to_nhwc(x, layout, op, "input"), kernel, steps, sides * 2, *parameters, places)
    channels_last = is_channels_last(x, layout)
    if not places:
        return result_like(from_nhwc(result, layout, channels_last), input)
    maxima, indices = result
    return (
        result_like(from_nhwc(maxima, layout, channels_last), input),
        result_like(from_nhwc(indices, layout, channels_last), input),
    )


@takes_halves
def avg_pool2d(
    input: Array,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: str = "NCHW",
) -> Array:
    """The sum over each window, divided by its area or by ``divisor_override``.

    Args:
        input: (N, C, H, W) float32, or float64 for gradient checks, or (N, H, W, C) with ``layout="NHWC"``;
            only N may be 0. On CUDA float32, float16 and bfloat16.
        kernel_size: the window's taps, one integer or (vertical, horizontal).
        stride: pixels from window to window; ``kernel_size`` if None.
        padding: pixels of zeros on each side, at most half the kernel.
        ceil_mode: whether a last window may hang over the far edge.
        count_include_pad: whether the area counts pixels of the padding.
        divisor_override: divides every sum instead of the area.

    Returns:
        The averages in ``layout``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: a size is out of range, or the window is larger than the padded image.
    """
    op = "avg_pool2d"
    kernel, steps, sides = window(op, kernel_size, stride, padding)
    parameters = averaging(op, ceil_mode, count_include_pad, divisor_override)
    if device := device_of(op, input=input):
        return _pool_on_device(device, op, input, layout, kernel, steps, sides, *parameters)[0]
    x = as_numpy(input, op, "input", FLOATS)
    y = _core.avg_pool2d(to_nhwc(x, layout, op, "input"), kernel, steps, sides * 2, *parameters)
    return result_like(from_nhwc(y, layout, is_channels_last(x, layout)), input)


@takes_halves
def adaptive_avg_pool2d(
    input: Array, output_size: IntPair | tuple[int | None, int | None] | None, *, layout: str = "NCHW"
) -> Array:
    """The mean over windows that divide the image into ``output_size`` parts; they overlap if it must be.

    Args:
        input: (N, C, H, W) float32, or float64 for gradient checks, or (N, H, W, C) with ``layout="NHWC"``;
            only N may be 0. On CUDA float32, float16 and bfloat16.
        output_size: one integer or (vertical, horizontal); None keeps the input's extent.

    Returns:
        The means in ``layout``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: an extent is less than 1.
    """
    op = "adaptive_avg_pool2d"
    sizes: Any = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    if device := device_of(op, input=input):
        extents = input.shape[2:] if layout == "NCHW" else input.shape[1:3]
        return _pool_on_device(device, op, input, layout, filled(sizes, extents, op))[0]
    x = as_numpy(input, op, "input", FLOATS)
    nhwc = to_nhwc(x, layout, op, "input")
    sizes = filled(sizes, nhwc.shape[1:3], op)
    y = _core.adaptive_avg_pool2d(nhwc, sizes)
    return result_like(from_nhwc(y, layout, is_channels_last(x, layout)), input)


@takes_halves
def max_unpool2d(
    input: Array,
    indices: Array,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    output_size: Sequence[int] | None = None,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Put values back to where :func:`max_pool2d` found them, among zeros: ``torch.nn.functional``'s.

    Args:
        input: (N, C, H, W) float32 or float64, or (N, H, W, C) with ``layout="NHWC"``. On CUDA float32,
            float16 and bfloat16.
        indices: int64, of the shape and layout of ``input``: places h * W + w in the output's plane. Of
            several values for one place the last remains, in the order of rows and columns. On CUDA, where
            none is read before it is used, one outside the plane puts nothing there.
        kernel_size, stride, padding: as :func:`max_pool2d` was given them.
        output_size: the output's height and width, or its four extents in ``layout``; less than a stride from
            (extent - 1) * stride - 2 * padding + kernel_size, which is what None stands for.

    Returns:
        The map in ``layout``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: an index lies outside the output; shapes or parameters contradict each other.
    """
    op = "max_unpool2d"
    kernel, steps, sides = window(op, kernel_size, stride, padding)
    if min(kernel) < 1 or min(steps) < 1 or min(sides) < 0:
        raise ValueError(
            f"[{op}] expected kernel_size and stride >= 1 and padding >= 0, got {kernel}, {steps}, {sides}"
        )
    if device := device_of(op, input=input, indices=indices):
        on, channels_last = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
        places_on, _ = device.nhwc(indices, layout, op, "indices", ("int64",))
        n, _, _, c = on.shape
        size = _unpooled(op, on.shape, kernel, steps, sides, output_size, layout)
        y_on, kernels = device.empty((n, *size, c), on.dtype), device.kernels
        workspace = device.workspace(kernels.max_unpool2d_workspace(device.stream, places_on.view, y_on.view))
        kernels.max_unpool2d(device.stream, on.view, places_on.view, workspace.view, y_on.view)
        return device.from_nhwc(y_on, layout, channels_last)
    x = as_numpy(input, op, "input", FLOATS)
    nhwc = to_nhwc(x, layout, op, "input")
    places = to_nhwc(as_numpy(indices, op, "indices", ("int64",)), layout, op, "indices")
    size = _unpooled(op, nhwc.shape, kernel, steps, sides, output_size, layout)
    y = _core.max_unpool2d(np.ascontiguousarray(nhwc), np.ascontiguousarray(places), size)
    return result_like(from_nhwc(y, layout, is_channels_last(x, layout)), input)


def _unpooled(
    op: str,
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    output_size: Sequence[int] | None,
    layout: Layout,
) -> tuple[int, int]:
    """Height and width of the map that was pooled to ``shape``, (N, H, W, C)."""
    if 0 in shape[1:]:
        raise ValueError(f"[{op}] expected input with no empty axis but N, got shape {shape} as (N, H, W, C)")
    usual = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(shape[1:3], kernel, stride, padding, strict=True)]
    if max(usual) >= 2**62:
        raise ValueError(f"[{op}] expected an output that fits in memory, got {usual[0]} x {usual[1]}")
    if output_size is None and min(usual) < 1:
        raise ValueError(
            f"[{op}] expected an output of at least 1 x 1 pixels, got {usual[0]} x {usual[1]} by padding"
        )
    if output_size is None:
        return usual[0], usual[1]
    if isinstance(output_size, tuple | list) and len(output_size) == 4:
        output_size = output_size[2:] if layout == "NCHW" else output_size[1:3]
    if not isinstance(output_size, tuple | list):
        raise TypeError(f"[{op}] expected output_size to be two or four integers, got {output_size!r}")
    size = pair(tuple(output_size), op, "output_size")
    if min(size) < 1:
        raise ValueError(f"[{op}] expected an output of at least 1 x 1 pixels, got {size[0]} x {size[1]}")
    if any(abs(n - u) >= s for n, u, s in zip(size, usual, stride, strict=True)):
        raise ValueError(
            f"[{op}] expected output_size less than a stride {stride} from {tuple(usual)}, got {size}"
        )
    return size


def window(
    op: str, kernel_size: IntPair, stride: IntPair | None, padding: IntPair
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding."""
    kernel = pair(kernel_size, op, "kernel_size")
    return kernel, kernel if stride is None else pair(stride, op, "stride"), pair(padding, op, "padding")


def averaging(
    op: str, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None
) -> tuple[bool, bool, int | None]:
    """What an average takes beside its window."""
    divisor = None if divisor_override is None else integer(divisor_override, op, "divisor_override")
    return flag(ceil_mode, op, "ceil_mode"), flag(count_include_pad, op, "count_include_pad"), divisor


def filled(sizes: Any, extents: tuple[int, ...], op: str) -> tuple[int, int]:
    """``output_size`` with the input's extents where it is None."""
    if len(sizes) == len(extents) == 2:
        sizes = tuple(n if s is None else s for s, n in zip(sizes, extents, strict=True))
    return pair(sizes, op, "output_size")


def _pool_on_device(
    device: Device, op: str, input: Array, layout: str, *parameters: Any, places: bool = False
) -> tuple[Array, Array]:
    """``op`` of the extension, by its name; with ``places`` also those of maxima, else the result again."""
    x, channels_last = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
    pooling = getattr(device.kernels, op)(device.stream, x.view, *parameters)
    shape = tuple(pooling.output_shape)
    y, found = device.empty(shape, x.dtype), device.empty(shape, "int64") if places else None
    pooling.run(y.view, view_of(found))
    result = device.from_nhwc(y, layout, channels_last)
    return result, result if found is None else device.from_nhwc(found, layout, channels_last)
