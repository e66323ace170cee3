"""Applications, and what is none."""

from mailgw import IncomingMessage, MailApp

NAME = "app"
app = MailApp(concurrency=2)
whole = MailApp()
empty = MailApp()


def make() -> MailApp:
    return MailApp()


@app.recipient("ticket+{number:int}@example.org")
def ticket(message: IncomingMessage, number: int) -> None:
    """Takes it."""


@app.recipient("in@{shop:slug}.example.org")
def shop(message: IncomingMessage, shop: str) -> None:
    """Takes it."""


@whole.recipient("help@example.net")
@whole.default
def anybody(message: IncomingMessage) -> None:
    """Takes all."""


@empty.default
def nothing(message: IncomingMessage) -> None:
    """Takes all."""
