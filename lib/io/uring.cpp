#include "lib/io/uring.h"

#include "lib/io/system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <liburing.h>
#include <poll.h>
#include <sanitizer/asan_interface.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace culvert::io {
namespace {

constexpr unsigned submissions = 1024;  // more in one turn are flushed early
// More completions in one turn go to the kernel's overflow list: slower, not lost.
constexpr unsigned completion_entries = 16384;
constexpr std::size_t send_max = 1 << 30;  // of one operation: lengths in the ring have 32 bits
// User data of the eventfd's poll; cancels have 0, operations their address.
constexpr std::uint64_t wake_mark = 1;

// Memory from the kernel, zeroed and page-aligned.
class Pages {
public:
    explicit Pages(std::size_t size)
        : size_(size),
          at_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
    ~Pages() {
        if (!ok()) return;
        ASAN_UNPOISON_MEMORY_REGION(at_, size_);
        ::munmap(at_, size_);
    }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    bool ok() const { return at_ != MAP_FAILED; }
    std::byte* bytes() const { return static_cast<std::byte*>(at_); }

private:
    std::size_t size_;
    void* at_;
};

// The receive buffers that the kernel may choose from. A buffer that is nobody's is poisoned under ASan: the
// kernel writes there, and nobody of ours may look.
class Shelf {
public:
    explicit Shelf(const UringOptions& options)
        : options_(options), ring_(options.buffers * sizeof(io_uring_buf)),
          storage_(std::size_t{options.buffers} * options.buffer_size) {}

    int attach(io_uring& ring) {
        if (!ring_.ok() || !storage_.ok()) return -ENOMEM;
        io_uring_buf_reg registration{};
        registration.ring_addr = reinterpret_cast<std::uintptr_t>(ring_.bytes());
        registration.ring_entries = options_.buffers;
        int error = io_uring_register_buf_ring(&ring, &registration, 0);
        if (error != 0) return error;
        io_uring_buf_ring_init(entries());
        for (unsigned i = 0; i < options_.buffers; ++i) put(static_cast<int>(i));
        return 0;
    }
    void put(int id) {
        ASAN_POISON_MEMORY_REGION(at(id), options_.buffer_size);
        io_uring_buf_ring_add(entries(), at(id), options_.buffer_size, static_cast<unsigned short>(id),
                              io_uring_buf_ring_mask(options_.buffers), 0);
        io_uring_buf_ring_advance(entries(), 1);
        ++here_;
    }
    void taken(int id, int size) {
        --here_;
        if (size > 0) ASAN_UNPOISON_MEMORY_REGION(at(id), static_cast<std::size_t>(size));
    }
    Bytes buffer(int id) const { return {at(id), options_.buffer_size}; }
    std::size_t buffer_size() const { return options_.buffer_size; }
    unsigned here() const { return here_; }  // as far as reaped completions tell

private:
    io_uring_buf_ring* entries() const { return reinterpret_cast<io_uring_buf_ring*>(ring_.bytes()); }
    std::byte* at(int id) const {
        return storage_.bytes() + static_cast<std::size_t>(id) * options_.buffer_size;
    }
    UringOptions options_;
    Pages ring_;
    Pages storage_;
    unsigned here_ = 0;
};

class Uring final : public Driver {
public:
    explicit Uring(const UringOptions& options)
        : shelf_(options), connecting_(submissions), random_(system_seed()) {}
    ~Uring() override {
        check(in_flight_ == 0);
        if (open_) io_uring_queue_exit(&ring_);
    }
    Result<Done> open();

    void submit(Op& op) override;
    void cancel(Op& op) override;
    void turn(std::optional<Instant> until, std::vector<Op*>& done) override;
    void wake() override;
    std::size_t in_flight() const override { return in_flight_; }
    bool idle() const override { return in_flight_ == 0; }

    std::size_t buffer_size() const override { return shelf_.buffer_size(); }
    Bytes buffer(int id) override { return shelf_.buffer(id); }
    void give_back(int id) override { shelf_.put(id); }

