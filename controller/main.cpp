// Words → Command → Server → run; nothing else.
#include "controller/flags.h"
#include "controller/validate.h"
#include "lib/base/log.h"

#include <cstdio>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <thread>

using namespace culvert;

namespace {

int fail(const Error& error) {
    std::fprintf(stderr, "controller: %s\n",
                 error.text.empty() ? error.to_string().c_str() : error.text.c_str());
    return 1;
}

// Blocked before any thread exists, so that every thread inherits it and one waits for all.
sigset_t block_ending_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    return set;
}

// As many connections as the machine allows; how many we take is bounded apart from that.
void raise_file_limit() {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
}

int serve(const controller::Command& command) {
    raise_file_limit();
    const sigset_t ending = block_ending_signals();
    if (auto done = log::start({command.log_json, command.log_filter}); !done) return fail(done.error());
    auto server = controller::Server::start(command.options);
    if (!server) {
        log::stop();
        return fail(server.error());
    }
    std::thread waiter([&] {
        int number = 0;
        ::sigwait(&ending, &number);
        (*server)->stop();
    });
    (*server)->run();
    waiter.join();
    server->reset();
    log::info("controller", "ended");
    log::stop();
    return 0;
}

}  // namespace

int main(int count, char** words) {
    auto command = controller::parse_command(count, words);
    if (!command) {
        std::fputs(command.error().text.c_str(), command.error().code == 0 ? stdout : stderr);
        return command.error().code;
    }
    if (command->verb == controller::Command::Verb::serve) return serve(*command);
    auto verdict = controller::validate(command->manifests, command->options.mesh);
    if (!verdict) return fail(verdict.error());
    std::fputs((command->json ? to_json(*verdict) : to_text(*verdict)).c_str(), stdout);
    return verdict->ok() ? 0 : 1;
}
