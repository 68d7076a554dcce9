-- compatible-with: 1
-- A role of the configuration, beside access: '' for none. The release before reads access alone, which stays 'own' for
-- whoever has a role, so it opens their own topics and nothing else.

ALTER TABLE devices ADD COLUMN role TEXT NOT NULL DEFAULT '';

DROP TRIGGER auth_device_update;
CREATE TRIGGER auth_device_update AFTER UPDATE OF kind, access, state, role ON devices
BEGIN INSERT OR REPLACE INTO auth_changes (device_id) VALUES (NEW.device_id); END;
