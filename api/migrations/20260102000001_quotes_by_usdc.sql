-- What is to be paid of a quote by USDC. Offers that were made before expire within minutes; until
-- then they cost what they may cost at most.
ALTER TABLE quotes ADD COLUMN usdc_due bigint;
UPDATE quotes SET usdc_due = usdc_cap;
ALTER TABLE quotes ALTER COLUMN usdc_due SET NOT NULL;
