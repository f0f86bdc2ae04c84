// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/conv2d/kernels.h"
#include "ops/conv2d_backward/conv2d_backward.h"
#include "ops/deform_conv2d/deform_conv2d.h"
#include "ops/layout/layout.h"

// Channels are cut into chunks, each within one weight group and one offset group. A task takes one chunk
// through a stretch of output pixels, block by block:
//   gradients of the K values = grad_output W^T          a tile GEMM per tap
//   K values, grad_input, partial sums for offset, mask  DeformConv2dKernels::scatter
//   grad_weight += grad_output^T (K values)              a tile GEMM per tap
// Chunks share no channel of grad_input and no column of grad_weight, so that no two tasks add to one
// address; what they contribute to offsets and masks is added up behind each stretch, in the chunks' order.
// Nothing depends on the number of threads.

namespace pyvision {
namespace {

constexpr int64_t kBlockFloats = (1 << 20) / sizeof(float);    // of K values, and of transposed grad_output
constexpr int64_t kPartialFloats = (4 << 20) / sizeof(float);  // of all chunks together
// More multiply-adds in one task would keep Ctrl-C waiting: it is looked for between tasks.
constexpr int64_t kMaxTaskWork = 1 << 30;

struct Chunk {
  int64_t group, offset_group;
  int64_t channel, count;  // of the input
};

struct Sizes {
  int64_t out_channels, group_in, group_out, taps;
};

// The two products, in f32 on the tile GEMM. columns: (taps, rows, width) for one block; grad_weight:
// (out_channels, taps, group_in).
template <class T>
class Products;

template <>
class Products<float> {
 public:
  Products(const Sizes& sizes, const std::vector<Chunk>& chunks, const float* weight)
      : s_(sizes), gemm_(conv2d_kernels()), zero_bias_(gemm_.panel_width * sizeof(float)) {
    std::memset(zero_bias_.as<void>(), 0, zero_bias_.bytes());
    int64_t floats = 0;
    for (const Chunk& chunk : chunks) {
      packed_at_.push_back(floats);
      floats += s_.taps * gemm_.packed_floats(chunk.count, s_.group_out);
    }
    packed_ = AlignedBuffer(static_cast<size_t>(floats) * sizeof(float));
    parallel_for(static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Chunk& chunk = chunks[i];
        const int64_t per_tap = gemm_.packed_floats(chunk.count, s_.group_out);
        const float* from =
            weight + (chunk.group * s_.group_out * s_.group_in + chunk.channel % s_.group_in) * s_.taps;
        for (int64_t tap = 0; tap < s_.taps; ++tap)
          gemm_.pack(from + tap, chunk.count, 1, s_.group_out, s_.taps, 0, s_.group_in * s_.taps,
                     packed_.as<float>() + packed_at_[i] + tap * per_tap);
      }
    });
  }

  static int64_t chunk_channels() { return conv2d_kernels().panel_width; }
  // A chunk's K values are one panel of B as they lie.
  int64_t width(const Chunk& chunk) const { return gemm_.packed_floats(chunk.count, 1); }

  void column_gradients(const Chunk& chunk, int64_t index, const float* grad_rows, int64_t rows,
                        float* columns) const {
    const int64_t w = width(chunk), per_tap = gemm_.packed_floats(chunk.count, s_.group_out);
    for (int64_t tap = 0; tap < s_.taps; ++tap)
      multiply(grad_rows + chunk.group * s_.group_out, rows, s_.group_out, s_.out_channels,
               packed_.as<float>() + packed_at_[index] + tap * per_tap, chunk.count, nullptr,
               columns + tap * rows * w, w);
  }

  void add_weight_gradients(const Chunk& chunk, const float* grad_rows, int64_t rows, const float* columns,
                            float* grad_weight) const {
    const Scratch<float> transposed(s_.group_out * rows);  // (group_out, rows)
    layout_kernels().transpose(grad_rows + chunk.group * s_.group_out, s_.out_channels, transposed, rows,
                               rows, s_.group_out);
    const int64_t w = width(chunk), stride = s_.taps * s_.group_in;
    for (int64_t tap = 0; tap < s_.taps; ++tap) {
      float* const to =
          grad_weight + chunk.group * s_.group_out * stride + tap * s_.group_in + chunk.channel % s_.group_in;
      multiply(transposed, s_.group_out, rows, rows, columns + tap * rows * w, chunk.count, to, to, stride);
    }
  }

