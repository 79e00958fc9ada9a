// HBONE arrived at an enrolled pod (15008): who is it, what do they ask, may they, reach the app, carry it.
// One coroutine per link and one per CONNECT in it, in the scope of the pod; wire facts I-1 to I-11, H-10 to
// H-13, H-26.
//
// Nothing is dialled before policy has said yes, and no byte goes to the app before the kernel has confirmed
// whom the app sees (S3). Half-open handshakes end at Settings::handshake and are counted (S21).
#pragma once
#include "lib/io/socket.h"
#include "lib/io/task.h"

namespace culvert::ztunnel {

class PodView;

io::Task<void> serve_inbound(PodView& pod, io::Socket peer, Address caller);

}  // namespace culvert::ztunnel
