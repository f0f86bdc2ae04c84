# SPDX-License-Identifier: Apache-2.0
"""The Predictor around a model: sources in, results in the source's own pixels out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pyvision.image_io import ImageError
from pyvision.predictor import Predictor
from pyvision.results import Detections, Segmentation
from tests.images import gradient

PICTURE = gradient(40, 80)


@dataclass(frozen=True)
class FakePreprocessing:
    size: tuple[int, int] = (32, 64)
    mode: str = "letterbox"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: str = "RGB"


@dataclass
class FakeDetector:
    """Answers every image with the same boxes, in pixels of its input, and remembers what it was given."""

    boxes: list[tuple[float, float, float, float]]
    preprocessing: FakePreprocessing = field(default_factory=FakePreprocessing)
    task: str = "detect"
    categories: tuple[str, ...] = ("cat", "dog")
    seen: list[Any] = field(default_factory=list)

    def detect(
        self,
        tensor: npt.NDArray[np.float32],
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        self.seen.append((tensor, score_threshold, iou_threshold, max_detections))
        count = len(self.boxes)
        scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
        return np.array(self.boxes, np.float32).reshape(count, 4), scores, np.arange(count) % 2


@dataclass
class FakeSegmenter:
    """Likely on the left half of what it is shown."""

    preprocessing: FakePreprocessing
    task: str = "segment"
    categories: tuple[str, ...] = ("background", "person")

    def segment(self, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        _, height, width, _ = tensor.shape
        probability = np.zeros((height, width), np.float32)
        probability[:, : width // 2] = 1
        return probability


def test_boxes_come_back_in_original_pixels_and_clipped() -> None:
    # 40x80 into 32x64: scale 0.8, no bars.
    model = FakeDetector([(8, 8, 16, 16), (-10, 20, 100, 40), (70, 0, 80, 10)])
    found = Predictor(model).predict(PICTURE)
    assert isinstance(found, Detections)
    # The third lies beyond the image: nothing of it is left.
    np.testing.assert_allclose(found.boxes, [[10, 10, 20, 20], [0, 25, 80, 40]], rtol=1e-6)
    assert found.labels.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert set(found.speed) == {"read", "prepare", "infer"}


def test_letterbox_bars_are_taken_out() -> None:
    # 64x64 into 32x64: scale 0.5, bars of 16 left and right.
    found = Predictor(FakeDetector([(16, 0, 48, 32), (20, 4, 24, 8)])).predict(
        np.zeros((64, 64, 3), np.uint8)
    )
    np.testing.assert_allclose(found.boxes, [[0, 0, 64, 64], [8, 8, 16, 16]], rtol=1e-6)


def test_stretched_input_scales_each_axis() -> None:
    model = FakeDetector([(16, 8, 32, 16)], FakePreprocessing(mode="stretch"))
    found = Predictor(model).predict(np.zeros((64, 32, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[8, 16, 16, 32]], rtol=1e-6)


def test_model_gets_the_prepared_image_and_the_options() -> None:
    model = FakeDetector(
        [], FakePreprocessing(size=(40, 80), mean=(1, 2, 3), std=(2, 4, 8), channel_order="BGR")
    )
    found = Predictor(model).predict(PICTURE, score_threshold=0.25, iou_threshold=0.5, max_detections=7)
    assert len(found) == 0
    tensor, *options = model.seen[0]
    assert options == [0.25, 0.5, 7]
    expected = (PICTURE[None, :, :, ::-1] - np.float32([1, 2, 3])) / np.float32([2, 4, 8])
    np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (37, 53)])
def test_any_image_size(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 9, np.uint8)
    found = Predictor(FakeDetector([(-1e4, -1e4, 1e4, 1e4)])).predict(image)
    np.testing.assert_array_equal(found.boxes, [[0, 0, shape[1], shape[0]]])
    for mode in ("stretch", "letterbox"):
        result = Predictor(FakeSegmenter(FakePreprocessing(mode=mode))).predict(image)
        assert result.probability.shape == shape
        assert result.probability.dtype == np.float32


def test_segmentation_has_the_size_of_the_image() -> None:
    for mode in ("stretch", "letterbox"):
        result = Predictor(FakeSegmenter(FakePreprocessing(mode=mode))).predict(
            np.zeros((96, 96, 3), np.uint8)
        )
        assert isinstance(result, Segmentation)
        assert result.mask()[:, :47].all()
        assert not result.mask()[:, 49:].any()
        assert result.label == "person"


def sources(tmp_path: Path) -> Iterator[tuple[str, Any, str | None]]:
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    yield "str", str(path), str(path)
    yield "Path", path, str(path)
    yield "Pillow", Image.fromarray(PICTURE), None
    yield "array", PICTURE, None
    yield "read-only array", np.broadcast_to(PICTURE, PICTURE.shape), None
    yield "Fortran order", np.asfortranarray(PICTURE), None
    yield "negative strides", PICTURE[::-1, ::-1, ::-1][::-1, ::-1, ::-1], None
    yield "RGBA array", np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)]), None


def test_every_source_gives_the_same_image(tmp_path: Path) -> None:
    for name, source, path in sources(tmp_path):
        model = FakeDetector([(0, 0, 8, 8)], FakePreprocessing(size=(40, 80)))
        found = Predictor(model).predict(source)
        assert isinstance(found, Detections), name
        assert found.path == path, name
        np.testing.assert_array_equal(found.image, PICTURE, err_msg=name)
        np.testing.assert_array_equal(model.seen[0][0][0], PICTURE.astype(np.float32), err_msg=name)


def test_grey_array() -> None:
    found = Predictor(FakeDetector([])).predict(PICTURE[:, :, 0])
    np.testing.assert_array_equal(found.image, np.repeat(PICTURE[:, :, :1], 3, axis=2))


def test_torch_tensor() -> None:
    torch = pytest.importorskip("torch")
    found = Predictor(FakeDetector([])).predict(torch.from_numpy(PICTURE))
    np.testing.assert_array_equal(found.image, PICTURE)


def test_one_in_one_out_and_many_in_many_out(tmp_path: Path) -> None:
    predictor = Predictor(FakeDetector([(0, 0, 8, 8)]))
    for name in ("b.png", "a.png", "c.txt"):
        Image.fromarray(PICTURE).save(tmp_path / name, "PNG")
    a, b = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    assert [found.path for found in predictor.predict(tmp_path)] == [a, b]
    assert [found.path for found in predictor.predict(f"{tmp_path}/a.*")] == [a]
    assert [found.path for found in predictor.predict([b, PICTURE, tmp_path])] == [b, None, a, b]
    assert [found.path for found in predictor.predict(([a], (b,)))] == [a, b]
    assert predictor.predict([]) == []
    assert len(predictor.predict(iter([PICTURE, PICTURE]))) == 2


def test_predict_iter_works_as_asked_for() -> None:
    model = FakeDetector([])
    results = Predictor(model).predict_iter(PICTURE for _ in range(1000))
    next(results)
    next(results)
    assert len(model.seen) == 2


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (PICTURE.astype(np.float32), TypeError, "uint8, got float32"),
        (PICTURE.astype(np.uint16), TypeError, "uint8, got uint16"),
        (PICTURE > 9, TypeError, "uint8, got bool"),
        (PICTURE[None], ValueError, "as a list"),
        (PICTURE.transpose(2, 0, 1), ValueError, "channels come last"),
        (PICTURE[:, :, :2], ValueError, r"got shape \(40, 80, 2\)"),
        (PICTURE[0, :, 0], ValueError, r"got shape \(80,\)"),
        (PICTURE[:0], ValueError, "at least one pixel"),
        (PICTURE[:, :0], ValueError, "at least one pixel"),
        (None, TypeError, "got NoneType"),
        (7, TypeError, "got int"),
        ([1, 2], TypeError, "got int"),
        (b"a.png", TypeError, "got bytes"),
        ({}, TypeError, "expected image to be an array, got dict"),
        (Image.new("F", (4, 4)), ImageError, "floating-point"),
        ("no/such/file.png", ImageError, "no/such/file.png: no such file"),
    ],
)
def test_bad_sources(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Predictor(FakeDetector([])).predict(source)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"score_threshold": -0.1}, ValueError),
        ({"score_threshold": float("nan")}, ValueError),
        ({"score_threshold": "0.5"}, TypeError),
        ({"iou_threshold": 1.1}, ValueError),
        ({"iou_threshold": True}, TypeError),
        ({"max_detections": 0}, ValueError),
        ({"max_detections": 1.5}, TypeError),
    ],
)
def test_bad_options_are_refused_before_any_work(options: dict[str, Any], error: type[Exception]) -> None:
    model = FakeDetector([])
    for call in (Predictor(model).predict, Predictor(model).predict_iter):
        with pytest.raises(error, match=f"\\[predict\\] expected {next(iter(options))}"):
            call(PICTURE, **options)
    assert model.seen == []


def test_predictor_wants_a_model_it_can_use() -> None:
    with pytest.raises(
        TypeError, match=r"\[Predictor\] expected a detection or segmentation model, got object"
    ):
        Predictor(object())  # type: ignore[arg-type]
    assert repr(Predictor(FakeDetector([]))) == "Predictor(FakeDetector: detect, 32x64)"
