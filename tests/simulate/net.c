/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors, and the sockets between processes: bytes arrive in whatever
 * pieces and whenever the seed says, in order on each link, in any order
 * between links.
 */
#include "sim.h"

#include <errno.h>
#include <string.h>

#include "os.h"

enum {
    DESCRIPTORS = 128,
    FIRST_FD = 1000,
    RING = 16384,               /* more than any plan has room for */
    PASSED = 8,
    BACKLOG = 8
};

enum kind { NOTHING, STREAM, LISTENER, WAKER, OBJECT };

struct backlog {
    unsigned stream;
};

struct descriptor {
    enum kind kind;
    struct process *process;
    unsigned stream, end;       /* STREAM */
    struct object *object;      /* OBJECT */
    bool writable;
    unsigned origin;            /* the stream that it came by */
    bool awake;                 /* WAKER */
    char path[32];              /* LISTENER */
    struct backlog backlog[BACKLOG];
    unsigned waiting;
};

/* One direction of a stream. */
struct pipe {
    uint8_t ring[RING];
    uint64_t sent, arrived, taken;      /* positions */
    struct {
        struct object *object;
        bool writable;
        uint64_t at;
    } passed[PASSED];
    unsigned passed_count;
    bool ended, end_arrived;    /* by its writer */
    bool reset;                 /* its writer left something unread */
    int64_t stalled;
};

struct stream {
    unsigned open;              /* ends */
    bool closed[2];
    unsigned first;             /* the end that was closed first */
    struct process *process[2];
    struct pipe pipe[2];        /* [end]: what that end sends */
};

static struct descriptor table[DESCRIPTORS];
static struct stream streams[MONITOR_STREAMS];
static unsigned stream_count;   /* number 0 is not used */

void net_reset(void)
{
    memset(table, 0, sizeof(table));
    stream_count = 1;
}

static struct descriptor *entry(int fd)
{
    if (fd < FIRST_FD || fd >= FIRST_FD + DESCRIPTORS ||
        table[fd - FIRST_FD].kind == NOTHING) {
        return NULL;
    }
    return &table[fd - FIRST_FD];
}

/* The same, and it has to be this process's. */
static struct descriptor *own(int fd)
{
    struct descriptor *descriptor = entry(fd);

    SIM_CHECK(descriptor, "a closed descriptor is used");
    SIM_CHECK(!fiber_current ||
              descriptor->process == fiber_current->process,
              "another process's descriptor is used");
    return descriptor;
}

static int open_fd(enum kind kind)
{
    int i;

    if (sim_fault("EMFILE")) {
        return -EMFILE;
    }
    for (i = 0; i < DESCRIPTORS; i++) {
        if (table[i].kind == NOTHING) {
            table[i] = (struct descriptor) {
                .kind = kind,
                .process = fiber_current ? fiber_current->process : NULL,
            };
            return FIRST_FD + i;
        }
    }
    sim_fail("the simulation has too few descriptors");
    return -EMFILE;
}

size_t net_descriptors(const struct process *process)
{
    size_t count = 0;
    unsigned i;

    for (i = 0; i < DESCRIPTORS; i++) {
        count += table[i].kind != NOTHING && table[i].process == process;
    }
    return count;
}

/* --- streams ------------------------------------------------------------- */

static void drop_passed(struct pipe *pipe)
{
    while (pipe->passed_count > 0) {
        memory_unref(pipe->passed[--pipe->passed_count].object);
    }
}

static void close_end(unsigned number, unsigned end)
{
    struct stream *stream = &streams[number];
    struct pipe *out = &stream->pipe[end];
    struct pipe *in = &stream->pipe[1 - end];

    stream->first = stream->closed[1 - end] ? stream->first : end;
    stream->closed[end] = true;
    stream->open--;
    out->ended = true;
    out->reset = in->arrived > in->taken;
    drop_passed(in);
    if (stream->closed[1 - end]) {
        drop_passed(out);
    }
}

/* A process that is killed has not sent all that it meant to. */
static void cut(unsigned number, unsigned end)
{
    struct pipe *out = &streams[number].pipe[end];
    uint64_t left = out->sent - out->arrived;

    if (left == 0 || sim_chance(1, 2)) {
        return;
    }
    out->sent -= sim_below((unsigned)left + 1);
    while (out->passed_count > 0 &&
           out->passed[out->passed_count - 1].at >= out->sent) {
        memory_unref(out->passed[--out->passed_count].object);
    }
}

