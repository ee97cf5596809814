"""Technical parts both services stand on; no clinical word in here."""
