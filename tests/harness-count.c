/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness-count.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

/* The linker's names: __real_x is x, and calls of x come to __wrap_x. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_reallocarray(void *old, size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **memory, size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
int __real_vasprintf(char **text, const char *format, va_list arguments);
void __real_free(void *old);
void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd,
                  off_t offset);
int __real_munmap(void *at, size_t bytes);
void *__real_mremap(void *at, size_t old, size_t bytes, int flags, ...);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_reallocarray(void *old, size_t count, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);
int __wrap_vasprintf(char **text, const char *format, va_list arguments);
int __wrap_asprintf(char **text, const char *format, ...);
void __wrap_free(void *old);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd,
                  off_t offset);
int __wrap_munmap(void *at, size_t bytes);
void *__wrap_mremap(void *at, size_t old, size_t bytes, int flags, ...);

/* Where the call came from. */
#define CALLER() __builtin_return_address(0)

/* [start, end) is in use.  */
struct block {
    uintptr_t key;              /* ~start: a plain pointer here would hide a
                                 * leak from sanitizers and valgrind; 0: free */
    size_t bytes;
    const void *caller;
    unsigned long serial;       /* counts all that is made */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned long serial;    /* of what was made last */
static unsigned long first;     /* what has a higher one is counted */
static unsigned long fail_nth;
static bool failed;

/* Allocations: a hash table, open addressing. */
static struct {
    struct block *slot;
    size_t slots;               /* a power of two, or 0 */
    size_t used;
} heap;

/* Mappings: in no order, and they do not overlap. */
static struct {
    struct block *block;
    size_t count, room;
} maps;

/* A fork while another thread counts must not leave the mutex locked. */
static void lock(void)
{
    pthread_mutex_lock(&mutex);
}

static void unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

__attribute__((constructor))
static void guard_forks(void)
{
    pthread_atfork(lock, unlock, unlock);
}

void *harness_uncounted_realloc(void *old, size_t bytes)
{
    void *memory = __real_realloc(old, bytes);

    if (!memory) {
        fputs("harness: out of memory\n", stderr);
        _exit(EXIT_FAILURE);
    }
    return memory;
}

void harness_uncounted_free(void *old)
{
    __real_free(old);
}

static size_t heap_hash(uintptr_t key)
{
    return (size_t)((uint64_t)key * 0x9e3779b97f4a7c15u >> 20) &
           (heap.slots - 1);
}

/* The slot of @key, or the free one where it would go. */
static struct block *heap_slot(uintptr_t key)
{
    size_t i = heap_hash(key);

    while (heap.slot[i].key && heap.slot[i].key != key) {
        i = (i + 1) & (heap.slots - 1);
    }
    return &heap.slot[i];
}

static void heap_grow(void)
{
    struct block *old = heap.slot;
    size_t slots = heap.slots;

    heap.slots = slots ? 2 * slots : 1024;
    heap.slot = harness_uncounted_realloc(NULL,
                                          heap.slots * sizeof(*heap.slot));
    memset(heap.slot, 0, heap.slots * sizeof(*heap.slot));
    for (size_t i = 0; i < slots; i++) {
        if (old[i].key) {
            *heap_slot(old[i].key) = old[i];
        }
    }
    __real_free(old);
}

static void heap_add(struct block block)
{
    struct block *slot;

    if (2 * (heap.used + 1) > heap.slots) {
        heap_grow();
    }
    slot = heap_slot(block.key);
    if (!slot->key) {
        heap.used++;
    }
    *slot = block;
}

/* Take an allocation out; its key is 0 if it is not counted. */
static struct block heap_take(uintptr_t key)
{
    struct block taken = { 0 };
    size_t hole, i;

    if (!heap.slots || !heap_slot(key)->key) {
        return taken;
    }
    hole = (size_t)(heap_slot(key) - heap.slot);
    taken = heap.slot[hole];
    heap.used--;

