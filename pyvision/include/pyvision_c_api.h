/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels for C, C++ and Cython: a table of functions behind the capsule pyvision._core._C_API.
 *
 *   const PyvisionCApi* api = PyCapsule_Import("pyvision._core._C_API", 0);
 *
 * Arrays are dense, boxes (x1, y1, x2, y2); what each function computes is told with its namesake in
 * pyvision.ops. None needs the GIL. A function returns a status below 0 where it did nothing. Functions are
 * only ever appended: `size` tells which this pyvision has.
 */
#ifndef PYVISION_C_API_H_
#define PYVISION_C_API_H_

#include <stdint.h>

#define PYVISION_BAD_ARGUMENT (-1) /* a number, a count or an encoding that is out of range */
#define PYVISION_NO_MEMORY (-2)
#define PYVISION_INTERRUPTED (-3) /* by Ctrl-C */

typedef struct PyvisionCApi {
  int64_t size; /* of this struct in bytes */

  /* boxes: (n, 4), scores: (n,); keep: room for n indices. Returns how many were kept. */
  int64_t (*nms)(const float* boxes, const float* scores, int64_t n, double iou_threshold, int64_t* keep);
  /* idxs: (n,) */
  int64_t (*batched_nms)(const float* boxes, const float* scores, const int64_t* idxs, int64_t n,
                         double iou_threshold, int64_t* keep);
  /* boxes1: (n, 4), boxes2: (m, 4), iou: (n, m) */
  int64_t (*box_iou)(const float* boxes1, const float* boxes2, float* iou, int64_t n, int64_t m);
  /* rel_codes, decoded: (n, per_box, 4), boxes: (n, 4), weights: (4,) */
  int64_t (*decode_boxes)(const float* rel_codes, const float* boxes, float* decoded, int64_t n,
                          int64_t per_box, const float* weights, float bbox_xform_clip);

  /* masks: (n, m, m), boxes: (n, 4), images: (n, h, w), of which pixels outside the boxes are left as they
   * are */
  int64_t (*paste_masks)(const float* masks, const float* boxes, float* images, int64_t n, int64_t m,
                         int64_t h, int64_t w, int64_t padding);
  /* the same, 1 where a value is greater than the threshold and else 0 */
  int64_t (*paste_masks_above)(const float* masks, const float* boxes, uint8_t* images, int64_t n, int64_t m,
                               int64_t h, int64_t w, int64_t padding, double threshold);

  /* Run-length encodings: the lengths of runs of unset and set pixels down the columns, h * w < 2^32 in sum.
   */
  /* mask: (h, w), runs: room for h * w + 1. Returns how many there are. */
  int64_t (*rle_encode)(const uint8_t* mask, int64_t h, int64_t w, uint32_t* runs);
  /* mask: (h, w), receives 0 and 1 */
  int64_t (*rle_decode)(const uint32_t* runs, int64_t count, int64_t h, int64_t w, uint8_t* mask);
  /* Returns how many pixels are set. */
  int64_t (*rle_area)(const uint32_t* runs, int64_t count);
  /* Returns the intersection over union of two encodings of one size, with `crowd` over the first's area. */
  double (*rle_iou)(const uint32_t* runs1, int64_t count1, const uint32_t* runs2, int64_t count2, int crowd);
  /* text: room for 7 * count characters, without a 0 at its end. Returns how many there are. */
  int64_t (*rle_compress)(const uint32_t* runs, int64_t count, char* text);
  /* runs: room for `length`. Returns how many there are; a bad argument unless they sum to `pixels`. */
  int64_t (*rle_decompress)(const char* text, int64_t length, int64_t pixels, uint32_t* runs);

  /* batched_nms, or nms where idxs is NULL, that keeps max_output boxes at most, the first ones. */
  int64_t (*nms_limited)(const float* boxes, const float* scores, const int64_t* idxs, int64_t n,
                         double iou_threshold, int64_t max_output, int64_t* keep);
} PyvisionCApi;

#endif /* PYVISION_C_API_H_ */
