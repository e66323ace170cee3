"""Bearer tokens: OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's, as clients do it).  Not done: OAUTH10A, the error's
``scope`` and ``openid-configuration``.

Whether a token is worth anything its issuer knows, and the shell asks.
"""

import re

from mailgw.wire.sasl import Exchange, Fault, Step, Token, name_of

# RFC 7628 s3.1: client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep
#   kvsep = %x01    kvpair = key "=" value kvsep    key = 1*(ALPHA)    value = *(VCHAR / SP / HTAB / CR / LF)
# gs2-header as in RFC 5801 s4: no channel binding, which bearer tokens have no use for.
_GS2 = re.compile(rb"[ny],(?:a=((?:[^\0=,\x01]|=2C|=3D)+))?,\Z")
_PAIR = re.compile(rb"([A-Za-z]+)=([!-~ \t\r\n]*)\Z")
# RFC 6750 s2.1: b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)\Z")
# Not so strict as the RFC: it is a user's name in UTF-8.
_XOAUTH2 = re.compile(rb"user=([^\0\x01]*)\x01auth=([^\0\x01]*)\x01\x01\Z")

# RFC 7628 s3.2.2; the status is one of RFC 6750's words.
_REFUSED = b'{"status":"invalid_token"}'


class OAuthBearer(Exchange):
    """RFC 7628 s3.  The client answers the error with a kvsep, and is told the reply."""

    def respond(self, response: bytes) -> Step:
        head, *pairs = response.split(b"\x01")
        gs2 = _GS2.match(head)
        # The separator behind the last pair, and the one behind them all.
        if gs2 is None or len(pairs) < 2 or pairs[-2:] != [b"", b""]:
            return Fault.MALFORMED
        found: dict[bytes, bytes] = {}
        for pair in pairs[:-2]:
            match = _PAIR.match(pair)
            if match is None or match[1] in found:
                return Fault.MALFORMED
            found[match[1]] = match[2]
        user = (gs2[1] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
        return _token(user, found.get(b"auth", b""))

    def last_word(self, is_accepted: bool) -> bytes | None:
        return None if is_accepted else _REFUSED


class XOAuth2(Exchange):
    """``user=NAME^Aauth=Bearer TOKEN^A^A``; the client answers the error with nothing."""

    def respond(self, response: bytes) -> Step:
        match = _XOAUTH2.match(response)
        return Fault.MALFORMED if match is None else _token(match[1], match[2])

    def last_word(self, is_accepted: bool) -> bytes | None:
        return None if is_accepted else _REFUSED


def _token(user: bytes, auth: bytes) -> Step:
    bearer = _BEARER.match(auth)
    name = name_of(user)
    if bearer is None or name is None:
        return Fault.MALFORMED
    return Token(name, bearer[1].decode("ascii"))
