// Every function and layer of the library has the gradient that differences measure, in f64, over 20 shapes. They are
// enumerated from the library's own declarations: its parameters become parameters of a probe, with drawn shapes, so
// what is added to the library is checked without being named here.
//
// What is drawn: `...` none to two axes, a dimension variable 2 to 5, a setting without a default by its type. A
// probability is an argument that the library calls p or q. A draw that does not fit together (heads that do not divide
// a width) is refused by the frontend, and drawn again.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>

#include "frontend/ast.h"
#include "frontend/elaborate.h"
#include "frontend/parser.h"
#include "frontend/std/embedded.h"
#include "passes/gradcheck.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

/// What has float tensors and still no gradient to compare.
const std::map<std::string, std::string> exempt = {
    {"accuracy", "counts rows: its derivative is 0 wherever it has one"},
    {"top_k", "counts rows"},
    {"precision", "counts rows"},
    {"recall", "counts rows"},
    {"f1", "counts rows"},
    {"confusion", "counts rows"},
    {"hide_later", "gives −inf; Attention is made of it"},
    {"RnnCell", "has a carry, so it is applied by `scan` alone: see Rnn"},
    {"LstmCell", "has carries: see Lstm"},
    {"GruCell", "has a carry: see Gru"},
    {"polar_factor", "for singular values below 1 alone; it is made of polar_approach and polar_step"},
};

constexpr int shapes_each = 20, draws_at_most = 400;

/// A declaration that can be called: fn or layer.
struct Callable {
  std::string name;
  const std::vector<ast::Param>* settings = nullptr;
  const std::vector<ast::Param>* inputs = nullptr;
  const std::vector<ast::TypeExpr>* results = nullptr;
};

using Base = ast::TypeExpr::Base;
bool is_floating(const ast::TypeExpr& type) {
  return type.base == Base::floating || type.base == Base::f32 || type.base == Base::f64;
}
bool is_float_tensor(const ast::TypeExpr& type) { return type.tensor && is_floating(type); }

std::optional<Callable> callable(const ast::Declaration& declaration) {
  if (const auto* function = std::get_if<ast::Function>(&declaration.form))
    return Callable{function->name.text, nullptr, &function->inputs, &function->results};
  if (const auto* layer = std::get_if<ast::Layer>(&declaration.form))
    return Callable{layer->name.text, &layer->settings, &layer->inputs, &layer->results};
  return std::nullopt;
}

class Draw {
 public:
  Draw(std::string_view source, unsigned seed) : source_(source), random_(seed) {}

  /// A program whose loss weighs what the callable gives for drawn arguments.
  std::string program(const Callable& what) {
    std::string params, arguments;
    for (const ast::Param& param : *what.inputs) arguments += argument(param, params);
    std::string settings;
    if (what.settings) {
      for (const ast::Param& param : *what.settings)
        if (!param.value)
          settings += (settings.empty() ? "" : ", ") + fmt::format("{} = {}", param.name.text, setting(param));
      settings = fmt::format("({})", settings);
    }
    return fmt::format(R"(layer Probe()(x: float[..., N]) -> float[] {{
{}  return sum({}{}({}) * (0.5 + random))
}}
model M(x: f32[batch, 1]) -> f32[] {{ return x |> Probe() }}
data d {{
  train = table(a = [1, 2])
  x: f32[1] = cols("a")
}}
train M on d {{
  loss = M(x)
  optimizer = sgd(1)
  epochs = 1
}}
)",
                       params, what.name, settings, arguments);
  }

 private:
  int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  std::string text(const Span& span) const { return std::string(source_.substr(span.begin, span.end - span.begin)); }

  /// The axes of a parameter: a variable has one length throughout the signature.
  std::vector<std::string> axes(const ast::TypeExpr& type) {
    std::vector<std::string> result;
    for (const ast::Dim& dim : type.dims) {
      if (dim.kind == ast::Dim::Kind::ellipsis) {
        if (!leading_) {
          leading_.emplace();
          for (int i = between(0, 2); i > 0; --i) leading_->push_back(std::to_string(between(1, 3)));
        }
        result.insert(result.end(), leading_->begin(), leading_->end());
        continue;
      }
      result.push_back(extent(text(dim.span)));
    }
    return result;
  }

  /// The dimension's expression with numbers for its names.
  std::string extent(const std::string& dimension) {
    std::string result;
    for (std::size_t at = 0; at < dimension.size();) {
      std::size_t end = at;
      while (end < dimension.size() && (std::isalnum(static_cast<unsigned char>(dimension[end])) != 0)) ++end;
      const std::string word = dimension.substr(at, std::max<std::size_t>(end - at, 1));
      result += std::isalpha(static_cast<unsigned char>(word[0])) != 0 ? std::to_string(drawn(word, 2, 5)) : word;
      at += word.size();
    }
    return result;
  }

  /// One number for each name of a signature.
  int drawn(const std::string& name, int low, int high) {
    return drawn_.try_emplace(name, between(low, high)).first->second;
  }

  std::string setting(const ast::Param& param) {
    if (param.type.base == Base::integer) return std::to_string(drawn(param.name.text, 2, 4));
    if (param.type.base == Base::boolean) return between(0, 1) == 1 ? "true" : "false";
    return fmt::format("{:.3f}", 0.05 * between(2, 15));
  }

  /// The argument's text; a float tensor is a parameter of the probe, declared in `params`.
  std::string argument(const ast::Param& param, std::string& params) {
    if (!param.type.tensor && param.value) return "";
    const std::string comma = fmt::format("{}{} = ", arguments_++ > 0 ? ", " : "", param.name.text);
    const std::string name = "p_" + param.name.text;
    if (!param.type.tensor) return comma + setting(param);
    const std::string type = fmt::format("[{}]", fmt::join(axes(param.type), ", "));
    if (is_floating(param.type)) {
      params += fmt::format("  param {}: {}{} = zeros\n", name, param.type.base == Base::f64 ? "f64" : "float", type);
      const bool probability = param.name.text == "p" || param.name.text == "q";
      return comma + (probability ? fmt::format("sigmoid({})", name) : name);
    }
    params += fmt::format("  let u_{0}: float{1} = random\n  let {0}: i32{1} = i32(2 * u_{0})\n", name, type);
    return comma + name;
  }

  std::string_view source_;
  std::mt19937 random_;
  std::optional<std::vector<std::string>> leading_;
  std::map<std::string, int> drawn_;
  int arguments_ = 0;
};

