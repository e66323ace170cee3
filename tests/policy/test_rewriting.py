from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.effect import (
    MAX_FIELD_OCTETS,
    MAX_LINE_OCTETS,
    AddHeader,
    AddRecipient,
    ChangeRecipient,
    Discard,
    DropRecipient,
    Effect,
    Hold,
    Junk,
    Quarantine,
    RemoveHeader,
    ReplaceContent,
    Reroute,
    SetHeader,
    Tag,
    effect_fault,
)
from mailgw.policy.rewriting import rewrites, rewritten
from tests.tables import each

BOB = Mailbox("bob", "example.org")
HEAD = b"From: a@example.net\r\nSubject: one\r\n two\r\nX-Old : 1\r\nsubject: three\r\n\r\n"


@each(
    ("effects", "head", "body"),
    [
        ([AddHeader("X-New", "1")], b"X-New: 1\r\n" + HEAD, None),
        ([AddHeader("X-New", "1", at_end=True)], HEAD[:-2] + b"X-New: 1\r\n\r\n", None),
        ([AddHeader("X-New", "1\n 2\r\n\t3")], b"X-New: 1\r\n 2\r\n\t3\r\n" + HEAD, None),
        ([SetHeader("SUBJECT", "new")], b"From: a@example.net\r\nSUBJECT: new\r\nX-Old : 1\r\n\r\n", None),
        ([SetHeader("X-New", "1")], b"X-New: 1\r\n" + HEAD, None),
        ([RemoveHeader("subject")], b"From: a@example.net\r\nX-Old : 1\r\n\r\n", None),
        ([RemoveHeader("x-old")], HEAD.replace(b"X-Old : 1\r\n", b""), None),
        ([RemoveHeader("X-None")], HEAD, None),
        ([Tag("a")], HEAD, None),
        ([ReplaceContent(b"A: 1\r\n\r\nbody\r\n")], b"A: 1\r\n\r\n", b"body\r\n"),
        ([ReplaceContent(b"A: 1\r\n")], b"A: 1\r\n", b""),
        ([ReplaceContent(b"no header\r\n")], b"\r\n", b"no header\r\n"),
        ([ReplaceContent(b"")], b"\r\n", b""),
        ([AddHeader("X", "0"), ReplaceContent(b"A: 1\r\n\r\nb"), AddHeader("X", "1")],
         b"X: 1\r\nA: 1\r\n\r\n", b"b\r\n"),
        ([ReplaceContent(b"A: 1")], b"A: 1\r\n", b""),
        ([ReplaceContent(b"no header")], b"\r\n", b"no header\r\n"),
    ],
)
def test_effects_on_a_message(effects: list[Effect], head: bytes, body: bytes | None) -> None:
    assert rewritten(HEAD, effects) == (head, body)


@each(
    ("before", "after"),
    [
        (b"\r\n", b"X: 1\r\n\r\n"),                # a message without a header
        (b"A: 1\r\n", b"X: 1\r\nA: 1\r\n\r\n"),    # one without a body gets the empty line
        (b"A: 1", b"X: 1\r\nA: 1\r\n\r\n"),
    ],
)
def test_odd_heads(before: bytes, after: bytes) -> None:
    assert rewritten(before, [AddHeader("X", "1")]) == (after, None)


NAMES = st.sampled_from(["Subject", "X-A", "x-a", "To"])
FIELDS = st.lists(st.builds(lambda n, v: f"{n}: {v}\r\n".encode(), NAMES, st.sampled_from(["", "1", "1\r\n 2"])))


@given(FIELDS, NAMES)
def test_the_others_stay_as_they_came(fields: list[bytes], name: str) -> None:
    head = b"".join(fields) + b"\r\n"
    kept = [field for field in fields if field.partition(b":")[0].lower() != name.lower().encode()]
    assert rewritten(head, [RemoveHeader(name)]) == (b"".join(kept) + b"\r\n", None)
    added, _ = rewritten(head, [AddHeader(name, "v")])
    assert added == f"{name}: v\r\n".encode() + head
    once, _ = rewritten(head, [SetHeader(name, "v")])
    assert rewritten(once, [SetHeader(name, "v")]) == (once, None)
    assert [field for field in fields if field in kept] == kept


@each(
    ("effect", "why"),
    [
        (AddHeader("X-A", "1"), None),
        (AddHeader("X A", "1"), "'X A' is no name of a header field"),
        (AddHeader("X:A", "1"), "is no name"),
        (AddHeader("", "1"), "is no name"),
        (AddHeader(5, "1"), "5 is no name"),  # type: ignore[arg-type]
        (SetHeader("X", "1\r\nBcc: a@example.org"), "begin another field"),
        (SetHeader("X", "1\n\n2"), "begin another field or end the header"),
        (SetHeader("X", "1\n "), "begin another field or end the header"),
        (SetHeader("X", "1\r2"), "bare CR"),
        (SetHeader("X", "1\0"), "NUL"),
        (SetHeader("X", "\ud800"), "cannot be encoded"),
        (SetHeader("X", 5), "is no text"),  # type: ignore[arg-type]
        (AddHeader("X", "a" * (MAX_LINE_OCTETS - 3)), None),
        (AddHeader("X", "a" * (MAX_LINE_OCTETS - 2)), "a line of 999 octets: expected 998 at most"),
        (AddHeader("X", "a" * 25 + ("\n " + "a" * 959) * 17), None),
        (AddHeader("X", "a" * 26 + ("\n " + "a" * 959) * 17), f"more than {MAX_FIELD_OCTETS} octets"),
        (RemoveHeader("X Y"), "is no name"),
        (ReplaceContent("text"), "content is no bytes"),  # type: ignore[arg-type]
        (AddRecipient(BOB), None),
        (AddRecipient("bob@example.org"), "a str is no Mailbox"),  # type: ignore[arg-type]
        (ChangeRecipient(BOB, None), "a NoneType is no Mailbox"),  # type: ignore[arg-type]
        (DropRecipient(BOB), None),
        (Reroute("out"), None),
        (Reroute("out", "bob"), "a str is no Mailbox"),  # type: ignore[arg-type]
        (Reroute(None), "a backend's name is no text"),  # type: ignore[arg-type]
        (Tag("a" * 64), None),
        (Tag("a" * 65), "is no tag"),
        (Tag("two words"), "is no tag"),
        (Tag("a,b"), "is no tag"),
        (Hold(""), None),
        (Quarantine(None), "a reason is no text"),  # type: ignore[arg-type]
        (Junk("spam"), None),
        (Junk(5), "a reason is no text"),  # type: ignore[arg-type]
        (Discard(), None),
        ("reject", "a str is no effect"),
    ],
)
def test_what_cannot_be_carried_out(effect: Effect, why: str | None) -> None:
    said = effect_fault(effect)
    assert said is None if why is None else why in (said or "")


def test_which_effects_are_of_the_content() -> None:
    assert rewrites(AddHeader("X", "1"))
    assert rewrites(ReplaceContent(b""))
    assert not rewrites(Tag("a"))
