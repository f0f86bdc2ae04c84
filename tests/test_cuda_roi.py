# SPDX-License-Identifier: Apache-2.0
"""Pooling of regions on CUDA against loops in float64, gradients against those of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import EPS, assert_within, random
from tests.test_cuda_conv2d import DTYPES, STORED
from tests.test_roi import PYRAMID, SCALES, backward, case, expected, pyramid

POSITION = 2.0**-17  # float32's rounding of a position below 64, times a slope of 1 an axis
OPS = ("roi_align", "roi_align max", "roi_align_rotated", "roi_pool", "ps_roi_align", "ps_roi_pool")


def on_device(cuda: Cuda, dtype: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``arguments`` on the device, and on the host with what ``dtype`` leaves of the map."""
    x = cuda.array(arguments["input"], dtype)
    boxes = cuda.array(arguments["boxes"])
    return (
        arguments | {"input": x, "boxes": boxes},
        arguments | {"input": cuda.numpy(x).astype(np.float32)},
    )


def check(cuda: Cuda, op: str, dtype: str, arguments: dict[str, Any], layout: str = "NHWC") -> None:
    """The bins, and the gradient against the CPU's, whose positions are rounded alike."""
    held, values = on_device(cuda, dtype, arguments)
    x = values["input"]
    y, bound = expected(op, values)
    if layout == "NCHW":
        held["input"] = cuda.array(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype)
    name = op.split(maxsplit=1)[0]
    result = getattr(ops, name)(**held, layout=layout)
    assert cuda.dtype(result) == dtype
    actual = cuda.numpy(result).astype(np.float32)
    actual = actual.transpose(0, 2, 3, 1) if layout == "NCHW" else actual
    error = 100 * EPS * bound + POSITION * np.abs(x).max(initial=0)
    assert_within(actual, y, error + STORED[dtype] * (np.abs(y) + error) + 2.0**-25)

    grad_on = cuda.array(random(result.shape, seed=1), dtype)
    grad = cuda.numpy(grad_on).astype(np.float32)
    if layout == "NCHW":
        grad = np.ascontiguousarray(grad.transpose(0, 2, 3, 1))
    known = backward(op, values, grad)["input"]
    sums = backward(op, values, np.abs(grad))["input"]
    options = {k: v for k, v in held.items() if k not in ("input", "boxes", "output_size")}
    if op == "roi_pool":
        argmax = getattr(ops, name)(**held, return_argmax=True, layout=layout)[1]
        options = {"argmax": argmax}
    elif op == "roi_align max":
        options["input"] = held["input"]
    pulled = getattr(ops, f"{name}_backward")(
        grad_on, boxes=held["boxes"], input_shape=tuple(held["input"].shape), layout=layout, **options
    )
    assert cuda.dtype(pulled) == dtype
    actual = cuda.numpy(pulled).astype(np.float32)
    actual = actual.transpose(0, 2, 3, 1) if layout == "NCHW" else actual
    error = 100 * EPS * sums + POSITION * sums.max(initial=0)
    assert_within(actual, known, error + STORED[dtype] * (np.abs(known) + error) + 2.0**-25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_ops(cuda: Cuda, op: str, dtype: str) -> None:
    """Boxes of all sizes, some beyond the map, one without area and one the wrong way round."""
    for seed in range(8):
        check(cuda, op, dtype, case(op, seed), "NCHW" if seed % 3 == 2 else "NHWC")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(8))
def test_sampling(cuda: Cuda, dtype: str, seed: int) -> None:
    """Boxes of all sizes, some beyond the map, one without area and one the wrong way round."""
    arguments = case("roi_align", seed)
    for ratio, aligned in ((-1, True), (2, False), (3, True), (0, False)):
        options = {"sampling_ratio": ratio, "aligned": aligned, "spatial_scale": 0.5 if seed % 2 else 1.0}
        check(cuda, "roi_align", dtype, arguments | options)


@pytest.mark.parametrize("channels", [1, 7, 8, 24])
def test_layouts(cuda: Cuda, channels: int) -> None:
    arguments = case("roi_align", 1) | {"spatial_scale": 1.0, "sampling_ratio": -1, "aligned": False}
    arguments["input"] = random((*arguments["input"].shape[:3], channels))
    for layout in ("NHWC", "NCHW"):
        check(cuda, "roi_align", "float16", arguments, layout)


