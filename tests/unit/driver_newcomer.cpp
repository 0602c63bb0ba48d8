// What a newcomer meets: templates that train, help whose examples run, completion, the man page, configuration, and
// looks into programs and runs.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "runtime/npy.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nnc::test::json_lines;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::text_lines;
using nnc::test::write_file;
namespace fs = std::filesystem;

/// The commands that the command line knows.
std::vector<std::string> commands(const fs::path& folder) {
  static const std::regex named(R"(-n __fish_use_subcommand -f -a (\S+))");
  const std::string script = run_nnc("completion fish", folder).out;
  std::vector<std::string> names;
  for (auto at = std::sregex_iterator(script.begin(), script.end(), named); at != std::sregex_iterator(); ++at)
    names.push_back((*at)[1]);
  return names;
}

/// The lines of the examples that a help begins with, without the words to the right.
std::vector<std::string> examples(const std::string& help) {
  std::vector<std::string> lines;
  for (const std::string& line : text_lines(help)) {
    if (line == "Examples:") continue;
    if (!line.starts_with("  nnc ")) break;
    lines.push_back(line.substr(2, line.find("   ", 3) - 2));
  }
  return lines;
}

/// A shell's line in which `nnc` is the binary under test.
nnc::test::CommandResult run_line(const std::string& line, const fs::path& folder) {
  return run_nnc("--version >version; nnc() { '" NNC_BINARY "' \"$@\"; }; { " + line + "\n}", folder);
}

/// linear and mlp, each trained: where the examples are at home.
void make_home(const fs::path& folder) {
  for (const std::string name : {"linear", "mlp"}) REQUIRE(run_nnc("new " + name + " .", folder).status == 0);
  write_file(folder / "layers.nn",
             "test \"a norm of layers\" {\n  let x: f32[2, 3] = normal(0, 1)\n"
             "  expect sum(softmax(x), over = -1) == [1, 1] within 1e-6\n}\n");
  REQUIRE(run_nnc("train linear.nn", folder).status == 0);
  REQUIRE(run_nnc("emit linear.nn --stage graph -o step.ng", folder).status == 0);
  REQUIRE(run_nnc("train mlp.nn --max-steps 30", folder).status == 0);
}

}  // namespace

TEST_CASE("every template of `nnc new` trains, and what it learns is better than guessing", "[newcomer]") {
  const Scratch scratch;
  std::set<std::string> names;
  for (const std::string& line : text_lines(run_nnc("new", scratch.path()).out))
    names.insert(line.substr(2, line.find(' ', 2) - 2));
  CHECK(names == std::set<std::string>{"linear", "logistic", "mlp", "cnn", "rnn", "gpt"});
  const auto figure = [&](const std::string& name, const std::string& arguments, const std::string& key) {
    const auto made = run_nnc("new " + name, scratch.path());
    CHECK(made.status == 0);
    CHECK(run_nnc("fmt --check " + name + "/" + name + ".nn", scratch.path()).status == 0);
    const auto trained =
        run_nnc("train " + name + "/" + name + ".nn --json --out run-" + name + arguments, scratch.path());
    INFO(name << "\n" << trained.err);
    REQUIRE(trained.status == 0);
    return json_lines(trained.out).back().at(key).get<double>();
  };
  CHECK(figure("linear", "", "error") < 8);  // the prices scatter by 6
  CHECK(figure("logistic", "", "acc") > 0.8);
  CHECK(figure("mlp", "", "acc") > 0.95);
  CHECK(figure("cnn", "", "acc") > 0.9);
  CHECK(figure("rnn", " --epochs 3", "error") < 0.06);  // the mean is off by 0.057
  CHECK(figure("gpt", "", "next") > 0.9);
  CHECK_THAT(run_nnc("new mlp other/", scratch.path()).err,
             Catch::Contains("wrote other/mlp.nn\nnext: nnc train other/mlp.nn\n"));
  const auto again = run_nnc("new mlp", scratch.path());
  CHECK(again.status == 2);
  CHECK_THAT(again.err, Catch::Contains("is there already"));
  CHECK_THAT(run_nnc("new gtp", scratch.path()).err, Catch::Contains("did you mean `gpt`?"));
}

