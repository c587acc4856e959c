-- Deployments that get other workloads and that are cancelled.
ALTER TABLE deployments
    ADD COLUMN workload_version integer NOT NULL DEFAULT 1,
    ADD COLUMN wanted_version   integer NOT NULL DEFAULT 1;
