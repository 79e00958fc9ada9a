// `controller validate`: what is wrong with manifests that are not in force yet, what their policies lose and
// what is probably not meant. Blocking; one thread.
#pragma once
#include "controller/mesh.h"
#include "lib/base/result.h"
#include "lib/kube/manifests.h"

#include <string>
#include <vector>

namespace culvert::controller {

struct Verdict {
    std::vector<kube::Problem> problems;
    std::size_t objects = 0;
    bool ok() const;  // no error
};

// `path`: a directory, a file, or "-" for standard input. Fails when it cannot be read.
Result<Verdict> validate(const std::string& path, const Mesh& mesh);

std::string to_text(const Verdict& verdict);  // a line a problem, then how many objects
std::string to_json(const Verdict& verdict);

}  // namespace culvert::controller
