// SPDX-License-Identifier: Apache-2.0
#include "ops/sift/sift.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

constexpr int64_t kBorder = 5;         // of an image, in which no extremum is looked for
constexpr int64_t kBandRows = 32;      // a share of work: some 100 us
constexpr int64_t kTileColumns = 384;  // a tile of 17 rows and its borders: about L1
constexpr double kPi = 3.14159265358979323846;
constexpr int kAngleBins = 36;

// Half of a Gaussian's taps, from the middle on.
struct Taps {
  float values[kMaxBlurRadius + 1];
  int64_t radius;

  explicit Taps(double sigma) {
    const int64_t size = static_cast<int64_t>(std::nearbyint(sigma * 8 + 1)) | 1;
    radius = std::min<int64_t>(size / 2, kMaxBlurRadius);
    double weights[kMaxBlurRadius + 1], sum = 0;
    for (int64_t i = 0; i <= radius; ++i) {
      weights[i] = std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma));
      sum += i == 0 ? weights[i] : 2 * weights[i];
    }
    for (int64_t i = 0; i <= radius; ++i) values[i] = static_cast<float>(weights[i] / sum);
  }
};

template <class Body>
void for_each_band(int64_t h, Body body) {
  parallel_for((h + kBandRows - 1) / kBandRows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) body(b * kBandRows, std::min(h, (b + 1) * kBandRows));
  });
}

void blur(const float* x, int64_t h, int64_t w, double sigma, float* y) {
  const Taps taps(sigma);
  const int64_t r = taps.radius;
  const SiftKernels& kernels = sift_kernels();
  for_each_band(h, [&](int64_t begin, int64_t end) {
    constexpr int64_t kPitch = kTileColumns + 4 * kMaxBlurRadius;
    float memory[2 * kPitch];  // two rows of a tile
    for (int64_t left = 0; left < w; left += kTileColumns) {
      const int64_t right = std::min(w, left + kTileColumns);
      const int64_t from = std::max<int64_t>(0, left - r), to = std::min(w, right + r);
      float* const tile = memory + 2 * kMaxBlurRadius - left;  // tile[column], tile[kPitch + column]
      for (int64_t i = begin; i < end; i += 2) {
        const auto columns = [&](int64_t first, int64_t last, int64_t target) {
          const float* rows[2 * kMaxBlurRadius + 2];
          for (int64_t k = -r; k <= r + 1; ++k) rows[r + k] = x + mirrored(i + k, h) * w + first;
          kernels.blur_columns(rows, taps.values, r, last - first, tile + target, tile + kPitch + target);
        };
        columns(from, to, from);
        // Beyond the image lies what is inside, mirrored: in this tile, or where it is very narrow in
        // another.
        const auto mirror = [&](int64_t column) {
          const int64_t source = mirrored(column, w);
          if (source < from || source >= to) return columns(source, source + 1, column);
          tile[column] = tile[source];
          tile[kPitch + column] = tile[kPitch + source];
        };
        for (int64_t column = left - r; column < from; ++column) mirror(column);
        for (int64_t column = to; column < right + r; ++column) mirror(column);
        kernels.blur_row(tile + left, taps.values, r, right - left, y + i * w + left);
        if (i + 1 < end)
          kernels.blur_row(tile + kPitch + left, taps.values, r, right - left, y + (i + 1) * w + left);
      }
    }
  });
}

// Twice the size: outputs lie a quarter to the left and to the right of each pixel.
void enlarge(const AnyImage& x, float* y) {
  for_each_band(2 * x.h, [&](int64_t begin, int64_t end) {
    Scratch<float> sums(x.w), a(x.w), b(x.w);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t near = i / 2, far = std::clamp<int64_t>(i % 2 == 0 ? near - 1 : near + 1, 0, x.h - 1);
      x.read(near, a);
      x.read(far, b);
      for (int64_t j = 0; j < x.w; ++j) sums[j] = 0.75f * a[j] + 0.25f * b[j];
      float* const row = y + 2 * i * x.w;
      for (int64_t j = 0; j < x.w; ++j) {
        row[2 * j] = 0.75f * sums[j] + 0.25f * sums[std::max<int64_t>(j - 1, 0)];
        row[2 * j + 1] = 0.75f * sums[j] + 0.25f * sums[std::min(j + 1, x.w - 1)];
      }
    }
  });
}

