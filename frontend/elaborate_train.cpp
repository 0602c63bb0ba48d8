// The block itself: what it names, the three graphs over one table of parameters, metrics and outputs.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/train_block.h"

namespace nnc {
namespace {

/// The model or data block of that name that the user's file sees, or null.
template <class Form>
const ast::Declaration* find(const Module& module, const std::string& name) {
  const std::vector<Declared>* declared = module.find(name);
  const bool fits = declared && std::holds_alternative<Form>(declared->front().declaration->form);
  return fits ? declared->front().declaration : nullptr;
}

template <class Form>
std::vector<std::string> names_of(const Module& module) {
  std::vector<std::string> seen, result;
  module.visible(seen);
  for (const std::string& name : seen)
    if (find<Form>(module, name)) result.push_back(name);
  return result;
}

}  // namespace

std::optional<Elaborated> TrainBlock::elaborate() {
  errors_before_ = e_.diagnostics.error_count();
  const auto fine = [&] { return e_.diagnostics.error_count() == errors_before_ && !declaration_.damaged; };
  if (!resolve_names()) return std::nullopt;
  data_ = elaborate_data(e_, module_, *data_declaration_);
  e_.set_models(model_paths_);
  find_governors();
  e_.set_frozen([this](const std::string& path) { return is_frozen(path); });

  const auto [line, column] = e_.diagnostics.position(declaration_.head.file, declaration_.head.begin);
  job_.place = {e_.diagnostics.file(declaration_.head.file).path, line, column};
  for (const ast::Name& model : train_.models) job_.models.push_back(model.text);
  job_.data = train_.data.text;
  job_.name = train_.as ? train_.as->text : job_.models.front();
  job_.losses.clear();
  for (const Governor& loss : losses_) job_.losses.push_back(loss.name);

  Elaborated result;
  result.step = pass(Which::step, "step");
  check_missing();
  if (fine()) e_.freeze_variables();
  result.evaluate = pass(Which::evaluate, "evaluate");
  result.predict = pass(Which::predict, "predict");
  check_figures(result.evaluate);
  if (!fine()) return std::nullopt;
  if (e_.options.models)
    for (const std::string& model : job_.models)
      if (auto graph = model_as_applied(e_, module_, module_.find(model)->front()))
        result.models.emplace(model, std::move(*graph));
  result.undo = undo_columns();
  result.outline = std::move(outline_);
  const std::string classes = predicted_classes(result.evaluate, result.predict);
  for (const Output& output : result.predict.outputs)
    job_.classes_of_outputs.push_back(result.predict[output.node].op == Op::argmax ? classes : "");
  result.variables = e_.variables();
  result.init = std::move(e_.init()).finish();
  result.fit = std::move(data_.fit);
  result.feed = std::move(data_.feed);
  result.data = std::move(data_.job);
  result.train = std::move(job_);
  return result;
}

bool TrainBlock::resolve_names() {
  // A declaration that did not parse is missing for a reason that was reported.
  const auto known = [&](const auto* found, const ast::Name& name, const char* what,
                         const std::vector<std::string>& names) {
    if (!found && !module_.excuses(name.text)) e_.unknown_name(name.span, what, name.text, names);
    return found != nullptr;
  };
  bool fine = true;
  for (const ast::Name& model : train_.models) {
    fine = known(find<ast::Model>(module_, model.text), model, "model", names_of<ast::Model>(module_)) && fine;
    // Only several models have their names in front of their paths: a body loads into another model.
    const bool fresh = model_paths_.emplace(model.text, train_.models.size() > 1 ? model.text : "").second;
    if (!fresh) error(Code::duplicate_name, model.span, fmt::format("the model `{}` is named twice", model.text));
    fine = fine && fresh;
  }
  data_declaration_ = find<ast::Data>(module_, train_.data.text);
  return known(data_declaration_, train_.data, "data block", names_of<ast::Data>(module_)) && fine;
}

// ---- one graph ---------------------------------------------------------------------------------------------------

Graph TrainBlock::pass(Which which, const std::string& name) {
  Pass pass(which, name, module_);
  pass.context.training = pass.context.scalars = pass.context.trains = which == Which::step;
  pass.context.averages = which != Which::step;
  if (which == Which::evaluate) pass.context.written = &pass.written;
  GraphContext* outside = e_.set_graph(&pass.context);
  bind_columns(pass);
  for (const ast::Item& item : train_.items) {
    if (const auto* let = std::get_if<ast::Let>(&item.form)) e_.let(*let, pass.scope);
    if (const auto* form = std::get_if<ast::Measure>(&item.form)) measure(*form, pass);
    if (const auto* form = std::get_if<ast::Setting>(&item.form)) setting(*form, pass);
  }
  compare_variables(pass);
  if (which == Which::step) {
    const bool applied =
        !data_.failed && std::ranges::all_of(losses_, [](const Governor& loss) { return !!loss.value; });
    if (applied) check_paths();  // else there may be instances that nothing could make
    update(pass);
    e_.finish_updates();
  }
  if (which == Which::evaluate) outline_ = outline_of(pass.builder.graph(), pass.written, job_.losses, e_.diagnostics);
  Graph graph = e_.finish_graph();
  e_.set_graph(outside);
  return graph;
}

/// Each column that ends in fitted steps, in the unit that it has in the file.
Graph TrainBlock::undo_columns() {
  Pass pass(Which::predict, "undo", module_);
  GraphContext* outside = e_.set_graph(&pass.context);
  for (const Column& column : data_.job.columns) {
    const ElaboratedColumn& made = data_.columns.at(column.name);
    if (made.undo.empty()) continue;
    const Value leaf = pass.builder.leaf(Op::input, column.name, column.type);
    const Term term = undo(e_, e_.wrap(leaf, made.type.axes), made, declaration_.head);
    pass.builder.output(OutputKind::result, column.name, e_.whole_node(*term.as<Array>()));
  }
  Graph graph = e_.finish_graph();
  e_.set_graph(outside);
  return graph;
}

/// Both values of `training` make the same parameters and states. (What evaluation has and the step has not is found
/// where it is declared.)
void TrainBlock::compare_variables(const Pass& pass) {
  if (pass.which == Which::step)
    for (const auto& [path, kind] : pass.context.touched) variables_of_step_.insert(path);
  if (pass.which != Which::evaluate || e_.diagnostics.error_count() != errors_before_) return;
  if (std::ranges::any_of(e_.applied, &ast::Declaration::damaged)) return;  // what it would have made is missing
  for (const std::string& path : variables_of_step_)
    if (!pass.context.touched.contains(path))
      error(Code::bad_variable, declaration_.head, fmt::format("`{}` exists only where `training` is true", path),
            "both values of `training` must make the same parameters and states");
}

/// The columns are inputs; in the block they are known by their names.
void TrainBlock::bind_columns(Pass& pass) {
  pass.around.define("undo", std::make_shared<const HostFunction>(
                                 HostFunction{"undo", [this](CallSite& site) { return undo_call(site); }}));
  if (!data_.columns.contains("batch")) pass.around.define("batch", Length{{batch_extent}});
  for (const std::string& name : data_.lost) pass.scope.define(name, Failed{});
  for (const Column& column : data_.job.columns) {
    if (data_.lost.contains(column.name)) continue;
    const Value leaf = pass.builder.leaf(Op::input, column.name, column.type);
    pass.scope.define(column.name, e_.wrap(leaf, data_.columns.at(column.name).type.axes));
  }
}

/// undo(z, y): z, which is like the column y, in y's original unit.
Term TrainBlock::undo_call(CallSite& site) {
  if (site.arguments.size() != 2)
    return error(Code::bad_setting, site.span, "`undo` takes a value and a column", "such as `undo(z, y)`");
  const ast::Expr* written = site.arguments[1].expr;
  const auto* use = written ? std::get_if<ast::NameUse>(&written->form) : nullptr;
  if (use && data_.lost.contains(use->name)) return Failed{};
  const auto column = use ? data_.columns.find(use->name) : data_.columns.end();
  if (!use || column == data_.columns.end()) {
    std::vector<std::string> names;
    for (const auto& [name, known] : data_.columns) names.push_back(name);
    return error(Code::bad_setting, site.arguments[1].span,
                 fmt::format("the second argument of `undo` is a column of `{}`", job_.data),
                 use ? did_you_mean(use->name, names) : "");
  }
  if (column->second.undo.empty())
    return error(Code::bad_setting, site.arguments[1].span,
                 fmt::format("`{}` is neither standardized nor scaled, so there is nothing to undo", use->name),
                 "`undo` takes back `standardize` and `minmax` where they are the last step of a column");
  const Term term = site.evaluate(0);
  const auto z = e_.array(term, site.arguments[0].span, "the first argument of `undo`", column->second.type.dtype);
  if (!z) return Failed{};
  const auto& wanted = column->second.type.axes;
  const bool same = std::equal(z->axes.begin(), z->axes.end(), wanted.begin(), wanted.end(),
                               [](const Axis& a, const Axis& b) { return a.extent == b.extent; });
  if (!same || z->node.type().dtype != column->second.type.dtype)
    return error(Code::shape_mismatch, site.span,
                 fmt::format("`undo` takes a value like `{}`, {}, and this is {}", use->name,
                             e_.describe(column->second.type), e_.describe(Term(*z))));
  return undo(e_, *z, column->second, site.span);
}

// ---- metrics and outputs -----------------------------------------------------------------------------------------

void TrainBlock::measure(const ast::Measure& form, Pass& pass) {
  const bool metric = form.kind == ast::Measure::Kind::metric;
  const char* word = metric ? "metric" : "output";
  if (pass.which == Which::step) {
    if (metric && form.name.text == "loss")
      error(Code::bad_setting, form.name.span, "a metric cannot be called `loss`",
            "the loss is always among the figures");
    const auto [known, fresh] =
        measures_.emplace(fmt::format("{} {}", word, form.name.text), std::pair(form.kind, form.name.span));
    if (!fresh)
      error(Code::duplicate_setting, form.name.span, fmt::format("the {} `{}` is given twice", word, form.name.text));
    (metric ? job_.metrics : job_.outputs).push_back(form.name.text);
    return;
  }
  if (metric != (pass.which == Which::evaluate)) return;
  const Term term = e_.evaluate(*form.value, pass.scope);
  if (term.failed()) return;
  const auto value =
      e_.array(term, form.value->span, fmt::format("the {} `{}`", word, form.name.text), e_.default_float());
  if (!value) return;
  const bool rows =
      std::any_of(value->axes.begin(), value->axes.end(), [](const Axis& axis) { return axis.extent.batched; });
  if (metric && rows) {
    error(Code::bad_setting, form.value->span,
          fmt::format("the metric `{}` is {}: one for each row", form.name.text, e_.describe(Term(*value))),
          "a metric is about a whole split; take its mean");
    return;
  }
  if (!metric && (value->axes.empty() || !value->axes[0].extent.batched || value->axes[0].extent.count != 1)) {
    error(Code::bad_setting, form.value->span,
          fmt::format("the output `{}` is {}, not one for each row", form.name.text, e_.describe(Term(*value))));
    return;
  }
  pass.builder.output(OutputKind::result, form.name.text, e_.whole_node(*value));
}

// ---- the loss ----------------------------------------------------------------------------------------------------

void TrainBlock::loss(const ast::Setting& form, Pass& pass) {
  const auto governor = std::ranges::find(losses_, &form, &Governor::form);
  if (governor == losses_.end()) return;  // its path was wrong
  const Term term = e_.evaluate(*form.value, pass.scope);
  if (term.failed()) return;
  const auto value = e_.array(term, form.value->span, "the loss", e_.default_float());
  if (!value) return;
  if (!value->axes.empty() || !is_float(value->node.type().dtype)) {
    e_.report({.code = Code::loss_not_scalar,
               .message = fmt::format("the loss is one number, and this is {}", e_.describe(Term(*value))),
               .primary = form.value->span,
               .primary_label = e_.describe(Term(*value)),
               .help = "the losses of the library are means over the batch; `mean(...)` makes one number"});
    return;
  }
  pass.builder.name_node(value->node.id, governor->name);  // unless a `let` gave it a name
  pass.builder.output(OutputKind::result, governor->name, value->node);
  if (pass.which == Which::step) governor->value = value;
}

/// What predictions are compared with is what the loss and the metrics read and the predictions do not. Where that is
/// one column, and one of classes, its names are those of what is predicted.
std::string TrainBlock::predicted_classes(const Graph& evaluate, const Graph& predict) const {
  const auto reads = [](const Graph& graph, const std::string& column) {
    return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
      return node.op == Op::input && std::get<Named>(node.attributes).name == column;
    });
  };
  std::vector<const Column*> targets;
  for (const Column& column : data_.job.columns)
    if (reads(evaluate, column.name) && !reads(predict, column.name)) targets.push_back(&column);
  return targets.size() == 1 ? targets[0]->classes_of : "";
}

std::optional<Elaborated> elaborate_train(Elaborator& elaborator, const Module& module, const ast::Declaration& train) {
  return TrainBlock(elaborator, module, train).elaborate();
}

}  // namespace nnc
