"""What mailgw loads of its own only when it is needed, loaded at once: for a process that is about to become a user
who may not read Python's files any more (``config.files.python_fault``)."""


def load_all() -> None:
    """Import the modules that others import late, and read the data that comes with the package.

    Nothing is loaded that an ordinary run does not load some time.  What others bring along (plug-ins, a template) is
    not among it: whether that user can read those is to be seen.
    """
    import mailgw.net.https
    import mailgw.net.https_hosts
    import mailgw.net.sts_fetch
    from mailgw.config.replies import built_in_classes
    from mailgw.deliver.desk import built_in_words

    assert mailgw.net
    built_in_classes()
    built_in_words()
