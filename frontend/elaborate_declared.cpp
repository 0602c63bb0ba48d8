// A function, layer, model or optimizer that nothing applies is checked as it is declared: applied once to arguments
// whose dimension variables have lengths of their own, so that what agrees only by accident does not. The lengths are
// stand-ins, and messages show what they stand for. They are divisible by all small numbers, since bodies divide them;
// and what is wrong must be wrong for two choices of them, with the same code at the same place. Whether a dimension
// comes out whole depends on the numbers alone and is not judged here.
//
// A setting that is a truth value is tried with both values, also where it has one by default, one that is a string
// with every string that the body names.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "frontend/elaborator.h"
#include "frontend/modules.h"

namespace nnc {

namespace {

/// The lengths of one trial: variables are `unit` times 5, 7, 11, ..., settings small whole numbers.
struct Trial {
  std::int64_t unit;
  std::int64_t first_setting;
};
constexpr Trial trials[] = {{24, 2}, {60, 3}};
constexpr std::int64_t factors[] = {5, 7, 11, 13, 17, 19, 23, 29, 31, 37};

/// What is given for settings that have no lengths: the truth value of that number is false, the others are true.
struct Choice {
  int false_flag = -1;
  std::string text = "text";
  std::string turned{};  ///< the truth value of this name is not its default
};

/// What the check says, and what it says it of.
struct Said {
  std::vector<Diagnostic> messages{};
  std::vector<std::pair<std::string, std::int64_t>> stand_ins{};  ///< "In", 120
};

class DeclaredCheck {
 public:
  DeclaredCheck(Elaborator& elaborator, const Module& module, const Trial& trial, const Choice& choice, bool training)
      : e_(elaborator), builder_("declared"), trial_(trial), choice_(choice), scope_(module) {
    context_.builder = &builder_;
    context_.stream = "declared";
    context_.training = training;
    context_.scalars = true;
    e_.set_graph(&context_);
    Elaborator::Frame root;
    root.name = "declared";
    root.makes_instances = true;
    e_.frames().push_back(std::move(root));
    scope_.define("batch", Length{{batch_extent}});
    scope_.bind_ellipsis({Axis{{10, false}, false, nullptr, e_.standing_for("...")}});
    scope_.bind_floating(e_.default_float());
  }
  ~DeclaredCheck() {
    e_.frames().pop_back();
    e_.set_graph(nullptr);
  }
  DeclaredCheck(const DeclaredCheck&) = delete;
  DeclaredCheck& operator=(const DeclaredCheck&) = delete;

  void apply(const Declared& declared, bool scanned) {
    const ast::Declaration& declaration = *declared.declaration;
    const std::vector<Declared> self = {declared};
    if (const auto* function = std::get_if<ast::Function>(&declaration.form)) {
      if (!arguments(function->inputs)) return;
      const Term made =
          e_.apply(Callee{function->name.text, &self}, std::move(arguments_), function->name.span, scope_);
      if (!made.as<Shapeless>() || !bind(function->results.front())) return;
      if (const auto type = e_.resolve(function->results.front(), scope_))
        e_.place(made, *type, function->name.span, fmt::format("the result of `{}`", function->name.text));
    } else if (const auto* model = std::get_if<ast::Model>(&declaration.form)) {
      if (arguments(model->inputs))
        e_.apply(Callee{model->name.text, &self}, std::move(arguments_), model->name.span, scope_);
    } else if (const auto* layer = std::get_if<ast::Layer>(&declaration.form)) {
      for (const ast::Param& input : layer->inputs)
        if (input.type.tensor && !bind(input.type)) return;
      if (!arguments(layer->settings)) return;
      const Term instance =
          e_.apply(Callee{layer->name.text, &self}, std::exchange(arguments_, {}), layer->name.span, scope_);
      if (instance.failed() || !arguments(layer->inputs)) return;
      scanned ? scan(instance, layer->name.span)
              : static_cast<void>(e_.apply(instance, std::move(arguments_), layer->name.span, scope_));
    } else if (const auto* optimizer = std::get_if<ast::Optimizer>(&declaration.form)) {
      this->optimizer(*optimizer, self);
    }
  }

  const std::vector<std::pair<std::string, std::int64_t>>& stand_ins() const { return stand_ins_; }

