// Recursive descent: each function is named after a rule of the grammar and carries its production. A function begins
// at the first token of its rule and leaves the token after it.
//
// Line ends: a token knows whether a line ends before it. That ends a statement, except inside () and [], after a
// comma, and before `|>`, `->`, `else` and the second parameter list.
//
// Errors: the first error of a statement is reported and unwinds (SyntaxError, never seen outside this file) to the
// statement, which is skipped to its end and left out; its declaration is marked as damaged. Brackets have been matched
// by then, so the end is found without guessing what was meant.
#include "frontend/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>

#include "frontend/lexer.h"
#include "frontend/nearest.h"

namespace nnc {
namespace {

using namespace ast;
using Kind = TokenKind;

/// Unwinds to the statement that the reported error is in.
struct SyntaxError {};

/// Levels of brackets, blocks and prefix operators within each other. A recursion of this depth fits every stack.
constexpr int max_nesting = 256;

constexpr const char* goes_on =
    "to go on on the next line, put the expression in parentheses or begin the line with `|>`";

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

std::uint16_t depth_of(const ExprPtr& expr) { return expr ? expr->depth : std::uint16_t{0}; }

class Parser {
 public:
  Parser(std::uint32_t file, Diagnostics& diagnostics)
      : diagnostics_(diagnostics), lexed_(tokenize(file, diagnostics)), tokens_(lexed_.tokens) {
    ast_.file = file;
  }

  // file = {decl} .
  Ast file() {
    while (!at(Kind::end_of_file)) {
      const std::size_t begin = position_;
      try {
        decl();
      } catch (SyntaxError) {
        skip_to_declaration(begin);
        const Token& declared = tokens_[std::min(begin + 1, tokens_.size() - 1)];
        if (declared.kind == Kind::name) ast_.lost.emplace_back(text(declared));
      }
    }
    return std::move(ast_);
  }

 private:
  // ---- tokens ----------------------------------------------------------------------------------------------------

  const Token& token() const { return tokens_[position_]; }
  const Token& next() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Span last_span() const { return tokens_[position_ - 1].span; }
  bool at(Kind kind) const { return token().kind == kind; }
  std::string_view text(const Token& token) const { return diagnostics_.text(token.span); }
  bool at_word(std::string_view word) const { return at(Kind::name) && text(token()) == word; }
  void advance() {
    if (!at(Kind::end_of_file)) ++position_;
  }
  bool accept(Kind kind) {
    if (!at(kind)) return false;
    advance();
    return true;
  }
  void expect(Kind kind, std::string_view why = "") {
    if (!accept(kind)) fail_expected(describe(kind), std::string(why));
  }
  Span span_from(Span begin) const { return join(begin, last_span()); }

  // ---- errors ----------------------------------------------------------------------------------------------------

  [[noreturn]] void fail(Code code, Span at, std::string message, std::string help = "") {
    // What the lexer left out is what is missing here.
    if (!token().after_error || token().line_before)
      diagnostics_.report({.code = code, .message = std::move(message), .primary = at, .help = std::move(help)});
    throw SyntaxError{};
  }

  std::string found() const {
    const bool spelled = at(Kind::name) || at(Kind::number) || at(Kind::string);
    return spelled ? backquoted(text(token())) : describe(token().kind);
  }

  /// Where a line ended too early, the place is its end, not the beginning of the next.
  [[noreturn]] void fail_expected(std::string_view what, std::string help = "") {
    if (token().line_before && position_ > 0) {
      if (token().after_error) throw SyntaxError{};
      const Span last = last_span();
      fail(Code::unexpected_token, {last.file, last.end, last.end + 1},
           fmt::format("expected {}, but the line ends", what), std::move(help));
    }
    fail(Code::unexpected_token, token().span, fmt::format("expected {}, found {}", what, found()), std::move(help));
  }

