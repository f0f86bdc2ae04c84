// SPDX-License-Identifier: Apache-2.0
#include "ops/sift/sift.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>

#include "core/arena.h"
#include "core/parabola.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

constexpr int64_t kLeastStrip = 128;   // rows of a share of work: up to 41 more on both sides are made for it
constexpr int64_t kTileColumns = 384;  // a tile of 17 rows and its borders: about L1
constexpr double kPi = 3.14159265358979323846;

// Rows [begin, end) of an image, two at a time; source and target: where a row of either lies.
template <class Source, class Target>
void blur_rows(const SiftTaps& taps, int64_t h, int64_t w, int64_t begin, int64_t end, Source source,
               Target target) {
  const int64_t r = taps.radius;
  const SiftKernels& kernels = sift_kernels();
  constexpr int64_t kPitch = kTileColumns + 4 * kMaxBlurRadius;
  float memory[2 * kPitch];  // two rows of a tile
  for (int64_t i = begin; i < end; i += 2) {
    const float* lines[2 * kMaxBlurRadius + 2];
    // Where there is no second row, there need be none below it.
    for (int64_t k = -r; k <= r + 1; ++k) lines[r + k] = source(mirrored(std::min(i + k, end - 1 + r), h));
    for (int64_t left = 0; left < w; left += kTileColumns) {
      const int64_t right = std::min(w, left + kTileColumns);
      const int64_t from = std::max<int64_t>(0, left - r), to = std::min(w, right + r);
      float* const tile = memory + 2 * kMaxBlurRadius - left;  // tile[column], tile[kPitch + column]
      const auto columns = [&](int64_t first, int64_t last, int64_t place) {
        const float* rows[2 * kMaxBlurRadius + 2];
        for (int64_t k = 0; k < 2 * r + 2; ++k) rows[k] = lines[k] + first;
        kernels.blur_columns(rows, taps.values, r, last - first, tile + place, tile + kPitch + place);
      };
      columns(from, to, from);
      // Beyond the image lies what is inside, mirrored: in this tile, or where it is very narrow in another.
      const auto mirror = [&](int64_t column) {
        const int64_t inside = mirrored(column, w);
        if (inside < from || inside >= to) return columns(inside, inside + 1, column);
        tile[column] = tile[inside];
        tile[kPitch + column] = tile[kPitch + inside];
      };
      for (int64_t column = left - r; column < from; ++column) mirror(column);
      for (int64_t column = to; column < right + r; ++column) mirror(column);
      kernels.blur_row(tile + left, taps.values, r, right - left, target(i) + left);
      if (i + 1 < end)
        kernels.blur_row(tile + kPitch + left, taps.values, r, right - left, target(i + 1) + left);
    }
  }
}

// Row i of the image at twice its size: outputs lie a quarter to the left and to the right of each pixel.
void enlarge_row(const AnyImage& x, int64_t i, float* row) {
  Scratch<float> sums(x.w), a(x.w), b(x.w);
  const int64_t near = i / 2, far = std::clamp<int64_t>(i % 2 == 0 ? near - 1 : near + 1, 0, x.h - 1);
  x.read(near, a);
  x.read(far, b);
  for (int64_t j = 0; j < x.w; ++j) sums[j] = 0.75f * a[j] + 0.25f * b[j];
  for (int64_t j = 0; j < x.w; ++j) {
    row[2 * j] = 0.75f * sums[j] + 0.25f * sums[std::max<int64_t>(j - 1, 0)];
    row[2 * j + 1] = 0.75f * sums[j] + 0.25f * sums[std::min(j + 1, x.w - 1)];
  }
}

struct Extremum {
  int64_t octave, layer, row, column;
};

struct Candidate {
  float x, y, size, response;  // in pixels of the doubled image
  int32_t octave, layer, column, row;

  auto order() const { return std::make_tuple(-response, octave, layer, row, column, size); }
  bool same_place(const Candidate& c) const { return x == c.x && y == c.y && size == c.size; }
};

enum class Refined : uint8_t { kKept, kRefused, kTooFar };

