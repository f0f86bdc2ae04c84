// SPDX-License-Identifier: Apache-2.0
#include "ops/conv2d/conv2d.h"

#include <algorithm>
#include <cstring>

#include "conv/direct_tasks.h"
#include "conv/plan.h"
#include "core/arena.h"
#include "core/check.h"
#include "core/parallel.h"
#include "ops/conv2d/kernels.h"

namespace pyvision {

namespace {

template <class Job, class Kernel>
void run_row_blocks(const Job& job, const DepthwisePlan& plan, Kernel kernel) {
  const int64_t blocks = job.input.n * job.row_blocks;
  parallel_for(plan.block_tasks * plan.channel_tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / plan.channel_tasks * plan.blocks_per_task;    // [0, blocks)
      const int64_t c = task % plan.channel_tasks * plan.channels_per_task;  // [0, channels)
      kernel(job, b, std::min(b + plan.blocks_per_task, blocks), c,
             std::min(c + plan.channels_per_task, plan.channels));
    }
  });
}

template <class Job>
using WinogradStage = void (*)(const Job& job, const WinogradBlock& block, int64_t first, int64_t last);

// Of the maps' channels, those that a block's groups read and write.
void slice_maps(WinogradConv* job, int64_t in, int64_t in_count, int64_t out, int64_t out_count) {
  job->input = channel_slice(job->input, in, in_count);
  job->rows.output = channel_slice(job->rows.output, out, out_count);
  if (job->rows.residual.data != nullptr)
    job->rows.residual = channel_slice(job->rows.residual, out, out_count);
}
void slice_maps(WinogradPlanes* job, int64_t in, int64_t in_count, int64_t out, int64_t /*out_count*/) {
  job->input.c = in_count;
  job->input_planes.data = job->input_planes.at(0, in, 0, 0);
  job->output_planes.data = job->output_planes.at(0, out, 0, 0);
  if (job->residual_planes.data != nullptr) job->residual_planes.data = job->residual_planes.at(0, out, 0, 0);
}

// Of a block that the threads share, how many tiles one takes at a time: of planes, neighbours that share
// their rows' lines.
int64_t tiles_at_a_time(const WinogradConv&, int64_t) { return 2; }
int64_t tiles_at_a_time(const WinogradPlanes& job, int64_t tiles) {
  return std::max<int64_t>(2, std::min(job.tiles_w, tiles / (2 * num_threads())));
}

}  // namespace

struct Conv2d::Impl {
  Conv2dParams params;
  const Conv2dKernels* kernels;
  const Bf16Kernels* bf16;  // null when products are f32
  Conv2dAlgorithm method;
  AlignedBuffer packed;  // per group: panels of B, of each point for Winograd; depthwise: (taps,
                         // out_channels); grouped: see GroupedConv
  AlignedBuffer bias;    // per group, zero-padded to whole panels
  int64_t group_in, group_out, k;
  int64_t packed_per_group, bias_per_group;  // in floats

  void pack_weights(const ConvWeight& weight);
  void pack_panels(const ConvWeight& weight);
  TileShape tile() const {
    return bf16 != nullptr
               ? bf16->tile
               : TileShape{kernels->row_tile, kernels->panel_width, kernels->tile_stride, /*depth=*/1};
  }
  template <class T>
  using DirectKernel = void (*)(const DirectConvOf<T, EpilogueTo<T>>& job, int64_t first_tile,
                                int64_t last_tile, int64_t panel_begin, int64_t panel_end, float* scratch);
  // pad_top is the parameters', or less where the input is a strip of the image: it may be negative.
  void run(const Nhwc<const float>& input, const RowMap& rows, int64_t pad_top) const;
  template <class T>
  void run_direct(const Nhwc<const T>& input, const RowMapOf<T>& rows, int64_t pad_top,
                  DirectKernel<T> kernel) const;
  // Of maps that are converted strip by strip.
  NchwShape strips(int64_t n, int64_t h, int64_t w, int64_t out_h, int64_t out_w) const;
  void run_strip(const NchwStrip<float, float>& strip, bool has_residual) const;
  void run_depthwise(const Nhwc<const float>& input, const RowMap& rows, int64_t pad_top) const;
  void run_grouped(const Nhwc<const float>& input, const RowMap& rows, int64_t pad_top) const;
  void run_winograd(const Nhwc<const float>& input, const RowMap& rows, int64_t pad_top) const;
  void run_winograd_planes(const Nchw<const float>& input, const Nchw<const float>& residual,
                           const Nchw<float>& output) const;
  // Maps and pad_top are the job's already.
  template <class Job>
  void run_winograd_blocks(Job all, WinogradStage<Job> transform_input,
                           WinogradStage<Job> transform_output) const;
};

