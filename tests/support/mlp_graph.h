// The step of a multilayer perceptron as a graph, and the shapes that its parts have: what tests of lowering begin
// with.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/pipeline.h"

namespace nnc::test {

inline Type f32(Shape shape) { return {DType::f32, std::move(shape)}; }
inline Type f64(Shape shape) { return {DType::f64, std::move(shape)}; }
inline Shape rows(std::initializer_list<std::int64_t> rest) {
  Shape shape{batch_extent};
  for (std::int64_t extent : rest) shape.push_back({extent, false});
  return shape;
}
inline Shape fixed(std::initializer_list<std::int64_t> extents) {
  Shape shape;
  for (std::int64_t extent : extents) shape.push_back({extent, false});
  return shape;
}
inline Value sum(Builder& b, Value x, std::vector<int> axes) { return b.sum(x, std::move(axes)); }

/// A step of a multi-layer perceptron with softmax and cross-entropy, differentiated by hand, updated by Adam.
inline Graph mlp_step(const std::vector<std::int64_t>& widths, bool adam) {
  Builder b("mlp");
  const Value x = b.leaf(Op::input, "x", f32(rows({widths[0]})));
  const Value label = b.leaf(Op::input, "label", {DType::i32, rows({})});
  const std::size_t layers = widths.size() - 1;
  std::vector<Value> weights, biases, inputs{x}, masks;
  Value h = x;
  for (std::size_t l = 0; l < layers; ++l) {
    const std::string path = "Dense" + std::to_string(l + 1);
    weights.push_back(b.leaf(Op::param, path + ".W", f32(fixed({widths[l], widths[l + 1]}))));
    biases.push_back(b.leaf(Op::param, path + ".b", f32(fixed({widths[l + 1]}))));
    const Shape shape = rows({widths[l + 1]});
    h = b.dot(h, weights[l], {1}, {0}) + b.broadcast(biases[l], {1}, shape);
    if (l + 1 == layers) break;
    masks.push_back(apply(Op::less_equal, h, b.constant(0, DType::f32)));
    h = b.select(masks[l], b.constant(0, DType::f32), h);
    inputs.push_back(h);
  }
  const std::int64_t classes = widths.back();
  const Shape logits = rows({classes});
  const Value greatest = b.make(Op::reduce_max, std::vector<Value>{h}, Reduce{{1}, Order::unset});
  const Value shifted = h - b.broadcast(greatest, {0}, logits);
  const Value e = apply(Op::exp, shifted);
  const Value total = sum(b, e, {1});
  const Value index = b.make(Op::iota, {}, Iota{1}, {DType::i32, logits});
  const Value hit = apply(Op::equal, index, b.broadcast(label, {0}, logits));
  const Value chosen = sum(b, b.select(hit, shifted, b.constant(0, DType::f32)), {1});
  const Value size = b.size(batch_extent, DType::f32);
  b.output(OutputKind::result, "loss", sum(b, apply(Op::log, total) - chosen, {0}) / size);

  const Value step = b.leaf(Op::scalar, "step", {DType::f64, {}}) + 1.0;
  const auto update = [&](const std::string& path, Value parameter, Value gradient) {
    if (!adam) return b.output(OutputKind::update, path, parameter - gradient * 0.1);
    const Value m = b.leaf(Op::state, "adam.m/" + path, parameter.type());
    const Value v = b.leaf(Op::state, "adam.v/" + path, parameter.type());
    const Value new_m = m * 0.9 + gradient * 0.1, new_v = v * 0.999 + gradient * gradient * 0.001;
    const auto correction = [&](double beta) {
      return b.cast(1.0 - apply(Op::pow, b.constant(beta, DType::f64), step), DType::f32);
    };
    const Value change = (new_m / correction(0.9)) / (apply(Op::sqrt, new_v / correction(0.999)) + 1e-8);
    b.output(OutputKind::update, path, parameter - change * 0.001);
    b.output(OutputKind::update, "adam.m/" + path, new_m);
    b.output(OutputKind::update, "adam.v/" + path, new_v);
  };
  Value dz = (e / b.broadcast(total, {0}, logits) - b.cast(hit, DType::f32)) / size;
  for (std::size_t l = layers; l-- > 0;) {
    const std::string path = "Dense" + std::to_string(l + 1);
    update(path + ".W", weights[l], b.dot(inputs[l], dz, {0}, {0}));
    update(path + ".b", biases[l], sum(b, dz, {0}));
    if (l == 0) break;
    dz = b.select(masks[l - 1], b.constant(0, DType::f32), b.dot(dz, weights[l], {1}, {1}));
  }
  return assign_order(std::move(b).finish());
}

}  // namespace nnc::test
