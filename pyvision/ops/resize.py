# SPDX-License-Identifier: Apache-2.0
"""Resizing of float images and feature maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from pyvision import _core
from pyvision._array import Array, as_numpy, from_nhwc, is_channels_last, result_like, to_nhwc
from pyvision._device import Device, device_of
from pyvision.ops._args import IntPair, flag, nhwc_shape, pair, real
from pyvision.ops._halves import takes_halves
from pyvision.ops.conv import CUDA_FLOATS, FLOATS, Layout

Extents: TypeAlias = tuple[int, int]

_LINEAR = ("bilinear", "bicubic")


@takes_halves
def interpolate(
    input: Array,
    size: IntPair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Resize height and width, as ``torch.nn.functional.interpolate``.

    Args:
        input: (N, C, H, W) float32, or float64 for gradient checks, or (N, H, W, C) with ``layout="NHWC"``;
            only N may be 0. On CUDA float32, float16 and bfloat16.
        size: the output's extent, one integer or (height, width).
        scale_factor: output over input, one number or (vertical, horizontal), instead of ``size``. The
            output's extents are rounded down; positions are computed from the factor as given.
        mode: "nearest", "nearest-exact", "bilinear", "bicubic" or "area".
        align_corners: for "bilinear" and "bicubic": whether the corner pixels' centres, not the images'
            edges, coincide.
        recompute_scale_factor: whether positions are computed from the extents even so.
        antialias: for "bilinear" and "bicubic": whether each output averages all the pixels that it covers,
            as Pillow does.

    Returns:
        The resized array in ``layout``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: not exactly one of ``size`` and ``scale_factor`` is given, or one is out of range;
            ``mode`` is unknown; ``align_corners`` or ``antialias`` is given with another mode.
    """
    op = "interpolate"
    corners, smooth = _filter(op, mode, align_corners, antialias)
    resized = partial(_extents, op, size, scale_factor, recompute_scale_factor)
    if device := device_of(op, input=input):
        return _on_device(
            device, op, input, "input", layout,
            lambda shape: resized(shape[1:3]), mode, corners, smooth,
        )  # fmt: skip
    x = as_numpy(input, op, "input", FLOATS)
    nhwc = to_nhwc(x, layout, op, "input")
    extents, scales = resized(nhwc.shape[1:3])
    y = _core.interpolate(nhwc, extents, mode, corners, smooth, scales)
    return result_like(from_nhwc(y, layout, is_channels_last(x, layout)), input)


