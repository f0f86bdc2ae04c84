# SPDX-License-Identifier: Apache-2.0
"""conv_transpose2d against float64, ONNX's reference evaluator, torch and its adjoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvision import _core, ops
from tests._guard import guarded
from tests.helpers import EPS, assert_within, check_threads_agree, pick, random
from tests.reference import conv as reference
from tests.reference.conv import ACTIVATIONS

CHANNELS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65]
EXTENTS = [1, 2, 3, 5, 7, 8, 9, 13]
LARGEST_WORK = 1_000_000  # multiply-adds: a few milliseconds for the scalar kernels


@dataclass(frozen=True)
class Case:
    """One transposed convolution, with its data a function of the case."""

    batch: int = 1
    height: int = 5
    width: int = 6
    in_channels: int = 3
    out_channels: int = 4
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)
    bias: bool = True
    activation: str = "none"
    seed: int = 0

    @property
    def out_size(self) -> tuple[int, int]:
        return reference.transposed_size(
            (self.height, self.width), self.kernel, self.stride, self.padding, self.output_padding,
            self.dilation,
        )  # fmt: skip

    @property
    def terms(self) -> int:
        """Most products behind one output."""
        return self.kernel[0] * self.kernel[1] * self.in_channels // self.groups

    @property
    def possible(self) -> bool:
        work = self.batch * self.height * self.width * self.out_channels * self.terms
        return min(self.out_size) > 0 and work <= LARGEST_WORK

    @property
    def parameters(self) -> tuple[Any, ...]:
        """In the order of the op's arguments."""
        return self.stride, self.padding, self.output_padding, self.groups, self.dilation

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Input, weight, bias."""
        rng = np.random.default_rng(self.seed)

        def draw(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(np.float32)

        x = draw(self.batch, self.height, self.width, self.in_channels)
        weight = draw(self.in_channels, self.out_channels // self.groups, *self.kernel)
        return x, weight, draw(self.out_channels) if self.bias else None

    def make(self, weight: np.ndarray, bias: np.ndarray | None) -> Any:
        return _core.ConvTranspose2d(weight, bias, *self.parameters, self.activation)

    def expected(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The result in float64, and the tolerance of each element."""
        y, bound = reference.conv_transpose2d(
            x, weight, bias, stride=self.stride, padding=self.padding, output_padding=self.output_padding,
            groups=self.groups, dilation=self.dilation,
        )  # fmt: skip
        return reference.activate(y, EPS * (self.terms + 1) * bound, self.activation)


def check(case: Case) -> None:
    """Run with every operand beside unmapped memory, and compare."""
    operands = case.data()
    for before in (False, True):
        x, weight, bias = (None if a is None else guarded(a, before=before) for a in operands)
        assert_within(case.make(weight, bias).run(x), *case.expected(*operands))


def draw_case(seed: int) -> Case:
    """Any parameters at all, of a size that is quick."""
    rng = np.random.default_rng(seed)
    while True:
        groups = int(pick(rng, 1, 1, 1, 2, 3, 5))
        in_channels, out_channels = (
            int(rng.choice(CHANNELS)) if groups == 1 else groups * int(pick(rng, 1, 2, 7, 8, 9, 17))
            for _ in range(2)
        )
        kernel = pick(rng, (1, 1), (2, 2), (3, 3), (3, 3), (4, 4), (5, 5), (2, 3), (1, 4), (3, 2))
        stride = kernel if rng.integers(3) == 0 else pick(rng, (1, 1), (2, 2), (3, 3), (4, 2), (1, 3))
        dilation = pick(rng, (1, 1), (1, 1), (2, 2), (1, 3), (3, 2), (4, 4))
        case = Case(
            batch=int(rng.integers(1, 4)),
            height=int(rng.choice(EXTENTS)),
            width=int(rng.choice(EXTENTS)),
            in_channels=in_channels,
            out_channels=out_channels,
            kernel=kernel,
            stride=stride,
            padding=pick(rng, (0, 0), (0, 0), (1, 1), (2, 1), (0, 3)),
            output_padding=pick(rng, (0, 0), (0, 0), (1, 1), (0, 1), (2, 0)),
            groups=groups,
            dilation=dilation,
            bias=bool(rng.integers(2)),
            activation=str(rng.choice(ACTIVATIONS)),
            seed=seed,
        )
        valid = all(
            e < max(s, d) for e, s, d in zip(case.output_padding, case.stride, case.dilation, strict=True)
        )
        if case.possible and valid:
            return case


