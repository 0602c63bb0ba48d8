// Expressions, one function a form of the grammar.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "frontend/elaborator.h"
#include "frontend/newcomers.h"
#include "frontend/primitives.h"

namespace nnc {

namespace {

/// Deeper than any program that people write, and shallow enough for the stack.
constexpr int max_depth = 1500;

/// More elements of comprehensions than any program needs; a loop over loops that would take hours stops here.
constexpr std::int64_t most_elements = 1'000'000;

}  // namespace

Term Elaborator::evaluate(const ast::Expr& expr, Scope& scope) {
  if (depth_ > max_depth) return error(Code::nested_too_deep, expr.span, "this is nested too deep");
  ++depth_;
  const std::size_t begin = graph_ && graph_->written ? builder().graph().nodes.size() : 0;
  Term term = evaluate_form(expr, scope);
  --depth_;
  const bool by_operator = std::holds_alternative<ast::Binary>(expr.form) ||
                           std::holds_alternative<ast::Unary>(expr.form) ||
                           std::holds_alternative<ast::Index>(expr.form);
  if (by_operator && graph_ && in_outline(expr.span))
    graph_->written->by_operator(begin, builder().graph().nodes.size());
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
  const auto* member = std::get_if<ast::Member>(&form.callee->form);
  const Term callee = member ? evaluate_member(*member, scope, &form) : evaluate_callee(*form.callee, scope);
  CallSite site{*this, scope, source(form.callee->span), expr.span, form.callee->span, {}};
  for (const ast::Argument& argument : form.arguments)
    site.arguments.push_back(
        {argument.name ? &*argument.name : nullptr, argument.value.get(), nullptr, argument.value->span});
  if (!named) return call(callee, site);
  site.instance_name = std::exchange(instance_name_, "");
  named_expr_ = nullptr;
  return call(callee, site);
}

Term Elaborator::evaluate_member(const ast::Member& form, Scope& scope, const ast::Call* call) {
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
  if (!known_path) {
    std::vector<WrittenArgument> arguments;
    for (const ast::Argument& argument : call ? std::span(call->arguments) : std::span<const ast::Argument>())
      arguments.push_back({argument.name ? argument.name->text : "", source(argument.value->span)});
    return error(Code::type_mismatch, form.base->span, fmt::format("{} has no members", describe(base)), "",
                 repair_of_member(source(form.base->span), form.member.text, arguments, names()));
  }
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
  if (is_broken(prefix) || scope.module().excuses(form.member.text)) return Failed{};
  const std::string whole = source(form.base->span);
  if (const std::vector<std::string> functions = names();
      std::ranges::find(functions, form.member.text) != functions.end())
    return error(Code::unknown_name, form.member.span,
                 fmt::format("`{}` has no part or parameter `{}`", whole, form.member.text), "",
                 fmt::format("what is applied next stands behind: `|> {} |> {}`", whole, form.member.text));
  return unknown_part(form.member.span, whole, form.member.text, known);
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

}  // namespace nnc
