-- Runs that have ended and whose commands `on_end` have not been started yet, in the order of
-- their ends. A row comes in the transaction that ends the run.
CREATE TABLE on_end (
    id     INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL UNIQUE REFERENCES run (id) ON DELETE CASCADE
) STRICT;

-- Holds its row while the daemon has a command for every run.
CREATE TABLE on_end_for_all (one INTEGER PRIMARY KEY CHECK (one = 1)) STRICT;

CREATE TRIGGER run_on_end AFTER UPDATE OF state ON run
WHEN NEW.state = 'ended' AND OLD.state <> 'ended'
    AND (json_extract(NEW.spec, '$.on_end') IS NOT NULL OR EXISTS (SELECT 1 FROM on_end_for_all))
BEGIN
    INSERT INTO on_end (run_id) VALUES (NEW.id);
END;