  /// Goes to the end of the statement that began at `begin`, which lies at or after the place of the error. Brackets
  /// that open within the statement are jumped over with what they hold.
  void skip_statement(std::size_t begin) {
    nesting_ = brackets_ = 0;
    const std::size_t error = position_;
    for (position_ = begin; !at(Kind::end_of_file); ++position_) {
      const bool past = position_ >= error && position_ > begin;
      if (past && (at(Kind::right_brace) || token().line_before || begins_declaration())) return;
      if (past && accept(Kind::semicolon)) return;
      if (at_opening() && token().partner > position_) position_ = token().partner;
    }
  }

  bool at_opening() const { return at(Kind::left_paren) || at(Kind::left_bracket) || at(Kind::left_brace); }

  /// Goes to the next declaration; `begin` is where the one with the error began.
  void skip_to_declaration(std::size_t begin) {
    nesting_ = brackets_ = 0;
    const std::size_t error = position_;
    for (position_ = begin; !at(Kind::end_of_file); ++position_) {
      if (position_ >= error && position_ > begin && token().line_before && declaration_word_here()) return;
      if (at_opening() && token().partner > position_) position_ = token().partner;
    }
  }

  bool declaration_word_here() const {
    return at(Kind::name) && is_declaration_word(text(token())) && !next().line_before &&
           (next().kind == Kind::name || next().kind == Kind::string);
  }

  /// A declaration at the left margin ends every block that was left open before it.
  bool begins_declaration() const {
    const std::uint32_t begin = token().span.begin;
    const std::string& source = diagnostics_.file(ast_.file).text;
    return token().line_before && (begin == 0 || source[begin - 1] == '\n') && declaration_word_here();
  }

  /// Counts levels while it lives.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser_.nesting_ > max_nesting)
        parser_.fail(Code::nested_too_deep, parser_.token().span, "this is nested too deep",
                     fmt::format("at most {} levels; name parts of it with `let`", max_nesting));
    }
    ~Level() { --parser_.nesting_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser_;
  };

  /// Inside brackets line ends mean nothing. An opening bracket without a partner has been reported: its statement
  /// ends.
  class Bracket {
   public:
    Bracket(Parser& parser, Kind closing)
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
        parser_.diagnostics_.report(
            {.code = Code::unexpected_token,
             .message = fmt::format("expected {}{}, found {}", allowed, describe(closing_), parser_.found()),
             .primary = parser_.token().span,
             .labels = {{opening_, "opened here"}}});
        throw SyntaxError{};
      }
      parser_.advance();
      return join(opening_, parser_.last_span());
    }
    bool at_end() const { return parser_.at(closing_); }
    Span opening() const { return opening_; }

