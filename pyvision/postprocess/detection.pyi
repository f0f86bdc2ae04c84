# SPDX-License-Identifier: Apache-2.0
import numpy as np
import numpy.typing as npt

from pyvision._array import Array

def decode_dfl(
    scores: Array, distances: Array, *, stride: int, width: int, score_threshold: float
) -> tuple[Array, Array, Array]: ...
def nms(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], iou_threshold: float
) -> npt.NDArray[np.int64]: ...
