// How the elaborator speaks: where an error is shown, how a value is described, how an axis tells where its length is
// from.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "frontend/elaborator.h"
#include "frontend/newcomers.h"
#include "ir/nearest.h"

namespace nnc {

namespace {

constexpr std::size_t longest_source = 48;
constexpr int longest_story = 8;
constexpr std::uint32_t program_file = 0;  ///< the one that was asked for is read first

}  // namespace

bool Elaborator::in_library(Span span) const { return diagnostics.file(span.file).library; }

std::string Elaborator::source(Span span) const {
  std::string line;
  for (char c : diagnostics.text(span)) {
    const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (!blank)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  if (line.size() <= longest_source) return line;
  std::size_t cut = longest_source - 3;
  while (cut > 0 && (line[cut] & 0xC0) == 0x80) --cut;  // not inside a code point
  return line.substr(0, cut) + "...";
}

std::string Elaborator::place_text(Span span) const {
  const auto [line, column] = diagnostics.position(span.file, span.begin);
  if (span.file == program_file) return fmt::format("{}:{}", line, column);
  return fmt::format("{}:{}:{}", diagnostics.file(span.file).path, line, column);
}

Origin Elaborator::origin(Span span) {
  for (auto frame = frames_.rbegin(); in_library(span) && frame != frames_.rend(); ++frame) span = frame->call;
  const auto [line, column] = diagnostics.position(span.file, span.begin);
  return {.name = {}, .file = span.file, .line = line, .column = column};
}

Failed Elaborator::report(Diagnostic diagnostic) {
  // The innermost frame that the user wrote is where the message belongs; the library's own line is a note.
  if (in_library(diagnostic.primary)) {
    const Span inside = diagnostic.primary;
    const auto frame =
        std::ranges::find_if(frames_.rbegin(), frames_.rend(), [&](const Frame& at) { return !in_library(at.call); });
    if (frame != frames_.rend()) {
      diagnostic.primary = frame->call;
      diagnostic.primary_label = fmt::format("in this use of `{}`", frame->name);
      diagnostic.notes.push_back(fmt::format("in the library, {}: `{}`", place_text(inside), source(inside)));
    }
  }
  std::erase_if(diagnostic.labels, [&](const Label& label) { return in_library(label.span); });
  for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
    if (in_library(frame->call) || !frame->declaration || in_library(frame->declaration->span)) continue;
    if (std::holds_alternative<ast::Model>(frame->declaration->form)) continue;  // has one use, as a rule
    const Span call = frame->call, own = frame->declaration->span;
    const bool as_declared = call.file == own.file && call.begin >= own.begin && call.end <= own.end;
    const bool here = call.file == diagnostic.primary.file && call.begin == diagnostic.primary.begin;
    if (as_declared || here) continue;
    diagnostic.notes.push_back(fmt::format("in `{}`, applied at {}", frame->name, place_text(frame->call)));
    break;
  }
  diagnostics.report(std::move(diagnostic));
  return {};
}

Failed Elaborator::error(Code code, Span span, std::string message, std::string label, std::string help) {
  return report({.code = code,
                 .message = std::move(message),
                 .primary = span,
                 .primary_label = std::move(label),
                 .help = std::move(help)});
}

Failed Elaborator::unknown_name(Span span, const std::string& what, const std::string& name,
                                const std::vector<std::string>& known) {
  return error(Code::unknown_name, span,
               fmt::format("there is no {}{}", what.empty() ? "" : what + " ", backquoted(name)), "",
               what.empty() ? repair_of_name(name, known) : did_you_mean(name, known));
}

Failed Elaborator::unknown_part(Span span, const std::string& whole, const std::string& name,
                                std::vector<std::string> known) {
  std::ranges::sort(known);
  const auto again = std::ranges::unique(known);
  known.erase(again.begin(), again.end());
  std::string help = did_you_mean(name, known);
  if (help.empty() && !known.empty() && known.size() <= 8)
    help = fmt::format("there {} {}", known.size() == 1 ? "is" : "are", fmt::join(known, ", "));
  if (known.empty()) help = "its parameters and states are known once it is applied";
  return error(Code::unknown_name, span, fmt::format("`{}` has no part or parameter {}", whole, backquoted(name)), "",
               std::move(help));
}

namespace {

/// What a length stands for where it is not meant as a number; else empty.
std::string stand_in_name(const AxisId* id) {
  for (; id; id = id->twin_of)
    if (!id->stands_for.empty()) return id->stands_for;
  return "";
}

}  // namespace

const AxisId* Elaborator::standing_for(std::string name) {
  return &axis_ids_.emplace_back(AxisId{nullptr, {}, std::move(name)});
}

const AxisId* Elaborator::combined(const std::string& shown, std::span<const Term> numbers) {
  const auto name = [](const Term& term) {
    const Number* number = term.as<Number>();
    return number ? stand_in_name(number->id) : "";
  };
  if (std::ranges::all_of(numbers, [&](const Term& term) { return name(term).empty(); })) return nullptr;
  std::vector<std::string> parts;
  for (const Term& term : numbers) {
    const Number* number = term.as<Number>();
    if (!number) return nullptr;
    parts.push_back(name(term).empty() ? fmt::format("{}", number->value) : name(term));
  }
  const bool is_word = !shown.empty() && std::isalpha(static_cast<unsigned char>(shown[0]));
  if (is_word) return standing_for(fmt::format("{}({})", shown, fmt::join(parts, ", ")));
  for (std::string& part : parts)
    if (part.find(' ') != std::string::npos) part = fmt::format("({})", part);
  if (parts.size() == 1) return standing_for(shown + parts[0]);
  return standing_for(fmt::format("{}", fmt::join(parts, " " + shown + " ")));
}

std::string Elaborator::length(const Axis& axis) const {
  if (axis.stretch) return "_";
  const std::string name = axis.extent.batched ? "" : stand_in_name(axis.id);
  return name.empty() ? to_string(axis.extent) : name;
}

std::string Elaborator::describe(const std::vector<Axis>& axes) const {
  std::string text;
  for (std::size_t i = static_cast<std::size_t>(hidden_axes(axes)); i < axes.size(); ++i)
    text += (text.empty() ? "" : ", ") + length(axes[i]);
  return text;
}

std::string Elaborator::describe(const ArrayType& type) const {
  return fmt::format("{}[{}]", name_of(type.dtype), describe(type.axes));
}

std::string Elaborator::describe(const Term& term) const {
  struct Visitor {
    const Elaborator& e;
    std::string operator()(const Failed&) { return "an error"; }
    std::string operator()(const Number& number) {
      const std::string name = stand_in_name(number.id);
      return name.empty() ? fmt::format("the number {}", number.value) : fmt::format("the number `{}`", name);
    }
    std::string operator()(const Flag& known) { return known.value ? "true" : "false"; }
    std::string operator()(const Text& known) { return fmt::format("the string \"{}\"", known.value); }
    std::string operator()(const Scalar& scalar) {
      return scalar.node.type().dtype == DType::boolean ? "a condition known at run time"
                                                        : "a number known at run time";
    }
    std::string operator()(const Length& length) { return fmt::format("the dimension {}", e.length(length.axis)); }
    std::string operator()(const Array& array) { return e.describe(ArrayType{array.node.type().dtype, array.axes}); }
    std::string operator()(const Shapeless& shapeless) {
      return fmt::format("`{}` (a value without a shape)", shapeless.what);
    }
    std::string operator()(const List& list) { return fmt::format("a list of {}", list.elements.size()); }
    std::string operator()(const Several& several) { return fmt::format("{} results", several.values.size()); }
    std::string operator()(const Callee& callee) {
      const auto& form = callee.overloads->front().declaration->form;
      const char* kind = std::holds_alternative<ast::Layer>(form)       ? "layer"
                         : std::holds_alternative<ast::Model>(form)     ? "model"
                         : std::holds_alternative<ast::Optimizer>(form) ? "optimizer"
                                                                        : "function";
      return fmt::format("the {} `{}`", kind, callee.name);
    }
    std::string operator()(const std::shared_ptr<const Instance>& instance) {
      return fmt::format("the instance `{}`", instance->shown);
    }
    std::string operator()(const std::shared_ptr<const OptimizerInstance>&) { return "an optimizer"; }
    std::string operator()(const std::shared_ptr<const HostFunction>& host) {
      return fmt::format("the function `{}`", host->name);
    }
    std::string operator()(const Host& host) { return host.what; }
  };
  return std::visit(Visitor{*this}, term.value);
}

const Provenance* Elaborator::because(std::string variable, std::string text, Span span, const Provenance* from) {
  return &provenance_.emplace_back(Provenance{std::move(variable), std::move(text), span, from});
}

std::string Elaborator::story(const Axis& axis) const {
  const std::string text = length(axis);
  const bool named = axis.from && !axis.from->variable.empty() && axis.from->variable != text;
  return (named ? axis.from->variable + " = " + text : text) + story(axis.from);
}

std::string Elaborator::story(const Provenance* from) const {
  std::string text;
  int steps = 0;
  for (; from; from = from->from) {
    if (++steps > longest_story) return text + " <- ...";
    text += fmt::format(" <- {} {}", from->text, place_text(from->span));
  }
  return text;
}

}  // namespace nnc
