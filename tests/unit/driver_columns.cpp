// Ranges of columns, whose names stand in a file alone: what a run was fitted on is found by name in every file after
// it, wherever its columns stand there and whatever stands beside them.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/npy.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::write_file;
namespace fs = std::filesystem;

/// Rows of a CSV file: `order` names its columns, of which "a" to "c" and "y" are numbers, "k" is a word, "id" and "z"
/// are of no use.
std::string file_of(const std::vector<std::string>& order, int rows, int first = 0) {
  std::string text = fmt::format("{}\n", fmt::join(order, ","));
  for (int row = first; row < first + rows; ++row) {
    std::vector<std::string> cells;
    for (const std::string& name : order) {
      const int place = name == "a" ? 1 : name == "b" ? 2 : name == "c" ? 3 : 4;
      if (name == "k")
        cells.push_back(row % 3 == 0 ? "red" : row % 3 == 1 ? "green" : "blue");
      else if (name == "id" || name == "z")
        cells.push_back(fmt::format("{}", 1000 + row));
      else
        cells.push_back(fmt::format("{}", (row * place * 7) % 11 - place));
    }
    text += fmt::format("{}\n", fmt::join(cells, ","));
  }
  return text;
}

const std::vector<std::string> fitted = {"a", "b", "c", "k", "y"}, permuted = {"c", "id", "y", "k", "b", "z", "a"};

/// `columns` makes x; what the model sees of each row is written, too.
std::string program(const std::string& columns, const std::string& sources) {
  return "data rows {\n" + sources + "  x: f32[3] = standardize(" + columns +
         ")\n  k: f32[3] = one_hot(classes(col(\"k\")), 3)\n  y: f32[1] = col(\"y\")\n}\n"
         "model Net(x: f32[batch, 3], k: f32[batch, 3]) -> f32[batch, 1] { return concat([x, k], axis = 1) |> Dense(1) "
         "}\n"
         "train Net on rows {\n  loss = mse(Net(x, k), y)\n  metric mae = mean(abs(Net(x, k) - y))\n"
         "  output y = Net(x, k)\n  output x = x\n  optimizer = sgd(lr = 1e-2)\n  batch_size = 4\n  epochs = 3\n}\n";
}

const std::string ranges[] = {R"(cols("a", to = "c"))", R"(cols(except = ["k", "y"]))"};
const std::string two_files = "  test = csv(\"test.csv\")\n  train = csv(\"train.csv\")\n";

/// A folder with the program and the files that it is fitted on.
void prepare(const Scratch& scratch, const std::string& columns, const std::string& sources = two_files) {
  write_file(scratch.path() / "net.nn", program(columns, sources));
  write_file(scratch.path() / "train.csv", file_of(fitted, 12));
  write_file(scratch.path() / "test.csv", file_of(fitted, 6, 12));
}

/// Rows on standard input.
const std::string piped = "--version >version; { '" NNC_BINARY "' predict run --input - <test.csv";

void forget_columns(const fs::path& run) {
  auto record = nlohmann::ordered_json::parse(read_file(run / "run.json"));
  REQUIRE(record.erase("columns") == 1);
  write_file(run / "run.json", record.dump(2));
}

}  // namespace

TEST_CASE("a range stands for the columns that a run was fitted on, wherever another file has them", "[columns]") {
  for (const std::string& columns : ranges) {
    INFO(columns);
    const Scratch scratch;
    const fs::path& folder = scratch.path();
    prepare(scratch, columns);
    const auto trained = run_nnc("train net.nn --out run", folder);
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    CHECK_THAT(run_nnc("inspect run", folder).out, Catch::Contains("\ncolumns of `x`: a, b, c\n"));
    const auto said = run_nnc("eval run", folder).out;
    const auto answers = run_nnc("predict run --input test.csv", folder).out;
    CHECK(std::ranges::count(answers, '\n') == 7);

    write_file(folder / "test.csv", file_of(permuted, 6, 12));
    for (const std::string flags : {"", " --stream-over 0"}) {
      CHECK(run_nnc("predict run --input test.csv" + flags, folder).out == answers);
      CHECK(run_nnc(piped + flags + "; }", folder).out == answers);
      CHECK(run_nnc("predict net.nn --weights run/last.safetensors --input test.csv" + flags, folder).out == answers);
      CHECK(run_nnc("eval run" + flags, folder).out == said);
      CHECK(run_nnc("eval net.nn --split test --weights run/last.safetensors" + flags, folder).out ==
            said.substr(0, said.find("train")));
      const auto again = run_nnc("train net.nn --out other --epochs 3" + flags, folder);
      CHECK(again.out == trained.out);
      fs::remove_all(folder / "other");
    }
    // The target, and what a range leaves out, may be absent.
    write_file(folder / "test.csv", file_of({"k", "c", "b", "a"}, 6, 12));
    CHECK(run_nnc("predict run --input test.csv", folder).out == answers);
  }
}

TEST_CASE("a column of a range that another file lacks is named, with the nearest that it has", "[columns]") {
  for (const std::string& columns : ranges) {
    INFO(columns);
    const Scratch scratch;
    const fs::path& folder = scratch.path();
    prepare(scratch, columns);
    REQUIRE(run_nnc("train net.nn --out run", folder).status == 0);
    for (const std::string& order : {std::string("A,b,c,k,y"), std::string("c,b,A,k,y")}) {
      std::string rows = file_of(fitted, 6, 12);
      rows.replace(0, rows.find('\n'), order);
      write_file(folder / "test.csv", rows);
      for (const std::string& command :
           {std::string("predict run --input test.csv"), piped + "; }", std::string("eval run --split test"),
            std::string("train net.nn --out other"), std::string("train net.nn --out other --cv 2")}) {
        INFO(command);
        const auto refused = run_nnc(command, folder);
        CHECK(refused.status == 1);
        CHECK(refused.out.empty());
        CHECK_THAT(refused.err, Catch::Contains("has no column `a`") && Catch::Contains("did you mean `A`?") &&
                                    Catch::Contains("`x` was fitted on the columns a, b, c"));
      }
    }
  }
}

