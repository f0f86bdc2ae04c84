# SPDX-License-Identifier: Apache-2.0
"""What happens to a detector's outputs, detection by detection; compiled, and open to ``cimport``.

Functions take C-contiguous buffers of one dtype and look closer only at what does not fit, so that a call
costs little beside its work, and release the GIL. ``detection.pxd`` and ``masks.pxd`` beside this file
declare what another Cython project calls without it:
``from pyvision.postprocess.detection cimport nms_into``.
"""

from __future__ import annotations

from pathlib import Path

from pyvision.postprocess.detection import batched_nms, box_iou, decode_boxes, decode_dfl, nms
from pyvision.postprocess.masks import paste_masks, rle_area, rle_decode, rle_encode, rle_iou

__all__ = [
    "batched_nms",
    "box_iou",
    "decode_boxes",
    "decode_dfl",
    "get_include",
    "nms",
    "paste_masks",
    "rle_area",
    "rle_decode",
    "rle_encode",
    "rle_iou",
]


def get_include() -> str:
    """The folder of pyvision_c_api.h, which gives C and C++ the same functions."""
    return str(Path(__file__).parents[1] / "include")
