#include "test/support/child.h"

#include "lib/base/check.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

extern char** environ;

namespace culvert::test {

Child::Child(std::vector<std::string> arguments) {
    signal(SIGPIPE, SIG_IGN);
    int input[2], output[2];
    check(pipe2(input, O_CLOEXEC) == 0 && pipe2(output, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    std::vector<char*> argv;
    for (std::string& each : arguments) argv.push_back(each.data());
    argv.push_back(nullptr);
    check(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(input[0]);
    close(output[1]);
    in_ = input[1];
    out_ = output[0];
}

Child::~Child() {
    close(in_);
    close(out_);
    if (pid_ > 0) end(SIGKILL);
}

int Child::end(int signal_number) {
    if (signal_number != 0) kill(pid_, signal_number);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::optional<std::string> Child::line(std::chrono::milliseconds wait) {
    for (;;) {
        if (auto end = rest_.find('\n'); end != rest_.npos) {
            std::string line = rest_.substr(0, end);
            rest_.erase(0, end + 1);
            return line;
        }
        pollfd ready{out_, POLLIN, 0};
        if (poll(&ready, 1, static_cast<int>(wait.count())) <= 0) return std::nullopt;
        char bytes[4096];
        ssize_t got = read(out_, bytes, sizeof bytes);
        if (got <= 0) return std::nullopt;
        rest_.append(bytes, static_cast<std::size_t>(got));
    }
}

void Child::say(const std::string& line) {
    std::string text = line + "\n";
    [[maybe_unused]] ssize_t done =
        write(in_, text.data(), text.size());  // a child that is gone shows in line()
}

}  // namespace culvert::test
