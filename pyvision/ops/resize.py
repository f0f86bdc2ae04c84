# SPDX-License-Identifier: Apache-2.0
"""Resizing of float images and feature maps."""

from __future__ import annotations

import math

from pyvision import _core
from pyvision._array import Array, as_numpy, from_nhwc, is_channels_last, result_like, to_nhwc
from pyvision._device import Device, device_of
from pyvision.ops._args import IntPair, flag, pair
from pyvision.ops.conv import CUDA_FLOATS

_OP = "interpolate"


def interpolate(
    input: Array,
    size: IntPair | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    *,
    layout: str = "NCHW",
) -> Array:
    """Resize height and width, as ``torch.nn.functional.interpolate`` without antialias.

    Args:
        input: (N, C, H, W) float32, or (N, H, W, C) with ``layout="NHWC"``; only N may be 0. On CUDA float16
            and bfloat16 too.
        size: the output's extent, one integer or (height, width).
        scale_factor: output over input, one number or (vertical, horizontal), instead of ``size``. The
            output's extents are rounded down; positions are computed from the factor as given.
        mode: "nearest", "nearest-exact" or "bilinear".
        align_corners: for "bilinear": whether the corner pixels' centres, not the images' edges, coincide.

    Returns:
        The resized array in ``layout``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: not exactly one of ``size`` and ``scale_factor`` is given, or one is out of range;
            ``mode`` is unknown; ``align_corners`` is given with a nearest mode.
    """
    if not isinstance(mode, str):
        raise TypeError(f"[{_OP}] expected mode to be a string, got {mode!r}")
    if align_corners is not None and mode != "bilinear":
        raise ValueError(f"[{_OP}] expected align_corners with mode 'bilinear' only, got mode {mode!r}")
    corners = flag(align_corners, _OP, "align_corners") if align_corners is not None else False
    if device := device_of(_OP, input=input):
        return _on_device(device, input, layout, size, scale_factor, mode, corners)
    x = as_numpy(input, _OP, "input")
    nhwc = to_nhwc(x, layout, _OP, "input")
    extents, scales = _extents(nhwc.shape[1:3], size, scale_factor)
    y = _core.interpolate(nhwc, extents, mode, corners, scales)
    return result_like(from_nhwc(y, layout, is_channels_last(x, layout)), input)


def _on_device(
    device: Device,
    input: Array,
    layout: str,
    size: IntPair | None,
    scale_factor: float | tuple[float, float] | None,
    mode: str,
    corners: bool,
) -> Array:
    if planes := device.planes(input, layout, _OP, "input", CUDA_FLOATS):
        n, c, h, w = planes.shape
        (height, width), scales = _extents((h, w), size, scale_factor)
        y = device.empty((n, c, max(height, 0), max(width, 0)), planes.dtype)
        x_view, y_view = (device.seen_as(a, (n * c, *a.shape[2:], 1)) for a in (planes, y))
        device.kernels.interpolate(device.stream, x_view, mode, corners, scales, y_view)
        return device.give(y)
    x, channels_last = device.nhwc(input, layout, _OP, "input", CUDA_FLOATS)
    n, h, w, c = x.shape
    (height, width), scales = _extents((h, w), size, scale_factor)
    y = device.empty((n, max(height, 0), max(width, 0), c), x.dtype)
    device.kernels.interpolate(device.stream, x.view, mode, corners, scales, y.view)
    return device.from_nhwc(y, layout, channels_last)


def _extents(
    extents: tuple[int, ...], size: IntPair | None, scale_factor: float | tuple[float, float] | None
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Of the output, and the scales that were stated, or 0."""
    if size is not None and scale_factor is None:
        return pair(size, _OP, "size"), (0.0, 0.0)
    if scale_factor is not None and size is None:
        scales = _scale_pair(scale_factor)
        return (_scaled(extents[0], scales[0]), _scaled(extents[1], scales[1])), scales
    got = "neither" if size is None else "both"
    raise ValueError(f"[{_OP}] expected one of size and scale_factor, got {got}")


def _scale_pair(value: float | tuple[float, float]) -> tuple[float, float]:
    parts = value if isinstance(value, tuple | list) else (value, value)
    if len(parts) != 2:
        raise ValueError(f"[{_OP}] expected scale_factor to be a number or two, got {len(parts)}: {value!r}")
    if any(isinstance(p, bool | str) or not hasattr(p, "__float__") for p in parts):
        raise TypeError(f"[{_OP}] expected scale_factor to be a number, got {value!r}")
    vertical, horizontal = (float(p) for p in parts)
    if not all(math.isfinite(p) and p > 0 for p in (vertical, horizontal)):
        raise ValueError(f"[{_OP}] expected a finite, positive scale_factor, got {value!r}")
    return vertical, horizontal


def _scaled(extent: int, scale: float) -> int:
    product = extent * scale
    if product >= 2**62:
        raise ValueError(f"[{_OP}] expected an output that fits in memory, got scale_factor {scale}")
    return math.floor(product)
