// SPDX-License-Identifier: Apache-2.0
#include "roi.cuh"

#include <cmath>

#include "common/bind.h"

namespace pyvision::cuda::roi_bind {

// level, finest, coarsest, canonical_scale, canonical_level
using Level = std::tuple<int, float, float, float, float>;

// What ops on regions are given: of map and bins one is read and the other written.
struct Call {
  RoiProblem p;
  void* map;
  void* bins;

  Call(const Stream& stream, const std::string& op_name, const DeviceArray& map, const DeviceArray& boxes,
       const DeviceArray& bins, double spatial_scale, bool own_channels, int64_t columns = 5) {
    const char* const op = op_name.c_str();
    p.dtype = checked_float_type(map, op, "maps");
    this->map = checked_data(map, op, "maps", stream, p.dtype, {-1, -1, -1, -1});
    const auto& x = map.tensor.shape;
    p.n = x[0], p.h = x[1], p.w = x[2], p.channels = x[3];
    constexpr int64_t kLargest = int64_t{1} << 29;  // coordinates are counted in 32 bits
    check(p.h > 0 && p.w > 0 && p.h < kLargest && p.w < kLargest && p.channels < kLargest, op,
          "expected maps of at least one pixel, with extents below 2^29, got ", shape_text(map.tensor));
    p.boxes = static_cast<const float*>(checked_data(boxes, op, "boxes", stream, DType::kF32, {-1, columns}));
    p.count = boxes.tensor.shape[0];
    check(bins.tensor.rank == 4, op, "expected bins with 4 dimensions, got shape ", shape_text(bins.tensor));
    p.bins_h = bins.tensor.shape[1], p.bins_w = bins.tensor.shape[2];
    check(p.bins_h > 0 && p.bins_w > 0 && p.bins_h < kLargest && p.bins_w < kLargest, op,
          "expected output_size to be positive, and below 2^29, got ", shape_text(bins.tensor.shape + 1, 2));
    int64_t channels = p.channels;
    if (own_channels) {
      check(channels % (p.bins_h * p.bins_w) == 0, op, "expected channels in multiples of ",
            p.bins_h * p.bins_w, ", got ", channels);
      channels /= p.bins_h * p.bins_w;
    }
    this->bins = checked_data(bins, op, "bins", stream, p.dtype, {p.count, p.bins_h, p.bins_w, channels});
    p.spatial_scale = spatial_scale;
    const auto scale = static_cast<float>(spatial_scale);  // as most kernels take it
    check(std::isfinite(scale) && scale > 0, op, "expected spatial_scale to be positive and finite, got ",
          spatial_scale);
  }

