# SPDX-License-Identifier: Apache-2.0
"""separable_conv2d against float64, and against torch's two convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, assert_within, check_threads_agree, random
from tests.reference import conv as reference
from tests.reference.conv import ACTIVATIONS


@dataclass(frozen=True)
class Case:
    batch: int = 1
    height: int = 6
    width: int = 9
    in_channels: int = 5
    multiplier: int = 1
    out_channels: int = 7
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    bias: bool = True
    depthwise_activation: str = "none"
    activation: str = "none"
    layout: str = "NHWC"
    seed: int = 0

    @property
    def channels(self) -> int:
        return self.in_channels * self.multiplier

    @property
    def possible(self) -> bool:
        size = (self.height, self.width)
        return min(reference.out_size(size, self.kernel, padding=self.padding, dilation=self.dilation)) > 0

    def data(self) -> tuple[np.ndarray | None, ...]:
        """Input (NHWC), depthwise weight, pointwise weight, depthwise bias, pointwise bias."""
        return (
            random((self.batch, self.height, self.width, self.in_channels), seed=self.seed),
            random((self.channels, 1, *self.kernel), seed=self.seed + 1),
            random((self.out_channels, self.channels, 1, 1), seed=self.seed + 2),
            random((self.channels,), seed=self.seed + 3) if self.bias else None,
            random((self.out_channels,), seed=self.seed + 4) if self.bias else None,
        )

    def run(self, x: np.ndarray, *weights: Any) -> np.ndarray:
        if self.layout == "NCHW":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        y = ops.separable_conv2d(
            x, *weights, self.stride, self.padding, self.dilation, layout=self.layout,
            depthwise_activation=None if self.depthwise_activation == "none" else self.depthwise_activation,
            activation=None if self.activation == "none" else self.activation,
        )  # fmt: skip
        return y.transpose(0, 2, 3, 1) if self.layout == "NCHW" else y

    def expected(self, *operands: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The result in float64, and the tolerance of each element: the pointwise sum passes the depthwise
        errors on, times the absolute weights, and adds its own roundings."""
        x, depthwise, pointwise, depthwise_bias, pointwise_bias = operands
        assert x is not None and depthwise is not None and pointwise is not None
        middle, bound = reference.conv2d(
            x, depthwise, depthwise_bias, stride=self.stride, dilation=self.dilation,
            padding=(*self.padding, *self.padding), groups=self.in_channels,
        )  # fmt: skip
        error = EPS * (self.kernel[0] * self.kernel[1] + 1) * bound
        middle, error = reference.activate(middle, error, self.depthwise_activation)
        mix = pointwise[:, :, 0, 0].T.astype(float)
        y, bound = middle @ mix, (np.abs(middle) + error) @ np.abs(mix)
        if pointwise_bias is not None:
            y, bound = y + pointwise_bias, bound + np.abs(pointwise_bias)
        error = error @ np.abs(mix) + EPS * (self.channels + 1) * bound
        return reference.activate(y, error, self.activation)


def check(case: Case) -> None:
    """Run with every operand beside unmapped memory, and compare."""
    operands = case.data()
    for before in (False, True):
        near_the_edge = (None if a is None else guarded(a, before=before) for a in operands)
        assert_within(case.run(*near_the_edge), *case.expected(*operands))


def draw(seed: int) -> Case:
    rng = np.random.default_rng(seed)

    def pick(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    while True:
        case = Case(
            batch=pick(1, 2),
            height=pick(1, 2, 5, 7, 9),
            width=pick(1, 3, 6, 7, 8, 13, 15, 29),
            in_channels=pick(1, 3, 4, 8, 15, 16, 17, 33),
            multiplier=pick(1, 1, 1, 2, 3),
            out_channels=pick(1, 5, 8, 16, 17, 33, 40),
            kernel=pick((3, 3), (3, 3), (5, 5), (7, 7), (1, 1), (2, 4)),
            stride=pick((1, 1), (2, 2), (1, 2), (3, 3)),
            padding=pick((0, 0), (1, 1), (2, 2), (3, 1)),
            dilation=pick((1, 1), (1, 1), (2, 2), (1, 3)),
            bias=pick(True, False),
            depthwise_activation=str(rng.choice(ACTIVATIONS)),
            activation=str(rng.choice(ACTIVATIONS)),
            layout=pick("NHWC", "NCHW"),
            seed=seed,
        )
        if case.possible:
            return case


@pytest.mark.parametrize("seed", range(100))
def test_random_shapes(isa: str, seed: int) -> None:
    check(draw(seed))


@pytest.mark.parametrize("channels", [287, 289, 600])
def test_sums_longer_than_a_block(isa: str, channels: int) -> None:
    """K blocks of 288; 600 x 300 weights are more than half of L2 holds."""
    check(Case(in_channels=channels, out_channels=300, depthwise_activation="relu", activation="silu"))


def test_threads_agree(isa: str) -> None:
    for case in (
        Case(height=30, width=31, in_channels=40, out_channels=70, depthwise_activation="relu6"),
        Case(height=2, width=3, in_channels=600, out_channels=300),
    ):
        operands = case.data()
        check_threads_agree(lambda: case.run(*operands))  # noqa: B023 (called here)


def test_is_its_two_parts(isa: str) -> None:
    case = Case(height=14, width=14, in_channels=48, out_channels=24, depthwise_activation="hardswish")
    x, depthwise, pointwise, depthwise_bias, pointwise_bias = case.data()
    middle = ops.depthwise_conv2d(x, depthwise, depthwise_bias, 1, 1, activation="hardswish", layout="NHWC")
    parts = ops.conv2d(middle, pointwise, pointwise_bias, layout="NHWC")
    np.testing.assert_array_equal(case.run(x, depthwise, pointwise, depthwise_bias, pointwise_bias), parts)


@pytest.mark.parametrize("seed", range(20))
def test_torch(seed: int) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    case = draw(seed + 1000)
    x, *weights = (None if a is None else torch.from_numpy(a) for a in case.data())
    depthwise, pointwise, depthwise_bias, pointwise_bias = weights
    x = x.permute(0, 3, 1, 2)
    middle = functional.conv2d(
        x, depthwise, depthwise_bias, case.stride, case.padding, case.dilation, case.in_channels
    )
    expected = functional.conv2d(functional.relu(middle), pointwise, pointwise_bias)
    y = ops.separable_conv2d(
        x, *weights, case.stride, case.padding, case.dilation, depthwise_activation="relu"
    )
    assert isinstance(y, torch.Tensor)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-3)


def test_padding_by_name() -> None:
    x, depthwise, pointwise = random((1, 5, 6, 3)), random((3, 1, 3, 3)), random((4, 3, 1, 1))
    same = ops.separable_conv2d(x, depthwise, pointwise, padding="same", layout="NHWC")
    np.testing.assert_array_equal(
        same, ops.separable_conv2d(x, depthwise, pointwise, padding=1, layout="NHWC")
    )
    assert ops.separable_conv2d(x, depthwise, pointwise, padding="valid", layout="NHWC").shape == (1, 3, 4, 4)


def test_empty_batch() -> None:
    x = np.zeros((0, 5, 6, 3), np.float32)
    y = ops.separable_conv2d(x, random((3, 1, 3, 3)), random((4, 3, 1, 1)), layout="NHWC")
    assert y.shape == (0, 3, 4, 4)
