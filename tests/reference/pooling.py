# SPDX-License-Identifier: Apache-2.0
"""Pooling in float64, one window at a time. NCHW."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

Pair = tuple[int, int]


def _extents(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    result = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        out = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (out - 1) * s >= n + p:  # a window must start before the far padding
            out -= 1
        result.append(out)
    return result[0], result[1]


def _windows(
    size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, out: Pair
) -> Iterator[tuple[int, int, list[Pair]]]:
    for oh in range(out[0]):
        for ow in range(out[1]):
            taps = [
                (h, w)
                for h in (oh * stride[0] - padding[0] + i * dilation[0] for i in range(kernel[0]))
                for w in (ow * stride[1] - padding[1] + j * dilation[1] for j in range(kernel[1]))
                if 0 <= h < size[0] and 0 <= w < size[1]
            ]
            yield oh, ow, taps


def max_pool2d(
    x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[np.ndarray, np.ndarray]:
    size = (x.shape[2], x.shape[3])
    out = _extents(size, kernel, stride, padding, dilation, ceil_mode)
    y = np.full((*x.shape[:2], *out), -np.inf)
    indices = np.full(y.shape, -1, np.int64)
    for oh, ow, taps in _windows(size, kernel, stride, padding, dilation, out):
        if not taps:
            continue
        values = np.stack([x[:, :, h, w].astype(np.float64) for h, w in taps], axis=-1)
        nan = np.isnan(values)
        last_nan = len(taps) - 1 - np.argmax(nan[..., ::-1], axis=-1)
        chosen = np.where(nan.any(-1), last_nan, np.argmax(np.where(nan, -np.inf, values), axis=-1))
        y[:, :, oh, ow] = np.take_along_axis(values, chosen[..., None], -1)[..., 0]
        indices[:, :, oh, ow] = np.array([h * size[1] + w for h, w in taps])[chosen]
    return y, indices


def avg_pool2d(
    x: np.ndarray,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> np.ndarray:
    size = (x.shape[2], x.shape[3])
    out = _extents(size, kernel, stride, padding, (1, 1), ceil_mode)
    y = np.zeros((*x.shape[:2], *out))
    for oh, ow, taps in _windows(size, kernel, stride, padding, (1, 1), out):
        padded = [
            min(o * s - p + k, n + p) - (o * s - p)
            for o, s, p, k, n in zip((oh, ow), stride, padding, kernel, size, strict=True)
        ]
        divisor = divisor_override or (padded[0] * padded[1] if count_include_pad else len(taps))
        y[:, :, oh, ow] = sum(x[:, :, h, w].astype(np.float64) for h, w in taps) / divisor
    return y


def adaptive_avg_pool2d(x: np.ndarray, out: Pair) -> np.ndarray:
    y = np.zeros((*x.shape[:2], *out))
    h, w = x.shape[2:]
    for i in range(out[0]):
        for j in range(out[1]):
            rows = slice(i * h // out[0], -(-(i + 1) * h // out[0]))
            cols = slice(j * w // out[1], -(-(j + 1) * w // out[1]))
            y[:, :, i, j] = x[:, :, rows, cols].astype(np.float64).mean(axis=(2, 3))
    return y


def max_pool2d_backward(grad: np.ndarray, indices: np.ndarray, size: Pair) -> np.ndarray:
    """What every output's gradient does to the pixel that its index names."""
    n, c = grad.shape[:2]
    dx = np.zeros((n, c, size[0] * size[1]))
    for i in range(n):
        for k in range(c):
            hit = indices[i, k] >= 0
            np.add.at(dx[i, k], indices[i, k][hit], grad[i, k][hit].astype(np.float64))
    return dx.reshape(n, c, *size)


def average_backward(forward: Callable[[np.ndarray], np.ndarray], grad: np.ndarray, size: Pair) -> np.ndarray:
    """Of an average, which is linear and treats all images alike: the transpose of its matrix."""
    pixels = size[0] * size[1]
    matrix = forward(np.eye(pixels).reshape(1, pixels, *size)).reshape(pixels, -1)
    flat = grad.reshape(-1, matrix.shape[1]).astype(np.float64)
    return (flat @ matrix.T).reshape(*grad.shape[:2], *size)


def max_unpool2d(x: np.ndarray, indices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    y = np.zeros((*x.shape[:2], size[0] * size[1]), x.dtype)
    for n, c, h, w in itertools.product(*map(range, x.shape)):
        y[n, c, indices[n, c, h, w]] = x[n, c, h, w]
    return y.reshape(*x.shape[:2], *size)
