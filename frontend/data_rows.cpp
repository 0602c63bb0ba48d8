// Where rows come from (csv, idx, npy, npz, table) and how they are cut into parts. A part is rows like any other, so
// it can be split again.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "frontend/data_block.h"

namespace nnc {

// ---- sources -----------------------------------------------------------------------------------------------------

/// Paths are relative to the file that names them.
std::string DataBlock::resolved(const std::string& path, Span span) const {
  const std::filesystem::path written(path);
  if (written.is_absolute()) return path;
  return (std::filesystem::path(e_.diagnostics.file(span.file).path).parent_path() / written)
      .lexically_normal()
      .string();
}

/// csv("a.csv"), npz("a.npz").
Term DataBlock::one_file(CallSite& site, Source::Kind kind) {
  if (site.arguments.size() != 1 || site.arguments[0].name)
    return error(Code::bad_source, site.span, fmt::format("`{}` takes the file's name", site.name),
                 fmt::format("such as `{0}(\"housing.{0}\")`", site.name));
  const auto path = e_.text(site.evaluate(0), site.arguments[0].span, "the file's name");
  if (!path) return failed_ = true, Failed{};
  return add_source({.kind = kind,
                     .path = resolved(*path, site.span),
                     .columns = {},
                     .inline_columns = {},
                     .samples = 0,
                     .place = place(site.span)});
}

Term DataBlock::csv(CallSite& site) { return one_file(site, Source::Kind::csv); }
Term DataBlock::npz(CallSite& site) { return one_file(site, Source::Kind::npz); }

/// idx(image = "a.gz", label = "b.gz"), npy(x = "x.npy", y = "y.npy"): a file for each column.
Term DataBlock::array_files(CallSite& site, Source::Kind kind, const std::string& example) {
  Source source{.kind = kind, .path = {}, .columns = {}, .inline_columns = {}, .samples = 0, .place = place(site.span)};
  if (site.arguments.empty())
    return error(Code::bad_source, site.span, fmt::format("`{}` takes a file for each column", site.name),
                 fmt::format("such as `{}({})`", site.name, example));
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    const CallArgument& argument = site.arguments[i];
    if (!argument.name)
      return error(Code::bad_source, argument.span, fmt::format("a file of `{}` is given a column's name", site.name),
                   fmt::format("such as `{}`", example.substr(0, example.find(','))));
    const std::string& name = argument.name->text;
    if (std::ranges::find(source.columns, name, [](const auto& column) { return column.first; }) !=
        source.columns.end())
      return error(Code::duplicate_name, argument.name->span, fmt::format("the column `{}` is given twice", name));
    const auto path = e_.text(site.evaluate(i), argument.span, "the file's name");
    if (!path) return failed_ = true, Failed{};
    source.columns.emplace_back(name, resolved(*path, site.span));
  }
  return add_source(std::move(source));
}

Term DataBlock::idx(CallSite& site) {
  return array_files(site, Source::Kind::idx, "image = \"images.gz\", label = \"labels.gz\"");
}
Term DataBlock::npy(CallSite& site) { return array_files(site, Source::Kind::npy, "x = \"x.npy\", y = \"y.npy\""); }

Term DataBlock::table(CallSite& site) {
  Source source{.kind = Source::Kind::table,
                .path = {},
                .columns = {},
                .inline_columns = {},
                .samples = 0,
                .place = place(site.span)};
  if (site.arguments.empty())
    return error(Code::bad_source, site.span, "`table` takes a list for each column",
                 "such as `table(x = [0, 1], y = [1, 0])`");
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    auto column = inline_column(site, i);
    if (!column) return Failed{};
    for (const InlineColumn& known : source.inline_columns) {
      if (known.name == column->name)
        return error(Code::duplicate_name, site.arguments[i].span,
                     fmt::format("the column `{}` is given twice", known.name));
      if (known.rows() != column->rows())
        return error(Code::bad_source, site.arguments[i].span,
                     fmt::format("`{}` has {} value{}, and `{}` has {}", column->name, column->rows(),
                                 column->rows() == 1 ? "" : "s", known.name, known.rows()));
    }
    source.inline_columns.push_back(std::move(*column));
  }
  if (source.inline_columns[0].rows() == 0) return error(Code::bad_source, site.span, "a table has at least one row");
  return add_source(std::move(source));
}

