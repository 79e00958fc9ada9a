// Pods on real loops with threads of their own, in network namespaces of the test's own: doors open, fill,
// drain and close. Also built by the tsan preset.
#include "lib/io/netns.h"
#include "lib/io/uring.h"
#include "lib/xds/executor.h"
#include "test/support/netns.h"
#include "ztunnel/call.h"
#include "ztunnel/certs.h"
#include "ztunnel/pods.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <future>
#include <thread>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using ztunnel::AddedPod;
using ztunnel::Pods;

namespace {

// Never answers, so that a handshake stays where it is.
struct SilentCa final : xds::CaTransport {
    void sign(xds::SignRequest, xds::SignAnswer) override {}
};

io::Task<void> tell(io::Task<Result<Done>> task, std::promise<Result<Done>>& told) {
    auto result = co_await task;
    told.set_value(std::move(result));
}

// A control loop and two workers, each with its thread, as in a node.
class Stage {
public:
    Stage() : control_(*io::make_uring({.buffers = 4})), scope_(control_) {
        std::vector<ztunnel::Worker*> all;
        for (auto& worker : workers_) {
            worker = *ztunnel::Worker::make(settings_, certs_, metrics);
            all.push_back(worker.get());
        }
        pods = std::make_unique<Pods>(control_, all, ztunnel::DoorSettings{.announce = false, .dns = false},
                                      metrics);
        for (ztunnel::Worker* worker : all) worker->start(all);
        thread_ = std::thread([this] { control_.run(); });
    }
    ~Stage() {
        CHECK(run([](Pods& all) { return all.cut_all(Reason::draining); }));
        control_.post_message([this] { control_.stop(); });
        thread_.join();
        for (auto& worker : workers_) worker->stop();
        certificates_.stop();
    }
    // What a task on the control loop returns, waited for here.
    template <class F> Result<Done> run(F task) {
        std::promise<Result<Done>> told;
        auto result = told.get_future();
        control_.post_message([&] { check(scope_.start(tell(task(*pods), told))); });
        return result.get();
    }
    Result<Done> add(const std::string& uid, int network_namespace) {
        return run([&](Pods& all) {
            Fd own(fcntl(network_namespace, F_DUPFD_CLOEXEC, 0));
            return all.add({uid, "name-of-" + uid, "shop", "default", std::move(own)});
        });
    }
    Result<Done> remove(const std::string& uid) {
        return run([&](Pods& all) { return all.remove(uid); });
    }
    std::string parked(std::size_t worker) {
        std::promise<std::string> told;
        auto text = told.get_future();
        io::Loop& loop = workers_[worker]->loop();
        loop.post_message([&] { told.set_value(loop.parked()); });
        return text.get();
    }
    // That worker's thread waits until the promise is kept.
    std::promise<void> stick(std::size_t worker) {
        std::promise<void> release;
        std::promise<void> stuck;
        workers_[worker]->loop().post_message([until = release.get_future().share(), &stuck] {
            stuck.set_value();
            until.wait();
        });
        stuck.get_future().wait();
        return release;
    }
    io::Task<Result<Done>> ask_all(std::vector<std::optional<std::string>>& said) {
        std::vector<io::Task<Result<std::string>>> asked;
        for (auto& worker : workers_) asked.push_back(worker->parked(control_));
        said = co_await ztunnel::gather(control_, 200ms, std::move(asked));
        co_return Done{};
    }
    // On every worker, the n-th frame from now on.
    void refuse_a_frame(std::uint64_t n) {
        for (auto& worker : workers_) {
            std::promise<void> told;
            worker->loop().post_message([&] {
                io::FramePool::here().refuse_the(n);
                told.set_value();
            });
            told.get_future().wait();
        }
    }

    Registry metrics;
    std::unique_ptr<Pods> pods;

private:
    xds::ThreadExecutor certificates_{"xds", system_clock()};
    SilentCa ca_;
    ztunnel::Settings settings_;
    ztunnel::Certs certs_{certificates_, ca_, {}, metrics};
    std::array<std::unique_ptr<ztunnel::Worker>, 2> workers_;
    io::Loop control_;
    io::Scope scope_;
    std::thread thread_;
};

Fd tcp_in(int network_namespace) {
    return *io::inside({network_namespace},
                       [] { return Result<Fd>(Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))); });
}

sockaddr_in at(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

// A client in that namespace, connected to the port; an empty one where nobody listens.
Fd client(int network_namespace, std::uint16_t port) {
    Fd fd = tcp_in(network_namespace);
    const sockaddr_in to = at(port);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd.reset();
    return fd;
}

bool listens(int network_namespace, std::uint16_t port) { return client(network_namespace, port).get() >= 0; }

bool is_open(const Fd& fd) {
    if (fd.get() < 0) return false;
    pollfd look{.fd = fd.get(), .events = POLLIN, .revents = 0};
    return poll(&look, 1, 0) == 0;
}

std::size_t count(const std::string& text, std::string_view word) {
    std::size_t found = 0;
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
    return found;
}

constexpr std::uint16_t hbone = 15008;

}  // namespace

