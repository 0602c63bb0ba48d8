// Growing a graph from its leaves to its outputs, and values for its leaves.
#include "tests/support/random_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "ir/text.h"
#include "tests/support/random_grower.h"

namespace nnc::test {

std::int64_t size_at_most_rows(const Shape& shape) {
  const Extent count = element_count(shape);
  return count.batched ? count.count * most_rows : count.count;
}

bool affordable(const Shape& shape) {
  return shape.size() <= most_axes && std::ranges::count_if(shape, &Extent::batched) <= 1 &&
         size_at_most_rows(shape) <= most_elements;
}

std::optional<std::vector<int>> axes_within(const Shape& part, const Shape& whole) {
  std::vector<int> axes;
  std::size_t next = 0;
  for (std::size_t axis = 0; axis < whole.size() && next < part.size(); ++axis)
    if (whole[axis] == part[next]) {
      axes.push_back(static_cast<int>(axis));
      ++next;
    }
  if (next < part.size()) return std::nullopt;
  return axes;
}

std::vector<int> some_axes(Random& random, int rank) {
  std::vector<int> axes;
  while (axes.empty())
    for (int axis = 0; axis < rank; ++axis)
      if (random.chance(0.5)) axes.push_back(axis);
  return axes;
}

Graph Grower::grow() {
  real_ = random_.chance(0.3) ? DType::f64 : DType::f32;
  std::vector<std::int64_t> counts{1, 2, 15, 16, 17, 31, 33, 64, 127};
  std::erase_if(counts, [&](std::int64_t count) { return count > options_.most_extent; });
  random_.shuffle(counts);
  counts.resize(static_cast<std::size_t>(random_.between(2, 4)));
  for (const std::int64_t count : counts) extents_.push_back({count, false});
  if (options_.newer && random_.chance(0.08)) extents_.push_back({0, false});

  for (int i = random_.between(1, 3); i > 0; --i) add_input();
  for (int i = random_.between(0, 2); i > 0; --i) add_variable(Op::param, some_shape(2));
  const int nodes = random_.between(1, options_.most_nodes);
  for (int tries = 0; tries < 40 * nodes && static_cast<int>(builder_.graph().nodes.size()) < nodes + 4; ++tries)
    grow_something();
  add_outputs();
  return std::move(builder_).finish();
}

void Grower::grow_something() {
  const int pieces = options_.pieces ? 1 : 0;
  const std::vector<Choice> choices{
      {20, &Grower::grow_unary},
      {24, &Grower::grow_binary},
      {6, &Grower::grow_comparison},
      {3, &Grower::grow_logical},
      {6, &Grower::grow_select},
      {5, &Grower::grow_cast},
      {12, &Grower::grow_sum},
      {5, &Grower::grow_maximum},
      {3, &Grower::grow_argmax},
      {7, &Grower::grow_broadcast},
      {6, &Grower::grow_transpose},
      {7, &Grower::grow_reshape},
      {14, &Grower::grow_dot},
      {options_.nested_loops ? 8 : 3, &Grower::grow_loop},
      {4, &Grower::grow_generated},
      {2, &Grower::grow_number},
      {3, &Grower::grow_carried},
      {5, &Grower::grow_normalised},
      {pieces * 5, &Grower::grow_slice},
      {pieces * 4, &Grower::grow_pad},
      {pieces * 4, &Grower::grow_concat},
      {pieces * 4, &Grower::grow_window},
      {pieces * 3, &Grower::grow_overlap_add},
      {pieces * 5, &Grower::grow_gather},
      {pieces * 4, &Grower::grow_scatter},
      {5, &Grower::grow_formula},
      {options_.newer ? 2 : 0, &Grower::grow_solve},
  };
  int total = 0;
  for (const Choice& choice : choices) total += choice.weight;
  int at = random_.below(total);
  const auto* chosen = choices.data();
  while (at >= chosen->weight) at -= (chosen++)->weight;
  if (const std::optional<Value> value = (this->*chosen->grow)()) keep(*value);
}

std::optional<Value> Grower::made(Op op, const std::vector<Value>& operands, Attributes attributes,
                                  const Type& wanted) {
  std::vector<NodeId> ids;
  std::vector<Type> types;
  for (const Value operand : operands) {
    ids.push_back(operand.id);
    types.push_back(operand.type());
  }
  const TypeOrError type = infer_type(op, {types, attributes, wanted});
  if (!std::holds_alternative<Type>(type) || !affordable(std::get<Type>(type).shape)) return std::nullopt;
  return std::get<Value>(builder_.try_make(op, ids, std::move(attributes), wanted));
}

void Grower::add_outputs() {
  used_.assign(builder_.graph().nodes.size(), false);
  for (const Node& node : builder_.graph().nodes)
    for (const NodeId operand : node.operands) used_[operand] = true;
  for (const Output& output : builder_.graph().outputs) used_[output.node] = true;
  int results = 0;
  const auto give = [&](NodeId id) { builder_.output(OutputKind::result, fmt::format("r{}", ++results), value(id)); };
  for (const NodeId id : values_)
    if (definition(builder_[id].op).cls != OpClass::leaf && (!used_[id] || random_.chance(0.05))) {
      used_[id] = true;
      give(id);
    }
  if (results == 0 || random_.chance(0.1)) give(random_.one_of(values_));
  if (options_.gradients) add_gradients();
  if (options_.updates) add_updates();
}

Value Grower::sum_of_all(Value x) {
  std::vector<int> axes(x.type().shape.size());
  std::iota(axes.begin(), axes.end(), 0);
  return builder_.sum(x, axes);
}

void Grower::add_gradients() {
  std::optional<Value> loss;
  for (const Output& output : std::vector(builder_.graph().outputs)) {
    const Value result = value(output.node);
    if (output.kind != OutputKind::result || result.type().dtype != real_) continue;
    const Value part = sum_of_all(random_.chance(0.2) ? result * *made(Op::stop_gradient, {result}) : result);
    loss = loss ? *loss + part : part;
  }
  if (!loss) return;
  builder_.output(OutputKind::result, "loss", *loss);
  for (const NodeId id : std::vector(values_)) {
    const Value x = value(id);
    if (builder_[id].op != Op::param || x.type().dtype != real_) continue;
    const Value step = builder_.make(Op::grad, std::vector{*loss, x}) * 0.125;
    builder_.output(OutputKind::update, std::get<Named>(builder_[id].attributes).name, x - step);
    updated_.insert(id);
  }
}

void Grower::add_updates() {
  std::vector<NodeId> variables;
  for (NodeId id = 0; id < builder_.graph().nodes.size(); ++id)
    if (builder_[id].op == Op::param || builder_[id].op == Op::state) variables.push_back(id);
  for (const NodeId id : variables) {
    if (random_.chance(0.4) || updated_.contains(id)) continue;
    const Type type = builder_[id].type;
    const auto fits = [&](const Type& other) { return other == type; };
    const Value old = value(id), change = pick(fits).value_or(old);
    // Overwritten without being read only where something else reads it: a graph has the variables that it names.
    const bool replaced = used_[id] && change.id != id && random_.chance(0.3);
    const Value next = replaced ? change : old - change * 0.125;
    builder_.output(OutputKind::update, std::get<Named>(builder_[id].attributes).name, next);
  }
}

namespace {

Tensor random_tensor(const Type& type, std::int64_t batch, Random random) {
  std::vector<std::int64_t> dims;
  for (const Extent& extent : type.shape) dims.push_back(extent.batched ? extent.count * batch : extent.count);
  Tensor tensor = Tensor::zeros(type.dtype, dims);
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const int kind = random.below(32);
    const double number = random.uniform(-2, 2);
    double value = number;
    if (type.dtype == DType::boolean)
      value = kind % 2;
    else if (type.dtype == DType::i32)
      value = kind % 8;
    else if (kind < 4)
      value = kind == 0 ? 0.0 : kind == 1 ? -0.0 : kind == 2 ? 1.0 : static_cast<double>(random.between(-2, 2));
    tensor.set(i, value);
  }
  return tensor;
}

}  // namespace

