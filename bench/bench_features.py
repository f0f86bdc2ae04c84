# SPDX-License-Identifier: Apache-2.0
"""Corners, blobs, descriptors, matching and RANSAC, against OpenCV, on a photograph of 1920 x 1080 pixels,
and some of them on other sizes; --only curve prints how time grows with the picture's area.

The photograph is the example picture, repeated: what detectors find depends on what they see, so the numbers
of keypoints stand beside the times.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from _common import (
    ROOT,
    add_case,
    budget,
    finish,
    least_seconds,
    new_report,
    parse_arguments,
    print_curve,
)
from PIL import Image

from pyvision import _core
from pyvision.features import (
    BRIEF,
    BRISK,
    FAST,
    ORB,
    SIFT,
    SURF,
    Harris,
    ShiTomasi,
    find_homography,
    match,
    select_even,
)
from pyvision.profile import Case, Report, compare_with_peak
from pyvision.profile.peers import Run, Unavailable, require
from pyvision.profile.report import OURS

HEIGHT, WIDTH = 1080, 1920
AREAS = {
    ", 0.3 megapixels": (480, 640),
    "": (HEIGHT, WIDTH),
    ", 8 megapixels": (2160, 3840),
    ", 24 megapixels": (4000, 6000),
}
CURVE = ((480, 640), (720, 1280), (HEIGHT, WIDTH), (1728, 2304), (2160, 3840), (3000, 4000), (4000, 6000))
ROWS = 4000
FROM_THE_SIDE = np.array([[0.9, 0.1, 40], [-0.05, 0.85, 60], [1e-4, -5e-5, 1]])


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("features")
    photo = photograph()
    for threshold in (10, 20, 40):
        add(
            report,
            options,
            f"FAST 9-16, threshold {threshold}",
            lambda t=threshold: FAST(threshold=t).detect(photo),
            lambda cv2, t=threshold: lambda: cv2.FastFeatureDetector_create(t).detect(photo),
            note=f"{len(FAST(threshold=threshold).detect(photo))} keypoints",
        )
    for corners in (Harris(1000), ShiTomasi(1000)):
        harris = isinstance(corners, Harris)
        add(
            report,
            options,
            f"{type(corners).__name__}, 1000 corners",
            lambda corners=corners: corners.detect(photo),
            lambda cv2, harris=harris: (
                lambda: cv2.goodFeaturesToTrack(photo, 1000, 0.01, 0, useHarrisDetector=harris)
            ),
        )
    brisk = BRISK()
    for area, (height, width) in AREAS.items():
        picture = photograph(height, width)
        for count in (500, 2000):
            orb = ORB(count)
            add(
                report,
                options,
                f"ORB, {count} features{area}",
                lambda orb=orb, x=picture: orb.detect_and_compute(x),
                lambda cv2, n=count, x=picture: lambda: cv2.ORB_create(n).detectAndCompute(x, None),
            )
        add(
            report,
            options,
            f"BRISK{area}",
            lambda x=picture: brisk.detect_and_compute(x),
            lambda cv2, x=picture: lambda: cv2.xfeatures2d.BRISK_create().detectAndCompute(x, None),
            note=f"{len(brisk.detect(picture))} keypoints",
        )
        add(
            report,
            options,
            f"SURF, 2000 features{area}",
            lambda x=picture: SURF(2000).detect_and_compute(x),
            None,
            others={"our scalar kernels": lambda x=picture: with_scalar_kernels(x)},
        )
        if height > 2160:  # SIFT takes 130 bytes of memory for a pixel, OpenCV's more
            continue
        add(
            report,
            options,
            f"SIFT, 2000 features{area}",
            lambda x=picture: SIFT(2000).detect_and_compute(x),
            lambda cv2, x=picture: lambda: cv2.SIFT_create(2000).detectAndCompute(x, None),
        )
    keypoints = FAST(2000, threshold=20).detect(photo)
    add(
        report,
        options,
        "BRIEF, 32 bytes at 2000 keypoints",
        lambda: BRIEF().compute(photo, keypoints),
        lambda cv2: brief_of(cv2, photo, keypoints.to_opencv()),
    )
    every = FAST(threshold=10).detect(photo)
    add(
        report,
        options,
        "select_even, 1000 keypoints",
        lambda: select_even(every, 1000),
        None,
        note=f"of {len(every)}",
    )
    rng = np.random.default_rng(0)
    floats = [rng.integers(0, 256, (ROWS, 128)).astype(np.float32) for _ in range(2)]
    bits = [rng.integers(0, 256, (ROWS, 32), dtype=np.uint8) for _ in range(2)]
    for metric, rows in (("l2", floats), ("l1", floats), ("hamming", bits)):
        width = "128" if metric != "hamming" else "256 bit"
        add(
            report,
            options,
            f"match, {metric}, 2 nearest of {ROWS} x {ROWS} x {width}",
            lambda rows=rows, metric=metric: match(*rows, metric=metric, k=2),
            lambda cv2, rows=rows, metric=metric: matcher_of(cv2, metric, *rows),
            gflop=2e-9 * ROWS * ROWS * 128 if metric == "l2" else None,
        )
    src, dst = pairs_with_outliers(rng)
    add(
        report,
        options,
        "find_homography, 2000 matches, half of them wrong",
        lambda: find_homography(src, dst),
        lambda cv2: lambda: cv2.findHomography(src, dst, cv2.RANSAC, 3.0),
        note=corners_note(src, dst),
    )
    if "curve" in options.only or not options.only:
        exponents = print_curves()
        for i, case in enumerate(report.cases):
            if case.name in exponents:
                grows = f"time grows as N^{exponents[case.name]:.2f} from 0.3 to 24 megapixels"
                report.cases[i] = replace(case, note="; ".join(filter(None, (case.note, grows))))
    finish(report, options)


def print_curves() -> dict[str, float]:
    """From 0.3 to 24 megapixels, by the case that has each: corners are found alone, the others described as
    well. Returns the exponents."""
    detectors: dict[str, Callable[[np.ndarray], object]] = {
        "FAST 9-16, threshold 20": FAST(threshold=20).detect,
        "Harris, 1000 corners": Harris(1000).detect,
        "ORB, 2000 features": ORB(2000).detect_and_compute,
        "BRISK": BRISK().detect_and_compute,
        "SURF, 2000 features": SURF(2000).detect_and_compute,
        "SIFT, 2000 features": SIFT(2000).detect_and_compute,
    }
    pictures = {f"{1e-6 * h * w:.1f} megapixels": photograph(h, w) for h, w in CURVE}
    exponents = {}
    for name, run in detectors.items():
        seconds = {area: least_seconds(lambda x=x, run=run: run(x), 3) for area, x in pictures.items()}
        exponents[name] = print_curve(name, seconds, [h * w for h, w in CURVE])
    return exponents


def pairs_with_outliers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points seen from the side with half a pixel of noise; every second goes anywhere."""
    src = rng.uniform((0, 0), (WIDTH, HEIGHT), (2000, 2))
    dst = seen_from_the_side(FROM_THE_SIDE, src) + rng.normal(0, 0.5, src.shape)
    dst[::2] = rng.uniform((0, 0), (WIDTH, HEIGHT), (1000, 2))
    return src, dst


