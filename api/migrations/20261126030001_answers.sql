-- Who carries out a command stands in Redis; a row is an answer.
DELETE FROM command_answers WHERE status IS NULL;
ALTER TABLE command_answers
    DROP COLUMN lease_until,
    ALTER COLUMN status SET NOT NULL,
    ALTER COLUMN headers SET NOT NULL;
