// Functions that have a good formula in terms of others become that formula, once simplify has used what it knows about
// the functions themselves. logistic and softplus of x and of -x all rest on one e = exp(-|x|), which is in (0, 1] and
// never overflows:
//
//     logistic(x)  = (x >= 0 ? 1 : e) / (1 + e)          logistic(-x) = (x >= 0 ? e : 1) / (1 + e)
//     softplus(x)  = (x >= 0 ? x : 0) + log(1 + e)       softplus(-x) = (x >= 0 ? 0 : -x) + log(1 + e)
//     log(1 + e)   = log(u) - ((u - 1) - e) / u,  u = 1 + e rounded: the second term is what the rounding lost
//     x^n, n whole = squares and products, from the top bit of n
//     x^(1/2)      = sqrt(x)
//     solve        = a factorisation and two substitutions (ir/ops/solve.cpp)
//
// A NaN goes through each of them.
#include <cmath>
#include <cstdlib>

#include "ir/builder.h"
#include "ir/loops.h"
#include "ir/op.h"
#include "passes/differentiate.h"
#include "passes/passes.h"

namespace nnc {

namespace {

/// Above this, a chain of products loses more than the general power does.
constexpr double largest_product_exponent = 1024;

/// x = sign * base, seen through a neg.
struct Signed {
  Value base;
  bool negative = false;
};
Signed without_sign(Value x) {
  const Node& node = (*x.builder)[x.id];
  if (node.op == Op::neg) return {{x.builder, node.operands[0]}, true};
  return {x, false};
}

Value exp_of_minus_abs(Value x) { return apply(Op::exp, -apply(Op::abs, x)); }

Value is_not_negative(Value x) { return apply(Op::less_equal, x.builder->constant(0, x.type().dtype), x); }

Value expanded_logistic(Value of) {
  const auto [x, negative] = without_sign(of);
  const Value e = exp_of_minus_abs(x), one = x.builder->constant(1, x.type().dtype);
  const Value numerator =
      negative ? x.builder->select(is_not_negative(x), e, one) : x.builder->select(is_not_negative(x), one, e);
  return numerator / (1 + e);
}

Value log_of_one_plus(Value e) {
  const Value u = 1 + e;
  return apply(Op::log, u) - ((u - 1) - e) / u;
}

Value expanded_softplus(Value of) {
  const auto [x, negative] = without_sign(of);
  const Value zero = x.builder->constant(0, x.type().dtype);
  const Value linear =
      negative ? x.builder->select(is_not_negative(x), zero, of) : x.builder->select(is_not_negative(x), x, zero);
  return linear + log_of_one_plus(exp_of_minus_abs(x));
}

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

Graph expanded(const Graph& graph) {
  Builder builder(graph.name);
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    const Node& node = graph[id];
    std::optional<Value> formula;
    builder.set_derived(node.derived);
    builder.set_origin({"", node.origin.file, node.origin.line, node.origin.column});
    if (node.op == Op::logistic) formula = expanded_logistic(operands[0]);
    if (node.op == Op::softplus) formula = expanded_softplus(operands[0]);
    if (node.op == Op::pow) formula = expanded_power(operands[0], operands[1], node.type);
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
