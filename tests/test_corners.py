# SPDX-License-Identifier: Apache-2.0
"""Harris and Shi-Tomasi corners, their refinement, and even selection, against definitions and OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision.features import FAST, Harris, Keypoints, ShiTomasi, refine_corners, select_even
from tests._guard import guarded
from tests.helpers import check_threads_agree
from tests.photos import noise, photo
from tests.reference import features as reference

SHAPES = ((1, 1), (1, 9), (9, 1), (2, 3), (5, 17), (50, 33), (97, 40))
DETECTORS = {"harris": (Harris, 0.04), "shi-tomasi": (ShiTomasi, None)}


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("block", [1, 2, 3, 5, 8])
def test_response_is_its_definition(isa: str, name: str, block: int) -> None:
    detector, k = DETECTORS[name]
    for shape in SHAPES:
        image = noise(*shape)
        expected = reference.corner_response(image, block, k)
        # Sums of block^2 products of 8 + 3 bits each, of which three meet in a difference.
        scale = max(np.abs(expected).max(), reference.corner_response(image, block, 0.25).min() ** 2, 1e-9)
        tolerance = 2e-6 * max(scale, _energy(image, block) ** (2 if k is not None else 1))
        for picture in (image, image.astype(np.float32)):
            actual = detector(block_size=block).response(picture)
            assert actual.dtype == np.float32
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def _energy(image: np.ndarray, block: int) -> float:
    """The greatest trace: that of -det where k is 1 and det subtracted."""
    a = reference.corner_response(image, block, 0.0)
    b = reference.corner_response(image, block, 1.0)
    return float(np.sqrt(np.maximum(a - b, 0).max()))


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("min_distance", [0, 1.5, 7])
def test_corners_are_those_of_the_definition(isa: str, name: str, min_distance: float) -> None:
    detector, _ = DETECTORS[name]
    for shape in SHAPES:
        image = noise(*shape, seed=3)
        mask = np.ones(shape, bool)
        mask[:, : shape[1] // 3] = False
        for allowed in (None, mask):
            finder = detector(quality=0.02, min_distance=min_distance)
            found = finder.detect(image, allowed)
            response = finder.response(image)
            everywhere = np.ones(shape, bool)
            expected = reference.corners(
                response, 0.02, min_distance, everywhere if allowed is None else allowed
            )
            np.testing.assert_array_equal(found.xy, np.reshape(expected, (-1, 2)))
            column, row = found.xy.astype(int).T
            np.testing.assert_array_equal(found.response, response[row, column])
            assert (found.size == 3).all()
            assert (found.angle == -1).all()
    assert len(expected) > 5


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("block", [2, 3, 7])
def test_opencv_finds_the_same(isa: str, name: str, block: int) -> None:
    cv2 = pytest.importorskip("cv2")
    detector, k = DETECTORS[name]
    image = photo()
    response = detector(block_size=block).response(image)
    if k is None:
        theirs = cv2.cornerMinEigenVal(image, block, ksize=3)
    else:
        theirs = cv2.cornerHarris(image, block, 3, k)
    np.testing.assert_allclose(response, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
    for distance in (0, 6.5):
        expected = cv2.goodFeaturesToTrack(
            image, 0, 0.01, distance, blockSize=block, useHarrisDetector=k is not None, k=k or 0
        )
        found = detector(quality=0.01, min_distance=distance, block_size=block).detect(image)
        assert len(found) > 50
        # The order may differ where responses agree to their last digits.
        same = {tuple(p) for p in found.xy.tolist()} & {tuple(p) for p in expected[:, 0].tolist()}
        assert len(same) >= 0.99 * max(len(found), len(expected))
        count = min(len(found), len(expected), 50)
        assert (found.xy[:count] == expected[:count, 0]).all(axis=1).mean() > 0.95


def test_strongest(isa: str) -> None:
    every = ShiTomasi().detect(photo())
    assert (np.diff(every.response) <= 0).all()
    np.testing.assert_array_equal(ShiTomasi(20).detect(photo()).xy, every.xy[:20])
    apart = ShiTomasi(min_distance=20).detect(photo())
    np.testing.assert_array_equal(ShiTomasi(9, min_distance=20).detect(photo()).xy, apart.xy[:9])


def test_isas_agree_to_the_bit(isa: str) -> None:
    from pyvision import _core

    image = noise(60, 71)
    responses = [detector(block_size=5).response(image) for detector in (Harris, ShiTomasi)]
    _core.set_isa("scalar")
    for detector, response in zip((Harris, ShiTomasi), responses, strict=True):
        np.testing.assert_array_equal(detector(block_size=5).response(image), response)


def test_threads_agree() -> None:
    check_threads_agree(lambda: Harris().detect(photo()).xy)
    check_threads_agree(lambda: np.asarray(Harris(block_size=7).response(photo())))


def test_floats_are_used_as_they_are() -> None:
    image = photo().astype(np.float32) * 0.01
    # Rounded to whole numbers nothing would be left of it. Harris's response is of the fourth degree.
    found, expected = Harris().detect(image), Harris().detect(photo())
    same = {tuple(p) for p in found.xy.tolist()} & {tuple(p) for p in expected.xy.tolist()}
    assert len(same) > 0.99 * len(expected) > 0
    np.testing.assert_allclose(found.response.max(), 1e-8 * expected.response.max(), rtol=1e-3)
    colour = np.dstack([image, image, image])
    assert abs(len(Harris().detect(colour)) - len(expected)) <= 0.01 * len(expected)


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_picture_is_read(isa: str, before: bool) -> None:
    for width in (*range(1, 6), 15, 16, 17, 18, 33):
        for image in (noise(4, width), noise(4, width).astype(np.float32)):
            inside = guarded(image, before=before)
            np.testing.assert_array_equal(Harris().response(inside), Harris().response(image))
            np.testing.assert_array_equal(ShiTomasi().detect(inside).xy, ShiTomasi().detect(image).xy)
            middle = Keypoints(np.float32([[width / 2, 2]]))
            np.testing.assert_array_equal(refine_corners(inside, middle).xy, refine_corners(image, middle).xy)


def _chequers(x: float, y: float, shape: tuple[int, int] = (60, 70)) -> np.ndarray:
    """Where four blurred squares meet at (x, y)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (128 + 100 * np.tanh((columns - x) / 1.5) * np.tanh((rows - y) / 1.5)).astype(np.float32)


