/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stdio pump: an epoll loop that moves the bytes of containers between pipes, ptys, FIFOs, log files and
 * attach clients. Nothing else in Berth touches those bytes.
 *
 * The same source runs as a thread of the addon (many threads call the functions below, one thread calls
 * pump_step) and inside the keeper (one thread). Every function takes the pump's own lock; there is no global
 * state. All descriptors given to a pump belong to it from then on, also if the call fails, and are close-on-exec.
 * Calls return 0 (or a positive value where stated), or -errno.
 *
 * Ids are chosen by the caller, are not 0, and are unique among outputs, inputs, clients and watches together. An id is free
 * again once its ENDED or GONE event is made; calls for an id that is not there are -ENOENT.
 *
 * The process must ignore SIGPIPE (a FIFO without a reader raises it), and SIGXFSZ if its files are limited in size.
 */
#ifndef BERTH_PUMP_H
#define BERTH_PUMP_H

#include <stddef.h>
#include <stdint.h>

struct pump;

enum pump_event_kind {
    PUMP_EV_READY = 1,        /* a watched descriptor is ready; value: poll bits. The watch is off until armed again */
    PUMP_EV_DRAINED = 2,      /* answer to pump_drain; value: enum pump_drained */
    PUMP_EV_OUTPUT_ENDED = 3, /* an output saw end of file (or was finished), and its sink is closed; value: 0: all of it
                                 is delivered; else bytes were dropped: the sink's errno, EPIPE (finish: no reader),
                                 ETIMEDOUT (finish: the reader takes nothing) */
    PUMP_EV_INPUT_ENDED = 4,  /* an input's destination was closed: value 0 after pump_input_close, else errno (EPIPE: process went) */
    PUMP_EV_CLIENT_GONE = 5,  /* an attach client left or was disconnected; value: enum pump_client_gone */
    PUMP_EV_SINK_ERROR = 6,   /* a sink cannot be written; bytes are dropped from here on, so that the container does not
                                 hang; value: errno. Once an output. After ENOSPC and EDQUOT each later write is tried
                                 again; after any other error only reopen helps */
    PUMP_EV_SPOOLING = 7      /* the reader of an output's FIFO is gone and output goes to the spool (value 1), or it is caught up (value 0) */
};

enum pump_drained {
    PUMP_DRAINED_ALL = 0,     /* everything written so far has reached the sink */
    PUMP_DRAINED_SPOOLED = 1, /* the reader takes nothing: the rest waits in the spool, in order (if full: in the pipe) */
    PUMP_DRAINED_LOST = 2     /* the sink is broken: see PUMP_EV_SINK_ERROR. Or an FD sink takes nothing: tried on */
};

enum pump_client_gone { PUMP_CLIENT_LEFT = 0, PUMP_CLIENT_SLOW = 1, PUMP_CLIENT_PROTOCOL = 2, PUMP_CLIENT_OUTPUT_ENDED = 3 };

struct pump_event {
    uint32_t kind;
    uint32_t id;
    int64_t value;
};

enum pump_sink {
    PUMP_SINK_NULL = 0, /* read and drop (attach clients still see it) */
    PUMP_SINK_FIFO = 1, /* a FIFO by path (else -EINVAL): a slow reader gives back-pressure, a missing one makes it spool.
                           An output that ended waits for a reader of what is left in the FIFO or spool, until finish */
    PUMP_SINK_FILE = 2, /* append raw bytes to a file by path (opened O_APPEND|O_CREAT, 0640) */
    PUMP_SINK_CRI = 3,  /* append to a file by path in the CRI log format, as containerd writes it: pieces of at most
                           16384 bytes, CR LF ends a line like LF, an unterminated last line has tag P */
    PUMP_SINK_FD = 4    /* a descriptor (a logger's pipe); end of file closes it; EPIPE counts as a broken sink */
};

struct pump_output {
    uint32_t id;
    int source;             /* pipe read end or pty master; made non-blocking by the pump */
    int source_is_pty;      /* EIO from it means end of file; the same open file may be an input's destination: dup it first */
    enum pump_sink sink;
    const char *path;       /* FIFO, FILE, CRI */
    int sink_fd;            /* FD only, else -1 */
    const char *cri_stream; /* CRI: "stdout" or "stderr" */
    const char *spool_path; /* FIFO: created 0600 when first needed, unlinked when the output ends or is removed */
    uint64_t spool_limit;   /* bytes; beyond it, or if the disk is full, the container gets back-pressure */
    uint64_t log_max_bytes; /* CRI: 0, or rotate by itself: rename to path.1 at this size (only one old file is kept) */
};

