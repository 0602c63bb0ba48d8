// What train blocks say, end to end: parts of models, clipping, averages, stop conditions, and runs that go wrong; rows
// from NumPy's own archives. Of newton: driver_newton.cpp.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "runtime/checkpoint.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "runtime/zip.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using nnc::test::json_lines;
using nnc::test::read_file;
using nnc::test::read_weights;
using nnc::test::run_nnc;
using nnc::test::Scratch;

using Weights = std::map<std::string, std::vector<double>>;

const std::string head =
    "data points {\n  samples = 40\n  x: f32[2] = uniform(-1, 1)\n  y: f32[1] = sum(x, keep = true)\n"
    "  train, valid = split(0.8, 0.2)\n}\n"
    "layer Body()(x: float[..., 2]) -> float[..., 4] { return x |> Dense(4) |> BatchNorm() |> Dropout(0.5) |> tanh }\n"
    "model Net(x: f32[batch, 2]) -> f32[batch, 1] {\n  let Features = Body()\n  return x |> Features |> Dense(1)\n}\n";

/// Trains a block over these models and data into the folder `last_run`; its weights.
std::string last_run;
Weights trained(const Scratch& scratch, const std::string& block, const std::string& arguments = "") {
  static int number = 0;
  last_run = "run" + std::to_string(number++);
  std::ofstream(scratch.path() / "net.nn") << head << "train Net on points {\n" << block << "}\n";
  const auto result = run_nnc("train net.nn --out " + last_run + " " + arguments, scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  return read_weights(scratch.path() / last_run / "last.safetensors");
}

double distance(const Weights& a, const Weights& b) {
  double squares = 0;
  for (const auto& [name, values] : a)
    if (!name.starts_with("state/") && !name.ends_with(".mu") && !name.ends_with(".var"))
      for (std::size_t i = 0; i < values.size(); ++i) squares += std::pow(values[i] - b.at(name)[i], 2);
  return std::sqrt(squares);
}

}  // namespace

TEST_CASE("what is frozen stays, states too; what is not is trained by the optimizer with the longest path") {
  const Scratch scratch;
  const std::string block =
      "loss = mse(Net(x), y)\noptimizer = sgd(lr = 0.1)\noptimizer(Net.Features) = frozen\n"
      "optimizer(Net.Features.Dense1.b) = adam(lr = 0.01)\n";
  const Weights one = trained(scratch, block + "epochs = 1\n"), five = trained(scratch, block + "epochs = 5\n");
  for (const std::string name :
       {"Features.Dense1.W", "Features.BatchNorm1.scale", "Features.BatchNorm1.mu", "Features.BatchNorm1.var"}) {
    INFO(name);
    CHECK(one.at(name) == five.at(name));
  }
  CHECK(one.at("Features.BatchNorm1.var") == std::vector<double>(4, 1.0));
  CHECK(one.at("Features.Dense1.b") != five.at("Features.Dense1.b"));
  CHECK(one.at("Dense1.W") != five.at("Dense1.W"));
  CHECK(five.contains("state/adam.m/Features.Dense1.b"));
  CHECK_FALSE(five.contains("state/adam.m/Dense1.W"));
}

TEST_CASE("frozen on the path of one parameter stops its update alone") {
  const Scratch scratch;
  const std::string block =
      "loss = mse(Net(x), y)\noptimizer = sgd(lr = 0.1)\noptimizer(Net.Features.Dense1.W) = frozen\n";
  const Weights one = trained(scratch, block + "epochs = 1\n"), two = trained(scratch, block + "epochs = 2\n");
  CHECK(one.at("Features.Dense1.W") == two.at("Features.Dense1.W"));
  CHECK(one.at("Features.BatchNorm1.mu") != two.at("Features.BatchNorm1.mu"));
}

TEST_CASE("gradients are clipped to a norm over all parameters that are trained") {
  const Scratch scratch;
  const std::string block = "loss = 1000 * mse(Net(x), y)\noptimizer = sgd(lr = 1)\nepochs = 1\n";
  const Weights start = trained(scratch, block + "clip_norm = 1e-20\n", "--max-steps 1");
  const Weights clipped = trained(scratch, block + "clip_norm = 0.25\n", "--max-steps 1");
  const Weights far = trained(scratch, block + "clip_norm = 1e9\n", "--max-steps 1");
  const Weights free = trained(scratch, block, "--max-steps 1");
  CHECK(std::abs(distance(start, clipped) - 0.25) < 1e-6);
  CHECK(distance(start, free) > 1);
  CHECK(far == free);  // a factor of exactly 1
}

