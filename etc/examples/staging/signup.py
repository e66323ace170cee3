"""The program under test: it sends a letter with a code to whoever signs up."""

import smtplib
from email.message import EmailMessage


def sign_up(address: str, code: str, host: str, port: int) -> bool:
    """Whether the letter is on its way; what is refused for now is tried once more."""
    letter = EmailMessage()
    letter["From"] = "Desk <desk@example.org>"
    letter["To"] = address
    letter["Subject"] = "Your code"
    letter.set_content(f"Welcome! Confirm by https://example.org/confirm?code={code}\n")
    letter.add_alternative(f'<p>Welcome! <a href="https://example.org/confirm?code={code}">Confirm</a></p>', "html")
    for _ in range(2):
        try:
            with smtplib.SMTP(host, port, timeout=30) as server:
                server.send_message(letter, "desk@example.org", [address])
            return True
        except smtplib.SMTPRecipientsRefused as refused:
            if all(code >= 500 for code, _ in refused.recipients.values()):
                return False
    return False
