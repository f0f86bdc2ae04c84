# SPDX-License-Identifier: Apache-2.0
"""Layers against torch, parameters, state dicts, and calls on arrays of either layout."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyvision import nn, ops
from tests.helpers import random

RTOL = 2e-5

# ours and torch's are made by the same expression; the input is (N, C, H, W)
LAYERS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "conv": (lambda nn: nn.Conv2d(6, 9, 3, padding=1), (2, 6, 8, 7)),
    "conv, all arguments": (
        lambda nn: nn.Conv2d(6, 9, (3, 2), (2, 1), (1, 2), (1, 2), 3, False),
        (2, 6, 8, 7),
    ),
    "conv same": (lambda nn: nn.Conv2d(6, 9, (4, 3), padding="same"), (1, 6, 8, 7)),
    "conv valid": (lambda nn: nn.Conv2d(6, 9, 3, padding="valid"), (1, 6, 8, 7)),
    "conv transpose": (lambda nn: nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, 2, True, 2), (2, 6, 5, 6)),
    "linear": (lambda nn: nn.Linear(10, 7), (3, 10)),
    "linear, no bias": (lambda nn: nn.Linear(10, 7, bias=False), (3, 10)),
    "batch norm": (lambda nn: nn.BatchNorm2d(5, eps=0.1), (2, 5, 4, 4)),
    "relu": (lambda nn: nn.ReLU(inplace=True), (2, 5, 4, 4)),
    "relu6": (lambda nn: nn.ReLU6(), (2, 5, 4, 4)),
    "leaky relu": (lambda nn: nn.LeakyReLU(0.2), (2, 5, 4, 4)),
    "silu": (lambda nn: nn.SiLU(), (2, 5, 4, 4)),
    "hardswish": (lambda nn: nn.Hardswish(), (2, 5, 4, 4)),
    "hardsigmoid": (lambda nn: nn.Hardsigmoid(), (2, 5, 4, 4)),
    "sigmoid": (lambda nn: nn.Sigmoid(), (2, 5, 4, 4)),
    "tanh": (lambda nn: nn.Tanh(), (2, 5, 4, 4)),
    "gelu": (lambda nn: nn.GELU(), (2, 5, 4, 4)),
    "softmax of maps": (lambda nn: nn.Softmax(dim=1), (2, 5, 4, 4)),
    "softmax of features": (lambda nn: nn.Softmax(dim=-1), (2, 5)),
    "max pool": (lambda nn: nn.MaxPool2d(3, 2, 1), (2, 5, 9, 8)),
    "max pool, dilated, ceil": (lambda nn: nn.MaxPool2d((2, 3), dilation=2, ceil_mode=True), (2, 5, 9, 8)),
    "average pool": (lambda nn: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 5, 9, 8)),
    "average pool, divisor, ceil": (
        lambda nn: nn.AvgPool2d(2, ceil_mode=True, divisor_override=3),
        (2, 5, 9, 8),
    ),
    "adaptive average pool": (lambda nn: nn.AdaptiveAvgPool2d((3, 1)), (2, 5, 8, 7)),
    "nearest": (lambda nn: nn.Upsample(scale_factor=2.5), (2, 5, 4, 6)),
    "bilinear": (lambda nn: nn.Upsample(size=(7, 5), mode="bilinear"), (2, 5, 4, 6)),
    "bilinear, corners": (
        lambda nn: nn.Upsample(scale_factor=(2.0, 3.0), mode="bilinear", align_corners=True),
        (2, 5, 4, 6),
    ),
    "zero pad": (lambda nn: nn.ZeroPad2d((1, 2, 0, 3)), (2, 5, 4, 6)),
    "identity": (lambda nn: nn.Identity(54, unused=1), (2, 5, 4, 6)),
    "dropout": (lambda nn: nn.Dropout(0.9), (2, 5, 4, 6)),
    "flatten": (lambda nn: nn.Flatten(), (2, 5, 4, 6)),
    "flatten of single pixels": (lambda nn: nn.Flatten(), (2, 5, 1, 1)),
    "sequence": (
        lambda nn: nn.Sequential(
            nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2)
        ),
        (2, 3, 2, 3),
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch pads in a copy
@pytest.mark.parametrize("name", LAYERS)
def test_layer_computes_what_torch_computes(name: str) -> None:
    torch = pytest.importorskip("torch")
    make, shape = LAYERS[name]
    theirs = make(torch.nn).eval()
    for i, (key, tensor) in enumerate(theirs.state_dict().items()):
        if tensor.dtype == torch.float32:
            values = torch.from_numpy(random(tuple(tensor.shape), seed=i))
            tensor.copy_(values.abs() + 0.1 if key.endswith("running_var") else values)
    ours = make(nn)
    ours.load_state_dict(theirs.state_dict())
    assert [*ours.state_dict()] == [key for key in theirs.state_dict() if "num_batches" not in key]
    x = random(shape, scale=3)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    got = ours(x)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


def test_functions_of_values_compute_what_torch_computes() -> None:
    torch = pytest.importorskip("torch")

    class Mixed(nn.Module):
        def forward(self, x: nn.Value) -> dict[str, Any]:
            a, b, c = nn.split(x, 3)
            gate = nn.AdaptiveAvgPool2d(1)(x)
            return {
                "parts": [a, (b, c)],
                "joined": nn.cat([c, a, x]),
                "gated": gate * x + 1.5,
                "scaled": 2 * x + x * 0.25,
            }

    x = random((2, 7, 4, 5))
    got = Mixed()(x)
    t = torch.from_numpy(x)
    a, b, c = torch.split(t, 3, dim=1)
    np.testing.assert_array_equal(got["parts"][0], a)
    np.testing.assert_array_equal(got["parts"][1][0], b)
    np.testing.assert_array_equal(got["parts"][1][1], c)
    np.testing.assert_array_equal(got["joined"], torch.cat([c, a, t], 1))
    np.testing.assert_allclose(got["gated"], t.mean((2, 3), keepdim=True) * t + 1.5, rtol=RTOL, atol=1e-5)
    np.testing.assert_allclose(got["scaled"], 2.25 * t, rtol=RTOL)


def test_result_is_of_the_callers_kind_and_layout() -> None:
    torch = pytest.importorskip("torch")
    layer = nn.Conv2d(5, 4, 3)
    x = random((2, 5, 6, 7))
    nchw = layer(x)
    nhwc = layer(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), layout="NHWC")
    np.testing.assert_array_equal(nhwc, nchw.transpose(0, 2, 3, 1))
    tensor = torch.from_numpy(x)
    assert isinstance(layer(tensor), torch.Tensor)
    last = layer(tensor.contiguous(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(last.numpy(), nchw)


def small_model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 2, 1)))


STATE_NAMES = [
    "0.weight", "0.bias",
    "1.weight", "1.bias", "1.running_mean", "1.running_var",
    "2.1.weight", "2.1.bias",
]  # fmt: skip


def test_parameters_are_named_as_in_torch() -> None:
    model = small_model()
    assert [*model.state_dict()] == STATE_NAMES
    assert [name for name, _ in model.named_parameters()] == [n for n in STATE_NAMES if "running" not in n]
    assert len([*model.parameters()]) == 6
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "2", "2.0", "2.1"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("2.1.bias"), ValueError, "missing 2.1.bias; unexpected none"),
        (lambda s: s.update(extra=s["0.bias"]), ValueError, "missing none; unexpected extra"),
        (lambda s: s.update({"0.bias": np.zeros(5, "f")}), ValueError, r"0.bias of shape \(4,\), got \(5,\)"),
        (lambda s: s.update({"0.bias": np.zeros(4, int)}), TypeError, "0.bias of dtype float32 or float16"),
        (lambda s: s.update({"0.bias": [0.0] * 4}), TypeError, "0.bias to be an array, got list"),
    ],
)
def test_load_state_dict_refuses_what_does_not_fit(
    change: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    model = small_model()
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(error, match=message):
        model.load_state_dict(state)
    assert all(model.state_dict()[name] is before[name] for name in before)  # nothing was half-loaded


def test_load_state_dict_not_strict() -> None:
    model = small_model()
    model.load_state_dict({"0.bias": np.ones(4, np.float16), "other": np.ones(1, np.float32)}, strict=False)
    np.testing.assert_array_equal(model.state_dict()["0.bias"], np.ones(4, np.float32))


def test_checkpoints_may_hold_num_batches_tracked() -> None:
    model = small_model()
    model.load_state_dict(model.state_dict() | {"1.num_batches_tracked": np.int64(7)})


def test_a_changed_parameter_is_seen_by_the_next_call() -> None:
    model = small_model()
    x = random((1, 3, 5, 5))
    model(x)
    last = model[2][1]
    last.weight, last.bias = np.zeros_like(last.weight), np.array([1, 2], np.float32)
    np.testing.assert_array_equal(model(x), np.broadcast_to([[[1]], [[2]]], (1, 2, 3, 3)))
    model.load_state_dict(model.state_dict() | {"2.1.bias": np.array([3, 4], np.float32)})
    np.testing.assert_array_equal(model(x)[0, :, 0, 0], [3, 4])


def test_parameters_are_read_only_and_not_the_callers() -> None:
    layer = nn.Conv2d(1, 1, 1)
    mine = np.ones((1, 1, 1, 1), np.float32)
    layer.weight = mine
    mine[:] = 5
    assert layer.weight[0, 0, 0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[:] = 5
    with pytest.raises(TypeError, match="weight of dtype float32"):
        layer.weight = np.ones((1, 1, 1, 1))


def test_initial_parameters_follow_the_seed() -> None:
    def weights(seed: int) -> np.ndarray:
        with nn.init.seeded(seed):
            return nn.Conv2d(16, 32, 3).weight

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    bound = 1 / np.sqrt(16 * 9)
    assert 0.99 * bound < np.abs(weights(1)).max() <= bound


def test_copies_are_independent() -> None:
    model = small_model()
    other = copy.deepcopy(model)
    other[0].bias = np.ones(4, np.float32)
    assert not np.array_equal(model[0].bias, other[0].bias)
    assert repr(other) == repr(model)


def test_repr_is_a_tree() -> None:
    text = repr(small_model())
    assert text.startswith("Sequential(\n  (0): Conv2d(3, 4, kernel_size=(3, 3)")
    assert "\n    (1): Conv2d(4, 2" in text


def test_summary_prints_layers_and_totals(capsys: pytest.CaptureFixture[str]) -> None:
    small_model().summary((3, 8, 8))
    text = capsys.readouterr().out
    assert "2.1" in text
    assert f"{3 * 4 * 9 + 4 + 4 * 2 + 2:,}" in text
    assert "arena" in text
    with pytest.raises(ValueError, match="input_shape"):
        small_model().summary()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: nn.Conv2d(3, 4, 0), ValueError),
        (lambda: nn.Conv2d(3, 4, (3,)), ValueError),
        (lambda: nn.Conv2d(3, 4, 3.0), TypeError),
        (lambda: nn.Conv2d(3, 4, True), TypeError),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), ValueError),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), ValueError),
        (lambda: nn.Conv2d(3, 4, 3, padding="both"), ValueError),
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), ValueError),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError),
        (lambda: nn.Conv2d(3, 4, 3, groups=0), ValueError),
        (lambda: nn.Conv2d(-3, 4, 3), ValueError),
        (lambda: nn.Linear(0, 4), ValueError),
        (lambda: nn.ZeroPad2d((1, 2, 3)), ValueError),
        (lambda: nn.Flatten(2), ValueError),
        (lambda: nn.Conv2d(3, 4, 3)(random((1, 5, 8, 8))), ValueError),
        (lambda: nn.Conv2d(3, 4, 3)(random((1, 3, 2, 2))), ValueError),
        (lambda: nn.Conv2d(3, 4, 3)(random((3, 8, 8))), ValueError),
        (lambda: nn.Conv2d(3, 4, 3)(random((1, 3))), ValueError),
        (lambda: nn.Conv2d(3, 4, 3)(random((1, 3, 8, 8)), layout="CHWN"), ValueError),
        (lambda: nn.Conv2d(3, 4, 3)(random((1, 3, 8, 8)).astype(np.float64)), TypeError),
        (lambda: nn.Conv2d(3, 4, 3)([[1.0]]), TypeError),
        (nn.Conv2d(3, 4, 3), TypeError),
        (lambda: nn.ReLU()(np.zeros((1, 0, 4, 4), np.float32)), ValueError),
        (lambda: nn.Linear(3, 4)(random((1, 3, 1, 1))), ValueError),
        (lambda: nn.Softmax(2)(random((1, 3, 1, 1))), ValueError),
        (lambda: nn.Upsample()(random((1, 3, 4, 4))), ValueError),
        (lambda: nn.Upsample(scale_factor=-1.0)(random((1, 3, 4, 4))), ValueError),
        (lambda: nn.Upsample(scale_factor=0.1)(random((1, 3, 4, 4))), ValueError),
        (lambda: nn.Upsample(scale_factor=2, mode="cubic")(random((1, 3, 4, 4))), ValueError),
        (lambda: nn.Upsample(scale_factor=2, align_corners=True)(random((1, 3, 4, 4))), ValueError),
    ],
)
def test_layers_refuse_what_does_not_fit(make: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^\[\w+\] "):
        make()


def _algorithms(model: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    return [step["algorithm"] for step in model._runtime.executable(model, (shape,)).summary_rows()]


def test_allow_winograd() -> None:
    model = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=32))
    x = random((1, 32, 40, 40))
    assert [name.partition("_")[0] for name in _algorithms(model, (40, 40, 32))] == ["winograd", "depthwise"]
    fast = model(x)
    model.allow_winograd = False
    assert _algorithms(model, (40, 40, 32)) == ["direct", "depthwise"]
    np.testing.assert_allclose(model(x), fast, rtol=1e-4, atol=1e-4)
    assert (model(x) != fast).any()


def test_allow_winograd_in_transposed_convolutions() -> None:
    model, x = nn.Sequential(nn.ConvTranspose2d(32, 32, 4, 2, 1)), random((1, 32, 40, 40))
    fast = model(x)
    model.allow_winograd = False
    np.testing.assert_allclose(model(x), fast, rtol=1e-4, atol=1e-4)
    assert (model(x) != fast).any()


def test_precision(bf16_isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of convolutions that are not depthwise, in what would be fused in f32 too."""
    first, depthwise = nn.Conv2d(32, 33, 3, padding=1), nn.Conv2d(33, 33, 3, groups=33)
    last = nn.Conv2d(33, 17, 1)
    model = nn.Sequential(first, nn.BatchNorm2d(33), nn.ReLU(), depthwise, nn.ReLU6(), last)
    x = random((1, 32, 40, 40))
    exact = model(x)
    model.precision = "bf16"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    model.autotune = True  # which has nothing to choose
    assert _algorithms(model, (40, 40, 32)) == ["direct", "depthwise", "direct"]
    scale = np.float32(1 / np.sqrt(1 + 1e-5))  # of a new batch norm
    y = ops.conv2d(
        x, first.weight * scale, first.bias * scale, padding=1, activation="relu", precision="bf16"
    )
    y = ops.depthwise_conv2d(y, depthwise.weight, depthwise.bias, activation="relu6")
    y = ops.conv2d(y, last.weight, last.bias, precision="bf16")
    largest = np.abs(exact).max()
    assert np.abs(model(x) - y).max() < 1e-3 * largest  # a folded weight may round the other way
    assert 1e-3 * largest < np.abs(model(x) - exact).max() < 0.05 * largest
    with pytest.raises(
        ValueError, match=r"^\[Sequential\] expected precision to be 'f32' or 'bf16', got 'f16'"
    ):
        model.precision = "f16"


