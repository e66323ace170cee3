"""MTA-STS, as data: the record, the policy's text, which MX hosts it covers, and when a policy is fetched (RFC 8461).

Not done: policies of smart hosts (s3.4), which ``tls = "verify"`` serves.

Rules:
    A record or a policy that cannot be read is none: its domain has not done its part, and mail goes on without.
    A policy that is remembered and has not expired stays in force whatever DNS and HTTPS say, or do not say, until
    another one has been fetched (s3.3, s5.1): who could make it go away could read the mail.
"""

import re
from collections.abc import Mapping, Sequence

import attrs

from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.mail.tls_result import TlsFailure

POLICY_OCTETS = 64 * 1024  # s3.3 suggests it
FETCH_SECONDS = 60.0  # s3.3 suggests it: one minute for the whole fetch
LONGEST_MAX_AGE = 31_557_600  # s3.2: about a year; what is longer counts as this
# Between fetches that fail.  s3.3: at least five minutes for one id.
WAIT_AFTER_FAILURE_SECONDS = 300.0
REFRESH_WAIT_SECONDS = 3600.0  # the same for a policy that is in force, and fetched again without any mail
# s3.3: "a suggested refresh frequency is once per day"; for a short max_age, at half of it.
REFRESH_SECONDS = 86_400.0
# A shorter max_age counts as this: to fetch a policy anew for every message would serve nobody.
SHORTEST_MAX_AGE = 60
# Of a policy, and all of them together; s3.2 has no limit, and 64 KiB hold some thousands.  Ten thousand policies that
# are as long as that must still fit into the file that remembers them: else whoever serves some hundreds of long ones
# would have all others forgotten.
MX_PATTERNS = 100
MX_OCTETS = 4096

# s3.1:
#   sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim]
#   sts-field       = sts-id / sts-extension
#   sts-field-delim = *WSP ";" *WSP
#   sts-version     = %s"v=STSv1"
#   sts-id          = %s"id=" 1*32(ALPHA / DIGIT)
#   sts-extension   = sts-ext-name "=" sts-ext-value
#   sts-ext-name    = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
#   sts-ext-value   = 1*(%x21-3A / %x3C / %x3E-7E)
_DELIM = r"[ \t]*;[ \t]*"
_FIELD = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<>-~]+"
_RECORD = re.compile(rf"v=STSv1((?:{_DELIM}{_FIELD})+)(?:{_DELIM})?\Z")
_ID = re.compile(r"[A-Za-z0-9]{1,32}\Z")

# s3.2, of one line:
#   sts-policy-field-delim = ":" *WSP
#   sts-policy-ext-name    = sts-policy-alphanum *31(sts-policy-alphanum / "_" / "-" / ".")
#   sts-policy-ext-value   = sts-policy-vchar [*(%x20 / sts-policy-vchar) sts-policy-vchar]
#   sts-policy-vchar       = %x21-7E / UTF8-2 / UTF8-3 / UTF8-4
_LINE = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*"
    r"([^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?)[ \t]*\Z"
)
_MAX_AGE = re.compile(r"[0-9]{1,10}\Z")
#   sts-policy-mx-value    = ["*."] Domain
_MX = re.compile(
    r"(?:\*\.)?(?=[^*]{1,253}\Z)"
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z"
)


# --- the record in DNS --------------------------------------------------------------------------------

def record_name(domain: str) -> str:
    """Where a domain's TXT record is (s3.1)."""
    return f"_mta-sts.{domain}"


def policy_url(domain: str) -> str:
    """Where its policy is (s3.2)."""
    return f"https://mta-sts.{domain}/.well-known/mta-sts.txt"


def record_id(records: Sequence[bytes]) -> str | None:
    """The id that TXT records give: 1 to 32 letters and digits; None where they say of no policy.

    s3.1: what does not begin with ``v=STSv1;`` is something else; with another number than one, or a syntax that is
    none, there is no policy.  Of a field that is there twice the first counts.
    """
    ours = [record for record in records if re.match(rb"v=STSv1[ \t]*;", record)]
    if len(ours) != 1:
        return None
    match = _RECORD.match(ours[0].decode("latin-1"))
    if match is None:
        return None
    for field in match[1].split(";"):
        name, _, value = field.strip(" \t").partition("=")
        if name == "id":
            return value if _ID.match(value) else None
    return None


# --- the policy's text --------------------------------------------------------------------------------

@attrs.frozen
class NoPolicy:
    """Why a text is no policy, in a few words."""

    why: str


def read_policy(text: bytes, policy_id: str) -> StsPolicy | NoPolicy:
    """The policy that a domain serves, under the id of its record.

    Fields that are unknown are passed over, of one that is there twice the first counts (s3.2), ``mx`` excepted.
    Empty lines, which the grammar has not, are let through: without them the policy is as clear as with them.
    """
    if len(text) > POLICY_OCTETS:
        return NoPolicy(f"longer than {POLICY_OCTETS} octets")
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return NoPolicy("not UTF-8")
    fields: dict[str, str] = {}
    patterns: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line.strip(" \t"):
            continue
        match = _LINE.match(line)
        if match is None:
            return NoPolicy(f'line {number} is not "name: value"')
        if match[1] == "mx":
            # IDNA2008 A-labels are meant; DNS has no regard to case.
            patterns[match[2].lower().removesuffix(".")] = None
        else:
            fields.setdefault(match[1], match[2])
    return _policy(fields, tuple(patterns), policy_id)


