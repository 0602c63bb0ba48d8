// Opening data: which sources are needed, the splits cut from them, and the classes of their words.
#include <fmt/format.h>

#include <map>
#include <numeric>
#include <set>

#include "ir/utf8.h"
#include "runtime/csv.h"
#include "runtime/data_state.h"
#include "runtime/random.h"
#include "runtime/split.h"

namespace nnc {

namespace {

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  if (parse_number(text, DType::f64, reinterpret_cast<std::byte*>(&value))) return std::nullopt;
  return value;
}

/// Sorted distinct values with their indices. Where all are numbers they are sorted, and compared, as numbers: "1" and
/// "1.0" are one class, called as it was first written.
class Classes {
 public:
  static Classes learn(const std::vector<std::string>& texts) {
    std::set<std::string> distinct(texts.begin(), texts.end());
    std::map<double, std::string> by_number;
    for (const std::string& text : texts) {
      if (!distinct.contains(text)) continue;
      auto value = number_in(text);
      if (!value) return Classes({distinct.begin(), distinct.end()});
      by_number.try_emplace(*value, text);
    }
    std::vector<std::string> names;
    for (const auto& [value, text] : by_number) names.push_back(text);
    return Classes(names);
  }

  explicit Classes(std::vector<std::string> names) : names_(std::move(names)) {
    numeric_ = true;
    for (std::size_t i = 0; i < names_.size(); ++i) {
      by_text_[names_[i]] = static_cast<std::int32_t>(i);
      auto value = number_in(names_[i]);
      numeric_ = numeric_ && value.has_value();
      if (value) by_number_[*value] = static_cast<std::int32_t>(i);
    }
  }

  const std::vector<std::string>& names() const { return names_; }
  std::optional<std::int32_t> index(const std::string& text) const {
    auto exact = by_text_.find(text);
    if (exact != by_text_.end()) return exact->second;
    auto value = numeric_ ? number_in(text) : std::nullopt;
    auto equal = value ? by_number_.find(*value) : by_number_.end();
    if (equal != by_number_.end()) return equal->second;
    return std::nullopt;
  }

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::int32_t> by_text_;
  std::map<double, std::int32_t> by_number_;
  bool numeric_ = false;
};

/// What the program calls a raw input: `x` is made of `raw.x`.
std::string user_name(const std::string& input) {
  constexpr std::string_view prefix = "raw.";
  return input.starts_with(prefix) ? input.substr(prefix.size()) : input;
}

}  // namespace

std::optional<Problem> read_names(DataJob& job, const Storage& storage, OpenTables& opened) {
  const auto is_unnamed = [](const RawColumn& raw) { return raw.is_range() && raw.columns.empty(); };
  if (std::ranges::none_of(job.raw, is_unnamed)) return std::nullopt;
  const auto fitted = std::ranges::find_if(
      job.splits, [&](const Split& split) { return !job.fit.empty() && split.name == job.fit.front(); });
  const auto source = static_cast<std::size_t>((fitted == job.splits.end() ? job.splits.front() : *fitted).source);
  auto table = Table::open(job.sources[source], storage);
  if (!table) return table.problem();
  opened[source] = std::move(*table);
  const std::vector<std::string> names = opened[source]->names();
  for (RawColumn& raw : job.raw) {
    if (!is_unnamed(raw)) continue;
    auto columns = opened[source]->resolve(raw);
    if (!columns) return columns.problem();
    for (const std::size_t column : *columns) {
      if (first_not_utf8(names[column]) != std::string::npos)
        return wrong_at(job.sources[source].place, "the name of an array is not UTF-8");
      raw.columns.push_back(names[column]);
    }
    if (auto twice = opened[source]->resolve(raw); !twice) return twice.problem();
  }
  return std::nullopt;
}

/// Opens what is needed, step by step; each step ends at the first problem.
class DataReader {
 public:
  DataReader(RawData::State& state, const OpenOptions& options) : state_(state), options_(options) {}

  std::optional<Problem> read() {
    choose_splits();
    opened_.resize(state_.job.sources.size());
    if (auto problem = read_names(state_.job, options_.storage, opened_)) return problem;
    for (auto step :
         {&DataReader::open_tables, &DataReader::cut_splits, &DataReader::deal_fold, &DataReader::read_classes})
      if (auto problem = (this->*step)()) return problem;
    return std::nullopt;
  }

 private:
  bool wanted(const RawColumn& raw) const {
    return options_.inputs.empty() ||
           std::find(options_.inputs.begin(), options_.inputs.end(), raw.input) != options_.inputs.end();
  }
  bool fitted_on(const std::string& split) const {
    return std::find(state_.job.fit.begin(), state_.job.fit.end(), split) != state_.job.fit.end();
  }

