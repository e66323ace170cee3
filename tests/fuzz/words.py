"""Words of the protocols, which no fuzzer finds by chance; the engine puts them into inputs."""

WORDS = (
    "EHLO ", "HELO ", "LHLO ", "MAIL FROM:<", "RCPT TO:<", "FROM:<", "TO:<", "DATA\r\n", "BDAT ", " LAST\r\n",
    "RSET\r\n", "QUIT\r\n",
    "NOOP\r\n", "VRFY ", "STARTTLS\r\n", "AUTH ", "XCLIENT ", "\r\n", "\r\n.\r\n", "\n.\n", "\r.\r", "\r\n..", "\0",
    "a@b.test>", "<>", "postmaster", "@a.test:", "[192.0.2.1]", "[IPv6:2001:db8::1]", '"a b"@c.test', "xn--",
    "ü", "\u200d", " SIZE=", " BODY=8BITMIME", " BODY=BINARYMIME", " BODY=7BIT", " SMTPUTF8", " AUTH=<>", " RET=FULL",
    " RET=HDRS", " ENVID=", " REQUIRETLS", " MT-PRIORITY=", " BY=", ";R", ";N", ";NT", " HOLDFOR=", " HOLDUNTIL=",
    "2027-01-15T08:30:00Z", "2027-01-15T09:30:00+01:00", " NOTIFY=", "NEVER", "SUCCESS", "FAILURE", "DELAY",
    " ORCPT=rfc822;", "utf-8;", "\\x{", "+2B", "+0D+0A", "999999999", "18446744073709551616",
    "PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2", "EXTERNAL", "n,,n=", "y,,n=",
    "p=tls-exporter,,", ",r=", ",p=", ",c=", "biws", "auth=Bearer ", "\1", "user=", "alice", "secret",
    "220 ", "221 ", "250 ", "250-", "334 ", "354 ", "421 ", "450 4.2.0 ", "451 ", "452 4.5.3 ", "501 ", "503 ", "535 ",
    "550 5.1.1 ", "552 5.5.3 ", "554 ", "PIPELINING\r\n", "SIZE 1000\r\n", "8BITMIME\r\n", "CHUNKING\r\n", "DSN\r\n",
    "AUTH PLAIN LOGIN\r\n", "AUTH=PLAIN\r\n", "STARTTLS\r\n", "SMTPUTF8\r\n", "REQUIRETLS\r\n", "LIMITS RCPTMAX=1\r\n",
    "MIME-Version: 1.0\r\n", "Content-Type: multipart/mixed; boundary=b\r\n\r\n", "--b\r\n", "--b--\r\n", "--c\r\n",
    "Content-Type: message/rfc822\r\n\r\n", "Content-Type: multipart/signed; boundary=c\r\n\r\n", "8bit\r\n",
    "Content-Transfer-Encoding: binary\r\n", "\r\n\r\n",
    "VERSION\t1\t2\n", "MECH\tPLAIN\tplaintext\n", "CUID\t1\n", "SPID\t1\n", "DONE\n", "OK\t1\tuser=ann\n",
    "FAIL\t1\ttemp\n",
    "ADDR=", "NAME=", "HELO=", "LOGIN=", "PORT=", "DESTADDR=", "PROTO=ESMTP", "[UNAVAILABLE]", "[TEMPUNAVAIL]", "IPV6:",
    "n,,n=user,r=abc\n!", "p=tls-exporter,,n=user,r=abc\n!",
    "Authentication-Results: ", "a.example;", "spf=pass", " smtp.mailfrom=", " reason=", "dkim/1=", ";none",
    "v=spf1 ", "include:b.test ", "redirect=c.test", "exp=b.test", "exists:%{", "%{ir}.%{v}.", "%{l1r-}", "%{p}",
    "-all", "ip4:192.0.2.0/24 ", "ip6:2001:db8::/32 ", "a:%{d}/24//64 ", "mx//64 ", "ptr:",
    "DKIM-Signature:", "; l=", "; c=relaxed/relaxed", "; i=@", "; t=y:s", "; h=from:", "; a=rsa-sha256", "v=DKIM1; p=",
    "ARC-Seal:", "ARC-Message-Signature:", "ARC-Authentication-Results:", " i=1;", " i=2;", " cv=none;", " cv=pass;",
    "v=DMARC1;", "p=reject;", "sp=none;", "np=quarantine;", "psd=y;", "psd=n;", "t=y;", "rua=mailto:", "adkim=s;",
    "a.example._report._dmarc.b.test v=DMARC1;", "mailto:r@b.test!1k,",
    "<feedback>", "<record>", "<row>", "<count>", "</", "<!DOCTYPE ", "<!ENTITY ", "<![CDATA[", "&#x202e;", "encoding=",
    '"policies":[', '"policy-domain":', '"date-range":{', "\x1f\x8b\x08", "PK\1\2", "PK\3\4", "PK\5\6",
    "BINARYMIME\r\n", "PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN", "\r\n\r\n\0\r\nQUIT\n",
)


def dictionary() -> str:
    """In libFuzzer's format."""
    lines = []
    for word in WORDS:
        escaped = "".join(chr(o) if 32 < o < 127 and chr(o) not in '"\\' else f"\\x{o:02X}" for o in word.encode())
        lines.append(f'"{escaped}"\n')
    return "".join(lines)