// Moves an extremum between the pixels and the layers, or refuses it; or cannot, where that leaves the rows
// [low, high).
Refined refine(const SiftPyramid& pyramid, const SiftParams& params, const Extremum& extremum, int64_t low,
               int64_t high, Candidate* found) {
  const int64_t octave = extremum.octave;
  int64_t layer = extremum.layer, y = extremum.row, x = extremum.column;
  constexpr int kSteps = 5;
  constexpr double kGrey = 1.0 / 255;
  const SiftImages& images = pyramid.octaves()[static_cast<size_t>(octave)];
  const int64_t w = images.w, h = images.h;
  Parabola3 p;
  double step[3];
  for (int i = 0;; ++i) {
    if (i == kSteps) return Refined::kRefused;
    if (y <= low || y + 1 >= high) return Refined::kTooFar;
    const float *below = pyramid.layer(octave, layer - 1), *lower = pyramid.layer(octave, layer),
                *upper = pyramid.layer(octave, layer + 1), *above = pyramid.layer(octave, layer + 2);
    const int64_t at = y * w + x;
    p = parabola_of([&](int64_t l, int64_t row, int64_t column) {  // differences of Gaussians
      const int64_t pixel = at + row * w + column;
      const float difference = l < 0    ? lower[pixel] - below[pixel]
                               : l == 0 ? upper[pixel] - lower[pixel]
                                        : above[pixel] - upper[pixel];
      return kGrey * static_cast<double>(difference);
    });
    const double longest = p.step_to_extremum(step);
    if (!(longest < 1e6)) return Refined::kRefused;
    if (longest < 0.5) break;
    x += static_cast<int64_t>(std::nearbyint(step[0]));
    y += static_cast<int64_t>(std::nearbyint(step[1]));
    layer += static_cast<int64_t>(std::nearbyint(step[2]));
    if (layer < 1 || layer > params.layers || x < kSiftBorder || x >= w - kSiftBorder || y < kSiftBorder ||
        y >= h - kSiftBorder)
      return Refined::kRefused;
  }
  const double response = std::abs(p.value + (p.dx * step[0] + p.dy * step[1] + p.ds * step[2]) / 2);
  const auto layers = static_cast<double>(params.layers);
  if (response * layers < params.contrast) return Refined::kRefused;
  const double trace = p.xx + p.yy, det = p.xx * p.yy - p.xy * p.xy;
  if (det <= 0 || trace * trace * params.edge >= (params.edge + 1) * (params.edge + 1) * det)
    return Refined::kRefused;
  const double unit = std::ldexp(1.0, static_cast<int>(octave));
  found->x = static_cast<float>((static_cast<double>(x) + step[0]) * unit);
  found->y = static_cast<float>((static_cast<double>(y) + step[1]) * unit);
  found->size = static_cast<float>(params.sigma * std::exp2((static_cast<double>(layer) + step[2]) / layers) *
                                   unit * 2);
  found->response = static_cast<float>(response);
  found->octave = static_cast<int32_t>(octave), found->layer = static_cast<int32_t>(layer);
  found->column = static_cast<int32_t>(x), found->row = static_cast<int32_t>(y);
  return Refined::kKept;
}

// Looks for extrema row by row, as the rows are made.
class Finder {
 public:
  Finder(const SiftPyramid& pyramid, const SiftParams& params, int64_t octave, int64_t first)
      : pyramid_(pyramid),
        params_(params),
        octave_(octave),
        w_(pyramid.octaves()[static_cast<size_t>(octave)].w),
        h_(pyramid.octaves()[static_cast<size_t>(octave)].h),
        next_(std::max(first, kSiftBorder)),
        subtracted_(next_ - 1),
        memory_(3 * (params.layers + 2) * w_),
        columns_(w_),
        threshold_(params.least_difference()) {}

