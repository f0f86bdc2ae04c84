# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvision import ops
from tests._guard import guarded
from tests.helpers import check_threads_agree
from tests.reference import boxes as reference

DTYPES = ["float32", "float64"]
with_fixtures = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


def rotated_boxes(n: int, dtype: str = "float32", seed: int = 0, *, spread: float = 25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    columns = rng.uniform(-spread, spread, (n, 2)), rng.uniform(1, 40, (n, 2)), rng.uniform(-720, 720, (n, 1))
    return np.concatenate(columns, axis=1).astype(dtype)


def pairwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([[reference.rotated_iou(p, q) for q in b] for p in a]).reshape(len(a), len(b))


def tolerance(dtype: str) -> float:
    """Corners, clamps and four products round at the larger box's size; cosines are float32's."""
    return 64 * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 7), (5, 9), (4, 16), (6, 17), (30, 33)])
def test_equals_clipping(isa: str, dtype: str, n: int, m: int) -> None:
    a, b = rotated_boxes(n, dtype, 1), rotated_boxes(m, dtype, 2)
    iou = ops.box_iou_rotated(guarded(a), guarded(b))
    assert iou.dtype == dtype
    np.testing.assert_allclose(iou, pairwise(a, b), rtol=0, atol=tolerance(dtype))
    k = min(n, m)
    np.testing.assert_array_equal(ops.box_iou_rotated(a[:k], b[:k], aligned=True), np.diag(iou[:k, :k]))


@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES), st.sampled_from([0.0, 1e6, -1e6]))
@with_fixtures
def test_properties(isa: str, seed: int, dtype: str, offset: float) -> None:
    a = rotated_boxes(20, dtype, seed)
    a[:, :2] += a.dtype.type(offset)
    a[5:10, 2:] = a[:5, 2:]  # equal areas, and some equal boxes
    a[10:12] = a[:2]
    iou = ops.box_iou_rotated(a, a)
    assert ((iou >= 0) & (iou <= 1)).all()
    np.testing.assert_array_equal(iou, iou.T)
    np.testing.assert_array_equal(np.diag(iou), 1)
    np.testing.assert_array_equal(iou[[0, 1], [10, 11]], 1)
    np.testing.assert_allclose(iou, pairwise(a, a), rtol=0, atol=tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 4, 2, 0), (0, 0, 4, 2, 180), 1),
        ((0, 0, 4, 2, 0), (0, 0, 2, 4, 90), 1),
        ((0, 0, 4, 2, 0), (0, 0, 2, 4, -450), 1),
        ((0, 0, 4, 2, 33), (0, 0, 4, 2, 33), 1),
        ((0, 0, 4, 2, 0), (0, 0, 4, 2, 90), 4 / 12),
        ((0, 0, 2, 2, 0), (0, 0, 2, 2, 45), (8 * 2**0.5 - 8) / (16 - 8 * 2**0.5)),  # a regular octagon
        ((0, 0, 2, 2, 0), (2, 0, 2, 2, 0), 0),  # touching sides
        ((0, 0, 2, 2, 0), (2, 2, 2, 2, 0), 0),  # touching corners
        ((0, 0, 2, 2, 0), (1 + 2**0.5, 0, 2, 2, 45), 0),  # a corner touches a side
        ((0, 0, 2, 2, 0), (1, 0, 2, 2, 0), 1 / 3),  # collinear sides
        ((0, 0, 8, 8, 0), (1, 1, 2, 2, 30), 4 / 64),  # contained
        ((0, 0, 2, 2, 0), (9, 9, 2, 2, 45), 0),
        ((0, 0, 200, 2, 45), (0, 0, 200, 2, -45), 4 / 796),  # a cross of thin boxes
    ],
)
def test_exact_cases(isa: str, dtype: str, offset: float, a: tuple, b: tuple, expected: float) -> None:  # type: ignore[type-arg]
    boxes = np.array([a, b], dtype)
    if offset and boxes[1, 0] % 1:
        boxes[1, 0] += 2.0**-6  # its position rounds there: keep it apart
    boxes[:, :2] += boxes.dtype.type(offset)
    iou = ops.box_iou_rotated(boxes[:1], boxes[1:])[0, 0]
    np.testing.assert_allclose(iou, expected, rtol=0, atol=tolerance(dtype))
    if expected in (0, 1) and b[4] % 90 == 0:
        assert iou == expected


