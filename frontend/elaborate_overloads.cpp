// Which overload of a function is meant: the first whose parameters take the element types of the arguments.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/application.h"
#include "frontend/newcomers.h"

namespace nnc {

namespace {

/// The element type of an argument suits the parameter, whatever the shapes.
bool suits(const ast::TypeExpr& type, const Term& term, bool double_precision) {
  using enum ast::TypeExpr::Base;
  if (term.failed() || term.as<Shapeless>()) return term.failed() || type.tensor;
  if (const Array* array = term.as<Array>()) {
    if (!type.tensor) return false;
    const DType dtype = array->node.type().dtype;
    switch (type.base) {
      case floating:
        return is_float(dtype);
      case f32:
        return dtype == (double_precision ? DType::f64 : DType::f32);
      case f64:
        return dtype == DType::f64;
      case i32:
        return dtype == DType::i32;
      case boolean:
        return dtype == DType::boolean;
      case integer:
      case string:
        return false;
    }
  }
  if (term.as<Flag>()) return type.base == boolean;
  if (term.as<Text>()) return type.base == string;
  if (term.as<List>()) return type.tensor && type.base != i32;  // `i32([0, 1])` where whole numbers are meant
  if (term.as<Number>()) return type.base != boolean && type.base != string;
  if (term.as<Scalar>()) return type.base == floating || type.base == f32 || type.base == f64;
  return false;
}

/// Every argument suits its parameter, and every parameter without a default has one.
bool takes(const ast::Function& function, std::span<const CallArgument> arguments, bool double_precision) {
  const std::vector<ast::Param>& params = function.inputs;
  if (arguments.size() > params.size()) return false;
  std::vector<bool> filled(params.size(), false);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const CallArgument& argument = arguments[i];
    std::size_t at = i;
    if (argument.name)
      for (at = 0; at < params.size() && params[at].name.text != argument.name->text;) ++at;
    if (at >= params.size() || !suits(params[at].type, *argument.value, double_precision)) return false;
    filled[at] = true;
  }
  for (std::size_t i = 0; i < params.size(); ++i)
    if (!filled[i] && !params[i].value) return false;
  return true;
}

}  // namespace

/// Reports an argument whose name none of the overloads has.
bool Elaborator::misnamed(const Callee& callee, const CallSite& site) {
  std::vector<std::string> known;
  for (const Declared& declared : *callee.overloads)
    for (const ast::Param& param : std::get<ast::Function>(declared.declaration->form).inputs)
      if (std::ranges::find(known, param.name.text) == known.end()) known.push_back(param.name.text);
  for (const CallArgument& argument : site.arguments)
    if (argument.name && std::ranges::find(known, argument.name->text) == known.end())
      return error(Code::unknown_argument, argument.name->span,
                   fmt::format("`{}` has no argument `{}`", callee.name, argument.name->text), "",
                   repair_of_argument(argument.name->text, known)),
             true;
  return false;
}

/// The overload whose parameters take these element types; the only one where there is no choice.
const Declared* Elaborator::choose(const Callee& callee, CallSite& site) {
  if (callee.overloads->size() == 1) return &callee.overloads->front();
  for (std::size_t i = 0; i < site.arguments.size(); ++i)
    if (!site.arguments[i].value) site.arguments[i].value = std::make_shared<Term>(site.evaluate(i));
  for (const CallArgument& argument : site.arguments)
    if (argument.value->failed()) return nullptr;
  const auto chosen = [&]() -> const Declared* {
    for (const Declared& declared : *callee.overloads) {
      const auto* function = std::get_if<ast::Function>(&declared.declaration->form);
      if (!function || takes(*function, site.arguments, options.double_precision)) return &declared;
    }
    return nullptr;
  };
  if (const Declared* declared = chosen()) return declared;
  if (misnamed(callee, site)) return nullptr;
  std::string types;
  for (const CallArgument& argument : site.arguments) types += (types.empty() ? "" : ", ") + describe(*argument.value);
  Diagnostic diagnostic{.code = Code::no_overload,
                        .message = fmt::format("no `{}` takes ({})", callee.name, types),
                        .primary = site.span};
  for (const Declared& declared : *callee.overloads) {
    std::string params;
    for (const ast::Param& param : std::get<ast::Function>(declared.declaration->form).inputs)
      params += (params.empty() ? "" : ", ") + source(param.span);
    diagnostic.notes.push_back(fmt::format("there is {}({})", callee.name, params));
  }
  if (site.arguments.size() > 1 && !site.arguments[0].name && !site.arguments[1].name) {
    std::swap(site.arguments[0], site.arguments[1]);
    if (chosen())
      diagnostic.help =
          fmt::format("in the order of the parameters: `{}({}, {}{})`", callee.name, source(site.arguments[0].span),
                      source(site.arguments[1].span), site.arguments.size() > 2 ? ", ..." : "");
  }
  report(std::move(diagnostic));
  return nullptr;
}

}  // namespace nnc
