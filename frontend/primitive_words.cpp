#include "frontend/primitive_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "frontend/newcomers.h"

namespace nnc::primitives {

std::optional<std::size_t> named(const CallSite& site, std::string_view name) {
  for (std::size_t i = 0; i < site.arguments.size(); ++i)
    if (site.arguments[i].name && site.arguments[i].name->text == name) return i;
  return std::nullopt;
}

std::size_t positional(const CallSite& site) {
  return static_cast<std::size_t>(
      std::ranges::count_if(site.arguments, [](const CallArgument& argument) { return !argument.name; }));
}

bool check_arguments(CallSite& site, std::size_t least, std::size_t most, std::initializer_list<std::string> names) {
  Elaborator& e = site.elaborator;
  const std::vector<std::string> known(names);
  std::size_t count = 0;
  bool after = false;
  for (const CallArgument& argument : site.arguments) {
    if (!argument.name) {
      ++count;
      if (after) {
        e.error(Code::unexpected_token, argument.span, "arguments by name come after the others");
        return false;
      }
      if (count > most) {
        const bool axes = std::ranges::find(known, "over") != known.end();
        e.error(Code::too_many_arguments, argument.span,
                fmt::format("`{}` takes {} argument{}", site.name, most, most == 1 ? "" : "s"), "",
                axes ? fmt::format("axes are named: `{}({}, over = {})`", site.name, e.source(site.arguments[0].span),
                                   e.source(argument.span))
                     : "");
        return false;
      }
      continue;
    }
    after = true;
    if (std::ranges::find(known, argument.name->text) == known.end()) {
      e.error(Code::unknown_argument, argument.name->span,
              fmt::format("`{}` has no argument `{}`", site.name, argument.name->text), "",
              repair_of_argument(argument.name->text, known));
      return false;
    }
  }
  if (count >= least) return true;
  e.error(Code::missing_argument, site.span,
          fmt::format("`{}` takes {} argument{}", site.name, least, least == 1 ? "" : "s"));
  return false;
}

std::optional<std::size_t> given(const CallSite& site, std::size_t position, std::string_view name) {
  return position < positional(site) ? std::optional(position) : named(site, name);
}

bool needs_floats(CallSite& site, const Array& x) {
  if (is_float(x.node.type().dtype)) return true;
  site.elaborator.error(Code::type_mismatch, site.arguments[0].span,
                        fmt::format("`{}` takes floating elements, not {}", site.name, name_of(x.node.type().dtype)),
                        "", "write `float(...)` around it");
  return false;
}

Term elementwise_call(CallSite& site, Op op, std::size_t count) {
  if (!check_arguments(site, count, count)) return Failed{};
  std::vector<Term> operands;
  std::vector<Span> spans;
  for (std::size_t i = 0; i < count; ++i) {
    operands.push_back(site.evaluate(i));
    spans.push_back(site.arguments[i].span);
  }
  return site.elaborator.elementwise(op, operands, spans, site.span, site.name);
}

}  // namespace nnc::primitives
