-- Where the partition does not follow from the key: a release stands in the partition of the record
-- that it is about, whoever wrote that one.
ALTER TABLE outbox ADD COLUMN partition integer;