 private:
  /// Every variable of the type has a length; false where something else must be known first.
  bool bind(const ast::TypeExpr& type) {
    for (const ast::Dim& dim : type.dims) {
      const auto* name = dim.value ? std::get_if<ast::NameUse>(&dim.value->form) : nullptr;
      if (!name || name->name[0] < 'A' || name->name[0] > 'Z' || scope_.find(name->name)) continue;
      if (variables_ == std::size(factors)) return false;
      const std::int64_t length = trial_.unit * factors[variables_++];
      stand_ins_.emplace_back(name->name, length);
      scope_.define(name->name, Length{{{length, false}, false, nullptr, e_.standing_for(name->name)}});
    }
    return true;
  }

  /// One argument for each parameter up to the first that has a default, or to the one that is not to have it.
  bool arguments(const std::vector<ast::Param>& params) {
    for (const ast::Param& param : params)
      if (param.type.tensor && !bind(param.type)) return false;
    // What comes after the first default has defaults too, or is given by name: left to uses.
    const auto turned = std::ranges::find(params, choice_.turned, [](const ast::Param& p) { return p.name.text; });
    const auto defaulted = std::ranges::find_if(params, [](const ast::Param& param) { return param.value != nullptr; });
    const auto end = turned != params.end() && turned->value ? std::next(turned) : defaulted;
    for (auto param = params.begin(); param != end; ++param) {  // lengths of tensors may be made of any of these
      const auto argument = param->value         ? std::optional<Term>(other_than_usual(*param))
                            : param->type.tensor ? std::optional<Term>(Failed{})
                                                 : setting(*param);
      if (!argument) return false;
      if (!param->type.tensor && !scope_.find(param->name.text)) scope_.define(param->name.text, *argument);
      arguments_.push_back(*argument);
    }
    for (auto param = end; param != params.end(); ++param) {  // and of what has its default, if that is known now
      if (!param->value || param->type.tensor || scope_.find(param->name.text)) continue;
      Term usual;
      e_.diagnostics.capture([&] { usual = e_.evaluate(*param->value, scope_); });
      if (usual.as<Number>()) scope_.define(param->name.text, usual);
    }
    for (auto param = params.begin(); param != end; ++param) {
      if (!param->type.tensor || param->value) continue;
      const auto argument = tensor(*param);
      if (!argument) return false;
      arguments_[static_cast<std::size_t>(param - params.begin())] = *argument;
    }
    return true;
  }

  /// Of the truth value that is turned the other one, of what stands before it the default.
  Term other_than_usual(const ast::Param& param) {
    if (param.name.text != choice_.turned) return e_.evaluate(*param.value, scope_);
    return Flag{!std::get<ast::Boolean>(param.value->form).value};
  }

  std::optional<Term> setting(const ast::Param& param) {
    using enum ast::TypeExpr::Base;
    switch (param.type.base) {
      case integer: {
        const std::int64_t value = trial_.first_setting + settings_++ % 3;
        stand_ins_.emplace_back(param.name.text, value);
        return Term(Number{static_cast<double>(value), nullptr, e_.standing_for(param.name.text)});
      }
      case floating:
        return Term(Number{0.5, nullptr, e_.standing_for(param.name.text)});
      case boolean:
        return Term(Flag{flags_++ != choice_.false_flag});
      case string:
        return Term(Text{choice_.text});
      case f32:
      case f64:
      case i32:
        break;
    }
    return std::nullopt;
  }

  /// A leaf of the declared type; a value without a shape (as initializers are) where its dimensions are not known yet.
  std::optional<Term> tensor(const ast::Param& param) {
    const bool known = std::ranges::all_of(param.type.dims, [&](const ast::Dim& dim) {
      const auto* name = dim.value ? std::get_if<ast::NameUse>(&dim.value->form) : nullptr;
      return !name || scope_.find(name->name) || scope_.module().find(name->name);
    });
    if (!known)
      return Term(Shapeless{param.name.text, [span = param.span](Elaborator& e, const ArrayType& type) -> Term {
                              const Term zero = type.dtype == DType::boolean ? Term(Flag{}) : Term(Number{});
                              const auto placed = e.place(zero, type, span, "a setting");
                              return placed ? Term(*placed) : Term(Failed{});
                            }});
    const auto type = e_.resolve(param.type, scope_);
    if (!type) return std::nullopt;
    return Term(e_.wrap(builder_.leaf(Op::input, param.name.text, e_.type_of(*type)), type->axes));
  }