  // On from the last row looked at to `end`; there are rows [low, high) of every image.
  void run(int64_t end, int64_t low, int64_t high) {
    if (w_ <= 2 * kSiftBorder) return;
    for (; next_ < std::min(end, h_ - kSiftBorder); ++next_) {
      for (; subtracted_ <= next_ + 1; ++subtracted_) subtract(subtracted_);
      for (int64_t layer = 1; layer <= params_.layers; ++layer) {
        const float* rows[3][3];
        for (int64_t d = 0; d < 3; ++d)
          for (int64_t r = 0; r < 3; ++r) rows[d][r] = row_of(layer - 1 + d, next_ - 1 + r);
        const int64_t count =
            sift_kernels().extrema(rows, kSiftBorder, w_ - kSiftBorder, threshold_, columns_);
        for (int64_t i = 0; i < count; ++i) {
          const Extremum extremum = {octave_, layer, next_, columns_[i]};
          Candidate candidate;
          const Refined refined = refine(pyramid_, params_, extremum, low, high, &candidate);
          if (refined == Refined::kKept) found.push_back(candidate);
          if (refined == Refined::kTooFar) left.push_back(extremum);
        }
      }
    }
  }

  std::vector<Candidate> found;
  std::vector<Extremum> left;  // to be refined when there are all rows

 private:
  // Three rows in turn of every difference.
  float* row_of(int64_t d, int64_t y) const { return memory_ + (d * 3 + y % 3) * w_; }
  void subtract(int64_t y) {
    for (int64_t d = 0; d < params_.layers + 2; ++d)
      sift_kernels().subtract(pyramid_.layer(octave_, d + 1) + y * w_, pyramid_.layer(octave_, d) + y * w_,
                              w_, row_of(d, y));
  }

  const SiftPyramid& pyramid_;
  const SiftParams& params_;
  int64_t octave_, w_, h_;
  int64_t next_, subtracted_;  // the first rows that are not
  Scratch<float> memory_;
  Scratch<int32_t> columns_;
  float threshold_;
};

// One octave's images, all of them for some rows before the next rows: what the next image and the
// differences are made from is in the cache. A strip of rows makes the rows around it that it needs for
// itself.
class Cascade {
 public:
  Cascade(const SiftPyramid& pyramid, const AnyImage& image, const SiftParams& params, int64_t octave)
      : pyramid_(pyramid),
        image_(image),
        params_(params),
        octave_(octave),
        images_(pyramid.octaves()[static_cast<size_t>(octave)]),
        count_(params.layers + 3) {
    for (int64_t i = 0; i < count_; ++i) taps_.emplace_back(params.blur(i));
    reach_.assign(static_cast<size_t>(count_), 0);
    for (size_t i = reach_.size() - 1; i > 0; --i) reach_[i - 1] = reach_[i] + taps_[i].radius;
  }

  // Rows [begin, end) of all images, in which a finder looks for extrema, if there is one.
  void run(int64_t begin, int64_t end, Finder* finder) const {
    const int64_t h = images_.h, w = images_.w, enlarged = kStep + 2 * taps_[0].radius + 2;
    // Of each image the rows before the strip and behind it, and of the enlarged picture some rows in turn.
    std::vector<int64_t> low, high, offset;
    int64_t rows = 0;
    for (const int64_t reach : reach_) {
      low.push_back(std::max<int64_t>(0, begin - reach));
      high.push_back(std::min(h, end + reach));
      offset.push_back(rows);
      rows += (begin - low.back()) + (high.back() - end);
    }
    Scratch<float> around(std::max<int64_t>(rows, 1) * w), ring(octave_ == 0 ? enlarged * w : 1);
    const auto row = [&](size_t i, int64_t y) {
      if (y >= begin && y < end) return images_.data + (static_cast<int64_t>(i) * h + y) * w;
      return around + (offset[i] + (y < begin ? y - low[i] : begin - low[i] + y - end)) * w;
    };
    int64_t made_enlarged = std::max<int64_t>(0, low[0] - taps_[0].radius);
    const auto make_first = [&](int64_t from, int64_t to) {
      if (octave_ > 0) {
        const SiftImages& before = pyramid_.octaves()[static_cast<size_t>(octave_ - 1)];
        for (int64_t y = from; y < to; ++y) {
          const float* const source = pyramid_.layer(octave_ - 1, params_.layers) + 2 * y * before.w;
          float* const target = row(0, y);
          for (int64_t x = 0; x < w; ++x) target[x] = source[2 * x];
        }
        return;
      }
      const auto line = [&](int64_t y) { return ring + y % enlarged * w; };
      for (int64_t y = from; y < to; y += kStep) {
        const int64_t last = std::min(y + kStep, to);
        for (; made_enlarged < std::min(h, last + taps_[0].radius); ++made_enlarged)
          enlarge_row(image_, made_enlarged, line(made_enlarged));
        blur_rows(taps_[0], h, w, y, last, line, [&](int64_t i) { return row(0, i); });
      }
    };
    std::vector<int64_t> made = low;
    for (int64_t next = std::min(begin + kStep, end);; next = std::min(next + kStep, end)) {
      for (size_t i = 0; i < made.size(); ++i) {
        const int64_t to = std::min(high[i], next + reach_[i]);
        if (i == 0)
          make_first(made[0], to);
        else
          blur_rows(
              taps_[i], h, w, made[i], to, [&](int64_t y) { return row(i - 1, y); },
              [&](int64_t y) { return row(i, y); });
        made[i] = to;
      }
      if (finder != nullptr) finder->run(next == h ? h : next - 1, begin, next);
      stop_if_interrupted();
      if (next == end) return;
    }
  }

