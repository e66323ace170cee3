"""What a directory of recipients knows of an address."""

import attrs

from mailgw.mail.address import Mailbox


@attrs.frozen
class Found:
    """The address exists.

    ``targets``: whom mail for it goes to in its place (an alias), whole addresses; the address itself among them keeps
    its copy.  (): it is delivered as it stands.  ``backend`` is the name of the ``[backend.NAME]`` that serves it, None
    for the one of its route; it counts where the address is delivered as it stands.
    """

    targets: tuple[Mailbox, ...] = ()
    backend: str | None = None
