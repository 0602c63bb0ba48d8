// nnc build: a C program and a C++ program link the object with nothing else, and get the bits that nnc predicts.
#include <cstdlib>
#include <filesystem>
#include <string>

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

// Two results, a state, an input of integers with a promise, and widths that leave tails.
const char* const program =
    "data rows {\n  samples = 333\n  x: f32[5] = uniform(-1, 1)\n  k: i32[] = i32(3 * (sum(x) + 5) / 10)\n"
    "  y: f32[1] = sum(sin(3 * x), keep = true)\n}\n"
    "model Net(x: f32[batch, 5], k: i32[batch]) -> (f32[batch, 19], f32[batch, 1]) {\n"
    "  let h = x |> Dense(19) |> BatchNorm() |> tanh\n"
    "  return softmax(h), (h |> Dense(1)) + sum(one_hot(checked(k, 3), 3) |> Dense(2), over = -1, keep = true)\n}\n"
    "train Net on rows {\n  let p, z = Net(x, k)\n  loss = half_mse(z, y) + 0.001 * mean(p)\n"
    "  output p = p\n  output z = z\n  optimizer = adam(lr = 0.01)\n  epochs = 2\n}\n";

/// Reads rows as text, calls the object once for all of them, prints every bit of the results.
const char* const caller = R"(
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"
int main(int argc, char **argv) {
  size_t rows = (size_t)atol(argv[1]), i;
  int status;
  float *x = (float *)malloc(rows * 5 * sizeof *x), *p = (float *)malloc(rows * 19 * sizeof *p);
  float *z = (float *)malloc(rows * sizeof *z);
  int32_t *k = (int32_t *)malloc(rows * sizeof *k);
  void *work = malloc(net_work_size(rows));
  (void)argc;
  for (i = 0; i < rows * 5; ++i)
    if (scanf("%f", &x[i]) != 1) return 9;
  for (i = 0; i < rows; ++i)
    if (scanf("%" SCNd32, &k[i]) != 1) return 9;
  status = net_infer(x, k, p, z, rows, work);
  for (i = 0; i < rows * 19 && status == 0; ++i) printf("%.9g\n", (double)p[i]);
  for (i = 0; i < rows && status == 0; ++i) printf("%.9g\n", (double)z[i]);
  return status;
}
)";

int shell(const std::string& line) { return WEXITSTATUS(std::system(line.c_str())); }

}  // namespace

TEST_CASE("a model built as an object gives C and C++ programs the bits that nnc predicts, for any number of rows",
          "[build]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  write_file(folder / "net.nn", program);
  write_file(folder / "caller.c", caller);
  const auto trained = run_nnc("train net.nn --out run", folder);
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  const auto built = run_nnc("build run -o net", folder);
  INFO(built.err);
  REQUIRE(built.status == 0);
  CHECK(built.out.empty());
  const std::string in = "cd '" + folder.string() + "' && ";
  REQUIRE(shell(in + "gcc -std=c99 -Wall -Wextra -Werror -pedantic -o c caller.c net.o") == 0);
  REQUIRE(shell(in + "g++ -x c++ -Wall -Wextra -Werror -o cpp caller.c -x none net.o") == 0);

  // Nothing is left to find in a library but what every C program has.
  REQUIRE(shell(in + "nm -u net.o > undefined") == 0);
  for (const std::string& line : nnc::test::text_lines(read_file(folder / "undefined")))
    CHECK((line.ends_with(" memset") || line.ends_with(" memcpy") || line.ends_with(" memmove")));

  std::string rows_csv = "x.0,x.1,x.2,x.3,x.4,k\n", xs, ks;
  for (int row = 0; row < 300; ++row) {
    for (int i = 0; i < 5; ++i) {
      const std::string number = std::to_string(((row * 37 + i * 11) % 100) / 50.0 - 1);
      rows_csv += number + ",";
      xs += number + " ";
      if (i == 4) rows_csv += std::to_string(row % 3) + "\n", ks += std::to_string(row % 3) + " ";
    }
  }
  const auto text_of = [&](int rows) {  // the first rows of each input
    std::istringstream x(xs), k(ks);
    std::string text, word;
    for (int i = 0; i < rows * 5 && x >> word; ++i) text += word + " ";
    for (int i = 0; i < rows && k >> word; ++i) text += word + " ";
    return text;
  };
  write_file(folder / "text300", text_of(300));
  REQUIRE(shell(in + "./c 300 < text300 > whole") == 0);
  const auto whole = nnc::test::text_lines(read_file(folder / "whole"));
  REQUIRE(whole.size() == 300 * 20);
  for (const int rows : {1, 15, 16, 17, 127, 128, 129, 145}) {
    INFO(rows);
    write_file(folder / "text", text_of(rows));
    REQUIRE(shell(in + "./c " + std::to_string(rows) + " < text > c.out") == 0);
    REQUIRE(shell(in + "./cpp " + std::to_string(rows) + " < text > cpp.out") == 0);
    CHECK(read_file(folder / "c.out") == read_file(folder / "cpp.out"));
    const auto some = nnc::test::text_lines(read_file(folder / "c.out"));
    REQUIRE(some.size() == static_cast<std::size_t>(rows) * 20);
    for (int i = 0; i < rows * 19; ++i) REQUIRE(some[i] == whole[i]);
    for (int i = 0; i < rows; ++i) REQUIRE(some[rows * 19 + i] == whole[300 * 19 + i]);
  }

  // An element that breaks its promise is told, and nothing is computed.
  write_file(folder / "text", "0 0 0 0 0 3 ");
  CHECK(shell(in + "./c 1 < text > c.out") == 1);
  CHECK(read_file(folder / "c.out").empty());
  CHECK(read_file(folder / "net.h").find("1: an element of k is not in [0, 3)") != std::string::npos);
}