TEST_CASE("every command's help begins with examples, and they run", "[newcomer]") {
  const Scratch scratch;
  make_home(scratch.path());
  const std::vector<std::string> names = commands(scratch.path());
  CHECK(names.size() >= 16);
  for (const std::string& name : names) {
    const auto help = run_nnc(name + " --help", scratch.path());
    const auto lines = examples(help.out);
    CHECK(lines.size() >= 2);
    for (const std::string& line : lines) {
      INFO(line);
      CHECK_THAT(line, Catch::Contains("nnc " + name));
      const auto result = run_line(line, scratch.path());
      INFO(result.out << result.err);
      CHECK(result.status == 0);
    }
    for (const fs::path made : {"mlp", "fruits", "linear"}) fs::remove_all(scratch.path() / made);
  }
}

TEST_CASE("the examples of nnc itself run one after the other", "[newcomer]") {
  const Scratch scratch;
  for (const std::string& line : examples(run_nnc("--help", scratch.path()).out)) {
    INFO(line);
    const auto result = run_line(line, scratch.path());
    INFO(result.err);
    CHECK(result.status == 0);
  }
}

TEST_CASE("what a newcomer types first is answered with what was meant", "[newcomer]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  REQUIRE(run_nnc("new mlp", folder).status == 0);
  REQUIRE(run_nnc("train mlp/mlp.nn --epochs 1 --out run", folder).status == 0);
  struct Typed {
    std::string words, answer;
  };
  const Typed lines[] = {
      {"mlp/mlp.nn", "`nnc train mlp/mlp.nn` trains it"},
      {"train mlp", "did you mean `mlp/mlp.nn`?"},
      {"train run", "`nnc train --resume run` goes on with it"},
      {"train mlp/mlp.csv", "`mlp/mlp.csv` holds data"},
      {"train mlp/mlp.nn --lr 0.1", "--set NAME=VALUE"},
      {"check run", "its program is in run/model"},
      {"eval mlp", "`mlp` is no run: there is no run.json in it"},
      {"resume run", "`nnc train --resume RUN`"},
      {"train mlp/mlp.nn --set hidden=", "--set gives `hidden` no value"},
      {"train mlp/mpl.nn", "help:  did you mean `mlp/mlp.nn`?"},
      {"train typed.nn", "help: did you mean `mlp.csv`?"},
      {"predict run --input mlp/mpl.csv", "help: did you mean `mlp/mlp.csv`?"},
      {"train --resume nowhere", "error: there is no run `nowhere`\n   = help: `nnc train PROGRAM` makes a run"},
      {"train --resume rnu", "help: did you mean `run`?"},
      {"train --resume mlp/mlp.nn", "`mlp/mlp.nn` is a file, and a run is a folder"},
      {"report rnu", "error: there is no run `rnu`\n   = help: did you mean `run`?"},
      {"eval rnu", "did you mean `run`?"},
      {"check LICENCE", "error: `LICENCE` is no program: the name of a program ends in .nn\n   = help: `nnc new`"},
      {"fmt --check LICENCE", "error: `LICENCE` is no program"},
      {"check 'a run'", "its program is in 'a run/model'; `nnc train --resume 'a run'` goes on"},
  };
  std::string typed_program = read_file(folder / "mlp/mlp.nn");
  typed_program.replace(typed_program.find("csv(\"mlp.csv\")"), 14, "csv(\"mpl.csv\")");
  write_file(folder / "typed.nn", typed_program);
  fs::copy(folder / "mlp/mlp.csv", folder / "mlp.csv");
  write_file(folder / "LICENCE", "All of this\nis no program\n");
  fs::copy(folder / "run", folder / "a run", fs::copy_options::recursive);
  for (const auto& [words, answer] : lines) {
    const auto typed = run_nnc(words, folder);
    INFO(words << "\n" << typed.err);
    CHECK((typed.status == 1 || typed.status == 2));
    CHECK(typed.out.empty());
    CHECK(typed.err.find(answer) != std::string::npos);
  }
  // What is about a program takes a run too, with what the run has set.
  CHECK(run_nnc("derive run", folder).out == run_nnc("derive mlp/mlp.nn", folder).out);
  CHECK(run_nnc("emit run --stage opt", folder).out == run_nnc("emit mlp/mlp.nn --stage opt", folder).out);
  CHECK_THAT(run_nnc("bench run --seconds 0.01", folder).out, Catch::StartsWith("step: 32 rows, f32, "));
  CHECK(run_nnc("help", folder).out == run_nnc("--help", folder).out);
  CHECK(run_nnc("help train", folder).out == run_nnc("train --help", folder).out);
  CHECK(run_nnc("version", folder).out == run_nnc("--version", folder).out);
}