TEST_CASE("averages follow the parameters, corrected for their start, and evaluation uses them") {
  const Scratch scratch;
  const std::string block =
      "loss = mse(Net(x), y)\noptimizer = sgd(lr = 0.1)\naverage = ema(0.75)\nbest = lowest(valid.loss)\nepochs = 9\n";
  const Weights one = trained(scratch, block, "--max-steps 1"), two = trained(scratch, block, "--max-steps 2");
  for (std::size_t i = 0; i < 2; ++i) {
    const double first = one.at("Dense1.W")[i], second = two.at("Dense1.W")[i];
    CHECK(std::abs(one.at("average/Dense1.W")[i] - first) < 1e-6);
    CHECK(std::abs(two.at("average/Dense1.W")[i] - (0.75 * 0.25 * first + 0.25 * second) / (1 - 0.75 * 0.75)) < 1e-6);
  }
  // The averages under the names of the parameters have the figures of the run.
  trained(scratch, block);
  auto file = nnc::read_safetensors((scratch.path() / last_run / "last.safetensors").string());
  REQUIRE(file);
  nnc::TensorFile plain = *file;
  for (nnc::NamedArray& tensor : plain.tensors)
    if (const nnc::DenseArray* average = file->find("average/" + tensor.name)) tensor.array = *average;
  REQUIRE_FALSE(nnc::write_safetensors((scratch.path() / "plain.safetensors").string(), plain));
  std::ofstream(scratch.path() / "plain.nn")
      << head << "train Net on points {\nloss = mse(Net(x), y)\noptimizer = sgd(lr = 0.1)\nepochs = 1\n}\n";
  const auto averaged =
      run_nnc("eval " + last_run + " --weights " + last_run + "/last.safetensors --split valid --json", scratch.path());
  const auto same = run_nnc("eval plain.nn --weights plain.safetensors --split valid --json", scratch.path());
  INFO(averaged.err << same.err);
  REQUIRE(averaged.status == 0);
  REQUIRE(same.status == 0);
  CHECK(json_lines(averaged.out).at(0).at("loss") == json_lines(same.out).at(0).at("loss"));
}

TEST_CASE("a start from a file takes parameters and the states of layers") {
  const Scratch scratch;
  const std::string block = "loss = mse(Net(x), y)\noptimizer = sgd(lr = 0.1)\nepochs = 4\n";
  const Weights first = trained(scratch, block);
  const std::string source = last_run;
  const Weights second = trained(scratch,
                                 "loss = mse(Net(x), y)\noptimizer = sgd(lr = 0.1)\noptimizer(Net.Features) = frozen\n"
                                 "average = ema(0.9)\nepochs = 1\n",
                                 "--init " + source + "/last.safetensors");
  for (const std::string name : {"Features.Dense1.W", "Features.BatchNorm1.mu", "Features.BatchNorm1.var"})
    CHECK(first.at(name) == second.at(name));
}

