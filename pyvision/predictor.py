# SPDX-License-Identifier: Apache-2.0
"""From images as people have them to results in those images' pixels: reading, preparing, running a model."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from pyvision import ops
from pyvision._array import as_numpy
from pyvision.image_io import ImageError, StrPath, expand, read_image, to_rgb
from pyvision.ops._args import integer, real
from pyvision.results import Detections, Segmentation

if TYPE_CHECKING:
    from pyvision.models import Network
    from pyvision.models._spec import Preprocessing

Source: TypeAlias = Any
"""A path, directory, glob pattern, Pillow image or uint8 array (H, W), (H, W, 3 or 4), or a list of these."""


class Model(Protocol):
    """What a Predictor needs of a model, whatever its task."""

    @property
    def task(self) -> str: ...
    @property
    def preprocessing(self) -> Preprocessing: ...
    @property
    def categories(self) -> tuple[str, ...]: ...


class DetectionModel(Model, Protocol):
    def detect(
        self,
        tensor: npt.NDArray[np.float32],
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
        /,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Boxes, scores and labels, best first, in the pixels of the prepared (1, h, w, 3) image."""


class SegmentationModel(Model, Protocol):
    def segment(self, tensor: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
        """The probability map (h, w) of the prepared (1, h, w, 3) image."""


def load(
    name_or_path: StrPath, *, allow_winograd: bool = True, autotune: bool = False, precision: str = "f32"
) -> Predictor:
    """A Predictor for a pretrained model, by name (`models.list_models()`) or by the path of a weights file.

    `allow_winograd`, `autotune` and `precision` ("f32" or "bf16") are those of `nn.Module`.

    Raises ValueError for a name that is neither, for a file that is damaged or fits no model, and for
    another precision.
    """
    from pyvision import models

    name = os.fspath(name_or_path)
    if name in models.list_models():
        model = models.get_model(name, weights="default")
    elif os.path.isfile(name):
        model = _model_of(name)
    else:
        raise _unknown(name)
    model.allow_winograd, model.autotune, model.precision = allow_winograd, autotune, precision
    return Predictor(model)


def _unknown(name: str) -> ValueError:
    from pyvision import models

    close = get_close_matches(name, models.list_models(), n=1)
    hint = f": did you mean {close[0]!r}?" if close else ""
    return ValueError(
        f"[load] expected one of {', '.join(models.list_models())} or a weights file, got {name!r}{hint}"
    )


def _model_of(path: str) -> Network:
    """The model that the weights in a file fit."""
    from pyvision import models
    from pyvision.models import weights

    weights.read_file(path)  # tells a damaged file from one that fits no model
    for name in models.list_models():
        try:
            return models.get_model(name, weights=path)
        except ValueError:
            continue
    known = ", ".join(models.list_models())
    raise ValueError(
        f"[load] expected the weights of one of {known}, got a file that fits none of them: {path}"
    )


class Predictor:
    """Runs a detection or segmentation model on images as they come. Safe to call from many threads."""

    def __init__(self, model: Model) -> None:
        if getattr(model, "task", None) not in ("detect", "segment"):
            raise TypeError(
                f"[Predictor] expected a detection or segmentation model, got {type(model).__name__}"
            )
        self.model = model

    def __repr__(self) -> str:
        height, width = self.model.preprocessing.size
        return f"Predictor({type(self.model).__name__}: {self.model.task}, {height}x{width})"

    def predict(
        self,
        source: Source,
        *,
        score_threshold: float = 0.4,
        iou_threshold: float = 0.6,
        max_detections: int = 100,
    ) -> Any:
        """Detections or a Segmentation for one image; a list of them for a directory, glob pattern or list.

        Args:
            source: a path, directory (not searched recursively), glob pattern (`**` is recursive), Pillow
                image, uint8 array (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey of any framework, or a list or
                iterator of these.
            score_threshold: keep detections that score higher.
            iou_threshold: of two boxes of one class that overlap more, keep the better one.
            max_detections: keep at most this many per image.

        The last three have no effect on segmentation. Each result holds its image: for more images than
        fit into memory, use predict_iter.

        Raises:
            ImageError: a file is missing or cannot be read as an image (a ValueError).
            TypeError, ValueError: `source` is something else, or an array of another dtype or shape.
        """
        leaves, single = _leaves(source)
        results = self._results(leaves, score_threshold, iou_threshold, max_detections)
        return next(results) if single else list(results)

    def predict_iter(
        self,
        source: Source,
        *,
        score_threshold: float = 0.4,
        iou_threshold: float = 0.6,
        max_detections: int = 100,
    ) -> Iterator[Any]:
        """Like predict, but one result at a time, when asked for: large collections, video frames."""
        leaves, _ = _leaves(source)
        return self._results(leaves, score_threshold, iou_threshold, max_detections)

    def _results(
        self, leaves: Iterable[Source], score_threshold: float, iou_threshold: float, max_detections: int
    ) -> Iterator[Detections | Segmentation]:
        options = (
            _fraction(score_threshold, "score_threshold"),
            _fraction(iou_threshold, "iou_threshold"),
            _count(max_detections, "max_detections"),
        )
        return (self._predict_one(leaf, options) for leaf in leaves)

    def _predict_one(self, leaf: Source, options: tuple[float, float, int]) -> Detections | Segmentation:
        started = time.perf_counter()
        image, path = _read(leaf)
        read = time.perf_counter()
        spec = self.model.preprocessing
        tensor, transform = ops.prepare_image(
            image, spec.size, mode=spec.mode, mean=spec.mean, std=spec.std, channel_order=spec.channel_order
        )
        prepared = time.perf_counter()
        height, width = image.shape[:2]
        if self.model.task == "segment":
            probability = cast(SegmentationModel, self.model).segment(tensor)
            # The part of the map that the image covers: all of it, or what letterboxing left.
            top, left = round(transform.offset_y), round(transform.offset_x)
            bottom, right = top + round(height * transform.scale_y), left + round(width * transform.scale_x)
            covered = probability[top : max(bottom, top + 1), left : max(right, left + 1)]
            probability = ops.interpolate(covered[None, None], (height, width), mode="bilinear")[0, 0]
            speed = _milliseconds(started, read, prepared)
            return Segmentation(probability, self.model.categories, image, path, speed)

        boxes, scores, labels = cast(DetectionModel, self.model).detect(tensor, *options)
        boxes = ops.clip_boxes_to_image(transform.to_original(boxes), (height, width))
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        speed = _milliseconds(started, read, prepared)
        return Detections(
            boxes[inside], scores[inside], labels[inside], self.model.categories, image, path, speed
        )


def _leaves(source: Source) -> tuple[Iterable[Source], bool]:
    """The single images `source` stands for, and whether it is itself a single image."""
    if isinstance(source, str | os.PathLike):
        files = expand(source)
        return ([source], True) if files is None else (files, False)
    if isinstance(source, list | tuple | Iterator):
        return chain.from_iterable(_leaves(item)[0] for item in source), False
    return [source], True


def _read(leaf: Source) -> tuple[npt.NDArray[np.uint8], str | None]:
    """One image as (H, W, 3) RGB, and its path if it has one."""
    if isinstance(leaf, str | os.PathLike):
        return read_image(leaf), os.fspath(leaf)
    if isinstance(leaf, Image.Image):
        try:
            return to_rgb(leaf), None
        except ImageError as error:
            raise ImageError(f"[predict] {error}") from None
    if isinstance(leaf, bytes | int | float | None):
        kind = type(leaf).__name__
        raise TypeError(
            f"[predict] expected a path, Pillow image, uint8 array or a list of these, got {kind}"
        )
    array = as_numpy(leaf, "predict", "image", dtypes=("uint8",))
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        hint = ": channels come last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        hint = ": pass several images as a list" if array.ndim == 4 else hint
        raise ValueError(
            f"[predict] expected an image (H, W, 3), (H, W, 4) or (H, W), got shape {array.shape}{hint}"
        )
    if array.size == 0:
        raise ValueError(f"[predict] expected an image with at least one pixel, got shape {array.shape}")
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2), None
    return (to_rgb(Image.fromarray(array)) if array.shape[2] == 4 else array), None


def _fraction(value: float, name: str) -> float:
    fraction = real(value, "predict", name)
    if not 0 <= fraction <= 1:  # refuses NaN too
        raise ValueError(f"[predict] expected {name} in [0, 1], got {fraction}")
    return fraction


def _count(value: int, name: str) -> int:
    count = integer(value, "predict", name)
    if count < 1:
        raise ValueError(f"[predict] expected {name} of at least 1, got {count}")
    return count


def _milliseconds(started: float, read: float, prepared: float) -> dict[str, float]:
    return {
        "read": 1e3 * (read - started),
        "prepare": 1e3 * (prepared - read),
        "infer": 1e3 * (time.perf_counter() - prepared),
    }
