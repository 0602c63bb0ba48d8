#include "passes/derive/notation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "ir/op.h"
#include "passes/view.h"

namespace nnc {

namespace {

Formula function_of(std::string name, Formula x) {
  const bool scalar = x.scalar;
  return {.kind = Formula::Kind::call, .text = std::move(name), .parts = {std::move(x)}, .scalar = scalar};
}
Formula pi_formula() { return number_formula("π", std::numbers::pi); }

std::string number_digits(double value, DType dtype) {
  if (value == 0.5) return "½";
  if (dtype == DType::f32) return fmt::format("{}", static_cast<float>(value));
  if (dtype == DType::i32) return fmt::format("{}", static_cast<std::int64_t>(value));
  if (dtype == DType::boolean) return value != 0 ? "true" : "false";
  return fmt::format("{}", value);
}

/// One number throughout.
bool is_repeated(const Constant& constant) {
  return std::ranges::all_of(constant.values, [&](double v) { return v == constant.values.front(); });
}

Formula extent_formula(Extent extent) {
  if (!extent.batched) return number_formula(std::to_string(extent.count));
  Formula rows = symbol_formula("n");
  rows.scalar = true;
  return extent.count == 1 ? rows : product_of({number_formula(std::to_string(extent.count)), rows});
}

bool counts_up(const std::vector<int>& axes, int from) {
  for (std::size_t i = 0; i < axes.size(); ++i)
    if (axes[i] != from + static_cast<int>(i)) return false;
  return true;
}

/// What holds where the condition does not, numbers that are none aside.
Formula opposite(Formula condition) {
  const bool is_relation = condition.kind == Formula::Kind::relation;
  if (is_relation && condition.text == "≤") return condition.text = ">", condition;
  if (is_relation && condition.text == "<") return condition.text = "≥", condition;
  if (is_relation && condition.text == "=") return condition.text = "≠", condition;
  return {.kind = Formula::Kind::call, .text = "not", .parts = {std::move(condition)}};
}

std::string index_letters(const std::vector<int>& axes) {
  std::string letters;
  for (int axis : axes) letters += index_letter(axis);
  return letters;
}

/// A number as one reads it. Of f32 and of the density of a normal distribution it is the number that was meant.
Formula constant_formula(double value, DType dtype) {
  const double root = 1 / std::sqrt(2 * std::numbers::pi);  // the density of a normal distribution at 0
  if (is_float(dtype) && (value == root || (dtype == DType::f32 && value == static_cast<float>(root))))
    return quotient_of(number_formula("1"), function_of("√", product_of({number_formula("2"), pi_formula()})));
  return number_formula(number_digits(value, dtype), value);
}

}  // namespace

std::string function_sign(Op op) {
  if (op == Op::logistic) return "σ";
  if (op == Op::normal_cdf) return "Φ";
  return std::string(definition(op).name);
}

Formula Notation::free_symbol(Formula symbol) {
  for (int number = 2; !taken_.insert(as_text(symbol)).second; ++number) symbol.sub = std::to_string(number);
  return symbol;
}

void Notation::name(NodeId id, Formula symbol) {
  symbol = free_symbol(std::move(symbol));
  symbol.scalar = node(id).type.rank() == 0;
  names_.insert_or_assign(id, std::move(symbol));
}

void Notation::name_factor(NodeId share, NodeId dy, const std::string& function, NodeId x, std::vector<NodeId> slope) {
  factors_.try_emplace(share, NamedFactor{dy, x, function, std::move(slope)});
}

Formula Notation::of(NodeId id) {
  name_known_forms(id);
  const auto name = names_.find(id);
  if (name == names_.end() || hidden_.contains(id)) return made_of(id);
  const auto other = stands_for_.find(id);
  mentioned_.insert(other == stands_for_.end() ? id : other->second);
  return name->second;
}

Formula Notation::made_of(NodeId id) {
  const Node& x = node(id);
  if (const auto factor = factors_.find(id); factor != factors_.end()) {
    took_factor_ = true;
    return product_of({of(factor->second.dy), factor_formula(factor->second)});
  }
  switch (definition(x.op).cls) {
    case OpClass::leaf:
    case OpClass::generate:
      return leaf(x);
    case OpClass::elementwise:
      return elementwise(x);
    case OpClass::reduce:
      return reduction(x);
    case OpClass::view:
      return view(id);
    case OpClass::contract:
      return contraction(x);
    case OpClass::index:
      if (x.op == Op::gather) return {.kind = Formula::Kind::entry, .parts = {of(x.operands[0]), of(x.operands[1])}};
      return operation(x, {{"rows", {std::get<Scatter>(x.attributes).count}}});
    case OpClass::control:
      if (x.op == Op::grad) return {.kind = Formula::Kind::slope, .parts = {of(x.operands[0]), of(x.operands[1])}};
      return of(x.operands[0]);
    case OpClass::loop:
      return operation(x, {{"result", {std::get<Scan>(x.attributes).result}}});
    case OpClass::formula:
      return operation(x, {});
  }
  return {};
}

Formula Notation::factor_formula(const NamedFactor& factor) {
  Formula slope{.kind = Formula::Kind::call, .text = factor.function + "′", .parts = {of(factor.x)}};
  slope.scalar = node(factor.x).type.rank() == 0;
  return slope;
}

Formula Notation::with_factors(Formula formula) {
  for (Formula& part : formula.parts) part = with_factors(std::move(part));
  if (formula.kind != Formula::Kind::product) return formula;
  for (const auto& [share, factor] : std::map<NodeId, NamedFactor>(factors_)) {
    std::vector<Formula> wanted;
    for (NodeId slope : factor.slope) {
      Formula part = of(slope);
      if (node(slope).type.dtype == DType::boolean)
        part = {.kind = Formula::Kind::truth, .parts = {opposite(std::move(part))}};
      wanted.push_back(std::move(part));
    }
    std::vector<Formula> left = formula.parts;
    const bool all = std::ranges::all_of(wanted, [&](const Formula& x) {
      const auto found = std::ranges::find(left, x);
      if (found == left.end()) return false;
      left.erase(found);
      return true;
    });
    if (!all) continue;
    left.push_back(factor_formula(factor));
    formula = product_of(std::move(left));
    took_factor_ = true;
    if (formula.kind != Formula::Kind::product) break;
  }
  return formula;
}

bool Notation::is_number(NodeId id, double value) const {
  double number = 0;
  return repeats_number(*nodes_, id, number) && number == value;
}

namespace {

Formula ones(const Shape& shape) { return {.kind = Formula::Kind::operation, .text = "ones", .shape = shape}; }

/// Only axes of extent 1 come or go.
bool is_reshape(const Shape& from, const Sight& sight) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < sight.axes.size(); ++i) {
    if (sight.axes[i] < 0) continue;
    if (from[i] != sight.shape[static_cast<std::size_t>(sight.axes[i])]) return false;
    ++kept;
  }
  const auto units = std::ranges::count_if(sight.shape, [](const Extent& extent) { return is_unit(extent); });
  const auto units_kept = std::ranges::count_if(
      sight.axes, [&](int axis) { return axis >= 0 && is_unit(sight.shape[static_cast<std::size_t>(axis)]); });
  return sight.shape.size() - kept == static_cast<std::size_t>(units - units_kept);
}

}  // namespace

