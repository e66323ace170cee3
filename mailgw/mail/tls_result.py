"""What one session with another server's MX came to, as far as TLS goes: what TLSRPT counts (RFC 8460 s4.3, s4.4)."""

import enum

import attrs


class PolicyType(enum.StrEnum):
    """RFC 8460 s4.4 policy-type: which kind of policy applied to the session."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


class TlsFailure(enum.StrEnum):
    """RFC 8460 s4.3: the words a report may use; ``SUCCESS`` is not one of them, it is counted apart."""

    SUCCESS = ""
    # s4.3.1: negotiation, whatever the policy
    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"  # anything that has no word of its own
    # s4.3.2.1: DANE
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    # s4.3.2.2: MTA-STS
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


@attrs.frozen
class TlsResult:
    """One session's result, or one failure to learn a policy (``mx_host`` and the like are ``""`` then).

    ``domain``: the policy domain, the recipient's (RFC 8460 s1.1: never the MX host).
    ``policy_strings``: s4.4 policy-string: the TLSA records in presentation form or the lines of the STS policy.
    ``mx_patterns``: s4.4 mx-host: the ``mx:`` values of the STS policy, () for others.
    ``sending_ip``, ``receiving_ip``: IPv4 or IPv6 addresses as text, ``receiving_helo`` the name in the greeting or the
    answer to EHLO; all ``""`` where unknown.
    ``reason``: s4.3 failure-reason-code, free text of the TLS library or ours, one line, ``""`` where there is none.
    """

    domain: str
    policy_type: PolicyType
    policy_strings: tuple[str, ...]
    mx_patterns: tuple[str, ...]
    mx_host: str
    sending_ip: str
    receiving_ip: str
    receiving_helo: str
    result: TlsFailure
    reason: str
