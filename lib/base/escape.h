// Text of others in lines of ours: what a manifest, a peer or a file name says must not begin a line of its
// own, nor command a terminal.
#pragma once
#include <string>
#include <string_view>

namespace culvert {

// Control characters (C0, DEL, and C1 in UTF-8) as \n, \t and \u00XX; all else as it is. Done twice it
// changes nothing more.
void append_escaped(std::string& out, std::string_view text);
std::string escaped(std::string_view text);

}  // namespace culvert
