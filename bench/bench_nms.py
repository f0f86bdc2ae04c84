# SPDX-License-Identifier: Apache-2.0
"""nms at IoU threshold 0.5 on scattered and on clustered boxes, against torchvision and OpenCV."""

from __future__ import annotations

import itertools

import numpy as np
from _common import (
    add_case,
    budget,
    finish,
    make_torchvision_importable,
    new_report,
    parse_arguments,
)

from pyvision import ops
from pyvision.profile import Case, compare_with_peak
from pyvision.profile.peers import Floats, Prepared, Unavailable, candidates, opencv_nms, torchvision_nms

COUNTS = (100, 1_000, 4_000, 20_000)
IOU_THRESHOLD = 0.5


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


def _scores(count: int, rng: np.random.Generator) -> Floats:
    return ((rng.permutation(count) + 0.5) / count).astype(np.float32)


KINDS = {"scattered": random_boxes, "around 20 objects": clustered_boxes}


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("nms")
    rng = np.random.default_rng(0)
    make_torchvision_importable()
    for (kind, make_boxes), count in itertools.product(KINDS.items(), COUNTS):
        name = f"{count} boxes, {kind}"
        if options.only not in name:
            continue
        boxes, scores = make_boxes(count, rng)
        kept = ops.nms(boxes, scores, IOU_THRESHOLD)
        ready: dict[str, Prepared] = {}
        absent: dict[str, str] = {}
        for peer, make in (("torchvision", torchvision_nms), ("OpenCV", opencv_nms)):
            try:
                prepared = make(boxes, scores, IOU_THRESHOLD, options.threads)
            except Unavailable as reason:
                absent[peer] = str(reason)
                continue
            prepared.run()
            if np.array_equal(np.ravel(prepared.outputs()[0]), kept):
                ready[peer] = prepared
            else:
                absent[peer] = "it keeps other boxes"

        def ours(boxes: Floats = boxes, scores: Floats = scores) -> object:
            return ops.nms(boxes, scores, IOU_THRESHOLD)

        times, peak = compare_with_peak(candidates(ours, ready), budget(options))
        add_case(report, Case(name, times, peak, note=f"keeps {len(kept)}", absent=absent))
    finish(report, options)


if __name__ == "__main__":
    main()
