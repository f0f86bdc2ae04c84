# SPDX-License-Identifier: Apache-2.0
"""Gradients of the poolings against float64 and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, assert_within, check_threads_agree, random
from tests.reference import pooling as reference

SIZES = [(9, 11), (1, 1), (4, 17)]
CHANNELS = [1, 3, 8, 17, 33]
GEOMETRIES = [
    ((3, 3), (2, 2), (1, 1), (1, 1)),
    ((2, 3), (1, 1), (0, 1), (1, 1)),
    ((1, 2), (3, 2), (0, 1), (1, 2)),
    ((3, 1), (1, 2), (1, 0), (4, 3)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_maxima_against_float64(
    kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, dtype: Any
) -> None:
    tried = 0
    for size in SIZES:
        if any(
            n + 2 * p < d * (k - 1) + 1 for n, k, p, d in zip(size, kernel, padding, dilation, strict=True)
        ):
            continue
        for channels in CHANNELS:
            x = random((2, channels, *size))
            options = kernel, stride, padding, dilation, ceil_mode
            y, indices = ops.max_pool2d(x, *options, True)
            grad = random(y.shape, seed=1).astype(dtype)
            dx = ops.max_pool2d_backward(grad, indices, x.shape, *options)
            assert dx.dtype == dtype
            expected, bound = (reference.max_pool2d_backward(g, indices, size) for g in (grad, np.abs(grad)))
            assert_within(dx, expected, 9 * EPS * bound)
            nhwc = ops.max_pool2d_backward(
                grad.transpose(0, 2, 3, 1), indices.transpose(0, 2, 3, 1), (2, *size, channels), *options,
                layout="NHWC",
            )  # fmt: skip
            np.testing.assert_array_equal(nhwc.transpose(0, 3, 1, 2), dx)
            tried += 1
    assert tried >= len(CHANNELS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("count_include_pad", "divisor"), [(True, None), (False, None), (True, -3)])
def test_averages_against_float64(
    count_include_pad: bool, divisor: int | None, ceil_mode: bool, dtype: Any
) -> None:
    for kernel, stride, padding, _ in GEOMETRIES:
        for size in SIZES:
            if any(n + 2 * p < k for n, k, p in zip(size, kernel, padding, strict=True)):
                continue
            options = kernel, stride, padding, ceil_mode, count_include_pad, divisor

            def forward(x: np.ndarray, options: Any = options) -> np.ndarray:
                return reference.avg_pool2d(x, *options)

            for channels in (1, 8, 17):
                x = random((2, channels, *size))
                grad = random(forward(x).shape, seed=1).astype(dtype)
                dx = ops.avg_pool2d_backward(grad, x.shape, *options)
                assert dx.dtype == dtype
                bound = np.abs(reference.average_backward(forward, np.abs(grad), size))
                assert_within(dx, reference.average_backward(forward, grad, size), 12 * EPS * bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("out", [(1, 1), (3, 4), (9, 11), (13, 2)])
def test_adaptive_against_float64(out: Any, dtype: Any) -> None:
    for size in SIZES:
        for channels in CHANNELS:
            grad = random((2, channels, *out), seed=1).astype(dtype)
            dx = ops.adaptive_avg_pool2d_backward(grad, (2, channels, *size))
            assert dx.dtype == dtype
            expected, bound = (
                reference.average_backward(lambda x: reference.adaptive_avg_pool2d(x, out), g, size)
                for g in (grad, np.abs(grad))
            )
            assert_within(dx, expected, 160 * EPS * bound)


def test_against_torch() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    shape = (2, 6, 10, 13)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.from_numpy(random(shape).astype(np.float64)).contiguous(memory_format=memory_format)
        x.requires_grad_()
        y, indices = functional.max_pool2d(x, 3, 2, 1, 1, True, return_indices=True)
        pairs = [
            (y, lambda g, i=indices: ops.max_pool2d_backward(g, i, shape, 3, 2, 1, 1, True)),
            (functional.avg_pool2d(x, 3, 2, 1, True, False),
             lambda g: ops.avg_pool2d_backward(g, shape, 3, 2, 1, True, False)),
            (functional.adaptive_avg_pool2d(x, (4, 5)), lambda g: ops.adaptive_avg_pool2d_backward(g, shape)),
        ]  # fmt: skip
        for y, ours in pairs:
            grad = torch.from_numpy(random(tuple(y.shape), seed=2).astype(np.float64))
            grad = grad.contiguous(memory_format=memory_format)
            (expected,) = torch.autograd.grad(y, x, grad)
            dx = ours(grad)
            assert dx.is_contiguous(memory_format=memory_format)
            torch.testing.assert_close(dx, expected, rtol=1e-12, atol=1e-12)


def test_foreign_indices() -> None:
    grad = np.ones((1, 1, 2, 2), np.float32)
    dx = ops.max_pool2d_backward(grad, np.array([[[[15, 0], [-1, 15]]]]), (1, 1, 4, 4), 2)
    np.testing.assert_array_equal(dx.reshape(-1), [0] * 15 + [1])  # of windows that hold these places
    for index in (16, -2, 2**62, -(2**62)):
        with pytest.raises(ValueError, match=rf"expected indices in \[-1, 4 \* 4\), got {index}"):
            ops.max_pool2d_backward(grad, np.array([[[[0, 2], [8, index]]]]), (1, 1, 4, 4), 2)


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_arrays_is_touched(before: bool) -> None:
    x = random((2, 5, 7, 19))
    y, indices = ops.max_pool2d(x, 3, 2, 1, return_indices=True, layout="NHWC")
    grad, at = guarded(y, before=before), guarded(indices, before=before)
    ops.max_pool2d_backward(grad, at, x.shape, 3, 2, 1, layout="NHWC")
    ops.avg_pool2d_backward(grad, x.shape, 3, 2, 1, layout="NHWC")
    ops.adaptive_avg_pool2d_backward(grad, x.shape, layout="NHWC")


def test_bitwise_equal_for_any_thread_count() -> None:
    x = random((2, 60, 70, 40))
    y, indices = ops.max_pool2d(x, 3, 2, 1, return_indices=True, layout="NHWC")
    check_threads_agree(lambda: ops.max_pool2d_backward(y, indices, x.shape, 3, 2, 1, layout="NHWC"))
    check_threads_agree(lambda: ops.avg_pool2d_backward(y, x.shape, 3, 2, 1, layout="NHWC"))
    check_threads_agree(lambda: ops.adaptive_avg_pool2d_backward(y, x.shape, layout="NHWC"))


def test_empty_batch() -> None:
    grad = np.zeros((0, 3, 2, 2), np.float32)
    indices = np.zeros((0, 3, 2, 2), np.int64)
    assert ops.max_pool2d_backward(grad, indices, (0, 3, 4, 4), 2).shape == (0, 3, 4, 4)
    assert ops.avg_pool2d_backward(grad, (0, 3, 4, 4), 2).shape == (0, 3, 4, 4)
    assert ops.adaptive_avg_pool2d_backward(grad, (0, 3, 4, 4)).shape == (0, 3, 4, 4)
