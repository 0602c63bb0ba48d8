// How the command behaves: exit statuses, what goes to stdout and what to stderr, runs that move, signals.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::json_lines;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::write_file;
namespace fs = std::filesystem;

/// y = 2x + 1 over twenty rows, with a rate that --set can spoil.
void write_program(const fs::path& folder, const std::string& settings = "") {
  write_file(
      folder / "line.nn",
      "const rate = 0.1\n"
      "data rows {\n  let all = csv(\"rows.csv\")\n  train, valid = split(all, every = 4)\n  x: f32[1] = cols(\"a\")\n "
      " y: f32[1] = cols(\"b\")\n}\n"
      "model Line(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1) }\n"
      "train Line on rows {\n  let z = Line(x)\n  loss = half_mse(z, y)\n  output b = z\n  optimizer = sgd(lr = rate)\n"
      "  batch_size = 4\n  epochs = 20\n" +
          settings + "}\n");
  std::string rows = "a,b\n";
  for (int i = 0; i < 20; ++i) rows += std::to_string(i / 10.0) + "," + std::to_string(i / 5.0 + 1) + "\n";
  write_file(folder / "rows.csv", rows);
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("usage errors exit with 2, say the nearest name, and leave stdout empty", "[command]") {
  const Scratch scratch;
  write_program(scratch.path());
  struct Case {
    std::string arguments, message;
  };
  for (const Case& wrong :
       {Case{"", "Examples:"}, Case{"trian line.nn", "did you mean `train`?"},
        Case{"lsp line.nn", "`nnc lsp` is not built yet"}, Case{"train line.nn --epoch 3", "did you mean `--epochs`?"},
        Case{"train line.nn --epochs 0", "expected a whole number from 1"},
        Case{"train nowhere.nn", "cannot read `nowhere.nn`"},
        Case{"train line.nn --set rate", "--set takes NAME=VALUE"}, Case{"train line.nn --cpu z80", "z80"},
        Case{"train line.nn --out /proc/none", "cannot make the folder"},
        Case{"train line.nn --init nowhere", "cannot read `nowhere`"},
        Case{"eval nowhere", "there is no run and no program"}, Case{"eval line.nn", "--weights"},
        Case{"opt nowhere", "cannot read"}, Case{"emit line.nn --stage opts", "opts"},
        Case{"predict nowhere", "--input"}}) {
    INFO(wrong.arguments);
    auto result = run_nnc(wrong.arguments, scratch.path());
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(contains(result.err, wrong.message));
  }
}

TEST_CASE("help and version go to stdout; help begins with examples", "[command]") {
  const Scratch scratch;
  for (std::string command : {"", "check", "new", "inspect", "doctor", "completion", "train", "eval", "predict", "emit",
                              "opt", "gradcheck"}) {
    auto result = run_nnc(command + " --help", scratch.path());
    CHECK(result.status == 0);
    CHECK(result.out.starts_with("Examples:\n  nnc " + command));
    CHECK(result.err.empty());
  }
  CHECK(run_nnc("--version", scratch.path()).out.starts_with("nnc "));
}

TEST_CASE("a wrong program exits with 1, in colour where that is asked for", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "wrong.nn", "model M(x: f32[batch, 2]) -> f32[batch, 3] { return x }\n");
  auto plain = run_nnc("check wrong.nn", scratch.path());
  CHECK(plain.status == 1);
  CHECK(plain.out.empty());
  CHECK_FALSE(contains(plain.err, "\033["));
  CHECK(contains(run_nnc("check wrong.nn --color always", scratch.path()).err, "\033["));
  CHECK(contains(run_nnc("check wrong.nn", scratch.path(), "CLICOLOR_FORCE=1").err, "\033["));
  CHECK_FALSE(contains(run_nnc("check wrong.nn", scratch.path(), "CLICOLOR_FORCE=1 NO_COLOR=1").err, "\033["));
}

