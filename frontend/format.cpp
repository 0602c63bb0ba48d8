// The syntax tree says where declarations, statements and blocks begin and end; between those places the tokens are
// laid out as they stand, with spaces that depend on neighbours and with breaks inside brackets. Tokens are never
// added or taken away but for `;` and the comma before a closing bracket.
#include "frontend/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "frontend/ast.h"
#include "frontend/layout.h"
#include "frontend/lexer.h"
#include "frontend/parser.h"

namespace nnc {
namespace {

using Kind = TokenKind;
using layout::Doc;

constexpr int width = 100;

/// Tokens [begin, end).
struct Range {
  std::size_t begin = 0, end = 0;
  bool empty() const { return begin >= end; }
};

bool ends_operand(Kind kind) {
  return kind == Kind::name || kind == Kind::number || kind == Kind::string || kind == Kind::kw_true ||
         kind == Kind::kw_false || kind == Kind::right_paren || kind == Kind::right_bracket ||
         kind == Kind::right_brace || kind == Kind::underscore || kind == Kind::ellipsis;
}
bool opens(Kind kind) { return kind == Kind::left_paren || kind == Kind::left_bracket || kind == Kind::left_brace; }

/// How tightly an operator binds, for breaks before the loosest; 0 is none.
int looseness(Kind kind) {
  switch (kind) {
    case Kind::kw_for:
      return 8;
    case Kind::pipe:
      return 7;
    case Kind::kw_or:
      return 6;
    case Kind::kw_and:
      return 5;
    case Kind::equal:
    case Kind::not_equal:
    case Kind::less:
    case Kind::less_equal:
    case Kind::greater:
    case Kind::greater_equal:
      return 3;
    case Kind::plus:
    case Kind::minus:
      return 2;
    case Kind::star:
    case Kind::slash:
    case Kind::double_slash:
    case Kind::at:
      return 1;
      // clang-format off
    case Kind::end_of_file: case Kind::name: case Kind::number: case Kind::string: case Kind::kw_let:
    case Kind::kw_return: case Kind::kw_if: case Kind::kw_else: case Kind::kw_param: case Kind::kw_state:
    case Kind::kw_carry: case Kind::kw_update: case Kind::kw_not: case Kind::kw_true: case Kind::kw_false:
    case Kind::kw_in: case Kind::left_paren: case Kind::right_paren: case Kind::left_bracket:
    case Kind::right_bracket: case Kind::left_brace: case Kind::right_brace: case Kind::comma: case Kind::colon:
    case Kind::semicolon: case Kind::dot: case Kind::ellipsis: case Kind::underscore: case Kind::assign:
    case Kind::arrow: case Kind::caret:
      // clang-format on
      return 0;
  }
  return 0;
}

class Formatter {
 public:
  Formatter(std::uint32_t file, const Ast& ast, Tokens tokens, const Diagnostics& diagnostics)
      : text_(diagnostics.file(file).text),
        ast_(ast),
        tokens_(std::move(tokens.tokens)),
        comments_(std::move(tokens.comments)) {}

  std::string run() {
    std::vector<Part> parts;
    for (const ast::Declaration& declaration : ast_.declarations)
      parts.push_back({tokens_of(declaration.span), [&] { return this->declaration(declaration); }});
    const Doc doc = body(parts, 0, static_cast<std::uint32_t>(text_.size()), true);
    std::string out = layout::print(doc, width);
    out.erase(0, out.find_first_not_of('\n'));
    return out;
  }

 private:
  /// One of several things that stand below each other.
  struct Part {
    Range range;
    std::function<Doc()> doc;
  };

  // ---- places ----------------------------------------------------------------------------------------------------

