// The lexer and the parser: every form of the grammar is read as what it is, line ends mean what the language says,
// and no text, however wrong or large, takes long or overflows the stack.
#include "frontend/parser.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "frontend/lexer.h"
#include "ir/nearest.h"
#include "tests/support/cpu_time.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

struct Parsed {
  Diagnostics diagnostics;
  Ast ast;
};

Parsed parsed(std::string text) {
  Parsed result;
  const std::uint32_t file = result.diagnostics.add_file({.path = "test.nn", .text = std::move(text)});
  result.ast = parse(file, result.diagnostics);
  return result;
}

/// An expression with every operation in parentheses: how the parser grouped it.
std::string shown(const ast::Expr& expr);

struct Show {
  std::string operator()(const ast::Number& e) { return fmt::format("{}", e.value); }
  std::string operator()(const ast::String& e) { return '"' + e.value + '"'; }
  std::string operator()(const ast::Boolean& e) { return e.value ? "true" : "false"; }
  std::string operator()(const ast::NameUse& e) { return e.name; }
  std::string operator()(const ast::Ellipsis&) { return "..."; }
  std::string operator()(const ast::NewAxis&) { return "_"; }
  std::string operator()(const ast::Slice& e) {
    const auto part = [](const ast::ExprPtr& at) { return at ? shown(*at) : ""; };
    return part(e.begin) + ":" + part(e.end) + (e.step ? ":" + shown(*e.step) : "");
  }
  std::string operator()(const ast::Unary& e) {
    return (e.op == ast::UnaryOp::negate ? "(-" : "(not ") + shown(*e.operand) + ")";
  }
  std::string operator()(const ast::Binary& e) {
    constexpr const char* signs[] = {"or", "and", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "@", "^"};
    return fmt::format("({} {} {})", shown(*e.left), signs[static_cast<int>(e.op)], shown(*e.right));
  }
  std::string operator()(const ast::Pipe& e) { return fmt::format("({} |> {})", shown(*e.left), shown(*e.right)); }
  std::string operator()(const ast::Call& e) {
    std::string arguments;
    for (const ast::Argument& argument : e.arguments)
      arguments +=
          (arguments.empty() ? "" : ", ") + (argument.name ? argument.name->text + "=" : "") + shown(*argument.value);
    return shown(*e.callee) + "(" + arguments + ")";
  }
  std::string operator()(const ast::Index& e) {
    std::string indices;
    for (const ast::ExprPtr& index : e.indices) indices += (indices.empty() ? "" : ", ") + shown(*index);
    return shown(*e.base) + "[" + indices + "]";
  }
  std::string operator()(const ast::Member& e) { return shown(*e.base) + "." + e.member.text; }
  std::string operator()(const ast::List& e) {
    std::string elements;
    for (const ast::ExprPtr& element : e.elements) elements += (elements.empty() ? "" : ", ") + shown(*element);
    return "[" + elements + "]";
  }
  std::string operator()(const ast::Comprehension& e) {
    std::string loops;
    for (const auto& loop : e.loops) loops += " for " + loop.variable.text + " in " + shown(*loop.over);
    return "[" + shown(*e.element) + loops + "]";
  }
  std::string operator()(const ast::IfExpr& e) {
    return fmt::format("if {} {{{}}} else {{{}}}", shown(*e.condition), shown(*e.yes), shown(*e.no));
  }
};

std::string shown(const ast::Expr& expr) { return std::visit(Show{}, expr.form); }

/// How `text` is grouped as the value of a constant, or the messages.
std::string grouped(const std::string& text) {
  const Parsed result = parsed("const x = " + text + "\n");
  if (result.diagnostics.has_errors()) return result.diagnostics.render(false);
  return shown(*std::get<ast::Const>(result.ast.declarations.at(0).form).value);
}

std::vector<std::string> messages(const Diagnostics& diagnostics) {
  std::vector<std::string> result;
  for (const Diagnostic& diagnostic : diagnostics.all())
    result.push_back(fmt::format("{} {}: {}", code_text(diagnostic.code),
                                 diagnostics.position(diagnostic.primary.file, diagnostic.primary.begin).first,
                                 diagnostic.message));
  return result;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// Seconds of processor time that parsing and rendering its messages takes.
double seconds_to_parse(std::string text, std::size_t& errors) {
  const double start = nnc::test::cpu_seconds();
  const Parsed result = parsed(std::move(text));
  CHECK(result.diagnostics.render(false).size() < 200'000);
  errors = result.diagnostics.error_count();
  return nnc::test::cpu_seconds() - start;
}

std::string repeated(const std::string& text, std::size_t times) {
  std::string result;
  result.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) result += text;
  return result;
}

}  // namespace