 private:
  // out = a b + addend. a: (rows, k) with rows a_stride apart; b: one panel of k rows; out, addend: (rows,
  // columns) with rows out_stride apart.
  void multiply(const float* a, int64_t rows, int64_t k, int64_t a_stride, const float* b, int64_t columns,
                const float* addend, float* out, int64_t out_stride) const {
    DirectConv job;
    job.input = {a, 1, 1, rows, k, 0, 0, a_stride};
    job.kernel_h = job.kernel_w = job.stride_h = job.stride_w = job.dilation_h = job.dilation_w = 1;
    job.pad_top = job.pad_left = 0;
    job.packed = b;
    job.k = k;
    job.out_channels = columns;
    job.rows = {{1, rows}, {out, 1, 1, rows, columns, 0, 0, out_stride}, {}};
    if (addend != nullptr) job.rows.residual = {addend, 1, 1, rows, columns, 0, 0, out_stride};
    job.epilogue = {zero_bias_.as<float>(), {}};
    job.row_count = rows;
    job.row_tiles = (rows + gemm_.row_tile - 1) / gemm_.row_tile;
    job.rows_base = rows / job.row_tiles, job.rows_extra = rows % job.row_tiles;
    job.panels_in_l2 = true;
    const Scratch<float> tile(gemm_.row_tile * gemm_.tile_stride);
    gemm_.direct(job, 0, job.row_tiles, 0, 1, tile);
  }

  const Sizes s_;
  const Conv2dKernels& gemm_;
  AlignedBuffer zero_bias_, packed_;
  std::vector<int64_t> packed_at_;  // per chunk, in floats
};

// In f64 for gradient checks: plain loops.
template <>
class Products<double> {
 public:
  Products(const Sizes& sizes, const std::vector<Chunk>&, const double* weight)
      : s_(sizes), weight_(weight) {}

  static int64_t chunk_channels() { return 32; }
  int64_t width(const Chunk& chunk) const { return chunk.count; }

  void column_gradients(const Chunk& chunk, int64_t, const double* grad_rows, int64_t rows,
                        double* columns) const {
    const int64_t first = chunk.channel % s_.group_in;
    for (int64_t tap = 0; tap < s_.taps; ++tap) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < chunk.count; ++c) {
          double sum = 0;
          for (int64_t o = chunk.group * s_.group_out; o < (chunk.group + 1) * s_.group_out; ++o)
            sum +=
                grad_rows[r * s_.out_channels + o] * weight_[(o * s_.group_in + first + c) * s_.taps + tap];
          columns[(tap * rows + r) * chunk.count + c] = sum;
        }
      }
    }
  }

  void add_weight_gradients(const Chunk& chunk, const double* grad_rows, int64_t rows, const double* columns,
                            double* grad_weight) const {
    for (int64_t o = chunk.group * s_.group_out; o < (chunk.group + 1) * s_.group_out; ++o) {
      for (int64_t tap = 0; tap < s_.taps; ++tap) {
        double* const to = grad_weight + (o * s_.taps + tap) * s_.group_in + chunk.channel % s_.group_in;
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < chunk.count; ++c)
            to[c] += grad_rows[r * s_.out_channels + o] * columns[(tap * rows + r) * chunk.count + c];
      }
    }
  }

 private:
  const Sizes s_;
  const double* weight_;
};

std::vector<Chunk> cut_channels(int64_t channels, int64_t group_in, int64_t offset_group_channels,
                                int64_t most) {
  std::vector<Chunk> chunks;
  for (int64_t c = 0; c < channels;) {
    const int64_t group = c / group_in, offset_group = c / offset_group_channels;
    const int64_t end =
        std::min({(group + 1) * group_in, (offset_group + 1) * offset_group_channels, c + most});
    chunks.push_back({group, offset_group, c, end - c});
    c = end;
  }
  return chunks;
}

void scatter(const DeformScatter<float>& job) { deform_conv2d_kernels().scatter_f32(job); }
void scatter(const DeformScatter<double>& job) { deform_conv2d_kernels().scatter_f64(job); }

// (out_channels, taps, group_in) to (out_channels, group_in, taps)
template <class T>
void taps_innermost(const T* from, const Sizes& s, T* to) {
  parallel_for(s.out_channels, std::max<int64_t>(1, (1 << 14) / (s.taps * s.group_in)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t o = begin; o < end; ++o) {
                   const T* x = from + o * s.taps * s.group_in;
                   T* y = to + o * s.taps * s.group_in;
                   for (int64_t c = 0; c < s.group_in; ++c)
                     for (int64_t tap = 0; tap < s.taps; ++tap) y[c * s.taps + tap] = x[tap * s.group_in + c];
                 }
               });
}

}  // namespace

