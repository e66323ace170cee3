"""``mailgw dkim``: its words and exit statuses, on a real folder, with a resolver that is plain data."""

import json
import os
import pwd
import re
import shutil
import socket
import stat
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from mailgw import dkim_command, dkim_desk
from mailgw.config.load import load
from mailgw.ctl import main, options_of
from mailgw.disk import Disk
from mailgw.dkim_desk import KeyDesk, by_public_suffix
from mailgw.queue_door import is_listening
from mailgw.store.dkim_keys import KeyFolder, new_key
from mailgw.terminal import Fault
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust.dkim_rotation import DAY_SECONDS, KeyType, RotationRules, looked
from tests.config.making import SMALL, faults_of
from tests.tables import each

NOW = 1_700_000_000.0
CONFIG = SMALL + '[dkim.domains."example.org"]\n'
R, E = "mg-20231114-r", "mg-20231114-e"
Output = pytest.CaptureFixture[str]


class Desk:
    """The command, its time and its DNS."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
        self.file = folder / "mailgw.toml"
        self.file.write_text(CONFIG)
        self.now = NOW
        self.records: dict[str, list[bytes]] = {}
        self.resolver = FakeResolver(text_records=self.records)
        self.keys = KeyFolder(str(folder / "state" / "dkim"), Disk())
        (folder / "state").mkdir(mode=0o700)
        self._output = output
        monkeypatch.setattr(dkim_command, "_desk", lambda options: KeyDesk(
            load(str(self.file), with_keys=False), self.resolver, lambda: self.now))

        def run_once(coroutine: Coroutine[Any, Any, object]) -> object:
            return result_of(coroutine)

        monkeypatch.setattr(dkim_command, "run_once", run_once)

    def run(self, *words: str, status: int = 0) -> str:
        code = main(["dkim", *words])
        out, err = self._output.readouterr()
        assert code == status, out + err
        assert "PRIVATE" not in out + err
        return out + err

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", status=status))

    def publish(self) -> None:
        for key in self.json("show", "--no-dns")["domains"][0]["keys"]:
            self.records[key["name"]] = [key["value"].encode()]

    def states(self) -> dict[str, str]:
        return {key.selector: key.state.value for key in self.keys.keys("example.org")}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> Desk:
    monkeypatch.setattr("mailgw.deliver.key_rotation.new_key", lambda kind, bits: new_key(kind, 1024))
    return Desk(tmp_path, monkeypatch, capsys)


def test_the_way_of_keys_by_hand(desk: Desk) -> None:
    made = desk.run("make", "example.org")
    line = rf'^{R}\._domainkey\.example\.org\. IN TXT \( ("v=DKIM1; k=rsa; p=[A-Za-z0-9+/=]+") \)$'
    [rsa] = re.findall(line, made, re.MULTILINE)
    assert f"\n{R}._domainkey.example.org\n{rsa[1:-1]}\n" in made
    assert f"\n{E}._domainkey.example.org\nv=DKIM1; k=ed25519; p=" in made
    assert "example.org: nothing signs\n" in made
    assert "next  publish the record; it signs as soon as DNS shows it" in made
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in Path(desk.keys.path).rglob("*.pem")}
    assert modes == {f"{R}.pem": 0o600, f"{E}.pem": 0o600}
    assert "does not show it: there is no such name" in desk.run("check", status=1)
    waiting = desk.run("rotate", "example.org", status=1)
    assert "publish the record" in waiting
    desk.publish()
    assert desk.run("rotate", "example.org").startswith(f"DNS shows {R}._domainkey.example.org\n")
    assert desk.states() == {R: "signing", E: "signing"}
    assert desk.run("check").startswith("example.org\n")
    # A rotation.
    desk.now += 100 * DAY_SECONDS
    begun = desk.run("rotate", "example.org", status=1)
    assert "a new rsa key mg-20240222-r was made for example.org; publish its record at mg-20240222-r." in begun
    assert desk.states() == {R: "signing", E: "signing", "mg-20240222-r": "wanted", "mg-20240222-e": "wanted"}
    assert "it signs once DNS has shown it for 2 days" in desk.run("show", "example.org")
    desk.publish()
    assert "it signs from 2024-02-24 22:13 UTC" in desk.run("rotate", "example.org")
    assert desk.states()[R] == "signing"
    for _ in range(3):  # of the time between two looks not all counts
        desk.now += DAY_SECONDS / 2
        desk.run("rotate", "example.org", status=0)
        assert desk.states()[R] == "signing"
    desk.now += DAY_SECONDS / 2
    assert "leave its record in DNS for 7 days" in desk.run("rotate", "example.org")
    assert desk.states() == {R: "retired", E: "retired", "mg-20240222-r": "signing", "mg-20240222-e": "signing"}
    told = desk.run("show")
    assert "signs no more since 2024-02-24 22:13 UTC; leave the record in DNS until 2024-03-02 22:13 UTC" in told
    for _ in range(13):  # the gateway looks meanwhile
        desk.now += DAY_SECONDS / 2
        desk.keys.change("example.org", lambda keys: looked(keys, {}, RotationRules(), desk.now).keys)
    desk.now += DAY_SECONDS / 2
    assert len(desk.json("rotate", "example.org", status=1)["moves"]) == 4, "two are gone, and it begins anew"
    told = desk.run("show")
    assert f"needs these any more; remove them from DNS, if they are there:\n{R}._domainkey.example.org\n" in told
    assert not os.path.exists(desk.keys.file("example.org", R))


def test_the_first_keys_sign_once_a_check_finds_them_all(desk: Desk) -> None:
    desk.run("make", "example.org")
    desk.publish()
    told = desk.run("show", "example.org")
    assert told.count("next  published; the gateway looks again by 2023-11-14 22:25 UTC, and signs then\n") == 2
    assert "PUBLISHED; keep these in DNS, as they are:\n" in told
    assert "TO PUBLISH NOW" not in told
    assert "mailgw: mailgw dkim check example.org lets them sign now\n" in told
    name = f"{E}._domainkey.example.org"
    record = desk.records.pop(name)
    told = desk.run("check", status=1)
    assert (told.count("the gateway looks again by"), told.count("publish the record; it signs as soon")) == (1, 1)
    assert "lets them sign now" not in told
    assert set(desk.states().values()) == {"wanted"}
    desk.records[name] = record
    told = desk.run("check")
    assert f"example.org signs with the rsa key {R} now\n" in told
    assert told.count("next  signs since 2023-11-14 22:13 UTC") == 2
    assert desk.states() == {R: "signing", E: "signing"}
    # Of a domain that signs, a check changes nothing.
    desk.run("make", "example.org", "--selector", "b")
    desk.publish()
    assert "signs with" not in desk.run("check")
    assert desk.states()["b-r"] == "wanted"


def test_a_key_that_cannot_be_read_does_not_begin_by_a_check(desk: Desk) -> None:
    desk.run("make", "example.org")
    desk.publish()
    os.remove(desk.keys.file("example.org", E))
    desk.run("check", status=1)
    assert set(desk.states().values()) == {"wanted"}


def test_what_is_made_beside_keys_that_sign(desk: Desk) -> None:
    desk.run("make", "example.org")
    desk.publish()
    desk.run("check")
    told = desk.run("make", "example.org", "--selector", "b")
    assert "nothing signs" not in told
    assert R not in told
    assert desk.json("make", "example.org", "--selector", "c")["domains"][0]["signs"] is True


def test_records_are_marked_by_what_is_to_be_done(desk: Desk) -> None:
    desk.run("make", "example.org")
    desk.publish()
    desk.run("check")
    begun = desk.run("rotate", "example.org", status=1)
    first, _, second = begun.partition("PUBLISHED; keep these in DNS, as they are:\n")
    records = first.partition("TO PUBLISH NOW, as lines of a zone file:\n")[2]
    assert re.findall(r"^(\S+)\._domainkey\.example\.org\. IN TXT", records, re.MULTILINE) == [
        "mg-20231114-2-r", "mg-20231114-2-e"]
    assert re.findall(r"^(\S+)\._domainkey\.example\.org\. IN TXT", second, re.MULTILINE) == [R, E]
    del desk.records[f"{R}._domainkey.example.org"]
    told = desk.run("show")
    assert "next  publish the record at once: it signs, and others cannot verify that\n" in told
    assert f"{R}._domainkey.example.org. IN TXT" in told.partition("PUBLISHED")[0]


def test_without_a_gateway_the_journal_has_nothing_and_the_command_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "no gateway runs: the journal has nothing of this"
    assert desk.run("make", "example.org").count(words) == 1
    assert words not in desk.run("show")
    monkeypatch.setattr(dkim_desk, "is_listening", lambda path: True)
    assert words not in desk.run("make", "example.org", "--selector", "b")


def test_whether_a_gateway_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is 107 octets at most
    assert not is_listening("control.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind("control.sock")
        assert not is_listening("control.sock"), "it was left behind"
        door.listen()
        assert is_listening("control.sock")
    assert is_listening("x" * 200), "nobody knows"


def test_removing_what_never_signed(desk: Desk) -> None:
    assert "has no key that never signed" in desk.run("remove", "example.org", status=2)
    desk.run("make", "exmaple.org", "--anyway")
    told = desk.run("remove", "exmaple.org")
    assert f"nothing needs {R}._domainkey.exmaple.org any more; remove that record" in told
    assert desk.keys.keys("exmaple.org") == ()
    assert not os.path.exists(desk.keys.file("exmaple.org", R))
    assert "exmaple.org" not in desk.run("show")
    desk.run("make", "example.org")
    desk.publish()
    desk.run("check")
    desk.run("make", "example.org", "--selector", "b")
    desk.run("remove", "example.org")
    assert desk.states() == {R: "signing", E: "signing"}


def test_a_key_that_waits_signs_at_once_when_the_last_one_is_retired(desk: Desk) -> None:
    desk.run("make", "example.org", "--algorithm", "rsa")
    desk.publish()
    desk.run("check")
    desk.run("make", "example.org", "--algorithm", "rsa", "--selector", "new")
    desk.publish()
    assert "published; it signs once DNS has shown it for 2 days, at the gateway's looks" in desk.run("show")
    desk.run("rotate", "example.org")
    assert "it signs from 2023-11-16 22:13 UTC" in desk.run("show")
    told = desk.run("retire", R, "--force")
    assert "2023-11-16" not in told
    assert "next  published; the gateway looks again by 2023-11-14 22:25 UTC, and signs then\n" in told
    desk.run("check")
    assert desk.states() == {R: "retired", "new": "signing"}
    desk.records.clear()
    assert "publish the record again: what it signed is under way until" in desk.run("show")


def test_retiring(desk: Desk) -> None:
    desk.run("make", "example.org")
    desk.publish()
    desk.run("rotate", "example.org")
    assert "only RSA key that example.org signs with, and not everybody can verify" in desk.run("retire", R, status=2)
    assert desk.states() == {R: "signing", E: "signing"}
    assert "example.org signs with mg-20231114-e no more; leave its record" in desk.run("retire", E)
    assert "only key that example.org signs with: begin with mailgw dkim rotate" in desk.run("retire", R, status=2)
    assert desk.states() == {R: "signing", E: "retired"}
    assert "example.org: nothing signs" in desk.run("retire", R, "--force")
    assert "is retired already" in desk.run("retire", R, status=2)
    assert "no key none: see mailgw dkim show" in desk.run("retire", "none", status=2)
    desk.file.write_text(CONFIG + '[dkim.domains."example.net"]\n')
    desk.run("make", "example.net", "--algorithm", "ed25519", "--selector", "two")
    desk.run("make", "example.org", "--algorithm", "ed25519", "--selector", "two")
    assert "example.net, example.org have a key two: say which, by --domain" in desk.run("retire", "two", status=2)
    assert "nothing needs two._domainkey.example.net any more" in desk.run("retire", "two", "--domain", "example.net")


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives folders to others")
def test_root_makes_no_state_folder_of_its_own(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    assert f"chown -R USER {state}" in desk.run("make", "example.org", "--selector", "a"), "root's already"
    shutil.rmtree(state)
    told = desk.run("make", "example.org", status=2)
    assert f"there is no folder {state} yet, and nobody knows as whom the gateway will run: start it once, or" in told
    assert "there is no user nobody-such" in desk.run("make", "example.org", "--user", "nobody-such", status=2)
    assert not state.exists()
    acted: list[tuple[int, int]] = []

    def acting_as(owner: tuple[int, int]) -> AbstractContextManager[None]:
        acted.append(owner)
        return nullcontext()

    monkeypatch.setattr(dkim_desk, "acting_as", acting_as)
    assert "chown" not in desk.run("make", "example.org", "--user", "nobody")
    nobody = pwd.getpwnam("nobody")
    for path in (state, state / "dkim"):
        assert (path.owner(), stat.S_IMODE(path.stat().st_mode)) == ("nobody", 0o700)
    assert (nobody.pw_uid, nobody.pw_gid) == acted[-1]
    assert "a new rsa key b-r" in desk.run("make", "example.org", "--selector", "b"), "it is known from now on"


def test_names_that_cannot_be_leave_nothing(desk: Desk, tmp_path: Path) -> None:
    long = ".".join(["a" * 60, "b" * 60, "c" * 60, "d" * 60])
    told = desk.run("make", long, "--anyway", status=2)
    assert f"{R}._domainkey.{long} would have 268 characters: 253 are the most of a name in DNS" in told
    with pytest.raises(SystemExit):
        desk.run("make", "example.org", "--selector", "a" * 124)
    selector = ".".join(["a" * 60] * 2)
    assert "has 121 characters: 100 are the most" in desk.run(
        "make", "example.org", "--algorithm", "rsa", "--selector", selector, status=2)
    assert os.listdir(tmp_path / "state") == []


def test_making(desk: Desk) -> None:
    assert "no keys in" not in desk.run("show", status=0), "the domain is configured"
    assert "no keys: make some with mailgw dkim make example.org" in desk.run("check", status=1)
    assert "has no keys: make some with" in desk.run("rotate", "example.org", status=2)
    made = desk.json("make", "example.org", "--selector", "a")
    assert [(key["selector"], key["type"], key["state"]) for key in made["domains"][0]["keys"]] == [
        ("a-r", "rsa", "wanted"), ("a-e", "ed25519", "wanted")]
    assert made["domains"][0]["keys"][1]["zone"].startswith('a-e._domainkey.example.org. IN TXT ( "v=DKIM1; k=ed25519')
    assert "a-r and a-e already, to be published" in desk.run("make", "example.org", status=2)
    assert "the selector a-r is in use" in desk.run("make", "example.org", "--selector", "a", status=2)
    assert "1024 bits can be broken" in desk.run(
        "make", "example.org", "--algorithm", "rsa", "--bits", "1024", "--selector", "b")
    # A domain that the gateway does not sign for.
    why = 'does not sign for other.example: add [dkim.domains."other.example"] to the configuration first'
    assert why in desk.run("make", "other.example", status=2)
    told = desk.run("make", "other.example", "--anyway")
    assert 'does not sign for other.example before the configuration has [dkim.domains."other.example"]' in told
    assert main(["dkim", "check", "other.example"]) == 1


def test_what_dns_says_of_them(desk: Desk) -> None:
    desk.run("make", "example.org", "--selector", "a")
    desk.publish()
    desk.run("rotate", "example.org")
    desk.records["elsewhere.example.net"] = desk.records.pop("a-r._domainkey.example.org")
    desk.resolver.aliases = {"a-r._domainkey.example.org": "elsewhere.example.net"}
    assert "DNS   shows the record (by a CNAME to elsewhere.example.net)" in desk.run("check")
    desk.records["a-e._domainkey.example.org"] = [b"v=DKIM1; k=ed25519; p=AAAA\x1b[31m"]
    told = desk.run("check", status=1)
    assert "shows something else: " in told
    assert "\x1b" not in told
    desk.publish()
    desk.resolver.aliases = {}
    desk.resolver.failing = frozenset({"TXT a-r._domainkey.example.org"})
    assert "gives no answer: " in desk.run("check", status=2)
    assert "was not asked" in desk.run("show", "--no-dns")
    desk.resolver.failing = frozenset()
    path = desk.keys.file("example.org", "a-r")
    os.chmod(path, 0o644)
    assert f"file  {path}: is open to every user here: chmod o= {path}" in desk.run("check", status=1)


def test_what_else_the_domain_says(desk: Desk) -> None:
    desk.run("make", "example.org", "--selector", "a")
    told = desk.run("check", status=1)
    assert "SPF     no record" in told
    assert "DMARC   no record: publish one at _dmarc.example.org" in told
    desk.records["example.org"] = [b"v=spf1 mx -all"]
    desk.records["_dmarc.example.org"] = [b"v=DMARC1; p=quarantine"]
    told = desk.run("check", status=1)
    assert "  SPF     there is a record\n  DMARC   p=quarantine\n" in told
    assert "list of public suffixes" not in told
    desk.records["example.org"] = [b"v=spf1 mux"]
    desk.records["_dmarc.example.org"] = [b"v=DMARC1; p=x"]
    told = desk.run("check", status=1)
    assert "SPF     the record is faulty: " in told
    assert "DMARC   the record at _dmarc.example.org is faulty: " in told


def test_where_readers_of_rfc_7489_find_another_organization(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.file.write_text(SMALL + '[dkim.domains."mail.shop.example.co.uk"]\n')
    desk.run("make", "mail.shop.example.co.uk", "--selector", "a")
    desk.records["_dmarc.shop.example.co.uk"] = [b"v=DMARC1; p=reject; psd=n"]
    told = desk.run("check", status=1)
    assert "p=reject, at _dmarc.shop.example.co.uk" in told
    assert "is shop.example.co.uk by the walk of RFC 9989, and example.co.uk for readers of RFC 7489" in told
    monkeypatch.setitem(__import__("sys").modules, "publicsuffixlist", None)
    assert 'pip install "mailgw[psl]"' in desk.run("check", status=1)
    assert by_public_suffix("example.org")[0] == ""


def test_keys_that_the_configuration_names_are_shown_and_left_alone(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_bytes(new_key(KeyType.ED25519))
    os.chmod(tmp_path / "own.pem", 0o600)
    desk.file.write_text(CONFIG + 'keys = { own = "own.pem" }\n')
    assert "own  Ed25519, configured" in desk.run("check", status=1)
    desk.publish()
    assert "shows the record" in desk.run("check")
    for words in (["make", "example.org"], ["rotate", "example.org"]):
        assert "names key files of your own, which you rotate yourself" in desk.run(*words, status=2)


def test_what_a_configuration_check_says_of_the_folder(desk: Desk) -> None:
    assert faults_of(desk.file) == []
    desk.run("make", "example.org")
    desk.publish()
    desk.run("rotate", "example.org")
    assert faults_of(desk.file) == []
    os.remove(desk.keys.file("example.org", R))
    [fault] = faults_of(desk.file)
    assert "cannot be read: No such file or directory" in fault
    assert f"mailgw dkim retire {R}" in fault
    assert "file  " in desk.run("check", status=1)
    assert "only RSA key" in desk.run("retire", R, status=2)
    desk.run("retire", R, "--force")
    assert faults_of(desk.file) == []
    Path(desk.keys.path, "example.org", "keys.json").write_text("{")
    assert "keys.json: " in desk.run("check", status=2)
    [fault] = faults_of(desk.file)
    assert "keys.json" in fault


@each(("line", "why"), [
    ('rotate = "12h"', 'expected "1d" at least'),
    ('rotate = "90d"\nkeys = { a = "own.pem" }', "yours to rotate"),
])
def test_faults_of_a_domain_s_table(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "own.pem").write_bytes(new_key(KeyType.ED25519))
    os.chmod(tmp_path / "own.pem", 0o600)
    file = tmp_path / "mailgw.toml"
    file.write_text(f"{CONFIG}{line}\n")
    assert why in faults_of(file)[0]


@each(("line", "why"), [
    ('wait = "59m"', 'expected "1h" at least'), ('wait = "1h"', ""), ('retire = "23h"', 'expected "1d" at least'),
    ('retire = "1d"', ""), ('publish = ["sh"]', "absolute path"), ('publish = ["/none"]', "is missing, or may not"),
    ('publish = ["/bin/sh", "-c"]', ""), ("publish = []", "at least one"),
])
def test_faults_of_the_table(tmp_path: Path, line: str, why: str) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(f"{SMALL}[dkim]\n{line}\n")
    found = faults_of(file)
    assert (why in found[0]) if why else found == []


@each("words", [
    ["make", "example"], ["make", "example.org.."], ["make", "[192.0.2.1]"], ["make", "a b"], ["make"], [],
    ["make", "example.org", "--bits", "1023"],
    ["make", "example.org", "--bits", "4097"], ["make", "example.org", "--bits", "x"],
    ["make", "example.org", "--selector", "a/b"], ["make", "example.org", "--selector", "a_b"], ["retire"], ["rotate"],
])
def test_command_lines_that_make_no_sense(words: list[str]) -> None:
    with pytest.raises(SystemExit) as status:
        options_of(["dkim", *words])
    assert status.value.code == 2


def test_names_in_other_letters() -> None:
    assert options_of(["dkim", "make", "Müller.Example", "--bits", "4096"]).domain == "xn--mller-kva.example"
    assert options_of(["dkim", "make", "Shop.Example."]).domain == "shop.example"
    assert options_of(["-c", "x.toml", "dkim", "show"]).config == "x.toml"


def test_by_root_the_keys_belong_to_the_gateway_s_user(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    acted: list[tuple[int, int]] = []
    state = Path(desk.keys.path).parent
    owner = (state.stat().st_uid, state.stat().st_gid)

    class Acting:
        def __init__(self, who: tuple[int, int]) -> None:
            acted.append(who)

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(dkim_desk, "acting_as", Acting)
    monkeypatch.setattr(KeyDesk, "_owner", lambda self: (12345, 54321))
    desk.run("make", "example.org", "--selector", "a")
    assert owner
    assert set(acted) == {(12345, 54321)}


def test_faults_say_what_to_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: KeyFolder, domain: str) -> None:
        raise PermissionError(13, "Permission denied", "/state/dkim/example.org/keys.json")

    config = load(str(desk.file))
    monkeypatch.setattr(KeyFolder, "keys", refuse)
    with pytest.raises(Fault, match=r"keys.json: Permission denied; run this as root, or as the gateway's user"):
        KeyDesk(config, desk.resolver).make("example.org", ["rsa"], 2048)
