// Runs that are stopped, killed or out of disk, and go on: in the end everything that they keep has the bytes of a run
// that nobody stopped.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/support/process.h"
#include "tests/unit/catch.h"

namespace {

using nlohmann::json;
using nnc::test::Process;
using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::write_file;
namespace fs = std::filesystem;

/// Everything that a continuation must bring back: random masks, running means, moments, averages, a schedule,
/// counters.
std::string program(const std::string& settings) {
  return "data points {\n  samples = 100\n  x: f32[2] = uniform(-1, 1)\n  y: f32[1] = sum(x, keep = true)\n"
         "  train, valid = split(0.8, 0.2)\n}\n"
         "model Net(x: f32[batch, 2]) -> f32[batch, 1] {\n"
         "  return x |> Dense(8) |> BatchNorm() |> Dropout(0.2) |> tanh |> Dense(1)\n}\n"
         "train Net on points {\n  let z = Net(x)\n  loss = mse(z, y)\n  metric err = mae(z, y)\n"
         "  optimizer = adam(lr = cosine(1e-2, to = 1e-5))\n  average = ema(0.9)\n  best = lowest(valid.err)\n"
         "  batch_size = 12\n" +
         settings + "}\n";
}

/// What a run has kept: the files whose bytes say everything.
std::string kept(const fs::path& run) {
  return read_file(run / "last.safetensors") + read_file(run / "best.safetensors") + read_file(run / "metrics.jsonl");
}

/// A folder where flushing costs nothing, so that a test can stop often.
fs::path quick_folder() { return fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path(); }

/// Waits until a run has written another checkpoint, or has ended.
void wait_for_checkpoint(Process& process, const fs::path& run, fs::file_time_type before) {
  std::error_code none;
  while (!process.ended()) {
    const auto now = fs::last_write_time(run / "last.safetensors", none);
    if (!none && now != before && fs::exists(run / "run.json")) return;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}
fs::file_time_type time_of(const fs::path& run) {
  std::error_code none;
  const auto time = fs::last_write_time(run / "last.safetensors", none);
  return none ? fs::file_time_type::min() : time;
}

struct Stop {
  int signal = SIGINT;
  int times = 5;
  std::int64_t most_microseconds = 20000;  ///< after a checkpoint of its own
  std::vector<std::string> start, go_on;   ///< further arguments
};

/// Trains, and goes on, and is stopped at random moments; at last it runs to its end. The exit statuses of what was
/// stopped.
std::vector<int> stopped_and_gone_on(const fs::path& folder, const std::string& file, const Stop& stop, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int> statuses;
  const fs::path run = folder / "run";
  for (int time = 0;; ++time) {
    const bool goes_on = fs::exists(run / "run.json");
    std::vector<std::string> arguments =
        goes_on ? std::vector<std::string>{"train", "--resume", "run", "--threads", time % 2 ? "2" : "1"}
                : std::vector<std::string>{"train", file, "--out", "run"};
    const auto& more = goes_on ? stop.go_on : stop.start;
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto before = time_of(run);
    Process process(arguments, folder);
    if (time < stop.times) {
      // Now and then before there is anything.
      if (time % 10 == 9)
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 100000));
      else
        wait_for_checkpoint(process, run, before);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % static_cast<unsigned>(stop.most_microseconds)));
      process.send(stop.signal);
    }
    statuses.push_back(process.wait());
    if (time >= stop.times || statuses.back() == 0) return statuses;
  }
}

}  // namespace

TEST_CASE("SIGINT and --resume at random steps leave the bits of three models as they are", "[resume]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  struct Model {
    std::string name, file, text;
  };
  const std::vector<Model> models{
      {"a normalised net with dropout", "net.nn", program("  epochs = 1500\n")},
      {"two models with two losses", "gan.nn", read_file(NNC_SOURCE_DIR "/tests/programs/gan.nn")},
      {"a variational autoencoder", "vae.nn", read_file(NNC_SOURCE_DIR "/tests/programs/vae.nn")}};
  for (const Model& model : models) {
    INFO(model.name);
    const Scratch scratch(quick_folder());
    write_file(scratch.path() / model.file, model.text);
    const auto whole = run_nnc("train " + model.file + " --out whole --log-steps", scratch.path());
    INFO(whole.err);
    REQUIRE(whole.status == 0);
    Stop stop;
    stop.start = {"--log-steps", "--codegen-level", "none"};
    const auto statuses = stopped_and_gone_on(scratch.path(), model.file, stop, seed);
    INFO(read_file(scratch.path() / "process.err"));
    CHECK(statuses.front() == 130);
    CHECK(statuses.back() == 0);
    CHECK((kept(scratch.path() / "run") == kept(scratch.path() / "whole")));
    CHECK(read_file(scratch.path() / "process.out") == whole.out);
  }
}

