"""Stored passwords: what Dovecot wrote verifies, what is broken is named."""

from base64 import b64decode

import argon2
import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passlib.hash import sha256_crypt, sha512_crypt

from mailgw.access import schemes
from tests.tables import each

PASSWORD = "Grüße, 1:2".encode()

# Made by `doveadm pw -s SCHEME -p 'Grüße, 1:2'` of Dovecot 2.3.19.
OF_DOVECOT = [
    "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$9090eLJOlFaUNTdO4cdOLA$UtkN/PQUzBadtRMsRTEWJ311uME8rF3cWCU0cz/4Y0U",
    "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$OynbFnNs/j/QhDp7gKjEow$jHfCWrFjE0o7zAGORlSKi5+R79/Rlc0ltuv1fd4YzO8",
    "{SHA512-CRYPT}$6$BLV/lKHNzx3Cmn9w$3ATjTz4eeCbUfI2Qrw1F/AgYiZLU62eFCl8nlk/PyYdLEq4e825M/V1NMKVD8hPvqSkvAeBvUteSe"
    "BnneGiqd.",
    "{SHA256-CRYPT}$5$rJUof24Bh/TNV9QB$Duwan4i/4N.evgxUYkCKcQgtYts.TXuhx827f0NcnID",
    "{BLF-CRYPT}$2y$05$tv4.1FSY6Tnj8OZa5133ye6W3tkb9aB/307NEctc01yhPHCmZSmuu",
    "{SSHA512}bu3WPknLJFkRmSnIfcdIlKqcZtmf4o+aEUlqKd2EWtnaC4lFds7s1IiZSsqUr+W5nFxr69cmLg94dIim7+gIiEOAlfE=",
    "{SSHA256}IA1kqlcOC290/QGDSksjqhnW6NZMqH8VOBCLXsndisek1q8U",
    "{SCRAM-SHA-256}4096,QfshNB06JWw3pr1Rh9Hi5w==,Dl1NuiH5DDJpW1m0VjdXchw0ahMDiEsP6d3sbtGWsf8=,xTGTZGR402"
    "kavlifnWABf5lUinKUkdKAB/5XMPN++E4=",
    "{PLAIN}Grüße, 1:2",
    "{SSHA512.HEX}5bb843f56a5088a325cf9603512b189a0aa0630d09a1b0793d9c657b57893c3f472405b38ece2a4feaf404310e0f678633"
    "30b0f21aa9ec8f8f1949ae6e2f6bbe9604acb9",
    "{SHA512-CRYPT.B64}JDYkMWxUc3JGVVlmYXM0WUxjSyR1U3hTNWtCZFJVSEZmVkszLzdTVmRHTVpBUmZGbDcubk1RUklPLy96RkZkN3RvZEQ0Z"
    "zJnUnA3L0Z4MWxaNmkxYXgvbW9IUVhiMUU4eThBQ3M2OUlkMA==",
    "{PLAIN.HEX}4772c3bcc39f652c20313a32",
    "{BLF-CRYPT.HEX}243279243035246a4c33497a67325044516e726d304c7a416e304d5a755653473261314456654a5063624650595739344"
    "861483154626b684173782e",
    "{SSHA256.BASE64}PWiPGYWhFqGOkVC3lsTItEYo679P7qXlfAkHjpY4gU2dIe8J",
]


@each("stored", OF_DOVECOT[1:])  # the first is made anew below, which takes as long as to verify it
def test_what_dovecot_wrote_verifies(stored: str) -> None:
    assert schemes.fault_of(stored) is None
    assert schemes.verify(PASSWORD, stored)


@each("stored", [s for s in OF_DOVECOT if "argon2" not in s])
def test_another_password_does_not(stored: str) -> None:
    assert not schemes.verify(PASSWORD + b" ", stored)
    assert not schemes.verify(b"", stored)


def test_a_made_hash_is_the_one_that_dovecot_makes() -> None:
    salt = b64decode(OF_DOVECOT[0].split("$")[4] + "==")
    assert len(salt) == schemes.SALT_OCTETS
    assert schemes.make_hash(PASSWORD, salt) == OF_DOVECOT[0]
    assert schemes.fault_of(OF_DOVECOT[0]) is None


