-- Version 2: units of systemd's, and findings, which stand in the lines that version 1 kept.

ALTER TABLE tasks ADD COLUMN unit TEXT;

CREATE TABLE findings (
    event    INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    place    INTEGER NOT NULL, -- what to look at first stands first
    id       TEXT NOT NULL,
    severity TEXT NOT NULL,
    summary  TEXT NOT NULL,
    PRIMARY KEY (event, place)
) WITHOUT ROWID;

INSERT INTO findings (event, place, id, severity, summary)
SELECT events.id, each.key, json_extract(each.value, '$.id'), json_extract(each.value, '$.severity'),
       json_extract(each.value, '$.summary')
FROM events, json_each(events.line, '$.findings') AS each
WHERE json_valid(events.line);

UPDATE tasks SET unit = (
    SELECT coalesce(json_extract(line, '$.victims[' || place || '].unit'),
                    CASE place WHEN 0 THEN json_extract(line, '$.task.unit') END)
    FROM events WHERE events.id = tasks.event AND json_valid(line)
);
