# SPDX-License-Identifier: Apache-2.0
"""deform_conv2d and its gradients against plain loops, torchvision, ONNX and finite differences."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, replace
from types import ModuleType
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
    size: Pair = (6, 7)
    in_channels: int = 4
    out_channels: int = 5
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1
    offset_groups: int = 1
    mask: bool = True
    bias: bool = True
    seed: int = 0

    @property
    def out_size(self) -> Pair:
        return out_size(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def geometry(self) -> dict[str, Pair]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def arrays(self, dtype: type = np.float32) -> dict[str, np.ndarray]:
        """Arguments in NCHW; many samples lie beyond the image."""
        rng = np.random.default_rng(self.seed)
        taps = self.kernel[0] * self.kernel[1] * self.offset_groups

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(dtype)

        arrays = {
            "input": normal(self.n, self.in_channels, *self.size),
            "offset": normal(self.n, 2 * taps, *self.out_size) * dtype(2),
            "weight": normal(self.out_channels, self.in_channels // self.groups, *self.kernel),
        }
        if self.mask:
            arrays["mask"] = normal(self.n, taps, *self.out_size)
        if self.bias:
            arrays["bias"] = normal(self.out_channels)
        return arrays

    def run(self, arrays: dict[str, np.ndarray], **options: Any) -> Any:
        return ops.deform_conv2d(**arrays, **self.geometry, **options)

    def grad_output(self, dtype: type = np.float32) -> np.ndarray:
        shape = (self.n, self.out_channels, *self.out_size)
        return np.random.default_rng(self.seed + 1).standard_normal(shape).astype(dtype)

    def gradients(self, arrays: dict[str, np.ndarray], grad: np.ndarray, **options: Any) -> Any:
        operands = {name: array for name, array in arrays.items() if name != "bias"}
        return ops.deform_conv2d_backward(grad, **operands, **self.geometry, **options)


@functools.cache
def expected(case: Case, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """The result and what a float32 one may differ by: products with samples of four pixels each."""
    arrays = case.arrays(dtype)
    x = arrays.pop("input").transpose(0, 2, 3, 1)
    y, bound = reference.deform_conv2d(x, **arrays, **case.geometry)
    terms = case.kernel[0] * case.kernel[1] * case.in_channels // case.groups + 10
    return y.transpose(0, 3, 1, 2), (terms * EPS * bound).transpose(0, 3, 1, 2)


CASES = (
    Case(),
    Case(mask=False, bias=False),
    Case(in_channels=1, out_channels=1),
    Case(in_channels=16, out_channels=32, offset_groups=2, groups=2),
    Case(in_channels=12, out_channels=6, offset_groups=3, groups=2, stride=(2, 1), kernel=(2, 3)),
    Case(in_channels=12, out_channels=4, offset_groups=2, groups=4, dilation=(2, 1), n=2),
    Case(in_channels=33, out_channels=17, n=2, padding=(2, 0), kernel=(1, 3)),
    Case(in_channels=50, out_channels=65, stride=(2, 3), dilation=(1, 2), padding=(3, 2)),
    Case(in_channels=96, out_channels=40, size=(3, 5), offset_groups=4),
    Case(in_channels=5, out_channels=3, size=(1, 1), kernel=(1, 1), padding=(0, 0)),
    Case(in_channels=31, out_channels=130, size=(4, 4), n=3),
    Case(in_channels=6, out_channels=6, groups=6, offset_groups=6, size=(5, 5)),
)
# K in several blocks; B larger than L2, so that panels are outermost; gradients of more rows than one block.
LARGE = (
    Case(in_channels=64, out_channels=520, size=(3, 4)),
    Case(in_channels=40, out_channels=24, size=(17, 16), offset_groups=2, kernel=(2, 2)),
)


@pytest.mark.parametrize("case", CASES + LARGE)
def test_equals_the_reference(isa: str, case: Case) -> None:
    assert_within(case.run(case.arrays()), *expected(case))


@pytest.mark.parametrize("case", CASES)
def test_float64(isa: str, case: Case) -> None:
    arrays = case.arrays(np.float64)
    y = case.run(arrays)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected(case, np.float64)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES[3:7])
def test_layouts_and_memory_orders_agree(isa: str, case: Case) -> None:
    arrays, grad = case.arrays(), case.grad_output()
    y, gradients = case.run(arrays), case.gradients(arrays, grad)

    def last(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1))

    maps = {name: last(array) for name, array in arrays.items() if name in ("input", "offset", "mask")}
    np.testing.assert_array_equal(case.run(arrays | maps, layout="NHWC"), last(y))
    nhwc = case.gradients(arrays | maps, last(grad), layout="NHWC")
    for i, (a, b) in enumerate(zip(nhwc, gradients, strict=True)):
        np.testing.assert_array_equal(a, last(b) if i in (0, 1, 4) else b)
    channels_last = {name: array.transpose(0, 3, 1, 2) for name, array in maps.items()}
    result = case.run(arrays | channels_last)
    np.testing.assert_array_equal(result, y)
    assert result.transpose(0, 2, 3, 1).flags.c_contiguous


def test_no_offset_is_conv2d(isa: str) -> None:
    case = Case(in_channels=20, out_channels=33, stride=(2, 1), dilation=(1, 2), padding=(2, 1), n=2)
    arrays = case.arrays()
    arrays["offset"][...] = 0
    arrays["mask"][...] = 1
    dense = ops.conv2d(arrays["input"], arrays["weight"], arrays["bias"], **case.geometry)
    np.testing.assert_allclose(case.run(arrays), dense, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", [CASES[3], CASES[5], *LARGE])
def test_threads_change_nothing(isa: str, case: Case) -> None:
    arrays, grad = case.arrays(), case.grad_output()
    check_threads_agree(lambda: case.run(arrays))
    check_threads_agree(lambda: np.concatenate([g.ravel() for g in case.gradients(arrays, grad)]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_samples_that_are_nowhere_are_zero(isa: str, value: float) -> None:
    case = Case()
    arrays = case.arrays()
    arrays["offset"][0, 4, 2, 3] = value  # y of tap 2
    y, gradients = case.run(arrays), case.gradients(arrays, case.grad_output())
    without = {name: array.copy() for name, array in arrays.items()}
    without["offset"][0, 4, 2, 3] = 0
    without["mask"][0, 2, 2, 3] = 0
    np.testing.assert_array_equal(y, case.run(without))
    assert all(np.isfinite(g).all() for g in gradients)
    assert gradients[1][0, 4, 2, 3] == 0
    assert gradients[4][0, 2, 2, 3] == 0


def test_pixels_outside_do_not_touch_the_infinite_ones_inside(isa: str) -> None:
    x = np.full((1, 1, 2, 2), np.inf, np.float32)
    x[0, 0, 0, 0] = 3
    offset = np.zeros((1, 2, 2, 2), np.float32)
    offset[0, :, 0, 0] = -0.5  # a quarter of the first pixel; the other three corners lie outside
    y = ops.deform_conv2d(x, offset, np.ones((1, 1, 1, 1), np.float32))
    assert y[0, 0, 0, 0] == 0.75


def test_empty_batch(isa: str) -> None:
    arrays = {name: a if name in ("weight", "bias") else a[:0] for name, a in Case().arrays().items()}
    assert Case().run(arrays).shape == (0, 5, 6, 7)
    gradients = Case().gradients(arrays, Case().grad_output()[:0])
    assert [g.shape for g in gradients] == [(0, 4, 6, 7), (0, 18, 6, 7), (5, 4, 3, 3), (5,), (0, 9, 6, 7)]
    assert not gradients[2].any() and not gradients[3].any()


@pytest.mark.parametrize("before", [False, True], ids=["page-after", "page-before"])
def test_neighbours_in_memory_are_not_touched(isa: str, before: bool) -> None:
    for channels in (*range(1, 19), 31, 33):
        case = Case(in_channels=channels, out_channels=channels, size=(3, 4))
        arrays, grad = case.arrays(), case.grad_output()
        nhwc = {
            name: np.ascontiguousarray(arrays[name].transpose(0, 2, 3, 1))
            for name in ("input", "offset", "mask")
        }
        arrays |= nhwc
        grad = np.ascontiguousarray(grad.transpose(0, 2, 3, 1))
        protected = {name: guarded(array, before=before) for name, array in arrays.items()}
        np.testing.assert_array_equal(case.run(protected, layout="NHWC"), case.run(arrays, layout="NHWC"))
        plain = case.gradients(arrays, grad, layout="NHWC")
        got = case.gradients(protected, guarded(grad, before=before), layout="NHWC")
        for a, b in zip(got, plain, strict=True):
            np.testing.assert_array_equal(a, b)


# ---- gradients


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_finite_differences(isa: str, case: Case) -> None:
    """Samples are piecewise linear in their position: steps across a pixel's centre are left out."""
    arrays, grad = case.arrays(np.float64), case.grad_output(np.float64)
    gradients = dict(
        zip(("input", "offset", "weight", "bias", "mask"), case.gradients(arrays, grad), strict=True)
    )
    rng, step = np.random.default_rng(0), 1e-6
    for name, array in arrays.items():
        got = gradients[name]
        assert got.shape == array.shape
        assert got.dtype == np.float64
        for flat in rng.choice(array.size, min(array.size, 5), replace=False):
            at = np.unravel_index(flat, array.shape)
            if name == "offset" and abs(array[at] - np.round(array[at])) < 10 * step:
                continue
            values = []
            for sign in (1, -1):
                moved = array.copy()
                moved[at] += sign * step
                values.append((case.run(arrays | {name: moved}) * grad).sum())
            difference = (values[0] - values[1]) / (2 * step)
            assert abs(got[at] - difference) <= 1e-6 * (1 + abs(difference)), (name, at)
    assert (gradients["mask"] is None) == (not case.mask)


