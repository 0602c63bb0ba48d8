// Rules that watch figures: `early_stop` and `best` one of them, `stop` a condition over several. A figure is written
// train.loss, valid.acc, valid.loss(Gen); a condition may also name `epoch` and `step`.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/train_block.h"

namespace nnc {
namespace {

/// What a stop rule may compute. The operators that are left out (`//`, `@`) mean nothing for figures.
std::optional<Rule::Kind> kind_of(ast::BinaryOp op) {
  using enum ast::BinaryOp;
  switch (op) {
    case logical_or:
      return Rule::Kind::logical_or;
    case logical_and:
      return Rule::Kind::logical_and;
    case equal:
      return Rule::Kind::equal;
    case not_equal:
      return Rule::Kind::not_equal;
    case less:
      return Rule::Kind::less;
    case less_equal:
      return Rule::Kind::less_equal;
    case greater:
      return Rule::Kind::greater;
    case greater_equal:
      return Rule::Kind::greater_equal;
    case add:
      return Rule::Kind::add;
    case subtract:
      return Rule::Kind::subtract;
    case multiply:
      return Rule::Kind::multiply;
    case divide:
      return Rule::Kind::divide;
    case power:
      return Rule::Kind::power;
    case floor_divide:
    case matmul:
      return std::nullopt;
  }
  return std::nullopt;
}

bool is_split(const std::string& name) { return name == "train" || name == "valid" || name == "test"; }

/// Figures that training itself counts.
bool is_counter(const ast::Expr& expr) {
  const auto* use = std::get_if<ast::NameUse>(&expr.form);
  return use && (use->name == "epoch" || use->name == "step");
}

}  // namespace

/// train.loss, valid.acc, valid.loss(Gen): a split and a figure of it.
std::optional<std::string> TrainBlock::figure(const ast::Expr& expr) {
  const auto* call = std::get_if<ast::Call>(&expr.form);
  const auto* member = std::get_if<ast::Member>(call ? &call->callee->form : &expr.form);
  const auto* split = member ? std::get_if<ast::NameUse>(&member->base->form) : nullptr;
  if (!split) return std::nullopt;
  std::string name = split->name + "." + member->member.text;
  if (call && call->arguments.size() == 1) name += fmt::format("({})", e_.source(call->arguments[0].value->span));
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
  if (!highest && !(callee && callee->name == "lowest")) {
    const std::vector<std::string> known{"lowest", "highest"};
    const std::string meant = callee ? did_you_mean(callee->name, known) : "";
    return error(Code::bad_watch, form.value->span, fmt::format("`{}` is the lowest or the highest of a figure", name),
                 meant.empty() ? example : meant),
           std::nullopt;
  }
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

// ---- stop ----------------------------------------------------------------------------------------------------------

/// Whether an expression names a figure, so that it is known only as training goes.
bool TrainBlock::watches(const ast::Expr& expr) const {
  if (is_counter(expr)) return true;
  if (const auto* member = std::get_if<ast::Member>(&expr.form)) {
    const auto* split = std::get_if<ast::NameUse>(&member->base->form);
    static const std::vector<std::string> splits{"train", "valid", "test"};  // nothing else here has a point in it
    return split && (is_split(split->name) || nearest_name(split->name, splits));
  }
  if (const auto* call = std::get_if<ast::Call>(&expr.form))
    return watches(*call->callee) || std::ranges::any_of(call->arguments, [&](const ast::Argument& argument) {
             return watches(*argument.value);
           });
  if (const auto* unary = std::get_if<ast::Unary>(&expr.form)) return watches(*unary->operand);
  if (const auto* binary = std::get_if<ast::Binary>(&expr.form))
    return watches(*binary->left) || watches(*binary->right);
  return false;
}

/// train.loss < 1e-3, valid.acc > 0.99 and epoch >= 5, valid.loss > 1.2 * train.loss.
std::optional<Rule> TrainBlock::stop_rule(const ast::Setting& form, Pass& pass) {
  const ast::Expr& expr = *form.value;
  auto result = watches(expr) ? rule(expr, pass) : std::nullopt;
  if (watches(expr) && (!result || is_condition(result->kind))) return result;
  return error(Code::bad_watch, expr.span, "`stop` is a condition on figures",
               "such as `stop = train.loss < 1e-3 or epoch >= 50`"),
         std::nullopt;
}

std::optional<Rule> TrainBlock::rule(const ast::Expr& expr, Pass& pass) {
  if (!watches(expr)) {
    const auto value = e_.number(e_.evaluate(expr, pass.scope), expr.span, "what `stop` compares with");
    return value ? std::optional(Rule{.kind = Rule::Kind::number, .value = *value, .figure = {}, .operands = {}})
                 : std::nullopt;
  }
  if (is_counter(expr))
    return Rule{
        .kind = Rule::Kind::figure, .value = 0, .figure = std::get<ast::NameUse>(expr.form).name, .operands = {}};
  if (const auto watched = figure(expr))
    return Rule{.kind = Rule::Kind::figure, .value = 0, .figure = *watched, .operands = {}};
  std::vector<const ast::Expr*> written;
  std::optional<Rule::Kind> kind;
  if (const auto* binary = std::get_if<ast::Binary>(&expr.form)) {
    kind = kind_of(binary->op);
    written = {binary->left.get(), binary->right.get()};
  } else if (const auto* unary = std::get_if<ast::Unary>(&expr.form)) {
    kind = unary->op == ast::UnaryOp::negate ? Rule::Kind::negate : Rule::Kind::logical_not;
    written = {unary->operand.get()};
  }
  if (!kind)
    return error(Code::bad_watch, expr.span, "`stop` does not compute this",
                 "it compares figures, `epoch` and `step` by + - * / ^, < <= == != > >=, and, or, not"),
           std::nullopt;
  Rule result{.kind = *kind, .value = 0, .figure = {}, .operands = {}};
  for (const ast::Expr* operand : written) {
    auto made = rule(*operand, pass);
    if (!made) return std::nullopt;
    const bool wants_condition = combines_conditions(*kind);
    if (wants_condition != is_condition(made->kind))
      return error(Code::bad_watch, operand->span,
                   wants_condition ? "a condition is needed here, and this is a number"
                                   : "a number is needed here, and this is a condition",
                   "such as `stop = train.loss < 1e-3 or epoch >= 50`"),
             std::nullopt;
    result.operands.push_back(std::move(*made));
  }
  return result;
}

// ---- which figures there are ---------------------------------------------------------------------------------------

/// A rule may watch what training computes: the training losses, and losses and metrics on valid or, without one,
/// metrics on train. It watches numbers.
void TrainBlock::check_figures(const Graph& evaluate) {
  if (data_.failed || declaration_.damaged) return;  // a split or a metric that is missing may be among what failed
  const bool has_valid =
      std::ranges::any_of(data_.job.splits, [](const Split& split) { return split.name == "valid"; });
  std::vector<std::string> known;
  for (const Governor& loss : losses_) known.push_back("train." + loss.name);
  if (has_valid)
    for (const Governor& loss : losses_) known.push_back("valid." + loss.name);
  for (const std::string& metric : job_.metrics) known.push_back((has_valid ? "valid." : "train.") + metric);
  for (const auto& [name, span] : figures_) {
    if (losses_.empty() && (name == "train.loss" || name == "valid.loss")) continue;  // that there is none was told
    if (std::ranges::find(known, name) == known.end()) {
      std::string help = !has_valid && name.starts_with("valid.") ? fmt::format("`{}` has no split `valid`", job_.data)
                                                                  : did_you_mean(name, known);
      if (help.empty()) help = fmt::format("there {} {}", known.size() == 1 ? "is" : "are", fmt::join(known, ", "));
      error(Code::bad_watch, span, fmt::format("there is no figure `{}` during training", name), help);
      continue;
    }
    const auto made = std::ranges::find(evaluate.outputs, name.substr(name.find('.') + 1), &Output::name);
    if (made == evaluate.outputs.end() || element_count(evaluate[made->node].type.shape) == Extent{1, false}) continue;
    error(Code::bad_watch, span,
          fmt::format("`{}` is {}, and a rule watches one number", name, to_string(evaluate[made->node].type)));
  }
}

}  // namespace nnc
