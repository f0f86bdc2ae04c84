# SPDX-License-Identifier: Apache-2.0
"""Pictures on CUDA and what is found in them: its columns and descriptors stay there.

How many there are is read back, which waits for the stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvision._array import Array
from pyvision._device import Device, Operand, view_of
from pyvision.features._arguments import check_mask, check_picture
from pyvision.features.keypoints import Keypoints

if TYPE_CHECKING:
    from pyvision import _cuda


def grey_on(device: Device, image: Array, op: str) -> Operand:
    """As :func:`~pyvision.features._arguments.grey_of`, of a picture that is not read back to be checked.

    Raises:
        TypeError: ``image`` is not uint8 or float32.
        ValueError: it has another shape, or no pixels.
    """
    x = device.take(image, op, "image", ("uint8", "float32"))
    check_picture(x.shape, op, "image")
    if x.dtype == "uint8" and (len(x.shape) == 2 or x.shape[2] == 1):
        return x
    grey = device.empty(x.shape[:2], "uint8")
    device.kernels.to_grey(device.stream, op, x.view, grey.view)
    return grey


def any_grey_on(device: Device, image: Array, op: str) -> Operand:
    """The same, but that float32 stays what it is, between -1e4 and 1e4."""
    x = device.take(image, op, "image", ("uint8", "float32"))
    if x.dtype == "uint8":
        return grey_on(device, image, op)
    check_picture(x.shape, op, "image")
    grey = device.empty(x.shape[:2], "float32")
    device.kernels.to_grey(device.stream, op, x.view, grey.view)
    return grey


def mask_on(device: Device, mask: Array | None, image: Operand, op: str) -> Operand | None:
    """``mask`` if there is one.

    Raises:
        TypeError: ``mask`` is not a bool or uint8 array.
        ValueError: it has another shape than the picture.
    """
    allowed = device.take_optional(mask, op, "mask", ("bool", "uint8"))
    if allowed is not None:
        check_mask(allowed.shape, image.shape[:2], op)
    return allowed


def empty_columns(device: Device, room: int) -> list[Operand]:
    """What :class:`Keypoints` holds, for so many."""
    return [
        device.empty((room, 2), "float32"),
        *(device.empty((room,), "float32") for _ in range(3)),
        device.empty((room,), "int32"),
    ]


def read_back(device: Device, count: Operand) -> int:
    """The one number of ``count``; waits for the stream."""
    return int(device.give(count)[0])


def found_by(
    device: Device, detection: _cuda.Detection, descriptors: str | None = None
) -> tuple[Keypoints, Array | None]:
    """The keypoints, and their descriptors if their dtype is given."""
    room = detection.room
    columns = empty_columns(device, room)
    count = device.empty((1,), "int32")
    rows = None if descriptors is None else device.empty((room, detection.descriptor_length), descriptors)
    workspace = device.workspace(detection.workspace_bytes)
    detection.run(workspace.view, views_of(columns), count.view, view_of(rows))
    number = read_back(device, count)
    keypoints = Keypoints(*(device.give(column)[:number] for column in columns))
    return keypoints, None if rows is None else device.give(rows)[:number]


def searched_by(
    device: Device, search: _cuda.Search, max_features: int, dtype: str, *, describe: bool
) -> tuple[Keypoints, Array]:
    """The strongest keypoints, or all with a ``max_features`` of 0, and with ``describe`` descriptors."""
    found, count = device.workspace(search.search_bytes), device.empty((1,), "int32")
    search.search(found.view, count.view)
    number = read_back(device, count)
    room = min(number, max_features) if max_features > 0 else number
    columns = empty_columns(device, room)
    rows = device.empty((room if describe else 0, search.descriptor_length), dtype)
    if number > 0:
        workspace = device.workspace(search.put_bytes(number))
        search.put(
            found.view, number, workspace.view,
            views_of(columns), count.view, rows.view if describe else None,
        )  # fmt: skip
    return Keypoints(*map(device.give, columns)), device.give(rows)


def kept_apart(
    device: Device, keypoints: Keypoints, distance: float, max_features: int, op: str
) -> Keypoints:
    """The strongest, then each that lies so far from all before it; up to ``max_features``, or 0 for all."""
    xy, response = (device.take(x, op, "keypoints", ("float32",)) for x in (keypoints.xy, keypoints.response))
    points = (device.stream, op, xy.view, response.view)
    keep, count = device.empty(response.shape, "int64"), device.empty((1,), "int64")
    workspace = device.workspace(device.kernels.keep_apart_workspace(*points))
    device.kernels.keep_apart(*points, distance, max_features, workspace.view, keep.view, count.view)
    return keypoints[device.give(keep)[: read_back(device, count)]]


def described_by(
    device: Device, description: _cuda.Description, keypoints: Keypoints, dtype: str
) -> tuple[Keypoints, Array]:
    """Those of the keypoints that can be described, and their descriptors."""
    n = len(keypoints)
    kept, count = device.empty((n,), "int64"), device.empty((1,), "int32")
    rows = device.empty((n, description.descriptor_length), dtype)
    workspace = device.workspace(description.workspace_bytes)
    description.run(workspace.view, kept.view, count.view, rows.view)
    number = read_back(device, count)
    return keypoints[device.give(kept)[:number]], device.give(rows)[:number]


def columns_on(device: Device, keypoints: Keypoints, op: str) -> list[Operand]:
    """Places, sizes, angles and octaves, dense."""
    dtypes = {"xy": "float32", "size": "float32", "angle": "float32", "octave": "int32"}
    return [device.take(getattr(keypoints, name), op, name, (dtype,)) for name, dtype in dtypes.items()]


def views_of(columns: list[Operand]) -> list[_cuda.DeviceArray]:
    """What the kernels take; the operands, which hold the memory, have to outlive the call."""
    return [column.view for column in columns]
