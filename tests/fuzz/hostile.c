/* SPDX-License-Identifier: BSD-3-Clause */
#include "hostile.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGEST_LIE = 70000 };   /* more than a block can have */

void hostile_connect(struct hostile *peer, bool connects, uint8_t ours,
                     int theirs[2])
{
    void (*acknowledged)(void *, uint64_t, uint64_t, uint64_t) =
        peer->acknowledged;
    void *opaque = peer->opaque;
    uint64_t last_id = peer->last_id;
    bool wants_seals = peer->wants_seals, narrow = peer->narrow;
    int little = 2048;

    hostile_close(peer, 0);
    hostile_close(peer, 1);
    memset(peer, 0, sizeof(*peer));
    peer->acknowledged = acknowledged;
    peer->opaque = opaque;
    peer->last_id = last_id;
    peer->wants_seals = wants_seals;
    peer->narrow = narrow;
    peer->connects = connects;
    peer->ours = ours;
    for (int i = 0; i < 2; i++) {
        int ends[2];

        fuzz_socket_pair(ends);
        peer->fd[i] = ends[0];
        theirs[i] = ends[1];
        if (narrow) {
            setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &little,
                       sizeof(little));
        }
    }
}

void hostile_close(struct hostile *peer, unsigned which)
{
    if (peer->fd[which] >= 0) {
        close(peer->fd[which]);
        peer->fd[which] = -1;
    }
}

/* What is mapped of an offer may be less: only that must not be met. */
static bool was_taken_back(const struct hostile *peer, unsigned offer,
                           uint64_t start, uint64_t size)
{
    for (unsigned i = 0; i < peer->taken_back_count; i++) {
        if (offer < peer->taken_back[i].offers &&
            mx_ranges_intersect(start, size, peer->taken_back[i].start,
                                peer->taken_back[i].size)) {
            return true;
        }
    }
    return false;
}

bool hostile_offered(const struct hostile *peer, uint64_t start,
                     uint64_t size)
{
    for (unsigned i = 0; i < peer->offer_count; i++) {
        if (peer->offers[i].mappable &&
            mx_range_within(start, size, peer->offers[i].start,
                            peer->offers[i].size) &&
            !was_taken_back(peer, i, start, size)) {
            return true;
        }
    }
    return peer->unsure;
}

/* --- listening ------------------------------------------------------------ */

/* What was offered before is mapped no longer. */
static void take_back(struct hostile *peer, uint64_t start, uint64_t size,
                      unsigned offers)
{
    unsigned at = peer->taken_back_count;

    if (at == TAKEN_BACK) {
        peer->unsure = true;
        return;
    }
    peer->taken_back[at].start = start;
    peer->taken_back[at].size = size;
    peer->taken_back[at].offers = offers;
    peer->taken_back_count++;
}

static void take_ack(struct hostile *peer)
{
    uint64_t start, size, last_id;

    if (peer->invalidation_count == 0) {
        fuzz_check(peer->unsure);
        return;
    }
    if (peer->invalidations[0].ends == peer->ends) {
        peer->holds = peer->features & MX_FEATURE_PUSH;
    }
    start = peer->invalidations[0].start;
    size = peer->invalidations[0].size;
    last_id = peer->invalidations[0].last_id;
    take_back(peer, start, size, peer->invalidations[0].offers);
    peer->invalidation_count--;
    memmove(peer->invalidations, peer->invalidations + 1,
            peer->invalidation_count * sizeof(peer->invalidations[0]));
    if (!peer->unsure) {
        peer->acknowledged(peer->opaque, start, size, last_id);
    }
}

static void take_response(struct hostile *peer,
                          const struct mx_message *message, unsigned fds)
{
    unsigned class = mx_wire_class(message->type);

    fuzz_check(peer->unsure || peer->expected[class] > 0);
    fuzz_check(peer->unsure ||
               message->priority == 2 * class + peer->ours);
    fuzz_check(fds == (message->share.kind == 1));
    fuzz_check(message->result == 0 || message->share.kind == 0);
    if (peer->expected[class] > 0) {
        peer->expected[class]--;
    }
    if (message->type == MX_REG_INV_RET) {
        take_ack(peer);
    }
}