TEST_CASE("two models have their names before their paths and their losses") {
  const Scratch scratch;
  fs::copy(NNC_SOURCE_DIR "/tests/programs/gan.nn", scratch.path() / "gan.nn");
  const auto result = run_nnc("train gan.nn --out run --epochs 2 --log-steps", scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  const Weights weights = read_weights(scratch.path() / "run/last.safetensors");
  for (const std::string name : {"Gen.Dense1.W", "Disc.Dense2.b", "average/Gen.Dense1.W", "state/adam.m/Disc.Dense1.W"})
    CHECK(weights.contains(name));
  const auto lines = json_lines(read_file(scratch.path() / "run/metrics.jsonl"));
  CHECK(lines.front().contains("loss(Gen)"));
  CHECK(lines.front().contains("loss(Disc)"));
  for (const std::string name :
       {"train.loss(Gen)", "train.loss(Disc)", "valid.loss(Gen)", "valid.loss(Disc)", "valid.miss"})
    CHECK(lines.back().contains(name));
  CHECK_FALSE(lines.back().contains("train.loss"));
  const auto evaluated = run_nnc("eval run --split valid --json", scratch.path());
  CHECK(json_lines(evaluated.out).at(0).contains("loss(Disc)"));
}

TEST_CASE("with check_every = steps(n) rules look within an epoch, and going on looks at the same steps") {
  const Scratch scratch;
  const std::string block =
      "  loss = mse(Net(x), y)\n  optimizer = sgd(lr = 0.1)\n  batch_size = 4\n  epochs = 20\n"  // 8 steps an epoch
      "  check_every = steps(3)\n  best = lowest(valid.loss)\n  stop = step >= 44\n";
  const Weights whole = trained(scratch, block);
  const std::string log = read_file(scratch.path() / (last_run + "/metrics.jsonl"));
  std::vector<int> looked;
  for (const auto& line : json_lines(log))
    if (line.contains("valid.loss")) looked.push_back(line.at("step"));
  CHECK(looked == std::vector<int>{3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45});
  trained(scratch, block, "--max-steps 18");
  REQUIRE(run_nnc("train --resume " + last_run, scratch.path()).status == 0);
  CHECK(read_file(scratch.path() / (last_run + "/metrics.jsonl")) == log);
  CHECK(read_weights(scratch.path() / (last_run + "/last.safetensors")) == whole);
}

TEST_CASE("training that diverges ends with status 3, and what it leaves is finite") {
  const Scratch scratch;
  for (const std::string rate : {"1e4", "1e19", "3e37"}) {
    INFO(rate);
    std::ofstream(scratch.path() / "net.nn")
        << head << "train Net on points {\nloss = mse(Net(x), y)\noptimizer = sgd(lr = " << rate
        << ")\nepochs = 400\n}\n";
    fs::remove_all(scratch.path() / "run");
    const auto result = run_nnc("train net.nn --out run", scratch.path());
    INFO(result.err);
    CHECK(result.status == 3);
    CHECK(result.err.find("training diverged: ") != std::string::npos);
    CHECK(result.err.find("note: the first that went wrong is ") != std::string::npos);
    CHECK(result.err.find("-nan") == std::string::npos);
    CHECK(result.err.find("null") == std::string::npos);
    for (const auto& [name, values] : read_weights(scratch.path() / "run/last.safetensors"))
      for (const double value : values)
        if (!name.starts_with("state/")) CHECK(std::isfinite(value));
    const auto evaluated = run_nnc("eval run --split train --json", scratch.path());
    REQUIRE(evaluated.status == 0);
    CHECK(json_lines(evaluated.out).at(0).at("loss").is_number());  // an infinity would be null
  }
}

// Row by row the loss of the row that comes next may be finite where that of another one is not.
TEST_CASE("the weights that a diverged run leaves have a finite loss over all rows, be they some steps older") {
  const Scratch scratch;
  std::ofstream(scratch.path() / "raw.nn")
      << "data rows {\n  train = table(a = [100, 110, 1, 2], b = [1, 2, 3, 4])\n  x: f32[1] = cols(\"a\")\n"
         "  y: f32[1] = cols(\"b\")\n}\n"
         "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1, init = zeros) }\n"
         "train Net on rows {\n  loss = half_mse(Net(x), y)\n  optimizer = sgd(lr = RATE)\n  batch_size = 1\n"
         "  shuffle = false\n  epochs = 400\n}\n";
  const std::string program = read_file(scratch.path() / "raw.nn");
  int older = 0;
  for (const std::string rate : {"0.1", "1", "3", "40"}) {
    INFO(rate);
    std::string text = program;
    std::ofstream(scratch.path() / "raw.nn") << text.replace(text.find("RATE"), 4, rate);
    fs::remove_all(scratch.path() / "run");
    const auto result = run_nnc("train raw.nn --out run", scratch.path());
    INFO(result.err);
    REQUIRE(result.status == 3);
    older += result.err.find("the last weights with a finite loss over all rows, after step ") != std::string::npos;
    const auto evaluated = run_nnc("eval run --json", scratch.path());
    CHECK(json_lines(evaluated.out).at(0).at("loss").is_number());
    // The step after those is the first whose weights have no finite loss.
    const std::int64_t step = nlohmann::json::parse(read_file(scratch.path() / "run/run.json")).at("step");
    fs::remove_all(scratch.path() / "next");
    const auto next = run_nnc("train raw.nn --out next --max-steps " + std::to_string(step + 1), scratch.path());
    INFO(next.err);
    if (next.status == 0)
      CHECK(!json_lines(run_nnc("eval next --json", scratch.path()).out).at(0).at("loss").is_number());
  }
  CHECK(older > 0);
}

TEST_CASE("the first value that went wrong has its line, its row, and what it was made of") {
  const Scratch scratch;
  fs::create_directories(scratch.path() / "parts");
  std::ofstream(scratch.path() / "parts/body.nn")
      << "layer Body(w: int)(x: float[..., In]) -> float[..., w] {\n  let h = x |> Dense(w, init = ones)\n"
         "  return if w == 1 { log(h) } else { relu(h) }\n}\n";
  const auto said = [&](const std::string& loss, const std::string& settings, const std::string& body = "Body(1)") {
    std::ofstream(scratch.path() / "net.nn")
        << "import \"parts/body.nn\"\n"
           "data rows {\n  train = table(a = [1, 2, 3, -4, 5], b = [1, 1, 1, 1, 1])\n  x: f32[1] = cols(\"a\")\n"
           "  y: f32[1] = cols(\"b\")\n}\n"
        << "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> " << body << " }\n"
        << "train Net on rows {\n  let z = Net(x)\n  loss = " << loss << "\n  shuffle = false\n  epochs = 9\n  "
        << settings << "\n}\n";
    fs::remove_all(scratch.path() / "run");
    const auto result = run_nnc("train net.nn --out run", scratch.path());
    INFO(result.err);
    CHECK(result.status == 3);
    return result.err;
  };
  // In an imported file; the rows before it are trained on in steps of their own.
  CHECK_THAT(said("mse(z, y)", "optimizer = sgd(lr = 0)\n  batch_size = 2"),
             Contains("epoch 1, step 2\n  --> parts/body.nn:3:22\n   = note: the first that went wrong is `log(h)` in "
                      "`return if w == 1 { log(h) } else { relu(h) }`: nan, in row 4 of train, where `h` is -4\n"));
  // A square that overflows; an infinity that is written down and not chosen is none.
  const std::string ones = "Body(2) |> Dense(1, init = ones)";
  CHECK_THAT(said("mean(select(x > -100, square(1e19 * z), log(0) + x))", "optimizer = sgd(lr = 0)", ones),
             Contains("--> net.nn:10:") && Contains("inf, in row 1 of train, where ") && Contains("`z` is 2\n"));
  // The update of a step.
  CHECK_THAT(said("mean(z)", "optimizer = sgd(lr = 3e38)", ones),
             Contains("--> net.nn:13:") && Contains(" in `optimizer = sgd(lr = 3e38)`: inf, where `∂loss/∂"));
}

TEST_CASE("rows come from NumPy's archives, for training and for prediction") {
  const Scratch scratch;
  fs::copy(NNC_SOURCE_DIR "/tests/golden/data/plane.npz", scratch.path() / "plane.npz");
  std::ofstream(scratch.path() / "plane.nn")
      << "data plane {\n  let rows = npz(\"plane.npz\")\n  let rest, held = split(rows, 0.75, 0.25, seed = 1)\n"
         "  train, valid = split(rest, 2, 1, every = 3)\n  test = held\n  x: f32[3] = standardize(col(\"x\"))\n"
         "  y: f32[1] = col(\"y\")\n}\n"
         "model Net(x: f32[batch, 3]) -> f32[batch, 1] { return x |> Dense(1) }\n"
         "train Net on plane {\n  let z = Net(x)\n  loss = mse(z, y)\n  output guess = z\n  optimizer = adam(lr = "
         "0.1)\n"
         "  epochs = 500\n  stop = valid.loss < 1e-6 and epoch > 3\n}\n";
  const auto result = run_nnc("train plane.nn --out run", scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.find("rows: train 60, valid 30, test 30") != std::string::npos);
  CHECK(result.err.find("stopped by `stop`") != std::string::npos);
  CHECK(json_lines(read_file(scratch.path() / "run/metrics.jsonl")).back().at("valid.loss") < 1e-6);
  const auto predicted = run_nnc("predict run --input plane.npz --output out.csv", scratch.path());
  INFO(predicted.err);
  CHECK(predicted.status == 0);
  std::istringstream lines(read_file(scratch.path() / "out.csv"));
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) ++count;
  CHECK(count == 121);
}