  /// The first input gets an axis of steps behind its first one.
  void scan(const Term& instance, Span span) {
    const Array* first = arguments_.empty() ? nullptr : arguments_.front().as<Array>();
    if (!first || first->axes.empty()) return;
    std::vector<Axis> axes = first->axes;
    axes.insert(axes.begin() + 1, Axis{{3, false}, false, nullptr, e_.standing_for("steps")});
    const ArrayType type{first->node.type().dtype, axes};
    arguments_.front() = e_.wrap(builder_.leaf(Op::input, "sequence", e_.type_of(type)), axes);
    arguments_.insert(arguments_.begin() + 1, instance);
    CallSite site{e_, scope_, "scan", span, span, {}};
    for (Term& argument : arguments_)
      site.arguments.push_back({nullptr, nullptr, std::make_shared<Term>(std::move(argument)), span});
    e_.scan(site);
  }

  /// A parameter and its gradient: something that depends on it, and not by a linear function, since an optimizer may
  /// take derivatives of it.
  void optimizer(const ast::Optimizer& form, const std::vector<Declared>& self) {
    if (!arguments(form.settings)) return;
    const Term made = e_.apply(Callee{form.name.text, &self}, std::exchange(arguments_, {}), form.name.span, scope_);
    const auto* instance = made.as<std::shared_ptr<const OptimizerInstance>>();
    if (!instance || !arguments(form.inputs)) return;
    std::vector<Array> inputs;
    for (const Term& argument : arguments_) {
      const Array* array = argument.as<Array>();
      if (!array) return;
      inputs.push_back(*array);
      if (inputs.size() > 1 && inputs[0].node.type() == array->node.type())
        inputs.back().node = inputs[0].node * inputs[0].node;
    }
    e_.inline_optimizer(**instance, "declared", inputs);
  }

