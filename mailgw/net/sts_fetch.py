"""Fetches the MTA-STS policy that a domain serves (RFC 8461 s3.2, s3.3).

Rules:
    The server's certificate must name ``mta-sts.DOMAIN``: that alone says that the policy is the domain's.
    200 and text/plain, or nothing; a redirect is nothing.  At most 64 KiB, within a minute.
    What may have been cut off on its way counts to the end of a line.
"""

from typing import Protocol

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.tls_result import TlsFailure
from mailgw.net.https import HttpAnswer, is_certificate_fault
from mailgw.trust.mtasts import NotFetched, policy_url


class Getter(Protocol):
    """``net.https.Https``, with the limits of ``trust.mtasts``."""

    async def get(self, url: str) -> HttpAnswer: ...


class PolicyFetcher:
    """Fetches over ``https``.  Policies are public, so it matters little where a domain has us ask for one."""

    def __init__(self, https: Getter) -> None:
        self._https = https

    async def __call__(self, domain: str) -> bytes | NotFetched:
        """The octets of the policy, or why there are none."""
        url = policy_url(domain)
        try:
            answer = await self._https.get(url)
        except TemporaryFault as fault:
            is_webpki = is_certificate_fault(fault)
            failure = TlsFailure.STS_WEBPKI_INVALID if is_webpki else TlsFailure.STS_POLICY_FETCH_ERROR
            return NotFetched(failure, fault.why)
        if answer.status != 200:
            return NotFetched(TlsFailure.STS_POLICY_FETCH_ERROR, f"{url} answers {answer.status}")
        # s3.3: so that no page of a user's is taken for the domain's word; parameters are ignored.
        if answer.media_type.partition(";")[0].strip().lower() != "text/plain":
            return NotFetched(TlsFailure.STS_POLICY_FETCH_ERROR, f"{url} is no text/plain")
        # Whoever cuts an answer that the end of the connection ends makes an mx.example.co of an mx.example.com, or a
        # minute of a week.  Without its last lines a policy is none, or has fewer hosts.
        if not answer.is_whole and not answer.body.endswith(b"\n"):
            return NotFetched(TlsFailure.STS_POLICY_FETCH_ERROR, f"{url} breaks off within a line")
        return answer.body
