// Values that a file does not have, where the program says what stands for them: what `predict` writes of a column is
// what training saw of it.
#include <fmt/format.h>

#include "runtime/dense_array.h"
#include "runtime/npy.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::write_file;

/// A program whose outputs are its columns `x` and `k`, as the model sees them.
std::string program(const std::string& x, const std::string& k) {
  return "data rows {\n  train = csv(\"train.csv\")\n  valid = csv(\"valid.csv\")\n  " + x + "\n  " + k +
         "\n  y: f32[1] = col(\"y\")\n}\n"
         "model Net(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(1) }\n"
         "train Net on rows {\n  loss = mse(Net(x), y)\n  output x = x\n  output k = k\n"
         "  optimizer = sgd(lr = 1e-3)\n  epochs = 2\n}\n";
}

/// Of `a` the values 1, 2, 2, 9 are there, of `b` 10, 30, 40; of `n` 3, 5, 5; of `word` two roses and a lily.
const char* const train_rows = "a,b,n,word,y\n1,10,3,rose,1\n2,,5,lily,2\n,30,5,rose,3\n2,NA,?,rose,4\n9,40,n/a,,5\n";
const char* const valid_rows = "a,b,n,word,y\n,,,,1\n1000,1000,7,lily,2\n";

struct Filled {
  std::string x, k, by_x, by_k;  ///< the columns as written; what is missing in each
};

}  // namespace

TEST_CASE("what is missing is filled in as the program says, from the rows of `train` alone", "[missing]") {
  const Filled cases[] = {
      {"x: f32[2] = cols(\"a\", \"b\", missing = mean)", "k: i32[] = col(\"n\", missing = 7)", "3.5,26.666666", "7"},
      {"x: f32[2] = cols(\"a\", \"b\", missing = median)", "k: i32[] = col(\"n\", missing = most_frequent)", "2,30",
       "5"},
      {"x: f32[2] = cols(\"a\", to = \"b\", missing = most_frequent)",
       "k: i32[] = classes(col(\"word\", missing = most_frequent))", "2,10", "1"},
      {"x: f32[2] = cols(except = [\"n\", \"word\", \"y\"], missing = -1.5)",
       "k: i32[] = classes(col(\"word\", missing = \"none\"))", "-1.5,-1.5", "1"},
  };
  for (const Filled& filled : cases) {
    INFO(filled.x << "; " << filled.k);
    const Scratch scratch;
    write_file(scratch.path() / "net.nn", program(filled.x, filled.k));
    write_file(scratch.path() / "train.csv", train_rows);
    write_file(scratch.path() / "valid.csv", valid_rows);
    const auto trained = run_nnc("train net.nn --out run", scratch.path());
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    write_file(scratch.path() / "new.csv", "word,a,b,n\n,,,\nlily,5,6,7\n");
    const auto predicted = run_nnc("predict run --input new.csv", scratch.path());
    INFO(predicted.err);
    CHECK(predicted.out == fmt::format("x.0,x.1,k\n{},{}\n5,6,{}\n", filled.by_x, filled.by_k,
                                       filled.k.find("classes") == std::string::npos ? "7" : "0"));
    // The same where rows are streamed, and in f64, and after going on.
    const auto streamed = run_nnc("train net.nn --out streamed --stream-over 0", scratch.path());
    CHECK(streamed.status == 0);
    CHECK(read_file(scratch.path() / "run/last.safetensors") ==
          read_file(scratch.path() / "streamed/last.safetensors"));
    CHECK(run_nnc("train --resume run --epochs 3", scratch.path()).status == 0);
    const auto wide = run_nnc("train net.nn --out wide --dtype f64", scratch.path());
    INFO(wide.err);
    CHECK(wide.status == 0);
    CHECK(run_nnc("eval wide", scratch.path()).out == wide.out);
  }
}

