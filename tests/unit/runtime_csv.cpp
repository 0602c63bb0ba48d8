// The CSV reader: what it accepts, and the place and words of what it refuses.
#include <clocale>
#include <cstring>
#include <fstream>
#include <string>

#include "runtime/csv.h"
#include "tests/support/scratch.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

/// A table with nothing wanted of it, all rows checked.
Result<CsvTable> parse(const std::string& text) {
  auto table = CsvTable::parse(text, "t.csv");
  if (!table) return table;
  if (auto problem = table->load()) return *problem;
  return table;
}

/// A column as numbers.
std::vector<double> column(const std::string& text, std::size_t index) {
  auto table = CsvTable::parse(text, "t.csv");
  REQUIRE(table);
  const std::size_t at = table->want_number(index, DType::f64);
  REQUIRE_FALSE(table->load());
  std::vector<double> values(static_cast<std::size_t>(table->rows()));
  for (std::int64_t row = 0; row < table->rows(); ++row)
    table->records().read(row, at, sizeof(double),
                          reinterpret_cast<std::byte*>(&values[static_cast<std::size_t>(row)]));
  return values;
}

/// Problem of reading the first column as `dtype`.
Problem cell_problem(const std::string& text, DType dtype) {
  auto table = CsvTable::parse(text, "t.csv");
  REQUIRE(table);
  table->want_number(0, dtype);
  auto problem = table->load();
  REQUIRE(problem);
  return *problem;
}

}  // namespace

TEST_CASE("a plain table, with every line end and a byte order mark") {
  for (std::string text : {"a,b\n1,2\n3,4\n", "a,b\r\n1,2\r\n3,4\r\n",
                           "\xef\xbb\xbf"
                           "a,b\n1,2\n3,4",
                           "a, b \n 1 ,2\n3,\t4\n\n\n"}) {
    auto table = parse(text);
    REQUIRE(table);
    CHECK(table->names() == std::vector<std::string>{"a", "b"});
    CHECK(column(text, 0) == std::vector<double>{1, 3});
    CHECK(column(text, 1) == std::vector<double>{2, 4});
  }
}

TEST_CASE("quoted fields hold commas, quotes and line breaks") {
  auto table = parse("name,\"the \"\"size\"\"\"\n\"Smith, \"\"Jo\"\"\",1\n\"two\nlines\",2\nlast,x\n");
  REQUIRE(table);
  CHECK(table->names()[1] == "the \"size\"");
  CHECK(table->text(0, 0) == "Smith, \"Jo\"");
  CHECK(table->text(1, 0) == "two\nlines");
  CHECK(table->place(1, 1).line == 4);
  CHECK(table->place(1, 1).column == 8);
  CHECK(table->place(2, 1).line == 5);
  CHECK(table->place(2, 1).column == 6);
}

TEST_CASE("numbers are read whatever the locale says, and rounded once") {
  const char* before = std::setlocale(LC_NUMERIC, nullptr);
  std::string saved = before ? before : "C";
  std::setlocale(LC_NUMERIC, "de_DE.UTF-8");  // without effect where it is not installed
  auto table = parse("a\n1.5\n-2e3\n+7\n.25\n1e-400\n");
  REQUIRE(table);
  auto value = [&](std::int64_t row) {
    double number = 0;
    CHECK_FALSE(parse_number(table->text(row, 0), DType::f64, reinterpret_cast<std::byte*>(&number)));
    return number;
  };
  CHECK(value(0) == 1.5);
  CHECK(value(1) == -2000);
  CHECK(value(2) == 7);
  CHECK(value(3) == 0.25);
  std::setlocale(LC_NUMERIC, saved.c_str());
  // 1 + 2^-24 + 2^-60: rounding to double first would lose the last bit and then tie to even.
  float narrow = 0;
  CHECK_FALSE(parse_number("1.00000005960464477626", DType::f32, reinterpret_cast<std::byte*>(&narrow)));
  CHECK(narrow == 1.00000012f);
  CHECK_FALSE(parse_number("1e-60", DType::f32, reinterpret_cast<std::byte*>(&narrow)));
  CHECK(narrow == 0.0f);
}

TEST_CASE("a cell that is no number of the wanted type has its place and its text in the problem") {
  Problem text = cell_problem("a,b\n1,2\nabc,4\n", DType::f32);
  CHECK(text.message == "`abc` is not a number");
  CHECK(text.place.file == "t.csv");
  CHECK(text.place.line == 3);
  CHECK(text.place.column == 1);
  CHECK(text.expected == "a number (f32) in column `a`");
  CHECK(cell_problem("a,b\n,2\n", DType::f32).message == "a value is missing");
  CHECK(cell_problem("a,b\nnan,2\n", DType::f32).message == "`nan` is not a finite number");
  CHECK(cell_problem("a,b\n-Inf,2\n", DType::f32).message == "`-Inf` is not a finite number");
  CHECK(cell_problem("a,b\n1e999,2\n", DType::f64).message == "`1e999` is out of the range of f64");
  CHECK(cell_problem("a,b\n1e39,2\n", DType::f32).message == "`1e39` is out of the range of f32");
  CHECK(cell_problem("a,b\n0.5,2\n", DType::i32).message == "`0.5` is not a whole number");
  CHECK(cell_problem("a,b\n3000000000,2\n", DType::i32).message == "`3000000000` is out of the range of i32");
  CHECK(cell_problem("a\n\"1,5\"\n", DType::f32).message == "`1,5` is not a number");
  CHECK(cell_problem("a\n0x10\n", DType::f32).message == "`0x10` is not a number");
  CHECK(cell_problem("a\n+-1\n", DType::f32).message == "`+-1` is not a number");
}

