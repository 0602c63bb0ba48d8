#include "driver/build_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "driver/run_record.h"

namespace nnc::driver {

namespace {

std::string c_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float";
    case DType::f64:
      return "double";
    case DType::i32:
      return "int32_t";
    case DType::boolean:
      return "uint8_t";
  }
  return "void";
}

/// "x[rows][784]": the values of one call, row after row.
std::string shape_text(const Argument& argument) {
  std::string text = argument.name;
  for (const Extent& extent : argument.type.shape)
    text += extent.batched ? (extent.count == 1 ? "[rows]" : fmt::format("[{} * rows]", extent.count))
                           : fmt::format("[{}]", extent.count);
  return text.find('[') == std::string::npos ? "*" + text : text;
}

/// The parameters behind inputs and results.
std::string further_parameters(const CFunction& function, const std::string& prefix) {
  std::string text;
  if (function.code.rows != ObjectFunction::Rows::none) text += "size_t rows, ";
  const bool writes = function.code.weights == ObjectFunction::Weights::begun ||
                      function.code.symbol == prefix + "_step" || function.code.symbol == prefix + "_pack";
  if (function.code.weights != ObjectFunction::Weights::inside)
    text += writes ? "void *params, void *state, " : "const void *params, const void *state, ";
  if (function.code.numbers == ObjectFunction::Numbers::seed) text += "uint64_t seed, ";
  if (function.code.numbers == ObjectFunction::Numbers::progress)
    text += fmt::format("const {}_progress *progress, ", prefix);
  if (function.code.arrays) text += writes ? "const void *arrays, " : "void *arrays, ";
  if (function.code.programs.empty()) return text.substr(0, text.size() - 2);
  return text + "void *work";
}

/// A declaration in lines of at most 110 columns.
std::string wrapped(const std::string& text) {
  constexpr std::size_t most = 110;
  std::string result;
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(", ", at), text.size() - 2) + 2;
    if (line > 4 && line + end - at > most) {
      result.back() = '\n';  // was the blank after a comma
      result += "    ";
      line = 4;
    }
    result += text.substr(at, end - at);
    line += end - at;
    at = end;
  }
  return result;
}

/// Text of the user's that may stand in a comment.
std::string in_comment(std::string text) {
  for (std::size_t at = 0; (at = text.find("*/", at)) != std::string::npos;) text.insert(at + 1, " ");
  return text;
}

/// A string of C: a byte that is no plain letter is written by its number, in three digits, so that none follows it;
/// two question marks would begin a trigraph.
std::string c_string(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      quoted += fmt::format("\\{}", c);
    else if (byte < 0x20 || byte == 0x7f || (c == '?' && quoted.back() == '?'))
      quoted += fmt::format("\\{:03o}", byte);
    else
      quoted += c;
  }
  return quoted + "\"";
}

std::string table_text(const NameTable& table, const std::string& prefix) {
  std::string text =
      fmt::format("/* What the numbers of {} stand for. */\nstatic const char *const {}_{}_names[{}] = {{\n",
                  table.name, prefix, table.name, table.names.size());
  for (const std::string& name : table.names) text += fmt::format("    {},\n", c_string(name));
  return text + "};\n\n";
}

std::string declaration(const CFunction& function, const std::string& prefix) {
  std::string comment = "/* " + in_comment(function.what) + "\n", parameters;
  for (const Argument& input : function.inputs) {
    parameters += fmt::format("const {} *{}, ", c_type(input.type.dtype), input.name);
    comment += fmt::format(" *   in:  {} {}{}\n", c_type(input.type.dtype), shape_text(input), in_comment(input.note));
  }
  for (const Argument& result : function.results) {
    parameters += fmt::format("{} *{}, ", c_type(result.type.dtype), result.name);
    comment +=
        fmt::format(" *   out: {} {}{}\n", c_type(result.type.dtype), shape_text(result), in_comment(result.note));
  }
  std::string refusals;
  if (!function.code.programs.empty()) {
    const auto& obligations = function.code.programs.back().obligations;
    for (std::size_t i = 0; i < obligations.size(); ++i)
      refusals += fmt::format(" *   {}: an element of {} is not in [{}, {})\n", i + 1, c_name(obligations[i].input),
                              obligations[i].low, obligations[i].high);
  }
  if (function.code.rows == ObjectFunction::Rows::listed) {
    std::vector<std::int64_t> rows;
    for (const Program& program : function.code.programs) rows.push_back(program.rows);
    refusals += fmt::format(" *   -1: it is not made for so many rows, but for {}\n", fmt::join(rows, " or "));
  }
  comment += refusals.empty()
                 ? " * Returns 0. */\n"
                 : " * Returns 0; where it returns something else, nothing was done:\n" + refusals + " */\n";
  return comment +
         wrapped(fmt::format("int {}({}{});", function.code.symbol, parameters, further_parameters(function, prefix))) +
         "\n\n";
}