static void take_hello(struct hostile *peer, const struct mx_message *message)
{
    peer->hello = *message;
    if (message->type == MX_HELLO) {
        fuzz_check(!peer->connects);
        peer->to_greet = true;
    } else {
        fuzz_check(peer->connects);
        peer->features = message->u.hello.features;
        /* it may have ended its offers before it listened */
        peer->holds = peer->features & MX_FEATURE_PUSH && peer->ends == 0;
        if (message->u.hello.subpriority <= 1) {
            peer->ours = (uint8_t)(1 - message->u.hello.subpriority);
        }
    }
}

bool hostile_agreed(const struct hostile *peer, uint64_t feature)
{
    return !peer->unsure && peer->features & feature;
}

static void take_access(struct hostile *peer, const struct mx_message *message)
{
    fuzz_check(peer->unsure || !peer->asked);
    fuzz_check(peer->unsure || message->priority == 3u - peer->ours);
    fuzz_check(peer->unsure || !peer->holds);
    if (mx_wire_is_block(message->type)) {
        fuzz_check(peer->unsure || peer->features & MX_FEATURE_BLOCK);
        fuzz_check(message->size >= 1 && message->size <= MX_BLOCK_MAX);
    } else {
        fuzz_check(message->size == 1 || message->size == 2 ||
                   message->size == 4 || message->size == 8);
    }
    peer->asked = true;
    peer->request = *message;
}

/* Nothing is offered that may still be on its way out (section 9). */
static void take_offer(const struct hostile *peer,
                       const struct mx_message *message, unsigned fds)
{
    fuzz_check(peer->unsure || peer->features & MX_FEATURE_PUSH);
    fuzz_check(peer->unsure || !peer->to_ack);
    fuzz_check(fds == (message->share.kind == 1));
}

/* The device says only what it may. */
static void take(struct hostile *peer, unsigned which,
                 const struct mx_message *message, unsigned fds)
{
    if (which == 1) {
        fuzz_check(message->type == MX_INTR || message->type == MX_HELLO);
        fuzz_check(fds == 0);
        return;
    }
    switch (message->type) {
    case MX_READ:
    case MX_WRITE:
    case MX_READ_BLOCK:
    case MX_WRITE_BLOCK:
        take_access(peer, message);
        break;
    case MX_OFFER:
        take_offer(peer, message, fds);
        break;
    case MX_REG_INV:
        fuzz_check(peer->unsure || !peer->to_ack);
        fuzz_check(!mx_range_overflows(message->offset, message->value));
        peer->to_ack = true;
        peer->invalidation = *message;
        break;
    case MX_HELLO:
    case MX_HELLO_RET:
        take_hello(peer, message);
        break;
    default:
        fuzz_check(mx_wire_is_response(message->type));
        take_response(peer, message, fds);
        break;
    }
}

/* Returns whether all of the block has been heard. */
static bool hear_block(struct hostile *peer, unsigned which)
{
    static uint8_t bytes[MX_BLOCK_MAX];
    unsigned fds;

    while (peer->block_left[which] > 0) {
        size_t got = fuzz_receive(peer->fd[which], bytes,
                                  peer->block_left[which], &fds);

        fuzz_check(fds == 0);
        if (got == 0) {
            return false;
        }
        peer->block_left[which] -= got;
        peer->heard = true;
    }
    return true;
}

/* Messages are taken one by one, so that each has its own descriptors. */
static bool listen_once(struct hostile *peer, unsigned which)
{
    uint8_t *in = peer->in[which];
    size_t *count = &peer->in_count[which], want = MX_HEADER_SIZE, used;
    unsigned fds = 0, more = 0;
    struct mx_message message;
    enum mx_decoded decoded;

    if (!hear_block(peer, which)) {
        return false;
    }
    if (*count >= MX_HEADER_SIZE) {
        want = mx_wire_size(in[4]);
    }
    if (*count < want) {
        *count += fuzz_receive(peer->fd[which], in + *count, want - *count,
                               &fds);
    }
    if (*count < MX_HEADER_SIZE) {
        return false;
    }
    want = mx_wire_size(in[4]);
    fuzz_check(want >= *count);
    *count += *count < want ? fuzz_receive(peer->fd[which], in + *count,
                                           want - *count, &more) : 0;
    fuzz_check(more == 0);
    decoded = mx_wire_decode(in, *count, &message, &used);
    if (decoded == MX_DECODE_SHORT) {
        return false;
    }
    fuzz_check(decoded == MX_DECODED && used == *count);
    *count = 0;
    peer->heard = true;
    peer->block_left[which] = mx_wire_block(&message);
    take(peer, which, &message, fds);
    return true;
}

