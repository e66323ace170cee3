"""Several processes as one gateway, in one process: the wire in memory, the processes played."""
