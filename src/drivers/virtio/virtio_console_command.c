/* SPDX-License-Identifier: MIT */
/* vport: the ports of virtio consoles, and a command's output to one of them. Thread context. */
#include <drivers/describe.h>
#include <kernel/heap.h>
#include <kernel/shell.h>
#include <kernel/string.h>
#include <kernel/printf.h>

#include "virtio_console_internal.h"

/* ---- Finding ------------------------------------------------------------------------------------------ */

struct port_name {
    char text[VIRTIO_CONSOLE_NAME_BYTES];
};

/* As the host calls it, or "virtio0p1". */
static struct port_name name_of(const struct virtio_console_port *port)
{
    struct port_name name = {""};
    if (port->name[0])
        string_copy(name.text, port->name, sizeof(name.text));
    else
        snprintf(name.text, sizeof(name.text), "%sp%u", port->console->device->name, port->id);
    return name;
}

/* Calls `each` for all ports that are there, until it returns true; and whether it did. virtio_consoles.mutex
 * held: consoles do not go away. */
static bool each_port(bool (*each)(struct virtio_console_port *port, void *context), void *context)
{
    list_foreach (node, &virtio_consoles.list) {
        struct virtio_console *console = list_entry(node, struct virtio_console, node);
        for (uint32_t i = 0; i < console->port_count; i++) {
            if (read_once(console->ports[i].is_there) && each(&console->ports[i], context))
                return true;
        }
    }
    return false;
}

struct search {
    const char *name;
    struct virtio_console_port *found;
};

static bool has_name(struct virtio_console_port *port, void *context)
{
    struct search *search = context;
    if (strcmp(name_of(port).text, search->name) != 0)
        return false;
    search->found = port;
    return true;
}

static struct virtio_console_port *find(const char *name)
{
    struct search search = {.name = name};
    MUTEX_SCOPED(&virtio_consoles.mutex);
    each_port(has_name, &search);
    return search.found;
}

/* ---- Listing ------------------------------------------------------------------------------------------ */

static bool print_port(struct virtio_console_port *port, void *context)
{
    const struct virtio_console_output *output = &port->output;
    (void)context;
    console_printf("%-20s %s port %u, %s, %s; %llu bytes, %llu dropped, %llu doorbells, %llu interrupts",
                   name_of(port).text, port->console->device->name, port->id,
                   port->is_console ? "console" : "channel", port->is_open ? "open" : "closed",
                   (unsigned long long)output->bytes_sent, (unsigned long long)output->dropped,
                   (unsigned long long)output->ring->kicks, (unsigned long long)output->interrupts);
    if (port->columns)
        console_printf(", %u x %u characters", port->columns, port->rows);
    console_printf("%s\n", virtio_console_is_stopped(port->console) ? ", stopped" : "");
    return false;
}

static bool print_port_json(struct virtio_console_port *port, void *context)
{
    const struct virtio_console_output *output = &port->output;
    (void)context;
    console_printf("{\"name\":\"%s\",\"device\":\"%s\",\"port\":%u,\"console\":%s,\"open\":%s,\"stopped\":%s,"
                   "\"bytes\":%llu,\"dropped_bytes\":%llu,\"doorbells\":%llu,\"interrupts\":%llu}\n",
                   name_of(port).text, port->console->device->name, port->id,
                   port->is_console ? "true" : "false", port->is_open ? "true" : "false",
                   virtio_console_is_stopped(port->console) ? "true" : "false",
                   (unsigned long long)output->bytes_sent, (unsigned long long)output->dropped,
                   (unsigned long long)output->ring->kicks, (unsigned long long)output->interrupts);
    return false;
}

static int list(bool is_json)
{
    MUTEX_SCOPED(&virtio_consoles.mutex);
    each_port(is_json ? print_port_json : print_port, NULL);
    return 0;
}

/* ---- A command's output ------------------------------------------------------------------------------- */

struct channel {
    struct console_output output;
    struct virtio_console_port *port;
    uint64_t bytes;
    int error; /* the first; from then on nothing is written */
};

static void channel_write(struct console_output *output, const char *text, size_t bytes)
{
    struct channel *channel = container_of(output, struct channel, output);
    if (channel->error == 0)
        channel->error = virtio_console_port_write(channel->port, text, bytes);
    if (channel->error == 0)
        channel->bytes += bytes;
    else
        channel->port->output.dropped += bytes;
}

/* The command's status, or why its output did not all arrive. */
static int run_redirected(struct channel *channel, int argc, char **argv)
{
    struct console_output *before = console_redirect(&channel->output);
    int status = shell_run_words(argc, argv);
    console_redirect(before);
    if (channel->error == 0)
        channel->error = virtio_console_port_flush(channel->port);
    if (channel->error) {
        console_printf("vport: %s after %llu bytes\n", error_name(channel->error),
                       (unsigned long long)channel->bytes);
        return channel->error;
    }
    console_printf("vport: %llu bytes\n", (unsigned long long)channel->bytes);
    return status == -EINVAL ? -ECANCELED : status; /* the usage that is missing is not vport's */
}

static int send_to(struct virtio_console_port *port, int argc, char **argv)
{
    struct channel *channel = heap_alloc_zeroed(sizeof(*channel));
    if (!channel)
        return -ENOMEM;
    channel->output.write = channel_write;
    channel->port = port;
    mutex_lock(&port->writer);
    int error = virtio_console_port_open(port);
    if (error == 0) {
        error = run_redirected(channel, argc, argv);
        virtio_console_port_close(port);
    }
    mutex_unlock(&port->writer);
    heap_free(channel);
    return error;
}

static int vport_run(int argc, char **argv)
{
    if (argc == 1 || strcmp(argv[1], "--json") == 0)
        return argc > 2 ? -EINVAL : list(argc == 2);
    if (argc == 2)
        return -EINVAL;
    struct virtio_console_port *port = find(argv[1]);
    if (!port || port->is_console) {
        console_printf("vport: %s '%s'\n", port ? "a console is no channel:" : "no port named", argv[1]);
        return port ? -EBUSY : -ENODEV;
    }
    return send_to(port, argc - 2, argv + 2);
}
SHELL_COMMAND(
    vport, "[--json] | PORT CMD [WORD...]",
    "list the ports of virtio consoles, or send a command's output to one", vport_run,
    "vport virtio0p1 cat /big    or by the name that QEMU's virtserialport has (name=...)\n"
    "Log lines do not go there. It ends when the host has read everything, or reads nothing for 5 s.");

static int describe(const char *name)
{
    MUTEX_SCOPED(&virtio_consoles.mutex);
    list_foreach (node, &virtio_consoles.list) {
        struct virtio_console *console = list_entry(node, struct virtio_console, node);
        if (strcmp(console->device->name, name) == 0) {
            virtio_device_describe(console->device);
            return 0;
        }
    }
    return -ENODEV;
}
DEVICE_DESCRIBER(describe);

/* ---- Leaving ------------------------------------------------------------------------------------------ */

static bool flush_console(struct virtio_console_port *port, void *context)
{
    int error = port->is_console ? virtio_console_port_flush(port) : 0;
    (void)context;
    if (error)
        log_warning(port->console->device->name, "port %u: the last output was not read: %s", port->id,
                    error_name(error));
    return false;
}

/* What was printed last should be seen, if anybody looks. */
static void flush_consoles(void)
{
    MUTEX_SCOPED(&virtio_consoles.mutex);
    each_port(flush_console, NULL);
}
static const struct shutdown_hook console_shutdown = {flush_consoles};
linker_set_add(shutdown_hooks, const struct shutdown_hook, console_shutdown);