TEST_CASE("an array that nothing reads may be of words; one that is read says why it is not") {
  const Scratch scratch;
  nnc::DenseArray numbers(nnc::DType::f32, {3});
  for (int i = 0; i < 3; ++i) numbers.set(i, i);
  std::string header = "{'descr': '<U1', 'fortran_order': False, 'shape': (3,), }\n";
  const std::string words = "\x93NUMPY" + std::string{'\1', '\0', static_cast<char>(header.size()), '\0'} + header +
                            std::string("a\0\0\0b\0\0\0c\0\0\0", 12);
  const std::string a = nnc::npy_text(numbers);
  std::ofstream(scratch.path() / "rows.npz", std::ios::binary)
      << nnc::zip_text({{"word.npy", words}, {"a.npy", a}, {"b.npy", a}, {"y.npy", a}});
  const auto train = [&](const std::string& columns) {
    std::ofstream(scratch.path() / "net.nn")
        << "data rows {\n  train = npz(\"rows.npz\")\n  x: f32[2] = " + columns +
               "\n  y: f32[1] = col(\"y\")\n}\n"
               "model Net(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(1) }\n"
               "train Net on rows {\n  loss = mse(Net(x), y)\n  optimizer = sgd(lr = 0.1)\n  epochs = 1\n}\n";
    return run_nnc("train net.nn", scratch.path());
  };
  for (const std::string columns : {R"(cols("a", "b"))", R"(cols("a", to = "b"))", R"(cols(except = ["word", "y"]))"}) {
    const auto trained = train(columns);
    INFO(columns << "\n" << trained.err);
    CHECK(trained.status == 0);
  }
  for (const std::string columns :
       {R"(cols("word", "a"))", R"(cols("word", to = "a"))", R"(cols(except = ["b", "y"]))"}) {
    const auto refused = train(columns);
    INFO(columns << "\n" << refused.err);
    CHECK(refused.status == 1);
    CHECK(refused.err.find("the elements are of a type that is not read") != std::string::npos);
    CHECK(refused.err.find("rows.npz: word.npy") != std::string::npos);
  }
}

