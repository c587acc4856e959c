-- What nodes say of workloads.
ALTER TABLE deployments ADD COLUMN workload text NOT NULL DEFAULT 'none';