TEST_CASE("completion and the man page know every command and every option", "[newcomer]") {
  const Scratch scratch;
  const auto bash = run_nnc("completion bash", scratch.path()), zsh = run_nnc("completion zsh", scratch.path()),
             fish = run_nnc("completion fish", scratch.path()), man = run_nnc("completion man", scratch.path());
  static const std::regex option(R"(\s--([a-z-]+))");
  for (const std::string& name : commands(scratch.path())) {
    INFO(name);
    CHECK_THAT(man.out, Catch::Contains(".SS nnc " + name));
    const std::string help = run_nnc(name + " --help", scratch.path()).out;
    const std::string table = help.substr(help.find("Options:"));
    for (auto at = std::sregex_iterator(table.begin(), table.end(), option); at != std::sregex_iterator(); ++at) {
      const std::string word = (*at)[1];
      if (word == "version" || word == "color") continue;
      INFO(word);
      std::string in_roff;
      for (const char c : "--" + word) in_roff += c == '-' ? "\\-" : std::string(1, c);
      CHECK_THAT(man.out, Catch::Contains(in_roff));
      CHECK_THAT(bash.out, Catch::Contains("--" + word));
      CHECK_THAT(zsh.out, Catch::Contains("--" + word + "["));
      CHECK_THAT(fish.out,
                 Catch::Contains("__fish_seen_subcommand_from " + name + "'") && Catch::Contains(" -l " + word));
    }
  }
  write_file(scratch.path() / "nnc.bash", bash.out);
  write_file(scratch.path() / "mine.nn", "");
  const auto completed = [&](const std::string& words, int at) {
    write_file(scratch.path() / "try.sh", "source ./nnc.bash\nCOMP_WORDS=(" + words + ")\nCOMP_CWORD=" +
                                              std::to_string(at) + "\n_nnc\necho \"${COMPREPLY[*]}\"\n");
    const auto result = run_line("bash try.sh", scratch.path());
    CHECK(result.err == "");
    return result.out;
  };
  CHECK(completed("nnc tra", 1) == "train\n");
  CHECK(completed("nnc train --res", 2) == "--resume\n");
  CHECK(completed("nnc train mi", 2) == "mine.nn\n");
  CHECK(completed("nnc train --dtype ''", 3) == "f32 f64\n");
  CHECK(completed("nnc completion --col", 2) == "\n");
}

TEST_CASE("an option beats a variable, which beats the nearest nnc.toml", "[newcomer]") {
  const Scratch scratch;
  const fs::path inner = scratch.path() / "deep/deeper";
  fs::create_directories(inner);
  write_file(scratch.path() / "nnc.toml", "# of all below\nthreads = 3   # not more\ncodegen-level = \"none\"\n");
  const auto threads = [&](const std::string& arguments, const std::string& environment = "") {
    const auto result = run_nnc("doctor " + arguments, inner, environment);
    INFO(result.err);
    std::smatch found;
    const std::regex line("\nthreads +(\\d+) ");
    REQUIRE(std::regex_search(result.out, found, line));
    return std::stoi(found[1]);
  };
  CHECK(threads("") == 3);
  CHECK(threads("", "NNC_THREADS=2") == 2);
  CHECK(threads("--threads 1", "NNC_THREADS=2") == 1);
  write_file(scratch.path() / "deep/nnc.toml", "threads = 4\n");
  CHECK(threads("") == 4);
  for (const auto& [text, message] : {std::pair{"thread = 1", "did you mean `threads`?"},
                                      {"lr = 1e-3", "nnc.toml cannot set `lr`"},
                                      {"[train]", "a line of nnc.toml is `name = value`"}}) {
    write_file(inner / "nnc.toml", text);
    const auto result = run_nnc("doctor", inner);
    CHECK(result.status == 2);
    CHECK_THAT(result.err, Catch::Contains(message) && Catch::Contains("nnc.toml:1"));
  }
  write_file(inner / "nnc.toml", "threads = many\n");
  CHECK(run_nnc("doctor", inner).status == 2);
  // What the line says is not blamed on a variable.
  fs::remove(inner / "nnc.toml");
  CHECK_THAT(run_nnc("doctor --threads 0", inner, "NNC_THREADS=2").err,
             Catch::Contains("--threads") && !Catch::Contains("NNC_THREADS"));
  CHECK_THAT(run_nnc("doctor", inner, "NNC_THREADS=0").err, Catch::Contains("set by NNC_THREADS"));
}