   private:
    Parser& parser_;
    Level level_;
    Kind closing_;
    Span opening_;
  };

  // ---- names -----------------------------------------------------------------------------------------------------

  Name name(std::string_view what = "a name") {
    if (at(Kind::name)) {
      advance();
      return {std::string(diagnostics_.text(last_span())), last_span()};
    }
    const bool reserved_here = token().kind >= Kind::kw_let && token().kind <= Kind::kw_in && !token().line_before;
    if (reserved_here)
      fail(Code::reserved_word, token().span, fmt::format("{} is a reserved word, it cannot be {}", found(), what));
    fail_expected(what);
  }

  /// A name whose case says what it is; the wrong case is an error that costs nothing else.
  Name lower_name(std::string_view what) { return cased_name(what, "small", is_upper, 'a' - 'A'); }
  Name capital_name(std::string_view what) { return cased_name(what, "capital", is_lower, 'A' - 'a'); }
  Name cased_name(std::string_view what, std::string_view letter, bool (*wrong)(char), int shift) {
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
  Path path() {
    Path result;
    result.push_back(name());
    while (accept(Kind::dot)) result.push_back(name());
    return result;
  }

  // ---- declarations ----------------------------------------------------------------------------------------------

  // decl = "import" STR END | "const" name "=" expr END | "fn" ... | "test" STR "{" {check} "}" .
  void decl() {
    Declaration result;
    const auto doc = lexed_.docs.find(position_);
    if (doc != lexed_.docs.end()) result.doc = doc->second;
    const Span begin = token().span;
    const std::string word = at(Kind::name) ? std::string(text(token())) : "";
    if (!is_declaration_word(word)) fail_no_declaration(word);
    advance();
    damaged_ = false;
    if (word == "import") result.form = import_decl();
    if (word == "const") result.form = const_decl();
    if (word == "fn") result.form = fn_decl();
    if (word == "model") result.form = model_decl();
    if (word == "layer") result.form = layer_decl();
    if (word == "optimizer") result.form = optimizer_decl();
    if (word == "data") result.form = data_decl();
    if (word == "train") result.form = train_decl();
    if (word == "test") result.form = test_decl();
    result.span = span_from(begin);
    result.head = join(begin, head_);
    result.damaged = damaged_;
    ast_.declarations.push_back(std::move(result));
  }

  [[noreturn]] void fail_no_declaration(const std::string& word) {
    static const std::vector<std::string> words{"import",    "const", "fn",    "model", "layer",
                                                "optimizer", "data",  "train", "test"};
    std::string help = did_you_mean(word, words);
    if (word == "let" || at(Kind::kw_let)) help = "at the top of a file a name is given by `const`";
    if (word == "def" || word == "func" || word == "function") help = "functions are declared by `fn`";
    if (word == "class") help = "layers are declared by `layer`, models by `model`";
    fail(Code::unexpected_token, token().span, fmt::format("expected a declaration, found {}", found()),
         help.empty() ? "declarations begin with const, fn, layer, model, optimizer, data, train, import or test"
                      : help);
  }

  Import import_decl() {
    head_ = token().span;
    Import result{.path = {}, .path_span = token().span};
    result.path = string_token("the file's name in quotes");
    end("the declaration");
    return result;
  }

  Const const_decl() {
    Const result;
    head_ = (result.name = lower_name("a constant")).span;
    expect(Kind::assign);
    result.value = expr();
    end("the declaration");
    return result;
  }

  Function fn_decl() {
    Function result;
    head_ = (result.name = lower_name("a function")).span;
    result.inputs = params();
    result.results = arrow_result();
    result.body = block();
    return result;
  }

  Model model_decl() {
    Model result;
    head_ = (result.name = capital_name("a model")).span;
    result.inputs = params();
    result.results = arrow_result();
    result.body = block();
    return result;
  }

  Layer layer_decl() {
    Layer result;
    head_ = (result.name = capital_name("a layer")).span;
    result.settings = params();
    if (!at(Kind::left_paren))
      fail_expected("the layer's inputs in parentheses",
                    "a layer has two lists: `layer Name(settings)(x: float[..., In]) -> ...`");
    result.inputs = params();
    result.results = arrow_result();
    result.body = block();
    return result;
  }

  Optimizer optimizer_decl() {
    Optimizer result;
    head_ = (result.name = lower_name("an optimizer")).span;
    result.settings = params();
    if (!at(Kind::left_paren))
      fail_expected(
          "the parameter and its gradient in parentheses",
          "an optimizer has two lists: `optimizer name(lr: float)(p: float[...], g: float[...]) -> float[...]`");
    result.inputs = params();
    expect(Kind::arrow);
    result.result = type();
    result.body = block();
    return result;
  }

  // params = "(" [param {"," param} [","]] ")" .
  std::vector<Param> params() {
    if (!at(Kind::left_paren)) fail_expected("`(`");
    Bracket bracket(*this, Kind::right_paren);
    std::vector<Param> result;
    while (!bracket.at_end()) {
      result.push_back(param());
      if (!accept(Kind::comma)) break;
    }
    bracket.close("`,` or ");
    return result;
  }

  // param = name ":" type ["=" expr] .
  Param param() {
    Param result;
    result.name = name("a parameter's name");
    expect(Kind::colon, "every parameter has a type, as in `x: float[..., In]` or `out: int`");
    result.type = type();
    if (accept(Kind::assign)) result.value = expr();
    result.span = span_from(result.name.span);
    return result;
  }

  // "->" result; result = type | "(" type {"," type} ")" .
  std::vector<TypeExpr> arrow_result() {
    expect(Kind::arrow);
    std::vector<TypeExpr> result;
    if (!at(Kind::left_paren)) {
      result.push_back(type());
      return result;
    }
    Bracket bracket(*this, Kind::right_paren);
    do result.push_back(type());
    while (accept(Kind::comma));
    bracket.close("`,` or ");
    return result;
  }

  // ---- types -----------------------------------------------------------------------------------------------------

  // type = "int" | "float" | "bool" | "string" | ("f32"|"f64"|"i32"|"bool"|"float") "[" [dim {"," dim}] "]" .
  TypeExpr type() {
    struct Spelling {
      std::string_view text;
      TypeExpr::Base base;
    };
    using Base = TypeExpr::Base;
    static constexpr Spelling spellings[] = {
        {"int", Base::integer}, {"float", Base::floating}, {"bool", Base::boolean}, {"string", Base::string},
        {"f32", Base::f32},     {"f64", Base::f64},        {"i32", Base::i32}};
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

  [[noreturn]] void fail_no_type() {
    static const std::vector<std::string> names{"int", "float", "bool", "string", "f32", "f64", "i32"};
    std::string help = at(Kind::name) ? did_you_mean(text(token()), names) : "";
    if (help.empty())
      help =
          "types are int, float, bool, string, and f32, f64, i32, bool, float with dimensions, as in `f32[batch, 3]`";
    fail_expected("a type", std::move(help));
  }

  // "[" [dim {"," dim}] "]"
  std::vector<Dim> dims() {
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
  Dim dim() {
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

  // ---- blocks and statements -------------------------------------------------------------------------------------

  /// "{" {one} "}": each of its parts is parsed by `one`, and a part with an error is skipped.
  template <class One>
  Span braces(One&& one) {
    if (!at(Kind::left_brace) || token().line_before)
      fail_expected(
          "`{`", token().line_before && at(Kind::left_brace) ? "the `{` stands on the line of what it belongs to" : "");
    const Span begin = token().span;
    const Level level(*this);
    const int outer = std::exchange(brackets_, 0);
    advance();
    while (!at(Kind::right_brace) && !at(Kind::end_of_file) && !begins_declaration()) {
      const std::size_t start = position_;
      const int nesting = nesting_;
      if (accept(Kind::semicolon)) continue;
      try {
        one();
      } catch (SyntaxError) {
        damaged_ = true;
        skip_statement(start);
        nesting_ = nesting;
      }
    }
    brackets_ = outer;
    accept(Kind::right_brace);  // a missing one has been reported where it opens
    return span_from(begin);
  }

  /// END = newline | ";" | before "}" .
  void end(std::string_view what) {
    if (accept(Kind::semicolon)) return;
    if (token().line_before || at(Kind::right_brace) || at(Kind::end_of_file)) return;
    std::string help;
    if (at(Kind::assign)) help = "`==` compares";
    fail(Code::unexpected_token, token().span, fmt::format("expected the end of {}, found {}", what, found()),
         std::move(help));
  }

  // block = "{" {stmt} "}" .
  Block block() {
    Block result;
    result.span = braces([&] { result.statements.push_back(stmt()); });
    return result;
  }

  // stmt = let | if | "return" expr {"," expr} END
  //      | ("param"|"state"|"carry") name ":" type "=" expr END | "update" name "=" expr END .
  Statement stmt() {
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
    } else {
      fail_no_statement();
    }
    result.span = span_from(begin);
    return result;
  }

  [[noreturn]] void fail_no_statement() {
    std::string help;
    if (token().kind >= Kind::equal) help = goes_on;
    if (token().kind >= Kind::equal) help = goes_on;
    if (at(Kind::name) && next().kind == Kind::assign)
      help = fmt::format("write `let {} = ...` to name a value", text(token()));
    fail(Code::unexpected_token, token().span, fmt::format("expected a statement, found {}", found()),
         help.empty() ? "statements begin with let, if, return, param, state, carry or update" : help);
  }

  // let = "let" name {"," name} [":" type] "=" expr END .
  Let let() {
    expect(Kind::kw_let);
    Let result;
    do result.names.push_back(name());
    while (accept(Kind::comma));
    if (accept(Kind::colon)) result.type = type();
    expect(Kind::assign);
    result.value = expr();
    end("the statement");
    return result;
  }

  // if = "if" expr block ["else" (block | if)] .
  If if_stmt() {
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

  Return return_stmt() {
    Return result;
    do result.values.push_back(expr());
    while (accept(Kind::comma));
    end("the statement");
    return result;
  }

  Variable variable() {
    Variable result;
    result.kind = at(Kind::kw_param)   ? Variable::Kind::param
                  : at(Kind::kw_state) ? Variable::Kind::state
                                       : Variable::Kind::carry;
    const std::string word(text(token()));
    advance();
    result.name = name();
    expect(Kind::colon, fmt::format("write its type, as in `{} {}: float[In, out] = zeros`", word, result.name.text));
    result.type = type();
    expect(Kind::assign, "it needs a value to start from, as in `= zeros`");
    result.value = expr();
    end("the statement");
    return result;
  }

  Update update() {
    Update result;
    result.name = name();
    expect(Kind::assign);
    result.value = expr();
    end("the statement");
    return result;
  }

  // ---- data, train, test -----------------------------------------------------------------------------------------

  // "data" name "{" {datum} "}"
  Data data_decl() {
    Data result;
    head_ = (result.name = lower_name("a data block")).span;
    braces([&] { result.data.push_back(datum()); });
    return result;
  }

  // datum = let | name ":" type "=" expr END | key {"," key} "=" expr END .
  Datum datum() {
    const Span begin = token().span;
    Datum result;
    if (at(Kind::kw_let)) {
      result.form = let();
    } else {
      Name first = name("a column, a split or a setting");
      if (accept(Kind::colon)) {
        ColumnDef column{.name = std::move(first), .type = type(), .value = {}};
        expect(Kind::assign);
        column.value = expr();
        end("the column");
        result.form = std::move(column);
      } else {
        Setting setting;
        setting.keys.push_back(std::move(first));
        while (accept(Kind::comma)) setting.keys.push_back(name());
        if (!at(Kind::assign))
          fail_expected("`:` and a type, or `=`", "a column is `name: f32[...] = ...`, a split `train = ...`");
        advance();
        setting.value = expr();
        end("the setting");
        result.form = std::move(setting);
      }
    }
    result.span = span_from(begin);
    return result;
  }

  // "train" Name {"," Name} "on" name ["as" name] "{" {item} "}"
  Train train_decl() {
    Train result;
    do result.models.push_back(capital_name("a model"));
    while (accept(Kind::comma));
    head_ = result.models.front().span;
    if (!at_word("on")) fail_expected("`on` and the data block's name", "write `train Mlp on mnist { ... }`");
    advance();
    head_ = (result.data = lower_name("a data block")).span;
    if (at_word("as")) {
      advance();
      head_ = (result.as.emplace(name())).span;
    }
    braces([&] { result.items.push_back(item()); });
    return result;
  }

  // item = let | ("metric"|"output") name "=" expr END | key ["(" path ")"] "=" expr END .
  Item item() {
    const Span begin = token().span;
    Item result;
    if (at(Kind::kw_let)) {
      result.form = let();
    } else if ((at_word("metric") || at_word("output")) && next().kind == Kind::name && !next().line_before) {
      Measure measure;
      measure.kind = at_word("metric") ? Measure::Kind::metric : Measure::Kind::output;
      advance();
      measure.name = name();
      expect(Kind::assign);
      measure.value = expr();
      end("the statement");
      result.form = std::move(measure);
    } else {
      Setting setting;
      setting.keys.push_back(name("a setting"));
      if (at(Kind::left_paren) && !token().line_before) {
        Bracket bracket(*this, Kind::right_paren);
        setting.path = path();
        bracket.close();
      }
      expect(Kind::assign);
      setting.value = expr();
      end("the setting");
      result.form = std::move(setting);
    }
    result.span = span_from(begin);
    return result;
  }

  // "test" STR "{" {check} "}"
  Test test_decl() {
    Test result;
    head_ = token().span;
    result.title = string_token("the test's title in quotes");
    braces([&] { result.checks.push_back(check()); });
    return result;
  }

  // check = let | "set" path "=" expr END | "gradcheck" expr END | "expect" expr ["within" expr] END .
  Check check() {
    const Span begin = token().span;
    Check result;
    if (at(Kind::kw_let)) {
      result.form = let();
    } else if (at_word("set")) {
      advance();
      Set set{.path = path(), .value = {}};
      expect(Kind::assign);
      set.value = expr();
      end("the statement");
      result.form = std::move(set);
    } else if (at_word("gradcheck")) {
      advance();
      result.form = Gradcheck{.value = expr()};
      end("the statement");
    } else if (at_word("expect")) {
      advance();
      Expect expectation{.value = expr(), .within = {}};
      if (at_word("within") && !token().line_before) {
        advance();
        expectation.within = expr();
      }
      end("the statement");
      result.form = std::move(expectation);
    } else {
      fail(Code::unexpected_token, token().span, fmt::format("expected a check, found {}", found()),
           "checks begin with let, set, expect or gradcheck");
    }
    result.span = span_from(begin);
    return result;
  }

  // ---- expressions -----------------------------------------------------------------------------------------------

  /// An operand stands on the line of its operator, unless brackets or a comma let it wait.
  void operand_on_this_line() {
    if (!token().line_before || brackets_ > 0 || position_ == 0 || tokens_[position_ - 1].kind == Kind::comma) return;
    fail_expected("an expression", goes_on);
  }

  /// A binary operator goes on with an expression only on the same line or inside brackets.
  bool at_operator(Kind kind) const { return at(kind) && (!token().line_before || brackets_ > 0); }

  template <class Form>
  ExprPtr make(Span begin, Form form, std::initializer_list<std::uint16_t> depths = {}) {
    int depth = 0;
    for (const std::uint16_t child : depths) depth = std::max<int>(depth, child);
    if (depth >= max_expression_depth)
      fail(Code::nested_too_deep, begin, "this expression is too deep",
           fmt::format("at most {} operators may hang on each other; name parts of it with `let`",
                       max_expression_depth));
    auto result = std::make_unique<Expr>();
    result->span = span_from(begin);
    result->depth = static_cast<std::uint16_t>(depth + 1);
    result->form = std::move(form);
    return result;
  }

  ExprPtr binary(BinaryOp op, Span op_span, ExprPtr left, ExprPtr right) {
    const Span begin = left->span;
    const auto depths = {left->depth, right->depth};
    return make(begin, Binary{op, op_span, std::move(left), std::move(right)}, depths);
  }

  struct Operator {
    Kind kind;
    BinaryOp op;
  };

  const Operator* operator_of(std::span<const Operator> operators) const {
    for (const Operator& candidate : operators)
      if (at_operator(candidate.kind)) return &candidate;
    return nullptr;
  }

  /// operand {operator operand}, to the left.
  template <class Operand>
  ExprPtr left_associative(std::span<const Operator> operators, Operand&& operand) {
    ExprPtr left = operand();
    while (const Operator* found_operator = operator_of(operators)) {
      const Span op_span = token().span;
      advance();
      ExprPtr right = operand();
      left = binary(found_operator->op, op_span, std::move(left), std::move(right));
    }
    return left;
  }

  // expr = or {"|>" postfix} .
  ExprPtr expr() {
    ExprPtr left = or_expr();
    while (at(Kind::pipe)) {
      const Span op_span = token().span;
      advance();
      operand_on_this_line();
      ExprPtr right = postfix();
      const Span begin = left->span;
      const auto depths = {left->depth, right->depth};
      left = make(begin, Pipe{op_span, std::move(left), std::move(right)}, depths);
    }
    return left;
  }

  // or = and {"or" and} .
  ExprPtr or_expr() {
    static constexpr Operator operators[] = {{Kind::kw_or, BinaryOp::logical_or}};
    return left_associative(operators, [&] { return and_expr(); });
  }

  // and = not {"and" not} .
  ExprPtr and_expr() {
    static constexpr Operator operators[] = {{Kind::kw_and, BinaryOp::logical_and}};
    return left_associative(operators, [&] { return not_expr(); });
  }

  // not = "not" not | cmp .
  ExprPtr not_expr() {
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
  ExprPtr cmp() {
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
  ExprPtr sum() {
    static constexpr Operator operators[] = {{Kind::plus, BinaryOp::add}, {Kind::minus, BinaryOp::subtract}};
    return left_associative(operators, [&] { return term(); });
  }

  // term = unary {("*"|"/"|"//"|"@") unary} .
  ExprPtr term() {
    static constexpr Operator operators[] = {{Kind::star, BinaryOp::multiply},
                                             {Kind::slash, BinaryOp::divide},
                                             {Kind::double_slash, BinaryOp::floor_divide},
                                             {Kind::at, BinaryOp::matmul}};
    return left_associative(operators, [&] { return unary(); });
  }

  // unary = "-" unary | postfix ["^" unary] .
  ExprPtr unary() {
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
  ExprPtr postfix() {
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

  ExprPtr call(ExprPtr callee) {
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
  Argument arg() {
    Argument result;
    if (at(Kind::name) && next().kind == Kind::assign) {
      result.name = name();
      advance();
    }
    result.value = expr_or_ellipsis();
    return result;
  }

  // el = expr | "..." .
  ExprPtr expr_or_ellipsis() {
    if (accept(Kind::ellipsis)) return make(last_span(), Ellipsis{});
    return expr();
  }

  ExprPtr index(ExprPtr base) {
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
  ExprPtr index_item() {
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
  ExprPtr atom() {
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

  [[noreturn]] void fail_no_expression() {
    std::string help;
    if (at(Kind::left_brace)) help = "lists stand in brackets, as in `[1, 2]`";
    if (at(Kind::plus)) help = "there is no sign `+`";
    if (at(Kind::kw_not)) help = "put `not ...` in parentheses here";
    fail_expected("an expression", std::move(help));
  }

  ExprPtr number() {
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
    if (result.integer && result.value > 9007199254740992.0)
      fail(Code::malformed_number, begin, "a whole number this large is not exact",
           "whole numbers go to 2^53; with a point or an exponent it is rounded to a double");
    return make(begin, result);
  }

  std::string string_token(std::string_view what) {
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
  ExprPtr parenthesised() {
    Bracket bracket(*this, Kind::right_paren);
    ExprPtr result = expr();
    result->span = bracket.close();
    result->parenthesised = true;
    return result;
  }

  // "[" [el {"," el} [","]] "]" | "[" expr "for" name "in" expr {"for" name "in" expr} "]"
  ExprPtr list() {
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

  ExprPtr comprehension(Bracket& bracket, ExprPtr element) {
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
  ExprPtr ifx() {
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

  ExprPtr braced() {
    if (!at(Kind::left_brace)) fail_expected("`{`");
    Bracket bracket(*this, Kind::right_brace);
    ExprPtr result = expr();
    bracket.close();
    return result;
  }

  Diagnostics& diagnostics_;
  Tokens lexed_;
  const std::vector<Token>& tokens_;
  std::size_t position_ = 0;
  int nesting_ = 0;   ///< levels of recursion
  int brackets_ = 0;  ///< open brackets in which line ends mean nothing
  bool damaged_ = false;
  Span head_{};
  Ast ast_;
};

}  // namespace

Ast parse(std::uint32_t file, Diagnostics& diagnostics) { return Parser(file, diagnostics).file(); }

}  // namespace nnc
