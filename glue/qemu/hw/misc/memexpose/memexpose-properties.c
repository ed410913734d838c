/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Properties: how a device is to behave, and what it tells of itself.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/visitor.h"
#include "qom/object.h"
#include "memexpose-internal.h"

/* How long a thread that waits may poll. */
#define MAX_POLL_NS 1000000000

/* --- configuration ------------------------------------------------------- */

/* The place of a property's word among those there are, or of the default. */
static bool choose(const char *property, const char *word,
                   const char *const *words, int *choice, Error **errp)
{
    g_autofree char *expected = NULL;
    int i;

    for (i = 0; words[i]; i++) {
        if (!strcmp(word ? word : words[0], words[i])) {
            *choice = i;
            return true;
        }
    }
    expected = g_strjoinv(", ", (char **)words);
    error_setg(errp, "%s=%s: expected one of %s", property, word, expected);
    return false;
}

static bool choose_words(MemexposeState *s,
                         struct memexpose_device_config *config, Error **errp)
{
    static const char *const hellos[] = { "on", "off", "require", NULL };
    static const enum memexpose_hello hello[] = {
        MEMEXPOSE_HELLO_ON, MEMEXPOSE_HELLO_OFF, MEMEXPOSE_HELLO_REQUIRE,
    };
    static const char *const subpriorities[] = { "auto", "0", "1", NULL };
    static const enum memexpose_subpriority subpriority[] = {
        MEMEXPOSE_SUBPRIORITY_AUTO, MEMEXPOSE_SUBPRIORITY_0,
        MEMEXPOSE_SUBPRIORITY_1,
    };
    static const char *const all_seals[] = {
        "prefer", "require", "ignore", NULL
    };
    static const enum memexpose_seals seals[] = {
        MEMEXPOSE_SEALS_PREFER, MEMEXPOSE_SEALS_REQUIRE,
        MEMEXPOSE_SEALS_IGNORE,
    };
    int choice;

    if (!choose("hello", s->hello, hellos, &choice, errp)) {
        return false;
    }
    config->hello = hello[choice];
    if (!choose("subpriority", s->subpriority, subpriorities, &choice,
                errp)) {
        return false;
    }
    config->subpriority = subpriority[choice];
    if (!choose("seals", s->seals, all_seals, &choice, errp)) {
        return false;
    }
    config->seals = seals[choice];
    return true;
}

static bool check_numbers(MemexposeState *s, Error **errp)
{
    if (s->window_size == 0) {
        error_setg(errp, "shm_size is missing: expected the size of the "
                   "window in bytes");
        return false;
    }
    if (!QEMU_IS_ALIGNED(s->window_size, 4096)) {
        error_setg(errp, "shm_size=0x%" PRIx64 ": expected a multiple of "
                   "4096", s->window_size);
        return false;
    }
    if (s->request_timeout == 0) {
        error_setg(errp, "request-timeout=0: expected milliseconds");
        return false;
    }
    if (s->map_change_timeout == 0) {
        error_setg(errp, "map-change-timeout=0: expected milliseconds");
        return false;
    }
    if (s->max_ranges == 0) {
        error_setg(errp, "max-ranges=0: expected at least 1");
        return false;
    }
    if (s->poll_ns > MAX_POLL_NS) {
        error_setg(errp, "poll-ns=%" PRIu32 ": expected at most %d "
                   "nanoseconds", s->poll_ns, MAX_POLL_NS);
        return false;
    }
    if (s->export_size != 0 && s->export_base + s->export_size - 1 <
        s->export_base) {
        error_setg(errp, "export-base=0x%" PRIx64 " and export-size=0x%"
                   PRIx64 ": expected a range below 2^64", s->export_base,
                   s->export_size);
        return false;
    }
    return true;
}

static const char *own_name(MemexposeState *s)
{
    const char *name = s->name ? s->name : s->dev->id;

    if (!name) {
        name = qemu_get_vm_name();
    }
    return name ? name : "qemu";
}

