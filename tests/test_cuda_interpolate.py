# SPDX-License-Identifier: Apache-2.0
"""interpolate on CUDA against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference.interpolate import interpolate as reference
from tests.reference.interpolate import interpolate_backward as reference_backward
from tests.test_cuda_conv2d import DTYPES, STORED

MODES = [
    ("nearest", None), ("nearest-exact", None), ("area", None),
    ("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic", True),
]  # fmt: skip
SMOOTH = [(mode, corners, False) for mode, corners in MODES]
SMOOTH += [("bilinear", False, True), ("bicubic", False, True), ("bicubic", True, True)]
SIZES = [((1, 1), (3, 5)), ((4, 6), (8, 12)), ((7, 5), (1, 1)), ((6, 9), (13, 4)), ((3, 40), (5, 300))]


def check(actual: np.ndarray, expected: np.ndarray, x: np.ndarray, mode: str, dtype: str) -> None:
    if not mode.startswith("nearest"):
        # Weights are rounded positions: they are off by an ulp of the position, or by a few where they are
        # cubic; then two blends.
        slope = 8 if mode == "bicubic" else 2
        largest = np.abs(x).max(initial=0)
        bound = (max(x.shape[2:]) + 6) * slope * EPS * largest + STORED[dtype] * np.abs(expected)
        assert_within(actual, expected, bound)
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("mode", "align_corners", "antialias"), SMOOTH, ids=str)
def test_against_float64(
    cuda: Cuda, dtype: str, mode: str, align_corners: bool | None, antialias: bool
) -> None:
    for size, out in SIZES if dtype == "float32" else SIZES[:-1]:  # the largest once
        for channels in (8, 3, 1):
            x_on = cuda.array(random((2, channels, *size)), dtype)
            x = cuda.numpy(x_on).astype(np.float32)
            expected = reference(x, out, mode, bool(align_corners), antialias=antialias)
            options: Any = {"mode": mode, "align_corners": align_corners, "antialias": antialias}
            y = ops.interpolate(x_on, out, **options)
            assert cuda.dtype(y) == dtype
            check(cuda.numpy(y), expected, x, mode, dtype)
            pixels = cuda.array(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), dtype)
            last = ops.interpolate(pixels, out, layout="NHWC", **options)
            np.testing.assert_array_equal(cuda.numpy(last).transpose(0, 3, 1, 2), cuda.numpy(y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("mode", "align_corners", "antialias"), SMOOTH, ids=str)
def test_backward(cuda: Cuda, dtype: str, mode: str, align_corners: bool | None, antialias: bool) -> None:
    for size, out in SIZES if dtype == "float32" else SIZES[:-1]:  # the largest once
        for channels in (8, 3, 1):
            grad_on = cuda.array(random((2, channels, *out)), dtype)
            grad = cuda.numpy(grad_on).astype(np.float32)
            options: Any = {"mode": mode, "align_corners": align_corners, "antialias": antialias}
            dx = ops.interpolate_backward(grad_on, (2, channels, *size), out, **options)
            assert cuda.dtype(dx) == dtype
            expected, terms = reference_backward(grad, size, mode, bool(align_corners), antialias)
            bound = (max(*size, *out) + 8) * 8 * EPS * (terms + np.abs(grad).max())
            assert_within(cuda.numpy(dx), expected, bound + STORED[dtype] * np.abs(expected))
            pixels = cuda.array(np.ascontiguousarray(grad.transpose(0, 2, 3, 1)), dtype)
            last = ops.interpolate_backward(pixels, (2, *size, channels), out, layout="NHWC", **options)
            np.testing.assert_array_equal(cuda.numpy(last).transpose(0, 3, 1, 2), cuda.numpy(dx))
    for scale in (1.7, (0.3, 2.6)):
        both = scale if isinstance(scale, tuple) else (scale, scale)
        grad = random((1, 5, int(11 * both[0]), int(13 * both[1])))
        dx = ops.interpolate_backward(cuda.array(grad), (1, 5, 11, 13), None, scale, **options)
        same = ops.interpolate_backward(grad, (1, 5, 11, 13), None, scale, **options)
        assert_within(cuda.numpy(dx), same, 1e-5 * np.abs(grad).max())
    with pytest.raises(ValueError, match=r"\[interpolate_backward\] expected grad_output of shape"):
        ops.interpolate_backward(cuda.array(random((1, 2, 3, 4))), (1, 2, 3, 3), 5, **options)
    with pytest.raises(ValueError, match=r"^\[interpolate_backward\] expected input_shape of at least"):
        ops.interpolate_backward(cuda.array(random((1, 2, 5, 5))), (1, 2, 0, 3), 5, **options)


@pytest.mark.parametrize(("mode", "align_corners"), MODES, ids=str)
@pytest.mark.parametrize("scale", [2, 1.7, (0.3, 2.6)], ids=str)
def test_scale_factor(cuda: Cuda, mode: str, align_corners: bool | None, scale: Any) -> None:
    x = random((1, 5, 11, 13))
    y = ops.interpolate(cuda.array(x), scale_factor=scale, mode=mode, align_corners=align_corners)
    both = scale if isinstance(scale, tuple) else (scale, scale)
    out = (int(11 * both[0]), int(13 * both[1]))
    check(cuda.numpy(y), reference(x, out, mode, bool(align_corners), both), x, mode, "float32")
    for options in ({"recompute_scale_factor": True}, {"antialias": mode in ("bilinear", "bicubic")}):
        y, same = (
            ops.interpolate(a, scale_factor=scale, mode=mode, align_corners=align_corners, **options)
            for a in (cuda.array(x), x)
        )
        assert_within(cuda.numpy(y), same, 1e-5 * np.abs(x).max())


def test_channels_last_stays_so(cuda: Cuda) -> None:
    x = np.ascontiguousarray(random((2, 9, 7, 8))).transpose(0, 3, 1, 2)
    y = ops.interpolate(cuda.strided(x), (5, 6), mode="bilinear")
    assert cuda.is_channels_last(y)
    np.testing.assert_allclose(cuda.numpy(y), ops.interpolate(x, (5, 6), mode="bilinear"), rtol=0, atol=1e-6)
    for layout, shape in (("NCHW", (0, 3, 4, 6)), ("NHWC", (0, 4, 6, 3))):
        empty = ops.interpolate(cuda.array(np.zeros(shape, np.float32)), 5, layout=layout)
        assert empty.shape == ((0, 3, 5, 5) if layout == "NCHW" else (0, 5, 5, 3))


@pytest.mark.parametrize("antialias", [False, True])
def test_gradient_is_the_transpose_in_a_fixed_order(cuda: Cuda, antialias: bool) -> None:
    x, dy = random((1, 3, 9, 14)), random((1, 3, 4, 31), seed=1)
    options: Any = {"mode": "bicubic", "antialias": antialias}
    y = ops.interpolate(cuda.array(x), (4, 31), **options)
    dx = ops.interpolate_backward(cuda.array(dy), (1, 3, 9, 14), (4, 31), **options)
    assert np.vdot(cuda.numpy(y), dy) == pytest.approx(np.vdot(x, cuda.numpy(dx)), rel=1e-4)
    cuda.falling_order(True)
    again = ops.interpolate_backward(cuda.array(dy), (1, 3, 9, 14), (4, 31), **options)
    np.testing.assert_array_equal(cuda.numpy(again), cuda.numpy(dx))


def test_an_empty_batch_takes_no_memory(cuda: Cuda) -> None:
    long = 2**40
    empty = cuda.array(np.zeros((0, 1, 1, 1), np.float32))
    assert ops.interpolate(empty, (1, long), mode="bicubic").shape == (0, 1, 1, long)
    assert ops.interpolate_backward(empty, (0, 1, 1, long), 1, mode="area").shape == (0, 1, 1, long)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "expected one of size and scale_factor, got neither"),
        ({"size": 0}, ValueError, "expected an output of at least 1 x 1"),
        ({"size": (3, -1)}, ValueError, "expected an output of at least 1 x 1"),
        ({"size": 3, "mode": "lanczos"}, ValueError, "expected mode to be one of nearest"),
        ({"size": 3, "mode": "area", "antialias": True}, ValueError, "expected antialias with mode"),
        ({"size": 3, "align_corners": True}, ValueError, "expected align_corners with"),
        ({"size": 3, "layout": "HWC"}, ValueError, "expected layout"),
        ({"scale_factor": 0.1}, ValueError, "expected an output of at least 1 x 1"),
        ({"scale_factor": "2"}, TypeError, "expected scale_factor to be a number"),
    ],
)
def test_bad_arguments(cuda: Cuda, arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[interpolate\] {message}"):
        ops.interpolate(cuda.array(random((1, 2, 4, 4))), **arguments)


def test_bad_inputs(cuda: Cuda) -> None:
    with pytest.raises(TypeError, match=r"^\[interpolate\] expected input of dtype"):
        ops.interpolate(cuda.array(np.zeros((1, 2, 4, 4))), 3)
    for shape in ((4, 4), (1, 2, 0, 4), (1, 0, 4, 4)):
        with pytest.raises(ValueError, match=r"^\[interpolate\] expected input with"):
            ops.interpolate(cuda.array(np.zeros(shape, np.float32)), 3)