TEST_CASE("expressions are grouped as the grammar says") {
  CHECK(grouped("a + b * c ^ d ^ e") == "(a + (b * (c ^ (d ^ e))))");
  CHECK(grouped("a - b - c") == "((a - b) - c)");
  CHECK(grouped("-x^2") == "(-(x ^ 2))");
  CHECK(grouped("2^-x") == "(2 ^ (-x))");
  CHECK(grouped("a / b // c @ d") == "(((a / b) // c) @ d)");
  CHECK(grouped("not a and b or c == d + 1") == "(((not a) and b) or (c == (d + 1)))");
  CHECK(grouped("a + b |> f |> g(1, k = 2)") == "(((a + b) |> f) |> g(1, k=2))");
  CHECK(grouped("x + (x |> F)") == "(x + (x |> F))");
  CHECK(grouped("f(x)(y)[1].w") == "f(x)(y)[1].w");
  CHECK(grouped("x[i, a:b, ..., _, :, ::2, 1:, :-1]") == "x[i, a:b, ..., _, :, ::2, 1:, :(-1)]");
  CHECK(grouped("[a, ..., 2,]") == "[a, ..., 2]");
  CHECK(grouped("[]") == "[]");
  CHECK(grouped("[f(i) for i in range(3) for j in c]") == "[f(i) for i in range(3) for j in c]");
  CHECK(grouped("sum(x, over = ...)") == "sum(x, over=...)");
  CHECK(grouped("if a { 1 } else if b { 2 } else { 3 }") == "if a {1} else {if b {2} else {3}}");
  CHECK(grouped("1_000 + 2.5e-3 + 1e3") == "((1000 + 0.0025) + 1000)");
  CHECK(grouped("\"a\\n\\\"b\\\\\"") == "\"a\n\"b\\\"");
  CHECK(grouped("σ + größe") == "(σ + größe)");
}

TEST_CASE("line ends finish a statement except where they mean nothing") {
  CHECK(grouped("(a\n + b\n)") == "(a + b)");
  CHECK(grouped("f(a,\n\n b)") == "f(a, b)");
  CHECK(grouped("x\n  |> f\n  |> g") == "((x |> f) |> g)");
  CHECK(grouped("if a {\n 1\n}\nelse {\n 2\n}") == "if a {1} else {2}");
  CHECK(messages(parsed("const a = 1 const b = 2\n").diagnostics) ==
        std::vector<std::string>{"E0101 1: expected the end of the declaration, found `const`"});
  CHECK(messages(parsed("const a =\n  1\n").diagnostics).size() == 1);
  CHECK(parsed("const a = 1; const b = 2\n").ast.declarations.size() == 2);
  const Parsed lists =
      parsed("optimizer o(lr: float)\n\n (p: float[...],\n g: float[...])\n -> float[...] { return p }\n");
  CHECK(messages(lists.diagnostics).empty());
  CHECK(lists.ast.declarations.size() == 1);
}

TEST_CASE("declarations keep their parts and places") {
  const std::string text =
      "## A line.\n## Another.\nlayer Dense(out: int, init: float[In, out] = zeros)(x: float[..., In]) -> float[..., "
      "out] {\n"
      "  param W: float[In, out] = init\n  if not bias { return x @ W } else if a { return x } else { let y = 1; "
      "return y }\n"
      "  state m: f32[_, batch * 2] = ones\n  update m = 0\n}\n";
  const Parsed result = parsed(text);
  REQUIRE(messages(result.diagnostics).empty());
  const ast::Declaration& declaration = result.ast.declarations.at(0);
  CHECK(declaration.doc == "A line.\nAnother.");
  CHECK(result.diagnostics.text(declaration.head) == "layer Dense");
  CHECK(result.diagnostics.position(0, declaration.head.begin) == std::pair<std::uint32_t, std::uint32_t>{3, 1});
  const auto& layer = std::get<ast::Layer>(declaration.form);
  CHECK(layer.settings.size() == 2);
  CHECK(layer.inputs.size() == 1);
  CHECK(result.diagnostics.text(layer.settings[1].span) == "init: float[In, out] = zeros");
  REQUIRE(layer.body.statements.size() == 4);
  const auto& branch = std::get<ast::If>(layer.body.statements[1].form);
  REQUIRE(branch.no);
  CHECK(std::get<ast::If>(branch.no->statements.at(0).form).no->statements.size() == 2);
  const auto& state = std::get<ast::Variable>(layer.body.statements[2].form);
  CHECK(state.kind == ast::Variable::Kind::state);
  CHECK(state.type.dims.at(0).kind == ast::Dim::Kind::stretch);
  CHECK(shown(*state.type.dims.at(1).value) == "(batch * 2)");
}

