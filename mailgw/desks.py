"""The desks at which operators' commands are answered that are not about the queue (that is ``control``'s).

One function for each shape of a gateway puts together what its parts answer.

Rules:
    A command has one desk.
    Where a gateway is several processes, operators talk to the parent, whose desk asks a worker where one has to do it.
    That worker's own desk answers then.
"""

from typing import TYPE_CHECKING

from mailgw.health_desk import gateway_health, parent_health
from mailgw.herald import gateway_sessions, parent_sessions
from mailgw.inbox_desk import InboxDesk
from mailgw.mail.ports import Desk
from mailgw.ready_desk import gateway_readiness, parent_readiness
from mailgw.recording_desk import RecordingDesk
from mailgw.tracing import Tracing

if TYPE_CHECKING:
    from mailgw.service import MailGateway
    from mailgw.workers.parent import Parent


def gateway_desk(gateway: "MailGateway") -> Desk:
    """Of a process that moves mail: the only one, or one of several."""
    return joined(
        gateway_readiness(gateway),
        gateway_health(gateway),
        gateway.reloader.desk(),
        gateway_sessions(lambda: len(gateway.sessions)),
        {} if gateway.lookout is None else gateway.lookout.desk(),
        Tracing(lambda: gateway.config.journal.path, gateway.reactor).desk(),
        gateway.sending.desk(),
        InboxDesk(lambda: gateway.generation.config, gateway.inbox, gateway.reactor).desk,
        RecordingDesk(gateway.recordings, gateway.reactor, gateway.wall_clock).desk(),
    )


def parent_desk(parent: "Parent") -> Desk:
    """Of the process above several."""
    return joined(
        parent_readiness(parent),
        parent_health(parent),
        parent.reloader.desk(),
        parent_sessions(parent.ask_all),
        parent.lookout.desk(),
        Tracing(lambda: parent.config.journal.path, parent.reactor).desk(),
        parent.sending.desk(),
        InboxDesk(lambda: parent.config, parent.inbox, parent.reactor).desk,
        RecordingDesk(parent.recordings, parent.reactor, parent.wall_clock).desk(),
    )


def joined(*desks: Desk) -> Desk:
    """Several as one; ValueError where two of them have the same command."""
    commands = [command for desk in desks for command in desk]
    if twice := {command for command in commands if commands.count(command) > 1}:
        raise ValueError(f"answered by two desks: {sorted(twice)}")
    return {command: answer for desk in desks for command, answer in desk.items()}
