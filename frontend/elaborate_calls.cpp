// Applying things: matching arguments to parameters, unifying declared dimensions with those that arrive, and inlining
// the body. Every application is a frame, from which paths of parameters and messages about the library are made.
//
// Dimensions are bound in this order: settings and numbers, then the axes of tensors that arrive, then what is written
// as an expression is compared; what has no shape of its own (numbers, `zeros`, lists) takes the declared type last.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborator.h"
#include "frontend/nearest.h"
#include "frontend/newcomers.h"

namespace nnc {

namespace {

/// An argument that found its parameter.
struct Given {
  Term term;
  Span span;
};
using Matched = std::vector<std::optional<Given>>;

template <class Form>
const Form* form_of(const Declared& declared) {
  return std::get_if<Form>(&declared.declaration->form);
}

bool is_variable(const std::string& name) { return name == "batch" || (name[0] >= 'A' && name[0] <= 'Z'); }

/// The variable that a dimension consists of, or null.
const std::string* variable_of(const ast::Dim& dim) {
  if (dim.kind != ast::Dim::Kind::expression) return nullptr;
  const auto* name = std::get_if<ast::NameUse>(&dim.value->form);
  return name && is_variable(name->name) ? &name->name : nullptr;
}

std::size_t required(const std::vector<ast::Param>& params) {
  return static_cast<std::size_t>(std::ranges::count_if(params, [](const ast::Param& param) { return !param.value; }));
}

}  // namespace

/// One call being made: the scope of the signature and what is needed to speak about it.
struct Application {
  Elaborator& e;
  std::string name;   ///< "Dense"
  std::string shown;  ///< "Dense(width)"
  Span span;
  Scope& scope;  ///< of the signature and the body

  bool failed = false;
  bool returned = false;                               ///< the result is compared with what is declared
  std::map<std::string, const Provenance*> stories{};  ///< of variables bound here

