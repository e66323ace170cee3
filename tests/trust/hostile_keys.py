"""Public keys in DER, of kinds that nobody should load."""

import base64

RSA = bytes.fromhex("2a864886f70d010101")
ED25519 = bytes.fromhex("2b6570")
P256 = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d030107")
_DIFFIE_HELLMAN = bytes.fromhex("2a864886f70d010301")  # PKCS #3, dhKeyAgreement


def der(tag: int, contents: bytes) -> bytes:
    size = len(contents)
    if size < 0x80:
        return bytes([tag, size]) + contents
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + contents


def sequence(*parts: bytes) -> bytes:
    return der(0x30, b"".join(parts))


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bit_string(octets: bytes) -> bytes:
    return der(3, b"\0" + octets)


def rsa(key: bytes) -> bytes:
    """A SubjectPublicKeyInfo."""
    return sequence(sequence(der(6, RSA), der(5, b"")), bit_string(key))


def diffie_hellman(bits: int) -> bytes:
    """A SubjectPublicKeyInfo whose prime is that of RFC 3526 s3 where it has 2048 bits, and else any number."""
    prime = _prime() if bits == 2048 else (1 << bits - 1) + 1
    return sequence(sequence(der(6, _DIFFIE_HELLMAN), sequence(integer(prime), integer(4))), bit_string(integer(3)))


def recorded(octets: bytes) -> str:
    """As p= has it."""
    return base64.b64encode(octets).decode()


def _prime() -> int:
    """RFC 3526 s3: 2^2048 - 2^1984 - 1 + 2^64 * { [2^1918 pi] + 124476 }"""
    return 2**2048 - 2**1984 - 1 + 2**64 * (_pi(1918) + 124_476)


def _pi(bits: int) -> int:
    """[2^bits pi], by Machin's formula."""
    one = 1 << bits + 64

    def arctangent(divisor: int) -> int:
        power = total = one // divisor
        number, sign = 3, -1
        while power:
            power //= divisor * divisor
            total += sign * (power // number)
            number, sign = number + 2, -sign
        return total

    return 4 * (4 * arctangent(5) - arctangent(239)) >> 64
