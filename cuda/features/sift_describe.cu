// SPDX-License-Identifier: Apache-2.0
// Descriptors: histograms of gradient directions.
#include "features/direction.cuh"
#include "features/given.cuh"
#include "features/sift.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kCells = 4, kBins = 8;
constexpr int kDescribeThreads = kCells * kCells * kBins;  // a value to each
static_assert(kDescribeThreads == kSiftValues, "a thread normalises one value");

// The image a keypoint of this size is looked up in: octave in [0, count) and layer; false where there is
// none.
__device__ bool locate(const SiftPyramid& pyramid, float size, int* octave, int* layer) {
  const double most = static_cast<double>(pyramid.layers) * pyramid.count;
  const double index = pyramid.layers * log2(static_cast<double>(size) / pyramid.sigma);
  // An extremum lies up to half a layer beside its own; then its size was rounded to f32.
  constexpr double kReach = 0.5 + 1e-5;
  if (!(index >= 1 - kReach && index <= most + kReach)) return false;
  const int steps = static_cast<int>(fmin(fmax(rint(index), 1.0), most)) - 1;
  *octave = steps / pyramid.layers;
  *layer = steps % pyramid.layers + 1;
  return true;
}

struct CanBeDescribed {
  SiftPyramid pyramid;
  GivenKeypoints keypoints;
  int64_t h, w;

  __device__ bool operator()(int, int64_t i) const {
    if (i >= keypoints.n) return false;
    const float x = keypoints.xy[2 * i], y = keypoints.xy[2 * i + 1];
    int octave, layer;
    return x >= 0 && y >= 0 && x < static_cast<float>(w) && y < static_cast<float>(h) &&
           fabsf(keypoints.angle[i]) <= 360 && keypoints.size[i] > 0 &&
           locate(pyramid, keypoints.size[i], &octave, &layer);
  }
};

struct Window {
  const float* image;  // (h, w)
  int h, w, x, y;      // the pixel nearest to the keypoint
  int radius;          // of the square that holds the turned window
  float cosine, sine;  // of the keypoint's angle, over the cells' width
  float square;        // of the cells' width
  float angle_in_bins;
};

__device__ void find_window(const SiftPyramid& pyramid, const GivenKeypoints& keypoints, int64_t i,
                            Window* window) {
  constexpr double kPi = 3.14159265358979323846;
  int octave = 0, layer = 1;
  locate(pyramid, keypoints.size[i], &octave, &layer);
  const SiftOctave& images = pyramid.of[octave];
  const double unit = 2 / ldexp(1.0, octave);  // image pixels per given one
  const double cell = 3 * 0.5 * static_cast<double>(keypoints.size[i]) * unit;
  const double angle = keypoints.angle[i] > 0 ? 360 - static_cast<double>(keypoints.angle[i]) : 0,
               radians = angle * (kPi / 180);
  window->image = images.data + int64_t{layer} * images.h * images.w;
  window->h = images.h, window->w = images.w;
  window->x = static_cast<int>(rint((static_cast<double>(keypoints.xy[2 * i]) + 0.25) * unit));
  window->y = static_cast<int>(rint((static_cast<double>(keypoints.xy[2 * i + 1]) + 0.25) * unit));
  const double diagonal =
      sqrt(static_cast<double>(images.h) * images.h + static_cast<double>(images.w) * images.w);
  window->radius = static_cast<int>(rint(fmin(cell * sqrt(2.0) * 2.5, diagonal)));
  window->cosine = static_cast<float>(cos(radians) / cell);
  window->sine = static_cast<float>(sin(radians) / cell);
  window->square = static_cast<float>(cell * cell);
  window->angle_in_bins = static_cast<float>(angle / 45);
}

// The sum of all threads' values, in one order.
__device__ double sum_of_block(double value, double* warp_sums) {
  for (int apart = 16; apart > 0; apart /= 2) value += __shfl_xor_sync(0xffffffffu, value, apart);
  __syncthreads();  // the sums of the call before have been read
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < kDescribeThreads / 32; ++i) sum += warp_sums[i];
  return sum;
}