TEST_CASE("doctor says what it finds and tries compiled code", "[newcomer]") {
  const Scratch scratch;
  const auto result = run_nnc("doctor", scratch.path());
  INFO(result.out << result.err);
  CHECK(result.status == 0);
  CHECK_THAT(result.out, Catch::Contains("\nnative code    computes the evaluator's bits\n") &&
                             Catch::Contains("\nnnc.toml       ") && Catch::Contains("\nprocessor      "));
  const auto oldest = run_nnc("doctor --cpu x86-64", scratch.path());
  CHECK(oldest.status == 0);
  CHECK_THAT(oldest.out, Catch::Contains("\nnative code    computes the evaluator's bits\n") &&
                             Catch::Contains("no FMA: it is computed from other instructions, so everything is slow"));
}

TEST_CASE("inspect shows programs, runs, weights, and every named value of a row", "[newcomer]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  write_file(
      folder / "net.nn",
      "data rows {\n  train = table(a = [1, 2, 3, 4], b = [10, 20, 30, 50], k = [\"no\", \"yes\", \"no\", \"yes\"])\n"
      "  x: f32[2] = cols(\"a\", \"b\")\n  y: i32[] = classes(col(\"k\"))\n}\n"
      "model Net(x: f32[batch, 2]) -> f32[batch, 2] {\n  let seen = x / 10\n  return seen |> Dense(2, init = ones)\n}\n"
      "train Net on rows {\n  let z = Net(x)\n  let undefined = log(-x)\n  loss = softmax_cross_entropy(z, y)\n"
      "  metric acc = accuracy(z, y)\n  metric strange = mean(undefined)\n  output kind = argmax(z, over = -1)\n"
      "  let nine: f32[9] = iota\n  output wide = x[:, 0, _] * 0 + nine\n  optimizer = adam(lr = 0.1)\n  epochs = "
      "3\n}\n");
  const auto program = run_nnc("inspect net.nn", folder);
  INFO(program.out << program.err);
  CHECK(program.status == 0);
  CHECK_THAT(program.out,
             Catch::StartsWith("Net: 6 parameters\n") && Catch::Contains("\nDense1.W               f32[2, 2]"));
  REQUIRE(run_nnc("train net.nn --out run", folder).status == 0);
  const auto run = run_nnc("inspect run", folder);
  INFO(run.out << run.err);
  CHECK(run.status == 0);
  CHECK_THAT(run.out, Catch::Contains("classes of `y`: no, yes") && Catch::Contains("after epoch 3, step 3") &&
                          Catch::Contains("state/adam.m/Dense1.W"));
  const auto weights = run_nnc("inspect run/last.safetensors", folder);
  CHECK(weights.status == 0);
  CHECK_THAT(weights.out, Catch::Contains("seed: 0\n") && Catch::Contains("Dense1.b"));
  const auto row = run_nnc("inspect run --row 3", folder);
  INFO(row.out << row.err);
  REQUIRE(row.status == 0);
  std::map<std::string, std::string> lines;
  for (const std::string& line : text_lines(row.out))
    lines[line.substr(0, line.find(' '))] = std::regex_replace(line, std::regex(" +"), " ");
  CHECK(lines.at("x") == "x f32[1, 2] 3 30");
  CHECK(lines.at("seen") == "seen f32[1, 2] 0.3 3");
  CHECK(lines.at("y") == "y i32[1] 0 no");
  CHECK(lines.at("undefined") == "undefined f32[1, 2] nan nan");
  CHECK(lines.contains("z"));
  CHECK(lines.contains("acc"));
  CHECK_THAT(row.out, Catch::Contains("\noutput kind  i32[1]     ") &&
                          Catch::Contains("\noutput wide  f32[1, 9]  0 to 8, mean 4\n"));
  CHECK(run_nnc("inspect run --row 5", folder).status == 2);
  CHECK(run_nnc("inspect run --row 1 --split none", folder).status == 2);
  CHECK(run_nnc("inspect net.nn --row 1", folder).status == 2);
  CHECK(run_nnc("inspect none.safetensors", folder).status == 2);
}

