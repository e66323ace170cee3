"""Whether Maildirs can be made where the configuration has them: what stands in the way, and what this user may do.

A folder that may not be written is no fault: its volume may come later, and mail waits for it meanwhile.  A file in
a folder's place is one, since nothing but another configuration helps.
"""

import os
from collections.abc import Iterator, Sequence

from mailgw.config.files import folder_fault, user_name
from mailgw.config.lines import Path
from mailgw.config.settings import Config
from mailgw.config.values import routed_domain
from mailgw.deliver.maildir import Known, MaildirSettings
from mailgw.store.maildir import shared_folder, template_root


def path_fault(template: str) -> str | None:
    """What every Maildir of ``template`` would be below though it is no folder; None where there is no such thing."""
    place = shared_folder(template)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    return None if os.path.isdir(place) else f"{place} is not a folder"


def maildir_doubts(config: Config, is_start: bool) -> Iterator[tuple[Path, str]]:
    """Maildirs that this user cannot make or find; and, but at a start, those that several recipients share."""
    for name, backend in config.backends.items():
        if not isinstance(backend, MaildirSettings):
            continue
        patterns = [pattern for route in config.routes if route.backend == name for pattern in route.patterns]
        whys = [_unseen(backend.path)] if backend.recipients is Known.EXISTING else _unwritten(backend.path, patterns)
        for why in filter(None, whys):
            yield ("backend", name, "path"), why
        is_one = len(patterns) == 1 and patterns[0].rpartition("@")[0] != ""  # a single address shares with nobody
        if not is_start and not is_one and "{local_part}" not in backend.path and "{address}" not in backend.path:
            who = "all of a domain" if "{domain}" in backend.path else "all recipients"
            yield ("backend", name, "path"), f"has neither {{local_part}} nor {{address}}: {who} share one Maildir"


def _unwritten(template: str, patterns: Sequence[str]) -> Iterator[str]:
    """Folders in which this user cannot make a Maildir.  A domain's may be his though its parent is not."""
    folders = [shared_folder(template)]
    if patterns and os.path.isdir(folders[0]):
        folders = [shared_folder(template, routed_domain(pattern)) for pattern in patterns]
    for folder in dict.fromkeys(folders):
        if why := folder_fault(folder):
            user = user_name(os.geteuid())
            remedy = "" if os.path.lexists(folder) else f" (install -d -m 0700 -o {user} {folder} makes it)"
            why = why.replace("this user", f"user {user}")
            yield f"{folder}: {why}{remedy}: mail waits for whoever has no Maildir there that is writable"


def _unseen(template: str) -> str | None:
    folder = template_root(template)
    if os.path.isdir(folder) and os.access(folder, os.X_OK, effective_ids=True):
        return None
    user = user_name(os.geteuid())
    return f"{folder}: is no folder that user {user} may look into: who exists is not known, so all mail waits"