  Elaborator& e_;
  Builder builder_;
  GraphContext context_;
  Trial trial_;
  Choice choice_;
  Scope scope_;
  std::vector<Term> arguments_;
  std::vector<std::pair<std::string, std::int64_t>> stand_ins_;
  std::size_t variables_ = 0;
  std::int64_t settings_ = 0;
  int flags_ = 0;
};

/// What depends on the numbers that happen to stand for dimensions and settings is left to uses.
bool is_judged(const Diagnostic& diagnostic) {
  constexpr Code by_numbers[] = {Code::not_whole,        Code::bad_number, Code::bad_axis,
                                 Code::not_compile_time, Code::no_shape,   Code::not_as_expected};
  return (severity_of(diagnostic.code) == Severity::error || diagnostic.code == Code::chance_alignment) &&
         std::ranges::find(by_numbers, diagnostic.code) == std::end(by_numbers);
}

bool same_cause(const Diagnostic& a, const Diagnostic& b) {
  return a.code == b.code && a.primary.file == b.primary.file && a.primary.begin == b.primary.begin &&
         a.primary.end == b.primary.end;
}

const std::vector<ast::Param>* settings_of(const ast::Declaration& declaration) {
  if (const auto* function = std::get_if<ast::Function>(&declaration.form)) return &function->inputs;
  if (const auto* layer = std::get_if<ast::Layer>(&declaration.form)) return &layer->settings;
  if (const auto* optimizer = std::get_if<ast::Optimizer>(&declaration.form)) return &optimizer->settings;
  return nullptr;
}

/// The strings between the quotes of a text. (A quote inside a string is rare; the string is then cut, and not judged.)
std::set<std::string> strings_in(std::string_view text) {
  std::set<std::string> result;
  for (std::size_t begin = text.find('"'); begin != std::string_view::npos; begin = text.find('"', begin)) {
    const std::size_t end = text.find('"', begin + 1);
    if (end == std::string_view::npos) break;
    result.emplace(text.substr(begin + 1, end - begin - 1));
    begin = end + 1;
  }
  return result;
}

std::vector<Choice> choices_for(const ast::Declaration& declaration, const Diagnostics& diagnostics) {
  const std::vector<ast::Param>* settings = settings_of(declaration);
  std::vector<Choice> choices{{}};
  if (!settings) return choices;
  int flags = 0;
  bool texts = false;
  for (const ast::Param& param : *settings) {
    if (param.value && !param.type.tensor && std::holds_alternative<ast::Boolean>(param.value->form))
      choices.push_back({.turned = param.name.text});
    if (param.value) continue;
    const bool tensor = param.type.tensor;
    if (!tensor && param.type.base == ast::TypeExpr::Base::boolean) choices.push_back({.false_flag = flags++});
    texts = texts || (!tensor && param.type.base == ast::TypeExpr::Base::string);
  }
  if (!texts) return choices;
  const std::set<std::string> named = strings_in(diagnostics.text(declaration.span));
  std::vector<Choice> result;
  for (const Choice& choice : choices)
    for (const std::string& text : named) result.push_back({choice.false_flag, text, choice.turned});
  return named.empty() ? choices : result;
}

Said check(const Declared& declared, const ElaborateOptions& options, Diagnostics& diagnostics, const Trial& trial,
           const Choice& choice, bool training) {
  Said said;
  bool scanned = false;
  const auto run = [&] {
    Elaborator elaborator(diagnostics, options);
    DeclaredCheck once(elaborator, *declared.module, trial, choice, training);
    once.apply(declared, scanned);
    said.stand_ins = once.stand_ins();
    scanned = elaborator.needs_scan;
  };
  said.messages = diagnostics.capture(run);
  if (scanned) said.messages = diagnostics.capture(run);  // what it applies has a carry: it belongs into a loop
  return said;
}

/// Whether a number stands in a text as a word of its own.
bool shows(const Diagnostic& diagnostic, std::int64_t number) {
  const std::string digits = std::to_string(number);
  const auto within = [&](const std::string& text) {
    const auto is_digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
    for (std::size_t at = text.find(digits); at != std::string::npos; at = text.find(digits, at + 1))
      if ((at == 0 || !is_digit(at - 1)) && !is_digit(at + digits.size())) return true;
    return false;
  };
  return within(diagnostic.message) || within(diagnostic.primary_label) ||
         std::ranges::any_of(diagnostic.notes, within) ||
         std::ranges::any_of(diagnostic.labels, [&](const Label& label) { return within(label.text); });
}

std::string note_on(const Said& said, const Diagnostic& diagnostic, bool tested) {
  std::vector<std::string> names, values;
  for (const auto& [name, value] : said.stand_ins) {
    names.push_back(fmt::format("`{}`", name));
    if (value > 10 && shows(diagnostic, value)) values.push_back(fmt::format("{} = {}", name, value));
  }
  std::string note = tested ? "only tests apply it: where `training` is true, it is checked as declared"
                            : "nothing applies it: it is checked as declared";
  if (!names.empty()) note += fmt::format(", for any {}", fmt::join(names, ", "));
  if (!values.empty()) note += fmt::format(" (the numbers are those of {})", fmt::join(values, ", "));
  return note;
}

}  // namespace

void check_declared(const Module& module, const ast::Declaration& declaration, const ElaborateOptions& options,
                    Diagnostics& diagnostics, bool tested) {
  if (declaration.damaged) return;
  const Declared declared{&declaration, &module};
  for (const Choice& choice : choices_for(declaration, diagnostics)) {
    Said first = check(declared, options, diagnostics, trials[0], choice, true);
    if (std::ranges::none_of(first.messages, is_judged)) continue;
    const Said second = check(declared, options, diagnostics, trials[1], choice, true);
    // Tests apply it as it is where `training` is false: what is wrong there too is wrong for the stand-ins alone.
    const Said outside = tested ? check(declared, options, diagnostics, trials[0], choice, false) : Said{};
    for (Diagnostic& diagnostic : first.messages) {
      const auto same = [&](const Diagnostic& other) { return same_cause(diagnostic, other); };
      if (!is_judged(diagnostic) || std::ranges::none_of(second.messages, same) ||
          std::ranges::any_of(outside.messages, same))
        continue;
      diagnostic.notes.push_back(note_on(first, diagnostic, tested));
      diagnostics.report(std::move(diagnostic));
    }
  }
}

}  // namespace nnc
