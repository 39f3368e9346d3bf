// The selective scan on the CPU, forward and backward, in one dimension and along the four directions of a map.
//
//   h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t,    y_t = C_t . h_t + D u_t
//
// A task is a block of channels that fills one vector register, so that the recurrence runs over whole vectors
// and nothing is exchanged between lanes. The directions of a map differ only in the order in which a task
// visits the positions (Order); their results are added where they belong, and no scanned copy is ever made.
// Sequences come with the steps last and are transposed block by block on the way in and out.
//
// Letters as in dispatch.py: K directions, D channels of a direction, N states, R rank of the step size, L length.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "block.h"

namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

constexpr int64_t DIRECTIONS = 4;
constexpr int64_t SEGMENT = 128;  // steps that are transposed together

// ---------------------------------------------------------------------------------------------- problem

// The addresses and strides of a whole problem: `batch` and `direction` lead to a Walk.
template <typename T>
struct Field {
  T* data;
  int64_t batch, direction, step, state;
  Walk<T> walk(int64_t b, int64_t k, int64_t channel) const {
    return {data + b * batch + k * direction + channel, step, state};
  }
};

template <typename T>
struct Problem {
  int64_t batch, directions, channels, length, states, rank;
  bool softplus;
  Field<const T> u, dt, B, C;
  const T *A, *D, *bias, *weight;  // of all K * D channels

  int64_t blocks() const { return (channels + LANES<T> - 1) / LANES<T>; }
  int64_t constants() const { return states + rank; }  // vectors that block() takes

  Block<T> block(int64_t b, int64_t k, int64_t c, Arena<T>& arena) const {
    const int lanes = std::min<int64_t>(LANES<T>, channels - c);
    const int64_t row = k * channels + c;
    const auto gather = [&](const T* rows, int64_t columns) {
      Vec<T>* out = arena.take(columns);
      for (int64_t n = 0; n < columns; ++n) {
        out[n] = Vec<T>{};
        for (int i = 0; i < lanes; ++i) out[n][i] = rows[(row + i) * columns + n];
      }
      return out;
    };
    Block<T> block{};
    block.lanes = lanes;
    block.states = states;
    block.rank = rank;
    block.softplus = softplus;
    block.u = u.walk(b, k, c);
    block.dt = dt.walk(b, k, rank ? 0 : c);
    block.B = B.walk(b, k, 0);
    block.C = C.walk(b, k, 0);
    if (D) block.D = load(D + row, lanes);
    if (bias) block.bias = load(bias + row, lanes);
    block.A = gather(A, states);
    if (rank) block.weight = gather(weight, rank);
    return block;
  }
};

template <typename T>
const T* address(const OptionalTensor& tensor) {
  return tensor ? tensor->const_data_ptr<T>() : nullptr;
}

OptionalTensor dense(const OptionalTensor& tensor) {
  return tensor ? OptionalTensor(tensor->contiguous()) : std::nullopt;
}

// Calls `run` with a value of the type of the tensor's elements.
template <typename Run>
void with_type(const Tensor& tensor, Run run) {
  if (tensor.scalar_type() == at::kDouble) {
    run(double{});
  } else {
    TORCH_CHECK(tensor.scalar_type() == at::kFloat, "selective_scan: float32 or float64, not ", tensor.scalar_type());
    run(float{});
  }
}

void expect(const char* name, const Tensor& tensor, at::IntArrayRef shape) {
  TORCH_CHECK_VALUE(tensor.sizes() == shape, "selective_scan: ", name, " is ", tensor.sizes(), ", expected ", shape);
}

void expect(const char* name, const OptionalTensor& tensor, at::IntArrayRef shape) {
  if (tensor) expect(name, *tensor, shape);
}

// ---------------------------------------------------------------------------------------------- sequences

// u, delta (batch, K * D, L), A (K * D, N), B, C (batch, K, N, L), D, bias (K * D).
struct Sequences {
  Tensor u, delta, A, B, C;
  OptionalTensor D, bias;
  bool softplus;

