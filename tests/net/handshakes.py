"""Handshakes between two of pyOpenSSL's connections, in memory."""

from OpenSSL import SSL

ROUNDS = 6  # more than any handshake has, tickets included


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Neither has a socket, and neither was told its part."""
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(ROUNDS):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            pass_on(one, other)


def pass_on(one: SSL.Connection, other: SSL.Connection) -> None:
    """Bring the octets that ``one`` has for the network to ``other``."""
    try:
        other.bio_write(one.bio_read(1 << 16))
    except SSL.WantReadError:
        pass
