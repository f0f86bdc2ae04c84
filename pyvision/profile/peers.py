# SPDX-License-Identifier: Apache-2.0
"""Other libraries behind one small interface, for side-by-side timings.

None is needed by pyvision. A peer that is not installed, or that has no such operation, raises Unavailable
with the reason, and reports list it as absent.
"""

from __future__ import annotations

import importlib
import math
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyvision.profile.report import OURS

Floats = NDArray[np.float32]
Run = Callable[[], object]
CpuPrecision = Literal["f32", "bf16"]


class Unavailable(Exception):
    """Why a peer has no time here."""


@dataclass(frozen=True)
class ConvCase:
    """One square convolution; extents in pixels, padding as (top, left, bottom, right)."""

    height: int
    width: int
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: int = 1
    groups: int = 1
    batch: int = 1

    @property
    def name(self) -> str:
        """What tells it from other layers: "3x3/2 56² 64→128, dilation 2, 32 groups"."""
        step = f"/{self.stride}" if self.stride > 1 else ""
        size = f"{self.height}²" if self.height == self.width else f"{self.height}x{self.width}"
        text = f"{self.kernel}x{self.kernel}{step} {size} {self.in_channels}→{self.out_channels}"
        if self.dilation > 1:
            text += f", dilation {self.dilation}"
        if self.groups > 1:
            text += ", depthwise" if self.groups == self.in_channels else f", {self.groups} groups"
        return text if self.batch == 1 else f"{text}, batch {self.batch}"

    @property
    def out_size(self) -> tuple[int, int]:
        top, left, bottom, right = self.padding
        reach = self.dilation * (self.kernel - 1) + 1
        height = (self.height + top + bottom - reach) // self.stride + 1
        width = (self.width + left + right - reach) // self.stride + 1
        return height, width

    @property
    def gflop(self) -> float:
        height, width = self.out_size
        taps = self.kernel**2 * self.in_channels // self.groups
        return 2e-9 * self.batch * height * width * self.out_channels * taps

    @property
    def gbyte(self) -> float:
        """The least that any algorithm moves: input and weights read once, output written once, in f32."""
        height, width = self.out_size
        maps = self.height * self.width * self.in_channels + height * width * self.out_channels
        return 4e-9 * (self.batch * maps + math.prod(self.weight_shape))

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel


@dataclass(frozen=True)
class Prepared:
    """A peer ready to be timed: `run` computes, `outputs` fetches what the last run computed."""

    run: Run
    outputs: Callable[[], list[Floats]]


class Peer(ABC):
    """`key` is what options call it; `package` is the distribution whose version a report states."""

    key: str
    name: str
    package: str

    def conv2d(self, case: ConvCase, weight: Floats, bias: Floats, x: Floats, threads: int) -> Prepared:
        """`x` is (N, C, H, W); weights are packed before the first run where the library can."""
        raise Unavailable(f"{self.name} is not asked for single convolutions")

    def model(self, path: Path, x: Floats, threads: int) -> Prepared:
        """The ONNX file at `path`, whose one input is `x` (N, C, H, W); outputs in the file's order."""
        raise Unavailable(f"{self.name} runs no ONNX files")


class _OnnxPeer(Peer):
    """A peer that runs ONNX: a single convolution is a model of one node."""

    def conv2d(self, case: ConvCase, weight: Floats, bias: Floats, x: Floats, threads: int) -> Prepared:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "conv.onnx"
            path.write_bytes(_conv_model(case, weight, bias))
            return self.model(path, x, threads)

    @abstractmethod
    def model(self, path: Path, x: Floats, threads: int) -> Prepared: ...


def _with_precision(name: str, precision: CpuPrecision) -> str:
    return name if precision == "f32" else f"{name} {precision}"


class OpenVino(_OnnxPeer):
    key, name, package = "openvino", "OpenVINO", "openvino"

    def __init__(self, precision: CpuPrecision = "f32") -> None:
        """Its own default is bf16 where the CPU has it."""
        self.precision = precision
        self.name = _with_precision(self.name, precision)

    def model(self, path: Path, x: Floats, threads: int) -> Prepared:
        openvino = require("openvino")
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": str(threads),
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.Core().compile_model(str(path), "CPU", options)
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        count = len(compiled.outputs)
        return Prepared(
            request.infer, lambda: [request.get_output_tensor(i).data.copy() for i in range(count)]
        )