void halve(const float* x, int64_t w, int64_t half_h, int64_t half_w, float* y) {
  for_each_band(half_h, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < half_w; ++j) y[i * half_w + j] = x[2 * i * w + 2 * j];
  });
}

// Octaves are halved until the smaller side has about four pixels.
int64_t octave_count(int64_t h, int64_t w) {
  const double side = static_cast<double>(2 * std::min(h, w));
  return std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(std::log2(side) - 2)));
}

struct Candidate {
  float x, y, size, response;  // in pixels of the doubled image
  int32_t octave, layer, column, row;

  auto order() const { return std::make_tuple(-response, octave, layer, row, column, size); }
  bool same_place(const Candidate& c) const { return x == c.x && y == c.y && size == c.size; }
};

// Moves an extremum between the pixels and the layers, or refuses it.
bool refine(const SiftPyramid& pyramid, const SiftParams& params, int64_t octave, int64_t layer, int64_t y,
            int64_t x, Candidate* found) {
  constexpr int kSteps = 5;
  constexpr double kGrey = 1.0 / 255;
  const SiftImages& images = pyramid.octaves()[static_cast<size_t>(octave)];
  const int64_t w = images.w, h = images.h;
  double dx = 0, dy = 0, ds = 0, step[3] = {}, value = 0, dxx = 0, dyy = 0, dxy = 0;
  for (int i = 0;; ++i) {
    if (i == kSteps) return false;
    const float *below = pyramid.layer(octave, layer - 1), *lower = pyramid.layer(octave, layer),
                *upper = pyramid.layer(octave, layer + 1), *above = pyramid.layer(octave, layer + 2);
    const int64_t at = y * w + x;
    const auto d = [&](int64_t l, int64_t offset) {  // differences of Gaussians, l in [-1, 1]
      const int64_t p = at + offset;
      const float difference = l < 0    ? lower[p] - below[p]
                               : l == 0 ? upper[p] - lower[p]
                                        : above[p] - upper[p];
      return kGrey * static_cast<double>(difference);
    };
    value = d(0, 0);
    dx = (d(0, 1) - d(0, -1)) / 2, dy = (d(0, w) - d(0, -w)) / 2, ds = (d(1, 0) - d(-1, 0)) / 2;
    dxx = d(0, 1) + d(0, -1) - 2 * value, dyy = d(0, w) + d(0, -w) - 2 * value;
    const double dss = d(1, 0) + d(-1, 0) - 2 * value;
    dxy = (d(0, w + 1) - d(0, w - 1) - d(0, 1 - w) + d(0, -1 - w)) / 4;
    const double dxs = (d(1, 1) - d(1, -1) - d(-1, 1) + d(-1, -1)) / 4;
    const double dys = (d(1, w) - d(1, -w) - d(-1, w) + d(-1, -w)) / 4;
    const Symmetric3 second = {dxx, dxy, dxs, dyy, dys, dss};
    const double longest = second.step_to_extremum(dx, dy, ds, step);
    if (!(longest < 1e6)) return false;
    if (longest < 0.5) break;
    x += static_cast<int64_t>(std::nearbyint(step[0]));
    y += static_cast<int64_t>(std::nearbyint(step[1]));
    layer += static_cast<int64_t>(std::nearbyint(step[2]));
    if (layer < 1 || layer > params.layers || x < kBorder || x >= w - kBorder || y < kBorder ||
        y >= h - kBorder)
      return false;
  }
  const double response = std::abs(value + (dx * step[0] + dy * step[1] + ds * step[2]) / 2);
  const auto layers = static_cast<double>(params.layers);
  if (response * layers < params.contrast) return false;
  const double trace = dxx + dyy, det = dxx * dyy - dxy * dxy;
  if (det <= 0 || trace * trace * params.edge >= (params.edge + 1) * (params.edge + 1) * det) return false;
  const double unit = std::ldexp(1.0, static_cast<int>(octave));
  found->x = static_cast<float>((static_cast<double>(x) + step[0]) * unit);
  found->y = static_cast<float>((static_cast<double>(y) + step[1]) * unit);
  found->size = static_cast<float>(params.sigma * std::exp2((static_cast<double>(layer) + step[2]) / layers) *
                                   unit * 2);
  found->response = static_cast<float>(response);
  found->octave = static_cast<int32_t>(octave), found->layer = static_cast<int32_t>(layer);
  found->column = static_cast<int32_t>(x), found->row = static_cast<int32_t>(y);
  return true;
}

