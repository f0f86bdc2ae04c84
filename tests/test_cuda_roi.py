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
from tests.test_roi import OPS, PYRAMID, SAMPLED, SCALES, backward, case, expected, pyramid

POSITION = 2.0**-17  # float32's rounding of a position below 64, times a slope of 1 an axis


def on_device(cuda: Cuda, dtype: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``arguments`` on the device, and on the host with what ``dtype`` leaves of the map."""
    x = cuda.array(arguments["input"], dtype)
    others = {
        name: cuda.array(value)
        for name, value in arguments.items()
        if name != "input" and isinstance(value, np.ndarray)
    }
    return arguments | others | {"input": x}, arguments | {"input": cuda.numpy(x).astype(np.float32)}


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
    options = {k: v for k, v in held.items() if k not in ("input", "boxes", "output_size")}
    if op == "roi_pool":
        argmax = getattr(ops, name)(**held, return_argmax=True, layout=layout)[1]
        options = {"argmax": argmax}
    elif op == "roi_align max":
        options["input"] = held["input"]
    known, sums = backward(op, values, grad), backward(op, values | {"input": np.abs(x)}, np.abs(grad))
    if op in ("deform_roi_pool", "prroi_pool"):
        by_input, *others = getattr(ops, f"{name}_backward")(
            grad_on, held["input"], held["boxes"], layout=layout, **options
        )
        by_others = dict(zip(("boxes",) if op == "prroi_pool" else ("offset", "mask"), others, strict=True))
        for key, value in by_others.items():
            assert (value is None) == (key not in known)
            if value is not None:
                assert cuda.dtype(value) == "float32"
                scale = np.abs(known[key]).max(initial=0) + np.abs(sums[key]).max(initial=0)
                np.testing.assert_allclose(cuda.numpy(value), known[key], rtol=0, atol=2e-5 * scale)
    else:
        by_input = getattr(ops, f"{name}_backward")(
            grad_on, boxes=held["boxes"], input_shape=tuple(held["input"].shape), layout=layout, **options
        )
    assert cuda.dtype(by_input) == dtype
    actual = cuda.numpy(by_input).astype(np.float32)
    actual = actual.transpose(0, 2, 3, 1) if layout == "NCHW" else actual
    error = 100 * EPS * sums["input"] + POSITION * sums["input"].max(initial=0)
    assert_within(actual, known["input"], error + STORED[dtype] * (np.abs(known["input"]) + error) + 2.0**-25)


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


@pytest.mark.parametrize("op", OPS)
def test_a_list_of_boxes_is_one_array_of_them(cuda: Cuda, op: str) -> None:
    arguments = case(op, 1)
    boxes = arguments["boxes"][np.argsort(arguments["boxes"][:, 0], kind="stable")]
    images = [cuda.array(boxes[boxes[:, 0] == i, 1:]) for i in range(len(arguments["input"]))]
    arguments["input"] = cuda.array(arguments["input"])
    arguments |= {"offset": None, "mask": None} if op == "deform_roi_pool" else {}
    function = getattr(ops, op.split(maxsplit=1)[0])
    joined = function(**(arguments | {"boxes": cuda.array(boxes)}), layout="NHWC")
    listed = function(**(arguments | {"boxes": images}), layout="NHWC")
    np.testing.assert_array_equal(cuda.numpy(listed), cuda.numpy(joined))
    wrong = [*images[:-1], cuda.array(boxes)]
    with pytest.raises(ValueError, match=rf"expected boxes\[{len(images) - 1}\] of shape"):
        function(**(arguments | {"boxes": wrong}), layout="NHWC")
    with pytest.raises(ValueError, match="expected all arrays on one device"):
        function(**(arguments | {"boxes": [boxes[:, 1:]]}), layout="NHWC")


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
    options: dict[str, Any] = {"mode": "max"} if op.endswith("max") else {}
    if op == "deform_roi_pool":
        options["offset"] = None
    wild = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9, -1e9]
    for ratio in (-1, 2):
        sampled = options | {"sampling_ratio": ratio} if op in SAMPLED else options
        for column in range(1, 6 if rotated else 5):
            boxes = np.tile(np.array([1, 0.5, 1, 3, 4, 30][: 5 + rotated], np.float32), (len(wild), 1))
            boxes[:, column] = wild
            on = cuda.array(boxes)
            y = getattr(ops, name)(x, on, output_size=size, layout="NHWC", **sampled)
            assert rotated or np.isfinite(cuda.numpy(y)).all()
            assert rotated or np.isfinite(cuda.numpy(pull(cuda, op, y, x, on, sampled))).all()
    images = np.array([-1, 2, 0.5, np.nan, np.inf, 1, -0.0], np.float32)
    boxes = np.tile(np.array([0, 0, 0, 3, 3, 0][: 5 + rotated], np.float32), (len(images), 1))
    boxes[:, 0] = images
    on = cuda.array(boxes)
    y = getattr(ops, name)(x, on, output_size=size, layout="NHWC", **options)
    bins = cuda.numpy(y)
    assert np.isnan(bins).all(axis=(1, 2, 3)).tolist() == [True] * 5 + [False] * 2
    assert np.isfinite(bins[5:]).all()
    few = cuda.array(boxes[:5])
    assert not cuda.numpy(pull(cuda, op, cuda.array(bins[:5]), x, few, options)).any()
    if op == "prroi_pool":
        ones = cuda.array(np.ones(bins.shape, np.float32))
        by_boxes = cuda.numpy(ops.prroi_pool_backward(ones, x, on, layout="NHWC")[1])
        assert not by_boxes[:5].any() and by_boxes[5:].any()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_offsets_of_any_value_index_no_memory(cuda: Cuda, dtype: str) -> None:
    """Bins are 0 where the CPU's are, and gradients come in the dtype of what they are the gradient of."""
    x, boxes = random((1, 5, 6, 8)).astype(dtype), np.array([[0, 1, 0.5, 4, 3.5]], dtype)
    offset = (random((1, 2, 3, 3), seed=1) * 4).astype(dtype)
    offset[0, :, :2].flat[::2] = [np.nan, np.inf, -np.inf, 3e4, -3e4, 1e3]
    mask = random((1, 1, 3, 3), seed=2).astype(dtype)
    grad = random((1, 3, 3, 8), seed=3).astype(dtype)
    known = ops.deform_roi_pool(x, boxes, offset, 3, mask=mask, layout="NHWC")
    grads = ops.deform_roi_pool_backward(grad, x, boxes, offset, mask=mask, layout="NHWC")
    on = [cuda.array(a) for a in (x, boxes, offset)]
    mask_on, rounded = cuda.array(mask), 2.0**-10 if dtype == "float16" else 1e-5
    y = cuda.numpy(ops.deform_roi_pool(*on, 3, mask=mask_on, layout="NHWC"))
    empty = ~np.isfinite(offset[0]).all(axis=0)
    assert empty.any() and not y[0][empty].any() and known.any()
    np.testing.assert_allclose(y, known, rtol=rounded, atol=rounded)
    found = ops.deform_roi_pool_backward(cuda.array(grad), *on, mask=mask_on, layout="NHWC")
    for a, b in zip(found, grads, strict=True):
        assert cuda.dtype(a) == dtype
        np.testing.assert_allclose(cuda.numpy(a), b, rtol=2 * rounded, atol=4 * rounded)
    by_boxes = ops.prroi_pool_backward(cuda.array(grad), *on[:2], layout="NHWC")[1]
    known_boxes = ops.prroi_pool_backward(grad, x, boxes, layout="NHWC")[1]
    assert cuda.dtype(by_boxes) == dtype
    np.testing.assert_allclose(cuda.numpy(by_boxes), known_boxes, rtol=2 * rounded, atol=4 * rounded)


def pull(cuda: Cuda, op: str, y: Any, x: Any, boxes: Any, options: dict[str, Any]) -> Any:
    """The gradient for ones."""
    name = op.split(maxsplit=1)[0]
    grad = cuda.array(np.ones(y.shape, np.float32))
    options = dict(options)
    if op in ("deform_roi_pool", "prroi_pool"):
        return getattr(ops, f"{name}_backward")(grad, x, boxes, layout="NHWC", **options)[0]
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
        ("prroi_pool_backward", {"grad_output": random((2, 8, 2, 2))}, ValueError, "expected bins of shape"),
        (
            "deform_roi_pool_backward",
            {"offset": random((3, 1, 2, 2))},
            ValueError,
            "expected offset of shape",
        ),
        ("deform_roi_pool_backward", {"mask": random((3, 2, 2, 2))}, ValueError, "expected mask of shape"),
        ("deform_roi_pool_backward", {"mask": np.ones((3, 1, 2, 2))}, TypeError, "expected mask of dtype"),
        ("deform_roi_pool_backward", {"gamma": float("inf")}, ValueError, "expected gamma to be finite"),
    ],
)
def test_bad_gradients(cuda: Cuda, op: str, changed: dict[str, Any], error: type, message: str) -> None:
    good: dict[str, Any] = {"grad_output": random((3, 8, 2, 2)), "boxes": np.zeros((3, 5), np.float32)}
    if op in ("deform_roi_pool_backward", "prroi_pool_backward"):
        good["input"] = random((1, 8, 4, 5))
        good |= {"offset": None} if op == "deform_roi_pool_backward" else {}
    else:
        good["input_shape"] = (1, 8, 4, 5)
    arguments = good | changed
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(error, match=rf"^\[{op}\] {message}"):
        getattr(ops, op)(**held)
