// Expressions and statements, one function a form of the grammar. What a form means for arrays stands in
// elaborate_shapes.cpp (types and places), elaborate_operators.cpp and elaborate_rows.cpp, what it means to apply
// something in elaborate_calls.cpp.
#include "frontend/elaborator.h"
#include "frontend/newcomers.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "frontend/primitives.h"
#include "ir/loops.h"
#include "ir/op.h"

namespace nnc {

namespace {

/// Deeper than any program that people write, and shallow enough for the stack.
constexpr int max_depth = 1500;

/// More elements of comprehensions than any program needs; a loop over loops that would take hours stops here.
constexpr std::int64_t most_elements = 1'000'000;

bool is_capital(const std::string& name) { return !name.empty() && name[0] >= 'A' && name[0] <= 'Z'; }

}  // namespace

// ---- names -------------------------------------------------------------------------------------------------------

bool Scope::define(const std::string& name, Term term) {
  if (find(name)) return false;
  bound_.emplace(name, std::move(term));
  return true;
}

void Scope::assign(const std::string& name, Term term) {
  if (Term* known = find(name))
    *known = std::move(term);
  else
    bound_.emplace(name, std::move(term));
}

Term* Scope::find(const std::string& name) {
  if (const auto at = bound_.find(name); at != bound_.end()) return &at->second;
  return outer_ ? outer_->find(name) : nullptr;
}

const std::vector<Axis>* Scope::ellipsis() const {
  if (ellipsis_) return &*ellipsis_;
  return outer_ ? outer_->ellipsis() : nullptr;
}

std::optional<DType> Scope::floating() const {
  if (floating_) return floating_;
  return outer_ ? outer_->floating() : std::nullopt;
}

void Scope::names(std::vector<std::string>& into) const {
  for (const auto& [name, term] : bound_) into.push_back(name);
  if (outer_) return outer_->names(into);
  module_->visible(into);
}

Term CallSite::evaluate(std::size_t index) {
  CallArgument& argument = arguments[index];
  return argument.value ? *argument.value : elaborator.evaluate(*argument.expr, scope);
}

// ---- graphs ------------------------------------------------------------------------------------------------------

Elaborator::Elaborator(Diagnostics& diagnostics_, const ElaborateOptions& options_)
    : diagnostics(diagnostics_), options(options_) {}

GraphContext* Elaborator::set_graph(GraphContext* graph) { return std::exchange(graph_, graph); }

void Elaborator::finish_updates() {
  for (const std::string& path : graph_->updated) builder().output(OutputKind::update, path, graph_->states.at(path));
}

namespace {

/// The points that a gradient is by, numbered from 1; what no gradient is by is the value itself.
Graph with_asked_points(const Graph& graph) {
  std::set<NodeId> asked;
  for (const Node& node : graph.nodes)
    if (node.op == Op::grad) asked.insert(node.operands[1]);
  Builder builder(graph.name);
  std::int64_t number = 0;
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    const Node& node = graph[id];
    if (node.op != Op::point) return copy_node(builder, node, operands);
    if (!asked.contains(id)) return operands[0];
    builder.set_origin(node.origin);
    return builder.make(Op::point, operands, Numbered{++number});
  });
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

}  // namespace

bool Elaborator::has_name(Value x) {
  const bool plain = graph_->rows || graph_->builder == &init_;  // these have no points
  const Node& node = builder()[x.id];
  const bool leaf = definition(node.op).cls == OpClass::leaf && node.op != Op::constant && node.op != Op::size;
  return plain || leaf || node.op == Op::point || graph_->joint.contains(x.id);
}

Value Elaborator::named(Value x) {
  if (!is_float(x.type().dtype) || has_name(x)) return x;
  Origin made = builder()[x.id].origin;
  made.name.clear();
  builder().set_origin(std::move(made));
  return builder().make(Op::point, {{x}}, Numbered{static_cast<std::int64_t>(builder().graph().nodes.size())});
}

Graph Elaborator::finish_graph() {
  const Graph draft = std::move(*graph_->builder).finish();
  const bool points = std::ranges::any_of(draft.nodes, [](const Node& node) {
    return node.op == Op::point || node.op == Op::scan;  // whose body may have some
  });
  Graph graph = points ? with_bodies(draft, with_asked_points) : draft;
  for (const Node& node : graph.nodes) {
    if (node.op != Op::scalar) continue;
    const std::string& name = std::get<Named>(node.attributes).name;
    if (const auto use = graph_->scalar_uses.find(name); use != graph_->scalar_uses.end())
      error(Code::not_compile_time, use->second, fmt::format("`{}` is known only in training", name), "",
            "it can stand in an optimizer, in its settings and in what only training computes");
  }
  return graph;
}