  Sequences(
      const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
      const OptionalTensor& D, const OptionalTensor& bias, bool softplus)
      : u(u.contiguous()), delta(delta.contiguous()), A(A.contiguous()), B(B), C(C), D(dense(D)),
        bias(dense(bias)), softplus(softplus) {
    TORCH_CHECK_VALUE(u.dim() == 3 && A.dim() == 2 && B.dim() == 4, "selective_scan: u has 3 axes, A 2, B 4");
    const int64_t batch = u.size(0), rows = u.size(1), length = u.size(2), groups = B.size(1), states = A.size(1);
    TORCH_CHECK_VALUE(groups > 0 && rows % groups == 0, "selective_scan: ", rows, " channels in ", groups, " groups");
    expect("delta", delta, {batch, rows, length});
    expect("A", A, {rows, states});
    expect("B", B, {batch, groups, states, length});
    expect("C", C, {batch, groups, states, length});
    expect("D", D, {rows});
    expect("delta_bias", bias, {rows});
  }

  template <typename T>
  Problem<T> problem() const {
    const auto field = [](const Tensor& t) {
      return Field<const T>{t.const_data_ptr<T>(), t.stride(0), t.stride(1), t.stride(3), t.stride(2)};
    };
    const int64_t directions = B.size(1);
    return {u.size(0), directions, directions ? u.size(1) / directions : 0, u.size(2), A.size(1), 0, softplus,
            {}, {}, field(B), field(C), A.const_data_ptr<T>(), address<T>(D), address<T>(bias), nullptr};
  }
};

template <typename T>
void scan_forward(const Sequences& input, Tensor& y) {
  const auto problem = input.problem<T>();
  const int64_t blocks = problem.blocks(), length = problem.length;
  const T *u = input.u.const_data_ptr<T>(), *delta = input.delta.const_data_ptr<T>();
  T* out = y.data_ptr<T>();
  at::parallel_for(0, problem.batch * problem.directions * blocks, 1, [&](int64_t task, int64_t end) {
    Memory<T> memory(3 * SEGMENT + problem.constants() + forward_vectors(problem.states));
    for (; task < end; ++task) {
      const int64_t b = task / blocks / problem.directions, k = task / blocks % problem.directions;
      const int64_t c = task % blocks * LANES<T>;
      const int64_t first = ((b * problem.directions + k) * problem.channels + c) * length;
      Arena<T> arena = memory.arena();
      Block<T> block = problem.block(b, k, c, arena);
      Vec<T>*us = arena.take(SEGMENT), *deltas = arena.take(SEGMENT), *ys = arena.take(SEGMENT);
      Vec<T>* carried = arena.zeros(problem.states);
      block.u = {reinterpret_cast<T*>(us), LANES<T>, 0};
      block.dt = {reinterpret_cast<T*>(deltas), LANES<T>, 0};
      for (int64_t t = 0; t < length; t += SEGMENT) {
        const int64_t count = std::min(SEGMENT, length - t);
        to_steps(u + first + t, length, block.lanes, count, us);
        to_steps(delta + first + t, length, block.lanes, count, deltas);
        forward_any(block, Order::sequence(count), arena, carried, {reinterpret_cast<T*>(ys), LANES<T>, 0}, false);
        to_rows(ys, block.lanes, count, out + first + t, length);
        block.B.data += count * block.B.step;
        block.C.data += count * block.C.step;
      }
    }
  });
}