def test_cheap_argon2_of_both_kinds() -> None:
    for kind, name in ((argon2.Type.ID, "ARGON2ID"), (argon2.Type.I, "argon2i")):
        stored = f"{{{name}}}" + argon2.PasswordHasher(1, 8, 1, type=kind).hash("secret")
        assert schemes.verify(b"secret", stored)
        assert not schemes.verify(b"Secret", stored)


@given(password=st.binary(max_size=80).filter(lambda p: b"\0" not in p), other=st.binary(max_size=80))
@settings(max_examples=10, deadline=None)
def test_crypt_agrees_with_its_oracles(password: bytes, other: bytes) -> None:
    blf = "{BLF-CRYPT}" + bcrypt.hashpw(password[:72], bcrypt.gensalt(4)).decode()
    for stored in (
        blf,
        "{sha256-crypt}" + sha256_crypt.using(rounds=1000).hash(password),
        "{Sha512-Crypt}" + sha512_crypt.using(rounds=1000).hash(password),
    ):
        assert schemes.verify(password, stored)
        if _blowfish_key(password) != _blowfish_key(other):
            assert not schemes.verify(other, stored)


def _blowfish_key(password: bytes) -> bytes:
    """What bcrypt makes of it: repeated, each time with a NUL behind it, to 72 octets."""
    return ((password + b"\0") * 72)[:72]


def test_bcrypt_reads_the_first_72_octets_as_dovecot_does() -> None:
    stored = "{BLF-CRYPT}" + bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert schemes.verify(b"x" * 100, stored)


def test_padding_may_be_missing() -> None:
    stored = next(s for s in OF_DOVECOT if s.startswith("{SSHA512}"))
    assert schemes.verify(PASSWORD, stored.rstrip("="))


def test_octets_that_are_no_utf8_stay_what_they_are() -> None:
    stored = b"{PLAIN}caf\xe9".decode("utf-8", "surrogateescape")
    assert schemes.verify(b"caf\xe9", stored)
    assert not schemes.verify("café".encode(), stored)


@each(
    ("stored", "why"),
    [
        ("secret", "a password is stored as {SCHEME}hash"),
        ("$6$salt$hash", "a password is stored as {SCHEME}hash"),
        ("{MD5-CRYPT}$1$x$y", "unknown password scheme {MD5-CRYPT}; known schemes: ARGON2ID, "),
        ("{SSHA512.ROT13}abc", "unknown encoding in {SSHA512.ROT13}"),
        ("{SSHA512}!!!", "what follows {SSHA512} is not in that encoding"),
        ("{SSHA256.HEX}xyz", "what follows {SSHA256.HEX} is not in that encoding"),
        ("{SSHA512}c2hvcnQ=", "what follows {SSHA512} is no such hash"),
        ("{ARGON2ID}$argon2d$v=19$m=8,t=1,p=1$aaaa$aaaa", "what follows {ARGON2ID} is no such hash"),
        ("{SHA512-CRYPT}$6$salt", "what follows {SHA512-CRYPT} is no such hash"),
        ("{SHA512-CRYPT}$5$rJUof24Bh/TNV9QB$Duwan4i/4N.evgxUYkCKcQgtYts.TXuhx827f0NcnID", "is no such hash"),
        ("{BLF-CRYPT}$2y$05$short", "what follows {BLF-CRYPT} is no such hash"),
        ("{PLAIN}", "what follows {PLAIN} is no such hash"),
    ],
)
def test_what_is_broken_is_named_and_verifies_nothing(stored: str, why: str) -> None:
    fault = schemes.fault_of(stored)
    assert fault is not None
    assert why in fault
    for password in (b"", b"secret", b"short"):
        assert not schemes.verify(password, stored)


def test_a_password_longer_than_the_library_takes_is_wrong_not_an_error() -> None:
    stored = next(s for s in OF_DOVECOT if s.startswith("{SHA512-CRYPT}"))
    assert not schemes.verify(b"x" * 5000, stored)


STARTS = ["", "{ARGON2ID}", "{SSHA512}", "{SSHA256.HEX}", "{BLF-CRYPT}$2y$05$", "{SHA256-CRYPT}$5$"]


@given(st.binary(max_size=40), st.sampled_from(STARTS))
@settings(max_examples=50, deadline=None)
def test_garbage_raises_nothing(octets: bytes, start: str) -> None:
    stored = start + octets.decode("utf-8", "surrogateescape")
    schemes.fault_of(stored)
    schemes.verify(b"secret", stored)


# --- SCRAM -------------------------------------------------------------------------------------------------

def test_stored_keys_are_read() -> None:
    stored = next(one for one in OF_DOVECOT if one.startswith("{SCRAM"))
    keys = schemes.scram_keys(stored)
    assert keys is not None
    assert (keys.iterations, len(keys.salt), len(keys.stored_key), len(keys.server_key)) == (4096, 16, 32, 32)
    assert schemes.scram_keys(stored.replace("{SCRAM-SHA-256}", "{scram-sha-256}")) == keys
    assert schemes.scram_keys("{PLAIN}x") is None
    assert schemes.scram_keys("") is None
    assert schemes.scram_keys("{SCRAM-SHA-256.B64}!") is None
    assert schemes.scram_keys("{SCRAM-SHA-256.X}!") is None


KEY = "rfhdbSqD1iOY6IiPaqBZQ8yQ4y4N/keGfiLoinjqyio="


@each(("iterations", "is_good"), [
    (4095, False), (4096, True), (10_000_000, True), (10_000_001, False),
])
def test_iterations_have_bounds(iterations: int, is_good: bool) -> None:
    assert (schemes.fault_of(f"{{SCRAM-SHA-256}}{iterations},c2FsdA==,{KEY},{KEY}") is None) is is_good


@each("words", [
    "", "4096", f"4096,c2FsdA==,{KEY}", f"4096,c2FsdA=,{KEY},{KEY}", f"4096,,{KEY},{KEY}",
    f"4096,c2FsdA==,{KEY},{KEY},",
    f"04096,c2FsdA==,{KEY},{KEY}", f"4096,c2FsdA==,{KEY[:-1]},{KEY}", f"4096,c2FsdA==,{KEY},{KEY[4:]}",
    f"4096,c2Fsd===,{KEY},{KEY}",
])
def test_keys_that_are_none(words: str) -> None:
    assert schemes.fault_of("{SCRAM-SHA-256}" + words) == "what follows {SCRAM-SHA-256} is no such hash"


@pytest.fixture
def few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "_SCRAM_OURS", 4096)


def test_made_keys_cost_a_guesser_something() -> None:
    keys = schemes.scram_keys(schemes.make_hash(b"x", b"s" * schemes.SALT_OCTETS, schemes.SCRAM))
    assert keys is not None
    assert keys.iterations >= 100_000


@pytest.mark.usefixtures("few_iterations")
def test_a_password_is_prepared_as_clients_do_it() -> None:
    # RFC 4013 s3: a soft hyphen is nothing, the feminine ordinal is an a.
    stored = schemes.make_hash("I\u00adX\u00aa".encode(), b"s" * schemes.SALT_OCTETS, schemes.SCRAM)
    assert schemes.fault_of(stored) is None
    assert schemes.verify(b"IXa", stored)
    assert schemes.verify("I\u00adX\u00aa".encode(), stored)
    assert not schemes.verify(b"IX", stored)


def test_who_did_not_prepare_it_gets_in_as_well() -> None:
    # doveadm pw -s SCRAM-SHA-256 -p 'ªa'
    stored = (
        "{SCRAM-SHA-256}4096,sdJstTgu9kQlZHJQd2FTRA==,aw0MFaKcheq5hZ6ZA3c3LYdcjnwVF3xBKIF"
        "lmghAzlM=,F7ukwC+j9pUdCO8rZDEu2V/Keuh8GQiks8uQJCfn+X0="
    )
    assert schemes.verify("ªa".encode(), stored)
    assert not schemes.verify(b"aa", stored)


@pytest.mark.usefixtures("few_iterations")
def test_what_cannot_be_prepared_stays_as_it_is() -> None:
    for password in (b"\xff\xfe", b"bell\x07"):
        assert schemes.verify(password, schemes.make_hash(password, b"s" * schemes.SALT_OCTETS, schemes.SCRAM))