std::optional<std::string> Elaborator::path_of(const Term& term) const {
  if (const auto* instance = term.as<std::shared_ptr<const Instance>>()) return (*instance)->path;
  if (const Callee* callee = term.as<Callee>())
    if (const auto at = model_paths_.find(callee->name); at != model_paths_.end()) return at->second;
  if (const Host* host = term.as<Host>(); host && host->what == "a path")
    return std::any_cast<std::string>(host->value);
  return std::nullopt;
}

bool Elaborator::knows_below(const std::string& path) const {
  return std::ranges::any_of(variables_,
                             [&](const Variable& variable) { return variable.path.starts_with(path + "."); });
}

bool Elaborator::is_broken(const std::string& path) const {
  const auto is_under = [](const std::string& one, const std::string& other) {
    return other.empty() || one == other || one.starts_with(other + ".");
  };
  return std::ranges::any_of(
      broken_, [&](const std::string& broken) { return is_under(path, broken) || is_under(broken, path); });
}

std::vector<std::size_t> Elaborator::parameters_below(const std::string& path) const {
  std::vector<std::size_t> below;
  for (std::size_t i = 0; i < variables_.size(); ++i)
    if (!variables_[i].is_state && (path.empty() || variables_[i].path.starts_with(path + "."))) below.push_back(i);
  return below;
}

// ---- expressions -------------------------------------------------------------------------------------------------

Term Elaborator::evaluate(const ast::Expr& expr, Scope& scope) {
  if (depth_ > max_depth) return error(Code::nested_too_deep, expr.span, "this is nested too deep");
  ++depth_;
  Term term = evaluate_form(expr, scope);
  --depth_;
  if (const Length* length = term.as<Length>()) {
    const Axis& axis = length->axis;
    if (!axis.extent.batched) return Number{static_cast<double>(axis.extent.count), axis.from, axis.id};
    if (graph_->builder == &init_)
      return error(Code::not_compile_time, expr.span, "an initial value cannot depend on the size of the batch");
    builder().set_origin(origin(expr.span));
    return Scalar{builder().size(axis.extent, DType::f64)};
  }
  return term;
}

Term Elaborator::evaluate_form(const ast::Expr& expr, Scope& scope) {
  struct Visitor {
    Elaborator& e;
    const ast::Expr& expr;
    Scope& scope;
    Term operator()(const ast::Number& form) { return Number{form.value}; }
    Term operator()(const ast::String& form) { return Text{form.value}; }
    Term operator()(const ast::Boolean& form) { return Flag{form.value}; }
    Term operator()(const ast::NameUse& form) {
      return e.settle(e.lookup(form.name, expr.span, scope), expr.span, scope);
    }
    Term operator()(const ast::Ellipsis&) { return misplaced("`...`"); }
    Term operator()(const ast::NewAxis&) { return misplaced("`_`"); }
    Term operator()(const ast::Slice&) { return misplaced("a slice"); }
    Term operator()(const ast::Unary& form) { return e.evaluate_unary(expr, form, scope); }
    Term operator()(const ast::Binary& form) { return e.evaluate_binary(expr, form, scope); }
    Term operator()(const ast::Pipe& form) { return e.evaluate_pipe(form, scope); }
    Term operator()(const ast::Call& form) { return e.evaluate_call(expr, form, scope); }
    Term operator()(const ast::Index& form) { return e.evaluate_index(expr, form, scope); }
    Term operator()(const ast::Member& form) { return e.evaluate_member(form, scope); }
    Term operator()(const ast::List& form) { return e.evaluate_list(expr, form, scope); }
    Term operator()(const ast::Comprehension& form) { return e.evaluate_comprehension(expr, form, scope); }
    Term operator()(const ast::IfExpr& form) { return e.evaluate_if(expr, form, scope); }

    Term misplaced(const std::string& what) {
      return e.error(Code::type_mismatch, expr.span, fmt::format("{} is not a value here", what), "",
                     "it stands for axes: in an index, in a shape, after `over =`");
    }
  };
  return std::visit(Visitor{*this, expr, scope}, expr.form);
}

Term Elaborator::evaluate_callee(const ast::Expr& expr, Scope& scope) {
  if (const auto* name = std::get_if<ast::NameUse>(&expr.form)) return lookup(name->name, expr.span, scope);
  return evaluate(expr, scope);
}

