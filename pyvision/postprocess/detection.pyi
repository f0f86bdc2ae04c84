# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pyvision._array import Array

def decode_dfl(
    scores: Array, distances: Array, *, stride: int, width: int, score_threshold: float
) -> tuple[Array, Array, Array]: ...
def nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    iou_threshold: float,
    *,
    max_output: int | None = None,
) -> npt.NDArray[np.int64]: ...
def batched_nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    idxs: npt.NDArray[np.int64],
    iou_threshold: float,
    *,
    max_output: int | None = None,
) -> npt.NDArray[np.int64]: ...
def box_iou(boxes1: npt.NDArray[np.float32], boxes2: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
def decode_boxes(
    rel_codes: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    weights: Sequence[float] = ...,
    bbox_xform_clip: float = ...,
) -> npt.NDArray[np.float32]: ...
