// Applying things: functions, layers, instances and optimizers are inlined. Every application is a frame, from which
// paths of parameters and messages about the library are made.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/application.h"

namespace nnc {

namespace {

template <class Form>
const Form* form_of(const Declared& declared) {
  return std::get_if<Form>(&declared.declaration->form);
}

std::size_t required(const std::vector<ast::Param>& params) {
  return static_cast<std::size_t>(std::ranges::count_if(params, [](const ast::Param& param) { return !param.value; }));
}

}  // namespace

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
  application.damaged = declared.declaration->damaged;
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

// ---- layers, models, instances -------------------------------------------------------------------------------------

bool Elaborator::is_layer(const Term& callee) {
  const Callee* named = callee.as<Callee>();
  return named && form_of<ast::Layer>(named->overloads->front());
}

std::string Elaborator::with_settings(const Term& layer, const std::string& name) {
  std::vector<std::string> needed;
  const Callee* callee = layer.as<Callee>();
  if (const auto* form = callee ? form_of<ast::Layer>(callee->overloads->front()) : nullptr)
    for (const ast::Param& setting : form->settings)
      if (!setting.value) needed.push_back(setting.name.text);
  return fmt::format("{}({})", name, fmt::join(needed, ", "));
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

void Elaborator::note_inputs(const ast::Model& model, Scope& scope) {
  std::vector<ArrayType> types;
  for (const ast::Param& input : model.inputs) {
    const Term* term = scope.find(input.name.text);
    const Array* array = term ? term->as<Array>() : nullptr;
    if (!array || std::ranges::any_of(array->axes, &Axis::stretch)) return;
    types.push_back({array->node.type().dtype, array->axes});
  }
  model_inputs.emplace(model.name.text, std::move(types));
}

Term Elaborator::apply_instance(const Instance& instance, CallSite& site) {
  Term result = inline_instance(instance, site);
  if (result.failed()) broken_.insert(instance.path);
  return result;
}

Term Elaborator::inline_instance(const Instance& instance, CallSite& site) {
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
  if (model) note_inputs(*model, scope);
  const auto returned = execute(body, scope);
  const Span head = layer ? layer->name.span : model->name.span;
  if (!returned) {
    if (declaration->damaged) return Failed{};
    return error(Code::missing_return, head, fmt::format("`{}` returns nothing", name));
  }
  application.damaged = declaration->damaged;
  return application.result(results, *returned, returned_at_);
}

// ---- optimizers ----------------------------------------------------------------------------------------------------

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
  application.damaged = instance.optimizer.declaration->damaged;
  return application.result({&optimizer.result, 1}, *returned, returned_at_);
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
    // A copy, since the graph grows. NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
    const Type type = part.type();
    const Value piece = reached[part.id] ? builder().make(Op::grad, {{of, part}})
                                         : builder().spread(builder().constant(0, type.dtype), type.shape);
    pieces.push_back(builder().reshape(piece, {element_count(type.shape)}));
  }
  return builder().concat(pieces, 0);
}

// ---- calls ---------------------------------------------------------------------------------------------------------

namespace {

/// One step of an optimizer in a test. It keeps its states over the test; where it is written tells it from others.
Term try_optimizer(Elaborator& elaborator, const OptimizerInstance& instance, CallSite& site) {
  const auto& optimizer = std::get<ast::Optimizer>(instance.optimizer.declaration->form);
  Scope scope(*instance.optimizer.module);
  Application application{elaborator, optimizer.name.text, elaborator.source(instance.span), site.span, scope};
  Matched matched;
  if (!application.match(optimizer.inputs, site.arguments, site.scope, matched)) return Failed{};
  std::vector<Array> inputs;
  for (const std::optional<Given>& given : matched) {
    if (!given || given->term.failed()) return Failed{};
    const Array* array = given->term.as<Array>();
    if (!array)
      return elaborator.error(Code::type_mismatch, given->span,
                              fmt::format("an optimizer takes tensors, not {}", elaborator.describe(given->term)), "",
                              "give it a type: `let p: f32[2] = [1, 2]`");
    inputs.push_back(*array);
  }
  return elaborator.inline_optimizer(instance, elaborator.place_text(instance.span), inputs);
}

}  // namespace

bool Elaborator::is_own(const ast::Declaration* declaration) const {
  return declaration && !in_library(declaration->span) && !std::holds_alternative<ast::Function>(declaration->form);
}

bool Elaborator::in_outline(Span span) const {
  return graph_->written && !in_library(span) &&
         std::ranges::all_of(frames_, [&](const Frame& frame) { return is_own(frame.declaration); });
}

/// An own layer or model shows its parts; a function or a layer of the library is one step.
std::optional<std::size_t> Elaborator::note_call(const Term& callee, const CallSite& site) {
  if (!in_outline(site.span)) return std::nullopt;
  std::string text, within = frames_.empty() ? "" : frames_.back().path;
  bool whole = true;
  if (const auto* host = callee.as<std::shared_ptr<const HostFunction>>()) {
    text = (*host)->name;
  } else if (const auto* instance = callee.as<std::shared_ptr<const Instance>>()) {
    text = (*instance)->shown;
    whole = !is_own((*instance)->layer.declaration);
    if (!whole) within = (*instance)->path;
  } else if (const Callee* named = callee.as<Callee>()) {
    text = named->name;
    whole = !form_of<ast::Model>(named->overloads->front());
  }
  return graph_->written->open(std::move(text), std::move(within), whole, builder().graph().nodes.size());
}

Term Elaborator::call(const Term& callee, CallSite& site) {
  const auto noted = note_call(callee, site);
  Term result = call_noted(callee, site);
  if (noted) graph_->written->close(*noted, builder().graph().nodes.size());
  return result;
}

namespace {

/// Where it is not known what is called: `...` is no value, and a name behind `missing =` may be a word of the
/// function.
bool is_a_value(const CallArgument& argument) {
  return !std::holds_alternative<ast::Ellipsis>(argument.expr->form) &&
         !(argument.name && std::holds_alternative<ast::NameUse>(argument.expr->form));
}

}  // namespace

Term Elaborator::call_noted(const Term& callee, CallSite& site) {
  if (callee.failed()) {
    for (std::size_t i = 0; i < site.arguments.size(); ++i)
      if (!site.arguments[i].value && is_a_value(site.arguments[i])) site.evaluate(i);
    return Failed{};
  }
  if (const auto* host = callee.as<std::shared_ptr<const HostFunction>>()) {
    for (const CallArgument& argument : site.arguments)
      if (argument.value && argument.value->failed()) return Failed{};
    site.name = (*host)->name;
    return (*host)->call(site);
  }
  if (const auto* instance = callee.as<std::shared_ptr<const Instance>>()) return apply_instance(**instance, site);
  const auto* optimizer = callee.as<std::shared_ptr<const OptimizerInstance>>();
  if (optimizer && graph_->test) return try_optimizer(*this, **optimizer, site);
  const Callee* named = callee.as<Callee>();
  if (!named) {
    std::string help;
    if (callee.as<Array>() || callee.as<Number>()) help = "multiplication is written `*`";
    if (optimizer) help = "a train block takes it, as in `optimizer = adam(lr = 1e-3)`; a test may apply it";
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
