#include "frontend/parse_expressions.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>

#include "frontend/newcomers.h"

namespace nnc::parsing {
namespace {

std::uint16_t depth_of(const ExprPtr& expr) { return expr ? expr->depth : std::uint16_t{0}; }

}  // namespace

void ExpressionParser::operand_on_this_line() {
  if (!token().line_before || brackets_ > 0 || position_ == 0 || tokens_[position_ - 1].kind == Kind::comma) return;
  fail_expected("an expression", goes_on);
}

ExprPtr ExpressionParser::binary(BinaryOp op, Span op_span, ExprPtr left, ExprPtr right) {
  const Span begin = left->span;
  const auto depths = {left->depth, right->depth};
  return make(begin, Binary{op, op_span, std::move(left), std::move(right)}, depths);
}

const ExpressionParser::Operator* ExpressionParser::operator_of(std::span<const Operator> operators) const {
  for (const Operator& candidate : operators)
    if (at_operator(candidate.kind)) return &candidate;
  return nullptr;
}

// expr = or {"|>" postfix} .
ExprPtr ExpressionParser::expr() {
  ExprPtr left = or_expr();
  while (at(Kind::pipe)) {
    const Span op_span = token().span;
    advance();
    operand_on_this_line();
    if (++pipes_ > max_pipes)
      fail(Code::nested_too_deep, op_span, "this statement has too many pipes",
           fmt::format("at most {}; name what a part of it gives with `let`, or use `repeat`", max_pipes));
    ExprPtr right = postfix();
    const Span begin = left->span;
    const std::uint16_t depth = std::max(left->depth, static_cast<std::uint16_t>(right->depth + 1));
    left = make(begin, Pipe{op_span, std::move(left), std::move(right)}, {});
    left->depth = depth;  // however long the chain is, it is as deep as its deepest part
  }
  return left;
}

// or = and {"or" and} .
ExprPtr ExpressionParser::or_expr() {
  static constexpr Operator operators[] = {{Kind::kw_or, BinaryOp::logical_or}};
  return left_associative(operators, [&] { return and_expr(); });
}

// and = not {"and" not} .
ExprPtr ExpressionParser::and_expr() {
  static constexpr Operator operators[] = {{Kind::kw_and, BinaryOp::logical_and}};
  return left_associative(operators, [&] { return not_expr(); });
}

// not = "not" not | cmp .
ExprPtr ExpressionParser::not_expr() {
  operand_on_this_line();
  if (!at(Kind::kw_not)) return cmp();
  const Level level(*this);
  const Span op_span = token().span;
  advance();
  ExprPtr operand = not_expr();
  const auto depths = {operand->depth};
  return make(op_span, Unary{UnaryOp::logical_not, op_span, std::move(operand)}, depths);
}

// cmp = sum [("=="|"!="|"<"|"<="|">"|">=") sum] .
ExprPtr ExpressionParser::cmp() {
  static constexpr Operator operators[] = {
      {Kind::equal, BinaryOp::equal},     {Kind::not_equal, BinaryOp::not_equal},
      {Kind::less, BinaryOp::less},       {Kind::less_equal, BinaryOp::less_equal},
      {Kind::greater, BinaryOp::greater}, {Kind::greater_equal, BinaryOp::greater_equal}};
  ExprPtr left = sum();
  const Operator* comparison = operator_of(operators);
  if (!comparison) return left;
  const Span op_span = token().span;
  advance();
  ExprPtr right = sum();
  if (operator_of(operators))
    fail(Code::chained_comparison, token().span, "comparisons do not chain",
         fmt::format("write `a {} b and b {} c`", diagnostics_.text(op_span), text(token())));
  return binary(comparison->op, op_span, std::move(left), std::move(right));
}

// sum = term {("+"|"-") term} .
ExprPtr ExpressionParser::sum() {
  static constexpr Operator operators[] = {{Kind::plus, BinaryOp::add}, {Kind::minus, BinaryOp::subtract}};
  return left_associative(operators, [&] { return term(); });
}

// term = unary {("*"|"/"|"//"|"@") unary} .
ExprPtr ExpressionParser::term() {
  static constexpr Operator operators[] = {{Kind::star, BinaryOp::multiply},
                                           {Kind::slash, BinaryOp::divide},
                                           {Kind::double_slash, BinaryOp::floor_divide},
                                           {Kind::at, BinaryOp::matmul}};
  return left_associative(operators, [&] { return unary(); });
}

// unary = "-" unary | postfix ["^" unary] .
ExprPtr ExpressionParser::unary() {
  operand_on_this_line();
  const Span op_span = token().span;
  if (at(Kind::minus)) {
    const Level level(*this);
    advance();
    ExprPtr operand = unary();
    const auto depths = {operand->depth};
    return make(op_span, Unary{UnaryOp::negate, op_span, std::move(operand)}, depths);
  }
  ExprPtr base = postfix();
  if (!at_operator(Kind::caret)) return base;
  const Level level(*this);
  const Span caret = token().span;
  advance();
  ExprPtr exponent = unary();
  return binary(BinaryOp::power, caret, std::move(base), std::move(exponent));
}

// postfix = atom {"(" [arg {"," arg} [","]] ")" | "[" index {"," index} "]" | "." name} .
ExprPtr ExpressionParser::postfix() {
  ExprPtr base = atom();
  for (;;) {
    if (at_operator(Kind::left_paren)) {
      base = call(std::move(base));
    } else if (at_operator(Kind::left_bracket)) {
      base = index(std::move(base));
    } else if (at_operator(Kind::dot)) {
      advance();
      Name member = name("a member's name");
      const Span begin = base->span;
      const auto depths = {base->depth};
      base = make(begin, Member{std::move(base), std::move(member)}, depths);
    } else {
      return base;
    }
  }
}

ExprPtr ExpressionParser::call(ExprPtr callee) {
  const Span begin = callee->span;
  std::uint16_t depth = callee->depth;
  Call result{.callee = std::move(callee), .arguments = {}};
  Bracket bracket(*this, Kind::right_paren);
  while (!bracket.at_end()) {
    result.arguments.push_back(arg());
    depth = std::max(depth, depth_of(result.arguments.back().value));
    if (!accept(Kind::comma)) break;
  }
  bracket.close("`,` or ");
  return make(begin, std::move(result), {depth});
}

// arg = [name "="] (expr | "...") .
Argument ExpressionParser::arg() {
  Argument result;
  if (at(Kind::name) && next().kind == Kind::assign) {
    result.name = name();
    advance();
  }
  result.value = expr_or_ellipsis();
  return result;
}

// el = expr | "..." .
ExprPtr ExpressionParser::expr_or_ellipsis() {
  if (accept(Kind::ellipsis)) return make(last_span(), Ellipsis{});
  return expr();
}

ExprPtr ExpressionParser::index(ExprPtr base) {
  const Span begin = base->span;
  std::uint16_t depth = base->depth;
  Index result{.base = std::move(base), .indices = {}};
  Bracket bracket(*this, Kind::right_bracket);
  do {
    result.indices.push_back(index_item());
    depth = std::max(depth, result.indices.back()->depth);
  } while (accept(Kind::comma) && !bracket.at_end());
  bracket.close("`,` or ");
  return make(begin, std::move(result), {depth});
}

// index = "..." | "_" | [expr] ":" [expr] [":" expr] | expr .
ExprPtr ExpressionParser::index_item() {
  if (accept(Kind::ellipsis)) return make(last_span(), Ellipsis{});
  if (accept(Kind::underscore)) return make(last_span(), NewAxis{});
  const Span begin = token().span;
  Slice slice;
  if (!at(Kind::colon)) slice.begin = expr();
  if (!at(Kind::colon)) return std::move(slice.begin);
  advance();
  const auto bound_here = [&] { return !at(Kind::colon) && !at(Kind::comma) && !at(Kind::right_bracket); };
  if (bound_here()) slice.end = expr();
  if (accept(Kind::colon)) slice.step = expr();
  const auto depths = {depth_of(slice.begin), depth_of(slice.end), depth_of(slice.step)};
  return make(begin, std::move(slice), depths);
}

// atom = NUM | STR | "true" | "false" | name | "(" expr ")" | ifx | "[" ... "]" .
ExprPtr ExpressionParser::atom() {
  const Span begin = token().span;
  switch (token().kind) {
    case Kind::number:
      return number();
    case Kind::string: {
      std::string value = string_token("a string");
      return make(begin, String{std::move(value)});
    }
    case Kind::kw_true:
    case Kind::kw_false: {
      const bool value = at(Kind::kw_true);
      advance();
      return make(begin, Boolean{value});
    }
    case Kind::name:
      advance();
      return make(begin, NameUse{std::string(diagnostics_.text(begin))});
    case Kind::left_paren:
      return parenthesised();
    case Kind::left_bracket:
      return list();
    case Kind::kw_if:
      return ifx();
      // clang-format off
    case Kind::end_of_file: case Kind::kw_let: case Kind::kw_return: case Kind::kw_else: case Kind::kw_param:
    case Kind::kw_state: case Kind::kw_carry: case Kind::kw_update: case Kind::kw_and: case Kind::kw_or:
    case Kind::kw_not: case Kind::kw_for: case Kind::kw_in: case Kind::right_paren: case Kind::right_bracket:
    case Kind::left_brace: case Kind::right_brace: case Kind::comma: case Kind::colon: case Kind::semicolon:
    case Kind::dot: case Kind::ellipsis: case Kind::underscore: case Kind::assign: case Kind::arrow: case Kind::pipe:
    case Kind::equal: case Kind::not_equal: case Kind::less: case Kind::less_equal: case Kind::greater:
    case Kind::greater_equal: case Kind::plus: case Kind::minus: case Kind::star: case Kind::slash:
    case Kind::double_slash: case Kind::at: case Kind::caret:
      // clang-format on
      break;
  }
  fail_no_expression();
}

void ExpressionParser::fail_no_expression() {
  std::string help;
  if (at(Kind::left_brace)) help = "lists stand in brackets, as in `[1, 2]`";
  if (at(Kind::plus)) help = "there is no sign `+`";
  if (at(Kind::kw_not)) help = "put `not ...` in parentheses here";
  const std::string_view word = diagnostics_.text(token().span);
  if (!word.empty() && std::isalpha(static_cast<unsigned char>(word[0])) && position_ + 1 < tokens_.size() &&
      tokens_[position_ + 1].kind == Kind::assign)
    help = fmt::format("`{}` is a word of the language and cannot be a name", word);
  if (at(Kind::greater) && position_ > 0 && tokens_[position_ - 1].kind == Kind::greater) help = repair_of_word(">>");
  fail_expected("an expression", std::move(help));
}

namespace {

/// Compares whole numbers by their digits, since doubles round.
bool is_beyond(std::string_view digits, std::string_view most) {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits.size() > most.size() || (digits.size() == most.size() && digits > most);
}

}  // namespace

ExprPtr ExpressionParser::number() {
  const Span begin = token().span;
  std::string digits(text(token()));
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  advance();
  Number result;
  result.integer = digits.find_first_not_of("0123456789") == std::string::npos;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), result.value);
  // What is no number at all was reported by the lexer; its value does not matter any more.
  if (failed == std::errc::result_out_of_range && digits.find("e-") == std::string::npos &&
      digits.find("E-") == std::string::npos)
    fail(Code::malformed_number, begin, "the number is larger than any double");
  if (result.integer && is_beyond(digits, "9007199254740992"))
    fail(Code::malformed_number, begin, "a whole number this large is not exact",
         "whole numbers go to 2^53; with a point or an exponent it is rounded to a double");
  return make(begin, result);
}

