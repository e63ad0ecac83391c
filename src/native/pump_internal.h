/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pump share. Nobody else includes this, except the pump's own tests. */
#ifndef BERTH_PUMP_INTERNAL_H
#define BERTH_PUMP_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pump.h"

enum {
    PUMP_FRAME_MAX = 65536,      /* payload of an attach frame, and most bytes read at once where they may have to be kept */
    PUMP_FRAME_HEADER = 5,       /* kind, length */
    PUMP_BLOCK = 65536 + 4096,   /* one kept chunk, or one kept frame with its header */
    PUMP_SCRATCH_READ = 262144,  /* most bytes read at once where none has to be kept (files) */
    PUMP_SCRATCH_TEXT = 131072,  /* CRI lines are put together here and written at once */
    PUMP_BUDGET = 262144,        /* bytes moved for one object in one step, so that none starves the others */
    PUMP_PIPE_SIZE = 262144,     /* what pipes and FIFOs are enlarged to, if the kernel lets us */
    PUMP_LINE_MAX = 16384,       /* longest piece of a line in a CRI log */
    PUMP_CLIENT_SLOW_MS = 10000, /* an attach client that takes nothing for this long is disconnected */
    PUMP_TRIM_MS = 100,          /* memory is given back after this long without work */
    PUMP_READER_POLL_MS = 500    /* how often absent readers are looked for where inotify has no instance left for us */
};

enum pump_unit_kind { PUMP_OUTPUT, PUMP_INPUT, PUMP_CLIENT, PUMP_WATCH };

/* Which descriptor of a unit an epoll event is about. */
enum pump_role { ROLE_WAKE, ROLE_INOTIFY, ROLE_SOURCE, ROLE_SINK, ROLE_DEST, ROLE_FIFO, ROLE_CLIENT, ROLE_WATCH };

/* The common part, first in every object. */
struct unit {
    struct unit *next;
    struct unit *next_dirty;
    uint32_t id;
    enum pump_unit_kind kind;
    bool dirty; /* in the list of those that the next step looks after */
};

/* A descriptor and what epoll was last told about it. One that nothing is wanted of is taken out of epoll altogether,
   because epoll reports errors and hang-ups of what is in it whether they were asked for or not. */
struct slot {
    int fd;
    uint32_t mask;
    bool registered;
};

/* Bytes waiting to be written: block[start..end). The block is only there while there are any. */
struct bytes {
    unsigned char *block;
    uint32_t start;
    uint32_t end;
};

/* A pending drain or finish. */
struct wait {
    uint32_t calls; /* how many callers wait; 0: none */
    uint32_t grace_ms;
    uint64_t target;  /* value of output.taken up to which bytes have to be delivered */
    uint64_t given;   /* output.given when progress was last seen */
    int sink_bytes;   /* bytes in the FIFO or pipe then: the reader's progress shows here before there is room again */
    int64_t since_ms; /* when that was */
};

struct output {
    struct unit unit;
    enum pump_sink kind;
    bool pty;
    bool may_splice;
    bool sink_full;     /* splice found no room; cleared at every look */
    bool reader_gone;   /* nobody has the FIFO open for reading: output goes to the spool */
    bool reader_watched;
    bool stalled;       /* a drain ran out of patience with the reader: what is there moves to the spool */
    bool spooling;      /* PUMP_EV_SPOOLING 1 was sent */
    bool spool_failed;  /* the spool takes no more (disk full): as if its limit were reached */
    bool eof;           /* nothing more is read; the source is closed */
    bool broken;        /* the sink is given up: drop */
    bool failing;       /* the last write to the sink failed */
    bool error_told;    /* PUMP_EV_SINK_ERROR was sent */
    int first_errno;    /* why bytes were dropped, for PUMP_EV_OUTPUT_ENDED */
    struct slot source;
    struct slot sink;
    char *path;
    char *stream;
    char *spool_path;
    uint64_t spool_limit;
    uint64_t log_max_bytes;
    int spool_fd;
    uint64_t spool_start; /* the spool file's bytes before this one are handed on */
    uint64_t spool_end;
    uint64_t spool_punched;
    struct bytes rest;   /* follows the spool, precedes the source */
    unsigned char *hold; /* CRI: the start of a line whose end has not come */
    uint32_t hold_length;
    uint64_t taken; /* bytes read from the source */
    uint64_t given; /* of these: delivered (or dropped); taken - given = spool + rest */
    struct wait drain;
    struct wait finish;
    uint32_t clients; /* how many attach clients see this output */
};

