# SPDX-License-Identifier: MIT
"""The table of tools/mutants.py: known bugs as changes of one text of one file, each with the test that must notice.

`old` must be in `file` exactly once (make check), so it is as short as that allows; the mutant must build without
warnings. A test's name says how it is run: see tools/mutants.py.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    name: str
    hazard: int | str  # docs/hazards.md: a number, or R1 to R7
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
PACKED = VIRTIO + "vring_packed.c"
PACKED_CREATE = VIRTIO + "vring_packed_create.c"
BLK_QUEUE = VIRTIO + "virtio_blk_queue.c"
RACE = "tests/host/vring_race_test.c::"
RING_TEST = "tests/host/vring_test.c::"
PACKED_RACE = "tests/host/vring_packed_race_test.c::"
PACKED_TEST = "tests/host/vring_packed_test.c::"
BLK_TEST = "tests/host/virtio_blk_test.c::"
CORE_TEST = "tests/host/virtio_core_test.c::"
PCI_TEST = "tests/host/pci_test.c::"
MODERN_TEST = "tests/host/transport_modern_test.c::"
LEGACY_TEST = "tests/host/transport_pci_test.c::"
MMIO_TEST = "tests/host/transport_mmio_test.c::"
BLOCK_TEST = "tests/host/block_test.c::"
BCACHE_TEST = "tests/host/bcache_test.c::"
SCHED_TEST = "src/kernel/test/sched_test.c::"
SYNC_TEST = "src/kernel/test/sync_test.c::"
LOCKDEP_TEST = "src/kernel/test/lockdep_test.c::"

MUTANTS = [
    # ---- Notification suppression --------------------------------------------------------------------------------
    Mutant("kick-without-barrier", 1, VRING, "    barrier_full();\n    if (ring->has_event_idx)\n        must_notify",
           "    if (ring->has_event_idx)\n        must_notify", RACE + "test_kick"),
    Mutant("barrier-for-the-compiler-only", 1, "src/arch/io.h", '"mfence"', '""', RACE + "test_kick"),
    Mutant("enable-without-barrier", 2, VRING, "    barrier_full();\n    return split_has_more", "    return split_has_more",
           RACE + "test_callback"),
    Mutant("enable-without-second-look", 2, VRING, "    return split_has_more(queue);", "    return false;",
           RING_TEST + "test_suppression"),
    Mutant("interrupt-ignores-second-look", 2, BLK_QUEUE, "&& virtqueue_callbacks_enable(ring));",
           "&& !virtqueue_callbacks_enable(ring) && false);", BLK_TEST + "test_race"),
    Mutant("used-event-never-written", 3, VRING, "write_once(*ring->used_event, (uint16_t)ring->used_next);", "(void)0;",
           RING_TEST + "test_traffic"),
    Mutant("event-compared-with-ge", 4, VIRTIO + "virtqueue_internal.h",
           "return (uint16_t)(new - event - 1) < (uint16_t)(new - old);", "return new > event && new != old;",
           RING_TEST + "test_need_event"),
    Mutant("used-index-in-32-bits", 5, VRING, "uint16_t fresh = (uint16_t)(read_once(ring->used->idx) - ring->used_next);",
           "uint32_t fresh = read_once(ring->used->idx) - ring->used_next;", RING_TEST + "test_traffic"),
    Mutant("more-compared-in-32-bits", 5, VRING, "!= (uint16_t)ring->used_next &&", "!= ring->used_next &&",
           RING_TEST + "test_traffic"),

    # ---- The packed ring -----------------------------------------------------------------------------------------
    Mutant("packed-kick-without-barrier", 1, PACKED, "    barrier_full();\n    uint32_t event", "    uint32_t event",
           PACKED_RACE + "test_kick"),
    Mutant("packed-enable-without-barrier", 2, PACKED, "    barrier_full();\n    return packed_has_more",
           "    return packed_has_more", PACKED_RACE + "test_callback"),
    Mutant("packed-enable-without-second-look", 2, PACKED, "    return packed_has_more(queue);", "    return false;",
           PACKED_TEST + "test_interrupt_suppression"),
    Mutant("packed-question-never-moved", 3, PACKED, "write_once(ring->driver_event->desc_flags, next_event(ring));", "(void)ring;",
           PACKED_TEST + "test_traffic"),
    Mutant("packed-question-without-its-lap", 3, PACKED, "        ring->used_event ^= VIRTQUEUE_WRAP;\n", "",
           PACKED_TEST + "test_traffic"),
    Mutant("packed-event-of-the-other-lap", 4, VIRTIO + "virtqueue_internal.h",
           "((event ^ first) & VIRTQUEUE_WRAP ? size : 0)", "0", PACKED_TEST + "test_need_event"),
    Mutant("packed-batch-counted-without-its-lap", 4, PACKED, "end > offset ? end - offset : end + size - offset", "end - offset",
           PACKED_TEST + "test_doorbell_of_batches"),
    Mutant("packed-whole-ring-counted-as-nothing", 4, PACKED, "count = end > offset ?", "count = end >= offset ?",
           PACKED_TEST + "test_doorbell_of_batches"),
    Mutant("packed-avail-without-its-lap", 5, PACKED, "    ring->avail_flags ^= FLAGS(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);\n", "",
           PACKED_TEST + "test_traffic"),
    Mutant("packed-used-without-its-lap", 5, PACKED, "        ring->used_flags ^= TOLD_FLAGS; /* 2.8.1 */\n", "",
           PACKED_TEST + "test_traffic"),
    Mutant("packed-end-by-a-power-of-two", 31, PACKED, "    if (unlikely(next >= ring->end)) {",
           "    if (unlikely(next >= ring->desc + (0x80000000u >> __builtin_clz(ring->queue.size)))) {", PACKED_TEST + "test_traffic"),
    Mutant("packed-batch-appears-while-it-grows", "R5", PACKED,
           "    ring->batch_event = ring->avail_event;\n    ring->avail_at = &ring->first;\n    ring->avail_stop = &ring->first + 1;\n}",
           "    ring->batch_event = ring->avail_event;\n    ring->avail_at = ring->batch;\n    ring->avail_stop = ring->end;\n}",
           PACKED_TEST + "test_batch_order"),
    Mutant("packed-flags-before-the-address", "R5", PACKED, "    batch->addr = ring->first.addr;\n",
           "    write_once(batch->len_id_flags, ring->first.len_id_flags);\n    barrier_store();\n    batch->addr = ring->first.addr;\n",
           PACKED_TEST + "test_batch_order"),
    Mutant("packed-id-past-the-queue", 20, PACKED_CREATE, "    ring->id_end = queue->size;", "    ring->id_end = 0x10000;",
           PACKED_TEST + "test_lies"),
    Mutant("packed-id-not-in-flight", 20, PACKED,
           "    if (ring->ids[id].told_end == 0)\n        return refuse(ring, \"used id not in flight\", id);\n", "",
           PACKED_TEST + "test_lies"),
    Mutant("packed-id-used-twice", 20, PACKED, "    head->told_end = 0;\n", "", PACKED_TEST + "test_lies"),
    Mutant("packed-length-trusted", 20, PACKED, "    head->end_bytes = writable_bytes + 1;", "    head->end_bytes = UINT32_MAX;",
           PACKED_TEST + "test_lies"),
    Mutant("packed-length-where-there-is-none", 20, PACKED, "    if (read_once(ring->used_at->flags) & VIRTQ_DESC_F_WRITE)\n",
           "    if (ring->used_at)\n", PACKED_TEST + "test_lies"),
    Mutant("packed-used-flag-alone", 20, VIRTIO + "vring_packed_internal.h", "#define TOLD_FLAGS ((uint64_t)(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED) << 16)",
           "#define TOLD_FLAGS ((uint64_t)VIRTQ_DESC_F_USED << 16)", PACKED_TEST + "test_lies"),
    Mutant("packed-broken-queue-goes-on", "R4", PACKED, "    ring->id_end = 0;\n", "", PACKED_TEST + "test_lies"),
    Mutant("packed-scribbled-table-kept", "R4", PACKED_CREATE, "        ring->ids[id].shape = 0;\n", "", PACKED_TEST + "test_scribble"),
    Mutant("packed-restart-in-the-old-lap", "R6", PACKED_CREATE, "    ring->used_flags = TOLD_FLAGS;\n",
           "    ring->used_flags = queue->added ? ring->used_flags : TOLD_FLAGS;\n", PACKED_TEST + "test_reset"),
    Mutant("packed-detach-loses-descriptors", "R2", PACKED, "            return free_chain(queue, &ring->ids[id], id, length_of(ring, id));",
           "            return free_chain(queue, &ring->ids[id], id, 1);", PACKED_TEST + "test_reset"),

    # ---- Interrupts -----------------------------------------------------------------------------------------------
    Mutant("pin-acknowledged-after-draining", 6, VIRTIO + "transport_pci_irq.c",
           "    if (status & VIRTIO_PCI_ISR_QUEUE)\n        queues_interrupt(pci);\n",
           "    if (status & VIRTIO_PCI_ISR_QUEUE)\n        queues_interrupt(pci);\n    (void)pci->interrupt_ops->isr_read(pci);\n",
           LEGACY_TEST + "test_pin"),
    Mutant("mmio-acknowledged-after-draining", 6, VIRTIO + "transport_mmio.c",
           "        device->queues[i]->config.interrupt(device->queues[i]);\n    return true;",
           "        device->queues[i]->config.interrupt(device->queues[i]);\n"
           "    write32(device, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INTERRUPT_QUEUE);\n    return true;",
           MMIO_TEST + "test_interrupt"),
    Mutant("interrupt-status-never-read", 7, VIRTIO + "transport_pci_irq.c", "uint8_t status = pci->interrupt_ops->isr_read(pci);",
           "uint8_t status = VIRTIO_PCI_ISR_QUEUE;", LEGACY_TEST + "test_pin"),
    Mutant("mmio-interrupt-not-acknowledged", 7, VIRTIO + "transport_mmio.c",
           "    write32(device, VIRTIO_MMIO_INTERRUPT_ACK, status);\n", "", MMIO_TEST + "test_interrupt"),
    Mutant("or-for-and-in-the-status", 8, VIRTIO + "transport_pci_irq.c", "if (status & VIRTIO_PCI_ISR_CONFIG)",
           "if (status | VIRTIO_PCI_ISR_CONFIG)", LEGACY_TEST + "test_pin"),
    Mutant("neighbours-interrupt-claimed", 8, VIRTIO + "transport_pci_irq.c", "__ATOMIC_RELAXED);\n        return false;",
           "__ATOMIC_RELAXED);\n        return true;", LEGACY_TEST + "test_pin"),
    Mutant("line-ends-at-the-first-claim", 8, "src/kernel/irq.c", "        is_claimed |= is_mine;\n",
           "        is_claimed |= is_mine;\n        if (is_mine)\n            break;\n", "src/kernel/test/irq_test.c::irq_line_is_shared"),
    Mutant("interrupt-status-believed-with-msix", 9, VIRTIO + "transport_pci_irq.c",
           "bool is_changed = generation != pci->generation_seen;",
           "bool is_changed = pci->interrupt_ops->isr_read(pci) & VIRTIO_PCI_ISR_CONFIG;", MODERN_TEST + "test_config_interrupt"),
    Mutant("vectors-not-counted", 10, VIRTIO + "transport_pci_irq.c", "if (count > pci->pci->msix.count || count", "if (count",
           MODERN_TEST + "test_vectors"),
    Mutant("no-vector-no-interrupt", 10, VIRTIO + "transport_pci_irq.c", "VIRTIO_PCI_VECTOR_QUEUES,\n",
           "VIRTIO_PCI_VECTOR_EACH,\n", MODERN_TEST + "test_vectors"),
    Mutant("vector-not-read-back", 11, VIRTIO + "transport_pci.c", "return mmio_read16(at) == entry;", "return true;",
           MODERN_TEST + "test_vectors"),
    Mutant("legacy-vector-not-read-back", 11, VIRTIO + "transport_pci_legacy.c", "return port_read16(PORT(pci, queue_msix_vector)) == entry;", "return true;",
           LEGACY_TEST + "test_vectors"),
    Mutant("msix-left-masked", 12, PCI + "pci_interrupt.c", "    set_control(device, PCI_MSIX_CONTROL_MASK, 0);\n", "",
           "src/drivers/pci/test/pci_test.c::pci_msix_is_open"),
    Mutant("pin-left-on-with-msix", 12, PCI + "pci_interrupt.c", "set_intx(device, false);", "set_intx(device, true);",
           "src/drivers/pci/test/pci_test.c::pci_msix_is_open"),
    Mutant("bus-mastering-left-off", 12, PCI + "pci_device.c", "PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER", "PCI_COMMAND_MEMORY",
           PCI_TEST + "test_enable"),
    Mutant("one-queue-for-all-cpus", 13, VIRTIO + "virtio_blk_setup.c", "&disk->queues[cpu % disk->queue_count];",
           "&disk->queues[0 * cpu];", BLK_TEST + "test_queue_of_cpu"),
    Mutant("late-look-at-one-queue-only", 13, BLK_QUEUE, "    virtio_blk_foreach_queue (disk, queue)\n        look_late(queue);",
           "    look_late(&disk->queues[0]);", BLK_TEST + "test_looks_at_all_queues"),
    Mutant("one-handler-for-all-queues", 13, VIRTIO + "transport_pci_irq.c", "return 1 + index;", "return 1 + 0 * index;",
           MODERN_TEST + "test_vectors"),

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
           "return device->in_flight == 0 && completed_of(device) != completed;",
           "return device->in_flight == 0 && completed_of(device) < completed;", BLOCK_TEST + "test_completions_before_put_back"),
    Mutant("put-back-counts-its-own-completions-only", 16, BLOCK + "queue.c", "&& completed_of(device) != completed;",
           "&& completed_of(device) != completed && took_some;",
           "src/drivers/block/test/queue_test.c::block_queue_refused_while_others_finish"),
    Mutant("full-queue-does-not-ask-the-others", 16, BLK_QUEUE, "if (unlikely(!fifo_is_empty(batch)))\n        send_elsewhere",
           "if (unlikely(!batch))\n        send_elsewhere", BLK_TEST + "test_full_queue"),
    Mutant("full-ring-drops-the-request", 47, BLK_QUEUE, "            node = &request->node;\n", "",
           BLK_TEST + "test_traffic"),

    # ---- Waiting and waking ---------------------------------------------------------------------------------------
    Mutant("reaper-sleeps-without-a-look", 17, BLOCK + "group.c", "        if (read_once(group->done_count) >= at_least)\n            break;\n",
           "", BLOCK_TEST + "test_group"),
    Mutant("reaper-looks-before-the-announcement", 17, BLOCK + "group.c",
           "        thread_prepare_sleep(\"block group\", group);\n        if (read_once(group->done_count) >= at_least)\n            break;\n",
           "        if (read_once(group->done_count) >= at_least)\n            break;\n        thread_prepare_sleep(\"block group\", group);\n",
           BLOCK_TEST + "test_group"),
    Mutant("waiter-registers-before-the-announcement", 17, "src/kernel/completion.c",
           "    write_once(self->state, THREAD_BLOCKED);\n"
           "    if (likely(__atomic_compare_exchange_n(&completion->state, &expected, (uintptr_t)self, false,\n"
           "                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)))\n        return true;\n",
           "    if (likely(__atomic_compare_exchange_n(&completion->state, &expected, (uintptr_t)self, false,\n"
           "                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))) {\n"
           "        write_once(self->state, THREAD_BLOCKED);\n        return true;\n    }\n",
           "tests/host/wakeup_test.c::test_completion"),
    Mutant("wait-without-second-look", 17, "src/kernel/wait.h", "                if (condition) {", "                if (wait_result != 0 && (condition)) {",
           "tests/host/wakeup_test.c::test_wait_queue"),
    Mutant("timed-out-waiter-stays-named", 17, "src/kernel/completion.c",
           "if (result != 0 && __atomic_compare_exchange_n(&completion->state, &expected, 0, false, __ATOMIC_ACQ_REL,\n"
           "                                                   __ATOMIC_ACQUIRE))", "if (result != 0 && expected)",
           "tests/host/wakeup_test.c::test_completion"),
    Mutant("sleep-despite-a-wake", 17, "src/kernel/sched.c", "!is_exit && read_once(previous->state) != THREAD_BLOCKED",
           "!is_exit && false", SCHED_TEST + "sched_wake_after_announcement_is_kept"),
    Mutant("preempted-sleeper-stays-asleep", 17, "src/kernel/sched.c", "    if (previous == queue->idle)\n        return;\n    write_once",
           "    if (previous == queue->idle || previous->state == THREAD_BLOCKED)\n        return;\n    write_once",
           SCHED_TEST + "sched_switch_while_announced_comes_back"),
    Mutant("two-wakes-for-one-waiter", 18, "src/kernel/wait.c", "list_pop_front(&queue->waiters)) != NULL; woken++)",
           "count == 1 && !list_is_empty(&queue->waiters) ? queue->waiters.next\n"
           "                                                             : list_pop_front(&queue->waiters)) != NULL;\n         woken++)",
           SYNC_TEST + "wait_queue_wakes_as_many_as_asked"),

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

    Mutant("status-copied-after-the-slot-is-free", 45, BLK_QUEUE,
           "        struct block_request *request = used.token;\n        uint8_t status = read_once(slots",
           "        struct block_request *request = used.token;\n        spin_unlock_interrupts_off(&ring->lock);\n"
           "        spin_lock_interrupts_off(&ring->lock);\n        uint8_t status = read_once(slots",
           "tests/host/virtio_blk_slots_test.c::test_statuses_are_copied_in_time"),

    # ---- Memory ---------------------------------------------------------------------------------------------------
    Mutant("dma-to-a-stack", 22, VIRTIO + "virtqueue.h", "    assert(address >> DMA_ADDRESS_BITS == 0);\n", "",
           "tests/test_hazards.py::test_no_dma_address_outside_the_direct_map[a_stack]"),
    Mutant("dma-to-the-kernels-image", 23, VIRTIO + "virtqueue.h", "#define DMA_ADDRESS_BITS 46", "#define DMA_ADDRESS_BITS 48",
           "tests/test_hazards.py::test_no_dma_address_outside_the_direct_map[kernel_data]"),
    Mutant("second-segment-follows-the-first", 23, BLK_QUEUE, "virtio_blk_set_buffer(&buffers[count++], dma_address(segment.data),",
           "virtio_blk_set_buffer(&buffers[count++], dma_address(request->segments[0].data) + *bytes,",
           "tests/test_hazards.py::test_dma_to_odd_places"),

    # ---- Finding the device --------------------------------------------------------------------------------------
    Mutant("features-ok-not-read-back", 26, VIRTIO + "virtio.c",
           "if (device->transport->status_read(device) & VIRTIO_STATUS_FEATURES_OK)", "if (device->transport)",
           CORE_TEST + "test_refusals"),
    Mutant("unknown-features-accepted", 26, VIRTIO + "virtio.c", "device->offered & virtio_features_wanted(device->driver)",
           "device->offered | virtio_features_wanted(device->driver)", CORE_TEST + "test_negotiation"),
    Mutant("reset-of-a-ring-accepted-unbuilt", 26, VIRTIO + "virtio_features.c", "{VIRTIO_F_RING_RESET, false,",
           "{VIRTIO_F_RING_RESET, true,", CORE_TEST + "test_negotiation"),
    Mutant("packed-accepted-unwanted", 26, VIRTIO + "virtio_features.c", "wanted &= ~BIT(VIRTIO_F_RING_PACKED);", "(void)0;",
           CORE_TEST + "test_negotiation"),
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
           "MIN(MIN(offered, virtio_settings.queue_size),",
           "MIN(MAX(offered, virtio_settings.queue_size),", CORE_TEST + "test_limits"),
    Mutant("queue-size-no-power-of-two", 31, VIRTIO + "virtio.c",
           "(is_power_of_two(size) || virtio_has_feature(device, VIRTIO_F_RING_PACKED))", "device", CORE_TEST + "test_limits"),
    Mutant("packed-size-rounded", 31, VIRTIO + "virtio.c",
           "(is_power_of_two(size) || virtio_has_feature(device, VIRTIO_F_RING_PACKED))", "is_power_of_two(size)",
           "tests/host/virtio_blk_packed_test.c::test_negotiation"),

    Mutant("used-event-at-a-wrong-place", 32, VRING, "&ring->avail->ring[queue->size];", "&ring->avail->ring[queue->size - 1u];",
           RING_TEST + "test_suppression"),
    Mutant("avail-event-at-a-wrong-place", 32, VRING, "&ring->used->ring[queue->size];", "&ring->used->ring[queue->size - 1u];",
           RING_TEST + "test_suppression"),
    Mutant("used-ring-not-on-its-page", 32, VIRTIO + "vring_split_spec.h", "#define VIRTQ_LEGACY_ALIGN 4096", "#define VIRTQ_LEGACY_ALIGN 2048",
           RING_TEST + "test_layout"),
    Mutant("request-header-too-short", 33, VIRTIO + "virtio_blk_spec.h", "    uint64_t sector;", "    uint32_t sector;",
           BLK_QUEUE + "::_Static_assert"),
    Mutant("configuration-field-missing", 33, VIRTIO + "virtio_blk_spec.h", "uint32_t size_max, seg_max;", "uint32_t size_max;",
           BLK_QUEUE + "::_Static_assert"),
    Mutant("register-too-wide", 33, VIRTIO + "transport_pci_spec.h", "uint8_t device_status, config_generation;",
           "uint16_t device_status, config_generation;", VIRTIO + "transport_pci.c::_Static_assert"),
    Mutant("descriptor-too-long", 33, VIRTIO + "vring_split_spec.h", "    uint16_t flags, next;", "    uint32_t flags, next;",
           VRING + "::_Static_assert"),

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
    Mutant("unknown-operation-sent", 36, BLOCK + "plug.c", "    default:\n        refuse(request, BLOCK_UNSUPPORTED);", "    default:\n        break;",
           BLOCK_TEST + "test_refusals"),
    Mutant("gone-without-an-end", 36, BLK_QUEUE, "    block_complete(queue->disk->block, &refused);", "", BLK_TEST + "test_gone"),
    Mutant("second-completion-unnoticed", 36, BLOCK + "queue.c", "    assert(request->phase == 1); /* R1: submitted",
           "    /* R1: submitted", BLOCK_TEST + "test_r1_is_asserted"),
    Mutant("flush-not-negotiated", 37, VIRTIO + "virtio_blk.c", "{VIRTIO_BLK_F_FLUSH, true,", "{VIRTIO_BLK_F_FLUSH, false,",
           CORE_TEST + "test_negotiation"),
    Mutant("flush-not-sent", 37, BLOCK + "plug.c", "if (!read_once(request->device->has_flush))", "if (request->device)",
           BLOCK_TEST + "test_flush"),
    Mutant("capacity-torn", 38, VIRTIO + "virtio.c", "return device->transport->config_generation(device) == before;",
           "return before != UINT32_MAX;", CORE_TEST + "test_limits"),
    Mutant("legacy-capacity-torn", 38, VIRTIO + "virtio.c", "return memcmp(first, copy, bytes) == 0;", "return true;",
           MMIO_TEST + "test_config"),
    Mutant("pieces-all-at-the-first-sector", 40, BLOCK + "segments.c", "return leader->sector + (leader->sectors - leader->total_sectors);",
           "return leader->sector;", BLOCK_TEST + "test_traffic"),
    Mutant("merge-over-a-gap", 40, BLOCK + "merge.c", "leader->sector + leader->total_sectors == request->sector &&",
           "leader->sector + leader->total_sectors <= request->sector &&",
           BLOCK_TEST + "test_traffic"),
    Mutant("flush-before-the-writes", 37, "src/fs/bcache.c", "    error = write_back_locked(device, false, &written);\n    for",
           "    if (device)\n        flush_error = flush_device(device);\n    error = write_back_locked(device, false, &written);\n    for",
           BCACHE_TEST + "test_flush_comes_last"),
    Mutant("sync-without-flush", 37, "src/fs/bcache.c", "int error = block_device_is_read_only(device) ? 0 : block_flush(device);",
           "int error = block_device_is_read_only(device) || device ? 0 : block_flush(device);", BCACHE_TEST + "test_flush_comes_last"),
    Mutant("failed-write-is-clean", 41, "src/fs/bcache.c", "            set_dirty_locked(buffer);\n            first_error",
           "            first_error", BCACHE_TEST + "test_failed_write_stays_dirty"),
    Mutant("failed-write-unreported", 41, "src/fs/bcache.c", "return error ? error : flush_error;", "return error ? 0 : flush_error;",
           BCACHE_TEST + "test_failed_write_stays_dirty"),
    Mutant("failed-read-is-kept", 41, "src/fs/bcache.c", "        if (buffer->is_hashed)\n            hash_remove_locked(buffer); /* B3 */",
           "        error = 0;", BCACHE_TEST + "test_failed_read_is_not_kept"),
    Mutant("dirty-block-evicted", 41, "src/fs/bcache.c", "    } else if (!buffer->is_dirty) {\n        assert(buffer->state == BUFFER_VALID); /* B3 */",
           "    } else if (buffer->state == BUFFER_VALID) {", BCACHE_TEST + "test_eviction_loses_nothing"),
    Mutant("old-read-ahead-served", 41, "src/fs/bcache.c", "buffer->references == 0 && buffer->is_hashed)", "buffer->references == 1)",
           BCACHE_TEST + "test_drop"),
    Mutant("ring-locked-with-interrupts-on", 42, VIRTIO + "virtio_blk.c", "    SPIN_SCOPED_IRQ(&queue->ring->lock);\n    return virtqueue_is_idle",
           "    SPIN_SCOPED(&queue->ring->lock);\n    return virtqueue_is_idle",
           "src/drivers/virtio/test/virtio_blk_test.c::virtio_blk_reads_by_interrupt", build="debug"),
    Mutant("sleep-with-a-spinlock-unnoticed", 42, "src/kernel/lockdep.c", "    if (depth > 0)\n        report(\"%s with", "    if (depth > 9)\n        report(\"%s with",
           LOCKDEP_TEST + "lockdep_reports_sleeping_where_one_must_not", build="debug"),
    Mutant("no-guard-below-a-stack", 43, "src/arch/vmap.c", "uint64_t stack = stacks_next + PAGE_BYTES;", "uint64_t stack = stacks_next;",
           "src/arch/test/mmu_test.c::mmu_stack_has_a_guard"),
    Mutant("completion-recurses", 43, BLOCK + "queue.c", "if (context && context->dispatching == device)",
           "if (context && !device)", BLOCK_TEST + "test_no_recursion"),

    # ---- Reset and lost events --------------------------------------------------------------------------------------
    Mutant("detached-before-the-reset", 24, VIRTIO + "virtio_blk_reset.c", "int error = virtio_device_stop(disk->device);",
           "int error = disk->resets ? 0 : virtio_device_stop(disk->device);", BLK_TEST + "test_reset"),
    Mutant("one-queue-goes-down-for-a-reset", 24, VIRTIO + "virtio_blk_reset.c",
           "    virtio_blk_foreach_queue (disk, queue)\n        set_state(queue, state);", "    set_state(&disk->queues[0], state);",
           BLK_TEST + "test_queues_down_and_gone"),
    Mutant("one-queue-is-replayed", 24, VIRTIO + "virtio_blk_reset.c",
           "    virtio_blk_foreach_queue (disk, queue)\n        replay(queue, done);", "    replay(&disk->queues[0], done);",
           BLK_TEST + "test_lie_on_one_queue"),
    Mutant("reset-not-waited-for", 25, VIRTIO + "virtio.c", "device->transport->status_read(device) != 0; waits++)",
           "device->transport->status_read(device) == 1; waits++)", CORE_TEST + "test_refusals"),
    Mutant("late-look-at-one-queue", 48, BLK_QUEUE, "    virtio_blk_foreach_queue (disk, queue)\n        look_late(queue);",
           "    look_late(&disk->queues[0]);", BLK_TEST + "test_looks_at_all_queues"),
    Mutant("late-request-not-looked-for", 48, BLOCK + "watchdog.c", "if (is_late && block_device_ops(device)->late)",
           "if (is_late && !device->ops)", BLOCK_TEST + "test_watchdog"),
    Mutant("lost-doorbell-not-rung-again", 48, BLK_QUEUE,
           "must_notify = fifo_is_empty(&done) && !virtqueue_is_idle(queue->ring);", "must_notify = false;",
           BLK_TEST + "test_batches"),

    # ---- Invariants -------------------------------------------------------------------------------------------------
    Mutant("done-before-the-status", "R1", BLOCK + "queue.c", "assert(leader->status != BLOCK_PENDING && leader->device == device);",
           "assert(leader->device == device);", BLOCK_TEST + "test_r1_is_asserted"),
    Mutant("submitted-twice-unnoticed", "R1", BLOCK + "plug.c", "    assert(request->phase == 0); /* R1", "    /* R1",
           BLOCK_TEST + "test_r1_is_asserted"),
    Mutant("descriptor-lost", "R2", VRING, "    } else {\n        queue->free_count++;\n    }", "    }", RING_TEST + "test_traffic"),
    Mutant("allocation-on-the-way", "R3", BLK_QUEUE, "    fifo_init(&refused);",
           "    void *heap_alloc(size_t bytes);\n    (void)heap_alloc(8);\n    fifo_init(&refused);",
           "tests/test_hazards.py::test_request_path_allocates_nothing[virtio/virtio_blk_queue]"),
    Mutant("broken-queue-goes-on", "R4", VIRTIO + "virtqueue.c", "    queue->is_broken = true;\n", "", RING_TEST + "test_lies"),
    Mutant("restart-forgotten", "R5", BLOCK + "queue.c", "        block_restart(device);\n", "        (void)device;\n",
           BLOCK_TEST + "test_full_queue"),
    Mutant("queue-freed-under-the-device", "R6", VIRTIO + "virtio.c", "bool may_write = reset(device) == -EBUSY;",
           "bool may_write = reset(device) == -EIO;", CORE_TEST + "test_refusals"),
    Mutant("idle-cpu-spins", "R7", "src/kernel/sched.c", "    cpu_halt_enabling_interrupts();", "    interrupts_enable();\n    cpu_relax();",
           "tests/test_hazards.py::test_waiting_cpus_halt[1]"),
]
