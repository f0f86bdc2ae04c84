# SPDX-License-Identifier: Apache-2.0
"""The engine: every pass by itself, the memory plan, and runs from many threads."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import pyvision
from pyvision import _core, nn
from pyvision.nn._algorithms import set_precision
from pyvision.nn._compile import trace
from tests.helpers import check_threads_agree, random
from tests.reference.rounding import round_to_bf16

SHAPE = (9, 10, 8)  # (h, w, c) of every input here: 45 cache lines
RTOL = 2e-5  # a few roundings of sums of some hundred terms


class Function(nn.Module):
    """A network written as one expression of its layers."""

    def __init__(self, body: Callable[..., Any], *layers: nn.Module) -> None:
        self.layers = nn.ModuleList(layers)
        self.body = body

    def forward(self, x: nn.Value) -> Any:
        return self.body(x, *self.layers)


def conv(out: int = 8, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(8, out, kernel, padding=kernel // 2, **options)


def batch_norm(channels: int = 8) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    layer.weight, layer.bias, layer.running_mean = (random((channels,), seed=i) for i in range(3))
    layer.running_var = np.abs(random((channels,), seed=3)) + 0.1
    return layer


def up(x: nn.Value) -> nn.Value:
    return nn.interpolate(x, scale_factor=2, mode="bilinear")


def let(value: Any, body: Callable[[Any], Any]) -> Any:
    """``body(value)``: names a value inside an expression."""
    return body(value)


def ops(graph: Any) -> list[str]:
    return [node["op"] + node["fused"] for node in graph.nodes()]


def run(graph: Any, x: np.ndarray) -> list[np.ndarray]:
    return _core.Executable(graph).run([x])


def assert_close(got: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=RTOL, atol=RTOL * np.abs(b).max())


def depthwise(channels: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, **options)


relu, gate_shape = nn.ReLU(), nn.AdaptiveAvgPool2d(1)
WIDE = 2944  # channels that make a map of SHAPE's pixels larger than L2

PASS_CASES = {
    "identities": (
        "remove_identities",
        Function(lambda x, c: nn.Dropout()(c(nn.Identity()(x))), conv()),
        ["identity", "conv2d", "identity"],
        ["conv2d"],
    ),
    "dead node": (
        "remove_dead_nodes",
        Function(lambda x, c, d: (c(x), d(x))[0], conv(), conv()),
        ["conv2d", "conv2d"],
        ["conv2d"],
    ),
    "pad before convolution": (
        "fold_zero_pad",
        Function(lambda x, c: c(nn.ZeroPad2d((0, 1, 2, 3))(x)), conv()),
        ["pad", "conv2d"],
        ["pad", "conv2d"],  # the pad is dead now, for remove_dead_nodes
    ),
    "batch norm": (
        "fold_batch_norm",
        Function(lambda x, c, b: b(c(x)), conv(), batch_norm()),
        ["conv2d", "batch_norm"],
        ["conv2d+batch_norm"],
    ),
    "batch norm, no bias, groups": (
        "fold_batch_norm",
        Function(lambda x, c, b: b(c(x)), conv(12, groups=4, bias=False), batch_norm(12)),
        ["conv2d", "batch_norm"],
        ["conv2d+batch_norm"],
    ),
    "batch norm after grouped transpose": (
        "fold_batch_norm",
        Function(lambda x, c, b: b(c(x)), nn.ConvTranspose2d(8, 12, 2, 2, groups=2), batch_norm(12)),
        ["conv_transpose2d", "batch_norm"],
        ["conv_transpose2d+batch_norm"],
    ),
    "batch norm of a shared map stays": (
        "fold_batch_norm",
        Function(lambda x, c, b: let(c(x), lambda y: [b(y), y]), conv(), batch_norm()),
        ["conv2d", "batch_norm"],
        ["conv2d", "batch_norm"],
    ),
    "batch norm behind an activation stays": (
        "fold_batch_norm",
        Function(lambda x, c, b: b(relu(c(x))), conv(), batch_norm()),
        ["conv2d", "activation", "batch_norm"],
        ["conv2d", "activation", "batch_norm"],
    ),
    "pointwise convolution of an enlarged map": (
        "convolve_before_enlarging",
        Function(lambda x, c: c(up(x)), conv(5, kernel=1)),
        ["interpolate", "conv2d"],
        ["conv2d", "interpolate"],
    ),
    "a 3x3 convolution does not commute": (
        "convolve_before_enlarging",
        Function(lambda x, c: c(up(x)), conv(5)),
        ["interpolate", "conv2d"],
        ["interpolate", "conv2d"],
    ),
    "more channels would cost more": (
        "convolve_before_enlarging",
        Function(lambda x, c: c(up(x)), conv(9, kernel=1)),
        ["interpolate", "conv2d"],
        ["interpolate", "conv2d"],
    ),
    "mean of a sum": (
        "average_before_adding",
        Function(lambda x, c: gate_shape(x + c(x)), conv()),
        ["conv2d", "add", "adaptive_avg_pool2d"],
        ["conv2d", "adaptive_avg_pool2d", "adaptive_avg_pool2d", "add"],
    ),
    "mean of a sum that others read stays": (
        "average_before_adding",
        Function(lambda x, c: let(x + c(x), lambda y: y * gate_shape(y)), conv()),
        ["conv2d", "add", "adaptive_avg_pool2d", "mul"],
        ["conv2d", "add", "adaptive_avg_pool2d", "mul"],
    ),
    "split pointwise convolution": (
        "split_convolution",
        Function(
            lambda x, c: let(nn.split(c(x), [5, 3, 8]), lambda s: [relu(s[0]), *s[1:]]), conv(16, kernel=1)
        ),
        ["conv2d", "split", "activation"],
        ["conv2d+split", "conv2d+split", "conv2d+split", "activation"],
    ),
    "split 3x3 convolution stays": (
        "split_convolution",
        Function(lambda x, c: nn.split(c(x), 4), conv()),
        ["conv2d", "split"],
        ["conv2d", "split"],
    ),
    "residual": (
        "fuse_residual",
        Function(lambda x, c: c(x) + x, conv()),
        ["conv2d", "add"],
        ["conv2d+add"],
    ),
    "residual computed after the convolution": (
        "fuse_residual",
        Function(lambda x, c, d: let(c(x), lambda y: y + relu(d(x))), conv(), conv()),
        ["conv2d", "conv2d", "activation", "add"],
        ["conv2d", "activation", "conv2d+add"],
    ),
    "a sum of activations stays": (
        "fuse_residual",
        Function(lambda x, c: relu(c(x)) + x, conv()),
        ["conv2d", "activation", "add"],
        ["conv2d", "activation", "add"],
    ),
    "a sum with a gate stays": (
        "fuse_residual",
        Function(lambda x, c: c(x) + gate_shape(x), conv()),
        ["conv2d", "adaptive_avg_pool2d", "add"],
        ["conv2d", "adaptive_avg_pool2d", "add"],
    ),
    "enlarge and add": (
        "fuse_interpolate_add",
        Function(lambda x: nn.interpolate(nn.MaxPool2d(2)(x), SHAPE[:2], mode="bilinear") + x),
        ["max_pool2d", "interpolate", "add"],
        ["max_pool2d", "interpolate+add"],
    ),
    "gate and add": (
        "fuse_gate_add",
        Function(lambda x, c: x * gate_shape(x) + c(x), conv()),
        ["adaptive_avg_pool2d", "mul", "conv2d", "add"],
        ["adaptive_avg_pool2d", "conv2d", "mul_add"],
    ),
    "a product of maps stays": (
        "fuse_gate_add",
        Function(lambda x, c: x * c(x) + x, conv()),
        ["conv2d", "mul", "add"],
        ["conv2d", "mul", "add"],
    ),
    "activation behind a convolution": (
        "fuse_activation",
        Function(lambda x, c: nn.LeakyReLU(0.3)(c(x)), conv()),
        ["conv2d", "activation"],
        ["conv2d+leaky_relu"],
    ),
    "hardswish of a rounded sixth": (
        "fuse_activation",
        Function(lambda x, c: nn.Hardswish(sixth=0.16)(c(x)), conv()),
        ["conv2d", "activation"],
        ["conv2d+hardswish"],
    ),
    "activation behind a sum": (
        "fuse_activation",
        Function(lambda x: relu(x + x)),
        ["add", "activation"],
        ["add+relu"],
    ),
    "activation of a shared map stays": (
        "fuse_activation",
        Function(lambda x, c: let(c(x), lambda y: [relu(y), y]), conv()),
        ["conv2d", "activation"],
        ["conv2d", "activation"],
    ),
    "inverted residual": (
        "fuse_inverted_residual",
        Function(
            lambda x, e, d, p: p(d(e(x))),
            conv(WIDE, kernel=1),
            depthwise(WIDE, stride=2),
            nn.Conv2d(WIDE, 5, 1),
        ),
        ["conv2d", "conv2d", "conv2d"],
        ["inverted_residual"],
    ),
    "an expanded map that fits L2 is stored": (
        "fuse_inverted_residual",
        Function(lambda x, e, d, p: p(d(e(x))), conv(24, kernel=1), depthwise(24), nn.Conv2d(24, 8, 1)),
        ["conv2d", "conv2d", "conv2d"],
        ["conv2d", "conv2d", "conv2d"],
    ),
    "an expanded map that others read is stored": (
        "fuse_inverted_residual",
        Function(
            lambda x, e, d, p: let(e(x), lambda y: [p(d(y)), y]),
            conv(WIDE, kernel=1),
            depthwise(WIDE),
            nn.Conv2d(WIDE, 8, 1),
        ),
        ["conv2d", "conv2d", "conv2d"],
        ["conv2d", "conv2d", "conv2d"],
    ),
    "depthwise and pointwise": (
        "fuse_separable",
        Function(
            lambda x, e, d, p: p(d(e(x))),
            conv(WIDE, bias=False),
            depthwise(WIDE, bias=False),
            nn.Conv2d(WIDE, 5, 1),
        ),
        ["conv2d", "conv2d", "conv2d"],
        ["conv2d", "separable_conv2d"],
    ),
    "a filtered map that fits L2 is stored": (
        "fuse_separable",
        Function(lambda x, d, p: p(d(x)), depthwise(8), conv(kernel=1)),
        ["conv2d", "conv2d"],
        ["conv2d", "conv2d"],
    ),
    "maps between convolutions in f32 stay f32": (
        "store_bf16",
        Function(lambda x, c, d: d(c(x)), conv(), conv()),
        ["conv2d", "conv2d"],
        ["conv2d", "conv2d"],
    ),
    "a grouped convolution is not depthwise": (
        "fuse_separable",
        Function(
            lambda x, e, d, p: p(d(e(x))),
            conv(WIDE, kernel=1),
            nn.Conv2d(WIDE, WIDE, 3, padding=1, groups=WIDE // 2),
            nn.Conv2d(WIDE, 5, 1),
        ),
        ["conv2d", "conv2d", "conv2d"],
        ["conv2d", "conv2d", "conv2d"],
    ),
}


@pytest.mark.parametrize("case", PASS_CASES)
def test_pass_rewrites_and_keeps_the_numbers(case: str) -> None:
    name, module, before, after = PASS_CASES[case]
    graph = trace(module, (SHAPE,)).graph
    assert ops(graph) == before
    x = random((2, *SHAPE))
    expected = run(graph, x)
    graph.run_pass(name)
    assert ops(graph) == after
    assert_close(run(graph, x), expected)


def test_folded_pad_is_removed() -> None:
    _, module, _, _ = PASS_CASES["pad before convolution"]
    graph = trace(module, (SHAPE,)).graph
    graph.optimize()
    assert ops(graph) == ["conv2d"]


def test_every_pass_has_a_case() -> None:
    assert {case[0] for case in PASS_CASES.values()} >= {*_core.pass_names()} - {"remove_padding_left_over"}


def test_block_of_a_residual_network_becomes_two_steps() -> None:
    module = Function(
        lambda x, c1, b1, c2, b2: relu(b2(c2(relu(b1(c1(x))))) + x),
        conv(),
        batch_norm(),
        conv(),
        batch_norm(),
    )
    graph = trace(module, (SHAPE,)).graph
    expected = run(graph, x := random((1, *SHAPE)))
    graph.optimize()
    assert ops(graph) == ["conv2d+batch_norm+relu", "conv2d+batch_norm+add+relu"]
    assert_close(run(graph, x), expected)


def test_maps_between_bf16_convolutions_are_stored_as_bf16(bf16_isa: str) -> None:
    """Rounded once more as residual, not at all as input; where others read or write them, they are f32."""
    first, a, b, alone = conv(16), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3, padding=1), conv(16)
    other = nn.Conv2d(16, 16, 3, padding=1, groups=16)
    module = Function(
        lambda x, first, a, b, alone, other: let(
            relu(first(x)), lambda y: [relu(b(a(y)) + y), other(y), other(alone(x))]
        ),
        *(first, a, b, alone, other),
    )
    graph = trace(module, (SHAPE,)).graph
    set_precision(graph, "bf16")
    graph.optimize()
    assert sorted(ops(graph)) == sorted(
        ["to_bf16", "conv2d+relu", "to_f32", "conv2d", "conv2d+add+relu", "to_f32"] + ["conv2d"] * 3
    )

    def convolve(x: np.ndarray, layer: nn.Conv2d, **options: Any) -> np.ndarray:
        options |= {"padding": layer.weight.shape[2] // 2, "layout": "NHWC", "precision": "bf16"}
        return pyvision.ops.conv2d(x, layer.weight, layer.bias, **options)

    x = random((2, *SHAPE))
    y = round_to_bf16(convolve(x, first, activation="relu"))
    z = round_to_bf16(convolve(y, a))
    expected = [
        round_to_bf16(convolve(z, b, residual=y, activation="relu")),
        convolve(y, other, groups=16),
        convolve(convolve(x, alone), other, groups=16),
    ]
    for got, wanted in zip(run(graph, x), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_bf16_maps_take_half_the_arena() -> None:
    bytes_of = []
    for precision in ("f32", "bf16"):
        graph = trace(Function(lambda x, a, b, c: c(b(a(x))), conv(), conv(), conv()), (SHAPE,)).graph
        set_precision(graph, precision)
        graph.optimize()
        bytes_of.append(_core.Executable(graph).arena_bytes(1))
    assert bytes_of == [2 * 45 * 64, 2 * 23 * 64]  # two maps at a time, in whole cache lines


@pytest.mark.parametrize("shared", [False, True])
def test_block_of_mobilenet_v2_becomes_one_step(isa: str, shared: bool) -> None:
    """Norms, activations and the sum included; ``shared``: what is added is not the block's input."""
    module = Function(
        lambda x, e, be, d, bd, p, bp: (
            bp(p(nn.ReLU6()(bd(d(nn.Hardswish(sixth=0.16)(be(e(x)))))))) + (relu(x) if shared else x)
        ),
        conv(WIDE, kernel=1, bias=False),
        batch_norm(WIDE),
        depthwise(WIDE, bias=False),
        batch_norm(WIDE),
        nn.Conv2d(WIDE, 8, 1, bias=False),
        batch_norm(),
    )
    graph = trace(module, (SHAPE,)).graph
    expected = run(graph, x := random((2, *SHAPE)))
    graph.optimize()
    assert ops(graph) == ["activation"] * shared + ["inverted_residual+batch_norm+add"]
    assert_close(run(graph, x), expected)
    (row,) = (row for row in _core.Executable(graph).summary_rows() if row["op"].startswith("inverted"))
    h, w, c = SHAPE
    assert row["gflop"] == pytest.approx(2e-9 * h * w * WIDE * (c + 9 + c))
    assert row["parameters"] == WIDE * (c + 1 + 9 + 1 + c) + c


