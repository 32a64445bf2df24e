/* SPDX-License-Identifier: MIT */
/* Hot plug as PCI Express defines it (5.0, 6.7): the ports whose slots say so.
 *
 *     interrupt   collects what happened to the slot, acknowledges it, wakes the thread
 *     thread      asks pci_slot_next what to do about it, and does it; one for all slots
 *
 *     ADD    power on, indicator blinks; link up; functions listed, addressed, bound; indicator on
 *     EJECT  drivers let go; power and indicator off: that is what a hypervisor waits for
 *     DROP   the same, of a card that has gone already
 *
 * hotplug.delays=0 leaves out the waits that are there for people and for real power: 5 s in which the button
 * can be pressed again, 1 s after power off, 100 ms after the link came up (6.7.1.5, 6.7.1.8, 6.6.1).
 *
 * The registers belong to the thread, but for the status bits of events, which the interrupt clears. */
#include <arch/clock.h>
#include <drivers/pci/pci.h>
#include <drivers/pci/pci_slot.h>
#include <kernel/base/error.h>
#include <kernel/cmdline.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/panic.h>
#include <kernel/printf.h>
#include <kernel/shell.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define ABORT_NS     (5 * NSEC_PER_SEC)
#define POWER_OFF_NS (1 * NSEC_PER_SEC)
#define LINK_UP_NS   (100 * NSEC_PER_MSEC)
#define POLL_NS      NSEC_PER_MSEC
#define POLLS_MAX    1000u /* a second: what commands, links and functions may take */
#define REQUEST_NS   (10 * NSEC_PER_SEC)
#define COLLECTS_MAX 16u
#define NEVER        UINT64_MAX
#define EVENT_BITS \
    (PCI_SLOT_STATUS_BUTTON | PCI_SLOT_STATUS_FAULT | PCI_SLOT_STATUS_PRESENCE | PCI_SLOT_STATUS_LINK)
#define ENABLE_BITS                                                                                         \
    (PCI_SLOT_CONTROL_BUTTON | PCI_SLOT_CONTROL_FAULT | PCI_SLOT_CONTROL_PRESENCE | PCI_SLOT_CONTROL_LINK | \
     PCI_SLOT_CONTROL_INTERRUPT)

CMDLINE_KEY(hotplug_delays, "hotplug.delays", "0/1",
            "slots: wait as people and real power need it (default 1)");

/* Lock legend: I constant; t the thread; a atomic. */
struct slot {
    struct list node;          /* I */
    struct pci_device *port;   /* I */
    uint32_t express;          /* I: its capability's offset */
    uint32_t number;           /* I: as painted on the chassis */
    bool has_commands;         /* I: tells when a command is completed */
    bool has_link;             /* I: tells when the link is active */
    bool was_slow_printed;     /* t */
    enum pci_slot_state state; /* t to write, a */
    uint32_t events;           /* a: enum pci_slot_event */
    uint32_t refusals;         /* t to write, a */
    uint32_t has_fault;        /* a: power fault, not told yet */
    uint64_t abort_ns;         /* t: when CLOSING is over; NEVER */
    uint64_t power_off_ns;     /* t: when the power was turned off */
    struct irq *irq;           /* I */
};

static struct list slots = LIST_INIT(slots); /* constant after pci_hotplug_init */
static struct wait_queue work_to_do = WAIT_QUEUE_INIT(work_to_do), work_done = WAIT_QUEUE_INIT(work_done);
static bool has_delays = true; /* constant after pci_hotplug_init */

#define foreach_slot(slot)                                                                       \
    for (struct slot *slot = list_entry(slots.next, struct slot, node); &(slot)->node != &slots; \
         (slot) = list_entry((slot)->node.next, struct slot, node))

/* ---- Registers ---------------------------------------------------------------------------------------- */

static uint16_t read_status(const struct slot *slot)
{
    return pci_config_read16(slot->port, slot->express + PCI_EXPRESS_SLOT_STATUS);
}

static void clear_status(const struct slot *slot, uint16_t bits)
{
    pci_config_write16(slot->port, slot->express + PCI_EXPRESS_SLOT_STATUS, bits);
}

