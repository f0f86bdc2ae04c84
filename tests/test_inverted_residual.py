# SPDX-License-Identifier: Apache-2.0
"""inverted_residual against float64, against its parts to the bit, and against torch's three convolutions."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    channels: int = 17
    multiplier: int = 1
    out_channels: int = 7
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    bias: bool = True
    residual: bool = False
    activations: tuple[str, str, str] = ("relu6", "relu6", "none")
    layout: str = "NHWC"
    seed: int = 0

    @property
    def out_size(self) -> tuple[int, int]:
        size = (self.height, self.width)
        return reference.out_size(size, self.kernel, self.stride, self.padding, self.dilation)

    def data(self) -> tuple[np.ndarray, list[np.ndarray | None], np.ndarray | None]:
        """Input (NHWC), the three weights and the three biases, residual (NHWC)."""
        filtered = self.channels * self.multiplier
        shapes = [
            (self.channels, self.in_channels, 1, 1),
            (filtered, 1, *self.kernel),
            (self.out_channels, filtered, 1, 1),
        ]
        weights: list[np.ndarray | None] = [
            random(shape, seed=self.seed + i) for i, shape in enumerate(shapes)
        ]
        biases = [
            random(shape[:1], seed=self.seed + 3 + i) if self.bias else None for i, shape in enumerate(shapes)
        ]
        residual = random((self.batch, *self.out_size, self.out_channels), seed=self.seed + 6)
        x = random((self.batch, self.height, self.width, self.in_channels), seed=self.seed + 7)
        return x, weights + biases, residual if self.residual else None

    def run(self, x: np.ndarray, weights: list[np.ndarray | None], residual: np.ndarray | None) -> np.ndarray:
        def to_layout(array: np.ndarray | None) -> np.ndarray | None:
            if array is None or self.layout == "NHWC":
                return array
            return np.ascontiguousarray(array.transpose(0, 3, 1, 2))

        y = ops.inverted_residual(
            to_layout(x), *weights, self.stride, self.padding, self.dilation, layout=self.layout,
            expand_activation=self.activation(0), depthwise_activation=self.activation(1),
            activation=self.activation(2), residual=to_layout(residual),
        )  # fmt: skip
        return y.transpose(0, 2, 3, 1) if self.layout == "NCHW" else y

    def activation(self, stage: int) -> str | None:
        return None if self.activations[stage] == "none" else self.activations[stage]

    def parts(
        self, x: np.ndarray, weights: list[np.ndarray | None], residual: np.ndarray | None
    ) -> np.ndarray:
        """The same by conv2d, three times."""
        e, d, w, e_bias, d_bias, w_bias = weights
        y = ops.conv2d(x, e, e_bias, activation=self.activation(0), layout="NHWC")
        y = ops.conv2d(
            y, d, d_bias, self.stride, self.padding, self.dilation, self.channels,
            activation=self.activation(1), layout="NHWC",
        )  # fmt: skip
        return ops.conv2d(y, w, w_bias, activation=self.activation(2), residual=residual, layout="NHWC")

    def expected(
        self, x: np.ndarray, weights: list[Any], residual: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The result in float64, and the tolerance of each element: a stage passes the errors before it on,
        times its absolute weights, and adds its own roundings."""
        y, error = x.astype(float), np.zeros_like(x, float)
        options = {
            "stride": self.stride, "dilation": self.dilation, "padding": (*self.padding, *self.padding),
            "groups": self.channels,
        }  # fmt: skip
        for stage, (weight, bias) in enumerate(zip(weights[:3], weights[3:], strict=True)):
            geometry: dict[str, Any] = options if stage == 1 else {}
            passed, _ = reference.conv2d(error, np.abs(weight), None, **geometry)
            y, bound = reference.conv2d(y, weight, bias, **geometry)
            if stage == 2 and residual is not None:
                y, bound = y + residual, bound + np.abs(residual)
            terms = weight[0].size + 2
            error = passed + EPS * terms * (bound + passed)
            y, error = reference.activate(y, error, self.activations[stage])
        return y, error


def check(case: Case) -> None:
    """Run with every operand beside unmapped memory, and compare."""
    x, weights, residual = case.data()
    y = None
    for before in (False, True):

        def edge(array: np.ndarray | None, before: bool = before) -> np.ndarray | None:
            return None if array is None else guarded(array, before=before)

        y = case.run(edge(x), [edge(weight) for weight in weights], edge(residual))
        assert_within(y, *case.expected(x, weights, residual))
    np.testing.assert_array_equal(y, case.parts(x, weights, residual))


