# SPDX-License-Identifier: Apache-2.0
"""Detections and Segmentation: what they hold, print, export and save."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyvision.image_io import read_image
from pyvision.models import COCO_CATEGORIES
from pyvision.results import Detection, Detections, Segmentation
from tests.images import gradient

PICTURE = gradient()


def detections(categories: tuple[str, ...] = ("cat", "dog"), path: str | None = "pets.jpg") -> Detections:
    return Detections(
        boxes=np.array([[1, 2, 31.256, 22], [40, 5.5, 60, 39]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        labels=np.array([1, 0]),
        categories=categories,
        image=PICTURE,
        path=path,
    )


def test_detections_behave_like_a_sequence() -> None:
    found = detections()
    assert len(found) == 2
    assert found[1] == Detection((40.0, 5.5, 60.0, 39.0), "cat", 0, 0.5)
    assert found[-1] == found[1]
    assert [one.label for one in found] == ["dog", "cat"]
    assert [one.label for one in found[found.scores > 0.6]] == ["dog"]
    assert [one.label for one in found[1:]] == ["cat"]
    with pytest.raises(IndexError):
        found[2]
    assert repr(found) == "Detections(1 dog, 1 cat; pets.jpg, 64x40)"
    assert repr(found[:0]) == "Detections(nothing; pets.jpg, 64x40)"


def test_detections_as_json_and_coco() -> None:
    assert detections().to_dict() == {
        "image": "pets.jpg",
        "width": 64,
        "height": 40,
        "detections": [
            {"box": [1.0, 2.0, 31.26, 22.0], "label": "dog", "class_id": 1, "score": 0.75},
            {"box": [40.0, 5.5, 60.0, 39.0], "label": "cat", "class_id": 0, "score": 0.5},
        ],
    }
    assert detections(path=None).to_dict()["image"] is None
    own = detections().to_coco(image_id=7)
    assert own[1] == {"image_id": 7, "category_id": 0, "bbox": [40.0, 5.5, 20.0, 33.5], "score": 0.5}
    json.dumps(own)


def test_coco_models_get_coco_category_ids() -> None:
    found = Detections(
        boxes=np.zeros((80, 4), np.float32),
        scores=np.ones(80, np.float32),
        labels=np.arange(80),
        categories=COCO_CATEGORIES,
        image=PICTURE,
    )
    ids = {
        one.label: entry["category_id"] for one, entry in zip(found, found.to_coco(image_id=0), strict=True)
    }
    # As in COCO's own annotation files.
    known = {"person": 1, "stop sign": 13, "backpack": 27, "bottle": 44, "dining table": 67, "tv": 72}
    assert {label: ids[label] for label in known} == known
    assert ids["toothbrush"] == 90
    assert len(set(ids.values())) == 80


def test_detections_save(tmp_path: Path) -> None:
    found = detections()
    found.save(tmp_path / "a.png")
    found.save(tmp_path / "a.json")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), found.plot())
    assert json.loads((tmp_path / "a.json").read_text()) == found.to_dict()


def segmentation() -> Segmentation:
    probability = np.zeros((40, 64), np.float32)
    probability[10:20, 5:25] = 0.75
    probability[0, 0] = 0.25
    return Segmentation(probability, ("background", "person"), PICTURE, "me.jpg")


def test_segmentation_exports() -> None:
    result = segmentation()
    assert repr(result) == "Segmentation(person 8% of the pixels; me.jpg, 64x40)"
    assert result.mask().sum() == 200
    assert result.mask(0.2).sum() == 201
    assert result.to_dict() == {
        "image": "me.jpg",
        "width": 64,
        "height": 40,
        "label": "person",
        "threshold": 0.5,
        "fraction": round(200 / 2560, 4),
        "box": [5, 10, 25, 20],
    }
    assert result.to_dict(threshold=0.9)["box"] is None
    assert result.to_coco(image_id=1, threshold=0.9) == []


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_segmentation_run_lengths_give_the_mask_back(threshold: float) -> None:
    result = segmentation()
    (entry,) = result.to_coco(image_id=3, threshold=threshold)
    counts = entry["segmentation"]["counts"]
    values = np.arange(len(counts)) % 2 == 1
    decoded = np.repeat(values, counts).reshape(entry["segmentation"]["size"], order="F")
    np.testing.assert_array_equal(decoded, result.mask(threshold))
    assert entry["area"] == result.mask(threshold).sum()
    assert entry["score"] == pytest.approx(result.probability[result.mask(threshold)].mean())
    json.dumps(entry)


def test_run_lengths_of_full_mask() -> None:
    full = Segmentation(np.ones((3, 2), np.float32), ("background", "person"), PICTURE[:3, :2])
    assert full.to_coco(image_id=0)[0]["segmentation"] == {"size": [3, 2], "counts": [0, 6]}
    assert full.to_coco(image_id=0)[0]["bbox"] == [0, 0, 2, 3]


def test_segmentation_save(tmp_path: Path) -> None:
    result = segmentation()
    result.save(tmp_path / "a.png", threshold=0.2)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), result.plot(threshold=0.2))
    result.save(tmp_path / "a.json", threshold=0.2)
    assert json.loads((tmp_path / "a.json").read_text()) == result.to_dict(threshold=0.2)
