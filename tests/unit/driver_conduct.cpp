// Conduct of the command around a run: thresholds for eval, arrays from predict, a cross-validation that goes on, and
// what is said when a model has learnt nothing.
#include <nlohmann/json.hpp>

#include "runtime/npy.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nnc::test::json_lines;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::write_file;
namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Three kinds told apart by two numbers; two outputs.
void write_kinds(const fs::path& folder, const std::string& net, const std::string& rate, const std::string& columns) {
  write_file(folder / "kinds.nn",
             "data rows {\n  train = csv(\"rows.csv\")\n  x: f32[2] = " + columns +
                 "\n  y: i32[] = classes(col(\"kind\"))\n}\n"
                 "model Net(x: f32[batch, 2]) -> f32[batch, 3] { return x |> " +
                 net +
                 " }\ntrain Net on rows {\n  let z = Net(x)\n  loss = softmax_cross_entropy(z, y)\n"
                 "  metric acc = accuracy(z, y)\n  output kind = argmax(z, over = -1)\n  output p = "
                 "softmax(z)\n  optimizer = sgd(lr = " +
                 rate + ")\n  batch_size = full\n  epochs = 40\n}\n");
  std::string rows = "a,b,kind\n";
  for (int i = 0; i < 90; ++i)
    rows += std::to_string(i % 3 * 400 + i % 7) + "," + std::to_string(i % 3 == 1 ? 300 : i % 5) + "," +
            (i % 3 == 0   ? "rose"
             : i % 3 == 1 ? "lily"
                          : "iris") +
            "\n";
  write_file(folder / "rows.csv", rows);
}

const std::string scaled = "standardize(cols(\"a\", \"b\"))";

}  // namespace

TEST_CASE("eval fails where a figure is not good enough", "[command]") {
  const Scratch scratch;
  write_kinds(scratch.path(), "Dense(3)", "1", scaled);
  REQUIRE(run_nnc("train kinds.nn --out run", scratch.path()).status == 0);
  struct Case {
    std::string condition;
    int status;
    std::string message;
  };
  for (const Case& wanted :
       {Case{"acc < 0.9", 0, ""}, Case{"acc >= 0.9", 1, "error: train: acc is 1, and --fail-if has `acc >= 0.9`\n"},
        Case{"loss>10", 0, ""}, Case{"loss <= 1e1", 1, "--fail-if has `loss <= 1e1`"},
        Case{"ac < 0.9", 2, "there is no figure `ac`; there are acc, loss; did you mean `acc`?"},
        Case{"acc", 2, "expected a condition such as `acc < 0.97`, found `acc`"},
        Case{"acc < x", 2, "expected a condition"}}) {
    INFO(wanted.condition);
    const auto result = run_nnc("eval run --fail-if '" + wanted.condition + "'", scratch.path());
    INFO(result.err);
    CHECK(result.status == wanted.status);
    CHECK(has(result.err, wanted.message));
    CHECK(result.err.empty() == (wanted.status == 0));
  }
  CHECK(run_nnc("eval run --fail-if 'acc < 0.5' --fail-if 'loss > 0'", scratch.path()).status == 1);
}

TEST_CASE("predict writes all outputs into one NPZ archive, equal bytes for equal rows", "[command]") {
  const Scratch scratch;
  write_kinds(scratch.path(), "Dense(3)", "1", scaled);
  REQUIRE(run_nnc("train kinds.nn --out run", scratch.path()).status == 0);
  REQUIRE(run_nnc("predict run --input rows.csv --output all.npz", scratch.path()).status == 0);
  REQUIRE(run_nnc("predict run --input rows.csv --format npz > piped", scratch.path()).status == 0);
  const auto arrays = nnc::read_npz((scratch.path() / "all.npz").string());
  REQUIRE(arrays);
  REQUIRE(arrays->size() == 2);
  CHECK((*arrays)[0].first == "kind");
  CHECK((*arrays)[0].second->dims == std::vector<std::int64_t>{90});
  CHECK((*arrays)[1].first == "p");
  CHECK((*arrays)[1].second->dims == std::vector<std::int64_t>{90, 3});
  for (int row = 0; row < 90; ++row) {  // iris, lily, rose
    CHECK((*arrays)[0].second->at(row) == 2 - (row % 3 == 0 ? 0 : row % 3 == 1 ? 1 : 2));
    const auto& p = *(*arrays)[1].second;
    CHECK(std::abs(p.at(3 * row) + p.at(3 * row + 1) + p.at(3 * row + 2) - 1) < 1e-6);
  }
  CHECK(
      has(run_nnc("predict run --input rows.csv --output one.npy", scratch.path()).err, "name a .csv, .jsonl or .npz"));
}

