// What the command refuses, and how it says so: damaged and edited runs, options out of range, files that are no files,
// results that nobody receives, metrics that no pass over blocks of rows can compute.
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::write_file;
namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Two classes told apart by one number; columns and the model as given.
void write_program(const fs::path& folder, const std::string& columns, const std::string& model,
                   const std::string& call, const std::string& more = "") {
  write_file(folder / "pick.nn", "const rate = 0.5\nconst other = 1\ndata rows {\n  train = csv(\"rows.csv\")\n" +
                                     columns + "}\n" + model + "train Pick on rows {\n  let z = " + call +
                                     "\n  loss = softmax_cross_entropy(z, y)\n  output best = argmax(z, over = -1)\n"
                                     "  optimizer = adam(lr = rate * other)\n  batch_size = full\n  epochs = 60\n" +
                                     more + "}\n");
  std::string rows = "x,c,y,name\n";
  for (int i = 0; i < 12; ++i)
    rows += std::to_string(i % 2 * 2 - 1) + (i % 3 ? ",red," : ",blue,") + std::to_string(i % 2) +
            (i % 2 ? ",yes\n" : ",no\n");
  write_file(folder / "rows.csv", rows);
}

const std::string x = "  x: f32[1] = cols(\"x\")\n";
const std::string named = "  y: i32[] = classes(col(\"name\"))\n";
const std::string alone = "model Pick(x: f32[batch, 1]) -> f32[batch, 2] { return x |> Dense(2) }\n";

/// A program that every test may spoil.
void write_plain(const fs::path& folder, const std::string& more = "") {
  write_program(folder, x + named, alone, "Pick(x)", more);
}

}  // namespace

TEST_CASE("class names are those of the target, never a feature's", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "new.csv", "x,c\n-1,red\n1,blue\n");
  const auto predicted = [&](const std::string& columns, const std::string& model, const std::string& call) {
    write_program(scratch.path(), columns, model, call);
    fs::remove_all(scratch.path() / "run");
    auto trained = run_nnc("train pick.nn --out run", scratch.path());
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    auto result = run_nnc("predict run --input new.csv", scratch.path());
    INFO(result.err);
    REQUIRE(result.status == 0);
    return result.out;
  };
  const std::string both =
      "model Pick(x: f32[batch, 1], c: i32[batch]) -> f32[batch, 2] {\n  let h = one_hot(c, 2) |> Dense(2)\n  return h "
      "+ "
      "(x |> Dense(2))\n}\n";
  const std::string feature = x + "  c: i32[] = classes(col(\"c\"))\n", numbered = "  y: i32[] = col(\"y\")\n";
  CHECK(predicted(x + named, alone, "Pick(x)") == "best\nno\nyes\n");
  CHECK(predicted(feature + numbered, both, "Pick(x, c)") == "best\n0\n1\n");
  CHECK(predicted(feature + named, both, "Pick(x, c)") == "best\nno\nyes\n");
  CHECK(predicted(feature + numbered, alone, "Pick(x)") == "best\n0\n1\n");
}

TEST_CASE("a run whose program or weights are not its own any more is refused", "[command]") {
  const Scratch scratch;
  write_plain(scratch.path());
  auto trained = run_nnc("train pick.nn --out run", scratch.path());
  REQUIRE(trained.status == 0);
  CHECK(contains(trained.err, "classes of `y`: no, yes"));
  const fs::path program = scratch.path() / "run/model/pick.nn";
  const std::string text = read_file(program);
  write_file(program, text + "# edited\n");
  for (std::string command : {"eval run", "predict run --input rows.csv"}) {
    auto result = run_nnc(command, scratch.path());
    CHECK(result.status == 1);
    CHECK(contains(result.err, "not the one that it was trained with"));
    CHECK(contains(result.err, "run/model/pick.nn"));
    CHECK(contains(result.err, "help:"));
  }
  write_file(program, text);
  CHECK(run_nnc("eval run", scratch.path()).status == 0);
  // Weights of a program with one layer more, and with one less.
  std::string longer = text;
  longer.replace(longer.find("Dense(2)"), 8, "Dense(2) |> Dense(2)");
  write_file(scratch.path() / "longer.nn", longer);
  REQUIRE(run_nnc("train longer.nn --out longer --epochs 1", scratch.path()).status == 0);
  fs::copy_file(scratch.path() / "run/last.safetensors", scratch.path() / "longer/last.safetensors",
                fs::copy_options::overwrite_existing);
  CHECK(contains(run_nnc("eval longer", scratch.path()).err, "these are weights of another program"));
  REQUIRE(run_nnc("train longer.nn --out again --epochs 1", scratch.path()).status == 0);
  fs::copy_file(scratch.path() / "again/last.safetensors", scratch.path() / "run/last.safetensors",
                fs::copy_options::overwrite_existing);
  auto surplus = run_nnc("eval run", scratch.path());
  CHECK(surplus.status == 1);
  CHECK(contains(surplus.err, "these are weights of another program"));
}

