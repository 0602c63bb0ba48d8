// Statements of bodies, one function a form of the grammar, and the parameters and states that they declare.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "frontend/elaborator.h"

namespace nnc {

namespace {

bool is_capital(const std::string& name) { return !name.empty() && name[0] >= 'A' && name[0] <= 'Z'; }

/// Names of a condition that are numbers, and the numbers.
std::map<std::string, double> numbers_in(const ast::Expr& expr, Scope& scope) {
  std::map<std::string, double> result;
  if (const auto* use = std::get_if<ast::NameUse>(&expr.form)) {
    const Term* bound = scope.find(use->name);
    const Length* length = bound ? bound->as<Length>() : nullptr;
    if (bound && bound->as<Number>()) result[use->name] = bound->as<Number>()->value;
    if (length && !length->axis.extent.batched) result[use->name] = static_cast<double>(length->axis.extent.count);
  } else if (const auto* binary = std::get_if<ast::Binary>(&expr.form)) {
    result = numbers_in(*binary->left, scope);
    result.merge(numbers_in(*binary->right, scope));
  } else if (const auto* unary = std::get_if<ast::Unary>(&expr.form)) {
    result = numbers_in(*unary->operand, scope);
  }
  return result;
}

}  // namespace

void Elaborator::let(const ast::Let& statement, Scope& scope) {
  const bool one = statement.names.size() == 1;
  if (one && scope.find(statement.names[0].text)) {
    if (!statement.reported)
      error(Code::duplicate_name, statement.names[0].span,
            fmt::format("`{}` is bound already in this body", statement.names[0].text), "",
            "a name is bound once; choose another");
    scope.assign(statement.names[0].text, Failed{});  // which of the two is meant below, nobody knows
    return;
  }
  if (one && is_capital(statement.names[0].text)) {
    named_expr_ = statement.value.get();
    instance_name_ = statement.names[0].text;
  }
  Term term = evaluate(*statement.value, scope);
  named_expr_ = nullptr;
  const auto define = [&](const ast::Name& name, Term value) {
    if (const Array* array = value.as<Array>()) {
      const Value own = named(array->node);
      for (const Value node : {array->node, own})
        if (!in_library(name.span)) builder().name_node(node.id, name.text);
      value = Array{own, array->axes};
    }
    if (!scope.define(name.text, std::move(value)))
      error(Code::duplicate_name, name.span, fmt::format("`{}` is bound already in this body", name.text), "",
            "a name is bound once; choose another");
  };
  // A type stands for all names.
  const auto typed = [&](const ast::Name& name, Term value) -> Term {
    if (!statement.type || value.failed()) return value;
    const std::string what = fmt::format("`{}`", name.text);
    if (!statement.type->tensor) return scalar_of(*statement.type, value, statement.value->span, what);
    const auto type = resolve(*statement.type, scope);
    const auto placed = type ? place(value, *type, statement.value->span, what) : std::nullopt;
    return placed ? Term(*placed) : Term(Failed{});
  };
  if (one) return define(statement.names[0], typed(statement.names[0], std::move(term)));
  const Several* several = term.as<Several>();
  if (!term.failed() && (!several || several->values.size() != statement.names.size()))
    error(Code::type_mismatch, statement.value->span,
          fmt::format("{} names for {}", statement.names.size(),
                      several ? fmt::format("{} results", several->values.size()) : describe(term)));
  const bool fits = several && several->values.size() == statement.names.size();
  for (std::size_t i = 0; i < statement.names.size(); ++i)
    define(statement.names[i], fits ? typed(statement.names[i], several->values[i]) : Term(Failed{}));
}

std::optional<Term> Elaborator::execute(const ast::Block& block, Scope& scope) {
  for (const ast::Statement& statement : block.statements) {
    if (const auto* form = std::get_if<ast::Let>(&statement.form)) {
      let(*form, scope);
    } else if (const auto* branch = std::get_if<ast::If>(&statement.form)) {
      if (auto returned = execute_if(*branch, scope)) return returned;
    } else if (const auto* variable = std::get_if<ast::Variable>(&statement.form)) {
      execute_variable(*variable, statement.span, scope);
    } else if (const auto* update = std::get_if<ast::Update>(&statement.form)) {
      execute_update(*update, scope);
    } else if (const auto* condition = std::get_if<ast::Expect>(&statement.form)) {
      execute_expect(*condition, scope);
    } else if (const auto* last = std::get_if<ast::Return>(&statement.form)) {
      Several several;
      for (const ast::ExprPtr& value : last->values) several.values.push_back(evaluate(*value, scope));
      returned_at_ = last->values.front()->span;
      return several.values.size() == 1 ? several.values.front() : Term(std::move(several));
    }
  }
  return std::nullopt;
}

std::optional<Term> Elaborator::execute_if(const ast::If& form, Scope& scope) {
  const auto condition = flag(evaluate(*form.condition, scope), form.condition->span, "the condition of `if`");
  if (!condition) return Failed{};  // either branch might return
  Scope inner(scope);
  if (*condition) return execute(form.yes, inner);
  if (form.no) return execute(*form.no, inner);
  return std::nullopt;
}

void Elaborator::execute_variable(const ast::Variable& form, Span span, Scope& scope) {
  using enum ast::Variable::Kind;
  Frame* frame = frames_.empty() ? nullptr : &frames_.back();
  const char* word = form.kind == param ? "param" : form.kind == state ? "state" : "carry";
  const auto fail = [&] {
    if (!scope.define(form.name.text, Failed{})) (void)0;
  };
  const auto clash = [&] {
    const bool dimension = scope.find(form.name.text)->as<Length>() != nullptr;
    error(Code::duplicate_name, form.name.span, fmt::format("`{}` is bound already in this body", form.name.text), "",
          dimension ? fmt::format("it is a dimension of the signature; name that one `Rows`, `Cols`, ...")
                    : "a name is bound once; choose another");
    scope.assign(form.name.text, Failed{});  // which of the two is meant below, nobody knows
  };
  if (form.kind == carry && (!graph_->loop || !frame)) {
    needs_scan = true;
    error(Code::bad_variable, span, "`carry` stands in a layer that is scanned", "",
          "it goes from step to step: apply the layer by `x |> scan(Cell(64))`");
    return fail();
  }
  const bool in_optimizer = frame && !frame->state_suffix.empty();
  if (!frame || !(frame->makes_instances || (in_optimizer && form.kind == state))) {
    error(Code::bad_variable, form.name.span,
          fmt::format("`{}` cannot stand in a {}", word, in_optimizer ? "an optimizer" : "function"), "",
          "functions are pure; parameters and states belong to layers");
    return fail();
  }
  const auto type = resolve(form.type, scope);
  if (!type) return fail();
  if (form.kind == param && !is_float(type->dtype)) {
    error(Code::bad_variable, form.type.span, "a parameter has floating elements");
    return fail();
  }
  const std::string path = (frame->path.empty() ? "" : frame->path + ".") + form.name.text + frame->state_suffix;
  const auto first_value = [&]() -> Term {
    const Term initial = evaluate(*form.value, scope);
    if (initial.failed()) return Failed{};
    const auto placed = place(initial, *type, form.value->span, fmt::format("`{}`", form.name.text));
    return placed ? Term(*placed) : Term(Failed{});
  };
  if (form.kind == carry) {
    const Term value = declare_carry(path, *type, form.value->span, first_value);
    frames_.back().states[form.name.text] = {path, *type};
    frames_.back().carries.insert(form.name.text);
    if (!scope.define(form.name.text, value)) clash();
    return;
  }
  const bool fresh = declare_variable(path, *type, form.kind == state, form.name.span, first_value);
  const auto at = variable_index_.find(path);
  if (!fresh || at == variable_index_.end()) return fail();
  frames_.back().states[form.name.text] = {path, *type};
  if (!scope.define(form.name.text, read_variable(at->second))) clash();
}

Term Elaborator::read_variable(std::size_t index) {
  const Variable& variable = variables_[index];
  graph_->touched.emplace(variable.path, variable.is_state ? ast::Variable::Kind::state : ast::Variable::Kind::param);
  const std::vector<Axis>& axes = variable_types_[index].axes;
  if (!variable.is_state && graph_->averages)
    if (const std::string average = average_path(variable.path); variable_index_.contains(average))
      return wrap(builder().leaf(Op::state, average, variable.type), axes);
  if (variable.is_state && graph_->loop) return wrap(state_in_loop(variable.path, variable.type), axes);
  if (const auto now = graph_->states.find(variable.path); now != graph_->states.end()) return wrap(now->second, axes);
  return wrap(builder().leaf(variable.is_state ? Op::state : Op::param, variable.path, variable.type), axes);
}

bool Elaborator::declare_variable(const std::string& path, const ArrayType& type, bool is_state, Span span,
                                  const std::function<Term()>& initial) {
  const Type wanted = type_of(type);
  if (const auto at = variable_index_.find(path); at != variable_index_.end()) {
    const Variable& known = variables_[at->second];
    if (known.type == wanted && known.is_state == is_state) return true;
    Diagnostic diagnostic{
        .code = Code::shape_mismatch,
        .message = fmt::format("`{}` is {} here and {} elsewhere", path, to_string(wanted), to_string(known.type)),
        .primary = span,
        .help = "an instance that is used twice has one set of parameters; make two instances, or the same widths"};
    const std::vector<Axis>&here = type.axes, &before = variable_types_[at->second].axes;
    for (std::size_t i = 0; i < std::min(here.size(), before.size()); ++i)
      if (here[i].extent != before[i].extent)
        diagnostic.notes = {fmt::format("here:      {}", story(here[i])),
                            fmt::format("elsewhere: {}", story(before[i]))};
    report(std::move(diagnostic));
    return false;
  }
  if (frozen_) {
    error(Code::bad_variable, span, fmt::format("`{}` exists only where `training` is false", path), "",
          "both values of `training` must make the same parameters and states");
    return false;
  }
  if (is_batched(wanted.shape)) {
    error(Code::bad_variable, span, fmt::format("`{}` would have an axis as long as the batch", path), "",
          graph_->loop
              ? "a step of a sequence [batch, steps, width] is [batch, width]: what is scanned here has no width"
              : "parameters and states have a fixed size");
    return false;
  }
  variable_index_.emplace(path, variables_.size());
  variables_.push_back({path, wanted, is_state});
  variable_types_.push_back(type);
  if (graph_->test) {
    initialise_in_place(path, initial);
    return true;
  }
  GraphContext context{.builder = &init_, .training = graph_->training, .stream = "init/" + path};
  GraphContext* outside = set_graph(&context);
  const Term value = initial();
  if (const Array* array = value.as<Array>()) init_.output(OutputKind::update, path, whole_node(*array));
  set_graph(outside);
  return true;
}

/// What a body expects of its settings: a condition that is known now. One that is known only in training (of a rate
/// that a schedule gives) is not looked at.
void Elaborator::execute_expect(const ast::Expect& form, Scope& scope) {
  const Term term = evaluate(*form.value, scope);
  if (term.as<Scalar>() && term.as<Scalar>()->node.type().dtype == DType::boolean) return;
  const auto holds = flag(term, form.value->span, "what a body expects");
  if (!holds || *holds || frames_.empty()) return;
  Diagnostic diagnostic{.code = Code::not_as_expected,
                        .message = fmt::format("`{}` expects `{}`", frames_.back().name, source(form.value->span)),
                        .primary = frames_.back().call,
                        .notes = {}};
  if (!in_library(form.value->span)) diagnostic.labels = {{form.value->span, "expected here"}};
  for (const auto& [name, value] : numbers_in(*form.value, scope))
    diagnostic.notes.push_back(fmt::format("`{}` is {}", name, value));
  report(std::move(diagnostic));
}

void Elaborator::execute_update(const ast::Update& form, Scope& scope) {
  Frame* frame = frames_.empty() ? nullptr : &frames_.back();
  const auto at = frame ? frame->states.find(form.name.text) : decltype(frame->states.end()){};
  if (!frame || at == frame->states.end()) {
    if (const Term* bound = scope.find(form.name.text); bound && bound->failed()) return;
    if (scope.module().excuses(form.name.text)) return;
    std::vector<std::string> known;
    if (frame)
      for (const auto& [name, state] : frame->states) known.push_back(name);
    unknown_name(form.name.span, "state or carry", form.name.text, known);
    return;
  }
  const auto [path, type] = at->second;
  const bool carried = frame->carries.contains(form.name.text);
  if (!carried && !variables_[variable_index_.at(path)].is_state) {
    error(Code::bad_variable, form.name.span,
          fmt::format("`{}` is a parameter; only the optimizer changes it", form.name.text));
    return;
  }
  if (!carried && !frame->updates) return;  // void in inference
  const Term term = evaluate(*form.value, scope);
  const auto placed =
      term.failed() ? std::nullopt : place(term, type, form.value->span, fmt::format("`{}`", form.name.text));
  if (!placed) return scope.assign(form.name.text, Failed{});
  const Value node = whole_node(*placed);
  if (carried) return scope.assign(form.name.text, update_carry(path, node));
  graph_->states.insert_or_assign(path, node);
  if (std::ranges::find(graph_->updated, path) == graph_->updated.end()) graph_->updated.push_back(path);
  scope.assign(form.name.text, wrap(node, type.axes));
}

}  // namespace nnc
