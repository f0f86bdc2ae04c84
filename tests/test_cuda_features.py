# SPDX-License-Identifier: Apache-2.0
"""Detectors on CUDA against those on the CPU, which have references of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision.features import BRIEF, BRISK, FAST, ORB, SIFT, SURF, Harris, Keypoints, ShiTomasi
from tests.cuda_device import Cuda
from tests.photos import noise

COLUMNS = ("xy", "size", "angle", "response", "octave")


def on_host(cuda: Cuda, keypoints: Keypoints) -> Keypoints:
    return Keypoints(*(cuda.numpy(getattr(keypoints, name)) for name in COLUMNS))


def assert_same(found: Keypoints, known: Keypoints) -> None:
    """Exact, but for angles and responses: sines and sums may be rounded once more."""
    for name in ("xy", "size", "octave"):
        np.testing.assert_array_equal(getattr(found, name), getattr(known, name), err_msg=name)
    np.testing.assert_allclose(found.angle, known.angle, atol=2e-4)  # degrees: some ulps of a turn
    np.testing.assert_allclose(found.response, known.response, rtol=1e-5)


def held(cuda: Cuda, keypoints: Keypoints) -> Keypoints:
    """On the device."""
    return Keypoints(*(cuda.array(getattr(keypoints, name)) for name in COLUMNS))


def color(height: int, width: int, channels: int) -> np.ndarray:
    return np.stack([noise(height, width, seed) for seed in range(channels)], axis=2)


def given_keypoints(n: int) -> Keypoints:
    """In and beside a picture of 60 rows and 70 columns, of sizes from a third of a pixel to 54, some without
    an angle."""
    rng = np.random.default_rng(0)
    angles = np.where(np.arange(n) % 4 == 3, -1, rng.uniform(0, 360, n))
    return Keypoints(
        rng.uniform(-3, 72, (n, 2)).astype(np.float32),
        np.exp(rng.uniform(-1, 4, n)).astype(np.float32),
        angles.astype(np.float32),
    )


def assert_detects_within(cuda: Cuda, detector: Any, image: np.ndarray, mask: np.ndarray) -> None:
    """What the CPU finds where the mask lets it, which is something but not everything."""
    known = detector.detect(image, mask)
    assert 0 < len(known) < len(detector.detect(image))
    assert_same(on_host(cuda, detector.detect(cuda.array(image), cuda.array(mask))), known)


@pytest.mark.parametrize("circle", ["9-16", "7-12", "5-8"])
@pytest.mark.parametrize("suppress", [True, False])
def test_fast(cuda: Cuda, circle: Any, suppress: bool) -> None:
    """Around tiles of 16 rows and 64 columns; pictures that are nothing but border."""
    for shape in ((35, 67), (16, 64), (7, 7), (6, 30)):
        image = noise(*shape)
        for most in (None, 1, 23):
            fast = FAST(most, threshold=12, circle=circle, nonmax_suppression=suppress)
            known = fast.detect(image)
            assert len(known) > 0 or min(shape) < 8
            assert_same(on_host(cuda, fast.detect(cuda.array(image))), known)


def test_fast_of_floats_colour_and_masks(cuda: Cuda) -> None:
    fast = FAST(threshold=5)
    mask = np.zeros((32, 40), bool)
    mask[8:30, 10:25] = True
    for image in (color(32, 40, 3), color(32, 40, 4), color(32, 40, 1)):
        for x in (image, image.astype(np.float32) * 1.1 - 7.3):
            assert_detects_within(cuda, fast, x, mask)
            assert_detects_within(cuda, fast, x, mask.astype(np.uint8) * 3)


@pytest.mark.parametrize("most", [5, 60, None])
def test_orb(cuda: Cuda, most: int | None) -> None:
    """A last level without room for keypoints; shares that all corners fill and that few do; no limit."""
    image = noise(100, 120)
    orb = ORB(most, levels=4, scale_factor=1.3, edge_threshold=23)
    known, known_bits = orb.detect_and_compute(image)
    assert len(known) > (most or 200) / 2 and known.octave.max() >= 2
    found, bits = orb.detect_and_compute(cuda.array(image))
    assert_same(on_host(cuda, found), known)
    np.testing.assert_array_equal(cuda.numpy(bits), known_bits)


def test_orb_of_colour_and_a_mask(cuda: Cuda) -> None:
    image, mask = color(80, 90, 3), np.zeros((80, 90), np.uint8)
    mask[20:45, 24:60] = 1
    assert_detects_within(cuda, ORB(500, levels=2, edge_threshold=22, threshold=5), image, mask)


@pytest.mark.parametrize("block", [1, 2, 3, 31])
@pytest.mark.parametrize("detector", [Harris, ShiTomasi])
def test_second_moments(cuda: Cuda, detector: Any, block: int) -> None:
    """Around tiles of 8 rows and 64 columns, to the bit; pictures smaller than a block, and all border."""
    for shape in ((19, 67), (8, 64), (5, 3), (2, 9), (1, 1)):
        for image in (noise(*shape), noise(*shape) * np.float32(0.9) + np.float32(3.3)):
            for options in ({}, {"quality": 0.2, "min_distance": 3.5}):
                finder = detector(block_size=block, **options)
                response = cuda.numpy(finder.response(cuda.array(image)))
                np.testing.assert_array_equal(response, finder.response(image))
                for most in (None, 4):
                    finder.max_features = most or 0
                    known = finder.detect(image)
                    assert len(known) > 0 or shape != (19, 67) or block == 1  # which has no determinant
                    assert_same(on_host(cuda, finder.detect(cuda.array(image))), known)


def test_second_moments_with_a_mask(cuda: Cuda) -> None:
    """The greatest response is of what the mask allows."""
    image, mask = color(32, 40, 3), np.zeros((32, 40), bool)
    image[5, 5] = 255
    mask[8:30, 10:25] = True
    for detector in (Harris(quality=0.3), ShiTomasi(quality=0.3, min_distance=4)):
        assert_detects_within(cuda, detector, image, mask)


def assert_same_values(found: np.ndarray, known: np.ndarray) -> None:
    """Descriptors of whole numbers that sums in another order may round to the next."""
    assert found.shape == known.shape and found.dtype == known.dtype
    assert np.abs(found - known).max() <= 1 and (found != known).mean() < 0.01


@pytest.mark.parametrize("options", [{}, {"layers": 2, "sigma": 1.2, "edge_threshold": 4.0}])
def test_sift(cuda: Cuda, options: dict[str, Any]) -> None:
    """Around tiles of 128 columns and 16 rows; extrema that move to one place, candidates of two angles."""
    image = noise(49, 70)
    for most in (None, 20):
        sift = SIFT(most, **options)
        known, known_values = sift.detect_and_compute(image)
        assert len(known) == most if most else len(known) > 40
        found, values = sift.detect_and_compute(cuda.array(image))
        assert_same(on_host(cuda, found), known)
        assert_same_values(cuda.numpy(values), known_values)


def test_sift_of_floats_colour_and_a_mask(cuda: Cuda) -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[:, 10:30] = 1
    images = (noise(40, 50) * np.float32(0.9) + np.float32(3.3), color(40, 50, 3), color(40, 50, 4))
    for image in images:
        assert_detects_within(cuda, SIFT(), image, mask)
    floats = color(40, 50, 3).astype(np.float32)
    assert len(SIFT().detect(cuda.array(floats))) > 0.9 * len(SIFT().detect(floats))


def test_sift_at_given_keypoints(cuda: Cuda) -> None:
    """Of sizes that its pyramid has and others; RootSIFT."""
    image, given = noise(60, 70), given_keypoints(30)
    known, known_values = SIFT().compute(image, given)
    found, values = SIFT().compute(cuda.array(image), held(cuda, given))
    assert 5 < len(known) < 30
    assert_same(on_host(cuda, found), known)
    assert_same_values(cuda.numpy(values), known_values)
    roots = cuda.numpy(SIFT(root=True).compute(cuda.array(image), held(cuda, given))[1])
    host = cuda.numpy(values)
    np.testing.assert_allclose(roots, np.sqrt(host / host.sum(axis=1, keepdims=True)), rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"extended": True}, {"upright": True, "octaves": 2}, {"threshold": 0.0, "octaves": 1}]
)
def test_surf(cuda: Cuda, options: dict[str, Any]) -> None:
    """Bands of 64 rows; bytes and floats."""
    image = noise(70, 81)
    for x in (image, image * np.float32(0.7) + np.float32(3.3)):
        for most in (None, 9):
            surf = SURF(most, **options)
            known, known_values = surf.detect_and_compute(x)
            assert len(known) == most if most else len(known) > 20
            found, values = surf.detect_and_compute(cuda.array(x))
            assert_same(on_host(cuda, found), known)
            np.testing.assert_allclose(cuda.numpy(values), known_values, atol=1e-5)


def test_surf_with_a_mask_and_at_given_keypoints(cuda: Cuda) -> None:
    image, mask = color(60, 70, 3), np.zeros((60, 70), bool)
    mask[:, 20:40] = True
    assert_detects_within(cuda, SURF(), image, mask)
    given = given_keypoints(30)
    known, known_values = SURF().compute(image, given)
    found, values = SURF().compute(cuda.array(image), held(cuda, given))
    assert 5 < len(known) < 30
    assert_same(on_host(cuda, found), known)
    np.testing.assert_allclose(cuda.numpy(values), known_values, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"threshold": 0, "octaves": 1}, {"threshold": 8, "octaves": 0}, {"threshold": 5}]
)
def test_brisk(cuda: Cuda, options: dict[str, Any]) -> None:
    """Layers of odd sides; corners of equal scores and on four layers; pictures that are but border."""
    large = noise(24, 27).repeat(4, axis=0).repeat(4, axis=1)
    assert options or BRISK().detect(large).octave.max() == 3
    for image in (noise(85, 97), large):
        for most in (None, 9):
            brisk = BRISK(most, **options)
            known, known_bits = brisk.detect_and_compute(image)
            assert len(known) == most if most else len(known) > 9
            found, bits = brisk.detect_and_compute(cuda.array(image))
            assert_same(on_host(cuda, found), known)
            np.testing.assert_array_equal(cuda.numpy(bits), known_bits)
    for shape in ((9, 9), (6, 40), (1, 3)):
        found, bits = BRISK(**options).detect_and_compute(cuda.array(noise(*shape)))
        assert found.xy.shape == (0, 2) and cuda.numpy(bits).shape == (0, 64)


def test_brisk_of_floats_colour_and_a_mask(cuda: Cuda) -> None:
    mask = np.zeros((60, 70), bool)
    mask[:, 20:40] = True
    for image in (noise(60, 70) * np.float32(0.9) + np.float32(3.3), color(60, 70, 3), color(60, 70, 4)):
        assert_detects_within(cuda, BRISK(threshold=10), image, mask)


def test_brisk_at_given_keypoints(cuda: Cuda) -> None:
    """Of sizes that one pixel covers and others; with angles and without."""
    image, given = noise(60, 70), given_keypoints(40)
    for keypoints in (given, given[:0]):
        known, known_bits = BRISK().compute(image, keypoints)
        assert len(known) < len(given) and (len(known) > 5) == (len(keypoints) > 0)
        found, bits = BRISK().compute(cuda.array(image), held(cuda, keypoints))
        assert_same(on_host(cuda, found), known)
        np.testing.assert_array_equal(cuda.numpy(bits), known_bits)
        assert (known.angle >= 0).all()


def test_arrays_that_are_not_dense(cuda: Cuda) -> None:
    """Their dense copies live as long as the kernels read them."""
    image, mask = noise(70, 160), np.ones((70, 160), bool)
    mask[:, ::3] = mask[::2] = False
    mask[20:50, 20:60] = True
    places = np.random.default_rng(0).uniform(25, 45, (40, 2)).astype(np.float32)
    given = Keypoints(places, np.full(40, 4, np.float32), np.full(40, 30, np.float32))
    every_second = Keypoints(*(cuda.array(getattr(given, name))[::2] for name in COLUMNS))
    orb = ORB(20, levels=1, edge_threshold=22)
    for detector in (FAST(30), orb, SIFT(20), SURF(20), BRISK(20, threshold=10), ShiTomasi(20)):
        found = detector.detect(cuda.array(image)[:, ::2], cuda.array(mask)[:, ::2])
        assert_same(on_host(cuda, found), detector.detect(image[:, ::2], mask[:, ::2]))
    for describer in (BRIEF(), orb, SIFT(), SURF(), BRISK()):
        _, known_values = describer.compute(image, given[::2])
        _, values = describer.compute(cuda.array(image), every_second)
        np.testing.assert_allclose(cuda.numpy(values), known_values, atol=1e-5)


def test_pictures_without_keypoints(cuda: Cuda) -> None:
    for image in (np.zeros((70, 70), np.uint8), noise(1, 3), noise(30, 90)):
        found, bits = ORB(levels=3).detect_and_compute(cuda.array(image))
        assert len(found) == 0 and cuda.numpy(bits).shape == (0, 32)
        assert found.xy.shape == (0, 2)
    for image in (np.zeros((20, 30), np.uint8), noise(1, 3), noise(9, 40)):
        found, values = SIFT(contrast_threshold=0.5).detect_and_compute(cuda.array(image))
        assert found.xy.shape == (0, 2) and cuda.numpy(values).shape == (0, 128)


def test_descriptors_at_given_keypoints(cuda: Cuda) -> None:
    """Some near the border, some of levels that there are not, none at all."""
    image = noise(90, 110)
    rng = np.random.default_rng(0)
    given = Keypoints(
        rng.uniform(-5, 115, (40, 2)).astype(np.float32),
        np.full(40, 31, np.float32),
        rng.uniform(0, 360, 40).astype(np.float32),
        rng.uniform(0, 1, 40).astype(np.float32),
        rng.integers(0, 3, 40).astype(np.int32),
    )
    for describe in (ORB(levels=3), BRIEF(16), BRIEF(64, use_orientation=True)):
        for keypoints in (given, given[:0]):
            known, known_bits = describe.compute(image, keypoints)
            found, bits = describe.compute(cuda.array(image), held(cuda, keypoints))
            assert_same(on_host(cuda, found), known)
            np.testing.assert_array_equal(cuda.numpy(bits), known_bits)
            assert len(known) < len(given) and (len(known) > 0) == (len(keypoints) > 0)
    beyond = Keypoints(given.xy, given.size, given.angle, given.response, given.octave * 2 - 1)
    known = ORB(levels=3).compute(image, beyond[beyond.octave == 1])[0]
    assert_same(on_host(cuda, ORB(levels=2).compute(cuda.array(image), held(cuda, beyond))[0]), known)


def test_many_pictures_and_any_schedule(cuda: Cuda) -> None:
    images = np.stack([noise(30, 44, seed) for seed in range(2)])
    large = noise(70, 80)
    known_orb, known_bits = ORB(25, levels=2, edge_threshold=22).detect_and_compute(large)
    known_sift, known_values = SIFT().detect_and_compute(images[0])
    known_brisk, known_words = BRISK(threshold=5).detect_and_compute(large)
    for falling in (False, True):
        cuda.falling_order(falling)
        found = FAST(20).detect(cuda.array(images))
        for keypoints, known in zip(found, FAST(20).detect(images), strict=True):
            assert len(known) == 20
            assert_same(on_host(cuda, keypoints), known)
        orb, bits = ORB(25, levels=2, edge_threshold=22).detect_and_compute(cuda.array(large))
        assert_same(on_host(cuda, orb), known_orb)
        np.testing.assert_array_equal(cuda.numpy(bits), known_bits)
        sift, values = SIFT().detect_and_compute(cuda.array(images[0]))
        assert_same(on_host(cuda, sift), known_sift)
        assert_same_values(cuda.numpy(values), known_values)
        brisk, words = BRISK(threshold=5).detect_and_compute(cuda.array(large))
        assert_same(on_host(cuda, brisk), known_brisk)
        np.testing.assert_array_equal(cuda.numpy(words), known_words)


def test_pixels_that_are_not_finite_are_black(cuda: Cuda) -> None:
    image = noise(30, 40).astype(np.float32)
    known = image.copy()
    image[10, 12], image[20, 20:23], known[10, 12], known[20, 20:23] = np.nan, np.inf, 0, 255
    assert_same(on_host(cuda, FAST().detect(cuda.array(image))), FAST().detect(known))


def test_keypoints_stay_on_the_device(cuda: Cuda) -> None:
    points = np.array([[3, 4], [5.5, 6], [7, 8]], np.float32)
    keypoints = Keypoints(cuda.array(points))
    assert len(keypoints) == 3
    assert_same(on_host(cuda, keypoints), Keypoints(points))
    assert_same(on_host(cuda, keypoints[1:]), Keypoints(points[1:]))
    assert_same(on_host(cuda, keypoints[cuda.array(np.array([2, 0]))]), Keypoints(points[[2, 0]]))
    size = np.array([1, 2, 3], np.float32)
    assert_same(on_host(cuda, Keypoints(cuda.array(points), cuda.array(size))), Keypoints(points, size))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: FAST().detect(c.array(np.zeros(5, np.uint8))), ValueError, "expected image of shape"),
        (lambda c: FAST().detect(c.array(np.zeros((0, 5), np.uint8))), ValueError, "expected image of shape"),
        (lambda c: FAST().detect(c.array(np.zeros((5, 5)))), TypeError, "expected image of dtype"),
        (
            lambda c: FAST().detect(c.array(noise(9, 9)), c.array(noise(9, 8))),
            ValueError,
            "expected mask of shape",
        ),
        (
            lambda c: FAST().detect(c.array(noise(9, 9)), noise(9, 9)),
            ValueError,
            "expected all arrays on one",
        ),
        (lambda c: Keypoints(c.array(np.zeros(4, np.float32))), ValueError, "expected xy of shape"),
        (
            lambda c: Keypoints(c.array(np.zeros((4, 2), np.float32)), c.array(np.zeros(3, np.float32))),
            ValueError,
            "expected size of shape",
        ),
    ],
)
def test_bad_arguments(cuda: Cuda, call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[(FAST|Keypoints)\] {message}"):
        call(cuda)
