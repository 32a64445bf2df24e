/* SPDX-License-Identifier: MIT */
/* Multiboot2's boot information: a total size, then tags of {type, size}, each padded to eight bytes, up to
 * the end tag (Multiboot2 2.0, 3.6). A size that is too small or reaches beyond the end stops the walk, as
 * nothing after it can be found; a tag that is bad inside is left out alone. Nothing here trusts a size
 * before it has been compared with what is left. */
#include <arch/boot_memory.h>
#include <arch/multiboot2.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>

enum tag_type {
    TAG_END = 0,
    TAG_CMDLINE = 1,
    TAG_LOADER = 2,
    TAG_MEMORY_MAP = 6,
    TAG_FRAMEBUFFER = 8,
    TAG_ACPI_OLD = 14,
    TAG_ACPI_NEW = 15,
};
#define TAG_HEADER_BYTES 8u
#define INFO_BYTES_MAX   (1u << 20) /* far above what GRUB sends; bounds the walk */

enum framebuffer_type { FRAMEBUFFER_INDEXED = 0, FRAMEBUFFER_RGB = 1, FRAMEBUFFER_TEXT = 2 };
#define FRAMEBUFFER_TAG_BYTES     32u
#define FRAMEBUFFER_RGB_TAG_BYTES 38u
#define FRAMEBUFFER_SIDE_MAX      16384u

struct tag {
    uint32_t type;
    uint32_t bytes; /* with the header; at least TAG_HEADER_BYTES and all readable */
    const uint8_t *data;
};

static void parse_cmdline(struct boot_info *info, const struct tag *tag)
{
    if (!boot_copy_text(info->cmdline, sizeof(info->cmdline), tag->data + 8, tag->bytes - 8))
        boot_warn(info, "Multiboot2: command line cut to ", sizeof(info->cmdline) - 1, " bytes");
}

static void parse_loader(struct boot_info *info, const struct tag *tag)
{
    (void)boot_copy_text(info->loader_text, sizeof(info->loader_text), tag->data + 8, tag->bytes - 8);
    if (info->loader_text[0])
        info->loader = info->loader_text;
}

/* {entry size, entry version, entries}; the entry size may grow in later versions. */
static void parse_memory_map(struct boot_info *info, const struct tag *tag)
{
    uint32_t stride = tag->bytes >= 16 ? load_le32(tag->data + 8) : 0;
    if (stride < BOOT_MEMORY_ENTRY_BYTES || stride % 8 != 0) {
        boot_warn(info, "Multiboot2: memory map with entries of ", stride, " bytes, left out");
        return;
    }
    if (info->memory_count > 0) {
        boot_warn(info, "Multiboot2: a second memory map, tag ", tag->type, ", left out");
        return;
    }
    boot_memory_load(info, tag->data + 16, stride, (tag->bytes - 16) / stride);
}

/* A copy of the RSDP: ACPI 1.0's has 20 bytes, later ones 36. The longer one wins. */
static void parse_rsdp(struct boot_info *info, const struct tag *tag)
{
    uint32_t bytes = tag->bytes - TAG_HEADER_BYTES;
    if (bytes < 20) {
        boot_warn(info, "Multiboot2: ACPI tag with only ", bytes, " bytes, left out");
        return;
    }
    bytes = MIN(bytes, (uint32_t)sizeof(info->rsdp_copy));
    if (bytes <= info->rsdp_copy_bytes)
        return;
    __builtin_memcpy(info->rsdp_copy, tag->data + TAG_HEADER_BYTES, bytes);
    info->rsdp_copy_bytes = bytes;
}

static bool framebuffer_is_sane(const struct boot_framebuffer *f)
{
    bool is_depth_known =
        f->is_text ? f->bits_per_pixel == 16 : f->bits_per_pixel == 24 || f->bits_per_pixel == 32;
    return f->address != 0 && is_depth_known && f->width > 0 && f->height > 0 &&
           f->width <= FRAMEBUFFER_SIDE_MAX && f->height <= FRAMEBUFFER_SIDE_MAX &&
           f->pitch_bytes >= f->width * (f->bits_per_pixel / 8u) &&
           f->pitch_bytes <= FRAMEBUFFER_SIDE_MAX * 8u &&
           f->address + (uint64_t)f->pitch_bytes * f->height > f->address && f->red_shift < 32 &&
           f->green_shift < 32 && f->blue_shift < 32;
}

