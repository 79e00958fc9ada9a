// Applications of the simulated world: clients that send a pattern and compare what comes back, servers of
// several tempers. What a client found stands in its Visit.
#pragma once
#include "lib/io/scope.h"
#include "lib/io/socket.h"

#include <cstdint>
#include <vector>

namespace culvert::test {

// A text in every payload: seen on the wire it means plaintext.
inline constexpr std::string_view marker = "THIS-IS-PAYLOAD";
Buffer payload(std::size_t number, std::size_t size);

enum class Temper : std::uint8_t {
    echo,      // sends back as it comes, FIN behind FIN
    late,      // reads up to the FIN before it says anything: needs the half-close
    first,     // speaks first, then echoes
    silent,    // reads everything, says nothing, closes
    abortive,  // reads a little, then resets
};

// One connection of a client.
struct Visit {
    Buffer sent;
    Buffer got;
    bool connected = false;
    bool clean = false;  // the end was a FIN
    bool done = false;
};

// What a server of this temper answers to `sent`.
Buffer answer(Temper temper, ConstBytes sent);
bool whole(Temper temper, const Visit& visit);   // ended cleanly, every byte once and in order
bool prefix(Temper temper, const Visit& visit);  // in order as far as it went

io::Task<void> visit(io::Loop& loop, io::Namespace from, Address to, Visit& visit);

// The same, silent for a while before it ends its side.
io::Task<void> visit_quietly(io::Loop& loop, io::Namespace from, Address to, Duration quiet, Visit& visit);

struct Server {
    std::size_t accepted = 0;
    std::vector<Address> clients;  // whom the app saw
};
io::Task<void> serve(io::Scope& scope, io::Namespace where, Address at, Temper temper, Server& server);

// Accepts and never reads.
io::Task<void> serve_deaf(io::Scope& scope, io::Namespace where, Address at, Server& server);

}  // namespace culvert::test
