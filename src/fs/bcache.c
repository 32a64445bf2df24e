/* SPDX-License-Identifier: MIT */
/* The buffer cache (fs/bcache.h): a hash over (device, block), least recently used out first.
 *
 * Ways through: bcache_get -> claim: found, or a fresh buffer in state BUSY -> read_now (the thread that
 * missed reads and sleeps; its doorbell is shared with other threads') or wait_until_read (another thread's
 * read, or a prefetch, is on its way). Prefetched reads end in prefetch_done, in interrupt context.
 *
 * Numbered invariants, asserted below:
 *   B1  at most one buffer is hashed for a (device, block): two threads that miss it cause one read
 *   B2  a buffer is on the clean list exactly while it is VALID, unreferenced and not dirty
 *   B3  a FAILED buffer is not hashed: its waiters see the error, the next bcache_get reads anew. A failed
 *       prefetch is nobody's error: it may have been merged with a bad neighbour; its waiters read anew too
 *   B4  a dirty buffer is never evicted while its device is there; a write that fails leaves it dirty
 *   B5  buffers are freed only by bcache_shutdown: a late wake-up finds a struct buffer
 *
 * Locks: writeback (a mutex: one writer at a time) before cache.lock (irq-safe; never held over I/O,
 * allocation or sleep) before nothing. */
#include <fs/bcache.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/mutex.h>
#include <kernel/page.h>
#include <kernel/pool.h>
#include <kernel/string.h>
#include <kernel/wait.h>

#define BLOCK_SECTORS (BCACHE_BLOCK_BYTES / BLOCK_SECTOR_BYTES)
#define WRITE_BATCH   64u

enum buffer_state { BUFFER_FREE, BUFFER_BUSY, BUFFER_VALID, BUFFER_FAILED };

/* Lock legend: c cache.lock; I constant while referenced or in I/O; w the writeback mutex; h holders. */
struct buffer {
    struct buffer *hash_next;    /* c */
    struct list node;            /* c: free, clean or prefetching list */
    struct list dirty_node;      /* c: the dirty list while is_dirty */
    struct block_device *device; /* I */
    uint64_t block;              /* I */
    uint32_t references;         /* c */
    uint8_t state;               /* c to write, atomic to read: enum buffer_state */
    bool is_hashed;              /* c */
    bool is_dirty;               /* c */
    bool is_prefetch;            /* c: nobody asked for this read */
    int error;                   /* c: why it is FAILED */
    uint64_t written_in_pass;    /* w: the writeback pass that tried it last */
    struct wait_queue waiters;   /* for state to leave BUSY */
    void *data;                  /* h: a page */
    struct block_request io;     /* whoever reads or writes it */
};

static struct {
    struct spinlock lock;
    struct buffer **hash;       /* c */
    unsigned hash_shift;        /* I: a 64-bit product is shifted right by this */
    struct list free;           /* c */
    struct list clean;          /* c: least recently used first */
    struct list dirty;          /* c: dirty longest first */
    struct list prefetching;    /* c: being read for nobody in particular */
    uint32_t prefetching_count; /* c */
    struct bcache_stats stats;  /* c */
    struct mutex writeback;
    uint64_t writeback_pass; /* w */
    struct pool pool;
} cache;

bool bcache_configure(uint64_t limit_bytes)
{
    uint64_t buffers = MIN(MAX(limit_bytes / BCACHE_BLOCK_BYTES, (uint64_t)BCACHE_BUFFERS_MIN), MIB(64));
    unsigned bits = MIN(ilog2(buffers), 18u);
    assert(cache.hash == NULL);
    spinlock_init(&cache.lock, "bcache");
    mutex_init(&cache.writeback, "bcache writeback");
    pool_init(&cache.pool, "buffer", sizeof(struct buffer), CACHE_LINE_BYTES);
    list_init(&cache.free);
    list_init(&cache.clean);
    list_init(&cache.dirty);
    list_init(&cache.prefetching);
    memset(&cache.stats, 0, sizeof(cache.stats));
    cache.stats.buffers_max = (uint32_t)buffers;
    cache.hash_shift = 64 - bits;
    cache.hash = heap_alloc_zeroed(sizeof(struct buffer *) << bits);
    return cache.hash != NULL;
}

