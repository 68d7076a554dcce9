"""What the tests of questions in SQL share: a store with readings, and a list of what somebody may try."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from storage.telemetry.store import TelemetryStore
from tests.log_kit import Record
from tests.pipeline_kit import Bench

NOW: Final = 1_795_000_000_000
"""2026-11-18 11:06:40 UTC."""


def store_with_readings(folder: Path) -> TelemetryStore:
    """Ten numbers, truths and texts of a device `d`, a second apart from NOW on, and two numbers of a device `e`."""
    store = TelemetryStore.open(folder / "t.duckdb")
    records = [
        Record(
            b'{"ts":%d,"v":{"t":%d,"on":%s,"mode":"m%d"}}'
            % (NOW + n * 1_000, n, (b"false", b"true")[n % 2], n),
            b"dm/d/telemetry",
            NOW + 30_000,
        )
        for n in range(10)
    ]
    records += [
        Record(b'{"ts":%d,"v":{"t":%d},"q":"bad"}' % (NOW + n * 86_400_000, 100 + n), b"dm/e/telemetry", NOW)
        for n in (-1, 0)
    ]
    batch, _ = Bench().build(records)
    batch.before = type(batch.before)()
    store.commit(batch)
    return store


def escapes(secret: Path, archive: Path) -> list[str]:
    """What must be refused, all of it.

    Args:
        secret: A file outside, with lines of text. archive: A Parquet file that DuckDB itself may read.
    """
    ways = [each.format(secret=secret, archive=archive) for each in _ESCAPES]
    assert len(set(ways)) == len(ways)
    return ways


_ESCAPES: Final = (
    # Files, by function and by name.
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM READ_CSV ('{secret}', delim := '|')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_ndjson_objects('{secret}')",
    "SELECT * FROM read_parquet('{archive}')",
    "SELECT * FROM parquet_scan('{archive}')",
    "SELECT * FROM parquet_metadata('{archive}')",
    "SELECT * FROM parquet_file_metadata('{archive}')",
    "SELECT * FROM parquet_kv_metadata('{archive}')",
    "SELECT * FROM parquet_schema('{archive}')",
    "SELECT * FROM parquet_bloom_probe('{archive}', 'device', 'd')",
    "SELECT * FROM '{archive}'",
    'SELECT * FROM "{archive}"',
    "FROM '{archive}'",
    "SELECT * FROM '{secret}'",
    "TABLE '{archive}'",
    "SELECT * FROM glob('{secret}*')",
    "SELECT * FROM read_duckdb('{secret}')",
    "SELECT * FROM readings JOIN read_text('{secret}') ON true",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM readings WHERE text IN (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM readings ORDER BY (SELECT content FROM read_text('{secret}'))",
    "SELECT count(*) FROM readings HAVING (SELECT count(*) FROM glob('{secret}')) > 0",
    "SELECT * FROM readings LIMIT (SELECT count(*) FROM glob('{secret}'))",
    "SELECT * FROM readings QUALIFY row_number() OVER (ORDER BY (SELECT content FROM read_text('{secret}'))) = 1",
    "WITH a AS (SELECT * FROM read_text('{secret}')) SELECT * FROM a",
    "SELECT 1 UNION ALL SELECT content FROM read_text('{secret}')",
    "SELECT * FROM readings, LATERAL (SELECT * FROM read_text('{secret}'))",
    "SELECT CASE WHEN true THEN (SELECT content FROM read_text('{secret}')) END",
    "SELECT EXISTS (FROM read_text('{secret}'))",
    "SELECT sum(value) FILTER ((SELECT true FROM read_text('{secret}'))) FROM readings",
    "VALUES ((SELECT content FROM read_text('{secret}')))",
    # Text that becomes a statement, or a name that becomes a table.
    "SELECT * FROM query('SELECT * FROM dead_letters')",
    "SELECT * FROM query_table('dead_letters')",
    "SELECT * FROM query_table(['readings', 'dead_letters'])",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM dead_letters'))",
    "SELECT json_serialize_plan('SELECT * FROM dead_letters')",
    "SELECT json_deserialize_sql('{{}}')",
    "PRAGMA json_execute_serialized_sql('{{}}')",
    "SELECT * FROM seq_scan('dead_letters')",
    # Other tables, other databases, the catalog of DuckDB.
    "SELECT * FROM dead_letters",
    "SELECT * FROM telemetry.main.dead_letters",
    "SELECT * FROM telemetry.dead_letters",
    "SELECT * FROM main.readings",
    "SELECT * FROM memory.main.readings",
    "SELECT * FROM v_readings",
    "SELECT * FROM commits",
    "SELECT * FROM readings_20261118",
    "SELECT * FROM other.main.secrets",
    "SELECT * FROM secrets",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_tables",
    "SELECT * FROM pg_tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM duckdb_settings",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_tables()",
    "SELECT * FROM duckdb_databases()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_logs()",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM pragma_table_info('telemetry.main.dead_letters')",
    "SELECT * FROM pragma_storage_info('telemetry.main.series')",
    "SELECT * FROM pragma_database_size()",
    "SELECT * FROM which_secret('s3://x', 's3')",
    "SELECT * FROM (DESCRIBE dead_letters)",
    "SELECT * FROM (SHOW TABLES)",
    "SELECT * FROM (SUMMARIZE dead_letters)",
    "SELECT * FROM readings AT (VERSION => 1)",
    "WITH dead_letters AS (SELECT * FROM dead_letters) SELECT * FROM dead_letters",
    "SELECT * FROM dead_letters WHERE EXISTS (WITH dead_letters AS (SELECT 1) SELECT 1)",
    "SELECT * FROM (WITH commits AS (SELECT 1) SELECT 1), commits",
    "WITH a AS (SELECT * FROM commits), commits AS (SELECT 1) SELECT * FROM a",
    "WITH RECURSIVE commits AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM commits) SELECT * FROM commits",
    "WITH readings AS (SELECT 1) SELECT * FROM readings",
    # The process: settings, environment, variables, connections, versions.
    "SELECT getenv('HOMEPORT_ESCAPE')",
    "SELECT current_setting('temp_directory')",
    "SELECT getvariable('x')",
    "SELECT current_user",
    "SELECT current_schema",
    "SELECT session_user",
    "SELECT current_database()",
    "SELECT current_query()",
    "SELECT current_schemas(true)",
    "SELECT version()",
    "SELECT pg_get_viewdef(0)",
    "SELECT inet_server_addr()",
    "SELECT nextval('s')",
    "SELECT setseed(0.5)",
    "SELECT write_log('x')",
    "SELECT sleep_ms(10000)",
    "SELECT pg_sleep(10)",
    "SELECT in_search_path('memory', 'main')",
    "SELECT system.main.abs(1)",
    "SELECT 1::regclass",
    "SELECT 'd'::JSON",
    "SELECT 1::ENUM('a')",
    # What is no question.
    "INSERT INTO readings VALUES (1)",
    "UPDATE telemetry.main.series SET device = 'x'",
    "DELETE FROM telemetry.main.series",
    "TRUNCATE telemetry.main.series",
    "DROP TABLE telemetry.main.series",
    "CREATE TABLE telemetry.main.x AS SELECT 1",
    "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE OR REPLACE VIEW memory.main.readings AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "ALTER TABLE telemetry.main.series ADD COLUMN x INT",
    "COPY (SELECT 1) TO '{secret}'",
    "COPY readings TO '{archive}' (FORMAT parquet)",
    "COPY telemetry.main.series FROM '{secret}'",
    "EXPORT DATABASE '{secret}'",
    "IMPORT DATABASE '{secret}'",
    "ATTACH '{secret}' AS x",
    "DETACH telemetry",
    "USE telemetry",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 64",
    "SET GLOBAL enable_external_access = true",
    "RESET memory_limit",
    "PRAGMA database_list",
    "CALL pragma_database_size()",
    "CALL checkpoint()",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "BEGIN",
    "COMMIT",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN SELECT * FROM dead_letters",
    "EXPLAIN ANALYZE SELECT 1",
    "DESCRIBE telemetry.main.series",
    "SHOW ALL TABLES",
    "COMMENT ON TABLE telemetry.main.series IS 'x'",
    "CREATE SECRET s (TYPE s3)",
    "MERGE INTO telemetry.main.series USING readings ON false WHEN NOT MATCHED THEN INSERT",
    "WITH a AS (DELETE FROM telemetry.main.series RETURNING *) SELECT * FROM a",
    "SELECT 1; DROP TABLE telemetry.main.series",
    "SELECT 1; SELECT 2",
    "SELECT 1 /* */ ; COPY (SELECT 1) TO '{secret}'",
    "SELECT 1 INTO x",
    "SELECT * FROM readings FOR UPDATE",
    "SELECT * FROM checkpoint('telemetry')",
    "SELECT * FROM enable_logging()",
    "SELECT * FROM python_map_function()",
    "SELECT * FROM arrow_scan(0, 0, 0)",
    "SELECT * FROM pandas_scan(0)",
    "SELECT * FROM test_all_types()",
    "SELECT $1",
    "SELECT ?",
    "SELECT list_transform([1], lambda x: (SELECT content FROM read_text('{secret}')))",
    "SELECT [x FOR x IN [1]]",
    "SELECT COLUMNS(c -> c LIKE 'd%') FROM readings",
    "SELECT COLUMNS('d.*') FROM readings",
    "FROM readings PIVOT (max(value) FOR metric IN ('t'))",
    "PIVOT readings ON metric USING max(value)",
    "SELECT * FROM readings TABLESAMPLE 10%",
    "SELECT 'a' COLLATE nocase",
    # What is harmless but for its size.
    "SELECT repeat('x', 4000000000)",
    "SELECT lpad('x', 2000000000, 'y')",
    "SELECT format('{{:>2000000000}}', 1)",
    "SELECT printf('%2000000000d', 1)",
    "SELECT replace('aaaa', 'a', 'aaaaaaaaaaaaaaaa')",
    "SELECT range(1000000000)",
    "SELECT generate_series(1, 1000000000)",
    "SELECT list(value) FROM readings",
    "SELECT string_agg(text, ',') FROM readings",
    "SELECT histogram(value) FROM readings",
    "SELECT max(value, 1000000) FROM readings",
    "SELECT levenshtein(text, text) FROM readings",
    "SELECT repeat FROM repeat('x', 1000000000)",
    "SELECT 1 AS a0" + "".join(f", a{n} + a{n} AS a{n + 1}" for n in range(24)),
    "WITH c0 AS (SELECT 1 AS x)" + "".join(f", c{n + 1} AS (SELECT * FROM c{n} a, c{n} b)" for n in range(20)) + " SELECT 1",
    "SELECT count(*) FROM readings GROUP BY CUBE (device, metric, value, text, quality, kind, observed_at)",
    "SELECT " + "(" * 4000 + "1" + ")" * 4000,
    "SELECT " + "NOT " * 900 + "true",
    "SELECT 1" + " + 1" * 900,
    "SELECT '" + "x" * 20_000 + "'",
    "SELECT 'a'" + " || 'a'" * 30,
)  # fmt: skip
