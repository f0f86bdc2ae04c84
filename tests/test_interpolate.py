# SPDX-License-Identifier: Apache-2.0
"""interpolate against float64, torch and ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import _core, ops
from tests.helpers import EPS, canvas, check_canvas, check_threads_agree, random
from tests.reference.interpolate import interpolate as reference
from tests.reference.interpolate import interpolate_backward as reference_backward

CHANNELS = [1, 3, 8, 15, 16, 17, 33, 64, 72, 130]
MODES = [
    ("nearest", None), ("nearest-exact", None), ("area", None),
    ("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic", True),
]  # fmt: skip
SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (3, 5)),
    ((4, 6), (8, 12)),
    ((8, 12), (4, 6)),
    ((5, 7), (5, 7)),
    ((7, 5), (1, 1)),
    ((6, 9), (13, 4)),
    ((3, 40), (10, 17)),
]


def check(y: np.ndarray, expected: np.ndarray, x: np.ndarray, mode: str) -> None:
    if not mode.startswith("nearest"):
        # Weights are rounded positions: they are off by an ulp of the position, or by a few where they are
        # cubic; then two blends.
        slope = 8 if mode == "bicubic" else 2
        bound = (max(x.shape[2:]) + 6) * slope * EPS * np.abs(x).max(initial=0)
        np.testing.assert_allclose(y, expected, rtol=0, atol=bound)
    else:
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(("mode", "align_corners"), MODES, ids=str)
@pytest.mark.parametrize(("size", "out"), SIZES, ids=str)
def test_against_float64(isa: str, size: Any, out: Any, mode: str, align_corners: bool | None) -> None:
    for channels in CHANNELS:
        x = random((2, channels, *size))
        y = ops.interpolate(x, out, mode=mode, align_corners=align_corners)
        check(y, reference(x, out, mode, bool(align_corners)), x, mode)


@pytest.mark.parametrize(("mode", "align_corners"), MODES, ids=str)
@pytest.mark.parametrize("scale", [2, 0.5, 1.7, (0.3, 2.6), (3.0, 1), (1.05, 2.03)], ids=str)
def test_scale_factor(mode: str, align_corners: bool | None, scale: Any) -> None:
    x = random((1, 5, 11, 13))
    y = ops.interpolate(x, scale_factor=scale, mode=mode, align_corners=align_corners)
    both = scale if isinstance(scale, tuple) else (scale, scale)
    out = (int(11 * both[0]), int(13 * both[1]))
    assert y.shape == (1, 5, *out)
    check(y, reference(x, out, mode, bool(align_corners), both), x, mode)
    again = ops.interpolate(
        x, scale_factor=scale, mode=mode, align_corners=align_corners, recompute_scale_factor=True
    )
    np.testing.assert_array_equal(again, ops.interpolate(x, out, mode=mode, align_corners=align_corners))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "out"), SIZES, ids=str)
def test_antialias(isa: str, size: Any, out: Any, mode: str) -> None:
    for channels in CHANNELS:
        x = random((2, channels, *size))
        y = ops.interpolate(x, out, mode=mode, antialias=True)
        check(y, reference(x, out, mode, antialias=True), x, mode)


@pytest.mark.parametrize(("mode", "align_corners"), MODES, ids=str)
@pytest.mark.parametrize(("size", "out"), SIZES, ids=str)
def test_backward(isa: str, size: Any, out: Any, mode: str, align_corners: bool | None) -> None:
    for antialias in {False, mode in ("bilinear", "bicubic")}:
        options = {"mode": mode, "align_corners": align_corners, "antialias": antialias}
        for channels, dtype in ((1, "float32"), (3, "float64"), (17, "float32"), (65, "float32")):
            grad = random((2, channels, *out)).astype(dtype)
            shape = (2, channels, *size)
            got = ops.interpolate_backward(grad, shape, out, **options)
            assert got.shape == shape
            assert got.dtype == grad.dtype
            expected, bound = reference_backward(grad, size, mode, bool(align_corners), antialias)
            # Weights are off by ulps of positions, which in the reference too come from rounded scales.
            terms = (max(*size, *out) + 8) * 8 * EPS
            assert (np.abs(got - expected) <= terms * (bound + np.abs(grad).max())).all()


def test_float64_is_exact_where_scales_are() -> None:
    x = random((1, 3, 5, 6)).astype(np.float64)
    for mode, align_corners in MODES:
        for out in ((10, 3), (5, 12)):
            options = {"mode": mode, "align_corners": align_corners}
            if align_corners:
                continue
            y = ops.interpolate(x, out, **options)
            np.testing.assert_allclose(y, reference(x, out, mode), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("mode", "align_corners"), MODES, ids=str)
def test_backward_against_torch(mode: str, align_corners: bool | None) -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(random((2, 5, 9, 8)).astype(np.float64)).requires_grad_()
    for antialias in {False, mode in ("bilinear", "bicubic")}:
        for target in ({"size": (4, 13)}, {"scale_factor": (1.6, 0.4)}):
            options = {"mode": mode, "align_corners": align_corners, "antialias": antialias, **target}
            y = torch.nn.functional.interpolate(x, **options)
            grad = torch.from_numpy(random(tuple(y.shape), seed=1).astype(np.float64))
            (expected,) = torch.autograd.grad(y, x, grad)
            got = ops.interpolate_backward(grad, (2, 5, 9, 8), **options)
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("mode", "align_corners"), MODES, ids=str)
def test_against_torch(mode: str, align_corners: bool | None) -> None:
    torch = pytest.importorskip("torch")
    for memory_format in (torch.contiguous_format, torch.channels_last):
        for size, out in SIZES:
            x = torch.from_numpy(random((2, 7, *size))).contiguous(memory_format=memory_format)
            y = ops.interpolate(x, out, mode=mode, align_corners=align_corners)
            expected = torch.nn.functional.interpolate(x, out, mode=mode, align_corners=align_corners)
            torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
        for scale in (2.0, 0.5, 1.3, (0.6, 2.2), (1.09, 2.04)):
            x = torch.from_numpy(random((1, 7, 10, 15))).contiguous(memory_format=memory_format)
            y = ops.interpolate(x, scale_factor=scale, mode=mode, align_corners=align_corners)
            expected = torch.nn.functional.interpolate(
                x, scale_factor=scale, mode=mode, align_corners=align_corners
            )
            torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    if mode not in ("bilinear", "bicubic"):
        return
    for size, out in SIZES:  # torch's own results differ between its formats where an extent becomes 1
        x = torch.from_numpy(random((2, 7, *size))).contiguous(memory_format=torch.channels_last)
        options = {"mode": mode, "align_corners": align_corners, "antialias": True}
        y = ops.interpolate(x, out, **options)
        torch.testing.assert_close(
            y, torch.nn.functional.interpolate(x, out, **options), rtol=1e-5, atol=1e-5
        )


def test_against_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    x = random((1, 2, 5, 6))
    for mode, transform in [("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "align_corners")]:
        node = onnx.helper.make_node(
            "Resize",
            ["x", "", "", "sizes"],
            ["y"],
            mode=mode,
            nearest_mode="floor",
            coordinate_transformation_mode=transform,
        )
        (expected,) = ReferenceEvaluator(node).run(None, {"x": x, "sizes": np.array([1, 2, 10, 9])})
        y = ops.interpolate(
            x,
            (10, 9),
            mode="bilinear" if mode == "linear" else mode,
            align_corners=transform == "align_corners" if mode == "linear" else None,
        )
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_layouts_views_addend_and_canaries(isa: str, mode: str) -> None:
    base = random((2, 9, 11, 37))
    views = (base, base[:, ::2], base[..., 3:30], base[:, ::-1, ::-1], np.broadcast_to(base[:1], base.shape))
    for view in views:
        x = view.view()
        x.flags.writeable = False
        expected = ops.interpolate(np.ascontiguousarray(x), (13, 8), mode=mode, layout="NHWC")
        np.testing.assert_array_equal(ops.interpolate(x, (13, 8), mode=mode, layout="NHWC"), expected)
        nchw = x.transpose(0, 3, 1, 2)
        y = ops.interpolate(np.ascontiguousarray(nchw), (13, 8), mode=mode)
        np.testing.assert_array_equal(y.transpose(0, 2, 3, 1), expected)

        whole, out = canvas(expected.shape)
        _core.interpolate(x, (13, 8), mode, False, out=out)
        check_canvas(whole, out, expected)
        addend = random((*expected.shape[:3], 60), seed=1)[..., 5 : 5 + expected.shape[3]]
        _core.interpolate(x, (13, 8), mode, False, addend=addend, out=out)
        check_canvas(whole, out, expected + addend)
        out[...] = addend
        _core.interpolate(x, (13, 8), mode, False, addend=out, out=out)
        check_canvas(whole, out, expected + addend)


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    x = random((2, 40, 50, 19))
    for mode in ("nearest", "bilinear", "bicubic"):
        check_threads_agree(lambda mode=mode: ops.interpolate(x, (70, 65), mode=mode, layout="NHWC"))
        check_threads_agree(
            lambda mode=mode: ops.interpolate_backward(x, (2, 21, 90, 19), (40, 50), mode=mode, layout="NHWC")
        )


def test_empty_batch() -> None:
    assert ops.interpolate(np.zeros((0, 3, 4, 4), np.float32), 8).shape == (0, 3, 8, 8)
    long = 2**40  # no time or memory is spent on what nothing hangs on
    for dtype in (np.float32, np.float64):
        empty = np.zeros((0, 1, 1, 1), dtype)
        for mode in ("nearest", "bicubic"):
            assert ops.interpolate(empty, (1, long), mode=mode).shape == (0, 1, 1, long)
            dx = ops.interpolate_backward(empty, (0, 1, 1, long), 1, mode=mode)
            assert dx.shape == (0, 1, 1, long)


X = np.zeros((1, 2, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "one of size and scale_factor, got neither"),
        ({"size": 3, "scale_factor": 2}, "got both"),
        ({"size": 0}, "at least 1 x 1"),
        ({"size": (3, -1)}, "at least 1 x 1"),
        ({"size": (3, 3, 3)}, "integer or two"),
        ({"size": 2**40}, "fits in memory"),
        ({"scale_factor": 1e30}, "fits in memory"),
        ({"scale_factor": 0.1}, "at least 1 x 1"),
        ({"scale_factor": 0}, "finite, positive"),
        ({"scale_factor": float("nan")}, "finite, positive"),
        ({"scale_factor": (1.0, float("inf"))}, "finite, positive"),
        ({"scale_factor": (1.0,)}, "a number or two"),
        ({"size": 3, "mode": "lanczos"}, "mode to be one of"),
        ({"size": 3, "mode": "area", "align_corners": False}, "align_corners with mode"),
        ({"size": 3, "mode": "nearest", "antialias": True}, "antialias with mode"),
        ({"size": 3, "recompute_scale_factor": True}, "recompute_scale_factor with scale_factor"),
        ({"size": 3, "align_corners": True}, "align_corners with mode"),
        ({"size": 3, "layout": "HWC"}, "layout"),
    ],
    ids=str,
)
def test_values_out_of_range(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^\[interpolate\] expected .*{message}"):
        ops.interpolate(X, **kwargs)


def test_wrong_kinds() -> None:
    for kwargs in (
        {"size": 3.0},
        {"size": True},
        {"scale_factor": "2"},
        {"scale_factor": True},
        {"size": 3, "mode": 1},
        {"size": 3, "mode": "bilinear", "align_corners": 1},
        {"size": 3, "mode": "bilinear", "antialias": 1},
        {"scale_factor": 2.0, "recompute_scale_factor": 1},
    ):
        with pytest.raises(TypeError, match=r"^\[interpolate\] expected "):
            ops.interpolate(X, **kwargs)
    with pytest.raises(TypeError, match="float32"):
        ops.interpolate(X.astype(np.uint8), 3)
    for shape in [(4, 4), (1, 0, 4, 4), (1, 2, 0, 4)]:
        with pytest.raises(ValueError, match="expected input"):
            ops.interpolate(np.zeros(shape, np.float32), 3)
    with pytest.raises(ValueError, match="expected addend of shape"):
        _core.interpolate(X, (3, 3), "nearest", False, addend=X)
    with pytest.raises(ValueError, match=r"\[interpolate_backward\] expected grad_output of shape"):
        ops.interpolate_backward(X, (1, 2, 4, 4), 3)
    with pytest.raises(ValueError, match="no empty axis"):
        ops.interpolate_backward(X[:, :0], (1, 0, 4, 4), 4)
    with pytest.raises(ValueError, match="input_shape of at least 1 x 1"):
        ops.interpolate_backward(X, (1, 2, 0, 4), 4)