static bool is_occupied(const struct slot *slot)
{
    return (read_status(slot) & PCI_SLOT_STATUS_OCCUPIED) != 0;
}

static bool is_command_completed(const struct slot *slot)
{
    return !slot->has_commands || read_status(slot) & PCI_SLOT_STATUS_COMMAND;
}

static bool is_link_up(const struct slot *slot)
{
    uint16_t status = pci_config_read16(slot->port, slot->express + PCI_EXPRESS_LINK_STATUS);
    return !slot->has_link || status & PCI_LINK_STATUS_ACTIVE;
}

static bool has_function(const struct slot *slot)
{
    const struct pci_device probe = {.segment = slot->port->segment,
                                     .bus = pci_config_read8(slot->port, PCI_SECONDARY_BUS),
                                     .ecam = slot->port->secondary};
    return pci_config_read16(&probe, PCI_VENDOR_ID) != 0xffff;
}

static bool wait_until(const struct slot *slot, bool (*is_true)(const struct slot *))
{
    for (uint32_t polls = 0; !is_true(slot); polls++) {
        if (polls == POLLS_MAX)
            return false;
        thread_sleep_ns(POLL_NS);
    }
    return true;
}

static void delay_until(uint64_t ns)
{
    if (has_delays)
        thread_sleep_until(ns);
}

/* One write to Slot Control is a command; the next has to wait for its completion (6.7.3.2). */
static void command(struct slot *slot, uint16_t clear, uint16_t set)
{
    uint16_t control = pci_config_read16(slot->port, slot->express + PCI_EXPRESS_SLOT_CONTROL);
    clear_status(slot, PCI_SLOT_STATUS_COMMAND);
    pci_config_write16(slot->port, slot->express + PCI_EXPRESS_SLOT_CONTROL,
                       (uint16_t)((control & ~clear) | set));
    if (wait_until(slot, is_command_completed) || slot->was_slow_printed)
        return;
    slot->was_slow_printed = true;
    log_warning("pci", "%s: slot %u: completes no commands", slot->port->name, slot->number);
}

static void set_indicator(struct slot *slot, uint16_t how)
{
    command(slot, PCI_SLOT_CONTROL_INDICATOR, how);
}

static void power_on(struct slot *slot)
{
    delay_until(slot->power_off_ns + POWER_OFF_NS);
    command(slot, PCI_SLOT_CONTROL_POWER_OFF | PCI_SLOT_CONTROL_INDICATOR, PCI_SLOT_CONTROL_INDICATOR_BLINK);
}

static void power_off(struct slot *slot)
{
    command(slot, PCI_SLOT_CONTROL_INDICATOR, PCI_SLOT_CONTROL_POWER_OFF | PCI_SLOT_CONTROL_INDICATOR_OFF);
    slot->power_off_ns = clock_ns();
}

/* ---- Events ------------------------------------------------------------------------------------------- */

static uint32_t events_of(uint16_t status)
{
    return (status & PCI_SLOT_STATUS_BUTTON ? PCI_SLOT_BUTTON : 0u) |
           (status & PCI_SLOT_STATUS_PRESENCE ? PCI_SLOT_PRESENCE : 0u) |
           (status & PCI_SLOT_STATUS_LINK ? PCI_SLOT_LINK : 0u);
}

/* Until nothing is left, or the port would not interrupt again (6.7.3.4). Any context. */
static uint32_t collect(struct slot *slot)
{
    uint32_t events = 0;
    uint16_t status;
    for (uint32_t i = 0; i < COLLECTS_MAX && (status = read_status(slot) & EVENT_BITS) != 0; i++) {
        clear_status(slot, status);
        events |= events_of(status);
        if (status & PCI_SLOT_STATUS_FAULT)
            write_once(slot->has_fault, 1);
    }
    return events;
}

static void post(struct slot *slot, uint32_t events)
{
    __atomic_fetch_or(&slot->events, events, __ATOMIC_RELEASE);
    wait_wake_all(&work_to_do);
}

