// The words that only a data block knows are host functions in its scope. `col`, `cols`, `classes` and what is applied
// to them have no type until their column declares one: they are shapeless values, and a raw column becomes an input of
// the feed graph where the type arrives.
//
// The fit graph is not elaborated a second time: it is the part of the feed graph below each fitted step, with the
// states replaced by what is computed over all rows.
#include "frontend/elaborate_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <utility>

#include "frontend/nearest.h"
#include "frontend/not_built.h"

namespace nnc {
namespace {

constexpr std::string_view splits_known[] = {"train", "valid", "test"};

bool is_split(std::string_view name) {
  return std::find(std::begin(splits_known), std::end(splits_known), name) != std::end(splits_known);
}

/// Rows of a source, or parts of them: what `csv(...)` and `split(...)` come to.
struct Rows {
  int source = 0;
};
struct Parts {
  std::vector<Split> splits;
};

class DataBlock;

/// col(...) and cols(...): waits for the type of its place, then becomes an input.
struct RawColumns {
  DataBlock* block;
  std::vector<std::string> columns, except;
  std::string from, to;
  bool classes = false;
  Span span;

  Term operator()(Elaborator& e, const ArrayType& type) const;
};

class DataBlock {
 public:
  DataBlock(Elaborator& elaborator, const Module& module, const ast::Declaration& declaration)
      : e_(elaborator),
        module_(module),
        data_(std::get<ast::Data>(declaration.form)),
        damaged_(declaration.damaged),
        builtins_(module),
        scope_(builtins_) {
    context_.builder = &feed_;
    context_.rows = true;
  }

  std::optional<ElaboratedData> elaborate() {
    const std::size_t errors = e_.diagnostics.error_count();
    GraphContext* outside = e_.set_graph(&context_);
    job_.name = data_.name.text;
    define_builtins();
    find_samples();
    for (const ast::Datum& datum : data_.data) {
      if (const auto* let = std::get_if<ast::Let>(&datum.form)) this->let(*let);
      if (const auto* column = std::get_if<ast::ColumnDef>(&datum.form)) this->column(*column);
      if (const auto* setting = std::get_if<ast::Setting>(&datum.form)) this->setting(*setting);
    }
    if (!damaged_) complete();
    e_.set_graph(outside);
    if (failed_ || damaged_ || e_.diagnostics.error_count() != errors) return std::nullopt;
    ElaboratedData result{.job = std::move(job_), .fit = fit(), .feed = {}, .columns = std::move(columns_)};
    result.feed = std::move(feed_).finish();
    return result;
  }

  // ---- what the words of a data block do

  Term raw_columns(Elaborator& e, const RawColumns& columns, const ArrayType& type);
  Term classes(CallSite& site);
  Term one_hot(CallSite& site);
  Term scaled(CallSite& site, Fitted::Kind kind);

 private:
  // ---- messages

  Failed error(Code code, Span span, std::string message, std::string help = "") {
    failed_ = true;
    return e_.error(code, span, std::move(message), "", std::move(help));
  }
  Failed not_built(NotBuilt what, Span span) {
    failed_ = true;
    report_not_built(what, span, e_.diagnostics);
    return {};
  }
  Place place(Span span) const {
    const auto [line, column] = e_.diagnostics.position(span.file, span.begin);
    return {e_.diagnostics.file(span.file).path, line, column};
  }

  // ---- parts of the block

  void define_builtins();
  void host(const std::string& name, Term (DataBlock::*call)(CallSite&));
  void find_samples();
  void let(const ast::Let& form);
  void column(const ast::ColumnDef& form);
  void setting(const ast::Setting& form);
  void fitted_on(const ast::Setting& form);
  void split_setting(const ast::Setting& form);
  void complete();
  void check_widths();
  Graph fit() const;

  // ---- words about rows

  Term csv(CallSite& site);
  Term idx(CallSite& site);
  Term table(CallSite& site);
  Term npy(CallSite& site) { return not_built(NotBuilt::npy, site.span); }
  Term npz(CallSite& site) { return not_built(NotBuilt::npz, site.span); }
  Term split(CallSite& site);
  bool split_shares(CallSite& site, const std::vector<std::size_t>& parts, Split base, Parts& into);
  Term col(CallSite& site);
  Term cols(CallSite& site);
  Term standardize(CallSite& site) { return scaled(site, Fitted::Kind::standardize); }
  Term minmax(CallSite& site) { return scaled(site, Fitted::Kind::minmax); }

