# SPDX-License-Identifier: Apache-2.0
"""Plane transforms on CUDA against those on the CPU, which have references of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision.features import find_affine, find_homography
from tests.cuda_device import Cuda
from tests.test_homography import BAD_ARGUMENTS, FINDERS, GOOD_ARGUMENTS, PROJECTIVE, pairs


def rough_pairs(matrix: np.ndarray, n: int, wrong: float = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points and where they go, to within fractions of a pixel, but for a share of them."""
    src, dst, _ = pairs(matrix, n, wrong, noise=0.3, seed=seed)
    return src, dst


def assert_as_on_the_cpu(cuda: Cuda, find: Any, src: np.ndarray, dst: np.ndarray, **options: Any) -> None:
    known, known_inliers = find(src, dst, **options)
    found, inliers = find(cuda.array(src), cuda.array(dst), **options)
    assert known is not None and found is not None
    np.testing.assert_array_equal(cuda.numpy(inliers), known_inliers)
    assert cuda.dtype(inliers) == "bool" and cuda.dtype(found) == "float64"
    np.testing.assert_allclose(cuda.numpy(found), known, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("find", "matrix"), FINDERS)
def test_wrong_pairs(cuda: Cuda, find: Any, matrix: np.ndarray) -> None:
    """Few samples, and several batches of them."""
    for n, wrong in ((200, 0.3), (257, 0.6), (60, 0.75)):
        src, dst = rough_pairs(matrix, n, wrong)
        assert_as_on_the_cpu(cuda, find, src, dst, seed=7)
        assert 0 < cuda.numpy(find(cuda.array(src), cuda.array(dst))[1]).sum() < n


@pytest.mark.parametrize(("find", "matrix"), FINDERS)
@pytest.mark.parametrize(("most", "confidence"), [(1, 0.99), (5, 0.99), (100, 0.0), (300, 0.99)])
def test_ends_where_the_cpu_ends(
    cuda: Cuda, find: Any, matrix: np.ndarray, most: int, confidence: float
) -> None:
    """Within a round of samples, after the first round with anything, within the second batch: where most
    pairs are wrong, or all, what is found hangs on which samples were looked at."""
    for seed in range(8):
        src, dst = rough_pairs(matrix, 40, 0.8 if seed < 4 else 1, seed)
        options = {"max_iterations": most, "confidence": confidence, "seed": seed}
        known, known_inliers = find(src, dst, **options)
        found, inliers = find(cuda.array(src), cuda.array(dst), **options)
        assert (found is None) == (known is None)
        np.testing.assert_array_equal(cuda.numpy(inliers), known_inliers)
        if found is not None:
            np.testing.assert_allclose(cuda.numpy(found), known, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("find", "matrix"), FINDERS)
@pytest.mark.parametrize("method", ["ransac", "least_squares"])
def test_few_pairs_and_all_right(cuda: Cuda, find: Any, matrix: np.ndarray, method: str) -> None:
    """Smallest samples, which draw one number again and again; floats."""
    for n in (4, 5, 33):
        src, dst, _ = pairs(matrix, n, seed=n)
        assert_as_on_the_cpu(cuda, find, src, dst, method=method)
        floats = (src.astype(np.float32), dst.astype(np.float32))
        assert_as_on_the_cpu(cuda, find, *floats, method=method)
        assert_as_on_the_cpu(cuda, find, src, floats[1], method=method)
    assert_as_on_the_cpu(cuda, find, *rough_pairs(matrix, 300), method=method)


@pytest.mark.parametrize(("find", "matrix"), FINDERS)
@pytest.mark.parametrize("method", ["ransac", "least_squares"])
def test_nothing_is_decided(cuda: Cuda, find: Any, matrix: np.ndarray, method: str) -> None:
    line = np.column_stack([np.arange(20.0), 2 * np.arange(20.0)])
    one = np.full((20, 2), 7.0)
    src, dst = rough_pairs(matrix, 20)
    for a, b in ((src[:2], dst[:2]), (src[:0], dst[:0]), (line, line), (one, one), (one, dst)):
        found, inliers = find(cuda.array(a), cuda.array(b), method=method)
        assert found is None and inliers.shape == (len(a),)
        assert not cuda.numpy(inliers).any()


def test_the_order_of_blocks_and_threads_does_not_matter(cuda: Cuda) -> None:
    """To the bit; pairs for two blocks a sample."""
    src, dst = rough_pairs(PROJECTIVE, 2060, 0.4)
    results = []
    for falling in (False, True):
        cuda.falling_order(falling)
        found, inliers = find_homography(cuda.array(src), cuda.array(dst), max_iterations=20)
        results.append((cuda.numpy(found), cuda.numpy(inliers)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_allclose(results[0][0], find_homography(src, dst, max_iterations=20)[0], rtol=1e-6)


def test_arrays_that_are_not_dense(cuda: Cuda) -> None:
    src, dst = rough_pairs(PROJECTIVE, 100, 0.2)
    found, _ = find_homography(cuda.array(src)[::2], cuda.array(dst)[::2])
    np.testing.assert_allclose(cuda.numpy(found), find_homography(src[::2], dst[::2])[0], rtol=1e-6)


@pytest.mark.parametrize("find", [find_homography, find_affine])
@pytest.mark.parametrize(("argument", "overrides"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(cuda: Cuda, find: Any, argument: str, overrides: dict[str, Any]) -> None:
    arguments = {
        k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in (GOOD_ARGUMENTS | overrides).items()
    }
    with pytest.raises((ValueError, TypeError), match=rf"^\[{find.__name__}\] expected .*\b{argument}\b"):
        find(**arguments)
