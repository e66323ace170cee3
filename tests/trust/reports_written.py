"""Reports as their senders write them: our own examples in the manner of each, for tests."""

import gzip
import io
import zipfile
from collections.abc import Mapping


def record(
    source: str = "192.0.2.1", count: str = "1", dkim: str = "pass", spf: str = "pass", disposition: str = "none",
    header_from: str = "example.org",
    auth: str = "<dkim><domain>example.org</domain><result>pass</result><selector>s1</selector></dkim>"
    "<spf><domain>example.org</domain><result>pass</result></spf>",
) -> str:
    return (
        f"<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated>"
        f"<disposition>{disposition}</disposition><dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>"
        f"<identifiers><header_from>{header_from}</header_from></identifiers>"
        f"<auth_results>{auth}</auth_results></record>"
    )


def dmarc(
    *records: str, org: str = "big.example", report_id: str = "r1", begin: str = "1700000000",
    end: str = "1700086399", domain: str = "example.org", head: str = '<?xml version="1.0" encoding="UTF-8" ?>\n',
) -> bytes:
    return (
        f"{head}<feedback>\n  <report_metadata>\n    <org_name>{org}</org_name>\n"
        f"    <email>noreply-dmarc@{org}</email>\n    <report_id>{report_id}</report_id>\n"
        f"    <date_range><begin>{begin}</begin><end>{end}</end></date_range>\n  </report_metadata>\n"
        f"  <policy_published><domain>{domain}</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p>"
        f"<sp>none</sp><pct>100</pct></policy_published>\n  {''.join(records or (record(),))}\n</feedback>\n"
    ).encode()


GOOGLE = """<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <version>1.0</version>
  <report_metadata>
    <org_name>google.test</org_name>
    <email>noreply-dmarc-support@google.test</email>
    <extra_contact_info>https://support.google.test/a/answer/1</extra_contact_info>
    <report_id>11422230303030303030</report_id>
    <date_range>
      <begin>1700006400</begin>
      <end>1700092799</end>
    </date_range>
  </report_metadata>
  <policy_published>
    <domain>example.org</domain>
    <adkim>r</adkim>
    <aspf>r</aspf>
    <p>none</p>
    <sp>none</sp>
    <pct>100</pct>
    <np>none</np>
  </policy_published>
  <record>
    <row>
      <source_ip>2001:db8::25</source_ip>
      <count>14</count>
      <policy_evaluated>
        <disposition>none</disposition>
        <dkim>pass</dkim>
        <spf>fail</spf>
      </policy_evaluated>
    </row>
    <identifiers>
      <header_from>example.org</header_from>
    </identifiers>
    <auth_results>
      <dkim>
        <domain>example.org</domain>
        <result>pass</result>
        <selector>s2026</selector>
      </dkim>
      <spf>
        <domain>bounce.mailer.test</domain>
        <result>pass</result>
      </spf>
    </auth_results>
  </record>
</feedback>
"""

# A namespace of XML Schema, envelope_to, an empty list of reasons, upper case in domains.
MICROSOFT = """<?xml version="1.0"?>
<feedback xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <version>1.0</version>
  <report_metadata><org_name>Enterprise Outlook</org_name><email>dmarcreport@microsoft.test</email>
    <report_id>0123456789abcdef0123456789abcdef</report_id>
    <date_range><begin>1700006400</begin><end>1700092800</end></date_range></report_metadata>
  <policy_published><domain>Example.ORG</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p><sp>reject</sp>
    <pct>100</pct><fo>1</fo></policy_published>
  <record><row><source_ip>198.51.100.7</source_ip><count>3</count>
    <policy_evaluated><disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf><reason />
    </policy_evaluated></row>
    <identifiers><envelope_to>outlook.test</envelope_to><envelope_from>spam.test</envelope_from>
      <header_from>EXAMPLE.org</header_from></identifiers>
    <auth_results><spf><domain>spam.test</domain><scope>mfrom</scope><result>softfail</result></spf></auth_results>
  </record>
</feedback>"""