void *buffer_data(struct buffer *buffer)
{
    debug_assert(buffer->references > 0);
    return buffer->data;
}

/* ---- Hash ------------------------------------------------------------------------------------------- */

static struct buffer **hash_bucket(const struct block_device *device, uint64_t block)
{
    /* Fibonacci hashing: the multiplier is 2^64 divided by the golden ratio. */
    uint64_t key = (block ^ (uint64_t)(uintptr_t)device >> 4) * 0x9e3779b97f4a7c15ull;
    return &cache.hash[key >> cache.hash_shift];
}

static struct buffer *find_locked(const struct block_device *device, uint64_t block)
{
    struct buffer *buffer = *hash_bucket(device, block);
    while (buffer && (buffer->block != block || buffer->device != device))
        buffer = buffer->hash_next;
    return buffer;
}

static void hash_add_locked(struct buffer *buffer)
{
    struct buffer **bucket = hash_bucket(buffer->device, buffer->block);
    assert(!buffer->is_hashed);
    debug_assert(find_locked(buffer->device, buffer->block) == NULL); /* B1 */
    buffer->hash_next = *bucket;
    *bucket = buffer;
    buffer->is_hashed = true;
}

static void hash_remove_locked(struct buffer *buffer)
{
    struct buffer **link = hash_bucket(buffer->device, buffer->block);
    assert(buffer->is_hashed);
    while (*link != buffer) {
        assert(*link != NULL);
        link = &(*link)->hash_next;
    }
    *link = buffer->hash_next;
    buffer->is_hashed = false;
}

/* ---- References and lists ---------------------------------------------------------------------------- */

static uint8_t buffer_state(const struct buffer *buffer)
{
    /* Pairs with the release in set_state_locked: VALID is seen after the data. */
    return __atomic_load_n(&buffer->state, __ATOMIC_ACQUIRE);
}

static void set_state_locked(struct buffer *buffer, enum buffer_state state)
{
    assert_spin_locked(&cache.lock);
    __atomic_store_n(&buffer->state, (uint8_t)state, __ATOMIC_RELEASE);
}

static void reference_locked(struct buffer *buffer)
{
    if (buffer->references++ > 0)
        return;
    cache.stats.referenced++;
    if (buffer->state == BUFFER_VALID && !buffer->is_dirty)
        list_remove(&buffer->node); /* B2 */
}

/* An unreferenced buffer that is not in I/O goes to the list where it belongs. */
static void settle_locked(struct buffer *buffer)
{
    assert(buffer->references == 0 && buffer->state != BUFFER_BUSY);
    if (!buffer->is_hashed) {
        assert(!buffer->is_dirty);
        set_state_locked(buffer, BUFFER_FREE);
        list_push_front(&cache.free, &buffer->node);
    } else if (!buffer->is_dirty) {
        assert(buffer->state == BUFFER_VALID); /* B3 */
        list_push_back(&cache.clean, &buffer->node);
    }
}

static void put_locked(struct buffer *buffer)
{
    assert(buffer->references > 0);
    if (--buffer->references > 0)
        return;
    cache.stats.referenced--;
    if (buffer->state != BUFFER_BUSY)
        settle_locked(buffer);
}

void bcache_put(struct buffer *buffer)
{
    SPIN_SCOPED_IRQ(&cache.lock);
    put_locked(buffer);
}

static void evict_locked(struct buffer *buffer)
{
    assert(buffer->references == 0 && !buffer->is_dirty); /* B4 */
    list_remove(&buffer->node);
    hash_remove_locked(buffer);
    settle_locked(buffer);
}

/* ---- Room for one more ------------------------------------------------------------------------------- */

