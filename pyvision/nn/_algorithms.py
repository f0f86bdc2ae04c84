# SPDX-License-Identifier: Apache-2.0
"""Which algorithm each convolution of a graph uses: the cost model's choice, or what was measured best."""

from __future__ import annotations

import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyvision import _core

_WINOGRAD = ("winograd_2x2", "winograd_4x4", "winograd_6x6")


def set_precision(graph: _core.Graph, precision: str) -> None:
    """Say it in the graph's convolutions, before it is optimised: blocks of several are fused in f32 only."""
    for index, node in enumerate(graph.nodes()):
        if node["op"] == "conv2d" and precision != "f32":
            graph.set_attribute(index, "precision", precision)


def set_algorithms(graph: _core.Graph, *, allow_winograd: bool, autotune: bool) -> None:
    """Say in the graph's convolutions what they may use, or, with ``autotune``, what was measured best."""
    cache = _Cache() if autotune else None
    for index, node in enumerate(graph.nodes()):
        if node["op"] not in ("conv2d", "conv_transpose2d"):
            continue
        if not allow_winograd:
            graph.set_attribute(index, "allow_winograd", 0)
        elif cache is not None and node["op"] == "conv2d" and _has_choice(node):
            graph.set_attribute(index, "algorithm", cache.best(graph.shape(node["inputs"][0]), node))
    if cache is not None:
        cache.save()


def _has_choice(node: Any) -> bool:
    attributes, weight_shape = node["attributes"], node["constants"]["weight"]
    return (
        weight_shape[2:] == (3, 3)
        and attributes["stride"] == attributes["dilation"] == [1, 1]
        and (attributes["groups"] == 1 or weight_shape[1] > 1)  # not depthwise
        and attributes.get("precision", "f32") == "f32"
    )


class _Cache:
    """Answers per CPU, instruction set, thread count and layer: a file of the user's cache folder."""

    def __init__(self) -> None:
        from platformdirs import user_cache_path

        from pyvision.profile.machine import describe_machine

        machine = describe_machine()
        self._path: Path = user_cache_path("pyvision") / "conv2d_algorithms.json"
        self._where = f"{_core.__version__} {machine.cpu} {machine.isa} {machine.threads} threads"
        self._known = self._read()
        self._news: dict[str, str] = {}

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):  # not there yet, or damaged: it is a cache, to be measured again
            return {}
        return known if isinstance(known, dict) else {}

    def best(self, input_shape: tuple[int, int, int], node: Any) -> str:
        h, w, _ = input_shape
        weight_shape, attributes = node["constants"]["weight"], node["attributes"]
        padding, groups = attributes["padding"], attributes["groups"]
        key = f"{self._where}: {h}x{w} {weight_shape[1] * groups}->{weight_shape[0]} padding {padding}"
        if groups > 1:
            key += f" groups {groups}"
        known = self._news.get(key, self._known.get(key))
        if known not in ("direct", *_WINOGRAD):
            known = self._news[key] = _measure(h, w, weight_shape, padding, groups)
        return known

    def save(self) -> None:
        """Add what was measured; another process may have written meanwhile, so that its answers are kept."""
        if not self._news:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self._path.parent, suffix=".json", delete=False) as file:
            json.dump(self._read() | self._news, file, indent=1)
        os.replace(file.name, self._path)


def _measure(h: int, w: int, weight_shape: tuple[int, ...], padding: list[int], groups: int) -> str:
    from pyvision.profile.timing import compare

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, h, w, weight_shape[1] * groups), dtype=np.float32)
    weight = rng.standard_normal(weight_shape, dtype=np.float32)
    runs = {}
    for algorithm in ("direct", *_WINOGRAD):
        conv = _core.Conv2d(weight, padding=padding, groups=groups, algorithm=algorithm)
        runs[algorithm] = partial(conv.run, x, None, conv.run(x))
    comparison = compare(runs, rounds=5, min_time=0.005)
    return min(runs, key=comparison.median_ms)