    /* close the gap: whatever the search would no longer reach moves up */
    for (i = (hole + 1) & (heap.slots - 1); heap.slot[i].key;
         i = (i + 1) & (heap.slots - 1)) {
        size_t home = heap_hash(heap.slot[i].key);

        if (((i - home) & (heap.slots - 1)) >=
            ((i - hole) & (heap.slots - 1))) {
            heap.slot[hole] = heap.slot[i];
            hole = i;
        }
    }
    heap.slot[hole] = (struct block){ 0 };
    return taken;
}

/* Is this the allocation that has to fail? */
static bool must_fail(void)
{
    bool yes;

    lock();
    yes = fail_nth && --fail_nth == 0;
    if (yes) {
        failed = true;
        errno = ENOMEM;
    }
    unlock();
    return yes;
}

static void *made(void *memory, size_t bytes, const void *caller)
{
    if (memory) {
        lock();
        heap_add((struct block){ ~(uintptr_t)memory, bytes, caller,
                                 ++serial });
        unlock();
    }
    return memory;
}

void *__wrap_malloc(size_t bytes)
{
    return must_fail() ? NULL : made(__real_malloc(bytes), bytes, CALLER());
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return must_fail() ? NULL : made(__real_calloc(count, bytes),
                                     count * bytes, CALLER());
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return must_fail() ? NULL : made(__real_aligned_alloc(alignment, bytes),
                                     bytes, CALLER());
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    int error = must_fail() ? ENOMEM :
                __real_posix_memalign(memory, alignment, bytes);

    if (!error) {
        made(*memory, bytes, CALLER());
    }
    return error;
}

/* The old block is taken out first: another thread may get its address. */
static void *resize(void *old, size_t bytes, const void *caller)
{
    struct block before;
    void *memory;

    lock();
    before = heap_take(~(uintptr_t)old);
    unlock();
    memory = __real_realloc(old, bytes);
    if (!memory && bytes && before.key) {
        lock();
        heap_add(before);
        unlock();
    }
    return made(memory, bytes, caller);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return must_fail() ? NULL : resize(old, bytes, CALLER());
}

void *__wrap_reallocarray(void *old, size_t count, size_t bytes)
{
    size_t product;

    if (__builtin_mul_overflow(count, bytes, &product)) {
        errno = ENOMEM;
        return NULL;
    }
    return must_fail() ? NULL : resize(old, product, CALLER());
}

char *__wrap_strdup(const char *text)
{
    return must_fail() ? NULL : made(__real_strdup(text), strlen(text) + 1,
                                     CALLER());
}

char *__wrap_strndup(const char *text, size_t bytes)
{
    return must_fail() ? NULL : made(__real_strndup(text, bytes),
                                     strnlen(text, bytes) + 1, CALLER());
}

int __wrap_vasprintf(char **text, const char *format, va_list arguments)
{
    int length = must_fail() ? -1 :
                 __real_vasprintf(text, format, arguments);

    if (length >= 0) {
        made(*text, (size_t)length + 1, CALLER());
    }
    return length;
}

int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list arguments;
    int length = -1;

    va_start(arguments, format);
    if (!must_fail()) {
        length = __real_vasprintf(text, format, arguments);
    }
    va_end(arguments);
    if (length >= 0) {
        made(*text, (size_t)length + 1, CALLER());
    }
    return length;
}

void __wrap_free(void *old)
{
    int saved = errno;

    lock();
    heap_take(~(uintptr_t)old);
    unlock();
    errno = saved;
    __real_free(old);
}

static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (bytes + page - 1) / page * page;
}

static void maps_add(uintptr_t start, size_t bytes, const void *caller,
                     unsigned long number)
{
    if (maps.count == maps.room) {
        maps.room = maps.room ? 2 * maps.room : 64;
        maps.block = harness_uncounted_realloc(maps.block, maps.room *
                                               sizeof(*maps.block));
    }
    maps.block[maps.count++] = (struct block){ ~start, bytes, caller,
                                               number };
}