bool hostile_listen(struct hostile *peer)
{
    peer->heard = false;
    for (unsigned which = 0; which < 2; which++) {
        while (!peer->deaf && peer->fd[which] >= 0 &&
               listen_once(peer, which)) {
        }
    }
    return peer->heard;
}

/* --- speaking ------------------------------------------------------------- */

/* Returns whether all of it was sent. */
static bool send_bytes(struct hostile *peer, unsigned which,
                       const uint8_t *bytes, size_t count, const int *fds,
                       size_t fd_count)
{
    if (peer->fd[which] < 0 || count == 0) {
        return false;
    }
    if (fuzz_send(peer->fd[which], bytes, count, fds, fd_count) != count) {
        peer->unsure = true;
        return false;
    }
    return true;
}

/* How much of an object there is at most: the unsealed one may grow again. */
static uint64_t object_size(enum fuzz_object object)
{
    switch (object) {
    case FUZZ_SEALED:
    case FUZZ_READONLY:
    case FUZZ_UNSEALED:
        return FUZZ_OBJECT_SIZE;
    case FUZZ_SHORT:
        return 0x1000;
    default:
        return 0;
    }
}

/* May the device map that? (section 4) */
static bool is_mappable(const struct hostile *peer,
                        const struct mx_message *message,
                        enum fuzz_object object)
{
    const struct mx_wire_share *share = &message->share;
    uint64_t size = object_size(object);

    return (message->result == 0 || message->type == MX_OFFER) &&
           share->size > 0 &&
           !mx_range_overflows(share->start, share->size) &&
           share->mmap_start <= size &&
           share->size <= size - share->mmap_start &&
           (share->start ^ share->mmap_start) % 0x1000 == 0 &&
           !(peer->wants_seals && object == FUZZ_UNSEALED);
}

static void remember_offer(struct hostile *peer,
                           const struct mx_message *message,
                           enum fuzz_object object)
{
    unsigned at = peer->offer_count;

    if (at == OFFERS) {
        peer->unsure = true;
        return;
    }
    peer->offers[at].start = message->share.start;
    peer->offers[at].size = message->share.size;
    peer->offers[at].mappable = is_mappable(peer, message, object);
    peer->offer_count++;
}

/* What this message makes the device do, if it is sent as it is. */
static void remember(struct hostile *peer, const struct mx_message *message,
                     enum fuzz_object object)
{
    if (message->share.kind == 1) {
        remember_offer(peer, message, object);
    }
    if (message->type == MX_REG_INV) {
        unsigned at = peer->invalidation_count;

        if (at == INVALIDATIONS) {
            peer->unsure = true;
            return;
        }
        peer->invalidations[at].start = message->offset;
        peer->invalidations[at].size = message->value;
        peer->invalidations[at].last_id = peer->last_id;
        peer->invalidations[at].offers = peer->offer_count;
        peer->invalidations[at].ends = peer->ends;
        peer->invalidation_count++;
    }
    if (mx_wire_is_request(message->type)) {
        peer->expected[mx_wire_class(message->type)]++;
    }
}

static enum fuzz_object object_of(const struct fuzz_step *step)
{
    return FUZZ_SEALED + step->fd % (FUZZ_OBJECTS - 1);
}

/* The message and, with nothing in it, its block. */
static size_t write_message(const struct mx_message *message, uint8_t *bytes,
                            uint8_t mark)
{
    size_t count = mx_wire_encode(message, bytes);
    size_t block = mx_wire_block(message);

    memset(bytes + count, mark, block);
    return count + block;
}