/// A list of numbers, or of words for classes.
std::optional<InlineColumn> DataBlock::inline_column(CallSite& site, std::size_t index) {
  const CallArgument& argument = site.arguments[index];
  if (!argument.name)
    return error(Code::bad_source, argument.span, "a column of `table` has a name", "such as `x = [0, 1]`"),
           std::nullopt;
  const Term term = site.evaluate(index);
  if (term.failed()) return failed_ = true, std::nullopt;
  const List* list = term.as<List>();
  if (!list)
    return error(Code::bad_source, argument.span,
                 fmt::format("a column of `table` is a list of numbers or of words, not {}", e_.describe(term))),
           std::nullopt;
  InlineColumn column{.name = argument.name->text, .numbers = {}, .texts = {}};
  const bool words = !list->elements.empty() && list->elements[0].as<Text>();
  const std::string what = fmt::format("a value of `{}`", column.name);
  for (const Term& element : list->elements) {
    if (words) {
      const auto word = e_.text(element, argument.span, what);
      if (!word) return failed_ = true, std::nullopt;
      column.texts.push_back(*word);
    } else {
      const auto number = e_.number(element, argument.span, what);
      if (!number) return failed_ = true, std::nullopt;
      column.numbers.push_back(*number);
    }
  }
  return column;
}

// ---- splits ------------------------------------------------------------------------------------------------------

/// split([rows,] shares or counts ..., seed = 0, by = col(...)), split([rows,] every = 5), split([rows,] 3, 1, 1, every
/// = 5).
Term DataBlock::split(CallSite& site) {
  Rows rows{generated_.value_or(-1), {}};
  Cut base;
  std::vector<std::size_t> parts;
  bool residues = false;
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    const CallArgument& argument = site.arguments[i];
    if (!argument.name && i == 0) {
      const Term term = site.evaluate(i);
      if (term.failed()) return failed_ = true, Failed{};
      const Host* host = term.as<Host>();
      const Rows* given = host ? std::any_cast<Rows>(&host->value) : nullptr;
      if (given) rows = *given;
      if (given) continue;
      if (term.as<Several>())
        return error(Code::bad_split, argument.span, "these are several parts, and one is split again",
                     "give each a name: `let rest, test = split(rows, 0.9, 0.1)`");
    }
    if (!argument.name) {
      parts.push_back(i);
    } else if (argument.name->text == "seed") {
      const auto seed = e_.whole(site.evaluate(i), argument.span, "`seed`");
      if (!seed) return failed_ = true, Failed{};
      if (*seed < 0) return error(Code::bad_split, argument.span, "`seed` is not negative");
      base.seed = static_cast<std::uint64_t>(*seed);
    } else if (argument.name->text == "every") {
      const auto every_so_many = e_.whole(site.evaluate(i), argument.span, "`every`");
      if (!every_so_many) return failed_ = true, Failed{};
      if (*every_so_many < 2) return error(Code::bad_split, argument.span, "`every` is at least 2");
      base.every = *every_so_many;
      residues = true;
    } else if (argument.name->text == "by") {
      const auto name = column_name(site, i);
      if (!name) return Failed{};
      base.stratify_by = *name;
    } else {
      const std::vector<std::string> known{"seed", "every", "by"};
      return error(Code::unknown_argument, argument.name->span,
                   fmt::format("`split` has no argument `{}`", argument.name->text),
                   did_you_mean(argument.name->text, known));
    }
  }
  if (rows.source < 0 && damaged_) return Failed{};
  if (rows.source < 0)
    return error(Code::bad_split, site.span, "`split` needs rows",
                 "such as `split(rows, 0.8, 0.2)` with `let rows = csv(...)`");
  if (!residues && parts.empty())
    return error(Code::bad_split, site.span, "`split` needs the sizes of the parts",
                 "shares, as in `split(rows, 0.8, 0.2)`, counts, or `every = 5`");
  if (!base.stratify_by.empty() && (residues || rows.source == generated_))
    return error(Code::bad_split, site.span, "`by` goes with shares of rows that are read");
  const auto seed = std::ranges::find_if(
      site.arguments, [](const CallArgument& argument) { return argument.name && argument.name->text == "seed"; });
  if (residues && seed != site.arguments.end())
    return error(Code::bad_split, seed->span, "`seed` goes with shares and counts; `every` takes rows as they stand");
  const auto cuts = residues ? every(site, parts, base) : shares(site, parts, base);
  if (cuts && rows.cuts.empty() && !enough_rows(site, *cuts, job_.sources[static_cast<std::size_t>(rows.source)]))
    return Failed{};
  if (!cuts) return Failed{};
  Several result;
  for (const Cut& cut : *cuts) {
    Rows part = rows;
    part.cuts.push_back(cut);
    result.values.push_back(Host{"rows", std::move(part)});
  }
  return result.values.size() == 1 ? result.values[0] : Term(std::move(result));
}

