-- Who offers nodes, and how far each application is.
CREATE TABLE node_applications (
    id           uuid        PRIMARY KEY,
    applicant_id uuid        NOT NULL,
    status       text        NOT NULL,
    revision     integer     NOT NULL,
    farm_name    text        NOT NULL,
    country      text        NOT NULL,
    city         text        NOT NULL,
    decided_by   uuid,
    updated_at   timestamptz NOT NULL,
    version      bigint      NOT NULL
);
CREATE INDEX node_applications_of_applicant ON node_applications (applicant_id);
