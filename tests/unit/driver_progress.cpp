// What training shows on a terminal: a bar that fits in its line, with figures, speed and the time that is left, at
// most ten times a second; nothing of it elsewhere. The command runs on a pseudo-terminal.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <regex>

#include "driver/progress.h"
#include "driver/units.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nnc::test::Scratch;
using nnc::test::write_file;
namespace fs = std::filesystem;

struct Shown {
  std::string text;
  int status = -1;
  double seconds = 0;
};

/// A shell's line on a terminal of `columns` characters.
Shown run_on_terminal(const std::string& line, const fs::path& folder, unsigned short columns) {
  winsize size{24, columns, 0, 0};
  int terminal = -1;
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  REQUIRE(child >= 0);
  if (child == 0) {
    const std::string command = "cd '" + folder.string() + "' && unset CI NO_COLOR; export TERM=xterm; " + line;
    ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  Shown shown;
  char buffer[4096];
  for (ssize_t got; (got = ::read(terminal, buffer, sizeof buffer)) > 0;)
    shown.text.append(buffer, static_cast<std::size_t>(got));
  ::close(terminal);
  int status = 0;
  ::waitpid(child, &status, 0);
  shown.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  shown.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return shown;
}

/// Many small steps: half a second and more.
const char* const program =
    "data rows {\n  samples = 20000\n  x: f32[8] = uniform(-1, 1)\n  y: f32[1] = sum(x, keep = true)\n"
    "  train, valid = split(0.8, 0.2)\n}\n"
    "model Net(x: f32[batch, 8]) -> f32[batch, 1] { return x |> Dense(128) |> relu |> Dense(128) |> relu |> Dense(1) "
    "}\n"
    "train Net on rows {\n  let z = Net(x)\n  loss = mse(z, y)\n  metric off = mae(z, y)\n  optimizer = adam(lr = "
    "1e-3)\n"
    "  batch_size = 16\n  epochs = 12\n}\n";

std::vector<std::string> frames(const std::string& text) {
  static const std::regex frame("\r(epoch [^\r\033]*)\033\\[K");
  std::vector<std::string> all;
  for (auto at = std::sregex_iterator(text.begin(), text.end(), frame); at != std::sregex_iterator(); ++at)
    all.push_back((*at)[1]);
  return all;
}

}  // namespace

TEST_CASE("a bar fits in its line, whatever the line's width, and says first what matters most") {
  nnc::driver::ProgressView view{3, 20, 213, 469, "loss 0.0812  valid.acc 0.9731", 21432.0, 42.2};
  CHECK(nnc::driver::bar_text(view, 101) ==
        "epoch 3/20 [==========>             ] 213/469  loss 0.0812  valid.acc 0.9731  21.4k rows/s  43 s left");
  CHECK(nnc::driver::bar_text(view, 79) ==
        "epoch 3/20 [===>    ] 213/469  loss 0.0812  valid.acc 0.9731  21.4k rows/s");
  CHECK(nnc::driver::bar_text(view, 50) == "epoch 3/20 [===>    ] 213/469  21.4k rows/s");
  for (std::size_t width = 1; width < 140; ++width) CHECK(nnc::driver::bar_text(view, width).size() <= width);
  view.batch = 469, view.rows_per_second = 3.456e6, view.seconds_left = 7384;
  CHECK(nnc::driver::bar_text(view, 120) ==
        "epoch 3/20 [========================] 469/469  loss 0.0812  valid.acc 0.9731  3.46M rows/s  2:03:04 left");
  CHECK(nnc::driver::time_text(0) == "1 s");
  CHECK(nnc::driver::time_text(59.2) == "1:00");
  CHECK(nnc::driver::time_text(187) == "3:07");
}

TEST_CASE("on a terminal training shows a bar at most ten times a second, and leaves epochs and a table", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  const Shown shown = run_on_terminal("'" NNC_BINARY "' train net.nn --out run --threads 1", scratch.path(), 120);
  INFO(shown.text);
  REQUIRE(shown.status == 0);
  const std::vector<std::string> bars = frames(shown.text);
  REQUIRE(!bars.empty());
  CHECK(static_cast<double>(bars.size()) <= 10 * shown.seconds + 1);
  static const std::regex form(
      R"(epoch \d+/12 \[=*>? *\] \d+/1000  loss [0-9.e+-]+(  valid.loss [0-9.e+-]+  valid.off [0-9.e+-]+)?  [0-9.]+[kM]? rows/s  [0-9: s]+ left)");
  for (const std::string& bar : bars) {
    CHECK(bar.size() < 120);
    CHECK(std::regex_match(bar, form));
  }
  // What stays: a line an epoch, then the figures as a table.
  CHECK(shown.text.find("epoch 12/12  train.loss ") != std::string::npos);
  static const std::regex table("split  rows   loss +off\r\ntrain  16000  [0-9.e+-]+ +[0-9.e+-]+\r\nvalid  4000   ");
  CHECK(std::regex_search(shown.text, table));
}

TEST_CASE("no bar with CI set, on a dumb terminal, or where stderr is none", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  const std::string train = "'" NNC_BINARY "' train net.nn --threads 1 --max-steps 600 --out ";
  int number = 0;
  for (const std::string before : {"CI=1 ", "TERM=dumb ", "TERM= "}) {
    const Shown shown = run_on_terminal(before + train + "run" + std::to_string(number++), scratch.path(), 100);
    INFO(before << shown.text);
    CHECK(shown.status == 0);
    CHECK(frames(shown.text).empty());
    CHECK(shown.text.find("epoch 1/12  train.loss ") != std::string::npos);
  }
  const Shown piped = run_on_terminal(train + "piped 2>said; cat said", scratch.path(), 100);
  CHECK(frames(piped.text).empty());
  CHECK(piped.text.find('\033') == std::string::npos);
}

TEST_CASE("arrays are not written to a terminal", "[command]") {
  const Scratch scratch;
  const Shown shown = run_on_terminal("'" NNC_BINARY "' new linear . >new && '" NNC_BINARY
                                      "' train linear.nn --epochs 1 --out run >said 2>&1; '" NNC_BINARY
                                      "' predict run --input linear.csv --format npz; echo status $?",
                                      scratch.path(), 100);
  INFO(shown.text);
  CHECK(shown.text.find("error") != std::string::npos);
  CHECK(shown.text.find("an array is not for a terminal: say where it goes with --output") != std::string::npos);
  CHECK(shown.text.find("status 2") != std::string::npos);
}

TEST_CASE("sizes, amounts, rates and times have three digits and a unit that fits", "[progress]") {
  using namespace nnc::driver;
  CHECK(bytes_text(0) == "0 bytes");
  CHECK(bytes_text(999) == "999 bytes");
  CHECK(bytes_text(1000) == "0.977 KiB");
  CHECK(bytes_text(3 << 20) == "3 MiB");
  CHECK(bytes_text(std::uint64_t{5} << 50) == "5120 TiB");
  CHECK(amount_text(0, "FLOP") == "0 FLOP");
  CHECK(amount_text(38400, "FLOP") == "38.4 kFLOP");
  CHECK(amount_text(999.6, "FLOP/s") == "1 kFLOP/s");
  CHECK(rate_text(900, "rows/s") == "900 rows/s");
  CHECK(rate_text(21'400, "rows/s") == "21.4k rows/s");
  CHECK(duration_text(4.12e-6) == "4.12 us");
  CHECK(duration_text(0.9999) == "1 s");
  CHECK(duration_text(7200) == "7200 s");
}
