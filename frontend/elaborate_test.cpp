// A `test` block: one graph without leaves. Parameters and states have their initial values in it, `set` gives them
// others, random values are drawn, so whoever evaluates the graph has run the test. Each expectation is a pair of
// results of equal shape; comparing them is left to the caller, who can tell the element where they differ.
//
// For `gradcheck` the block is elaborated again with f64 in place of f32. What a `let` draws or writes down and what a
// parameter starts from is then a parameter of the graph, and its value the result "point NAME".
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "frontend/elaborator.h"
#include "frontend/primitives.h"
#include "ir/nearest.h"

namespace nnc {
namespace {

class TestBlock {
 public:
  TestBlock(Elaborator& elaborator, const Module& module, const ast::Declaration& declaration, bool gradients)
      : e_(elaborator),
        declaration_(declaration),
        test_(std::get<ast::Test>(declaration.form)),
        builder_("test"),
        scope_(module) {
    context_.builder = &builder_;
    context_.stream = "test";
    context_.test = true;
    context_.points = gradients;
    std::vector<std::string> seen;
    module.visible(seen);
    std::map<std::string, std::string> models;
    for (const std::string& name : seen)
      if (std::holds_alternative<ast::Model>(module.find(name)->front().declaration->form)) models[name] = name;
    e_.set_models(std::move(models));
  }

  ElaboratedTest elaborate() {
    e_.set_graph(&context_);
    Elaborator::Frame root;
    root.call = declaration_.head;
    root.name = "test";
    root.makes_instances = true;
    e_.frames().push_back(std::move(root));
    result_.title = test_.title;
    result_.head = declaration_.head;
    for (const ast::Check& check : test_.checks) {
      if (const auto* form = std::get_if<ast::Let>(&check.form)) let(*form);
      if (const auto* form = std::get_if<ast::Set>(&check.form)) set(*form);
      if (const auto* form = std::get_if<ast::Gradcheck>(&check.form)) gradcheck(*form);
      if (const auto* form = std::get_if<ast::Expect>(&check.form)) expect(*form);
    }
    check_pending();
    e_.frames().pop_back();
    result_.graph = e_.finish_graph();
    e_.set_graph(nullptr);
    return std::move(result_);
  }

 private:
  void let(const ast::Let& form) {
    e_.let(form, scope_);
    if (!context_.points) return;
    for (const ast::Name& name : form.names)
      if (Term* bound = scope_.find(name.text))
        if (const Array* array = bound->as<Array>()) *bound = Array{e_.point(name.text, array->node), array->axes};
  }

  // ---- set ---------------------------------------------------------------------------------------------------------

  void set(const ast::Set& form) {
    const Span span = join(form.path.front().span, form.path.back().span);
    const std::string& first = form.path.front().text;
    if (form.path.size() == 1) return set_word(form, first, span);
    const auto prefix = prefix_of(form.path.front());
    if (!prefix) return;
    std::string path = *prefix;
    for (std::size_t i = 1; i < form.path.size(); ++i) path += "." + form.path[i].text;
    const Term value = e_.evaluate(*form.value, scope_);
    if (!value.failed() && !e_.assign_variable(path, value, form.value->span))
      context_.pending.insert_or_assign(path, std::pair(value, span));
  }

  /// The path that the first name of a path stands for: of an instance or a model.
  std::optional<std::string> prefix_of(const ast::Name& name) {
    const Term base = e_.lookup(name.text, name.span, scope_);
    const auto prefix = e_.path_of(base);
    if (!prefix && !base.failed())
      e_.error(Code::type_mismatch, name.span, fmt::format("{} has no members", e_.describe(base)));
    return prefix;
  }

  void set_word(const ast::Set& form, const std::string& word, Span span) {
    if (word == "training") {
      if (const auto value = e_.flag(e_.evaluate(*form.value, scope_), form.value->span, "`training`"))
        context_.training = *value;
      return;
    }
    if (is_run_time_scalar(word)) {
      if (const auto value = e_.number(e_.evaluate(*form.value, scope_), form.value->span, fmt::format("`{}`", word)))
        context_.known_scalars[word] = *value;
      return;
    }
    const std::vector<std::string> known{"training", "step", "epoch", "steps_per_epoch", "total_steps"};
    const std::string near = did_you_mean(word, known);
    e_.error(Code::unknown_name, span, fmt::format("`set` does not know `{}`", word), "",
             near.empty() ? "it sets training, step, epoch, steps_per_epoch, total_steps, and parameters and states "
                            "by path, as in `set B.scale = [1, 2]`"
                          : near);
  }

