// What HBONE says about a connection, both sides: the CONNECT that we send (H-20 to H-24), where it goes
// (H-38), and what our 200 carries (H-25). Pure: values in, values out.
#pragma once
#include "lib/h2/message.h"
#include "lib/mesh/decide.h"
#include "ztunnel/pool.h"

namespace culvert::ztunnel {

class Connection;

Hop hop_of(const Connection& connection, const mesh::WorkloadRecord& source, const mesh::Outbound& verdict);
h2::ConnectRequest connect_request(const Connection& connection, const mesh::WorkloadRecord& source,
                                   const mesh::Outbound& verdict, Random& random);
// H-25: only with ENABLE_RESPONSE_BAGGAGE.
h2::ConnectResponse connect_success(const mesh::WorkloadRecord& local, bool response_baggage);

}  // namespace culvert::ztunnel
