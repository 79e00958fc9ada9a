// A directory of manifests over time: what stays in force when a file goes bad, and that a change needs no
// restart.
#include "lib/kube/manifests.h"

#include <catch2/catch.hpp>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <thread>

using namespace culvert;
using namespace culvert::kube;
namespace fs = std::filesystem;

namespace {

class Folder {
public:
    Folder() {
        std::string name = "/tmp/culvert-kube-XXXXXX";
        REQUIRE(::mkdtemp(name.data()));
        path_ = name;
    }
    ~Folder() { fs::remove_all(path_); }
    // Whole files appear at once, as docs advise.
    void put(const std::string& name, const std::string& text) const {
        std::ofstream(path_ / ".new") << text;
        fs::rename(path_ / ".new", path_ / name);
    }
    void remove(const std::string& name) const { fs::remove(path_ / name); }
    std::string path() const { return path_; }
    std::string file(const std::string& name) const { return path_ / name; }

private:
    fs::path path_;
};

std::string name_space(const std::string& name, const std::string& more = "") {
    return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + more + "}\n";
}

bool has(const SnapshotPtr& snapshot, const std::string& name) {
    return snapshot->objects.contains({Kind::name_space, "", name});
}

// Collects what a Watch says, and waits for it: no sleeping.
class Inbox {
public:
    void put(SnapshotPtr snapshot) {
        const std::lock_guard guard(lock_);
        last_ = std::move(snapshot);
        ++count_;
        changed_.notify_all();
    }
    template <class F> SnapshotPtr wait_for(F holds) {
        std::unique_lock guard(lock_);
        REQUIRE(changed_.wait_for(guard, std::chrono::seconds(30), [&] { return last_ && holds(last_); }));
        return last_;
    }
    int count() {
        const std::lock_guard guard(lock_);
        return count_;
    }

private:
    std::mutex lock_;
    std::condition_variable changed_;
    SnapshotPtr last_;
    int count_ = 0;
};

}  // namespace

TEST_CASE("a bad file leaves its last good objects in force, says why, and heals when it changes", "[kube]") {
    const Folder folder;
    Directory directory(folder.path());
    folder.put("a.yaml", name_space("a"));
    folder.put("b.yaml", name_space("b"));
    CHECK(directory.refresh());
    CHECK(directory.snapshot()->objects.size() == 2);
    CHECK_FALSE(directory.refresh());

    folder.put("a.yaml", name_space("a") + "spec: {finalizers: []}\ncolour: red\n");
    CHECK(directory.refresh());
    auto snapshot = directory.snapshot();
    CHECK(has(snapshot, "a"));
    CHECK(has(snapshot, "b"));
    REQUIRE(snapshot->problems.size() == 1);
    CHECK(snapshot->problems[0].file == folder.file("a.yaml"));
    CHECK(snapshot->problems[0].line == 5);
    CHECK(snapshot->problems[0].field == "colour");

    folder.put("a.yaml", name_space("c"));
    CHECK(directory.refresh());
    snapshot = directory.snapshot();
    CHECK_FALSE(has(snapshot, "a"));
    CHECK(has(snapshot, "c"));
    CHECK(snapshot->problems.empty());
}

TEST_CASE("a removed file takes its objects along, a missing directory does not", "[kube]") {
    const Folder folder;
    Directory directory(folder.path());
    folder.put("a.yaml", name_space("a"));
    folder.put("b.yaml", name_space("b"));
    directory.refresh();
    folder.remove("b.yaml");
    CHECK(directory.refresh());
    CHECK_FALSE(has(directory.snapshot(), "b"));

    fs::rename(folder.path(), folder.path() + ".away");
    CHECK(directory.refresh());
    CHECK(has(directory.snapshot(), "a"));
    CHECK(directory.snapshot()->problems.at(0).file == folder.path());
    fs::rename(folder.path() + ".away", folder.path());
    CHECK(directory.refresh());
    CHECK(directory.snapshot()->problems.empty());
}

