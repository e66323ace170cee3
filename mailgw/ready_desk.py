"""Whether the gateway takes mail: one word why not, or none, for who balances load and who watches.

    ready       {"why": "" | "starting" | "stopping" | "full" | "worker" | "unwell"}
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Desk, Request
from mailgw.workers.patience import PROBE_SECONDS

if TYPE_CHECKING:
    from mailgw.service import MailGateway
    from mailgw.workers.parent import Parent


def gateway_readiness(gateway: "MailGateway") -> Desk:
    async def ready(request: Request) -> object:
        if not gateway.running:
            return {"why": "stopping"}
        made = [one for one in gateway.shards.all if one.made]
        if not made:
            return {"why": "starting"}
        return {"why": "" if gateway.spool.room() else "full"}

    return {"ready": ready}


def parent_readiness(parent: "Parent") -> Desk:
    """All of the workers have to be, since connections come to whichever is quickest.  Anybody asks this, and often:
    who is silent is not waited for."""

    async def ready(request: Request) -> object:
        if parent.is_stopping:
            return {"why": "stopping"}
        if parent.absent():
            return {"why": "worker"}
        answers = (await parent.ask_each({"command": "ready"}, PROBE_SECONDS)).values()
        if any(isinstance(one, TemporaryFault) for one in answers):
            return {"why": "worker"}
        words = [one["why"] if isinstance(one, Mapping) else "unwell" for one in answers]
        return {"why": next(filter(None, words), "")}

    return {"ready": ready}
