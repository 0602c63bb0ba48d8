// Wrong programs with their messages: each program of tests/golden/errors/*.nn begins with `# RUN: check` and ends with
// what the frontend says about it, as `#|` lines. A file may hold several, one after the other; each is checked alone,
// as if the file held nothing else. NNC_BLESS=1 writes the messages that are given now.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "frontend/elaborate.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

namespace {

namespace fs = std::filesystem;
const fs::path folder = fs::path(NNC_SOURCE_DIR) / "tests/golden/errors";

std::string read(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// A program without its expected messages, and those.
struct Case {
  std::string program, expected;
};

std::vector<Case> split(const std::string& text) {
  std::vector<Case> result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool answer = line.starts_with("#|");
    if (result.empty() || (!answer && line.starts_with("# RUN: "))) result.emplace_back();
    if (answer)
      result.back().expected += line.substr(line.size() > 2 ? 3 : 2) + "\n";
    else
      result.back().program += line + "\n";
  }
  return result;
}

std::string as_comment(const std::string& messages) {
  std::string result;
  std::istringstream lines(messages);
  for (std::string line; std::getline(lines, line);) result += line.empty() ? "#|\n" : "#| " + line + "\n";
  return result;
}

/// `# RUN: check --set a=1 --dtype f64`: the options of the command that the frontend sees.
nnc::ElaborateOptions options_of(const std::string& program) {
  nnc::ElaborateOptions options;
  std::istringstream words(program.substr(0, program.find('\n')));
  for (std::string word; words >> word;) {
    if (word == "f64") options.double_precision = true;
    const std::size_t sign = word.find('=');
    if (sign != std::string::npos) options.overrides.emplace_back(word.substr(0, sign), word.substr(sign + 1));
  }
  return options;
}

/// What the frontend says about a program; its file, in a scratch folder, is shown by its name alone.
std::string messages_of(const std::string& name, const std::string& program) {
  const nnc::test::Scratch scratch;
  for (const auto& beside : fs::directory_iterator(folder))  // what a program imports
    if (beside.is_directory()) fs::copy(beside.path(), scratch.path() / beside.path().filename());
  const std::string path = (scratch.path() / name).string();
  std::ofstream(path, std::ios::binary) << program;
  nnc::Diagnostics diagnostics;
  const auto blocks = nnc::elaborate_file(path, options_of(program), diagnostics);
  std::string messages = diagnostics.render(false);
  const std::string prefix = scratch.path().string() + "/";
  for (std::size_t at; (at = messages.find(prefix)) != std::string::npos;) messages.erase(at, prefix.size());
  const bool trains = program.find("\ntrain ") != std::string::npos;
  CHECK(blocks.empty() == (diagnostics.has_errors() || !trains));
  return messages;
}

std::vector<fs::path> cases() {
  std::vector<fs::path> result;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".nn") result.push_back(entry.path());
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace

TEST_CASE("wrong programs get the messages that stand in them", "[golden]") {
  const bool bless = std::getenv("NNC_BLESS") != nullptr;
  REQUIRE(cases().size() >= 15);
  for (const fs::path& path : cases()) {
    DYNAMIC_SECTION(path.filename().string()) {
      std::string blessed;
      for (const Case& golden : split(read(path))) {
        INFO(golden.program);
        REQUIRE(golden.program.starts_with("# RUN: check"));
        const std::string messages = messages_of(path.filename().string(), golden.program);
        blessed += golden.program + as_comment(messages);
        if (!bless) CHECK(messages == golden.expected);
      }
      if (bless && blessed != read(path)) {
        std::ofstream(path, std::ios::binary) << blessed;
        WARN("blessed " << path.filename().string());
      }
    }
  }
}

TEST_CASE("every message that the frontend has stands in a golden text") {
  std::string all;
  std::size_t programs = 0;
  for (const fs::path& path : cases())
    for (const Case& golden : split(read(path))) {
      all += golden.expected;
      ++programs;
    }
  CHECK(programs >= 120);
  constexpr nnc::Code codes[] = {
#define NNC_DIAGNOSTIC(number, name, severity, title) nnc::Code::name,
#include "frontend/diagnostics.def"
#undef NNC_DIAGNOSTIC
  };
  for (const nnc::Code code : codes) {
    if (code == nnc::Code::file_unreadable) continue;  // see frontend_diagnostics.cpp
    INFO(nnc::title_of(code));
    CHECK_THAT(all, Catch::Contains("[" + nnc::code_text(code) + "]"));
  }
}

TEST_CASE("programs that are right earn no warning, and the library only that its names are its own") {
  const fs::path root(NNC_SOURCE_DIR);
  std::size_t programs = 0;
  for (const char* part : {"examples", "tests/programs", "tests/language", "frontend/std"})
    for (const auto& entry : fs::recursive_directory_iterator(root / part)) {
      if (entry.path().extension() != ".nn") continue;
      ++programs;
      nnc::Diagnostics diagnostics;
      nnc::elaborate_tests(entry.path().string(), {}, diagnostics);
      for (const nnc::Diagnostic& diagnostic : diagnostics.all()) {
        INFO(entry.path() << ": " << diagnostic.message);
        CHECK((std::string(part) == "frontend/std" && diagnostic.code == nnc::Code::shadows_library));
      }
    }
  CHECK(programs > 25);
}
