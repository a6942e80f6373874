-- The newest version of each application's declarations.
CREATE OR REPLACE VIEW declarations_in_force AS
SELECT *
FROM declarations
WHERE (application, valid_from) IN (SELECT application, max(valid_from) FROM declarations GROUP BY application)
