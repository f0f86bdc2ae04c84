# SPDX-License-Identifier: Apache-2.0
"""How well photographs are recognised from other views, beside OpenCV: no feature may be worse than its."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from pyvision.features import (
    BRIEF,
    BRISK,
    FAST,
    ORB,
    SIFT,
    SURF,
    Harris,
    Keypoints,
    ShiTomasi,
    find_homography,
    match,
)
from tests.photos import Grey, photographs, project, rotation, warp

Homography = npt.NDArray[np.float64]
Describe = Callable[[Grey], tuple[Keypoints, Any]]  # and their descriptors or None
COUNT = 500
SAME_PLACE = 2.5  # pixels
SAME_SCALE = 0.6**-0.5  # of two sizes: circles around one centre then overlap by 60 %, Mikolajczyk's limit


def _from_the_side(strength: float) -> Callable[[tuple[int, ...]], Homography]:
    def view(shape: tuple[int, ...]) -> Homography:
        h, w = shape
        lean = np.array([[1, 0.1 * strength, 0], [0, 1, 0], [6e-4 * strength, -3e-4 * strength, 1]])
        middle = np.array([[1, 0, w / 2], [0, 1, h / 2], [0, 0, 1]])
        return middle @ lean @ np.linalg.inv(middle)

    return view


def _turned(degrees: float, scale: float) -> Callable[[tuple[int, ...]], Homography]:
    return lambda shape: rotation(degrees, scale, shape)


GEOMETRY = {
    **{f"turned by {degrees}": _turned(degrees, 1) for degrees in (15, 45, 90, 160, 250, 330)},
    **{f"{scale} times as large": _turned(7, scale) for scale in (0.5, 0.7, 1.4, 2.0)},
    **{f"from the side, {strength}": _from_the_side(strength) for strength in (-1.5, 1, 2)},
}


def _blurred(image: Grey, radius: float) -> Grey:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def _exposed(image: Grey, gain: float) -> Grey:
    return np.clip(image * gain, 0, 255).astype(np.uint8)


def _compressed(image: Grey, quality: int) -> Grey:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


LIGHT: dict[str, Callable[[Grey], Grey]] = {
    "blurred": lambda image: _blurred(image, 1.5),
    "more blurred": lambda image: _blurred(image, 2.5),
    "darker": lambda image: _exposed(image, 0.5),
    "brighter": lambda image: _exposed(image, 1.6),
    "compressed": lambda image: _compressed(image, 30),
    "more compressed": lambda image: _compressed(image, 10),
}


Pair = tuple[Grey, Grey, Homography]


@cache
def _pairs() -> list[Pair]:
    def every() -> Iterator[Pair]:
        for image in photographs():
            for view in GEOMETRY.values():
                homography = view(image.shape)
                yield image, warp(image, homography), homography
            for change in LIGHT.values():
                moved = rotation(3, 1.05, image.shape)
                yield image, change(warp(image, moved)), moved

    return list(every())


def _corner_error(found: Any, homography: Homography, shape: tuple[int, ...]) -> float:
    if found is None:
        return np.inf
    h, w = shape
    corners = np.array([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]], np.float64)
    return float(np.linalg.norm(project(found, corners) - project(homography, corners), axis=1).mean())


def _corresponding(
    a: Keypoints, b: Keypoints, homography: Homography, shape: tuple[int, ...]
) -> tuple[int, int]:
    """How many keypoints of either picture are one another's nearest of the same place and scale; and how
    many there could be: the fewer of those that both pictures show.

    Places are compared in both pictures, scales where the feature has any. After Mikolajczyk et al., "A
    comparison of affine region detectors", IJCV 2005.
    """
    back = np.linalg.inv(homography)
    ahead, behind = project(homography, a.xy), project(back, b.xy)
    limit = np.array(shape[::-1]) - 1
    of_a, of_b = (((xy >= 0) & (xy <= limit)).all(axis=1) for xy in (ahead, behind))
    if not (of_a.any() and of_b.any()):
        return 0, 0
    apart = (_distances(ahead[of_a], b.xy[of_b]) + _distances(a.xy[of_a], behind[of_b])) / 2
    same = apart < SAME_PLACE
    if np.ptp(a.size) > 0:
        ratio = b.size[of_b] / (a.size[of_a] * _enlargement(homography, a.xy[of_a]))[:, None]
        same &= (ratio < SAME_SCALE) & (ratio > 1 / SAME_SCALE)
    apart[~same] = np.inf
    nearest = apart.argmin(axis=1)
    mutual = apart.argmin(axis=0)[nearest] == np.arange(len(nearest))
    count = int((mutual & np.isfinite(apart.min(axis=1))).sum())
    return count, int(min(of_a.sum(), of_b.sum()))


def _distances(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    return np.hypot(a[:, None, 0] - b[:, 0], a[:, None, 1] - b[:, 1], dtype=np.float64)


def _enlargement(homography: Homography, xy: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """By how much the homography enlarges lengths at points, the mean over directions: (N,)."""
    depth = np.column_stack([xy, np.ones(len(xy))]) @ homography[2]
    return np.sqrt(abs(np.linalg.det(homography)) / np.abs(depth) ** 3)


def measure(describe: Describe, pairs: list[Pair]) -> dict[str, float]:
    """Over pairs of pictures: of the keypoints that both show, the shares found again and matched rightly;
    the share of matches that are right; and the area under the curve of how many homographies have their
    corners right within so many pixels."""
    known: dict[int, Any] = {}
    rows = []
    for image, other, homography in pairs:
        if id(image) not in known:
            known[id(image)] = describe(image)
        (a, of_a), (b, of_b) = known[id(image)], describe(other)
        repeated, possible = _corresponding(a, b, homography, image.shape)
        row = [repeated / max(possible, 1)]
        if of_a is not None:
            ratio = {"ratio": 0.8} if of_a.dtype == np.float32 else {"cross_check": True}
            matched = match(of_a, of_a[:0] if of_b is None else of_b, **ratio).indices
            here, far = a.xy[matched[:, 0]], b.xy[matched[:, 1]]
            right = int((np.linalg.norm(project(homography, here) - far, axis=1) < 3).sum())
            error = _corner_error(find_homography(here, far)[0], homography, image.shape)
            row += [right / max(possible, 1), right / max(len(matched), 1)]
            row += [max(0.0, 1 - error / limit) for limit in (1, 3, 5)]
        rows.append(row)
    names = ("repeated", "matched", "right", "within 1", "within 3", "within 5")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=False))


def _ours(feature: Any) -> Describe:
    if not hasattr(feature, "detect_and_compute"):
        return lambda image: (feature.detect(image), None)
    describe: Describe = feature.detect_and_compute
    return describe


def _theirs(feature: Any) -> Describe:
    """OpenCV's strongest ones: not all of its features can be told how many."""

    def describe(image: Grey) -> tuple[Keypoints, Any]:
        if feature.descriptorSize() > 0:
            found, values = feature.detectAndCompute(image, None)
        else:
            found, values = feature.detect(image), None
        keypoints = Keypoints.from_opencv(found)
        order = np.argsort(-keypoints.response, kind="stable")[:COUNT]
        return keypoints[order], None if values is None else values[order]

    return describe


