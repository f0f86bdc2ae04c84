# SPDX-License-Identifier: Apache-2.0
"""Pooling of regions against loops in float64, torchvision, grid_sample and finite differences."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, assert_within, check_threads_agree, pick
from tests.reference import roi as reference

Arguments = dict[str, Any]

OPS = (
    "roi_align",
    "roi_align max",
    "roi_align_rotated",
    "roi_pool",
    "ps_roi_align",
    "ps_roi_pool",
    "deform_roi_pool",
    "prroi_pool",
)
SAMPLED = ("roi_align", "roi_align max", "roi_align_rotated", "ps_roi_align", "deform_roi_pool")


def case(op: str, seed: int, dtype: type = np.float32, boxes: int = 5) -> Arguments:
    """NHWC maps; boxes of all sizes, some beyond the map, one without area and one the wrong way round."""
    rng = np.random.default_rng(seed)
    n, h, w = (int(v) for v in rng.integers(1, (3, 14, 16)))
    size = tuple(int(v) for v in rng.integers(1, 5, 2))
    channels = pick(rng, 1, 3, 8, 17, 35) if not op.startswith("ps_") else size[0] * size[1] * pick(rng, 1, 3)
    scale = pick(rng, 1.0, 0.5, 0.3)
    x = rng.standard_normal((n, h, w, channels)).astype(dtype)
    rois = np.empty((boxes, 6 if op == "roi_align_rotated" else 5))
    rois[:, 0] = rng.integers(0, n, boxes)
    extent = np.array([w, h]) / scale
    if op == "roi_align_rotated":
        rois[:, 1:3] = rng.uniform(-0.2, 1.2, (boxes, 2)) * extent
        rois[:, 3:5] = rng.uniform(0, 1, (boxes, 2)) * extent
        rois[:, 5] = rng.uniform(-400, 400, boxes)
    else:
        corners = np.sort(rng.uniform(-0.3, 1.3, (boxes, 2, 2)), axis=1) * extent
        if seed % 3 == 0:  # on pixels' centres and edges
            corners = np.round(corners * 2) / 2
        rois[:, 1:3], rois[:, 3:5] = corners[:, 0], corners[:, 1]
        if boxes > 2:
            rois[1, 3:5] = rois[1, 1:3]
            rois[2, 1:5] = rois[2, [3, 2, 1, 4]]
    arguments: Arguments = {
        "input": x,
        "boxes": rois.astype(dtype),
        "output_size": size,
        "spatial_scale": scale,
    }
    if op in SAMPLED:
        arguments["sampling_ratio"] = pick(rng, -1, 0, 1, 2, 3)
    if op.startswith("roi_align"):
        arguments["aligned"] = pick(rng, False, True)
    if op == "roi_align max":
        arguments["mode"] = "max"
    if op == "deform_roi_pool":
        arguments["offset"] = pick(rng, None, rng.standard_normal((boxes, 2, *size)).astype(dtype))
        arguments["mask"] = pick(rng, None, rng.random((boxes, 1, *size)).astype(dtype))
        arguments["gamma"] = pick(rng, 0.1, 0.5)
    return arguments


def run(op: str, arguments: Arguments, layout: str = "NHWC") -> Any:
    """``arguments`` holds NHWC maps; so does the result."""
    function = getattr(ops, op.split(maxsplit=1)[0])
    if layout == "NHWC":
        return function(**arguments, layout=layout)
    first = np.ascontiguousarray(arguments["input"].transpose(0, 3, 1, 2))
    return function(**(arguments | {"input": first}), layout=layout).transpose(0, 2, 3, 1)


def expected(op: str, arguments: Arguments) -> tuple[np.ndarray, np.ndarray]:
    a = arguments
    x, boxes, size, scale = a["input"], a["boxes"], a["output_size"], a["spatial_scale"]
    ratio, aligned = a.get("sampling_ratio", -1), a.get("aligned", False)
    if op.startswith("roi_align"):
        if op == "roi_align_rotated":
            return reference.roi_align_rotated(x, boxes, size, scale, ratio, aligned)
        return reference.roi_align(x, boxes, size, scale, ratio, aligned, a.get("mode", "average"))
    if op == "ps_roi_align":
        return reference.own_channels(
            lambda x: reference.roi_align(x, boxes, size, scale, ratio, True), x, size
        )
    if op == "ps_roi_pool":
        return reference.own_channels(lambda x: reference.mean_pool(x, boxes, size, scale), x, size)
    if op == "deform_roi_pool":
        return reference.deform_roi_pool(x, boxes, a["offset"], size, scale, ratio, a["gamma"], a["mask"])
    if op == "prroi_pool":
        return reference.prroi_pool(x, boxes, size, scale)
    return reference.roi_pool(x, boxes, size, scale)[0], np.zeros(1)


cached = functools.cache(lambda op, seed, dtype: expected(op, case(op, seed, dtype)))


def backward(op: str, arguments: Arguments, grad: np.ndarray, layout: str = "NHWC") -> dict[str, np.ndarray]:
    """The gradients by name, NHWC maps."""
    a = dict(arguments)
    x = a.pop("input")
    a.pop("output_size")

    def to(y: np.ndarray) -> np.ndarray:
        return y if layout == "NHWC" else np.ascontiguousarray(y.transpose(0, 3, 1, 2))

    def back(y: np.ndarray) -> np.ndarray:
        return y if layout == "NHWC" else y.transpose(0, 2, 3, 1)

    function = getattr(ops, f"{op.split(maxsplit=1)[0]}_backward")
    if op in ("deform_roi_pool", "prroi_pool"):
        grads = function(to(grad), to(x), **a, layout=layout)
        names = ("boxes",) if op == "prroi_pool" else ("offset", "mask")
        found = dict(zip(names, grads[1:], strict=True))
        return {"input": back(grads[0])} | {name: g for name, g in found.items() if g is not None}
    if op == "roi_pool":
        _, argmax = ops.roi_pool(**(arguments | {"input": to(x)}), return_argmax=True, layout=layout)
        g = ops.roi_pool_backward(to(grad), a["boxes"], argmax, to(x).shape, layout=layout)
        return {"input": back(g)}
    if op == "roi_align max":
        a["input"] = to(x)
    return {"input": back(function(to(grad), a.pop("boxes"), to(x).shape, **a, layout=layout))}


def grad_of(arguments: Arguments, y: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", OPS)
def test_equals_the_reference(isa: str, op: str, layout: str) -> None:
    for seed in range(12):
        arguments = case(op, seed)
        y, bound = cached(op, seed, np.float32)
        got = run(op, arguments, layout)
        assert got.dtype == np.float32
        if op == "roi_pool":
            np.testing.assert_array_equal(got, y)
        else:
            # Weights and sums of up to a few hundred samples; positions are rounded as the reference's.
            assert_within(got, y, 40 * EPS * (bound + np.abs(arguments["input"]).max()))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", OPS)
def test_float64(isa: str, op: str, layout: str) -> None:
    for seed in range(6):
        y, _ = cached(op, seed, np.float64)
        got = run(op, case(op, seed, np.float64), layout)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("op", OPS)
def test_float16_is_computed_in_float32(op: str) -> None:
    arguments = case(op, 0)
    half = {k: v.astype(np.float16) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    wide = {k: v.astype(np.float32) if isinstance(v, np.ndarray) else v for k, v in half.items()}
    got = run(op, half)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, run(op, wide).astype(np.float16))
    np.testing.assert_array_equal(got, run(op, half | {"boxes": wide["boxes"]}))
    grad = grad_of(half, got)
    wide_grads = backward(op, wide, grad.astype(np.float32))
    for name, g in backward(op, half, grad).items():
        assert g.dtype == np.float16
        np.testing.assert_array_equal(g, wide_grads[name].astype(np.float16))


@pytest.mark.parametrize("op", ["roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"])
def test_float16_infinities_and_subnormals(op: str, isa: str) -> None:
    box = np.array([[0, 0, 0, 8, 8]], np.float16)
    least = np.finfo(np.float16).smallest_subnormal
    for value in (np.float16(np.inf), np.float16(-np.inf), least, -least):
        x = np.full((1, 1, 9, 9), value)
        assert getattr(ops, op)(x, box, 1) == value


@pytest.mark.parametrize("op", OPS)
def test_bfloat16_is_computed_in_float32(op: str) -> None:
    torch = pytest.importorskip("torch")
    arguments = case(op, 0)
    half = {
        k: torch.from_numpy(v).to(torch.bfloat16) if isinstance(v, np.ndarray) else v
        for k, v in arguments.items()
    }
    wide = {k: v.float() if isinstance(v, torch.Tensor) else v for k, v in half.items()}
    function = getattr(ops, op.split(maxsplit=1)[0])
    got = function(**half, layout="NHWC")
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, function(**wide, layout="NHWC").to(torch.bfloat16))
    assert torch.equal(got, function(**(half | {"boxes": wide["boxes"]}), layout="NHWC"))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", OPS)
def test_gradients_equal_finite_differences(isa: str, op: str, layout: str) -> None:
    rng, step = np.random.default_rng(0), 1e-6
    for seed in range(5):
        arguments = case(op, seed, np.float64)
        grad = grad_of(arguments, run(op, arguments))
        for name, got in backward(op, arguments, grad, layout).items():
            assert got.shape == arguments[name].shape
            if name == "boxes":
                assert not got[:, 0].any()
            for flat in rng.choice(got.size, min(got.size, 10), replace=False):
                at = np.unravel_index(flat, got.shape)
                if name == "boxes" and at[-1] == 0:
                    continue
                values = []
                for sign in (1, 0, -1):
                    moved = arguments[name].copy()
                    moved[at] += sign * step
                    values.append((run(op, arguments | {name: moved}) * grad).sum())
                if abs(values[0] - 2 * values[1] + values[2]) > 1e-3 * step:
                    continue  # a kink: a sample crosses a pixel's centre, or two values change places
                difference = (values[0] - values[2]) / (2 * step)
                assert abs(got[at] - difference) <= 1e-5 * (1 + abs(difference)), (seed, name, at)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", OPS)
def test_float32_gradients_equal_float64_ones(isa: str, op: str, layout: str) -> None:
    for seed in range(4):
        arguments = case(op, seed)
        doubles = {k: v.astype(np.float64) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
        y = run(op, arguments)
        if not np.allclose(y, run(op, doubles), rtol=1e-3, atol=1e-3):
            continue  # a position on an edge was rounded to its other side
        grad = grad_of(arguments, y)
        exact = backward(op, doubles, grad.astype(np.float64), layout)
        for name, got in backward(op, arguments, grad, layout).items():
            assert got.dtype == np.float32
            if op not in ("roi_pool", "roi_align max"):  # where rounding may choose another pixel
                np.testing.assert_allclose(got, exact[name], rtol=1e-3, atol=3e-4 * np.abs(exact[name]).max())
            np.testing.assert_allclose(got.sum(), exact[name].sum(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", OPS)
def test_threads_change_nothing(isa: str, op: str, layout: str) -> None:
    arguments = case(op, 1, boxes=90)
    grad = grad_of(arguments, run(op, arguments))
    check_threads_agree(lambda: np.ascontiguousarray(run(op, arguments, layout)))
    check_threads_agree(
        lambda: np.concatenate([g.ravel() for g in backward(op, arguments, grad, layout).values()])
    )


@pytest.mark.parametrize("op", OPS)
def test_layouts_agree(isa: str, op: str) -> None:
    """Of average pooling up to rounding, as float32 sums may be split elsewhere; maxima to the bit."""
    arguments = case(op, 5, boxes=40)
    np.testing.assert_allclose(run(op, arguments, "NCHW"), run(op, arguments), rtol=1e-5, atol=1e-5)
    grad = grad_of(arguments, run(op, arguments))
    first, last = (backward(op, arguments, grad, layout) for layout in ("NCHW", "NHWC"))
    for name, g in first.items():
        np.testing.assert_allclose(g, last[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("op", OPS)
def test_channels_last_memory_stays_so(op: str) -> None:
    arguments = case(op, 2)
    if arguments["input"].shape[3] == 1 or arguments["input"][0, ..., 0].size == 1:
        arguments["input"] = np.repeat(np.repeat(arguments["input"], 4, 1), 4, 3)
    if op.startswith("ps_"):
        arguments["output_size"] = (2, 2)
        arguments["input"] = np.repeat(arguments["input"], 4, 3)
    view = arguments["input"].transpose(0, 3, 1, 2)
    y = getattr(ops, op.split(maxsplit=1)[0])(**(arguments | {"input": view}))
    np.testing.assert_array_equal(y.transpose(0, 2, 3, 1), run(op, arguments))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("op", OPS)
def test_a_list_of_boxes_is_one_array_of_them(op: str) -> None:
    arguments = case(op, 1)
    boxes = arguments["boxes"][np.argsort(arguments["boxes"][:, 0], kind="stable")]
    images = [boxes[boxes[:, 0] == i, 1:] for i in range(len(arguments["input"]))]
    for name in ("offset", "mask"):
        arguments.pop(name, None)
    if op == "deform_roi_pool":
        arguments["offset"] = None
    np.testing.assert_array_equal(
        run(op, arguments | {"boxes": images}), run(op, arguments | {"boxes": boxes})
    )


@pytest.mark.parametrize("before", [False, True], ids=["page-after", "page-before"])
@pytest.mark.parametrize("op", OPS)
def test_neighbours_in_memory_are_not_touched(isa: str, op: str, before: bool) -> None:
    for channels in (*range(1, 19), 31, 33, 65):
        arguments = case(op, channels)
        if not op.startswith("ps_"):
            x = np.random.default_rng(0).standard_normal((*arguments["input"].shape[:3], channels))
            arguments["input"] = x.astype(np.float32)
        protected = {
            k: guarded(v, before=before) if isinstance(v, np.ndarray) else v for k, v in arguments.items()
        }
        y = run(op, arguments)
        np.testing.assert_array_equal(run(op, protected), y)
        grad = grad_of(arguments, y)
        for layout in ("NHWC", "NCHW"):
            plain = backward(op, arguments, grad, layout)
            for name, g in backward(op, protected, guarded(grad, before=before), layout).items():
                np.testing.assert_array_equal(g, plain[name])


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", OPS)
def test_nothing_to_pool(isa: str, op: str, layout: str) -> None:
    """No boxes, no channels, no images."""
    full = case(op, 1)
    for cut in ("boxes", "channels", "images"):
        arguments = dict(full)
        if cut == "channels":
            arguments["input"] = full["input"][..., :0]
        else:
            for name in ("boxes", "offset", "mask"):
                if arguments.get(name) is not None:
                    arguments[name] = full[name][:0]
        if cut == "images":
            arguments["input"] = full["input"][:0]
        y = run(op, arguments, layout)
        assert y.size == 0
        assert y.shape[0] == len(arguments["boxes"])
        for name, g in backward(op, arguments, np.zeros(y.shape, np.float32), layout).items():
            assert g.shape == arguments[name].shape
            assert not g.any()


@pytest.mark.parametrize("value", [3e38, -3e38, 1e30, 1e9, 1e-45])
@pytest.mark.parametrize("op", OPS)
def test_boxes_of_any_finite_size_have_defined_results(isa: str, op: str, value: float) -> None:
    if op == "roi_align_rotated":
        pytest.skip("refuses boxes that need too many samples, which the matrix of bad inputs checks")
    arguments = case(op, 1)
    for column in range(1, 5):
        boxes = arguments["boxes"].copy()
        boxes[0, column] = value
        for scale in (1.0, 1e3):
            y = run(op, arguments | {"boxes": boxes, "spatial_scale": scale})
            assert np.isfinite(y).all()
            assert np.abs(y).max() <= np.abs(arguments["input"]).max() * 1.001


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("count", [1, 2000])
@pytest.mark.parametrize(
    "op", ["roi_align", "roi_align max", "roi_align_rotated", "ps_roi_align", "prroi_pool"]
)
def test_boxes_beside_the_map_are_zero(isa: str, op: str, count: int, layout: str) -> None:
    """Their rows lie on the map or their columns do, but not both; the first box alone is on it."""
    x = np.random.default_rng(0).standard_normal((1, 60, 40, 4)).astype(np.float32)
    boxes = np.array(
        [[0, 1, 1, 3, 3], [0, -30, 2, -20, 58], [0, 60, 2, 70, 58], [0, 2, -30, 38, -20], [0, 2, 80, 38, 90]],
        np.float32,
    )
    if op == "roi_align_rotated":
        ends = boxes[:, 1:].reshape(-1, 2, 2)
        centres, sizes = ends.mean(1), ends[:, 1] - ends[:, 0]
        boxes = np.concatenate([boxes[:, :1], centres, sizes, 0 * boxes[:, :1]], 1)
    boxes = np.tile(boxes, (count, 1))
    options: Arguments = {"mode": "max"} if op == "roi_align max" else {}
    y = run(op, {"input": x, "boxes": boxes, "output_size": 2, **options}, layout)
    assert y[::5].any()
    y = y.reshape(count, 5, -1)
    assert not y[:, 1:].any()


# ---- detectron2's conventions


@pytest.mark.parametrize("op", ["roi_align", "roi_align_rotated", "deform_roi_pool"])
def test_aligned_bins_of_one_sample_read_pixels(isa: str, op: str) -> None:
    """An aligned box on whole pixels with a bin for each is a crop; half as many average pairs."""
    x = np.random.default_rng(0).standard_normal((1, 9, 12, 5)).astype(np.float32)
    box = np.array([[0, 2, 1, 8, 7]], np.float32)
    options: Arguments = {"sampling_ratio": 1}
    if op == "roi_align_rotated":
        box = np.array([[0, 5, 4, 6, 6, 0]], np.float32)
    elif op == "deform_roi_pool":
        options["offset"] = None
    else:
        options["aligned"] = True
    crop = run(op, {"input": x, "boxes": box, "output_size": 6, **options})
    np.testing.assert_allclose(crop[0], x[0, 1:7, 2:8], rtol=1e-6, atol=1e-6)
    pairs = run(op, {"input": x, "boxes": box, "output_size": 3, **options})
    np.testing.assert_allclose(
        pairs[0], x[0, 1:7, 2:8].reshape(3, 2, 3, 2, 5).mean((1, 3)), rtol=1e-5, atol=1e-5
    )


def test_aligned_roi_align_is_a_resize(isa: str) -> None:
    """Of a map twice enlarged, the box twice as large gives what the map itself does."""
    x = np.add.outer(np.arange(8.0), 3 * np.arange(10.0)).astype(np.float32)[None, :, :, None]
    large = np.add.outer(np.arange(16.0) / 2 - 0.25, 3 * (np.arange(20.0) / 2 - 0.25))
    box = np.array([[0, 1.3, 2.1, 7.7, 6.4]], np.float32)
    small = ops.roi_align(x, box, (4, 5), aligned=True, sampling_ratio=2, layout="NHWC")
    twice = ops.roi_align(
        large.astype(np.float32)[None, :, :, None],
        box,
        (4, 5),
        spatial_scale=2.0,
        aligned=True,
        sampling_ratio=2,
        layout="NHWC",
    )
    np.testing.assert_allclose(twice, small, rtol=1e-5, atol=1e-5)


def test_roi_align_is_grid_sample(isa: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 7, 11, 13))
    box = np.array([[0, 2.2, 1.4, 9.9, 8.3]])
    y = ops.roi_align(x, box, (4, 5), aligned=True, sampling_ratio=1)
    u = box[0, 1] + (np.arange(5) + 0.5) * (box[0, 3] - box[0, 1]) / 5
    v = box[0, 2] + (np.arange(4) + 0.5) * (box[0, 4] - box[0, 2]) / 4
    grid = np.stack(np.broadcast_arrays((2 * u / 13 - 1)[None], (2 * v / 11 - 1)[:, None]), -1)[None]
    exact = torch.nn.functional.grid_sample(
        torch.from_numpy(x), torch.from_numpy(grid), align_corners=False, padding_mode="border"
    )
    np.testing.assert_allclose(y, exact.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
def test_a_quarter_turn_turns_the_result(isa: str, turns: int) -> None:
    """Counter-clockwise on screen: what was to the right of the centre is above it."""
    x = np.random.default_rng(0).standard_normal((1, 11, 11, 3)).astype(np.float32)
    arguments: Arguments = {"input": x, "output_size": (3, 5), "sampling_ratio": 2}
    upright = run("roi_align_rotated", arguments | {"boxes": np.array([[0, 5.5, 5.5, 7, 4, 0]], np.float32)})
    turned = np.rot90(x, turns, axes=(1, 2)).copy()
    boxes = np.array([[0, 5.5, 5.5, 7, 4, 90 * turns]], np.float32)
    got = run("roi_align_rotated", arguments | {"boxes": boxes, "input": turned})
    np.testing.assert_allclose(got, upright, rtol=1e-4, atol=1e-5)


def test_prroi_pool_of_a_plane_is_its_value_in_the_middle(isa: str) -> None:
    x = np.add.outer(2 * np.arange(9.0), -np.arange(11.0))[None, :, :, None].astype(np.float32)
    boxes = np.array([[0, 1.2, 2.3, 7.9, 6.1], [0, 3.1, 3.2, 3.1001, 3.2001]], np.float32)
    y = ops.prroi_pool(x, boxes, 1, layout="NHWC")
    middles = 2 * (boxes[:, 2] + boxes[:, 4]) / 2 - (boxes[:, 1] + boxes[:, 3]) / 2
    np.testing.assert_allclose(y.ravel(), middles, rtol=1e-5)


# ---- an implementation that nobody here wrote


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", ["roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"])
def test_equals_torchvision(torchvision: ModuleType, isa: str, op: str, layout: str) -> None:
    """Results and gradients by autograd, in float64, where no rounding hides a difference, and in float32."""
    import torch

    compared = 0
    for seed in range(30):
        for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 2e-4)):
            arguments = case(op, seed, dtype)
            if op in ("ps_roi_align", "ps_roi_pool", "roi_align"):  # 0 / 0 there
                arguments["boxes"] = np.delete(arguments["boxes"], [1, 2], axis=0)
            rest = {k: v for k, v in arguments.items() if k not in ("input", "boxes")}
            x = torch.from_numpy(arguments["input"].transpose(0, 3, 1, 2).copy()).requires_grad_()
            theirs = getattr(torchvision.ops, op)(x, torch.from_numpy(arguments["boxes"]), **rest)
            if not torch.isfinite(theirs).all():
                continue
            compared += 1
            y = run(op, arguments, layout)
            np.testing.assert_allclose(
                y, theirs.detach().permute(0, 2, 3, 1).numpy(), rtol=tolerance, atol=tolerance
            )
            if op == "ps_roi_pool":
                continue  # see the next test
            grad = grad_of(arguments, y)
            theirs.backward(torch.from_numpy(grad.transpose(0, 3, 1, 2).copy()))
            ours = backward(op, arguments, grad, layout)["input"]
            np.testing.assert_allclose(
                ours, x.grad.permute(0, 2, 3, 1).numpy(), rtol=10 * tolerance, atol=10 * tolerance
            )
    assert compared > 40


def test_gradient_of_ps_roi_pool_is_torchvisions_but_for_the_border(
    torchvision: ModuleType, isa: str
) -> None:
    """torchvision's backward pass takes in the map's last row and column, which its result leaves out: it is
    not the transposed forward pass there, ours is."""
    import torch

    rng = np.random.default_rng(5)
    pixels, shape = rng.standard_normal((2, 24, 20, 22)), (2, 24, 20, 22)
    corner = rng.uniform(0, 8, (40, 2))
    inside = np.concatenate(
        [rng.integers(0, 2, (40, 1)), corner, corner + rng.uniform(1, 9, (40, 2))], axis=1
    )
    for boxes, agree in ((inside, True), (inside + np.array([0, 6, 6, 6, 6]), False)):
        x = torch.from_numpy(pixels).requires_grad_()
        y = torchvision.ops.ps_roi_pool(x, torch.from_numpy(boxes), (3, 2))
        pooled = ops.ps_roi_pool(pixels, boxes, (3, 2))
        np.testing.assert_allclose(pooled, y.detach(), rtol=1e-10, atol=1e-10)
        grad = rng.standard_normal(pooled.shape)
        y.backward(torch.from_numpy(grad))
        ours, theirs = ops.ps_roi_pool_backward(grad, boxes, shape), x.grad.numpy()
        assert (grad * pooled).sum() == pytest.approx((ours * pixels).sum(), rel=1e-9)
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-9) == agree


def test_argmax_equals_torchvisions(torchvision: ModuleType, isa: str) -> None:
    import torch

    for seed in range(20):
        a = case("roi_pool", seed)
        x = np.ascontiguousarray(a["input"].transpose(0, 3, 1, 2))
        theirs, places = torch.ops.torchvision.roi_pool(
            torch.from_numpy(x), torch.from_numpy(a["boxes"]), a["spatial_scale"], *a["output_size"]
        )
        y, argmax = ops.roi_pool(**(a | {"input": x}), return_argmax=True)
        np.testing.assert_array_equal(y, theirs.numpy())
        np.testing.assert_array_equal(argmax, places.numpy())
        assert argmax.dtype == np.int32


PYRAMID = ((32, 40), (16, 20), (8, 10))
SCALES = [1 / 4, 1 / 8, 1 / 16]


def pyramid(dtype: type = np.float32) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((2, 5, h, w)).astype(dtype) for h, w in PYRAMID]
    sides = np.exp(rng.uniform(np.log(4), np.log(160), (60, 2)))
    corner = rng.uniform(0, 1, (60, 2)) * np.maximum(np.array([160, 128]) - sides, 1)
    image = rng.integers(0, 2, (60, 1))
    return features, np.concatenate([image, corner, corner + sides], 1).astype(dtype)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_multi_scale_equals_torchvision(torchvision: ModuleType, isa: str, layout: str) -> None:
    import torch

    features, boxes = pyramid()
    boxes = boxes[np.argsort(boxes[:, 0], kind="stable")]
    lists = [boxes[boxes[:, 0] == i, 1:] for i in range(2)]
    options: Arguments = {"canonical_scale": 56, "canonical_level": 3}
    pooler = torchvision.ops.MultiScaleRoIAlign(["0", "1", "2"], 7, 2, **options)
    maps = {str(i): torch.from_numpy(x) for i, x in enumerate(features)}
    theirs = pooler(maps, [torch.from_numpy(b) for b in lists], [(128, 160)] * 2).numpy()
    if layout == "NHWC":
        features = [np.ascontiguousarray(x.transpose(0, 2, 3, 1)) for x in features]
    for given in (boxes, lists):
        y = ops.multi_scale_roi_align(features, given, 7, SCALES, **options, layout=layout)
        ours = y if layout == "NCHW" else y.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_multi_scale_gradients_are_those_of_each_level(isa: str) -> None:
    features, boxes = pyramid(np.float64)
    options: Arguments = {"canonical_scale": 56, "canonical_level": 3}
    y = ops.multi_scale_roi_align(features, boxes, (3, 4), SCALES, **options)
    grad = grad_of({}, y)
    grads = ops.multi_scale_roi_align_backward(grad, boxes, [x.shape for x in features], SCALES, **options)
    root = np.sqrt((boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2]))
    level = np.clip(np.floor(3 + np.log2(root / 56) + 1e-6), 2, 4).astype(int) - 2
    assert set(level) == {0, 1, 2}
    for i, x in enumerate(features):
        mine = level == i
        np.testing.assert_allclose(
            y[mine], ops.roi_align(x, boxes[mine], (3, 4), SCALES[i], 2), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(
            grads[i], ops.roi_align_backward(grad[mine], boxes[mine], x.shape, SCALES[i], 2), atol=1e-12
        )
    check_threads_agree(
        lambda: np.concatenate(
            [
                g.ravel()
                for g in ops.multi_scale_roi_align_backward(
                    grad, boxes, [x.shape for x in features], SCALES, **options
                )
            ]
        )
    )


# ---- gradients through torch


@pytest.mark.parametrize("op", OPS)
def test_gradcheck(op: str) -> None:
    torch = pytest.importorskip("torch")
    from pyvision.interop import torch as interop

    arguments = case(op, 4, np.float64, boxes=2)
    x = arguments["input"][:, :5, :5, : None if op.startswith("ps_") else 3]
    arguments["input"] = x.transpose(0, 3, 1, 2)
    if op == "deform_roi_pool":
        size = arguments["output_size"]
        rng = np.random.default_rng(0)
        arguments["offset"], arguments["mask"] = (rng.standard_normal((2, c, *size)) for c in (2, 1))
    tensors = {name: torch.tensor(x) for name, x in arguments.items() if isinstance(x, np.ndarray)}
    names = [name for name in tensors if name != "boxes" or op == "prroi_pool"]

    def function(*given: Any) -> Any:
        found = tensors | dict(zip(names, given, strict=True))
        if "boxes" in names:  # without the images' indices
            found["boxes"] = torch.cat([tensors["boxes"][:, :1], found["boxes"]], 1)
        return getattr(interop, op.split(maxsplit=1)[0])(**(arguments | found))

    starts = [
        (tensors[name][:, 1:].clone() if name == "boxes" else tensors[name]).requires_grad_()
        for name in names
    ]
    assert torch.autograd.gradcheck(function, starts, atol=1e-5)
    if op in ("roi_align", "roi_align_rotated", "ps_roi_align", "ps_roi_pool"):  # linear in the input
        assert torch.autograd.gradgradcheck(function, starts, atol=1e-5)


def test_torch_tensors_come_back_as_such() -> None:
    torch = pytest.importorskip("torch")
    arguments = case("roi_align", 1)
    x = torch.from_numpy(arguments["input"]).permute(0, 3, 1, 2)
    y = ops.roi_align(**(arguments | {"input": x, "boxes": torch.from_numpy(arguments["boxes"])}))
    assert isinstance(y, torch.Tensor)
    np.testing.assert_array_equal(y.permute(0, 2, 3, 1).numpy(), run("roi_align", arguments))


def test_infinite_pixels_stay_where_they_are(isa: str) -> None:
    """A sample beside a pixel takes nothing of it, not even 0 times it."""
    x = np.zeros((1, 6, 6, 3), np.float32)
    x[0, 2, 3] = np.inf
    box = np.array([[0, 0, 0, 6, 6]], np.float32)
    y = ops.roi_align(x, box, 6, aligned=True, sampling_ratio=1, layout="NHWC")
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", ["ps_roi_align", "ps_roi_pool"])
@pytest.mark.parametrize("width", [*range(4, 9), *range(15, 19), 35])
def test_an_infinite_pixel_counts_once(op: str, width: int, layout: str, isa: str) -> None:
    """However a bin's columns are grouped: what is counted twice and taken back is no number any more."""
    box = np.array([[0, 0, 0, width, 6]], np.float32)
    for column in range(1, width - 1):
        x = np.ones((1, 6, width, 1), np.float32)
        x[:, 3, column] = np.inf
        x = x.reshape((1, 6, width, 1) if layout == "NHWC" else (1, 1, 6, width))
        assert getattr(ops, op)(x, box, 1, layout=layout) == np.inf, column


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("op", ["ps_roi_align", "ps_roi_pool"])
def test_an_infinite_pixel_of_a_small_box(op: str, layout: str, isa: str) -> None:
    """One of few taps, on a map that is hardly read."""
    x = np.ones((1, 40, 40, 1), np.float32)
    x[:, 20, 20] = np.inf
    x = x.reshape((1, 40, 40, 1) if layout == "NHWC" else (1, 1, 40, 40))
    for end in (21, 22, 23):
        assert getattr(ops, op)(x, np.array([[0, 19, 19, end, end]], np.float32), 1, layout=layout) == np.inf


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("width", [12, 30, 75])
def test_an_infinite_pixel_between_samples_counts_not(width: int, layout: str, isa: str) -> None:
    x = np.full((1, 6, width, 1), np.inf, np.float32)
    box = np.array([[0, 0, 0, width, 6]] * 9, np.float32)
    for column in (width * i / 4 - 0.5 for i in (1, 3)):  # of two samples across
        x[:, :, int(column) : int(column) + 2] = 2
    x = x.reshape((1, 6, width, 1) if layout == "NHWC" else (1, 1, 6, width))
    assert (ops.ps_roi_align(x, box, 1, sampling_ratio=2, layout=layout) == 2).all()


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("ratio", [0, 1, 3, None])
@pytest.mark.parametrize("width", [7, 15, 16, 17, 33, 75])
def test_bins_of_many_columns(width: int, ratio: int | None, layout: str, isa: str) -> None:
    """As many columns as vectors have lanes, and more, up to the last byte of the map."""
    op = "ps_roi_pool" if ratio is None else "ps_roi_align"
    sides = np.array([width, width / 2, width / 3, 2.0])
    boxes = np.array([[n, width - s, 0, width, 9] for n in (0, 1) for s in sides], np.float32)
    x = np.random.default_rng(width).standard_normal((2, 9, width, 12), dtype=np.float32)
    arguments: Arguments = {"input": x, "boxes": boxes, "output_size": (2, 2), "spatial_scale": 1.0}
    if ratio is not None:
        arguments["sampling_ratio"] = ratio
    y, bound = expected(op, arguments)
    for before in (False, True):
        if layout == "NCHW":
            got = getattr(ops, op)(
                **(arguments | {"input": guarded(x.transpose(0, 3, 1, 2), before=before)}), layout=layout
            ).transpose(0, 2, 3, 1)
        else:
            got = run(op, arguments | {"input": guarded(x, before=before)})
        assert_within(got, y, 40 * EPS * (bound + np.abs(x).max()))


