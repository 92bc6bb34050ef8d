"""Whether a client that said it will send no more still waits for the answer.

A closed socket and a half-closed one send the same FIN. For a client on this host Linux tells them apart: the closed
one has no inode any more (sock_diag(7), one question about one socket: a table of all would stall the loop when a
thousand clients go at once). A client elsewhere is taken for gone, as nginx does it: a cancelled request must not go
on to cost money, and no agent half-closes.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ANY = 0xFFFFFFFF  # any state; no cookie
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_QUESTION = struct.Struct("=BBBBI 2s2s16s16s III")  # family, protocol, ext, pad, states, ports, addresses, if, cookie
_ANSWER = struct.Struct("=16x 4x 48x 16x I")  # headers, family …, socket id, expires, queues, uid; then the inode


def still_waits(peer: Any, own: Any) -> bool:
    """Whether the socket at `peer` that is connected to `own` (both as getpeername returns them) is still held open by
    its process. False when that cannot be known."""
    try:
        family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
        question = _QUESTION.pack(
            *(family, socket.IPPROTO_TCP, 0, 0, _ANY),
            *(peer[1].to_bytes(2, "big"), own[1].to_bytes(2, "big")),
            *(socket.inet_pton(family, peer[0]), socket.inet_pton(family, own[0])),
            *(0, _ANY, _ANY),
        )
        header = _HEADER.pack(
            _HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0
        )  # fmt: skip
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as asking:
            asking.setblocking(False)  # the kernel answers within the call
            asking.send(header + question)
            answer = asking.recv(4096)
        if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
            return False  # an error: there is no such socket here
        return bool(_ANSWER.unpack_from(answer)[0])
    except (OSError, AttributeError, TypeError, struct.error):
        return False  # another system, another kind of address: then it is not known
