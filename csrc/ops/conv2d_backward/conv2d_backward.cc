// SPDX-License-Identifier: Apache-2.0
#include "ops/conv2d_backward/conv2d_backward.h"

#include <algorithm>
#include <cstring>

#include "conv/f64.h"
#include "conv/plan.h"
#include "core/arena.h"
#include "core/parallel.h"
#include "ops/conv2d/kernels.h"
#include "ops/conv2d_backward/kernels.h"
#include "ops/conv_transpose2d/conv_transpose2d.h"

namespace pyvision {
namespace {

// Sums over `rows` rows of a map, each `row_floats` long, as partial sums over chunks of rows that the shape
// alone fixes: sum_rows(begin, end, partial) fills `count` floats per chunk, and the chunks are added in
// order.
template <class SumRows>
void sum_in_chunks(int64_t rows, int64_t row_floats, int64_t count, float* sums, SumRows sum_rows) {
  constexpr int64_t kChunkFloats = 1 << 15;    // 128 KB: worth a task
  constexpr int64_t kPartialFloats = 1 << 19;  // 2 MB for all partial sums
  const int64_t most = std::clamp<int64_t>(kPartialFloats / count, 1, 64);
  const int64_t chunks = std::clamp<int64_t>(rows * row_floats / kChunkFloats, 1, std::min(rows, most));
  const Scratch<float> partials(chunks * count);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      sum_rows(i * rows / chunks, (i + 1) * rows / chunks, partials + i * count);
  });
  conv2d_backward_kernels().column_sums(partials, count, chunks, count, sums);
}

// Transforming a weight for Winograd takes as long as this many pixels' saving, and is done at every call.
constexpr int64_t kWinogradPixels = 48 * 48;

// The gradient of the input where the stride is 1: a convolution by the kernel turned half around.
void convolve_flipped(const Conv2dParams& p, const float* weight, const EitherMap<const float>& grad_output,
                      const EitherMap<float>& grad_input) {
  Conv2dParams q = p;
  std::swap(q.in_channels, q.out_channels);
  q.pad_top = p.dilation_h * (p.kernel_h - 1) - p.pad_top;
  q.pad_bottom = p.dilation_h * (p.kernel_h - 1) - p.pad_bottom;
  q.pad_left = p.dilation_w * (p.kernel_w - 1) - p.pad_left;
  q.pad_right = p.dilation_w * (p.kernel_w - 1) - p.pad_right;
  const Nhwc<const float>& g = grad_output.nhwc;
  q.allow_winograd = p.allow_winograd && g.pixels() >= kWinogradPixels;
  ConvWeight w = channels_last_weight(p, weight);
  std::swap(w.stride_o, w.stride_i);
  w.data += (p.kernel_h - 1) * w.stride_h + (p.kernel_w - 1) * w.stride_w;
  w.stride_h = -w.stride_h, w.stride_w = -w.stride_w;
  const Conv2d conv(q, w, nullptr, Conv2dAlgorithm::kAuto, g.h, g.w);
  if (grad_input.planes == nullptr) return conv.run(g, nullptr, grad_input.nhwc);
  conv.run_nchw(grad_output.planes, g.n, g.h, g.w, nullptr, grad_input.planes);
}

// Output pixels of a convolution for each strip of so many threads, with the inputs that they see.
int64_t strip_pixels(const Nhwc<const float>& input, const Nhwc<const float>& grad_output, int64_t threads) {
  const int64_t floats = threads * kStripBytes / static_cast<int64_t>(sizeof(float));
  const int64_t per_pixel = grad_output.c + input.pixels() * input.c / grad_output.pixels();
  return std::max<int64_t>(1, floats / per_pixel);
}

