"""From bytes on a socket to one durable record per message."""
