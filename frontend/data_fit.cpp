// standardize and minmax: (c - offset) / scale with states that are learnt over the rows of a split. The fit graph is
// not elaborated a second time: it is the part of the feed graph below each fitted step, with the states replaced by
// what is computed over all rows.
#include <fmt/format.h>

#include "frontend/data_block.h"

namespace nnc {
namespace {

/// The two states as leaves, spread over the rows of `shape`: what is subtracted and what is divided by. A constant
/// column has deviation 0, or min = max; it is divided by 1 and comes out as 0.
std::pair<Value, Value> offset_and_scale(Builder& builder, const Fitted& fitted, const Shape& shape) {
  const Value first = builder.leaf(Op::state, fitted.first_state(), fitted.row);
  const Value second = builder.leaf(Op::state, fitted.second_state(), fitted.row);
  const Value width = fitted.kind == Fitted::Kind::standardize ? second : second - first;
  const Value zero = builder.constant(0, fitted.row.dtype), one = builder.constant(1, fitted.row.dtype);
  const Value divisor = builder.select(apply(Op::equal, width, zero), one, width);
  return {builder.spread(first, shape), builder.spread(divisor, shape)};
}

/// First and second state of a fitted step over all rows of c, computed in f64. A column whose values are all equal
/// gets exactly that value as its mean and 0 as its deviation, whatever rounding does to sums.
std::pair<Value, Value> learn(Value c, const Fitted& fitted) {
  Builder& builder = *c.builder;
  const auto greatest = [&](Value x) { return builder.make(Op::reduce_max, {{x}}, Reduce{.axes = {0}}); };
  const Value high = greatest(c), low = -greatest(-c);
  if (fitted.kind == Fitted::Kind::minmax) return {low, high};
  const Value constant = apply(Op::equal, high, low);
  const Value wide = builder.cast(c, DType::f64), rows = builder.size(batch_extent, DType::f64);
  const Shape shape = wide.type().shape;  // a copy: the graph grows
  const Value mean = builder.sum(wide, {0}) / rows;
  const Value difference = wide - builder.spread(mean, shape);
  const Value deviation = apply(Op::sqrt, builder.sum(difference * difference, {0}) / rows);
  return {builder.select(constant, high, builder.cast(mean, c.type().dtype)),
          builder.select(constant, builder.constant(0, c.type().dtype), builder.cast(deviation, c.type().dtype))};
}

}  // namespace

/// standardize(c) and minmax(c).
Term DataBlock::scaled(CallSite& site, Fitted::Kind kind) {
  if (site.arguments.size() != 1 || site.arguments[0].name)
    return error(Code::bad_column, site.span, fmt::format("`{}` takes one value", site.name),
                 fmt::format("such as `{}(cols(\"rooms\", \"area\"))`; `fit = [train, test]`, a line of its own, says "
                             "which rows it is fitted on",
                             site.name));
  const Term term = site.evaluate(0);
  if (term.failed()) return failed_ = true, Failed{};
  const Span span = site.span;
  if (const Array* c = term.as<Array>()) return scale(*c, kind, span);
  const Shapeless* inner = term.as<Shapeless>();
  if (!inner)
    return error(Code::bad_column, site.arguments[0].span,
                 fmt::format("`{}` takes a column, not {}", site.name, e_.describe(term)));
  return Shapeless{e_.source(span), [this, inner = *inner, kind, span](Elaborator& e, const ArrayType& type) -> Term {
                     const Term made = inner.make(e, type);
                     const Array* c = made.as<Array>();
                     return c ? scale(*c, kind, span) : Term(Failed{});
                   }};
}

Term DataBlock::scale(const Array& c, Fitted::Kind kind, Span span) {
  const std::string_view word = kind == Fitted::Kind::standardize ? "standardize" : "minmax";
  const Value node = e_.whole_node(c);
  if (node.builder != &feed_) return error(Code::bad_column, span, fmt::format("`{}` belongs to data blocks", word));
  // A copy, since the graph grows.
  const Type type = node.type();  // NOLINT(performance-unnecessary-copy-initialization)
  if (!is_float(type.dtype))
    return error(Code::type_mismatch, span,
                 fmt::format("`{}` takes floating elements, not {}", word, name_of(type.dtype)),
                 "write `f32(...)` around it");
  if (type.shape.empty() || !type.shape[0].batched)
    return error(Code::bad_column, span,
                 fmt::format("`{}` is fitted over rows, and this is one value for all of them", word));
  const int count = ++fit_counts_[current_];
  Fitted fitted{.kind = kind,
                .path = count == 1 ? "data." + current_ : fmt::format("data.{}.{}", current_, count),
                .row = {type.dtype, {type.shape.begin() + 1, type.shape.end()}},
                .input = node.id};
  const ArrayType row{type.dtype, {c.axes.begin() + 1, c.axes.end()}};
  for (const std::string& path : {fitted.first_state(), fitted.second_state()})
    if (!e_.declare_variable(path, row, true, span, [] { return Term(Failed{}); })) return failed_ = true, Failed{};
  feed_.set_origin(e_.origin(span));
  const auto [offset, divisor] = offset_and_scale(feed_, fitted, type.shape);
  const Value result = (node - offset) / divisor;
  fitted.result = result.id;
  fitted_.push_back(fitted);
  return e_.wrap(result, c.axes);
}

Graph DataBlock::fit() const {
  Builder builder("fit");
  const Graph& feed = feed_.graph();
  std::vector<Value> made;
  std::map<std::string, Value> states;
  for (const Node& node : feed.nodes) {
    const auto id = static_cast<NodeId>(made.size());
    if (node.op == Op::state) {  // one that stands for what is missing is known before
      const std::string& name = std::get<Named>(node.attributes).name;
      made.push_back(states.contains(name) ? states.at(name) : builder.leaf(Op::state, name, node.type));
      continue;
    }
    std::vector<Value> operands;
    for (const NodeId operand : node.operands) operands.push_back(made[operand]);
    made.push_back(copy_node(builder, node, operands));
    for (const Fitted& fitted : fitted_) {
      if (fitted.input != id) continue;
      const auto [first, second] = learn(made[id], fitted);
      states.emplace(fitted.first_state(), first);
      states.emplace(fitted.second_state(), second);
    }
  }
  for (const Fitted& fitted : fitted_)
    for (const std::string& path : {fitted.first_state(), fitted.second_state()})
      builder.output(OutputKind::update, path, states.at(path));
  return std::move(builder).finish();
}

Term undo(Elaborator& elaborator, const Array& z, const ElaboratedColumn& column, Span span) {
  Builder& builder = elaborator.builder();
  builder.set_origin(elaborator.origin(span));
  Value node = elaborator.whole_node(z);
  for (const Fitted& fitted : column.undo) {
    const Value first = builder.leaf(Op::state, fitted.first_state(), fitted.row);
    const Value second = builder.leaf(Op::state, fitted.second_state(), fitted.row);
    const Value width = fitted.kind == Fitted::Kind::standardize ? second : second - first;
    const Shape shape = node.type().shape;  // a copy: the graph grows
    node = node * builder.spread(width, shape) + builder.spread(first, shape);
  }
  return elaborator.wrap(node, z.axes);
}

}  // namespace nnc