/// The step of a drawn program, or nothing where the frontend refuses it; what it said of the last one.
std::optional<Graph> step_of(const std::string& program, std::string& refusal) {
  static int count = 0;
  const auto path =
      std::filesystem::temp_directory_path() /
      fmt::format("nnc-gradients-{}-{}.nn", std::chrono::steady_clock::now().time_since_epoch().count(), ++count);
  std::ofstream(path) << program;
  Diagnostics diagnostics;
  auto blocks =
      elaborate_file(path.string(), {.overrides = {}, .double_precision = true, .train_block = ""}, diagnostics);
  std::filesystem::remove(path);
  if (blocks.size() == 1) return std::move(blocks[0].step);
  refusal = program + diagnostics.render(false);
  return std::nullopt;
}

void check_gradients(const Callable& what, std::string_view source) {
  int checked = 0, without_value = 0;  // r2 of a single row divides by no variance at all
  std::int64_t compared = 0, near_ties = 0;
  std::string refusal;
  for (unsigned seed = 1; checked < shapes_each && seed <= draws_at_most; ++seed) {
    const std::string program = Draw(source, seed).program(what);
    const auto step = step_of(program, refusal);
    if (!step) continue;
    const GradcheckReport report = gradcheck_step(*step, {.seed = seed, .elements = 6});
    const auto no_value = [](const GradcheckFailure& failure) { return failure.no_value; };
    if (std::ranges::any_of(report.failures, no_value)) {
      ++without_value;
      continue;
    }
    ++checked;
    for (const GradcheckFailure& failure : report.failures) UNSCOPED_INFO(to_string(failure));
    INFO(program);
    REQUIRE(report.failures.empty());
    compared += report.checked;
    near_ties += report.near_ties;
  }
  INFO("refused: " << refusal);
  CHECK(checked == shapes_each);
  CHECK(compared > 4 * near_ties);
  CHECK(without_value <= shapes_each);
}

}  // namespace

TEST_CASE("every function and layer of the library has the gradient that differences measure") {
  std::set<std::string> names;
  Diagnostics diagnostics;
  for (const EmbeddedFile& file : embedded_library()) {
    const std::uint32_t number =
        diagnostics.add_file({.path = std::string(file.name), .text = std::string(file.text), .library = true});
    const Ast ast = parse(number, diagnostics);
    for (const ast::Declaration& declaration : ast.declarations) {
      const auto what = callable(declaration);
      if (!what) continue;
      names.insert(what->name);
      const auto is_float_input = [](const ast::Param& param) { return is_float_tensor(param.type); };
      const bool has_parameters = what->settings != nullptr || std::ranges::any_of(*what->inputs, is_float_input);
      if (exempt.contains(what->name) || !has_parameters || !std::ranges::any_of(*what->results, is_float_tensor))
        continue;
      INFO(what->name);
      check_gradients(*what, file.text);
    }
  }
  for (const auto& [name, reason] : exempt) CHECK(names.contains(name));
}
