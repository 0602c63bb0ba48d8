// From files to columns: splits, classes, fits over blocks, and labels out of range with their place. The compiled
// parts are written by hand: feed copies, fit adds up.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <set>

#include "runtime/data.h"
#include "runtime/split.h"
#include "tests/support/hand_entries.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

using namespace nnc;
using nnc::test::feed_row;
using nnc::test::HandEntry;

namespace {

/// The stratum of a row is its number modulo 4.
std::string stratum(const std::string&, std::uint32_t row) { return std::to_string(row % 4); }

std::vector<std::uint32_t> rows_of(const Split& split, std::int64_t rows) {
  auto result = split_rows(split, rows, stratum);
  REQUIRE(result);
  return *result;
}

Split split_by(std::vector<Cut> cuts) {
  Split split;
  split.name = "part", split.cuts = std::move(cuts);
  return split;
}
Cut every(double first, double count, std::int64_t n) {
  return {.kind = Cut::Kind::every, .first = first, .count = count, .every = n};
}
Cut share_cut(double first, double count, bool fractional, std::uint64_t seed = 1) {
  return {.first = first, .count = count, .fractional = fractional, .seed = seed};
}
Split share(double first, double count, bool fractional, std::uint64_t seed = 1) {
  return split_by({share_cut(first, count, fractional, seed)});
}

const Type real{DType::f32, {batch_extent}};
const Type label{DType::i32, {batch_extent}};

RawColumn raw(const std::string& input, std::vector<std::string> columns, Type type, bool classes = false) {
  RawColumn column;
  column.input = input, column.columns = std::move(columns), column.type = std::move(type), column.classes = classes;
  column.place = {"p.nn", 3, 5};
  return column;
}

DataJob csv_job(const std::string& path, std::vector<RawColumn> columns) {
  DataJob job;
  Source source;
  source.path = path;
  Split train;
  train.name = "train";
  job.name = "rows", job.sources = {source}, job.splits = {train}, job.fit = {"train"}, job.raw = std::move(columns);
  return job;
}

/// x and label as they are.
void copy_columns(const nnc_call* call, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows; ++i) {
    static_cast<float*>(call->outputs[0])[i] = *feed_row<float>(call, 0, i);
    static_cast<std::int32_t*>(call->outputs[1])[i] = *feed_row<std::int32_t>(call, 1, i);
  }
}
template <int rows>
void copy(const nnc_call* call) {
  copy_columns(call, rows);
}

/// A pass that adds x up and takes the greatest, and a finish that keeps both.
template <int rows>
void add(const nnc_call* call) {
  double& sum = *static_cast<double*>(call->carry);
  double& greatest = *reinterpret_cast<double*>(static_cast<std::byte*>(call->carry) + 64);
  for (int i = 0; i < rows; ++i)
    sum += *feed_row<float>(call, 0, i), greatest = std::max(greatest, double{*feed_row<float>(call, 0, i)});
}
void keep(const nnc_call* call) {
  float* state = static_cast<float*>(call->state);
  state[0] = static_cast<float>(*static_cast<double*>(call->carry) / call->scalars[4]);
  state[16] = static_cast<float>(*reinterpret_cast<double*>(static_cast<std::byte*>(call->carry) + 64));
}

/// Entries for blocks of at most seven rows.
class HandFeed {
 public:
  Programs programs() {
    Programs programs;
    programs.fit_passes = 1;
    programs.carry_start = {{"greatest", -std::numeric_limits<double>::infinity()}};
    programs.entry = [this](EntryKind kind, int, std::int64_t rows) {
      auto& made = entries_[{kind, rows}];
      if (!made) made = make(kind, rows);
      return Entry{made->entry(), 1};
    };
    return programs;
  }

