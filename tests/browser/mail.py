"""Mail for the tests of the page, some of it ill-meaning."""

import smtplib
from email.message import EmailMessage
from email.policy import SMTP

CANARY = "mailgw_canary"
"""A variable that only a script out of a mail would set."""
SCRIPT = f"<script>window.{CANARY}=1</script>"
HANDLER = f"<img src=x onerror=\"top.{CANARY}=1;window.{CANARY}=1\">"
TURNED = "invoice\u202efdp.exe"

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63908f3f020001"
    "e30143379c44ea0000000049454e44ae426082"
)


def send(
    port: int, *recipients: str, subject: str = "A letter", sender: str = "ann@home.test",
    message: EmailMessage | None = None,
) -> None:
    """By SMTP to this port of the loopback."""
    if message is None:
        message = EmailMessage(policy=SMTP)
        message.set_content("Hello.\n")
    for name, value in (("From", sender), ("To", ", ".join(recipients)), ("Subject", subject)):
        if name not in message:
            message[name] = value
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=30) as client:
        client.sendmail(sender, recipients, message.as_bytes())


def order(subject: str = "Your order has been sent") -> EmailMessage:
    """With text, HTML, a picture in that, one of somebody else's, links and an attachment."""
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject
    message.set_content("Your order has been sent.\n\nIt should reach you on Tuesday: https://shop.test/orders/42\n")
    message.add_alternative(
        "<html><body style='font-family:sans-serif'><h1 id='sent'>Your order has been sent</h1>"
        "<p>It should reach you on <b>Tuesday</b>: <a href='https://shop.test/orders/42'>order 42</a>.</p>"
        "<p><img src='cid:logo@shop.test' alt='logo' width='40' height='40'>"
        "<img src='https://pixel.test/seen.gif' alt=''></p></body></html>",
        subtype="html",
    )
    html = message.get_payload()[1]  # type: ignore[index]
    html.add_related(PIXEL, "image", "png", cid="<logo@shop.test>")  # type: ignore[union-attr]
    message.add_attachment(b"%PDF-1.4 no real one\n", maintype="application", subtype="pdf", filename="invoice.pdf")
    return message


def hostile() -> EmailMessage:
    """Script by subject, by the names of sender, header fields and file, and in the HTML."""
    message = EmailMessage(policy=SMTP)
    message["Subject"] = f"{SCRIPT}{HANDLER}"
    message["From"] = "\"'-alert(1)-'<svg/onload=alert(1)>\" <ann@home.test>"
    message["X-Odd"] = f"{SCRIPT} {HANDLER}"
    message.set_content(f"{SCRIPT}\njavascript:alert(1)\n")
    message.add_alternative(
        f"<html><head><meta http-equiv='refresh' content='0;url=https://evil.test/'><base href='https://evil.test/'>"
        f"<link rel='stylesheet' href='https://evil.test/x.css'>{SCRIPT}</head>"
        f"<body onload='top.{CANARY}=1'>{HANDLER}<svg><script>top.{CANARY}=1</script></svg>"
        f"<iframe srcdoc=\"{SCRIPT.replace('<', '&lt;')}\"></iframe><form action='https://evil.test/'><input name=p>"
        f"<button>go</button></form><a id='lure' href='javascript:top.{CANARY}=1' target='_top'>www.bank.test</a>"
        f"<a href='https://evil.test/login'>https://www.bank.test/</a>"
        f"<p id='there'>Hello</p></body></html>",
        subtype="html",
    )
    message.add_attachment(
        b"MZ", maintype="application", subtype="octet-stream", filename=f"{HANDLER}{TURNED}",
    )
    return message