def test_no_boxes(cuda: Cuda) -> None:
    y = ops.roi_align(
        cuda.array(random((1, 4, 5, 8))), cuda.array(np.zeros((0, 5), np.float32)), 2, layout="NHWC"
    )
    assert tuple(y.shape) == (0, 2, 2, 8)


@pytest.mark.parametrize("op", OPS)
def test_boxes_of_any_value_index_no_memory(cuda: Cuda, op: str) -> None:
    """Images that do not exist give NaN and pass nothing on, coordinates of any value something finite."""
    name, rotated = op.split(maxsplit=1)[0], op == "roi_align_rotated"
    x = cuda.array(random((2, 4, 5, 8)))
    size: Any = (2, 4) if op.startswith("ps_") else 2
    options = {"mode": "max"} if op.endswith("max") else {}
    wild = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9, -1e9]
    for ratio in (-1, 2):
        sampled = options if op.endswith("pool") else options | {"sampling_ratio": ratio}
        for column in range(1, 6 if rotated else 5):
            boxes = np.tile(np.array([1, 0.5, 1, 3, 4, 30][: 5 + rotated], np.float32), (len(wild), 1))
            boxes[:, column] = wild
            on = cuda.array(boxes)
            y = getattr(ops, name)(x, on, size, layout="NHWC", **sampled)
            assert rotated or np.isfinite(cuda.numpy(y)).all()
            pull(cuda, op, y, x, on, sampled)
    images = np.array([-1, 2, 0.5, np.nan, np.inf, 1, -0.0], np.float32)
    boxes = np.tile(np.array([0, 0, 0, 3, 3, 0][: 5 + rotated], np.float32), (len(images), 1))
    boxes[:, 0] = images
    on = cuda.array(boxes)
    y = getattr(ops, name)(x, on, size, layout="NHWC", **options)
    bins = cuda.numpy(y)
    assert np.isnan(bins).all(axis=(1, 2, 3)).tolist() == [True] * 5 + [False] * 2
    assert np.isfinite(bins[5:]).all()
    few = cuda.array(boxes[:5])
    assert not cuda.numpy(pull(cuda, op, cuda.array(bins[:5]), x, few, options)).any()


def pull(cuda: Cuda, op: str, y: Any, x: Any, boxes: Any, options: dict[str, Any]) -> Any:
    """The gradient for ones."""
    name = op.split(maxsplit=1)[0]
    grad = cuda.array(np.ones(y.shape, np.float32))
    options = dict(options)
    if op == "roi_pool":
        options["argmax"] = ops.roi_pool(x, boxes, tuple(y.shape[1:3]), return_argmax=True, layout="NHWC")[1]
    elif op == "roi_align max":
        options["input"] = x
    return getattr(ops, f"{name}_backward")(
        grad, boxes=boxes, input_shape=tuple(x.shape), layout="NHWC", **options
    )


@pytest.mark.parametrize("op", OPS)
def test_many_boxes_in_any_schedule(cuda: Cuda, op: str) -> None:
    """More than a block looks through at once."""
    arguments = case(op, 3, boxes=300)
    held, _ = on_device(cuda, "float32", arguments)
    name = op.split(maxsplit=1)[0]
    options = {k: v for k, v in held.items() if k not in ("input", "boxes", "output_size")}
    options.pop("spatial_scale") if op == "roi_pool" else None
    if op == "roi_pool":
        held["spatial_scale"] = 1.0
    y = getattr(ops, name)(**held, layout="NHWC")
    rising = cuda.numpy(pull(cuda, op, y, held["input"], held["boxes"], options))
    cuda.falling_order(True)
    falling = cuda.numpy(pull(cuda, op, y, held["input"], held["boxes"], options))
    np.testing.assert_array_equal(rising, falling)
    assert np.abs(rising).max() > 0


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pyramid(cuda: Cuda, layout: str) -> None:
    features, boxes = pyramid()
    options: dict[str, Any] = {"canonical_scale": 56, "canonical_level": 3, "layout": layout}
    if layout == "NHWC":
        features = [np.ascontiguousarray(x.transpose(0, 2, 3, 1)) for x in features]
    held = [cuda.array(x) for x in features]
    boxes_on = cuda.array(boxes)
    y = ops.multi_scale_roi_align(held, boxes_on, (3, 4), SCALES, **options)
    known = ops.multi_scale_roi_align(features, boxes, (3, 4), SCALES, **options)
    np.testing.assert_allclose(cuda.numpy(y), known, rtol=0, atol=1e-4)
    grad, shapes = random(known.shape), [x.shape for x in features]
    grads = ops.multi_scale_roi_align_backward(cuda.array(grad), boxes_on, shapes, SCALES, **options)
    wanted = ops.multi_scale_roi_align_backward(grad, boxes, shapes, SCALES, **options)
    assert len(grads) == len(PYRAMID)
    for a, b in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(cuda.numpy(a), b, rtol=0, atol=1e-4)


