// nnc build: a C program and a C++ program link the object with nothing else, and get the bits that nnc predicts.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>

#include "runtime/safetensors.h"
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

TEST_CASE("an object gives the declared outputs, classes by their names, in the unit of the file", "[build]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  const char* const kinds[] = {"a \\ b", "no, \"\"sir\"\"",
                               "why?"
                               "?!"};  // as CSV writes them
  std::string rows = "a,b,kind,price\n", values;
  for (int i = 0; i < 40; ++i) {
    const std::string a = std::to_string(i % 7 / 3.5 - 1), b = std::to_string(i % 5 / 2.5 + 3);
    rows += a + "," + b + ",\"" + kinds[i % 7 * 3 / 7] + "\"," + std::to_string(i % 7 * 100) + "\n";
    values += a + " " + b + " ";
  }
  write_file(folder / "rows.csv", rows);
  write_file(folder / "values", values);
  write_file(folder / "net.nn",
             "data rows {\n  train = csv(\"rows.csv\")\n  x: f32[2] = standardize(cols(\"a\", \"b\"))\n"
             "  y: i32[] = classes(col(\"kind\"))\n  cost: f32[1] = standardize(col(\"price\"))\n}\n"
             "model Net(x: f32[batch, 2]) -> (f32[batch, 3], f32[batch, 1]) {\n"
             "  let h = x |> Dense(9) |> tanh\n  return h |> Dense(3), h |> Dense(1)\n}\n"
             "train Net on rows {\n  let z, p = Net(x)\n  loss = softmax_cross_entropy(z, y) + mse(p, cost)\n"
             "  output x = x\n  output price = undo(p, cost)\n  optimizer = adam(lr = 0.05)\n  epochs = 20\n}\n"
             "train Net on rows as kinds {\n  let z, p = Net(x)\n  loss = softmax_cross_entropy(z, y)\n"
             "  output kind = argmax(z, over = -1)\n  optimizer = adam(lr = 0.05)\n  epochs = 40\n}\n");
  write_file(folder / "caller.c",
             "#include <stdio.h>\n#include \"net.h\"\n#include \"kinds.h\"\n"
             "static float raw[80], x[80], copy[80], price[40];\nstatic int32_t kind[40];\nstatic char work[1 << 20];\n"
             "int main(void) {\n  int i;\n  for (i = 0; i < 80; ++i) if (scanf(\"%f\", &raw[i]) != 1) return 9;\n"
             "  if (sizeof work < net_work_size(40) || sizeof work < kinds_work_size(40)) return 8;\n"
             "  if (net_feed(raw, x, 40, work) != 0 || net_predict(x, copy, price, 40, work) != 0) return 7;\n"
             "  if (kinds_feed(raw, x, 40, work) != 0 || kinds_predict(x, kind, 40, work) != 0) return 6;\n"
             "  for (i = 0; i < 40; ++i)\n"
             "    printf(\"%.9g %.9g %s\\n\", (double)copy[2 * i], (double)price[i], kinds_kind_names[kind[i]]);\n"
             "  return 0;\n}\n");
  for (const std::string name : {"Net", "kinds"}) {
    const auto trained = run_nnc("train net.nn " + name + " --out run-" + name, folder);
    INFO(trained.err);
    REQUIRE(trained.status == 0);
  }
  REQUIRE(run_nnc("build run-Net -o net.o", folder).status == 0);  // net.o and net.h, as `-o net` makes them
  REQUIRE(run_nnc("build run-kinds -o kinds", folder).status == 0);
  const std::string header = read_file(folder / "net.h");
  INFO(header);
  CHECK(header.find("int net_predict(const float *x, float *x_out, float *price, size_t rows, void *work);") !=
        std::string::npos);
  CHECK(header.find("\n *   x: f32[2] = standardize(cols(\"a\", \"b\"))\n") != std::string::npos);
  CHECK(header.find("\n *   data.x.mean = ") != std::string::npos);
  const std::string in = "cd '" + folder.string() + "' && ";
  REQUIRE(shell(in + "gcc -std=c99 -Wall -Wextra -Werror -pedantic -o c caller.c net.o kinds.o && "
                     "./c < values > c.out") == 0);
  REQUIRE(shell(in + "g++ -x c++ -Wall -Wextra -Werror -fsyntax-only caller.c") == 0);
  const auto found = nnc::test::text_lines(read_file(folder / "c.out"));
  const auto numbers = json_lines(run_nnc("predict run-Net --input rows.csv --format jsonl", folder).out);
  const auto names = json_lines(run_nnc("predict run-kinds --input rows.csv --format jsonl", folder).out);
  REQUIRE(found.size() == 40);
  REQUIRE(numbers.size() == 40);
  std::set<std::string> seen;
  for (std::size_t row = 0; row < 40; ++row) {
    std::istringstream line(found[row]);
    std::string x, price, kind;
    line >> x >> price;
    std::getline(line >> std::ws, kind);
    CHECK(std::stof(x) == static_cast<float>(numbers[row].at("x").at(0).get<double>()));
    CHECK(std::stof(price) == static_cast<float>(numbers[row].at("price").at(0).get<double>()));
    CHECK(kind == names[row].at("kind"));
    seen.insert(kind);
  }
  CHECK(seen.size() == 3);
}

