# SPDX-License-Identifier: Apache-2.0
"""`pyvision profile conv2d`: its networks, its errors against float64, its table, JSON and pictures."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyvision import models
from pyvision.profile import (
    Budget,
    Case,
    Comparison,
    ConvReport,
    ConvTime,
    Layer,
    Network,
    Peak,
    choose_layers,
    describe_machine,
    list_networks,
    load_network,
    profile_layers,
    time_conv2d,
)
from pyvision.profile.conv2d import DIRECT, float64_at
from pyvision.profile.peers import ConvCase, Floats, Peer, Prepared, Unavailable
from tests._process import run_python
from tests.helpers import random
from tests.reference import conv as reference

SHORT = Budget(rounds=1, min_time=1e-4, peak_time=0.01)


# GMAC as torchvision states them for these weights, less those of the last linear layer.
@pytest.mark.parametrize(
    ("name", "convolutions", "gmac"),
    [
        ("resnet50", 53, 4.089 - 0.002),
        ("resnext50_32x4d", 53, 4.230 - 0.002),
        ("vgg16", 13, 15.470 - 0.124),
        ("mobilenet_v2", 52, 0.301 - 0.0013),
        ("efficientnet_b0", 81, 0.386 - 0.0013),
    ],
)
def test_networks_have_their_published_work(name: str, convolutions: int, gmac: float) -> None:
    layers = load_network(name).layers
    assert sum(layer.count for layer in layers) == convolutions
    assert sum(layer.count * layer.problem.gflop for layer in layers) / 2 == pytest.approx(gmac, rel=3e-3)


def test_nanodet_has_the_work_of_the_model_itself() -> None:
    steps = profile_layers(models.get_model("nanodet_g"), runs=1).layers
    expected = sum(step.gflop for step in steps if step.op.startswith("conv2d"))
    layers = load_network("nanodet_g").layers
    assert sum(layer.count * layer.problem.gflop for layer in layers) == pytest.approx(expected)


def test_deeplabv3_is_dilated() -> None:
    layers = load_network("deeplabv3").layers
    assert {layer.problem.dilation for layer in layers} == {1, 2, 4, 12, 24, 36}
    assert all(layer.problem.out_size == (65, 65) for layer in layers if layer.problem.dilation > 1)


@pytest.mark.parametrize("name", list_networks())
def test_layers_have_names_of_their_own(name: str) -> None:
    network = load_network(name)
    assert network.name == name
    assert len({layer.problem.name for layer in network.layers}) == len(network.layers)


LAYER = {"height": 8, "width": 8, "in_channels": 4, "out_channels": 4, "kernel": 3, "count": 1}


def _write(folder: Path, layers: Any, **others: Any) -> str:
    path = folder / "tiny.json"
    path.write_text(json.dumps({"title": "Tiny", "source": "a test", "layers": layers, **others}))
    return str(path)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "layers of .* at least one"),
        ({}, "layers of .* at least one"),
        ([1], "layer 0 of .* an object of height, "),
        ([{**LAYER, "kernel_size": 3}], "layer 0 of .* an object of height, "),
        ([LAYER, {"height": 8}], "layer 1 of .* an object of height, "),
        ([{**LAYER, "stride": 0}], "stride of layer 0 of .* integer >= 1, got 0"),
        ([{**LAYER, "kernel": 3.0}], "kernel of layer 0 of .* integer >= 1, got 3.0"),
        ([{**LAYER, "count": True}], "count of layer 0 of .* integer >= 1, got True"),
        ([{**LAYER, "padding": 1}], "padding of layer 0 of .* 4 integers >= 0, got 1"),
        ([{**LAYER, "padding": [1, 1, 1, -1]}], "padding of layer 0 of .* 4 integers >= 0, got"),
        ([{**LAYER, "groups": 3}], "channels of layer 0 of .* in 3 groups, got"),
        ([{**LAYER, "dilation": 4}], "the kernel of layer 0 of .* to fit its padded input, got"),
    ],
)
def test_files_of_no_network_are_refused(tmp_path: Path, layers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^\[load_network\] expected {message}"):
        load_network(_write(tmp_path, layers))


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected one of deeplabv3, .* or a \.json file, got 'resnet'"):
        load_network("resnet")
    with pytest.raises(FileNotFoundError):
        load_network(str(tmp_path / "absent.json"))
    with pytest.raises(ValueError, match="an object of title, source and layers"):
        load_network(_write(tmp_path, [LAYER], author="someone"))
    for content in (b"{", b"\xff"):
        (tmp_path / "broken.json").write_bytes(content)
        with pytest.raises(ValueError, match="to be JSON, got"):
            load_network(str(tmp_path / "broken.json"))
    with pytest.raises(ValueError, match=r"^\[choose_layers\] expected a part of .*, got 'nothing'"):
        choose_layers(load_network("vgg16"), containing="nothing")


def test_layers_are_chosen_by_name_and_take_a_batch() -> None:
    chosen = choose_layers(load_network("resnet50"), containing="7x7/2", batch=3)
    assert [layer.problem.name for layer in chosen.layers] == ["7x7/2 224² 3→64, batch 3"]


PROBLEMS = {
    "padded": ConvCase(6, 9, 5, 7, 3, 1, (1, 1, 1, 1)),
    "lopsided and strided": ConvCase(9, 6, 3, 4, 4, 2, (0, 1, 2, 3)),
    "dilated": ConvCase(12, 11, 4, 6, 3, 1, (4, 4, 4, 4), dilation=4),
    "grouped": ConvCase(7, 7, 6, 9, 3, 1, (1, 1, 1, 1), groups=3),
    "depthwise, two images": ConvCase(8, 8, 5, 5, 5, 2, (2, 2, 2, 2), groups=5, batch=2),
}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_float64_is_that_of_the_definition(problem: ConvCase) -> None:
    x = random((problem.batch, problem.height, problem.width, problem.in_channels))
    weight, bias = random(problem.weight_shape, seed=1), random((problem.out_channels,), seed=2)
    expected, _ = reference.conv2d(
        x,
        weight,
        bias,
        stride=(problem.stride,) * 2,
        padding=problem.padding,
        dilation=(problem.dilation,) * 2,
        groups=problem.groups,
    )
    everywhere = tuple(index.ravel() for index in np.indices((problem.batch, *problem.out_size)))
    actual = float64_at(problem, x, weight, bias, everywhere)
    np.testing.assert_allclose(actual, expected.reshape(actual.shape), rtol=0, atol=1e-12)


class Fake(Peer):
    """Computes the convolution in float64, off by `offset`."""

    key = package = "fake"

    def __init__(self, name: str, offset: float) -> None:
        self.name, self._offset = name, offset

    def conv2d(self, case: ConvCase, weight: Floats, bias: Floats, x: Floats, threads: int) -> Prepared:
        window = {"stride": (case.stride,) * 2, "padding": case.padding, "groups": case.groups}
        y, _ = reference.conv2d(x.transpose(0, 2, 3, 1), weight, bias, **window)
        result = (y + self._offset).astype(np.float32).transpose(0, 3, 1, 2)
        return Prepared(lambda: None, lambda: [result])


class Missing(Fake):
    def conv2d(self, *_: object) -> Prepared:
        raise Unavailable("it is not installed")


@pytest.mark.parametrize("problem", [p for p in PROBLEMS.values() if p.dilation == 1], ids=lambda p: p.name)
def test_a_layer_is_timed_and_its_error_measured(problem: ConvCase, isa: str) -> None:
    peers = [Fake("right", 0.0), Fake("slightly off", 5e-4), Fake("wrong", 0.01), Missing("missing", 0.0)]
    result = time_conv2d(problem, peers, budget=SHORT)
    assert result.case.absent == {"wrong": "its outputs differ from ours", "missing": "it is not installed"}
    assert set(result.case.times.seconds) == {"pyvision", "right", "slightly off"}
    assert 0 <= result.max_error["pyvision"] < 1e-5
    assert 0 <= result.max_error["right"] < 1e-6
    assert result.max_error["slightly off"] == pytest.approx(5e-4, rel=1e-2)
    assert result.to_dict()["problem"]["out_size"] == problem.out_size


def test_direct_error_stands_beside_winograds() -> None:
    problem = ConvCase(16, 16, 64, 64, 3, 1, (1, 1, 1, 1))
    result = time_conv2d(problem, algorithm="winograd_4x4", budget=SHORT)
    assert result.algorithm == "winograd_4x4"
    assert 0 < result.max_error[DIRECT] < result.max_error["pyvision"] < 1e-4
    assert DIRECT not in time_conv2d(problem, algorithm="direct", budget=SHORT).max_error


def _report() -> ConvReport:
    """Two layers, two and three times: ours takes 1/2 and 1/4 of a's time; b can do the first alone."""
    cases = [ConvCase(8, 8, 4, 4, 3), ConvCase(4, 4, 8, 8, 1)]
    seconds = [{"pyvision": 1e-3, "a": 2e-3, "b": 1e-2}, {"pyvision": 1e-3, "a": 4e-3}]
    times = []
    for case, row in zip(cases, seconds, strict=True):
        comparison = Comparison({name: np.array([value]) for name, value in row.items()})
        absent = {} if "b" in row else {"b": "it is not installed"}
        timed = Case(case.name, comparison, Peak(10.0, 10.0), case.gflop, case.gbyte, absent=absent)
        times.append(ConvTime(case, "direct", timed, {"pyvision": 1e-6}))
    layers = tuple(Layer(case, count) for case, count in zip(cases, (2, 3), strict=True))
    return ConvReport(Network("tiny", "Tiny", "a test", layers), describe_machine(), times)


