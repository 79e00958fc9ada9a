// What is valid and probably not meant: a policy that selects nothing, a typo in a label, an opted-out pod
// that a policy still names. A remark is an error where protection is lost that somebody wrote down, else a
// warning. Pure: computed when somebody asks (status, validate), never on the way of a change; once through
// the objects.
#pragma once
#include "controller/mesh.h"
#include "lib/kube/manifests.h"

#include <vector>

namespace culvert::controller {

std::vector<kube::Problem> analyse(const kube::Snapshot& snapshot, const Mesh& mesh);

}  // namespace culvert::controller
