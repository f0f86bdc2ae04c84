# SPDX-License-Identifier: Apache-2.0
"""add, mul and the activations against float64, torch and ONNX; concat and split exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import _core, ops
from tests.helpers import EPS, canvas, check_canvas, check_threads_agree, random
from tests.reference.elementwise import ACTIVATIONS, activate

CHANNELS = [1, 3, 7, 8, 9, 15, 16, 17, 24, 33, 72]
OPS = {"add": (ops.add, np.add), "mul": (ops.mul, np.multiply)}


def call(name: str, x: Any) -> Any:
    return getattr(ops, name)(x)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "none"])
def test_activations(isa: str, name: str) -> None:
    for length in (1, 7, 8, 9, 16, 17, 4001):
        x = np.linspace(-12, 12, length, dtype=np.float32)
        # An ulp or two of the value, and what cancels in 1 - small: erf is good to 2e-7, times |x|.
        tolerance = 4e-7 * np.maximum(1, np.abs(x))
        assert (np.abs(call(name, x) - activate(name, x)) <= tolerance).all()
    assert np.isnan(call(name, np.full(17, np.nan, np.float32))).all()


def test_leaky_relu_slope() -> None:
    np.testing.assert_array_equal(ops.leaky_relu(np.array([-2, 3], np.float32), 0.25), [-0.5, 3])
    for slope in (None, "0.1", True):
        with pytest.raises(TypeError, match=r"\[leaky_relu\] expected negative_slope"):
            ops.leaky_relu(np.zeros(2, np.float32), slope)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4, 5), (2, 3, 4, 5), (1, 2, 1, 2, 3, 2)], ids=str)
def test_any_rank(shape: tuple[int, ...]) -> None:
    x, y = random(shape), random(shape, seed=1)
    np.testing.assert_array_equal(ops.relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(ops.relu(x.T), np.maximum(x.T, 0))
    np.testing.assert_array_equal(ops.add(x, y), x + y)
    np.testing.assert_array_equal(ops.mul(x.T, y.T), x.T * y.T)
    np.testing.assert_array_equal(ops.add(x, 2), x + 2)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_broadcasting(isa: str, name: str, layout: str) -> None:
    ours, theirs = OPS[name]
    for c in CHANNELS:
        x = random((2, c, 5, 3))
        operands = [
            random(s, seed=1) for s in ((2, c, 5, 3), (2, c, 1, 1), (1, c, 1, 1), (1, c, 5, 3), (2, c, 1, 3))
        ]
        for b in operands:
            expected = theirs(x, b)
            if layout == "NHWC":
                y = ours(x.transpose(0, 2, 3, 1), b.transpose(0, 2, 3, 1), layout=layout).transpose(
                    0, 3, 1, 2
                )
            else:
                y = ours(x, b)
                channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                np.testing.assert_array_equal(ours(channels_last, b), expected)
                np.testing.assert_array_equal(ours(channels_last, 1.5), theirs(x, np.float32(1.5)))
            np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(ops.mul(x, operands[2].ravel()), x * operands[2])
        np.testing.assert_array_equal(ours(x, np.float32(2)), theirs(x, np.float32(2)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_epilogue(isa: str, activation: str) -> None:
    x, gate, addend = random((2, 5, 7, 21), 3), random((2, 1, 1, 21), seed=1), random((2, 5, 7, 21), seed=2)
    name = None if activation == "none" else activation
    for y, exact in [
        (ops.add(x, gate, activation=name, layout="NHWC"), x + gate),
        (ops.mul(x, gate, activation=name, layout="NHWC"), x * gate),
        (_core.mul_add(x, gate, addend, activation), x.astype(np.float64) * gate + addend),
    ]:
        bound = 4e-7 * np.maximum(1, np.abs(exact)) + 2 * EPS * (np.abs(x * gate) + np.abs(addend))
        assert (np.abs(y - activate(activation, exact)) <= bound).all()


def test_views_in_place_and_canaries(isa: str) -> None:
    base, other = random((2, 9, 11, 37)), random((2, 9, 11, 37), seed=1)
    views = [
        np.s_[:],
        np.s_[:, ::2],
        np.s_[..., 3:30],
        np.s_[:, ::-1, ::-1],
        np.s_[:, :, :1],
        np.s_[:1, :, 2],
    ]
    for view in views[:-1]:
        a, b = base[view], other[view]
        a.flags.writeable = False
        for run, expected in [
            (lambda out: _core.add(a, b, out=out), a + b),  # noqa: B023
            (lambda out: _core.mul(a, b[:, :1, :1], out=out), a * b[:, :1, :1]),  # noqa: B023
            (lambda out: _core.activate(a, "relu", out=out), np.maximum(a, 0)),  # noqa: B023
            (lambda out: _core.mul_add(a, b[:1, :1, :1], b, "relu", out=out), None),  # noqa: B023
        ]:
            whole, out = canvas(a.shape)
            run(out)
            check_canvas(whole, out, run(None) if expected is None else expected)
        whole, out = canvas(a.shape)
        out[...] = a
        _core.add(out, b, out=out)
        check_canvas(whole, out, a + b)


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    x, gate = random((3, 40, 41, 23)), random((3, 1, 1, 23), seed=1)
    check_threads_agree(lambda: ops.gelu(x))
    check_threads_agree(lambda: ops.add(x, x, activation="silu", layout="NHWC"))
    check_threads_agree(lambda: ops.mul(x, gate, activation="silu", layout="NHWC"))
    check_threads_agree(lambda: ops.concat([x, x], dim=3))


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "none"])
def test_against_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(random((2, 5, 6, 7), 4))
    functional = torch.nn.functional
    theirs = getattr(functional, name, None) or getattr(torch, name)
    for t in (x, x.contiguous(memory_format=torch.channels_last), x.permute(3, 1, 0, 2)):
        torch.testing.assert_close(call(name, t), theirs(t), rtol=2e-6, atol=2e-6)
    gate = torch.from_numpy(random((2, 5, 1, 1), seed=1))
    assert torch.equal(ops.mul(x, gate), x * gate)


def test_against_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    x = random((3, 17), 4)
    for operator, name in [
        ("Sigmoid", "sigmoid"),
        ("Tanh", "tanh"),
        ("HardSwish", "hardswish"),
    ]:
        model = onnx.helper.make_node(operator, ["x"], ["y"])
        (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
        np.testing.assert_allclose(call(name, x), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    "shape", [(7,), (5, 6), (2, 17, 3), (2, 24, 4, 5), (3, 1, 1, 40), (2, 0, 3)], ids=str
)
def test_concat_and_split(isa: str, shape: tuple[int, ...]) -> None:
    for dim in range(-len(shape), len(shape)):
        parts = []
        for i, extent in enumerate((shape[dim], 1, 0, 16)):
            other = list(shape)
            other[dim] = extent
            parts.append(random(tuple(other), seed=i))
        joined = ops.concat(parts, dim)
        np.testing.assert_array_equal(joined, np.concatenate(parts, dim))
        back = ops.split(joined, [p.shape[dim] for p in parts], dim)
        for part, expected in zip(back, parts, strict=True):
            np.testing.assert_array_equal(part, expected)
        strided = random((2 * shape[0], *shape[1:]))[::2]
        np.testing.assert_array_equal(ops.concat((strided, strided), dim), np.concatenate([strided] * 2, dim))
        for part, expected in zip(ops.split(joined, 3, dim), _pieces(joined, 3, dim), strict=True):
            np.testing.assert_array_equal(part, expected)


def _pieces(x: np.ndarray, size: int, dim: int) -> list[np.ndarray]:
    return np.split(x, range(size, x.shape[dim], size), dim)


def test_concat_of_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(random((2, 3, 4)))
    assert torch.equal(ops.concat([x, x]), torch.cat([x, x], 1))
    assert all(
        torch.equal(a, b) for a, b in zip(ops.split(x, [1, 2]), torch.split(x, [1, 2], 1), strict=True)
    )


X = np.zeros((2, 3, 4, 5), np.float32)


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (2, 3), (4,), (2, 2, 1, 1), (3, 3, 1, 1), (2, 3, 4, 6), (), (1, 1, 4, 5)]
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    for op in (ops.add, ops.mul):
        with pytest.raises(ValueError, match=rf"^\[{op.__name__}\] expected b "):
            op(X, np.zeros(shape, np.float32))


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"\[add\] expected activation to be one of none, relu, .* got 'swish'"
    ):
        ops.add(X, X, activation="swish")
    with pytest.raises(TypeError, match="activation"):
        ops.add(X, X, activation=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layout"):
        ops.add(X, X, layout="CHW")
    for b in (None, "1", True, [1.0], X.astype(np.float64), 1j):
        with pytest.raises(TypeError, match=r"\[add\] expected b"):
            ops.add(X, b)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\[add\] expected b"):
        ops.add(X, 10**400)
    with pytest.raises(TypeError, match="float32, got int64"):
        ops.relu(np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="at least one array"):
        ops.concat([])
    with pytest.raises(TypeError, match="list or tuple"):
        ops.concat(X)
    with pytest.raises(ValueError, match="equal in all but dimension 1"):
        ops.concat([X, X[:1]])
    with pytest.raises(ValueError, match="equal in all but dimension 1"):
        ops.concat([X, X[0]])
    with pytest.raises(ValueError, match="dim in"):
        ops.concat([X], 4)
    for sizes in ([1, 1], [2, 2], [-1, 4], [2**62, 2**62]):
        with pytest.raises(ValueError, match=r"\[split\] expected sizes that sum to 3"):
            ops.split(X, sizes)
    for sizes in (0, -1):
        with pytest.raises(ValueError, match=r"\[split\] expected sizes of at least 1"):
            ops.split(X, sizes)
    with pytest.raises(TypeError, match="integer"):
        ops.split(X, 1.5)  # type: ignore[arg-type]