TEST_CASE("data, train and test blocks are read") {
  const Parsed result = parsed(
      "data d { let r = csv(\"a\"); train, valid = split(r, 0.8, 0.2)\n x: f32[3] = cols(\"a\",\n \"b\"); samples = 3 "
      "}\n"
      "train Gen, Disc on d as both { loss(Gen.Body) = 1\n metric acc = 2; output z = 3; metric = 4\n let (1) }\n"
      "test \"t\" { set B.scale = 1; gradcheck f(x); expect a == b within 1e-6; expect c }\n");
  REQUIRE(result.ast.declarations.size() == 3);
  CHECK(messages(result.diagnostics) == std::vector<std::string>{"E0101 6: expected a name, found `(`"});
  const auto& data = std::get<ast::Data>(result.ast.declarations[0].form);
  CHECK(data.data.size() == 4);
  CHECK(std::get<ast::Setting>(data.data[1].form).keys.size() == 2);
  const auto& train = std::get<ast::Train>(result.ast.declarations[1].form);
  CHECK(result.ast.declarations[1].damaged);
  CHECK(train.models.size() == 2);
  CHECK(train.as->text == "both");
  CHECK(train.items.size() == 4);
  CHECK(std::get<ast::Setting>(train.items[0].form).path.size() == 2);
  CHECK(std::get<ast::Measure>(train.items[1].form).kind == ast::Measure::Kind::metric);
  CHECK(std::get<ast::Setting>(train.items[3].form).keys[0].text == "metric");
  const auto& test = std::get<ast::Test>(result.ast.declarations[2].form);
  CHECK(test.checks.size() == 4);
  CHECK(std::get<ast::Expect>(test.checks[2].form).within != nullptr);
}

TEST_CASE("an error costs its statement and nothing else") {
  const Parsed result = parsed(
      "fn f(x: float[...]) -> float[...] {\n  let a = (x +\n  let b = x + * 2\n  let c = 3 4\n  return (x]\n}\n"
      "const Wrong = 1\nconst good = 2\nfn (x) {}\nconst last = )\nconst end = 5\n");
  CHECK(messages(result.diagnostics) ==
        std::vector<std::string>{"E0102 2: `(` is never closed", "E0101 3: expected an expression, found `*`",
                                 "E0101 4: expected the end of the statement, found `4`",
                                 "E0104 7: a constant begins with a small letter",
                                 "E0101 9: expected a function, found `(`", "E0102 10: `)` closes nothing",
                                 "E0102 5: `(` is closed by `]`"});
  CHECK(result.ast.declarations.size() == 4);
}

TEST_CASE("of the brackets and the grammar of a statement what is wrong first is told") {
  const auto told = [](const std::string& body) {
    return messages(parsed("fn f(x: float[...]) -> float[...] {\n  " + body + "\n  return x\n}\n").diagnostics);
  };
  using Messages = std::vector<std::string>;
  CHECK(told("let a = relu x)") == Messages{"E0101 2: expected the end of the statement, found `x`"});
  CHECK(told("let a = relux)") == Messages{"E0102 2: `)` closes nothing"});
  CHECK(told("let a = f[x) 2)") == Messages{"E0102 2: `[` is closed by `)`"});
  CHECK(told("let a = f(x, [1, 2)") == Messages{"E0102 2: `[` is never closed"});
  CHECK(told("let a = x))\n  let b = * 2").size() == 2);
}

TEST_CASE("a name whose declaration did not parse is remembered as lost") {
  CHECK(parsed("fn f(x) -> float { return 1 }\nfn g(x: float) -> float { return f(x) }\n").ast.lost ==
        std::vector<std::string>{"f"});
}

