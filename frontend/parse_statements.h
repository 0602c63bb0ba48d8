// Blocks and statements, a function a rule of the grammar. An error costs one statement.
#pragma once

#include <utility>

#include "frontend/parse_expressions.h"

namespace nnc::parsing {

class StatementParser : public ExpressionParser {
 protected:
  using ExpressionParser::ExpressionParser;

  /// "{" {one} "}": each of its parts is parsed by `one`, and a part with an error is skipped.
  template <class One>
  Span braces(One&& one) {
    if (!at(Kind::left_brace) || token().line_before)
      fail_expected(
          "`{`", token().line_before && at(Kind::left_brace) ? "the `{` stands on the line of what it belongs to" : "");
    const Span begin = token().span;
    const Level level(*this);
    const int outer = std::exchange(brackets_, 0);
    advance();
    while (!at(Kind::right_brace) && !at(Kind::end_of_file) && !begins_declaration()) {
      const std::size_t start = position_, around = statement_;
      const int nesting = nesting_;
      if (accept(Kind::semicolon)) continue;
      try {
        statement_ = start;
        one();
      } catch (SyntaxError) {
        damaged_ = true;
        pipes_ = 0;
        lose_names(start);
        skip_statement(start);
        settle_brackets(start);
        nesting_ = nesting;
      }
      statement_ = around;
    }
    brackets_ = outer;
    if (!accept(Kind::right_brace)) damaged_ = true;  // which has been reported where it opens
    return span_from(begin);
  }
  /// END = newline | ";" | before "}" .
  void end(std::string_view what);
  std::vector<std::string> states_;  ///< and carries, of the declaration
  Block block();
  Statement stmt();
  [[noreturn]] void fail_no_statement();
  bool at_assignment() const;
  Let assignment();
  Let let();
  If if_stmt();
  Return return_stmt();
  Variable variable();
  Update update();
};

}  // namespace nnc::parsing
