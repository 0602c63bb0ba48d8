// IDX and safetensors files, whole and damaged; SHA-256.
#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/checkpoint.h"
#include "runtime/file.h"
#include "runtime/idx.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

struct Folder : nnc::test::Scratch {
  std::string path = Scratch::path().string();
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path + "/" + name, std::ios::binary) << content;
    return path + "/" + name;
  }
};

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (int value : values) text += static_cast<char>(value);
  return text;
}

std::string packed(const std::string& plain, const std::string& path) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, plain.data(), static_cast<unsigned>(plain.size()));
  gzclose(file);
  auto content = read_file(path);
  return {content->begin(), content->end()};
}

const std::string small_idx = bytes({0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255});

}  // namespace

namespace {

/// An NPY file of version 1, its header padded as NumPy pads it.
std::string npy(const std::string& descr, const std::string& shape, const std::string& body,
                const std::string& fortran = "False") {
  std::string header = "{'descr': " + descr + ", 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
  header += std::string((64 - (10 + header.size() + 1) % 64) % 64, ' ') + "\n";
  const auto size = static_cast<int>(header.size());
  return "\x93NUMPY" + bytes({1, 0, size % 256, size / 256}) + header + body;
}

std::string little(std::uint64_t value, int size) {
  std::string text;
  for (int i = 0; i < size; ++i) text += static_cast<char>(value >> (8 * i) & 255);
  return text;
}

std::string deflated(const std::string& plain) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(plain.size() + 100, '\0'), in = plain;
  stream.next_in = reinterpret_cast<Bytef*>(in.data()), stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data()), stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct Member {
  std::string name, content;
  bool deflate = false, wide = false;  ///< wide: sizes stand in the 64-bit extension
};

std::string zip(const std::vector<Member>& members) {
  std::string archive, directory;
  for (const Member& member : members) {
    const std::string packed = member.deflate ? deflated(member.content) : member.content;
    const auto crc =
        crc32(0, reinterpret_cast<const Bytef*>(member.content.data()), static_cast<uInt>(member.content.size()));
    const std::string extra =
        member.wide ? little(1, 2) + little(16, 2) + little(member.content.size(), 8) + little(packed.size(), 8) : "";
    const std::uint64_t shown_packed = member.wide ? 0xffffffff : packed.size(),
                        shown_size = member.wide ? 0xffffffff : member.content.size();
    const std::string common = little(member.deflate ? 8 : 0, 2) + little(0, 4) + little(crc, 4) +
                               little(shown_packed, 4) + little(shown_size, 4) + little(member.name.size(), 2) +
                               little(extra.size(), 2);
    directory += little(0x02014b50, 4) + little(20, 2) + little(20, 2) + little(0, 2) + common + little(0, 2) +
                 little(0, 2) + little(0, 2) + little(0, 4) + little(archive.size(), 4) + member.name + extra;
    archive += little(0x04034b50, 4) + little(20, 2) + little(0, 2) + common + member.name + extra + packed;
  }
  return archive + directory + little(0x06054b50, 4) + little(0, 4) + little(members.size(), 2) +
         little(members.size(), 2) + little(directory.size(), 4) + little(archive.size(), 4) + little(0, 2);
}

}  // namespace

