# SPDX-License-Identifier: Apache-2.0
"""Symbolic values: what flows through a network while it is traced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pyvision import _core

Attributes = Mapping[str, "int | float | str | list[int]"]


class Tracer:
    """The graph being recorded, and which module is recording."""

    def __init__(self, module_names: Mapping[int, str]) -> None:
        self.graph = _core.Graph()
        self._module_names = module_names  # by id of the module
        self._scope = ""

    @contextmanager
    def scope(self, module: object) -> Iterator[None]:
        """Nodes recorded inside are named after ``module``."""
        outer = self._scope
        self._scope = self._module_names.get(id(module), outer)
        try:
            yield
        finally:
            self._scope = outer

    def input(self, h: int, w: int, c: int, rank: int) -> Value:
        return Value(self, self.graph.add_input(h, w, c), rank)

    def node(
        self,
        op: str,
        inputs: Sequence[Value],
        attributes: Attributes | None = None,
        constants: Mapping[str, np.ndarray] | None = None,
        rank: int | None = None,
    ) -> list[Value]:
        """Record a node; its outputs have ``rank`` axes, by default as many as the first input."""
        for value in inputs:
            if value.tracer is not self:
                raise ValueError(f"[{op}] expected values of one traced call, got one of another")
        ids = self.graph.add_node(
            op, [value.id for value in inputs], dict(attributes or {}), dict(constants or {}), self._scope
        )
        return [Value(self, id, inputs[0].rank if rank is None else rank) for id in ids]


class Value:
    """A feature map (N, C, H, W), or features (N, C), whose numbers are not known yet.

    Modules called on a value record what they would compute. Values add and multiply with values of the same
    shape, with (N, C, 1, 1) gates, and with numbers.
    """

    __slots__ = ("id", "rank", "tracer")

    def __init__(self, tracer: Tracer, id: int, rank: int) -> None:
        self.tracer = tracer
        self.id = id
        self.rank = rank

    @property
    def shape(self) -> tuple[int | None, ...]:
        """(None, C, H, W) or (None, C): the batch size is known only when the network runs."""
        h, w, c = self.map_shape
        return (None, c, h, w) if self.rank == 4 else (None, c)

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(H, W, C)"""
        return self.tracer.graph.shape(self.id)

    def __repr__(self) -> str:
        return f"Value(shape={self.shape})"

    def __add__(self, other: Value | float) -> Value:
        return self._combine("add", other)

    def __mul__(self, other: Value | float) -> Value:
        return self._combine("mul", other)

    __radd__ = __add__
    __rmul__ = __mul__

    def _combine(self, op: str, other: Any) -> Value:
        if isinstance(other, int | float):
            channels = self.map_shape[2]
            scale, shift = (other, 0.0) if op == "mul" else (1.0, other)
            return self.affine(np.full(channels, scale, np.float32), np.full(channels, shift, np.float32))
        if not isinstance(other, Value):
            return NotImplemented
        if self.rank != other.rank:
            raise ValueError(f"[{op}] expected values of one rank, got shapes {self.shape} and {other.shape}")
        # The engine broadcasts its second input.
        large, small = (self, other) if _pixels(self) >= _pixels(other) else (other, self)
        return self.tracer.node(op, [large, small])[0]

    def affine(self, scale: np.ndarray, shift: np.ndarray) -> Value:
        """scale[c] * self + shift[c]"""
        return self.tracer.node("batch_norm", [self], constants={"scale": scale, "shift": shift})[0]


def find_value(structure: Any) -> Value | None:
    """The first value in nested tuples, lists and dicts."""
    if isinstance(structure, Value):
        return structure
    if isinstance(structure, dict):
        structure = tuple(structure.values())
    if isinstance(structure, list | tuple):
        return next((value for value in map(find_value, structure) if value is not None), None)
    return None


def _pixels(value: Value) -> int:
    h, w, _ = value.map_shape
    return h * w
