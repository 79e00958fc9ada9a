#include "controller/validate.h"

#include "controller/analysis.h"
#include "controller/graph.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

namespace culvert::controller {
namespace {

namespace fs = std::filesystem;
using Severity = kube::Problem::Severity;

kube::SnapshotPtr read_stream(const std::string& name, std::istream& in) {
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    kube::Parsed parsed = kube::parse_manifest(name, text);
    auto out = std::make_shared<kube::Snapshot>();
    out->problems = std::move(parsed.problems);
    for (kube::ObjectPtr& object : parsed.objects) {
        const kube::Key key = kube::key_of(*object);
        const kube::Origin origin = kube::metadata_of(*object).origin;
        if (out->objects.try_emplace(key, std::move(object)).second) continue;
        out->problems.push_back({Severity::error, origin.file, origin.line, key.to_string(), "metadata.name",
                                 "is defined a second time", "remove one of the two"});
    }
    return out;
}

Result<kube::SnapshotPtr> read(const std::string& path) {
    if (path == "-") return read_stream("standard input", std::cin);
    std::error_code failed;
    if (fs::is_directory(path, failed)) return kube::load(path);
    std::ifstream file(path, std::ios::binary);
    if (!file) return refuse(Reason::bad_input, path + " is neither a directory nor a file that can be read");
    return read_stream(path, file);
}

// What somebody may believe to be read.
void add_directories(const std::string& path, std::vector<kube::Problem>& problems) {
    std::error_code failed;
    for (const fs::directory_entry& entry : fs::directory_iterator(path, failed))
        if (entry.is_directory(failed) && !entry.path().filename().string().starts_with('.'))
            problems.push_back({Severity::warning, entry.path().string(), 0, "", "",
                                "is a directory: what is in there is not read",
                                "put the files into " + path + " itself"});
}

}  // namespace

bool Verdict::ok() const {
    return std::ranges::none_of(problems,
                                [](const kube::Problem& one) { return one.severity == Severity::error; });
}

Result<Verdict> validate(const std::string& path, const Mesh& mesh) {
    TRY(kube::SnapshotPtr read_there, read(path));
    Graph graph(mesh);
    for (const auto& [key, object] : read_there->objects) graph.set(object);
    (void)graph.flush();
    Verdict out{read_there->problems, read_there->objects.size()};
    for (kube::Problem& one : out.problems) one.effect.clear();  // nothing of it is in force anywhere
    for (kube::Problem& one : graph.notes()) out.problems.push_back(std::move(one));
    for (kube::Problem& one : analyse(*read_there, mesh)) out.problems.push_back(std::move(one));
    add_directories(path, out.problems);
    return out;
}

std::string to_text(const Verdict& verdict) {
    std::string out;
    for (const kube::Problem& one : verdict.problems) out += one.to_string() + "\n";
    return out + std::to_string(verdict.objects) + " objects in force\n";
}

}  // namespace culvert::controller
