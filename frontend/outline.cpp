#include "frontend/outline.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "frontend/diagnostics.h"
#include "ir/op.h"

namespace nnc {

namespace {

constexpr std::size_t none = SIZE_MAX, of_the_block = SIZE_MAX - 1;

/// Where text that begins inside of a statement, a bracket or an argument ends, from `at` on or, with -1, back from it.
std::size_t edge_of(std::string_view line, std::size_t at, int direction) {
  int depth = 0;
  for (std::size_t end = at; end < line.size(); end += static_cast<std::size_t>(direction)) {
    const char c = line[end];
    const bool opens = direction > 0 ? c == '(' || c == '[' : c == ')' || c == ']';
    const bool closes = direction > 0 ? c == ')' || c == ']' : c == '(' || c == '[';
    depth += opens ? 1 : closes ? -1 : 0;
    const bool pipe = c == '|' && line.substr(end).starts_with("|>");
    const bool is = c == '=' && direction < 0 &&
                    (end == 0 || std::string_view("<>=!").find(line[end - 1]) == std::string_view::npos);
    if (depth < 0 || (depth == 0 && (c == ',' || c == '{' || c == '}' || c == '#' || pipe || is)))
      return direction > 0 ? end : end + (pipe ? 2 : 1);
  }
  return direction > 0 ? line.size() : 0;
}

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
  return first == std::string_view::npos ? "" : std::string(text.substr(first, last + 1 - first));
}

/// The expression around the operator at a place, as written on its line; of a long one the operator and what follows;
/// nothing where that is long too.
std::string expression_at(const Diagnostics& diagnostics, const Origin& origin) {
  constexpr std::size_t longest = 28;
  if (origin.line == 0) return "";
  const auto [begin, line_end] = diagnostics.line_bounds(origin.file, origin.line);
  const std::string_view line = std::string_view(diagnostics.file(origin.file).text).substr(begin, line_end - begin);
  const std::size_t at = std::min<std::size_t>(origin.column - 1, line.size());
  const std::size_t first = edge_of(line, at == 0 ? 0 : at - 1, -1), end = edge_of(line, at, 1);
  std::string whole = trimmed(line.substr(first, end - first));
  if (whole.starts_with("return ")) whole = trimmed(std::string_view(whole).substr(7));
  if (whole.size() <= longest) return whole;
  const std::string rest = trimmed(line.substr(at, end - at));
  return rest.size() + 4 <= longest ? "… " + rest : "";
}

class Outliner {
 public:
  Outliner(const Graph& graph, const WrittenCalls& calls, const Diagnostics& diagnostics)
      : graph_(graph), calls_(calls), diagnostics_(diagnostics), unit_(graph.nodes.size(), none) {}

  Outline run(const std::vector<std::string>& results) {
    find_live(results);
    for (bool merged : {true, false}) {
      find_units(merged);
      if (order_units()) break;  // else parts of an expression stand around what is applied to one of them
    }
    return write();
  }

 private:
  const Node& node(NodeId id) const { return graph_[id]; }
  /// What a value is but for its marks.
  NodeId plain(NodeId id) const {
    while (node(id).op == Op::point) id = node(id).operands[0];
    return id;
  }

