"""docs/dns.rst says the numbers that count."""

from pathlib import Path

from mailgw.net import dns_cache, dns_exchange, dns_servers, dns_turns, dns_wire, resolver

PAGE = " ".join((Path(__file__).parents[2] / "docs/dns.rst").read_text().split())


def test_the_page_has_the_numbers() -> None:
    claims = (
        f"does not answer within {dns_exchange.UDP_SECONDS:g} seconds",
        f"Every {dns_servers.SILENT_SECONDS:g} seconds one question goes to the silent one",
        f"not asked again for {resolver.FAILED_SECONDS:g} seconds",
        f"takes {resolver.QUESTION_SECONDS:g} seconds over all",
        f"does not fit into {dns_wire.UDP_OCTETS} octets",
        f"{resolver.QUESTIONS_AT_ONCE} questions are under way",
        f"wait for their turn, {_spaced(resolver.QUESTIONS_WAITING)} at most",
        f"{dns_turns.STRANGERS_AT_ONCE} questions that strangers make us ask are under way",
        f"or {dns_turns.NETWORK_AT_ONCE} of one network",
        f"{_spaced(dns_turns.STRANGERS_WAITING)} at most, {dns_turns.NETWORK_WAITING} of one network",
        f"{_spaced(dns_cache.CACHE_ENTRIES)} answers",
        f"{dns_cache.CACHE_OCTETS >> 20} MiB",
    )
    assert [claim for claim in claims if claim not in PAGE] == []
    assert (dns_wire.POSITIVE_SECONDS, dns_wire.NEGATIVE_SECONDS) == (86_400, 3600), "a day, an hour"
    assert dns_servers.ROUNDS == 3, "three times at most"


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")