  Term add_source(Source source) {
    job_.sources.push_back(std::move(source));
    return Host{"the rows of a source", Rows{static_cast<int>(job_.sources.size()) - 1}};
  }
  std::string resolved(const std::string& path, Span span) const;
  std::optional<std::string> column_name(CallSite& site, std::size_t index);
  Term scale(const Array& c, Fitted::Kind kind, Span span);

  Elaborator& e_;
  const Module& module_;
  const ast::Data& data_;
  bool damaged_, failed_ = false, splits_failed_ = false;
  Scope builtins_, scope_;
  Builder feed_{"feed"};
  GraphContext context_;
  DataJob job_;
  std::map<std::string, ElaboratedColumn> columns_;
  std::vector<Fitted> fitted_;
  std::vector<Span> raw_spans_;   ///< where each raw column is written
  std::optional<int> generated_;  ///< source of `samples = N`
  Span samples_span_{}, fit_span_{};
  std::string current_;                                 ///< column or name that is being defined
  std::map<std::string, int> raw_counts_, fit_counts_;  ///< uses in each column so far
};

Term RawColumns::operator()(Elaborator& e, const ArrayType& type) const { return block->raw_columns(e, *this, type); }

// ---- the block ---------------------------------------------------------------------------------------------------

void DataBlock::host(const std::string& name, Term (DataBlock::*call)(CallSite&)) {
  builtins_.define(name, std::make_shared<const HostFunction>(
                             HostFunction{name, [this, call](CallSite& site) { return (this->*call)(site); }}));
}

void DataBlock::define_builtins() {
  host("csv", &DataBlock::csv);
  host("idx", &DataBlock::idx);
  host("npy", &DataBlock::npy);
  host("npz", &DataBlock::npz);
  host("table", &DataBlock::table);
  host("split", &DataBlock::split);
  host("col", &DataBlock::col);
  host("cols", &DataBlock::cols);
  host("classes", &DataBlock::classes);
  host("one_hot", &DataBlock::one_hot);
  host("standardize", &DataBlock::standardize);
  host("minmax", &DataBlock::minmax);
}

/// `samples = N` counts wherever it stands: `split(0.8, 0.2)` needs to know that rows are made.
void DataBlock::find_samples() {
  for (const ast::Datum& datum : data_.data) {
    const auto* setting = std::get_if<ast::Setting>(&datum.form);
    if (!setting || setting->keys.size() != 1 || setting->keys[0].text != "samples") continue;
    if (generated_) {
      error(Code::duplicate_setting, setting->keys[0].span, "`samples` is given twice");
      return;
    }
    samples_span_ = datum.span;
    const auto count = e_.whole(e_.evaluate(*setting->value, scope_), setting->value->span, "`samples`");
    generated_ = static_cast<int>(job_.sources.size());
    job_.sources.push_back({.kind = Source::Kind::generated,
                            .path = {},
                            .columns = {},
                            .inline_columns = {},
                            .samples = count.value_or(1),
                            .place = place(setting->value->span)});
    if (count && *count < 1) error(Code::bad_source, setting->value->span, "`samples` is at least 1");
    if (!count) failed_ = true;
  }
}

void DataBlock::let(const ast::Let& form) {
  current_ = form.names.front().text;
  context_.stream = "data/" + job_.name + "/" + current_;
  context_.streams.clear();
  e_.let(form, scope_);
}

void DataBlock::column(const ast::ColumnDef& form) {
  const std::string& name = form.name.text;
  const auto fail = [&] {
    failed_ = true;
    scope_.define(name, Failed{});
  };
  if (is_split(name) || name == "loss") {
    error(Code::reserved_column, form.name.span, fmt::format("a column cannot be called `{}`", name),
          is_split(name) ? fmt::format("without a type, `{} = ...` is a split", name) : "");
    return;
  }
  current_ = name;
  context_.stream = "data/" + job_.name + "/" + name;
  context_.streams.clear();
  const auto type = e_.resolve(form.type, scope_);
  const Term term = e_.evaluate(*form.value, scope_);
  if (!type || term.failed()) return fail();
  const auto placed = e_.place(term, *type, form.value->span, fmt::format("column `{}`", name));
  if (!placed) return fail();
  if (!scope_.define(name, *placed)) {
    error(Code::duplicate_name, form.name.span, fmt::format("`{}` is bound already in this block", name));
    return;
  }
  const Value node = e_.whole_node(*placed);
  feed_.name_node(node.id, name);
  feed_.output(OutputKind::result, name, node);
  ElaboratedColumn result{.type = *type, .undo = {}, .classes = false};
  for (Axis& axis : result.type.axes)
    if (!axis.extent.batched && !axis.stretch)
      axis.from = e_.because("", fmt::format("{}: {}", name, e_.source(form.type.span)), form.type.span, nullptr);
  for (NodeId at = node.id;;) {
    const auto step = std::find_if(fitted_.begin(), fitted_.end(), [&](const Fitted& f) { return f.result == at; });
    if (step == fitted_.end()) break;
    result.undo.push_back(*step);
    at = step->input;
  }
  Column column{.name = name, .type = e_.type_of(*type), .classes_of = {}};
  for (const RawColumn& raw : job_.raw)
    if (const Node& leaf = feed_[node.id];
        raw.classes && leaf.op == Op::input && std::get<Named>(leaf.attributes).name == raw.input)
      column.classes_of = raw.input;
  result.classes = !column.classes_of.empty();
  job_.columns.push_back(std::move(column));
  columns_.emplace(name, std::move(result));
}

void DataBlock::setting(const ast::Setting& form) {
  const std::string& key = form.keys.front().text;
  if (form.keys.size() == 1 && key == "samples") return;  // done
  if (form.keys.size() == 1 && key == "fit") return fitted_on(form);
  bool known = true;
  for (const ast::Name& name : form.keys) {
    if (is_split(name.text)) continue;
    const std::vector<std::string> words{"train", "valid", "test", "samples", "fit"};
    std::string help = did_you_mean(name.text, words);
    if (help.empty())
      help =
          fmt::format("a column has a type, as in `{}: f32[1] = ...`; a name for a value is given by `let`", name.text);
    splits_failed_ = true;
    error(Code::unknown_data_setting, name.span, fmt::format("data blocks have no setting or split `{}`", name.text),
          help);
    scope_.define(name.text, Failed{});  // what reads it is no second error
    known = false;
  }
  if (known) split_setting(form);
}

/// fit = train, or fit = [train, test].
void DataBlock::fitted_on(const ast::Setting& form) {
  if (!job_.fit.empty()) {
    error(Code::duplicate_setting, form.keys.front().span, "`fit` is given twice");
    return;
  }
  fit_span_ = form.value->span;
  std::vector<const ast::Expr*> names{form.value.get()};
  if (const auto* list = std::get_if<ast::List>(&form.value->form)) {
    names.clear();
    for (const ast::ExprPtr& element : list->elements) names.push_back(element.get());
  }
  for (const ast::Expr* expr : names) {
    const auto* use = std::get_if<ast::NameUse>(&expr->form);
    if (!use || !is_split(use->name)) {
      error(Code::bad_split, expr->span, "`fit` names splits", "such as `fit = [train, test]`");
      return;
    }
    job_.fit.push_back(use->name);
  }
  if (job_.fit.empty()) error(Code::bad_split, form.value->span, "`fit` names at least one split");
}

/// train = rows, or train, valid = split(...).
void DataBlock::split_setting(const ast::Setting& form) {
  const Term term = e_.evaluate(*form.value, scope_);
  if (term.failed()) {
    failed_ = splits_failed_ = true;
    return;
  }
  const bool before = std::exchange(splits_failed_, true);  // until it is one
  const Host* host = term.as<Host>();
  std::vector<Split> splits;
  if (const Rows* rows = host ? std::any_cast<Rows>(&host->value) : nullptr) {
    splits.push_back({.name = {}, .source = rows->source, .kind = Split::Kind::whole});
  } else if (const Parts* parts = host ? std::any_cast<Parts>(&host->value) : nullptr) {
    splits = parts->splits;
  } else {
    error(Code::bad_split, form.value->span, fmt::format("a split is rows, not {}", e_.describe(term)),
          "such as `train = csv(\"a.csv\")` or `train, valid = split(rows, 0.8, 0.2)`");
    return;
  }
  if (splits.size() != form.keys.size()) {
    error(Code::bad_split, form.value->span,
          fmt::format("{} name{} for {} part{}", form.keys.size(), form.keys.size() == 1 ? "" : "s", splits.size(),
                      splits.size() == 1 ? "" : "s"));
    return;
  }
  for (std::size_t i = 0; i < splits.size(); ++i) {
    splits[i].name = form.keys[i].text;
    splits[i].place = place(form.keys[i].span);
    const auto same = [&](const Split& split) { return split.name == splits[i].name; };
    if (std::any_of(job_.splits.begin(), job_.splits.end(), same))
      error(Code::duplicate_setting, form.keys[i].span, fmt::format("the split `{}` is given twice", splits[i].name));
    else
      job_.splits.push_back(splits[i]);
  }
  splits_failed_ = before;
}

/// What only the whole block shows.
void DataBlock::complete() {
  const Span head = data_.name.span;
  if (job_.sources.empty()) {
    if (!failed_)
      error(Code::no_rows, head, fmt::format("`{}` has no rows", job_.name),
            "rows are read, as in `let rows = csv(\"file.csv\")`, or made, with `samples = 1000`");
    return;
  }
  if (job_.splits.empty() && !splits_failed_) {
    if (job_.sources.size() > 1)
      error(Code::bad_split, head,
            fmt::format("`{}` has several sources, and nothing says which is `train`", job_.name));
    job_.splits.push_back({.name = "train", .source = 0, .kind = Split::Kind::whole, .place = place(head)});
  }
  const auto has = [&](const std::string& name) {
    return std::any_of(job_.splits.begin(), job_.splits.end(), [&](const Split& split) { return split.name == name; });
  };
  if (!splits_failed_ && !has("train"))
    error(Code::bad_split, head, fmt::format("`{}` has no split `train`", job_.name));
  if (job_.fit.empty()) job_.fit = {"train"};
  for (const std::string& name : job_.fit)
    if (!splits_failed_ && !has(name))
      error(Code::bad_split, fit_span_,
            fmt::format("preprocessing is fitted on `{}`, which is no split of `{}`", name, job_.name));
  if (job_.columns.empty() && !failed_)
    error(Code::bad_column, head, fmt::format("`{}` has no columns", job_.name),
          "such as `x: f32[3] = cols(\"a\", \"b\", \"c\")`");
  if (generated_ && job_.sources.size() > 1)
    error(Code::bad_source, samples_span_, "rows are either made or read, not both", "`samples` belongs to made rows");
  if (generated_)
    for (const Span& span : raw_spans_)
      error(Code::bad_column, span, "rows that are made have no columns to read from");
  check_widths();
}

/// In a table and in a CSV every column is one value a row, so the declared type says how many there must be.
void DataBlock::check_widths() {
  const bool one_value = std::all_of(job_.sources.begin(), job_.sources.end(),
                                     [](const Source& source) { return source.kind != Source::Kind::idx; });
  for (std::size_t i = 0; i < job_.raw.size(); ++i) {
    const RawColumn& raw = job_.raw[i];
    const std::int64_t wanted = element_count(raw.type.shape).count;
    const auto found = static_cast<std::int64_t>(raw.columns.size());
    if (one_value && !raw.columns.empty() && wanted != found)
      error(Code::bad_column, raw_spans_[i],
            fmt::format("{} column{} for {} value{} a row", found, found == 1 ? "" : "s", wanted,
                        wanted == 1 ? "" : "s"));
    for (const Source& source : job_.sources) {
      if (source.kind != Source::Kind::idx && source.kind != Source::Kind::table) continue;
      std::vector<std::string> names;
      for (const auto& [name, path] : source.columns) names.push_back(name);
      for (const auto& [name, values] : source.inline_columns) names.push_back(name);
      for (const std::string& column : raw.columns)
        if (std::find(names.begin(), names.end(), column) == names.end())
          error(Code::bad_column, raw_spans_[i], fmt::format("there is no column {}", backquoted(column)),
                did_you_mean(column, names));
    }
  }
}

// ---- sources -----------------------------------------------------------------------------------------------------

/// Paths are relative to the file that names them.
std::string DataBlock::resolved(const std::string& path, Span span) const {
  const std::filesystem::path written(path);
  if (written.is_absolute()) return path;
  return (std::filesystem::path(e_.diagnostics.file(span.file).path).parent_path() / written)
      .lexically_normal()
      .string();
}

Term DataBlock::csv(CallSite& site) {
  if (site.arguments.size() != 1 || site.arguments[0].name)
    return error(Code::bad_source, site.span, "`csv` takes the file's name", "such as `csv(\"housing.csv\")`");
  const auto path = e_.text(site.evaluate(0), site.arguments[0].span, "the file's name");
  if (!path) return failed_ = true, Failed{};
  return add_source({.kind = Source::Kind::csv,
                     .path = resolved(*path, site.span),
                     .columns = {},
                     .inline_columns = {},
                     .samples = 0,
                     .place = place(site.span)});
}

Term DataBlock::idx(CallSite& site) {
  Source source{.kind = Source::Kind::idx,
                .path = {},
                .columns = {},
                .inline_columns = {},
                .samples = 0,
                .place = place(site.span)};
  if (site.arguments.empty())
    return error(Code::bad_source, site.span, "`idx` takes a file for each column",
                 "such as `idx(image = \"a.gz\", label = \"b.gz\")`");
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    const CallArgument& argument = site.arguments[i];
    if (!argument.name)
      return error(Code::bad_source, argument.span, "a file of `idx` is given a column's name",
                   "such as `image = \"images.gz\"`");
    const auto path = e_.text(site.evaluate(i), argument.span, "the file's name");
    if (!path) return failed_ = true, Failed{};
    source.columns.emplace_back(argument.name->text, resolved(*path, site.span));
  }
  return add_source(std::move(source));
}

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
    const CallArgument& argument = site.arguments[i];
    if (!argument.name)
      return error(Code::bad_source, argument.span, "a column of `table` has a name", "such as `x = [0, 1]`");
    const Term term = site.evaluate(i);
    if (term.failed()) return failed_ = true, Failed{};
    const List* list = term.as<List>();
    if (!list)
      return error(Code::bad_source, argument.span,
                   fmt::format("a column of `table` is a list of numbers, not {}", e_.describe(term)));
    std::vector<double> values;
    for (const Term& element : list->elements) {
      const auto value = e_.number(element, argument.span, fmt::format("a value of `{}`", argument.name->text));
      if (!value) return failed_ = true, Failed{};
      values.push_back(*value);
    }
    if (!source.inline_columns.empty() && values.size() != source.inline_columns[0].second.size())
      return error(Code::bad_source, argument.span,
                   fmt::format("`{}` has {} values, and `{}` has {}", argument.name->text, values.size(),
                               source.inline_columns[0].first, source.inline_columns[0].second.size()));
    source.inline_columns.emplace_back(argument.name->text, std::move(values));
  }
  if (source.inline_columns[0].second.empty())
    return error(Code::bad_source, site.span, "a table has at least one row");
  return add_source(std::move(source));
}