# Memory


def steps(module: nn.Module, shape: tuple[int, int, int] = SHAPE) -> tuple[list[str], int]:
    """The steps that run, and the arena's bytes per image in units of one input-sized map."""
    graph = trace(module, (shape,)).graph
    graph.optimize()
    executable = _core.Executable(graph)
    map_bytes = 4 * shape[0] * shape[1] * shape[2]
    assert executable.arena_bytes() % map_bytes == 0
    assert executable.arena_bytes(3) == 3 * executable.arena_bytes()
    return [row["op"] for row in executable.summary_rows()], executable.arena_bytes() // map_bytes


def test_a_chain_needs_two_maps() -> None:
    def chain(x: nn.Value, *layers: nn.Module) -> nn.Value:
        for layer in layers:
            x = layer(x)
        return x

    assert steps(Function(chain, *(conv() for _ in range(10)))) == (["conv2d"] * 10, 2)


def test_concatenation_costs_nothing() -> None:
    def block(x: nn.Value, a: nn.Module, b: nn.Module, last: nn.Module) -> nn.Value:
        first = a(x)
        return last(nn.cat([b(first), first]))  # `first` is a slice and is read by `b` as well

    wide = nn.Conv2d(16, 8, 3)
    assert steps(Function(block, conv(), conv(), wide)) == (["conv2d"] * 3, 2)  # the concatenated map is two


