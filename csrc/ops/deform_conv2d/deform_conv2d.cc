// SPDX-License-Identifier: Apache-2.0
#include "ops/deform_conv2d/deform_conv2d.h"

#include <algorithm>
#include <cstring>

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

template <>
void deform_conv2d(const Conv2dParams& params, const DeformField<float>& field, const float* weight,
                   const float* bias, const Nhwc<float>& output) {
  const int64_t rows = output.pixels();
  if (rows == 0) return;
  const Conv2dKernels& gemm = conv2d_kernels();
  const DeformConv2dKernels& kernels = deform_conv2d_kernels();
  const int64_t group_in = params.in_channels / params.groups,
                group_out = params.out_channels / params.groups;
  const int64_t taps = field.taps(), k = taps * group_in;
  const ConvMachine machine = conv_machine(gemm);
  const DirectPlan plan = plan_rows_first(rows, group_out, k, params.groups, machine);

  const int64_t packed_per_group = gemm.packed_floats(group_out, k);
  const AlignedBuffer packed(static_cast<size_t>(params.groups * packed_per_group) * sizeof(float));
  const int64_t bias_per_group = plan.panels * gemm.panel_width;
  const AlignedBuffer padded_bias(static_cast<size_t>(params.groups * bias_per_group) * sizeof(float));
  std::memset(padded_bias.as<void>(), 0, padded_bias.bytes());
  for (int64_t g = 0; g < params.groups; ++g) {
    gemm.pack(weight + g * group_out * k, group_out, taps, group_in, k, 1, taps,
              packed.as<float>() + g * packed_per_group);
    if (bias != nullptr)
      std::copy_n(bias + g * group_out, group_out, padded_bias.as<float>() + g * bias_per_group);
  }

  const int64_t tasks_per_group = plan.tile_tasks * plan.panel_tasks;
  parallel_for(params.groups * tasks_per_group, 1, [&](int64_t begin, int64_t end) {
    const Scratch<float> tiles(kTileGroup * gemm.row_tile * gemm.tile_stride);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t g = task / tasks_per_group;                    // [0, groups)
      const int64_t t = task % tasks_per_group % plan.tile_tasks;  // [0, tile_tasks)
      const int64_t p = task % tasks_per_group / plan.tile_tasks;  // [0, panel_tasks)
      DeformConv job;
      job.packed = packed.as<float>() + g * packed_per_group;
      job.k = k;
      job.out_channels = group_out;
      job.rows = {{output.h, output.w}, channel_slice(output, g * group_out, group_out), {}};
      job.epilogue = {padded_bias.as<float>() + g * bias_per_group, params.activation};
      job.row_count = rows;
      job.row_tiles = plan.row_tiles;
      job.rows_base = rows / plan.row_tiles, job.rows_extra = rows % plan.row_tiles;
      job.panels_in_l2 = plan.panels_in_l2;
      job.field = field;
      job.first_channel = g * group_in, job.channels = group_in;
      kernels.direct(job, t * plan.tiles_per_task, std::min((t + 1) * plan.tiles_per_task, plan.row_tiles),
                     p * plan.panels_per_task, std::min((p + 1) * plan.panels_per_task, plan.panels), tiles);
    }
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
