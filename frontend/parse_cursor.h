// Where the parser stands among the tokens, what it says of errors, and how it finds its way after one.
//
// Line ends: a token knows whether a line ends before it. That ends a statement, except inside () and [], after a
// comma, and before `|>`, `->`, `else` and the second parameter list.
//
// Errors: the first error of a statement is reported and unwinds (SyntaxError, never seen outside the parser) to the
// statement, which is skipped to its end and left out; its declaration is marked as damaged. Brackets have been matched
// by then, so the end is found without guessing what was meant. What is wrong with the brackets of a statement and with
// its grammar is one mistake as a rule: of the two, what stands first is said.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/ast.h"
#include "frontend/lexer.h"

namespace nnc::parsing {

using namespace ast;
using Kind = TokenKind;

/// Unwinds to the statement that the reported error is in.
struct SyntaxError {};

/// Levels of brackets, blocks and prefix operators within each other. A recursion of this depth fits every stack.
inline constexpr int max_nesting = 256;

inline constexpr const char* goes_on =
    "to go on on the next line, put the expression in parentheses or begin the line with `|>`";

class ParseCursor {
 public:
  ParseCursor(std::uint32_t file, Diagnostics& diagnostics)
      : diagnostics_(diagnostics), lexed_(tokenize(file, diagnostics)), tokens_(lexed_.tokens), file_(file) {}
  ParseCursor(const ParseCursor&) = delete;
  ParseCursor& operator=(const ParseCursor&) = delete;

 protected:
  const Token& token() const { return tokens_[position_]; }
  const Token& next() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Span last_span() const { return tokens_[position_ - 1].span; }
  bool at(Kind kind) const { return token().kind == kind; }
  std::string_view text(const Token& token) const { return diagnostics_.text(token.span); }
  bool at_word(std::string_view word) const { return at(Kind::name) && text(token()) == word; }
  void advance();
  /// Whether such a token stands before this one on its line.
  bool after_on_line(Kind kind) const;
  bool accept(Kind kind);
  void expect(Kind kind, std::string_view why = "");
  Span span_from(Span begin) const { return join(begin, last_span()); }

  [[noreturn]] void fail(Code code, Span at, std::string message, std::string help = "");
  [[noreturn]] void fail(Diagnostic diagnostic);
  std::string found() const;
  /// Where a line ended too early, the place is its end, not the beginning of the next.
  [[noreturn]] void fail_expected(std::string_view what, std::string help = "");
  /// Goes to the end of the statement that began at `begin`, which lies at or after the place of the error. Brackets
  /// that open within the statement are jumped over with what they hold.
  void skip_statement(std::size_t begin);
  bool at_opening() const { return at(Kind::left_paren) || at(Kind::left_bracket) || at(Kind::left_brace); }
  /// What stands here may begin a statement; else its line belongs to the one before it, whose bracket may be open.
  bool may_begin_statement() const;
  /// The names that the statement from `begin` on binds are lost with it: using them is no second error.
  void lose_names(std::size_t begin);
  /// The same of a declaration.
  void lose_declared(std::size_t begin);
  /// Goes to the next declaration, or to what stands in the place of one at the left margin; `begin` is where the one
  /// with the error began.
  void skip_to_declaration(std::size_t begin);
  bool declaration_word_here() const;
  bool at_margin() const;
  bool foreign_declaration_here() const;

  /// What is wrong with the brackets between two places of the text.
  std::span<BracketError> bracket_errors(std::uint32_t begin, std::uint32_t end);
  /// A bracket that closes nothing was left out between the token `begin` and here: what is missing, nobody knows.
  bool lacks_bracket(std::size_t begin);
  /// Says what is wrong with the brackets between the token `begin` and here, unless what was said of the grammar
  /// stands before it: the first alone, since the others follow from it.
  void settle_brackets(std::size_t begin);
  /// Says what is left of that in the file.
  void settle_all_brackets();
  /// A declaration at the left margin ends every block that was left open before it.
  bool begins_declaration() const;
  /// Counts levels while it lives.
  class Level {
   public:
    explicit Level(ParseCursor& parser) : parser_(parser) {
      if (++parser_.nesting_ > max_nesting)
        parser_.fail(Code::nested_too_deep, parser_.token().span, "this is nested too deep",
                     fmt::format("at most {} levels; name parts of it with `let`", max_nesting));
    }
    ~Level() { --parser_.nesting_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ParseCursor& parser_;
  };
  /// Inside brackets line ends mean nothing. An opening bracket without a partner has been reported: its statement
  /// ends.
  class Bracket {
   public:
    Bracket(ParseCursor& parser, Kind closing)
        : parser_(parser), level_(parser), closing_(closing), opening_(parser.token().span) {
      if (parser.token().partner <= parser.position_) throw SyntaxError{};
      ++parser_.brackets_;
      parser_.advance();
    }
    ~Bracket() { --parser_.brackets_; }
    Bracket(const Bracket&) = delete;
    Bracket& operator=(const Bracket&) = delete;

    /// The closing bracket; `allowed` says what else could stand here.
    Span close(std::string_view allowed = "") {
      if (!parser_.at(closing_)) {
        parser_.fail({.code = Code::unexpected_token,
                      .message = fmt::format("expected {}{}, found {}", allowed, describe(closing_), parser_.found()),
                      .primary = parser_.token().span,
                      .labels = {{opening_, "opened here"}}});
      }
      parser_.advance();
      return join(opening_, parser_.last_span());
    }
    bool at_end() const { return parser_.at(closing_); }
    Span opening() const { return opening_; }

   private:
    ParseCursor& parser_;
    Level level_;
    Kind closing_;
    Span opening_;
  };

  Name name(std::string_view what = "a name");
  /// A name whose case says what it is; the wrong case is an error that costs nothing else.
  Name lower_name(std::string_view what);
  Name capital_name(std::string_view what);
  Name cased_name(std::string_view what, std::string_view letter, bool (*wrong)(char), int shift);
  Path path();

  Diagnostics& diagnostics_;
  Tokens lexed_;
  const std::vector<Token>& tokens_;
  std::uint32_t file_;
  std::size_t position_ = 0;
  int nesting_ = 0;                       ///< levels of recursion
  int brackets_ = 0;                      ///< open brackets in which line ends mean nothing
  bool damaged_ = false;                  ///< the declaration lost a part
  std::vector<std::string> lost_;         ///< names that a statement with an error would have bound
  std::size_t statement_ = 0;             ///< first token of the statement or declaration that is being parsed
  std::optional<std::uint32_t> said_at_;  ///< where the last error of the grammar was reported, until it is settled
};

}  // namespace nnc::parsing
