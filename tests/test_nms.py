# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from functools import cache
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvision import ops, postprocess
from tests._guard import guarded
from tests.helpers import check_threads_agree
from tests.reference import boxes as reference

THRESHOLDS = [0.0, 0.1, 0.3, 0.5, 0.7, 1.0]
# The fixtures hold for the whole test, whatever hypothesis draws.
with_fixtures = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def random_boxes(
    rng: np.random.Generator, n: int, dtype: str = "float32", *, spread: float = 300, side: float = 80
) -> np.ndarray:
    corner = rng.uniform(-spread / 2, spread / 2, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0, side, (n, 2))], axis=1).astype(dtype)


def check_against_reference(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> None:
    kept = ops.nms(boxes, scores, threshold)
    assert kept.dtype == np.int64
    assert kept.tolist() == reference.nms(boxes, scores, threshold)


@st.composite
def awkward_boxes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Few distinct values: ties, identical, nested, touching, degenerate and not finite boxes."""
    dtype = draw(st.sampled_from(["float32", "float64"]))
    n = draw(st.integers(0, 40))
    coordinate = st.one_of(st.integers(0, 6), st.sampled_from([np.nan, np.inf, -np.inf, 0.1, 1e6, -0.0]))
    boxes = [[draw(coordinate) for _ in range(4)] for _ in range(n)]
    score = st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, -1.0, np.nan, np.inf, -np.inf])
    scores = [draw(score) for _ in range(n)]
    return np.array(boxes, dtype).reshape(n, 4), np.array(scores, dtype)


@given(awkward_boxes(), st.sampled_from([*THRESHOLDS, 1 / 3, 0.25]))
@with_fixtures
def test_awkward_boxes_equal_the_naive_loop(
    isa: str, case: tuple[np.ndarray, np.ndarray], threshold: float
) -> None:
    check_against_reference(*case, threshold)


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 130), st.sampled_from(THRESHOLDS), st.sampled_from([5, 40, 400])
)
@with_fixtures
def test_random_boxes_equal_the_naive_loop(
    isa: str, seed: int, n: int, threshold: float, side: float
) -> None:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, n, side=side)
    scores = (
        rng.integers(0, 8, n).astype(np.float32) if seed % 2 else rng.standard_normal(n).astype(np.float32)
    )
    check_against_reference(boxes, scores, threshold)


def boxes_of_a_kind(rng: np.random.Generator, kind: str, n: int) -> np.ndarray:
    boxes = random_boxes(rng, n, "float64", spread=40, side=30)
    if kind == "tied":  # often touching or the same
        return boxes.round(-1)
    if kind == "nested":
        shrink = rng.uniform(0, 9, (n, 1))
        return np.array([0, 0, 20, 20]) + shrink * [1, 1, -1, -1]
    if kind == "degenerate":
        return np.where(rng.random((n, 4)) < 0.3, boxes[:, [2, 3, 0, 1]], boxes)
    if kind == "not finite":
        return np.where(rng.random((n, 4)) < 0.1, rng.choice([np.nan, np.inf, -np.inf], (n, 4)), boxes)
    return boxes[rng.integers(0, max(n // 4, 1), n)] if kind == "identical" and n else boxes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["random", "tied", "nested", "degenerate", "not finite", "identical"])
def test_thousands_of_sets_equal_the_naive_loop(isa: str, kind: str, dtype: str) -> None:
    rng = np.random.default_rng(len(kind))
    for _ in range(500):
        n = int(rng.integers(0, 40))
        boxes = boxes_of_a_kind(rng, kind, n).astype(dtype)
        scores = rng.integers(0, 8, n) / 4 if kind == "tied" else rng.standard_normal(n)
        scores[rng.random(n) < (0.1 if kind == "not finite" else 0)] = np.nan
        check_against_reference(boxes, scores.astype(dtype), rng.choice(THRESHOLDS))


def naive_loop(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """The reference's loop, a row of overlaps at a time and in the boxes' type."""
    order = np.argsort(-scores, kind="stable")
    order = order[(np.isfinite(boxes).all(axis=1) & ~np.isnan(scores))[order]]
    x1, y1, x2, y2 = boxes[order].T
    areas = (x2 - x1).clip(min=0) * (y2 - y1).clip(min=0)
    stays, kept = np.ones(len(order), bool), []
    for i in range(len(order)):
        if not stays[i]:
            continue
        kept.append(int(order[i]))
        width, height = (
            np.minimum(x2, x2[i]) - np.maximum(x1, x1[i]),
            np.minimum(y2, y2[i]) - np.maximum(y1, y1[i]),
        )
        common = width.clip(min=0) * height.clip(min=0)
        hit = np.flatnonzero(common > 0)
        overlaps = common[hit] / ((areas[i] + areas[hit]) - common[hit])
        stays[hit[overlaps.astype(np.float64) > threshold]] = False
    return kept


@cache
def crowd(kind: str, dtype: str) -> tuple[np.ndarray, np.ndarray, dict[float, list[int]]]:
    """Enough boxes for a grid, in groups whose cells share borders; and what the naive loop keeps."""
    rng = np.random.default_rng(len(kind))
    n = 2000
    offset = rng.integers(0, 12, (n, 2)) * (25 if kind == "tied" else 25.3)
    boxes = (boxes_of_a_kind(rng, kind, n) + np.tile(offset, 2)).astype(dtype)
    scores = (rng.integers(0, 50, n) / 4 if kind == "tied" else rng.standard_normal(n)).astype(dtype)
    scores[rng.random(n) < (0.1 if kind == "not finite" else 0)] = np.nan
    return boxes, scores, {threshold: naive_loop(boxes, scores, threshold) for threshold in (0.0, 0.5)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["random", "tied", "nested", "degenerate", "not finite", "identical"])
def test_enough_boxes_for_a_grid_equal_the_naive_loop(isa: str, kind: str, dtype: str) -> None:
    boxes, scores, known = crowd(kind, dtype)
    one_class = np.zeros(len(boxes), np.int64)
    for threshold, expected in known.items():
        assert ops.nms(boxes, scores, threshold).tolist() == expected
        assert ops.batched_nms(boxes, scores, one_class, threshold).tolist() == expected


@cache
def cluster(kind: str) -> tuple[np.ndarray, np.ndarray, dict[float, list[int]]]:
    """So many boxes around so few objects that the first few are held against all others unsorted."""
    rng = np.random.default_rng(len(kind))
    n, objects = 2500, np.array([[60 * i, 9 * i, 60 * i + 20, 9 * i + 10 + 10 * (i % 3)] for i in range(6)])
    jitter = rng.integers(-1, 2, (n, 4)) * 5 if kind == "tied" else rng.normal(0, 1, (n, 4))
    boxes = objects[rng.integers(0, 6, n)] + jitter
    if kind == "degenerate":
        boxes = np.where(rng.random((n, 1)) < 0.1, boxes[:, [2, 1, 0, 3]], boxes)
    if kind == "not finite":
        boxes[rng.random((n, 4)) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    if kind == "identical":
        boxes = boxes[rng.integers(0, 50, n)]
    scores = rng.integers(0, 9, n) / 4 if kind == "tied" else rng.standard_normal(n)
    scores[rng.random(n) < (0.1 if kind == "not finite" else 0)] = np.nan
    boxes, scores = boxes.astype(np.float32), scores.astype(np.float32)
    return boxes, scores, {t: naive_loop(boxes, scores, t) for t in (0.0, 0.25, 1 / 3, 0.5, 0.6, 1.0)}


@pytest.mark.parametrize("kind", ["random", "tied", "degenerate", "not finite", "identical"])
def test_clusters_equal_the_naive_loop(isa: str, threads: int, kind: str) -> None:
    boxes, scores, known = cluster(kind)
    for threshold, expected in known.items():
        for limit in (None, 1, 4, 19, 40):
            kept = ops.nms(boxes, scores, threshold, max_output=limit)
            assert kept.tolist() == expected[:limit]


@pytest.mark.parametrize("scale", [1e-20, 1e19, 1e36])
def test_one_box_that_float32_cannot_hold_has_all_decided_in_double(isa: str, scale: float) -> None:
    boxes, scores, _ = cluster("tied")
    boxes, one_class = boxes.copy(), np.zeros(len(boxes), np.int64)
    boxes[1234] = [0, 0, scale, scale]
    for threshold in THRESHOLDS:
        expected = naive_loop(boxes.astype(np.float64), scores.astype(np.float64), threshold)
        assert ops.nms(boxes, scores, threshold).tolist() == expected
        assert ops.nms(boxes, scores, threshold, max_output=3).tolist() == expected[:3]
        assert ops.batched_nms(boxes, scores, one_class, threshold).tolist() == expected


def test_same_and_absent_scores_of_a_cluster(isa: str) -> None:
    boxes = cluster("random")[0]
    same, absent = np.ones(len(boxes), np.float32), np.full(len(boxes), np.nan, np.float32)
    assert ops.nms(boxes, same, 0.5).tolist() == naive_loop(boxes, same, 0.5)
    assert ops.nms(boxes, absent, 0.5).size == 0
    assert ops.nms(np.full_like(boxes, np.nan), same, 0.5).size == 0


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_sizes_of_all_scales_in_one_call(isa: str, threshold: float) -> None:
    rng = np.random.default_rng(1)
    side = 10.0 ** rng.uniform(-3, 4, (300, 2))
    corner = rng.uniform(-1e3, 1e3, (300, 2))
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    boxes = np.concatenate([boxes, boxes + np.float32(1e-3)])
    check_against_reference(boxes, rng.random(600).astype(np.float32), threshold)


@pytest.mark.parametrize("offset", [0, 1e4, 1e6, -1e7])
def test_small_boxes_far_from_the_origin(isa: str, offset: float) -> None:
    """There a coordinate's rounding is as large as the boxes."""
    rng = np.random.default_rng(2)
    boxes = (random_boxes(rng, 300, "float64", spread=6, side=3) + offset).astype(np.float32)
    for threshold in THRESHOLDS:
        check_against_reference(boxes, rng.random(300).astype(np.float32), threshold)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33])
