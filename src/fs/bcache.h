/* SPDX-License-Identifier: MIT */
/* The buffer cache: one 4096-byte buffer per (device, block), shared by all users of the device.
 *
 * A buffer is found or made by bcache_get, which returns it referenced and valid or an error; it is not
 * evicted while referenced. Buffer states and who moves one between them:
 *     FREE -> BUSY     bcache_get on a miss takes the least recently used unreferenced buffer
 *     BUSY -> VALID    the read's done, in interrupt context
 *     BUSY -> FAILED   the same, on an error: waiters get the errno, the next bcache_get reads again
 *     VALID -> DIRTY   bcache_mark_dirty, by a holder
 *     DIRTY -> VALID   writeback's done
 *     VALID, FAILED -> FREE  eviction
 * A failed read never serves data; a failed write keeps the data dirty and is reported by bcache_sync.
 * Thread context. The request is embedded in the buffer: no allocation on the way. */
#ifndef FS_BCACHE_H
#define FS_BCACHE_H

#include <drivers/block/block.h>

#define BCACHE_BLOCK_BYTES 4096u

struct buffer; /* opaque; data through buffer_data */

/* `bcache.size=` limits it; default: 64 MiB, at most an eighth of the RAM. Once. */
void bcache_init(void);
/* What bcache_init does once it knows the limit; for programs on the host. At least BCACHE_BUFFERS_MIN
 * buffers, whatever `limit_bytes` says. False without memory for the hash table. */
#define BCACHE_BUFFERS_MIN 16u
must_check bool bcache_configure(uint64_t limit_bytes);
/* Frees everything: nothing may be referenced, in flight or dirty. For programs on the host. */
void bcache_shutdown(void);

/* Sleeps for the read on a miss. -EIO and other errnos of the device; -ENOMEM when every buffer is
 * referenced; -EINVAL for a block past the device's end; -EOPNOTSUPP when the device's logical block is
 * larger than a buffer. A block that lies partly past the end is padded with zeros. No plug may be open. */
must_check int bcache_get(struct block_device *device, uint64_t block, struct buffer **buffer);
/* The same without reading: for a block that will be overwritten whole; zeroed if it was not cached. */
must_check int bcache_get_new(struct block_device *device, uint64_t block, struct buffer **buffer);
void bcache_put(struct buffer *buffer);
/* Starts reading up to `count` blocks that are not cached, in one plug; does not wait. A hint: it stops when
 * the device ends, or when a quarter of the cache is being read ahead. */
void bcache_prefetch(struct block_device *device, uint64_t block, uint32_t count);

void *buffer_data(struct buffer *buffer);
/* By a holder, after it changed the data. The holder keeps others off the data: the cache does not lock it.
 */
void bcache_mark_dirty(struct buffer *buffer);
/* Writes all dirty buffers of `device` (NULL: of all), waits, then flushes the device. The first error. */
must_check int bcache_sync(struct block_device *device);
/* Drops all unreferenced clean buffers of `device` (NULL: all). For cold-cache measurements and umount. */
void bcache_drop(struct block_device *device);

struct bcache_stats {
    uint64_t hits, misses, evictions, reads_failed, writes_failed;
    uint32_t buffers, buffers_max, referenced, dirty;
};
void bcache_stats(struct bcache_stats *stats);

#endif
