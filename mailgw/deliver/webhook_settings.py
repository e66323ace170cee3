"""What one web hook is told: where to post, in which form, how it is signed, how long to wait."""

import enum

import attrs

from mailgw.deliver.smtp_settings import Secret


class HookFormat(enum.Enum):
    """The message as it is (RFC 5322), or read and put into JSON."""

    RAW = "raw"
    JSON = "json"


@attrs.frozen
class JsonLimits:
    """Of a message that is put into JSON: its ``octets``, its MIME ``parts``, and how deep they are ``nesting``."""

    octets: int
    parts: int
    nesting: int


@attrs.frozen
class WebhookSettings:
    """``url`` is an HTTPS one, or an HTTP one where the configuration says that this is meant; it shows in no log.

    ``secret`` is what ``secret_file``, both None for unsigned posts, held when it was read.  ``one_each``: a POST for
    each recipient; else one has at most ``recipients``.  ``answer_octets`` of an answer are read.
    """

    url: str = attrs.field(repr=False)
    format: HookFormat
    secret: Secret | None
    secret_file: str | None
    one_each: bool
    recipients: int
    concurrency: int
    ca_file: str | None
    json: JsonLimits
    answer_octets: int
    idle_seconds: float
    connect_seconds: float
    send_seconds: float
    answer_seconds: float

    @property
    def origin(self) -> str:
        """The URL without its path, which may be a secret: who is spoken to, for logs and reports."""
        scheme, _, rest = self.url.partition("://")
        host = rest.partition("/")[0]
        return f"{scheme}://{host}"