/* A piece of a block is counted in pages. */
static size_t cut(const struct fuzz_step *step, size_t count)
{
    size_t unit = count > MX_MESSAGE_MAX ? 0x100 : 1;

    return step->size * unit < count ? step->size * unit : count;
}

/* Returns whether the device is sent the message as it is. */
static bool speak(struct hostile *peer, const struct fuzz_step *step,
                  const struct mx_message *message)
{
    static uint8_t bytes[MX_MESSAGE_MAX + LARGEST_LIE];
    size_t count = write_message(message, bytes, step->fd);
    unsigned which = step->flags & FLAG_INTR;
    size_t fd_count = message->share.kind == 1;
    bool whole = true;
    int fds[5];

    if (step->flags & FLAG_OTHER_FD) {
        fd_count = fd_count ? 0 : 1 + step->fd / 16 % 5;
    }
    for (size_t i = 0; i < fd_count; i++) {
        fds[i] = fuzz_object(object_of(step));
    }
    if (step->flags & FLAG_DAMAGE) {
        bytes[step->result % mx_wire_size(message->type)] ^=
            (uint8_t)(step->size | 1);
        peer->unsure = true;
        whole = false;
    } else {
        remember(peer, message, object_of(step));
    }
    if ((step->flags & FLAG_PARTIAL) && cut(step, count) < count) {
        count = cut(step, count);
        peer->unsure = true;
        whole = false;
    }
    return send_bytes(peer, which, bytes, count, fds, fd_count) && whole;
}

static void fill_share(const struct fuzz_step *step, uint64_t address,
                       struct mx_wire_share *share)
{
    uint64_t pages = (step->share >> 4) + UINT64_C(1);
    uint64_t base = address & ~(uint64_t)(FUZZ_OBJECT_SIZE - 1);

    if (step->share % 16 % SHARES == SHARE_NONE) {
        return;
    }
    share->kind = 1;
    share->start = address & ~UINT64_C(0xfff);
    share->mmap_start = share->start - base;
    share->size = pages * 0x1000;
    if (share->size > FUZZ_OBJECT_SIZE - share->mmap_start) {
        share->size = FUZZ_OBJECT_SIZE - share->mmap_start;
    }
    switch (step->share % 16 % SHARES) {
    case SHARE_WHOLE:
        share->start = base;
        share->mmap_start = 0;
        share->size = FUZZ_OBJECT_SIZE;
        break;
    case SHARE_GIVEN:
        share->start = step->a;
        share->mmap_start = step->a & (FUZZ_OBJECT_SIZE - 1);
        share->size = step->b;
        break;
    case SHARE_EMPTY:
        share->size = 0;
        break;
    case SHARE_SKEWED:
        share->mmap_start ^= 0x10;
        break;
    case SHARE_WRAPS:
        share->size = -share->start + 1;
        break;
    case SHARE_OFFSET_WRAPS:
        share->mmap_start = -UINT64_C(0x1000);
        share->size = 0x2000;
        break;
    case SHARE_TOO_LONG:
        share->size = UINT64_C(1) << 40;
        break;
    case SHARE_BESIDE:
        share->start += 0x100000;
        break;
    case SHARE_READONLY:
        share->readonly = true;
        share->nonvolatile = true;
        break;
    default:
        break;
    }
}

static void fill_hello(const struct hostile *peer,
                       const struct fuzz_step *step, bool answer,
                       struct mx_wire_hello *hello)
{
    const struct mx_wire_hello *theirs = &peer->hello.u.hello;

    hello->magic = MX_HELLO_MAGIC;
    hello->version_low = MX_HELLO_VERSION;
    hello->version_high = MX_HELLO_VERSION;
    hello->subpriority = answer ? peer->ours : MX_SUBPRIORITY_ANY;
    hello->page_size = 4096;
    hello->span_size = step->b;
    hello->features = step->priority & (answer ? theirs->features : 3);
    hello->pair_id = answer ? theirs->pair_id : step->a;
    memcpy(hello->name, "hostile\x1b[31m", 12);
    if (answer && theirs->subpriority <= 1) {
        hello->subpriority = (uint8_t)(1 - theirs->subpriority);
    }
    switch (step->share % 16) {
    case 1:
        hello->magic ^= (uint32_t)step->a;
        break;
    case 2:
        hello->version_high = (uint16_t)step->size;
        break;
    case 3:
        hello->version_low = (uint16_t)step->size;
        hello->version_high = (uint16_t)step->size;
        break;
    case 4:
        hello->subpriority = step->size;
        break;
    case 5:
        hello->features = step->a;
        break;
    case 6:
        hello->pair_id ^= step->a;
        break;
    case 7:
        hello->span_start = step->a;
        break;
    default:
        break;
    }
}

