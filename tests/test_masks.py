# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyvision import ops
from tests._guard import guarded
from tests.helpers import EPS, by_isa, check_threads_agree, random
from tests.reference import masks as reference

with_fixtures = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)

EDGES = (1, 2, 8, 63, 64, 65, 127, 129)


def blobs(n: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    """Ellipses with ragged borders: what masks of objects look like."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    masks = []
    for _ in range(n):
        centre_y, centre_x = rng.uniform(0, h), rng.uniform(0, w)
        radius_y, radius_x = rng.uniform(1, 1 + h / 2), rng.uniform(1, 1 + w / 2)
        distance = ((y - centre_y) / radius_y) ** 2 + ((x - centre_x) / radius_x) ** 2
        masks.append(distance + rng.uniform(-0.2, 0.2, (h, w)) < 1)
    return np.array(masks).reshape(n, h, w)


def adversarial(h: int, w: int) -> dict[str, np.ndarray]:
    """Masks that end runs at every kind of border."""
    y, x = np.mgrid[:h, :w]
    corner = np.zeros((4, h, w), bool)
    corner[0, 0, 0] = corner[1, 0, -1] = corner[2, -1, 0] = corner[3, -1, -1] = True
    return {
        "empty": np.zeros((h, w), bool),
        "full": np.ones((h, w), bool),
        "checkerboard": (x + y) % 2 == 0,
        "other checkerboard": (x + y) % 2 == 1,
        "columns": x % 2 == 0,
        "other columns": x % 2 == 1,
        "rows": y % 2 == 0,
        "one column": x == w // 2,
        "one row": y == h // 2,
        "any bytes": np.random.default_rng(0).integers(0, 4, (h, w), dtype=np.uint8) * 85,
        **{f"pixel {k}": mask for k, mask in enumerate(corner)},
    }


# ---- paste_masks


def boxes_around(n: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    """Boxes within, over the border of and outside an image, some of them degenerate."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform((-w / 2, -h / 2), (w, h), (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(-1, (w, h), (n, 2))], axis=1).astype(np.float32)
    boxes[n // 2 :: 3] = np.round(boxes[n // 2 :: 3])
    return boxes


@pytest.mark.parametrize(
    ("h", "w", "m", "padding"),
    [(1, 1, 1, 1), (9, 17, 5, 0), (33, 31, 7, 1), (40, 70, 28, 1), (20, 30, 14, 3), (16, 3, 2, 1)],
)
def test_paste_masks(isa: str, threads: int, h: int, w: int, m: int, padding: int) -> None:
    masks = np.random.default_rng(1).random((7, m, m)).astype(np.float32)
    boxes = boxes_around(7, h, w)
    pasted = ops.paste_masks(guarded(masks), guarded(boxes), (h, w), padding)
    assert (pasted.dtype, pasted.shape) == (np.float32, (7, h, w))
    expected = np.array(
        [reference.paste_mask(mask, box, h, w, padding) for mask, box in zip(masks, boxes, strict=True)]
    )
    # A position of up to `size` rounds three times; a value changes by at most 1 per element.
    np.testing.assert_allclose(pasted, expected, rtol=0, atol=8 * EPS * (m + 2 * padding))
    for threshold in (0.0, 0.5, 1.0):
        above = ops.paste_masks(masks, boxes, (h, w), padding, threshold=threshold)
        assert above.dtype == bool
        np.testing.assert_array_equal(above, pasted > np.float32(threshold))


def test_paste_masks_is_torchvisions(torchvision: ModuleType, isa: str) -> None:
    torch = sys.modules["torch"]
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.random((40, 1, 28, 28)).astype(np.float32))
    corner = rng.uniform(0, (150, 80), (40, 2))
    corners = np.concatenate([corner, corner + rng.uniform(0, (60, 50), (40, 2))], axis=1)
    boxes = torch.from_numpy(corners.astype(np.float32))
    for padding in (0, 1, 2):
        expected = paste_masks_in_image(masks, boxes, (120, 200), padding)
        pasted = ops.paste_masks(masks, boxes, (120, 200), padding)
        # Each rounds positions of up to 28 + 2 * padding elements, and values differ by less than 1 between.
        atol = 2 * EPS * (28 + 2 * padding)
        torch.testing.assert_close(pasted, expected, rtol=0, atol=atol)
        above = ops.paste_masks(masks, boxes, (120, 200), padding, threshold=0.5)
        sure = (expected - 0.5).abs() > atol
        assert torch.equal(above[sure], (expected > 0.5)[sure])
        assert above.dtype == torch.bool


def test_paste_masks_is_the_same_on_every_isa_and_any_number_of_threads() -> None:
    masks, boxes = np.abs(random((50, 28, 28))), boxes_around(50, 90, 130)
    results = by_isa(lambda: ops.paste_masks(masks, boxes, (90, 130)).tobytes())
    assert len(set(results.values())) == 1
    check_threads_agree(lambda: ops.paste_masks(masks, boxes, (90, 130)))


def test_paste_masks_far_away_and_huge_boxes() -> None:
    masks = np.ones((4, 3, 3), np.float32)
    boxes = np.array(
        [[-1e6, -1e6, -9e5, -9e5], [1e6, 1e6, 2e6, 2e6], [-5e8, -5e8, 5e8, 5e8], [9, 9, 2, 2]], np.float32
    )
    pasted = ops.paste_masks(masks, boxes, (5, 6))
    assert (
        pasted.reshape(4, -1).min(axis=1).tolist()
        == pasted.reshape(4, -1).max(axis=1).tolist()
        == [0, 0, 1, 0]
    )


def test_paste_masks_of_nothing() -> None:
    none, no_boxes = np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32)
    assert ops.paste_masks(none, no_boxes, (4, 5)).shape == (0, 4, 5)
    one, box = np.ones((1, 28, 28), np.float32), np.array([[0, 0, 9, 9]], np.float32)
    assert ops.paste_masks(one, box, (0, 5)).shape == (1, 0, 5)
    assert ops.paste_masks(one[:, None], box, (4, 0)).shape == (1, 1, 4, 0)