// Calls body(input, grad_output) with maps of which there is what output pixels [first, last) see, and they.
template <class Body>
void with_windows(const Conv2dParams& p, const EitherMap<const float>& input,
                  const EitherMap<const float>& grad_output, int64_t first, int64_t last, Body body) {
  if (input.planes == nullptr) return body(input.nhwc, grad_output.nhwc);
  const Nhwc<const float>&x = input.nhwc, &g = grad_output.nhwc;
  const auto row_of = [&](int64_t pixel, bool end) {  // of all images' rows one behind the other
    const int64_t row = pixel / g.w, image = row / g.h, oh = row % g.h;
    const RowRange seen = rows_seen(p, oh, oh + 1);
    return image * x.h + std::clamp<int64_t>(end ? seen.end : seen.begin, 0, x.h);
  };
  const int64_t begin = row_of(first, false) * x.w, end = row_of(last - 1, true) * x.w;
  const Scratch<float> xs(std::max<int64_t>(end - begin, 0) * x.c + kReadAhead);
  const Scratch<float> gs((last - first) * g.c + kReadAhead);
  body(convert_pixels(input, begin, end, xs), convert_pixels(grad_output, first, last, gs));
}

// Adds output rows [begin, end) of all images', in strips: add(input, grad_output, first, last).
template <class Add>
void add_rows(const Conv2dParams& p, const EitherMap<const float>& input,
              const EitherMap<const float>& grad_output, int64_t begin, int64_t end, Add add) {
  const int64_t width = grad_output.nhwc.w;
  const int64_t pixels = strip_pixels(input.nhwc, grad_output.nhwc, 1);
  const int64_t rows = input.planes == nullptr ? end - begin : std::max<int64_t>(1, pixels / width);
  for (int64_t row = begin; row < end; row += rows) {
    const int64_t last = std::min(row + rows, end);
    with_windows(p, input, grad_output, row * width, last * width,
                 [&](const Nhwc<const float>& x, const Nhwc<const float>& g) { add(x, g, row, last); });
  }
}

void depthwise_grad_weight(const Conv2dParams& p, const EitherMap<const float>& input,
                           const EitherMap<const float>& grad_output, float* grad_weight) {
  const Nhwc<const float>& map = grad_output.nhwc;
  const RowMap rows{{map.h, map.w}, {}, {}};
  const int64_t channels = p.in_channels, taps = p.kernel_h * p.kernel_w;
  const Scratch<float> by_tap(taps * channels);  // (taps, channels)
  const auto& kernels = conv2d_backward_kernels();
  sum_in_chunks(
      map.n * map.h, map.w * channels * taps, taps * channels, by_tap,
      [&](int64_t begin, int64_t end, float* partial) {
        std::fill_n(partial, taps * channels, 0.0f);
        add_rows(p, input, grad_output, begin, end,
                 [&](const Nhwc<const float>& x, const Nhwc<const float>& g, int64_t first, int64_t last) {
                   const DepthwiseConv job = make_depthwise(p, x, nullptr, rows, nullptr, 1);
                   kernels.depthwise_weight_grad(job, g, first, last, partial);
                 });
      });
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t tap = 0; tap < taps; ++tap) grad_weight[c * taps + tap] = by_tap[tap * channels + c];
}

void grouped_grad_weight(const Conv2dParams& p, const GroupVectors& vectors,
                         const EitherMap<const float>& input, const EitherMap<const float>& grad_output,
                         float* grad_weight) {
  const Nhwc<const float>& map = grad_output.nhwc;
  const RowMap rows{{map.h, map.w}, {}, {}};
  const int64_t filter = p.kernel_h * p.kernel_w * vectors.group_in,
                count = vectors.count * filter * vectors.lanes;
  const Scratch<float> sums(count);  // (vectors, taps, group_in, lanes)
  const auto& kernels = conv2d_backward_kernels();
  sum_in_chunks(
      map.n * map.h, map.w * p.out_channels * filter, count, sums,
      [&](int64_t begin, int64_t end, float* partial) {
        std::fill_n(partial, count, 0.0f);
        add_rows(p, input, grad_output, begin, end,
                 [&](const Nhwc<const float>& x, const Nhwc<const float>& g, int64_t first, int64_t last) {
                   const GroupedConv job = make_grouped(p, vectors, x, nullptr, rows, nullptr, 1);
                   kernels.grouped_weight_grad(job, g, first, last, partial);
                 });
      });
  for (int64_t v = 0; v < vectors.count; ++v)
    for (int64_t k = 0; k < filter; ++k)
      for (int64_t lane = 0; lane < vectors.out_lanes(v); ++lane)
        grad_weight[(vectors.first_out(v) + lane) * filter + k] =
            sums[(v * filter + k) * vectors.lanes + lane];
}

}  // namespace

