"""Applications: ``type = "app:package.module:name"`` of a backend, or of a route in place of its backend."""

from collections.abc import Iterator, Mapping

from mailgw.app.mail_app import MailApp
from mailgw.config.document import Document, RouteTable
from mailgw.config.lines import Path
from mailgw.config.plugin import mail_app
from mailgw.config.python_tables import PythonTable, python_table
from mailgw.config.settings import Config, PluginKind, PythonSettings
from mailgw.mail.address import Mailbox
from mailgw.queue.route import RouteTable as Routes


def backend_name(table: RouteTable) -> str:
    """``""`` where it has neither a backend nor a type."""
    return table.backend or (table.type or "").removeprefix("app:")


def of_routes(document: Document) -> Mapping[str, PythonTable]:
    """The backends that routes with a type stand for, by their names: ``"package.module:name"``.  Routes with the same
    type have the same."""
    found: dict[str, PythonTable] = {}
    for table in document.route:
        name = backend_name(table)
        if table.type is None or table.backend is not None or name in found:
            continue
        if name in document.backend:
            why = f'there is a [backend."{name}"], too: say backend = …, or call that otherwise'
            table.spot.inner("type").fault(why)
            continue
        found[name] = python_table({"type": table.type}, table.spot, name)
    return found


def check_route(table: RouteTable) -> None:
    spot = table.spot
    if table.backend is not None and table.type is not None:
        spot.inner("type").fault("stands in place of backend: expected one of them")
    elif table.backend is None and table.type is None and not {"backend", "type"} & table.given:
        spot.inner("backend").fault("is missing")


def app_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    """Handlers that no route brings mail to, and domains whose postmaster nobody is."""
    routes = Routes(config.routes)
    for name, backend in config.backends.items():
        if not isinstance(backend, PythonSettings) or backend.kind is not PluginKind.APP:
            continue
        try:
            app = mail_app(backend.target)
        except ValueError:
            continue  # gone since
        at = next((n for n, route in enumerate(config.routes) if route.backend == name), None)
        if at is None:
            continue
        for why in _unreached(app, routes, name):
            yield ("route", at), why
        for n, route in enumerate(config.routes):
            for pattern in route.patterns if route.backend == name else ():
                if pattern.startswith("@") and not pattern.startswith("@."):
                    postmaster = Mailbox("postmaster", pattern[1:])
                    served = routes.backend_for(postmaster, for_client=False)
                    if served == name and not app.takes(postmaster):
                        why = f"{name} refuses mail for {postmaster}, whom every domain has (RFC 5321 s4.5.1)"
                        yield ("route", n), why


def _unreached(app: MailApp, routes: Routes, name: str) -> Iterator[str]:
    for pattern in app.patterns:
        example, _, domain = (pattern.common(pattern) or "").rpartition("@")
        if routes.backend_for(Mailbox(example, domain), for_client=False) != name:
            yield f"no route brings {name} the mail for {pattern.text}"
