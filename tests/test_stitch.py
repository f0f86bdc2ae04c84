# SPDX-License-Identifier: Apache-2.0
"""Stitching: photographs cut into overlapping, warped pieces are put together again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyvision import cli, ops
from pyvision.features import SIFT, find_affine, match, stitch
from pyvision.features._alignment import refine_homography
from pyvision.features.stitching import _banded
from pyvision.image_io import read_image, save_image
from tests.helpers import check_threads_agree, random
from tests.images import EXAMPLE
from tests.photos import noise, project

# From the photograph to pieces of (width, height), all of whose pixels it has.
MILD = np.array([[1.02, 0.03, -240], [-0.02, 0.99, -18], [4e-5, 2e-5, 1]])
TILTED = np.array([[0.95, 0.15, -260], [-0.12, 1.0, 20], [-1e-4, 2e-5, 1]])
SHIFTED = np.array([[1.0, 0, -200], [0, 1, -30], [0, 0, 1]])
PIECE = (240, 380)


def photograph() -> np.ndarray:
    with Image.open(EXAMPLE) as image:
        return np.asarray(image.convert("RGB"))


def seen_through(picture: np.ndarray, homography: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    corners = np.array([[0, 0], [size[0] - 1, 0], [0, size[1] - 1], [size[0] - 1, size[1] - 1]], float)
    places = project(np.linalg.inv(homography), corners)
    assert places.min() >= 0
    assert (places <= np.array(picture.shape[1::-1]) - 1).all()
    piece: np.ndarray = ops.warp_perspective(picture, homography, size, interpolation="bicubic")
    return piece


def compare(panorama: np.ndarray, original: np.ndarray, least: float) -> tuple[int, int]:
    """Fail unless the panorama is a part of the original, shifted by whole pixels; returns the shift."""
    covered = panorama.any(axis=2)
    places = {}
    for top in range(max(original.shape[0] - panorama.shape[0], 0) + 3):
        for left in range(max(original.shape[1] - panorama.shape[1], 0) + 3):
            part = original[top : top + panorama.shape[0], left : left + panorama.shape[1]]
            here = panorama[: part.shape[0], : part.shape[1]]
            few = np.s_[::7, ::7]
            difference = (part[few].astype(float) - here[few])[covered[: part.shape[0], : part.shape[1]][few]]
            places[top, left] = float((difference**2).mean())
    top, left = min(places, key=places.__getitem__)
    part = original[top : top + panorama.shape[0], left : left + panorama.shape[1]].astype(float)
    here = panorama[: part.shape[0], : part.shape[1]]
    error = ((part - here)[covered[: part.shape[0], : part.shape[1]]] ** 2).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) >= least
    return top, left


def farthest_off(panorama: np.ndarray, original: np.ndarray, shift: tuple[int, int]) -> float:
    """How far features of both lie from each other, at the 95th percentile, once the shift is known."""
    (a, rows_a), (b, rows_b) = (SIFT().detect_and_compute(x) for x in (panorama, original))
    pairs = match(rows_a, rows_b, ratio=0.7, cross_check=True).indices
    off = a.xy[pairs[:, 0]] + np.array(shift[::-1]) - b.xy[pairs[:, 1]]
    assert len(pairs) > 100
    return float(np.percentile(np.linalg.norm(off, axis=1), 95))


@pytest.mark.parametrize("homography", [SHIFTED, MILD, TILTED], ids=["shifted", "mild", "tilted"])
def test_two_pieces_make_the_photograph(homography: np.ndarray) -> None:
    original = photograph()
    panorama = stitch([original[20:480, 10:310], seen_through(original, homography, PIECE)])
    assert panorama.shape[1] > 400
    assert farthest_off(panorama, original, compare(panorama, original, 40)) < 1


def test_another_photograph(shared: Path) -> None:
    original = read_image(shared / "images" / "coffee.png")
    first = np.ascontiguousarray(original[10:390, 20:350])
    second = seen_through(
        original, np.array([[0.98, 0.06, -230], [-0.05, 1.01, -2], [2e-5, 0, 1]]), (300, 350)
    )
    panorama = stitch([second, first])
    assert panorama.shape[1] > 450
    # The frame is that of the first one given: the photograph is brought to it.
    back = np.linalg.inv(np.array([[0.98, 0.06, -230], [-0.05, 1.01, -2], [2e-5, 0, 1]]))
    (a, rows_a), (b, rows_b) = (SIFT().detect_and_compute(x) for x in (panorama, second))
    pairs = match(rows_a, rows_b, ratio=0.7, cross_check=True).indices
    shift = np.rint(np.median(b.xy[pairs[:, 1]] - a.xy[pairs[:, 0]], axis=0))
    to_original = back @ np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
    expected = ops.warp_perspective(
        original, to_original, panorama.shape[1::-1], inverse_map=True, interpolation="bicubic"
    )
    solid = (panorama.min(axis=2) > 0) & (expected.min(axis=2) > 0)
    error = ((panorama.astype(float) - expected)[solid] ** 2).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 36  # both were resampled, each in its own way


@pytest.mark.parametrize("features", ["ORB", "BRISK", "SURF"])
def test_other_features_do_as_well(features: Any) -> None:
    """Of more of an overlap: ORB looks for nothing within 31 pixels of an edge, and finds it less exactly."""
    original = photograph()
    panorama = stitch([original[:, :420], seen_through(original, MILD, PIECE)], features=features)
    assert farthest_off(panorama, original, compare(panorama, original, 30)) < 2


def test_every_instruction_set_makes_the_photograph(isa: str) -> None:
    original = photograph()
    compare(stitch([original[20:480, 10:310], seen_through(original, MILD, PIECE)]), original, 40)


def pieces(original: np.ndarray) -> list[np.ndarray]:
    """Six, two rows of three, each turned and tilted a little, in no order."""
    rng = np.random.default_rng(1)
    result = []
    for row in (0, 1):
        for column in (0, 1, 2):
            h = np.eye(3) + rng.normal(0, 1, (3, 3)) * [[0.02, 0.02, 0], [0.02, 0.02, 0], [2e-5, 2e-5, 0]]
            h[:2, 2] = [-20 - 125 * column, -25 - 190 * row]
            result.append(seen_through(original, h, (200, 250)))
    middle = original[120:370, 150:350]
    return [result[k] for k in (3, 0, 5)] + [middle] + [result[k] for k in (2, 4, 1)]


def test_many_pieces_in_no_order() -> None:
    original = photograph()
    panorama = stitch(pieces(original))
    assert panorama.shape[0] > 400
    assert panorama.shape[1] > 400
    # The frame is that of one of the pieces: what is straight stays straight, so a homography leads back.
    from pyvision.features import find_homography

    (a, rows_a), (b, rows_b) = (SIFT().detect_and_compute(x) for x in (panorama, original))
    pairs = match(rows_a, rows_b, ratio=0.7, cross_check=True).indices
    matrix, inliers = find_homography(a.xy[pairs[:, 0]], b.xy[pairs[:, 1]], threshold=1.0)
    assert inliers.mean() > 0.95
    back = ops.warp_perspective(panorama, matrix, original.shape[1::-1], interpolation="bicubic")
    solid = (
        ops.warp_perspective((panorama.min(axis=2) > 0).astype(np.float32), matrix, original.shape[1::-1])
        == 1
    )
    error = ((back.astype(float) - original)[solid] ** 2).mean()
    assert solid.mean() > 0.6
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 30


def test_brightness_is_evened_out() -> None:
    original = photograph()
    first, second = original[20:480, 10:310] * 0.95, seen_through(original, MILD, PIECE) * 0.75
    panorama = stitch([first.astype(np.uint8), second.astype(np.uint8)])
    part = original[20:480, 10 : 10 + panorama.shape[1]].astype(float)
    levels = []
    for columns in (slice(0, 200), slice(350, 440)):
        here, there = panorama[:460, columns].astype(float), part[:, columns]
        solid = here.min(axis=2) > 0
        levels.append(here[solid].sum() / there[solid].sum())
    assert abs(levels[1] / levels[0] - 1) < 0.02  # 0.95 / 0.75 before


def views_of_a_cylinder(turns: Sequence[float], focal: float) -> tuple[list[np.ndarray], np.ndarray]:
    """What a camera of this focal length sees as it turns inside the photograph rolled up, and that."""
    texture = photograph()
    height, width = 260, 200
    y, x = np.mgrid[:height, :width].astype(float)
    result = []
    for turn in turns:
        angle = np.arctan((x - (width - 1) / 2) / focal) + turn
        rise = (y - (height - 1) / 2) / np.hypot(x - (width - 1) / 2, focal)
        u, v = 256 + focal * angle, 256 + focal * rise
        assert u.min() >= 0
        assert u.max() <= 511
        result.append(ops.remap(texture, u.astype(np.float32), v.astype(np.float32), interpolation="bicubic"))
    return result, texture


@pytest.mark.parametrize("projection", ["cylinder", "auto"])
def test_a_cylinder_takes_what_no_plane_can(projection: Any) -> None:
    focal = 130.0  # the whole turn: 2 x 1.25 + 2 x 0.65 radians, more than a plane shows
    views, texture = views_of_a_cylinder([0.0, -1.2, 0.4, 1.2, -0.4, 0.8, -0.8], focal)
    with pytest.raises(ValueError, match=r"^\[stitch\] expected images that fit on a plane"):
        stitch(views, projection="plane")
    panorama = stitch(views, projection=projection)
    (a, rows_a), (b, rows_b) = (SIFT().detect_and_compute(x) for x in (panorama, texture))
    pairs = match(rows_a, rows_b, ratio=0.7, cross_check=True).indices
    matrix, inliers = find_affine(a.xy[pairs[:, 0]], b.xy[pairs[:, 1]], threshold=4.0)
    assert inliers.sum() > 150
    assert inliers.mean() > 0.9
    np.testing.assert_allclose(matrix[:, :2], np.eye(2), atol=0.06)


def test_one_picture_twice_is_that_picture() -> None:
    original = photograph()
    np.testing.assert_array_equal(stitch([original, original]), original)
    grey = original[:, :, 1]
    np.testing.assert_array_equal(stitch([grey, grey]), np.repeat(grey[:, :, None], 3, axis=2))
    alpha = np.dstack([original, grey])
    np.testing.assert_array_equal(stitch([alpha, original[::-1][::-1]]), original)


def test_threads_agree_and_runs_repeat() -> None:
    original = photograph()
    images = [original[20:480, 10:310], seen_through(original, TILTED, PIECE)]
    check_threads_agree(lambda: stitch(images))


def test_the_result_is_of_the_first_images_kind() -> None:
    torch = pytest.importorskip("torch")
    original = photograph()
    images = [torch.from_numpy(np.ascontiguousarray(x)) for x in (original[:, :300], original[:, 150:])]
    panorama = stitch(images)
    assert isinstance(panorama, torch.Tensor)
    np.testing.assert_array_equal(panorama.numpy(), stitch([np.asarray(x) for x in images]))


def test_a_homography_is_refined_by_what_pictures_show() -> None:
    dimmed = (0.8 * seen_through(photograph(), TILTED, PIECE)[:, :, 1] + 20).astype(np.uint8)
    first = np.ascontiguousarray(photograph()[:, :, 1])
    rough = TILTED + np.array([[0.002, -0.003, 0.8], [0.002, 0.001, -0.9], [2e-6, -3e-6, 0]])
    refined = refine_homography(first, dimmed, rough)
    assert refined is not None
    corners = project(np.linalg.inv(TILTED), np.array([[0, 0], [239, 0], [0, 379], [239, 379]], float))
    off = np.linalg.norm(project(refined[0], corners) - project(TILTED, corners), axis=1)
    assert off.max() < 0.1
    assert np.linalg.norm(project(rough, corners) - project(TILTED, corners), axis=1).max() > 1
    for a, b in ((first[:7], dimmed), (first * 0, dimmed), (first, dimmed[:5, :5])):
        assert refine_homography(a, b, TILTED) is None


def test_bands_add_up() -> None:
    difference = random((67, 90, 3))
    ones = np.ones((67, 90, 1), np.float32)
    np.testing.assert_allclose(_banded(difference, ones, 4), difference, atol=1e-5)
    half = (np.arange(90) > 44).astype(np.float32)[None, :, None] * ones
    blended = _banded(np.ones_like(difference), half, 4)
    assert (np.diff(blended[30, :, 0]) > -1e-3).all()  # rises
    assert np.diff(blended[30, :, 0]).max() < 0.06  # nowhere at once
    np.testing.assert_allclose(blended[:, [0, -1], :], [[[0] * 3, [1] * 3]] * 67, atol=0.02)
    assert not _banded(np.zeros_like(difference), half, 4).any()


def test_what_does_not_overlap_is_refused() -> None:
    original = photograph()
    left, right, other = (
        original[:, :250],
        original[:, 262:],
        np.dstack([noise(300, 300, k) for k in range(3)]),
    )
    for images, text in (
        ([left, right], r"between \[0\] and \[1\]"),
        ([left, other, original[:, 100:400]], r"between \[0, 2\] and \[1\]"),
        ([np.zeros((50, 60, 3), np.uint8)] * 2, ""),
        ([np.zeros((1, 1, 3), np.uint8), original], ""),
    ):
        with pytest.raises(ValueError, match=rf"^\[stitch\] expected images that overlap.*{text}"):
            stitch(images)


BLANK = np.zeros((40, 50, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"images": []}, ValueError, "images"),
        ({"images": [BLANK]}, ValueError, "images"),
        ({"images": BLANK}, TypeError, "images"),
        ({"images": "ab"}, TypeError, "images"),
        ({"images": None}, TypeError, "images"),
        *[
            ({"images": [BLANK, value]}, TypeError, r"images\[1\]")
            for value in (None, [[1]], "b.jpg", BLANK.astype(np.float32), BLANK.astype(bool))
        ],
        *[
            ({"images": [np.zeros(shape, np.uint8), BLANK]}, ValueError, r"images\[0\]")
            for shape in ((), (5,), (4, 5, 2), (0, 5, 3), (5, 0, 3), (1, 4, 5, 3))
        ],
        *[
            ({"images": [BLANK] * 2, "features": v}, ValueError, "features")
            for v in ("FAST", "", None, ["SIFT"])
        ],
        *[({"images": [BLANK] * 2, "projection": v}, ValueError, "projection") for v in ("sphere", None)],
    ],
)
def test_bad_inputs_are_refused(arguments: Any, error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=rf"^\[stitch\] expected {name}"):
        stitch(**arguments)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = photograph()
    files = [str(tmp_path / name) for name in ("a.png", "b.png", "pano.png")]
    save_image(files[0], np.ascontiguousarray(original[:, :320]))
    save_image(files[1], np.ascontiguousarray(original[:, 180:]))
    assert cli.main(["stitch", *files[:2], "-o", files[2], "--projection", "plane"]) == 0
    compare(read_image(files[2]), original, 45)
    assert "512 pixels" in capsys.readouterr().out
    assert cli.main(["stitch", files[0], str(tmp_path / "none.png"), "-o", files[2]]) == 1
    assert cli.main(["stitch", files[0], "-o", files[2]]) == 2
    assert cli.main(["stitch", *files[:2], "-o", str(tmp_path / "pano.xyz")]) == 2
    save_image(files[1], np.ascontiguousarray(original[:, 400:]))
    save_image(files[0], np.ascontiguousarray(original[:, :100]))
    capsys.readouterr()
    assert cli.main(["stitch", *files[:2], "-o", files[2]]) == 1
    assert "overlap" in capsys.readouterr().err