/* As the one who made it up says, or as would be right. */
static uint8_t priority_of(const struct hostile *peer,
                           const struct fuzz_step *step, uint8_t type)
{
    unsigned class = mx_wire_class(type);
    uint8_t half = mx_wire_is_request(type) ? peer->ours :
                   (uint8_t)(1 - peer->ours);

    return step->flags & FLAG_RIGHT ? (uint8_t)(2 * class + half) :
           step->priority;
}

/* Is it, where it is sent, the end of the offers? */
static bool is_end(const struct fuzz_step *step,
                   const struct mx_message *message)
{
    return message->type == MX_OFFER && message->share.kind == 0 &&
           !(step->flags & FLAG_INTR);
}

/* An answer before it is known that something was asked: it may come to the
 * device in time, or be out of turn. */
static bool answers_early(const struct hostile *peer,
                          const struct mx_message *message)
{
    return mx_wire_is_response(message->type) &&
           !(message->type == MX_REG_INV_RET ? peer->to_ack : peer->asked);
}

/* Returns whether the device is sent it as it is. */
static bool send_message(struct hostile *peer, const struct fuzz_step *step)
{
    struct mx_message message;
    bool whole;

    memset(&message, 0, sizeof(message));
    message.type = fuzz_type(step->type);
    message.priority = priority_of(peer, step, message.type);
    message.offset = step->a;
    message.value = step->b;
    message.size = step->size;
    message.result = step->result;
    peer->unsure |= answers_early(peer, &message);
    if (message.type == MX_READ_BLOCK || message.type == MX_WRITE_BLOCK) {
        message.size = (uint32_t)(step->b % LARGEST_LIE);
    }
    if (message.type == MX_OFFER) {
        fill_share(step, step->a, &message.share);
    } else if (mx_wire_is_response(message.type) &&
               message.type != MX_REG_INV_RET) {
        fill_share(step, peer->request.offset, &message.share);
        peer->asked = false;
    } else if (message.type == MX_REG_INV_RET) {
        peer->to_ack = false;
    } else if (message.type == MX_INTR) {
        memset(message.u.data, step->result, MX_INTR_DATA);
    } else if (message.type == MX_HELLO || message.type == MX_HELLO_RET) {
        fill_hello(peer, step, message.type == MX_HELLO_RET,
                   &message.u.hello);
        peer->unsure = true;
    }
    peer->spoke = true;
    whole = speak(peer, step, &message);
    if (whole && is_end(step, &message)) {
        peer->holds = false;
        peer->ends++;
    }
    return whole;
}

/* So much of the request is still to come that it cannot have been sent. */
static bool is_early(const struct hostile *peer)
{
    return peer->narrow && peer->block_left[0] > MX_BLOCK_MAX / 2;
}

/* All of it or less of a failure; or any other number. */
static void fill_length(const struct hostile *peer,
                        const struct fuzz_step *step,
                        struct mx_message *message)
{
    uint32_t size = peer->request.size;

    message->size = message->result == 0 ? size : step->size % size;
    if (step->priority & 1) {
        message->size = (uint32_t)(step->b % LARGEST_LIE);
    }
}

/* Does the length, or the time, say that it cannot be an answer? */
static bool is_lie(const struct hostile *peer,
                   const struct mx_message *message)
{
    uint32_t size = peer->request.size;

    return mx_wire_is_block(message->type) &&
           (is_early(peer) || (message->result == 0 ? message->size != size :
                               message->size >= size));
}