def test_reads_nothing_beside_the_arrays(isa: str, n: int) -> None:
    rng = np.random.default_rng(n)
    boxes, scores = random_boxes(rng, n, side=300), rng.random(n).astype(np.float32)
    for before in (False, True):
        check_against_reference(guarded(boxes, before=before), guarded(scores, before=before), 0.5)


def test_one_far_box_leaves_the_others_right(isa: str) -> None:
    rng = np.random.default_rng(3)
    boxes = random_boxes(rng, 200)
    boxes[17] = 1e9, 1e9, 1e9 + 1e3, 1e9 + 1e3
    check_against_reference(boxes, rng.random(200).astype(np.float32), 0.5)


def test_threshold_is_strict_and_compared_exactly(isa: str) -> None:
    boxes = np.array([[0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 10, 1], [0, 0, 1, 1]], np.float32)
    half, tenth = np.float32(1) / np.float32(2), np.float32(1) / np.float32(10)
    scores = np.array([2, 1], np.float32)
    assert ops.nms(boxes[:2], scores, half).tolist() == [0, 1]
    assert ops.nms(boxes[:2], scores, np.nextafter(half, 0)).tolist() == [0]
    assert ops.nms(boxes[2:], scores, float(tenth)).tolist() == [0, 1]
    assert ops.nms(boxes[2:], scores, 0.1).tolist() == [0]  # float32's tenth is greater than 0.1
    assert ops.nms(boxes[2:].astype(np.float64), scores.astype(np.float64), 0.1).tolist() == [0, 1]