static struct buffer *buffer_create(void)
{
    struct buffer *buffer = pool_alloc(&cache.pool);
    if (!buffer)
        return NULL;
    memset(buffer, 0, sizeof(*buffer));
    buffer->data = page_alloc(0);
    if (!buffer->data) {
        pool_free(&cache.pool, buffer);
        return NULL;
    }
    list_init(&buffer->node);
    list_init(&buffer->dirty_node);
    wait_queue_init(&buffer->waiters);
    return buffer;
}

/* One buffer more on the free list, within the limit. The count goes up first, so that threads which grow
 * the cache at once stay within it together. */
static bool grow(void)
{
    struct buffer *buffer;
    uint64_t flags = spin_lock_irq(&cache.lock);
    bool has_room = cache.stats.buffers < cache.stats.buffers_max;
    cache.stats.buffers += has_room;
    spin_unlock_irq(&cache.lock, flags);
    if (!has_room)
        return false;
    buffer = buffer_create();
    flags = spin_lock_irq(&cache.lock);
    if (buffer)
        list_push_back(&cache.free, &buffer->node);
    else
        cache.stats.buffers--;
    spin_unlock_irq(&cache.lock, flags);
    return buffer != NULL;
}

/* A free buffer, on no list; evicts only once the cache cannot grow. NULL: make room first. */
static struct buffer *take_locked(bool can_grow)
{
    if (list_is_empty(&cache.free)) {
        if (can_grow && cache.stats.buffers < cache.stats.buffers_max)
            return NULL;
        if (list_is_empty(&cache.clean))
            return NULL;
        evict_locked(list_entry(cache.clean.next, struct buffer, node));
        cache.stats.evictions++;
    }
    return list_entry(list_pop_front(&cache.free), struct buffer, node);
}

static void assign_locked(struct buffer *buffer, struct block_device *device, uint64_t block)
{
    assert(buffer->state == BUFFER_FREE && buffer->references == 0 && !buffer->is_dirty);
    buffer->device = device;
    buffer->block = block;
    buffer->error = 0;
    buffer->is_prefetch = false;
    hash_add_locked(buffer);
    set_state_locked(buffer, BUFFER_BUSY);
}

static int write_back_unreferenced(void);

/* The buffer of (device, block), referenced: found, or assigned in state BUSY with *is_mine set: then the
 * caller brings it to VALID or FAILED. */
static int claim(struct block_device *device, uint64_t block, struct buffer **result, bool *is_mine)
{
    bool can_grow = true;
    for (;;) {
        uint64_t flags = spin_lock_irq(&cache.lock);
        struct buffer *buffer = find_locked(device, block);
        *is_mine = !buffer;
        if (buffer) {
            cache.stats.hits++;
        } else if ((buffer = take_locked(can_grow)) != NULL) {
            assign_locked(buffer, device, block);
            cache.stats.misses++;
        }
        if (buffer)
            reference_locked(buffer);
        spin_unlock_irq(&cache.lock, flags);
        *result = buffer;
        if (buffer)
            return 0;
        if (can_grow) {
            can_grow = grow();
            continue;
        }
        int error = write_back_unreferenced();
        if (error)
            return error;
    }
}

/* ---- Reading ----------------------------------------------------------------------------------------- */

static uint64_t device_blocks(const struct block_device *device)
{
    return div_round_up(block_device_sectors(device), BLOCK_SECTORS);
}

static int check_block(const struct block_device *device, uint64_t block)
{
    if (block >= device_blocks(device))
        return -EINVAL;
    return block_device_limits(device)->logical_block_bytes > BCACHE_BLOCK_BYTES ? -EOPNOTSUPP : 0;
}