 private:
  static std::unique_ptr<HandEntry> make(EntryKind kind, std::int64_t rows) {
    static const nnc_function copies[] = {nullptr, copy<1>, copy<2>, copy<3>, copy<4>, copy<5>, copy<6>, copy<7>};
    static const nnc_function adds[] = {nullptr, add<1>, add<2>, add<3>, add<4>, add<5>, add<6>, add<7>};
    std::size_t at = static_cast<std::size_t>(rows);
    REQUIRE(rows <= 7);
    bool feed = kind == EntryKind::feed, pass = kind == EntryKind::fit;
    auto made = std::make_unique<HandEntry>("hand", rows, feed ? copies[at] : pass ? adds[at] : keep);
    made->state("data.x.mean", {}).state("data.x.max", {});
    if (feed || pass) made->feed("a", NNC_F32, {rows});
    if (feed) made->feed("species", NNC_I32, {rows}).output("x", NNC_F32, {rows}).output("y", NNC_I32, {rows});
    if (!feed) made->carry("sum").carry("greatest");
    return made;
  }
  std::map<std::pair<EntryKind, std::int64_t>, std::unique_ptr<HandEntry>> entries_;
};

std::string write(const nnc::test::Scratch& scratch, const std::string& text) {
  std::string path = (scratch.path() / "rows.csv").string();
  std::ofstream(path) << text;
  return path;
}

std::vector<double> values(const DenseArray& array) {
  std::vector<double> list;
  for (std::int64_t i = 0; i < array.count(); ++i) list.push_back(array.at(i));
  return list;
}

}  // namespace

TEST_CASE("shares tile their source whatever the fractions are") {
  for (std::int64_t rows : {10, 11, 150, 997}) {
    auto a = rows_of(share(0, 0.7, true), rows), b = rows_of(share(0.7, 0.2, true), rows),
         c = rows_of(share(0.7 + 0.2, 0.1, true), rows);
    std::set<std::uint32_t> all(a.begin(), a.end());
    all.insert(b.begin(), b.end()), all.insert(c.begin(), c.end());
    CHECK(all.size() == static_cast<std::size_t>(rows));
    CHECK(a.size() + b.size() + c.size() == static_cast<std::size_t>(rows));
  }
  CHECK(rows_of(share(0, 0.5, true), 100) == rows_of(share(0, 50, false), 100));
  CHECK(rows_of(share(0, 0.5, true, 1), 100) != rows_of(share(0, 0.5, true, 2), 100));
}

TEST_CASE("a part is cut again by the same rules, from the rows that it has") {
  const auto rest = rows_of(share(0, 0.6, true, 5), 50), held = rows_of(share(0.6, 0.4, true, 5), 50);
  const auto a = rows_of(split_by({share_cut(0, 0.6, true, 5), share_cut(0, 20, false, 2)}), 50);
  const auto b = rows_of(split_by({share_cut(0, 0.6, true, 5), share_cut(20, 10, false, 2)}), 50);
  std::set<std::uint32_t> parts(a.begin(), a.end()), whole(rest.begin(), rest.end());
  parts.insert(b.begin(), b.end());
  CHECK(parts == whole);
  CHECK(a.size() + b.size() == rest.size());
  for (const std::uint32_t row : held) CHECK_FALSE(parts.contains(row));
  // Every n-th of a part is counted in the part's order.
  CHECK(rows_of(split_by({share_cut(0, 0.6, true, 5), every(2, 1, 3)}), 50).at(1) == rest.at(5));
  CHECK(split_rows(split_by({share_cut(0, 10, false), share_cut(0, 11, false)}), 50, stratum).problem().found ==
        "10 rows; the parts up to `part` need 11");
}

TEST_CASE("a stratified share has its part of every group") {
  Split split = share(0, 0.8, true);
  split.cuts[0].stratify_by = "kind";
  auto rows = rows_of(split, 100);
  CHECK(rows.size() == 80);
  CHECK(std::count_if(rows.begin(), rows.end(), [](std::uint32_t row) { return row % 4 == 0; }) == 20);
}

