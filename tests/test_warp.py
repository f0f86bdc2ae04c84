# SPDX-License-Identifier: Apache-2.0
"""warp_perspective, warp_affine and remap against float64 and OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import by_isa, check_threads_agree
from tests.photos import noise, photo, project
from tests.reference.warp import positions, sample

MODES = ["nearest", "bilinear", "bicubic"]
BORDERS = ["constant", "replicate", "reflect", "reflect_101", "wrap"]
TILTED = np.array([[0.9, 0.2, -7.3], [-0.15, 1.1, 4.6], [1e-3, -7e-4, 1]])
AFFINE = np.array([[1.2971, -0.4139, 8.7137], [0.2519, 0.8053, -3.1971], [0, 0, 1]])
TRANSFORMS = {"tilted": TILTED, "affine": AFFINE, "small": np.diag([3.0, 3, 1]), "same": np.eye(3)}


def picture(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    """Smoothed noise: neighbours differ, but not by all there is."""
    channels = [noise(*shape[:2], seed=seed + c) for c in range(shape[2])]
    return np.stack(channels, axis=2).astype(dtype)


def check(y: np.ndarray, expected: np.ndarray, u: np.ndarray, v: np.ndarray, mode: str) -> None:
    """Within what rounding allows; a nearest pixel only where no other is as near."""
    if mode == "nearest":
        clear = (np.abs(u - np.floor(u) - 0.5) > 1e-4) & (np.abs(v - np.floor(v) - 0.5) > 1e-4)
        np.testing.assert_array_equal(y[clear], expected[clear])
    elif y.dtype == np.uint8:
        assert np.abs(y - expected.clip(0, 255)).max() <= (1.5 if mode == "bilinear" else 0.51)
    else:
        # Fractions are good to 1e-5 of a pixel; neighbours differ by 255 at most.
        assert np.abs(y - expected).max() <= 255 * 2 * 2e-5


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_against_float64(isa: str, dtype: Any, mode: str, border: str) -> None:
    for shape in (
        (1, 1, 1),
        (1, 5, 3),
        (4, 1, 2),
        (3, 3, 4),
        (7, 9, 3),
        (20, 31, 1),
        (23, 40, 5),
        (30, 17, 19),
    ):
        x = picture(shape, dtype)
        for matrix in TRANSFORMS.values():
            u, v = positions(matrix, 67, 13)
            y = ops.warp_perspective(
                x, matrix, (67, 13), interpolation=mode, inverse_map=True, border_mode=border, border_value=77
            )
            assert y.shape == (13, 67, shape[2])
            assert y.dtype == dtype
            check(y, sample(x, u, v, mode, border, 77), u, v, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("border", BORDERS)
def test_remap_against_float64(isa: str, mode: str, border: str) -> None:
    rng = np.random.default_rng(1)
    for dtype in (np.uint8, np.float32):
        for shape in ((9, 11, 3), (2, 30, 1), (12, 8, 7)):
            x = picture(shape, dtype)
            u, v = (rng.uniform(-40, 60, (5, 131)).astype(np.float32) for _ in range(2))
            expected = sample(x, u.astype(np.float64), v.astype(np.float64), mode, border, 9)
            options: Any = {"interpolation": mode, "border_mode": border, "border_value": 9}
            y = ops.remap(x, u, v, **options)
            check(y, expected, u, v, mode)
            np.testing.assert_array_equal(ops.remap(x, np.stack([u, v], axis=2), **options), y)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("border", BORDERS)
def test_against_opencv(mode: str, border: str) -> None:
    """Some of OpenCV's kernels round positions to 32nds of a pixel, so equality is only to a few levels."""
    cv2 = pytest.importorskip("cv2")
    flags = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[mode]
    outside = getattr(cv2, "BORDER_" + border.upper())
    for dtype in (np.uint8, np.float32):
        for channels in (1, 3, 4):
            x = cv2.GaussianBlur(picture((60, 80, channels), dtype), (0, 0), 2).reshape(60, 80, channels)
            ours: Any = {
                "interpolation": mode,
                "border_mode": border,
                "border_value": [5, 6, 7, 8][:channels],
            }
            theirs: Any = {"borderMode": outside, "borderValue": (5, 6, 7, 8)}
            pairs = (
                (
                    ops.warp_perspective(x, TILTED, (101, 77), **ours),
                    cv2.warpPerspective(x, TILTED, (101, 77), flags=flags, **theirs),
                ),
                (
                    ops.warp_affine(x, AFFINE[:2], (101, 77), **ours),
                    cv2.warpAffine(x, AFFINE[:2], (101, 77), flags=flags, **theirs),
                ),
                (
                    ops.warp_affine(x, AFFINE[:2], (101, 77), inverse_map=True, **ours),
                    cv2.warpAffine(x, AFFINE[:2], (101, 77), flags=flags | cv2.WARP_INVERSE_MAP, **theirs),
                ),
            )
            for y, z in pairs:
                # At an edge of the constant border a 64th of a pixel is 4 levels.
                off = np.abs(y - z.reshape(y.shape).astype(float))
                assert off.mean() < 0.6
                assert (off > 4).mean() < 2e-3