@takes_halves
def interpolate_backward(
    grad_output: Array,
    input_shape: Sequence[int],
    size: IntPair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of :func:`interpolate` by its input, which the forward call's arguments follow.

    Args:
        grad_output: float32 or float64, of the shape and layout of the result. On CUDA float32, float16 or
            bfloat16; sums are float32.
        input_shape: of the input, in ``layout``.
        size, scale_factor, mode, align_corners, recompute_scale_factor, antialias: as the forward call was
            given them.

    Returns:
        The gradient, of shape ``input_shape``: the same for any number of threads.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes or parameters contradict each other.
    """
    op = "interpolate_backward"
    corners, smooth = _filter(op, mode, align_corners, antialias)
    n, h, w, c = nhwc_shape(input_shape, layout, op, "input_shape")
    extents, scales = _extents(op, size, scale_factor, recompute_scale_factor, (h, w))
    if device := device_of(op, grad_output=grad_output):

        def checked(shape: tuple[int, ...]) -> tuple[Extents, tuple[float, float]]:
            _check_gradient(op, shape, (n, *extents, c))
            return (h, w), scales

        return _on_device(
            device, op, grad_output, "grad_output", layout, checked, mode, corners, smooth, backward=True
        )
    grad = as_numpy(grad_output, op, "grad_output", FLOATS)
    nhwc = to_nhwc(grad, layout, op, "grad_output")
    _check_gradient(op, nhwc.shape, (n, *extents, c))
    result = _core.interpolate_backward(nhwc, (h, w), mode, corners, smooth, scales)
    return result_like(from_nhwc(result, layout, is_channels_last(grad, layout)), grad_output)


def _check_gradient(op: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise ValueError(f"[{op}] expected grad_output of shape {expected} as (N, H, W, C), got {got}")


def _filter(op: str, mode: str, align_corners: bool | None, antialias: bool) -> tuple[bool, bool]:
    """Whether corners coincide, and whether outputs average."""
    if not isinstance(mode, str):
        raise TypeError(f"[{op}] expected mode to be a string, got {mode!r}")
    if align_corners is not None and mode not in _LINEAR:
        raise ValueError(
            f"[{op}] expected align_corners with mode 'bilinear' or 'bicubic' only, got mode {mode!r}"
        )
    corners = flag(align_corners, op, "align_corners") if align_corners is not None else False
    return corners, flag(antialias, op, "antialias")


def _on_device(
    device: Device,
    op: str,
    input: Array,
    name: str,
    layout: Layout,
    resized: Callable[[tuple[int, ...]], tuple[Extents, tuple[float, float]]],
    mode: str,
    corners: bool,
    smooth: bool,
    backward: bool = False,
) -> Array:
    """``input`` with the extents and by the scales that ``resized`` has of its shape as (N, H, W, C)."""

    def run(x: Any, y: Any, extents: Extents, scales: tuple[float, float]) -> None:
        resizing = device.kernels.interpolation(
            backward, device.stream, x, extents, mode, corners, smooth, scales
        )
        workspace = device.workspace(resizing.workspace_bytes)
        resizing.run(workspace.view, y)

    if planes := device.planes(input, layout, op, name, CUDA_FLOATS):
        n, c, h, w = planes.shape
        extents, scales = resized((n, h, w, c))
        y = device.empty((n, c, *_at_least_none(extents)), planes.dtype)
        x_view, y_view = (device.seen_as(a, (n * c, *a.shape[2:], 1)) for a in (planes, y))
        run(x_view, y_view, extents, scales)
        return device.give(y)
    x, channels_last = device.nhwc(input, layout, op, name, CUDA_FLOATS)
    extents, scales = resized(x.shape)
    y = device.empty((x.shape[0], *_at_least_none(extents), x.shape[3]), x.dtype)
    run(x.view, y.view, extents, scales)
    return device.from_nhwc(y, layout, channels_last)


def _at_least_none(extents: Extents) -> Extents:
    """What an array may have of them; those that are less are refused by the kernels."""
    height, width = extents
    return max(height, 0), max(width, 0)


def _extents(
    op: str,
    size: IntPair | None,
    scale_factor: float | tuple[float, float] | None,
    recompute_scale_factor: bool | None,
    extents: tuple[int, ...],
) -> tuple[Extents, tuple[float, float]]:
    """Of the output, and the scales by which positions are computed, or 0."""
    recompute = recompute_scale_factor is not None and flag(
        recompute_scale_factor, op, "recompute_scale_factor"
    )
    if size is not None and scale_factor is None:
        if recompute:
            raise ValueError(f"[{op}] expected recompute_scale_factor with scale_factor only, got size")
        return pair(size, op, "size"), (0.0, 0.0)
    if scale_factor is not None and size is None:
        scales = _scale_pair(op, scale_factor)
        resized = _scaled(op, extents[0], scales[0]), _scaled(op, extents[1], scales[1])
        return resized, (0.0, 0.0) if recompute else scales
    got = "neither" if size is None else "both"
    raise ValueError(f"[{op}] expected one of size and scale_factor, got {got}")


def _scale_pair(op: str, value: float | tuple[float, float]) -> tuple[float, float]:
    parts = value if isinstance(value, tuple | list) else (value, value)
    if len(parts) != 2:
        raise ValueError(f"[{op}] expected scale_factor to be a number or two, got {len(parts)}: {value!r}")
    vertical, horizontal = (real(p, op, "scale_factor") for p in parts)
    if not all(math.isfinite(p) and p > 0 for p in (vertical, horizontal)):
        raise ValueError(f"[{op}] expected a finite, positive scale_factor, got {value!r}")
    return vertical, horizontal


def _scaled(op: str, extent: int, scale: float) -> int:
    product = extent * scale
    if product >= 2**62:
        raise ValueError(f"[{op}] expected an output that fits in memory, got scale_factor {scale}")
    return math.floor(product)
