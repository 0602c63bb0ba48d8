// The primitives: elementwise functions by their op, reductions, casts, words about shapes, about values that are made
// from nothing, and about gradients. Each is a row of the table at the end.
#include "frontend/primitives.h"

#include <fmt/format.h>

#include <algorithm>

#include "frontend/primitive_words.h"
#include "ir/ranges.h"

namespace nnc {

namespace {

using primitives::check_arguments;
using primitives::elementwise_call;
using primitives::named;
using primitives::needs_floats;

// ---- elementwise ---------------------------------------------------------------------------------------------------

template <Op op, std::size_t count>
Term elementwise_primitive(CallSite& site) {
  return elementwise_call(site, op, count);
}

// ---- element types -------------------------------------------------------------------------------------------------

Term cast_to(CallSite& site, DType dtype) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  Term term = site.evaluate(0);
  if (const Flag* known = term.as<Flag>()) term = Number{known->value ? 1.0 : 0.0};
  if (const Shapeless* shapeless = term.as<Shapeless>()) {
    const Shapeless inner = *shapeless;
    return Shapeless{e.source(site.span), [inner, dtype](Elaborator& at, const ArrayType& type) {
                       ArrayType wanted = type;
                       wanted.dtype = dtype == DType::i32 ? DType::f64 : dtype;  // numbers are drawn as floats
                       Term made = inner.make(at, wanted);
                       if (const Array* array = made.as<Array>(); array && array->node.type().dtype != dtype)
                         made = Array{at.builder().cast(array->node, dtype), array->axes};
                       return made;
                     }};
  }
  if (const Scalar* scalar = term.as<Scalar>(); scalar && scalar->node.type().dtype == DType::boolean)
    return Scalar{e.builder().cast(scalar->node, DType::f64)};
  if ((term.as<Number>() || term.as<Scalar>()) && is_float(dtype)) return term;
  const auto x = e.array(term, site.arguments[0].span, fmt::format("the argument of `{}`", site.name), dtype);
  if (!x) return Failed{};
  e.builder().set_origin(e.origin(site.span));
  return Array{e.builder().cast(x->node, dtype), x->axes};
}

Term f32_primitive(CallSite& site) { return cast_to(site, site.elaborator.default_float()); }
Term f64_primitive(CallSite& site) { return cast_to(site, DType::f64); }
Term i32_primitive(CallSite& site) { return cast_to(site, DType::i32); }
/// float(x): the element type that `float` stands for in this signature.
Term float_primitive(CallSite& site) {
  return cast_to(site, site.scope.floating().value_or(site.elaborator.default_float()));
}

// ---- made from nothing ---------------------------------------------------------------------------------------------

/// random: uniform in [0, 1), another stream for each that is elaborated.
Term random_primitive(CallSite& site) {
  if (!check_arguments(site, 0, 0)) return Failed{};
  const Span span = site.span;
  return Shapeless{"random", [span](Elaborator& e, const ArrayType& type) -> Term {
                     if (is_float(type.dtype)) return e.wrap(e.random(type), type.axes);
                     return e.error(Code::type_mismatch, span,
                                    fmt::format("`random` has floating elements, and this is {}", e.describe(type)));
                   }};
}

/// iota: the index along the last axis of its place.
Term iota_primitive(CallSite& site) {
  if (!check_arguments(site, 0, 0, {"axis"})) return Failed{};
  Elaborator& e = site.elaborator;
  std::int64_t axis = -1;
  const Span span = site.span;
  if (const auto at = named(site, "axis")) {
    const auto given = e.whole(site.evaluate(*at), site.arguments[*at].span, "`axis`");
    if (!given) return Failed{};
    axis = *given;
  }
  return Shapeless{"iota", [axis, span](Elaborator& at, const ArrayType& type) -> Term {
                     // A column without axes counts the rows.
                     const int hidden = type.axes.size() > 1 ? at.hidden_axes(type.axes) : 0;
                     const auto rank = static_cast<std::int64_t>(type.axes.size()) - hidden;
                     if (axis < -rank || axis >= rank)
                       return at.error(Code::bad_axis, span,
                                       fmt::format("`iota` has no axis {} in {}", axis, at.describe(type)));
                     if (type.dtype == DType::boolean)
                       return at.error(Code::type_mismatch, span, "`iota` is a number, and this is bool");
                     const Iota along{static_cast<int>(axis < 0 ? axis + rank : axis) + hidden};
                     return at.wrap(at.builder().make(Op::iota, {}, along, at.type_of(type)), type.axes);
                   }};
}

/// range(n), range(a, b): the whole numbers from 0 or a up to the one before the end; none where they are equal.
Term range_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  std::int64_t begin = 0;
  const std::size_t last = site.arguments.size() - 1;
  if (last == 1) {
    const auto given = e.whole(site.evaluate(0), site.arguments[0].span, "the start of `range`");
    if (!given) return Failed{};
    begin = *given;
  }
  const auto end = e.whole(site.evaluate(last), site.arguments[last].span, "the end of `range`");
  if (!end) return Failed{};
  if (*end < begin)
    return e.error(Code::bad_number, site.span, fmt::format("`range` counts up, and {} is before {}", *end, begin), "",
                   "an index runs from 0: `range(3)` is 0, 1, 2; `x[::-1]` goes backwards");
  if (*end - begin > 100000) return e.error(Code::bad_number, site.span, "a range of more than 100000 numbers");
  List list{{}, site.span};
  for (std::int64_t i = begin; i < *end; ++i) list.elements.push_back(Number{static_cast<double>(i)});
  return list;
}