// A block: a keypoint. Eight threads share a cell: each takes every eighth pixel of a row that reaches into
// it, and holds the cell's directions in registers.
__global__ void __launch_bounds__(kDescribeThreads)
    describe_kernel(const __grid_constant__ SiftPyramid pyramid, GivenKeypoints keypoints,
                    const int64_t* which, const int32_t* count, bool root, float* descriptors) {
  __shared__ Window window;
  __shared__ float values[kSiftValues];
  __shared__ double warp_sums[kDescribeThreads / 32];
  const int64_t row = blockIdx.x;
  if (row >= *count) return;
  const int thread = static_cast<int>(threadIdx.x), part = thread % kBins, cell = thread / kBins;
  if (thread == 0) find_window(pyramid, keypoints, which == nullptr ? row : which[row], &window);
  __syncthreads();
  const float c = window.cosine, s = window.sine, square = window.square;
  const auto cell_line = static_cast<float>(cell / kCells), cell_column = static_cast<float>(cell % kCells);
  constexpr float kMiddle = kCells / 2 - 0.5f;
  // The cell's center and half the square around what it reaches, in pixels from the keypoint's.
  const float u0 = cell_column - kMiddle, v0 = cell_line - kMiddle, half = (fabsf(c) + fabsf(s)) * square + 1;
  const float across = (u0 * c + v0 * s) * square, down = (v0 * c - u0 * s) * square;
  const auto reach = static_cast<float>(window.radius);
  const int left = max(1 - window.x, static_cast<int>(ceilf(fmaxf(across - half, -reach)))),
            right = min(window.w - 2 - window.x, static_cast<int>(floorf(fminf(across + half, reach)))),
            top = max(1 - window.y, static_cast<int>(ceilf(fmaxf(down - half, -reach)))),
            bottom = min(window.h - 2 - window.y, static_cast<int>(floorf(fminf(down + half, reach))));
  float histogram[kBins] = {};
  for (int i = top; i <= bottom; ++i) {
    const float* const line_of_image = window.image + int64_t{window.y + i} * window.w + window.x;
    for (int j = left + part; j <= right; j += kBins) {
      const auto across_j = static_cast<float>(j), down_i = static_cast<float>(i);
      const float u = across_j * c - down_i * s, v = across_j * s + down_i * c;  // in cells
      const float weight_u = 1 - fabsf(u + kMiddle - cell_column),
                  weight_v = 1 - fabsf(v + kMiddle - cell_line);
      if (!(weight_u > 0 && weight_v > 0)) continue;
      const float* const p = line_of_image + j;
      const float dx = p[1] - p[-1], dy = p[-window.w] - p[window.w];
      const float weight = expf((u * u + v * v) * (-1.0f / (kCells * kCells * 0.5f)));
      const float share = sqrtf(dx * dx + dy * dy) * weight * weight_v * weight_u;
      float bin = direction(dx, dy) * (kBins / 360.0f) - window.angle_in_bins;
      if (bin < 0) bin += kBins;
      const float floor_of = floorf(bin), next = share * (bin - floor_of);
      const int first = static_cast<int>(floor_of) % kBins, second = (first + 1) % kBins;
#pragma unroll
      for (int b = 0; b < kBins; ++b) histogram[b] += b == first ? share - next : b == second ? next : 0.0f;
    }
  }
#pragma unroll
  for (int b = 0; b < kBins; ++b) {
    float sum = histogram[b];
    for (int apart = kBins / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if (part == b) values[thread] = sum;
  }
  __syncthreads();
  float value = values[thread];
  const auto square_of = [](float x) { return static_cast<double>(x) * static_cast<double>(x); };
  value = fminf(value, static_cast<float>(0.2 * sqrt(sum_of_block(square_of(value), warp_sums))));
  const double norm = sqrt(sum_of_block(square_of(value), warp_sums));
  value = fminf(rintf(value * static_cast<float>(512 / fmax(norm, 1e-7))), 255.0f);
  if (root) value = sqrtf(value / fmaxf(static_cast<float>(sum_of_block(value, warp_sums)), 1.0f));
  descriptors[row * kSiftValues + thread] = value;
}

struct Space {
  Workspace workspace;
  SiftPyramid pyramid;
  Marks marks;

  Space(const SiftProblem& p, const GivenKeypoints& keypoints, void* memory)
      : workspace(memory),
        pyramid(sift_pyramid(p, workspace.take<char>(static_cast<int64_t>(sift_pyramid_bytes(p))))),
        marks(&workspace, Chunks(keypoints.n)) {}
};

}  // namespace

void describe_sift(const char* op, const Stream& stream, const SiftPyramid& pyramid,
                   const GivenKeypoints& keypoints, const int64_t* which, const int32_t* count, bool root,
                   float* descriptors) {
  launch(op, stream, {static_cast<unsigned>(keypoints.n), kDescribeThreads}, describe_kernel, pyramid,
         keypoints, which, count, root, descriptors);
}

size_t sift_describe_bytes(const SiftProblem& p, const GivenKeypoints& keypoints) {
  return Space(p, keypoints, nullptr).workspace.bytes();
}

void sift_describe(const char* op, const Stream& stream, const SiftProblem& p,
                   const GivenKeypoints& keypoints, bool root, void* workspace, int64_t* kept, int32_t* count,
                   float* descriptors) {
  const Space space(p, keypoints, workspace);
  list_kept(op, stream, space.marks, CanBeDescribed{space.pyramid, keypoints, p.h, p.w}, kept, count);
  fill_sift_pyramid(op, stream, p, space.pyramid);
  describe_sift(op, stream, space.pyramid, keypoints, kept, count, root, descriptors);
}

}  // namespace pyvision::cuda
