# SPDX-License-Identifier: Apache-2.0
"""Keypoints: where something was found in a picture, how large it is and which way it points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from pyvision._array import Array, as_numpy
from pyvision._device import Device, device_of

Floats = npt.NDArray[np.float32]
_OP = "Keypoints"
_DEFAULTS = {"size": 1, "angle": -1, "response": 0, "octave": 0}


@dataclass(frozen=True, eq=False)
class Keypoints:
    """N keypoints as arrays of length N: NumPy's, or the caller's where ``xy`` lies on CUDA.

    There they are not read back, so that nothing but types and shapes is checked.

    Args:
        xy: (N, 2) float32, finite. Pixels; the centre of the top-left one is (0, 0).
        size: (N,) float32, finite: diameters in pixels; 1 each without.
        angle: (N,) float32, finite: degrees in [0, 360), clockwise on screen, -1 where undefined; -1 each
            without.
        response: (N,) float32: how strong; 0 each without.
        octave: (N,) int32: the pyramid's level; 0 each without.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: an array has another shape or a number that is not finite.
    """

    xy: Floats
    size: Floats
    angle: Floats
    response: Floats
    octave: npt.NDArray[np.int32]

    def __init__(
        self,
        xy: Array,
        size: Array | None = None,
        angle: Array | None = None,
        response: Array | None = None,
        octave: Array | None = None,
    ) -> None:
        given = {"xy": xy, "size": size, "angle": angle, "response": response, "octave": octave}
        if device := device_of(_OP, **given):
            self._hold(_columns_on(device, **given))
            return
        points = np.ascontiguousarray(as_numpy(xy, _OP, "xy"))
        _check_points(points.shape)
        columns = {"xy": points}
        for name, default in _DEFAULTS.items():
            columns[name] = _column(given[name], name, len(points), default)
        for name in ("xy", "size", "angle"):
            if not np.isfinite(columns[name]).all():
                raise ValueError(f"[{_OP}] expected {name} to be finite, got NaN or infinity")
        self._hold(columns)

    def _hold(self, columns: dict[str, Array]) -> None:
        for name, column in columns.items():
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return int(self.xy.shape[0])

    def __getitem__(self, which: SupportsIndex | slice | npt.NDArray[Any]) -> Keypoints:
        """Those that a slice, a mask or indices choose, in that order; an integer chooses one."""
        if isinstance(which, SupportsIndex) and getattr(which, "ndim", 0) == 0:  # arrays support it too
            index = range(len(self))[which]
            which = slice(index, index + 1)
        return Keypoints(
            self.xy[which], self.size[which], self.angle[which], self.response[which], self.octave[which]
        )

    def __repr__(self) -> str:
        return f"Keypoints({len(self)})"

    def to_opencv(self) -> tuple[Any, ...]:
        """As `cv2.KeyPoint` objects. Raises ImportError where OpenCV is not installed."""
        import cv2

        columns = (self.size, self.angle, self.response, self.octave)
        return tuple(
            cv2.KeyPoint(x, y, size, angle, response, octave)
            for (x, y), size, angle, response, octave in zip(
                self.xy.tolist(), *(column.tolist() for column in columns), strict=True
            )
        )

    @classmethod
    def from_opencv(cls, keypoints: Iterable[Any]) -> Keypoints:
        """From `cv2.KeyPoint` objects. Of an octave in which SIFT packs more, the octave itself is kept."""
        rows = [(*k.pt, k.size, k.angle, k.response) for k in keypoints]
        table = np.array(rows, np.float32).reshape(-1, 5)
        packed = np.array([k.octave for k in keypoints], np.int32)
        octave = (packed & 255).astype(np.uint8).view(np.int8).astype(np.int32)
        return cls(table[:, :2], table[:, 2].copy(), table[:, 3].copy(), table[:, 4].copy(), octave)


def _dtype(name: str) -> str:
    return "int32" if name == "octave" else "float32"


def _column(values: Array | None, name: str, length: int, default: float) -> np.ndarray:
    dtype = _dtype(name)
    if values is None:
        return np.full(length, default, dtype)
    column = np.ascontiguousarray(as_numpy(values, _OP, name, (dtype,)))
    _check_column(column.shape, name, length)
    return column


def _columns_on(device: Device, xy: Array, **others: Array | None) -> dict[str, Array]:
    """The columns on the device, with defaults where there are none."""
    points = device.take(xy, _OP, "xy", ("float32",))
    _check_points(points.shape)
    columns = {"xy": device.give(points)}
    for name, default in _DEFAULTS.items():
        values, dtype = others[name], _dtype(name)
        if values is None:
            columns[name] = device.give(device.full((points.shape[0],), default, dtype))
        else:
            column = device.take(values, _OP, name, (dtype,))
            _check_column(column.shape, name, points.shape[0])
            columns[name] = device.give(column)
    return columns


def _check_points(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[1] != 2:
        raise ValueError(f"[{_OP}] expected xy of shape (N, 2), got {shape}")


def _check_column(shape: tuple[int, ...], name: str, length: int) -> None:
    if shape != (length,):
        raise ValueError(f"[{_OP}] expected {name} of shape ({length},), got {shape}")