def test_ties_keep_the_lower_index_and_zeros_tie() -> None:
    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (5, 1))
    assert ops.nms(boxes, np.zeros(5, np.float32), 0.5).tolist() == [0]
    assert ops.nms(boxes, np.array([-0.0, 0.0, -0.0, 0.0, 0.0], np.float32), 1.0).tolist() == [0, 1, 2, 3, 4]


def test_boxes_that_are_not_finite_neither_suppress_nor_survive(isa: str) -> None:
    good = [0, 0, 10, 10]
    boxes = np.array([[-np.inf, -np.inf, np.inf, np.inf], [0, 0, 10, np.nan], good, good], np.float32)
    scores = np.array([4, 3, np.nan, 1], np.float32)
    assert ops.nms(boxes, scores, 0.1).tolist() == [3]


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e18, 1e25, 1e38])
def test_scale_does_not_matter_even_where_float32_areas_overflow(isa: str, scale: float) -> None:
    boxes = (np.array([[0, 0, 2, 2], [0, 0, 2, 1.9], [0, 0, 1, 1], [-1, -1, 0, 0]]) * scale).astype(
        np.float32
    )
    scores = np.array([4, 3, 2, 1], np.float32)
    assert ops.nms(boxes, scores, 0.5).tolist() == [0, 2, 3]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(THRESHOLDS),
    st.sampled_from(["float32", "float64"]),
    st.booleans(),
)
@with_fixtures
def test_permuting_the_boxes_permutes_the_result(
    seed: int, threshold: float, dtype: str, batched: bool
) -> None:
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 200, dtype), rng.permutation(200).astype(dtype)  # no ties
    order, idxs = rng.permutation(200), rng.integers(0, 4, 200)

    def keep(at: np.ndarray) -> np.ndarray:
        if batched:
            return ops.batched_nms(boxes[at], scores[at], idxs[at], threshold)
        return ops.nms(boxes[at], scores[at], threshold)

    np.testing.assert_array_equal(order[keep(order)], keep(np.arange(200)))


