/* SPDX-License-Identifier: MIT */
/* A QEMU (TCG plugin API 1, QEMU 7.2) plugin that counts what the guest executes between two markers.
 *
 * The guest marks with a long NOP that no compiler emits: 0f 1f 84 00 ID 00 4b 4d. At each one the plugin
 * writes a line into QEMU's log (-d plugin -D FILE), among the lines of -trace:
 *
 *     MARK id kernel_instructions rep_iterations halts
 *
 * counted since the start. The argument at=ADDRESS:ID, any number of times, makes a marker of the instruction
 * at that virtual address. Under TCG each iteration of a REP string instruction is a translation block of
 * its own; they are counted apart. With one CPU the counters are added to inline; with more by a callback
 * into a counter a CPU. QEMU's plugin header is not packaged: the few declarations that are needed follow
 * its documented API. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CPUS_MAX    64
#define PLACES_MAX  8
#define MARKER_SIZE 8

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct plugin_info {
    const char *target_name;
    struct {
        int minimum, current;
    } version;
    bool system_emulation;
    struct {
        int smp_vcpus, max_vcpus;
    } system;
};
enum { INLINE_ADD_U64 = 0, CALLBACK_NO_REGISTERS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*call)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *counter, uint64_t add);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*call)(unsigned, void *),
                                          int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *counter,
                                                uint64_t add);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*call)(unsigned, void *),
                                            int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_outs(const char *text);

enum counter { INSTRUCTIONS, REP_ITERATIONS, HALTS, COUNTERS };
static struct {
    uint64_t counts[COUNTERS];
    uint64_t pad[8 - COUNTERS];
} cpus[CPUS_MAX];
static bool is_one_cpu;

/* Marked by an argument. */
static struct {
    uint64_t address;
    unsigned id;
} places[PLACES_MAX];
static size_t place_count;

static void on_marker(unsigned cpu, void *id)
{
    uint64_t sums[COUNTERS] = {0};
    char line[128];
    for (int i = 0; i < CPUS_MAX; i++)
        for (int k = 0; k < COUNTERS; k++)
            sums[k] += cpus[i].counts[k];
    snprintf(line, sizeof(line), "MARK %u %llu %llu %llu\n", (unsigned)(uintptr_t)id,
             (unsigned long long)sums[INSTRUCTIONS], (unsigned long long)sums[REP_ITERATIONS],
             (unsigned long long)sums[HALTS]);
    qemu_plugin_outs(line);
    (void)cpu;
}

/* `data`: how much to add, above the counter's number in the low two bits. */
static void on_count(unsigned cpu, void *data)
{
    uintptr_t packed = (uintptr_t)data;
    cpus[cpu % CPUS_MAX].counts[packed & 3] += packed >> 2;
}

static void *pack(enum counter counter, size_t add)
{
    return (void *)(uintptr_t)(add << 2 | counter);
}

static void count_insn(struct qemu_plugin_insn *insn, enum counter counter)
{
    if (is_one_cpu)
        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &cpus[0].counts[counter], 1);
    else
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_count, CALLBACK_NO_REGISTERS, pack(counter, 1));
}

static bool is_marker(const uint8_t *code, size_t bytes)
{
    return bytes == MARKER_SIZE && code[0] == 0x0f && code[1] == 0x1f && code[2] == 0x84 && code[3] == 0 &&
           code[5] == 0 && code[6] == 0x4b && code[7] == 0x4d;
}

static bool is_rep_string(const uint8_t *code, size_t bytes)
{
    size_t at = 1;
    if (bytes < 2 || (code[0] != 0xf3 && code[0] != 0xf2))
        return false;
    at += (code[1] & 0xf0) == 0x40; /* REX */
    return at + 1 == bytes &&
           ((code[at] >= 0xa4 && code[at] <= 0xa7) || (code[at] >= 0xaa && code[at] <= 0xaf));
}

static void mark(struct qemu_plugin_insn *insn, unsigned id)
{
    qemu_plugin_register_vcpu_insn_exec_cb(insn, on_marker, CALLBACK_NO_REGISTERS, (void *)(uintptr_t)id);
}

static void mark_places(struct qemu_plugin_insn *insn)
{
    for (size_t i = 0; i < place_count; i++)
        if (qemu_plugin_insn_vaddr(insn) == places[i].address)
            mark(insn, places[i].id);
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    (void)id;
    if (is_one_cpu)
        qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &cpus[0].counts[INSTRUCTIONS], count);
    else
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_count, CALLBACK_NO_REGISTERS, pack(INSTRUCTIONS, count));
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint8_t *code = qemu_plugin_insn_data(insn);
        size_t bytes = qemu_plugin_insn_size(insn);
        if (bytes == 1 && code[0] == 0xf4)
            count_insn(insn, HALTS);
        else if (is_rep_string(code, bytes))
            count_insn(insn, REP_ITERATIONS);
        else if (is_marker(code, bytes))
            mark(insn, code[4]);
        mark_places(insn);
    }
}

#define PLUGIN_EXPORT __attribute__((visibility("default")))
PLUGIN_EXPORT extern int qemu_plugin_version;
PLUGIN_EXPORT int qemu_plugin_version = 1;

PLUGIN_EXPORT int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc, char **argv);
PLUGIN_EXPORT int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++, place_count++)
        if (place_count == PLACES_MAX ||
            sscanf(argv[i], "at=%" SCNx64 ":%u", &places[place_count].address, &places[place_count].id) != 2)
            return -1;
    is_one_cpu = info->system.smp_vcpus == 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
