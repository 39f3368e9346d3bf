// Vectors as wide as the machine's registers, in the vector extensions of GCC and Clang.
//
// Functions that go through float32 in a few instructions go through the C library for float64, which is there
// for checking derivatives.

#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>

namespace {

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

typedef float FloatVector __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t IntVector __attribute__((vector_size(VECTOR_BYTES)));
typedef double DoubleVector __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t LongVector __attribute__((vector_size(VECTOR_BYTES)));

template <typename T>
struct Simd;
template <>
struct Simd<float> {
  using Vector = FloatVector;
  using Index = IntVector;
};
template <>
struct Simd<double> {
  using Vector = DoubleVector;
  using Index = LongVector;
};

template <typename T>
using Vec = typename Simd<T>::Vector;
template <typename T>
constexpr int LANES = VECTOR_BYTES / sizeof(T);

template <typename T>
inline Vec<T> load(const T* from, int lanes) {
  Vec<T> value = {};
  if (lanes == LANES<T>) {
    __builtin_memcpy(&value, from, sizeof(value));
  } else {
    for (int i = 0; i < lanes; ++i) value[i] = from[i];
  }
  return value;
}

template <typename T>
inline void store(T* to, Vec<T> value, int lanes) {
  if (lanes == LANES<T>) {
    __builtin_memcpy(to, &value, sizeof(value));
  } else {
    for (int i = 0; i < lanes; ++i) to[i] = value[i];
  }
}

inline FloatVector exp(FloatVector x) {
  const float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, round = 12582912.0f;
  const auto vanishes = x < -87.3f;
  x = vanishes ? FloatVector{} : x;
  x = x > 88.0f ? FloatVector{} + 88.0f : x;
  FloatVector shifted = x * log2e + round;  // adding 1.5 * 2^23 leaves the nearest integer in the low bits
  FloatVector n = shifted - round;
  IntVector scale = ((IntVector)shifted - 0x4b400000 + 127) << 23;  // 2^n
  FloatVector r = x - n * ln2_high - n * ln2_low;
  FloatVector p = FloatVector{} + 1.394858082e-3f;
  p = p * r + 8.375128890e-3f;
  p = p * r + 4.166621827e-2f;
  p = p * r + 1.666641548e-1f;
  p = p * r + 5.000000108e-1f;
  p = p * r * r + r + 1.0f;
  return vanishes ? FloatVector{} : p * (FloatVector)scale;
}

// log(1 + z) for z in [0, 1]
inline FloatVector log1p(FloatVector z) {
  FloatVector p = FloatVector{} + 5.253457797e-03f;
  p = p * z - 2.958850739e-02f;
  p = p * z + 7.836166802e-02f;
  p = p * z - 1.367476971e-01f;
  p = p * z + 1.911143108e-01f;
  p = p * z - 2.484436989e-01f;
  p = p * z + 3.331927134e-01f;
  p = p * z - 4.999950152e-01f;
  p = p * z + 9.999999705e-01f;
  return p * z;
}

inline DoubleVector exp(DoubleVector x) {
  for (int i = 0; i < LANES<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

inline DoubleVector log1p(DoubleVector z) {
  for (int i = 0; i < LANES<double>; ++i) z[i] = std::log1p(z[i]);
  return z;
}

// Lanes of a and b in turn, from the first half of both or from the second.
template <typename T, int... I>
inline Vec<T> interleave(Vec<T> a, Vec<T> b, bool second, std::integer_sequence<int, I...>) {
  constexpr int n = LANES<T>;
#ifdef __clang__
  return second ? __builtin_shufflevector(a, b, ((I + n) / 2 + I % 2 * n)...)
                : __builtin_shufflevector(a, b, (I / 2 + I % 2 * n)...);
#else
  using Index = typename Simd<T>::Index;
  return second ? __builtin_shuffle(a, b, Index{((I + n) / 2 + I % 2 * n)...})
                : __builtin_shuffle(a, b, Index{(I / 2 + I % 2 * n)...});
#endif
}

template <typename T>
inline Vec<T> low(Vec<T> a, Vec<T> b) {
  return interleave<T>(a, b, false, std::make_integer_sequence<int, LANES<T>>());
}

template <typename T>
inline Vec<T> high(Vec<T> a, Vec<T> b) {
  return interleave<T>(a, b, true, std::make_integer_sequence<int, LANES<T>>());
}

// One perfect shuffle of the rows; log2(LANES) of them transpose. A recursion, so that all stays in registers.
template <typename T, int LEFT = LANES<T>>
__attribute__((always_inline)) inline void transpose(Vec<T>* rows) {
  constexpr int n = LANES<T>;
  Vec<T> next[n];
#pragma GCC unroll 16
  for (int i = 0; i < n / 2; ++i) {
    next[2 * i] = low<T>(rows[i], rows[i + n / 2]);
    next[2 * i + 1] = high<T>(rows[i], rows[i + n / 2]);
  }
  if constexpr (LEFT > 2) transpose<T, LEFT / 2>(next);
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) rows[i] = next[i];
}

// Sum of the lanes of each of LANES rows, as one vector.
template <typename T>
inline Vec<T> sum_lanes(Vec<T>* rows) {
#pragma GCC unroll 4
  for (int half = LANES<T> / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) rows[i] = low<T>(rows[i], rows[i + half]) + high<T>(rows[i], rows[i + half]);
  }
  return rows[0];
}

// Memory for vectors, and a hand that gives it out.
template <typename T>
struct Arena {
  Vec<T>* next;
  Vec<T>* take(int64_t count) { return std::exchange(next, next + count); }
  Vec<T>* zeros(int64_t count) {
    for (int64_t i = 0; i < count; ++i) next[i] = Vec<T>{};
    return take(count);
  }
};

template <typename T>
class Memory {
 public:
  explicit Memory(int64_t count) : bytes_(new char[(count + 1) * sizeof(Vec<T>)]) {}
  Arena<T> arena() const {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.get());
    return {reinterpret_cast<Vec<T>*>((address + VECTOR_BYTES - 1) / VECTOR_BYTES * VECTOR_BYTES)};
  }

 private:
  std::unique_ptr<char[]> bytes_;
};

// `count` steps of rows of channels, (lanes, stride) with the steps last, to a vector for each step, and back.
template <typename T>
void to_steps(const T* rows, int64_t stride, int lanes, int64_t count, Vec<T>* steps) {
  constexpr int n = LANES<T>;
  int64_t t = 0;
  for (; t + n <= count; t += n) {
    for (int i = 0; i < n; ++i) steps[t + i] = i < lanes ? load(rows + i * stride + t, n) : Vec<T>{};
    transpose<T>(steps + t);
  }
  for (; t < count; ++t) {
    steps[t] = Vec<T>{};
    for (int i = 0; i < lanes; ++i) steps[t][i] = rows[i * stride + t];
  }
}

template <typename T>
void to_rows(Vec<T>* steps, int lanes, int64_t count, T* rows, int64_t stride) {
  constexpr int n = LANES<T>;
  int64_t t = 0;
  for (; t + n <= count; t += n) {
    transpose<T>(steps + t);
    for (int i = 0; i < lanes; ++i) store(rows + i * stride + t, steps[t + i], n);
  }
  for (; t < count; ++t)
    for (int i = 0; i < lanes; ++i) rows[i * stride + t] = steps[t][i];
}

}  // namespace