template <typename T>
void scan_backward(const Sequences& input, const Tensor& dy, Gradients& grads) {
  const auto problem = input.problem<T>();
  const int64_t blocks = problem.blocks(), length = problem.length, states = problem.states;
  const T *u = input.u.const_data_ptr<T>(), *delta = input.delta.const_data_ptr<T>();
  const Tensor &du = std::get<0>(grads), &ddelta = std::get<1>(grads);
  const Tensor &dA = std::get<2>(grads), &dD = std::get<5>(grads), &dbias = std::get<6>(grads);  // by batch item
  const Tensor &dB = std::get<3>(grads), &dC = std::get<4>(grads);  // by block: (blocks, batch, K, N, L)
  const auto partial = [](const Tensor& t) {
    return Field<T>{t.data_ptr<T>(), t.stride(1), t.stride(2), t.stride(4), t.stride(3)};
  };
  const int64_t memory_size = 5 * length + problem.constants() + backward_vectors<T>(states, length);
  at::parallel_for(0, problem.batch * problem.directions * blocks, 1, [&](int64_t task, int64_t end) {
    Memory<T> memory(memory_size);
    for (; task < end; ++task) {
      const int64_t b = task / blocks / problem.directions, k = task / blocks % problem.directions;
      const int64_t part = task % blocks, c = part * LANES<T>;
      const int64_t row = (b * problem.directions + k) * problem.channels + c, first = row * length;
      Arena<T> arena = memory.arena();
      Block<T> block = problem.block(b, k, c, arena);
      const auto steps = [&] { return Walk<T>{reinterpret_cast<T*>(arena.take(length)), LANES<T>, 0}; };
      const auto vectors = [](const auto& walk) { return (Vec<T>*)walk.data; };
      const Walk<T> us = steps(), deltas = steps(), dys = steps(), dus = steps(), ddeltas = steps();
      to_steps(u + first, length, block.lanes, length, vectors(us));
      to_steps(delta + first, length, block.lanes, length, vectors(deltas));
      to_steps(dy.const_data_ptr<T>() + first, length, block.lanes, length, vectors(dys));
      block.u = {us.data, LANES<T>, 0};
      block.dt = {deltas.data, LANES<T>, 0};
      BlockGradients<T> grad{{dys.data, LANES<T>, 0}, dus, ddeltas, partial(dB).walk(b, k, part * dB.stride(0)),
                             partial(dC).walk(b, k, part * dC.stride(0)), dA.data_ptr<T>() + row * states,
                             dD.data_ptr<T>() + row, dbias.data_ptr<T>() + row};
      backward_any(block, Order::sequence(length), arena, grad, false);
      to_rows(vectors(dus), block.lanes, length, du.data_ptr<T>() + first, length);
      to_rows(vectors(ddeltas), block.lanes, length, ddelta.data_ptr<T>() + first, length);
    }
  });
}

Tensor selective_scan(
    const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
    const OptionalTensor& D, const OptionalTensor& bias, bool softplus) {
  const Sequences input(u, delta, A, B, C, D, bias, softplus);
  Tensor y = at::empty(u.sizes(), u.options());
  with_type(u, [&](auto zero) { scan_forward<decltype(zero)>(input, y); });
  return y;
}

Gradients selective_scan_backward(
    const Tensor& dy, const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
    const OptionalTensor& D, const OptionalTensor& bias, bool softplus) {
  const Sequences input(u, delta, A, B, C, D, bias, softplus);
  expect("dy", dy, u.sizes());
  const auto empty = [&](at::IntArrayRef sizes) { return at::empty(sizes, u.options()); };
  const int64_t batch = u.size(0), rows = u.size(1), K = B.size(1), N = A.size(1), L = u.size(2);
  Gradients grads;
  with_type(u, [&](auto zero) {
    using T = decltype(zero);
    const int64_t blocks = input.problem<T>().blocks();
    grads = {empty(u.sizes()), empty(u.sizes()), empty({batch, rows, N}), empty({blocks, batch, K, N, L}),
             empty({blocks, batch, K, N, L}), empty({batch, rows}), empty({batch, rows})};
    scan_backward<T>(input, dy.contiguous(), grads);
  });
  auto& [du, ddelta, dA, dB, dC, dD, dbias] = grads;
  return {du, ddelta, dA.sum(0), dB.sum(0), dC.sum(0), dD.sum(0), dbias.sum(0)};
}

// ---------------------------------------------------------------------------------------------- maps

// A map, (batch, H, W, ...), whose channels are dense and whose positions have one stride.
Tensor walkable(const Tensor& map) {
  return map.stride(-1) == 1 && map.stride(1) == map.size(2) * map.stride(2) ? map : map.contiguous();
}