// ---- promises ------------------------------------------------------------------------------------------------------

Term repeat_primitive(CallSite& site) { return site.elaborator.repeat(site); }

/// checked(ids, n): ids, with the obligation that 0 <= ids < n, which the loader checks where ids are an input.
Term checked_primitive(CallSite& site) {
  if (!check_arguments(site, 2, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term given = site.evaluate(0);
  const auto high = e.whole(site.evaluate(1), site.arguments[1].span, "the bound of `checked`");
  const auto ids = e.array(given, site.arguments[0].span, "the argument of `checked`", DType::i32);
  if (!ids || !high) return Failed{};
  e.promise_range(ids->node, *high, site.span);
  return *ids;
}

/// unbounded(z): z, which may be any number: what a model computes and can only lie between 0 and 1 is no such value.
Term unbounded_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term given = site.evaluate(0);
  const Array* z = given.as<Array>();
  if (!z || z->node.builder != &e.builder()) return given;
  const std::vector<Node>& nodes = e.builder().graph().nodes;
  if (!depends_on(nodes, z->node.id, Op::param) || !is_share_of_one(nodes, z->node.id)) return given;
  const auto& frames = e.frames();
  const Origin& made = nodes[z->node.id].origin;
  Diagnostic diagnostic{
      .code = Code::not_logits,
      .message = fmt::format("`{}` of `{}` may be any number, and this one lies between 0 and 1",
                             e.source(site.arguments[0].span), frames.empty() ? site.name : frames.back().name),
      .primary = site.span,
      .help = "it is a probability already: give the logits that it is made of, or take a loss of probabilities"};
  if (made.line > 0) diagnostic.notes.push_back(fmt::format("it is made at {}:{}", made.line, made.column));
  e.report(std::move(diagnostic));
  return given;
}

/// bounded(p): p, which lies between 0 and 1: what a layer without an activation gives may be any number.
Term bounded_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term given = site.evaluate(0);
  const Array* p = given.as<Array>();
  if (!p || p->node.builder != &e.builder()) return given;
  const std::vector<Node>& nodes = e.builder().graph().nodes;
  if (!may_be_any_number(nodes, p->node.id)) return given;
  const std::string name = e.frames().empty() ? site.name : e.frames().back().name;
  const Origin& made = nodes[p->node.id].origin;
  Diagnostic diagnostic{
      .code = Code::not_probabilities,
      .message = fmt::format("`{}` of `{}` lies between 0 and 1, and this one may be any number",
                             e.source(site.arguments[0].span), name),
      .primary = site.span,
      .help = name.starts_with("binary")
                  ? "`binary_cross_entropy_logits(z, y)` takes it as it is; `sigmoid` makes a probability of it"
                  : "`softmax_cross_entropy(z, y)` takes it as it is; `softmax` makes probabilities of it"};
  if (made.line > 0) diagnostic.notes.push_back(fmt::format("it is made at {}:{}", made.line, made.column));
  e.report(std::move(diagnostic));
  return given;
}

/// scatter_add(x, ids, n): sums by segment.
Term scatter_add_primitive(CallSite& site) {
  if (!check_arguments(site, 3, 3)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term x = site.evaluate(0), ids = site.evaluate(1);
  const auto count = e.whole(site.evaluate(2), site.arguments[2].span, "the number of rows of `scatter_add`");
  const auto added = e.array(x, site.arguments[0].span, "what `scatter_add` adds", e.default_float());
  const auto rows = e.array(ids, site.arguments[1].span, "the ids of `scatter_add`", DType::i32);
  if (!count || !added || !rows) return Failed{};
  return e.add_rows(*added, *rows, *count, site.span, site.arguments[0].span, site.arguments[1].span);
}

/// stop_gradient(x): x, seen as a constant by every gradient.
Term stop_gradient_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term given = site.evaluate(0);
  if (given.as<Number>()) return given;
  const auto x = e.array(given, site.arguments[0].span, "the argument of `stop_gradient`", e.default_float());
  if (!x) return Failed{};
  return Array{e.builder().make(Op::stop_gradient, {{x->node}}), x->axes};
}