std::string size_function(const std::string& name, const std::string& comment, std::uint64_t bytes) {
  return fmt::format("/* {} */\nstatic inline size_t {}(void) {{\n  return {};\n}}\n\n", comment, name, bytes);
}

/// What only those need who train.
std::string training_part(const CHeader& header) {
  const std::string& p = header.prefix;
  std::string text = size_function(
      p + "_params_size",
      "Bytes of `params`, the parameters. The memory is the caller's and begins at a multiple of 64 bytes.",
      header.params_bytes);
  text += size_function(p + "_state_size", "The same of `state`: optimizer, averages, statistics of columns.",
                        header.state_bytes);
  text += fmt::format(
      "/* Where training stands. Random numbers depend on seed and step, schedules of rates on step, steps_per_epoch "
      "and\n"
      " * total_steps. As `nnc train` counts: the first step is 1, and an epoch's last, shorter batch is a step too. "
      "*/\n"
      "typedef struct {0}_progress {{\n  uint64_t seed, step, steps_per_epoch, total_steps;\n}} {0}_progress;\n\n",
      p);
  text += size_function(p + "_arrays_size",
                        "Bytes of `arrays`: all parameters and states as files have them, dense and row-major.",
                        header.arrays_bytes);
  text += fmt::format(
      "/* What lies where in `arrays`, which begins at a multiple of 64 bytes: path, byte, number of elements, and "
      "their "
      "type\n * in C. */\n"
      "typedef struct {0}_array {{\n  const char *path;\n  size_t offset, elements;\n  const char *type;\n}} "
      "{0}_array;\n"
      "enum {{ {0}_array_count = {1} }};\nstatic const {0}_array {0}_arrays[{1}] = {{\n",
      p, header.arrays.size());
  for (const PackedArray& array : header.arrays)
    text += fmt::format("    {{\"{}\", {}, {}, \"{}\"}},\n", array.path, array.offset,
                        element_count(array.type.shape).count, c_type(array.type.dtype));
  return text + "};\n\n";
}

}  // namespace

std::string c_name(const std::string& text) {
  static const std::set<std::string> reserved{"auto",   "char",  "const",    "do",       "double",   "float", "for",
                                              "if",     "int",   "long",     "register", "return",   "short", "signed",
                                              "static", "union", "unsigned", "void",     "volatile", "while", "class",
                                              "new",    "this",  "template", "case",     "default",  "rows",  "work",
                                              "params", "state", "seed",     "arrays",   "progress"};
  std::string name;
  for (const char c : text) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) name = "_" + name;
  return reserved.contains(name) ? name + "_" : name;
}

std::string text_of(const CHeader& header) {
  std::uint64_t work = 0;
  std::string functions;
  for (const NameTable& table : header.tables) functions += table_text(table, header.prefix);
  for (const CFunction& function : header.functions) {
    work = std::max(work, work_bytes(function.code));
    functions += declaration(function, header.prefix);
  }
  return fmt::format(R"(/* {source}, made by nnc {version} for {cpu}. Link {prefix}.o; nothing else is needed.
 *
 * Nothing is allocated and nothing is kept between calls: all memory is the caller's. Arrays are dense and row-major, one
 * row of data after the other. Functions may run at once in several threads, each with work memory of its own.
 */
#ifndef {prefix}_H
#define {prefix}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Bytes of `work`, the memory that any function of this file needs while it runs, whatever the number of rows. */
static inline size_t {prefix}_work_size(size_t rows) {{
  (void)rows;
  return {work};
}}

{training}{functions}#ifdef __cplusplus
}}
#endif

#endif
)",
                     fmt::arg("source", header.source), fmt::arg("version", version), fmt::arg("cpu", header.cpu),
                     fmt::arg("prefix", header.prefix), fmt::arg("work", work),
                     fmt::arg("training", header.trains ? training_part(header) : ""),
                     fmt::arg("functions", functions));
}

}  // namespace nnc::driver
