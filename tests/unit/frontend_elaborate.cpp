// What programs elaborate to: graphs, paths of parameters and states, values of the library's functions, and where the
// numbers in shapes come from.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "frontend/elaborate.h"
#include "ir/evaluate.h"
#include "ir/text.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;
using Catch::Matchers::WithinAbs;

/// A program as a file of its own, gone at the end.
struct File {
  std::filesystem::path path;
  explicit File(const std::string& text) {
    static int count = 0;
    path = std::filesystem::temp_directory_path() /
           fmt::format("nnc-elaborate-{}-{}.nn", std::chrono::steady_clock::now().time_since_epoch().count(), ++count);
    std::ofstream(path) << text;
  }
  ~File() { std::filesystem::remove(path); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
};

Elaborated elaborated(const std::string& text, const ElaborateOptions& options = {}) {
  const File file(text);
  Diagnostics diagnostics;
  auto blocks = elaborate_file(file.path.string(), options, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(blocks.size() == 1);
  for (const Graph* graph :
       {&blocks[0].init, &blocks[0].feed, &blocks[0].step, &blocks[0].evaluate, &blocks[0].predict})
    CHECK(verify(*graph) == "");
  return std::move(blocks[0]);
}

/// The messages, with the file's name left out.
std::string messages(const std::string& text, const ElaborateOptions& options = {}) {
  const File file(text);
  Diagnostics diagnostics;
  CHECK(elaborate_file(file.path.string(), options, diagnostics).empty());
  std::string rendered = diagnostics.render(false);
  for (std::size_t at; (at = rendered.find(file.path.string() + ":")) != std::string::npos;)
    rendered.erase(at, file.path.string().size() + 1);
  return rendered;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

/// A model `M` of these lines over x [batch, 4] and its train block on columns x and y (classes).
std::string program(const std::string& declarations, const std::string& body, const std::string& width = "3") {
  return declarations + "\nmodel M(x: f32[batch, 4]) -> f32[batch, " + width + "] {\n" + body + "\n}\n" +
         R"(
data d {
  train = table(a = [1, 2], b = [1, 2], c = [0, 1], e = [0, 1], k = [0, 1])
  x: f32[4] = cols("a", "b", "c", "e")
  y: i32[] = col("k")
}
train M on d {
  let z = M(x)
  loss = softmax_cross_entropy(z, y)
  output o = z
  optimizer = sgd(lr = 0.1)
  epochs = 1
}
)";
}

std::vector<std::string> paths(const Elaborated& block) {
  std::vector<std::string> result;
  for (const Variable& variable : block.variables) result.push_back(variable.path);
  return result;
}

/// A model of one line, `fn` applied to x, evaluated.
Tensor value(const std::string& type, const std::string& result, const std::string& expression, const Tensor& x,
             const std::string& declarations = "") {
  const File file(fmt::format("{}\nmodel M(x: {}) -> {} {{ return {} }}\n", declarations, type, result, expression));
  Diagnostics diagnostics;
  const auto graph = elaborate_model(file.path.string(), "M", {}, diagnostics);
  INFO(diagnostics.render(false));
  REQUIRE(graph);
  Environment environment;
  environment.batch = x.dims.empty() ? 1 : x.dims[0];
  environment.inputs["x"] = x;
  return evaluate(*graph, environment, true).at("result");
}

Tensor row(std::vector<double> values, std::vector<std::int64_t> dims, DType dtype = DType::f64) {
  Tensor tensor = Tensor::zeros(dtype, std::move(dims));
  for (std::size_t i = 0; i < values.size(); ++i) tensor.set(static_cast<std::int64_t>(i), values[i]);
  return tensor;
}

}  // namespace

TEST_CASE("linear regression elaborates to the graphs that one would write by hand") {
  const Elaborated block = elaborated(R"(
data servers {
  train = table(k = [1, 2, 3], kw = [5, 7, 9])
  x: f32[1] = cols("k")
  y: f32[1] = cols("kw")
}
model Line(x: f32[batch, 1]) -> f32[batch, 1] { return x |> Dense(1, init = zeros) }
train Line on servers {
  let z     = Line(x)
  loss      = half_mse(z, y)
  output kw = z
  optimizer = sgd(lr = 0.3)
  epochs    = 100
}
)");
  CHECK(print(block.step) == R"(graph "step"
%x = input "x" : f32[batch, 1]
%y = input "y" : f32[batch, 1]
%Dense1.W = param "Dense1.W" : f32[1, 1]
%Dense1.b = param "Dense1.b" : f32[1]
%0 : f32[batch, 1] = dot(%x, %Dense1.W, 1, 0)
%z : f32[batch, 1] = %0 + broadcast(%Dense1.b, [batch, 1], 1)
%loss : f32 = 0.5 * (sum(pow(%z - %y, 2), [0, 1]) / size(batch))
%1 : f32[1, 1] = grad(%loss, %Dense1.W)
%2 : f32[1, 1] = %Dense1.W - 0.3 * %1
%3 : f32[1] = grad(%loss, %Dense1.b)
%4 : f32[1] = %Dense1.b - 0.3 * %3
result "loss" = %loss
update "Dense1.W" = %2
update "Dense1.b" = %4
)");
  CHECK(print(block.predict) == R"(graph "predict"
%x = input "x" : f32[batch, 1]
%Dense1.W = param "Dense1.W" : f32[1, 1]
%Dense1.b = param "Dense1.b" : f32[1]
%0 : f32[batch, 1] = dot(%x, %Dense1.W, 1, 0)
%z : f32[batch, 1] = %0 + broadcast(%Dense1.b, [batch, 1], 1)
result "kw" = %z
)");
  CHECK(print(block.init) == R"(graph "init"
%0 : f32[1, 1] = broadcast(0_f32, [1, 1])
%1 : f32[1] = broadcast(0_f32, [1])
update "Dense1.W" = %0
update "Dense1.b" = %1
)");
}

TEST_CASE("class labels are a one-hot comparison and an obligation") {
  const Elaborated block = elaborated(program("", "return x |> Dense(3, bias = false)"));
  const std::string step = print(block.step);
  INFO(step);
  CHECK(count(step, "f32(broadcast(%y, [batch, 3], 0) == broadcast(%0, [batch, 3], 1))") +
            count(step, "f32(broadcast(%y, [batch, 3], 0) == broadcast(%1, [batch, 3], 1))") ==
        1);
  CHECK(count(step, "exp(") == 1);
  REQUIRE(block.step.obligations.size() == 1);
  CHECK(block.step.obligations[0].input == "y");
  CHECK(block.step.obligations[0].low == 0);
  CHECK(block.step.obligations[0].high == 3);
  CHECK(block.evaluate.obligations.size() == 1);
  CHECK(block.predict.obligations.empty());
}

TEST_CASE("instances are numbered per kind, callee before argument; a let names one") {
  const std::string block = R"(
layer Block(n: int)(x: float[..., D]) -> float[..., D] { return x + (x |> Dense(n) |> relu |> Dense(D)) }
)";
  CHECK(paths(elaborated(program(block, "return x |> Block(5) |> Block(6) |> Dense(3)"))) ==
        std::vector<std::string>{"Block1.Dense1.W", "Block1.Dense1.b", "Block1.Dense2.W", "Block1.Dense2.b",
                                 "Block2.Dense1.W", "Block2.Dense1.b", "Block2.Dense2.W", "Block2.Dense2.b", "Dense1.W",
                                 "Dense1.b"});
  // The outer one is written first.
  const Elaborated nested = elaborated(program("", "return Dense(3)(Dense(7)(x))"));
  CHECK(paths(nested) == std::vector<std::string>{"Dense2.W", "Dense2.b", "Dense1.W", "Dense1.b"});
  CHECK(to_string(nested.variables[0].type) == "f32[4, 7]");
  // Names take no number; branches that are not taken make none.
  CHECK(paths(elaborated(program("const deep = false",
                                 "let F = Dense(4, bias = false)\nif deep { let q = x |> Dense(9) }\n"
                                 "return x |> F |> F |> Dense(3, bias = false)"))) ==
        std::vector<std::string>{"F.W", "Dense1.W"});
}

