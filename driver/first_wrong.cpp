#include "driver/first_wrong.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "ir/op.h"
#include "passes/derive/notation.h"
#include "passes/pipeline.h"
#include "runtime/metrics.h"

namespace nnc::driver {

namespace {

constexpr std::size_t longest_formula = 60;  // of what is shown in a line
constexpr int deepest = 3;                   // values without a name that are written out in each other

// ---- back to the first

/// A value, and one of its elements.
struct Element {
  NodeId node = 0;
  std::int64_t index = 0;
  auto operator<=>(const Element&) const = default;
};

class FailureTrace {
 public:
  FailureTrace(const Graph& graph, const std::vector<Tensor>& values) : graph_(graph), values_(values) {}

  /// The first in the order of the program that `from` is not finite because of, and that no other such value made so.
  std::optional<Element> first(NodeId from) {
    const auto start = wrong_element(from, false);
    if (!start) return std::nullopt;
    std::vector<Element> open{{from, *start}};
    std::set<NodeId> seen{from};
    std::optional<Element> found;
    while (!open.empty()) {
      const Element at = open.back();
      open.pop_back();
      bool made = false;
      for (const Element& cause : causes(at)) {
        made = true;
        if (seen.insert(cause.node).second) open.push_back(cause);
      }
      if (!made && (!found || at.node < found->node)) found = at;
    }
    return found;
  }

 private:
  /// The first element that is not finite; `nan`: that is no number.
  std::optional<std::int64_t> wrong_element(NodeId id, bool nan) const {
    const Tensor& value = values_[id];
    if (!is_float(value.dtype)) return std::nullopt;
    for (std::int64_t i = 0; i < value.count(); ++i)
      if (nan ? std::isnan(value.at(i)) : !std::isfinite(value.at(i))) return i;
    return std::nullopt;
  }

  /// Operands that make an element what it is. What is no number comes from what is none, where there is such; an
  /// infinity that the program writes down is meant.
  std::vector<Element> causes(const Element& at) const {
    const Node& node = graph_[at.node];
    const bool is_nan = std::isnan(values_[at.node].at(at.index));
    for (const bool nan : {true, false}) {
      if (nan && !is_nan) continue;
      std::vector<Element> found;
      for (std::size_t i = 0; i < node.operands.size(); ++i) {
        const NodeId operand = node.operands[i];
        if (graph_[operand].op == Op::constant || !is_chosen(node, i, at)) continue;
        if (const auto index = cause_in(operand, at, nan)) found.push_back({operand, *index});
      }
      if (!found.empty()) return found;
    }
    return {};
  }

  /// The other branch of a choice is not looked at.
  bool is_chosen(const Node& node, std::size_t operand, const Element& at) const {
    if (node.op != Op::select || operand == 0) return true;
    const Tensor& condition = values_[node.operands[0]];
    const bool holds = condition.at(condition.count() == 1 ? 0 : at.index) != 0;
    return operand == (holds ? 1u : 2u);
  }

  std::optional<std::int64_t> cause_in(NodeId operand, const Element& at, bool nan) const {
    const Tensor& value = values_[operand];
    const bool same_place = definition(graph_[at.node].op).cls == OpClass::elementwise &&
                            (value.count() == 1 || value.dims == values_[at.node].dims);
    if (!same_place) return wrong_element(operand, nan);
    if (!is_float(value.dtype)) return std::nullopt;
    const std::int64_t index = value.count() == 1 ? 0 : at.index;
    const double element = value.at(index);
    return (nan ? std::isnan(element) : !std::isfinite(element)) ? std::optional(index) : std::nullopt;
  }

  const Graph& graph_;
  const std::vector<Tensor>& values_;
};

// ---- in words

/// What a value is called; empty where it has no name.
std::string called(const Node& node) {
  if (const auto* named = std::get_if<Named>(&node.attributes)) return named->name;
  constexpr std::string_view gradient = "grad.";
  const std::string& name = node.origin.name;
  return name.starts_with(gradient) ? "∂loss/∂" + name.substr(gradient.size()) : name;
}

/// A value as it is made of those that have names; what lies too deep is left out.
struct Shown {
  std::string text;
  std::set<NodeId> named;  ///< those that are mentioned
};

void name_below(const Graph& graph, NodeId id, int depth, Notation& notation) {
  const Node& node = graph[id];
  if (is_number(node) || notation.has_name(id)) return;
  if (const std::string name = called(node); !name.empty() && depth > 0) return notation.name(id, symbol_formula(name));
  if (node.operands.empty()) return;
  if (depth == deepest) return notation.rename(id, symbol_formula("…"));
  for (const NodeId operand : node.operands) name_below(graph, operand, depth + 1, notation);
}

Shown shown(const Graph& graph, NodeId id) {
  Notation notation(graph.nodes);
  name_below(graph, id, 0, notation);
  Shown result{as_text(notation.made_of(id)), {}};
  for (const NodeId other : notation.mentioned())
    if (!called(graph[other]).empty()) result.named.insert(other);
  return result;
}

std::string number_in(const Tensor& value, std::int64_t index) {
  const double element = value.at(index);
  return std::isfinite(element) ? fmt::format("{:.4g}", element) : number_shown(element, value.dtype);
}

/// Values that an element is made of at its own place, one op at each element after another.
void add_in_place(const Graph& graph, NodeId id, std::set<NodeId>& found) {
  if (definition(graph[id].op).cls != OpClass::elementwise) return;
  for (const NodeId operand : graph[id].operands)
    if (graph[operand].type.shape == graph[id].type.shape && found.insert(operand).second)
      add_in_place(graph, operand, found);
}

/// "`z` is -2.1e+19": in place, or a number; of others, how far from 0 they go.
std::string value_text(const Graph& graph, NodeId id, const Tensor& value, bool in_place, std::int64_t index) {
  const std::string name = fmt::format("`{}`", called(graph[id]));
  if (value.count() == 1) return fmt::format("{} is {}", name, number_in(value, 0));
  if (in_place) return fmt::format("{} is {}", name, number_in(value, index));
  double largest = 0;
  for (std::int64_t i = 0; i < value.count(); ++i)
    if (!(std::abs(value.at(i)) <= largest)) largest = std::abs(value.at(i));
  return fmt::format("{} goes up to {:.4g}", name, largest);
}

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char byte) { return (byte & 0xC0) != 0x80; }));
}