def _policy(fields: Mapping[str, str], patterns: tuple[str, ...], policy_id: str) -> StsPolicy | NoPolicy:
    if fields.get("version") != "STSv1":
        return NoPolicy('no "version: STSv1"')
    if fields.get("mode") not in ("enforce", "testing", "none"):
        return NoPolicy('no "mode" that is enforce, testing or none')
    mode = StsMode(fields["mode"])
    age = fields.get("max_age", "")
    if not _MAX_AGE.match(age):
        return NoPolicy('no "max_age" in seconds')
    if len(patterns) > MX_PATTERNS:
        return NoPolicy(f'more than {MX_PATTERNS} different "mx"')
    if sum(map(len, patterns)) > MX_OCTETS:
        return NoPolicy(f'"mx" of more than {MX_OCTETS} octets')
    for pattern in patterns:
        if not _MX.match(pattern):
            return NoPolicy('an "mx" that is no host name')
    if not patterns and mode is not StsMode.NONE:
        return NoPolicy('no "mx"')
    return StsPolicy(mode, patterns, min(int(age), LONGEST_MAX_AGE), policy_id)


def policy_lines(policy: StsPolicy) -> tuple[str, ...]:
    """Its lines, as reports quote them (RFC 8460 s4.4, policy-string)."""
    mx = (f"mx: {pattern}" for pattern in policy.mx_patterns)
    return ("version: STSv1", f"mode: {policy.mode.value}", *mx, f"max_age: {policy.max_age_seconds}")


def covers(policy: StsPolicy, mx_host: str) -> bool:
    """Whether an MX host is one of the policy's (s4.1).  ``mx_host``: A-labels, in any case, a trailing dot or none.

    A wildcard stands for the left-most label, all of it, and for no other.
    """
    host = mx_host.lower().removesuffix(".")
    wild = "*." + host.partition(".")[2]
    return any(pattern in (host, wild) for pattern in policy.mx_patterns)


# --- when it is fetched -------------------------------------------------------------------------------

@attrs.frozen
class NotFetched:
    """Why a policy could not be fetched, in the words of RFC 8460 s4.3.2.2 and in ours."""

    failure: TlsFailure
    why: str


@attrs.frozen
class Remembered:
    """A policy, when it was fetched last (epoch seconds), and when somebody last asked for it."""

    policy: StsPolicy
    fetched: float
    used: float

    @property
    def age_seconds(self) -> float:
        """How long it counts, from its fetch on."""
        return max(self.policy.max_age_seconds, SHORTEST_MAX_AGE)


@attrs.frozen
class Failure:
    """A fetch that failed: under which id, and when (epoch seconds)."""

    id: str
    at: float


@attrs.frozen
class Step:
    """What to do about a domain now.

    ``fetch_id``: fetch its policy, as the one of that id; None: do not.  ``waits``: whether who asked has to wait for
    that fetch, since what is remembered is nothing or of another id.  ``in_force``: the policy if nothing is fetched,
    or the fetch fails.
    """

    in_force: StsPolicy | None
    fetch_id: str | None
    waits: bool


def next_step(remembered: Remembered | None, failure: Failure | None, record: str | None, now: float) -> Step:
    """What to do when mail for a domain is to go (s3.3, s5.1).

    ``record``: the id that its TXT record gives, None where there is none, or DNS does not answer.
    """
    kept = remembered if remembered is not None and is_in_force(remembered, now) else None
    in_force = kept.policy if kept is not None else None
    if kept is None and record is None:
        return Step(None, None, False)
    is_known = kept is not None and record in (None, kept.policy.id)
    wanted = kept.policy.id if kept is not None and is_known else record
    if is_known and kept is not None and not is_stale(kept, now):
        return Step(in_force, None, False)
    if wanted is None or _is_too_soon(failure, wanted, now):
        return Step(in_force, None, False)
    return Step(in_force, wanted, not is_known)


def is_in_force(remembered: Remembered, now: float) -> bool:
    """Whether it has not expired.  Of one that a clock fetched which was ahead, the whole age is still to come."""
    return now - remembered.fetched < remembered.age_seconds


def is_stale(remembered: Remembered, now: float) -> bool:
    """Whether it is time to fetch it again, long before it expires: so that an attacker would have to be there all that
    time (s10.2).  That it fails changes nothing."""
    return abs(now - remembered.fetched) >= min(REFRESH_SECONDS, remembered.age_seconds / 2)


def wants_refresh(remembered: Remembered, failure: Failure | None, now: float, idle_seconds: float) -> bool:
    """Whether a policy is fetched again without any mail: it is in force, stale, and was asked for within
    ``idle_seconds``."""
    return (
        is_in_force(remembered, now)
        and is_stale(remembered, now)
        and now - remembered.used < idle_seconds
        and not _is_too_soon(failure, remembered.policy.id, now, REFRESH_WAIT_SECONDS)
    )


def _is_too_soon(
    failure: Failure | None, wanted: str, now: float, wait_seconds: float = WAIT_AFTER_FAILURE_SECONDS
) -> bool:
    return failure is not None and failure.id == wanted and 0 <= now - failure.at < wait_seconds
