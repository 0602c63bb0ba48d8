#include "frontend/parse_cursor.h"

#include <algorithm>

namespace nnc::parsing {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

}  // namespace

void ParseCursor::advance() {
  if (!at(Kind::end_of_file)) ++position_;
}

bool ParseCursor::after_on_line(Kind kind) const {
  for (std::size_t i = position_; i-- > 0 && !tokens_[i + 1].line_before;)
    if (tokens_[i].kind == kind) return true;
  return false;
}

bool ParseCursor::accept(Kind kind) {
  if (!at(kind)) return false;
  advance();
  return true;
}

void ParseCursor::expect(Kind kind, std::string_view why) {
  if (!accept(kind)) fail_expected(describe(kind), std::string(why));
}

// ---- errors ----------------------------------------------------------------------------------------------------

void ParseCursor::fail(Code code, Span at, std::string message, std::string help) {
  // What the lexer left out is what is missing here.
  if (!token().after_error || token().line_before)
    diagnostics_.report({.code = code, .message = std::move(message), .primary = at, .help = std::move(help)});
  throw SyntaxError{};
}

std::string ParseCursor::found() const {
  const bool spelled = at(Kind::name) || at(Kind::number) || at(Kind::string);
  return spelled ? backquoted(text(token())) : describe(token().kind);
}

void ParseCursor::fail_expected(std::string_view what, std::string help) {
  if (token().line_before && position_ > 0) {
    if (token().after_error) throw SyntaxError{};
    const Span last = last_span();
    fail(Code::unexpected_token, {last.file, last.end, last.end + 1},
         fmt::format("expected {}, but the line ends", what), std::move(help));
  }
  fail(Code::unexpected_token, token().span, fmt::format("expected {}, found {}", what, found()), std::move(help));
}

void ParseCursor::skip_statement(std::size_t begin) {
  nesting_ = brackets_ = 0;
  const std::size_t error = position_;
  for (position_ = begin; !at(Kind::end_of_file); ++position_) {
    const bool past = position_ >= error && position_ > begin;
    const bool belongs = at(Kind::pipe);  // a line that begins so belongs to the one before it
    if (past && (at(Kind::right_brace) || (token().line_before && !belongs) || begins_declaration())) return;
    if (past && accept(Kind::semicolon)) return;
    if (at_opening() && token().partner > position_) position_ = token().partner;
  }
}

void ParseCursor::lose_names(std::size_t begin) {
  const Kind kind = tokens_[begin].kind;
  const bool word = kind == Kind::kw_let || kind == Kind::kw_param || kind == Kind::kw_state || kind == Kind::kw_carry;
  const auto is_name = [&](std::size_t i) { return i + 1 < tokens_.size() && tokens_[i].kind == Kind::name; };
  std::size_t i = begin + (word ? 1 : 0);
  while (is_name(i) && is_name(i + 1) && !tokens_[i + 1].line_before) ++i;  // `let mut h`, `var h`: the last one
  for (; is_name(i); i += 2) {
    const Kind after = tokens_[i + 1].kind;
    if (word || after == Kind::colon || after == Kind::assign) lost_.emplace_back(text(tokens_[i]));
    if (after != Kind::comma) break;
  }
}

void ParseCursor::skip_to_declaration(std::size_t begin) {
  nesting_ = brackets_ = 0;
  const std::size_t error = position_;
  for (position_ = begin; !at(Kind::end_of_file); ++position_) {
    if (position_ >= error && position_ > begin && token().line_before && declaration_word_here()) return;
    if (at_opening() && token().partner > position_) position_ = token().partner;
  }
}

bool ParseCursor::declaration_word_here() const {
  return at(Kind::name) && is_declaration_word(text(token())) && !next().line_before &&
         (next().kind == Kind::name || next().kind == Kind::string);
}

bool ParseCursor::begins_declaration() const {
  const std::uint32_t begin = token().span.begin;
  const std::string& source = diagnostics_.file(file_).text;
  return token().line_before && (begin == 0 || source[begin - 1] == '\n') && declaration_word_here();
}

// ---- names -----------------------------------------------------------------------------------------------------

Name ParseCursor::name(std::string_view what) {
  if (at(Kind::name)) {
    advance();
    return {std::string(diagnostics_.text(last_span())), last_span()};
  }
  const bool reserved_here = token().kind >= Kind::kw_let && token().kind <= Kind::kw_in && !token().line_before;
  if (reserved_here)
    fail(Code::reserved_word, token().span, fmt::format("{} is a reserved word, it cannot be {}", found(), what));
  fail_expected(what);
}

Name ParseCursor::lower_name(std::string_view what) { return cased_name(what, "small", is_upper, 'a' - 'A'); }

Name ParseCursor::capital_name(std::string_view what) { return cased_name(what, "capital", is_lower, 'A' - 'a'); }

Name ParseCursor::cased_name(std::string_view what, std::string_view letter, bool (*wrong)(char), int shift) {
  Name result = name(what);
  if (wrong(result.text[0])) {
    std::string right = result.text;
    right[0] = static_cast<char>(right[0] + shift);
    diagnostics_.report({.code = Code::wrong_case,
                         .message = fmt::format("{} begins with a {} letter", what, letter),
                         .primary = result.span,
                         .help = fmt::format("write {}", backquoted(right))});
  }
  return result;
}

// path = name {"." name} .
Path ParseCursor::path() {
  Path result;
  result.push_back(name());
  while (accept(Kind::dot)) result.push_back(name());
  return result;
}

}  // namespace nnc::parsing
