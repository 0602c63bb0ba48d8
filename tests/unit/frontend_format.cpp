// The one layout of .nn text: what it looks like, that it is one, and that it changes nothing.
#include "frontend/format.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "frontend/ast.h"
#include "frontend/lexer.h"
#include "frontend/parser.h"
#include "tests/unit/catch.h"

using namespace nnc;
namespace fs = std::filesystem;

namespace {

std::string formatted(const std::string& text) {
  Diagnostics diagnostics;
  const auto result = format(diagnostics.add_file({.path = "a.nn", .text = text}), diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(result);
  return *result;
}

bool parses(const std::string& text) {
  Diagnostics diagnostics;
  parse(diagnostics.add_file({.path = "a.nn", .text = text}), diagnostics);
  return !diagnostics.has_errors();
}

std::string read(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<fs::path> files() {
  std::vector<fs::path> result;
  for (const char* folder : {"examples", "frontend", "tests"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(NNC_SOURCE_DIR) / folder))
      if (entry.path().extension() == ".nn" && parses(read(entry.path()))) result.push_back(entry.path());
  std::sort(result.begin(), result.end());
  return result;
}

/// Other blanks between the same tokens. Line ends move where they mean nothing: inside () and [], but not behind an
/// opening bracket, where they ask for one element a line.
std::string reflowed(const std::string& text, std::mt19937& random) {
  Diagnostics diagnostics;
  const Tokens lexed = tokenize(diagnostics.add_file({.path = "a.nn", .text = text}), diagnostics);
  const auto blanks = [&](int least) { return std::string(least + random() % 3, ' '); };
  std::string out;
  std::uint32_t last = 0;
  int brackets = 0;
  TokenKind before = TokenKind::end_of_file;
  for (const Token& token : lexed.tokens) {
    const std::string gap = text.substr(last, token.span.begin - last);
    const bool opened =
        before == TokenKind::left_paren || before == TokenKind::left_bracket || before == TokenKind::left_brace;
    if (gap.find('#') != std::string::npos) {
      out += gap;
    } else if (brackets > 0 && !opened && last > 0) {
      const bool opens = token.kind == TokenKind::left_paren || token.kind == TokenKind::left_bracket;
      out += random() % 4 == 0 && !opens ? "\n" + blanks(0) : blanks(gap.empty() ? 0 : 1);
    } else if (const auto ends = std::count(gap.begin(), gap.end(), '\n')) {
      out += std::string(static_cast<std::size_t>(ends), '\n') + blanks(0);
    } else if (last > 0) {
      out += blanks(gap.empty() ? 0 : 1);
    }
    out += diagnostics.text(token.span);
    before = token.kind;
    last = token.span.end;
    brackets += before == TokenKind::left_paren || before == TokenKind::left_bracket;
    brackets -= before == TokenKind::right_paren || before == TokenKind::right_bracket;
  }
  return out;
}

}  // namespace

TEST_CASE("spaces depend on what stands side by side, and nothing is aligned but remarks") {
  CHECK(formatted("const a=-1 + 2 *3^ -x[1 :2,..., _]\nconst  bb   = [ 1,2 ,]  # one\nconst c = f (a= 1)# two\n") ==
        "const a = -1 + 2 * 3^-x[1:2, ..., _]\n"
        "const bb = [1, 2]   # one\n"
        "const c = f(a = 1)  # two\n");
  CHECK(formatted("layer A ( )( x : f32 [ ... , C ] )->( f32[C] ,i32[] ) { return -x , not y }") ==
        "layer A()(x: f32[..., C]) -> (f32[C], i32[]) { return -x, not y }\n");
  CHECK(formatted("test \"t\" { expect(a)-1 == b within(1e-6) ; gradcheck [ -a ]; set B . scale=2 }") ==
        "test \"t\" {\n  expect (a) - 1 == b within (1e-6)\n  gradcheck [-a]\n  set B.scale = 2\n}\n");
}

TEST_CASE("blocks on one line stay there if they are one statement and fit") {
  CHECK(formatted("fn f(x: float) -> float { return x }\nfn g(x: float) -> float {\n return x }\n") ==
        "fn f(x: float) -> float { return x }\nfn g(x: float) -> float {\n  return x\n}\n");
  CHECK(formatted("fn f(x: float) -> float { let a = x; return a }\n") ==
        "fn f(x: float) -> float {\n  let a = x\n  return a\n}\n");
  CHECK(formatted("fn f(x: float) -> float {\nif a { return 1 } else { return 2 }\nif b { return 1 } else {\n"
                  "return 2 }\nif c { return 1 }\nelse if d { return 2 } }\n") ==
        "fn f(x: float) -> float {\n  if a { return 1 } else { return 2 }\n  if b {\n    return 1\n  } else {\n"
        "    return 2\n  }\n  if c {\n    return 1\n  } else if d {\n    return 2\n  }\n}\n");
  CHECK(formatted("data d { }\ndata e { samples = 3 }") == "data d {}\ndata e { samples = 3 }\n");
}

TEST_CASE("what does not fit is broken in its outermost bracket, one element a line, with a comma at the end") {
  const std::string word(30, 'w');
  CHECK(formatted("const a = f(" + word + ", g(" + word + ", 1), b = " + word + ")\n") ==
        "const a = f(\n  " + word + ",\n  g(" + word + ", 1),\n  b = " + word + ",\n)\n");
  CHECK(formatted("const a = f(\n1, 2)\n") == "const a = f(\n  1,\n  2,\n)\n");
  CHECK(formatted("const a = (" + word + " * " + word + " + " + word + " * 2 - 1)\n") ==
        "const a = (\n  " + word + " * " + word + "\n    + " + word + " * 2\n    - 1\n)\n");
  CHECK(formatted("layer L(a: int = " + word + ", b: int = " + word + ")(x: f32[C]) -> f32[C] { return x }\n") ==
        "layer L(a: int = " + word + ", b: int = " + word + ")\n    (x: f32[C]) -> f32[C] { return x }\n");
  CHECK(formatted("fn f(a: int = " + word + ", b: int = " + word + ") -> float[..., C, D] { return a }\n") ==
        "fn f(a: int = " + word + ", b: int = " + word + ")\n    -> float[..., C, D] { return a }\n");
  std::string numbers = "1";
  for (int i = 0; i < 60; ++i) numbers += ", 10";
  const std::string filled = formatted("const a = [" + numbers + "]\n");
  CHECK(std::count(filled.begin(), filled.end(), '\n') == 5);
}

TEST_CASE("a pipe has all its parts at the beginnings of lines or none") {
  CHECK(formatted("model M(x: f32[C]) -> f32[C] { return x |> A() |> B()\n|> C() }\n") ==
        "model M(x: f32[C]) -> f32[C] {\n  return x\n    |> A()\n    |> B()\n    |> C()\n}\n");
}

TEST_CASE("comments and empty lines stay where they are") {
  const std::string text =
      "# head\n\n## of a\nconst a = f(  # first\n  1,  # one\n  # before two\n  2,\n  # last\n)\n\nconst b = 1\n\n"
      "fn f(x: float) -> float {  # what\n  # first\n  let y = x\n\n  # then\n  return y\n  # done\n}\n# end\n";
  CHECK(formatted(text) == text);
  CHECK(formatted("\n\n\nconst a = 1 # x\n\n\n\n# y   \n\n\n") == "const a = 1  # x\n\n# y\n");
  CHECK(formatted("").empty());
}

TEST_CASE("comments before what goes on with a line stay there") {
  const std::string text =
      "layer A(a: int)  # settings\n    # inputs\n    (x: f32[C])\n    # result\n    -> f32[C] {\n"
      "  if a > 1 {\n    return x\n  }  # small\n  # or zero\n  else {\n    return -x\n  }\n}\n"
      "fn f(x: f32[C])  # what\n    -> f32[C] { return x }\n";
  CHECK(formatted(text) == text);
}

TEST_CASE("a path with a comment in it is broken without a comma at the end") {
  const std::string text = "train Net on d {\n  optimizer(\n    Net\n    # own\n    .Dense1\n  ) = frozen\n}\n";
  CHECK(formatted(text) == text);
  CHECK(formatted("train Net on d {\noptimizer(Net\n# own\n.Dense1) = frozen\n}\n") == text);
}

TEST_CASE("a comment may stand wherever a line may end") {
  const std::string text = read(NNC_SOURCE_DIR "/tests/golden/grammar.nn");
  Diagnostics diagnostics;
  const std::uint32_t file = diagnostics.add_file({.path = "a.nn", .text = text});
  const std::string tree = print(parse(file, diagnostics));
  std::size_t places = 0;
  for (const Token& token : tokenize(file, diagnostics).tokens)
    for (const char* comment : {" # here\n", "\n# here\n"}) {
      const std::string with = std::string(text).insert(token.span.begin, comment);
      Diagnostics mine;
      if (print(parse(mine.add_file({.path = "a.nn", .text = with}), mine)) != tree || mine.has_errors()) continue;
      ++places;
      INFO(with.substr(token.span.begin < 200 ? 0 : token.span.begin - 200, 400));
      const std::string once = formatted(with);
      CHECK(formatted(once) == once);
    }
  CHECK(places > 500);
}

TEST_CASE("a file with a syntax error is not laid out") {
  Diagnostics diagnostics;
  CHECK(!format(diagnostics.add_file({.path = "a.nn", .text = "const a = (1\n"}), diagnostics));
  CHECK(diagnostics.has_errors());
}

TEST_CASE("the layout is one, whatever the blanks were, and means what the text meant") {
  std::mt19937 random(4);
  REQUIRE(files().size() > 30);
  for (const fs::path& path : files()) {
    INFO(path);
    const std::string text = read(path), once = formatted(text);
    CHECK(formatted(once) == once);
    for (int i = 0; i < 5; ++i) {
      const std::string other = reflowed(text, random);
      INFO(other);
      CHECK(formatted(other) == once);
    }
  }
}

TEST_CASE("the .nn files of the project are laid out so; NNC_BLESS=1 does it", "[golden]") {
  const bool bless = std::getenv("NNC_BLESS") != nullptr;
  for (const fs::path& path : files()) {
    if (path.string().find("/tests/golden/") != std::string::npos)
      continue;  // wrong programs stand as they were written
    INFO("nnc fmt " << path.string());
    const std::string text = read(path), once = formatted(text);
    if (bless && text != once) std::ofstream(path, std::ios::binary) << once;
    if (!bless) CHECK(text == once);
  }
}
