# SPDX-License-Identifier: Apache-2.0
"""Plane transforms from pairs of points: exact, noisy, mostly wrong, and degenerate ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision.features import find_affine, find_homography
from tests.helpers import check_threads_agree
from tests.photos import project

PROJECTIVE = np.array([[0.9, 0.1, 40], [-0.05, 0.85, 60], [1e-4, -5e-5, 1]])
AFFINE = np.array([[0.9, 0.1, 40], [-0.05, 0.85, 60], [0, 0, 1]])
FINDERS = [(find_homography, PROJECTIVE), (find_affine, AFFINE)]

GOOD_ARGUMENTS = {
    "src": np.random.default_rng(0).random((5, 2)),
    "dst": np.random.default_rng(1).random((5, 2)),
}
BAD_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("src", {"src": np.zeros((5, 3))}),
    ("src", {"src": np.zeros(10)}),
    ("src", {"src": np.zeros((5, 2), np.int64)}),
    ("dst", {"dst": np.zeros((4, 2))}),
    ("src", {"src": np.full((5, 2), np.nan)}),
    ("dst", {"dst": np.full((5, 2), np.inf)}),
    ("src", {"src": np.full((5, 2), 1e300)}),
    ("src", {"src": np.full((2, 2), 1e300), "dst": np.zeros((2, 2))}),  # too few to be looked at
    *[("threshold", {"threshold": v}) for v in (0, -1, float("nan"), float("inf"), "3", True)],
    *[("max_iterations", {"max_iterations": v}) for v in (0, -1, 1.5, None, 2**31, 2**62)],
    *[("confidence", {"confidence": v}) for v in (1, -0.1, float("nan"), "1")],
    *[("seed", {"seed": v}) for v in (-1, 0.5, None)],
    *[("method", {"method": v}) for v in ("lmeds", None, 1)],
]


def pairs(
    matrix: np.ndarray, n: int, wrong: float = 0, noise: float = 0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, where they go, and which of them go there."""
    rng = np.random.default_rng(seed)
    src = rng.uniform((0, 0), (640, 480), (n, 2))
    dst = project(matrix, src) + rng.normal(0, noise, (n, 2))
    is_wrong = np.arange(n) < round(wrong * n)
    dst[is_wrong] = rng.uniform((0, 0), (640, 480), (is_wrong.sum(), 2))
    order = rng.permutation(n)
    return src[order], dst[order], ~is_wrong[order]


def _corner_error(found: Any, matrix: np.ndarray) -> float:
    """The largest distance between where both take the corners of a picture of 640 x 480."""
    corners = np.array([[0, 0], [639, 0], [0, 479], [639, 479]], float)
    whole = np.vstack([found, [0, 0, 1]]) if len(found) == 2 else found
    return float(np.linalg.norm(project(whole, corners) - project(matrix, corners), axis=1).max())


@pytest.mark.parametrize(("find", "matrix"), FINDERS)
@pytest.mark.parametrize("method", ["ransac", "least_squares"])
def test_exact_pairs_give_the_transform(isa: str, find: Any, matrix: np.ndarray, method: str) -> None:
    least = 4 if find is find_homography else 3
    for n in (least, least + 1, 15, 16, 17, 100):
        src, dst, _ = pairs(matrix, n, seed=n)
        found, inliers = find(src, dst, method=method)
        assert inliers.all()
        np.testing.assert_allclose(found, matrix[: len(found)], rtol=1e-6, atol=1e-6)
        for scale, shift in ((1e-4, 0), (1e5, 1e6)):  # neither unit nor origin matters
            far = src * scale + shift
            found, _ = find(far, dst, method=method)
            whole = np.vstack([found, [0, 0, 1]]) if len(found) == 2 else found
            np.testing.assert_allclose(project(whole, far), dst, atol=1e-4)


