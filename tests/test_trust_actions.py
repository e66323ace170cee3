"""Each result of each method, and each action for it, through a whole gateway: what docs/trust.rst says becomes of it.

The results come from what DNS says, and from messages; nobody is told what to find.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest

from mailgw.mail import event as fact
from mailgw.mail.errors import ConfigError
from mailgw.mail.message import JUNK_TAG
from mailgw.policy.rules.authentic import DEFAULTS, WORDS, Action
from mailgw.testing import Gateway
from mailgw.testing.gateway import START
from mailgw.testing.names import Dns
from mailgw.trust.arc_seal import arc_set
from mailgw.trust.authres import AuthResults, read_field
from mailgw.trust.dkim_canon import Canon, body_hash
from mailgw.trust.dkim_sign import SigningKey
from tests.tables import some
from tests.trust.dkim_mail import ED25519_RECORD, ed25519_key, signed_by_hand

PAGE = (Path(__file__).parent.parent / "docs/trust.rst").read_text()
BOB = "bob@example.org"
HEADER = b"From: ann@example.net\r\nTo: bob@example.org\r\nSubject: hello\r\n\r\n"
BODY = b"hi\r\n"
MESSAGE = HEADER + BODY
US = "192.0.2.1"  # the client

ROUTE = """
[[route]]
recipients = ["@example.org"]
backend = "mailboxes"
[backend.mailboxes]
type = "maildir"
path = "/srv/{local_part}"
recipients = "any"
"""


def key(domain: str) -> SigningKey:
    return attrs.evolve(ed25519_key(), domain=domain)


def sealed(message: bytes) -> bytes:
    """By a list that found that DMARC passed."""
    said = read_field(b"lists.example; dmarc=pass header.from=example.net")
    assert isinstance(said, AuthResults)
    header, body = message[:len(HEADER)], message[len(HEADER):]
    fields = arc_set(header, body_hash(body, Canon.RELAXED), said, key("lists.example"), START)
    assert isinstance(fields, bytes)
    return fields + message


SIGNED = signed_by_hand({}, HEADER, BODY, key("example.net"))
SEALED = sealed(MESSAGE)


# --- what brings each result about: something of DNS, and a message --------------------------------------

def text(name: str, *texts: str) -> Callable[[Dns], None]:
    return lambda dns: dns.text(name, *texts)


def failing(*names: str) -> Callable[[Dns], None]:
    return lambda dns: dns.fail(*names)


def spf(record: str) -> Callable[[Dns], None]:
    return text("example.net", record)


def dmarc(record: str) -> Callable[[Dns], None]:
    return text("_dmarc.example.net", f"v=DMARC1; {record}")


def named(claimed: str, address: str = US) -> Callable[[Dns], None]:
    def name(dns: Dns) -> None:
        dns.name_of(US, claimed)
        dns.address(claimed, address)
    return name


def both(*steps: Callable[[Dns], None]) -> Callable[[Dns], None]:
    def every(dns: Dns) -> None:
        for step in steps:
            step(dns)
    return every


def nothing(dns: Dns) -> None:
    """DNS is empty."""


DKIM_KEY = text("brisbane._domainkey.example.net", ED25519_RECORD.decode())
SEAL_KEY = text("brisbane._domainkey.lists.example", ED25519_RECORD.decode())

CONDITIONS: Mapping[tuple[str, str], tuple[Callable[[Dns], None], bytes]] = {
    ("spf", "pass"): (spf(f"v=spf1 ip4:{US} -all"), MESSAGE),
    ("spf", "fail"): (spf("v=spf1 -all"), MESSAGE),
    ("spf", "softfail"): (spf("v=spf1 ~all"), MESSAGE),
    ("spf", "neutral"): (spf("v=spf1 ?all"), MESSAGE),
    ("spf", "none"): (nothing, MESSAGE),
    ("spf", "temperror"): (failing("TXT example.net"), MESSAGE),
    ("spf", "permerror"): (spf("v=spf1 ip4:300.0.0.1 -all"), MESSAGE),
    ("dkim", "pass"): (DKIM_KEY, SIGNED),
    ("dkim", "fail"): (DKIM_KEY, SIGNED + b"and a footer\r\n"),
    ("dkim", "policy"): (DKIM_KEY, signed_by_hand({"x": "1"}, HEADER, BODY, key("example.net"))),
    ("dkim", "neutral"): (DKIM_KEY, signed_by_hand({"v": "2"}, HEADER, BODY, key("example.net"))),
    ("dkim", "none"): (nothing, MESSAGE),
    ("dkim", "temperror"): (failing("TXT brisbane._domainkey.example.net"), SIGNED),
    ("dkim", "permerror"): (nothing, SIGNED),
    ("dmarc", "pass"): (both(dmarc("p=reject"), spf(f"v=spf1 ip4:{US} -all")), MESSAGE),
    ("dmarc", "none"): (nothing, MESSAGE),
    ("dmarc", "fail_none"): (dmarc("p=none"), MESSAGE),
    ("dmarc", "fail_quarantine"): (dmarc("p=quarantine"), MESSAGE),
    ("dmarc", "fail_reject"): (dmarc("p=reject"), MESSAGE),
    ("dmarc", "vouched"): (both(dmarc("p=reject"), SEAL_KEY), SEALED),
    ("dmarc", "no_author"): (nothing, MESSAGE.replace(b"From:", b"X-From:")),
    ("dmarc", "unclear_author"): (nothing, b"From: eve@example.com\r\n" + MESSAGE),
    ("dmarc", "permerror"): (dmarc("p=perhaps"), MESSAGE),
    ("dmarc", "temperror"): (failing("TXT _dmarc.example.net"), MESSAGE),
    ("arc", "pass"): (SEAL_KEY, SEALED),
    ("arc", "fail"): (SEAL_KEY, SEALED + b"and a footer\r\n"),
    ("arc", "none"): (nothing, MESSAGE),
    ("arc", "temperror"): (failing("TXT brisbane._domainkey.lists.example"), SEALED),
    ("iprev", "pass"): (named("client.example.com"), MESSAGE),
    ("iprev", "fail"): (named("mx.example.net", "198.51.100.1"), MESSAGE),
    ("iprev", "temperror"): (failing(f"PTR {US}"), MESSAGE),
    ("iprev", "permerror"): (nothing, MESSAGE),
}

ACTIONS = ("pass", "tag", "junk", "hold", "defer", "reject")
"""Of ``quarantine`` both kinds."""
TABLE = [(method, word, action) for method, words in WORDS.items() for word in words for action in ACTIONS]


def test_each_result_has_its_condition() -> None:
    assert list(CONDITIONS) == [(method, word) for method, words in WORDS.items() for word in words]


def configuration(method: str, word: str, action: str) -> str:
    """All other results pass, those among them that by default do not."""
    tables = {name: dict.fromkeys(actions, "pass") for name, actions in DEFAULTS.items()}
    tables.setdefault(method, {})[word] = "quarantine" if action in ("junk", "hold") else action
    told = "".join(
        f"[trust.{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in actions.items())
        for name, actions in tables.items()
    )
    quarantine = f'quarantine = "{action}"\n' if action in ("junk", "hold") else ""
    return f'[trust]\ntrusted_sealers = ["lists.example"]\n{quarantine}{told}{ROUTE}'


def statuses() -> dict[str, str]:
    """The page's, without the class: ``{"spf": "7.23", ...}``; errors of SPF's are ``spf error``."""
    return dict(re.findall(r"^   \* - ``([a-z ]+)``\n     - 550 5\.([0-9.]+)", PAGE, re.MULTILINE))


@pytest.mark.parametrize(("method", "word", "action"), some(TABLE, 17, 5))
def test_what_becomes_of_it(method: str, word: str, action: str) -> None:
    condition, message = CONDITIONS[method, word]
    text = configuration(method, word, action)
    if (word, action) == ("temperror", "reject"):
        with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="trouble that may pass")):
            Gateway(text)
        return
    with Gateway(text) as gateway:
        condition(gateway.dns)
        answer = gateway.receive(message, sender="ann@example.net", to=BOB, client=US)
        [told] = [one for one in gateway.journal if isinstance(one, fact.Authenticated)]
        result = {"vouched": "fail", "no_author": "none", "unclear_author": "permerror"}.get(word, word.split("_")[0])
        results = [one for one in told.results if one.startswith(f"{method}=")]
        assert results[0].startswith(f"{method}={result}"), results
        assert told.vouched_by == ("lists.example" if word == "vouched" else "")

        if action in ("defer", "reject"):
            is_error = method == "spf" and word.endswith("error")
            status = statuses()["spf error" if is_error else method]
            assert str(answer).startswith(f"550 5.{status} " if action == "reject" else f"451 4.{status} ")
            assert answer.stage == "CONTENT"
            assert not gateway.stored
            [refused] = [one for one in gateway.journal if isinstance(one, fact.Rejected)]
            assert (refused.stage, refused.rule, refused.code) == ("CONTENT", "trust", answer.code)
            assert refused.why.startswith(f"{method}={result}")
            return

        assert answer.code == 250, gateway.explain()
        arrival = gateway.stored[answer.queue_id].arrival
        assert next(one for one in gateway.authentication(answer.queue_id) if one.method == method).result == result
        ours = f"{method}.{word}"
        tags = {"pass": (), "junk": (ours, JUNK_TAG)}.get(action, (ours,))
        assert arrival.parameters.tags == tags
        if action == "hold":
            assert arrival.held.startswith(f"quarantined by rule trust: {method}={result}")
            gateway.assert_held(to=BOB, reason=f"{method}={result}")
        else:
            gateway.assert_delivered(to=BOB, containing=b"Authentication-Results: mx.example.org;\r\n", count=1)
        inbox, junk = len(gateway.mailbox(BOB)), len(gateway.junk(BOB))
        assert (inbox, junk) == {"junk": (0, 1), "hold": (0, 0)}.get(action, (1, 0))
        effects = [one.effects for one in gateway.journal if isinstance(one, fact.Changed)]
        more = {"junk": ("junk",), "hold": ("quarantine",)}.get(action, ())
        assert effects == ([] if action == "pass" else [(f"tag {ours}", *more)])


def test_the_page_tells_the_actions_and_the_results() -> None:
    assert set(re.findall(r'^``"([a-z]+)"``$', PAGE, re.MULTILINE)) == {one.name.lower() for one in Action}
    for words in WORDS.values():
        for word in words:
            assert re.search(rf"\b{word}\b", PAGE), word
    assert set(statuses()) == {*WORDS, "spf error"}
