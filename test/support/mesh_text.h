// Mesh values as text, one field a line, defaults left out: for expected results that people write and read.
#pragma once
#include "lib/mesh/policy.h"
#include "lib/mesh/service.h"
#include "lib/mesh/workload.h"

#include <string>

namespace culvert::test {

std::string text_of(const mesh::Workload& value);
std::string text_of(const mesh::Service& value);
std::string text_of(const mesh::Policy& value);

}  // namespace culvert::test
