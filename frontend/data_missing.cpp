// missing = ...: what stands for a value that a file does not have; unknown = ...: for one that is none of the classes
// that were learnt. Numbers arrive as NaN (i32: as the least one) and
// the feed graph puts something there, the number that is written or a state that is learnt from the rows of `fit`; so
// prediction and compiled feeds fill in the same. For a class the loader puts one there.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "frontend/data_block.h"

namespace nnc {

namespace {

struct Way {
  std::string_view name;
  Missing::By by;
};
constexpr Way ways[] = {
    {"mean", Missing::By::mean}, {"median", Missing::By::median}, {"most_frequent", Missing::By::most_frequent}};

}  // namespace

/// The argument `missing = mean`, `median`, `most_frequent`, a number, or a word of a column of classes.
std::optional<Missing> DataBlock::missing(CallSite& site, std::size_t index) {
  const CallArgument& argument = site.arguments[index];
  const auto* use = argument.expr ? std::get_if<ast::NameUse>(&argument.expr->form) : nullptr;
  if (use) {
    const auto* way = std::ranges::find(ways, use->name, &Way::name);
    if (way != std::end(ways)) return Missing{.by = way->by, .number = 0, .word = {}};
    std::vector<std::string> names;
    for (const Way& known : ways) names.emplace_back(known.name);
    if (const std::string help = did_you_mean(use->name, names); !help.empty())
      return error(Code::bad_column, argument.span, fmt::format("`missing` has no way `{}`", use->name), help),
             std::nullopt;
  }
  const Term term = site.evaluate(index);
  if (term.failed()) return failed_ = true, std::nullopt;
  if (const Text* text = term.as<Text>()) {
    if (!text->value.empty()) return Missing{.by = Missing::By::word, .number = 0, .word = text->value};
  } else if (term.as<Number>()) {
    const auto value = e_.number(term, argument.span, "`missing`");
    if (value && std::isfinite(*value)) return Missing{.by = Missing::By::number, .number = *value, .word = {}};
  }
  return error(Code::bad_column, argument.span,
               "`missing` is `mean`, `median`, `most_frequent`, a number, or the name of a class",
               "such as `col(\"age\", missing = median)` or `classes(col(\"city\", missing = \"unknown\"))`"),
         std::nullopt;
}

/// The argument `unknown = most_frequent`, or a word of a column of classes.
std::optional<Missing> DataBlock::unknown(CallSite& site, std::size_t index) {
  const CallArgument& argument = site.arguments[index];
  const auto* use = argument.expr ? std::get_if<ast::NameUse>(&argument.expr->form) : nullptr;
  if (use && use->name == "most_frequent") return Missing{.by = Missing::By::most_frequent, .number = 0, .word = {}};
  const std::vector<std::string> names{"most_frequent"};
  if (const std::string help = use ? did_you_mean(use->name, names) : ""; !help.empty())
    return error(Code::bad_column, argument.span, fmt::format("`unknown` has no way `{}`", use->name), help),
           std::nullopt;
  const bool other_way = use && std::ranges::find(ways, use->name, &Way::name) != std::end(ways);
  const Term term = other_way ? Term(Number{0}) : site.evaluate(index);
  if (term.failed()) return failed_ = true, std::nullopt;
  if (const Text* text = term.as<Text>(); text && !text->value.empty())
    return Missing{.by = Missing::By::word, .number = 0, .word = text->value};
  return error(Code::bad_column, argument.span, "`unknown` is `most_frequent` or the name of a class",
               "such as `classes(col(\"city\", unknown = \"other\"))`"),
         std::nullopt;
}

/// Whether what is asked for is a value of that column.
bool DataBlock::fits_missing(const RawColumns& columns, const Type& type) {
  using enum Missing::By;
  const Missing& missing = columns.missing;
  const bool averaged = missing.by == mean || missing.by == median;
  if (columns.unknown.asked() && !columns.classes) {
    error(Code::bad_column, columns.span, "`unknown` is about a value that is no class, and these are numbers",
          "it goes with `classes(col(...))`; what stands for a number that is missing is said by `missing`");
    return false;
  }
  if (columns.classes) {
    if (missing.by == number)
      error(Code::bad_column, columns.span, "the name of a class is a word",
            fmt::format("`missing = \"{}\"` says which class stands for a value that is missing", missing.number));
    else if (averaged)
      error(Code::bad_column, columns.span, "classes have no mean and no median",
            "`missing = most_frequent`, or `missing = \"unknown\"` for a class of its own");
    return missing.by != number && !averaged;
  }
  if (missing.by == word) {
    error(Code::bad_column, columns.span, "a word stands for a class that is missing, not for a number",
          "the words of a column are numbered by `classes(col(...))`");
    return false;
  }
  if (type.dtype == DType::i32 && averaged) {
    error(Code::bad_column, columns.span, "a mean or a median need not be a whole number, and this column is i32",
          "`missing = most_frequent`, or a number; or read the column as f32");
    return false;
  }
  if (type.dtype == DType::i32 && missing.by == number && !fits_i32(missing.number)) {
    error(Code::bad_column, columns.span, fmt::format("{} is no number of type i32", missing.number));
    return false;
  }
  return true;
}

/// The input with something where it is missing: `raw` is a leaf of the feed graph, of type [batch, ...].
Term DataBlock::filled(Value raw, const RawColumn& column, const ArrayType& type) {
  if (column.classes || !column.missing.asked()) return e_.wrap(raw, type.axes);
  const DType dtype = column.type.dtype;
  Value stands = feed_.constant(column.missing.number, dtype);
  if (column.missing.learnt()) {
    const Type row{dtype, {column.type.shape.begin() + 1, column.type.shape.end()}};
    const std::string path = missing_path(column.input);
    if (!e_.declare_variable(path, {dtype, {type.axes.begin() + 1, type.axes.end()}}, true, raw_spans_.back(),
                             [] { return Term(Failed{}); }))
      return failed_ = true, Failed{};
    stands = feed_.leaf(Op::state, path, row);
  }
  const Value least = feed_.constant(std::numeric_limits<std::int32_t>::min(), dtype);
  const Value there = dtype == DType::i32 ? apply(Op::less, least, raw) : apply(Op::equal, raw, raw);
  return e_.wrap(feed_.select(there, raw, feed_.spread(stands, column.type.shape)), type.axes);
}

}  // namespace nnc