TEST_CASE("a pod listens in its own namespace, and naming it again changes nothing [C-2, Z-6]", "[pods]") {
    auto pod = new_netns();
    CULVERT_SKIP_WITHOUT(pod);
    Stage stage;
    REQUIRE(stage.add("u1", pod->get()));
    for (std::uint16_t port : {std::uint16_t{15001}, std::uint16_t{15006}, hbone}) {
        CHECK(listens(pod->get(), port));
        CHECK_FALSE(listens(io::own_namespace.handle, port));
    }
    Fd open = client(pod->get(), hbone);
    REQUIRE(stage.add("u1", pod->get()));
    CHECK(is_open(open));
    CHECK(stage.metrics.counter("workload_manager_proxies_started", "").value() == 1);
}

TEST_CASE("the same pod in another namespace is a new one, and the old one ends first [Z-6]", "[pods]") {
    auto before = new_netns();
    CULVERT_SKIP_WITHOUT(before);
    auto after = new_netns();
    CULVERT_SKIP_WITHOUT(after);
    Stage stage;
    REQUIRE(stage.add("u1", before->get()));
    Fd open = client(before->get(), hbone);
    REQUIRE(is_open(open));
    REQUIRE(stage.add("u1", after->get()));
    CHECK_FALSE(is_open(open));
    CHECK_FALSE(listens(before->get(), hbone));
    CHECK(listens(after->get(), hbone));
    CHECK(stage.pods->uids() == std::vector<std::string>{"u1"});
}

TEST_CASE("a port that an app holds is named, nothing stays open behind it, and a later try works",
          "[pods]") {
    auto pod = new_netns();
    CULVERT_SKIP_WITHOUT(pod);
    Stage stage;
    Fd app = tcp_in(pod->get());
    const sockaddr_in own = at(hbone);
    REQUIRE(bind(app.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
    REQUIRE(listen(app.get(), 1) == 0);
    auto added = stage.add("u1", pod->get());
    REQUIRE_FALSE(added);
    CHECK(added.error().text.starts_with("port 15008 of pod u1"));
    CHECK_FALSE(listens(pod->get(), 15001));
    CHECK(stage.pods->uids().empty());
    app.reset();
    CHECK(stage.add("u1", pod->get()));
}

TEST_CASE("a removal returns when every connection has ended [R-15]", "[pods]") {
    auto pod = new_netns();
    CULVERT_SKIP_WITHOUT(pod);
    Stage stage;
    REQUIRE(stage.add("u1", pod->get()));
    std::vector<Fd> open;
    for (int i = 0; i < 20; ++i) open.push_back(client(pod->get(), hbone));
    REQUIRE(stage.remove("u1"));
    CHECK(std::ranges::none_of(open, is_open));
    CHECK_FALSE(listens(pod->get(), hbone));
    CHECK(stage.remove("u1"));
}

TEST_CASE("a removal without memory for it says so, and the next one ends the pod", "[pods]") {
    auto pod = new_netns();
    CULVERT_SKIP_WITHOUT(pod);
    const std::uint64_t refused = GENERATE(1u, 2u);
    Stage stage;
    REQUIRE(stage.add("u1", pod->get()));
    Fd open = client(pod->get(), hbone);
    stage.refuse_a_frame(refused);
    auto removed = stage.remove("u1");
    REQUIRE_FALSE(removed);
    CHECK(removed.error().reason == Reason::limit);
    CHECK(stage.pods->uids() == std::vector<std::string>{"u1"});
    stage.refuse_a_frame(0);
    REQUIRE(stage.remove("u1"));
    CHECK(stage.pods->uids().empty());
    CHECK_FALSE(is_open(open));
    CHECK_FALSE(listens(pod->get(), hbone));
}

TEST_CASE("a data loop that does not turn holds up neither the control loop nor what the others say",
          "[pods]") {
    Stage stage;
    auto stuck = stage.stick(0);
    std::vector<std::optional<std::string>> said;
    auto asking =
        std::async(std::launch::async, [&] { return stage.run([&](Pods&) { return stage.ask_all(said); }); });
    CHECK(stage.run([](Pods& all) { return all.remove("unknown"); }));  // meanwhile it turns
    REQUIRE(asking.get());
    CHECK_FALSE(said[0]);
    CHECK(said[1]);
    stuck.set_value();
}

TEST_CASE("what one listener accepts is spread over the workers", "[pods]") {
    auto pod = new_netns();
    CULVERT_SKIP_WITHOUT(pod);
    Stage stage;
    REQUIRE(stage.add("u1", pod->get()));
    std::vector<Fd> open;
    for (int i = 0; i < 8; ++i) open.push_back(client(pod->get(), hbone));
    auto open_on = [&](std::size_t worker) { return count(stage.parked(worker), "serve_inbound"); };
    for (int i = 0; i < 500 && open_on(0) + open_on(1) < 8; ++i) std::this_thread::sleep_for(10ms);
    CHECK(open_on(0) == 4);
    CHECK(open_on(1) == 4);
}

TEST_CASE("a drain takes nothing new and leaves alone what is open [H-36]", "[pods]") {
    auto pod = new_netns();
    CULVERT_SKIP_WITHOUT(pod);
    Stage stage;
    REQUIRE(stage.add("u1", pod->get()));
    Fd open = client(pod->get(), hbone);
    REQUIRE(stage.run([](Pods& all) { return all.drain(); }));
    CHECK_FALSE(listens(pod->get(), hbone));
    CHECK(is_open(open));
    REQUIRE(stage.run([](Pods& all) { return all.cut_all(Reason::draining); }));
    CHECK_FALSE(is_open(open));
}