TEST_CASE("best weights that are gone are missed, and not replaced by the last", "[command]") {
  const Scratch scratch;
  const fs::path& folder = scratch.path();
  write_plain(folder, "  best = lowest(train.loss)\n");
  REQUIRE(run_nnc("train pick.nn --out run", folder).status == 0);
  write_file(folder / "new.csv", "x\n-1\n");
  fs::remove(folder / "run/best.safetensors");
  const std::string last = read_file(folder / "run/last.safetensors");
  for (const char* line : {"eval run", "predict run --input new.csv", "train --resume run --epochs 61"}) {
    const auto refused = run_nnc(line, folder);
    INFO(line << "\n" << refused.err);
    CHECK(refused.status != 0);
    CHECK(contains(refused.err, "the run's best weights, of epoch 60, are not there any more"));
    CHECK(contains(refused.err, "run/best.safetensors"));
  }
  CHECK_FALSE(fs::exists(folder / "run/best.safetensors"));
  CHECK(read_file(folder / "run/last.safetensors") == last);
  CHECK(run_nnc("predict run --input new.csv --weights run/last.safetensors", folder).status == 0);
}

TEST_CASE("predict does not write over the rows that it reads", "[command]") {
  const Scratch scratch;
  write_plain(scratch.path());
  REQUIRE(run_nnc("train pick.nn --out run", scratch.path()).status == 0);
  const std::string rows = read_file(scratch.path() / "rows.csv");
  const auto refused = run_nnc("predict run --input rows.csv --output ./rows.csv", scratch.path());
  INFO(refused.err);
  CHECK(refused.status != 0);
  CHECK(contains(refused.err, "--output is the file that --input reads"));
  CHECK(read_file(scratch.path() / "rows.csv") == rows);
}

TEST_CASE("a damaged record of a run is answered with its key", "[command]") {
  const Scratch scratch;
  write_plain(scratch.path());
  REQUIRE(run_nnc("train pick.nn --out run --epochs 1", scratch.path()).status == 0);
  const fs::path path = scratch.path() / "run/run.json";
  const json record = json::parse(read_file(path));
  const auto refused = [&](const std::string& key, const json& damaged) {
    INFO(key);
    write_file(path, damaged.dump());
    for (std::string command : {"eval run", "predict run --input rows.csv"}) {
      auto result = run_nnc(command, scratch.path());
      INFO(result.err);
      CHECK(result.status == 1);
      CHECK(contains(result.err, "run/run.json"));
      CHECK(contains(result.err, "`" + key + "`"));
      CHECK_FALSE(contains(result.err, "json.exception"));
    }
  };
  const std::pair<const char*, json> wrong_kinds[] = {{"schema", 7},
                                                      {"train", 7},
                                                      {"model", json::object()},
                                                      {"file", "../pick.nn"},
                                                      {"source_sha256", nullptr},
                                                      {"data_folder", json::array()},
                                                      {"set", {"rate"}},
                                                      {"set", {{"rate", 3}}},
                                                      {"log_steps", 1},
                                                      {"rows", {{"train", -1}}},
                                                      {"dtype", "f16"},
                                                      {"seed", -1},
                                                      {"epochs", "many"},
                                                      {"best", 0},
                                                      {"classes", json::array({1})},
                                                      {"classes", json::object()},
                                                      {"classes", {{"raw.name", {1, 2}}}}};
  for (const auto& [key, value] : wrong_kinds) {
    json damaged = record;
    damaged[key] = value;
    refused(key, damaged);
  }
  for (std::string key : {"schema", "train", "file", "set", "seed", "best", "classes"}) {
    json damaged = record;
    damaged.erase(key);
    refused(key, damaged);
  }
  for (std::string text : {"", "{", "[]", "null"}) {
    write_file(path, text);
    const auto result = run_nnc("eval run", scratch.path());
    CHECK(result.status == 1);
    CHECK(contains(result.err, "needs no record; the program is in run/model, the weights are in run\n"));
  }
  CHECK(run_nnc("eval run/model/pick.nn --weights run/last.safetensors --data .", scratch.path()).status == 0);
}