@pytest.mark.parametrize("case", CASES + LARGE)
def test_float32_gradients_equal_float64_ones(isa: str, case: Case) -> None:
    arrays, grad = case.arrays(), case.grad_output()
    doubles = {name: array.astype(np.float64) for name, array in arrays.items()}
    magnitudes = {name: abs(array) if name != "offset" else array for name, array in doubles.items()}
    exact = case.gradients(doubles, grad.astype(np.float64))
    bounds = case.gradients(magnitudes, abs(grad).astype(np.float64))
    terms = max(case.out_channels + 10, case.n * case.out_size[0] * case.out_size[1] + 10, case.in_channels)
    for i, (got, want, bound) in enumerate(zip(case.gradients(arrays, grad), exact, bounds, strict=True)):
        if want is None:
            assert got is None
            continue
        assert got.dtype == np.float32
        # Slopes subtract corners, so that the bound of offsets' gradients is that of the sums, not of the
        # result.
        scale = np.abs(want).max() if i == 1 else bound
        # Positions are rounded to float32 before they are split: a few ulp of the extent.
        assert_within(got, want, 4 * terms * EPS * scale + 64 * EPS * np.abs(want).max())


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_equals_torchvision(isa: str, torchvision: ModuleType, seed: int, mask: bool) -> None:
    torch = sys.modules["torch"]
    rng = np.random.default_rng(seed)
    groups, offset_groups = (int(g) for g in rng.integers(1, 4, 2))
    case = Case(
        n=int(rng.integers(1, 4)), size=(int(rng.integers(4, 12)), int(rng.integers(4, 12))),
        in_channels=6 * int(rng.integers(1, 7)), out_channels=groups * int(rng.integers(1, 20)),
        groups=groups, offset_groups=offset_groups, kernel=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))), padding=(1, 2), mask=mask, seed=seed,
        dilation=(int(rng.integers(1, 3)), 1),
    )  # fmt: skip
    arrays, grad = case.arrays(), case.grad_output()
    single = {name: torch.from_numpy(array) for name, array in arrays.items()}
    y = torchvision.ops.deform_conv2d(**single, **case.geometry)
    assert_within(case.run(arrays), y.numpy(), 2 * expected(case)[1])  # it rounds as well

    tensors = {name: tensor.double().requires_grad_() for name, tensor in single.items()}
    y = torchvision.ops.deform_conv2d(**tensors, **case.geometry)
    doubles = {name: array.astype(np.float64) for name, array in arrays.items()}
    np.testing.assert_allclose(case.run(doubles), y.detach().numpy(), rtol=1e-9, atol=1e-9)
    names = [name for name in ("input", "offset", "weight", "bias", "mask") if name in arrays]
    exact = torch.autograd.grad(y, [tensors[name] for name in names], torch.from_numpy(grad).double())
    for got, want in zip(case.gradients(doubles, grad.astype(np.float64)), exact, strict=False):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", [replace(case, groups=1) for case in (*CASES[:3], CASES[4])])
