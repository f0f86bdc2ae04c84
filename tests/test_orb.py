# SPDX-License-Identifier: Apache-2.0
"""ORB and BRIEF against their definitions, OpenCV's ORB, and photographs under known changes of view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pyvision import _core
from pyvision.features import BRIEF, FAST, ORB, Keypoints, match
from tests.helpers import check_threads_agree
from tests.photos import noise, photo, project, rotation, warp
from tests.reference import features as reference

Described = tuple[npt.NDArray[np.floating], npt.NDArray[np.uint8]]


def test_parts_are_those_of_the_definition(isa: str) -> None:
    image = noise(120, 150)
    found = ORB(40, levels=3).detect(image)
    assert len(found) == 40
    levels = [image]
    for level in (1, 2):
        size = (round(120 / 1.2**level), round(150 / 1.2**level))
        levels.append(reference.resize(levels[-1], *size))
    assert set(found.octave.tolist()) == {0, 1, 2}
    for k in range(len(found)):
        octave = int(found.octave[k])
        x, y = np.rint(found.xy[k] / 1.2**octave).astype(int)
        np.testing.assert_allclose(found.xy[k], np.array([x, y]) * 1.2**octave, rtol=1e-6)
        np.testing.assert_allclose(found.size[k], 31 * 1.2**octave, rtol=1e-6)
        np.testing.assert_allclose(
            found.response[k], reference.harris(levels[octave], x, y), rtol=2e-4, atol=1e-9
        )
        np.testing.assert_allclose(found.angle[k], reference.orientation(levels[octave], x, y), atol=1e-3)
        assert 31 <= x < levels[octave].shape[1] - 31
        assert 31 <= y < levels[octave].shape[0] - 31


def test_the_strongest_are_kept_in_order(isa: str) -> None:
    """Twice as many by FAST score, ties with the last of them included; of these the share by response."""
    image = noise(150, 200)
    corners = FAST(threshold=20).detect(image)
    inside = ((corners.xy >= 31) & (corners.xy < np.array([200, 150]) - 31)).all(axis=1)
    corners = corners[inside]
    least = np.sort(corners.response)[-80]
    candidates = corners[corners.response >= least]
    assert 80 <= len(candidates) < len(corners)
    response = [reference.harris(image, *xy) for xy in candidates.xy.astype(int).tolist()]
    expected = candidates.xy[np.argsort(response, kind="stable")[::-1][:40]]
    found = ORB(40, levels=1).detect(image)
    np.testing.assert_array_equal(found.xy, expected)


def test_levels_share_the_features() -> None:
    found = ORB(100).detect(photo())
    assert (np.diff(found.octave) >= 0).all()
    count = np.bincount(found.octave, minlength=8)
    assert count.sum() == 100
    # 100 (1 - f) / (1 - f^8) f^level with f = 1 / 1.2, rounded; the last level has the rest.
    np.testing.assert_array_equal(count, [22, 18, 15, 13, 10, 9, 7, 6])
    for octave in range(8):
        assert (np.diff(found.response[found.octave == octave]) <= 0).all()


@pytest.mark.parametrize("angle", [0.0, 33.0, 90.0, 271.5])
def test_brief_is_its_definition(isa: str, angle: float) -> None:
    image = noise(70, 90)
    at = Keypoints(np.array([[30, 40.4], [60.3, 25]], np.float32), angle=np.full(2, angle, np.float32))
    blurred = reference.blur(image)
    rng = np.random.default_rng(0)
    for tests in (128, 256, 512):
        pattern = rng.integers(-15, 16, (4, tests)).astype(np.float32)
        which, descriptors = _core.brief(image, at.xy, at.angle, pattern)
        assert which.all()
        for row, (x, y) in zip(descriptors, ((30, 40), (60, 25)), strict=True):
            np.testing.assert_array_equal(row, reference.brief(blurred, x, y, angle, pattern))


def test_brief_lengths_seeds_and_orientation() -> None:
    image = photo()
    keypoints = FAST(200, threshold=20).detect(image)
    kept, descriptors = BRIEF().compute(image, keypoints)
    inside = ((keypoints.xy >= 22) & (keypoints.xy < np.array(image.shape[::-1]) - 22)).all(axis=1)
    np.testing.assert_array_equal(kept.xy, keypoints.xy[inside])
    assert 0 < len(kept) < len(keypoints)
    for length in (16, 32, 64):
        assert BRIEF(length).compute(image, keypoints)[1].shape == (len(kept), length)
    np.testing.assert_array_equal(BRIEF(seed=0).compute(image, keypoints)[1], descriptors)
    assert (BRIEF(seed=1).compute(image, keypoints)[1] != descriptors).any()
    turned = Keypoints(keypoints.xy, angle=np.full(len(keypoints), 90, np.float32))
    np.testing.assert_array_equal(BRIEF().compute(image, turned)[1], descriptors)
    quarter = np.ascontiguousarray(np.rot90(image, -1))  # a quarter clockwise: (x, y) goes to (h - 1 - y, x)
    there = np.column_stack([image.shape[0] - 1 - turned.xy[:, 1], turned.xy[:, 0]])
    steered = BRIEF(use_orientation=True).compute(
        quarter, Keypoints(there.astype(np.float32), angle=turned.angle)
    )
    np.testing.assert_array_equal(steered[1], descriptors)


def test_detect_and_compute_are_the_two_together(isa: str) -> None:
    orb = ORB(300)
    keypoints, descriptors = orb.detect_and_compute(photo())
    np.testing.assert_array_equal(orb.detect(photo()).xy, keypoints.xy)
    same, again = orb.compute(photo(), keypoints)
    np.testing.assert_array_equal(same.xy, keypoints.xy)
    np.testing.assert_array_equal(again, descriptors)


def test_isas_agree_to_the_bit(isa: str) -> None:
    keypoints, descriptors = ORB(200).detect_and_compute(noise(200, 300))
    _core.set_isa("scalar")
    expected = ORB(200).detect_and_compute(noise(200, 300))
    np.testing.assert_array_equal(keypoints.response, expected[0].response)
    np.testing.assert_array_equal(descriptors, expected[1])


def test_without_a_limit_all_corners_are_found() -> None:
    x = noise(120, 150)
    found, bits = ORB(None, levels=3).detect_and_compute(x)
    enough, their_bits = ORB(2**20, levels=3).detect_and_compute(x)
    assert len(found) > 2 * len(ORB(100, levels=3).detect(x))
    np.testing.assert_array_equal(found.xy, enough.xy)
    np.testing.assert_array_equal(bits, their_bits)


def test_threads_agree() -> None:
    check_threads_agree(lambda: ORB(300).detect_and_compute(photo())[1])


def test_mask_in_every_level() -> None:
    mask = np.zeros(photo().shape, np.uint8)
    mask[:, 200:] = 1
    found = ORB(400).detect(photo(), mask)
    assert len(found) > 100
    assert len(set(found.octave.tolist())) > 4
    assert (found.xy[:, 0] >= 199.5).all()


def test_opencv_finds_the_same(isa: str) -> None:
    cv2 = pytest.importorskip("cv2")
    image = photo()
    theirs, their_bits = cv2.ORB_create(500).detectAndCompute(image, None)
    keypoints, bits = ORB(500).detect_and_compute(image)
    place = {(round(k.pt[0], 2), round(k.pt[1], 2), k.octave): i for i, k in enumerate(theirs)}
    index = [
        place.get((round(x, 2), round(y, 2), octave))
        for (x, y), octave in zip(keypoints.xy.tolist(), keypoints.octave.tolist(), strict=True)
    ]
    assert None not in index
    np.testing.assert_array_equal(keypoints.response, [theirs[i].response for i in index])
    np.testing.assert_array_equal(keypoints.size, np.float32([theirs[i].size for i in index]))
    turn = np.abs((keypoints.angle - [theirs[i].angle for i in index] + 180) % 360 - 180)
    assert turn.max() < 0.02  # OpenCV's arctangent is a polynomial
    differ = np.unpackbits(bits ^ their_bits[index], axis=1).sum(axis=1)
    assert differ.mean() < 1  # points between two pixels
    kept, again = ORB().compute(image, Keypoints.from_opencv(theirs))
    assert len(kept) == len(theirs)
    assert np.unpackbits(again ^ their_bits).mean() < 0.002


# How well pictures of one scene are recognised, beside OpenCV.

VIEWS = {
    "turned": lambda shape: rotation(30, 1, shape),
    "half turned": lambda shape: rotation(180, 1, shape),
    "smaller": lambda shape: rotation(0, 0.6, shape),
    "larger and turned": lambda shape: rotation(-70, 1.5, shape),
    "from the side": lambda shape: np.array([[0.9, 0.1, 10], [-0.05, 0.8, 60], [2e-4, -3e-4, 1]]),
}


def _scores(a: Described, b: Described, homography: np.ndarray) -> tuple[float, float]:
    """Of the keypoints of `a` those that `b` has too, and of the mutual matches those that are right."""
    there = project(homography, a[0])
    nearest = np.sqrt(((there[:, None] - b[0][None]) ** 2).sum(axis=2)).min(axis=1)
    matches = match(a[1], b[1], cross_check=True)
    error = np.linalg.norm(there[matches.indices[:, 0]] - b[0][matches.indices[:, 1]], axis=1)
    return float((nearest < 2.5).mean()), float((error < 3).mean())


def test_other_views_are_recognised_as_well_as_by_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    image = photo()

    def theirs(picture: np.ndarray) -> Described:
        keypoints, bits = cv2.ORB_create(1000).detectAndCompute(picture, None)
        return np.array([k.pt for k in keypoints]), bits

    def ours(picture: np.ndarray) -> Described:
        keypoints, bits = ORB(1000).detect_and_compute(picture)
        return keypoints.xy, np.asarray(bits)

    scores = []
    for view in VIEWS.values():
        homography = view(image.shape)
        other = warp(image, homography)
        scores.append([_scores(describe(image), describe(other), homography) for describe in (ours, theirs)])
    table = np.array(scores)  # (views, ours and theirs, repeated and right)
    assert (table[:, 0, 1] > 0.3).all()  # random matches would be right by a thousandth
    ours_on_average, theirs_on_average = table.mean(axis=0)
    assert (ours_on_average >= theirs_on_average - 0.02).all()
