# SPDX-License-Identifier: Apache-2.0
"""conv2d and depthwise_conv2d against float64, ONNX's reference evaluator and torch."""

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
from tests.reference.rounding import round_to_bf16

# Around the vectors (4, 8, 16) and panels (16, 32) of the ISAs.
WINOGRAD = ("winograd_2x2", "winograd_4x4", "winograd_6x6")
WINOGRAD_SIZES = [(2, "winograd_4x4"), *((3, algorithm) for algorithm in WINOGRAD)]
CHANNELS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65]
EXTENTS = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17]
LARGEST_WORK = 1_500_000  # multiply-adds: a few milliseconds for the scalar kernels
CANARY = np.float32(-7.25e30)


@dataclass(frozen=True)
class Case:
    """One convolution, with its data a function of the case."""

    batch: int = 1
    height: int = 5
    width: int = 6
    in_channels: int = 3
    out_channels: int = 4
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True
    residual: bool = False
    activation: str = "none"
    slope: float = 0.01
    algorithm: str = "direct"
    precision: str = "f32"
    seed: int = 0

    @property
    def out_size(self) -> tuple[int, int]:
        size = (self.height, self.width)
        return reference.out_size(size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def terms(self) -> int:
        """Products behind one output."""
        return self.kernel[0] * self.kernel[1] * self.in_channels // self.groups

    @property
    def possible(self) -> bool:
        h, w = self.out_size
        return h > 0 and w > 0 and self.batch * h * w * self.out_channels * self.terms <= LARGEST_WORK

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Input, weight, bias, residual."""
        rng = np.random.default_rng(self.seed)

        def draw(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(np.float32)

        x = draw(self.batch, self.height, self.width, self.in_channels)
        weight = draw(self.out_channels, self.in_channels // self.groups, *self.kernel)
        bias = draw(self.out_channels) if self.bias else None
        residual = draw(self.batch, *self.out_size, self.out_channels) if self.residual else None
        return x, weight, bias, residual

    def make(self, weight: np.ndarray, bias: np.ndarray | None) -> Any:
        return _core.Conv2d(
            weight, bias, self.stride, self.padding, self.dilation, self.groups,
            self.activation, self.slope, self.algorithm, (self.height, self.width), True, self.precision,
        )  # fmt: skip

    def expected(self, *operands: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The result in float64, and the tolerance of each element."""
        x, weight, bias, residual = operands
        assert x is not None and weight is not None
        if self.precision == "bf16" and self.algorithm == "direct":  # products of 8-bit factors are exact
            x, weight = round_to_bf16(x), round_to_bf16(weight)
        y, bound = reference.conv2d(
            x, weight, bias, stride=self.stride, padding=self.padding, dilation=self.dilation,
            groups=self.groups, residual=residual,
        )  # fmt: skip
        error = EPS * (self.terms + 2) * bound  # bias and residual are two more terms
        if self.algorithm.startswith("winograd"):
            # Behind one result are the sum over channels, two input transforms of at most m roundings, the
            # rounding of the transformed weight, two output transforms of as many as there are points, bias
            # and residual; each rounding is eps / 2.
            m = int(self.algorithm[-1])
            depth = self.in_channels // self.groups + 2 * m + 1 + 2 * (m + self.kernel[0] - 1) + 2
            error = EPS / 2 * depth * reference.winograd_bound(
                x, weight, bias, m=m, padding=self.padding, groups=self.groups, residual=residual
            )  # fmt: skip
        return reference.activate(y, error, self.activation, self.slope)


def check(case: Case) -> None:
    """Run with every operand beside unmapped memory, and compare."""
    operands = case.data()
    for before in (False, True):
        x, weight, bias, residual = (None if a is None else guarded(a, before=before) for a in operands)
        conv = case.make(weight, bias)
        out = guarded(np.full((case.batch, *case.out_size, case.out_channels), CANARY), before=before)
        assert conv.run(x, residual, out) is out
        assert_within(out, *case.expected(*operands))


def draw_case(seed: int) -> Case:
    """Any parameters at all, of a size that is quick."""
    rng = np.random.default_rng(seed)
    while True:
        groups = int(pick(rng, 1, 1, 1, 2, 3, 5))
        in_channels, out_channels = (
            int(rng.choice(CHANNELS)) if groups == 1 else groups * int(pick(rng, 1, 2, 3, 7, 8, 9, 16, 17))
            for _ in range(2)
        )
        case = Case(
            batch=int(rng.integers(1, 4)),
            height=int(rng.choice(EXTENTS)),
            width=int(rng.choice(EXTENTS)),
            in_channels=in_channels,
            out_channels=out_channels,
            kernel=pick(rng, (1, 1), (3, 3), (3, 3), (5, 5), (2, 2), (1, 3), (3, 1), (7, 7), (2, 5), (1, 7)),
            stride=pick(rng, (1, 1), (1, 1), (2, 2), (3, 3), (1, 2), (3, 1)),
            padding=tuple(int(p) for p in rng.integers(0, 4, 4)),  # type: ignore[arg-type]
            dilation=pick(rng, (1, 1), (1, 1), (2, 2), (1, 3), (2, 1)),
            groups=groups,
            bias=bool(rng.integers(2)),
            residual=bool(rng.integers(2)),
            activation=str(rng.choice(ACTIVATIONS)),
            slope=float(pick(rng, 0.01, 0.2, 1.5, -0.5)),
            seed=seed,
        )
        if case.possible:
            return case


@pytest.mark.parametrize("seed", range(240))
def test_random_shapes(isa: str, seed: int) -> None:
    check(draw_case(seed))


@pytest.mark.parametrize("out_channels", CHANNELS)
def test_rows_and_columns_of_the_tile(isa: str, out_channels: int) -> None:
    """Every number of rows from 1 to past two tiles, for each panel remainder."""
    for rows in range(1, 30):
        check(Case(width=rows, height=1, in_channels=5, out_channels=out_channels, kernel=(1, 1), seed=rows))


@pytest.mark.parametrize("in_channels", [287, 288, 289, 296, 575, 577, 1030])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_sums_longer_than_a_block(isa: str, in_channels: int, activation: str) -> None:
    """K around multiples of the block of 288; 300 outputs are more weights than half of L2 holds."""
    for out_channels in (17, 300):
        case = Case(
            width=5, height=3, in_channels=in_channels, out_channels=out_channels, kernel=(1, 1),
            residual=True, activation=activation,
        )  # fmt: skip
        check(case)
    check(
        Case(
            width=4,
            height=4,
            in_channels=in_channels // 8,
            out_channels=33,
            padding=(1, 1, 1, 1),
            kernel=(3, 3),
        )
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(isa: str, activation: str) -> None:
    """Each, over values from where it is flat to where it is flat again, by every algorithm."""
    for case in (
        Case(in_channels=17, out_channels=17, algorithm="direct"),
        Case(in_channels=17, out_channels=17, groups=17, algorithm="auto"),
        Case(in_channels=18, out_channels=18, groups=6, algorithm="grouped"),
        *(Case(in_channels=17, out_channels=17, algorithm=algorithm) for algorithm in WINOGRAD),
    ):
        check(replace(case, activation=activation, residual=True, slope=0.3, padding=(1, 1, 1, 1), seed=3))
    x = np.linspace(-20, 20, 4001, dtype=np.float32).reshape(1, 1, -1, 1)
    conv = _core.Conv2d(np.ones((1, 1, 1, 1), np.float32), activation=activation)
    assert_within(conv.run(x), *reference.activate(x.astype(float), np.zeros(x.shape), activation))


@pytest.mark.parametrize("channels", CHANNELS[1:])  # one channel is one group
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
def test_depthwise(isa: str, channels: int, kernel: int) -> None:
    """All strides and dilations, maps from one pixel to more than a block of eight outputs at stride 2."""
    rng = np.random.default_rng(channels * kernel)
    for stride in ((1, 1), (2, 2), (3, 3), (2, 1)):
        for dilation in ((1, 1), (2, 2), (2, 1)):
            pad = int(rng.integers(0, kernel + 2))
            spare = max(1, dilation[0] * (kernel - 1) + 1 - 2 * pad)
            case = Case(
                batch=int(rng.integers(1, 3)),
                height=spare + int(rng.integers(4)),
                width=spare + int(pick(rng, 0, 1, 7, 8, 9, 16, 17, 19)),
                in_channels=channels, out_channels=channels, groups=channels, kernel=(kernel, kernel),
                stride=stride, dilation=dilation, padding=(pad, pad, pad, pad), bias=bool(rng.integers(2)),
                residual=bool(rng.integers(2)), activation=str(rng.choice(ACTIVATIONS)), algorithm="auto",
            )  # fmt: skip
            assert case.make(*case.data()[1:3]).algorithm == "depthwise"
            check(case)


def draw_grouped(seed: int) -> Case:
    """Groups of which several share a vector, one fills it, or one takes several; the last is often short."""
    rng = np.random.default_rng(seed)
    while True:
        groups = int(pick(rng, 1, 2, 3, 5, 8, 9, 17))
        kernel = int(pick(rng, 3, 3, 3, 1, 2, 5))
        case = Case(
            batch=int(rng.integers(1, 3)),
            height=int(pick(rng, 1, 2, 3, 4, 5, 9)),
            width=int(pick(rng, 1, 6, 7, 8, 9, 14, 16, 17, 23)),
            in_channels=groups * int(pick(rng, 1, 2, 3, 4, 5, 8, 16, 17, 24)),
            out_channels=groups * int(pick(rng, 1, 2, 3, 4, 5, 8, 16, 17, 33)),
            groups=groups,
            kernel=(kernel, kernel),
            stride=pick(rng, (1, 1), (2, 2), (3, 3), (2, 1)),
            dilation=pick(rng, (1, 1), (1, 1), (2, 2), (1, 3)),
            padding=tuple(int(p) for p in rng.integers(0, 4, 4)),  # type: ignore[arg-type]
            bias=bool(rng.integers(2)),
            residual=bool(rng.integers(2)),
            activation=str(rng.choice(ACTIVATIONS)),
            algorithm="grouped",
            seed=seed,
        )
        if case.possible:
            return case


@pytest.mark.parametrize("seed", range(160))
def test_grouped(isa: str, seed: int) -> None:
    check(draw_grouped(seed))


@pytest.mark.parametrize("group", [2, 4, 8, 16])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_grouped_inside_the_map(isa: str, group: int, stride: tuple[int, int]) -> None:
    """Blocks that no border clips, and more channels than a chunk of weights in L1 serves."""
    case = Case(
        height=8, width=30 * stride[1], in_channels=96, out_channels=96, groups=96 // group, stride=stride,
        padding=(1, 1, 1, 1), algorithm="grouped", activation="silu",
    )  # fmt: skip
    check(case)


def draw_winograd(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    while True:
        kernel, algorithm = WINOGRAD_SIZES[rng.integers(len(WINOGRAD_SIZES))]
        groups = int(pick(rng, 1, 1, 1, 2, 3, 5, 32))
        case = Case(
            batch=int(rng.integers(1, 4)),
            height=int(rng.choice(EXTENTS)),
            width=int(rng.choice(EXTENTS)),
            in_channels=groups * int(rng.choice(CHANNELS)),
            out_channels=groups * int(rng.choice(CHANNELS)),
            groups=groups,
            kernel=(kernel, kernel),
            padding=tuple(int(p) for p in rng.integers(0, 4, 4)),  # type: ignore[arg-type]
            bias=bool(rng.integers(2)),
            residual=bool(rng.integers(2)),
            activation=str(rng.choice(ACTIVATIONS)),
            algorithm=algorithm,
            seed=seed,
        )
        if case.possible:
            return case


@pytest.mark.parametrize("seed", range(120))
def test_winograd(isa: str, seed: int) -> None:
    check(draw_winograd(seed))


@pytest.mark.parametrize(("kernel", "algorithm"), WINOGRAD_SIZES)
def test_winograd_over_several_blocks_of_channels_and_tiles(isa: str, kernel: int, algorithm: str) -> None:
    case = Case(in_channels=9, out_channels=8, kernel=(kernel, kernel), algorithm=algorithm)
    check(replace(case, height=8, width=8, in_channels=300, residual=True))
    check(replace(case, height=66, width=65, padding=(1, 1, 1, 1)))
    check(replace(case, height=14, width=15, in_channels=32 * 16, out_channels=32 * 20, groups=32, bias=True))


@pytest.mark.parametrize(("kernel", "algorithm"), [(3, "direct"), *WINOGRAD_SIZES])
def test_typical_error_is_far_below_the_bound(isa: str, kernel: int, algorithm: str) -> None:
    """Bounds hold for the worst rounding. Random ones cancel: a hundredth of eps * k * sum |a * b| for direct
    products; F(4x4, 3x3) is an order of magnitude less accurate (Barabasz et al. 2020, table 4)."""
    case = Case(
        height=16, width=16, in_channels=64, out_channels=64, kernel=(kernel, kernel), padding=(1, 1, 1, 1),
        algorithm=algorithm,
    )  # fmt: skip
    x, weight, bias, _ = case.data()
    y, bound = reference.conv2d(x, weight, bias, padding=case.padding)
    scale = np.sqrt(np.mean((EPS * case.terms * bound) ** 2))
    rms = np.sqrt(np.mean((case.make(weight, bias).run(x) - y) ** 2))
    assert rms <= scale * (0.01 if algorithm == "direct" else 0.1)


@pytest.mark.parametrize("algorithm", ["direct", *WINOGRAD])
def test_tolerance_notices_a_lost_product(algorithm: str) -> None:
    case = Case(height=8, width=8, in_channels=16, algorithm=algorithm)
    x, weight, bias, _ = case.data()
    expected, tolerance = case.expected(x, weight, bias, None)
    broken = weight.copy()
    broken[0, 7, 1, 2] = 0
    with pytest.raises(AssertionError, match="elements are off"):
        assert_within(case.make(broken, bias).run(x), expected, tolerance)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_drawn_shapes(isa: str, data: st.DataObject) -> None:
    small = st.integers(1, 4)
    groups = data.draw(small)
    case = Case(
        batch=data.draw(st.integers(0, 2)),
        height=data.draw(st.integers(1, 12)),
        width=data.draw(st.integers(1, 12)),
        in_channels=groups * data.draw(st.integers(1, 20)),
        out_channels=groups * data.draw(st.integers(1, 20)),
        kernel=data.draw(st.tuples(small, small)),
        stride=data.draw(st.tuples(small, small)),
        padding=data.draw(st.tuples(*[st.integers(0, 5)] * 4)),
        dilation=data.draw(st.tuples(small, small)),
        groups=groups,
        activation=data.draw(st.sampled_from(ACTIVATIONS)),
        residual=data.draw(st.booleans()),
        algorithm="auto",
    )
    operands = case.data() if min(case.out_size) > 0 else replace(case, residual=False).data()
    conv = case.make(operands[1], operands[2])
    if min(case.out_size) <= 0:
        with pytest.raises(ValueError, match="no smaller than the kernel"):
            conv.run(operands[0])
        return
    case = replace(case, algorithm=conv.algorithm)
    assert_within(conv.run(operands[0], operands[3]), *case.expected(*operands))


@pytest.mark.parametrize(
    "case",
    [
        Case(height=9, width=7, in_channels=17, out_channels=33, padding=(1, 1, 1, 1)),
        Case(height=4, width=5, in_channels=600, out_channels=40, kernel=(1, 1)),  # three K blocks
        Case(height=4, width=5, in_channels=520, out_channels=300, kernel=(1, 1)),  # and B beyond L2
        Case(height=9, width=17, in_channels=17, out_channels=17, groups=17, algorithm="auto"),
        Case(height=9, width=17, in_channels=20, out_channels=20, groups=5, algorithm="grouped"),
        Case(height=9, width=17, in_channels=17, out_channels=33, algorithm="winograd_6x6"),
        Case(height=9, width=17, in_channels=300, out_channels=9, algorithm="winograd_6x6"),
    ],
    ids=lambda c: f"{c.algorithm}-{c.in_channels}-{c.out_channels}",
)
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_residual_may_be_the_output(isa: str, case: Case, activation: str) -> None:
    case = replace(case, residual=True, activation=activation)
    x, weight, bias, residual = case.data()
    assert residual is not None
    conv = case.make(weight, bias)
    apart = conv.run(x, residual)
    assert conv.run(x, residual, residual) is residual
    np.testing.assert_array_equal(residual, apart)


def test_output_stays_between_its_neighbours(isa: str) -> None:
    """Canaries on both sides of an output that starts at an odd address."""
    for case in (draw(seed) for seed in range(30) for draw in (draw_case, draw_grouped, draw_winograd)):
        x, weight, bias, residual = case.data()
        size = case.batch * case.out_size[0] * case.out_size[1] * case.out_channels
        memory = np.full(size + 131, CANARY)
        out = memory[67 : 67 + size].reshape(case.batch, *case.out_size, case.out_channels)
        conv = case.make(weight, bias)
        conv.run(x, residual, out)
        np.testing.assert_array_equal(out, conv.run(x, residual))
        assert (memory[:67] == CANARY).all() and (memory[67 + size :] == CANARY).all()


@pytest.mark.parametrize(
    "case",
    [
        Case(height=20, width=20, in_channels=64, out_channels=64, padding=(1, 1, 1, 1), residual=True),
        Case(
            height=20,
            width=20,
            in_channels=64,
            out_channels=64,
            padding=(1, 1, 1, 1),
            algorithm="winograd_4x4",
        ),
        Case(height=13, width=13, in_channels=80, out_channels=96, algorithm="winograd_2x2"),
        Case(height=31, width=30, in_channels=40, out_channels=33, kernel=(2, 2), algorithm="winograd_4x4"),
        Case(height=70, width=70, in_channels=16, out_channels=16, algorithm="winograd_6x6"),
        Case(height=14, width=14, in_channels=512, out_channels=512, groups=32, algorithm="winograd_4x4"),
        Case(
            height=7, width=7, in_channels=512, out_channels=520, kernel=(1, 1)
        ),  # columns are dealt out too
        Case(height=30, width=30, in_channels=48, out_channels=96, groups=3, stride=(2, 2)),
        Case(height=31, width=30, in_channels=64, out_channels=64, groups=16, algorithm="grouped"),
        Case(height=4, width=9, in_channels=336, out_channels=336, groups=48, algorithm="grouped"),
        Case(
            height=40, width=40, in_channels=65, out_channels=65, groups=65, kernel=(5, 5), algorithm="auto"
        ),
        Case(batch=9, height=1, width=1, in_channels=65, out_channels=130, activation="gelu", kernel=(1, 1)),
    ],
    ids=lambda c: f"{c.algorithm}-{c.in_channels}-{c.out_channels}-{c.groups}",
)
def test_bitwise_equal_for_any_thread_count(isa: str, case: Case) -> None:
    x, weight, bias, residual = case.data()
    conv = case.make(weight, bias)
    check_threads_agree(lambda: conv.run(x, residual))


def test_images_of_a_batch_do_not_depend_on_each_other(isa: str) -> None:
    for algorithm in ("direct", *WINOGRAD):
        case = Case(batch=5, height=6, width=7, in_channels=9, out_channels=17, algorithm=algorithm)
        x, weight, bias, _ = case.data()
        conv = case.make(weight, bias)
        alone = np.concatenate([conv.run(x[i : i + 1]) for i in range(5)])
        np.testing.assert_array_equal(conv.run(x), alone)


def test_algorithms() -> None:
    def chosen(
        out: int,
        in_group: int,
        kernel: int = 3,
        algorithm: str = "auto",
        size: Any = (56, 56),
        **options: Any,
    ) -> str:
        weight = np.zeros((out, in_group, kernel, kernel), np.float32)
        name: str = _core.Conv2d(weight, algorithm=algorithm, input_size=size, **options).algorithm
        return name

    assert chosen(64, 64, padding=(1, 1, 1, 1)) == "winograd_4x4"
    assert chosen(64, 64) == "winograd_6x6"  # 54 is nine times six
    assert chosen(512, 512, size=(9, 9)) == "winograd_2x2"  # larger tiles would mostly multiply padding
    assert chosen(64, 64, kernel=2) == "winograd_4x4"
    assert chosen(64, 64, allow_winograd=False) == "direct"
    assert chosen(64, 64, allow_winograd=False, algorithm="winograd_4x4") == "winograd_4x4"
    assert chosen(64, 64, size=(0, 0)) == "direct"  # unknown, so it cannot tell whether tiles waste too much
    assert chosen(64, 64, algorithm="direct") == "direct"
    assert chosen(64, 64, size=(0, 0), algorithm="winograd_6x6") == "winograd_6x6"
    assert chosen(64, 64, size=(1, 1)) == "direct"
    assert chosen(64, 3) == "direct"
    assert chosen(64, 1, groups=64) == "depthwise"
    assert chosen(64, 1, groups=64, algorithm="direct") == "direct"
    assert chosen(128, 1, groups=64) == "depthwise"  # a channel multiplier of two
    assert chosen(128, 2, groups=64, algorithm="direct") == "direct"
    assert chosen(99, 66, groups=3, algorithm="grouped") == "grouped"
    assert chosen(512, 16, groups=32, size=(14, 14), padding=(1, 1, 1, 1)) == "winograd_4x4"
    assert chosen(512, 16, groups=32, size=(14, 14), allow_winograd=False) == "grouped"
    assert chosen(128, 4, groups=32) == "grouped"  # too few channels for a product
    impossible: list[dict[str, Any]] = [
        {"kernel": 1}, {"kernel": 5}, {"stride": (2, 2)}, {"stride": (1, 2)}, {"dilation": (2, 2)},
        {"groups": 2, "stride": (2, 2)},
    ]  # fmt: skip
    for options in impossible:
        assert chosen(64, 64, **options) == "direct"
        with pytest.raises(ValueError, match=r"\[conv2d\] expected a 3x3 kernel with stride 1"):
            chosen(64, 64, algorithm="winograd_6x6", **options)
    with pytest.raises(ValueError, match=r"expected a 3x3 kernel .* \(2x2 too for 'winograd_4x4'\)"):
        chosen(64, 64, kernel=2, algorithm="winograd_2x2")
    with pytest.raises(ValueError, match=r"auto, direct, depthwise, grouped, winograd_2x2, .*, got 'fft'"):
        chosen(64, 64, algorithm="fft")


def test_packed_bytes_are_at_least_the_weights(isa: str) -> None:
    weight = random((65, 17, 3, 3))
    direct = _core.Conv2d(weight, algorithm="direct").packed_bytes
    assert weight.nbytes <= direct < 2 * weight.nbytes
    for algorithm in WINOGRAD:
        points = (int(algorithm[-1]) + 2) ** 2
        packed = _core.Conv2d(weight, algorithm=algorithm).packed_bytes
        assert points * weight.nbytes <= 9 * packed < 2 * points * weight.nbytes


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_and_infinity_propagate(isa: str, activation: str) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    limits = {  # at +inf, -inf; x * 0 is NaN at -inf, as torch has it
        "none": (np.inf, -np.inf), "relu": (np.inf, 0), "relu6": (6, 0), "leaky_relu": (np.inf, -np.inf),
        "hardsigmoid": (1, 0), "hardswish": (np.inf, np.nan), "sigmoid": (1, 0), "silu": (np.inf, np.nan),
        "tanh": (1, -1), "gelu": (np.inf, np.nan),
    }  # fmt: skip
    for channels in (1, 17):  # depthwise, whole vectors and tails
        x = np.broadcast_to(values[:, None], (4, channels)).reshape(1, 1, 4, channels).copy()
        conv = _core.Conv2d(
            np.ones((channels, 1, 1, 1), np.float32), groups=channels, activation=activation, algorithm="auto"
        )
        y = conv.run(x)[0, 0]
        assert np.isnan(y[0]).all()
        np.testing.assert_allclose(y[1:3].T, np.broadcast_to(limits[activation], (channels, 2)), atol=EPS)
        assert np.isfinite(y[3]).all()
    for algorithm in ("direct", *WINOGRAD):
        x = random((1, 6, 6, 9))
        x[0, 2, 3, 4] = np.nan
        conv = _core.Conv2d(
            random((17, 9, 3, 3)), None, padding=(1, 1, 1, 1), activation=activation, algorithm=algorithm
        )
        assert np.isnan(conv.run(x)[0, 1:4, 2:5]).all()


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("groups", [1, 3, 9])
def test_what_lies_outside_the_receptive_field_does_not_leak(isa: str, value: float, groups: int) -> None:
    """Neither along the map nor across groups or images; padding is not read at all."""
    x = random((2, 9, 11, 9))
    x[0, 4, 5, 4] = value
    group_size = 9 // groups
    group = 4 // group_size
    for algorithm in ("direct", "auto"):
        weight = random((9, group_size, 3, 3))
        y = _core.Conv2d(weight, padding=(1, 1, 1, 1), groups=groups, algorithm=algorithm).run(x)
        reached = np.zeros(y.shape, bool)
        reached[0, 3:6, 4:7, group * group_size : (group + 1) * group_size] = True
        np.testing.assert_array_equal(np.isfinite(y), ~reached)


def test_bind_refuses_what_it_cannot_use() -> None:
    conv = _core.Conv2d(random((4, 3, 3, 3)), padding=(1, 1, 1, 1))
    square = _core.Conv2d(random((3, 3, 3, 3)), padding=(1, 1, 1, 1))
    x = random((1, 5, 5, 3))
    with pytest.raises(ValueError, match=r"expected out of shape .* \(1, 5, 5, 4\), got \(1, 5, 4, 4\)"):
        conv.run(x, None, np.zeros((1, 5, 4, 4), np.float32))
    with pytest.raises(ValueError, match="expected residual of shape"):
        conv.run(x, np.zeros((1, 5, 5, 3), np.float32))
    with pytest.raises(ValueError, match="expected input with 3 channels, got 4"):
        conv.run(random((1, 5, 5, 4)))
    with pytest.raises(TypeError, match="expected out of dtype float32, got float64"):
        conv.run(x, None, np.zeros((1, 5, 5, 4)))
    read_only = np.zeros((1, 5, 5, 4), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        conv.run(x, None, read_only)
    with pytest.raises(ValueError, match="C-contiguous"):
        conv.run(x, None, np.zeros((1, 5, 5, 8), np.float32)[..., ::2])
    with pytest.raises(ValueError, match="expected out apart from the input"):
        square.run(x, None, x)
    memory = np.zeros(100, np.float32)
    with pytest.raises(ValueError, match="expected residual to be out or apart from it"):
        square.run(x, memory[:75].reshape(x.shape), memory[1:76].reshape(x.shape))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "channels_last"])
def test_layouts(isa: str, layout: str) -> None:
    case = Case(
        batch=2, height=9, width=11, in_channels=17, out_channels=33, padding=(1, 2, 1, 2), residual=True
    )
    operands = x, weight, bias, residual = case.data()
    assert residual is not None
    expected, tolerance = case.expected(*operands)
    if layout == "NHWC":
        y = ops.conv2d(x, weight, bias, padding=(1, 2), residual=residual, layout="NHWC")
    else:
        x, residual = x.transpose(0, 3, 1, 2), residual.transpose(0, 3, 1, 2)
        if layout == "NCHW":
            x, residual = np.ascontiguousarray(x), np.ascontiguousarray(residual)
        result = ops.conv2d(x, weight, bias, padding=(1, 2), residual=residual)
        assert result.flags.c_contiguous == (layout == "NCHW")
        y = result.transpose(0, 2, 3, 1)
        assert y.flags.c_contiguous == (layout == "channels_last")
    assert_within(y, expected, tolerance)


SLIVER = Case(height=2, width=70, in_channels=5, out_channels=16, padding=(500, 0, 400, 1))


@pytest.mark.parametrize(
    "case",
    [
        Case(height=131, width=150, in_channels=16, out_channels=17, padding=(1, 1, 1, 1)),
        Case(height=131, width=150, in_channels=3, out_channels=33, kernel=(5, 3), stride=(2, 3)),
        Case(height=70, width=70, in_channels=24, out_channels=24, groups=8, dilation=(9, 2)),
        Case(height=90, width=200, in_channels=9, out_channels=18, groups=9, stride=(2, 1), algorithm="auto"),
        Case(height=131, width=150, in_channels=16, out_channels=16, algorithm="winograd_6x6"),
        Case(height=90, width=200, in_channels=9, out_channels=16, algorithm="winograd_2x2"),
        # Strips that see nothing of the image, on either side.
        replace(SLIVER, kernel=(1, 1)),
        replace(SLIVER, algorithm="winograd_4x4"),
        replace(SLIVER, in_channels=10, out_channels=15, groups=5, algorithm="grouped"),
        replace(SLIVER, out_channels=5, groups=5, algorithm="auto"),
        Case(batch=40, height=9, width=9, in_channels=64, out_channels=65, kernel=(1, 1)),
    ],
    ids=lambda c: f"{c.algorithm}-{c.height}-{c.in_channels}-{c.out_channels}",
)
def test_strips_of_planes(isa: str, threads: int, case: Case) -> None:
    """What is computed strip by strip has the bits of the whole: many rows, many images, long paddings."""
    x, weight, bias, _ = case.data()
    conv = case.make(weight, bias)
    y = conv.run_nchw(guarded(np.ascontiguousarray(x.transpose(0, 3, 1, 2))))
    np.testing.assert_array_equal(y.transpose(0, 2, 3, 1), conv.run(x))


def test_padding_by_name(isa: str) -> None:
    x = random((1, 3, 8, 9))
    for kernel, dilation in [((3, 3), 1), ((2, 4), 1), ((3, 2), (2, 3)), ((1, 1), 1)]:
        weight = random((4, 3, *kernel))
        same = ops.conv2d(x, weight, padding="same", dilation=dilation)
        assert same.shape == (1, 4, 8, 9)
        dh, dw = (dilation, dilation) if isinstance(dilation, int) else dilation
        total_h, total_w = dh * (kernel[0] - 1), dw * (kernel[1] - 1)
        sides = (total_h // 2, total_h - total_h // 2), (total_w // 2, total_w - total_w // 2)
        padded = np.pad(x, ((0, 0), (0, 0), *sides))
        np.testing.assert_allclose(
            same, ops.conv2d(padded, weight, padding="valid", dilation=dilation), atol=30 * EPS
        )
        np.testing.assert_array_equal(
            ops.conv2d(x, weight, padding="valid"), ops.conv2d(x, weight, padding=0)
        )
    with pytest.raises(ValueError, match=r"\[conv2d\] expected stride 1 with padding='same'"):
        ops.conv2d(x, weight, stride=2, padding="same")
    with pytest.raises(ValueError, match="'valid' or 'same', got 'full'"):
        ops.conv2d(x, weight, padding="full")  # type: ignore[arg-type]


def test_arrays_of_any_strides(isa: str) -> None:
    base, weight, bias = random((4, 12, 8, 10)), random((6, 6, 3, 3)), random((6,))
    for x in (base[:, ::2], base[:, :6, ::-1], base[::-1, 6:, :, ::3], base.transpose(0, 2, 1, 3)[:, :6]):
        dense = ops.conv2d(np.ascontiguousarray(x), weight, bias)
        np.testing.assert_array_equal(ops.conv2d(x, weight, bias), dense)
    x = base[:, :6]
    expected = ops.conv2d(x, weight, bias)
    backwards = weight[::-1].copy()[::-1]
    every_other = np.repeat(bias, 2)[::2]
    np.testing.assert_array_equal(ops.conv2d(x, backwards, every_other), expected)
    np.testing.assert_array_equal(ops.conv2d(x.astype(">f4"), weight, bias), expected)
    repeated = np.broadcast_to(x[:1], x.shape)
    np.testing.assert_array_equal(ops.conv2d(repeated, weight, bias)[3], expected[0])
    for array in (x, weight, bias):
        array.flags.writeable = False
    before = x.copy(), weight.copy(), bias.copy()
    wide = np.repeat(expected, 2, axis=3)
    np.testing.assert_array_equal(
        ops.conv2d(x, weight, bias, residual=wide[..., ::2]), ops.conv2d(x, weight, bias, residual=expected)
    )
    for now, then in zip((x, weight, bias), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_empty_batch() -> None:
    y = ops.conv2d(np.zeros((0, 3, 8, 8), np.float32), random((5, 3, 3, 3)), stride=2)
    assert y.shape == (0, 5, 3, 3) and y.dtype == np.float32
    nhwc = ops.depthwise_conv2d(np.zeros((0, 8, 8, 5), np.float32), random((5, 1, 3, 3)), layout="NHWC")
    assert nhwc.shape == (0, 6, 6, 5)


@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_depthwise_conv2d(isa: str, multiplier: int, layout: str) -> None:
    for channels in (1, 2, 9, 33):
        case = Case(
            height=7, width=9, in_channels=channels, out_channels=channels * multiplier, groups=channels,
            padding=(1, 2, 1, 2), stride=(2, 1), dilation=(1, 2), activation="relu6",
        )  # fmt: skip
        x, weight, bias, _ = case.data()
        given = x if layout == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        y = ops.depthwise_conv2d(
            given, weight, bias, (2, 1), (1, 2), (1, 2), activation="relu6", layout=layout
        )
        y = y if layout == "NHWC" else y.transpose(0, 2, 3, 1)
        assert_within(y, *case.expected(x, weight, bias, None))


def test_activation_argument() -> None:
    x, weight = random((1, 3, 4, 4)), random((5, 3, 1, 1))
    y = ops.conv2d(x, weight)
    for spec, slope in [("leaky_relu", 0.01), (("leaky_relu", 0.3), 0.3), (("leaky_relu", 2), 2.0)]:
        leaky = ops.conv2d(x, weight, activation=spec)  # type: ignore[arg-type]
        np.testing.assert_array_equal(leaky, np.where(y < 0, y * np.float32(slope), y))
    with pytest.raises(ValueError, match=r"\[conv2d\] expected activation to be one of .*gelu, got 'swish'"):
        ops.conv2d(x, weight, activation="swish")
    for bad in (("relu", 1.0), ("leaky_relu",), 3):
        with pytest.raises(TypeError, match="activation"):
            ops.conv2d(x, weight, activation=bad)  # type: ignore[arg-type]


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"input": np.zeros((3, 8, 8), np.float32)},
        ValueError,
        r"expected input with 4 dimensions.*\(3, 8, 8\)",
    ),
    ({"input": np.zeros((1, 4, 8, 8), np.float32)}, ValueError, "expected input with 3 channels, got 4"),
    ({"input": np.zeros((1, 3, 2, 8), np.float32)}, ValueError, "no smaller than the kernel"),
    ({"input": np.zeros((1, 3, 0, 8), np.float32)}, ValueError, "expected a non-empty image"),
    ({"input": np.zeros((1, 3, 8, 8))}, TypeError, "expected weight of dtype float64, got float32"),
    ({"input": [[1.0]]}, TypeError, "expected input to be an array, got list"),
    ({"weight": np.zeros((5, 3, 3), np.float32)}, ValueError, "expected weight with 4 dimensions"),
    ({"weight": np.zeros((5, 3, 0, 3), np.float32)}, ValueError, "expected a kernel of at least 1x1"),
    ({"weight": np.zeros((0, 3, 3, 3), np.float32)}, ValueError, "expected at least one channel"),
    (
        {"weight": np.zeros((5, 3, 3, 3), np.float16)},
        TypeError,
        "expected weight of dtype float32, got float16",
    ),
    ({"bias": np.zeros(4, np.float32)}, ValueError, r"expected bias of shape \(5,\), got \(4,\)"),
    ({"bias": np.zeros((5, 1), np.float32)}, ValueError, "expected bias with 1 dimensions"),
    ({"stride": 0}, ValueError, "expected stride > 0"),
    ({"stride": (1, 2, 3)}, ValueError, "stride"),
    ({"stride": 1.5}, TypeError, "stride"),
    ({"padding": -1}, ValueError, "expected padding >= 0"),
    ({"padding": 2**40}, ValueError, "below 2\\^31"),
    ({"dilation": 0}, ValueError, "expected dilation > 0"),
    ({"groups": 0}, ValueError, "expected groups > 0"),
    ({"groups": 2}, ValueError, "expected channels divisible by groups=2"),
    ({"residual": np.zeros((1, 5, 5, 6), np.float32)}, ValueError, "expected residual of shape"),
    ({"residual": np.zeros((5, 6, 6), np.float32)}, ValueError, "expected residual with 4 dimensions"),
    ({"layout": "CHWN"}, ValueError, "expected layout to be 'NCHW' or 'NHWC'"),
    ({"precision": "f16"}, ValueError, "expected precision to be 'f32'"),
    ({"padding": 2**31 - 1}, ValueError, "fits in memory"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"input": random((1, 3, 8, 8)), "weight": random((5, 3, 3, 3)), **change}
    with pytest.raises(error, match=r"^\[conv2d\] .*" + message):
        ops.conv2d(**arguments)


def test_groups_that_fit_a_vector_are_not_multiplied_one_by_one(isa: str) -> None:
    lanes = {"scalar": 1, "avx2": 8, "avx512": 16}[isa]
    for group_in, group_out in ((2, 1), (4, 4), (8, 8), (5, 16), (8, 17), (64, 64)):
        for stride, vectors in ((1, 2), (2, 1)):
            weight = np.zeros((9 * group_out, group_in, 3, 3), np.float32)
            conv = _core.Conv2d(weight, stride=(stride, stride), groups=9)
            assert conv.algorithm == ("grouped" if group_out <= vectors * lanes else "direct")


def onnx_result(case: Case, *operands: np.ndarray | None) -> np.ndarray:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    x, weight, bias, _ = operands
    assert x is not None
    inputs = {"x": x.transpose(0, 3, 1, 2), "w": weight} | ({} if bias is None else {"b": bias})
    inputs = {name: np.ascontiguousarray(value, np.float64) for name, value in inputs.items()}
    node = onnx.helper.make_node(
        "Conv", list(inputs), ["y"], kernel_shape=case.kernel, strides=case.stride, pads=case.padding,
        dilations=case.dilation, group=case.groups,
    )  # fmt: skip
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None) for name in (*inputs, "y")
    ]
    graph = onnx.helper.make_graph([node], "conv", infos[:-1], infos[-1:])
    y: np.ndarray = ReferenceEvaluator(onnx.helper.make_model(graph)).run(None, inputs)[0]
    return y.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("seed", range(1000, 1025))
