#!/bin/sh
# Makes the application's own role and database, once, when the server's folder is new.
# The role is no superuser and owns only this database: row-level security holds for it.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set password="$ONEPROTECT_DB_PASSWORD" <<'SQL'
CREATE ROLE oneprotect LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'password';
CREATE DATABASE oneprotect OWNER oneprotect;
REVOKE ALL ON DATABASE oneprotect FROM PUBLIC;
SQL