@pytest.mark.parametrize("matrix", [np.diag([0.5, 0.5, 1]), [[1, 0, 0.5], [0, 1, 1.5], [0, 0, 1]]])
def test_nearest_takes_the_even_one_of_two_as_near(isa: str, matrix: Any) -> None:
    """As OpenCV 5 does: 64 pixels a block, so that wide outputs have odd and even ones in their middle."""
    cv2 = pytest.importorskip("cv2")
    to_picture = np.asarray(matrix, np.float64)
    u, v = positions(to_picture, 400, 30)
    maps = u.astype(np.float32), v.astype(np.float32)
    for dtype in (np.uint8, np.float32):
        for channels in (1, 3, 5):
            x = picture((33, 420, channels), dtype)
            expected = sample(x, u, v, "nearest", "replicate")
            options: Any = {"interpolation": "nearest", "border_mode": "replicate"}
            results = {
                "warp_perspective": ops.warp_perspective(
                    x, to_picture, (400, 30), inverse_map=True, **options
                ),
                "warp_affine": ops.warp_affine(x, np.linalg.inv(to_picture)[:2], (400, 30), **options),
                "remap": ops.remap(x, *maps, **options),
            }
            for name, y in results.items():
                np.testing.assert_array_equal(y, expected, err_msg=name)
            if channels > 4 or int(cv2.__version__.split(".")[0]) < 5:
                continue
            flags: Any = {
                "flags": cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
                "borderMode": cv2.BORDER_REPLICATE,
            }
            theirs = {
                "warp_perspective": cv2.warpPerspective(x, to_picture, (400, 30), **flags),
                "warp_affine": cv2.warpAffine(x, to_picture[:2], (400, 30), **flags),
                "remap": cv2.remap(x, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE),
            }
            for name, z in theirs.items():
                np.testing.assert_array_equal(results[name], z.reshape(results[name].shape), err_msg=name)


def test_identity_returns_the_image(isa: str) -> None:
    for dtype in (np.uint8, np.float32):
        for shape in ((5, 6), (5, 70, 3), (2, 9, 8, 4), (0, 4, 4, 2)):
            x = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
            height, width = shape[:2] if len(shape) < 4 else shape[1:3]
            for mode in MODES:
                for call, matrix in ((ops.warp_perspective, np.eye(3)), (ops.warp_affine, np.eye(3)[:2])):
                    y = call(x, matrix, (width, height), interpolation=mode, border_mode="replicate")
                    np.testing.assert_array_equal(y, x)


def test_positions_are_exact_far_from_the_origin(isa: str) -> None:
    """A ramp of columns shows where its samples were taken: 2^20 columns away still to 1e-4."""
    x = np.arange(300, dtype=np.float32)[None, :, None].repeat(4, axis=0)
    start = -0.7 * (1 << 20) + 20
    to_picture = np.array([[0.7, 0, start], [0, 1, 0], [0, 0, 1]])
    y = ops.warp_perspective(x, to_picture, (64, 4), inverse_map=True, border_mode="wrap")
    expected = np.mod(0.7 * np.arange(64) + start, 300)
    inside = expected < 299
    np.testing.assert_allclose(y[0, inside, 0], expected[inside], atol=1e-4)


