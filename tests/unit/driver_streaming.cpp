// Data larger than memory: a CSV file that is streamed trains, evaluates and predicts to the bits of one in memory, and
// the memory that it takes does not grow with it.
#include <fmt/format.h>

#include <fstream>

#include "runtime/npy.h"
#include "runtime/zip.h"
#include "tests/support/command.h"
#include "tests/support/json_lines.h"
#include "tests/unit/catch.h"

namespace {

using nnc::test::read_file;
using nnc::test::run_nnc;
using nnc::test::Scratch;
using nnc::test::write_file;
namespace fs = std::filesystem;

/// Numbers, words as features and as classes, strata, two things that are fitted, columns of several shapes.
const char* const program =
    "data rows {\n"
    "  train, valid = split(csv(\"rows.csv\"), 0.8, 0.2, by = col(\"kind\"), seed = 3)\n"
    "  x: f32[3] = standardize(cols(\"a\", to = \"c\"))\n"
    "  place: f32[4] = one_hot(classes(col(\"place\")))\n"
    "  size: f32[] = minmax(col(\"b\"))\n"
    "  y: i32[] = classes(col(\"kind\"))\n"
    "}\n"
    "model Net(x: f32[batch, 3], place: f32[batch, 4], size: f32[batch]) -> f32[batch, 3] {\n"
    "  return concat([x, place, size[:, _]]) |> Dense(8) |> BatchNorm() |> relu |> Dropout(0.1) |> Dense(3)\n"
    "}\n"
    "train Net on rows {\n"
    "  let z = Net(x, place, size)\n"
    "  loss = softmax_cross_entropy(z, y)\n"
    "  metric acc = accuracy(z, y)\n"
    "  output kind = argmax(z, over = -1)\n"
    "  optimizer = adam(lr = 1e-2)\n"
    "  batch_size = 100\n  epochs = 3\n"
    "}\n";

std::string rows(int count) {
  const char* const kinds[] = {"rose", "tulip", "aster"};
  const char* const places[] = {"north", "south", "east", "west"};
  std::string text = "a,b,c,place,kind\n";
  for (int i = 0; i < count; ++i)
    text +=
        fmt::format("{:.3f},{:.3f},{},{},{}\n", i % 97 * 0.5, i % 31 * 2.25, i % 13, places[i % 4], kinds[i % 97 / 33]);
  return text;
}

}  // namespace

TEST_CASE("rows that are streamed give the bits of rows in memory, in training, eval and predict", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  write_file(scratch.path() / "rows.csv", rows(9000));  // more than two blocks, and a part of one
  const std::string options[] = {"", " --stream-over 0"};
  std::string weights[2], metrics[2], figures[2], predicted[2];
  for (int i = 0; i < 2; ++i) {
    const std::string run = "run" + std::to_string(i);
    const auto trained = run_nnc("train net.nn --out " + run + options[i], scratch.path());
    INFO(trained.err);
    REQUIRE(trained.status == 0);
    weights[i] = read_file(scratch.path() / run / "last.safetensors");
    metrics[i] = trained.out;
    figures[i] = run_nnc("eval run0" + options[i], scratch.path()).out;
    predicted[i] = run_nnc("predict run0 --input rows.csv" + options[i], scratch.path()).out;
  }
  CHECK(weights[0] == weights[1]);
  CHECK(metrics[0] == metrics[1]);
  CHECK(figures[0] == metrics[0]);
  CHECK(figures[1] == metrics[0]);
  CHECK(predicted[0].size() > 9000);
  CHECK(predicted[1] == predicted[0]);
  CHECK(run_nnc("train --resume run1 --epochs 4 --stream-over 0", scratch.path()).status == 0);
}

