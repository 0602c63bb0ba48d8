// Graph text as tokens, and the small things made of a few of them: integers, strings, extents, types.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/text.h"
#include "ir/type.h"

namespace nnc::graph_text {

struct Token {
  enum class Kind { label, name, number, string, symbol, line_end, end } kind = Kind::end;
  std::string_view text = {};  ///< as written; of a string, with its quotes
  std::uint32_t line = 1, column = 1;
};

/// Thrown from anywhere inside the parser, caught at its surface.
struct Failure {
  TextError error;
};

[[noreturn]] void fail(const Token& at, std::string message);

/// What an argument in brackets or a bare integer says: extents or axes.
using List = std::vector<Extent>;

/// The extents of a shape: those of a list, none of them negative.
Shape shape_of(const List& list, const Token& place);

/// The text of a string without its quotes and escapes.
std::string unquoted(std::string_view quoted, const Token& place);

std::optional<DType> dtype_named(std::string_view name);

/// Cuts text into tokens. Inside brackets a line feed is a space.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}
  Token next();

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void skip_blanks();
  Token::Kind scan(const Token& token);
  Token::Kind scan_label(const Token& token);
  Token::Kind scan_string(const Token& token);
  Token::Kind scan_number();
  Token::Kind scan_symbol(const Token& token);

  std::string_view text_;
  std::size_t at_ = 0, line_start_ = 0;
  std::uint32_t line_ = 1;
  int brackets_ = 0;
};

/// The token that is next and the one after it. What is not as expected fails with the place and what was found.
class TokenReader {
 public:
  explicit TokenReader(std::string_view text) : lexer_(text), token_(lexer_.next()), ahead_(lexer_.next()) {}

  const Token& token() const { return token_; }
  const Token& ahead() const { return ahead_; }
  void advance();
  bool at(std::string_view symbol) const { return token_.kind == Token::Kind::symbol && token_.text == symbol; }
  bool at_name(std::string_view name) const { return token_.kind == Token::Kind::name && token_.text == name; }
  bool accept(std::string_view symbol);
  void expect(std::string_view symbol);
  /// Passes a name that has to stand here.
  void word(std::string_view name);
  /// For messages: what stands here instead.
  std::string found() const;
  void skip_line_ends();
  void end_line();

  std::string string();
  std::int64_t integer();  ///< with an optional sign
  int axis();
  Extent extent();
  Extent entry();  ///< of a list: an extent, or a number that may be negative
  List bracket_list();
  Type type();

 private:
  Lexer lexer_;
  Token token_, ahead_;
};

}  // namespace nnc::graph_text
