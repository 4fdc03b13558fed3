-- Times are integer microseconds since 1970 UTC; texts of states, outcomes and events are those of
-- intendant.protocol.run_states.

CREATE TABLE queue (
    name   TEXT PRIMARY KEY,
    slots  INTEGER CHECK (slots >= 1),  -- NULL: as many as the daemon has
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1))
) STRICT, WITHOUT ROWID;

INSERT INTO queue (name) VALUES ('default');

-- AUTOINCREMENT: the id names folders, so a pruned run's id is never given out again.
CREATE TABLE run (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    account           TEXT NOT NULL,
    submission_key    TEXT,
    name              TEXT,
    kind              TEXT NOT NULL,
    queue             TEXT NOT NULL REFERENCES queue (name),
    priority          INTEGER NOT NULL,
    state             TEXT NOT NULL,
    outcome           TEXT,
    reason            TEXT,
    exit_code         INTEGER,
    signal            INTEGER,
    attempt           INTEGER NOT NULL DEFAULT 0,
    tries             INTEGER NOT NULL DEFAULT 0,  -- attempts that started and count for a retry
    burnt             INTEGER NOT NULL DEFAULT 0,  -- attempts in a row that never started
    stop_outcome      TEXT,                        -- who asked for the current attempt's end
    stop_reason       TEXT,
    not_before        INTEGER,                     -- back-off: no attempt earlier than this
    open_dependencies INTEGER NOT NULL DEFAULT 0,  -- derived from `dependency`
    submitted_at      INTEGER NOT NULL,
    started_at        INTEGER,
    finished_at       INTEGER,
    spec              TEXT NOT NULL,
    CHECK ((state = 'ended') = (outcome IS NOT NULL)),
    CHECK ((state = 'ended') = (finished_at IS NOT NULL)),
    CHECK (state <> 'stopping' OR stop_outcome IS NOT NULL),
    CHECK (open_dependencies >= 0)
) STRICT;

CREATE UNIQUE INDEX run_key ON run (account, submission_key) WHERE submission_key IS NOT NULL;
CREATE INDEX run_state ON run (state, outcome);
-- What may start at once, in the order in which it starts; and what waits for its back-off.
CREATE INDEX run_ready ON run (queue, priority DESC, id)
    WHERE state = 'queued' AND open_dependencies = 0 AND not_before IS NULL;
CREATE INDEX run_backoff ON run (not_before, queue, priority)
    WHERE state = 'queued' AND open_dependencies = 0 AND not_before IS NOT NULL;

CREATE TRIGGER run_ended_is_final BEFORE UPDATE ON run WHEN OLD.state = 'ended'
BEGIN
    SELECT RAISE(ABORT, 'a run that has ended never changes');
END;

CREATE TRIGGER run_submission_is_final
BEFORE UPDATE OF id, account, submission_key, name, kind, queue, submitted_at, spec ON run
BEGIN
    SELECT RAISE(ABORT, 'what was submitted never changes');
END;

CREATE TABLE attempt (
    run_id       INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    attempt      INTEGER NOT NULL,
    token_sha256 TEXT NOT NULL,
    granted_at   INTEGER NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER,
    outcome      TEXT,
    reason       TEXT,
    exit_code    INTEGER,
    signal       INTEGER,
    PRIMARY KEY (run_id, attempt),
    CHECK ((finished_at IS NULL) = (outcome IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE dependency (
    run_id    INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    on_run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    PRIMARY KEY (run_id, on_run_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX dependency_dependents ON dependency (on_run_id);

-- The runs of one shell bring the same environment: it is kept once.
CREATE TABLE environment (
    id     INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    body   TEXT NOT NULL
) STRICT;

CREATE TABLE secret (
    run_id         INTEGER PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
    environment_id INTEGER REFERENCES environment (id),
    env            TEXT NOT NULL
) STRICT;

CREATE INDEX secret_environment ON secret (environment_id);

-- The log outlives the runs it speaks of, hence no reference; its ids are never given out again.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    event   TEXT NOT NULL,
    before  TEXT,
    after   TEXT NOT NULL,
    detail  TEXT NOT NULL,
    UNIQUE (run_id, seq)
) STRICT;

CREATE TRIGGER event_is_final BEFORE UPDATE ON event
BEGIN
    SELECT RAISE(ABORT, 'what happened never changes');
END;

-- How many runs of a queue are in a state, so that nobody has to count a million rows.
CREATE TABLE run_count (
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    runs  INTEGER NOT NULL CHECK (runs >= 0),
    PRIMARY KEY (queue, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER run_count_insert AFTER INSERT ON run
BEGIN
    INSERT INTO run_count VALUES (NEW.queue, NEW.state, 1)
    ON CONFLICT DO UPDATE SET runs = runs + 1;
END;

CREATE TRIGGER run_count_update AFTER UPDATE OF state ON run WHEN OLD.state <> NEW.state
BEGIN
    UPDATE run_count SET runs = runs - 1 WHERE queue = OLD.queue AND state = OLD.state;
    INSERT INTO run_count VALUES (NEW.queue, NEW.state, 1)
    ON CONFLICT DO UPDATE SET runs = runs + 1;
END;

CREATE TRIGGER run_count_delete AFTER DELETE ON run
BEGIN
    UPDATE run_count SET runs = runs - 1 WHERE queue = OLD.queue AND state = OLD.state;
END;