def test_refinement_finds_where_squares_meet() -> None:
    for x, y in ((30.0, 25.0), (30.3, 24.8), (29.55, 25.45)):
        found = refine_corners(_chequers(x, y), Keypoints(np.float32([[31, 24]])))
        np.testing.assert_allclose(found.xy, [[x, y]], atol=0.02)


def test_refinement_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    image = photo()
    corners = ShiTomasi(200, min_distance=5).detect(image)
    for window in (1, 3, 8):
        criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 40, 0.001)
        expected = cv2.cornerSubPix(
            image, corners.xy.reshape(-1, 1, 2).copy(), (window, window), (-1, -1), criteria
        )
        found = refine_corners(image, corners, window=window)
        error = np.abs(found.xy - expected[:, 0]).max(axis=1)
        assert (error < 0.01).mean() > 0.97
        np.testing.assert_array_equal(found.response, corners.response)
    check_threads_agree(lambda: refine_corners(image, corners).xy)


def test_even_selection() -> None:
    every = FAST(threshold=10).detect(photo())
    for count in (1, 2, 10, 300):
        chosen = select_even(every, count)
        assert len(chosen) == count
        assert (np.diff(chosen.response) <= 0).all()
        assert chosen.response[0] == every.response.max()
        places = {tuple(p) for p in every.xy.tolist()}
        assert {tuple(p) for p in chosen.xy.tolist()} <= places
    # Far apart, and no farther than there still are so many.
    distance = np.linalg.norm(chosen.xy[:, None] - chosen.xy[None], axis=2) + 1e9 * np.eye(len(chosen))
    spacing = distance.min()
    strongest = every[np.argsort(-every.response, kind="stable")]
    assert len(_greedy(strongest.xy, spacing)) >= 300 > len(_greedy(strongest.xy, spacing + 0.1))
    np.testing.assert_array_equal(chosen.xy, _greedy(strongest.xy, spacing)[:300])
    # The picture's cells are filled more evenly than by the strongest.
    assert _filled(chosen.xy) > 1.3 * _filled(strongest.xy[:300])
    assert len(select_even(every, 10**9)) == len(every)
    assert len(select_even(every[:0], 5)) == 0


def _greedy(xy: np.ndarray, distance: float) -> np.ndarray:
    kept: list[np.ndarray] = []
    for point in xy:
        if not kept or (((np.array(kept) - point) ** 2).sum(axis=1) >= distance**2).all():
            kept.append(point)
    return np.array(kept)


def _filled(xy: np.ndarray) -> int:
    return len({(int(x) // 32, int(y) // 32) for x, y in xy})


def test_selection_survives_odd_places() -> None:
    places = np.float32([[0, 0], [1e8, -1e8], [-1e8, 5], [1e8, -1e8], [0.25, 0], [3, 3]])
    chosen = select_even(Keypoints(places, response=np.arange(6, 0, -1, dtype=np.float32)), 3)
    np.testing.assert_array_equal(chosen.xy, places[[0, 1, 2]])
    same = select_even(Keypoints(np.zeros((5, 2), np.float32)), 3)
    assert len(same) == 3
    with pytest.raises(ValueError, match=r"^\[select_even\] expected keypoints"):
        select_even(Keypoints(np.float32([[3e38, 0]])), 1)


@pytest.mark.parametrize(
    ("call", "op", "argument"),
    [
        (lambda: select_even(Keypoints(np.zeros((1, 2), np.float32)), 0), "select_even", "count"),
        (lambda: select_even(Keypoints(np.zeros((1, 2), np.float32)), 1.5), "select_even", "count"),
        (lambda: select_even(np.zeros((1, 2), np.float32), 1), "select_even", "keypoints"),
        (lambda: _refine([[5, 5]], window=0), "refine_corners", "window"),
        (lambda: _refine([[5, 5]], max_iterations=0), "refine_corners", "max_iterations"),
        (lambda: _refine([[5, 5]], epsilon=-1), "refine_corners", "epsilon"),
        (lambda: _refine([[5, 20]]), "refine_corners", "keypoints"),
        (lambda: _refine([[-1, 5]]), "refine_corners", "keypoints"),
        (lambda: _refine([[1e30, 5]]), "refine_corners", "keypoints"),
    ],
)
def test_bad_calls_are_refused(call: Any, op: str, argument: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^\[{op}\] expected .*\b{argument}\b"):
        call()


def _refine(xy: list[list[float]], **options: Any) -> Keypoints:
    return refine_corners(noise(20, 20), Keypoints(np.float32(xy)), **options)


def test_refinement_on_flat_and_tiny_pictures() -> None:
    for shape in ((1, 1), (1, 40), (40, 40)):
        at = Keypoints(np.zeros((1, 2), np.float32))
        np.testing.assert_array_equal(refine_corners(np.full(shape, 7, np.uint8), at).xy, at.xy)