@pytest.mark.parametrize("seed", range(240))
def test_random_shapes(isa: str, seed: int) -> None:
    check(draw_case(seed))


@pytest.mark.parametrize("channels", CHANNELS)
def test_upsampling_layers(isa: str, channels: int) -> None:
    """The shapes that networks use: disjoint taps (one product), and kernel 4 or 3 with stride 2."""
    for out_channels in (1, 3, 8, 17, 33):
        for extra in (
            {"kernel": (2, 2), "stride": (2, 2)},
            {"kernel": (4, 4), "stride": (2, 2), "padding": (1, 1)},
            {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "output_padding": (1, 1)},
        ):
            case = Case(height=4, width=7, in_channels=channels, out_channels=out_channels, activation="relu")
            check(replace(case, **extra))  # type: ignore[arg-type]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(isa: str, activation: str) -> None:
    for stride in ((1, 1), (3, 3), (5, 4)):  # overlapping taps, disjoint ones, and outputs without any tap
        check(Case(in_channels=9, out_channels=17, stride=stride, activation=activation))


def test_outputs_without_a_tap_are_the_bias(isa: str) -> None:
    bias = random((33,))
    for groups in (1, 3):
        conv = _core.ConvTranspose2d(random((9, 33 // groups, 2, 2)), bias, (4, 5), (0, 0), (2, 2), groups)
        y = conv.run(random((2, 3, 3, 9)))
        assert y.shape == (2, 12, 14, 33)
        without = np.ones((12, 14), bool)
        without[np.ix_(*([i for i in range(n) if i % s < 2] for n, s in ((12, 4), (14, 5))))] = False
        np.testing.assert_array_equal(y[:, without], np.broadcast_to(bias, (2, without.sum(), 33)))


def test_sums_longer_than_a_block(isa: str) -> None:
    check(Case(height=3, width=3, in_channels=289, out_channels=17, kernel=(2, 2), stride=(2, 2)))
    check(Case(height=3, width=3, in_channels=130, out_channels=17, kernel=(4, 4), stride=(2, 2)))


def winograd_case(kernel: int, padding: int, output_padding: int = 0) -> Case:
    return Case(
        batch=2, height=26, width=29, in_channels=32, out_channels=40, kernel=(kernel, kernel), stride=(2, 2),
        padding=(padding, padding), output_padding=(output_padding, output_padding), activation="relu",
    )  # fmt: skip


WINOGRAD_CASES = [winograd_case(4, 1), winograd_case(3, 1, 1), winograd_case(6, 2)]


def winograd_tolerance(case: Case, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Of each element, where phases of 2x2 and 3x3 taps are computed by Winograd: depth as in test_conv2d."""
    _, tolerance = case.expected(x, weight, bias)
    phases = []  # per axis and phase: its taps, and the padding before and after
    for extent, out, k, p in zip(x.shape[1:3], case.out_size, case.kernel, case.padding, strict=True):
        axis = []
        for first in range(2):
            taps = [t for t in range(k - 1, -1, -1) if (first + p - t) % 2 == 0]
            before = (taps[0] - first - p) // 2
            axis.append((taps, before, len(range(first, out, 2)) - extent - before + len(taps) - 1))
        phases.append(axis)
    for i, (rows, top, bottom) in enumerate(phases[0]):
        for j, (columns, left, right) in enumerate(phases[1]):
            if len(rows) == len(columns) > 1:
                taps = weight[:, :, rows][..., columns].transpose(1, 0, 2, 3)
                sides = (top, left, bottom, right)
                bounds = [
                    EPS / 2 * (case.in_channels + 2 * m + 1 + 2 * (m + len(rows) - 1) + 2)
                    * reference.winograd_bound(x, taps, bias, m=m, padding=sides)
                    for m in ((4,) if len(rows) == 2 else (2, 4, 6))
                ]  # fmt: skip
                tolerance[:, i::2, j::2] = np.maximum.reduce(bounds)
    return tolerance


@pytest.mark.parametrize("case", WINOGRAD_CASES, ids=lambda case: f"{case.kernel[0]}")
def test_winograd(isa: str, case: Case) -> None:
    x, weight, bias = case.data()
    assert bias is not None
    size = (case.height, case.width)
    conv = _core.ConvTranspose2d(weight, bias, *case.parameters, case.activation, input_size=size)
    y = conv.run(x)
    expected, _ = case.expected(x, weight, bias)
    assert_within(y, expected, winograd_tolerance(case, x, weight, bias))
    check_threads_agree(lambda: conv.run(x))
    # Only the phases whose taps are as many in height as in width are by Winograd.
    direct = case.make(weight, bias).run(x)
    for i, j in np.ndindex(2, 2):
        differs = (y[:, i::2, j::2] != direct[:, i::2, j::2]).any()
        assert differs == (case.kernel[0] != 3 or i == j == 1)
    refused = _core.ConvTranspose2d(
        weight, bias, *case.parameters, case.activation, input_size=size, allow_winograd=False
    )
    np.testing.assert_array_equal(refused.run(x), direct)


def test_winograd_of_the_op() -> None:
    case = replace(WINOGRAD_CASES[0], height=48, width=50, in_channels=8, out_channels=16, activation="none")
    x, weight, bias = case.data()
    assert bias is not None
    fast, direct = (
        ops.conv_transpose2d(x, weight, bias, *case.parameters, layout="NHWC", allow_winograd=allowed)
        for allowed in (True, False)
    )
    assert_within(direct, *case.expected(x, weight, bias))
    assert_within(fast, case.expected(x, weight, bias)[0], winograd_tolerance(case, x, weight, bias))
    assert (fast != direct).any()


FEW_CHANNELS = [
    Case(kernel=(7, 7), stride=(2, 2), padding=(3, 3), output_padding=(1, 1), out_channels=3),
    Case(kernel=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 0), out_channels=1),
    Case(kernel=(4, 5), stride=(2, 3), padding=(5, 0), out_channels=2, activation="hardswish"),
    Case(kernel=(5, 3), stride=(1, 2), padding=(0, 3), output_padding=(0, 1), out_channels=4),
    Case(kernel=(2, 3), stride=(3, 2), padding=(1, 1), output_padding=(2, 0), out_channels=1),
    Case(kernel=(8, 8), stride=(4, 4), padding=(2, 2), out_channels=1, activation="sigmoid", bias=False),
]


@pytest.mark.parametrize("case", FEW_CHANNELS, ids=lambda case: f"{case.kernel}/{case.stride}")
@pytest.mark.parametrize("size", [(6, 7), (70, 45)])  # several strips of rows
def test_few_channels_share_a_vector(isa: str, case: Case, size: tuple[int, int]) -> None:
    """One convolution for all phases, where it fills more lanes than a convolution for each."""
    case = replace(case, batch=2, height=size[0], width=size[1], in_channels=11)
    x, weight, bias = case.data()
    parameters = (*case.parameters, case.activation)
    conv = _core.ConvTranspose2d(weight, bias, *parameters, input_size=size)
    assert_within(conv.run(x), *case.expected(x, weight, bias))
    check_threads_agree(lambda: conv.run(x))
    # What is not finite tells which it was: the zeros around a phase's taps spread it.
    x[1, 3, 4, 5] = np.nan
    refused = _core.ConvTranspose2d(weight, bias, *parameters, input_size=size, allow_winograd=False)
    exact, spread = np.isnan(refused.run(x)), np.isnan(conv.run(x))
    assert spread[exact].all() and (exact.sum() < spread.sum()) == (isa != "scalar")


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_it_is_the_adjoint_of_conv2d(isa: str, data: st.DataObject) -> None:
    """<conv2d(x), z> = <x, conv_transpose2d(z)> for every x and z."""
    small = st.integers(1, 4)
    groups = data.draw(small)
    x_channels, z_channels = (groups * data.draw(st.integers(1, 17)) for _ in range(2))
    kernel, stride, dilation = (data.draw(st.tuples(small, small)) for _ in range(3))
    padding = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    height, width = (
        max(1, d * (k - 1) + 1 - 2 * p) + data.draw(st.integers(0, 7))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    )
    x, weight = (
        random((2, x_channels, height, width)),
        random((z_channels, x_channels // groups, *kernel), seed=1),
    )
    y = ops.conv2d(x, weight, None, stride, padding, dilation, groups)
    z = random(y.shape, seed=2)
    # What conv2d's rounding down left out of the map.
    output_padding = tuple(
        (extent + 2 * p - d * (k - 1) - 1) % s
        for extent, p, d, k, s in zip((height, width), padding, dilation, kernel, stride, strict=True)
    )
    back = ops.conv_transpose2d(z, weight, None, stride, padding, output_padding, groups, dilation)
    assert back.shape == x.shape
    terms = kernel[0] * kernel[1] * max(x_channels, z_channels) // groups
    products = np.abs(z) * ops.conv2d(np.abs(x), np.abs(weight), None, stride, padding, dilation, groups)
    difference = np.vdot(y.astype(float), z) - np.vdot(x.astype(float), back)
    assert abs(difference) <= 3 * EPS * terms * products.sum(dtype=float)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 3)])
def test_bitwise_equal_for_any_thread_count(isa: str, stride: tuple[int, int]) -> None:
    case = Case(batch=2, height=14, width=15, in_channels=33, out_channels=40, stride=stride)
    x, weight, bias = case.data()
    conv = case.make(weight, bias)
    check_threads_agree(lambda: conv.run(x))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_what_is_not_finite_reaches_its_kernel_only(isa: str, stride: int) -> None:
    x, weight = random((2, 6, 9, 7)), random((7, 17, 3, 3))
    for value in (np.nan, np.inf):
        x[1, 2, 3, 4] = value
        y = _core.ConvTranspose2d(weight, None, (stride, stride)).run(x)
        reached = np.zeros(y.shape, bool)
        reached[1, 2 * stride : 2 * stride + 3, 3 * stride : 3 * stride + 3] = True
        np.testing.assert_array_equal(np.isfinite(y), ~reached)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "channels_last"])
def test_layouts(isa: str, layout: str) -> None:
    case = Case(batch=2, in_channels=9, out_channels=17, kernel=(4, 4), stride=(2, 2), padding=(1, 1))
    x, weight, bias = case.data()
    if layout == "NHWC":
        y = ops.conv_transpose2d(x, weight, bias, 2, 1, layout="NHWC")
    else:
        given = x.transpose(0, 3, 1, 2)
        given = np.ascontiguousarray(given) if layout == "NCHW" else given
        result = ops.conv_transpose2d(given, weight, bias, 2, 1)
        assert result.flags.c_contiguous == (layout == "NCHW")
        y = result.transpose(0, 2, 3, 1)
    assert_within(y, *case.expected(x, weight, bias))


def test_arrays_of_any_strides_and_empty_batches() -> None:
    base, weight = random((4, 12, 5, 7)), random((6, 3, 3, 3))
    for x in (base[:, ::2], base[::-1, 6:, ::-1], np.broadcast_to(base[:1, :6], (4, 6, 5, 7))):
        dense = ops.conv_transpose2d(np.ascontiguousarray(x), weight, stride=2)
        np.testing.assert_array_equal(ops.conv_transpose2d(x, weight, stride=2), dense)
    x = base[:, :6].copy()
    expected = ops.conv_transpose2d(x, weight, stride=2)
    np.testing.assert_array_equal(ops.conv_transpose2d(x, weight.copy(order="F"), stride=2), expected)
    np.testing.assert_array_equal(ops.conv_transpose2d(x.astype(">f4"), weight, stride=2), expected)
    x.flags.writeable = weight.flags.writeable = False
    np.testing.assert_array_equal(ops.conv_transpose2d(x, weight, stride=2), expected)
    for stride, size in ((2, (11, 15)), (3, (15, 21))):
        assert ops.conv_transpose2d(x[:0], weight, stride=stride).shape == (0, 3, *size)


def onnx_result(case: Case, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    inputs = {"x": x.transpose(0, 3, 1, 2), "w": weight} | ({} if bias is None else {"b": bias})
    inputs = {name: np.ascontiguousarray(value, np.float64) for name, value in inputs.items()}
    node = onnx.helper.make_node(
        "ConvTranspose", list(inputs), ["y"], kernel_shape=case.kernel, strides=case.stride,
        pads=(*case.padding, *case.padding), output_padding=case.output_padding, dilations=case.dilation,
        group=case.groups,
    )  # fmt: skip
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None) for name in (*inputs, "y")
    ]
    graph = onnx.helper.make_graph([node], "conv_transpose", infos[:-1], infos[-1:])
    y: np.ndarray = ReferenceEvaluator(onnx.helper.make_model(graph)).run(None, inputs)[0]
    return y.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_against_onnx(isa: str, seed: int) -> None:
    # It slices grouped weights by output channels, which fails unless there are as many as inputs.
    case = replace(draw_case(seed), activation="none", groups=1)
    operands = case.data()
    _, tolerance = case.expected(*operands)
    y = case.make(*operands[1:]).run(operands[0])
    assert_within(y, onnx_result(case, *operands), tolerance)


@pytest.mark.parametrize("seed", range(2000, 2030))
def test_against_torch(isa: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    case = replace(draw_case(seed), activation="none")
    operands = case.data()
    _, tolerance = case.expected(*operands)
    x, weight, bias = (None if a is None else torch.from_numpy(a) for a in operands)
    x = x.permute(0, 3, 1, 2)
    y = ops.conv_transpose2d(x, weight, bias, *case.parameters)
    assert isinstance(y, torch.Tensor) and y.dtype == torch.float32
    expected = torch.nn.functional.conv_transpose2d(
        x.double(), weight.double(), None if bias is None else bias.double(), *case.parameters
    )
    to_nhwc = (0, 2, 3, 1)
    assert_within(y.numpy().transpose(to_nhwc), expected.numpy().transpose(to_nhwc), tolerance)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"input": np.zeros((3, 8, 8), np.float32)}, ValueError, "expected input with 4 dimensions"),
    ({"input": np.zeros((1, 4, 8, 8), np.float32)}, ValueError, "expected input with 3 channels, got 4"),
    ({"input": np.zeros((1, 3, 0, 8), np.float32)}, ValueError, "expected a non-empty output"),
    ({"input": np.zeros((1, 3, 8, 8))}, TypeError, "expected weight of dtype float64, got float32"),
    ({"weight": np.zeros((3, 5, 3), np.float32)}, ValueError, "expected weight with 4 dimensions"),
    ({"weight": np.zeros((3, 5, 3, 0), np.float32)}, ValueError, "expected a kernel of at least 1x1"),
    ({"bias": np.zeros(4, np.float32)}, ValueError, r"expected bias of shape \(5,\), got \(4,\)"),
    ({"stride": 0}, ValueError, "expected stride > 0"),
    ({"dilation": -1}, ValueError, "expected dilation > 0"),
    ({"padding": -1}, ValueError, "expected padding >= 0"),
    ({"padding": 6}, ValueError, "expected a non-empty output"),
    ({"output_padding": 1}, ValueError, r"expected output_padding in \[0, max\(stride, dilation\)\)"),
    ({"output_padding": -1, "stride": 2}, ValueError, "expected output_padding"),
    ({"groups": 0}, ValueError, "expected groups > 0"),
    ({"groups": 2}, ValueError, "expected channels divisible by groups=2"),
    ({"stride": (1,)}, ValueError, "stride"),
    ({"groups": 1.0}, TypeError, "groups"),
    ({"activation": "swish"}, ValueError, "expected activation to be one of"),
    ({"allow_winograd": 2}, TypeError, "allow_winograd"),
    ({"layout": "CHWN"}, ValueError, "expected layout to be 'NCHW' or 'NHWC'"),
    ({"stride": 2**31 - 1}, ValueError, r"expected stride_h \* stride_w of at most 65536"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"input": random((1, 3, 8, 8)), "weight": random((3, 5, 3, 3)), **change}
    with pytest.raises(error, match=r"^\[conv_transpose2d\] .*" + message):
        ops.conv_transpose2d(**arguments)
