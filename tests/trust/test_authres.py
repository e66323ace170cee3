"""Authentication-Results: whose a field is, what it says, and that what is written reads back."""

import time

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import is_shapely
from mailgw.mail.authentication import MethodResult, Property
from mailgw.mail.errors import LocalProtocolError
from mailgw.trust import authres
from mailgw.trust.authres import (
    AuthResults,
    Unreadable,
    authserv_id,
    read_field,
    results_by,
    without_ours,
    written,
)
from tests.slowed import SLOWED
from tests.tables import each

OURS = ("mx.example.com", "m\u00fcnchen.example", "gate 1", ".inside.example")


def result(method: str, word: str, *properties: str, reason: str = "") -> MethodResult:
    found = []
    for text in properties:
        name, _, value = text.partition("=")
        ptype, _, name = name.partition(".")
        found.append(Property(ptype, name, value))
    return MethodResult(method, word, reason, tuple(found))


def field(body: bytes) -> bytes:
    return b"Authentication-Results:" + body + b"\r\n"


# --- whose they are -----------------------------------------------------------------------------------

@each(("body", "found"), [
    (b" mx.example.com; none", "mx.example.com"),
    (b"mx.example.com;none", "mx.example.com"),
    (b" mx.example.com 1; none", "mx.example.com"),
    (b" mx.example.com 2; none", "mx.example.com"),
    (b" mx.example.com", "mx.example.com"),
    (b"\r\n\t(a (nested \\) one)) mx.example.com (b)\r\n 1 (c) ; what ever", "mx.example.com"),
    (b' "mx.example.com"; none', "mx.example.com"),
    (b' "mx\\.example.com"; none', "mx.example.com"),
    (b' "gate 1"; none', "gate 1"),
    (" m\u00fcnchen.example; none".encode(), "m\u00fcnchen.example"),
    (b" " * 16_000 + b"a; none", "a"),
    # results at once: it is nobody's
    (b" spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=a.example; dkim=none", ""),
    (b" spf = pass", ""),
    # what another reader might read otherwise
    (b"", None),
    (b" ;", None),
    (b' ""; none', None),
    (b" mx.example.com=pass", None),
    (b" mx.example.com/1; none", None),
    (b" mx.example.com, a.example; none", None),
    (b" a.example mx.example.com; none", None),
    (b" a.example 1 mx.example.com; none", None),
    (b" (a mx.example.com; none", None),
    (b" (a \\) mx.example.com; none", None),
    (b" =?utf-8?q?mx.example.com?=; none", None),
    (b" mx.exa\xffmple.com; none", None),
    (b" mx.exa\0mple.com; none", None),
    ("mx.ex\u00adample.com; none".encode(), None),
    (b" " + b"(" * authres.DEEPEST_COMMENT + b")" * authres.DEEPEST_COMMENT + b"a; none", "a"),
    (b" " + b"(" * (authres.DEEPEST_COMMENT + 1) + b")" * (authres.DEEPEST_COMMENT + 1) + b"a; none", None),
    (b" (" + b"a" * authres.FIELD_OCTETS + b") mx.example.com; none", None),
    (b"()" * authres.MOST["("] + b"a; none", "a"),
    (b"()" * (authres.MOST["("] + 1) + b"a; none", None),
])
def test_whose_a_field_is(body: bytes, found: str | None) -> None:
    assert authserv_id(body) == found