  /// Those asked for, and those that classes are learnt from.
  void choose_splits() {
    bool learn = options_.classes == nullptr && std::any_of(state_.job.raw.begin(), state_.job.raw.end(),
                                                            [](const RawColumn& raw) { return raw.classes; });
    const auto& asked = options_.splits;
    for (const Split& split : state_.job.splits)
      if (asked.empty() || std::find(asked.begin(), asked.end(), split.name) != asked.end() ||
          (learn && fitted_on(split.name)) || (options_.fold && (split.name == "train" || split.name == "valid")))
        state_.names.push_back(split.name);
  }

  const Split& split(const std::string& name) const {
    return *std::find_if(state_.job.splits.begin(), state_.job.splits.end(),
                         [&](const Split& s) { return s.name == name; });
  }

  std::optional<Problem> open_tables() {
    state_.tables.resize(state_.job.sources.size());
    state_.stored.resize(state_.job.sources.size());
    strata_.resize(state_.job.sources.size());
    for (const std::string& name : state_.names) {
      const auto source = static_cast<std::size_t>(split(name).source);
      if (state_.tables[source]) continue;
      if (!opened_[source]) {
        auto table = Table::open(state_.job.sources[source], options_.storage);
        if (!table) return table.problem();
        opened_[source] = std::move(*table);
      }
      state_.tables[source] = std::move(opened_[source]);
      if (auto problem = want_columns(source)) return problem;
      if (auto problem = want_strata(source)) return problem;
      if (auto problem = state_.tables[source]->load()) return problem;
      if (state_.tables[source]->rows() == 0 && !options_.may_be_empty)
        return wrong_at(state_.job.sources[source].place, fmt::format("{} has no rows", source_name(source)));
    }
    return std::nullopt;
  }

  std::optional<Problem> want_columns(std::size_t source) {
    Table& table = *state_.tables[source];
    for (const RawColumn& raw : state_.job.raw) {
      if (!wanted(raw)) continue;
      auto columns = table.resolve(raw);
      if (!columns) return unlike_fitted(columns.problem(), raw);
      const std::int64_t want = row_elements(raw.type), have = table.width(*columns);
      if (!raw.classes && want != have)
        return wrong_at(
            raw.place, fmt::format("the columns of `{}` do not have the declared width", user_name(raw.input)),
            fmt::format("{} for {}", want == 1 ? "1 value a row" : fmt::format("{} values a row", want),
                        to_string(raw.type)),
            fmt::format("{} in {}{}", have, source_name(source), raw.is_range() ? ": " + listed(raw.columns) : ""));
      Stored stored{*columns};
      stored.wanted = raw.classes ? table.want_texts(columns->at(0))
                                  : table.want_numbers(*columns, raw.type.dtype, raw.missing.asked());
      state_.stored[source][raw.input] = std::move(stored);
    }
    return std::nullopt;
  }

  /// What a range stands for is not to be seen in the program.
  static Problem unlike_fitted(Problem problem, const RawColumn& raw) {
    if (raw.is_range())
      problem.notes.push_back(
          fmt::format("note: `{}` was fitted on the columns {}", user_name(raw.input), listed(raw.columns)));
    return problem;
  }

  /// Columns by whose values some split of the source is stratified.
  std::optional<Problem> want_strata(std::size_t source) {
    for (const std::string& name : state_.names) {
      const Split& cut = split(name);
      if (static_cast<std::size_t>(cut.source) != source) continue;
      for (const Cut& part : cut.cuts) {
        if (part.stratify_by.empty() || strata_[source].contains(part.stratify_by)) continue;
        auto column = state_.tables[source]->resolve(part.stratify_by, cut.place);
        if (!column) return column.problem();
        strata_[source][part.stratify_by] = state_.tables[source]->want_texts(*column);
      }
    }
    return std::nullopt;
  }

  /// A row's value of a column that some split is stratified by.
  std::string stratum(std::size_t source, const std::string& column, std::uint32_t row) const {
    const Table& table = *state_.tables[source];
    const std::size_t wanted = strata_[source].at(column);
    return table.texts(wanted)[static_cast<std::size_t>(table.text_number(wanted, row))];
  }

  std::optional<Problem> cut_splits() {
    for (const std::string& name : state_.names) {
      const Split& cut = split(name);
      const Table& table = *state_.tables[static_cast<std::size_t>(cut.source)];
      if (table.rows() == 0) {
        state_.splits[name] = {cut.source, {}};
        continue;
      }
      auto rows = split_rows(cut, table.rows(), [&](const std::string& column, std::uint32_t row) {
        return stratum(static_cast<std::size_t>(cut.source), column, row);
      });
      if (!rows) return rows.problem();
      state_.splits[name] = {cut.source, std::move(*rows)};
    }
    return std::nullopt;
  }