bool memexpose_configure(MemexposeState *s,
                         struct memexpose_device_config *config, Error **errp)
{
    memexpose_device_config_init(config);
    if (!check_numbers(s, errp) || !choose_words(s, config, errp)) {
        return false;
    }
    if (s->name && strlen(s->name) >= MEMEXPOSE_NAME_SIZE) {
        error_setg(errp, "name=%s: expected at most %d bytes", s->name,
                   MEMEXPOSE_NAME_SIZE - 1);
        return false;
    }
    g_free(s->log_name);
    s->log_name = g_strndup(own_name(s), MEMEXPOSE_NAME_SIZE - 1);
    config->name = s->log_name;
    config->role = memexpose_links_listen(s) ? MEMEXPOSE_ROLE_LISTEN :
                   MEMEXPOSE_ROLE_CONNECT;
    config->share = s->share;
    config->push = s->push;
    config->block = s->block;
    config->wait = false;       /* this waits itself, in its own way */
    config->window_size = s->window_size;
    config->request_timeout = s->request_timeout * SCALE_MS;
    config->map_change_timeout = s->map_change_timeout * SCALE_MS;
    config->max_ranges = s->max_ranges;
    return true;
}

/* --- what it tells ------------------------------------------------------- */

/* Where the state lies in the device: @opaque of each accessor. */
static MemexposeState *state_of(Object *obj, void *opaque)
{
    return (MemexposeState *)((char *)obj + (uintptr_t)opaque);
}

static void get_link_state(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    MemexposeState *s = state_of(obj, opaque);
    uint64_t state = s->device ? memexpose_device_link_state(s->device) : 0;

    visit_type_uint64(v, name, &state, errp);
}

static void get_peer_name(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    MemexposeState *s = state_of(obj, opaque);
    char peer[MEMEXPOSE_NAME_SIZE] = "";
    char *text = peer;

    if (s->device) {
        memexpose_device_peer_name(s->device, peer);
    }
    visit_type_str(v, name, &text, errp);
}

static strList *list_ranges(MemexposeState *s)
{
    g_autofree struct memexpose_range *ranges = NULL;
    size_t count = memexpose_device_ranges(s->device, NULL, 0);
    strList *list = NULL, **tail = &list;
    size_t i;

    ranges = g_new0(struct memexpose_range, count + 1);
    count = MIN(count, memexpose_device_ranges(s->device, ranges, count));
    for (i = 0; i < count; i++) {
        QAPI_LIST_APPEND(tail, g_strdup_printf("0x%" PRIx64 " 0x%" PRIx64
                                               " %s", ranges[i].start,
                                               ranges[i].size,
                                               ranges[i].readonly ? "ro" :
                                               "rw"));
    }
    return list;
}

static void get_ranges(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    MemexposeState *s = state_of(obj, opaque);
    strList *list = s->device ? list_ranges(s) : NULL;

    visit_type_strList(v, name, &list, errp);
    qapi_free_strList(list);
}

/* Those of the device, and those of the group that it is in. */
typedef struct Counters {
    struct memexpose_stats device;
    struct memexpose_group_stats group;
} Counters;

#define COUNTER(member) { #member, offsetof(Counters, device.member) }
#define GROUP_COUNTER(member) { #member, offsetof(Counters, group.member) }

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
    COUNTER(requests_sent),
    COUNTER(requests_served),
    COUNTER(shares_sent),
    COUNTER(shares_received),
    COUNTER(invalidations_sent),
    COUNTER(invalidations_received),
    COUNTER(interrupts_sent),
    COUNTER(interrupts_received),
    COUNTER(interrupts_dropped),
    COUNTER(mapped_ranges),
    COUNTER(mapped_bytes),
    COUNTER(violations),
    COUNTER(blocks_sent),
    COUNTER(blocks_served),
    COUNTER(offers_sent),
    COUNTER(offers_received),
    GROUP_COUNTER(polls),
    GROUP_COUNTER(poll_hits),
    GROUP_COUNTER(poll_misses),
    GROUP_COUNTER(poll_time),
};

