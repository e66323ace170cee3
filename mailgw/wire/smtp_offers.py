"""What EHLO says of a listener's extensions (RFC 1870, 2920, 3030, 6152, 2034, 3207, 9422)."""

from mailgw.wire.smtp_events import DialogSettings
from mailgw.wire.smtp_parameters import offers


def extension_lines(settings: DialogSettings, tls: bool, now: float, of_session: list[str]) -> list[str]:
    """The lines below our name.  ``of_session`` are those that hang on what the client is and did (XCLIENT, AUTH)."""
    words = ["PIPELINING", f"SIZE {settings.message_octets}", "8BITMIME", "ENHANCEDSTATUSCODES"]
    if "CHUNKING" in settings.extensions:
        # RFC 3030 s3: BINARYMIME never without CHUNKING
        words += ["CHUNKING", "BINARYMIME"] if "BINARYMIME" in settings.extensions else ["CHUNKING"]
    if "LIMITS" in settings.extensions:
        # RFC 9422 s3
        messages = [] if settings.messages is None else [f"MAILMAX={settings.messages}"]
        words.append(" ".join(["LIMITS", *messages, f"RCPTMAX={settings.recipients}"]))
    if settings.offers_starttls and not tls:
        words.append("STARTTLS")
    words += of_session
    if settings.extensions:
        words += offers(settings.extensions, tls, now, settings.hold_seconds)
    return words