def test_equals_onnx(isa: str, case: Case) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    arrays = case.arrays()
    order = {"input": "X", "weight": "W", "offset": "offset", "bias": "B", "mask": "mask"}
    inputs = {order[name]: array.astype(np.float64) for name, array in arrays.items()}
    node = onnx.helper.make_node(
        "DeformConv", [name if name in inputs else "" for name in order.values()], ["Y"],
        kernel_shape=case.kernel, strides=case.stride, pads=(*case.padding, *case.padding),
        dilations=case.dilation, group=case.groups, offset_group=case.offset_groups,
    )  # fmt: skip
    infos = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.DOUBLE, None) for n in (*inputs, "Y")]
    graph = onnx.helper.make_graph([node], "deform_conv", infos[:-1], infos[-1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    y = ReferenceEvaluator(model).run(None, inputs)[0]  # it rounds positions to float32
    assert_within(case.run(arrays), y, 2 * expected(case)[1])


def test_torch_tensors(torchvision: ModuleType) -> None:
    torch = sys.modules["torch"]
    arrays, grad = Case().arrays(), Case().grad_output()
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    y = Case().run(tensors)
    assert isinstance(y, torch.Tensor)
    np.testing.assert_array_equal(y.numpy(), Case().run(arrays))
    gradients = Case().gradients(tensors, torch.from_numpy(grad))
    for got, want in zip(gradients, Case().gradients(arrays, grad), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
