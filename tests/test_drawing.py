# SPDX-License-Identifier: Apache-2.0
"""Annotated pictures: colours that differ, labels that can be read and stay in the picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pyvision.drawing import (
    _place_label,
    class_color,
    draw_boxes,
    draw_keypoints,
    draw_mask,
    draw_matches,
    line_width,
    text_color,
)

GREY = np.full((200, 300, 3), 128, np.uint8)


def contrast(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(color: tuple[int, int, int]) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array(color) / 255]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_class_colours_are_stable_distinct_and_readable() -> None:
    colors = [class_color(i) for i in range(80)]
    assert colors == [class_color(i) for i in range(80)]
    assert len(set(colors)) == 80
    for a, b in itertools.combinations(colors[:16], 2):
        assert np.abs(np.subtract(a, b)).max() >= 50
    assert min(contrast(color, text_color(color)) for color in colors) >= 3


def test_box_is_outlined_in_its_colour_and_nothing_inside_or_outside_changes() -> None:
    box = np.array([[50, 60, 250, 180]], np.float32)
    picture = draw_boxes(GREY, box, [3], ["x"])
    color = class_color(3)
    assert (GREY == 128).all()
    assert picture.shape == GREY.shape
    for y, x in ((179, 100), (120, 50), (120, 249), (60, 200)):
        assert tuple(picture[y, x]) == color
    for y, x in ((181, 100), (120, 48), (120, 251), (120, 150), (20, 20)):
        assert tuple(picture[y, x]) == (128, 128, 128)


def test_first_box_is_drawn_on_top() -> None:
    boxes = np.array([[50, 60, 250, 180], [50, 60, 250, 180]], np.float32)
    assert tuple(draw_boxes(GREY, boxes, [0, 1], ["a", "b"])[120, 50]) == class_color(0)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 5), (33, 4000)])
def test_any_size_of_picture_and_box(size: tuple[int, int]) -> None:
    height, width = size
    picture = np.zeros((height, width, 3), np.uint8)
    boxes = np.array([[0, 0, width, height], [0, 0, 0.2, 0.2], [width - 0.1, 0, width, height]], np.float32)
    drawn = draw_boxes(picture, boxes, [0, 1, 2], ["a long label of many words 0.99"] * 3)
    assert drawn.shape == picture.shape
    assert drawn.any()
    assert draw_mask(picture, np.ones(size, bool), (9, 9, 9)).shape == picture.shape


def test_no_boxes_leave_the_picture_as_it_is() -> None:
    np.testing.assert_array_equal(draw_boxes(GREY, np.zeros((0, 4), np.float32), [], []), GREY)


def test_labels_keep_inside_the_picture_and_clear_of_each_other() -> None:
    rng = np.random.default_rng(0)
    size = (640, 480)
    for _ in range(50):
        taken: list[tuple[int, int, int, int]] = []
        for _ in range(6):
            x1, y1 = int(rng.integers(0, 600)), int(rng.integers(0, 440))
            box = (x1, y1, int(rng.integers(x1, 640)), int(rng.integers(y1, 480)))
            x0, y0, x9, y9 = _place_label(120, 20, box, size, taken)
            assert x0 >= 0
            assert y0 >= 0
            assert x9 <= 640
            assert y9 <= 480
            taken.append((x0, y0, x9, y9))


def test_label_positions() -> None:
    size = (300, 200)
    box = (50, 60, 250, 180)
    above = _place_label(80, 16, box, size, [])
    assert above == (50, 44, 130, 60)
    inside = _place_label(80, 16, box, size, [above])
    assert inside == (50, 60, 130, 76)
    below = _place_label(80, 16, box, size, [above, inside])
    assert below == (50, 181, 130, 197)
    assert _place_label(80, 16, (50, 3, 250, 180), size, []) == (50, 3, 130, 19)  # no room above
    assert _place_label(80, 16, (280, 60, 300, 180), size, []) == (220, 44, 300, 60)  # no room to the right


def test_mask_is_tinted_with_a_contour() -> None:
    mask = np.zeros((200, 300), bool)
    mask[50:150, 100:200] = True
    picture = draw_mask(GREY, mask, (255, 0, 0), opacity=0.5)
    assert (GREY == 128).all()
    np.testing.assert_allclose(picture[100, 150], (191.5, 64, 64), atol=0.5)
    assert tuple(picture[50, 150]) == tuple(picture[100, 199]) == (255, 0, 0)
    assert tuple(picture[49, 150]) == tuple(picture[100, 200]) == (128, 128, 128)
    whole = draw_mask(GREY, np.ones((200, 300), bool), (255, 0, 0), opacity=0.5)
    assert (whole == picture[100, 150]).all()  # the picture's own edge is no contour


def test_lines_grow_with_the_picture() -> None:
    widths = [line_width(size) for size in ((10, 10), (640, 480), (1920, 1080), (6000, 4000))]
    assert widths == sorted(widths)
    assert widths[0] == 1
    assert widths[-1] > 10


def test_keypoints_are_circles_with_their_radius() -> None:
    xy, size = np.array([[100, 60], [200, 120]], np.float32), np.array([40, 20], np.float32)
    picture = draw_keypoints(GREY, xy, size, np.array([90, -1], np.float32))
    assert (GREY == 128).all()
    for (x, y), radius, color in zip(
        ((100, 60), (200, 120)), (20, 10), (class_color(0), class_color(1)), strict=True
    ):
        for dx, dy in ((radius, 0), (-radius, 0), (0, radius), (0, -radius)):
            assert tuple(picture[y + dy, x + dx]) == color
    assert tuple(picture[70, 100]) == class_color(0)  # ninety degrees clockwise of right: down
    assert tuple(picture[60, 110]) == tuple(picture[120, 205]) == (128, 128, 128)
    np.testing.assert_array_equal(draw_keypoints(GREY, xy[:0], size[:0], size[:0]), GREY)


def test_matches_are_lines_across_both_pictures() -> None:
    other = np.full((100, 80, 3), 30, np.uint8)
    points = np.array([[10, 20]], np.float32)
    picture = draw_matches(GREY, other, points, np.array([[70, 20]], np.float32))
    assert picture.shape == (200, 380, 3)
    assert (picture[20, 14:366] == class_color(0)).all()
    assert (picture[40:, :300] == 128).all()
    assert (picture[40:100, 300:] == 30).all()
    assert (picture[100:, 300:] == 16).all()
