/* Stops its process at the N-th call that changes a file below a folder; loaded by LD_PRELOAD.
   watch() arms it, calls() tells how many there were. A torn write leaves half of its bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char folder[4096];
static long target, count;
static int torn;

void watch(const char *path, long stop_at, int is_torn) {
    snprintf(folder, sizeof folder, "%s/", path);
    target = stop_at;
    torn = is_torn;
    count = 0;
}

long calls(void) { return count; }

static int below(const char *path) { return folder[0] && path && !strncmp(path, folder, strlen(folder)); }

static int watched(int fd) {
    char link[64], path[4096];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int reached(int counts) { return counts && ++count == target; }

static void end(void) {
    kill(getpid(), SIGSTOP); /* who waits looks at the files, then sends SIGKILL */
    _exit(137);
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

#define OPENING(name, own) \
    int own(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        int mode = va_arg(rest, int); \
        va_end(rest); \
        if (reached((flags & (O_CREAT | O_TRUNC)) && below(path))) end(); \
        return real(path, flags, mode); \
    }
OPENING("open", open)
OPENING("open64", open64)

ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (reached(watched(fd))) {
        if (torn) real(fd, data, n / 2);
        end();
    }
    return real(fd, data, n);
}

#define PWRITE(name, own) \
    ssize_t own(int fd, const void *data, size_t n, off_t at) { \
        REAL(ssize_t, name, int, const void *, size_t, off_t); \
        if (reached(watched(fd))) { \
            if (torn) real(fd, data, n / 2, at); \
            end(); \
        } \
        return real(fd, data, n, at); \
    }
PWRITE("pwrite", pwrite)
PWRITE("pwrite64", pwrite64)

#define ON_FILE(name, own) \
    int own(int fd) { \
        REAL(int, name, int); \
        if (reached(watched(fd))) end(); \
        return real(fd); \
    }
ON_FILE("fsync", fsync)
ON_FILE("fdatasync", fdatasync)

#define TRUNCATE(name, own) \
    int own(int fd, off_t n) { \
        REAL(int, name, int, off_t); \
        if (reached(watched(fd))) end(); \
        return real(fd, n); \
    }
TRUNCATE("ftruncate", ftruncate)
TRUNCATE("ftruncate64", ftruncate64)

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    if (reached(below(path))) end();
    return real(path);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (reached(below(to))) end();
    return real(from, to);
}
