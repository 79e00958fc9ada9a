// A program that a test talks to by lines: its standard input and output are pipes. Killed and waited for by
// the destructor; only this child, by its pid. Its standard error is the test's.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace culvert::test {

class Child {
public:
    explicit Child(std::vector<std::string> arguments);  // the first is the program's path
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    // The next line without its end; none: it closed its output, or said nothing for so long.
    std::optional<std::string> line(std::chrono::milliseconds wait = std::chrono::seconds(60));
    void say(const std::string& line);
    // Sends the signal (0: none) and waits until it has ended: its exit code, or minus the signal that ended
    // it.
    int end(int signal_number);

private:
    pid_t pid_ = -1;
    int in_ = -1;
    int out_ = -1;
    std::string rest_;
};

}  // namespace culvert::test