def test_result_is_a_fixed_point() -> None:
    rng = np.random.default_rng(5)
    boxes, scores = random_boxes(rng, 3000), rng.random(3000).astype(np.float32)
    kept = ops.nms(boxes, scores, 0.4)
    assert (np.diff(scores[kept]) <= 0).all()
    assert ops.nms(boxes[kept], scores[kept], 0.4).tolist() == list(range(len(kept)))


@given(st.integers(0, 2**32 - 1), st.integers(0, 120), st.sampled_from([1, 3, 80, 2**62]))
@with_fixtures
def test_batched_equals_the_naive_loop(isa: str, threads: int, seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    dtype = "float64" if seed % 2 else "float32"
    boxes = random_boxes(rng, n, dtype, spread=60)
    scores = rng.integers(0, 8, n).astype(dtype)
    idxs = rng.integers(-classes, classes, n)
    assert ops.batched_nms(boxes, scores, idxs, 0.4).tolist() == reference.batched_nms(
        boxes, scores, idxs, 0.4
    )


def test_batched_classes_never_suppress_each_other_at_any_coordinate() -> None:
    boxes = np.array([[-1e9, -1e9, 1e9, 1e9]] * 3 + [[0, 0, 1e-3, 1e-3]] * 2, np.float32)
    scores = np.arange(5, dtype=np.float32)
    assert ops.batched_nms(boxes, scores, np.array([0, 1, 2, 3, 4]), 0.5).tolist() == [4, 3, 2, 1, 0]
    assert ops.batched_nms(boxes, scores, np.array([7, 7, -7, 7, 7], np.int32), 0.5).tolist() == [4, 2, 1]


def test_any_number_of_threads_gives_the_same() -> None:
    rng = np.random.default_rng(6)
    boxes, scores = random_boxes(rng, 20000), rng.random(20000).astype(np.float32)
    idxs = rng.integers(0, 50, 20000)
    check_threads_agree(lambda: ops.batched_nms(boxes, scores, idxs, 0.5))


@pytest.mark.parametrize("limit", [None, 1, 1500])
def test_threads_that_share_the_candidates_keep_what_one_does(isa: str, limit: int | None) -> None:
    rng = np.random.default_rng(7)
    boxes, scores = random_boxes(rng, 5000, spread=2000), rng.integers(0, 999, 5000).astype(np.float32)
    boxes[::50] = boxes[0]
    boxes[::77, 2:] = boxes[::77, :2]
    check_threads_agree(lambda: ops.nms(boxes, scores, 0.3, max_output=limit))
    assert len(ops.nms(boxes, scores, 0.3)) > 1500
    rotated = np.concatenate([boxes, rng.uniform(-180, 180, (5000, 1)).astype(np.float32)], axis=1)
    check_threads_agree(lambda: ops.nms_rotated(rotated, scores, 0.3, max_output=limit))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_empty(dtype: str) -> None:
    boxes, scores = np.empty((0, 4), dtype), np.empty(0, dtype)
    for kept in (ops.nms(boxes, scores, 0.5), ops.batched_nms(boxes, scores, np.empty(0, np.int64), 0.5)):
        assert kept.shape == (0,)
        assert kept.dtype == np.int64


def test_any_strides_and_byte_orders() -> None:
    rng = np.random.default_rng(7)
    boxes, scores = random_boxes(rng, 50), rng.random(50).astype(np.float32)
    expected = ops.nms(boxes, scores, 0.5).tolist()
    wide = np.zeros((50, 8), np.float32)
    wide[:, ::2] = boxes
    frozen = boxes.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + boxes.tobytes(), np.uint8)[1:].view(np.float32).reshape(50, 4)
    for same in (
        wide[:, ::2],
        np.asfortranarray(boxes),
        boxes[::-1][::-1],
        boxes.astype(">f4"),
        frozen,
        unaligned,
    ):
        assert ops.nms(same, scores, 0.5).tolist() == expected
    constant = np.broadcast_to(np.float32([0, 0, 1, 1]), (9, 4))
    assert ops.nms(constant, np.broadcast_to(np.float32(1), (9,)), 0.5).tolist() == [0]


