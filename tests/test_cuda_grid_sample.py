# SPDX-License-Identifier: Apache-2.0
"""grid_sample and its gradients on CUDA against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import random
from tests.reference.warp import grid_sample as reference
from tests.reference.warp import grid_sample_backward as reference_backward
from tests.test_cuda_conv2d import DTYPES, STORED
from tests.test_grid_sample import CASES, clear_of_ties, operands, tolerance

SHAPES = [(2, 5, 6, 4), (1, 8, 1, 7), (1, 1, 1, 1)]


def held(cuda: Cuda, dtype: str, *arrays: np.ndarray) -> tuple[list[Any], list[np.ndarray]]:
    """Arrays on the device, and their values."""
    on_device = [cuda.array(a, dtype) for a in arrays]
    return on_device, [cuda.numpy(a).astype(np.float32) for a in on_device]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("mode", "padding", "corners"), CASES)
def test_against_float64(cuda: Cuda, mode: Any, padding: Any, corners: bool, dtype: str) -> None:
    for shape in SHAPES:
        (x_on, grid_on), (x, grid) = held(cuda, dtype, *operands(shape, np.float32))
        y = ops.grid_sample(x_on, grid_on, mode, padding, corners)
        expected = reference(x, grid, mode, padding, corners)
        assert cuda.dtype(y) == dtype
        keep = clear_of_ties(grid, shape, corners)[:, None] | (mode != "nearest")
        bound = tolerance(x, np.float32) + STORED[dtype] * np.abs(expected)
        assert (np.where(keep, np.abs(cuda.numpy(y) - expected), 0) <= bound).all()
        pixels = cuda.array(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), dtype)
        last = ops.grid_sample(pixels, cuda.array(grid), mode, padding, corners, layout="NHWC")
        np.testing.assert_array_equal(cuda.numpy(last).transpose(0, 3, 1, 2), cuda.numpy(y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("mode", "padding", "corners"), CASES)
def test_gradients(cuda: Cuda, mode: Any, padding: Any, corners: bool, dtype: str) -> None:
    for shape in SHAPES:
        grad = random((shape[0], shape[1], 5, 7), seed=9)
        on, (x, grid, grad) = held(cuda, dtype, *operands(shape, np.float32), grad)
        x_on, grid_on, grad_on = on
        found = ops.grid_sample_backward(grad_on, x_on, grid_on, mode, padding, corners)
        assert [cuda.dtype(a) for a in found] == [dtype, dtype]
        grad_x, grad_grid = (cuda.numpy(a) for a in found)
        expected_x, expected_grid = reference_backward(grad, x, grid, mode, padding, corners)
        keep = clear_of_ties(grid, shape, corners)
        stored = STORED[dtype]
        if keep.all() or mode != "nearest":
            bound = 35 * tolerance(x, np.float32) + stored * np.abs(expected_x)
            assert (np.abs(grad_x - expected_x) <= bound).all()
        scale = shape[1] * max(shape[2:])
        bound = tolerance(x, np.float32) * 16 * scale + 1e-6 * scale * max(shape[2:])
        off = (np.abs(grad_grid - expected_grid) - stored * np.abs(expected_grid)).max(axis=-1)
        assert (off[keep] <= bound).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -3e38, 1e10])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_wild_positions(cuda: Cuda, mode: Any, value: float) -> None:
    x = np.abs(random((1, 3, 6, 5))) + 1
    grid = np.zeros((1, 2, 2, 2), np.float32)
    grid[0, 0, 0, 0] = grid[0, 1, 1, 1] = value
    on = cuda.array(x), cuda.array(grid)
    for padding in ("zeros", "border", "reflection"):
        y = ops.grid_sample(*on, mode, padding)
        if padding == "zeros":
            assert (cuda.numpy(y)[0, :, [0, 1], [0, 1]] == 0).all()
        assert np.isfinite(cuda.numpy(y)).all()
        grad_x, _ = ops.grid_sample_backward(y, *on, mode, padding)
        assert np.isfinite(cuda.numpy(grad_x)).all()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_the_sum_does_not_hang_on_the_schedule(cuda: Cuda, mode: Any) -> None:
    """Many samples of few pixels."""
    x, grad = random((1, 8, 3, 3)), random((1, 8, 9, 9), seed=1)
    grid = np.random.default_rng(0).uniform(-1, 1, (1, 9, 9, 2)).astype(np.float32)
    results = []
    for falling in (False, True):
        cuda.falling_order(falling)
        found = ops.grid_sample_backward(cuda.array(grad), cuda.array(x), cuda.array(grid), mode)
        results.append([cuda.numpy(a) for a in found])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_empty(cuda: Cuda) -> None:
    x, grid = operands((2, 3, 4, 5), np.float32)
    for inputs in ((x[:0], grid[:0]), (x[:, :0], grid), (x, grid[:, :0])):
        on = [cuda.array(a) for a in inputs]
        y = ops.grid_sample(*on)
        assert y.shape == ops.grid_sample(*inputs).shape
        for a, b in zip(ops.grid_sample_backward(y, *on), inputs, strict=True):
            assert a.shape == b.shape
            assert not cuda.numpy(a).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "cubic"}, ValueError, "mode to be one of"),
        ({"padding_mode": "wrap"}, ValueError, "padding_mode to be one of"),
        ({"mode": 1}, TypeError, "mode to be a string"),
        ({"align_corners": 1}, TypeError, "align_corners"),
        ({"layout": "CHW"}, ValueError, "layout"),
    ],
)
def test_bad_arguments(cuda: Cuda, options: dict[str, Any], error: type, message: str) -> None:
    x, grid = (cuda.array(a) for a in operands((2, 3, 4, 5), np.float32))
    grad = cuda.array(np.zeros((2, 3, 5, 7), np.float32))
    with pytest.raises(error, match=rf"^\[grid_sample\] expected {message}"):
        ops.grid_sample(x, grid, **options)
    with pytest.raises(error, match=rf"^\[grid_sample_backward\] expected {message}"):
        ops.grid_sample_backward(grad, x, grid, **options)


def test_bad_arrays(cuda: Cuda) -> None:
    x, grid = operands((2, 3, 4, 5), np.float32)
    for bad in (grid[:1], grid[..., :1], grid[0]):
        with pytest.raises(ValueError, match=r"^\[grid_sample\] expected grid"):
            ops.grid_sample(cuda.array(x), cuda.array(bad))
    with pytest.raises(TypeError, match=r"^\[grid_sample\] expected grid of dtype"):
        ops.grid_sample(cuda.array(x), cuda.array(grid, "float16"))
    with pytest.raises(TypeError, match=r"^\[grid_sample\] expected input of dtype"):
        ops.grid_sample(cuda.array(x.astype(np.float64)), cuda.array(grid))
    with pytest.raises(ValueError, match=r"^\[grid_sample\] expected input with pixels"):
        ops.grid_sample(cuda.array(x[:, :, :0]), cuda.array(grid))
    with pytest.raises(ValueError, match=r"^\[grid_sample_backward\] expected grad_output of shape"):
        ops.grid_sample_backward(
            cuda.array(np.zeros((2, 3, 7, 5), np.float32)), cuda.array(x), cuda.array(grid)
        )
    with pytest.raises(ValueError, match=r"^\[grid_sample\] expected all arrays on one device"):
        ops.grid_sample(cuda.array(x), grid)