TEST_CASE("files that all go at once leave their objects in force, until a file says it is meant", "[kube]") {
    const Folder folder, keep;
    Directory directory(folder.path(), keep.path());
    folder.put("a.yaml", name_space("a"));
    folder.put("b.yaml", name_space("b"));
    directory.refresh();
    folder.remove("a.yaml");
    folder.remove("b.yaml");
    const bool differs = GENERATE(true, false) ? directory.refresh() : directory.refresh({"a.yaml"});
    CHECK(differs);
    CHECK(directory.lost());
    auto snapshot = directory.snapshot();
    CHECK(has(snapshot, "a"));
    CHECK(has(snapshot, "b"));
    REQUIRE(snapshot->problems.size() == 1);
    CHECK(snapshot->problems[0].file == folder.path());
    CHECK(snapshot->problems[0].fix.find("none.yaml") != std::string::npos);
    CHECK_FALSE(directory.refresh());

    SECTION("they come back") {
        folder.put("a.yaml", name_space("a"));
        CHECK(directory.refresh({"a.yaml"}));
        CHECK(has(directory.snapshot(), "a"));
        CHECK_FALSE(has(directory.snapshot(), "b"));
        CHECK(directory.snapshot()->problems.empty());
    }
    SECTION("an empty file says so") {
        folder.put("none.yaml", "# nothing on purpose\n");
        CHECK(directory.refresh({"none.yaml"}));
        CHECK(directory.snapshot()->objects.empty());
        CHECK(directory.snapshot()->problems.empty());
    }
    SECTION("a restart, before the disk is mounted, does not") {
        Directory again(folder.path(), keep.path());
        CHECK(again.refresh());
        CHECK(again.lost());
        CHECK(again.snapshot()->read);
        CHECK(has(again.snapshot(), "a"));
        CHECK(again.snapshot()->problems.size() == 1);
        CHECK_FALSE(again.refresh());
        folder.put("none.yaml", "# nothing on purpose\n");
        CHECK(again.refresh());
        CHECK(again.snapshot()->objects.empty());
        CHECK(again.snapshot()->files == 1);
    }
}

TEST_CASE("a file of several objects that is emptied leaves them in force", "[kube]") {
    const Folder folder;
    Directory directory(folder.path());
    folder.put("a.yaml", name_space("a") + "---\n" + name_space("b"));
    folder.put("c.yaml", name_space("c"));
    directory.refresh();
    folder.put("a.yaml", "");
    CHECK(directory.refresh());
    CHECK(directory.snapshot()->objects.size() == 3);
    CHECK(directory.snapshot()->problems.at(0).file == folder.file("a.yaml"));
    folder.remove("a.yaml");
    CHECK(directory.refresh());
    CHECK(directory.snapshot()->objects.size() == 1);
}

TEST_CASE("another file system in place of the directory is believed only if it has the files that were read",
          "[kube]") {
    const Folder folder;
    bool mounted = false;
    // A thread of its own, with mounts that nobody else sees.
    std::thread([&] {
        if (::unshare(CLONE_FS | CLONE_NEWNS) != 0) return;
        if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return;
        folder.put("a.yaml", name_space("a"));
        folder.put("b.yaml", name_space("b"));
        Directory directory(folder.path());
        directory.refresh();
        if (::mount("none", folder.path().c_str(), "tmpfs", 0, nullptr) != 0) return;
        mounted = true;
        folder.put("a.yaml", name_space("a"));
        CHECK(directory.refresh());
        CHECK(directory.lost());
        CHECK(has(directory.snapshot(), "b"));
        CHECK(directory.snapshot()->problems.at(0).file == folder.path());
        folder.put("b.yaml", name_space("c"));  // the same files: it was mounted again
        CHECK(directory.refresh());
        CHECK_FALSE(directory.lost());
        CHECK(has(directory.snapshot(), "c"));
        CHECK(directory.snapshot()->problems.empty());
    }).join();
    if (!mounted) WARN("skipped: needs root");
}

TEST_CASE("with a place to keep them, the last good objects survive a restart into a bad file", "[kube]") {
    const Folder folder, keep;
    folder.put("a.yaml", name_space("a"));
    folder.put("b.yaml", name_space("b"));
    folder.put("c.yaml", name_space("c"));
    Directory(folder.path(), keep.path()).refresh();

    folder.put("a.yaml", "broken: [");
    folder.remove("b.yaml");
    Directory after(folder.path(), keep.path());
    after.refresh();
    CHECK(has(after.snapshot(), "a"));
    CHECK_FALSE(has(after.snapshot(), "b"));
    CHECK(has(after.snapshot(), "c"));
    CHECK(after.snapshot()->problems.size() == 1);

    // What was removed while nobody looked does not come back with a bad file of the same name.
    folder.put("b.yaml", "broken: [");
    folder.remove("c.yaml");
    after.refresh();
    folder.put("c.yaml", "broken: [");
    Directory again(folder.path(), keep.path());
    again.refresh();
    CHECK_FALSE(has(again.snapshot(), "b"));
    CHECK_FALSE(has(again.snapshot(), "c"));
    CHECK(has(again.snapshot(), "a"));

    Directory forgetful(folder.path());
    forgetful.refresh();
    CHECK(forgetful.snapshot()->objects.empty());
}