TEST_CASE("a column that never changes is named as its file names it") {
  const Scratch scratch;
  std::ofstream(scratch.path() / "rows.csv") << "age,legs,y\n1,2,3\n4,2,6\n7,2,9\n";
  std::ofstream(scratch.path() / "net.nn")
      << "data rows {\n  train = csv(\"rows.csv\")\n  x: f32[2] = standardize(cols(except = \"y\"))\n"
         "  legs: f32[1] = minmax(col(\"legs\"))\n  y: f32[1] = col(\"y\")\n}\n"
         "model Net(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(1) }\n"
         "train Net on rows {\n  loss = mse(Net(x) + legs, y)\n  optimizer = sgd(lr = 0.1)\n  epochs = 1\n}\n";
  const auto trained = run_nnc("train net.nn", scratch.path());
  INFO(trained.err);
  CHECK(trained.err.find("`legs` of column `x` is the same in all rows of train: it becomes 0") != std::string::npos);
  CHECK(trained.err.find("warning: `legs` is the same in all rows of train: it becomes 0") != std::string::npos);
}

TEST_CASE("cross-validation validates on every row once, strata dealt out evenly; each part is a run of its own") {
  const Scratch scratch;
  std::string rows = "id,a,kind\n";
  for (int i = 0; i < 30; ++i)
    rows += std::to_string(i) + "," + std::to_string(i * 0.1) + (i % 3 ? ",often\n" : ",seldom\n");
  std::ofstream(scratch.path() / "rows.csv") << rows;
  std::ofstream(scratch.path() / "net.nn")
      << "data rows {\n  let all = csv(\"rows.csv\")\n"
         "  train, valid, test = split(all, 20, 5, 5, seed = 1, by = col(\"kind\"))\n"
         "  x: f32[1] = standardize(col(\"a\"))\n  id: i32[] = col(\"id\")\n  y: i32[] = classes(col(\"kind\"))\n}\n"
         "model Net(x: f32[batch, 1]) -> f32[batch, 2] { return x |> Dense(2) }\n"
         "train Net on rows {\n  loss = softmax_cross_entropy(Net(x), y)\n  metric seen = sum(one_hot(id, 30), over = "
         "0)\n"
         "  metric kinds = sum(one_hot(y, 2), over = 0)\n  metric acc = accuracy(Net(x), y)\n"
         "  optimizer = adam(lr = 0.01)\n  epochs = 2\n}\n";
  const auto result = run_nnc("train net.nn --cv 5 --out cv --json", scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  std::vector<double> seen(30);
  double total = 0;
  int parts = 0;
  const auto lines = json_lines(result.out);
  for (const auto& line : lines) {
    if (line.at("schema") != "nnc.eval.1" || line.at("split") != "valid") continue;
    ++parts;
    CHECK(line.at("rows") == 5);
    CHECK(std::abs(line.at("kinds").at(1).get<double>() - 8.0 / 5) < 1);  // a third are seldom
    for (std::size_t i = 0; i < seen.size(); ++i) seen[i] += line.at("seen").at(i).get<double>();
    total += line.at("acc").get<double>();
  }
  CHECK(parts == 5);
  CHECK(std::count(seen.begin(), seen.end(), 1.0) == 25);  // all but those of test
  CHECK(std::count(seen.begin(), seen.end(), 0.0) == 5);
  CHECK(lines.back().at("schema") == "nnc.cv.1");
  CHECK(std::abs(lines.back().at("acc").at("mean").get<double>() - total / 5) < 1e-7);  // f32, as shown
  const auto part = run_nnc("eval cv/part-3 --split valid --json", scratch.path());
  INFO(part.err);
  CHECK(std::find(lines.begin(), lines.end(), json_lines(part.out).at(0)) != lines.end());
  for (const auto& line : lines) {
    CHECK(line.at("train") == "Net");
    CHECK(line.contains("part") == (line.at("schema") != "nnc.cv.1"));
  }
  const auto more = run_nnc("train --resume cv/part-3 --epochs 3", scratch.path());
  INFO(more.err);
  CHECK(more.status == 0);
  CHECK(run_nnc("train net.nn --cv 26 --out many", scratch.path()).status == 1);
  CHECK(run_nnc("train net.nn --cv 1", scratch.path()).status == 2);
}

TEST_CASE("a dry run says what would be trained and leaves nothing") {
  const Scratch scratch;
  std::ofstream(scratch.path() / "net.nn")
      << head
      << "train Net on points {\nloss = mse(Net(x), y)\noptimizer = sgd(lr = 0.1)\nbatch_size = 10\nepochs = 3\n}\n";
  const auto result = run_nnc("train net.nn --dry-run --json", scratch.path());
  INFO(result.err);
  CHECK(result.status == 0);
  const auto plan = json_lines(result.out).at(0);
  CHECK(plan.at("schema") == "nnc.plan.1");
  CHECK(plan.at("parameters") == 2 * 4 + 4 + 2 * 4 + 4 + 1);
  CHECK(plan.at("rows") == nlohmann::json({{"train", 32}, {"valid", 8}}));
  CHECK(plan.at("steps_per_epoch") == 4);
  CHECK(plan.at("memory_bytes") > 40 * 3 * 4);
  CHECK(result.err.find("25 parameters; rows: train 32, valid 8; batch 10, 4 steps an epoch; memory") !=
        std::string::npos);
  CHECK_FALSE(fs::exists(scratch.path() / "runs"));
}

TEST_CASE("a model for more classes than the data have is warned of, one for as many is not") {
  const Scratch scratch;
  for (const auto& [classes, warned] : {std::pair{"3", false}, std::pair{"4", true}}) {
    std::ofstream(scratch.path() / "net.nn") << R"(const count = )" << classes << R"(
data d {
  train = table(kind = ["a", "b", "c", "a"], v = [1, 2, 3, 1])
  x: f32[1] = cols("v")
  y: i32[] = classes(col("kind"))
}
model Net(x: f32[batch, 1]) -> f32[batch, count] { return x |> Dense(count) }
train Net on d {
  loss = softmax_cross_entropy(Net(x), y)
  optimizer = sgd(lr = 0.1)
  epochs = 1
}
)";
    const auto result = run_nnc("train net.nn --dry-run", scratch.path());
    INFO(result.err);
    CHECK(result.status == 0);
    CHECK((result.err.find("`y` has 3 classes, and the program takes it for one of 4") != std::string::npos) == warned);
  }
}