namespace {

// A step that depends on all that a step may: statistics of columns, random numbers, the rate of its time, states of
// the optimizer and of a layer, averages, a last batch that is shorter.
const char* const learner =
    "data rows {\n  train = csv(\"rows.csv\")\n  x: f32[2] = standardize(cols(\"a\", \"b\"))\n"
    "  y: i32[] = classes(col(\"kind\"))\n}\n"
    "model Net(x: f32[batch, In]) -> (f32[batch, 3], f32[batch, 17]) {\n"
    "  let h = x |> Dense(17) |> BatchNorm() |> relu |> Dropout(0.2)\n  let logits = h |> Dense(3)\n"
    "  return logits, h\n}\n"
    "train Net on rows {\n  let p, h = Net(x)\n  loss = softmax_cross_entropy(p, y) + 0.01 * mean(square(h))\n"
    "  output p = p\n  optimizer = adam(lr = cosine(0.02))\n  average = ema(0.9)\n  batch_size = 16\n"
    "  epochs = 50\n  shuffle = false\n  seed = 7\n}\n";

/// Reads raw rows as text, makes columns, takes 100 steps of 16, 16 and 9 rows; then every array, and the results.
const char* const trainer = R"(
#include <stdio.h>
#include <stdlib.h>
#include "net.h"
static float raw_x[41 * 2], x[41 * 2], logits[41 * 3], h[41 * 17];
static int32_t raw_y[41], y[41];
static void *memory(size_t bytes) {
  char *begin = (char *)malloc(bytes + 64);
  return begin + (64 - (size_t)begin % 64) % 64;
}
int main(void) {
  void *params = memory(net_params_size()), *state = memory(net_state_size()), *work = memory(net_work_size(41));
  char *arrays = (char *)memory(net_arrays_size());
  net_progress progress = {7, 1, 3, 150};
  float loss = 0;
  int i, at = 0;
  for (i = 0; i < 41; ++i)
    if (scanf("%f %f %d", &raw_x[2 * i], &raw_x[2 * i + 1], &raw_y[i]) != 3) return 9;
  if (net_init(params, state, 7, work) != 0) return 8;
  if (net_feed(raw_x, raw_y, x, y, 41, params, state, work) != 0) return 7;
  for (; progress.step <= 100; ++progress.step) {
    size_t rows = at == 32 ? 9 : 16;
    if (net_step(x + 2 * at, y + at, &loss, rows, params, state, &progress, work) != 0) return 6;
    at = at == 32 ? 0 : at + 16;
  }
  if (net_step(x, y, &loss, 10, params, state, &progress, work) != -1) return 5;
  if (net_unpack(params, state, arrays, work) != 0) return 4;
  for (i = 0; i < net_array_count; ++i) {
    size_t k, size = net_arrays[i].type[0] == 'd' ? 8 : 4;
    printf("%s ", net_arrays[i].path);
    for (k = 0; k < size * net_arrays[i].elements; ++k)
      printf("%02x", (unsigned)(unsigned char)arrays[net_arrays[i].offset + k]);
    printf("\n");
  }
  if (net_pack(params, state, arrays, work) != 0) return 3;
  if (net_infer(x, logits, h, 41, params, state, work) != 0) return 2;
  for (i = 0; i < 41 * 3; ++i) printf("result %.9g\n", (double)logits[i]);
  return 0;
}
)";

std::string hex(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", std::to_integer<unsigned>(byte));
    text += two;
  }
  return text;
}

}  // namespace