 private:
  static constexpr int64_t kStep = 16;  // rows; the images' last ones lie in L2

  const SiftPyramid& pyramid_;
  const AnyImage& image_;
  const SiftParams& params_;
  int64_t octave_;
  const SiftImages& images_;
  int64_t count_;
  std::vector<SiftTaps> taps_;  // to make each image from the one before
  std::vector<int64_t> reach_;  // how many rows beyond its own the images behind each need
};

}  // namespace

// What a pyramid finds while it is made.
struct SiftCandidates {
  std::mutex mutex;
  std::vector<Candidate> found;
  std::vector<Extremum> left;

  void take(const Finder& finder) {
    const std::lock_guard<std::mutex> lock(mutex);
    found.insert(found.end(), finder.found.begin(), finder.found.end());
    left.insert(left.end(), finder.left.begin(), finder.left.end());
  }
};

namespace {

// The directions of a candidate's neighbourhood, clockwise on screen.
std::vector<float> angles_of(const SiftPyramid& pyramid, const Candidate& c) {
  const SiftImages& images = pyramid.octaves()[static_cast<size_t>(c.octave)];
  const float* const image = pyramid.layer(c.octave, c.layer);
  const double scale = 0.5 * static_cast<double>(c.size) / std::ldexp(1.0, c.octave), sigma = 1.5 * scale;
  const auto radius = static_cast<int64_t>(std::nearbyint(3 * sigma));
  const int64_t left = std::max<int64_t>(1, c.column - radius),
                right = std::min(images.w - 2, c.column + radius);
  const int64_t top = std::max<int64_t>(1, c.row - radius), bottom = std::min(images.h - 2, c.row + radius);
  const int64_t n = right - left + 1;
  Scratch<float> magnitude(n), degrees(n), weights(radius + 1);
  for (int64_t i = 0; i <= radius; ++i)
    weights[i] = static_cast<float>(std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma)));
  float raw[kSiftAngleBins] = {}, smooth[kSiftAngleBins];
  for (int64_t y = top; y <= bottom; ++y) {
    const float* const row = image + y * images.w + left;
    sift_kernels().gradients(row - images.w, row, row + images.w, n, magnitude, degrees);
    const float of_row = weights[std::abs(y - c.row)];
    for (int64_t i = 0; i < n; ++i) {
      const int bin = static_cast<int>(degrees[i] * (kSiftAngleBins / 360.0f) + 0.5f) % kSiftAngleBins;
      raw[bin] += of_row * weights[std::abs(left + i - c.column)] * magnitude[i];
    }
  }
  const auto at = [](const float* bins, int i) { return bins[(i + kSiftAngleBins) % kSiftAngleBins]; };
  for (int i = 0; i < kSiftAngleBins; ++i)
    smooth[i] = (at(raw, i - 2) + at(raw, i + 2)) * (1.0f / 16) +
                (at(raw, i - 1) + at(raw, i + 1)) * (4.0f / 16) + raw[i] * (6.0f / 16);
  const float least = 0.8f * *std::max_element(smooth, smooth + kSiftAngleBins);
  std::vector<float> angles;
  for (int i = 0; i < kSiftAngleBins; ++i) {
    const float before = at(smooth, i - 1), here = smooth[i], after = at(smooth, i + 1);
    if (!(here > before && here > after && here >= least)) continue;
    const float bin = static_cast<float>(i) + 0.5f * (before - after) / (before - 2 * here + after);
    const float angle = std::fmod(720 - bin * (360.0f / kSiftAngleBins), 360.0f);
    angles.push_back(angle < 360 ? angle : 0);
  }
  return angles;
}

