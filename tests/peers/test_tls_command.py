"""``mailgw tls`` against real servers: signed and unsigned zones, certificates that are right and wrong."""

import hashlib
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailgw.config.load import load
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.tls_command import survey
from mailgw.tls_report import Report, lines
from mailgw.trust.dane import public_key_info
from tests.peers.harness import MAILGW, RELAYS, START_SECONDS, Authority, Lab, listens, maildirs, route, wait_until
from tests.peers.zones import ValidatingUnbound, Zone

pytestmark = pytest.mark.peer

FAR = "127.0.0.45"  # with TLS
PLAIN = "127.0.0.46"  # without
NOBODY = "127.0.0.47"


def digest(authority: Authority) -> str:
    leaf = x509.load_pem_x509_certificates(authority.certificate.read_bytes())[0]
    return hashlib.sha256(public_key_info(leaf.public_bytes(Encoding.DER))).hexdigest()


def zones(authority: Authority) -> list[Zone]:
    right, wrong = f"TLSA 3 1 1 {digest(authority)}", f"TLSA 3 1 1 {'ab' * 32}"
    return [
        Zone("signed.test", [
            f"right A {FAR}", f"wrong A {FAR}", f"useless A {FAR}", f"clear A {PLAIN}", f"dead A {NOBODY}",
            f"_25._tcp.right {right}", f"_25._tcp.wrong {wrong}", "_25._tcp.useless TLSA 1 1 1 " + "cd" * 32,
            f"_25._tcp.clear {right}",
            "dane MX 10 right", "bad MX 10 wrong", "some MX 10 wrong", "some MX 20 right", "weak MX 10 useless",
            "stripped MX 10 clear", "gone MX 10 dead", "null MX 0 .",
        ]),
        Zone("plain.test", [
            f"mx A {FAR}", "may MX 10 mx", f"bare A {PLAIN}", "clear MX 10 bare", "verify MX 10 mx", "sts MX 10 mx",
            "localhost MX 10 mx",
        ], signed=False),
        Zone("broken.test", ["@ MX 10 mx", f"mx A {FAR}"], broken=True),
    ]


# What it says of each: the exit status, and of its hosts in turn how mail goes and by what it is verified, or words of
# what is wrong.
EXPECTED = {
    "dane.signed.test": (0, [("verified", "dane", "")]),
    "bad.signed.test": (1, [("not", "", "No TLSA record matches")]),
    "some.signed.test": (0, [("not", "", "No TLSA record matches"), ("verified", "dane", "")]),
    "weak.signed.test": (0, [("encrypted", "none", "No TLSA record of useless.signed.test is usable")]),
    "stripped.signed.test": (1, [("not", "", "TLS is required, but the server does not offer it")]),
    "gone.signed.test": (1, [("not", "", "Cannot connect")]),
    "null.signed.test": (1, "null MX"),
    "none.signed.test": (1, "does not exist"),
    "may.plain.test": (0, [("encrypted", "none", "")]),
    "clear.plain.test": (0, [("in clear", "", "TLS is not offered")]),
    "verify.plain.test": (1, [("not", "", "does not name mx.plain.test")]),
    "sts.plain.test": (1, "The MTA-STS policy does not list the host mx.plain.test"),
    "broken.test": (1, "SERVFAIL (DNSSEC bogus"),
}


@pytest.fixture
def config(lab: Lab) -> Path:
    for address in (FAR, PLAIN):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, 25))  # as root, and where nobody has it
    unbound = lab.own(ValidatingUnbound(lab.folder, lab.public_folder(), zones(lab.authority))).start()
    for address, tls in ((FAR, lab.authority.toml()), (PLAIN, "")):
        name = f"far{address[-2:]}.test"
        lab.mx_at(address, name, tls, route("@far.test", "boxes"), maildirs("boxes")).start()
    for address in (FAR, PLAIN):
        wait_until(lambda address=address: listens(25, address), START_SECONDS, f"port 25 of {address}")
    near = lab.mx(
        f'[dns]\nservers = ["{unbound.server}"]', route("@home.test", "boxes"), route("@smart.test", "smart"),
        route("*", "internet"), maildirs("boxes"),
        f'[backend.internet]\ntype = "smtp"\nca_file = "{lab.authority.ca}"',
        '[[backend.internet.destination]]\ndomains = ["verify.plain.test"]\ntls = "verify"',
        f'[backend.smart]\ntype = "smtp"\nhosts = ["{FAR}:25"]\ntls = "encrypt"',
        listen=RELAYS,
    )
    state = near.folder / "state"
    state.mkdir(mode=0o700)
    remembered = {"mode": "enforce", "mx": ["*.elsewhere.test"], "max_age": 604800, "id": "1",
                  "fetched": time.time() - 7200, "used": time.time()}
    (state / "mta-sts.json").write_text(json.dumps({"version": 1, "policies": {"sts.plain.test": remembered}}))
    return near.config


def looked(config: Path, *words: str) -> tuple[int, str]:
    command = [str(MAILGW), "tls", "--config", str(config), *words]
    done = subprocess.run(command, cwd="/", text=True, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout or done.stderr


def agrees(report: Report, status: int, expected: str | list[tuple[str, str, str]]) -> bool:
    if report.is_good is not (status == 0):
        return False
    if isinstance(expected, str):
        return any(expected in words for words in (report.fault, *(host.fault for host in report.hosts)))
    found = [one for host in report.hosts for one in host.tried]
    return len(found) == len(expected) and all(
        (one.how, one.verified) == wanted[:2] and wanted[2] in one.why
        for one, wanted in zip(found, expected, strict=True)
    )


@pytest_twisted.ensureDeferred
async def test_what_it_says_is_so(config: Path) -> None:
    loaded = load(str(config))
    settings = loaded.backends["internet"]
    assert isinstance(settings, SmtpSettings)
    wrong = {}
    for domain, (status, expected) in EXPECTED.items():
        report = await survey(loaded, "internet", settings, domain, True)
        if not agrees(report, status, expected):
            wrong[domain] = list(lines(report))
    assert wrong == {}, wrong


def test_the_words_for_people(config: Path) -> None:
    status, words = looked(config, "dane.signed.test")
    assert status == 0, words
    for part in (
        "mail for dane.signed.test goes to the backend internet\n",
        '  asked for  tls = "opportunistic" of the backend\n', "  MX         signed\n",
        "right.signed.test:25, preference 10\n", f"  addresses  {FAR}; signed\n", "  TLSA       3 1 1 ",
        "  demanded   TLS with a certificate that a TLSA record of right.signed.test matches (DANE)\n",
        f"  [{FAR}]:25\n    mail goes over TLSv1.3, ", "; verified (dane)\n", "for localhost, gw.test, ",
        "\ngood: mail goes\n",
    ):
        assert part in words, (part, words)
    status, words = looked(config, "bad.signed.test", "--json")
    assert (status, json.loads(words)["hosts"][0]["tried"][0]["how"]) == (1, "not"), words
    for domain in ("dane.signed.test", "may.plain.test"):
        status, words = looked(config, domain, "--require-tls")
        assert status == (domain[0] == "m"), words
    status, words = looked(config, "sts.plain.test", "--no-connect")
    assert status == 1, words
    assert "MTA-STS    enforce for *.elsewhere.test (no record; fetched 2h ago, good for 6d)\n" in words, words
    status, words = looked(config, "smart.test")
    assert status == 0, words
    for part in (f"{FAR}:25\n", 'tls = "encrypt" of the backend\n', "; nobody knows to whom"):
        assert part in words, (part, words)
