// SPDX-License-Identifier: Apache-2.0
#include "ops/deform_conv2d/deform_conv2d.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "conv/nchw.h"
#include "conv/plan.h"
#include "core/arena.h"
#include "core/check.h"
#include "core/parallel.h"
#include "ops/conv2d/kernels.h"

namespace pyvision {
namespace {

template <class T>
Nhwc<T> channel_slice(Nhwc<T> map, int64_t first, int64_t count) {
  map.data += first;
  map.c = count;
  return map;
}

}  // namespace

template <class T>
void set_deform_geometry(const Conv2dParams& p, int64_t offset_groups, DeformField<T>* field) {
  field->kernel_h = p.kernel_h, field->kernel_w = p.kernel_w;
  field->stride_h = p.stride_h, field->stride_w = p.stride_w;
  field->pad_h = p.pad_top, field->pad_w = p.pad_left;
  field->dilation_h = p.dilation_h, field->dilation_w = p.dilation_w;
  field->out_h = p.out_h(field->input.h), field->out_w = p.out_w(field->input.w);
  field->offset_group_channels = p.in_channels / offset_groups;
}
template void set_deform_geometry(const Conv2dParams&, int64_t, DeformField<float>*);
template void set_deform_geometry(const Conv2dParams&, int64_t, DeformField<double>*);

namespace {

// A deformable convolution's weight and bias, packed for the tile GEMM.
class PackedDeformConv {
 public:
  PackedDeformConv(const Conv2dParams& params, const float* weight, const float* bias)
      : params_(params), gemm_(conv2d_kernels()) {
    const int64_t group_in = params.in_channels / params.groups, taps = params.kernel_h * params.kernel_w;
    group_out_ = params.out_channels / params.groups, k_ = taps * group_in;
    packed_per_group_ = gemm_.packed_floats(group_out_, k_);
    packed_ = AlignedBuffer(static_cast<size_t>(params.groups * packed_per_group_) * sizeof(float));
    bias_per_group_ = (group_out_ + gemm_.panel_width - 1) / gemm_.panel_width * gemm_.panel_width;
    bias_ = AlignedBuffer(static_cast<size_t>(params.groups * bias_per_group_) * sizeof(float));
    std::memset(bias_.as<void>(), 0, bias_.bytes());
    for (int64_t g = 0; g < params.groups; ++g) {
      gemm_.pack(weight + g * group_out_ * k_, group_out_, taps, group_in, k_, 1, taps,
                 packed_.as<float>() + g * packed_per_group_);
      if (bias != nullptr)
        std::copy_n(bias + g * group_out_, group_out_, bias_.as<float>() + g * bias_per_group_);
    }
  }

  void run(const DeformField<float>& field, const Nhwc<float>& output) const {
    const int64_t rows = output.pixels();
    if (rows == 0) return;
    const DeformConv2dKernels& kernels = deform_conv2d_kernels();
    const int64_t groups = params_.groups, group_in = params_.in_channels / groups;
    const DirectPlan plan = plan_rows_first(rows, group_out_, k_, groups, conv_machine(gemm_));
    const int64_t tasks_per_group = plan.tile_tasks * plan.panel_tasks;
    parallel_for(groups * tasks_per_group, 1, [&](int64_t begin, int64_t end) {
      const Scratch<float> tiles(kTileGroup * gemm_.row_tile * gemm_.tile_stride);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t g = task / tasks_per_group;                    // [0, groups)
        const int64_t t = task % tasks_per_group % plan.tile_tasks;  // [0, tile_tasks)
        const int64_t p = task % tasks_per_group / plan.tile_tasks;  // [0, panel_tasks)
        DeformConv job;
        job.packed = packed_.as<float>() + g * packed_per_group_;
        job.k = k_;
        job.out_channels = group_out_;
        job.rows = {{output.h, output.w}, channel_slice(output, g * group_out_, group_out_), {}};
        job.epilogue = {bias_.as<float>() + g * bias_per_group_, params_.activation};
        job.row_count = rows;
        job.row_tiles = plan.row_tiles;
        job.rows_base = rows / plan.row_tiles, job.rows_extra = rows % plan.row_tiles;
        job.panels_in_l2 = plan.panels_in_l2;
        job.field = field;
        job.first_channel = g * group_in, job.channels = group_in;
        kernels.direct(job, t * plan.tiles_per_task, std::min((t + 1) * plan.tiles_per_task, plan.row_tiles),
                       p * plan.panels_per_task, std::min((p + 1) * plan.panels_per_task, plan.panels),
                       tiles);
      }
    });
  }

