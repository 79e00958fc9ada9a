// The seam that swaps the world: io_uring (uring.h) or a seeded simulator (sim.h). Everything that a proxy
// asks of the outside goes through here: operations that wait, socket calls that do not, time, and chance.
//
// A driver belongs to one loop and is used by that loop's thread alone, except wake(). Handles are small
// integers of this driver (descriptors for io_uring, numbers of the simulator's sockets otherwise); Socket
// and Listener own them.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/io/op.h"

#include <optional>
#include <span>
#include <vector>

namespace culvert::io {

// A network namespace: a descriptor of it (io_uring) or a pod's number (simulator). `own` is the process's.
struct Namespace {
    int handle = -1;
    bool operator==(const Namespace&) const = default;
};
inline constexpr Namespace own_namespace{};

struct ListenOptions {
    // cv_role of bpf/abi.h, announced with the private option where the agent is ours; 0: none.
    std::uint32_t role = 0;
    bool reuse_port = true;  // C-3: an old and a new ztunnel overlap
    int backlog = 1024;      // docs/limits.md: io.backlog
    std::uint32_t mark = 0;  // SO_MARK under istio-cni (C-2), 0: none
};

struct ConnectOptions {
    // Told to the kernel before connect (kernel contract d); if it refuses, the dial is an error.
    std::optional<Address> real_client = {};
    bool from_loopback = false;  // decision 2: IPv4 is bound to a random address of 127/8
    std::optional<Ip> bind = {};
    std::uint32_t mark = 0;
};

class Driver {
public:
    static constexpr std::size_t completions_max = 512;  // reaped in one turn

    virtual ~Driver() = default;

    // Operations. submit() sets in_flight; a later turn() clears it, fills `result` and queues the op.
    virtual void submit(Op& op) = 0;
    virtual void cancel(Op& op) = 0;  // asks; completes as -ECANCELED, or with what was done
    // Reaps what completed into `done`, at most completions_max. With nothing ready it waits until `until`
    // (none: until something happens).
    virtual void turn(std::optional<Instant> until, std::vector<Op*>& done) = 0;
    virtual void wake() = 0;  // from any thread: ends a waiting turn()
    virtual std::size_t in_flight() const = 0;
    virtual bool idle() const = 0;  // nothing will complete unless somebody submits something or time passes

    // Shared receive buffers: `buffer` after a recv that says which; given back before the next await.
    virtual std::size_t buffer_size() const = 0;
    virtual Bytes buffer(int id) = 0;
    virtual void give_back(int id) = 0;

    // Calls that do not wait. Errors carry errno in `detail`. stream() makes a socket for Op connect;
    // try_send() says 0 where it would have to wait. reset_on_close() makes the end a RST, which nobody
    // mistakes for a FIN (S17).
    virtual Result<int> listen(Namespace where, Address at, const ListenOptions& options) = 0;
    virtual Result<int> stream(Namespace where, Address to, const ConnectOptions& options) = 0;
    virtual Result<std::size_t> try_send(int handle, std::span<const ConstBytes> pieces) = 0;
    virtual void shut_write(int handle) = 0;
    virtual void reset_on_close(int handle) = 0;
    virtual void close(int handle) = 0;
    virtual Result<Address> local(int handle) = 0;
    virtual Result<Address> peer(int handle) = 0;
    // C-5, kernel fact 9; without a record: no_original_destination. S3: the app's socket carries the real
    // client.
    virtual Result<Address> original_destination(int handle) = 0;
    virtual bool client_bound(int handle) = 0;
    virtual bool broken(int handle) = 0;  // reset, or given up by its keepalive: seen without reading

    virtual const Clock& clock() const = 0;
    virtual Random& random() = 0;
};

// What the operating system's error number means to us: connect_refused, unreachable, reset, closed,
// cancelled, ...
Error os_error(int number);
inline std::unexpected<Error> refuse_os(int number) { return std::unexpected(os_error(number)); }

}  // namespace culvert::io
