#include "frontend/words.h"

#include <sstream>
#include <utility>

#include "frontend/format.h"
#include "frontend/parser.h"
#include "frontend/std/embedded.h"

namespace nnc {

namespace {

constexpr Word functions[] = {
    {"exp", "exp(x): e to the power of each element."},
    {"expm1", "expm1(x): exp(x) - 1, exact near 0."},
    {"log", "log(x): the natural logarithm of each element; of 0 minus infinity, of less NaN."},
    {"log1p", "log1p(x): log(1 + x), exact near 0."},
    {"sqrt", "sqrt(x): the square root of each element."},
    {"tanh", "tanh(x): the hyperbolic tangent of each element."},
    {"logistic", "logistic(x): 1 / (1 + exp(-x)), also called sigmoid."},
    {"softplus", "softplus(x): log(1 + exp(x)), without overflow."},
    {"sin", "sin(x): the sine of each element, in radians."},
    {"cos", "cos(x): the cosine of each element, in radians."},
    {"erf", "erf(x): the error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."},
    {"normal_cdf", "normal_cdf(x): the share of a standard normal distribution that lies below x."},
    {"abs", "abs(x): the size of each element; its derivative at 0 is 0."},
    {"sign", "sign(x): -1, 0 or 1."},
    {"pow", "pow(a, b): a to the power of b; `a^b` is the same."},
    {"select", "select(c, a, b): element by element a where c holds, else b; both are computed."},
    {"sum",
     "sum(x), sum(x, over = -1, keep = true): of all elements, or along axes; of a list, its elements added up."},
    {"mean", "mean(x), mean(x, over = -1, keep = true): the mean of all elements, or along axes."},
    {"var", "var(x), var(x, over = -1): the population variance, of all elements or along axes."},
    {"max", "max(x), max(x, over = -1): the greatest element, of all or along axes; max(a, b) element by element."},
    {"min", "min(x), min(x, over = -1): the least element, of all or along axes; min(a, b) element by element."},
    {"argmax", "argmax(x, over = -1): the index (i32) of the greatest element along an axis, the first of equals."},
    {"f32", "f32(x): the elements as f32."},
    {"f64", "f64(x): the elements as f64."},
    {"i32", "i32(x): the elements as i32, rounded towards 0."},
    {"float", "float(x): the elements as what `float` stands for in this signature; truth values become 1 and 0."},
    {"reshape", "reshape(x, [batch, 28, 28]): the same elements in their order with other axes."},
    {"transpose", "transpose(x), transpose(x, [2, 0, 1]): the last two axes swapped, or all axes in this order."},
    {"pad", "pad(x, before, after, axis = -1): zeros (false) before and behind an axis."},
    {"window", "window(x, size, stride = 1, axis = -1): an axis of n elements as two, [windows, size]; no copy."},
    {"concat", "concat([a, b], axis = -1): tensors one behind the other along an axis."},
    {"size", "size(x), size(...): how many elements there are, a number."},
    {"random", "random: uniform in [0, 1), of the shape of its place; each one has its own stream."},
    {"iota", "iota, iota(axis = 0): the index along the last axis, or another, of its place."},
    {"range", "range(n), range(a, b): the whole numbers from 0 or a to the one before the end, a list."},
    {"repeat", "repeat(3, Block()): so many instances, one after the other, each with parameters of its own."},
    {"checked", "checked(ids, n): ids with the promise 0 <= id < n, which the loader checks where ids are an input."},
    {"unbounded",
     "unbounded(z): z, which may be any number; a loss says so of its logits, and W0507 warns of probabilities."},
    {"bounded",
     "bounded(p): p, which lies between 0 and 1; a loss says so of its probabilities, and W0508 warns of logits."},
    {"scatter_add", "scatter_add(x, ids, n): n rows, row i the sum of what has the id i."},
    {"stop_gradient", "stop_gradient(x): x, a constant for gradients."},
    {"grad", "grad(e, x): the derivative of the number e by the tensor x, of any order."},
    {"scan",
     "x |> scan(Cell(8)): an instance applied to x[:, 0], x[:, 1], ... along axis 1; its `carry` goes from step to "
     "step."},
    {"solve", "solve(A, b): x with A x = b, for A symmetric and positive definite."},
    {"weights", "weights(M): the parameters of a model or instance with two or more axes, a list."},
    {"params", "params(M): all parameters of a model or instance, a list."},
    {"step", "step: how many training steps there have been, this one included; a number of run time."},
    {"epoch", "epoch: which epoch it is, from 1; a number of run time."},
    {"steps_per_epoch", "steps_per_epoch: how many steps an epoch has; a number of run time."},
    {"total_steps", "total_steps: how many steps were planned when training began; a number of run time."},
    {"training", "training: a truth value known at compile time: whether this is for a training step."},
};
constexpr Word settings[] = {
    {"loss",
     "loss = softmax_cross_entropy(z, y): one number, the mean over the batch, which is minimised; loss(Gen) = ... for "
     "a part."},
    {"optimizer", "optimizer = adam(lr = 1e-3): how parameters change; optimizer(Net.Body) = frozen for a part."},
    {"epochs", "epochs = 20: how often all rows of `train` are gone through."},
    {"metric", "metric acc = accuracy(z, y): a figure over a whole split, reported as valid.acc."},
    {"output", "output kind = argmax(z, over = -1): what `nnc predict` writes for each row."},
    {"batch_size", "batch_size = 128, or full: rows of a step; 32 unless given."},
    {"shuffle", "shuffle = false: rows in their order; else a new order in each epoch."},
    {"seed", "seed = 42: of parameters, shuffling and random calls; 0 unless given."},
    {"check_every", "check_every = 5, or steps(100): epochs, or steps, between evaluations; 1 unless given."},
    {"early_stop",
     "early_stop = lowest(valid.loss, patience = 3): ends after so many evaluations without a better one."},
    {"best", "best = highest(valid.acc): keeps the weights of the best evaluation, which eval and predict then take."},
    {"stop", "stop = train.loss < 1e-3: a condition that ends training."},
    {"clip_norm", "clip_norm = 1.0: scales gradients by min(1, c / norm)."},
    {"average", "average = ema(0.999): averages of the parameters, which evaluation uses."},
};
constexpr Word data_words[] = {
    {"csv", "csv(\"rows.csv\"): rows of a CSV file with a header."},
    {"idx",
     "idx(image = \"images.gz\", label = \"labels.gz\"): IDX files, each with the name of its column; .gz or not."},
    {"npy", "npy(x = \"x.npy\", y = \"y.npy\"): NPY files, each with the name of its column."},
    {"npz", "npz(\"rows.npz\"): an archive of NPY files, whose names are the columns."},
    {"table", "table(x = [0, 1], kind = [\"a\", \"b\"]): rows that stand in the program."},
    {"samples", "samples = 1000: rows that are made; their columns are expressions that read nothing."},
    {"split",
     "split(rows, 0.8, 0.2, seed = 1, by = col(\"kind\")): shares or counts of rows; split(rows, every = 5) by their "
     "numbers."},
    {"fit", "fit = [train, test]: the splits that statistics and classes are learnt from; train unless given."},
    {"col",
     "col(\"age\", missing = median), col(\"city\", unknown = \"other\"): one column of the file, and what stands for "
     "a value that is not there or is no class."},
    {"cols",
     "cols(\"a\", \"b\"), cols(\"p0\", to = \"p63\"), cols(except = \"y\"): several columns side by side; also missing "
     "= ..."},
    {"classes", "classes(col(\"species\")): the numbers (i32) of the sorted distinct values, learnt on `train`."},
    {"one_hot",
     "one_hot(classes(col(\"city\"))): a row with 1 at the class, else 0; the width is that of the declared type."},
    {"standardize", "standardize(c): (c - mean) / deviation, learnt on `train`."},
    {"minmax", "minmax(c): (c - min) / (max - min), learnt on `train`."},
    {"undo", "undo(z, y): z mapped back through the standardize or minmax of the column y, for an output or a metric."},
};

constexpr Word words[] = {
    {"data", "data rows { train = csv(\"rows.csv\") ... }: where rows come from, and what a row's columns are."},
    {"model", "model Net(x: f32[batch, 4]) -> f32[batch, 1] { return ... }: a function of tensors with parameters."},
    {"layer", "layer Block(width: int)(x: f32[batch, d]) -> f32[batch, width] { return ... }: a part of models."},
    {"fn", "fn square(x: f32[...]) -> f32[...] { return x * x }: a function without parameters of its own."},
    {"const", "const hidden = 64: a number or a list, which --set gives another value."},
    {"let", "let z = Net(x): a name for a value."},
    {"import", "import \"layers.nn\": the declarations of another file."},
    {"expect", "expect a == b within 1e-6: what a test block asserts."},
    {"within", "expect a == b within 1e-6: how far apart they may be."},
    {"lowest",
     "lowest(valid.loss), lowest(valid.loss, patience = 3): less is better, in `best` and `early_stop`; the figure is "
     "of `train` or `valid`."},
    {"highest", "highest(valid.acc), highest(valid.acc, patience = 3): more is better, in `best` and `early_stop`."},
    {"patience", "lowest(valid.loss, patience = 3): so many evaluations in a row may be no better."},
    {"full", "batch_size = full: all rows of `train` in each step."},
    {"missing",
     "col(\"age\", missing = mean), or median, most_frequent, a number, for classes a word: what stands for a value "
     "that is not there; learnt on `train`."},
    {"unknown",
     "classes(col(\"city\", unknown = \"other\")), or most_frequent: what stands for a word that `train` does not "
     "have."},
    {"median", "col(\"age\", missing = median): the middle value of `train` stands for one that is missing."},
    {"most_frequent", "col(\"age\", missing = most_frequent): the value that most rows of `train` have."},
    {"except", "cols(except = [\"id\", \"y\"]): all columns of the file but these."},
    {"by", "split(rows, 0.8, 0.2, by = col(\"kind\")): each part has the proportions of this column's values."},
};

/// What a declaration is called, and where its signature ends: at its body, or after it where there is none.
struct Head {
  std::string name;
  std::uint32_t end = 0;
};
Head head_of(const ast::Declaration& declaration) {
  struct Visitor {
    const ast::Declaration& declaration;
    Head with_body(const ast::Name& name, const ast::Block& body) { return {name.text, body.span.begin}; }
    Head operator()(const ast::Function& at) { return with_body(at.name, at.body); }
    Head operator()(const ast::Layer& at) { return with_body(at.name, at.body); }
    Head operator()(const ast::Optimizer& at) { return with_body(at.name, at.body); }
    Head operator()(const ast::Model& at) { return with_body(at.name, at.body); }
    Head operator()(const ast::Const& at) { return {at.name.text, declaration.span.end}; }
    Head operator()(const ast::Import&) { return {}; }
    Head operator()(const ast::Data&) { return {}; }
    Head operator()(const ast::Train&) { return {}; }
    Head operator()(const ast::Test&) { return {}; }
  };
  return std::visit(Visitor{declaration}, declaration.form);
}

/// Words with one blank between them.
std::string in_one_line(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::string line;
  for (std::string word; in >> word;) line += (line.empty() ? "" : " ") + word;
  return line;
}

/// A signature that was laid out over several lines, in one.
std::string signature_in_one_line(std::string_view text) {
  std::string line = in_one_line(text);
  for (const auto& [written, wanted] : {std::pair<std::string_view, std::string_view>{"( ", "("},
                                        {", )", ")"},
                                        {"[ ", "["},
                                        {", ]", "]"},
                                        {") (", ")("}})
    for (std::size_t at = 0; (at = line.find(written, at)) != std::string::npos;)
      line.replace(at, written.size(), wanted);
  return line;
}

}  // namespace

std::span<const Word> words_of(WordKind kind) {
  switch (kind) {
    case WordKind::function:
      return functions;
    case WordKind::train_setting:
      return settings;
    case WordKind::data_word:
      return data_words;
    case WordKind::word:
      return words;
  }
  return {};
}

std::vector<LibraryEntry> library_entries() {
  Diagnostics diagnostics;
  std::vector<LibraryEntry> entries;
  for (const EmbeddedFile& file : embedded_library()) {
    const std::uint32_t number =
        diagnostics.add_file({.path = std::string(file.name), .text = std::string(file.text), .library = true});
    for (const ast::Declaration& declaration : parse(number, diagnostics).declarations) {
      const Head head = head_of(declaration);
      const std::string_view signature = file.text.substr(declaration.span.begin, head.end - declaration.span.begin);
      entries.push_back({file.name, head.name, signature_in_one_line(signature), in_one_line(declaration.doc)});
    }
  }
  return entries;
}

}  // namespace nnc
