# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, check_threads_agree, random
from tests.reference import boxes as reference

DTYPES = ["float32", "float64"]
FORMATS = ["xyxy", "xywh", "cxcywh"]
with_fixtures = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def random_boxes(n: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-50, 50, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(-2, 40, (n, 2))], axis=1).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "m"), [(1, 1), (3, 7), (5, 8), (2, 9), (4, 15), (4, 16), (6, 17), (3, 33), (40, 50)]
)
def test_box_iou(isa: str, dtype: str, n: int, m: int) -> None:
    boxes1, boxes2 = random_boxes(n, dtype, 1), random_boxes(m, dtype, 2)
    iou = ops.box_iou(guarded(boxes1), guarded(boxes2))
    assert iou.dtype == dtype
    # Sides, products, sums and the quotient round once each, and no difference of rounded numbers is small.
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(iou, reference.box_iou(boxes1, boxes2), rtol=16 * eps, atol=0)


@given(
    hnp.arrays(
        np.float32, (7, 4), elements=st.sampled_from([0, 1, 2, 3, 1e-25, 1e-3, 1e6, 1e25, -3e38, 3e38])
    ),
    hnp.arrays(
        np.float32, (18, 4), elements=st.sampled_from([0, 1, 2, 3, 1e-25, 2e-3, 1e6, 1e25, -3e38, 3e38])
    ),
)
@with_fixtures
def test_box_iou_at_every_scale(isa: str, boxes1: np.ndarray, boxes2: np.ndarray) -> None:
    iou = ops.box_iou(boxes1, boxes2)
    # An intersection that underflows, over a union of 2^-100 or more: below 2^-49.
    np.testing.assert_allclose(iou, reference.box_iou(boxes1, boxes2), rtol=16 * EPS, atol=2.0**-49)
    assert ((iou >= 0) & (iou <= 1)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_box_iou_of_boxes_that_are_not_finite_is_nan(isa: str, dtype: str, bad: float) -> None:
    boxes = np.tile(np.array([0, 0, 2, 2], dtype), (5, 1))
    boxes[range(4), range(4)] = bad
    expected = np.full((5, 5), np.nan)
    expected[4, 4] = 1
    np.testing.assert_array_equal(ops.box_iou(boxes, boxes), expected)


KINDS = ["box_iou", "box_iof", "generalized_box_iou", "distance_box_iou", "complete_box_iou"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_overlaps_of_every_kind(isa: str, kind: str, dtype: str) -> None:
    boxes1, boxes2 = random_boxes(35, dtype, 1), random_boxes(35, dtype, 2)
    boxes2[:4] = boxes1[:4]
    expected = np.array([[reference.overlap(kind, a, b, 1e-7) for b in boxes2] for a in boxes1])
    tolerance = 32 * np.finfo(dtype).eps
    actual = getattr(ops, kind)(guarded(boxes1), guarded(boxes2))
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    for n in (1, 7, 8, 9, 16, 17, 35):
        aligned = getattr(ops, kind)(guarded(boxes1[:n]), guarded(boxes2[:n]), aligned=True)
        np.testing.assert_array_equal(aligned, np.diag(actual[:n, :n]))


@pytest.mark.parametrize("kind", KINDS)
def test_overlaps_at_any_scale(isa: str, kind: str) -> None:
    boxes = random_boxes(20)
    boxes[:, 2:] = boxes[:, :2] + 1 + np.abs(boxes[:, 2:] - boxes[:, :2])
    options = {"eps": 0.0} if kind[0] in "dc" else {}
    expected = getattr(ops, kind)(boxes, boxes, **options)
    for scale in (1e-28, 1e25):
        large = boxes * np.float32(scale)
        np.testing.assert_allclose(getattr(ops, kind)(large, large, **options), expected, rtol=0, atol=1e-5)


def test_overlaps_known_values() -> None:
    a, b = np.array([[0, 0, 2, 2]], np.float64), np.array([[3, 0, 4, 2], [1, 0, 2, 2]], np.float64)
    assert ops.box_iof(a, b).tolist() == [[0, 0.5]]
    assert ops.box_iof(b, a).tolist() == [[0], [1]]
    np.testing.assert_allclose(ops.generalized_box_iou(a, b), [[-2 / 8, 0.5]])
    np.testing.assert_allclose(ops.distance_box_iou(a, b, 0), [[-(2.5**2) / 20, 0.5 - 0.25 / 8]])
    point = np.ones((1, 4), np.float64)
    assert ops.generalized_box_iou(point, point).tolist() == [[0]]
    assert ops.distance_box_iou(point, point).tolist() == [[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_overlaps_of_boxes_that_are_not_finite_are_nan(isa: str, kind: str) -> None:
    boxes = random_boxes(3)
    boxes[1, 2] = np.nan
    assert np.isnan(getattr(ops, kind)(boxes, boxes))[1].all()
    assert np.isnan(getattr(ops, kind)(boxes, boxes))[:, 1].all()


@pytest.mark.parametrize("kind", KINDS)
def test_overlaps_refuse(kind: str) -> None:
    boxes, call = random_boxes(3), getattr(ops, kind)
    for arguments, options, error, message in (
        ((boxes, boxes[:2]), {"aligned": True}, ValueError, r"boxes2 of shape \(3, 4\), got \(2, 4\)"),
        ((boxes, boxes), {"aligned": 1}, TypeError, "aligned to be a bool"),
        ((boxes, boxes.astype(np.float64)), {}, TypeError, "boxes2 of dtype float32"),
        ((boxes[:, :3], boxes), {}, ValueError, r"boxes1 of shape \(N, 4\)"),
    ):
        with pytest.raises(error, match=rf"^\[{kind}\] expected {message}"):
            call(*arguments, **options)
    if kind[0] in "dc":
        for eps in (-1e-7, np.nan, np.inf):
            with pytest.raises(ValueError, match=rf"^\[{kind}\] expected eps to be finite"):
                call(boxes, boxes, eps)


def test_overlaps_are_torchvisions(torchvision: ModuleType) -> None:
    torch = sys.modules["torch"]
    boxes = random_boxes(60, "float64")
    boxes[:, 2:] = boxes[:, :2] + 1 + np.abs(boxes[:, 2:] - boxes[:, :2])
    a, b = torch.from_numpy(boxes[:30]), torch.from_numpy(boxes[30:])
    for kind in ("generalized_box_iou", "distance_box_iou", "complete_box_iou"):
        torch.testing.assert_close(getattr(ops, kind)(a, b), getattr(torchvision.ops, kind)(a, b))


ROTATED = {"cxcywhr": 5, "xywhr": 5, "xyxyxyxy": 8}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("in_fmt", ROTATED)
@pytest.mark.parametrize("out_fmt", ROTATED)
def test_rotated_formats_are_torchvisions(
    torchvision: ModuleType, dtype: str, in_fmt: str, out_fmt: str
) -> None:
    torch = sys.modules["torch"]
    rng = np.random.default_rng(0)
    parts = rng.uniform(-9, 9, (40, 2)), rng.uniform(1, 9, (40, 2)), rng.uniform(-179, 179, (40, 1))
    centred = torch.from_numpy(np.concatenate(parts, axis=1))
    boxes = torchvision.ops.box_convert(centred, "cxcywhr", in_fmt) if in_fmt != "cxcywhr" else centred
    converted = ops.box_convert(boxes.numpy().astype(dtype), in_fmt, out_fmt)
    assert converted.dtype == dtype
    expected = torchvision.ops.box_convert(boxes, in_fmt, out_fmt) if in_fmt != out_fmt else boxes
    np.testing.assert_allclose(converted, expected, rtol=0, atol=2000 * np.finfo(dtype).eps)


def test_rotated_formats_refuse_others() -> None:
    five, eight = np.zeros((2, 5), np.float32), np.zeros((2, 8), np.float32)
    for boxes, in_fmt, out_fmt in ((eight, "cxcywhr", "xywhr"), (five, "xyxyxyxy", "xywhr")):
        with pytest.raises(ValueError, match=r"^\[box_convert\] expected boxes of shape"):
            ops.box_convert(boxes, in_fmt, out_fmt)
    with pytest.raises(ValueError, match=r"^\[box_convert\] expected out_fmt to be"):
        ops.box_convert(np.zeros((2, 4), np.float32), "xyxy", "xywhr")


def test_box_iou_known_values() -> None:
    unit = np.array([[0, 0, 1, 1]], np.float32)
    others = np.array(
        [[0, 0, 1, 1], [1, 0, 2, 1], [0.5, 0, 1.5, 1], [0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0]], np.float32
    )
    np.testing.assert_allclose(ops.box_iou(unit, others), [[1, 0, 1 / 3, 0, 0]], rtol=EPS)
    assert ops.box_iou(others[3:], others[3:]).tolist() == [[0, 0], [0, 0]]


def test_box_iou_is_the_same_with_any_number_of_threads() -> None:
    boxes = random_boxes(700)
    check_threads_agree(lambda: ops.box_iou(boxes, boxes))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (17, 4), (2, 3, 4), (0, 4), (1, 2, 1, 2, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("in_fmt", FORMATS)
@pytest.mark.parametrize("out_fmt", FORMATS)
def test_box_convert(isa: str, shape: tuple[int, ...], dtype: str, in_fmt: str, out_fmt: str) -> None:
    boxes = random(shape, 100).astype(dtype)
    before = boxes.copy()
    converted = ops.box_convert(guarded(boxes), in_fmt, out_fmt)
    assert converted.dtype == dtype
    assert converted.shape == shape
    scale = max(np.abs(boxes).max(initial=0), 1)  # three roundings at the size of the coordinates
    tolerance = 4 * np.finfo(dtype).eps * scale
    np.testing.assert_allclose(
        converted, reference.box_convert(boxes, in_fmt, out_fmt), rtol=0, atol=tolerance
    )
    np.testing.assert_array_equal(boxes, before)
    if in_fmt == out_fmt:
        np.testing.assert_array_equal(converted, boxes)
        assert not np.shares_memory(converted, boxes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_box_area(isa: str, dtype: str) -> None:
    boxes = random_boxes(39, dtype).reshape(3, 13, 4)
    wide = boxes.astype(np.float64)
    sides = np.maximum(wide[..., 2:] - wide[..., :2], 0)
    area = ops.box_area(boxes)
    assert area.dtype == dtype
    np.testing.assert_allclose(area, sides.prod(axis=-1), rtol=4 * np.finfo(dtype).eps)
    degenerate = np.array([[1, 1, 0, 0], [0, 0, 0, 5], [0, 3, 9, 2], [0, 0, np.nan, 1]], dtype)
    np.testing.assert_array_equal(ops.box_area(degenerate), [0, 0, 0, np.nan])


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_boxes_to_image(isa: str, dtype: str) -> None:
    boxes = random_boxes(100, dtype).reshape(4, 25, 4)
    boxes[0, 0] = np.nan, -np.inf, np.inf, -0.0
    expected = boxes.copy()
    expected[..., 0::2] = np.clip(boxes[..., 0::2], 0, 31)
    expected[..., 1::2] = np.clip(boxes[..., 1::2], 0, 17)
    clipped = ops.clip_boxes_to_image(boxes, (17, 31))
    assert clipped.dtype == dtype
    np.testing.assert_array_equal(clipped, expected)


@pytest.mark.parametrize("call", [ops.box_area, lambda b: ops.box_convert(b, "xyxy", "cxcywh")])
def test_many_boxes_are_the_same_with_any_number_of_threads(call: Callable[[Any], Any]) -> None:
    boxes = random_boxes(100_001)
    check_threads_agree(lambda: call(boxes))


@pytest.mark.parametrize("dtype", DTYPES)
def test_remove_small_boxes(dtype: str) -> None:
    boxes = np.array(
        [
            [0, 0, 2, 2],
            [0, 0, 2, 1.5],
            [5, 5, 9, 7],
            [3, 3, 1, 1],
            [0, 0, np.nan, 9],
            [-np.inf, 0, np.inf, 9],
        ],
        dtype,
    )
    kept = ops.remove_small_boxes(boxes, 2)
    assert kept.dtype == np.int64
    assert kept.tolist() == [0, 2, 5]
    assert ops.remove_small_boxes(boxes[:0], 2).tolist() == []


def test_any_strides_and_byte_orders() -> None:
    boxes = random_boxes(30)
    wide = np.zeros((30, 8), np.float32)
    wide[:, ::2] = boxes
    for same in (wide[:, ::2], np.asfortranarray(boxes), boxes[::-1][::-1], boxes.astype(">f4")):
        np.testing.assert_array_equal(ops.box_iou(same, same), ops.box_iou(boxes, boxes))
        np.testing.assert_array_equal(ops.box_area(same), ops.box_area(boxes))
        np.testing.assert_array_equal(
            ops.box_convert(same, "xyxy", "xywh"), ops.box_convert(boxes, "xyxy", "xywh")
        )


def test_empty() -> None:
    none, three = np.empty((0, 4), np.float32), random_boxes(3)
    assert ops.box_iou(none, three).shape == (0, 3)
    assert ops.box_iou(three, none).shape == (3, 0)
    assert ops.box_area(none).shape == (0,)
    assert ops.clip_boxes_to_image(none, (1, 1)).shape == (0, 4)


@pytest.mark.parametrize(
    "op", ["box_iou", "box_iof", "generalized_box_iou", "distance_box_iou", "complete_box_iou"]
)
def test_half_precision_is_widened(op: str) -> None:
    half = random_boxes(20).astype(np.float16)
    expected = getattr(ops, op)(half.astype(np.float32), half.astype(np.float32))
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(getattr(ops, op)(half, half), expected)
    torch = pytest.importorskip("torch")
    boxes = torch.from_numpy(half).to(torch.bfloat16)
    np.testing.assert_array_equal(
        getattr(ops, op)(boxes, boxes), getattr(ops, op)(boxes.float(), boxes.float())
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_stored_and_not_computed_in(torchvision: ModuleType, dtype: str) -> None:
    torch, peer = sys.modules["torch"], torchvision.ops
    boxes = torch.from_numpy(random_boxes(30) * 8).to(getattr(torch, dtype))
    area = ops.box_area(boxes)  # of which a half would have 65504 at most
    assert area.dtype == torch.float32
    np.testing.assert_array_equal(area, ops.box_area(boxes.float()))
    torch.testing.assert_close(area, peer.box_area(boxes).clamp(min=0) * (boxes[:, 2:] > boxes[:, :2]).all(1))
    clipped = ops.clip_boxes_to_image(boxes, (80, 90))
    assert clipped.dtype == boxes.dtype
    torch.testing.assert_close(clipped, peer.clip_boxes_to_image(boxes, (80, 90)), rtol=0, atol=0)
    for fmt in ("xywh", "cxcywh"):
        converted = ops.box_convert(boxes, "xyxy", fmt)
        assert converted.dtype == boxes.dtype
        torch.testing.assert_close(converted, ops.box_convert(boxes.float(), "xyxy", fmt).to(boxes.dtype))
        torch.testing.assert_close(converted, peer.box_convert(boxes, "xyxy", fmt), rtol=0.02, atol=1)
    rotated = torch.cat([boxes, boxes[:, :1]], 1)
    turned = ops.box_convert(rotated, "cxcywhr", "xyxyxyxy")
    assert turned.dtype == boxes.dtype
    torch.testing.assert_close(
        turned, ops.box_convert(rotated.float(), "cxcywhr", "xyxyxyxy").to(boxes.dtype), rtol=0, atol=0
    )
    assert ops.remove_small_boxes(boxes, 90).tolist() == ops.remove_small_boxes(boxes.float(), 90).tolist()
    assert np.isinf(ops.box_convert(np.full((1, 4), 6e4, np.float16), "xywh", "xyxy")[0, 2])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_boxes_are_torchvisions(torchvision: ModuleType, dtype: str) -> None:
    torch, rng = sys.modules["torch"], np.random.default_rng(4)
    corner = rng.integers(-1000, 1000, (20, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 1500, (20, 2))], axis=1).astype(dtype)
    tensor = torch.from_numpy(boxes)
    for fmt in FORMATS:
        area = ops.box_area(boxes, fmt)
        assert area.dtype == np.int64
        sides = boxes[:, 2:] - (boxes[:, :2] if fmt == "xyxy" else 0)
        np.testing.assert_array_equal(area, sides.clip(min=0).prod(axis=1))
    assert ops.box_area(boxes[0]).shape == ()
    assert ops.box_area(tensor).dtype == torch.int64
    assert ops.box_area(np.array([[-10_000, 0, 60_000, 70_000]], dtype)).tolist() == [4_900_000_000]
    assert ops.box_area(np.array([[5, 0, 2, 9], [5, 9, 2, 0]], dtype)).tolist() == [0, 0]
    for kind in ("box_iou", *KINDS):
        overlaps = getattr(ops, kind)(boxes, boxes[:7])
        assert overlaps.dtype == np.float32
        if kind != "box_iof":
            known = getattr(torchvision.ops, kind)(tensor, tensor[:7])
            np.testing.assert_allclose(overlaps, known, rtol=0, atol=1e-6)
    far = np.array([[2**31 - 2, 0, 2**31 - 1, 1], [2**31 - 3, 0, 2**31 - 1, 1]], dtype)
    assert ops.box_iou(far, far)[0, 1] == 0.5  # which float32 could not tell apart
    with pytest.raises(TypeError, match=r"^\[box_iou\] expected boxes2 of dtype int64 or int32, got float32"):
        ops.box_iou(boxes, boxes.astype(np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_without_eps_are_0_where_there_is_nothing_to_compare(isa: str, dtype: str) -> None:
    boxes = np.array([[1, 1, 5, 4], [2, 2, 2, 2], [0, 3, 4, 3], [9, 9, 9, 9]], dtype)
    for op, least in ((ops.distance_box_iou, -1), (ops.complete_box_iou, -1.5)):
        overlaps = op(boxes, boxes, 0.0)
        assert np.diag(overlaps).tolist() == [1, 0, 0, 0]
        assert ((overlaps >= least) & (overlaps <= 1)).all()
        np.testing.assert_array_equal(op(boxes, boxes, 0.0, aligned=True), np.diag(overlaps))
        np.testing.assert_allclose(overlaps, op(boxes, boxes, 1e-12), atol=1e-6)


@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
def test_other_formats(fmt: str) -> None:
    boxes = random_boxes(20)
    other = ops.box_convert(boxes, "xyxy", fmt)
    corners = ops.box_convert(other, fmt, "xyxy")
    np.testing.assert_array_equal(ops.box_iou(other, other, fmt), ops.box_iou(corners, corners))
    np.testing.assert_array_equal(ops.box_area(other, fmt), ops.box_area(corners))
    for call in (lambda: ops.box_iou(boxes, boxes, "xyhw"), lambda: ops.box_area(boxes, "xyhw")):
        with pytest.raises(ValueError, match=r"^\[box_\w+\] expected fmt to be xyxy, .*, got 'xyhw'"):
            call()


CALLS: dict[str, Callable[[Any], Any]] = {
    "box_iou": lambda b: ops.box_iou(b, np.zeros((2, 4), np.float32)),
    "box_convert": lambda b: ops.box_convert(b, "xyxy", "xywh"),
    "box_area": ops.box_area,
    "clip_boxes_to_image": lambda b: ops.clip_boxes_to_image(b, (4, 4)),
    "remove_small_boxes": lambda b: ops.remove_small_boxes(b, 1),
}


@pytest.mark.parametrize("op", CALLS)
@pytest.mark.parametrize(
    ("boxes", "error"),
    [
        ([[0, 0, 1, 1]], TypeError),
        (None, TypeError),
        (np.zeros((2, 4), np.uint8), TypeError),
        (np.zeros((2, 4), np.complex64), TypeError),
        (np.zeros((2, 5), np.float32), ValueError),
        (np.zeros((), np.float32), ValueError),
        (np.zeros((4, 0), np.float32), ValueError),
    ],
)
def test_bad_boxes(op: str, boxes: object, error: type) -> None:
    with pytest.raises(error, match=rf"^\[{op}\] expected boxes"):
        CALLS[op](boxes)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda b: ops.box_iou(b, b.astype(np.float64)),
            TypeError,
            "boxes2 of dtype float32 or .*, got float64",
        ),
        (lambda b: ops.box_iou(b, b[:, :3]), ValueError, r"boxes2 of shape \(N, 4\), got \(2, 3\)"),
        (lambda b: ops.box_convert(b, "xyxy", "xyhw"), ValueError, "out_fmt to be .*, got 'xyhw'"),
        (lambda b: ops.box_convert(b, None, "xyxy"), TypeError, "in_fmt to be .*, got None"),
        (
            lambda b: ops.clip_boxes_to_image(b, (-1, 4)),
            ValueError,
            r"size to be non-negative, got \(-1, 4\)",
        ),
        (lambda b: ops.clip_boxes_to_image(b, (1, 2, 3)), ValueError, "size to be"),
        (lambda b: ops.clip_boxes_to_image(b, (1.5, 2)), TypeError, "size to be an integer"),
        (lambda b: ops.remove_small_boxes(b, "1"), TypeError, "min_size to be a number"),
        (lambda b: ops.remove_small_boxes(b, np.nan), ValueError, "min_size to be a number"),
    ],
)
def test_bad_options(call: Callable[[np.ndarray], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[\w+\] expected {message}"):
        call(np.zeros((2, 4), np.float32))


def test_a_result_beyond_memory_is_refused() -> None:
    boxes = np.zeros((2**24, 4), np.float32)
    with pytest.raises(ValueError, match=r"^\[box_iou\] expected an output that fits in memory"):
        ops.box_iou(boxes, boxes)


def test_torch_in_torch_out() -> None:
    torch = pytest.importorskip("torch")
    boxes = random_boxes(6)
    result = ops.box_convert(torch.from_numpy(boxes), "xyxy", "cxcywh")
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), ops.box_convert(boxes, "xyxy", "cxcywh"))
