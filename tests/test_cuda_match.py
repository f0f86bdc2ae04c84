# SPDX-License-Identifier: Apache-2.0
"""match on CUDA against all distances in float64, and its filters against the CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision.features import Matches, match
from tests.cuda_device import Cuda
from tests.helpers import random
from tests.reference import features as reference


def run(cuda: Cuda, a: np.ndarray, b: np.ndarray, **options: Any) -> Matches:
    """Matches on the device, brought to the host."""
    found = match(cuda.array(a), cuda.array(b), **options)
    return Matches(cuda.numpy(found.indices), cuda.numpy(found.distances))


def expected(a: np.ndarray, b: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the nearest, equal ones by rising index."""
    table = reference.distances(a, b, metric)
    indices = np.argsort(table, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(table, indices, axis=1), indices


def assert_same(found: Matches, known: Matches) -> None:
    np.testing.assert_array_equal(found.indices, known.indices)
    np.testing.assert_allclose(found.distances, known.distances, rtol=1e-5)
    assert (found.indices.dtype, found.distances.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("metric", ["l2", "l1", "hamming"])
@pytest.mark.parametrize(
    ("n_a", "n_b", "d"), [(1, 1, 1), (3, 2, 5), (15, 33, 61), (29, 70, 128), (5, 300, 20), (4, 9, 257)]
)
def test_nearest(cuda: Cuda, metric: str, n_a: int, n_b: int, d: int) -> None:
    """Around tiles of 16 rows and chunks of 64 items; rows beyond those for tensor cores."""
    if metric == "hamming":
        a, b = (np.random.default_rng(n).integers(0, 256, (n, d), dtype=np.uint8) for n in (n_a, n_b))
    else:
        a, b = random((n_a, d)), random((n_b, d), seed=1)
    for k in (1, 2, 7):
        distances, indices = expected(a, b, metric, k)
        found = run(cuda, a, b, metric=metric, k=k)
        np.testing.assert_array_equal(found.indices[:, 0], np.repeat(np.arange(n_a), indices.shape[1]))
        np.testing.assert_array_equal(found.indices[:, 1], indices.ravel())
        np.testing.assert_allclose(found.distances, distances.ravel(), rtol=1e-5)


def test_distances_closer_than_tf32_are_told_apart(cuda: Cuda) -> None:
    """By 4e-6 of the squared norm, where tf32 alone is off by 1e-4."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1, 96))
    way = rng.normal(size=(48, 96))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    apart = np.linalg.norm(a) * np.sqrt(0.5 + 4e-6 * rng.permutation(48))
    b = (a + way * apart[:, None]).astype(np.float32)
    x = a.astype(np.float32)
    for k in (1, 10):
        found = run(cuda, x, b, k=k)
        np.testing.assert_array_equal(found.indices[:, 1], expected(x, b, "l2", k)[1].ravel())


def test_integers_are_exact_and_ties_go_to_the_lower_index(cuda: Cuda) -> None:
    rng = np.random.default_rng(0)
    b = rng.integers(0, 4, (60, 6)).astype(np.float32)
    b = np.concatenate([b, b])
    a = b[rng.permutation(40)]
    for metric in ("l2", "l1"):
        found = run(cuda, a, b, metric=metric, k=3)
        distances, indices = expected(a, b, metric, 3)
        np.testing.assert_array_equal(found.indices[:, 1], indices.ravel())
        np.testing.assert_allclose(found.distances, distances.ravel(), rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"ratio": 0.9},
        {"cross_check": True},
        {"ratio": 0.95, "cross_check": True},
        {"max_distance": 3.5},
        {"k": 3, "max_distance": 3.5},
        {"ratio": 1.0, "max_distance": 3.0},
        {"max_distance": 0.0},
    ],
)
def test_filters(cuda: Cuda, options: dict[str, Any]) -> None:
    a, b = random((40, 8)), random((50, 8), seed=1)
    assert_same(run(cuda, a, b, **options), match(a, b, **options))
    bits_a, bits_b = (np.random.default_rng(n).integers(0, 256, (n, 4), dtype=np.uint8) for n in (40, 50))
    assert_same(run(cuda, bits_a, bits_b, **options), match(bits_a, bits_b, **options))


def test_rows_that_are_not_finite_match_nothing(cuda: Cuda) -> None:
    a, b = random((12, 8)), random((20, 8), seed=1)
    a[2, 3], a[4, 0], a[5] = np.nan, np.inf, 3e38
    b[1, 3], b[7, 0], b[9] = np.nan, -np.inf, -3e38
    good_a, good_b = (np.flatnonzero((np.abs(x) < 1e30).all(axis=1)) for x in (a, b))
    for metric in ("l2", "l1"):
        known = match(a[good_a], b[good_b], metric=metric, k=2)
        found = run(cuda, a, b, metric=metric, k=2)
        np.testing.assert_array_equal(found.indices[:, 0], good_a[known.indices[:, 0]])
        np.testing.assert_array_equal(found.indices[:, 1], good_b[known.indices[:, 1]])


def test_nothing_to_match(cuda: Cuda) -> None:
    a, none = random((4, 8)), np.empty((0, 8), np.float32)
    for x, y, options in ((none, a, {}), (a, none, {}), (none, none, {}), (a, a[:1], {"ratio": 0.9})):
        found = run(cuda, x, y, **options)
        assert found.indices.shape == (0, 2) and found.distances.shape == (0,)


def test_schedule_does_not_matter(cuda: Cuda) -> None:
    a, b = random((20, 16)), random((33, 16), seed=1)
    rising = run(cuda, a, b, k=2)
    cuda.falling_order(True)
    falling = run(cuda, a, b, k=2)
    np.testing.assert_array_equal(rising.indices, falling.indices)
    np.testing.assert_array_equal(rising.distances, falling.distances)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"a": random((4,))}, ValueError, "expected a of shape"),
        ({"b": random((4, 7))}, ValueError, "expected a and b to have rows of one length"),
        ({"b": np.zeros((4, 8), np.uint8)}, TypeError, "expected b of dtype float32"),
        ({"a": np.zeros((4, 8))}, TypeError, "expected a of dtype"),
        ({"metric": "hamming"}, ValueError, "expected a metric for float32"),
        ({"k": 0}, ValueError, "expected k of at least 1"),
        ({"ratio": 2.0}, ValueError, "expected ratio"),
    ],
)
def test_bad_arguments(cuda: Cuda, changed: dict[str, Any], error: type, message: str) -> None:
    arguments: dict[str, Any] = {"a": random((4, 8)), "b": random((5, 8))} | changed
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with pytest.raises(error, match=rf"^\[match\] {message}"):
        match(held.pop("a"), held.pop("b"), **held)