// x (batch, H, W, D), dt (batch, H, W, K, D or R), A (K * D, N), B, C (batch, H, W, K, N), D, bias (K * D),
// weight (K * D, R).
struct Maps {
  Tensor x, dt, A, B, C;
  OptionalTensor D, bias, weight;
  bool softplus;

  Maps(const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& B, const Tensor& C,
       const OptionalTensor& D, const OptionalTensor& bias, bool softplus, const OptionalTensor& weight)
      : x(walkable(x)), dt(walkable(dt)), A(A.contiguous()), B(walkable(B)), C(walkable(C)), D(dense(D)),
        bias(dense(bias)), weight(dense(weight)), softplus(softplus) {
    TORCH_CHECK_VALUE(x.dim() == 4 && A.dim() == 2, "cross_selective_scan: x has 4 axes, A 2");
    TORCH_CHECK_VALUE(!weight || weight->dim() == 2, "cross_selective_scan: dt_weight has 2 axes");
    const int64_t batch = x.size(0), H = x.size(1), W = x.size(2), states = A.size(1);
    const int64_t channels = x.size(3), rows = DIRECTIONS * channels, rank = weight ? weight->size(1) : channels;
    expect("dt", dt, {batch, H, W, DIRECTIONS, rank});
    expect("A", A, {rows, states});
    expect("B", B, {batch, H, W, DIRECTIONS, states});
    expect("C", C, {batch, H, W, DIRECTIONS, states});
    expect("D", D, {rows});
    expect("delta_bias", bias, {rows});
    expect("dt_weight", weight, {rows, rank});
  }

  Order order(int64_t k) const { return Order::direction(k, x.size(1), x.size(2)); }

  template <typename T>
  Problem<T> problem() const {
    const auto field = [](const Tensor& t) {
      return Field<const T>{t.const_data_ptr<T>(), t.stride(0), t.dim() == 5 ? t.stride(3) : 0, t.stride(2), 1};
    };
    return {x.size(0), DIRECTIONS, x.size(3), x.size(1) * x.size(2), A.size(1), weight ? weight->size(1) : 0,
            softplus, field(x), field(dt), field(B), field(C), A.const_data_ptr<T>(), address<T>(D),
            address<T>(bias), address<T>(weight)};
  }

  // How many sums over the directions to keep: one for each direction where there are too few other tasks.
  template <typename T>
  int64_t parts() const {
    const auto shape = problem<T>();
    const int64_t threads = at::get_num_threads();
    return threads > 1 && shape.batch * shape.blocks() < 2 * threads ? DIRECTIONS : 1;
  }
};

// Calls `run(b, part, block, arena, k, add)` for every block of every direction, in parallel over what is
// independent: batch items, blocks, and parts of the directions.
template <typename T, typename Run>
void each_block(const Maps& input, int64_t parts, int64_t vectors, Run run) {
  const auto problem = input.problem<T>();
  const int64_t blocks = problem.blocks(), share = DIRECTIONS / parts;
  at::parallel_for(0, problem.batch * parts * blocks, 1, [&](int64_t task, int64_t end) {
    Memory<T> memory(problem.constants() + vectors);
    for (; task < end; ++task) {
      const int64_t b = task / blocks / parts, part = task / blocks % parts, index = task % blocks;
      for (int64_t k = part * share; k < (part + 1) * share; ++k) {
        Arena<T> arena = memory.arena();
        const Block<T> block = problem.block(b, k, index * LANES<T>, arena);
        run(b, part, index, block, arena, k, k > part * share);
      }
    }
  });
}

Tensor cross_selective_scan(
    const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& B, const Tensor& C,
    const OptionalTensor& D, const OptionalTensor& bias, bool softplus, const OptionalTensor& weight) {
  const Maps input(x, dt, A, B, C, D, bias, softplus, weight);
  Tensor y;
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const int64_t parts = input.parts<T>(), channels = x.size(3);
    y = at::empty({parts, x.size(0), x.size(1), x.size(2), channels}, x.options());
    const Field<T> out{y.data_ptr<T>(), y.stride(1), y.stride(0), channels, 0};
    each_block<T>(input, parts, forward_vectors(A.size(1)),
        [&](int64_t b, int64_t part, int64_t index, const Block<T>& block, Arena<T> arena, int64_t k, bool add) {
          Vec<T>* carried = arena.zeros(block.states);
          forward_any(block, input.order(k), arena, carried, out.walk(b, part, index * LANES<T>), add);
        });
    y = parts == 1 ? y[0] : y.sum(0);
  });
  return y;
}