ConvWeight channels_first_weight(const Conv2dParams& p, const float* weight) {
  const int64_t taps = p.kernel_h * p.kernel_w, filter = taps * (p.in_channels / p.groups);
  return {weight, p.out_channels / p.groups * filter, filter, taps, p.kernel_w, 1};
}

ConvWeight channels_last_weight(const Conv2dParams& p, const float* weight) {
  const int64_t group_in = p.in_channels / p.groups, filter = p.kernel_h * p.kernel_w * group_in;
  return {weight, p.out_channels / p.groups * filter, filter, 1, p.kernel_w * group_in, group_in};
}

Conv2d::Conv2d(const Conv2dParams& params, const ConvWeight& weight, const float* bias,
               Conv2dAlgorithm algorithm, int64_t h, int64_t w)
    : impl_(new Impl) {
  Impl& s = *impl_;
  s.params = params;
  s.kernels = &conv2d_kernels();
  s.method = choose_conv2d_algorithm(params, algorithm, h, w, conv_machine(*s.kernels));
  const bool rounds = params.precision == Precision::kBf16 && s.method == Conv2dAlgorithm::kDirect;
  s.bf16 = rounds ? &conv2d_bf16_kernels() : nullptr;
  s.group_in = params.in_channels / params.groups;
  s.group_out = params.out_channels / params.groups;
  s.k = params.kernel_h * params.kernel_w * s.group_in;
  s.pack_weights(weight);

  const int64_t width = s.kernels->panel_width;
  const bool whole_panels = s.method == Conv2dAlgorithm::kDirect;
  s.bias_per_group = whole_panels ? (s.group_out + width - 1) / width * width : s.group_out;
  s.bias = AlignedBuffer(static_cast<size_t>(params.groups * s.bias_per_group + width) * sizeof(float));
  std::memset(s.bias.as<void>(), 0, s.bias.bytes());
  if (bias == nullptr) return;
  for (int64_t o = 0; o < params.out_channels; ++o)
    s.bias.as<float>()[o / s.group_out * s.bias_per_group + o % s.group_out] = bias[o];
}

Conv2d::Conv2d(Conv2d&&) noexcept = default;
Conv2d::~Conv2d() = default;

const Conv2dParams& Conv2d::params() const { return impl_->params; }
Conv2dAlgorithm Conv2d::algorithm() const { return impl_->method; }
const char* Conv2d::kernel_isa() const {
  return impl_->bf16 != nullptr ? impl_->bf16->isa : impl_->kernels->isa;
}
int64_t Conv2d::packed_bytes() const { return static_cast<int64_t>(impl_->packed.bytes()); }

// Panel by panel, in parallel: layers with more weights than pixels spend as long here as in the GEMM.
void Conv2d::Impl::pack_panels(const ConvWeight& weight) {
  const TileShape shape = tile();
  const auto pack = bf16 != nullptr ? bf16->pack : kernels->pack;
  const int64_t width = shape.panel_width, panels = (group_out + width - 1) / width;
  const int64_t words = (k + shape.depth - 1) / shape.depth;
  // Taps at one distance are packed at once; phases of a transposed convolution, f32 all, by kernel rows.
  const bool even = weight.stride_h == params.kernel_w * weight.stride_w;
  const int64_t runs = even ? 1 : params.kernel_h, taps = params.kernel_h * params.kernel_w;
  const int64_t run_taps = even ? taps : params.kernel_w;
  parallel_for(params.groups * panels, 1 + (1 << 14) / (1 + width * k), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t g = task / panels, o = task % panels * width;  // [0, groups), [0, group_out)
      const int64_t columns = std::min(width, group_out - o);
      const int64_t run_words = kernels->packed_floats(columns, run_taps * group_in);
      const float* from = weight.data + g * weight.stride_g + o * weight.stride_o;
      float* to = packed.as<float>() + g * packed_per_group + o * words;
      for (int64_t run = 0; run < runs; ++run)
        pack(from + run * weight.stride_h, columns, run_taps, group_in, weight.stride_o, weight.stride_w,
             weight.stride_i, to + run * run_words);
    }
  });
}

