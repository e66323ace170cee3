"""Small configurations, what is said of one, and the files that it names."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mailgw.config.load import load
from mailgw.config.settings import Config
from mailgw.config.trial import self_signed
from mailgw.config.where import config_faults


def into(backend: str) -> str:
    """The head of a configuration whose mail goes into this backend, which is to follow."""
    return f"""
hostname = "mx1.example.org"
state = "state"
[[listen]]
role = "mx"
endpoint = "tcp:25"
[[route]]
recipients = ["@example.org"]
backend = "{backend}"
"""


# The smallest that is good: its 13 lines begin with an empty one, so that its faults have the lines 2 to 13.
SMALL = into("mailboxes") + """[backend.mailboxes]
type = "maildir"
path = "mail/{domain}/{local_part}"
recipients = "any"
"""


class Backend:
    """The least that is one, but that it does nothing."""

    def __init__(self, colour: str, concurrency: int = 4) -> None:
        if not colour:
            raise ValueError("no colour")
        self.colour = colour
        self.concurrency = concurrency

    def lane(self, recipient: object) -> str:
        return ""

    async def refusal(self, recipient: object) -> None:
        return None

    async def deliver(self, message: object, recipients: object) -> dict[object, object]:
        return {}


def make_certificate(folder: Path, name: str = "") -> None:
    certificate, key = self_signed("mx1.example.org")
    (folder / f"{name}fullchain.pem").write_bytes(certificate)
    (folder / f"{name}privkey.pem").write_bytes(key)


def make_encrypted_key(file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    file.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))


def faults_of(file: Path) -> list[str]:
    """Each fault as the user sees it, the folder left out."""
    try:
        load(str(file))
    except ExceptionGroup as group:
        faults = config_faults(group)
        assert faults, "something else than faults of the configuration"
        return [str(fault).replace(f"{file.parent}/", "") for fault in faults]
    return []


def loaded(file: Path) -> Config:
    faults = faults_of(file)
    assert not faults
    return load(str(file))
