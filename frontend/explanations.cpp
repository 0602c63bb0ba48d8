#include "frontend/explanations.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "frontend/std/embedded.h"

namespace nnc {
namespace {

/// What the hundreds of a number say.
struct Part {
  int hundred;
  std::string_view title;
};
constexpr Part parts[] = {
    {0, "Characters"}, {1, "Grammar"}, {2, "Names"}, {3, "Shapes and types"}, {4, "Layers, parameters and states"},
    {5, "Training"},   {6, "Data"},    {7, "Tests"}, {9, "Not built yet"}};

int number_of(Code code) {
  int number = 0;
  const std::string text = code_text(code);
  std::from_chars(text.data() + 1, text.data() + text.size(), number);
  return number;
}

std::vector<Code> codes_of(const Part& part) {
  std::vector<Code> result;
  for (const Code code : all_codes())
    if (number_of(code) / 100 == part.hundred) result.push_back(code);
  return result;
}

/// The number in "E0301", "e301" or "301".
std::optional<int> number_in(std::string_view text) {
  if (!text.empty() && std::string_view("EeWw").find(text.front()) != std::string_view::npos) text.remove_prefix(1);
  int number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || fault != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

}  // namespace

std::vector<Code> all_codes() {
  return {
#define NNC_DIAGNOSTIC(number, name, severity, title) Code::name,
#include "frontend/diagnostics.def"
#undef NNC_DIAGNOSTIC
  };
}

std::optional<Code> code_named(std::string_view text) {
  const auto number = number_in(text);
  for (const Code code : all_codes())
    if (number && number_of(code) == *number) return code;
  return std::nullopt;
}

Code nearest_code(std::string_view text) {
  const int wanted = number_in(text).value_or(0);
  Code nearest = all_codes().front();
  for (const Code code : all_codes())
    if (std::abs(number_of(code) - wanted) < std::abs(number_of(nearest) - wanted)) nearest = code;
  return nearest;
}

std::string_view explanation(Code code) {
  const std::string name = code_text(code) + ".md";
  for (const EmbeddedFile& page : embedded_explanations())
    if (page.name == name) return page.text;
  return "";
}

std::string explained(Code code) {
  return fmt::format("{}: {}\n\n{}", code_text(code), title_of(code), explanation(code));
}

std::string list_of_codes() {
  std::string out;
  for (const Part& part : parts) {
    const std::vector<Code> codes = codes_of(part);
    if (codes.empty()) continue;
    out += fmt::format("{}{}\n", out.empty() ? "" : "\n", part.title);
    for (const Code code : codes) out += fmt::format("  {}  {}\n", code_text(code), title_of(code));
  }
  return out + "\n`nnc explain CODE` shows what a code means, a program that earns it, and how to mend it.\n";
}

std::string errors_document() {
  std::string out =
      "# Messages\n\n"
      "Each message of the compiler has a stable code: E for errors, W for warnings. `nnc explain E0301` prints the "
      "part\n"
      "of this page that is about one. First a program that earns the code, then the program mended; the tests run "
      "both.\n"
      "(Made from frontend/explanations; `./dev bless` writes it.)\n";
  for (const Part& part : parts) {
    const std::vector<Code> codes = codes_of(part);
    if (codes.empty()) continue;
    out += fmt::format("\n## {}\n", part.title);
    for (const Code code : codes)
      out += fmt::format("\n### {}: {}\n\n{}", code_text(code), title_of(code), explanation(code));
  }
  return out;
}

}  // namespace nnc