bool net_ended_by(unsigned stream, const struct process *exporter)
{
    unsigned end;

    for (end = 0; end < 2 && stream > 0; end++) {
        if (streams[stream].process[end] == exporter &&
            streams[stream].closed[end] && streams[stream].first == end) {
            return true;
        }
    }
    return false;
}

unsigned net_stream_of(int fd)
{
    const struct descriptor *descriptor = entry(fd);

    return descriptor && descriptor->kind == STREAM ? descriptor->stream : 0;
}

bool net_ended(unsigned stream)
{
    return streams[stream].closed[0] || streams[stream].closed[1];
}

static bool has_news(const struct stream *stream, unsigned end)
{
    const struct pipe *pipe = &stream->pipe[end];

    return !stream->closed[1 - end] && world.now >= pipe->stalled &&
           (pipe->arrived < pipe->sent || (pipe->ended && !pipe->end_arrived));
}

bool net_can_deliver(void)
{
    unsigned i;

    for (i = 1; i < stream_count; i++) {
        if (has_news(&streams[i], 0) || has_news(&streams[i], 1)) {
            return true;
        }
    }
    return false;
}

static void deliver(unsigned number, unsigned end)
{
    struct pipe *pipe = &streams[number].pipe[end];
    unsigned left = (unsigned)(pipe->sent - pipe->arrived);

    if (left == 0) {
        pipe->end_arrived = true;
        sim_trace("link %u.%u: the end arrives", number, end);
        return;
    }
    if (left > world.plan.piece) {
        left = world.plan.piece;
    }
    left = sim_chance(1, 2) ? left : 1 + sim_below(left);
    pipe->arrived += left;
    totals.deliveries++;
    totals.bytes += left;
}

void net_deliver(void)
{
    unsigned found[2 * MONITOR_STREAMS];
    unsigned count = 0, i, pick;

    for (i = 2; i < 2 * stream_count; i++) {
        if (has_news(&streams[i / 2], i % 2)) {
            found[count++] = i;
        }
    }
    pick = found[sim_below(count)];
    deliver(pick / 2, pick % 2);
}

int64_t net_deadline(void)
{
    int64_t earliest = FOREVER;
    unsigned i;

    for (i = 2; i < 2 * stream_count; i++) {
        const struct pipe *pipe = &streams[i / 2].pipe[i % 2];

        if (streams[i / 2].open > 0 && pipe->stalled > world.now &&
            pipe->stalled < earliest) {
            earliest = pipe->stalled;
        }
    }
    return earliest;
}

void net_stall(int64_t until)
{
    unsigned i = 2 * stream_count - 2;

    if (i > 0) {
        i = 2 + sim_below(i);
        streams[i / 2].pipe[i % 2].stalled = until;
        sim_trace("link %u.%u is delayed until %lld ms", i / 2, i % 2,
                  (long long)(until / MS));
    }
}

static unsigned room(const struct pipe *pipe)
{
    unsigned used = (unsigned)(pipe->sent - pipe->taken);

    return used < world.plan.room ? world.plan.room - used : 0;
}

short net_poll(int fd, short events)
{
    struct descriptor *descriptor = entry(fd);
    const struct stream *stream;
    const struct pipe *in;
    short ready = 0;

    if (fd < 0) {
        return 0;               /* as poll(2) has it */
    }
    if (!descriptor) {
        return POLLNVAL;
    }
    switch (descriptor->kind) {
    case WAKER:
        return descriptor->awake ? events & POLLIN : 0;
    case LISTENER:
        return descriptor->waiting ? events & POLLIN : 0;
    case STREAM:
        break;
    default:
        return 0;
    }
    stream = &streams[descriptor->stream];
    in = &stream->pipe[1 - descriptor->end];
    if (in->arrived > in->taken || in->end_arrived) {
        ready |= POLLIN;
    }
    if (in->end_arrived) {
        ready |= POLLRDHUP;
    }
    if (room(&stream->pipe[descriptor->end]) > 0 || in->end_arrived) {
        ready |= POLLOUT;
    }
    return (short)((ready & events) | (in->end_arrived ? POLLHUP : 0));
}

