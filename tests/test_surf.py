# SPDX-License-Identifier: Apache-2.0
"""SURF against its definition, blobs of known place and scale, and photographs from other views."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pyvision.features import SIFT, SURF, Keypoints, find_homography, match
from tests._guard import guarded
from tests.helpers import by_isa, check_threads_agree
from tests.photos import noise, photo, project, rotation, warp
from tests.reference import features as reference


@cache
def _expected() -> list[tuple[float, ...]]:
    return reference.surf_detect(_image(), 100, 3)


def _image() -> np.ndarray:
    """Noise of three scales."""
    scales = [
        noise(-(-125 // n), -(-140 // n), seed=n).repeat(n, 0).repeat(n, 1)[:125, :140] for n in (1, 5, 18)
    ]
    return np.mean(scales, axis=0).astype(np.uint8)


def test_keypoints_are_those_of_the_definition(isa: str) -> None:
    expected = _expected()
    assert {octave for *_, octave in expected} == {0, 1, 2}
    for image in (_image(), _image().astype(np.float32)):
        found = SURF(octaves=3, upright=True).detect(image)
        assert len(found) == len(expected) > 30
        columns = [*found.xy.T, found.size, found.response, found.octave]
        np.testing.assert_allclose(np.array(columns).T, expected, rtol=2e-5, atol=2e-3)
        assert (found.angle == -1).all()


def test_angles_are_those_of_the_definition(isa: str) -> None:
    sums = reference.integral(_image())
    found = SURF().detect(_image())
    expected = [
        reference.surf_angle(sums, float(x), float(y), float(size))
        for (x, y), size in zip(found.xy, found.size, strict=True)
    ]
    turn = np.abs((found.angle - expected + 180) % 360 - 180)
    assert (turn < 0.05).mean() > 0.9  # a wavelet's direction may fall into another bin
    assert ((found.angle >= 0) & (found.angle < 360)).all()


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("upright", [False, True])
def test_descriptors_are_those_of_the_definition(isa: str, extended: bool, upright: bool) -> None:
    sums = reference.integral(_image())
    found, descriptors = SURF(20, extended=extended, upright=upright).detect_and_compute(_image())
    assert descriptors.shape == (20, 128 if extended else 64)
    for i in range(20):
        expected = reference.surf_describe(
            sums, *map(float, found.xy[i]), float(found.size[i]), max(float(found.angle[i]), 0), extended
        )
        assert np.linalg.norm(descriptors[i] - expected) < 0.05  # a wavelet may lie a pixel beside
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)
    kept, again = SURF(extended=extended).compute(_image(), found)
    assert len(kept) == 20
    np.testing.assert_array_equal(again, descriptors)


@pytest.mark.parametrize("sigma", [2.5, 4.0, 8.0, 14.0])
def test_a_blob_is_found_where_and_as_large_as_it_is(isa: str, sigma: float) -> None:
    rows, columns = np.mgrid[:240, :250]
    for x, y in ((125.0, 120.0), (124.3, 117.8)):
        blob = 60 + 150 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
        found = SURF(1).detect(blob.astype(np.float32))
        assert len(found) == 1
        np.testing.assert_allclose(found.xy[0], [x, y], atol=0.04 * sigma)
        # Boxes answer most to a Gaussian 1.4 times as wide as the one that they stand for, at any scale.
        np.testing.assert_allclose(found.size[0] * 1.2 / 9, sigma / 1.4, rtol=0.08)


def test_the_strongest_come_first() -> None:
    every, values = SURF().detect_and_compute(photo())
    assert (np.diff(every.response) <= 0).all()
    some, some_values = SURF(50).detect_and_compute(photo())
    np.testing.assert_array_equal(some.xy, every.xy[:50])
    np.testing.assert_array_equal(some_values, values[:50])
    assert SURF(threshold=1000).detect(photo()).response.min() > 1000
    assert len(SURF(2**30, threshold=1e9).detect(photo())) == 0


def test_mask() -> None:
    mask = np.zeros(photo().shape, np.uint8)
    mask[:, 200:] = 1
    every, found = SURF().detect(photo()), SURF().detect(photo(), mask)
    np.testing.assert_array_equal(found.xy, every[every.xy[:, 0] >= 199.5].xy)


def test_isas_agree() -> None:
    (first, values), *others = by_isa(lambda: SURF().detect_and_compute(photo())).values()
    for keypoints, other in others:
        # Boxes are whole numbers and products are rounded one by one: places agree to the bit.
        np.testing.assert_array_equal(keypoints.xy, first.xy)
        np.testing.assert_array_equal(keypoints.size, first.size)
        same = np.abs(keypoints.angle - first.angle) < 1e-3
        assert same.mean() > 0.98
        np.testing.assert_allclose(other[same], values[same], atol=0.01)


def test_threads_agree() -> None:
    check_threads_agree(lambda: SURF().detect_and_compute(photo())[1])
    check_threads_agree(lambda: SURF().detect(photo()).xy)


def test_other_views_are_recognised() -> None:
    """As by SIFT, but that boxes do not turn: a place is known to some hundredths of the size."""
    image = photo()
    for degrees, scale in ((40, 1.0), (180, 0.7), (-70, 1.5)):
        homography = rotation(degrees, scale, image.shape)
        right = {}
        for name, feature in (("SURF", SURF(800)), ("SIFT", SIFT(800))):
            (a, of_a), (b, of_b) = (feature.detect_and_compute(x) for x in (image, warp(image, homography)))
            pairs = match(of_a, of_b, ratio=0.8)
            there = project(homography, a.xy[pairs.indices[:, 0]])
            error = np.linalg.norm(there - b.xy[pairs.indices[:, 1]], axis=1)
            assert len(pairs) > 80
            size = scale * a.size[pairs.indices[:, 0]]
            right[name] = np.mean(error < np.maximum(2, 0.1 * size))
            found, _ = find_homography(a.xy[pairs.indices[:, 0]], b.xy[pairs.indices[:, 1]])
            corners = np.float64([[0, 0], [511, 0], [0, 511], [511, 511]])
            assert np.abs(project(found, corners) - project(homography, corners)).max() < 3
        assert right["SURF"] > right["SIFT"] - 0.2


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_picture_is_read(isa: str, before: bool) -> None:
    for width in (1, 8, 9, 15, 16, 17, 31, 33, 60):
        for image in (noise(40, width), noise(40, width).astype(np.float32)):
            inside = guarded(image, before=before)
            np.testing.assert_array_equal(
                SURF(threshold=0).detect(inside).xy, SURF(threshold=0).detect(image).xy
            )


def test_the_smallest_and_the_emptiest_pictures(isa: str) -> None:
    for shape in ((1, 1), (1, 300), (2, 2000), (27, 27), (28, 29), (40, 40)):
        for picture in (noise(*shape), np.full(shape, 255, np.uint8)):
            keypoints, values = SURF().detect_and_compute(picture)
            assert values.shape == (len(keypoints), 64)
    places = np.float32([[20, 20], [-1, 5], [1e30, 5], [39.9, 39.9], [0, 0]])
    kept, values = SURF().compute(noise(40, 40), Keypoints(places, np.full(5, 60, np.float32)))
    np.testing.assert_array_equal(kept.xy, places[[0, 3, 4]])
    assert np.isfinite(values).all()
    sizes = np.float32([0, -1, 1e30, 1e-30, 9e4])
    kept, values = SURF().compute(noise(40, 40), Keypoints(np.full((5, 2), 20, np.float32), sizes))
    np.testing.assert_array_equal(kept.size, sizes[3:])
    assert np.isfinite(values).all()
    _, values = SURF().compute(np.full((40, 40), 7, np.uint8), Keypoints(places[:1]))
    assert (values == 0).all()
    with pytest.raises(ValueError, match=r"^\[SURF\] expected angles"):
        SURF().compute(noise(40, 40), Keypoints(places[:1], angle=np.float32([1e30])))


def test_sums_beyond_32_bits() -> None:
    """The integral image wraps; differences do not care."""
    image = np.full((300, 300), 255, np.float32)
    image[140:160, 140:160] = 0
    found = SURF(1).detect(image)
    np.testing.assert_allclose(found.xy, [[149.5, 149.5]], atol=0.3)
    small = SURF(1).detect(np.ascontiguousarray(image[100:200, 100:200]))
    np.testing.assert_allclose(found.response, small.response, rtol=1e-6)