  void sample(const std::string& op, int64_t sampling_ratio, bool aligned) {
    check(sampling_ratio <= 1024, op.c_str(), "expected sampling_ratio of at most 1024, got ",
          sampling_ratio);
    p.sampling_ratio = sampling_ratio;
    p.aligned = aligned;
  }
  std::vector<int64_t> bins_shape() const { return {p.count, p.bins_h, p.bins_w, p.channels}; }
};

RoiKind parse_kind(const std::string& kind) {
  if (kind == "maximum") return RoiKind::kMaximum;
  return kind == "own_channels" ? RoiKind::kOwnChannels : RoiKind::kAverage;
}

template <bool kBackward>
void align(const Stream& stream, const std::string& op, const std::string& kind_name, const DeviceArray& map,
           const DeviceArray& boxes, const DeviceArray& bins, double spatial_scale, int64_t sampling_ratio,
           bool aligned, const std::optional<Level>& level, const OptionalArray& places) {
  const RoiKind kind = parse_kind(kind_name);
  Call call(stream, op, map, boxes, bins, spatial_scale, kind == RoiKind::kOwnChannels);
  call.sample(op, sampling_ratio, aligned);
  if (level) std::apply([&](auto... values) { call.p.level = {values...}; }, *level);
  std::vector<int64_t> shape = call.bins_shape();
  shape.push_back(2);
  float* const at = data_or_null<float>(places, op.c_str(), "places", stream, DType::kF32, shape);
  check(kind == RoiKind::kMaximum ? at != nullptr || !kBackward || call.p.count == 0 : !places, op.c_str(),
        "expected places of maxima alone");
  if (kBackward) return roi_align_backward(op.c_str(), stream, call.p, kind, call.bins, at, call.map);
  roi_align(op.c_str(), stream, call.p, kind, call.map, call.bins, at);
}

int32_t* argmax_data(const Stream& stream, const std::string& op, const Call& call,
                     const DeviceArray& argmax) {
  check(call.p.h * call.p.w <= INT32_MAX, op.c_str(), "expected maps of at most 2147483647 pixels");
  return static_cast<int32_t*>(
      checked_data(argmax, op.c_str(), "argmax", stream, DType::kI32, call.bins_shape()));
}

template <bool kBackward>
void align_rotated(const Stream& stream, const std::string& op, const DeviceArray& map,
                   const DeviceArray& boxes, const DeviceArray& bins, double spatial_scale,
                   int64_t sampling_ratio, bool aligned, const DeviceArray& workspace) {
  Call call(stream, op, map, boxes, bins, spatial_scale, false, 6);
  call.sample(op, sampling_ratio, aligned);
  void* const memory =
      workspace_data(workspace, op.c_str(), stream, roi_align_rotated_workspace_bytes(call.p));
  if (kBackward) return roi_align_rotated_backward(op.c_str(), stream, call.p, call.bins, memory, call.map);
  roi_align_rotated(op.c_str(), stream, call.p, call.map, memory, call.bins);
}

// A call of deform_roi_pool; bins that move lie where the samples of aligned boxes do.
struct DeformCall : Call {
  BinMoves moves;

