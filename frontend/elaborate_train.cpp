// A `train` block: its settings become a TrainJob, and its expressions are elaborated three times over one table of
// parameters: as the training step (with gradients and the optimizer), as the evaluation of a whole split (loss and
// metrics), and as the prediction of a row (outputs).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "frontend/elaborate_data.h"
#include "frontend/elaborator.h"
#include "frontend/nearest.h"
#include "frontend/not_built.h"

namespace nnc {
namespace {

enum class Key : std::uint8_t {
  loss,
  optimizer,
  batch_size,
  shuffle,
  epochs,
  seed,
  check_every,
  early_stop,
  stop,
  best,
  clip_norm,
  average
};
struct KeyName {
  std::string_view text;
  Key key;
};
constexpr KeyName keys[] = {{"loss", Key::loss},
                            {"optimizer", Key::optimizer},
                            {"batch_size", Key::batch_size},
                            {"shuffle", Key::shuffle},
                            {"epochs", Key::epochs},
                            {"seed", Key::seed},
                            {"check_every", Key::check_every},
                            {"early_stop", Key::early_stop},
                            {"stop", Key::stop},
                            {"best", Key::best},
                            {"clip_norm", Key::clip_norm},
                            {"average", Key::average}};

/// What a user of other tools may have called a setting.
struct Alias {
  std::string_view theirs, help;
};
constexpr Alias aliases[] = {
    {"lr", "the learning rate is an argument of the optimizer: `optimizer = adam(lr = 1e-3)`"},
    {"learning_rate", "the learning rate is an argument of the optimizer: `optimizer = adam(lr = 1e-3)`"},
    {"batch", "did you mean `batch_size`?"},
    {"patience", "patience is an argument: `early_stop = lowest(valid.loss, patience = 3)`"},
    {"metrics", "a metric is written `metric acc = accuracy(logits, y)`"},
    {"steps", "the length of training is `epochs`"}};

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

class TrainBlock {
 public:
  TrainBlock(Elaborator& elaborator, const Module& module, const ast::Declaration& declaration)
      : e_(elaborator), module_(module), declaration_(declaration), train_(std::get<ast::Train>(declaration.form)) {}

  std::optional<Elaborated> elaborate();

 private:
  enum class Which : std::uint8_t { step, evaluate, predict };

  /// One of the three graphs and the names that its expressions see.
  struct Pass {
    Which which;
    Builder builder;
    GraphContext context;
    Scope around, scope;

    Pass(Which which_graph, std::string name, const Module& module)
        : which(which_graph), builder(name), around(module), scope(around) {
      context.builder = &builder;
      context.stream = std::move(name);
    }
  };

  Failed error(Code code, Span span, std::string message, std::string help = "") {
    return e_.error(code, span, std::move(message), "", std::move(help));
  }
  void not_built(NotBuilt what, Span span) { report_not_built(what, span, e_.diagnostics); }

  bool resolve_names();
  Graph pass(Which which, const std::string& name);
  void bind_columns(Pass& pass);
  Term undo_call(CallSite& site);
  void measure(const ast::Measure& form, Pass& pass);
  void setting(const ast::Setting& form, Pass& pass);
  void plain_setting(Key key, const ast::Setting& form, Pass& pass);
  void loss(const ast::Setting& form, Pass& pass);
  std::optional<std::int64_t> count(const ast::Setting& form, Pass& pass, std::int64_t least);
  std::optional<Watch> watch(const ast::Setting& form, Pass& pass, bool patient);
  std::optional<StopBelow> stop_rule(const ast::Setting& form, Pass& pass);
  std::optional<std::string> figure(const ast::Expr& expr);
  void optimise(Pass& pass);
  void check_missing();
  void check_figures();
  std::string predicted_classes(const Graph& evaluate, const Graph& predict) const;

