# SPDX-License-Identifier: Apache-2.0
"""Masks against torchvision and pycocotools: pasted into images, boxed, and run-length encoded.

pycocotools is given what it encodes without a copy, (H, W, N) in Fortran order, and is not threaded.
torchvision has no thresholded paste: its peer compares the probabilities afterwards, as its users do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import finish, make_torchvision_importable, new_report, parse_arguments
from bench_nms import add, prepared

from pyvision import ops
from pyvision.profile import Report
from pyvision.profile.peers import Floats, Prepared, require

COUNT = 100
IMAGE = (800, 1066)


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("masks")
    rng = np.random.default_rng(0)
    make_torchvision_importable()
    compare_pasted(report, options, rng)
    compare_encoded(report, options, objects(480, 640, rng))
    finish(report, options)


def objects(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Ellipses of 20 to 200 pixels with uneven borders, as a model's masks of objects have."""
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((COUNT, height, width), np.uint8)
    for mask in masks:
        centre, radius = rng.uniform((0, 0), (height, width)), rng.uniform(10, 100, 2)
        angle = np.arctan2(y - centre[0], x - centre[1])
        border = 1 + 0.15 * np.sin(rng.integers(3, 9) * angle)
        mask[:] = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 < border
    return masks


def compare_pasted(report: Report, options: argparse.Namespace, rng: np.random.Generator) -> None:
    corner = rng.uniform((0, 0), (IMAGE[1] - 200, IMAGE[0] - 200), (COUNT, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 200, (COUNT, 2))], axis=1).astype(np.float32)
    masks = rng.random((COUNT, 1, 28, 28)).astype(np.float32)
    case = f"paste_masks, {COUNT} of 28x28 into {IMAGE[0]}x{IMAGE[1]}"
    for threshold in (None, 0.5):
        add(
            report,
            options,
            case + (", probabilities" if threshold is None else f" above {threshold}"),
            lambda threshold=threshold: ops.paste_masks(masks, boxes, IMAGE, threshold=threshold)[:, 0],
            {"torchvision": lambda threshold=threshold: torchvision_paste(options, masks, boxes, threshold)},
            1e-5 if threshold is None else 1,  # a probability at the threshold may lie on either side of it
        )


def torchvision_paste(
    options: argparse.Namespace, masks: Floats, boxes: Floats, threshold: float | None
) -> Prepared:
    torch = require("torch")
    paste = require("torchvision.models.detection.roi_heads").paste_masks_in_image
    torch.set_num_threads(options.threads)
    tensors = torch.from_numpy(masks), torch.from_numpy(boxes)

    def run() -> Any:
        pasted = paste(*tensors, IMAGE)
        return (pasted if threshold is None else pasted > threshold).numpy()

    return prepared(run)


def compare_encoded(report: Report, options: argparse.Namespace, masks: np.ndarray) -> None:
    fortran = np.asfortranarray(masks.transpose(1, 2, 0))
    rles = ops.rle_encode(masks)
    nobody = [0] * COUNT
    size = f"{COUNT} masks of 480x640"

    def compare(name: str, ours: Callable[[], Any], peer: Callable[[Any], Any]) -> None:
        add(
            report,
            options,
            f"{name}, {size}",
            ours,
            {"pycocotools": lambda: prepared(lambda: peer(require("pycocotools.mask")))},
            0,
        )

    compare("rle_encode", lambda: joined(ops.rle_encode(masks)), lambda mask: joined(mask.encode(fortran)))
    compare(
        "rle_decode", lambda: ops.rle_decode(rles), lambda mask: mask.decode(rles).transpose(2, 0, 1) != 0
    )
    compare("rle_iou", lambda: ops.rle_iou(rles, rles, nobody), lambda mask: mask.iou(rles, rles, nobody))
    compare("rle_area", lambda: ops.rle_area(rles), lambda mask: mask.area(rles))
    compare("rle_merge", lambda: joined([ops.rle_merge(rles)]), lambda mask: joined([mask.merge(rles)]))
    add(
        report,
        options,
        f"masks_to_boxes, {size}",
        lambda: ops.masks_to_boxes(masks),
        {"torchvision": lambda: torchvision_boxes(options, masks)},
        0,
    )


def torchvision_boxes(options: argparse.Namespace, masks: np.ndarray) -> Prepared:
    torch, torchvision = require("torch"), require("torchvision")
    torch.set_num_threads(options.threads)
    tensor = torch.from_numpy(masks)
    return prepared(lambda: torchvision.ops.masks_to_boxes(tensor).numpy())


def joined(rles: list[Any]) -> np.ndarray:
    """The text of all encodings, to be compared."""
    return np.frombuffer(b"".join(rle["counts"] for rle in rles), np.uint8)


if __name__ == "__main__":
    main()
