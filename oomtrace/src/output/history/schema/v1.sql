-- Version 1. No STRICT tables and no columns that are computed: a host's own sqlite3 (3.26 on RHEL 8) can read it, too.

-- What is known of the machine, boot by boot.
CREATE TABLE boots (
    boot_id       TEXT PRIMARY KEY,
    host          TEXT,
    kernel        TEXT,
    memory_bytes  INTEGER,
    swap_bytes    INTEGER,
    cpus          INTEGER,
    first_seen_ns INTEGER NOT NULL, -- since 1970; so is each time here but boot_ns
    last_seen_ns  INTEGER NOT NULL
);

-- One row a line of JSON.
CREATE TABLE events (
    id            INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL,    -- the line's type: oom, relief, fork_failure, userspace_kill, alloc_failure, loss, status
    name          TEXT,             -- the same whenever and from wherever it is told
    incident      TEXT,             -- the id of an incident, and of what became of its victims
    at_ns         INTEGER NOT NULL, -- by which lines are in order: time_ns, or, where that is not known, when it was stored
    time_ns       INTEGER,
    boot_ns       INTEGER,
    boot_id       TEXT,
    host          TEXT,
    source        TEXT NOT NULL,
    kmsg_seq      INTEGER,
    scope         TEXT,             -- what ran out: global, memcg, cpuset, mempolicy
    cause         TEXT,             -- how; why a fork failed; what allocation; where something was lost
    outcome       TEXT,
    limit_at      TEXT,             -- the cgroup at its limit
    asked_by      TEXT,             -- the task whose allocation failed; the daemon that killed
    count         INTEGER NOT NULL,
    line          TEXT NOT NULL,
    UNIQUE (name, kind)             -- not the other way around: SQLite would look for what is alike among all of a kind
);
CREATE INDEX events_in_order ON events (at_ns, id);
CREATE INDEX events_by_record ON events (kmsg_seq) WHERE kmsg_seq IS NOT NULL;

-- The victims, in their order; the task that could not fork, or got no memory.
CREATE TABLE tasks (
    event          INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    place          INTEGER NOT NULL,
    pid            INTEGER,
    tid            INTEGER,
    comm           TEXT,
    uid            INTEGER,
    verdict        TEXT,
    total_vm_bytes INTEGER,
    rss_bytes      INTEGER,
    cgroup         TEXT,
    container_id   TEXT,
    container_name TEXT,
    pod_name       TEXT,
    namespace      TEXT,
    PRIMARY KEY (event, place)
) WITHOUT ROWID;
CREATE INDEX tasks_by_thread ON tasks (tid, comm);

CREATE VIEW incidents AS SELECT * FROM events WHERE kind = 'oom';
CREATE VIEW reliefs AS SELECT * FROM events WHERE kind = 'relief';
CREATE VIEW fork_failures AS SELECT * FROM events WHERE kind = 'fork_failure';
CREATE VIEW userspace_kills AS SELECT * FROM events WHERE kind = 'userspace_kill';
CREATE VIEW alloc_failures AS SELECT * FROM events WHERE kind = 'alloc_failure';
CREATE VIEW losses AS SELECT * FROM events WHERE kind = 'loss';