TEST_CASE("before the first epoch stand the figures of the best constant, for any loss") {
  const Scratch scratch;
  const std::string rows =
      "data rows {\n  train = table(a = [1, 2, 3, 4], b = [200, 400, 600, 1200], k = [\"no\", \"yes\", \"yes\", "
      "\"yes\"])\n"
      "  x: f32[1] = col(\"a\")\n  b: f32[1] = col(\"b\")\n  y: i32[] = classes(col(\"k\"))\n}\n"
      "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(4) |> tanh |> Dense(1) }\n"
      "model Pick(x: f32[batch, 1]) -> f32[batch, 2] { return x |> Dense(2) }\n";
  const auto announced = [&](const std::string& block, const std::string& arguments = "--dry-run") {
    std::ofstream(scratch.path() / "net.nn") << rows << block << "  optimizer = sgd(lr = 0.1)\n  epochs = 50\n}\n";
    return run_nnc("train net.nn " + arguments, scratch.path()).err;
  };
  using Catch::Contains;
  // The mean of 200, 400, 600, 1200 is 600; its mean square error 140000.
  CHECK_THAT(announced("train Net on rows {\n  loss = mse(Net(x), b)\n  metric off = mae(Net(x), b)\n"),
             Contains("baseline (always the mean of `b`): train.loss 140000 train.off 300\n"));
  // Three of four are yes: -(3 log(3/4) + log(1/4)) / 4.
  CHECK_THAT(
      announced(
          "train Pick on rows {\n  loss = softmax_cross_entropy(Pick(x), y)\n  metric acc = accuracy(Pick(x), y)\n"),
      Contains("baseline (always the most frequent class of `y`): train.loss 0.562335 train.acc 0.75\n"));
  CHECK_THAT(announced("train Net on rows {\n  loss = binary_cross_entropy_logits(Net(x)[:, 0], f32(y))\n"),
             Contains("train.loss 0.562335\n"));
  // A penalty on weights is another way by which they reach the loss.
  CHECK_THAT(announced("train Net on rows {\n  loss = mse(Net(x), b) + sum([sum(square(w)) for w in weights(Net)])\n"),
             !Contains("baseline"));
  CHECK_THAT(announced("train Net on rows {\n  loss = 1e30 * mse(Net(x), b)\n", "--out run"),
             Contains("help: column `b` has values up to 1200") && !Contains("column `x` has values"));
}

