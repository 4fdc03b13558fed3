-- The runs of one account, and how many of them wait, so that nobody has to count a million rows.
CREATE INDEX run_account ON run (account, id);

CREATE TABLE account_count (
    account TEXT PRIMARY KEY,
    waiting INTEGER NOT NULL CHECK (waiting >= 0)  -- held or queued
) STRICT, WITHOUT ROWID;

INSERT INTO account_count
SELECT account, count(*) FROM run WHERE state IN ('held', 'queued') GROUP BY account;

CREATE TRIGGER account_count_insert AFTER INSERT ON run WHEN NEW.state IN ('held', 'queued')
BEGIN
    INSERT INTO account_count VALUES (NEW.account, 1)
    ON CONFLICT DO UPDATE SET waiting = waiting + 1;
END;

CREATE TRIGGER account_count_update AFTER UPDATE OF state ON run
WHEN (OLD.state IN ('held', 'queued')) <> (NEW.state IN ('held', 'queued'))
BEGIN
    UPDATE account_count SET waiting = waiting + iif(NEW.state IN ('held', 'queued'), 1, -1)
    WHERE account = NEW.account;
END;

CREATE TRIGGER account_count_delete AFTER DELETE ON run WHEN OLD.state IN ('held', 'queued')
BEGIN
    UPDATE account_count SET waiting = waiting - 1 WHERE account = OLD.account;
END;