float to_given(float x) { return 0.5f * x - 0.25f; }

void normalise(const float* histogram, float* descriptor) {
  double sum = 0;
  for (int i = 0; i < kSiftValues; ++i)
    sum += static_cast<double>(histogram[i]) * static_cast<double>(histogram[i]);
  const auto limit = static_cast<float>(0.2 * std::sqrt(sum));
  sum = 0;
  for (int i = 0; i < kSiftValues; ++i) {
    descriptor[i] = std::min(histogram[i], limit);
    sum += static_cast<double>(descriptor[i]) * static_cast<double>(descriptor[i]);
  }
  const auto scale = static_cast<float>(512 / std::max(std::sqrt(sum), 1e-7));
  for (int i = 0; i < kSiftValues; ++i)
    descriptor[i] = std::min(std::nearbyint(descriptor[i] * scale), 255.0f);
}

}  // namespace

int64_t SiftPyramid::floats_of(int64_t h, int64_t w, const SiftParams& params) {
  int64_t sum = 0;
  for (int64_t o = 0, oh = 2 * h, ow = 2 * w; o < sift_octaves(h, w); ++o, oh /= 2, ow /= 2)
    sum += (params.layers + 3) * oh * ow;
  return sum;
}

SiftPyramid::SiftPyramid(const AnyImage& image, const SiftParams& params, float* memory,
                         SiftCandidates* candidates) {
  const int64_t count = sift_octaves(image.h, image.w);
  for (int64_t o = 0, h = 2 * image.h, w = 2 * image.w; o < count; ++o, h /= 2, w /= 2) {
    octaves_.push_back({h, w, memory});
    memory += (params.layers + 3) * h * w;
  }
  for (int64_t o = 0; o < count; ++o) {
    const Cascade cascade(*this, image, params, o);
    const int64_t h = octaves_[static_cast<size_t>(o)].h;
    const int64_t strips = std::clamp<int64_t>(num_threads(), 1, std::max<int64_t>(h / kLeastStrip, 1));
    parallel_for(strips, 1, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) {
        const int64_t top = h * s / strips, bottom = h * (s + 1) / strips;
        std::optional<Finder> finder;
        if (candidates != nullptr) finder.emplace(*this, params, o, top + 1);
        cascade.run(top, bottom, finder ? &*finder : nullptr);
        if (finder) candidates->take(*finder);
      }
    });
    if (candidates == nullptr) continue;
    for (int64_t s = 1; s < strips; ++s) {  // the two rows where strips meet
      const int64_t top = h * s / strips;
      Finder finder(*this, params, o, top - 1);
      finder.run(top + 1, 0, h);
      candidates->take(finder);
    }
    InterruptPoll poll;
    for (const Extremum& extremum : candidates->left) {
      poll();
      Candidate candidate;
      if (refine(*this, params, extremum, -1, h + 1, &candidate) == Refined::kKept)
        candidates->found.push_back(candidate);
    }
    candidates->left.clear();
  }
}