def test_transposed_convolutions_write_slices(isa: str) -> None:
    """Disjoint taps and overlapping ones, side by side in one map."""
    disjoint, overlapping = nn.ConvTranspose2d(8, 5, 2, 2), nn.ConvTranspose2d(8, 7, 4, 2, 1)
    module = Function(lambda x, a, b: nn.cat([relu(a(x)), b(x)]), disjoint, overlapping)
    assert steps(module)[0] == ["conv_transpose2d+relu", "conv_transpose2d"]
    x = random((2, *SHAPE))
    expected = np.maximum(disjoint(x, layout="NHWC"), 0), overlapping(x, layout="NHWC")
    np.testing.assert_array_equal(module(x, layout="NHWC"), np.concatenate(expected, axis=3))


def test_nested_concatenations_cost_nothing() -> None:
    def dense(x: nn.Value, a: nn.Module, b: nn.Module, last: nn.Module) -> nn.Value:
        first = a(x)
        both = nn.cat([first, first * 2.0])
        return last(nn.cat([b(both), both]))

    module = Function(dense, conv(), nn.Conv2d(16, 8, 1), nn.Conv2d(24, 8, 1))
    assert steps(module) == (["conv2d", "batch_norm", "conv2d", "conv2d"], 3)


def test_split_costs_nothing() -> None:
    module = Function(lambda x, a, b: b(nn.split(a(x), [3, 5])[1]), conv(), nn.Conv2d(5, 4, 1))
    assert steps(module) == (["conv2d", "conv2d"], 1)