/* Nothing is mapped at [start, start + bytes) any more. */
static void maps_take(uintptr_t start, size_t bytes)
{
    uintptr_t end = start + bytes;

    for (size_t i = maps.count; i-- > 0;) {
        struct block old = maps.block[i];
        uintptr_t from = ~old.key, to = from + old.bytes;

        if (to <= start || end <= from) {
            continue;
        }
        maps.block[i] = maps.block[--maps.count];
        if (from < start) {
            maps_add(from, start - from, old.caller, old.serial);
        }
        if (end < to) {
            maps_add(end, to - end, old.caller, old.serial);
        }
    }
}

static void mapped(void *at, size_t bytes, const void *caller)
{
    bytes = whole_pages(bytes);
    lock();
    maps_take((uintptr_t)at, bytes);
    maps_add((uintptr_t)at, bytes, caller, ++serial);
    unlock();
}

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd,
                  off_t offset)
{
    void *memory = __real_mmap(at, bytes, protection, flags, fd, offset);

    if (memory != MAP_FAILED) {
        mapped(memory, bytes, CALLER());
    }
    return memory;
}

int __wrap_munmap(void *at, size_t bytes)
{
    int ret;

    /* both under the lock: another thread may be given the address */
    lock();
    ret = __real_munmap(at, bytes);
    if (!ret) {
        maps_take((uintptr_t)at, whole_pages(bytes));
    }
    unlock();
    return ret;
}

void *__wrap_mremap(void *at, size_t old, size_t bytes, int flags, ...)
{
    void *target = NULL, *memory;
    va_list arguments;

    if (flags & MREMAP_FIXED) {
        va_start(arguments, flags);
        target = va_arg(arguments, void *);
        va_end(arguments);
    }
    memory = __real_mremap(at, old, bytes, flags, target);
    if (memory != MAP_FAILED) {
        lock();
        maps_take((uintptr_t)at, whole_pages(old));
        unlock();
        mapped(memory, bytes, CALLER());
    }
    return memory;
}

void harness_count_begin(void)
{
    lock();
    first = serial;
    unlock();
}

static void tell(harness_left_fn *left, const char *what,
                 const struct block *block)
{
    const char *file, *slash;
    char text[512];
    Dl_info info;

    if (!dladdr(block->caller, &info)) {
        snprintf(text, sizeof(text), "%s of %zu bytes, made at %p", what,
                 block->bytes, block->caller);
    } else if (info.dli_sname) {
        snprintf(text, sizeof(text), "%s of %zu bytes, made in %s()", what,
                 block->bytes, info.dli_sname);
    } else {
        /* a static function: its offset is for addr2line */
        slash = strrchr(info.dli_fname, '/');
        file = slash ? slash + 1 : info.dli_fname;
        snprintf(text, sizeof(text), "%s of %zu bytes, made at %s+0x%tx",
                 what, block->bytes, file,
                 (const char *)block->caller - (const char *)info.dli_fbase);
    }
    left(text);
}

void harness_count_end(harness_left_fn *left)
{
    lock();
    for (size_t i = 0; i < heap.slots; i++) {
        if (heap.slot[i].key && heap.slot[i].serial > first) {
            tell(left, "allocation", &heap.slot[i]);
        }
    }
    for (size_t i = 0; i < maps.count; i++) {
        if (maps.block[i].serial > first) {
            tell(left, "mapping", &maps.block[i]);
        }
    }
    unlock();
}

size_t harness_count_allocations(void)
{
    size_t count = 0;

    lock();
    for (size_t i = 0; i < heap.slots; i++) {
        count += heap.slot[i].key && heap.slot[i].serial > first;
    }
    unlock();
    return count;
}

void harness_count_fail(unsigned long nth)
{
    lock();
    fail_nth = nth;
    failed = false;
    unlock();
}

bool harness_count_failed(void)
{
    bool yes;

    lock();
    yes = failed;
    unlock();
    return yes;
}