# ---- masks_to_boxes


@pytest.mark.parametrize("w", EDGES)
@pytest.mark.parametrize("h", [1, 2, 33])
def test_masks_to_boxes(isa: str, h: int, w: int) -> None:
    rng = np.random.default_rng(w)
    sparse = [rng.random((h, w)) < density for density in (0.001, 0.01, 0.1)]
    masks = np.array([*(m.astype(np.uint8) for m in adversarial(h, w).values()), *sparse, *blobs(3, h, w)])
    boxes = ops.masks_to_boxes(guarded(masks.astype(np.uint8)))
    assert boxes.dtype == np.float32
    np.testing.assert_array_equal(boxes, [reference.mask_to_box(mask) for mask in masks])
    check_threads_agree(lambda: ops.masks_to_boxes(masks))


def test_masks_to_boxes_is_torchvisions(torchvision: ModuleType) -> None:
    torch = sys.modules["torch"]
    masks = torch.from_numpy(np.concatenate([blobs(20, 70, 90), np.zeros((1, 70, 90), bool)]))
    assert torch.equal(ops.masks_to_boxes(masks), torchvision.ops.masks_to_boxes(masks))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int32", "int64"])
def test_masks_to_boxes_takes_what_is_not_0_as_set(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    masks = blobs(3, 20, 30)
    given = torch.from_numpy(masks).to(getattr(torch, dtype)) * -3
    np.testing.assert_array_equal(ops.masks_to_boxes(given), ops.masks_to_boxes(masks))


# ---- encodings


def pycocotools() -> ModuleType:
    return pytest.importorskip("pycocotools.mask")


@pytest.mark.parametrize("w", EDGES)
@pytest.mark.parametrize("h", [1, 63, 64, 66])
def test_encodings(isa: str, h: int, w: int) -> None:
    for name, mask in [*adversarial(h, w).items(), *enumerate(blobs(2, h, w))]:
        encoded = ops.rle_encode(guarded(mask))
        runs = reference.run_lengths(mask)
        assert encoded == {"size": [h, w], "counts": reference.compress(runs)}, name
        text = {"size": (h, w), "counts": encoded["counts"].decode()}
        for spelling in (encoded, text, {"size": [h, w], "counts": runs}):
            np.testing.assert_array_equal(ops.rle_decode(spelling), mask != 0, err_msg=str(name))
            assert ops.rle_area(spelling) == np.count_nonzero(mask), name
            x1, y1, x2, y2 = reference.mask_to_box(mask)
            expected = [x1, y1, x2 - x1 + 1, y2 - y1 + 1] if mask.any() else [0, 0, 0, 0]
            assert ops.rle_to_bbox(spelling).tolist() == expected, name


def test_encodings_are_pycocotools(isa: str, threads: int) -> None:
    peer = pycocotools()
    for h, w in ((240, 320), (37, 1), (1, 300), (70, 65)):
        masks = np.array([*(np.uint8(m != 0) for m in adversarial(h, w).values()), *blobs(4, h, w)])
        theirs = peer.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
        ours = ops.rle_encode(masks)
        assert ours == theirs
        np.testing.assert_array_equal(ops.rle_decode(theirs), masks != 0)
        np.testing.assert_array_equal(ops.rle_area(theirs), peer.area(theirs))
        np.testing.assert_array_equal(ops.rle_to_bbox(theirs), peer.toBbox(theirs))
        for intersect in (False, True):
            assert ops.rle_merge(theirs[-3:], intersect) == peer.merge(theirs[-3:], intersect)
            for a, b in ((0, 1), (2, 3), (4, 6), (1, -1), (-2, -1)):
                pair = [theirs[a], theirs[b]]
                assert ops.rle_merge(pair, intersect) == peer.merge(pair, intersect)
        crowd = [k % 3 == 0 for k in range(len(theirs))]
        np.testing.assert_array_equal(ops.rle_iou(ours, theirs, crowd), peer.iou(ours, theirs, crowd))


def test_more_runs_than_16_bits_count() -> None:
    mask = np.zeros((400, 500), np.uint8)
    mask[::2] = 1
    encoded = ops.rle_encode(mask)
    assert len(reference.run_lengths(mask)) > 2**16
    assert encoded["counts"] == reference.compress(reference.run_lengths(mask))
    assert encoded == pycocotools().encode(np.asfortranarray(mask))
    np.testing.assert_array_equal(ops.rle_decode(encoded), mask != 0)


bits = st.integers(1, 70).flatmap(
    lambda h: st.integers(1, 70).flatmap(
        lambda w: st.tuples(st.just((h, w)), st.lists(st.booleans(), max_size=60), st.integers(0, 2**32 - 1))
    )
)


@given(bits)
@with_fixtures
def test_any_masks_make_the_way_there_and_back(
    isa: str, drawn: tuple[tuple[int, int], list[bool], int]
) -> None:
    (h, w), pattern, seed = drawn
    mask = np.random.default_rng(seed).random((h, w)) < 0.03
    mask.ravel()[: len(pattern)] ^= np.array(pattern[: h * w], bool)
    encoded = ops.rle_encode(mask)
    assert encoded["counts"] == reference.compress(reference.run_lengths(mask))
    np.testing.assert_array_equal(ops.rle_decode(encoded), mask)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=25),
    st.lists(st.integers(0, 30), min_size=1, max_size=25),
)
@with_fixtures
def test_lengths_of_zero_mean_what_they_say(a: list[int], b: list[int]) -> None:
    """Lists that people write may have runs of no pixels; two of them over the same ones."""
    total = max(sum(a), sum(b))
    a, b = [*a, total - sum(a)], [*b, total - sum(b)]
    encoded = [{"size": [total, 1], "counts": runs} for runs in (a, b)]
    masks = [np.repeat(np.arange(len(runs)) % 2 == 1, runs)[:, None] for runs in (a, b)]
    np.testing.assert_array_equal(ops.rle_decode(encoded), masks)
    np.testing.assert_array_equal(ops.rle_area(encoded), [m.sum() for m in masks])
    if total:
        np.testing.assert_array_equal(
            ops.rle_to_bbox(encoded), ops.rle_to_bbox(ops.rle_encode(np.array(masks)))
        )
    for crowd in (0, 1):
        expected = reference.iou(*masks, bool(crowd))
        np.testing.assert_array_equal(ops.rle_iou(encoded[:1], encoded[1:], [crowd]), [[expected]])
    union, both = ops.rle_merge(encoded), ops.rle_merge(encoded, intersect=True)
    np.testing.assert_array_equal(ops.rle_decode(union), masks[0] | masks[1])
    np.testing.assert_array_equal(ops.rle_decode(both), masks[0] & masks[1])
    assert union["counts"] == reference.compress(reference.run_lengths(masks[0] | masks[1]))


