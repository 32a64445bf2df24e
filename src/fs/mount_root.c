/* SPDX-License-Identifier: MIT */
/* What is at "/" after boot: the root= option, else the first device with a file system on it, else an empty
 * eclipsefs on the RAM disk, with a warning: the shell always has files, or root=none was asked for. */
#include <fs/eclipsefs/eclipsefs.h>
#include <fs/vfs.h>
#include <kernel/cmdline.h>
#include <kernel/log.h>
#include <kernel/string.h>
#include <kernel/time.h>

#define FALLBACK_DEVICE "ram0"

CMDLINE_KEY(root, "root", "DEVICE|none", "what to mount at /");

static bool mount_named(const char *name)
{
    struct block_device *device = block_device_find(name);
    if (!device) {
        log_error("vfs", "root=%s: there is no such device", name);
        return false;
    }
    int error = vfs_mount(device, "/");
    block_device_put(device);
    return error == 0;
}

static bool mount_first(void)
{
    block_device_foreach (device) {
        if (strcmp(block_device_name(device), FALLBACK_DEVICE) != 0 && vfs_mount(device, "/") == 0) {
            block_device_put(device);
            return true;
        }
    }
    return false;
}

static void mount_fallback(void)
{
    struct block_device *device = block_device_find(FALLBACK_DEVICE);
    int error = -ENODEV;
    if (device) {
        log_warning("vfs", "no disk has a file system to mount at /: it is an empty eclipsefs on %s",
                    FALLBACK_DEVICE);
        error = eclipsefs_make(device, clock_wall_seconds());
        if (!error)
            error = vfs_mount(device, "/");
        block_device_put(device);
    }
    if (error)
        log_error("vfs", "nothing is mounted at /: %s: %s", FALLBACK_DEVICE, error_name(error));
}

void vfs_mount_root(void)
{
    const char *name = cmdline_get("root");
    if (name && strcmp(name, "none") == 0) {
        log_info("vfs", "root=none: nothing is mounted at /");
        return;
    }
    if (!(name ? mount_named(name) : mount_first()))
        mount_fallback();
}