namespace {

/// An NPY file of floats, rows by columns.
void write_npy(const fs::path& path, const std::vector<std::vector<float>>& rows) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows.size()) + ", " +
                       std::to_string(rows.at(0).size()) + "), }";
  header += std::string((64 - (10 + header.size() + 1) % 64) % 64, ' ') + "\n";
  std::ofstream file(path, std::ios::binary);
  file << "\x93NUMPY" << '\1' << '\0' << static_cast<char>(header.size()) << '\0' << header;
  for (const auto& row : rows)
    file.write(reinterpret_cast<const char*>(row.data()), static_cast<std::streamsize>(row.size() * sizeof(float)));
}

}  // namespace

TEST_CASE("an NPY file gives all columns, in the order in which the data block reads them") {
  const Scratch scratch;
  std::ofstream(scratch.path() / "rows.csv") << "a,b,c,y\n1,2,3,4\n5,6,7,8\n";
  std::ofstream(scratch.path() / "net.nn")
      << "data d {\n  let rows = csv(\"rows.csv\")\n  late: f32[1] = col(\"c\")\n  x: f32[2] = cols(\"a\", \"b\")\n"
         "  more: f32[1] = col(\"a\") + 1\n  y: f32[1] = col(\"y\")\n}\n"
         "model Net(x: f32[batch, 2], c: f32[batch, 1]) -> f32[batch, 1] { return concat([x, c]) |> Dense(1) }\n"
         "train Net on d {\n  let z = Net(x, late)\n  loss = mse(z, y)\n  output z = z\n"
         "  output seen = concat([late, x, more])\n  optimizer = sgd(lr = 0)\n  epochs = 1\n}\n";
  REQUIRE(run_nnc("train net.nn --out run", scratch.path()).status == 0);
  write_npy(scratch.path() / "all.npy", {{3, 1, 2}, {7, 5, 6}});
  std::ofstream(scratch.path() / "named.csv") << "b,a,c\n2,1,3\n6,5,7\n";
  const auto ordered = run_nnc("predict run --input all.npy", scratch.path());
  const auto named = run_nnc("predict run --input named.csv", scratch.path());
  INFO(ordered.err << named.err);
  CHECK(ordered.status == 0);
  CHECK(ordered.out == named.out);
  CHECK_THAT(ordered.out, Catch::Contains(",3,1,2,2\n") && Catch::Contains(",7,5,6,6\n"));

  write_npy(scratch.path() / "narrow.npy", {{3, 1}});
  const auto refused = run_nnc("predict run --input narrow.npy", scratch.path());
  CHECK(refused.status == 1);
  CHECK_THAT(refused.err, Catch::Contains("expected: 3 values a row: 1 of `c`, 1 of `a`, 1 of `b`\n") &&
                              Catch::Contains("found:    2\n"));
}

