# SPDX-License-Identifier: Apache-2.0
"""BRISK against its definition and OpenCV's."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pyvision import _core
from pyvision.features import BRISK, Keypoints, match
from tests._guard import guarded
from tests.helpers import check_threads_agree
from tests.photos import noise, photo, project, rotation, warp
from tests.reference import features as reference

THRESHOLD = 25


def _image() -> np.ndarray:
    """Noise of two scales."""
    scales = [noise(-(-96 // n), -(-120 // n), seed=n).repeat(n, 0).repeat(n, 1)[:96, :120] for n in (1, 6)]
    return np.clip(0.4 * scales[0] + 0.7 * scales[1], 0, 255).astype(np.uint8)


@cache
def _expected() -> list[tuple[float, ...]]:
    return reference.brisk_detect(_image(), THRESHOLD, 2)


def _fits(x: float, y: float, size: float) -> bool:
    """With some room: what the pattern reaches, plus what is rounded."""
    reach = max(0.85 * 10.8 * (1 + 1.3 * np.sin(np.pi / 20)) * size / 7.2, 1) + 2
    return min(x, y) >= reach and x < 120 - reach and y < 96 - reach


def test_keypoints_are_those_of_the_definition(isa: str) -> None:
    expected = [k for k in _expected() if _fits(*k[:3])]
    assert {layer for *_, layer in expected} >= {0, 1, 2}
    found = BRISK(threshold=THRESHOLD, octaves=2).detect(_image())
    assert len(found) == len(expected) > 20
    ours = np.column_stack([found.xy, found.size, found.response, found.octave])
    for keypoint in expected:  # in any order: responses may agree to their last digits
        assert np.isclose(ours, keypoint, rtol=1e-4, atol=2e-3).all(axis=1).sum() == 1
    assert (np.diff(found.response) <= 0).all()


def test_angles_and_descriptors_are_those_of_the_definition(isa: str) -> None:
    found, descriptors = BRISK(threshold=THRESHOLD).detect_and_compute(_image())
    assert descriptors.shape == (len(found), 64)
    for k, row in zip(range(20), descriptors, strict=False):
        place = (*map(float, found.xy[k]), float(found.size[k]))
        turn = float(found.angle[k]) - reference.brisk_angle(_image(), *place)
        assert abs((turn + 180) % 360 - 180) < 0.02
        expected = reference.brisk_describe(_image(), *place, float(found.angle[k]))
        assert np.unpackbits(row ^ expected).sum() <= 1  # means that are equal but for rounding


def test_compute_keeps_angles_and_finds_those_missing(isa: str) -> None:
    found, descriptors = BRISK(50).detect_and_compute(photo())
    kept, again = BRISK().compute(photo(), found)
    np.testing.assert_array_equal(again, descriptors)
    np.testing.assert_array_equal(kept.angle, found.angle)
    upright = Keypoints(found.xy, found.size)
    kept, again = BRISK().compute(photo(), upright)
    np.testing.assert_array_equal(again, descriptors)
    np.testing.assert_array_equal(kept.angle, found.angle)
    zero = Keypoints(found.xy, found.size, np.zeros(len(found), np.float32))
    kept, again = BRISK().compute(photo(), zero)
    assert (kept.angle == 0).all()
    assert (again != descriptors).any()


def test_strongest_and_mask() -> None:
    every = BRISK().detect(photo())
    np.testing.assert_array_equal(BRISK(30).detect(photo()).xy, every.xy[:30])
    mask = np.zeros(photo().shape, np.uint8)
    mask[:, 200:] = 1
    np.testing.assert_array_equal(BRISK().detect(photo(), mask).xy, every[every.xy[:, 0] >= 199.5].xy)
    assert every.response.min() > 30
    assert set(BRISK(octaves=0).detect(photo()).octave.tolist()) == {0}
    assert (BRISK(octaves=0).detect(photo()).size == 12).all()


def test_isas_agree_to_the_bit(isa: str) -> None:
    found, descriptors = BRISK().detect_and_compute(noise(150, 200))
    _core.set_isa("scalar")
    expected = BRISK().detect_and_compute(noise(150, 200))
    assert len(found) > 50
    for name in ("xy", "size", "angle", "response", "octave"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected[0], name))
    np.testing.assert_array_equal(descriptors, expected[1])


def test_threads_agree() -> None:
    check_threads_agree(lambda: BRISK().detect_and_compute(photo())[1])
    check_threads_agree(lambda: BRISK().detect(photo()).xy)


def test_opencv_finds_about_the_same() -> None:
    cv2 = pytest.importorskip("cv2")
    image = photo()
    brisk = cv2.xfeatures2d.BRISK_create()
    theirs, their_bits = brisk.detectAndCompute(image, None)
    found, _ = BRISK().detect_and_compute(image)
    at = Keypoints.from_opencv(theirs)
    distance = np.linalg.norm(at.xy[:, None] - found.xy[None], axis=2)
    scale = np.abs(np.log(at.size[:, None] / found.size[None]))
    same = (distance < 0.1 * at.size[:, None]) & (scale < 0.35)
    assert same.any(axis=1).mean() > 0.8
    assert same.any(axis=0).mean() > 0.7
    # At its keypoints the same pattern, but for its whole numbers and its steps of angle and scale.
    kept, bits = BRISK().compute(image, at)
    index = [
        int(i)
        for i in np.nonzero(np.isin(at.xy[:, 0] * 1e4 + at.xy[:, 1], kept.xy[:, 0] * 1e4 + kept.xy[:, 1]))[0]
    ]
    assert len(index) == len(kept) > 0.95 * len(at)
    differ = np.unpackbits(bits ^ their_bits[index], axis=1).sum(axis=1)
    assert np.median(differ) < 40  # of 512; those of others differ in some 200


def test_other_views_are_recognised_as_well_as_by_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    image = photo()

    def theirs(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        keypoints, bits = cv2.xfeatures2d.BRISK_create().detectAndCompute(picture, None)
        return np.array([k.pt for k in keypoints]), bits

    def ours(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        keypoints, bits = BRISK().detect_and_compute(picture)
        return keypoints.xy, np.asarray(bits)

    scores = []
    for degrees, scale in ((30, 1.0), (180, 0.6), (-70, 1.5), (0, 0.75)):
        homography = rotation(degrees, scale, image.shape)
        other = warp(image, homography)
        row = []
        for describe in (ours, theirs):
            (a, of_a), (b, of_b) = describe(image), describe(other)
            there = project(homography, a)
            nearest = np.linalg.norm(there[:, None] - b[None], axis=2).min(axis=1)
            pairs = match(of_a, of_b, cross_check=True)
            error = np.linalg.norm(there[pairs.indices[:, 0]] - b[pairs.indices[:, 1]], axis=1)
            row.append([(nearest < 2.5).mean(), (error < 3).mean()])
        scores.append(row)
    ours_on_average, theirs_on_average = np.mean(scores, axis=0)
    assert (ours_on_average >= theirs_on_average - 0.02).all()


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_picture_is_read(isa: str, before: bool) -> None:
    for width in (*range(1, 16), 33, 60, 70):
        image = noise(60, width)
        inside = guarded(image, before=before)
        expected = BRISK(threshold=5).detect_and_compute(image)
        np.testing.assert_array_equal(BRISK(threshold=5).detect_and_compute(inside)[1], expected[1])
    assert len(expected[0]) > 5
    edges = Keypoints(np.float32([[x, 30] for x in np.arange(0, 70, 0.5)]), np.full(140, 7.2, np.float32))
    kept, bits = BRISK().compute(guarded(image, before=before), edges)
    assert 0 < len(kept) == len(bits) < 140


def test_the_smallest_and_the_emptiest_pictures(isa: str) -> None:
    for shape in ((1, 1), (1, 300), (2, 2000), (7, 7), (40, 40)):
        for picture in (noise(*shape), np.full(shape, 255, np.uint8)):
            keypoints, bits = BRISK(octaves=8).detect_and_compute(picture)
            assert bits.shape == (len(keypoints), 64)
    places = np.full((5, 2), 50, np.float32)
    sizes = np.float32([0, -1, 1e30, 1e-30, 12])
    kept, _ = BRISK().compute(noise(100, 100), Keypoints(places, sizes))
    np.testing.assert_array_equal(kept.size, sizes[3:])
    outside = np.float32([[-1, 50], [1e30, 50], [50, 99]])
    assert len(BRISK().compute(noise(100, 100), Keypoints(outside, np.full(3, 12, np.float32)))[0]) == 0
    with pytest.raises(ValueError, match=r"^\[BRISK\] expected angles"):
        BRISK().compute(noise(40, 40), Keypoints(places[:1], angle=np.float32([1e30])))