TEST_CASE("streamed rows have the baseline of rows in memory, and a run that ends no better is told so", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "rows.csv", rows(9000));
  write_file(scratch.path() / "net.nn",
             "data rows {\n  train, valid = split(csv(\"rows.csv\"), 0.5, 0.5, seed = 3)\n"
             "  x: f32[2] = standardize(cols(\"b\", to = \"c\"))\n  y: i32[] = classes(col(\"kind\"))\n"
             "  a: f32[1] = standardize(cols(\"a\"))\n}\n"
             "model Pick(x: f32[batch, 2]) -> f32[batch, 3] { return x |> Dense(3) }\n"
             "model Line(x: f32[batch, 2]) -> f32[batch, 1] { return x |> Dense(1) }\n"
             "train Pick on rows {\n  loss = softmax_cross_entropy(Pick(x), y)\n  metric acc = accuracy(Pick(x), y)\n"
             "  optimizer = sgd(lr = 1e-9)\n  epochs = 1\n}\n"
             "train Line on rows {\n  loss = mse(Line(x), a)\n  metric off = mae(undo(Line(x), a), undo(a, a))\n"
             "  optimizer = sgd(lr = 1e-9)\n  epochs = 1\n}\n");
  for (const std::string block : {"Pick", "Line"}) {
    std::string said[2];
    for (int i = 0; i < 2; ++i) {
      const auto trained = run_nnc("train net.nn " + block + (i == 0 ? "" : " --stream-over 0"), scratch.path());
      INFO(trained.err);
      REQUIRE(trained.status == 0);
      said[i] = trained.err.substr(trained.err.find("baseline (always "));
      said[i].erase(said[i].find('\n'),
                    said[i].find("warning: the model is no better than always ") - said[i].find('\n'));
    }
    CHECK(said[0].starts_with(block == "Pick" ? "baseline (always the most frequent class of `y`): valid.loss "
                                              : "baseline (always the mean of `a`): valid.loss "));
    CHECK(said[0].find("warning: the model is no better than always ") != std::string::npos);
    CHECK(said[1] == said[0]);
  }
}

TEST_CASE("streamed rows leave nothing behind, and a folder that does not take them is named", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  write_file(scratch.path() / "rows.csv", rows(500));
  fs::create_directory(scratch.path() / "rows");
  const auto trained = run_nnc("train net.nn --out run --stream-over 0", scratch.path(), "TMPDIR=rows");
  INFO(trained.err);
  CHECK(trained.status == 0);
  CHECK(fs::is_empty(scratch.path() / "rows"));
  const auto nowhere = run_nnc("train net.nn --out other --stream-over 0", scratch.path(), "TMPDIR=nowhere");
  CHECK(nowhere.status == 2);
  CHECK(nowhere.err.starts_with("error: cannot write the rows of the data to a file in `nowhere`: "));
  CHECK(nowhere.err.find("--stream-over") != std::string::npos);
}

TEST_CASE("twenty times the rows take the same memory where they are streamed", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  const auto peak = [&](int count) {
    {
      std::ofstream out(scratch.path() / "rows.csv");
      const std::string some = rows(count / 10);
      out << some;
      for (int i = 1; i < 10; ++i) out << some.substr(some.find('\n') + 1);
    }
    const auto result = run_nnc("train net.nn --dry-run --threads 1 --stream-over 0", scratch.path());
    INFO(result.err);
    CHECK(result.status == 0);
    return result.peak_kib;
  };
  // 20 MB of text, 36 bytes of numbers a row twice; what grows are the lists of which row is in which split.
  const long small = peak(40'000), large = peak(800'000);
  INFO(small << " KiB, " << large << " KiB");
  CHECK(large - small < 24 * 1024);
}

TEST_CASE("a CSV file that is packed, or comes through a pipe, gives the bits of the file", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  write_file(scratch.path() / "rows.csv", rows(9000));
  REQUIRE(std::system(("gzip -k '" + (scratch.path() / "rows.csv").string() + "'").c_str()) == 0);
  const auto trained = run_nnc("train net.nn --out run", scratch.path());
  REQUIRE(trained.status == 0);
  std::string packed_program = program;
  packed_program.replace(packed_program.find("rows.csv"), 8, "rows.csv.gz");
  write_file(scratch.path() / "packed.nn", packed_program);
  const std::string predicted = run_nnc("predict run --input rows.csv", scratch.path()).out;
  CHECK(predicted.size() > 9000);
  for (const std::string options : {"", " --stream-over 0"}) {
    fs::remove_all(scratch.path() / "packed");
    const auto packed = run_nnc("train packed.nn --out packed" + options, scratch.path());
    INFO(packed.err);
    CHECK(packed.out == trained.out);
    CHECK(run_nnc("predict run --input rows.csv.gz" + options, scratch.path()).out == predicted);
    for (const std::string file : {"rows.csv", "rows.csv.gz"}) {
      run_nnc("predict run --input - --output piped.csv" + options + "; true", scratch.path(), "cat " + file + " |");
      CHECK(read_file(scratch.path() / "piped.csv") == predicted);
      fs::remove(scratch.path() / "piped.csv");
    }
  }
}

