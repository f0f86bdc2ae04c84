# SPDX-License-Identifier: Apache-2.0
"""Gradients of the convolutions and conv_transpose2d on CUDA against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.reference import conv as reference
from tests.test_cuda_conv2d import DTYPES, STORED

Pair = tuple[int, int]


def held(cuda: Cuda, dtype: str, shape: tuple[int, ...], seed: int) -> tuple[Any, np.ndarray]:
    """An array on the device, and its values."""
    array = cuda.array(random(shape, seed=seed), dtype)
    return array, cuda.numpy(array).astype(np.float32)


def assert_close(cuda: Cuda, actual: Any, expected: np.ndarray, error: np.ndarray, dtype: str) -> None:
    assert cuda.dtype(actual) == dtype
    tolerance = error + STORED[dtype] * (np.abs(expected) + error) + 2.0**-25
    assert_within(cuda.numpy(actual).astype(np.float32), expected, tolerance)


def check(
    cuda: Cuda,
    dtype: str,
    size: tuple[int, int, int],
    channels: Pair,
    kernel: Pair,
    *,
    depthwise: bool = False,
    groups: int = 1,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> list[np.ndarray]:
    """All three gradients of a convolution of maps in NHWC."""
    groups = channels[0] if depthwise else groups
    n, h, w = size
    x_on, x = held(cuda, dtype, (n, h, w, channels[0]), 0)
    weight_on, weight = held(cuda, dtype, (channels[1], channels[0] // groups, *kernel), 1)
    geometry = {"stride": stride, "padding": (*padding, *padding), "dilation": dilation, "groups": groups}
    shape = reference.conv2d(x, weight, **geometry)[0].shape
    grad_on, grad = held(cuda, dtype, shape, 2)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "layout": "NHWC"}
    if depthwise:
        actual = ops.depthwise_conv2d_backward(grad_on, x_on, weight_on, **options)
    else:
        actual = ops.conv2d_backward(grad_on, x_on, weight_on, groups=groups, **options)
    pixels = n * shape[1] * shape[2]
    terms = (kernel[0] * kernel[1] * channels[1] // groups, pixels, pixels)
    expected = reference.conv2d_backward(grad, x, weight, **geometry)
    for got, (value, bound), count in zip(actual, expected, terms, strict=True):
        assert_close(cuda, got, value, EPS * (count + 1) * bound, dtype)
    return [cuda.numpy(got) for got in actual]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(8, 16), (24, 80), (13, 6)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
def test_gradients(cuda: Cuda, dtype: str, channels: Pair, stride: Pair) -> None:
    """Channels in whole packs and not, tiles and their edges; strides whose phases differ in size."""
    check(cuda, dtype, (2, 9, 10), channels, (3, 3), stride=stride, padding=(1, 1))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((1, 1), (2, 2), (0, 0), (1, 1)),  # phases without a tap
        ((3, 2), (1, 2), (2, 0), (2, 3)),
        ((2, 3), (4, 3), (1, 2), (2, 3)),  # rows that no window sees
        ((5, 5), (2, 2), (2, 2), (2, 2)),  # stride and dilation share a factor
        ((4, 4), (4, 4), (0, 0), (1, 1)),
    ],
)
def test_geometry(cuda: Cuda, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> None:
    for dtype, channels in (("float16", (8, 16)), ("float32", (5, 3))):
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        check(cuda, dtype, (2, 11, 12), channels, kernel, **options)


@pytest.mark.parametrize(("channels", "groups"), [((16, 32), 2), ((24, 12), 3), ((6, 9), 3)])
def test_groups(cuda: Cuda, channels: Pair, groups: int) -> None:
    for dtype in ("float16", "float32"):
        check(cuda, dtype, (1, 6, 7), channels, (3, 3), groups=groups, padding=(1, 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_split(cuda: Cuda, dtype: str) -> None:
    """Pixels of many stages, channels of more than one tile, in whole packs and not."""
    check(cuda, dtype, (3, 20, 21), (40, 72), (1, 1))
    check(cuda, dtype, (1, 9, 10), (6, 70), (1, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(24, 24), (5, 5), (3, 6)])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(cuda: Cuda, dtype: str, channels: Pair, stride: int) -> None:
    options = {"stride": (stride, 1), "padding": (1, 2), "dilation": (1, stride)}
    check(cuda, dtype, (2, 9, 11), channels, (3, 5), depthwise=True, **options)


def test_empty_batch(cuda: Cuda) -> None:
    for depthwise in (False, True):
        grads = check(cuda, "float32", (0, 5, 6), (8, 8), (3, 3), depthwise=depthwise)
        assert grads[0].size == 0 and not grads[1].any() and not grads[2].any()


def test_schedule_does_not_matter(cuda: Cuda) -> None:
    x, grad, weight = random((2, 4, 5, 16)), random((2, 8, 10, 8), seed=1), random((16, 8, 4, 4), seed=2)
    transposed = []
    for falling in (False, True):
        cuda.falling_order(falling)
        grads = ops.conv_transpose2d_backward(
            *(cuda.array(a, "float16") for a in (grad, x, weight)), stride=2, padding=1, layout="NHWC"
        )
        transposed.append([cuda.numpy(g) for g in grads])
    for a, b in zip(*transposed, strict=True):
        np.testing.assert_array_equal(a, b)
    for depthwise in (False, True):
        arguments: tuple[Any, ...] = (cuda, "float16", (2, 18, 18), (8, 8), (3, 3))
        cuda.falling_order(False)
        rising = check(*arguments, depthwise=depthwise)
        cuda.falling_order(True)
        for a, b in zip(rising, check(*arguments, depthwise=depthwise), strict=True):
            np.testing.assert_array_equal(a, b)


def channels_last(array: np.ndarray) -> np.ndarray:
    """An NCHW array whose memory is in NHWC order."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def both_layouts(cuda: Cuda, dtype: str, op: Any, arrays: list[np.ndarray], **options: Any) -> Any:
    """Results of NCHW arrays and of the same in NHWC memory, which must be alike; on the host."""
    if dtype == "bfloat16":  # of a double of CuPy it can only be dense
        maps = [a.transpose(0, 2, 3, 1) for a in arrays]
        maps[-1] = arrays[-1]  # the weight, which has one layout
        last = op(*(cuda.array(a, dtype) for a in maps), **options, layout="NHWC")
    else:
        last = op(*(cuda.strided(channels_last(a.astype(dtype))) for a in arrays), **options)
    first = op(*(cuda.array(a, dtype) for a in arrays), **options)
    found = []
    for a, b in zip(*(y if isinstance(y, tuple) else (y,) for y in (first, last)), strict=True):
        assert cuda.dtype(a) == cuda.dtype(b) == dtype
        found.append(cuda.numpy(a))
        same = cuda.numpy(b)
        if same.shape != found[-1].shape:
            same = same.transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(found[-1], same)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d", "conv_transpose2d"])