/// Where axes are counted, as a reader needs it who does not know how the value stands there: numbers as tables, and
/// what a view adds, repeats or leaves out in words.
Formula Notation::whole(NodeId id) {
  const Node& x = node(id);
  name_known_forms(id);
  View step;
  if (x.type.rank() > 0 && !(has_name(id) && !hidden_.contains(id)) && x.op != Op::transpose &&
      see_through_once(*nodes_, id, step) && node(step.base).type.rank() > 0) {
    Formula base = whole(step.base);
    const Sight sight{x.type.shape, step.axes};
    if (base.kind == Formula::Kind::stretch && base.seen.empty()) {
      Formula part = seen_as(base, sight);
      if (part.seen.empty()) return part;
    }
    const bool reshapes = is_reshape(node(step.base).type.shape, sight);
    Formula shown{.kind = Formula::Kind::operation, .text = reshapes ? "reshape" : "broadcast", .shape = x.type.shape};
    shown.parts = {std::move(base)};
    if (!reshapes) shown.arguments = {{"axes", {step.axes.begin(), step.axes.end()}}};
    return shown;
  }
  Formula formula = of(id);
  if (!formula.scalar || x.type.rank() == 0) return formula;
  return product_of({std::move(formula), ones(x.type.shape)});
}

Formula Notation::leaf(const Node& x) {
  const bool scalar = x.type.rank() == 0;
  Formula result = symbol_formula(x.origin.name.empty() ? std::string(definition(x.op).name) : x.origin.name);
  if (const auto* named = std::get_if<Named>(&x.attributes)) result = symbol_formula(named->name);
  if (const auto* size = std::get_if<Size>(&x.attributes)) result = extent_formula(size->extent);
  if (const auto* iota = std::get_if<Iota>(&x.attributes)) return index_formula(iota->axis, x.type.shape);
  if (std::holds_alternative<Random>(x.attributes))
    return {.kind = Formula::Kind::operation,
            .text = "uniform",
            .parts = {number_formula("0"), number_formula("1")},
            .scalar = scalar};
  if (const auto* constant = std::get_if<Constant>(&x.attributes)) {
    if (is_repeated(*constant)) return constant_formula(constant->values.front(), x.type.dtype);
    result = {.kind = Formula::Kind::operation, .text = "numbers"};
    constexpr std::size_t shown = 4;
    for (std::size_t i = 0; i < std::min(shown, constant->values.size()); ++i)
      result.parts.push_back(constant_formula(constant->values[i], x.type.dtype));
    if (constant->values.size() > shown) result.parts.push_back(symbol_formula("…"));
  }
  result.scalar = scalar;
  return result;
}

