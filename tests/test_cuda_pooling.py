# SPDX-License-Identifier: Apache-2.0
"""Pooling on CUDA against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference import pooling as reference
from tests.test_cuda_conv2d import DTYPES, STORED

GEOMETRIES = [
    ((3, 3), (2, 2), (1, 1), (1, 1)),
    ((2, 3), (2, 1), (0, 1), (1, 1)),
    ((2, 2), (3, 3), (1, 1), (2, 3)),
    ((5, 4), (1, 2), (2, 2), (1, 1)),
]


def held(cuda: Cuda, dtype: str, channels: int) -> tuple[Any, np.ndarray]:
    """An NCHW map on the device, and its values."""
    on_device = cuda.array(random((2, channels, 9, 11)), dtype)
    return on_device, cuda.numpy(on_device).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_windows(cuda: Cuda, dtype: str, kernel: Any, stride: Any, padding: Any, dilation: Any) -> None:
    for channels in (8, 5):
        x_on, x = held(cuda, dtype, channels)
        for ceil_mode in (False, True):
            y, places = reference.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
            result = ops.max_pool2d(x_on, kernel, stride, padding, dilation, ceil_mode)
            assert cuda.dtype(result) == dtype
            np.testing.assert_array_equal(cuda.numpy(result), y)
            both = ops.max_pool2d(x_on, kernel, stride, padding, dilation, ceil_mode, True)
            assert [cuda.dtype(a) for a in both] == [dtype, "int64"]
            np.testing.assert_array_equal(cuda.numpy(both[0]), y)
            np.testing.assert_array_equal(cuda.numpy(both[1]), places)
            for count_include_pad, divisor in ((True, None), (False, None), (True, -3)):
                options = (ceil_mode, count_include_pad, divisor)
                y = reference.avg_pool2d(x, kernel, stride, padding, *options)
                bound = np.abs(reference.avg_pool2d(np.abs(x), kernel, stride, padding, *options))
                actual = cuda.numpy(ops.avg_pool2d(x_on, kernel, stride, padding, *options))
                assert_within(actual, y, (EPS * 25 + STORED[dtype]) * bound + 2.0**-25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, (3, 4), (9, 11), (13, 2), (None, 1)])
def test_adaptive(cuda: Cuda, dtype: str, size: Any) -> None:
    for channels in (8, 5):
        x_on, x = held(cuda, dtype, channels)
        out = (size, size) if isinstance(size, int) else (size[0] or 9, size[1])
        y, bound = (reference.adaptive_avg_pool2d(v, out) for v in (x, np.abs(x)))
        actual = cuda.numpy(ops.adaptive_avg_pool2d(x_on, size))
        assert_within(actual, y, (EPS * 99 + STORED[dtype]) * bound + 2.0**-25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_gradients_of_windows(
    cuda: Cuda, dtype: str, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    size = (9, 11)
    for channels in (8, 5):
        _, x = held(cuda, dtype, channels)
        for ceil_mode in (False, True):
            options = kernel, stride, padding, dilation, ceil_mode
            y, places = reference.max_pool2d(x, *options)
            grad_on = cuda.array(random(y.shape, seed=1), dtype)
            grad = cuda.numpy(grad_on).astype(np.float32)
            dx = ops.max_pool2d_backward(grad_on, cuda.array(places), x.shape, *options)
            assert cuda.dtype(dx) == dtype
            expected, bound = (reference.max_pool2d_backward(g, places, size) for g in (grad, np.abs(grad)))
            assert_within(cuda.numpy(dx), expected, (EPS * 20 + STORED[dtype]) * bound + 2.0**-25)
        for averaging in ((True, True, None), (False, False, None), (True, True, -3)):

            def forward(x: np.ndarray, averaging: Any = averaging) -> np.ndarray:
                return reference.avg_pool2d(x, kernel, stride, padding, *averaging)

            grad_on = cuda.array(random(forward(x).shape, seed=1), dtype)
            grad = cuda.numpy(grad_on).astype(np.float32)
            dx = ops.avg_pool2d_backward(grad_on, x.shape, kernel, stride, padding, *averaging)
            bound = np.abs(reference.average_backward(forward, np.abs(grad), size))
            expected = reference.average_backward(forward, grad, size)
            assert_within(cuda.numpy(dx), expected, (EPS * 25 + STORED[dtype]) * bound + 2.0**-25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out", [(1, 1), (3, 4), (13, 2)])
def test_gradients_of_adaptive(cuda: Cuda, dtype: str, out: Any) -> None:
    for channels in (8, 5):
        grad_on = cuda.array(random((2, channels, *out)), dtype)
        grad = cuda.numpy(grad_on).astype(np.float32)
        dx = ops.adaptive_avg_pool2d_backward(grad_on, (2, channels, 9, 11))
        expected, bound = (
            reference.average_backward(lambda x: reference.adaptive_avg_pool2d(x, out), g, (9, 11))
            for g in (grad, np.abs(grad))
        )
        assert_within(cuda.numpy(dx), expected, (EPS * 160 + STORED[dtype]) * bound + 2.0**-25)


def test_schedule_does_not_matter(cuda: Cuda) -> None:
    """Of gradients of windows that overlap."""
    grad, x = cuda.array(random((2, 4, 5, 8))), random((2, 8, 10, 8), seed=1)
    places = cuda.array(ops.max_pool2d(x, 3, 2, 1, return_indices=True, layout="NHWC")[1])
    found = []
    for falling in (False, True):
        cuda.falling_order(falling)
        gradients = (
            ops.max_pool2d_backward(grad, places, x.shape, 3, 2, 1, layout="NHWC"),
            ops.avg_pool2d_backward(grad, x.shape, 3, 2, 1, layout="NHWC"),
            ops.adaptive_avg_pool2d_backward(grad, (2, 7, 9, 8), layout="NHWC"),
        )
        found.append([cuda.numpy(dx) for dx in gradients])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_in_either_layout(cuda: Cuda) -> None:
    x = random((2, 6, 7, 24))
    for layout, axes in (("NHWC", (0, 1, 2, 3)), ("NCHW", (0, 3, 1, 2))):
        y, places = ops.max_pool2d(x, 3, 2, 1, return_indices=True, layout="NHWC")
        expected = (
            ops.max_pool2d_backward(y, places, x.shape, 3, 2, 1, layout="NHWC"),
            ops.avg_pool2d_backward(y, x.shape, 3, 2, 1, layout="NHWC"),
            ops.adaptive_avg_pool2d_backward(y, x.shape, layout="NHWC"),
        )
        grad, at = (cuda.array(np.ascontiguousarray(a.transpose(axes))) for a in (y, places))
        shape: Any = tuple(x.shape[axis] for axis in axes)
        options: Any = {"layout": layout}
        found = (
            ops.max_pool2d_backward(grad, at, shape, 3, 2, 1, **options),
            ops.avg_pool2d_backward(grad, shape, 3, 2, 1, **options),
            ops.adaptive_avg_pool2d_backward(grad, shape, **options),
        )
        for a, b in zip(found, expected, strict=True):  # one order of sums on both devices
            np.testing.assert_array_equal(cuda.numpy(a), b.transpose(axes))
    empty = ops.avg_pool2d_backward(cuda.array(y[:0]), (0, *x.shape[1:]), 3, 2, 1, layout="NHWC")
    assert empty.shape == (0, *x.shape[1:])


def test_layouts_and_empty_batches(cuda: Cuda) -> None:
    x = random((2, 6, 7, 24))
    planar = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    for op, size in ((ops.max_pool2d, 3), (ops.avg_pool2d, 2), (ops.adaptive_avg_pool2d, 2)):
        y = cuda.numpy(op(cuda.array(x), size, layout="NHWC"))
        np.testing.assert_array_equal(y.transpose(0, 3, 1, 2), cuda.numpy(op(cuda.array(planar), size)))
        assert op(cuda.array(x[:0]), size, layout="NHWC").shape[0] == 0


def test_nan_wins(cuda: Cuda) -> None:
    x = random((1, 1, 4, 4))
    x[0, 0, 1, 2] = np.nan
    y = cuda.numpy(ops.max_pool2d(cuda.array(x), 2))
    np.testing.assert_array_equal(y, ops.max_pool2d(x, 2))
    assert np.isnan(y).sum() == 1
    x[0, 0, 0], x[0, 0, 3, 3] = -np.inf, np.nan
    for layout in ("NCHW", "NHWC"):
        planar = x if layout == "NCHW" else x.transpose(0, 2, 3, 1)
        on = ops.max_pool2d(cuda.array(planar), 2, return_indices=True, layout=layout)
        host = ops.max_pool2d(planar, 2, return_indices=True, layout=layout)
        for a, b in zip(on, host, strict=True):
            np.testing.assert_array_equal(cuda.numpy(a), b)


@pytest.mark.parametrize(
    ("op", "arguments", "error", "message"),
    [
        ("max_pool2d", {"kernel_size": 0}, ValueError, "expected kernel_size in"),
        ("max_pool2d", {"kernel_size": 3, "padding": 3}, ValueError, "expected padding of at most half"),
        ("max_pool2d", {"kernel_size": 9}, ValueError, "expected windows no larger"),
        ("max_pool2d", {"kernel_size": 2, "return_indices": 1}, TypeError, "expected return_indices"),
        ("max_pool2d", {"kernel_size": 2, "layout": "CHW"}, ValueError, "expected layout"),
        ("avg_pool2d", {"kernel_size": 2, "divisor_override": 0}, ValueError, "expected divisor_override"),
        ("avg_pool2d", {"kernel_size": 2, "stride": -1}, ValueError, "expected stride in"),
        ("adaptive_avg_pool2d", {"output_size": 0}, ValueError, "expected output_size"),
        ("adaptive_avg_pool2d", {"output_size": (1, 2, 3)}, ValueError, "expected output_size"),
    ],
)
def test_bad_arguments(cuda: Cuda, op: str, arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[{op}\] {message}"):
        getattr(ops, op)(cuda.array(random((1, 2, 5, 6))), **arguments)
    wrong = {"kernel_size": 2} if "kernel_size" in arguments else {"output_size": 1}
    with pytest.raises(TypeError, match=rf"^\[{op}\] expected input of dtype"):
        getattr(ops, op)(cuda.array(np.zeros((1, 2, 5, 6))), **wrong)
    with pytest.raises(ValueError, match=rf"^\[{op}\] expected input with"):
        getattr(ops, op)(cuda.array(random((2, 5, 6))), **wrong)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"input_shape": (1, 2, 5, 9)}, ValueError, "expected grad_output of shape"),
        ({"input_shape": (1, 3, 5, 6)}, ValueError, "expected input_shape with the N and C"),
        ({"input_shape": (1, 2, 0, 6)}, ValueError, "expected input_shape with no empty axis"),
        ({"kernel_size": 0}, ValueError, "expected kernel_size in"),
        ({"dtype": "float64"}, TypeError, "expected grad_output of dtype"),
        ({"places": np.zeros((1, 2, 2, 2), np.int64)}, ValueError, "expected indices of shape"),
        ({"places": np.zeros((1, 2, 2, 3), np.int32)}, TypeError, "expected indices of dtype"),
    ],
)
def test_bad_gradients(cuda: Cuda, overrides: dict[str, Any], error: type, message: str) -> None:
    options = {
        "input_shape": (1, 2, 5, 6), "kernel_size": 2, "dtype": "float32",
        "places": np.zeros((1, 2, 2, 3), np.int64),
    } | overrides  # fmt: skip
    grad, places = cuda.array(random((1, 2, 2, 3)), options["dtype"]), cuda.array(options["places"])
    with pytest.raises(error, match=rf"^\[max_pool2d_backward\] {message}"):
        ops.max_pool2d_backward(grad, places, options["input_shape"], options["kernel_size"])
    with pytest.raises(ValueError, match=r"^\[max_pool2d_backward\] expected all arrays on one device"):
        ops.max_pool2d_backward(grad, options["places"], options["input_shape"], 2)
