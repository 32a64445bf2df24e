# SPDX-License-Identifier: MIT
"""The table of tools/mutants.py: known bugs as changes of one text of one file, each with the test that must notice.

`old` must be in `file` exactly once (make check), so it is as short as that allows; the mutant must build without
warnings. A test's name says how it is run: see tools/mutants.py.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    name: str
    hazard: int  # docs/hazards.md
    file: str
    old: str
    new: str
    test: str
    build: str = "release"  # or "debug": the kernel that an in-kernel test or pytest needs
    smp: int = 1  # CPUs of an in-kernel test

    @property
    def is_static(self):
        return self.test.endswith("::_Static_assert")


VIRTIO = "src/drivers/virtio/"
BLOCK = "src/drivers/block/"
PCI = "src/drivers/pci/"
VRING = VIRTIO + "vring_split.c"
BLK_QUEUE = VIRTIO + "virtio_blk_queue.c"
RACE = "tests/host/vring_race_test.c::"
RING_TEST = "tests/host/vring_test.c::"
BLK_TEST = "tests/host/virtio_blk_test.c::"
CORE_TEST = "tests/host/virtio_core_test.c::"
PCI_TEST = "tests/host/pci_test.c::"
BLOCK_TEST = "tests/host/block_test.c::"

MUTANTS = [
    # ---- Notification suppression --------------------------------------------------------------------------------
    Mutant("kick-without-barrier", 1, VRING, "    barrier_full();\n    if (ring->has_event_idx)\n        must_notify",
           "    if (ring->has_event_idx)\n        must_notify", RACE + "test_kick"),
    Mutant("barrier-for-the-compiler-only", 1, "src/arch/io.h", '"mfence"', '""', RACE + "test_kick"),
    Mutant("enable-without-barrier", 2, VRING, "    barrier_full();\n    return split_has_more", "    return split_has_more",
           RACE + "test_callback"),
    Mutant("enable-without-second-look", 2, VRING, "    return split_has_more(queue);", "    return false;",
           RING_TEST + "test_suppression"),
    Mutant("interrupt-ignores-second-look", 2, BLK_QUEUE, "&& virtqueue_callbacks_enable(queue->ring));",
           "&& !virtqueue_callbacks_enable(queue->ring) && false);", BLK_TEST + "test_race"),
    Mutant("used-event-never-written", 3, VRING, "write_once(*ring->used_event, (uint16_t)ring->used_next);", "(void)0;",
           RING_TEST + "test_traffic"),
    Mutant("event-compared-with-ge", 4, VIRTIO + "virtqueue_internal.h",
           "return (uint16_t)(new - event - 1) < (uint16_t)(new - old);", "return new > event && new != old;",
           RING_TEST + "test_need_event"),
    Mutant("used-index-in-32-bits", 5, VRING, "uint16_t fresh = (uint16_t)(read_once(ring->used->idx) - ring->used_next);",
           "uint32_t fresh = read_once(ring->used->idx) - ring->used_next;", RING_TEST + "test_traffic"),
    Mutant("more-compared-in-32-bits", 5, VRING, "!= (uint16_t)ring->used_next &&", "!= ring->used_next &&",
           RING_TEST + "test_traffic"),

    # ---- Full rings and queues -----------------------------------------------------------------------------------
    Mutant("ring-locked-over-completion", 14, BLK_QUEUE,
           "    spin_unlock_interrupts_off(&ring->lock);\n    if (!fifo_is_empty(&done))\n"
           "        block_complete(queue->disk->block, &done);",
           "    if (!fifo_is_empty(&done))\n        block_complete(queue->disk->block, &done);\n"
           "    spin_unlock_interrupts_off(&ring->lock);", BLK_TEST + "test_statuses"),
    Mutant("queue-locked-over-submit", 14, BLOCK + "queue.c", "read_once(device->ops)->submit(device, &batch->leaders);",
           "SPIN_SCOPED_IRQ(&device->lock);\n        read_once(device->ops)->submit(device, &batch->leaders);",
           BLOCK_TEST + "test_traffic"),
    Mutant("ring-overflow", 15, VRING, "if (unlikely(queue->free_count < count))", "if (unlikely(queue->free_count == 0))",
           RING_TEST + "test_room"),
    Mutant("chain-freed-as-one", 15, VRING, "queue->free_count += head->length;", "queue->free_count++;",
           RING_TEST + "test_traffic"),
    Mutant("queue-never-restarted", 16, BLOCK + "queue.c", "if (unlikely(is_waiting)) /* R5", "if (unlikely(is_waiting && !device)) /* R5",
           BLOCK_TEST + "test_full_queue"),
    Mutant("put-back-without-second-look", 16, BLOCK + "queue.c",
           "return device->in_flight == 0 && (took_some || !was_idle);", "return false && took_some && was_idle;",
           BLOCK_TEST + "test_completions_before_put_back"),
    Mutant("full-ring-drops-the-request", 47, BLK_QUEUE, "            node = &request->node;\n", "",
           BLK_TEST + "test_traffic"),

    # ---- What the device says ------------------------------------------------------------------------------------
    Mutant("newest-completion-only", 19, VRING, "ring->used_seen = ring->used_next + fresh;",
           "ring->used_next += fresh - 1u;\n    ring->used_seen = ring->used_next + 1;", BLK_TEST + "test_batches"),
    Mutant("used-id-past-the-queue", 20, VRING, "if (unlikely(used.id >= ring->queue.size))", "if (unlikely(used.id == UINT32_MAX))",
           RING_TEST + "test_lies"),
    Mutant("used-id-not-in-flight", 20, VRING, "if (unlikely(!used.token || used.bytes", "if (unlikely(used.bytes",
           RING_TEST + "test_lies"),
    Mutant("used-length-trusted", 20, VRING, "|| used.bytes > head->writable_bytes))", "))", RING_TEST + "test_lies"),
    Mutant("used-index-trusted", 20, VRING, "if (unlikely(fresh > ring->avail_published - ring->used_next)) {",
           "if (unlikely(fresh > 0x8000)) {", RING_TEST + "test_lies"),
    Mutant("chain-read-from-the-device", 21, VRING, "last = &ring->ids[last->next];",
           "last = &ring->ids[ring->desc[last - ring->ids].next];", RING_TEST + "test_scribble"),
    Mutant("status-not-preset", 39, VIRTIO + "virtio_blk_internal.h", "slot->status = VIRTIO_BLK_STATUS_PRESET;",
           "slot->status = VIRTIO_BLK_S_OK;", BLK_TEST + "test_statuses"),
    Mutant("shaped-status-not-preset", 39, BLK_QUEUE, "slot->status = VIRTIO_BLK_STATUS_PRESET;",
           "slot->status = VIRTIO_BLK_S_OK;", BLK_TEST + "test_statuses"),
    Mutant("bounced-status-not-preset", 39, VIRTIO + "virtio_blk_bounce.c", "bounce[bytes] = VIRTIO_BLK_STATUS_PRESET;",
           "bounce[bytes] = VIRTIO_BLK_S_OK;", BLK_TEST + "test_statuses"),
    Mutant("interrupt-without-the-lock", 46, BLK_QUEUE, "    spin_lock_interrupts_off(&ring->lock);\n    queue->interrupts++;",
           "    queue->interrupts++;", BLK_TEST + "test_statuses"),

    # ---- Finding the device --------------------------------------------------------------------------------------
    Mutant("features-ok-not-read-back", 26, VIRTIO + "virtio.c",
           "if (device->transport->status_read(device) & VIRTIO_STATUS_FEATURES_OK)", "if (device->transport)",
           CORE_TEST + "test_refusals"),
    Mutant("unknown-features-accepted", 26, VIRTIO + "virtio.c", "device->offered & virtio_features_wanted(device->driver)",
           "device->offered | virtio_features_wanted(device->driver)", CORE_TEST + "test_negotiation"),
    Mutant("packed-accepted-unbuilt", 26, VIRTIO + "virtio_features.c", "{VIRTIO_F_RING_PACKED, false,",
           "{VIRTIO_F_RING_PACKED, true,", CORE_TEST + "test_negotiation"),
    Mutant("feature-bits-in-an-int", 27, VIRTIO + "virtio_features.c", "? BIT(features[i].bit) : 0", "? 1u << features[i].bit : 0",
           CORE_TEST + "test_negotiation"),
    Mutant("doorbell-multiplier-is-4", 28, VIRTIO + "transport_pci_caps.c", "queue_notify_off * regions->notify_multiplier",
           "queue_notify_off * 4", PCI_TEST + "test_doorbell"),
    Mutant("doorbell-multiplier-0-refused", 28, VIRTIO + "transport_pci_caps.c", "|| at % 2 != 0)",
           "|| at % 2 != 0 || !regions->notify_multiplier)", PCI_TEST + "test_doorbell"),
    Mutant("doorbell-multiplier-misread", 28, VIRTIO + "transport_pci_caps.c", "capability + VIRTIO_PCI_CAP_MULTIPLIER",
           "capability + VIRTIO_PCI_CAP_BYTES", PCI_TEST + "test_regions"),
    Mutant("upper-half-is-a-bar", 29, PCI + "pci_device.c", "return bar->is_64bit ? 2 : 1;", "return 1;", PCI_TEST + "test_bars"),
    Mutant("upper-half-dropped", 29, PCI + "pci_device.c", "bar->address |= (uint64_t)high << 32;", "(void)high;",
           PCI_TEST + "test_bars"),
    Mutant("region-past-the-bar", 30, VIRTIO + "transport_pci_caps.c",
           "|| !pci_bar_contains(pci, found.bar, found.offset, found.bytes))", ")", PCI_TEST + "test_hostile_regions"),
    Mutant("bar-range-wraps", 30, PCI + "pci_device.c", "offset <= b->bytes && bytes <= b->bytes - offset",
           "offset + bytes <= b->bytes", PCI_TEST + "test_bars"),
    Mutant("capability-cut-short", 30, VIRTIO + "transport_pci_caps.c", "if (length < needed || capability + needed > 256) {",
           "if (length < needed) {", PCI_TEST + "test_hostile_regions"),
    Mutant("capability-loop", 30, PCI + "pci_device.c", "|| steps == CAPABILITY_WALK_MAX) {", ") {",
           PCI_TEST + "test_capability_walk"),
    Mutant("queue-size-not-clamped", 31, VIRTIO + "virtio.c",
           "MIN(device->transport->queue_size(device, index), virtio_settings.queue_size)",
           "MAX(device->transport->queue_size(device, index), virtio_settings.queue_size)", CORE_TEST + "test_limits"),
    Mutant("queue-size-no-power-of-two", 31, VIRTIO + "virtio.c", "? 0 : 1u << ilog2(size);", "? 0 : size;",
           CORE_TEST + "test_limits"),

    # ---- Limits, sizes, operations --------------------------------------------------------------------------------
    Mutant("capacity-in-blocks", 34, VIRTIO + "virtio_blk.c", "align_down(copy->capacity, disk",
           "align_down(copy->capacity * (disk->limits.logical_block_bytes / BLOCK_SECTOR_BYTES), disk", CORE_TEST + "test_limits"),
    Mutant("seg-max-ignored", 35, VIRTIO + "virtio_blk.c", "MAX(copy->seg_max, 1u) : 1;", "VIRTIO_BLK_SEGMENTS_MAX : 1;",
           CORE_TEST + "test_limits"),
    Mutant("size-max-ignored", 35, VIRTIO + "virtio_blk.c", "has_size_max ? copy->size_max : (uint32_t)MIB(4)", "(uint32_t)MIB(4)",
           CORE_TEST + "test_limits"),
    Mutant("merge-past-seg-max", 35, BLOCK + "merge.c", "a->total_segments + b->total_segments <= limits->max_segments",
           "a->total_segments + b->total_segments <= 1000", BLOCK_TEST + "test_traffic"),
    Mutant("segments-past-seg-max", 35, BLOCK + "segments.c", "&& count < limits->max_segments) {", ") {",
           BLOCK_TEST + "test_traffic"),
    Mutant("segments-past-size-max", 35, BLOCK + "segments.c", "iterator->max_bytes = leader->device->limits.max_segment_bytes;",
           "iterator->max_bytes = UINT32_MAX;", BLOCK_TEST + "test_traffic"),
    Mutant("refused-without-an-end", 36, BLOCK + "plug.c", "    block_finish(refused->head);", "", BLOCK_TEST + "test_refusals"),
    Mutant("unknown-operation-sent", 36, BLOCK + "plug.c", "        refuse(request, BLOCK_UNSUPPORTED);", "        break;",
           BLOCK_TEST + "test_refusals"),
    Mutant("gone-without-an-end", 36, BLK_QUEUE, "    block_complete(queue->disk->block, &refused);", "", BLK_TEST + "test_gone"),
    Mutant("second-completion-unnoticed", 36, BLOCK + "queue.c", "    assert(request->phase == 1); /* R1: submitted",
           "    /* R1: submitted", BLOCK_TEST + "test_r1_is_asserted"),
    Mutant("flush-not-negotiated", 37, VIRTIO + "virtio_blk.c", "{VIRTIO_BLK_F_FLUSH, true,", "{VIRTIO_BLK_F_FLUSH, false,",
           CORE_TEST + "test_negotiation"),
    Mutant("flush-not-sent", 37, BLOCK + "plug.c", "if (!request->device->has_flush)", "if (request->device)",
           BLOCK_TEST + "test_flush"),
    Mutant("capacity-torn", 38, VIRTIO + "virtio.c", "if (device->transport->config_generation(device) == before)",
           "if (before != UINT32_MAX)", CORE_TEST + "test_limits"),
    Mutant("completion-recurses", 43, BLOCK + "queue.c", "if (context && context->dispatching == device)",
           "if (context && !device)", BLOCK_TEST + "test_no_recursion"),

    # ---- Reset and lost events --------------------------------------------------------------------------------------
    Mutant("detached-before-the-reset", 24, VIRTIO + "virtio.c", "int virtio_device_stop(struct virtio_device *device)\n{\n    return reset(device);",
           "int virtio_device_stop(struct virtio_device *device)\n{\n    return device ? 0 : reset(device);", BLK_TEST + "test_reset"),
    Mutant("reset-not-waited-for", 25, VIRTIO + "virtio.c", "device->transport->status_read(device) != 0; waits++)",
           "device->transport->status_read(device) == 1; waits++)", CORE_TEST + "test_refusals"),
    Mutant("late-request-not-looked-for", 48, BLOCK + "watchdog.c", "if (is_late && block_device_ops(device)->late)",
           "if (is_late && !device->ops)", BLOCK_TEST + "test_watchdog"),
    Mutant("lost-doorbell-not-rung-again", 48, BLK_QUEUE,
           "must_notify = fifo_is_empty(&done) && !virtqueue_is_idle(queue->ring);", "must_notify = false;",
           BLK_TEST + "test_batches"),
]
