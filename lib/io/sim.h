// The simulated world: namespaces with addresses, listeners and memory pipes, one seeded source of chance,
// one virtual clock. The same programs run on it as on io_uring; a seed replays a run exactly.
//
// What the seed decides: which completion comes next, where reads and writes are cut, how long each operation
// is delayed, when a socket is full, what a cancelled operation had already done. Time stands still while
// anything can happen and then jumps to the next timer. One thread runs all of it; several loops may share a
// network, each with a driver of its own.
//
// Capture as in bpf/: a connect from an enrolled pod's app to a foreign address arrives at that pod's
// CV_ROLE_OUTBOUND listener, which learns the original destination; what enters an enrolled pod arrives at
// CV_ROLE_HBONE (port 15008) or CV_ROLE_INBOUND (all other ports), approved flows excepted; without a
// listener it is refused, never delivered. Sockets of Who::mesh are exempt and alone may announce roles and
// tell the real client. TCP only: readable, writable and everything by descriptor are refused with
// EOPNOTSUPP.
//
// Buffers: each receive has memory of its own, of exactly its size, freed when it is given back, so that ASan
// sees what reads outside or afterwards. One that is held when a turn begins was kept across an await, which
// stops the test; so does a send whose bytes changed while it was in flight.
#pragma once
#include "lib/io/driver.h"
#include "lib/io/loop.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace culvert::io {

class SimDriver;
struct SimSocket;

struct SimOptions {
    std::uint64_t seed = 1;
    unsigned cut_permille = 300;    // reads and writes that are shorter than they could be
    unsigned full_permille = 100;   // direct sends that find no room although there is some
    unsigned delay_permille = 200;  // operations that are delayed, by up to delay_max
    Duration delay_max = std::chrono::milliseconds(5);
    unsigned reset_permille = 0;        // steps of a connection between two namespaces that find it reset
    std::size_t pipe_bytes = 64 << 10;  // in one direction of a connection
    unsigned buffers = 16;
    std::size_t buffer_size = 256 << 10;
};

class SimNetwork {
public:
    enum class Who : std::uint8_t { app, mesh };  // mesh: as if in ztunnel's own cgroup

    explicit SimNetwork(const SimOptions& options);
    ~SimNetwork();  // checks that every socket was closed
    SimNetwork(const SimNetwork&) = delete;
    SimNetwork& operator=(const SimNetwork&) = delete;

    Namespace add(std::string name, std::vector<Ip> addresses);
    std::unique_ptr<SimDriver> driver(Who who);  // for one loop; the network outlives it

    // Runs several loops, each with a driver of this network, until `enough` (asked between turns) says so,
    // nothing can happen any more, or `at_most` has passed, which is what ends a world with periodic timers.
    // One loop alone may use its own run_until_idle().
    enum class Rest : std::uint8_t { enough, idle, time_over };
    Rest run(std::span<Loop* const> loops, Duration at_most, const std::function<bool()>& enough = {});

    // The kernel's side of enrolment.
    void enrol(Namespace pod);
    void release(Namespace pod);
    void approve(Namespace from, Address to);  // node probes: reach the app natively
    // As without our agent: ENOPROTOOPT. And: the real client never arrives at the app's socket (S3).
    void refuse_real_client(bool refuse) { refuse_real_client_ = refuse; }
    void lose_binding(bool lose) { lose_binding_ = lose; }

    // Trouble. Port 0 means every port of the address.
    void refuse(Address at) { refused_.insert(at); }
    void black_hole(Address at) { holes_.insert(at); }  // connects there never end by themselves
    void heal(Address at);
    void reset(int handle);  // as if a RST arrived at this socket; the other end sees one too
    void reset_between(Namespace a, Namespace b);

    // The wire: what crossed between two namespaces, per connection and direction, since record() was called.
    struct Flow {
        Namespace from, to;
        Address source, destination;
        Buffer bytes;
    };
    void record() { recording_ = true; }
    const std::deque<Flow>& flows() const { return flows_; }
    bool crossed(std::string_view marker) const;  // did these bytes cross anywhere, in the clear?

    std::size_t sockets() const { return sockets_.size(); }
    const Clock& clock() const { return clock_; }
    Random& random() { return random_; }
    const SimOptions& options() const { return options_; }

private:
    friend class SimDriver;
    struct Place {
        std::string name;
        std::vector<Ip> addresses;
        bool enrolled = false;
        std::uint32_t next_port = 0;
    };
    class VirtualClock final : public Clock {
    public:
        Instant now() const override { return now_; }
        WallTime wall() const override;
        Instant now_{std::chrono::hours(1)};
    };
    struct Route {
        SimSocket* listener = nullptr;    // null: refused with `error`, or, without one, never answered
        std::optional<Address> original;  // steered: where the client wanted to go
        int error = 0;
    };

