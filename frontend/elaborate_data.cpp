// The block itself: columns, which splits have which rows, and what only the whole block shows.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/data_block.h"

namespace nnc {

bool is_split_name(std::string_view name) { return name == "train" || name == "valid" || name == "test"; }

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
    lost_.insert(name);
    scope_.define(name, Failed{});
  };
  if (is_split_name(name) || name == "loss") {
    error(Code::reserved_column, form.name.span, fmt::format("a column cannot be called `{}`", name),
          is_split_name(name) ? fmt::format("without a type, `{} = ...` is a split", name) : "");
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

namespace {

/// What `name = value` in a data block was meant to be, where the name is no setting.
std::string help_for_assignment(const std::string& name, const ast::Expr& value) {
  const auto* call = std::get_if<ast::Call>(&value.form);
  const auto* callee = call ? std::get_if<ast::NameUse>(&call->callee->form) : nullptr;
  const std::string called = callee ? callee->name : "";
  if (called == "csv" || called == "idx" || called == "npy" || called == "npz" || called == "table")
    return fmt::format("rows are given to a split: `train = {}(...)`", called);
  const auto named = [](const ast::Argument& argument) { return argument.name.has_value(); };
  std::string type = "f32[1]";
  if (called == "col") type = "f32[]";
  if (called == "cols" && std::ranges::none_of(call->arguments, named))
    type = fmt::format("f32[{}]", call->arguments.size());
  return fmt::format("a column has a type, as in `{}: {} = ...`; a name for a value is given by `let`", name, type);
}

}  // namespace

void DataBlock::setting(const ast::Setting& form) {
  const std::string& key = form.keys.front().text;
  if (form.keys.size() == 1 && key == "samples") return;  // done
  if (form.keys.size() == 1 && key == "fit") return fitted_on(form);
  bool known = true;
  for (const ast::Name& name : form.keys) {
    if (is_split_name(name.text)) continue;
    const std::vector<std::string> words{"train", "valid", "test", "samples", "fit"};
    std::string help = did_you_mean(name.text, words);
    if (name.text == "val" || name.text == "dev" || name.text == "validation")
      help = "the rows that judge training are called `valid`";
    if (help.empty()) help = help_for_assignment(name.text, *form.value);
    splits_failed_ = true;
    lost_.insert(name.text);
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
    if (!use || !is_split_name(use->name)) {
      const std::vector<std::string> splits{"train", "valid", "test"};
      const std::string meant = use ? did_you_mean(use->name, splits) : "";
      error(Code::bad_split, expr->span, "`fit` names splits", meant.empty() ? "such as `fit = [train, test]`" : meant);
      return;
    }
    if (std::ranges::find(job_.fit, use->name) != job_.fit.end())
      error(Code::duplicate_setting, expr->span, fmt::format("`fit` names `{}` twice", use->name));
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
  std::vector<Term> parts{term};
  if (const Several* several = term.as<Several>()) parts = several->values;
  std::vector<Split> splits;
  for (const Term& part : parts) {
    const Host* host = part.as<Host>();
    const Rows* rows = host ? std::any_cast<Rows>(&host->value) : nullptr;
    if (!rows) {
      error(Code::bad_split, form.value->span, fmt::format("a split is rows, not {}", e_.describe(part)),
            "such as `train = csv(\"a.csv\")` or `train, valid = split(rows, 0.8, 0.2)`");
      return;
    }
    splits.push_back({.name = {}, .source = rows->source, .cuts = rows->cuts, .place = {}});
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
    split_spans_.emplace(splits[i].name, form.keys[i].span);
    const auto same = [&](const Split& split) { return split.name == splits[i].name; };
    if (std::any_of(job_.splits.begin(), job_.splits.end(), same))
      error(Code::duplicate_setting, form.keys[i].span, fmt::format("the split `{}` is given twice", splits[i].name));
    else
      job_.splits.push_back(splits[i]);
  }
  splits_failed_ = before;
}

namespace {

/// Whether two splits have rows in common: one is all that the other was cut from, both are cut alike and their parts
/// overlap, or they are shares of two permutations. Nothing is said where rows are cut in two different ways.
bool share_rows(const Split& a, const Split& b) {
  if (a.source != b.source) return false;
  for (std::size_t i = 0; i < std::min(a.cuts.size(), b.cuts.size()); ++i) {
    const Cut &x = a.cuts[i], &y = b.cuts[i];
    const bool alike =
        x.kind == y.kind && x.every == y.every && x.fractional == y.fractional && x.stratify_by == y.stratify_by;
    if (!alike) return false;
    if (x.seed != y.seed) return true;
    if (x.first == y.first && x.count == y.count) continue;
    return x.first < y.first + y.count && y.first < x.first + x.count;
  }
  return true;
}

}  // namespace

/// A split that is to show what training did not see, and holds rows of it.
void DataBlock::check_overlaps() {
  const auto train = std::ranges::find(job_.splits, "train", &Split::name);
  if (train == job_.splits.end()) return;
  for (const Split& split : job_.splits)
    if (split.name != "train" && share_rows(*train, split))
      e_.report({.code = Code::shared_rows,
                 .message = fmt::format("`{}` has rows that `train` has too", split.name),
                 .primary = split_spans_.at(split.name),
                 .labels = {{split_spans_.at("train"), "trained on"}},
                 .help = "`train, valid = split(rows, 0.8, 0.2)` gives each row to one of them"});
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
    job_.splits.push_back({.name = "train", .source = 0, .cuts = {}, .place = place(head)});
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
  if (!failed_) check_overlaps();
}

/// In a table and in a CSV every column is one value a row, so the declared type says how many there must be.
void DataBlock::check_widths() {
  const bool one_value =
      std::ranges::none_of(job_.sources, [](const Source& source) { return has_arrays(source.kind); });
  for (std::size_t i = 0; i < job_.raw.size(); ++i) {
    const RawColumn& raw = job_.raw[i];
    const std::int64_t wanted = element_count(raw.type.shape).count;
    const auto found = static_cast<std::int64_t>(raw.columns.size());
    if (one_value && !raw.columns.empty() && wanted != found)
      error(Code::bad_column, raw_spans_[i],
            fmt::format("{} column{} for {} value{} a row", found, found == 1 ? "" : "s", wanted,
                        wanted == 1 ? "" : "s"));
    for (const Source& source : job_.sources) check_names(raw, raw_spans_[i], source);
  }
}

/// Sources that say in the program which columns they have: a name that is not among them, and words where numbers are
/// needed.
void DataBlock::check_names(const RawColumn& raw, Span span, const Source& source) {
  std::vector<std::string> names;
  for (const auto& [name, path] : source.columns) names.push_back(name);
  for (const InlineColumn& column : source.inline_columns) names.push_back(column.name);
  if (names.empty()) return;
  std::vector<std::string> named = raw.columns;
  named.insert(named.end(), raw.except.begin(), raw.except.end());
  for (const std::string& end : {raw.range_from, raw.range_to})
    if (!end.empty()) named.push_back(end);
  for (const std::string& column : named) {
    if (std::ranges::find(names, column) == names.end()) {
      error(Code::bad_column, span, fmt::format("there is no column {}", backquoted(column)),
            did_you_mean(column, names));
      continue;
    }
    const auto table = std::ranges::find(source.inline_columns, column, &InlineColumn::name);
    const bool taken = std::ranges::find(raw.except, column) == raw.except.end();
    if (taken && table != source.inline_columns.end() && !table->texts.empty() && !raw.classes)
      error(Code::bad_column, span, fmt::format("the column {} holds words, not numbers", backquoted(column)),
            fmt::format("`classes(col(\"{}\"))` gives each word a number", column));
  }
}

ElaboratedData elaborate_data(Elaborator& elaborator, const Module& module, const ast::Declaration& data) {
  return DataBlock(elaborator, module, data).elaborate();
}

}  // namespace nnc