TEST_CASE("a shared instance has one set of parameters, and one width") {
  const Elaborated shared = elaborated(program("", "let F = Dense(4)\nreturn x |> F |> F |> Dense(3, bias = false)"));
  CHECK(paths(shared) == std::vector<std::string>{"F.W", "F.b", "Dense1.W"});
  CHECK(count(print(shared.step), "param \"F.W\"") == 1);
  const std::string wrong = messages(program("", "let F = Dense(3)\nreturn x |> F |> F"));
  CHECK(count(wrong, "`F.W` is f32[3, 3] here and f32[4, 3] elsewhere") == 1);
}

TEST_CASE("optimizers keep their states by parameter") {
  std::string text = program("", "return x |> Dense(3, bias = false)");
  text.replace(text.find("sgd(lr = 0.1)"), 13, "adam(lr = cosine(1e-3, warmup = 10))");
  const Elaborated block = elaborated(text);
  CHECK(paths(block) == std::vector<std::string>{"Dense1.W", "adam.m/Dense1.W", "adam.v/Dense1.W"});
  CHECK(block.variables[1].is_state);
  const std::string step = print(block.step), init = print(block.init);
  INFO(step);
  CHECK(count(step, "update \"adam.m/Dense1.W\"") == 1);
  CHECK(count(init, "update \"adam.v/Dense1.W\"") == 1);
  // Run-time numbers stay f64 until they meet the tensor.
  CHECK(count(step, "f32(1 - pow(0.9, %step))") == 1);
  CHECK(count(step, "\"total_steps\" : f64") == 1);
  CHECK(count(print(block.evaluate), "step\" :") == 0);
}