TEST_CASE("npy files of every element type that is read") {
  Folder folder;
  const auto read = [&](const std::string& content) {
    auto array = read_npy(folder.write("a.npy", content));
    REQUIRE(array);
    return *array;
  };
  const StoredArray floats = read(npy("'<f4'", "(2, 2)", little(0x3f800000, 4) + little(0xc0000000, 4) + little(0, 8)));
  CHECK(floats.dims == std::vector<std::int64_t>{2, 2});
  CHECK(floats.at(0) == 1);
  CHECK(floats.at(1) == -2);
  CHECK(read(npy("'<f8'", "(1,)", little(0x3fe0000000000000, 8))).at(0) == 0.5);
  CHECK(read(npy("'<i4'", "(1,)", little(0xffffffff, 4))).at(0) == -1);
  CHECK(read(npy("'<i8'", "(1,)", little(0xfffffffffffffffe, 8))).at(0) == -2);
  CHECK(read(npy("'<i2'", "(1,)", little(0x0102, 2))).at(0) == 258);
  CHECK(read(npy("'|i1'", "(1,)", little(255, 1))).at(0) == -1);
  CHECK(read(npy("'|u1'", "(3,)", little(0xff0100, 3))).at(2) == 255);
  CHECK(read(npy("'|b1'", "(2,)", little(0x0100, 2))).at(1) == 1);
  // One long axis lies the same way in both orders.
  CHECK(read(npy("'|u1'", "(3, 1)", "abc", "True")).at(1) == 'b');
}

TEST_CASE("an npy file that cannot be read as rows of numbers is refused") {
  Folder folder;
  const auto message = [&](const std::string& content) {
    auto array = read_npy(folder.write("a.npy", content));
    REQUIRE_FALSE(array);
    CHECK(array.problem().place.file == folder.path + "/a.npy");
    return array.problem().message;
  };
  const std::string good = npy("'|u1'", "(3,)", "abc");
  CHECK(message(good.substr(0, good.size() - 1)) == "the file is smaller than its header says");
  CHECK(message(good + "x") == "the file is larger than its header says");
  CHECK(message(good.substr(0, 20)) == "the file ends inside its header");
  CHECK(message("x,y\n1,2\n") == "this is not an NPY file");
  CHECK(message("\x93NUMPY" + bytes({9, 0, 0, 0})) == "this version of NPY is not read");
  CHECK(message("\x93NUMPY" + bytes({2, 0, 0, 0, 0, 1})) == "the header is longer than any of plain numbers");
  CHECK(message(npy("'|O'", "(3,)", "abc")) == "the elements are Python objects, which only Python can read");
  CHECK(message(npy("'>f4'", "(1,)", "abcd")) == "the elements are big endian");
  CHECK(message(npy("'<f2'", "(1,)", "ab")) == "the elements are of a type that is not read");
  CHECK(message(npy("[('a', '<f4')]", "(1,)", "abcd")) == "the elements are records of several fields");
  CHECK(message(npy("'|u1'", "(2, 2)", "abcd", "True")) == "the array lies in Fortran order, column after column");
  CHECK(message(npy("'|u1'", "()", "a")) == "this is one number, not rows");
  CHECK(message(npy("'|u1'", "(1, -2)", "a")) == "the header is damaged");
  CHECK(message(npy("'<f8'", "(4294967296, 4294967296)", "a")).find("larger than any memory") != std::string::npos);
  CHECK(read_npy(folder.path + "/none").problem().kind == Problem::Kind::io);
}

TEST_CASE("npz archives, stored and deflated, with and without 64-bit sizes") {
  Folder folder;
  const std::string x = npy("'|u1'", "(2, 2)", "abcd"), y = npy("'<f4'", "(2,)", std::string(8, '\0'));
  for (const bool deflate : {false, true})
    for (const bool wide : {false, true}) {
      INFO(deflate << wide);
      auto arrays = read_npz(folder.write("a.npz", zip({{"x.npy", x, deflate, wide}, {"y.npy", y, deflate, wide}})));
      REQUIRE(arrays);
      REQUIRE(arrays->size() == 2);
      CHECK((*arrays)[0].first == "x");
      CHECK((*arrays)[0].second->at(3) == 'd');
      CHECK((*arrays)[1].first == "y");
    }
}