  std::size_t token_at(std::uint32_t offset) const {
    const auto at = std::lower_bound(tokens_.begin(), tokens_.end(), offset,
                                     [](const Token& token, std::uint32_t place) { return token.span.begin < place; });
    return static_cast<std::size_t>(at - tokens_.begin());
  }
  /// The tokens of a span, without the `;` that ends them.
  Range tokens_of(Span span) const {
    Range range{token_at(span.begin), token_at(span.end)};
    while (range.end > range.begin + 1 && kind(range.end - 1) == Kind::semicolon) --range.end;
    return range;
  }
  Kind kind(std::size_t i) const { return tokens_[i].kind; }
  std::string spelled(std::size_t i) const {
    return text_.substr(tokens_[i].span.begin, tokens_[i].span.end - tokens_[i].span.begin);
  }
  /// The comments that begin in [begin, end) of the text.
  std::vector<Comment> comments_between(std::uint32_t begin, std::uint32_t end) const {
    std::vector<Comment> result;
    const auto from = std::lower_bound(comments_.begin(), comments_.end(), begin,
                                       [](const Comment& c, std::uint32_t place) { return c.span.begin < place; });
    for (auto at = from; at != comments_.end() && at->span.begin < end; ++at) result.push_back(*at);
    return result;
  }
  bool empty_line_between(std::uint32_t begin, std::uint32_t end) const {
    return std::count(text_.begin() + begin, text_.begin() + std::max(begin, end), '\n') > 1;
  }
  std::string remark_text(const Comment& comment) const {
    std::string line = text_.substr(comment.span.begin, comment.span.end - comment.span.begin);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t')) line.pop_back();
    return line;
  }

  // ---- what stands below each other ------------------------------------------------------------------------------

  /// The parts with the comments and empty lines around them, from byte `begin` (behind what opens them) to byte `end`.
  Doc body(const std::vector<Part>& parts, std::uint32_t begin, std::uint32_t end, bool file = false) const {
    std::vector<Doc> docs;
    std::uint32_t last = begin;
    bool first = true;
    const auto start_line = [&](std::uint32_t at) {
      if (!first || !file) docs.push_back(layout::hard_line());
      if (!first && empty_line_between(last, at)) docs.push_back(layout::blank_line());
      first = false;
    };
    const auto put_comments = [&](std::uint32_t until) {
      for (const Comment& comment : comments_between(last, until)) {
        if (comment.own_line) {
          start_line(comment.span.begin);
          docs.push_back(layout::text(remark_text(comment)));
        } else {
          docs.push_back(layout::remark(remark_text(comment)));
        }
        last = comment.span.end;
      }
    };
    for (const Part& part : parts) {
      put_comments(tokens_[part.range.begin].span.begin);
      start_line(tokens_[part.range.begin].span.begin);
      docs.push_back(part.doc());
      last = tokens_[part.range.end - 1].span.end;
    }
    put_comments(end);
    return layout::concat(std::move(docs));
  }

  /// "{" parts "}", from the token of the opening brace to the one behind the closing brace. On one line where the
  /// source has it so and `one_line` allows it.
  Doc braces(Range range, const std::vector<Part>& parts, bool one_line) const {
    const std::uint32_t begin = tokens_[range.begin].span.end, end = tokens_[range.end - 1].span.begin;
    if (parts.empty() && comments_between(begin, end).empty()) return layout::text("{}");
    if (one_line)
      return layout::concat({layout::text("{"), layout::indent(2, layout::concat({layout::line(), parts[0].doc()})),
                             layout::line(), layout::text("}")});
    return layout::concat(
        {layout::text("{"), layout::indent(2, body(parts, begin, end)), layout::hard_line(), layout::text("}")});
  }
  /// One statement, on the line of its brace, and no comment.
  bool on_one_line(Range range, std::size_t count) const {
    return count == 1 && !tokens_[range.begin + 1].line_before &&
           comments_between(tokens_[range.begin].span.end, tokens_[range.end - 1].span.begin).empty();
  }

  // ---- statements ------------------------------------------------------------------------------------------------

  std::vector<Part> parts_of(const ast::Block& block) const {
    std::vector<Part> parts;
    for (const ast::Statement& one : block.statements)
      parts.push_back({tokens_of(one.span), [this, &one] { return statement(one); }});
    return parts;
  }