/* All counters, whatever the library grows to have. */
QEMU_BUILD_BUG_ON(ARRAY_SIZE(counters) * sizeof(uint64_t) !=
                  sizeof(Counters));

static bool visit_counters(Visitor *v, const Counters *all, Error **errp)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(counters); i++) {
        g_autofree char *name = g_strdelimit(g_strdup(counters[i].name), "_",
                                             '-');
        uint64_t value;

        memcpy(&value, (const char *)all + counters[i].offset,
               sizeof(value));
        if (!visit_type_uint64(v, name, &value, errp)) {
            return false;
        }
    }
    return visit_check_struct(v, errp);
}

static void get_stats(Object *obj, Visitor *v, const char *name,
                      void *opaque, Error **errp)
{
    MemexposeState *s = state_of(obj, opaque);
    Counters all = { 0 };

    if (s->device) {
        memexpose_device_stats(s->device, &all.device, sizeof(all.device));
        memexpose_group_stats(memexpose_group_get(NULL), &all.group,
                              sizeof(all.group));
    }
    if (visit_start_struct(v, name, NULL, 0, errp)) {
        visit_counters(v, &all, errp);
        visit_end_struct(v, NULL);
    }
}

/* --- descriptions -------------------------------------------------------- */

static const struct {
    const char *name;
    const char *text;
} descriptions[] = {
    { "mem_chardev", "socket chardev of the memory link" },
    { "intr_chardev", "socket chardev of the interrupt link" },
    { "shm_size", "size of the window onto the peer's memory, in bytes" },
    { "name", "what the peer and the log call this device" },
    { "hello", "greet the peer: on, off (base protocol) or require" },
    { "subpriority", "which peer goes first: 0, 1 or auto" },
    { "seals", "map a peer's memory that it could shrink: prefer (with a "
      "warning), require (never), ignore" },
    { "share", "give the peer descriptors of shareable memory; off keeps "
      "every access on the link" },
    { "push", "give them when the peer connects and after each change of the "
      "memory map, not only when it touches the memory" },
    { "block", "up to 64 KiB in one message, if the peer can do it" },
    { "poll-ns", "how long a virtual CPU that waits for the peer polls "
      "before it sleeps, in ns; the largest of all devices counts" },
    { "wait", "writing 1 to the enable register waits for the peer" },
    { "request-timeout", "how long an access may take, in ms" },
    { "map-change-timeout", "how long a change of the memory map waits for "
      "the peer, in ms" },
    { "connect-timeout", "how long enabling waits for the peer, in ms; 0: "
      "for ever" },
    { "max-ranges", "how many ranges of the peer's memory may be mapped" },
    { "export-base", "lowest address that the peer reaches" },
    { "export-size", "how many bytes from there it reaches; 0: all" },
    { "export-readonly", "the peer may only read" },
    { "address-space", "what is exported: system or secure" },
    { "msi", "offer message signalled interrupts" },
    { "prefetchable", "the window may lie in prefetchable bridge windows, "
      "for those above 4 GiB" },
};

static void describe(ObjectClass *klass)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(descriptions); i++) {
        if (object_class_property_find(klass, descriptions[i].name)) {
            object_class_property_set_description(klass, descriptions[i].name,
                                                  descriptions[i].text);
        }
    }
}

static void add_property(ObjectClass *klass, const char *name,
                         const char *type, ObjectPropertyAccessor *get,
                         size_t common, const char *description)
{
    object_class_property_add(klass, name, type, get, NULL, NULL,
                              (void *)(uintptr_t)common);
    object_class_property_set_description(klass, name, description);
}

void memexpose_class_add_properties(ObjectClass *klass, size_t common)
{
    describe(klass);
    add_property(klass, "link-state", "uint64", get_link_state, common,
                 "the links, as register 0x010 tells");
    add_property(klass, "peer-name", "string", get_peer_name, common,
                 "what the peer calls itself");
    add_property(klass, "ranges", "strList", get_ranges, common,
                 "what is mapped of the peer's memory");
    add_property(klass, "stats", "struct", get_stats, common,
                 "what has been counted since the device was made");
}
