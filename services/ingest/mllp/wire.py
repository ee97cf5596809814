"""What an MLLP connection needs of its transport, so that TCP's own and TLS on top of it are the same to it."""

from typing import Protocol


class Wire(Protocol):
    """What a connection needs of its transport: TCP's own, or TLS on top of it."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say from how many unsent bytes on `pause_writing` is called."""

    def write(self, data: bytes) -> None:
        """Send."""

    def write_eof(self) -> None:
        """End our side once all is sent."""

    def pause_reading(self) -> None:
        """Hand over no more bytes."""

    def resume_reading(self) -> None:
        """Hand them over again."""

    def is_closing(self) -> bool:
        """Tell whether it is ending."""

    def close(self) -> None:
        """End once all is sent."""

    def abort(self) -> None:
        """End now."""