def test_overlaps(threads: int) -> None:
    dt, gt = blobs(12, 60, 80, 1), blobs(9, 60, 80, 2)
    dt[0], gt[0] = False, True
    crowd = np.arange(9) % 2 == 0
    dt_rles, gt_rles = ops.rle_encode(dt), ops.rle_encode(gt)
    iou = ops.rle_iou(dt_rles, gt_rles, crowd)
    expected = [[reference.iou(d, g, c) for g, c in zip(gt, crowd, strict=True)] for d in dt]
    np.testing.assert_array_equal(iou, expected)
    np.testing.assert_array_equal(
        iou, ops.rle_iou(ops.rle_encode(dt), ops.rle_encode(gt), crowd.astype(np.int64))
    )
    assert ops.rle_iou([], ops.rle_encode(gt), crowd).shape == (0, 9)
    assert ops.rle_iou(ops.rle_encode(dt), [], []).shape == (12, 0)


def test_merging_many() -> None:
    masks = blobs(7, 50, 40)
    encoded = ops.rle_encode(masks)
    assert ops.rle_merge(encoded) == ops.rle_encode(masks.any(axis=0))
    assert ops.rle_merge(encoded, intersect=True) == ops.rle_encode(masks.all(axis=0))
    assert ops.rle_merge(encoded[:1]) == encoded[0]