namespace {

/// Two train blocks on one table.
const char* const two_blocks =
    "data rows {\n  train = table(a = [1, 2, 3, 4], b = [2, 4, 6, 12])\n"
    "  x: f32[1] = col(\"a\")\n  y: f32[1] = col(\"b\")\n}\n"
    "model Net(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(4) |> tanh |> Dense(1) }\n"
    "train Net on rows as First {\n  loss = mse(Net(x), y)\n  optimizer = sgd(lr = 0.01)\n  epochs = 2\n}\n"
    "train Net on rows as Second {\n  loss = mse(Net(x), y)\n  optimizer = sgd(lr = 0.02)\n  epochs = 1\n}\n";

}  // namespace

TEST_CASE("lines of JSON say which train block they are about; --profile tells what its kernels take") {
  const Scratch scratch;
  std::ofstream(scratch.path() / "net.nn") << two_blocks;
  const auto result = run_nnc("train net.nn --json --profile", scratch.path());
  INFO(result.err);
  REQUIRE(result.status == 0);
  std::map<std::string, int> lines;
  for (const auto& line : json_lines(result.out)) {
    ++lines[line.at("train").get<std::string>() + " " + line.at("schema").get<std::string>()];
    if (line.at("schema") == "nnc.profile.1") CHECK(line.at("kernels").size() > 0);
  }
  CHECK(lines == std::map<std::string, int>{{"First nnc.epoch.1", 2},
                                            {"First nnc.eval.1", 1},
                                            {"First nnc.profile.1", 1},
                                            {"Second nnc.epoch.1", 1},
                                            {"Second nnc.eval.1", 1},
                                            {"Second nnc.profile.1", 1}});
  const auto text = run_nnc("train net.nn Second --profile", scratch.path());
  CHECK_THAT(text.out, Catch::Contains("a step of 4 rows on one thread takes ") &&
                           Catch::Contains("      time  share        work       bytes   line  kernel\n"));
}

TEST_CASE("a loss that is not finite with the initial weights is not blamed on the learning rate") {
  const Scratch scratch;
  std::string text = two_blocks;
  text.replace(text.find("mse(Net(x), y)"), 14, "mse(Net(x), log(y - 3))");
  std::ofstream(scratch.path() / "net.nn") << text;
  const auto result = run_nnc("train net.nn First --out run", scratch.path());
  INFO(result.err);
  CHECK(result.status == 3);
  CHECK(result.err.find("learning rate") == std::string::npos);
  CHECK_THAT(result.err,
             Catch::Contains("help: `log` takes -1 to 9 in this batch, and no weight has changed yet: what goes in "
                             "there must be kept within its range\n"));
}

TEST_CASE(
    "figures and answers that are no numbers are told of: `best` by one that never was, rows far from all others") {
  const Scratch scratch;
  std::string text = two_blocks;
  text.replace(
      text.find("  epochs = 2\n"), 13,
      "  metric odd = mean(log(0 - y))\n  output p = exp(Net(x) * x)\n  best = highest(train.odd)\n  epochs = 2\n");
  std::ofstream(scratch.path() / "net.nn") << text;
  const auto trained = run_nnc("train net.nn First --out run", scratch.path());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  CHECK_THAT(
      trained.err,
      Catch::Contains("warning: `best` goes by train.odd, which was never a number: the figures are those of the "
                      "last weights\n"));
  // Within the first epoch nothing has been judged yet.
  REQUIRE(run_nnc("new mlp points", scratch.path()).status == 0);
  const auto cut = run_nnc("train points/mlp.nn --max-steps 3 --out cut", scratch.path());
  CHECK(cut.status == 0);
  CHECK_THAT(cut.err, !Catch::Contains("never a number"));
  std::ofstream(scratch.path() / "far.csv") << "a\n1\n1e38\n2\n-1e38\n";
  const auto predicted = run_nnc("predict run --input far.csv", scratch.path());
  INFO(predicted.err << predicted.out);
  CHECK(predicted.status == 0);
  CHECK_THAT(predicted.err, Catch::Contains("warning: `p` is no finite number in 1 place, first in row ") ||
                                Catch::Contains("warning: `p` is no finite number in 2 places, first in row 2 of the "
                                                "input\n"));
}
