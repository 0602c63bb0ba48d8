// Whether a page is well formed and stands alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nnc::test {

/// The first tag of a document that is not closed in its order; empty if it is well formed. Void elements end in "/>".
inline std::string ill_formed(const std::string& page) {
  std::vector<std::string> open;
  for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const std::size_t end = page.find('>', at);
    if (end == std::string::npos) return "a tag without end";
    const std::string tag = page.substr(at + 1, end - at - 1);
    if (tag.starts_with('!') || tag.ends_with('/')) continue;
    if (!tag.starts_with('/')) {
      open.push_back(tag.substr(0, tag.find(' ')));
    } else if (open.empty() || open.back() != tag.substr(1)) {
      return tag;
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back();
}

/// The first thing in a page that would be fetched or run; empty if it needs nothing. Links lead to its own parts.
inline std::string needs(const std::string& page) {
  for (const char* foreign : {"http", "<script", "url(", "@import", "src=", "onload"})
    if (page.find(foreign) != std::string::npos) return foreign;
  for (std::size_t at = page.find("href="); at != std::string::npos; at = page.find("href=", at + 1))
    if (page.compare(at, 7, "href=\"#") != 0) return page.substr(at, 40);
  return "";
}

/// The first link to a part of a page that it does not have; empty if each leads somewhere.
inline std::string leads_nowhere(const std::string& page) {
  constexpr std::string_view link = "href=\"#";
  for (std::size_t at = page.find(link); at != std::string::npos; at = page.find(link, at + 1)) {
    const std::size_t name = at + link.size();
    const std::string part = page.substr(name, page.find('"', name) - name);
    if (page.find("id=\"" + part + "\"") == std::string::npos) return part;
  }
  return "";
}

}  // namespace nnc::test
