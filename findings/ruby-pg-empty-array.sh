#!/usr/bin/env bash
# With its type map for queries, ruby-pg sends an empty array as text[], whatever a full one is sent as.
#
# Seen: ruby-pg 1.4.5-1+b1 with ruby 3.1 of Debian 12 and PostgreSQL 15.20. The map takes the type of an array from its first
# element; PG::BasicTypeMapForQueries has text[] for one without any. So a function of bigint[] is found for all arrays but the empty.
set -euo pipefail
ruby=3.1.7+really3.1.2-0+deb12u1
. "$(dirname "$0")/server"
(
    cd "$place"
    apt-get download ruby-pg=1.4.5-1+b1 ruby3.1=$ruby libruby3.1=$ruby 2>/dev/null >&2
    for package in *.deb; do dpkg -x "$package" packages; echo "$package"; done
)
sql -c "CREATE FUNCTION all_gone(bigint[]) RETURNS bigint LANGUAGE sql AS 'SELECT cardinality(\$1)'" >/dev/null
usr=$place/packages/usr lib=$place/packages/usr/lib/$(uname -m)-linux-gnu
RUBYLIB=$usr/lib/ruby/vendor_ruby:$lib/ruby/vendor_ruby/3.1.0:$usr/lib/ruby/3.1.0:$lib/ruby/3.1.0 LD_LIBRARY_PATH=$lib PORT=$port \
    "$usr/bin/ruby3.1" --disable-gems - <<'PROGRAM'
require 'pg'
db = PG.connect(host: '127.0.0.1', port: ENV['PORT'], user: 'postgres', dbname: 'postgres')
db.type_map_for_queries = PG::BasicTypeMapForQueries.new(db)
type = ->(array) { db.exec_params('SELECT pg_typeof($1)::text', [array])[0]['pg_typeof'] }
expect = ->(array, wanted) { puts "#{array} is #{type.(array)}"; exit 1 unless type.(array) == wanted }
expect.([1], 'bigint[]')
expect.([1.5], 'double precision[]')
expect.([], 'text[]')
raise 'it is found' unless db.exec_params('SELECT all_gone($1) AS n', [[1]])[0]['n'] == '1'
begin
  db.exec_params('SELECT all_gone($1)', [[]])
  exit 1
rescue PG::UndefinedFunction => e
  puts e.message
end
PROGRAM