Term Elaborator::lookup(const std::string& name, Span span, Scope& scope) {
  if (const Term* bound = scope.find(name)) return *bound;
  if (const std::vector<Declared>* declared = scope.module().find(name)) {
    if (std::holds_alternative<ast::Const>(declared->front().declaration->form)) return constant(declared->front());
    if (std::holds_alternative<ast::Data>(declared->front().declaration->form))
      return error(Code::type_mismatch, span, fmt::format("`{}` is a data block, not a value", name), "",
                   "its columns are known by their names in a `train` block on it");
    return Callee{name, declared};
  }
  if (name == "training") return Flag{graph_->training};
  if (is_run_time_scalar(name)) {
    if (graph_->rows || graph_->builder == &init_)
      return error(Code::not_compile_time, span, fmt::format("`{}` is known only in training", name));
    if (const auto known = graph_->known_scalars.find(name); known != graph_->known_scalars.end())
      return Scalar{builder().constant(known->second, DType::f64)};
    if (!graph_->scalars) {
      for (auto frame = frames_.rbegin(); in_library(span) && frame != frames_.rend(); ++frame) span = frame->call;
      graph_->scalar_uses.emplace(name, span);
    }
    return Scalar{builder().leaf(Op::scalar, name, Type{DType::f64, {}})};
  }
  if (auto primitive = find_primitive(name)) return primitive;
  if (scope.module().excuses(name)) return Failed{};
  if (graph_->test && frames_.size() == 1 && knows_below(name)) return Host{"a path", name};  // `Block1.Dense1.W`
  std::vector<std::string> known;
  if (!diagnostics.beyond_help()) {
    scope.names(known);
    primitive_names(known);
  }
  return unknown_name(span, "", name, known);
}

/// A function or optimizer that needs no arguments is called where its name stands as a value: `init = zeros`.
Term Elaborator::settle(Term term, Span span, Scope& scope) {
  const Callee* callee = term.as<Callee>();
  const auto* host = term.as<std::shared_ptr<const HostFunction>>();
  if (!callee && !(host && is_shapeless_primitive((*host)->name))) return term;
  if (callee && !needs_no_arguments(*callee)) return term;
  CallSite site{*this, scope, callee ? callee->name : (*host)->name, span, span, {}};
  return call(term, site);
}

Term Elaborator::constant(const Declared& declared) {
  const ast::Declaration* declaration = declared.declaration;
  if (const auto known = constants_.find(declaration); known != constants_.end()) return known->second;
  const auto& form = std::get<ast::Const>(declaration->form);
  if (!constants_open_.insert(declaration).second)
    return error(Code::recursive, form.name.span, fmt::format("`{}` is defined by itself", form.name.text));
  Scope scope(*declared.module);
  std::vector<Frame> outside;
  std::swap(outside, frames_);
  Term term = evaluate(*form.value, scope);
  std::swap(outside, frames_);
  if (const Number* number = term.as<Number>()) {
    if (!declared.module->library)
      term = Number{number->value,
                    because("", fmt::format("const {} = {}", form.name.text, source(form.value->span)),
                            Span{form.name.span.file, declaration->span.begin, declaration->span.end}, number->from)};
  } else if (term.as<Array>() || term.as<Scalar>()) {
    term = error(Code::not_compile_time, form.value->span, "a constant must be known at compile time");
  }
  constants_open_.erase(declaration);
  return constants_.emplace(declaration, std::move(term)).first->second;
}

Term Elaborator::evaluate_unary(const ast::Expr& expr, const ast::Unary& form, Scope& scope) {
  const Term operand = evaluate(*form.operand, scope);
  if (operand.failed()) return Failed{};
  const Span spans[] = {form.operand->span};
  const Term operands[] = {operand};
  switch (form.op) {
    case ast::UnaryOp::negate:
      return elementwise(Op::neg, operands, spans, expr.span, "-");
    case ast::UnaryOp::logical_not:
      if (const Flag* known = operand.as<Flag>()) return Flag{!known->value};
      return elementwise(Op::logical_not, operands, spans, expr.span, "not");
  }
  return Failed{};
}

namespace {

struct BinaryMeaning {
  Op op{};
  bool swapped = false, negated = false;
  const char* shown = "";
};

BinaryMeaning meaning_of(ast::BinaryOp op) {
  using enum ast::BinaryOp;
  switch (op) {
    case logical_or:
      return {Op::logical_or, false, false, "or"};
    case logical_and:
      return {Op::logical_and, false, false, "and"};
    case equal:
      return {Op::equal, false, false, "=="};
    case not_equal:
      return {Op::equal, false, true, "!="};
    case less:
      return {Op::less, false, false, "<"};
    case less_equal:
      return {Op::less_equal, false, false, "<="};
    case greater:
      return {Op::less, true, false, ">"};
    case greater_equal:
      return {Op::less_equal, true, false, ">="};
    case add:
      return {Op::add, false, false, "+"};
    case subtract:
      return {Op::sub, false, false, "-"};
    case multiply:
      return {Op::mul, false, false, "*"};
    case divide:
      return {Op::div, false, false, "/"};
    case floor_divide:
      return {Op::div, false, false, "//"};
    case matmul:
      return {Op::dot, false, false, "@"};
    case power:
      return {Op::pow, false, false, "^"};
  }
  return {};
}

}  // namespace