TEST_CASE("a reader that goes away ends a command quietly", "[newcomer]") {
  const Scratch scratch;
  REQUIRE(run_nnc("new gpt .", scratch.path()).status == 0);
  for (const std::string command : {"emit gpt.nn --stage asm", "completion man", "explain"}) {
    INFO(command);
    const auto result = run_line("bash -c \"'" NNC_BINARY "' " + command + " | head -1\"", scratch.path());
    CHECK(result.status == 0);
    CHECK(result.err == "");
    CHECK(text_lines(result.out).size() == 1);
  }
}

TEST_CASE("predict reads CSV, NPY, NPZ and stdin, and writes CSV, JSON lines and NPY, from any folder", "[newcomer]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  write_file(folder / "net.nn",
             "data rows {\n  train = table(a = [1, 2, 3, 4], k = [\"no\", \"yes\", \"no\", \"yes\"])\n"
             "  x: f32[1] = standardize(col(\"a\"))\n  y: f32[1] = standardize(2 * col(\"a\") + 1)\n}\n"
             "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1) }\n"
             "train Net on rows {\n  let z = Net(x)\n  loss = mse(z, y)\n  output y = undo(z, y)\n"
             "  optimizer = sgd(lr = 0.3)\n  epochs = 200\n}\n");
  REQUIRE(run_nnc("train net.nn --out run", folder).status == 0);
  fs::create_directories(folder / "away");
  write_file(folder / "away/new.csv", "text,a\n\"x, y\",10\nz,-2\n");
  const auto predicted = [&](const std::string& arguments) {
    const auto result = run_nnc("predict ../run " + arguments, folder / "away");
    INFO(arguments << "\n" << result.err);
    CHECK(result.status == 0);
    return result.out;
  };
  const std::string csv = predicted("--input new.csv");
  const auto lines = text_lines(csv);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "y");
  CHECK(std::abs(std::stod(lines[1]) - 21) < 1e-3);  // in the unit of the data
  CHECK(std::abs(std::stod(lines[2]) + 3) < 1e-3);
  const auto json = json_lines(predicted("--input new.csv --format jsonl"));
  CHECK(json.at(1).at("y").at(0) == std::stod(lines[2]));
  predicted("--input new.csv --output out.npy");
  const auto array = nnc::read_npy((folder / "away/out.npy").string());
  REQUIRE(array);
  CHECK(array->dims == std::vector<std::int64_t>{2, 1});
  CHECK(static_cast<float>(array->at(0)) == std::stof(lines[1]));
  nnc::DenseArray input(nnc::DType::f64, {2});
  input.set(0, 10), input.set(1, -2);
  write_file(folder / "away/new.npy", nnc::npy_text(input));
  CHECK(predicted("--input new.npy") == csv);
  const auto piped = run_line("nnc predict ../run --input - < new.csv", folder / "away");
  CHECK(piped.out == csv);
  CHECK(run_nnc("predict ../run --input new.csv --output out.npz", folder / "away").status == 0);
  const auto archive = nnc::read_npz((folder / "away/out.npz").string());
  REQUIRE(archive);
  CHECK(std::ranges::equal((*archive)[0].second->content.bytes, array->content.bytes));
  const auto other = run_line("printf 'A,b\\n1,2\\n' | nnc predict ../run --input -", folder / "away");
  CHECK_THAT(other.err,
             Catch::Contains("error: standard input has no column `a`") && Catch::Contains("help: did you mean `A`?"));
  // A header alone is a file without rows, and so is what is made of it.
  write_file(folder / "away/none.csv", "text,a\n");
  CHECK(predicted("--input none.csv") == "y\n");
  CHECK(predicted("--input none.csv --format jsonl").empty());
  predicted("--input none.csv --output none.npy");
  CHECK(nnc::read_npy((folder / "away/none.npy").string())->dims == std::vector<std::int64_t>{0, 1});
  const auto parquet = run_nnc("predict ../run --input new.csv --output out.parquet", folder / "away");
  CHECK(parquet.status == 2);
  CHECK_THAT(parquet.err, Catch::Contains("predict does not write `.parquet` files") && Catch::Contains("--format"));
  CHECK_FALSE(fs::exists(folder / "away/out.parquet"));
  predicted("--input new.csv --output out.parquet --format csv");
  CHECK(read_file(folder / "away/out.parquet") == csv);
}

