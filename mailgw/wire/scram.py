"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677; channel bindings of RFC 5929 s4 and
RFC 9266; not done: SCRAM-SHA-1, tls-unique, extensions, of which the optional ones are skipped; SASLprep of names,
which compare as accounts do).

Rules:
    Whether an account exists shows nowhere: the shell makes up keys for a stranger, and the exchange goes its whole
    way with them.
    The nonce is the shell's to make.  A proof is compared in a time that tells nothing.
"""

import hashlib
import hmac
import re

from mailgw.wire.sasl import Exchange, Fault, KeysWanted, Offer, Proof, ScramKeys, Step, decode_base64, encode_base64
from mailgw.wire.sasl import name_of as _text_of

KEY_OCTETS = 32  # SHA-256

# RFC 5802 s7:
#   gs2-header   = gs2-cbind-flag "," [ authzid ] ","
#   gs2-cbind-flag = ("p=" cb-name) / "n" / "y"        cb-name = 1*(ALPHA / DIGIT / "." / "-")
#   authzid      = "a=" saslname                       saslname = 1*(value-safe-char / "=2C" / "=3D")
#   client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]
#   username = "n=" saslname    nonce = "r=" printable  printable = %x21-2B / %x2D-7E
#   extensions = attr-val *("," attr-val)               attr-val = ALPHA "=" value
# reserved-mext (m=) asks for an extension that nobody has: the exchange must fail (s5.1), and does, by its form.
_SASLNAME = rb"(?:[^\0=,]|=2C|=3D)+"
_PRINTABLE = rb"[!-+\--~]+"
_EXTENSIONS = rb"(?:,[A-Za-z]=[^\0,]+)*"
_CLIENT_FIRST = re.compile(
    rb"(?P<gs2>(?:(?P<flag>[ny])|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>%b))?,)"
    rb"(?P<bare>n=(?P<login>%b),r=(?P<nonce>%b)%b)\Z" % (_SASLNAME, _SASLNAME, _PRINTABLE, _EXTENSIONS)
)
#   client-final-message = channel-binding "," nonce ["," extensions] "," proof
#   channel-binding = "c=" base64    proof = "p=" base64
_CLIENT_FINAL = re.compile(
    rb"(?P<unproved>c=(?P<binding>[A-Za-z0-9/+=]+),r=(?P<nonce>%b)%b),p=(?P<proof>[A-Za-z0-9/+=]+)\Z"
    % (_PRINTABLE, _EXTENSIONS)
)


class Scram(Exchange):
    """RFC 5802 s3, s5; what the client sends first and last, and what it is told between the two."""

    is_plus = False

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._keys: ScramKeys | None = None
        self._authzid = self._login = ""
        self._binding = self._first = self._client_nonce = self._nonce = self._told = b""
        self._signature = b""

    def respond(self, response: bytes) -> Step:
        return self._client_first(response) if self._keys is None else self._client_final(response, self._keys)

    def supply(self, keys: ScramKeys, nonce: str) -> bytes:
        self._keys = keys
        self._nonce = self._client_nonce + nonce.encode("ascii")
        salt = encode_base64(keys.salt)
        self._told = b"r=%b,s=%b,i=%d" % (self._nonce, salt, keys.iterations)
        return self._told

    def last_word(self, is_accepted: bool) -> bytes | None:
        # RFC 5802 s3: the server proves that it knows the keys, too.  What failed is said by the reply alone.
        return b"v=" + encode_base64(self._signature) if is_accepted else None

    def _client_first(self, response: bytes) -> Step:
        match = _CLIENT_FIRST.match(response)
        if match is None:
            return Fault.MALFORMED
        authzid, login = _name_of(match["authzid"] or b""), _name_of(match["login"])
        if authzid is None or login is None:
            return Fault.MALFORMED
        # RFC 5802 s6: "p" goes with the -PLUS name and with no other.
        if self.is_plus is not (match["flag"] is None):
            return Fault.MALFORMED
        if self.is_plus:
            channel = self._offer.bindings.get(match["binding"].decode("ascii"))
            if channel is None:
                return Fault.NOT_BOUND
            self._binding = match["gs2"] + channel
        else:
            # RFC 5802 s6: "y" says that we were not seen to offer -PLUS; where we did, somebody took it out.
            if match["flag"] == b"y" and ScramPlus.name in self._offer.mechanisms:
                return Fault.NOT_BOUND
            self._binding = match["gs2"]
        self._authzid, self._login = authzid, login
        self._first, self._client_nonce = match["bare"], match["nonce"]
        return KeysWanted(login)

    def _client_final(self, response: bytes, keys: ScramKeys) -> Step:
        match = _CLIENT_FINAL.match(response)
        if match is None:
            return Fault.MALFORMED
        binding, proof = decode_base64(match["binding"]), decode_base64(match["proof"])
        if binding is None or proof is None or len(proof) != KEY_OCTETS:
            return Fault.MALFORMED
        message = b",".join((self._first, self._told, match["unproved"]))
        signature = _hmac(keys.stored_key, message)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        self._signature = _hmac(keys.server_key, message)
        is_right = hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)
        is_right &= hmac.compare_digest(binding, self._binding)
        is_right &= hmac.compare_digest(match["nonce"], self._nonce)
        return Proof(self._authzid, self._login, is_right)


class ScramPlus(Scram):
    """Bound to the TLS channel: a proof that somebody in between had passed on is worth nothing to him."""

    name = "SCRAM-SHA-256-PLUS"
    is_plus = True


def derive_keys(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """What is to be stored of a password (RFC 5802 s3).  Slow by design; the password is prepared already."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return ScramKeys(iterations, salt, stored_key, _hmac(salted, b"Server Key"))


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _name_of(octets: bytes) -> str | None:
    return _text_of(octets.replace(b"=2C", b",").replace(b"=3D", b"="))
