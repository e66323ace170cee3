"""``[backend.NAME]`` of type webhook: its shape, what it comes to, and what stands against it."""

import os
from collections.abc import Iterator

import attrs

# ruff: noqa: RUF009 - key() and part() make fields, they are no shared defaults
from mailgw.config import values
from mailgw.config.reader import Spot, Table, key
from mailgw.deliver.smtp_settings import Secret, password_in
from mailgw.deliver.webhook_settings import HookFormat, JsonLimits, WebhookSettings
from mailgw.net.server_tls import is_exposed


@attrs.frozen
class WebhookTable(Table):
    url: str = key(values.http_url, stand_in="")
    plain_http: bool = key(values.truth, False)
    format: HookFormat = key(values.choice(HookFormat), HookFormat.RAW)
    secret_file: str | None = key(values.text, None)
    ca_file: str | None = key(values.text, None)
    one_each: bool = key(values.truth, False)
    recipients_per_post: int = key(values.count, 100)
    concurrency: int = key(values.count, 10)
    most_octets: int = key(values.size, 10 << 20)
    most_parts: int = key(values.count, 100)
    most_nesting: int = key(values.count, 20)
    answer_octets: int = key(values.size, 1 << 18)
    # Servers close what they keep after two seconds and more; a POST that crosses with that is one to repeat.
    idle_timeout: float = key(values.duration, 1.0)
    connect_timeout: float = key(values.duration, 15.0)
    send_timeout: float = key(values.duration, 60.0)
    answer_timeout: float = key(values.duration, 60.0)


OF_JSON = ("most_octets", "most_parts", "most_nesting")
SECRET_OCTETS = 16  # at least


def webhook(table: WebhookTable, folder: str) -> WebhookSettings:
    """``folder`` is the file's own."""
    check_plain_http(table, "url", table.url, table.plain_http)
    if table.url.startswith("http:") and table.ca_file is not None:
        table.spot.inner("ca_file").fault("is for an https: URL")
    if table.format is not HookFormat.JSON:
        for name in OF_JSON:
            if name in table.given:
                table.spot.inner(name).fault('is for format = "json": raw messages are sent as they come')
    if table.one_each and "recipients_per_post" in table.given:
        table.spot.inner("recipients_per_post").fault("beside one_each, which says 1")
    secret_file = None if table.secret_file is None else os.path.join(folder, table.secret_file)
    return WebhookSettings(
        url=table.url,
        format=table.format,
        secret=None if secret_file is None else first_line(table.spot.inner("secret_file"), secret_file, SECRET_OCTETS),
        secret_file=secret_file,
        one_each=table.one_each,
        recipients=table.recipients_per_post,
        concurrency=table.concurrency,
        ca_file=None if table.ca_file is None else usable_ca_file(
            table.spot.inner("ca_file"), os.path.join(folder, table.ca_file)
        ),
        json=JsonLimits(table.most_octets, table.most_parts, table.most_nesting),
        answer_octets=table.answer_octets,
        idle_seconds=table.idle_timeout,
        connect_seconds=table.connect_timeout,
        send_seconds=table.send_timeout,
        answer_seconds=table.answer_timeout,
    )


def webhook_doubts(settings: WebhookSettings, message_octets: int) -> Iterator[tuple[str, str]]:
    """Keys, and why they will be regretted.  ``message_octets`` is the size up to which messages are taken."""
    if settings.format is HookFormat.JSON and settings.json.octets < message_octets:
        why = "is below [limits] message_octets: what is larger is taken, and then returned to its sender"
        yield "most_octets", why
    yield from exposed_doubts(settings.secret_file)
    if settings.secret is None:
        yield "secret_file", "is not there: whoever finds the URL can post mail of his own there"


def exposed_doubts(secret_file: str | None) -> Iterator[tuple[str, str]]:
    if secret_file is not None and is_exposed(secret_file):
        yield "secret_file", f"{secret_file}: every user of this machine may read or write it: chmod o-rw"


def check_plain_http(table: Table, name: str, url: str, is_meant: bool) -> None:
    """That the URL ``name`` leaves this machine by HTTPS alone, unless that is not meant."""
    if is_meant and url.startswith("https:"):
        table.spot.inner("plain_http").fault("is for an http: URL")
    if url.startswith("http:") and not is_meant and not values.is_loopback(_host_and_port(url)):
        why = "would show mail to the network: expected https:, or plain_http = true"
        table.spot.inner(name).fault(why)


def _host_and_port(url: str) -> str:
    host = url.partition("://")[2].partition("/")[0]
    return host if host.rpartition(":")[2].isdigit() else f"{host}:80"


def first_line(spot: Spot, path: str, least_octets: int) -> Secret | None:
    """The secret in the first line of a file; None where it cannot be used, which is a fault at ``spot``."""
    try:
        with open(path, "rb") as opened:
            word = password_in(opened.read(1 << 16))
    except OSError as fault:
        spot.fault(f"{path}: cannot be read: {fault.strerror}")
        return None
    if len(word.encode()) < least_octets:
        spot.fault(f"{path}: expected the secret in its first line, of {least_octets} octets at least")
        return None
    return Secret(word)


def usable_ca_file(spot: Spot, path: str) -> str:
    """The path; that it cannot be used is a fault at ``spot``."""
    from mailgw.net.https import authorities  # takes its time, and most have no web hook

    try:
        authorities(path)
    except ValueError as fault:
        spot.fault(str(fault))
    return path