TEST_CASE("of two objects with one name the oldest is in force and the other is a problem", "[kube]") {
    const Folder folder;
    folder.put("a.yaml", name_space("x", ", creationTimestamp: 2026-01-02T00:00:00Z, labels: {from: a}"));
    folder.put("b.yaml", name_space("x", ", creationTimestamp: 2026-01-01T00:00:00Z, labels: {from: b}"));
    folder.put("c.yaml", name_space("x", ", labels: {from: c}"));
    const auto snapshot = load(folder.path());
    CHECK(metadata_of(*snapshot->objects.at({Kind::name_space, "", "x"})).labels.at("from") == "b");
    REQUIRE(snapshot->problems.size() == 2);
    CHECK(snapshot->problems[0].to_string() ==
          folder.file("a.yaml") +
              ":1: error: Namespace x: metadata.name: is defined a second time; in force is the "
              "one of " +
              folder.file("b.yaml") + ":1; remove one of the two");
    CHECK(snapshot->problems[1].file == folder.file("c.yaml"));
}

TEST_CASE("of pods with one uid the oldest is in force and the others are problems that name both",
          "[kube]") {
    auto pod = [](const std::string& name, const std::string& uid, const std::string& year) {
        return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: shop, uid: \"" + uid +
               "\", creationTimestamp: " + year + "-01-01T00:00:00Z}\nspec: {containers: [{name: c}]}\n";
    };
    const Folder folder;
    folder.put("a.yaml", pod("a", "u1", "2026"));
    folder.put("b.yaml", pod("b", "u1", "2024"));
    folder.put("c.yaml", pod("c", "u1", "2025"));
    folder.put("d.yaml", pod("d", "u2", "2026"));
    folder.put("e.yaml", pod("e", "", "2026"));
    folder.put("f.yaml", pod("f", "", "2026"));
    const auto snapshot = load(folder.path());
    std::string names;
    for (const auto& [key, object] : snapshot->objects) names += key.name;
    CHECK(names == "bdef");
    REQUIRE(snapshot->problems.size() == 2);
    CHECK(snapshot->problems[0].to_string() ==
          folder.file("a.yaml") + ":1: error: Pod shop/a: metadata.uid: is u1, as that of Pod shop/b at " +
              folder.file("b.yaml") +
              ":1, which is older and in force alone; give each pod its own uid, or none");
    CHECK(snapshot->problems[1].object == "Pod shop/c");

    for (const std::string& bad : {"shop/a@4026531840", "two words", "line\\nbreak"}) {
        folder.put("d.yaml", pod("d", bad, "2026"));
        CHECK(load(folder.path())->problems.size() == 3);
    }
}

TEST_CASE("what is no manifest is not read, and what cannot be read is a problem that blocks nobody",
          "[kube]") {
    const Folder folder;
    folder.put("notes.txt", "not: [yaml");
    folder.put(".hidden.yaml", "not: [yaml");
    fs::create_directory(folder.file("sub.yaml"));
    REQUIRE(::mkfifo(folder.file("pipe.yaml").c_str(), 0600) == 0);
    fs::create_symlink("/nowhere", folder.file("dangling.yaml"));
    folder.put("a.yaml", name_space("a"));
    std::ofstream(folder.file("huge.yaml"), std::ios::binary).seekp(file_bytes_max + 1).put('x');
    const auto snapshot = load(folder.path());
    CHECK(has(snapshot, "a"));
    std::string said;
    for (const Problem& problem : snapshot->problems) said += problem.message + "\n";
    CHECK(said == "is larger than 16 MiB\nis not a regular file\nis not a regular file\n");
}