class OnnxRuntime(_OnnxPeer):
    key, name, package = "onnxruntime", "ONNX Runtime", "onnxruntime"

    def model(self, path: Path, x: Floats, threads: int) -> Prepared:
        onnxruntime = require("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()  # spares it the copies into and out of NumPy
        binding.bind_cpu_input(session.get_inputs()[0].name, x)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        return Prepared(lambda: session.run_with_iobinding(binding), binding.copy_outputs_to_cpu)


class OpenCv(_OnnxPeer):
    key, name, package = "opencv", "OpenCV", "opencv-contrib-python-headless"

    def model(self, path: Path, x: Floats, threads: int) -> Prepared:
        cv2 = require("cv2")
        cv2.setNumThreads(threads)
        net = cv2.dnn.readNetFromONNX(str(path))
        names = net.getUnconnectedOutLayersNames()
        latest: list[Floats] = []

        def run() -> None:
            net.setInput(x)
            latest[:] = net.forward(names)

        return Prepared(run, lambda: latest)


class Ncnn(Peer):
    key, name, package = "ncnn", "ncnn", "ncnn"

    def conv2d(self, case: ConvCase, weight: Floats, bias: Floats, x: Floats, threads: int) -> Prepared:
        if case.batch != 1:
            raise Unavailable("ncnn has no batch axis")
        top, left, bottom, right = case.padding
        numbers = {
            0: case.out_channels,
            1: case.kernel,
            2: case.dilation,
            3: case.stride,
            4: left,
            14: top,
            15: right,
            16: bottom,
            5: 1,  # has a bias
            6: weight.size,
        }
        kind = "Convolution"
        if case.groups > 1:
            kind, numbers[7] = "ConvolutionDepthWise", case.groups
        params = " ".join(f"{key}={value}" for key, value in numbers.items())
        text = f"7767517\n2 2\nInput input 0 1 in0\n{kind} conv 1 1 in0 out0 {params}\n"
        # A zero tag says that the weights that follow are f32.
        blob = np.uint32(0).tobytes() + weight.tobytes() + bias.tobytes()
        with tempfile.TemporaryDirectory() as folder:
            param, binary = Path(folder) / "conv.param", Path(folder) / "conv.bin"
            param.write_text(text)
            binary.write_bytes(blob)
            return self._prepare(param, binary, x, threads)

    def model(self, path: Path, x: Floats, threads: int) -> Prepared:
        """Converts with pnnx, ncnn's own converter, in a temporary folder."""
        converter = require("pnnx").EXEC_PATH
        shape = str(list(x.shape)).replace(" ", "")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            copy.write_bytes(path.read_bytes())
            command = [converter, copy.name, f"inputshape={shape}", "fp16=0"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            param, binary = copy.with_suffix(".ncnn.param"), copy.with_suffix(".ncnn.bin")
            if done.returncode != 0 or not param.is_file():
                raise Unavailable(f"pnnx could not convert {path.name} (exit status {done.returncode})")
            return self._prepare(param, binary, x, threads)

    def _prepare(self, param: Path, binary: Path, x: Floats, threads: int) -> Prepared:
        ncnn = require("ncnn")
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.opt.use_bf16_storage = False
        net.opt.use_winograd_convolution = net.opt.use_sgemm_convolution = net.opt.use_packing_layout = True
        if net.load_param(str(param)) != 0 or net.load_model(str(binary)) != 0:
            raise Unavailable("ncnn could not load the converted model")
        source, names = net.input_names()[0], net.output_names()
        image = ncnn.Mat(x[0])
        latest: list[Any] = []

        def run() -> None:
            extractor = net.create_extractor()
            extractor.input(source, image)
            latest[:] = [extractor.extract(name)[1] for name in names]

        return Prepared(run, lambda: [np.array(mat)[None] for mat in latest])


class Torch(Peer):
    """oneDNN through torch: channels last, the weight reordered once, as torch.compile does it."""

    key, name, package = "torch", "torch channels_last", "torch"

    def __init__(self, precision: CpuPrecision = "f32") -> None:
        self.dtype = {"f32": "float32", "bf16": "bfloat16"}[precision]
        self.name = _with_precision(self.name, precision)

    def conv2d(self, case: ConvCase, weight: Floats, bias: Floats, x: Floats, threads: int) -> Prepared:
        torch = require("torch")
        top, left, bottom, right = case.padding
        if (top, left) != (bottom, right):
            raise Unavailable("torch's conv2d has no padding that differs from side to side")
        torch.set_num_threads(threads)
        image, kernel, shift = (
            torch.from_numpy(array).to(getattr(torch, self.dtype)) for array in (x, weight, bias)
        )
        image = image.contiguous(memory_format=torch.channels_last)
        window = ((top, left), (case.stride,) * 2, (case.dilation,) * 2, case.groups)
        packed = torch.ops.mkldnn._reorder_convolution_weight(kernel, *window, list(x.shape))
        convolve = torch.ops.mkldnn._convolution_pointwise
        latest: list[Any] = []

        def run() -> None:
            with torch.no_grad():
                latest[:] = [convolve(image, packed, shift, *window, "none", [], "")]

        return Prepared(run, lambda: [y.float().numpy() for y in latest])


PEERS: tuple[Peer, ...] = (OpenVino(), OnnxRuntime(), Ncnn(), Torch(), OpenCv())
BF16_PEERS: tuple[Peer, ...] = (OpenVino("bf16"), Torch("bf16"))


def prepare_all(
    peers: Iterable[Peer], make: Callable[[Peer], Prepared]
) -> tuple[dict[str, Prepared], dict[str, str]]:
    """Those that are there by name, and for the others the reason."""
    ready: dict[str, Prepared] = {}
    absent: dict[str, str] = {}
    for peer in peers:
        try:
            ready[peer.name] = make(peer)
        except Unavailable as reason:
            absent[peer.name] = str(reason)
    return ready, absent


def candidates(ours: Run, peers: Mapping[str, Prepared]) -> dict[str, Run]:
    """What `compare` takes: ours first, then the peers."""
    return {OURS: ours, **{name: peer.run for name, peer in peers.items()}}


def drop_wrong(
    expected: list[Floats], peers: dict[str, Prepared], absent: dict[str, str], tolerance: float
) -> None:
    """Peers that compute something else are not timed: a comparison of different work says nothing."""
    for name in list(peers):
        peers[name].run()
        outputs = peers[name].outputs()
        same = len(outputs) == len(expected) and all(
            y.size == x.size and np.allclose(y.ravel(), x.ravel(), rtol=0, atol=tolerance)
            for x, y in zip(sorted(expected, key=np.size), sorted(outputs, key=np.size), strict=True)
        )
        if not same:
            del peers[name]
            absent[name] = "its outputs differ from ours"


def torchvision_nms(boxes: Floats, scores: Floats, iou_threshold: float, threads: int) -> Prepared:
    """torchvision.ops.nms."""
    torch = require("torch")
    torchvision = require("torchvision")
    torch.set_num_threads(threads)
    arguments = torch.from_numpy(boxes), torch.from_numpy(scores), iou_threshold
    latest: list[Any] = []

    def run() -> None:
        latest[:] = [torchvision.ops.nms(*arguments)]

    return Prepared(run, lambda: [y.numpy() for y in latest])


def opencv_nms(boxes: Floats, scores: Floats, iou_threshold: float, threads: int) -> Prepared:
    """cv2.dnn.NMSBoxes, on (x, y, width, height) in f64 as it takes them."""
    cv2 = require("cv2")
    cv2.setNumThreads(threads)
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    latest: list[Any] = []

    def run() -> None:
        latest[:] = [cv2.dnn.NMSBoxes(corners, scores, 0.0, iou_threshold)]

    return Prepared(run, lambda: latest)


def require(module: str) -> Any:
    """The module, or Unavailable with the reason."""
    try:
        found = importlib.import_module(module)
    except (
        ImportError,
        OSError,
        RuntimeError,
    ) as error:  # torchvision without its CUDA libraries: RuntimeError
        raise Unavailable(f"{module} cannot be imported: {str(error).splitlines()[0]}") from error
    if found.__spec__ is not None and found.__spec__.origin is None:
        folder = next(iter(found.__path__))  # Python takes any folder of this name on the path for a package
        raise Unavailable(f"{module} cannot be imported: {folder} is a folder without an __init__.py")
    return found


def _conv_model(case: ConvCase, weight: Floats, bias: Floats) -> bytes:
    onnx = require("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node(
        "Conv",
        ["x", "weight", "bias"],
        ["y"],
        kernel_shape=[case.kernel] * 2,
        strides=[case.stride] * 2,
        pads=list(case.padding),
        dilations=[case.dilation] * 2,
        group=case.groups,
    )
    shapes = {
        "x": [case.batch, case.in_channels, case.height, case.width],
        "y": [case.batch, case.out_channels, *case.out_size],
    }
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", floats, shapes["x"])],
        [helper.make_tensor_value_info("y", floats, shapes["y"])],
        [onnx.numpy_helper.from_array(weight, "weight"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized
