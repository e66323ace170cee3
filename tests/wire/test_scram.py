"""SCRAM, the server's side: the RFC's example, a client of others, and what is refused."""

from base64 import b64decode, b64encode

import scramp
from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.sasl import Fault, KeysWanted, Offer, Proof
from mailgw.wire.scram import Scram, ScramPlus, derive_keys
from tests.tables import each

# RFC 7677 s3
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
KEYS = derive_keys(b"pencil", SALT, 4096)
BINDINGS = {"tls-exporter": b"exported", "tls-server-end-point": b"hash"}  # scramp knows the second alone
OFFER = Offer(("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), BINDINGS)
PLAIN_OFFER = Offer(("SCRAM-SHA-256",), {})


def begun(exchange: Scram, first: bytes = CLIENT_FIRST) -> Scram:
    assert isinstance(exchange.respond(first), KeysWanted)
    exchange.supply(KEYS, NONCE)
    return exchange


def test_the_example_of_the_rfc() -> None:
    exchange = Scram(OFFER)
    assert exchange.challenge() == b""
    assert exchange.respond(CLIENT_FIRST) == KeysWanted("user")
    assert exchange.supply(KEYS, NONCE) == SERVER_FIRST
    assert exchange.respond(CLIENT_FINAL) == Proof("", "user", True)
    assert exchange.last_word(True) == SERVER_FINAL
    assert exchange.last_word(False) is None


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(NAMES, NAMES, st.sampled_from(["", "tls-server-end-point"]), st.booleans())
def test_another_client(login: str, password: str, binding: str, is_right: bool) -> None:
    names = ["SCRAM-SHA-256"] if not binding else ["SCRAM-SHA-256-PLUS"]
    client = scramp.ScramClient(
        names, login, password, channel_binding=(binding, BINDINGS[binding]) if binding else None
    )
    exchange = ScramPlus(OFFER) if binding else Scram(OFFER)
    assert exchange.respond(client.get_client_first().encode()) == KeysWanted(login)
    keys = derive_keys((password if is_right else password + "x").encode(), b"twelve octets", 4096)
    client.set_server_first(exchange.supply(keys, "nonce").decode())
    assert exchange.respond(client.get_client_final().encode()) == Proof("", login, is_right)
    if is_right:
        last = exchange.last_word(True)
        assert last is not None
        client.set_server_final(last.decode())


@each("first", [
    b"", b"n", b"n,,", b"n,,n=,r=x", b"n,,n=user", b"n,,n=user,r=", b"n,,n=a=b,r=x", b"n,,n=user,r=a b",
    b"n,,m=ext,n=user,r=x",            # s5.1: an extension that is a must, and that nobody has
    b"n,a=,n=user,r=x", b"x,,n=user,r=x", b"n,,n=\xff,r=x", b"n,,n=us\0er,r=x", b"n,,r=x,n=user", b"n,,n=user,r=x,",
    b"n,a=\xff,n=user,r=x",
    b"n,,n=user,r=x,11=y", b"p=tls-exporter,,n=user,r=x",  # the last: that is -PLUS
])
def test_malformed_at_first(first: bytes) -> None:
    assert Scram(OFFER).respond(first) is Fault.MALFORMED


def test_names_and_extensions() -> None:
    exchange = Scram(PLAIN_OFFER)
    assert exchange.respond(b"y,a=other=2Cone,n=us=3D2Cer,r=x,e=what,f=ever") == KeysWanted("us=2Cer")
    exchange.supply(KEYS, NONCE)
    final = b"c=" + b64encode(b"y,a=other=2Cone,") + b",r=x" + NONCE.encode() + b",z=1,p=" + b64encode(bytes(32))
    assert exchange.respond(final) == Proof("other,one", "us=2Cer", False)


@each("change", [
    (b"c=biws", b"c=eSws"),            # y,, where n,, was said
    (b"rOpr", b"rOpq"),                # another's nonce
    (b"k0,p=", b"k1,p="),
    (b",p=d", b",p=e"),
])
def test_a_wrong_proof(change: tuple[bytes, bytes]) -> None:
    assert begun(Scram(OFFER)).respond(CLIENT_FINAL.replace(*change)) == Proof("", "user", False)


@each("final", [
    b"", b"c=biws", CLIENT_FINAL[:-1], CLIENT_FINAL + b"=", CLIENT_FINAL + b",x=y", b"n" + CLIENT_FINAL,
    CLIENT_FINAL.replace(b"biws", b"bi!s"), CLIENT_FINAL.replace(b"biws", b"biw"), CLIENT_FINAL[:-4],
])
def test_malformed_at_last(final: bytes) -> None:
    assert begun(Scram(OFFER)).respond(final) is Fault.MALFORMED


def test_somebody_took_plus_out_of_the_offer() -> None:
    first = CLIENT_FIRST.replace(b"n,,", b"y,,")
    assert Scram(OFFER).respond(first) is Fault.NOT_BOUND
    assert Scram(PLAIN_OFFER).respond(first) == KeysWanted("user")


def test_bindings() -> None:
    assert ScramPlus(OFFER).respond(b"p=tls-unique,,n=user,r=x") is Fault.NOT_BOUND
    for flag in (b"n", b"y"):
        assert ScramPlus(OFFER).respond(flag + b",,n=user,r=x") is Fault.MALFORMED


def test_bound_to_another_channel() -> None:
    client = scramp.ScramClient(
        ["SCRAM-SHA-256-PLUS"], "user", "pencil", channel_binding=("tls-server-end-point", b"somebody in between")
    )
    exchange = ScramPlus(OFFER)
    assert exchange.respond(client.get_client_first().encode()) == KeysWanted("user")
    client.set_server_first(exchange.supply(KEYS, NONCE).decode())
    assert exchange.respond(client.get_client_final().encode()) == Proof("", "user", False)