struct input {
    struct unit unit;
    bool pty;
    bool closing;
    bool dest_hung_up;
    struct slot dest;
    struct slot fifo;
    int fifo_write_fd; /* held so that the last writer's leaving is no end of file */
    struct bytes rest;
    uint32_t last;       /* who was read last: a client's id, 0 for the FIFO */
    uint64_t close_left; /* bytes of the FIFO that are still to be read before closing */
};

struct client {
    struct unit unit;
    struct slot slot;
    uint32_t input;
    uint32_t out;
    uint32_t err;
    bool no_output;   /* it takes no more output, but may still have stdin for us */
    bool half_closed; /* it sends no more */
    bool ending;      /* its outputs have ended: goes once its bytes are flushed */
    bool broken; /* it broke the protocol: goes at the next look */
    unsigned char header[PUMP_FRAME_HEADER];
    uint32_t header_length;
    uint32_t payload_left; /* of the stdin frame that is being read */
    struct bytes queue;    /* the rest of a frame that the socket did not take */
    int64_t since_ms;      /* since when the socket takes nothing */
};

struct watch {
    struct unit unit;
    int fd;
    uint32_t arming; /* tells an event of this arming from one that was already under way */
};

struct pump {
    pthread_mutex_t lock;
    int epoll_fd;
    int wake_fd;
    int inotify_fd;
    bool waiting; /* a step is in epoll_wait, or about to be */
    bool freeing;
    bool poll_readers; /* some reader is waited for without inotify */
    int64_t now_ms;
    int64_t worked_at_ms;
    int64_t poll_readers_at_ms;
    uint32_t client_slow_ms;
    uint32_t armings;
    struct unit *units;
    struct unit *dirty_first;
    struct unit *dirty_last;
    size_t dirty_count;
    unsigned char *scratch;
    unsigned char *spare; /* one free block, kept for the next taker */
    struct pump_event *events;
    size_t event_count;
    size_t event_room;
};

/* pump.c */
void pump_lock(struct pump *);
void pump_unlock(struct pump *);
int64_t pump_now_ms(void);
struct unit *unit_find(struct pump *, uint32_t id);
/* 0, -EINVAL for id 0, -EEXIST. */
int unit_id_check(struct pump *, uint32_t id);
void unit_link(struct pump *, struct unit *, uint32_t id, enum pump_unit_kind);
void unit_unlink(struct pump *, struct unit *);
/* The next step looks after it. */
void unit_dirty(struct pump *, struct unit *);
void event_add(struct pump *, enum pump_event_kind, uint32_t id, int64_t value);
uint64_t slot_tag(uint32_t id, enum pump_role, uint32_t arming);
int slot_want(struct pump *, struct slot *, uint32_t mask, uint32_t id, enum pump_role);
void slot_close(struct pump *, struct slot *);
/* The waiting step has to reckon anew. */
void pump_kick(struct pump *);

/* pump_memory.c: all blocks come from mmap, so that an idle pump gives them back to the system. */
unsigned char *block_take(struct pump *);
void block_give(struct pump *, unsigned char *);
/* PUMP_SCRATCH_READ bytes followed by PUMP_SCRATCH_TEXT bytes, valid until the lock is released. NULL: no memory. */
unsigned char *pump_scratch(struct pump *);
void pump_trim(struct pump *);
size_t bytes_length(const struct bytes *);
void bytes_advance(struct pump *, struct bytes *, size_t);
void bytes_drop(struct pump *, struct bytes *);
int fd_prepare(int fd, bool nonblocking);
int fd_readable_bytes(int fd);
void close_quietly(int fd);

/* pump_output.c */
struct output *output_find(struct pump *, uint32_t id);
void output_free(struct pump *, struct output *);

