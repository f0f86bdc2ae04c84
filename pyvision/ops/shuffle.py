# SPDX-License-Identifier: Apache-2.0
"""Channels to pixels and back, without arithmetic."""

from __future__ import annotations

import numpy as np

from pyvision import _core
from pyvision._array import (
    Array,
    as_numpy,
    bf16_bits,
    bf16_like,
    check_layout,
    is_bf16,
    is_channels_last,
    result_like,
)
from pyvision._device import Device, device_of
from pyvision.ops._args import integer
from pyvision.ops.conv import Layout

DTYPES = (
    "float16", "bfloat16", "float32", "float64", "bool",
    "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
)  # fmt: skip
CUDA_DTYPES = "float16", "bfloat16", "float32", "float64", "bool", "uint8", "int8", "int32", "int64"


def pixel_shuffle(input: Array, upscale_factor: int, *, layout: Layout = "NCHW") -> Array:
    """Groups of ``upscale_factor`` squared channels become pixels: ``torch.nn.functional.pixel_shuffle``.

    Pixel (h * r + i, w * r + j) of channel c was channel (c * r + i) * r + j of pixel (h, w).
    Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", 2016. Its gradient is :func:`pixel_unshuffle`.

    Args:
        input: (N, C * r * r, H, W) of any real type, or (N, H, W, C * r * r) with ``layout="NHWC"``. On CUDA
            of any but int16 and the wider unsigned ones.
        upscale_factor: r.

    Returns:
        (N, C, H * r, W * r) in ``layout``, of the input's dtype.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: ``upscale_factor`` is less than 1, or its square does not divide the channels.
    """
    return _moved("pixel_shuffle", input, upscale_factor, "upscale_factor", layout)


def pixel_unshuffle(input: Array, downscale_factor: int, *, layout: Layout = "NCHW") -> Array:
    """The inverse of :func:`pixel_shuffle`, and its gradient: ``torch.nn.functional.pixel_unshuffle``.

    Args:
        input: (N, C, H * r, W * r) of any real type, or (N, H * r, W * r, C) with ``layout="NHWC"``. Types on
            CUDA are as there.
        downscale_factor: r.

    Returns:
        (N, C * r * r, H, W) in ``layout``, of the input's dtype.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: ``downscale_factor`` is less than 1, or does not divide height and width.
    """
    return _moved("pixel_unshuffle", input, downscale_factor, "downscale_factor", layout)


def _moved(op: str, input: Array, factor: int, name: str, layout: Layout) -> Array:
    check_layout(layout, op)
    r = integer(factor, op, name)
    if not 1 <= r < 2**15:
        raise ValueError(f"[{op}] expected {name} in [1, 2^15), got {r}")
    if device := device_of(op, input=input):
        return _moved_on_device(device, op, input, r, layout)
    half = is_bf16(input)
    x = bf16_bits(input, op, "input") if half else as_numpy(input, op, "input", DTYPES)
    if x.ndim != 4:
        raise ValueError(f"[{op}] expected input with 4 dimensions, got shape {x.shape}")
    move = getattr(_core, op)
    if is_channels_last(x, layout):
        y: np.ndarray = move(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), r, False).transpose(0, 3, 1, 2)
    else:
        y = move(np.ascontiguousarray(x), r, layout == "NCHW")
    return bf16_like(y, input) if half else result_like(y, input)


def _moved_on_device(device: Device, op: str, input: Array, factor: int, layout: Layout) -> Array:
    kernels, to_fine = device.kernels, op == "pixel_shuffle"
    channels_last, nchw = False, True
    x = device.planes(input, layout, op, "input", CUDA_DTYPES)
    if x is None:
        x, channels_last = device.nhwc(input, layout, op, "input", CUDA_DTYPES)
        nchw = False
    y = device.empty(tuple(kernels.pixel_shuffle_shape(to_fine, x.view, factor, nchw)), x.dtype)
    kernels.pixel_shuffle(to_fine, device.stream, x.view, factor, nchw, y.view)
    return device.give(y) if nchw else device.from_nhwc(y, layout, channels_last)