// ---- splits ------------------------------------------------------------------------------------------------------

/// split([rows,] shares or counts ..., seed = 0, by = col(...)), split([rows,] every = 5).
Term DataBlock::split(CallSite& site) {
  Split base{.name = {}, .source = generated_.value_or(-1), .kind = Split::Kind::share, .place = place(site.span)};
  std::vector<std::size_t> parts;
  std::optional<std::int64_t> every;
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    const CallArgument& argument = site.arguments[i];
    if (!argument.name && i == 0) {
      const Term term = site.evaluate(i);
      if (term.failed()) return failed_ = true, Failed{};
      const Host* host = term.as<Host>();
      if (host && std::any_cast<Parts>(&host->value)) return not_built(NotBuilt::split_of_part, argument.span);
      const Rows* rows = host ? std::any_cast<Rows>(&host->value) : nullptr;
      if (rows) base.source = rows->source;
      if (rows) continue;
    }
    if (!argument.name) {
      parts.push_back(i);
    } else if (argument.name->text == "seed") {
      const auto seed = e_.whole(site.evaluate(i), argument.span, "`seed`");
      if (!seed) return failed_ = true, Failed{};
      if (*seed < 0) return error(Code::bad_split, argument.span, "`seed` is not negative");
      base.seed = static_cast<std::uint64_t>(*seed);
    } else if (argument.name->text == "every") {
      every = e_.whole(site.evaluate(i), argument.span, "`every`");
      if (!every) return failed_ = true, Failed{};
      if (*every < 2) return error(Code::bad_split, argument.span, "`every` is at least 2");
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
  if (base.source < 0)
    return error(Code::bad_split, site.span, "`split` needs rows",
                 "such as `split(rows, 0.8, 0.2)` with `let rows = csv(...)`");
  if (!every && parts.empty())
    return error(Code::bad_split, site.span, "`split` needs the sizes of the parts",
                 "shares, as in `split(rows, 0.8, 0.2)`, counts, or `every = 5`");
  if (every && !parts.empty()) return not_built(NotBuilt::three_way_every, site.span);
  if (!base.stratify_by.empty() && (every || base.source == generated_))
    return error(Code::bad_split, site.span, "`by` goes with shares of rows that are read");
  Parts result;
  if (every) {
    base.every = *every;
    for (const auto kind : {Split::Kind::every_first, Split::Kind::every_second}) {
      base.kind = kind;
      result.splits.push_back(base);
    }
  } else if (!split_shares(site, parts, base, result)) {
    return Failed{};
  }
  return Host{"parts of rows", std::move(result)};
}

/// Numbers below 1 are shares, whole numbers are counts. A lone 1 is everything.
bool DataBlock::split_shares(CallSite& site, const std::vector<std::size_t>& parts, Split base, Parts& into) {
  std::vector<double> sizes;
  for (const std::size_t i : parts) {
    const auto size = e_.number(site.evaluate(i), site.arguments[i].span, "the size of a part");
    if (!size) return failed_ = true, false;
    if (!(*size > 0)) return error(Code::bad_split, site.arguments[i].span, "a part has at least one row"), false;
    sizes.push_back(*size);
  }
  const double total = std::accumulate(sizes.begin(), sizes.end(), 0.0);
  const auto whole = [](double size) { return size == std::floor(size); };
  base.fractional =
      std::any_of(sizes.begin(), sizes.end(), [&](double size) { return !whole(size); }) || sizes == std::vector{1.0};
  if (base.fractional && total > 1 + 1e-9)
    return error(Code::bad_split, site.span, fmt::format("the shares add up to {}, more than all rows", total),
                 "shares add up to 1; counts are whole numbers"),
           false;
  for (const double size : sizes) {
    base.count = size;
    into.splits.push_back(base);
    base.first += size;
  }
  return true;
}

// ---- columns -----------------------------------------------------------------------------------------------------

/// The column that an argument names: `by = col("species")` or `by = "species"`.
std::optional<std::string> DataBlock::column_name(CallSite& site, std::size_t index) {
  const Term term = site.evaluate(index);
  if (const Text* text = term.as<Text>()) return text->value;
  const Shapeless* shapeless = term.as<Shapeless>();
  const RawColumns* raw = shapeless ? shapeless->make.target<RawColumns>() : nullptr;
  if (raw && raw->columns.size() == 1) return raw->columns[0];
  if (!term.failed())
    error(Code::bad_column, site.arguments[index].span, "one column is needed here", "such as `col(\"species\")`");
  failed_ = true;
  return std::nullopt;
}

Term DataBlock::col(CallSite& site) {
  if (site.arguments.size() != 1 || site.arguments[0].name)
    return error(Code::bad_column, site.span, "`col` takes one column's name", "several are `cols(\"a\", \"b\")`");
  const auto name = e_.text(site.evaluate(0), site.arguments[0].span, "a column's name");
  if (!name) return failed_ = true, Failed{};
  return Shapeless{
      e_.source(site.span),
      RawColumns{.block = this, .columns = {*name}, .except = {}, .from = {}, .to = {}, .span = site.span}};
}

/// cols("a", "b"), cols("p0", to = "p63"), cols(except = "price"), cols(except = ["price", "id"]).
Term DataBlock::cols(CallSite& site) {
  RawColumns result{.block = this, .columns = {}, .except = {}, .from = {}, .to = {}, .span = site.span};
  for (std::size_t i = 0; i < site.arguments.size(); ++i) {
    const CallArgument& argument = site.arguments[i];
    const std::string word = argument.name ? argument.name->text : "";
    if (argument.name && word != "to" && word != "except") {
      const std::vector<std::string> known{"to", "except"};
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
      (word == "except" ? result.except : result.columns).push_back(*name);
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
  for (const RawColumn& known : job_.raw)
    if (known.columns == columns.columns && known.except == columns.except && known.range_from == columns.from &&
        known.range_to == columns.to && known.classes == columns.classes && known.type == raw_type)
      return e.wrap(feed_.leaf(Op::input, known.input, raw_type), type.axes);
  const int count = ++raw_counts_[current_];
  const std::string input = count == 1 ? "raw." + current_ : fmt::format("raw.{}.{}", current_, count);
  job_.raw.push_back({.input = input,
                      .columns = columns.columns,
                      .except = columns.except,
                      .range_from = columns.from,
                      .range_to = columns.to,
                      .classes = columns.classes,
                      .type = raw_type,
                      .place = place(columns.span)});
  raw_spans_.push_back(columns.span);
  return e.wrap(feed_.leaf(Op::input, input, raw_type), type.axes);
}

Term DataBlock::classes(CallSite& site) {
  if (site.arguments.size() != 1 || site.arguments[0].name)
    return error(Code::bad_column, site.span, "`classes` takes one column", "such as `classes(col(\"species\"))`");
  const auto name = column_name(site, 0);
  if (!name) return Failed{};
  RawColumns indices{
      .block = this, .columns = {*name}, .except = {}, .from = {}, .to = {}, .classes = true, .span = site.span};
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

// ---- what is fitted ----------------------------------------------------------------------------------------------

/// standardize(c) and minmax(c).
Term DataBlock::scaled(CallSite& site, Fitted::Kind kind) {
  if (site.arguments.size() != 1 || site.arguments[0].name)
    return error(
        Code::bad_column, site.span, fmt::format("`{}` takes one value", site.name),
        fmt::format("such as `{}(cols(\"rooms\", \"area\"))`; which rows it is fitted on says `fit = [train, test]`",
                    site.name));
  const Term term = site.evaluate(0);
  if (term.failed()) return failed_ = true, Failed{};
  const Span span = site.span;
  if (const Array* c = term.as<Array>()) return scale(*c, kind, span);
  const Shapeless* inner = term.as<Shapeless>();
  if (!inner)
    return error(Code::bad_column, site.arguments[0].span,
                 fmt::format("`{}` takes a column, not {}", site.name, e_.describe(term)));
  return Shapeless{e_.source(span), [this, inner = *inner, kind, span](Elaborator& e, const ArrayType& type) -> Term {
                     const Term made = inner.make(e, type);
                     const Array* c = made.as<Array>();
                     return c ? scale(*c, kind, span) : Term(Failed{});
                   }};
}

/// The two states as leaves, spread over the rows of `shape`: what is subtracted and what is divided by. A constant
/// column has deviation 0, or min = max; it is divided by 1 and comes out as 0.
std::pair<Value, Value> offset_and_scale(Builder& builder, const Fitted& fitted, const Shape& shape) {
  const Value first = builder.leaf(Op::state, fitted.first_state(), fitted.row);
  const Value second = builder.leaf(Op::state, fitted.second_state(), fitted.row);
  const Value width = fitted.kind == Fitted::Kind::standardize ? second : second - first;
  const Value zero = builder.constant(0, fitted.row.dtype), one = builder.constant(1, fitted.row.dtype);
  const Value divisor = builder.select(apply(Op::equal, width, zero), one, width);
  return {builder.spread(first, shape), builder.spread(divisor, shape)};
}

Term DataBlock::scale(const Array& c, Fitted::Kind kind, Span span) {
  const std::string_view word = kind == Fitted::Kind::standardize ? "standardize" : "minmax";
  const Value node = e_.whole_node(c);
  if (node.builder != &feed_) return error(Code::bad_column, span, fmt::format("`{}` belongs to data blocks", word));
  const Type type = node.type();  // a copy: the graph grows
  if (!is_float(type.dtype))
    return error(Code::type_mismatch, span,
                 fmt::format("`{}` takes floating elements, not {}", word, name_of(type.dtype)),
                 "write `f32(...)` around it");
  if (type.shape.empty() || !type.shape[0].batched)
    return error(Code::bad_column, span,
                 fmt::format("`{}` is fitted over rows, and this is one value for all of them", word));
  const int count = ++fit_counts_[current_];
  Fitted fitted{.kind = kind,
                .path = count == 1 ? "data." + current_ : fmt::format("data.{}.{}", current_, count),
                .row = {type.dtype, {type.shape.begin() + 1, type.shape.end()}},
                .input = node.id};
  const ArrayType row{type.dtype, {c.axes.begin() + 1, c.axes.end()}};
  for (const std::string& path : {fitted.first_state(), fitted.second_state()})
    if (!e_.declare_variable(path, row, true, span, [] { return Term(Failed{}); })) return failed_ = true, Failed{};
  feed_.set_origin(e_.origin(span));
  const auto [offset, divisor] = offset_and_scale(feed_, fitted, type.shape);
  const Value result = (node - offset) / divisor;
  fitted.result = result.id;
  fitted_.push_back(fitted);
  return e_.wrap(result, c.axes);
}

/// First and second state of a fitted step over all rows of c, computed in f64. A column whose values are all equal
/// gets exactly that value as its mean and 0 as its deviation, whatever rounding does to sums.
std::pair<Value, Value> learn(Value c, const Fitted& fitted) {
  Builder& builder = *c.builder;
  const auto greatest = [&](Value x) { return builder.make(Op::reduce_max, {{x}}, Reduce{.axes = {0}}); };
  const Value high = greatest(c), low = -greatest(-c);
  if (fitted.kind == Fitted::Kind::minmax) return {low, high};
  const Value constant = apply(Op::equal, high, low);
  const Value wide = builder.cast(c, DType::f64), rows = builder.size(batch_extent, DType::f64);
  const Shape shape = wide.type().shape;  // a copy: the graph grows
  const Value mean = builder.sum(wide, {0}) / rows;
  const Value difference = wide - builder.spread(mean, shape);
  const Value deviation = apply(Op::sqrt, builder.sum(difference * difference, {0}) / rows);
  return {builder.select(constant, high, builder.cast(mean, c.type().dtype)),
          builder.select(constant, builder.constant(0, c.type().dtype), builder.cast(deviation, c.type().dtype))};
}

Graph DataBlock::fit() const {
  Builder builder("fit");
  const Graph& feed = feed_.graph();
  std::vector<Value> made;
  std::map<std::string, Value> states;
  for (const Node& node : feed.nodes) {
    const auto id = static_cast<NodeId>(made.size());
    if (node.op == Op::state) {
      made.push_back(states.at(std::get<Named>(node.attributes).name));
      continue;
    }
    std::vector<Value> operands;
    for (const NodeId operand : node.operands) operands.push_back(made[operand]);
    made.push_back(copy_node(builder, node, operands));
    for (const Fitted& fitted : fitted_) {
      if (fitted.input != id) continue;
      const auto [first, second] = learn(made[id], fitted);
      states.emplace(fitted.first_state(), first);
      states.emplace(fitted.second_state(), second);
    }
  }
  for (const Fitted& fitted : fitted_)
    for (const std::string& path : {fitted.first_state(), fitted.second_state()})
      builder.output(OutputKind::update, path, states.at(path));
  return std::move(builder).finish();
}

}  // namespace

std::optional<ElaboratedData> elaborate_data(Elaborator& elaborator, const Module& module,
                                             const ast::Declaration& data) {
  return DataBlock(elaborator, module, data).elaborate();
}

Term undo(Elaborator& elaborator, const Array& z, const ElaboratedColumn& column, Span span) {
  Builder& builder = elaborator.builder();
  builder.set_origin(elaborator.origin(span));
  Value node = elaborator.whole_node(z);
  for (const Fitted& fitted : column.undo) {
    const Value first = builder.leaf(Op::state, fitted.first_state(), fitted.row);
    const Value second = builder.leaf(Op::state, fitted.second_state(), fitted.row);
    const Value width = fitted.kind == Fitted::Kind::standardize ? second : second - first;
    const Shape shape = node.type().shape;  // a copy: the graph grows
    node = node * builder.spread(width, shape) + builder.spread(first, shape);
  }
  return elaborator.wrap(node, z.axes);
}

}  // namespace nnc
