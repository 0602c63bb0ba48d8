#include "frontend/not_built.h"

#include <string_view>

namespace nnc {
namespace {

struct Text {
  std::string_view what, help;
};
constexpr Text texts[] = {
#define NNC_NOT_BUILT(name, what, help) {what, help},
#include "frontend/not_built.def"
#undef NNC_NOT_BUILT
};

}  // namespace

void report_not_built(NotBuilt what, Span where, Diagnostics& diagnostics) {
  const Text& text = texts[static_cast<std::size_t>(what)];
  diagnostics.report({.code = Code::not_built,
                      .message = std::string(text.what) + " is part of the language, but not built yet",
                      .primary = where,
                      .help = std::string(text.help)});
}

}  // namespace nnc
