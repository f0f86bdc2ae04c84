# SPDX-License-Identifier: Apache-2.0
"""The profile harness: what it reports, not how fast anything is."""

from __future__ import annotations

import io
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pyvision import _core, models
from pyvision.profile import (
    Case,
    Comparison,
    Peak,
    Report,
    compare,
    describe_machine,
    measure_peak,
    profile_layers,
)
from pyvision.profile.peers import PEERS, ConvCase, Unavailable, prepare_all
from tests._process import output_of
from tests.helpers import random

# In every round "peer" takes twice as long, while the machine itself drifts by a factor of ten.
DRIFTING = Comparison(
    {"pyvision": np.array([1e-3, 1e-2, 5e-3]), "peer": np.array([2e-3, 2e-2, 1e-2]), "loser": np.full(3, 9.0)}
)


def test_paired_ratios_cancel_what_both_suffer() -> None:
    ratio = DRIFTING.ratio("pyvision", "peer")
    assert (ratio.median, ratio.p10, ratio.p90) == pytest.approx((0.5, 0.5, 0.5))
    assert DRIFTING.median_ms("pyvision") == 5.0
    assert DRIFTING.to_dict()["peer"] == pytest.approx(
        {"median_ms": 10.0, "min_ms": 2.0, "p10_ms": 3.6, "p90_ms": 18.0, "rounds": 3}
    )


def test_compare_times_each_in_every_round_in_turn() -> None:
    calls: list[str] = []

    def sleeper(name: str) -> None:
        calls.append(name)
        time.sleep(0.002)

    names = ("a", "b", "c")
    result = compare({n: lambda n=n: sleeper(n) for n in names}, rounds=3, min_time=0.001)
    assert {name: len(values) for name, values in result.seconds.items()} == dict.fromkeys(names, 3)
    assert all((values >= 0.002).all() for values in result.seconds.values())
    # Three calls of each to warm up; in a round, one to come back and one that counts.
    order = calls[9::2]
    assert "".join(order) == "abc" + "bca" + "cab"


def test_compare_repeats_short_calls() -> None:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    compare({"count": count}, rounds=2, min_time=0.002)
    assert calls > 20


