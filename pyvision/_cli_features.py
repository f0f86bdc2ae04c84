# SPDX-License-Identifier: Apache-2.0
"""The commands `pyvision features` and `pyvision match`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import pyvision

Summary: TypeAlias = dict[str, Any]
_METHODS = {
    "orb": "ORB",
    "fast": "FAST",
    "sift": "SIFT",
    "surf": "SURF",
    "brisk": "BRISK",
    "harris": "Harris",
}


def add_features_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", choices=_METHODS, default="orb", help="detector (default: orb)")
    _add_count(parser)


def add_match_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs=2, metavar="IMAGE", help="image file")
    parser.add_argument("-o", "--out", type=Path, default=Path("matches.png"), help="default: matches.png")
    parser.add_argument("--no-save", action="store_true", help="save nothing")
    parser.add_argument(
        "--ratio",
        type=float,
        default=0.8,
        help="least lead over the second nearest, in (0, 1] (default: 0.8)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, and no summary")
    _add_count(parser)


def _add_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-features", type=int, default=1000, metavar="N", help="default: 1000")


class FeaturesJob:
    """What `pyvision features` does to each picture."""

    task: ClassVar[str] = "features"
    columns: ClassVar[tuple[str, ...]] = ("keypoints", "levels", "strongest")

    def __init__(self, args: argparse.Namespace) -> None:
        self.method: str = args.method
        self.max_features: int = args.max_features

    def prepare(self, parser: argparse.ArgumentParser) -> Callable[[str], tuple[Any, float]]:
        from pyvision import features
        from pyvision.image_io import read_image

        options = {"threshold": 20} if self.method == "fast" else {}
        try:
            detector = getattr(features, _METHODS[self.method])(self.max_features, **options)
        except ValueError as error:
            parser.error(str(error))

        def run(file: str) -> tuple[Any, float]:
            image = read_image(file)
            start = time.perf_counter()
            keypoints = detector.detect(image)
            return (file, image, keypoints), 1e3 * (time.perf_counter() - start)

        return run

    def tool(self) -> str:
        return self.method

    def summary(self, result: Any) -> Summary:
        file, image, keypoints = result
        height, width = image.shape[:2]
        return {"image": file, "width": width, "height": height, "keypoints": _keypoints_json(keypoints)}

    def rows(self, summary: Summary) -> list[tuple[str, ...]]:
        found = summary["keypoints"]
        levels = len({k["octave"] for k in found})
        return [(str(len(found)), str(levels), f"{max((k['response'] for k in found), default=0):.3g}")]

    def names(self, stem: str, suffix: str) -> list[str]:
        return [stem + suffix, stem + ".json"]

    def save(self, result: Any, paths: Sequence[Path]) -> None:
        from pyvision.drawing import draw_keypoints
        from pyvision.image_io import save_image

        _, image, k = result
        save_image(paths[0], draw_keypoints(image, k.xy, k.size, k.angle))


def run_match(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Match two pictures by ORB, save them side by side with lines, and say how many there are."""
    import sys

    from pyvision.drawing import draw_matches
    from pyvision.features import ORB, match
    from pyvision.image_io import WRITABLE_SUFFIXES, ImageError, read_image, save_image

    if args.threads is not None:
        pyvision.set_num_threads(args.threads)
    if not 0 < args.ratio <= 1:
        parser.error(f"argument --ratio: expected a number in (0, 1], got {args.ratio}")
    if not args.no_save and args.out.suffix.lower() not in WRITABLE_SUFFIXES:
        parser.error(f"argument --out: expected a suffix of {', '.join(sorted(WRITABLE_SUFFIXES))}")
    try:
        orb = ORB(args.max_features)
    except ValueError as error:
        parser.error(str(error))
    try:
        a, b = (read_image(file) for file in args.images)
    except ImageError as error:
        print(f"pyvision: {error}", file=sys.stderr)
        return 1
    start = time.perf_counter()
    (of_a, bits_a), (of_b, bits_b) = orb.detect_and_compute(a), orb.detect_and_compute(b)
    pairs = match(bits_a, bits_b, ratio=args.ratio, cross_check=True)
    milliseconds = 1e3 * (time.perf_counter() - start)
    if not args.no_save:
        lines = of_a.xy[pairs.indices[:, 0]], of_b.xy[pairs.indices[:, 1]]
        try:
            save_image(args.out, draw_matches(a, b, *lines))
        except OSError as error:
            parser.error(f"argument --out: cannot save {args.out}: {error.strerror}")
    if args.json:
        summary = {
            "images": args.images,
            "keypoints": [_keypoints_json(of_a), _keypoints_json(of_b)],
            "matches": [
                {"indices": indices, "distance": distance}
                for indices, distance in zip(pairs.indices.tolist(), pairs.distances.tolist(), strict=True)
            ],
        }
        print(json.dumps(summary))
    else:
        place = "" if args.no_save else f"; saved as {args.out}"
        print(
            f"{len(pairs)} matches of {len(of_a)} and {len(of_b)} keypoints in {milliseconds:.1f} ms{place}"
        )
    return 0


def _keypoints_json(keypoints: Any) -> list[dict[str, float]]:
    columns = {
        "x": keypoints.xy[:, 0],
        "y": keypoints.xy[:, 1],
        "size": keypoints.size,
        "angle": keypoints.angle,
        "response": keypoints.response,
        "octave": keypoints.octave,
    }
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]
