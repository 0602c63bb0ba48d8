// Expressions and types, a function a rule of the grammar.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>

#include "frontend/parse_cursor.h"

namespace nnc::parsing {

class ExpressionParser : public ParseCursor {
 protected:
  using ParseCursor::ParseCursor;

  /// An operand stands on the line of its operator, unless brackets or a comma let it wait.
  void operand_on_this_line();
  /// A binary operator goes on with an expression only on the same line or inside brackets.
  bool at_operator(Kind kind) const { return at(kind) && (!token().line_before || brackets_ > 0); }
  template <class Form>
  ExprPtr make(Span begin, Form form, std::initializer_list<std::uint16_t> depths = {}) {
    int depth = 0;
    for (const std::uint16_t child : depths) depth = std::max<int>(depth, child);
    if (depth >= max_expression_depth)
      fail(Code::nested_too_deep, begin, "this expression is too deep",
           fmt::format("at most {} operators may hang on each other; name parts of it with `let`",
                       max_expression_depth));
    auto result = std::make_unique<Expr>();
    result->span = span_from(begin);
    result->depth = static_cast<std::uint16_t>(depth + 1);
    result->form = std::move(form);
    return result;
  }
  ExprPtr binary(BinaryOp op, Span op_span, ExprPtr left, ExprPtr right);
  struct Operator {
    Kind kind;
    BinaryOp op;
  };
  const Operator* operator_of(std::span<const Operator> operators) const;
  /// operand {operator operand}, to the left.
  template <class Operand>
  ExprPtr left_associative(std::span<const Operator> operators, Operand&& operand) {
    ExprPtr left = operand();
    while (const Operator* found_operator = operator_of(operators)) {
      const Span op_span = token().span;
      advance();
      ExprPtr right = operand();
      left = binary(found_operator->op, op_span, std::move(left), std::move(right));
    }
    return left;
  }
  /// The pipes of a statement, however they lie within each other: a tree is walked by recursion.
  static constexpr int max_pipes = 3000;
  int pipes_ = 0;
  ExprPtr expr();
  ExprPtr or_expr();
  ExprPtr and_expr();
  ExprPtr not_expr();
  ExprPtr cmp();
  ExprPtr sum();
  ExprPtr term();
  ExprPtr unary();
  ExprPtr postfix();
  ExprPtr call(ExprPtr callee);
  Argument arg();
  ExprPtr expr_or_ellipsis();
  ExprPtr index(ExprPtr base);
  ExprPtr index_item();
  ExprPtr atom();
  [[noreturn]] void fail_no_expression();
  ExprPtr number();
  std::string string_token(std::string_view what);
  ExprPtr parenthesised();
  ExprPtr list();
  ExprPtr comprehension(Bracket& bracket, ExprPtr element);
  ExprPtr ifx();
  ExprPtr braced();
  TypeExpr type();
  [[noreturn]] void fail_no_type();
  std::vector<Dim> dims();
  Dim dim();
};

}  // namespace nnc::parsing