TEST_CASE("layers with state update it in training and read it in inference") {
  const std::string norm = R"(
layer Norm()(x: float[..., C]) -> float[..., C] {
  state mu: float[C] = zeros
  if not training { return x - mu }
  let m = mean(x, over = ...)
  update mu = 0.9 * mu + 0.1 * m
  return x - m
}
)";
  const Elaborated block = elaborated(program(norm, "return x |> Norm() |> Dense(3, bias = false)"));
  CHECK(paths(block) == std::vector<std::string>{"Norm1.mu", "Dense1.W"});
  CHECK(count(print(block.step), "update \"Norm1.mu\"") == 1);
  CHECK(count(print(block.evaluate), "update") == 0);
  CHECK(count(print(block.evaluate), "state \"Norm1.mu\"") == 1);
}

TEST_CASE("double precision reads f32 as f64") {
  const Elaborated block =
      elaborated(program("", "return x |> Dense(3)"), {.overrides = {}, .double_precision = true, .train_block = ""});
  CHECK(to_string(block.variables[0].type) == "f64[4, 3]");
  CHECK(count(print(block.step), "f32") == 0);
}

TEST_CASE("constants are computed before anything is built, and --set replaces them") {
  const std::string declarations = "const width = 2^3 // 3 * 2 + 7 / 7\nconst pair = [width, 9]";
  const std::string body = "return x |> Dense(width) |> Dense(pair[1]) |> Dense(3)";
  CHECK(to_string(elaborated(program(declarations, body)).variables[0].type) == "f32[4, 5]");
  const Elaborated block = elaborated(program(declarations, body),
                                      {.overrides = {{"width", "12"}}, .double_precision = false, .train_block = ""});
  CHECK(to_string(block.variables[0].type) == "f32[4, 12]");
  const std::string wrong = messages(program(declarations, body),
                                     {.overrides = {{"widht", "12"}}, .double_precision = false, .train_block = ""});
  CHECK(count(wrong, "the file has no constant `widht`") == 1);
  CHECK(count(wrong, "did you mean `width`?") == 1);
}

