# SPDX-License-Identifier: Apache-2.0
"""conv2d_int8 to the bit: against integer sums and float32 steps, onnxruntime and ONNX's evaluator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pyvision import _core, ops
from tests._guard import guarded
from tests.helpers import check_threads_agree
from tests.reference import quantized as reference
from tests.reference.conv import ACTIVATIONS, activate
from tests.test_conv2d import CHANNELS, Case, draw_case

# Those whose float32 steps are spelled out below; the rest have an exponential.
EXACT = ("none", "relu", "leaky_relu", "relu6", "hardsigmoid", "hardswish")


@dataclass(frozen=True)
class Int8Case:
    """A convolution's shape, activation and seed, with the quantisation of its maps."""

    shape: Case
    input_scale: float = 0.02
    input_zero_point: int = 131
    output_scale: float | None = 0.07
    output_zero_point: int = 117

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Input, weight, weight_scale, bias; all values of their types, the extremes too."""
        case = self.shape
        rng = np.random.default_rng(case.seed)
        x = rng.integers(0, 256, (case.batch, case.height, case.width, case.in_channels), np.uint8)
        size = (case.out_channels, case.in_channels // case.groups, *case.kernel)
        weight = rng.integers(-128, 128, size, np.int8)
        scale = rng.uniform(1e-4, 0.02, case.out_channels).astype(np.float32) / np.sqrt(
            np.float32(case.terms)
        )
        bias = rng.integers(-20000, 20000, case.out_channels, np.int32) if case.bias else None
        return x, weight, scale, bias

    def make(self, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray | None) -> Any:
        case = self.shape
        return _core.Conv2dInt8(
            weight, scale, self.input_scale, self.input_zero_point, bias, case.stride, case.padding,
            case.dilation, case.groups, self.output_scale, self.output_zero_point, case.activation,
            case.slope,
        )  # fmt: skip

    def expected(
        self, x: np.ndarray, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray | None
    ) -> np.ndarray:
        case = self.shape
        sums = reference.conv2d_sums(
            x, weight, self.input_zero_point, bias, stride=case.stride, padding=case.padding,
            dilation=case.dilation, groups=case.groups,
        )  # fmt: skip
        real = sums.astype(np.float32)
        scale = np.float32(self.input_scale) * scale
        if self.output_scale is None:
            return float32_activation(real * scale, case.activation, case.slope)
        if case.activation in ("none", "relu", "leaky_relu"):
            scale, divisor = scale / np.float32(self.output_scale), np.float32(1)
        else:
            divisor = np.float32(self.output_scale)
        values = float32_activation(real * scale, case.activation, case.slope) / divisor
        return reference.requantize(values, self.output_zero_point)


def float32_activation(x: np.ndarray, activation: str, slope: float) -> np.ndarray:
    assert x.dtype == np.float32
    hard_sigmoid = np.clip(x + np.float32(3), 0, 6) * np.float32(1 / 6)
    exact = {
        "none": x,
        "relu": np.maximum(x, 0),
        "leaky_relu": np.where(x < 0, x * np.float32(slope), x),
        "relu6": np.clip(x, 0, 6),
        "hardsigmoid": hard_sigmoid,
        "hardswish": x * hard_sigmoid,
    }
    if activation in exact:
        return exact[activation]
    return activate(x.astype(np.float64), np.zeros(x.shape), activation)[0].astype(np.float32)


def check(case: Int8Case, isa: str) -> None:
    """Run with the operands beside unmapped memory, and compare to the bit."""
    operands = case.data()
    expected = case.expected(*operands)
    for before in (False, True):
        x, *constants = (None if a is None else guarded(a, before=before) for a in operands)
        conv = case.make(*constants)
        assert conv.kernel_isa == isa
        y = conv.run(x)
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y, expected)


def draw_int8(seed: int) -> Int8Case:
    rng = np.random.default_rng(seed)
    shape = replace(draw_case(seed), activation=str(rng.choice(EXACT)), residual=False)
    return Int8Case(
        shape,
        input_scale=float(rng.uniform(1e-3, 0.1)),
        input_zero_point=int(rng.choice([0, 0, 1, 127, 128, 255])),
        output_scale=None if rng.integers(3) == 0 else float(rng.uniform(0.01, 0.3)),
        output_zero_point=int(rng.choice([0, 3, 128, 255])),
    )


@pytest.mark.parametrize("seed", range(100))
def test_random_shapes(vnni_isa: str, seed: int) -> None:
    check(draw_int8(seed), vnni_isa)


@pytest.mark.parametrize("out_channels", [c for c in CHANNELS if c > 6])
def test_rows_and_columns_of_the_tile(vnni_isa: str, out_channels: int) -> None:
    for rows in range(1, 30):
        shape = Case(
            width=rows,
            height=1,
            in_channels=5 + rows % 4,
            out_channels=out_channels,
            kernel=(1, 1),
            seed=rows,
        )
        for scale in (None, 0.05):
            check(Int8Case(shape, output_scale=scale), vnni_isa)


@pytest.mark.parametrize("in_channels", [575, 577, 1151, 1152, 1153, 1155, 2401])
def test_sums_longer_than_a_block(vnni_isa: str, in_channels: int) -> None:
    """K around multiples of the native block of 4 * 288; 600 outputs are more weights than L2's half."""
    for out_channels, activation in ((17, "leaky_relu"), (600, "none")):
        shape = Case(
            width=5, height=3, in_channels=in_channels, out_channels=out_channels, kernel=(1, 1),
            activation=activation,
        )  # fmt: skip
        check(Int8Case(shape), vnni_isa)


