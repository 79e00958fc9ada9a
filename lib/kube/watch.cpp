// The thread behind kube::Watch: inotify in, snapshots out. What happens while a change is being handled is
// handled together afterwards, so that a burst costs one round and a single change waits for nothing.
#include "lib/kube/manifests.h"

#include "lib/base/fd.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <thread>
#include <unistd.h>

namespace culvert::kube {
namespace {

// Files are read when a writer closes them or a name changes; IN_MODIFY would show half of one.
constexpr std::uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |
                                 IN_MOVE_SELF | IN_CREATE | IN_ATTRIB | IN_ONLYDIR;
constexpr int retry_ms = 1000;  // while the directory is missing, or is not the one that was read

// What a batch of events asks for.
struct Work {
    std::set<std::string> names;
    bool everything = false;
    bool watch_lost = false;
};

void add_event(const inotify_event& event, Work& work) {
    if (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) {
        work.watch_lost = work.everything = true;
    } else if (event.mask & IN_Q_OVERFLOW) {
        work.everything = true;
    } else if (event.len > 0) {
        const std::string name(event.name);
        // A hidden name may be the `..data` of a mounted ConfigMap, which moves all files at once. Other
        // hidden files, an editor's, cost one look at every file's times.
        if (name.starts_with(".."))
            work.everything = true;
        else
            work.names.insert(name);
    }
}

}  // namespace

struct Watch::Inside {
    Directory directory;
    Changed changed;
    Fd notify, stop;
    int watched = -1;
    std::thread thread;

    Inside(std::string path, Changed callback, std::string keep)
        : directory(std::move(path), std::move(keep)), changed(std::move(callback)) {}

    void watch_again() {
        if (watched >= 0) ::inotify_rm_watch(notify.get(), watched);
        watched = ::inotify_add_watch(notify.get(), directory.path().c_str(), events);
    }

    // A mount over the directory tells nobody: while it is lost, the path may lead elsewhere at any moment.
    bool has_watch() const { return watched >= 0 && !directory.lost(); }

    Work read_events() {
        Work work;
        alignas(inotify_event) std::array<char, 16384> buffer;
        for (;;) {
            const ssize_t got = ::read(notify.get(), buffer.data(), buffer.size());
            if (got <= 0) return work;
            for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
                const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
                at += sizeof(inotify_event) + event->len;
                if ((event->mask & IN_CREATE) && !is_link(event->name)) continue;
                if ((event->mask & IN_IGNORED) && event->wd != watched)
                    continue;  // of our own inotify_rm_watch
                add_event(*event, work);
            }
        }
    }

    // A new regular file is left alone until it is closed; a new symbolic link is complete at once.
    bool is_link(const char* name) const {
        std::array<char, 1> target{};
        const std::string path = directory.path() + "/" + name;
        return ::readlink(path.c_str(), target.data(), target.size()) >= 0;
    }

    void run() {
        for (;;) {
            std::array<pollfd, 2> wait{{{stop.get(), POLLIN, 0}, {notify.get(), POLLIN, 0}}};
            const int ready = ::poll(wait.data(), wait.size(), has_watch() ? -1 : retry_ms);
            if (ready < 0 && errno != EINTR) return;
            if (wait[0].revents) return;
            Work work = read_events();
            if (work.watch_lost || !has_watch()) {
                watch_again();
                work.everything = true;
            }
            const bool differs = work.everything ? directory.refresh() : directory.refresh(work.names);
            if (differs) changed(directory.snapshot());
        }
    }
};

Watch::Watch() = default;

Result<std::unique_ptr<Watch>> Watch::start(std::string path, Changed changed, std::string keep) {
    std::unique_ptr<Watch> watch(new Watch());
    watch->inside_ = std::make_unique<Inside>(std::move(path), std::move(changed), std::move(keep));
    Inside& in = *watch->inside_;
    in.notify = Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    in.stop = Fd(::eventfd(0, EFD_CLOEXEC));
    if (!in.notify.open() || !in.stop.open())
        return refuse(Reason::io, std::string("inotify cannot be used: ") + std::strerror(errno) +
                                      "; raise fs.inotify.max_user_instances");
    in.watch_again();  // before the first look, so that nothing falls between
    in.directory.refresh();
    in.changed(in.directory.snapshot());
    in.thread = std::thread([&in] { in.run(); });
    return watch;
}

Watch::~Watch() {
    if (!inside_ || !inside_->thread.joinable()) return;
    const std::uint64_t one = 1;
    (void)!::write(inside_->stop.get(), &one, sizeof one);
    inside_->thread.join();
}

}  // namespace culvert::kube