TEST_CASE("weights to start from are read from safetensors and from npz, told apart by what they hold") {
  Folder folder;
  const std::string one = little(0x3f800000, 4), half = little(0x3f000000, 4);
  const std::string path = folder.write("weights", zip({{"Dense1.W.npy", npy("'<f4'", "(2, 1)", one + half)},
                                                        {"n.npy", npy("'<i2'", "(1,)", bytes({5, 0}))}}));
  const auto file = read_tensors(path);
  REQUIRE(file);
  const DenseArray& w = *file->find("Dense1.W");
  CHECK(w.dtype == DType::f32);
  CHECK(w.dims == std::vector<std::int64_t>{2, 1});
  CHECK(w.at(0) == 1);
  CHECK(w.at(1) == 0.5);
  CHECK(file->find("n")->dtype == DType::i32);
  CHECK(file->find("n")->at(0) == 5);
  REQUIRE(!write_safetensors(folder.path + "/again", *file));
  CHECK(read_tensors(folder.path + "/again")->find("Dense1.W")->at(1) == 0.5);
  CHECK(read_tensors(folder.path + "/none").problem().kind == Problem::Kind::io);
}

TEST_CASE("an archive that is damaged or holds something else is refused, byte by byte without a crash") {
  Folder folder;
  const auto message = [&](const std::string& content) {
    auto arrays = read_npz(folder.write("a.npz", content));
    REQUIRE_FALSE(arrays);
    return arrays.problem().message;
  };
  const std::string x = npy("'|u1'", "(2,)", "ab");
  std::string good = zip({{"x.npy", x, true, true}});
  CHECK(message("a,b\n") == "this is not a zip archive, or it is cut off");
  CHECK(message(good.substr(0, good.size() - 1)) == "this is not a zip archive, or it is cut off");
  CHECK(message(zip({{"notes.txt", "hello"}})) == "`notes.txt` in the archive is no array");
  CHECK((*read_npz(folder.write("b.npz", zip({{"x.npy", "hello"}}))))[0].second.problem().message ==
        "this is not an NPY file");
  std::string spoilt = good;
  spoilt[60] = static_cast<char>(spoilt[60] ^ 1);
  CHECK(message(spoilt) == "`x.npy` in the archive is damaged");
  for (std::size_t at = 0; at < good.size(); ++at) {  // any answer, and no crash
    std::string changed = good;
    changed[at] = static_cast<char>(~changed[at]);
    auto arrays = read_npz(folder.write("a.npz", changed));
    CHECK((arrays || !arrays.problem().message.empty()));
  }
}

TEST_CASE("an idx file, plain and packed") {
  Folder folder;
  std::string packed_path = folder.path + "/a.idx.gz";
  packed(small_idx, packed_path);
  for (const std::string& path : {folder.write("a.idx", small_idx), packed_path}) {
    auto array = read_idx(path);
    REQUIRE(array);
    CHECK(array->dims == std::vector<std::int64_t>{2, 3});
    CHECK(array->at(5) == 255);
  }
}

TEST_CASE("idx elements wider than a byte are big-endian in the file") {
  Folder folder;
  auto array = read_idx(folder.write("a.idx", bytes({0, 0, 11, 1, 0, 0, 0, 2, 0x01, 0x02, 0xff, 0xfe})));
  REQUIRE(array);
  CHECK(array->at(0) == 258);
  CHECK(array->at(1) == -2);
}

TEST_CASE("an idx file that is not what its header says is refused") {
  Folder folder;
  auto message = [&](const std::string& content) {
    auto array = read_idx(folder.write("a.idx", content));
    REQUIRE_FALSE(array);
    return array.problem().message;
  };
  CHECK(message(small_idx.substr(0, 17)) == "the file is smaller than its header says");
  CHECK(message(small_idx + "x") == "the file is larger than its header says");
  CHECK(message(small_idx.substr(0, 9)) == "the file ends inside its header");
  CHECK(message("") == "this is not an IDX file");
  CHECK(message("a,b\n1,2\n") == "this is not an IDX file");
  CHECK(message(bytes({0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}))
            .find("larger than any memory") != std::string::npos);
  CHECK(message(bytes({0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff, 1})) == "the file is smaller than its header says");
  std::string gz = packed(small_idx, folder.path + "/b.gz");
  CHECK(message(gz.substr(0, gz.size() - 12)) == "the packed file is damaged or cut off");
  CHECK(read_idx(folder.path + "/none").problem().kind == Problem::Kind::io);
  CHECK(read_idx(folder.path).problem().kind == Problem::Kind::io);
}

