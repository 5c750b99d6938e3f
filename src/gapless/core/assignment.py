"""Which member of a group holds which partition, and which partition a key belongs to."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

__all__ = ["assign", "partition_of"]


def assign(members: Sequence[str], partitions: int, held: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Spread partitions 0 to `partitions` - 1 over members, as evenly as can be.

    `held` tells who holds which; those of nobody in `members` are free. As few partitions as possible leave
    a member that holds them: where some have to have one more than others, it is those that hold
    most. Whatever is equal goes by the order of `members`, and of the numbers.
    """
    if not members:
        return {}
    shares: dict[str, list[int]] = {member: [] for member in members}
    free = [partition for partition in range(partitions) if held.get(partition) not in shares]
    for partition in sorted(held):
        if held[partition] in shares:
            shares[held[partition]].append(partition)
    each, more = divmod(partitions, len(shares))
    fullest = sorted(shares, key=lambda member: -len(shares[member]))
    quotas = {member: each + (rank < more) for rank, member in enumerate(fullest)}
    for member, share in shares.items():
        free += share[quotas[member] :]
        del share[quotas[member] :]
    free.sort(reverse=True)
    for member, share in shares.items():
        while len(share) < quotas[member]:
            share.append(free.pop())
    return {member: tuple(sorted(share)) for member, share in shares.items()}


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key: the first 8 bytes of BLAKE2b (RFC 7693), as a big-endian number, mod P.

    To be exact, BLAKE2b with a digest of 8 bytes over the key in UTF-8. It never changes: the
    order of a key's messages hangs on it.
    """
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % partitions
