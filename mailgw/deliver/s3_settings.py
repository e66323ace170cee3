"""What one object store is told: where, under which keys, as whom; and the keys themselves.

Keys are the same in every attempt: of what the queue knows of a message, nothing of the moment.
"""

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import attrs

from mailgw.deliver.smtp_settings import Secret
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message

MOST_KEY_OCTETS: Final = 1024  # of S3
MOST_TEMPLATE_CHARACTERS: Final = 200
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
OF_MESSAGE: Final = ("queue_id", "date", "year", "month", "day")
OF_RECIPIENT: Final = ("recipient", "local_part", "domain")
# What may stand in a key for itself; slashes and percent signs of an address may not.
_PLAIN: Final = "!$'()*+,-.=@_~"


@attrs.frozen
class S3Settings:
    """``key`` is a template (``key_fault`` judges it).  ``endpoint`` None: that of AWS; ``region`` None, and
    ``access_key_id`` None: what boto3 finds for itself (its environment, its files, the instance).  ``secret`` is what
    ``secret_file`` held."""

    bucket: str
    key: str
    endpoint: str | None
    region: str | None
    access_key_id: str | None
    secret: Secret | None
    secret_file: str | None
    ca_file: str | None
    concurrency: int
    connect_seconds: float
    answer_seconds: float


def key_fault(template: str) -> str | None:
    """What is wrong with a template of keys, or None."""
    if len(template) > MOST_TEMPLATE_CHARACTERS:
        return f"expected at most {MOST_TEMPLATE_CHARACTERS} characters"
    names = _PLACEHOLDER.findall(template)
    known = OF_MESSAGE + OF_RECIPIENT
    for name in names:
        if name not in known:
            return f"{{{name}}} is none of {', '.join(f'{{{one}}}' for one in known)}"
    if re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
        return "a brace without its other one"
    if "queue_id" not in names:
        return "expected {queue_id} in it: else one message would take another's place"
    return None


def key_of(template: str, message: Message, recipient: Mailbox) -> str:
    """Where a message goes for a recipient."""
    return _filled(template, message.queue_id, message.arrived, recipient)


def is_too_long(template: str, recipient: Mailbox) -> bool:
    """Whether a message for this recipient could have no key; queue ids have less than 64 characters."""
    return len(_filled(template, "x" * 64, 0.0, recipient)) > MOST_KEY_OCTETS


def _filled(template: str, queue_id: str, arrived: float, recipient: Mailbox) -> str:
    moment = datetime.fromtimestamp(arrived, UTC)
    values = {
        "queue_id": queue_id, "date": f"{moment:%Y-%m-%d}", "year": f"{moment:%Y}", "month": f"{moment:%m}",
        "day": f"{moment:%d}", "recipient": _word(str(recipient)), "local_part": _word(recipient.local_part),
        "domain": _word(recipient.domain),
    }
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def _word(text: str) -> str:
    """ASCII, percent-encoded; never "." or "..", which who copies keys to a disk would follow."""
    word = quote(text, safe=_PLAIN)
    return f"%2E{word[1:]}" if word.startswith(".") else word
