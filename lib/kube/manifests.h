// A directory of YAML manifests as the source of objects: the embedded default, without Kubernetes.
//
// Files named *.yaml, *.yml or *.json that do not begin with a dot, in the directory itself (no
// subdirectories), each with any number of documents, each an object or a List. A file is good or bad as a
// whole: a bad file leaves its last good objects in force, is reported as a Problem and is read again when it
// changes. So is a file of several objects that holds none any more, and so is the directory as a whole when
// its files go at once or its file system is another one without them: an unmounted disk or a failed copy
// must not open the mesh. Two objects of one kind, namespace and name are a Problem, and so are two pods of
// one uid; the oldest is in force (creationTimestamp, then file, then order: decision 14).
//
// Reading never throws and never blocks on a peer; what a file may cost is bounded (docs/limits.md:
// manifests.*). load() and Directory are plain values, for any one thread; Watch has a thread of its own that
// waits on inotify.
#pragma once
#include "lib/base/result.h"
#include "lib/kube/objects.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::kube {

inline constexpr std::size_t file_bytes_max = 16u << 20;
inline constexpr std::size_t files_max = 10'000;
inline constexpr std::size_t file_problems_max = 50;

// What is wrong where, and what to do about it. An error makes its file bad; a warning does not.
struct Problem {
    enum class Severity : std::uint8_t { error, warning };
    Severity severity = Severity::error;
    std::string file;
    int line = 0;             // 0: the file as a whole
    std::string object;       // "Pod default/web", empty when it is not known yet
    std::string field;        // "spec.ports[0].port", empty: the object as a whole
    std::string message;      // a sentence
    std::string fix;          // a sentence; may be empty
    std::string effect = {};  // of a bad file: what is in force instead; may be empty
    // "pods.yaml:12: error: Pod default/web: spec.nodename: unknown field; did you mean nodeName?"
    std::string to_string() const;
    auto operator<=>(const Problem&) const = default;
};

// One file's content. Pure. `name` is what origins and problems call the file.
struct Parsed {
    std::vector<ObjectPtr> objects;  // in the order of the file; nothing when there is an error
    std::vector<Problem> problems;   // at most file_problems_max
    bool good() const;
};
Parsed parse_manifest(std::string_view name, std::string_view text);

// What is in force. Immutable once published; objects of unchanged files are the same pointers as before.
struct Snapshot {
    std::map<Key, ObjectPtr> objects;
    std::vector<Problem> problems;
    std::size_t files = 0;  // none at all: the directory says nothing about objects that were there once
    bool read = false;      // the directory could be read at least once: no objects means that there are none
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

// The directory as last read: knows each file's last good objects. With `keep`, a directory of the caller's
// that exists, they also survive a restart: the text of each good file is kept there, and read where the file
// is bad at the start. Without it a program that starts with a broken policy would do without that policy.
class Directory {
public:
    explicit Directory(std::string path, std::string keep = {})
        : path_(std::move(path)), keep_(std::move(keep)) {}
    // Reads what is new or changed (by inode, size and time) and drops what is gone. True if anything
    // differs. With names: looks at these entries only, so that a file that is being written is left alone
    // until it is closed.
    bool refresh();
    bool refresh(const std::set<std::string>& names);
    SnapshotPtr snapshot() const;  // built on demand
    const std::string& path() const { return path_; }
    // What is there may be another directory than the one that was read: look again before long.
    bool lost() const { return lost_; }

private:
    struct File {
        std::string stamp;               // inode, size, times: a change means read again
        std::vector<ObjectPtr> objects;  // the last good ones
        std::vector<Problem> problems;
    };
    bool look_at(const std::string& name);
    bool read(const std::string& name, File& file);
    bool forget(const std::string& name);
    void remember(const std::string& name, const std::string& text) const;
    std::vector<ObjectPtr> remembered(const std::string& name) const;
    void drop_remembered(const std::set<std::string>& names) const;
    void recall();
    struct Listing;
    Result<Listing> list() const;
    Result<Done> believe(const Listing& listing) const;
    bool lose(const Error& why);

    std::string path_, keep_;
    std::map<std::string, File> files_;
    std::vector<Problem> problems_;  // of the directory itself
    std::uint64_t device_ = 0;       // of the directory as last believed
    bool read_ = false;
    bool lost_ = false;
};

// Once: `culvert` commands and tests.
SnapshotPtr load(const std::string& path);

// Calls `changed` with what is in force: once from start() before it returns, then on the watch's own thread
// after each change. Writers should write a new file and rename it over the old one: a file is read when it
// is closed or moved in.
class Watch {
public:
    using Changed = std::function<void(SnapshotPtr)>;
    // Fails when inotify does. A directory that does not exist (yet, or any more) is a Problem, not an error.
    // `keep`: see Directory.
    static Result<std::unique_ptr<Watch>> start(std::string path, Changed changed, std::string keep = {});
    ~Watch();  // joins the thread; `changed` is not called any more
    Watch(const Watch&) = delete;

private:
    Watch();
    struct Inside;
    std::unique_ptr<Inside> inside_;
};

}  // namespace culvert::kube
