# SPDX-License-Identifier: Apache-2.0
"""The commands that make one picture of several: `pyvision match`, `pyvision stitch` and `pyvision flow`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import pyvision
from pyvision._cli_features import METHODS, add_count, detector_of, keypoints_json

_Pixels = npt.NDArray[np.uint8]
_WITH_DESCRIPTORS = tuple(method for method in METHODS if method not in ("fast", "harris", "shi-tomasi"))


def add_match_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs=2, metavar="IMAGE", help="image file")
    parser.add_argument("-o", "--out", type=Path, default=Path("matches.png"), help="default: matches.png")
    parser.add_argument("--no-save", action="store_true", help="save nothing")
    parser.add_argument("--method", choices=_WITH_DESCRIPTORS, default="orb", help="features (default: orb)")
    parser.add_argument(
        "--ratio",
        type=float,
        default=0.8,
        help="least lead over the second nearest, in (0, 1] (default: 0.8)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, and no summary")
    add_count(parser)


def run_match(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Match two pictures, save them side by side with lines, and say how many there are."""
    from pyvision import features
    from pyvision.drawing import draw_matches

    if not 0 < args.ratio <= 1:
        parser.error(f"argument --ratio: expected a number in (0, 1], got {args.ratio}")
    try:
        detector = detector_of(args.method, args.max_features)
    except ValueError as error:
        parser.error(str(error))
    if args.no_save:
        args.out = None
    pictures = _pictures(args, parser)
    if pictures is None:
        return 1
    start = time.perf_counter()
    (of_a, values_a), (of_b, values_b) = (detector.detect_and_compute(picture) for picture in pictures)
    pairs = features.match(values_a, values_b, ratio=args.ratio, cross_check=True)
    milliseconds = 1e3 * (time.perf_counter() - start)
    if args.out is not None:
        a, b = pictures
        lines = of_a.xy[pairs.indices[:, 0]], of_b.xy[pairs.indices[:, 1]]
        _save(args.out, draw_matches(a, b, *lines), parser)
    if args.json:
        summary = {
            "images": args.images,
            "keypoints": [keypoints_json(of_a), keypoints_json(of_b)],
            "matches": [
                {"indices": indices, "distance": distance}
                for indices, distance in zip(pairs.indices.tolist(), pairs.distances.tolist(), strict=True)
            ],
        }
        print(json.dumps(summary))
    else:
        place = "" if args.out is None else f"; saved as {args.out}"
        print(
            f"{len(pairs)} matches of {len(of_a)} and {len(of_b)} keypoints in {milliseconds:.1f} ms{place}"
        )
    return 0


def add_flow_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs=2, metavar="IMAGE", help="image file; both of one size")
    parser.add_argument("-o", "--out", type=Path, default=Path("flow.png"), help="default: flow.png")
    parser.add_argument(
        "--alpha", type=float, default=20.0, help="smoothness, in grey levels per pixel (default: 20)"
    )
    parser.add_argument(
        "--max-flow",
        type=float,
        metavar="PIXELS",
        help="length that is fully saturated (default: the longest)",
    )


def run_flow(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Save the flow from one picture to another as a picture, and say how long it is."""
    from pyvision.flow import flow_to_color, horn_schunck

    pictures = _pictures(args, parser)
    if pictures is None:
        return 1
    start = time.perf_counter()
    try:
        flow = horn_schunck(*pictures, alpha=args.alpha)
        picture = flow_to_color(flow, max_flow=args.max_flow)
    except ValueError as error:
        parser.error(str(error))
    milliseconds = 1e3 * (time.perf_counter() - start)
    _save(args.out, picture, parser)
    length = np.hypot(flow[:, :, 0], flow[:, :, 1])
    print(
        f"{length.mean():.2f} pixels on average, {length.max():.2f} at most, in {milliseconds:.1f} ms; "
        f"saved as {args.out}"
    )
    return 0


def add_stitch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files that overlap, in any order")
    parser.add_argument("-o", "--out", type=Path, default=Path("pano.jpg"), help="default: pano.jpg")
    parser.add_argument(
        "--features", choices=("SIFT", "ORB", "BRISK", "SURF"), default="SIFT", help="default: SIFT"
    )
    parser.add_argument(
        "--projection",
        choices=("auto", "plane", "cylinder"),
        default="auto",
        help="what the panorama lies on (default: auto)",
    )


def run_stitch(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Save one picture of several that overlap."""
    from pyvision.features import stitch

    if len(args.images) < 2:
        parser.error(f"argument IMAGE: expected two or more, got {len(args.images)}")
    pictures = _pictures(args, parser)
    if pictures is None:
        return 1
    start = time.perf_counter()
    try:
        panorama = stitch(pictures, features=args.features, projection=args.projection)
    except ValueError as error:
        print(f"pyvision: {error}", file=sys.stderr)
        return 1
    milliseconds = 1e3 * (time.perf_counter() - start)
    _save(args.out, panorama, parser)
    height, width = panorama.shape[:2]
    print(
        f"{width} x {height} pixels of {len(pictures)} images in {milliseconds:.1f} ms; saved as {args.out}"
    )
    return 0


def _pictures(args: argparse.Namespace, parser: argparse.ArgumentParser) -> Sequence[_Pixels] | None:
    """What the files show, once the options they share are checked; None where one cannot be read."""
    from pyvision.image_io import WRITABLE_SUFFIXES, ImageError, read_image

    if args.threads is not None:
        pyvision.set_num_threads(args.threads)
    if args.out is not None and args.out.suffix.lower() not in WRITABLE_SUFFIXES:
        parser.error(f"argument --out: expected a suffix of {', '.join(sorted(WRITABLE_SUFFIXES))}")
    try:
        return [read_image(file) for file in args.images]
    except ImageError as error:
        print(f"pyvision: {error}", file=sys.stderr)
        return None


def _save(path: Path, picture: _Pixels, parser: argparse.ArgumentParser) -> None:
    from pyvision.image_io import save_image

    try:
        save_image(path, picture)
    except OSError as error:
        parser.error(f"argument --out: cannot save {path}: {error.strerror}")
