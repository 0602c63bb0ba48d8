// One walk over the bytes. Names may hold letters of any alphabet; the punctuation that text editors and other
// languages put in the place of ours is recognised, reported with what to write, and read as that.
#include "frontend/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "frontend/newcomers.h"
#include "ir/utf8.h"

namespace nnc {
namespace {

using Kind = TokenKind;

struct Spelling {
  std::string_view text;
  Kind kind;
};
constexpr Spelling reserved[] = {{"let", Kind::kw_let},     {"return", Kind::kw_return}, {"if", Kind::kw_if},
                                 {"else", Kind::kw_else},   {"param", Kind::kw_param},   {"state", Kind::kw_state},
                                 {"carry", Kind::kw_carry}, {"update", Kind::kw_update}, {"and", Kind::kw_and},
                                 {"or", Kind::kw_or},       {"not", Kind::kw_not},       {"true", Kind::kw_true},
                                 {"false", Kind::kw_false}, {"for", Kind::kw_for},       {"in", Kind::kw_in}};
// Longer spellings stand before their beginnings.
constexpr Spelling marks[] = {
    {"...", Kind::ellipsis}, {"->", Kind::arrow},      {"|>", Kind::pipe},          {"==", Kind::equal},
    {"!=", Kind::not_equal}, {"<=", Kind::less_equal}, {">=", Kind::greater_equal}, {"//", Kind::double_slash},
    {"(", Kind::left_paren}, {")", Kind::right_paren}, {"[", Kind::left_bracket},   {"]", Kind::right_bracket},
    {"{", Kind::left_brace}, {"}", Kind::right_brace}, {",", Kind::comma},          {":", Kind::colon},
    {";", Kind::semicolon},  {".", Kind::dot},         {"=", Kind::assign},         {"<", Kind::less},
    {">", Kind::greater},    {"+", Kind::plus},        {"-", Kind::minus},          {"*", Kind::star},
    {"/", Kind::slash},      {"@", Kind::at},          {"^", Kind::caret}};

/// What is written elsewhere, what it is here, and how that is read (end_of_file: not at all).
struct Foreign {
  std::string_view text, ours;
  Kind kind;
};
constexpr Foreign foreign[] = {{"**", "^", Kind::caret},
                               {"&&", "and", Kind::kw_and},
                               {"||", "or", Kind::kw_or},
                               {"!", "not", Kind::kw_not},
                               {"=>", "->", Kind::arrow},
                               {"\u2212", "-", Kind::minus},
                               {"\u2013", "-", Kind::minus},
                               {"\u00D7", "*", Kind::star},
                               {"\u00B7", "*", Kind::star},
                               {"\u22C5", "*", Kind::star},
                               {"\u00F7", "/", Kind::slash},
                               {"\u2264", "<=", Kind::less_equal},
                               {"\u2265", ">=", Kind::greater_equal},
                               {"\u2260", "!=", Kind::not_equal},
                               {"\u2192", "->", Kind::arrow},
                               {"\u2026", "...", Kind::ellipsis},
                               {"\uFF08", "(", Kind::left_paren},
                               {"\uFF09", ")", Kind::right_paren},
                               {"\uFF0C", ",", Kind::comma},
                               {"\uFF1A", ":", Kind::colon},
                               {"\uFF1D", "=", Kind::assign}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Letters of other alphabets: all characters beyond ASCII but blanks, punctuation and mathematical signs.
bool is_foreign_letter(std::string_view character) {
  if (static_cast<unsigned char>(character[0]) < 0xC3) return false;  // U+0080 to U+00BF
  if (character == "\u00D7" || character == "\u00F7") return false;
  const std::string_view lead = character.substr(0, 2);
  const bool punctuation = character[0] == '\xE2' || lead == "\xE3\x80" || character[0] == '\xEF';
  return !punctuation;
}

class Lexer {
 public:
  Lexer(std::uint32_t file, Diagnostics& diagnostics)
      : file_(file), text_(diagnostics.file(file).text), diagnostics_(diagnostics) {}

  Tokens run() {
    if (valid_utf8()) {
      if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
      while (skip_blanks(), at_ < text_.size()) token();
    }
    at_ = text_.size();
    emit(Kind::end_of_file, at_);
    match_brackets();
    return std::move(result_);
  }

 private:
  bool valid_utf8() {
    const std::size_t at = first_not_utf8(text_);
    if (at == text_.npos) return true;
    report(Code::invalid_utf8,
           fmt::format("byte 0x{:02X} is not UTF-8", static_cast<unsigned>(static_cast<unsigned char>(text_[at]))), at,
           at + 1, "save the file as UTF-8");
    return false;
  }

  // ---- blanks and comments

  void skip_blanks() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        line_before_ = true;
        ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r') {
        ++at_;
      } else if (c == '#') {
        comment();
      } else {
        return;
      }
    }
  }