def test_encodings_of_no_pixels() -> None:
    for shape in ((0, 0), (0, 5), (5, 0)):
        encoded = ops.rle_encode(np.zeros(shape, bool))
        assert encoded == {"size": list(shape), "counts": b"0"}
        assert ops.rle_decode(encoded).shape == shape
        assert ops.rle_area(encoded) == 0
        assert ops.rle_to_bbox(encoded).tolist() == [0, 0, 0, 0]
        assert ops.rle_merge([encoded, encoded]) == encoded
        assert ops.rle_area({"size": shape, "counts": b""}) == 0
    assert ops.rle_encode(np.zeros((0, 4, 5), bool)) == []
    assert ops.rle_area([]).shape == (0,)
    assert ops.rle_to_bbox([]).shape == (0, 4)


SIZED = {"rle_decode", "rle_area", "rle_to_bbox", "rle_merge", "rle_iou"}


@pytest.mark.parametrize("op", sorted(SIZED))
@pytest.mark.parametrize(
    ("rle", "error", "message"),
    [
        (
            {"size": [4, 5], "counts": b"`"},
            ValueError,
            "compressed counts of PLACE with a last number that is whole",
        ),
        (
            {"size": [4, 5], "counts": b"5" + b"o" * 9},
            ValueError,
            "compressed counts of PLACE with numbers of at most 7",
        ),
        (
            {"size": [4, 5], "counts": b"oooooooo0"},
            ValueError,
            "compressed counts of PLACE with numbers of at most 7",
        ),
        ({"size": [4, 5], "counts": b"4 "}, ValueError, "compressed counts of PLACE with characters"),
        ({"size": [4, 5], "counts": b"4\x00"}, ValueError, "compressed counts of PLACE with characters"),
        ({"size": [4, 5], "counts": b"4\xff"}, ValueError, "compressed counts of PLACE with characters"),
        ({"size": [4, 5], "counts": "4ü"}, ValueError, "compressed counts of PLACE with characters"),
        ({"size": [4, 5], "counts": b"O"}, ValueError, "compressed counts of PLACE with lengths of 0 to"),
        (
            {"size": [4, 5], "counts": b"oooooo1"},
            ValueError,
            "compressed counts of PLACE with lengths|counts of PLACE that sum",
        ),
        ({"size": [4, 5], "counts": b"5"}, ValueError, "counts of PLACE that sum to the 20 pixels"),
        ({"size": [4, 5], "counts": b""}, ValueError, "counts of PLACE that sum to the 20 pixels"),
        ({"size": [4, 5], "counts": [10, 5, 6]}, ValueError, "counts of PLACE that sum to the 20 pixels"),
        ({"size": [4, 5], "counts": [21, -1]}, ValueError, "counts of PLACE to be integers of 0 to"),
        ({"size": [4, 5], "counts": [2**32, 0]}, ValueError, "counts of PLACE to be integers of 0 to"),
        ({"size": [4, 5], "counts": [2**80]}, ValueError, "counts of PLACE to be integers of 0 to"),
        ({"size": [4, 5], "counts": [20.0]}, ValueError, "counts of PLACE to be integers of 0 to"),
        ({"size": [4, 5], "counts": [True] * 20}, ValueError, "counts of PLACE to be integers of 0 to"),
        ({"size": [4, 5], "counts": None}, TypeError, "counts of PLACE to be bytes, a string or a list"),
        ({"size": [4, 5], "counts": 20}, TypeError, "counts of PLACE to be bytes, a string or a list"),
        ({"size": [-4, -5], "counts": [20]}, ValueError, "size of PLACE to be up to"),
        ({"size": [2**16, 2**16], "counts": [2**16]}, ValueError, "size of PLACE to be up to"),
        ({"size": [2**62, 4], "counts": [0]}, ValueError, "size of PLACE to be up to"),
        ({"size": [2**64, 4], "counts": [0]}, ValueError, "size of PLACE to be up to .*18446744073709551616"),
        ({"size": [4.0, 5], "counts": [20]}, TypeError, "size of PLACE to be two integers, got .*4.0"),
        ({"size": [True, True], "counts": [1]}, TypeError, "size of PLACE to be two integers"),
        ({"size": [4, 5, 1], "counts": [20]}, ValueError, r"size of PLACE to be \[height, width\]"),
        ({"size": 20, "counts": [20]}, TypeError, r"size of PLACE to be \[height, width\]"),
        ({"counts": [20]}, ValueError, "PLACE to be a dict with size and counts"),
        ({"size": [4, 5]}, ValueError, "PLACE to be a dict with size and counts"),
        (None, TypeError, "PLACE to be a dict with size and counts"),
        (b"d0", TypeError, "PLACE to be a dict with size and counts"),
    ],
)
def test_malformed_encodings_are_refused(op: str, rle: object, error: type[Exception], message: str) -> None:
    good = {"size": [4, 5], "counts": [20]}
    calls: dict[str, tuple[list[object], ...]] = {"rles[1]": ([good, rle],)}
    if op == "rle_iou":
        calls = {"dt[0]": ([rle, good], [good], [0]), "gt[1]": ([good], [good, rle], [0, 0])}
    for place, arguments in calls.items():
        spelt = message.replace("PLACE", re.escape(place))
        with pytest.raises(error, match=rf"^\[{op}\] expected ({spelt})"):
            getattr(ops, op)(*arguments)