    Result<int> listen(Namespace where, Address at, const ListenOptions& options) override {
        TRY(Fd fd, listen_in(where, at, options));
        return fd.release();
    }
    Result<int> stream(Namespace where, Address to, const ConnectOptions& options) override {
        TRY(Fd fd, stream_in(where, to, options, random_));
        return fd.release();
    }
    Result<std::size_t> try_send(int handle, std::span<const ConstBytes> pieces) override {
        return try_send_now(handle, pieces);
    }
    // Fails if the connection is gone already.
    void shut_write(int handle) override { (void)::shutdown(handle, SHUT_WR); }
    void reset_on_close(int handle) override { reset_on_close_of(handle); }
    void close(int handle) override { Fd gone(handle); }
    Result<Address> local(int handle) override { return local_of(handle); }
    Result<Address> peer(int handle) override { return peer_of(handle); }
    Result<Address> original_destination(int handle) override { return original_destination_of(handle); }
    bool client_bound(int handle) override { return client_bound_of(handle); }
    bool broken(int handle) override { return is_broken(handle); }

    const Clock& clock() const override { return system_clock(); }
    Random& random() override { return random_; }

private:
    io_uring_sqe& entry();
    void enable();
    void prepare(Op& op);
    void watch_wake();
    void feed_starved();
    void enter(std::optional<Instant> until);
    void reap(std::vector<Op*>& done);
    void completed(Op& op, const io_uring_cqe& cqe, std::vector<Op*>& done);

    io_uring ring_{};
    bool open_ = false;
    bool enabled_ = false;
    Shelf shelf_;
    Fd wake_fd_;
    // By submission slot: the kernel reads it when it takes the entry.
    std::vector<SocketAddress> connecting_;
    std::deque<Op*> starved_;     // receives that found no buffer, in the order in which they did
    std::vector<Op*> cancelled_;  // starved ones whose cancel must still be delivered
    std::size_t in_flight_ = 0;
    SeededRandom random_;
};

std::unexpected<Error> cannot_open(int number) {
    Error error = os_error(number);
    error.reason = Reason::missing_feature;
    switch (number) {
    case EPERM:
        error.text =
            "io_uring is disabled: set the sysctl kernel.io_uring_disabled=0, or allow io_uring_setup in the "
            "container's seccomp profile";
        break;
    case ENOSYS:
        error.text = "this kernel has no io_uring, or seccomp hides it: Linux 6.1 or newer is needed";
        break;
    case EINVAL:
        error.text = "this kernel's io_uring lacks IORING_SETUP_DEFER_TASKRUN or provided-buffer rings: "
                     "Linux 6.1 or newer "
                     "is needed";
        break;
    case ENOMEM:
        error.text =
            "no memory for io_uring: raise the memory limit of the process's group (or RLIMIT_MEMLOCK)";
        break;
    default: error.text = std::string("cannot set up io_uring: ") + std::strerror(number);
    }
    return std::unexpected(std::move(error));
}

// Disabled until the first turn, so that the thread that runs the loop becomes the single issuer, whoever
// made the driver.
Result<Done> Uring::open() {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
                   IORING_SETUP_CQSIZE;
    params.cq_entries = completion_entries;
    int error = io_uring_queue_init_params(submissions, &ring_, &params);
    if (error != 0) return cannot_open(-error);
    open_ = true;
    error = shelf_.attach(ring_);
    if (error != 0) return cannot_open(-error);
    wake_fd_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_fd_.open()) return cannot_open(errno);
    return Done{};
}

void Uring::enable() {
    // By its number: liburing 2.3 declares io_uring_enable_rings() but does not export it.
    check(::syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) == 0);
    enabled_ = true;
    watch_wake();
}

io_uring_sqe& Uring::entry() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (!sqe) {
        if (!enabled_) enable();
        io_uring_submit(&ring_);
        sqe = io_uring_get_sqe(&ring_);
        check(sqe != nullptr);
    }
    return *sqe;
}

void Uring::submit(Op& op) {
    check(!op.in_flight);
    op.in_flight = true;
    op.cancel_asked = false;
    ++in_flight_;
    prepare(op);
}

void Uring::prepare(Op& op) {
    io_uring_sqe& sqe = entry();
    switch (op.kind) {
    case Op::Kind::recv:
        check(op.most > 0);
        io_uring_prep_recv(&sqe, op.handle, nullptr, std::min(op.most, shelf_.buffer_size()), 0);
        sqe.flags |= IOSQE_BUFFER_SELECT;
        sqe.buf_group = 0;
        break;
    case Op::Kind::send:
        io_uring_prep_send(&sqe, op.handle, op.data, std::min(op.most, send_max), MSG_NOSIGNAL | MSG_WAITALL);
        break;
    case Op::Kind::accept: io_uring_prep_accept(&sqe, op.handle, nullptr, nullptr, SOCK_CLOEXEC); break;
    case Op::Kind::connect: {
        SocketAddress& to = connecting_[static_cast<std::size_t>(&sqe - ring_.sq.sqes)];
        to = to_system(*op.address);
        io_uring_prep_connect(&sqe, op.handle, &to.any, to.size);
        break;
    }
    case Op::Kind::readable: io_uring_prep_poll_add(&sqe, op.handle, POLLIN); break;
    case Op::Kind::writable: io_uring_prep_poll_add(&sqe, op.handle, POLLOUT); break;
    default: bug("no operation of a driver");
    }
    io_uring_sqe_set_data(&sqe, &op);
}

