/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <memexpose/device.h>

unsigned memexpose_result(int ret)
{
    return ret < 0 ? MEMEXPOSE_RESULT_ERROR : (unsigned)ret;
}

/* Negative values that mean something of their own here. */
static const struct {
    int error;
    const char *text;
} texts[] = {
    { -ENOTCONN, "not connected to a peer" },
    { -ECONNRESET, "the link to the peer ended meanwhile" },
    { -ETIMEDOUT, "the peer did not answer in time" },
    { -ECANCELED, "cancelled" },
    { -ERANGE, "outside the window" },
    { -EINPROGRESS, "no peer is connected yet" },
};

const char *memexpose_strerror(int ret)
{
    const char *text;
    size_t i;

    if (ret == 0) {
        return "success";
    }
    if (ret > 0) {
        return ret & MEMEXPOSE_RESULT_DENIED ? "access denied: the memory is "
               "read-only" : ret & MEMEXPOSE_RESULT_DECODE ? "decode error: "
               "nothing at that address" : "the peer reports an error";
    }
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].error == ret) {
            return texts[i].text;
        }
    }
    text = strerrordesc_np(-ret);
    return text ? text : "unknown error";
}