  bool match(const std::vector<ast::Param>& params, std::vector<CallArgument>& arguments, Scope& caller, Matched& into);
  void bind_scalar(const ast::Param& param, const Given& given);
  void bind_number(const ast::Param& param, const Given& given);
  bool unify(const ast::TypeExpr& type, Array& array, Span at, const std::string& what, const std::string& declared);
  bool unify_axes(const ast::TypeExpr& type, std::vector<Axis>& axes, Span at, const std::string& what,
                  const std::string& declared, const std::string& seen);
  void check_expressions(const ast::TypeExpr& type, const std::vector<Axis>& axes, Span at, const std::string& what);
  void bind_place(const ast::Param& param, const Given& given);
  Array own(const Array& array);
  void bind_floating(const std::vector<ast::Param>& params, const Matched& matched, std::optional<DType> around);
  std::string repair_of_elements(const std::vector<ast::Param>& params, const Matched& matched,
                                 std::size_t wrong) const;
  bool expressible(const ast::TypeExpr& type) const;
  void inputs(const std::vector<ast::Param>& params, Matched& matched);
  Term result(const std::vector<ast::TypeExpr>& declared, Term term, Span at);
  Term one_result(const ast::TypeExpr& declared, const Term& term, Span at);
  const Provenance* bound_by(const std::string& variable, const Axis& axis);
  void bind_dimension(const std::string& variable, const Axis& axis);
  /// A stand-in for any length, in the application that checks a declaration as such: nothing was written there.
  bool as_declared(const AxisId* id) const { return id && !id->stands_for.empty() && e.frames().size() <= 2; }
};

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
  const std::size_t hidden = e.graph().rows && !axes.empty() && axes[0].extent.batched ? 1 : 0;
  const auto open =
      std::ranges::find_if(type.dims, [](const ast::Dim& dim) { return dim.kind == ast::Dim::Kind::ellipsis; });
  const bool any = open != type.dims.end();
  const std::size_t fixed = type.dims.size() - (any ? 1 : 0);
  const std::size_t rank = axes.size();
  // In a data block the batch is hidden from a signature that has no `...` to take it.
  const std::size_t first = any ? 0 : hidden;
  if (any ? rank < fixed : rank != fixed + first)
    return mismatch({fmt::format("{} {} ax{} declared, and this has {}", any ? "at least" : "exactly", fixed,
                                 fixed == 1 ? "is is" : "es are", rank - first)});
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
        return mismatch({fmt::format("`_` fits an axis of length 1, and axis {} is {}", axis - 1, e.story(actual))});
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
        return mismatch({fmt::format("axis {} differs: `{}` is {}, and this is {}", axis - 1 - first, *variable,
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
        return mismatch(
            {wanted == *variable ? fmt::format("axis {} differs: {} and {}", axis - 1 - first, wanted, e.length(actual))
                                 : fmt::format("axis {} differs: `{}` is {}, and this is {}", axis - 1 - first,
                                               *variable, wanted, e.length(actual)),
             fmt::format("expected: {}", e.story(length->axis)), fmt::format("here:     {}", e.story(actual))});
      }
    }
    if (const auto* literal = std::get_if<ast::Number>(&dim.value->form)) {
      if (actual.extent != Extent{static_cast<std::int64_t>(literal->value), false})
        return mismatch({fmt::format("axis {} differs: {} and {}", axis - 1 - first, literal->value, e.length(actual)),
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
              .primary_label = fmt::format("axis {} is {}", position, e.length(actual)),
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
    if (array.node.type().dtype == DType::i32 && other->axes.size() == array.axes.size() + 1)
      return fmt::format("`one_hot({}, {})` makes a row of each number of a class", written,
                         e.length(other->axes.back()));
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

Term Application::result(const std::vector<ast::TypeExpr>& declared, Term term, Span at) {
  if (term.failed()) return Failed{};
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

DType Elaborator::element_type(const ast::TypeExpr& type, Scope& scope) const {
  using enum ast::TypeExpr::Base;
  switch (type.base) {
    case floating:
      return scope.floating().value_or(default_float());
    case f64:
      return DType::f64;
    case i32:
      return DType::i32;
    case boolean:
      return DType::boolean;
    case f32:
    case integer:
    case string:
      break;
  }
  return default_float();
}

// ---- frames --------------------------------------------------------------------------------------------------------

struct FrameGuard {
  Elaborator& e;
  FrameGuard(Elaborator& elaborator, Elaborator::Frame frame) : e(elaborator) {
    e.applied.insert(frame.declaration);
    e.frames_.push_back(std::move(frame));
  }
  ~FrameGuard() { e.frames_.pop_back(); }
  FrameGuard(const FrameGuard&) = delete;
  FrameGuard& operator=(const FrameGuard&) = delete;
};

/// What `training` is within an instance.
struct TrainingGuard {
  GraphContext& graph;
  bool outside;
  TrainingGuard(GraphContext& context, bool inside) : graph(context), outside(context.training) {
    graph.training = inside;
  }
  ~TrainingGuard() { graph.training = outside; }
  TrainingGuard(const TrainingGuard&) = delete;
  TrainingGuard& operator=(const TrainingGuard&) = delete;
};

bool Elaborator::open_already(const ast::Declaration* declaration, Span span, const std::string& name) {
  const bool open = std::ranges::any_of(frames_, [&](const Frame& frame) { return frame.declaration == declaration; });
  if (open)
    error(Code::recursive, span, fmt::format("`{}` is applied inside itself", name), "",
          "recursion is not part of the language");
  return open;
}

// ---- functions -----------------------------------------------------------------------------------------------------

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

}  // namespace

/// The overload whose parameters take these element types; the only one where there is no choice.
const Declared* Elaborator::choose(const Callee& callee, CallSite& site) {
  if (callee.overloads->size() == 1) return &callee.overloads->front();
  for (std::size_t i = 0; i < site.arguments.size(); ++i)
    if (!site.arguments[i].value) site.arguments[i].value = std::make_shared<Term>(site.evaluate(i));
  for (const CallArgument& argument : site.arguments)
    if (argument.value->failed()) return nullptr;
  for (const Declared& declared : *callee.overloads) {
    const auto* function = form_of<ast::Function>(declared);
    if (!function) return &declared;
    const std::vector<ast::Param>& params = function->inputs;
    if (site.arguments.size() > params.size()) continue;
    std::vector<bool> filled(params.size(), false);
    bool fits = true;
    for (std::size_t i = 0; i < site.arguments.size() && fits; ++i) {
      const CallArgument& argument = site.arguments[i];
      std::size_t at = i;
      if (argument.name)
        for (at = 0; at < params.size() && params[at].name.text != argument.name->text;) ++at;
      fits = at < params.size() && suits(params[at].type, *argument.value, options.double_precision);
      if (fits) filled[at] = true;
    }
    for (std::size_t i = 0; i < params.size() && fits; ++i) fits = filled[i] || params[i].value;
    if (fits) return &declared;
  }
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
  report(std::move(diagnostic));
  return nullptr;
}

/// The body of a function with everything bound; `wanted` is the type of the place where the shape comes from there.
Term Elaborator::inline_function(const Declared& declared,
                                 const std::vector<std::optional<std::pair<Term, Span>>>& given, const CallInfo& info,
                                 const ArrayType* wanted) {
  const auto& function = std::get<ast::Function>(declared.declaration->form);
  if (open_already(declared.declaration, info.span, info.name)) return Failed{};
  Matched matched(given.size());
  for (std::size_t i = 0; i < given.size(); ++i)
    if (given[i]) matched[i] = Given{given[i]->first, given[i]->second};
  Scope scope(*declared.module);
  Application application{*this, info.name, info.shown, info.span, scope};
  Frame frame;
  frame.call = info.span;
  frame.name = info.name;
  frame.declaration = declared.declaration;
  FrameGuard guard(*this, std::move(frame));
  application.bind_floating(function.inputs, matched, info.around);
  if (application.failed) return Failed{};

  bool tensors = false, numbers = !wanted;
  for (std::size_t i = 0; i < matched.size(); ++i) {
    if (!function.inputs[i].type.tensor) continue;
    tensors = true;
    numbers = numbers && matched[i] && (matched[i]->term.as<Number>() || matched[i]->term.as<Scalar>());
  }
  if (tensors && numbers) {
    // All numbers: the result is a number, in f64, and `...` has no axes.
    scope.bind_ellipsis({});
    for (std::size_t i = 0; i < matched.size(); ++i) {
      const ast::Param& param = function.inputs[i];
      if (!matched[i]) matched[i] = Given{evaluate(*param.value, scope), info.span};
      param.type.tensor ? application.bind_number(param, *matched[i]) : application.bind_scalar(param, *matched[i]);
    }
    if (application.failed) return Failed{};
    const auto returned = execute(function.body, scope);
    if (returned) return *returned;
    if (declared.declaration->damaged) return Failed{};
    return error(Code::missing_return, function.name.span, fmt::format("`{}` returns nothing", info.name));
  }
  if (wanted) {
    scope.bind_floating(is_float(wanted->dtype) ? wanted->dtype : default_float());
    std::vector<Axis> axes = wanted->axes;
    if (!application.unify_axes(function.results.front(), axes, info.span, fmt::format("the place of `{}`", info.shown),
                                source(function.results.front().span), describe(*wanted)))
      return Failed{};
  }
  application.inputs(function.inputs, matched);
  if (application.failed) return Failed{};
  const auto returned = execute(function.body, scope);
  if (!returned) {
    if (declared.declaration->damaged) return Failed{};
    return error(Code::missing_return, function.name.span, fmt::format("`{}` returns nothing", info.name));
  }
  const Span at = returned_at_;
  if (wanted && function.results.size() == 1) {
    const auto placed = place(*returned, *wanted, at, fmt::format("the result of `{}`", info.name));
    return placed ? Term(*placed) : Term(Failed{});
  }
  return application.result(function.results, *returned, at);
}

Term Elaborator::call_function(const Callee& callee, CallSite& site) {
  const Declared* declared = choose(callee, site);
  if (!declared) return Failed{};
  const auto& function = std::get<ast::Function>(declared->declaration->form);
  const CallInfo info{callee.name, source(site.span), site.span, site.scope.floating()};
  Scope scope(*declared->module);
  Application application{*this, info.name, info.shown, info.span, scope};
  Matched matched;
  if (!application.match(function.inputs, site.arguments, site.scope, matched)) return Failed{};
  std::vector<std::optional<std::pair<Term, Span>>> given(matched.size());
  bool arrays = false, waits = false;
  for (std::size_t i = 0; i < matched.size(); ++i) {
    if (!matched[i]) continue;
    given[i] = {matched[i]->term, matched[i]->span};
    const bool tensor = function.inputs[i].type.tensor;
    arrays = arrays || matched[i]->term.as<Array>() || (tensor && matched[i]->term.as<List>());
    waits = waits || matched[i]->term.as<Shapeless>();
  }
  if (!arrays && function.results.size() == 1 && shape_from_place(function, waits)) {
    Shapeless shapeless{info.shown, {}};
    shapeless.make = [declared = *declared, given, info](Elaborator& e, const ArrayType& type) {
      return e.inline_function(declared, given, info, &type);
    };
    return shapeless;
  }
  return inline_function(*declared, given, info, nullptr);
}

/// The result's dimensions are not determined by numbers alone: they come from where the value is put.
bool Elaborator::shape_from_place(const ast::Function& function, bool waits) const {
  if (!function.results.front().tensor) return false;
  const bool tensors = std::ranges::any_of(function.inputs, [](const ast::Param& param) { return param.type.tensor; });
  if (tensors && !waits) return false;
  return std::ranges::any_of(function.results.front().dims, [](const ast::Dim& dim) {
    return dim.kind == ast::Dim::Kind::ellipsis || variable_of(dim);
  });
}

// ---- layers, models, instances
// -----------------------------------------------------------------------------------------

bool Elaborator::is_layer(const Term& callee) {
  const Callee* named = callee.as<Callee>();
  return named && form_of<ast::Layer>(named->overloads->front());
}

bool Elaborator::needs_no_arguments(const Callee& callee) {
  return std::ranges::any_of(*callee.overloads, [](const Declared& declared) {
    if (const auto* function = form_of<ast::Function>(declared)) return required(function->inputs) == 0;
    if (const auto* optimizer = form_of<ast::Optimizer>(declared)) return required(optimizer->settings) == 0;
    return false;
  });
}

/// The path of an instance made here: by its name, or by kind and number.
std::optional<std::string> Elaborator::instance_path(const std::string& kind, const std::string& given, Span span) {
  if (frames_.empty() || !frames_.back().makes_instances) {
    error(Code::bad_variable, span, fmt::format("`{}` cannot be made here", kind), "",
          "layers have parameters; they are used in layers and models");
    return std::nullopt;
  }
  Frame& frame = frames_.back();
  const std::string own = given.empty() ? fmt::format("{}{}", kind, ++frame.counters[kind]) : given;
  if (!frame.instances.insert(own).second) {
    error(Code::duplicate_instance, span, fmt::format("two instances are called `{}`", own), "",
          "give one of them a name by `let`");
    return std::nullopt;
  }
  return frame.path.empty() ? own : frame.path + "." + own;
}

Term Elaborator::make_instance(const Callee& callee, CallSite& site) {
  const Declared& declared = callee.overloads->front();
  const auto& layer = std::get<ast::Layer>(declared.declaration->form);
  // The number is taken before the settings are evaluated: callee before argument.
  const auto path = instance_path(callee.name, site.instance_name, site.span);
  auto instance = std::make_shared<Instance>();
  instance->layer = declared;
  instance->shown = source(site.span);
  instance->span = site.span;
  Scope scope(*declared.module);
  Application application{*this, callee.name, instance->shown, site.span, scope};
  Matched matched;
  if (!application.match(layer.settings, site.arguments, site.scope, matched) || !path) return Failed{};
  instance->path = *path;
  for (std::size_t i = 0; i < matched.size(); ++i) {
    const ast::Param& param = layer.settings[i];
    if (!matched[i]) matched[i] = Given{evaluate(*param.value, scope), site.span};
    if (!param.type.tensor)
      application.bind_scalar(param, *matched[i]);
    else if (!scope.define(param.name.text, matched[i]->term))
      application.failed = true;
    const Term* bound = scope.find(param.name.text);
    if (!bound || bound->failed() || application.failed) return Failed{};
    instance->settings.push_back(*bound);
  }
  return std::shared_ptr<const Instance>(std::move(instance));
}

Term Elaborator::apply_instance(const Instance& instance, CallSite& site) {
  const ast::Declaration* declaration = instance.layer.declaration;
  const auto* layer = std::get_if<ast::Layer>(&declaration->form);
  const auto* model = std::get_if<ast::Model>(&declaration->form);
  const std::vector<ast::Param>& inputs = layer ? layer->inputs : model->inputs;
  const ast::Block& body = layer ? layer->body : model->body;
  const std::vector<ast::TypeExpr>& results = layer ? layer->results : model->results;
  const std::string& name = layer ? layer->name.text : model->name.text;

  Scope scope(*instance.layer.module);
  Application application{*this, name, instance.shown, instance.span, scope};
  Matched matched;
  application.span = site.span;
  if (!application.match(inputs, site.arguments, site.scope, matched)) return Failed{};
  if (open_already(declaration, site.span, name)) return Failed{};
  application.span = instance.span;
  Frame frame;
  frame.call = site.span;
  frame.name = name;
  frame.declaration = declaration;
  frame.path = instance.path;
  frame.makes_instances = true;
  instances_.insert(instance.path);
  const TrainingGuard training(*graph_, is_frozen_ ? graph_->trains && !is_frozen_(instance.path) : graph_->training);
  frame.updates = graph_->training;
  FrameGuard guard(*this, std::move(frame));
  if (layer)
    for (std::size_t i = 0; i < layer->settings.size(); ++i) {
      Term setting = instance.settings[i];
      if (const Scalar* scalar = setting.as<Scalar>(); scalar && scalar->node.builder != &builder()) return Failed{};
      scope.define(layer->settings[i].name.text, std::move(setting));
    }
  application.bind_floating(inputs, matched, site.scope.floating());
  if (!application.failed) application.inputs(inputs, matched);
  if (application.failed) return Failed{};
  const auto returned = execute(body, scope);
  const Span head = layer ? layer->name.span : model->name.span;
  if (!returned) {
    if (declaration->damaged) return Failed{};
    return error(Code::missing_return, head, fmt::format("`{}` returns nothing", name));
  }
  return application.result(results, *returned, returned_at_);
}

// ---- optimizers
// --------------------------------------------------------------------------------------------------------

Term Elaborator::make_optimizer(const Callee& callee, CallSite& site) {
  const Declared& declared = callee.overloads->front();
  const auto& optimizer = std::get<ast::Optimizer>(declared.declaration->form);
  auto instance = std::make_shared<OptimizerInstance>();
  instance->optimizer = declared;
  instance->span = site.span;
  Scope scope(*declared.module);
  Application application{*this, callee.name, source(site.span), site.span, scope};
  Matched matched;
  if (!application.match(optimizer.settings, site.arguments, site.scope, matched)) return Failed{};
  for (std::size_t i = 0; i < matched.size(); ++i) {
    const ast::Param& param = optimizer.settings[i];
    if (!matched[i]) matched[i] = Given{evaluate(*param.value, scope), site.span};
    if (!param.type.tensor)
      application.bind_scalar(param, *matched[i]);
    else if (!scope.define(param.name.text, matched[i]->term))
      application.failed = true;
    const Term* bound = scope.find(param.name.text);
    if (!bound || bound->failed() || application.failed) return Failed{};
    instance->settings.push_back(*bound);
  }
  return std::shared_ptr<const OptimizerInstance>(std::move(instance));
}

Term Elaborator::inline_optimizer(const OptimizerInstance& instance, const std::string& path,
                                  const std::vector<Array>& inputs) {
  const auto& optimizer = std::get<ast::Optimizer>(instance.optimizer.declaration->form);
  Scope scope(*instance.optimizer.module);
  Application application{*this, optimizer.name.text, source(instance.span), instance.span, scope};
  Frame frame;
  frame.call = instance.span;
  frame.name = optimizer.name.text;
  frame.declaration = instance.optimizer.declaration;
  frame.path = optimizer.name.text;
  frame.state_suffix = "/" + path;
  frame.updates = true;
  FrameGuard guard(*this, std::move(frame));
  for (std::size_t i = 0; i < optimizer.settings.size(); ++i)
    scope.define(optimizer.settings[i].name.text, instance.settings[i]);
  Matched matched;
  for (const Array& input : inputs) matched.push_back(Given{input, instance.span});
  application.bind_floating(optimizer.inputs, matched, std::nullopt);
  if (!application.failed) application.inputs(optimizer.inputs, matched);
  if (application.failed) return Failed{};
  const auto returned = execute(optimizer.body, scope);
  if (!returned) {
    if (instance.optimizer.declaration->damaged) return Failed{};
    return error(Code::missing_return, optimizer.name.span, fmt::format("`{}` returns nothing", optimizer.name.text));
  }
  return application.one_result(optimizer.result, *returned, returned_at_);
}

std::vector<bool> Elaborator::reached_from(NodeId e) {
  const Graph& graph = builder().graph();
  std::vector<bool> reached(graph.nodes.size(), false);
  reached[e] = true;
  for (NodeId id = e + 1; id-- > 0;) {
    const Node& node = graph[id];
    if (!reached[id] || !is_float(node.type.dtype) || node.op == Op::stop_gradient) continue;
    if (!definition(node.op).gradient && node.op != Op::grad) continue;  // a gradient has one of its own
    for (NodeId operand : node.operands) reached[operand] = reached[operand] || is_float(graph[operand].type.dtype);
  }
  return reached;
}

/// By parameters that are laid end to end, which nothing is computed from, it is their derivatives end to end. One that
/// a second derivative does not reach has zeros.
std::optional<Value> Elaborator::gradient(Value of, Value by) {
  const std::vector<bool> reached = reached_from(of.id);
  const auto parts = graph_->joint.find(by.id);
  if (parts == graph_->joint.end())
    return reached[by.id] ? std::optional(builder().make(Op::grad, {{of, by}})) : std::nullopt;
  if (std::ranges::none_of(parts->second, [&](Value part) { return reached[part.id]; })) return std::nullopt;
  std::vector<Value> pieces;
  for (const Value part : parts->second) {
    const Type type = part.type();  // a copy: the graph grows
    const Value piece = reached[part.id] ? builder().make(Op::grad, {{of, part}})
                                         : builder().spread(builder().constant(0, type.dtype), type.shape);
    pieces.push_back(builder().reshape(piece, {element_count(type.shape)}));
  }
  return builder().concat(pieces, 0);
}

// ---- calls
// -------------------------------------------------------------------------------------------------------------

Term Elaborator::call(const Term& callee, CallSite& site) {
  if (callee.failed()) {
    for (std::size_t i = 0; i < site.arguments.size(); ++i)
      if (!site.arguments[i].value && !std::holds_alternative<ast::Ellipsis>(site.arguments[i].expr->form))
        site.evaluate(i);
    return Failed{};
  }
  if (const auto* host = callee.as<std::shared_ptr<const HostFunction>>()) {
    for (const CallArgument& argument : site.arguments)
      if (argument.value && argument.value->failed()) return Failed{};
    site.name = (*host)->name;
    return (*host)->call(site);
  }
  if (const auto* instance = callee.as<std::shared_ptr<const Instance>>()) return apply_instance(**instance, site);
  const Callee* named = callee.as<Callee>();
  if (!named) {
    std::string help;
    if (callee.as<Array>() || callee.as<Number>()) help = "multiplication is written `*`";
    return error(Code::not_applicable, site.callee_span, fmt::format("{} cannot be applied", describe(callee)), "",
                 help);
  }
  const Declared& declared = named->overloads->front();
  if (form_of<ast::Function>(declared)) return call_function(*named, site);
  if (form_of<ast::Layer>(declared)) return make_instance(*named, site);
  if (form_of<ast::Optimizer>(declared)) return make_optimizer(*named, site);
  if (form_of<ast::Model>(declared)) {
    Instance instance;
    instance.layer = declared;
    instance.shown = named->name;
    instance.span = site.callee_span;
    if ((frames_.empty() || (graph_->test && frames_.size() == 1)) && model_paths_.contains(named->name)) {
      instance.path = model_paths_.at(named->name);
    } else if (frames_.empty() && !model_paths_.empty()) {
      return error(Code::bad_variable, site.callee_span,
                   fmt::format("`{}` is not among the models of this block", named->name), "",
                   fmt::format("a block names all models that it trains or uses: `train {}, {} on ...`",
                               model_paths_.begin()->first, named->name));
    } else {
      const auto path = instance_path(named->name, site.instance_name, site.span);
      if (!path) return Failed{};
      instance.path = *path;
    }
    return apply_instance(instance, site);
  }
  return error(Code::not_applicable, site.callee_span, fmt::format("`{}` cannot be applied", named->name));
}

Term Elaborator::apply(const Term& callee, std::vector<Term> arguments, Span span, Scope& scope) {
  CallSite site{*this, scope, source(span), span, span, {}};
  for (Term& argument : arguments)
    site.arguments.push_back({nullptr, nullptr, std::make_shared<Term>(std::move(argument)), span});
  return call(callee, site);
}

}  // namespace nnc