def test_against_onnx(isa: str, seed: int) -> None:
    case = replace(draw_case(seed), activation="none", residual=False)
    operands = case.data()
    _, tolerance = case.expected(*operands)
    y = case.make(*operands[1:3]).run(operands[0])
    assert_within(y, onnx_result(case, *operands), tolerance)


@pytest.mark.parametrize("seed", range(2000, 2040))
def test_against_torch(isa: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    case = draw_case(seed) if seed % 2 else draw_grouped(seed)
    pad = tuple(int(p) for p in rng.integers(0, 4, 2))
    case = replace(case, padding=(*pad, *pad), slope=0.01)
    if min(case.out_size) <= 0:
        case = replace(case, padding=(9, 9, 9, 9))
    operands = case.data()
    _, tolerance = case.expected(*operands)
    x, weight, bias, residual = (None if a is None else torch.from_numpy(a) for a in operands)

    def nchw(a: Any) -> Any:
        return None if a is None else a.permute(0, 3, 1, 2)

    def double(a: Any) -> Any:
        return None if a is None else a.double()

    parameters = case.stride, case.padding[:2], case.dilation, case.groups
    y = ops.conv2d(
        nchw(x), weight, bias, *parameters, activation=None if case.activation == "none" else case.activation,
        residual=nchw(residual),
    )  # fmt: skip
    assert isinstance(y, torch.Tensor) and y.dtype == torch.float32
    expected = torch.nn.functional.conv2d(double(nchw(x)), double(weight), double(bias), *parameters)
    if residual is not None:
        expected = expected + nchw(residual)
    if case.activation != "none":
        expected = getattr(torch.nn.functional, case.activation)(expected)
    to_nhwc = (0, 2, 3, 1)
    assert_within(y.numpy().transpose(to_nhwc), expected.numpy().transpose(to_nhwc), tolerance)
