"""Store and forward: a publisher that keeps on acknowledging, into a spool on disk, while its log is away."""