static bool slot_interrupt(void *context)
{
    struct slot *slot = context;
    uint32_t events = collect(slot);
    bool is_ours = events || read_once(slot->has_fault);
    if (is_ours)
        post(slot, events);
    return is_ours;
}

/* ---- Cards -------------------------------------------------------------------------------------------- */

static const char *note_of(enum pci_slot_state state)
{
    static const char *const notes[] = {"slot off", "slot on", "slot closing"};
    return notes[state];
}

static void set_state(struct slot *slot, enum pci_slot_state state)
{
    slot->port->driver_note = note_of(state);
    __atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
    wait_wake_all(&work_done);
}

static bool come_up(struct slot *slot)
{
    power_on(slot);
    if (!wait_until(slot, is_link_up))
        return false;
    delay_until(clock_ns() + LINK_UP_NS);
    return wait_until(slot, has_function);
}

static void add(struct slot *slot)
{
    log_info("pci", "%s: slot %u: a card came", slot->port->name, slot->number);
    bool is_up = come_up(slot);
    /* That the link came up is our doing. What happens from here on is not. */
    (void)collect(slot);
    __atomic_store_n(&slot->events, 0, __ATOMIC_RELEASE);
    if (!is_up || pci_add_behind(slot->port) == 0) {
        log_error("pci", "%s: slot %u: %s: power off", slot->port->name, slot->number,
                  is_up ? "no function answers" : "the card does not come up");
        power_off(slot);
        return;
    }
    set_indicator(slot, PCI_SLOT_CONTROL_INDICATOR_ON);
    set_state(slot, PCI_SLOT_ON);
    log_info("pci", "%s: slot %u: on", slot->port->name, slot->number);
}

static void blink(struct slot *slot)
{
    if (has_delays)
        log_info("pci", "%s: slot %u: button: its card goes in %u s, unless the button is pressed again",
                 slot->port->name, slot->number, (unsigned)(ABORT_NS / NSEC_PER_SEC));
    set_indicator(slot, PCI_SLOT_CONTROL_INDICATOR_BLINK);
    slot->abort_ns = clock_ns() + (has_delays ? ABORT_NS : 0);
    set_state(slot, PCI_SLOT_CLOSING);
}

static void keep(struct slot *slot)
{
    log_info("pci", "%s: slot %u: button: its card stays", slot->port->name, slot->number);
    set_indicator(slot, PCI_SLOT_CONTROL_INDICATOR_ON);
    slot->abort_ns = NEVER;
    set_state(slot, PCI_SLOT_ON);
}

static void eject(struct slot *slot)
{
    pci_remove_behind(slot->port);
    slot->abort_ns = NEVER;
    power_off(slot);
    log_info("pci", "%s: slot %u: off", slot->port->name, slot->number);
    set_state(slot, PCI_SLOT_OFF);
}

/* The card in its place, if there is one, has power and is left alone here. */
static void drop(struct slot *slot)
{
    log_warning("pci", "%s: slot %u: its card went without notice", slot->port->name, slot->number);
    pci_remove_behind(slot->port);
    slot->abort_ns = NEVER;
    if (!is_occupied(slot))
        power_off(slot);
    set_state(slot, PCI_SLOT_OFF);
}

/* ---- The thread --------------------------------------------------------------------------------------- */

static void tell_fault(struct slot *slot)
{
    if (__atomic_exchange_n(&slot->has_fault, 0, __ATOMIC_RELAXED))
        log_error("pci", "%s: slot %u: power fault", slot->port->name, slot->number);
}

/* A card whose driver knows no way back: it stays, and if it has gone, so does what remembers it. */
static bool is_refused(struct slot *slot, enum pci_slot_action action)
{
    if ((action != PCI_SLOT_EJECT && action != PCI_SLOT_DROP) || pci_can_remove_behind(slot->port))
        return false;
    log_error("pci", "%s: slot %u: its card %s, but a driver cannot part with it", slot->port->name,
              slot->number, action == PCI_SLOT_EJECT ? "is to go" : "went without notice");
    set_indicator(slot, PCI_SLOT_CONTROL_INDICATOR_ON);
    slot->abort_ns = NEVER;
    slot->refusals++;
    set_state(slot, PCI_SLOT_ON);
    return true;
}

