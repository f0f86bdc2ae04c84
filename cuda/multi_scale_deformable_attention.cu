// SPDX-License-Identifier: Apache-2.0
#include "multi_scale_deformable_attention.cuh"

#include "sampled_sums.cuh"

namespace pyvision::cuda {
namespace {

// The levels, one behind the other.
struct Levels {
  const int64_t* shapes;
  int count;
  int64_t pixels;  // of all of them

  // visit(level, first, h, w) until it answers false; levels that do not fit have no rows.
  template <class Visit>
  __device__ void for_each(Visit visit) const {
    int64_t first = 0;
    for (int level = 0; level < count; ++level) {
      const int64_t h = shapes[2 * level], w = shapes[2 * level + 1];
      const bool fits = h > 0 && w > 0 && h < 1 << 29 && w < 1 << 29 && h * w <= pixels - first;
      if (!visit(level, first, fits ? static_cast<int>(h) : 0, fits ? static_cast<int>(w) : 0)) return;
      if (fits) first += h * w;
    }
  }
};

template <class T>
struct AttentionSource {
  using Item = T;
  SampledShape shape;
  const T* map;
  const T* grad_output;
  const T *locations, *weights;
  T *grad_locations, *grad_weights;
  Levels levels;
  int points;

  __device__ int64_t index(int64_t place, int group, int tap) const {
    return (place * shape.groups + group) * shape.taps + tap;
  }
  __device__ Sample sample(int64_t place, int group, int tap) const {
    const int64_t at = index(place, group, tap);
    const float x = to_float(locations[2 * at]), y = to_float(locations[2 * at + 1]);
    Sample sample = {NAN, NAN, to_float(weights[at]), 0, 0, 0};  // nowhere
    levels.for_each([&](int level, int64_t first, int h, int w) {
      if (level < tap / points) return true;
      if (h == 0) return false;
      sample.y = y * static_cast<float>(h) - 0.5f;
      sample.x = x * static_cast<float>(w) - 0.5f;
      sample.h = h, sample.w = w, sample.first = first;
      return false;
    });
    return sample;
  }
  __device__ PlanePixel pixel(int64_t pixel) const {
    PlanePixel found = {0, 0, 1, pixel};  // of no level: its own list alone, which is empty
    levels.for_each([&](int, int64_t first, int h, int w) {
      if (pixel >= first + int64_t{h} * w) return true;
      found = {static_cast<int>((pixel - first) / w), static_cast<int>((pixel - first) % w), w, first};
      return false;
    });
    return found;
  }
  __device__ const T* grad(int64_t place, int group, int, int channel) const {
    return grad_output + (place * shape.groups + group) * shape.channels + channel;
  }
  __device__ void store(int64_t place, int group, int tap, const Sample& sample, float by_scale, float by_y,
                        float by_x) const {
    const int64_t at = index(place, group, tap);
    grad_locations[2 * at] = from_float<T>(by_x * static_cast<float>(sample.w));
    grad_locations[2 * at + 1] = from_float<T>(by_y * static_cast<float>(sample.h));
    grad_weights[at] = from_float<T>(by_scale);
  }
};

SampledShape shape_of(const AttentionProblem& p) {
  return {p.n,
          p.pixels,
          p.queries,
          static_cast<int>(p.heads),
          static_cast<int>(p.channels),
          static_cast<int>(p.levels * p.points)};
}

template <class T>
AttentionSource<T> source_of(const AttentionProblem& p, const AttentionGradients& grad) {
  return {shape_of(p),
          static_cast<const T*>(p.value),
          static_cast<const T*>(grad.output),
          static_cast<const T*>(p.locations),
          static_cast<const T*>(p.weights),
          static_cast<T*>(grad.locations),
          static_cast<T*>(grad.weights),
          {p.shapes, static_cast<int>(p.levels), p.pixels},
          static_cast<int>(p.points)};
}

}  // namespace

void multi_scale_deformable_attention(const char* op, const Stream& stream, const AttentionProblem& p,
                                      void* output) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool packed = in_packs<T>(p.channels, p.value, output);
    run_sums(op, stream, source_of<T>(p, {}), static_cast<T*>(output), packed);
  });
}

size_t attention_backward_workspace_bytes(const char* op, const Stream& stream, const AttentionProblem& p) {
  Workspace workspace;
  take_pull_space(op, stream, shape_of(p), &workspace);
  return workspace.bytes();
}

void multi_scale_deformable_attention_backward(const char* op, const Stream& stream,
                                               const AttentionProblem& p, const AttentionGradients& grad,
                                               void* memory) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const AttentionSource<T> source = source_of<T>(p, grad);
    run_sample_gradients(op, stream, source);
    Workspace workspace(memory);
    const bool packed = in_packs<T>(p.channels, grad.output, grad.value);
    run_pull(op, stream, source, &workspace, static_cast<T*>(grad.value), packed);
  });
}

}  // namespace pyvision::cuda