TEST_CASE("predict does not write over what it reads, nor over a file of its run", "[command]") {
  const Scratch scratch;
  write_kinds(scratch.path(), "Dense(3)", "0.5", scaled);
  REQUIRE(run_nnc("train kinds.nn --out run", scratch.path()).status == 0);
  fs::copy(scratch.path() / "run/last.safetensors", scratch.path() / "w.safetensors");
  fs::create_symlink("run/run.json", scratch.path() / "link.csv");
  fs::copy(scratch.path() / "rows.csv", scratch.path() / "asked.csv");
  REQUIRE(run_nnc("emit kinds.nn --stage opt -o kinds.ng", scratch.path()).status == 0);
  const std::string piped =
      "--version >version; { '" NNC_BINARY "' predict run --input - --output rows.csv <rows.csv; }";
  for (const auto& [command, file] :
       {std::pair<std::string, std::string>{piped, "rows.csv"},
        {"predict run --input rows.csv --output ./rows.csv", "rows.csv"},
        {"predict run --input rows.csv --format csv --output run/last.safetensors", "run/last.safetensors"},
        {"predict run --input rows.csv --output link.csv", "run/run.json"},
        {"predict run --input rows.csv --format csv --output run/model/kinds.nn", "run/model/kinds.nn"},
        {"predict kinds.nn --weights w.safetensors --input rows.csv --format csv "
         "--output w.safetensors",
         "w.safetensors"},
        {"predict kinds.nn --weights w.safetensors --input rows.csv --format csv "
         "--output kinds.nn",
         "kinds.nn"},
        {"predict run --input asked.csv --output rows.csv", "rows.csv"},
        {"emit kinds.nn --stage opt -o kinds.nn", "kinds.nn"},
        {"emit kinds.nn --stage ast -o kinds.nn", "kinds.nn"},
        {"emit run -o run/run.json", "run/run.json"},
        {"derive kinds.nn -o kinds.nn", "kinds.nn"},
        {"report run -o run/last.safetensors", "run/last.safetensors"},
        {"opt kinds.ng -o kinds.ng", "kinds.ng"}}) {
    const std::string before = read_file(scratch.path() / file);
    const auto refused = run_nnc(command, scratch.path());
    INFO(command << "\n" << refused.err);
    CHECK(refused.status == 2);
    CHECK(has(refused.err, "would be lost"));
    CHECK(read_file(scratch.path() / file) == before);
  }
  CHECK(run_nnc("predict run --input rows.csv --output run/answers.csv", scratch.path()).status == 0);
  CHECK(run_nnc("predict run --input rows.csv --output run/answers.csv", scratch.path()).status == 0);
}

