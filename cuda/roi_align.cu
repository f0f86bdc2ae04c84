// SPDX-License-Identifier: Apache-2.0
#include "roi_align.cuh"

#include "common/launch.cuh"
#include "common/numbers.cuh"
#include "common/sampling.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct RoiAlign {
  const T* input;
  int64_t n, h, w, channels;
  const float* boxes;
  int bins_h, bins_w;
  float scale, shift, least_size;  // shift: what is subtracted after scaling
  int sampling_ratio;
  T* output;
  int vectors;    // of channels
  int64_t total;  // vectors of the output
};

// The samples of one bin along one axis. Of those outside [-1, extent] only the number counts: they are 0.
struct SampledBin {
  float start, size, count;  // sample i lies at start + (i + 0.5) * size / count
  int first, last;           // [first, last): all that may lie inside

  __device__ SampledBin(float low, float box_size, int bin, int bins, int ratio, int64_t extent) {
    size = box_size / static_cast<float>(bins);
    start = low + static_cast<float>(bin) * size;
    count = ratio > 0 ? static_cast<float>(ratio) : ceilf(size);
    const float step = size / count;
    first = last = 0;
    if (!(count > 0) || !(start - start == 0) || !(step - step == 0)) return;
    // A sample of slack on both sides for rounding; every sample is checked when it is taken.
    const float one = step == 0 ? 0 : (-1 - start) / step,
                other = step == 0 ? count : (extent - start) / step;
    const float most = fminf(count, 0x1p30f);
    first = static_cast<int>(fmaxf(0.0f, fminf(most, floorf(fminf(one, other)) - 2)));
    last = static_cast<int>(fmaxf(0.0f, fminf(most, ceilf(fmaxf(one, other)) + 2)));
  }
  // On the border of the map between there and -1 or extent; false outside of these.
  __device__ bool position(int i, int64_t extent, float* at) const {
    const float sample = start + (static_cast<float>(i) + 0.5f) * size / count;
    *at = fminf(fmaxf(sample, 0.0f), static_cast<float>(extent - 1));
    return sample >= -1 && sample <= static_cast<float>(extent);
  }
};

// A thread: kVec channels of one bin.
template <class T, int kVec>
__global__ void __launch_bounds__(kThreads) roi_align_kernel(RoiAlign<T> job) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= job.total) return;
  const int64_t vector = index % job.vectors, bin = index / job.vectors;  // bin: [0, count * bins_h * bins_w)
  const int pw = static_cast<int>(bin % job.bins_w), ph = static_cast<int>(bin / job.bins_w % job.bins_h);
  const float* const box = job.boxes + 5 * (bin / job.bins_w / job.bins_h);
  float sum[kVec] = {};
  float factor;
  const float image = box[0];
  if (image >= 0 && image < static_cast<float>(job.n) && image == floorf(image)) {
    const float x1 = box[1] * job.scale - job.shift, y1 = box[2] * job.scale - job.shift;
    const float width = fmaxf(box[3] * job.scale - job.shift - x1, job.least_size);
    const float height = fmaxf(box[4] * job.scale - job.shift - y1, job.least_size);
    const SampledBin rows(y1, height, ph, job.bins_h, job.sampling_ratio, job.h);
    const SampledBin columns(x1, width, pw, job.bins_w, job.sampling_ratio, job.w);
    const T* const map =
        job.input + static_cast<int64_t>(image) * job.h * job.w * job.channels + vector * kVec;
    for (int i = rows.first; i < rows.last; ++i) {
      float y, x;
      if (!rows.position(i, job.h, &y)) continue;
      for (int j = columns.first; j < columns.last; ++j) {
        BilinearPoint point;
        if (columns.position(j, job.w, &x) &&
            point.locate(y, x, static_cast<int>(job.h), static_cast<int>(job.w)))
          add_sample(map, static_cast<int>(job.w), job.channels, point, 1.0f, sum);
      }
    }
    const float samples = rows.count * columns.count;
    factor = samples > 0 ? 1 / samples : 0;
  } else {
    factor = __uint_as_float(0x7fc00000u);  // NaN
  }
  for (int c = 0; c < kVec; ++c) sum[c] *= factor;
  store_floats<kVec>(sum, job.output + bin * job.channels + vector * kVec);
}

template <class T>
void run(const char* op, const Stream& stream, const RoiAlignProblem& p) {
  RoiAlign<T> job = {};
  job.input = static_cast<const T*>(p.input);
  job.n = p.n;
  job.h = p.h;
  job.w = p.w;
  job.channels = p.channels;
  job.boxes = p.boxes;
  job.bins_h = static_cast<int>(p.bins_h);
  job.bins_w = static_cast<int>(p.bins_w);
  job.scale = p.spatial_scale;
  job.shift = p.aligned ? 0.5f : 0.0f;
  job.least_size = p.aligned ? -INFINITY : 1.0f;
  job.sampling_ratio = static_cast<int>(p.sampling_ratio > 0 ? p.sampling_ratio : 0);
  job.output = static_cast<T*>(p.output);
  const bool packed = p.channels % kPack<T> == 0 && aligned16(p.input) && aligned16(p.output);
  job.vectors = static_cast<int>(p.channels / (packed ? kPack<T> : 1));
  job.total = p.count * p.bins_h * p.bins_w * job.vectors;
  launch(op, stream, {blocks_of(job.total, kThreads), kThreads},
         packed ? roi_align_kernel<T, kPack<T>> : roi_align_kernel<T, 1>, job);
}

}  // namespace

void roi_align(const char* op, const Stream& stream, const RoiAlignProblem& problem) {
  with_float(problem.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, problem); });
}

}  // namespace pyvision::cuda