void Conv2d::Impl::pack_weights(const ConvWeight& weight) {
  const int64_t taps = params.kernel_h * params.kernel_w;
  if (method == Conv2dAlgorithm::kDepthwise) {
    packed_per_group = taps;
    packed = AlignedBuffer(static_cast<size_t>(taps * params.out_channels) * sizeof(float));
    return pack_depthwise(params, weight, packed.as<float>());
  }
  if (method == Conv2dAlgorithm::kGrouped) {
    const GroupVectors vectors = group_vectors(params, kernels->lanes);
    packed = AlignedBuffer(static_cast<size_t>(vectors.count * k * vectors.lanes) * sizeof(float));
    return pack_grouped(params, vectors, weight, packed.as<float>());
  }
  if (const WinogradTiling tiling = winograd_tiling(params, method); tiling.outputs > 0) {
    const int64_t per_point = kernels->packed_floats(group_out, group_in);
    packed_per_group = tiling.points() * per_point;
    packed = AlignedBuffer(static_cast<size_t>(params.groups * packed_per_group) * sizeof(float));
    std::memset(packed.as<void>(), 0, packed.bytes());
    AlignedBuffer dense(static_cast<size_t>(group_out * k) * sizeof(float));
    for (int64_t g = 0; g < params.groups; ++g) {
      float* to = dense.as<float>();
      for (int64_t o = 0; o < group_out; ++o)
        for (int64_t i = 0; i < group_in; ++i)
          for (int64_t kh = 0; kh < tiling.taps; ++kh)
            for (int64_t kw = 0; kw < tiling.taps; ++kw)
              *to++ = weight.data[g * weight.stride_g + o * weight.stride_o + i * weight.stride_i +
                                  kh * weight.stride_h + kw * weight.stride_w];
      kernels->winograd_pack(tiling, dense.as<float>(), group_out, group_in,
                             packed.as<float>() + g * packed_per_group, per_point);
    }
    return;
  }
  const int64_t depth = tile().depth;
  packed_per_group = kernels->packed_floats(group_out, (k + depth - 1) / depth);
  packed = AlignedBuffer(static_cast<size_t>(params.groups * packed_per_group) * sizeof(float));
  pack_panels(weight);
}

template <class T>
void Conv2d::Impl::run_direct(const Nhwc<const T>& input, const RowMapOf<T>& rows, int64_t pad_top,
                              DirectKernel<T> kernel) const {
  DirectConvOf<T, EpilogueTo<T>> all;
  all.input = input;
  all.kernel_h = params.kernel_h, all.kernel_w = params.kernel_w;
  all.stride_h = params.stride_h, all.stride_w = params.stride_w;
  all.pad_top = pad_top, all.pad_left = params.pad_left;
  all.dilation_h = params.dilation_h, all.dilation_w = params.dilation_w;
  all.k = k;
  all.out_channels = group_out;
  all.rows = rows;
  run_direct_tasks(all, params.groups, tile(), kernel, [&](int64_t g, DirectConvOf<T, EpilogueTo<T>>* job) {
    job->packed = packed.as<float>() + g * packed_per_group;
    job->epilogue = {bias.as<float>() + g * bias_per_group, params.activation};
  });
}