  std::optional<Problem> deal_fold() {
    if (!options_.fold) return std::nullopt;
    RawData::State::SplitRows& train = state_.splits.at("train");
    auto valid = state_.splits.find("valid");
    if (valid == state_.splits.end()) state_.names.insert(state_.names.begin() + 1, "valid");
    std::vector<std::uint32_t> pool = train.rows;
    if (valid != state_.splits.end() && valid->second.source == train.source)
      pool.insert(pool.end(), valid->second.rows.begin(), valid->second.rows.end());
    const auto stratum_of_row = stratum_of(split("train"));
    const auto& [index, of, seed] = *options_.fold;
    const auto count = static_cast<std::int64_t>(pool.size());
    if (count < of)
      return wrong_at(split("train").place, fmt::format("{} rows cannot be dealt out in {} parts", count, of));
    const auto order = permutation(count, seed, Purpose::fold, 0);
    std::map<std::string, std::vector<std::uint32_t>> strata;
    for (const std::uint32_t at : order) strata[stratum_of_row(pool[at])].push_back(at);
    std::vector<bool> is_valid(pool.size());
    int dealt = 0;  // on and on through all strata, so that parts differ by one row at most
    for (const auto& [name, places] : strata)
      for (const std::uint32_t at : places) is_valid[at] = dealt++ % of == index;
    RawData::State::SplitRows rest{train.source, {}}, part{train.source, {}};
    for (const std::uint32_t at : order) (is_valid[at] ? part : rest).rows.push_back(pool[at]);
    state_.splits["train"] = std::move(rest);
    state_.splits["valid"] = std::move(part);
    return std::nullopt;
  }

  /// What a row's stratum is called; one for all where the split has none.
  std::function<std::string(std::uint32_t)> stratum_of(const Split& split) const {
    for (const Cut& cut : split.cuts)
      if (!cut.stratify_by.empty())
        return [this, &split, &cut](std::uint32_t row) {
          return stratum(static_cast<std::size_t>(split.source), cut.stratify_by, row);
        };
    return [](std::uint32_t) { return std::string(); };
  }

  std::string source_name(std::size_t source) const { return called(state_.job.sources[source]); }

  std::optional<Problem> read_classes() {
    for (const RawColumn& raw : state_.job.raw) {
      if (!raw.classes || !wanted(raw)) continue;
      LearntClasses& learnt = state_.classes[raw.input];
      if (options_.classes)
        learnt = options_.classes->at(raw.input);
      else if (auto problem = learn_classes(raw, learnt))
        return problem;
      const Classes classes(learnt.names);
      for (std::size_t source = 0; source < state_.tables.size(); ++source)
        if (state_.tables[source])
          if (auto problem = index_classes(raw, source, classes)) return problem;
    }
    return std::nullopt;
  }

  std::optional<Problem> learn_classes(const RawColumn& raw, LearntClasses& learnt) const {
    std::map<std::string, std::int64_t> counts;
    std::vector<std::string> texts = texts_to_learn(raw, counts);
    if (raw.missing.by == Missing::By::word) texts.push_back(learnt.missing = raw.missing.word);
    if (raw.unknown.by == Missing::By::word) texts.push_back(learnt.unknown = raw.unknown.word);
    const Classes classes = Classes::learn(texts);
    learnt.names = classes.names();
    const bool missing = raw.missing.by == Missing::By::most_frequent,
               unknown = raw.unknown.by == Missing::By::most_frequent;
    if (!missing && !unknown) return std::nullopt;
    std::vector<std::int64_t> rows(learnt.names.size());
    for (const auto& [text, count] : counts)
      if (const auto index = classes.index(text)) rows[static_cast<std::size_t>(*index)] += count;
    if (rows.empty())
      return wrong_at(raw.place, fmt::format("column `{}` has no value in {}", raw.columns.at(0), fitted_names()),
                      "some, so that one is the most frequent");
    const auto most = static_cast<std::size_t>(std::ranges::max_element(rows) - rows.begin());
    if (missing) learnt.missing = learnt.names[most];
    if (unknown) learnt.unknown = learnt.names[most];
    return std::nullopt;
  }

  /// The texts of the splits that are fitted on, each once, in the order in which their rows show them, and how many
  /// rows have each.
  std::vector<std::string> texts_to_learn(const RawColumn& raw, std::map<std::string, std::int64_t>& counts) const {
    std::vector<std::string> texts;
    for (const std::string& name : state_.names) {
      if (!fitted_on(name)) continue;
      const auto& rows = state_.splits.at(name);
      const Table& table = *state_.tables[static_cast<std::size_t>(rows.source)];
      const std::size_t wanted = state_.stored[static_cast<std::size_t>(rows.source)].at(raw.input).wanted;
      std::vector<std::int64_t> seen(table.texts(wanted).size());
      for (std::uint32_t row : rows.rows) {
        const auto number = static_cast<std::size_t>(table.text_number(wanted, row));
        if (seen[number]++ > 0) continue;
        if (const std::string& text = table.texts(wanted)[number]; !text.empty()) texts.push_back(text);
      }
      for (std::size_t number = 0; number < seen.size(); ++number) counts[table.texts(wanted)[number]] += seen[number];
    }
    return texts;
  }

