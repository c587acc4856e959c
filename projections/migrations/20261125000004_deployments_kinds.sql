-- Names and whole nodes, and deployments that are made together.
ALTER TABLE deployments
    ADD COLUMN kind     text NOT NULL DEFAULT 'node',
    ADD COLUMN name     text,
    ADD COLUMN batch_id uuid;
CREATE INDEX deployments_of_batch ON deployments (batch_id) WHERE batch_id IS NOT NULL;
