# SPDX-License-Identifier: Apache-2.0
"""Features: inputs that crashed or corrupted well-known libraries, refused or survived.

The numbers are those of the list in test_bad_inputs.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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
    match,
    refine_corners,
)
from tests.helpers import random
from tests.photos import noise, photo

IMAGE = noise(90, 110)
AT = Keypoints(np.array([[40, 50]], np.float32))
BITS = np.zeros((4, 32), np.uint8)
ROWS = random((4, 8))

Call = Callable[[Any], object]

DETECTORS: list[Any] = [FAST(threshold=20), ORB(50), BRISK(50), SIFT(50), SURF(50), Harris(50), ShiTomasi(50)]
DESCRIBERS: list[Any] = [ORB(50), BRISK(50), SIFT(50), SURF(50), BRIEF()]

# By the op and what of it is called.
IMAGES: dict[str, Call] = {
    "refine_corners": lambda image: refine_corners(image, AT),
    "Harris.response": Harris().response,
    "ShiTomasi.response": ShiTomasi().response,
    **{f"{type(d).__name__}.detect": d.detect for d in DETECTORS},
    **{f"{type(d).__name__}.detect_and_compute": d.detect_and_compute for d in DESCRIBERS[:4]},
    **{
        f"{type(d).__name__}.compute": lambda image, d=d: d.compute(image, AT)  # type: ignore[misc]
        for d in DESCRIBERS
    },
}
MASKS: dict[str, Call] = {
    f"{type(d).__name__}.{name}": lambda mask, d=d, name=name: getattr(d, name)(IMAGE, mask)  # type: ignore[misc]
    for d in DETECTORS
    for name in ("detect", "detect_and_compute")
    if hasattr(d, name)
}


def refuse(call: Callable[[], object], op: str, argument: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^\[{op}\] expected .*\b{argument}\b"):
        call()


@pytest.mark.parametrize("op", IMAGES)
@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros(shape, np.uint8), id=f"9: shape {shape}")
        for shape in ((), (5,), (2, 5, 5, 2), (1, 1, 5, 5, 3), (0, 5), (5, 0), (5, 5, 0))
    ]
    + [
        pytest.param(np.zeros((40, 40), dtype), id=f"12: {dtype}")
        for dtype in ("float64", "int8", "uint16", "int64", "bool", "complex64", "object")
    ]
    + [
        pytest.param(np.full((40, 40), np.nan, np.float32), id="3: NaN"),
        pytest.param(np.full((40, 40), np.inf, np.float32), id="2: infinite"),
        pytest.param([[0]], id="12: list"),
        pytest.param(None, id="12: None"),
        pytest.param("photo.jpg", id="12: name"),
        pytest.param(np.ndarray, id="12: class"),
    ],
)
def test_images_are_refused(op: str, image: object) -> None:
    refuse(lambda: IMAGES[op](image), op.partition(".")[0], "image")


@pytest.mark.parametrize("op", MASKS)
@pytest.mark.parametrize(
    "mask",
    [
        np.ones((90, 109), bool),
        np.ones((90, 110, 1), bool),
        np.ones((0, 0), bool),
        np.ones((90, 110), np.float32),
        [[1]],
        1,
    ],
    ids=["5: shape", "9: rank", "6: empty", "12: dtype", "12: list", "12: number"],
)
def test_masks_are_refused(op: str, mask: object) -> None:
    refuse(lambda: MASKS[op](mask), op.partition(".")[0], "mask")


@pytest.mark.parametrize(
    ("detector", "argument", "values"),
    [
        (FAST, "max_features", (0, -1, 1.5, "1", True, 2**63)),
        (FAST, "threshold", (-1, 256, 1.5, None, 2**70)),
        (FAST, "nonmax_suppression", (1, None)),
        (FAST, "circle", ("9_16", 16, None)),
        (ORB, "max_features", (0, -1, 1.5, True, 2**31, 2**63)),
        (ORB, "scale_factor", (1, 1.0 + 1e-12, 0, -1, 2.1, float("nan"), float("inf"), "1")),
        (ORB, "levels", (0, -1, 33, 1.5, True)),
        (ORB, "edge_threshold", (21, -1, 2**31, None)),
        (ORB, "threshold", (-1, 256, None)),
        (Harris, "max_features", (0, -1, 1.5, "1", True, 2**63)),
        (Harris, "k", (-0.1, 0.3, float("nan"), None)),
        (Harris, "quality", (0, -1, 1.1, float("nan"), "1")),
        (ShiTomasi, "min_distance", (-1, float("inf"), float("nan"), None)),
        (ShiTomasi, "block_size", (0, 32, -1, 1.5, None)),
        (SURF, "max_features", (0, -1, 1.5, "1", True, 2**31)),
        (SURF, "threshold", (-1, float("nan"), float("inf"), None)),
        (SURF, "octaves", (0, 5, None)),
        (SURF, "upright", (1, None)),
        (SURF, "extended", (0, "no")),
        (BRISK, "max_features", (0, -1, 1.5, "1", True, 2**31)),
        (BRISK, "threshold", (-1, 256, None)),
        (BRISK, "octaves", (-1, 9, 1.5)),
        (BRIEF, "bytes", (0, 8, 48, 128, None, 32.0)),
        (BRIEF, "seed", (-1, None)),
        (BRIEF, "use_orientation", (1, None)),
    ],
)
def test_options_are_refused(detector: Any, argument: str, values: tuple[object, ...]) -> None:
    for value in values:
        refuse(lambda value=value: detector(**{argument: value}).detect(IMAGE), detector.__name__, argument)


def test_row13_the_smallest_pictures(isa: str) -> None:
    for shape in ((1, 1), (2, 2000), (2000, 2), (7, 7), (40, 40), (63, 63), (45, 200)):
        for picture in (noise(*shape), np.zeros(shape, np.uint8), np.full((*shape, 3), 255, np.uint8)):
            grey_edges = min(shape) <= 6
            assert len(FAST().detect(picture)) == 0 or not grey_edges
            keypoints, descriptors = ORB().detect_and_compute(picture)
            assert descriptors.shape == (len(keypoints), 32)
            assert len(keypoints) == 0 or min(shape) >= 63
            assert len(Harris().detect(picture)) == 0 or picture.ndim == 2
            kept, descriptors = BRIEF().compute(picture, AT)
            assert descriptors.shape == (len(kept), 32)


def test_more_features_than_there_are() -> None:
    found = ORB(2**30).detect(IMAGE)
    assert 0 < len(found) < 1000
    assert len(ORB(2**30, levels=1).detect(np.full((100, 100), 9, np.uint8))) == 0


@pytest.mark.parametrize("describe", [ORB().compute, BRIEF().compute])
def test_row2_keypoints_far_outside_are_dropped(describe: Any, isa: str) -> None:
    places = [[50, 50], [-1e30, 50], [50, 3e38], [2**31, 2**31], [-0.5, 50], [109, 89], [21, 50], [22, 50]]
    kept, descriptors = describe(IMAGE, Keypoints(np.array(places, np.float32)))
    np.testing.assert_array_equal(kept.xy, [[50, 50], [22, 50]])
    assert descriptors.shape == (2, 32)
    none, nothing = describe(IMAGE, Keypoints(np.zeros((0, 2), np.float32)))
    assert len(none) == len(nothing) == 0


@pytest.mark.parametrize("describer", [*DESCRIBERS[:4], BRIEF(use_orientation=True)])
def test_row2_angles_beyond_a_turn(describer: Any) -> None:
    """One rule for all; negative ones are undefined."""
    for degrees in (720, 360.5, -361, 1e30):
        turned = Keypoints(AT.xy, AT.size * 9, np.array([degrees], np.float32))
        refuse(lambda turned=turned: describer.compute(IMAGE, turned), type(describer).__name__, "angles")
    for degrees in (360, -1, -90, -360):
        turned = Keypoints(AT.xy, AT.size * 9, np.array([degrees], np.float32))
        assert len(describer.compute(IMAGE, turned)[0]) == 1


@pytest.mark.parametrize("octave", [-1, 8, 2**31 - 1])
def test_row10_octaves_beyond_the_pyramid(octave: int) -> None:
    outside = Keypoints(AT.xy, octave=np.array([octave], np.int32))
    with pytest.raises(ValueError, match=r"\[ORB\] expected octaves"):
        ORB().compute(IMAGE, outside)


def test_row10_an_octave_that_a_tiny_picture_lacks() -> None:
    kept, _ = ORB(levels=32).compute(noise(60, 60), Keypoints(AT.xy, octave=np.array([31], np.int32)))
    assert len(kept) == 0


def test_keypoints_of_another_kind() -> None:
    for describe in (ORB().compute, BRIEF().compute, BRISK().compute, SURF().compute):
        for wrong in (None, AT.xy, [AT]):
            with pytest.raises(TypeError, match="expected keypoints"):
                describe(IMAGE, wrong)


@pytest.mark.parametrize(
    ("argument", "overrides"),
    [
        ("a", {"a": None}),
        ("a", {"a": [[1.0]]}),
        ("a", {"a": ROWS.astype(np.float64)}),
        ("a", {"a": np.zeros(8, np.float32)}),
        ("a", {"a": np.zeros((2, 4, 8), np.float32)}),
        ("b", {"b": BITS}),
        ("b", {"b": np.float32(1)}),
        ("a and b", {"b": ROWS[:, :7]}),
        ("a and b", {"a": ROWS[:, :0], "b": ROWS[:, :0]}),
        ("a", {"a": np.full((4, 8), np.nan, np.float32)}),
        ("b", {"b": np.full((4, 8), np.inf, np.float32)}),
        ("b", {"b": np.full((4, 8), 1e30, np.float32)}),
        ("b", {"b": np.full((4, 8), 3e37, np.float32), "metric": "l1"}),
        ("metric", {"metric": "cosine"}),
        ("metric", {"metric": "hamming"}),
        ("metric", {"a": BITS, "b": BITS, "metric": "l2"}),
        *[("k", {"k": value}) for value in (0, -1, 1.5, "1", None, True, 2**63)],
        ("k", {"k": 2, "ratio": 0.8}),
        ("k", {"k": 2, "cross_check": True}),
        *[("ratio", {"ratio": value}) for value in (0, -0.5, 1.5, float("nan"), "0.8")],
        *[("cross_check", {"cross_check": value}) for value in (1, None)],
        *[("max_distance", {"max_distance": value}) for value in (-1, float("nan"), "1")],
        *[("radius", {"radius": value}) for value in (-1, float("nan"), "1")],
        *[
            ("radius", {"radius": 1.0, **other})
            for other in ({"k": 2}, {"ratio": 0.8}, {"cross_check": True})
        ],
        *[("radius", {"radius": 1.0, **other}) for other in ({"max_distance": 3}, {"approximate": True})],
        ("approximate", {"approximate": 1}),
    ],
)
def test_matches_are_refused(argument: str, overrides: dict[str, Any]) -> None:
    refuse(lambda: match(**{"a": ROWS, "b": ROWS, **overrides}), "match", argument)


@pytest.mark.parametrize("options", [{}, {"ratio": 0.8}, {"cross_check": True}, {"k": 3}, {"radius": 9.0}])
def test_row6_nothing_matches_nothing(options: dict[str, Any]) -> None:
    for rows in (ROWS, BITS):
        for a, b in ((rows[:0], rows), (rows, rows[:0]), (rows[:0], rows[:0])):
            found = match(a, b, **options)
            assert found.indices.shape == (0, 2)
            assert found.distances.shape == (0,)


def test_row17_the_result_does_not_hang_on_how_an_array_lies() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (90, 110, 3), dtype=np.uint8)
    for picture in (IMAGE, colour, IMAGE.astype(np.float32)):
        expected = ORB().detect(picture).xy
        for odd in (
            np.asfortranarray(picture),
            picture[::-1].copy()[::-1],
            picture[:, ::-1].copy()[:, ::-1],
            np.repeat(picture, 2, axis=1)[:, ::2],
            picture.astype(picture.dtype.newbyteorder()),
        ):
            np.testing.assert_array_equal(ORB().detect(odd).xy, expected)
    read_only = IMAGE.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(FAST().detect(read_only).xy, FAST().detect(IMAGE).xy)
    np.testing.assert_array_equal(match(ROWS[:, ::-1], ROWS[:, ::-1]).indices, match(ROWS, ROWS).indices)


def test_floats_are_rounded_and_clipped() -> None:
    wide = IMAGE.astype(np.float32) * 1.4 - 40.3
    eight_bits = np.rint(wide).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(FAST().detect(wide).xy, FAST().detect(eight_bits).xy)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: type(d).__name__)
def test_many_pictures_give_a_list(detector: Any) -> None:
    pictures = [noise(90, 110), noise(90, 110, seed=1)]
    masks = np.ones((2, 90, 110), bool)
    masks[:, :, :50] = False
    expected = [detector.detect(x).xy for x in pictures]
    masked = [detector.detect(x, m).xy for x, m in zip(pictures, masks, strict=True)]
    grey = np.stack(pictures)
    for many in (pictures, tuple(pictures), grey, grey[..., None], np.repeat(grey[..., None], 3, axis=3)):
        for found, where in ((detector.detect(many), expected), (detector.detect(many, masks), masked)):
            assert isinstance(found, list)
            for keypoints, xy in zip(found, where, strict=True):
                np.testing.assert_array_equal(keypoints.xy, xy)
    if hasattr(detector, "detect_and_compute"):
        for (keypoints, values), x in zip(detector.detect_and_compute(grey), pictures, strict=True):
            alone = detector.detect_and_compute(x)
            np.testing.assert_array_equal(keypoints.xy, alone[0].xy)
            np.testing.assert_array_equal(values, alone[1])
    assert detector.detect([]) == detector.detect(grey[:0]) == []
    for wrong in (masks[:1], masks[0], [None], True):
        refuse(lambda wrong=wrong: detector.detect(pictures, wrong), type(detector).__name__, "mask")
    refuse(lambda: detector.detect([pictures[0], None]), type(detector).__name__, "image")


def test_a_detectors_method_is_as_any_other() -> None:
    orb = ORB(50)
    assert list(inspect.signature(orb.detect).parameters) == ["image", "mask"]
    assert "by level" in (ORB.detect.__doc__ or "")
    assert orb.detect.__doc__ == ORB.detect.__doc__
    np.testing.assert_array_equal(ORB.detect(orb, IMAGE).xy, orb.detect(IMAGE).xy)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(orb.detect(image=IMAGE, mask=None).xy, orb.detect(IMAGE).xy)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: type(d).__name__)
def test_a_second_run_finds_the_same_bits(detector: Any) -> None:
    """Enough rows that threads take what they find first, and memory that the first run has written."""
    picture = np.tile(photo(), (2, 1))

    def bits() -> list[bytes]:
        keypoints, values = detector.detect(picture), np.zeros(0)
        if hasattr(detector, "detect_and_compute"):
            keypoints, values = detector.detect_and_compute(picture)
        columns = (keypoints.xy, keypoints.size, keypoints.angle, keypoints.response, keypoints.octave)
        return [column.tobytes() for column in (*columns, values)]

    assert bits() == bits()


@pytest.mark.parametrize("describer", DESCRIBERS, ids=lambda d: type(d).__name__)
def test_many_pictures_are_described(describer: Any) -> None:
    pictures = [noise(90, 110), noise(90, 110, seed=1)]
    keypoints = [FAST(20, threshold=20).detect(x) for x in pictures]
    expected = [describer.compute(x, k) for x, k in zip(pictures, keypoints, strict=True)]
    for many in (pictures, tuple(pictures), np.stack(pictures)):
        described = describer.compute(many, keypoints)
        assert isinstance(described, list)
        for (kept, values), (alone, of_alone) in zip(described, expected, strict=True):
            assert len(alone) > 0
            np.testing.assert_array_equal(kept.xy, alone.xy)
            np.testing.assert_array_equal(values, of_alone)
    assert describer.compute([], []) == []
    op = type(describer).__name__
    for wrong in (keypoints[:1], keypoints[0], [None, None], None):
        refuse(lambda wrong=wrong: describer.compute(pictures, wrong), op, "keypoints")
    refuse(lambda: describer.compute([pictures[0], None], keypoints), op, "image")
    refuse(lambda: describer.compute(np.zeros((5, 5, 2), np.uint8), AT), op, "image")