def test_what_lies_behind_the_viewer(isa: str) -> None:
    """Where the denominator passes through zero, positions fly off to both sides and no memory is touched."""
    x = picture((20, 30, 3), np.uint8)
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [0.02, 0, -1]])
    for mode in MODES:
        for border in BORDERS:
            y = ops.warp_perspective(
                x, horizon, (200, 5), interpolation=mode, inverse_map=True, border_mode=border, border_value=3
            )
            if border == "constant":
                assert (y[:, 50] == 3).all()  # the horizon itself
    huge = np.array([[1e30, 0, 0], [0, 1e-30, 0], [0, 0, 1e-300]])
    assert ops.warp_perspective(x, huge, (9, 9), inverse_map=True).shape == (9, 9, 3)
    wild = np.array([[np.nan, np.inf, -np.inf, 3e38, -3e38, 2**31, 1.5, -0.5]], np.float32)
    for border in BORDERS:
        y = ops.remap(x, wild, wild, border_mode=border, border_value=11)
        if border == "constant":
            assert (y[0, :6] == 11).all()


@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_image_is_read(isa: str, before: bool) -> None:
    for dtype in (np.uint8, np.float32):
        for channels in (1, 2, 3, 4, 5, 17):
            for height, width in ((1, 1), (2, 2), (3, 9), (9, 3), (12, 40)):
                x = picture((height, width, channels), dtype)
                for mode in MODES:
                    for size in ((width, height), (5, 3)):
                        options: Any = {"interpolation": mode, "border_mode": "reflect"}
                        expected = ops.warp_affine(x, AFFINE[:2], size, **options)
                        y = ops.warp_affine(guarded(x, before=before), AFFINE[:2], size, **options)
                        np.testing.assert_array_equal(y, expected)
                        u, v = (guarded(np.full((3, 5), 1.25, np.float32), before=before) for _ in range(2))
                        assert np.isfinite(ops.remap(x, u, v, **options)).all()


def test_threads_agree_and_batches_are_images(isa: str) -> None:
    for dtype in (np.uint8, np.float32):
        x = np.stack([picture((40, 50, 3), dtype, seed) for seed in (0, 10)])
        for mode in MODES:
            y = ops.warp_perspective(x, TILTED, (150, 90), interpolation=mode)
            for k in range(2):
                one = ops.warp_perspective(x[k], TILTED, (150, 90), interpolation=mode)
                np.testing.assert_array_equal(y[k], one)
            check_threads_agree(
                lambda x=x, mode=mode: ops.warp_perspective(x, TILTED, (150, 90), interpolation=mode)
            )


def test_isas_agree() -> None:
    """Fused multiply-adds move a position by an ulp, and with it a weight of 256ths or a level by 1."""
    x = photo()[:200, :300]
    results = by_isa(lambda: ops.warp_perspective(x, TILTED, (300, 200)).astype(int))
    if "avx512" not in results:
        pytest.skip("this CPU has no avx512")
    np.testing.assert_array_equal(results["avx2"], results["avx512"])
    assert np.abs(results["scalar"] - results["avx2"]).max() <= 1


def test_views_and_other_kinds() -> None:
    torch = pytest.importorskip("torch")
    base = picture((30, 44, 4), np.uint8)
    for view in (
        base[:, ::2],
        base[::-1, ::-1],
        base[:, :, 1:3],
        base.transpose(1, 0, 2),
        np.asfortranarray(base),
    ):
        expected = ops.warp_affine(np.ascontiguousarray(view), AFFINE[:2], (20, 20))
        np.testing.assert_array_equal(ops.warp_affine(view, AFFINE[:2], (20, 20)), expected)
    y = ops.warp_affine(torch.from_numpy(base), torch.from_numpy(AFFINE[:2]), (20, 20))
    assert isinstance(y, torch.Tensor)
    np.testing.assert_array_equal(y.numpy(), ops.warp_affine(base, AFFINE[:2], (20, 20)))


def test_corners_go_where_the_transform_says() -> None:
    """The direction of M: a bright spot moves to its projection."""
    x = np.zeros((60, 60), np.float32)
    x[20, 33] = 1
    (there,) = project(TILTED, np.array([[33.0, 20.0]]))
    y = ops.warp_perspective(x, TILTED, (90, 90))
    brightest = np.unravel_index(y.argmax(), y.shape)
    assert np.abs(np.array(brightest[::-1]) - there).max() <= 1
