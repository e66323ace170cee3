"""A gateway that sends the mail of one domain to another server, and keeps all other mail in Maildirs."""

TWO_WAYS = """
hostname = "mx.example.org"
[[listen]]
role = "mx"
endpoint = "tcp:25"
relay_from = ["10.0.0.0/8"]
[[route]]
recipients = ["@example.net"]
backend = "out"
[[route]]
recipients = ["*"]
backend = "home"
[backend.out]
type = "smtp"
hosts = ["192.0.2.9:25"]
tls = "never"
[backend.home]
type = "maildir"
path = "/mail/{domain}/{local_part}"
recipients = "any"
"""
