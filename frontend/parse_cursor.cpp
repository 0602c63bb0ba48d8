#include "frontend/parse_cursor.h"

#include <algorithm>
#include <utility>

namespace nnc::parsing {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

/// A declaration that begins so has a list of arguments behind its name.
bool takes_list(std::string_view word) {
  return word == "fn" || word == "layer" || word == "model" || word == "optimizer";
}

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
  fail({.code = code, .message = std::move(message), .primary = at, .help = std::move(help)});
}

void ParseCursor::fail(Diagnostic diagnostic) {
  // What the lexer left out is what is missing here.
  const std::uint32_t at = diagnostic.primary.begin;
  const bool left_out = token().after_error && !token().line_before;
  const bool follows = std::ranges::any_of(bracket_errors(tokens_[statement_].span.begin, at),
                                           [](const BracketError& error) { return !error.settled; });
  if (!left_out && !follows) {
    said_at_ = at;
    diagnostics_.report(std::move(diagnostic));
  }
  throw SyntaxError{};
}

std::span<BracketError> ParseCursor::bracket_errors(std::uint32_t begin, std::uint32_t end) {
  const auto place = [](const BracketError& error) { return error.diagnostic.primary.begin; };
  const auto first = std::ranges::lower_bound(lexed_.bracket_errors, begin, {}, place);
  return {first, std::ranges::lower_bound(first, lexed_.bracket_errors.end(), std::max(begin, end), {}, place)};
}

bool ParseCursor::lacks_bracket(std::size_t begin) {
  return std::ranges::any_of(bracket_errors(tokens_[begin].span.begin, token().span.begin),
                             [](const BracketError& error) { return error.stray && !error.settled; });
}

void ParseCursor::settle_brackets(std::size_t begin) {
  bool said = false;
  for (BracketError& error : bracket_errors(tokens_[begin].span.begin, token().span.begin)) {
    if (std::exchange(error.settled, true)) continue;
    if (!std::exchange(said, true) && !(said_at_ && *said_at_ <= error.diagnostic.primary.begin))
      diagnostics_.report(error.diagnostic);
  }
  said_at_.reset();
}

void ParseCursor::settle_all_brackets() {
  for (BracketError& error : lexed_.bracket_errors)
    if (!std::exchange(error.settled, true)) diagnostics_.report(error.diagnostic);
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
    const bool begins = token().line_before && (may_begin_statement() || begins_declaration());
    if (past && (at(Kind::right_brace) || begins)) return;
    if (past && accept(Kind::semicolon)) return;
    if (at_opening() && token().partner > position_) position_ = token().partner;
  }
}

bool ParseCursor::may_begin_statement() const {
  constexpr Kind words[] = {Kind::kw_let,   Kind::kw_if,    Kind::kw_return, Kind::kw_param,
                            Kind::kw_state, Kind::kw_carry, Kind::kw_update};
  if (std::ranges::find(words, token().kind) != std::end(words)) return true;
  if (!at(Kind::name) || next().line_before) return false;
  const auto kind = [&](std::size_t i) { return tokens_[std::min(i, tokens_.size() - 1)].kind; };
  if (next().kind == Kind::left_paren)  // `optimizer(Net.Body) = ...`
    return next().partner > position_ && kind(next().partner + 1) == Kind::assign;
  return next().kind == Kind::assign || next().kind == Kind::colon || next().kind == Kind::comma ||
         next().kind == Kind::name;
}

void ParseCursor::lose_names(std::size_t begin) {
  const Kind kind = tokens_[begin].kind;
  const bool word = kind == Kind::kw_let || kind == Kind::kw_param || kind == Kind::kw_state || kind == Kind::kw_carry;
  // What stands before the type or the value: `h f32` in `let h f32 = e`, `mu, let lv`, `(mu, lv)`.
  std::vector<std::string> bound;
  std::size_t listed = 0;  // of these, the names that are no more than a list of names
  bool in_list = true;
  std::size_t i = begin;
  for (; tokens_[i].kind != Kind::end_of_file && (i == begin || !tokens_[i].line_before); ++i) {
    const Kind at = tokens_[i].kind;
    if (at == Kind::name) {
      bound.emplace_back(text(tokens_[i]));
      const bool again = i > begin && tokens_[i - 1].kind == Kind::name;
      in_list = in_list && !again;
      listed += in_list ? 1 : 0;
    } else if (at != Kind::comma && at != Kind::kw_let && !(i == begin && word) && !(at == Kind::left_paren && word) &&
               at != Kind::right_paren) {
      break;
    }
  }
  const Kind after = tokens_[i].kind;
  const bool binds = !tokens_[i].line_before && (after == Kind::assign || after == Kind::colon ||
                                                 (after == Kind::left_bracket && bound.size() > 1));
  if (!binds && !word) return;
  if (!binds) bound.resize(listed);  // `let v W @ u`
  if (bound.empty()) bound.emplace_back();
  lost_.insert(lost_.end(), bound.begin(), bound.end());
}

void ParseCursor::lose_declared(std::size_t begin) {
  const auto at_name = [&](std::size_t i) { return i < tokens_.size() && tokens_[i].kind == Kind::name; };
  const bool word = at_name(begin) && is_declaration_word(text(tokens_[begin]));
  if (!word && at_name(begin)) lost_.emplace_back(text(tokens_[begin]));  // `Net(x: ...) -> ...`, `width = 3`
  if (at_name(begin + 1) && !tokens_[begin + 1].line_before) lost_.emplace_back(text(tokens_[begin + 1]));
  const bool has_list = begin + 2 < tokens_.size() && tokens_[begin + 2].kind == Kind::left_paren;
  if (word && takes_list(text(tokens_[begin])) && !has_list)
    lost_.emplace_back();  // `layer (out: int)`, `layer Denseout: int)`: it may have had any name
}

void ParseCursor::skip_to_declaration(std::size_t begin) {
  nesting_ = brackets_ = 0;
  const std::size_t error = position_;
  for (position_ = begin; !at(Kind::end_of_file); ++position_) {
    if (position_ >= error && position_ > begin && token().line_before &&
        (declaration_word_here() || foreign_declaration_here()))
      return;
    if (at_opening() && token().partner > position_) position_ = token().partner;
  }
}

bool ParseCursor::at_margin() const {
  const std::uint32_t begin = token().span.begin;
  return token().line_before && (begin == 0 || diagnostics_.file(file_).text[begin - 1] == '\n');
}

/// `struct Net`, `width = 3`, `let width = 3` at the left margin.
bool ParseCursor::foreign_declaration_here() const {
  if (!at_margin() || next().line_before) return false;
  return (at(Kind::kw_let) && next().kind == Kind::name) ||
         (at(Kind::name) && (next().kind == Kind::name || next().kind == Kind::assign));
}

bool ParseCursor::declaration_word_here() const {
  return at(Kind::name) && is_declaration_word(text(token())) && !next().line_before &&
         (next().kind == Kind::name || next().kind == Kind::string);
}

bool ParseCursor::begins_declaration() const { return at_margin() && declaration_word_here(); }

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
