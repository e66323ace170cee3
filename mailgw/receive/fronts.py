"""XCLIENT: from here on the session is that of the client that a front names.

Rules:
    What the front says replaces what its own connection tells; what it does not know is not made up from that.  So
    who has no address may not relay, and the front's certificate is nobody's login.
    The client it names is admitted as if it had connected itself, and judged as if it had logged in itself.
    A login that it vouches for (submission alone) is the session's until STARTTLS, as one by AUTH would be.
"""

from typing import TYPE_CHECKING

import attrs

from mailgw.mail import event as fact
from mailgw.mail.address import parse_domain
from mailgw.mail.envelope import UNKNOWN_NAME, ChannelBindings, Client, ReverseName, TlsFacts
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage
from mailgw.receive.admission import Standing
from mailgw.receive.peers import UNKNOWN
from mailgw.wire.smtp_server import Xclient

if TYPE_CHECKING:
    from mailgw.receive.factory import EsmtpFactory
    from mailgw.receive.session import Session


async def take_over(session: "Session", factory: "EsmtpFactory", told: Xclient) -> Reply:
    """The greeting, or why the client cannot be served."""
    front = session.client
    address, port = front.address, front.port
    if told.addr is not None:
        address, port = told.addr or UNKNOWN, told.port or 0
    may_relay, is_trusted = factory.known_as(address)
    if not told.addr:
        # The front's own rights are not its client's.  Those without an address share one's limits: else who guesses
        # passwords would come without.
        may_relay, is_trusted = False, False
    session.is_fronted = True
    session.forget_effects(Stage.HELO, Stage.AUTH)
    reverse = None if told.name is None else reverse_name(told.name)
    session.know_name(reverse)
    session.origin = Client(
        front.session_id,
        front.role,
        address,
        port,
        may_relay,
        is_trusted=is_trusted,
        reverse=reverse,
        is_address_shared=not told.addr,
    )
    tls = front.tls and nobody_s(front.tls)
    session.client = client = attrs.evolve(session.origin, tls=tls, login=told.login or None)
    factory.note(
        fact.Fronted(client.session_id, address, port, front.address, told.name or "", told.helo or "")
    )
    standing, session.standing = session.standing, Standing(factory.counters)
    await standing.leave()
    objection = await session.standing.enter(client)
    if objection is None:
        if told.name is None:
            session.look_up_name()
        objection = await session.judge_connection()
    if objection is not None:
        session.why = "refused"
        return session.reject(Stage.CONNECT, objection)
    if client.login is not None:
        objection = await session.judge_login(client.login)
        if objection is not None:
            session.why = "refused"
            return session.reject(Stage.AUTH, objection)
        factory.note(fact.LoggedIn(client.session_id, address, client.login, "XCLIENT"))
    return factory.greeting


def reverse_name(told: str) -> ReverseName:
    """A front has looked it up, and both ways; what is no host name goes into no header."""
    name = parse_domain(told)
    return UNKNOWN_NAME if name is None or name.startswith("[") else ReverseName(name, True)


def nobody_s(tls: TlsFacts) -> TlsFacts:
    """TLS without what it tells of who is at its other end, or binds a login to a channel that is not the client's."""
    return attrs.evolve(tls, certificate_names=(), bindings=ChannelBindings(), is_client_verified=False)