  void find_live(const std::vector<std::string>& results) {
    live_.assign(graph_.nodes.size(), false);
    fed_.assign(graph_.nodes.size(), false);
    for (const Output& output : graph_.outputs)
      if (output.kind == OutputKind::result && std::ranges::find(results, output.name) != results.end())
        live_[output.node] = true;
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()); id-- > 0;)
      for (NodeId operand : node(id).operands) live_[operand] = live_[operand] || live_[id];
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const Op op = node(id).op;
      fed_[id] = op == Op::input || op == Op::param || op == Op::state;
      for (NodeId operand : node(id).operands) fed_[id] = fed_[id] || fed_[operand];
      if (!node(id).origin.name.empty() && !is_number(node(id))) names_.try_emplace(plain(id), node(id).origin.name);
    }
  }

  /// A node is part of a step unless it is a mark, a parameter, or made of numbers alone.
  bool counts(NodeId id) const {
    const Op op = node(id).op;
    return live_[id] && fed_[id] && op != Op::point && op != Op::param && op != Op::state;
  }

  /// Nodes of one application are one unit, and so are those of one expression, where `merged`.
  void find_units(bool merged) {
    units_.clear();
    std::map<std::size_t, std::size_t> unit_of_call;
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      unit_[id] = none;
      if (!counts(id)) continue;
      const WrittenCalls::Call* call = calls_.of(id);
      std::vector<std::size_t> around;
      if (call && call->whole && node(id).op != Op::input) {
        const auto known = unit_of_call.try_emplace(calls_.number_of(id), units_.size());
        if (!known.second) around = {known.first->second};
      } else if (merged && node(id).op != Op::input) {
        around = expression_around(id);
      }
      join(id, around);
    }
  }

  /// The node becomes part of these units, which become one; of a new one where there are none.
  void join(NodeId id, const std::vector<std::size_t>& around) {
    const std::size_t unit = around.empty() ? units_.size() : around.front();
    if (around.empty()) units_.emplace_back();
    for (std::size_t other : around) {
      if (other == unit) continue;
      for (NodeId moved : std::exchange(units_[other], {})) {
        units_[unit].push_back(moved);
        unit_[moved] = unit;
      }
    }
    units_[unit].push_back(id);
    unit_[id] = unit;
  }

  /// Units of operands that are unnamed parts of the same expression.
  std::vector<std::size_t> expression_around(NodeId id) const {
    std::vector<std::size_t> around;
    for (NodeId operand : node(id).operands) {
      const std::size_t unit = unit_[operand];
      if (unit == none || names_.contains(operand) || node(operand).op == Op::input) continue;
      const WrittenCalls::Call* call = calls_.of(operand);
      if ((!call || !call->whole) && calls_.number_of(operand) == calls_.number_of(id) &&
          node(operand).origin.line == node(id).origin.line)
        around.push_back(unit);
    }
    return around;
  }

  std::set<std::size_t> read_by(std::size_t unit) const {
    std::set<std::size_t> read;
    for (NodeId id : units_[unit])
      for (NodeId operand : node(id).operands)
        if (const std::size_t from = unit_[plain(operand)]; from != none && from != unit) read.insert(from);
    return read;
  }

  /// Units in an order in which operands come first; false where there is none.
  bool order_units() {
    order_.clear();
    std::vector<int> state(units_.size(), 0);  // 1: under way, 2: placed
    bool acyclic = true;
    const auto place = [&](const auto& self, std::size_t unit) -> void {
      state[unit] = 1;
      for (std::size_t from : read_by(unit)) {
        acyclic = acyclic && state[from] != 1;
        if (state[from] == 0) self(self, from);
      }
      state[unit] = 2;
      order_.push_back(unit);
    };
    for (std::size_t unit = 0; unit < units_.size(); ++unit)
      if (state[unit] == 0 && !units_[unit].empty()) place(place, unit);
    return acyclic;
  }

  Outline write() const {
    Outline outline;
    std::map<std::size_t, std::size_t> place;
    std::set<NodeId> told;  // parameters
    for (std::size_t unit : order_) {
      OutlineStep step = step_of(unit);
      for (std::size_t from : read_by(unit))
        if (place.contains(from)) step.from.push_back(place.at(from));
      std::ranges::sort(step.from);
      for (NodeId id : units_[unit])
        for (NodeId operand : node(id).operands) add_parameters(operand, told, step);
      place[unit] = outline.size();
      outline.push_back(std::move(step));
    }
    return outline;
  }

  /// Its result is its last node that others read, or its last one.
  OutlineStep step_of(std::size_t unit) const {
    const NodeId last = units_[unit].back();
    const Node& result = node(last);
    OutlineStep step;
    step.type = result.type;
    step.line = result.origin.line;
    if (const auto name = names_.find(last); name != names_.end()) step.name = name->second;
    if (result.op == Op::input) {
      step.kind = OutlineStep::Kind::column;
      step.text = step.name = std::get<Named>(result.attributes).name;
      return step;
    }
    const WrittenCalls::Call* call = calls_.of(last);
    if (call) step.within = call->within;
    step.text = call && call->whole ? call->text : expression_at(diagnostics_, result.origin);
    const OpDef& op = definition(result.op);
    if (step.text.empty()) step.text = op.infix.empty() ? std::string(op.name) : fmt::format("… {} …", op.infix);
    return step;
  }

  void add_parameters(NodeId id, std::set<NodeId>& told, OutlineStep& step) const {
    id = plain(id);
    const Node& leaf = node(id);
    if (leaf.op == Op::param) {
      if (!told.insert(id).second) return;
      const std::string& path = std::get<Named>(leaf.attributes).name;
      step.parameters.emplace_back(path.substr(path.rfind('.') + 1), leaf.type);
    }
  }

  const Graph& graph_;
  const WrittenCalls& calls_;
  const Diagnostics& diagnostics_;
  std::vector<bool> live_, fed_;
  std::map<NodeId, std::string> names_;
  std::vector<std::size_t> unit_;
  std::vector<std::vector<NodeId>> units_;
  std::vector<std::size_t> order_;
};

}  // namespace

std::size_t WrittenCalls::open(std::string text, std::string within, bool whole, std::size_t begin) {
  calls_.push_back({std::move(text), std::move(within), whole, begin});
  open_.push_back(calls_.size() - 1);
  return open_.back();
}

void WrittenCalls::close(std::size_t call, std::size_t end) {
  owner_.resize(std::max(owner_.size(), end), none);
  for (std::size_t id = calls_[call].begin; id < end; ++id)
    if (owner_[id] == none) owner_[id] = call;
  open_.pop_back();
}

void WrittenCalls::by_operator(std::size_t begin, std::size_t end) {
  owner_.resize(std::max(owner_.size(), end), none);
  const auto body =
      std::ranges::find_if(open_.rbegin(), open_.rend(), [&](std::size_t call) { return !calls_[call].whole; });
  for (std::size_t id = begin; id < end; ++id)
    if (owner_[id] == none) owner_[id] = body == open_.rend() ? of_the_block : *body;
}

std::size_t WrittenCalls::number_of(NodeId id) const { return id < owner_.size() ? owner_[id] : none; }

const WrittenCalls::Call* WrittenCalls::of(NodeId id) const {
  const std::size_t call = number_of(id);
  return call < calls_.size() ? &calls_[call] : nullptr;
}

Outline outline_of(const Graph& graph, const WrittenCalls& calls, const std::vector<std::string>& results,
                   const Diagnostics& diagnostics) {
  return Outliner(graph, calls, diagnostics).run(results);
}

}  // namespace nnc
