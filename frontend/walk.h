// A walk over expressions for those that look only at a few forms: they say what those mean and take the parts of all
// others as they come.
#pragma once

#include <variant>

#include "frontend/ast.h"

namespace nnc {

namespace walk_detail {

/// What stands directly in each form of expression, in the order of the text.
template <class Visit>
struct Parts {
  Visit& visit;

  void operator()(const ast::Number&) {}
  void operator()(const ast::String&) {}
  void operator()(const ast::Boolean&) {}
  void operator()(const ast::NameUse&) {}
  void operator()(const ast::Ellipsis&) {}
  void operator()(const ast::NewAxis&) {}
  void operator()(const ast::Slice& form) { these(form.begin, form.end, form.step); }
  void operator()(const ast::Unary& form) { these(form.operand); }
  void operator()(const ast::Binary& form) { these(form.left, form.right); }
  void operator()(const ast::Pipe& form) { these(form.left, form.right); }
  void operator()(const ast::Call& form) {
    these(form.callee);
    for (const ast::Argument& argument : form.arguments) these(argument.value);
  }
  void operator()(const ast::Index& form) {
    these(form.base);
    for (const ast::ExprPtr& index : form.indices) these(index);
  }
  void operator()(const ast::Member& form) { these(form.base); }
  void operator()(const ast::List& form) {
    for (const ast::ExprPtr& element : form.elements) these(element);
  }
  void operator()(const ast::Comprehension& form) {
    for (const ast::Comprehension::Loop& loop : form.loops) these(loop.over);
    these(form.element);
  }
  void operator()(const ast::IfExpr& form) { these(form.condition, form.yes, form.no); }

 private:
  template <class... Part>
  void these(const Part&... parts) {
    ((parts ? visit(*parts) : void()), ...);
  }
};

}  // namespace walk_detail

/// Calls visit(const ast::Expr&) for each expression that stands directly in `expr`; a comprehension's loops come
/// before its element, since they bind what that names.
template <class Visit>
void for_each_part(const ast::Expr& expr, Visit&& visit) {
  std::visit(walk_detail::Parts<Visit>{visit}, expr.form);
}

}  // namespace nnc