void conv2d_grad_input(const Conv2dParams& p, const float* weight, const EitherMap<const float>& grad_output,
                       const EitherMap<float>& grad_input) {
  const int64_t reach_h = p.dilation_h * (p.kernel_h - 1), reach_w = p.dilation_w * (p.kernel_w - 1);
  if (p.stride_h == 1 && p.stride_w == 1 && std::max(p.pad_top, p.pad_bottom) <= reach_h &&
      std::max(p.pad_left, p.pad_right) <= reach_w)
    return convolve_flipped(p, weight, grad_output, grad_input);
  const Nhwc<const float>& g = grad_output.nhwc;
  ConvTranspose2dParams adjoint;
  adjoint.in_channels = p.out_channels, adjoint.out_channels = p.in_channels, adjoint.groups = p.groups;
  adjoint.kernel_h = p.kernel_h, adjoint.kernel_w = p.kernel_w;
  adjoint.stride_h = p.stride_h, adjoint.stride_w = p.stride_w;
  adjoint.padding_h = p.pad_top, adjoint.padding_w = p.pad_left;
  adjoint.dilation_h = p.dilation_h, adjoint.dilation_w = p.dilation_w;
  // Rows and columns that no window reached, or that only the padding below and to the right did.
  adjoint.output_padding_h = grad_input.nhwc.h - adjoint.out_h(g.h);
  adjoint.output_padding_w = grad_input.nhwc.w - adjoint.out_w(g.w);
  adjoint.allow_winograd = p.allow_winograd && g.pixels() >= kWinogradPixels;
  const ConvTranspose2d conv(adjoint, weight, nullptr, g.h, g.w);
  if (grad_input.planes == nullptr) return conv.run(g, grad_input.nhwc);
  conv.run_nchw(grad_output.planes, g.n, g.h, g.w, grad_input.planes);
}

