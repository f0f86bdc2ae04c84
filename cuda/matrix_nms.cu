// SPDX-License-Identifier: Apache-2.0
#include "boxes.cuh"
#include "mask_shape.cuh"
#include "soft_nms.cuh"
#include "suppress.cuh"

namespace pyvision::cuda {
namespace {

template <class T>
struct BoxShape {
  using Score = T;
  using Item = Box<T>;
  const T* boxes;  // (n, 4)

  __device__ Item load(int64_t i) const { return load_box(boxes, i); }
  __device__ bool valid(const Item& box) const { return is_finite(box); }
  __device__ bool wide(const Item&) const { return false; }  // iou() sees to it for every pair
  __device__ T iou(const Item& a, const Item& b) const { return cuda::iou(a, b); }
};

template <class Shape>
struct MatrixJob {
  using T = typename Shape::Score;
  Shape shape;
  const typename Shape::Item* items;  // by class and falling score
  const uint64_t* classes;            // or null: one
  const uint8_t* removed;
  const int32_t* order;
  int64_t n;
  SoftNms method;
  T sigma, score_threshold;
  const T* scores;
  T *most, *decayed;  // most: by class and falling score; decayed: by index

  // visit(i, IoU with p) of all better ones of p's class, the worst of them last
  template <class Visit>
  __device__ void for_each_better(int64_t p, Visit visit) const {
    const typename Shape::Item item = items[p];
    int64_t first = p;
    while (first > 0 && (classes == nullptr || classes[first - 1] == classes[p])) --first;
    for (int64_t i = first; i < p; ++i)
      if (!removed[i]) visit(i, shape.iou(items[i], item));
  }
};

template <class Shape>
__global__ void most_overlap(MatrixJob<Shape> job) {
  using T = typename Shape::Score;
  const int64_t p = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (p >= job.n) return;
  T most = 0;
  if (!job.removed[p]) job.for_each_better(p, [&](int64_t, T iou) { most = max(most, iou); });
  job.most[p] = most;
}

// keys: falling_key of the new score, the largest there is where it is under the threshold.
template <class Shape, class Key>
__global__ void decay_scores(MatrixJob<Shape> job, Key* keys, int32_t* indices, int32_t* kept) {
  using T = typename Shape::Score;
  const int64_t p = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (p >= job.n) return;
  const int32_t index = job.order[p];
  T factor = job.method == SoftNms::kGaussian ? T{0} : T{1};
  bool stays = false;
  T score = 0;
  if (!job.removed[p]) {
    job.for_each_better(p, [&](int64_t i, T iou) {
      const T top = job.most[i];
      if (job.method == SoftNms::kGaussian) {  // the least exponent
        factor = min(factor, job.sigma * (top * top - iou * iou));
      } else if (top < 1) {  // at 1 it suppresses nothing
        factor = min(factor, (1 - iou) * (1 / (1 - top)));
      }
    });
    score = job.scores[index] * (job.method == SoftNms::kGaussian ? exp(factor) : factor);
    stays = score >= job.score_threshold;
  }
  job.decayed[index] = score;
  keys[index] = stays ? falling_key(score) : ~Key{0};
  indices[index] = index;
  if (stays) atomicAdd(kept, 1);
}

template <class T>
__global__ void emit_scores(const int32_t* order, const int32_t* kept, const T* decayed, int64_t n,
                            int64_t max_output, int64_t* keep, T* kept_scores, int64_t* count) {
  const int64_t q = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t all = *kept < max_output ? *kept : max_output;
  if (q < n) {
    keep[q] = q < all ? order[q] : -1;
    kept_scores[q] = q < all ? decayed[order[q]] : T{0};
  }
  if (q == 0) *count = all;
}

template <class Shape>
struct MatrixBuffers {
  using T = typename Shape::Score;
  using Key = typename KeyOf<T>::Type;
  Key *keys, *sorted_keys;
  uint64_t *labels, *class_keys;
  int32_t *order, *by_score, *by_class, *kept, *wide;
  typename Shape::Item* items;
  uint8_t* removed;
  T *most, *decayed;
  int64_t* unused;
  char* temporary;
  size_t temporary_bytes;

