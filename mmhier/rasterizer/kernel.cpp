// The loops of the rasteriser, for ctypes: what frame_buffer.py does with arrays, triangle by triangle.
//
// Compiled without contraction of multiplications and additions, so that every bit is that of NumPy.
// S samples, N vertices, F triangles; arrays are C-contiguous, names and conventions are those of frame_buffer.py.

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace {

float clamp(float value, float low, float high) { return std::min(std::max(value, low), high); }

struct Range {
    int32_t first, last;
};

// First and last pixel whose centre lies within three coordinates, clipped to the image.
Range pixels(float a, float b, float c, int32_t size) {
    const float low = std::min(std::min(a, b), c), high = std::max(std::max(a, b), c);
    return {static_cast<int32_t>(std::ceil(clamp(low - 0.5f, 0.0f, static_cast<float>(size)))),
            static_cast<int32_t>(std::floor(clamp(high - 0.5f, -1.0f, static_cast<float>(size - 1))))};
}

}  // namespace

extern "C" {

// Draw F triangles of a mesh. screen (N, 3), faces (F, 3), inverse_depth, objects, drawn (S,), barycentric (3, S).
void mmhier_draw(const float* screen, const int64_t* faces, int64_t count, int32_t height, int32_t width, float near,
                 int16_t number, float* inverse_depth, int16_t* objects, int32_t* drawn, float* barycentric) {
    const int64_t size = static_cast<int64_t>(height) * width;
    for (int64_t face = 0; face < count; ++face) {
        const float* p0 = screen + 3 * faces[3 * face];
        const float* p1 = screen + 3 * faces[3 * face + 1];
        const float* p2 = screen + 3 * faces[3 * face + 2];
        const float area = (p1[0] - p0[0]) * (p2[1] - p0[1]) - (p2[0] - p0[0]) * (p1[1] - p0[1]);
        if (!(area < -1e-6f) || !(std::min(std::min(p0[2], p1[2]), p2[2]) > near)) continue;
        const Range columns = pixels(p0[0], p1[0], p2[0], width), rows = pixels(p0[1], p1[1], p2[1], height);
        if (columns.last < columns.first || rows.last < rows.first) continue;
        const float z0 = 1.0f / p0[2], z1 = 1.0f / p1[2], z2 = 1.0f / p2[2];
        const float left = static_cast<float>(columns.first) + 0.5f, top = static_cast<float>(rows.first) + 0.5f;
        const float slope_x0 = (p1[1] - p2[1]) / area, slope_y0 = (p2[0] - p1[0]) / area;
        const float slope_x1 = (p2[1] - p0[1]) / area, slope_y1 = (p0[0] - p2[0]) / area;
        const float start0 = slope_x0 * (left - p1[0]) + slope_y0 * (top - p1[1]);
        const float start1 = slope_x1 * (left - p2[0]) + slope_y1 * (top - p2[1]);
        for (int32_t row = rows.first; row <= rows.last; ++row) {
            const float dy = static_cast<float>(row - rows.first);
            const float down0 = slope_y0 * dy, down1 = slope_y1 * dy;
            const int64_t line = static_cast<int64_t>(row) * width;
            for (int32_t column = columns.first; column <= columns.last; ++column) {
                const float dx = static_cast<float>(column - columns.first);
                const float weight0 = slope_x0 * dx + down0 + start0;
                const float weight1 = slope_x1 * dx + down1 + start1;
                if (!(weight0 >= 0.0f && weight1 >= 0.0f && weight0 + weight1 <= 1.0f)) continue;
                const float near0 = weight0 * z0, near1 = weight1 * z1;
                const float near2 = (1.0f - weight0 - weight1) * z2;
                const float inverse = near0 + near1 + near2;
                const int64_t pixel = line + column;
                if (!(inverse >= inverse_depth[pixel])) continue;
                inverse_depth[pixel] = inverse;
                objects[pixel] = number;
                drawn[pixel] = static_cast<int32_t>(face);
                barycentric[pixel] = near0 / inverse;
                barycentric[size + pixel] = near1 / inverse;
                barycentric[2 * size + pixel] = near2 / inverse;
            }
        }
    }
}

// Interpolate colours (objects, N, 3) at the samples and average squares of factor x factor of them:
// mixed (height / factor, width / factor, 3), cover (height / factor, width / factor).
void mmhier_average(const int16_t* objects, const int32_t* drawn, const float* barycentric, int32_t height,
                    int32_t width, int32_t factor, const int64_t* faces, int64_t vertices, const float* colours,
                    float* mixed, float* cover) {
    const int64_t size = static_cast<int64_t>(height) * width;
    const float share = 1.0f / static_cast<float>(factor * factor);
    for (int32_t top = 0; top < height; top += factor) {
        for (int32_t left = 0; left < width; left += factor) {
            float sum[3] = {0.0f, 0.0f, 0.0f};
            int32_t hits = 0;
            for (int32_t row = top; row < top + factor; ++row) {
                for (int32_t column = left; column < left + factor; ++column) {
                    const int64_t sample = static_cast<int64_t>(row) * width + column;
                    if (objects[sample] < 0) continue;
                    ++hits;
                    const float* own = colours + 3 * vertices * objects[sample];
                    const int64_t* face = faces + 3 * static_cast<int64_t>(drawn[sample]);
                    for (int corner = 0; corner < 3; ++corner) {
                        const float weight = barycentric[corner * size + sample];
                        const float* colour = own + 3 * face[corner];
                        for (int channel = 0; channel < 3; ++channel) sum[channel] += weight * colour[channel];
                    }
                }
            }
            for (int channel = 0; channel < 3; ++channel) *mixed++ = sum[channel] * share;
            *cover++ = static_cast<float>(hits) * share;
        }
    }
}
}