  DeformCall(const Stream& stream, const std::string& op_name, const DeviceArray& map,
             const DeviceArray& boxes, const DeviceArray& bins, double spatial_scale, int64_t sampling_ratio,
             double gamma, const OptionalArray& offset, const OptionalArray& mask)
      : Call(stream, op_name, map, boxes, bins, spatial_scale, false) {
    const char* const op = op_name.c_str();
    sample(op_name, sampling_ratio, true);
    check(std::isfinite(gamma), op, "expected gamma to be finite, got ", gamma);
    moves.gamma = static_cast<float>(gamma);
    moves.offset = offsets(offset, op, "offset", stream);
    moves.mask = masks(mask, op, "mask", stream);
  }
  float* offsets(const OptionalArray& array, const char* op, const char* name, const Stream& stream) const {
    return data_or_null<float>(array, op, name, stream, DType::kF32, {p.count, 2, p.bins_h, p.bins_w});
  }
  float* masks(const OptionalArray& array, const char* op, const char* name, const Stream& stream) const {
    return data_or_null<float>(array, op, name, stream, DType::kF32, {p.count, 1, p.bins_h, p.bins_w});
  }
};

void deform_pool(const Stream& stream, const DeviceArray& map, const DeviceArray& boxes,
                 const DeviceArray& bins, double spatial_scale, int64_t sampling_ratio, double gamma,
                 const OptionalArray& offset, const OptionalArray& mask) {
  const std::string op = "deform_roi_pool";
  const DeformCall call(stream, op, map, boxes, bins, spatial_scale, sampling_ratio, gamma, offset, mask);
  deform_roi_pool(op.c_str(), stream, call.p, call.moves, call.map, call.bins);
}

// The gradient of a map, which is of its dtype and shape.
void* map_gradient(const Stream& stream, const std::string& op, const Call& call,
                   const DeviceArray& grad_map) {
  const RoiProblem& p = call.p;
  return checked_data(grad_map, op.c_str(), "grad_map", stream, p.dtype, {p.n, p.h, p.w, p.channels});
}

void deform_pool_backward(const Stream& stream, const DeviceArray& map, const DeviceArray& boxes,
                          const DeviceArray& grad, double spatial_scale, int64_t sampling_ratio, double gamma,
                          const OptionalArray& offset, const OptionalArray& mask,
                          const DeviceArray& workspace, const DeviceArray& grad_map,
                          const OptionalArray& grad_offset, const OptionalArray& grad_mask) {
  const std::string op = "deform_roi_pool_backward";
  const DeformCall call(stream, op, map, boxes, grad, spatial_scale, sampling_ratio, gamma, offset, mask);
  void* const memory =
      workspace_data(workspace, op.c_str(), stream, deform_roi_pool_backward_workspace_bytes(call.p));
  deform_roi_pool_backward(op.c_str(), stream, call.p, call.moves, call.map, call.bins, memory,
                           map_gradient(stream, op, call, grad_map),
                           call.offsets(grad_offset, op.c_str(), "grad_offset", stream),
                           call.masks(grad_mask, op.c_str(), "grad_mask", stream));
}

void precise_pool_backward(const Stream& stream, const DeviceArray& map, const DeviceArray& boxes,
                           const DeviceArray& grad, double spatial_scale, const DeviceArray& grad_map,
                           const DeviceArray& grad_boxes) {
  const std::string op = "prroi_pool_backward";
  const Call call(stream, op, map, boxes, grad, spatial_scale, false);
  prroi_pool_backward(op.c_str(), stream, call.p, call.map, call.bins,
                      map_gradient(stream, op, call, grad_map),
                      static_cast<float*>(checked_data(grad_boxes, op.c_str(), "grad_boxes", stream,
                                                       DType::kF32, {call.p.count, 5})));
}

RoiProblem of_boxes(int64_t count, int64_t bins) {
  RoiProblem p;
  p.count = count, p.bins_h = bins;
  return p;
}

void define(py::module_& m) {
  m.def(
      "join_boxes",
      [](const Stream& stream, const std::string& op_name, const DeviceArray& boxes, int64_t image,
         int64_t begin, const DeviceArray& joined) {
        const char* const op = op_name.c_str();
        void* const from = checked_data(boxes, op, "boxes", stream, DType::kF32, {-1, -1});
        const int64_t count = boxes.tensor.shape[0], columns = boxes.tensor.shape[1];
        void* const to = checked_data(joined, op, "boxes", stream, DType::kF32, {-1, columns + 1});
        check(begin >= 0 && begin + count <= joined.tensor.shape[0], op, "expected room for ", count,
              " boxes from ", begin, " on, got ", joined.tensor.shape[0]);
        join_boxes(op, stream, static_cast<float*>(from), count, columns, image, begin,
                   static_cast<float*>(to));
      },
      py::arg("stream"), py::arg("op"), py::arg("boxes"), py::arg("image"), py::arg("begin"),
      py::arg("joined"));
  const auto define_align = [&](const char* name, auto function) {
    m.def(name, function, py::arg("stream"), py::arg("op"), py::arg("kind"), py::arg("map"), py::arg("boxes"),
          py::arg("bins"), py::arg("spatial_scale"), py::arg("sampling_ratio"), py::arg("aligned"),
          py::arg("level"), py::arg("places"));
  };
  define_align("roi_align", &align<false>);
  define_align("roi_align_backward", &align<true>);
  m.def(
      "roi_pool",
      [](const Stream& stream, const DeviceArray& map, const DeviceArray& boxes, const DeviceArray& bins,
         double spatial_scale, const DeviceArray& argmax) {
        const std::string op = "roi_pool";
        const Call call(stream, op, map, boxes, bins, spatial_scale, false);
        roi_pool(op.c_str(), stream, call.p, call.map, call.bins, argmax_data(stream, op, call, argmax));
      },
      py::arg("stream"), py::arg("map"), py::arg("boxes"), py::arg("bins"), py::arg("spatial_scale"),
      py::arg("argmax"));
  m.def(
      "roi_pool_backward_workspace",
      [](int64_t count, int64_t bins) { return roi_pool_backward_workspace_bytes(of_boxes(count, bins)); },
      py::arg("count"), py::arg("bins"));
  m.def(
      "roi_pool_backward",
      [](const Stream& stream, const DeviceArray& map, const DeviceArray& boxes, const DeviceArray& bins,
         const DeviceArray& argmax, const DeviceArray& workspace) {
        const std::string op = "roi_pool_backward";
        const Call call(stream, op, map, boxes, bins, 1, false);
        void* const memory =
            workspace_data(workspace, op.c_str(), stream, roi_pool_backward_workspace_bytes(call.p));
        roi_pool_backward(op.c_str(), stream, call.p, call.bins, argmax_data(stream, op, call, argmax),
                          memory, call.map);
      },
      py::arg("stream"), py::arg("map"), py::arg("boxes"), py::arg("bins"), py::arg("argmax"),
      py::arg("workspace"));
  const auto define_pool = [&](const char* name, bool own_channels, auto run) {
    m.def(
        name,
        [name, own_channels, run](const Stream& stream, const DeviceArray& map, const DeviceArray& boxes,
                                  const DeviceArray& bins, double spatial_scale) {
          run(name, stream, Call(stream, name, map, boxes, bins, spatial_scale, own_channels));
        },
        py::arg("stream"), py::arg("map"), py::arg("boxes"), py::arg("bins"), py::arg("spatial_scale"));
  };
  define_pool("prroi_pool", false, [](const char* op, const Stream& stream, const Call& call) {
    prroi_pool(op, stream, call.p, call.map, call.bins);
  });
  define_pool("ps_roi_pool", true, [](const char* op, const Stream& stream, const Call& call) {
    ps_roi_pool(op, stream, call.p, call.map, call.bins);
  });
  define_pool("ps_roi_pool_backward", true, [](const char* op, const Stream& stream, const Call& call) {
    ps_roi_pool_backward(op, stream, call.p, call.bins, call.map);
  });
  m.def("prroi_pool_backward", &precise_pool_backward, py::arg("stream"), py::arg("map"), py::arg("boxes"),
        py::arg("grad"), py::arg("spatial_scale"), py::arg("grad_map"), py::arg("grad_boxes"));
  m.def("deform_roi_pool", &deform_pool, py::arg("stream"), py::arg("map"), py::arg("boxes"), py::arg("bins"),
        py::arg("spatial_scale"), py::arg("sampling_ratio"), py::arg("gamma"), py::arg("offset"),
        py::arg("mask"));
  m.def(
      "deform_roi_pool_backward_workspace",
      [](int64_t count) { return deform_roi_pool_backward_workspace_bytes(of_boxes(count, 1)); },
      py::arg("count"));
  m.def("deform_roi_pool_backward", &deform_pool_backward, py::arg("stream"), py::arg("map"),
        py::arg("boxes"), py::arg("grad"), py::arg("spatial_scale"), py::arg("sampling_ratio"),
        py::arg("gamma"), py::arg("offset"), py::arg("mask"), py::arg("workspace"), py::arg("grad_map"),
        py::arg("grad_offset"), py::arg("grad_mask"));
  m.def(
      "roi_align_rotated_workspace",
      [](int64_t count) { return roi_align_rotated_workspace_bytes(of_boxes(count, 1)); }, py::arg("count"));
  const auto define_rotated = [&](const char* name, auto function) {
    m.def(name, function, py::arg("stream"), py::arg("op"), py::arg("map"), py::arg("boxes"), py::arg("bins"),
          py::arg("spatial_scale"), py::arg("sampling_ratio"), py::arg("aligned"), py::arg("workspace"));
  };
  define_rotated("roi_align_rotated", &align_rotated<false>);
  define_rotated("roi_align_rotated_backward", &align_rotated<true>);
}

}  // namespace pyvision::cuda::roi_bind
