"""The nouns of mail: addresses, envelopes, replies, outcomes, facts; and the ports to the world.

Floor 0, pure: no socket, no clock, no disk, no Twisted.  Everything here is a frozen value or a
``typing.Protocol``; every other room speaks in these words.  It must not know any protocol's
dialog, any configuration, or any backend.
"""
