/* SPDX-License-Identifier: MIT */
/* The shell's discard command: ranges without data, by hand. Thread context. */
#include <drivers/block/block.h>
#include <kernel/shell.h>
#include <kernel/string.h>

struct job {
    struct block_device *device;
    uint8_t operation;
    uint64_t sector, sectors;
    bool may_unmap;
};

static int read_operation(int argc, char **argv, struct job *job)
{
    bool is_zero = shell_flag(argc, argv, "--zero"), is_secure = shell_flag(argc, argv, "--secure");
    job->may_unmap = shell_flag(argc, argv, "--unmap");
    job->operation = is_zero ? BLOCK_WRITE_ZEROES : is_secure ? BLOCK_SECURE_ERASE : BLOCK_DISCARD;
    if ((is_zero && is_secure) || (job->may_unmap && !is_zero)) {
        console_printf("discard: either --zero, perhaps with --unmap, or --secure\n");
        return -EINVAL;
    }
    return 0;
}

static int read_range(const char *first, const char *count, struct job *job)
{
    if (string_to_u64(first, &job->sector) == 0 && string_to_u64(count, &job->sectors) == 0)
        return 0;
    console_printf("discard: '%s %s' is no sector and number of sectors\n", first, count);
    return -EINVAL;
}

/* As iobench: what is mounted is destroyed only when told to. */
static int check_device(int argc, char **argv, const struct block_device *device)
{
    uint64_t is_forced = 0;
    int error = shell_option_u64(argc, argv, "force", 0, 1, &is_forced);
    if (error || is_forced || !block_device_is_mounted(block_device_name(device)))
        return error;
    console_printf("discard: %s is mounted; force=1 destroys its data all the same\n",
                   block_device_name(device));
    return -EBUSY;
}

static int run(const struct job *job)
{
    switch (job->operation) {
    case BLOCK_DISCARD:
        return block_discard(job->device, job->sector, job->sectors);
    case BLOCK_WRITE_ZEROES:
        return block_write_zeroes(job->device, job->sector, job->sectors, job->may_unmap);
    default:
        return block_secure_erase(job->device, job->sector, job->sectors);
    }
}

static int discard_run(int argc, char **argv)
{
    static const char *const known[] = {"--zero", "--unmap", "--secure", "force=", NULL};
    struct job job = {.operation = BLOCK_DISCARD};
    if (argc < 4)
        return -EINVAL;
    job.device = block_device_find(argv[1]);
    if (!job.device) {
        console_printf("discard: no device named '%s'\n", argv[1]);
        return -ENODEV;
    }
    const char *first = argv[2], *count = argv[3];
    argv[3] = argv[0]; /* what messages about options begin with */
    int error = shell_options_check(argc - 3, argv + 3, known);
    if (!error)
        error = read_operation(argc, argv, &job);
    if (!error)
        error = read_range(first, count, &job);
    if (!error)
        error = check_device(argc, argv, job.device);
    if (!error)
        error = run(&job);
    if (error == -EOPNOTSUPP)
        console_printf("discard: %s has no %s\n", argv[1], block_operation_name(job.operation));
    block_device_put(job.device);
    return error;
}
SHELL_COMMAND(
    discard, "DEV SECTOR COUNT [--zero [--unmap] | --secure] [force=1]",
    "give up the content of COUNT sectors from SECTOR on; destroys data", discard_run,
    "  --zero    write zeroes;  --unmap: the device may give the storage back if it reads as zeroes\n"
    "  --secure  erase so that nobody can recover it\n"
    "  force=1   even if the device is mounted\n"
    "Without either, the device need not keep the content: what is read then is the device's choice.");
