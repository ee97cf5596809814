"""Pure rules: identity, stays, working time, protocols, tasks. No I/O, no framework."""
