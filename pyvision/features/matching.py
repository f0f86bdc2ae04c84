# SPDX-License-Identifier: Apache-2.0
"""Which descriptors of two pictures belong together, by brute force."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, dtype_name, result_like
from pyvision._device import Device, Operand, device_of, view_of
from pyvision.ops._args import flag, integer, real

_OP = "match"
_DTYPES = {"l2": "float32", "l1": "float32", "hamming": "uint8"}


@dataclass(frozen=True, eq=False)
class Matches:
    """M pairs of descriptors: row `indices[i, 0]` of the first array and `indices[i, 1]` of the second.

    By rising first index, and those of one by rising distance.
    """

    indices: Array  #: (M, 2) int64
    distances: Array  #: (M,) float32

    def __len__(self) -> int:
        return len(self.distances)

    def to_opencv(self) -> tuple[Any, ...]:
        """As `cv2.DMatch` objects. Raises ImportError where OpenCV is not installed."""
        import cv2

        rows = zip(np.asarray(self.indices).tolist(), np.asarray(self.distances).tolist(), strict=True)
        return tuple(cv2.DMatch(query, train, distance) for (query, train), distance in rows)


def match(
    a: Array,
    b: Array,
    *,
    metric: Literal["l2", "l1", "hamming"] | None = None,
    k: int = 1,
    ratio: float | None = None,
    cross_check: bool = False,
    max_distance: float | None = None,
    radius: float | None = None,
    approximate: bool = False,
) -> Matches:
    """For each row of ``a`` its nearest rows of ``b``, equal ones by rising index.

    Args:
        a: (N_a, d): float32, or uint8 of which every bit counts.
        b: (N_b, d), of the same type.
        metric: ``"l2"`` or ``"l1"`` for float32, ``"hamming"`` (bits that differ) for uint8; ``"l2"`` and
            ``"hamming"`` without. With ``"l2"``, rows whose distances agree to some 1e-6 of the squared norms
            may be chosen for each other.
        k: so many neighbours, or all where there are fewer.
        ratio: keep the nearest neighbour, if its distance is less than this, in (0, 1], times that of the
            second nearest. Where ``b`` has one row alone there is no second, and nothing is kept.
        cross_check: keep the nearest neighbour, if the row of ``a`` is also its nearest.
        max_distance: keep pairs this far apart or nearer.
        radius: instead of the nearest, all rows this far away or nearer.
        approximate: look in the likeliest cells of an inverted file only, where some neighbours are missed:
            pays from some 100,000 rows of ``b`` on. Needs faiss: ``pip install 'pyvision-kernels[ann]'``.

    On CUDA rows are not read back to be checked: those whose distance is not finite are no matches;
    ``radius`` and ``approximate`` are for the CPU.

    Raises:
        TypeError: an argument is not an array, or of another type.
        ValueError: shapes or metric contradict the arrays, a number is out of range, rows are not finite or
            so large that distances are not, ``k`` is given with ``ratio`` or ``cross_check``, or ``radius``
            with any of the others.
        ImportError: ``approximate``, and faiss is not installed.

    Sources: Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004, for ``ratio``;
    Sivic and Zisserman, "Video Google", ICCV 2003, for the inverted file.
    """
    dtypes = ("float32", "uint8")
    x: np.ndarray | Operand
    y: np.ndarray | Operand
    if device := device_of(_OP, a=a, b=b):
        x = device.take(a, _OP, "a", dtypes)
        dtype, y = x.dtype, device.take(b, _OP, "b", (x.dtype,))
    else:
        x = as_numpy(a, _OP, "a", dtypes)
        dtype = dtype_name(x.dtype)
        x, y = np.ascontiguousarray(x), np.ascontiguousarray(as_numpy(b, _OP, "b", (dtype,)))
    _check_rows(x, "a")
    _check_rows(y, "b")
    metric = metric or ("l2" if dtype == "float32" else "hamming")
    if metric not in _DTYPES:
        raise ValueError(f"[{_OP}] expected metric to be one of {', '.join(_DTYPES)}, got {metric!r}")
    if dtype != _DTYPES[metric]:
        raise ValueError(
            f"[{_OP}] expected a metric for {dtype}, got {metric!r}, which is for {_DTYPES[metric]}"
        )
    if x.shape[1] != y.shape[1] or x.shape[1] == 0:
        raise ValueError(f"[{_OP}] expected a and b to have rows of one length, got {x.shape} and {y.shape}")
    count = integer(k, _OP, "k")
    if count < 1:
        raise ValueError(f"[{_OP}] expected k of at least 1, got {k}")
    cross_check = flag(cross_check, _OP, "cross_check")
    if count > 1 and (ratio is not None or cross_check):
        raise ValueError(f"[{_OP}] expected k of 1 with ratio or cross_check, got {k}")
    if ratio is not None and not 0 < real(ratio, _OP, "ratio") <= 1:
        raise ValueError(f"[{_OP}] expected ratio in (0, 1], got {ratio}")
    if max_distance is not None and not real(max_distance, _OP, "max_distance") >= 0:
        raise ValueError(f"[{_OP}] expected max_distance of at least 0, got {max_distance}")

    approximate = flag(approximate, _OP, "approximate")
    if radius is not None:
        if not real(radius, _OP, "radius") >= 0:
            raise ValueError(f"[{_OP}] expected radius of at least 0, got {radius}")
        if count > 1 or ratio is not None or cross_check or max_distance is not None or approximate:
            raise ValueError(f"[{_OP}] expected radius alone, got other options as well")
    if device:
        if radius is not None or approximate:
            raise ValueError(f"[{_OP}] expected neither radius nor approximate on CUDA, got one of them")
        assert isinstance(x, Operand) and isinstance(y, Operand)
        return _match_on(device, x, y, metric, count, ratio, cross_check, max_distance)
    assert isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    if radius is not None:
        return _within(x, y, metric, radius, (a, b))
    find = _nearest_in_cells if approximate else _nearest
    distances, neighbours = find(x, y, metric, count if ratio is None else 2)
    keep = np.ones((len(x), min(count, neighbours.shape[1])), bool)
    if ratio is not None:
        if neighbours.shape[1] < 2:
            keep[:] = False
        else:
            keep[:, 0] = distances[:, 0] < np.float32(ratio) * distances[:, 1]
    if cross_check and keep.size:
        back = find(y, x, metric, 1)[1][:, 0]
        keep[:, 0] &= back[neighbours[:, 0]] == np.arange(len(x))
    keep &= neighbours[:, : keep.shape[1]] >= 0
    if max_distance is not None:
        keep &= distances[:, : keep.shape[1]] <= max_distance
    row, column = np.nonzero(keep)
    pairs = np.stack([row, neighbours[row, column]], axis=1)
    return Matches(result_like(pairs, a, b), result_like(distances[row, column], a, b))


def _nearest(x: np.ndarray, y: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices, (len(x), k) each, or fewer where ``y`` has not so many rows."""
    if len(x) == 0 or len(y) == 0:
        return np.zeros((len(x), 0), np.float32), np.zeros((len(x), 0), np.int64)
    return _core.match(x, y, metric, min(k, len(y)))