static void parse_framebuffer(struct boot_info *info, const struct tag *tag)
{
    const uint8_t *d = tag->data;
    struct boot_framebuffer f = {0};
    uint8_t type = tag->bytes >= FRAMEBUFFER_TAG_BYTES ? d[29] : FRAMEBUFFER_INDEXED;
    bool is_rgb = type == FRAMEBUFFER_RGB && tag->bytes >= FRAMEBUFFER_RGB_TAG_BYTES;
    if (!is_rgb && type != FRAMEBUFFER_TEXT) {
        boot_warn(info, "Multiboot2: framebuffer of type ", type, " is not supported, left out");
        return;
    }
    f.address = load_le64(d + 8);
    f.pitch_bytes = load_le32(d + 16);
    f.width = load_le32(d + 20);
    f.height = load_le32(d + 24);
    f.bits_per_pixel = d[28];
    f.is_text = !is_rgb;
    if (is_rgb) { /* position and size of each colour's field */
        f.red_shift = d[32];
        f.green_shift = d[34];
        f.blue_shift = d[36];
    }
    if (framebuffer_is_sane(&f))
        info->framebuffer = f;
    else
        boot_warn(info, "Multiboot2: framebuffer at ", f.address, " with impossible figures, left out");
}

static void parse_tag(struct boot_info *info, const struct tag *tag)
{
    switch (tag->type) {
    case TAG_CMDLINE:
        parse_cmdline(info, tag);
        break;
    case TAG_LOADER:
        parse_loader(info, tag);
        break;
    case TAG_MEMORY_MAP:
        parse_memory_map(info, tag);
        break;
    case TAG_FRAMEBUFFER:
        parse_framebuffer(info, tag);
        break;
    case TAG_ACPI_OLD:
    case TAG_ACPI_NEW:
        parse_rsdp(info, tag);
        break;
    default: /* modules, EFI and others that this kernel has no use for */
        break;
    }
}

/* Reads the tag at `at`; false, with a warning, when there is no whole tag. */
static bool read_tag(struct boot_info *info, const uint8_t *data, size_t at, size_t end, struct tag *tag)
{
    if (end - at < TAG_HEADER_BYTES) {
        boot_warn(info, "Multiboot2: no end tag in ", end, " bytes of boot information");
        return false;
    }
    tag->data = data + at;
    tag->type = load_le32(tag->data);
    tag->bytes = load_le32(tag->data + 4);
    if (tag->bytes < TAG_HEADER_BYTES) {
        boot_warn(info, "Multiboot2: tag at byte ", at, " has an impossible size; the rest is left out");
        return false;
    }
    if (tag->bytes > end - at) {
        boot_warn(info, "Multiboot2: tag at byte ", at, " overruns the data; the rest is left out");
        return false;
    }
    return true;
}

void multiboot2_parse(const void *data, size_t bytes_readable, struct boot_info *info)
{
    size_t at = 8, end = bytes_readable >= 8 ? load_le32(data) : 0;
    struct tag tag;
    info->protocol = "Multiboot2";
    info->loader = "a Multiboot2 loader";
    if (end < 8 || end > bytes_readable || end > INFO_BYTES_MAX) {
        boot_warn(info, "Multiboot2: boot information with an impossible size of ", end, " bytes");
        end = MIN(end, bytes_readable);
        end = MIN(end, (size_t)INFO_BYTES_MAX);
    }
    while (at <= end && read_tag(info, data, at, end, &tag) && tag.type != TAG_END) {
        parse_tag(info, &tag);
        at += align_up(tag.bytes, 8);
        assert(at > 8);
        at = MIN(at, end);
    }
}
