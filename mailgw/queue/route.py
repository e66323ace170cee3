"""Which backend serves a recipient: the configuration's routes (the first match wins).

Patterns: ``user@example.org``, ``@example.org``, ``@.example.org`` (its subdomains, not itself), ``*``.
Local parts and domains compare without regard to the case of ASCII letters; domains are in their normal form.
"""

from collections.abc import Sequence

import attrs

from mailgw.mail.address import Mailbox, folded


@attrs.frozen
class RouteSettings:
    """One route: the ``patterns`` it serves, as they were written, and the name of its ``backend``."""

    patterns: tuple[str, ...]
    backend: str


class RouteTable:
    """Looks a recipient up in at most as many steps as its domain has labels, however many routes there are."""

    def __init__(self, routes: Sequence[RouteSettings]) -> None:
        # Every pattern by its key, with the place of its route: of those that match, the first route wins.
        self._places: dict[str, int] = {}
        self._backends = [route.backend for route in routes]
        for place, route in enumerate(routes):
            for pattern in route.patterns:
                self._places.setdefault(folded(pattern), place)

    def backend_for(self, recipient: Mailbox, for_client: bool) -> str | None:
        """The backend's name, or None where no route matches.

        ``*`` matches only ``for_client``: for clients that logged in or come from ``relay_from``, and for
        mail of our own.  To a stranger it is as if it were not there, so no order makes an open relay.
        """
        domain = recipient.domain.lower()
        keys = [folded(f"{recipient.local_part}@{domain}"), f"@{domain}"]
        rest = domain.partition(".")[2]
        while rest:
            keys.append(f"@.{rest}")
            rest = rest.partition(".")[2]
        if for_client:
            keys.append("*")
        places = [self._places[key] for key in keys if key in self._places]
        return self._backends[min(places)] if places else None
