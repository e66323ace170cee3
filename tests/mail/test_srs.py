"""Senders in addresses of ours, and back: only what a secret made, and while it is good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox, folded, parse_mailbox
from mailgw.mail.srs import DAY_SECONDS, LONGEST_HASH, MAX_AGE_DAYS, Srs, SrsSettings, secrets_in
from tests.tables import each

NOW = 1_795_864_000.0
OURS = "srs.example.org"
SRS = Srs(SrsSettings(OURS, (b"tops3cret",), 4))
OTHER = Srs(SrsSettings("hop.example", (b"of another",), 8))


def box(text: str) -> Mailbox:
    mailbox = parse_mailbox(text)
    assert mailbox is not None
    return mailbox


def back(address: Mailbox, srs: Srs = SRS, now: float = NOW) -> str:
    return str(srs.back(address, now))


@each(("sender", "made"), [
    # as postsrsd 1.10 makes them of that secret, on that day; its domain has the case it came in
    ("Alice.B@Sender.example", "SRS0=gZkI=JR=sender.example=Alice.B@srs.example.org"),
    ("SRS0=abcd=XY=other.example=joe@hop.example", "SRS1=geXu=hop.example==abcd=XY=other.example=joe@srs.example.org"),
])
def test_what_postsrsd_makes(sender: str, made: str) -> None:
    address = SRS.sent_on(box(sender), NOW)
    assert str(address) == made
    assert address is not None
    assert back(address) == str(box(sender))


BOXES = st.builds(
    Mailbox, st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), min_size=1, max_size=60),
    st.sampled_from(["a.example", "xn--mller-kva.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "hop.example"]),
)


@given(BOXES, st.integers(0, MAX_AGE_DAYS))
def test_it_comes_back_whatever_the_sender_is(sender: Mailbox, days: int) -> None:
    made = SRS.sent_on(sender, NOW)
    assert made is not None
    assert parse_mailbox(str(made)) == made
    assert SRS.has(made)
    later = NOW + days * DAY_SECONDS
    found = SRS.back(made, later)
    lowered = SRS.back(Mailbox(folded(made.local_part), made.domain), later)
    if sender.local_part[:5].upper() in ("SRS0=", "SRS0+", "SRS0-", "SRS1=", "SRS1+", "SRS1-"):
        return  # somebody else's, broken perhaps: it is theirs to judge
    assert found == sender
    assert lowered == Mailbox(folded(sender.local_part), sender.domain)


@given(BOXES)
def test_the_way_may_be_long_and_the_address_does_not_grow(sender: Mailbox) -> None:
    first = OTHER.sent_on(sender, NOW)
    if first is None or sender.local_part[:3].upper() == "SRS" or sender.domain == "hop.example":
        return
    second = SRS.sent_on(first, NOW)
    assert second is not None
    third_hop = Srs(SrsSettings("third.example", (b"third",), 4))
    third = third_hop.sent_on(second, NOW)
    assert third is not None
    assert third.local_part[9:] == second.local_part[9:], "but for the hash"
    # straight back to the first forwarder, who knows the sender
    assert SRS.back(second, NOW) == first
    assert third_hop.back(third, NOW) == first
    assert OTHER.back(first, NOW) == sender


@each(("days", "found"), [(-2, "it is too old"), (-1, "joe@a.example"), (MAX_AGE_DAYS, "joe@a.example"),
                          (MAX_AGE_DAYS + 1, "it is too old"), (1023, "joe@a.example"), (1021, "it is too old")])
def test_how_long_it_is_good(days: int, found: str) -> None:
    made = SRS.sent_on(box("joe@a.example"), NOW)
    assert made is not None
    assert back(made, now=NOW + days * DAY_SECONDS) == found


@given(st.text(min_size=0, max_size=6), st.sampled_from(["SRS0", "SRS1", "srs0"]), st.sampled_from("=+-"))
def test_a_forged_hash_is_none(hash_: str, prefix: str, separator: str) -> None:
    good = SRS.sent_on(box("joe@a.example"), NOW)
    assert good is not None
    if folded(hash_) != folded(good.local_part.split("=")[1]):
        forged = Mailbox(f"{prefix}{separator}{hash_}=JR=a.example=joe", OURS)
        assert back(forged) in ("its hash is not ours", "it is not whole")


@each(("address", "why"), [
    ("SRS0=gZkI=JR=sender.example=Alice.C@srs.example.org", "its hash is not ours"),
    ("SRS0=gZkI=JS=sender.example=Alice.B@srs.example.org", "its hash is not ours"),
    ("SRS0=gZk=JR=sender.example=Alice.B@srs.example.org", "its hash is not ours"),
    ("SRS0=gZkIx=JR=sender.example=Alice.B@srs.example.org", "its hash is not ours"),
    ("SRS0=gZkI=JR=sender.example@srs.example.org", "it is not whole"),
    ("SRS1=geXu=hop.example=abcd@srs.example.org", "it is not whole"),
    ("SRS1=geXv=hop.example==abcd=XY=other.example=joe@srs.example.org", "its hash is not ours"),
    ("SRS1=geXu=hop.example@srs.example.org", "it is not whole"),
    ("joe@srs.example.org", "it is not whole"),
    ("SRS0+gZkI=JR=sender.example=Alice.B@srs.example.org", "Alice.B@sender.example"),
])
def test_what_is_no_good(address: str, why: str) -> None:
    assert back(box(address)) == why


@each(("address", "is_one"), [
    ("SRS0=x@srs.example.org", True), ("srs1-@srs.example.org", True), ("SRS0@srs.example.org", False),
    ("SRS2=x@srs.example.org", False), ("joe@srs.example.org", False), ("SRS0=x@example.org", False),
])
def test_what_has_the_form_of_one(address: str, is_one: bool) -> None:
    assert SRS.has(box(address)) is is_one


@each("sender", [
    "SRS1=abcd=hop.example=joe@a.example", "SRS1=abcd=-==x@a.example", "srs1-x@a.example", "SRS1=x=y@a.example",
])
def test_a_broken_one_of_others_is_a_sender_like_any_other(sender: str) -> None:
    made = SRS.sent_on(box(sender), NOW)
    assert made is not None
    assert made.local_part.startswith("SRS0=")
    assert back(made) == sender


def test_a_sender_of_ours_or_one_that_is_too_long_stays() -> None:
    assert SRS.sent_on(box("joe@srs.example.org"), NOW) is None
    assert SRS.sent_on(box("SRS0=abcd=XY=other.example=joe@srs.example.org"), NOW) is None
    longest = 254 - len("SRS0=HHHH=TT=a.example=@srs.example.org")
    made = SRS.sent_on(Mailbox("x" * longest, "a.example"), NOW)
    assert made is not None
    assert back(made) == f"{'x' * longest}@a.example"
    assert SRS.sent_on(Mailbox("x" * (longest + 1), "a.example"), NOW) is None


def test_an_old_secret_is_good_for_what_comes_back() -> None:
    newer = Srs(SrsSettings(OURS, (b"new", b"tops3cret"), 4))
    old, new = SRS.sent_on(box("joe@a.example"), NOW), newer.sent_on(box("joe@a.example"), NOW)
    assert old != new
    assert old is not None
    assert new is not None
    assert (back(old, newer), back(new, newer), back(new)) == ("joe@a.example", "joe@a.example", "its hash is not ours")


@each(("address", "why"), [("SRS0=JR1==a.example=joe", "too old"), ("SRS0=JR1=-_=a.example=joe", "too old"),
                           ("SRS0=HASH=JR=a_.=joe", "no address"), ("SRS1=HASH=a_.==x", "not whole")])
def test_what_a_good_hash_makes_no_better(address: str, why: str) -> None:
    """Nobody makes such addresses but who has the secret."""
    prefix, _, *words = address.split("=", 3 if address.startswith("SRS1") else 4)
    hash_ = SRS._hash(b"tops3cret", *words)
    assert why in back(Mailbox("=".join([prefix, hash_, *words]), OURS))


def test_secrets_are_lines_and_show_nowhere() -> None:
    assert secrets_in(b"one\r\n\ntwo words\n") == [b"one", b"two words"]
    assert "tops3cret" not in repr(SrsSettings(OURS, (b"tops3cret",), 4))


@pytest.mark.parametrize("length", [4, LONGEST_HASH])
def test_hashes_of_any_length(length: int) -> None:
    srs = Srs(SrsSettings(OURS, (b"s",), length))
    made = srs.sent_on(box("joe@a.example"), NOW)
    assert made is not None
    assert len(made.local_part.split("=")[1]) == length
    assert back(made, srs) == "joe@a.example"
