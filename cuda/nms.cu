// SPDX-License-Identifier: Apache-2.0
#include "nms.cuh"

#include "boxes.cuh"
#include "ops/nms/limit.h"
#include "rotated_boxes.cuh"
#include "suppress.cuh"

namespace pyvision::cuda {
namespace {

template <class T>
struct AxisAligned {
  using Score = T;
  using Item = Box<T>;
  const T* boxes;  // (n, 4)
  T limit;
  double wide_limit;

  __device__ Item load(int64_t i) const { return load_box(boxes, i); }
  __device__ bool valid(const Item& box) const { return is_finite(box); }
  __device__ bool wide(const Item& box) const { return needs_double(box); }
  __device__ bool hits(const Item& a, const Item& b, bool in_double) const {
    if (!in_double) return overlap(a, b, limit);
    return overlap<double>({a.x1, a.y1, a.x2, a.y2}, {b.x1, b.y1, b.x2, b.y2}, wide_limit);
  }
};

template <class T>
struct Rotated {
  using Score = T;
  using Item = RotatedBoxFields<T>;
  const T* boxes;  // (n, 5)
  T limit;
  double wide_limit;

  __device__ Item load(int64_t i) const { return load_rotated(boxes, i); }
  __device__ bool valid(const Item& box) const { return is_finite(box); }
  __device__ bool wide(const Item& box) const { return needs_double(box); }
  __device__ bool hits(const Item& a, const Item& b, bool in_double) const {
    if (!in_double) return rotated_iou(a, b) > limit;
    return rotated_iou(widened(a), widened(b)) > wide_limit;
  }
};

// run(shape) of the problem's dtype and kind of boxes.
template <class Run>
void with_shape(const NmsProblem& p, Run run) {
  const auto make = [&](auto zero) {
    using T = decltype(zero);
    const auto* const boxes = static_cast<const T*>(p.boxes);
    const T limit = nms_limit(T{}, p.threshold);
    if (p.rotated) return run(Rotated<T>{boxes, limit, p.threshold});
    run(AxisAligned<T>{boxes, limit, p.threshold});
  };
  if (p.dtype == DType::kF64) return make(0.0);
  make(0.0f);
}

}  // namespace

size_t nms_workspace_bytes(const Stream& stream, const NmsProblem& p) {
  size_t bytes = 0;
  with_shape(p, [&](auto shape) { bytes = Buffers<decltype(shape)>(stream, p, nullptr).bytes; });
  return bytes;
}

void nms(const char* op, const Stream& stream, const NmsProblem& p, void* workspace, int64_t* keep,
         int64_t room, int64_t* count) {
  with_shape(p, [&](auto shape) { suppress(op, stream, p, shape, workspace, keep, room, count); });
}

}  // namespace pyvision::cuda
