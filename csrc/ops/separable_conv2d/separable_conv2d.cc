// SPDX-License-Identifier: Apache-2.0
#include "ops/separable_conv2d/separable_conv2d.h"

#include <algorithm>
#include <cstring>

#include "conv/plan.h"
#include "core/arena.h"
#include "core/parallel.h"
#include "ops/conv2d/kernels.h"

namespace pyvision {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

struct SeparableConv2d::Impl {
  Conv2dParams depthwise;
  int64_t out_channels;
  ActivationParams activation;
  const Conv2dKernels* kernels;
  const SeparableConv2dKernels* tiles;
  AlignedBuffer taps, taps_bias;  // (taps, channels), (channels,)
  AlignedBuffer panels, bias;     // of the pointwise convolution, zero-padded to whole panels
};

SeparableConv2d::SeparableConv2d(const Conv2dParams& depthwise, int64_t out_channels,
                                 const ActivationParams& activation, const float* depthwise_weight,
                                 const float* pointwise_weight, const float* depthwise_bias,
                                 const float* pointwise_bias)
    : impl_(new Impl) {
  Impl& s = *impl_;
  s.depthwise = depthwise, s.out_channels = out_channels, s.activation = activation;
  s.kernels = &conv2d_kernels();
  s.tiles = &separable_conv2d_kernels();
  const int64_t channels = depthwise.out_channels, taps = depthwise.kernel_h * depthwise.kernel_w;
  const auto padded_copy = [](const float* from, int64_t count, int64_t padded) {
    AlignedBuffer copy(static_cast<size_t>(padded) * sizeof(float));
    std::memset(copy.as<void>(), 0, copy.bytes());
    if (from != nullptr) std::copy_n(from, count, copy.as<float>());
    return copy;
  };
  s.taps = AlignedBuffer(static_cast<size_t>(taps * channels) * sizeof(float));
  pack_depthwise(depthwise, channels_first_weight(depthwise, depthwise_weight), s.taps.as<float>());
  s.taps_bias = padded_copy(depthwise_bias, channels, channels);
  s.panels =
      AlignedBuffer(static_cast<size_t>(s.kernels->packed_floats(out_channels, channels)) * sizeof(float));
  s.kernels->pack(pointwise_weight, out_channels, 1, channels, channels, 0, 1, s.panels.as<float>());
  const int64_t width = s.kernels->panel_width;
  s.bias = padded_copy(pointwise_bias, out_channels, (out_channels + width - 1) / width * width);
}

SeparableConv2d::SeparableConv2d(SeparableConv2d&&) noexcept = default;
SeparableConv2d::~SeparableConv2d() = default;

const Conv2dParams& SeparableConv2d::depthwise() const { return impl_->depthwise; }
int64_t SeparableConv2d::out_channels() const { return impl_->out_channels; }
int64_t SeparableConv2d::packed_bytes() const {
  return static_cast<int64_t>(impl_->taps.bytes() + impl_->panels.bytes());
}

void SeparableConv2d::run(const Nhwc<const float>& input, const Nhwc<const float>* residual,
                          const Nhwc<float>& output) const {
  run_part(input, impl_->depthwise.pad_top, impl_->depthwise.pad_left, residual, output);
}

void SeparableConv2d::run_part(const Nhwc<const float>& input, int64_t pad_top, int64_t pad_left,
                               const Nhwc<const float>* residual, const Nhwc<float>& output) const {
  const Impl& s = *impl_;
  if (output.pixels() == 0) return;
  const int64_t channels = s.depthwise.out_channels;
  SeparableConv job;
  job.packed = s.panels.as<float>();
  job.k = channels;
  job.out_channels = s.out_channels;
  job.rows = {{output.h, output.w}, output, residual != nullptr ? *residual : Nhwc<const float>{}};
  job.epilogue = {s.bias.as<float>(), s.activation};
  RowMap inner{{output.h, output.w}, {}, {}};  // the depthwise result has no place of its own
  inner.output.c = channels;
  job.depthwise = make_depthwise(s.depthwise, input, s.taps.as<float>(), inner, s.taps_bias.as<float>(),
                                 s.tiles->tile_rows);
  job.depthwise.pad_top = pad_top, job.depthwise.pad_left = pad_left;
  job.depthwise.prefetch = false;
  const auto parts = [](int64_t extent, int64_t step, int64_t block) {
    return ceil_div(ceil_div(extent, step), block);
  };
  job.row_phases = std::min(job.depthwise.step_h, output.h);
  job.row_parts = parts(output.h, job.depthwise.step_h, s.tiles->tile_rows);
  job.column_phases = std::min(job.depthwise.step_w, output.w);
  job.column_parts = parts(output.w, job.depthwise.step_w, s.tiles->tile_pixels);
  job.row_tiles = output.n * job.row_phases * job.row_parts * job.column_phases * job.column_parts;
  job.rows_base = s.kernels->row_tile, job.rows_extra = 0;
  job.row_count = job.row_tiles * job.rows_base;
  const ConvMachine machine = conv_machine(*s.kernels);
  const DirectPlan plan = plan_rows_first(job.row_count, s.out_channels, channels, 1, machine);
  job.panels_in_l2 = plan.panels_in_l2;
  parallel_for(plan.tile_tasks * plan.panel_tasks, 1, [&](int64_t begin, int64_t end) {
    const Scratch<float> tiles(kTileGroup * s.kernels->row_tile * s.kernels->tile_stride);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t t = task % plan.tile_tasks;  // [0, tile_tasks)
      const int64_t p = task / plan.tile_tasks;  // [0, panel_tasks)
      s.tiles->direct(job, t * plan.tiles_per_task, std::min((t + 1) * plan.tiles_per_task, plan.row_tiles),
                      p * plan.panels_per_task, std::min((p + 1) * plan.panels_per_task, plan.panels), tiles);
    }
  });
}

void SeparableConv2d::run_nchw(const float* input, int64_t n, int64_t h, int64_t w, float* output) const {
  const Conv2dParams& p = impl_->depthwise;
  run_strips<float, float>(
      {n, p.in_channels, h, w, impl_->out_channels, p.out_h(h), p.out_w(w)}, input, nullptr, output,
      [&](int64_t first, int64_t last) { return rows_seen(p, first, last); },
      [&](const NchwStrip<float, float>& strip) {
        run_part(strip.input, p.pad_top + strip.first_in - strip.first_out * p.stride_h, p.pad_left, nullptr,
                 strip.output);
      });
}

}  // namespace pyvision
