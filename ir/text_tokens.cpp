#include "ir/text_tokens.h"

#include <cctype>
#include <charconv>
#include <limits>

#include "ir/syntax.h"

namespace nnc::graph_text {

using syntax::is_digit;
using syntax::is_letter;

void fail(const Token& at, std::string message) {
  throw Failure{{.line = at.line, .column = at.column, .message = std::move(message)}};
}

Shape shape_of(const List& list, const Token& place) {
  for (const Extent& extent : list)
    if (extent.count < 0) fail(place, "an extent is not negative");
  return list;
}

std::string unquoted(std::string_view quoted, const Token& place) {
  std::string text;
  for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
    if (quoted[i] != '\\') {
      text += quoted[i];
    } else if (quoted[++i] == 'x') {
      unsigned char code = 0;
      const char* begin = quoted.data() + i + 1;
      const auto [end, error] =
          std::from_chars(begin, std::min(begin + 2, quoted.data() + quoted.size() - 1), code, 16);
      if (error != std::errc{} || end != begin + 2) fail(place, "`\\x` is followed by two hexadecimal digits");
      text += static_cast<char>(code);
      i += 2;
    } else {
      text += quoted[i];
    }
  }
  return text;
}

std::optional<DType> dtype_named(std::string_view name) {
  for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::boolean})
    if (name_of(dtype) == name) return dtype;
  return std::nullopt;
}

Token Lexer::next() {
  skip_blanks();
  Token token{.line = line_, .column = static_cast<std::uint32_t>(at_ - line_start_ + 1)};
  const std::size_t begin = at_;
  token.kind = scan(token);
  token.text = text_.substr(begin, at_ - begin);
  if (token.kind == Token::Kind::line_end) {
    ++line_;
    line_start_ = at_;
  }
  return token;
}

void Lexer::skip_blanks() {
  while (at_ < text_.size()) {
    const char c = peek();
    if (c == '#') {
      while (at_ < text_.size() && peek() != '\n') ++at_;
    } else if (c == '\n' && brackets_ > 0) {
      ++at_;
      ++line_;
      line_start_ = at_;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else {
      return;
    }
  }
}

Token::Kind Lexer::scan(const Token& token) {
  if (at_ >= text_.size()) return Token::Kind::end;
  const char c = peek();
  if (c == '\n') {
    ++at_;
    return Token::Kind::line_end;
  }
  if (c == '%') return scan_label(token);
  if (c == '"') return scan_string(token);
  if (is_letter(c)) {
    while (is_letter(peek()) || is_digit(peek())) ++at_;
    return Token::Kind::name;
  }
  if (is_digit(c)) return scan_number();
  return scan_symbol(token);
}

Token::Kind Lexer::scan_label(const Token& token) {
  ++at_;
  if (peek() == '"') {
    scan_string(token);
    if (peek() == '.') ++at_;
    while (is_digit(peek())) ++at_;
  } else {
    while (is_letter(peek()) || is_digit(peek()) || peek() == '.') ++at_;
  }
  return Token::Kind::label;
}

Token::Kind Lexer::scan_string(const Token& token) {
  ++at_;
  while (peek() != '"') {
    if (peek() == '\\') ++at_;
    if (at_ >= text_.size() || peek() == '\n') fail(token, "this string does not end");
    ++at_;
  }
  ++at_;
  return Token::Kind::string;
}

Token::Kind Lexer::scan_number() {
  if (peek() == '0' && peek(1) == 'x') {
    at_ += 2;
    while (std::isxdigit(static_cast<unsigned char>(peek()))) ++at_;
    return Token::Kind::number;
  }
  while (is_digit(peek())) ++at_;
  if (peek() == '.') ++at_;
  while (is_digit(peek())) ++at_;
  const bool signed_exponent = peek(1) == '+' || peek(1) == '-';
  if (peek() == 'e' && is_digit(peek(signed_exponent ? 2 : 1))) {
    at_ += signed_exponent ? 2 : 1;
    while (is_digit(peek())) ++at_;
  }
  return Token::Kind::number;
}

Token::Kind Lexer::scan_symbol(const Token& token) {
  const char c = peek();
  if ((c == '<' || c == '=') && peek(1) == '=') {
    at_ += 2;
    return Token::Kind::symbol;
  }
  if (std::string_view("()[],:=<+-*/~").find(c) == std::string_view::npos || c == '\0')
    fail(token, "this character has no meaning here");
  if (c == '(' || c == '[') ++brackets_;
  if ((c == ')' || c == ']') && brackets_ > 0) --brackets_;
  ++at_;
  return Token::Kind::symbol;
}

void TokenReader::advance() {
  token_ = ahead_;
  ahead_ = lexer_.next();
}

bool TokenReader::accept(std::string_view symbol) {
  if (!at(symbol)) return false;
  advance();
  return true;
}

void TokenReader::expect(std::string_view symbol) {
  if (!accept(symbol)) fail(token_, fmt::format("`{}` is expected here{}", symbol, found()));
}

std::string TokenReader::found() const {
  if (token_.kind == Token::Kind::end) return ", not the end of the text";
  if (token_.kind == Token::Kind::line_end) return ", not the end of the line";
  return fmt::format(", not `{}`", token_.text.substr(0, 40));
}

void TokenReader::skip_line_ends() {
  while (token_.kind == Token::Kind::line_end) advance();
}

void TokenReader::end_line() {
  if (token_.kind != Token::Kind::line_end && token_.kind != Token::Kind::end)
    fail(token_, "the statement should end here" + found());
  skip_line_ends();
}

std::string TokenReader::string() {
  if (token_.kind != Token::Kind::string) fail(token_, "a string is expected here" + found());
  std::string text = unquoted(token_.text, token_);
  advance();
  return text;
}

std::int64_t TokenReader::integer() {
  const bool negative = accept("-");
  if (token_.kind != Token::Kind::number) fail(token_, "an integer is expected here" + found());
  const std::string text = (negative ? "-" : "") + std::string(token_.text);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) fail(token_, "this is no 64-bit integer");
  advance();
  return value;
}

int TokenReader::axis() {
  const Token place = token_;
  const std::int64_t value = integer();
  if (value < 0 || value > std::numeric_limits<int>::max()) fail(place, "this is no axis");
  return static_cast<int>(value);
}

void TokenReader::word(std::string_view name) {
  if (!at_name(name)) fail(token_, fmt::format("`{}` is expected here{}", name, found()));
  advance();
}

Extent TokenReader::extent() {
  const Token place = token_;
  const Extent result = entry();
  if (result.count < 0) fail(place, "an extent is not negative");
  return result;
}

Extent TokenReader::entry() {
  if (at_name("batch")) {
    advance();
    return batch_extent;
  }
  Extent result{integer(), false};
  if (!accept("*")) return result;
  if (!at_name("batch")) fail(token_, "`batch` is expected here" + found());
  advance();
  return {result.count, true};
}

List TokenReader::bracket_list() {
  List list;
  expect("[");
  if (accept("]")) return list;
  do list.push_back(entry());
  while (accept(","));
  expect("]");
  return list;
}

Type TokenReader::type() {
  const auto dtype = token_.kind == Token::Kind::name ? dtype_named(token_.text) : std::nullopt;
  if (!dtype) fail(token_, "a type is expected here" + found());
  advance();
  const Token place = token_;
  return {*dtype, at("[") ? shape_of(bracket_list(), place) : Shape{}};
}

}  // namespace nnc::graph_text
