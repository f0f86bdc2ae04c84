# SPDX-License-Identifier: Apache-2.0
"""FAST corners against their definition and OpenCV's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from pyvision.features import FAST
from tests._guard import guarded
from tests.helpers import check_threads_agree
from tests.photos import noise, photo
from tests.reference import features as reference

CIRCLES = ("9-16", "7-12", "5-8")


def _pictures() -> Iterator[np.ndarray]:
    """Widths around the vectors' and the smallest that have a pixel to look at."""
    for width in (1, 6, 7, 8, 37, 38, 39, 69, 70, 71):
        yield noise(12, width, seed=width)
    yield noise(7, 150)
    yield noise(6, 20)
    yield np.full((8, 80), 200, np.uint8)
    yield np.random.default_rng(0).integers(0, 256, (14, 75), dtype=np.uint8)


@cache
def _expected(
    index: int, threshold: int, circle: str, suppress: bool
) -> tuple[list[tuple[int, int]], list[int]]:
    """The reference's, once for all instruction sets."""
    return reference.fast(list(_pictures())[index], threshold, circle, suppress)


@pytest.mark.parametrize("circle", CIRCLES)
@pytest.mark.parametrize("suppress", [False, True])
@pytest.mark.parametrize("threshold", [0, 12, 40, 255])
def test_corners_are_those_of_the_definition(isa: str, circle: str, suppress: bool, threshold: int) -> None:
    for index, image in enumerate(_pictures()):
        found = FAST(threshold=threshold, nonmax_suppression=suppress, circle=circle).detect(image)
        corners, scores = _expected(index, threshold, circle, suppress)
        np.testing.assert_array_equal(found.xy, np.reshape(corners, (-1, 2)))
        np.testing.assert_array_equal(found.response, scores)
        assert (found.size == 7).all()
        assert (found.angle == -1).all()
        assert (found.octave == 0).all()


def test_the_reference_finds_something() -> None:
    for circle in CIRCLES:
        assert 20 < len(reference.fast(noise(12, 71, seed=71), 12, circle, False)[0]) < 300


@pytest.mark.parametrize("threshold", [1, 20, 60])
@pytest.mark.parametrize("suppress", [False, True])
def test_9_16_is_opencvs(isa: str, threshold: int, suppress: bool) -> None:
    cv2 = pytest.importorskip("cv2")
    detector = cv2.FastFeatureDetector_create(threshold, suppress)
    for image in (photo(), noise(90, 211)):
        theirs = detector.detect(image)
        ours = FAST(threshold=threshold, nonmax_suppression=suppress).detect(image)
        assert len(ours) > 50
        np.testing.assert_array_equal(ours.xy, np.array([k.pt for k in theirs]))
        if suppress:  # else OpenCV gives no responses
            np.testing.assert_array_equal(ours.response, [k.response for k in theirs])


@pytest.mark.parametrize(("circle", "kind"), [("7-12", 1), ("5-8", 0)])
def test_other_circles_find_all_that_opencv_finds(circle: str, kind: int) -> None:
    cv2 = pytest.importorskip("cv2")
    theirs = cv2.FastFeatureDetector_create(20, False, kind).detect(photo())
    ours = FAST(threshold=20, nonmax_suppression=False, circle=circle).detect(photo())
    assert {k.pt for k in theirs} <= set(map(tuple, ours.xy.tolist()))


def test_threads_agree() -> None:
    image = noise(300, 130)
    check_threads_agree(lambda: FAST(threshold=15).detect(image).xy)


def test_mask(isa: str) -> None:
    image = photo()
    everywhere = FAST(threshold=20).detect(image)
    mask = np.zeros(image.shape, bool)
    mask[100:300, 50:200] = True
    found = FAST(threshold=20).detect(image, mask)
    column, row = everywhere.xy.astype(int).T
    expected = everywhere[mask[row, column]]
    assert 0 < len(expected) < len(everywhere)
    np.testing.assert_array_equal(found.xy, expected.xy)
    np.testing.assert_array_equal(found.response, expected.response)
    np.testing.assert_array_equal(FAST(threshold=20).detect(image, mask.astype(np.uint8) * 255).xy, found.xy)


def test_max_features_keeps_the_strongest_in_place() -> None:
    every = FAST(threshold=20).detect(photo())
    some = FAST(50, threshold=20).detect(photo())
    assert len(some) == 50
    order = sorted(range(len(every)), key=lambda i: (-every.response[i], i))[:50]
    np.testing.assert_array_equal(some.xy, every.xy[sorted(order)])
    assert len(FAST(2**30, threshold=20).detect(photo())) == len(every)


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_picture_is_read(isa: str, before: bool) -> None:
    for width in (*range(7, 16), 37, 38, 39, 69, 70, 71, 135):
        image = noise(8, width)
        for circle in CIRCLES:
            detector = FAST(threshold=5, circle=circle)
            np.testing.assert_array_equal(
                detector.detect(guarded(image, before=before)).xy, detector.detect(image).xy
            )


def test_rows_may_lie_apart() -> None:
    image = photo()[20:200, 30:300]
    assert not image.flags.c_contiguous
    np.testing.assert_array_equal(FAST().detect(image).xy, FAST().detect(image.copy()).xy)
    np.testing.assert_array_equal(FAST().detect(image[:, ::-1]).xy, FAST().detect(image[:, ::-1].copy()).xy)
