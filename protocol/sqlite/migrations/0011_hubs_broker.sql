-- Which Broker each hub uses: hubs that share these records must share one.
ALTER TABLE hubs ADD COLUMN broker TEXT;
