# SPDX-License-Identifier: MIT
"""Queues with VIRTIO_F_IN_ORDER, for both ring formats: what the device has answered when it tells of batches."""


def answers(ring, told):
    """(id, bytes) that the device has completed and the driver has not taken. `told(chains)` is what the ring tells
    in the place behind these chains, the oldest in flight: (id, bytes) of a batch's last chain, or None."""
    order = ring.ring["order"]
    chains = sorted(ring.in_flight(), key=lambda head: (head - int(order["oldest"])) % ring.size)
    begin = int(order["left"])
    found = [(head, ring.writable_bytes(head)) for head in chains[:begin]]
    while begin < len(chains) and (answer := told(chains[:begin])):
        if answer[0] not in chains[begin:]:
            return [*found, answer]
        end = chains.index(answer[0])
        found += [(head, ring.writable_bytes(head)) for head in chains[begin:end]] + [answer]
        begin = end + 1
    return found