namespace {

TensorFile sample() {
  TensorFile file;
  DenseArray weights(DType::f32, {2, 3}), step(DType::f64, {}), empty(DType::i32, {0, 4}), mask(DType::boolean, {3});
  for (int i = 0; i < 6; ++i) weights.set(i, i * 0.5);
  step.set(0, 1.0 / 3);
  mask.set(1, 1);
  file.tensors = {{"Dense1.W", weights}, {"state/t", step}, {"empty", empty}, {"mask", mask}};
  file.metadata = {{"epoch", "3"}, {"format", "nnc.test"}};
  return file;
}

std::string written(const Folder& folder) {
  REQUIRE_FALSE(write_safetensors(folder.path + "/w.safetensors", sample()));
  auto content = read_file(folder.path + "/w.safetensors");
  return {content->begin(), content->end()};
}

/// A file from a header written by hand and so many zero bytes.
std::string by_hand(const std::string& header, std::size_t data) {
  std::uint64_t length = header.size();
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  return text + header + std::string(data, '\0');
}

std::string refusal(const std::string& content) {
  auto file = parse_safetensors(content, "w");
  REQUIRE_FALSE(file);
  return file.problem().message;
}

}  // namespace

TEST_CASE("safetensors come back as they were") {
  Folder folder;
  auto file = parse_safetensors(written(folder), "w");
  REQUIRE(file);
  CHECK(file->metadata == sample().metadata);
  TensorFile want = sample();
  REQUIRE(file->tensors.size() == want.tensors.size());
  for (const NamedArray& tensor : want.tensors) {
    const DenseArray* got = file->find(tensor.name);
    REQUIRE(got);
    CHECK(got->dtype == tensor.array.dtype);
    CHECK(got->dims == tensor.array.dims);
    CHECK(std::memcmp(got->bytes.data(), tensor.array.bytes.data(), got->bytes.size()) == 0);
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder.path)) CHECK(entry.path().extension() != ".tmp");
}

TEST_CASE("a safetensors file cut anywhere, or with any bit flipped, is refused") {
  Folder folder;
  std::string whole = written(folder);
  for (std::size_t length = 0; length < whole.size(); ++length)
    CHECK_FALSE(parse_safetensors(whole.substr(0, length), "w"));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
      INFO("bit " << bit << " of byte " << at << ": " << whole.substr(at < 10 ? 0 : at - 10, 20));
      CHECK_FALSE(parse_safetensors(flipped, "w"));
    }
  }
  CHECK(refusal(whole + "x").find("belong to no tensor") != std::string::npos);
}

TEST_CASE("a path that is a pipe, a folder or nothing is no file of weights; a link is the file it leads to") {
  Folder folder;
  written(folder);
  REQUIRE(mkfifo((folder.path + "/pipe").c_str(), 0600) == 0);
  std::filesystem::create_symlink(folder.path + "/w.safetensors", folder.path + "/link");
  for (const std::string name : {"pipe", "none", "."}) {
    const auto file = read_safetensors(folder.path + "/" + name);
    REQUIRE_FALSE(file);
    CHECK(file.problem().kind == Problem::Kind::io);
  }
  CHECK(read_safetensors(folder.path + "/link"));
}

