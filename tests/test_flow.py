# SPDX-License-Identifier: Apache-2.0
"""Horn-Schunck, Lucas-Kanade and pyramids against float64, OpenCV and motion that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyvision import _core, cli, flow, ops
from pyvision.image_io import read_image, save_image
from tests.helpers import check_threads_agree, random
from tests.photos import noise, photo
from tests.reference import flow as in_float64

MOTIONS = {
    "shift": np.array([[1, 0, 2.6], [0, 1, -1.3]]),
    "turn": np.array([[1.01, 0.02, 3.3], [-0.015, 0.99, -2.1]]),
    "far": np.array([[1, 0.01, 17], [0, 1.02, -9]]),
}


def moved(motion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A picture, what it became, where each pixel went, and which of them stayed inside."""
    a = photo()
    b = ops.warp_affine(a, motion, a.shape[::-1], interpolation="bicubic", border_mode="reflect")
    y, x = np.mgrid[: a.shape[0], : a.shape[1]].astype(float)
    there = np.stack([motion[k, 0] * x + motion[k, 1] * y + motion[k, 2] for k in range(2)], axis=2)
    limit = np.array(a.shape[::-1]) - 9
    inside = ((there > 8) & (there < limit)).all(axis=2)
    return a, b, there - np.stack([x, y], axis=2), inside


def endpoint_error(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm(found - true, axis=-1).mean())


def test_horn_schunck_steps_against_float64(isa: str) -> None:
    for shape in ((1, 1), (1, 7), (6, 1), (2, 2), (9, 13), (33, 50)):
        fields = [random(shape, seed=k) for k in range(5)]
        for steps in (0, 1, 2, 7):
            check_steps(fields, steps)


def test_horn_schunck_tiles_meet(isa: str) -> None:
    """Several tiles along either axis, and more steps than a tile takes at once."""
    for shape, steps in (((5, 1025), 26), ((135, 530), 51), ((700, 3), 30)):
        check_steps([random(shape, seed=k) for k in range(5)], steps)


def check_steps(fields: list[np.ndarray], steps: int) -> None:
    u, v = _core.horn_schunck(*fields, 0.8, steps)
    for ours, expected in zip((u, v), in_float64.horn_schunck(*fields, 0.8, steps), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_horn_schunck_terms_against_float64() -> None:
    for shape in ((1, 1), (1, 7), (6, 1), (3, 3), (70, 41)):
        a, b, u, v = (random(shape, seed=k) * 3 for k in range(4))
        u[0, 0] = np.nan  # leads nowhere
        for ours, expected in zip(
            _core.horn_schunck_terms(a, b, u, v), in_float64.horn_schunck_terms(a, b, u, v), strict=True
        ):
            np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("name", MOTIONS)
def test_horn_schunck_finds_known_motion_better_than_opencv(name: str) -> None:
    a, b, true, inside = moved(MOTIONS[name])
    found = flow.horn_schunck(a, b)
    assert found.dtype == np.float32
    error = endpoint_error(found[inside], true[inside])
    assert error < 0.1
    cv2 = pytest.importorskip("cv2")
    others = (
        cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 5, 15, 3, 5, 1.2, 0),
        cv2.DISOpticalFlow_create().calc(a, b, None),
    )
    for other in others:
        assert error <= endpoint_error(other[inside], true[inside])


def test_horn_schunck_of_nothing() -> None:
    for shape in ((1, 1), (2, 200), (7, 3)):
        x = noise(*shape)
        assert not flow.horn_schunck(x, x).any()
        assert not flow.horn_schunck(np.zeros(shape, np.uint8), np.full(shape, 9, np.uint8)).any()