  MatrixBuffers(const Stream& stream, const NmsProblem& p, Workspace* space) {
    keys = space->take<Key>(p.n), sorted_keys = space->take<Key>(p.n);
    labels = p.classes ? space->take<uint64_t>(p.n) : nullptr;
    class_keys = p.classes ? space->take<uint64_t>(p.n) : nullptr;
    order = space->take<int32_t>(p.n), by_score = space->take<int32_t>(p.n);
    by_class = p.classes ? space->take<int32_t>(p.n) : by_score;
    kept = space->take<int32_t>(1), wide = space->take<int32_t>(1), unused = space->take<int64_t>(1);
    items = space->take<typename Shape::Item>(p.n);
    removed = space->take<uint8_t>(p.n);
    most = space->take<T>(p.n), decayed = space->take<T>(p.n);
    const size_t of_scores = sort_temporary_bytes<Key>("matrix_nms", stream, p.n);
    const size_t of_classes = sort_temporary_bytes<uint64_t>("matrix_nms", stream, p.n);
    temporary_bytes = of_scores > of_classes ? of_scores : of_classes;
    temporary = space->take<char>(static_cast<int64_t>(temporary_bytes));
  }
};

template <class Shape>
void run(const char* op, const Stream& stream, const SoftNmsProblem& problem, const Shape& shape,
         Workspace* workspace, int64_t* keep, void* kept_scores, int64_t* count) {
  using T = typename Shape::Score;
  using Key = typename KeyOf<T>::Type;
  const NmsProblem& p = problem.p;
  const MatrixBuffers<Shape> b(stream, p, workspace);
  const LaunchShape each = {blocks_of(p.n, kThreads), kThreads};
  const auto* scores = static_cast<const T*>(p.scores);
  launch(op, stream, {1, kThreads}, zero<>, b.kept, int64_t{1}, b.unused);
  if (p.n > 0) {
    launch(op, stream, each, score_keys<T, Key>, scores, p.n, b.keys, b.order);
    sort_pairs<Key>(op, stream, b.keys, b.order, p.n, b.temporary, b.temporary_bytes, b.sorted_keys,
                    b.by_score);
    if (p.classes != nullptr) {
      launch(op, stream, each, label_keys<>, p.classes, b.by_score, p.n, b.labels);
      sort_pairs<uint64_t>(op, stream, b.labels, b.by_score, p.n, b.temporary, b.temporary_bytes,
                           b.class_keys, b.by_class);
    }
    launch(op, stream, each, gather<Shape>, shape, scores, b.by_class, static_cast<const int32_t*>(nullptr),
           p.n, b.items, b.removed, b.wide);
    const MatrixJob<Shape> job = {shape,
                                  b.items,
                                  b.class_keys,
                                  b.removed,
                                  b.by_class,
                                  p.n,
                                  problem.method,
                                  static_cast<T>(problem.sigma),
                                  static_cast<T>(problem.score_threshold),
                                  scores,
                                  b.most,
                                  b.decayed};
    launch(op, stream, each, most_overlap<Shape>, job);
    launch(op, stream, each, decay_scores<Shape, Key>, job, b.keys, b.order, b.kept);
    sort_pairs<Key>(op, stream, b.keys, b.order, p.n, b.temporary, b.temporary_bytes, b.sorted_keys,
                    b.by_score);
  }
  launch(op, stream, {blocks_of(p.n > 0 ? p.n : 1, kThreads), kThreads}, emit_scores<T>, b.by_score, b.kept,
         b.decayed, p.n, p.max_output, keep, static_cast<T*>(kept_scores), count);
}

// run(shape, workspace) of boxes or masks.
template <class Run>
void with_shape(const SoftNmsProblem& problem, const Masks& masks, void* memory, Run run) {
  const auto make = [&](auto zero) {
    using T = decltype(zero);
    Workspace workspace(memory);
    if (!masks.given) return run(BoxShape<T>{static_cast<const T*>(problem.p.boxes)}, &workspace);
    const PackedMasks packed(masks, problem.p.n, &workspace);
    run(MaskShape<T>{packed.words, packed.areas, masks.words(), 0}, &workspace);
  };
  if (problem.p.dtype == DType::kF64) return make(0.0);
  make(0.0f);
}

}  // namespace

size_t matrix_nms_workspace_bytes(const Stream& stream, const SoftNmsProblem& problem, const Masks& masks) {
  size_t bytes = 0;
  with_shape(problem, masks, nullptr, [&](auto shape, Workspace* workspace) {
    MatrixBuffers<decltype(shape)>(stream, problem.p, workspace);
    bytes = workspace->bytes();
  });
  return bytes;
}

void matrix_nms(const char* op, const Stream& stream, const SoftNmsProblem& problem, const Masks& masks,
                void* memory, int64_t* keep, void* kept_scores, int64_t* count) {
  if (masks.given) {
    Workspace workspace(memory);
    pack_masks(op, stream, masks, problem.p.n, PackedMasks(masks, problem.p.n, &workspace));
  }
  with_shape(problem, masks, memory, [&](auto shape, Workspace* workspace) {
    run(op, stream, problem, shape, workspace, keep, kept_scores, count);
  });
}

}  // namespace pyvision::cuda