/// Counts of rows whose number the program says.
bool DataBlock::enough_rows(CallSite& site, const std::vector<Cut>& cuts, const Source& source) {
  std::optional<double> there;
  if (source.kind == Source::Kind::generated) there = static_cast<double>(source.samples);
  if (source.kind == Source::Kind::table) there = static_cast<double>(source.inline_columns.front().rows());
  const Cut& last = cuts.back();
  if (!there || last.kind != Cut::Kind::share || last.fractional || last.first + last.count <= *there) return true;
  error(Code::bad_split, site.span, fmt::format("the parts take {} of {} rows", last.first + last.count, *there),
        "whole numbers are counts; shares are below 1");
  return false;
}

/// Numbers below 1 are shares, whole numbers are counts. A lone 1 is everything.
std::optional<std::vector<Cut>> DataBlock::shares(CallSite& site, const std::vector<std::size_t>& parts, Cut base) {
  std::vector<double> sizes;
  for (const std::size_t i : parts) {
    const auto size = e_.number(site.evaluate(i), site.arguments[i].span, "the size of a part");
    if (!size) return failed_ = true, std::nullopt;
    if (!(*size > 0))
      return error(Code::bad_split, site.arguments[i].span, "a part has at least one row"), std::nullopt;
    sizes.push_back(*size);
  }
  const double total = std::accumulate(sizes.begin(), sizes.end(), 0.0);
  const auto whole = [](double size) { return size == std::floor(size); };
  base.kind = Cut::Kind::share;
  base.fractional = !std::ranges::all_of(sizes, whole) || sizes == std::vector{1.0};
  if (base.fractional && total > 1 + 1e-9)
    return error(Code::bad_split, site.span, fmt::format("the shares add up to {:.6g}, more than all rows", total),
                 "shares add up to 1; counts are whole numbers"),
           std::nullopt;
  std::vector<Cut> cuts;
  for (const double size : sizes) {
    base.count = size;
    cuts.push_back(base);
    base.first += size;
  }
  return cuts;
}

/// Of every n rows the first few go to the first part, the next to the second, ...: `every = 5` alone means 4 and 1.
std::optional<std::vector<Cut>> DataBlock::every(CallSite& site, const std::vector<std::size_t>& parts, Cut base) {
  std::vector<std::int64_t> sizes;
  for (const std::size_t i : parts) {
    const auto size = e_.whole(site.evaluate(i), site.arguments[i].span, "the size of a part");
    if (!size) return failed_ = true, std::nullopt;
    if (*size < 1) return error(Code::bad_split, site.arguments[i].span, "a part has at least one row"), std::nullopt;
    sizes.push_back(*size);
  }
  if (sizes.empty()) sizes = {base.every - 1, 1};
  const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  if (total != base.every)
    return error(Code::bad_split, site.span, fmt::format("the parts take {} of every {} rows", total, base.every),
                 "such as `split(rows, 3, 1, 1, every = 5)`"),
           std::nullopt;
  base.kind = Cut::Kind::every;
  std::vector<Cut> cuts;
  for (const std::int64_t size : sizes) {
    base.count = static_cast<double>(size);
    cuts.push_back(base);
    base.first += base.count;
  }
  return cuts;
}

}  // namespace nnc