Formula Notation::operation(const Node& x, std::vector<Argument> arguments) {
  Formula result{.kind = Formula::Kind::operation, .text = std::string(definition(x.op).name)};
  result.scalar = x.type.rank() == 0;
  for (NodeId operand : x.operands) result.parts.push_back(x.op == Op::reshape ? of(operand) : whole(operand));
  result.arguments = std::move(arguments);
  return result;
}

Formula Notation::call(const Node& x, std::string function) {
  Formula result{.kind = Formula::Kind::call, .text = std::move(function), .scalar = x.type.rank() == 0};
  for (NodeId operand : x.operands) result.parts.push_back(of(operand));
  return result;
}

Formula Notation::relation(const Node& x, const char* sign) {
  return {.kind = Formula::Kind::relation, .text = sign, .parts = {of(x.operands[0]), of(x.operands[1])}};
}

Formula Notation::chosen(const Node& x) {
  const auto truth = [&](Formula condition) {
    return Formula{.kind = Formula::Kind::truth, .parts = {std::move(condition)}};
  };
  if (is_rectified(x)) return {.kind = Formula::Kind::call, .text = "relu", .parts = {of(x.operands[2])}};
  if (is_number(x.operands[2], 0)) return product_of({truth(of(x.operands[0])), of(x.operands[1])});
  if (is_number(x.operands[1], 0)) return product_of({truth(opposite(of(x.operands[0]))), of(x.operands[2])});
  return {.kind = Formula::Kind::choice, .parts = {of(x.operands[0]), of(x.operands[1]), of(x.operands[2])}};
}

