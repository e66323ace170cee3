"""Who may log in: password schemes, the ``twisted.cred`` checker and realm, one call for the protocols.

Floor 5.  It knows how a stored hash is verified and that hashing takes long (threads, bounded); it must not
know how SASL is spoken (``wire.sasl``), of which it sees the claims alone, nor where the hashes are kept
(``store.passwd``).  ``receive`` calls ``logins.Logins.judge``, through which every login passes; ``accounts``
puts the sources together; the ``mailgw`` command makes hashes.  Any other ``twisted.cred`` checker for
``IUsernamePassword`` can stand in the portal, if its avatar id is an address.

Known faults: SASLprep (RFC 4013) is done for SCRAM alone, other passwords are compared as the octets that came;
crypt(3) hashes are computed in Python, some 5 ms each of the interpreter's lock.  An account whose password is
not stored for SCRAM cannot log in by it, though it is offered for the sake of others.
"""
