/* SPDX-License-Identifier: MIT */
/* x86-TSO, the memory order of x86: each CPU's stores wait in a FIFO of its own and reach memory some time later,
 * in order; its loads may overtake them. A fence waits until the own FIFO is empty, and so does a locked
 * instruction. A doorbell and an MSI are stores like others, behind those that were made before.
 * The device is one more such CPU: a thread of the host.
 *
 * To be included behind CPUS and LOCATIONS; `cpu` is the number of the process at work. No process loads what it
 * stores, but for the lock, by a locked instruction: so loads need not look into the own FIFO. */
#define STORES 4

byte memory[LOCATIONS];
chan stores[CPUS] = [STORES] of { byte, byte }; /* location, value */

#define store(location, value) stores[cpu] ! location, value
#define load(location, to)     to = memory[location]
#define fence()                empty(stores[cpu])
/* Waits for a doorbell or an MSI, and answers it. */
#define signalled(location)    atomic { memory[location] == 1 -> memory[location] = 0 }

/* kernel/spinlock.h: a locked instruction takes it, a plain store gives it back. */
#define spin_can_lock(location) (empty(stores[cpu]) && memory[location] == 0)
#define spin_lock(location)     atomic { spin_can_lock(location) -> memory[location] = 1 }
#define spin_unlock(location)   store(location, 0)

/* A CPU's oldest store reaches memory. These are the first processes, so _pid counts the CPUs. */
active [CPUS] proctype bus()
{
    byte location, value;
end:
    do
    :: d_step {
           stores[_pid] ? location, value;
           memory[location] = value;
           location = 0;
           value = 0
       }
    od
}