struct pump_input {
    uint32_t id;
    int dest;               /* pipe write end or pty master; made non-blocking */
    int dest_is_pty;        /* closing the input does not close the pty's other users; no end of file is sent */
    const char *fifo_path;  /* or NULL: only attach clients write. The pump also holds the FIFO's write end, so that a writer
                               that goes away is no end of file */
};

struct pump *pump_new(void); /* NULL: errno */
void pump_free(struct pump *);

/* Outputs. */
int pump_output_add(struct pump *, const struct pump_output *);
/* Answers with PUMP_EV_DRAINED when all that the source holds at this moment is delivered, or after grace_ms without
   progress is moved to the spool (sinks without a spool: PUMP_DRAINED_LOST if it then still cannot be written). If nobody
   has the FIFO open, PUMP_DRAINED_SPOOLED comes at once. Attach clients that hold the output back after grace_ms are
   disconnected. The start of a CRI line is held until its end comes and counts as delivered. Each call gets an answer. */
int pump_output_drain(struct pump *, uint32_t id, uint32_t grace_ms);
/* Like drain, and then closes the output: source, sink, spool. If a reader is there and takes bytes it is waited for;
   grace_ms counts from its last progress. If nobody has the FIFO open, a reader is waited for for grace_ms. What is written
   after the call may be lost. Ends with PUMP_EV_OUTPUT_ENDED. */
int pump_output_finish(struct pump *, uint32_t id, uint32_t grace_ms);
int pump_output_remove(struct pump *, uint32_t id);     /* at once, what is not delivered is dropped; no event */
/* FILE and CRI: open the path anew (log rotation); on failure the old file stays. */
int pump_output_reopen(struct pump *, uint32_t id);

/* Inputs. */
int pump_input_add(struct pump *, const struct pump_input *);
/* CloseIO: what is in the FIFO and in the buffer is delivered, then the destination is closed (a pipe) */
int pump_input_close(struct pump *, uint32_t id);
int pump_input_remove(struct pump *, uint32_t id);

/*
 * Attach: a connected unix stream socket becomes a client. Frames both ways: kind (1 byte), length (4 bytes, big endian,
 * at most 65536), payload. Kinds: 0 stdin (to us), 1 stdout, 2 stderr (from us), 3 end of stdin (to us, length 0): as
 * pump_input_close, whoever else writes to the input. A client that leaves, or only stops sending, ends no stdin; one that
 * stopped sending still gets output.
 * input, out, err: ids or 0. Output that came before is not replayed. A client that takes nothing for 10 seconds while
 * output waits for it is disconnected (PUMP_CLIENT_SLOW); until then it holds its container's output back, as a slow FIFO
 * reader does. When all its outputs have ended the client's socket is shut down for writing and closed.
 */
int pump_client_add(struct pump *, uint32_t id, int fd, uint32_t input, uint32_t out, uint32_t err);
int pump_client_remove(struct pump *, uint32_t id);

/* Watches: one-shot readiness of any descriptor, for whoever reads and writes it itself. The pump does not own these.
   Adds, or arms again with these bits (POLLIN, POLLOUT, POLLPRI). -EEXIST: another watch has this descriptor. */
int pump_watch(struct pump *, uint32_t id, int fd, int poll_bits);
int pump_unwatch(struct pump *, uint32_t id);

/* Waits at most timeout_ms (-1: no limit) and does what there is to do; fills in events, returns how many (maybe 0). */
int pump_step(struct pump *, int timeout_ms, struct pump_event *events, int max_events);
int pump_wake(struct pump *); /* makes a pump_step that waits in another thread return, maybe with 0 events */

/* 1 if nothing is waiting to be written anywhere (an empty spool, no buffered or partial bytes) and no event to be taken,
   so that it may sleep. Pending drains do not count: they are saved with the rest of their grace. */
int pump_is_idle(struct pump *);
/* Writes all outputs, inputs and clients (descriptor numbers, offsets, buffered bytes, pending drains), but not watches, as
   text to a descriptor, so that another program in the same process can go on with pump_load after exec. The format has a
   version line and one line an object with key=value pairs; unknown keys are ignored, so that versions can differ. Events
   that nobody took are in it too, READY excepted. No pump_step may run between pump_save and exec: it moves bytes. */
int pump_save(struct pump *, int fd);
/* The counterpart, from the descriptor's current offset. NULL and errno when the text is not understood (nothing is closed). */
struct pump *pump_load(int fd);
/* The descriptors that must stay open across exec: the caller clears their close-on-exec flag, pump_load sets it again.
   Returns how many there are (may be more than max). */
int pump_descriptors(struct pump *, int *fds, int max);

#endif