Term Elaborator::evaluate_binary(const ast::Expr& expr, const ast::Binary& form, Scope& scope) {
  const BinaryMeaning meaning = meaning_of(form.op);
  Term left = evaluate(*form.left, scope);
  if (const Flag* known = left.as<Flag>()) {  // what a compile-time condition excludes is not looked at
    if (form.op == ast::BinaryOp::logical_and && !known->value) return Flag{false};
    if (form.op == ast::BinaryOp::logical_or && known->value) return Flag{true};
  }
  Term right = evaluate(*form.right, scope);
  if (left.failed() || right.failed()) return Failed{};
  Span left_span = form.left->span, right_span = form.right->span;

  if (form.op == ast::BinaryOp::matmul) return matmul(left, right, left_span, right_span, expr.span, form.op_span);
  if (form.op == ast::BinaryOp::floor_divide && (left.as<Scalar>() || right.as<Scalar>())) {
    // At run time: the quotient towards zero, one less where that is above it.
    const Span spans[] = {left_span, right_span};
    const Term quotient = elementwise(Op::div, {{left, right}}, spans, form.op_span, "//");
    const Scalar* q = quotient.as<Scalar>();
    if (!q) return Failed{};
    const Value whole = builder().cast(builder().cast(q->node, DType::i32), DType::f64);
    const Value above = builder().cast(nnc::apply(Op::less, q->node, whole), DType::f64);
    return Scalar{whole - above};
  }
  if (form.op == ast::BinaryOp::floor_divide) {
    const auto a = number(left, left_span, "the left of `//`"), b = number(right, right_span, "the right of `//`");
    if (!a || !b) return Failed{};
    if (*b == 0) return error(Code::type_mismatch, form.op_span, "division by zero");
    const Number *x = left.as<Number>(), *y = right.as<Number>();
    const Provenance* from = x->from ? x->from : y->from;
    return Number{std::floor(*a / *b), from, combined("//", {{left, right}})};
  }
  const bool combines = form.op == ast::BinaryOp::logical_and || form.op == ast::BinaryOp::logical_or;
  if (combines && left.as<Flag>() && right.as<Flag>()) return right;
  if (const Text *a = left.as<Text>(), *b = right.as<Text>(); a && b && meaning.op == Op::equal)
    return Flag{(a->value == b->value) != meaning.negated};
  if (const Flag *a = left.as<Flag>(), *b = right.as<Flag>(); a && b && meaning.op == Op::equal)
    return Flag{(a->value == b->value) != meaning.negated};
  if (meaning.swapped) {
    std::swap(left, right);
    std::swap(left_span, right_span);
  }
  const Term operands[] = {left, right};
  const Span spans[] = {left_span, right_span};
  Term result = elementwise(meaning.op, operands, spans, form.op_span, meaning.shown);
  if (!meaning.negated || result.failed()) return result;
  if (const Flag* known = result.as<Flag>()) return Flag{!known->value};
  return elementwise(Op::logical_not, {{result}}, {{expr.span}}, form.op_span, meaning.shown);
}

/// A chain of pipes is applied from its first one on, so that it may be long: it is no deeper than one of them.
Term Elaborator::evaluate_pipe(const ast::Pipe& form, Scope& scope) {
  std::vector<const ast::Pipe*> chain{&form};
  while (const auto* before = std::get_if<ast::Pipe>(&chain.back()->left->form)) chain.push_back(before);
  Term value = evaluate(*chain.back()->left, scope);
  for (auto pipe = chain.rbegin(); pipe != chain.rend(); ++pipe) value = pass_on(std::move(value), **pipe, scope);
  return value;
}

/// One pipe: its value goes in as the first argument.
Term Elaborator::pass_on(Term value, const ast::Pipe& form, Scope& scope) {
  auto left = std::make_shared<Term>(std::move(value));
  const ast::Call* written = std::get_if<ast::Call>(&form.right->form);
  Term callee = evaluate_callee(written ? *written->callee : *form.right, scope);
  CallSite site{*this,
                scope,
                source(written ? written->callee->span : form.right->span),
                form.right->span,
                written ? written->callee->span : form.right->span,
                {}};
  if (written)
    for (const ast::Argument& argument : written->arguments)
      site.arguments.push_back(
          {argument.name ? &*argument.name : nullptr, argument.value.get(), nullptr, argument.value->span});
  if (makes_applicable(callee)) {
    if (!written)
      return error(Code::type_mismatch, form.right->span,
                   fmt::format("`{}` is a layer, not an instance of one", site.name), "",
                   fmt::format("write `{}`", with_settings(callee, site.name)));
    callee = call(callee, site);  // Dense(256) first makes the instance, repeat(3, Dense(8)) three
    site.arguments.clear();
  }
  site.arguments.insert(site.arguments.begin(), CallArgument{nullptr, nullptr, left, form.left->span});
  return call(callee, site);
}

Term Elaborator::evaluate_call(const ast::Expr& expr, const ast::Call& form, Scope& scope) {
  const bool named = named_expr_ == &expr;
  const Term callee = evaluate_callee(*form.callee, scope);
  CallSite site{*this, scope, source(form.callee->span), expr.span, form.callee->span, {}};
  for (const ast::Argument& argument : form.arguments)
    site.arguments.push_back(
        {argument.name ? &*argument.name : nullptr, argument.value.get(), nullptr, argument.value->span});
  if (!named) return call(callee, site);
  site.instance_name = std::exchange(instance_name_, "");
  named_expr_ = nullptr;
  return call(callee, site);
}