Formula Notation::elementwise(const Node& x) {
  const auto operand = [&](std::size_t i) { return of(x.operands[i]); };
  Formula result;
  if (x.op == Op::neg) {
    result = negative(operand(0));
  } else if (x.op == Op::add || x.op == Op::sub) {
    result.kind = Formula::Kind::sum;
    add_term(result, operand(0), false);
    add_term(result, operand(1), x.op == Op::sub);
  } else if (x.op == Op::mul && x.operands[0] == x.operands[1]) {
    result = {.kind = Formula::Kind::power, .parts = {operand(0), number_formula("2")}};
    result.scalar = result.parts[0].scalar;
  } else if (x.op == Op::mul) {
    result = product_of({operand(0), operand(1)});
  } else if (x.op == Op::div) {
    result = quotient_of(operand(0), operand(1));
  } else if (x.op == Op::pow) {
    result = {.kind = Formula::Kind::power, .parts = {operand(0), operand(1)}};
    result.scalar = result.parts[0].scalar && result.parts[1].scalar;
  } else if (x.op == Op::equal) {
    result = relation(x, "=");
  } else if (x.op == Op::less) {
    result = relation(x, "<");
  } else if (x.op == Op::less_equal) {
    result = relation(x, "≤");
  } else if (x.op == Op::logical_and) {
    result = relation(x, "∧");
  } else if (x.op == Op::logical_or) {
    result = relation(x, "∨");
  } else if (x.op == Op::select) {
    result = chosen(x);
  } else if (x.op == Op::cast) {
    const DType from = node(x.operands[0]).type.dtype;
    if (is_float(from) && x.type.dtype == DType::i32) return call(x, "trunc");
    if (from != DType::boolean) return operand(0);
    result = {.kind = Formula::Kind::truth, .parts = {operand(0)}};
  } else {
    result = call(x, x.op == Op::sqrt ? "√" : function_sign(x.op));
  }
  return result;
}

/// Over all axes an index says nothing, but beside another sum.
Formula Notation::reduction(const Node& x) {
  const auto* reduce = std::get_if<Reduce>(&x.attributes);
  if (!reduce || x.operands.size() != 1 || x.op == Op::argmax) {
    std::vector<Argument> over;
    if (reduce) over.push_back({"over", {reduce->axes.begin(), reduce->axes.end()}, true});
    if (const auto* windows = std::get_if<OverlapAdd>(&x.attributes)) {
      over = {{"along", {windows->axis}, true}, {"extent", {windows->extent}}};
      if (windows->stride != 1) over.push_back({"stride", {windows->stride}});
      if (windows->dilation != 1) over.push_back({"dilation", {windows->dilation}});
    }
    return operation(x, std::move(over));
  }
  const Shape& shape = node(x.operands[0]).type.shape;
  Formula of_what = of(x.operands[0]);
  const bool all = reduce->axes.size() == shape.size();
  const bool is_negative = of_what.kind == Formula::Kind::sum && of_what.parts.size() == 1;
  const Formula& positive = is_negative ? of_what.parts[0] : of_what;
  const Formula& inner = positive.kind == Formula::Kind::product ? positive.parts.back() : positive;
  const bool is_sum = inner.kind == Formula::Kind::large && !inner.sub.empty() && x.op == Op::sum;
  const std::string sign = x.op == Op::sum ? "Σ" : x.op == Op::reduce_max ? "max" : std::string(definition(x.op).name);
  return large_of(sign, all && !is_sum ? "" : index_letters(reduce->axes), std::move(of_what), shape,
                  x.type.rank() == 0);
}

