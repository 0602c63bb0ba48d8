// nnc fmt as a command: what it writes, prints and refuses.
#include <fstream>

#include "driver/line_diff.h"
#include "tests/support/command.h"
#include "tests/unit/catch.h"

using nnc::driver::line_diff;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;

TEST_CASE("fmt writes files in place, or says what would change") {
  const Scratch scratch;
  const auto path = scratch.path() / "a.nn";
  std::ofstream(path) << "const  a=1\nconst b = 2\n";
  const auto check = run_nnc("fmt --check a.nn", scratch.path());
  CHECK(check.status == 1);
  CHECK(check.err == "a.nn would be laid out anew\n");
  CHECK(run_nnc("fmt --diff a.nn", scratch.path()).out ==
        "--- a.nn\n+++ a.nn\n@@ -1,2 +1,2 @@\n-const  a=1\n+const a = 1\n const b = 2\n");
  CHECK(read_file(path) == "const  a=1\nconst b = 2\n");
  CHECK(run_nnc("fmt a.nn", scratch.path()).status == 0);
  CHECK(read_file(path) == "const a = 1\nconst b = 2\n");
  CHECK(run_nnc("fmt --check --diff a.nn", scratch.path()).status == 0);
  run_nnc("fmt - <a.nn >b.nn #", scratch.path());
  CHECK(read_file(scratch.path() / "b.nn") == "const a = 1\nconst b = 2\n");
  CHECK(run_nnc("emit a.nn --stage ast", scratch.path()).out == "const a = 1\nconst b = 2\n");
}

TEST_CASE("fmt does not touch a file with a syntax error, and goes on with the others") {
  const Scratch scratch;
  std::ofstream(scratch.path() / "wrong.nn") << "const  a = (1\n";
  std::ofstream(scratch.path() / "right.nn") << "const  a = 1\n";
  const auto result = run_nnc("fmt wrong.nn right.nn none.nn", scratch.path());
  CHECK(result.status == 2);
  CHECK_THAT(result.err, Catch::Contains("error[E0102]") && Catch::Contains("none.nn"));
  CHECK(read_file(scratch.path() / "wrong.nn") == "const  a = (1\n");
  CHECK(read_file(scratch.path() / "right.nn") == "const a = 1\n");
}

TEST_CASE("a diff shows each change with three lines around it, and changes that are close together") {
  CHECK(line_diff("a\n", "a\n", "f").empty());
  CHECK(line_diff("", "a\nb\n", "f") == "--- f\n+++ f\n@@ -1,0 +1,2 @@\n+a\n+b\n");
  CHECK(line_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n", "f") ==
        "--- f\n+++ f\n@@ -2,11 +2,10 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n 10\n 11\n-12\n");
}