Term Elaborator::evaluate_member(const ast::Member& form, Scope& scope) {
  const auto names = [&] {
    std::vector<std::string> all;
    scope.names(all);
    primitive_names(all);
    return all;
  };
  if (const auto* module = std::get_if<ast::NameUse>(&form.base->form);
      module && is_foreign_module(module->name) && !scope.find(module->name) && !scope.module().find(module->name)) {
    const std::vector<std::string> functions = names();
    std::string help = repair_of_name(form.member.text, functions);
    for (const std::string& function : functions)
      if (function == form.member.text) help = fmt::format("write `{}`: the library has no modules", function);
    return error(Code::unknown_name, form.base->span, fmt::format("there is no `{}`", module->name), "",
                 help.empty() ? repair_of_name(module->name, functions) : help);
  }
  const Term base = evaluate_callee(*form.base, scope);
  if (base.failed()) return Failed{};
  const auto known_path = path_of(base);
  if (!known_path)
    return error(Code::type_mismatch, form.base->span, fmt::format("{} has no members", describe(base)), "",
                 repair_of_member(source(form.base->span), form.member.text, names()));
  const std::string& prefix = *known_path;
  const std::string path = prefix.empty() ? form.member.text : prefix + "." + form.member.text;
  if (const auto at = variable_index_.find(path); at != variable_index_.end()) return read_variable(at->second);
  std::vector<std::string> known;
  bool inside = false;
  for (const Variable& variable : variables_) {
    inside = inside || variable.path.starts_with(path + ".");
    if (prefix.empty() || variable.path.starts_with(prefix + ".")) {
      const std::string rest = variable.path.substr(prefix.empty() ? 0 : prefix.size() + 1);
      known.push_back(rest.substr(0, rest.find('.')));
    }
  }
  if (inside) return Host{"a path", path};
  if (is_broken(prefix)) return Failed{};
  return unknown_part(form.member.span, source(form.base->span), form.member.text, known);
}

namespace {

/// What may stand side by side in a list. A tensor, a number of run time and a value without a shape may be rows or
/// numbers, and truth values where they are boolean.
enum class ElementKind : std::uint8_t { number, row, truth, text, other };

std::set<ElementKind> kinds_of(const Elaborator& e, const Term& term) {
  using enum ElementKind;
  if (term.as<Number>() || term.as<Length>()) return {number};
  if (term.as<Flag>()) return {truth};
  if (term.as<Text>()) return {text};
  if (term.as<Shapeless>()) return {number, row, truth};
  if (const Scalar* scalar = term.as<Scalar>()) return {scalar->node.type().dtype == DType::boolean ? truth : number};
  if (const List* list = term.as<List>()) {
    std::set<ElementKind> kinds{row};
    if (!list->elements.empty() && kinds_of(e, list->elements[0]).contains(text)) kinds = {other};
    return kinds;
  }
  if (const Array* array = term.as<Array>()) {
    const bool one = static_cast<int>(array->axes.size()) == e.hidden_axes(array->axes);
    if (array->node.type().dtype == DType::boolean) return one ? std::set{truth} : std::set{row};
    return one ? std::set{number} : std::set{row};
  }
  return {other};
}

}  // namespace

Term Elaborator::evaluate_list(const ast::Expr& expr, const ast::List& form, Scope& scope) {
  List list{{}, expr.span};
  bool failed = false;
  for (const ast::ExprPtr& element : form.elements) {
    list.elements.push_back(evaluate(*element, scope));
    failed = failed || list.elements.back().failed();
  }
  if (failed) return Failed{};
  std::set<ElementKind> common;
  for (std::size_t i = 0; i < list.elements.size(); ++i) {
    const std::set<ElementKind> kinds = kinds_of(*this, list.elements[i]);
    std::set<ElementKind> both;
    std::ranges::set_intersection(common, kinds, std::inserter(both, both.end()));
    common = i == 0 ? kinds : both;
    if (!common.empty()) continue;
    return report({.code = Code::type_mismatch,
                   .message = "the elements of a list are of one kind",
                   .primary = form.elements[i]->span,
                   .primary_label = describe(list.elements[i]),
                   .labels = {{form.elements[i - 1]->span, describe(list.elements[i - 1])}}});
  }
  return list;
}