Formula Notation::view(NodeId id) {
  const Node& x = node(id);
  if (x.op == Op::transpose) {
    const std::vector<int>& permutation = std::get<Transpose>(x.attributes).permutation;
    if (x.type.rank() == 2) return transposed(of(x.operands[0]), permutation);
    return operation(x, {{"axes", {permutation.begin(), permutation.end()}}});
  }
  if (View step; see_through_once(*nodes_, id, step)) return seen_as(of(x.operands[0]), {x.type.shape, step.axes});
  if (const auto* slice = std::get_if<Slice>(&x.attributes)) {
    const Shape& from = node(x.operands[0]).type.shape;
    Formula result{.kind = Formula::Kind::stretch, .parts = {whole(x.operands[0])}, .scalar = x.type.rank() == 0};
    for (std::size_t i = 0; i < from.size(); ++i)
      result.stretches.push_back({slice->starts[i], slice->steps[i], x.type.shape[i].count,
                                  x.type.shape[i] == from[i] && slice->steps[i] > 0});
    return result;
  }
  std::vector<Argument> arguments;
  const auto tell = [&](const char* name, const std::vector<std::int64_t>& numbers) {
    if (std::ranges::any_of(numbers, [](std::int64_t n) { return n != 0; })) arguments.push_back({name, numbers});
  };
  if (const auto* pad = std::get_if<Pad>(&x.attributes)) {
    tell("before", pad->low);
    tell("behind", pad->high);
    tell("between", pad->between);
  }
  if (const auto* concat = std::get_if<Concat>(&x.attributes)) arguments = {{"along", {concat->axis}, true}};
  if (const auto* window = std::get_if<Window>(&x.attributes)) {
    arguments = {{"along", {window->axis}, true}, {"size", {window->size}}};
    if (window->stride != 1) arguments.push_back({"stride", {window->stride}});
    if (window->dilation != 1) arguments.push_back({"dilation", {window->dilation}});
  }
  Formula result = operation(x, std::move(arguments));
  result.shape = x.op == Op::reshape ? x.type.shape : Shape{};
  return result;
}

namespace {

/// The axes of a factor in another order: those that go along, then its two other groups the other way round.
std::vector<int> turned(int rank, int along, int first_group) {
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  std::rotate(axes.begin() + along, axes.begin() + along + first_group, axes.end());
  return axes;
}

}  // namespace

/// A product of matrices where all axes before the last are the rows of one, or all but the first the columns of the
/// other; of stacks of matrices where the first axes of both go along. Else it is written element by element.
Formula Notation::contraction(const Node& x) {
  const auto& dot = std::get<Dot>(x.attributes);
  const int rank_a = node(x.operands[0]).type.rank(), rank_b = node(x.operands[1]).type.rank();
  const int pairs = static_cast<int>(dot.a.size()), along = static_cast<int>(dot.batch_a.size());
  if (std::optional<Formula> sum = over_steps(x, dot)) return std::move(*sum);
  const bool last_a = counts_up(dot.a, rank_a - pairs), first_a = counts_up(dot.a, along);
  const bool last_b = counts_up(dot.b, rank_b - pairs), first_b = counts_up(dot.b, along);
  const bool go_along = counts_up(dot.batch_a, 0) && counts_up(dot.batch_b, 0);
  if (!go_along || !(last_a || first_a) || !(last_b || first_b)) return by_elements(x, dot);
  const auto factor = [&](NodeId id) {
    Formula formula = of(id);
    return formula.scalar && node(id).type.rank() > 0 ? whole(id) : formula;
  };
  Formula a = factor(x.operands[0]), b = factor(x.operands[1]);
  if (!last_a || (rank_a == 1 && rank_b == 1)) a = transposed(std::move(a), turned(rank_a, along, last_a ? 0 : pairs));
  if (!first_b) b = transposed(std::move(b), turned(rank_b, along, rank_b - along - pairs));
  return matrix_of(std::move(a), std::move(b), {pairs, along}, x.type.rank() == 0);
}

/// Σₜ xₜᵀ δₜ: of stacks whose steps and then rows go together, the products of each step, added up.
std::optional<Formula> Notation::over_steps(const Node& x, const Dot& dot) {
  const auto a = elements_.find(x.operands[0]), b = elements_.find(x.operands[1]);
  const int pairs = static_cast<int>(dot.a.size());
  if (a == elements_.end() || b == elements_.end() || !dot.batch_a.empty() || pairs < 2) return std::nullopt;
  if (!counts_up(dot.a, 0) || !counts_up(dot.b, 0)) return std::nullopt;
  const auto element = [](const std::pair<Notation*, NodeId>& at) { return at.first->of(at.second); };
  Formula left = transposed(element(a->second), turned(node(x.operands[0]).type.rank() - 1, 0, pairs - 1));
  Formula product = matrix_of(std::move(left), element(b->second), {pairs - 1, 0}, x.type.rank() == 0);
  return large_of("Σ", "t", std::move(product), {}, x.type.rank() == 0);
}