/* The last block of a device may be cut short: only its existing sectors take part in I/O. */
static void prepare_io(struct buffer *buffer, enum block_operation operation,
                       void (*done)(struct block_request *))
{
    uint64_t sector = buffer->block * BLOCK_SECTORS;
    uint64_t sectors = MIN(block_device_sectors(buffer->device) - sector, (uint64_t)BLOCK_SECTORS);
    uint32_t bytes = (uint32_t)sectors * BLOCK_SECTOR_BYTES;
    assert(sectors > 0);
    if (bytes < BCACHE_BLOCK_BYTES)
        memset((uint8_t *)buffer->data + bytes, 0, BCACHE_BLOCK_BYTES - bytes);
    block_request_init(&buffer->io, buffer->device, operation, sector, buffer->data, bytes, done);
}

/* BUSY -> VALID or FAILED. Any context. */
static void finish_read(struct buffer *buffer, int error)
{
    uint64_t flags = spin_lock_irq(&cache.lock);
    bool is_prefetch = buffer->is_prefetch;
    assert(buffer->state == BUFFER_BUSY);
    buffer->error = error;
    if (error) {
        cache.stats.reads_failed++;
        if (buffer->is_hashed)
            hash_remove_locked(buffer); /* B3 */
    }
    set_state_locked(buffer, error ? BUFFER_FAILED : BUFFER_VALID);
    if (is_prefetch) {
        list_remove(&buffer->node);
        cache.prefetching_count--;
    }
    bool has_waiters = buffer->references > (is_prefetch ? 0 : 1);
    if (buffer->references == 0)
        settle_locked(buffer);
    spin_unlock_irq(&cache.lock, flags);
    if (has_waiters)
        wait_wake_all(&buffer->waiters); /* B5: it may be another block's by now; then this is spurious */
}

static void prefetch_done(struct block_request *request)
{
    struct buffer *buffer = container_of(request, struct buffer, io);
    finish_read(buffer, block_status_to_error(request->status));
}

static int read_now(struct buffer *buffer)
{
    int error;
    prepare_io(buffer, BLOCK_READ, NULL);
    error = block_submit_and_wait(&buffer->io);
    finish_read(buffer, error);
    return error;
}

static int wait_until_read(struct buffer *buffer)
{
    if (unlikely(buffer_state(buffer) == BUFFER_BUSY)) {
        /* What this thread waits for could otherwise sit in its own plug for ever. */
        assert(thread_current()->plug == NULL);
        wait_event(&buffer->waiters, buffer_state(buffer) != BUFFER_BUSY);
    }
    return buffer_state(buffer) == BUFFER_FAILED ? buffer->error : 0;
}

int bcache_get(struct block_device *device, uint64_t block, struct buffer **result)
{
    struct buffer *buffer;
    bool is_mine, is_again;
    int error = check_block(device, block);
    if (error)
        return error;
    do {
        error = claim(device, block, &buffer, &is_mine);
        if (error)
            return error;
        error = is_mine ? read_now(buffer) : wait_until_read(buffer);
        is_again = error && buffer->is_prefetch;
        if (error)
            bcache_put(buffer);
    } while (is_again);
    assert(error || buffer_state(buffer) == BUFFER_VALID);
    *result = error ? NULL : buffer;
    return error;
}

int bcache_get_new(struct block_device *device, uint64_t block, struct buffer **result)
{
    struct buffer *buffer;
    bool is_mine;
    int error = check_block(device, block);
    while (!error) {
        error = claim(device, block, &buffer, &is_mine);
        if (error)
            break;
        if (is_mine) {
            memset(buffer->data, 0, BCACHE_BLOCK_BYTES);
            finish_read(buffer, 0);
        } else if (wait_until_read(buffer)) {
            bcache_put(buffer); /* the read failed, but nobody needs the old data: B3 makes this end */
            continue;
        }
        *result = buffer;
        break;
    }
    return error;
}