@each(("body", "goes"), [
    (b" mx.example.com; dkim=pass header.d=bank.example", True),
    (b" MX.Example.COM.; none", True),
    (b'\r\n "mx.example.com"\r\n\t7; x', True),
    (" m\u00fcnchen.example; none".encode(), True),
    ("M\u00dcNCHEN.example; none".encode(), True),
    (b" xn--mnchen-3ya.example; none", True),
    (b' "GATE 1"; none', True),
    (b" a.inside.example; none", True),
    (b" a.b.inside.example; none", True),
    (b" (half a comment", True),
    (b" inside.example; none", False),
    (b" notinside.example; none", False),
    (b" mx.example.com.a.example; none", False),
    (b" a.mx.example.com; none", False),
    (b" example.com; none", False),
    (b" a.example; dkim=pass (mx.example.com; none)", False),
    # it names nobody
    (b" spf=pass smtp.mailfrom=mx.example.com", True),
    (b" i=1; mx.example.com; dmarc=pass", True),
    (b"; dmarc=pass", True),
])
def test_forged_ones_go(body: bytes, goes: bool) -> None:
    before, after = b"Received: x\r\n y\r\n", b"Subject: Authentication-Results: mx.example.com\r\n\r\n"
    header = before + field(body) + after
    assert without_ours(header, OURS) == ((before + after, 1) if goes else (header, 0))
    assert len(results_by(header, OURS)) == (goes and bool(authserv_id(body)))


@each("header", [
    b"Authentication-Results: mx.example.com; none\r\n",
    b"AUTHENTICATION-RESULTS : mx.example.com; none\n",
    b"authentication-results\t: mx.example.com;\n none",
    b"Authentication-Results\r\n : mx.example.com; none\r\n",
    b"Authentication-Results:\r\n mx.example.com;\r\n\t\r\n none\r\n",
])
def test_a_field_goes_whole_however_it_is_written(header: bytes) -> None:
    for before, after in ((b"", b"\r\n"), (b"X: y\r\n", b"Y: z\r\n\r\n")):
        if after and not header.endswith(b"\n"):
            header += b"\n"
        assert without_ours(before + header + after, OURS) == (before + after, 1)
    assert without_ours(header * 3, OURS) == (b"", 3)


@each("header", [
    b"",
    b"Subject: x\r\n\r\n",
    b"X-Authentication-Results: mx.example.com; none\r\n",
    b"ARC-Authentication-Results: i=1; mx.example.com; none\r\n",
    b"Subject: x\r\n Authentication-Results: mx.example.com; none\r\n",
    b"Authentication-Results-Old: mx.example.com; none\r\n",
])
def test_other_fields_stay(header: bytes) -> None:
    assert without_ours(header, OURS) == (header, 0)
    assert results_by(header, OURS) == ()


def test_fields_have_a_limit() -> None:
    other, own = field(b" a.example; none"), field(b" up.example; none")
    assert without_ours(other * authres.FIELDS, OURS) == (other * authres.FIELDS, 0)
    assert without_ours(b"X: y\r\n" + other * (authres.FIELDS + 1), OURS) == (b"X: y\r\n", authres.FIELDS + 1)
    some = own * authres.FIELDS_OF_A_HOST
    assert len(results_by(some, ["up.example"])) == authres.FIELDS_OF_A_HOST
    assert len(results_by(some + own, ["up.example"])) == authres.FIELDS_OF_A_HOST
    assert len(results_by(own + other * authres.FIELDS, ["up.example"])) == 1
    assert len(results_by(other * (authres.FIELDS - 1) + own, ["up.example"])) == 1
    assert results_by(other * authres.FIELDS + own, ["up.example"]) == ()


def test_names_beyond_ascii_have_a_limit() -> None:
    own = field(" m\u00fcnchen.example; none".encode())
    others = [field(f" h\u00fc{number}.example; none".encode()) for number in range(authres.BEYOND_ASCII + 1)]
    most = b"".join(others[:authres.BEYOND_ASCII - 1])
    assert without_ours(most + own, OURS) == (most, 1)
    assert len(results_by(most + own, ["m\u00fcnchen.example"])) == 1
    # Whose the others are nobody can say.
    most = b"".join(others[:authres.BEYOND_ASCII])
    assert without_ours(most, OURS) == (most, 0)
    assert without_ours(most + others[-1] + field(b" a.example; none"), OURS) == (most + field(b" a.example; none"), 1)
    assert results_by(most + own, ["m\u00fcnchen.example"]) == ()


