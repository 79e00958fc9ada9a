// The values of the data path by themselves: what a link has to say and what it hears, and that both can be
// written down at any moment and go on elsewhere (S23 builds on it).
#include "lib/base/random.h"
#include "lib/h2/tunnel.h"
#include "ztunnel/inbox.h"
#include "ztunnel/outbox.h"
#include "ztunnel/traffic_meter.h"

#include <catch2/catch.hpp>
#include <chrono>

using namespace culvert;
using namespace culvert::ztunnel;
using namespace std::chrono_literals;

namespace {

tls::TrafficKey key() {
    tls::TrafficKey made;
    made.secret = tls::Secret(tls::secret_size(made.suite));
    for (std::byte& each : made.secret.writable()) each = std::byte{0x5a};
    return made;
}

Buffer random_bytes(Random& random, std::size_t size) {
    Buffer bytes(size);
    for (std::byte& each : bytes) each = static_cast<std::byte>(random.next());
    return bytes;
}

// Everything that `input` says, as plaintext.
void hear(Inbox& inbox, Buffer input, Buffer& to) {
    for (Bytes rest = input;;) {
        auto opened = inbox.next(rest);
        REQUIRE(opened.has_value());
        if (!*opened) break;
        append(to, (*opened)->plaintext);
        inbox.forget();
    }
}

// What the socket takes: a part, and the rest later.
Buffer send_some(Outbox& outbox, Random& random) {
    Buffer sent;
    outbox.seal();
    if (!outbox.stalled() && !outbox.sealed().empty()) {
        std::size_t part = random.below(outbox.sealed().size() + 1);
        append(sent, outbox.sealed().first(part));
        outbox.sent_directly(part);
    } else if (outbox.stalled()) {
        ConstBytes next = outbox.next();
        ConstBytes part = next.first(random.below(next.size() + 1));
        append(sent, part);
        outbox.sent(part.size());
    }
    return sent;
}

}  // namespace

TEST_CASE("small frames of a turn share one record, full ones get their own") {
    BufferShelf shelf;
    Outbox outbox{tls::Sealer(key()), shelf};
    const Buffer small(100), full(h2::data_max);
    const h2::FrameHeaderBytes header{};
    for (int i = 0; i < 10; ++i) outbox.data(header, small);
    outbox.seal();
    CHECK(outbox.sealed().size() == 10 * 109 + tls::overhead);
    outbox.sent_directly(outbox.sealed().size());
    outbox.data(header, full);
    outbox.data(header, full);
    CHECK(outbox.sealed().size() == 2 * (tls::plaintext_max + tls::overhead));
    CHECK_FALSE(outbox.stalled());
}

TEST_CASE("what an outbox says an inbox hears, in order, whatever is cut where and saved when [S23]") {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        INFO("--seed " << seed);
        SeededRandom random(seed);
        BufferShelf shelf;
        Outbox outbox{tls::Sealer(key()), shelf};
        Inbox inbox{tls::Opener(key())};
        Buffer said, heard, wire;
        for (int step = 0; step < 200; ++step) {
            if (random.below(2) == 0) {
                const Buffer piece = random_bytes(random, random.below(h2::data_max));
                h2::FrameHeaderBytes header{};
                header[0] = static_cast<std::byte>(step);
                append(said, header);
                append(said, piece);
                outbox.data(header, piece);
            } else {
                const Buffer piece = random_bytes(random, random.below(40'000));
                append(said, piece);
                outbox.control(piece);
            }
            append(wire, send_some(outbox, random));
            auto cut = static_cast<std::ptrdiff_t>(random.below(wire.size() + 1));
            hear(inbox, Buffer(wire.begin(), wire.begin() + cut), heard);
            wire.erase(wire.begin(), wire.begin() + cut);
            if (random.below(10) != 0) continue;
            Buffer written;
            Encoder to(written);
            outbox.save(to);
            inbox.save(to);
            Decoder from(written);
            auto next_outbox = Outbox::load(from, shelf);
            auto next_inbox = Inbox::load(from);
            REQUIRE((next_outbox && next_inbox && from.at_end()));
            outbox = *std::move(next_outbox);
            inbox = *std::move(next_inbox);
        }
        while (outbox.unsent() != 0) append(wire, send_some(outbox, random));
        hear(inbox, std::move(wire), heard);
        REQUIRE(heard == said);
    }
}

TEST_CASE("a cut value is refused, never half loaded") {
    BufferShelf shelf;
    Outbox outbox{tls::Sealer(key()), shelf};
    outbox.control(Buffer(1000));
    outbox.seal();
    Buffer written;
    Encoder to(written);
    outbox.save(to);
    for (std::size_t size = 0; size < written.size(); size += 7) {
        Decoder from(ConstBytes(written).first(size));
        CHECK_FALSE(Outbox::load(from, shelf).has_value());
    }
}

TEST_CASE("a link is busy while it moves more than sixteen megabytes a second") {
    TrafficMeter meter;
    Instant now{1h};
    meter.add(1 << 20);
    CHECK_FALSE(meter.busy(now));
    meter.add(2 << 20);
    now = now + 100ms;
    CHECK(meter.busy(now));
    meter.add(1 << 20);
    now = now + 100ms;
    CHECK_FALSE(meter.busy(now));
    meter.add(20 << 20);  // within an hour of silence: it may have been just now
    now = now + 1h;
    CHECK(meter.busy(now));
}