Term Elaborator::evaluate_comprehension(const ast::Expr& expr, const ast::Comprehension& form, Scope& scope) {
  List result{{}, expr.span};
  bool failed = false;
  const auto loop = [&](auto&& self, std::size_t level, Scope& outer) -> void {
    if (level == form.loops.size()) {
      if (++elements_ > most_elements) {
        error(Code::bad_number, expr.span, fmt::format("more than {} elements of lists", most_elements));
        failed = true;
        return;
      }
      result.elements.push_back(evaluate(*form.element, outer));
      failed = failed || result.elements.back().failed();
      return;
    }
    const ast::Comprehension::Loop& line = form.loops[level];
    const Term over = evaluate(*line.over, outer);
    const List* list = over.as<List>();
    if (!list) {
      failed = true;
      if (!over.failed())
        error(Code::type_mismatch, line.over->span,
              fmt::format("a comprehension runs over a list, not {}", describe(over)));
      return;
    }
    for (const Term& element : list->elements) {
      Scope inner(outer);
      if (!inner.define(line.variable.text, element)) {
        failed = true;
        error(Code::duplicate_name, line.variable.span, fmt::format("`{}` is bound already", line.variable.text));
        return;
      }
      self(self, level + 1, inner);
      if (failed) return;
    }
  };
  loop(loop, 0, scope);
  if (failed) return Failed{};
  return result;
}

Term Elaborator::evaluate_if(const ast::Expr& expr, const ast::IfExpr& form, Scope& scope) {
  const auto condition = flag(evaluate(*form.condition, scope), form.condition->span, "the condition of `if`");
  if (!condition) return Failed{};
  const ast::Expr& taken = *condition ? *form.yes : *form.no;
  if (named_expr_ == &expr) named_expr_ = &taken;
  return evaluate(taken, scope);
}

// ---- statements --------------------------------------------------------------------------------------------------

namespace {

/// Names of a condition that are numbers, and the numbers.
std::map<std::string, double> numbers_in(const ast::Expr& expr, Scope& scope) {
  std::map<std::string, double> result;
  if (const auto* use = std::get_if<ast::NameUse>(&expr.form)) {
    const Term* bound = scope.find(use->name);
    const Length* length = bound ? bound->as<Length>() : nullptr;
    if (bound && bound->as<Number>()) result[use->name] = bound->as<Number>()->value;
    if (length && !length->axis.extent.batched) result[use->name] = static_cast<double>(length->axis.extent.count);
  } else if (const auto* binary = std::get_if<ast::Binary>(&expr.form)) {
    result = numbers_in(*binary->left, scope);
    result.merge(numbers_in(*binary->right, scope));
  } else if (const auto* unary = std::get_if<ast::Unary>(&expr.form)) {
    result = numbers_in(*unary->operand, scope);
  }
  return result;
}

}  // namespace

void Elaborator::let(const ast::Let& statement, Scope& scope) {
  const bool one = statement.names.size() == 1;
  if (one && scope.find(statement.names[0].text)) {
    if (!statement.reported)
      error(Code::duplicate_name, statement.names[0].span,
            fmt::format("`{}` is bound already in this body", statement.names[0].text), "",
            "a name is bound once; choose another");
    scope.assign(statement.names[0].text, Failed{});  // which of the two is meant below, nobody knows
    return;
  }
  if (one && is_capital(statement.names[0].text)) {
    named_expr_ = statement.value.get();
    instance_name_ = statement.names[0].text;
  }
  Term term = evaluate(*statement.value, scope);
  named_expr_ = nullptr;
  const auto define = [&](const ast::Name& name, Term value) {
    if (const Array* array = value.as<Array>()) {
      const Value own = named(array->node);
      for (const Value node : {array->node, own})
        if (!in_library(name.span)) builder().name_node(node.id, name.text);
      value = Array{own, array->axes};
    }
    if (!scope.define(name.text, std::move(value)))
      error(Code::duplicate_name, name.span, fmt::format("`{}` is bound already in this body", name.text), "",
            "a name is bound once; choose another");
  };
  // A type stands for all names.
  const auto typed = [&](const ast::Name& name, Term value) -> Term {
    if (!statement.type || value.failed()) return value;
    const std::string what = fmt::format("`{}`", name.text);
    if (!statement.type->tensor) return scalar_of(*statement.type, value, statement.value->span, what);
    const auto type = resolve(*statement.type, scope);
    const auto placed = type ? place(value, *type, statement.value->span, what) : std::nullopt;
    return placed ? Term(*placed) : Term(Failed{});
  };
  if (one) return define(statement.names[0], typed(statement.names[0], std::move(term)));
  const Several* several = term.as<Several>();
  if (!term.failed() && (!several || several->values.size() != statement.names.size()))
    error(Code::type_mismatch, statement.value->span,
          fmt::format("{} names for {}", statement.names.size(),
                      several ? fmt::format("{} results", several->values.size()) : describe(term)));
  const bool fits = several && several->values.size() == statement.names.size();
  for (std::size_t i = 0; i < statement.names.size(); ++i)
    define(statement.names[i], fits ? typed(statement.names[i], several->values[i]) : Term(Failed{}));
}