  /// Only rows that some split uses are looked up: a class that no split has is nobody's error.
  std::optional<Problem> index_classes(const RawColumn& raw, std::size_t source, const Classes& classes) {
    Stored& stored = state_.stored[source].at(raw.input);
    const std::vector<std::string>& texts = state_.tables[source]->texts(stored.wanted);
    const LearntClasses& learnt = state_.classes.at(raw.input);
    stored.class_of.emplace();
    std::vector<bool> strange(texts.size());
    for (std::size_t number = 0; number < texts.size(); ++number) {
      const std::string& text = texts[number];
      auto index = classes.index(text.empty() ? learnt.missing : text);
      strange[number] = !index;
      if (!index && !text.empty() && !learnt.unknown.empty()) index = classes.index(learnt.unknown);
      stored.class_of->push_back(index.value_or(-1));
    }
    if (std::ranges::find(strange, true) == strange.end()) return std::nullopt;
    return strange_rows(raw, source, strange, classes);
  }

  /// Rows whose text is no class: the first one that nothing stands for, or how many there are.
  std::optional<Problem> strange_rows(const RawColumn& raw, std::size_t source, const std::vector<bool>& strange,
                                      const Classes& classes) {
    const Stored& stored = state_.stored[source].at(raw.input);
    const Table& table = *state_.tables[source];
    std::optional<std::uint32_t> first;  // in file order, whatever a split's order is
    UnknownClass unknown{raw.columns.at(0), state_.classes.at(raw.input).unknown, {}, 0};
    for (const std::string& name : state_.names) {
      const auto& rows = state_.splits.at(name);
      if (static_cast<std::size_t>(rows.source) != source) continue;
      std::optional<std::uint32_t> refused;
      for (const std::uint32_t row : rows.rows) {
        const auto number = static_cast<std::size_t>(table.text_number(stored.wanted, row));
        if (!strange[number]) continue;
        if ((*stored.class_of)[number] < 0 && (!refused || row < *refused)) refused = row;
        if (!first || row < *first) first = row;
        ++unknown.rows;
      }
      if (refused) return no_class(raw, source, *refused, name, classes);
    }
    if (!first) return std::nullopt;
    unknown.first = table.texts(stored.wanted)[static_cast<std::size_t>(table.text_number(stored.wanted, *first))];
    state_.unknown.push_back(std::move(unknown));
    return std::nullopt;
  }

  Problem no_class(const RawColumn& raw, std::size_t source, std::uint32_t row, const std::string& split,
                   const Classes& classes) const {
    const Stored& stored = state_.stored[source].at(raw.input);
    const Table& table = *state_.tables[source];
    const std::string& text =
        table.texts(stored.wanted)[static_cast<std::size_t>(table.text_number(stored.wanted, row))];
    Problem problem = wrong_at(
        table.place(stored.columns[0], row),
        text.empty() ? "a value is missing"
                     : fmt::format("`{}` is not a known class of column `{}`", text, raw.columns.at(0)),
        fmt::format("one of {}", listed(classes.names())), text.empty() ? "nothing" : fmt::format("`{}`", text));
    problem.notes = {
        state_.job.fit.empty()  // rows by themselves, in no split
            ? fmt::format("note: classes are those of {}", fitted_names())
            : fmt::format("note: classes are those of {}; this row is in `{}`", fitted_names(), split),
        fmt::format("help: `classes(col(\"{0}\", {1} = most_frequent))` puts the most frequent class of `train` there, "
                    "`{1} = \"{2}\"` makes it a class of its own{3}",
                    raw.columns.at(0), text.empty() ? "missing" : "unknown", text.empty() ? "unknown" : "other",
                    options_.classes ? "; the model is then trained anew" : "")};
    return problem;
  }

  std::string fitted_names() const {
    return options_.classes ? "the run" : fmt::format("`{}`", fmt::join(state_.job.fit, "`, `"));
  }

  RawData::State& state_;
  const OpenOptions& options_;
  OpenTables opened_;  ///< for their names, before it is known whether their rows are needed
  std::vector<std::map<std::string, std::size_t>> strata_;  ///< by source, by column: what its texts are called
};

Result<RawData> RawData::open(const DataJob& job, const OpenOptions& options) {
  auto state = std::make_unique<State>();
  state->job = job;
  state->folder = options.storage.folder;
  if (auto problem = DataReader(*state, options).read()) return *problem;
  return RawData(std::move(state));
}

}  // namespace nnc