static void serve(struct slot *slot)
{
    static void (*const does[])(struct slot *) = {
        [PCI_SLOT_ADD] = add,     [PCI_SLOT_BLINK] = blink, [PCI_SLOT_KEEP] = keep,
        [PCI_SLOT_EJECT] = eject, [PCI_SLOT_DROP] = drop,
    };
    enum pci_slot_action action;
    tell_fault(slot);
    uint32_t events = __atomic_exchange_n(&slot->events, 0, __ATOMIC_ACQUIRE);
    if (clock_ns() >= slot->abort_ns)
        events |= PCI_SLOT_TIMEOUT;
    while ((action = pci_slot_next(slot->state, &events, is_occupied(slot))) != PCI_SLOT_REST) {
        if (is_refused(slot, action))
            return;
        does[action](slot);
    }
}

static bool has_work(void)
{
    foreach_slot (slot) {
        if (__atomic_load_n(&slot->events, __ATOMIC_ACQUIRE) || read_once(slot->has_fault))
            return true;
    }
    return false;
}

static uint64_t next_abort_ns(void)
{
    uint64_t ns = NEVER;
    foreach_slot (slot)
        ns = MIN(ns, slot->abort_ns);
    return ns;
}

static void hotplug_main(void *argument)
{
    for (;;) {
        (void)wait_event_until(&work_to_do, has_work(), next_abort_ns());
        foreach_slot (slot)
            serve(slot);
    }
}

/* ---- Finding ------------------------------------------------------------------------------------------ */

/* The capability's offset of a port with a slot for hot plug; 0: it is none. */
static uint32_t find_express(const struct pci_device *device)
{
    uint8_t express;
    if (device->header_type != 1 || pci_capabilities(device, PCI_CAP_EXPRESS, &express, 1) == 0)
        return 0;
    bool has_slot = pci_config_read16(device, express + PCI_EXPRESS_FLAGS) & PCI_EXPRESS_FLAGS_SLOT;
    uint32_t slot = has_slot ? pci_config_read32(device, express + PCI_EXPRESS_SLOT_CAP) : 0;
    return slot & PCI_SLOT_CAP_HOT_PLUG ? express : 0;
}

static int connect_msix(struct slot *slot, const char *name)
{
    struct pci_device *port = slot->port;
    int error = pci_msix_enable(port);
    if (error)
        return error;
    uint32_t message =
        (pci_config_read16(port, slot->express + PCI_EXPRESS_FLAGS) & PCI_EXPRESS_FLAGS_MESSAGE) >> 9;
    error =
        message < port->msix.count ? irq_allocate_msi(0, slot_interrupt, slot, name, &slot->irq) : -EINVAL;
    if (error)
        pci_msix_disable(port);
    else
        pci_msix_attach(port, message, slot->irq);
    return error;
}

static int connect_msi(struct slot *slot, const char *name)
{
    int error = irq_allocate_msi(0, slot_interrupt, slot, name, &slot->irq);
    if (error)
        return error;
    error = pci_msi_enable(slot->port, slot->irq);
    if (error)
        irq_free(slot->irq);
    return error;
}

/* By the best that the port has; the name of that, or NULL. */
static const char *connect(struct slot *slot)
{
    char name[24];
    snprintf(name, sizeof(name), "slot%u", slot->number);
    pci_size_bars(slot->port);
    pci_enable(slot->port);
    if (connect_msix(slot, name) == 0)
        return "MSI-X";
    if (connect_msi(slot, name) == 0)
        return "MSI";
    return pci_intx_attach(slot->port, slot_interrupt, slot, name, &slot->irq) == 0 ? "INTx" : NULL;
}