std::string ExpressionParser::string_token(std::string_view what) {
  if (!at(Kind::string)) fail_expected(what);
  const Span at_string = token().span;
  std::string_view raw = text(token());
  advance();
  const std::size_t quote = raw.starts_with('"') || raw.starts_with('\'') ? 1 : 3;
  raw.remove_prefix(quote);
  if (raw.size() >= quote) raw.remove_suffix(quote);
  std::string result;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      result += raw[i];
      continue;
    }
    const char escaped = ++i < raw.size() ? raw[i] : '\\';
    if (escaped == 'n') {
      result += '\n';
    } else if (escaped == 't') {
      result += '\t';
    } else if (escaped == '"' || escaped == '\\') {
      result += escaped;
    } else {
      const auto place = static_cast<std::uint32_t>(at_string.begin + quote + i - 1);
      fail(Code::unknown_escape, {at_string.file, place, place + 2}, "strings have no such escape",
           "there are \\n, \\t, \\\" and \\\\; a backslash itself is written \\\\");
    }
  }
  return result;
}

// "(" expr ")"
ExprPtr ExpressionParser::parenthesised() {
  Bracket bracket(*this, Kind::right_paren);
  ExprPtr result = expr();
  if (at(Kind::comma) && position_ > 0)
    fail(Code::unexpected_token, token().span, "expected `)`, found `,`",
         after_on_line(Kind::kw_return) ? "several results stand without parentheses: `return a, b`"
                                        : "several values are a list: `[a, b]`");
  result->span = bracket.close();
  result->parenthesised = true;
  return result;
}

