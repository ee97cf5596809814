"""MLLP: framing without I/O, and the asyncio server and client around it."""