def test_many_outputs_of_one_bin() -> None:
    """Two boxes on one pixel, whose gradients add up, and an image without any."""
    x = np.random.default_rng(0).standard_normal((2, 1, 1, (4 << 20) + 1), dtype=np.float32)
    box = np.array([[1, 0, 0, 1, 1]] * 2, np.float32)
    y = ops.ps_roi_align(x, box, 1, sampling_ratio=1, layout="NHWC")
    np.testing.assert_array_equal(y[0], x[1])
    np.testing.assert_array_equal(y[1], x[1])
    grad = ops.ps_roi_align_backward(x, box, x.shape, sampling_ratio=1, layout="NHWC")
    np.testing.assert_array_equal(grad[0], np.zeros_like(x[0]))
    np.testing.assert_array_equal(grad[1], x[0] + x[1])


def test_rows_of_too_many_values() -> None:
    """A pixel's place in a row of neighbouring channels has 32 bits."""
    grad = np.zeros((0, 7, 7, 1_000), np.float32)
    with pytest.raises(ValueError, match="input_shape of fewer than 2\\^31 values in a row"):
        ops.ps_roi_pool_backward(grad, np.zeros((0, 5), np.float32), (1, 1, 50_000, 49_000), layout="NHWC")


def test_tall_map_with_channels_of_its_own(isa: str) -> None:
    """Tasks of many rows, the last of an odd number; several windows of columns and of outputs."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(-4, (30, 500), (12, 2))
    sides = rng.uniform(2, (40, 300), (12, 2))
    x = rng.standard_normal((1, 531, 37, 425), dtype=np.float32)
    arguments: Arguments = {
        "input": x, "boxes": np.concatenate([np.zeros((12, 1)), corner, corner + sides], 1, dtype=np.float32),
        "output_size": (5, 5), "spatial_scale": 1.0,
    }  # fmt: skip
    y, bound = expected("ps_roi_pool", arguments)
    assert_within(run("ps_roi_pool", arguments, "NHWC"), y, 40 * EPS * (bound + np.abs(x).max()))
    check_threads_agree(lambda: run("ps_roi_pool", arguments, "NHWC"))


@pytest.mark.parametrize(
    ("op", "outputs"), [("ps_roi_align", 5), *(("ps_roi_pool", outputs) for outputs in (1, 5, 21))]
)
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_many_boxes_with_channels_of_their_own(op: str, outputs: int, layout: str, isa: str) -> None:
    """Bins that several tasks share, at 1 and 2 threads; their gradient is the transpose."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(-4, 40, (60, 2))
    boxes = np.concatenate(
        [rng.integers(0, 2, (60, 1)), corner, corner + rng.uniform(0, 50, (60, 2))], axis=1
    )
    x = rng.standard_normal((2, 37, 50, 9 * outputs), dtype=np.float32)
    arguments: Arguments = {
        "input": x, "boxes": boxes.astype(np.float32), "output_size": (3, 3), "spatial_scale": 1.0,
    }  # fmt: skip
    if op == "ps_roi_align":
        arguments["sampling_ratio"] = 0
    y, bound = expected(op, arguments)
    assert_within(run(op, arguments, layout), y, 40 * EPS * (bound + np.abs(x).max()))
    check_threads_agree(lambda: run(op, arguments, layout))

    order = (0, 1, 2, 3) if layout == "NHWC" else (0, 3, 1, 2)
    grad = rng.standard_normal(y.shape, dtype=np.float32)
    backward = getattr(ops, f"{op}_backward")
    rest = {k: v for k, v in arguments.items() if k not in ("input", "output_size")}
    given = np.ascontiguousarray(grad.transpose(order))
    shape = tuple(x.shape[i] for i in order)
    dx = backward(given, input_shape=shape, layout=layout, **rest)
    np.testing.assert_allclose(
        np.sum(dx.astype(np.float64) * x.transpose(order)), np.sum(y * grad.astype(np.float64)), rtol=1e-4
    )
    check_threads_agree(lambda: backward(given, input_shape=shape, layout=layout, **rest))
    if layout == "NHWC":  # either layout has a way of its own
        planes = np.ascontiguousarray(grad.transpose(0, 3, 1, 2))
        other = backward(planes, input_shape=(2, 9 * outputs, 37, 50), layout="NCHW", **rest)
        np.testing.assert_allclose(dx, other.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_more_boxes_with_channels_of_their_own_than_are_sorted_together() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(-2, 12, (9_000, 2))
    boxes = np.concatenate(
        [rng.integers(0, 2, (9_000, 1)), corner, corner + rng.uniform(0, 9, (9_000, 2))], axis=1
    )
    x = rng.standard_normal((2, 8, 19, 11))  # channels first: another way, that knows no batches
    first = ops.ps_roi_pool(x, boxes, (2, 2), 1.0, layout="NCHW")
    last = ops.ps_roi_pool(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), boxes, (2, 2), 1.0, layout="NHWC")
    np.testing.assert_allclose(last, first.transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-12)
    grad = rng.standard_normal(first.shape)
    dx = ops.ps_roi_pool_backward(grad, boxes, x.shape, 1.0, layout="NCHW")
    last = ops.ps_roi_pool_backward(
        np.ascontiguousarray(grad.transpose(0, 2, 3, 1)), boxes, (2, 19, 11, 8), 1.0, layout="NHWC"
    )
    np.testing.assert_allclose(last, dx.transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("times", [1, 60])  # few and many reads of a pixel
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_pixels_between_taps_do_not_count(layout: str, times: int, isa: str) -> None:
    """Infinite pixels that no sample of ps_roi_align touches leave no trace."""
    x = np.full((1, 30, 40, 18), np.inf, np.float32)
    boxes = np.array([[0, 3, 3, 33, 27], [0, 5, 5, 11, 11], [0, 60, 60, 90, 90]], np.float32)
    touched = np.zeros((30, 40), bool)
    for _, x1, y1, x2, y2 in boxes[:2]:
        taps = []
        for low, high in ((y1, y2), (x1, x2)):
            samples = low - 0.5 + (np.arange(6) + 0.5) * (high - low) / 6
            taps.append(np.unique([np.floor(samples), np.ceil(samples)]).astype(int))
        touched[np.ix_(*taps)] = True
    x[:, touched] = 1
    arguments: Arguments = {
        "input": x, "boxes": np.tile(boxes, (times, 1)), "output_size": 3, "spatial_scale": 1.0,
        "sampling_ratio": 2,
    }  # fmt: skip
    y = run("ps_roi_align", arguments, layout).reshape(times, 3, -1)
    np.testing.assert_allclose(y[:, :2], 1, rtol=1e-6)
    assert (y[:, 2] == 0).all()


@pytest.mark.parametrize(
    ("argument", "overrides"),
    [
        ("features", {"features": []}),
        ("features", {"features": None}),
        ("features", {"features": [np.zeros((2, 5, 8, 10), dtype) for dtype in "ffd"]}),
        ("features", {"features": [[1.0]] * 3}),
        ("features", {"features": [np.zeros((2, c, 8, 10), np.float32) for c in (5, 5, 6)]}),
        ("features", {"features": [np.zeros((n, 5, 8, 10), np.float32) for n in (2, 1, 2)]}),
        ("spatial_scales", {"spatial_scales": SCALES[:2]}),
        ("spatial_scales", {"spatial_scales": SCALES[::-1]}),
        ("spatial_scales", {"spatial_scales": [1.0, 0.5, 0.0]}),
        ("spatial_scales", {"spatial_scales": [np.inf, 0.5, 0.25]}),
        ("spatial_scales", {"spatial_scales": [0.5, 0.25, 0.0625]}),  # whose missing level some boxes fit
        ("spatial_scales", {"spatial_scales": [0.6, 0.3, 0.15]}),
        ("spatial_scales", {"spatial_scales": [1e300, 1.0, 0.5]}),
        ("spatial_scales", {"spatial_scales": 0.25}),
        ("spatial_scales", {"spatial_scales": ["1", "0.5", "0.25"]}),
        ("canonical_scale", {"canonical_scale": 0}),
        ("canonical_scale", {"canonical_scale": 224.0}),
        ("canonical_level", {"canonical_level": None}),
        ("boxes", {"boxes": np.full((1, 5), np.nan, np.float32)}),
    ],
)
def test_multi_scale_refuses(argument: str, overrides: Arguments) -> None:
    features, boxes = pyramid()
    arguments = {"features": features, "boxes": boxes, "output_size": 7, "spatial_scales": SCALES}
    message = rf"^\[multi_scale_roi_align\] expected .*\b{argument}\b"
    with pytest.raises((ValueError, TypeError), match=message):
        ops.multi_scale_roi_align(**(arguments | overrides))
    if argument != "spatial_scales":
        return
    backward = {
        "grad_output": np.zeros((len(boxes), 5, 7, 7), boxes.dtype),
        "boxes": boxes,
        "input_shapes": [x.shape for x in features],
    }
    with pytest.raises((ValueError, TypeError), match=message.replace("align", "align_backward")):
        ops.multi_scale_roi_align_backward(**(backward | overrides))
