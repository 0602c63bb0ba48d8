// Powers that a few products make better become them, once simplify has used what it knows of powers; so do other ops
// that have a better formula:
//
//     x^n, n whole = squares and products, from the top bit of n
//     x^(1/2)      = sqrt(x)
//     solve        = a factorisation and two substitutions (ir/ops/solve.cpp)
//     overlap_add of a product of matrices = a convolution (passes/overlap.h)
//     overlap_add without overlaps = a view
//     i x, i a truth value as a number = (i ? x : 0), also where x is infinite: a logit that a mask has put at minus
//                    infinity is not seen where it is not the target
//
// logistic, softplus and their kin stay: as scalar programs they are within 2 ulp and monotonic, which formulas made of
// rounded sums and quotients are not, and in one kernel they share the exp(-|x|) that each of them begins with.
#include <cmath>
#include <cstdlib>

#include "ir/builder.h"
#include "ir/loops.h"
#include "ir/op.h"
#include "passes/differentiate.h"
#include "passes/overlap.h"
#include "passes/passes.h"

namespace nnc {

namespace {

/// Above this, a chain of products loses more than the general power does.
constexpr double largest_product_exponent = 1024;

/// x^n for n >= 1.
Value product_power(Value x, int n) {
  int top = 0;
  while ((n >> (top + 1)) > 0) ++top;
  Value power = x;
  for (int bit = top - 1; bit >= 0; --bit) {
    power = power * power;
    if ((n >> bit) & 1) power = power * x;
  }
  return power;
}

/// The number that a value repeats, if it is one known now.
std::optional<double> known_number(const Builder& builder, Value x) {
  const Node* node = &builder[x.id];
  while (node->op == Op::broadcast) node = &builder[node->operands[0]];
  const auto* constant = std::get_if<Constant>(&node->attributes);
  if (!constant || constant->values.size() != 1) return std::nullopt;
  return constant->values.front();
}

std::optional<Value> expanded_power(Value x, Value exponent, const Type& type) {
  Builder& builder = *x.builder;
  const std::optional<double> known = known_number(builder, exponent);
  if (!known) return std::nullopt;
  if (x.type().shape != type.shape) return std::nullopt;  // a number to the power of a tensor
  if (*known == 0.5) return apply(Op::sqrt, x);
  if (*known != std::trunc(*known) || std::abs(*known) > largest_product_exponent) return std::nullopt;
  const int n = static_cast<int>(*known);
  if (n == 0) return builder.spread(builder.constant(1, type.dtype), type.shape);
  const Value power = product_power(x, std::abs(n));
  return n > 0 ? power : 1 / power;
}

/// What of two factors is chosen, where one of them is a truth value as a number.
std::optional<Value> chosen_factor(Value a, Value b) {
  Builder& builder = *a.builder;
  for (const auto& [indicator, x] : {std::pair(a, b), std::pair(b, a)}) {
    if (builder[indicator.id].op != Op::cast || x.type().shape != indicator.type().shape) continue;
    const Value condition{&builder, builder[indicator.id].operands[0]};
    if (condition.type().dtype == DType::boolean)
      return builder.select(condition, x, builder.constant(0, x.type().dtype));
  }
  return std::nullopt;
}

Graph expanded(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    const Node& node = graph[id];
    std::optional<Value> formula;
    builder.set_derived(node.derived);
    builder.set_origin({"", node.origin.file, node.origin.line, node.origin.column});
    if (node.op == Op::pow) formula = expanded_power(operands[0], operands[1], node.type);
    if (node.op == Op::mul && is_float(node.type.dtype)) formula = chosen_factor(operands[0], operands[1]);
    if (const auto* overlap = std::get_if<OverlapAdd>(&node.attributes)) {
      formula = overlap_of_product(builder, operands[0], *overlap);
      if (!formula) formula = overlap_of_none(builder, operands[0], *overlap);
    }
    if (const auto* slice = std::get_if<Slice>(&node.attributes); slice && node.derived)
      formula = slice_of_product(builder, operands[0], *slice, node.type.shape);
    if (const auto written = definition(node.op).formula) formula = written(builder, operands);
    builder.set_derived(false);
    builder.set_origin({});
    if (!formula) return copy_node(builder, node, operands);
    builder.name_node(formula->id, node.origin.name);
    return *formula;
  });
  return finish_like(graph, std::move(builder), made);
}

}  // namespace

Graph expand(const Graph& graph) { return with_bodies(graph, expanded); }

}  // namespace nnc
