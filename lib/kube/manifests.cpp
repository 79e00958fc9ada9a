#include "lib/kube/manifests.h"

#include "lib/base/escape.h"
#include "lib/base/fd.h"
#include "lib/kube/decode.h"
#include "lib/kube/yaml.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace culvert::kube {
namespace {

std::string stamp_of(const struct stat& s) {
    return std::to_string(s.st_dev) + "/" + std::to_string(s.st_ino) + "/" + std::to_string(s.st_size) + "/" +
           std::to_string(s.st_mtim.tv_sec) + "." + std::to_string(s.st_mtim.tv_nsec) + "/" +
           std::to_string(s.st_ctim.tv_sec) + "." + std::to_string(s.st_ctim.tv_nsec);
}

Problem problem_with(const std::string& file, std::string message, std::string fix = {}) {
    return {Problem::Severity::error, file, 0, {}, {}, std::move(message), std::move(fix)};
}

struct Text {
    std::string text;
    std::string error;  // empty: read
};

Text read_all(int fd, std::size_t size) {
    Text out;
    out.text.resize(size + 1);  // one more, to see that it did not grow beyond the limit
    std::size_t at = 0;
    while (at < out.text.size()) {
        const ssize_t got = ::read(fd, out.text.data() + at, out.text.size() - at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return {{}, std::string("cannot be read: ") + std::strerror(errno)};
        if (got == 0) break;
        at += static_cast<std::size_t>(got);
        if (at == out.text.size()) out.text.resize(std::min(at * 2, file_bytes_max + 1));
        if (at > file_bytes_max) break;
    }
    out.text.resize(at);
    return out;
}

bool all_good(const std::vector<Problem>& problems) {
    return std::ranges::none_of(problems,
                                [](const Problem& p) { return p.severity == Problem::Severity::error; });
}

bool is_manifest(std::string_view name) {
    if (name.starts_with('.')) return false;
    return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

Problem conflict(const Metadata& loser, const Key& key, const Origin& winner) {
    return {Problem::Severity::error,
            loser.origin.file,
            loser.origin.line,
            key.to_string(),
            "metadata.name",
            "is defined a second time; in force is the one of " + winner.file + ":" +
                std::to_string(winner.line),
            "remove one of the two"};
}

Problem same_uid(const Metadata& loser, const Key& key, const std::string& uid, const Key& owner,
                 const Origin& at) {
    return {Problem::Severity::error,
            loser.origin.file,
            loser.origin.line,
            key.to_string(),
            "metadata.uid",
            "is " + uid + ", as that of " + owner.to_string() + " at " + at.file + ":" +
                std::to_string(at.line) + ", which is older and in force alone",
            "give each pod its own uid, or none"};
}

// A uid is a pod's name towards ztunnel and the controller: two that shared one would be taken for each
// other. The oldest keeps it.
void refuse_shared_uids(Snapshot& in) {
    std::map<std::string_view, std::map<Key, ObjectPtr>::iterator> owners;
    for (auto at = in.objects.begin(); at != in.objects.end();) {
        const auto now = at++;
        const Metadata& mine = metadata_of(*now->second);
        if (now->first.kind != Kind::pod || mine.uid.empty()) continue;
        auto [owner, fresh] = owners.try_emplace(mine.uid, now);
        if (fresh) continue;
        auto loser = now;
        if (older(mine, metadata_of(*owner->second->second))) {
            loser = owner->second;
            owners.erase(owner);  // its key lies in the loser
            owner = owners.emplace(mine.uid, now).first;
        }
        const Metadata& theirs = metadata_of(*owner->second->second);
        in.problems.push_back(same_uid(metadata_of(*loser->second), loser->first, mine.uid,
                                       owner->second->first, theirs.origin));
        in.objects.erase(loser);
    }
}

}  // namespace

std::string Problem::to_string() const {
    std::string out = file;
    if (line > 0) out += ":" + std::to_string(line);
    out += severity == Severity::error ? ": error: " : ": warning: ";
    if (!object.empty()) out += object + ": ";
    if (!field.empty()) out += field + ": ";
    out += message;
    if (!effect.empty()) out += " (" + effect + ")";
    if (!fix.empty()) out += "; " + fix;
    return escaped(out);  // names and values are a manifest's
}

bool Parsed::good() const { return all_good(problems); }

Parsed parse_manifest(std::string_view name, std::string_view text) {
    Parsed out;
    Problems problems(name);
    const auto fault = parse_yaml(text, [&](Value&& document) { decode(document, problems, out.objects); });
    problems.about("");
    if (fault) problems.error(fault->line, "", fault->message, "the file must be well-formed YAML");
    const bool good = problems.errors() == 0;
    out.problems = problems.take();
    if (!good) out.objects.clear();
    return out;
}

bool Directory::read(const std::string& name, File& file) {
    const std::string path = path_ + "/" + name;
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat info{};
    if (!fd.open() || ::fstat(fd.get(), &info) != 0) {
        const int why = errno;
        if (why == ENOENT) return forget(name);
        std::string stamp = "errno " + std::to_string(why);
        if (file.stamp == stamp) return false;
        file.stamp = std::move(stamp);
        file.problems = {problem_with(path, std::string("cannot be opened: ") + std::strerror(why))};
        return true;
    }
    std::string stamp = stamp_of(info);
    if (file.stamp == stamp) return false;
    file.stamp = std::move(stamp);
    if (!S_ISREG(info.st_mode)) {
        file.problems = {problem_with(path, "is not a regular file")};
        return true;
    }
    const std::string too_large = "is larger than " + std::to_string(file_bytes_max >> 20) + " MiB";
    if (static_cast<std::size_t>(info.st_size) > file_bytes_max) {
        file.problems = {problem_with(path, too_large, "split it")};
        return true;
    }
    const Text content = read_all(fd.get(), static_cast<std::size_t>(info.st_size));
    if (!content.error.empty() || content.text.size() > file_bytes_max) {
        file.problems = {problem_with(path, content.error.empty() ? too_large : content.error)};
        return true;
    }
    Parsed parsed = parse_manifest(path, content.text);
    if (parsed.good() && parsed.objects.empty() && file.objects.size() > 1) {
        file.problems = {problem_with(path, "holds no objects any more: its last good ones stay in force",
                                      "remove the file if they should go")};
        return true;
    }
    if (parsed.good()) {
        file.objects = std::move(parsed.objects);
        remember(name, content.text);
    }
    file.problems = std::move(parsed.problems);
    return true;
}

bool Directory::forget(const std::string& name) {
    if (!keep_.empty()) (void)::unlink((keep_ + "/" + name).c_str());
    return files_.erase(name) > 0;
}

// Best effort: what cannot be kept is missing only if the file goes bad and we restart.
void Directory::remember(const std::string& name, const std::string& text) const {
    if (keep_.empty()) return;
    const std::string path = keep_ + "/" + name, draft = keep_ + "/." + name;
    (void)::unlink(draft.c_str());
    const Fd fd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    std::string_view rest = text;
    while (fd.open() && !rest.empty()) {
        const ssize_t put = ::write(fd.get(), rest.data(), rest.size());
        if (put <= 0) return;
        rest.remove_prefix(static_cast<std::size_t>(put));
    }
    if (fd.open()) (void)::rename(draft.c_str(), path.c_str());
}

std::vector<ObjectPtr> Directory::remembered(const std::string& name) const {
    if (keep_.empty()) return {};
    const Fd fd(::open((keep_ + "/" + name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info{};
    if (!fd.open() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
    const std::size_t size = std::min(static_cast<std::size_t>(info.st_size), file_bytes_max);
    return parse_manifest(path_ + "/" + name, read_all(fd.get(), size).text).objects;
}

// A program that starts before its disk is mounted knows by this what the disk should hold.
void Directory::recall() {
    std::unique_ptr<DIR, int (*)(DIR*)> directory(keep_.empty() ? nullptr : ::opendir(keep_.c_str()),
                                                  ::closedir);
    while (const dirent* entry = directory ? ::readdir(directory.get()) : nullptr)
        if (is_manifest(entry->d_name)) files_[entry->d_name].objects = remembered(entry->d_name);
}

// Files that went while nobody looked.
void Directory::drop_remembered(const std::set<std::string>& names) const {
    if (keep_.empty()) return;
    std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(keep_.c_str()), ::closedir);
    while (const dirent* entry = directory ? ::readdir(directory.get()) : nullptr)
        if (is_manifest(entry->d_name) && !names.contains(entry->d_name))
            (void)::unlink((keep_ + "/" + entry->d_name).c_str());
}

bool Directory::look_at(const std::string& name) {
    auto found = files_.find(name);
    if (found == files_.end() && files_.size() >= files_max) {
        problems_ = {
            problem_with(path_, "holds more than " + std::to_string(files_max) + " files: not all are read")};
        return true;
    }
    if (found != files_.end()) return read(name, found->second);
    File& file = files_[name];
    const bool changed = read(name, file);
    if (!files_.contains(name)) return false;  // a file that came and went is no change
    if (!all_good(file.problems)) file.objects = remembered(name);
    return changed;
}

bool Directory::refresh(const std::set<std::string>& names) {
    // A name that is gone may be the last of many that went at once: that is seen by looking at all.
    auto is_gone = [&](const std::string& name) {
        return files_.contains(name) && ::access((path_ + "/" + name).c_str(), F_OK) != 0;
    };
    if (lost_ || std::ranges::any_of(names, is_gone)) return refresh();
    bool changed = false;
    for (const std::string& name : names)
        if (is_manifest(name)) changed |= look_at(name);
    return changed;
}

struct Directory::Listing {
    std::set<std::string> names;
    std::uint64_t device = 0;
};

Result<Directory::Listing> Directory::list() const {
    std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path_.c_str()), ::closedir);
    struct stat about{};
    if (!directory || ::fstat(::dirfd(directory.get()), &about) != 0)
        return refuse(Reason::io, std::string("cannot be read: ") + std::strerror(errno));
    Listing listing{{}, about.st_dev};
    for (;;) {
        errno = 0;  // the end and an error look the same otherwise
        const dirent* entry = ::readdir(directory.get());
        if (!entry && errno != 0)
            return refuse(Reason::io, std::string("cannot be read to its end: ") + std::strerror(errno));
        if (!entry) return listing;
        if (is_manifest(entry->d_name)) listing.names.insert(entry->d_name);
    }
}

// Several objects that go at once are rather a mount that went than somebody's wish.
Result<Done> Directory::believe(const Listing& listing) const {
    std::size_t held = 0;
    bool missing = false;
    for (const auto& [name, file] : files_) {
        held += file.objects.size();
        missing |= !file.objects.empty() && !listing.names.contains(name);
    }
    if (held < 2 || !missing) return Done{};
    if (listing.names.empty())
        return refuse(Reason::closed, "holds no manifest any more: the last good objects stay in force");
    if (listing.device != device_)
        return refuse(
            Reason::closed,
            "is on another file system now, without some files: the last good objects stay in force");
    return Done{};
}

// The last good objects stay in force: losing a mount must not open the mesh.
bool Directory::lose(const Error& why) {
    lost_ = true;
    const char* fix = why.reason == Reason::closed
                          ? "mount it again; if these objects should really go, put an empty none.yaml there"
                          : "create the directory, or name another one with --manifests";
    std::vector<Problem> now = {problem_with(path_, why.text, fix)};
    return now != std::exchange(problems_, now);
}

bool Directory::refresh() {
    Result<Listing> listing = list();
    if (!listing) return lose(listing.error());
    if (!read_ && listing->names.empty()) {
        recall();
        device_ = listing->device;
    }
    if (Result<Done> believed = believe(*listing); !believed) {
        const bool first = !std::exchange(read_, true);
        return lose(believed.error()) || first;
    }
    std::vector<Problem> before = std::exchange(problems_, {});
    lost_ = false;
    device_ = listing->device;
    const std::set<std::string>& names = listing->names;
    const bool first = !std::exchange(read_, true);
    if (first) drop_remembered(names);
    bool changed = std::erase_if(files_, [&](const auto& file) { return !names.contains(file.first); }) > 0;
    if (changed) drop_remembered(names);
    for (const std::string& name : names) changed |= look_at(name);
    return changed || first || before != problems_;
}

SnapshotPtr Directory::snapshot() const {
    auto out = std::make_shared<Snapshot>();
    out->problems = problems_;
    out->read = read_;
    out->files = files_.size();
    for (const auto& [name, file] : files_) {
        for (Problem one : file.problems) {
            if (one.severity == Problem::Severity::error)
                one.effect = file.objects.empty() ? "nothing of this file is in force"
                                                  : "the version before stays in force";
            out->problems.push_back(std::move(one));
        }
    }
    for (const auto& [name, file] : files_) {
        for (const ObjectPtr& object : file.objects) {
            Key key = key_of(*object);
            auto [at, fresh] = out->objects.try_emplace(key, object);
            if (fresh) continue;
            ObjectPtr loser = object;
            if (older(metadata_of(*object), metadata_of(*at->second))) std::swap(loser, at->second);
            out->problems.push_back(conflict(metadata_of(*loser), key, metadata_of(*at->second).origin));
        }
    }
    refuse_shared_uids(*out);
    return out;
}

SnapshotPtr load(const std::string& path) {
    Directory directory(path);
    directory.refresh();
    return directory.snapshot();
}

}  // namespace culvert::kube
