// What the program's log says while this lives: standard output goes to a file of no name, and comes back at
// the end. One at a time, and nothing else may print meanwhile.
#pragma once
#include "lib/base/check.h"
#include "lib/base/log.h"

#include <cstdio>
#include <string>
#include <unistd.h>
#include <vector>

namespace culvert::test {

class CapturedLog {
public:
    explicit CapturedLog(const std::string& filter, bool json = false) {
        std::fflush(stdout);
        file_ = std::tmpfile();
        check(file_ != nullptr);
        before_ = ::dup(STDOUT_FILENO);
        check(::dup2(::fileno(file_), STDOUT_FILENO) >= 0);
        check(log::start({json, filter}).has_value());
    }
    ~CapturedLog() { stop(); }
    CapturedLog(const CapturedLog&) = delete;

    // Ends the capture.
    std::vector<std::string> lines() {
        stop();
        std::vector<std::string> lines;
        std::string line;
        std::rewind(file_);
        for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) {
            if (c != '\n') {
                line.push_back(static_cast<char>(c));
                continue;
            }
            lines.push_back(std::move(line));
            line.clear();
        }
        return lines;
    }

private:
    void stop() {
        if (before_ < 0) return;
        log::stop();
        std::fflush(stdout);
        check(::dup2(before_, STDOUT_FILENO) >= 0);
        ::close(before_);
        before_ = -1;
    }

    std::FILE* file_ = nullptr;
    int before_ = -1;
};

}  // namespace culvert::test