def test_autotune_measures_once_and_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isa: str
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    measured = []

    def measure(h: int, w: int, weight_shape: tuple[int, ...], padding: list[int], groups: int) -> str:
        measured.append((h, w, weight_shape, padding, groups))
        return "winograd_2x2"

    layers = (
        nn.Conv2d(9, 8, 3, padding=1),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 9, 3, 2),
        nn.ZeroPad2d(1),
    )
    for damaged in (None, "[1, 2]", "{"):
        if damaged is not None:
            (tmp_path / "pyvision" / "conv2d_algorithms.json").write_text(damaged)
        for _ in range(2):
            model = nn.Sequential(*layers)
            model.autotune = True
            with monkeypatch.context() as patch:
                patch.setattr("pyvision.nn._algorithms._measure", measure)
                chosen = _algorithms(model, (12, 13, 9))
                assert chosen[:5] == ["winograd_2x2", "direct", "winograd_2x2", "depthwise", "direct"]
        assert measured == [
            (12, 13, (8, 9, 3, 3), [1, 1, 1, 1], 1),
            (12, 13, (8, 2, 3, 3), [1, 1, 1, 1], 4),
        ]
        measured.clear()
    assert [path.name for path in (tmp_path / "pyvision").iterdir()] == ["conv2d_algorithms.json"]


@pytest.mark.parametrize("groups", [1, 4])
def test_autotune_on_a_real_layer(groups: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    model = nn.Conv2d(64, 64, 3, padding=1, groups=groups)
    model.autotune = True
    x = random((1, 64, 3, 3))
    result = model(x)
    model.autotune = False
    model.allow_winograd = False
    np.testing.assert_allclose(result, model(x), rtol=1e-4, atol=1e-4)
    stored = json.loads((tmp_path / "pyvision" / "conv2d_algorithms.json").read_text())
    assert len(stored) == 1
    assert set(stored.values()) <= {"direct", "winograd_2x2", "winograd_4x4", "winograd_6x6"}
