// A `data` block under elaboration. The words that only a data block knows are host functions in its scope. `col`,
// `cols`, `classes` and what is applied to them have no type until their column declares one: they are shapeless
// values, and a raw column becomes an input of the feed graph where the type arrives.
//
//   elaborate_data.cpp   the block: its columns, splits and what only the whole block shows
//   data_rows.cpp        where rows come from (csv, idx, npy, npz, table) and how they are split
//   data_columns.cpp     col, cols, classes, one_hot: columns of a file as values
//   data_missing.cpp     missing = ..., unknown = ...: what stands for a value that is not there, or is no class
//   data_fit.cpp         standardize, minmax, undo, and the graph that learns what they need
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "frontend/elaborate_data.h"
#include "ir/nearest.h"

namespace nnc {

/// `train`, `valid` and `test`.
bool is_split_name(std::string_view name);

/// Rows of a source, or a part of them: what `csv(...)` and `split(...)` come to.
struct Rows {
  int source = 0;
  std::vector<Cut> cuts{};
};

class DataBlock;

/// col(...) and cols(...): waits for the type of its place, then becomes an input.
struct RawColumns {
  DataBlock* block;
  std::vector<std::string> columns, except;
  std::string from, to;
  bool classes = false;
  Span span;
  Missing missing{}, unknown{};

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

  ElaboratedData elaborate() {
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
    ElaboratedData result{.job = std::move(job_), .fit = {}, .feed = {}, .columns = std::move(columns_)};
    result.failed = failed_ || damaged_ || e_.diagnostics.error_count() != errors;
    result.lost = std::move(lost_);
    if (result.failed) return result;
    result.fit = fit();
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
  void check_overlaps();
  void check_widths();
  void check_names(const RawColumn& raw, Span span, const Source& source);
  Graph fit() const;

  // ---- words about rows

  Term csv(CallSite& site);
  Term idx(CallSite& site);
  Term table(CallSite& site);
  Term npy(CallSite& site);
  Term npz(CallSite& site);
  Term array_files(CallSite& site, Source::Kind kind, const std::string& example);
  Term one_file(CallSite& site, Source::Kind kind);
  std::optional<InlineColumn> inline_column(CallSite& site, std::size_t index);
  Term split(CallSite& site);
  std::optional<std::vector<Cut>> shares(CallSite& site, const std::vector<std::size_t>& parts, Cut base);
  bool enough_rows(CallSite& site, const std::vector<Cut>& cuts, const Source& source);
  std::optional<std::vector<Cut>> every(CallSite& site, const std::vector<std::size_t>& parts, Cut base);
  Term col(CallSite& site);
  Term cols(CallSite& site);
  Term standardize(CallSite& site) { return scaled(site, Fitted::Kind::standardize); }
  Term minmax(CallSite& site) { return scaled(site, Fitted::Kind::minmax); }

  Term add_source(Source source) {
    job_.sources.push_back(std::move(source));
    return Host{"rows", Rows{static_cast<int>(job_.sources.size()) - 1, {}}};
  }
  std::string resolved(const std::string& path, Span span) const;
  std::optional<std::string> column_name(CallSite& site, std::size_t index);
  std::optional<RawColumns> one_column(CallSite& site, std::size_t index);
  std::optional<Missing> missing(CallSite& site, std::size_t index);
  std::optional<Missing> unknown(CallSite& site, std::size_t index);
  bool fits_missing(const RawColumns& columns, const Type& type);
  Term filled(Value raw, const RawColumn& column, const ArrayType& type);
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
  std::set<std::string> lost_;  ///< columns that failed
  std::vector<Fitted> fitted_;
  std::vector<Span> raw_spans_;   ///< where each raw column is written
  std::optional<int> generated_;  ///< source of `samples = N`
  Span samples_span_{}, fit_span_{};
  std::map<std::string, Span> split_spans_{};
  std::string current_;                                 ///< column or name that is being defined
  std::map<std::string, int> raw_counts_, fit_counts_;  ///< uses in each column so far
};

}  // namespace nnc