TEST_CASE("a run goes on over the same columns in another order; two of one name are refused", "[columns]") {
  const Scratch scratch;
  const fs::path& folder = scratch.path();
  prepare(scratch, ranges[0]);
  REQUIRE(run_nnc("train net.nn --out whole", folder).status == 0);
  REQUIRE(run_nnc("train net.nn --out run --max-steps 4", folder).status == 0);
  REQUIRE(run_nnc("train net.nn --out parts --cv 2 --max-steps 2", folder).status == 0);
  write_file(folder / "train.csv", file_of(permuted, 12));
  const auto resumed = run_nnc("train --resume run", folder);
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK(read_file(folder / "run/last.safetensors") == read_file(folder / "whole/last.safetensors"));
  CHECK(run_nnc("train --resume parts", folder).status == 0);
  write_file(folder / "train.csv", "a,b,b,c,k,y\n1,2,3,4,red,5\n");
  const auto twice = run_nnc("train net.nn --out twice", folder);
  CHECK(twice.status == 1);
  CHECK_THAT(twice.err, Catch::Contains("`train.csv` has two columns `b`"));
}

TEST_CASE("a run that does not say its columns takes their names from the data that it was trained on", "[columns]") {
  const Scratch scratch;
  const fs::path& folder = scratch.path();
  prepare(scratch, ranges[1]);
  REQUIRE(run_nnc("train net.nn --out run", folder).status == 0);
  const auto answers = run_nnc("predict run --input test.csv", folder).out;
  forget_columns(folder / "run");
  write_file(folder / "test.csv", file_of(permuted, 6, 12));
  const auto predicted = run_nnc("predict run --input test.csv", folder);
  CHECK(predicted.out == answers);
  CHECK_THAT(
      predicted.err,
      Catch::Contains("the record of the run does not say which columns `cols(except = [\"k\", \"y\"])` stands for"));
  fs::rename(folder / "train.csv", folder / "gone.csv");
  const auto refused = run_nnc("predict run --input test.csv", folder);
  CHECK(refused.status == 2);
  CHECK(refused.out.empty());
  CHECK_THAT(refused.err, Catch::Contains("train.csv"));
}

TEST_CASE("a range that --set makes is not that of the run", "[columns]") {
  const Scratch scratch;
  write_file(
      scratch.path() / "net.nn",
      "const last = \"b\"\ndata rows {\n  train = csv(\"rows.csv\")\n  x: f32[2] = cols(\"a\", to = last)\n"
      "  y: f32[1] = col(\"y\")\n}\n"
      "model Net(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(1) }\n"
      "train Net on rows {\n  loss = mse(Net(x), y)\n  output x = x\n  optimizer = sgd(1e-3)\n  epochs = 1\n}\n");
  write_file(scratch.path() / "rows.csv", "c,a,b,y\n1,2,3,4\n");
  REQUIRE(run_nnc("train net.nn --out run", scratch.path()).status == 0);
  CHECK(run_nnc("predict run --input rows.csv", scratch.path()).out == "x.0,x.1\n2,3\n");
  write_file(scratch.path() / "rows.csv", "b,a,c,y\n1,2,3,4\n");
  CHECK(run_nnc("predict run --input rows.csv", scratch.path()).out == "x.0,x.1\n2,1\n");
  CHECK(run_nnc("predict run --set 'last=\"c\"' --input rows.csv", scratch.path()).out == "x.0,x.1\n2,3\n");
}

TEST_CASE("an array gives the columns of a range by their places", "[columns]") {
  const Scratch scratch;
  const fs::path& folder = scratch.path();
  write_file(folder / "line.nn",
             "data rows {\n  train = csv(\"line.csv\")\n  x: f32[3] = cols(\"a\", to = \"c\")\n"
             "  b: f32[1] = col(\"b\")\n  y: f32[1] = col(\"y\")\n}\n"
             "model Net(x: f32[batch, 3]) -> f32[batch, 1] { return x |> Dense(1) }\n"
             "train Net on rows as One {\n  loss = mse(Net(x), y)\n  output x = x\n  optimizer = sgd(1e-3)\n"
             "  epochs = 1\n}\n"
             "train Net on rows as Two {\n  loss = mse(Net(x) + b, y)\n  output x = x\n  output b = b\n"
             "  optimizer = sgd(1e-3)\n  epochs = 1\n}\n");
  write_file(folder / "line.csv", "a,b,c,y\n1,2,3,4\n5,6,7,9\n");
  REQUIRE(run_nnc("train line.nn One --out one", folder).status == 0);
  REQUIRE(run_nnc("train line.nn Two --out two", folder).status == 0);
  nnc::DenseArray rows(nnc::DType::f64, {1, 3});
  for (int i = 0; i < 3; ++i) rows.set(i, 10 * i);
  write_file(folder / "rows.npy", nnc::npy_text(rows));
  CHECK(run_nnc("predict one --input rows.npy", folder).out == "x.0,x.1,x.2\n0,10,20\n");
  CHECK(run_nnc("predict two --input rows.npy", folder).out == "x.0,x.1,x.2,b\n0,10,20,10\n");  // each column once
}