TEST_CASE("what a command line asks for and cannot be is refused", "[command]") {
  const Scratch scratch;
  write_plain(scratch.path());
  REQUIRE(run_nnc("train pick.nn --out run --epochs 1", scratch.path()).status == 0);
  struct Case {
    std::string arguments, message, environment;
    int status = 2;
  };
  for (const Case& wrong : {Case{"predict run --input nowhere.csv", "cannot read `nowhere.csv`", ""},
                            Case{"predict run --input /dev/zero", "not a regular file", ""},
                            Case{"train pick.nn --seed -1", "expected a whole number from 0", ""},
                            Case{"train pick.nn --seed 18446744073709551616", "expected a whole number from 0", ""},
                            Case{"train pick.nn --seed 1.5", "expected a whole number from 0", ""},
                            Case{"gradcheck pick.nn --seed -1", "expected a whole number from 0", ""},
                            Case{"emit pick.nn --disable-law nosuch", "there is no law `nosuch`", ""},
                            Case{"train pick.nn", "(set by NNC_THREADS)", "NNC_THREADS=4x"},
                            Case{"train pick.nn --set rat=1", "constants: other, rate", "", 1},
                            Case{"train pick.nn --set rat=1", "did you mean `rate`?", "", 1},
                            Case{"train pick.nn Pik", "train blocks: Pick", "", 1},
                            Case{"train pick.nn Pik", "did you mean `Pick`?", "", 1}}) {
    INFO(wrong.arguments);
    auto result = run_nnc(wrong.arguments, scratch.path(), wrong.environment);
    INFO(result.err);
    CHECK(result.status == wrong.status);
    CHECK(result.out.empty());
    CHECK(contains(result.err, wrong.message));
    CHECK_FALSE(contains(result.err, "const rat ="));
  }
  CHECK_FALSE(fs::exists(scratch.path() / "o.npz"));
  CHECK(run_nnc("train pick.nn --seed 18446744073709551615 --epochs 1", scratch.path()).status == 0);
  auto unwritten = run_nnc("predict run --input rows.csv --output nowhere/o.csv", scratch.path());
  CHECK(unwritten.status == 2);
  CHECK(contains(unwritten.err, "cannot write `nowhere/o.csv`"));
}

TEST_CASE("a CSV file is read whatever its name ends with", "[command]") {
  const Scratch scratch;
  write_plain(scratch.path());
  REQUIRE(run_nnc("train pick.nn --out run --epochs 1", scratch.path()).status == 0);
  write_file(scratch.path() / "new", "x\n1\n-1\n");
  auto result = run_nnc("predict run --input new", scratch.path());
  INFO(result.err);
  CHECK(result.status == 0);
  CHECK(std::count(result.out.begin(), result.out.end(), '\n') == 3);
}

TEST_CASE("results that cannot be written are no success", "[command]") {
  if (!fs::exists("/dev/full")) return;
  const Scratch scratch;
  write_plain(scratch.path());
  REQUIRE(run_nnc("train pick.nn --out run --epochs 1", scratch.path()).status == 0);
  for (std::string command : {"eval run", "eval run --json", "train pick.nn --json --out json", "gradcheck pick.nn",
                              "predict run --input rows.csv", "emit pick.nn", "train --help"}) {
    INFO(command);
    auto result = run_nnc(command + " >/dev/full 2>said; exit $?", scratch.path());
    const std::string said = read_file(scratch.path() / "said");
    INFO(said);
    CHECK(result.status == 2);
    CHECK(contains(said, "error: cannot write to stdout: "));
    CHECK(said.find("cannot write to stdout") == said.rfind("cannot write to stdout"));
  }
  fs::create_directories(scratch.path() / "full");
  fs::create_symlink("/dev/full", scratch.path() / "full/metrics.jsonl");
  auto result = run_nnc("train pick.nn --out full --epochs 1", scratch.path());
  INFO(result.err);
  CHECK(result.status == 2);
  CHECK(contains(result.err, "cannot write `full/metrics.jsonl`: No space left on device"));
}