@given(st.binary(max_size=12), st.integers(0, 9), st.integers(0, 9))
@with_fixtures
def test_any_bytes_are_an_encoding_or_refused(counts: bytes, h: int, w: int) -> None:
    rle = {"size": [h, w], "counts": counts}
    try:
        mask = ops.rle_decode(rle)
    except ValueError as error:
        assert str(error).startswith("[rle_decode] expected ")
    else:
        assert mask.shape == (h, w)
        assert mask.sum() == ops.rle_area(rle)


@pytest.mark.parametrize(
    ("op", "arguments", "error", "message"),
    [
        ("rle_decode", ([],), ValueError, "at least one of rles"),
        ("rle_merge", ([],), ValueError, "at least one of rles"),
        ("rle_area", (3,), TypeError, "rles to be a list"),
        ("rle_decode", ("d0",), TypeError, "rles to be a list"),
        ("rle_merge", ([{"size": [1, 1], "counts": [1]}], 1), TypeError, "intersect to be a bool"),
        ("rle_iou", (None, [], []), TypeError, "dt to be a list"),
        ("rle_iou", ([], None, []), TypeError, "gt to be a list"),
        ("rle_iou", ([], [], [1]), ValueError, r"iscrowd of shape \(0,\), got \(1,\)"),
        ("rle_iou", ([], [], [0.5]), TypeError, "iscrowd to be an integer"),
        ("rle_iou", ([], [], [2]), ValueError, "iscrowd to be 0 or 1, got 2"),
        ("rle_iou", ([], [], np.array([1, -7])), ValueError, "iscrowd to be 0 or 1, got -7"),
        ("rle_iou", ([], [], None), TypeError, "iscrowd to be an array"),
        ("rle_iou", ([], [], np.zeros(0, np.float32)), TypeError, "iscrowd of dtype"),
    ],
)
def test_bad_arguments_of_encodings(
    op: str, arguments: tuple[object, ...], error: type, message: str
) -> None:
    with pytest.raises(error, match=rf"^\[{op}\] expected {message}"):
        getattr(ops, op)(*arguments)


