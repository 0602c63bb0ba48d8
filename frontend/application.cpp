#include "frontend/application.h"

#include <fmt/format.h>

#include <algorithm>

#include "frontend/newcomers.h"

namespace nnc {

namespace {

bool is_variable(const std::string& name) { return name == "batch" || (name[0] >= 'A' && name[0] <= 'Z'); }

}  // namespace

const std::string* variable_of(const ast::Dim& dim) {
  if (dim.kind != ast::Dim::Kind::expression) return nullptr;
  const auto* name = std::get_if<ast::NameUse>(&dim.value->form);
  return name && is_variable(name->name) ? &name->name : nullptr;
}

// ---- matching ------------------------------------------------------------------------------------------------------

/// Evaluates the arguments in the order in which they stand and assigns them to parameters.
bool Application::match(const std::vector<ast::Param>& params, std::vector<CallArgument>& arguments, Scope& caller,
                        Matched& into) {
  into.assign(params.size(), std::nullopt);
  bool fine = true, misnamed = false;
  std::size_t next = 0;
  for (CallArgument& argument : arguments) {
    if (!argument.value) argument.value = std::make_shared<Term>(e.evaluate(*argument.expr, caller));
    std::size_t at = next;
    if (argument.name) {
      at = 0;
      while (at < params.size() && params[at].name.text != argument.name->text) ++at;
      if (at == params.size()) {
        std::vector<std::string> known;
        for (const ast::Param& param : params) known.push_back(param.name.text);
        e.error(Code::unknown_argument, argument.name->span,
                fmt::format("`{}` has no argument `{}`", name, argument.name->text), "",
                repair_of_argument(argument.name->text, known));
        fine = false;
        misnamed = true;  // it may have been meant for one that is missing
        continue;
      }
    } else {
      ++next;
    }
    if (at >= params.size()) {
      e.error(Code::too_many_arguments, argument.span,
              fmt::format("`{}` takes {} argument{}", name, params.size(), params.size() == 1 ? "" : "s"));
      return false;
    }
    if (into[at]) {
      e.error(Code::duplicate_name, argument.span, fmt::format("`{}` is given twice", params[at].name.text));
      fine = false;
      continue;
    }
    into[at] = Given{*argument.value, argument.span};
    if (argument.value->failed()) fine = false;
  }
  for (std::size_t i = 0; i < params.size(); ++i) {
    if (into[i] || params[i].value) continue;
    const bool hidden = std::ranges::any_of(
        arguments, [](const CallArgument& argument) { return argument.value && argument.value->failed(); });
    if (!misnamed && (fine || !hidden))
      e.error(Code::missing_argument, span, fmt::format("`{}` needs `{}`", name, params[i].name.text), "",
              fmt::format("it is declared as `{}`", e.source(params[i].span)));
    fine = false;
  }
  return fine;
}

// ---- binding -------------------------------------------------------------------------------------------------------

const Provenance* Application::bound_by(const std::string& variable, const Axis& axis) {
  const auto known = stories.find(variable);
  if (known != stories.end()) return known->second;
  const bool tells = !e.in_library(span) && !axis.extent.batched && !as_declared(axis.id);
  const Provenance* story = tells ? e.because(variable, shown, span, axis.from) : axis.from;
  stories.emplace(variable, story);
  return story;
}

/// Gives a dimension variable its axis, or one that knows more.
void Application::bind_dimension(const std::string& variable, const Axis& axis) {
  scope.assign(variable, Length{axis});
  if (e.frames().empty() || axis.extent.batched) return;
  auto& dimensions = e.frames().back().dimensions;
  const auto known = std::ranges::find(dimensions, variable, [](const auto& bound) { return bound.first; });
  if (known == dimensions.end())
    dimensions.emplace_back(variable, axis.id);
  else
    known->second = axis.id;
}

void Application::bind_scalar(const ast::Param& param, const Given& given) {
  Term term = e.scalar_of(param.type, given.term, given.span, fmt::format("`{}` of `{}`", param.name.text, name));
  if (term.failed()) failed = true;
  if (const Number* number = term.as<Number>(); number && !e.in_library(span) && !as_declared(number->id))
    term = Number{number->value, e.because("", shown, span, number->from), number->id};
  if (!scope.define(param.name.text, std::move(term))) failed = true;
}

void Application::bind_number(const ast::Param& param, const Given& given) {
  if (!scope.define(param.name.text, given.term)) failed = true;
}

bool Application::unify(const ast::TypeExpr& type, Array& array, Span at, const std::string& what,
                        const std::string& declared) {
  if (!unify_axes(type, array.axes, at, what, declared, e.describe(Term(array)))) return false;
  Shape shape;  // an axis that stretches from now on leaves the node
  for (const Axis& axis : array.axes)
    if (!axis.stretch) shape.push_back(axis.extent);
  array.node = e.builder().reshape(array.node, shape);
  return true;
}

/// Binds the variables of a declared type to the axes that arrive, or compares. Expressions wait.
bool Application::unify_axes(const ast::TypeExpr& type, std::vector<Axis>& axes, Span at, const std::string& what,
                             const std::string& declared, const std::string& seen) {
  const auto mismatch = [&](std::vector<std::string> notes) {
    Diagnostic diagnostic{.code = Code::shape_mismatch,
                          .message = fmt::format("{} does not fit `{}`", what, declared),
                          .primary = at,
                          .primary_label = seen,
                          .notes = std::move(notes)};
    e.report(std::move(diagnostic));
    failed = true;
    return false;
  };
  const auto hidden = static_cast<std::size_t>(e.hidden_axes(axes));
  const auto open =
      std::ranges::find_if(type.dims, [](const ast::Dim& dim) { return dim.kind == ast::Dim::Kind::ellipsis; });
  const bool any = open != type.dims.end();
  const std::size_t fixed = type.dims.size() - (any ? 1 : 0);
  const std::size_t rank = axes.size();
  // In a data block the batch is hidden from a signature that has no `...` to take it.
  const std::size_t first = any ? 0 : hidden;
  if (any ? rank < fixed + hidden : rank != fixed + hidden)
    return mismatch({fmt::format("{} {} ax{} declared, and this has {}", any ? "at least" : "exactly", fixed,
                                 fixed == 1 ? "is is" : "es are", rank - hidden)});
  std::size_t axis = first;
  for (const ast::Dim& dim : type.dims) {
    if (dim.kind == ast::Dim::Kind::ellipsis) {
      const std::size_t count = rank - fixed;
      const std::vector<Axis> taken(axes.begin() + static_cast<std::ptrdiff_t>(axis),
                                    axes.begin() + static_cast<std::ptrdiff_t>(axis + count));
      if (const std::vector<Axis>* bound = scope.ellipsis()) {
        const bool equal = std::ranges::equal(
            *bound, taken, [](const Axis& x, const Axis& y) { return x.stretch || y.stretch || x.extent == y.extent; });
        if (!equal) {
          std::vector<std::string> notes = {
              fmt::format("`...` is [{}] by what came before, and [{}] here", e.describe(*bound), e.describe(taken))};
          for (std::size_t i = 0; i < std::min(bound->size(), taken.size()); ++i) {
            const Axis &x = (*bound)[bound->size() - 1 - i], &y = taken[taken.size() - 1 - i];
            if (x.extent == y.extent || (!x.from && !y.from)) continue;
            notes.push_back(fmt::format("before: {}", e.story(x)));
            notes.push_back(fmt::format("here:   {}", e.story(y)));
            break;
          }
          return mismatch(std::move(notes));
        }
      } else {
        scope.bind_ellipsis(taken);
      }
      axis += count;
      continue;
    }
    Axis& actual = axes[axis++];
    if (dim.kind == ast::Dim::Kind::stretch) {
      if (actual.extent != Extent{1, false})
        return mismatch(
            {fmt::format("`_` fits an axis of length 1, and axis {} is {}", axis - 1 - hidden, e.story(actual))});
      actual.stretch = true;
      continue;
    }
    if (!actual.id && !actual.extent.batched) actual.id = e.new_axis();
    const std::string* variable = variable_of(dim);
    if (variable) {
      const Term* known = scope.find(*variable);
      if (!known) {
        actual.from = bound_by(*variable, actual);
        bind_dimension(*variable, actual);
        continue;
      }
      const Number* number = known->as<Number>();  // a setting with a capital name
      if (number && actual.extent != Extent{static_cast<std::int64_t>(number->value), false})
        return mismatch({fmt::format("axis {} differs: `{}` is {}, and this is {}", axis - 1 - hidden, *variable,
                                     number->value, e.length(actual)),
                         fmt::format("expected: {}{}", number->value, e.story(number->from)),
                         fmt::format("here:     {}", e.story(actual))});
      if (const Length* length = known->as<Length>()) {
        if (length->axis.stretch && !actual.stretch) {
          bind_dimension(*variable, actual);
          continue;
        }
        if (actual.stretch) continue;
        if (actual.extent == length->axis.extent) {
          if (returned) e.check_meeting(length->axis, actual, at, "the result");
          Axis both = length->axis;
          if (!returned) both.id = e.either(both.id, actual.id);
          bind_dimension(*variable, both);
          continue;
        }
        const std::string wanted = e.length(length->axis);
        return mismatch({wanted == *variable
                             ? fmt::format("axis {} differs: {} and {}", axis - 1 - hidden, wanted, e.length(actual))
                             : fmt::format("axis {} differs: `{}` is {}, and this is {}", axis - 1 - hidden, *variable,
                                           wanted, e.length(actual)),
                         fmt::format("expected: {}", e.story(length->axis)),
                         fmt::format("here:     {}", e.story(actual))});
      }
    }
    if (const auto* literal = std::get_if<ast::Number>(&dim.value->form)) {
      if (actual.extent != Extent{static_cast<std::int64_t>(literal->value), false})
        return mismatch({fmt::format("axis {} differs: {} and {}", axis - 1 - hidden, literal->value, e.length(actual)),
                         fmt::format("expected: {} <- {} {}", literal->value, declared, e.place_text(dim.span)),
                         fmt::format("here:     {}", e.story(actual))});
      const bool same_place = actual.from && actual.from->span.begin == dim.span.begin;
      if (!e.in_library(dim.span) && !same_place) actual.from = e.because("", declared, dim.span, actual.from);
    }
  }
  return true;
}

/// Dimensions written as expressions, once every variable is bound.
void Application::check_expressions(const ast::TypeExpr& type, const std::vector<Axis>& axes, Span at,
                                    const std::string& what) {
  std::size_t left = type.dims.size(), axis = axes.size();
  // From the right to `...`, then from the left: every expression meets its axis.
  const auto check = [&](const ast::Dim& dim, const Axis& actual, std::size_t position) {
    if (dim.kind != ast::Dim::Kind::expression || variable_of(dim) ||
        std::holds_alternative<ast::Number>(dim.value->form))
      return;
    const auto wanted = e.dimension(*dim.value, scope);
    if (!wanted) {
      failed = true;
      return;
    }
    if (wanted->extent == actual.extent || actual.stretch) return;
    failed = true;
    e.report({.code = Code::shape_mismatch,
              .message = fmt::format("{} does not fit `{}`", what, e.source(type.span)),
              .primary = at,
              .primary_label = fmt::format("axis {} is {}", position - static_cast<std::size_t>(e.hidden_axes(axes)),
                                           e.length(actual)),
              .notes = {fmt::format("expected: {}{}",
                                    e.source(dim.span) == e.length(*wanted) ? "" : e.source(dim.span) + " = ",
                                    e.story(*wanted)),
                        fmt::format("here:     {}", e.story(actual))}});
  };
  while (left > 0 && type.dims[left - 1].kind != ast::Dim::Kind::ellipsis && axis > 0) {
    --left;
    --axis;
    check(type.dims[left], axes[axis], axis);
  }
  for (std::size_t i = 0; i < left && type.dims[i].kind != ast::Dim::Kind::ellipsis; ++i)
    check(type.dims[i], axes[i], i);
}

void Application::bind_place(const ast::Param& param, const Given& given) {
  if (given.term.failed()) {
    scope.define(param.name.text, Failed{});
    failed = true;
    return;
  }
  const auto type = expressible(param.type) ? e.resolve(param.type, scope) : std::nullopt;
  if (!type) {
    if (!failed)
      e.error(Code::no_shape, given.span,
              fmt::format("`{}` of `{}` is {}, and nothing else says what `{}` is", param.name.text, name,
                          e.describe(given.term), e.source(param.type.span)));
    failed = true;
    return;
  }
  const auto placed = e.place(given.term, *type, given.span, fmt::format("`{}` of `{}`", param.name.text, name));
  if (!placed) failed = true;
  scope.define(param.name.text, placed ? Term(own(*placed)) : Term(Failed{}));
}

/// An argument that was computed in the call has the parameter's name from there on; one that has a name keeps it.
Array Application::own(const Array& array) { return {e.named(array.node), array.axes}; }

/// Every dimension of the type is known in the scope.
bool Application::expressible(const ast::TypeExpr& type) const {
  return std::ranges::all_of(type.dims, [&](const ast::Dim& dim) {
    if (dim.kind == ast::Dim::Kind::ellipsis) return scope.ellipsis() != nullptr;
    const std::string* variable = variable_of(dim);
    return !variable || scope.find(*variable);
  });
}

/// Whole numbers with one axis less than another argument of the same declared type are numbers of classes, and where
/// floating elements are wanted for them a row stands for each.
std::string Application::repair_of_elements(const std::vector<ast::Param>& params, const Matched& matched,
                                            std::size_t wrong) const {
  const Array& array = *matched[wrong]->term.as<Array>();
  const std::string written = e.source(matched[wrong]->span);
  for (std::size_t i = 0; i < params.size(); ++i) {
    const Array* other = matched[i] ? matched[i]->term.as<Array>() : nullptr;
    if (i == wrong || !other || e.source(params[i].type.span) != e.source(params[wrong].type.span)) continue;
    if (array.node.type().dtype != DType::i32 || other->axes.size() != array.axes.size() + 1) continue;
    if (array.axes.size() == 1 && e.length(other->axes.back()) == "1")
      return fmt::format("`f32({})[:, _]` takes the numbers 0 and 1 of two classes as they are", written);
    const std::string row =
        fmt::format("`one_hot({}, {})` makes a row of each number of a class", written, e.length(other->axes.back()));
    if (!name.starts_with("cross_entropy")) return row;
    return fmt::format("`softmax_cross_entropy({}, {})` takes logits and numbers of classes; of probabilities, {}",
                       e.source(matched[i]->span), written, row);
  }
  return fmt::format("write `float({})`", written);
}

/// `float` is one element type throughout a signature: that of the first tensor that arrives.
void Application::bind_floating(const std::vector<ast::Param>& params, const Matched& matched,
                                std::optional<DType> around) {
  const ast::Param* first = nullptr;
  std::optional<DType> floating;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const Array* array = matched[i] ? matched[i]->term.as<Array>() : nullptr;
    if (!array || !params[i].type.tensor || params[i].type.base != ast::TypeExpr::Base::floating) continue;
    const DType dtype = array->node.type().dtype;
    if (!floating && is_float(dtype)) {
      floating = dtype;
      first = &params[i];
    } else if (!is_float(dtype) || dtype != *floating) {
      e.error(Code::type_mismatch, matched[i]->span,
              is_float(dtype) ? fmt::format("`{}` of `{}` is {}, and `{}` is {}", params[i].name.text, name,
                                            name_of(dtype), first->name.text, name_of(*floating))
                              : fmt::format("`{}` of `{}` has floating elements, not {}", params[i].name.text, name,
                                            name_of(dtype)),
              "", repair_of_elements(params, matched, i));
      failed = true;
    }
  }
  if (floating)
    scope.bind_floating(*floating);
  else if (around)
    scope.bind_floating(*around);
}