def test_comments_have_a_limit() -> None:
    each_has = authres.MOST["("]
    others = field(b"(x)" * each_has + b" a.example; none") * (authres.COMMENTS // each_has)
    own, other = field(b" mx.example.com; none"), field(b"(x) a.example; none")
    assert without_ours(others + field(b" a.example; none") + own, OURS) == (others + field(b" a.example; none"), 1)
    assert without_ours(others + other, OURS) == (others, 1)


def test_a_name_has_a_limit() -> None:
    for before, after in ((b"", b""), (b'"', b'"')):
        room = authres.ID_CHARACTERS - len(before + after)
        assert without_ours(field(before + b"a" * room + after + b"; none"), OURS)[1] == 0
        assert without_ours(field(before + b"a" * (room + 1) + after + b"; none"), OURS)[1] == 1


@each("header", [
    b"".join(field(f" {chr(0x4e00 + n)}.{'.'.join(chr(0x4e00 + p) for p in range(30))}; none".encode())
             for n in range(100)),
    field(b' "' + b"\\a" * 8000 + b'"; x') * 15,
    field(b"(a)" * 99 + b" x; none") * 100,
])
def test_names_take_no_time(header: bytes) -> None:
    before = time.process_time()
    without_ours(header, OURS)
    assert time.process_time() - before < 0.05 * SLOWED


def test_results_of_a_host_that_is_trusted() -> None:
    header = (
        field(b" up.example; spf=pass") + field(b" a.example; spf=pass") + b"X: y\r\n" + field(b" UP.example 2; x=y")
        + field(b" up.example; none")
    )
    assert results_by(header, ["up.example"]) == (
        AuthResults("up.example", (result("spf", "pass"),)), Unreadable("version 2"), AuthResults("up.example", ()),
    )


# --- reading ------------------------------------------------------------------------------------------

@each(("body", "found"), [
    # the examples of RFC 8601, appendix B
    (b"example.org 1; none", []),
    (b" example.com;\r\n          spf=pass smtp.mailfrom=example.net", [
        result("spf", "pass", "smtp.mailfrom=example.net"),
    ]),
    (b" example.com;\r\n   auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n"
     b"   spf=fail smtp.mailfrom=example.net", [
        result("auth", "pass", "smtp.auth=sender@example.net"), result("spf", "fail", "smtp.mailfrom=example.net"),
    ]),
    (b' example.com;\r\n dkim=pass reason="good signature"\r\n  header.i=@mail-router.example.net;\r\n'
     b' dkim=fail reason="bad signature"\r\n  header.i=@newyork.example.com', [
        result("dkim", "pass", "header.i=@mail-router.example.net", reason="good signature"),
        result("dkim", "fail", "header.i=@newyork.example.com", reason="bad signature"),
    ]),
    (b" foo.example.net (foobar) 1 (baz);\r\n  dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n"
     b"    policy (A dot can go here) . (like that) expired\r\n    (this surprised me) = (as I wasn't expecting it)"
     b" 1362471462", [
        result("dkim", "fail", "policy.expired=1362471462"),
    ]),
    # letters
    (b"a.example; SPF=Pass SMTP.MailFrom=A.Example", [result("spf", "pass", "smtp.mailfrom=A.Example")]),
    ("a.example; spf=pass reason=\"\u00fc\\\"\\\\\" smtp.mailfrom=\u00fc@m\u00fcnchen.example".encode(), [
        result("spf", "pass", "smtp.mailfrom=\u00fc@m\u00fcnchen.example", reason='\u00fc"\\'),
    ]),
    (b'a.example; spf=pass smtp.mailfrom="a b"@c.example;x=y', [
        result("spf", "pass", 'smtp.mailfrom="a b"@c.example'), result("x", "y"),
    ]),
    (b'a.example; dkim=pass header.b="a/b+c=" header.s="" header.s=x', [
        result("dkim", "pass", "header.b=a/b+c=", "header.s=", "header.s=x"),
    ]),
    # what is in use
    (b"a.example; dkim=pass header.b=a/b+c=; iprev=pass smtp.remote-ip=2001:db8::1;", [
        result("dkim", "pass", "header.b=a/b+c="), result("iprev", "pass", "smtp.remote-ip=2001:db8::1"),
    ]),
    (b"a.example;; none (nothing)", []),
    (b"a.example; dmarc=fail action=none header.from=b.example;compauth=fail reason=001", [
        result("dmarc", "fail", "header.from=b.example"), result("compauth", "fail", reason="001"),
    ]),
    (b"a.example; spf=pass reason=one reason=two", [result("spf", "pass", reason="one")]),
    (b"a.example; spf=none; none=none", [result("spf", "none"), result("none", "none")]),
    # methods of another version are not there
    (b"a.example; spf/2=pass; dkim/1=fail; x/01=y", [result("dkim", "fail"), result("x", "y")]),
    (b"a.example; spf/2=pass", []),
])
def test_what_fields_say(body: bytes, found: list[MethodResult]) -> None:
    assert read_field(body) == AuthResults(str(authserv_id(body)), tuple(found))


@each(("body", "why"), [
    (b"", "no authserv-id"),
    (b" spf=pass smtp.mailfrom=a.example", "no authserv-id"),
    (b"a.example", "no result"),
    (b"a.example;", "no result"),
    (b"a.example 2; spf=pass", "version 2"),
    (b"a.example 0; spf=pass", "version 0"),
    (b"a.example; none; spf=pass", 'a result beside "none"'),
    (b"a.example; spf=pass; none", 'no "=" behind none'),
    (b"a.example; spf", 'no "=" behind spf'),
    (b"a.example; spf=", "no result where one has to be"),
    (b"a.example; =pass", "no method where one has to be"),
    (b"a.example; spf/x=pass", "no version where one has to be"),
    (b"a.example; spf=pass (x", "a comment that does not end, or is too deep"),
    (b"a.example; spf=pass smtp", 'no "=" behind smtp'),
    (b"a.example; spf=pass smtp.mailfrom", 'no "=" behind smtp.mailfrom'),
    (b"a.example; spf=pass smtp.=x", "no property where one has to be"),
    (b"a.example; spf=pass smtp.mailfrom=;", "no value where one has to be"),
    (b'a.example; spf=pass smtp.mailfrom="x', "no value where one has to be"),
    (b'a.example; spf=pass smtp.mailfrom="x"@;', "no domain where one has to be"),
    (b'a.example; spf=pass reason="x\0"', "no value where one has to be"),
    (b"a.example; spf=pass, dkim=pass", "no property where one has to be"),
    (b"a.example; spf=pass\xff", "not UTF-8"),
    (b"a.example;" + b" " * authres.FIELD_OCTETS, f"more than {authres.FIELD_OCTETS} octets"),
])
def test_what_says_nothing(body: bytes, why: str) -> None:
    assert read_field(body) == Unreadable(why)


LONG = "x" * authres.KEYWORD_CHARACTERS


@each(("text", "found"), [
    (f"{LONG}=pass; a={LONG}; b=c {LONG}.{LONG}=d", [
        result(LONG, "pass"), result("a", LONG), result("b", "c", f"{LONG}.{LONG}=d"),
    ]),
    (f"{LONG}x=pass; a={LONG}x; b=c {LONG}x.d=e f.{LONG}x=g h.i=j", [result("b", "c", "h.i=j")]),
    (f"{LONG}x=pass", []),
])
def test_keywords_that_could_not_be_written_are_not_there(text: str, found: list[MethodResult]) -> None:
    read = read_field(b"a.example; " + text.encode())
    assert read == AuthResults("a.example", tuple(found))
    assert read_field(written(read, False).partition(b":")[2]) == read


@each(("text", "policy"), [
    ("dmarc=fail header.from=b.example", ""),
    ("dmarc=fail (p=reject dis=none) header.from=b.example", "reject"),
    ("dmarc=fail (p=REJECT sp=NONE dis=NONE) header.from=b.example", "reject"),
    ("dmarc=fail (p=none,has-list-id=yes,d=none) header.from=b.example", "none"),
    ('dmarc=fail reason="No valid SPF, No valid DKIM" header.from=b.example (policy=quarantine)', "quarantine"),
    ("dmarc (x) = fail (why; p=reject) (p=none)", "reject"),
    ("dmarc=fail (sp=reject p=quarantine)", "quarantine"),
    # its own property says more, and what stands elsewhere nothing
    ("dmarc=fail (p=reject) policy.dmarc=none", "none"),
    ("dmarc=pass (p=reject)", ""),
    ("dmarc=fail (sp=reject)", ""),
    ("dmarc=fail (p=rejected)", ""),
    ('dmarc=fail reason="(p=reject)"', ""),
    ("spf=fail (p=reject); dmarc=fail; dkim=fail (p=reject)", ""),
])
def test_policies_in_comments(text: str, policy: str) -> None:
    body = b"a.example; " + text.encode()
    [read] = results_by(field(body), ["a.example"])
    assert isinstance(read, AuthResults)
    found = next(one for one in read.results if one.method == "dmarc")
    assert found.value("policy", "dmarc") == policy
    elsewhere = read_field(body)
    assert isinstance(elsewhere, AuthResults)
    assert sum(len(one.values("policy", "dmarc")) for one in elsewhere.results) == text.count("policy.dmarc")


def test_a_field_has_limits() -> None:
    for start, piece, character in (("a;b=c", "()", "("), ("a", ";b=c", ";"), ("a;b=c", " d.e=f", "=")):
        most = authres.MOST[character] - start.count(character)
        text = start + piece * most
        assert isinstance(read_field(text.encode()), AuthResults)
        assert read_field((text + piece).encode()) == Unreadable(f'more than {authres.MOST[character]} "{character}"')


def test_the_longest_field() -> None:
    body = b"a.example; spf=pass".ljust(authres.FIELD_OCTETS)
    assert read_field(body) == read_field(body.rstrip())


# --- writing ------------------------------------------------------------------------------------------

def test_a_field_is_folded() -> None:
    results = AuthResults("mx.example.com", (
        result("spf", "pass", "smtp.mailfrom=a@b.example", "smtp.helo=mail.b.example"),
        result("dkim", "fail", "header.d=b.example", "header.s=two words", "header.b=AbC/1+2=", reason='bad "hash"'),
        result("dmarc", "pass", "header.from=b.example", "policy.dmarc=none"),
    ))
    assert written(results, False) == (
        b"Authentication-Results: mx.example.com;\r\n"
        b"\tspf=pass smtp.mailfrom=a@b.example smtp.helo=mail.b.example;\r\n"
        b'\tdkim=fail reason="bad \\"hash\\"" header.d=b.example header.s="two words"\r\n'
        b'\t  header.b="AbC/1+2=";\r\n'
        b"\tdmarc=pass header.from=b.example policy.dmarc=none\r\n"
    )
    assert written(AuthResults("gate 1", ()), False) == b'Authentication-Results: "gate 1";\r\n\tnone\r\n'


@each(("value", "smtputf8", "stands"), [
    ("a@b.example", False, b"a@b.example"),
    ("@b.example", False, b"@b.example"),
    ("srs0=a=b@c.example", False, b"srs0=a=b@c.example"),
    ('"a b"@c.example', False, b'"\\"a b\\"@c.example"'),
    ("2001:db8::1", False, b'"2001:db8::1"'),
    ("a;b=c", False, b'"a;b=c"'),
    ("a(b)", False, b'"a(b)"'),
    ("", False, b'""'),
    ("m\u00fcnchen.example", True, "m\u00fcnchen.example".encode()),
    ("m\u00fcnchen.example", False, b"xn--mnchen-3ya.example"),
    ("@m\u00fcnchen.example", False, b"@xn--mnchen-3ya.example"),
    ("a@m\u00fcnchen.example", False, b"a@xn--mnchen-3ya.example"),
    ("\u00fc@a.example", True, "\u00fc@a.example".encode()),
    ("\u00fc@a.example", False, None),
    ("\u00fc \u00fc", False, None),
    ("a\r\nX-Evil: b", True, None),
    ("a\0b", True, None),
    ("a\udcffb", True, None),
    ("a" * authres.VALUE_OCTETS, False, b"a" * authres.VALUE_OCTETS),
    ("a" * (authres.VALUE_OCTETS + 1), False, None),
])
def test_values_stand_safely_or_not_at_all(value: str, smtputf8: bool, stands: bytes | None) -> None:
    results = AuthResults("a", (MethodResult("spf", "pass", "", (Property("smtp", "mailfrom", value),)),))
    octets = written(results, smtputf8)
    assert octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r") == octets.count(b"\r\n\t") + 1
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert octets.split(b"smtp.mailfrom=")[1:] == ([] if stands is None else [stands + b"\r\n"])


@each(("reason", "smtputf8", "read"), [
    ("a \u00fc b", True, "a \u00fc b"),
    ("a \u00fc b", False, "a ? b"),
    ("a\r\nX: b\0\t", False, "a??X: b??"),
    ("a" * authres.REASON_CHARACTERS, False, "a" * authres.REASON_CHARACTERS),
    ("a" * (authres.REASON_CHARACTERS + 1), False, "a" * authres.REASON_CHARACTERS),
    ("\U0001f4a9" * authres.REASON_CHARACTERS, True, "\U0001f4a9" * authres.REASON_CHARACTERS),
])
def test_reasons_are_told_as_far_as_they_can_be(reason: str, smtputf8: bool, read: str) -> None:
    octets = written(AuthResults("a", (result("spf", "pass", reason=reason),)), smtputf8)
    assert smtputf8 or octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert read_field(octets.partition(b":")[2]) == AuthResults("a", (result("spf", "pass", reason=read),))


@each("results", [
    AuthResults("", ()),
    AuthResults("a\r\nb", ()),
    AuthResults("a", (result("s pf", "pass"),)),
    AuthResults("a", (result("spf", "pass;"),)),
    AuthResults("a", (result("", "pass"),)),
    AuthResults("a", (result("spf", "pass", "smtp.mail\r\nfrom=x"),)),
    AuthResults("a", (result("spf", "pass", "x" * 61 + ".y=x"),)),
])
def test_keywords_of_ours_that_are_none(results: AuthResults) -> None:
    try:
        written(results, True)
    except LocalProtocolError:
        return
    raise AssertionError(results)


KEYWORDS = st.sampled_from(["spf", "dkim", "x-1", "a", "1", "none", "reason", "pass"])
SHAPELY = st.text(st.sampled_from('a\u00fc "\\;()=@./,\U0001f4a9'), max_size=8)
ASCII = st.text(st.sampled_from('a "\\;()=@./,b1'), max_size=8)


def results_with(texts: st.SearchStrategy[str]) -> st.SearchStrategy[AuthResults]:
    methods = st.builds(
        MethodResult, KEYWORDS, KEYWORDS, texts,
        st.lists(st.builds(Property, KEYWORDS, KEYWORDS, texts), max_size=3).map(tuple),
    )
    return st.builds(AuthResults, texts.filter(bool), st.lists(methods, max_size=3).map(tuple))


@given(results_with(SHAPELY), results_with(ASCII))
def test_what_is_written_reads_back(international: AuthResults, ascii_alone: AuthResults) -> None:
    assert read_field(written(international, True).partition(b":")[2]) == international
    octets = written(ascii_alone, False)
    assert octets.isascii()
    assert read_field(octets.partition(b":")[2]) == ascii_alone
    assert without_ours(octets, [ascii_alone.authserv_id]) == (b"", 1)


@given(st.text(st.sampled_from('ab.;=/1 "\\()@\r\n\0\u00fc'), max_size=30))
def test_any_body_is_read_or_not(body: str) -> None:
    found = read_field(body.encode())
    if isinstance(found, Unreadable):
        assert found.why
    else:
        assert found.authserv_id == authserv_id(body.encode())
        assert is_shapely(found.authserv_id)