  /// `##` documents the next declaration, if it stands on a line of its own.
  void comment() {
    const std::size_t end = std::min(text_.find('\n', at_), text_.size());
    std::string_view line = text_.substr(at_, end - at_);
    result_.comments.push_back({.span = span(at_, end), .own_line = line_before_});
    if (line_before_ && line.starts_with("##")) {
      line.remove_prefix(2);
      if (line.starts_with(' ')) line.remove_prefix(1);
      if (line.ends_with('\r')) line.remove_suffix(1);
      std::string& doc = result_.docs[result_.tokens.size()];
      if (!doc.empty()) doc += '\n';
      doc += line;
    }
    at_ = end;
  }

  // ---- tokens

  void token() {
    const char c = text_[at_];
    if (is_ascii_letter(c) || c == '_' || letter_length(at_) > 0) return word();
    if (is_digit(c)) return number();
    if (c == '"' || c == '\'' || rest().starts_with("\u201C") || rest().starts_with("\u201D")) return string();
    if (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1])) return number();
    mark();
  }

  std::string_view rest() const { return text_.substr(at_); }

  /// Bytes of the letter beyond ASCII at a place, or 0.
  std::size_t letter_length(std::size_t at) const {
    if (static_cast<unsigned char>(text_[at]) < 0x80) return 0;
    const std::size_t length = utf8_length(text_.substr(at, 4));
    return is_foreign_letter(text_.substr(at, length)) ? length : 0;
  }

  void word() {
    std::size_t end = at_;
    while (end < text_.size()) {
      const char c = text_[end];
      const std::size_t length = is_ascii_letter(c) || is_digit(c) || c == '_' ? 1 : letter_length(end);
      if (length == 0) break;
      end += length;
    }
    const std::string_view word = text_.substr(at_, end - at_);
    if (word == "_") return emit(Kind::underscore, end);
    for (const Spelling& spelling : reserved)
      if (spelling.text == word) return emit(spelling.kind, end);
    emit(Kind::name, end);
  }

  void digits(std::size_t& end) const {
    while (end < text_.size() && (is_digit(text_[end]) || text_[end] == '_')) ++end;
  }

  /// digit {digit} ["." digit {digit}] [("e"|"E") ["+"|"-"] digit {digit}]. Without a point it cannot run into `...`.
  void number() {
    const std::size_t begin = at_;
    std::size_t end = at_;
    digits(end);
    if (end < text_.size() && text_[end] == '.' && end + 1 < text_.size() && is_digit(text_[end + 1])) digits(++end);
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      std::size_t exponent = end + 1;
      if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
      if (exponent < text_.size() && is_digit(text_[exponent])) digits(end = exponent);
    }
    const bool bare_point = end < text_.size() && text_[end] == '.' && !text_.substr(end).starts_with("...");
    std::size_t wrong_end = end + (bare_point ? 1 : 0);
    while (wrong_end < text_.size() &&
           (is_ascii_letter(text_[wrong_end]) || is_digit(text_[wrong_end]) || text_[wrong_end] == '_'))
      ++wrong_end;
    if (text_[begin] == '.') {
      after_error_ = true;  // where it cannot stand, the digit before it is what is missing
      report(Code::malformed_number, "a number begins with a digit", begin, end,
             fmt::format("write `0{}`", text_.substr(begin, std::min<std::size_t>(end - begin, 40))));
    } else if (bare_point && wrong_end == end + 1) {
      report(Code::malformed_number, "a number does not end with a point", begin, wrong_end,
             fmt::format("write `{}.0`", text_.substr(begin, std::min<std::size_t>(end - begin, 40))));
    } else if (wrong_end > end) {
      report(Code::malformed_number,
             fmt::format("{} is neither a number nor a name", backquoted(text_.substr(begin, wrong_end - begin))),
             begin, wrong_end, "");
    }
    emit(Kind::number, wrong_end);
  }

  void string() {
    const std::size_t begin = at_;
    const bool ascii = text_[at_] == '"' || text_[at_] == '\'';
    const std::string_view closing = text_[at_] == '"' ? "\"" : text_[at_] == '\'' ? "'" : "\u201D";
    std::size_t end = at_ + (ascii ? 1 : 3);
    while (end < text_.size() && text_[end] != '\n' && !text_.substr(end).starts_with(closing))
      end += text_[end] == '\\' && end + 1 < text_.size() && text_[end + 1] != '\n' ? 2 : 1;
    end = std::min(end, text_.size());
    const bool closed = text_.substr(end).starts_with(closing);
    if (closed) end += closing.size();
    if (!closed) {
      report(Code::unterminated_string, "the string is not closed on its line", begin, end, "close it with `\"`");
    } else if (closing != "\"") {
      report(Code::unknown_character, "strings stand in double quotes", begin, end, "write `\"...\"`");
    }
    emit(Kind::string, end);
  }

  void mark() {
    for (const Spelling& spelling : marks) {
      const bool other = rest().starts_with("**") || rest().starts_with("=>");
      if (!other && rest().starts_with(spelling.text)) return emit(spelling.kind, at_ + spelling.text.size());
    }
    for (const Foreign& sign : foreign) {
      if (!rest().starts_with(sign.text)) continue;
      report(Code::unknown_character, fmt::format("`{}` is not used here", sign.text), at_, at_ + sign.text.size(),
             fmt::format("write `{}`", sign.ours));
      return emit(sign.kind, at_ + sign.text.size());
    }
    unknown();
  }

  /// A run of characters that begin nothing is one error, however long.
  void unknown() {
    after_error_ = true;
    const std::size_t begin = at_;
    const std::string_view first = text_.substr(at_, utf8_length(text_.substr(at_, 4)));
    while (rest().starts_with(first)) at_ += first.size();
    const auto code = static_cast<unsigned char>(first[0]);
    const std::string shown =
        code < 0x20 || code == 0x7F ? fmt::format("byte 0x{:02X}", unsigned{code}) : backquoted(first);
    report(Code::unknown_character, shown + " has no meaning here", begin, at_,
           std::string(repair_of_character(first)));
  }

  void emit(Kind kind, std::size_t end) {
    result_.tokens.push_back(
        {.kind = kind, .line_before = line_before_, .after_error = after_error_, .span = span(at_, end)});
    line_before_ = after_error_ = false;
    at_ = end;
  }

  // ---- brackets

  /// Gives brackets their partners. A brace outranks the other brackets, and a declaration at the left margin closes
  /// everything: so an unclosed bracket does not swallow the file.
  void match_brackets() {
    std::vector<std::size_t> open;
    std::vector<Token>& tokens = result_.tokens;
    std::vector<bool> stray(tokens.size());
    const auto unclosed = [&](std::size_t keep) {
      if (open.size() <= keep) return;
      report_unclosed(tokens[open.back()]);
      open.resize(keep);
    };
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const Kind kind = tokens[i].kind;
      if (kind == Kind::left_paren || kind == Kind::left_bracket || kind == Kind::left_brace) {
        open.push_back(i);
      } else if (kind == Kind::end_of_file || begins_declaration(i)) {
        unclosed(0);
      } else if (const auto opener = opener_of(kind)) {
        std::size_t at = open.size();
        while (at > 0 && tokens[open[at - 1]].kind != *opener &&
               (tokens[open[at - 1]].kind != Kind::left_brace || *opener == Kind::left_brace))
          --at;
        if (at == 0 || tokens[open[at - 1]].kind != *opener) {
          if (!open.empty() && kind != Kind::right_brace && tokens[open.back()].kind != Kind::left_brace) {
            take_as_partner(open.back(), i);
            open.pop_back();
          } else {
            if (i == 0 || !stray[i - 1])  // several in a row are one mistake
              result_.bracket_errors.push_back(
                  {.diagnostic = {.code = Code::unclosed_bracket,
                                  .message = fmt::format("{} closes nothing", describe(kind)),
                                  .primary = tokens[i].span},
                   .stray = true});
            stray[i] = true;
          }
          continue;
        }
        unclosed(at);
        tokens[i].partner = static_cast<std::uint32_t>(open.back());
        tokens[open.back()].partner = static_cast<std::uint32_t>(i);
        open.pop_back();
      }
    }
    remove(stray);
    std::ranges::stable_sort(result_.bracket_errors, {},
                             [](const BracketError& error) { return error.diagnostic.primary.begin; });
  }

  /// `(a]`: one mistake, and it is clear what was meant.
  void take_as_partner(std::size_t opening, std::size_t closing) {
    Token &left = result_.tokens[opening], &right = result_.tokens[closing];
    const Kind meant = left.kind == Kind::left_paren ? Kind::right_paren : Kind::right_bracket;
    result_.bracket_errors.push_back(
        {.diagnostic = {.code = Code::unclosed_bracket,
                        .message = fmt::format("{} is closed by {}", describe(left.kind), describe(right.kind)),
                        .primary = right.span,
                        .labels = {{left.span, "opened here"}},
                        .help = fmt::format("write {}", describe(meant))}});
    right.kind = meant;
    left.partner = static_cast<std::uint32_t>(closing);
    right.partner = static_cast<std::uint32_t>(opening);
  }

  static std::optional<Kind> opener_of(Kind closer) {
    if (closer == Kind::right_paren) return Kind::left_paren;
    if (closer == Kind::right_bracket) return Kind::left_bracket;
    if (closer == Kind::right_brace) return Kind::left_brace;
    return std::nullopt;
  }

  bool begins_declaration(std::size_t i) const {
    const Token& token = result_.tokens[i];
    if (token.kind != Kind::name || !token.line_before || i + 1 >= result_.tokens.size()) return false;
    const bool at_margin = token.span.begin == 0 || text_[token.span.begin - 1] == '\n';
    const Token& next = result_.tokens[i + 1];
    return at_margin && (next.kind == Kind::name || next.kind == Kind::string) && !next.line_before &&
           is_declaration_word(text_.substr(token.span.begin, token.span.end - token.span.begin));
  }

  void report_unclosed(const Token& token) {
    result_.bracket_errors.push_back({.diagnostic = {.code = Code::unclosed_bracket,
                                                     .message = fmt::format("{} is never closed", describe(token.kind)),
                                                     .primary = token.span}});
  }

  /// Takes closers without openers out of the list; the indices of partners and documentation follow.
  void remove(const std::vector<bool>& stray) {
    if (std::find(stray.begin(), stray.end(), true) == stray.end()) return;
    std::vector<std::uint32_t> moved(stray.size());
    std::vector<Token> kept;
    for (std::size_t i = 0; i < stray.size(); ++i) {
      moved[i] = static_cast<std::uint32_t>(kept.size());
      if (stray[i]) continue;
      kept.push_back(result_.tokens[i]);
      if (i > 0 && stray[i - 1]) kept.back().after_error = true;
    }
    for (Token& token : kept)
      if (token.partner != 0) token.partner = moved[token.partner];
    std::map<std::size_t, std::string> docs;
    for (auto& [index, doc] : result_.docs) docs[moved[index]] = std::move(doc);
    result_.tokens = std::move(kept);
    result_.docs = std::move(docs);
  }

  // ---- messages

  Span span(std::size_t begin, std::size_t end) const {
    return {file_, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
  }
  void report(Code code, std::string message, std::size_t begin, std::size_t end, std::string help) {
    diagnostics_.report(
        {.code = code, .message = std::move(message), .primary = span(begin, end), .help = std::move(help)});
  }

  std::uint32_t file_;
  std::string_view text_;
  Diagnostics& diagnostics_;
  std::size_t at_ = 0;
  bool line_before_ = true, after_error_ = false;
  Tokens result_;
};

}  // namespace

bool is_declaration_word(std::string_view word) {
  constexpr std::string_view words[] = {"import",    "const", "fn",    "model", "layer",
                                        "optimizer", "data",  "train", "test"};
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

std::string describe(TokenKind kind) {
  if (kind == Kind::end_of_file) return "the end of the file";
  if (kind == Kind::name) return "a name";
  if (kind == Kind::number) return "a number";
  if (kind == Kind::string) return "a string";
  if (kind == Kind::underscore) return "`_`";
  for (const Spelling& spelling : reserved)
    if (spelling.kind == kind) return fmt::format("`{}`", spelling.text);
  for (const Spelling& spelling : marks)
    if (spelling.kind == kind) return fmt::format("`{}`", spelling.text);
  return "?";
}

Tokens tokenize(std::uint32_t file, Diagnostics& diagnostics) { return Lexer(file, diagnostics).run(); }

}  // namespace nnc