@pytest.mark.parametrize(
    "shape",
    [  # a 1x1 convolution and whole kernel rows that the native kernel reads in place; channels it cannot
        {"kernel": (1, 1), "in_channels": 64},
        {"kernel": (1, 1), "in_channels": 62},
        {"kernel": (3, 3), "in_channels": 16, "padding": (1, 1, 1, 1)},
        {"kernel": (3, 3), "in_channels": 16, "groups": 2, "padding": (1, 1, 1, 1)},
        {"kernel": (7, 7), "in_channels": 3, "stride": (2, 2), "padding": (3, 3, 3, 3)},
        {"kernel": (3, 3), "in_channels": 8, "dilation": (12, 12), "padding": (12, 12, 12, 12)},
    ],
    ids=str,
)
@pytest.mark.parametrize("zero_point", [0, 200])
def test_ways_to_the_tile(vnni_isa: str, shape: dict[str, Any], zero_point: int) -> None:
    case = Case(height=17, width=19, out_channels=34, **shape)
    check(Int8Case(case, input_zero_point=zero_point), vnni_isa)


@pytest.mark.parametrize("channels", CHANNELS[1:])  # one channel is one group
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_depthwise(vnni_isa: str, channels: int, kernel: int) -> None:
    rng = np.random.default_rng(channels * kernel)
    for stride in ((1, 1), (2, 2), (2, 1)):
        for dilation in ((1, 1), (2, 1)):
            pad = int(rng.integers(0, kernel + 2))
            spare = max(1, dilation[0] * (kernel - 1) + 1 - 2 * pad)
            shape = Case(
                batch=2, height=spare + int(rng.integers(4)), width=spare + int(rng.integers(12)),
                in_channels=channels, out_channels=channels, groups=channels, kernel=(kernel, kernel),
                stride=stride, dilation=dilation, padding=(pad, pad, pad, pad), bias=bool(rng.integers(2)),
                activation=str(rng.choice(EXACT)),
            )  # fmt: skip
            scale = None if rng.integers(2) else 0.05
            check(Int8Case(shape, output_scale=scale, input_zero_point=int(rng.choice([0, 99]))), vnni_isa)