TEST_CASE("whichever call of a write fails, or kills the process, the old file or the new one is there, whole") {
  struct Killed {};
  enum class How { fails, is_short, kills };
  const TensorFile before = sample();
  TensorFile after = before;
  after.tensors[0].array.set(0, 42);
  for (const How how : {How::fails, How::is_short, How::kills}) {
    bool reached = true;
    for (int site = 0; reached; ++site) {
      INFO("call " << site << (how == How::kills ? " kills" : " fails"));
      Folder folder;
      const std::string path = folder.path + "/w.safetensors";
      REQUIRE_FALSE(write_safetensors(path, before));
      int call = 0;
      reached = false;
      const auto now = [&] {
        const bool hit = call++ == site;
        reached = reached || hit;
        if (hit && how == How::kills) throw Killed{};
        return hit;
      };
      const FileCalls& real = system_calls();
      FileCalls calls{
          .create = [&](const char* name) { return now() ? (errno = EACCES, -1) : real.create(name); },
          .write = [&](int file, const char* bytes, std::size_t count) -> ssize_t {
            if (!now()) return real.write(file, bytes, std::min<std::size_t>(count, 100));  // in many small pieces
            if (how == How::is_short) return real.write(file, bytes, 1);
            return errno = ENOSPC, -1;
          },
          .flush = [&](int file) { return now() ? (errno = EIO, -1) : real.flush(file); },
          .close = [&](int file) { return now() ? (real.close(file), errno = EIO, -1) : real.close(file); },
          .rename = [&](const char* a, const char* b) { return now() ? (errno = EACCES, -1) : real.rename(a, b); },
          .flush_folder = [&](const char* name) { return now() ? (errno = EIO, -1) : real.flush_folder(name); }};
      bool failed = true;
      try {
        failed = write_safetensors(path, after, calls).has_value();
      } catch (const Killed&) {
      }
      const auto file = read_safetensors(path);
      REQUIRE(file);
      const double first = file->find("Dense1.W")->at(0);
      CHECK((first == 0 || first == 42));
      if (!failed) CHECK(first == 42);
      if (!reached) CHECK_FALSE(failed);
      if (how == How::kills) continue;
      for (const auto& entry : std::filesystem::directory_iterator(folder.path)) {
        CHECK_FALSE(is_temporary(entry.path().filename().string()));
      }
    }
  }
}

TEST_CASE("safetensors headers that lie are refused") {
  std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  CHECK(parse_safetensors(by_hand("{" + a + "}", 8), "w"));
  CHECK(refusal(by_hand("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12)).find("overlap") !=
        std::string::npos);
  CHECK(refusal(by_hand("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})", 16)).find("gap") !=
        std::string::npos);
  CHECK(refusal(by_hand("{" + a + "," + a + "}", 8)) == "the name `a` stands twice in the header");
  CHECK(refusal(by_hand("{" + a + "}", 12)) == "4 bytes at the end belong to no tensor");
  CHECK(refusal(by_hand(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)).find("does not fit") !=
        std::string::npos);
  CHECK(refusal(by_hand(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0))
            .find("does not fit") != std::string::npos);
  CHECK(
      refusal(by_hand(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)).find("a shape that is none") !=
      std::string::npos);
  CHECK(refusal(by_hand(R"({"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}})", 8)).find("BF16") !=
        std::string::npos);
  CHECK(refusal(by_hand(std::string(100000, '['), 0)) == "the header is not a safetensors header");
  CHECK(refusal(by_hand("[1]", 0)) == "the header is not a JSON object");
  std::string huge = by_hand("{}", 0);
  huge[7] = '\x7f';
  CHECK(refusal(huge).find("the header is said to have") != std::string::npos);
}

TEST_CASE("sha-256 of the standard's examples") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("reading what is no regular file is an i/o problem") {
  Folder folder;
  CHECK(read_file(folder.path).problem().kind == Problem::Kind::io);
  CHECK(read_file("/dev/null").problem().kind == Problem::Kind::io);
  CHECK(read_file(folder.path + "/none").problem().message.find("No such file") != std::string::npos);
}