TEST_CASE("what there is no room for is said, and nothing half made is left", "[command]") {
  const Scratch scratch;
  const fs::path& folder = scratch.path();
  write_plain(folder);
  REQUIRE(run_nnc("train pick.nn --out run", folder).status == 0);
  const std::string page = read_file(folder / "run/report.html");
  REQUIRE(page.size() > 16 * 512);
  write_file(folder / "untidy.nn", "const  width=4\n");
  // No file may be larger than so many blocks of 512 bytes; what is said goes through a pipe, which has no limit.
  const auto limited = [&](int blocks, const std::string& line) {
    return run_nnc("--version >version; { { ulimit -f " + std::to_string(blocks) + "; '" NNC_BINARY "' " + line +
                       "; echo status $?; } 2>&1 | cat; }",
                   folder);
  };
  struct Case {
    int blocks;
    std::string line, said;
  };
  for (const Case& wanted :
       {Case{0, "new mlp made", "error: cannot write `made/mlp.csv`: File too large\n"},
        Case{0, "fmt untidy.nn", "error: cannot write `untidy.nn`: File too large\n"},
        Case{8, "report run", "error: cannot write `run/report.html`: File too large\n"},
        Case{1, "derive pick.nn --format html >page.html", "error: cannot write to stdout: File too large\n"},
        Case{16, "train pick.nn --out late",
             "error: cannot write `late/report.html`: File too large\n"
             "   = help: the run is whole; `nnc report late` makes its page\n"}}) {
    const auto result = limited(wanted.blocks, wanted.line);
    INFO(wanted.line << "\n" << result.out);
    CHECK(contains(result.out, "\nstatus 2\n"));
    CHECK(contains(result.out, wanted.said));
  }
  CHECK(fs::is_empty(folder / "made"));
  CHECK(read_file(folder / "untidy.nn") == "const  width=4\n");
  CHECK(read_file(folder / "run/report.html") == page);
  CHECK(run_nnc("report late", folder).status == 0);
  CHECK(run_nnc("eval late", folder).out == run_nnc("eval run", folder).out);
}