def test_lucas_kanade_steps_against_float64(isa: str) -> None:
    a, b = noise(60, 70).astype(np.float32), noise(60, 70, seed=0).astype(np.float32)
    b = ops.warp_affine(b, MOTIONS["shift"], (70, 60), border_mode="reflect_101")
    rng = np.random.default_rng(0)
    points = rng.uniform((0, 0), (69, 59), (40, 2)).astype(np.float32)
    for window in (3, 7, 8 * 2 + 1, 21):
        for steps in (1, 3):
            shifted = points + np.float32(0.7)
            found, errors = np.ones(40, np.uint8), np.zeros(40, np.float32)
            _core.lucas_kanade(a, b, points, shifted, found, errors, window, steps, 0.0, 0.0, True)
            for k in np.nonzero(found)[0]:
                expected = in_float64.lucas_kanade(
                    a, b, points[k], points[k] + np.float32(0.7), window, steps
                )
                # Far steps come from a window that says little: there f32 has few digits left.
                if np.abs(expected - points[k]).max() < 10:
                    np.testing.assert_allclose(shifted[k], expected, atol=2e-2)


@pytest.mark.parametrize("name", MOTIONS)
def test_lucas_kanade_finds_known_motion(name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    a, b, true, inside = moved(MOTIONS[name])
    points = cv2.goodFeaturesToTrack(a, 400, 0.01, 8)[:, 0]
    cells = points.astype(int)
    there = points + true[cells[:, 1], cells[:, 0]]
    keep = inside[cells[:, 1], cells[:, 0]]
    shifted, found, errors = flow.lucas_kanade(a, b, points)
    theirs, status, _ = cv2.calcOpticalFlowPyrLK(a, b, points, None)
    status = status[:, 0] > 0
    both = keep & found & status
    assert both.sum() >= 0.98 * (keep & status).sum()
    assert np.median(np.linalg.norm(shifted - there, axis=1)[both]) < 0.1
    assert (
        endpoint_error(shifted[both], there[both]) <= 1.02 * endpoint_error(theirs[both], there[both]) + 0.01
    )
    off = np.linalg.norm(shifted - theirs, axis=1)[both]
    assert np.median(off) < 0.01
    assert np.percentile(off, 90) < 0.1
    assert (errors[~found] == 0).all()
    again = flow.lucas_kanade(a, b, points, initial=shifted)[0]
    assert np.median(np.linalg.norm(again - shifted, axis=1)[both]) < 0.02


def test_lucas_kanade_loses_what_it_cannot_follow() -> None:
    a = photo()
    points = np.array([[np.nan, 5], [np.inf, 5], [1e30, 3], [-1e9, 0], [100, 100], [-60, 40]], np.float32)
    _, found, _ = flow.lucas_kanade(a, a, points)
    np.testing.assert_array_equal(found, [False, False, False, False, True, False])
    flat = np.full((80, 90), 7, np.uint8)
    shifted, found, _ = flow.lucas_kanade(flat, flat, points[4:5] / 2)
    assert not found.any()
    np.testing.assert_array_equal(shifted, points[4:5] / 2)
    nothing, none, _ = flow.lucas_kanade(a, a, points[:0])
    assert nothing.shape == (0, 2)
    assert none.shape == (0,)
    for shape in ((1, 1), (2, 300)):
        flow.lucas_kanade(noise(*shape), noise(*shape), np.zeros((1, 2), np.float32))


def test_threads_agree() -> None:
    a, b, _, _ = moved(MOTIONS["turn"])
    points = np.random.default_rng(0).uniform(0, 400, (100, 2)).astype(np.float32)
    check_threads_agree(lambda: flow.horn_schunck(a, b, warps=1, iterations=5))
    for k in range(3):
        check_threads_agree(lambda k=k: flow.lucas_kanade(a, b, points)[k])
    x = random((70, 90, 3))
    check_threads_agree(lambda: _core.pyr_down(x))
    check_threads_agree(lambda: _core.pyr_up(x, 139, 180))


def test_isas_agree_to_the_bit(isa: str) -> None:
    a, b, _, _ = moved(MOTIONS["turn"])
    inside = np.random.default_rng(0).uniform(-5, 505, (60, 2))
    points = np.concatenate([inside, [[0, 0], [511, 3], [2, 511]]]).astype(np.float32)
    calls = [lambda window=window: flow.lucas_kanade(a, b, points, window=window) for window in (5, 21, 33)]
    for shape in ((1, 1, 1), (37, 53, 3), (40, 67, 1)):
        x = random(shape)
        calls.append(lambda x=x: [_core.pyr_down(x), _core.pyr_up(x, 2 * x.shape[0], 2 * x.shape[1] - 1)])
    for call in calls:
        _core.set_isa(isa)
        ours = call()
        _core.set_isa("scalar")
        for y, expected in zip(ours, call(), strict=True):
            np.testing.assert_array_equal(y, expected)


def test_many_pictures_give_a_list() -> None:
    pairs = [moved(MOTIONS[name])[:2] for name in ("shift", "turn")]
    (a, b), points = (list(x) for x in zip(*pairs, strict=True)), photo_points()
    options = {"levels": 2, "warps": 1, "iterations": 3}
    dense = [flow.horn_schunck(*pair, **options) for pair in pairs]
    sparse = [flow.lucas_kanade(*pair, p) for pair, p in zip(pairs, points, strict=True)]
    for many, others in ((a, b), (np.stack(a), np.stack(b)), (np.stack(a)[..., None], tuple(b))):
        for found, expected in zip(flow.horn_schunck(many, others, **options), dense, strict=True):
            np.testing.assert_array_equal(found, expected)
        for initial in (None, points):
            tracks = flow.lucas_kanade(many, others, points, initial=initial)
            for track, alone in zip(tracks, sparse, strict=True):
                for found, expected in zip(track, alone, strict=True):
                    np.testing.assert_array_equal(found, expected)
    assert flow.horn_schunck([], []) == []
    for call, argument in (
        (lambda: flow.horn_schunck(a, b[0]), "b"),
        (lambda: flow.horn_schunck(a, b[:1]), "b"),
        (lambda: flow.horn_schunck(a[0], b), "b"),
        (lambda: flow.lucas_kanade(a, b, points[0]), "points"),
        (lambda: flow.lucas_kanade(a, b, points, initial=points[:1]), "initial"),
    ):
        with pytest.raises((ValueError, TypeError), match=rf" expected .*\b{argument}\b"):
            call()


def photo_points() -> np.ndarray:
    """(2, 30, 2): places for each of two pictures."""
    return np.random.default_rng(0).uniform(50, 450, (2, 30, 2)).astype(np.float32)


def test_pyramids_against_float64_and_opencv(isa: str) -> None:
    cv2 = pytest.importorskip("cv2")
    for shape in ((1, 1, 1), (1, 9, 3), (8, 1, 2), (2, 3, 1), (37, 53, 3), (40, 64, 4)):
        x = random(shape)
        low = _core.pyr_down(x)
        np.testing.assert_allclose(low, in_float64.pyr_down(x), atol=1e-6)
        if min(shape[:2]) > 2:
            np.testing.assert_allclose(low, cv2.pyrDown(x).reshape(low.shape), atol=1e-6)
            for height, width in ((shape[0] * 2, shape[1] * 2), (shape[0] * 2 - 1, shape[1] * 2 - 1)):
                up = _core.pyr_up(x, height, width)
                expected = cv2.pyrUp(x, dstsize=(width, height)).reshape(up.shape)
                inner = (slice(None, height - height % 2), slice(None, width - width % 2))
                np.testing.assert_allclose(up[inner], expected[inner], atol=1e-6)
        ones = _core.pyr_up(np.ones_like(x), shape[0] * 2, shape[1] * 2)
        np.testing.assert_allclose(ones, 1, atol=1e-6)


def test_flow_to_color() -> None:
    x = np.zeros((3, 4, 2), np.float32)
    x[0, 1] = [1, 0]
    x[1, 1] = [0, 2]
    x[2, 2] = [np.nan, 1]
    picture = flow.flow_to_color(x)
    assert (picture[0, 0] == 255).all()  # no motion is white
    assert (picture[2, 2] == 0).all()
    assert picture[1, 1].min() == 0  # the longest is saturated
    assert picture[0, 1].min() > 100
    assert picture[0, 1].argmax() == 0  # rightwards is red
    longer = flow.flow_to_color(2 * x, max_flow=2)
    assert picture[0, 1].astype(int).sum() > longer[0, 1].astype(int).sum()
    assert (flow.flow_to_color(np.zeros((2, 2, 2), np.float32)) == 255).all()


BAD: list[tuple[str, Any, str]] = [
    *[("horn_schunck", {"alpha": v}, "alpha") for v in (0, -1, float("nan"), float("inf"), "1", None)],
    *[
        ("horn_schunck", {n: v}, n)
        for n in ("levels", "warps", "iterations")
        for v in (0, -1, 2**63, 1.5, True)
    ],
    *[("lucas_kanade", {"window": v}, "window") for v in (0, 1, 20, 65, 2.0, None)],
    *[("lucas_kanade", {"levels": v}, "levels") for v in (0, 33, "3")],
    *[("lucas_kanade", {"max_iterations": v}, "max_iterations") for v in (0, 2**40)],
    *[("lucas_kanade", {n: v}, n) for n in ("epsilon", "min_eigenvalue") for v in (-1, float("nan"), "1")],
    *[
        ("lucas_kanade", {"points": v}, "points")
        for v in (None, [[1.0, 2.0]], np.zeros((3, 2)), np.zeros(2, np.float32), np.zeros((2, 3), np.float32))
    ],
    ("lucas_kanade", {"initial": np.zeros((2, 2), np.float32)}, "initial"),
    *[
        (op, {name: v}, name)
        for op in ("horn_schunck", "lucas_kanade")
        for name in ("a", "b")
        for v in (
            None,
            "a.png",
            np.zeros((40, 50)),
            np.zeros((0, 5), np.uint8),
            np.zeros((4, 5, 2), np.uint8),
        )
    ],
    *[(op, {"b": np.zeros((40, 49), np.uint8)}, "b") for op in ("horn_schunck", "lucas_kanade")],
    *[("horn_schunck", {"a": np.full((40, 50), v, np.float32)}, "a") for v in (np.nan, np.inf)],
    *[
        ("flow_to_color", {"flow": v}, "flow")
        for v in (None, np.zeros((3, 4, 2)), np.zeros((3, 4), np.float32), np.zeros((3, 4, 3), np.float32))
    ],
    *[("flow_to_color", {"max_flow": v}, "max_flow") for v in (0, -1, float("nan"), "1")],
]


@pytest.mark.parametrize(("op", "overrides", "argument"), BAD)
def test_bad_inputs_are_refused(op: str, overrides: Any, argument: str) -> None:
    picture = noise(40, 50)
    good: dict[str, Any] = {
        "horn_schunck": {"a": picture, "b": picture},
        "lucas_kanade": {"a": picture, "b": picture, "points": np.full((3, 2), 20, np.float32)},
        "flow_to_color": {"flow": np.zeros((3, 4, 2), np.float32)},
    }
    with pytest.raises((ValueError, TypeError), match=rf"^\[{op}\] expected .*\b{argument}\b"):
        getattr(flow, op)(**(good[op] | overrides))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, _, _ = moved(MOTIONS["shift"])
    files = [str(tmp_path / name) for name in ("a.png", "b.png", "flow.png")]
    save_image(files[0], a)
    save_image(files[1], b)
    assert cli.main(["flow", *files[:2], "-o", files[2]]) == 0
    assert read_image(files[2]).shape == (*a.shape, 3)
    assert "2.9" in capsys.readouterr().out  # pixels on average: the length of the shift
    assert cli.main(["flow", files[0], str(tmp_path / "none.png"), "-o", files[2]]) == 1
    save_image(files[1], b[:-1])
    assert cli.main(["flow", *files[:2], "-o", files[2]]) == 2
    assert cli.main(["flow", files[0], files[0], "-o", str(tmp_path / "flow.xyz")]) == 2
