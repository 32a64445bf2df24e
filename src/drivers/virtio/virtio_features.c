/* SPDX-License-Identifier: MIT */
/* Features by name. A bit is accepted only if a table has it and wants it, so a feature that nobody here
 * knows is never accepted. Thread context. */
#include <drivers/virtio/virtio.h>
#include <kernel/base/bits.h>
#include <kernel/printf.h>
#ifdef __KERNEL__
#include <kernel/log.h>
#endif

#include "virtio_internal.h"

/* Bits 24 to 40. ACCESS_PLATFORM: DMA addresses are physical, which is what such a device gets behind an
 * IOMMU that is off (<arch/iommu.h>). ORDER_PLATFORM: the barriers used are the CPU's, not weaker ones. */
static const struct virtio_feature core_features[] = {
    {VIRTIO_F_NOTIFY_ON_EMPTY, false, "NOTIFY_ON_EMPTY"},
    {VIRTIO_F_ANY_LAYOUT, true, "ANY_LAYOUT"},
    {VIRTIO_F_INDIRECT_DESC, true, "INDIRECT_DESC"},
    {VIRTIO_F_EVENT_IDX, true, "EVENT_IDX"},
    {VIRTIO_F_UNUSED, false, "UNUSED"},
    {VIRTIO_F_VERSION_1, true, "VERSION_1"},
    {VIRTIO_F_ACCESS_PLATFORM, true, "ACCESS_PLATFORM"},
    {VIRTIO_F_RING_PACKED, true, "RING_PACKED"},
    {VIRTIO_F_IN_ORDER, true, "IN_ORDER"},
    {VIRTIO_F_ORDER_PLATFORM, true, "ORDER_PLATFORM"},
    {VIRTIO_F_SR_IOV, false, "SR_IOV"},
    {VIRTIO_F_NOTIFICATION_DATA, true, "NOTIFICATION_DATA"},
    {VIRTIO_F_NOTIF_CONFIG_DATA, false, "NOTIF_CONFIG_DATA"},
    {VIRTIO_F_RING_RESET, true, "RING_RESET"},
};

static uint64_t wanted_of(const struct virtio_feature *features, uint32_t count)
{
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < count; i++)
        wanted |= features[i].is_wanted ? BIT(features[i].bit) : 0;
    return wanted;
}

uint64_t virtio_features_wanted(const struct virtio_device *device)
{
    const struct virtio_driver *driver = device->driver;
    uint64_t wanted = wanted_of(core_features, ARRAY_SIZE(core_features)) |
                      wanted_of(driver->features, driver->feature_count);
    if (!device->transport->queue_reset)
        wanted &= ~BIT(VIRTIO_F_RING_RESET);
    if (!virtio_settings.has_packed)
        wanted &= ~BIT(VIRTIO_F_RING_PACKED);
    if (!virtio_settings.has_indirect)
        wanted &= ~BIT(VIRTIO_F_INDIRECT_DESC);
    if (!virtio_settings.has_event_idx)
        wanted &= ~BIT(VIRTIO_F_EVENT_IDX);
    if (!virtio_settings.has_in_order)
        wanted &= ~BIT(VIRTIO_F_IN_ORDER);
    if (!virtio_settings.has_notification_data)
        wanted &= ~BIT(VIRTIO_F_NOTIFICATION_DATA);
    return wanted;
}

static const char *name_of(const struct virtio_feature *features, uint32_t count, unsigned bit)
{
    for (uint32_t i = 0; i < count; i++) {
        if (features[i].bit == bit)
            return features[i].name;
    }
    return NULL;
}

void virtio_features_text(const struct virtio_device *device, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned bit = 0; bit < 64 && used < bytes; bit++) {
        if (!(device->offered >> bit & 1))
            continue;
        const char *name = name_of(core_features, ARRAY_SIZE(core_features), bit);
        if (!name && device->driver)
            name = name_of(device->driver->features, device->driver->feature_count, bit);
        char sign = virtio_has_feature(device, bit) ? '+' : '-';
        int length = name ? snprintf(text + used, bytes - used, "%s%c%s", used ? " " : "", sign, name)
                          : snprintf(text + used, bytes - used, "%s%cBIT_%u", used ? " " : "", sign, bit);
        used += (size_t)length;
    }
}

#ifdef __KERNEL__
void virtio_device_describe(struct virtio_device *device)
{
    char text[400];
    virtio_features_text(device, text, sizeof(text));
    console_printf("%s: %s on %s\n  offered 0x%llx, accepted 0x%llx\n  %s\n", device->name,
                   device->driver->name, device->where, (unsigned long long)device->offered,
                   (unsigned long long)device->features, text);
    for (uint32_t i = 0; i < device->queue_count; i++) {
        const struct virtqueue *queue = device->queues[i];
        device->transport->interrupt_text(queue, text, sizeof(text));
        console_printf("  queue %u: %s, %u entries, %s\n", i, queue->ops->name, queue->size, text);
    }
}
#endif
