# SPDX-License-Identifier: Apache-2.0
"""linear against float64, ONNX's reference evaluator and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, assert_within, check_threads_agree, random
from tests.reference import conv as reference
from tests.reference.conv import ACTIVATIONS

FEATURES = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65]


def within_bound(
    y: np.ndarray, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, *activation: Any
) -> None:
    expected, bound = reference.linear(x, weight, bias)
    assert_within(y, *reference.activate(expected, EPS * (x.shape[-1] + 1) * bound, *activation))


@pytest.mark.parametrize("out_features", FEATURES)
def test_features_and_rows(isa: str, out_features: int) -> None:
    for seed, in_features in enumerate([*FEATURES, 255, 257, 600]):
        rows = 1 + (seed * 5 + out_features) % 29
        x, weight = random((rows, in_features), seed=seed), random((out_features, in_features), seed=seed + 1)
        bias = random((out_features,)) if seed % 2 else None
        y = ops.linear(guarded(x), guarded(weight), None if bias is None else guarded(bias))
        within_bound(y, x, weight, bias)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(isa: str, activation: str) -> None:
    x, weight, bias = random((13, 9), 2.0), random((35, 9)), random((35,))
    spec = None if activation == "none" else activation
    within_bound(ops.linear(x, weight, bias, activation=spec), x, weight, bias, activation)


@pytest.mark.parametrize("shape", [(9,), (1, 9), (0, 9), (2, 3, 9), (2, 0, 9), (2, 1, 3, 1, 9)])
def test_any_rank_and_no_rows(shape: tuple[int, ...]) -> None:
    x, weight, bias = random(shape), random((4, 9)), random((4,))
    y = ops.linear(x, weight, bias)
    assert y.dtype == np.float32
    within_bound(y, x, weight, bias)


def test_arrays_of_any_strides() -> None:
    base, weight = random((12, 20)), random((7, 10))
    for x in (
        base[:, ::2],
        base[::-1, :10],
        base[:, 10:][:, ::-1],
        base[:10].T,
        np.broadcast_to(base[0, :10], (3, 10)),
    ):
        np.testing.assert_array_equal(ops.linear(x, weight), ops.linear(np.ascontiguousarray(x), weight))
    x = base[:, :10].copy()
    expected = ops.linear(x, weight)
    np.testing.assert_array_equal(ops.linear(x.astype(">f4"), weight.copy(order="F")), expected)
    x.flags.writeable = weight.flags.writeable = False
    np.testing.assert_array_equal(ops.linear(x, weight), expected)


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    for rows in (1, 150):
        x, weight = random((rows, 520)), random((521, 520))
        check_threads_agree(lambda x=x, weight=weight: ops.linear(x, weight))  # type: ignore[misc]


def test_a_row_that_is_not_finite_spoils_no_other(isa: str) -> None:
    x = random((20, 9))
    x[3, 4], x[17, 0] = np.nan, np.inf
    finite = np.isfinite(ops.linear(x, random((33, 9))))
    np.testing.assert_array_equal(finite, np.isfinite(x).all(axis=1, keepdims=True) & np.ones(33, bool))


def test_against_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    x, weight, bias = random((5, 37)), random((18, 37)), random((18,))
    inputs = {"x": x, "w": weight, "b": bias}
    inputs = {name: value.astype(np.float64) for name, value in inputs.items()}
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None) for name in (*inputs, "y")
    ]
    node = onnx.helper.make_node("Gemm", list(inputs), ["y"], transB=1)
    graph = onnx.helper.make_graph([node], "linear", infos[:-1], infos[-1:])
    expected = ReferenceEvaluator(onnx.helper.make_model(graph)).run(None, inputs)[0]
    _, bound = reference.linear(x, weight, bias)
    assert_within(ops.linear(x, weight, bias), expected, EPS * 38 * bound)


def test_against_torch() -> None:
    torch = pytest.importorskip("torch")
    x, weight, bias = (torch.from_numpy(random(shape)) for shape in ((2, 5, 37), (18, 37), (18,)))
    y = ops.linear(x, weight, bias, activation="gelu")
    assert isinstance(y, torch.Tensor)
    expected = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
    _, bound = reference.linear(x.numpy(), weight.numpy(), bias.numpy())
    _, tolerance = reference.activate(expected.numpy(), EPS * 38 * bound, "gelu")
    assert_within(y.numpy(), torch.nn.functional.gelu(expected).numpy(), tolerance)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"input": np.zeros((2, 4), np.float32)},
        ValueError,
        r"expected input of shape \(\.\.\., 3\), got \(2, 4\)",
    ),
    ({"input": np.zeros((), np.float32)}, ValueError, "expected input of shape"),
    ({"input": np.zeros((2, 3))}, TypeError, "expected input of dtype float32, got float64"),
    ({"weight": np.zeros((3,), np.float32)}, ValueError, "expected weight of shape"),
    ({"weight": np.zeros((5, 0), np.float32)}, ValueError, "expected weight of shape"),
    ({"weight": np.zeros((5, 3), np.int32)}, TypeError, "expected weight of dtype float32, got int32"),
    ({"bias": np.zeros((5, 1), np.float32)}, ValueError, r"expected bias of shape \(5,\), got \(5, 1\)"),
    ({"bias": 1.0}, TypeError, "expected bias to be an array, got float"),
    ({"activation": ("leaky_relu", "0.1")}, TypeError, "expected activation"),
    ({"activation": "swish"}, ValueError, "expected activation to be one of"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"input": random((2, 3)), "weight": random((5, 3)), **change}
    with pytest.raises(error, match=r"^\[(linear|conv2d)\] " + message):
        ops.linear(**arguments)