TEST_CASE("every program of the language's design and of the examples parses") {
  const std::filesystem::path root = NNC_SOURCE_DIR;
  std::size_t read_files = 0;
  for (const char* folder : {"examples", "frontend/std", "tests/reference"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      if (entry.path().extension() != ".nn") continue;
      INFO(entry.path());
      CHECK(messages(parsed(read(entry.path())).diagnostics).empty());
      ++read_files;
    }
  CHECK(read_files >= 10);
  const Parsed sample = parsed(read(root / "tests/golden/grammar.nn"));
  CHECK(sample.diagnostics.render(false).empty());
  CHECK(sample.ast.declarations.size() == 14);
}

TEST_CASE("a printed number beyond what doubles hold exactly is an error") {
  CHECK(grouped("9007199254740992") == "9007199254740992");
  CHECK(messages(parsed("const a = 9007199254740994\n").diagnostics).size() == 1);
  CHECK(messages(parsed("const a = 1e999\n").diagnostics).size() == 1);
  CHECK(grouped("1e-999") == "0");
}

TEST_CASE("no text takes long or overflows the stack") {
  struct Hard {
    const char* name;
    std::string text;
    std::size_t least, most;  // errors
  };
  const std::size_t million = 1'000'000;
  const std::vector<Hard> texts = {
      {"open parentheses", "const a = " + repeated("(", million), 1, 1},
      {"balanced parentheses", "const a = " + repeated("(", million) + "1" + repeated(")", million) + "\nconst b = 1\n",
       1, 1},
      {"closing parentheses", "const a = 1" + repeated(")", million), 1, 1},
      {"open lists", "const a = " + repeated("[", million) + repeated("]", million), 1, 1},
      {"open blocks", "fn f() -> float " + repeated("{ if a ", million), 1, 3},
      {"minus signs", "const a = " + repeated("- ", million) + "1", 1, 1},
      {"powers", "const a = 1" + repeated("^1", million), 1, 1},
      {"a long sum", "const a = 1" + repeated(" + 1", million), 1, 1},
      {"a long pipe", "const a = 1" + repeated(" |> f", million), 1, 1},
      {"calls of calls", "const a = f" + repeated("()", million), 1, 1},
      {"else if", "fn f() -> float { if a {}" + repeated(" else if b {}", million) + " }", 1, 3},
      {"a long name", "const " + repeated("abcdefghij", million) + " = widht", 0, 0},
      {"a long wrong name", "cnst " + repeated("abcdefghij", million), 1, 1},
      {"a long wrong line", "const a = 1 " + repeated("2;", million), 1, million + 1},
      {"wrong statements", "fn f() -> float {" + repeated("a;", million) + "}", million, million},
      {"unknown characters", repeated("$", 10 * million), 1, 2},
      {"an open string", "const a = \"" + repeated("x", 10 * million), 1, 1},
      {"a long list", "const a = [1" + repeated(", 1", million) + "]", 0, 0},
      {"invalid UTF-8", repeated("a", 10 * million) + "\xFF", 1, 1},
      {"a zero byte", std::string("const a = 1\0 + 2", 16), 1, 1},
  };
  for (const Hard& hard : texts) {
    INFO(hard.name);
    std::size_t errors = 0;
    // Each error is thrown and caught: a million of them take their time. What else the machine does may slow one run.
    const double most = hard.most < 10 ? 1.0 : 10.0;
    double least = INFINITY;
    for (int attempt = 0; attempt < 5 && least >= most; ++attempt)
      least = std::min(least, seconds_to_parse(hard.text, errors));
    CHECK(least < most);
    CHECK(errors >= hard.least);
    CHECK(errors <= hard.most);
  }
}

TEST_CASE("a sum of a thousand terms is an expression") {
  CHECK(messages(parsed("const a = 1" + repeated(" + 1", 999) + "\n").diagnostics).empty());
  CHECK(messages(parsed("const a = " + repeated("(", 250) + "1" + repeated(")", 250) + "\n").diagnostics).empty());
}

TEST_CASE("the nearest name is the one that was meant, or none") {
  const std::vector<std::string> known{"width", "depth", "relu", "x", "softmax_cross_entropy"};
  CHECK(nearest_name("widht", known) == "width");
  CHECK(nearest_name("rleu", known) == "relu");
  CHECK(nearest_name("softmax_crossentropy", known) == "softmax_cross_entropy");
  CHECK_FALSE(nearest_name("banana", known));
  CHECK_FALSE(nearest_name("y", known));
  CHECK(edit_distance("kitten", "sitting", 10) == 3);
  CHECK(edit_distance("ab", "ba", 5) == 1);
  CHECK(edit_distance("", "abc", 5) == 3);
  CHECK(edit_distance("abcdef", "zzzzzz", 2) == 3);
}

TEST_CASE("the tree prints as text that shows what hangs on what") {
  Diagnostics diagnostics;
  const Ast ast =
      parse(diagnostics.add_file({.path = "a.nn",
                                  .text = "layer L(n: int = 2)(x: float[..., C]) -> float[..., n] {\n"
                                          "  param W: float[C, n] = zeros\n"
                                          "  if n > 1 { return x @ W } else { return -x[0, 1:, _] }\n}\n"
                                          "train L on d as t { optimizer(L.W) = sgd(lr = 0.1); epochs = 1 }\n"
                                          "test \"a\\\"b\" { expect [i for i in range(3)] == 1e-3 within 2 }\n"}),
            diagnostics);
  CHECK(print(ast) ==
        "layer L\n"
        "  setting n: int = 2\n"
        "  input x: float[..., C]\n"
        "  result float[..., n]\n"
        "  param W: float[C, n] = zeros\n"
        "  if (> n 1)\n"
        "    return (@ x W)\n"
        "  else\n"
        "    return (- (index x 0 (: 1 () ()) _))\n"
        "train L on d as t\n"
        "  optimizer(L.W) = (call sgd lr=0.1)\n"
        "  epochs = 1\n"
        "test \"a\\\"b\"\n"
        "  expect (== (list i (for i (call range 3))) 0.001) within 2\n");
}