/* A buffer to read the block ahead into; NULL with *goes_on set when it is cached, else when to stop. */
static struct buffer *claim_for_prefetch(struct block_device *device, uint64_t block, bool *goes_on)
{
    for (bool can_grow = true;; can_grow = grow()) {
        SPIN_SCOPED_IRQ(&cache.lock);
        *goes_on = cache.prefetching_count < cache.stats.buffers_max / 4;
        if (!*goes_on || find_locked(device, block))
            return NULL;
        struct buffer *buffer = take_locked(can_grow);
        if (buffer) {
            assign_locked(buffer, device, block);
            buffer->is_prefetch = true;
            list_push_back(&cache.prefetching, &buffer->node);
            cache.prefetching_count++;
            cache.stats.misses++;
            return buffer;
        }
        *goes_on = can_grow;
        if (!can_grow)
            return NULL;
    }
}

static bool prefetch_one(struct block_device *device, uint64_t block)
{
    bool goes_on;
    struct buffer *buffer = claim_for_prefetch(device, block, &goes_on);
    if (buffer) {
        prepare_io(buffer, BLOCK_READ, prefetch_done);
        block_submit(&buffer->io);
    }
    return goes_on;
}

void bcache_prefetch(struct block_device *device, uint64_t block, uint32_t count)
{
    struct block_plug plug;
    block_plug(&plug);
    for (uint32_t i = 0; i < count; i++)
        if (check_block(device, block + i) || !prefetch_one(device, block + i))
            break;
    block_unplug(&plug);
}

/* ---- Writing ----------------------------------------------------------------------------------------- */

static void set_dirty_locked(struct buffer *buffer)
{
    if (buffer->is_dirty)
        return;
    buffer->is_dirty = true;
    list_push_back(&cache.dirty, &buffer->dirty_node);
    cache.stats.dirty++;
}

static void clean_locked(struct buffer *buffer)
{
    list_remove(&buffer->dirty_node);
    buffer->is_dirty = false;
    cache.stats.dirty--;
}

void bcache_mark_dirty(struct buffer *buffer)
{
    SPIN_SCOPED_IRQ(&cache.lock);
    assert(buffer->references > 0 && buffer->state == BUFFER_VALID);
    set_dirty_locked(buffer);
}

/* A group of writes that one thread waits for. */
struct write_batch {
    struct buffer *buffers[WRITE_BATCH];
    uint32_t count;
    uint32_t left; /* a */
    struct completion all_done;
};

static void write_done(struct block_request *request)
{
    struct write_batch *batch = request->owner;
    if (__atomic_sub_fetch(&batch->left, 1, __ATOMIC_ACQ_REL) == 0)
        complete(&batch->all_done);
}

/* Takes dirty buffers that this pass has not tried yet off the dirty list, referenced. What a holder changes
 * during the write makes the buffer dirty again. */
static void collect_dirty(struct block_device *device, bool unreferenced_only, struct write_batch *batch)
{
    SPIN_SCOPED_IRQ(&cache.lock);
    batch->count = 0;
    list_foreach_safe (node, &cache.dirty) {
        struct buffer *buffer = list_entry(node, struct buffer, dirty_node);
        if (buffer->written_in_pass == cache.writeback_pass || (device && buffer->device != device) ||
            (unreferenced_only && buffer->references > 0))
            continue;
        reference_locked(buffer);
        clean_locked(buffer);
        buffer->written_in_pass = cache.writeback_pass;
        batch->buffers[batch->count++] = buffer;
        if (batch->count == WRITE_BATCH)
            break;
    }
}

static void submit_batch(struct write_batch *batch)
{
    struct block_plug plug;
    batch->left = batch->count;
    completion_init(&batch->all_done);
    block_plug(&plug);
    for (uint32_t i = 0; i < batch->count; i++) {
        prepare_io(batch->buffers[i], BLOCK_WRITE, write_done);
        batch->buffers[i]->io.owner = batch;
        block_submit(&batch->buffers[i]->io);
    }
    block_unplug(&plug);
    completion_wait(&batch->all_done);
}