def test_elementwise_ops_overwrite_a_map_nobody_reads_later() -> None:
    module = Function(lambda x, c, d: d(relu(nn.MaxPool2d(1)(c(x)))), conv(), conv())
    assert steps(module) == (["conv2d", "max_pool2d", "activation", "conv2d"], 2)


def test_a_convolution_does_not_overwrite_its_input() -> None:
    """y + conv(y): the residual is the input, which the convolution still reads when it writes."""
    module = Function(lambda x, a, b, c: c(let(a(x), lambda y: y + b(y))), conv(), conv(), conv())
    assert steps(module) == (["conv2d", "conv2d+add", "conv2d"], 2)


@pytest.mark.parametrize(
    "body",
    [
        lambda x: nn.cat([x, x]),  # graph input, twice
        lambda x: nn.split(x, [3, 5]),  # views of the input as results
        lambda x: [x, x],
        lambda x: let(
            relu(x), lambda y: [y, relu(y), nn.cat([y, relu(y)]), y]
        ),  # results that are also slices
        lambda x: nn.cat(nn.split(relu(x), 3)),
        lambda x: nn.cat(nn.split(relu(x), 4)[::-1]),
        lambda x: nn.Flatten()(nn.AdaptiveAvgPool2d(1)(x)),
        lambda x: nn.Flatten()(relu(x)),
    ],
)
def test_results_are_arrays_of_their_own(body: Callable[..., Any]) -> None:
    module = Function(body)
    x = random((2, *SHAPE))
    untouched = x.copy()
    graph = trace(module, (SHAPE,)).graph
    results = run(graph, x)
    np.testing.assert_array_equal(x, untouched)
    for i, result in enumerate(results):
        assert result.flags.c_contiguous
        assert not np.shares_memory(result, x)
        assert not any(np.shares_memory(result, other) for other in results[:i])
    assert_close(results, run_without_sharing(graph, x))