// "[" [el {"," el} [","]] "]" | "[" expr "for" name "in" expr {"for" name "in" expr} "]"
ExprPtr ExpressionParser::list() {
  Bracket bracket(*this, Kind::right_bracket);
  List result;
  std::uint16_t depth = 0;
  while (!bracket.at_end()) {
    result.elements.push_back(expr_or_ellipsis());
    depth = std::max(depth, result.elements.back()->depth);
    if (result.elements.size() == 1 && at(Kind::kw_for)) return comprehension(bracket, std::move(result.elements[0]));
    if (!accept(Kind::comma)) break;
  }
  bracket.close("`,` or ");
  return make(bracket.opening(), std::move(result), {depth});
}

ExprPtr ExpressionParser::comprehension(Bracket& bracket, ExprPtr element) {
  std::uint16_t depth = element->depth;
  Comprehension result{.element = std::move(element), .loops = {}};
  while (accept(Kind::kw_for)) {
    Comprehension::Loop loop;
    loop.variable = name();
    expect(Kind::kw_in);
    loop.over = expr();
    depth = std::max(depth, loop.over->depth);
    result.loops.push_back(std::move(loop));
  }
  bracket.close("`for` or ");
  return make(bracket.opening(), std::move(result), {depth});
}

// ifx = "if" expr "{" expr "}" "else" ("{" expr "}" | ifx) .
ExprPtr ExpressionParser::ifx() {
  const Level level(*this);
  const Span begin = token().span;
  expect(Kind::kw_if);
  IfExpr result;
  result.condition = expr();
  result.yes = braced();
  expect(Kind::kw_else, "an `if` that is a value needs both branches");
  result.no = at(Kind::kw_if) ? ifx() : braced();
  const auto depths = {result.condition->depth, result.yes->depth, result.no->depth};
  return make(begin, std::move(result), depths);
}