TEST_CASE("what is not a table is refused with its place") {
  struct Case {
    std::string text, message;
    std::uint32_t line, column;
  };
  for (const Case& wrong :
       {Case{"a,b\n1,2\n3\n", "the row has another number of fields than the header", 3, 1},
        Case{"a,b\n1,2,3\n", "the row has another number of fields than the header", 2, 1},
        Case{"a,b\n\n1,2\n", "the row has another number of fields than the header", 2, 1},
        Case{std::string("a,b\n1,\0\n", 8), "the file holds a NUL byte", 2, 3},
        Case{"a,b\n1,\"2\n", "a quoted field does not end", 2, 3},
        Case{"a,b\n\"1\"x,2\n", "text behind a closing quote", 2, 4},
        Case{"a,b\n1\"2,3\n", "a quote inside an unquoted field", 2, 2}, Case{"", "the file is empty", 1, 1},
        Case{"a,b\r1,2\r", "a carriage return without a line feed", 1, 4},
        Case{"a,b\n" + std::string(2 << 20, 'x'), "a field is longer than 1 MiB", 2, 1},
        Case{"a,b\n1,\"" + std::string(2 << 20, 'x'), "a quoted field does not end within 1 MiB", 2, 3}}) {
    INFO(wrong.text.substr(0, 60));
    auto table = parse(wrong.text);
    REQUIRE_FALSE(table);
    CHECK(table.problem().message == wrong.message);
    CHECK(table.problem().place.line == wrong.line);
    CHECK(table.problem().place.column == wrong.column);
  }
}

TEST_CASE("columns are counted in characters, not bytes") {
  auto table = parse("name,a\n\xc3\xa4\xc3\xb6,x\n");
  REQUIRE(table);
  CHECK(table->place(0, 1).column == 4);
}

TEST_CASE("every cut of a file is answered, never a crash") {
  std::string text = "a,\"b\"\r\n\"x\"\"y\",2\r\n3,\"4\n\"\n";
  for (std::size_t length = 0; length <= text.size(); ++length) {
    auto table = parse(text.substr(0, length));
    if (table)
      for (std::int64_t row = 0; row < table->rows(); ++row) CHECK(table->place(row, 0).line >= 2);
    else
      CHECK_FALSE(table.problem().message.empty());
  }
}

TEST_CASE("every way to want columns gives the same numbers, from memory, from a file and from stdin's text") {
  std::string text = "n,kind,a,b\n";
  for (int i = 0; i < 5000; ++i)
    text += std::to_string(i) +
            (i % 3 == 0   ? ",\"blue, or red\","
             : i % 3 == 1 ? ",green,"
                          : ", green ,") +
            std::to_string(i * 0.25) + "," +
            (i % 7 == 0   ? "+"
             : i % 7 == 1 ? " "
                          : "") +
            std::to_string(i % 100) + (i % 2 == 0 ? "\r\n" : "\n");
  const nnc::test::Scratch scratch;
  const std::string path = (scratch.path() / "t.csv").string();
  std::ofstream(path, std::ios::binary) << text;
  for (const bool mapped : {false, true})
    for (const std::string& folder : {std::string(), scratch.path().string()}) {
      auto table = mapped ? CsvTable::open(path) : CsvTable::parse(text, path);
      REQUIRE(table);
      const std::size_t number = table->want_number(0, DType::i32), kind = table->want_text(1),
                        a = table->want_number(2, DType::f32), b = table->want_number(3, DType::i32),
                        again = table->want_number(3, DType::f64);
      REQUIRE_FALSE(table->load(folder));
      REQUIRE(table->rows() == 5000);
      CHECK(table->texts(1) == std::vector<std::string>{"blue, or red", "green"});
      std::vector<std::byte> record(table->records().row_bytes());
      const auto at = [&](auto value, std::size_t offset) {
        std::memcpy(&value, record.data() + offset, sizeof value);
        return value;
      };
      for (std::int64_t row : {0, 1, 2, 63, 64, 65, 1023, 1024, 1025, 4998, 4999}) {
        INFO(row);
        table->records().read(row, 0, record.size(), record.data());
        CHECK(at(std::int32_t(), number) == row);
        CHECK(at(std::int32_t(), kind) == (row % 3 == 0 ? 0 : 1));
        CHECK(at(float(), a) == static_cast<float>(row) * 0.25F);
        CHECK(at(std::int32_t(), b) == row % 100);
        CHECK(at(double(), again) == static_cast<double>(row % 100));
        CHECK(table->text(row, 0) == std::to_string(row));
        CHECK(table->place(row, 0).line == row + 2);
      }
    }
}