template <class T>
void deform_conv2d_backward(const Conv2dParams& params, const DeformField<T>& field, const T* weight,
                            const T* grad_output, const DeformConv2dGradients<T>& grad) {
  const int64_t rows = field.input.n * field.out_h * field.out_w, taps = field.taps();
  const int64_t group_in = params.in_channels / params.groups,
                group_out = params.out_channels / params.groups;
  const int64_t most = Products<T>::chunk_channels();
  const std::vector<Chunk> chunks =
      cut_channels(params.in_channels, group_in, field.offset_group_channels, most);
  const auto chunk_count = static_cast<int64_t>(chunks.size());
  const int64_t partial_rows = kPartialFloats / (chunk_count * taps * 3);  // at most, of all chunks
  const int64_t block_rows = std::clamp<int64_t>(
      std::min({kBlockFloats / (taps * most), kBlockFloats / group_out, partial_rows}), 8, kGroupRows);
  const Sizes sizes{params.out_channels, group_in, group_out, taps};
  const Products<T> products(sizes, chunks, weight);

  const int64_t weights = sizes.out_channels * taps * sizes.group_in;
  // (out_channels, taps, group_in)
  const AlignedBuffer grad_weight(static_cast<size_t>(weights) * sizeof(T));
  std::memset(grad_weight.as<void>(), 0, grad_weight.bytes());
  std::memset(grad.input, 0, static_cast<size_t>(field.input.pixels() * field.input.c) * sizeof(T));

  const int64_t row_work = 2 * group_out * taps * most;
  const int64_t blocks = std::max<int64_t>(1, std::min(partial_rows, kMaxTaskWork / row_work) / block_rows);
  const int64_t stretch = std::min(blocks * block_rows, rows);
  const AlignedBuffer partials(static_cast<size_t>(chunk_count * stretch * taps * 3) * sizeof(T));
  for (int64_t first = 0; first < rows; first += stretch) {
    const int64_t last = std::min(first + stretch, rows);
    parallel_for(chunk_count, 1, [&](int64_t begin, int64_t end) {
      const Scratch<T> columns(taps * block_rows * most);  // (taps, block_rows, width)
      for (int64_t i = begin; i < end; ++i) {
        const Chunk& chunk = chunks[i];
        for (int64_t row = first; row < last; row += block_rows) {
          const int64_t count = std::min(block_rows, last - row);
          const T* const grad_rows = grad_output + row * sizes.out_channels;
          products.column_gradients(chunk, i, grad_rows, count, columns);
          T* const partial = partials.as<T>() + (i * stretch + row - first) * taps * 3;
          scatter(DeformScatter<T>{field, row, count, chunk.offset_group, chunk.channel, chunk.count, columns,
                                   products.width(chunk), grad.input, partial});
          products.add_weight_gradients(chunk, grad_rows, count, columns, grad_weight.as<T>());
        }
      }
    });
    const int64_t offset_groups = params.in_channels / field.offset_group_channels;
    parallel_for(last - first, 64, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        T* const offset = grad.offset + (first + r) * offset_groups * taps * 2;
        T* const mask = grad.mask == nullptr ? nullptr : grad.mask + (first + r) * offset_groups * taps;
        std::fill_n(offset, offset_groups * taps * 2, T(0));
        if (mask != nullptr) std::fill_n(mask, offset_groups * taps, T(0));
        for (int64_t i = 0; i < chunk_count; ++i) {
          const T* const partial = partials.as<T>() + (i * stretch + r) * taps * 3;
          for (int64_t tap = 0; tap < taps; ++tap) {
            const int64_t at = chunks[i].offset_group * taps + tap;
            offset[2 * at] += partial[3 * tap];
            offset[2 * at + 1] += partial[3 * tap + 1];
            if (mask != nullptr) mask[at] += partial[3 * tap + 2];
          }
        }
      }
    });
  }
  taps_innermost(grad_weight.as<T>(), sizes, grad.weight);
  channel_sums(EitherMap<const T>{dense_nhwc(grad_output, 1, 1, rows, sizes.out_channels)}, grad.bias);
}

template void deform_conv2d_backward(const Conv2dParams&, const DeformField<float>&, const float*,
                                     const float*, const DeformConv2dGradients<float>&);
template void deform_conv2d_backward(const Conv2dParams&, const DeformField<double>&, const double*,
                                     const double*, const DeformConv2dGradients<double>&);

}  // namespace pyvision