TEST_CASE("what is no CSV text is told of on standard input and in packed files", "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  write_file(scratch.path() / "rows.csv", rows(500));
  REQUIRE(run_nnc("train net.nn --out run", scratch.path()).status == 0);
  write_file(scratch.path() / "rows.npy", nnc::npy_text({nnc::DType::f32, {4, 3}}));
  REQUIRE(std::system(("cd '" + scratch.path().string() +
                       "' && gzip -k rows.csv && head -c 900 rows.csv.gz >cut.csv.gz && gzip -k rows.npy && mkdir rows")
                          .c_str()) == 0);
  const auto said = [&](const std::string& input) {
    const bool piped = input.starts_with("<");
    run_nnc("predict run --input " + (piped ? "- " + input : input) + " 2>said; true", scratch.path());
    return read_file(scratch.path() / "said");
  };
  CHECK(said("<rows.npy") ==
        "error: this is not a CSV file\n  --> stdin\n   = expected: text: names, then rows, with commas\n"
        "   = found:    an NPY array\n   = help: standard input is CSV: give an array as a file, `--input FILE`\n");
  CHECK(said("rows.npy.gz").starts_with("error: this is an NPY file that is packed\n  --> rows.npy.gz\n"));
  CHECK(said("cut.csv.gz") == "error: the packed file is damaged or cut off\n  --> cut.csv.gz\n");
  CHECK(said("<cut.csv.gz") == "error: the packed file is damaged or cut off\n  --> stdin\n");
  CHECK(said("<rows") == "error: cannot read `stdin`: Is a directory\n");
}

TEST_CASE("predict takes little memory for what comes through a pipe and for its answers, however many", "[command]") {
  const Scratch scratch;
  std::string with_shares = program;
  with_shares.insert(with_shares.find("  optimizer"), "  output share = softmax(z)\n");
  write_file(scratch.path() / "net.nn", with_shares);
  write_file(scratch.path() / "rows.csv", rows(9000));
  REQUIRE(run_nnc("train net.nn --out run", scratch.path()).status == 0);
  for (const std::string format : {"csv", "jsonl"}) {
    const auto peak = [&](int times) {
      std::string all =
          "head -n 1 rows.csv; for i in $(seq " + std::to_string(times) + "); do tail -n +2 rows.csv; done";
      const auto piped =
          run_nnc("predict run --input - --threads 1 --stream-over 0 --output piped." + format + "; true",
                  scratch.path(), "{ " + all + "; } |");
      CHECK(fs::file_size(scratch.path() / ("piped." + format)) > static_cast<std::uintmax_t>(times) * 9000 * 30);
      return piped.peak_kib;
    };
    // 200 KB and 24 MB of text, of which more than 24 MB of answers are made; what grows is the numbers of the rows.
    const long small = peak(1), large = peak(96);
    INFO(format << ": " << small << " KiB, " << large << " KiB");
    CHECK(large - small < 12 * 1024);
  }
}

namespace {

/// Images of 4 x 4 bytes and their labels, as IDX, NPY or NPZ.
class Images {
 public:
  explicit Images(std::int64_t rows) : rows_(rows) {
    for (std::int64_t row = 0; row < rows; ++row) {
      labels_ += static_cast<char>(row % 3);
      for (std::int64_t i = 0; i < 16; ++i) pixels_ += static_cast<char>((row * 7 + i * 13) % 97 + row % 3 * 40);
    }
  }