  Elaborator& e_;
  const Module& module_;
  const ast::Declaration& declaration_;
  const ast::Train& train_;
  const ast::Declaration* data_declaration_ = nullptr;
  ElaboratedData data_;
  TrainJob job_;
  std::map<Key, Span> given_;
  std::set<Key> meant_;  ///< by settings whose names are not quite right
  const ast::Setting* optimizer_ = nullptr;
  std::optional<Array> loss_;
  std::map<std::string, std::pair<ast::Measure::Kind, Span>> measures_;
  std::vector<std::pair<std::string, Span>> figures_;  ///< what rules watch, checked when all metrics are known
};

std::optional<Elaborated> TrainBlock::elaborate() {
  const std::size_t errors = e_.diagnostics.error_count();
  const auto fine = [&] { return e_.diagnostics.error_count() == errors && !declaration_.damaged; };
  if (!resolve_names()) return std::nullopt;
  auto data = elaborate_data(e_, module_, *data_declaration_);
  if (!data) return std::nullopt;
  data_ = std::move(*data);
  e_.set_models({{train_.models[0].text, ""}});

  const auto [line, column] = e_.diagnostics.position(declaration_.head.file, declaration_.head.begin);
  job_.place = {e_.diagnostics.file(declaration_.head.file).path, line, column};
  job_.model = train_.models[0].text;
  job_.data = train_.data.text;
  job_.name = train_.as ? train_.as->text : job_.model;

  Elaborated result;
  result.step = pass(Which::step, "step");
  check_missing();
  check_figures();
  if (fine()) e_.freeze_variables();
  result.evaluate = pass(Which::evaluate, "evaluate");
  result.predict = pass(Which::predict, "predict");
  if (!fine()) return std::nullopt;
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
  if (train_.models.size() > 1) {
    not_built(NotBuilt::several_models, join(train_.models.front().span, train_.models.back().span));
    return false;
  }
  const ast::Name &model = train_.models[0], &data = train_.data;
  // A declaration that did not parse is missing for a reason that was reported.
  const auto known = [&](const auto* found, const ast::Name& name, const char* what,
                         const std::vector<std::string>& names) {
    if (!found && !module_.excuses(name.text)) e_.unknown_name(name.span, what, name.text, names);
    return found != nullptr;
  };
  const bool has_model = known(find<ast::Model>(module_, model.text), model, "model", names_of<ast::Model>(module_));
  data_declaration_ = find<ast::Data>(module_, data.text);
  const bool has_data = known(data_declaration_, data, "data block", names_of<ast::Data>(module_));
  return has_model && has_data;
}

// ---- one graph ---------------------------------------------------------------------------------------------------

Graph TrainBlock::pass(Which which, const std::string& name) {
  Pass pass(which, name, module_);
  pass.context.training = pass.context.scalars = which == Which::step;
  GraphContext* outside = e_.set_graph(&pass.context);
  bind_columns(pass);
  for (const ast::Item& item : train_.items) {
    if (const auto* let = std::get_if<ast::Let>(&item.form)) e_.let(*let, pass.scope);
    if (const auto* form = std::get_if<ast::Measure>(&item.form)) measure(*form, pass);
    if (const auto* form = std::get_if<ast::Setting>(&item.form)) setting(*form, pass);
  }
  if (which == Which::step) {
    optimise(pass);
    e_.finish_updates();
  }
  Graph graph = e_.finish_graph();
  e_.set_graph(outside);
  return graph;
}

/// The columns are inputs; in the block they are known by their names.
void TrainBlock::bind_columns(Pass& pass) {
  pass.around.define("undo", std::make_shared<const HostFunction>(
                                 HostFunction{"undo", [this](CallSite& site) { return undo_call(site); }}));
  for (const Column& column : data_.job.columns) {
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
  const auto column = use ? data_.columns.find(use->name) : data_.columns.end();
  if (column == data_.columns.end()) {
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

// ---- settings ----------------------------------------------------------------------------------------------------

void TrainBlock::setting(const ast::Setting& form, Pass& pass) {
  const ast::Name& name = form.keys.front();
  const auto* known =
      std::find_if(std::begin(keys), std::end(keys), [&](const KeyName& key) { return key.text == name.text; });
  const bool first = pass.which == Which::step;
  if (known == std::end(keys)) {
    if (!first) return;
    const auto* alias =
        std::find_if(std::begin(aliases), std::end(aliases), [&](const Alias& a) { return a.theirs == name.text; });
    std::vector<std::string> words{"metric", "output"};
    for (const KeyName& key : keys) words.emplace_back(key.text);
    std::string help = alias != std::end(aliases) ? std::string(alias->help) : did_you_mean(name.text, words);
    // What was meant by it is not missing.
    if (const auto meant = nearest_name(name.text, words))
      for (const KeyName& key : keys)
        if (key.text == *meant) meant_.insert(key.key);
    if (help.empty()) help = "a name for a value is given by `let`";
    error(Code::unknown_setting, name.span, fmt::format("train blocks have no setting `{}`", name.text), help);
    return;
  }
  if (!form.path.empty()) {
    if (first) not_built(NotBuilt::setting_path, join(name.span, form.path.back().span));
    given_.emplace(known->key, name.span);  // it is there, so nobody misses it
    return;
  }
  if (first && !given_.emplace(known->key, name.span).second) {
    error(Code::duplicate_setting, name.span, fmt::format("`{}` is given twice", name.text));
    return;
  }
  if (known->key == Key::loss) {
    if (pass.which != Which::predict) loss(form, pass);
  } else if (first) {
    plain_setting(known->key, form, pass);
  }
}

void TrainBlock::plain_setting(Key key, const ast::Setting& form, Pass& pass) {
  const Span span = form.value->span;
  switch (key) {
    case Key::loss:
      return;
    case Key::optimizer:
      optimizer_ = &form;
      return;
    case Key::batch_size: {
      const auto* word = std::get_if<ast::NameUse>(&form.value->form);
      if (word && word->name == "full")
        job_.batch_size = 0;
      else
        job_.batch_size = count(form, pass, 1).value_or(1);
      return;
    }
    case Key::shuffle:
      job_.shuffle = e_.flag(e_.evaluate(*form.value, pass.scope), span, "`shuffle`").value_or(true);
      return;
    case Key::epochs:
      job_.epochs = count(form, pass, 1).value_or(1);
      return;
    case Key::seed:
      job_.seed = static_cast<std::uint64_t>(count(form, pass, 0).value_or(0));
      return;
    case Key::check_every:
      job_.check_every = count(form, pass, 1).value_or(1);
      return;
    case Key::early_stop:
      job_.early_stop = watch(form, pass, true);
      return;
    case Key::best:
      job_.best = watch(form, pass, false);
      return;
    case Key::stop:
      job_.stop = stop_rule(form, pass);
      return;
    case Key::clip_norm:
      return not_built(NotBuilt::clip_norm, form.keys.front().span);
    case Key::average:
      return not_built(NotBuilt::average, form.keys.front().span);
  }
}

std::optional<std::int64_t> TrainBlock::count(const ast::Setting& form, Pass& pass, std::int64_t least) {
  const std::string& name = form.keys.front().text;
  const auto value = e_.whole(e_.evaluate(*form.value, pass.scope), form.value->span, fmt::format("`{}`", name));
  if (!value || *value >= least) return value;
  error(Code::bad_setting, form.value->span, fmt::format("`{}` is at least {}, not {}", name, least, *value),
        name == "batch_size" ? "`batch_size = full` takes all rows at once" : "");
  return std::nullopt;
}

void TrainBlock::loss(const ast::Setting& form, Pass& pass) {
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
  if (!e_.builder().graph().nodes[value->node.id].origin.name.empty()) {
    // It keeps the name that a `let` gave it.
  } else {
    pass.builder.name_node(value->node.id, "loss");
  }
  pass.builder.output(OutputKind::result, "loss", value->node);
  loss_ = value;
}

void TrainBlock::optimise(Pass& pass) {
  if (!optimizer_) return;
  const Term optimizer = e_.evaluate(*optimizer_->value, pass.scope);
  const bool fits = optimizer.as<std::shared_ptr<const OptimizerInstance>>();
  if (!fits && !optimizer.failed())
    error(Code::bad_setting, optimizer_->value->span,
          fmt::format("`optimizer` is an optimizer, not {}", e_.describe(optimizer)),
          "such as `optimizer = adam(lr = 1e-3)`");
  if (loss_ && fits) e_.optimise(optimizer, *loss_, optimizer_->value->span);
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

// ---- rules that watch figures --------------------------------------------------------------------------------------

/// train.loss, valid.acc: a split and a figure of it.
std::optional<std::string> TrainBlock::figure(const ast::Expr& expr) {
  const auto* member = std::get_if<ast::Member>(&expr.form);
  const auto* split = member ? std::get_if<ast::NameUse>(&member->base->form) : nullptr;
  if (!split) return std::nullopt;
  std::string name = split->name + "." + member->member.text;
  figures_.emplace_back(name, expr.span);
  return name;
}

/// lowest(valid.loss, patience = 3), highest(valid.acc).
std::optional<Watch> TrainBlock::watch(const ast::Setting& form, Pass& pass, bool patient) {
  const std::string& name = form.keys.front().text;
  const std::string example =
      patient ? "such as `early_stop = lowest(valid.loss, patience = 3)`" : "such as `best = highest(valid.acc)`";
  const auto* call = std::get_if<ast::Call>(&form.value->form);
  const auto* callee = call ? std::get_if<ast::NameUse>(&call->callee->form) : nullptr;
  const bool highest = callee && callee->name == "highest";
  if (!highest && !(callee && callee->name == "lowest"))
    return error(Code::bad_watch, form.value->span, fmt::format("`{}` is the lowest or the highest of a figure", name),
                 example),
           std::nullopt;
  Watch result{.metric = {}, .highest = highest};
  bool patience = false;
  for (const ast::Argument& argument : call->arguments) {
    if (argument.name && argument.name->text == "patience" && patient) {
      const auto value = e_.whole(e_.evaluate(*argument.value, pass.scope), argument.value->span, "`patience`");
      if (value && *value < 1)
        error(Code::bad_setting, argument.value->span, fmt::format("`patience` is at least 1, not {}", *value));
      result.patience = value.value_or(1);
      patience = true;
    } else if (argument.name) {
      const std::vector<std::string> known{"patience"};
      return error(Code::unknown_argument, argument.name->span,
                   fmt::format("`{}` of `{}` has no argument `{}`", callee->name, name, argument.name->text),
                   patient ? did_you_mean(argument.name->text, known) : "patience belongs to `early_stop`"),
             std::nullopt;
    } else if (const auto watched = result.metric.empty() ? figure(*argument.value) : std::nullopt) {
      result.metric = *watched;
    } else {
      return error(Code::bad_watch, argument.value->span, "a split and one of its figures are watched", example),
             std::nullopt;
    }
  }
  if (result.metric.empty())
    return error(Code::bad_watch, form.value->span, fmt::format("`{}` does not say what is watched", name), example),
           std::nullopt;
  if (patient && !patience)
    return error(Code::missing_argument, form.value->span, "`early_stop` does not say how long to wait", example),
           std::nullopt;
  return result;
}

/// train.loss < 1e-3, valid.acc > 0.99.
std::optional<StopBelow> TrainBlock::stop_rule(const ast::Setting& form, Pass& pass) {
  const auto* comparison = std::get_if<ast::Binary>(&form.value->form);
  const bool below =
      comparison && (comparison->op == ast::BinaryOp::less || comparison->op == ast::BinaryOp::less_equal);
  const bool above =
      comparison && (comparison->op == ast::BinaryOp::greater || comparison->op == ast::BinaryOp::greater_equal);
  const bool strict = comparison && (comparison->op == ast::BinaryOp::less || comparison->op == ast::BinaryOp::greater);
  const auto watched = (below || above) && strict ? figure(*comparison->left) : std::nullopt;
  if (!watched) return not_built(NotBuilt::stop_condition, form.value->span), std::nullopt;
  const auto bound =
      e_.number(e_.evaluate(*comparison->right, pass.scope), comparison->right->span, "the bound of `stop`");
  if (!bound) return std::nullopt;
  return StopBelow{.metric = *watched, .bound = *bound, .above = above};
}

/// A rule may watch what training computes: the training loss, and loss and metrics on valid or, without one, metrics
/// on train.
void TrainBlock::check_figures() {
  const bool has_valid =
      std::any_of(data_.job.splits.begin(), data_.job.splits.end(), [](const Split& s) { return s.name == "valid"; });
  std::vector<std::string> known{"train.loss"};
  if (has_valid) known.emplace_back("valid.loss");
  for (const std::string& metric : job_.metrics) known.push_back((has_valid ? "valid." : "train.") + metric);
  for (const auto& [name, span] : figures_) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string help = !has_valid && name.starts_with("valid.") ? fmt::format("`{}` has no split `valid`", job_.data)
                                                                : did_you_mean(name, known);
    if (help.empty()) help = fmt::format("there are {}", fmt::join(known, ", "));
    error(Code::bad_watch, span, fmt::format("there is no figure `{}` during training", name), help);
  }
}

void TrainBlock::check_missing() {
  if (declaration_.damaged) return;
  struct Required {
    Key key;
    std::string_view name, example;
  };
  constexpr Required required[] = {{Key::loss, "loss", "loss = softmax_cross_entropy(logits, y)"},
                                   {Key::optimizer, "optimizer", "optimizer = adam(lr = 1e-3)"},
                                   {Key::epochs, "epochs", "epochs = 20"}};
  std::vector<std::string> missing, examples;
  for (const Required& one : required) {
    if (given_.contains(one.key) || meant_.contains(one.key)) continue;
    missing.push_back(fmt::format("no `{}`", one.name));
    examples.push_back(fmt::format("`{}`", one.example));
  }
  if (!missing.empty())
    error(Code::missing_setting, declaration_.head, fmt::format("the train block has {}", fmt::join(missing, ", ")),
          fmt::format("such as {}", fmt::join(examples, ", ")));
}

}  // namespace

std::optional<Elaborated> elaborate_train(Elaborator& elaborator, const Module& module, const ast::Declaration& train) {
  return TrainBlock(elaborator, module, train).elaborate();
}

}  // namespace nnc