class _OursBrief:
    """BRIEF at FAST corners."""

    def __init__(self, bytes: Any) -> None:
        self.bytes = bytes

    def detect_and_compute(self, image: Grey) -> tuple[Keypoints, Any]:
        return BRIEF(self.bytes).compute(image, FAST(COUNT, threshold=20).detect(image))


class _TheirBrief:
    def __init__(self, cv2: Any, bytes: int) -> None:
        self.detector = cv2.FastFeatureDetector_create(20)
        self.extractor = cv2.xfeatures2d.BriefDescriptorExtractor_create(bytes)

    def descriptorSize(self) -> int:
        return int(self.extractor.descriptorSize())

    def detectAndCompute(self, image: Grey, mask: None) -> tuple[Any, Any]:
        found = sorted(self.detector.detect(image, mask), key=lambda k: -k.response)[:COUNT]
        return self.extractor.compute(image, found)


def _oriented(image: Grey) -> Keypoints:
    """What both steer BRIEF by: it is their descriptors that are compared."""
    return ORB(COUNT, levels=1).detect(image)


class _OursSteeredBrief:
    def detect_and_compute(self, image: Grey) -> tuple[Keypoints, Any]:
        return BRIEF(use_orientation=True).compute(image, _oriented(image))


class _TheirSteeredBrief(_TheirBrief):
    def __init__(self, cv2: Any) -> None:
        self.extractor = cv2.xfeatures2d.BriefDescriptorExtractor_create(32, True)

    def detectAndCompute(self, image: Grey, mask: None) -> tuple[Any, Any]:
        return self.extractor.compute(image, _oriented(image).to_opencv())