Graph random_graph(std::uint64_t seed, const RandomGraphOptions& options) {
  Graph graph = Grower(seed, options).grow();
  if (const std::string wrong = verify(graph); !wrong.empty()) {
    fmt::print(stderr, "random graph {}: {}\n{}\n", seed, wrong, print(graph));
    std::abort();
  }
  return graph;
}

std::int64_t random_batch(std::uint64_t seed) {
  static const std::vector<std::int64_t> batches{1, 2, 15, 16, 17, most_rows};
  return Random(seed_of(seed, "batch")).one_of(batches);
}

Environment random_environment(const Graph& graph, std::int64_t batch, std::uint64_t seed) {
  Random random(seed_of(seed, "environment"));
  Environment environment;
  environment.batch = batch;
  environment.seed = random.bits();
  environment.step = static_cast<std::uint64_t>(random.below(1000));
  environment.row_offset = static_cast<std::uint64_t>(random.below(1000));
  environment.scalars = {{"step", static_cast<double>(environment.step)},
                         {"epoch", 3},
                         {"steps_per_epoch", 10},
                         {"total_steps", 1000},
                         {"rows", static_cast<double>(batch)}};
  for (const Node& node : graph.nodes) {
    const auto* named = std::get_if<Named>(&node.attributes);
    if (!named || node.op == Op::scalar) continue;
    auto& values = node.op == Op::param   ? environment.params
                   : node.op == Op::state ? environment.state
                   : node.op == Op::carry ? environment.carry
                                          : environment.inputs;
    values[named->name] = random_tensor(node.type, batch, Random(seed_of(seed, named->name)));
  }
  return environment;
}

RandomSeeds random_seeds(std::uint64_t count) {
  const auto number = [](const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
  };
  const std::uint64_t first = number("NNC_RANDOM_FIRST", 0);
  return {first, first + number("NNC_RANDOM_GRAPHS", count)};
}

}  // namespace nnc::test