  Doc statement(const ast::Statement& one) const {
    if (const auto* branch = std::get_if<ast::If>(&one.form)) {
      const Range range = tokens_of(one.span);
      return layout::group(if_statement(*branch, range.begin), !if_on_one_line(*branch));
    }
    return flat_statement(tokens_of(one.span));
  }

  bool if_on_one_line(const ast::If& branch) const {
    const Range yes = tokens_of(branch.yes.span);
    const auto plain = [](const ast::Block& block) {
      return block.statements.empty() || !std::holds_alternative<ast::If>(block.statements[0].form);
    };
    if (!on_one_line(yes, branch.yes.statements.size()) || !plain(branch.yes)) return false;
    if (!branch.no) return true;
    const Range no = tokens_of(branch.no->span);
    if (kind(no.begin) == Kind::kw_if || !remarks_before(yes.end, no.begin).empty()) return false;
    return on_one_line(no, branch.no->statements.size()) && plain(*branch.no);
  }

  /// `if` from its first token: its blocks are all on one line or none is.
  Doc if_statement(const ast::If& branch, std::size_t begin) const {
    const bool one_line = if_on_one_line(branch);
    const Range yes = tokens_of(branch.yes.span);
    std::vector<Doc> docs{sequence({begin, yes.begin}, 0), layout::text(" "),
                          braces(yes, parts_of(branch.yes), one_line)};
    if (branch.no) {
      const Range no = tokens_of(branch.no->span);
      std::vector<Doc> remarks = remarks_before(yes.end, no.begin);
      docs.push_back(remarks.empty() ? layout::text(" ") : layout::concat(std::move(remarks)));
      docs.push_back(layout::text("else "));
      if (kind(no.begin) == Kind::kw_if)
        docs.push_back(if_statement(std::get<ast::If>(branch.no->statements.at(0).form), no.begin));
      else
        docs.push_back(braces(no, parts_of(*branch.no), one_line));
    }
    return layout::concat(std::move(docs));
  }

  /// A statement without blocks: it breaks in its brackets, or before each `|>`.
  Doc flat_statement(Range range) const {
    std::vector<std::size_t> pipes;
    bool at_line = false;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      if (kind(i) == Kind::pipe) {
        pipes.push_back(i);
        at_line = at_line || tokens_[i].line_before;
      }
      if (opens(kind(i))) i = tokens_[i].partner;
    }
    if (pipes.empty()) return sequence(range, 0);
    return layout::group(layout::indent(2, sequence(range, looseness(Kind::pipe))), at_line);
  }

  // ---- declarations ----------------------------------------------------------------------------------------------

  Doc declaration(const ast::Declaration& one) const {
    const Range range = tokens_of(one.span);
    if (const auto* f = std::get_if<ast::Function>(&one.form)) return with_block(range, f->body);
    if (const auto* m = std::get_if<ast::Model>(&one.form)) return with_block(range, m->body);
    if (const auto* l = std::get_if<ast::Layer>(&one.form)) return with_block(range, l->body);
    if (const auto* o = std::get_if<ast::Optimizer>(&one.form)) return with_block(range, o->body);
    if (const auto* d = std::get_if<ast::Data>(&one.form)) return with_lines(range, d->data);
    if (const auto* t = std::get_if<ast::Train>(&one.form)) return with_lines(range, t->items);
    if (const auto* t = std::get_if<ast::Test>(&one.form)) return with_lines(range, t->checks);
    return flat_statement(range);
  }

  Doc with_block(Range range, const ast::Block& block) const {
    const Range braced = tokens_of(block.span);
    const bool one_line =
        on_one_line(braced, block.statements.size()) && !std::holds_alternative<ast::If>(block.statements[0].form);
    const Doc inner = layout::group(braces(braced, parts_of(block), one_line), !one_line);
    return layout::concat({signature({range.begin, braced.begin}), layout::text(" "), inner});
  }