TEST_CASE("an object predicts what nnc predict writes, to the last bit", "[build]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  std::string rows = "a,b,y\n", values;
  for (int i = 0; i < 40; ++i) {
    const std::string a = std::to_string(i % 7 / 3.5 - 1), b = std::to_string(i % 5 / 2.5 - 1);
    rows += a + "," + b + "," + std::to_string(i % 3) + "\n";
    values += a + " " + b + " ";
  }
  write_file(folder / "rows.csv", rows);
  write_file(folder / "net.nn",
             "data rows {\n  train = csv(\"rows.csv\")\n  x: f32[2] = cols(\"a\", \"b\")\n  y: i32[] = col(\"y\")\n}\n"
             "model Net(x: f32[batch, 2]) -> f32[batch, 3] { return x |> Dense(33) |> relu |> Dense(3) }\n"
             "train Net on rows {\n  let p = Net(x)\n  loss = softmax_cross_entropy(p, y)\n  output p = p\n"
             "  optimizer = sgd(lr = 0.1)\n  epochs = 3\n}\n");
  write_file(folder / "caller.c",
             "#include <stdio.h>\n#include \"net.h\"\nstatic float x[80], p[120];\nstatic char work[1 << 20];\n"
             "int main(void) {\n  int i;\n  for (i = 0; i < 80; ++i) if (scanf(\"%f\", &x[i]) != 1) return 9;\n"
             "  if (sizeof work < net_work_size(40)) return 8;\n  if (net_infer(x, p, 40, work) != 0) return 7;\n"
             "  for (i = 0; i < 120; ++i) printf(\"%.9g\\n\", (double)p[i]);\n  return 0;\n}\n");
  write_file(folder / "values", values);
  auto trained = run_nnc("train net.nn --out run", folder);
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  REQUIRE(run_nnc("build run -o net", folder).status == 0);
  const std::string in = "cd '" + folder.string() + "' && ";
  REQUIRE(shell(in + "gcc -o c caller.c net.o && ./c < values > c.out") == 0);
  const auto predicted = run_nnc("predict run --input rows.csv --format jsonl", folder);
  INFO(predicted.err);
  REQUIRE(predicted.status == 0);
  const auto found = nnc::test::text_lines(read_file(folder / "c.out"));
  const std::vector<json> expected = json_lines(predicted.out);
  REQUIRE(expected.size() == 40);
  REQUIRE(found.size() == 120);
  for (std::size_t row = 0; row < 40; ++row)
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(std::stof(found[row * 3 + i]) == static_cast<float>(expected[row].at("p").at(i).get<double>()));
}

TEST_CASE("build says what it cannot do, and writes nothing", "[build]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  CHECK(run_nnc("build net.nn", scratch.path()).status == 2);
  const auto without = run_nnc("build net.nn -o net", scratch.path());
  CHECK(without.status == 2);
  CHECK(without.err.find("--weights") != std::string::npos);
  CHECK_FALSE(fs::exists(scratch.path() / "net.o"));
}
