# SPDX-License-Identifier: Apache-2.0
"""Deformable convolutions and attention in float64, one sample at a time, from the papers' formulas.

Maps are NHWC. Results come with the sum of |a * b|, which their float32 rounding error scales with.
"""

from __future__ import annotations

import math

import numpy as np

Pair = tuple[int, int]


def bilinear(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """Sum over pixels q of max(0, 1 - |q_y - y|) max(0, 1 - |q_x - x|) image[q]: Dai et al. 2017, eq. 3."""
    value = np.zeros(image.shape[2:])
    if not (math.isfinite(y) and math.isfinite(x)):
        return value
    for qy in (math.floor(y), math.floor(y) + 1):
        for qx in (math.floor(x), math.floor(x) + 1):
            if 0 <= qy < image.shape[0] and 0 <= qx < image.shape[1]:
                value = value + max(0, 1 - abs(qy - y)) * max(0, 1 - abs(qx - x)) * image[qy, qx]
    return value


def deform_conv2d(
    x: np.ndarray,
    offset: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> tuple[np.ndarray, np.ndarray]:
    """offset, mask: (N, C, H_out, W_out). Positions are rounded to the dtype of ``offset``."""
    position = offset.dtype.type
    n, _, _, channels = x.shape
    out_channels, group_in, kernel_h, kernel_w = weight.shape
    taps = kernel_h * kernel_w
    out_h, out_w = offset.shape[2:]
    offset_groups = offset.shape[1] // (2 * taps)
    share = channels // offset_groups
    groups = channels // group_in
    samples = np.zeros((n, out_h, out_w, taps, channels))
    for b, oh, ow, g, tap in np.ndindex(n, out_h, out_w, offset_groups, taps):
        kh, kw = divmod(tap, kernel_w)
        y = position(oh * stride[0] - padding[0] + kh * dilation[0]) + offset[b, 2 * (g * taps + tap), oh, ow]
        z = (
            position(ow * stride[1] - padding[1] + kw * dilation[1])
            + offset[b, 2 * (g * taps + tap) + 1, oh, ow]
        )
        here = slice(g * share, (g + 1) * share)
        scale = 1.0 if mask is None else float(mask[b, g * taps + tap, oh, ow])
        samples[b, oh, ow, tap, here] = scale * bilinear(
            x[b, :, :, here].astype(np.float64), float(y), float(z)
        )
    a = samples.reshape(n, out_h, out_w, taps, groups, group_in)
    w = weight.astype(np.float64).reshape(groups, out_channels // groups, group_in, taps)
    y = np.einsum("nhwtgi,goit->nhwgo", a, w).reshape(n, out_h, out_w, out_channels)
    bound = np.einsum("nhwtgi,goit->nhwgo", abs(a), abs(w)).reshape(y.shape)
    if bias is not None:
        y, bound = y + bias, bound + abs(bias)
    return y, bound


def deform_conv3(
    x: np.ndarray,
    offset: np.ndarray,
    mask: np.ndarray,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Wang et al. 2023, equation 2, the grid of taps centred on p_0 and scaled with the offsets."""
    position = offset.dtype.type
    n, _, _, channels = x.shape
    out_h, out_w = offset.shape[1:3]
    taps = [(kh, kw) for kw in range(kernel[1]) for kh in range(kernel[0])]
    if remove_center:
        taps.remove((kernel[0] // 2, kernel[1] // 2))
    offset = offset.reshape(n, out_h, out_w, groups, len(taps), 2)
    mask = mask.reshape(n, out_h, out_w, groups, len(taps)).astype(np.float64)
    share = channels // groups
    half = [(d * (k - 1)) // 2 for d, k in zip(dilation, kernel, strict=True)]
    scale = position(offset_scale)
    y = np.zeros((n, out_h, out_w, channels))
    bound = np.zeros_like(y)
    for b, oh, ow, g in np.ndindex(n, out_h, out_w, groups):
        here = slice(g * share, (g + 1) * share)
        for tap, (kh, kw) in enumerate(taps):
            moved, at = offset[b, oh, ow, g, tap, ::-1], [0.0, 0.0]
            for axis, (o, k) in enumerate(((oh, kh), (ow, kw))):
                centre = (
                    position(o * stride[axis] - padding[axis] + half[axis]) - position(half[axis]) * scale
                )
                at[axis] = float(centre + (position(k * dilation[axis]) + moved[axis]) * scale)
            value = bilinear(x[b, :, :, here].astype(np.float64), *at)
            y[b, oh, ow, here] += mask[b, oh, ow, g, tap] * value
            magnitude = bilinear(abs(x[b, :, :, here]).astype(np.float64), *at)
            bound[b, oh, ow, here] += abs(mask[b, oh, ow, g, tap]) * magnitude
    return y, bound


def multi_scale_deformable_attention(
    value: np.ndarray, shapes: np.ndarray, locations: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Zhu et al. 2021, equation 3."""
    position = locations.dtype.type
    n, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    y = np.zeros((n, queries, heads, channels))
    bound = np.zeros_like(y)
    starts = np.concatenate([[0], np.cumsum(shapes[:, 0] * shapes[:, 1])])
    for b, level, m in np.ndindex(n, len(shapes), heads):
        h, w = (int(extent) for extent in shapes[level])
        image = value[b, starts[level] : starts[level + 1], m].reshape(h, w, channels).astype(np.float64)
        for q, p in np.ndindex(queries, points):
            x, z = locations[b, q, m, level, p]
            at = float(z * position(h) - position(0.5)), float(x * position(w) - position(0.5))
            weight = float(weights[b, q, m, level, p])
            y[b, q, m] += weight * bilinear(image, *at)
            bound[b, q, m] += abs(weight) * bilinear(abs(image), *at)
    return y.reshape(n, queries, -1), bound.reshape(n, queries, -1)
