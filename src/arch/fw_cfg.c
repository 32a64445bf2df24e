/* SPDX-License-Identifier: MIT */
/* QEMU's firmware configuration device, by its port interface: a 16-bit selector chooses an item, then each
 * read of the data port gives its next byte. Item 0 reads "QEMU"; item 0x19 is the directory: a count, then
 * {size 32, selector 16, reserved 16, name 56 bytes}, all big-endian (QEMU docs/specs/fw_cfg).
 *
 * One user at a time, early boot: no lock. Without the device every port reads as ones. */
#include <arch/fw_cfg.h>
#include <arch/io.h>
#include <kernel/base/bits.h>

#define PORT_SELECTOR  0x510
#define PORT_DATA      0x511
#define ITEM_SIGNATURE 0x0000
#define ITEM_DIRECTORY 0x0019
#define FILES_MAX      1024u /* more than QEMU ever has: bounds the walk */

struct file_entry {
    uint32_t size_be;
    uint16_t selector_be;
    uint16_t reserved;
    char name[56];
};
_Static_assert(sizeof(struct file_entry) == 64, "fw_cfg's directory entry");

static void read_bytes(void *to, size_t bytes)
{
    uint8_t *at = to;
    while (bytes-- > 0)
        *at++ = port_read8(PORT_DATA);
}

static void select_item(uint16_t item)
{
    port_write16(PORT_SELECTOR, item);
}

static bool is_present(void)
{
    char signature[4];
    select_item(ITEM_SIGNATURE);
    read_bytes(signature, sizeof(signature));
    return __builtin_memcmp(signature, "QEMU", sizeof(signature)) == 0;
}

static bool names_are_equal(const char *name, const char field[56])
{
    for (size_t i = 0; i < 56; i++) {
        if (name[i] != field[i])
            return false;
        if (name[i] == '\0')
            return true;
    }
    return false;
}

static bool find_file(const char *name, struct file_entry *entry)
{
    uint32_t count_be, count;
    select_item(ITEM_DIRECTORY);
    read_bytes(&count_be, sizeof(count_be));
    count = MIN(load_be32(&count_be), FILES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        read_bytes(entry, sizeof(*entry));
        if (names_are_equal(name, entry->name))
            return true;
    }
    return false;
}

int64_t fw_cfg_read_file(const char *name, void *to, size_t bytes)
{
    struct file_entry entry;
    uint32_t size;
    if (!is_present() || !find_file(name, &entry))
        return -1;
    size = load_be32(&entry.size_be);
    select_item(load_be16(&entry.selector_be));
    read_bytes(to, MIN((size_t)size, bytes));
    return size;
}