void Conv2d::Impl::run_depthwise(const Nhwc<const float>& input, const RowMap& rows, int64_t pad_top) const {
  DepthwiseConv job =
      make_depthwise(params, input, packed.as<float>(), rows, bias.as<float>(), kernels->depthwise_rows);
  job.pad_top = pad_top;
  run_row_blocks(job, plan_depthwise(job, num_threads()), kernels->depthwise);
}

void Conv2d::Impl::run_grouped(const Nhwc<const float>& input, const RowMap& rows, int64_t pad_top) const {
  GroupedConv job = make_grouped(params, group_vectors(params, kernels->lanes), input, packed.as<float>(),
                                 rows, bias.as<float>(), kernels->depthwise_rows);
  job.pad_top = pad_top;
  run_row_blocks(job, plan_grouped(job, num_threads()), kernels->grouped);
}

void Conv2d::Impl::run_winograd(const Nhwc<const float>& input, const RowMap& rows, int64_t pad_top) const {
  WinogradConv job;
  job.input = input, job.rows = rows, job.pad_top = pad_top;
  run_winograd_blocks(job, kernels->winograd_input, kernels->winograd_output);
}

void Conv2d::Impl::run_winograd_planes(const Nchw<const float>& input, const Nchw<const float>& residual,
                                       const Nchw<float>& output) const {
  WinogradPlanes job;
  job.input = dense_nhwc<const float>(nullptr, input.n, input.h, input.w, input.c);
  job.rows = {{output.h, output.w}, {}, {}};
  job.pad_top = params.pad_top;
  job.input_planes = input, job.residual_planes = residual, job.output_planes = output;
  run_winograd_blocks(job, kernels->winograd_input_planes, kernels->winograd_output_planes);
}

template <class Job>
void Conv2d::Impl::run_winograd_blocks(Job all, WinogradStage<Job> transform_input,
                                       WinogradStage<Job> transform_output) const {
  const int64_t width = kernels->panel_width;
  const WinogradTiling tiling = winograd_tiling(params, method);
  const int points = tiling.points();
  all.tiling = tiling;
  all.pad_left = params.pad_left;
  all.packed_per_point = packed_per_group / points;
  all.tiles_h = (all.rows.out_h + tiling.outputs - 1) / tiling.outputs;
  all.tiles_w = (all.rows.out_w + tiling.outputs - 1) / tiling.outputs;
  const int64_t tiles = all.input.n * all.tiles_h * all.tiles_w;
  const WinogradPlan plan = plan_winograd(params, tiling, tiles, conv_machine(*kernels));
  const int64_t most_in = plan.groups_per_block * group_in;
  all.k_block = params.groups == 1 ? k_block_size(group_in, kernels->row_tile) : most_in;
  all.m_stride = winograd_m_stride(plan.groups_per_block, group_out, width);
  const int64_t zero_count = winograd_zeros(most_in, all.m_stride);
  const Scratch<float> zeros(zero_count);
  std::memset(zeros.get(), 0, static_cast<size_t>(zero_count) * sizeof(float));
  all.zeros = zeros;
  const int64_t k_blocks = (most_in + all.k_block - 1) / all.k_block;
  const int64_t v_stride = winograd_v_stride(all.k_block);
  const int64_t v_floats = k_blocks * points * plan.tiles_per_block * v_stride;
  // One cache line between the planes of m: at a multiple of 4 KB they would all fall into the same L1 set.
  const int64_t m_per_point = plan.tiles_per_block * all.m_stride + 16;
  const int64_t blocks = plan.group_blocks * plan.tile_blocks;
  // Block `index` of all: some groups of some tiles.
  const auto job_at = [&](int64_t index) {
    const int64_t g = index / plan.tile_blocks * plan.groups_per_block;
    Job job = all;
    job.groups = std::min(plan.groups_per_block, params.groups - g);
    job.out_channels = job.groups * group_out;
    slice_maps(&job, g * group_in, job.groups * group_in, g * group_out, job.out_channels);
    job.packed = packed.as<float>() + g * packed_per_group;
    job.epilogue = {bias.as<float>() + g * bias_per_group, params.activation};
    return job;
  };
  const auto block_at = [&](int64_t index, float* memory) {
    const int64_t begin = index % plan.tile_blocks * plan.tiles_per_block;
    return WinogradBlock{
        begin,      std::min(plan.tiles_per_block, tiles - begin), memory, v_stride, memory + v_floats,
        m_per_point};
  };
  if (!plan.share_blocks) {
    parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
      const Scratch<float> memory(v_floats + points * m_per_point);
      for (int64_t index = begin; index < end; ++index) {
        const Job job = job_at(index);
        const WinogradBlock block = block_at(index, memory);
        transform_input(job, block, 0, block.tile_count);
        kernels->winograd_multiply(job, block, 0, points);
        transform_output(job, block, 0, block.tile_count);
      }
    });
    return;
  }
  const Scratch<float> memory(v_floats + points * m_per_point);
  for (int64_t index = 0; index < blocks; ++index) {
    const Job job = job_at(index);
    const WinogradBlock block = block_at(index, memory);
    const int64_t grain = tiles_at_a_time(job, block.tile_count);
    parallel_for(block.tile_count, grain, [&](int64_t b, int64_t e) { transform_input(job, block, b, e); });
    parallel_for(points, 3, [&](int64_t b, int64_t e) { kernels->winograd_multiply(job, block, b, e); });
    parallel_for(block.tile_count, grain, [&](int64_t b, int64_t e) { transform_output(job, block, b, e); });
  }
}

