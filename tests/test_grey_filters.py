# SPDX-License-Identifier: Apache-2.0
"""Fixed-point resizing, blurring and conversion to grey, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from pyvision import _core
from tests._guard import guarded
from tests.helpers import check_threads_agree
from tests.reference import features as reference

SHAPES = ((1, 1), (1, 9), (2, 3), (7, 1), (9, 33), (20, 65), (33, 70))


def _image(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_blur(isa: str, shape: tuple[int, int]) -> None:
    np.testing.assert_array_equal(_core.blur_grey(_image(shape)), reference.blur(_image(shape)))


def test_blur_keeps_a_constant(isa: str) -> None:
    for value in (0, 1, 128, 255):
        assert (_core.blur_grey(np.full((9, 40), value, np.uint8)) == value).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 28), (27, 58), (40, 131)])
def test_resize(isa: str, shape: tuple[int, int], size: tuple[int, int]) -> None:
    np.testing.assert_array_equal(
        _core.resize_grey(_image(shape), *size), reference.resize(_image(shape), *size)
    )


def test_same_size_is_the_same_image(isa: str) -> None:
    np.testing.assert_array_equal(_core.resize_grey(_image((20, 65)), 20, 65), _image((20, 65)))


@pytest.mark.parametrize("channels", [3, 4])
def test_grey(isa: str, channels: int) -> None:
    for width in (1, 15, 64, 71):
        image = _image((5, width, channels))
        red, green, blue = (image[..., c].astype(int) for c in range(3))
        expected = (9798 * red + 19235 * green + 3735 * blue + (1 << 14)) >> 15
        np.testing.assert_array_equal(_core.to_grey(image), expected)
        np.testing.assert_array_equal(_core.to_grey(image[::-1, ::-1]), expected[::-1, ::-1])


def test_opencv_agrees(isa: str) -> None:
    cv2 = pytest.importorskip("cv2")
    image = _image((101, 203))
    np.testing.assert_array_equal(_core.blur_grey(image), cv2.GaussianBlur(image, (7, 7), 2))
    for h, w in ((84, 169), (70, 141), (50, 101), (25, 40), (150, 300)):
        expected = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR_EXACT)
        np.testing.assert_array_equal(_core.resize_grey(image, h, w), expected)
    colour = _image((50, 70, 3))
    np.testing.assert_array_equal(_core.to_grey(colour), cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY))


def test_threads_agree() -> None:
    image = _image((300, 200))
    check_threads_agree(lambda: _core.blur_grey(image))
    check_threads_agree(lambda: _core.resize_grey(image, 250, 167))


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_image_is_read(isa: str, before: bool) -> None:
    for width in (*range(1, 20), 33, 63, 64, 65):
        image = _image((4, width))
        inside = guarded(image, before=before)
        np.testing.assert_array_equal(_core.blur_grey(inside), _core.blur_grey(image))
        for w in (width, width * 5 // 6 + 1, width // 3 + 1):
            np.testing.assert_array_equal(_core.resize_grey(inside, 3, w), _core.resize_grey(image, 3, w))
        colour = _image((2, width, 3))
        np.testing.assert_array_equal(_core.to_grey(guarded(colour, before=before)), _core.to_grey(colour))