  /// What was set before an instance was applied must have become a parameter or state of it.
  void check_pending() {
    for (const auto& [path, value] : context_.pending) {
      if (e_.is_broken(path)) continue;
      const std::string whole = path.substr(0, path.rfind('.'));
      std::vector<std::string> known, parts;
      for (const Variable& variable : e_.variables()) {
        known.push_back(variable.path);
        if (variable.path.starts_with(whole + ".") && variable.path.find('.', whole.size() + 1) == std::string::npos)
          parts.push_back(variable.path.substr(whole.size() + 1));
      }
      if (parts.empty() || whole.size() == path.size())
        e_.unknown_name(value.second, "parameter or state", path, known);
      else
        e_.unknown_part(value.second, whole, path.substr(whole.size() + 1), parts);
    }
  }

  // ---- expect ------------------------------------------------------------------------------------------------------

  void expect(const ast::Expect& form) {
    const std::size_t errors = e_.diagnostics.error_count();
    Expectation check{.span = form.value->span};
    if (form.within) {
      const auto within = e_.number(e_.evaluate(*form.within, scope_), form.within->span, "the tolerance");
      check.within = within.value_or(0);
      if (within && !(*within >= 0)) e_.error(Code::bad_number, form.within->span, "a tolerance is at least 0");
    }
    const auto* binary = std::get_if<ast::Binary>(&form.value->form);
    const auto relation = binary ? relation_of(binary->op) : std::nullopt;
    if (relation)
      compare(*binary, *relation, check);
    else
      holds(form, check);
    if (e_.diagnostics.error_count() == errors && !check.left.empty()) result_.expectations.push_back(check);
  }

  static std::optional<Expectation::Relation> relation_of(ast::BinaryOp op) {
    using enum ast::BinaryOp;
    using Relation = Expectation::Relation;
    constexpr std::pair<ast::BinaryOp, Relation> relations[] = {
        {equal, Relation::equal},           {not_equal, Relation::not_equal}, {less, Relation::less},
        {less_equal, Relation::less_equal}, {greater, Relation::greater},     {greater_equal, Relation::greater_equal}};
    for (const auto& [written, relation] : relations)
      if (written == op) return relation;
    return std::nullopt;
  }

  void compare(const ast::Binary& form, Expectation::Relation relation, Expectation& check) {
    const Term left = e_.evaluate(*form.left, scope_), right = e_.evaluate(*form.right, scope_);
    if (left.failed() || right.failed()) return;
    check.relation = relation;
    check.left_text = e_.source(form.left->span);
    check.right_text = e_.source(form.right->span);
    const auto plain = [](const Term& term) {
      const Scalar* scalar = term.as<Scalar>();
      return term.as<nnc::elaboration::Number>() || (scalar && scalar->node.type().dtype != DType::boolean);
    };
    const auto word = [](const Term& term) { return term.as<Flag>() || term.as<Text>(); };
    if (plain(left) && plain(right)) return outputs(e_.rank0(left, DType::f64), e_.rank0(right, DType::f64), check);
    if (word(left) && word(right)) {
      const bool same = left.as<Flag>() && right.as<Flag>()   ? left.as<Flag>()->value == right.as<Flag>()->value
                        : left.as<Text>() && right.as<Text>() ? left.as<Text>()->value == right.as<Text>()->value
                                                              : false;
      return outputs(builder_.constant(same, DType::boolean), builder_.constant(true, DType::boolean), check);
    }
    const Span spans[] = {form.left->span, form.right->span};
    const Term operands[] = {left, right};
    const bool equality = form.op == ast::BinaryOp::equal || form.op == ast::BinaryOp::not_equal;
    const Term met =
        e_.elementwise(equality ? Op::equal : Op::less, operands, spans, form.op_span, e_.source(form.op_span));
    if (met.failed()) return;
    const Array* array = met.as<Array>();
    const Scalar* scalar = met.as<Scalar>();
    if (!array && !scalar) {
      e_.error(Code::no_shape, form.op_span, "neither side has a shape to compare in", "",
               "give one a type by `let`, as in `let a: f32[3] = ...`");
      return;
    }
    const Node& node = builder_[(array ? array->node : scalar->node).id];
    outputs({&builder_, node.operands[0]}, {&builder_, node.operands[1]}, check);
  }

  void holds(const ast::Expect& form, Expectation& check) {
    const Term term = e_.evaluate(*form.value, scope_);
    if (term.failed()) return;
    check.relation = Expectation::Relation::equal;
    check.left_text = e_.source(form.value->span);
    check.right_text = "true";
    const Value yes = builder_.constant(true, DType::boolean);
    if (const Flag* known = term.as<Flag>())
      return outputs(builder_.constant(known->value, DType::boolean), yes, check);
    const Scalar* scalar = term.as<Scalar>();
    const Array* array = term.as<Array>();
    const Value* node = scalar ? &scalar->node : array ? &array->node : nullptr;
    if (node && node->type().dtype == DType::boolean) return outputs(*node, yes, check);
    e_.error(Code::type_mismatch, form.value->span,
             fmt::format("`expect` takes a condition, not {}", e_.describe(term)), "",
             "such as `expect a == b within 1e-6`");
  }

