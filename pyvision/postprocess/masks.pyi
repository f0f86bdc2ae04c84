# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import numpy.typing as npt

def paste_masks(
    masks: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    height: int,
    width: int,
    *,
    padding: int = 1,
    threshold: float | None = None,
) -> npt.NDArray[Any]: ...  # float32, or uint8 with a threshold
def rle_encode(mask: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> bytes: ...
def rle_decode(counts: bytes, height: int, width: int) -> npt.NDArray[np.uint8]: ...
def rle_area(counts: bytes, height: int, width: int) -> int: ...
def rle_iou(dt: bytes, gt: bytes, height: int, width: int, iscrowd: bool = False) -> float: ...