def test_layouts_of_all_dtypes(cuda: Cuda, op: str, dtype: str) -> None:
    """Maps in NCHW, which are transposed, give what maps in NHWC do, and that is right."""
    x, weight = random((2, 8, 5, 6)), random((8, 1 if op == "depthwise_conv2d" else 8, 3, 3), seed=2)
    shape = (2, 8, 9, 11) if op == "conv_transpose2d" else (2, 8, 3, 3)
    grad, options = random(shape, seed=1), {"stride": 2, "padding": 1}
    y = both_layouts(cuda, dtype, getattr(ops, op), [x, weight], **options)
    grads = both_layouts(cuda, dtype, getattr(ops, f"{op}_backward"), [grad, x, weight], **options)
    known = (
        getattr(ops, op)(x, weight, **options),
        *getattr(ops, f"{op}_backward")(grad, x, weight, **options),
    )
    for actual, expected in zip((*y, *grads), known, strict=True):
        error = 8 * STORED[dtype] * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=error)


@pytest.mark.parametrize("depthwise", [False, True])
def test_layouts_and_masks(cuda: Cuda, depthwise: bool) -> None:
    """NCHW and channels_last memory; gradients lie as what they are the gradients of, None is left out."""
    groups = 8 if depthwise else 1
    arrays = random((2, 8, 5, 6)), random((2, 8, 5, 6), seed=1), random((8, 8 // groups, 3, 3), seed=2)
    options = {"padding": 1} if depthwise else {"padding": 1, "groups": 1}
    op = ops.depthwise_conv2d_backward if depthwise else ops.conv2d_backward
    expected = op(*arrays, **options)
    planar = op(*map(cuda.array, arrays), **options)
    strided = op(*(cuda.strided(channels_last(a)) for a in arrays), **options)
    assert cuda.is_channels_last(strided[0]) and not cuda.is_channels_last(planar[0])
    assert depthwise or cuda.is_channels_last(strided[1])
    for value, a, b in zip(expected, planar, strided, strict=True):
        np.testing.assert_allclose(cuda.numpy(a), value, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(cuda.numpy(a), cuda.numpy(b))
    for index in range(3):
        mask = tuple(i == index for i in range(3))
        some = op(*map(cuda.array, arrays), **options, output_mask=mask)
        assert [g is not None for g in some] == list(mask)
        np.testing.assert_array_equal(cuda.numpy(some[index]), cuda.numpy(planar[index]))


def check_transposed(
    cuda: Cuda,
    dtype: str,
    size: tuple[int, int, int],
    channels: Pair,
    kernel: Pair,
    *,
    groups: int = 1,
    activation: str = "none",
    **options: Pair,
) -> None:
    """The transposed convolution and its gradients."""
    x_on, x = held(cuda, dtype, (*size, channels[0]), 0)
    weight_on, weight = held(cuda, dtype, (channels[0], channels[1] // groups, *kernel), 1)
    bias_on, bias = held(cuda, dtype, (channels[1],), 2)
    y, bound = reference.conv_transpose2d(x, weight, bias, groups=groups, **options)
    terms = kernel[0] * kernel[1] * channels[0] // groups + 2
    expected, error = reference.activate(y, EPS * terms * bound, activation)
    result = ops.conv_transpose2d(
        x_on, weight_on, bias_on, groups=groups, activation=activation, layout="NHWC", **options
    )
    assert_close(cuda, result, expected, error, dtype)

    grad_on, grad = held(cuda, dtype, y.shape, 3)
    gradients = ops.conv_transpose2d_backward(
        grad_on, x_on, weight_on, groups=groups, layout="NHWC", **options
    )
    options.pop("output_padding", None)
    values = reference.conv_transpose2d_backward(grad, x, weight, groups=groups, **options)
    pixels = grad.shape[0] * grad.shape[1] * grad.shape[2]
    counts = (kernel[0] * kernel[1] * channels[1] // groups, pixels, pixels)
    for got, (value, sums), count in zip(gradients, values, counts, strict=True):
        assert_close(cuda, got, value, EPS * (count + 1) * sums, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((4, 4), {"stride": (2, 2), "padding": (1, 1)}),
        ((3, 3), {"stride": (2, 2), "padding": (1, 1), "output_padding": (1, 1)}),
        ((2, 2), {"stride": (2, 2)}),
        ((3, 2), {"stride": (1, 3), "padding": (1, 0), "output_padding": (0, 2), "dilation": (2, 2)}),
        ((1, 1), {"stride": (3, 2), "output_padding": (2, 1)}),
        ((3, 3), {"output_padding": (1, 1), "dilation": (2, 2)}),  # beyond the stride, within the dilation
        ((3, 3), {"stride": (3, 3), "output_padding": (2, 1)}),  # more than the padding
    ],
)
def test_transposed(cuda: Cuda, dtype: str, kernel: Pair, options: dict[str, Pair]) -> None:
    for channels in ((16, 8), (5, 3)):
        check_transposed(cuda, dtype, (2, 5, 6), channels, kernel, **options)


@pytest.mark.parametrize(("channels", "groups"), [((16, 32), 2), ((6, 9), 3), ((8, 8), 8), ((6, 3), 3)])
def test_transposed_groups(cuda: Cuda, channels: Pair, groups: int) -> None:
    for dtype in ("float16", "float32"):
        options = {"stride": (2, 2), "padding": (1, 1), "activation": "hardswish"}
        check_transposed(cuda, dtype, (1, 5, 4), channels, (4, 3), groups=groups, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposed_sums_split(cuda: Cuda, dtype: str) -> None:
    """A small map with many channels."""
    check_transposed(cuda, dtype, (1, 3, 3), (512, 8), (3, 3), padding=(1, 1))


def test_transposed_layouts(cuda: Cuda) -> None:
    x, weight = random((2, 8, 5, 6)), random((8, 16, 2, 2), seed=1)
    y = cuda.numpy(ops.conv_transpose2d(cuda.array(x), cuda.array(weight), stride=2))
    np.testing.assert_allclose(y, ops.conv_transpose2d(x, weight, stride=2), rtol=0, atol=1e-5)
    nhwc = cuda.array(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    same = cuda.numpy(ops.conv_transpose2d(nhwc, cuda.array(weight), stride=2, layout="NHWC"))
    np.testing.assert_array_equal(same.transpose(0, 3, 1, 2), y)


BACKWARD = {
    "grad_output": random((1, 6, 3, 3)),
    "input": random((1, 8, 5, 5)),
    "weight": random((6, 8, 3, 3)),
}
TRANSPOSED = {"input": random((1, 6, 3, 3)), "weight": random((6, 8, 3, 3)), "bias": random((8,))}


@pytest.mark.parametrize(
    ("op", "good", "changed", "error", "message"),
    [
        ("conv2d_backward", BACKWARD, {"grad_output": random((1, 6, 4, 3))}, ValueError, "expected grad_ou"),
        ("conv2d_backward", BACKWARD, {"weight": random((6, 4, 3, 3))}, ValueError, "expected weight for"),
        (
            "conv2d_backward",
            BACKWARD,
            {"input": np.zeros((1, 8, 5, 5))},
            TypeError,
            "expected input of dtype",
        ),
        ("conv2d_backward", BACKWARD, {"stride": 0}, ValueError, "expected stride > 0"),
        ("conv2d_backward", BACKWARD, {"output_mask": (True,)}, ValueError, "expected output_mask"),
        ("conv_transpose2d", TRANSPOSED, {"weight": random((5, 8, 3, 3))}, ValueError, "expected weight of"),
        ("conv_transpose2d", TRANSPOSED, {"bias": random((6,))}, ValueError, "expected bias of shape"),
        ("conv_transpose2d", TRANSPOSED, {"stride": 0}, ValueError, "expected stride > 0"),
        ("conv_transpose2d", TRANSPOSED, {"padding": 3}, ValueError, "expected a non-empty output"),
        ("conv_transpose2d", TRANSPOSED, {"output_padding": 1}, ValueError, "expected output_padding"),
        ("conv_transpose2d", TRANSPOSED, {"groups": 5}, ValueError, "expected channels divisible"),
        ("conv_transpose2d", TRANSPOSED, {"groups": 0}, ValueError, "expected groups > 0"),
        ("conv_transpose2d", TRANSPOSED, {"padding": 2**62}, ValueError, "expected kernel, stride"),
    ],
)
def test_bad_arguments(
    cuda: Cuda, op: str, good: dict[str, Any], changed: dict[str, Any], error: type, message: str
) -> None:
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in (good | changed).items()}
    with pytest.raises(error, match=rf"^\[{op}\] {message}"):
        getattr(ops, op)(**held)


def test_transposed_gradient_of_another_shape(cuda: Cuda) -> None:
    x, weight = cuda.array(TRANSPOSED["input"]), cuda.array(TRANSPOSED["weight"])
    with pytest.raises(ValueError, match=r"^\[conv_transpose2d_backward\] expected grad_output of shape"):
        ops.conv_transpose2d_backward(cuda.array(random((1, 8, 6, 5))), x, weight)