class _TheirRootSift:
    def __init__(self, cv2: Any) -> None:
        self.sift = cv2.SIFT_create(COUNT)

    def descriptorSize(self) -> int:
        return int(self.sift.descriptorSize())

    def detectAndCompute(self, image: Grey, mask: None) -> tuple[Any, Any]:
        found, values = self.sift.detectAndCompute(image, mask)
        return found, None if values is None else np.sqrt(values / values.sum(axis=1, keepdims=True))


FEATURES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "BRIEF": (_OursBrief(32), lambda cv2: _TheirBrief(cv2, 32)),
    "BRIEF of 16 bytes": (_OursBrief(16), lambda cv2: _TheirBrief(cv2, 16)),
    "BRIEF of 64 bytes": (_OursBrief(64), lambda cv2: _TheirBrief(cv2, 64)),
    "steered BRIEF": (_OursSteeredBrief(), _TheirSteeredBrief),
    "RootSIFT": (SIFT(COUNT, root=True), _TheirRootSift),
    "SIFT": (SIFT(COUNT), lambda cv2: cv2.SIFT_create(COUNT)),
    "ORB": (ORB(COUNT), lambda cv2: cv2.ORB_create(COUNT)),
    "BRISK": (BRISK(COUNT), lambda cv2: cv2.xfeatures2d.BRISK_create()),
    "FAST": (FAST(COUNT, threshold=20), lambda cv2: cv2.FastFeatureDetector_create(20)),
    "Harris": (Harris(COUNT), lambda cv2: cv2.GFTTDetector_create(COUNT, 0.01, 0, 3, True)),
    "ShiTomasi": (ShiTomasi(COUNT), lambda cv2: cv2.GFTTDetector_create(COUNT, 0.01, 0, 3, False)),
}


# Of theirs, what ours reach at least.
SHARE = 0.98
# Which pairs of pixels BRIEF compares is drawn at random, once and for all by OpenCV. Of its matches five of
# our draws have 0.973 to 1.016 times as many, that of the default seed 0.9785; of the homographies more.
DRAWN = {("steered BRIEF", "matched"): 0.97}


def _pairs_for(name: str) -> list[Pair]:
    """Every third for RootSIFT: SIFT itself has all of them."""
    return _pairs()[::3] if name == "RootSIFT" else _pairs()


@cache
def _measured(name: str) -> dict[str, float]:
    return measure(_ours(FEATURES[name][0]), _pairs_for(name))


@pytest.mark.parametrize("name", FEATURES)
def test_no_worse_than_opencv(name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    ours, theirs = _measured(name), measure(_theirs(FEATURES[name][1](cv2)), _pairs_for(name))
    for metric, value in ours.items():
        assert value >= DRAWN.get((name, metric), SHARE) * theirs[metric], (metric, ours, theirs)
    assert ours["repeated"] > 0.3


def test_surf_finds_homographies() -> None:
    """OpenCV has SURF only where it is built with what is not free: beside our own SIFT, and its variants
    beside itself."""
    ours, sift = measure(_ours(SURF(COUNT)), _pairs()), _measured("SIFT")
    assert ours["repeated"] > sift["repeated"] - 0.1
    assert ours["within 5"] > sift["within 5"] - 0.15
    # 0.91 of the matches, none less right, 0.97 of the homographies.
    long = measure(_ours(SURF(COUNT, extended=True)), _pairs())
    assert long["matched"] >= 0.9 * ours["matched"]
    assert long["right"] >= SHARE * ours["right"]
    assert long["within 5"] >= 0.95 * ours["within 5"]
    # What it is for, pictures that are not turned: 1.08 of the matches, 1.01 of the homographies.
    upright = [pair for pair in _pairs() if abs(np.arctan2(pair[2][1, 0], pair[2][0, 0])) < np.deg2rad(5)]
    ours, without = (measure(_ours(SURF(COUNT, upright=flag)), upright) for flag in (False, True))
    assert without["matched"] > ours["matched"]
    for metric in ("right", "within 5"):
        assert without[metric] >= SHARE * ours[metric]
