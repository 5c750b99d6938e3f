"""What every limit of size or range says when it is passed. Each raises `BadRequest`."""

from gapless.core.errors import BadRequest

__all__ = ["check_range", "check_size", "check_text", "text_bytes"]


def check_text(name: str, text: str, bytes_max: int) -> None:
    """A text that can be stored, of 1 to `bytes_max` bytes."""
    if not text:
        raise BadRequest(f"{name} is empty; it has 1 to {bytes_max} bytes")
    check_size(name, text_bytes(name, text), bytes_max)


def check_size(name: str, size: int, bytes_max: int) -> None:
    """No more than so many bytes."""
    if size > bytes_max:
        raise BadRequest(f"{name} has {size} bytes; up to {bytes_max} are taken")


def check_range(name: str, value: int, lowest: int, highest: int) -> None:
    """A number within its range."""
    if not lowest <= value <= highest:
        raise BadRequest(f"{name} is {value}; use {lowest} to {highest}")


def text_bytes(name: str, text: str) -> int:
    """Return how many bytes a text has that can be stored."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise BadRequest(f"{name} is no text: half a surrogate pair cannot be stored") from None