/* Lets go of a written batch; failed buffers are dirty again (B4). The first error. */
static int finish_batch(struct write_batch *batch)
{
    int first_error = 0;
    SPIN_SCOPED_IRQ(&cache.lock);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct buffer *buffer = batch->buffers[i];
        int error = block_status_to_error(buffer->io.status);
        if (error) {
            cache.stats.writes_failed++;
            set_dirty_locked(buffer);
            first_error = first_error ? first_error : error;
        }
        put_locked(buffer);
    }
    return first_error;
}

static int write_back_locked(struct block_device *device, bool unreferenced_only, uint32_t *written)
{
    struct write_batch batch;
    int first_error = 0;
    assert(mutex_is_held(&cache.writeback) && thread_current()->plug == NULL);
    cache.writeback_pass++;
    *written = 0;
    do {
        collect_dirty(device, unreferenced_only, &batch);
        if (batch.count == 0)
            break;
        submit_batch(&batch);
        int error = finish_batch(&batch);
        first_error = first_error ? first_error : error;
        *written += batch.count;
    } while (!unreferenced_only); /* for room, one batch is enough */
    return first_error;
}

/* Makes clean buffers out of dirty ones, for eviction. */
static int write_back_unreferenced(void)
{
    uint32_t written;
    int error;
    MUTEX_SCOPED(&cache.writeback);
    error = write_back_locked(NULL, true, &written);
    SPIN_SCOPED_IRQ(&cache.lock);
    if (!list_is_empty(&cache.clean) || !list_is_empty(&cache.free))
        return 0;
    return error ? error : -ENOMEM;
}

int bcache_sync(struct block_device *device)
{
    uint32_t written;
    MUTEX_SCOPED(&cache.writeback);
    int error = write_back_locked(device, false, &written);
    int sync_error = block_sync(device);
    return error ? error : sync_error;
}

/* ---- The rest ---------------------------------------------------------------------------------------- */

void bcache_drop(struct block_device *device)
{
    SPIN_SCOPED_IRQ(&cache.lock);
    list_foreach_safe (node, &cache.clean) {
        struct buffer *buffer = list_entry(node, struct buffer, node);
        if (!device || buffer->device == device)
            evict_locked(buffer);
    }
    /* What is being read ahead now must not turn up later as what the block held before. */
    list_foreach (node, &cache.prefetching) {
        struct buffer *buffer = list_entry(node, struct buffer, node);
        if ((!device || buffer->device == device) && buffer->references == 0 && buffer->is_hashed)
            hash_remove_locked(buffer);
    }
}

/* A device that nobody uses any more; under `writeback`, so that nobody has one of its buffers in hand. */
static void forget(struct block_device *device)
{
    uint32_t lost = 0;
    if (!cache.hash)
        return;
    MUTEX_SCOPED(&cache.writeback);
    uint64_t flags = spin_lock_irq(&cache.lock);
    list_foreach_safe (node, &cache.dirty) {
        struct buffer *buffer = list_entry(node, struct buffer, dirty_node);
        if (buffer->device == device) {
            clean_locked(buffer);
            settle_locked(buffer);
            lost++;
        }
    }
    spin_unlock_irq(&cache.lock, flags);
    bcache_drop(device);
    if (lost > 0)
        log_error("bcache", "%s: %u dirty blocks are lost", block_device_name(device), lost);
}
BLOCK_RELEASE_HOOK(bcache, forget);

void bcache_stats(struct bcache_stats *stats)
{
    SPIN_SCOPED_IRQ(&cache.lock);
    *stats = cache.stats;
}

void bcache_shutdown(void)
{
    struct list *node;
    bcache_drop(NULL);
    assert(cache.stats.referenced == 0 && cache.stats.dirty == 0 && cache.prefetching_count == 0);
    while ((node = list_pop_front(&cache.free)) != NULL) {
        struct buffer *buffer = list_entry(node, struct buffer, node);
        page_free(buffer->data, 0);
        pool_free(&cache.pool, buffer);
        cache.stats.buffers--;
    }
    assert(cache.stats.buffers == 0);
    heap_free(cache.hash);
    cache.hash = NULL;
}