def draw(seed: int) -> Case:
    rng = np.random.default_rng(seed)

    def pick(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    while True:
        case = Case(
            batch=pick(1, 2),
            height=pick(1, 2, 5, 7, 9, 12),
            width=pick(1, 3, 6, 7, 8, 13, 15, 29),
            in_channels=pick(1, 3, 8, 16, 17),
            channels=pick(1, 4, 15, 16, 33, 48),
            multiplier=pick(1, 1, 1, 2),
            out_channels=pick(1, 5, 8, 16, 17, 33, 40),
            kernel=pick((3, 3), (3, 3), (5, 5), (7, 7), (1, 1), (2, 4)),
            stride=pick((1, 1), (2, 2), (1, 2), (3, 3)),
            padding=pick((0, 0), (1, 1), (2, 2), (3, 1), (4, 4)),
            dilation=pick((1, 1), (1, 1), (2, 2), (1, 3)),
            bias=pick(True, False),
            residual=pick(True, False),
            activations=tuple(str(name) for name in rng.choice(ACTIVATIONS, 3)),
            layout=pick("NHWC", "NCHW"),
            seed=seed,
        )
        if min(case.out_size) > 0:
            return case


@pytest.mark.parametrize("seed", range(60))
def test_random_shapes(isa: str, seed: int) -> None:
    check(draw(seed))


# Maps of several strips: at most 128 Ki expanded values, and of several parts of a row: at most 1 Mi for two.
STRIPS = {
    "stride 1": Case(height=40, width=30, in_channels=6, channels=192, residual=True),
    "stride 2": Case(height=41, width=30, in_channels=6, channels=192, stride=(2, 2)),
    "5x5": Case(height=32, width=30, channels=200, kernel=(5, 5), padding=(2, 2)),
    "rows between windows are skipped": Case(
        height=60, width=30, channels=192, kernel=(1, 1), stride=(3, 3), padding=(0, 0)
    ),
    "dilated": Case(height=33, width=30, channels=192, dilation=(4, 2), padding=(4, 2)),
    "strips that see padding only": Case(height=3, width=30, channels=640, padding=(20, 1), residual=True),
    "batch": Case(batch=3, height=20, width=28, channels=192, residual=True),
    "parts of a row": Case(height=7, width=70, channels=4000, in_channels=2, out_channels=3),
}


@pytest.mark.parametrize("name", STRIPS)
def test_strips(isa: str, name: str) -> None:
    case = STRIPS[name]
    operands = case.data()
    expected = case.parts(*operands)
    np.testing.assert_array_equal(case.run(*operands), expected)
    check_threads_agree(lambda: case.run(*operands))


def test_strips_against_float64() -> None:
    check(STRIPS["stride 2"])


@pytest.mark.parametrize("seed", range(20))
def test_torch(seed: int) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    case = draw(seed + 1000)
    x, weights, _ = case.data()
    e, d, w, e_bias, d_bias, w_bias = (None if a is None else torch.from_numpy(a) for a in weights)
    x = torch.from_numpy(x).permute(0, 3, 1, 2)
    middle = functional.relu6(functional.conv2d(x, e, e_bias))
    middle = functional.relu6(
        functional.conv2d(middle, d, d_bias, case.stride, case.padding, case.dilation, case.channels)
    )
    expected = functional.conv2d(middle, w, w_bias)
    y = ops.inverted_residual(
        x, e, d, w, e_bias, d_bias, w_bias, case.stride, case.padding, case.dilation,
        expand_activation="relu6", depthwise_activation="relu6",
    )  # fmt: skip
    assert isinstance(y, torch.Tensor)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-3)


def test_the_input_as_residual() -> None:
    case = Case(height=33, width=30, in_channels=7, channels=192, residual=True)
    x, weights, _ = case.data()
    np.testing.assert_array_equal(case.run(x, weights, x), case.parts(x, weights, x))


def test_empty_batch() -> None:
    case = Case(batch=0, residual=True)
    assert case.run(*case.data()).shape == (0, 6, 9, 7)


def test_float64() -> None:
    """Plain loops, which gradient checks need: the same as the parts."""
    case = Case(residual=True, activations=("none", "none", "none"), stride=(2, 1), bias=True)
    x, weights, residual = case.data()
    operands = x.astype(float), [None if w is None else w.astype(float) for w in weights]
    assert residual is not None
    y = case.run(*operands, residual.astype(float))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, case.expected(x, weights, residual)[0], rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="expected activation None with float64 arrays"):
        replace(case, activations=("relu", "none", "none")).run(*operands, None)
