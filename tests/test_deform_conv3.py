# SPDX-License-Identifier: Apache-2.0
"""DCNv3, DCNv4 and their gradients against plain loops, grid_sample and finite differences."""

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
from tests.reference.conv import out_size

Pair = tuple[int, int]


@dataclass(frozen=True)
class Case:
    n: int = 1
    size: Pair = (5, 6)
    groups: int = 2
    group_channels: int = 5
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (1, 1)
    dilation: Pair = (1, 1)
    offset_scale: float = 1.0
    remove_center: bool = False
    seed: int = 0

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1] - self.remove_center

    @property
    def out_size(self) -> Pair:
        return out_size(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def geometry(self) -> tuple[Any, ...]:
        sizes = self.kernel, self.stride, self.padding, self.dilation
        return *sizes, self.groups, self.offset_scale, self.remove_center

    def arrays(self, dtype: type = np.float32) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        pixels = self.n, *self.out_size
        channels = self.groups * self.group_channels
        return {
            "input": rng.standard_normal((self.n, *self.size, channels)).astype(dtype),
            "offset": (2 * rng.standard_normal((*pixels, self.groups * self.taps * 2))).astype(dtype),
            "mask": rng.standard_normal((*pixels, self.groups * self.taps)).astype(dtype),
        }

    def grad_output(self, dtype: type = np.float32) -> np.ndarray:
        shape = self.n, *self.out_size, self.groups * self.group_channels
        return np.random.default_rng(self.seed + 1).standard_normal(shape).astype(dtype)

    def run(self, arrays: dict[str, np.ndarray]) -> Any:
        return ops.deform_conv3(**arrays, **self.options)

    def gradients(self, arrays: dict[str, np.ndarray], grad: np.ndarray) -> Any:
        return ops.deform_conv3_backward(grad, **arrays, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        names = "kernel_size", "stride", "padding", "dilation", "groups", "offset_scale", "remove_center"
        return dict(zip(names, self.geometry, strict=True))

    def offset_mask(self, offset: np.ndarray, mask: np.ndarray, padding: int = 0) -> np.ndarray:
        """DCNv4's one map."""
        pixels = offset.shape[:3]
        parts = offset.reshape(*pixels, self.groups, -1), mask.reshape(*pixels, self.groups, -1)
        joined = np.concatenate(parts, axis=-1).reshape(*pixels, -1)
        return np.pad(joined, ((0, 0), (0, 0), (0, 0), (0, padding)), constant_values=7)


CASES = (
    Case(),
    Case(groups=1, group_channels=1, kernel=(1, 1), padding=(0, 0)),
    Case(groups=3, group_channels=16, stride=(2, 1), offset_scale=1.5, n=2),
    Case(group_channels=33, dilation=(1, 2), padding=(1, 2), remove_center=True),
    Case(group_channels=70, size=(4, 3), kernel=(3, 1), padding=(1, 0), dilation=(2, 1), offset_scale=0.5),
    Case(groups=4, group_channels=8, size=(2, 3), kernel=(7, 7), padding=(3, 3)),  # more taps than one block
    Case(group_channels=2, kernel=(2, 4), padding=(1, 2), size=(3, 3), stride=(1, 2)),
)


@functools.cache
def expected(case: Case, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """The result and what a float32 one may differ by: a sample of four pixels for every tap."""
    arrays = case.arrays(dtype)
    kernel, stride, padding, dilation, groups, scale, remove_center = case.geometry
    y, bound = reference.deform_conv3(
        arrays["input"], arrays["offset"], arrays["mask"], kernel=kernel, stride=stride, padding=padding,
        dilation=dilation, groups=groups, offset_scale=scale, remove_center=remove_center,
    )  # fmt: skip
    return y, (4 * case.taps + 10) * EPS * bound


@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(isa: str, case: Case) -> None:
    assert_within(case.run(case.arrays()), *expected(case))


@pytest.mark.parametrize("case", CASES)
def test_float64(isa: str, case: Case) -> None:
    y = case.run(case.arrays(np.float64))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected(case, np.float64)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_deform_conv4_is_deform_conv3_in_another_layout(isa: str, case: Case) -> None:
    arrays, grad = case.arrays(), case.grad_output()
    y, (grad_input, grad_offset, grad_mask) = case.run(arrays), case.gradients(arrays, grad)
    entries = case.groups * case.taps * 3
    for padding in {0, -entries % 8}:
        offset_mask = case.offset_mask(arrays["offset"], arrays["mask"], padding)
        np.testing.assert_array_equal(ops.deform_conv4(arrays["input"], offset_mask, **case.options), y)
        gradients = ops.deform_conv4_backward(grad, arrays["input"], offset_mask, **case.options)
        np.testing.assert_array_equal(gradients[0], grad_input)
        np.testing.assert_array_equal(gradients[1][..., :entries], case.offset_mask(grad_offset, grad_mask))
        assert not gradients[1][..., entries:].any()


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_finite_differences(isa: str, case: Case) -> None:
    """Samples are piecewise linear in their position: a step across a pixel's centre shows as a kink."""
    arrays, grad = case.arrays(np.float64), case.grad_output(np.float64)
    gradients = dict(zip(arrays, case.gradients(arrays, grad), strict=True))
    rng, step = np.random.default_rng(0), 1e-6
    for name, array in arrays.items():
        got = gradients[name]
        assert got.shape == array.shape
        for flat in rng.choice(array.size, min(array.size, 8), replace=False):
            at = np.unravel_index(flat, array.shape)
            values = []
            for sign in (1, 0, -1):
                moved = array.copy()
                moved[at] += sign * step
                values.append((case.run(arrays | {name: moved}) * grad).sum())
            if abs(values[0] - 2 * values[1] + values[2]) > 1e-4 * step:
                continue
            difference = (values[0] - values[2]) / (2 * step)
            assert abs(got[at] - difference) <= 1e-6 * (1 + abs(difference)), (name, at)


@pytest.mark.parametrize("case", CASES)
def test_float32_gradients_equal_float64_ones(isa: str, case: Case) -> None:
    arrays, grad = case.arrays(), case.grad_output()
    exact = case.gradients({k: a.astype(np.float64) for k, a in arrays.items()}, grad.astype(np.float64))
    terms = case.group_channels + case.taps * case.out_size[0] * case.out_size[1] + 50
    for got, want in zip(case.gradients(arrays, grad), exact, strict=True):
        assert got.dtype == np.float32
        assert_within(got, want, np.full(want.shape, terms * EPS * np.abs(want).max()))


def test_threads_change_nothing(isa: str) -> None:
    case = Case(n=2, size=(23, 21), groups=3, group_channels=20)
    arrays, grad = case.arrays(), case.grad_output()
    check_threads_agree(lambda: case.run(arrays))
    check_threads_agree(lambda: np.concatenate([g.ravel() for g in case.gradients(arrays, grad)]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_samples_that_are_nowhere_are_zero(isa: str, value: float) -> None:
    case = Case()
    arrays = case.arrays()
    arrays["offset"][0, 2, 3, 4] = value  # x of tap 2, group 0
    y, gradients = case.run(arrays), case.gradients(arrays, case.grad_output())
    without = {name: array.copy() for name, array in arrays.items()}
    without["offset"][0, 2, 3, 4] = 0
    without["mask"][0, 2, 3, 2] = 0
    np.testing.assert_array_equal(y, case.run(without))
    assert all(np.isfinite(g).all() for g in gradients)
    assert gradients[1][0, 2, 3, 4] == 0
    assert gradients[2][0, 2, 3, 2] == 0


@pytest.mark.parametrize("before", [False, True], ids=["page-after", "page-before"])
def test_neighbours_in_memory_are_not_touched(isa: str, before: bool) -> None:
    for channels in (*range(1, 19), 31, 33, 65):
        case = Case(groups=1, group_channels=channels, size=(2, 3))
        arrays, grad = case.arrays(), case.grad_output()
        protected = {name: guarded(array, before=before) for name, array in arrays.items()}
        np.testing.assert_array_equal(case.run(protected), case.run(arrays))
        for a, b in zip(
            case.gradients(protected, guarded(grad, before=before)), case.gradients(arrays, grad), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_empty_batch(isa: str) -> None:
    arrays = {name: array[:0] for name, array in Case().arrays().items()}
    assert Case().run(arrays).shape == (0, 5, 6, 10)
    gradients = Case().gradients(arrays, Case().grad_output()[:0])
    assert [g.shape for g in gradients] == [a.shape for a in arrays.values()]


@pytest.mark.parametrize("case", CASES[:5])
def test_equals_grid_sample(isa: str, case: Case) -> None:
    """torch's sampler at the same positions, in float64, with its gradients."""
    torch = pytest.importorskip("torch")
    arrays, grad = case.arrays(np.float64), case.grad_output(np.float64)
    x, offset, mask = (torch.from_numpy(array).requires_grad_() for array in arrays.values())
    kernel, stride, padding, dilation, groups, scale, remove_center = case.geometry
    taps = [(kh, kw) for kw in range(kernel[1]) for kh in range(kernel[0])]
    if remove_center:
        taps.remove((kernel[0] // 2, kernel[1] // 2))
    n, out = case.n, case.out_size
    moves = offset.reshape(n, *out, groups, len(taps), 2)
    grids = []
    for axis in (1, 0):
        half = dilation[axis] * (kernel[axis] - 1) // 2
        centre = torch.arange(out[axis]) * stride[axis] - padding[axis] + half
        centre = centre.reshape(1, 1, -1, 1, 1) if axis else centre.reshape(1, -1, 1, 1, 1)
        grid = torch.tensor([tap[axis] * dilation[axis] - half for tap in taps])
        position = centre + (grid + moves[..., 1 - axis]) * scale  # (n, out_h, out_w, groups, taps)
        grids.append((2 * position + 1) / case.size[axis] - 1)
    grid = torch.stack(grids, -1).permute(0, 3, 1, 2, 4, 5).reshape(n * groups, -1, len(taps), 2)
    maps = x.reshape(n, *case.size, groups, -1).permute(0, 3, 4, 1, 2).flatten(0, 1)
    samples = torch.nn.functional.grid_sample(
        maps, grid, align_corners=False
    )  # (n * groups, channels, pixels, taps)
    weights = mask.reshape(n, -1, groups, len(taps)).permute(0, 2, 1, 3).reshape(n * groups, 1, -1, len(taps))
    y = (samples * weights).sum(-1).reshape(n, -1, *out).permute(0, 2, 3, 1)
    np.testing.assert_allclose(case.run(arrays), y.detach().numpy(), rtol=1e-9, atol=1e-9)
    exact = torch.autograd.grad(y, (x, offset, mask), torch.from_numpy(grad))
    for got, want in zip(case.gradients(arrays, grad), exact, strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-8, atol=1e-8)