// Rows [begin, end) of an octave.
void find_extrema(const SiftPyramid& pyramid, const SiftParams& params, int64_t octave, int64_t begin,
                  int64_t end, std::vector<Candidate>* found) {
  const SiftImages& images = pyramid.octaves()[static_cast<size_t>(octave)];
  const int64_t w = images.w, differences = params.layers + 2;
  begin = std::max(begin, kBorder);
  end = std::min(end, images.h - kBorder);
  if (begin >= end || w <= 2 * kBorder) return;
  const SiftKernels& kernels = sift_kernels();
  const auto threshold =
      static_cast<float>(std::floor(0.5 * params.contrast / static_cast<double>(params.layers) * 255));
  Scratch<float> memory(3 * differences * w);  // three rows in turn of every difference
  Scratch<int32_t> columns(w);
  const auto row_of = [&](int64_t d, int64_t y) { return memory + (d * 3 + y % 3) * w; };
  const auto subtract = [&](int64_t y) {
    for (int64_t d = 0; d < differences; ++d)
      kernels.subtract(pyramid.layer(octave, d + 1) + y * w, pyramid.layer(octave, d) + y * w, w,
                       row_of(d, y));
  };
  subtract(begin - 1);
  subtract(begin);
  for (int64_t y = begin; y < end; ++y) {
    subtract(y + 1);
    for (int64_t layer = 1; layer <= params.layers; ++layer) {
      const float* rows[3][3];
      for (int64_t d = 0; d < 3; ++d)
        for (int64_t r = 0; r < 3; ++r) rows[d][r] = row_of(layer - 1 + d, y - 1 + r);
      const int64_t count = kernels.extrema(rows, kBorder, w - kBorder, threshold, columns);
      for (int64_t i = 0; i < count; ++i) {
        Candidate candidate;
        if (refine(pyramid, params, octave, layer, y, columns[i], &candidate)) found->push_back(candidate);
      }
    }
  }
}

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
  float raw[kAngleBins] = {}, smooth[kAngleBins];
  for (int64_t y = top; y <= bottom; ++y) {
    const float* const row = image + y * images.w + left;
    sift_kernels().gradients(row - images.w, row, row + images.w, n, magnitude, degrees);
    const float of_row = weights[std::abs(y - c.row)];
    for (int64_t i = 0; i < n; ++i) {
      const int bin = static_cast<int>(degrees[i] * (kAngleBins / 360.0f) + 0.5f) % kAngleBins;
      raw[bin] += of_row * weights[std::abs(left + i - c.column)] * magnitude[i];
    }
  }
  const auto at = [](const float* bins, int i) { return bins[(i + kAngleBins) % kAngleBins]; };
  for (int i = 0; i < kAngleBins; ++i)
    smooth[i] = (at(raw, i - 2) + at(raw, i + 2)) * (1.0f / 16) +
                (at(raw, i - 1) + at(raw, i + 1)) * (4.0f / 16) + raw[i] * (6.0f / 16);
  const float least = 0.8f * *std::max_element(smooth, smooth + kAngleBins);
  std::vector<float> angles;
  for (int i = 0; i < kAngleBins; ++i) {
    const float before = at(smooth, i - 1), here = smooth[i], after = at(smooth, i + 1);
    if (!(here > before && here > after && here >= least)) continue;
    const float bin = static_cast<float>(i) + 0.5f * (before - after) / (before - 2 * here + after);
    const float angle = std::fmod(720 - bin * (360.0f / kAngleBins), 360.0f);
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
  for (int64_t o = 0, oh = 2 * h, ow = 2 * w; o < octave_count(h, w); ++o, oh /= 2, ow /= 2)
    sum += (params.layers + 3) * oh * ow;
  return sum;
}

