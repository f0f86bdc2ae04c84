# SPDX-License-Identifier: Apache-2.0
"""The `pyvision` command. Exit status: 0 done, 1 some images were not done, 2 bad arguments, 130 Ctrl-C."""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, cast

import pyvision

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pyvision import nn
    from pyvision.predictor import Predictor
    from pyvision.profile import ConvReport, ConvTime, LayerReport
    from pyvision.profile.conv2d import RateUnit
    from pyvision.profile.gpu import GpuPrecision
    from pyvision.profile.peers import ConvCase, Peer

Summary: TypeAlias = dict[str, Any]
"""The JSON object of one image."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows ? and not an error
    try:
        args = _parser().parse_args(argv)
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse: help, version, bad arguments
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        print("pyvision: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader left, as in `pyvision … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    from pyvision._cli_features import FeaturesJob, add_features_options
    from pyvision._cli_pictures import (
        add_flow_options,
        add_match_options,
        add_stitch_options,
        run_flow,
        run_match,
        run_stitch,
    )

    parser = argparse.ArgumentParser(
        prog="pyvision",
        description="Computer vision on hand-written kernels: objects, people and keypoints in pictures.",
    )
    parser.add_argument("--version", action="version", version=f"pyvision {pyvision.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    detect = commands.add_parser("detect", help="find objects: annotated images and JSON")
    _add_image_options(detect, model="nanodet_g")
    detect.add_argument("--score", type=_fraction, default=0.4, help="least score to report (default: 0.4)")
    detect.add_argument("--iou", type=_fraction, default=0.6, help="overlap that drops a box (default: 0.6)")
    detect.set_defaults(run=lambda args: _annotate(args, _Detect(args), detect))

    segment = commands.add_parser("segment", help="cut out people: annotated images, masks and JSON")
    _add_image_options(segment, model="selfie_segmentation")
    segment.add_argument("--threshold", type=_fraction, default=0.5, help="least probability (default: 0.5)")
    segment.set_defaults(run=lambda args: _annotate(args, _Segment(args), segment))

    features = commands.add_parser("features", help="find keypoints: pictures that show them, and JSON")
    _add_files_options(features)
    add_features_options(features)
    features.set_defaults(run=lambda args: _annotate(args, FeaturesJob(args), features))

    match = commands.add_parser(
        "match", help="find what two pictures have in common: one with lines, and JSON"
    )
    add_match_options(match)
    _add_threads_option(match)
    match.set_defaults(run=lambda args: run_match(args, match))

    stitch = commands.add_parser("stitch", help="make one picture of several that overlap")
    add_stitch_options(stitch)
    _add_threads_option(stitch)
    stitch.set_defaults(run=lambda args: run_stitch(args, stitch))

    flow = commands.add_parser("flow", help="how the first picture became the second: directions as colours")
    add_flow_options(flow)
    _add_threads_option(flow)
    flow.set_defaults(run=lambda args: run_flow(args, flow))

    profile = commands.add_parser(
        "profile", help="time layers against this machine's peak, and convolutions against other libraries"
    )
    profile.add_argument("model", metavar="MODEL", help="model name or weights file, or conv2d: see below")
    profile.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write JSON; without FILE to stdout, and no table",
    )
    profile.add_argument("--isa", choices=pyvision._core.supported_isas(), help="instruction set to force")
    _add_threads_option(profile)
    conv2d = profile.add_argument_group("conv2d", "pyvision profile conv2d --network NAME, for these alone:")
    conv2d.add_argument(
        "--network", metavar="NAME", help="whose layers: resnet50, …, or a .json file of one's own"
    )
    conv2d.add_argument("--layers", metavar="TEXT", help="only layers whose name contains TEXT")
    conv2d.add_argument(
        "--peers", metavar="A,B", help="default: torch,openvino,onnxruntime,ncnn, or cudnn; '' for none"
    )
    conv2d.add_argument("--device", choices=("cpu", "cuda"), help="where to run (default: cpu)")
    conv2d.add_argument(
        "--precision",
        choices=("f32", "tf32", "f16", "bf16"),
        help="of operands; on the CPU f32 or bf16 (default: f32)",
    )
    conv2d.add_argument("--batch", type=_count, metavar="N", help="images at once (default: 1)")
    conv2d.add_argument("--rounds", type=_count, metavar="N", help="of each comparison (default: 15)")
    conv2d.add_argument("--plot", type=Path, metavar="DIR", help="write a roofline and the ratios as PNG")
    profile.set_defaults(run=lambda args: _profile(args, profile))

    info = commands.add_parser("info", help="print version, instruction set, threads and CUDA state, and why")
    info.set_defaults(run=_info)
    return parser


def _add_image_options(parser: argparse.ArgumentParser, *, model: str) -> None:
    parser.add_argument("--model", default=model, help=f"model name or weights file (default: {model})")
    _add_files_options(parser)


def _add_files_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image file, directory or quoted pattern")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    place.add_argument("--no-save", action="store_true", help="save nothing")
    parser.add_argument("--json", action="store_true", help="print the JSON array on stdout, and no table")
    _add_threads_option(parser)


def _add_threads_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=_thread_count, metavar="N", help="CPU threads (default: all granted)"
    )


def _peers(text: str, known: Sequence[Peer], parser: argparse.ArgumentParser) -> list[Peer]:
    by_key = {peer.key: peer for peer in known}
    keys = [key.strip() for key in text.split(",") if key.strip()]
    for key in keys:
        if key not in by_key:
            parser.error(f"argument --peers: expected some of {', '.join(by_key)}, got {key}")
    return [by_key[key] for key in dict.fromkeys(keys)]


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a count of at least 1, got {text}")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1], got {text}")
    return value


def _thread_count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 4096:
        raise argparse.ArgumentTypeError(f"expected a count in [1, 4096], got {text}")
    return value


# What argparse calls them: "invalid number value: 'abc'".
_fraction.__name__ = "number"
_count.__name__ = _thread_count.__name__ = "integer"


def _info(_args: argparse.Namespace) -> int:
    pyvision.show_config()
    return 0


def _profile(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if args.threads is not None:
        pyvision.set_num_threads(args.threads)
    if args.isa is not None:
        pyvision._core.set_isa(args.isa)
    if args.json not in (None, "-") and not Path(args.json).parent.is_dir():
        parser.error(f"argument --json: there is no directory {Path(args.json).parent}")
    if args.json is not None and Path(args.json).is_dir():
        parser.error(f"argument --json: {args.json} is a directory")
    if args.model == "conv2d":
        return _profile_conv2d(args, parser)
    for name in ("network", "layers", "peers", "device", "precision", "batch", "rounds", "plot"):
        if getattr(args, name) is not None:
            parser.error(f"argument --{name}: only for conv2d, not for a model")
    try:
        model = cast("nn.Module", pyvision.load(args.model).model)
    except (OSError, TypeError, ValueError) as error:
        parser.error(str(error))
    return _print_report(pyvision.profile.profile_layers(model), [], args.json, parser)


def _profile_conv2d(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from rich.console import Console
    from rich.progress import track

    from pyvision._backend import CudaError
    from pyvision._device import is_out_of_memory
    from pyvision.profile import (
        Budget,
        ConvReport,
        choose_layers,
        describe_machine,
        load_network,
        time_conv2d,
    )
    from pyvision.profile.gpu import CuDnn, TorchGpu, time_conv2d_on
    from pyvision.profile.networks import list_networks
    from pyvision.profile.peers import BF16_PEERS, PEERS, Unavailable, require
    from pyvision.profile.report import absent_lines

    if args.network is None:
        parser.error(f"argument --network: expected one of {', '.join(list_networks())}, or a .json file")
    try:
        network = load_network(args.network)
        network = choose_layers(network, containing=args.layers or "", batch=args.batch or 1)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if args.plot is not None:
        try:  # before minutes of work
            require("matplotlib")
            args.plot.mkdir(parents=True, exist_ok=True)
        except Unavailable as error:
            parser.error(f"argument --plot: {error}; pip install 'pyvision-kernels[plot]'")
        except OSError as error:
            parser.error(f"argument --plot: cannot make {args.plot}: {error.strerror}")
    budget = Budget() if args.rounds is None else Budget(rounds=args.rounds)
    precision: GpuPrecision = args.precision or "f32"
    unit: RateUnit = "GFLOP/s"
    measure: Callable[[ConvCase], ConvTime]
    if args.device == "cuda":
        for name in ("isa", "threads"):
            if getattr(args, name) is not None:
                parser.error(f"argument --{name}: only for the CPU, not for --device cuda")
        peers = _peers("cudnn" if args.peers is None else args.peers, [CuDnn(precision)], parser)
        try:
            gpu = TorchGpu(precision)
        except Unavailable as error:
            parser.error(f"argument --device: {error}")
        machine, ceiling, unit = gpu.machine(), "product", "TFLOP/s"
        measure = functools.partial(time_conv2d_on, gpu, peers=peers, budget=budget)
    else:
        if precision not in ("f32", "bf16"):
            parser.error(f"argument --precision: expected f32 or bf16 on the CPU, got {precision}")
        known, usual = PEERS, "torch,openvino,onnxruntime,ncnn"
        if precision == "bf16":
            known, usual = BF16_PEERS, "torch,openvino"
        peers = _peers(usual if args.peers is None else args.peers, known, parser)
        machine, ceiling = describe_machine(peer.package for peer in peers), "FMA"
        measure = functools.partial(time_conv2d, peers=peers, budget=budget, precision=precision)

    errors = Console(stderr=True)
    progress = track(network.layers, "conv2d", console=errors, transient=True, disable=not errors.is_terminal)
    try:
        times = [measure(layer.problem) for layer in progress]
    except CudaError as error:
        parser.error(f"argument --device: {error}")
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        parser.error("argument --batch: not enough memory for one of the layers")
    report = ConvReport(network, machine, times, precision, ceiling, unit)
    status = _print_report(report, absent_lines(report.cases), args.json, parser)
    if args.plot is not None:
        from pyvision.profile.plots import save_plots

        for path in save_plots(report, args.plot):
            errors.print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)
    return status


def _print_report(
    report: LayerReport | ConvReport,
    notes: Sequence[str],
    json_to: str | None,
    parser: argparse.ArgumentParser,
) -> int:
    """As a table and notes below it, or as JSON where `json_to` is "-"; into the file it names otherwise."""
    from rich.console import Console

    text = json.dumps(report.to_dict(), indent=1)
    if json_to == "-":
        print(text)
        return 0
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no width to fit in: keep each row on its line
    console.print(report.table())
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    if json_to is not None:
        try:
            Path(json_to).write_text(text + "\n")
        except OSError as error:
            parser.error(f"argument --json: cannot write {json_to}: {error.strerror}")
    return 0


class _Job(Protocol):
    """What differs between detect, segment and features."""

    task: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    def prepare(self, parser: argparse.ArgumentParser) -> Callable[[str], tuple[Any, float]]:
        """Load what is needed; from a file to its result and the milliseconds it took."""

    def tool(self) -> str:
        """What was at work, for people."""

    def summary(self, result: Any) -> Summary: ...
    def rows(self, summary: Summary) -> list[tuple[str, ...]]:
        """The cells under `columns`, a line each."""

    def names(self, stem: str, suffix: str) -> list[str]:
        """The files of one image: the annotated picture, the JSON, and what else the job saves."""

    def save(self, result: Any, paths: Sequence[Path]) -> None:
        """Write all of `names` but the JSON."""


class _ModelJob:
    """What a network does, its options aside."""

    task: ClassVar[str]

    def __init__(self, args: argparse.Namespace, **options: float) -> None:
        self.model: str = args.model
        self.options: dict[str, Any] = dict(options)

    def prepare(self, parser: argparse.ArgumentParser) -> Callable[[str], tuple[Any, float]]:
        import numpy as np

        predictor = _load(self.model, self.task, parser)
        # Compiles the model: no image's time should include that.
        predictor.predict(np.zeros((1, 1, 3), np.uint8))

        def run(file: str) -> tuple[Any, float]:
            result = predictor.predict(file, **self.options)
            return result, result.speed["prepare"] + result.speed["infer"]

        return run

    def tool(self) -> str:
        return self.model


class _Detect(_ModelJob):
    task: ClassVar[str] = "detect"
    columns: ClassVar[tuple[str, ...]] = ("found", "score", "box")

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args, score_threshold=args.score, iou_threshold=args.iou)

    def summary(self, result: pyvision.Detections) -> Summary:
        return result.to_dict()

    def rows(self, summary: Summary) -> list[tuple[str, ...]]:
        found = summary["detections"]
        return [(one["label"], f"{one['score']:.2f}", _box_text(one["box"])) for one in found] or [
            ("nothing", "", "")
        ]

    def names(self, stem: str, suffix: str) -> list[str]:
        return [stem + suffix, stem + ".json"]

    def save(self, result: pyvision.Detections, paths: Sequence[Path]) -> None:
        result.save(paths[0])


class _Segment(_ModelJob):
    task: ClassVar[str] = "segment"
    columns: ClassVar[tuple[str, ...]] = ("found", "share", "box")

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.threshold: float = args.threshold

    def summary(self, result: pyvision.Segmentation) -> Summary:
        return result.to_dict(threshold=self.threshold)

    def rows(self, summary: Summary) -> list[tuple[str, ...]]:
        if summary["box"] is None:
            return [("nothing", "", "")]
        return [(summary["label"], f"{summary['fraction']:.1%}", _box_text(summary["box"]))]

    def names(self, stem: str, suffix: str) -> list[str]:
        return [stem + suffix, stem + ".json", stem + "_mask.png"]

    def save(self, result: pyvision.Segmentation, paths: Sequence[Path]) -> None:
        from pyvision.image_io import save_image

        result.save(paths[0], threshold=self.threshold)
        save_image(paths[2], (result.probability * 255).round().astype("uint8"))


def _annotate(args: argparse.Namespace, job: _Job, parser: argparse.ArgumentParser) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    from pyvision.image_io import ImageError, write_file

    # One line per bad file is ours to write; Pillow's warnings about odd metadata are not for this audience.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if args.threads is not None:
        pyvision.set_num_threads(args.threads)
    run = job.prepare(parser)
    errors = Console(stderr=True)
    files, failures = _find(args.images, errors)
    outputs = {} if args.no_save else _plan_outputs(files, args.out, job, parser)

    summaries: list[Summary] = []
    table = _table(job)
    columns = (TextColumn(job.task), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    show_progress = errors.is_terminal and len(files) > 1
    with Progress(*columns, console=errors, transient=True, disable=not show_progress) as progress:
        for file in progress.track(files):
            try:
                result, milliseconds = run(file)
                summary = job.summary(result)
                if file in outputs:
                    job.save(result, outputs[file])
                    write_file(outputs[file][1], (json.dumps(summary, indent=2) + "\n").encode())
            except ImageError as error:
                failures += _complain(errors, str(error))
                continue
            except MemoryError:
                failures += _complain(errors, f"{file}: not enough memory for this image")
                continue
            except OSError as error:
                failures += _complain(errors, f"{file}: cannot save {error.filename}: {error.strerror}")
                continue
            summaries.append(summary)
            for i, row in enumerate(job.rows(summary)):
                took = f"{milliseconds:.1f} ms"
                cells = (_printable(file), *row, took) if i == 0 else ("", *row, "")
                table.add_row(*map(Text, cells))  # Text: brackets in a name are no markup

    if args.json:
        print(json.dumps(summaries, indent=2))
    elif summaries:
        place = "" if args.no_save else f"; saved in {args.out}"
        threads = f"{pyvision.get_num_threads()} threads, {pyvision._core.isa()}"
        table.caption = Text(_printable(f"{job.tool()}: {threads}{place}"))
        console = Console()
        if not console.is_terminal:
            console.width = 200  # a file or a pipe has no width to fit in: keep each row on its line
        console.print(table)
    return 1 if failures else 0


def _load(model: str, task: str, parser: argparse.ArgumentParser) -> Predictor:
    try:
        predictor = pyvision.load(model)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if predictor.model.task != task:
        parser.error(f"argument --model: {model} is not a model to {task} with")
    return predictor


def _find(sources: Sequence[str], errors: Console) -> tuple[list[str], int]:
    """The files that the arguments stand for, each once, and how many arguments stood for nothing."""
    from pyvision.image_io import ImageError, expand

    files: list[str] = []
    failures = 0
    for source in sources:
        try:
            found = expand(source)
            files += [source] if found is None else found
        except (ImageError, OSError) as error:
            failures += _complain(errors, str(error))
    return list(dict.fromkeys(files)), failures


def _plan_outputs(
    files: Sequence[str], folder: Path, job: _Job, parser: argparse.ArgumentParser
) -> dict[str, list[Path]]:
    """Where each image's results go: named as the image, and numbered where two would share a name."""
    from pyvision.image_io import WRITABLE_SUFFIXES

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --out: cannot make {folder}: {error.strerror}")
    home = {os.path.realpath(os.path.dirname(file)): file for file in files}.get(os.path.realpath(folder))
    if home is not None:
        parser.error(
            f"argument --out: {folder} holds {home}, which would be overwritten; choose another directory"
        )

    taken: set[str] = set()
    plan = {}
    for file in files:
        stem, suffix = os.path.splitext(os.path.basename(file))
        suffix = suffix if suffix.lower() in WRITABLE_SUFFIXES else ".png"
        names, number = job.names(stem, suffix), 1
        while any(name.casefold() in taken for name in names):
            number += 1
            names = job.names(f"{stem}_{number}", suffix)
        taken.update(name.casefold() for name in names)
        plan[file] = [folder / name for name in names]
    return plan


def _table(job: _Job) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, caption_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column(job.columns[0], style="bold")
    for name in (*job.columns[1:], "time"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _complain(errors: Console, message: str) -> int:
    """One line about one file on stderr; the number of failures it stands for."""
    errors.print(
        f"pyvision: {_printable(message)}", markup=False, highlight=False, emoji=False, soft_wrap=True
    )
    return 1


def _printable(name: str) -> str:
    """A file's name on one line: names may hold line breaks, and bytes that are no characters."""
    text = os.fsencode(name).decode(errors="replace")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _box_text(box: Sequence[float]) -> str:
    return " ".join(f"{round(value):4d}" for value in box)
