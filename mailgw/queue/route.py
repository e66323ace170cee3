"""Which backend serves a recipient: the configuration's routes (the first match wins).

Patterns: ``user@example.org``, ``@example.org``, ``@.example.org`` (its subdomains, not itself), ``*``.
Local parts and domains compare without regard to the case of ASCII letters; domains are in their normal form.
"""

from collections.abc import Callable, Sequence

import attrs

from mailgw.mail.address import Mailbox, folded
from mailgw.queue.schedule import RetrySettings


@attrs.frozen
class RouteSettings:
    """One route: the ``patterns`` it serves, as they were written, the name of its ``backend``, and its own schedule,
    None for that of all.  ``directory`` is the name of the one that knows who exists, None where the backend does."""

    patterns: tuple[str, ...]
    backend: str
    retry: RetrySettings | None = None
    directory: str | None = None


@attrs.frozen
class RouteRetries:
    """The schedule ``of`` a recipient, and ``every`` one that there is, at least one."""

    of: Callable[[Mailbox], RetrySettings]
    every: tuple[RetrySettings, ...]


class RouteTable:
    """Looks a recipient up in at most as many steps as its domain has labels, however many routes there are."""

    def __init__(self, routes: Sequence[RouteSettings]) -> None:
        # Every pattern by its key, with the place of its route: of those that match, the first route wins.
        self._places: dict[str, int] = {}
        self._routes = tuple(routes)
        for place, route in enumerate(routes):
            for pattern in route.patterns:
                self._places.setdefault(folded(pattern), place)

    def backend_for(self, recipient: Mailbox, for_client: bool) -> str | None:
        """The backend's name, or None where no route matches; see ``route_for``."""
        route = self.route_for(recipient, for_client)
        return None if route is None else route.backend

    def route_for(self, recipient: Mailbox, for_client: bool) -> RouteSettings | None:
        """The first route that matches, or None.

        ``*`` matches only ``for_client``: for clients that logged in or come from ``relay_from``, and for
        mail of our own.  To a stranger it is as if it were not there, so no order makes an open relay.
        """
        domain = recipient.domain.lower()
        keys = [folded(f"{recipient.local_part}@{domain}"), *_of_all(domain)]
        if for_client:
            keys.append("*")
        places = [self._places[key] for key in keys if key in self._places]
        return self._routes[min(places)] if places else None

    def backends_of(self, domain: str) -> tuple[str, ...]:
        """The backends that mail for a domain goes to, whoever sends it, and whoever there it is for; () where no
        route matches.  ``domain`` in its normal form."""
        names, of_all, of_one = [], set(_of_all(domain)), f"@{domain}"
        for route in self._routes:
            patterns = {folded(pattern) for pattern in route.patterns}
            if "*" in patterns or not of_all.isdisjoint(patterns) or any(one.endswith(of_one) for one in patterns):
                names.append(route.backend)
            if not of_all.isdisjoint(patterns):
                break
        return tuple(dict.fromkeys(names))

    def retries(self, usual: RetrySettings) -> RouteRetries:
        """The schedules of all routes; ``usual`` where a route has none of its own, or no route matches."""

        def of(recipient: Mailbox) -> RetrySettings:
            route = self.route_for(recipient, for_client=True)
            return usual if route is None or route.retry is None else route.retry

        own = [route.retry for route in self._routes if route.retry is not None]
        if not own:
            return RouteRetries(lambda _: usual, (usual,))
        return RouteRetries(of, tuple(dict.fromkeys([usual, *own])))


def _of_all(domain: str) -> list[str]:
    """The patterns, but for ``*``, that are for everybody there: its own, and those of the domains above it."""
    patterns, above = [f"@{domain}"], domain.partition(".")[2]
    while above:
        patterns.append(f"@.{above}")
        above = above.partition(".")[2]
    return patterns