TEST_CASE("what is standardized was filled in before, and a run says what stands for what is missing", "[missing]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program("x: f32[2] = standardize(cols(\"a\", \"b\", missing = median))",
                                                "k: i32[] = classes(col(\"word\", missing = most_frequent))"));
  write_file(scratch.path() / "train.csv", train_rows);
  write_file(scratch.path() / "valid.csv", valid_rows);
  const auto trained = run_nnc("train net.nn --out run", scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  CHECK(trained.err.find("fitted on train: data.x.missing, data.x.mean, data.x.deviation\n") != std::string::npos);
  CHECK(trained.err.find("classes of `k`: lily, rose; `rose` where the value is missing\n") != std::string::npos);
  CHECK(nlohmann::json::parse(read_file(scratch.path() / "run/run.json")).at("missing").dump() ==
        "{\"raw.k\":\"rose\"}");
  // (2 - 3.2) / sqrt(8.56) and (30 - 28) / sqrt(96): medians, also where means and deviations are taken.
  write_file(scratch.path() / "new.csv", "word,b,a\n,,\n");
  CHECK(run_nnc("predict run --input new.csv --format jsonl", scratch.path()).out ==
        "{\"x\": [-0.41015157, 0.20412414], \"k\": 1}\n");
  // Other data give other medians: the run does not go on with them.
  write_file(scratch.path() / "train.csv", std::string(train_rows).replace(13, 1, "8"));
  const auto resumed = run_nnc("train --resume run --epochs 3", scratch.path());
  CHECK(resumed.status == 1);
  CHECK(resumed.err.find("the data are not those that the run was trained with") != std::string::npos);
}

TEST_CASE("NaN in an array is a value that is missing; a compiled feed fills it in too", "[missing]") {
  const Scratch scratch;
  const auto npy = [&](const std::string& name, const std::vector<double>& values, std::int64_t width) {
    nnc::DenseArray array(nnc::DType::f32, {static_cast<std::int64_t>(values.size()) / width, width});
    for (std::size_t i = 0; i < values.size(); ++i) array.set(static_cast<std::int64_t>(i), values[i]);
    write_file(scratch.path() / name, nnc::npy_text(array));
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  npy("x.npy", {1, nan, 3, 20, nan, 40, 8, 30}, 2);
  npy("y.npy", {1, 2, 3, 4}, 1);
  const std::string asked =
      "data d {\n  train = npy(x = \"x.npy\", y = \"y.npy\")\n  x: f32[2] = col(\"x\", missing = median)\n"
      "  y: f32[1] = col(\"y\")\n}\n";
  const std::string rest =
      "model Net(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(1) }\n"
      "train Net on d {\n  loss = mse(Net(x), y)\n  output x = x\n  optimizer = sgd(lr = 1e-4)\n"
      "  epochs = 1\n}\n";
  write_file(scratch.path() / "net.nn", asked + rest);
  const auto trained = run_nnc("train net.nn --out run", scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  npy("new.npy", {nan, nan}, 2);
  CHECK(run_nnc("predict run --input new.npy", scratch.path()).out == "x.0,x.1\n3,30\n");
  REQUIRE(run_nnc("build run -o net", scratch.path()).status == 0);
  CHECK(read_file(scratch.path() / "net.h").find("x, NaN where it is missing") != std::string::npos);
  // Unasked it is an error, with the row.
  std::string unasked = asked;
  unasked.replace(unasked.find(", missing = median"), 18, "");
  write_file(scratch.path() / "net.nn", unasked + rest);
  const auto refused = run_nnc("train net.nn --out other", scratch.path());
  CHECK(refused.status == 1);
  CHECK(refused.err.find("x.npy") != std::string::npos);
  CHECK(refused.err.find("nan is not a finite number") != std::string::npos);
}

TEST_CASE("a value that is no class is counted as the class that its column says, and it is said how many are",
          "[missing]") {
  struct Way {
    std::string asked, classes, stands, valid;  ///< which class `elm` is, and what valid's rows are written as
  };
  const Way ways[] = {{"unknown = most_frequent", "lily, rose", "rose", "1"},
                      {"unknown = \"other\"", "lily, other, rose", "other", "1"},
                      {"missing = most_frequent, unknown = \"lily\"", "lily, rose", "lily", "0"}};
  const std::string train_csv = "a,b,n,word,y\n1,10,3,rose,1\n2,1,5,lily,2\n3,30,5,rose,3\n";
  const std::string valid_csv = "a,b,n,word,y\n1,1,1,elm,1\n1,1,1,oak,1\n1,1,1,rose,2\n";
  for (const Way& way : ways) {
    INFO(way.asked);
    const Scratch scratch;
    write_file(scratch.path() / "net.nn",
               program("x: f32[2] = cols(\"a\", \"b\")", "k: i32[] = classes(col(\"word\", " + way.asked + "))"));
    write_file(scratch.path() / "train.csv", train_csv);
    write_file(scratch.path() / "valid.csv", valid_csv);
    const auto trained = run_nnc("train net.nn --out run", scratch.path());
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    CHECK(trained.err.find("classes of `k`: " + way.classes) != std::string::npos);
    CHECK(trained.err.find("; `" + way.stands + "` where it is none of them\n") != std::string::npos);
    CHECK(trained.err.find("note: 2 rows have a value of column `word` that is none of its classes, such as `elm`; `" +
                           way.stands + "` stands for them\n") != std::string::npos);
    CHECK(run_nnc("train --resume run --epochs 3", scratch.path()).status == 0);
    write_file(scratch.path() / "new.csv", "word,a,b\nash,5,6\n");
    const auto predicted = run_nnc("predict run --input new.csv", scratch.path());
    INFO(predicted.err);
    CHECK(predicted.out == fmt::format("x.0,x.1,k\n5,6,{}\n", way.valid));
    CHECK(predicted.err == "note: 1 row has a value of column `word` that is none of its classes, such as `ash`; `" +
                               way.stands + "` stands for it\n");
    REQUIRE(run_nnc("build run -o net", scratch.path()).status == 0);
    CHECK(read_file(scratch.path() / "net.h").find("; that of " + way.stands + " for any other") != std::string::npos);
  }
}

TEST_CASE("a value that is no class is refused where nothing stands for it, and the answer says what may",
          "[missing]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program("x: f32[2] = cols(\"a\", \"b\")", "k: i32[] = classes(col(\"word\"))"));
  write_file(scratch.path() / "train.csv", "a,b,word,y\n1,10,rose,1\n2,1,lily,2\n");
  write_file(scratch.path() / "valid.csv", "a,b,word,y\n1,10,rose,1\n2,1,lily,2\n");
  REQUIRE(run_nnc("train net.nn --out run", scratch.path()).status == 0);
  write_file(scratch.path() / "new.csv", "word,a,b\nrose,1,2\nash,5,6\n");
  const auto refused = run_nnc("predict run --input new.csv", scratch.path());
  CHECK(refused.status == 1);
  CHECK(refused.err.find("new.csv:3:1") != std::string::npos);
  CHECK(refused.err.find("`classes(col(\"word\", unknown = most_frequent))`") != std::string::npos);
  CHECK(refused.err.find("the model is then trained anew") != std::string::npos);
  struct Wrong {
    std::string column, answer;
  };
  const Wrong wrongs[] = {
      {"k: i32[] = col(\"n\", unknown = \"other\")", "`unknown` is about a value that is no class"},
      {"k: i32[] = classes(col(\"word\", unknown = median))", "`unknown` is `most_frequent` or the name of a class"},
      {"k: i32[] = classes(col(\"word\", unknown = most_freqent))", "did you mean `most_frequent`?"},
      {"k: i32[] = classes(col(\"word\", unknwon = \"other\"))", "did you mean `unknown`?"}};
  for (const auto& [column, answer] : wrongs) {
    write_file(scratch.path() / "wrong.nn", program("x: f32[2] = cols(\"a\", \"b\")", column));
    const auto checked = run_nnc("check wrong.nn", scratch.path());
    INFO(checked.err);
    CHECK(checked.status == 1);
    CHECK(checked.err.find(answer) != std::string::npos);
  }
}
