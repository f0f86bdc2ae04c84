# SPDX-License-Identifier: Apache-2.0
"""Pictures, masks and options as the kernels take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from inspect import signature
from types import MethodType
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy
from pyvision.features.keypoints import Keypoints
from pyvision.ops._args import integer, real

_R = TypeVar("_R")
_GREY = (0.299, 0.587, 0.114)  # BT.601


class _Detects(Protocol[_R]):
    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...], mask: Array | None = None) -> list[_R]: ...
    @overload
    def __call__(self, image: Array, mask: Array | None = None) -> _R: ...


class _Describes(Protocol[_R]):
    @overload
    def __call__(self, image: Array, keypoints: Keypoints) -> _R: ...
    @overload
    def __call__(self, image: Array, keypoints: Sequence[Keypoints]) -> list[_R]: ...


def over_each(op: str, run: Callable[..., _R], **given: Any) -> _R | list[_R]:
    """``run`` with a picture and what goes beside it; a list of results where the first one is many pictures.

    These are a list, or an array (N, H, W) or (N, H, W, C): of three dimensions the last is colour where it
    is 1, 3 or 4. What goes beside is then a list of as many, an array of as many, or None for each.
    """
    (first, image), *beside = given.items()
    if not _is_many(image):
        return run(**given)
    columns = [image]
    for name, column in beside:
        many = [None] * len(image) if column is None else column
        if not isinstance(many, list | tuple) and len(_shape_of(many)) < 3:
            raise ValueError(f"[{op}] expected {name} for each picture of {first}, got one")
        if len(many) != len(image):
            raise ValueError(f"[{op}] expected {name} for each of {len(image)} pictures, got {len(many)}")
        columns.append(many)
    return [run(**dict(zip(given, row, strict=True))) for row in zip(*columns, strict=True)]


class _OverPictures(Generic[_R]):
    """Makes a method that takes a picture, and something beside it, take many as :func:`over_each` does."""

    def __init__(self, method: Callable[..., _R]) -> None:
        self._method = method
        update_wrapper(self, method)

    def __call__(self, owner: Any, image: Array, *beside: Any, **named: Any) -> Any:
        arguments = signature(self._method).bind(owner, image, *beside, **named)
        arguments.apply_defaults()
        _, *given = arguments.arguments.items()
        return over_each(type(owner).__name__, partial(self._method, owner), **dict(given))


class over_pictures(_OverPictures[_R]):
    """Of a detector: masks lie beside the pictures."""

    def __get__(self, detector: object, owner: type | None = None) -> _Detects[_R]:
        return self if detector is None else MethodType(self, detector)  # type: ignore[return-value]


class over_described_pictures(_OverPictures[_R]):
    """Of what describes: keypoints lie beside the pictures."""

    def __get__(self, descriptor: object, owner: type | None = None) -> _Describes[_R]:
        return self if descriptor is None else MethodType(self, descriptor)  # type: ignore[return-value]


def _is_many(image: Array) -> bool:
    if isinstance(image, list | tuple):
        return True
    shape = _shape_of(image)
    return len(shape) == 4 or (len(shape) == 3 and shape[2] not in (1, 3, 4))


def _shape_of(array: Array) -> tuple[int, ...]:
    """None where it is no array, which may have something else by that name."""
    shape = getattr(array, "shape", ())
    return shape if isinstance(shape, tuple) else ()


def grey_of(image: Array, op: str, name: str = "image") -> np.ndarray:
    """``image``, the argument ``name``, as grey uint8 (H, W) with contiguous rows; not copied where it is so.

    Raises:
        TypeError: ``image`` is not a uint8 or float32 array.
        ValueError: it has another shape, no pixels, or pixels that are not finite.
    """
    x = _picture(image, op, name)
    if x.dtype == np.float32:
        x = np.rint(x).clip(0, 255).astype(np.uint8)
    if x.ndim == 3:
        x = _core.to_grey(_with_contiguous_last(x)) if x.shape[2] > 1 else x[:, :, 0]
    return _with_contiguous_last(x)


def any_grey_of(image: Array, op: str) -> np.ndarray:
    """The same, but that float32 stays what it is, between -1e4 and 1e4."""
    x = _picture(image, op, "image")
    if x.dtype == np.uint8:
        return grey_of(x, op)
    if np.abs(x).max() > 1e4:
        raise ValueError(f"[{op}] expected image to have pixels on the scale 0 to 255, got {np.abs(x).max()}")
    if x.ndim == 3:
        x = x[:, :, :3] @ np.array(_GREY, np.float32) if x.shape[2] > 1 else x[:, :, 0]
    return _with_contiguous_last(x)


def _picture(image: Array, op: str, name: str) -> np.ndarray:
    x = as_numpy(image, op, name, ("uint8", "float32"))
    check_picture(x.shape, op, name)
    if x.dtype == np.float32 and not np.isfinite(x).all():
        raise ValueError(f"[{op}] expected {name} to have finite pixels, got NaN or infinity")
    return x


def check_picture(shape: tuple[int, ...], op: str, name: str) -> None:
    """Raises ValueError where ``shape`` is not that of a picture with pixels."""
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise ValueError(f"[{op}] expected {name} of shape (H, W) or (H, W, 1, 3 or 4), got {shape}")


def mask_of(mask: Array | None, shape: tuple[int, ...], op: str) -> np.ndarray | None:
    """``mask`` as uint8 of ``shape`` with contiguous rows.

    Raises:
        TypeError: ``mask`` is not a bool or uint8 array.
        ValueError: it has another shape.
    """
    if mask is None:
        return None
    m = as_numpy(mask, op, "mask", ("bool", "uint8"))
    check_mask(m.shape, shape, op)
    return _with_contiguous_last(m.view(np.uint8))


def check_mask(shape: tuple[int, ...], expected: tuple[int, ...], op: str) -> None:
    """Raises ValueError where ``shape`` is not that of the picture."""
    if shape != expected:
        raise ValueError(f"[{op}] expected mask of shape {expected}, got {shape}")


def keypoints_of(keypoints: Keypoints, op: str) -> Keypoints:
    """``keypoints`` if they are; raises TypeError otherwise."""
    if not isinstance(keypoints, Keypoints):
        raise TypeError(f"[{op}] expected keypoints to be Keypoints, got {type(keypoints).__name__}")
    return keypoints


def integer_in(value: int, op: str, name: str, least: int, most: int) -> int:
    """``value`` if it is an integer in [least, most]; raises TypeError or ValueError otherwise."""
    number = integer(value, op, name)
    if not least <= number <= most:
        raise ValueError(f"[{op}] expected {name} in [{least}, {most}], got {value}")
    return number


def real_in(value: float, op: str, name: str, least: float, most: float) -> float:
    """``value`` if it is a number in [least, most]; raises TypeError or ValueError otherwise."""
    number = real(value, op, name)
    if not least <= number <= most:
        raise ValueError(f"[{op}] expected {name} in [{least}, {most}], got {value}")
    return number


def count_of(max_features: int | None, op: str) -> int:
    """``max_features`` in [1, 2^30], or 0 for None: all."""
    return 0 if max_features is None else integer_in(max_features, op, "max_features", 1, 2**30)


def _with_contiguous_last(x: np.ndarray) -> np.ndarray:
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)