def test_encodings_of_different_sizes_are_refused() -> None:
    a, b = {"size": [4, 5], "counts": [20]}, {"size": [5, 4], "counts": [20]}
    for op, arguments in (
        ("rle_decode", ([a, b],)),
        ("rle_merge", ([a, b],)),
        ("rle_iou", ([a, b], [a], [0])),
        ("rle_iou", ([a], [a, b], [0, 0])),
        ("rle_iou", ([a], [b], [0])),
    ):
        with pytest.raises(ValueError, match=rf"^\[{op}\] expected .* of one size"):
            getattr(ops, op)(*arguments)
    np.testing.assert_array_equal(ops.rle_area([a, b]), [0, 0])


# ---- polygons


def polygons(seed: int, count: int = 6) -> list[np.ndarray]:
    """Stars, slivers, self-crossing and outside ones, with corners on and off the grid of pixels."""
    rng = np.random.default_rng(seed)
    shapes = []
    for k in range(count):
        corners = rng.uniform(-20, 70, (rng.integers(3, 12), 2))
        if k % 2:
            angle = np.sort(rng.uniform(0, 2 * np.pi, len(corners)))
            radius = rng.uniform(3, 30, len(corners))
            corners = 25 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        if k % 3 == 0:
            corners = np.round(corners * 2) / 2
        if k % 4 == 0:
            corners[1] = corners[0]
        shapes.append(corners)
    return shapes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(50, 60), (1, 40), (40, 1)])
def test_polygons(size: tuple[int, int], seed: int) -> None:
    shapes = polygons(seed)
    masks = np.array([reference.polygon_mask(shape, *size) for shape in shapes])
    encoded = ops.rle_from_polygons([shape.ravel().tolist() for shape in shapes], size)
    assert encoded == ops.rle_encode(masks)
    assert ops.rle_from_polygons(shapes, size) == encoded
    np.testing.assert_array_equal(ops.polygons_to_mask(shapes, size), masks.any(axis=0))


def test_polygons_are_pycocotools() -> None:
    peer = pycocotools()
    for seed in range(40):
        shapes = polygons(seed, 12)
        for size in ((48, 64), (300, 7), (1, 1), (0, 9)):
            theirs = peer.frPyObjects([shape.ravel().tolist() for shape in shapes], *size)
            assert ops.rle_from_polygons(shapes, size) == theirs


@given(
    st.lists(
        st.tuples(*[st.sampled_from([-3, -0.5, 0, 0.3, 1, 2.5, 7, 7.1, 8, 9])] * 2), min_size=3, max_size=8
    )
)
@settings(deadline=None)
def test_any_polygon_is_pycocotools(corners: list[tuple[float, float]]) -> None:
    flat = [float(value) for corner in corners for value in corner]
    assert ops.rle_from_polygons([flat], (8, 8)) == pycocotools().frPyObjects([flat], 8, 8)