RowRange rows_seen(const Conv2dParams& p, int64_t first, int64_t last) {
  return {first * p.stride_h - p.pad_top,
          (last - 1) * p.stride_h - p.pad_top + p.dilation_h * (p.kernel_h - 1) + 1};
}

void Conv2d::run_nchw(const float* input, int64_t n, int64_t h, int64_t w, const float* residual,
                      float* output) const {
  const Impl& s = *impl_;
  const Conv2dParams& p = s.params;
  const int64_t out_h = p.out_h(h), out_w = p.out_w(w);
  if (n * out_h * out_w == 0) return;
  if (s.method == Conv2dAlgorithm::kDepthwise && residual == nullptr) {
    const DepthwisePlanes job =
        make_depthwise_planes(p, input, h, w, s.packed.as<float>(), s.bias.as<float>(), output);
    if (planes_pay(job)) {
      const int64_t planes = n * p.out_channels;
      return parallel_for(planes, planes_per_task(job, planes, num_threads()),
                          [&](int64_t begin, int64_t end) {
                            const Scratch<float> memory(depthwise_planes_floats(job));
                            s.kernels->depthwise_planes(job, begin, end, memory);
                          });
    }
  }
  if (winograd_tiling(p, s.method).outputs > 0 &&
      winograd_planes_pay(n * std::max(p.in_channels * h * w, p.out_channels * out_h * out_w)))
    return s.run_winograd_planes(dense_nchw(input, n, p.in_channels, h, w),
                                 dense_nchw(residual, n, p.out_channels, out_h, out_w),
                                 dense_nchw(output, n, p.out_channels, out_h, out_w));
  run_strips<float, float>(
      s.strips(n, h, w, out_h, out_w), input, residual, output,
      [&](int64_t first, int64_t last) { return rows_seen(p, first, last); },
      [&](const NchwStrip<float, float>& strip) { s.run_strip(strip, residual != nullptr); });
}

NchwShape Conv2d::Impl::strips(int64_t n, int64_t h, int64_t w, int64_t out_h, int64_t out_w) const {
  const int64_t unit = std::max(1, winograd_tiling(params, method).outputs);  // whole tiles of Winograd
  return {n, params.in_channels, h, w, params.out_channels, out_h, out_w, unit};
}

void Conv2d::Impl::run_strip(const NchwStrip<float, float>& strip, bool has_residual) const {
  const Nhwc<const float> r = has_residual ? as_const(strip.output) : Nhwc<const float>{};
  run(strip.input, {{strip.output.h, strip.output.w}, strip.output, r},
      params.pad_top + strip.first_in - strip.first_out * params.stride_h);
}