static void give_back(struct descriptor *descriptor)
{
    unsigned i;

    switch (descriptor->kind) {
    case STREAM:
        close_end(descriptor->stream, descriptor->end);
        break;
    case OBJECT:
        memory_unref(descriptor->object);
        break;
    case LISTENER:
        for (i = 0; i < descriptor->waiting; i++) {
            close_end(descriptor->backlog[i].stream, 1);
        }
        break;
    default:
        break;
    }
    descriptor->kind = NOTHING;
}

void net_release_process(struct process *process)
{
    unsigned i;

    for (i = 0; i < DESCRIPTORS; i++) {
        if (table[i].kind != NOTHING && table[i].process == process) {
            if (table[i].kind == STREAM) {
                cut(table[i].stream, table[i].end);
            }
            give_back(&table[i]);
        }
    }
}

int net_object_fd(struct object *object, bool writable)
{
    int fd = open_fd(OBJECT);

    if (fd >= 0) {
        entry(fd)->object = object;
        entry(fd)->writable = writable;
        memory_ref(object);
    }
    return fd;
}

struct object *net_object_of(int fd)
{
    struct descriptor *descriptor = entry(fd);

    return descriptor && descriptor->kind == OBJECT ? descriptor->object :
                                                      NULL;
}

/* --- lib/os.h: descriptors ----------------------------------------------- */

int mx_os_poll(struct pollfd *fds, size_t count, int64_t deadline)
{
    return fiber_poll(fds, count, deadline);
}

void mx_os_close(int fd)
{
    if (fd >= 0) {
        give_back(own(fd));
    }
}

int mx_os_duplicate(int fd)
{
    struct descriptor *old = own(fd);
    int copy = open_fd(OBJECT);

    SIM_CHECK(old->kind == OBJECT, "only memory is duplicated");
    if (copy >= 0) {
        entry(copy)->object = old->object;
        entry(copy)->writable = old->writable;
        memory_ref(old->object);
    }
    return copy;
}

int mx_os_set_nonblocking(int fd)
{
    return own(fd) ? 0 : -EBADF;
}

static void pass(struct stream *stream, unsigned end, uint64_t at, int fd)
{
    struct descriptor *passed = own(fd);
    struct pipe *out = &stream->pipe[end];

    SIM_CHECK(passed->kind == OBJECT, "something but memory is passed");
    SIM_CHECK(out->passed_count < PASSED, "too many descriptors are passed");
    SIM_CHECK(!memory_retired(passed->object), "%s shares what it has "
              "withdrawn", passed->process->name);
    out->passed[out->passed_count].object = passed->object;
    out->passed[out->passed_count].writable = passed->writable;
    out->passed[out->passed_count].at = at;
    out->passed_count++;
    memory_ref(passed->object);
    totals.shares++;
}

/* How many bytes the parts have room for. */
static size_t sum_of(const struct iovec *parts, size_t count)
{
    size_t sum = 0;

    while (count-- > 0) {
        sum += parts[count].iov_len;
    }
    return sum;
}

/* @count bytes of the parts become the next in the ring, or the reverse. */
static void copy_ring(struct pipe *pipe, uint64_t at, size_t count,
                      const struct iovec *parts, bool in)
{
    size_t done = 0;

    while (count > 0) {
        size_t place = at % RING, piece = parts->iov_len - done;
        uint8_t *bytes = (uint8_t *)parts->iov_base + done;

        piece = piece < count ? piece : count;
        piece = piece < RING - place ? piece : RING - place;
        memcpy(in ? pipe->ring + place : bytes,
               in ? bytes : pipe->ring + place, piece);
        at += piece;
        count -= piece;
        done += piece;
        if (done == parts->iov_len) {
            parts++;
            done = 0;
        }
    }
}

/* The monitor hears what is about to count as sent. */
static void tell_monitor(const struct descriptor *sender, size_t count)
{
    const struct pipe *out =
        &streams[sender->stream].pipe[sender->end];
    size_t place = out->sent % RING;
    size_t first = count < RING - place ? count : RING - place;

    monitor_sent(sender->stream, sender->end, out->ring + place, first);
    if (count > first) {
        monitor_sent(sender->stream, sender->end, out->ring, count - first);
    }
}

