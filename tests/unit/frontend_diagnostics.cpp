// How messages look: the layout of rustc, columns as a terminal shows them.
#include "frontend/diagnostics.h"

#include "tests/unit/catch.h"

using namespace nnc;

namespace {

Diagnostics with(std::string text) {
  Diagnostics diagnostics;
  diagnostics.add_file({.path = "bad.nn", .text = std::move(text)});
  return diagnostics;
}

}  // namespace

TEST_CASE("a diagnostic has carets, labels, notes and help as in rustc") {
  Diagnostics diagnostics = with("a\nb\n  return x + (x |> Dense(128) |> relu)\n");
  diagnostics.report({.code = Code::shape_mismatch,
                      .message = "shapes do not match in `+`",
                      .primary = {0, 15, 16},
                      .labels = {{{0, 13, 14}, "f32[batch, 256]"}, {{0, 17, 42}, "f32[batch, 128]"}},
                      .notes = {"axis 1 differs: 256 and 128"},
                      .help = "write `Dense(D)`"});
  CHECK(diagnostics.render(false) ==
        "error[E0301]: shapes do not match in `+`\n"
        "  --> bad.nn:3:12\n"
        "   |\n"
        " 3 |   return x + (x |> Dense(128) |> relu)\n"
        "   |          - ^ ------------------------- f32[batch, 128]\n"
        "   |          |\n"
        "   |          f32[batch, 256]\n"
        "   = axis 1 differs: 256 and 128\n"
        "   = help:  write `Dense(D)`\n");
}

TEST_CASE("several labels hang from the right to the left, and lines between are left out") {
  Diagnostics diagnostics = with("one two three\n\n\n\n\n\n\n\n\nten\n");
  diagnostics.report({.code = Code::shape_mismatch,
                      .message = "m",
                      .primary = {0, 22, 25},
                      .primary_label = "here",
                      .labels = {{{0, 0, 3}, "first"}, {{0, 4, 7}, "second"}, {{0, 8, 13}, "third"}}});
  CHECK(diagnostics.render(false) ==
        "error[E0301]: m\n"
        "   --> bad.nn:10:1\n"
        "    |\n"
        "  1 | one two three\n"
        "    | --- --- ----- third\n"
        "    | |   |\n"
        "    | |   second\n"
        "    | first\n"
        " ...\n"
        " 10 | ten\n"
        "    | ^^^ here\n");
}

TEST_CASE("columns are counted in code points and drawn as wide as they are") {
  Diagnostics diagnostics = with("\tlet 中文é = $\n");
  diagnostics.report({.code = Code::unknown_character, .message = "m", .primary = {0, 16, 17}});
  CHECK(diagnostics.position(0, 16) == std::pair<std::uint32_t, std::uint32_t>{1, 12});
  CHECK(diagnostics.render(false) ==
        "error[E0002]: m\n  --> bad.nn:1:12\n   |\n 1 |     let 中文é = $\n   |                 ^\n");
}

TEST_CASE("what a terminal would obey is not written to it") {
  Diagnostics diagnostics = with("a \x1b[31m \xE2\x80\xAE b\xFF\n");
  diagnostics.report({.code = Code::unknown_character, .message = "m", .primary = {0, 2, 3}});
  CHECK(diagnostics.render(false).find('\x1b') == std::string::npos);
  CHECK(diagnostics.render(false).find("\xE2\x80\xAE") == std::string::npos);
  CHECK(diagnostics.render(false).find('\xFF') == std::string::npos);
}

TEST_CASE("of a long line a window around the place is shown") {
  Diagnostics diagnostics = with(std::string(1'000'000, 'a') + "!" + std::string(1'000'000, 'b'));
  diagnostics.report({.code = Code::unknown_character, .message = "m", .primary = {0, 1'000'000, 1'000'001}});
  const std::string text = diagnostics.render(false);
  CHECK(text.size() < 1000);
  CHECK(text.find("bad.nn:1:1000001") != std::string::npos);
  CHECK(text.find("...aaa") != std::string::npos);
  CHECK(text.find("bbb...") != std::string::npos);
}

TEST_CASE("an error at a place is said once, warnings by what they say, all in order of place") {
  Diagnostics diagnostics = with("one\ntwo\n");
  const auto say = [&](Code code, std::uint32_t begin, std::string message) {
    diagnostics.report({.code = code, .message = std::move(message), .primary = {0, begin, begin + 3}});
  };
  say(Code::shape_mismatch, 4, "later");
  say(Code::shape_mismatch, 0, "first");
  say(Code::shape_mismatch, 0, "first again");
  say(Code::unreached_parameter, 0, "one");
  say(Code::unreached_parameter, 0, "other");
  say(Code::unreached_parameter, 0, "other");
  CHECK(diagnostics.all().size() == 4);
  CHECK(diagnostics.error_count() == 2);
  const std::string text = diagnostics.render(false);
  CHECK(text.find("first") < text.find("later"));
  CHECK(text.find("warning[W0404]: one") != std::string::npos);
}

TEST_CASE("colours surround the text and change nothing else") {
  Diagnostics diagnostics = with("one\n");
  diagnostics.report(
      {.code = Code::shape_mismatch, .message = "m", .primary = {0, 0, 3}, .primary_label = "here", .help = "h"});
  std::string coloured = diagnostics.render(true), bare;
  CHECK(coloured.find("\x1b[1;31m") != std::string::npos);
  for (std::size_t i = 0; i < coloured.size(); ++i) {
    if (coloured[i] == '\x1b')
      i = coloured.find('m', i);
    else
      bare += coloured[i];
  }
  CHECK(bare == diagnostics.render(false));
}

TEST_CASE("a file that cannot be read is a diagnostic without a line") {
  Diagnostics diagnostics;
  read_source("/nowhere/at all.nn", diagnostics);
  CHECK(diagnostics.render(false) ==
        "error[E0006]: cannot read `/nowhere/at all.nn`: No such file or directory\n  --> /nowhere/at all.nn\n");
}
