# SPDX-License-Identifier: Apache-2.0
"""Stitching of photographs of 0.3, 3, 12 and 24 megapixels, against OpenCV's Stitcher with its defaults.

The photographs are two views of the example picture, enlarged, with noise. Peak memory is what a call adds in
a process of its own, after one on small pictures.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, finish, new_report, parse_arguments, print_curve
from bench_features import add
from PIL import Image

from pyvision import _core, ops
from pyvision.features import stitch
from pyvision.profile.peers import Run, Unavailable, require
from pyvision.profile.report import OURS

TURNED = np.array([[1, 0.02, -0.55], [-0.02, 1, -0.04], [0.01, 0.006, 1]])  # of pictures one unit wide
SIZES = ((640, 480), (2000, 1500), (4000, 3000), (6000, 4000))


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("stitch")
    for width, height in SIZES:
        name = f"stitch, two of {width} x {height}"
        if options.only not in name:
            continue
        images = views(width, height)
        add(
            report,
            options,
            name,
            lambda images=images: stitch(images),
            lambda cv2, images=images: stitcher_of(cv2, images),
            note=memory_note(width, height, options.threads),
        )
    if not options.only:
        seconds = {
            f"{w} x {h}": 1e-3 * case.times.median_ms(OURS)
            for (w, h), case in zip(SIZES, report.cases, strict=True)
        }
        print_curve("stitch", seconds, [w * h for w, h in SIZES])
    finish(report, options)


def views(width: int, height: int) -> list[np.ndarray]:
    """Of a picture enlarged until both fit in it."""
    with Image.open(ROOT / "examples" / "astronaut.jpg") as image:
        extent = round(1.7 * width)
        whole = np.asarray(image.convert("RGB").resize((extent, extent), Image.Resampling.BICUBIC))
    unit = np.diag([width, width, 1.0])
    homography = unit @ TURNED @ np.linalg.inv(unit)
    noise = np.random.default_rng(0).integers(0, 12, whole.shape[:2], dtype=np.uint8)[:, :, None]
    whole = np.minimum(whole, 243) + noise
    first = np.ascontiguousarray(whole[height // 5 : height // 5 + height, :width])
    shift = np.array([[1, 0, 0], [0, 1, -height / 5], [0, 0, 1]])
    return [first, ops.warp_perspective(whole, homography @ shift, (width, height))]


def stitcher_of(cv2: Any, images: list[np.ndarray]) -> Run:
    def run() -> None:
        status, _ = cv2.Stitcher_create(cv2.Stitcher_PANORAMA).stitch(images)
        if status != cv2.Stitcher_OK:
            raise RuntimeError(f"OpenCV's Stitcher gave up: {status}")

    return run


def memory_note(width: int, height: int, threads: int) -> str:
    notes = []
    for who, prepare in (("", prepare_ours), ("OpenCV ", prepare_theirs)):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            added = process.submit(added_memory, prepare, width, height, threads)
            try:
                notes.append(f"{who}{added.result():.0f} MB")
            except Unavailable:
                continue
    return "peak memory " + ", ".join(notes)


Prepare = Callable[[list[np.ndarray], int], Run]


def prepare_ours(images: list[np.ndarray], threads: int) -> Run:
    _core.set_num_threads(threads)
    return lambda: stitch(images)


def prepare_theirs(images: list[np.ndarray], threads: int) -> Run:
    cv2 = require("cv2")
    cv2.setNumThreads(threads)
    return stitcher_of(cv2, images)


def added_memory(prepare: Prepare, width: int, height: int, threads: int) -> float:
    """What a call adds to the most that this process ever held, in MB; where Linux says so."""
    prepare(views(400, 300), threads)()  # what a library loads and keeps for itself
    run = prepare(views(width, height), threads)
    gc.collect()
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return float("nan")

    def megabytes(name: str) -> float:
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024

    reset.write_text("5")  # the peak starts anew
    before = megabytes("VmRSS")
    run()
    return megabytes("VmHWM") - before


if __name__ == "__main__":
    main()