TEST_CASE("a change is seen without a restart, also by rename, removal and a directory that comes later",
          "[kube]") {
    const Folder folder;
    const std::string path = folder.file("later");
    Inbox inbox;
    auto watch = Watch::start(path, [&](SnapshotPtr snapshot) { inbox.put(std::move(snapshot)); });
    REQUIRE(watch.has_value());
    CHECK(inbox.wait_for([](const auto&) { return true; })->problems.size() == 1);
    CHECK_FALSE(inbox.wait_for([](const auto&) { return true; })->read);

    fs::create_directory(path);
    CHECK(inbox.wait_for([](const auto& s) { return s->problems.empty(); })->read);
    std::ofstream(path + "/a.yaml") << name_space("a");
    inbox.wait_for([](const auto& s) { return has(s, "a"); });
    std::ofstream(path + "/a.yaml") << name_space("b");
    inbox.wait_for([](const auto& s) { return has(s, "b") && !has(s, "a"); });
    fs::rename(path + "/a.yaml", path + "/b.yaml");
    CHECK(inbox
              .wait_for([](const auto& s) {
                  return metadata_of(*s->objects.begin()->second).origin.file.ends_with("b.yaml");
              })
              ->objects.size() == 1);
    std::ofstream(path + "/a.yaml") << "broken: [";
    inbox.wait_for([](const auto& s) { return s->problems.size() == 1 && has(s, "b"); });
    fs::remove(path + "/b.yaml");
    inbox.wait_for([](const auto& s) { return s->objects.empty(); });
}

TEST_CASE("a directory that was emptied and filled again, or replaced, is found again without a restart",
          "[kube]") {
    const Folder folder;
    const std::string path = folder.file("manifests"), away = folder.file("away");
    fs::create_directory(path);
    std::ofstream(path + "/a.yaml") << name_space("a") << "---\n" << name_space("b");
    Inbox inbox;
    auto watch = Watch::start(path, [&](SnapshotPtr snapshot) { inbox.put(std::move(snapshot)); });
    REQUIRE(watch.has_value());
    inbox.wait_for([](const auto& s) { return has(s, "a"); });
    fs::rename(path, away);
    fs::create_directory(path);
    auto lost = inbox.wait_for([&](const auto& s) {
        return s->problems.size() == 1 && s->problems[0].message.find("no manifest") != std::string::npos;
    });
    CHECK(has(lost, "b"));
    fs::remove(path);
    fs::rename(away, path);
    CHECK(has(inbox.wait_for([](const auto& s) { return s->problems.empty(); }), "b"));
    std::ofstream(path + "/c.yaml") << name_space("c");
    inbox.wait_for([](const auto& s) { return has(s, "c"); });
}

TEST_CASE("files behind a symbolic link that moves, as a mounted ConfigMap's, are read again", "[kube]") {
    const Folder folder;
    fs::create_directory(folder.file("..1"));
    fs::create_directory(folder.file("..2"));
    std::ofstream(folder.file("..1/a.yaml")) << name_space("one");
    std::ofstream(folder.file("..2/a.yaml")) << name_space("two");
    fs::create_symlink("..1", folder.file("..data"));
    fs::create_symlink("..data/a.yaml", folder.file("a.yaml"));
    Inbox inbox;
    auto watch = Watch::start(folder.path(), [&](SnapshotPtr snapshot) { inbox.put(std::move(snapshot)); });
    REQUIRE(watch.has_value());
    inbox.wait_for([](const auto& s) { return has(s, "one"); });
    fs::create_symlink("..2", folder.file("..new"));
    fs::rename(folder.file("..new"), folder.file("..data"));
    inbox.wait_for([](const auto& s) { return has(s, "two") && !has(s, "one"); });
}

TEST_CASE("a file that is being written is left alone until it is closed", "[kube]") {
    const Folder folder;
    Inbox inbox;
    auto watch = Watch::start(folder.path(), [&](SnapshotPtr snapshot) { inbox.put(std::move(snapshot)); });
    REQUIRE(watch.has_value());
    std::ofstream slow(folder.file("slow.yaml"));
    slow << name_space("first") << std::flush;
    folder.put("other.yaml", name_space("other"));
    CHECK_FALSE(has(inbox.wait_for([](const auto& s) { return has(s, "other"); }), "first"));
    slow << "---\n" << name_space("second");
    slow.close();
    CHECK(has(inbox.wait_for([](const auto& s) { return has(s, "second"); }), "first"));
}