def test_means_are_geometric_and_sums_count_repeats() -> None:
    report = _report()
    assert report.geomean() == report.geomean("a") == pytest.approx(math.sqrt(0.5 * 0.25))
    assert report.geomean("b") == pytest.approx(0.1)
    assert report.geomean("c") is None
    assert report.total_ms("pyvision") == pytest.approx(5.0)
    assert report.total_ms("a") == pytest.approx(2 * 2 + 3 * 4)
    assert report.total_ms("b") is None
    assert report.table().row_count == 4


def _cli(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    argv = ["profile", *map(str, arguments)]
    return run_python(f"import sys; {before}\nfrom pyvision.cli import main\nsys.exit(main({argv!r}))")


TINY = [
    LAYER | {"padding": [1, 1, 1, 1], "count": 2},
    LAYER | {"in_channels": 8, "out_channels": 8, "groups": 8, "stride": 2},
    LAYER | {"in_channels": 8, "out_channels": 8, "groups": 2},
    LAYER | {"dilation": 2},
]
FEW = ("--rounds", 1, "--threads", 1)


def test_bf16(tmp_path: Path) -> None:
    network, saved = _write(tmp_path, TINY), tmp_path / "out.json"
    done = _cli("conv2d", "--network", network, *FEW, "--precision", "bf16", "--json", saved)
    assert done.returncode == 0, done.stderr
    content = json.loads(saved.read_text())
    assert content["precision"] == "bf16"
    for layer in content["layers"]:
        assert layer["ratios"].keys() | layer["absent"].keys() == {
            "torch channels_last bf16",
            "OpenVINO bf16",
        }
    errors = [layer["max_error"]["pyvision"] for layer in content["layers"]]
    assert 1e-4 < max(errors) < 0.1  # 8 bits of operands


def test_the_command_prints_a_table_and_saves_json(tmp_path: Path) -> None:
    network, saved = _write(tmp_path, TINY), tmp_path / "out.json"
    done = _cli("conv2d", "--network", network, "--peers", "torch,ncnn", *FEW, "--json", saved)
    assert done.returncode == 0, done.stderr
    content = json.loads(saved.read_text())
    assert list(content) == ["schema", "op", "precision", "network", "machine", "summary", "layers"]
    assert content["network"] == {"name": "tiny", "title": "Tiny", "source": "a test"}
    assert content["machine"]["threads"] == 1
    peers = {"torch channels_last", "ncnn"}
    assert set(content["summary"]["geomean"]) == peers
    assert set(content["summary"]["total_ms"]) == {"pyvision", *peers}
    assert [layer["count"] for layer in content["layers"]] == [2, 1, 1, 1]
    for layer in content["layers"]:
        assert layer["name"] in done.stdout
        assert layer["algorithm"] in done.stdout
        assert layer["percent_of_peak"] > 0
        assert layer["times"]["pyvision"]["rounds"] == 1
        assert layer["ratios"].keys() | layer["absent"].keys() == peers
        assert layer["max_error"].keys() >= {"pyvision", *layer["ratios"]}
        assert max(layer["max_error"].values()) < 1e-5
        for peer, reason in layer["absent"].items():
            assert f"absent: {peer}: {reason}" in done.stdout
    assert "geometric mean" in done.stdout


def test_the_command_prints_json_alone(tmp_path: Path) -> None:
    arguments = ("--layers", "1x1 7² 512", "--batch", 2, "--peers", "", "--isa", "scalar")
    done = _cli("conv2d", "--network", "resnet50", *arguments, *FEW, "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    (layer,) = content["layers"]
    assert layer["name"] == "1x1 7² 512→2048, batch 2"
    assert layer["problem"]["batch"] == 2
    assert layer["best_peer"] is None
    assert content["summary"]["geomean_to_best_peer"] is None
    assert content["machine"]["isa"] == "scalar"


def test_the_command_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("torch")
    network, folder = _write(tmp_path, TINY[:2]), tmp_path / "new" / "plots"
    done = _cli("conv2d", "--network", network, "--peers", "torch", *FEW, "--plot", folder)
    assert done.returncode == 0, done.stderr
    pictures = sorted(folder.iterdir())
    assert [path.name for path in pictures] == ["tiny_ratios.png", "tiny_roofline.png"]
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"written: {path}" in done.stderr


def test_without_matplotlib_the_extra_is_named(tmp_path: Path) -> None:
    hidden = "sys.modules['matplotlib'] = None"
    done = _cli("conv2d", "--network", "vgg16", "--plot", tmp_path / "plots", before=hidden)
    assert done.returncode == 2
    assert "argument --plot: matplotlib cannot be imported" in done.stderr
    assert "pip install 'pyvision-kernels[plot]'" in done.stderr
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("conv2d", "argument --network: expected one of deeplabv3, "),
        ("conv2d --network alexnet", "expected one of deeplabv3, .* got 'alexnet'"),
        ("conv2d --network no/file.json", "No such file or directory: 'no/file.json'"),
        ("conv2d --network vgg16 --layers 5x5", "expected a part of 3x3 224² 3→64; .*, got '5x5'"),
        ("conv2d --network vgg16 --peers torch,mkl", "--peers: expected some of openvino, .*, got mkl"),
        (
            "conv2d --network vgg16 --precision f16",
            "argument --precision: expected f32 or bf16 on the CPU, got f16",
        ),
        ("conv2d --network vgg16 --precision f8", "argument --precision: invalid choice: 'f8'"),
        ("conv2d --network vgg16 --device cuda", "--device: (pyvision was built without|torch .* finds no)"),
        ("conv2d --network vgg16 --device cuda --isa avx2", "argument --isa: only for the CPU"),
        ("conv2d --network vgg16 --device cuda --peers ncnn", "--peers: expected some of cudnn, got ncnn"),
        ("nanodet_g --device cuda", "argument --device: only for conv2d, not for a model"),
        ("conv2d --network vgg16 --isa mmx", "argument --isa: invalid choice: 'mmx'"),
        ("conv2d --network vgg16 --batch 0", "argument --batch: expected a count of at least 1, got 0"),
        ("conv2d --network vgg16 --batch 9999999999", "argument --batch: not enough memory"),
        ("conv2d --network vgg16 --json no/out.json", "argument --json: there is no directory no"),
        ("conv2d --network vgg16 --json /dev", "argument --json: /dev is a directory"),
        ("conv2d --network vgg16 --plot /dev/null/a", "argument --plot: cannot make /dev/null/a"),
        ("nanodet_g --batch 2", "argument --batch: only for conv2d, not for a model"),
    ],
)
def test_bad_arguments_end_with_status_2(arguments: str, message: str) -> None:
    if "--plot" in arguments:
        pytest.importorskip("matplotlib")
    done = _cli(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(message, done.stderr), done.stderr