TEST_CASE("100 training steps of an object leave the weights that nnc train leaves, to the last bit", "[build]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  std::string rows = "a,b,kind\n", values;
  const char* const kinds[] = {"cat", "dog", "emu"};
  for (int i = 0; i < 41; ++i) {
    const std::string a = std::to_string(i % 7 / 3.5 - 1), b = std::to_string(i % 5 / 2.5 + 3);
    rows += a + "," + b + "," + kinds[i % 3] + "\n";
    values += a + " " + b + " " + std::to_string(i % 3) + "\n";
  }
  write_file(folder / "rows.csv", rows);
  write_file(folder / "values", values);
  write_file(folder / "net.nn", learner);
  write_file(folder / "trainer.c", trainer);
  const auto trained = run_nnc("train net.nn --out run --max-steps 100", folder);
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  const auto last = nnc::read_safetensors((folder / "run" / "last.safetensors").string());
  REQUIRE(last);
  const auto predicted = run_nnc("predict run --input rows.csv --format jsonl", folder);
  REQUIRE(predicted.status == 0);
  const std::vector<json> answers = json_lines(predicted.out);
  REQUIRE(answers.size() == 41);

  for (const std::string cpu : {"native", "x86-64"}) {
    const auto built = run_nnc("build run -o net --train --cpu " + cpu, folder);
    INFO(built.err);
    REQUIRE(built.status == 0);
    const std::string in = "cd '" + folder.string() + "' && ";
    REQUIRE(shell(in + "gcc -std=c99 -Wall -Wextra -Werror -pedantic -o c trainer.c net.o && ./c < values > c.out") ==
            0);
    REQUIRE(shell(in + "g++ -x c++ -Wall -Wextra -Werror -o cpp trainer.c -x none net.o && ./cpp < values > cpp.out") ==
            0);
    CHECK(read_file(folder / "c.out") == read_file(folder / "cpp.out"));
    REQUIRE(shell(in + "nm -u net.o > undefined") == 0);
    for (const std::string& line : nnc::test::text_lines(read_file(folder / "undefined")))
      CHECK((line.ends_with(" memset") || line.ends_with(" memcpy") || line.ends_with(" memmove")));

    std::size_t arrays = 0, results = 0;
    for (const std::string& line : nnc::test::text_lines(read_file(folder / "c.out"))) {
      const std::string path = line.substr(0, line.find(' ')), text = line.substr(line.find(' ') + 1);
      CAPTURE(cpu, path);
      if (path == "result") {
        CHECK(std::stof(text) == static_cast<float>(answers[results / 3].at("p").at(results % 3).get<double>()));
        ++results;
        continue;
      }
      const nnc::DenseArray* array = last->find(path);
      if (!array) array = last->find("state/" + path);  // an optimizer's
      REQUIRE(array);
      CHECK(text == hex({array->bytes.data(), array->bytes.data() + array->bytes.size()}));
      ++arrays;
    }
    CHECK(results == 41 * 3);
    CHECK(arrays >= 12);
    CHECK(read_file(folder / "net.h").find("kind as a number: 0 cat, 1 dog, 2 emu") != std::string::npos);
  }

  // Without the run there are no statistics of the columns.
  const auto alone = run_nnc("build net.nn -o alone --train", folder);
  CHECK(alone.status == 1);
  CHECK(alone.err.find("fitted") != std::string::npos);
}

TEST_CASE("an object may hold several models, and widths that the data give; results have their names", "[build]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  write_file(folder / "pair.nn",
             "data rows {\n  samples = 40\n  x: f32[5] = uniform(-1, 1)\n}\n"
             "model Enc(x: f32[batch, In]) -> f32[batch, 3] {\n  let code = x |> Dense(3) |> tanh\n  return code\n}\n"
             "model Dec(code: f32[batch, C]) -> f32[batch, 5] { return code |> Dense(5) }\n"
             "train Enc, Dec on rows {\n  let z = Dec(Enc(x))\n  loss = mse(z, x)\n  output z = z\n"
             "  optimizer = sgd(lr = 0.1)\n  epochs = 2\n}\n");
  write_file(folder / "caller.c",
             "#include <stdio.h>\n#include \"pair.h\"\nstatic char work[1 << 20];\n"
             "int main(void) {\n  float x[5] = {0.5f, -0.25f, 0.125f, 1, 0}, code[3], z[5];\n  int i;\n"
             "  if (sizeof work < pair_work_size(1)) return 8;\n"
             "  if (pair_Enc_infer(x, code, 1, work) != 0 || pair_Dec_infer(code, z, 1, work) != 0) return 7;\n"
             "  for (i = 0; i < 5; ++i) printf(\"%.9g\\n\", (double)z[i]);\n  return 0;\n}\n");
  const auto trained = run_nnc("train pair.nn --out run", folder);
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  const auto built = run_nnc("build run -o pair", folder);
  INFO(built.err);
  REQUIRE(built.status == 0);
  const std::string header = read_file(folder / "pair.h");
  CHECK(header.find("int pair_Enc_infer(const float *x, float *code, size_t rows, void *work);") != std::string::npos);
  CHECK(header.find("int pair_Dec_infer(const float *code, float *result, size_t rows, void *work);") !=
        std::string::npos);
  CHECK(header.find("pair_feed") == std::string::npos);  // the data block makes its columns of nothing
  const std::string in = "cd '" + folder.string() + "' && ";
  REQUIRE(shell(in + "gcc -Wall -Wextra -Werror -o c caller.c pair.o && ./c > c.out") == 0);
  CHECK(nnc::test::text_lines(read_file(folder / "c.out")).size() == 5);

  // From nothing but the program, for one number of rows that is asked for.
  const auto alone = run_nnc("build pair.nn -o alone --train --batch 8", folder);
  INFO(alone.err);
  REQUIRE(alone.status == 0);
  CHECK(read_file(folder / "alone.h").find("alone_weights") == std::string::npos);
  CHECK(read_file(folder / "alone.h").find("but for 8") != std::string::npos);
  CHECK(shell(in + "gcc -fsyntax-only -Wall -Wextra -Werror -x c alone.h") == 0);
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
