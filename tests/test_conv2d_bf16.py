# SPDX-License-Identifier: Apache-2.0
"""conv2d with precision bf16: the native products and the emulated ones, from float32 and bfloat16 maps.

Factors rounded to 8 bits have exact products, so that the sums' rounding is all there is: the tolerance is
that of float32, eps * k * sum |a * b| of the rounded factors. Results stored as bfloat16 are rounded once
more, by at most 2^-8 of their magnitude.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pyvision import _core, ops
from tests._guard import guarded
from tests.helpers import EPS, assert_within, check_threads_agree, random
from tests.reference import conv as reference
from tests.reference.rounding import BF16_EPS, bf16_bits, from_bf16_bits, round_to_bf16
from tests.test_conv2d import CHANNELS, Case, check, draw_case

TINY = float(np.finfo(np.float32).tiny)  # the smallest normal number


def draw_bf16(seed: int) -> Case:
    return replace(draw_case(seed), precision="bf16")


def check_kernel(case: Case, isa: str) -> None:
    assert case.make(*case.data()[1:3]).kernel_isa == isa


def check_bf16_maps(case: Case) -> None:
    """The same convolution with input, residual and output stored as bfloat16."""
    x, weight, bias, residual = case.data()
    x, residual = (None if a is None else round_to_bf16(a) for a in (x, residual))
    assert x is not None
    expected, tolerance = case.expected(x, weight, bias, residual)
    tolerance = tolerance + BF16_EPS * (np.abs(expected) + tolerance)
    for before in (False, True):
        bits, residual_bits = (
            None if a is None else guarded(bf16_bits(a), before=before) for a in (x, residual)
        )
        out = guarded(np.full(expected.shape, 0x7FC1, np.uint16), before=before)
        conv = case.make(weight, bias)
        assert conv.run(bits, residual_bits, out) is out
        assert_within(from_bf16_bits(out), expected, tolerance)


@pytest.mark.parametrize("seed", range(60))
def test_random_shapes(bf16_isa: str, seed: int) -> None:
    case = draw_bf16(seed)
    check_kernel(case, bf16_isa)
    check(case)


@pytest.mark.parametrize("seed", range(3000, 3060))
def test_random_shapes_of_bf16_maps(bf16_isa: str, seed: int) -> None:
    check_bf16_maps(draw_bf16(seed))


@pytest.mark.parametrize("out_channels", [c for c in CHANNELS if c > 6])
def test_rows_and_columns_of_the_tile(bf16_isa: str, out_channels: int) -> None:
    for rows in range(1, 30):
        case = Case(
            width=rows, height=1, in_channels=5 + rows % 2, out_channels=out_channels, kernel=(1, 1),
            seed=rows, precision="bf16",
        )  # fmt: skip
        check(case)
        check_bf16_maps(case)


@pytest.mark.parametrize("in_channels", [575, 576, 577, 1151, 1153, 2001])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_sums_longer_than_a_block(bf16_isa: str, in_channels: int, activation: str) -> None:
    """K around multiples of the native block of 2 * 288; 300 outputs are more weights than L2's half."""
    for out_channels in (17, 300):
        case = Case(
            width=5, height=3, in_channels=in_channels, out_channels=out_channels, kernel=(1, 1),
            residual=True, activation=activation, precision="bf16",
        )  # fmt: skip
        check(case)
        check_bf16_maps(case)


@pytest.mark.parametrize(
    "shape",
    [  # a 1x1 convolution and whole kernel rows that the native kernel reads in place; odd channels it cannot
        {"kernel": (1, 1), "in_channels": 64},
        {"kernel": (1, 1), "in_channels": 63},
        {"kernel": (3, 3), "in_channels": 16, "padding": (1, 1, 1, 1)},
        {"kernel": (3, 3), "in_channels": 16, "groups": 2, "padding": (1, 1, 1, 1)},
        {"kernel": (7, 7), "in_channels": 3, "stride": (2, 2), "padding": (3, 3, 3, 3)},
        {"kernel": (3, 3), "in_channels": 8, "dilation": (12, 12), "padding": (12, 12, 12, 12)},
    ],
    ids=str,
)
def test_ways_to_the_tile(bf16_isa: str, shape: dict[str, Any]) -> None:
    case = Case(height=17, width=19, out_channels=34, precision="bf16", **shape)
    check(case)
    check_bf16_maps(case)


def test_factors_are_rounded_to_nearest_even(bf16_isa: str) -> None:
    """Times 1, a value is what it was rounded to; the last 16 bits are below, at and above the tie."""
    rng = np.random.default_rng(0)
    upper = rng.integers(0x0080, 0x7F00, 4096, dtype=np.uint32) | rng.integers(0, 2, 4096, np.uint32) << 15
    values = ((upper << 16)[:, None] | np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).view("f4")
    one = np.ones((1, 1, 1, 1), np.float32)
    x = values.reshape(1, 1, -1, 1)
    conv = _core.Conv2d(one, algorithm="direct", precision="bf16")
    np.testing.assert_array_equal(conv.run(x), round_to_bf16(x))
    weight = values.reshape(-1, 1, 1, 1)[:999]
    conv = _core.Conv2d(weight, algorithm="direct", precision="bf16")
    np.testing.assert_array_equal(conv.run(one).ravel(), round_to_bf16(weight).ravel())


