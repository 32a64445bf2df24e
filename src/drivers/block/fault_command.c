/* SPDX-License-Identifier: MIT */
/* The shell's fault command: rules from words, and back. Thread context. */
#include <drivers/block/fault.h>
#include <kernel/base/assert.h>
#include <kernel/log.h>
#include <kernel/shell.h>
#include <kernel/string.h>

#define ALL_OPERATIONS ((1u << BLOCK_OPERATIONS) - 1)
#define DELAY_NS_MAX   (3600 * NSEC_PER_SEC)

static int refuse(const char *what, const char *text)
{
    console_printf("fault: '%s' is no %s\n", text, what);
    return -EINVAL;
}

/* ---- From words ------------------------------------------------------------------------------------- */

static int read_kind(const char *text, enum block_fault_kind *kind)
{
    for (int i = 0; i < BLOCK_FAULT_KINDS; i++) {
        *kind = (enum block_fault_kind)i;
        if (strcmp(text, block_fault_kind_name(*kind)) == 0)
            return 0;
    }
    return refuse("kind of fault", text);
}

static bool is_word(const char *word, const char *text, size_t bytes)
{
    return strlen(word) == bytes && strncmp(word, text, bytes) == 0;
}

static uint8_t operation_bit(const char *text, size_t bytes)
{
    for (uint8_t i = 0; i < BLOCK_OPERATIONS; i++)
        if (is_word(block_operation_name(i), text, bytes))
            return (uint8_t)(1u << i);
    return 0;
}

/* "read,flush" */
static int read_operations(const char *text, struct block_fault_rule *rule)
{
    rule->operations = 0;
    for (const char *at = text;; at++) {
        const char *word = at;
        while (*at && *at != ',')
            at++;
        uint8_t bit = operation_bit(word, (size_t)(at - word));
        if (!bit)
            return refuse(
                "list of read, write, flush, get-id, discard, write-zeroes, secure-erase, get-lifetime",
                text);
        rule->operations |= bit;
        if (!*at)
            return 0;
    }
}

/* "80" or "80-87" */
static int read_sectors(const char *text, struct block_fault_rule *rule)
{
    char first_text[24];
    uint64_t first, last;
    size_t bytes = 0;
    while (text[bytes] && text[bytes] != '-' && bytes + 1 < sizeof(first_text)) {
        first_text[bytes] = text[bytes];
        bytes++;
    }
    first_text[bytes] = '\0';
    if (string_to_u64(first_text, &first) ||
        string_to_u64(text[bytes] ? text + bytes + 1 : first_text, &last) || first > last ||
        last >= INT64_MAX)
        return refuse("range of sectors", text);
    rule->sector = first;
    rule->sectors = last - first + 1;
    return 0;
}

static int read_status(const char *text, struct block_fault_rule *rule)
{
    if (rule->kind != BLOCK_FAULT_ERROR)
        return refuse("kind that takes status=", block_fault_kind_name(rule->kind));
    for (rule->status = BLOCK_OK + 1; rule->status <= BLOCK_GONE; rule->status++)
        if (strcmp(text, block_status_name(rule->status)) == 0)
            return 0;
    return refuse("status", text);
}

static int read_delay(const char *text, struct block_fault_rule *rule)
{
    if (rule->kind != BLOCK_FAULT_DELAY)
        return refuse("kind that takes delay=", block_fault_kind_name(rule->kind));
    if (shell_parse_duration(text, &rule->delay_ns) || rule->delay_ns > DELAY_NS_MAX)
        return refuse("time of up to an hour", text);
    return 0;
}

static int read_rule(const char *kind, int argc, char **argv, struct block_fault_rule *rule)
{
    static const struct {
        const char *key;
        int (*read)(const char *text, struct block_fault_rule *rule);
    } options[] = {
        {"op", read_operations}, {"sector", read_sectors}, {"status", read_status}, {"delay", read_delay}};
    *rule = (struct block_fault_rule){
        .status = BLOCK_FAILED, .operations = ALL_OPERATIONS, .sectors = UINT64_MAX, .every = 1};
    int error = read_kind(kind, &rule->kind);
    for (size_t i = 0; i < ARRAY_SIZE(options) && !error; i++) {
        const char *text = shell_option(argc, argv, options[i].key);
        error = text ? options[i].read(text, rule) : 0;
    }
    if (!error && rule->kind == BLOCK_FAULT_DELAY && rule->delay_ns == 0) {
        console_printf("fault: delay needs delay=TIME\n");
        error = -EINVAL;
    }
    if (!error)
        error = shell_option_u64(argc, argv, "every", 1, UINT64_MAX, &rule->every);
    if (!error)
        error = shell_option_u64(argc, argv, "count", 1, UINT64_MAX, &rule->count);
    return error;
}

static int add(struct block_device *device, const char *kind, int argc, char **argv)
{
    static const char *const known[] = {"op=", "sector=", "every=", "count=", "delay=", "status=", NULL};
    struct block_fault_rule rule;
    int error = shell_options_check(argc, argv, known);
    if (!error)
        error = read_rule(kind, argc, argv, &rule);
    if (error)
        return error;
    error = block_fault_add(device, &rule);
    if (error == -ENOSPC)
        console_printf("fault: %s has %u rules already\n", block_device_name(device), BLOCK_FAULT_RULES);
    return error;
}

/* fault DEV KIND OPTION... */
static int add_from(struct block_device *device, int argc, char **argv)
{
    const char *kind = argv[2];
    assert(argc > 2);
    argv[2] = argv[0]; /* what messages about options begin with */
    return add(device, kind, argc - 2, argv + 2);
}

/* ---- For people and programs ------------------------------------------------------------------------ */

