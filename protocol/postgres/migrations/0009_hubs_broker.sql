-- Which Broker each hub uses: hubs that share these records must share one.
ALTER TABLE emp.hubs ADD COLUMN IF NOT EXISTS broker text;