/// Letters of the result's axes first, then those of the axes that are summed.
Formula Notation::by_elements(const Node& x, const Dot& dot) {
  std::string letters[2];
  const std::vector<int>* along[] = {&dot.batch_a, &dot.batch_b};
  const std::vector<int>* summed[] = {&dot.a, &dot.b};
  std::string result;
  for (int axis = 0; axis < x.type.rank(); ++axis) result += index_letter(axis);
  int free = static_cast<int>(dot.batch_a.size());
  for (std::size_t side : {0, 1})
    for (int axis = 0; axis < node(x.operands[side]).type.rank(); ++axis) {
      const auto at = [&](const std::vector<int>& axes) {
        return static_cast<int>(std::ranges::find(axes, axis) - axes.begin());
      };
      if (const int i = at(*along[side]); i < static_cast<int>(along[side]->size()))
        letters[side] += index_letter(i);
      else if (const int k = at(*summed[side]); k < static_cast<int>(summed[side]->size()))
        letters[side] += index_letter(x.type.rank() + k);
      else
        letters[side] += index_letter(free++);
    }
  return {.kind = Formula::Kind::indexed,
          .text = letters[0] + "," + letters[1] + "," + result,
          .parts = {whole(x.operands[0]), whole(x.operands[1])},
          .scalar = x.type.rank() == 0};
}

// Forms that have a name of their own

/// 1 where the label is the index, else 0.
bool Notation::is_one_hot(const Node& x, NodeId& label) const {
  if (x.op != Op::cast || x.derived) return false;
  const Node& truth = node(x.operands[0]);
  if (truth.op != Op::equal) return false;
  for (std::size_t i : {0, 1}) {
    const NodeId index = see_through(*nodes_, truth.operands[i]).base;
    label = see_through(*nodes_, truth.operands[1 - i]).base;
    if (std::holds_alternative<Iota>(node(index).attributes) && node(label).op == Op::input) return true;
  }
  return false;
}

/// e / sum e for e = exp(u).
bool Notation::is_softmax(const Node& x) const {
  if (x.op != Op::div || node(x.operands[0]).op != Op::exp) return false;
  const Node& total = node(see_through(*nodes_, x.operands[1]).base);
  return total.op == Op::sum && total.operands.size() == 1 && total.operands[0] == x.operands[0];
}

/// x where it is greater than 0, else 0.
bool Notation::is_rectified(const Node& x) const {
  if (x.op != Op::select || !is_number(x.operands[1], 0)) return false;
  const Node& condition = node(x.operands[0]);
  return condition.op == Op::less_equal && condition.operands[0] == x.operands[2] &&
         is_number(condition.operands[1], 0);
}

void Notation::name_known_forms(NodeId id) {
  if (names_.contains(id)) return;
  if (const auto stable = stable_.find(id); stable != stable_.end() && stable->second != id) {
    name_known_forms(stable->second);
    if (names_.contains(stable->second)) return share_name(id, stable->second);
  }
  const Node& x = node(id);
  if (NodeId label = 0; is_one_hot(x, label)) {
    std::string letters = std::get<Named>(node(label).attributes).name;
    if (letters[0] >= 'a' && letters[0] <= 'z') letters[0] = static_cast<char>(letters[0] - 'a' + 'A');
    name(id, symbol_formula(letters));
  } else if (is_softmax(x)) {
    name(id, symbol_formula("A"));
  } else if (definition(x.op).cls == OpClass::loop) {
    name(id, symbol_formula("r", "", "1"));
  } else if (std::holds_alternative<Random>(x.attributes)) {
    name(id, symbol_formula("ξ"));
  } else if (const auto* constant = std::get_if<Constant>(&x.attributes); constant && !is_repeated(*constant)) {
    name(id, symbol_formula("C"));
  }
}

}  // namespace nnc
