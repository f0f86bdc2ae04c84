# SPDX-License-Identifier: Apache-2.0
"""What a Predictor returns: detections or a segmentation of one image, in that image's pixels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from pyvision import drawing
from pyvision.image_io import StrPath, save_image, write_file

# COCO numbers its 80 classes within 1..90, leaving out those its first release dropped.
_COCO_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_COCO_IDS = tuple(i for i in range(1, 91) if i not in _COCO_UNUSED)


@dataclass(frozen=True)
class Detection:
    """One object: `box` is (x1, y1, x2, y2) in pixels of the original image."""

    box: tuple[float, float, float, float]
    label: str
    class_id: int
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The objects found in one image, best first.

    boxes (K, 4) float32, x1, y1, x2, y2 in pixels of the original image; scores (K,) float32; labels (K,)
    int64, indices into `categories`. `image` is the RGB array (H, W, 3) that was looked at, `path` its file
    if it came from one, `speed` the milliseconds taken to "read", "prepare" and "infer".

    `len(d)` counts, iterating gives Detection objects, `d[0]` is the best one, and `d[d.scores > 0.5]` or
    `d[:3]` are Detections again.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    categories: tuple[str, ...]
    image: npt.NDArray[np.uint8]
    path: str | None = None
    speed: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Detection]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: slice | npt.NDArray[Any]) -> Detections: ...
    def __getitem__(self, index: int | slice | npt.NDArray[Any]) -> Detection | Detections:
        if isinstance(index, int | np.integer):
            x1, y1, x2, y2 = self.boxes[index].tolist()
            class_id = int(self.labels[index])
            return Detection((x1, y1, x2, y2), self.categories[class_id], class_id, float(self.scores[index]))
        return Detections(
            self.boxes[index],
            self.scores[index],
            self.labels[index],
            self.categories,
            self.image,
            self.path,
            self.speed,
        )

    def __repr__(self) -> str:
        counts = Counter(found.label for found in self)
        what = ", ".join(f"{count} {label}" for label, count in counts.items()) or "nothing"
        return f"Detections({what}; {_describe_image(self.image, self.path)})"

    def plot(self) -> npt.NDArray[np.uint8]:
        """The image with boxes and labels: an RGB array (H, W, 3). OpenCV wants BGR: `.plot()[..., ::-1]`."""
        texts = [f"{found.label} {found.score:.2f}" for found in self]
        return drawing.draw_boxes(self.image, self.boxes, self.labels.tolist(), texts)

    def to_dict(self) -> dict[str, Any]:
        """What the command line writes as JSON; boxes are rounded to 0.01 pixel, scores to four digits."""
        return {
            **_header(self.image, self.path),
            "detections": [
                {
                    "box": [round(value, 2) for value in found.box],
                    "label": found.label,
                    "class_id": found.class_id,
                    "score": round(found.score, 4),
                }
                for found in self
            ],
        }

    def to_coco(self, *, image_id: int) -> list[dict[str, Any]]:
        """COCO result entries: bbox is x, y, width, height.

        `category_id` is COCO's own (1 to 90) for a model of the 80 COCO classes, else the index into
        `categories`.
        """
        from pyvision.models import COCO_CATEGORIES

        is_coco = self.categories == COCO_CATEGORIES
        return [
            {
                "image_id": image_id,
                "category_id": _COCO_IDS[found.class_id] if is_coco else found.class_id,
                "bbox": [
                    found.box[0],
                    found.box[1],
                    found.box[2] - found.box[0],
                    found.box[3] - found.box[1],
                ],
                "score": found.score,
            }
            for found in self
        ]

    def save(self, path: StrPath) -> None:
        """Write the annotated picture in the format of the suffix, or to_dict() if that is .json."""
        _save(path, self.plot, self.to_dict)


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """How likely each pixel of one image belongs to the last of `categories`.

    probability (H, W) float32 has the original image's size; `image`, `path`, `speed` are as in Detections.
    """

    probability: npt.NDArray[np.float32]
    categories: tuple[str, ...]
    image: npt.NDArray[np.uint8]
    path: str | None = None
    speed: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.categories[-1]

    def __repr__(self) -> str:
        share = float(np.mean(self.mask()))
        return (
            f"Segmentation({self.label} {share:.0%} of the pixels; {_describe_image(self.image, self.path)})"
        )

    def mask(self, threshold: float = 0.5) -> npt.NDArray[np.bool_]:
        """The pixels more likely than the threshold, (H, W) bool."""
        return self.probability > threshold

    def plot(self, *, threshold: float = 0.5) -> npt.NDArray[np.uint8]:
        """The image with the mask tinted and outlined, as an RGB array (H, W, 3)."""
        return drawing.draw_mask(self.image, self.mask(threshold), drawing.class_color(0))

    def to_dict(self, *, threshold: float = 0.5) -> dict[str, Any]:
        """A summary for JSON: the share of the image that is masked, and the box around it or None."""
        mask = self.mask(threshold)
        return {
            **_header(self.image, self.path),
            "label": self.label,
            "threshold": threshold,
            "fraction": round(float(mask.mean()), 4),
            "box": _mask_box(mask),
        }

    def to_coco(self, *, image_id: int, threshold: float = 0.5) -> list[dict[str, Any]]:
        """One COCO result entry with uncompressed run lengths; none where nothing is masked."""
        mask = self.mask(threshold)
        box = _mask_box(mask)
        if box is None:
            return []
        return [
            {
                "image_id": image_id,
                "category_id": len(self.categories) - 1,
                "segmentation": {"size": list(mask.shape), "counts": _run_lengths(mask)},
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": int(mask.sum()),
                "score": float(self.probability[mask].mean()),
            }
        ]

    def save(self, path: StrPath, *, threshold: float = 0.5) -> None:
        """Write the annotated picture in the format of the suffix, or to_dict() if that is .json."""
        _save(path, lambda: self.plot(threshold=threshold), lambda: self.to_dict(threshold=threshold))


def _header(image: npt.NDArray[np.uint8], path: str | None) -> dict[str, Any]:
    return {"image": path, "width": image.shape[1], "height": image.shape[0]}


def _describe_image(image: npt.NDArray[np.uint8], path: str | None) -> str:
    return f"{path or 'image'}, {image.shape[1]}x{image.shape[0]}"


def _mask_box(mask: npt.NDArray[np.bool_]) -> list[int] | None:
    """x1, y1, x2, y2 around the set pixels, the end exclusive."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _run_lengths(mask: npt.NDArray[np.bool_]) -> list[int]:
    """COCO's run lengths: down the columns, zeros first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts: list[int] = np.diff(changes, prepend=0, append=flat.size).tolist()
    return [0, *counts] if flat[0] else counts


def _save(
    path: StrPath, plot: Callable[[], npt.NDArray[np.uint8]], to_dict: Callable[[], dict[str, Any]]
) -> None:
    if Path(path).suffix.lower() == ".json":
        write_file(path, (json.dumps(to_dict(), indent=2) + "\n").encode())
    else:
        save_image(path, plot())