static void add_operations(struct shell_line *line, uint8_t operations, const char *quote)
{
    const char *comma = "";
    for (uint8_t i = 0; i < BLOCK_OPERATIONS; i++) {
        if (operations >> i & 1) {
            shell_line_add(line, "%s%s%s%s", comma, quote, block_operation_name(i), quote);
            comma = ",";
        }
    }
}

static void print_rule(const struct block_fault_rule *rule)
{
    struct shell_line line = {0};
    shell_line_add(&line, "  %s", block_fault_kind_name(rule->kind));
    if (rule->kind == BLOCK_FAULT_ERROR)
        shell_line_add(&line, " status=%s", block_status_name(rule->status));
    if (rule->kind == BLOCK_FAULT_DELAY)
        shell_line_add(&line, " delay=%lluus", (unsigned long long)(rule->delay_ns / NSEC_PER_USEC));
    shell_line_add(&line, " op=");
    add_operations(&line, rule->operations, "");
    if (rule->sectors != UINT64_MAX)
        shell_line_add(&line, " sector=%llu-%llu", (unsigned long long)rule->sector,
                       (unsigned long long)(rule->sector + rule->sectors - 1));
    shell_line_add(&line, " every=%llu", (unsigned long long)rule->every);
    if (rule->count)
        shell_line_add(&line, " count=%llu", (unsigned long long)rule->count);
    shell_line_add(&line, ": %llu of %llu requests", (unsigned long long)rule->hits,
                   (unsigned long long)rule->matches);
    shell_line_end(&line);
}

static void add_rule_json(struct shell_line *line, const struct block_fault_rule *rule)
{
    bool has_range = rule->sectors != UINT64_MAX;
    shell_line_add(line, "{\"kind\":\"%s\",\"operations\":[", block_fault_kind_name(rule->kind));
    add_operations(line, rule->operations, "\"");
    shell_line_add(line, "],\"status\":\"%s\",\"delay_ns\":%llu", block_status_name(rule->status),
                   (unsigned long long)rule->delay_ns);
    if (has_range)
        shell_line_add(line, ",\"first_sector\":%llu,\"last_sector\":%llu", (unsigned long long)rule->sector,
                       (unsigned long long)(rule->sector + rule->sectors - 1));
    shell_line_add(line, ",\"every\":%llu,\"count\":%llu,\"matches\":%llu,\"hits\":%llu}",
                   (unsigned long long)rule->every, (unsigned long long)rule->count,
                   (unsigned long long)rule->matches, (unsigned long long)rule->hits);
}

/* In parts: eight rules may be longer than a line. */
static void print_json(const struct block_device *device, const struct block_fault_state *state)
{
    console_printf("{\"name\":\"%s\",\"parked\":%u,\"rules\":[", block_device_name(device), state->parked);
    for (uint32_t i = 0; i < state->rule_count; i++) {
        struct shell_line line = {0};
        add_rule_json(&line, &state->rules[i]);
        console_printf("%s%s", i ? "," : "", line.text);
    }
    console_printf("]}\n");
}

static void show(struct block_device *device, bool is_json)
{
    struct block_fault_state state;
    block_fault_state(device, &state);
    if (is_json) {
        print_json(device, &state);
        return;
    }
    console_printf("%s: %u rules, %u requests held or delayed\n", block_device_name(device), state.rule_count,
                   state.parked);
    for (uint32_t i = 0; i < state.rule_count; i++)
        print_rule(&state.rules[i]);
}

static int run_on(struct block_device *device, int argc, char **argv)
{
    bool is_json = argc == 3 && strcmp(argv[2], "--json") == 0;
    if (argc == 2 || is_json)
        show(device, is_json);
    else if (argc == 3 && strcmp(argv[2], "clear") == 0)
        block_fault_clear(device);
    else if (argc == 3 && strcmp(argv[2], "release") == 0)
        block_fault_release(device);
    else
        return add_from(device, argc, argv);
    return 0;
}

static int fault_run(int argc, char **argv)
{
    struct block_device *device = argc > 1 ? block_device_find(argv[1]) : NULL;
    if (argc < 2)
        return -EINVAL;
    if (!device) {
        console_printf("fault: no device named '%s'\n", argv[1]);
        return -ENODEV;
    }
    int error = run_on(device, argc, argv);
    block_device_put(device);
    return error;
}
SHELL_COMMAND(
    fault, "DEV [error|delay|hold|reorder [KEY=VALUE...] | release | clear | --json]",
    "inject faults into a device, or list them", fault_run,
    "  error           complete with status=failed, or retry, unsupported, read-only, gone\n"
    "  delay           send to the device delay=TIME later (5ms)\n"
    "  hold            keep until `fault DEV release`\n"
    "  reorder         send the batch's requests in reverse order\n"
    "  op=read,write   which operations (read, write, flush, get-id, discard, write-zeroes, secure-erase,\n"
    "                  get-lifetime); default all\n"
    "  sector=A-B      which sectors they touch; default all\n"
    "  every=N         each Nth that matches;  count=N: so many times, then no more\n"
    "  release         send what is held or delayed; the rules stay\n"
    "  clear           the same, and take all rules away\n"
    "Several rules may be set; the first that hits a request decides. An error on a part of merged\n"
    "requests fails that part only. Leaving the kernel clears all rules, so that dirty data is written.");

static void clear_all(void)
{
    block_device_foreach (device)
        block_fault_clear(device);
}

/* Before the caches' hooks, which are linked after this one (fs/ after drivers/). */
static const struct shutdown_hook fault_shutdown = {clear_all};
linker_set_add(shutdown_hooks, const struct shutdown_hook, fault_shutdown);
