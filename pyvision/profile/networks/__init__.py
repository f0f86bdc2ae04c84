# SPDX-License-Identifier: Apache-2.0
"""The convolutions of well-known networks: each different one once, with how often it occurs.

The JSON files beside this one are written by tools/conv_networks.py from the networks' own modules. A file of
one's own has the same form: "title", "source", and "layers", each with the fields of ConvCase (those that
have a default may be left out) and "count".
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyvision.profile.peers import ConvCase

_FOLDER = Path(__file__).parent
_FIELDS = {field.name: field for field in dataclasses.fields(ConvCase) if field.name != "batch"}
_REQUIRED = {name for name, field in _FIELDS.items() if field.default is dataclasses.MISSING}


@dataclass(frozen=True)
class Layer:
    problem: ConvCase
    count: int


@dataclass(frozen=True)
class Network:
    name: str
    title: str
    source: str  # where the shapes come from, and the input's size
    layers: tuple[Layer, ...]


def list_networks() -> list[str]:
    """Names that :func:`load_network` takes."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_network(name: str) -> Network:
    """The layers of a network by name, or of a file whose name ends in .json.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no such network, or the file does not describe one.
    """
    if name.endswith(".json"):
        path = Path(name)
    elif name in list_networks():
        path = _FOLDER / f"{name}.json"
    else:
        raise ValueError(
            f"[load_network] expected one of {', '.join(list_networks())} or a .json file, got {name!r}"
        )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"[load_network] expected {name} to be JSON, got {error}") from error
    if not isinstance(content, dict) or content.keys() != {"title", "source", "layers"}:
        raise ValueError(f"[load_network] expected {name} to hold an object of title, source and layers")
    if not isinstance(content["layers"], list) or not content["layers"]:
        raise ValueError(f"[load_network] expected layers of {name} to be a list of at least one")
    layers = tuple(_layer(row, f"layer {i} of {name}") for i, row in enumerate(content["layers"]))
    return Network(path.stem, str(content["title"]), str(content["source"]), layers)


def _layer(row: Any, what: str) -> Layer:
    if not isinstance(row, dict) or not (_REQUIRED | {"count"} <= row.keys() <= _FIELDS.keys() | {"count"}):
        names = ", ".join((*_FIELDS, "count"))
        raise ValueError(f"[load_network] expected {what} to be an object of {names}, got {row}")
    values = dict(row)
    padding = values.setdefault("padding", [0, 0, 0, 0])
    if not isinstance(padding, list) or len(padding) != 4 or not all(_is_integer(p, 0) for p in padding):
        raise ValueError(f"[load_network] expected padding of {what} to be 4 integers >= 0, got {padding}")
    values["padding"] = tuple(padding)
    for name, value in row.items():
        if name != "padding" and not _is_integer(value, 1):
            raise ValueError(f"[load_network] expected {name} of {what} to be an integer >= 1, got {value}")
    count = values.pop("count")
    problem = ConvCase(**values)
    if problem.in_channels % problem.groups or problem.out_channels % problem.groups:
        raise ValueError(f"[load_network] expected channels of {what} in {problem.groups} groups, got {row}")
    if min(problem.out_size) < 1:
        raise ValueError(f"[load_network] expected the kernel of {what} to fit its padded input, got {row}")
    return Layer(problem, count)


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
