// Text to tokens. Line ends are not tokens: a token knows whether a line ends before it, and the parser, who knows
// where it stands, decides whether that matters. Brackets are matched here, so that an unclosed one is reported where
// it opens and costs only its own statement.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/diagnostics.h"

namespace nnc {

enum class TokenKind : std::uint8_t {
  end_of_file,
  name,
  number,
  string,
  // reserved words
  kw_let,
  kw_return,
  kw_if,
  kw_else,
  kw_param,
  kw_state,
  kw_carry,
  kw_update,
  kw_and,
  kw_or,
  kw_not,
  kw_true,
  kw_false,
  kw_for,
  kw_in,
  // brackets
  left_paren,
  right_paren,
  left_bracket,
  right_bracket,
  left_brace,
  right_brace,
  // marks
  comma,
  colon,
  semicolon,
  dot,
  ellipsis,
  underscore,
  assign,
  arrow,
  pipe,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  plus,
  minus,
  star,
  slash,
  double_slash,
  at,
  caret
};

/// "`(`", "a name", "the end of the file": what messages call a kind of token.
std::string describe(TokenKind kind);

struct Token {
  TokenKind kind{};
  bool line_before = false;  ///< the first token of its line
  bool after_error = false;  ///< characters before it were reported and left out
  Span span{};
  std::uint32_t partner = 0;  ///< brackets: index of the other one; 0 (or itself) where it is unmatched
};

struct Comment {
  Span span{};            ///< from `#` to the end of its line
  bool own_line = false;  ///< nothing but blanks before it
};

/// What is wrong with the brackets somewhere. The parser says it, unless an error that it finds before it in the same
/// statement is the cause: of `f x)` the `)` closes nothing because the `(` is missing.
struct BracketError {
  Diagnostic diagnostic;
  bool stray = false;    ///< it closes nothing, and the parser does not see it
  bool settled = false;  ///< said, or found to follow from something that was
};

struct Tokens {
  std::vector<Token> tokens;                 ///< the last is end_of_file
  std::vector<BracketError> bracket_errors;  ///< in order of place
  std::map<std::size_t, std::string> docs;   ///< `##` lines before the token of that index
  std::vector<Comment> comments;             ///< all, in order
};

/// The tokens of a file. What is no token is reported and left out, or read as what was meant. Only what is wrong with
/// brackets is not reported yet.
Tokens tokenize(std::uint32_t file, Diagnostics& diagnostics);

/// The words that may begin a declaration; whether a token at the left margin does is decided with the token after it.
bool is_declaration_word(std::string_view word);

}  // namespace nnc