def test_degenerate_boxes_overlap_nothing(isa: str) -> None:
    boxes = np.array([[0, 0, 4, 4, 10], [0, 0, 0, 4, 10], [0, 0, -3, 4, 10], [0, 0, 3, -4, 0]], np.float32)
    expected = np.zeros((4, 4))
    expected[0, 0] = 1
    np.testing.assert_array_equal(ops.box_iou_rotated(boxes, boxes), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_boxes_that_are_not_finite_have_nan(isa: str, dtype: str, bad: float) -> None:
    boxes = np.tile(np.array([0, 0, 2, 2, 30], dtype), (6, 1))
    boxes[range(5), range(5)] = bad
    expected = np.full((6, 6), np.nan)
    expected[5, 5] = 1
    np.testing.assert_array_equal(ops.box_iou_rotated(boxes, boxes), expected)
    scores = np.arange(6, dtype=dtype)[::-1].copy()
    assert ops.nms_rotated(boxes, scores, 0.1).tolist() == [5]


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e25])
def test_scale_does_not_matter_even_where_float32_areas_overflow(isa: str, scale: float) -> None:
    boxes = rotated_boxes(12)
    large = boxes * np.array([scale] * 4 + [1], np.float32)
    np.testing.assert_allclose(
        ops.box_iou_rotated(large, large),
        ops.box_iou_rotated(boxes, boxes),
        rtol=0,
        atol=tolerance("float32"),
    )
    scores = np.arange(12, dtype=np.float32)
    np.testing.assert_array_equal(ops.nms_rotated(large, scores, 0.3), ops.nms_rotated(boxes, scores, 0.3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spread", [10, 60, 400])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_nms_is_greedy_by_these_overlaps(isa: str, dtype: str, spread: float, threshold: float) -> None:
    n = 130
    boxes = rotated_boxes(n, dtype, 3, spread=spread)
    boxes[100:110] = boxes[:10]
    scores = np.random.default_rng(4).integers(0, 50, n).astype(dtype)  # with ties
    limit = float(threshold)
    iou = ops.box_iou_rotated(boxes, boxes).astype(np.float64)
    expected = reference.greedy(iou, scores, limit)
    assert ops.nms_rotated(boxes, scores, threshold).tolist() == expected
    assert ops.nms_rotated(boxes, scores, threshold, max_output=3).tolist() == expected[:3]
    idxs = np.arange(n) % 3
    apart = np.where(idxs[:, None] == idxs, iou, 0)
    expected = reference.greedy(apart, scores, limit)
    assert ops.batched_nms_rotated(boxes, scores, idxs, threshold).tolist() == expected
    assert ops.batched_nms_rotated(boxes, scores, idxs, threshold, max_output=5).tolist() == expected[:5]


def test_any_number_of_threads_gives_the_same() -> None:
    boxes = rotated_boxes(300)
    check_threads_agree(lambda: ops.box_iou_rotated(boxes, boxes))
    check_threads_agree(lambda: ops.box_iou_rotated(boxes[:150], boxes[150:], aligned=True))


def test_empty() -> None:
    none, three = np.empty((0, 5), np.float32), rotated_boxes(3)
    assert ops.box_iou_rotated(none, three).shape == (0, 3)
    assert ops.box_iou_rotated(none, none, aligned=True).shape == (0,)
    assert ops.nms_rotated(none, np.empty(0, np.float32), 0.5).tolist() == []


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("kind", ["any", "touching", "slivers"])
def test_equals_shapely(kind: str, offset: float) -> None:
    shapely = pytest.importorskip("shapely")
    a, b = rotated_boxes(60, "float64", 5), rotated_boxes(60, "float64", 6)
    if kind == "slivers":
        a[:, 2], b[::2, 3] = 1e-3, 1e-3
    a[:, :2] += offset
    b[:, :2] += offset
    if kind == "touching":  # along an edge, or at a corner
        angle = np.radians(a[:, 4])
        across, down = np.array([np.cos(angle), -np.sin(angle)]).T, np.array([np.sin(angle), np.cos(angle)]).T
        b = a.copy()
        b[:, :2] += across * a[:, 2:3] + np.where(np.arange(60)[:, None] % 2, down * a[:, 3:4], 0)
    p, q = ([shapely.Polygon(reference.rotated_corners(box)) for box in boxes] for boxes in (a, b))
    expected = [[i.intersection(j).area / i.union(j).area for j in q] for i in p]
    # A corner is rounded by 2^-34 there, along 100 pixels and over a sliver's area of 1e-2.
    atol = 1e-12 if offset == 0 and kind == "any" else 1e-9 if offset == 0 else 1e-5
    np.testing.assert_allclose(ops.box_iou_rotated(a, b), expected, rtol=0, atol=atol)


def test_equals_torchvision(torchvision: ModuleType) -> None:
    torch = sys.modules["torch"]
    a, b = (torch.from_numpy(rotated_boxes(100, "float64", seed)) for seed in (7, 8))
    expected = torchvision.ops.box_iou(a, b, fmt="cxcywhr")
    # torchvision's is float32
    torch.testing.assert_close(ops.box_iou_rotated(a, b), expected, rtol=0, atol=1e-5, check_dtype=False)
