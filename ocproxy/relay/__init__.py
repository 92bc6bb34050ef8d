"""The relay: sockets on both sides, every byte forwarded unchanged and recorded before it is forwarded.

One worker is one process with one event loop and one journal folder. A received chunk is appended to the journal's
buffer and its forwarding is queued; at the end of the loop turn the journal is written with one system call and then
everything queued in that turn is forwarded (`tee`). Nothing here looks inside a body.

    head, framing, redaction, routes, replies   pure: bytes in, values out; llhttp is the only judge of framing
    tee                                         written before forwarded, once per loop turn
    client, delivery, transfer, upstream        the two protocols and one exchange between them, idle connections
    server, __main__                            listening, draining, the worker process
"""