void Conv2d::run(const Nhwc<const float>& input, const Nhwc<const float>* residual,
                 const Nhwc<float>& output) const {
  if (output.pixels() == 0 || output.c == 0) return;
  const RowMap rows{{output.h, output.w}, output, residual != nullptr ? *residual : Nhwc<const float>{}};
  impl_->run(input, rows, impl_->params.pad_top);
}

void Conv2d::run_rows(const Nhwc<const float>& input, int64_t first_in, const Nhwc<float>& output,
                      int64_t first_out) const {
  if (output.pixels() == 0 || output.c == 0) return;
  const Conv2dParams& p = impl_->params;
  impl_->run(input, {{output.h, output.w}, output, {}}, p.pad_top + first_in - first_out * p.stride_h);
}

void Conv2d::Impl::run(const Nhwc<const float>& input, const RowMap& rows, int64_t pad_top) const {
  switch (method) {
    case Conv2dAlgorithm::kDepthwise:
      return run_depthwise(input, rows, pad_top);
    case Conv2dAlgorithm::kGrouped:
      return run_grouped(input, rows, pad_top);
    case Conv2dAlgorithm::kDirect:
      return run_direct<float>(input, rows, pad_top, bf16 != nullptr ? bf16->direct_f32 : kernels->direct);
    default:
      return run_winograd(input, rows, pad_top);
  }
}

void Conv2d::run(const Nhwc<const Bf16>& input, const Nhwc<const Bf16>* residual,
                 const Nhwc<Bf16>& output) const {
  if (output.pixels() == 0 || output.c == 0) return;
  if (impl_->bf16 != nullptr && impl_->bf16->direct_bf16 != nullptr) {
    const RowMapOf<Bf16> rows{
        {output.h, output.w}, output, residual != nullptr ? *residual : Nhwc<const Bf16>{}};
    return impl_->run_direct<Bf16>(input, rows, impl_->params.pad_top, impl_->bf16->direct_bf16);
  }
  // Depthwise, grouped, or products emulated: through f32 copies, strip by strip.
  const Conv2dParams& p = impl_->params;
  const Bf16Kernels& convert = conv2d_bf16_kernels();
  const int64_t in_row = input.w * input.c, out_row = output.w * output.c;
  // Calls convert(row of the map, row of the copy) for rows of `extent` values of maps of `height` rows.
  const auto for_each_row = [](int64_t height, int64_t extent, int64_t image, int64_t images, int64_t row,
                               int64_t rows, auto convert_row) {
    parallel_for(images * rows, std::max<int64_t>(1, (1 << 16) / extent), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        convert_row(((image + i / rows) * height + row + i % rows) * extent, i * extent);
    });
  };
  const auto read = [&](int64_t image, int64_t images, int64_t row, int64_t rows, float* copy) {
    for_each_row(input.h, in_row, image, images, row, rows,
                 [&](int64_t from, int64_t to) { convert.to_f32(input.data + from, copy + to, in_row); });
  };
  const auto read_residual = [&](int64_t image, int64_t images, int64_t row, int64_t rows, float* copy) {
    for_each_row(output.h, out_row, image, images, row, rows, [&](int64_t from, int64_t to) {
      convert.to_f32(residual->data + from, copy + to, out_row);
    });
  };
  const auto write = [&](int64_t image, int64_t images, int64_t row, int64_t rows, const float* copy) {
    for_each_row(output.h, out_row, image, images, row, rows,
                 [&](int64_t to, int64_t from) { convert.to_bf16(copy + from, output.data + to, out_row); });
  };
  const FunctionRef<void(int64_t, int64_t, int64_t, int64_t, float*)> read_output = read_residual;
  run_strips<float, float>(
      impl_->strips(input.n, input.h, input.w, output.h, output.w),
      {read, residual != nullptr ? &read_output : nullptr, write},
      [&](int64_t first, int64_t last) { return rows_seen(p, first, last); },
      [&](const NchwStrip<float, float>& strip) { impl_->run_strip(strip, residual != nullptr); });
}

}  // namespace pyvision