def test_argmax_is_the_cpus(cuda: Cuda) -> None:
    for seed in range(3):
        arguments = case("roi_pool", seed)
        held, _ = on_device(cuda, "float32", arguments)
        for layout in ("NHWC", "NCHW"):
            if layout == "NCHW":
                arguments["input"] = np.ascontiguousarray(arguments["input"].transpose(0, 3, 1, 2))
                held["input"] = cuda.array(arguments["input"])
            options = {"return_argmax": True, "layout": layout}
            _, places = ops.roi_pool(**held, **options)
            np.testing.assert_array_equal(cuda.numpy(places), ops.roi_pool(**arguments, **options)[1])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"input": random((4, 5, 8))}, ValueError, "expected input with 4 dimensions"),
        ({"input": np.zeros((1, 8, 4, 5))}, TypeError, "expected input of dtype"),
        ({"input": np.zeros((1, 8, 0, 5), np.float32)}, ValueError, "expected maps of at least one pixel"),
        ({"boxes": np.zeros((3, 4), np.float32)}, ValueError, "expected boxes of shape"),
        ({"boxes": np.zeros((3, 5))}, TypeError, "expected boxes of dtype"),
        ({"output_size": 0}, ValueError, "expected output_size to be positive"),
        ({"output_size": (-1, 2)}, ValueError, "expected output_size to be positive"),
        ({"spatial_scale": float("nan")}, ValueError, "expected spatial_scale"),
        ({"spatial_scale": 0}, ValueError, "expected spatial_scale"),
        ({"sampling_ratio": 1025}, ValueError, "expected sampling_ratio"),
        ({"aligned": 1}, TypeError, "expected aligned"),
        ({"mode": "min"}, ValueError, "expected mode to be 'average' or 'max'"),
    ],
)
def test_bad_arguments(cuda: Cuda, changed: dict[str, Any], error: type, message: str) -> None:
    good = {"input": random((1, 8, 4, 5)), "boxes": np.zeros((3, 5), np.float32), "output_size": 2}
    arguments = good | changed
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(error, match=rf"^\[roi_align\] {message}"):
        ops.roi_align(**held)


@pytest.mark.parametrize(
    ("op", "changed", "error", "message"),
    [
        ("roi_align_backward", {"input_shape": (1, 9, 4, 5)}, ValueError, "expected bins of shape"),
        ("roi_align_backward", {"input_shape": (1, 8, 4)}, ValueError, "expected input_shape"),
        ("roi_align_backward", {"input_shape": (1, 8, -4, 5)}, ValueError, "expected input_shape"),
        ("roi_align_backward", {"mode": "max"}, ValueError, "expected input with mode 'max'"),
        ("roi_align_backward", {"grad_output": random((2, 8, 2, 2))}, ValueError, "expected bins of shape"),
        ("ps_roi_align_backward", {"input_shape": (1, 30, 4, 5)}, ValueError, "expected channels in mult"),
        ("ps_roi_pool_backward", {"input_shape": (1, 36, 4, 5)}, ValueError, "expected bins of shape"),
        ("roi_align_rotated_backward", {}, ValueError, "expected boxes of shape"),
    ],
)
def test_bad_gradients(cuda: Cuda, op: str, changed: dict[str, Any], error: type, message: str) -> None:
    good = {
        "grad_output": random((3, 8, 2, 2)), "boxes": np.zeros((3, 5), np.float32),
        "input_shape": (1, 8, 4, 5),
    }  # fmt: skip
    arguments = good | changed
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(error, match=rf"^\[{op}\] {message}"):
        getattr(ops, op)(**held)
