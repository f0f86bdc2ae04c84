# SPDX-License-Identifier: Apache-2.0
"""grid_sample and its gradients against float64 and torch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, check_threads_agree, random
from tests.reference.warp import grid_sample as reference
from tests.reference.warp import grid_sample_backward as reference_backward

CASES = list(
    itertools.product(["nearest", "bilinear", "bicubic"], ["zeros", "border", "reflection"], [False, True])
)
SHAPES = [(2, 1, 1, 1), (1, 3, 1, 7), (2, 5, 6, 4), (1, 17, 9, 8), (1, 70, 5, 11)]


def operands(shape: tuple[int, ...], dtype: Any, reach: float = 1.7) -> tuple[np.ndarray, np.ndarray]:
    """An input, and a grid a good way beyond it."""
    grid = np.random.default_rng(3).uniform(-reach, reach, (shape[0], 5, 7, 2))
    return random(shape).astype(dtype), grid.astype(dtype)


def tolerance(x: np.ndarray, dtype: Any) -> float:
    """A position in pixels is off by some ulps; bicubic weights change by up to 2 per pixel."""
    eps = EPS if dtype == np.float32 else float(np.finfo(np.float64).eps)
    return 64 * eps * max(x.shape[2:]) * float(np.abs(x).max())


def clear_of_ties(grid: np.ndarray, shape: tuple[int, ...], align_corners: bool) -> np.ndarray:
    """Where no other pixel is as near and no edge is at hand: what nearest samples and slopes hang on."""
    extents = np.array([shape[3], shape[2]])
    at = (grid + 1) / 2 * (extents - 1) if align_corners else ((grid + 1) * extents - 1) / 2
    twice = at.astype(np.float64) * 2
    return (np.abs(twice - np.rint(twice)) > 1e-3).all(axis=-1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("mode", "padding", "corners"), CASES)
def test_against_float64(isa: str, mode: Any, padding: Any, corners: bool, dtype: Any) -> None:
    for shape in SHAPES:
        x, grid = operands(shape, dtype)
        y = ops.grid_sample(x, grid, mode, padding, corners)
        expected = reference(x, grid, mode, padding, corners)
        assert y.dtype == dtype
        assert y.shape == expected.shape
        keep = clear_of_ties(grid, shape, corners)[:, None] | (mode != "nearest")
        assert np.abs(np.where(keep, y - expected, 0)).max() <= tolerance(x, dtype)
        nhwc = ops.grid_sample(
            np.ascontiguousarray(x.transpose(0, 2, 3, 1)), grid, mode, padding, corners, layout="NHWC"
        )
        np.testing.assert_array_equal(nhwc.transpose(0, 3, 1, 2), y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("mode", "padding", "corners"), CASES)
def test_gradients_against_float64(isa: str, mode: Any, padding: Any, corners: bool, dtype: Any) -> None:
    for shape in SHAPES:
        x, grid = operands(shape, dtype)
        grad = random((shape[0], shape[1], 5, 7), seed=9).astype(dtype)
        grad_x, grad_grid = ops.grid_sample_backward(grad, x, grid, mode, padding, corners)
        expected_x, expected_grid = reference_backward(grad, x, grid, mode, padding, corners)
        assert grad_x.dtype == grad_grid.dtype == dtype
        keep = clear_of_ties(grid, shape, corners)
        if keep.all() or mode != "nearest":
            assert np.abs(grad_x - expected_x).max() <= 35 * tolerance(x, dtype) + 1e-12
        bound = tolerance(x, dtype) * 16 * shape[1] * max(shape[2:]) + 1e-6 * shape[1] * max(shape[2:]) ** 2
        off = np.abs(grad_grid - expected_grid).max(axis=-1)
        assert (off[keep] <= bound).all()


@pytest.mark.parametrize(("mode", "padding", "corners"), CASES)
def test_against_torch(mode: str, padding: str, corners: bool) -> None:
    torch = pytest.importorskip("torch")
    for shape in SHAPES:
        x, grid = (torch.from_numpy(a) for a in operands(shape, np.float64))
        options: Any = {"mode": mode, "padding_mode": padding, "align_corners": corners}
        y = ops.grid_sample(x, grid, **options)
        a, b = x.clone().requires_grad_(), grid.clone().requires_grad_()
        expected = torch.nn.functional.grid_sample(a, b, **options)
        torch.testing.assert_close(y, expected.detach(), rtol=1e-9, atol=1e-9)
        grad = torch.from_numpy(random(tuple(y.shape), seed=5).astype(np.float64))
        expected.backward(grad)
        grad_x, grad_grid = ops.grid_sample_backward(grad, x, grid, **options)
        torch.testing.assert_close(grad_x, a.grad, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(grad_grid, b.grad, rtol=1e-9, atol=1e-9)
    assert ops.grid_sample(x, grid).shape == ops.grid_sample(x, grid, align_corners=False).shape


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e10])
@pytest.mark.parametrize(("mode", "padding", "corners"), CASES)
def test_row3_wild_positions(isa: str, mode: Any, padding: Any, corners: bool, value: float) -> None:
    x = np.abs(random((1, 3, 6, 5))) + 1
    grid = np.zeros((1, 2, 2, 2), np.float32)
    grid[0, 0, 0, 0] = value
    grid[0, 1, 1, 1] = value
    y = ops.grid_sample(x, grid, mode, padding, corners)
    if padding == "zeros":
        assert (y[0, :, [0, 1], [0, 1]] == 0).all()
    assert np.isfinite(y).all()
    grads = ops.grid_sample_backward(np.ones_like(y), x, grid, mode, padding, corners)
    assert np.isfinite(grads[0]).all()


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_arrays_is_touched(isa: str, before: bool) -> None:
    for mode, padding, corners in CASES:
        for channels in (1, 3, 16, 19, 33):
            x, grid = operands((1, channels, 3, 4), np.float32)
            nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
            args: Any = (mode, padding, corners)
            expected = ops.grid_sample(nhwc, grid, *args, layout="NHWC")
            inside = (guarded(a, before=before) for a in (nhwc, grid))
            np.testing.assert_array_equal(ops.grid_sample(*inside, *args, layout="NHWC"), expected)
            three = [guarded(a, before=before) for a in (expected, nhwc, grid)]
            found = ops.grid_sample_backward(*three, *args, layout="NHWC")
            for a, b in zip(
                found, ops.grid_sample_backward(expected, nhwc, grid, *args, layout="NHWC"), strict=True
            ):
                np.testing.assert_array_equal(a, b)


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    x, grid = operands((2, 80, 20, 30), np.float32)
    for mode in ("nearest", "bilinear", "bicubic"):
        y = ops.grid_sample(x, grid, mode)
        check_threads_agree(lambda mode=mode: ops.grid_sample(x, grid, mode))
        for k in range(2):
            check_threads_agree(lambda mode=mode, y=y, k=k: ops.grid_sample_backward(y, x, grid, mode)[k])


def test_empty() -> None:
    x, grid = operands((2, 3, 4, 5), np.float32)
    assert ops.grid_sample(x[:0], grid[:0]).shape == (0, 3, 5, 7)
    assert ops.grid_sample(x[:, :0], grid).shape == (2, 0, 5, 7)
    assert ops.grid_sample(x, grid[:, :0]).shape == (2, 3, 0, 7)
    for inputs in ((x[:0], grid[:0]), (x[:, :0], grid), (x, grid[:, :0])):
        grad_x, grad_grid = ops.grid_sample_backward(ops.grid_sample(*inputs), *inputs)
        assert grad_x.shape == inputs[0].shape
        assert grad_grid.shape == inputs[1].shape
        assert not grad_x.any()
        assert not grad_grid.any()