  /// A head that does not fit goes on before its second list, else before `->`.
  Doc signature(Range range) const {
    std::size_t second = 0, arrow = 0;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      if (kind(i) == Kind::left_paren && i > range.begin && kind(i - 1) == Kind::right_paren) second = i;
      if (kind(i) == Kind::arrow) arrow = i;
      if (opens(kind(i))) i = tokens_[i].partner;
    }
    const std::size_t at = second ? second : arrow;
    if (at == 0) return sequence(range, 0);
    // A first list that does not fit alone is broken itself; then the rest follows its closing bracket.
    const Doc before = sequence({range.begin, at}, 0);
    const std::string alone = layout::print(layout::group(before), width);
    const bool breaks = std::count(alone.begin(), alone.end(), '\n') > 1;
    std::vector<Doc> remarks = remarks_before(at);
    const Doc gap = !remarks.empty() ? layout::concat(std::move(remarks))
                    : breaks         ? layout::text(second ? "" : " ")
                    : second         ? layout::soft_line()
                                     : layout::line();
    return layout::group(
        layout::concat({before, layout::indent(breaks ? 0 : 4, layout::concat({gap, sequence({at, range.end}, 0)}))}));
  }

  template <class Line>
  Doc with_lines(Range range, const std::vector<Line>& lines) const {
    std::size_t brace = range.begin;
    while (kind(brace) != Kind::left_brace) ++brace;
    std::vector<Part> parts;
    for (const Line& line : lines)
      parts.push_back({tokens_of(line.span), [this, &line] { return flat_statement(tokens_of(line.span)); }});
    const Range braced{brace, range.end};
    const bool one_line = on_one_line(braced, lines.size());
    return layout::concat({sequence({range.begin, brace}, 0), layout::text(" "),
                           layout::group(braces(braced, parts, one_line), !one_line)});
  }

  // ---- tokens that follow each other -----------------------------------------------------------------------------

