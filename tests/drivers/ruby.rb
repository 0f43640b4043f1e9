# ruby-pg without and with its type map; Sequel.

def say(client, check, ok, seen = '')
  puts [client, check, ok ? 'ok' : 'FAILED', seen].join("\t")
end

# The block takes a text with $1, $2 and values, and gives rows as lists.
def worker(client, state, array, &run)
  id = delivery = nil
  6.times { |n| id = run.('SELECT pgq_push($1, $2, priority => $3)', client, %({"n": #{n}}), -n)[0][0] }
  say client, 'push', id.to_i > 2**53, id.class
  reserve = ->(max) { run.('SELECT id, delivery FROM pgq_reserve($1, max => $2)', client, max) }
  id, delivery = reserve.(1)[0]
  say client, 'extend', run.('SELECT * FROM pgq_extend($1, $2, $3)', id, '1 min', delivery).size == 1
  say client, 'release', [true, 't'].include?(run.('SELECT pgq_release($1, $2, $3)', id, '0', delivery)[0][0])
  id, delivery = reserve.(1)[0]
  say client, 'fail', run.('SELECT outcome FROM pgq_fail($1, $2, $3)', id, 'no', delivery)[0][0] == 'retry'
  id, delivery = reserve.(1)[0]
  say client, 'delete', [true, 't'].include?(run.('SELECT pgq_delete($1, $2)', id, delivery)[0][0])
  refused = run.('SELECT pgq_delete($1, $2)', id, delivery)[0][0]
  say client, 'refused', true, "#{refused.inspect}, #{refused ? 'true' : 'false'}"
  begin
    run.('SELECT pgq_delete($1, $2, strict => true)', id, delivery)
    say client, 'strict', false, 'no error'
  rescue StandardError => e
    say client, 'strict', state.(e) == 'P0002', state.(e)
  end
  rows = reserve.(2)
  say client, 'batch', run.('SELECT pgq_delete_batch($1, $2)', array.(rows.map(&:first)), array.(rows.map(&:last))).size == 2
  # The type maps send an empty array as text[].
  say client, 'empty batch', run.('SELECT pgq_delete_batch($1, $2)', '{}', '{}').empty?
  receipt = run.('SELECT receipt FROM pgq_reserve($1, max => $2)', client, 1)[0][0]
  longer = run.('SELECT * FROM pgq_extend_by_receipt($1, $2)', receipt, '1 min').size == 1
  say client, 'receipt', longer && [true, 't'].include?(run.('SELECT pgq_delete_by_receipt($1)', receipt)[0][0]), receipt.class
  seconds = run.('SELECT oldest_ready_seconds FROM pgq_stats($1)', client)[0][0]
  say client, 'seconds', seconds.to_f >= 0, seconds.class
end

$stdout.sync = true
require 'pg'
state = ->(error) { error.result.error_field(PG::Result::PG_DIAG_SQLSTATE) }
db = PG.connect
literal = PG::TextEncoder::Array.new(elements_type: PG::TextEncoder::String.new)
worker("ruby-pg #{PG::VERSION}", state, ->(values) { literal.encode(values) }) { |sql, *args| db.exec_params(sql, args).values }
db.type_map_for_queries = PG::BasicTypeMapForQueries.new(db)
db.type_map_for_results = PG::BasicTypeMapForResults.new(db)
worker("ruby-pg #{PG::VERSION} with its type maps", state, ->(values) { values }) { |sql, *args| db.exec_params(sql, args).values }
db.close
begin
  require 'sequel'
  db = Sequel.connect('postgres://', host: ENV['PGHOST'], port: ENV['PGPORT'], user: ENV['PGUSER'], database: ENV['PGDATABASE'])
  db.extension :pg_array
  worker("Sequel #{Sequel::VERSION}", ->(error) { state.(error.wrapped_exception) }, ->(values) { Sequel.pg_array(values, :bigint) }) do |sql, *args|
    db.fetch(sql.gsub(/\$\d/, '?'), *args).map(&:values)
  end
rescue LoadError
  nil
end