ssize_t mx_os_send(int fd, const struct iovec *parts, size_t part_count,
                   int passed)
{
    struct descriptor *descriptor = own(fd);
    struct stream *stream = &streams[descriptor->stream];
    struct pipe *out = &stream->pipe[descriptor->end];
    size_t count = sum_of(parts, part_count);
    unsigned free_room = room(out);

    SIM_CHECK(descriptor->kind == STREAM, "what is no socket is sent to");
    SIM_CHECK(count > 0, "nothing is sent");
    if (stream->closed[1 - descriptor->end]) {
        return -EPIPE;
    }
    if (free_room == 0 ||
        (world.plan.fault_rate && !sim_below(20))) {
        return -EAGAIN;         /* no harm: poll says when */
    }
    if (sim_fault("send: ENOBUFS")) {
        return -ENOBUFS;
    }
    if (count > free_room) {
        count = free_room;
    }
    if (sim_chance(1, 8)) {
        count = 1 + sim_below((unsigned)count);
    }
    if (passed >= 0) {
        pass(stream, descriptor->end, out->sent, passed);
    }
    copy_ring(out, out->sent, count, parts, true);
    tell_monitor(descriptor, count);
    out->sent += count;
    return (ssize_t)count;
}

/* Take the descriptors that came with bytes before @end. */
static void take_passed(struct pipe *in, uint64_t end, unsigned origin,
                        struct mx_received_fds *fds)
{
    while (in->passed_count > 0 && in->passed[0].at < end) {
        int fd = open_fd(OBJECT);

        if (fd < 0) {
            world.lossy = true;
            fds->truncated = true;
            memory_unref(in->passed[0].object);
        } else {
            entry(fd)->object = in->passed[0].object;
            entry(fd)->writable = in->passed[0].writable;
            entry(fd)->origin = origin;
            fds->fd[fds->count++] = fd;
        }
        in->passed_count--;
        memmove(in->passed, in->passed + 1,
                in->passed_count * sizeof(in->passed[0]));
    }
}

/* One call never takes the descriptors of two. */
static unsigned readable(const struct pipe *in, size_t count)
{
    unsigned there = (unsigned)(in->arrived - in->taken);

    if (there > count) {
        there = (unsigned)count;
    }
    if (in->passed_count > 1 && in->passed[1].at < in->taken + there) {
        there = (unsigned)(in->passed[1].at - in->taken);
    }
    return there > 1 && sim_chance(1, 8) ? 1 + sim_below(there) : there;
}

ssize_t mx_os_receive(int fd, const struct iovec *parts, size_t part_count,
                      struct mx_received_fds *fds)
{
    struct descriptor *descriptor = own(fd);
    struct pipe *in =
        &streams[descriptor->stream].pipe[1 - descriptor->end];
    size_t count = sum_of(parts, part_count);
    unsigned there;

    fds->count = 0;
    fds->truncated = false;
    SIM_CHECK(count > 0, "a receive without room");
    if (in->arrived == in->taken) {
        if (!in->end_arrived) {
            polling_in_vain();
            return -EAGAIN;
        }
        if (in->reset) {
            in->reset = false;
            return -ECONNRESET;
        }
        return 0;
    }
    if (sim_fault("receive: ENOMEM")) {
        return -ENOMEM;
    }
    there = readable(in, count);
    copy_ring(in, in->taken, there, parts, false);
    in->taken += there;
    take_passed(in, in->taken, descriptor->stream, fds);
    return (ssize_t)there;
}

bool mx_os_hung_up(int fd)
{
    return net_poll(fd, POLLRDHUP) & (POLLRDHUP | POLLHUP);
}

void mx_os_peer(int fd, long *pid, long *uid)
{
    struct descriptor *descriptor = own(fd);
    struct process *peer =
        streams[descriptor->stream].process[1 - descriptor->end];

    *pid = peer ? (long)peer->index : -1;
    *uid = 0;
}

int mx_os_wake_create(void)
{
    return open_fd(WAKER);
}

void mx_os_wake(int fd)
{
    struct descriptor *descriptor = own(fd);

    SIM_CHECK(descriptor->kind == WAKER, "what is no waker is to wake");
    descriptor->awake = true;
}

void mx_os_wake_clear(int fd)
{
    own(fd)->awake = false;
}

/* --- lib/os.h: listening and connecting ---------------------------------- */

static struct descriptor *listener_at(const char *path)
{
    unsigned i;