  /// `break_at`: before operators of this looseness a line may end; 0 is none.
  Doc sequence(Range range, int break_at, bool in_index = false) const {
    std::vector<Doc> docs;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      if (i > range.begin) separate(docs, i, break_at, in_index);
      if (opens(kind(i)) && tokens_[i].partner < range.end) {
        docs.push_back(bracket(i));
        i = tokens_[i].partner;
      } else {
        docs.push_back(layout::text(spelled(i)));
      }
    }
    return layout::concat(std::move(docs));
  }

  /// The comments behind token `i - 1` and before token `until`, each with its line, and the end of the last line;
  /// empty where there are none.
  std::vector<Doc> remarks_before(std::size_t i, std::size_t until) const {
    std::vector<Doc> docs;
    for (const Comment& comment : comments_between(tokens_[i - 1].span.end, tokens_[until].span.begin)) {
      if (comment.own_line) docs.push_back(layout::hard_line());
      docs.push_back(comment.own_line ? layout::text(remark_text(comment)) : layout::remark(remark_text(comment)));
    }
    if (!docs.empty()) docs.push_back(layout::hard_line());
    return docs;
  }
  std::vector<Doc> remarks_before(std::size_t i) const { return remarks_before(i, i); }

  /// What stands between a token and the one before it.
  void separate(std::vector<Doc>& docs, std::size_t i, int break_at, bool in_index) const {
    std::vector<Doc> remarks = remarks_before(i);
    if (!remarks.empty())
      docs.push_back(layout::concat(std::move(remarks)));
    else if (break_at != 0 && looseness(kind(i)) == break_at && !is_sign(i))
      docs.push_back(layout::line());
    else if (space_before(i, in_index))
      docs.push_back(layout::text(" "));
  }

  bool is_sign(std::size_t i) const {
    return kind(i) == Kind::minus && (i == 0 || !ends_operand(kind(i - 1)) || is_check_word(i - 1));
  }

  /// expect, gradcheck and within are names to the lexer.
  bool is_check_word(std::size_t i) const {
    if (kind(i) != Kind::name) return false;
    if (check_words_.empty() && !ast_.declarations.empty()) find_check_words();
    return check_words_.contains(i);
  }
  void find_check_words() const {
    check_words_.insert(tokens_.size());  // found
    for (const ast::Declaration& declaration : ast_.declarations) {
      if (const ast::Block* body = body_of(declaration)) find_expectations(*body);
      const auto* test = std::get_if<ast::Test>(&declaration.form);
      if (!test) continue;
      for (const ast::Check& check : test->checks) {
        if (!std::holds_alternative<ast::Let>(check.form)) check_words_.insert(token_at(check.span.begin));
        if (const auto* expect = std::get_if<ast::Expect>(&check.form); expect && expect->within)
          check_words_.insert(token_at(expect->within->span.begin) - 1);
      }
    }
  }

  static const ast::Block* body_of(const ast::Declaration& declaration) {
    if (const auto* function = std::get_if<ast::Function>(&declaration.form)) return &function->body;
    if (const auto* layer = std::get_if<ast::Layer>(&declaration.form)) return &layer->body;
    if (const auto* model = std::get_if<ast::Model>(&declaration.form)) return &model->body;
    if (const auto* optimizer = std::get_if<ast::Optimizer>(&declaration.form)) return &optimizer->body;
    return nullptr;
  }
  void find_expectations(const ast::Block& block) const {
    for (const ast::Statement& statement : block.statements) {
      if (std::holds_alternative<ast::Expect>(statement.form)) check_words_.insert(token_at(statement.span.begin));
      const auto* branch = std::get_if<ast::If>(&statement.form);
      if (branch) find_expectations(branch->yes);
      if (branch && branch->no) find_expectations(*branch->no);
    }
  }

  bool space_before(std::size_t i, bool in_index) const {
    const Kind before = kind(i - 1), here = kind(i);
    if (here == Kind::comma || here == Kind::semicolon || here == Kind::dot || before == Kind::dot) return false;
    if (here == Kind::caret || before == Kind::caret) return false;
    if (here == Kind::colon) return false;
    if (before == Kind::colon) return !in_index;
    if (before == Kind::minus && is_sign(i - 1)) return false;
    if (here == Kind::left_paren || here == Kind::left_bracket) return !ends_operand(before) || is_check_word(i - 1);
    return true;
  }

  // ---- brackets --------------------------------------------------------------------------------------------------

  /// The elements between commas; the comma that may stand before the closing bracket is none.
  std::vector<Range> elements_of(std::size_t open) const {
    std::vector<Range> result;
    const std::size_t close = tokens_[open].partner;
    std::size_t begin = open + 1;
    for (std::size_t i = begin; i <= close; ++i) {
      if (i < close && opens(kind(i))) i = tokens_[i].partner;
      if (i == close || kind(i) == Kind::comma) {
        if (begin < i) result.push_back({begin, i});
        begin = i + 1;
      }
    }
    return result;
  }

  /// Whether the grammar lets a comma stand before the closing bracket.
  bool takes_last_comma(std::size_t open, std::span<const Range> elements) const {
    if (kind(open) == Kind::left_brace) return false;
    for (std::size_t i = elements[0].begin; i < elements[0].end; ++i) {
      if (kind(i) == Kind::kw_for) return false;  // a comprehension
      if (opens(kind(i))) i = tokens_[i].partner;
    }
    if (kind(open) == Kind::left_bracket) return true;
    if (kind(tokens_[open].partner + 1) == Kind::assign) return false;            // the path of a setting
    return open > 0 && ends_operand(kind(open - 1)) && !is_check_word(open - 1);  // a call, or parameters
  }

  /// A bracket with what it holds.
  Doc bracket(std::size_t open) const {
    const std::size_t close = tokens_[open].partner;
    const bool brace = kind(open) == Kind::left_brace;
    const Doc gap = brace ? layout::line() : layout::soft_line();
    const std::vector<Range> elements = elements_of(open);
    const auto comments = comments_between(tokens_[open].span.end, tokens_[close].span.begin);
    if (elements.empty() && comments.empty()) return layout::text(spelled(open) + spelled(close));
    if (comments.empty() && elements.size() > 8)
      if (auto words = plain_words(elements))
        return layout::group(layout::concat({layout::text(spelled(open)),
                                             layout::indent(2, layout::concat({gap, layout::fill(std::move(*words))})),
                                             gap, layout::text(spelled(close))}));
    const bool in_index = kind(open) == Kind::left_bracket && open > 0 && ends_operand(kind(open - 1));
    std::vector<Doc> inner{};
    std::uint32_t last = tokens_[open].span.end;
    bool at_line = false;  // a hard line stands where the gap would
    const auto put_comments = [&](std::uint32_t until) {
      for (const Comment& comment : comments_between(last, until)) {
        if (comment.own_line) inner.push_back(layout::hard_line());
        inner.push_back(comment.own_line ? layout::text(remark_text(comment)) : layout::remark(remark_text(comment)));
        last = comment.span.end;
        at_line = true;
      }
    };
    for (std::size_t k = 0; k < elements.size(); ++k) {
      put_comments(tokens_[elements[k].begin].span.begin);
      inner.push_back(at_line ? layout::hard_line() : k == 0 ? gap : layout::line());
      at_line = false;
      inner.push_back(element(elements[k], in_index));
      const bool is_last = k + 1 == elements.size();
      if (!is_last) inner.push_back(layout::text(","));
      if (is_last && takes_last_comma(open, elements)) inner.push_back(layout::if_broken(","));
      last = tokens_[elements[k].end - 1].span.end;
    }
    put_comments(tokens_[close].span.begin);
    const bool broken = tokens_[open + 1].line_before && close != open + 1;
    return layout::group(
        layout::concat({layout::text(spelled(open)), layout::indent(2, layout::concat(std::move(inner))),
                        at_line ? layout::hard_line() : gap, layout::text(spelled(close))}),
        broken);
  }

  /// An element breaks before its loosest operators.
  Doc element(Range range, bool in_index) const {
    int loosest = 0;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      if (i > range.begin && !is_sign(i)) loosest = std::max(loosest, looseness(kind(i)));
      if (opens(kind(i))) i = tokens_[i].partner;
    }
    return layout::group(layout::indent(loosest ? 2 : 0, sequence(range, loosest, in_index)));
  }

  /// The elements with their commas, where each is a word or a number.
  std::optional<std::vector<std::string>> plain_words(const std::vector<Range>& elements) const {
    std::vector<std::string> words;
    for (const Range& range : elements) {
      const bool sign = kind(range.begin) == Kind::minus;
      if (range.end - range.begin != (sign ? 2u : 1u)) return std::nullopt;
      words.push_back((sign ? "-" : "") + spelled(range.end - 1) + (&range == &elements.back() ? "" : ","));
    }
    return words;
  }

  const std::string& text_;
  const Ast& ast_;
  std::vector<Token> tokens_;
  std::vector<Comment> comments_;
  mutable std::set<std::size_t> check_words_;
};

/// What a layout must not change: the tree, and the comments in their order.
std::string meaning_of(std::uint32_t file, Diagnostics& diagnostics) {
  std::string meaning = print(parse(file, diagnostics));
  for (const Comment& comment : tokenize(file, diagnostics).comments) {
    std::string_view line = diagnostics.text(comment.span);
    line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
    meaning += fmt::format("{}\n", line);
  }
  return meaning;
}

}  // namespace

std::optional<std::string> format(std::uint32_t file, Diagnostics& diagnostics) {
  const std::size_t errors = diagnostics.error_count();
  const Ast ast = parse(file, diagnostics);
  if (diagnostics.error_count() != errors) return std::nullopt;
  std::string text = Formatter(file, ast, tokenize(file, diagnostics), diagnostics).run();
  Diagnostics again;
  const std::uint32_t formatted = again.add_file({.path = diagnostics.file(file).path, .text = text});
  if (meaning_of(formatted, again) != meaning_of(file, diagnostics) || again.has_errors())
    throw std::logic_error("the layout of " + diagnostics.file(file).path + " would change what it means");
  return text;
}

}  // namespace nnc
