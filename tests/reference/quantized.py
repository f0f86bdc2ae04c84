# SPDX-License-Identifier: Apache-2.0
"""Convolution of 8-bit maps: sums in int64, then the formula in float32, one rounding an operation."""

from __future__ import annotations

import numpy as np

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]


def conv2d_sums(
    x: np.ndarray,
    weight: np.ndarray,
    zero_point: int,
    bias: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Sides = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """b + sum (x - zero_point) w over NHWC, as int64; padding is (top, left, bottom, right)."""
    top, left, bottom, right = padding
    x = np.pad(x.astype(np.int64) - zero_point, ((0, 0), (top, bottom), (left, right), (0, 0)))
    n, height, width, _ = x.shape
    out_channels, group_in, kernel_h, kernel_w = weight.shape
    out_h = (height - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    out_w = (width - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    group_out = out_channels // groups
    sums = np.zeros((n, out_h, out_w, out_channels), np.int64)
    for kh in range(kernel_h):
        for kw in range(kernel_w):
            rows = kh * dilation[0] + stride[0] * np.arange(out_h)
            columns = kw * dilation[1] + stride[1] * np.arange(out_w)
            seen = x[:, rows[:, None], columns]
            for g in range(groups):
                inputs, outputs = (slice(g * size, (g + 1) * size) for size in (group_in, group_out))
                sums[..., outputs] += seen[..., inputs] @ weight[outputs, :, kh, kw].astype(np.int64).T
    return sums if bias is None else sums + bias


def requantize(values: np.ndarray, zero_point: int) -> np.ndarray:
    """float32 in units of the output's scale, to uint8."""
    assert values.dtype == np.float32
    return (np.clip(np.rint(values), -zero_point, 255 - zero_point) + zero_point).astype(np.uint8)