void conv2d_grad_weight(const Conv2dParams& p, const EitherMap<const float>& input,
                        const EitherMap<const float>& grad_output, float* grad_weight) {
  const int64_t group_in = p.in_channels / p.groups, group_out = p.out_channels / p.groups;
  const int64_t k = p.kernel_h * p.kernel_w * group_in, pixels = grad_output.nhwc.pixels();
  if (pixels == 0) {
    std::memset(grad_weight, 0, static_cast<size_t>(p.out_channels * k) * sizeof(float));
    return;
  }
  if (p.groups > 1 && group_in == 1 && group_out == 1)
    return depthwise_grad_weight(p, input, grad_output, grad_weight);

  const Conv2dKernels& gemm = conv2d_kernels();
  const GroupVectors vectors = group_vectors(p, gemm.lanes);
  if (vectors.groups_per_vector > 1) return grouped_grad_weight(p, vectors, input, grad_output, grad_weight);

  const Conv2dBackwardKernels& kernels = conv2d_backward_kernels();
  const WeightGradPlan plan = plan_weight_grad(pixels, group_out, k, p.groups, conv_machine(gemm));
  const int64_t tasks_per_group = plan.k_tasks * plan.out_tasks;
  const int64_t tiles = (pixels + gemm.row_tile - 1) / gemm.row_tile,
                most_tiles = kPixelBlock / gemm.row_tile;
  const int64_t blocks = (tiles + most_tiles - 1) / most_tiles;
  const int64_t in_strip = strip_pixels(input.nhwc, grad_output.nhwc, num_threads());
  const int64_t strip = input.planes == nullptr ? blocks : std::max<int64_t>(1, in_strip / kPixelBlock);
  for (int64_t first_block = 0; first_block < blocks; first_block += strip) {
    const int64_t last_block = std::min(first_block + strip, blocks);
    const auto first_pixel = [&](int64_t block) {
      return std::min(block * tiles / blocks * gemm.row_tile, pixels);
    };
    with_windows(p, input, grad_output, first_pixel(first_block), first_pixel(last_block),
                 [&](const Nhwc<const float>& x, const Nhwc<const float>& grad) {
                   parallel_for(p.groups * tasks_per_group, 1, [&](int64_t begin, int64_t end) {
                     const Scratch<float> windows(kPixelBlock * gemm.tile_stride);
                     for (int64_t task = begin; task < end; ++task) {
                       const int64_t g = task / tasks_per_group;                  // [0, groups)
                       const int64_t kt = task % tasks_per_group % plan.k_tasks;  // [0, k_tasks)
                       const int64_t ot = task % tasks_per_group / plan.k_tasks;  // [0, out_tasks)
                       WeightGrad job{};
                       job.conv.input = x;
                       job.conv.input.data += g * group_in, job.conv.input.c = group_in;
                       job.conv.kernel_h = p.kernel_h, job.conv.kernel_w = p.kernel_w;
                       job.conv.stride_h = p.stride_h, job.conv.stride_w = p.stride_w;
                       job.conv.pad_top = p.pad_top, job.conv.pad_left = p.pad_left;
                       job.conv.dilation_h = p.dilation_h, job.conv.dilation_w = p.dilation_w;
                       job.conv.k = k, job.conv.out_channels = group_out;
                       job.conv.rows.out_h = grad.h, job.conv.rows.out_w = grad.w;
                       job.conv.row_count = pixels, job.conv.row_tiles = tiles;
                       job.blocks = blocks, job.first_block = first_block, job.last_block = last_block;
                       job.grad_output = grad.data + g * group_out;
                       job.grad_stride = grad.stride_w;
                       job.grad_weight = grad_weight + g * group_out * k;
                       kernels.weight_grad(job, kt * plan.k_per_task, std::min((kt + 1) * plan.k_per_task, k),
                                           ot * plan.out_per_task,
                                           std::min((ot + 1) * plan.out_per_task, group_out), windows);
                     }
                   });
                 });
  }
}

void conv2d_grad_input(const Conv2dParams& p, const double* weight,
                       const EitherMap<const double>& grad_output, const EitherMap<double>& grad_input) {
  conv2d_adjoint_f64(p, grad_output.nhwc, weight, nullptr, grad_input.nhwc);
}

void conv2d_grad_weight(const Conv2dParams& p, const EitherMap<const double>& input,
                        const EitherMap<const double>& grad_output, double* grad_weight) {
  conv2d_grad_weight_f64(p, input.nhwc, grad_output.nhwc, grad_weight);
}

void channel_sums(const EitherMap<const double>& map, double* sums) {
  const Nhwc<const double>& x = map.nhwc;
  std::fill_n(sums, x.c, 0.0);
  for (int64_t row = 0; row < x.pixels(); ++row)
    for (int64_t c = 0; c < x.c; ++c) sums[c] += x.data[row * x.stride_w + c];
}

void channel_sums(const EitherMap<const float>& map, float* sums) {
  const auto& kernels = conv2d_backward_kernels();
  const Nhwc<const float>& x = map.nhwc;
  if (x.pixels() == 0) {
    std::fill_n(sums, x.c, 0.0f);
    return;
  }
  sum_in_chunks(x.pixels(), x.c, x.c, sums, [&](int64_t begin, int64_t end, float* partial) {
    if (map.planes == nullptr)
      return kernels.column_sums(x.data + begin * x.stride_w, x.stride_w, end - begin, x.c, partial);
    // What the kernel adds up at a time.
    const Scratch<float> pixels(kSumRows * x.c + kReadAhead), sum(x.c);
    std::fill_n(partial, x.c, 0.0f);
    for (int64_t first = begin; first < end; first += kSumRows) {
      const int64_t count = std::min(kSumRows, end - first);
      convert_pixels(map, first, first + count, pixels);
      kernels.column_sums(pixels, x.c, count, x.c, sum);
      for (int64_t c = 0; c < x.c; ++c) partial[c] += sum[c];
    }
  });
}

}  // namespace pyvision
