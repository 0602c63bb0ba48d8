// Columns of a file as values: col, cols, classes, one_hot. They become inputs of the feed graph where their type is
// known.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/data_block.h"

namespace nnc {

Term RawColumns::operator()(Elaborator& e, const ArrayType& type) const { return block->raw_columns(e, *this, type); }

/// The one column that an argument is: `col("species")` or `"species"`.
std::optional<RawColumns> DataBlock::one_column(CallSite& site, std::size_t index) {
  const Term term = site.evaluate(index);
  if (const Text* text = term.as<Text>())
    return RawColumns{.block = this, .columns = {text->value}, .except = {}, .from = {}, .to = {}, .span = site.span};
  const Shapeless* shapeless = term.as<Shapeless>();
  const RawColumns* raw = shapeless ? shapeless->make.target<RawColumns>() : nullptr;
  if (raw && raw->columns.size() == 1) return *raw;
  if (!term.failed())
    error(Code::bad_column, site.arguments[index].span, "one column is needed here", "such as `col(\"species\")`");
  failed_ = true;
  return std::nullopt;
}

/// Its name, where nothing else of it counts: `by = col("species")`.
std::optional<std::string> DataBlock::column_name(CallSite& site, std::size_t index) {
  const auto column = one_column(site, index);
  if (!column) return std::nullopt;
  if (!column->missing.asked() && !column->unknown.asked()) return column->columns[0];
  error(Code::bad_column, site.arguments[index].span, "rows are told apart by what their file says",
        column->missing.asked() ? "leave out `missing`: rows without a value are a group of their own"
                                : "leave out `unknown`: each value is a group of its own");
  return std::nullopt;
}

/// col("age"), col("age", missing = median), col("city", unknown = "other").
Term DataBlock::col(CallSite& site) {
  RawColumns result{.block = this, .columns = {}, .except = {}, .from = {}, .to = {}, .span = site.span};
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    const CallArgument& argument = site.arguments[i];
    if (argument.name && argument.name->text == "missing") {
      const auto missing = this->missing(site, i);
      if (!missing) return failed_ = true, Failed{};
      result.missing = *missing;
    } else if (argument.name && argument.name->text == "unknown") {
      const auto unknown = this->unknown(site, i);
      if (!unknown) return failed_ = true, Failed{};
      result.unknown = *unknown;
    } else if (argument.name) {
      const std::vector<std::string> known{"missing", "unknown"};
      return error(Code::unknown_argument, argument.name->span,
                   fmt::format("`col` has no argument `{}`", argument.name->text),
                   did_you_mean(argument.name->text, known));
    } else {
      const auto name = e_.text(site.evaluate(i), argument.span, "a column's name");
      if (!name) return failed_ = true, Failed{};
      result.columns.push_back(*name);
    }
  }
  if (result.columns.size() != 1)
    return error(Code::bad_column, site.span, "`col` takes one column's name", "several are `cols(\"a\", \"b\")`");
  return Shapeless{e_.source(site.span), std::move(result)};
}

/// cols("a", "b"), cols("p0", to = "p63"), cols(except = "price"), cols(except = ["price", "id"]), each with `missing`.
Term DataBlock::cols(CallSite& site) {
  RawColumns result{.block = this, .columns = {}, .except = {}, .from = {}, .to = {}, .span = site.span};
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    const CallArgument& argument = site.arguments[i];
    const std::string word = argument.name ? argument.name->text : "";
    if (word == "missing") {
      const auto missing = this->missing(site, i);
      if (!missing) return failed_ = true, Failed{};
      result.missing = *missing;
      continue;
    }
    if (argument.name && word != "to" && word != "except") {
      const std::vector<std::string> known{"to", "except", "missing"};
      return error(Code::unknown_argument, argument.name->span, fmt::format("`cols` has no argument `{}`", word),
                   did_you_mean(word, known));
    }
    Term term = site.evaluate(i);
    if (term.failed()) return failed_ = true, Failed{};
    const List* list = term.as<List>();
    const std::vector<Term> names = list && word == "except" ? list->elements : std::vector<Term>{term};
    for (const Term& one : names) {
      const auto name = e_.text(one, argument.span, "a column's name");
      if (!name) return failed_ = true, Failed{};
      std::vector<std::string>& named = word == "except" ? result.except : result.columns;
      if (word != "to" && std::ranges::find(named, *name) != named.end())
        return error(Code::duplicate_name, argument.span, fmt::format("the column {} stands twice", backquoted(*name)));
      named.push_back(*name);
      if (word == "to") result.to = *name;
    }
    if (word == "to") result.columns.pop_back();
  }
  if (!result.to.empty()) {
    if (result.columns.size() != 1 || !result.except.empty())
      return error(Code::bad_column, site.span, "`to` goes with the first column of the range",
                   "such as `cols(\"p0\", to = \"p63\")`");
    result.from = result.columns[0];
    result.columns.clear();
  } else if (result.columns.empty() == result.except.empty()) {
    return error(Code::bad_column, site.span,
                 result.columns.empty() ? "`cols` takes the columns' names"
                                        : "`except` stands for all columns but its own, without others");
  }
  return Shapeless{e_.source(site.span), std::move(result)};
}

