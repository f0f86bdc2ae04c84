# SPDX-License-Identifier: Apache-2.0
"""Suppression and overlap of boxes, against torchvision, OpenCV and NumPy; nms over the number of boxes.

Boxes are scattered over an image, or lie around its objects as a detector gives them. The peers of soft_nms
and nms_rotated are the algorithms of mmcv and detectron2, in NumPy and on torchvision's overlaps.
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import (
    add_case,
    budget,
    finish,
    least_seconds,
    make_torchvision_importable,
    new_report,
    parse_arguments,
    print_curve,
)

from pyvision import ops
from pyvision.postprocess import detection, masks
from pyvision.profile import Case, Report, compare_with_peak
from pyvision.profile.peers import (
    Floats,
    Prepared,
    Run,
    Unavailable,
    candidates,
    opencv_nms,
    require,
    torchvision_nms,
)

COUNTS = (100, 1_000, 4_000, 20_000)
CURVE = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
IOU_THRESHOLD = 0.5
Make = Callable[[], Prepared]


def random_boxes(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Boxes of 10 to 200 pixels in a 1333 x 800 image, as a detector gives them, and scores without ties."""
    corner = rng.uniform((0, 0), (1133, 600), (count, 2))
    size = rng.uniform(10, 200, (count, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32), _scores(count, rng)


def clustered_boxes(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Boxes jittered around 20 objects, where almost all are suppressed and no grid helps."""
    objects, _ = random_boxes(20, rng)
    jitter = rng.normal(0, 8, (count, 4))
    return (objects[rng.integers(0, 20, count)] + jitter).astype(np.float32), _scores(count, rng)


def rotated_boxes(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The scattered boxes as (cx, cy, w, h, angle), turned by any angle."""
    boxes, scores = random_boxes(count, rng)
    angle = rng.uniform(-180, 180, (count, 1)).astype(np.float32)
    return np.concatenate([ops.box_convert(boxes, "xyxy", "cxcywh"), angle], axis=1), scores


def _scores(count: int, rng: np.random.Generator) -> Floats:
    return ((rng.permutation(count) + 0.5) / count).astype(np.float32)


KINDS = {"scattered": random_boxes, "around 20 objects": clustered_boxes}


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("nms")
    rng = np.random.default_rng(0)
    make_torchvision_importable()
    for kind, make_boxes in KINDS.items():
        for count in COUNTS:
            boxes, scores = make_boxes(count, rng)
            compare_nms(report, options, f"{count} boxes, {kind}", boxes, scores)
    compare_others(report, options, rng)
    if "curve" in options.only or not options.only:
        print_curves(rng)
    if "overhead" in options.only or not options.only:
        print_overheads()
    finish(report, options)


def compare_nms(
    report: Report, options: argparse.Namespace, name: str, boxes: Floats, scores: Floats
) -> None:
    peers = {
        "torchvision": lambda: torchvision_nms(boxes, scores, IOU_THRESHOLD, options.threads),
        "OpenCV": lambda: opencv_nms(boxes, scores, IOU_THRESHOLD, options.threads),
    }
    add(report, options, name, lambda: ops.nms(boxes, scores, IOU_THRESHOLD), peers, 0)


def compare_others(report: Report, options: argparse.Namespace, rng: np.random.Generator) -> None:
    boxes, scores = random_boxes(20_000, rng)
    classes = rng.integers(0, 80, 20_000)
    add(
        report,
        options,
        "batched_nms, 20000 boxes, 80 classes",
        lambda: ops.batched_nms(boxes, scores, classes, IOU_THRESHOLD),
        {"torchvision": lambda: _torchvision(options, "batched_nms", boxes, scores, classes, IOU_THRESHOLD)},
        0,
    )
    soft = clustered_boxes(1_000, rng)
    add(
        report,
        options,
        "soft_nms, 1000 boxes around 20 objects",
        lambda: ops.soft_nms(*soft),
        {"NumPy": lambda: prepared(lambda: _soft_nms(*soft))},
        1e-4,
    )
    rotated, rotated_scores = rotated_boxes(1_000, rng)
    overlaps = ops.box_iou_rotated(rotated, rotated)
    pairs = np.argwhere(np.triu(overlaps, 1) > 0)[:1_000]
    left, right = rotated[pairs[:, 0]], rotated[pairs[:, 1]]
    add(
        report,
        options,
        "box_iou_rotated, 1000 x 1000",
        lambda: ops.box_iou_rotated(rotated, rotated),
        {"torchvision": lambda: _torchvision(options, "box_iou", rotated, rotated, "cxcywhr")},
        1e-4,
    )
    add(
        report,
        options,
        "box_iou_rotated, 1000 pairs that overlap",
        lambda: ops.box_iou_rotated(left, right, aligned=True),
        {"OpenCV": lambda: _opencv_rotated(left, right)},
        1e-3,
    )
    add(
        report,
        options,
        "nms_rotated, 1000 boxes",
        lambda: ops.nms_rotated(rotated, rotated_scores, IOU_THRESHOLD),
        {"torchvision's overlaps": lambda: _rotated_nms(options, rotated, rotated_scores)},
        0,
    )


def add(
    report: Report,
    options: argparse.Namespace,
    name: str,
    ours: Run,
    makes: dict[str, Make],
    tolerance: float,
) -> None:
    """Times ours and the peers whose results are ours within the tolerance."""
    if options.only not in name:
        return
    expected = _first(ours())
    ready: dict[str, Prepared] = {}
    absent: dict[str, str] = {}
    for peer, make in makes.items():
        try:
            prepared = make()
        except Unavailable as reason:
            absent[peer] = str(reason)
            continue
        prepared.run()
        got = np.squeeze(prepared.outputs()[0])
        if got.shape == expected.shape and np.allclose(got, expected, rtol=0, atol=tolerance):
            ready[peer] = prepared
        else:
            absent[peer] = "its result is another"
    times, peak = compare_with_peak(candidates(ours, ready), budget(options))
    note = f"keeps {len(expected)}" if "nms" in name or name.endswith(tuple(KINDS)) else ""
    add_case(report, Case(name, times, peak, note=note, absent=absent))


def _first(result: Any) -> np.ndarray:
    return np.asarray(result[0] if isinstance(result, tuple) else result)


def prepared(call: Callable[[], Any]) -> Prepared:
    latest: list[Any] = []

    def run() -> None:
        latest[:] = [call()]

    return Prepared(run, lambda: latest)


def _torchvision(options: argparse.Namespace, op: str, *arguments: Any) -> Prepared:
    torch, torchvision = require("torch"), require("torchvision")
    torch.set_num_threads(options.threads)
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
    return prepared(lambda: getattr(torchvision.ops, op)(*tensors).numpy())


def _opencv_rotated(a: Floats, b: Floats) -> Prepared:
    cv2 = require("cv2")
    rects = [[((x, y), (w, h), -angle) for x, y, w, h, angle in boxes.tolist()] for boxes in (a, b)]
    areas = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3]

    def call() -> np.ndarray:
        common = []
        for p, q in zip(*rects, strict=True):
            kind, corners = cv2.rotatedRectangleIntersection(p, q)
            common.append(cv2.contourArea(cv2.convexHull(corners)) if kind else 0.0)
        intersection = np.array(common)
        return intersection / (areas - intersection)

    return prepared(call)


def _rotated_nms(options: argparse.Namespace, boxes: Floats, scores: Floats) -> Prepared:
    """Greedy over torchvision's matrix of overlaps."""
    overlaps = _torchvision(options, "box_iou", boxes, boxes, "cxcywhr")

    def call() -> np.ndarray:
        overlaps.run()
        suppresses = np.asarray(overlaps.outputs()[0]) > IOU_THRESHOLD
        alive = np.ones(len(boxes), bool)
        kept = []
        for i in np.argsort(-scores, kind="stable"):
            if alive[i]:
                kept.append(i)
                alive &= ~suppresses[i]
        return np.array(kept)

    return prepared(call)


def _soft_nms(boxes: Floats, scores: Floats) -> np.ndarray:
    """mmcv's loop with NumPy's vectors: gaussian, sigma 0.5."""
    boxes, scores, index = boxes.copy(), scores.copy(), np.arange(len(boxes))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    keep = []
    while len(index):
        best = np.argmax(scores)
        keep.append(index[best])
        low, high = np.maximum(boxes[best, :2], boxes[:, :2]), np.minimum(boxes[best, 2:], boxes[:, 2:])
        common = np.maximum(high - low, 0).prod(axis=1)
        iou = common / (areas[best] + areas - common)
        scores *= np.exp(-(iou**2) / 0.5)
        left = scores >= 1e-3
        left[best] = False
        boxes, scores, index, areas = boxes[left], scores[left], index[left], areas[left]
    return np.array(keep)


def print_curves(rng: np.random.Generator) -> None:
    for kind, make_boxes in KINDS.items():
        seconds = {}
        for count in CURVE:
            boxes, scores = make_boxes(count, rng)
            seconds[str(count)] = least_seconds(
                lambda boxes=boxes, scores=scores: ops.nms(boxes, scores, IOU_THRESHOLD),
                max(5, 20_000 // count),
            )
        print_curve(f"nms, {kind}", seconds, CURVE)


def print_overheads() -> None:
    """What a call of the Cython entries takes without any box, or with a mask of no pixel."""
    boxes, mask = np.empty((0, 4), np.float32), np.empty((0, 0), np.uint8)
    names = {
        "detection": detection,
        "masks": masks,
        "boxes": boxes,
        "scores": boxes[:, 0].copy(),
        "idxs": np.empty(0, np.int64),
        "patches": np.empty((0, 28, 28), np.float32),
        "mask": mask,
        "counts": masks.rle_encode(mask),
    }
    calls = (
        "detection.nms(boxes, scores, 0.5)",
        "detection.batched_nms(boxes, scores, idxs, 0.5)",
        "detection.box_iou(boxes, boxes)",
        "detection.decode_boxes(boxes, boxes)",
        "masks.paste_masks(patches, boxes, 8, 8)",
        "masks.rle_encode(mask)",
        "masks.rle_decode(counts, 0, 0)",
        "masks.rle_area(counts, 0, 0)",
        "masks.rle_iou(counts, counts, 0, 0)",
    )
    microseconds = {
        call: 1e6 * min(timeit.repeat(call, number=1000, repeat=100, globals=names)) / 1000 for call in calls
    }
    print("overhead in Cython: " + ", ".join(f"{call} {t:.2f} µs" for call, t in microseconds.items()))


if __name__ == "__main__":
    main()