TEST_CASE("what is written keeps a link, rights, and what is no regular file", "[command]") {
  const Scratch scratch;
  write_kinds(scratch.path(), "Dense(3)", "0.5", scaled);
  REQUIRE(run_nnc("train kinds.nn --out run", scratch.path()).status == 0);
  const std::string answers = run_nnc("predict run --input rows.csv --format csv", scratch.path()).out;
  REQUIRE(!answers.empty());
  const std::string predict = "predict run --input rows.csv --format csv --output ";

  std::ofstream(scratch.path() / "there.csv") << "old";
  fs::permissions(scratch.path() / "there.csv", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("there.csv", scratch.path() / "link.csv");
  CHECK(run_nnc(predict + "link.csv", scratch.path()).status == 0);
  CHECK(fs::is_symlink(scratch.path() / "link.csv"));
  CHECK(read_file(scratch.path() / "there.csv") == answers);
  CHECK(fs::status(scratch.path() / "there.csv").permissions() == (fs::perms::owner_read | fs::perms::owner_write));

  const auto piped = run_nnc(
      "--version >version; mkfifo pipe; cat pipe >came & '" NNC_BINARY "' " + predict + "pipe; s=$?; wait; exit $s",
      scratch.path());
  INFO(piped.err);
  CHECK(piped.status == 0);
  CHECK(fs::is_fifo(scratch.path() / "pipe"));
  CHECK(read_file(scratch.path() / "came") == answers);
  fs::remove(scratch.path() / "came");
  CHECK(run_nnc(predict + "/dev/stdout | cat >came; exit $?", scratch.path()).status == 0);
  CHECK(read_file(scratch.path() / "came") == answers);
  if (fs::exists("/dev/shm")) {  // a folder of files, though it stands among devices
    const fs::path shared = "/dev/shm/nnc-answers-" + scratch.path().filename().string() + ".csv";
    std::ofstream(shared) << std::string(100000, 'x');
    CHECK(run_nnc(predict + shared.string(), scratch.path()).status == 0);
    CHECK(read_file(shared) == answers);
    fs::remove(shared);
  }
  CHECK(run_nnc(predict + "/dev/null", scratch.path()).status == 0);
  CHECK(fs::is_character_file("/dev/null"));
}

TEST_CASE("that stderr cannot be written changes no status and ends no training", "[command]") {
  if (!fs::exists("/dev/full")) return;
  const Scratch scratch;
  write_kinds(scratch.path(), "Dense(3)", "0.5", scaled);
  REQUIRE(run_nnc("train kinds.nn --out run", scratch.path()).status == 0);
  for (const std::string command :
       {"check no.nn", "eval no", "predict run --input no", "--bad", "", "check kinds.nn", "eval run"})
    for (const std::string where : {" 2>/dev/full", " 2>&-"}) {
      INFO(command << where);
      CHECK(run_nnc(command + where + "; exit $?", scratch.path()).status == run_nnc(command, scratch.path()).status);
    }
  for (const auto& [where, out] : {std::pair<std::string, std::string>{" 2>/dev/full", "full"}, {" 2>&-", "closed"}}) {
    REQUIRE(run_nnc("train kinds.nn --out " + out + where + "; exit $?", scratch.path()).status == 0);
    CHECK(read_file(scratch.path() / out / "last.safetensors") == read_file(scratch.path() / "run/last.safetensors"));
    CHECK(read_file(scratch.path() / out / "metrics.jsonl").starts_with("{"));
  }
}

TEST_CASE("a cross-validation that was stopped goes on: parts that were begun, and those that were not", "[command]") {
  const Scratch scratch;
  write_kinds(scratch.path(), "Dense(8) |> tanh |> Dense(3)", "0.5", scaled);
  const auto whole = run_nnc("train kinds.nn --cv 3 --seed 4 --set other=1 --out whole 2>/dev/null", scratch.path());
  CHECK(whole.status == 1);  // there is no constant
  const auto all = run_nnc("train kinds.nn --cv 3 --seed 4 --out all 2>said", scratch.path());
  INFO(read_file(scratch.path() / "said"));
  REQUIRE(all.status == 0);
  // Stopped in its first part: the others were not begun.
  REQUIRE(run_nnc("train kinds.nn --cv 3 --seed 4 --out part --max-steps 7", scratch.path()).status == 0);
  fs::remove_all(scratch.path() / "part/part-2");
  fs::remove_all(scratch.path() / "part/part-3");
  const auto again = run_nnc("train --resume part 2>said", scratch.path());
  INFO(read_file(scratch.path() / "said"));
  REQUIRE(again.status == 0);
  CHECK(again.out.substr(again.out.rfind("valid, over")) == all.out.substr(all.out.rfind("valid, over")));
  for (const std::string part : {"part-1", "part-2", "part-3"})
    CHECK(read_file(scratch.path() / "part" / part / "last.safetensors") ==
          read_file(scratch.path() / "all" / part / "last.safetensors"));
  // Its folder is no run, and what is about one run says which there are.
  for (const std::string words : {"eval part", "predict part --input rows.csv", "inspect part", "build part -o net"}) {
    const auto asked = run_nnc(words, scratch.path());
    INFO(words << "\n" << asked.err);
    CHECK(asked.status == 2);
    CHECK(has(asked.err, "`part` is a cross-validation: 3 runs, each with a part of the rows left out"));
    CHECK(has(asked.err, "help: `part/part-1` is one of them"));
  }
}

TEST_CASE("a model that has learnt nothing is told to be no better than a constant, with what to try", "[command]") {
  const Scratch scratch;
  write_kinds(scratch.path(), "Dense(16) |> relu |> Dense(3)", "30", "cols(\"a\", \"b\")");
  auto result = run_nnc("train kinds.nn --out wild", scratch.path());
  INFO(result.err);
  REQUIRE((result.status == 0 || result.status == 3));
  CHECK(
      has(result.err, "help: column `x` has values up to 806: `standardize` and `minmax` bring columns to one scale"));
  CHECK(has(result.err, "units are 0 in all of the first 90 rows"));
  if (result.status == 0) CHECK(has(result.err, "warning: the model is no better than always the "));
  write_kinds(scratch.path(), "Dense(16) |> relu |> Dense(3)", "0.5", scaled);
  result = run_nnc("train kinds.nn --out tame", scratch.path());
  CHECK(result.status == 0);
  CHECK_FALSE(has(result.err, "help:"));
}