std::optional<Term> Elaborator::execute(const ast::Block& block, Scope& scope) {
  for (const ast::Statement& statement : block.statements) {
    if (const auto* form = std::get_if<ast::Let>(&statement.form)) {
      let(*form, scope);
    } else if (const auto* branch = std::get_if<ast::If>(&statement.form)) {
      if (auto returned = execute_if(*branch, scope)) return returned;
    } else if (const auto* variable = std::get_if<ast::Variable>(&statement.form)) {
      execute_variable(*variable, statement.span, scope);
    } else if (const auto* update = std::get_if<ast::Update>(&statement.form)) {
      execute_update(*update, scope);
    } else if (const auto* condition = std::get_if<ast::Expect>(&statement.form)) {
      execute_expect(*condition, scope);
    } else if (const auto* last = std::get_if<ast::Return>(&statement.form)) {
      Several several;
      for (const ast::ExprPtr& value : last->values) several.values.push_back(evaluate(*value, scope));
      returned_at_ = last->values.front()->span;
      return several.values.size() == 1 ? several.values.front() : Term(std::move(several));
    }
  }
  return std::nullopt;
}

std::optional<Term> Elaborator::execute_if(const ast::If& form, Scope& scope) {
  const auto condition = flag(evaluate(*form.condition, scope), form.condition->span, "the condition of `if`");
  if (!condition) return Failed{};  // either branch might return
  Scope inner(scope);
  if (*condition) return execute(form.yes, inner);
  if (form.no) return execute(*form.no, inner);
  return std::nullopt;
}

void Elaborator::execute_variable(const ast::Variable& form, Span span, Scope& scope) {
  using enum ast::Variable::Kind;
  Frame* frame = frames_.empty() ? nullptr : &frames_.back();
  const char* word = form.kind == param ? "param" : form.kind == state ? "state" : "carry";
  const auto fail = [&] {
    if (!scope.define(form.name.text, Failed{})) (void)0;
  };
  const auto clash = [&] {
    const bool dimension = scope.find(form.name.text)->as<Length>() != nullptr;
    error(Code::duplicate_name, form.name.span, fmt::format("`{}` is bound already in this body", form.name.text), "",
          dimension ? fmt::format("it is a dimension of the signature; name that one `Rows`, `Cols`, ...")
                    : "a name is bound once; choose another");
    scope.assign(form.name.text, Failed{});  // which of the two is meant below, nobody knows
  };
  if (form.kind == carry && (!graph_->loop || !frame)) {
    needs_scan = true;
    error(Code::bad_variable, span, "`carry` stands in a layer that is scanned", "",
          "it goes from step to step: apply the layer by `x |> scan(Cell(64))`");
    return fail();
  }
  const bool in_optimizer = frame && !frame->state_suffix.empty();
  if (!frame || !(frame->makes_instances || (in_optimizer && form.kind == state))) {
    error(Code::bad_variable, form.name.span,
          fmt::format("`{}` cannot stand in a {}", word, in_optimizer ? "an optimizer" : "function"), "",
          "functions are pure; parameters and states belong to layers");
    return fail();
  }
  const auto type = resolve(form.type, scope);
  if (!type) return fail();
  if (form.kind == param && !is_float(type->dtype)) {
    error(Code::bad_variable, form.type.span, "a parameter has floating elements");
    return fail();
  }
  const std::string path = (frame->path.empty() ? "" : frame->path + ".") + form.name.text + frame->state_suffix;
  const auto first_value = [&]() -> Term {
    const Term initial = evaluate(*form.value, scope);
    if (initial.failed()) return Failed{};
    const auto placed = place(initial, *type, form.value->span, fmt::format("`{}`", form.name.text));
    return placed ? Term(*placed) : Term(Failed{});
  };
  if (form.kind == carry) {
    const Term value = declare_carry(path, *type, form.value->span, first_value);
    frames_.back().states[form.name.text] = {path, *type};
    frames_.back().carries.insert(form.name.text);
    if (!scope.define(form.name.text, value)) clash();
    return;
  }
  const bool fresh = declare_variable(path, *type, form.kind == state, form.name.span, first_value);
  const auto at = variable_index_.find(path);
  if (!fresh || at == variable_index_.end()) return fail();
  frames_.back().states[form.name.text] = {path, *type};
  if (!scope.define(form.name.text, read_variable(at->second))) clash();
}

Term Elaborator::read_variable(std::size_t index) {
  const Variable& variable = variables_[index];
  graph_->touched.emplace(variable.path, variable.is_state ? ast::Variable::Kind::state : ast::Variable::Kind::param);
  const std::vector<Axis>& axes = variable_types_[index].axes;
  if (!variable.is_state && graph_->averages)
    if (const std::string average = average_path(variable.path); variable_index_.contains(average))
      return wrap(builder().leaf(Op::state, average, variable.type), axes);
  if (variable.is_state && graph_->loop) return wrap(state_in_loop(variable.path, variable.type), axes);
  if (const auto now = graph_->states.find(variable.path); now != graph_->states.end()) return wrap(now->second, axes);
  return wrap(builder().leaf(variable.is_state ? Op::state : Op::param, variable.path, variable.type), axes);
}