def test_results_are_rounded_to_nearest_even(bf16_isa: str) -> None:
    ties = (np.float32(1) + np.arange(-400, 400, dtype=np.float32) / 512).reshape(-1, 1, 1, 1)
    conv = _core.Conv2d(np.zeros_like(ties), ties.ravel(), algorithm="direct", precision="bf16")
    y = conv.run(np.zeros((1, 1, 1, 1), np.uint16))
    np.testing.assert_array_equal(y.ravel(), bf16_bits(round_to_bf16(ties)).ravel())


def test_values_that_are_not_finite(bf16_isa: str) -> None:
    """NaN stays NaN whatever its payload, infinity and what rounds to it are infinite."""
    bits = np.array([0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7FFFFF], np.uint32)
    x = np.broadcast_to(bits.view(np.float32)[:, None], (6, 9)).reshape(1, 1, 6, 9).copy()
    conv = _core.Conv2d(
        np.eye(9, dtype=np.float32)[:1, :, None, None] + 1, algorithm="direct", precision="bf16"
    )
    expected = np.array([np.nan, np.nan, np.inf, -np.inf, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(conv.run(x).ravel(), expected)
    y = conv.run((x.view(np.uint32) >> 16).astype(np.uint16) | (np.isnan(x) * np.uint16(1)))
    np.testing.assert_array_equal(from_bf16_bits(y).ravel()[:4], expected[:4])


def test_subnormals_may_count_as_zero(bf16_isa: str) -> None:
    """The instruction reads and leaves zeros for them: off by the smallest normal a factor, or a sum."""
    x = np.full((1, 1, 1, 8), TINY / 2, np.float32)
    weight = random((3, 8, 1, 1))
    y = _core.Conv2d(weight, algorithm="direct", precision="bf16").run(x)
    expected, bound = reference.conv2d(x, round_to_bf16(weight))
    assert_within(y, expected, EPS * bound + TINY * (np.abs(weight).sum() + 8))


def test_tolerance_tells_bf16_from_f32(bf16_isa: str) -> None:
    case = Case(height=8, width=8, in_channels=64, precision="bf16")
    operands = case.data()
    expected, tolerance = case.expected(*operands)
    with pytest.raises(AssertionError, match="elements are off"):
        assert_within(
            replace(case, precision="f32").make(*operands[1:3]).run(operands[0]), expected, tolerance
        )


CASES = [
    Case(height=20, width=20, in_channels=64, out_channels=64, padding=(1, 1, 1, 1), residual=True),
    Case(height=9, width=9, in_channels=1200, out_channels=300, kernel=(1, 1), residual=True),
    Case(height=12, width=13, in_channels=36, out_channels=48, groups=3, residual=True, activation="silu"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.in_channels}-{c.out_channels}")
def test_threads_agree(bf16_isa: str, case: Case) -> None:
    case = replace(case, precision="bf16")
    x, weight, bias, residual = case.data()
    conv = case.make(weight, bias)
    check_threads_agree(lambda: conv.run(x, residual))
    assert residual is not None
    bits, residual_bits = bf16_bits(round_to_bf16(x)), bf16_bits(round_to_bf16(residual))
    check_threads_agree(lambda: conv.run(bits, residual_bits))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.in_channels}-{c.out_channels}")
def test_residual_may_be_the_output(bf16_isa: str, case: Case) -> None:
    case = replace(case, precision="bf16")
    x, weight, bias, residual = case.data()
    assert residual is not None
    conv = case.make(weight, bias)
    for x, residual in ((x, residual), (bf16_bits(round_to_bf16(x)), bf16_bits(round_to_bf16(residual)))):  # noqa: B020
        apart = conv.run(x, residual)
        assert conv.run(x, residual, residual) is residual
        np.testing.assert_array_equal(residual, apart)


def test_images_of_a_batch_do_not_depend_on_each_other(bf16_isa: str) -> None:
    case = Case(batch=5, height=6, width=7, in_channels=9, out_channels=17, precision="bf16")
    x, weight, bias, _ = case.data()
    conv = case.make(weight, bias)
    np.testing.assert_array_equal(conv.run(x), np.concatenate([conv.run(x[i : i + 1]) for i in range(5)]))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_lies_outside_the_receptive_field_does_not_leak(bf16_isa: str, value: float) -> None:
    x = random((2, 9, 11, 9))
    x[0, 4, 5, 4] = value
    weight = random((9, 3, 3, 3))
    y = _core.Conv2d(weight, padding=(1, 1, 1, 1), groups=3, algorithm="direct", precision="bf16").run(x)
    reached = np.zeros(y.shape, bool)
    reached[0, 3:6, 4:7, 3:6] = True
    np.testing.assert_array_equal(np.isfinite(y), ~reached)


def test_winograd_is_not_for_bf16() -> None:
    weight = np.zeros((64, 64, 3, 3), np.float32)
    conv = _core.Conv2d(weight, padding=(1, 1, 1, 1), input_size=(56, 56), precision="bf16")
    assert conv.algorithm == "direct"
    with pytest.raises(
        ValueError, match=r"\[conv2d\] expected .* precision f32 for algorithm 'winograd_4x4'"
    ):
        _core.Conv2d(weight, algorithm="winograd_4x4", precision="bf16")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_arrays_of_ml_dtypes(layout: Any, depthwise: bool) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    case = Case(
        height=9, width=11, in_channels=18, out_channels=18, groups=18 if depthwise else 2, residual=True,
        padding=(1, 1, 1, 1), precision="bf16", algorithm="auto" if depthwise else "direct",
    )  # fmt: skip
    x, weight, bias, residual = (None if a is None else a.astype(bfloat16) for a in case.data())
    expected, tolerance = case.expected(*(a.astype(np.float32) for a in (x, weight, bias, residual)))
    tolerance = tolerance + BF16_EPS * (np.abs(expected) + tolerance)
    if layout == "NCHW":
        x, residual = (a.transpose(0, 3, 1, 2) for a in (x, residual))
    options: Any = {"padding": 1, "groups": case.groups, "residual": residual, "layout": layout}
    for given in (x, np.ascontiguousarray(x)):
        y = ops.conv2d(given, weight, bias, precision="bf16", **options)
        assert y.dtype == bfloat16
        y = y.astype(np.float32)
        assert_within(y.transpose(0, 2, 3, 1) if layout == "NCHW" else y, expected, tolerance)
    mixed = ops.conv2d(x, weight.astype(np.float32), bias, precision="bf16", **options)
    np.testing.assert_array_equal(mixed, ops.conv2d(x, weight, bias, precision="bf16", **options))


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    case = Case(height=9, width=11, in_channels=18, out_channels=17, padding=(1, 1, 1, 1), precision="bf16")
    x, weight, bias, _ = case.data()
    expected, tolerance = case.expected(round_to_bf16(x), weight, bias, None)
    tolerance = tolerance + BF16_EPS * (np.abs(expected) + tolerance)
    narrow = torch.from_numpy(x).permute(0, 3, 1, 2).bfloat16()
    for given in (narrow, narrow.contiguous()):
        y = ops.conv2d(given, torch.from_numpy(weight), bias, padding=1, precision="bf16")
        assert isinstance(y, torch.Tensor) and y.dtype == torch.bfloat16
        assert_within(y.float().permute(0, 2, 3, 1).numpy(), expected, tolerance)
    assert y.is_contiguous()
    wide = ops.conv2d(narrow.float(), torch.from_numpy(weight), bias, padding=1, precision="bf16")
    assert wide.dtype == torch.float32
    with pytest.raises(TypeError, match=r"\[conv2d\] expected input without gradients"):
        ops.conv2d(narrow.clone().requires_grad_(), weight, precision="bf16")


def test_refusals() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, weight = random((1, 4, 5, 5)), random((3, 4, 3, 3))
    residual = random((1, 3, 3, 3))
    narrow, narrow_residual = x.astype(bfloat16), residual.astype(bfloat16)
    for call, message in (
        (lambda: ops.conv2d(narrow, weight), "weight of dtype bfloat16, got float32"),
        (lambda: ops.conv2d(x, weight.astype(bfloat16)), "weight of dtype float32, got bfloat16"),
        (
            lambda: ops.conv2d(x.astype(np.float16), weight, precision="bf16"),
            "input of dtype float32 or bfloat16, got float16",
        ),
        (
            lambda: ops.conv2d(x, weight.astype(np.float16), precision="bf16"),
            "weight of dtype float32 or bfloat16, got float16",
        ),
        (
            lambda: ops.conv2d(narrow, weight, residual=residual, precision="bf16"),
            "residual of dtype bfloat16, got float32",
        ),
        (
            lambda: ops.conv2d(x, weight, residual=narrow_residual, precision="bf16"),
            "residual of dtype float32, got bfloat16",
        ),
        (lambda: _core.Conv2d(weight).run(np.zeros((1, 5, 5, 4), np.uint16)), "input of dtype float32"),
    ):
        with pytest.raises(TypeError, match=r"^\[conv2d\] expected " + message):
            call()  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match="expected precision to be 'f32' or 'bf16', got 'f16'"):
        _core.Conv2d(weight, precision="f16")


def test_depthwise_conv2d_takes_bfloat16_maps() -> None:
    torch = pytest.importorskip("torch")
    x, weight = random((1, 6, 9, 8)), random((12, 1, 3, 3))
    narrow = torch.from_numpy(x).to(torch.bfloat16)
    y = ops.depthwise_conv2d(narrow, weight, padding=1, precision="bf16")
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, ops.conv2d(narrow, weight, padding=1, groups=6, precision="bf16"))
    wide = ops.depthwise_conv2d(narrow.float().numpy(), weight, padding=1)
    torch.testing.assert_close(y.float(), torch.from_numpy(wide), rtol=2**-7, atol=1e-6)
