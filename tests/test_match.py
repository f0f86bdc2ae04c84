# SPDX-License-Identifier: Apache-2.0
"""Brute-force matching against all distances in float64, and OpenCV's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import _core
from pyvision.features import match
from tests._guard import guarded
from tests.helpers import check_threads_agree, random
from tests.reference import features as reference

# Around the vectors, the tile's rows and the panel's columns.
SHAPES = [
    (1, 1, 1),
    (3, 2, 5),
    (13, 31, 8),
    (14, 32, 64),
    (15, 33, 61),
    (29, 65, 128),
    (230, 17, 3),
    (5, 700, 20),
]


def _bytes(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, width), dtype=np.uint8)


def _expected(a: np.ndarray, b: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the nearest, equal ones by rising index."""
    table = reference.distances(a, b, metric)
    indices = np.argsort(table, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(table, indices, axis=1), indices


@pytest.mark.parametrize("metric", ["l2", "l1"])
@pytest.mark.parametrize(("n_a", "n_b", "d"), SHAPES)
def test_floats(isa: str, metric: str, n_a: int, n_b: int, d: int) -> None:
    a, b = random((n_a, d)), random((n_b, d), seed=1)
    for k in (1, 2, 7):
        found = match(a, b, metric=metric, k=k)
        distances, indices = _expected(a, b, metric, k)
        count = indices.shape[1]
        np.testing.assert_array_equal(found.indices[:, 0], np.repeat(np.arange(n_a), count))
        np.testing.assert_allclose(found.distances.reshape(n_a, count), distances, rtol=1e-5)
        # Scores are rounded: where the chosen one is another, it is as near.
        chosen = found.indices[:, 1].reshape(n_a, count)
        table = reference.distances(a, b, metric)
        np.testing.assert_allclose(np.take_along_axis(table, chosen, axis=1), distances, rtol=1e-5)
        assert (chosen == indices).mean() > 0.95 or n_a * count < 20


@pytest.mark.parametrize("bytes_", [1, 7, 8, 16, 31, 32, 64, 65, 300])
def test_bits(popcount_isa: str, bytes_: int) -> None:
    assert _core.match_bits_isa() == popcount_isa
    for n_a, n_b in ((1, 1), (3, 7), (9, 8), (130, 9), (17, 1000)):
        a, b = _bytes(n_a, bytes_), _bytes(n_b, bytes_, seed=1)
        for k in (1, 2, 5):
            found = match(a, b, k=k)
            distances, indices = _expected(a, b, "hamming", k)
            np.testing.assert_array_equal(found.indices[:, 1], indices.ravel())
            np.testing.assert_array_equal(found.distances, distances.ravel())


def test_integers_are_exact_and_ties_go_to_the_lower_index(isa: str) -> None:
    rng = np.random.default_rng(0)
    b = rng.integers(0, 4, (300, 6)).astype(np.float32)
    b = np.concatenate([b, b])
    a = b[rng.permutation(100)]
    for metric in ("l2", "l1"):
        found = match(a, b, metric=metric, k=3)
        distances, indices = _expected(a, b, metric, 3)
        np.testing.assert_array_equal(found.indices[:, 1], indices.ravel())
        np.testing.assert_allclose(found.distances, distances.ravel(), rtol=1e-6)
        assert (found.distances.reshape(-1, 3)[:, :2] == 0).all()


def test_bits_that_tie_go_to_the_lower_index(popcount_isa: str) -> None:
    b = np.repeat(_bytes(40, 32), 30, axis=0)
    found = match(b[::60], b, k=4)
    np.testing.assert_array_equal(
        found.indices[:, 1].reshape(-1, 4), np.arange(0, 1200, 60)[:, None] + np.arange(4)
    )


def test_a_large_distance_from_the_origin_is_no_distance() -> None:
    """What is given are differences, not differences of norms."""
    a = random((20, 16)) + 1000
    b = a[::-1] + random((20, 16), 0.5, seed=1)
    found = match(a, b)
    expected = reference.distances(a, b, "l2")[found.indices[:, 0], found.indices[:, 1]]
    np.testing.assert_allclose(found.distances, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_ratio_cross_check_and_distance(kind: str) -> None:
    if kind == "float32":
        a, b = (
            random((80, 16)),
            np.concatenate([random((40, 16)) + random((40, 16), 0.5, 2), random((60, 16), seed=3)]),
        )
    else:
        a = _bytes(80, 32)
        b = np.concatenate(
            [a[:40] ^ (_bytes(40, 32, 5) & _bytes(40, 32, 6) & _bytes(40, 32, 7)), _bytes(60, 32, 8)]
        )
    metric = "l2" if kind == "float32" else "hamming"
    table = reference.distances(a, b, metric)
    first, second = np.sort(table, axis=1)[:, :2].T
    forward, backward = table.argmin(axis=1), table.argmin(axis=0)
    for ratio in (None, 0.8, 1.0):
        for cross in (False, True):
            for limit in (None, float(np.median(first))):
                keep = np.ones(80, bool)
                if ratio is not None:
                    keep &= first < ratio * second
                if cross:
                    keep &= backward[forward] == np.arange(80)
                if limit is not None:
                    keep &= first <= limit
                found = match(a, b, ratio=ratio, cross_check=cross, max_distance=limit)
                slack = 1 if limit is not None and kind == "float32" else 0  # the median itself, rounded
                assert abs(len(found) - keep.sum()) <= slack
                if not slack:
                    rows = np.flatnonzero(keep)
                    np.testing.assert_array_equal(found.indices, np.column_stack([rows, forward[rows]]))
    assert 10 < len(match(a, b, ratio=0.8)) < 80
    assert len(match(a, b[:1], ratio=0.8)) == 0


@pytest.mark.parametrize("metric", ["l2", "l1", "hamming"])
def test_opencv_agrees(metric: str) -> None:
    cv2 = pytest.importorskip("cv2")
    norm = {"l2": cv2.NORM_L2, "l1": cv2.NORM_L1, "hamming": cv2.NORM_HAMMING}[metric]
    if metric == "hamming":
        a, b = _bytes(200, 32), _bytes(300, 32, seed=1)
    else:
        a, b = (np.rint(np.abs(random((n, 128), 40, seed=n))).astype(np.float32) for n in (200, 300))
    theirs = cv2.BFMatcher(norm).knnMatch(a, b, k=2)
    ours = match(a, b, metric=metric, k=2)
    np.testing.assert_allclose(ours.distances, [m.distance for row in theirs for m in row], rtol=1e-6)
    np.testing.assert_array_equal(ours.indices[:, 1], [m.trainIdx for row in theirs for m in row])
    crossed = cv2.BFMatcher(norm, crossCheck=True).match(a, b)
    np.testing.assert_array_equal(
        match(a, b, metric=metric, cross_check=True).indices, [(m.queryIdx, m.trainIdx) for m in crossed]
    )
    assert ours.to_opencv()[3].trainIdx == theirs[1][1].trainIdx


def test_threads_agree() -> None:
    a, b = random((700, 33)), random((150, 33), seed=1)
    check_threads_agree(lambda: match(a, b, k=3).indices)
    check_threads_agree(lambda: match(_bytes(700, 32), _bytes(150, 32, 1), k=3).indices)


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_arrays_is_read(popcount_isa: str, before: bool) -> None:
    for n in (*range(1, 20), 31, 33):
        a, b = guarded(random((n, n)), before=before), guarded(random((n + 1, n), seed=1), before=before)
        for metric in ("l2", "l1"):
            np.testing.assert_array_equal(
                match(a, b, metric=metric).indices, match(a.copy(), b.copy(), metric=metric).indices
            )
        c, d = guarded(_bytes(n, n), before=before), guarded(_bytes(n + 1, n, 1), before=before)
        np.testing.assert_array_equal(match(c, d).indices, match(c.copy(), d.copy()).indices)


def test_torch_in_torch_out() -> None:
    torch = pytest.importorskip("torch")
    found = match(torch.eye(4), torch.eye(4))
    assert isinstance(found.indices, torch.Tensor)
    assert found.indices.tolist() == [[i, i] for i in range(4)]


@pytest.mark.parametrize("metric", ["l2", "l1", "hamming"])
def test_radius_finds_all_within(isa: str, metric: Any) -> None:
    rng = np.random.default_rng(5)
    if metric == "hamming":
        a, b = (rng.integers(0, 256, (n, 4), dtype=np.uint8) for n in (40, 90))
    else:
        a, b = (rng.standard_normal((n, 6)).astype(np.float32) for n in (40, 90))
    distances = reference.distances(a, b, metric)
    for share in (0.0, 0.02, 0.3, 1.0):
        radius = float(np.quantile(distances, share)) + 1e-3
        found = match(a, b, metric=metric, radius=radius)
        expected = np.argwhere(distances <= radius)
        assert {tuple(p) for p in found.indices.tolist()} == {tuple(p) for p in expected.tolist()}
        assert len(found) == len(expected)
        assert (np.diff(found.indices[:, 0]) >= 0).all()
        same_row = np.diff(found.indices[:, 0]) == 0
        assert (np.diff(found.distances)[same_row] >= 0).all()
        np.testing.assert_allclose(found.distances, distances[tuple(found.indices.T)], rtol=1e-5, atol=1e-5)
    assert len(match(a, b, metric=metric, radius=0.0)) == 0


@pytest.mark.parametrize("metric", ["l2", "l1", "hamming"])
def test_approximate_search_finds_most(metric: Any) -> None:
    pytest.importorskip("faiss", reason="the extra [ann] is not installed")
    rng = np.random.default_rng(6)
    b = rng.integers(0, 256, (4000, 16), dtype=np.uint8)
    a = b[rng.permutation(4000)[:500]].copy()
    a[:, 0] ^= 1
    if metric != "hamming":
        a, b = a.astype(np.float32), b.astype(np.float32)
    exact, found = (match(a, b, metric=metric, approximate=approximate) for approximate in (False, True))
    pairs = {tuple(p) for p in exact.indices.tolist()}
    assert len({tuple(p) for p in found.indices.tolist()} & pairs) > 0.8 * len(pairs)
    again = match(a, b, metric=metric, approximate=True)
    np.testing.assert_array_equal(found.indices, again.indices)
    np.testing.assert_array_equal(found.distances, again.distances)

    each: list[dict[str, Any]] = [{"k": 3}, {"ratio": 0.8}, {"cross_check": True}, {"max_distance": 3}]
    for options in each:
        exact, found = (match(a, b, metric=metric, approximate=x, **options) for x in (False, True))
        assert (np.asarray(found.indices) >= 0).all()
        assert 0.7 * len(exact) < len(found) <= 1.1 * len(exact)
    # Few rows are one cell, and nothing is missed.
    few = match(a[:9], b[:30], metric=metric, k=30)
    np.testing.assert_array_equal(
        np.sort(match(a[:9], b[:30], metric=metric, k=30, approximate=True).indices, axis=0),
        np.sort(few.indices, axis=0),
    )
    assert len(match(a[:0], b, metric=metric, approximate=True)) == 0
    if metric != "hamming":
        with pytest.raises(ValueError, match=r"^\[match\] expected a to be finite"):
            match(np.full_like(a, np.nan), b, metric=metric, approximate=True)


def test_approximate_search_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    rows = np.zeros((3, 4), np.float32)
    with pytest.raises(ImportError, match=r"^\[match\] approximate needs faiss"):
        match(rows, rows, approximate=True)