  std::string idx(bool of_labels) const {
    const auto extent = [](std::int64_t n) {
      std::string bytes;
      for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(n >> shift & 255);
      return bytes;
    };
    std::string text{'\0', '\0', '\x08', static_cast<char>(of_labels ? 1 : 3)};
    text += extent(rows_);
    if (!of_labels) text += extent(4) + extent(4);
    return text + (of_labels ? labels_ : pixels_);
  }
  std::string npy(bool of_labels) const {
    const std::string& bytes = of_labels ? labels_ : pixels_;
    std::vector<std::int64_t> dims = {rows_};
    if (!of_labels) dims.insert(dims.end(), {4, 4});
    nnc::DenseArray array(of_labels ? nnc::DType::i32 : nnc::DType::f32, dims);
    for (std::size_t i = 0; i < bytes.size(); ++i)
      array.set(static_cast<std::int64_t>(i), static_cast<unsigned char>(bytes[i]));
    return nnc::npy_text(array);
  }
  std::string npz() const { return nnc::zip_text({{"image.npy", npy(false)}, {"label.npy", npy(true)}}); }

 private:
  std::int64_t rows_;
  std::string pixels_, labels_;
};

std::string image_program(const std::string& source, const std::string& batch = "100") {
  return "data images {\n  let all = " + source +
         "\n  train, valid = split(all, 0.9, 0.1, seed = 2)\n"
         "  x: f32[16] = standardize(reshape(col(\"image\"), [16]))\n  y: i32[] = col(\"label\")\n}\n"
         "model Net(x: f32[batch, 16]) -> f32[batch, 3] { return x |> Dense(3) }\n"
         "train Net on images {\n  let z = Net(x)\n  loss = softmax_cross_entropy(z, y)\n  output k = argmax(z, over = "
         "-1)\n"
         "  optimizer = sgd(lr = 0.1)\n  batch_size = " +
         batch + "\n  epochs = 2\n}\n";
}

}  // namespace

TEST_CASE("arrays that are streamed give the bits of arrays in memory, whatever file they lie in", "[command]") {
  const Scratch scratch;
  const Images images(9000);
  write_file(scratch.path() / "image.idx", images.idx(false));
  write_file(scratch.path() / "label.idx", images.idx(true));
  write_file(scratch.path() / "image.npy", images.npy(false));
  write_file(scratch.path() / "label.npy", images.npy(true));
  write_file(scratch.path() / "rows.npz", images.npz());
  REQUIRE(std::system(("cd '" + scratch.path().string() + "' && gzip -k image.idx label.idx").c_str()) == 0);
  std::string first;
  for (const std::string source :
       {"idx(image = \"image.idx\", label = \"label.idx\")", "idx(image = \"image.idx.gz\", label = \"label.idx.gz\")",
        "npy(image = \"image.npy\", label = \"label.npy\")", "npz(\"rows.npz\")"}) {
    for (const std::string options : {"", " --stream-over 0"}) {
      INFO(source << options);
      write_file(scratch.path() / "net.nn", image_program(source));
      fs::remove_all(scratch.path() / "run");
      const auto trained = run_nnc("train net.nn --out run" + options, scratch.path());
      INFO(trained.err);
      REQUIRE(trained.status == 0);
      if (first.empty()) first = trained.out;
      CHECK(trained.out == first);
      CHECK(run_nnc("eval run" + options, scratch.path()).out == first);
    }
  }
  // One array with all that the model reads, a part of each row in each column.
  CHECK(run_nnc("predict run --input image.npy --stream-over 0", scratch.path()).out ==
        run_nnc("predict run --input image.idx", scratch.path()).out);
}