TEST_CASE("stratified counts are exact, tile what they are cut from, and have their part of every group") {
  // Of 103 rows the groups have 26, 26, 26 and 25.
  const std::vector<double> sizes{80, 1, 7, 13};
  std::multiset<std::uint32_t> all;
  double first = 0;
  for (const double size : sizes) {
    Split split = share(first, size, false);
    split.cuts[0].stratify_by = "kind";
    const std::vector<std::uint32_t> rows = rows_of(split, 103);
    CHECK(static_cast<double>(rows.size()) == size);
    std::map<std::uint32_t, double> groups;
    for (const std::uint32_t row : rows) ++groups[row % 4], all.insert(row);
    for (std::uint32_t group = 0; group < 4; ++group)
      CHECK(std::abs(groups[group] - size * (group < 3 ? 26 : 25) / 103) <= 1);
    first += size;
  }
  CHECK(all.size() == 101);
  CHECK(std::set<std::uint32_t>(all.begin(), all.end()).size() == all.size());
}

TEST_CASE("every n-th row, whole sources, and splits that cannot be") {
  const Split first = split_by({every(0, 4, 5)}), second = split_by({every(4, 1, 5)});
  CHECK(rows_of(second, 12) == std::vector<std::uint32_t>{4, 9});
  CHECK(rows_of(first, 6) == std::vector<std::uint32_t>{0, 1, 2, 3, 5});
  CHECK(rows_of(split_by({every(2, 2, 4)}), 9) == std::vector<std::uint32_t>{2, 3, 6, 7});
  CHECK(rows_of(Split{}, 3) == std::vector<std::uint32_t>{0, 1, 2});
  const auto none = stratum;
  CHECK(split_rows(second, 3, none).problem().message == "split `part` has no rows");
  CHECK(split_rows(share(0, 11, false), 10, none).problem().message ==
        "split `part` asks for more rows than its source has");
}

namespace {

const char* const flowers = "species,a\ntulip,1\nrose,2\nrose,-3\naster,4\ntulip,5\nrose,6.5\naster,7\n";

DataJob flower_job(const nnc::test::Scratch& scratch, const std::string& text = flowers) {
  return csv_job(write(scratch, text), {raw("a", {"a"}, real), raw("species", {"species"}, label, true)});
}

}  // namespace

TEST_CASE("columns arrive in the split's order, with classes as sorted indices and fits over all rows") {
  const nnc::test::Scratch scratch;
  DataJob job = flower_job(scratch);
  auto data = RawData::open(job, {});
  REQUIRE(data);
  CHECK(data->rows("train") == 7);
  CHECK(data->rows("test") == -1);
  CHECK(data->classes().at("species").names == std::vector<std::string>{"aster", "rose", "tulip"});

  HandFeed feed;
  Programs programs = feed.programs();
  Runner runner(1);
  Weights weights(*programs.entry(EntryKind::fit_finish, 0, 1).code);
  REQUIRE_FALSE(data->fit(runner, programs, weights));
  DenseArray mean = unpack(weights.layout->state[0], weights.state.data());
  CHECK(mean.at(0) == 22.5f / 7);
  auto columns = data->feed("train", EntryKind::feed, runner, programs, weights, {}, {});
  REQUIRE(columns);
  CHECK(values(*columns->find("x")) == std::vector<double>{1, 2, -3, 4, 5, 6.5, 7});
  CHECK(values(*columns->find("y")) == std::vector<double>{2, 1, 1, 0, 2, 1, 0});

  // Any block gives the same.
  SplitColumns renamed{"train", 7, {{"a", *columns->find("x")}, {"species", *columns->find("y")}}};
  ColumnFeeder again(renamed);
  for (std::int64_t block : {1, 2, 3, 5, 7}) {
    Weights other(*programs.entry(EntryKind::fit_finish, 0, 1).code);
    fold_rows(runner, programs, EntryKind::fit, other, again, 0, block);
    CHECK(std::memcmp(other.state.data(), weights.state.data(), weights.state.size()) == 0);
    auto mapped = map_rows(runner, programs, EntryKind::feed, other, again, 0, block);
    CHECK(values(mapped[0].array) == values(*columns->find("x")));
    CHECK(values(mapped[1].array) == values(*columns->find("y")));
  }
}

