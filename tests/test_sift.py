# SPDX-License-Identifier: Apache-2.0
"""SIFT against blobs of known place and scale, OpenCV's, and photographs from other views."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pyvision.features import SIFT, Keypoints, match
from tests._guard import guarded
from tests.helpers import by_isa, check_threads_agree
from tests.photos import noise, photo, project, rotation, warp


def _blob(x: float, y: float, sigma: float, shape: tuple[int, int] = (120, 140)) -> npt.NDArray[np.float32]:
    """A bright Gaussian on grey."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = (columns - x) ** 2 + (rows - y) ** 2
    return (60 + 150 * np.exp(-distance / (2 * sigma**2))).astype(np.float32)


@pytest.mark.parametrize("sigma", [2.0, 3.1, 5.0, 8.0])
def test_a_blob_is_found_where_and_as_large_as_it_is(isa: str, sigma: float) -> None:
    for x, y in ((70.0, 60.0), (64.3, 57.8)):
        found = SIFT(1).detect(_blob(x, y, sigma))
        assert len(found) == 1
        np.testing.assert_allclose(found.xy[0], [x, y], atol=0.15)
        # The difference of Gaussians s and s 2^(1/3) is extreme where the root of their product is the blob's
        # sigma; a keypoint's size is twice the lesser of the two. The picture is taken to be blurred by 1/2.
        scale = np.sqrt(sigma**2 + 0.25) * 2 ** (-1 / 6)
        np.testing.assert_allclose(found.size[0], 2 * scale, rtol=0.06)


def test_a_quarter_turn_turns_everything(isa: str) -> None:
    """In the first octave: the next ones are of every second pixel, which the turn makes the others."""
    image = noise(90, 120)
    quarter = np.ascontiguousarray(np.rot90(image, -1))  # clockwise: (x, y) goes to (89 - y, x)
    (before, bits_before), (after, bits_after) = (SIFT().detect_and_compute(x) for x in (image, quarter))
    bits_before, bits_after = bits_before[before.octave == -1], bits_after[after.octave == -1]
    before, after = before[before.octave == -1], after[after.octave == -1]
    assert len(before) > 50
    there = np.column_stack([89 - before.xy[:, 1], before.xy[:, 0]])
    distance = np.linalg.norm(there[:, None] - after.xy[None], axis=2)
    turned = np.abs((before.angle[:, None] + 90 - after.angle[None] + 180) % 360 - 180)
    same = (distance < 0.1) & (turned < 1) & (np.abs(np.log(before.size[:, None] / after.size[None])) < 0.02)
    assert same.any(axis=1).mean() > 0.97
    row, column = np.nonzero(same)
    error = np.linalg.norm(bits_before[row] - bits_after[column], axis=1)
    assert np.median(error) < 25  # of 512