ExprPtr ExpressionParser::braced() {
  if (!at(Kind::left_brace)) fail_expected("`{`");
  Bracket bracket(*this, Kind::right_brace);
  ExprPtr result = expr();
  bracket.close();
  return result;
}

// type = "int" | "float" | "bool" | "string" | ("f32"|"f64"|"i32"|"bool"|"float") "[" [dim {"," dim}] "]" .
TypeExpr ExpressionParser::type() {
  struct Spelling {
    std::string_view text;
    TypeExpr::Base base;
  };
  using Base = TypeExpr::Base;
  static constexpr Spelling spellings[] = {{"int", Base::integer},   {"float", Base::floating}, {"bool", Base::boolean},
                                           {"string", Base::string}, {"f32", Base::f32},        {"f64", Base::f64},
                                           {"i32", Base::i32}};
  TypeExpr result;
  const auto* spelling =
      std::find_if(std::begin(spellings), std::end(spellings), [&](const Spelling& s) { return at_word(s.text); });
  if (spelling == std::end(spellings)) fail_no_type();
  advance();
  result.base = spelling->base;
  result.span = last_span();
  const bool takes_brackets = result.base != Base::integer && result.base != Base::string;
  if (at(Kind::left_bracket) && !token().line_before) {
    if (!takes_brackets)
      fail(Code::unexpected_token, result.span,
           fmt::format("`{}` is a compile-time type without dimensions", spelling->text),
           "whole numbers in tensors are `i32[...]`");
    result.tensor = true;
    result.dims = dims();
    result.span = span_from(result.span);
  } else if (result.base == Base::f32 || result.base == Base::f64 || result.base == Base::i32) {
    fail_expected(fmt::format("the dimensions of `{}` in brackets", spelling->text),
                  fmt::format("one number is `{}[]`", spelling->text));
  }
  return result;
}

void ExpressionParser::fail_no_type() {
  static const std::vector<std::string> names{"int", "float", "bool", "string", "f32", "f64", "i32"};
  std::string help = at(Kind::name) ? repair_of_type(text(token()), names) : "";
  if (help.empty())
    help = "types are int, float, bool, string, and f32, f64, i32, bool, float with dimensions, as in `f32[batch, 3]`";
  fail_expected("a type", std::move(help));
}

// "[" [dim {"," dim}] "]"
std::vector<Dim> ExpressionParser::dims() {
  Bracket bracket(*this, Kind::right_bracket);
  std::vector<Dim> result;
  while (!bracket.at_end()) {
    result.push_back(dim());
    if (!accept(Kind::comma)) break;
  }
  bracket.close("`,` or ");
  return result;
}

// dim = "..." | "_" | expr .
Dim ExpressionParser::dim() {
  const Span begin = token().span;
  Dim result;
  if (accept(Kind::ellipsis)) {
    result.kind = Dim::Kind::ellipsis;
  } else if (accept(Kind::underscore)) {
    result.kind = Dim::Kind::stretch;
  } else {
    result.kind = Dim::Kind::expression;
    result.value = expr();
  }
  result.span = span_from(begin);
  return result;
}

}  // namespace nnc::parsing
