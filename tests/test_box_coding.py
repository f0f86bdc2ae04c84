# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import check_threads_agree, random

DTYPES = ["float32", "float64"]
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def boxes_of_size(n: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-50, 50, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(2, 40, (n, 2))], axis=1).astype(dtype)


def decode_reference(
    codes: np.ndarray, boxes: np.ndarray, weights: tuple[float, ...], clip: float
) -> np.ndarray:
    dx, dy, dw, dh = np.moveaxis(codes.astype(np.float64).reshape(len(codes), -1, 4) / weights, -1, 0)
    x1, y1, x2, y2 = boxes.astype(np.float64).T[:, :, None]
    w, h = x2 - x1, y2 - y1
    x, y = x1 + w / 2 + dx * w, y1 + h / 2 + dy * h
    half_w, half_h = w * np.exp(np.minimum(dw, clip)) / 2, h * np.exp(np.minimum(dh, clip)) / 2
    return np.stack([x - half_w, y - half_h, x + half_w, y + half_h], axis=-1).reshape(codes.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 3, 31, 32, 33, 91])
def test_decode(isa: str, dtype: str, classes: int) -> None:
    n = 7
    boxes = boxes_of_size(n, dtype)
    codes = random((n, 4 * classes), 3).astype(dtype)
    decoded = ops.decode_boxes(guarded(codes), guarded(boxes), WEIGHTS, 0.5)
    assert decoded.dtype == dtype
    expected = decode_reference(codes, boxes, WEIGHTS, 0.5)
    tolerance = 16 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 5, 16, 33])
def test_encode_is_the_inverse(isa: str, dtype: str, n: int) -> None:
    reference, proposals = boxes_of_size(n, dtype, 1), boxes_of_size(n, dtype, 2)
    codes = ops.encode_boxes(guarded(reference), guarded(proposals), WEIGHTS)
    assert codes.dtype == dtype
    decoded = ops.decode_boxes(codes, proposals, WEIGHTS)
    np.testing.assert_allclose(decoded, reference, rtol=0, atol=4000 * np.finfo(dtype).eps)


def test_known_codes() -> None:
    proposal = np.array([[0, 0, 10, 20]], np.float64)
    codes = ops.encode_boxes(np.array([[5, 5, 25, 15]], np.float64), proposal, (1, 1, 2, 2))
    np.testing.assert_allclose(codes, [[1, 0, 2 * np.log(2), -2 * np.log(2)]])
    large = ops.decode_boxes(np.array([[0, 0, 1e30, np.inf]]), proposal)
    np.testing.assert_allclose(large, [[5 - 312.5, 10 - 625, 5 + 312.5, 10 + 625]])
    assert np.isnan(ops.decode_boxes(np.full((1, 4), np.nan), proposal)).all()