// The gradient of dt has D channels; that of its projection, if any, is left to matrix products.
Gradients cross_selective_scan_backward(
    const Tensor& dy, const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& B, const Tensor& C,
    const OptionalTensor& D, const OptionalTensor& bias, bool softplus, const OptionalTensor& weight) {
  const Maps input(x, dt, A, B, C, D, bias, softplus, weight);
  expect("dy", dy, x.sizes());
  const Tensor grad_y = walkable(dy);
  const auto empty = [&](at::IntArrayRef sizes) { return at::empty(sizes, x.options()); };
  const int64_t batch = x.size(0), H = x.size(1), W = x.size(2), channels = x.size(3), N = A.size(1);
  Gradients result;
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const int64_t parts = input.parts<T>(), blocks = input.problem<T>().blocks(), rows = DIRECTIONS * channels;
    Tensor dx = empty({parts, batch, H, W, channels}), ddt = empty({batch, H, W, DIRECTIONS, channels});
    Tensor dA = empty({batch, rows, N}), dD = empty({batch, rows}), dbias = empty({batch, rows});
    Tensor dB = empty({blocks, batch, H, W, DIRECTIONS, N}), dC = empty(dB.sizes());
    const Field<const T> from{grad_y.const_data_ptr<T>(), grad_y.stride(0), 0, grad_y.stride(2), 0};
    const Field<T> to_x{dx.data_ptr<T>(), dx.stride(1), dx.stride(0), channels, 0};
    const Field<T> to_dt{ddt.data_ptr<T>(), ddt.stride(0), channels, rows, 0};
    const Field<T> to_B{dB.data_ptr<T>(), dB.stride(1), N, DIRECTIONS * N, 1};
    const Field<T> to_C{dC.data_ptr<T>(), dB.stride(1), N, DIRECTIONS * N, 1};
    each_block<T>(input, parts, backward_vectors<T>(N, H * W),
        [&](int64_t b, int64_t part, int64_t index, const Block<T>& block, Arena<T> arena, int64_t k, bool add) {
          const int64_t c = index * LANES<T>, row = (b * DIRECTIONS + k) * channels + c, sum = index * dB.stride(0);
          const BlockGradients<T> grad{
              from.walk(b, 0, c), to_x.walk(b, part, c), to_dt.walk(b, k, c), to_B.walk(b, k, sum),
              to_C.walk(b, k, sum), dA.data_ptr<T>() + row * N, dD.data_ptr<T>() + row, dbias.data_ptr<T>() + row};
          backward_any(block, input.order(k), arena, grad, add);
        });
    dx = parts == 1 ? dx[0] : dx.sum(0);
    result = {dx, ddt, dA.sum(0), dB.sum(0), dC.sum(0), dD.sum(0), dbias.sum(0)};
  });
  return result;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(mmhier, m) {
  m.def(
      "selective_scan(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias,"
      " bool delta_softplus) -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "selective_scan_backward(Tensor dy, Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D,"
      " Tensor? delta_bias, bool delta_softplus) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "cross_selective_scan(Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias,"
      " bool delta_softplus, Tensor? dt_weight) -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "cross_selective_scan_backward(Tensor dy, Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor? D,"
      " Tensor? delta_bias, bool delta_softplus, Tensor? dt_weight)"
      " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(mmhier, CPU, m) {
  m.impl("selective_scan", TORCH_FN(selective_scan));
  m.impl("selective_scan_backward", TORCH_FN(selective_scan_backward));
  m.impl("cross_selective_scan", TORCH_FN(cross_selective_scan));
  m.impl("cross_selective_scan_backward", TORCH_FN(cross_selective_scan_backward));
}
