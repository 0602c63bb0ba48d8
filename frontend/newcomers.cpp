#include "frontend/newcomers.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "ir/nearest.h"

namespace nnc {
namespace {

struct Habit {
  std::string_view theirs, help;
};

constexpr Habit names[] = {
    {"True", "write `true`"},
    {"False", "write `false`"},
    {"None", "an argument that is not needed is left out"},
    {"batch",
     "the batch has a name in train blocks and where a signature gives it one, as in `x: f32[batch, 4]`; `...` stands "
     "for leading axes"},
    {"self", "there is no `self`: a layer's parameters and settings are known by their names"},
    {"Linear", "write `Dense(16)`: the input's width is read off the input"},
    {"len", "a dimension is a number under its name in the signature (`x: float[..., C]`); `size(x)` counts elements"},
    {"shape", "a dimension is a number under its name in the signature, as in `x: float[..., C]`"},
    {"print", "programs compute and do not print; `metric` and `output` of a train block show values"},
    {"lambda", "functions have names: declare one by `fn`"},
    {"matmul", "write `a @ b`"},
    {"mm", "write `a @ b`"},
    {"bmm", "write `a @ b`"},
    {"einsum", "write `a @ b`, which sums over the last axis of a and the first of b, or `sum(a * b, over = ...)`"},
    {"power", "write `a^b`"},
    {"ln", "write `log(x)`, the natural logarithm"},
    {"cat", "write `concat([a, b], axis = -1)`"},
    {"concatenate", "write `concat([a, b], axis = -1)`"},
    {"stack", "a list of tensors is stacked: `[a, b]`"},
    {"view", "write `reshape(x, [...])` with the length of each axis, as in `reshape(x, [batch, C])`"},
    {"assert", "write `expect a == b`"},
    {"permute", "write `transpose(x, [0, 2, 1])`"},
    {"where", "write `select(condition, a, b)`"},
    {"rand", "write `uniform(0, 1)`"},
    {"randn", "write `normal(0, 1)`"},
    {"arange", "write `range(n)` for numbers known at compile time, `iota` for a tensor"},
    {"ReLU", "write `relu(x)` or `x |> relu`: it has no parameters, so it is a function"},
    {"GELU", "write `gelu_tanh(x)` or `x |> gelu_tanh`: it has no parameters, so it is a function"},
    {"Sigmoid", "write `sigmoid(x)` or `x |> sigmoid`: it has no parameters, so it is a function"},
    {"Tanh", "write `tanh(x)` or `x |> tanh`: it has no parameters, so it is a function"},
    {"Softmax", "write `softmax(x)` or `x |> softmax`: it has no parameters, so it is a function"},
    {"Flatten", "write `flatten(x)` or `x |> flatten`: it has no parameters, so it is a function"},
    {"Sequential", "layers follow each other by `|>`: `x |> Dense(16) |> relu |> Dense(1)`"},
    {"CrossEntropyLoss", "write `softmax_cross_entropy(z, y)`, from logits"},
    {"NLLLoss", "write `softmax_cross_entropy(z, y)`, from logits"},
    {"MSELoss", "write `mse(a, y)`"},
    {"L1Loss", "write `mae(a, y)`"},
    {"BCELoss", "write `binary_cross_entropy(p, y)`"},
    {"BCEWithLogitsLoss", "write `binary_cross_entropy_logits(z, y)`"},
    {"Adam", "write `adam(lr = 1e-3)`"},
    {"AdamW", "write `adamw(lr = 1e-3)`"},
    {"SGD", "write `sgd(lr = 0.1)`"},
    {"RMSprop", "write `rmsprop(lr = 1e-3)`"},
};

constexpr Habit foreign_types[] = {{"float32", "write `f32`"},
                                   {"float64", "write `f64`"},
                                   {"double", "write `f64`"},
                                   {"int32", "write `i32`"},
                                   {"int64", "write `i32`"},
                                   {"long", "write `i32`"},
                                   {"str", "write `string`"},
                                   {"boolean", "write `bool`"},
                                   {"float16", "write `f32`"},
                                   {"half", "write `f32`"},
                                   {"bfloat16", "write `f32`"},
                                   {"Tensor", "write `f32[...]`, with its dimensions"},
                                   {"tensor", "write `f32[...]`, with its dimensions"}};

constexpr std::string_view modules[] = {"nn",  "torch", "tf", "np",   "numpy", "jnp",
                                        "jax", "keras", "F",  "math", "optim"};

constexpr Habit arguments[] = {{"learning_rate", "lr"},   {"dim", "over"},         {"axis", "over"},
                               {"axes", "over"},          {"keepdim", "keep"},     {"keepdims", "keep"},
                               {"units", "out"},          {"out_features", "out"}, {"use_bias", "bias"},
                               {"kernel_size", "kernel"}, {"padding", "pad"},      {"rate", "p"},
                               {"alpha", "slope"},        {"random_state", "seed"}};

/// Arguments that nothing here has.
constexpr Habit foreign_arguments[] = {
    {"activation", "an activation follows the layer: `x |> Dense(8) |> relu`"},
    {"in_features", "the input's width is read off the input"},
    {"input_shape", "the input's shape is read off the input"},
    {"input_dim", "the input's width is read off the input"},
    {"reduction", "a loss is the mean over the batch; another one is written out, as in `sum(square(a - y))`"},
    {"inplace", "values do not change; what a function gives is a new one"},
    {"dtype", "the element type is that of the argument; `f32(x)`, `f64(x)` and `i32(x)` convert"}};

constexpr Habit words[] = {
    {"def", "functions are declared by `fn`, beside the others of the file"},
    {"func", "functions are declared by `fn`, beside the others of the file"},
    {"function", "functions are declared by `fn`, beside the others of the file"},
    {"lambda", "functions have names: declare one by `fn`, beside the others of the file"},
    {"class", "layers are declared by `layer`, models by `model`"},
    {"struct", "layers are declared by `layer`, models by `model`"},
    {"from", "`import \"lib.nn\"` brings in another file; the library is there without"},
    {"elif", "write `else if`"},
    {"for", "there are no loops: `[f(i) for i in range(3)]` makes a list, `repeat` repeats a layer"},
    {"while", "there are no loops: `[f(i) for i in range(3)]` makes a list, `repeat` repeats a layer"},
    {"var", "a name is given by `let`, once"},
    {"val", "a name is given by `let`, once"},
    {"mut", "a name is given by `let`, once, and keeps its value"},
    {"const", "in a body a name is given by `let`"},
    {"ret", "write `return`"},
    {"assert", "write `expect a == b`"},
    {"raise", "what settings may be is said by `expect`, as in `expect p >= 0 and p < 1`"},
    {"print", "programs compute and do not print; `metric` and `output` of a train block show values"},
    {"let", "at the top of a file a name is given by `const`"},
    {"pass", "a body ends in `return`"},
    {"//", "comments begin with `#`"},
    {":=", "a name is given by `let`, as in `let y = f(x)`"},
    {">>", "a value is passed on by `|>`"},
};

constexpr Habit characters[] = {{"?", "write `if c { a } else { b }`, or `select(c, a, b)` where c is computed"},
                                {"%", "the remainder of numbers is `a - b * (a // b)`"},
                                {"&", "truth values are joined by `and`"},
                                {"|", "truth values are joined by `or`; a value is passed on by `|>`"},
                                {"~", "write `not`"},
                                {"\\", "what goes on on the next line stands in parentheses"},
                                {"`", "strings stand in double quotes"}};

template <std::size_t N>
std::string_view help_in(const Habit (&habits)[N], std::string_view theirs) {
  const auto* at =
      std::find_if(std::begin(habits), std::end(habits), [&](const Habit& h) { return h.theirs == theirs; });
  return at == std::end(habits) ? std::string_view{} : at->help;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c;
  out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
  return out;
}

}  // namespace

bool is_foreign_module(std::string_view name) {
  return std::find(std::begin(modules), std::end(modules), name) != std::end(modules);
}

std::string repair_of_name(std::string_view name, std::span<const std::string> known) {
  if (const std::string_view help = help_in(names, name); !help.empty()) return std::string(help);
  if (is_foreign_module(name)) return "the library has no modules: write `relu(x)`, `Dense(16)`, `adam(lr = 1e-3)`";
  if (name.size() > 2 && name.size() < 100)
    for (const std::string& candidate : known)
      if (lower(candidate) == lower(name)) return fmt::format("did you mean `{}`?", candidate);
  return did_you_mean(name, known);
}

namespace {

/// What a method of a tensor is called with elsewhere, as the arguments of the function here: the lengths of a reshape
/// are one list, and the axis of a reduction has a name.
std::string as_call(std::string_view base, std::string_view member, std::span<const WrittenArgument> given) {
  constexpr std::string_view reductions[] = {"sum", "mean", "max", "min", "var", "argmax", "softmax"};
  const bool reduces = std::ranges::find(reductions, member) != std::end(reductions);
  std::vector<std::string> written;
  for (const WrittenArgument& argument : given) {
    std::string_view name = argument.name;
    if (name == "dim" || name == "axis" || (reduces && name.empty())) name = "over";
    if (name == "keepdim" || name == "keepdims") name = "keep";
    written.push_back(name.empty() ? argument.value : fmt::format("{} = {}", name, argument.value));
  }
  if (member == "reshape" && !given[0].value.starts_with("[") && !given[0].value.starts_with("("))
    return fmt::format("reshape({}, [{}])", base, fmt::join(written, ", "));
  return fmt::format("{}({}, {})", member, base, fmt::join(written, ", "));
}

}  // namespace

std::string repair_of_member(std::string_view base, std::string_view member, std::span<const WrittenArgument> given,
                             std::span<const std::string> functions) {
  if (member == "shape" || member == "size")
    return "a dimension is a number under its name in the signature, as in `x: float[..., C]`; `size(x)` counts "
           "elements";
  if (member == "T" || member == "t") return fmt::format("write `transpose({})`", base);
  if (member == "transpose" && !given.empty())
    return fmt::format("`transpose({})` swaps the last two axes, `transpose({}, [2, 0, 1])` puts all in order", base,
                       base);
  if (member == "dtype") return "an element type stands in the signature; `f32(x)`, `f64(x)` and `i32(x)` convert";
  if (member == "view" && !given.empty()) member = "reshape";
  const auto left_open = [](const WrittenArgument& argument) { return argument.value.find('-') != std::string::npos; };
  if (member == "reshape" && std::ranges::any_of(given, left_open))
    return fmt::format("write `reshape({}, [...])` with the length of each axis", base);
  for (const std::string& function : functions) {
    if (function != member) continue;
    if (member[0] >= 'A' && member[0] <= 'Z') return fmt::format("write `{} |> {}(...)`", base, member);
    if (given.empty()) return fmt::format("write `{}({})` or `{} |> {}`", member, base, base, member);
    return fmt::format("write `{}`", as_call(base, member, given));
  }
  if (const std::string_view help = help_in(names, member); !help.empty()) return std::string(help);
  return "";
}

std::string repair_of_argument(std::string_view name, std::span<const std::string> known) {
  for (const Habit& habit : arguments)
    if (habit.theirs == name && std::find(known.begin(), known.end(), habit.help) != known.end())
      return fmt::format("here it is called `{}`", habit.help);
  constexpr std::string_view of_axes[] = {"dim", "axis", "axes", "over"};
  const auto is_of_axes = [&](std::string_view word) {
    return std::find(std::begin(of_axes), std::end(of_axes), word) != std::end(of_axes);
  };
  if (is_of_axes(name)) {
    const auto own = std::find_if(known.begin(), known.end(), is_of_axes);
    return own != known.end() ? fmt::format("here it is called `{}`", *own)
                              : "it goes along the last axis; `transpose` puts another one there";
  }
  if (const std::string_view help = help_in(foreign_arguments, name); !help.empty()) return std::string(help);
  if (const std::string near = did_you_mean(name, known); !near.empty()) return near;
  return known.empty() ? "it has no arguments by name" : fmt::format("it takes `{}`", fmt::join(known, "`, `"));
}

std::string repair_of_type(std::string_view name, std::span<const std::string> known) {
  if (const std::string_view help = help_in(foreign_types, name); !help.empty()) return std::string(help);
  return did_you_mean(name, known);
}

std::string repair_of_word(std::string_view word) { return std::string(help_in(words, word)); }
std::string_view repair_of_character(std::string_view character) { return help_in(characters, character); }

}  // namespace nnc
