// Writes the first corpus of the HTTP/2 fuzz targets: the vectors of test/vectors/h2, and sessions of our own
// two ends.
//   h2_seeds FOLDER     makes FOLDER/h2_server, FOLDER/h2_client and FOLDER/h2_pair
#include "test/fuzz/h2_single.h"
#include "test/support/h2_peer.h"
#include "test/support/vectors.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

using namespace culvert;
using namespace culvert::test;

namespace {

void write(const std::filesystem::path& folder, const Buffer& bytes) {
    std::uint64_t name = 0xcbf29ce484222325;  // FNV-1a
    for (std::byte each : bytes) name = (name ^ std::to_integer<std::uint64_t>(each)) * 0x100000001b3;
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(name));
    std::filesystem::create_directories(folder);
    std::ofstream(folder / text, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void vectors(const std::filesystem::path& folder, const char* file, h2::Role role) {
    const auto& given = role == h2::Role::client ? h2_fuzz_given_client : h2_fuzz_given;
    for (const Vector& vector : read_vectors(file)) {
        auto at = std::ranges::find(given, vector.value("given"));
        auto options = at == given.end() ? h2_fuzz_fresh : static_cast<std::uint8_t>(at - given.begin());
        Buffer seed = {static_cast<std::byte>(options), std::byte{0}};
        append(seed, bytes_of(vector.value("in")));
        write(folder, seed);
    }
}

// What each end said in a whole session, from its first byte.
void session(const std::filesystem::path& folder) {
    H2Peer client(h2::Role::client), server(h2::Role::server);
    Buffer to_server = {std::byte{h2_fuzz_fresh}, std::byte{16}}, to_client = to_server;
    auto exchange = [&] {
        for (int i = 0; i < 4; ++i) {
            client.flush();
            server.flush();
            Buffer up = std::exchange(client.wire, {}), down = std::exchange(server.wire, {});
            append(to_server, up);
            append(to_client, down);
            server.take(up);
            client.take(down);
        }
    };
    exchange();
    for (int i = 0; i < 3; ++i) client.connect("10.0.0.1:8080");
    exchange();
    for (h2::StreamId id : {1u, 3u, 5u}) {
        client.send(id, 300, id == 1);
        server.send(id, 300, id == 3);
    }
    client.engine.ping(1);
    exchange();
    client.reset(5, h2::Code::connect_error);
    server.engine.drain();
    exchange();
    write(folder / "h2_server", to_server);
    write(folder / "h2_client", to_client);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) return 2;
    std::filesystem::path folder = arguments[1];
    vectors(folder / "h2_server", "test/vectors/h2/server.txt", h2::Role::server);
    vectors(folder / "h2_client", "test/vectors/h2/client.txt", h2::Role::client);
    session(folder);
    // connect, settle, send both ways, reborn, read, end, bend: see h2_pair.cpp
    for (const char* script : {"00 0e 01 00 1000 01 1000 0e 83 00 1000 0e 01 00 0000 00 0000 0e",
                               "00 00 0e 81 01 2000 01 0100 0e 05 85 03 01 1000 04 00 0e 87 0e",
                               "8b 00 0e 8c 00 01 0e 01 00 00ff 00 00ff 09 0010 55 0e",
                               "0f 8f 00 0e 01 00 ffff 01 3fff 0e 01 00 ffff 01 3fff 0e 84 00 0e 06 86"}) {
        write(folder / "h2_pair", bytes_of(script));
    }
}
