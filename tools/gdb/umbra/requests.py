# SPDX-License-Identifier: MIT
"""Block requests and devices, in words. What the other files know of struct block_request is here."""
from .kernel import NotBooted, at, chain, enum_name, text, variable

SECTOR_BYTES = 512
SHAPE_MERGED, SHAPE_PIECES = 1, 2  # BLOCK_SHAPE_*
QUESTION_BYTES = {"get-id": 20, "get-lifetime": 6}
RANGES = ("discard", "write-zeroes", "secure-erase")


def block_devices():
    table = variable("devices", "src/drivers/block/block.c")
    count = int(variable("device_count", "src/drivers/block/block.c"))
    if count == 0:
        raise NotBooted("there are no block devices")
    return [table[i].dereference() for i in range(count)]


def operation(request):
    return enum_name("enum block_operation", request["operation"], "BLOCK_").replace("_", "-")


def device_sector(request):
    """block_request_device_sector: of the piece or the whole merge that the device has."""
    if int(request["shape"]) & SHAPE_PIECES:
        return int(request["sector"]) + int(request["sectors"]) - int(request["total_sectors"])
    return int(request["sector"])


def device_bytes(request):
    """block_request_device_bytes."""
    if operation(request) in QUESTION_BYTES:
        return QUESTION_BYTES[operation(request)]
    if int(request["shape"]) & SHAPE_PIECES:
        return int(request["piece_bytes"])
    return int(request["total_sectors"]) * SECTOR_BYTES


def followers(leader):
    if not int(leader["shape"]) & SHAPE_MERGED:
        return []
    next_node = lambda a: at("struct fifo_node", a)["next"]  # noqa: E731
    return [at("struct block_request", a) for a in chain(leader["merged_head"], next_node)]


def summary(request):
    device = text(request["device"]["name"]) if int(request["device"]) else "no device"
    words = f"{operation(request)} {device}"
    if operation(request) in ("read", "write", *RANGES):
        words += f" sector {int(request['sector'])}, {int(request['sectors']) * SECTOR_BYTES} bytes"
    return words