static void answer(struct hostile *peer, const struct fuzz_step *step)
{
    struct mx_message message;
    bool lies;

    if (!peer->asked) {
        return;
    }
    peer->asked = false;
    memset(&message, 0, sizeof(message));
    message.type = mx_wire_response_type(peer->request.type);
    message.priority = peer->request.priority;
    message.result = step->result & 7;
    message.value = step->b;
    fill_share(step, peer->request.offset, &message.share);
    if (mx_wire_is_block(message.type)) {
        fill_length(peer, step, &message);
    }
    lies = is_lie(peer, &message) && !(step->flags & FLAG_INTR);
    peer->lied |= speak(peer, step, &message) && lies && !peer->unsure;
}

static void acknowledge(struct hostile *peer, const struct fuzz_step *step)
{
    struct mx_message message;

    if (!peer->to_ack) {
        return;
    }
    peer->to_ack = false;
    memset(&message, 0, sizeof(message));
    message.type = MX_REG_INV_RET;
    message.priority = peer->invalidation.priority;
    speak(peer, step, &message);
}

static void greet(struct hostile *peer, const struct fuzz_step *step)
{
    struct fuzz_step twin = *step;
    struct mx_message message;

    memset(&message, 0, sizeof(message));
    message.type = peer->connects ? MX_HELLO : MX_HELLO_RET;
    fill_hello(peer, step, !peer->connects, &message.u.hello);
    if (!peer->connects) {
        peer->features = message.u.hello.features;
        peer->holds = peer->features & MX_FEATURE_PUSH;
        /* out of place, it settles nothing */
        peer->unsure |= !peer->to_greet || peer->spoke;
        peer->ours = message.u.hello.subpriority & 1;
    }
    peer->to_greet = false;
    twin.flags &= (uint8_t)~FLAG_INTR;
    speak(peer, &twin, &message);
    if (peer->connects && message.u.hello.pair_id) {
        twin.flags |= FLAG_INTR;
        speak(peer, &twin, &message);
    }
}

static void send_raw(struct hostile *peer, const struct fuzz_step *step)
{
    uint8_t bytes[16];

    mx_value_to_bytes(step->a, bytes);
    mx_value_to_bytes(step->b, bytes + 8);
    peer->unsure = true;
    send_bytes(peer, step->flags & FLAG_INTR, bytes,
               step->size % sizeof(bytes) + 1u, NULL, 0);
}

static void leave(struct hostile *peer, const struct fuzz_step *step)
{
    unsigned which = step->flags & FLAG_INTR;

    if (peer->fd[which] >= 0 && step->size % 4 == 3) {
        shutdown(peer->fd[which], SHUT_WR);
    } else {
        hostile_close(peer, which);
    }
}

void hostile_do(struct hostile *peer, const struct fuzz_step *step)
{
    hostile_listen(peer);
    switch (step->op % OPS) {
    case OP_SEND:
        send_message(peer, step);
        break;
    case OP_ANSWER:
        answer(peer, step);
        break;
    case OP_ACK:
        acknowledge(peer, step);
        break;
    case OP_GREET:
        greet(peer, step);
        break;
    case OP_RAW:
        send_raw(peer, step);
        break;
    case OP_CLOSE:
        leave(peer, step);
        break;
    case OP_DEAF:
        peer->deaf = !peer->deaf;
        break;
    default:
        fuzz_resize_object(step->a % FUZZ_OBJECT_SIZE);
        break;
    }
}

bool hostile_answer(struct hostile *peer)
{
    static const struct fuzz_step truly = { .priority = 3 };
    static const struct fuzz_step honest = { .priority = 0 };
    struct fuzz_step end = { .type = fuzz_type_byte(MX_OFFER) };
    bool heard = hostile_listen(peer);

    if (peer->fd[0] < 0 || peer->deaf || peer->block_left[0] > 0) {
        return heard;
    }
    if (peer->to_greet) {
        greet(peer, &truly);
    } else if (peer->to_ack) {
        acknowledge(peer, &honest);
    } else if (peer->asked) {
        answer(peer, &honest);
    } else if (peer->holds) {
        return send_message(peer, &end) || heard;
    } else {
        return heard;
    }
    return true;
}