def seen_from_the_side(homography: np.ndarray, xy: np.ndarray) -> np.ndarray:
    there = np.column_stack([xy, np.ones(len(xy))]) @ homography.T
    projected: np.ndarray = there[:, :2] / there[:, 2:]
    return projected


def corners_note(src: np.ndarray, dst: np.ndarray) -> str:
    """How far the picture's corners lie from where they should, on average."""
    corners = np.array([[0, 0], [WIDTH - 1, 0], [0, HEIGHT - 1], [WIDTH - 1, HEIGHT - 1]], np.float64)

    def error(found: np.ndarray) -> float:
        off = seen_from_the_side(found, corners) - seen_from_the_side(FROM_THE_SIDE, corners)
        return float(np.linalg.norm(off, axis=1).mean())

    note = f"corners {error(find_homography(src, dst)[0]):.2f} pixels off"
    try:
        cv2 = require("cv2")
    except Unavailable:
        return note
    return f"{note}, OpenCV's {error(cv2.findHomography(src, dst, cv2.RANSAC, 3.0)[0]):.2f}"


def photograph(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    with Image.open(ROOT / "examples" / "astronaut.jpg") as image:
        grey = np.asarray(image.convert("L"))
    repeats = (-(-height // grey.shape[0]), -(-width // grey.shape[1]))
    return np.ascontiguousarray(np.tile(grey, repeats)[:height, :width])


def with_scalar_kernels(picture: np.ndarray) -> None:
    before = _core.isa()
    _core.set_isa("scalar")
    try:
        SURF(2000).detect_and_compute(picture)
    finally:
        _core.set_isa(before)


def brief_of(cv2: Any, photo: np.ndarray, keypoints: tuple[Any, ...]) -> Run:
    extractor = cv2.xfeatures2d.BriefDescriptorExtractor_create(32)
    return lambda: extractor.compute(photo, keypoints)


def matcher_of(cv2: Any, metric: str, a: np.ndarray, b: np.ndarray) -> Run:
    """The algorithm alone: what its matches become in Python would take as long again."""
    norm = {"l2": cv2.NORM_L2, "l1": cv2.NORM_L1, "hamming": cv2.NORM_HAMMING}[metric]
    dtype = cv2.CV_32S if metric == "hamming" else cv2.CV_32F
    return lambda: cv2.batchDistance(a, b, dtype, normType=norm, K=2)


def add(
    report: Report,
    options: argparse.Namespace,
    name: str,
    ours: Run,
    theirs: Callable[[Any], Run] | None,
    *,
    others: dict[str, Run] | None = None,
    gflop: float | None = None,
    note: str = "",
) -> None:
    if options.only not in name:
        return
    candidates, absent = {OURS: ours, **(others or {})}, {}
    try:
        if theirs is not None:
            cv2 = require("cv2")
            cv2.setNumThreads(options.threads)
            candidates["OpenCV"] = theirs(cv2)
    except Unavailable as reason:
        absent["OpenCV"] = str(reason)
    times, peak = compare_with_peak(candidates, budget(options))
    add_case(report, Case(name, times, peak, gflop=gflop, note=note, absent=absent))


if __name__ == "__main__":
    main()
