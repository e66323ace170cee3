"""What was found out of who sent a message: results of methods, in the words of RFC 8601."""

from collections.abc import Iterator

import attrs


@attrs.frozen
class Property:
    """What was looked at: ``smtp``, ``header``, ``body`` or ``policy``, and of it which; both keywords in lower case.

    ``value`` is without quotes, but those of an address's local part: ``"a b"@c.example``.
    """

    ptype: str
    name: str
    value: str


@attrs.frozen
class MethodResult:
    """What one method came to: ``spf``, ``dkim``, ``dmarc`` ...; ``pass``, ``fail``, ``none`` ...: keywords in lower
    case.  ``reason``: words, "" for none."""

    method: str
    result: str
    reason: str = ""
    properties: tuple[Property, ...] = ()

    def values(self, ptype: str, name: str) -> tuple[str, ...]:
        """Those of a property; () where it is not there."""
        return tuple(one.value for one in self.properties if (one.ptype, one.name) == (ptype, name))

    def value(self, ptype: str, name: str) -> str:
        """The first of ``values``, ``""`` where there is none."""
        return next(iter(self.values(ptype, name)), "")

    def __str__(self) -> str:
        """``spf=pass smtp.mailfrom=ann@example.org``, for people."""
        return " ".join(
            [f"{self.method}={self.result}", *(f"{one.ptype}.{one.name}={one.value}" for one in self.properties)]
        )


# Of several DKIM signatures the first of these tells, else the first of all.
_TELLING = ("pass", "temperror")


@attrs.frozen
class Authentication:
    """The results of all methods that were tried, in order; whoever iterates gets a ``MethodResult`` for each.

    ``found_by`` is who found it out, by his authserv-id: this gateway, or one in front of it whose word counts here.
    ``vouched_by``: the domain of a trusted ARC sealer whom the message passed in good order before DMARC failed here;
    ``""`` where nobody vouches, or there is nothing to vouch for.
    """

    results: tuple[MethodResult, ...] = ()
    found_by: str = ""
    vouched_by: str = ""

    def of(self, method: str) -> MethodResult | None:
        """What a method came to.  Of several DKIM signatures one that passes, before all others; of SPF what was found
        of MAIL FROM, where that is not null: HELO's word is in ``results``, since anybody can name himself; else the
        first."""
        found = [one for one in self.results if one.method == method]
        best: Iterator[MethodResult] = iter(())
        if method == "dkim":
            best = (one for word in _TELLING for one in found if one.result == word)
        elif method == "spf":
            best = (one for one in found if one.values("smtp", "mailfrom"))
        return next(best, found[0] if found else None)

    def word(self, method: str) -> str:
        """``pass``, ``fail``, ``none`` ..., ``""`` where the method was not tried."""
        found = self.of(method)
        return "" if found is None else found.result

    def passes(self, method: str) -> bool:
        """``message.authentication.passes("dmarc")``: the domain in From stands behind the message."""
        return self.word(method) == "pass"

    @property
    def author_domain(self) -> str:
        """The domain in From that DMARC was asked of; ``""`` where it was not."""
        found = self.of("dmarc")
        return "" if found is None else found.value("header", "from")

    def __iter__(self) -> Iterator[MethodResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)


NOT_TRIED = Authentication()