def test_any_number_of_threads_gives_the_same() -> None:
    boxes, codes = boxes_of_size(20_000), random((20_000, 4))
    check_threads_agree(lambda: ops.decode_boxes(codes, boxes))
    check_threads_agree(lambda: ops.encode_boxes(boxes, boxes[::-1].copy()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_distances(dtype: str) -> None:
    points = np.array([[10, 20], [0, 0]], dtype)
    distances = np.array([[1, 2, 3, 4], [-1, 0, 2, 0]], dtype)
    boxes = ops.distances_to_boxes(points, distances)
    assert boxes.dtype == dtype
    assert boxes.tolist() == [[9, 18, 13, 24], [1, 0, 2, 0]]
    np.testing.assert_array_equal(ops.boxes_to_distances(points, boxes), distances)


def test_point_grid() -> None:
    assert ops.point_grid((2, 3), (8, 4)).tolist() == [[2, 4], [6, 4], [10, 4], [2, 12], [6, 12], [10, 12]]
    assert ops.point_grid((1, 2), 8, 0).tolist() == [[0, 0], [8, 0]]
    assert ops.point_grid((0, 3), 8).shape == (0, 2)


def test_anchor_grid_and_prior_grid_are_torchvisions(torchvision: ModuleType) -> None:
    torch = sys.modules["torch"]
    generators = torchvision.models.detection.anchor_utils
    sizes, ratios = (32.0, 50.0), (0.5, 1.0, 2.0)
    generator = generators.AnchorGenerator((sizes,), (ratios,))
    images = torchvision.models.detection.image_list.ImageList(torch.zeros(1, 3, 96, 160), [(96, 160)])
    expected = generator(images, [torch.zeros(1, 8, 6, 10)])[0]
    np.testing.assert_array_equal(ops.anchor_grid((6, 10), 16, sizes, ratios), expected)

    maps = [torch.zeros(1, 8, 4, 5), torch.zeros(1, 8, 2, 3)]
    ssd = generators.DefaultBoxGenerator([[2], [2, 3]], scales=[0.2, 0.5, 0.9])
    expected = ssd(images, maps)[0]
    ours = [
        ops.prior_grid((4, 5), (96, 160), 0.2, 0.5, [2]),
        ops.prior_grid((2, 3), (96, 160), 0.5, 0.9, [2, 3]),
    ]
    np.testing.assert_allclose(np.concatenate(ours), expected, rtol=0, atol=1e-4)


def test_coding_is_torchvisions(torchvision: ModuleType) -> None:
    torch = sys.modules["torch"]
    coder = torchvision.models.detection._utils.BoxCoder(WEIGHTS)
    reference, proposals = (torch.from_numpy(boxes_of_size(50, seed=seed)) for seed in (3, 4))
    codes = ops.encode_boxes(reference, proposals, WEIGHTS)
    torch.testing.assert_close(codes, coder.encode_single(reference, proposals), rtol=1e-5, atol=1e-4)
    many = torch.from_numpy(random((50, 12)))
    torch.testing.assert_close(
        ops.decode_boxes(many, proposals, WEIGHTS), coder.decode_single(many, proposals), rtol=1e-5, atol=1e-4
    )


B = np.array([[0, 0, 2, 2], [1, 1, 4, 4]], np.float32)
P = np.zeros((2, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.encode_boxes(B, B[:1]), ValueError, r"proposals of shape \(2, 4\), got \(1, 4\)"),
        (lambda: ops.encode_boxes(B, B.astype(float)), TypeError, "proposals of dtype float32"),
        (lambda: ops.encode_boxes(B, B, (1, 1, 1)), ValueError, "weights to be a list of 4 numbers"),
        (lambda: ops.encode_boxes(B, B, (1, 1, 1, 0)), ValueError, "weights to be finite and positive"),
        (lambda: ops.decode_boxes(B[:, :3], B), ValueError, r"rel_codes of shape \(N, 4 \* classes\)"),
        (lambda: ops.decode_boxes(B, B[:1]), ValueError, r"boxes of shape \(2, 4\), got \(1, 4\)"),
        (lambda: ops.decode_boxes(B, B, (1, 1, 1, "1")), TypeError, "weights to be a number"),
        (
            lambda: ops.decode_boxes(B, B, bbox_xform_clip=np.nan),
            ValueError,
            "bbox_xform_clip above -infinity",
        ),
        (lambda: ops.distances_to_boxes(P, B[:1]), ValueError, r"distances of shape \(2, 4\)"),
        (lambda: ops.distances_to_boxes(B, B), ValueError, r"points of shape \(N, 2\)"),
        (lambda: ops.boxes_to_distances(P, B[:1]), ValueError, r"boxes of shape \(2, 4\)"),
        (lambda: ops.point_grid((-1, 2), 8), ValueError, "size to be non-negative"),
        (lambda: ops.point_grid((2**31, 2**31), 8), ValueError, r"size to be .* below 2\^31"),
        (lambda: ops.point_grid((1, 2), 0), ValueError, "stride to be positive"),
        (lambda: ops.point_grid((1, 2), 8, np.inf), ValueError, r"offset within 2\^60"),
        (lambda: ops.anchor_grid((1, 2), 8, [], [1]), ValueError, "sizes to be a list"),
        (lambda: ops.anchor_grid((1, 2), 8, [1], [0]), ValueError, "aspect_ratios to be positive"),
        (lambda: ops.prior_grid((1, 2), 8, -1, 1, [1]), ValueError, "scale to be positive"),
        (lambda: ops.prior_grid((1, 2), 8, 1, 1, 2), ValueError, "aspect_ratios to be a list"),
    ],
)
def test_bad_arguments(call: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[\w+\] expected {message}"):
        call()


def test_numbers_may_come_as_numpy_arrays() -> None:
    weights = (10.0, 10.0, 5.0, 5.0)
    np.testing.assert_array_equal(ops.decode_boxes(B, B, np.array(weights)), ops.decode_boxes(B, B, weights))
    np.testing.assert_array_equal(
        ops.anchor_grid((2, 3), 8, np.array([32, 64]), np.array([0.5, 1])),
        ops.anchor_grid((2, 3), 8, [32, 64], [0.5, 1]),
    )


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38, -3e38])
def test_distances_of_any_values_follow_ieee_arithmetic(value: float) -> None:
    points, sides = np.full((1, 2), value, np.float32), np.full((1, 4), -value, np.float32)
    with np.errstate(all="ignore"):
        expected = np.concatenate([points - sides[:, :2], points + sides[:, 2:]], axis=1)
        back = np.concatenate([points - sides[:, :2], sides[:, 2:] - points], axis=1)
    np.testing.assert_array_equal(ops.distances_to_boxes(points, sides), expected)
    np.testing.assert_array_equal(ops.boxes_to_distances(points, sides), back)
