// One socket of the simulated world. Private to sim*.cpp.
#pragma once
#include "lib/io/sim.h"

namespace culvert::io {

struct SimSocket {
    int handle = -1;
    Namespace where;
    SimNetwork::Who who = SimNetwork::Who::app;

    // A listener.
    bool listening = false;
    bool reuse_port = false;
    std::uint32_t role = 0;
    std::size_t backlog = 0;
    std::deque<int> queue;  // ends that wait to be accepted

    // An end of a connection, from its connect on.
    bool connected = false;
    int other = -1;  // handle of the other end; -1: gone
    Address local;
    Address peer;  // what getpeername says: the real client where the mesh told it
    std::optional<Address> original;
    bool client_bound = false;
    Buffer inbox;
    std::size_t read = 0;  // of the inbox
    bool fin_in = false;   // the other end has shut its write side
    bool fin_out = false;
    bool reset = false;
    bool reset_on_close = false;
    std::optional<std::size_t> flow;  // in SimNetwork::flows_

    ConnectOptions options;  // as given to stream()

    std::size_t unread() const { return inbox.size() - read; }
};

}  // namespace culvert::io
