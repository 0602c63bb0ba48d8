// A document that can be laid out in more than one way, and the layout that keeps lines short: a group stands on one
// line where that fits, else each of its breaks ends a line. (Wadler 1998, "A prettier printer"; the width is looked at
// up to the next place where a line may end.)
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace nnc::layout {

struct Node;
using Doc = std::shared_ptr<const Node>;

Doc text(std::string text);
Doc concat(std::vector<Doc> parts);
/// A space, or the end of a line where the group around it is broken.
Doc line();
/// Nothing, or the end of a line.
Doc soft_line();
/// The end of a line, always: all groups around it are broken.
Doc hard_line();
/// An empty line; stands behind a hard_line.
Doc blank_line();
Doc indent(int columns, Doc doc);
/// On one line where it fits, unless `broken`.
Doc group(Doc doc, bool broken = false);
/// Only where the group around it is broken.
Doc if_broken(std::string text);
/// Words with spaces between them, as many on a line as fit.
Doc fill(std::vector<std::string> words);
/// A remark at the end of a line, which it ends. Those of adjacent lines stand below each other.
Doc remark(std::string text);

std::string print(const Doc& doc, int width);

}  // namespace nnc::layout
