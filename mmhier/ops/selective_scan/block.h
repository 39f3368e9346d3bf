// The recurrence over one block of channels of one direction, forward and backward.

#pragma once

#include <algorithm>

#include "vectors.h"

namespace {

constexpr int64_t CHUNK = 64;  // steps whose step sizes are computed together

// The positions in the order of the steps: lines of equal length, each with a constant stride.
struct Order {
  int64_t lines, length, start, line_stride, step_stride;

  static Order sequence(int64_t length) { return {1, length, 0, 0, 1}; }

  static Order direction(int64_t k, int64_t height, int64_t width) {
    const int64_t last = height * width - 1;
    switch (k) {
      case 0: return {1, last + 1, 0, 0, 1};
      case 1: return {width, height, 0, 1, width};
      case 2: return {1, last + 1, last, 0, -1};
      default: return {width, height, last, -1, -width};
    }
  }
};

// Where one direction finds a tensor: an address, and the strides of a position and of a state.
template <typename T>
struct Walk {
  T* data;
  int64_t step, state;
  T* at(int64_t position) const { return data + position * step; }
};

// What one task knows of one direction: LANES channels or fewer.
template <typename T>
struct Block {
  int lanes;
  int64_t states, rank;  // rank 0: step sizes come as they are
  bool softplus;
  Walk<const T> u, dt, B, C;
  Vec<T> D, bias;
  const Vec<T>*A, *weight;
};

// Step sizes of `count` steps from `position` on, and the slope of softplus if asked for.
template <typename T>
inline void step_sizes(
    const Block<T>& block, int64_t position, int64_t stride, int64_t count, Vec<T>* delta, Vec<T>* slope) {
  int64_t j = 0;
  if (block.rank) {
    for (; j + 4 <= count; j += 4) {  // four at once share what they load
      const T* rows[4];
      Vec<T> sums[4];
      for (int i = 0; i < 4; ++i) rows[i] = block.dt.at(position + (j + i) * stride), sums[i] = block.bias;
      for (int64_t r = 0; r < block.rank; ++r) {
        const Vec<T> weight = block.weight[r];
        for (int i = 0; i < 4; ++i) sums[i] += weight * rows[i][r];
      }
      for (int i = 0; i < 4; ++i) delta[j + i] = sums[i];
    }
    for (; j < count; ++j) {
      const T* row = block.dt.at(position + j * stride);
      delta[j] = block.bias;
      for (int64_t r = 0; r < block.rank; ++r) delta[j] += block.weight[r] * row[r];
    }
  } else {
    for (; j < count; ++j) delta[j] = load(block.dt.at(position + j * stride), block.lanes) + block.bias;
  }
  if (!block.softplus) return;
  for (j = 0; j < count; ++j) {
    const Vec<T> x = delta[j];
    const Vec<T> zero = {}, one = zero + T(1);
    const Vec<T> z = exp(x > zero ? -x : x);
    delta[j] = (x > zero ? x : zero) + log1p(z);
    if (slope) slope[j] = (x > zero ? one : z) / (one + z);
  }
}

// Takes the states from `carried` and leaves them there. STATES is their number where it is known when
// compiling, otherwise 0.
template <typename T, int STATES>
void forward(
    const Block<T>& block, const Order& order, Arena<T> arena, Vec<T>* carried, Walk<T> y, bool add) {
  const int64_t states = STATES ? STATES : block.states;
  Vec<T>* delta = arena.take(CHUNK);
  Vec<T> registers[STATES ? STATES : 1];
  Vec<T>* h = STATES ? registers : carried;
  for (int n = 0; n < STATES; ++n) registers[n] = carried[n];
  for (int64_t line = 0; line < order.lines; ++line) {
    int64_t position = order.start + line * order.line_stride;
    for (int64_t done = 0; done < order.length; done += CHUNK) {
      const int64_t count = std::min(CHUNK, order.length - done);
      step_sizes<T>(block, position, order.step_stride, count, delta, nullptr);
      for (int64_t j = 0; j < count; ++j, position += order.step_stride) {
        const Vec<T> u = load(block.u.at(position), block.lanes), input = delta[j] * u;
        const T *B = block.B.at(position), *C = block.C.at(position);
        Vec<T> sum = block.D * u;
        if (add) sum += load(y.at(position), block.lanes);
        for (int64_t n = 0; n < states; ++n) {
          h[n] = exp(delta[j] * block.A[n]) * h[n] + input * B[n * block.B.state];
          sum += h[n] * C[n * block.C.state];
        }
        store(y.at(position), sum, block.lanes);
      }
    }
  }
  for (int n = 0; n < STATES; ++n) carried[n] = registers[n];
}

// Where the gradients of a block go. Those of B and C are sums over channels: one partial sum for each block.
template <typename T>
struct BlockGradients {
  Walk<const T> y;
  Walk<T> u, dt, B, C;
  T *A, *D, *bias;  // (lanes, N), (lanes), (lanes)
};

// Write the sums over the lanes of `count` rows to their positions.
template <typename T>
inline void put_sums(Vec<T>* rows, int count, const int64_t* positions, const Walk<T>& to, int64_t n) {
  for (int i = count; i < LANES<T>; ++i) rows[i] = Vec<T>{};
  const Vec<T> sums = sum_lanes<T>(rows);
  for (int i = 0; i < count; ++i) to.at(positions[i])[n * to.state] = sums[i];
}

template <typename T, int STATES>
void backward(
    const Block<T>& block, const Order& order, Arena<T> arena, const BlockGradients<T>& grad, bool add) {
  const int64_t states = STATES ? STATES : block.states, length = order.lines * order.length;
  Vec<T>*delta = arena.take(length), *slope = block.softplus ? arena.take(length) : nullptr;
  Vec<T>* history = arena.take((length + 1) * states);  // states before and after each step
  Vec<T>*sums_B = arena.take(states * LANES<T>), *sums_C = arena.take(states * LANES<T>);
  Vec<T>*dh = arena.take(states), *dA = arena.take(states);
  for (int64_t n = 0; n < states; ++n) history[n] = dh[n] = dA[n] = Vec<T>{};

  Vec<T>* h = history;
  for (int64_t line = 0, t = 0; line < order.lines; ++line) {
    const int64_t position = order.start + line * order.line_stride;
    step_sizes<T>(block, position, order.step_stride, order.length, delta + t, slope ? slope + t : nullptr);
    for (int64_t j = 0; j < order.length; ++j, ++t, h += states) {
      const int64_t here = position + j * order.step_stride;
      const Vec<T> input = delta[t] * load(block.u.at(here), block.lanes);
      const T* B = block.B.at(here);
      for (int64_t n = 0; n < states; ++n)
        h[states + n] = exp(delta[t] * block.A[n]) * h[n] + input * B[n * block.B.state];
    }
  }

  Vec<T> dD = {}, dbias = {};
  int64_t positions[LANES<T>];
  int waiting = 0;
  for (int64_t line = order.lines - 1, t = length - 1; line >= 0; --line) {
    int64_t position = order.start + line * order.line_stride + (order.length - 1) * order.step_stride;
    for (int64_t j = 0; j < order.length; ++j, --t, position -= order.step_stride) {
      h -= states;
      const Vec<T> u = load(block.u.at(position), block.lanes), dy = load(grad.y.at(position), block.lanes);
      const T *B = block.B.at(position), *C = block.C.at(position);
      Vec<T> du = block.D * dy, ddelta = {};
      for (int64_t n = 0; n < states; ++n) {
        const Vec<T> decay = exp(delta[t] * block.A[n]);
        const Vec<T> g = dh[n] + dy * C[n * block.C.state];  // gradient of h_t
        const Vec<T> ddecay = g * h[n] * decay;              // gradient of delta_t A
        sums_B[n * LANES<T> + waiting] = g * delta[t] * u;
        sums_C[n * LANES<T> + waiting] = dy * h[states + n];
        du += g * delta[t] * B[n * block.B.state];
        ddelta += g * u * B[n * block.B.state] + ddecay * block.A[n];
        dA[n] += ddecay * delta[t];
        dh[n] = decay * g;
      }
      if (slope) ddelta *= slope[t];
      store(grad.dt.at(position), ddelta, block.lanes);
      if (add) du += load(grad.u.at(position), block.lanes);
      store(grad.u.at(position), du, block.lanes);
      dbias += ddelta;
      dD += dy * u;
      positions[waiting++] = position;
      if (waiting == LANES<T> || t == 0) {
        for (int64_t n = 0; n < states; ++n) {
          put_sums<T>(sums_B + n * LANES<T>, waiting, positions, grad.B, n);
          put_sums<T>(sums_C + n * LANES<T>, waiting, positions, grad.C, n);
        }
        waiting = 0;
      }
    }
  }
  store(grad.D, dD, block.lanes);
  store(grad.bias, dbias, block.lanes);
  for (int64_t n = 0; n < states; ++n)
    for (int i = 0; i < block.lanes; ++i) grad.A[i * states + n] = dA[n][i];
}

// Vectors of memory that the two passes take.
inline int64_t forward_vectors(int64_t states) { return CHUNK + states; }

template <typename T>
int64_t backward_vectors(int64_t states, int64_t length) {
  return (length + 1) * (states + 2) + states * (2 * LANES<T> + 2);
}

template <typename T>
void forward_any(
    const Block<T>& block, const Order& order, Arena<T> arena, Vec<T>* carried, Walk<T> y, bool add) {
  block.states == 1 ? forward<T, 1>(block, order, arena, carried, y, add)
                    : forward<T, 0>(block, order, arena, carried, y, add);
}

template <typename T>
void backward_any(
    const Block<T>& block, const Order& order, Arena<T> arena, const BlockGradients<T>& grad, bool add) {
  block.states == 1 ? backward<T, 1>(block, order, arena, grad, add)
                    : backward<T, 0>(block, order, arena, grad, add);
}

}  // namespace