bool SiftPyramid::locate(float size, const SiftParams& params, int32_t* octave, int32_t* layer) const {
  const auto layers = static_cast<double>(params.layers);
  const double most = layers * static_cast<double>(octaves_.size());
  const double index = layers * std::log2(static_cast<double>(size) / params.sigma);
  // An extremum lies up to half a layer beside its own; then its size was rounded to f32.
  constexpr double kReach = 0.5 + 1e-5;
  if (!(index >= 1 - kReach && index <= most + kReach)) return false;
  const auto steps = static_cast<int32_t>(std::clamp(std::nearbyint(index), 1.0, most)) - 1,
             count = static_cast<int32_t>(params.layers);
  *octave = steps / count - 1;
  *layer = steps % count + 1;
  return true;
}

SiftDetection sift_detect(const AnyImage& image, const SiftParams& params, const PixelMask& mask,
                          float* memory) {
  SiftCandidates all;
  SiftPyramid pyramid(image, params, memory, &all);
  std::vector<Candidate>& candidates = all.found;
  const auto is_out = [&](const Candidate& c) { return is_masked(mask, to_given(c.x), to_given(c.y)); };
  candidates.erase(std::remove_if(candidates.begin(), candidates.end(), is_out), candidates.end());
  InterruptPoll poll;
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    poll();
    return a.order() < b.order();
  });
  // Two extrema may move to one place.
  candidates.erase(std::unique(candidates.begin(), candidates.end(),
                               [](const Candidate& a, const Candidate& b) { return a.same_place(b); }),
                   candidates.end());
  const auto most = params.max_features > 0 ? static_cast<size_t>(params.max_features) : SIZE_MAX;
  if (candidates.size() > most) candidates.resize(most);  // each becomes a keypoint or more

  std::vector<std::vector<float>> angles(candidates.size());
  parallel_for(static_cast<int64_t>(candidates.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      angles[static_cast<size_t>(i)] = angles_of(pyramid, candidates[static_cast<size_t>(i)]);
  });
  std::vector<SiftKeypoint> keypoints;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    for (const float angle : angles[i])
      if (keypoints.size() < most)
        keypoints.push_back(
            {{to_given(c.x), to_given(c.y), 0.5f * c.size, angle, c.response, c.octave - 1}, c.layer});
  }
  return {std::move(pyramid), std::move(keypoints)};
}

void sift_describe(const SiftPyramid& pyramid, const SiftKeypoint* keypoints, int64_t n, float* descriptors) {
  const std::vector<int64_t> order =
      in_reading_order(keypoints, n, pyramid.octaves()[0].h / 2, pyramid.octaves()[0].w / 2);
  parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t k_th = begin; k_th < end; ++k_th) {
      const int64_t i = order[static_cast<size_t>(k_th)];
      const SiftKeypoint& k = keypoints[i];
      const int64_t octave = k.octave + 1;
      const SiftImages& images = pyramid.octaves()[static_cast<size_t>(octave)];
      const double unit = 2 / std::ldexp(1.0, static_cast<int>(octave));  // image pixels per given one
      const double cell = 3 * 0.5 * static_cast<double>(k.size) * unit;
      const double angle = k.angle > 0 ? 360 - static_cast<double>(k.angle) : 0,
                   radians = angle * (kPi / 180);
      SiftWindow window;
      window.image = pyramid.layer(octave, k.layer);
      window.h = images.h, window.w = images.w;
      window.x = static_cast<int64_t>(std::nearbyint((static_cast<double>(k.x) + 0.25) * unit));
      window.y = static_cast<int64_t>(std::nearbyint((static_cast<double>(k.y) + 0.25) * unit));
      window.cosine = static_cast<float>(std::cos(radians) / cell);
      window.sine = static_cast<float>(std::sin(radians) / cell);
      const double diagonal = std::hypot(static_cast<double>(images.h), static_cast<double>(images.w));
      window.radius = static_cast<int64_t>(std::nearbyint(std::min(cell * std::sqrt(2.0) * 2.5, diagonal)));
      window.angle_in_bins = static_cast<float>(angle / 45);
      float histogram[kSiftValues];
      sift_kernels().describe(window, histogram);
      normalise(histogram, descriptors + i * kSiftValues);
    }
  });
}

}  // namespace pyvision
