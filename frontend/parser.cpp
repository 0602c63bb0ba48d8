// Recursive descent: each function is named after a rule of the grammar and carries its production. A function begins
// at the first token of its rule and leaves the token after it. Here are the declarations; below them lie
// parse_statements, parse_expressions and parse_cursor (tokens and errors).
#include "frontend/parser.h"

#include <algorithm>

#include "frontend/newcomers.h"
#include "frontend/parse_statements.h"
#include "ir/nearest.h"

namespace nnc {
namespace parsing {
namespace {

class Parser : public StatementParser {
 public:
  using StatementParser::StatementParser;
  Ast file();

 private:
  void decl();
  [[noreturn]] void fail_no_declaration(const std::string& word);
  Import import_decl();
  Const const_decl();
  Function fn_decl();
  Model model_decl();
  Layer layer_decl();
  Optimizer optimizer_decl();
  std::vector<Param> params();
  Param param();
  std::vector<TypeExpr> arrow_result();
  Data data_decl();
  Datum datum();
  Train train_decl();
  Item item();
  Test test_decl();
  Check check();

  Span head_{};
  Ast ast_;
};

// file = {decl} .
Ast Parser::file() {
  ast_.file = file_;
  while (!at(Kind::end_of_file)) {
    const std::size_t begin = position_;
    statement_ = begin;
    try {
      decl();
    } catch (SyntaxError) {
      pipes_ = 0;
      damaged_ = true;
      lose_declared(begin);
      skip_to_declaration(begin);
      settle_brackets(begin);
    }
  }
  settle_all_brackets();
  ast_.lost.insert(ast_.lost.end(), lost_.begin(), lost_.end());
  return std::move(ast_);
}

// decl = "import" STR END | "const" name "=" expr END | "fn" ... | "test" STR "{" {check} "}" .
void Parser::decl() {
  Declaration result;
  const auto doc = lexed_.docs.find(position_);
  if (doc != lexed_.docs.end()) result.doc = doc->second;
  const Span begin = token().span;
  const std::string word = at(Kind::name) ? std::string(text(token())) : "";
  if (!is_declaration_word(word)) fail_no_declaration(word);
  advance();
  damaged_ = false;
  states_.clear();
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

void Parser::fail_no_declaration(const std::string& word) {
  if (damaged_ && !ast_.declarations.empty() &&
      !at_margin()) {  // what is left of a block that an error ended too early
    said_at_ = token().span.begin;
    throw SyntaxError{};
  }
  static const std::vector<std::string> words{"import",    "const", "fn",    "model", "layer",
                                              "optimizer", "data",  "train", "test"};
  std::string help = repair_of_word(next().kind == Kind::assign ? "let" : text(token()));
  if (help.empty()) help = did_you_mean(word, words);
  fail(Code::unexpected_token, token().span, fmt::format("expected a declaration, found {}", found()),
       help.empty() ? "declarations begin with const, fn, layer, model, optimizer, data, train, import or test" : help);
}

Import Parser::import_decl() {
  head_ = token().span;
  Import result{.path = {}, .path_span = token().span};
  if (!at(Kind::string))
    fail_expected("the file's name in quotes",
                  "`import \"lib.nn\"` brings in another file; the library is there without");
  result.path = string_token("the file's name in quotes");
  end("the declaration");
  return result;
}

Const Parser::const_decl() {
  Const result;
  head_ = (result.name = lower_name("a constant")).span;
  expect(Kind::assign, at(Kind::colon) ? "a constant has the type of its value: `const width = 3`" : "");
  result.value = expr();
  end("the declaration");
  return result;
}

Function Parser::fn_decl() {
  Function result;
  head_ = (result.name = lower_name("a function")).span;
  result.inputs = params();
  result.results = arrow_result();
  result.body = block();
  return result;
}

Model Parser::model_decl() {
  Model result;
  head_ = (result.name = capital_name("a model")).span;
  result.inputs = params();
  result.results = arrow_result();
  result.body = block();
  return result;
}

Layer Parser::layer_decl() {
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

Optimizer Parser::optimizer_decl() {
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
std::vector<Param> Parser::params() {
  if (!at(Kind::left_paren)) fail_expected("`(`");
  Bracket bracket(*this, Kind::right_paren);
  std::vector<Param> result;
  while (!bracket.at_end()) {
    result.push_back(param());
    for (std::size_t i = 0; i + 1 < result.size(); ++i)
      if (result[i].name.text == result.back().name.text)
        diagnostics_.report(
            {.code = Code::duplicate_name,
             .message = fmt::format("{} stands twice among the parameters", backquoted(result.back().name.text)),
             .primary = result.back().name.span,
             .labels = {{result[i].name.span, "first here"}},
             .help = "a name is bound once; choose another"});
    if (!accept(Kind::comma)) break;
  }
  bracket.close("`,` or ");
  return result;
}

// param = name ":" type ["=" expr] .
Param Parser::param() {
  Param result;
  result.name = name("a parameter's name");
  expect(Kind::colon, "every parameter has a type, as in `x: float[..., In]` or `out: int`");
  result.type = type();
  if (accept(Kind::assign)) result.value = expr();
  result.span = span_from(result.name.span);
  return result;
}

// "->" result; result = type | "(" type {"," type} ")" .
std::vector<TypeExpr> Parser::arrow_result() {
  expect(Kind::arrow, "the type of the result stands behind an arrow, as in `-> f32[batch, 3]`");
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

// "data" name "{" {datum} "}"
Data Parser::data_decl() {
  Data result;
  head_ = (result.name = lower_name("a data block")).span;
  braces([&] { result.data.push_back(datum()); });
  return result;
}

// datum = let | name ":" type "=" expr END | key {"," key} "=" expr END .
Datum Parser::datum() {
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
Train Parser::train_decl() {
  Train result;
  do result.models.push_back(name("a model's name"));
  while (accept(Kind::comma));
  head_ = result.models.front().span;
  if (!at_word("on")) fail_expected("`on` and the data block's name", "write `train Mlp on mnist { ... }`");
  advance();
  head_ = (result.data = name("a data block's name")).span;
  if (at_word("as")) {
    advance();
    head_ = (result.as.emplace(name())).span;
  }
  braces([&] { result.items.push_back(item()); });
  return result;
}

// item = let | ("metric"|"output") name "=" expr END | key ["(" path ")"] "=" expr END .
Item Parser::item() {
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
    if (at(Kind::kw_return) || at(Kind::kw_if))
      fail(Code::unexpected_token, token().span, fmt::format("expected a setting, found {}", found()),
           "a train block holds `let`, `metric`, `output` and settings such as `epochs = 20`");
    if (at(Kind::name) && next().kind == Kind::name && !next().line_before) {  // a slip in one of these two words
      static const std::vector<std::string> words{"metric", "output", "let"};
      if (const std::string help = did_you_mean(text(token()), words); !help.empty())
        fail(Code::unexpected_token, token().span, fmt::format("expected a setting, found {}", found()), help);
    }
    Setting setting;
    setting.keys.push_back(name("a setting"));
    if (at(Kind::left_paren) && !token().line_before) {
      Bracket bracket(*this, Kind::right_paren);
      setting.path = path();
      bracket.close();
    }
    expect(Kind::assign, at(Kind::colon) ? "a setting is written `name = value`" : "");
    setting.value = expr();
    end("the setting");
    result.form = std::move(setting);
  }
  result.span = span_from(begin);
  return result;
}

// "test" STR "{" {check} "}"
Test Parser::test_decl() {
  Test result;
  head_ = token().span;
  result.title = string_token("the test's title in quotes");
  braces([&] { result.checks.push_back(check()); });
  return result;
}

// check = let | "set" path "=" expr END | "gradcheck" expr END | "expect" expr ["within" expr] END .
Check Parser::check() {
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
    static const std::vector<std::string> words{"let", "set", "expect", "gradcheck"};
    std::string help = repair_of_word(text(token()));
    if (help.empty() && at(Kind::name)) help = did_you_mean(text(token()), words);
    fail(Code::unexpected_token, token().span, fmt::format("expected a check, found {}", found()),
         help.empty() ? "checks begin with let, set, expect or gradcheck" : std::move(help));
  }
  result.span = span_from(begin);
  return result;
}

}  // namespace
}  // namespace parsing

Ast parse(std::uint32_t file, Diagnostics& diagnostics) { return parsing::Parser(file, diagnostics).file(); }

}  // namespace nnc