/// Binds all inputs of a function, layer or model.
void Application::inputs(const std::vector<ast::Param>& params, Matched& matched) {
  for (std::size_t i = 0; i < params.size(); ++i) {
    const ast::Param& param = params[i];
    if (param.type.tensor) continue;
    if (!matched[i]) matched[i] = Given{e.evaluate(*param.value, scope), span};
    bind_scalar(param, *matched[i]);
  }
  for (std::size_t i = 0; i < params.size(); ++i)
    if (matched[i] && params[i].type.tensor)
      if (const List* list = matched[i]->term.as<List>()) {
        const auto base = params[i].type.base;
        const DType dtype = base == ast::TypeExpr::Base::i32       ? DType::i32
                            : base == ast::TypeExpr::Base::boolean ? DType::boolean
                            : base == ast::TypeExpr::Base::f64     ? DType::f64
                                                                   : scope.floating().value_or(e.default_float());
        matched[i]->term = e.list_to_array(*list, dtype, matched[i]->span);
        failed = failed || matched[i]->term.failed();
      }
  if (failed) return;
  // Tensors bind variables; then expressions are compared; then the rest takes the declared type.
  std::vector<std::pair<const ast::Param*, Array>> tensors;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const ast::Param& param = params[i];
    if (!param.type.tensor || !matched[i]) continue;
    const Array* array = matched[i]->term.as<Array>();
    if (!array) continue;
    const std::string what = fmt::format("`{}` of `{}`", param.name.text, name);
    const auto type = e.element_type(param.type, scope);
    if (array->node.type().dtype != type) {
      e.error(Code::type_mismatch, matched[i]->span,
              fmt::format("{} has elements of type {}, and this has {}", what, name_of(type),
                          name_of(array->node.type().dtype)),
              "",
              fmt::format("no element type is converted by itself: write `{}({})`", name_of(type),
                          e.source(matched[i]->span)));
      failed = true;
      continue;
    }
    Array bound = *array;
    if (unify(param.type, bound, matched[i]->span, what, e.source(param.span))) tensors.emplace_back(&param, bound);
  }
  if (failed) return;
  for (std::size_t i = 0; i < params.size(); ++i)
    for (const auto& [param, array] : tensors)
      if (param == &params[i])
        check_expressions(param->type, array.axes, matched[i]->span,
                          fmt::format("`{}` of `{}`", param->name.text, name));
  if (failed) return;
  for (auto& [param, array] : tensors)
    if (!scope.define(param->name.text, own(array))) failed = true;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const ast::Param& param = params[i];
    if (!param.type.tensor) continue;
    if (!matched[i]) matched[i] = Given{e.evaluate(*param.value, scope), span};
    if (!matched[i]->term.as<Array>() || scope.find(param.name.text) == nullptr) bind_place(param, *matched[i]);
  }
}

