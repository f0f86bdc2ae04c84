# SPDX-License-Identifier: Apache-2.0
"""Deformable attention and its gradients against plain loops, grid_sample and finite differences."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, assert_within, check_threads_agree
from tests.reference import deform as reference


@dataclass(frozen=True)
class Case:
    n: int = 1
    shapes: tuple[tuple[int, int], ...] = ((5, 6), (3, 3))
    heads: int = 2
    channels: int = 5
    queries: int = 4
    points: int = 3
    seed: int = 0

    def arrays(self, dtype: type = np.float32) -> dict[str, np.ndarray]:
        """Some locations lie outside the maps."""
        rng = np.random.default_rng(self.seed)
        pixels = sum(h * w for h, w in self.shapes)
        samples = self.n, self.queries, self.heads, len(self.shapes), self.points
        return {
            "value": rng.standard_normal((self.n, pixels, self.heads, self.channels)).astype(dtype),
            "spatial_shapes": np.array(self.shapes, np.int64).reshape(-1, 2),
            "sampling_locations": rng.uniform(-0.3, 1.3, (*samples, 2)).astype(dtype),
            "attention_weights": rng.standard_normal(samples).astype(dtype),
        }

    def grad_output(self, dtype: type = np.float32) -> np.ndarray:
        shape = self.n, self.queries, self.heads * self.channels
        return np.random.default_rng(self.seed + 1).standard_normal(shape).astype(dtype)


def run(arrays: dict[str, np.ndarray]) -> Any:
    return ops.multi_scale_deformable_attention(**arrays)


def gradients(arrays: dict[str, np.ndarray], grad: np.ndarray) -> Any:
    return ops.multi_scale_deformable_attention_backward(grad, **arrays)


CASES = (
    Case(),
    Case(n=2, heads=8, channels=32, shapes=((7, 9), (4, 5), (2, 3), (1, 2)), points=4),
    Case(shapes=((1, 1),), heads=1, channels=1, points=1, queries=9),
    Case(n=2, heads=3, channels=17, shapes=((2, 9),), points=40),  # more points than one block
    Case(heads=1, channels=100, points=2, queries=7),
    Case(channels=16, points=1, shapes=((4, 4),) * 5),
)


@functools.cache
def expected(case: Case, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """The result and what a float32 one may differ by: a sample of four pixels for every point."""
    y, bound = reference.multi_scale_deformable_attention(*case.arrays(dtype).values())
    return y, (4 * len(case.shapes) * case.points + 10) * EPS * bound


@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(isa: str, case: Case) -> None:
    assert_within(run(case.arrays()), *expected(case))


@pytest.mark.parametrize("case", CASES)
def test_float64(isa: str, case: Case) -> None:
    y = run(case.arrays(np.float64))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected(case, np.float64)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_finite_differences(isa: str, case: Case) -> None:
    """Samples are piecewise linear in their position: a step across a pixel's centre shows as a kink."""
    arrays, grad = case.arrays(np.float64), case.grad_output(np.float64)
    names = "value", "sampling_locations", "attention_weights"
    rng, step = np.random.default_rng(0), 1e-6
    for name, got in zip(names, gradients(arrays, grad), strict=True):
        assert got.shape == arrays[name].shape
        for flat in rng.choice(got.size, min(got.size, 8), replace=False):
            at = np.unravel_index(flat, got.shape)
            values = []
            for sign in (1, 0, -1):
                moved = arrays[name].copy()
                moved[at] += sign * step
                values.append((run(arrays | {name: moved}) * grad).sum())
            if abs(values[0] - 2 * values[1] + values[2]) > 1e-4 * step:
                continue
            difference = (values[0] - values[2]) / (2 * step)
            assert abs(got[at] - difference) <= 1e-6 * (1 + abs(difference)), (name, at)