def run_without_sharing(graph: Any, x: np.ndarray) -> list[np.ndarray]:
    """The outputs when every value is a result, so that no two share memory."""
    nodes = graph.nodes()
    values = [id for node in nodes for id in node["outputs"]]
    plain = graph.copy()
    plain.set_outputs([*values, *graph.outputs()])
    return run(plain, x)[len(values) :]


def random_step(kind: int, a: nn.Value, b: nn.Value, narrow: nn.Module, plain: nn.Module) -> nn.Value:
    """A map of SHAPE from two of SHAPE, in one of ten ways."""
    ways: list[Callable[[], nn.Value]] = [
        lambda: relu(a),
        lambda: a + b,
        lambda: a * gate_shape(b) + b,
        lambda: narrow(nn.cat([a, b])),
        lambda: nn.cat(nn.split(a, [3, 5])[::-1]),
        lambda: narrow(nn.cat([relu(a), plain(b)])),
        lambda: plain(a) + b,
        lambda: a * b,
        lambda: nn.interpolate(nn.MaxPool2d(2)(a), SHAPE[:2], mode="bilinear") + b,
        lambda: nn.cat([nn.split(a, [4, 4])[0], nn.split(plain(b), [4, 4])[1]]),
    ]
    return ways[kind % len(ways)]()


