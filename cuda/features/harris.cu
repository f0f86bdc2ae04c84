// SPDX-License-Identifier: Apache-2.0
#include "features/harris.cuh"

#include "features/falling.cuh"
#include "features/lists.cuh"
#include "features/pixels.cuh"
#include "suppress.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kMomentThreads = 256;
constexpr int kTileColumns = 64, kTileRows = 8;  // a block's: two pixels to a thread

// What the response is made of.
struct Moments {
  float xx, xy, yy;
};

template <class T>
struct Picture {
  const T* data;
  int h, w;

  // Of the derivatives at a pixel; the mirrored picture goes on beyond its border.
  __device__ Moments moments(int y, int x) const {
    const int left = mirrored_index(x - 1, w), right = mirrored_index(x + 1, w);
    const T* const row = data + int64_t{y} * w;
    const T* const above = data + int64_t{mirrored_index(y - 1, h)} * w;
    const T* const below = data + int64_t{mirrored_index(y + 1, h)} * w;
    const float a = above[left], b = above[right], c = below[left], d = below[right];
    const float dx =
        2.0f * (static_cast<float>(row[right]) - static_cast<float>(row[left])) + ((b - a) + (d - c));
    const float dy =
        2.0f * (static_cast<float>(below[x]) - static_cast<float>(above[x])) + ((c - a) + (d - b));
    return {dx * dx, dx * dy, dy * dy};
  }
};

struct Response {
  bool harris;
  float k, unit;
  int block;

  __device__ float of(const Moments& sum) const {
    const float a = sum.xx * unit, b = sum.xy * unit, c = sum.yy * unit, half = 0.5f * (a - c);
    return harris ? (a * c - b * b) - k * ((a + c) * (a + c)) : 0.5f * (a + c) - sqrtf(half * half + b * b);
  }
};

// Sums are of columns first, then of neighbouring ones, as on the CPU.
template <class T>
__global__ void __launch_bounds__(kMomentThreads)
    respond_kernel(Picture<T> picture, Response response, float* y) {
  constexpr int kSums = kTileColumns + kMostCornerBlock - 1;
  __shared__ Moments sums[kTileRows][kSums];
  const int block = response.block, before = block / 2, wide = kTileColumns + block - 1;
  const int left = static_cast<int>(blockIdx.x) * kTileColumns,
            top = static_cast<int>(blockIdx.y) * kTileRows;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < kTileRows * wide; i += kMomentThreads) {
    const int row = i / wide, column = i % wide;
    if (top + row >= picture.h) break;
    const int x = mirrored_index(left + column - before, picture.w);
    Moments sum = picture.moments(mirrored_index(top + row - before, picture.h), x);
    for (int k = 1; k < block; ++k) {
      const Moments next = picture.moments(mirrored_index(top + row - before + k, picture.h), x);
      sum.xx += next.xx, sum.xy += next.xy, sum.yy += next.yy;
    }
    sums[row][column] = sum;
  }
  __syncthreads();
  for (int i = thread; i < kTileRows * kTileColumns; i += kMomentThreads) {
    const int row = i / kTileColumns, column = i % kTileColumns;
    if (top + row >= picture.h || left + column >= picture.w) continue;
    Moments sum = sums[row][column];
    for (int k = 1; k < block; ++k) {
      const Moments& next = sums[row][column + k];
      sum.xx += next.xx, sum.xy += next.xy, sum.yy += next.yy;
    }
    y[int64_t{top + row} * picture.w + left + column] = response.of(sum);
  }
}

// greatest: (1,), the key of the greatest allowed response, and of 0 where there is none.
__global__ void begin_greatest(uint32_t* greatest) { *greatest = rising_key(0.0f); }

__global__ void __launch_bounds__(kMomentThreads)
    find_greatest(const float* responses, int64_t n, const uint8_t* allowed, uint32_t* greatest) {
  uint32_t key = rising_key(0.0f);
  const int64_t step = int64_t{gridDim.x} * kMomentThreads;
  for (int64_t i = int64_t{blockIdx.x} * kMomentThreads + threadIdx.x; i < n; i += step)
    if (allowed == nullptr || allowed[i] != 0) key = max(key, rising_key(responses[i]));
  for (int apart = 16; apart > 0; apart /= 2) key = max(key, __shfl_xor_sync(0xffffffffu, key, apart));
  if (threadIdx.x % 32 == 0) atomicMax(greatest, key);
}

struct IsCorner {
  const float* responses;
  const uint32_t* greatest;
  int32_t h, w;
  double quality;
  Allowed allowed;

  __device__ bool operator()(int, int64_t item) const {
    if (item >= int64_t{h} * w) return false;
    const int y = static_cast<int>(item / w), x = static_cast<int>(item % w);
    if (x < 1 || y < 1 || x >= w - 1 || y >= h - 1) return false;
    const float* const at = responses + item;
    const float v = *at;
    const auto least = static_cast<float>(static_cast<double>(of_rising_key(*greatest)) * quality);
    if (!(v > 0 && v > least)) return false;
    for (int dy = -1; dy <= 1; ++dy)
      for (int dx = -1; dx <= 1; ++dx)
        if (!(at[dy * w + dx] <= v)) return false;
    return allowed.data == nullptr || allowed.data[item] != 0;
  }
};