TEST_CASE("kill -9 at random moments, a hundred times, loses nothing", "[resume]") {
  constexpr int lives = 4, kills = 25;
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  const Scratch scratch(quick_folder());
  write_file(scratch.path() / "net.nn", program("  early_stop = lowest(valid.err, patience = 400)\n  epochs = 400\n"));
  REQUIRE(run_nnc("train net.nn --out whole", scratch.path()).status == 0);
  const std::string want = kept(scratch.path() / "whole");
  std::vector<std::vector<int>> statuses(lives);
  std::vector<std::thread> threads;
  for (int life = 0; life < lives; ++life) {
    const fs::path folder = scratch.path() / std::to_string(life);
    fs::create_directory(folder);
    fs::copy(scratch.path() / "net.nn", folder / "net.nn");
    threads.emplace_back([&statuses, life, folder, seed] {
      Stop stop{SIGKILL, kills, 4000, {"--save-every", "0"}, {"--save-every", "0"}};
      statuses[static_cast<std::size_t>(life)] =
          stopped_and_gone_on(folder, "net.nn", stop, seed + static_cast<unsigned>(life));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::ptrdiff_t killed = 0;
  for (int life = 0; life < lives; ++life) {
    INFO("life " << life);
    const fs::path folder = scratch.path() / std::to_string(life);
    const auto& ends = statuses[static_cast<std::size_t>(life)];
    killed += std::count(ends.begin(), ends.end(), 128 + SIGKILL);
    CHECK(ends.back() == 0);
    CHECK((kept(folder / "run") == want));
    for (const auto& entry : fs::directory_iterator(folder / "run"))
      CHECK(entry.path().extension() != ".tmp");  // what killed processes have left
  }
  CHECK(killed > lives * kills / 2);  // else the runs ended before they could be killed
}

TEST_CASE("a run says how it goes on, and goes on for longer where that is asked", "[resume]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program("  epochs = 6\n"));
  const auto first = run_nnc("train net.nn --out 'my run' --max-steps 20", scratch.path());
  CHECK(first.status == 0);
  CHECK_THAT(first.err, Catch::Contains("stopped by --max-steps in epoch 3, after step 20"));
  // The line of the epoch that was cut short is told again, whole.
  CHECK(nnc::test::json_lines(read_file(scratch.path() / "my run/metrics.jsonl")).size() == 3);
  const auto second = run_nnc("train --resume 'my run'", scratch.path());
  CHECK_THAT(second.err, Catch::Contains("going on in epoch 3, after step 20"));
  CHECK_THAT(second.err, Catch::Contains("finished after epoch 6, step 42"));
  CHECK(nnc::test::json_lines(read_file(scratch.path() / "my run/metrics.jsonl")).size() == 6);
  REQUIRE(run_nnc("train net.nn --out whole", scratch.path()).status == 0);
  CHECK((kept(scratch.path() / "my run") == kept(scratch.path() / "whole")));
  const auto again = run_nnc("train --resume 'my run'", scratch.path());
  CHECK(again.status == 0);
  CHECK(again.out == second.out);
  CHECK_THAT(again.err, Catch::Contains("nothing was left to do"));
  const auto more = run_nnc("train net.nn --resume 'my run' --out 'my run' --epochs 8", scratch.path());
  INFO(more.err);
  CHECK(more.status == 0);
  CHECK_THAT(more.err, Catch::Contains("finished after epoch 8, step 56"));
  CHECK_THAT(more.err, !Catch::Contains("nothing was left to do"));
}

TEST_CASE("the steps of --max-steps are those of its own command, the epochs of --epochs those of the run",
          "[resume]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program("  epochs = 6\n"));
  CHECK(run_nnc("train net.nn --out run --max-steps 20", scratch.path()).status == 0);
  const auto some = run_nnc("train --resume run --max-steps 8", scratch.path());
  CHECK_THAT(some.err, Catch::Contains("going on in epoch 3, after step 20"));
  CHECK_THAT(some.err, Catch::Contains("stopped by --max-steps after epoch 4, step 28"));
  const std::string before = kept(scratch.path() / "run");
  const auto fewer = run_nnc("train --resume run --epochs 3", scratch.path());
  CHECK(fewer.status == 2);
  CHECK_THAT(fewer.err, Catch::StartsWith("error: --epochs 3: the run is in epoch 4 already\n"));
  CHECK((kept(scratch.path() / "run") == before));
  CHECK_THAT(run_nnc("train --resume run --max-steps 7", scratch.path()).err,
             Catch::Contains("going on after epoch 4, step 28") &&
                 Catch::Contains("stopped by --max-steps after epoch 5, step 35"));
}

TEST_CASE("a run that ended by its own rule stays ended, one that diverged does not go on", "[resume]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program("  stop = train.loss < 0.4\n  epochs = 60\n"));
  const auto first = run_nnc("train net.nn --out run", scratch.path());
  REQUIRE_THAT(first.err, Catch::Contains("stopped by `stop`"));
  const std::string before = kept(scratch.path() / "run");
  const auto again = run_nnc("train --resume run", scratch.path());
  CHECK(again.status == 0);
  CHECK_THAT(again.err, Catch::Contains("stopped by `stop`"));
  CHECK(again.out == first.out);
  CHECK((kept(scratch.path() / "run") == before));

  std::string wild = program("  epochs = 60\n");
  wild.replace(wild.find("adam(lr = cosine(1e-2, to = 1e-5))"), 34, "sgd(lr = 1e20)");
  write_file(scratch.path() / "wild.nn", wild);
  CHECK(run_nnc("train wild.nn --out wild", scratch.path()).status == 3);
  const auto wild_again = run_nnc("train --resume wild", scratch.path());
  CHECK(wild_again.status == 1);
  CHECK_THAT(wild_again.err,
             Catch::Contains("a run that diverged does not go on") && Catch::Contains("--init wild/last.safetensors"));
}

TEST_CASE("what would make another run of one that goes on is refused", "[resume]") {
  const Scratch scratch;
  const fs::path folder = scratch.path();
  write_file(folder / "net.nn",
             "data rows {\n  let all = csv(\"rows.csv\")\n  train, valid = split(all, every = 4)\n"
             "  x: f32[1] = standardize(cols(\"a\"))\n  y: i32[] = classes(col(\"b\"))\n}\n"
             "model Net(x: f32[batch, 1]) -> f32[batch, 2] { return x |> Dense(2) }\n"
             "train Net on rows {\n  loss = softmax_cross_entropy(Net(x), y)\n  optimizer = adam(lr = 1e-2)\n"
             "  epochs = 5\n}\n");
  const auto rows = [&](int count, const std::string& first, const std::string& word) {
    std::string text = "a,b\n" + first + ",blue\n";
    for (int i = 1; i < count; ++i) text += std::to_string(i) + "," + (i % 2 ? word : "blue") + "\n";
    write_file(folder / "rows.csv", text);
  };
  rows(20, "7", "red");
  REQUIRE(run_nnc("train net.nn --out run --max-steps 2", folder).status == 0);
  const auto refused = [&](const std::string& arguments, int status, const std::string& message) {
    const auto result = run_nnc("train " + arguments, folder);
    INFO(arguments << "\n" << result.err);
    CHECK(result.status == status);
    CHECK_THAT(result.err, Catch::Contains(message));
  };
  refused("--resume run --seed 3", 2, "--seed cannot change a run that goes on");
  refused("--resume run --set a=3", 2, "--set cannot change");
  refused("--resume run --dtype f32", 2,
          "error: --dtype cannot change a run that goes on (--resume)\n   = help: without it the run goes on as it was "
          "begun; `nnc train PROGRAM --init run/last.safetensors` begins another with its weights\n");
  refused("--resume run --init x", 2, "--init cannot change");
  refused("--resume run --out other", 2, "another --out cannot change");
  refused("net.nn --out run", 2, "go on with `nnc train --resume run`");
  refused("--resume nowhere", 2, "nowhere");
  refused("", 2, "say which program");
  write_file(folder / "other.nn", read_file(folder / "net.nn") + "\n");
  refused("other.nn --resume run", 1, "this is not the program of the run `run`");
  rows(21, "7", "red");
  refused("--resume run", 1, "the data are not those that the run was trained with");
  rows(20, "8", "red");
  refused("--resume run", 1, "`data.x.");
  rows(20, "7", "green");
  refused("--resume run", 1, "the data are not those");
  rows(20, "7", "red");
  const std::string whole = read_file(folder / "run/last.safetensors");
  std::string damaged = whole;
  damaged[damaged.find("\"cursor\":\"") + 10] ^= 1;
  write_file(folder / "run/last.safetensors", damaged);
  refused("--resume run", 1, "the checksum does not fit");
  CHECK(run_nnc("eval run", folder).status == 1);
  write_file(folder / "run/last.safetensors", whole);
  REQUIRE(run_nnc("train other.nn --out run2 --max-steps 2", folder).status == 0);
  fs::copy(folder / "run2/last.safetensors", folder / "run/last.safetensors", fs::copy_options::overwrite_existing);
  refused("--resume run", 1, "these are weights of another program");
  const auto evaluated = run_nnc("eval run", folder);
  CHECK(evaluated.status == 1);
  CHECK_THAT(evaluated.err, Catch::Contains("these are weights of another program"));
}

TEST_CASE("two processes do not train one run", "[resume]") {
  const Scratch scratch(quick_folder());
  write_file(scratch.path() / "net.nn", program("  epochs = 1000000000\n"));
  Process process({"train", "net.nn", "--out", "run"}, scratch.path());
  wait_for_checkpoint(process, scratch.path() / "run", fs::file_time_type::min());
  const auto second = run_nnc("train --resume run", scratch.path());
  CHECK(second.status == 2);
  CHECK_THAT(second.err, Catch::Contains("another process is training the run `run`"));
  process.send(SIGTERM);
  CHECK(process.wait() == 143);
  CHECK_THAT(read_file(scratch.path() / "process.err"), Catch::EndsWith("to go on:\n  nnc train --resume run\n"));
  CHECK(json::parse(read_file(scratch.path() / "run/run.json")).at("state") == "interrupted");
}

TEST_CASE("a disk that is full ends training with the last checkpoint whole", "[resume]") {
  const Scratch scratch;
  std::string text = program("  epochs = 4\n");
  text.replace(text.find("Dense(8)"), 8, "Dense(800)");
  write_file(scratch.path() / "net.nn", text);
  REQUIRE(run_nnc("train net.nn --out whole", scratch.path()).status == 0);
  // No file may be larger than 8 blocks: a checkpoint has many more, run.json and metrics.jsonl fewer.
  const auto none = run_nnc("--version; ulimit -f 8; '" NNC_BINARY "' train net.nn --out none", scratch.path());
  CHECK(none.status == 2);
  CHECK_THAT(none.err, Catch::Contains("cannot write `none/last.safetensors`: File too large"));
  CHECK_FALSE(fs::exists(scratch.path() / "none/run.json"));
  REQUIRE(run_nnc("train net.nn --out run --max-steps 10", scratch.path()).status == 0);
  const std::string before = read_file(scratch.path() / "run/last.safetensors");
  const auto full = run_nnc("--version; ulimit -f 8; '" NNC_BINARY "' train --resume run", scratch.path());
  INFO(full.err);
  CHECK(full.status == 2);
  CHECK_THAT(full.err, Catch::Contains("File too large") && Catch::Contains("`nnc train --resume run` goes on"));
  CHECK((read_file(scratch.path() / "run/last.safetensors") == before));
  CHECK(run_nnc("train --resume run", scratch.path()).status == 0);
  CHECK((kept(scratch.path() / "run") == kept(scratch.path() / "whole")));
}
