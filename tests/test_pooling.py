# SPDX-License-Identifier: Apache-2.0
"""max_pool2d, avg_pool2d and adaptive_avg_pool2d against float64, torch and ONNX."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from pyvision import _core, ops
from tests.helpers import EPS, canvas, check_canvas, check_threads_agree, random
from tests.reference import pooling as reference

# The block walk's cases: less than a vector, vectors with and without a tail, more than one block of four.
CHANNELS = [1, 3, 8, 15, 16, 17, 24, 31, 33, 64, 65, 72, 96, 130]
# kernel, stride, padding, dilation, ceil_mode
WINDOWS = [
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), False),
    ((3, 3), (2, 2), (0, 0), (1, 1), True),
    ((3, 2), (1, 3), (1, 0), (2, 1), True),
    ((5, 5), (1, 1), (2, 2), (1, 1), False),
    ((2, 2), (1, 1), (1, 1), (2, 3), False),
    ((1, 7), (4, 1), (0, 3), (1, 1), True),
]
SIZES = [(1, 1), (1, 9), (5, 4), (7, 23)]


def fits(size: tuple[int, int], window: Any) -> bool:
    kernel, _, padding, dilation, _ = window
    return all(
        n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in zip(size, kernel, padding, dilation, strict=True)
    )


CASES = [(size, window) for size, window in itertools.product(SIZES, WINDOWS) if fits(size, window)]


@pytest.mark.parametrize(("size", "window"), CASES, ids=str)
def test_max_is_exact(isa: str, size: tuple[int, int], window: Any) -> None:
    for channels in CHANNELS:
        x = np.round(random((2, channels, *size), 2.0))  # with ties
        expected, indices = reference.max_pool2d(x, *window)
        np.testing.assert_array_equal(ops.max_pool2d(x, *window), expected)
        y, i = ops.max_pool2d(x, *window, return_indices=True)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(i, indices)


@pytest.mark.parametrize(("size", "window"), [c for c in CASES if c[1][3] == (1, 1)], ids=str)
def test_average(isa: str, size: tuple[int, int], window: Any) -> None:
    kernel, stride, padding, _, ceil_mode = window
    taps = kernel[0] * kernel[1]
    for channels, (include, divisor) in zip(
        CHANNELS, itertools.cycle([(True, None), (False, None), (True, 3), (False, -2)])
    ):
        x = random((2, channels, *size))
        args = (kernel, stride, padding, ceil_mode, include, divisor)
        expected = reference.avg_pool2d(x, *args)
        bound = (taps + 1) * EPS * np.maximum(1, reference.avg_pool2d(np.abs(x), *args[:5], 1))
        assert (np.abs(ops.avg_pool2d(x, *args) - expected) <= bound).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (5, 64), (33, 18), (128, 128)], ids=str)
@pytest.mark.parametrize("out", [(1, 1), (2, 3), (7, 7), (1, 20)], ids=str)
def test_adaptive_average(isa: str, size: tuple[int, int], out: tuple[int, int]) -> None:
    for channels in CHANNELS if size[0] < 128 else [16, 5]:
        x = random((2, channels, *size)) + 1
        y = ops.adaptive_avg_pool2d(x, out)
        assert y.shape == (2, channels, *out)
        bound = size[0] * size[1] * EPS * reference.adaptive_avg_pool2d(np.abs(x), out)
        assert (np.abs(y - reference.adaptive_avg_pool2d(x, out)) <= bound).all()


@pytest.mark.parametrize(("size", "window"), CASES, ids=str)
def test_float64(size: tuple[int, int], window: Any) -> None:
    kernel, stride, padding, dilation, ceil_mode = window
    x = np.round(random((2, 5, *size), 2.0)).astype(np.float64)
    for given in (x, np.where(random(x.shape, seed=1) > 1.5, np.nan, x)):
        y, i = ops.max_pool2d(given, *window, return_indices=True)
        narrow, same = ops.max_pool2d(given.astype(np.float32), *window, return_indices=True)
        assert y.dtype == np.float64
        np.testing.assert_array_equal(y, narrow)
        np.testing.assert_array_equal(i, same)
    if dilation == (1, 1):
        x = random((2, 5, *size)).astype(np.float64)
        y = ops.avg_pool2d(x, kernel, stride, padding, ceil_mode)
        expected = reference.avg_pool2d(x, kernel, stride, padding, ceil_mode, True, None)
        np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(
            ops.adaptive_avg_pool2d(x, (2, 3)),
            reference.adaptive_avg_pool2d(x, (2, 3)),
            rtol=1e-14,
            atol=1e-15,
        )


def test_adaptive_average_keeps_extents_that_are_none() -> None:
    x = random((1, 2, 6, 8))
    np.testing.assert_array_equal(ops.adaptive_avg_pool2d(x, None), x)
    assert ops.adaptive_avg_pool2d(x, (None, 3)).shape == (1, 2, 6, 3)
    assert ops.adaptive_avg_pool2d(x, 2).shape == (1, 2, 2, 2)


def test_nan_and_infinity(isa: str) -> None:
    x = np.zeros((1, 17, 4, 4), np.float32)
    x[0, :, 1, 1] = np.nan
    x[0, :, 0, 0] = np.inf
    x[0, 3, 0, 1] = np.nan  # an earlier NaN: the last one's index counts
    x[0, :, 2:, 2:] = -np.inf
    y, i = ops.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(y, ops.max_pool2d(x, 2))
    assert np.isnan(y[0, :, 0, 0]).all() and (i[0, :, 0, 0] == 5).all()
    assert (y[0, :, 1, 1] == -np.inf).all() and (i[0, :, 1, 1] == 10).all()


def test_a_window_that_misses_the_image() -> None:
    y, i = ops.max_pool2d(np.ones((1, 1, 1, 1), np.float32), 2, 1, 1, 2, return_indices=True)
    assert y.item() == -np.inf and i.item() == -1


@pytest.mark.parametrize("kind", ["max", "average", "adaptive", "global"])
def test_layouts_views_and_canaries(isa: str, kind: str) -> None:
    def pool(x: np.ndarray, **options: Any) -> np.ndarray:
        if kind == "max":
            return ops.max_pool2d(x, 3, 2, 1, **options)
        if kind == "average":
            return ops.avg_pool2d(x, 3, 2, 1, **options)
        return ops.adaptive_avg_pool2d(x, 1 if kind == "global" else (4, 3), **options)

    rtol = 20 * EPS if kind == "global" else 0.0  # dense rows are summed as one, in another order

    def same(y: np.ndarray, expected: np.ndarray) -> None:
        np.testing.assert_allclose(y, expected, rtol=rtol, atol=rtol)

    base = random((2, 9, 11, 37))
    for view in (
        base,
        base[:, ::2],
        base[..., 3:30],
        base[:, ::-1, ::-1],
        np.broadcast_to(base[:1], base.shape),
    ):
        x = view.view()
        x.flags.writeable = False
        expected = pool(np.ascontiguousarray(x), layout="NHWC")
        same(pool(x, layout="NHWC"), expected)
        nchw = x.transpose(0, 3, 1, 2)
        y = pool(nchw)
        same(y.transpose(0, 2, 3, 1), expected)
        same(pool(np.ascontiguousarray(nchw)), y)

        whole, out = canvas(expected.shape)
        if kind == "max":
            _core.max_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False, False, out=out)
        elif kind == "average":
            _core.avg_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1), False, True, None, out=out)
        else:
            _core.adaptive_avg_pool2d(x, expected.shape[1:3], out=out)
        check_canvas(whole, out, expected, rtol)


def test_asymmetric_padding() -> None:
    x = random((1, 5, 6, 3))
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=-np.inf)
    y = _core.max_pool2d(x, (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), False, False)
    np.testing.assert_array_equal(
        y, _core.max_pool2d(padded, (3, 3), (2, 2), (0, 0, 0, 0), (1, 1), False, False)
    )


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    x = random((2, 50, 70, 21))
    check_threads_agree(lambda: ops.max_pool2d(x, 3, 2, 1, layout="NHWC"))
    check_threads_agree(lambda: ops.avg_pool2d(x, 3, 2, 1, layout="NHWC"))
    check_threads_agree(lambda: ops.adaptive_avg_pool2d(x, 7, layout="NHWC"))
    check_threads_agree(lambda: ops.adaptive_avg_pool2d(x, 1, layout="NHWC"))


@pytest.mark.parametrize(("size", "window"), CASES, ids=str)
def test_against_torch(size: tuple[int, int], window: Any) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = torch.from_numpy(random((2, 5, *size)))
    for t in (x, x.to(memory_format=torch.channels_last)):
        expected, indices = functional.max_pool2d(t, *window, return_indices=True)
        y, i = ops.max_pool2d(t, *window, return_indices=True)
        assert torch.equal(y, expected)
        assert y.is_contiguous(memory_format=torch.channels_last) or t is x
        missed = i == -1
        assert torch.equal(torch.where(missed, indices, i), indices)
        assert (y[missed] == -torch.inf).all()
        if window[3] == (1, 1):
            args = (*window[:3], window[4], False)
            torch.testing.assert_close(ops.avg_pool2d(t, *args), functional.avg_pool2d(t, *args))
        torch.testing.assert_close(
            ops.adaptive_avg_pool2d(t, (3, 2)), functional.adaptive_avg_pool2d(t, (3, 2))
        )


def test_against_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    x = random((1, 3, 9, 10))
    for kind, ours in (("MaxPool", ops.max_pool2d), ("AveragePool", ops.avg_pool2d)):
        node = onnx.helper.make_node(
            kind, ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 1, 1, 1], ceil_mode=0,
            **({"count_include_pad": 1} if kind == "AveragePool" else {}),
        )  # fmt: skip
        (expected,) = ReferenceEvaluator(node).run(None, {"x": x})
        np.testing.assert_allclose(ours(x, (3, 2), (2, 1), 1), expected, rtol=10 * EPS, atol=EPS)


def test_empty_batch() -> None:
    x = np.zeros((0, 3, 8, 8), np.float32)
    y, i = ops.max_pool2d(x, 2, return_indices=True)
    assert y.shape == i.shape == ops.avg_pool2d(x, 2).shape == (0, 3, 4, 4)
    assert ops.adaptive_avg_pool2d(x, 1).shape == (0, 3, 1, 1)


X = np.zeros((1, 2, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"kernel_size": 0}, "kernel_size in"),
        ({"kernel_size": -1}, "kernel_size in"),
        ({"kernel_size": 2**40}, "kernel_size in"),
        ({"kernel_size": 5}, "no larger than the padded image"),
        ({"kernel_size": (1, 2, 3)}, "kernel_size to be an integer or two"),
        ({"kernel_size": 2, "stride": 0}, "stride in"),
        ({"kernel_size": 2, "stride": (1, -1)}, "stride in"),
        ({"kernel_size": 3, "padding": -1}, "padding in"),
        ({"kernel_size": 3, "padding": 2}, "at most half the kernel"),
        ({"kernel_size": 3, "layout": "nchw"}, "layout"),
    ],
    ids=str,
)
@pytest.mark.parametrize("op", [ops.max_pool2d, ops.avg_pool2d])
def test_values_out_of_range(op: Any, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^\[{op.__name__}\] expected .*{message}"):
        op(X, **kwargs)


def test_refusals() -> None:
    for size in (0, -1, (2, 0), (1, 1, 1), ()):
        with pytest.raises(ValueError, match=r"\[adaptive_avg_pool2d\] expected output_size"):
            ops.adaptive_avg_pool2d(X, size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fits in memory"):
        ops.adaptive_avg_pool2d(X, 2**40)
    with pytest.raises(ValueError, match="dilation"):
        ops.max_pool2d(X, 2, dilation=0)
    with pytest.raises(ValueError, match="divisor_override"):
        ops.avg_pool2d(X, 2, divisor_override=0)
    for op in (ops.max_pool2d, ops.avg_pool2d, ops.adaptive_avg_pool2d):
        for shape in [(4, 4), (1, 1, 1, 4, 4), (1, 0, 4, 4), (1, 2, 0, 4)]:
            with pytest.raises(ValueError, match="expected input"):
                op(np.zeros(shape, np.float32), 2)
        with pytest.raises(TypeError, match="float32"):
            op(X.astype(np.int16), 2)
        with pytest.raises(TypeError, match="integer"):
            op(X, 2.0)
    with pytest.raises(TypeError, match="ceil_mode to be a bool"):
        ops.max_pool2d(X, 2, ceil_mode=1)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="expected out of shape"):
        _core.adaptive_avg_pool2d(X, (1, 1), out=np.zeros((1, 1, 1, 3), np.float32))