    for (i = 0; i < DESCRIPTORS; i++) {
        if (table[i].kind == LISTENER && strcmp(table[i].path, path) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

int mx_os_listen(const char *path, uint64_t *device, uint64_t *inode)
{
    int fd;

    if (listener_at(path)) {
        return -EADDRINUSE;
    }
    fd = open_fd(LISTENER);
    if (fd >= 0) {
        strcpy(entry(fd)->path, path);
        *device = 1;
        *inode = (uint64_t)fd;
    }
    return fd;
}

void mx_os_unlink(const char *path, uint64_t device, uint64_t inode)
{
    (void)path;
    (void)device;
    (void)inode;
}

int mx_os_check_path(const char *path)
{
    return strlen(path) < sizeof(table[0].path) ? 0 : -ENAMETOOLONG;
}

static unsigned new_stream(void)
{
    unsigned number = stream_count;
    struct stream *stream = &streams[number];
    unsigned end;

    if (stream_count == MONITOR_STREAMS) {
        sim_fail("the simulation has too few streams");
        return 0;
    }
    stream_count++;
    stream->open = 2;
    for (end = 0; end < 2; end++) {
        struct pipe *pipe = &stream->pipe[end];

        stream->closed[end] = false;
        stream->process[end] = NULL;
        memset((char *)pipe + sizeof(pipe->ring), 0,
               sizeof(*pipe) - sizeof(pipe->ring));
    }
    return number;
}

int mx_os_connect(const char *path)
{
    struct descriptor *listener = listener_at(path);
    unsigned number;
    int fd;

    if (!listener) {
        return -ECONNREFUSED;
    }
    if (listener->waiting == BACKLOG) {
        return -EAGAIN;
    }
    fd = open_fd(STREAM);
    if (fd < 0) {
        return fd;
    }
    number = new_stream();
    entry(fd)->stream = number;
    streams[number].process[0] = fiber_current->process;
    streams[number].process[1] = listener->process;
    listener->backlog[listener->waiting++].stream = number;
    monitor_open(number, strstr(path, "mem") != NULL);
    sim_trace("link %u: connects to %s", number, path);
    return fd;
}

int mx_os_accept(int fd)
{
    struct descriptor *listener = own(fd);
    int connection;

    if (listener->waiting == 0) {
        return -EAGAIN;
    }
    connection = open_fd(STREAM);
    if (connection < 0) {
        return connection;
    }
    entry(connection)->stream = listener->backlog[0].stream;
    entry(connection)->end = 1;
    listener->waiting--;
    memmove(listener->backlog, listener->backlog + 1,
            listener->waiting * sizeof(listener->backlog[0]));
    return connection;
}

/* --- lib/os.h: memory ---------------------------------------------------- */

int mx_os_memfd(const char *name, uint64_t size)
{
    struct object *object;
    int fd;

    (void)name;
    object = memory_object(fiber_current->process, size);
    if (!object) {
        return -ENOMEM;
    }
    fd = net_object_fd(object, true);
    memory_unref(object);
    return fd;
}

int mx_os_seal(int fd, bool readonly)
{
    memory_facts(own(fd)->object)->sealed_write |= readonly;
    return 0;
}

int mx_os_reopen_readonly(int fd)
{
    int copy = mx_os_duplicate(fd);

    if (copy >= 0) {
        entry(copy)->writable = false;
    }
    return copy;
}

int mx_os_object(int fd, struct mx_object *object)
{
    struct descriptor *descriptor = own(fd);
    const struct object_facts *facts;

    if (sim_fault("fstat")) {
        return -EIO;
    }
    *object = (struct mx_object) {
        .page_size = mx_os_page_size(),
        .regular = descriptor->kind == OBJECT,
    };
    if (object->regular) {
        facts = memory_facts(descriptor->object);
        object->device = 1;
        object->inode = memory_id(descriptor->object);
        object->size = facts->size;
        object->writable = descriptor->writable;
        object->seals_known = true;
        object->sealed_shrink = facts->sealed_shrink;
        object->sealed_write = facts->sealed_write;
    }
    return 0;
}

int mx_os_map(int fd, uint64_t size, uint64_t offset, bool readonly,
              void **host)
{
    struct descriptor *descriptor = own(fd);

    if (sim_fault("mmap")) {
        return -ENOMEM;
    }
    if (!readonly && !descriptor->writable) {
        return -EACCES;
    }
    if (descriptor->origin) {
        totals.mapped++;
    }
    return memory_map(descriptor->object, size, offset, readonly,
                      descriptor->origin, host);
}
