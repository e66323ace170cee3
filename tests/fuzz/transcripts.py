"""What is recorded of a session: no octet of a password, whatever is said around it."""

from tests.wire.witnessed import Told, pieces_with, secrets_of

PASSWORD = "QZXJ#~9kQZXJ"
PIECES = pieces_with(PASSWORD)
SECRETS = secrets_of(PASSWORD)
ROLES = ("mx", "submission", "submissions", "lmtp")


def transcript(octets: bytes) -> None:
    """The first octet chooses the listener, the second what is sent with a password in it, the third how it is split,
    and where in the rest it stands: always as lines of its own."""
    choice, piece, split, said = *(octets[:3] + b"\0\0\0")[:3], octets[3:]
    role, step = ROLES[choice & 3], (0, 1, 2, 7)[split & 3]
    before, after = said[:len(said) * (split >> 2) // 64], said[len(said) * (split >> 2) // 64:]
    told = Told(role, bool(choice & 4) or role == "submissions", bool(choice & 8))
    told.say(before + b"\r\n" + PIECES[piece % len(PIECES)] + after, step)
    told.transcript.note("the end")
    whole = "\n".join(told.lines)
    assert not [secret for secret in SECRETS if secret in whole], whole