TEST_CASE("an axis tells where its length comes from") {
  const std::string text = R"(const width = 256
layer Residual()(x: float[..., D]) -> float[..., D] {
  return x + (x |> Dense(128) |> relu)
}
model Net(x: f32[batch, 784]) -> f32[batch, 10] {
  return x |> Dense(width) |> Residual() |> Dense(10)
}
)";
  CHECK(messages(text) == R"(error[E0301]: shapes do not match in `+`
  --> 3:12
   |
 3 |   return x + (x |> Dense(128) |> relu)
   |          - ^ ------------------------- f32[batch, 128]
   |          |
   |          f32[batch, 256]
   = axis 1 differs: 256 and 128
   = left:  x: f32[batch, 256], D = 256 <- Residual() 6:31 <- Dense(width) 6:15 <- const width = 256 1:1
   = right: (x |> Dense(128) |> relu): f32[batch, 128], 128 <- Dense(128) 3:20
   = in `Residual`, applied at 6:31
)");
}

TEST_CASE("an error in the library stands at the user's call") {
  const std::string text =
      messages(program("", "let q = one_hot(x, 3)\nlet w = huber(x, mean(x, over = -1))\nreturn x |> Dense(3)"));
  INFO(text);
  CHECK(count(text, "error[") == 2);
  CHECK(count(text, "std/") == 0);
  CHECK(count(text, "`ids` of `one_hot` has elements of type i32, and this has f32") == 1);
  CHECK(count(text, "`y` of `huber` does not fit `y: float[...]`") == 1);
  const std::string inside = messages(program("", "return softmax(x, -1)"));
  CHECK(count(inside, "`softmax` takes 1 argument") == 1);
}

TEST_CASE("a failed value causes no second message") {
  const std::string text =
      messages(program("", "let a = x + [1, 2]\nlet b = a * 2\nlet c = relu(b) |> Dense(5)\nreturn c |> Dense(3)\n"));
  CHECK(count(text, "error[") == 1);
  // Independent errors come together.
  CHECK(count(messages(program("", "let a = nope\nlet b = x @ x\nlet c = Dense(2.5)\nreturn x |> Dense(3)")),
              "error[") == 3);
}

TEST_CASE("overloads go by element type") {
  const Tensor x = row({0, 2, 1, 5, 4, 3}, {2, 3}, DType::f32);
  CHECK(value("f32[batch, 3]", "f32[]", "accuracy(x, argmax(x, over = -1))", x).at(0) == 1);
  CHECK(value("f32[batch, 3]", "f32[]", "accuracy(argmax(x, over = -1), argmax(-x, over = -1))", x).at(0) == 0);
  CHECK_THAT(value("f32[batch, 3]", "f32[]", "accuracy(x, x, threshold = 2)", x).at(0), WithinAbs(5.0 / 6, 1e-6));
  CHECK(count(messages(program("", "let q = accuracy(x, true)\nreturn x |> Dense(3)")),
              "no `accuracy` takes (f32[batch, 4], true)") == 1);
}