def test_polygons_known_masks() -> None:
    square = np.zeros((6, 7), bool)
    square[1:4, 2:5] = True
    np.testing.assert_array_equal(ops.polygons_to_mask([[2, 1, 5, 1, 5, 4, 2, 4]], (6, 7)), square)
    assert not ops.polygons_to_mask([], (6, 7)).any()
    assert ops.polygons_to_mask([[-9, -9, 99, -9, 99, 99, -9, 99]], (6, 7)).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1, 2, 3, 4]], (5, 5)), ValueError, "polygons of three or more"),
        (([[1, 2, 3, 4, 5, 6, 7]], (5, 5)), ValueError, "polygons of three or more"),
        (([[]], (5, 5)), ValueError, "polygons of three or more"),
        (([np.zeros((4, 3))], (5, 5)), ValueError, "polygons of shape"),
        (([np.zeros((2, 2, 2))], (5, 5)), ValueError, "polygons of shape"),
        (([np.zeros(())], (5, 5)), ValueError, "polygons of shape"),
        (([[1, 2, 3, 4, 5, float("nan")]], (5, 5)), ValueError, "polygons within"),
        (([[1, 2, 3, 4, 5, -1e30]], (5, 5)), ValueError, "polygons within"),
        (([[1, 2, 3, 4, 5, "6"]], (5, 5)), TypeError, "polygons of dtype"),
        (([[[1, 2], [3, 4], [5]]], (5, 5)), ValueError, "polygons to be flat lists"),
        (([np.zeros(6, np.uint8)], (5, 5)), TypeError, "polygons of dtype"),
        ((None, (5, 5)), TypeError, "polygons to be a list"),
        (([None], (5, 5)), TypeError, "polygons to be an array"),
        (([], (-1, 5)), ValueError, "a size of up to"),
        (([], (2**16, 2**16)), ValueError, "a size of up to"),
        (([], 5.5), TypeError, "size to be an integer"),
    ],
)
def test_polygons_refuse(arguments: tuple[object, object], error: type, message: str) -> None:
    with pytest.raises(error, match=rf"^\[rle_from_polygons\] expected {message}"):
        ops.rle_from_polygons(*arguments)


def test_masks_lie_in_memory_as_they_like() -> None:
    masks = blobs(5, 30, 41)
    expected, boxes = ops.rle_encode(masks), ops.masks_to_boxes(masks)
    for same in (
        np.asfortranarray(masks),
        masks[::-1][::-1],
        masks.astype(np.uint8) * 3,
        np.repeat(masks, 2, 2)[..., ::2],
    ):
        assert ops.rle_encode(same) == expected
        np.testing.assert_array_equal(ops.masks_to_boxes(same), boxes)


def test_rle_dicts_may_change_while_they_are_read() -> None:
    """By the caller's own __index__, or by another thread."""

    class Clearing:
        def __init__(self, rle: dict[str, Any]) -> None:
            self.rle = rle

        def __index__(self) -> int:
            self.rle.clear()
            return 4

    for _ in range(20):
        rle: dict[str, Any] = {}
        rle |= {"size": [Clearing(rle), 5], "counts": "D" * 100_000}  # of memory that only the dict owns
        with pytest.raises(ValueError, match=r"^\[rle_area\] expected"):
            ops.rle_area(rle)
        lengths: list[Any] = []
        lengths += [Clearing({}), Clearing(lengths), 10**6, 8]  # type: ignore[list-item, arg-type]
        with pytest.raises(ValueError, match=r"^\[rle_area\] expected"):
            ops.rle_area({"size": [4, 5], "counts": lengths})


def test_counts_of_other_characters_are_refused() -> None:
    for counts in ("\ud800", "\u00e9"):
        with pytest.raises(ValueError, match=r"^\[rle_decode\] expected"):
            ops.rle_decode({"size": [2, 2], "counts": counts})
