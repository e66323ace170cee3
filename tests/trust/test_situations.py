"""The table of TLS situations, put to the pure core: what is demanded, and what a server's chain is worth."""

from collections.abc import Sequence

from mailgw.mail.sts_policy import StsMode
from mailgw.mail.tls_result import PolicyType, TlsFailure
from mailgw.net.client_tls import CertificatePaths
from mailgw.trust import mtasts
from mailgw.trust.tls_policy import DaneFacts, Demand, Fault, Level, Refused, StsFacts, demand, judge
from tests.tables import each
from tests.tls_situations import DOMAIN, HOST, Situation, situations
from tests.trust.certificates import root_der


class Paths:
    """OpenSSL's, with the table's authority in place of the system's."""

    def __init__(self) -> None:
        self._paths = CertificatePaths(None)

    def fault(self, chain: Sequence[bytes], anchors: Sequence[bytes] | None) -> Fault | None:
        return self._paths.fault(chain, [root_der()] if anchors is None else anchors)


PATHS = Paths()
Result = tuple[str, tuple[PolicyType, TlsFailure] | None]


def demanded(it: Situation) -> Demand | Refused | None:
    """None where DNS does not say what is."""
    facts = sts = None
    asks = it.host_is_signed and it.level is not Level.CLEAR and (not it.is_override or it.level is Level.DANE)
    is_lowered = it.message == "not"
    if asks and (not is_lowered or it.level is Level.DANE):
        if it.records is None:
            return None
        if it.records:
            facts = DaneFacts(it.records, HOST, (HOST, DOMAIN) if it.mx_is_signed else (HOST,))
    if it.policy is not None and not is_lowered:
        sts = StsFacts(it.policy.mode, mtasts.covers(it.policy, HOST))
    return demand(HOST, it.local_rule, it.mx_is_signed, facts, sts, it.message == "req")


def result(it: Situation) -> Result:
    wanted = demanded(it)
    if wanted is None:
        return "later", (PolicyType.TLSA, TlsFailure.DNSSEC_INVALID)
    if isinstance(wanted, Refused):
        return "back" if wanted.by_message else "later", None if wanted.by_message else (
            wanted.policy, wanted.fault.failure
        )
    if wanted.level is Level.CLEAR:
        return "sent clear", None
    if it.offer != "tls":
        fails = it.offer in ("broken", "asks")
        broken = TlsFailure.VALIDATION_FAILURE if fails else TlsFailure.STARTTLS_NOT_SUPPORTED
        lost = "back" if it.message == "req" and it.offer == "plain" else "later"
        return "sent clear" if wanted.may_fall_back else lost, (wanted.policy, broken)
    found = judge(wanted, it.identity.chain, PATHS)
    told = wanted.policy, found.failure
    if found.may_go_on:
        return f"sent {found.verified}", told
    assert not wanted.may_fall_back, "what is not met would be void"
    return "back" if it.message == "req" else "later", told


@each("it", situations())
def test_each_situation(it: Situation) -> None:
    outcome, told = result(it)
    assert outcome == it.outcome
    # Of what says TLS-Required: No nothing is told (RFC 8460 s3): whoever delivers it sees to that.
    assert (None if it.is_override or it.message == "not" else told) == it.report


def test_every_word_of_the_table_has_its_turn() -> None:
    table = situations()
    assert {it.level for it in table} == set(Level)
    assert {it.policy.mode for it in table if it.policy is not None} == set(StsMode)
    assert {it.outcome for it in table} == {
        "sent dane", "sent sts", "sent ca", "sent fingerprint", "sent none", "sent clear", "later", "back",
    }


def test_domains_with_one_host_share_its_sessions_where_names_mean_nothing() -> None:
    it = next(it for it in situations() if it.tlsa == "ee")
    rule = it.local_rule
    for records, is_one in ((it.records, True), (next(x for x in situations() if x.tlsa == "ta").records, False)):
        assert records is not None
        demands = {
            demand(HOST, rule, True, DaneFacts(records, HOST, (HOST, domain)), None, False)
            for domain in ("a.example", "b.example")
        }
        assert len(demands) == (1 if is_one else 2)