TEST_CASE("library functions have the published values") {
  const Tensor z = row({3, 1, -3}, {1, 3});
  const Tensor a = value("f64[1, 3]", "f64[1, 3]", "softmax(x)", z);
  CHECK_THAT(a.at(0), WithinAbs(0.87887824, 1e-8));
  CHECK_THAT(a.at(1), WithinAbs(0.11894324, 1e-8));
  CHECK_THAT(a.at(2), WithinAbs(0.00217852, 1e-8));
  CHECK_THAT(value("f64[1, 3]", "f64[]", "softmax_cross_entropy(x, i32([0]))", z).at(0), WithinAbs(0.129108909, 1e-9));
  CHECK_THAT(value("f64[1, 3]", "f64[]", "softmax_cross_entropy(x, [[1, 0, 0]])", row({3, 1, -3}, {1, 3})).at(0),
             WithinAbs(0.129108909, 1e-9));
  CHECK_THAT(value("f64[1, 3]", "f64[]", "cross_entropy(softmax(x), [[1, 0, 0]]) / log(2)", z).at(0),
             WithinAbs(0.186264783, 1e-9));
  const Tensor pair = row({2, -1}, {1, 2});
  CHECK_THAT(value("f64[1, 2]", "f64[1, 2]", "sigmoid(x)", pair).at(0), WithinAbs(0.880797078, 1e-9));
  CHECK_THAT(value("f64[1, 2]", "f64[1, 2]", "sigmoid(x)", pair).at(1), WithinAbs(0.268941421, 1e-9));
  CHECK(value("f64[1, 2]", "f64[1, 2]", "relu(x)", pair).at(1) == 0);
  CHECK_THAT(value("f64[1, 2]", "f64[]", "mse(x, [[0, 1]])", pair).at(0), WithinAbs(4, 1e-15));
  CHECK_THAT(value("f64[1, 2]", "f64[]", "half_mse(x, [[0, 1]])", pair).at(0), WithinAbs(2, 1e-15));
  CHECK_THAT(value("f64[1, 2]", "f64[]", "huber(x, zeros)", pair).at(0), WithinAbs(1, 1e-15));
  CHECK_THAT(value("f64[1, 2]", "f64[]", "binary_cross_entropy(sigmoid(x), [[1, 0]])", pair).at(0),
             WithinAbs((std::log1p(std::exp(-2)) + std::log1p(std::exp(-1))) / 2, 1e-12));
  CHECK_THAT(value("f64[1, 2]", "f64[]", "binary_cross_entropy_logits(x, [[1, 0]])", pair).at(0),
             WithinAbs((std::log1p(std::exp(-2)) + std::log1p(std::exp(-1))) / 2, 1e-12));
  CHECK_THAT(value("f64[1, 2]", "f64[]", "var(x)", pair).at(0), WithinAbs(2.25, 1e-15));
  CHECK_THAT(value("f64[1, 2]", "f64[]", "r2(x, [[1, 0]])", pair).at(0), WithinAbs(-3, 1e-12));
}