def random_network(seed: int) -> Function:
    """Some dozen steps that read earlier maps at random."""
    choices = np.random.default_rng(seed).integers(0, 1 << 30, size=(14, 3)).tolist()

    def body(x: nn.Value, narrow: nn.Module, plain: nn.Module) -> list[nn.Value]:
        maps = [plain(x)]
        for kind, a, b in choices:
            made = random_step(kind, maps[a % len(maps)], maps[b % len(maps)], narrow, plain)
            maps.append(made * 0.5)
        return maps[-2:]

    return Function(body, nn.Conv2d(16, 8, 1), conv())


@pytest.mark.parametrize("seed", range(20))
def test_sharing_memory_changes_no_number(seed: int) -> None:
    graph = trace(random_network(seed), (SHAPE,)).graph
    x = random((2, *SHAPE), seed=seed)
    expected = run_without_sharing(graph, x)
    for got, want in zip(run(graph, x), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    graph.optimize()
    assert_close(run(graph, x), expected)
    for got, want in zip(run(graph, x), run_without_sharing(graph, x), strict=True):
        np.testing.assert_array_equal(got, want)


# Runs


def test_each_isa_computes_the_same(isa: str) -> None:
    module = random_network(3)
    x = random((2, 8, *SHAPE[:2]))
    got = module(x)
    _core.set_isa("scalar")
    assert_close(got, module(x))


def test_an_executable_runs_only_under_the_isa_it_was_packed_for() -> None:
    if len(_core.supported_isas()) < 2:
        pytest.skip("this CPU has one ISA only")
    graph = trace(random_network(0), (SHAPE,)).graph
    before = _core.isa()
    executable = _core.Executable(graph)
    try:
        _core.set_isa(next(name for name in _core.supported_isas() if name != before))
        with pytest.raises(ValueError, match=f"expected {before}"):
            executable.run([random((1, *SHAPE))])
    finally:
        _core.set_isa(before)


def test_thread_counts_agree_bitwise() -> None:
    module = random_network(5)
    x = random((3, 8, *SHAPE[:2]))
    check_threads_agree(lambda: np.concatenate(module(x)))


def test_batch_size_varies_without_compiling_again() -> None:
    module = random_network(6)
    x = random((5, 8, *SHAPE[:2]))
    whole = module(x)
    executable = module._runtime.executable(module, (SHAPE,))
    for n in (0, 1, 2, 5):
        part = module(x[:n])
        assert [p.shape for p in part] == [w[:n].shape for w in whole]
        if n > 0:
            assert_close(part, [w[:n] for w in whole])
    assert module._runtime.executable(module, (SHAPE,)) is executable


def test_many_threads_may_call_one_model() -> None:
    module = random_network(7)
    inputs = [random((1 + i % 3, 8, *SHAPE[:2]), seed=i) for i in range(8)]
    alone = random_network(7)
    alone.load_state_dict(module.state_dict())
    expected = [alone(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for got, want in zip(pool.map(module, inputs), expected, strict=True):
                for a, b in zip(got, want, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_a_pickled_model_computes_the_same() -> None:
    model = nn.Sequential(conv(), batch_norm(), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 90, 3))
    x = random((2, 8, *SHAPE[:2]))
    expected = model(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model))(x), expected)


def test_profiled_runs_time_every_step() -> None:
    graph = trace(random_network(8), (SHAPE,)).graph
    executable = _core.Executable(graph)
    x = random((1, *SHAPE))
    outputs, nanoseconds = executable.run_profiled([x])
    assert len(nanoseconds) == len(executable.summary_rows())
    assert min(nanoseconds) > 0
    for got, want in zip(outputs, executable.run([x]), strict=True):
        np.testing.assert_array_equal(got, want)


def test_summary_counts_work_and_parameters() -> None:
    graph = trace(Function(lambda x, c: c(x), conv(16, groups=2)), (SHAPE,)).graph
    (row,) = _core.Executable(graph).summary_rows()
    assert row["gflop"] == pytest.approx(2e-9 * 9 * 10 * 16 * 4 * 9)
    assert row["parameters"] == 16 * 4 * 9 + 16
    assert row["shape"] == (9, 10, 16)
    assert row["name"] == "layers.0"


@pytest.mark.parametrize(
    "bad",
    [
        lambda g: g.add_node("no_such_op", [0]),
        lambda g: g.add_node("activation", [7], {"activation": "relu"}),
        lambda g: g.add_node("activation", [0], {"activation": "rely"}),
        lambda g: g.add_node("activation", [0]),
        lambda g: g.add_node("activation", [0, 0], {"activation": "relu"}),
        lambda g: g.add_node("split", [0], {"sizes": [3, 4]}),
        lambda g: g.add_node("split", [0], {"sizes": "all"}),
        lambda g: g.add_node("split", [0], {"sizes": [-1, 9]}),
        lambda g: g.add_node("pad", [0], {"padding": [0, 0, 0, -1]}),
        lambda g: g.add_node("pad", [0], {"padding": [0, 0, 0]}),
        lambda g: g.add_node("concat", []),
        lambda g: g.add_node("concat", [0, g.add_input(1, 1, 8)]),
        lambda g: g.add_node("add", [0, g.add_input(9, 10, 7)]),
        lambda g: g.add_node("batch_norm", [0], {}, {"scale": np.ones(3, "f"), "shift": np.ones(3, "f")}),
        lambda g: g.add_node("batch_norm", [0], {}, {"scale": np.ones(8, "f")}),
        lambda g: g.add_input(0, 1, 1),
        lambda g: g.add_input(1 << 40, 1 << 40, 1),
        lambda g: g.set_outputs([99]),
        lambda g: g.run_pass("no_such_pass"),
        _core.Executable,  # no outputs
    ],
)
def test_graphs_refuse_what_does_not_fit(bad: Callable[..., Any]) -> None:
    graph = _core.Graph()
    graph.add_input(*SHAPE)
    with pytest.raises(ValueError, match=r"^\[\w+\] "):
        bad(graph)


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (np.zeros((1, 9, 10, 7), np.float32), ValueError),
        (np.zeros((9, 10, 8), np.float32), ValueError),
        (np.zeros((1, 9, 10, 8)), TypeError),
        (np.zeros((1, 9, 8, 10), np.float32).transpose(0, 1, 3, 2), ValueError),
    ],
)
def test_executables_refuse_other_inputs(x: np.ndarray, error: type[Exception]) -> None:
    executable = _core.Executable(trace(random_network(0), (SHAPE,)).graph)
    with pytest.raises(error, match=r"^\[graph\] "):
        executable.run([x])