  void outputs(Value left, Value right, Expectation& check) {
    const std::size_t number = result_.expectations.size();
    check.left = fmt::format("{}.left", number);
    check.right = fmt::format("{}.right", number);
    builder_.output(OutputKind::result, check.left, left);
    builder_.output(OutputKind::result, check.right, right);
  }

  // ---- gradcheck ---------------------------------------------------------------------------------------------------

  void gradcheck(const ast::Gradcheck& form) {
    const Span span = form.value->span;
    const auto value = e_.array(e_.evaluate(*form.value, scope_), span, "what `gradcheck` checks", e_.default_float());
    if (!value) return;
    if (!is_float(value->node.type().dtype)) {
      e_.error(Code::type_mismatch, span, fmt::format("{} has no gradient", e_.describe(Term(*value))));
      return;
    }
    GradientCheck check{.span = span};
    if (!context_.points) {
      result_.gradients.push_back(check);
      return;
    }
    const Value total = weighted_sum(value->node);
    const std::vector<bool> reached = e_.reached_from(total.id);
    const std::size_t count = builder_.graph().nodes.size();
    for (NodeId id = 0; id < count; ++id) {
      if (id >= reached.size() || !reached[id] || builder_[id].op != Op::param) continue;
      const std::string name = std::get<Named>(builder_[id].attributes).name;
      check.by.push_back(name);
      check.results.push_back(fmt::format("{}.grad {}", result_.gradients.size(), name));
      builder_.output(OutputKind::result, check.results.back(), builder_.make(Op::grad, {{total, {&builder_, id}}}));
    }
    if (check.by.empty())
      e_.error(Code::bad_variable, span, "`gradcheck` finds nothing to derive by", "",
               "values that a `let` of the test names, and parameters, are varied");
    result_.gradients.push_back(std::move(check));
  }

  /// One number of all elements, each with a weight of its own: a plain sum would hide what cancels.
  Value weighted_sum(Value value) {
    const Type type = value.type();
    const Extent count = element_count(type.shape);
    std::vector<double> weights;
    for (std::int64_t i = 0; i < count.count; ++i) {
      const double spread = static_cast<double>(i + 1) * 0.6180339887498949;
      weights.push_back(0.5 + spread - std::floor(spread));
    }
    std::vector<int> axes;
    for (int axis = 0; axis < type.rank(); ++axis) axes.push_back(axis);
    return builder_.sum(value * builder_.constant(std::move(weights), type), axes);
  }

  Elaborator& e_;
  const ast::Declaration& declaration_;
  const ast::Test& test_;
  Builder builder_;
  GraphContext context_;
  Scope scope_;
  ElaboratedTest result_;
};

}  // namespace

ElaboratedTest elaborate_test(Elaborator& elaborator, const Module& module, const ast::Declaration& test,
                              bool gradients) {
  return TestBlock(elaborator, module, test, gradients).elaborate();
}

// ---- what tests need of the elaborator -----------------------------------------------------------------------------

Value Elaborator::point(const std::string& name, Value node) {
  if (!is_float(node.type().dtype)) return node;
  std::vector<NodeId> open = {node.id};
  std::set<NodeId> seen;
  while (!open.empty()) {
    const NodeId id = open.back();
    open.pop_back();
    if (!seen.insert(id).second) continue;
    if (builder()[id].op == Op::param) return node;  // computed from other points
    for (NodeId operand : builder()[id].operands) open.push_back(operand);
  }
  std::string own = name;
  for (int number = 2; !graph_->point_names.insert(own).second; ++number) own = fmt::format("{}#{}", name, number);
  builder().output(OutputKind::result, "point " + own, node);
  return builder().leaf(Op::param, own, node.type());
}

bool Elaborator::assign_variable(const std::string& path, const Term& value, Span span) {
  const auto at = variable_index_.find(path);
  if (at == variable_index_.end()) return false;
  LoopContext* const loop = std::exchange(graph_->loop, nullptr);
  const auto placed = place(value, variable_types_[at->second], span, fmt::format("`{}`", path));
  graph_->loop = loop;
  if (!placed) return true;
  const Value node = whole_node(*placed);
  graph_->states.insert_or_assign(path, graph_->points ? point(path, node) : named(node));
  return true;
}

void Elaborator::initialise_in_place(const std::string& path, const std::function<Term()>& initial) {
  const auto given = graph_->pending.find(path);
  if (given != graph_->pending.end()) {
    const auto [value, span] = given->second;
    graph_->pending.erase(given);
    assign_variable(path, value, span);
    return;
  }
  std::string outside = std::exchange(graph_->stream, "init/" + path);
  LoopContext* const loop = std::exchange(graph_->loop, nullptr);  // it is made once, not at each step
  const Term value = initial();
  graph_->loop = loop;
  graph_->stream = std::move(outside);
  if (const Array* array = value.as<Array>()) {
    const Value node = whole_node(*array);
    graph_->states.insert_or_assign(path, graph_->points ? point(path, node) : named(node));
  }
}

}  // namespace nnc
