// SPDX-License-Identifier: Apache-2.0
// Nearest and bilinear samples are one bilinear point each, bicubic ones sixteen at whole positions, so that
// all of them are sums of bilinear samples: kernels, and why they have the shape they have, are those of
// sampled_sums.cuh.
#include "grid_sample.cuh"

#include "common/cubic.cuh"
#include "sampled_sums.cuh"

namespace pyvision::cuda {
namespace {

// Along one axis, in pixels, and its slope by the grid's number.
struct GridPosition {
  float at, slope;
};

struct GridAxis {
  int extent;
  GridPadding padding;
  bool align_corners;

  __device__ GridPosition in_pixels(float g) const {
    const auto n = static_cast<float>(extent);
    if (align_corners) return {(g + 1) / 2 * (n - 1), (n - 1) / 2};
    return {((g + 1) * n - 1) / 2, n / 2};
  }
  __device__ GridPosition reflected(GridPosition p) const {
    const float low = align_corners ? 0.0f : -0.5f;
    const auto span = static_cast<float>(align_corners ? extent - 1 : extent);
    if (!(span > 0)) return {0, 0};
    float x = p.at - low, slope = p.slope;
    if (x < 0) x = -x, slope = -slope;
    const float rest = fmodf(x, span), flips = floorf(x / span);
    if (fmodf(flips, 2) == 0) return {rest + low, slope};
    return {span - rest + low, -slope};
  }
  // NaN becomes 0.
  __device__ GridPosition clipped(GridPosition p) const {
    const auto last = static_cast<float>(extent - 1);
    if (!(p.at > 0)) return {0, 0};
    return p.at < last ? p : GridPosition{last, 0};
  }
  __device__ GridPosition padded(GridPosition p) const {
    if (padding == GridPadding::kZeros) return p;
    return clipped(padding == GridPadding::kReflection ? reflected(p) : p);
  }
  // Of bicubic: a position whose neighbours are whole numbers too.
  __device__ float within_reach(float position) const {
    constexpr float kFar = 1 << 26;
    if (!(position < kFar)) return position > 0 ? kFar : padding == GridPadding::kZeros ? -kFar : 0.0f;
    return fmaxf(position, -kFar);
  }
};

template <class T>
struct GridSource {
  using Item = T;
  SampledShape shape;
  const T* map;
  const T* grad_output;
  const float* grid;
  float* grad_grid;
  float* grad_taps;  // of bicubic: (images * places, 16), what a tap's weight would change
  GridMode mode;
  GridAxis rows, columns;

