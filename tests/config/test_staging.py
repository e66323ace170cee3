import pickle
from pathlib import Path

import pytest

from mailgw.config.doubts import doubts
from mailgw.config.load import load
from mailgw.config.settings import Config
from mailgw.config.staging import has_inbox
from mailgw.config.trial import trial
from mailgw.config.where import config_faults
from mailgw.deliver.inbox_settings import Capture, InboxSettings
from mailgw.deliver.maildir import MaildirSettings
from mailgw.store.captured import Bounds
from tests.tables import each

BASE = """
hostname = "mx.example.org"
state = "state"
[[listen]]
role = "mx"
endpoint = "tcp:2525:interface=127.0.0.1"
[[route]]
recipients = ["@example.org"]
backend = "mailboxes"
[[route]]
recipients = ["@example.com"]
backend = "both"
[[route]]
recipients = ["*"]
backend = "internet"
[backend.mailboxes]
type = "maildir"
path = "mail/{domain}/{local_part}"
recipients = "any"
delimiter = "-"
[backend.internet]
type = "smtp"
[backend.dovecot]
type = "lmtp"
hosts = ["127.0.0.1:24"]
[backend.both]
type = "fan-out"
backends = ["mailboxes", "internet"]
[backend.seen]
type = "inbox"
[backend.mine]
type = "given:mine"
[tls_reports]
contact = "tls@example.org"
[dmarc_reports]
contact = "dmarc@example.org"
[dkim]
publish = ["/bin/true"]
[dkim.domains."example.org"]
"""


def config(tmp_path: Path, staging: str) -> Config:
    file = tmp_path / "mailgw.toml"
    text = BASE.replace('type = "given:mine"', 'type = "python:tests.config.test_apps:nothing"')
    text = text.replace('[backend.mine]\ntype = "python:tests.config.test_apps:nothing"\n', "")
    file.write_text(text + staging)
    return load(str(file))


def faults(tmp_path: Path, staging: str) -> list[str]:
    with pytest.raises(ExceptionGroup) as caught:
        config(tmp_path, staging)
    return [f"{fault.key}: {fault.why}" for fault in config_faults(caught.value)]


def test_without_it_all_is_as_it_is(tmp_path: Path) -> None:
    found = config(tmp_path, "")
    assert found.staging is None
    assert found.inbox == Bounds(5000, 1 << 30)
    assert found.backends["seen"] == InboxSettings()
    assert [name for name, one in found.backends.items() if isinstance(one, InboxSettings)] == ["seen"]
    assert found.tls_reports is not None
    assert found.dkim.publish == ("/bin/true",)
    assert has_inbox(found)


def test_every_backend_is_the_inbox(tmp_path: Path) -> None:
    found = config(tmp_path, "[staging]\n[inbox]\nmessages = 7\noctets = '1MiB'\n")
    assert found.backends == {
        "mailboxes": InboxSettings("maildir", "-"), "internet": InboxSettings("smtp"),
        "dovecot": InboxSettings("lmtp"), "both": InboxSettings("fan-out", "-"), "seen": InboxSettings(),
    }
    assert found.inbox == Bounds(7, 1 << 20)
    assert (found.tls_reports, found.dmarc_reports, found.dkim.publish) == (None, None, ())
    assert found.outbound_sessions == 0
    assert [route.backend for route in found.routes] == ["mailboxes", "both", "internet"]
    staging = found.staging
    assert staging is not None
    assert (staging.capture, staging.scripted, staging.let_out) == (Capture.ALL, True, ())
    assert dict(staging.held_back) == {
        "mailboxes": "maildir", "internet": "smtp", "dovecot": "lmtp", "both": "fan-out"}
    [doubt] = [one for one in doubts(found) if one.key == "staging"]
    begin = "STAGING: nothing leaves; all mail is kept in the inbox, in place of mailboxes (maildir)"
    assert doubt.why.startswith(begin)
    assert pickle.loads(pickle.dumps(found)) == found, "workers get it so"


def test_some_are_let_out(tmp_path: Path) -> None:
    found = config(tmp_path, "[staging]\nlet_out = ['both', 'internet']\n")
    assert [name for name, one in found.backends.items() if isinstance(one, InboxSettings)] == [
        "mailboxes", "dovecot", "seen"]
    assert found.staging is not None
    assert found.staging.words.endswith("in place of mailboxes (maildir), dovecot (lmtp); let out: both, internet")


def test_copies_alone(tmp_path: Path) -> None:
    found = config(tmp_path, "[staging]\ncapture = 'delivered'\nscripted = false\n")
    assert isinstance(found.backends["mailboxes"], MaildirSettings)
    assert found.tls_reports is not None
    assert found.staging is not None
    assert (found.staging.is_closed, found.staging.scripted) == (False, False)
    assert not [one for one in doubts(found) if one.key == "staging"]


@each(("staging", "said"), [
    ("[staging]\nlet_out = ['intranet']\n",
     ["staging.let_out: there is no [backend.intranet]; did you mean internet?"]),
    ("[staging]\nlet_out = 'internet'\n", ["staging.let_out"]),
    ("[staging]\ncapture = 'some'\n", ["staging.capture"]),
    ("[staging]\ncapture = 'delivered'\nlet_out = ['internet']\n", ["staging.let_out: is for capture"]),
    ("[inbox]\nmessages = 0\n", ["inbox.messages"]),
    ("[inbox]\noctets = 0\n", ["inbox.octets"]),
    ("[inbox]\noctets = 1048575\n", ["inbox.octets: expected 1MiB at least"]),
])
def test_faults(tmp_path: Path, staging: str, said: list[str]) -> None:
    found = faults(tmp_path, staging)
    assert len(found) == len(said)
    for one, begin in zip(found, said, strict=True):
        assert one.startswith(begin.partition("; did")[0]), one


def test_the_trial_has_copies_of_what_it_delivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailgw.config.trial.make_hash", lambda password, salt: "{PLAIN}" + password.decode())
    found = trial(str(tmp_path / "state"), lambda line: None)
    assert found.staging is not None
    assert (found.staging.capture, found.staging.scripted) == (Capture.DELIVERED, True)