@pytest.mark.parametrize(
    ("candidates", "options"),
    [({}, {}), ({"a": print}, {"rounds": 0}), ({"a": print}, {"min_time": 0.0})],
)
def test_compare_refuses(candidates: dict[str, object], options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^\[compare\] expected "):
        compare(candidates, **options)


def test_peaks_of_every_isa(isa: str, threads: int) -> None:
    peak = measure_peak(threads=threads, seconds=0.01)
    assert 0.1 < peak.gflops < 1e5
    assert 0.1 < peak.copy_gbs < 1e5


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        ("run_fma_chains", (0, 1), "repetitions"),
        ("run_fma_chains", (2**40, 1), "repetitions"),
        ("run_fma_chains", (1, 0), "threads"),
        ("run_fma_chains", (1, 5000), "threads"),
        ("measure_copy_bandwidth", (1 << 20, 0.0, 1), "seconds"),
        ("measure_copy_bandwidth", (1 << 20, math.nan, 1), "seconds"),
        ("measure_copy_bandwidth", (0, 0.01, 1), "bytes"),
        ("measure_copy_bandwidth", (2**60, 0.01, 1), "bytes"),
    ],
)
def test_measurements_refuse(function: str, arguments: tuple[float, ...], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^\[{function}\] expected {name} in .*, got "):
        getattr(_core, function)(*arguments)


def test_the_machine_says_what_it_is() -> None:
    machine = describe_machine(["numpy", "no-such-package"])
    assert (machine.isa, machine.threads) == (_core.isa(), _core.num_threads())
    assert machine.versions["numpy"] == np.__version__
    assert "no-such-package" not in machine.versions
    assert machine.kind == machine.kind.lower()
    assert "/" not in machine.kind
    json.dumps(machine.to_dict())


def _report(name: str = "case") -> Report:
    case = Case(name, DRIFTING, Peak(100.0, 20.0), gflop=0.25, absent={"other": "it is not installed"})
    return Report("bench", describe_machine(), [case])


def test_a_case_is_rated_against_the_peak() -> None:
    (case,) = _report().cases
    assert case.rate == pytest.approx(50.0)
    assert case.percent_of_peak == pytest.approx(50.0)
    assert case.best_peer == "peer"
    moved = Case("copy", DRIFTING, Peak(100.0, 20.0), gbyte=0.05)
    assert (moved.rate, moved.percent_of_peak) == pytest.approx((10.0, 50.0))
    both = Case("both", DRIFTING, Peak(100.0, 20.0), gflop=0.25, gbyte=0.01)
    assert (both.percent_of_peak, both.percent_of_copy) == pytest.approx((50.0, 10.0))


def test_the_table_names_times_ratios_and_who_is_absent() -> None:
    text = io.StringIO()
    _report().print(Console(file=text, width=160))
    for part in ("5.000", "10.000", "0.50 (0.50–0.50)", "50.0 GFLOP/s", "absent: other: it is not installed"):
        assert part in text.getvalue()


def test_runs_of_another_thread_count_stay_in_the_file(tmp_path: Path) -> None:
    before = _core.num_threads()
    try:
        for count, name in ((1, "one"), (2, "two"), (1, "one again")):
            _core.set_num_threads(count)
            path = _report(name).save(tmp_path)
    finally:
        _core.set_num_threads(before)
    content = json.loads(path.read_text())
    assert path.parent.name == describe_machine().kind
    assert content["schema"] == 1
    cases = {run: [case["name"] for case in data["cases"]] for run, data in content["runs"].items()}
    isa = _core.isa()
    assert cases == {f"{isa}, 1 thread": ["one again"], f"{isa}, 2 threads": ["two"]}


@pytest.mark.parametrize("name", models.list_models())
def test_layers_of_a_model(name: str) -> None:
    report = profile_layers(models.get_model(name), runs=2)
    content = json.loads(json.dumps(report.to_dict()))
    assert content["milliseconds"] > 0
    assert sum(layer["gflop"] for layer in content["layers"]) == pytest.approx(content["gflop"])
    assert any(
        layer["op"].startswith("conv2d") and layer["percent_of_peak"] > 0 for layer in content["layers"]
    )
    assert report.table().row_count == len(report.layers) + 1


def test_the_command_prints_json() -> None:
    call = "main(['profile', 'selfie_segmentation', '--json', '--threads', '1'])"
    content = json.loads(output_of(f"import sys; from pyvision.cli import main; sys.exit({call})"))
    assert content["model"] == "SelfieSegmentation"
    assert content["machine"]["threads"] == 1


CONV = ConvCase(9, 7, 4, 6, kernel=3, stride=2, padding=(1, 1, 1, 1))


def test_the_work_of_a_convolution() -> None:
    assert CONV.out_size == (5, 4)
    assert CONV.gflop == pytest.approx(2e-9 * 5 * 4 * 6 * 4 * 9)
    assert CONV.gbyte == pytest.approx(4e-9 * (9 * 7 * 4 + 5 * 4 * 6 + 6 * 4 * 9))
    assert replace(CONV, dilation=2).out_size == (4, 3)
    depthwise = replace(CONV, out_channels=4, groups=4, batch=2)
    assert depthwise.gflop == pytest.approx(2e-9 * 2 * 5 * 4 * 4 * 9)
    assert depthwise.gbyte == pytest.approx(4e-9 * (2 * (9 * 7 * 4 + 5 * 4 * 4) + 4 * 9))


def test_names_of_convolutions() -> None:
    assert CONV.name == "3x3/2 9x7 4→6"
    assert replace(CONV, width=9, stride=1, dilation=2, groups=2).name == "3x3 9² 4→6, dilation 2, 2 groups"
    assert replace(CONV, groups=4, out_channels=4, batch=3).name == "3x3/2 9x7 4→4, depthwise, batch 3"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
@pytest.mark.parametrize(("groups", "dilation"), [(1, 1), (2, 1), (4, 1), (1, 2)])
def test_peers_compute_the_same_convolution(peer: object, groups: int, dilation: int) -> None:
    out_channels = 4 if groups == 4 else 6
    case = ConvCase(9, 7, 4, out_channels, 3, 2, (1, 1, 1, 1), dilation, groups)
    x, weight, bias = random((1, 4, 9, 7)), random(case.weight_shape), random((out_channels,))
    ready, absent = prepare_all([peer], lambda chosen: chosen.conv2d(case, weight, bias, x, 1))
    if absent:
        pytest.skip(next(iter(absent.values())))
    (prepared,) = ready.values()
    prepared.run()
    (y,) = prepared.outputs()
    layer = _core.Conv2d(weight, bias, (2, 2), (1, 1, 1, 1), (dilation, dilation), groups)
    ours = layer.run(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(y.reshape(ours.shape), ours, atol=1e-4)


def test_an_absent_peer_says_why() -> None:
    class Missing:
        name = "missing"

        def conv2d(self) -> None:
            raise Unavailable("it is not installed")

    assert prepare_all([Missing()], lambda peer: peer.conv2d()) == ({}, {"missing": "it is not installed"})