 private:
  const Conv2dParams params_;
  const Conv2dKernels& gemm_;
  int64_t group_out_, k_, packed_per_group_, bias_per_group_;
  AlignedBuffer packed_, bias_;
};

// The input rows that each output row's samples see, in any of the images. y as in conv/deform-inl.h, to the
// bit: a row more or less would be another's memory.
std::vector<RowRange> rows_sampled(const DeformField<float>& field, int64_t offset_groups) {
  std::vector<RowRange> sampled(field.out_h, RowRange{field.input.h, 0});
  const auto h = static_cast<float>(field.input.h);
  parallel_for(field.out_h, 8, [&](int64_t begin, int64_t end) {
    for (int64_t oh = begin; oh < end; ++oh) {
      float least = h, most = -1;
      for (int64_t n = 0; n < field.input.n; ++n)
        for (int64_t tap = 0; tap < offset_groups * field.taps(); ++tap) {
          const int64_t kh = tap % field.taps() / field.kernel_w;
          const auto row = static_cast<float>(oh * field.stride_h - field.pad_h + kh * field.dilation_h);
          const float* offset = field.offset.at(n, oh, 0) + 2 * tap * field.offset.stride_c;
          for (int64_t ow = 0; ow < field.out_w; ++ow) {
            const float y = row + offset[ow * field.offset.stride_w];
            if (!(y > -1 && y < h)) continue;  // or not a number: it sees nothing
            least = std::min(least, y), most = std::max(most, y);
          }
        }
      if (least > most) continue;
      sampled[oh] = {std::max<int64_t>(0, static_cast<int64_t>(std::floor(least))),
                     std::min<int64_t>(field.input.h, static_cast<int64_t>(std::floor(most)) + 2)};
    }
  });
  return sampled;
}

}  // namespace

template <>
void deform_conv2d(const Conv2dParams& params, const DeformField<float>& field, const float* weight,
                   const float* bias, const Nhwc<float>& output) {
  PackedDeformConv(params, weight, bias).run(field, output);
}

void deform_conv2d_nchw(const Conv2dParams& params, const DeformField<float>& field, const float* input,
                        const float* weight, const float* bias, float* output) {
  const Nhwc<const float>& x = field.input;
  NchwShape shape{x.n, params.in_channels, x.h, x.w, params.out_channels, field.out_h, field.out_w};
  const PackedDeformConv conv(params, weight, bias);
  const std::vector<RowRange> sampled = rows_sampled(field, params.in_channels / field.offset_group_channels);
  const auto seen = [&](int64_t first, int64_t last) {
    RowRange all{x.h, 0};
    for (int64_t oh = first; oh < std::min(last, field.out_h); ++oh)
      all = {std::min(all.begin, sampled[oh].begin), std::max(all.end, sampled[oh].end)};
    return all;
  };
  // Rows beyond a strip's own are more than a kernel's: as few strips as may be.
  shape.strip_bytes = 2 * kStripBytes;
  constexpr int64_t kMostPasses = 4;  // over the input: far cheaper than the samples yet
  if (rows_converted<float, float>(shape, seen) > kMostPasses * x.h)
    shape.strip_bytes = std::numeric_limits<int32_t>::max();
  run_strips<float, float>(shape, input, nullptr, output, seen, [&](const NchwStrip<float, float>& strip) {
    DeformField<float> part = field;
    part.input = strip.input;
    // Samples are sought in the whole image, of which the strip holds what they meet.
    part.input.data -= strip.first_in * strip.input.stride_h;
    part.input.h = x.h;
    part.pad_h -= strip.first_out * field.stride_h;
    part.out_h = strip.output.h;
    part.offset.data = field.offset.at(strip.first_image, strip.first_out, 0);
    if (field.mask.data != nullptr) part.mask.data = field.mask.at(strip.first_image, strip.first_out, 0);
    conv.run(part, strip.output);
  });
}

template <>
void deform_conv2d(const Conv2dParams& params, const DeformField<double>& field, const double* weight,
                   const double* bias, const Nhwc<double>& output) {
  const auto sample = deform_conv2d_kernels().sample_f64;
  const int64_t group_in = params.in_channels / params.groups,
                group_out = params.out_channels / params.groups;
  const int64_t taps = field.taps();
  parallel_for(output.pixels(), 4, [&](int64_t begin, int64_t end) {
    const Scratch<double> column(taps * group_in);  // (taps, group_in)
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t o = 0; o < params.out_channels; ++o) {
        const int64_t g = o / group_out;
        if (o % group_out == 0) sample(field, row, g * group_in, group_in, column);
        double sum = bias == nullptr ? 0.0 : bias[o];
        for (int64_t i = 0; i < group_in; ++i)
          for (int64_t tap = 0; tap < taps; ++tap)
            sum += weight[(o * group_in + i) * taps + tap] * column[tap * group_in + i];
        output.data[row * params.out_channels + o] = sum;
      }
    }
  });
}

}  // namespace pyvision