@pytest.mark.parametrize("channels", [5, 40])
@pytest.mark.parametrize("kernel", [(7, 7), (1, 9), (9, 10), (4, 19), (20, 3)])
def test_depthwise_of_wide_windows(vnni_isa: str, channels: int, kernel: tuple[int, int]) -> None:
    """Windows of more rows and taps than are laid out at a time; rows wider than a block of pixels."""
    for stride, dilation in (((1, 1), (1, 1)), ((1, 2), (2, 1)), ((3, 4), (1, 3)), ((2, 9), (2, 1))):
        pad_h, pad_w = (d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
        shape = Case(
            batch=2, height=dilation[0] * 7, width=dilation[1] * 31, in_channels=channels,
            out_channels=channels, groups=channels, kernel=kernel, stride=stride, dilation=dilation,
            padding=(pad_h, pad_w, pad_h, pad_w), seed=stride[1],
        )  # fmt: skip
        for scale in (None, 0.05):
            check(Int8Case(shape, output_scale=scale, input_zero_point=77), vnni_isa)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(vnni_isa: str, activation: str) -> None:
    """Those with an exponential are rounded in ways of their own, which moves a u8 result by one at most."""
    shape = Case(height=9, width=9, in_channels=17, out_channels=33, activation=activation, slope=0.3)
    case = Int8Case(shape, output_scale=0.05, output_zero_point=9)
    operands = case.data()
    y = case.make(*operands[1:]).run(operands[0]).astype(int)
    difference = np.abs(y - case.expected(*operands))
    assert difference.max() <= (0 if activation in EXACT else 1)
    assert (difference > 0).mean() < 0.01 and np.ptp(y) > 10


@pytest.mark.parametrize("zero_point", [0, 1, 128, 255])
def test_ties_go_to_even_and_results_saturate(vnni_isa: str, zero_point: int) -> None:
    """Sums of -700 … 700 halves, so that every other value is a tie."""
    bias = np.arange(-700, 701, dtype=np.int32)
    conv = _core.Conv2dInt8(
        np.zeros((bias.size, 1, 1, 1), np.int8), np.ones(bias.size, np.float32), 0.5, 0, bias,
        output_scale=1.0, output_zero_point=zero_point,
    )  # fmt: skip
    y = conv.run(np.zeros((1, 1, 1, 1), np.uint8)).ravel()
    expected = np.clip([round(float(b) / 2) + zero_point for b in bias], 0, 255)  # Python's ties go to even
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("x", [0, 255])
@pytest.mark.parametrize("w", [-128, 127])
def test_the_largest_sums_are_exact(vnni_isa: str, x: int, w: int) -> None:
    """65536 products; the older u8 x s8 instruction would saturate after two of them."""
    weight = np.full((3, 65536, 1, 1), w, np.int8)
    conv = _core.Conv2dInt8(weight, np.ones(3, np.float32), 1.0, 0)
    y = conv.run(np.full((1, 1, 1, 65536), x, np.uint8))
    np.testing.assert_array_equal(y, np.full((1, 1, 1, 3), 65536 * x * w, np.float32))


CASES = [
    Case(height=20, width=20, in_channels=64, out_channels=64, padding=(1, 1, 1, 1)),
    Case(height=9, width=9, in_channels=2400, out_channels=600, kernel=(1, 1)),
    Case(height=12, width=13, in_channels=36, out_channels=48, groups=3, activation="silu"),
    Case(height=40, width=40, in_channels=50, out_channels=50, groups=50),
]


@pytest.mark.parametrize("shape", CASES, ids=lambda c: f"{c.in_channels}-{c.out_channels}")
def test_threads_agree(vnni_isa: str, shape: Case) -> None:
    for scale in (None, 0.05):
        case = Int8Case(shape, output_scale=scale)
        x, *constants = case.data()
        conv = case.make(*constants)
        check_threads_agree(lambda conv=conv, x=x: conv.run(x))


def test_empty_batch() -> None:
    y = ops.conv2d_int8(np.zeros((0, 3, 8, 8), np.uint8), np.zeros((5, 3, 3, 3), np.int8), 1.0, 1.0, 0)
    assert y.shape == (0, 5, 6, 6) and y.dtype == np.float32


@pytest.mark.parametrize("depthwise", [False, True])
def test_layouts_and_kinds_of_arrays(depthwise: bool) -> None:
    shape = Case(
        height=9, width=8, in_channels=6, out_channels=6, groups=6 if depthwise else 2, padding=(1, 1, 1, 1)
    )
    case = Int8Case(shape)
    x, weight, scale, bias = case.data()
    expected = case.expected(x, weight, scale, bias)
    options: Any = {
        "padding": 1,
        "groups": shape.groups,
        "output_scale": case.output_scale,
        "output_zero_point": case.output_zero_point,
    }
    constants = weight, scale, case.input_scale, case.input_zero_point, bias
    np.testing.assert_array_equal(ops.conv2d_int8(x, *constants, **options, layout="NHWC"), expected)
    nchw = x.transpose(0, 3, 1, 2)
    for given in (nchw, np.ascontiguousarray(nchw)):
        y = ops.conv2d_int8(given, *constants, **options)
        np.testing.assert_array_equal(y.transpose(0, 2, 3, 1), expected)
    same = ops.conv2d_int8(nchw, *constants, **{**options, "padding": "same"})
    np.testing.assert_array_equal(same, y)
    one_scale = ops.conv2d_int8(nchw, weight, 0.01, *constants[2:], **options)
    per_channel = ops.conv2d_int8(nchw, weight, np.full(6, 0.01, np.float32), *constants[2:], **options)
    np.testing.assert_array_equal(one_scale, per_channel)
    torch = pytest.importorskip("torch")
    tensor = ops.conv2d_int8(torch.from_numpy(nchw), torch.from_numpy(weight), *constants[1:], **options)
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.uint8
    np.testing.assert_array_equal(tensor.numpy(), y)


def onnx_model(case: Int8Case, *operands: np.ndarray | None) -> tuple[Any, dict[str, np.ndarray]]:
    """QLinearConv with these constants, and its input."""
    onnx = pytest.importorskip("onnx")
    x, weight, scale, bias = operands
    assert x is not None
    constants = {
        "x_scale": np.float32(case.input_scale),
        "x_zero_point": np.uint8(case.input_zero_point),
        "w": weight,
        "w_scale": scale,
        "w_zero_point": np.zeros(case.shape.out_channels, np.int8),
        "y_scale": np.float32(case.output_scale or 1),
        "y_zero_point": np.uint8(case.output_zero_point),
    } | ({} if bias is None else {"b": bias})
    shape = case.shape
    node = onnx.helper.make_node(
        "QLinearConv", ["x", *constants], ["y"], kernel_shape=shape.kernel, strides=shape.stride,
        pads=shape.padding, dilations=shape.dilation, group=shape.groups,
    )  # fmt: skip
    u8 = onnx.TensorProto.UINT8
    graph = onnx.helper.make_graph(
        [node], "conv", [onnx.helper.make_tensor_value_info("x", u8, [None] * 4)],
        [onnx.helper.make_tensor_value_info("y", u8, [None] * 4)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model, {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}


def qlinear_case(seed: int) -> Int8Case:
    case = draw_int8(seed)
    return replace(case, shape=replace(case.shape, activation="none"), output_scale=case.output_scale or 0.11)


@pytest.mark.parametrize("seed", range(1000, 1025))
def test_against_onnxruntime(vnni_isa: str, seed: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    case = qlinear_case(seed)
    operands = case.data()
    model, inputs = onnx_model(case, *operands)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y = case.make(*operands[1:]).run(operands[0])
    np.testing.assert_array_equal(y.transpose(0, 3, 1, 2), session.run(None, inputs)[0])


@pytest.mark.parametrize("seed", range(2000, 2015))
def test_against_onnx(vnni_isa: str, seed: int) -> None:
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    case = qlinear_case(seed)
    operands = case.data()
    model, inputs = onnx_model(case, *operands)
    y = case.make(*operands[1:]).run(operands[0])
    np.testing.assert_array_equal(y.transpose(0, 3, 1, 2), ReferenceEvaluator(model).run(None, inputs)[0])
