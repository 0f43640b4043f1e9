#!/usr/bin/env bash
# PGXN's client demands a writable directory into which nothing is installed, and calls one that does not exist "not writable".
#
# Seen: pgxnclient 1.3.2 on Debian 12. It looks at the directory that `pg_config --libdir` names. Extensions go to --pkglibdir and
# --sharedir. On a machine where only those two exist, `pgxn install` stops and advises to become superuser. Being root does not help;
# an empty directory does.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/python"
"$place/python/bin/pip" install --quiet --disable-pip-version-check pgxnclient==1.3.2
mkdir -p "$place/extension" "$place/server/pkglib" "$place/server/share"
cd "$place"
cat >extension/META.json <<'META'
{"name": "hello", "version": "1.0.0", "abstract": "says hello", "maintainer": "nobody", "license": "postgresql",
 "provides": {"hello": {"file": "hello.sql", "version": "1.0.0"}}, "meta-spec": {"version": "1.0.0"}}
META
printf 'all:\n\ninstall:\n\t@echo it is installed\n' >extension/Makefile
cat >pg_config <<PROGRAM
#!/bin/sh
case \$1 in
    --version) echo PostgreSQL 15.20 ;;
    --libdir) echo $place/server/lib ;;
    --pkglibdir) echo $place/server/pkglib ;;
    *) echo $place/server/share ;;
esac
PROGRAM
chmod +x pg_config

install() { python/bin/pgxn install --make make --pg_config ./pg_config ./extension/ 2>&1 || true; }

told=$(install)
echo "$told"
grep -q "/server/lib) not writable" <<<"$told"
! grep -q "it is installed" <<<"$told"
mkdir server/lib
told=$(install)
echo "$told"
grep -q "it is installed" <<<"$told"
[ -z "$(ls -A server/lib)" ]
