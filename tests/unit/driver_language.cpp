// `nnc test`: the language's own tests (tests/language/*.nn), and how the command tells what fails.
#include <filesystem>
#include <fstream>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using Catch::Matchers::Contains;
using nnc::test::run_nnc;
using nnc::test::Scratch;
namespace fs = std::filesystem;

nnc::test::CommandResult tested(const Scratch& scratch, const std::string& program, const std::string& more = "") {
  std::ofstream(scratch.path() / "a.nn") << program;
  return run_nnc("test a.nn" + more, scratch.path());
}

}  // namespace

TEST_CASE("the language's own tests hold, as declared and in f64", "[language]") {
  const Scratch scratch;
  for (const auto& entry : fs::directory_iterator(NNC_SOURCE_DIR "/tests/language")) {
    if (entry.path().extension() != ".nn") continue;
    for (const std::string more : {"", " --dtype f64 --threads 2"}) {
      const auto result = run_nnc("test '" + entry.path().string() + "'" + more, scratch.path());
      INFO(entry.path().filename().string() << more << "\n" << result.err << result.out);
      CHECK(result.status == 0);
      CHECK(result.err == "");
      CHECK_THAT(result.out, Contains(" passed, 0 failed"));
    }
  }
}

TEST_CASE("a failing expectation is told with its line, the first and the worst element and their values") {
  const Scratch scratch;
  const auto result =
      tested(scratch,
             "test \"good\" {\n  expect 1 + 1 == 2\n}\n"
             "test \"bad\" {\n  let a: f32[2, 2] = [[1, 2], [3, 4]]\n"
             "  expect a == [[1, 2.5], [5, 4]] within 0.1\n  expect sum(a) < 3\n  expect training\n}\n");
  CHECK(result.status == 1);
  CHECK(result.err == "");
  CHECK(result.out ==
        "ok    a.nn: good\n"
        "FAIL  a.nn: bad\n"
        "  --> a.nn:6:10\n"
        "   |\n"
        " 6 |   expect a == [[1, 2.5], [5, 4]] within 0.1\n"
        "   |          ^^^^^^^^^^^^^^^^^^^^^^^\n"
        "   = 2 of 4 elements fail\n"
        "   = first: [0, 1]: 2 and 2.5, apart by 0.5\n"
        "   = worst: [1, 0]: 3 and 5, apart by 2\n"
        "   = within 0.1\n"
        "  --> a.nn:7:10\n"
        "   |\n"
        " 7 |   expect sum(a) < 3\n"
        "   |          ^^^^^^^^^^\n"
        "   = values: 10 and 3, apart by 7\n"
        "  --> a.nn:8:10\n"
        "   |\n"
        " 8 |   expect training\n"
        "   |          ^^^^^^^^\n"
        "   = values: false and true, apart by 1\n"
        "1 passed, 1 failed\n");
}

TEST_CASE("a derivative that differences contradict fails a gradcheck") {
  const Scratch scratch;
  const auto result = tested(scratch,
                             "test \"at a kink\" {\n  let a: f32[3] = [1, 0, 3]\n"
                             "  gradcheck relu(a)\n  gradcheck a * a\n}\n");
  CHECK(result.status == 1);
  CHECK_THAT(result.out, Contains("a.nn:3:13") && Contains("grad/a[") && Contains("derived ") &&
                             Contains("0 passed, 1 failed") && !Contains("a.nn:4"));
}

TEST_CASE("a gradcheck where there is no number fails, and says on which side") {
  const Scratch scratch;
  const auto result = tested(scratch,
                             "test \"roots\" {\n  let a: f32[2] = [0, 1]\n  gradcheck sqrt(a)\n"
                             "  let b: f32[2] = [-1, 1]\n  gradcheck log(b)\n}\n");
  CHECK(result.status == 1);
  CHECK_THAT(result.out, Contains("grad/a[0]: derived inf, measured nan, neither is a finite number") &&
                             Contains("grad/b: what is differentiated is nan here") && !Contains("grad/a[1]"));
}

TEST_CASE("one run tests in f32 and in f64") {
  const Scratch scratch;
  const std::string program =
      "test \"a third\" {\n  let a: f32[1] = [1]\n  expect a / 3 == f32(1) / 3 within 1e-12\n}\n"
      "test \"a sum\" {\n  let a: f32[2] = [1, 1e-12]\n  expect sum(a) > 1\n}\n";
  const auto both = tested(scratch, program, " --dtype both");
  CHECK(both.status == 1);
  CHECK_THAT(both.out, Contains("FAIL  a.nn: a sum\n") && Contains("ok    a.nn: a sum (f64)\n") &&
                           Contains("ok    a.nn: a third\n") && Contains("ok    a.nn: a third (f64)\n") &&
                           Contains("3 passed, 1 failed\n"));
  const auto lines = nnc::test::json_lines(tested(scratch, program, " --dtype both --json").out);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].at("dtype") == "f32");
  CHECK(lines[2].at("dtype") == "f64");
  CHECK(lines[3].at("passed") == true);
}

TEST_CASE("tests are chosen by name, and told as JSON") {
  const Scratch scratch;
  const std::string program = "test \"one\" {\n  expect 1 == 2\n}\ntest \"two\" {\n  expect 2 == 2\n}\n";
  CHECK(tested(scratch, program, " --filter tw").out == "ok    a.nn: two\n1 passed, 0 failed\n");
  const auto none = tested(scratch, program, " --filter three");
  CHECK(none.status == 2);
  CHECK_THAT(none.err, Contains("no test has `three` in its name"));
  const auto lines = nnc::test::json_lines(tested(scratch, program, " --json").out);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].at("schema") == "nnc.test.1");
  CHECK(lines[0].at("test") == "one");
  CHECK(lines[0].at("passed") == false);
  CHECK(lines[0].at("failures").at(0).at("line") == 2);
  CHECK(lines[1].at("passed") == true);
  const auto figures = tested(
      scratch, "test \"three\" {\n  let x: f64[2] = [1, 4]\n  expect sqrt(x) == [1, 2] within 1e-9\n}\n", " --json");
  const auto expected = nnc::test::json_lines(figures.out).at(0).at("expected").at(0);
  CHECK(expected.at("condition") == "sqrt(x) == [1, 2]");
  CHECK(expected.at("left") == std::vector<double>{1, 2});
  CHECK(expected.at("right") == std::vector<double>{1, 2});
  CHECK(expected.at("within") == 1e-9);
}

TEST_CASE("help of nnc test begins with examples") {
  const Scratch scratch;
  CHECK(run_nnc("test --help", scratch.path()).out.starts_with("Examples:\n  nnc test layers.nn\n"));
}
