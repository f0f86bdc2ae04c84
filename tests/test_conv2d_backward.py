# SPDX-License-Identifier: Apache-2.0
"""conv2d_backward and depthwise_conv2d_backward against float64, torch's autograd and finite differences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.helpers import EPS, assert_within, check_gradients, check_threads_agree, pick, random
from tests.reference import conv as reference

# Around the vectors (4, 8, 16), panels (16, 32) and row tiles (4, 6, 14) of the ISAs.
CHANNELS = [1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 17, 29, 31, 32, 33, 48, 64, 65]
LARGEST_WORK = 1_500_000  # multiply-adds: a few milliseconds for the scalar kernels


@dataclass(frozen=True)
class Case:
    """The gradients of one convolution, with its data a function of the case. Maps are NHWC."""

    batch: int = 1
    height: int = 5
    width: int = 6
    in_channels: int = 3
    out_channels: int = 4
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    dtype: str = "float32"
    seed: int = 0

    @property
    def out_size(self) -> tuple[int, int]:
        size = (self.height, self.width)
        return reference.out_size(size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def possible(self) -> bool:
        h, w = self.out_size
        terms = self.kernel[0] * self.kernel[1] * self.in_channels // self.groups
        return h > 0 and w > 0 and self.batch * h * w * self.out_channels * terms <= LARGEST_WORK

    @property
    def geometry(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The output's gradient, the input, the weight."""
        rng = np.random.default_rng(self.seed)
        shapes = (
            (self.batch, *self.out_size, self.out_channels),
            (self.batch, self.height, self.width, self.in_channels),
            (self.out_channels, self.in_channels // self.groups, *self.kernel),
        )
        g, x, w = (rng.standard_normal(shape).astype(self.dtype) for shape in shapes)
        return g, x, w

    def run(self, *data: np.ndarray) -> Any:
        return ops.conv2d_backward(*data, **self.geometry, groups=self.groups, layout="NHWC")

    def expected(self, *data: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each gradient, the value in float64 and the tolerance: as many terms as its sums have."""
        vertical, horizontal = self.padding
        values = reference.conv2d_backward(
            *data, stride=self.stride, padding=(vertical, horizontal, vertical, horizontal),
            dilation=self.dilation, groups=self.groups,
        )  # fmt: skip
        eps = float(np.finfo(self.dtype).eps)
        pixels = self.batch * self.out_size[0] * self.out_size[1]
        terms = (self.kernel[0] * self.kernel[1] * self.out_channels // self.groups, pixels, pixels)
        return [(v, eps * (t + 1) * bound) for t, (v, bound) in zip(terms, values, strict=True)]


def draw_case(seed: int) -> Case:
    """Any parameters at all, of a size that is quick."""
    rng = np.random.default_rng(seed)
    while True:
        groups = int(pick(rng, 1, 1, 1, 2, 3, 5, 17))
        in_channels, out_channels = (
            int(rng.choice(CHANNELS)) if groups == 1 else groups * int(pick(rng, 1, 1, 2, 3, 9, 17))
            for _ in range(2)
        )
        case = Case(
            batch=int(rng.integers(1, 4)),
            height=int(rng.integers(1, 18)),
            width=int(rng.integers(1, 18)),
            in_channels=in_channels,
            out_channels=out_channels,
            kernel=pick(rng, (1, 1), (3, 3), (3, 3), (5, 5), (2, 2), (1, 3), (3, 1), (7, 7), (2, 5)),
            stride=pick(rng, (1, 1), (1, 1), (2, 2), (3, 3), (1, 2), (3, 1)),
            padding=(int(rng.integers(0, 4)), int(rng.integers(0, 4))),
            dilation=pick(rng, (1, 1), (1, 1), (2, 2), (1, 3), (2, 1)),
            groups=groups,
            seed=seed,
        )
        if case.possible:
            return case


@pytest.mark.parametrize("seed", range(150))
def test_random_shapes(isa: str, seed: int) -> None:
    check_gradients(draw_case(seed))


@pytest.mark.parametrize("out_channels", CHANNELS)
def test_rows_and_columns_of_the_tile(isa: str, out_channels: int) -> None:
    for in_channels in CHANNELS:
        check_gradients(
            Case(width=4, height=3, in_channels=in_channels, out_channels=out_channels, kernel=(1, 1))
        )


@pytest.mark.parametrize("pixels", [1, 13, 14, 15, 111, 112, 113, 225, 1000])
def test_sums_over_several_blocks_of_pixels(isa: str, pixels: int) -> None:
    check_gradients(Case(width=pixels, height=1, in_channels=17, out_channels=15, kernel=(1, 1)))
    check_gradients(
        Case(width=pixels + 1, height=3, in_channels=4, out_channels=33, padding=(1, 0), kernel=(3, 2))
    )


@pytest.mark.parametrize("in_channels", [31, 32, 33, 64, 65])
def test_several_blocks_of_columns(isa: str, in_channels: int) -> None:
    """Kernels of 279 to 585 values around the block of 288; 300 outputs are more than a task's 256."""
    check_gradients(Case(in_channels=in_channels, out_channels=5, padding=(1, 1)))
    check_gradients(Case(height=2, width=3, in_channels=in_channels, out_channels=300, padding=(1, 1)))
    check_gradients(Case(height=20, width=21, in_channels=1, out_channels=3, kernel=(17, 18)))  # 306 taps


@pytest.mark.parametrize("channels", CHANNELS[1:])  # one channel is one group
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_depthwise(isa: str, channels: int, kernel: int) -> None:
    rng = np.random.default_rng(channels * kernel)
    for stride in ((1, 1), (2, 2), (3, 3), (2, 1)):
        for dilation in ((1, 1), (2, 2), (2, 1)):
            pad = int(rng.integers(0, kernel + 2))
            spare = max(1, dilation[0] * (kernel - 1) + 1 - 2 * pad)
            case = Case(
                batch=int(rng.integers(1, 3)), height=spare + int(rng.integers(4)),
                width=spare + int(pick(rng, 0, 1, 7, 17, 33, 70)), in_channels=channels,
                out_channels=channels, groups=channels, kernel=(kernel, kernel), stride=stride,
                dilation=dilation, padding=(pad, pad),
            )  # fmt: skip
            check_gradients(case)


@pytest.mark.parametrize("group", [(1, 2), (2, 3), (4, 4), (3, 1), (5, 2), (3, 8)], ids=str)
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
def test_groups_that_share_a_vector(isa: str, group: tuple[int, int], stride: tuple[int, int]) -> None:
    """Rows longer than the kernel's stretch of 32 pixels; the last vector is short."""
    case = Case(
        height=4, width=70, in_channels=11 * group[0], out_channels=11 * group[1], groups=11, stride=stride,
        padding=(1, 1),
    )  # fmt: skip
    check_gradients(case)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_depthwise_conv2d_backward(isa: str, multiplier: int, layout: str) -> None:
    case = Case(in_channels=9, out_channels=9 * multiplier, groups=9, padding=(1, 2), stride=(2, 1))
    g, x, w = case.data()
    if layout == "NCHW":
        g, x = (np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in (g, x))
    gradients = list(ops.depthwise_conv2d_backward(g, x, w, **case.geometry, layout=layout))  # type: ignore[arg-type]
    if layout == "NCHW":
        gradients[0] = gradients[0].transpose(0, 2, 3, 1)
    for gradient, (value, tolerance) in zip(gradients, case.expected(*case.data()), strict=True):
        assert_within(gradient, value, tolerance)


@pytest.mark.parametrize("seed", range(300, 330))
def test_float64(seed: int) -> None:
    check_gradients(replace(draw_case(seed), dtype="float64"))


@pytest.mark.parametrize("seed", range(400, 412))
def test_finite_differences(seed: int) -> None:
    """The loss sum(g * y) is linear in each argument: a central difference has no error of its own."""
    case = replace(draw_case(seed), dtype="float64", batch=2, height=7, width=6, padding=(2, 2))
    rng = np.random.default_rng(seed)
    if min(case.out_size) <= 0:
        case = replace(case, padding=(9, 9))
    g, x, w = case.data()
    bias = rng.standard_normal(case.out_channels)

    def loss(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> float:
        y = ops.conv2d(x, w, b, **case.geometry, groups=case.groups, layout="NHWC")
        return float((g * y).sum())

    arguments = [x, w, bias]
    for i, gradient in enumerate(case.run(g, x, w)):
        step = rng.standard_normal(arguments[i].shape)
        up, down = (
            loss(*(a + sign * step if j == i else a for j, a in enumerate(arguments))) for sign in (1, -1)
        )
        np.testing.assert_allclose((up - down) / 2, (gradient * step).sum(), rtol=1e-9, atol=1e-9)


def test_winograd_gradient_of_the_input(isa: str) -> None:
    """Many pixels and channels: the input's gradient is a convolution by the flipped kernel, by Winograd."""
    case = Case(height=50, width=52, in_channels=16, out_channels=24, padding=(1, 0))
    g, x, w = case.data()
    flipped = np.ascontiguousarray(w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
    (exact, bound), _, _ = reference.conv2d_backward(g, x, w, padding=(1, 0, 1, 0))
    gradients = [
        ops.conv2d_backward(g, x, w, padding=(1, 0), layout="NHWC", allow_winograd=allowed)[0]
        for allowed in (True, False)
    ]
    assert_within(gradients[1], exact, EPS * (9 * 24 + 1) * bound)
    assert (gradients[0] != gradients[1]).any()
    # Depth as in test_conv2d.py; of the sizes of tile that may have been chosen the largest rounds worst.
    bounds = [
        EPS / 2 * (24 + 4 * m + 3) * reference.winograd_bound(g, flipped, m=m, padding=(1, 2, 1, 2))
        for m in (2, 4, 6)
    ]
    assert_within(gradients[0], exact, np.maximum.reduce(bounds))


@pytest.mark.parametrize(
    "case",
    [
        Case(height=20, width=20, in_channels=64, out_channels=64, padding=(1, 1)),
        Case(height=7, width=7, in_channels=96, out_channels=260, padding=(1, 1)),
        Case(height=40, width=41, in_channels=3, out_channels=32, kernel=(7, 7), stride=(2, 2)),
        Case(height=30, width=30, in_channels=48, out_channels=96, groups=3, stride=(2, 2)),
        Case(batch=2, height=60, width=60, in_channels=65, out_channels=65, groups=65, kernel=(5, 5)),
        Case(height=40, width=40, in_channels=68, out_channels=68, groups=17),
        Case(batch=3, height=9, width=9, in_channels=7, out_channels=5, dtype="float64"),
    ],
    ids=lambda c: f"{c.in_channels}-{c.out_channels}-{c.groups}-{c.dtype}",
)
def test_bitwise_equal_for_any_thread_count(isa: str, case: Case) -> None:
    data = case.data()
    check_threads_agree(lambda: np.concatenate([a.ravel() for a in case.run(*data)]))


def test_tolerance_notices_a_lost_product(isa: str) -> None:
    case = Case(height=8, width=8, in_channels=16)
    g, x, w = case.data()
    expected = case.expected(g, x, w)
    broken = g.copy()
    broken[0, 3, 2, 1] = 0
    for gradient, (value, tolerance) in zip(case.run(broken, x, w), expected, strict=True):
        with pytest.raises(AssertionError, match="elements are off"):
            assert_within(gradient, value, tolerance)


@pytest.mark.parametrize("mask", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_output_mask(mask: tuple[int, int, int]) -> None:
    data = (random((1, 4, 5, 5)), random((1, 3, 7, 7)), random((4, 3, 3, 3)))
    everything = ops.conv2d_backward(*data)
    some = ops.conv2d_backward(*data, output_mask=[bool(m) for m in mask])
    for wanted, one, all_of_them in zip(mask, some, everything, strict=True):
        assert (one is None) == (not wanted)
        if wanted:
            np.testing.assert_array_equal(one, all_of_them)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("memory", ["NCHW", "NHWC", "channels_last"])
def test_layouts(isa: str, memory: str, dtype: str) -> None:
    case = Case(batch=2, height=9, width=11, in_channels=17, out_channels=33, padding=(1, 2), dtype=dtype)
    g, x, w = case.data()
    expected = case.expected(g, x, w)
    if memory == "NHWC":
        gradients = case.run(g, x, w)
    else:
        g, x = g.transpose(0, 3, 1, 2), x.transpose(0, 3, 1, 2)
        if memory == "NCHW":
            g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
        else:
            w = np.ascontiguousarray(w.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        gradients = ops.conv2d_backward(g, x, w, padding=case.padding)
        assert gradients[0].flags.c_contiguous == (memory == "NCHW")
        gradients = (gradients[0].transpose(0, 2, 3, 1), *gradients[1:])
    assert gradients[1].strides == w.strides
    for gradient, (value, tolerance) in zip(gradients, expected, strict=True):
        assert_within(gradient, value, tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 3])
def test_empty_batch(dtype: str, groups: int) -> None:
    """Sums of nothing are zero."""
    x = np.zeros((0, 3, 8, 8), dtype)
    weight = random((6, 3 // groups, 3, 3)).astype(dtype)
    grad_input, grad_weight, grad_bias = ops.conv2d_backward(
        np.zeros((0, 6, 6, 6), dtype), x, weight, groups=groups
    )
    assert grad_input.shape == x.shape
    np.testing.assert_array_equal(grad_weight, np.zeros_like(weight))
    np.testing.assert_array_equal(grad_bias, np.zeros(6))


def test_pixels_that_no_window_reaches_have_no_gradient(isa: str) -> None:
    for groups in (1, 4):
        x, weight = random((1, 4, 8, 9)), random((4, 4 // groups, 2, 2))
        y = ops.conv2d(x, weight, stride=3, groups=groups)
        grad_input, _, _ = ops.conv2d_backward(np.ones_like(y), x, weight, stride=3, groups=groups)
        assert grad_input.shape == x.shape
        reached = np.zeros((8, 9), bool)
        rows, columns = (sorted({3 * o + k for o in range(n) for k in range(2)}) for n in y.shape[2:])
        reached[np.ix_(rows, columns)] = True
        np.testing.assert_array_equal((grad_input != 0).any((0, 1)), reached)


def test_padding_by_name() -> None:
    x, weight, g = random((1, 3, 8, 9)), random((4, 3, 2, 4)), random((1, 4, 8, 9))
    got = ops.conv2d_backward(g, x, weight, padding="same")
    # An even kernel's odd pixel of padding lies below and to the right: (0, 1) and (1, 2).
    expected = reference.conv2d_backward(
        *(a.transpose(0, 2, 3, 1) for a in (g, x)), weight, padding=(0, 1, 1, 2)
    )
    np.testing.assert_allclose(got[0].transpose(0, 2, 3, 1), expected[0][0], atol=1e-4)
    np.testing.assert_allclose(got[1], expected[1][0], atol=1e-4)


@pytest.mark.parametrize("seed", range(500, 530))
def test_against_torch(isa: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    case = draw_case(seed)
    data = case.data()
    g, x, w = (torch.from_numpy(a) for a in data)
    g, x = g.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2)
    gradients = ops.conv2d_backward(g, x, w, **case.geometry, groups=case.groups)
    double = [a.double().requires_grad_() for a in (x, w, torch.zeros(case.out_channels))]
    y = torch.nn.functional.conv2d(*double, **case.geometry, groups=case.groups)
    expected = torch.autograd.grad(y, double, g.double())
    for i, (gradient, value) in enumerate(zip(gradients, expected, strict=True)):
        assert isinstance(gradient, torch.Tensor) and gradient.dtype == torch.float32
        tolerance = case.expected(*data)[i][1]
        if i == 0:
            tolerance = tolerance.transpose(0, 3, 1, 2)
        assert_within(gradient.numpy(), value.numpy(), tolerance)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"grad_output": random((1, 5, 6, 7))},
        ValueError,
        r"expected grad_output of shape .* \(1, 5, 6, 6\), got",
    ),
    ({"grad_output": random((2, 5, 6, 6))}, ValueError, "expected grad_output of shape"),
    ({"grad_output": random((1, 5, 6, 6)).astype(float)}, TypeError, "expected input of dtype float64"),
    ({"weight": random((5, 3, 3, 3)).astype(float)}, TypeError, "expected weight of dtype float32"),
    ({"weight": random((5, 2, 3, 3))}, ValueError, "expected input with 2 channels, got 3"),
    ({"input": random((1, 3, 2, 8))}, ValueError, "no smaller than the kernel"),
    ({"output_mask": (True, True)}, ValueError, "expected output_mask to be 3 bools"),
    ({"output_mask": (1, 1, 1)}, TypeError, "expected output_mask to be a bool"),
    ({"stride": 0}, ValueError, "expected stride > 0"),
    ({"groups": 2}, ValueError, "expected (input|channels)"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {
        "grad_output": random((1, 5, 6, 6)), "input": random((1, 3, 8, 8)), "weight": random((5, 3, 3, 3)),
        **change,
    }  # fmt: skip
    with pytest.raises(error, match=r"^\[conv2d_backward\] .*" + message):
        ops.conv2d_backward(**arguments)
