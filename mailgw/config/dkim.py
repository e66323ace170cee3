"""``[dkim]``: who is signed for, with which keys; what is wrong with the files that it names."""

import os
from collections.abc import Iterator, Mapping

from mailgw.config.dkim_tables import PUBLISH_SECONDS
from mailgw.config.document import Document
from mailgw.config.lines import Path
from mailgw.config.reader import Spot
from mailgw.config.settings import Config, DkimSettings
from mailgw.config.values import nearest, said
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.disk import Disk
from mailgw.mail.address import parse_domain
from mailgw.store.dkim_keys import FOLDER, KeyFolder
from mailgw.store.key_files import read_key_file
from mailgw.trust.dkim_rotation import KeyType, RotationRules, signing
from mailgw.trust.dkim_sign import BadKey


def dkim_settings(document: Document, folder: str, state: str) -> DkimSettings:
    """Nobody is signed for where there is no ``[dkim]``.  The keys are read, which takes some milliseconds each."""
    table = document.dkim
    if table is None:
        return DkimSettings(os.path.join(state, FOLDER), None, {}, RotationRules(), {}, (), PUBLISH_SECONDS)
    own = os.path.join(state, FOLDER) if table.folder is None else os.path.join(folder, table.folder)
    domains: dict[str, Mapping[str, str]] = {}
    rotate: dict[str, float] = {}
    for written, one in table.domains.items():
        domain, spot = parse_domain(written), table.spot.inner("domains", written)
        if domain is None or domain.startswith("[") or "." not in domain:  # RFC 6376 s3.5: d= has two labels at least
            spot.fault(f'expected a domain such as "example.org", not {said(written)}')
        elif domain in domains:
            spot.fault(f"{domain} has a table already")
        else:
            domains[domain] = _files(one.keys, domain, folder, one.spot.inner("keys"))
            if one.rotate is not None and one.keys is None:
                rotate[domain] = one.rotate
            elif one.rotate is not None:
                one.spot.inner("rotate").fault("keys that are named here are yours to rotate: without them, it is done")
    if table.seal_as is not None and table.seal_as not in domains:
        hint = nearest(table.seal_as, domains) or (f"; there are {', '.join(domains)}" if domains else "")
        table.spot.inner("seal_as").fault(f'there is no [dkim.domains."{table.seal_as}"]{hint}')
    publish = table.publish or ()
    if publish and not os.path.isabs(publish[0]):
        table.spot.inner("publish").fault(f"expected the program's absolute path first, not {said(publish[0])}")
    elif publish and not os.access(publish[0], os.X_OK):
        table.spot.inner("publish").fault(f"{publish[0]} is missing, or may not be run")
    rules = RotationRules(table.wait, table.retire)
    return DkimSettings(own, table.seal_as, domains, rules, rotate, publish, table.publish_timeout)


def check_folder(document: Document, settings: DkimSettings) -> None:
    """The keys of the folder that sign have to be there; that there are none yet is no fault."""
    folder = KeyFolder(settings.folder, Disk())
    for written in document.dkim.domains if document.dkim is not None else ():
        domain = parse_domain(written)
        if domain is None or settings.domains.get(domain) != {}:
            continue
        spot = Spot(document.spot.faults, ("dkim", "domains", written))
        try:
            _, bad = folder.signing(domain)
        except OSError as fault:
            spot.fault(f"{fault.filename or folder.path}: cannot be read: {fault.strerror}")
        except ValueError as fault:
            spot.fault(str(fault))
        else:
            for one in bad:
                spot.fault(f"{one.path}: {one.why}; mailgw dkim retire {one.selector} --force lets it sign no more")


def _files(keys: Mapping[str, str] | None, domain: str, folder: str, spot: Spot) -> Mapping[str, str]:
    """Paths by selector."""
    if keys is None:
        return {}
    found: dict[str, str] = {}
    for written, name in keys.items():
        selector, inner = parse_domain(written), spot.inner(written)
        if selector is None or selector.startswith("["):  # RFC 6376 s3.1: sub-domain *( "." sub-domain )
            inner.fault(f'expected a selector such as "2026a", not {said(written)}')
        elif selector in found:
            inner.fault(f"the selector {selector} stands there twice")
        else:
            path = found[selector] = os.path.join(folder, name)
            key = read_key_file(path, domain, selector)
            if isinstance(key, BadKey):
                inner.fault(key.why)
    return found


def key_paths(config: Config) -> Iterator[tuple[str, str]]:
    """Each key that is configured, and its file."""
    for domain, files in config.dkim.domains.items():
        for selector, path in files.items():
            yield f"dkim.domains.{domain}.keys.{selector}", path
        if not files:
            keys = KeyFolder(config.dkim.folder, Disk())
            for key in signing(keys.keys(domain)):
                yield f"dkim.domains.{domain}", keys.file(domain, key.selector)


def dkim_doubts(config: Config) -> Iterator[tuple[Path, str]]:
    """What is configured and comes to nothing, or to more than is meant, or is open to others."""
    folder = KeyFolder(config.dkim.folder, Disk())
    for domain in (one for one, files in config.dkim.domains.items() if not files):
        keys = folder.keys(domain)
        if not signing(keys):
            todo = f"publish the records: mailgw dkim show {domain}" if keys else f"mailgw dkim make {domain}"
            yield ("dkim", "domains", domain), f"no key of {folder.path} signs for it yet; {todo}"
    servers = [one for one in config.backends.values() if isinstance(one, SmtpSettings)]
    if config.dkim.domains and not any(one.sign for one in servers):
        yield ("dkim",), "nothing is signed: that is for backends of type smtp or lmtp, with sign = true"
    if config.dkim.domains and not config.check_from and any(one.role.is_submission for one in config.listeners):
        what = "any of these" if len(config.dkim.domains) > 1 else next(iter(config.dkim.domains))
        why = f"whoever logs in is signed for by {what}, whatever address there he writes into From, a colleague's, too"
        yield ("dkim", "domains"), f"{why}: expected [accounts] check_from = true"
    if config.dkim.seal_as is not None and not any(one.seal for one in servers):
        yield ("dkim", "seal_as"), "nothing is sealed: that is for backends of type smtp or lmtp, with seal = true"
    elif config.dkim.seal_as is not None and _types(config.dkim, folder, config.dkim.seal_as) == {KeyType.ED25519}:
        yield ("dkim", "seal_as"), "it has no key of RSA, and many who read seals know no other"


def _types(settings: DkimSettings, folder: KeyFolder, domain: str) -> set[KeyType]:
    """Of the keys that a domain signs with."""
    files = settings.domains[domain]
    if not files:
        return {key.type for key in signing(folder.keys(domain))}
    keys = [read_key_file(path, domain, selector) for selector, path in files.items()]
    return {KeyType(key.algorithm.key_type) for key in keys if not isinstance(key, BadKey)}