def test_descriptors_are_normal(isa: str) -> None:
    _, values = SIFT().detect_and_compute(photo())
    assert values.shape[1] == 128
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.rint(values))
    assert values.min() == 0
    assert values.max() <= 255
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 512, rtol=0.02)
    _, roots = SIFT(root=True).detect_and_compute(photo())
    np.testing.assert_allclose(np.linalg.norm(roots, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(roots**2, values / values.sum(axis=1, keepdims=True), atol=1e-6)


def test_the_strongest_come_first_and_do_not_hang_on_the_others(isa: str) -> None:
    every, values = SIFT().detect_and_compute(photo())
    assert (np.diff(every.response) <= 0).all()
    some, some_values = SIFT(100).detect_and_compute(photo())
    assert len(some) == 100
    for name in ("xy", "size", "angle", "response", "octave"):
        np.testing.assert_array_equal(getattr(some, name), getattr(every, name)[:100])
    np.testing.assert_array_equal(some_values, values[:100])
    kept, again = SIFT().compute(photo(), some)
    assert len(kept) == 100
    np.testing.assert_array_equal(again, some_values)


def test_what_was_found_can_be_described(isa: str) -> None:
    """Among thousands some extrema lie half a layer beside the first or the last of all."""
    sift = SIFT(layers=8, contrast_threshold=0, sigma=0.5)
    found = sift.detect(photo())
    kept, _ = sift.compute(photo(), found)
    assert len(kept) == len(found) > 5000


def test_thresholds() -> None:
    assert len(SIFT(contrast_threshold=0.1).detect(photo())) < len(SIFT().detect(photo()))
    assert len(SIFT(edge_threshold=2).detect(photo())) < len(SIFT().detect(photo()))
    strong = SIFT(contrast_threshold=0.1, layers=3).detect(photo())
    assert strong.response.min() >= 0.1 / 3


def test_mask() -> None:
    mask = np.zeros(photo().shape, np.uint8)
    mask[:, 200:] = 1
    found, every = SIFT().detect(photo(), mask), SIFT().detect(photo())
    expected = every[every.xy[:, 0] >= 199.5]
    np.testing.assert_array_equal(found.xy, expected.xy)


def test_isas_agree() -> None:
    """Sums of products fuse where the instructions do: places differ in the seventh digit."""
    (first, values), *others = by_isa(lambda: SIFT().detect_and_compute(photo())).values()
    for keypoints, other in others:
        assert abs(len(keypoints) - len(first)) <= 2
        distance = np.linalg.norm(keypoints.xy[:, None] - first.xy[None], axis=2)
        distance += np.abs(keypoints.angle[:, None] - first.angle[None])
        nearest = distance.argmin(axis=1)
        close = distance.min(axis=1) < 0.05
        assert close.mean() > 0.99
        assert np.abs(other - values[nearest])[close].max() <= 3


def test_floats_are_used_as_they_are(isa: str) -> None:
    (found, values), expected = SIFT().detect_and_compute(photo().astype(np.float32)), SIFT().detect(photo())
    np.testing.assert_array_equal(found.xy, expected.xy)
    # Rounded to whole numbers little would be left of a hundredth of the contrast.
    faint, faint_values = SIFT(contrast_threshold=4e-4).detect_and_compute(photo().astype(np.float32) * 0.01)
    assert abs(len(faint) - len(found)) < 0.5 * len(found)
    nearest = np.linalg.norm(found.xy[:, None] - faint.xy[None], axis=2)
    assert (nearest.min(axis=1) < 0.05).mean() > 0.98
    assert np.median(np.abs(faint_values[nearest.argmin(axis=1)] - values).max(axis=1)) <= 3


def test_threads_agree() -> None:
    check_threads_agree(lambda: SIFT(200).detect_and_compute(photo())[1])


@pytest.mark.parametrize("name", ["photo", "noise"])
def test_opencv_finds_the_same(isa: str, name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    image = photo() if name == "photo" else noise(150, 200)
    theirs, their_values = cv2.SIFT_create().detectAndCompute(image, None)
    keypoints, values = SIFT().detect_and_compute(image)
    assert abs(len(keypoints) - len(theirs)) <= 0.02 * len(theirs)
    at = Keypoints.from_opencv(theirs)
    distance = np.linalg.norm(at.xy[:, None] - 0.25 - keypoints.xy[None], axis=2)
    scale = np.abs(np.log(at.size[:, None] / keypoints.size[None]))
    turn = np.abs((at.angle[:, None] - keypoints.angle[None] + 180) % 360 - 180)
    same = (distance < 0.1) & (scale < 0.01) & (turn < 1)
    assert same.any(axis=1).mean() > 0.98
    row, column = np.nonzero(same)
    np.testing.assert_array_equal(at.octave[row], keypoints.octave[column])
    assert np.abs(their_values[row] - values[column]).mean() < 0.1
    # Of each that both have, the descriptor is nearer to that of its own than to any other.
    nearest = match(their_values, values).indices[:, 1]
    assert same[np.arange(len(same)), nearest][same.any(axis=1)].mean() >= 0.95
    kept, again = SIFT().compute(image, Keypoints(at.xy - 0.25, at.size, at.angle))
    assert len(kept) == len(theirs)
    assert np.abs(again - their_values).mean() < 0.2


def test_other_views_are_recognised() -> None:
    image = photo()
    for degrees, scale in ((40, 1.0), (180, 0.6), (-70, 1.7)):
        homography = rotation(degrees, scale, image.shape)
        (a, of_a), (b, of_b) = (SIFT(1000).detect_and_compute(x) for x in (image, warp(image, homography)))
        pairs = match(of_a, of_b, ratio=0.8)
        error = np.linalg.norm(
            project(homography, a.xy[pairs.indices[:, 0]]) - b.xy[pairs.indices[:, 1]], axis=1
        )
        assert len(pairs) > 80
        assert (error < 2).mean() > 0.9
        assert (
            np.abs(
                np.median(project(homography, a.xy[pairs.indices[:, 0]]) - b.xy[pairs.indices[:, 1]], axis=0)
            ).max()
            < 0.1
        )


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_picture_is_read(isa: str, before: bool) -> None:
    for width in (*range(1, 9), 15, 16, 17, 31, 33):
        image = noise(14, width)
        np.testing.assert_array_equal(
            SIFT(contrast_threshold=0).detect(guarded(image, before=before)).xy,
            SIFT(contrast_threshold=0).detect(image).xy,
        )


def test_the_smallest_and_the_emptiest_pictures(isa: str) -> None:
    for shape in ((1, 1), (1, 300), (2, 2000), (5, 5), (12, 13), (40, 40)):
        for picture in (noise(*shape), np.full(shape, 255, np.uint8)):
            keypoints, values = SIFT().detect_and_compute(picture)
            assert values.shape == (len(keypoints), 128)
    places = [[20, 20], [-1, 5], [1e30, 5], [39.9, 39.9]]
    sizes = np.array([8, 8, 8, 8], np.float32)
    kept, values = SIFT().compute(noise(40, 40), Keypoints(np.array(places, np.float32), sizes))
    np.testing.assert_array_equal(kept.xy, np.float32([[20, 20], [39.9, 39.9]]))
    assert np.isfinite(values).all()
    none, _ = SIFT().compute(
        noise(40, 40), Keypoints(np.full((4, 2), 20, np.float32), np.float32([0, -1, 1e30, 1e-30]))
    )
    assert len(none) == 0


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("max_features", (0, -1, 1.5, "1", True, 2**31, 2**63)),
        ("layers", (0, 9, -1, 1.5, None)),
        ("contrast_threshold", (-0.1, 1.1, float("nan"), "0", None)),
        ("edge_threshold", (0.5, 1e7, float("inf"), float("nan"), "10")),
        ("sigma", (0, 0.4, 4.1, float("nan"), None)),
        ("root", (1, None)),
    ],
)
def test_bad_options_are_refused(argument: str, values: tuple[object, ...]) -> None:
    for value in values:
        with pytest.raises((ValueError, TypeError), match=rf"^\[SIFT\] expected {argument}"):
            SIFT(**{argument: value})


def test_bad_pictures_and_keypoints_are_refused() -> None:
    for image in (np.zeros((5, 5)), np.zeros(5, np.uint8), np.full((9, 9), np.nan, np.float32), None):
        with pytest.raises((ValueError, TypeError), match=r"^\[SIFT\] expected image"):
            SIFT().detect(image)
    with pytest.raises(ValueError, match=r"^\[SIFT\] expected mask"):
        SIFT().detect(noise(20, 20), np.ones((20, 21), bool))
    with pytest.raises(TypeError, match=r"^\[SIFT\] expected keypoints"):
        SIFT().compute(noise(20, 20), None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^\[SIFT\] expected angles"):
        SIFT().compute(noise(40, 40), Keypoints(np.float32([[20, 20]]), angle=np.float32([1e30])))