bool Elaborator::declare_variable(const std::string& path, const ArrayType& type, bool is_state, Span span,
                                  const std::function<Term()>& initial) {
  const Type wanted = type_of(type);
  if (const auto at = variable_index_.find(path); at != variable_index_.end()) {
    const Variable& known = variables_[at->second];
    if (known.type == wanted && known.is_state == is_state) return true;
    Diagnostic diagnostic{
        .code = Code::shape_mismatch,
        .message = fmt::format("`{}` is {} here and {} elsewhere", path, to_string(wanted), to_string(known.type)),
        .primary = span,
        .help = "an instance that is used twice has one set of parameters; make two instances, or the same widths"};
    const std::vector<Axis>&here = type.axes, &before = variable_types_[at->second].axes;
    for (std::size_t i = 0; i < std::min(here.size(), before.size()); ++i)
      if (here[i].extent != before[i].extent)
        diagnostic.notes = {fmt::format("here:      {}", story(here[i])),
                            fmt::format("elsewhere: {}", story(before[i]))};
    report(std::move(diagnostic));
    return false;
  }
  if (frozen_) {
    error(Code::bad_variable, span, fmt::format("`{}` exists only where `training` is false", path), "",
          "both values of `training` must make the same parameters and states");
    return false;
  }
  if (is_batched(wanted.shape)) {
    error(Code::bad_variable, span, fmt::format("`{}` would have an axis as long as the batch", path), "",
          graph_->loop
              ? "a step of a sequence [batch, steps, width] is [batch, width]: what is scanned here has no width"
              : "parameters and states have a fixed size");
    return false;
  }
  variable_index_.emplace(path, variables_.size());
  variables_.push_back({path, wanted, is_state});
  variable_types_.push_back(type);
  if (graph_->test) {
    initialise_in_place(path, initial);
    return true;
  }
  GraphContext context{.builder = &init_, .training = graph_->training, .stream = "init/" + path};
  GraphContext* outside = set_graph(&context);
  const Term value = initial();
  if (const Array* array = value.as<Array>()) init_.output(OutputKind::update, path, whole_node(*array));
  set_graph(outside);
  return true;
}

/// What a body expects of its settings: a condition that is known now. One that is known only in training (of a rate
/// that a schedule gives) is not looked at.
void Elaborator::execute_expect(const ast::Expect& form, Scope& scope) {
  const Term term = evaluate(*form.value, scope);
  if (term.as<Scalar>() && term.as<Scalar>()->node.type().dtype == DType::boolean) return;
  const auto holds = flag(term, form.value->span, "what a body expects");
  if (!holds || *holds || frames_.empty()) return;
  Diagnostic diagnostic{.code = Code::not_as_expected,
                        .message = fmt::format("`{}` expects `{}`", frames_.back().name, source(form.value->span)),
                        .primary = frames_.back().call,
                        .notes = {}};
  if (!in_library(form.value->span)) diagnostic.labels = {{form.value->span, "expected here"}};
  for (const auto& [name, value] : numbers_in(*form.value, scope))
    diagnostic.notes.push_back(fmt::format("`{}` is {}", name, value));
  report(std::move(diagnostic));
}

void Elaborator::execute_update(const ast::Update& form, Scope& scope) {
  Frame* frame = frames_.empty() ? nullptr : &frames_.back();
  const auto at = frame ? frame->states.find(form.name.text) : decltype(frame->states.end()){};
  if (!frame || at == frame->states.end()) {
    if (const Term* bound = scope.find(form.name.text); bound && bound->failed()) return;
    std::vector<std::string> known;
    if (frame)
      for (const auto& [name, state] : frame->states) known.push_back(name);
    unknown_name(form.name.span, "state or carry", form.name.text, known);
    return;
  }
  const auto [path, type] = at->second;
  const bool carried = frame->carries.contains(form.name.text);
  if (!carried && !variables_[variable_index_.at(path)].is_state) {
    error(Code::bad_variable, form.name.span,
          fmt::format("`{}` is a parameter; only the optimizer changes it", form.name.text));
    return;
  }
  if (!carried && !frame->updates) return;  // void in inference
  const Term term = evaluate(*form.value, scope);
  const auto placed =
      term.failed() ? std::nullopt : place(term, type, form.value->span, fmt::format("`{}`", form.name.text));
  if (!placed) return scope.assign(form.name.text, Failed{});
  const Value node = whole_node(*placed);
  if (carried) return scope.assign(form.name.text, update_carry(path, node));
  graph_->states.insert_or_assign(path, node);
  if (std::ranges::find(graph_->updated, path) == graph_->updated.end()) graph_->updated.push_back(path);
  scope.assign(form.name.text, wrap(node, type.axes));
}

}  // namespace nnc
