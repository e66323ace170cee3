"""Who may log in: password schemes, the ``twisted.cred`` checker and realm, one call for the protocols.

Floor 5.  It knows how a stored hash is verified and that hashing takes long (threads, bounded); it must not
know SASL mechanisms (``wire.sasl``) nor where the hashes are kept (``store.passwd``).  ``receive`` calls
``portal.log_in``; ``service`` puts the portal together; the ``mailgw`` command makes hashes.  Any other
``twisted.cred`` checker for ``IUsernamePassword`` can stand in the portal, if its avatar id is an address.

Known faults: SASLprep (RFC 4013) is not done, passwords are compared as the octets that came; crypt(3)
hashes are computed in Python, some 5 ms each of the interpreter's lock.
"""
