"""What DNS says: the records of a name and a type, and what that is worth (RFC 1035, RFC 4033, RFC 6698, RFC 7505)."""

from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class Records(Generic[T]):
    """What DNS says of one name and one type of record: a fact, also where it is that there is nothing."""

    items: tuple[T, ...]  # in the order of the answer; () where there are none
    exists: bool  # False: the name is not there for any type (NXDOMAIN)
    # Every answer on the way, CNAMEs and "there is none" among them, was validated (RFC 4035 s3.2.3: the AD bit of a
    # server that is believed).  False where it was not, or where that is not known; a bogus answer is no answer.
    secure: bool
    name: str  # where the CNAMEs end, lower case, no trailing dot; the name asked for where there are none


@attrs.frozen
class MxRecord:
    preference: int
    host: str  # lower case, no trailing dot; "" is the null MX of RFC 7505


@attrs.frozen
class TlsaRecord:
    """RFC 6698 s2.1, as it came: numbers 0 to 255, also those that mean nothing, and any octets."""

    usage: int  # 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE
    selector: int  # 0 certificate, 1 public key
    matching: int  # 0 as it is, 1 SHA-256, 2 SHA-512
    data: bytes