static struct slot *create(struct pci_device *port, uint32_t express)
{
    uint32_t capabilities = pci_config_read32(port, express + PCI_EXPRESS_SLOT_CAP);
    uint32_t link = pci_config_read32(port, express + PCI_EXPRESS_LINK_CAP);
    struct slot *slot = heap_alloc_zeroed(sizeof(*slot));
    if (!slot)
        return NULL;
    slot->port = port;
    slot->express = express;
    slot->number = capabilities >> PCI_SLOT_CAP_NUMBER_SHIFT;
    slot->has_commands = !(capabilities & PCI_SLOT_CAP_NO_COMMANDS);
    slot->has_link = link & PCI_LINK_CAP_ACTIVE;
    slot->abort_ns = NEVER;
    return slot;
}

static const struct pci_driver slot_driver = {.name = "hot plug"};

/* A card that was there at boot has been found, and is on; one that came since is told of like any other. */
static void watch(struct pci_device *port, uint32_t express)
{
    struct slot *slot = create(port, express);
    const char *interrupt = slot ? connect(slot) : NULL;
    if (!interrupt) {
        log_error("pci", "%s: its slot is not watched: no %s", port->name, slot ? "interrupt" : "memory");
        heap_free(slot);
        return;
    }
    bool is_on = has_function(slot);
    list_push_back(&slots, &slot->node);
    port->driver = &slot_driver;
    set_state(slot, is_on ? PCI_SLOT_ON : PCI_SLOT_OFF);
    (void)collect(slot);
    command(slot, 0, ENABLE_BITS);
    log_info("pci", "%s: slot %u: hot plug, %s, interrupt by %s", port->name, slot->number,
             is_on ? "on" : "off", interrupt);
    if (!is_on && is_occupied(slot))
        post(slot, PCI_SLOT_PRESENCE);
}

void pci_hotplug_init(void)
{
    const struct thread_config config = {.name = "hotplug", .entry = hotplug_main, .priority = PRIORITY_HIGH};
    struct pci_device *device;
    struct thread *thread;
    has_delays = cmdline_bool("hotplug.delays", true);
    mutex_lock(&pci_mutex);
    for (uint32_t i = 0; (device = pci_device_at(i)) != NULL; i++) {
        uint32_t express = device->driver ? 0 : find_express(device);
        if (express)
            watch(device, express);
    }
    mutex_unlock(&pci_mutex);
    if (list_is_empty(&slots))
        return;
    if (thread_create(&config, &thread) != 0)
        panic("no memory for the hotplug thread");
    thread_detach(thread);
}

/* ---- The shell ---------------------------------------------------------------------------------------- */

/* The slot that the function `name` lies in, or whose port it is. */
static struct slot *find_slot(const char *name)
{
    struct pci_device *device;
    MUTEX_SCOPED(&pci_mutex);
    for (uint32_t i = 0; (device = pci_device_at(i)) != NULL; i++) {
        foreach_slot (slot) {
            if (strcmp(device->name, name) == 0 && (device == slot->port || device->bridge == slot->port))
                return slot;
        }
    }
    return NULL;
}

static bool is_off(const struct slot *slot)
{
    return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == PCI_SLOT_OFF;
}

static int eject_run(int argc, char **argv)
{
    struct slot *slot = argc == 2 ? find_slot(argv[1]) : NULL;
    if (argc != 2)
        return -EINVAL;
    if (!slot || is_off(slot)) {
        console_printf("eject: %s: no card in a slot for hot plug; `lspci` shows them\n", argv[1]);
        return -ENODEV;
    }
    uint32_t refusals = read_once(slot->refusals);
    post(slot, PCI_SLOT_REQUEST);
    int error = wait_event_until(&work_done, is_off(slot) || read_once(slot->refusals) != refusals,
                                 clock_ns() + REQUEST_NS);
    if (error == 0 && !is_off(slot))
        error = -EBUSY;
    if (error)
        console_printf("eject: %s: %s\n", argv[1], error_name(error));
    return error;
}
SHELL_COMMAND(eject, "ADDRESS", "take a PCI function out of its slot and turn the slot off", eject_run,
              "ADDRESS: of the function, as lspci has it: 01:00.0. Whatever else is in the slot goes too.");
