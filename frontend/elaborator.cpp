// Names and what they mean, the graph that is being built, and what stands below a path. The other parts of the
// elaborator are functions over these: elaborate_expressions.cpp and elaborate_statements.cpp go by the forms of the
// grammar, elaborate_shapes.cpp, elaborate_elementwise.cpp, elaborate_products.cpp and elaborate_rows.cpp say what a
// form means for arrays, elaborate_calls.cpp what it means to apply something.
#include "frontend/elaborator.h"

#include <fmt/format.h>

#include <algorithm>

#include "frontend/primitives.h"
#include "ir/loops.h"
#include "ir/op.h"

namespace nnc {

// ---- names -------------------------------------------------------------------------------------------------------

bool Scope::define(const std::string& name, Term term) {
  if (find(name)) return false;
  bound_.emplace(name, std::move(term));
  return true;
}

void Scope::assign(const std::string& name, Term term) {
  if (Term* known = find(name))
    *known = std::move(term);
  else
    bound_.emplace(name, std::move(term));
}

Term* Scope::find(const std::string& name) {
  if (const auto at = bound_.find(name); at != bound_.end()) return &at->second;
  return outer_ ? outer_->find(name) : nullptr;
}

const std::vector<Axis>* Scope::ellipsis() const {
  if (ellipsis_) return &*ellipsis_;
  return outer_ ? outer_->ellipsis() : nullptr;
}

std::optional<DType> Scope::floating() const {
  if (floating_) return floating_;
  return outer_ ? outer_->floating() : std::nullopt;
}

void Scope::names(std::vector<std::string>& into) const {
  for (const auto& [name, term] : bound_) into.push_back(name);
  if (outer_) return outer_->names(into);
  module_->visible(into);
}

Term CallSite::evaluate(std::size_t index) {
  CallArgument& argument = arguments[index];
  return argument.value ? *argument.value : elaborator.evaluate(*argument.expr, scope);
}

// ---- graphs ------------------------------------------------------------------------------------------------------

Elaborator::Elaborator(Diagnostics& diagnostics_, const ElaborateOptions& options_)
    : diagnostics(diagnostics_), options(options_) {}

GraphContext* Elaborator::set_graph(GraphContext* graph) { return std::exchange(graph_, graph); }

void Elaborator::finish_updates() {
  for (const std::string& path : graph_->updated) builder().output(OutputKind::update, path, graph_->states.at(path));
}

namespace {

/// The points that a gradient is by, numbered from 1; what no gradient is by is the value itself.
Graph with_asked_points(const Graph& graph) {
  std::set<NodeId> asked;
  for (const Node& node : graph.nodes)
    if (node.op == Op::grad) asked.insert(node.operands[1]);
  Builder builder(graph.name);
  std::int64_t number = 0;
  const std::vector<Value> made = rebuild(graph, builder, [&](NodeId id, const std::vector<Value>& operands) {
    const Node& node = graph[id];
    if (node.op != Op::point) return copy_node(builder, node, operands);
    if (!asked.contains(id)) return operands[0];
    builder.set_origin(node.origin);
    return builder.make(Op::point, operands, Numbered{++number});
  });
  for (const Output& output : graph.outputs) builder.output(output.kind, output.name, made[output.node]);
  for (const Obligation& obligation : graph.obligations) builder.oblige(obligation);
  return std::move(builder).finish();
}

}  // namespace

bool Elaborator::has_name(Value x) {
  const bool plain = graph_->rows || graph_->builder == &init_;  // these have no points
  const Node& node = builder()[x.id];
  const bool leaf = definition(node.op).cls == OpClass::leaf && node.op != Op::constant && node.op != Op::size;
  return plain || leaf || node.op == Op::point || graph_->joint.contains(x.id);
}

Value Elaborator::named(Value x) {
  if (!is_float(x.type().dtype) || has_name(x)) return x;
  Origin made = builder()[x.id].origin;
  made.name.clear();
  builder().set_origin(std::move(made));
  return builder().make(Op::point, {{x}}, Numbered{static_cast<std::int64_t>(builder().graph().nodes.size())});
}

Graph Elaborator::finish_graph() {
  const Graph draft = std::move(*graph_->builder).finish();
  const bool points = std::ranges::any_of(draft.nodes, [](const Node& node) {
    return node.op == Op::point || node.op == Op::scan;  // whose body may have some
  });
  Graph graph = points ? with_bodies(draft, with_asked_points) : draft;
  for (const Node& node : graph.nodes) {
    if (node.op != Op::scalar) continue;
    const std::string& name = std::get<Named>(node.attributes).name;
    if (const auto use = graph_->scalar_uses.find(name); use != graph_->scalar_uses.end())
      error(Code::not_compile_time, use->second, fmt::format("`{}` is known only in training", name), "",
            "it can stand in an optimizer, in its settings and in what only training computes");
  }
  return graph;
}

std::optional<std::string> Elaborator::path_of(const Term& term) const {
  if (const auto* instance = term.as<std::shared_ptr<const Instance>>()) return (*instance)->path;
  if (const Callee* callee = term.as<Callee>())
    if (const auto at = model_paths_.find(callee->name); at != model_paths_.end()) return at->second;
  if (const Host* host = term.as<Host>(); host && host->what == "a path")
    return std::any_cast<std::string>(host->value);
  return std::nullopt;
}

bool Elaborator::knows_below(const std::string& path) const {
  return std::ranges::any_of(variables_,
                             [&](const Variable& variable) { return variable.path.starts_with(path + "."); });
}

bool Elaborator::is_broken(const std::string& path) const {
  const auto is_under = [](const std::string& one, const std::string& other) {
    return other.empty() || one == other || one.starts_with(other + ".");
  };
  return std::ranges::any_of(
      broken_, [&](const std::string& broken) { return is_under(path, broken) || is_under(broken, path); });
}

std::vector<std::size_t> Elaborator::parameters_below(const std::string& path) const {
  std::vector<std::size_t> below;
  for (std::size_t i = 0; i < variables_.size(); ++i)
    if (!variables_[i].is_state && (path.empty() || variables_[i].path.starts_with(path + "."))) below.push_back(i);
  return below;
}

// ---- what a name means ---------------------------------------------------------------------------------------------

Term Elaborator::lookup(const std::string& name, Span span, Scope& scope) {
  if (const Term* bound = scope.find(name)) return *bound;
  if (const std::vector<Declared>* declared = scope.module().find(name)) {
    if (std::holds_alternative<ast::Const>(declared->front().declaration->form)) return constant(declared->front());
    if (std::holds_alternative<ast::Data>(declared->front().declaration->form))
      return error(Code::type_mismatch, span, fmt::format("`{}` is a data block, not a value", name), "",
                   "its columns are known by their names in a `train` block on it");
    return Callee{name, declared};
  }
  if (name == "training") return Flag{graph_->training};
  if (is_run_time_scalar(name)) {
    if (graph_->rows || graph_->builder == &init_)
      return error(Code::not_compile_time, span, fmt::format("`{}` is known only in training", name));
    if (const auto known = graph_->known_scalars.find(name); known != graph_->known_scalars.end())
      return Scalar{builder().constant(known->second, DType::f64)};
    if (!graph_->scalars) {
      for (auto frame = frames_.rbegin(); in_library(span) && frame != frames_.rend(); ++frame) span = frame->call;
      graph_->scalar_uses.emplace(name, span);
    }
    return Scalar{builder().leaf(Op::scalar, name, Type{DType::f64, {}})};
  }
  if (auto primitive = find_primitive(name)) return primitive;
  if (scope.module().excuses(name)) return Failed{};
  if (graph_->test && frames_.size() == 1 && knows_below(name)) return Host{"a path", name};  // `Block1.Dense1.W`
  std::vector<std::string> known;
  if (!diagnostics.beyond_help()) {
    known = {"true", "false"};
    scope.names(known);
    primitive_names(known);
  }
  return unknown_name(span, "", name, known);
}

/// A function or optimizer that needs no arguments is called where its name stands as a value: `init = zeros`.
Term Elaborator::settle(Term term, Span span, Scope& scope) {
  const Callee* callee = term.as<Callee>();
  const auto* host = term.as<std::shared_ptr<const HostFunction>>();
  if (!callee && !(host && is_shapeless_primitive((*host)->name))) return term;
  if (callee && !needs_no_arguments(*callee)) return term;
  CallSite site{*this, scope, callee ? callee->name : (*host)->name, span, span, {}};
  return call(term, site);
}

Term Elaborator::constant(const Declared& declared) {
  const ast::Declaration* declaration = declared.declaration;
  if (const auto known = constants_.find(declaration); known != constants_.end()) return known->second;
  const auto& form = std::get<ast::Const>(declaration->form);
  if (!constants_open_.insert(declaration).second)
    return error(Code::recursive, form.name.span, fmt::format("`{}` is defined by itself", form.name.text));
  Scope scope(*declared.module);
  std::vector<Frame> outside;
  std::swap(outside, frames_);
  Term term = evaluate(*form.value, scope);
  std::swap(outside, frames_);
  if (const Number* number = term.as<Number>()) {
    if (!declared.module->library)
      term = Number{number->value,
                    because("", fmt::format("const {} = {}", form.name.text, source(form.value->span)),
                            Span{form.name.span.file, declaration->span.begin, declaration->span.end}, number->from)};
  } else if (term.as<Array>() || term.as<Scalar>()) {
    term = error(Code::not_compile_time, form.value->span, "a constant must be known at compile time");
  }
  constants_open_.erase(declaration);
  return constants_.emplace(declaration, std::move(term)).first->second;
}

}  // namespace nnc