TEST_CASE("an NPY file is what was written, of every element type", "[newcomer]") {
  for (const nnc::DType dtype : {nnc::DType::f32, nnc::DType::f64, nnc::DType::i32, nnc::DType::boolean}) {
    nnc::DenseArray array(dtype, {2, 3});
    for (int i = 0; i < 6; ++i) array.set(i, i % 2);
    const std::string text = nnc::npy_text(array);
    const auto read = nnc::parse_npy(nnc::KeptBytes::of({text.begin(), text.end()}), "it");
    REQUIRE(read);
    CHECK(read->dims == array.dims);
    for (int i = 0; i < 6; ++i) CHECK(read->at(i) == i % 2);
    CHECK((text.size() - 6 * nnc::size_of(dtype)) % 64 == 0);
  }
}

TEST_CASE("figures over data that have changed since the run come with a warning", "[newcomer]") {
  const Scratch scratch;
  write_file(scratch.path() / "line.nn",
             "data line {\n  train, valid = split(csv(\"line.csv\"), 0.75, 0.25)\n  x: f32[1] = cols(\"x\")\n"
             "  y: f32[1] = cols(\"y\")\n}\n"
             "model Line(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1) }\n"
             "train Line on line {\n  loss = mse(Line(x), y)\n  optimizer = sgd(0.1)\n  epochs = 2\n}\n");
  std::string rows = "x,y\n";
  for (int i = 0; i < 12; ++i) rows += "0." + std::to_string(10 + i) + ",1\n";
  write_file(scratch.path() / "line.csv", rows);
  REQUIRE(run_nnc("train line.nn --out run", scratch.path()).status == 0);
  CHECK(run_nnc("eval run", scratch.path()).err.empty());
  write_file(scratch.path() / "line.csv", rows + "0.9,1\n0.8,1\n0.7,1\n0.6,1\n");
  const std::string said =
      "the data have changed since the run: `train` has 12 rows and had 9, `valid` has 4 rows and had 3.";
  const auto all = run_nnc("eval run", scratch.path());
  CHECK(all.status == 0);
  CHECK_THAT(all.err, Catch::Contains(said));
  CHECK_THAT(run_nnc("inspect run --row 1 --split valid", scratch.path()).err,
             Catch::Contains("`valid` has 4 rows and had 3."));
  // As many rows: one cell is another, then two rows have changed places.
  std::string changed = rows;
  changed.replace(changed.find("0.14,1"), 6, "0.14,2");
  for (const std::string& others : {changed, "x,y\n0.11,1\n0.10,1\n" + rows.substr(rows.find("0.12"))}) {
    write_file(scratch.path() / "line.csv", others);
    const auto result = run_nnc("eval run", scratch.path());
    CHECK(result.status == 0);
    CHECK_THAT(result.err, Catch::Contains("the data have changed since the run:") &&
                               Catch::Contains("as many rows, and other values"));
    CHECK_THAT(run_nnc("train --resume run --epochs 3", scratch.path()).err,
               Catch::Contains("the data are not those that the run was trained with"));
  }
  write_file(scratch.path() / "line.csv", rows);
  CHECK(run_nnc("eval run --stream-over 0", scratch.path()).err.empty());
}

TEST_CASE("rows that no split has are counted in a warning; counts with `by` are exact", "[newcomer]") {
  const Scratch scratch;
  std::string rows = "x,k\n";
  for (int i = 0; i < 300; ++i) rows += std::to_string(i) + "," + (i % 3 == 0 ? "a" : "b") + "\n";
  write_file(scratch.path() / "rows.csv", rows);
  const auto planned = [&](const std::string& split) {
    write_file(scratch.path() / "net.nn",
               "data d {\n  train, valid = split(csv(\"rows.csv\"), " + split +
                   ")\n  x: f32[1] = standardize(col(\"x\"))\n  y: i32[] = classes(col(\"k\"))\n}\n"
                   "model Net(x: f32[batch, 1]) -> f32[batch, 2] { return x |> Dense(2) }\n"
                   "train Net on d {\n  loss = softmax_cross_entropy(Net(x), y)\n  optimizer = sgd(0.1)\n  epochs = "
                   "1\n}\n");
    return run_nnc("train net.nn --dry-run", scratch.path()).err;
  };
  CHECK_THAT(planned("80, 20"), Catch::Contains("rows: train 80, valid 20;") &&
                                    Catch::Contains("warning: 200 of the 300 rows of `rows.csv` are in no split\n"));
  CHECK_THAT(planned("79, 20, by = col(\"k\")"),
             Catch::Contains("rows: train 79, valid 20;") && Catch::Contains("warning: 201 of the 300 rows"));
  CHECK_THAT(planned("0.8, 0.2"), !Catch::Contains("in no split"));
}
