#include "frontend/parse_statements.h"

#include <algorithm>

#include "frontend/newcomers.h"
#include "ir/nearest.h"

namespace nnc::parsing {

void StatementParser::end(std::string_view what) {
  pipes_ = 0;
  if (lacks_bracket(statement_)) throw SyntaxError{};
  if (accept(Kind::semicolon)) return;
  if (token().line_before || at(Kind::right_brace) || at(Kind::end_of_file)) return;
  std::string help;
  if (at(Kind::assign)) help = "`==` compares";
  if (at(Kind::name) || at(Kind::number)) help = repair_of_word(text(tokens_[position_ - 1]));
  const std::vector<std::string> joining{"and", "or"};
  if (at(Kind::name) && help.empty()) help = did_you_mean(text(token()), joining);
  if (at(Kind::kw_if)) help = "write `if c { a } else { b }`";
  if (at(Kind::comma)) help = "a statement ends with its line, without a comma";
  if (token().kind >= Kind::equal && after_on_line(Kind::pipe)) help = "put the pipe in parentheses: `(x |> f) + y`";
  if (at(Kind::double_slash) || after_on_line(Kind::double_slash)) help = repair_of_word("//");
  fail(Code::unexpected_token, token().span, fmt::format("expected the end of {}, found {}", what, found()),
       std::move(help));
}

// block = "{" {stmt} "}" .
Block StatementParser::block() {
  Block result;
  result.span = braces([&] { result.statements.push_back(stmt()); });
  return result;
}

// stmt = let | if | "return" expr {"," expr} END
//      | ("param"|"state"|"carry") name ":" type "=" expr END | "update" name "=" expr END | "expect" expr END .
Statement StatementParser::stmt() {
  const Span begin = token().span;
  Statement result;
  if (at(Kind::kw_let)) {
    result.form = let();
  } else if (at(Kind::kw_if)) {
    result.form = if_stmt();
  } else if (accept(Kind::kw_return)) {
    result.form = return_stmt();
  } else if (at(Kind::kw_param) || at(Kind::kw_state) || at(Kind::kw_carry)) {
    result.form = variable();
  } else if (accept(Kind::kw_update)) {
    result.form = update();
  } else if (at_assignment()) {
    result.form = assignment();
  } else if (at_word("expect")) {
    advance();
    result.form = Expect{.value = expr(), .within = {}};
    end("the statement");
  } else {
    fail_no_statement();
  }
  result.span = span_from(begin);
  return result;
}

void StatementParser::fail_no_statement() {
  static const std::vector<std::string> words{"let", "if", "return", "param", "state", "carry", "update", "expect"};
  std::string help = repair_of_word(text(token()));
  if (help.empty() && token().kind >= Kind::equal) help = goes_on;
  if (help.empty() && next().kind == Kind::colon && position_ + 2 < tokens_.size() &&
      tokens_[position_ + 2].kind == Kind::assign)
    help = repair_of_word(":=");
  const bool two_words = at(Kind::name) && !next().line_before && next().kind == Kind::name;
  if (help.empty() && at(Kind::name)) help = did_you_mean(text(token()), words);
  if (help.empty() && at(Kind::name) && !two_words) help = "a value is given back by `return`, or named by `let`";
  fail(Code::unexpected_token, token().span, fmt::format("expected a statement, found {}", found()),
       help.empty() ? "statements begin with let, if, return, param, state, carry, update or expect" : help);
}

/// `x = e` and `x += e` without `let`: reported, and read as what was meant, so that `x` is known below.
Let StatementParser::assignment() {
  const bool changes = next().kind != Kind::assign;
  const Token& value = tokens_[std::min(position_ + 2, tokens_.size() - 1)];
  if (!changes && (value.kind == Kind::kw_param || value.kind == Kind::kw_state))
    fail(Code::unexpected_token, token().span, fmt::format("expected a statement, found {}", found()),
         fmt::format("write `{} {}: float[...] = zeros`, with its type and what it starts from", text(value),
                     text(token())));
  Let result;
  result.reported = true;
  result.names.push_back(name());
  const bool is_state = std::ranges::find(states_, result.names[0].text) != states_.end();
  diagnostics_.report({.code = Code::unexpected_token,
                       .message = fmt::format("expected a statement, found {}", backquoted(result.names[0].text)),
                       .primary = result.names[0].span,
                       .help = is_state  ? fmt::format("write `update {} = ...`", result.names[0].text)
                               : changes ? "a name is bound once: write `let y = x + ...`, or `update` for a state"
                                         : fmt::format("write `let {} = ...` to name a value", result.names[0].text)});
  damaged_ = true;
  if (changes) advance();
  expect(Kind::assign);
  result.value = expr();
  end("the statement");
  return result;
}

/// name "=", or name op "=" with nothing between the two.
bool StatementParser::at_assignment() const {
  if (!at(Kind::name) || next().line_before) return false;
  if (next().kind == Kind::assign) return true;
  const bool op = next().kind == Kind::plus || next().kind == Kind::minus || next().kind == Kind::star ||
                  next().kind == Kind::slash;
  return op && position_ + 2 < tokens_.size() && tokens_[position_ + 2].kind == Kind::assign &&
         tokens_[position_ + 2].span.begin == next().span.end;
}

// let = "let" name {"," name} [":" type] "=" expr END .
Let StatementParser::let() {
  expect(Kind::kw_let);
  Let result;
  do {
    if (at(Kind::left_paren) || at(Kind::kw_let))
      fail_expected("a name", "several results have their names side by side: `let a, b = f(x)`");
    result.names.push_back(name());
  } while (accept(Kind::comma));
  if (accept(Kind::colon)) result.type = type();
  std::string help = at(Kind::name) ? repair_of_word(result.names.back().text) : "";
  if (help.empty() && !result.type && next().kind == Kind::left_bracket)
    help = fmt::format("a type stands behind a colon: `let {}: f32[...] = ...`", result.names.back().text);
  expect(Kind::assign, help);
  result.value = expr();
  end("the statement");
  return result;
}

// if = "if" expr block ["else" (block | if)] .
If StatementParser::if_stmt() {
  const Level level(*this);
  expect(Kind::kw_if);
  If result;
  result.condition = expr();
  result.yes = block();
  if (!accept(Kind::kw_else)) return result;
  if (!at(Kind::kw_if)) {
    result.no = block();
    return result;
  }
  Statement nested{.span = token().span, .form = if_stmt()};
  nested.span = span_from(nested.span);
  result.no.emplace();
  result.no->span = nested.span;
  result.no->statements.push_back(std::move(nested));
  return result;
}

Return StatementParser::return_stmt() {
  Return result;
  do result.values.push_back(expr());
  while (accept(Kind::comma));
  end("the statement");
  return result;
}

Variable StatementParser::variable() {
  Variable result;
  result.kind = at(Kind::kw_param)   ? Variable::Kind::param
                : at(Kind::kw_state) ? Variable::Kind::state
                                     : Variable::Kind::carry;
  const std::string word(text(token()));
  advance();
  result.name = name();
  if (result.kind != Variable::Kind::param) states_.push_back(result.name.text);
  expect(Kind::colon, fmt::format("write its type, as in `{} {}: float[In, out] = zeros`", word, result.name.text));
  result.type = type();
  expect(Kind::assign, "it needs a value to start from, as in `= zeros`");
  result.value = expr();
  end("the statement");
  return result;
}

Update StatementParser::update() {
  Update result;
  result.name = name();
  expect(Kind::assign);
  result.value = expr();
  end("the statement");
  return result;
}

}  // namespace nnc::parsing
