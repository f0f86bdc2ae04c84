// SPDX-License-Identifier: Apache-2.0
#include "deform_conv3.cuh"

#include "sampled_sums.cuh"

namespace pyvision::cuda {
namespace {

template <class T>
struct Entries {
  T* data;
  int64_t pixel, group;

  __device__ T* at(int64_t place, int g) const { return data + place * pixel + g * group; }
};

// One axis of the grid of taps.
struct TapAxis {
  int out, kernel, stride, pad, dilation;

  __device__ float position(int at, int tap, float offset, float scale) const {
    const int half = dilation * (kernel - 1) / 2;
    const float centre = static_cast<float>(at * stride - pad + half) - static_cast<float>(half) * scale;
    return centre + (static_cast<float>(tap * dilation) + offset) * scale;
  }
};

template <class T>
struct Dcn3Source {
  using Item = T;
  SampledShape shape;
  const T* map;
  const T* grad_output;
  Entries<T> offset, mask, grad_offset, grad_mask;
  TapAxis rows, columns;
  int h, w;
  float offset_scale;
  int center;  // the tap that is left out; at least as many as there are: none

  __device__ Sample sample(int64_t place, int group, int tap) const {
    const T* const moved = offset.at(place, group) + 2 * tap;
    const int all = tap + (tap >= center ? 1 : 0), kh = all % rows.kernel, kw = all / rows.kernel;
    const auto ow = static_cast<int>(place % columns.out),
               oh = static_cast<int>(place / columns.out % rows.out);
    return {rows.position(oh, kh, to_float(moved[1]), offset_scale),
            columns.position(ow, kw, to_float(moved[0]), offset_scale),
            to_float(mask.at(place, group)[tap]),
            h,
            w,
            0};
  }
  __device__ PlanePixel pixel(int64_t pixel) const {
    return {static_cast<int>(pixel / w), static_cast<int>(pixel % w), w, 0};
  }
  __device__ const T* grad(int64_t place, int group, int, int channel) const {
    return grad_output + (place * shape.groups + group) * shape.channels + channel;
  }
  __device__ void store(int64_t place, int group, int tap, const Sample&, float by_scale, float by_y,
                        float by_x) const {
    T* const to = grad_offset.at(place, group) + 2 * tap;
    to[0] = from_float<T>(by_x * offset_scale);
    to[1] = from_float<T>(by_y * offset_scale);
    grad_mask.at(place, group)[tap] = from_float<T>(by_scale);
  }
};

SampledShape shape_of(const DeformConv3Problem& p) {
  return {p.n,
          p.h * p.w,
          p.out_h * p.out_w,
          static_cast<int>(p.groups),
          static_cast<int>(p.group_channels),
          static_cast<int>(p.taps())};
}

template <class T>
Entries<T> typed(const DeformEntries& entries) {
  return {static_cast<T*>(entries.data), entries.pixel, entries.group};
}

template <class T>
Dcn3Source<T> source_of(const DeformConv3Problem& p, const DeformConv3Gradients& grad) {
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  const auto center = narrow(p.kernel_w / 2 * p.kernel_h + p.kernel_h / 2);
  return {shape_of(p),
          static_cast<const T*>(p.input),
          static_cast<const T*>(grad.output),
          typed<T>(p.offset),
          typed<T>(p.mask),
          typed<T>(grad.offset),
          typed<T>(grad.mask),
          {narrow(p.out_h), narrow(p.kernel_h), narrow(p.stride_h), narrow(p.pad_h), narrow(p.dilation_h)},
          {narrow(p.out_w), narrow(p.kernel_w), narrow(p.stride_w), narrow(p.pad_w), narrow(p.dilation_w)},
          narrow(p.h),
          narrow(p.w),
          p.offset_scale,
          p.remove_center ? center : INT32_MAX};
}

template <class T>
__global__ void clear_padding(T* entries, int64_t pixels, int64_t pixel, int64_t padding) {
  const int64_t index = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (index >= pixels * padding) return;
  entries[index / padding * pixel + pixel - padding + index % padding] = from_float<T>(0.0f);
}

}  // namespace

void deform_conv3(const char* op, const Stream& stream, const DeformConv3Problem& p, void* output) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool packed = in_packs<T>(p.group_channels, p.input, output);
    run_sums(op, stream, source_of<T>(p, {}), static_cast<T*>(output), packed);
  });
}

size_t deform_conv3_backward_workspace_bytes(const char* op, const Stream& stream,
                                             const DeformConv3Problem& p) {
  Workspace workspace;
  take_pull_space(op, stream, shape_of(p), &workspace);
  return workspace.bytes();
}

void deform_conv3_backward(const char* op, const Stream& stream, const DeformConv3Problem& p,
                           const DeformConv3Gradients& grad, void* memory) {
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Dcn3Source<T> source = source_of<T>(p, grad);
    run_sample_gradients(op, stream, source);
    const int64_t pixels = p.n * p.out_h * p.out_w;
    launch(op, stream, {blocks_of(pixels * grad.padding, kSumThreads), kSumThreads}, clear_padding<T>,
           static_cast<T*>(grad.offset.data), pixels, grad.offset.pixel, grad.padding);
    Workspace workspace(memory);
    const bool packed = in_packs<T>(p.group_channels, grad.output, grad.input);
    run_pull(op, stream, source, &workspace, static_cast<T*>(grad.input), packed);
  });
}

}  // namespace pyvision::cuda