// ---- results -------------------------------------------------------------------------------------------------------

Term Application::one_result(const ast::TypeExpr& declared, const Term& term, Span at) {
  if (term.failed()) return Failed{};
  returned = true;
  const std::string what = fmt::format("the result of `{}`", name);
  if (!declared.tensor) return e.scalar_of(declared, term, at, what);
  if (const Array* array = term.as<Array>()) {
    const DType wanted = e.element_type(declared, scope);
    if (array->node.type().dtype != wanted)
      return e.error(Code::type_mismatch, at,
                     fmt::format("{} is declared {}, and this is {}", what, e.source(declared.span), e.describe(term)));
    Array result = *array;
    const std::string shown_type = e.source(declared.span);
    if (!unify(declared, result, at, what, shown_type)) return Failed{};
    check_expressions(declared, result.axes, at, what);
    if (failed) return Failed{};
    return result;
  }
  if (!expressible(declared))
    return e.error(Code::no_shape, at, fmt::format("{} is {}, and its shape cannot be told", what, e.describe(term)));
  const auto type = e.resolve(declared, scope);
  const auto placed = type ? e.place(term, *type, at, what) : std::nullopt;
  return placed ? Term(*placed) : Term(Failed{});
}

Term Application::result(std::span<const ast::TypeExpr> declared, const Term& term, Span at) {
  if (term.failed()) return Failed{};
  if (!damaged) return results(declared, term, at);
  Term result;
  e.diagnostics.capture([&] { result = results(declared, term, at); });
  return result;
}

Term Application::results(std::span<const ast::TypeExpr> declared, const Term& term, Span at) {
  if (declared.size() == 1) return one_result(declared.front(), term, at);
  const Several* several = term.as<Several>();
  if (!several || several->values.size() != declared.size())
    return e.error(Code::type_mismatch, at,
                   fmt::format("`{}` has {} results, and this returns {}", name, declared.size(),
                               several ? std::to_string(several->values.size()) : "one"));
  Several results;
  for (std::size_t i = 0; i < declared.size(); ++i)
    results.values.push_back(one_result(declared[i], several->values[i], at));
  return results;
}

}  // namespace nnc
