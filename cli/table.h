// A table as people read it: columns as wide as their widest cell, a heading in capitals, empty cells shown
// as "-".
#pragma once
#include "lib/base/escape.h"

#include <string>
#include <vector>

namespace culvert::cli {

class Table {
public:
    explicit Table(std::vector<std::string> heading) : rows_{std::move(heading)} {}
    void add(std::vector<std::string> row) {  // as many cells as the heading; texts of others
        for (std::string& cell : row) cell = escaped(cell);
        rows_.push_back(std::move(row));
    }
    bool empty() const { return rows_.size() == 1; }
    std::string to_string() const;

private:
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace culvert::cli
