"""``[api]``: where the web listens, and whose tokens there are."""

from pathlib import Path

import pytest

from mailgw.config.checks import owner_faults
from mailgw.config.doubts import doubts
from mailgw.web.operations import Scope
from mailgw.web.tokens import Tokens
from tests.config.making import SMALL, faults_of, loaded, make_certificate
from tests.tables import each

SECRET = "s" * 32
TOKEN = """
[[api.token]]
name = "grafana"
scopes = ["read"]
secret_file = "grafana"
"""
TLS = """
[tls.shop]
certificate = "fullchain.pem"
private_key = "privkey.pem"
"""
FAR = TLS + "[api]\nendpoint = 'tcp:8025'\ntls = 'shop'\n"
LINES = SMALL.count("\n")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    make_certificate(folder)
    secret(folder / "grafana", SECRET)
    return folder / "mailgw.toml"


def secret(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_without_the_table_nobody_is_answered(file: Path) -> None:
    file.write_text(SMALL)
    assert loaded(file).api is None


def test_what_an_empty_table_comes_to(file: Path) -> None:
    file.write_text(SMALL + "[api]\n")
    config = loaded(file)
    assert config.api is not None
    assert config.api.endpoint == "tcp:8025:interface=127.0.0.1"
    assert (config.api.certificate, config.api.hosts, config.api.tokens) == (None, frozenset(), ())
    assert config.api.token_file == f"{config.state}/api-token"
    assert config.api.upload_octets == int(config.limits.message_octets * 4 / 3) + (1 << 20)


def test_whom_a_token_may_send_as(file: Path) -> None:
    bound = TOKEN + 'senders = ["@Shop.example", "ann@example.org"]\n'
    file.write_text(SMALL + "[api]\n" + bound.replace("read", "send"))
    api = loaded(file).api
    assert api is not None
    assert api.tokens[0].senders == ("@shop.example", "ann@example.org")
    file.write_text(SMALL + "[api]\n" + bound)
    why = 'api.token.senders: is for the scope "send", which this token does not have'
    assert faults_of(file) == [f"mailgw.toml:{LINES + 7}: {why}"]


def test_tokens(file: Path) -> None:
    file.write_text(SMALL + "[api]\nhosts = ['Mail.Example.org', '192.0.2.7']\n" + TOKEN)
    api = loaded(file).api
    assert api is not None
    [token] = api.tokens
    assert (token.name, token.scopes) == ("grafana", {Scope.READ})
    found = Tokens(api.tokens).find(SECRET)
    assert found is not None
    assert found.name == "grafana"
    assert Tokens(api.tokens).find(SECRET + "s") is None
    assert api.hosts == {"mail.example.org", "192.0.2.7"}


def test_no_secret_is_told(file: Path) -> None:
    file.write_text(SMALL + "[api]\n" + TOKEN)
    config = loaded(file)
    assert config.api is not None
    for words in (repr(config), str(config.api), repr(config.api.tokens)):
        assert SECRET not in words
        assert repr(config.api.tokens[0].digest) not in words


@each(
    ("text", "endpoint"),
    [
        ("[api]\nendpoint = 'unix:web.sock'\n", "unix:{folder}/web.sock"),
        ("[api]\nendpoint = 'tcp:8025:interface=127.0.0.2'\n", "tcp:8025:interface=127.0.0.2"),
        ("[api]\nendpoint = 'tcp:8025:interface=\\:\\:1'\n", "tcp:8025:interface=\\:\\:1"),
        (TLS + "[api]\nendpoint = 'tcp:8025'\ntls = 'shop'\n", "tcp:8025"),
        (TLS.replace(".shop", "") + "[api]\nendpoint = 'tcp:8025'\ntls = 'default'\n", "tcp:8025"),
    ],
)
def test_where_it_may_listen(file: Path, text: str, endpoint: str) -> None:
    file.write_text(SMALL + text)
    api = loaded(file).api
    assert api is not None
    assert api.endpoint == endpoint.format(folder=file.parent)


@each(
    ("text", "line", "fault"),
    [
        ("[api]\nendpoint = 'tcp:8025'\n", 2, "api.endpoint: tokens would go over the network in clear: say tls = …"),
        ("[api]\nendpoint = 'tcp:8025:interface=192.0.2.1'\n", 2, "api.endpoint: tokens would go over the network in"),
        ("[api]\nendpoint = 'systemd:domain=INET:index=0'\n", 2, "api.endpoint: tokens would go over the network in"),
        ("[api]\nendpoint = 'ssl:8025'\n", 2, "api.endpoint: expected an endpoint such as"),
        ("[api]\nendpoint = 'tcp:25:interface=127.0.0.1'\n", 2, "api.endpoint: cannot be bound beside a [[listen]]"),
        ("[api]\ntls = 'shop'\n", 2, "api.tls: there is no [tls.shop]"),
        ("[api]\ntls = 'default'\n", 2, "api.tls: there is no [tls]"),
        (TLS + "[api]\ntls = 'shopp'\n", 6, "api.tls: there is no [tls.shopp]; did you mean 'shop'?"),
        (TLS + "[api]\ntls = 'default'\n", 6, "api.tls: there is no [tls]"),
        ("[api]\nhosts = ['http://x.example']\n", 2, 'api.hosts: expected a host name such as "mail.example.org"'),
        ("[api]\nhost = ['x.example']\n", 2, "api.host: unknown key; did you mean 'hosts'?"),
        ("[api]\n[api.token]\nname = 'x'\n", 2, "api.token: expected [[api.token]], once for each"),
        ("[api]" + TOKEN.replace('"read"', '"reed"'), 4, "api.token.scopes: expected 'read', 'queue', 'send'"),
        ("[api]" + TOKEN.replace('"read"', ""), 4, "api.token.scopes: expected at least one"),
        ("[api]" + TOKEN.replace('scopes = ["read"]\n', ""), 2, "api.token.scopes: is missing"),
        ("[api]" + TOKEN.replace('"grafana"\nsec', '"a b"\nsec').replace('name = "grafana"', 'name = "a b"'), 3,
         "api.token.name: expected a name of up to 64"),
        ("[api]" + TOKEN.replace('name = "grafana"', 'name = "local"'), 3,
         "api.token.name: 'local' is what programs of this machine send as"),
        ("[api]" + TOKEN + TOKEN, 8, "api.token.name: 'grafana' is the name of another token"),
        ("[api]" + TOKEN + TOKEN.replace('name = "grafana"', 'name = "app"'), 10,
         "api.token.secret_file: has the same secret as another token"),
        ("[api]" + TOKEN.replace('e = "grafana"\n', 'e = "none"\n'), 5, "api.token.secret_file: none: cannot be read"),
        ("[api]" + TOKEN.replace('_file = "grafana"', '_file = "."'), 5, "api.token.secret_file: "),
    ],
)
def test_faults(file: Path, text: str, line: int, fault: str) -> None:
    file.write_text(SMALL + text)
    found = faults_of(file)
    assert any(one.startswith(f"mailgw.toml:{LINES + line}: {fault}") for one in found), found
    assert len(found) == 1


@each(
    ("text", "mode", "fault"),
    [
        ("s" * 31, 0o600, "expected one line of 32 to 512 characters, such as that of: openssl rand -hex 32"),
        ("s" * 32, 0o600, ""),
        ("s" * 512 + "\n", 0o600, ""),
        ("s" * 513, 0o600, "expected one line of 32 to 512 characters"),
        ("s" * 40, 0o640, "others may read it: expected mode 0600 (chmod go= it)"),
        ("s" * 40, 0o604, "others may read it"),
        ("s" * 40, 0o620, "others may read it"),
        ("s" * 40, 0o400, ""),
        ("s" * 40 + " s", 0o600, "expected letters, digits and punctuation of ASCII alone, in one line"),
        ("s" * 40 + "\n" + "t" * 40, 0o600, "expected letters, digits and punctuation of ASCII alone, in one line"),
        ("ä" * 40, 0o600, "expected letters, digits and punctuation of ASCII alone, in one line"),
        ("", 0o600, "expected one line of 32 to 512 characters"),
    ],
)
def test_files_of_tokens(file: Path, text: str, mode: int, fault: str) -> None:
    path = file.parent / "other"
    secret(path, text, mode)
    file.write_text(SMALL + "[api]" + TOKEN.replace('_file = "grafana"', '_file = "other"'))
    found = faults_of(file)
    assert [one.partition("other: ")[2][:len(fault)] for one in found] == ([fault] if fault else [])
    assert not any("ssss" in one for one in found), "the fault tells nothing of the secret"


def test_the_user_that_it_will_run_as_has_to_read_them(file: Path) -> None:
    file.write_text(SMALL + "[api]\n" + TOKEN)
    config = loaded(file)
    assert config.api is not None
    assert ("api.token.0.secret_file", f"{file.parent}/grafana") in config.api.secret_files
    assert all("token" not in fault.key for fault in owner_faults(config, (0, 0)))


@each(
    ("text", "expected"),
    [
        ("[api]\n", []),
        (FAR, [
            "api: from elsewhere nobody can ask: hosts says by which names, and has none",
        ]),
        (TLS + "[api]\ntls = 'shop'\n", []),
        (FAR + "hosts = ['mx1.example.org', 'localhost', '127.0.0.1']\n", []),
        (FAR + "hosts = ['mail.example.org']\n", [
            "api.hosts: browsers will not believe that it is mail.example.org: no certificate of [tls] has that name",
        ]),
        ("[api]\nhosts = ['mail.example.org']\n", []),
    ],
)
def test_doubts(file: Path, text: str, expected: list[str]) -> None:
    file.write_text(SMALL + text)
    found = [one for one in doubts(loaded(file)) if one.key.startswith("api")]
    assert [f"{one.key}: {one.why}" for one in found] == expected
