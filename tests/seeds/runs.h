// Examples run as a user does, by the command, on their own data or on the material's.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/seeds/pieces.h"
#include "tests/support/scratch.h"

namespace nnc::seeds {

/// A run of a train block.
struct Run {
  int status = 0;
  std::string messages;  ///< stderr
  bool stopped = false;  ///< by its rule, before its last epoch
  std::int64_t epoch = 0, step = 0;
  std::map<std::string, nlohmann::json> figures;  ///< by split: loss and metrics, at the end
  std::map<std::string, std::vector<double>> weights;
  std::filesystem::path folder;

  double figure(const std::string& split, const std::string& name) const { return figures.at(split).at(name); }
  double weight(const std::string& path, std::size_t index = 0) const { return weights.at(path).at(index); }
};

struct TrainOptions {
  std::string more{};  ///< arguments
  /// Of a data block, what stands between its braces in place of what the example says; DATA is the folder of real
  /// rows.
  std::map<std::string, std::string> data{};
  std::map<std::string, std::string> settings{};  ///< of the train block; those with an empty value go
  std::map<std::string, std::string> replace{};   ///< in the text of the program
  bool real = true;                               ///< files named in the example are those of the material
};

/// Whether an example reads MNIST's files or Fashion-MNIST's; all others train without any file but their own.
bool needs_pictures(const std::string& example);
/// Below examples/, in order.
std::vector<std::string> all_examples();

class Runs {
 public:
  /// `data` is the folder of real rows, or empty.
  explicit Runs(std::filesystem::path data);

  bool has_data() const { return !data_.empty(); }
  /// `example` below examples/, e.g. "linear/descent.nn".
  Run train(const std::string& example, const std::string& block, const TrainOptions& options = {});
  /// So many rows of a file of the material, over and over, in the order in which the material takes them when its
  /// first epoch draws `drawn`.
  std::filesystem::path in_order(const std::string& file, std::uint32_t drawn, std::size_t count);
  /// Loss and metrics of each split, by the weights that a run has kept.
  std::map<std::string, nlohmann::json> evaluate(const Run& run);
  /// Output lines of predict, without the header.
  std::vector<std::string> predict(const Run& run, const std::string& rows);
  /// Trains all blocks of an example on its own data, on one thread: seconds of processor time.
  double train_all(const std::string& example);
  /// `nnc test --json` of an example; nothing where it has no test.
  std::optional<TestedFile> test(const std::string& example);

 private:
  test::Scratch scratch_;
  std::filesystem::path data_, real_;
  int number_ = 0;  ///< of files and folders made so far
};

constexpr int many = 20, some = 5;  ///< runs of a system; some of one that takes seconds

inline double updates(const Run& run) { return static_cast<double>(run.step); }
inline auto figure_of(const std::string& split, const std::string& name) {
  return [=](const Run& run) { return run.figure(split, name); };
}
/// Lines of a data block: the rows of the run with `seed` ("--seed 7"), which also says which tenth is held out.
std::string held_out(const std::string& name, const std::string& seed);

double median(std::vector<double> values);
/// Runs of the seeds from 1 on; three where it must be quick.
std::vector<Run> several(bool quick, int count, const std::function<Run(const std::string& seed)>& run);
double median(const std::vector<Run>& runs, const std::function<double(const Run&)>& figure);

}  // namespace nnc::seeds