struct SourceLine {
  Place place;
  std::string text;
};

std::optional<SourceLine> source_of(const Elaborated& block, const nnc::Origin& origin) {
  const auto file = std::ranges::find(block.source_numbers, origin.file);
  if (origin.line == 0 || file == block.source_numbers.end()) return std::nullopt;
  const SourceFile& source = block.sources[static_cast<std::size_t>(file - block.source_numbers.begin())];
  std::size_t begin = 0;
  for (std::uint32_t line = 1; line < origin.line && begin != std::string::npos; ++line) {
    begin = source.text.find('\n', begin);
    if (begin != std::string::npos) ++begin;
  }
  if (begin == std::string::npos) return std::nullopt;
  std::string text = source.text.substr(begin, source.text.find('\n', begin) - begin);
  text.erase(0, text.find_first_not_of(" \t"));
  text.erase(text.find_last_not_of(" \t\r") + 1);
  return SourceLine{{source.path, origin.line, origin.column}, std::move(text)};
}

std::string values_text(const Graph& graph, const std::vector<Tensor>& values, const Shown& formula,
                        const Element& at) {
  std::vector<std::string> texts;
  std::set<NodeId> in_place;
  add_in_place(graph, at.node, in_place);
  for (const NodeId id : formula.named)
    if (is_float(values[id].dtype)) texts.push_back(value_text(graph, id, values[id], in_place.contains(id), at.index));
  constexpr std::size_t most = 4;
  if (texts.empty() || texts.size() > most) return "";
  const std::string last = texts.back();
  texts.pop_back();
  return texts.empty() ? ", where " + last : fmt::format(", where {} and {}", fmt::join(texts, ", "), last);
}

/// How far what goes into an op reaches, of its one operand or of what it divides by.
std::string input_text(const Graph& graph, const std::vector<Tensor>& values, NodeId id) {
  const Node& node = graph[id];
  const bool divides = node.op == Op::div;
  if (node.operands.size() != (divides ? 2 : 1) || definition(node.op).cls != OpClass::elementwise) return "";
  const Tensor& operand = values[node.operands.back()];
  double least = INFINITY, greatest = -INFINITY;
  for (std::int64_t i = 0; i < operand.count(); ++i)
    least = std::min(least, operand.at(i)), greatest = std::max(greatest, operand.at(i));
  if (!(least <= greatest)) return "";
  return fmt::format("{} {:.4g} to {:.4g}",
                     divides ? "what is divided by goes from" : fmt::format("`{}` takes", definition(node.op).name),
                     least, greatest);
}

}  // namespace

std::optional<FirstWrong> first_wrong(const Elaborated& block, const StepTaken& step, const std::string& failed,
                                      bool is_loss) {
  const Graph graph = optimise(block.step);
  const std::vector<std::uint32_t> rows = rows_of(step);
  const OutputKind kind = is_loss ? OutputKind::result : OutputKind::update;
  const auto output =
      std::ranges::find_if(graph.outputs, [&](const Output& one) { return one.kind == kind && one.name == failed; });
  if (output == graph.outputs.end()) return std::nullopt;
  const std::vector<Tensor> values = values_again(graph, step, rows);
  if (values.empty()) return std::nullopt;
  const auto at = FailureTrace(graph, values).first(output->node);
  if (!at) return std::nullopt;

  const Node& node = graph[at->node];
  const Tensor& value = values[at->node];
  std::string where;
  if (!node.type.shape.empty() && node.type.shape.front().batched && value.count() > 0) {
    const std::int64_t row = at->index / (value.count() / value.dims[0]);
    where = fmt::format(", in row {} of {}", rows[static_cast<std::size_t>(row)] + 1, step.train.name);
  }
  const std::string wrong = number_in(value, at->index);
  if (node.op == Op::input)
    return FirstWrong{fmt::format("note: column `{}` is {}{}", called(node), wrong, where), {}, {}};
  const Shown formula = shown(graph, at->node);
  const auto source = source_of(block, node.origin);
  const bool brief = characters(formula.text) <= longest_formula;
  if (!brief && !source) return std::nullopt;
  const std::string what = brief ? fmt::format("`{}`", formula.text) : "a value";
  const std::string written = source ? fmt::format(" in `{}`", source->text) : "";
  const std::string reached = brief ? values_text(graph, values, formula, *at) : "";
  return FirstWrong{
      fmt::format("note: the first that went wrong is {}{}: {}{}{}", what, written, wrong, where, reached),
      source ? source->place : Place{}, input_text(graph, values, at->node)};
}

}  // namespace nnc::driver