@pytest.mark.parametrize(("find", "matrix"), FINDERS)
@pytest.mark.parametrize("wrong", [0.2, 0.5, 0.7])
def test_wrong_pairs_do_not_matter(isa: str, find: Any, matrix: np.ndarray, wrong: float) -> None:
    for seed in range(5):
        src, dst, right = pairs(matrix, 500, wrong, noise=0.5, seed=seed)
        found, inliers = find(src, dst)
        assert _corner_error(found, matrix) < 1
        assert (inliers & right).sum() >= 0.99 * right.sum()
        assert (inliers & ~right).sum() <= 10  # by chance within three pixels
        assert (find(src, dst)[0] == found).all()
        np.testing.assert_allclose(find(src, dst, seed=seed + 1)[0], found, rtol=1e-2, atol=0.2)


@pytest.mark.parametrize(("find", "matrix"), FINDERS)
def test_the_fit_is_that_of_the_inliers(find: Any, matrix: np.ndarray) -> None:
    """No other transform nearby has a smaller squared error over them."""
    src, dst, _ = pairs(matrix, 300, 0.4, noise=0.7)
    found, inliers = find(src, dst)
    rng = np.random.default_rng(0)

    def error(m: np.ndarray) -> float:
        whole = np.vstack([m, [0, 0, 1]]) if len(m) == 2 else m
        return float(((project(whole, src[inliers]) - dst[inliers]) ** 2).sum())

    for _ in range(200):
        other = found * (1 + rng.normal(0, 1e-5, found.shape))
        assert error(other) >= error(found) * (1 - 1e-6)


def test_isas_agree_to_the_bit(isa: str) -> None:
    from pyvision import _core

    src, dst, _ = pairs(PROJECTIVE, 333, 0.6, noise=1)
    found, inliers = find_homography(src, dst)
    _core.set_isa("scalar")
    expected, expected_inliers = find_homography(src, dst)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(inliers, expected_inliers)


def test_threads_agree() -> None:
    src, dst, _ = pairs(PROJECTIVE, 200, 0.5)
    check_threads_agree(lambda: find_homography(src, dst)[0])


def test_as_accurate_as_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    ours, theirs = [], []
    for seed in range(30):
        src, dst, _ = pairs(PROJECTIVE, 400, 0.5, noise=1, seed=seed)
        ours.append(_corner_error(find_homography(src, dst)[0], PROJECTIVE))
        theirs.append(_corner_error(cv2.findHomography(src, dst, cv2.RANSAC, 3.0)[0], PROJECTIVE))
    assert np.mean(ours) <= np.mean(theirs) * 1.02
    for find, estimate in ((find_homography, cv2.findHomography),):
        src, dst, _ = pairs(PROJECTIVE, 50, noise=1)
        np.testing.assert_allclose(
            find(src, dst, method="least_squares")[0], estimate(src, dst)[0], rtol=1e-3
        )


@pytest.mark.parametrize(("find", "matrix"), FINDERS)
@pytest.mark.parametrize("method", ["ransac", "least_squares"])
def test_nothing_is_found_where_nothing_is_decided(find: Any, matrix: np.ndarray, method: str) -> None:
    line = np.column_stack([np.arange(20.0), 2 * np.arange(20.0)])
    one = np.full((20, 2), 7.0)
    src, dst, _ = pairs(matrix, 20)
    for a, b in ((src[:2], dst[:2]), (src[:0], dst[:0]), (line, line), (one, one), (one, dst)):
        found, inliers = find(a, b, method=method)
        assert found is None
        assert inliers.shape == (len(a),)
        assert not inliers.any() or method == "least_squares"


def test_float32_torch_and_kinds() -> None:
    torch = pytest.importorskip("torch")
    src, dst, _ = pairs(PROJECTIVE, 50)
    matrix, inliers = find_homography(torch.from_numpy(src.astype(np.float32)), torch.from_numpy(dst))
    assert isinstance(matrix, torch.Tensor)
    assert inliers.dtype == torch.bool
    assert matrix[2, 2] == 1


@pytest.mark.parametrize("find", [find_homography, find_affine])
@pytest.mark.parametrize(("argument", "overrides"), [*BAD_ARGUMENTS, ("src", {"src": [[0, 0]]})])
def test_bad_arguments_are_refused(find: Any, argument: str, overrides: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^\[{find.__name__}\] expected .*\b{argument}\b"):
        find(**(GOOD_ARGUMENTS | overrides))
