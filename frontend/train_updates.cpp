// What a step changes. Every parameter that is not frozen has one loss and one optimizer (train_paths.cpp); all
// gradients are taken of the parameters as they were before the step, so several models are updated at once.
//
//   gradient   grad(loss, p), by the loss that the parameter obeys
//   clipping   g * min(1, c / norm): one norm over all gradients of a loss
//   optimizer  (p, g) -> p, inlined for each parameter, its states under NAME.STATE/PATH
//              or over (p: float[P], g: float[P]): inlined once for all of its parameters laid end to end
//   averager   an optimizer of one input, p -> average, on the updated parameter; what it gives is kept in the state
//              average/PATH, which evaluation and prediction read in place of the parameter
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "frontend/train_block.h"

namespace nnc {
namespace {

/// A joint optimizer may need as many gradients as there are parameters, and a matrix of them.
constexpr std::int64_t most_joint = 1024;

/// `(p: float[P], g: float[P])`: all parameters end to end.
bool is_joint(const OptimizerInstance& instance) {
  const ast::TypeExpr& type = std::get<ast::Optimizer>(instance.optimizer.declaration->form).inputs.front().type;
  return type.tensor && type.dims.size() == 1 && type.dims[0].kind == ast::Dim::Kind::expression;
}

}  // namespace

void TrainBlock::update(Pass& pass) {
  std::map<const Governor*, Term> optimizers;
  for (const Governor& one : optimizers_) optimizers[&one] = evaluate_optimizer(*one.form, pass, 2, "`optimizer`");
  const Term averager = average_ ? evaluate_optimizer(*average_, pass, 1, "`average`") : Term(Failed{});
  std::vector<Trained> all = trained();
  clip(all, pass);
  std::map<std::pair<const Governor*, const Governor*>, std::vector<Trained*>> joint;
  for (Trained& one : all) {
    const auto* optimizer = optimizers.at(one.optimizer).as<std::shared_ptr<const OptimizerInstance>>();
    if (!optimizer) continue;
    find_gradient(one);
    if (is_joint(**optimizer)) {
      joint[{one.optimizer, one.loss}].push_back(&one);
      continue;
    }
    const Term next = e_.inline_optimizer(**optimizer, one.path, {one.p, Array{*one.gradient, one.p.axes}});
    if (const Array* updated = next.as<Array>()) set_parameter(one, *updated, averager);
  }
  for (auto& [governors, group] : joint)
    update_jointly(group, **optimizers.at(governors.first).as<std::shared_ptr<const OptimizerInstance>>(), averager);
}

void TrainBlock::set_parameter(const Trained& one, const Array& next, const Term& averager) {
  e_.builder().output(OutputKind::update, one.path, e_.whole_node(next));
  if (!averager.failed()) average(one, next, averager);
}

/// One optimizer over all the parameters of a loss that it governs, end to end in elaborated order.
void TrainBlock::update_jointly(std::span<Trained*> all, const OptimizerInstance& optimizer, const Term& averager) {
  const Governor& governor = *all.front()->optimizer;
  const Span span = governor.form->value->span;
  Builder& b = e_.builder();
  b.set_origin(e_.origin(span));
  std::vector<Value> parameters, flat, gradients;
  std::int64_t count = 0;
  for (const Trained* one : all) {
    const Type type = one->p.node.type();  // a copy: the graph grows
    if (type.dtype != all.front()->p.node.type().dtype) {
      error(Code::type_mismatch, span,
            fmt::format("`{}` takes all parameters in one tensor, and `{}` and `{}` have different element types",
                        e_.source(span), all.front()->path, one->path));
      return;
    }
    parameters.push_back(one->p.node);
    flat.push_back(b.reshape(one->p.node, {element_count(type.shape)}));
    gradients.push_back(b.reshape(*one->gradient, {element_count(type.shape)}));
    count += element_count(type.shape).count;
  }
  if (count > most_joint) {
    const std::string& last = all.back()->path;  // of the model's last layer
    const std::string part = last.substr(0, last.rfind('.'));
    error(Code::bad_setting, span,
          fmt::format("`{}` takes all parameters at once, {} of them; that is built for {} at most", e_.source(span),
                      count, most_joint),
          fmt::format(
              "give it a part, as in `optimizer({}{}) = ...`, or take an optimizer of one parameter at a time, such "
              "as adam",
              train_.models.size() > 1 ? "" : job_.models.front() + ".", part));
    return;
  }
  const Value p = b.concat(flat, 0), g = b.concat(gradients, 0);
  if (flat.size() > 1) e_.graph().joint.emplace(p.id, parameters);
  std::string path = governor.path.empty() ? "all" : governor.path;
  if (losses_.size() > 1) path += "." + all.front()->loss->name;
  const Term next = e_.inline_optimizer(optimizer, path, {e_.wrap(p), e_.wrap(g)});
  const Array* updated = next.as<Array>();
  if (!updated) return;
  std::int64_t at = 0;
  for (const Trained* one : all) {
    const std::int64_t size = element_count(one->p.node.type().shape).count;
    const Value piece = b.slice(updated->node, {at}, {1}, {Extent{size, false}});
    set_parameter(*one, e_.wrap(piece, one->p.axes), averager);
    at += size;
  }
}

/// The parameters that this step changes. Those that no loss reaches are named in a warning; one that nothing says how
/// to train is an error, once for each model.
std::vector<TrainBlock::Trained> TrainBlock::trained() {
  std::vector<Trained> result;
  if (optimizers_.empty() || losses_.empty()) return result;  // which is an error of its own
  std::map<const Governor*, std::vector<bool>> reached;
  for (const Governor& loss : losses_)
    if (loss.value) reached[&loss] = e_.reached_from(loss.value->node.id);
  const std::size_t count = e_.variables().size();  // optimizer states come after
  std::set<std::string> complained;
  bool frozen = false;
  for (std::size_t i = 0; i < count; ++i) {
    if (e_.variables()[i].is_state) continue;
    const std::string path = e_.variables()[i].path;
    const Governor *optimizer = governor(optimizers_, path), *loss = governor(losses_, path);
    if (optimizer && optimizer->frozen) {
      frozen = true;
      continue;
    }
    if (!optimizer || !loss) {
      if (!declaration_.damaged &&
          complained.insert(train_.models.size() > 1 ? path.substr(0, path.find('.')) : "").second)
        error(Code::missing_setting, declaration_.head,
              fmt::format("the train block has no `{}` for `{}`", optimizer ? "loss" : "optimizer", path),
              optimizer
                  ? "`loss = ...` is for all that has no loss of its own"
                  : "`optimizer = ...` is for all that has none of its own; `frozen` leaves parameters as they are");
      continue;
    }
    if (!loss->value) continue;  // which is an error
    const Array p = *e_.read_variable(i).as<Array>();
    const std::vector<bool>& nodes = reached.at(loss);
    if (p.node.id >= nodes.size() || !nodes[p.node.id]) {
      e_.report({.code = Code::unreached_parameter,
                 .message = fmt::format("the {} does not depend on the parameter `{}`; it keeps its initial value",
                                        loss->path.empty() ? "loss" : backquoted(loss->name), path),
                 .primary = optimizer->form->value->span});
      continue;
    }
    result.push_back({i, path, p, optimizer, loss, std::nullopt});
  }
  // What a damaged declaration would have made, and what a failed loss would have applied, is missing for a reason.
  const bool whole = std::ranges::all_of(losses_, [](const Governor& loss) { return loss.value.has_value(); }) &&
                     std::ranges::none_of(e_.applied, &ast::Declaration::damaged);
  if (!whole) return result;
  if (count == 0 && e_.diagnostics.error_count() == errors_before_)
    error(Code::bad_setting, losses_.front().form->value->span,
          "nothing that it applies has parameters, so there is nothing to train",
          fmt::format("the model of the block is applied, as in `mse({}(x), y)`", job_.models.front()));
  if (result.empty() && frozen && complained.empty())
    error(Code::bad_setting, optimizers_.front().form->value->span, "every parameter is frozen, so nothing is trained");
  return result;
}

void TrainBlock::find_gradient(Trained& one) {
  if (one.gradient) return;
  e_.builder().set_origin(e_.origin(one.optimizer->form->value->span));
  one.gradient = e_.builder().make(Op::grad, {{one.loss->value->node, one.p.node}});
}

/// `clip_norm = c`: the gradients of a loss are scaled by min(1, c / norm). The squares of a parameter are added in its
/// own type, the norm and the factor are f64.
void TrainBlock::clip(std::vector<Trained>& all, Pass& pass) {
  if (!clip_norm_) return;
  const Span span = clip_norm_->value->span;
  const Term bound = e_.evaluate(*clip_norm_->value, pass.scope);
  if (bound.failed()) return;
  const Number* known = bound.as<Number>();
  if (!known && !bound.as<Scalar>()) {
    error(Code::bad_setting, span, fmt::format("`clip_norm` is a number, not {}", e_.describe(bound)),
          "such as `clip_norm = 1.0`");
    return;
  }
  if (known && !(known->value > 0)) {
    error(Code::bad_setting, span, fmt::format("`clip_norm` is greater than 0, not {}", known->value));
    return;
  }
  for (Trained& one : all) find_gradient(one);
  Builder& b = pass.builder;
  b.set_origin(e_.origin(span));
  for (const Governor& loss : losses_) {
    std::optional<Value> total;
    for (const Trained& one : all) {
      if (one.loss != &loss) continue;
      const Value g = *one.gradient;
      std::vector<int> axes;
      for (int axis = 0; axis < g.type().rank(); ++axis) axes.push_back(axis);
      const Value squares = b.cast(b.sum(g * g, std::move(axes)), DType::f64);
      total = total ? *total + squares : squares;
    }
    if (!total) continue;
    const Value norm = apply(Op::sqrt, *total);
    const Value factor = apply(Op::min, b.constant(1, DType::f64), e_.rank0(bound, DType::f64) / norm);
    for (Trained& one : all)
      if (one.loss == &loss) one.gradient = *one.gradient * b.cast(factor, one.gradient->type().dtype);
  }
}

/// An optimizer (two inputs: a parameter and its gradient) or an averager (one: the updated parameter); else a message.
Term TrainBlock::evaluate_optimizer(const ast::Setting& form, Pass& pass, std::size_t inputs, const std::string& word) {
  const Term term = e_.evaluate(*form.value, pass.scope);
  if (term.failed()) return Failed{};
  const Span span = form.value->span;
  const std::string example = inputs == 1 ? "such as `average = ema(0.999)`" : "such as `optimizer = adam(lr = 1e-3)`";
  const auto* instance = term.as<std::shared_ptr<const OptimizerInstance>>();
  const Callee* callee = term.as<Callee>();
  if (const auto* bare =
          callee ? std::get_if<ast::Optimizer>(&callee->overloads->front().declaration->form) : nullptr) {
    std::vector<std::string> needed;
    for (const ast::Param& setting : bare->settings)
      if (!setting.value) needed.push_back(setting.name.text + " = ...");
    return error(Code::bad_setting, span, fmt::format("`{}` stands here without its settings", callee->name),
                 fmt::format("write `{}({})`", callee->name, fmt::join(needed, ", ")));
  }
  if (!instance)
    return error(Code::bad_setting, span,
                 fmt::format("{} is an {}, not {}", word, inputs == 1 ? "averager" : "optimizer", e_.describe(term)),
                 example);
  const auto& declared = std::get<ast::Optimizer>((*instance)->optimizer.declaration->form);
  if (declared.inputs.size() == inputs) return term;
  if (declared.inputs.size() == 1)
    return error(Code::bad_setting, span,
                 fmt::format("`{}` averages parameters and takes no gradient", declared.name.text),
                 fmt::format("an averager is given as `average = {}`", e_.source(span)));
  if (inputs == 1 && declared.inputs.size() == 2)
    return error(Code::bad_setting, span,
                 fmt::format("`{}` takes a gradient; an averager takes the parameter alone", declared.name.text),
                 example);
  return error(Code::bad_variable, declared.name.span, "an optimizer takes a parameter and its gradient",
               "declare it as `optimizer name(...)(p: float[...], g: float[...]) -> float[...]`; an averager takes p "
               "alone");
}

/// The average of a parameter starts from the parameter's own initial value.
void TrainBlock::average(const Trained& one, const Array& next, const Term& averager) {
  const auto& instance = **averager.as<std::shared_ptr<const OptimizerInstance>>();
  const Term made = e_.inline_optimizer(instance, one.path, {next});
  const Array* average = made.as<Array>();
  if (!average) return;
  const std::string path = average_path(one.path);
  const Builder& init = e_.init();
  const auto start = std::ranges::find(init.graph().outputs, one.path, &Output::name);
  if (start == init.graph().outputs.end()) return;  // its initializer failed
  const ArrayType type{one.p.node.type().dtype, one.p.axes};
  const NodeId initial = start->node;
  e_.declare_variable(path, type, true, average_->value->span,
                      [&]() -> Term { return e_.wrap(Value{&e_.init(), initial}, type.axes); });
  e_.builder().output(OutputKind::update, path, e_.whole_node(*average));
}

}  // namespace nnc