def _within(
    x: np.ndarray, y: np.ndarray, metric: str, radius: float, callers: tuple[Array, Array]
) -> Matches:
    """All pairs within ``radius``: ever more neighbours of those rows whose farthest one still is."""
    rows = np.arange(len(x))
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    k = 8
    while True:
        distances, neighbours = _nearest(x[rows], y, metric, k)
        inside = distances <= radius
        more = inside[:, -1] if k < len(y) and inside.size else np.zeros(len(rows), bool)
        row, column = np.nonzero(inside & ~more[:, None])
        found.append((rows[row], neighbours[row, column], distances[row, column]))
        if not more.any():
            break
        rows, k = rows[more], 4 * k
    query, train, apart = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(query, kind="stable")
    pairs = np.stack([query, train], axis=1)[order]
    return Matches(result_like(pairs, *callers), result_like(apart[order], *callers))


def _nearest_in_cells(x: np.ndarray, y: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """:func:`_nearest` among the rows of the likeliest cells; index -1 where these have not so many."""
    try:
        faiss: Any = import_module("faiss")
    except ImportError as error:
        raise ImportError(f"[{_OP}] approximate needs faiss: pip install 'pyvision-kernels[ann]'") from error
    for name, rows in (("a", x), ("b", y)):
        if rows.dtype == np.float32 and not np.isfinite(rows).all():
            raise ValueError(f"[{_OP}] expected {name} to be finite, got NaN or infinity")
    if len(x) == 0 or len(y) == 0:
        return _nearest(x, y, metric, k)
    cells = int(max(1, min(4 * len(y) ** 0.5, len(y) / 39)))  # k-means wants 39 rows or more for each
    if metric == "hamming":
        width = 8 * y.shape[1]
        index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(width), width, cells)
    else:
        kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_L1
        index = faiss.IndexIVFFlat(faiss.IndexFlat(y.shape[1], kind), y.shape[1], cells, kind)
    index.nprobe = max(1, -(-cells // 16))
    index.train(y)
    index.add(y)
    distances, neighbours = index.search(x, min(k, len(y)))
    distances = distances.astype(np.float32)
    return (np.sqrt(distances) if metric == "l2" else distances), neighbours


def _match_on(
    device: Device,
    x: Operand,
    y: Operand,
    metric: str,
    k: int,
    ratio: float | None,
    cross_check: bool,
    max_distance: float | None,
) -> Matches:
    """On CUDA; the number of matches is read back."""
    n_x, n_y = x.shape[0], y.shape[0]
    wanted = min(k if ratio is None else 2, n_y)
    if n_x == 0 or n_y == 0 or (ratio is not None and n_y < 2):
        return Matches(device.give(device.empty((0, 2), "int64")), device.give(device.empty((0,), "float32")))
    distances, neighbours = _nearest_on(device, x, y, metric, wanted)
    back = _nearest_on(device, y, x, metric, 1)[1] if cross_check else None
    taken = min(k, wanted)
    workspace = device.workspace(device.kernels.match_filter_workspace(n_x, taken))
    pairs, kept = device.empty((n_x * taken, 2), "int64"), device.empty((n_x * taken,), "float32")
    count = device.empty((1,), "int64")
    device.kernels.filter_matches(
        device.stream, distances.view, neighbours.view, taken, 0.0 if ratio is None else ratio, view_of(back),
        math.inf if max_distance is None else max_distance, workspace.view, pairs.view, kept.view, count.view,
    )  # fmt: skip
    number = int(device.give(count)[0])
    return Matches(device.give(pairs)[:number], device.give(kept)[:number])


def _nearest_on(device: Device, x: Operand, y: Operand, metric: str, k: int) -> tuple[Operand, Operand]:
    """Distances and indices, (rows of x, k) each."""
    workspace = device.workspace(device.kernels.match_workspace(device.stream, x.view, y.view, metric, k))
    shape = (x.shape[0], k)
    distances, indices = device.empty(shape, "float32"), device.empty(shape, "int64")
    device.kernels.match(
        device.stream, x.view, y.view, metric, k, workspace.view, distances.view, indices.view
    )
    return distances, indices


def _check_rows(x: np.ndarray | Operand, name: str) -> None:
    if len(x.shape) != 2:
        raise ValueError(f"[{_OP}] expected {name} of shape (N, d), got {x.shape}")
