// What the words on the left of a train block's settings mean.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/primitives.h"
#include "frontend/train_block.h"

namespace nnc {
namespace {

struct KeyName {
  std::string_view text;
  TrainKey key;
};
constexpr KeyName keys[] = {{"loss", TrainKey::loss},
                            {"optimizer", TrainKey::optimizer},
                            {"batch_size", TrainKey::batch_size},
                            {"shuffle", TrainKey::shuffle},
                            {"epochs", TrainKey::epochs},
                            {"seed", TrainKey::seed},
                            {"check_every", TrainKey::check_every},
                            {"early_stop", TrainKey::early_stop},
                            {"stop", TrainKey::stop},
                            {"best", TrainKey::best},
                            {"clip_norm", TrainKey::clip_norm},
                            {"average", TrainKey::average}};

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

/// The settings that may be about a part of the models.
bool takes_path(TrainKey key) { return key == TrainKey::loss || key == TrainKey::optimizer; }

/// The name that is called, or null.
const ast::Expr* callee_of(const ast::Expr& value) {
  const auto* call = std::get_if<ast::Call>(&value.form);
  return call && std::holds_alternative<ast::NameUse>(call->callee->form) ? call->callee.get() : nullptr;
}

/// n of steps(n), or null.
const ast::Expr* steps_of(const ast::Expr& value) {
  const auto* call = std::get_if<ast::Call>(&value.form);
  const auto* callee = call ? std::get_if<ast::NameUse>(&call->callee->form) : nullptr;
  const bool is_steps = callee && callee->name == "steps" && call->arguments.size() == 1 && !call->arguments[0].name;
  return is_steps ? call->arguments[0].value.get() : nullptr;
}

}  // namespace

void train_setting_names(std::vector<std::string>& into) {
  for (const std::string_view word : {"metric", "output"}) into.emplace_back(word);
  for (const KeyName& key : keys) into.emplace_back(key.text);
}

void TrainBlock::setting(const ast::Setting& form, Pass& pass) {
  const ast::Name& name = form.keys.front();
  const bool first = pass.which == Which::step;
  const auto* known = std::ranges::find(keys, std::string_view(name.text), &KeyName::text);
  if (known == std::end(keys)) {
    if (first) unknown_setting(name);
    return;
  }
  const TrainKey key = known->key;
  if (first && !form.path.empty() && !takes_path(key)) {
    error(Code::bad_setting, join(name.span, form.path.back().span),
          fmt::format("`{}` is about all of the training, not about a part of a model", name.text),
          "`loss` and `optimizer` may be about a part, as in `optimizer(Net.Body) = frozen`");
    return;
  }
  if (first && !given_.emplace(key, name.span).second && !takes_path(key)) {
    error(Code::duplicate_setting, name.span, fmt::format("`{}` is given twice", name.text));
    return;
  }
  if (key == TrainKey::loss) {
    if (pass.which != Which::predict) loss(form, pass);
  } else if (first) {
    plain_setting(key, form, pass);
  }
}

void TrainBlock::unknown_setting(const ast::Name& name) {
  const auto* alias = std::ranges::find(aliases, std::string_view(name.text), &Alias::theirs);
  std::vector<std::string> words;
  train_setting_names(words);
  std::string help = alias != std::end(aliases) ? std::string(alias->help) : did_you_mean(name.text, words);
  // What was meant by it is not missing.
  if (const auto meant = nearest_name(name.text, words))
    for (const KeyName& key : keys)
      if (key.text == *meant) meant_.insert(key.key);
  if (help.empty()) help = "a name for a value is given by `let`";
  error(Code::unknown_setting, name.span, fmt::format("train blocks have no setting `{}`", name.text), help);
}

void TrainBlock::plain_setting(TrainKey key, const ast::Setting& form, Pass& pass) {
  const Span span = form.value->span;
  switch (key) {
    case TrainKey::loss:
      return;
    case TrainKey::optimizer:
      return;  // when all gradients are there
    case TrainKey::batch_size: {
      const auto* word = std::get_if<ast::NameUse>(&form.value->form);
      if (word && word->name == "full")
        job_.batch_size = 0;
      else if (!word || !told_slip(*word, span, "full", pass))
        job_.batch_size = count(form, *form.value, pass, 1).value_or(1);
      return;
    }
    case TrainKey::shuffle:
      job_.shuffle = e_.flag(e_.evaluate(*form.value, pass.scope), span, "`shuffle`").value_or(true);
      return;
    case TrainKey::epochs:
      job_.epochs = count(form, *form.value, pass, 1).value_or(1);
      return;
    case TrainKey::seed:
      job_.seed = static_cast<std::uint64_t>(count(form, *form.value, pass, 0).value_or(0));
      return;
    case TrainKey::check_every:
      if (const ast::Expr* steps = steps_of(*form.value))
        job_.check_every_steps = count(form, *steps, pass, 1).value_or(1);
      else if (const ast::Expr* callee = callee_of(*form.value);
               !callee || !told_slip(std::get<ast::NameUse>(callee->form), callee->span, "steps", pass))
        job_.check_every = count(form, *form.value, pass, 1).value_or(1);
      return;
    case TrainKey::early_stop:
      job_.early_stop = watch(form, pass, true);
      return;
    case TrainKey::best:
      job_.best = watch(form, pass, false);
      return;
    case TrainKey::stop:
      job_.stop = stop_rule(form, pass);
      return;
    case TrainKey::clip_norm:
      clip_norm_ = &form;
      return;
    case TrainKey::average:
      average_ = &form;
      return;
  }
}

/// Words such as `full` are no values, so the names of values do not offer them: where something near to one stands
/// that means nothing else here (`step` is a number only while training goes), it is told.
bool TrainBlock::told_slip(const ast::NameUse& use, Span span, const std::string& word, Pass& pass) {
  const bool means_something = pass.scope.find(use.name) || module_.find(use.name) ||
                               (find_primitive(use.name) && !is_run_time_scalar(use.name));
  const std::vector<std::string> words{word};
  const std::string help = means_something ? "" : did_you_mean(use.name, words);
  if (!help.empty()) error(Code::unknown_name, span, fmt::format("there is no {}", backquoted(use.name)), help);
  return !help.empty();
}

std::optional<std::int64_t> TrainBlock::count(const ast::Setting& form, const ast::Expr& written, Pass& pass,
                                              std::int64_t least) {
  const std::string& name = form.keys.front().text;
  const auto value = e_.whole(e_.evaluate(written, pass.scope), written.span, fmt::format("`{}`", name));
  if (!value || *value >= least) return value;
  error(Code::bad_setting, written.span, fmt::format("`{}` is at least {}, not {}", name, least, *value),
        name == "batch_size" ? "`batch_size = full` takes all rows at once" : "");
  return std::nullopt;
}

/// Where a `let` of the block gives this name.
const Span* TrainBlock::find_let(std::string_view name) const {
  for (const ast::Item& item : train_.items)
    if (const auto* let = std::get_if<ast::Let>(&item.form))
      for (const ast::Name& bound : let->names)
        if (bound.text == name) return &bound.span;
  return nullptr;
}

void TrainBlock::check_missing() {
  if (declaration_.damaged) return;
  struct Required {
    TrainKey key;
    std::string_view name, example;
  };
  constexpr Required required[] = {{TrainKey::loss, "loss", "loss = softmax_cross_entropy(logits, y)"},
                                   {TrainKey::optimizer, "optimizer", "optimizer = adam(lr = 1e-3)"},
                                   {TrainKey::epochs, "epochs", "epochs = 20"}};
  std::vector<std::string> missing, examples;
  for (const Required& one : required) {
    if (given_.contains(one.key) || meant_.contains(one.key)) continue;
    if (const Span* let = find_let(one.name)) {
      error(Code::missing_setting, *let, fmt::format("`let {0}` names a value, and `{0}` is a setting", one.name),
            fmt::format("without `let`: `{} = ...`", one.name));
      continue;
    }
    missing.push_back(fmt::format("no `{}`", one.name));
    examples.push_back(fmt::format("`{}`", one.example));
  }
  if (!missing.empty())
    error(Code::missing_setting, declaration_.head, fmt::format("the train block has {}", fmt::join(missing, ", ")),
          fmt::format("such as {}", fmt::join(examples, ", ")));
}

}  // namespace nnc