/// solve(A, b): x with A x = b, A symmetric and positive definite, b a vector or a matrix.
Term solve_primitive(CallSite& site) {
  if (!check_arguments(site, 2, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term left = site.evaluate(0), right = site.evaluate(1);
  const auto beside = [&](const Term& other) {  // a list takes the element type of what it meets
    const Array* array = other.as<Array>();
    return array && is_float(array->node.type().dtype) ? array->node.type().dtype : e.default_float();
  };
  const auto a = e.array(left, site.arguments[0].span, "the matrix of `solve`", beside(right));
  const auto b = e.array(right, site.arguments[1].span, "the right side of `solve`", beside(left));
  if (!a || !b || !needs_floats(site, *a) || !needs_floats(site, *b)) return Failed{};
  if (a->node.type().dtype != b->node.type().dtype)
    return e.error(Code::type_mismatch, site.span,
                   fmt::format("`solve` of {} and {}", e.describe(Term(*a)), e.describe(Term(*b))), "",
                   "both have one element type");
  const auto fixed = [](const Axis& axis) { return !axis.extent.batched && !axis.stretch; };
  if (a->axes.size() != 2 || !std::ranges::all_of(a->axes, fixed) || a->axes[0].extent != a->axes[1].extent)
    return e.error(Code::shape_mismatch, site.arguments[0].span,
                   fmt::format("`solve` takes a square matrix, and this is {}", e.describe(Term(*a))), "",
                   "solve(A, b) is x with A x = b");
  if (b->axes.empty() || b->axes.size() > 2 || b->axes[0].extent != a->axes[0].extent || b->axes[0].stretch)
    return e.error(Code::shape_mismatch, site.arguments[1].span,
                   fmt::format("the matrix is {}, and the right side {}", e.describe(Term(*a)), e.describe(Term(*b))),
                   "", "the right side is a vector or a matrix with as many rows as the matrix has");
  e.builder().set_origin(e.origin(site.span));
  const Value x = e.builder().make(Op::solve, {{e.whole_node(*a), e.whole_node(*b)}});
  return e.wrap(x, b->axes);
}

// ---- gradients and weights as values -------------------------------------------------------------------------------

/// grad(e, x): the derivative of the number e by x, of the shape of x.
Term grad_primitive(CallSite& site) {
  if (!check_arguments(site, 2, 2)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term of = site.evaluate(0), by = site.evaluate(1);
  if (of.failed() || by.failed()) return Failed{};
  const Array *y = of.as<Array>(), *x = by.as<Array>();
  if (!y || !y->axes.empty() || !is_float(y->node.type().dtype))
    return e.error(
        Code::type_mismatch, site.arguments[0].span,
        fmt::format("`grad` takes the derivative of one number computed from tensors, not of {}", e.describe(of)), "",
        y ? "such as `grad(sum(...), x)`" : "");
  if (!x || !is_float(x->node.type().dtype))
    return e.error(Code::type_mismatch, site.arguments[1].span,
                   fmt::format("`grad` takes the derivative by a floating tensor, not by {}", e.describe(by)));
  if (!e.has_name(x->node))
    return e.error(Code::type_mismatch, site.arguments[1].span,
                   fmt::format("`grad` takes the derivative by a value that has a name, and `{}` is computed here",
                               e.source(site.arguments[1].span)),
                   "", "give it a name by `let`, and compute with that name what is derived");
  e.builder().set_origin(e.origin(site.span));
  const auto derivative = e.gradient(y->node, x->node);
  if (derivative) return Array{*derivative, x->axes};
  return e.error(
      Code::bad_variable, site.span,
      fmt::format("`{}` does not depend on `{}`", e.source(site.arguments[0].span), e.source(site.arguments[1].span)));
}

/// weights(M): the parameters with two or more axes, params(M): all, of a model or an instance, once it was applied.
template <int least_rank>
Term parameters_primitive(CallSite& site) {
  if (!check_arguments(site, 1, 1)) return Failed{};
  Elaborator& e = site.elaborator;
  const Term of = site.evaluate(0);
  if (of.failed()) return Failed{};
  const auto path = e.path_of(of);
  if (!path)
    return e.error(Code::type_mismatch, site.arguments[0].span,
                   fmt::format("`{}` takes a model or an instance, not {}", site.name, e.describe(of)));
  List list{{}, site.span};
  for (std::size_t index : e.parameters_below(*path))
    if (e.variables()[index].type.rank() >= least_rank) list.elements.push_back(e.read_variable(index));
  if (list.elements.empty() && e.is_broken(*path)) return Failed{};
  if (list.elements.empty())
    return e.error(Code::bad_variable, site.span,
                   fmt::format("`{}` has no parameters yet", e.source(site.arguments[0].span)), "",
                   "its parameters are known once it is applied");
  return list;
}

struct Primitive {
  const char* name;
  Term (*call)(CallSite&);
};

constexpr Primitive table[] = {
    {"exp", elementwise_primitive<Op::exp, 1>},
    {"expm1", elementwise_primitive<Op::expm1, 1>},
    {"log", elementwise_primitive<Op::log, 1>},
    {"log1p", elementwise_primitive<Op::log1p, 1>},
    {"sqrt", elementwise_primitive<Op::sqrt, 1>},
    {"tanh", elementwise_primitive<Op::tanh, 1>},
    {"logistic", elementwise_primitive<Op::logistic, 1>},
    {"softplus", elementwise_primitive<Op::softplus, 1>},
    {"sin", elementwise_primitive<Op::sin, 1>},
    {"cos", elementwise_primitive<Op::cos, 1>},
    {"erf", elementwise_primitive<Op::erf, 1>},
    {"normal_cdf", elementwise_primitive<Op::normal_cdf, 1>},
    {"abs", elementwise_primitive<Op::abs, 1>},
    {"sign", elementwise_primitive<Op::sign, 1>},
    {"pow", elementwise_primitive<Op::pow, 2>},
    {"select", elementwise_primitive<Op::select, 3>},
    {"sum", primitives::sum},
    {"mean", primitives::mean},
    {"var", primitives::var},
    {"max", primitives::max},
    {"min", primitives::min},
    {"argmax", primitives::argmax},
    {"f32", f32_primitive},
    {"f64", f64_primitive},
    {"i32", i32_primitive},
    {"float", float_primitive},
    {"reshape", primitives::reshape},
    {"transpose", primitives::transpose},
    {"pad", primitives::pad},
    {"window", primitives::window},
    {"concat", primitives::concat},
    {"size", primitives::size},
    {"random", random_primitive},
    {"iota", iota_primitive},
    {"range", range_primitive},
    {"repeat", repeat_primitive},
    {"checked", checked_primitive},
    {"unbounded", unbounded_primitive},
    {"bounded", bounded_primitive},
    {"scatter_add", scatter_add_primitive},
    {"stop_gradient", stop_gradient_primitive},
    {"grad", grad_primitive},
    {"scan", [](CallSite& site) { return site.elaborator.scan(site); }},
    {"solve", solve_primitive},
    {"weights", parameters_primitive<2>},
    {"params", parameters_primitive<0>},
};

}  // namespace

/// A stream is named by the graph, the instance that the call stands in and its number there; the name is hashed by
/// FNV-1a and mixed by splitmix64's finaliser, so that near names give far keys.
Value Elaborator::random(const ArrayType& type) {
  std::string name = graph_->stream;
  const auto frame = std::find_if(frames_.rbegin(), frames_.rend(), [](const Frame& at) { return at.makes_instances; });
  if (graph_->builder != &init_ && frame != frames_.rend() && !frame->path.empty()) name += "/" + frame->path;
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (char c : fmt::format("{}#{}", name, ++graph_->streams[name]))
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  hash ^= hash >> 31;
  return random_in_loop(type_of(type), hash);
}

std::shared_ptr<const HostFunction> find_primitive(const std::string& name) {
  for (const Primitive& primitive : table)
    if (name == primitive.name) return std::make_shared<const HostFunction>(HostFunction{name, primitive.call});
  return nullptr;
}

bool is_shapeless_primitive(const std::string& name) { return name == "random" || name == "iota"; }

bool is_run_time_scalar(const std::string& name) {
  return name == "step" || name == "epoch" || name == "steps_per_epoch" || name == "total_steps";
}

void primitive_names(std::vector<std::string>& into) {
  for (const Primitive& primitive : table) into.emplace_back(primitive.name);
  for (const char* word : {"step", "epoch", "steps_per_epoch", "total_steps", "training"}) into.emplace_back(word);
}

}  // namespace nnc