// A receive that waits for a buffer is not in the kernel: its cancel is delivered by the next turn.
void Uring::cancel(Op& op) {
    if (!op.in_flight) return;
    op.cancel_asked = true;
    if (auto at = std::ranges::find(starved_, &op); at != starved_.end()) {
        starved_.erase(at);
        cancelled_.push_back(&op);
        return;
    }
    io_uring_sqe& sqe = entry();
    io_uring_prep_cancel(&sqe, &op, 0);
    io_uring_sqe_set_data64(&sqe, 0);
}

void Uring::wake() {
    std::uint64_t one = 1;
    (void)!::write(wake_fd_.get(), &one, sizeof one);  // full means that it is awake
}

void Uring::watch_wake() {
    io_uring_sqe& sqe = entry();
    io_uring_prep_poll_multishot(&sqe, wake_fd_.get(), POLLIN);
    io_uring_sqe_set_data64(&sqe, wake_mark);
}

void Uring::turn(std::optional<Instant> until, std::vector<Op*>& done) {
    if (!enabled_) enable();
    feed_starved();
    for (Op* op : cancelled_) {
        op->in_flight = false;
        op->result = -ECANCELED;
        op->buffer = -1;
        --in_flight_;
        done.push_back(op);
    }
    cancelled_.clear();
    if (!done.empty() || io_uring_cq_ready(&ring_) > 0) until = Instant{};
    enter(until);
    reap(done);
}

// As many as there are buffers, in turn: the rest would only come back.
void Uring::feed_starved() {
    for (unsigned buffers = shelf_.here(); buffers > 0 && !starved_.empty(); --buffers) {
        prepare(*starved_.front());
        starved_.pop_front();
    }
}

// Submits, lets the kernel complete what it deferred, and waits. EINTR, and EBUSY while the overflow list is
// full, end in a turn without completions.
void Uring::enter(std::optional<Instant> until) {
    if (!until) {
        (void)io_uring_submit_and_wait(&ring_, 1);
        return;
    }
    Duration left = *until == Instant{} ? Duration{} : *until - clock().now();
    if (left <= Duration{}) {
        (void)io_uring_submit_and_get_events(&ring_);
        return;
    }
    __kernel_timespec timeout{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    io_uring_cqe* first = nullptr;
    (void)io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr);
}

void Uring::reap(std::vector<Op*>& done) {
    unsigned head = 0, seen = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
        if (done.size() >= completions_max) break;
        ++seen;
        std::uint64_t mark = io_uring_cqe_get_data64(cqe);
        if (mark == wake_mark) {
            std::uint64_t count = 0;
            (void)!::read(wake_fd_.get(), &count, sizeof count);
            if (!(cqe->flags & IORING_CQE_F_MORE)) watch_wake();
        } else if (mark != 0) {
            completed(*static_cast<Op*>(io_uring_cqe_get_data(cqe)), *cqe, done);
        }
    }
    io_uring_cq_advance(&ring_, seen);
}

void Uring::completed(Op& op, const io_uring_cqe& cqe, std::vector<Op*>& done) {
    op.result = cqe.res;
    op.buffer = -1;
    if (cqe.flags & IORING_CQE_F_BUFFER) {
        op.buffer = static_cast<std::int16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
        shelf_.taken(op.buffer, op.result);
        if (op.result < 0) {
            shelf_.put(op.buffer);
            op.buffer = -1;
        }
    }
    if (op.kind == Op::Kind::recv && op.result == -ENOBUFS) {
        if (!op.cancel_asked) {
            starved_.push_back(&op);
            return;
        }
        op.result = -ECANCELED;
    }
    op.in_flight = false;
    --in_flight_;
    done.push_back(&op);
}

}  // namespace

Result<std::unique_ptr<Driver>> make_uring(const UringOptions& options) {
    auto driver = std::make_unique<Uring>(options);
    TRY_DONE(driver->open());
    return driver;
}

}  // namespace culvert::io
