"""Which SASL mechanisms there are, and which of them one session is offered (RFC 4422 s3.1, RFC 5802 s6)."""

from collections.abc import Collection, Mapping
from typing import Final

from mailgw.mail.envelope import ChannelBindings
from mailgw.wire.bearer import OAuthBearer, XOAuth2
from mailgw.wire.sasl import Exchange, External, Login, Offer, Plain
from mailgw.wire.scram import Scram, ScramPlus

MECHANISMS: Final[Mapping[str, type[Exchange]]] = {
    "EXTERNAL": External,
    "SCRAM-SHA-256-PLUS": ScramPlus,
    "SCRAM-SHA-256": Scram,
    "OAUTHBEARER": OAuthBearer,
    "XOAUTH2": XOAuth2,
    "PLAIN": Plain,
    "LOGIN": Login,
}
"""By name, in upper case, the better one first."""


def offer(usable: Collection[str], bindings: ChannelBindings, has_certificate: bool) -> Offer:
    """What a session is offered of the mechanisms that some account can use.

    -PLUS goes with SCRAM where the channel has a binding; EXTERNAL where the client showed a certificate that
    names somebody.
    """
    channels = {"tls-exporter": bindings.exporter, "tls-server-end-point": bindings.server_end_point}
    channels = {name: octets for name, octets in channels.items() if octets}
    lacking = set() if has_certificate else {"EXTERNAL"}
    names = {*usable} - lacking
    if "SCRAM-SHA-256" in names and channels:
        names.add("SCRAM-SHA-256-PLUS")
    return Offer(tuple(name for name in MECHANISMS if name in names), channels)


def behind_a_front(offer: Offer) -> Offer:
    """What is left of an offer when the session becomes that of a front's client: channel and certificate are the
    front's."""
    own = ("EXTERNAL", "SCRAM-SHA-256-PLUS")
    return Offer(tuple(name for name in offer.mechanisms if name not in own), {})
