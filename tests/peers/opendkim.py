"""Debian's opendkim as a filter of its own, which verifies or signs.  Its keys come from a file, not from DNS."""

import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailgw.trust.dkim_sign import SigningKey
from tests.peers.harness import START_SECONDS, Running, wait_until

OPENDKIM = "/usr/sbin/opendkim"
CONFIGURATION = """Background no
Syslog no
Socket local:{folder}/socket
UMask 000
PidFile {folder}/pid
Mode {mode}
AlwaysAddARHeader yes
AuthservID opendkim.test
RequireSafeKeys no
{more}
"""
_RESULT = re.compile(rb"\bdkim=([a-z]+)")


class OpenDkim(Running):
    """``socket``: where it waits for the MTA."""

    def __init__(self, logs: Path, folder: Path, mode: str, more: str) -> None:
        super().__init__(f"opendkim-{mode}", logs)
        self.folder, self.socket = folder, folder / "socket"
        self.config = folder / "opendkim.conf"
        self.config.write_text(CONFIGURATION.format(folder=folder, mode=mode, more=more))

    def start(self) -> "OpenDkim":
        self.launch([OPENDKIM, "-f", "-x", self.config], self.folder)
        wait_until(lambda: self.is_over() or self._listens(), START_SECONDS, self.name)
        assert not self.is_over(), self.words()
        return self

    def _listens(self) -> bool:
        """The file is there a moment before."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0


def verifier(logs: Path, folder: Path, records: Mapping[str, Sequence[bytes]]) -> OpenDkim:
    """``records``: the TXT records that it knows, one of each name."""
    (folder / "records").write_bytes(b"".join(
        name.encode() + b" " + texts[0] + b"\n" for name, texts in records.items()
    ))
    return OpenDkim(logs, folder, "v", f"TestDNSData file:{folder}/records")


def signer(logs: Path, folder: Path, key: SigningKey, canons: str) -> OpenDkim:
    """Of all mail, whoever it is from.  One algorithm each: it has no more."""
    form = PrivateFormat.TraditionalOpenSSL if isinstance(key.key, RSAPrivateKey) else PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.key.private_bytes(Encoding.PEM, form, NoEncryption()))
    (folder / "keys").write_text(f"key {key.domain}:{key.selector}:{folder}/key.pem\n")
    (folder / "signing").write_text("* key\n")
    return OpenDkim(logs, folder, "s", f"""SignatureAlgorithm {key.algorithm.value}
Canonicalization {canons}
KeyTable file:{folder}/keys
SigningTable refile:{folder}/signing
InternalHosts 127.0.0.1,192.0.2.1
OversignHeaders From""")


def results(values: Sequence[bytes]) -> list[str]:
    """Those of DKIM in its Authentication-Results, one for each signature, from the top; [] for "none"."""
    (value,) = values
    return [word.decode() for word in _RESULT.findall(value) if word != b"none"]