/// The input that holds these columns as this type.
Term DataBlock::raw_columns(Elaborator& e, const RawColumns& columns, const ArrayType& type) {
  const Type raw_type = e.type_of(type);
  if (e.graph().builder != &feed_)
    return error(Code::bad_column, columns.span, "columns of a file are read in the data block only");
  if (raw_type.dtype == DType::boolean)
    return error(Code::type_mismatch, columns.span, "columns of a file are numbers, not truth values",
                 "compare them, as in `col(\"age\") > 18`");
  if (raw_type.shape.empty() || !raw_type.shape[0].batched)
    return error(Code::bad_column, columns.span, "a column of a file has one entry for each row");
  if (!fits_missing(columns, raw_type)) return Failed{};
  for (const RawColumn& known : job_.raw)
    if (known.columns == columns.columns && known.except == columns.except && known.range_from == columns.from &&
        known.range_to == columns.to && known.classes == columns.classes && known.missing == columns.missing &&
        known.unknown == columns.unknown && known.type == raw_type)
      return filled(feed_.leaf(Op::input, known.input, raw_type), known, type);
  const int count = ++raw_counts_[current_];
  const std::string input = count == 1 ? "raw." + current_ : fmt::format("raw.{}.{}", current_, count);
  job_.raw.push_back({.input = input,
                      .columns = columns.columns,
                      .except = columns.except,
                      .range_from = columns.from,
                      .range_to = columns.to,
                      .classes = columns.classes,
                      .type = raw_type,
                      .place = place(columns.span),
                      .missing = columns.missing,
                      .unknown = columns.unknown});
  raw_spans_.push_back(columns.span);
  return filled(feed_.leaf(Op::input, input, raw_type), job_.raw.back(), type);
}

Term DataBlock::classes(CallSite& site) {
  if (site.arguments.size() != 1 || site.arguments[0].name)
    return error(Code::bad_column, site.span, "`classes` takes one column", "such as `classes(col(\"species\"))`");
  const auto column = one_column(site, 0);
  if (!column) return Failed{};
  RawColumns indices = *column;
  indices.classes = true, indices.span = site.span;
  return Shapeless{e_.source(site.span), [indices](Elaborator& e, const ArrayType& type) -> Term {
                     if (type.dtype == DType::i32) return indices(e, type);
                     return e.error(Code::type_mismatch, indices.span,
                                    fmt::format("`classes` gives i32, and this is {}", e.describe(type)), "",
                                    "labels are `y: i32[] = classes(...)`, features `one_hot(classes(...))`");
                   }};
}

/// one_hot(ids[, n]): without n the width is that of the declared type.
Term DataBlock::one_hot(CallSite& site) {
  Scope library(module_);
  const Term callee = e_.lookup("one_hot", site.callee_span, library);
  if (site.arguments.empty() || site.arguments.size() > 2) return e_.call(callee, site);
  std::vector<Term> arguments;
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    arguments.push_back(site.evaluate(i));
    if (arguments.back().failed()) return failed_ = true, Failed{};
    site.arguments[i].value = std::make_shared<Term>(arguments.back());
  }
  if (arguments.size() == 2 && !arguments[0].as<Shapeless>()) return e_.call(callee, site);
  const Span span = site.span, ids_span = site.arguments[0].span;
  return Shapeless{
      e_.source(site.span), [this, callee, arguments, span, ids_span](Elaborator& e, const ArrayType& type) -> Term {
        if (type.axes.size() < 2 || type.axes.back().extent.batched)
          return e.error(Code::shape_mismatch, span,
                         fmt::format("`one_hot` has an axis for the classes, and this is {}", e.describe(type)));
        ArrayType ids_type{DType::i32, {type.axes.begin(), type.axes.end() - 1}};
        const auto ids = e.place(arguments[0], ids_type, ids_span, "the argument of `one_hot`");
        if (!ids) return Failed{};
        const Term width =
            arguments.size() == 2 ? arguments[1] : Term(Number{static_cast<double>(type.axes.back().extent.count)});
        Scope scope(module_);
        const Term made = e.apply(callee, {*ids, width}, span, scope);
        const auto placed = e.place(made, type, span, "this one-hot column");
        return placed ? Term(*placed) : Term(Failed{});
      }};
}

}  // namespace nnc
