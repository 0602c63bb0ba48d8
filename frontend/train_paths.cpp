// optimizer(Net.Body) = frozen, loss(Gen) = ...: a setting may be about a part of the models. What a parameter obeys is
// the setting with the longest path that it lies under; one without a path is for everything. Where the optimizer of an
// instance is `frozen`, `training` is false in it, so paths are read before anything is elaborated and checked
// against the instances and parameters that there are once the step is.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/train_block.h"

namespace nnc {
namespace {

/// Whether `path` is `above` or lies below it.
bool is_under(const std::string& path, const std::string& above) {
  return above.empty() || path == above || path.starts_with(above + ".");
}

std::string text_of(const ast::Path& path) {
  std::string text;
  for (const ast::Name& name : path) text += (text.empty() ? "" : ".") + name.text;
  return text;
}

}  // namespace

/// Losses and optimizers by their paths, in the order of the file.
void TrainBlock::find_governors() {
  for (const ast::Item& item : train_.items) {
    const auto* form = std::get_if<ast::Setting>(&item.form);
    const std::string word = form ? form->keys.front().text : "";
    if (word != "loss" && word != "optimizer") continue;
    const auto path = resolve_path(*form);
    if (!path) continue;
    std::vector<Governor>& all = word == "loss" ? losses_ : optimizers_;
    const std::string written = text_of(form->path);
    const Span head = form->keys.front().span;
    const Span span = form->path.empty() ? head : join(head, form->path.back().span);
    if (std::ranges::find(all, *path, &Governor::path) != all.end()) {
      error(Code::duplicate_setting, span,
            fmt::format("`{}` is given twice", written.empty() ? word : fmt::format("{}({})", word, written)));
      continue;
    }
    all.push_back({.path = *path,
                   .written = written,
                   .form = form,
                   .span = span,
                   .name = path->empty() ? word : fmt::format("{}({})", word, written),
                   .frozen = word == "optimizer" && names_frozen(*form->value),
                   .value = {}});
  }
}

/// The path as parameters have it: below the model, or with its name in front where there are several.
std::optional<std::string> TrainBlock::resolve_path(const ast::Setting& form) {
  if (form.path.empty()) return "";
  const ast::Name& model = form.path.front();
  const auto known = model_paths_.find(model.text);
  if (known == model_paths_.end()) {
    std::vector<std::string> names;
    for (const auto& [name, path] : model_paths_) names.push_back(name);
    std::string help = did_you_mean(model.text, names);
    if (help.empty()) help = fmt::format("a path begins with a model of this block: {}", fmt::join(names, ", "));
    error(Code::unknown_name, model.span, fmt::format("`{}` is no model that is trained here", model.text), help);
    return std::nullopt;
  }
  std::string path = known->second;
  for (std::size_t i = 1; i < form.path.size(); ++i) path += (path.empty() ? "" : ".") + form.path[i].text;
  return path;
}

const TrainBlock::Governor* TrainBlock::governor(const std::vector<Governor>& all, const std::string& path) const {
  const Governor* nearest = nullptr;
  for (const Governor& one : all)
    if (is_under(path, one.path) && (!nearest || one.path.size() >= nearest->path.size())) nearest = &one;
  return nearest;
}

bool TrainBlock::is_frozen(const std::string& path) const {
  const Governor* optimizer = governor(optimizers_, path);
  return optimizer && optimizer->frozen;
}

/// `frozen` or `frozen()`, the library's.
bool TrainBlock::names_frozen(const ast::Expr& value) const {
  const auto* call = std::get_if<ast::Call>(&value.form);
  const auto* use = std::get_if<ast::NameUse>(call ? &call->callee->form : &value.form);
  const std::vector<Declared>* declared = use && use->name == "frozen" ? module_.find(use->name) : nullptr;
  return declared && declared->front().module->library;
}

void TrainBlock::check_paths() {
  for (const std::vector<Governor>* all : {&losses_, &optimizers_})
    for (const Governor& governor : *all) check_path(governor);
}

/// Every part of a path names an instance or a parameter that the step made.
void TrainBlock::check_path(const Governor& governor) {
  if (governor.path.empty()) return;
  std::vector<std::string> known(e_.instances().begin(), e_.instances().end());
  for (const Variable& variable : e_.variables())
    if (!variable.is_state) known.push_back(variable.path);
  const ast::Path& written = governor.form->path;
  std::string above = model_paths_.at(written.front().text);
  for (std::size_t i = 1; i < written.size(); ++i) {
    const std::string path = (above.empty() ? "" : above + ".") + written[i].text;
    if (std::ranges::none_of(known, [&](const std::string& one) { return is_under(one, path); })) {
      std::vector<std::string> parts;
      for (const std::string& one : known) {
        if (!is_under(one, above) || one == above) continue;
        const std::string rest = one.substr(above.empty() ? 0 : above.size() + 1);
        if (const std::string part = rest.substr(0, rest.find('.')); std::ranges::find(parts, part) == parts.end())
          parts.push_back(part);
      }
      std::string help = did_you_mean(written[i].text, parts);
      if (help.empty() && !parts.empty()) help = fmt::format("there are {}", fmt::join(parts, ", "));
      error(Code::unknown_name, written[i].span,
            fmt::format("`{}` has no part or parameter {}", text_of({written.begin(), written.begin() + i}),
                        backquoted(written[i].text)),
            help);
      return;
    }
    above = path;
  }
}

}  // namespace nnc
