# SPDX-License-Identifier: Apache-2.0
"""Keypoints as arrays, as OpenCV's objects, and chosen from."""

from __future__ import annotations

import numpy as np
import pytest

from pyvision.features import Keypoints


def _some() -> Keypoints:
    rng = np.random.default_rng(0)
    columns = (rng.random((5, 2)), *(rng.random(5) for _ in range(3)))
    return Keypoints(*(c.astype(np.float32) for c in columns), np.arange(5, dtype=np.int32))


def test_defaults() -> None:
    k = Keypoints(np.zeros((3, 2), np.float32))
    assert len(k) == 3
    for column, value in ((k.size, 1), (k.angle, -1), (k.response, 0), (k.octave, 0)):
        np.testing.assert_array_equal(column, [value] * 3)
    assert k.octave.dtype == np.int32
    assert len(Keypoints(np.zeros((0, 2), np.float32))) == 0


def test_choosing() -> None:
    k = _some()
    for which in (slice(1, 4), np.array([4, 0]), np.arange(5) % 2 == 0):
        for name in ("xy", "size", "angle", "response", "octave"):
            np.testing.assert_array_equal(getattr(k[which], name), getattr(k, name)[which])
    np.testing.assert_array_equal(k[-1].xy, k.xy[4:])
    np.testing.assert_array_equal(k[np.int64(2)].octave, [2])
    with pytest.raises(IndexError):
        k[5]


def test_there_and_back_through_opencv() -> None:
    pytest.importorskip("cv2")
    k = _some()
    objects = k.to_opencv()
    assert objects[3].pt == tuple(k.xy[3].tolist())
    back = Keypoints.from_opencv(objects)
    for name in ("xy", "size", "angle", "response", "octave"):
        np.testing.assert_array_equal(getattr(back, name), getattr(k, name))
    assert len(Keypoints.from_opencv(())) == 0


def test_the_octave_of_opencvs_sift_is_unpacked() -> None:
    cv2 = pytest.importorskip("cv2")
    picture = np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.uint8)
    objects = cv2.SIFT_create().detect(picture, None)
    assert set(Keypoints.from_opencv(objects).octave.tolist()) <= set(range(-1, 6))


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("xy", np.zeros((3, 3), np.float32), ValueError),
        ("xy", np.zeros(3, np.float32), ValueError),
        ("xy", np.zeros((3, 2)), TypeError),
        ("xy", [[0, 0]], TypeError),
        ("xy", np.full((3, 2), np.nan, np.float32), ValueError),
        ("size", np.full(3, np.inf, np.float32), ValueError),
        ("angle", np.full(3, np.nan, np.float32), ValueError),
        ("angle", np.zeros(2, np.float32), ValueError),
        ("response", np.zeros((3, 1), np.float32), ValueError),
        ("octave", np.zeros(3, np.int64), TypeError),
        ("octave", 1, TypeError),
    ],
)
def test_what_is_no_keypoints_is_refused(column: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"\[Keypoints\] expected {column}"):
        Keypoints(**{"xy": np.zeros((3, 2), np.float32), column: value})