  __device__ Sample sample(int64_t place, int, int tap) const {
    GridPosition x = columns.in_pixels(grid[2 * place]), y = rows.in_pixels(grid[2 * place + 1]);
    float scale = 1;
    if (mode == GridMode::kBicubic) {
      x.at = columns.within_reach(x.at), y.at = rows.within_reach(y.at);
      const float left = floorf(x.at), top = floorf(y.at);
      float wx[4], wy[4];
      cubic_weights(x.at - left, wx);
      cubic_weights(y.at - top, wy);
      x = columns.padded({left + static_cast<float>(tap % 4 - 1), 0});
      y = rows.padded({top + static_cast<float>(tap / 4 - 1), 0});
      scale = pick(wx, tap % 4) * pick(wy, tap / 4);
    } else {
      x = columns.padded(x), y = rows.padded(y);
      if (mode == GridMode::kNearest) x.at = rintf(x.at), y.at = rintf(y.at);
    }
    return {y.at, x.at, scale, rows.extent, columns.extent, 0};
  }
  // Without a run-time index, which would send the array to memory.
  __device__ static float pick(const float (&w)[4], int k) {
    return k < 2 ? k == 0 ? w[0] : w[1] : k == 2 ? w[2] : w[3];
  }
  __device__ PlanePixel pixel(int64_t pixel) const {
    return {static_cast<int>(pixel / columns.extent), static_cast<int>(pixel % columns.extent),
            columns.extent, 0};
  }
  __device__ const T* grad(int64_t place, int, int, int channel) const {
    return grad_output + place * shape.channels + channel;
  }
  __device__ void store(int64_t place, int, int tap, const Sample&, float by_scale, float by_y,
                        float by_x) const {
    if (mode == GridMode::kBicubic) {
      grad_taps[place * 16 + tap] = by_scale;
      return;
    }
    const bool moves = mode == GridMode::kBilinear;
    grad_grid[2 * place] = moves ? by_x * columns.padded(columns.in_pixels(grid[2 * place])).slope : 0.0f;
    grad_grid[2 * place + 1] = moves ? by_y * rows.padded(rows.in_pixels(grid[2 * place + 1])).slope : 0.0f;
  }
};

// A thread: the position of a bicubic sample, of which every tap's share is known.
template <class T>
__global__ void bicubic_grid_gradient(GridSource<T> source) {
  const int64_t place = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (place >= source.shape.images * source.shape.places) return;
  const GridPosition x = source.columns.in_pixels(source.grid[2 * place]),
                     y = source.rows.in_pixels(source.grid[2 * place + 1]);
  const float at_x = source.columns.within_reach(x.at), at_y = source.rows.within_reach(y.at);
  float wx[4], wy[4], slope_x[4], slope_y[4];
  cubic_weights(at_x - floorf(at_x), wx);
  cubic_weights(at_y - floorf(at_y), wy);
  cubic_slopes(at_x - floorf(at_x), slope_x);
  cubic_slopes(at_y - floorf(at_y), slope_y);
  float by_x = 0, by_y = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float share = source.grad_taps[place * 16 + 4 * i + j];
      by_x = fmaf(share, wy[i] * slope_x[j], by_x);
      by_y = fmaf(share, slope_y[i] * wx[j], by_y);
    }
  }
  source.grad_grid[2 * place] = by_x * x.slope;
  source.grad_grid[2 * place + 1] = by_y * y.slope;
}

SampledShape shape_of(const GridSampleProblem& p) {
  return {p.n,
          p.h * p.w,
          p.out_h * p.out_w,
          1,
          static_cast<int>(p.channels),
          p.params.mode == GridMode::kBicubic ? 16 : 1};
}

template <class T>
GridSource<T> source_of(const GridSampleProblem& p) {
  const auto axis = [&](int64_t extent) {
    return GridAxis{static_cast<int>(extent), p.params.padding, p.params.align_corners};
  };
  GridSource<T> source = {};
  source.shape = shape_of(p);
  source.map = static_cast<const T*>(p.input);
  source.grid = p.grid;
  source.mode = p.params.mode;
  source.rows = axis(p.h), source.columns = axis(p.w);
  return source;
}

float* take_taps(const SampledShape& s, Workspace* workspace) {
  return workspace->take<float>(s.taps == 16 ? s.samples() : 0);
}

}  // namespace

void grid_sample(const char* op, const Stream& stream, const GridSampleProblem& p, void* output) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool packed = in_packs<T>(p.channels, p.input, output);
    run_sums(op, stream, source_of<T>(p), static_cast<T*>(output), packed);
  });
}

int64_t grid_sample_count(const GridSampleProblem& p) { return shape_of(p).samples(); }

size_t grid_sample_backward_workspace_bytes(const char* op, const Stream& stream,
                                            const GridSampleProblem& p) {
  Workspace workspace;
  take_taps(shape_of(p), &workspace);
  take_pull_space(op, stream, shape_of(p), &workspace);
  return workspace.bytes();
}

void grid_sample_backward(const char* op, const Stream& stream, const GridSampleProblem& p,
                          const void* grad_output, void* memory, void* grad_input, float* grad_grid) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    Workspace workspace(memory);
    GridSource<T> source = source_of<T>(p);
    source.grad_output = static_cast<const T*>(grad_output);
    source.grad_grid = grad_grid;
    source.grad_taps = take_taps(source.shape, &workspace);
    run_sample_gradients(op, stream, source);
    if (p.params.mode == GridMode::kBicubic)
      launch(op, stream, {blocks_of(source.shape.outputs(), kSumThreads), kSumThreads},
             bicubic_grid_gradient<T>, source);
    const bool packed = in_packs<T>(p.channels, grad_output, grad_input);
    run_pull(op, stream, source, &workspace, static_cast<T*>(grad_input), packed);
  });
}

}  // namespace pyvision::cuda