TEST_CASE("classes that are numbers are sorted and compared as numbers") {
  const nnc::test::Scratch scratch;
  auto data = RawData::open(flower_job(scratch, "species,a\n10,1\n9,2\n9.0,3\n"), {});
  REQUIRE(data);
  CHECK(data->classes().at("species").names == std::vector<std::string>{"9", "10"});
  ClassNames known = {{"species", {{"9", "10", "11"}}}};
  OpenOptions options;
  options.classes = &known;
  auto again = RawData::open(flower_job(scratch, "species,a\n1e1,1\n"), options);
  REQUIRE(again);
  CHECK(again->classes().at("species").names.size() == 3);
}

TEST_CASE("a class that only another split has, and a value that is missing, are problems with their line") {
  const nnc::test::Scratch scratch;
  DataJob job = flower_job(scratch, "species,a\nrose,1\naster,2\nlily,3\n");
  Split test;
  test.name = "test", test.cuts = {every(2, 1, 3)};
  job.splits[0].cuts = {every(0, 2, 3)};
  job.splits.push_back(test);
  auto data = RawData::open(job, {});
  REQUIRE_FALSE(data);
  CHECK(data.problem().message == "`lily` is not a known class of column `species`");
  CHECK(data.problem().expected == "one of aster, rose");
  CHECK(data.problem().place.line == 4);
  auto missing = RawData::open(flower_job(scratch, "species,a\nrose,1\n,2\n"), {});
  REQUIRE_FALSE(missing);
  CHECK(missing.problem().message == "a value is missing");
  CHECK(missing.problem().place.line == 3);
}

TEST_CASE("labels out of range are found where they stand in the file, the first in file order") {
  const nnc::test::Scratch scratch;
  for (std::string bad : {"-1", "3", "7"}) {
    std::string text = "species,a\n0,1\n" + bad + ",2\n2,3\n9,4\n";
    DataJob job = csv_job(write(scratch, text), {raw("a", {"a"}, real), raw("species", {"species"}, label)});
    job.splits[0] = share(0, 1, true);
    job.splits[0].name = "train";
    auto data = RawData::open(job, {});
    REQUIRE(data);
    HandFeed feed;
    Programs programs = feed.programs();
    Runner runner(1);
    Weights weights(*programs.entry(EntryKind::fit_finish, 0, 1).code);
    auto columns = data->feed("train", EntryKind::feed, runner, programs, weights, {{"y", 0, 3}}, {{"y", {"species"}}});
    REQUIRE_FALSE(columns);
    CHECK(columns.problem().place.line == 3);
    CHECK(columns.problem().place.column == 1);
    CHECK(columns.problem().expected == "a whole number from 0 to 2");
    CHECK(columns.problem().found == bad);
  }
}

TEST_CASE("columns are found by name, in ranges, and all but some") {
  const nnc::test::Scratch scratch;
  std::string path = write(scratch, "p0,p1,p2,target\n1,2,3,4\n");
  const Type three{DType::f32, {batch_extent, {3, false}}};
  RawColumn range = raw("x", {}, three), except = raw("x", {}, three), wrong = raw("x", {"p0", "p1", "targte"}, three);
  range.range_from = "p0", range.range_to = "p2";
  except.except = {"target"};
  CHECK(RawData::open(csv_job(path, {range}), {}));
  CHECK(RawData::open(csv_job(path, {except}), {}));
  auto unknown = RawData::open(csv_job(path, {wrong}), {});
  REQUIRE_FALSE(unknown);
  CHECK(unknown.problem().message == "`" + path + "` has no column `targte`");
  CHECK(unknown.problem().notes == std::vector<std::string>{"help: did you mean `target`?"});
  CHECK(unknown.problem().place.file == "p.nn");
  auto narrow = RawData::open(csv_job(path, {raw("x", {"p0", "p1"}, three)}), {});
  REQUIRE_FALSE(narrow);
  CHECK(narrow.problem().message == "the columns of `x` do not have the declared width");
  auto gone = RawData::open(csv_job(path + "x", {range}), {});
  REQUIRE_FALSE(gone);
  CHECK(gone.problem().kind == Problem::Kind::io);
}
