#include "frontend/layout.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace nnc::layout {

namespace {

enum class Break : std::uint8_t { space, nothing, hard, blank };

}  // namespace

struct Node {
  struct Text {
    std::string text;
    bool if_broken = false, remark = false;
  };
  struct Indent {
    int columns;
    Doc doc;
  };
  struct Group {
    Doc doc;
  };
  std::variant<Text, std::vector<Doc>, Break, Indent, Group, std::vector<std::string>> form;
  bool broken = false;  ///< holds a hard line
};

namespace {

template <class Form>
Doc make(Form form, bool broken = false) {
  return std::make_shared<const Node>(Node{std::move(form), broken});
}

/// Columns of UTF-8 text: code points.
int columns_of(const std::string& text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

constexpr char remark_mark = '\x01';

/// Remarks of adjacent lines of one indent begin in one column, two behind the longest of those lines.
void align_remarks(std::vector<std::string>& lines) {
  const auto code_of = [](const std::string& line) {
    const std::size_t mark = line.find(remark_mark);
    return mark == std::string::npos ? -1 : columns_of(line.substr(0, mark));
  };
  for (std::size_t begin = 0; begin < lines.size();) {
    std::size_t end = begin;
    int column = 0;
    const std::size_t indent = lines[begin].find_first_not_of(' ');
    for (; end < lines.size() && code_of(lines[end]) >= 0 && lines[end].find_first_not_of(' ') == indent; ++end)
      column = std::max(column, code_of(lines[end]));
    for (std::size_t i = begin; i < end; ++i) {
      const auto gap = static_cast<std::size_t>(column - code_of(lines[i]) + 2);
      lines[i].replace(lines[i].find(remark_mark), 1, std::string(gap, ' '));
    }
    begin = std::max(begin + 1, end);
  }
}

class Printer {
 public:
  explicit Printer(int width) : width_(width) {}

  std::string run(const Doc& doc) {
    std::vector<Item> stack{{0, false, doc.get()}};
    while (!stack.empty()) {
      const Item item = stack.back();
      stack.pop_back();
      step(item, stack);
    }
    lines_.push_back(std::move(line_));
    for (std::string& line : lines_)
      while (line.ends_with(' ')) line.pop_back();
    align_remarks(lines_);
    std::string out;
    for (const std::string& line : lines_) out += line + "\n";
    return out;
  }

 private:
  struct Item {
    int indent;
    bool flat;
    const Node* node;
  };

  void end_line(int indent) {
    lines_.push_back(std::exchange(line_, std::string(static_cast<std::size_t>(indent), ' ')));
  }

  void step(const Item& item, std::vector<Item>& stack) {
    if (const auto* text = std::get_if<Node::Text>(&item.node->form)) {
      if (text->remark) line_ += remark_mark;
      if (!text->if_broken || !item.flat) line_ += text->text;
    } else if (const auto* parts = std::get_if<std::vector<Doc>>(&item.node->form)) {
      for (std::size_t i = parts->size(); i-- > 0;) stack.push_back({item.indent, item.flat, (*parts)[i].get()});
    } else if (const auto* nested = std::get_if<Node::Indent>(&item.node->form)) {
      stack.push_back({item.indent + nested->columns, item.flat, nested->doc.get()});
    } else if (const auto* inner = std::get_if<Node::Group>(&item.node->form)) {
      const Item flat{item.indent, true, inner->doc.get()};
      const bool one_line = item.flat || (!item.node->broken && fits(flat, stack));
      stack.push_back({item.indent, one_line, inner->doc.get()});
    } else if (const auto* words = std::get_if<std::vector<std::string>>(&item.node->form)) {
      put_words(*words, item);
    } else {
      put_break(std::get<Break>(item.node->form), item);
    }
  }

  void put_break(Break kind, const Item& item) {
    if (kind == Break::blank) {
      lines_.insert(lines_.end(), "");
    } else if (kind != Break::hard && item.flat) {
      line_ += kind == Break::space ? " " : "";
    } else {
      end_line(item.indent);
    }
  }

  void put_words(const std::vector<std::string>& words, const Item& item) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (i > 0 && !item.flat && columns_of(line_) + 1 + columns_of(words[i]) > width_)
        end_line(item.indent);
      else if (i > 0)
        line_ += ' ';
      line_ += words[i];
    }
  }

  /// Whether `item` on one line, and what follows it up to the next place where a line may end, fit.
  bool fits(const Item& item, const std::vector<Item>& rest) const {
    int left = width_ - columns_of(line_);
    std::vector<Item> stack{item};
    std::size_t beyond = rest.size();
    while (left >= 0) {
      if (stack.empty()) {
        if (beyond == 0) return true;
        stack.push_back(rest[--beyond]);
      }
      const Item next = stack.back();
      stack.pop_back();
      if (const auto* text = std::get_if<Node::Text>(&next.node->form)) {
        if (text->remark) return true;  // it may stand beyond the width
        if (!text->if_broken || !next.flat) left -= columns_of(text->text);
      } else if (const auto* parts = std::get_if<std::vector<Doc>>(&next.node->form)) {
        for (std::size_t i = parts->size(); i-- > 0;) stack.push_back({next.indent, next.flat, (*parts)[i].get()});
      } else if (const auto* nested = std::get_if<Node::Indent>(&next.node->form)) {
        stack.push_back({next.indent, next.flat, nested->doc.get()});
      } else if (const auto* inner = std::get_if<Node::Group>(&next.node->form)) {
        stack.push_back({next.indent, next.flat && !next.node->broken, inner->doc.get()});
      } else if (const auto* words = std::get_if<std::vector<std::string>>(&next.node->form)) {
        for (const std::string& word : *words) left -= columns_of(word) + 1;
        left += 1;
      } else {
        const Break kind = std::get<Break>(next.node->form);
        if (!next.flat || kind == Break::hard || kind == Break::blank) return true;
        left -= kind == Break::space;
      }
    }
    return false;
  }

  int width_;
  std::string line_;
  std::vector<std::string> lines_;
};

}  // namespace

Doc text(std::string text) { return make(Node::Text{.text = std::move(text)}); }
Doc concat(std::vector<Doc> parts) {
  const bool broken = std::any_of(parts.begin(), parts.end(), [](const Doc& part) { return part->broken; });
  return make(std::move(parts), broken);
}
Doc line() { return make(Break::space); }
Doc soft_line() { return make(Break::nothing); }
Doc hard_line() { return make(Break::hard, true); }
Doc blank_line() { return make(Break::blank, true); }
Doc indent(int columns, Doc doc) {
  const bool broken = doc->broken;
  return make(Node::Indent{columns, std::move(doc)}, broken);
}
Doc group(Doc doc, bool broken) {
  const bool inside = doc->broken;
  return make(Node::Group{std::move(doc)}, broken || inside);
}
Doc if_broken(std::string text) { return make(Node::Text{.text = std::move(text), .if_broken = true}); }
Doc fill(std::vector<std::string> words) { return make(std::move(words)); }
Doc remark(std::string text) { return make(Node::Text{.text = std::move(text), .remark = true}, true); }

std::string print(const Doc& doc, int width) { return Printer(width).run(doc); }

}  // namespace nnc::layout