SiftPyramid::SiftPyramid(const AnyImage& image, const SiftParams& params, float* memory) {
  const int64_t images = params.layers + 3, count = octave_count(image.h, image.w);
  const double ratio = std::exp2(1 / static_cast<double>(params.layers));
  for (int64_t o = 0, h = 2 * image.h, w = 2 * image.w; o < count; ++o, h /= 2, w /= 2) {
    octaves_.push_back({h, w, memory});
    const int64_t pixels = h * w;
    if (o == 0) {
      enlarge(image, memory + pixels);  // where the next image will be
      blur(memory + pixels, h, w, std::sqrt(std::max(params.sigma * params.sigma - 1, 0.01)), memory);
    } else {
      halve(layer(o - 1, params.layers), octaves_[static_cast<size_t>(o - 1)].w, h, w, memory);
    }
    for (int64_t i = 1; i < images; ++i) {
      const double before = params.sigma * std::pow(ratio, static_cast<double>(i - 1));
      blur(memory + (i - 1) * pixels, h, w, before * std::sqrt(ratio * ratio - 1), memory + i * pixels);
    }
    memory += images * pixels;
  }
}

bool SiftPyramid::locate(float size, const SiftParams& params, int32_t* octave, int32_t* layer) const {
  const auto layers = static_cast<double>(params.layers);
  const double index = std::nearbyint(layers * std::log2(static_cast<double>(size) / params.sigma));
  if (!(index >= 1 && index <= layers * static_cast<double>(octaves_.size()))) return false;
  const auto steps = static_cast<int32_t>(index) - 1, count = static_cast<int32_t>(params.layers);
  *octave = steps / count - 1;
  *layer = steps % count + 1;
  return true;
}

std::vector<SiftKeypoint> sift_detect(const SiftPyramid& pyramid, const SiftParams& params,
                                      const PixelMask& mask) {
  struct Band {
    int64_t octave, begin, end;
  };
  std::vector<Band> bands;
  for (size_t o = 0; o < pyramid.octaves().size(); ++o)
    for (int64_t y = 0; y < pyramid.octaves()[o].h; y += kBandRows)
      bands.push_back({static_cast<int64_t>(o), y, y + kBandRows});
  std::vector<std::vector<Candidate>> found(bands.size());
  parallel_for(static_cast<int64_t>(bands.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Band& band = bands[static_cast<size_t>(i)];
      auto& of_band = found[static_cast<size_t>(i)];
      find_extrema(pyramid, params, band.octave, band.begin, band.end, &of_band);
      const auto is_out = [&](const Candidate& c) { return is_masked(mask, to_given(c.x), to_given(c.y)); };
      of_band.erase(std::remove_if(of_band.begin(), of_band.end(), is_out), of_band.end());
    }
  });
  std::vector<Candidate> candidates;
  for (const auto& band : found) candidates.insert(candidates.end(), band.begin(), band.end());
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.order() < b.order(); });
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
  return keypoints;
}

void sift_describe(const SiftPyramid& pyramid, const SiftKeypoint* keypoints, int64_t n, float* descriptors) {
  parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
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
