// SPDX-License-Identifier: Apache-2.0
#include "ops/inverted_residual/inverted_residual.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "conv/plan.h"
#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

// Along one axis: outputs [first, last), and the inputs [begin, end) inside the image that they see.
struct Span {
  int64_t first, last, begin, end;
  int64_t pad;  // of outputs `first`, before `begin`

  Span(int64_t first, int64_t last, int64_t stride, int64_t pad_before, int64_t span, int64_t extent)
      : first(first), last(last) {
    const int64_t from = first * stride - pad_before, to = (last - 1) * stride - pad_before + span;
    begin = std::clamp<int64_t>(from, 0, extent);
    end = std::clamp<int64_t>(to, begin, extent);
    pad = begin - from;
  }
  int64_t outputs() const { return last - first; }
  int64_t inputs() const { return end - begin; }
};

template <class T>
Nhwc<T> part(Nhwc<T> map, int64_t n, int64_t h, int64_t height, int64_t w, int64_t width) {
  map.data = map.at(n, h, w);
  map.n = 1, map.h = height, map.w = width;
  return map;
}

}  // namespace

InvertedResidual::InvertedResidual(Conv2d expand, SeparableConv2d filter_and_project)
    : expand_(std::move(expand)), separable_(std::move(filter_and_project)) {}

void InvertedResidual::run(const Nhwc<const float>& input, const Nhwc<const float>* residual,
                           const Nhwc<float>& output) const {
  run_part(input, separable_.depthwise().pad_top, residual, output);
}

void InvertedResidual::run_nchw(const float* input, int64_t n, int64_t h, int64_t w, const float* residual,
                                float* output) const {
  const Conv2dParams& p = separable_.depthwise();
  NchwShape shape{n, expand_.params().in_channels, h, w, separable_.out_channels(), p.out_h(h), p.out_w(w)};
  // Rows that two strips see are expanded twice: as few strips as may be.
  shape.strip_bytes = 2 * kStripBytes;
  run_strips<float, float>(
      shape, input, residual, output, [&](int64_t first, int64_t last) { return rows_seen(p, first, last); },
      [&](const NchwStrip<float, float>& strip) {
        const Nhwc<const float> r = as_const(strip.output);
        run_part(strip.input, p.pad_top + strip.first_in - strip.first_out * p.stride_h,
                 residual != nullptr ? &r : nullptr, strip.output);
      });
}

void InvertedResidual::run_part(const Nhwc<const float>& input, int64_t pad_top,
                                const Nhwc<const float>* residual, const Nhwc<float>& output) const {
  if (output.pixels() == 0) return;
  const Conv2dParams& p = separable_.depthwise();
  const int64_t span_h = p.dilation_h * (p.kernel_h - 1) + 1, span_w = p.dilation_w * (p.kernel_w - 1) + 1;
  const StripPlan plan = plan_strips(p, input, output, num_threads());
  parallel_for(output.n * plan.row_tasks * plan.column_parts, 1, [&](int64_t begin, int64_t end) {
    const Scratch<float> memory(plan.floats);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t column = task % plan.column_parts * plan.columns;                      // [0, out_w)
      const int64_t row = task / plan.column_parts % plan.row_tasks * plan.rows_per_task;  // [0, out_h)
      const int64_t n = task / plan.column_parts / plan.row_tasks;
      const int64_t last_row = std::min(row + plan.rows_per_task, output.h);
      const Span w(column, std::min(column + plan.columns, output.w), p.stride_w, p.pad_left, span_w,
                   input.w);
      int64_t kept_begin = 0, kept_end = 0;  // rows of the image that are in memory
      for (int64_t first = row; first < last_row; first += plan.rows) {
        const Span h(first, std::min(first + plan.rows, last_row), p.stride_h, pad_top, span_h, input.h);
        const auto expanded =
            dense_nhwc<float>(memory, 1, h.inputs(), w.inputs(), expand_.params().out_channels);
        const int64_t kept = std::max<int64_t>(kept_end - h.begin, 0);
        if (kept > 0)
          std::memmove(expanded.data, expanded.at(0, h.begin - kept_begin, 0),
                       static_cast<size_t>(kept * expanded.stride_h) * sizeof(float));
        kept_begin = h.begin, kept_end = h.end;
        const int64_t added = h.inputs() - kept;
        expand_.run(part(input, n, h.begin + kept, added, w.begin, w.inputs()), nullptr,
                    part(expanded, 0, kept, added, 0, w.inputs()));
        const auto r = residual == nullptr ? Nhwc<const float>{}
                                           : part(*residual, n, h.first, h.outputs(), w.first, w.outputs());
        separable_.run_part(as_const(expanded), h.pad, w.pad, residual == nullptr ? nullptr : &r,
                            part(output, n, h.first, h.outputs(), w.first, w.outputs()));
      }
    }
  });
}

}  // namespace pyvision