TEST_CASE("a run has all it takes, from any folder, and after it has moved", "[command]") {
  const Scratch scratch;
  write_program(scratch.path(), "  best = lowest(valid.loss)\n");
  auto trained = run_nnc("train line.nn --json --log-steps --set rate=0.2 --seed 5", scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  const fs::path run = scratch.path() / "runs/Line-1";
  for (std::string file : {"run.json", "metrics.jsonl", "last.safetensors", "best.safetensors", "model/line.nn"})
    CHECK(fs::exists(run / file));
  const json record = json::parse(read_file(run / "run.json"));
  CHECK(record.at("schema") == "nnc.run.1");
  CHECK(record.at("state") == "finished");
  CHECK(record.at("seed") == 5);
  CHECK(record.at("rows") == json({{"train", 15}, {"valid", 5}}));
  const auto metrics = json_lines(read_file(run / "metrics.jsonl"));
  CHECK(metrics.size() == 20 + 20 * 4);
  CHECK(metrics.back().at("schema") == "nnc.epoch.1");
  CHECK(metrics.back().contains("valid.loss"));

  auto shown = json_lines(trained.out);
  REQUIRE(shown.size() == 22);
  CHECK(shown.back().at("split") == "valid");
  fs::create_directories(scratch.path() / "elsewhere");
  fs::rename(scratch.path() / "runs", scratch.path() / "elsewhere/kept");
  auto evaluated = run_nnc("eval kept/Line-1 --split valid --json", scratch.path() / "elsewhere");
  INFO(evaluated.err);
  REQUIRE(evaluated.status == 0);
  CHECK(json_lines(evaluated.out).at(0) == shown.back());

  write_file(scratch.path() / "new.csv", "other,a\nx,0\ny,1\n");
  auto predicted = run_nnc("predict elsewhere/kept/Line-1 --input new.csv", scratch.path());
  INFO(predicted.err);
  REQUIRE(predicted.status == 0);
  std::istringstream lines(predicted.out);
  std::string header, first, second;
  lines >> header >> first >> second;
  CHECK(header == "b");
  CHECK(std::abs(std::stod(first) - 1) < 0.5);
  CHECK(std::abs(std::stod(second) - 3) < 0.5);
  run_nnc("predict elsewhere/kept/Line-1 --input - --output piped.csv <new.csv; true", scratch.path());
  CHECK(read_file(scratch.path() / "piped.csv") == predicted.out);
  auto wrong = run_nnc("predict elsewhere/kept/Line-1 --input rows2.csv", scratch.path());
  CHECK(wrong.status == 2);
  write_file(scratch.path() / "bad.csv", "a\n1\nx\n");
  auto bad = run_nnc("predict elsewhere/kept/Line-1 --input bad.csv", scratch.path());
  CHECK(bad.status == 1);
  CHECK(contains(bad.err, "bad.csv:3:1"));

  // The data moved too.
  fs::create_directories(scratch.path() / "data");
  fs::rename(scratch.path() / "rows.csv", scratch.path() / "data/rows.csv");
  CHECK(run_nnc("eval kept/Line-1 --split valid", scratch.path() / "elsewhere").status == 2);
  auto moved = run_nnc("eval kept/Line-1 --split valid --json --data ../data", scratch.path() / "elsewhere");
  INFO(moved.err);
  REQUIRE(moved.status == 0);
  CHECK(moved.out == evaluated.out);
}

TEST_CASE("runs are numbered, and a folder that holds one is not written over", "[command]") {
  const Scratch scratch;
  write_program(scratch.path());
  REQUIRE(run_nnc("train line.nn --epochs 1", scratch.path()).status == 0);
  REQUIRE(run_nnc("train line.nn --epochs 1", scratch.path()).status == 0);
  CHECK(fs::exists(scratch.path() / "runs/Line-2/run.json"));
  auto again = run_nnc("train line.nn --out runs/Line-2", scratch.path());
  CHECK(again.status == 2);
  CHECK(contains(again.err, "already holds a run"));
}

TEST_CASE("threads, code-generation levels and repetition leave every bit of the weights alone", "[command]") {
  const Scratch scratch;
  write_program(scratch.path());
  std::string first;
  int number = 0;
  for (std::string flags : {"", "--threads 2", "--threads 3 --codegen-level none", "--codegen-level aggressive",
                            "--codegen-level default"}) {
    std::string run = "r" + std::to_string(number++);
    INFO(flags);
    REQUIRE(run_nnc("train line.nn --out " + run + " " + flags, scratch.path()).status == 0);
    std::string weights = read_file(scratch.path() / run / "last.safetensors");
    if (first.empty()) first = weights;
    CHECK(weights == first);
  }
  CHECK(run_nnc("train line.nn", scratch.path(), "NNC_THREADS=0").status == 2);
}

TEST_CASE("training that diverges exits with 3, names epoch and step, and keeps the last good weights", "[command]") {
  const Scratch scratch;
  write_program(scratch.path());
  auto result = run_nnc("train line.nn --set rate=50 --out run --epochs 1000", scratch.path());
  CHECK(result.status == 3);
  CHECK(result.out.empty());
  CHECK(contains(result.err, "training diverged: the loss became"));
  CHECK(contains(result.err, "help: try a lower learning rate"));
  const json record = json::parse(read_file(scratch.path() / "run/run.json"));
  CHECK(record.at("state") == "diverged");
  const std::int64_t step = record.at("step");
  CHECK(contains(result.err, "after step " + std::to_string(step) + ", are in run/last.safetensors"));
  // So many steps give the same weights.
  REQUIRE(run_nnc("train line.nn --set rate=50 --out same --epochs 1000 --max-steps " + std::to_string(step),
                  scratch.path())
              .status == 0);
  const auto data_of = [&](const std::string& run) {
    std::string bytes = read_file(scratch.path() / run / "last.safetensors");
    return bytes.substr(bytes.size() - 8);  // W and b
  };
  CHECK(data_of("run") == data_of("same"));
}

TEST_CASE("a signal ends training after its step, with the weights kept", "[command]") {
  const Scratch scratch;
  write_program(scratch.path());
  const pid_t child = fork();
  if (child == 0) {
    if (chdir(scratch.path().c_str()) != 0 || !std::freopen("err", "w", stderr)) _exit(99);
    execl(NNC_BINARY, "nnc", "train", "line.nn", "--out", "run", "--epochs", "1000000000", nullptr);
    _exit(99);
  }
  // Its record stands on the disk when training begins.
  for (int i = 0; i < 600 && !fs::exists(scratch.path() / "run/last.safetensors"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  REQUIRE(fs::exists(scratch.path() / "run/last.safetensors"));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  const json record = json::parse(read_file(scratch.path() / "run/run.json"));
  CHECK(record.at("state") == "interrupted");
  CHECK(record.at("step") > 0);
  CHECK(run_nnc("eval run", scratch.path()).status == 0);
}

TEST_CASE("a signal in the first of two train blocks says so of the second, and --resume trains both", "[command]") {
  const Scratch scratch;
  const fs::path stopped = scratch.path() / "stopped", whole = scratch.path() / "whole";
  for (const fs::path& folder : {stopped, whole}) {
    fs::create_directories(folder);
    write_file(folder / "two.nn",
               "data rows {\n  train = table(x = [1, 2, 3, 4, 5, 6, 7, 8])\n  x: f32[1] = col(\"x\") / 8\n}\n"
               "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(16) |> tanh |> Dense(1) }\n"
               "train Net on rows as One {\n  loss = mse(Net(x), x * x)\n  optimizer = sgd(lr = 1e-3)\n"
               "  batch_size = 2\n  check_every = 50000\n  epochs = 500000\n}\n"
               "train Net on rows as Two {\n  loss = mse(Net(x), x)\n  optimizer = sgd(lr = 1e-2)\n"
               "  batch_size = 2\n  epochs = 2\n}\n");
  }
  const pid_t child = fork();
  if (child == 0) {
    if (chdir(stopped.c_str()) != 0 || !std::freopen("err", "w", stderr)) _exit(99);
    execl(NNC_BINARY, "nnc", "train", "two.nn", "--seed", "3", nullptr);
    _exit(99);
  }
  for (int i = 0; i < 6000 && !fs::exists(stopped / "runs/One-1/run.json"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  const std::string said = read_file(stopped / "err");
  INFO(said);
  CHECK(WEXITSTATUS(status) == 130);
  CHECK_THAT(said, Catch::Contains("nnc train --resume runs/One-1") &&
                       Catch::Contains("train block Two was not begun; the command above"));
  CHECK_FALSE(fs::exists(stopped / "runs/Two-1"));
  const auto resumed = run_nnc("train --resume runs/One-1", stopped);
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  REQUIRE(run_nnc("train two.nn --seed 3", whole).status == 0);
  for (const std::string run : {"runs/One-1", "runs/Two-1"})
    CHECK(read_file(stopped / run / "last.safetensors") == read_file(whole / run / "last.safetensors"));
  // A run that is done has nothing behind it.
  CHECK(run_nnc("train --resume runs/One-1 --epochs 500001", stopped).status == 0);
  CHECK_FALSE(fs::exists(stopped / "runs/Two-2"));
}

namespace {

/// Three train blocks of a few steps each, of which the second has data in a file of its own.
void write_three_blocks(const fs::path& folder) {
  fs::create_directories(folder);
  write_file(folder / "later.csv", "x\n1\n2\n3\n4\n5\n6\n7\n8\n");
  write_file(folder / "three.nn",
             "data rows {\n  train = table(x = [1, 2, 3, 4, 5, 6, 7, 8])\n  x: f32[1] = col(\"x\") / 8\n}\n"
             "data later {\n  train = csv(\"later.csv\")\n  x: f32[1] = col(\"x\") / 8\n}\n"
             "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(4) |> tanh |> Dense(1) }\n"
             "train Net on rows as One {\n  loss = mse(Net(x), x * x)\n  optimizer = sgd(lr = 1e-2)\n  epochs = 3\n}\n"
             "train Net on later as Two {\n  loss = mse(Net(x), x)\n  optimizer = sgd(lr = 1e-2)\n  epochs = 2\n}\n"
             "train Net on rows as Three {\n  loss = mse(Net(x), x)\n  optimizer = sgd(lr = 1e-2)\n  epochs = 2\n}\n");
}

/// As the record of a run is where the process was killed before what comes behind was begun; `in` is what it knows of
/// the folder of that.
void forget_next(const fs::path& run, const std::string& in) {
  json record = json::parse(read_file(run / "run.json"));
  REQUIRE(record.at("state") == "finished");
  record.at("following").erase("begun");
  record.at("following").erase("in");
  if (!in.empty()) record.at("following")["in"] = in;
  write_file(run / "run.json", record.dump());
}

void check_same_weights(const fs::path& one, const fs::path& other) {
  for (const std::string run : {"One-1", "Two-1", "Three-1"})
    CHECK(read_file(one / "runs" / run / "last.safetensors") == read_file(other / "runs" / run / "last.safetensors"));
  CHECK(std::distance(fs::directory_iterator(one / "runs"), fs::directory_iterator()) == 3);
}

}  // namespace

TEST_CASE("a train block whose data are missing is told not to be begun, and --resume of the one before begins it",
          "[command][resume]") {
  const Scratch scratch;
  const fs::path stopped = scratch.path() / "stopped", whole = scratch.path() / "whole";
  for (const fs::path& folder : {stopped, whole}) write_three_blocks(folder);
  REQUIRE(run_nnc("train three.nn --seed 3", whole).status == 0);
  fs::rename(stopped / "later.csv", stopped / "away.csv");
  for (const std::string words : {"train three.nn --seed 3", "train --resume runs/One-1"}) {
    const auto failed = run_nnc(words, stopped);
    INFO(words << "\n" << failed.err);
    CHECK(failed.status != 0);
    CHECK_THAT(failed.err, Catch::Contains("later.csv"));
    CHECK_THAT(failed.err, Catch::Contains("note: train blocks Two, Three were not begun; with that put right, `nnc "
                                           "train --resume runs/One-1` begins them\n"));
    CHECK_THAT(failed.err, !Catch::Contains("nothing was left to do"));
  }
  fs::rename(stopped / "away.csv", stopped / "later.csv");
  const auto resumed = run_nnc("train --resume runs/One-1", stopped);
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK_THAT(resumed.err, Catch::Contains("note: train blocks Two, Three were not begun before, and follow now\n"));
  CHECK_THAT(resumed.err, !Catch::Contains("nothing was left to do"));
  check_same_weights(stopped, whole);
  // Once begun they are named, wherever the folders went, and are not begun again.
  fs::rename(stopped, scratch.path() / "moved");
  const auto idle = run_nnc("train --resume ../moved/runs/One-1/ --data .", whole);
  INFO(idle.err);
  CHECK(idle.status == 0);
  CHECK_THAT(idle.err, Catch::Contains("nothing was left to do"));
  CHECK_THAT(idle.err, Catch::Contains("note: train block Two was begun in ../moved/runs/Two-1; ") &&
                           Catch::Contains("note: train block Three was begun in ../moved/runs/Three-1; "));
  fs::remove_all(whole / "runs/Two-1");
  CHECK(run_nnc("train --resume runs/One-1 --epochs 4", whole).status == 0);
  CHECK_FALSE(fs::exists(whole / "runs/Two-1"));
}

TEST_CASE("train blocks behind a finished one are begun by --resume wherever the process was killed between them",
          "[command][resume]") {
  const Scratch scratch;
  const fs::path whole = scratch.path() / "whole", killed = scratch.path() / "killed", runs = killed / "runs";
  write_three_blocks(whole);
  REQUIRE(run_nnc("train three.nn --seed 3", whole).status == 0);
  fs::copy(whole, killed, fs::copy_options::recursive);
  const auto resume = [&](const std::string& run) {
    const auto resumed = run_nnc("train --resume runs/" + run, killed);
    INFO(resumed.err);
    CHECK(resumed.status == 0);
    check_same_weights(killed, whole);
    return resumed.err;
  };
  // Before the folder of the second was made.
  for (const std::string run : {"Two-1", "Three-1"}) fs::remove_all(runs / run);
  forget_next(runs / "One-1", "");
  resume("One-1");
  // Before the second had a record: its folder is taken.
  fs::remove_all(runs / "Three-1");
  fs::remove(runs / "Two-1/run.json");
  forget_next(runs / "One-1", "../Two-1");
  resume("One-1");
  // Before the first knew of the record that the second has by then.
  forget_next(runs / "One-1", "../Two-1");
  CHECK_THAT(resume("One-1"), Catch::Contains("nothing was left to do"));
  // Between the second and the third: the first says who begins it.
  fs::remove_all(runs / "Three-1");
  forget_next(runs / "Two-1", "");
  const auto told = run_nnc("train --resume runs/One-1", killed);
  CHECK_THAT(told.err, Catch::Contains("note: train block Two was begun in runs/Two-1; ") &&
                           Catch::Contains("note: train block Three was not begun; `nnc train --resume runs/Two-1` "
                                           "begins it\n"));
  CHECK_FALSE(fs::exists(runs / "Three-1"));
  resume("Two-1");
}

TEST_CASE("cross-validations behind one that is done are begun by --resume", "[command][resume]") {
  const Scratch scratch;
  write_three_blocks(scratch.path());
  fs::rename(scratch.path() / "later.csv", scratch.path() / "away.csv");
  const auto failed = run_nnc("train three.nn --cv 2 --seed 3", scratch.path());
  INFO(failed.err);
  CHECK(failed.status != 0);
  const std::string how =
      "note: train blocks Two, Three were not begun; with that put right, `nnc train --resume "
      "runs/One-1` begins them\n";
  CHECK_THAT(failed.err, Catch::Contains(how));
  fs::rename(scratch.path() / "away.csv", scratch.path() / "later.csv");
  const auto part = run_nnc("train --resume runs/One-1/part-1", scratch.path());
  CHECK_THAT(part.err, Catch::Contains("Two, Three were not begun; `nnc train --resume runs/One-1` begins them\n"));
  const auto resumed = run_nnc("train --resume runs/One-1", scratch.path());
  INFO(resumed.err);
  CHECK(resumed.status == 0);
  const auto again = run_nnc("train --resume runs/One-1", scratch.path());
  CHECK_THAT(again.err, Catch::Contains("note: train block Two was begun in runs/Two-1; ") &&
                            Catch::Contains("note: train block Three was begun in runs/Three-1; "));
  for (const std::string run : {"One-1", "Two-1", "Three-1"})
    CHECK(fs::exists(scratch.path() / "runs" / run / "part-2/run.json"));
  CHECK(std::distance(fs::directory_iterator(scratch.path() / "runs"), fs::directory_iterator()) == 3);
}

TEST_CASE("--init starts from the parameters of a file and names what does not match", "[command]") {
  const Scratch scratch;
  write_program(scratch.path());
  REQUIRE(run_nnc("train line.nn --out a --epochs 3", scratch.path()).status == 0);
  write_program(scratch.path(), "  shuffle = false\n");
  auto result = run_nnc("train line.nn --out b --epochs 1 --init a/last.safetensors", scratch.path());
  INFO(result.err);
  CHECK(result.status == 0);
  std::string text = read_file(scratch.path() / "line.nn");
  text.replace(text.find("Dense(1)"), 8, "Dense(2) |> Dense(1)");
  write_file(scratch.path() / "two.nn", text);
  auto other = run_nnc("train two.nn --out c --init a/last.safetensors", scratch.path());
  CHECK(other.status == 1);
  CHECK(contains(other.err, "`Dense1.W` has another shape than the program says"));
}

TEST_CASE("explain prints the page of a code, lists all codes, and answers another one with the nearest") {
  const Scratch scratch;
  const auto page = run_nnc("explain E0301 w0207", scratch.path());
  CHECK(page.status == 0);
  CHECK_THAT(page.out, Catch::StartsWith("E0301: shapes do not match\n\n"));
  CHECK_THAT(page.out, Catch::Contains("W0207: "));
  const auto list = run_nnc("explain", scratch.path());
  CHECK(list.status == 0);
  CHECK_THAT(list.out, Catch::Contains("  E0301  shapes do not match\n"));
  const auto none = run_nnc("explain E0300", scratch.path());
  CHECK(none.status == 2);
  CHECK_THAT(none.err, Catch::Contains("the nearest is E0301: shapes do not match"));
  // Names: all that one means, as a program or a message has it.
  struct Asked {
    std::string words, answer;
  };
  const Asked asked[] = {{"Dense", "layer Dense(out: int, bias: bool = true"},
                         {"'softmax_cross_entropy(z, y)'", "Cross-entropy of softmax(z), from logits"},
                         {"accuracy", "The share of equal classes."},
                         {"'`adam`'", "optimizer adam(lr: float"},
                         {"early_stop", "ends after so many evaluations without a better one"},
                         {"standardize", "(c - mean) / deviation, learnt on `train`."},
                         {"train", "nnc train  (commands)"},
                         {"lowest", "lowest(valid.loss), lowest(valid.loss, patience = 3)  (words)"},
                         {"highest", "more is better, in `best` and `early_stop`"},
                         {"missing", "what stands for a value that is not there"},
                         {"data", "where rows come from, and what a row's columns are"},
                         {"simplify", "(passes)"},
                         {"dot", "(ops of graphs)"},
                         {"lr", "lr  (an argument of these)\n  optimizer sgd(lr: float)"},
                         {"scan", "its `carry` goes from step to step"}};
  for (const auto& [words, answer] : asked) {
    const auto told = run_nnc("explain " + words, scratch.path());
    INFO(words << "\n" << told.out << told.err);
    CHECK(told.status == 0);
    CHECK_THAT(told.out, Catch::Contains(answer));
  }
  const auto all = run_nnc("explain --list", scratch.path());
  CHECK(all.status == 0);
  for (const std::string name : {"E0301", " Dense ", " adam ", " softplus ", "early_stop", " csv ", " predict "})
    CHECK_THAT(all.out, Catch::Contains(name));
  const auto typo = run_nnc("explain sofmax", scratch.path());
  CHECK(typo.status == 2);
  CHECK_THAT(typo.err,
             Catch::Contains("nothing is called `sofmax`; did you mean `softmax`?") && Catch::Contains("--list"));
  std::ofstream(scratch.path() / "wrong.nn") << "const a = b\nconst c = 1 / 0\n";
  CHECK_THAT(run_nnc("check wrong.nn", scratch.path()).err,
             Catch::EndsWith("\n`nnc explain E0201` says more; also about E0307\n"));
}