namespace {

/// An NPY file of bytes, [rows, width], all 0, that takes no room on the disk.
void write_zeros(const fs::path& path, std::int64_t rows, std::int64_t width) {
  std::string header = fmt::format("{{'descr': '|u1', 'fortran_order': False, 'shape': ({}, {}), }}", rows, width);
  header.resize(117, ' ');
  write_file(path, std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n");
  fs::resize_file(path, 128 + static_cast<std::uintmax_t>(rows * width));
}

}  // namespace

TEST_CASE("arrays of 100 MB take no more memory than arrays of 10 where they are streamed", "[command]") {
  const Scratch scratch;
  constexpr std::int64_t width = 1000;
  const auto peak = [&](const std::string& source, std::int64_t rows) {
    write_zeros(scratch.path() / "image.npy", rows, width);
    write_file(scratch.path() / "label.npy", nnc::npy_text({nnc::DType::i32, {rows}}));
    if (source.starts_with("npz"))  // as numpy.savez writes it
      write_file(scratch.path() / "rows.npz", nnc::zip_text({{"image.npy", read_file(scratch.path() / "image.npy")},
                                                             {"label.npy", read_file(scratch.path() / "label.npy")}}));
    write_file(scratch.path() / "net.nn",
               "data images {\n  let all = " + source +
                   "\n  train, valid = split(all, 0.5, 0.5, seed = 2)\n"
                   "  let pixels: f32[1000] = col(\"image\")\n"
                   "  x: f32[1] = standardize(mean(pixels, over = -1, keep = true))\n"
                   "  y: i32[] = col(\"label\")\n}\n"
                   "model Net(x: f32[batch, 1]) -> f32[batch, 3] { return x |> Dense(3) }\n"
                   "train Net on images {\n  loss = softmax_cross_entropy(Net(x), y)\n  optimizer = sgd(lr = 0.1)\n"
                   "  epochs = 1\n}\n");
    const auto result = run_nnc("train net.nn --dry-run --threads 1 --stream-over 1", scratch.path());
    INFO(result.err);
    CHECK(result.status == 0);
    return result.peak_kib;
  };
  for (const std::string source : {"npy(image = \"image.npy\", label = \"label.npy\")", "npz(\"rows.npz\")"}) {
    // Both more than a block and a part of one, so that as much is compiled.
    const long small = peak(source, 10'000), large = peak(source, 100'000);
    INFO(source << ": " << small << " KiB, " << large << " KiB");
    CHECK(large - small < 24 * 1024);
  }
}

TEST_CASE("of a full batch of streamed rows it is said what it takes; of a smaller one nothing", "[command]") {
  const Scratch scratch;
  {
    const std::int64_t rows = 30'000;
    write_file(scratch.path() / "image.npy", nnc::npy_text({nnc::DType::f32, {rows, 16}}));
    write_file(scratch.path() / "label.npy", nnc::npy_text({nnc::DType::i32, {rows}}));
  }
  const std::string source = "npy(image = \"image.npy\", label = \"label.npy\")";
  write_file(scratch.path() / "net.nn", image_program(source));
  const auto streamed = run_nnc("train net.nn --dry-run --threads 1 --stream-over 1", scratch.path());
  INFO(streamed.err);
  CHECK(streamed.status == 0);
  CHECK(streamed.err.find("batch_size = full") == std::string::npos);
  write_file(scratch.path() / "full.nn", image_program(source, "full"));
  const auto full = run_nnc("train full.nn --dry-run --threads 1 --stream-over 1", scratch.path());
  INFO(full.err);
  CHECK(full.err.find("note: `batch_size = full` brings all 27000 rows of `train` into memory, ") != std::string::npos);
}

TEST_CASE("a line of 1 GB, and a quote that swallows 1 GB, are answered at once and without the memory for it",
          "[command]") {
  const Scratch scratch;
  write_file(scratch.path() / "net.nn", program);
  for (const std::string begins : {"", "a,b,c,place,kind\n1,2,", "a,b,c,place,kind\n1,2,\""}) {
    write_file(scratch.path() / "rows.csv", begins + std::string(3 << 20, 'x'));
    fs::resize_file(scratch.path() / "rows.csv", std::uintmax_t{1} << 30);
    const auto result = run_nnc("train net.nn --out run", scratch.path());
    INFO(result.err);
    CHECK(result.status == 1);
    CHECK(result.err.starts_with(begins.ends_with('"') ? "error: a quoted field does not end within 1 MiB\n"
                                                       : "error: a field is longer than 1 MiB\n"));
    CHECK(result.err.find(begins.empty() ? "rows.csv:1:1\n" : "rows.csv:2:5\n") != std::string::npos);
    CHECK(result.peak_kib < 256 * 1024);
  }
}
