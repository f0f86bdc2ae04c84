# SPDX-License-Identifier: Apache-2.0
"""The command `pyvision features`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

Summary: TypeAlias = dict[str, Any]
METHODS = {
    "orb": "ORB",
    "fast": "FAST",
    "sift": "SIFT",
    "surf": "SURF",
    "brisk": "BRISK",
    "brief": "BRIEF",
    "harris": "Harris",
    "shi-tomasi": "ShiTomasi",
}
_FAST_THRESHOLD = 20


def add_features_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method", choices=METHODS, default="orb", help="detector; brief has fast's (default: orb)"
    )
    add_count(parser)


def detector_of(method: str, max_features: int) -> Any:
    """Raises ValueError where ``max_features`` is out of range."""
    from pyvision import features

    if method == "brief":
        return _BriefAtFast(max_features)
    options = {"threshold": _FAST_THRESHOLD} if method == "fast" else {}
    return getattr(features, METHODS[method])(max_features, **options)


class _BriefAtFast:
    """FAST's corners as far as BRIEF, which finds none itself, describes them."""

    def __init__(self, max_features: int) -> None:
        from pyvision.features import BRIEF, FAST

        self._fast, self._brief = FAST(max_features, threshold=_FAST_THRESHOLD), BRIEF()

    def detect(self, image: Any) -> Any:
        return self.detect_and_compute(image)[0]

    def detect_and_compute(self, image: Any) -> Any:
        return self._brief.compute(image, self._fast.detect(image))


def add_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-features", type=int, default=1000, metavar="N", help="default: 1000")


class FeaturesJob:
    """What `pyvision features` does to each picture."""

    task: ClassVar[str] = "features"
    columns: ClassVar[tuple[str, ...]] = ("keypoints", "levels", "strongest")

    def __init__(self, args: argparse.Namespace) -> None:
        self.method: str = args.method
        self.max_features: int = args.max_features

    def prepare(self, parser: argparse.ArgumentParser) -> Callable[[str], tuple[Any, float]]:
        from pyvision.image_io import read_image

        try:
            detector = detector_of(self.method, self.max_features)
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
        return {"image": file, "width": width, "height": height, "keypoints": keypoints_json(keypoints)}

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


def keypoints_json(keypoints: Any) -> list[dict[str, float]]:
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