/* pump_flow.c */
void output_mark(struct pump *, struct output *);
void output_service(struct pump *, struct output *);
/* Whether it has a FIFO for a sink that is not given up. */
bool output_may_spool(const struct output *);
/* Whether bytes go to the spool instead of the FIFO. */
bool output_diverted(const struct output *);
/* Whether all has been read that a pending finish asked for. */
bool output_target_reached(const struct output *);
/* Nothing more is read; error: 0, or why. */
void output_source_end(struct pump *, struct output *, int error);

/* pump_drain.c */
void output_wait_begin(struct pump *, struct output *, struct wait *, uint32_t grace_ms);
/* Answers who waits, and ends the output when it is time to. Returns false if the output is no more. */
bool output_settle(struct pump *, struct output *);
int64_t output_deadline(const struct output *);

/* pump_sink.c */
int sink_open(struct pump *, struct output *);
/* Puts bytes into a FILE, CRI or NULL sink; all are taken, or dropped with an event. */
void sink_consume(struct pump *, struct output *, const unsigned char *, size_t);
/* Writes to a FIFO or FD sink: bytes taken, -EAGAIN, -EPIPE, …. Does not change the output. */
ssize_t sink_write(struct output *, const unsigned char *, size_t);
void sink_failed(struct pump *, struct output *, int error);
/* Opens the file of a FILE or CRI sink for appending: a descriptor or -errno. */
int file_open(const struct output *);
/* Writes all of it, or what fits up to the end of a line (if whole_lines). 0 or -errno. */
int file_write(struct pump *, struct output *, const unsigned char *, size_t, bool whole_lines);

/* pump_reader.c */
bool fifo_has_reader(int write_fd);
void reader_watch(struct pump *, struct output *);
void reader_back(struct pump *, struct output *);
void reader_check_all(struct pump *);
void reader_unwatch_if_unused(struct pump *);
void reader_inotify_drain(struct pump *);

/* pump_spool.c */
uint64_t spool_length(const struct output *);
uint64_t spool_room(const struct output *);
/* Appends at most the room's worth; returns how many bytes. */
size_t spool_append(struct pump *, struct output *, const unsigned char *, size_t);
/* Hands bytes on to the FIFO: how many, -EAGAIN, -EPIPE. */
ssize_t spool_pass_on(struct pump *, struct output *, size_t budget);
void spool_punch(struct output *);
void spool_close(struct output *, bool unlink_it);

/* pump_cri.c */
void cri_consume(struct pump *, struct output *, const unsigned char *, size_t);
void cri_end(struct pump *, struct output *);
/* "2016-10-06T00:17:09.669794202Z": writes PUMP_TIMESTAMP_LENGTH bytes, no terminator. */
enum { PUMP_TIMESTAMP_LENGTH = 30 };
void cri_timestamp(char *, int64_t seconds, long nanoseconds);

/* pump_input.c */
struct input *input_find(struct pump *, uint32_t id);
void input_service(struct pump *, struct input *);
void input_free(struct pump *, struct input *);
/* Whether all that was read so far is written, so that the next chunk may come. */
bool input_takes(const struct input *);
void input_close_begin(struct pump *, struct input *);

/* pump_client.c */
void client_service(struct pump *, struct client *);
/* Reads one chunk of stdin for its input, at most PUMP_FRAME_MAX bytes: how many; 0: none now. */
size_t client_read_stdin(struct pump *, struct client *, unsigned char *);
void client_link(struct pump *, struct client *, uint32_t id);
void client_free(struct pump *, struct client *);
void client_gone(struct pump *, struct client *, enum pump_client_gone);
int64_t client_deadline(const struct pump *, const struct client *);
bool clients_ready(struct pump *, const struct output *);
void clients_send(struct pump *, const struct output *, const unsigned char *, size_t);
void clients_output_ended(struct pump *, uint32_t output_id);
void clients_input_ended(struct pump *, uint32_t input_id);
void clients_interest(struct pump *, uint32_t input_id);
/* Disconnects those that hold the output back. Returns whether there were any. */
bool clients_kick_slow(struct pump *, const struct output *);

/* pump_save.c, pump_load.c */
#define PUMP_STATE_FIRST_LINE "berth-pump 1"

/* pump_state.c. For tests and failed loads: frees the memory and closes only what the pump made for itself, as exec does. */
void pump_abandon(struct pump *);

#endif
