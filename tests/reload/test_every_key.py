"""Each key of the configuration takes effect at a reload, or is named as one that needs a restart."""

from typing import Any

import attrs

from mailgw.config.changes import changes
from mailgw.config.document import Document, LimitsTable
from mailgw.config.settings import Config, LimitSettings
from mailgw.reloading import restart_faults
from mailgw.testing import Gateway, ScriptedBackend
from tests.reload.test_changes import BASE, config_of
from tests.reload.test_generations import HELLO, ONE
from tests.tables import each

# Each value of a ``Config``: what makes another one of it hold.
MADE_ANEW = frozenset({  # by the generation, whole
    "hostname", "postmaster", "postmaster_is_set", "trusted_clients", "tls", "listeners", "passwd_file", "logins",
    "senders", "check_from", "aliases", "directories", "srs", "srs_file", "trust", "dkim", "rules", "observers",
    "routes", "conversations", "backends", "retry", "reply_classes", "reports", "dns", "staging",
})
CHANGED = frozenset({  # in what lasts
    "limits", "journal", "spool", "tls_reports", "dmarc_reports", "api", "inbox", "event_hooks", "maildrop",
})
RESTART = frozenset({"state", "workers"})
NOTHING = frozenset({"file", "document", "written", "port_hint"})  # no keys


def test_each_value_has_its_way() -> None:
    """A new one has to be thought of: who uses it, and when would it hold?"""
    names = {field.name for field in attrs.fields(Config)}
    ways: list[frozenset[str]] = [MADE_ANEW, CHANGED, RESTART, NOTHING]
    assert names ^ frozenset().union(*ways) == set()
    assert sum(map(len, ways)) == len(names)


def test_each_that_needs_a_restart_says_so() -> None:
    config = config_of(BASE)
    others: dict[str, Any] = {"state": "/elsewhere", "workers": 7}
    assert others.keys() == RESTART
    for name, value in others.items():
        [fault] = restart_faults(config, attrs.evolve(config, **{name: value}))
        assert f"{name}: needs a restart" in fault
    for name in MADE_ANEW | CHANGED - {"api"}:
        assert restart_faults(config, attrs.evolve(config, **{name: object() if name != "listeners" else ()})) == []


def test_each_limit_that_changes_is_told() -> None:
    document = config_of(BASE).document
    assert document is not None
    for field in attrs.fields(LimitsTable):
        if field.name in ("spot", "given"):
            continue
        had = getattr(document.limits, field.name)
        other: Any = attrs.evolve(had, count=7) if attrs.has(type(had)) else 7
        [line] = changes(document, attrs.evolve(document, limits=attrs.evolve(document.limits, **{field.name: other})))
        assert line.startswith(f"changed limits.{field.name}: "), line


def test_each_table_and_key_at_the_top_that_changes_is_told() -> None:
    document = config_of(BASE).document
    assert document is not None
    for field in attrs.fields(Document):
        if "reader" in field.metadata:
            lines = changes(document, attrs.evolve(document, **{field.name: "something else"}))
            assert lines, field.name
            assert all(field.name in line for line in lines)


def test_limits_of_clients_change_in_what_counts_them() -> None:
    with Gateway({**ONE, "limits": {"sessions_per_address": 2}}, backends={"desk": ScriptedBackend()}) as gateway:
        first, second = gateway.connect(), gateway.connect()
        assert first.reply().code == second.reply().code == 220
        assert gateway.connect().reply().code == 421
        gateway.reload({**ONE, "limits": {"sessions_per_address": 3}})
        assert gateway.connect().reply().code == 220
        assert gateway.connect().reply().code == 421  # those of before are counted


def test_the_limit_of_sessions_changes() -> None:
    with Gateway({**ONE, "limits": {"sessions": 1, "sessions_per_address": 1}},
                 backends={"desk": ScriptedBackend()}) as gateway:
        assert gateway.connect("192.0.2.1").reply().code == 220
        assert gateway.connect("192.0.2.2").reply().code == 421
        gateway.reload({**ONE, "limits": {"sessions": 2, "sessions_per_address": 1}})
        assert gateway.connect("192.0.2.2").reply().code == 220


@each(
    ("rates", "wait"),
    [
        (("1/1h", "1/1h"), 3600.0),
        (("1/1h", "60/1h"), 0.0),  # one of sixty is owed
        (("60/1h", "1/1h"), 3600.0),
        (("1/1h", "1/1m"), 60.0),
    ],
)
def test_a_rate_that_changes_keeps_what_is_owed(rates: tuple[str, str], wait: float) -> None:
    one, other = ({**ONE, "limits": {"messages_per_address": rate}} for rate in rates)
    with Gateway(one, backends={"desk": ScriptedBackend()}) as gateway:
        assert gateway.receive(HELLO, sender="a@example.com", to="a@example.org").is_accepted
        gateway.reload(other)
        answers = []
        for pause in (0.0, max(0.0, wait - 10.0), 11.0):
            gateway.advance(seconds=pause)
            session = gateway.connect()
            session.reply()
            session.hello()
            answers.append(session.command("MAIL FROM:<a@example.com>").code)
            session.hang_up()
            gateway.settle()
            if answers[-1] == 250:
                break
        assert len(answers) == (3 if wait else 1), answers


def test_spool_and_attempts_have_their_new_times() -> None:
    with Gateway(ONE, backends={"desk": ScriptedBackend()}) as gateway:
        gateway.reload({**ONE, "limits": {"attempt_timeout": "5m"}})
        assert gateway._spool._lease_seconds == 600.0
        gateway.receive(HELLO, sender="a@example.com", to="a@example.org")
        gateway.advance(minutes=4, seconds=50)
        assert gateway.queue[0].attempts == 0
        gateway.advance(minutes=2)
        assert gateway.queue[0].attempts == 1


def test_reports_begin_and_end() -> None:
    reports = {**ONE, "dmarc_reports": {"contact": "dmarc@example.org"}, "tls_reports": {"contact": "tls@example.org"}}
    with Gateway(ONE, backends={"desk": ScriptedBackend()}) as gateway:
        ground = gateway.service._ground
        assert (ground.dmarc_reporting._reporting.reports, ground.peer_tls._reporting.reports) == (None, None)
        gateway.reload(reports)
        assert None not in (ground.dmarc_reporting._reporting.reports, ground.peer_tls._reporting.reports)
        gateway.reload(ONE)
        assert (ground.dmarc_reporting._reporting.reports, ground.peer_tls._reporting.reports) == (None, None)


def test_limits_that_last_are_known() -> None:
    """Those that live in what lasts; all others are settings of sessions, dispatchers and rules, made anew."""
    lasting = {"sessions", "crowded_seconds", "counters", "lockout", "reserve_octets", "attempt_seconds"}
    assert lasting < {field.name for field in attrs.fields(LimitSettings)}


def test_mail_of_our_own_has_the_new_limits() -> None:
    with Gateway(ONE, backends={"desk": ScriptedBackend()}) as gateway:
        gateway.reload({**ONE, "hostname": "mx9.example.org", "limits": {"message_octets": 70_000}})
        own = gateway.service._own_mail
        assert (own.hostname, own._message_octets) == ("mx9.example.org", 70_000)