BOXES, SCORES = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "error", "message"),
    [
        ([[0, 0, 1, 1]], SCORES, 0.5, TypeError, "boxes to be an array"),
        (BOXES, None, 0.5, TypeError, "scores to be an array"),
        (BOXES.astype(np.int64), SCORES, 0.5, TypeError, "float32 or float64, got int64"),
        (BOXES.astype(np.float16), SCORES, 0.5, TypeError, "float32 or float64, got float16"),
        (BOXES, SCORES.astype(np.float64), 0.5, TypeError, "scores of dtype float32, got float64"),
        (BOXES[:, :3], SCORES, 0.5, ValueError, r"\(N, 4\), got \(3, 3\)"),
        (BOXES.ravel(), SCORES, 0.5, ValueError, r"\(N, 4\), got \(12,\)"),
        (np.array(1, np.float32), SCORES, 0.5, ValueError, r"\(N, 4\), got \(\)"),
        (BOXES, SCORES[:2], 0.5, ValueError, r"scores of shape \(3,\), got \(2,\)"),
        (BOXES, SCORES[:, None], 0.5, ValueError, r"scores of shape \(3,\), got \(3, 1\)"),
        (BOXES, SCORES, np.nan, ValueError, r"iou_threshold in \[0, 1\], got nan"),
        (BOXES, SCORES, -0.1, ValueError, r"iou_threshold in \[0, 1\], got -0.1"),
        (BOXES, SCORES, 1.5, ValueError, r"iou_threshold in \[0, 1\], got 1.5"),
        (BOXES, SCORES, 10**400, ValueError, "iou_threshold to fit a float"),
        (BOXES, SCORES, "0.5", TypeError, "iou_threshold to be a number"),
        (BOXES, SCORES, True, TypeError, "iou_threshold to be a number"),
    ],
)
def test_bad_arguments(boxes: object, scores: object, threshold: object, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[nms\] .*{message}"):
        ops.nms(boxes, scores, threshold)  # type: ignore[arg-type]
    with pytest.raises(error, match=rf"^\[batched_nms\] .*{message}"):
        ops.batched_nms(boxes, scores, np.zeros(3, np.int64), threshold)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("idxs", "error"),
    [
        (np.zeros(3, np.float32), TypeError),
        ([0, 0, 0], TypeError),
        (np.zeros(2, np.int64), ValueError),
        (np.zeros((3, 1), np.int64), ValueError),
    ],
)
def test_bad_classes(idxs: object, error: type) -> None:
    with pytest.raises(error, match=r"^\[batched_nms\] expected idxs"):
        ops.batched_nms(BOXES, SCORES, idxs, 0.5)


def test_cython_entry_is_the_same_function() -> None:
    rng = np.random.default_rng(8)
    boxes, scores = random_boxes(rng, 300), rng.random(300).astype(np.float32)
    np.testing.assert_array_equal(postprocess.nms(boxes, scores, 0.5), ops.nms(boxes, scores, 0.5))
    assert postprocess.nms(boxes[:0], scores[:0], 0.5).tolist() == []


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.45, 0.5, 0.7])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 1000, 5000])
def test_equals_torchvision(isa: str, torchvision: ModuleType, n: int, threshold: float) -> None:
    torch = sys.modules["torch"]
    rng = np.random.default_rng(n)
    boxes = torch.from_numpy(random_boxes(rng, n) * np.float32(10))
    scores = torch.from_numpy(rng.random(n).astype(np.float32))
    kept = ops.nms(boxes, scores, threshold)
    assert isinstance(kept, torch.Tensor)
    assert torch.equal(kept, torchvision.ops.nms(boxes, scores, threshold))
    idxs = torch.from_numpy(rng.integers(0, 5, n))
    # torchvision moves classes apart by an offset, which takes coordinates >= 0 and room to round
    boxes, scores = (boxes - boxes.min()).double(), scores.double()
    expected = torchvision.ops.batched_nms(boxes, scores, idxs, threshold)
    assert torch.equal(ops.batched_nms(boxes, scores, idxs, threshold), expected)