@pytest.mark.parametrize("case", CASES)
def test_float32_gradients_equal_float64_ones(isa: str, case: Case) -> None:
    arrays, grad = case.arrays(), case.grad_output()
    doubles = {name: a if a.dtype == np.int64 else a.astype(np.float64) for name, a in arrays.items()}
    # A location rounded to float32 moves its sample by as much times the slope.
    extent = max(max(shape) for shape in case.shapes)
    terms = case.channels + case.queries * case.points * len(case.shapes) + 50 + 4 * extent
    for got, want in zip(gradients(arrays, grad), gradients(doubles, grad.astype(np.float64)), strict=True):
        assert got.dtype == np.float32
        assert_within(got, want, np.full(want.shape, terms * EPS * np.abs(want).max()))


def test_threads_change_nothing(isa: str) -> None:
    case = Case(n=2, queries=150, heads=5, channels=20)
    arrays, grad = case.arrays(), case.grad_output()
    check_threads_agree(lambda: run(arrays))
    check_threads_agree(lambda: np.concatenate([g.ravel() for g in gradients(arrays, grad)]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_samples_that_are_nowhere_are_zero(isa: str, value: float) -> None:
    case = Case()
    arrays = case.arrays()
    at = (0, 2, 1, 0, 1)
    arrays["sampling_locations"][(*at, 1)] = value
    y, grads = run(arrays), gradients(arrays, case.grad_output())
    without = {name: array.copy() for name, array in arrays.items()}
    without["sampling_locations"][at] = 0.5
    without["attention_weights"][at] = 0
    np.testing.assert_array_equal(y, run(without))
    assert all(np.isfinite(g).all() for g in grads)
    assert not grads[1][at].any()
    assert grads[2][at] == 0


@pytest.mark.parametrize("before", [False, True], ids=["page-after", "page-before"])
def test_neighbours_in_memory_are_not_touched(isa: str, before: bool) -> None:
    for channels in (*range(1, 19), 31, 33, 65):
        case = Case(channels=channels, heads=1)
        arrays, grad = case.arrays(), case.grad_output()
        protected = {name: guarded(array, before=before) for name, array in arrays.items()}
        np.testing.assert_array_equal(run(protected), run(arrays))
        for a, b in zip(
            gradients(protected, guarded(grad, before=before)), gradients(arrays, grad), strict=True
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["n", "heads", "channels", "queries", "points"])
def test_empty_axes(isa: str, name: str) -> None:
    case = Case(**{name: 0})
    arrays = case.arrays()
    y, grads = run(arrays), gradients(arrays, case.grad_output())
    assert y.shape == (case.n, case.queries, case.heads * case.channels)
    assert not y.any()
    for grad, of in zip(grads, ("value", "sampling_locations", "attention_weights"), strict=True):
        assert grad.shape == arrays[of].shape
        assert not grad.any()


@pytest.mark.parametrize("case", CASES)
def test_equals_grid_sample(isa: str, case: Case) -> None:
    """torch's sampler level by level, in float64, with its gradients."""
    torch = pytest.importorskip("torch")
    arrays, grad = case.arrays(np.float64), case.grad_output(np.float64)
    value, locations, weights = (
        torch.from_numpy(arrays[name]).requires_grad_()
        for name in ("value", "sampling_locations", "attention_weights")
    )
    rows = case.n * case.heads
    y, first = 0, 0
    for level, (h, w) in enumerate(case.shapes):
        maps = value[:, first : first + h * w].permute(0, 2, 3, 1).reshape(rows, case.channels, h, w)
        first += h * w
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        samples = torch.nn.functional.grid_sample(maps, grid, align_corners=False)
        factors = weights[:, :, :, level].transpose(1, 2).reshape(rows, 1, case.queries, case.points)
        y = y + (samples * factors).sum(-1)
    y = y.reshape(case.n, -1, case.queries).transpose(1, 2)
    np.testing.assert_allclose(run(arrays), y.detach().numpy(), rtol=1e-9, atol=1e-9)
    exact = torch.autograd.grad(y, (value, locations, weights), torch.from_numpy(grad))
    for got, want in zip(gradients(arrays, grad), exact, strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-8, atol=1e-8)
