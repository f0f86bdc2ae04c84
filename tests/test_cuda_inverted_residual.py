# SPDX-License-Identifier: Apache-2.0
"""inverted_residual on CUDA against its three convolutions; its gradients and separable_conv2d's against the
CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference import conv as reference
from tests.test_cuda_conv2d import DTYPES, STORED

WEIGHTS = {
    "expand_weight": (24, 8, 1, 1), "depthwise_weight": (24, 1, 3, 3), "project_weight": (8, 24, 1, 1),
    "expand_bias": (24,), "depthwise_bias": (24,), "project_bias": (8,),
}  # fmt: skip


def operands(
    cuda: Cuda, shapes: dict[str, tuple[int, ...]], dtype: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """On the device, and what the dtype holds of them as float32."""
    on = {name: cuda.array(random(shape, seed=i), dtype) for i, (name, shape) in enumerate(shapes.items())}
    return on, {name: cuda.numpy(array).astype(np.float32) for name, array in on.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2])
def test_against_float64(cuda: Cuda, dtype: str, stride: int) -> None:
    out = (6, 7) if stride == 1 else (3, 4)
    on, host = operands(cuda, {"input": (2, 6, 7, 8), "residual": (2, *out, 8), **WEIGHTS}, dtype)
    y = ops.inverted_residual(
        **on, stride=stride, padding=1, expand_activation="relu6", depthwise_activation="relu",
        activation="relu", layout="NHWC",
    )  # fmt: skip
    assert cuda.dtype(y) == dtype
    mid, bound = reference.conv2d(host["input"], host["expand_weight"], host["expand_bias"])
    mid, error = reference.activate(mid, EPS * 10 * bound, "relu6")
    error = error + STORED[dtype] * (np.abs(mid) + error)
    geometry: dict[str, Any] = {"stride": (stride,) * 2, "padding": (1,) * 4, "groups": 24}
    weight = host["depthwise_weight"]
    deep, bound = reference.conv2d(mid, weight, host["depthwise_bias"], **geometry)
    error = reference.conv2d(error, np.abs(weight), None, **geometry)[0]
    deep, error = reference.activate(deep, error + EPS * 11 * bound, "relu")
    error = error + STORED[dtype] * (np.abs(deep) + error)
    expected, bound = reference.conv2d(deep, host["project_weight"], host["project_bias"])
    error = reference.conv2d(error, np.abs(host["project_weight"]), None)[0] + EPS * 27 * bound
    expected, error = reference.activate(expected + host["residual"], error, "relu")
    assert_within(cuda.numpy(y), expected, error + STORED[dtype] * (np.abs(expected) + error) + 2.0**-25)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_as_on_the_cpu(cuda: Cuda, layout: str) -> None:
    """Channels that fill no pack, two depthwise filters each, no biases."""
    shapes = {
        "input": (1, 5, 6, 4) if layout == "NCHW" else (1, 6, 4, 5),
        "expand_weight": (7, 5, 1, 1), "depthwise_weight": (14, 1, 3, 2), "project_weight": (5, 14, 1, 1),
    }  # fmt: skip
    on, host = operands(cuda, shapes, "float32")
    options: Any = {"padding": (1, 0), "depthwise_activation": "hardswish", "layout": layout}
    expected = ops.inverted_residual(**host, **options)
    np.testing.assert_allclose(cuda.numpy(ops.inverted_residual(**on, **options)), expected, atol=1e-5)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients(cuda: Cuda, dtype: str, layout: str) -> None:
    parameters = {name: shape for name, shape in WEIGHTS.items() if name != "project_bias"}
    inverted = {"grad_output": (2, 3, 4, 8), "input": (2, 6, 7, 8), **parameters}
    separable = {
        "grad_output": (2, 3, 4, 6), "input": (2, 6, 7, 8), "depthwise_weight": (16, 1, 3, 3),
        "pointwise_weight": (6, 16, 1, 1), "depthwise_bias": (16,),
    }  # fmt: skip
    for op, given in (
        (ops.inverted_residual_backward, inverted),
        (ops.separable_conv2d_backward, separable),
    ):
        planes = {n: (s[0], s[3], s[1], s[2]) if "put" in n else s for n, s in given.items()}
        shapes = planes if layout == "NCHW" else given
        on, host = operands(cuda, shapes, dtype)
        options: Any = {"stride": 2, "padding": 1, "layout": layout}
        expected, got = op(**host, **options), op(**on, **options)
        for one, two in zip(got, expected, strict=True):
            assert cuda.dtype(one) == dtype
            scale = float(np.abs(two).max())
            assert_within(cuda.numpy(one), two, scale * (1e-5 if dtype == "float32" else 4e-3))
        mask = [i % 2 == 1 for i in range(len(expected))]
        for one, all_of_them in zip(op(**on, **options, output_mask=mask), got, strict=True):
            assert (one is None) or np.array_equal(cuda.numpy(one), cuda.numpy(all_of_them))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"expand_weight": (24, 9, 1, 1)}, ValueError, "expected input with 9 channels, got 8"),
        ({"expand_weight": (24, 8, 3, 3)}, ValueError, "expected expand_weight of shape"),
        ({"depthwise_weight": (25, 1, 3, 3)}, ValueError, "expected depthwise_weight of shape"),
        ({"project_weight": (8, 9, 1, 1)}, ValueError, "expected project_weight of shape"),
        ({"expand_bias": (23,)}, ValueError, "expected expand_bias of shape"),
        ({"depthwise_bias": (1,)}, ValueError, "expected depthwise_bias of shape"),
        ({"project_bias": (9,)}, ValueError, "expected project_bias of shape"),
        ({"residual": (1, 8, 5, 4)}, ValueError, "expected residual of shape"),
        ({"input": (8, 5, 5)}, ValueError, "expected input with 4 dimensions"),
        ({"stride": 0}, ValueError, "expected stride > 0"),
    ],
)
def test_bad_arguments(cuda: Cuda, changed: dict[str, Any], error: type, message: str) -> None:
    given = {"input": (1, 8, 5, 5), **WEIGHTS, "padding": 1, **changed}
    held = {k: cuda.array(np.zeros(v, np.float32)) if isinstance(v, tuple) else v for k, v in given.items()}
    with pytest.raises(error, match=rf"^\[inverted_residual\] {message}"):
        ops.inverted_residual(**held)


def test_bad_kinds(cuda: Cuda) -> None:
    on = {name: cuda.array(np.zeros(shape, np.float32)) for name, shape in WEIGHTS.items()}
    x = cuda.array(np.zeros((1, 8, 5, 5), np.float32))
    for name, shape in WEIGHTS.items():
        with pytest.raises(TypeError, match=rf"^\[inverted_residual\] expected {name} of dtype"):
            ops.inverted_residual(x, **on | {name: cuda.array(np.zeros(shape))})
        with pytest.raises(ValueError, match=r"^\[inverted_residual\] expected all arrays on one device"):
            ops.inverted_residual(x, **on | {name: np.zeros(shape, np.float32)})
    for name in ("expand_bias", "depthwise_bias"):
        bad = {n: v for n, v in on.items() if n != "project_bias"} | {name: cuda.array(random((3,)))}
        with pytest.raises(ValueError, match=rf"^\[inverted_residual_backward\] expected {name} of shape"):
            ops.inverted_residual_backward(x, x, **bad, padding=1)
