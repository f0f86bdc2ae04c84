# SPDX-License-Identifier: Apache-2.0
"""float16 and bfloat16 arrays: what float32 copies of them give, rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.helpers import random

X, W, G = random((2, 8, 9, 7)), random((6, 8, 3, 3), seed=1), random((2, 6, 7, 5), seed=2)
D, P = random((8, 1, 3, 3), seed=3), random((6, 8, 1, 1), seed=4)
PLACES = np.arange(2 * 8 * 9 * 7).reshape(X.shape) % 252
OFFSET, MASK = random((2, 18, 7, 5), seed=5), random((2, 9, 7, 5), seed=6)
GRID = random((2, 4, 5, 2), seed=7)
NHWC = random((2, 9, 7, 8), seed=8)
TAPS = {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 1, "groups": 2}
POINTS = random((2, 5, 2, 2, 3, 2), seed=9)
LEVELS = np.array([[4, 5], [2, 3]])
ATTENTION = (
    random((2, 26, 2, 4)),
    LEVELS,
    random((2, 5, 2, 2, 3, 2), seed=9),
    random((2, 5, 2, 2, 3), seed=10),
)
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "conv2d": ((X, W, random((6,))), {"activation": "relu", "residual": G}),
    "depthwise_conv2d": ((X, D), {}),
    "separable_conv2d": ((X, D, P), {}),
    "inverted_residual": ((X, random((5, 8, 1, 1)), D[:5], P[:, :5]), {}),
    "conv_transpose2d": ((X, random((8, 3, 2, 2))), {"stride": 2}),
    "conv2d_backward": ((G, X, W), {}),
    "depthwise_conv2d_backward": ((random((2, 8, 7, 5)), X, D), {}),
    "conv_transpose2d_backward": ((random((2, 3, 18, 14)), X, random((8, 3, 2, 2))), {"stride": 2}),
    "separable_conv2d_backward": ((G, X, D, P), {}),
    "inverted_residual_backward": ((G, X, random((5, 8, 1, 1)), D[:5], P[:, :5]), {}),
    "deform_conv2d": ((X, OFFSET, W), {"mask": MASK}),
    "deform_conv2d_backward": ((G, X, OFFSET, W), {"mask": MASK}),
    "deform_conv3": ((NHWC, random((2, 9, 7, 36)), random((2, 9, 7, 18))), TAPS),
    "deform_conv3_backward": ((NHWC, NHWC, random((2, 9, 7, 36)), random((2, 9, 7, 18))), TAPS),
    "deform_conv4": ((NHWC, random((2, 9, 7, 56))), TAPS),
    "deform_conv4_backward": ((NHWC, NHWC, random((2, 9, 7, 56))), TAPS),
    "multi_scale_deformable_attention": (ATTENTION, {}),
    "multi_scale_deformable_attention_backward": ((random((2, 5, 8)), *ATTENTION), {}),
    "grid_sample": ((X, GRID), {}),
    "grid_sample_backward": ((random((2, 8, 4, 5)), X, GRID), {}),
    "max_pool2d": ((X, 2), {"return_indices": True}),
    "avg_pool2d": ((X, 2), {}),
    "adaptive_avg_pool2d": ((X, (3, 2)), {}),
    "max_unpool2d": ((X, PLACES, 2), {}),
    "max_pool2d_backward": ((X, PLACES, (2, 8, 18, 14), 2), {}),
    "avg_pool2d_backward": ((X, (2, 8, 18, 14), 2), {}),
    "adaptive_avg_pool2d_backward": ((X, (2, 8, 18, 14)), {}),
    "max_unpool2d_backward": ((random((2, 8, 18, 14)), PLACES), {}),
    "interpolate": ((X, (4, 11)), {"mode": "bicubic"}),
    "interpolate_backward": ((random((2, 8, 4, 11)), X.shape, (4, 11)), {"mode": "bilinear"}),
}


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == np.float32


def is_half(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == np.float16


@pytest.mark.parametrize("op", CALLS)
def test_float16(op: str) -> None:
    args, kwargs = CALLS[op]
    halves = [x.astype(np.float16) if is_float(x) else x for x in args]
    options = {name: x.astype(np.float16) if is_float(x) else x for name, x in kwargs.items()}
    wide = [
        x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype == np.float16 else x for x in halves
    ]
    wide_options = {
        name: x.astype(np.float32) if isinstance(x, np.ndarray) else x for name, x in options.items()
    }
    got, expected = getattr(ops, op)(*halves, **options), getattr(ops, op)(*wide, **wide_options)
    if isinstance(got, np.ndarray):
        got, expected = (got,), (expected,)
    for y, exact in zip(got, expected, strict=True):
        if exact is None:
            assert y is None
            continue
        assert y.dtype == (np.float16 if exact.dtype == np.float32 else exact.dtype)
        np.testing.assert_array_equal(y, exact.astype(y.dtype))


@pytest.mark.parametrize("op", CALLS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_tensors(op: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    args, kwargs = CALLS[op]

    def tensor(x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        y = torch.from_numpy(x)
        return y.to(getattr(torch, dtype)) if is_float(x) else y

    def widened(x: Any) -> Any:
        return x.float() if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    halves, options = [tensor(x) for x in args], {name: tensor(x) for name, x in kwargs.items()}
    got = getattr(ops, op)(*halves, **options)
    expected = getattr(ops, op)(*map(widened, halves), **{name: widened(x) for name, x in options.items()})
    if isinstance(got, torch.Tensor):
        got, expected = (got,), (expected,)
    for y, exact in zip(got, expected, strict=True):
        assert (y is None) == (exact is None)
        if y is not None:
            assert torch.equal(y, exact.to(y.dtype))
            assert y.dtype == (halves[0].dtype if exact.is_floating_point() else exact.dtype)


def test_numbers_of_other_types_are_no_arrays() -> None:
    x = X.astype(np.float16)
    for factor in (np.float64(1.5), [np.float32(1.5), 1.5]):
        y = ops.interpolate(x, scale_factor=factor, mode="bilinear")  # type: ignore[arg-type]
        np.testing.assert_array_equal(y, ops.interpolate(x, scale_factor=1.5, mode="bilinear"))
    np.testing.assert_array_equal(ops.max_pool2d(input=x, kernel_size=2), ops.max_pool2d(x, 2))


@pytest.mark.parametrize("op", [op for op, (args, _) in CALLS.items() if sum(map(is_float, args)) > 1])
def test_mixtures_are_refused(op: str) -> None:
    args, kwargs = CALLS[op]
    floats = [i for i, x in enumerate(args) if is_float(x)]
    for chosen in floats:
        mixed = [x.astype(np.float16) if i == chosen else x for i, x in enumerate(args)]
        with pytest.raises(TypeError, match=rf"^\[{op}\] expected \w+ of dtype "):
            getattr(ops, op)(*mixed, **kwargs)
