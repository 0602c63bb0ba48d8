// A slip of the finger in any setting of a data or train block, in what it is set to, or in an argument of an
// optimizer, a schedule or a reader, is answered with the right name: every pair of neighbours swapped, every letter
// left out, every letter typed twice.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "frontend/elaborate.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

namespace {

/// Every setting there is, in one program that is right.
const char* const program =
    R"(model Net(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(4, init = glorot_uniform, bias = true) |> Dense(1) }
data points {
  let rows = csv("points.csv")
  let rest, held = split(rows, 0.9, 0.1, seed = 1, by = col("kind"))
  train, valid = split(rest, 4, 1, every = 5)
  test = held
  fit = [train, valid]
  x: f32[2] = standardize(cols("a", "b", missing = median)) + minmax(cols("c", to = "d"))
  y: f32[1] = standardize(cols(except = ["a", "b", "c", "d", "kind"]))
  k: i32[] = classes(col("kind", unknown = most_frequent))
  h: f32[3] = one_hot(classes(col("kind")))
}
train Net on points {
  let z = Net(x)
  loss = mse(z, y)
  metric off = mae(z, y)
  output price = undo(z, y)
  optimizer = adamw(lr = cosine(1e-3, to = 1e-5, warmup = 10), beta1 = 0.9, beta2 = 0.99, eps = 1e-8, weight_decay = 0.01)
  optimizer(Net.Dense2) = frozen
  epochs = 3
  batch_size = full
  shuffle = true
  seed = 42
  check_every = steps(2)
  early_stop = lowest(valid.loss, patience = 3)
  best = highest(valid.off)
  stop = train.loss < 1e-3 or epoch >= 50 and step > 100
  clip_norm = 1.0
  average = ema(0.999)
}
)";

/// The words of the program that are somebody's to mistype, each as it first stands.
const std::vector<std::string> words = {"epochs",     "batch_size",  "shuffle",      "seed =",     "check_every",
                                        "early_stop", "best =",      "stop =",       "clip_norm",  "average",
                                        "optimizer",  "loss =",      "metric",       "output",     "warmup",
                                        "beta1",      "beta2",       "weight_decay", "lowest",     "highest",
                                        "patience",   "standardize", "minmax",       "classes",    "cosine",
                                        "adamw",      "split(",      "valid =",      "train,",     "every =",
                                        "except",     "init =",      "bias =",       "valid.loss", "train.loss"};

/// What settings are set to, and words that calls are made of, behind what stands before them.
struct Value {
  std::string before, word;
};
const std::vector<Value> values = {{"fit = [", "train"},
                                   {"fit = [train, ", "valid"},
                                   {"let rows = ", "csv"},
                                   {"test = ", "held"},
                                   {"missing = ", "median"},
                                   {"unknown = ", "most_frequent"},
                                   {"h: f32[3] = ", "one_hot"},
                                   {"bias = ", "true"},
                                   {"init = ", "glorot_uniform"},
                                   {"shuffle = ", "true"},
                                   {"batch_size = ", "full"},
                                   {"check_every = ", "steps"},
                                   {"1e-3 ", "or"},
                                   {"1e-3 or ", "epoch"},
                                   {"50 ", "and"},
                                   {"50 and ", "step"},
                                   {"optimizer(Net.", "Dense2"},
                                   {"optimizer(Net.Dense2) = ", "frozen"},
                                   {"average = ", "ema"},
                                   {"loss = ", "mse"},
                                   {"metric off = ", "mae"},
                                   {"output price = ", "undo"}};

std::string word_of(const std::string& place) { return place.substr(0, place.find_first_of(" =(,")); }

std::set<std::string> slips(const std::string& word) {
  std::set<std::string> all;
  for (std::size_t i = 0; i + 1 < word.size(); ++i) {
    std::string swapped = word;
    std::swap(swapped[i], swapped[i + 1]);
    all.insert(swapped);
  }
  for (std::size_t i = 1; i < word.size(); ++i) {
    if (word.size() > 3) all.insert(word.substr(0, i) + word.substr(i + 1));
    all.insert(word.substr(0, i) + word[i] + word.substr(i));
  }
  all.erase(word);
  return all;
}

std::string messages_of(const std::string& text, const nnc::test::Scratch& scratch) {
  const std::string path = (scratch.path() / "typo.nn").string();
  std::ofstream(path, std::ios::binary) << text;
  nnc::Diagnostics diagnostics;
  nnc::elaborate_file(path, {}, diagnostics);
  return diagnostics.render(false);
}

}  // namespace

TEST_CASE("a slip in any setting is answered with the right name") {
  const nnc::test::Scratch scratch;
  int tried = 0;
  for (const std::string& place : words) {
    const std::string word = word_of(place), text = program;
    const std::size_t found = text.find(" " + place), at = found == text.npos ? text.find(place) : found + 1;
    INFO(place);
    REQUIRE(at != std::string::npos);
    for (const std::string& slip : slips(word)) {
      if (slip.find('.') == std::string::npos && word.find('.') != std::string::npos)
        continue;  // two words grown together
      if (slip.starts_with('.') || slip.ends_with('.') || slip.find("..") != std::string::npos) continue;
      if (slip == "adam" || slip == "beta") continue;  // another word, and one that is as near to another
      if (slip.front() >= '0' && slip.front() <= '9') continue;
      const std::string messages = messages_of(text.substr(0, at) + slip + text.substr(at + word.size()), scratch);
      INFO(slip << "\n" << messages);
      CHECK(messages.find("`" + word + "`") != std::string::npos);
      ++tried;
    }
  }
  CHECK(tried > 500);
}

/// Slips that are another word, or one letter from another.
const std::set<std::string> near_another = {"mea", "medan", "meian", "Dense"};

TEST_CASE("a slip in what a setting is set to is answered with the right word") {
  const nnc::test::Scratch scratch;
  REQUIRE(messages_of(program, scratch).find("error") == std::string::npos);
  int tried = 0;
  for (const Value& value : values) {
    const std::string text = program, place = value.before + value.word;
    const std::size_t at = text.find(place) + value.before.size();
    INFO(place);
    REQUIRE(text.find(place) != std::string::npos);
    for (const std::string& slip : slips(value.word)) {
      if (near_another.contains(slip)) continue;
      const std::string messages =
          messages_of(text.substr(0, at) + slip + text.substr(at + value.word.size()), scratch);
      INFO(slip << "\n" << messages);
      CHECK(messages.find("did you mean `" + value.word + "`") != std::string::npos);
      ++tried;
    }
  }
  CHECK(tried > 150);
}