struct PutMaximum {
  const float* responses;
  FallingOrder order;
  __device__ void operator()(int, int64_t item, int32_t place) const {
    order.put(place, responses[item], item);
  }
};

__global__ void __launch_bounds__(kMomentThreads)
    put_corners(const float* responses, const int32_t* items, int32_t w, float size,
                KeypointColumns keypoints) {
  const int64_t i = int64_t{blockIdx.x} * kMomentThreads + threadIdx.x;
  if (i == 0) *keypoints.count = static_cast<int32_t>(keypoints.room);
  if (i >= keypoints.room) return;
  const int32_t item = items[i], y = item / w;
  constexpr float kNoAngle = -1;
  put_keypoint(keypoints, i, static_cast<float>(item - y * w), static_cast<float>(y), size, kNoAngle,
               responses[item], 0);
}

struct SearchSpace {
  Workspace workspace;
  float* responses;
  uint32_t* greatest;
  Marks marks;

  SearchSpace(const HarrisProblem& p, void* memory)
      : workspace(memory),
        responses(workspace.take<float>(int64_t{p.h} * p.w)),
        greatest(workspace.take<uint32_t>(1)),
        marks(&workspace, Chunks(int64_t{p.h} * p.w)) {}
};

struct PutSpace {
  Workspace workspace;
  FallingOrder order;

  PutSpace(const Stream& stream, int64_t n, void* memory)
      : workspace(memory), order("Harris", stream, n, &workspace) {}
};

struct Points {
  using Score = float;
  using Item = float2;
  const float* xy;
  double square;

  __device__ Item load(int64_t i) const { return reinterpret_cast<const float2*>(xy)[i]; }
  __device__ bool valid(const Item&) const { return true; }
  __device__ bool wide(const Item&) const { return false; }
  __device__ bool hits(const Item& a, const Item& b, bool) const {
    const double dx = static_cast<double>(a.x) - static_cast<double>(b.x);
    const double dy = static_cast<double>(a.y) - static_cast<double>(b.y);
    return dx * dx + dy * dy < square;
  }
};

NmsProblem suppression_of(const ApartProblem& p) {
  NmsProblem s;
  s.scores = p.response, s.n = p.n, s.max_output = p.max_output;
  return s;
}

}  // namespace

void corner_response(const char* op, const Stream& stream, const HarrisProblem& p, float* y) {
  const double unit = 1 / (4 * static_cast<double>(p.block) * 255);
  const Response response = {p.harris, p.k, static_cast<float>(unit * unit), p.block};
  const LaunchShape shape = {{blocks_of(p.w, kTileColumns), blocks_of(p.h, kTileRows)}, kMomentThreads};
  if (p.floats)
    launch(op, stream, shape, respond_kernel<float>,
           Picture<float>{static_cast<const float*>(p.picture), p.h, p.w}, response, y);
  else
    launch(op, stream, shape, respond_kernel<uint8_t>,
           Picture<uint8_t>{static_cast<const uint8_t*>(p.picture), p.h, p.w}, response, y);
}

size_t harris_search_bytes(const HarrisProblem& p) { return SearchSpace(p, nullptr).workspace.bytes(); }

void harris_search(const char* op, const Stream& stream, const HarrisProblem& p, void* search,
                   int32_t* count) {
  const SearchSpace space(p, search);
  const int64_t pixels = int64_t{p.h} * p.w;
  constexpr int kPixelsEach = 16;  // of a thread: one atomic to 512 pixels
  corner_response(op, stream, p, space.responses);
  launch(op, stream, {1, 1}, begin_greatest, space.greatest);
  launch(op, stream, {blocks_of(pixels, kMomentThreads * kPixelsEach), kMomentThreads}, find_greatest,
         space.responses, pixels, p.allowed.data, space.greatest);
  mark(op, stream, space.marks, IsCorner{space.responses, space.greatest, p.h, p.w, p.quality, p.allowed});
  put_total(op, stream, space.marks, count);
}

size_t harris_put_bytes(const Stream& stream, int64_t maxima) {
  return PutSpace(stream, maxima, nullptr).workspace.bytes();
}

void harris_put(const char* op, const Stream& stream, const HarrisProblem& p, void* search, int64_t maxima,
                void* workspace, const KeypointColumns& keypoints) {
  const SearchSpace found(p, search);
  const PutSpace space(stream, maxima, workspace);
  list(op, stream, found.marks, PutMaximum{found.responses, space.order});
  space.order.sort(op, stream);
  launch(op, stream, {blocks_of(keypoints.room, kMomentThreads), kMomentThreads}, put_corners,
         found.responses, space.order.sorted, p.w, static_cast<float>(p.block), keypoints);
}

size_t keep_apart_workspace_bytes(const Stream& stream, const ApartProblem& p) {
  return Buffers<Points>(stream, suppression_of(p), nullptr).bytes;
}

void keep_apart(const char* op, const Stream& stream, const ApartProblem& p, void* workspace, int64_t* keep,
                int64_t* count) {
  suppress(op, stream, suppression_of(p), Points{p.xy, p.distance * p.distance}, workspace, keep, p.n, count);
}

}  // namespace pyvision::cuda