    bool chance(unsigned permille) { return random_.below(1000) < permille; }
    SimSocket& socket(int handle);
    SimSocket* find(int handle);
    SimSocket& add_socket(Namespace where, Who who);
    Place& place(Namespace where);
    std::optional<Namespace> owner_of(Ip ip) const;
    Route route(const SimSocket& from, Address to);
    Route steer(Namespace pod, const SimSocket& from, Address to);
    SimSocket* newest_listener(Namespace where, const std::function<bool(const SimSocket&)>& fits);
    Result<Address> source_for(const SimSocket& from, Address to);
    void establish(SimSocket& from, const Route& route, Address to);
    std::size_t room(const SimSocket& from);        // how much the other end would take
    void carry(SimSocket& from, ConstBytes bytes);  // into the other end's inbox
    void note_crossing(SimSocket& from, const SimSocket& to, ConstBytes bytes);
    bool crosses(const SimSocket& end);
    void fail_both(SimSocket& end);
    void fail_end(SimSocket& end);
    void close_socket(int handle);
    bool step_loops(std::span<Loop* const> loops);
    std::optional<Instant> next_event(std::span<Loop* const> loops) const;
    void jump(Instant to) { clock_.now_ = std::max(clock_.now_, to); }

    SimOptions options_;
    SeededRandom random_;
    VirtualClock clock_;
    std::vector<Place> places_;
    std::map<int, std::unique_ptr<SimSocket>> sockets_;  // ordered: iteration must not depend on addresses
    int next_handle_ = 1000;                             // never reused
    std::set<std::pair<int, Address>> approved_;
    std::set<Address> refused_;
    std::set<Address> holes_;
    std::deque<Flow> flows_;
    bool recording_ = false;
    bool refuse_real_client_ = false;
    bool lose_binding_ = false;
};

class SimDriver final : public Driver {
public:
    SimDriver(SimNetwork& network, SimNetwork::Who who);
    ~SimDriver() override;

    // The `n`-th call from now on that can fail (1: the next) does: an operation, a direct send, listen or
    // stream. Once.
    void fail_the(std::uint64_t n) { fail_in_ = n; }
    std::uint64_t calls() const { return calls_; }
    unsigned buffers_out() const { return out_; }  // held by somebody: none while the loop is at rest

    void submit(Op& op) override;
    void cancel(Op& op) override;
    void turn(std::optional<Instant> until, std::vector<Op*>& done) override;
    void wake() override {}
    std::size_t in_flight() const override { return pending_.size(); }
    bool idle() const override;

    std::size_t buffer_size() const override { return network_.options_.buffer_size; }
    Bytes buffer(int id) override;
    void give_back(int id) override;

    Result<int> listen(Namespace where, Address at, const ListenOptions& options) override;
    Result<int> stream(Namespace where, Address to, const ConnectOptions& options) override;
    Result<std::size_t> try_send(int handle, std::span<const ConstBytes> pieces) override;
    void shut_write(int handle) override;
    void reset_on_close(int handle) override;
    void close(int handle) override;
    Result<Address> local(int handle) override;
    Result<Address> peer(int handle) override;
    Result<Address> original_destination(int handle) override;
    bool client_bound(int handle) override;
    bool broken(int handle) override;

    const Clock& clock() const override { return network_.clock_; }
    Random& random() override { return random_; }

private:
    friend class SimNetwork;
    struct Pending {
        Op* op;
        Instant not_before;
        std::uint64_t content;  // of a send's bytes when it was submitted
        bool fails;
    };

    bool fails_now();
    Instant later();
    bool able(const Op& op) const;
    bool can_step(const Pending& pending) const;
    bool step_some(std::vector<Op*>& done);
    bool step(Pending& pending);  // true: it has completed
    bool step_failing(Op& op);
    bool step_recv(Op& op, SimSocket& socket);
    bool step_send(Pending& pending, SimSocket& socket);
    bool step_accept(Op& op, SimSocket& socket);
    bool step_connect(Op& op, SimSocket& socket);
    std::optional<Instant> next_ready() const;
    std::size_t cut(std::size_t size);

    SimNetwork& network_;
    SimNetwork::Who who_;
    SeededRandom random_;
    std::vector<Pending> pending_;
    std::vector<Buffer> buffers_;
    std::vector<int> free_;
    unsigned out_ = 0;
    std::uint64_t calls_ = 0;
    std::uint64_t fail_in_ = 0;
};

}  // namespace culvert::io
