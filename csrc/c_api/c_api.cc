// SPDX-License-Identifier: Apache-2.0
#include "c_api/c_api.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "core/parallel.h"
#include "ops/box_coding/box_coding.h"
#include "ops/box_iou/box_iou.h"
#include "ops/nms/nms.h"
#include "ops/paste_masks/paste_masks.h"
#include "ops/rle/rle.h"

namespace pyvision {
namespace {

// The status of call(), which may throw; what it throws must not reach C.
template <class Call>
int64_t guarded(bool arguments_are_good, Call call) noexcept {
  if (!arguments_are_good) return PYVISION_BAD_ARGUMENT;
  try {
    return call();
  } catch (const Interrupted&) {
    return PYVISION_INTERRUPTED;
  } catch (...) {
    return PYVISION_NO_MEMORY;
  }
}

int64_t nms_limited_f32(const float* boxes, const float* scores, const int64_t* idxs, int64_t n,
                        double iou_threshold, int64_t max_output, int64_t* keep) {
  const bool good = n >= 0 && n <= INT32_MAX && iou_threshold >= 0 && iou_threshold <= 1 && max_output >= 1;
  return guarded(good, [=] {
    NmsGroups groups;
    groups.classes = idxs;
    groups.max_output = max_output;
    return nms<float>(boxes, scores, n, groups, iou_threshold, keep);
  });
}

int64_t batched_nms_f32(const float* boxes, const float* scores, const int64_t* idxs, int64_t n,
                        double iou_threshold, int64_t* keep) {
  return nms_limited_f32(boxes, scores, idxs, n, iou_threshold, INT64_MAX, keep);
}

int64_t nms_f32(const float* boxes, const float* scores, int64_t n, double iou_threshold, int64_t* keep) {
  return batched_nms_f32(boxes, scores, nullptr, n, iou_threshold, keep);
}

int64_t box_iou_f32(const float* boxes1, const float* boxes2, float* iou, int64_t n, int64_t m) {
  return guarded(n >= 0 && m >= 0, [=] {
    box_iou<float>(IouKind::kIou, boxes1, boxes2, iou, n, m, false, 0);
    return 0;
  });
}

int64_t decode_boxes_f32(const float* rel_codes, const float* boxes, float* decoded, int64_t n,
                         int64_t per_box, const float* weights, float bbox_xform_clip) {
  const auto is_weight = [](float weight) { return weight > 0 && std::isfinite(weight); };
  return guarded(
      n >= 0 && per_box >= 0 && std::all_of(weights, weights + 4, is_weight) && bbox_xform_clip > -INFINITY,
      [=] {
        decode_boxes<float>(rel_codes, boxes, decoded, n, per_box, weights, bbox_xform_clip);
        return 0;
      });
}

template <class T>
int64_t paste(const float* masks, const float* boxes, T* images, int64_t n, int64_t m, int64_t h, int64_t w,
              int64_t padding, double threshold) {
  const bool good = n >= 0 && h >= 0 && w >= 0 && paste_sizes_fit(m, padding) && threshold >= 0 &&
                    threshold <= 1 && paste_boxes_fit(boxes, n, m, padding);
  return guarded(good, [=] {
    paste_masks<T>(masks, boxes, images, n, m, padding, h, w, static_cast<float>(threshold));
    return 0;
  });
}

int64_t paste_masks_f32(const float* masks, const float* boxes, float* images, int64_t n, int64_t m,
                        int64_t h, int64_t w, int64_t padding) {
  return paste(masks, boxes, images, n, m, h, w, padding, 0);
}

int64_t encode(const uint8_t* mask, int64_t h, int64_t w, uint32_t* runs) {
  return guarded(rle_size_fits(h, w), [=] { return rle_encode(mask, h, w, runs); });
}

int64_t decode(const uint32_t* runs, int64_t count, int64_t h, int64_t w, uint8_t* mask) {
  return guarded(rle_size_fits(h, w) && rle_sums_to({runs, count}, h * w), [=] {
    std::fill_n(mask, h * w, uint8_t{0});
    rle_decode({runs, count}, h, w, mask);
    return 0;
  });
}

int64_t area(const uint32_t* runs, int64_t count) { return rle_area({runs, count}); }

double iou(const uint32_t* runs1, int64_t count1, const uint32_t* runs2, int64_t count2, int crowd) {
  double overlap = 0;
  const int64_t status = guarded(true, [&] {
    overlap = rle_iou(RleSpans({runs1, count1}), RleSpans({runs2, count2}), crowd != 0);
    return 0;
  });
  return status < 0 ? static_cast<double>(status) : overlap;
}

int64_t compress(const uint32_t* runs, int64_t count, char* text) {
  return rle_compress({runs, count}, text);
}

int64_t decompress(const char* text, int64_t length, int64_t pixels, uint32_t* runs) {
  int64_t count = 0;
  return rle_decompress(text, length, runs, &count) == nullptr && rle_sums_to({runs, count}, pixels)
             ? count
             : PYVISION_BAD_ARGUMENT;
}

}  // namespace

const PyvisionCApi c_api = {sizeof(PyvisionCApi),
                            nms_f32,
                            batched_nms_f32,
                            box_iou_f32,
                            decode_boxes_f32,
                            paste_masks_f32,
                            paste<uint8_t>,
                            encode,
                            decode,
                            area,
                            iou,
                            compress,
                            decompress,
                            nms_limited_f32};

}  // namespace pyvision
