/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the call that connects to a device that is ready, and to the first
 * access that is a load.
 */
#include "runs.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floors.h"
#include "process.h"
#include "side.h"

#define PATIENCE INT64_C(30000000000)

enum { PATH_SIZE = 108 };

/* What connects here, and the processes that listen. */
struct connecting {
    char paths[2][PATH_SIZE], floor_paths[2][PATH_SIZE];
    pid_t peer, floor_peer;
    bool map, push;
};

static int until_mapped(struct side *side)
{
    struct memexpose_device *device = side_device(side);
    struct memexpose_range range;
    uint64_t value;
    int ret;

    do {
        ret = memexpose_read(device, SIDE_RAM, 8, &value);
    } while (ret == 0 &&
             !memexpose_device_translate(device, SIDE_RAM, &range));
    return ret == 0 ? memexpose_read(device, SIDE_RAM, 8, &value) : ret;
}

static int connect_side(struct connecting *all, struct side *side)
{
    struct memexpose_device *device = side_device(side);
    int ret = memexpose_device_connect(device, all->paths[0], all->paths[1]);

    if (ret == 0) {
        ret = memexpose_device_enable(device, measure_now() + PATIENCE);
    }
    if (ret == 0) {
        ret = all->map ? until_mapped(side)
                       : side_drive(side, side_is_settled, side, PATIENCE);
    }
    return ret;
}

static int take_ours(void *arg, struct samples *samples, size_t rounds)
{
    struct connecting *all = arg;
    const struct side_config config = { .push = all->push };
    struct side side;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        ret = side_create(&side, &config, MEMEXPOSE_ROLE_CONNECT, -1);
        if (ret == 0) {
            int64_t begin = measure_now();

            ret = connect_side(all, &side);
            samples_add(samples, (double)(measure_now() - begin));
        }
        side_destroy(&side);
    }
    return ret;
}

static int take_floor(void *arg, struct samples *samples, size_t rounds)
{
    struct connecting *all = arg;
    size_t i;
    int ret = 0;

    for (i = 0; i < rounds && ret == 0; i++) {
        int64_t begin = measure_now();

        ret = floor_connect(all->floor_paths[0], all->floor_paths[1],
                            all->map);
        samples_add(samples, (double)(measure_now() - begin));
    }
    return ret;
}

/* --- those who listen ---------------------------------------------------- */

static int choose_paths(struct connecting *all)
{
    static const char *const names[4] = {
        "mem", "intr", "floor-mem", "floor-intr"
    };
    int i, ret = 0;

    for (i = 0; i < 4 && ret == 0; i++) {
        char *path = i < 2 ? all->paths[i] : all->floor_paths[i - 2];

        ret = process_path(names[i], path, PATH_SIZE);
        if (ret == 0) {
            unlink(path);       /* of a figure before this one */
        }
    }
    return ret;
}

static _Noreturn void serve(const struct connecting *all, int ready)
{
    const struct side_config config = { .push = all->push };
    struct side side;
    int fd = side_create_object(SIDE_RAM_SIZE);
    int ret = fd < 0 ? fd : side_create(&side, &config,
                                        MEMEXPOSE_ROLE_LISTEN, fd);

    if (ret == 0) {
        ret = memexpose_device_listen(side_device(&side), all->paths[0],
                                      all->paths[1]);
    }
    if (ret == 0) {
        ret = memexpose_device_enable(side_device(&side), 0);
    }
    if (ret == -EINPROGRESS && send(ready, "", 1, MSG_NOSIGNAL) == 1) {
        for (;;) {
            side.left = false;
            side_serve(&side);
        }
    }
    _exit(1);
}

static _Noreturn void serve_floor(const struct connecting *all, int ready)
{
    int first = floor_listen(all->floor_paths[0]);
    int second = floor_listen(all->floor_paths[1]);
    int fd = side_create_object(SIDE_RAM_SIZE);

    if (first >= 0 && second >= 0 && fd >= 0 &&
        send(ready, "", 1, MSG_NOSIGNAL) == 1) {
        floor_accept(first, second, fd);
    }
    _exit(1);
}

/* A child that says when it listens. */
static int start_listener(struct connecting *all, int core, pid_t *child,
                          void (*run)(const struct connecting *all, int fd))
{
    char byte;
    int fds[2], ret = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return -errno;
    }
    *child = process_fork(core);
    if (*child == 0) {
        close(fds[0]);
        run(all, fds[1]);
    }
    close(fds[1]);
    if (*child < 0) {
        ret = (int)*child;
    } else if (recv(fds[0], &byte, 1, 0) != 1) {
        ret = -ECONNREFUSED;
    }
    close(fds[0]);
    return ret;
}

static int run(struct bench *bench, struct result *result, bool map,
               bool push)
{
    struct connecting all = { .map = map, .push = push };
    int ret = choose_paths(&all);

    if (ret == 0) {
        ret = start_listener(&all, bench->cores.peers, &all.peer, serve);
    }
    if (ret == 0) {
        ret = start_listener(&all, bench->cores.peers, &all.floor_peer,
                             serve_floor);
    }
    if (ret == 0) {
        ret = bench_compare(result, take_ours, take_floor, &all,
                            bench_rounds(bench, 1000, 50));
    }
    process_stop(all.floor_peer);
    process_stop(all.peer);
    return ret == 0 ? 0 : bench_fail(bench, ret);
}

int run_connect(struct bench *bench, const struct figure *figure,
                struct result *result)
{
    (void)figure;
    return run(bench, result, false, false);
}

int run_first_mapped(struct bench *bench, const struct figure *figure,
                     struct result *result)
{
    return run(bench, result, true, figure->argument != 0);
}
