/* SPDX-License-Identifier: MIT */
/* The errno values in use, with Linux's numbers. Functions return 0 or the negative of one. */
#ifndef KERNEL_BASE_ERROR_H
#define KERNEL_BASE_ERROR_H

#define ERROR_TABLE(X)  \
    X(EPERM, 1)         \
    X(ENOENT, 2)        \
    X(EINTR, 4)         \
    X(EIO, 5)           \
    X(ENXIO, 6)         \
    X(E2BIG, 7)         \
    X(EAGAIN, 11)       \
    X(ENOMEM, 12)       \
    X(EFAULT, 14)       \
    X(EBUSY, 16)        \
    X(EEXIST, 17)       \
    X(EXDEV, 18)        \
    X(ENODEV, 19)       \
    X(ENOTDIR, 20)      \
    X(EISDIR, 21)       \
    X(EINVAL, 22)       \
    X(EFBIG, 27)        \
    X(ENOSPC, 28)       \
    X(EROFS, 30)        \
    X(EMLINK, 31)       \
    X(EPIPE, 32)        \
    X(ERANGE, 34)       \
    X(ENAMETOOLONG, 36) \
    X(ENOSYS, 38)       \
    X(ENOTEMPTY, 39)    \
    X(ELOOP, 40)        \
    X(EOVERFLOW, 75)    \
    X(EILSEQ, 84)       \
    X(EOPNOTSUPP, 95)   \
    X(ETIMEDOUT, 110)   \
    X(ECANCELED, 125)   \
    X(EUCLEAN, 117)

#ifdef __KERNEL__
enum {
#define ERROR_ENUM(name, number) name = number,
    ERROR_TABLE(ERROR_ENUM)
#undef ERROR_ENUM
};
#else
#include <errno.h>
#endif

/* "EIO" for -5 or 5, "OK" for 0, "E?" for a number that is not in the table. */
static inline const char *error_name(int error)
{
    switch (error < 0 ? -error : error) {
    case 0:
        return "OK";
#define ERROR_CASE(name, number) \
    case number:                 \
        return #name;
        ERROR_TABLE(ERROR_CASE)
#undef ERROR_CASE
    default:
        return "E?";
    }
}

#endif