# No XML declaration, no version, no contact; spaces around everything, a result in upper case, reasons.
YAHOO = """<feedback>
<report_metadata><org_name> Yahoo Test </org_name><email></email><report_id> 1700089200.123456 </report_id>
<date_range><begin> 1700006400 </begin><end>1700092799 </end></date_range></report_metadata>
<policy_published><domain>example.org</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><pct>100</pct>
</policy_published>
<record><row><source_ip> ::ffff:192.0.2.33 </source_ip><count> 5 </count><policy_evaluated>
<disposition>none</disposition><dkim>FAIL</dkim><spf>PASS</spf>
<reason><type>mailing_list</type><comment></comment></reason>
<reason><type>local_policy</type><comment>arc=pass</comment></reason>
</policy_evaluated></row>
<identifiers><header_from>news.example.org</header_from></identifiers>
<auth_results>
<dkim><domain>example.org</domain><selector>old</selector><result>permerror</result></dkim>
<dkim><domain>list.test</domain><selector>l1</selector><result>PASS</result></dkim>
<spf><domain>news.example.org</domain><result>pass</result></spf></auth_results></record>
</feedback>"""

# The namespace of RFC 9990, with a prefix; what that has newly; an extension.
MAILRU = """<?xml version="1.0" encoding="utf-8"?>
<d:feedback xmlns:d="urn:ietf:params:xml:ns:dmarc-2.0">
<d:version>1.0</d:version>
<d:report_metadata><d:org_name>Mail.Ru Test</d:org_name><d:email>dmarc_support@corp.mail.test</d:email>
<d:report_id>26871270000000001700006400</d:report_id><d:date_range><d:begin>1700006400</d:begin>
<d:end>1700092800</d:end></d:date_range><d:generator>x</d:generator></d:report_metadata>
<d:policy_published><d:domain>example.org</d:domain><d:discovery_method>treewalk</d:discovery_method>
<d:p>quarantine</d:p><d:testing>n</d:testing></d:policy_published>
<d:extension><x:y xmlns:x="urn:x"><x:count>7</x:count></x:y></d:extension>
<d:record><d:row><d:source_ip>203.0.113.9</d:source_ip><d:count>1</d:count><d:policy_evaluated>
<d:disposition>quarantine</d:disposition><d:dkim>fail</d:dkim><d:spf>fail</d:spf></d:policy_evaluated></d:row>
<d:identifiers><d:envelope_from/><d:header_from>example.org</d:header_from></d:identifiers>
<d:auth_results/></d:record>
</d:feedback>"""

TLS = b"""{"organization-name":"Google Test","date-range":{"start-datetime":"2023-11-15T00:00:00Z",
"end-datetime":"2023-11-15T23:59:59Z"},"contact-info":"smtp-tls-reporting@google.test",
"report-id":"2023-11-15T00:00:00Z_example.org","policies":[{"policy":{"policy-type":"sts","policy-string":
["version: STSv1","mode: enforce","mx: *.example.org","max_age: 86400"],"policy-domain":"example.org",
"mx-host":["*.example.org"]},"summary":{"total-successful-session-count":1000,"total-failure-session-count":2},
"failure-details":[{"result-type":"certificate-expired","sending-mta-ip":"198.51.100.1","receiving-mx-hostname":
"mx1.example.org","receiving-ip":"192.0.2.1","failed-session-count":2,"failure-reason-code":"expired\\nyesterday"}]}]}"""


def zipped(members: Mapping[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind, compresslevel=1) as archive:
        for name, octets in members.items():
            archive.writestr(name, octets)
    return made.getvalue()


def mail(
    octets: bytes, content_type: str = "application/gzip", name: str = "big.example!example.org!1!2.xml.gz",
    author: str = "noreply@big.example", top: str = "", encode: bool = True,
) -> bytes:
    """A message with one attachment, LF line ends."""
    from base64 import encodebytes

    body = encodebytes(octets) if encode else octets
    encoding = "base64" if encode else "8bit"
    return (
        f"{top}From: <{author}>\nSubject: Report Domain: example.org\nMIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\nA report.\n--b\n'
        f'Content-Type: {content_type}; name="{name}"\nContent-Transfer-Encoding: {encoding}\n'
        f'Content-Disposition: attachment; filename="{name}"\n\n'
    ).encode() + body + b"\n--b--\n"


def packed(octets: bytes) -> bytes:
    return gzip.compress(octets, 1, mtime=0)  # quickly: what is near the limits has 16 MiB
