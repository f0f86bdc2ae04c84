# SPDX-License-Identifier: Apache-2.0
"""conv_transpose2d_backward against float64, torch's autograd and finite differences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.helpers import assert_within, check_gradients, check_threads_agree, pick, random
from tests.reference import conv as reference

CHANNELS = [1, 2, 3, 7, 8, 14, 15, 16, 17, 31, 33]


@dataclass(frozen=True)
class Case:
    """The gradients of one transposed convolution, with its data a function of the case. Maps are NHWC here,
    and NCHW for the op where ``planar``."""

    batch: int = 1
    height: int = 4
    width: int = 5
    in_channels: int = 3
    out_channels: int = 4
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)
    dtype: str = "float32"
    planar: bool = False
    seed: int = 0

    @property
    def out_size(self) -> tuple[int, int]:
        return reference.transposed_size(
            (self.height, self.width), self.kernel, self.stride, self.padding, self.output_padding,
            self.dilation,
        )  # fmt: skip

    @property
    def geometry(self) -> dict[str, Any]:
        names = ("stride", "padding", "output_padding", "groups", "dilation")
        return {name: getattr(self, name) for name in names}

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The output's gradient, the input, the weight."""
        rng = np.random.default_rng(self.seed)
        shapes = (
            (self.batch, *self.out_size, self.out_channels),
            (self.batch, self.height, self.width, self.in_channels),
            (self.in_channels, self.out_channels // self.groups, *self.kernel),
        )
        g, x, w = (rng.standard_normal(shape).astype(self.dtype) for shape in shapes)
        return g, x, w

    def run(self, g: np.ndarray, x: np.ndarray, w: np.ndarray) -> Any:
        if not self.planar:
            return ops.conv_transpose2d_backward(g, x, w, **self.geometry, layout="NHWC")
        planes = [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in (g, x)]
        grad_input, *others = ops.conv_transpose2d_backward(*planes, w, **self.geometry)
        assert grad_input.shape == planes[1].shape
        return np.ascontiguousarray(grad_input.transpose(0, 2, 3, 1)), *others

    def expected(self, *data: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each gradient, the value in float64 and the tolerance: as many terms as its sums have."""
        values = reference.conv_transpose2d_backward(
            *data, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )
        terms = (
            self.kernel[0] * self.kernel[1] * self.out_channels // self.groups,
            self.batch * self.height * self.width,
            self.batch * self.out_size[0] * self.out_size[1],
        )
        eps = float(np.finfo(self.dtype).eps)
        return [(v, eps * (t + 1) * bound) for t, (v, bound) in zip(terms, values, strict=True)]


def draw_case(seed: int) -> Case:
    """Any parameters at all, of a size that is quick."""
    rng = np.random.default_rng(seed)
    while True:
        groups = int(pick(rng, 1, 1, 2, 3, 9))
        stride = pick(rng, (1, 1), (2, 2), (2, 2), (3, 3), (1, 2), (4, 4))
        dilation = pick(rng, (1, 1), (1, 1), (2, 2), (1, 3))
        limits = [max(pair) for pair in zip(stride, dilation, strict=True)]
        in_channels, out_channels = (
            int(rng.choice(CHANNELS)) if groups == 1 else groups * int(pick(rng, 1, 2, 5)) for _ in range(2)
        )
        case = Case(
            batch=int(rng.integers(1, 3)),
            height=int(rng.integers(1, 9)),
            width=int(rng.integers(1, 9)),
            in_channels=in_channels,
            out_channels=out_channels,
            kernel=pick(rng, (1, 1), (2, 2), (3, 3), (4, 4), (2, 3), (5, 1)),
            stride=stride,
            padding=(int(rng.integers(0, 3)), int(rng.integers(0, 3))),
            output_padding=(int(rng.integers(limits[0])), int(rng.integers(limits[1]))),
            groups=groups,
            dilation=dilation,
            planar=bool(rng.integers(2)),
            seed=seed,
        )
        if min(case.out_size) > 0:
            return case


@pytest.mark.parametrize("seed", range(100))
def test_random_shapes(isa: str, seed: int) -> None:
    check_gradients(draw_case(seed))


@pytest.mark.parametrize("seed", range(100, 125))
def test_float64(seed: int) -> None:
    check_gradients(replace(draw_case(seed), dtype="float64"))


@pytest.mark.parametrize("seed", range(200, 210))
def test_finite_differences(seed: int) -> None:
    """The loss sum(g * y) is linear in each argument: a central difference has no error of its own."""
    case = replace(draw_case(seed), dtype="float64")
    rng = np.random.default_rng(seed)
    g, x, w = case.data()
    bias = rng.standard_normal(case.out_channels)

    def loss(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> float:
        return float((g * ops.conv_transpose2d(x, w, b, **case.geometry, layout="NHWC")).sum())

    arguments = [x, w, bias]
    for i, gradient in enumerate(case.run(g, x, w)):
        step = rng.standard_normal(arguments[i].shape)
        up, down = (
            loss(*(a + sign * step if j == i else a for j, a in enumerate(arguments))) for sign in (1, -1)
        )
        np.testing.assert_allclose((up - down) / 2, (gradient * step).sum(), rtol=1e-9, atol=1e-9)


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    case = Case(height=14, width=15, in_channels=40, out_channels=33, kernel=(4, 4), stride=(2, 2))
    data = case.data()
    check_threads_agree(lambda: np.concatenate([a.ravel() for a in case.run(*data)]))


def test_nchw(isa: str) -> None:
    case = Case(batch=2, in_channels=17, out_channels=9, kernel=(4, 4), stride=(2, 2), padding=(1, 1))
    g, x, w = case.data()
    nchw = [np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in (g, x)]
    grad_input, *others = ops.conv_transpose2d_backward(*nchw, w, **case.geometry)
    for gradient, expected in zip(
        (grad_input.transpose(0, 2, 3, 1), *others), case.run(g, x, w), strict=True
    ):
        np.testing.assert_array_equal(gradient, expected)


def test_empty_batch() -> None:
    g, x, weight = (
        np.zeros((0, 4, 9, 9), np.float32),
        np.zeros((0, 3, 4, 4), np.float32),
        random((3, 4, 3, 3)),
    )
    grad_input, grad_weight, grad_bias = ops.conv_transpose2d_backward(g, x, weight, 2)
    assert grad_input.shape == x.shape
    np.testing.assert_array_equal(grad_weight, np.zeros_like(weight))
    np.testing.assert_array_equal(grad_bias, np.zeros(4))


@pytest.mark.parametrize("seed", range(300, 320))
def test_against_torch(isa: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    case = draw_case(seed)
    data = case.data()
    g, x, w = (torch.from_numpy(a) for a in data)
    g, x = g.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2)
    gradients = ops.conv_transpose2d_backward(g, x, w, **case.geometry)
    double = [a.double().requires_grad_() for a in (x, w, torch.zeros(case.out_channels))]
    y = torch.nn.functional.conv_transpose2d(*double, **case.geometry)
    expected = torch.autograd.grad(y, double, g.double())
    for i, (gradient, value) in enumerate(zip(gradients, expected, strict=True)):
        assert isinstance(gradient, torch.Tensor) and gradient.dtype == torch.float32
        tolerance = case.expected(*data)[i][1]
        if i == 0:
            tolerance = tolerance.transpose(0, 3, 1, 2)
        assert_within(gradient.numpy(), value.numpy(), tolerance)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"grad_output": random((1, 4, 8, 9))},
        ValueError,
        r"expected grad_output of shape .* \(1, 4, 9, 9\), got",
    ),
    ({"weight": random((3, 4, 3, 3)).astype(float)}, TypeError, "expected weight of dtype float32"),
    ({"weight": random((2, 4, 3, 3))}, ValueError, "expected input with 2 channels, got 3"),
    ({"output_padding": 2}, ValueError, "expected output_padding in"),
    ({"output_mask": None}, ValueError, "expected output_mask to be 3 bools"),
    ({"stride": 0}, ValueError, "expected stride > 0"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {
        "grad_output": random((1, 4, 9, 9)), "input": random((1, 3, 4, 4)), "weight": random((3, 4, 3, 3)),
        "stride": 2, **change,
    }  # fmt: skip
    with pytest.raises(error, match=r"^\[conv_transpose2d_backward\] .*" + message):
        ops.conv_transpose2d_backward(**arguments)