TEST_CASE("a place where nothing can be made or looked at is named, with the reason", "[command]") {
  const Scratch scratch;
  const fs::path& folder = scratch.path();
  write_plain(folder);
  write_file(folder / "runs", "a file\n");
  fs::create_symlink("ring", folder / "ring");
  fs::create_directories(folder / "nothing");
  REQUIRE(run_nnc("train pick.nn --cv 2 --out parts", folder).status == 0);
  struct Case {
    std::string line, said;
  };
  for (const Case& wanted :
       {Case{"train pick.nn",
             "error: cannot make the folder `runs`: Not a directory\n"
             "   = help: `--out DIR` makes the run in another place\n"},
        Case{"train pick.nn --out runs/one", "error: cannot make the folder `runs/one`: Not a directory\n"},
        Case{"new mlp runs/one", "error: cannot make the folder `runs/one`: Not a directory\n"},
        Case{"train pick.nn --out ring", "error: cannot reach `ring/run.json`: Too many levels of symbolic links\n"},
        Case{"report ring", "error: cannot reach `ring/run.json`: Too many levels of symbolic links\n"},
        Case{"eval ring", "error: cannot reach `ring`: Too many levels of symbolic links\n"},
        Case{"report nothing",
             "error: `nothing` is no run: there is no run.json in it\n   = help: `nnc train PROGRAM`"},
        Case{"report parts",
             "error: `parts` is a cross-validation: 2 runs, each with a part of the rows left out\n"
             "   = help: `parts/part-1` is one of them"},
        Case{"eval nowhere", "error: there is no run and no program `nowhere`\n   = help: `nnc train PROGRAM`"},
        Case{"derive nothing",
             "error: `nothing` is a folder, not a program\n   = help: the name of a program ends in .nn"},
        Case{"new mpl",
             "error: there is no template `mpl`; there are cnn, gpt, linear, logistic, mlp, rnn; did you mean "
             "`mlp`?\n"}}) {
    const auto result = run_nnc(wanted.line, folder);
    INFO(wanted.line << "\n" << result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(result.err.starts_with(wanted.said));
  }
}

TEST_CASE("a metric that blocks of rows cannot be joined to is an error of the program", "[command]") {
  const Scratch scratch;
  write_plain(scratch.path(), "  metric joined = sum(float(argmax(z, over = 0)))\n");
  for (std::string command : {"check pick.nn", "train pick.nn --out run", "emit pick.nn --stage fused"}) {
    INFO(command);
    auto result = run_nnc(command, scratch.path());
    INFO(result.err);
    CHECK(result.status == 1);
    CHECK(contains(result.err, "the metric `joined` cannot be computed over a whole split"));
    CHECK(contains(result.err, "pick.nn:9"));
  }
  CHECK_FALSE(fs::exists(scratch.path() / "run"));
}

TEST_CASE("pipes and devices are neither programs nor data, and nothing waits for them", "[command]") {
  const Scratch scratch;
  write_plain(scratch.path());
  REQUIRE(mkfifo((scratch.path() / "pipe").c_str(), 0600) == 0);
  for (std::string command : {"check pipe", "train pipe", "train /dev/zero", "check /dev/null", "emit pipe"}) {
    INFO(command);
    auto result = run_nnc(command, scratch.path());
    CHECK(result.status == 2);
    CHECK(contains(result.err, "it is not a regular file"));
  }
  fs::remove(scratch.path() / "rows.csv");
  auto missing = run_nnc("train pick.nn", scratch.path());
  CHECK(missing.status == 2);
  CHECK(contains(missing.err, "pick.nn:4:"));
  CHECK(contains(missing.err, "--data"));
  REQUIRE(mkfifo((scratch.path() / "rows.csv").c_str(), 0600) == 0);
  auto result = run_nnc("train pick.nn", scratch.path());
  CHECK(result.status == 2);
  CHECK(contains(result.err, "it is not a regular file"));
  fs::remove(scratch.path() / "rows.csv");
  write_file(scratch.path() / "rows.csv", "x,c,y,name\n");
  auto empty = run_nnc("train pick.nn", scratch.path());
  CHECK(empty.status == 1);
  CHECK(contains(empty.err, "`rows.csv` has no rows"));
}

TEST_CASE("predict does not make up the rows that it was asked to read", "[command]") {
  const Scratch scratch;
  auto trained = run_nnc("train '" NNC_SOURCE_DIR "/examples/curve/curve.nn' --epochs 1 --out run", scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  write_file(scratch.path() / "new.csv", "x\n0.5\n");
  auto predicted = run_nnc("predict run --input new.csv", scratch.path());
  CHECK(predicted.status == 1);
  CHECK(predicted.out.empty());
  CHECK(contains(predicted.err, "the rows of `curve` are made by the program, so there is no column to read"));
}

TEST_CASE("a file that is not what a command takes is told for what it is") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  write_file(folder / "net.nn",
             "data d {\n  train = csv(\"rows.csv\")\n  x: f32[1] = col(\"a\")\n}\n"
             "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1) }\n"
             "train Net on d {\n  loss = mse(Net(x), x)\n  output p = Net(x)\n  optimizer = sgd(lr = 0.1)\n"
             "  epochs = 1\n}\n");
  write_file(folder / "rows.csv", "a\n1\n2\n");
  write_file(folder / "README.md", "# Nets\n\nSome words, and a list:\n- one (1)\n- two (2)\n");
  REQUIRE(run_nnc("train net.nn --out run", folder).status == 0);
  const auto said = [&](const std::string& arguments, int status, const std::string& message) {
    const auto result = run_nnc(arguments, folder);
    INFO(arguments << "\n" << result.err);
    CHECK(result.status == status);
    CHECK(result.err.starts_with("error: " + message));
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') <= 4);
  };
  for (const std::string command : {"train", "check", "test", "bench"}) {
    said(command + " README.md", 1, "`README.md` is no program: the name of a program ends in .nn\n");
    if (command != "bench") said(command + " run", 2, "`run` is a run, not a program\n");
  }
  said("train run/last.safetensors", 1, "`run/last.safetensors` holds weights, and this is for a program\n");
  said("eval rows.csv", 2, "`rows.csv` holds data, and this is for a program, which reads them\n");
  said("predict rows.csv --input rows.csv", 2, "`rows.csv` holds data, ");
  said("predict run --input net.nn", 1, "`net.nn` is a program, and --input is for rows\n");
  said("predict run --input rows.csv --output o.txt", 2, "predict does not write `.txt` files\n");
}