TEST_CASE("reductions, casts, shapes and lists") {
  const Tensor x = row({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(value("f64[batch, 3]", "f64[batch, 3]", "x - mean(x, over = -1, keep = true)", x).at(0) == -1);
  CHECK(value("f64[batch, 3]", "f64[batch]", "min(x, over = 1)", x).at(1) == 4);
  CHECK(value("f64[batch, 3]", "f64[]", "max(x)", x).at(0) == 6);
  CHECK(value("f64[batch, 3]", "f64[batch, 3]", "max(x, 3)", x).at(0) == 3);
  CHECK(value("f64[batch, 3]", "f64[3, batch]", "transpose(x)", x).at(1) == 4);
  CHECK(value("f64[batch, 3]", "f64[batch, 1, 3]", "transpose(reshape(x, [batch, 3, 1]), [..., -1, 1])", x).at(4) == 5);
  CHECK(value("f64[batch, 3]", "f64[batch, 3, 1]", "reshape(x, [batch, 3, 1])", x).at(5) == 6);
  CHECK(value("f64[batch, 3]", "f64[batch, 2]", "x @ [[1, 0], [0, 1], [1, 1]]", x).at(3) == 11);
  CHECK(value("f64[batch, 3]", "f64[batch]", "x @ [1, 1, 1]", x).at(0) == 6);
  CHECK(value("f64[batch, 3]", "f64[batch, 3]", "x * [2^k for k in range(3)]", x).at(2) == 12);
  CHECK(value("f64[batch, 3]", "i32[batch, 3]", "i32(x / 2)", x).at(4) == 2);
  CHECK(value("f64[batch, 3]", "f64[batch, 3]", "select(x > 2 and not (x == 4), x, -1)", x).at(3) == -1);
  CHECK(value("f64[batch, 3]", "f64[batch, 3, 3]", "x[..., _] * x[:, _, :]", x).at(5) == 6);
  CHECK(value("f64[batch, 3]", "f64[]", "sum([sum(x), 1, 2])", x).at(0) == 24);
  CHECK(value("f64[batch, 3]", "f64[batch, 3]", "if 1 < 2 { x } else { -x }", x).at(0) == 1);
  CHECK(value("f64[batch, 3]", "f64[batch, 3]", "twice(x) + twice(2)", x,
              "fn twice(x: float[...]) -> float[...] { return 2 * x }")
            .at(0) == 6);
}

TEST_CASE("initializers have the spread that they promise") {
  const auto moments = [](const std::string& init) {
    const Elaborated block =
        elaborated(program("", fmt::format("return x |> Dense(5000, bias = false, init = {}) |> Dense(3)", init)));
    Environment environment;
    environment.seed = 7;
    const Tensor w = evaluate(block.init, environment, true).at("update Dense1.W");
    double sum = 0, squares = 0, greatest = 0;
    for (std::int64_t i = 0; i < w.count(); ++i) {
      sum += w.at(i);
      squares += w.at(i) * w.at(i);
      greatest = std::max(greatest, std::abs(w.at(i)));
    }
    const double n = static_cast<double>(w.count());
    return std::array{sum / n, squares / n, greatest};
  };
  // 20,000 draws: the mean is within 5 standard errors, the variance within 5%.
  const double glorot = std::sqrt(6.0 / 5004);
  const auto uniform = moments("glorot_uniform");
  CHECK_THAT(uniform[0], WithinAbs(0, 5 * glorot / std::sqrt(3 * 20000.0)));
  CHECK_THAT(uniform[1] / (glorot * glorot / 3), WithinAbs(1, 0.05));
  CHECK(uniform[2] <= glorot);
  for (const auto& [init, variance] : {std::pair{"he_normal", 2.0 / 4},
                                       {"lecun_normal", 1.0 / 4},
                                       {"normal(0, 0.3)", 0.09},
                                       {"glorot_normal", 2.0 / 5004},
                                       {"he_uniform", 2.0 / 4}}) {
    INFO(init);
    const auto normal = moments(init);
    CHECK_THAT(normal[0], WithinAbs(0, 5 * std::sqrt(variance / 20000)));
    CHECK_THAT(normal[1] / variance, WithinAbs(1, 0.05));
  }
  CHECK(moments("constant(0.25)")[0] == 0.25);
}

TEST_CASE("random streams are those of the elaborated path") {
  const auto streams = [](const Elaborated& block) {
    std::vector<std::uint64_t> result;
    for (const Node& node : block.init.nodes)
      if (const auto* random = std::get_if<Random>(&node.attributes)) result.push_back(random->stream);
    return result;
  };
  const auto one = streams(elaborated(program("", "return x |> Dense(5) |> Dense(3)")));
  const auto moved = streams(elaborated(program("# a comment\n", "let h = x |> Dense(5)\n\nreturn h |> Dense(3)")));
  REQUIRE(one.size() == 2);
  CHECK(one[0] != one[1]);
  CHECK(one == moved);
}

TEST_CASE("a chain of pipes may be 3000 long, and is no deeper than its deepest part") {
  const auto chain = [](int pipes, const std::string& part) {
    std::string text = "model M(x: f32[batch, 4]) -> f32[batch, 4] {\n  return x\n";
    for (int i = 0; i < pipes; ++i) text += "    |> " + part + "\n";
    return text + "}\n";
  };
  CHECK(messages(chain(3000, "relu")) == "");
  const std::string refused = messages(chain(3001, "relu"));
  CHECK(count(refused, "error[") == 1);
  CHECK(count(refused, "error[E0103]: this statement has too many pipes") == 1);
  // What lies within each other counts together, and a walk over the tree goes through all of it.
  const std::string within = messages(chain(1000, "pow(2 |> sqrt |> sqrt)"));
  CHECK(within == "");
}

TEST_CASE("names that nothing has are told in time, however many they are") {
  std::string text;
  for (int i = 0; i < 4000; ++i) text += fmt::format("const a{} = b{}\n", i, i);
  const auto start = std::chrono::steady_clock::now();
  const std::string all = messages(text);
  CHECK(count(all, "error[E0201]") == 200);
  CHECK(count(all, "= help:") == 200);
  CHECK(count(all, "... and 3800 more") == 1);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));  // 30 ms where nothing else runs
}
