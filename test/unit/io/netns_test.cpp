// Sockets made inside a network namespace stay there, and the thread comes back.
#include "lib/io/netns.h"
#include "test/support/netns.h"
#include "test/unit/io/real.h"

#include <atomic>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

NetnsId here() { return *netns_id(open_netns("/proc/thread-self/ns/net")->get()); }

Task<Result<Done>> dial(Loop& loop, Namespace where, Address to) {
    ConnectOptions options;
    auto connecting = connect(loop, where, to, options);
    CO_TRY_DONE(co_await connecting);
    co_return Done{};
}

}  // namespace

TEST_CASE("a listener opened in a namespace is reached from inside it only, and the thread is back [C-2]",
          "[io]") {
    auto netns = new_netns();
    CULVERT_SKIP_WITHOUT(netns);
    Namespace pod{netns->get()};
    Loop loop(ring());
    NetnsId before = here();
    CHECK(before != *netns_id(netns->get()));
    auto listener = Listener::open(loop, pod, loopback(), {});
    REQUIRE(listener);
    CHECK(here() == before);
    Address at = *listener->local();
    CHECK(run(loop, dial(loop, pod, at)));
    CHECK(here() == before);
    CHECK(run(loop, dial(loop, own_namespace, at)).error().reason == Reason::connect_refused);
}

TEST_CASE("inside() passes on what was made, and an error to enter", "[io]") {
    auto netns = new_netns();
    CULVERT_SKIP_WITHOUT(netns);
    auto inside_it = inside({netns->get()}, []() -> Result<NetnsId> { return here(); });
    CHECK(inside_it == netns_id(netns->get()));
    CHECK(inside(own_namespace, []() -> Result<NetnsId> { return here(); }) == here());
    Fd file = *open_netns("/proc/self/ns/net");
    file.reset();
    CHECK_FALSE(inside({1 << 20}, []() -> Result<NetnsId> { return here(); }));
}

TEST_CASE("a FIFO in place of a network namespace is refused and blocks nobody", "[io]") {
    std::string folder = "/tmp/culvert-netns-XXXXXX";
    REQUIRE(::mkdtemp(folder.data()));
    const std::string path = folder + "/fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    // Only one that blocks needs the writer: it comes after two seconds, so that the test ends either way.
    std::atomic<bool> opened = false;
    std::thread writer([&] {
        for (int i = 0; i < 200 && !opened; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        Fd end(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    });
    auto before = system_clock().now();
    CHECK(open_netns(path).error().reason == Reason::bad_input);
    CHECK(system_clock().now() - before < std::chrono::seconds(2));
    opened = true;
    writer.join();
    ::unlink(path.c_str());
    ::rmdir(folder.c_str());
}

TEST_CASE("a path that is no network namespace is refused by name", "[io]") {
    for (const char* path : {"/proc/self/ns/mnt-not", "/proc/self/status"}) {
        auto opened = open_netns(path);
        REQUIRE_FALSE(opened);
        CHECK(opened.error().reason == Reason::bad_input);
        CHECK(opened.error().text.find(path) != std::string::npos);
    }
}
