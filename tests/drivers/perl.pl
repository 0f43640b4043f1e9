# DBD::Pg.
use strict;
use warnings;
use DBI;

my $db = DBI->connect('dbi:Pg:', $ENV{PGUSER}, '', { AutoCommit => 1, RaiseError => 1, PrintError => 0 });
my $client = "DBD::Pg $DBD::Pg::VERSION";

sub say_that {
    my ($check, $ok, $seen) = @_;
    print join("\t", $client, $check, $ok ? 'ok' : 'FAILED', $seen // ''), "\n";
}
sub run { my ($sql, @args) = @_; $db->selectall_arrayref($sql, {}, @args) }

$| = 1;
my ($id, $delivery);
for my $n (0 .. 5) {
    ($id) = @{ run('SELECT pgq_push(?, ?, priority => ?)', 'q', "{\"n\": $n}", -$n)->[0] };
}
say_that('push', $id > 2**53);
sub reserve { run('SELECT id, delivery FROM pgq_reserve(?, max => ?)', 'q', shift) }
($id, $delivery) = @{ reserve(1)->[0] };
say_that('extend', @{ run('SELECT * FROM pgq_extend(?, ?, ?)', $id, '1 min', $delivery) } == 1);
say_that('release', run('SELECT pgq_release(?, ?, ?)', $id, '0', $delivery)->[0][0]);
($id, $delivery) = @{ reserve(1)->[0] };
say_that('fail', run('SELECT outcome FROM pgq_fail(?, ?, ?)', $id, 'no', $delivery)->[0][0] eq 'retry');
($id, $delivery) = @{ reserve(1)->[0] };
say_that('delete', run('SELECT pgq_delete(?, ?)', $id, $delivery)->[0][0]);
my $refused = run('SELECT pgq_delete(?, ?)', $id, $delivery)->[0][0];
say_that('refused', 1, "'$refused', " . ($refused ? 'true' : 'false'));
eval { run('SELECT pgq_delete(?, ?, strict => true)', $id, $delivery) };
say_that('strict', ($db->state // '') eq 'P0002', $db->state);
my $rows = reserve(2);
say_that('batch', @{ run('SELECT pgq_delete_batch(?, ?)', [map { $_->[0] } @$rows], [map { $_->[1] } @$rows]) } == 2);
say_that('empty batch', @{ run('SELECT pgq_delete_batch(?, ?)', [], []) } == 0);
my $receipt = run('SELECT receipt FROM pgq_reserve(?, max => ?)', 'q', 1)->[0][0];
my $longer = @{ run('SELECT * FROM pgq_extend_by_receipt(?, ?)', $receipt, '1 min') } == 1;
say_that('receipt', $longer && run('SELECT pgq_delete_by_receipt(?)', $receipt)->[0][0]);
my $seconds = run('SELECT oldest_ready_seconds FROM pgq_stats(?)', 'q')->[0][0];
say_that('seconds', $seconds =~ /^[\d.e-]+$/);
